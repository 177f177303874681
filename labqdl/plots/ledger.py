"""Figures about the light path: which component loses how much, and who owns it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labqdl.facts import Component, Ledger, Owner, Place
from labqdl.plots import style
from labqdl.units import to_db

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PATH = (Place.FORWARD, Place.CLIENT_IN, Place.TAP, Place.CLIENT_OUT, Place.RETURN)
_LOOKS = {
    Owner.SERVER: (style.BLUE, ""),
    Owner.CHANNEL: (style.ORANGE, "////"),
    Owner.CLIENT: (style.PURPLE, "...."),
}

_LETTER = 1.5
"""Width of a letter, mm."""


@style.styled
def ledger_waterfall(ledger: Ledger, *, ax: Axes | None = None) -> Axes:
    """Loss of every component as the light meets it, coloured by owner, and beside it the noise that it adds.

    The light starts at 0 dB at the server's output, goes through the client's tap and comes back. Receivers branch
    off: the client's where the tap is, the server's homodyne receiver and counter at the end.
    """
    path = ledger.at(*_PATH)
    ordered = [component for place in _PATH for component in path if component.place is place]
    rows: list[tuple[Component, float]] = []
    level = tapped = 0.0
    for component in ordered:
        rows.append((component, level))
        level -= to_db(component.transmissivity)
        if component.place in (Place.FORWARD, Place.CLIENT_IN, Place.TAP):
            tapped = level
    receivers = [(c, tapped) for c in ledger.at(Place.CLIENT_RECEIVER)]
    split = sum(1 for component, _ in rows if component.place in (Place.FORWARD, Place.CLIENT_IN, Place.TAP))
    rows[split:split] = receivers
    rows += [(component, level) for component in ledger.at(Place.SERVER_RECEIVER, Place.SERVER_COUNTER)]
    ax = style.axes(ax, width=style.PAGE, height=17.0 + max(2, len(rows)) * 5.2)
    if not rows:
        ax.text(
            0.5,
            0.5,
            "ideal parts: nothing is lost and nothing is added",
            transform=ax.transAxes,
            ha="center",
            va="center",
        )
        ax.set_axis_off()
        return ax
    ends = [start - to_db(component.transmissivity) for component, start in rows]
    reach = max(*ends, 0.05)
    seen: dict[Owner, None] = {}
    for index, ((component, start), end) in enumerate(zip(rows, ends, strict=True)):
        colour, hatch = _LOOKS[component.owner]
        seen[component.owner] = None
        ax.barh(
            index,
            max(end - start, 0.004 * reach),
            left=start,
            height=0.62,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.3,
        )
        if index + 1 < len(rows) and abs(rows[index + 1][1] - end) < 1e-12:
            ax.plot([end, end], [index + 0.31, index + 0.69], color=style.GREY, linewidth=0.5)
        ax.annotate(_words(component), (end, index), (4, 0), textcoords="offset points", va="center", fontsize=8)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_yticks(range(len(rows)), [component.name for component, _ in rows])
    ax.tick_params(axis="y", length=0)
    # Room for the words behind the bars: at 8 points a letter is about 1.5 mm wide; the axes have what the names leave.
    widths = [_LETTER * len(_words(component)) + 3.0 for component, _ in rows]
    across = max(style.PAGE - _LETTER * max(len(component.name) for component, _ in rows) - 6.0, 60.0)
    ax.set_xlim(
        0,
        max(
            end / (1 - min(width, 0.75 * across) / across)
            for end, width in zip([*ends, reach], [*widths, 12.0], strict=True)
        ),
    )
    ax.set_xlabel("loss since the server's output (dB)")
    from matplotlib.patches import Patch

    handles = [
        Patch(
            facecolor=_LOOKS[owner][0],
            hatch=_LOOKS[owner][1],
            edgecolor="white",
            label=f"{owner}: {style.short(_owned(ledger, owner))} dB",
        )
        for owner in Owner
        if owner in seen
    ]
    style.legend_above(ax, handles)
    return ax


def _owned(ledger: Ledger, owner: Owner) -> float:
    """Decibels that an owner holds on the way out and back, receivers not counted; never -0."""
    mine = [component for component in ledger.components if component.owner is owner]
    return abs(to_db(ledger.transmissivity(*_PATH, only=mine)))


def _words(component: Component) -> str:
    """Loss and noise of a component, as short as they can be told."""
    parts = [f"{style.short(abs(to_db(component.transmissivity)))} dB"] if component.transmissivity < 1 else []
    for value, words in (
        (component.electronic_noise, "SNU electronic"),
        (component.excess, "SNU excess"),
        (component.phase_noise, "rad"),
    ):
        if value:
            parts.append(f"{style.short(value)} {words}")
    if component.dark_counts:
        parts.append(f"{style.short(component.dark_counts)} darks a slot")
    if component.n_sp != 1.0:
        parts.append(f"$n_\\mathrm{{sp}}$ = {component.n_sp:.3g}")
    if component.extinction:
        parts.append(f"extinction −{abs(to_db(component.extinction)):.3g} dB")
    if component.server_trusts:
        parts.append("trusted")
    return ", ".join(parts) or "nothing"
