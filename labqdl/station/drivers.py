"""Drivers by the names that station files use: entry points of the group `labqdl.drivers`, ours and other people's."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from labqdl.config.schema import did_you_mean
from labqdl.driver import Driver, commands_used
from labqdl.driver.coverage import command_key
from labqdl.errors import InputError
from labqdl.instruments import Instrument
from labqdl.safety.recipe import GROUP

ENOUGH = 0.8
"""Share of a sheet's commands below which the table says why."""


def driver_names() -> tuple[str, ...]:
    """Names of all installed drivers, sorted; loads none."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def driver_class(name: str) -> type[Instrument]:
    """The driver of that name, loaded now, or `package.module:Class`.

    Raises
    ------
    InputError
        For a name that no installed package has, for one that two have, and for a driver that cannot be loaded.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        if not all(part.isidentifier() for part in (*module.split("."), attribute)):
            raise InputError(f"{name!r} is no driver", expected="a name, or package.module:Class")
        return _load(EntryPoint(name, name, GROUP))
    found = {(entry.value, entry.name): entry for entry in entry_points(group=GROUP, name=name)}
    if not found:
        names = driver_names()
        raise InputError(
            f"there is no driver {name!r}",
            expected=f"one of {', '.join(names)}, or package.module:Class",
            hint=did_you_mean(name, names),
        )
    if len(found) > 1:
        places = " and ".join(sorted(value for value, _ in found))
        raise InputError(
            f"two installed packages have a driver {name!r}", expected=f"one of them written out: {places}"
        )
    return _load(next(iter(found.values())))


def _load(entry: EntryPoint) -> type[Instrument]:
    try:
        found = getattr(importlib.import_module(entry.module), entry.attr)
    except (ImportError, AttributeError) as error:
        raise InputError(f"the driver {entry.name!r} cannot be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Instrument)):
        raise InputError(f"the driver {entry.name!r} is no instrument", expected="a class of labqdl.instruments")
    return found


def instrument_class(kind: type[Instrument]) -> str:
    """Name of the abstract class that a driver implements: "Laser", "PowerMeter"."""
    for base in kind.__mro__:
        if base.__module__.startswith("labqdl.instruments.") and base is not kind:
            return base.__name__
    return "Instrument"


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of its sheet's commands a driver uses.

    Attributes
    ----------
    used:
        Commands that it sends.
    left_out:
        Commands of the sheet that it does not, with the reason.
    """

    used: tuple[str, ...]
    left_out: Mapping[str, str]

    @property
    def share(self) -> float:
        """Used against used and left out; 1 where nothing is declared."""
        total = len(self.used) + len(self.left_out)
        return len(self.used) / total if total else 1.0


def coverage(kind: type[Driver]) -> Coverage:
    """The coverage of a driver, from its declarations."""
    used = {command_key(command) for command in commands_used(kind)}
    left_out = {command_key(command): reason for command, reason in kind.left_out.items()}
    left_out = {command: reason for command, reason in left_out.items() if command not in used}
    return Coverage(tuple(sorted(used)), dict(sorted(left_out.items())))


@dataclass(frozen=True, slots=True)
class DriverEntry:
    """One installed driver; `problem` is why it cannot be loaded, and then the rest is empty."""

    name: str
    package: str
    kind: str = ""
    maker: str = ""
    models: tuple[str, ...] = ()
    sheet: str = ""
    summary: str = ""
    coverage: Coverage | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        result: dict[str, Any] = {
            "name": self.name,
            "package": self.package,
            "class": self.kind,
            "maker": self.maker,
            "models": list(self.models),
            "sheet": self.sheet,
            "summary": self.summary,
            "problem": self.problem or None,
        }
        if self.coverage is not None:
            result["coverage"] = {
                "share": self.coverage.share,
                "used": list(self.coverage.used),
                "left_out": dict(self.coverage.left_out),
            }
        return result


def list_drivers() -> tuple[DriverEntry, ...]:
    """All installed drivers, sorted by name; each is loaded, and one that cannot be says why."""
    found = []
    for point in sorted(set(entry_points(group=GROUP)), key=lambda one: (one.name, one.value)):
        package = point.dist.name if point.dist is not None else point.module.partition(".")[0]
        try:
            kind = _load(point)
        except InputError as error:
            found.append(DriverEntry(point.name, package, problem=error.problem))
            continue
        found.append(
            DriverEntry(
                point.name,
                package,
                instrument_class(kind),
                str(getattr(kind, "maker", "")),
                tuple(getattr(kind, "models", ())),
                str(getattr(kind, "sheet", "")),
                (kind.__doc__ or "").strip().partition("\n")[0],
                coverage(kind) if issubclass(kind, Driver) else None,
            )
        )
    return tuple(found)
