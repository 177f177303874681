"""Instruments that speak lines of text, and their quantities: one declaration for one row of the command table.

``power = Float("POW?", "POW {}", unit="W", wire=DBM, limits=(1e-5, 0.02), doc="...")``

Templates may hold the fields of their part: ``"SOUR{n}:VOLT {}"`` in a channel whose `fields` are ``{"n": 1}``; the
unnamed ``{}`` is the value.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, ClassVar, Generic, TypeVar, Unpack, cast
from weakref import WeakKeyDictionary

from labqdl.driver.base import Driver
from labqdl.driver.wire import SI, Wire
from labqdl.errors import InputError
from labqdl.instruments import (
    Channel,
    Declared,
    DeclaredNumber,
    NotACapability,
    NotAValue,
    NotConfirmed,
    Part,
    Quantity,
)
from labqdl.transport import ProtocolError

T = TypeVar("T")
V = TypeVar("V")
E = TypeVar("E", bound=Enum)

_UNDERSCORE = ord("_")
NOT_A_NUMBER = 9.0e37
"""SCPI's 9.91E37 (not a number) and 9.9E37 (infinity) and everything near them is no value."""


class TextInstrument(Driver):
    """An instrument that is told lines and answers with lines."""

    fields: Mapping[str, object] = {}
    """What templates of the instrument's own quantities may use."""
    encoding: ClassVar[str] = "ascii"
    plain_replies: ClassVar[bool] = True
    """Whether `ask` is an exchange of the transport and nothing else, so that a number may be read off its bytes."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.plain_replies = cls.ask is TextInstrument.ask and cls.text is TextInstrument.text

    def ask(self, command: str, *, timeout: float | None = None) -> str:
        """Send a query and give its reply, stripped of terminators and surrounding blanks."""
        reply = self.transport.query(command.encode(self.encoding), timeout=timeout)
        return self.text(reply, command)

    def ask_number(self, command: str, *, timeout: float | None = None) -> float:
        """Send a query and give its number as it stands on the wire; for hand-written methods.

        Raises
        ------
        ProtocolError
            If the reply is no number.
        NotAValue
            If it is the number that means none.
        """
        reply = self.ask(command, timeout=timeout)
        try:
            number = number_in(reply)
        except ValueError:
            raise self.wrong_reply(command, reply, "a number") from None
        if abs(number) > NOT_A_NUMBER:
            raise NotAValue(f"{self.name}: {command} has no value now (reply {reply!r})")
        return number

    def text(self, reply: bytes, command: str) -> str:
        """A reply as text; ProtocolError where it is none."""
        try:
            return reply.decode(self.encoding).strip()
        except UnicodeDecodeError:
            raise self.transport.complain(
                ProtocolError(f"the reply is no {self.encoding} text: {reply[:40]!r}"), command.encode()
            ) from None

    @abstractmethod
    def tell(self, command: str, *, timeout: float | None = None) -> None:
        """Send a command that sets or starts something, and make sure that it was accepted.

        Raises
        ------
        InstrumentError
            If the instrument says that it was not.
        """

    def wrong_reply(self, command: str, reply: object, expected: str) -> ProtocolError:
        """The error for a reply that does not match; the caller raises it."""
        error = ProtocolError(f"the reply {reply!r} is not {expected}")
        self.transport.complain(error, command.encode())
        return error


class TextChannel(Channel):
    """A channel of a text instrument; templates may use its number as ``{n}``."""

    @property
    def fields(self) -> Mapping[str, object]:
        """What templates of the channel's quantities may use."""
        return {"n": self.number}


def talker(part: Part) -> TextInstrument:
    """The instrument that speaks for a part."""
    return cast(TextInstrument, part.instrument)


def fields(part: Part) -> Mapping[str, object]:
    """The fields for the templates of a part."""
    return cast(Mapping[str, object], cast(Any, part).fields)


