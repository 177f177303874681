"""Loopback servers in threads, and a road in memory, for the tests of this room."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator

from labqdl.clock import Clock, ManualClock
from labqdl.transport import ConnectionLost, Line, Transport, TransportTimeout, road_for
from labqdl.transport.framing import Framing

WAIT = 10.0
"""Seconds after which an event that should come is given up: generous, since it never takes that long."""


class Server:
    """Accepts connections on 127.0.0.1 and gives each, with its number, to `handler` on a thread of its own."""

    def __init__(self, handler: Callable[[socket.socket, int], None]) -> None:
        self._handler = handler
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.resource = f"TCPIP0::127.0.0.1::{self.port}::SOCKET"
        self.connections = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number, self.connections = self.connections, self.connections + 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, number))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection, contextlib.suppress(OSError):
            self._handler(connection, number)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(WAIT)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def lines(connection: socket.socket) -> Iterator[bytes]:
    """What a client sends, line by line."""
    rest = b""
    while data := connection.recv(1 << 16):
        rest += data
        while b"\n" in rest:
            line, _, rest = rest.partition(b"\n")
            yield line


def echoing(connection: socket.socket, number: int) -> None:
    """Answers each line by itself."""
    for line in lines(connection):
        connection.sendall(line + b"\n")


def reset(connection: socket.socket) -> None:
    """Break the connection with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if _windows() else "ii", 1, 0))
    connection.close()


def _windows() -> bool:
    import sys

    return sys.platform == "win32"


def transport_to(
    server: Server, framing: Framing | None = None, *, timeout: float = WAIT, clock: Clock | None = None
) -> Transport:
    return Transport(
        road_for(server.resource),
        Line() if framing is None else framing,
        name="laser",
        resource=server.resource,
        timeout=timeout,
        clock=clock,
    )


class MemoryRoad:
    """A stream in memory: `answers` are handed out chunk by chunk; None is silence until the deadline."""

    def __init__(self, *answers: bytes | None, clock: ManualClock | None = None, messages: bool = False) -> None:
        self.messages = messages
        self.clock = ManualClock() if clock is None else clock
        self.answers = deque(answers)
        self.sent: list[tuple[float, bytes]] = []
        self.openings = 0
        self.refuse_to_open = False
        self.pending = False
        self._is_open = False

    def now(self) -> float:
        return self.clock.monotonic()

    def open(self) -> None:
        if self.refuse_to_open:
            raise ConnectionLost("nobody there")
        self.openings += 1
        self._is_open = True

    def close(self) -> None:
        self._is_open = False

    def end_on(self, byte: int | None) -> None:
        pass

    def send(self, data: bytes | bytearray | memoryview, deadline: float) -> None:
        assert self._is_open
        self.sent.append((self.clock.monotonic(), bytes(data)))

    def receive(self, maximum: int, deadline: float) -> bytes:
        assert self._is_open
        answer = self.answers.popleft() if self.answers else None
        if answer is None:
            self.clock.advance(max(deadline - self.clock.monotonic(), 0.0))
            raise TransportTimeout("no whole reply in time")
        if not self.messages and len(answer) > maximum:
            self.answers.appendleft(answer[maximum:])
            answer = answer[:maximum]
        return answer

    def receive_into(self, view: memoryview, deadline: float) -> int:
        data = self.receive(len(view), deadline)
        view[: len(data)] = data
        return len(data)

    def waiting(self) -> bool:
        return self.pending


def over(road: MemoryRoad, framing: Framing | None = None, *, spacing: float = 0.0, timeout: float = 2.0) -> Transport:
    """An open transport over a road in memory, on its clock."""
    transport = Transport(
        road,
        Line() if framing is None else framing,
        name="laser",
        resource="memory",
        clock=road.clock,
        spacing=spacing,
        timeout=timeout,
    )
    transport.open()
    return transport
