"""One instrument's wire: whole exchanges under one lock, each with a deadline, and no reply of yesterday."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from labqdl.clock import Clock, SystemClock
from labqdl.transport.cassette import recording
from labqdl.transport.errors import (
    ConnectionLost,
    InstrumentError,
    ProtocolError,
    TransportError,
    TransportTimeout,
    translation,
)
from labqdl.transport.framing import Framing, Line, block_header
from labqdl.transport.road import Road
from labqdl.transport.traffic import Direction, TrafficEntry, readable

T = TypeVar("T")
M = TypeVar("M", bytes, None)

Buffer = bytes | bytearray | memoryview | NDArray[Any]

RING = 1000
"""Messages that are remembered."""
KEPT = 256
"""Bytes of each that are."""
LONGEST = 1 << 26
"""Bytes of a reply without a length of its own, above which it is garbage."""
_FIRST = 4096
_MORE = 1 << 18
_BLOCK = ord("#")
_SENT, _RECEIVED = Direction.SENT, Direction.RECEIVED


class Transport:
    """Exchanges messages with one instrument over a road, in a framing.

    Safe for use from several threads: a re-entrant lock is held over each write and its read, and over a whole
    `transaction()`. After a timeout, a bad frame, a lost connection or an interrupt the stream is *dirty*: it is closed
    at once, and the next use opens it again, calls `on_reopen`, and only then goes on. Nothing is ever sent twice.

    Parameters
    ----------
    road, framing:
        What carries the bytes, and where a reply ends.
    name, resource:
        Name of the instrument and how it is reached, for messages.
    clock:
        For spacing and the times of the traffic; the road has its own clock for deadlines.
    timeout:
        Seconds that one exchange may take.
    spacing:
        Least time between the end of one exchange and the next message, in seconds.
    unasked:
        Whether the instrument speaks without being asked. False: bytes that wait before a message goes out are a
        ProtocolError, since a reply would be mistaken. True: they are kept, and `read` gives them.

    Attributes
    ----------
    on_reopen:
        Called with the lock held after the stream was opened again, before the exchange that wanted it: checks
        identity and settings and raises where they differ, which closes the stream again.
    """

    on_reopen: Callable[[], None] | None

    def __init__(
        self,
        road: Road,
        framing: Framing,
        *,
        name: str,
        resource: str,
        clock: Clock | None = None,
        timeout: float = 2.0,
        spacing: float = 0.0,
        unasked: bool = False,
    ) -> None:
        if not 0 < timeout < math.inf or not 0 <= spacing < math.inf:
            raise ValueError(f"timeout must be positive, spacing not negative, both finite: {timeout!r}, {spacing!r}")
        self.name = name
        self.resource = resource
        self.timeout = timeout
        self.spacing = spacing
        self.clock: Clock = SystemClock() if clock is None else clock
        self.on_reopen = None
        self._framing = framing
        self._road = road
        self._unasked = unasked
        self._lock = threading.RLock()
        self._ring: deque[tuple[float, Direction, bytes, int]] = deque(maxlen=RING)
        self._opened = False
        self._dirty = False
        self._checking = False  # inside of on_reopen
        self._ready = False  # open, clean, and free to send at any time
        self._free_at = 0.0
        self._before: Callable[[], None] | None = None
        self._rest = b""  # received and not yet given to anybody
        self._alternates = bool(getattr(road, "alternates", False))
        self._acknowledges = self._alternates or (isinstance(framing, Line) and (framing.echo or bool(framing.prompt)))
        self._exchange: Callable[[bytes, int, float], bytes] | None = None
        self._now = road.now
        self._epoch = self.clock.wall() - road.now()
        self._wrap, self._complete, self._unwrap = framing.wrap, framing.complete, framing.unwrap
        simple = type(framing) is Line and not framing.prompt
        self._ending = framing.ending if isinstance(framing, Line) and simple else b""
        road.end_on(framing.end)

    def open(self) -> None:
        """Connect; does nothing when open. Sends nothing, and does not call `on_reopen` (the caller looks itself)."""
        with self._lock:
            if self._opened:
                return
            self._connect()
            self._opened = True
            self._settle()

    def close(self) -> None:
        """Let go of the connection until `open`; never raises. A message over a closed transport is a ValueError."""
        with self._lock:
            if self._opened and not self._dirty:
                self._note(Direction.CLOSED)
            self._road.close()
            self._opened = self._dirty = False
            self._rest = b""
            self._settle()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def framing(self) -> Framing:
        """Where a reply ends."""
        return self._framing

    @property
    def is_open(self) -> bool:
        """Whether `open` was called and `close` was not; true of a dirty stream, which the next use opens again."""
        return self._opened

    @property
    def is_dirty(self) -> bool:
        """Whether the last exchange failed and the stream waits to be opened again."""
        return self._dirty

    @property
    def road(self) -> Road:
        """What carries the bytes; while a recording lasts, the recorder."""
        return self._road

    def abandon(self) -> None:
        """Take the connection away from whoever hangs on it, without waiting for the lock; only for making safe.

        The exchange that is under way fails; the next use opens the connection again.
        """
        self._dirty = self._opened
        self._settle()
        self._road.close()

    def leftover(self) -> bytes:
        """What waits and belongs to no exchange yet, without waiting for more; for drivers of what speaks unasked.

        They tell announcements from a reply of yesterday, which they `complain` about.
        """
        with self._lock:
            if not self._ready:
                self._prepare()
            try:
                if self._road.waiting():
                    self._rest += self._road.receive(_FIRST, self._road.now() + 0.1)
                return bytes(self._rest)
            except BaseException as error:
                self._failed(error, None, 0.1)

    def before_next(self, call: Callable[[], None] | None) -> None:
        """Have `call` made before each further exchange, by the thread that wants it; None: not any more.

        For handlers of signals, which must not cut an exchange in half: what `call` raises comes between two.
        """
        self._before = call
        self._settle()

    def query(self, message: bytes, *, timeout: float | None = None) -> bytes:
        """Send a message and give its reply, without terminator. Another `timeout` may be given for slow commands."""
        with self._lock:
            exchange = self._exchange
            if exchange is None or len(message) > KEPT:
                return self._exchanged(self._ask, message, timeout)
            limit = self.timeout if timeout is None else timeout
            # What _ask does, for a clean stream whose road sends and receives in one call: here the time goes.
            try:
                if self._rest or self._road.waiting():
                    self._unexpected()
                data = self._wrap(message)
                start = self._now()
                self._ring.append((start, _SENT, data, len(data)))
                frame = self._rest = exchange(data, _FIRST, limit)
                size, ending = len(frame), self._ending
                if ending and frame[0] != _BLOCK:  # a line: what the framing would say of it, without asking
                    end = frame.find(ending)
                    if end + len(ending) == size and end >= 0:
                        self._rest = b""
                        self._ring.append((self._now(), _RECEIVED, frame, size))
                        return frame[:end]
                elif self._complete(frame) == size:
                    self._rest = b""
                    self._ring.append((self._now(), _RECEIVED, frame, size))
                    return self._unwrap(frame)
                return self._unwrap(self._frame(start + limit))
            except BaseException as error:
                self._failed(error, message, limit)

    def write(self, message: bytes, *, timeout: float | None = None) -> None:
        """Send a message that has no reply. Where the framing has an echo or a prompt, wait for it.

        Where the framing has a prompt, or every message is answered (ZeroMQ), an answer that is not empty is an
        InstrumentError with its words; use `query` where a setting is answered by its value.
        """
        self._exchanged(self._tell, message, timeout)

    def read(self, *, timeout: float | None = None) -> bytes:
        """Wait for a reply to nothing in particular, without terminator."""
        return self._exchanged(self._hear, None, timeout)

    def query_block(self, message: bytes, dtype: DTypeLike = np.uint8, *, timeout: float | None = None) -> NDArray[Any]:
        """Send a message and give the data of the IEEE 488.2 block it answers, as a new array of `dtype`.

        The data go straight into the array. ProtocolError where the length is no multiple of the item size. Framings
        other than `Line` have no blocks: TypeError.
        """
        framing = self._framing
        if not isinstance(framing, Line):
            raise TypeError(f"blocks need a framing by lines, not {type(framing).__name__}")

        def ask(message: bytes, deadline: float) -> NDArray[Any]:
            self._send(framing.wrap(message), deadline)
            if self._acknowledges:
                self._echo(message, deadline)
            if self._road.messages:
                data = _block_of_message(framing.unwrap(self._frame(deadline)))
            else:
                data = self._block(framing, deadline)
            kind = np.dtype(dtype)
            if data.size % kind.itemsize:
                raise ProtocolError(f"a block of {data.size} bytes holds no whole number of {kind}")
            return data.view(kind)

        return self._exchanged(ask, message, timeout)

    def write_block(self, prefix: bytes, payload: Buffer, *, timeout: float | None = None) -> None:
        """Send `prefix`, an IEEE 488.2 block with the bytes of `payload`, and the terminator, as one message."""
        data = np.ascontiguousarray(payload) if isinstance(payload, np.ndarray) else np.frombuffer(payload, np.uint8)
        view = data.reshape(-1).view(np.uint8).data
        length = str(len(view)).encode()
        if len(length) > 9:
            raise ValueError(f"a block holds at most 999,999,999 bytes, not {len(view)}")
        head = prefix + b"#%d%b" % (len(length), length)
        tail = self._wrap(b"")

        def tell(head: bytes, deadline: float) -> None:
            road = self._road
            if road.messages or len(view) < _MORE:
                self._send(b"".join((head, view, tail)), deadline)
            else:
                if not self._unasked and (self._rest or road.waiting()):
                    self._unexpected()
                self._note(_SENT, head + bytes(view[:KEPT]), len(head) + len(view) + len(tail))
                road.send(head, deadline)
                road.send(view, deadline)
                road.send(tail, deadline)
            if self._acknowledges:
                self._acknowledge(head + bytes(view), deadline)

        self._exchanged(tell, head, timeout)

    @contextmanager
    def transaction(self) -> Iterator[Self]:
        """Keep other threads out while several messages belong together: `with transport.transaction(): ...`."""
        with self._lock:
            yield self

    @property
    def traffic(self) -> tuple[TrafficEntry, ...]:
        """The last 1,000 messages, oldest first, long ones shortened."""
        return tuple(
            TrafficEntry(self._epoch + time, direction, data[:KEPT], size)
            for time, direction, data, size in list(self._ring)
        )

    @contextmanager
    def record(
        self, path: Path, *, mask: tuple[bytes, ...] = (), versions: Mapping[str, str] | None = None
    ) -> Iterator[None]:
        """Write all that moves to a new cassette while the `with` block lasts; see `labqdl.transport.cassette`.

        Parameters
        ----------
        path:
            A file that does not exist yet.
        mask:
            Bytes, such as a serial number, that are replaced by as many asterisks wherever they occur.
        versions:
            What to write into the head: versions of driver and firmware.
        """
        with self._lock:
            plain = self._road
            recorder = recording(
                plain, path, clock=self.clock, name=self.name, resource=self.resource, mask=mask, versions=versions
            )
            self._road = recorder
            self._settle()
        try:
            yield
        finally:
            with self._lock:
                self._road = plain
                self._settle()
                recorder.finish()

    def complain(self, error: TransportError, command: bytes | None = None) -> TransportError:
        """Fill instrument, resource and recent traffic into an error that a driver raises.

        After a ProtocolError, a reply that the driver could not understand, the stream is dirty as after a bad frame.
        """
        if isinstance(error, ProtocolError):
            with self._lock:
                if self._opened and not self._dirty:
                    self._soil()
        return error.about(instrument=self.name, resource=self.resource, command=command, traffic=self.traffic)

    def _exchanged(self, act: Callable[[M, float], T], message: M, timeout: float | None) -> T:
        """What `act` gives for a message and a deadline, over a stream that is ready, and dirty where that fails."""
        with self._lock:
            if not self._ready:
                self._prepare()
            limit = self.timeout if timeout is None else timeout
            try:
                return act(message, self._road.now() + limit)
            except BaseException as error:
                self._failed(error, message, limit)
            finally:
                if self.spacing:
                    self._free_at = self.clock.monotonic() + self.spacing

    # What follows is called with the lock held.

    def _ask(self, message: bytes, deadline: float) -> bytes:
        self._send(self._wrap(message), deadline)
        if self._acknowledges:
            self._echo(message, deadline)
        return self._unwrap(self._frame(deadline))

    def _tell(self, message: bytes, deadline: float) -> None:
        self._send(self._wrap(message), deadline)
        if self._acknowledges:
            self._acknowledge(message, deadline)

    def _hear(self, _: None, deadline: float) -> bytes:
        return self._unwrap(self._frame(deadline))

    def _settle(self) -> None:
        """After each change of state: whether anything must be looked after before an exchange."""
        clean = self._opened and not self._dirty and self._before is None
        self._ready = clean and not self.spacing
        quick = self._ready and not (self._unasked or self._acknowledges or self._road.messages)
        self._exchange = getattr(self._road, "exchange", None) if quick else None

    def _prepare(self) -> None:
        """Open a dirty stream again and have it checked; keep the distance to the last exchange."""
        if self._before is not None:
            self._before()
        if not self._opened:
            raise ValueError(f"{self.name} ({self.resource}) is not open")
        if self._dirty:
            if self._checking:  # or a check that asks once more would open, and check, for ever
                lost = ConnectionLost("the connection failed again while it was being checked after a failure")
                raise lost.about(instrument=self.name, resource=self.resource, traffic=self.traffic)
            self._connect()
            self._dirty = False
            self._settle()
            if self.on_reopen is not None:
                self._checking = True
                try:
                    self.on_reopen()
                except BaseException:
                    self._soil()
                    raise
                finally:
                    self._checking = False
        if self.spacing:
            missing = self._free_at - self.clock.monotonic()
            if missing > 0:
                self.clock.sleep(missing)

    def _connect(self) -> None:
        try:
            self._road.open()
        except TransportError as error:
            self._road.close()
            raise error.about(instrument=self.name, resource=self.resource, traffic=self.traffic) from error.__cause__
        self._rest = b""
        self._note(Direction.OPENED)

    def _send(self, data: bytes, deadline: float) -> None:
        if not self._unasked and (self._rest or self._road.waiting()):
            self._unexpected()
        size = len(data)
        self._ring.append((self._now(), _SENT, data if size <= KEPT else data[:KEPT], size))
        self._road.send(data, deadline)

    def _unexpected(self) -> NoReturn:
        """Before a message goes out nothing may wait: its reply would be mistaken for what is there."""
        if not self._rest:
            self._rest = self._road.receive(_FIRST, self._road.now() + 0.1)
        raise ProtocolError(
            "bytes that nobody asked for were waiting before the command was sent",
            hint="The command was not sent; the connection is opened again before the next one",
        )

    def _frame(self, deadline: float) -> bytes:
        """One whole reply with its framing."""
        road = self._road
        if road.messages:
            frame = self._message(deadline)
        else:
            frame = self._rest = self._rest or road.receive(_FIRST, deadline)
            size = self._framing.complete(frame)
            if size is None:
                frame, size = self._longer(frame, deadline)
            self._rest = frame[size:]
            frame = frame[:size]
        size = len(frame)
        self._ring.append((self._now(), _RECEIVED, frame if size <= KEPT else frame[:KEPT], size))
        return frame

    def _longer(self, frame: bytes, deadline: float) -> tuple[bytes, int]:
        """Receive until a reply is whole."""
        size = None
        while size is None:
            self._rest = frame  # what an error shows as received so far
            if len(frame) > LONGEST:
                raise ProtocolError(f"{len(frame)} bytes came without the end of a reply")
            frame += self._road.receive(_FIRST if len(frame) < _FIRST else _MORE, deadline)
            size = self._framing.complete(frame)
        return frame, size

    def _message(self, deadline: float) -> bytes:
        frame = self._rest = self._road.receive(_MORE, deadline)
        size = None if frame.startswith(b"#0") else self._framing.complete(frame)
        if size is not None and size != len(frame):
            raise ProtocolError("a message holds more than one reply")
        self._rest = b""
        return frame

    def _block(self, framing: Line, deadline: float) -> NDArray[np.uint8]:
        """Header first, then the data straight into an array, then the terminator."""
        road = self._road
        start = self._rest or road.receive(_FIRST, deadline)
        while (header := block_header(start)) is None:
            self._rest = start
            start += road.receive(_FIRST, deadline)
        offset, length = header
        self._rest = start
        ending = framing.ending
        size = length + len(ending)
        data = np.empty(size, np.uint8)
        have = min(len(start) - offset, size)
        data[:have] = np.frombuffer(start, np.uint8, have, offset)
        view = data.data
        try:
            while have < size:
                have += road.receive_into(view[have:], deadline)
        except TransportError as error:
            error.problem += f" ({min(have, length)} of {length} bytes of a block had come)"
            raise
        tail = data[length:].tobytes()
        if tail != ending:
            raise ProtocolError(
                f"a block said to have {length} bytes is followed by '{readable(tail)}' instead of its terminator"
            )
        self._rest = start[offset + size :]
        self._note(_RECEIVED, start[:KEPT], offset + size)
        return data[:length]

    def _echo(self, message: bytes, deadline: float) -> None:
        framing = self._framing
        if not isinstance(framing, Line) or not framing.echo:
            return
        expected = framing.echoed(message)
        while len(self._rest) < len(expected) and expected.startswith(self._rest):
            self._rest += self._road.receive(_FIRST, deadline)
        if not self._rest.startswith(expected):
            raise ProtocolError(f"the echo is not what was sent: '{readable(self._rest[: len(expected)])}'")
        self._note(_RECEIVED, expected)
        self._rest = self._rest[len(expected) :]

    def _acknowledge(self, message: bytes, deadline: float) -> None:
        self._echo(message, deadline)
        if self._alternates or (isinstance(self._framing, Line) and self._framing.prompt):
            words = self._framing.unwrap(self._frame(deadline))
            if words:
                raise InstrumentError(words.decode("ascii", "backslashreplace"))

    def _failed(self, error: BaseException, command: bytes | None, limit: float) -> NoReturn:
        """Close the stream unless the instrument merely complains, and raise the error with all that is known."""
        received = bytes(self._rest)
        if not isinstance(error, InstrumentError):
            if received:
                self._note(_RECEIVED, received)
            self._soil()
        found: BaseException | None = error
        if isinstance(error, Exception) and not isinstance(error, TransportError):
            found = translation(error, "reading the reply")
        if not isinstance(found, TransportError):
            raise error
        if not isinstance(found, InstrumentError):
            found.about(received=received)
        if isinstance(found, TransportTimeout):
            found.about(hint=_advice(received, limit, self._framing))
        found.about(instrument=self.name, resource=self.resource, command=command, traffic=self.traffic)
        if found is error:
            raise error
        raise found from error

    def _soil(self) -> None:
        self._dirty = True
        self._rest = b""
        self._settle()
        self._road.close()
        self._note(Direction.CLOSED)

    def _note(self, direction: Direction, data: bytes = b"", size: int | None = None) -> None:
        self._ring.append((self._now(), direction, data[:KEPT], len(data) if size is None else size))


def _advice(received: bytes, limit: float, framing: Framing) -> str:
    start = f"The limit was {limit:g} s"
    if received and isinstance(framing, Line):
        ending = framing.prompt or framing.ending
        return f"{start} and the reply did not end with '{readable(ending)}': check the terminator, or give more time"
    if received:
        return f"{start} and the reply was not whole: check its length, or give more time"
    return (
        f"{start}: see that the instrument is on, knows the command and is not busy. "
        "The command was not repeated; the connection is opened again before the next one"
    )


def _block_of_message(message: bytes) -> NDArray[np.uint8]:
    """The data of a block that came as one message; an indefinite one reaches to its end."""
    if message.startswith(b"#0"):
        return np.frombuffer(message, np.uint8, offset=2).copy()
    header = block_header(message)
    if header is None:
        raise ProtocolError("a block ends inside of its header")
    return np.frombuffer(message, np.uint8, header[1], header[0]).copy()
