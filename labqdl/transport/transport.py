"""One instrument's wire: whole exchanges under one lock, each with a deadline, and no reply of yesterday."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from labqdl.clock import Clock, SystemClock
from labqdl.transport.errors import TransportError
from labqdl.transport.framing import Framing
from labqdl.transport.road import Road
from labqdl.transport.traffic import TrafficEntry

Buffer = bytes | bytearray | memoryview | NDArray[Any]


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
        self.name = name
        self.resource = resource
        self.timeout = timeout
        self.clock: Clock = SystemClock() if clock is None else clock
        self.on_reopen = None

    def open(self) -> None:
        """Connect; does nothing when open. Sends nothing, and does not call `on_reopen` (the caller looks itself)."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the connection, for good until `open`; never raises. A use of a closed transport is a ValueError."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether `open` was called and `close` was not; a dirty stream counts as open, since the next use reopens it."""
        raise NotImplementedError

    @property
    def is_dirty(self) -> bool:
        """Whether the last exchange failed and the stream waits to be opened again."""
        raise NotImplementedError

    def query(self, message: bytes, *, timeout: float | None = None) -> bytes:
        """Send a message and give its reply, without terminator. Another `timeout` may be given for slow commands."""
        raise NotImplementedError

    def write(self, message: bytes, *, timeout: float | None = None) -> None:
        """Send a message that has no reply. Where the framing has an echo or a prompt, wait for it.

        InstrumentError where an instrument with a prompt answers with words all the same.
        """
        raise NotImplementedError

    def read(self, *, timeout: float | None = None) -> bytes:
        """Wait for a reply to nothing in particular, without terminator."""
        raise NotImplementedError

    def query_block(self, message: bytes, dtype: DTypeLike = np.uint8, *, timeout: float | None = None) -> NDArray[Any]:
        """Send a message and give the data of the IEEE 488.2 block it answers, as a new array of `dtype`.

        The data go straight into the array. ProtocolError where the length is no multiple of the item size.
        """
        raise NotImplementedError

    def write_block(self, prefix: bytes, payload: Buffer, *, timeout: float | None = None) -> None:
        """Send `prefix`, a definite IEEE 488.2 block with the bytes of `payload`, and the terminator, as one message."""
        raise NotImplementedError

    def transaction(self) -> AbstractContextManager[Self]:
        """Keep other threads out while several messages belong together: `with transport.transaction(): ...`."""
        raise NotImplementedError

    @property
    def traffic(self) -> tuple[TrafficEntry, ...]:
        """The last 1,000 messages, oldest first, long ones shortened."""
        raise NotImplementedError

    def record(self, path: Path, *, mask: tuple[bytes, ...] = ()) -> AbstractContextManager[None]:
        """Write all messages to a cassette while the `with` block lasts; see `labqdl.transport.cassette`."""
        raise NotImplementedError

    def complain(self, error: TransportError, command: bytes | None = None) -> TransportError:
        """Fill instrument, resource and recent traffic into an error that a driver raises (InstrumentError)."""
        raise NotImplementedError
