"""What every instrument is: parts with quantities, an identity, a safe state, a snapshot."""

from __future__ import annotations

import difflib
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from labqdl.clock import Clock, SystemClock
from labqdl.errors import LabqdlError
from labqdl.instruments.limits import Limit
from labqdl.instruments.quantity import Quantity


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an instrument says it is."""

    maker: str
    model: str
    serial: str
    firmware: str

    def __str__(self) -> str:
        """In words: "Thorlabs PM100D, serial P0001234, firmware 2.5.0"; what it does not tell is left out."""
        told = [f"{self.maker} {self.model}".strip() or "an instrument without a name"]
        told += [f"{what} {value}" for what, value in (("serial", self.serial), ("firmware", self.firmware)) if value]
        return ", ".join(told)


@dataclass(frozen=True, slots=True)
class Reading:
    """A value that was read from the device, with unit and wall time (s since 1970 UTC).

    `problem` is the text of the error where there was no value.
    """

    value: Any
    unit: str
    time: float
    problem: str | None = None


class Guard(Protocol):
    """Whoever must be asked before light or voltage comes out, and who darkens the instrument on every way out."""

    def energising(self, instrument: Instrument, what: str) -> None:
        """Called before the first byte of a call that can energise; raises `Refused` if it must not be."""
        ...


class Part(ABC):
    """Something with quantities: an instrument, or one of its channels."""

    label: str = ""
    """How messages and files address the part inside of its instrument: "" or "channel 2"."""

    @property
    @abstractmethod
    def instrument(self) -> Instrument:
        """The instrument that this is, or is part of."""

    @classmethod
    def quantities(cls) -> dict[str, Quantity[Any]]:
        """All quantities by name, in order of declaration, base classes first."""
        found: dict[str, Quantity[Any]] = {}
        for base in reversed(cls.__mro__):
            found |= {name: value for name, value in vars(base).items() if isinstance(value, Quantity)}
        return found

    if not TYPE_CHECKING:  # type checkers find misspelt names themselves, and would take this for leave to set any

        def __setattr__(self, name: str, value: Any) -> None:
            """Set a quantity; a misspelt one of an open instrument is a mistake, not a new attribute without effect."""
            if not name.startswith("_") and not hasattr(type(self), name) and name not in vars(self):
                who = sys._getframe(1).f_locals.get("self")  # a driver's own methods may keep what they like
                close = difflib.get_close_matches(name, self.quantities(), n=1, cutoff=0.8)
                if close and self._is_made() and not (isinstance(who, Part) and who.instrument is self.instrument):
                    wrong = f"{self.instrument.name}: there is no {self.path(name)!r}. Did you mean {close[0]!r}?"
                    raise AttributeError(wrong)
            super().__setattr__(name, value)

    def _is_made(self) -> bool:
        """Whether it is open, and not under construction."""
        try:
            return self.instrument.is_open
        except AttributeError:
            return False

    def path(self, name: str) -> str:
        """A quantity's name inside of the instrument: "power", "channel 2.amplitude"."""
        return f"{self.label}.{name}" if self.label else name

    @abstractmethod
    def complete(self, quantity: Quantity[Any], value: Any) -> None:
        """Wait until the device has done what it was told, as the declaration says."""


class Channel(Part):
    """One of several equal parts of an instrument; `number` counts as the front panel does."""

    kind: ClassVar[str] = "channel"

    def __init__(self, parent: Instrument, number: int) -> None:
        self._parent = parent
        self.number = number
        self.label = f"{self.kind} {number}"

    @property
    def instrument(self) -> Instrument:
        """The instrument that it is part of."""
        return self._parent

    def complete(self, quantity: Quantity[Any], value: Any) -> None:
        """As the instrument does."""
        self._parent.complete_part(self, quantity, value)


