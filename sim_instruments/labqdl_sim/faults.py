"""Declarative faults of simulated instruments: what goes wrong, and when.

A `Rule` is an effect with a trigger. Rules come from Python (`twin.faults.add("late", value=2.0, nth=3)`), from the
station file (`[[faults]] target = "meter"`, `effect = "late"`) or through the control port; never through the
instrument's own commands. Triggers count events, not probabilities, so that a test knows what will happen.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from labqdl.errors import InputError

if TYPE_CHECKING:
    from labqdl_sim.twin import Session, Twin
    from labqdl_sim.world import World

EFFECTS: dict[str, str] = {
    # link
    "refuse": "no connection is accepted",
    "sessions": "no more than `value` sessions at a time",
    "vanish": "all connections drop and none is accepted, until the rule is removed",
    "close": "the connection ends (FIN) instead of an answer",
    "reset": "the connection is reset (RST) instead of an answer",
    "cut": "half of the reply comes, then the connection ends",
    "ignore": "the message is accepted and not carried out",
    "silent": "the message is carried out, its reply never comes",
    "late": "the reply comes `value` seconds late",
    "drip": "the reply comes byte by byte, `value` seconds apart",
    "flip": "the lowest bit of byte `value` of the reply is flipped",
    "flip-input": "the lowest bit of byte `value` of what the instrument receives is flipped",
    "truncate": "the last `value` bytes of the reply are lost, its terminator with them (default: half of it)",
    "duplicate": "the reply comes twice",
    "terminator": "the reply ends in `text` instead of its terminator",
    # message
    "garble": "the reply is random printable text of the same length",
    "non-ascii": "the reply contains bytes above 127",
    "replace": "the reply is `text`",
    "overrange": "numbers in the reply read 9.91E37",
    "nan": "numbers in the reply read NAN",
    "inf": "numbers in the reply read INF",
    "block-length": "the length in a block's header is `value` bytes too large (negative: too small)",
    "block-tail": "the last `value` bytes of a block are missing, the terminator is there",
    "behind": "each reply is the one that belonged to the query before",
    "error": "an error that nobody made enters the queue: code `value`, text `text`",
    "overflow": "the error queue overflows",
    # status
    "stuck": "bits `value` of `register` (STB, ESR, OPER, QUES) are always set",
    "masked": "bits `value` of `register` are never set",
    "opc-never": "*OPC? is never answered",
    "busy": "an operation is running all the time",
    "interlock": "the interlock is open",
    "lockout": "the front panel has the instrument: it refuses remote settings",
    "stay-on": "outputs do not go off when they are told to",
    # the optical world
    "world": "from the message on, what the table `set` says happens to `part` of the optical world (see `happen`)",
    "slip": "a phase lock loses its phase",
}
"""Every effect and what it does."""

_STATES = frozenset(
    {"stuck", "masked", "busy", "interlock", "lockout", "stay-on", "slip", "refuse", "sessions", "vanish"}
)
_NUMBER = re.compile(rb"[+-]?\d+\.?\d*(?:[eE][+-]?\d+)?")


@dataclass(slots=True)
class Rule:
    """An effect and its trigger. Without a trigger it applies to every message.

    `command`: regular expression (case-insensitive) that the message must contain; frames are matched as lower-case
    hexadecimal. `nth`: only the nth match. `every`: every nth match. `start`, `stop`: window of instrument time in s.
    `rate`: probability per match, from a named stream. `times`: at most so many firings. `manual`: only while `on`.
    `value`, `text`, `register`, `part`, `set`: see the effect.
    """

    effect: str
    command: str | None = None
    nth: int | None = None
    every: int | None = None
    start: float = -math.inf
    stop: float = math.inf
    rate: float | None = None
    times: int | None = None
    manual: bool = False
    on: bool = False
    value: float | None = None
    text: str | None = None
    register: str = "STB"
    part: str | None = None
    set: Mapping[str, Any] | None = None
    matches: int = field(default=0, init=False)
    fired: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.effect not in EFFECTS:
            near = difflib.get_close_matches(self.effect, EFFECTS, n=1)
            raise InputError(
                f"no fault {self.effect!r}", key="effect", expected=f"one of {', '.join(EFFECTS)}",
                hint=f"Did you mean {near[0]!r}?" if near else None,
            )  # fmt: skip
        if self.command is not None:
            try:
                re.compile(self.command)
            except re.error as error:
                raise InputError(f"command {self.command!r} is no regular expression: {error}", key="command") from None
        for name in ("nth", "every", "times"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise InputError(f"{name} is {count}", key=name, expected="a count from 1 on")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Rule:
        """A rule out of a table of a file; unknown keys are an InputError."""
        known = {entry.name for entry in fields(cls) if entry.init}
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                raise InputError(
                    f"a fault has no {key!r}", key=key, hint=f"Did you mean {near[0]!r}?" if near else None
                )
        if "effect" not in table:
            raise InputError("a fault without effect", key="effect", expected=f"one of {', '.join(EFFECTS)}")
        return cls(**table)

    def holds(self, now: float) -> bool:
        """Whether a lasting effect applies now."""
        return (self.on or not self.manual) and self.start <= now < self.stop

    def fires(self, now: float, words: str, generator: np.random.Generator | None) -> bool:
        """Whether the rule applies to this message; counts it."""
        if not self.holds(now) or (self.times is not None and self.fired >= self.times):
            return False
        if self.command is not None and re.search(self.command, words, re.IGNORECASE) is None:
            return False
        self.matches += 1
        if self.nth is not None and self.matches != self.nth:
            return False
        if self.every is not None and self.matches % self.every:
            return False
        if self.rate is not None and (generator is None or generator.random() >= self.rate):
            return False
        self.fired += 1
        return True


class Faults:
    """The fault plan of one twin. `armed` is False while it has no rule; then nothing here costs anything."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self.rules: list[Rule] = []
        self.armed = False
        self._held: bytes | None = None
        self._stream: np.random.Generator | None = None

    def add(self, effect: str, **trigger: Any) -> Rule:
        """Add a rule and return it; `rule.on` switches a manual one."""
        return self.put(Rule(effect, **trigger))

    def put(self, rule: Rule) -> Rule:
        """Add a rule that was made before."""
        with self._twin.lock:
            if rule.effect == "world":
                self._happens(rule, rehearsed=True)
            self.rules.append(rule)
            self.armed = True
            if rule.rate is not None and self._stream is None:
                self._stream = self._twin.generator("faults")
            if rule.effect == "vanish" and rule.holds(self._twin.now):
                self._vanish()
        return rule

    def remove(self, rule: Rule) -> None:
        """Take a rule back."""
        with self._twin.lock:
            self.rules.remove(rule)
            self.armed = bool(self.rules)

    def clear(self) -> None:
        """Take all rules back."""
        with self._twin.lock:
            self.rules.clear()
            self.armed = False
            self._held = None

    def _happens(self, rule: Rule, *, rehearsed: bool = False) -> None:
        """Carry out a rule on a part of the world, from now on."""
        world = self._twin.world
        if world is None:
            raise InputError("this bench has no optical world: its file wires nothing", key="effect")
        happen(world, {"part": rule.part, "set": rule.set or {}, "start": self._twin.now}, rehearsed=rehearsed)

    def active(self, effect: str) -> bool:
        """Whether a lasting effect (interlock, lockout, busy, stay-on, ...) applies now: twins ask this."""
        return self.armed and any(rule.effect == effect and rule.holds(self._twin.now) for rule in self.rules)

    def status(self, register: str, value: int) -> int:
        """A status register as it can be read, with stuck and masked bits."""
        if not self.armed:
            return value
        for rule in self.rules:
            if rule.effect in ("stuck", "masked") and rule.register == register and rule.holds(self._twin.now):
                bits = int(rule.value or 0)
                value = value | bits if rule.effect == "stuck" else value & ~bits
        return value

    def connecting(self) -> None:
        """A connection comes: ConnectionRefusedError when a rule says so."""
        now = self._twin.now
        for rule in self.rules:
            if not rule.holds(now):
                continue
            full = rule.effect == "sessions" and len(self._twin.sessions) >= int(rule.value or 1)
            if full or rule.effect == "vanish" or (rule.effect == "refuse" and rule.fires(now, "", self._stream)):
                raise ConnectionRefusedError(f"{self._twin.name} accepts no connection")

    def _vanish(self) -> None:
        for session in list(self._twin.sessions):
            session.drop("reset")

    def inbound(self, session: Session, data: bytes) -> bytes:
        """What the instrument receives of the bytes that were sent."""
        if self.active("vanish"):
            self._vanish()
            return b""
        for rule in self.rules:
            if (
                rule.effect == "flip-input"
                and data
                and rule.fires(self._twin.now, self._twin.words(data), self._stream)
            ):
                data = _flip(data, int(rule.value or 0))
        return data

    def execute(self, session: Session, message: bytes) -> None:
        """Carry out a message with all rules that fire on it."""
        twin = self._twin
        words = twin.words(message)
        firing = [
            rule for rule in self.rules
            if rule.effect not in _STATES and rule.effect != "flip-input"
            and (rule.effect != "opc-never" or "*OPC?" in words.upper())
            and rule.fires(session.time, words, self._stream)
        ]  # fmt: skip
        effects = {rule.effect for rule in firing}
        for how, lost in (("close", "closed"), ("reset", "reset")):
            if how in effects:
                session.drop(lost)
                return
        if "ignore" in effects:
            return
        for rule in firing:
            if rule.effect == "world":
                self._happens(rule)
            elif rule.effect == "error":
                twin.spurious_error(int(rule.value if rule.value is not None else -300), rule.text or "")
            elif rule.effect == "overflow":
                for _ in range(1000):
                    twin.spurious_error(-300, "")
        reply = twin.execute(message)
        if reply is None and session.answers:
            reply = b""
        if "silent" in effects or "opc-never" in effects or reply is None:
            return
        delay = 0.0
        for rule in firing:
            if rule.effect == "late":
                delay += rule.value if rule.value is not None else 1.0
            elif rule.effect == "behind":
                reply, self._held = self._held, reply
                if reply is None:
                    return
            else:
                reply = _alter(rule, reply, twin)
        if "cut" in effects:
            session.put(reply[: len(reply) // 2], delay=delay, end=False)
            session.drop("closed")
            return
        drip = next((rule for rule in firing if rule.effect == "drip"), None)
        if drip is not None:
            interval = drip.value if drip.value is not None else 0.01
            for index in range(len(reply)):
                session.put(reply[index : index + 1], delay=delay + index * interval, end=index == len(reply) - 1)
            return
        session.put(reply, delay=delay)
        if "duplicate" in effects:
            session.put(reply, delay=delay)


def happen(world: World, table: Mapping[str, Any], *, rehearsed: bool = False) -> None:
    """Let something happen to a part of the optical world.

    Parameters
    ----------
    table:
        `part`, its name; `set`, a table of what happens and how much of it (a fault or a parameter of its kind);
        `start` and `stop`, between which instants in s (default: for ever); or, instead of `set`, `mend`: true or the
        name of the fault that is over.
    rehearsed:
        Only say whether it could happen.

    Raises
    ------
    InputError
        For parts that do not exist, for what cannot happen to them, and for numbers that are none.
    """
    for key in table:
        if key not in ("part", "set", "start", "stop", "mend"):
            raise InputError(f"an event of the world has no {key!r}", key=key, expected="part, set, start, stop, mend")
    part = world.part(str(table.get("part")))
    changes = table.get("set", {})
    if not isinstance(changes, Mapping) or bool(changes) == ("mend" in table):
        raise InputError("an event says what happens or what is over", key="set", expected="set or mend")
    if "mend" in table:
        part.mend(None if table["mend"] is True else str(table["mend"]))
        return
    window = {name: _number(table[name], name) for name in ("start", "stop") if name in table}
    values = {str(what): _number(value, f"set.{what}") for what, value in changes.items()}
    for what in values:
        part.check(what, lasting=not window)
    if rehearsed:
        return
    for what, value in values.items():
        part.strike(what, value, **window)


def _number(value: object, key: str) -> float:
    if not isinstance(value, (bool, int, float)) or not math.isfinite(value):
        raise InputError(f"{value!r} is no finite number", key=key)
    return float(value)


def _flip(data: bytes, index: int) -> bytes:
    index = min(index, len(data) - 1)
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


def _body(reply: bytes) -> tuple[bytes, bytes]:
    """Reply and its terminator (CR and LF at its end)."""
    body = reply.rstrip(b"\r\n")
    return body, reply[len(body) :]


def _alter(rule: Rule, reply: bytes, twin: Twin) -> bytes:
    effect, value = rule.effect, rule.value
    if effect == "flip":
        return _flip(reply, int(value or 0)) if reply else reply
    if effect == "truncate":
        lost = len(reply) - len(reply) // 2 if value is None else int(value)
        return reply[: max(len(reply) - lost, 0)]
    body, end = _body(reply)
    if effect == "terminator":
        return body + (rule.text or "").encode("latin-1")
    if effect == "garble":
        letters = twin.generator("garble", rule.fired).integers(0x21, 0x7F, len(body)).astype(np.uint8)
        return letters.tobytes() + end
    if effect == "non-ascii":
        return b"\xe9\xff" + body[2:] + end
    if effect == "replace":
        return (rule.text or "").encode("latin-1") + end
    if effect in ("overrange", "nan", "inf"):
        return _NUMBER.sub({"overrange": b"9.91E37", "nan": b"NAN", "inf": b"INF"}[effect], body) + end
    if effect in ("block-length", "block-tail"):
        start = reply.find(b"#")
        if start < 0 or not reply[start + 1 : start + 2].isdigit():
            return reply
        digits = int(reply[start + 1 : start + 2])
        head = start + 2 + digits
        if effect == "block-length":
            count = max(int(reply[start + 2 : head]) + int(1 if value is None else value), 0)
            return reply[: start + 2] + str(count).zfill(digits).encode()[-digits:] + reply[head:]
        stop = head + int(reply[start + 2 : head])
        return reply[: max(stop - int(1 if value is None else value), head)] + reply[stop:]
    return reply
