"""The contract of every instrument class as a test: one suite for all drivers.

A test module of a driver says how a subject is made, and gets a hypothesis state machine::

    class TestPM100(machine(make_pm100).TestCase): ...

The machine opens, reads, sets valid and invalid values, makes safe, closes and opens again in any order, and checks
after each step what the classes of `labqdl.instruments` promise. Nothing can be skipped: what a model cannot do is
declared in its driver (`absent`, `read_only`), and the machine checks that it is then refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from labqdl.errors import InputError, LabqdlError
from labqdl.instruments import (
    Channel,
    Instrument,
    LimitError,
    NotACapability,
    NotAValue,
    NotConfirmed,
    Part,
    Quantity,
    ReadBack,
)
from labqdl.instruments.quantity import Absent
from labqdl.transport import InstrumentError, TransportError


@dataclass
class Subject:
    """What the suite needs to know about an instrument under test.

    Attributes
    ----------
    instrument:
        Constructed and not opened.
    emits:
        Asks the world, not the driver, whether light or voltage comes out; None where nothing can.
    sent:
        Number of bytes that the instrument has received so far, to prove that a refusal sends none.
    tolerance:
        Relative deviation of a value that is read back, by path of quantity, for what the instrument rounds.
    couples:
        Quantities by path that change when others are set (a mode, a range), and are not compared afterwards.
    plausible:
        Ranges by path for quantities whose limits are open (or open on one side), so that values can be drawn.
    refused:
        Quantities by path that the sheet says are refused in some states, with its words. A set of one may end in an
        error that names the instrument; it must then read back as before.
    later:
        Quantities by path that read something else than what was set, as the driver's docstring says: what is
        measured, or what holds in another mode. Not compared.
    infinite:
        Quantities by path for which infinity is a value by the sheet (a load).
    settle:
        Seconds of the instrument's clock after which what was set has had its effect (ramps are over).
    lose:
        Breaks the connection, so that the next exchange fails and the one after it finds a new connection; None where
        that cannot be done.
    close:
        Called at the end.
    """

    instrument: Instrument
    sent: Callable[[], int]
    emits: Callable[[], bool] | None = None
    tolerance: Mapping[str, float] = field(default_factory=dict)
    couples: frozenset[str] = frozenset()
    plausible: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    later: frozenset[str] = frozenset()
    infinite: frozenset[str] = frozenset()
    settle: float = 0.0
    lose: Callable[[], None] | None = None
    close: Callable[[], None] = lambda: None


def declared_problems(driver: type[Instrument]) -> list[str]:
    """What is wrong with a driver's declarations, in words; empty if nothing."""
    problems = []
    if missing := sorted(getattr(driver, "__abstractmethods__", ())):
        problems.append(f"not declared: {', '.join(missing)} (commands, or absent(..) with the sheet's reason)")
    for name, quantity in _all_quantities(driver):
        words = f"{name}: "
        if isinstance(quantity, Absent):
            if len(quantity.reason) < 10:
                problems.append(words + "absent(..) must say why")
            continue
        if not quantity.doc.endswith(".") or not quantity.doc[:1].isupper():
            problems.append(words + "the doc must be a sentence")
        if quantity.kind in (float, int) and not quantity.unit:
            problems.append(words + "a number needs a unit")
        if not (quantity.readable or quantity.settable):
            problems.append(words + "can neither be read nor set")
    if not (driver.__doc__ or "").strip():
        problems.append("the class has no docstring")
    return problems


def _all_quantities(driver: type[Instrument]) -> Iterator[tuple[str, Quantity[Any]]]:
    yield from driver.quantities().items()
    channel = getattr(driver, "channel_class", None)
    if isinstance(channel, type) and issubclass(channel, Channel):
        for name, quantity in channel.quantities().items():
            yield f"{channel.kind}.{name}", quantity


Wanted = Callable[[Quantity[Any]], bool]


def _is_read(one: Quantity[Any]) -> bool:
    return one.capable and one.readable


def _is_set(one: Quantity[Any]) -> bool:
    return one.capable and one.settable and not one.read_only


def _is_number(one: Quantity[Any]) -> bool:
    return _is_set(one) and one.kind in (int, float)


def _is_typed(one: Quantity[Any]) -> bool:
    return _is_set(one) and one.kind is not str


def _is_absent(one: Quantity[Any]) -> bool:
    return not one.capable


def _is_fixed(one: Quantity[Any]) -> bool:
    return one.capable and (not one.settable or bool(one.read_only))


def _range_of(subject: Subject, part: Part, quantity: Quantity[Any]) -> tuple[float, float]:
    """Least and greatest value that a quantity takes now, inside of what is plausible."""
    limits = quantity.limits_of(part)
    low = max((limit.low for limit in limits), default=-math.inf)
    high = min((limit.high for limit in limits), default=math.inf)
    plain = subject.plausible.get(part.path(quantity.name), (-math.inf, math.inf))
    return max(low, plain[0]), min(high, plain[1])


