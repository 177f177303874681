"""What adapters of other packages' instruments share: a class made from a mapping, one lock, a safe state in steps."""

from __future__ import annotations

import importlib
import math
import re
import threading
import tomllib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import labqdl.instruments as roles
from labqdl.clock import Clock
from labqdl.config.quantities import BY_UNIT
from labqdl.driver import Custom
from labqdl.errors import InputError, LabqdlError
from labqdl.instruments import Channel, Instrument, NotACapability, NotConfirmed, Part, Quantity, ReadBack, absent
from labqdl.safety import Recipe
from labqdl.transport import ProtocolError, RoadOptions, TransportError
from labqdl.transport.errors import translation
from labqdl.units import dbm, from_dbm

_BY_METHODS = (roles.PhaseShifterArray, roles.InterlockIO)
"""Classes that energise by methods, which no mapping of properties can guard."""
ROLES: Mapping[str, type[Instrument]] = {
    name: one
    for name, one in vars(roles).items()
    if isinstance(one, type) and issubclass(one, Instrument) and one is not Instrument and one not in _BY_METHODS
}
_CHANNELS: Mapping[Any, type[Channel]] = dict(
    zip(
        (roles.WaveformGenerator, roles.Digitizer, roles.PhotonCounter, roles.PolarizationController),
        (roles.Output, roles.Input, roles.CounterInput, roles.Paddle),
        strict=True,
    )
)
CLOSE = 1e-3
CLOSE_BY_UNIT: Mapping[str, float] = {"m": 1e-5, "Hz": 1e-6, "S/s": 1e-6}
"""Relative difference at which what reads back is what was set, where the mapping says nothing."""
_KEYS = ("property", "unit", "on", "off", "values", "tolerance", "read_only")
_STEP = re.compile(r"(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*(?:=\s*(?P<value>.+)|(?P<call>\(\s*\)))")
_NOT_MAPPED = "not mapped in the station file"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a safe state: an assignment, or a call where `call` is true."""

    name: str
    value: Any = None
    call: bool = False


class ForeignInstrument(Instrument):
    """Base of the adapters; making one gives an object of a class that is made for its role and mapping.

    `safe_state` takes every step of `safe`, although some fail, and confirms: what was assigned is read back, and so is
    every mapped quantity that energises.

    Parameters
    ----------
    resource, name, clock, options:
        As of every driver; of the options only `visa_library` counts.
    instrument:
        Their class, `package.module:Class`.
    role:
        The abstract class that it plays: "Laser", "PowerMeter".
    mapping:
        By quantity ("power", "channel 1.amplitude"): `property` (their name of it, dotted where it belongs to a part),
        and where needed `unit` (in which it counts), `on` and `off` (its values of a switch), `values` (its values by
        our choices), `tolerance` (relative, of what reads back), `read_only` (the reason).
    safe:
        What makes it safe, in order: assignments of properties and calls without arguments, such as "output = false"
        and "shutdown()". Demanded of every class that energises.
    read_termination, write_termination:
        What ends lines, where the package has to be told.
    """

    package: ClassVar[str] = ""
    """Whose instruments they are, for messages."""
    install: ClassVar[str] = ""
    """What pip installs."""
    driver_name: ClassVar[str] = ""
    """Name of the entry point."""
    maker: ClassVar[str] = "any"
    models: ClassVar[tuple[str, ...]] = ()
    sheet: ClassVar[str] = ""

    _role: ClassVar[type[Instrument]]
    _channel_classes: ClassVar[Mapping[int, type[Channel]]] = {}

    def __new__(
        cls, resource: str, *, role: str = "", mapping: Mapping[str, Any] | None = None, **_: Any
    ) -> ForeignInstrument:
        """An object of a class made for the role and the mapping."""
        if "_role" in vars(cls):
            return super().__new__(cls)
        if role not in ROLES:
            raise InputError(
                f"there is no role {role!r}", key="options.role", expected=f"one of {', '.join(sorted(ROLES))}"
            )
        made: ForeignInstrument = object.__new__(_class_for(cls, ROLES[role], mapping or {}))
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
        safe: Sequence[str] = (),
        read_termination: str = "",
        write_termination: str = "",
    ) -> None:
        super().__init__(name or self.driver_name, clock=clock)
        if ":" not in instrument:
            raise InputError(f"{instrument!r} is no class", key="options.instrument", expected="package.module:Class")
        self.resource = resource
        self.road_options = options
        self._wanted: dict[str, Any] = {
            "instrument": instrument,
            "role": role,
            "mapping": {one: dict(entry) for one, entry in (mapping or {}).items()},
            "safe": list(safe),
            "read_termination": read_termination,
            "write_termination": write_termination,
        }
        self._steps = [_step(text, index) for index, text in enumerate(safe)]
        self._channels = {number: kind(self, number) for number, kind in self._channel_classes.items()}
        self._theirs: Any = None
        self._lock = threading.RLock()
        self.library = None if options is None else options.visa_library
        """PyVISA library, or its name."""
        self.simulated = isinstance(self.library, str) and self.library.endswith("@labqdl")
        self.simulated |= type(self.library).__module__.startswith("labqdl_sim")
        energising = [
            one for part in self.parts() for one in part.quantities().values() if one.capable and one.energises
        ]
        if _energises(self._role) and not any(not step.call for step in self._steps) and not (safe and energising):
            raise InputError(
                f"a {role} can emit, and nothing says how it is made safe"
                if not safe
                else "calls alone cannot be confirmed",
                key="safe",
                expected='steps that switch it off, such as ["output = false", "shutdown()"]',
            )

    def recipe(self) -> Recipe:
        """How another process makes it again."""
        options = {"visa_library": self.library} if isinstance(self.library, str) else None
        return Recipe(self.driver_name, self.resource, self.name, options=options, arguments=self._wanted)

    @abstractmethod
    def _make(self, kind: Any) -> Any:
        """Their object, connected."""

    @abstractmethod
    def _get(self, name: str) -> Any:
        """Read their property, asking the device."""

    @abstractmethod
    def _set(self, name: str, value: Any) -> None:
        """Set their property."""

    @abstractmethod
    def _has(self, name: str) -> bool:
        """Whether their object has this property; asks no device."""

    @abstractmethod
    def _release(self, theirs: Any) -> None:
        """Let go of the connection."""

    def open(self) -> None:
        """Make their object, which connects; sets nothing that its constructor does not.

        Raises
        ------
        InputError
            Where their package, the class, or one of the names of the station file is not there: with its key.
        TransportError
            If nobody answers.
        """
        if self._theirs is not None:
            return
        module, _, attribute = self._wanted["instrument"].partition(":")
        try:
            kind = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise self._wrong(
                "options.instrument",
                f"{self._wanted['instrument']} cannot be loaded: {error}",
                hint=f"pip install {self.install}",
            ) from error
        self._theirs = self._ask("opening", lambda: self._make(kind))
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close their connection; changes no output."""
        theirs, self._theirs = self._theirs, None
        if theirs is not None:
            self._release(theirs)

    @property
    def is_open(self) -> bool:
        """Whether their object exists."""
        return self._theirs is not None

    def channels(self) -> Mapping[int, Channel]:
        """The channels that the mapping names."""
        return self._channels

    def safe_state(self) -> None:
        """Take every step of `safe`, although some fail, and confirm by reading back.

        Raises
        ------
        NotConfirmed
            Where something else reads back than was assigned, or something that energises is on.
        LabqdlError
            The first step that failed.
        """
        failures: list[LabqdlError] = []

        def attempt(call: Any) -> None:
            try:
                call()
            except LabqdlError as error:
                failures.append(error)

        with self._lock:
            for step in self._steps:
                attempt(lambda step=step: self._take(step))
            for step in self._steps:
                if not step.call:
                    attempt(lambda step=step: self._confirm(step))
            for part in self.parts():
                for quantity in part.quantities().values():
                    if quantity.capable and quantity.energises:
                        attempt(lambda part=part, quantity=quantity: _confirm_off(part, quantity))
            if not self._steps:
                attempt(self.identity)
        if failures:
            raise failures[0]

    def exclusive(self) -> AbstractContextManager[object]:
        """Nobody else talks to the instrument inside of this context."""
        return self._lock

    def complete_part(self, part: Part, quantity: Quantity[Any], value: Any) -> None:
        """Read it back: many of their properties clip without a word, and nothing here does.

        Raises
        ------
        NotConfirmed
            Where another value reads back.
        """
        if not quantity.readable:
            return
        found = quantity.fetch(part)
        assert isinstance(quantity.done, ReadBack)
        if not _same(found, value, quantity.done.relative):
            raise NotConfirmed(
                f"{self.name}: {part.path(quantity.name)} was set to {value!r} {quantity.unit} and reads {found!r}: "
                f"{self.package} or the instrument has changed it"
            )

    def read(self, name: str) -> Any:
        """A property of their object."""
        return self._ask(f"reading {name}", lambda: self._get(name))

    def write(self, name: str, value: Any) -> None:
        """Set a property of their object."""
        self._ask(f"setting {name}", lambda: self._set(name, value))

    def _parent(self, name: str) -> tuple[Any, str]:
        """The object that a dotted name ends in, and the last part of it."""
        *parents, last = name.split(".")
        found = self._theirs
        for one in parents:
            found = getattr(found, one)
        return found, last

    def _take(self, step: Step) -> None:
        if not step.call:
            self.write(step.name, step.value)
            return
        parent, last = self._parent(step.name)
        self._ask(f"calling {step.name}()", getattr(parent, last))

    def _confirm(self, step: Step) -> None:
        found = self.read(step.name)
        if not _same(found, step.value):
            raise NotConfirmed(f"{self.name}: {step.name} was set to {step.value!r} to be safe and reads {found!r}")

    def _check(self) -> None:
        """Every name of the station file is one of theirs."""
        for quantity, entry in self._wanted["mapping"].items():
            name = entry["property"]
            if not self._there(name, self._has):
                raise self._wrong(f"mapping.{quantity}.property", f"{self._kind} has no {name!r}")
        for step in self._steps:
            if not self._there(step.name, self._callable if step.call else self._has):
                raise self._wrong("safe", f"{self._kind} has no {step.name + '()' * step.call!r}")

    @staticmethod
    def _there(name: str, test: Any) -> bool:
        try:
            return bool(test(name))
        except AttributeError:
            return False

    def _callable(self, name: str) -> bool:
        parent, last = self._parent(name)
        return callable(getattr(type(parent), last, None))

    @property
    def _kind(self) -> str:
        return f"{self.package}'s {type(self._theirs).__name__}"

    def _wrong(self, key: str, problem: str, *, hint: str | None = None) -> InputError:
        return InputError(problem, source=self.name, key=f"instruments.{self.name}.{key}", hint=hint)

    def _ask(self, action: str, call: Any) -> Any:
        if self._theirs is None and action != "opening":
            raise ValueError(f"{self.name} ({self.resource}) is not open")
        try:
            with self._lock:
                return call()
        except LabqdlError:
            raise
        except ValueError as error:  # their validators
            raise InputError(f"{self.package} refuses while {action}: {error}", source=self.name) from error
        except Exception as error:
            found: TransportError = translation(error, action) or ProtocolError(f"{error} while {action}")
            raise found.about(instrument=self.name, resource=self.resource) from error


