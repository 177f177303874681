"""Whatever PyVISA opens: HiSLIP, VXI-11, USB, GPIB, and any name where a VISA library is handed in."""

from __future__ import annotations

import contextlib
from typing import Any

from labqdl.clock import Clock, SystemClock
from labqdl.errors import InputError
from labqdl.transport.errors import ConnectionLost, ProtocolError, TransportTimeout, translated
from labqdl.transport.resource import RoadOptions
from labqdl.transport.road import SLACK, time_left

_CHUNK = 1 << 20
_PARITY = {"N": 0, "O": 1, "E": 2, "M": 3, "S": 4}
_STOP_BITS = {1: 10, 1.5: 15, 2: 20}
_XON_XOFF, _RTS_CTS = 1, 2


class VisaRoad:
    """A session of a VISA library.

    Parameters
    ----------
    name:
        The VISA resource name.
    library:
        A PyVISA library object, or what `pyvisa.ResourceManager` takes; None: PyVISA's default.
    messages:
        True for INSTR over TCP/IP, USB and GPIB, which have an END; False for SOCKET and ASRL.
    serial:
        Settings of the port, for ASRL names; None for others.
    clock:
        The clock of the deadlines; another than the system's for libraries inside this process only.
    """

    def __init__(
        self,
        name: str,
        *,
        library: Any = None,
        messages: bool,
        connect_timeout: float = 5.0,
        serial: RoadOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.messages = messages
        self.connect_timeout = connect_timeout
        self._library = library
        self._serial = serial
        self.now = (SystemClock() if clock is None else clock).monotonic
        self._stack = contextlib.ExitStack()
        self._resource: Any = None
        self._end: int | None = None
        self._limit = 0.0
        self._opened_before = False

    @property
    def in_process(self) -> bool:
        """Whether the instruments of the library live and die with this process."""
        if isinstance(self._library, str):
            return self._library.endswith("@labqdl")
        library = getattr(self._library, "visalib", self._library)
        return type(library).__module__.partition(".")[0] in ("labqdl_sim", "pyvisa_labqdl")

    def open(self) -> None:
        """Open the session. When it is opened again, the instrument's buffers are cleared, where VISA can."""
        if self._resource is not None:
            return
        import pyvisa
        from pyvisa.constants import StatusCode

        library = "" if self._library is None else self._library
        try:
            manager = pyvisa.ResourceManager(library)
        except (ValueError, OSError) as error:
            raise InputError(
                f"no VISA library '{library}': {error}",
                expected="a library that PyVISA can load, such as '@py' (pyvisa-py) or an installed vendor's",
            ) from error
        try:
            with translated(f"opening {self.name}"):
                self._resource = manager.open_resource(self.name, open_timeout=max(int(self.connect_timeout * 1e3), 1))
                self._stack.enter_context(
                    self._resource.ignore_warning(
                        StatusCode.success_max_count_read, StatusCode.success_device_not_present
                    )
                )
                self._set_up()
                if self._opened_before:
                    self._clear()
        except ValueError as error:  # a transport layer that the library lacks, such as GPIB without a driver
            self.close()
            raise InputError(
                f"the VISA library cannot open '{self.name}': {error}",
                hint="`labqdl doctor` lists what is installed",
            ) from error
        except BaseException as error:
            self.close()
            if isinstance(error, ConnectionLost):
                error.about(hint="Check address and cable, that the instrument is on, and that nobody else holds it")
            raise
        self._opened_before = True

    def close(self) -> None:
        """End the session."""
        resource, self._resource = self._resource, None
        self._limit = 0.0
        with contextlib.suppress(Exception):
            self._stack.close()
        if resource is not None:
            with contextlib.suppress(Exception):
                resource.close()

    def end_on(self, byte: int | None) -> None:
        """Streams behind VISA are read up to this byte; without one, byte by byte where VISA tells no better."""
        self._end = byte
        if self._resource is not None:
            with translated("setting the end of a reply"):
                self._stop_at(byte)

    def send(self, data: bytes | bytearray | memoryview, deadline: float) -> None:
        """Write all of it, as one message."""
        resource = self._opened(deadline)
        with translated("sending"):
            written, _ = resource.visalib.write(resource.session, bytes(data))
            if written != len(data):
                raise ProtocolError(f"VISA took {written} of {len(data)} bytes")

    def receive(self, maximum: int, deadline: float) -> bytes:
        """One message up to its END; from a stream up to the end byte, or what waits."""
        from pyvisa.constants import StatusCode

        resource = self._opened(deadline)
        with translated("waiting for the reply"):
            if not self.messages:
                data, _ = resource.visalib.read(resource.session, self._wise(maximum))
            else:
                data, status = resource.visalib.read(resource.session, _CHUNK)
                while status == StatusCode.success_max_count_read:
                    self._opened(deadline)
                    more, status = resource.visalib.read(resource.session, _CHUNK)
                    data += more
        if not data:
            raise TransportTimeout("no whole reply in time")
        return bytes(data)

    def receive_into(self, view: memoryview, deadline: float) -> int:
        """The same into a buffer; a stream is read to the buffer's end, whatever bytes come."""
        if self.messages:
            data = self.receive(len(view), deadline)
            if len(data) > len(view):
                raise ProtocolError(f"a message of {len(data)} bytes for {len(view)} that were expected")
        else:
            resource = self._opened(deadline)
            with translated("waiting for the reply"):
                self._stop_at(None)
                data, _ = resource.visalib.read(resource.session, min(len(view), _CHUNK))
                self._stop_at(self._end)
            if not data:
                raise TransportTimeout("no whole reply in time")
        view[: len(data)] = data
        return len(data)

    def waiting(self) -> bool:
        """Whether a serial port behind VISA has bytes; others do not tell."""
        if self._serial is None:
            return False
        self._opened(None)
        with translated("looking for waiting bytes"):
            return self._available() > 0

    def _opened(self, deadline: float | None) -> Any:
        resource = self._resource
        if resource is None:
            raise ConnectionLost("the VISA session is not open")
        if deadline is not None:
            left = time_left(deadline, self.now())
            if not self._limit * (1 - SLACK) <= left <= self._limit * (1 + SLACK):
                with translated("setting the time limit"):
                    resource.timeout = max(left * 1e3, 1)
                self._limit = left
        return resource

    def _set_up(self) -> None:
        from pyvisa.constants import ResourceAttribute

        if self._serial is not None:
            wanted = self._serial
            for attribute, value in (
                (ResourceAttribute.asrl_baud_rate, wanted.baudrate),
                (ResourceAttribute.asrl_data_bits, wanted.bytesize),
                (ResourceAttribute.asrl_parity, _PARITY[wanted.parity]),
                (ResourceAttribute.asrl_stop_bits, _STOP_BITS[wanted.stopbits]),
                (ResourceAttribute.asrl_flow_control, wanted.xonxoff * _XON_XOFF | wanted.rtscts * _RTS_CTS),
            ):
                self._resource.visalib.set_attribute(self._resource.session, attribute, value)
        if not self.messages:
            self._stop_at(self._end)

    def _stop_at(self, byte: int | None) -> None:
        from pyvisa.constants import ResourceAttribute, SerialTermination

        if self.messages:
            return
        set_attribute, session = self._resource.visalib.set_attribute, self._resource.session
        if byte is not None:
            set_attribute(session, ResourceAttribute.termchar, byte)
        if self._serial is None:
            set_attribute(session, ResourceAttribute.termchar_enabled, byte is not None)
            return
        ending = SerialTermination.none if byte is None else SerialTermination.termination_char
        set_attribute(session, ResourceAttribute.asrl_end_in, ending)

    def _wise(self, maximum: int) -> int:
        """How many bytes to ask a stream for, so that VISA does not wait for more than there will be."""
        if self._end is not None:
            return maximum
        return max(min(self._available(), maximum), 1) if self._serial is not None else 1

    def _available(self) -> int:
        return int(self._resource.bytes_in_buffer)

    def _clear(self) -> None:
        import pyvisa

        try:
            self._resource.clear()
        except NotImplementedError:
            pass
        except pyvisa.VisaIOError as error:
            if error.error_code != pyvisa.constants.StatusCode.error_nonsupported_operation:
                raise