class TextQuantity(Quantity[T]):
    """A quantity with a query and a command.

    Parameters
    ----------
    get, set:
        Templates; None where there is no such command. `set` may be several commands, sent one after the other.
    """

    def __init__(
        self,
        kind: type[T],
        get: str | None,
        set: str | tuple[str, ...] | None = None,
        *,
        unit: str = "",
        **common: Unpack[DeclaredNumber],
    ) -> None:
        self.get = get
        self.sets = () if set is None else (set,) if isinstance(set, str) else set
        super().__init__(kind, unit=unit, settable=bool(self.sets), readable=get is not None, **common)
        # The common case, a query without fields, is ready for the wire.
        self._plain = None if get is None or "{" in get else get

    def query(self, part: Part) -> str:
        """The query for a part."""
        if self._plain is not None:
            return self._plain
        if self.get is None:
            raise NotAValue(f"{part.instrument.name}: {part.path(self.name)} can only be set")
        return self.get.format(**fields(part))

    def fetch(self, part: Part) -> T:
        """Ask the device, and understand the whole reply or raise ProtocolError."""
        command = self.query(part)
        return self.understood(talker(part).ask(command), command, part)

    def understood(self, reply: str, command: str, part: Part) -> T:
        """The value of a reply; ProtocolError where it is none."""
        try:
            return self.parse(reply, part)
        except ValueError:
            raise talker(part).wrong_reply(command, reply, self.expected) from None

    def store(self, part: Part, value: T) -> None:
        """Send the command, or commands."""
        for command in self.sets:
            talker(part).tell(command.format(self.form(value, part), **fields(part)))

    @property
    def expected(self) -> str:
        """What a reply should be, for messages."""
        return self.kind.__name__

    def parse(self, reply: str, part: Part) -> T:
        """The value of a reply; ValueError where it is none."""
        raise NotImplementedError

    def form(self, value: T, part: Part) -> str:
        """The value as text for the command."""
        raise NotImplementedError

    def commands(self) -> Iterable[str]:
        """Query and commands as declared."""
        return [text for text in (self.get, *self.sets) if text]


class Float(TextQuantity[float]):
    """A number.

    Parameters
    ----------
    wire:
        Conversion between the number on the wire and SI; or a function of the part that gives it, for instruments
        whose unit can be switched.
    form:
        How the number is written: a format specification.
    suffix:
        Text that must follow the number in replies (a unit); removed before the number is read. Blanks before it count
        as part of it only if they are written here.
    field:
        Which field of a reply with commas; None: the reply is the number alone.
    """

    def __init__(
        self,
        get: str | None,
        set: str | tuple[str, ...] | None = None,
        *,
        unit: str,
        wire: Wire | Callable[[Any], Wire] = SI,
        form: str = ".9g",
        suffix: str = "",
        field: int | None = None,
        **common: Unpack[DeclaredNumber],
    ) -> None:
        super().__init__(float, get, set, unit=unit, **common)
        self.wire = wire
        self.format = form
        self.suffix = suffix
        self.field = field
        kind = type(self)
        usual = (kind.query, kind.parse, kind.wire_of) == (TextQuantity.query, Float.parse, Float.wire_of)
        self._sent: bytes | None = None
        self._to_si = SI.to_si
        """What `fetch` sends, and converts with, where nothing stands between the number and its bytes."""
        if usual and not suffix and field is None and not callable(wire) and (self._plain or "").isascii():
            self._sent = None if self._plain is None else self._plain.encode()
            self._to_si = wire.to_si

    def fetch(self, part: Part) -> float:
        """Ask the device, and understand the whole reply or raise ProtocolError.

        Where query and reply are the number alone, this is one exchange and one conversion: most of what a program
        reads in a loop is of this kind.
        """
        if self._sent is None or not getattr(part, "plain_replies", False):
            return super().fetch(part)
        instrument: TextInstrument = part  # type: ignore[assignment]  # no cast, which is a call
        reply = instrument.transport.query(self._sent)
        try:
            number = float(reply)
        except ValueError:
            number = math.nan
        if -NOT_A_NUMBER <= number <= NOT_A_NUMBER and _UNDERSCORE not in reply:
            return self._to_si(number)
        # No number, or one that means none: what it is is found out as for every other reply.
        command = self.query(part)
        return self.understood(instrument.text(reply, command), command, part)

    @property
    def expected(self) -> str:
        """What a reply should be, for messages."""
        return f"a number followed by {self.suffix!r}" if self.suffix else "a number"

    def parse(self, reply: str, part: Part) -> float:
        """The SI value of a reply."""
        number = number_in(reply, self.suffix, self.field)
        if abs(number) > NOT_A_NUMBER:
            raise NotAValue(f"{part.instrument.name}: {part.path(self.name)} has no value now (reply {reply!r})")
        return self.wire_of(part).to_si(number)

    def form(self, value: float, part: Part) -> str:
        """The number on the wire."""
        return format(self.wire_of(part).from_si(value), self.format)

    def rounded(self, part: Part, value: float) -> float:
        """The value of the digits on the wire."""
        return self.wire_of(part).to_si(float(self.form(value, part)))

    def wire_of(self, part: Part) -> Wire:
        """The conversion for a part."""
        return self.wire(part) if callable(self.wire) else self.wire