def _energises(role: type[Instrument]) -> bool:
    parts: list[type[Part]] = [role, *([_CHANNELS[role]] if role in _CHANNELS else [])]
    return any(one.energises for part in parts for one in part.quantities().values())


def _same(found: Any, value: Any, tolerance: float = CLOSE) -> bool:
    if isinstance(value, float) and isinstance(found, int | float):
        return math.isclose(found, value, rel_tol=tolerance, abs_tol=1e-15)
    return bool(found == value)


def _confirm_off(part: Part, quantity: Quantity[Any]) -> None:
    found = quantity.fetch(part)
    if found and found != "off":
        raise NotConfirmed(f"{part.instrument.name}: {part.path(quantity.name)} must be off and reads {found!r}")


def _step(text: str, index: int) -> Step:
    expected = 'an assignment ("output = false") or a call ("shutdown()")'
    match = _STEP.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{text!r} is no step", key=f"safe.{index}", expected=expected)
    if match["call"]:
        return Step(match["name"], call=True)
    try:
        value = tomllib.loads(f"value = {match['value']}")["value"]
    except tomllib.TOMLDecodeError:
        value = None
    if not isinstance(value, bool | int | float | str):
        raise InputError(
            f"{match['value']!r} is no value",
            key=f"safe.{index}",
            expected="a number, true, false, or a text in quotes",
        )
    return Step(match["name"], value)


