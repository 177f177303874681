r"""Byte examples of the instruments' fact sheets, and the two ways to play them: against a driver, against a twin.

`tests/sheets/NAME.toml` holds each example that a sheet gives; a driver test runs it over a `scripted` transport, a
twin test feeds it with `play`. Strings are Latin-1, so that `"\r"` and text stand as they are; `send_hex` and
`reply_hex` are for binary frames. An exchange without `send` is what the instrument says unasked; one without a reply
has none. `typical` marks replies whose value is the sheet's example only (a serial number, a measured power): a driver
must understand the very bytes, a twin must answer in their form. `derived` names the sides ("send", "reply") whose
bytes the sheet gives by its rules and not in so many bytes.
"""

from __future__ import annotations

import re
import tomllib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from labqdl.clock import Clock, ManualClock
from labqdl.transport import Framing, Transport, TransportTimeout

SHEETS = Path(__file__).parent / "sheets"
_KEYS = {"send", "send_hex", "reply", "reply_hex", "typical", "derived"}


@dataclass(frozen=True)
class Exchange:
    """One message and its reply; `send` is None where the instrument speaks unasked, `reply` where it is silent."""

    send: bytes | None
    reply: bytes | None
    typical: bool = False
    derived: frozenset[str] = frozenset()
    binary: bool = False


@dataclass(frozen=True)
class Example:
    """One worked example of a sheet, on these lines of it."""

    title: str
    lines: tuple[int, ...]
    exchanges: tuple[Exchange, ...]

    @property
    def typical(self) -> bool:
        """Whether some reply is an example of its form only."""
        return any(exchange.typical for exchange in self.exchanges)


@dataclass(frozen=True)
class Sheet:
    """The examples and the commands of one sheet."""

    name: str
    sheet: str
    worked: int
    commands: tuple[str, ...]
    examples: tuple[Example, ...]

    def __getitem__(self, title: str) -> Example:
        return next(example for example in self.examples if example.title == title)

    @property
    def titles(self) -> tuple[str, ...]:
        """Titles of all examples, in the order of the file."""
        return tuple(example.title for example in self.examples)


def names() -> list[str]:
    """Names of all instruments that have a file of examples."""
    return sorted(path.stem for path in SHEETS.glob("*.toml"))


def load(name: str) -> Sheet:
    """The examples of an instrument; ValueError where the file is not as it should be."""
    found = tomllib.loads((SHEETS / f"{name}.toml").read_text(encoding="utf-8"))
    examples = tuple(
        Example(entry["title"], tuple(entry["lines"]), tuple(_exchange(name, one) for one in entry["exchange"]))
        for entry in found["example"]
    )
    return Sheet(name, found["sheet"], found["worked"], tuple(found["commands"]), examples)


def _exchange(name: str, entry: dict[str, Any]) -> Exchange:
    if not entry or entry.keys() - _KEYS:
        raise ValueError(f"{name}: an exchange has the keys {sorted(_KEYS)}, not {sorted(entry)}")
    send, reply = _bytes(entry, "send"), _bytes(entry, "reply")
    binary = "send_hex" in entry or "reply_hex" in entry
    return Exchange(send, reply, entry.get("typical", False), frozenset(entry.get("derived", ())), binary)


def _bytes(entry: dict[str, Any], side: str) -> bytes | None:
    if f"{side}_hex" in entry:
        return bytes.fromhex(entry[f"{side}_hex"])
    return entry[side].encode("latin-1") if side in entry else None


# --- against a driver ------------------------------------------------------------------------------------------------


def alike(sent: bytes, expected: bytes) -> bool:
    """Whether two messages are the same: byte for byte, or lines of text that differ in how an argument is written.

    `SRAT 1E8` and `SRAT 100000000.0` are alike; `+` signs, decimals and exponents are the driver's own choice.
    """
    if sent == expected:
        return True
    if not (_is_text(sent) and _is_text(expected)):
        return False
    return _numbers_apart(sent) == _numbers_apart(expected)


_ARGUMENT = re.compile(rb"(?<=[ ,=])[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?=[\s,;]|$)")