class Switched(Float):
    """A number whose unit can be switched at the front panel: it is asked for each time, and stays as it is.

    Parameters
    ----------
    unit_query:
        Template of the query for the unit.
    wires:
        For each reply to it, the conversion.
    """

    def __init__(
        self,
        get: str,
        set: str | None = None,
        *,
        unit_query: str,
        wires: Mapping[str, Wire],
        unit: str,
        form: str = ".9g",
        **common: Unpack[DeclaredNumber],
    ) -> None:
        self.current: WeakKeyDictionary[Part, Wire] = WeakKeyDictionary()
        super().__init__(get, set, unit=unit, wire=self.current.__getitem__, form=form, **common)
        self.unit_query = unit_query
        self.wires = wires

    def ask_unit(self, part: Part) -> None:
        """Ask for the unit of a part and keep its conversion for what follows."""
        command = self.unit_query.format(**fields(part))
        reply = talker(part).ask(command)
        wire = self.wires.get(reply.lstrip("+"))
        if wire is None:
            raise talker(part).wrong_reply(command, reply, " or ".join(self.wires))
        self.current[part] = wire

    def fetch(self, part: Part) -> float:
        """Ask for the unit, then for the number."""
        with part.instrument.exclusive():
            self.ask_unit(part)
            return super().fetch(part)

    def store(self, part: Part, value: float) -> None:
        """Ask for the unit, then set."""
        with part.instrument.exclusive():
            self.ask_unit(part)
            super().store(part, value)

    def commands(self) -> Iterable[str]:
        """With the query for the unit."""
        return [*super().commands(), self.unit_query]


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def number_in(reply: str, suffix: str = "", field: int | None = None) -> float:
    """The finite number that the whole reply (or field of it) is; ValueError otherwise."""
    if field is not None:
        parts = reply.split(",")
        if field >= len(parts):
            raise ValueError(reply)
        reply = parts[field].strip()
    if suffix:
        if not reply.endswith(suffix):
            raise ValueError(reply)
        reply = reply[: -len(suffix)]
    # float() alone would take "1_0", "nan" and "infinity".
    if not _NUMBER.fullmatch(reply):
        raise ValueError(reply)
    number = float(reply)
    if not math.isfinite(number):
        raise ValueError(reply)
    return number


def _vocabulary(words: Mapping[V, str | tuple[str, ...]]) -> tuple[dict[V, tuple[str, ...]], dict[str, V]]:
    """For each value its words, and for each word in small letters its value; ValueError where it would have two."""
    known = {value: (word,) if isinstance(word, str) else word for value, word in words.items()}
    meaning: dict[str, V] = {}
    for value, names in known.items():
        for name in names:
            if meaning.setdefault(name.casefold(), value) != value:
                raise ValueError(f"a reply cannot mean {meaning[name.casefold()]} and {value}: {name!r}")
    return known, meaning


