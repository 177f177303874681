"""A picture of what a station file describes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from labqdl.config.station import StationFile, Wire


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things stand in the picture.

    Attributes
    ----------
    places:
        Column and row of every instrument and component; light goes from left to right.
    columns, rows:
        How many there are.
    """

    places: dict[str, tuple[int, int]]
    columns: int
    rows: int


def layout(file: StationFile) -> Layout:
    """Columns by the longest way from a source, rows by order in the file; what is wired to nothing comes below."""
    names = [*file.instruments, *file.components]
    onward: dict[str, list[str]] = defaultdict(list)
    for wire in file.wiring:
        onward[wire.source[0]].append(wire.target[0])
    column = dict.fromkeys(names, 0)
    # Loops end: nothing is moved farther than there are things.
    for _ in names:
        moved = False
        for name in names:
            for target in onward[name]:
                if column[target] < column[name] + 1 < len(names):
                    column[target] = column[name] + 1
                    moved = True
        if not moved:
            break
    wired = {end[0] for wire in file.wiring for end in (wire.source, wire.target)}
    taken: dict[int, int] = defaultdict(int)
    places: dict[str, tuple[int, int]] = {}
    for name in (one for one in names if one in wired):
        places[name] = (column[name], taken[column[name]])
        taken[column[name]] += 1
    below = max(taken.values(), default=0)
    for index, name in enumerate(one for one in names if one not in wired):
        places[name] = (index % 4, below + index // 4)
    return Layout(
        places,
        1 + max((place[0] for place in places.values()), default=0),
        1 + max((place[1] for place in places.values()), default=0),
    )


def draw_text(file: StationFile) -> str:
    """The station in words and lines, for a terminal."""
    lines = [f"{file.name} ({file.source}, profile {file.profile})"]
    if file.description:
        lines.append(file.description)
    lines += ["", "instruments"]
    width = max((len(name) for name in file.instruments), default=0)
    driver = max((len(entry.driver) for entry in file.instruments.values()), default=0)
    for entry in file.instruments.values():
        place = "simulated" if entry.simulated else entry.resource
        lines.append(f"  {entry.name:<{width}}  {entry.driver:<{driver}}  {place}")
    if file.components:
        lines += ["", "components"]
        width = max(len(name) for name in file.components)
        for name, values in file.components.items():
            model = f", {values['model']}" if values["model"] else ""
            lines.append(f"  {name:<{width}}  {values['kind']}{model}")
    if file.wiring:
        lines += ["", "wiring"]
        lines += [f"  {line}" for line in _chains(file.wiring)]
    if file.paths:
        lines += ["", "light paths"]
        for path in file.paths:
            meter = f"; dark when {path.meter[0]}.{path.meter[1]} is below {path.dark_below:g} W" if path.meter else ""
            lines.append(
                f"  {path.name}: from {path.source}, kept dark by {', '.join(path.barriers) or 'nothing'}{meter}"
            )
    if file.interlocks:
        lines += ["", "interlocks"]
        for interlock in file.interlocks:
            reason = f" ({interlock.reason})" if interlock.reason else ""
            lines.append(f"  {interlock.require} before {interlock.before}{reason}")
    return "\n".join(lines)


def _chains(wiring: tuple[Wire, ...]) -> list[str]:
    """The wires as few long lines: every wire once, each line as far as there is a wire that goes on."""
    rest = list(wiring)
    lines = []
    while rest:
        targets = {wire.target[0] for wire in rest}
        first = next((wire for wire in rest if wire.source[0] not in targets), rest[0])
        rest.remove(first)
        text = f"{_end(first.source)} {_arrow(first)} {_end(first.target)}"
        here = first.target[0]
        while following := next((wire for wire in rest if wire.source[0] == here), None):
            rest.remove(following)
            port = f" .{following.source[1]}" if following.source[1] else ""
            text += f"{port} {_arrow(following)} {_end(following.target)}"
            here = following.target[0]
        lines.append(text)
    return lines


def _end(end: tuple[str, str]) -> str:
    return f"{end[0]}.{end[1]}" if end[1] else end[0]


def _arrow(wire: Wire) -> str:
    line = "=" if wire.kind == "light" else "-"
    loss = f"({wire.loss:g} dB)" if wire.loss else ""
    return f"{line}{loss}{line}>" if loss else f"{line}{line}>"
