"""An instrument that PyMeasure drives, served as one of ours: the station file says which property is which quantity.

    [instruments.meter]
    driver = "pymeasure"
    resource = "USB0::0x1313::0x8078::P0001234::INSTR"
    options = { instrument = "pymeasure.instruments.thorlabs:ThorlabsPM100USB", role = "PowerMeter" }

    [instruments.meter.mapping]
    power = { property = "power", unit = "W" }
    wavelength = { property = "wavelength", unit = "nm" }

What is not mapped is not a capability. Limits of the device are PyMeasure's own: where its property clips, what reads
back is another value than what was set, and that is an error; state the limits that matter in the station file. Its
errors arrive as ours, without the traffic of our transports.
"""

from __future__ import annotations

import importlib
import math
import threading
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, ClassVar

import labqdl.instruments as roles
from labqdl.clock import Clock
from labqdl.config.quantities import BY_UNIT
from labqdl.driver import Custom
from labqdl.errors import InputError, LabqdlError
from labqdl.instruments import Identity, Instrument, NotACapability, NotConfirmed, Part, Quantity, absent
from labqdl.safety import Recipe
from labqdl.transport import ProtocolError, RoadOptions, TransportError
from labqdl.transport.errors import translation
from labqdl.units import dbm, from_dbm

_ROLES = {
    name: one
    for name, one in vars(roles).items()
    if isinstance(one, type) and issubclass(one, Instrument) and one is not Instrument
}
CLOSE = 1e-3
"""Relative difference at which what reads back is what was set."""
_KEYS = ("property", "unit", "on", "off", "read_only")


class PyMeasureInstrument(Instrument):
    """Base of the classes that are made for each mapping; `PyMeasureInstrument(...)` gives one of the role's class.

    `safe_state` sets everything to off that energises, confirms it by reading back, and then calls PyMeasure's
    `shutdown`.

    Parameters
    ----------
    resource, name, clock, options:
        As of every driver; of the options only `visa_library` counts.
    instrument:
        PyMeasure's class, `package.module:Class`.
    role:
        The abstract class that it plays: "Laser", "PowerMeter".
    mapping:
        By quantity: `property` (of PyMeasure's class), and where needed `unit` (in which it counts), `on` and `off`
        (its values of a switch), `read_only` (the reason).
    """

    maker: ClassVar[str] = "any"
    models: ClassVar[tuple[str, ...]] = ("whatever PyMeasure drives",)
    sheet: ClassVar[str] = ""

    def __new__(
        cls, resource: str, *, instrument: str = "", role: str = "", mapping: Mapping[str, Any] | None = None, **_: Any
    ) -> PyMeasureInstrument:
        """An object of a class made for the role and the mapping."""
        if cls is not PyMeasureInstrument:
            return super().__new__(cls)
        if role not in _ROLES:
            raise InputError(f"there is no role {role!r}", key="role", expected=f"one of {', '.join(sorted(_ROLES))}")
        made: PyMeasureInstrument = object.__new__(_class_for(_ROLES[role], mapping or {}))
        return made

    def __init__(
        self,
        resource: str,
        *,
        name: str | None = None,
        clock: Clock | None = None,
        options: RoadOptions | None = None,
        instrument: str = "",
        role: str = "",
        mapping: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name or "pymeasure", clock=clock)
        if ":" not in instrument:
            raise InputError(f"{instrument!r} is no class", key="instrument", expected="package.module:Class")
        self.resource = resource
        self.road_options = options
        self._wanted: dict[str, Any] = {"instrument": instrument, "role": role, "mapping": dict(mapping or {})}
        self._theirs: Any = None
        self._lock = threading.RLock()
        library = None if options is None else options.visa_library
        self.simulated = isinstance(library, str) and library.endswith("@labqdl")
        self.simulated |= type(library).__module__.startswith("labqdl_sim")

    def recipe(self) -> Recipe:
        """How another process makes it again."""
        return Recipe("pymeasure", self.resource, self.name, arguments=self._wanted)

    def open(self) -> None:
        """Make PyMeasure's object, which connects; sets nothing that its constructor does not."""
        if self._theirs is not None:
            return
        module, _, attribute = self._wanted["instrument"].partition(":")
        library = None if self.road_options is None else self.road_options.visa_library
        try:
            kind = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"{self._wanted['instrument']} cannot be loaded: {error}",
                source=self.name,
                hint="pip install pymeasure",
            ) from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PyMeasure's own, about its own base class
            self._theirs = self._ask("opening", lambda: kind(self.resource, visa_library=library or ""))

    def close(self) -> None:
        """Close PyMeasure's adapter."""
        theirs, self._theirs = self._theirs, None
        if theirs is not None:
            theirs.adapter.close()

    @property
    def is_open(self) -> bool:
        """Whether PyMeasure's object exists."""
        return self._theirs is not None

    def identity(self) -> Identity:
        """What `*IDN?` says, through PyMeasure."""
        parts = [part.strip() for part in str(self.read("id")).split(",")]
        parts += [""] * (4 - len(parts))
        return Identity(parts[0], parts[1], parts[2], ",".join(parts[3:]))

    def safe_state(self) -> None:
        """Everything off that energises, confirmed; then PyMeasure's `shutdown`."""
        failures: list[LabqdlError] = []
        for name, quantity in self.quantities().items():
            if not (quantity.capable and quantity.energises and quantity.settable):
                continue
            try:
                setattr(self, name, _off(quantity))  # which reads it back
            except LabqdlError as error:
                failures.append(error)
        try:
            self._ask("shutting down", lambda: self._theirs.shutdown())
        except LabqdlError as error:
            failures.append(error)
        if failures:
            raise failures[0]

    def exclusive(self) -> AbstractContextManager[object]:
        """Nobody else talks to the instrument inside of this context."""
        return self._lock

    def complete_part(self, part: Part, quantity: Quantity[Any], value: Any) -> None:
        """Read it back: many of PyMeasure's properties clip without a word, and nothing here does.

        Raises
        ------
        NotConfirmed
            Where another value reads back.
        """
        found = quantity.fetch(part)
        same = (
            math.isclose(found, value, rel_tol=CLOSE, abs_tol=1e-15)
            if isinstance(value, float) and isinstance(found, float)
            else found == value
        )
        if not same:
            raise NotConfirmed(
                f"{self.name}: {quantity.name} was set to {value!r} {quantity.unit} and reads {found!r}: PyMeasure or "
                "the instrument has changed it"
            )

    def read(self, name: str) -> Any:
        """A property of PyMeasure's object."""
        return self._ask(f"reading {name}", lambda: getattr(self._theirs, name))

    def write(self, name: str, value: Any) -> None:
        """Set a property of PyMeasure's object."""
        self._ask(f"setting {name}", lambda: setattr(self._theirs, name, value))

    def _ask(self, action: str, call: Any) -> Any:
        if self._theirs is None and action != "opening":
            raise ValueError(f"{self.name} ({self.resource}) is not open")
        try:
            with self._lock:
                return call()
        except LabqdlError:
            raise
        except ValueError as error:  # PyMeasure's validators
            raise InputError(f"PyMeasure refuses while {action}: {error}", source=self.name) from error
        except Exception as error:
            found: TransportError = translation(error, action) or ProtocolError(f"{error} while {action}")
            raise found.about(instrument=self.name, resource=self.resource) from error