class Instrument(Part):
    """An instrument.

    Constructors do no I/O. `open` connects, checks the identity and changes no output; it may be called twice. `close`
    changes no output either: who energised something darkens it with `safe_state`, or the guard does.

    Parameters
    ----------
    name:
        What it is called in the station file and in every message.
    clock:
        For waiting and time stamps.
    """

    safe_order: ClassVar[int] = 70
    """Place in the order in which instruments are made safe, lowest first: amplifier pumps 10, shutters 20,
    attenuators 30, generators 40, bias and voltages 50, lasers 60."""

    def __init__(self, name: str, *, clock: Clock | None = None) -> None:
        self.name = name
        self.clock: Clock = clock or SystemClock()
        self.guard: Guard | None = None
        self.energised = False
        self._station_limits: dict[str, list[Limit]] = {}
        self._settings: dict[tuple[str, str], tuple[Part, Quantity[Any], Any]] = {}

    @property
    def instrument(self) -> Instrument:
        """Itself."""
        return self

    @abstractmethod
    def open(self) -> None:
        """Connect, check the identity, read what limits need; change no output. A second call does nothing."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection; change no output. A second call does nothing."""

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether it is connected."""

    @abstractmethod
    def identity(self) -> Identity:
        """Who the instrument says it is; asks it."""

    @abstractmethod
    def safe_state(self) -> None:
        """Make it emit nothing, whatever state it is in, and confirm it by reading back.

        Works on a connection that was just opened, without any other call before; may be repeated.

        Raises
        ------
        NotConfirmed
            If the instrument does not confirm.
        """

    def channels(self) -> Mapping[int, Channel]:
        """The channels by number; empty where there are none."""
        return {}

    def parts(self) -> Iterator[Part]:
        """The instrument itself, then its channels."""
        yield self
        yield from self.channels().values()

    def snapshot(self) -> dict[str, Reading]:
        """Every readable quantity, read from the device now; one that fails does not stop the others."""
        found: dict[str, Reading] = {}
        for part in self.parts():
            for name, quantity in part.quantities().items():
                if not (quantity.capable and quantity.readable) or quantity.reason_missing(part):
                    continue
                try:
                    value, problem = quantity.fetch(part), None
                except LabqdlError as error:
                    value, problem = None, str(error)
                found[part.path(name)] = Reading(value, quantity.unit, self.clock.wall(), problem)
        return found

    def limit(self, path: str, limit: Limit) -> None:
        """Add a limit of the station or of an interlock to the quantity with this path.

        Raises
        ------
        KeyError
            If there is no such quantity.
        """
        if path not in {part.path(name) for part in self.parts() for name in part.quantities()}:
            raise KeyError(path)
        self._station_limits.setdefault(path, []).append(limit)

    def station_limits(self, path: str) -> list[Limit]:
        """The limits that were added for a path."""
        return self._station_limits.get(path, [])

    def energising(self, what: str) -> None:
        """To be called before the first byte of everything that can make light or voltage come out."""
        if self.guard is not None:
            self.guard.energising(self, what)
        self.energised = True

    def remember(self, part: Part, quantity: Quantity[Any], value: Any) -> None:
        """Keep what was set, to compare with after a lost connection."""
        self._settings[part.label, quantity.name] = (part, quantity, value)

    def forget(self, part: Part, name: str) -> None:
        """What was set of this quantity holds no longer by itself, and is not compared.

        Of a part: of it and of the instrument; of the instrument: of all its parts, too.
        """
        for key in [key for key in self._settings if key[1] == name and (part is self or key[0] in ("", part.label))]:
            del self._settings[key]

    def kept(self, part: Part, name: str) -> Any:
        """What was set last of a quantity, as far as it is compared with; else None."""
        _, _, value = self._settings.get((part.label, name), (None, None, None))
        return value

    def exclusive(self) -> AbstractContextManager[object]:
        """Nobody else talks to the instrument inside of this context."""
        return nullcontext()

    def complete(self, quantity: Quantity[Any], value: Any) -> None:
        """Wait until the device has done what it was told."""
        self.complete_part(self, quantity, value)

    @abstractmethod
    def complete_part(self, part: Part, quantity: Quantity[Any], value: Any) -> None:
        """Wait until the device has done what a part of it was told."""

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None and self.energised:
                self.safe_state()
        finally:
            self.close()
