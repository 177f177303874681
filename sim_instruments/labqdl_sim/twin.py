"""A simulated instrument: a synchronous object that knows bytes and instrument time, and nothing else.

A `Twin` has no thread, socket or sleep. Whoever talks to it opens a `Session` with `connect()`, feeds it bytes and
finds replies in its queue, each with the instrument time at which it leaves the instrument. A route (in process,
TCP, serial) waits until then on its clock: with a `ManualClock` a sweep of a minute costs nothing. All sessions of
a twin share the state of the device; each has its own input and output queue.

A new twin derives from a dialect (`ScpiTwin`, `LineTwin`, `FrameTwin`), not from `Twin`.
"""

from __future__ import annotations

import math
import pkgutil
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

import numpy as np

from labqdl.clock import Clock
from labqdl.errors import InputError
from labqdl.rng import Root
from labqdl_sim.faults import Faults
from labqdl_sim.ports import Edges, Light, LightIn, LightOut, Port, PulseIn, VoltageIn, VoltageOut, Voltages
from labqdl_sim.steps import Polls, StepClock

if TYPE_CHECKING:
    from labqdl_sim.world import World

T = TypeVar("T")
P = TypeVar("P", LightIn, LightOut, PulseIn, VoltageIn, VoltageOut)


@dataclass(slots=True)
class Reply:
    """Bytes that leave the instrument together.

    `ready_at`: when, instrument time in s; `end`: END comes with the last one; `tag`: of the message that they answer,
    for roads that number messages; `free`: nobody asked for it, and replies may overtake it.
    """

    data: bytes
    ready_at: float
    end: bool = True
    tag: int = 0
    free: bool = False


class Watcher(Protocol):
    """Who wants to know when an instrument is talked to: the world, in which its settings have effects."""

    def before(self) -> None:
        """A message is about to be executed."""
        ...

    def after(self) -> None:
        """A message was executed."""
        ...