def _is_text(data: bytes) -> bool:
    return bool(data) and b"#" not in data and all(byte in b"\r\n\t" or 32 <= byte < 127 for byte in data)


def _numbers_apart(data: bytes) -> tuple[bytes, list[float]]:
    return _ARGUMENT.sub(b"\x00", data), [float(number) for number in _ARGUMENT.findall(data)]


class ScriptRoad:
    """A road to an instrument that knows one dialogue only, in its order.

    `housekeeping` messages may come at any time between the others, any number of times. Anything else is an
    AssertionError, at once and again in `finish`, so that nobody can swallow it.
    """

    def __init__(
        self,
        exchanges: Iterable[Exchange],
        housekeeping: Mapping[bytes, bytes | None] | None = None,
        *,
        clock: Clock | None = None,
        messages: bool = False,
    ) -> None:
        self.messages = messages
        self.in_process = True
        self.openings = 0
        self._clock: Clock = ManualClock() if clock is None else clock
        self._steps = deque(exchanges)
        self._housekeeping = dict(housekeeping or {})
        self._sent = b""
        self._replies: deque[bytes] = deque()
        self._failure: AssertionError | None = None

    def now(self) -> float:
        """Seconds on the script's clock."""
        return self._clock.monotonic()

    def open(self) -> None:
        """Begin, or begin again: what waited unread is gone."""
        self.openings += 1
        self._sent = b""
        self._replies.clear()
        self._speak()

    def close(self) -> None:
        """Nothing to let go of."""

    def end_on(self, byte: int | None) -> None:
        """Of no use here."""

    def send(self, data: bytes | bytearray | memoryview, deadline: float) -> None:
        """Compare with the next step; on a stream, a message may come in pieces."""
        self._sent += bytes(data)
        step = self._steps[0] if self._steps else None
        expected = None if step is None else step.send
        if step is not None and expected is not None and alike(self._sent, expected):
            self._steps.popleft()
            self._answer(step.reply)
        elif self._sent in self._housekeeping:
            self._answer(self._housekeeping[self._sent])
        elif self.messages or not any(one.startswith(self._sent) for one in (expected or b"", *self._housekeeping)):
            self._failure = AssertionError(f"sent {self._sent!r} where the script has {expected!r}")
            raise self._failure

    def _answer(self, reply: bytes | None) -> None:
        self._sent = b""
        if reply is not None:
            self._replies.append(reply)
        self._speak()

    def _speak(self) -> None:
        while self._steps and self._steps[0].send is None:
            unasked = self._steps.popleft().reply
            assert unasked is not None, "an exchange needs a message or a reply"
            self._replies.append(unasked)

    def receive(self, maximum: int, deadline: float) -> bytes:
        """The next reply, or as much of it as is wanted; TransportTimeout where the script has none."""
        if not self._replies:
            raise TransportTimeout("the script has no reply here")
        reply = self._replies.popleft()
        if len(reply) > maximum:
            self._replies.appendleft(reply[maximum:])
        return reply[:maximum]

    def receive_into(self, view: memoryview, deadline: float) -> int:
        """Like `receive`, into a buffer."""
        data = self.receive(len(view), deadline)
        view[: len(data)] = data
        return len(data)

    def waiting(self) -> bool:
        """Whether a reply waits unread."""
        return bool(self._replies)

    def finish(self) -> None:
        """AssertionError where a message was wrong, where steps are left over, or where a reply was not read."""
        if self._failure is not None:
            raise self._failure
        assert not self._sent, f"half a message was sent: {self._sent!r}"
        assert not self._steps, f"never sent: {[step.send for step in self._steps]}"
        assert not self._replies, f"never read: {list(self._replies)}"


class ScriptedTransport(Transport):
    """A transport to a script; leaving its `with` block without an error checks that the script is at its end."""

    def __init__(self, script: ScriptRoad, framing: Framing, **options: Any) -> None:
        self.script = script
        super().__init__(script, framing, name="script", resource="script", **options)

    def finish(self) -> None:
        """AssertionError where the script was not followed to its end."""
        self.script.finish()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        if exception[0] is None:
            self.finish()


