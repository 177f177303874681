"""What a driver may do while its connection is being checked again, and what waits without having been asked for."""

from __future__ import annotations

import pytest

from labqdl.clock import ManualClock
from labqdl.transport import ConnectionLost, Line, ProtocolError, Transport, TransportTimeout


class Deaf:
    """A stream that brings what the test put into `waits`, and is silent else."""

    messages = False

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.now = self.clock.monotonic
        self.waits = b""
        self.opened = 0

    def open(self) -> None:
        self.opened += 1

    def close(self) -> None:
        self.waits = b""

    def end_on(self, byte: int | None) -> None:
        pass

    def send(self, data: bytes | bytearray | memoryview, deadline: float) -> None:
        pass

    def receive(self, maximum: int, deadline: float) -> bytes:
        if not self.waits:
            self.clock.advance(deadline - self.now())
            raise TransportTimeout("no whole reply in time")
        data, self.waits = self.waits, b""
        return data

    def receive_into(self, view: memoryview, deadline: float) -> int:
        raise NotImplementedError

    def waiting(self) -> bool:
        return bool(self.waits)


def made(*, unasked: bool = False) -> tuple[Deaf, Transport]:
    road = Deaf()
    transport = Transport(road, Line(), name="it", resource="here", clock=road.clock, timeout=1.0, unasked=unasked)
    transport.open()
    return road, transport


def test_a_check_that_asks_once_more_ends() -> None:
    road, transport = made()

    def check() -> None:
        try:
            transport.query(b"*IDN?")
        except TransportTimeout:
            transport.query(b"*IDN?")

    transport.on_reopen = check
    with pytest.raises(TransportTimeout):
        transport.query(b"A?")
    with pytest.raises(ConnectionLost, match="while it was being checked"):
        transport.query(b"B?")
    assert road.opened == 2
    assert road.now() == 2.0


def test_what_waits_can_be_looked_at_and_complained_about() -> None:
    road, transport = made(unasked=True)
    assert transport.leftover() == b""
    road.waits = b"E02:01\nold\n"
    assert transport.leftover() == transport.leftover() == b"E02:01\nold\n"
    assert transport.read() == b"E02:01"
    assert transport.leftover() == b"old\n"
    transport.complain(ProtocolError("a reply of yesterday"), b"A?")
    assert transport.is_dirty
    assert transport.leftover() == b""
    assert road.opened == 2