def _differs(subject: Subject, part: Part, quantity: Quantity[Any], value: Any) -> str:
    """How a quantity differs from what it was set to, in words; "" if it does not."""
    path = part.path(quantity.name)
    if path in subject.later:
        return ""
    try:
        found = quantity.fetch(part)
    except NotAValue:
        if path in subject.couples:  # several settings together have no such value
            return ""
        raise
    same = found == value
    if isinstance(value, float):
        done = quantity.done if isinstance(quantity.done, ReadBack) else ReadBack()
        relative = subject.tolerance.get(path, max(done.relative, 1e-6))
        same = math.isclose(found, value, rel_tol=relative, abs_tol=max(done.absolute, 1e-15))
    return "" if same else f"{path} was set to {value!r} and reads {found!r}"


def set_everything(make: Callable[[], Subject]) -> list[str]:
    """Set each quantity to both ends and the middle of its range, or to each choice; what went wrong, in words.

    Each on an instrument of its own that was just opened, so that every one of them is tried: the state machine draws.
    """
    first = make()
    first.instrument.open()
    places = [
        (index, name)
        for index, part in enumerate(first.instrument.parts())
        for name, quantity in part.quantities().items()
        if _is_typed(quantity) and not quantity.reason_missing(part)
    ]
    first.instrument.close()
    first.close()
    return [problem for index, name in places for problem in _set_one(make(), index, name)]


def _set_one(subject: Subject, index: int, name: str) -> list[str]:
    instrument = subject.instrument
    problems = []
    try:
        instrument.open()
        part = list(instrument.parts())[index]
        quantity = part.quantities()[name]
        path = part.path(name)
        for value in _values(subject, part, quantity):
            try:
                quantity.__set__(part, value)
                if quantity.readable and (words := _differs(subject, part, quantity, quantity.rounded(part, value))):
                    problems.append(words)
            except NotACapability:
                if not issubclass(quantity.kind, Enum):
                    raise
            except LabqdlError as error:
                if path not in subject.refused:
                    problems.append(f"{path} = {value!r}: {type(error).__name__}: {error}")
        instrument.safe_state()
        if subject.emits is not None and subject.emits():
            problems.append(f"{path}: something comes out in the safe state afterwards")
    finally:
        instrument.close()
        subject.close()
    return problems


def _values(subject: Subject, part: Part, quantity: Quantity[Any]) -> list[Any]:
    if issubclass(quantity.kind, Enum):
        return list(getattr(quantity, "words", None) or quantity.kind)
    if quantity.kind is bool:
        return [True, False]
    low, high = _range_of(subject, part, quantity)
    assert math.isfinite(high - low), f"{part.path(quantity.name)} has open limits: say what is plausible"
    if listed := getattr(quantity, "words", None):
        return [one for one in listed if low <= one <= high]
    ends = [low, 0.5 * (low + high), high]
    return [round(end) for end in ends] if quantity.kind is int else ends


def _has(wanted: Wanted) -> Callable[[Any], bool]:
    """A precondition: whether the instrument has such a quantity."""
    return lambda running: bool(running.found(wanted))