def _class_for(adapter: type[ForeignInstrument], role: type[Instrument], mapping: Mapping[str, Any]) -> Any:
    """A class that is the role, with the quantities of the mapping, and without everything else."""
    own, channels = _sorted(role, mapping)
    numbered = {
        number: _part_class(
            f"{role.__name__}Channel{number}",
            (_CHANNELS[role],),
            _CHANNELS[role],
            entries,
            adapter,
            prefix=f"{_CHANNELS[role].kind} {number}.",
        )
        for number, entries in sorted(channels.items())
    }
    more = {"_role": role, "_channel_classes": numbered}
    return _part_class(f"{adapter.package}{role.__name__}", (adapter, role), role, own, adapter, more)


def _sorted(
    role: type[Instrument], mapping: Mapping[str, Any]
) -> tuple[dict[str, Mapping[str, Any]], dict[int, dict[str, Mapping[str, Any]]]]:
    """The mapping of the instrument's own quantities, and those of its channels by number."""
    channel = _CHANNELS.get(role)
    known = role.quantities()
    theirs = {} if channel is None else channel.quantities()
    own: dict[str, Mapping[str, Any]] = {}
    channels: dict[int, dict[str, Mapping[str, Any]]] = {}
    for path, entry in mapping.items():
        match = re.fullmatch(rf"{channel.kind} (\d+)\.(\w+)", path) if channel is not None else None
        if match is not None and match[2] in theirs:
            channels.setdefault(int(match[1]), {})[match[2]] = entry
        elif path in known:
            own[path] = entry
        else:
            names = [*known, *(f"{channel.kind} 1.{name}" for name in theirs)] if channel is not None else [*known]
            expected = f"one of {', '.join(names)}"
            raise InputError(f"a {role.__name__} has no quantity {path!r}", key=f"mapping.{path}", expected=expected)
    return own, channels


