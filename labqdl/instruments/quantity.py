"""A quantity of an instrument, declared once: a typed descriptor with name, unit, limits, completion and words.

An abstract class says ``power = required(float, unit="W", settable=True, doc=...)``; a driver overrides it with a
declaration that knows the instrument's commands, or with ``power = absent("the sheet has no such command")``. The
same declarations make snapshots, the command line, the pages of the documentation, the coverage table and the
conformance tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, Self, TypedDict, TypeVar, cast, overload

from labqdl.errors import InputError
from labqdl.instruments.completion import IMMEDIATE, Completion
from labqdl.instruments.errors import LimitError, NotACapability
from labqdl.instruments.limits import Limit, broken

if TYPE_CHECKING:
    from labqdl.instruments.instrument import Part

T = TypeVar("T")

UNITS: Final = frozenset({"", "W", "m", "Hz", "V", "A", "Ohm", "s", "rad", "K", "dB", "1", "S/s", "A/W", "m/s", "dB/s"})
"""SI base and derived units, dB for ratios only; "" where there is none (switches, texts), "1" for plain numbers."""

_TAKEN: Final = frozenset({"name", "clock", "guard", "energised", "transport", "number"})
"""Attributes of instruments and channels that a quantity would hide."""

InputLimits = Limit | tuple[float, float] | Callable[[Any], Limit] | None
"""Constant limits, or a function of the part that asks the device for them."""


class Declared(TypedDict, total=False):
    """What every declaration of a driver may say, in the words of `Quantity`, which it hands on to."""

    doc: str
    energises: bool
    done: Completion
    read_only: str


class DeclaredNumber(Declared, total=False):
    """What a declaration of a number may say."""

    limits: InputLimits


class Quantity(Generic[T]):
    """One quantity. Reading the attribute asks the device; assigning checks the limits, sends and waits.

    Parameters
    ----------
    kind:
        float, int, bool, str or an `Enum`.
    unit:
        One of `UNITS`.
    doc:
        What it is, one sentence; begins with a capital, ends with a full stop.
    settable, readable:
        What one may do.
    limits:
        The device's own limits.
    energises:
        Whether setting it can make light or voltage come out, unless to False, 0 or a choice named "off": the guard is
        asked first.
    done:
        How completion is known.
    read_only:
        Why this model cannot be set although its class can be; with the sheet's words.
    """

    def __init__(
        self,
        kind: type[T],
        *,
        unit: str = "",
        doc: str = "",
        settable: bool = False,
        readable: bool = True,
        limits: InputLimits = None,
        energises: bool = False,
        done: Completion = IMMEDIATE,
        read_only: str = "",
        abstract: bool = False,
    ) -> None:
        if unit not in UNITS:
            raise ValueError(f"{unit!r} is none of the units {sorted(UNITS)}")
        self.kind = kind
        self.unit = unit
        self.doc = doc
        self.settable = settable
        self.readable = readable
        self.limits = limits
        self.energises = energises
        self.done = done
        self.read_only = read_only
        self.name = "?"
        self.missing: Callable[[Any], str] | None = None
        self.switch = ""
        self.moved: tuple[str, ...] = ()
        self.__isabstractmethod__ = abstract

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        inherited = next((vars(base)[name] for base in owner.__mro__[1:] if name in vars(base)), None)
        if isinstance(inherited, Quantity):
            self._inherit(inherited, owner)
        elif inherited is not None or name in _TAKEN:
            raise TypeError(f"{owner.__name__}.{name}: every instrument has something else of this name")

    def _inherit(self, contract: Quantity[Any], owner: type) -> None:
        """A driver's declaration takes words and dangers from its class's contract, and may not contradict it."""
        self.doc = self.doc or contract.doc
        self.energises = self.energises or contract.energises
        if not self.capable:
            return
        if self.unit != contract.unit:
            raise TypeError(f"{owner.__name__}.{self.name} is in {self.unit!r}, its class says {contract.unit!r}")
        if contract.settable and not self.settable and not self.read_only:
            raise TypeError(f"{owner.__name__}.{self.name} must be settable, or say with read_only= why it is not")

    derived = False
    """Whether setting it sets other quantities, which are then what is compared after a lost connection."""

    @property
    def capable(self) -> bool:
        """Whether this model has the quantity."""
        return True

    def unless(self, missing: Callable[[Any], str]) -> Self:
        """The same declaration for units that may lack it: `missing` gives the reason for a part, "" where it is there.

        An option that `learn` found out. Reading and setting raise `NotACapability` with the reason.
        """
        self.missing = missing
        return self

    def moving(self, *names: str) -> Self:
        """The same declaration for what changes others when it is set: of the same part or of the instrument; of an
        instrument's quantity those of all parts.

        What was set of them before is not compared after a lost connection.
        """
        self.moved += names
        return self

    def chosen_by(self, switch: str) -> Self:
        """The same declaration for a value that the device chooses itself while the switch of this name is on.

        Setting the value ends that, and may switch it off. So what was set is compared after a lost connection only
        where it was set last.
        """
        self.switch = switch
        return self.moving(switch)

    def follows(self, part: Part) -> bool:
        """Whether the device chooses the value now, by what was set last."""
        return bool(self.switch) and part.instrument.kept(part, self.switch) is True

    def reason_missing(self, part: Part) -> str:
        """Why this unit lacks the quantity; "" where it has it."""
        return "" if self.missing is None else self.missing(part)

    def _demand(self, part: Part) -> None:
        reason = self.reason_missing(part)
        if reason:
            raise NotACapability(part.instrument.name, part.path(self.name), reason)

    @overload
    def __get__(self, part: None, owner: type) -> Self: ...
    @overload
    def __get__(self, part: Part, owner: type) -> T: ...
    def __get__(self, part: Part | None, owner: type) -> Self | T:
        if part is None:
            return self
        if self.missing is not None:
            self._demand(part)
        return self.fetch(part)

    def __set__(self, part: Part, value: T) -> None:
        value = self.checked(part, value)
        instrument = part.instrument
        if self.energises and value and value != "off":
            instrument.energising(part.path(self.name))
        with instrument.exclusive():
            self.store(part, value)
            held = self.rounded(part, value)
            part.complete(self, held)
        if not self.derived:
            instrument.remember(part, self, held)
        for name in self.moved:
            instrument.forget(part, name)

    def fetch(self, part: Part) -> T:
        """Ask the device."""
        raise NotImplementedError

    def store(self, part: Part, value: T) -> None:
        """Tell the device a value that is checked."""
        raise NotImplementedError

    def rounded(self, part: Part, value: T) -> T:
        """What the device was really told: the value in the digits, or steps, of the wire."""
        return value

    def limits_of(self, part: Part) -> list[Limit]:
        """All limits that hold now: the device's, the station's, those of interlocks."""
        own = self.limits(part) if callable(self.limits) else self.limits
        if isinstance(own, tuple):
            own = Limit(*own)
        return ([] if own is None else [own]) + part.instrument.station_limits(part.path(self.name))

    def checked(self, part: Part, value: object) -> T:
        """The value as this quantity's type, inside of every limit; else an error before a byte is sent.

        Raises
        ------
        InputError
            For a quantity that cannot be set and for a value of another type.
        LimitError
            For a value that is out of range; nothing is ever clipped.
        """

        def wrong(problem: str, expected: str) -> InputError:
            return InputError(problem, source=part.instrument.name, key=part.path(self.name), expected=expected)

        self._demand(part)
        if self.read_only:
            raise NotACapability(part.instrument.name, f"way to set {part.path(self.name)}", self.read_only)
        if not self.settable:
            raise wrong("can only be read", "a quantity that can be set")
        if issubclass(self.kind, Enum):
            try:
                return self.kind(value)
            except ValueError:
                raise wrong(f"{value!r} is no choice", " or ".join(str(one.value) for one in self.kind)) from None
        if self.kind is bool:
            if not isinstance(value, bool):
                raise wrong(f"{value!r} is no switch", "True or False")
            return cast(T, value)
        if self.kind is str:
            if not isinstance(value, str):
                raise wrong(f"{value!r} is no text", "a text")
            return cast(T, value)
        number = self._number(value, wrong)
        limit = broken(self.limits_of(part), number)
        if limit is not None:
            raise LimitError(part.path(self.name), number, self.unit, limit, instrument=part.instrument.name)
        return cast(T, number)

    def _number(self, value: object, wrong: Callable[[str, str], InputError]) -> float:
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            raise wrong(f"{value!r} is no number", f"a number in {self.unit}" if self.unit else "a number")
        number = float(cast(float, value))
        if not math.isfinite(number):
            raise wrong(f"{value!r} is not finite", "a finite number")
        if self.kind is int:
            if number != int(number):
                raise wrong(f"{value!r} is no whole number", "a whole number")
            return int(number)
        return number

    def commands(self) -> Iterable[str]:
        """The instrument's commands that this declaration uses, as the sheet writes them; for the coverage table."""
        return ()


class _Required(Quantity[T]):
    """What an abstract class demands; a class that still has one cannot be instantiated."""


def required(
    kind: type[T], *, doc: str, unit: str = "", settable: bool = False, energises: bool = False
) -> Quantity[T]:
    """A quantity that every driver of the class declares, with its commands or as `absent`."""
    return _Required(kind, unit=unit, doc=doc, settable=settable, energises=energises, abstract=True)


class Absent(Quantity[Any]):
    """Not a capability of this model; reading and setting it raise `NotACapability` with the sheet's reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(object)
        self.reason = reason

    @property
    def capable(self) -> bool:
        """False."""
        return False

    def _refuse(self, part: Part) -> NoReturn:
        raise NotACapability(part.instrument.name, part.path(self.name), self.reason)

    def fetch(self, part: Part) -> Any:
        """Refuse."""
        self._refuse(part)

    def checked(self, part: Part, value: object) -> Any:
        """Refuse."""
        self._refuse(part)


def absent(reason: str) -> Absent:
    """Declare that this model has no such quantity, and where the sheet says so."""
    return Absent(reason)