class Session:
    """One conversation with a twin. Routes create it by `Twin.connect` and hold its output queue `replies`.

    Attributes
    ----------
    replies:
        What the instrument has to say, oldest first; a route takes a reply once its `ready_at` has come.
    exchange:
        The road enforces the message exchange protocol of IEEE 488.2 (GPIB, USBTMC): a message before the reply to
        the last one was read interrupts it. Streams (socket, serial) do not.
    time:
        Instrument time up to which this session's parser is busy.
    answers:
        Every message gets a reply on this road, an empty one if there is no other (ZeroMQ).
    baud:
        Line speed of a serial road, else None.
    lost:
        None while the connection stands; "closed" or "reset" once the instrument dropped it.
    dropped:
        Called when the instrument drops the connection, so that a waiting route wakes up.
    tag:
        What the road calls the message that it feeds; replies carry it.
    taken:
        Bytes of the first reply that were read already.
    buffer, scanned, needed:
        Input that is not executed yet, and how far the dialect's splitter has looked.
    polls:
        On a clock that goes by messages: what was asked and answered before.
    """

    __slots__ = (
        "answers", "baud", "buffer", "dropped", "exchange", "lost", "needed", "polls", "replies", "scanned", "tag",
        "taken", "time", "twin",
    )  # fmt: skip

    def __init__(self, twin: Twin, exchange: bool) -> None:
        self.twin = twin
        self.exchange = exchange
        self.answers = False
        self.replies: deque[Reply] = deque()
        self.time = -1e300
        self.baud: int | None = None
        self.lost: str | None = None
        self.dropped: Callable[[], None] | None = None
        self.tag = 0
        self.buffer = bytearray()
        self.scanned = 0
        self.needed = 0
        self.taken = 0
        self.polls = Polls()

    def feed(self, data: bytes | bytearray | memoryview, end: bool = False) -> None:
        """Bytes arrive (`end`: with END behind the last); complete messages in them are executed at once."""
        twin = self.twin
        with twin.lock:
            if self.lost is not None or (self.baud is not None and twin.baud not in (None, self.baud)):
                return
            if self.exchange and self.replies:
                twin.interrupted(self)
            if twin.faults.armed:
                data = twin.faults.inbound(self, bytes(data))
            elif not self.buffer and type(data) is bytes:
                message = twin.known(data)
                if message is not None:
                    self._execute(message)
                    return
            self.buffer += data
            message = twin.split(self, end)
            while message is not None:
                self._execute(message)
                message = twin.split(self, end) if self.buffer and self.lost is None else None

    def _execute(self, message: bytes) -> None:
        twin = self.twin
        clock = twin.clock
        if isinstance(clock, StepClock):
            clock.advance(self.polls.step(message, clock.step))
        now = clock.monotonic()
        if self.time < now:
            self.time = now
        watcher = twin.watcher
        if watcher is not None:
            watcher.before()
        known = len(self.replies)
        outer, twin.session = twin.session, self
        try:
            if twin.faults.armed:
                twin.faults.execute(self, message)
            else:
                reply = twin.execute(message)
                if reply is None and self.answers:
                    reply = b""
                if reply is not None:
                    self.put(reply)
        finally:
            twin.session = outer
            if watcher is not None:
                watcher.after()
            if isinstance(clock, StepClock):
                self.polls.heard(message, b"".join(reply.data for reply in list(self.replies)[known:]))
                ends = [self.time, *(reply.ready_at for reply in self.replies)]
                clock.reach(max(end for end in ends if math.isfinite(end)))

    def put(self, data: bytes, *, delay: float = 0.0, end: bool = True) -> None:
        """Queue a reply that leaves when the parser is done with its message, plus latency and `delay` in s."""
        ready_at = self.time + self.twin.latency + delay
        if not self.replies:
            self.replies.append(Reply(data, ready_at, end, self.tag))
            return
        for reply in self.replies:
            if not reply.free and reply.ready_at > ready_at:
                ready_at = reply.ready_at  # replies do not overtake each other
        self._insert(Reply(data, ready_at, end, self.tag))

    def announce(self, data: bytes, delay: float) -> Reply:
        """Queue a message that nobody asked for, `delay` s from now; replies in between overtake it."""
        now = max(self.time, self.twin.clock.monotonic())
        reply = Reply(data, now + delay, True, self.tag, free=True)
        self._insert(reply)
        return reply

    def withdraw(self, reply: Reply) -> None:
        """Take back what was announced; too late once somebody began to read it."""
        for index, other in enumerate(self.replies):
            if other is reply and (index or not self.taken):
                del self.replies[index]
                return

    def _insert(self, reply: Reply) -> None:
        place = len(self.replies)
        while place > bool(self.taken) and self.replies[place - 1].ready_at > reply.ready_at:
            place -= 1
        self.replies.insert(place, reply)

    def ready_at(self) -> float | None:
        """Instrument time at which the next reply can be read; None when the instrument has nothing to say."""
        return self.replies[0].ready_at if self.replies else None

    def waiting(self) -> int:
        """How many bytes can be read now."""
        with self.twin.lock:
            now = self.twin.clock.monotonic()
            return sum(len(reply.data) for reply in self.replies if reply.ready_at <= now) - self.taken

    def read(self, limit: int) -> tuple[bytes | memoryview, bool]:
        """Up to `limit` bytes of the first reply, which must be ready, and whether END came with them."""
        reply = self.replies[0]
        taken = self.taken
        rest = len(reply.data) - taken
        if rest <= limit:
            self.replies.popleft()
            self.taken = 0
            return (memoryview(reply.data)[taken:] if taken else reply.data), reply.end
        self.taken = taken + limit
        return memoryview(reply.data)[taken : taken + limit], False

    def read_until(self, limit: int, stop: int | None) -> tuple[bytes | memoryview, bool]:
        """`read`, but not beyond the first byte `stop`."""
        if stop is None:
            return self.read(limit)
        at = self.replies[0].data.find(stop, self.taken)
        if at < 0 or at + 1 - self.taken >= limit:
            return self.read(limit)
        return self.read(at + 1 - self.taken)

    def read_whole(self, limit: int, stop: int | None, now: float) -> bytes | None:
        """The first reply if it is ready, untouched, complete, short enough and has no `stop` before its end."""
        if not self.replies or self.taken:
            return None
        reply = self.replies[0]
        data = reply.data
        if reply.ready_at > now or len(data) > limit or not reply.end:
            return None
        if stop is not None and 0 <= data.find(stop) < len(data) - 1:
            return None
        self.replies.popleft()
        return data

    def discard(self) -> None:
        """Drop all output."""
        self.replies.clear()
        self.taken = 0

    def clear(self) -> None:
        """Device clear: input, output and whatever blocks the parser are dropped; settings stay."""
        with self.twin.lock:
            self.buffer.clear()
            self.scanned = self.needed = 0
            self.discard()
            self.time = -1e300
            self.twin.cleared(self)

    def unanswered(self) -> None:
        """Somebody reads although there is nothing to say: a query error on roads with an exchange protocol."""
        with self.twin.lock:
            if self.exchange and not self.replies:
                self.twin.unterminated(self)

    def status_byte(self) -> int:
        """Serial poll."""
        with self.twin.lock:
            return self.twin.faults.status("STB", self.twin.status_byte(self))

    def trigger(self) -> None:
        """Group execute trigger."""
        with self.twin.lock:
            self.twin.triggered(self)

    def drop(self, how: str = "closed") -> None:
        """The instrument drops the connection: "closed" (FIN) or "reset" (RST)."""
        self.lost = how
        self.twin.sessions.discard(self)
        if self.dropped is not None:
            self.dropped()

    def close(self) -> None:
        """The other side hangs up."""
        with self.twin.lock:
            self.twin.sessions.discard(self)
            self.discard()
            self.buffer.clear()
            if self.lost is None:
                self.lost = "closed"


