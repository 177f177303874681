"""ZeroMQ request and reply, for instruments that speak it; needs the extra `zmq`."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

from labqdl.errors import InputError
from labqdl.transport.errors import ConnectionLost, ProtocolError, TransportTimeout, translated
from labqdl.transport.road import time_left


class ZmqRoad:
    """Messages over a ZeroMQ REQ socket.

    A REQ socket whose reply did not come refuses the next request: `Transport` closes it and opens another. ZeroMQ
    itself never says that nobody is there, so the port is tried first with an ordinary connection.
    """

    messages = True
    alternates = True
    now = staticmethod(time.monotonic)

    def __init__(self, host: str, port: int, *, connect_timeout: float = 5.0) -> None:
        self.host = host
        self.port = port
        self.connect_timeout = connect_timeout
        self._context: Any = None
        self._socket: Any = None

    def open(self) -> None:
        """See that somebody listens, and make the socket."""
        if self._socket is not None:
            return
        try:
            import zmq
        except ImportError as error:
            raise InputError(
                f"zmq://{self.host}:{self.port} needs the package pyzmq, which is not installed",
                hint='pip install "labqdl[zmq]"',
            ) from error

        self._knock(self.connect_timeout)
        with translated("opening the ZeroMQ socket"):
            self._context = zmq.Context()
            self._socket = self._context.socket(zmq.REQ)
            self._socket.setsockopt(zmq.LINGER, 0)
            host = f"[{self.host}]" if ":" in self.host else self.host
            self._socket.connect(f"tcp://{host}:{self.port}")

    def close(self) -> None:
        """Throw socket and context away."""
        context, connection, self._context, self._socket = self._context, self._socket, None, None
        with contextlib.suppress(Exception):
            if connection is not None:
                connection.close(linger=0)
            if context is not None:
                context.term()

    def end_on(self, byte: int | None) -> None:
        """Of no use here: messages have ends."""

    def send(self, data: bytes | bytearray | memoryview, deadline: float) -> None:
        """Send one message."""
        connection = self._opened()
        with translated("sending"):
            if not connection.poll(self._left(deadline), 2):  # POLLOUT
                raise TransportTimeout("the message could not be sent in time")
            connection.send(data)

    def receive(self, maximum: int, deadline: float) -> bytes:
        """One message as a whole; it may be empty."""
        connection = self._opened()
        with translated("waiting for the reply"):
            if not connection.poll(self._left(deadline), 1):  # POLLIN
                self._knock(0.5)
                raise TransportTimeout("no whole reply in time")
            return b"".join(connection.recv_multipart())

    def receive_into(self, view: memoryview, deadline: float) -> int:
        """The same into a buffer."""
        data = self.receive(len(view), deadline)
        if len(data) > len(view):
            raise ProtocolError(f"a message of {len(data)} bytes for {len(view)} that were expected")
        view[: len(data)] = data
        return len(data)

    def waiting(self) -> bool:
        """Never: a REQ socket takes one reply for one request."""
        return False

    def _opened(self) -> Any:
        if self._socket is None:
            raise ConnectionLost("the ZeroMQ socket is not open")
        return self._socket

    def _left(self, deadline: float) -> int:
        return max(int(time_left(deadline, time.monotonic()) * 1e3), 1)

    def _knock(self, timeout: float) -> None:
        """ConnectionLost where nobody listens."""
        with translated(f"connecting to {self.host}, port {self.port}"):
            try:
                socket.create_connection((self.host, self.port), timeout=timeout).close()
            except TimeoutError as error:
                raise ConnectionLost(
                    f"no answer within {timeout:g} s from {self.host}, port {self.port}",
                    hint="Check address, cable and firewall, and that the instrument is on",
                ) from error
