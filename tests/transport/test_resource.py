"""Resource names: what is understood, and what is said to the rest."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.errors import InputError
from labqdl.transport import RoadOptions, parse, road_for
from labqdl.transport.roads.serial import SerialRoad
from labqdl.transport.roads.socket import SocketRoad
from labqdl.transport.roads.visa import VisaRoad
from labqdl.transport.roads.zmq import ZmqRoad


@pytest.mark.parametrize(
    ("name", "kind", "host", "port", "address", "visa", "messages"),
    [
        ("TCPIP0::10.0.0.5::5025::SOCKET", "socket", "10.0.0.5", 5025, "", "TCPIP0::10.0.0.5::5025::SOCKET", False),
        ("tcpip::scope.lab::4000::socket", "socket", "scope.lab", 4000, "", "tcpip::scope.lab::4000::socket", False),
        ("TCPIP::[fe80::1]::5025::SOCKET", "socket", "fe80::1", 5025, "", "TCPIP::[fe80::1]::5025::SOCKET", False),
        ("TCPIP0::10.0.0.5::INSTR", "visa", "", 0, "", "TCPIP0::10.0.0.5::INSTR", True),
        ("TCPIP0::10.0.0.5", "visa", "", 0, "", "TCPIP0::10.0.0.5::INSTR", True),
        ("TCPIP::h::hislip0,4881::INSTR", "visa", "", 0, "", "TCPIP::h::hislip0,4881::INSTR", True),
        ("USB0::0x1313::0x8078::P1::INSTR", "visa", "", 0, "", "USB0::0x1313::0x8078::P1::INSTR", True),
        ("GPIB0::7::INSTR", "visa", "", 0, "", "GPIB0::7::INSTR", True),
        ("GPIB::7", "visa", "", 0, "", "GPIB::7::INSTR", True),
        ("ASRL/dev/ttyUSB0::INSTR", "serial", "", 0, "/dev/ttyUSB0", "ASRL/dev/ttyUSB0::INSTR", False),
        ("ASRLCOM3::INSTR", "serial", "", 0, "COM3", "ASRLCOM3::INSTR", False),
        ("ASRLlabqdl://voa::INSTR", "serial", "", 0, "labqdl://voa", "ASRLlabqdl://voa::INSTR", False),
        ("labqdl://voa", "serial", "", 0, "labqdl://voa", "", False),
        ("rfc2217://127.0.0.1:4000", "serial", "", 0, "rfc2217://127.0.0.1:4000", "", False),
        ("com7", "serial", "", 0, "COM7", "", False),
        ("/dev/ttyACM0", "serial", "", 0, "/dev/ttyACM0", "", False),
        ("zmq://10.0.0.5:5555", "zmq", "10.0.0.5", 5555, "", "", True),
    ],
)
def test_names(name: str, kind: str, host: str, port: int, address: str, visa: str, messages: bool) -> None:
    found = parse(f" {name} ")
    assert (found.text, found.kind, found.host, found.port) == (name, kind, host, port)
    assert (found.address, found.visa, found.messages) == (address, visa, messages)


def test_numbered_serial_ports_are_the_systems() -> None:
    assert parse("ASRL3::INSTR").address == ("COM3" if sys.platform == "win32" else "/dev/ttyS2")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "empty"),
        ("TCPIB0::10.0.0.5::5025::SOCKET", "Did you mean 'TCPIP0::10.0.0.5::5025::SOCKET'"),
        ("TCPIP0::10.0.0.5::5025::SOCKT", "Did you mean 'TCPIP0::10.0.0.5::5025::SOCKET'"),
        ("TCPIP0::10.0.0.5::5025", "Did you mean 'TCPIP0::10.0.0.5::5025::SOCKET'"),
        ("TCPIP0::10.0.0.5::5025::INSTR", "Did you mean 'TCPIP0::10.0.0.5::5025::SOCKET'"),
        ("TCPIP0::10.0.0.5::SOCKET", "an address and a port"),
        ("TCPIP0::10.0.0.5::70000::SOCKET", "1 to 65535"),
        ("TCPIP0", "no resource name"),
        ("TCPIP0::", "address is missing"),
        ("TCPIP0:10.0.0.5:5025:SOCKET", "Did you mean 'TCPIP0::10.0.0.5::5025::SOCKET'"),
        ("10.0.0.5:5025", "Did you mean 'TCPIP0::10.0.0.5::5025::SOCKET'"),
        ("10.0.0.5", "Did you mean 'TCPIP0::10.0.0.5::INSTR'"),
        ("tcp://10.0.0.5:5025", "Did you mean 'TCPIP0::10.0.0.5::5025::SOCKET'"),
        ("zmg://10.0.0.5:5555", "Did you mean 'zmq://10.0.0.5:5555'"),
        ("zmq://10.0.0.5", "port is missing"),
        ("labqdl://", "names nothing"),
        ("ASRL", "port is missing"),
        ("ASRL/dev/ttyUSB0::INST", "Did you mean 'ASRL/dev/ttyUSB0::INSTR'"),
        ("GPIB0::99::INSTR", "from 0 to 30"),
        ("GPIB0::INSTR", "GPIB address"),
        ("USB0::1313::INSTR", "numbers of maker and model"),
        ("laser", "no resource name"),
    ],
)
def test_mistakes_say_what_would_be_right(name: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(name)
    assert says in str(caught.value)
    assert caught.value.expected or caught.value.hint


@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from(["TCPIP0", "ASRL", "USB", "::", "7", "INSTR", "zmq://", ":"])).map("".join)
)
def test_any_text_is_understood_or_refused(name: str) -> None:
    try:
        found = parse(name)
    except InputError:
        return
    assert found.text == name.strip()
    assert found.host or found.address or found.visa


def test_the_best_road() -> None:
    assert isinstance(road_for("TCPIP0::10.0.0.5::5025::SOCKET"), SocketRoad)
    assert isinstance(road_for("ASRL/dev/ttyUSB0::INSTR", RoadOptions(baudrate=115200)), SerialRoad)
    assert isinstance(road_for("GPIB0::7::INSTR"), VisaRoad)
    assert isinstance(road_for("zmq://h:1"), ZmqRoad)
    library = RoadOptions(visa_library="@py")
    assert isinstance(road_for("TCPIP0::10.0.0.5::5025::SOCKET", library), VisaRoad)
    assert isinstance(road_for("ASRL/dev/ttyUSB0::INSTR", library), VisaRoad)
    assert isinstance(road_for("labqdl://voa", library), SerialRoad)
