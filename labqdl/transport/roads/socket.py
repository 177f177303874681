"""Our own TCP socket: no delay, a deadline for every wait, and a broken connection is noticed at once."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from labqdl.transport.errors import ConnectionLost, TransportError, TransportTimeout, translation
from labqdl.transport.road import SLACK, time_left

_LARGE = 1 << 16
_LOST = "the instrument closed the connection"
_HINT = "See that it is on and that no other program took its connection; the next use connects again"


class SocketRoad:
    """A stream of bytes over TCP.

    On POSIX the kernel keeps the time limit (SO_RCVTIMEO), which makes an exchange two system calls instead of four;
    elsewhere Python's own limits are used.
    """

    messages = False
    now = staticmethod(time.monotonic)

    def __init__(self, host: str, port: int, *, connect_timeout: float = 5.0) -> None:
        self.host = host
        self.port = port
        self.connect_timeout = connect_timeout
        self._socket: socket.socket | None = None
        self._recv: Callable[[int], bytes] = _closed
        self.waiting: Callable[[], object] = _closed
        """Whether `receive` would come back at once: the system's own function, since every message asks it."""
        self._by_kernel = False
        self._sendall: Callable[[bytes], None] = _closed
        self._whole = 0
        self._limit_set = self._low = self._high = 0.0

    def open(self) -> None:
        """Connect."""
        if self._socket is not None:
            return
        action = f"connecting to {self.host}, port {self.port}"
        try:
            connection = socket.create_connection((self.host, self.port), timeout=self.connect_timeout)
        except socket.gaierror as error:
            raise ConnectionLost(
                f"the name '{self.host}' is not known here", hint="Check the address, or give the IP number"
            ) from error
        except TimeoutError as error:
            raise ConnectionLost(
                f"no answer within {self.connect_timeout:g} s while {action}",
                hint="Check address, cable and firewall, and that the instrument is on",
            ) from error
        except OSError as error:
            raise _ours(error, action) from error
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket = connection
        self._recv = connection.recv
        self._sendall = connection.sendall
        self.waiting = _readable(connection)
        self._by_kernel = _kernel_limits(connection, self.connect_timeout)
        if self._by_kernel:
            connection.settimeout(None)
        # A blocking call may wait until the buffer is full; the kernel's limit holds for all of it.
        self._whole = socket.MSG_WAITALL if self._by_kernel else 0
        self._limit_set = self._low = self._high = 0.0

    def close(self) -> None:
        """Close without waiting for bytes on their way."""
        connection, self._socket = self._socket, None
        self._recv = self._sendall = self.waiting = _closed
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # a thread that hangs in receive would keep the connection alive
            with contextlib.suppress(OSError):
                connection.close()

    def end_on(self, byte: int | None) -> None:
        """Of no use here: a socket gives what there is."""

    def send(self, data: bytes | bytearray | memoryview, deadline: float) -> None:
        """Send all bytes."""
        if not self._low <= deadline - time.monotonic() <= self._high:
            self._limit(deadline)
        connection = self._socket
        if connection is None:
            _closed()
        try:
            if len(data) <= _LARGE:
                connection.sendall(data)
                return
            view = memoryview(data).cast("B")
            while view:
                self._limit(deadline)
                view = view[connection.send(view) :]
        except OSError as error:
            raise _ours(error, "sending") from error

    def exchange(self, data: bytes, maximum: int, limit: float) -> bytes:
        """`send` and `receive` in one call; waits at most `limit` seconds. `Transport` takes it where there is one."""
        if limit != self._limit_set:
            self._set_limit(limit)
        try:
            self._sendall(data)
            reply = self._recv(maximum)
        except OSError as error:
            raise _ours(error, "waiting for the reply") from error
        if not reply:
            raise ConnectionLost(_LOST, hint=_HINT)
        return reply

    def receive(self, maximum: int, deadline: float) -> bytes:
        """What is there, or comes before the deadline."""
        if not self._low <= deadline - time.monotonic() <= self._high:
            self._limit(deadline)
        try:
            data = self._recv(maximum)
        except OSError as error:
            raise _ours(error, "waiting for the reply") from error
        if not data:
            raise ConnectionLost(_LOST, hint=_HINT)
        return data

    def receive_into(self, view: memoryview, deadline: float) -> int:
        """The same into a buffer."""
        if not self._low <= deadline - time.monotonic() <= self._high:
            self._limit(deadline)
        if self._socket is None:
            _closed()
        try:
            count = self._socket.recv_into(view, 0, self._whole)
        except OSError as error:
            raise _ours(error, "waiting for the reply") from error
        if not count:
            raise ConnectionLost(_LOST, hint=_HINT)
        return count

    def _limit(self, deadline: float) -> None:
        """Bring the time limit of the socket to what is left; TransportTimeout where nothing is."""
        left = time_left(deadline, time.monotonic())
        if not self._low <= left <= self._high:
            self._set_limit(left)

    def _set_limit(self, seconds: float) -> None:
        if self._socket is None:
            _closed()
        if self._by_kernel:
            limit = _timeval(seconds)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        else:
            self._socket.settimeout(seconds)
        self._limit_set = seconds
        self._low, self._high = seconds * (1 - SLACK), seconds * (1 + SLACK)


def _ours(error: OSError, action: str) -> TransportError:
    # A kernel time limit ends as EAGAIN, one of Python as TimeoutError.
    if isinstance(error, (BlockingIOError, TimeoutError)) and error.errno != errno.ETIMEDOUT:
        return TransportTimeout("no whole reply in time" if "reply" in action else f"no progress while {action}")
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return ConnectionLost(f"the instrument broke the connection while {action}", hint=_HINT)
    if isinstance(error, ConnectionRefusedError):
        found = translation(error, action)
        if found is not None:
            return found
    return ConnectionLost(f"{error.strerror or error} while {action}")


def _closed(*_: object) -> NoReturn:
    raise ConnectionLost("the connection is not open")


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("@ll", whole, max(int((seconds - whole) * 1e6), 0 if whole else 1))


def _kernel_limits(connection: socket.socket, seconds: float) -> bool:
    """Whether the kernel takes the limits as we write them (the width of a timeval differs between systems)."""
    if sys.platform == "win32":
        return False
    wanted = _timeval(seconds)
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wanted)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wanted)
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, len(wanted))
        whole, parts = struct.unpack("@ll", found)
    except (OSError, struct.error):
        return False
    return bool(abs(whole + parts * 1e-6 - seconds) < 0.02)


def _readable(connection: socket.socket) -> Callable[[], object]:
    """A function that tells, without waiting, whether `recv` would come back at once."""
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(connection, select.POLLIN)
        return partial(poller.poll, 0)
    return lambda: select.select((connection,), (), (), 0)[0]