class Listed(Float):
    """A number that takes some values only: input impedances, fixed ranges.

    Parameters
    ----------
    words:
        For each value, in SI, the word that is sent, then the words that replies may use instead; replies that are the
        number itself are understood too, also where it has other digits.
    """

    def __init__(
        self,
        get: str | None,
        set: str | tuple[str, ...] | None = None,
        *,
        unit: str,
        words: Mapping[float, str | tuple[str, ...]],
        **common: Unpack[Declared],
    ) -> None:
        limits = (min(words), max(words))
        super().__init__(get, set, unit=unit, limits=limits, **common)
        self.words, self._meaning = _vocabulary(words)
        self._numbers = {one: one for one in self.words}
        self._numbers |= {float(word): one for word, one in self._meaning.items() if _NUMBER.fullmatch(word)}

    @property
    def expected(self) -> str:
        """What a reply should be, for messages."""
        return " or ".join(word for words in self.words.values() for word in words)

    def _listed(self, number: float) -> float | None:
        return next((one for one in self.words if math.isclose(one, number, rel_tol=1e-6)), None)

    def checked(self, part: Part, value: object) -> float:
        """One of the values."""
        listed = self._listed(number := super().checked(part, value))
        if listed is None:
            raise InputError(
                f"{number:.9g} {self.unit}".rstrip() + " is none of its values",
                source=part.instrument.name,
                key=part.path(self.name),
                expected=f"{' or '.join(f'{one:.9g}' for one in self.words)} {self.unit}",
                hint="Nothing was sent",
            )
        return listed

    def parse(self, reply: str, part: Part) -> float:
        """The value that a reply means."""
        if reply.casefold() in self._meaning:
            return self._meaning[reply.casefold()]
        number = number_in(reply)
        for known, one in self._numbers.items():
            if math.isclose(known, number, rel_tol=1e-6):
                return one
        raise ValueError(reply)

    def form(self, value: float, part: Part) -> str:
        """The word."""
        return self.words[value][0]

    def rounded(self, part: Part, value: float) -> float:
        """The value: it is one of those that there are."""
        return value


class Ranged(Float):
    """A range: the instrument takes the next one that fits, and tells which; that is what is kept and compared."""

    def rounded(self, part: Part, value: float) -> float:
        """The range that was taken; NotConfirmed where it is too small."""
        taken = self.fetch(part)
        if taken < value * (1 - 1e-6):
            raise NotConfirmed(
                f"{part.instrument.name}: {part.path(self.name)} was set to {value:.9g} {self.unit} "
                f"and reads {taken:.9g}"
            )
        return taken


class Integer(TextQuantity[int]):
    """A whole number; ``10`` and ``1.0E+1`` are both ten."""

    def __init__(
        self,
        get: str | None,
        set: str | tuple[str, ...] | None = None,
        *,
        unit: str = "1",
        field: int | None = None,
        **common: Unpack[DeclaredNumber],
    ) -> None:
        super().__init__(int, get, set, unit=unit, **common)
        self.field = field

    @property
    def expected(self) -> str:
        """What a reply should be, for messages."""
        return "a whole number"

    def parse(self, reply: str, part: Part) -> int:
        """The number."""
        number = number_in(reply, field=self.field)
        if abs(number) > NOT_A_NUMBER:
            raise NotAValue(f"{part.instrument.name}: {part.path(self.name)} has no value now (reply {reply!r})")
        if number != int(number):
            raise ValueError(reply)
        return int(number)

    def form(self, value: int, part: Part) -> str:
        """The digits."""
        return str(value)


class Choice(TextQuantity[E], Generic[E]):
    """One of several words.

    Parameters
    ----------
    words:
        For each choice the word that is sent, then the words that replies may use instead; replies are compared without
        regard to case.
    """

    def __init__(
        self,
        get: str | None,
        set: str | tuple[str, ...] | None = None,
        *,
        words: Mapping[E, str | tuple[str, ...]],
        **common: Unpack[Declared],
    ) -> None:
        super().__init__(type(next(iter(words))), get, set, **common)
        self.words, self._meaning = _vocabulary(words)

    @property
    def expected(self) -> str:
        """What a reply should be, for messages."""
        return " or ".join(word for words in self.words.values() for word in words)

    def checked(self, part: Part, value: object) -> E:
        """One of the choices that this model has."""
        choice = super().checked(part, value)
        if choice not in self.words:
            raise NotACapability(part.instrument.name, f"{part.path(self.name)} {choice.value}", "not a choice of it")
        return choice

    def parse(self, reply: str, part: Part) -> E:
        """The choice that a reply means."""
        try:
            return self._meaning[reply.strip('"').casefold()]
        except KeyError:
            raise ValueError(reply) from None

    def form(self, value: E, part: Part) -> str:
        """The word."""
        return self.words[value][0]