def _part_class(
    name: str,
    bases: tuple[type, ...],
    contract: type[Part],
    entries: Mapping[str, Mapping[str, Any]],
    adapter: type[ForeignInstrument],
    more: Mapping[str, Any] | None = None,
    prefix: str = "",
) -> Any:
    members: dict[str, Any] = {"__doc__": f"A {contract.__name__} that {adapter.package} drives.", **(more or {})}
    for one, quantity in contract.quantities().items():
        entry = entries.get(one)
        members[one] = absent(_NOT_MAPPED) if entry is None else _mapped(prefix + one, quantity, entry, adapter)
    for one in getattr(contract, "__abstractmethods__", ()):
        defined = getattr(adapter, one, None)
        if one not in members and (defined is None or getattr(defined, "__isabstractmethod__", False)):
            refused = _refused(one, adapter)
            members[one] = property(refused) if isinstance(getattr(contract, one), property) else refused
    return type(name, bases, members)


class _Choices(Custom[Any]):
    """A quantity of whose choices the station file knows some."""

    words: ClassVar[frozenset[Any]] = frozenset()

    def checked(self, part: Part, value: object) -> Any:
        """One of them."""
        choice = super().checked(part, value)
        if choice not in self.words:
            path = part.path(self.name)
            raise NotACapability(
                part.instrument.name, f"{path} {choice.value}", "not among its values in the station file"
            )
        return choice