class Twin:
    """Base of all simulated instruments: name, clock, random streams, options, sessions, ports, faults.

    A dialect implements `split` (one complete message out of `session.buffer`, or None) and `execute` (message in,
    reply with its terminator out, or None). An instrument overrides `setup`, `reset` and its commands.

    Parameters
    ----------
    name:
        Its name on the bench; part of its random streams' addresses.
    clock:
        Instrument time.
    root:
        The world's random root; `generator` names the streams.
    options:
        What the station file says about it: `serial`, `firmware` and what `setup` asks for by `option`. What nobody
        asked for is an InputError.

    Class attributes
    ----------------
    maker, model, serial, firmware:
        Identity; options of these names (except maker) override them.
    resources:
        VISA resource names under which it stands in process, with `{name}` and `{serial}` filled in.
    roads:
        Roads that `serve` opens when the station file names none.
    latency:
        Seconds between a message and its reply.
    baud:
        Line speed it listens to on a serial road; None listens to any.
    session_limit:
        Sessions at a time; None for no limit.
    """

    maker: str = "LABQDL"
    model: str = ""
    serial: str = "000001"
    firmware: str = "1.0"
    resources: ClassVar[tuple[str, ...]] = (
        "TCPIP0::{name}::inst0::INSTR", "TCPIP0::{name}::hislip0::INSTR",
        "TCPIP0::{name}::5025::SOCKET", "ASRL{name}::INSTR",
    )  # fmt: skip
    roads: ClassVar[tuple[str, ...]] = ("hislip", "socket")
    latency: float = 0.0
    baud: int | None = None
    session_limit: int | None = None

    def __init__(self, name: str, *, clock: Clock, root: Root, options: Mapping[str, object] | None = None) -> None:
        self.name = name
        self.clock = clock
        self.root = root
        self.lock = threading.RLock()
        self.session: Session | None = None
        self.watcher: Watcher | None = None
        self.world: World | None = None
        """In which it stands, for rules of faults that change the light on its way."""
        self.sessions: set[Session] = set()
        self.ports: dict[str, Port] = {}
        self.faults = Faults(self)
        self._pending: list[float] = []
        self._options = dict(options or {})
        self.model = self.option("model", self.model)
        self.serial = self.option("serial", self.serial)
        self.firmware = self.option("firmware", self.firmware)
        self.latency = self.option("latency", self.latency)
        self.setup()
        if self._options:
            raise InputError(f"a {type(self).__name__} has no option {sorted(self._options)[0]!r}", key=name)
        self.reset()

    # What an instrument overrides

    def setup(self) -> None:
        """Read options, open ports; called once, before the first `reset`."""

    def reset(self) -> None:
        """State after power-on and after *RST."""

    def settle(self) -> None:
        """Take over what came up to now, since something is about to be set in the world: what digitizers override."""

    # What a dialect implements

    def split(self, session: Session, end: bool) -> bytes | None:
        """Take the next complete message out of `session.buffer`; None when there is none."""
        raise NotImplementedError

    def known(self, data: bytes) -> bytes | None:
        """The message, if these bytes are exactly one that the dialect took apart before; a shortcut past `split`."""
        return None

    def execute(self, message: bytes) -> bytes | None:
        """Carry out one message; the reply with its terminator, or None."""
        raise NotImplementedError

    def words(self, message: bytes) -> str:
        """The message as fault plans match it: text as it is, frames in hexadecimal."""
        return message.decode("latin-1").strip()

    def status_byte(self, session: Session) -> int:
        """The status byte of a serial poll; 0 for instruments that have none."""
        return 0

    def triggered(self, session: Session) -> None:
        """A group execute trigger came."""

    def cleared(self, session: Session) -> None:
        """A device clear came; queues are already empty."""

    def interrupted(self, session: Session) -> None:
        """A message came before the reply to the last one was read; on a message road that reply is lost."""
        session.discard()

    def unterminated(self, session: Session) -> None:
        """Somebody reads and there is nothing to say."""

    def spurious_error(self, code: int, text: str) -> None:
        """An error that nobody made enters the instrument's queue, if it has one (a fault)."""

    # What instruments use

    def option(self, name: str, default: T) -> T:
        """The option of that name (of the type of its default), or the default."""
        value = self._options.pop(name, default)
        if default is not None and not isinstance(value, type(default)):
            if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
                return float(value)  # type: ignore[return-value]
            raise InputError(f"option {name!r} is {value!r}", key=self.name, expected=type(default).__name__)
        return value  # type: ignore[return-value]

    def generator(self, purpose: str, *key: int) -> np.random.Generator:
        """The random stream of one purpose, e.g. `generator("noise", acquisition)`: independent of all others."""
        return self.root.generator(f"twin {self.name} {purpose}", *key)

    @property
    def now(self) -> float:
        """Instrument time in s: of the message that is being executed, else the clock's."""
        return self.clock.monotonic() if self.session is None else self.session.time

    def hold(self, seconds: float) -> None:
        """The message that is being executed takes that long: replies and later messages of its session wait.

        `hold(math.inf)` blocks the session until a device clear, as a digitizer without a trigger does.
        """
        if self.session is not None and seconds > 0:  # a blocked parser's inf - inf is none
            self.session.time += seconds

    def operate(self, seconds: float) -> None:
        """Start an overlapped operation: `*OPC?`, `*WAI` and `pending` see it until it is over."""
        self._pending = [max([self.now + seconds, *self._pending])]

    def done_at(self) -> float:
        """Instrument time at which all operations that were started are over (in the past when none is running)."""
        now = self.now
        self._pending = [t for t in self._pending if t > now]
        if self.faults.armed and self.faults.active("busy"):
            return math.inf
        return max(self._pending, default=now)

    @property
    def pending(self) -> bool:
        """Whether an overlapped operation is running (or a fault says busy)."""
        return self.done_at() > self.now

    @property
    def interlocked(self) -> bool:
        """Whether a fault holds the interlock open: nothing that is dangerous may go on."""
        return self.faults.active("interlock")

    @property
    def locked_out(self) -> bool:
        """Whether a fault gave the instrument to its front panel: remote settings are refused."""
        return self.faults.active("lockout")

    @property
    def stays_on(self) -> bool:
        """Whether a fault keeps outputs on although they are told to go off."""
        return self.faults.active("stay-on")

    def abort_operations(self) -> None:
        """Forget all overlapped operations."""
        self._pending.clear()

    def light_in(self, name: str) -> LightIn:
        """Open a fibre input under that name."""
        return self._port(name, LightIn())

    def light_out(self, name: str, evaluate: Callable[[float], Light]) -> LightOut:
        """Open a fibre output: `evaluate(t) -> Light`."""
        return self._port(name, LightOut(evaluate))

    def voltage_in(self, name: str) -> VoltageIn:
        """Open a voltage input under that name."""
        return self._port(name, VoltageIn())

    def voltage_out(self, name: str, evaluate: Voltages, edges: Edges | None = None) -> VoltageOut:
        """Open a voltage output: `evaluate(instants) -> volts`, vectorised; `edges` where it knows them exactly."""
        return self._port(name, VoltageOut(evaluate, edges))

    def pulse_in(self, name: str) -> PulseIn:
        """Open an input for pulses under that name."""
        return self._port(name, PulseIn())

    def _port(self, name: str, port: P) -> P:
        if name in self.ports:
            raise ValueError(f"{self.name} has two ports {name!r}")
        self.ports[name] = port
        return port

    # What routes use

    def connect(self, *, exchange: bool = False, baud: int | None = None) -> Session:
        """Open a session.

        Raises
        ------
        ConnectionRefusedError
            When a fault says so or the instrument has no session left.
        """
        with self.lock:
            if self.faults.armed:
                self.faults.connecting()
            if self.session_limit is not None and len(self.sessions) >= self.session_limit:
                raise ConnectionRefusedError(f"{self.name} serves {self.session_limit} session(s) at a time")
            session = Session(self, exchange)
            session.baud = baud
            self.sessions.add(session)
            return session


def registry() -> tuple[str, ...]:
    """Names of the twins that ship, e.g. "thorlabs-pm100"; no twin is imported for it."""
    from labqdl_sim import twins

    return tuple(sorted(entry.name.replace("_", "-") for entry in pkgutil.iter_modules(twins.__path__)))


def twin_class(name: str) -> type[Twin]:
    """The twin of that name (the `TWIN` of its module), or "package.module:Class" of another package.

    Raises
    ------
    InputError
        When there is none.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            found: type[Twin] = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise InputError(f"no twin {name!r}: {error}") from None
        return found
    if name not in registry():
        raise InputError(f"no twin {name!r}", expected=f"one of {', '.join(registry())}, or 'package.module:Class'")
    shipped: type[Twin] = import_module(f"labqdl_sim.twins.{name.replace('-', '_')}").TWIN
    return shipped