_USUAL_ON, _USUAL_OFF = ("1", "+1", "ON"), ("0", "+0", "OFF")


class Bool(TextQuantity[bool]):
    """A switch.

    Parameters
    ----------
    on, off:
        The words that are sent.
    replies_on, replies_off:
        More words that replies may use. With the usual words (1 and 0, ON and OFF) replies may use any of them; with
        others, or with 0 for on, only what is said here.
    """

    def __init__(
        self,
        get: str | None,
        set: str | tuple[str, ...] | None = None,
        *,
        on: str = "1",
        off: str = "0",
        replies_on: tuple[str, ...] = (),
        replies_off: tuple[str, ...] = (),
        **common: Unpack[Declared],
    ) -> None:
        super().__init__(bool, get, set, **common)
        self.on, self.off = on, off
        usual = on in _USUAL_ON and off in _USUAL_OFF
        self._meaning = {word.casefold(): False for word in (off, *replies_off, *(_USUAL_OFF if usual else ()))}
        means_on = {word.casefold(): True for word in (on, *replies_on, *(_USUAL_ON if usual else ()))}
        if self._meaning.keys() & means_on.keys():
            raise ValueError(f"a reply cannot mean on and off: {sorted(self._meaning.keys() & means_on.keys())}")
        self._meaning |= means_on

    @property
    def expected(self) -> str:
        """What a reply should be, for messages."""
        return f"{self.on} or {self.off}"

    def parse(self, reply: str, part: Part) -> bool:
        """The switch that a reply means."""
        try:
            return self._meaning[reply.casefold()]
        except KeyError:
            raise ValueError(reply) from None

    def form(self, value: bool, part: Part) -> str:
        """The word."""
        return self.on if value else self.off


class Text(TextQuantity[str]):
    """A text, with or without quotes on the wire."""

    def __init__(
        self,
        get: str | None,
        set: str | tuple[str, ...] | None = None,
        *,
        quoted: bool = False,
        **common: Unpack[Declared],
    ) -> None:
        super().__init__(str, get, set, **common)
        self.quoted = quoted

    def parse(self, reply: str, part: Part) -> str:
        """The text; ValueError where quotes are missing."""
        if not self.quoted:
            return reply
        if len(reply) < 2 or reply[0] != reply[-1] or reply[0] not in "\"'":
            raise ValueError(reply)
        return reply[1:-1]

    def checked(self, part: Part, value: object) -> str:
        """A text that stays one argument: printable ASCII, no quotes inside of quotes, no semicolon outside."""
        text = super().checked(part, value)
        if not (text.isascii() and text.isprintable()) or ('"' if self.quoted else ";") in text:
            raise InputError(
                f"{text!r} is not one argument",
                source=part.instrument.name,
                key=part.path(self.name),
                expected=f"printable ASCII without {'quotes' if self.quoted else 'semicolons'}",
            )
        return text

    def form(self, value: str, part: Part) -> str:
        """The text."""
        return f'"{value}"' if self.quoted else value


class Action:
    """A command without a value that is sent by calling it: ``laser.reset()``."""

    def __init__(self, command: str, *, doc: str, timeout: float | None = None) -> None:
        self.command = command
        self.timeout = timeout
        self.__doc__ = doc

    def __get__(self, part: Part | None, owner: type) -> Callable[[], None]:
        def send() -> None:
            assert part is not None, "an action needs an instrument"
            talker(part).tell(self.command.format(**fields(part)), timeout=self.timeout)

        send.__doc__ = self.__doc__
        return send


class Uses:
    """Names the commands that a hand-written method sends, for the coverage table: ``@Uses("DATA:ARB", "ABOR")``."""

    def __init__(self, *commands: str) -> None:
        self.commands = commands

    def __call__(self, method: T) -> T:
        """The same method, marked."""
        cast(Any, method).commands = self.commands
        return method


def reasons(groups: Mapping[str, str]) -> dict[str, str]:
    """A driver's `left_out` from groups: several commands with blanks between them, and their one reason."""
    return {command: reason for commands, reason in groups.items() for command in commands.split()}
