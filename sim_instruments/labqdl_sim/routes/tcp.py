"""Over the wire: a raw TCP socket as instruments offer it, one thread a connection, on the loopback interface."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading

from labqdl.errors import InputError
from labqdl_sim.routes.waiting import send_ready
from labqdl_sim.twin import Session, Twin

LOOPBACK = "127.0.0.1"
_CHUNK = 1 << 20


def cannot_listen(name: str, port: int, error: Exception) -> InputError:
    """A port that cannot be had, in one line; whoever knows the file adds the place."""
    taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
    reason = "it is taken" if taken else (getattr(error, "strerror", None) or str(error))
    return InputError(
        f"{name} cannot listen on port {port}: {reason}", hint="Port 0, or none, takes any free one" if taken else None
    )


class Connections:
    """A listening loopback socket, a thread that accepts, a thread for each connection."""

    def __init__(self, name: str, port: int = 0) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._connections: dict[socket.socket, threading.Thread] = {}
        try:
            self._socket = socket.create_server((LOOPBACK, port), backlog=64)
        except (OSError, OverflowError) as error:
            raise cannot_listen(name, port, error) from None
        self.port: int = self._socket.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name=f"{name} port {self.port}", daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if self._closed:
                connection.close()
                return
            worker = threading.Thread(target=self._work, args=(connection,), daemon=True)
            with self._lock:
                self._connections[connection] = worker
            worker.start()

    def _work(self, connection: socket.socket) -> None:
        try:
            # Not before: where the other side is gone already some systems refuse it, and nobody would accept any more.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.converse(connection)
        except OSError:
            pass  # the other side is gone; that is how conversations end
        finally:
            with self._lock:
                self._connections.pop(connection, None)
            connection.close()

    def converse(self, connection: socket.socket) -> None:
        """Serve one connection until it ends."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop listening, end all connections, wait for their threads."""
        self._closed = True
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=1.0):
            pass  # wakes up accept() on every system
        self._socket.close()
        self._acceptor.join(5.0)
        with self._lock:
            workers = dict(self._connections)
        for connection in workers:
            hang_up(connection)
        for worker in workers.values():
            worker.join(5.0)


def hang_up(connection: socket.socket) -> None:
    """End both directions; whoever waits on the socket wakes up."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def reset(connection: socket.socket) -> None:
    """End with RST instead of FIN."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def acknowledge_quickly(connection: socket.socket) -> None:
    """Spare clients that send twice in a row the delayed acknowledgement (Linux only; elsewhere nothing)."""
    option = getattr(socket, "TCP_QUICKACK", None)
    if option is not None:
        connection.setsockopt(socket.IPPROTO_TCP, option, 1)


class Listener(Connections):
    """Base of the TCP roads to one instrument."""

    def __init__(self, twin: Twin, port: int = 0) -> None:
        self.twin = twin
        super().__init__(twin.name, port)


class StreamServer(Listener):
    """Base of the roads on which a connection is a stream of bytes to one session."""

    def converse(self, connection: socket.socket) -> None:
        """Feed what comes, send what is ready, wait for either."""
        try:
            session = self.twin.connect()
        except ConnectionRefusedError:
            reset(connection)
            return
        session.dropped = lambda: wake(connection)
        try:
            line = self.line(connection, session)
            while True:
                timeout = send_ready(session, lambda piece, end, tag: line.send(piece))
                if session.lost is not None:
                    if session.lost == "reset":
                        reset(connection)
                    return
                connection.settimeout(timeout)
                acknowledge_quickly(connection)
                try:
                    data = connection.recv(_CHUNK)
                except (TimeoutError, BlockingIOError):
                    continue
                if not data and session.lost is None:
                    return  # the other side ended it, and not the instrument
                plain = line.received(data)
                if plain:
                    session.feed(plain)
        finally:
            session.close()

    def line(self, connection: socket.socket, session: Session) -> Line:
        """What the stream of bytes goes through."""
        return Line(connection)


class Line:
    """A stream of bytes as it is."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send(self, data: bytes | memoryview) -> None:
        """What the instrument says."""
        self.connection.settimeout(None)
        self.connection.sendall(data)

    def received(self, data: bytes) -> bytes:
        """What of these bytes is for the instrument."""
        return data


class SocketServer(StreamServer):
    """Raw socket: bytes in, bytes out."""

    @property
    def resource(self) -> str:
        """Its VISA resource name."""
        return f"TCPIP0::{LOOPBACK}::{self.port}::SOCKET"


def wake(connection: socket.socket) -> None:
    """The thread of a dropped session may sit in recv: let it find out."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
