"""The VISA road: over a library object inside this process, and pyvisa-py on a loopback socket."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest
from pyvisa import constants, highlevel, rname
from pyvisa.constants import ResourceAttribute, StatusCode

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl.transport import ConnectionLost, Fixed, Line, RoadOptions, Transport, TransportTimeout, road_for
from labqdl.transport.framing import Framing
from tests.transport.servers import Server, echoing

SOCKET = "TCPIP0::laser::5025::SOCKET"
SERIAL = "ASRLlaser::INSTR"
INSTR = "GPIB0::7::INSTR"
_paths = itertools.count()


class Library(highlevel.VisaLibraryBase):
    """The least VISA library: one instrument that answers `X?` by `X`, has `MUTE`, and hangs up at `BYE`."""

    clock: ManualClock
    clears: int
    refuse: bool

    @classmethod
    def make(cls) -> Library:
        library: Library = cls(f"test-{next(_paths)}")
        library.clock, library.clears, library.refuse = ManualClock(), 0, False
        return library

    @staticmethod
    def get_library_paths() -> Any:
        return ()

    def _init(self) -> None:
        self.sessions = itertools.count(1)
        self.attributes: dict[Any, Any] = {}
        self.output: list[bytes] = []
        self.gone = False

    def _give(self, session: Any, value: Any, status: StatusCode = StatusCode.success) -> Any:
        return value, self.handle_return_value(session, status)

    def open_default_resource_manager(self) -> Any:
        return self._give(None, next(self.sessions))

    def open(self, session: Any, resource_name: str, *_: Any) -> Any:
        if self.refuse:
            return self._give(session, 0, StatusCode.error_resource_not_found)
        self.output.clear()
        self.gone = False
        self.name = rname.to_canonical_name(resource_name)
        return self._give(session, next(self.sessions))

    def close(self, session: Any) -> StatusCode:
        return StatusCode.success

    def clear(self, session: Any) -> StatusCode:
        self.clears += 1
        return StatusCode.success

    def disable_event(self, *_: Any) -> StatusCode:
        return StatusCode.success

    def discard_events(self, *_: Any) -> StatusCode:
        return StatusCode.success

    def set_attribute(self, session: Any, attribute: Any, attribute_state: Any) -> StatusCode:
        self.attributes[attribute] = attribute_state
        return StatusCode.success

    def get_attribute(self, session: Any, attribute: Any) -> Any:
        if attribute == constants.VI_ATTR_ASRL_AVAIL_NUM:
            return self._give(session, sum(map(len, self.output)))
        return self._give(session, self.attributes.get(attribute, 0))

    def write(self, session: Any, data: bytes) -> Any:
        for line in data.split(b"\n")[:-1]:
            if line == b"BYE":
                self.gone = True
            elif line.endswith(b"?"):
                self.output.append(line[:-1] + b"\n")
        return self._give(session, len(data))

    def read(self, session: Any, count: int) -> Any:
        if self.gone:
            return self._give(session, b"", StatusCode.error_connection_lost)
        waiting = b"".join(self.output)
        cut = len(waiting)
        serial = self.name.startswith("ASRL")
        by_character = (
            self.attributes.get(ResourceAttribute.asrl_end_in) == constants.SerialTermination.termination_char
            if serial
            else self.attributes.get(ResourceAttribute.termchar_enabled)
        )
        found = waiting.find(bytes([self.attributes.get(ResourceAttribute.termchar, 10)])) if by_character else -1
        if found >= 0:
            cut = found + 1
        elif not self.name.endswith("INSTR") or serial:
            cut = count if len(waiting) >= count else 0  # a stream has no END: it waits until the count is there
        if not cut:
            self.clock.advance(self.attributes[ResourceAttribute.timeout_value] / 1e3)
            return self._give(session, b"", StatusCode.error_timeout)
        cut = min(cut, count)
        self.output = [waiting[cut:]] if waiting[cut:] else []
        return self._give(
            session, waiting[:cut], StatusCode.success if cut < count else StatusCode.success_max_count_read
        )


@contextlib.contextmanager
def over(name: str, framing: Framing | None = None) -> Any:
    library = Library.make()
    road = road_for(name, RoadOptions(visa_library=library), clock=library.clock)
    with Transport(
        road, Line() if framing is None else framing, name="laser", resource=name, clock=library.clock
    ) as transport:
        yield library, transport


@pytest.mark.parametrize("name", [SOCKET, SERIAL, INSTR])
def test_every_kind_of_name_over_a_library_object(name: str) -> None:
    with over(name) as (library, transport):
        assert transport.query(b"POW?") == b"POW"
        transport.write(b"POW 3")
        with pytest.raises(TransportTimeout, match="nothing received"):
            transport.query(b"MUTE")
        assert library.clock.monotonic() == pytest.approx(2.0, rel=0.05)
        assert transport.query(b"WAV?") == b"WAV"
        assert library.clears == 1
        transport.write(b"BYE")
        with pytest.raises(ConnectionLost, match="VI_ERROR_CONN_LOST"):
            transport.query(b"POW?")
        library.refuse = True
        with pytest.raises(ConnectionLost, match=r"VI_ERROR_RSRC_NFOUND.*Check address and cable"):
            transport.query(b"POW?")


@pytest.mark.parametrize(("rtscts", "xonxoff", "flow"), [(False, False, 0), (True, False, 2), (False, True, 1)])
def test_settings_of_a_serial_port(rtscts: bool, xonxoff: bool, flow: int) -> None:
    library = Library.make()
    settings = RoadOptions(visa_library=library, baudrate=115200, parity="E", rtscts=rtscts, xonxoff=xonxoff)
    road_for(SERIAL, settings).open()
    found = [
        library.attributes[one]
        for one in (
            ResourceAttribute.asrl_baud_rate,
            ResourceAttribute.asrl_data_bits,
            ResourceAttribute.asrl_parity,
            ResourceAttribute.asrl_stop_bits,
            ResourceAttribute.asrl_flow_control,
        )
    ]
    assert found == [115200, 8, constants.Parity.even, constants.StopBits.one, constants.ControlFlow(flow)]


@pytest.mark.parametrize("name", [SOCKET, SERIAL, INSTR])
def test_blocks_with_line_ends_inside(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = b"a\nb\nc" + b"\n" * 10

    def answer(library: Library, session: Any, data: bytes) -> Any:
        library.output.append(b"#215" + payload + b"\n")
        return len(data), StatusCode.success

    monkeypatch.setattr(Library, "write", answer)
    with over(name) as (_, transport):
        assert transport.query_block(b"CURV?").tobytes() == payload
        assert transport.query(b"CURV?") == b"#215" + payload


@pytest.mark.parametrize("name", [SOCKET, SERIAL])
def test_frames_without_an_end_byte(name: str) -> None:
    with over(name, Fixed(4)) as (_, transport):
        assert transport.query(b"abc?\n") == b"abc\n"


def test_pyvisa_py_on_a_socket() -> None:
    with Server(echoing) as server:
        road = road_for(server.resource, RoadOptions(visa_library="@py"))
        with Transport(road, Line(), name="laser", resource=server.resource, timeout=5.0) as transport:
            assert [transport.query(b"A%d" % n) for n in range(5)] == [b"A%d" % n for n in range(5)]


def test_a_library_that_is_not_there() -> None:
    with pytest.raises(InputError, match="no VISA library"):
        road_for(INSTR, RoadOptions(visa_library="@nosuch")).open()
