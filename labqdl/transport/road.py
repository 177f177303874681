"""A road: what carries bytes to one instrument and back. It knows nothing of commands, replies or frames."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from labqdl.transport.errors import TransportTimeout

SLACK = 0.03
"""Relative error of a time limit that is accepted, where setting it again costs a call of the system or a library."""


@runtime_checkable
class Road(Protocol):
    """One connection that can be opened, closed and opened again.

    A deadline is a moment on the road's own clock, `now()`: roads that wait on the operating system count real
    seconds, roads inside this process may be given another clock. Errors are `TransportTimeout`, `ConnectionLost`
    or `ProtocolError`, without instrument and command, which `Transport` adds.

    Attributes
    ----------
    messages:
        True where one `receive` gives one message up to its END (VISA INSTR, ZeroMQ); False on a stream of bytes.

    A road may have two more things. `alternates`, true where every message is answered, if only by an empty one
    (ZeroMQ): `Transport.write` then takes the answer. `exchange(data, maximum, limit)`: send and receive in one call.

    A road whose other end lives and dies with this process (a script, a cassette, a simulated instrument) may say so
    with an attribute `in_process = True`: then no watchdog has to reach it. Roads that say nothing lead outside.
    """

    messages: bool

    def now(self) -> float:
        """Seconds on the clock that this road's deadlines are on."""
        ...

    def open(self) -> None:
        """Connect (ConnectionLost where nobody answers). Nothing is sent to the instrument."""
        ...

    def close(self) -> None:
        """Let go of the connection; never raises, and does nothing where there is none."""
        ...

    def end_on(self, byte: int | None) -> None:
        """Which byte ends a reply, None for none; of use to roads that must tell their library before they read."""
        ...

    def send(self, data: bytes | bytearray | memoryview, deadline: float) -> None:
        """Send all of it: on a road of messages, as one message."""
        ...

    def receive(self, maximum: int, deadline: float) -> bytes:
        """Wait for bytes and give those that are there, at least one and at most `maximum`.

        A road of messages gives a message as a whole; where its protocol has empty messages (ZeroMQ), b"" is one.
        """
        ...

    def receive_into(self, view: memoryview, deadline: float) -> int:
        """Like `receive`, into a buffer that the reply will fill: may wait for all of it. Gives how many bytes came."""
        ...

    def waiting(self) -> object:
        """Whether (true or false) `receive` would come back at once: bytes wait, or the other side has hung up.

        Asked before every message; does not wait.
        """
        ...


def time_left(deadline: float, now: float) -> float:
    """Seconds until the deadline; TransportTimeout where there are none."""
    left = deadline - now
    if left <= 0:
        raise TransportTimeout("no whole reply in time")
    return left