def _class_for(role: type[Instrument], mapping: Mapping[str, Any]) -> Any:
    """A class that is the role, with the quantities of the mapping, and without everything else."""
    known = role.quantities()
    members: dict[str, Any] = {"__doc__": f"A {role.__name__} that PyMeasure drives."}
    for name in mapping:
        if name not in known:
            raise InputError(
                f"a {role.__name__} has no quantity {name!r}", key="mapping", expected=f"one of {', '.join(known)}"
            )
    for name, quantity in known.items():
        members[name] = (
            _mapped(name, quantity, mapping[name]) if name in mapping else absent("it is not in the mapping")
        )
    for name in getattr(role, "__abstractmethods__", ()):
        if name not in members and not hasattr(PyMeasureInstrument, name):
            members[name] = _refused(name)
    return type(f"PyMeasure{role.__name__}", (PyMeasureInstrument, role), members)


def _mapped(name: str, quantity: Quantity[Any], entry: Mapping[str, Any]) -> Custom[Any]:
    for key in entry:
        if key not in _KEYS:
            raise InputError(f"{key!r} is not known", key=f"mapping.{name}", expected=f"one of {', '.join(_KEYS)}")
    there = entry.get("property")
    if not isinstance(there, str):
        raise InputError("property is missing", key=f"mapping.{name}", expected="the name of a property of PyMeasure's")
    to_ours, to_theirs = _conversions(name, quantity, entry)
    read_only = entry.get("read_only") or ""

    def read(part: Any) -> Any:
        found = part.read(there)
        try:
            return to_ours(found)
        except (TypeError, ValueError, KeyError):
            raise ProtocolError(f"{part.name}: PyMeasure's {there} is {found!r}") from None

    def write(part: Any, value: Any) -> None:
        part.write(there, to_theirs(value))

    return Custom(
        quantity.kind,
        read,
        write if quantity.settable and not read_only else None,
        unit=quantity.unit,
        doc=quantity.doc,
        energises=quantity.energises,
        read_only=read_only,
    )


def _conversions(name: str, quantity: Quantity[Any], entry: Mapping[str, Any]) -> tuple[Any, Any]:
    """From PyMeasure's value to ours, and back."""
    kind = quantity.kind
    if kind is bool:
        on, off = (
            (True if entry.get("on") is None else entry["on"]),
            (False if entry.get("off") is None else entry["off"]),
        )
        return (lambda found: {on: True, off: False}[found]), (lambda value: on if value else off)
    if issubclass(kind, Enum):
        return (lambda found: kind(str(found).lower())), (lambda value: value.value)
    unit = entry.get("unit") or quantity.unit
    dimension = BY_UNIT[quantity.unit]
    if unit == "dBm":
        return from_dbm, dbm
    if unit in ("degC", "C", "\u00b0C"):
        return (lambda found: float(found) + 273.15), (lambda value: value - 273.15)
    factor = 1.0 if unit in ("", "1") else dimension.units.get(unit)
    if not isinstance(factor, float):
        expected = f"one of {', '.join(dimension.units)}"
        raise InputError(f"{unit!r} is no unit of it", key=f"mapping.{name}.unit", expected=expected)
    return (lambda found: kind(float(found) * factor)), (lambda value: kind(value / factor))


def _off(quantity: Quantity[Any]) -> Any:
    return False if quantity.kind is bool else quantity.kind("off")


def _refused(name: str) -> Any:
    def call(self: Any, *_: Any) -> Any:
        raise NotACapability(self.name, name, "PyMeasure's classes have no such call in common")

    call.__doc__ = "Not a capability of an instrument that PyMeasure drives."
    return call