def machine(make: Callable[[], Subject]) -> type[RuleBasedStateMachine]:
    """The state machine for one driver; `make` is called for every example."""

    class Conformance(RuleBasedStateMachine):
        """Every promise of the instrument's class, in any order of calls."""

        def __init__(self) -> None:
            super().__init__()
            self.subject = make()
            self.instrument = self.subject.instrument
            self.kept: dict[str, tuple[Part, Quantity[Any], Any]] = {}
            self.asked: list[str] = []
            self.instrument.guard = self
            assert not self.instrument.is_open, "a constructor does no I/O"
            assert self.subject.sent() == 0, "a constructor does no I/O"

        def energising(self, instrument: Instrument, what: str) -> None:
            """Be the guard."""
            assert instrument is self.instrument
            self.asked.append(what)

        def dark(self) -> bool:
            """Whether the world says that nothing comes out."""
            return self.subject.emits is None or not self.subject.emits()

        @initialize()
        def begin(self) -> None:
            """Connect to an instrument that is dark: it stays dark."""
            before = self.dark()
            self.instrument.open()
            assert self.instrument.is_open
            assert self.dark() == before, "opening changes no output"
            assert not self.asked, "opening energises nothing"
            known = [quantity for part in self.instrument.parts() for quantity in part.quantities().values()]
            unknown = {name for one in known for name in one.moved} - {one.name for one in known}
            assert not unknown, f"moving(..) names what the instrument does not have: {sorted(unknown)}"

        def found(self, wanted: Wanted) -> list[tuple[Part, Quantity[Any]]]:
            """All such quantities of the instrument and of its channels."""
            return [
                (part, quantity)
                for part in self.instrument.parts()
                for quantity in part.quantities().values()
                if wanted(quantity) and not quantity.reason_missing(part)
            ]

        def drawn(self, data: st.DataObject, wanted: Wanted) -> tuple[Part, Quantity[Any]]:
            """One of them."""
            found = self.found(wanted)
            return found[data.draw(st.sampled_from(range(len(found))), label="quantity")]

        @rule()
        def open_again(self) -> None:
            """Opening twice does nothing."""
            before = self.subject.sent()
            self.instrument.open()
            assert self.subject.sent() == before

        @precondition(_has(_is_read))
        @rule(data=st.data())
        def read(self, data: st.DataObject) -> None:
            """What can be read has its type, and is finite."""
            part, quantity = self.drawn(data, _is_read)
            try:
                value = quantity.fetch(part)
            except NotAValue:
                return
            assert isinstance(value, quantity.kind), f"{part.path(quantity.name)}: {value!r}"
            if isinstance(value, float):
                assert math.isfinite(value)

        @precondition(_has(_is_set))
        @rule(data=st.data(), count=st.integers(1, 4))
        def set(self, data: st.DataObject, count: int) -> None:
            """Values inside of all limits are taken and read back."""
            for _ in range(count):
                self.set_one(data, *self.drawn(data, _is_set))

        def set_one(self, data: st.DataObject, part: Part, quantity: Quantity[Any]) -> None:
            """One value."""
            path = part.path(quantity.name)
            if issubclass(quantity.kind, Enum):
                words = getattr(quantity, "words", None)
                value: Any = data.draw(st.sampled_from(list(words or quantity.kind)), label=path)
            elif quantity.kind is bool:
                value = data.draw(st.booleans(), label=path)
            elif quantity.kind is str:
                return
            elif listed := getattr(quantity, "words", None):
                value = data.draw(st.sampled_from(list(listed)), label=path)
            else:
                low, high = _range_of(self.subject, part, quantity)
                assert math.isfinite(high - low), f"{path} has open limits: say what is plausible"
                if quantity.kind is int:
                    value = data.draw(st.integers(math.ceil(low), math.floor(high)), label=path)
                else:
                    value = data.draw(st.floats(low, high), label=path)
            asked = len(self.asked)
            choice = issubclass(quantity.kind, Enum)  # of which this unit may lack one
            if (choice or path in self.subject.refused) and not self.taken(part, quantity, value):
                return
            if not (choice or path in self.subject.refused):
                quantity.__set__(part, value)
            held = quantity.rounded(part, value)
            if quantity.energises and value and value != "off":
                assert len(self.asked) > asked, f"{path} energises without asking the guard"
            if quantity.readable:
                self.compare(part, quantity, held)
            if path not in self.subject.couples:
                self.kept[path] = (part, quantity, held)

        def taken(self, part: Part, quantity: Quantity[Any], value: Any) -> bool:
            """Set what may be refused; a refusal changes nothing."""
            path = part.path(quantity.name)
            before = None
            if quantity.readable:
                with suppress(NotAValue):
                    before = quantity.fetch(part)
            words = None
            try:
                quantity.__set__(part, value)
            except NotACapability as error:
                words = str(error)
            except (InputError, InstrumentError, NotConfirmed) as error:
                if path not in self.subject.refused:
                    raise
                words = str(error)
            if words is None:
                return True
            assert self.instrument.name in words, "an error names its instrument"
            if before is not None:
                self.compare(part, quantity, before)
            return False

        def compare(self, part: Part, quantity: Quantity[Any], value: Any) -> None:
            assert not (words := _differs(self.subject, part, quantity, value)), words

        @precondition(_has(_is_number))
        @rule(data=st.data())
        def set_out_of_limits(self, data: st.DataObject) -> None:
            """A value out of range is refused before a byte is sent."""
            part, quantity = self.drawn(data, _is_number)
            start = self.subject.sent()
            limits = quantity.limits_of(part)
            asking = self.subject.sent() - start  # of limits that are the device's own and change
            low = max((limit.low for limit in limits), default=-math.inf)
            high = min((limit.high for limit in limits), default=math.inf)
            beyond = [end for end in (low - max(1.0, abs(low)), high + max(1.0, abs(high))) if math.isfinite(end)]
            if not beyond:
                return
            before = self.subject.sent()
            self.refused(LimitError, part, quantity, self.typed(quantity, data.draw(st.sampled_from(beyond))))
            assert self.subject.sent() - before == asking, "limits hold before a byte is sent"

        @staticmethod
        def typed(quantity: Quantity[Any], value: float) -> float:
            return round(value) if quantity.kind is int else value

        @precondition(_has(_is_typed))
        @rule(data=st.data(), nonsense=st.sampled_from([math.nan, math.inf, "3", None, [1.0], object()]))
        def set_nonsense(self, data: st.DataObject, nonsense: Any) -> None:
            """Another type is refused before a byte is sent."""
            part, quantity = self.drawn(data, _is_typed)
            if nonsense == math.inf and part.path(quantity.name) in self.subject.infinite:
                return
            start = self.subject.sent()
            quantity.limits_of(part)
            before = self.subject.sent()
            self.refused(InputError, part, quantity, nonsense)
            assert self.subject.sent() - before <= before - start, "types are looked at before a byte is sent"

        @precondition(_has(_is_absent))
        @rule(data=st.data())
        def use_what_is_not_there(self, data: st.DataObject) -> None:
            """What is declared absent is refused with its reason, without a byte."""
            part, quantity = self.drawn(data, _is_absent)
            before = self.subject.sent()
            self.refused(NotACapability, part, quantity, 1.0)
            try:
                quantity.fetch(part)
            except NotACapability:
                pass
            else:
                raise AssertionError(f"{part.path(quantity.name)} is declared absent and can be read")
            assert self.subject.sent() == before

        @precondition(_has(_is_fixed))
        @rule(data=st.data())
        def set_what_can_only_be_read(self, data: st.DataObject) -> None:
            """Setting what can only be read is refused without a byte."""
            part, quantity = self.drawn(data, _is_fixed)
            before = self.subject.sent()
            self.refused((InputError, NotACapability), part, quantity, 1.0)
            assert self.subject.sent() == before

        @staticmethod
        def refused(kind: Any, part: Part, quantity: Quantity[Any], value: Any) -> None:
            words = None
            try:
                quantity.__set__(part, value)
            except kind as error:
                words = str(error)
            assert words is not None, f"{part.path(quantity.name)} took {value!r}"
            assert part.instrument.name in words, "an error names its instrument"

        @rule()
        def make_safe(self) -> None:
            """The safe state is dark, whatever was before; the instrument still answers."""
            self.instrument.safe_state()
            assert self.dark(), "light or voltage comes out in the safe state"
            self.kept.clear()
            assert self.instrument.identity().model

        @rule()
        def reopen(self) -> None:
            """Closing and opening change no output."""
            self.instrument.clock.sleep(self.subject.settle)
            before = self.dark()
            self.instrument.close()
            assert not self.instrument.is_open
            assert self.dark() == before, "closing changes no output"
            self.instrument.open()
            assert self.dark() == before, "opening changes no output"

        @precondition(lambda self: self.subject.lose is not None)
        @rule()
        def lose_the_connection(self) -> None:
            """An instrument that nobody else touched is carried on with, and nothing comes out or goes off."""
            self.instrument.clock.sleep(self.subject.settle)
            before = self.dark()
            assert self.subject.lose is not None
            self.subject.lose()
            with suppress(TransportError):
                self.instrument.identity()
            assert self.instrument.identity().model
            assert self.dark() == before, "a lost connection changes no output"

        @rule()
        def safe_after_reopening(self) -> None:
            """The safe state works on a connection that was just opened."""
            self.instrument.close()
            self.instrument.open()
            self.make_safe()

        @rule()
        def look_at_everything(self) -> None:
            """A snapshot holds all that can be read, and asks the device."""
            before = self.subject.sent()
            found = self.instrument.snapshot()
            wanted = {
                part.path(name)
                for part in self.instrument.parts()
                for name, quantity in part.quantities().items()
                if quantity.capable and quantity.readable and not quantity.reason_missing(part)
            }
            assert set_of(found) == wanted
            assert not wanted or self.subject.sent() > before, "a snapshot reads the device"

        @precondition(lambda self: bool(self.kept))
        @rule(data=st.data())
        def still_set(self, data: st.DataObject) -> None:
            """What was set stays set."""
            path = data.draw(st.sampled_from(sorted(self.kept)), label="kept")
            part, quantity, value = self.kept[path]
            if quantity.readable:
                self.compare(part, quantity, value)

        @invariant()
        def dark_before_anything_was_energised(self) -> None:
            """No light without the guard's knowledge."""
            assert self.asked or self.dark(), "something comes out although the guard was never asked"

        def teardown(self) -> None:
            self.instrument.close()
            self.subject.close()

    Conformance.__name__ = Conformance.__qualname__ = "Conformance"
    return Conformance


def set_of(names: Mapping[str, object]) -> set[str]:
    """The names (the machine has a rule called `set`)."""
    return set(names)
