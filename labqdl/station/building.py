"""From what a station file says to instruments: drivers, resources, options, limits, interlocks. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labqdl.clock import Clock
from labqdl.config.interlocks import Action, Comparison
from labqdl.config.locate import KeyPath
from labqdl.config.schema import did_you_mean
from labqdl.config.station import InstrumentEntry, Interlock, LightPath, LimitEntry, StationFile
from labqdl.driver import Driver
from labqdl.errors import InputError, LabqdlError
from labqdl.instruments import Instrument, Limit, Modulator, Part, Photodetector, PowerMeter, Quantity
from labqdl.safety import may_be_simulated
from labqdl.safety.recipe import driver_options
from labqdl.station.drivers import driver_class
from labqdl.station.values import find_quantity, parse_value
from labqdl.transport import Line, RoadOptions, Transport, parse

_SHEETS: Mapping[str, type[Modulator] | type[Photodetector]] = {"modulator": Modulator, "photodetector": Photodetector}
_SHEET_KEYS = {"insertion_loss": "loss"}
"""Where the file's word is another one than the data sheet's."""


@dataclass(frozen=True, slots=True)
class Rule:
    """An interlock with its instruments.

    Attributes
    ----------
    interlock:
        As the file says it.
    part, quantity, wanted:
        What is read, and what it is compared with.
    target:
        The instrument that it guards.
    """

    interlock: Interlock
    part: Part
    quantity: Quantity[Any]
    wanted: Any
    target: Instrument

    def guards(self, instrument: Instrument, what: str) -> bool:
        """Whether it stands before this call."""
        return instrument is self.target and self.interlock.before.path in (None, what)


@dataclass(slots=True)
class Built:
    """What was made of a file.

    Attributes
    ----------
    instruments:
        By name, in the order of the file; constructed, not opened.
    rules:
        The interlocks.
    sheets:
        Data sheets of modulators and photodetectors, by name.
    later:
        By instrument, what can only be checked and applied when it has told how many channels it has.
    """

    instruments: dict[str, Instrument] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    sheets: dict[str, Modulator | Photodetector] = field(default_factory=dict)
    later: dict[str, list[Callable[[], None]]] = field(default_factory=dict)


def build(
    file: StationFile,
    *,
    library: Any = None,
    clock: Clock | None = None,
    problems: list[InputError] | None = None,
) -> Built:
    """Make the instruments of a station file; loads the drivers that it names, and no others.

    Parameters
    ----------
    file:
        What the file says, for one profile.
    library:
        PyVISA library, or what `pyvisa.ResourceManager` takes, for the instruments that are simulated.
    clock:
        For all instruments.
    problems:
        A list that takes every mistake; None: the first one is raised.

    Raises
    ------
    InputError
        With file, line and key.
    """
    return _Builder(file, library, clock, problems).build()


class _Builder:
    def __init__(self, file: StationFile, library: Any, clock: Clock | None, problems: list[InputError] | None) -> None:
        self.file = file
        self.library = library
        self.clock = clock
        self.problems = problems
        self.built = Built()
        self.roads: dict[str, tuple[Transport, str]] = {}

    def build(self) -> Built:
        for entry in self.file.instruments.values():
            made = self.instrument(entry)
            if made is not None:
                self.built.instruments[entry.name] = made
        for entry in self.file.instruments.values():
            if entry.name in self.built.instruments:
                for limit in entry.limits:
                    self.limit(entry, limit)
        for index, interlock in enumerate(self.file.interlocks):
            self.rule(index, interlock)
        for index, path in enumerate(self.file.paths):
            self.path(index, path)
        for name, values in self.file.components.items():
            self.sheet(name, values)
        return self.built

    def wrong(self, path: KeyPath, problem: str, *, expected: str | None = None, hint: str | None = None) -> None:
        error = self.file.wrong(path, problem, expected=expected, hint=hint)
        if self.problems is None:
            raise error from None
        self.problems.append(error)

    def at(self, path: KeyPath, error: LabqdlError) -> None:
        """Report what another module found, at this place."""
        if isinstance(error, InputError):
            self.wrong(path, error.problem, expected=error.expected, hint=error.hint)
        else:
            self.wrong(path, str(error))

    def instrument(self, entry: InstrumentEntry) -> Instrument | None:
        place: KeyPath = ("instruments", entry.name)
        if entry.driver == "?":
            return None  # is missing, and reported as such
        kind: type[Instrument] | None = None
        resource: str | None = None
        try:
            kind = driver_class(entry.driver)
        except InputError as error:
            self.at((*place, "driver"), error)
        try:
            resource = self.resource(entry, kind or Instrument)
        except InputError as error:
            self.at((*place, "resource"), error)
        if kind is None or resource is None:
            return None
        if entry.declared_simulated and not may_be_simulated(resource):
            self.wrong(
                (*place, "resource"),
                f"{resource} is declared simulated and is not on this machine",
                expected="a resource that 'labqdl sim serve' prints",
            )
        arguments = self.arguments(entry, kind)
        shared = self.roads.get(resource)
        options = dataclasses.replace(getattr(kind, "road", RoadOptions()), **entry.serial)
        if entry.simulated:
            options = dataclasses.replace(options, visa_library=self.library)
        try:
            made = self.make(kind, shared[0] if shared else resource, entry, options, arguments)
        except InputError as error:
            self.at((*place, *_inside(entry, error.key)), error)
            return None
        except (LabqdlError, ValueError, TypeError) as error:
            self.wrong(place, f"the driver {entry.driver} cannot be made: {error}")
            return None
        if isinstance(made, Driver) and shared is None:
            self.roads[resource] = (made.transport, entry.name)
            if entry.timeout is not None:
                made.transport.timeout = entry.timeout
        if entry.safe_order is not None:
            setattr(made, "safe_order", entry.safe_order)  # noqa: B010 - a class variable that the file overrides
        return made

    def make(
        self,
        kind: Any,
        resource: str | Transport,
        entry: InstrumentEntry,
        options: RoadOptions,
        arguments: Mapping[str, Any],
    ) -> Instrument:
        made: Instrument = kind(resource, name=entry.name, clock=self.clock, options=options, **arguments)
        return made

    def arguments(self, entry: InstrumentEntry, kind: type[Instrument]) -> dict[str, Any]:
        known = driver_options(kind)
        found = {}
        for name, value in entry.options.items():
            if name in known:
                found[name] = value
                continue
            self.wrong(
                ("instruments", entry.name, "options", name),
                f"the driver {entry.driver} has no such option",
                expected=f"one of {', '.join(known)}" if known else "no options",
                hint=did_you_mean(name, known),
            )
        for key, value, problem, expected in (
            ("mapping", entry.mapping, "is no adapter of another package's instruments", "no mapping here"),
            ("safe", entry.safe, "knows itself how it is made safe", "no steps here"),
            (
                "channel",
                entry.channel,
                "drives all channels",
                "no channel here: quantities are named 'channel 2.power'",
            ),
        ):
            if value is None or value == () or value == {}:
                continue
            if key in known:
                found[key] = value
            else:
                self.wrong(("instruments", entry.name, key), f"the driver {entry.driver} {problem}", expected=expected)
        return found

    def resource(self, entry: InstrumentEntry, kind: type[Instrument]) -> str | None:
        """Where the driver finds its instrument; a twin stands at the same name, if VISA knows names of that kind."""
        serial = not isinstance(getattr(kind, "framing", Line()), Line)
        serial |= getattr(kind, "road", RoadOptions()).baudrate != RoadOptions().baudrate
        name = entry.name
        if entry.resource is not None:
            found = parse(entry.resource)
            if not entry.simulated or found.visa:
                return entry.resource
            serial = found.kind == "serial"
            # Entries with one resource are one box, which is called as the first of them.
            name = next(one.name for one in self.file.instruments.values() if one.resource == entry.resource)
        if not entry.simulated:
            return None  # is missing, and reported as such
        return f"ASRL{name}::INSTR" if serial else f"TCPIP0::{name}::inst0::INSTR"

    def limit(self, entry: InstrumentEntry, limit: LimitEntry) -> None:
        instrument = self.built.instruments[entry.name]
        place: KeyPath = ("instruments", entry.name, "limits", limit.path)

        def apply() -> None:
            part, quantity = find_quantity(instrument, limit.path)
            if quantity.kind not in (float, int):
                raise InputError(f"{limit.path} has no order", expected="a quantity that is a number")
            low, high = (
                default if end is None else float(parse_value(quantity, end))
                for end, default in ((limit.low, -float("inf")), (limit.high, float("inf")))
            )
            if low > high:
                raise InputError(f"the least value {limit.low} is above the greatest one {limit.high}")
            instrument.limit(part.path(quantity.name), Limit(low, high, limit.reason))

        self.now_or_later(instrument, limit.path, place, apply)

    def now_or_later(self, instrument: Instrument, path: str, place: KeyPath, apply: Callable[[], None]) -> None:
        """Apply it, or keep it where it is of a channel of an instrument that does not know its channels yet."""
        if "." in path and not instrument.channels():

            def later() -> None:
                try:
                    apply()
                except InputError as error:
                    raise self.file.wrong(place, error.problem, expected=error.expected, hint=error.hint) from None

            self.built.later.setdefault(instrument.name, []).append(later)
            return
        try:
            apply()
        except LabqdlError as error:
            self.at(place, error)

    def rule(self, index: int, interlock: Interlock) -> None:
        require, before = interlock.require, interlock.before
        instrument = self.built.instruments.get(require.instrument)
        target = self.built.instruments.get(before.instrument)
        if instrument is None or target is None:
            return
        try:
            self.action(target, before)
        except LabqdlError as error:
            self.at(("interlocks", index, "before"), error)
            return
        if before.path is not None and "." in before.path:  # what guards nothing must not stay unnoticed
            self.now_or_later(target, before.path, ("interlocks", index, "before"), lambda: self.action(target, before))
        place: KeyPath = ("interlocks", index, "require")

        def apply() -> None:
            self.built.rules.append(Rule(interlock, *_compared(instrument, require), target))

        self.now_or_later(instrument, require.path, place, apply)

    def action(self, target: Instrument, before: Action) -> None:
        """Check that the action is one that energises: before others nobody is asked."""
        if before.path is None or ("." in before.path and not target.channels() and not target.is_open):
            return
        _, quantity = find_quantity(target, before.path)
        if not quantity.energises:
            dangerous = [
                part.path(name)
                for part in target.parts()
                for name, one in part.quantities().items()
                if one.capable and one.energises
            ]
            raise InputError(
                f"setting {before.path} makes no light or voltage come out",
                expected=f"one of {', '.join(dangerous)}" if dangerous else "an instrument that emits",
            )
        if before.value is None:
            return
        value = parse_value(quantity, before.value)
        if quantity.kind is not bool:
            raise InputError(
                f"{before} names a value", expected=f"{before.instrument}.{before.path} alone: every value"
            )
        if value is False:
            raise InputError(f"{before} makes nothing come out", expected=f"{before.instrument}.{before.path} = true")

    def path(self, index: int, path: LightPath) -> None:
        instruments = self.built.instruments
        if path.meter is not None and path.meter[0] in instruments:
            place: KeyPath = ("paths", index, "meter")
            meter, name = instruments[path.meter[0]], path.meter[1]

            def apply() -> None:
                _, quantity = find_quantity(meter, name)
                if quantity.unit != "W":
                    raise InputError(f"{name} is no power", expected="a quantity in W")

            self.now_or_later(meter, name, place, apply)
        for number, barrier in enumerate(path.barriers):
            made = instruments.get(barrier)
            if isinstance(made, PowerMeter):
                expected = "a shutter, an attenuator, an amplifier's pump or a laser"
                self.wrong(("paths", index, "barriers", number), f"{barrier} interrupts no light", expected=expected)

    def sheet(self, name: str, values: Mapping[str, Any]) -> None:
        kind = _SHEETS.get(values["kind"])
        if kind is None:
            return
        given = {one.name: values[_SHEET_KEYS.get(one.name, one.name)] for one in dataclasses.fields(kind)}
        missing = [_SHEET_KEYS.get(key, key) for key, value in given.items() if value is None]
        if missing:
            self.wrong(
                ("components", name),
                f"a {values['kind']} needs {', '.join(missing)}",
                expected="every figure of its sheet",
            )
            return
        try:
            self.built.sheets[name] = kind(**given)
        except ValueError as error:
            self.wrong(("components", name), str(error))


def _inside(entry: InstrumentEntry, key: str | None) -> KeyPath:
    """Where in an instrument's table a key is that its driver complains about; names of quantities may hold dots."""
    if key is None:
        return ()
    head, _, rest = key.partition(".")
    if head == "mapping":
        quantity = max((one for one in entry.mapping if f"{rest}.".startswith(f"{one}.")), key=len, default=None)
        if quantity is not None:
            return (head, quantity, *(one for one in rest[len(quantity) :].split(".") if one))
    if head in entry.options:
        return ("options", head)
    return tuple(int(one) if one.isdigit() else one for one in key.split("."))


def _compared(instrument: Instrument, require: Comparison) -> tuple[Part, Quantity[Any], Any]:
    part, quantity = find_quantity(instrument, require.path)
    if not quantity.readable:
        raise InputError(f"{require.path} cannot be read", expected="a quantity that can be read")
    if require.operator not in ("==", "!=") and quantity.kind not in (float, int):
        raise InputError(f"{require.path} has no order", expected="== or !=")
    return part, quantity, parse_value(quantity, require.value)
