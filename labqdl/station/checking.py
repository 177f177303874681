"""All that can be said about a station file without an instrument."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labqdl.config.document import load
from labqdl.config.station import StationFile, located, read_station_file
from labqdl.errors import InputError
from labqdl.instruments import Instrument, PhaseServo, PowerMeter, TemperatureSensor
from labqdl.station.building import Built, build
from labqdl.station.physics import physics_warnings
from labqdl.transport import parse
from labqdl.units import counted

WANTED_BARRIERS = 2
"""A light path has two barriers that do not depend on each other: one may fail."""


@dataclass(frozen=True, slots=True)
class StationCheck:
    """What a check found.

    Attributes
    ----------
    source, profile:
        The file, and the profile that it was read for.
    instruments:
        How many it lists.
    problems:
        Mistakes, each with its line: nothing works before they are gone. In order of their lines.
    warnings:
        What works and is not as it should be.
    """

    source: str
    profile: str
    instruments: int
    problems: tuple[InputError, ...]
    warnings: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether the file can be used."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "schema": "labqdl.station-check/1",
            "station": self.source,
            "profile": self.profile,
            "instruments": self.instruments,
            "good": self.good,
            "problems": [
                {
                    "line": one.line,
                    "key": one.key,
                    "problem": one.problem,
                    "expected": one.expected,
                    "hint": one.hint,
                }
                for one in self.problems
            ],
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems]
        lines += [f"{self.source}: warning: {warning}" for warning in self.warnings]
        state = counted(len(self.problems), "mistake") if self.problems else "no mistakes"
        warnings = counted(len(self.warnings), "warning")
        instruments = counted(self.instruments, "instrument")
        lines.append(f"{self.source}: {instruments}, profile {self.profile}: {state}, {warnings}")
        return "\n".join(lines)


def check_station(
    path: str | Path, profile: str | None = None, *, twins: Callable[[StationFile], Iterable[InputError]] | None = None
) -> StationCheck:
    """Check a station file, with the drivers that it names, and give all mistakes at once.

    `twins` checks the simulated instruments; it is called where the profile simulates some, or the file names a twin.

    Raises
    ------
    InputError
        For a file that cannot be read or is no TOML, and for a profile that it does not have.
    """
    found = located(path)
    document = load(found)
    problems: list[InputError] = []
    file = read_station_file(document, profile, folder=found.parent, problems=problems)
    built = build(file, library="@labqdl", problems=problems)
    if twins is not None and any(entry.simulated or entry.twin != entry.driver for entry in file.instruments.values()):
        problems += twins(file)
    unique = {str(problem): problem for problem in problems}
    ordered = sorted(unique.values(), key=lambda one: one.line or 0)
    # Physics is told of a file without mistakes only: half of one says little about light.
    warnings = (*_warnings(file, built), *(() if ordered else physics_warnings(file, built.instruments)))
    return StationCheck(file.source, file.profile, len(file.instruments), tuple(ordered), warnings)


def _warnings(file: StationFile, built: Built) -> Iterable[str]:
    emitters = [name for name, one in built.instruments.items() if _emits(one)]
    yield from _shared(file, built)
    for name, entry in file.instruments.items():
        if entry.serial and entry.resource and name in built.instruments and parse(entry.resource).kind != "serial":
            yield f"{name} has serial settings, and its resource {entry.resource} is no serial port"
    for path in file.paths:
        if path.source in built.instruments and path.source not in emitters:
            yield f"light path {path.name!r}: no light or voltage comes out of its source {path.source}"
        others = [name for name in path.barriers if name != path.source]
        if len(others) < WANTED_BARRIERS:
            yield (
                f"light path {path.name!r} has {counted(len(others), 'barrier')} besides its source; two that do not "
                "depend on each other keep it dark when one fails"
            )
        if path.meter is None:
            yield f"nobody confirms that light path {path.name!r} is dark: name a meter"
    sources = {path.source for path in file.paths}
    barriers = {name for path in file.paths for name in path.barriers}
    cabled = {end[0] for wire in file.wiring if wire.kind == "electric" for end in (wire.source, wire.target)}
    cabled -= {end[0] for wire in file.wiring if wire.kind == "light" for end in (wire.source, wire.target)}
    for name in emitters:
        if isinstance(built.instruments[name], PhaseServo):
            continue  # its voltage stays inside, and its light is another's
        if name not in sources | barriers | cabled:  # what has cables and no fibre makes no light
            yield (
                f"{name} can make light or voltage come out and belongs to no light path"
                if file.paths
                else (
                    f"{name} can make light or voltage come out and there are no light paths: nothing confirms darkness"
                )
            )
    wired = {end[0] for wire in file.wiring for end in (wire.source, wire.target)}
    if file.wiring:
        for name, one in built.instruments.items():
            if name not in wired and not isinstance(one, TemperatureSensor):
                yield f"{name} is wired to nothing"
    for index, wire in enumerate(file.wiring):
        if isinstance(built.instruments.get(wire.source[0]), PowerMeter) and wire.kind == "light":
            line = file.document.line(("wiring", index, "from"))
            yield f"line {line}: {wire.source[0]} is a power meter, and no light leaves it"


def _shared(file: StationFile, built: Built) -> Iterable[str]:
    """Entries with one resource that are not parts of one box, or are the same part of it."""
    at: dict[str, list[str]] = {}
    for name, entry in file.instruments.items():
        if entry.resource is not None and name in built.instruments:
            at.setdefault(entry.resource, []).append(name)
    for resource, names in at.items():
        for index, name in enumerate(names):
            for other in names[:index]:
                one, two = file.instruments[other], file.instruments[name]
                kinds = type(built.instruments[other]), type(built.instruments[name])
                if kinds[0] is kinds[1] and (one.channel, one.options) == (two.channel, two.options):
                    yield f"{other} and {name} are the same instrument, at {resource}"
                elif len({getattr(kind, "sheet", "") for kind in kinds}) > 1:
                    yield f"{other} and {name} are different instruments, and have the same resource {resource}"


def _emits(instrument: Instrument) -> bool:
    return any(
        quantity.capable and quantity.energises
        for part in instrument.parts()
        for quantity in part.quantities().values()
    )