def _mapped(
    name: str, quantity: Quantity[Any], entry: Mapping[str, Any], adapter: type[ForeignInstrument]
) -> Custom[Any]:
    for key in entry:
        if key not in _KEYS:
            raise InputError(f"{key!r} is not known", key=f"mapping.{name}", expected=f"one of {', '.join(_KEYS)}")
    there = entry.get("property")
    if not isinstance(there, str):
        expected = f"the name of a property of {adapter.package}'s"
        raise InputError("property is missing", key=f"mapping.{name}", expected=expected)
    to_ours, to_theirs = _conversions(name, quantity, entry)
    read_only = entry.get("read_only") or ""
    tolerance = entry.get("tolerance")
    if tolerance is None:
        tolerance = CLOSE_BY_UNIT.get(quantity.unit, CLOSE)

    def read(part: Any) -> Any:
        found = part.instrument.read(there)
        try:
            return to_ours(found)
        except (TypeError, ValueError, KeyError):
            raise ProtocolError(f"{adapter.package}'s {there} is {found!r}").about(
                instrument=part.instrument.name, resource=part.instrument.resource
            ) from None

    def write(part: Any, value: Any) -> None:
        part.instrument.write(there, to_theirs(value))

    kind: type[Custom[Any]] = Custom
    if values := entry.get("values"):
        kind = type("Choices", (_Choices,), {"words": frozenset(quantity.kind(one) for one in values)})
    return kind(
        quantity.kind,
        read,
        write if quantity.settable and not read_only else None,
        unit=quantity.unit,
        doc=quantity.doc,
        energises=quantity.energises,
        done=ReadBack(relative=tolerance),
        read_only=read_only,
    )


def _conversions(name: str, quantity: Quantity[Any], entry: Mapping[str, Any]) -> tuple[Any, Any]:
    """From their value to ours, and back."""
    kind = quantity.kind
    values = entry.get("values") or {}
    if values and not issubclass(kind, Enum):
        expected = "on and off for a switch, unit for a number"
        raise InputError("it has no choices", key=f"mapping.{name}.values", expected=expected)
    if kind is bool:
        on = True if entry.get("on") is None else entry["on"]
        off = False if entry.get("off") is None else entry["off"]
        if on == off:
            raise InputError(f"on and off are both {on!r}", key=f"mapping.{name}.on", expected="two different values")
        return (lambda found: {on: True, off: False}[found]), (lambda value: on if value else off)
    if issubclass(kind, Enum):
        return _choices(name, kind, values)
    unit = entry.get("unit") or quantity.unit
    dimension = BY_UNIT[quantity.unit]
    if unit == "dBm" and quantity.unit == "W":
        return from_dbm, dbm
    if unit in ("degC", "C", "\u00b0C") and quantity.unit == "K":
        return (lambda found: float(found) + 273.15), (lambda value: value - 273.15)
    factor = 1.0 if unit in ("", "1") else dimension.units.get(unit)
    if not isinstance(factor, float):
        expected = f"one of {', '.join(dimension.units)}"
        raise InputError(f"{unit!r} is no unit of it", key=f"mapping.{name}.unit", expected=expected)
    return (lambda found: kind(float(found) * factor)), (lambda value: kind(value / factor))


def _choices(name: str, kind: type[Enum], values: Mapping[str, Any]) -> tuple[Any, Any]:
    """Of a quantity with choices; without `values` theirs are called as ours."""
    names = {str(one.value): one for one in kind}
    for one in values:
        if one not in names:
            expected = f"one of {', '.join(names)}"
            raise InputError(f"{one!r} is no choice", key=f"mapping.{name}.values.{one}", expected=expected)
    if not values:
        return (lambda found: kind(str(found).lower())), (lambda value: value.value)
    ours = {theirs: names[one] for one, theirs in values.items()}
    back = {one: theirs for theirs, one in ours.items()}

    return (lambda found: ours[found]), back.__getitem__


def _refused(name: str, adapter: type[ForeignInstrument]) -> Any:
    def call(self: Any, *_: Any) -> Any:
        reason = f"{adapter.package}'s classes have no such call in common"
        raise NotACapability(self.instrument.name, name, reason)

    call.__doc__ = f"Not a capability of an instrument that {adapter.package} drives."
    return call
