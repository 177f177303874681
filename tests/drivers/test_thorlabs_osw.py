"""Thorlabs OSW switches on scripted transports."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from labqdl.clock import ManualClock
from labqdl.instruments import LimitError, NotConfirmed, SettingsChanged
from labqdl.transport import ProtocolError
from labqdl_drivers.switches.thorlabs_osw import ThorlabsOSW
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("thorlabs-osw")
IDENTITY: Mapping[bytes, bytes | None] = {b"I? \n": b"OSW-8104-01\r\n", b"T?\n": b"3\r\n"}


def named(switch: ThorlabsOSW) -> None:
    assert switch.identity().model == "OSW board name"


def toggled(switch: ThorlabsOSW) -> None:
    assert switch.port == 1
    switch.port = 2


CALLS: dict[str, Callable[[ThorlabsOSW], None]] = {
    "board name, asked with a blank": named,
    "state 1, then to state 2": toggled,
}
NOT_DRIVEN = {
    "board name": "the same with a blank, as the vendor's example asks; both forms work",
    "Agiltron: active channel": "another maker's switch",
    "Agiltron: select channel 3": "another maker's switch",
}


def test_the_sheet_is_covered() -> None:
    assert len(SHEET.examples) == SHEET.worked
    assert set(SHEET.titles) == CALLS.keys() | NOT_DRIVEN.keys()


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    with scripted(SHEET[title], ThorlabsOSW.framing, {b"T?\n": b"3\r\n"}) as transport:
        CALLS[title](ThorlabsOSW(transport, clock=ManualClock()))


def switch_with(*pairs: tuple[bytes, bytes | None], **also: bytes) -> tuple[ThorlabsOSW, ScriptedTransport]:
    clock = ManualClock()
    always = {**IDENTITY, **{name.encode() + b"?\n": reply for name, reply in also.items()}}
    transport = scripted(pairs, ThorlabsOSW.framing, always, clock=clock)
    switch = ThorlabsOSW(transport, clock=clock)
    switch.open()
    return switch, transport


def test_identity() -> None:
    assert switch_with()[0].identity().firmware == "board type 3"
    clock = ManualClock()
    stranger = scripted([], ThorlabsOSW.framing, {b"I? \n": b"EPC-400\r\n", b"T?\n": b"3\r\n"}, clock=clock)
    with pytest.raises(SettingsChanged, match="OSW12 or OSW22"):
        ThorlabsOSW(stranger).open()
    assert not stranger.is_open


def test_the_mirror_gets_its_time_and_is_read_back() -> None:
    switch, transport = switch_with((b"S 2\n", None), (b"S?\n", b"1\r\n"), (b"S?\n", b"2\r\n"))
    switch.port = 2
    assert switch.clock.monotonic() == pytest.approx(0.012)
    transport.finish()


def test_a_switch_that_does_not_move() -> None:
    switch, _ = switch_with((b"S 2\n", None), S=b"1\r\n")
    with pytest.raises(NotConfirmed, match=r"port was set to 2 and reads 1 after 0\.5 s"):
        switch.port = 2


@pytest.mark.parametrize("port", [0, 3])
def test_ports_that_are_not_there(port: int) -> None:
    switch, transport = switch_with()
    with pytest.raises(LimitError, match="1 to 2"):
        switch.port = port
    transport.finish()


def test_nonsense() -> None:
    switch, _ = switch_with((b"S?\n", b"on\r\n"))
    with pytest.raises(ProtocolError, match="'on' is not a whole number"):
        _ = switch.port


def test_safe_states() -> None:
    switch, transport = switch_with((b"S 1\n", None), (b"S?\n", b"1\r\n"))
    switch.safe_state()
    switch.safe_port = 1
    switch.safe_state()
    transport.finish()
