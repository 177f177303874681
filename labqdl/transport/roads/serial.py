"""Serial ports, and everything that pyserial opens by URL (`rfc2217://`, `labqdl://`)."""

from __future__ import annotations

import contextlib
from typing import Any

from labqdl.clock import Clock, SystemClock
from labqdl.errors import InputError
from labqdl.transport.errors import ConnectionLost, TransportTimeout, translated
from labqdl.transport.road import SLACK, time_left


class SerialRoad:
    """A stream of bytes over a serial port.

    Parameters
    ----------
    address:
        What `serial.serial_for_url` takes: a device (`COM3`, `/dev/ttyUSB0`) or a URL.
    baudrate, bytesize, parity, stopbits, rtscts, xonxoff:
        As pyserial has them.
    clock:
        The clock of the deadlines; another than the system's for ports inside this process only.
    """

    messages = False

    def __init__(
        self,
        address: str,
        *,
        baudrate: int = 9600,
        bytesize: int = 8,
        parity: str = "N",
        stopbits: float = 1,
        rtscts: bool = False,
        xonxoff: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.address = address
        self.in_process = address.startswith(("labqdl://", "loop://"))
        self._settings: dict[str, Any] = {
            "baudrate": baudrate,
            "bytesize": bytesize,
            "parity": parity,
            "stopbits": stopbits,
            "rtscts": rtscts,
            "xonxoff": xonxoff,
        }
        self.now = (SystemClock() if clock is None else clock).monotonic
        self._port: Any = None
        self._limit = 0.0

    def open(self) -> None:
        """Open the port; what it had received before is thrown away."""
        if self._port is not None:
            return
        import serial

        self._limit = 1.0
        try:
            with translated(f"opening {self.address}"):
                port = serial.serial_for_url(self.address, timeout=1.0, write_timeout=5.0, **self._settings)
                port.reset_input_buffer()
        except ValueError as error:
            raise InputError(
                f"the serial port '{self.address}' cannot be opened: {error}",
                expected="a device such as COM3 or /dev/ttyUSB0, or a URL that pyserial knows, and its settings",
            ) from error
        except ConnectionLost as error:
            error.about(hint="Check that the cable is in, the name of the port, and that you may use it")
            raise
        self._port = port

    def close(self) -> None:
        """Close the port."""
        port, self._port = self._port, None
        if port is not None:
            # A port whose device was pulled out raises what it likes, termios.error among it.
            with contextlib.suppress(Exception):
                port.close()

    def end_on(self, byte: int | None) -> None:
        """Of no use here: a port tells how much waits."""

    def send(self, data: bytes | bytearray | memoryview, deadline: float) -> None:
        """Hand all bytes to the port."""
        port = self._opened(deadline)
        with translated("sending"):
            written = port.write(data)
            if written is not None and written != len(data):
                raise ConnectionLost(f"the port took {written} of {len(data)} bytes")

    def receive(self, maximum: int, deadline: float) -> bytes:
        """What waits, or the first byte that comes."""
        port = self._opened(deadline)
        with translated("waiting for the reply"):
            data = bytes(port.read(min(max(port.in_waiting, 1), maximum)))
        if not data:
            raise TransportTimeout("no whole reply in time")
        return data

    def receive_into(self, view: memoryview, deadline: float) -> int:
        """The same into a buffer."""
        data = self.receive(len(view), deadline)
        view[: len(data)] = data
        return len(data)

    def waiting(self) -> bool:
        """Whether the port has bytes."""
        port = self._opened(None)
        with translated("looking for waiting bytes"):
            return bool(port.in_waiting)

    def _opened(self, deadline: float | None) -> Any:
        """The port, with what is left of the time as its limit."""
        port = self._port
        if port is None:
            raise ConnectionLost("the port is not open")
        if deadline is None:
            return port
        left = time_left(deadline, self.now())
        if not self._limit * (1 - SLACK) <= left <= self._limit * (1 + SLACK):
            # Setting a limit makes pyserial set up the whole port again: not for nothing.
            with translated("setting the time limit of the port"):
                port.timeout = left
                port.write_timeout = left
            self._limit = left
        return port
