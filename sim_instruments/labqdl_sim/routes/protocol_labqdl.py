"""The class that pyserial makes for `labqdl://NAME`; see `serial_url`."""

from __future__ import annotations

import math
from typing import Any

from serial.serialutil import PortNotOpenError, SerialBase, SerialException

from labqdl.errors import InputError
from labqdl_sim.routes.serial_url import find
from labqdl_sim.routes.waiting import wait_until
from labqdl_sim.twin import Session


class Serial(SerialBase):
    """A serial port whose cable ends in a twin. A read that waits costs time on the bench's clock only."""

    _port: Any  # what the base class keeps its settings in
    _baudrate: int
    _timeout: float | None

    _session: Session | None = None

    def open(self) -> None:
        """Connect; SerialException when there is no such instrument or it refuses."""
        if self._port is None:
            raise SerialException("the port has no URL yet")
        if self.is_open:
            raise SerialException("the port is already open")
        name = str(self._port).partition("://")[2].partition("?")[0].strip("/")
        try:
            twin = find(name)
            self._session = twin.connect(baud=self._baudrate)
        except (InputError, ConnectionRefusedError) as error:
            raise SerialException(str(error)) from None
        self.is_open = True

    def close(self) -> None:
        """Hang up."""
        if self._session is not None:
            self._session.close()
        self._session = None
        self.is_open = False

    def _reconfigure_port(self) -> None:
        if self._session is not None:
            self._session.baud = self._baudrate

    def _live(self) -> Session:
        if self._session is None:
            raise PortNotOpenError()
        if self._session.lost is not None and not self._session.replies:
            raise SerialException("device disconnected")
        return self._session

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once."""
        return self._live().waiting()

    def read(self, size: int = 1) -> bytes:
        """Up to `size` bytes; fewer when the timeout ends first."""
        session = self._live()
        clock = session.twin.clock
        deadline = clock.monotonic() + (math.inf if self._timeout is None else self._timeout)
        pieces: list[Any] = []
        while size > 0:
            with session.twin.lock:
                ready = session.ready_at()
                now = clock.monotonic()
                if ready is not None and ready <= now:
                    pieces.append(session.read(size)[0])
                    size -= len(pieces[-1])
                    continue
            if session.lost is not None and ready is None:
                if pieces:
                    break
                raise SerialException("device disconnected")
            if ready is None or ready > deadline:
                if math.isinf(deadline):
                    raise SerialException("a read without timeout for bytes that never come")
                clock.sleep(deadline - now)
                break
            wait_until(clock, ready)
        return b"".join(pieces)

    def write(self, data: Any) -> int:
        """Send bytes to the instrument."""
        session = self._live()
        if session.lost is not None:
            raise SerialException("device disconnected")
        sent = bytes([data] if isinstance(data, int) else data)
        session.feed(sent)
        return len(sent)

    def flush(self) -> None:
        """Writes are never held back."""
        self._live()

    def reset_input_buffer(self) -> None:
        """Drop what can be read."""
        session = self._live()
        with session.twin.lock:
            session.discard()

    def reset_output_buffer(self) -> None:
        """Writes are never held back."""
        self._live()

    def _update_break_state(self) -> None:
        self._live()

    def _update_rts_state(self) -> None:
        """Modem lines lead nowhere."""

    def _update_dtr_state(self) -> None:
        """Modem lines lead nowhere."""

    @property
    def cts(self) -> bool:
        """Clear to send: always."""
        return True

    @property
    def dsr(self) -> bool:
        """Data set ready: always."""
        return True

    @property
    def ri(self) -> bool:
        """Ring: never."""
        return False

    @property
    def cd(self) -> bool:
        """Carrier: always."""
        return True
