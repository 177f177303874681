"""Over the wire: a serial line by RFC 2217 (`rfc2217://127.0.0.1:PORT` in pyserial), with its settings."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

from labqdl_sim.routes.tcp import LOOPBACK, Listener, acknowledge_quickly, reset, send_ready, wake
from labqdl_sim.twin import Session


class _Line:
    """What `serial.rfc2217.PortManager` wants a serial port to be: settings; the speed reaches the instrument."""

    bytesize = 8
    parity = "N"
    stopbits = 1
    rtscts = False
    xonxoff = False
    rts = True
    dtr = True
    break_condition = False
    cts = True
    dsr = True
    ri = False
    cd = True

    def __init__(self, session: Session) -> None:
        self._session = session
        self._baudrate = 9600

    @property
    def baudrate(self) -> int:
        """Line speed."""
        return self._baudrate

    @baudrate.setter
    def baudrate(self, value: int) -> None:
        self._baudrate = value
        self._session.baud = value

    def get_settings(self) -> dict[str, Any]:
        """Nothing to come back to."""
        return {}

    def apply_settings(self, settings: dict[str, Any]) -> None:
        """See `get_settings`."""

    def reset_input_buffer(self) -> None:
        """Drop what the client has not read."""
        with self._session.twin.lock:
            self._session.discard()

    def reset_output_buffer(self) -> None:
        """Writes are never held back."""


class _Escaped:
    """Sends with the telnet escape and without interleaving."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.manager: Any = None
        self._lock = threading.Lock()

    def write(self, data: bytes) -> None:
        """What the port manager sends: negotiation, as it is."""
        with self._lock:
            self.connection.sendall(data)

    def sendall(self, data: bytes | memoryview) -> None:
        """What the instrument says."""
        self.write(b"".join(self.manager.escape(bytes(data))))

    def settimeout(self, value: float | None) -> None:
        """Of the connection."""
        self.connection.settimeout(value)


class Rfc2217Server(Listener):
    """A serial line in a telnet connection."""

    @property
    def resource(self) -> str:
        """Its pyserial URL."""
        return f"rfc2217://{LOOPBACK}:{self.port}"

    def converse(self, connection: socket.socket) -> None:
        """Feed what comes, answer negotiation, send what is ready."""
        from serial import rfc2217

        try:
            session = self.twin.connect()
        except ConnectionRefusedError:
            reset(connection)
            return
        session.dropped = lambda: wake(connection)
        outlet = _Escaped(connection)
        quiet = logging.getLogger("labqdl_sim.rfc2217")
        quiet.propagate = False
        line: Any = _Line(session)
        channel: Any = outlet
        outlet.manager = rfc2217.PortManager(line, channel, quiet)
        try:
            while True:
                timeout = send_ready(outlet, session)
                if session.lost is not None:
                    break
                connection.settimeout(timeout)
                acknowledge_quickly(connection)
                try:
                    data = connection.recv(65536)
                except (TimeoutError, BlockingIOError):
                    continue
                if not data:
                    break
                connection.settimeout(None)
                plain = b"".join(outlet.manager.filter(data))
                if plain:
                    session.feed(plain)
        finally:
            how = session.lost
            session.close()
            if how == "reset":
                reset(connection)
