"""Over the wire: a serial line by RFC 2217 (`rfc2217://127.0.0.1:PORT` in pyserial), with its settings."""

from __future__ import annotations

import logging
import socket
from typing import Any

from labqdl_sim.routes.tcp import LOOPBACK, Line, StreamServer
from labqdl_sim.twin import Session


class _Port:
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


class _Escaped(Line):
    """With telnet's escapes and negotiation; `write` is what `PortManager` wants of a connection."""

    def __init__(self, connection: socket.socket, session: Session) -> None:
        from serial import rfc2217

        super().__init__(connection)
        quiet = logging.getLogger("labqdl_sim.rfc2217")
        quiet.propagate = False
        port: Any = _Port(session)
        itself: Any = self
        self._manager: Any = rfc2217.PortManager(port, itself, quiet)

    def write(self, data: bytes) -> None:
        """What the port manager sends: negotiation, as it is."""
        super().send(data)

    def send(self, data: bytes | memoryview) -> None:
        """What the instrument says."""
        self.write(b"".join(self._manager.escape(bytes(data))))

    def received(self, data: bytes) -> bytes:
        """Without negotiation, which is answered."""
        return b"".join(self._manager.filter(data))


class Rfc2217Server(StreamServer):
    """A serial line in a telnet connection."""

    @property
    def resource(self) -> str:
        """Its pyserial URL."""
        return f"rfc2217://{LOOPBACK}:{self.port}"

    def line(self, connection: socket.socket, session: Session) -> Line:
        """Telnet."""
        return _Escaped(connection, session)