def scripted(
    exchanges: Example | Sequence[Exchange | tuple[bytes | None, bytes | None]],
    framing: Framing,
    housekeeping: Mapping[bytes, bytes | None] | None = None,
    *,
    messages: bool = False,
    unasked: bool = False,
    timeout: float = 2.0,
    spacing: float = 0.0,
    clock: Clock | None = None,
) -> ScriptedTransport:
    r"""A transport to an instrument that plays these exchanges, in this order, and nothing else.

    Bytes are whole messages with their terminators, as they go over the wire. `housekeeping` pairs, such as
    ``{b"SYST:ERR?\n": b'+0,"No error"\n'}``, may come any time. The clock stands still but for spacing and sleeps.

    Use ``with scripted(sheet["title"], Line()) as transport: ...``, or call `finish()` at the end.
    """
    steps = exchanges.exchanges if isinstance(exchanges, Example) else exchanges
    time = ManualClock() if clock is None else clock
    road = ScriptRoad(
        [step if isinstance(step, Exchange) else Exchange(*step) for step in steps],
        housekeeping,
        clock=time,
        messages=messages,
    )
    return ScriptedTransport(road, framing, clock=time, timeout=timeout, spacing=spacing, unasked=unasked)


# --- against a twin --------------------------------------------------------------------------------------------------


class TwinSession(Protocol):
    """What `play` needs of a twin's session."""

    @property
    def output(self) -> bytearray:
        """Bytes to the host, not yet fetched."""
        ...

    def feed(self, data: bytes) -> None:
        """Bytes from the host."""
        ...


def play(session: TwinSession, exchange: Exchange) -> bytes:
    """Feed one exchange to a twin, fetch all that it answers, and compare: bytes, or the form where it is typical.

    A test moves the twin's clock before, where an answer needs time. Returns what came.
    """
    if exchange.send is not None:
        session.feed(exchange.send)
    got = bytes(session.output)
    session.output.clear()
    wanted = exchange.reply or b""
    if exchange.typical:
        assert same_form(got, wanted), f"{exchange.send!r}: {got!r} has not the form of {wanted!r}"
    else:
        assert got == wanted, f"{exchange.send!r}: {got!r} instead of {wanted!r}"
    return got


_PARTS = re.compile(r"([\s,;:{}]+)")


def same_form(got: bytes, wanted: bytes) -> bool:
    r"""Whether two replies differ in their values only.

    Text: the same terminator, separators and number of fields; a number answers a number with as many decimals and
    digits of exponent; a quoted text a quoted one; any word any word. Binary: the same length.
    """
    if not _is_text(wanted):
        return len(got) == len(wanted)
    if not _is_text(got):
        return False
    ours, theirs = _PARTS.split(got.decode("latin-1")), _PARTS.split(wanted.decode("latin-1"))
    if not any(_number_form(part) for part in theirs):  # names and descriptions: commas and terminator must agree
        return _frame(got) == _frame(wanted) and bool(got.strip())
    return len(ours) == len(theirs) and all(_alike_part(one, other) for one, other in zip(ours, theirs, strict=True))


def _frame(data: bytes) -> tuple[int, bytes, bool]:
    return data.count(b","), data[len(data.rstrip(b"\r\n")) :], data[:1] == b'"'


def _alike_part(got: str, wanted: str) -> bool:
    if _PARTS.fullmatch(wanted) or not wanted:
        return got == wanted
    form = _number_form(wanted)
    if form is not None:
        return _number_form(got) == form
    return bool(got) and (got[0] == '"') == (wanted[0] == '"')


def _number_form(word: str) -> tuple[bool, int | None, int | None] | None:
    """(explicit sign, decimals, digits of the exponent) of a number; None for a word."""
    match = re.fullmatch(r"([+-]?)\d+(?:\.(\d*))?(?:[eE][+-]?(\d+))?", word)
    if match is None:
        return None
    decimals = None if match[2] is None else len(match[2])
    exponent = None if match[3] is None else len(match[3])
    return match[1] == "+", decimals, exponent
