"""Over the wire: HiSLIP (IVI-6.1), the fast road for large blocks, synchronised mode.

One server per instrument; a client opens two connections, of which the asynchronous one carries device clear, status,
locks and service requests. Service requests are sent only when asked for (`service_requests=True`): pyvisa-py up to
0.8.1 loses its step when one arrives.
"""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from dataclasses import dataclass, field

from labqdl_sim.routes.tcp import LOOPBACK, Listener, acknowledge_quickly, reset, wake
from labqdl_sim.routes.waiting import send_ready
from labqdl_sim.twin import Session, Twin

(
    INITIALIZE, INITIALIZE_RESPONSE, FATAL_ERROR, ERROR, LOCK, LOCK_RESPONSE, DATA, DATA_END, CLEAR_COMPLETE,
    CLEAR_ACKNOWLEDGE, REMOTE, REMOTE_RESPONSE, TRIGGER, INTERRUPTED, ASYNC_INTERRUPTED, MAXIMUM, MAXIMUM_RESPONSE,
    ASYNC_INITIALIZE, ASYNC_INITIALIZE_RESPONSE, CLEAR, SERVICE_REQUEST, STATUS, STATUS_RESPONSE,
    ASYNC_CLEAR_ACKNOWLEDGE, LOCK_INFO, LOCK_INFO_RESPONSE,
) = range(26)  # fmt: skip
"""Message types of the standard."""

_HEADER = struct.Struct("!2sBBIQ")
_LARGEST = 1 << 24  # bytes of a message that we accept; clients cut what is larger
_BEFORE_FIRST = 0xFFFF_FEFE  # message ID before that of a client's first message
_CATCH_UP = 0.1  # s; how long a status query waits for a message that overtakes it on the other connection
_VENDOR = int.from_bytes(b"LQ", "big")


def message(kind: int, control: int = 0, parameter: int = 0, payload: bytes = b"") -> bytes:
    """One HiSLIP message."""
    return _HEADER.pack(b"HS", kind, control, parameter, len(payload)) + payload


class ProtocolBreach(OSError):
    """The client sent what the protocol does not allow here; the connection ends."""


def receive_exactly(connection: socket.socket, count: int) -> bytearray:
    """`count` bytes; OSError when the connection ends before."""
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = connection.recv_into(view)
        if not got:
            raise ConnectionResetError("connection ended")
        view = view[got:]
    return data


def receive_message(connection: socket.socket) -> tuple[int, int, int, bytearray]:
    """Type, control code, parameter and payload of the next message."""
    prologue, kind, control, parameter, length = _HEADER.unpack(receive_exactly(connection, _HEADER.size))
    if prologue != b"HS" or length > 2 * _LARGEST:
        raise ProtocolBreach("poorly formed message header")
    return kind, control, parameter, receive_exactly(connection, length)


@dataclass(eq=False, slots=True)
class _Link:
    """The two connections of one client."""

    session: Session
    sync: socket.socket
    other: socket.socket | None = None
    largest: int = 1 << 20
    clearing: bool = False
    undelivered: bool = False
    requested: bool = False
    seen: int = _BEFORE_FIRST
    step: threading.Condition = field(default_factory=threading.Condition)
    sending: threading.Lock = field(default_factory=threading.Lock)

    def send(self, piece: bytes | memoryview, end: bool, tag: int) -> None:
        """Send a piece of a reply."""
        self.undelivered = end
        self.sync.settimeout(None)
        header = _HEADER.pack(b"HS", DATA_END if end else DATA, 0, tag, len(piece))
        if len(piece) < 65536:
            self.sync.sendall(header + piece)
        else:
            self.sync.sendall(header)
            self.sync.sendall(piece)


class HislipServer(Listener):
    """HiSLIP for one instrument; any sub-address leads to it."""

    def __init__(self, twin: Twin, port: int = 0, *, service_requests: bool = False) -> None:
        self._links: dict[int, _Link] = {}
        self._numbers = itertools.count(1)
        self._owner: _Link | None = None
        self._freed = threading.Condition()
        self._service_requests = service_requests
        super().__init__(twin, port)

    @property
    def resource(self) -> str:
        """Its VISA resource name."""
        return f"TCPIP0::{LOOPBACK}::hislip0,{self.port}::INSTR"

    def converse(self, connection: socket.socket) -> None:
        """The first message says which of the two connections this is."""
        kind, _, parameter, _ = receive_message(connection)
        if kind == INITIALIZE:
            self._synchronous(connection)
        elif kind == ASYNC_INITIALIZE and parameter in self._links:
            self._asynchronous(connection, self._links[parameter])
        else:
            connection.sendall(message(FATAL_ERROR, 3, 0, b"Invalid Initialization sequence"))

    def _synchronous(self, connection: socket.socket) -> None:
        try:
            session = self.twin.connect(exchange=True)
        except ConnectionRefusedError:
            reset(connection)
            return
        number = next(self._numbers) & 0xFFFF
        link = self._links[number] = _Link(session, connection)
        session.dropped = lambda: wake(connection)
        try:
            connection.sendall(message(INITIALIZE_RESPONSE, 0, 0x0100_0000 | number))
            while session.lost is None or session.replies:
                wait = send_ready(session, link.send, link.largest - _HEADER.size)
                if session.lost is not None:
                    continue
                connection.settimeout(wait)
                acknowledge_quickly(connection)
                try:
                    first = connection.recv(1, socket.MSG_PEEK)
                except (TimeoutError, BlockingIOError):
                    continue
                if not first:
                    break
                connection.settimeout(None)
                self._handle(link, *receive_message(connection))
        finally:
            how = session.lost
            session.close()
            self._links.pop(number, None)
            self._release(link)
            for each in (link.other, connection):
                if each is not None:
                    if how == "reset":
                        reset(each)
                    else:
                        wake(each)

    def _handle(self, link: _Link, kind: int, control: int, parameter: int, payload: bytearray) -> None:
        session = link.session
        if kind == CLEAR_COMPLETE:
            link.clearing = False
            link.sync.sendall(message(CLEAR_ACKNOWLEDGE))
        elif kind in (DATA, DATA_END, TRIGGER):
            if link.clearing:
                return
            link.undelivered = False
            with self._freed:
                self._freed.wait_for(lambda: self._owner in (None, link) or session.lost is not None)
            session.tag = parameter
            if kind == TRIGGER:
                session.trigger()
            else:
                session.feed(payload, kind == DATA_END)
            with link.step:
                link.seen = parameter
                link.step.notify_all()
            self._request_service(link)
        else:
            link.sync.sendall(message(ERROR, 1, 0, b"Unrecognized Message Type"))

    def _status(self, link: _Link) -> int:
        return link.session.status_byte() | (16 if link.undelivered else 0)

    def _request_service(self, link: _Link) -> None:
        """Send a service request when bit 6 of the status byte rises."""
        if not self._service_requests or link.other is None:
            return
        status = self._status(link)
        if status & 64 and not link.requested:
            with link.sending:
                link.other.sendall(message(SERVICE_REQUEST, status))
        link.requested = bool(status & 64)

    def _asynchronous(self, connection: socket.socket, link: _Link) -> None:
        link.other = connection
        connection.sendall(message(ASYNC_INITIALIZE_RESPONSE, 0, _VENDOR))
        while link.session.lost is None:
            kind, control, parameter, payload = receive_message(connection)
            answer = self._answer(link, kind, control, parameter, payload)
            with link.sending:
                connection.sendall(answer)

    def _answer(self, link: _Link, kind: int, control: int, parameter: int, payload: bytearray) -> bytes:
        if kind == MAXIMUM and len(payload) == 8:
            link.largest = max(int.from_bytes(payload, "big"), 256)
            return message(MAXIMUM_RESPONSE, 0, 0, _LARGEST.to_bytes(8, "big"))
        if kind == STATUS:
            if control & 1:
                link.undelivered = False
            with link.step:  # clients name their last message, or the next one
                link.step.wait_for(lambda: link.seen in (parameter, (parameter - 2) & 0xFFFF_FFFF), _CATCH_UP)
            return message(STATUS_RESPONSE, self._status(link))
        if kind == CLEAR:
            link.clearing = True
            link.seen = _BEFORE_FIRST
            link.undelivered = False
            link.session.clear()
            return message(ASYNC_CLEAR_ACKNOWLEDGE)
        if kind == LOCK:
            if control & 1:
                return message(LOCK_RESPONSE, self._seize(link, parameter / 1000))
            return message(LOCK_RESPONSE, self._release(link))
        if kind == LOCK_INFO:
            return message(LOCK_INFO_RESPONSE, int(self._owner is not None), int(self._owner is not None))
        if kind == REMOTE:
            return message(REMOTE_RESPONSE)
        return message(ERROR, 1, 0, b"Unrecognized Message Type")

    def _seize(self, link: _Link, timeout: float) -> int:
        """1 when the exclusive lock is ours now, 0 when another one holds it, 3 when we held it before."""
        with self._freed:
            if self._owner is link:
                return 3
            if not self._freed.wait_for(lambda: self._owner is None, timeout):
                return 0
            self._owner = link
            return 1

    def _release(self, link: _Link) -> int:
        with self._freed:
            if self._owner is not link:
                self._freed.notify_all()
                return 3
            self._owner = None
            self._freed.notify_all()
            return 1
