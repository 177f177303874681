"""The ITLA driver: every example of its sheet, to the byte, and what it does with errors and pending operations."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl.instruments import LimitError, NotACapability, NotConfirmed, SettingsChanged
from labqdl.transport import InstrumentError, ProtocolError
from labqdl.units import LIGHT_SPEED, from_dbm
from labqdl_drivers.lasers.itla_frames import ERRORS, ItlaFraming
from labqdl_drivers.lasers.oif_itla import ItlaLaser, NoiseMode
from tests.drivers.accounts import check_commands
from tests.sheet_examples import load, scripted

SHEET = load("oif-itla")
FRAMING = ItlaFraming()


def sent(register: int, data: bytes | int = 0, write: bool = False) -> bytes:
    data = data if isinstance(data, bytes) else struct.pack(">H", data & 0xFFFF)
    return FRAMING.wrap(bytes((write, register)) + data)


def replied(register: int, data: bytes | int = 0, status: int = 0) -> bytes:
    data = data if isinstance(data, bytes) else struct.pack(">H", data & 0xFFFF)
    return FRAMING.wrap(bytes((4 | status, register)) + data)


def text(register: int, words: str) -> dict[bytes, bytes]:
    """A text of one or two letters: the buffer gives the same two bytes each time."""
    return {sent(register): replied(register, len(words), 2), sent(0x0B): replied(0x0B, words.encode().ljust(2, b"\0"))}


def read(*pairs: tuple[int, int]) -> dict[bytes, bytes | None]:
    return {sent(register): replied(register, number) for register, number in pairs}


def raises(kind: type[Exception], words: str, call: Callable[[ItlaLaser], object]) -> Callable[[ItlaLaser], None]:
    def check(laser: ItlaLaser) -> None:
        with pytest.raises(kind, match=words):
            call(laser)

    return check


def equals(call: Callable[[ItlaLaser], Any], value: Any) -> Callable[[ItlaLaser], None]:
    def check(laser: ItlaLaser) -> None:
        assert call(laser) == value

    return check


def write(register: int, number: int) -> Callable[[ItlaLaser], None]:
    return lambda laser: laser.write_register(register, struct.pack(">H", number))


def switch(on: bool) -> Callable[[ItlaLaser], None]:
    def call(laser: ItlaLaser) -> None:
        laser.emission = on

    return call


def setting(name: str, value: Any) -> Callable[[ItlaLaser], None]:
    return lambda laser: setattr(laser, name, value)


CALLS: dict[str, Callable[[ItlaLaser], None]] = {
    "idle and ready": equals(lambda laser: laser.word(0x00), 0x0010),
    "device type, a string of eight bytes": equals(lambda laser: laser.words(0x01), "CW ITLA"),
    "set point 10 dBm": setting("power_dbm", 10.0),
    "first channel at 193 THz": write(0x35, 193),
    "first channel, 0.1 GHz part": write(0x36, 4145),
    "channel 1": setting("channel", 1),
    "output on, pending, then ready": switch(True),
    "output on at once": switch(True),
    "output off": switch(False),
    "output power 9.99 dBm": equals(lambda laser: laser.measured_power, pytest.approx(from_dbm(9.99))),
    "frequency, THz part": equals(lambda laser: laser.word(0x40), 193),
    "frequency, 0.1 GHz part": equals(lambda laser: laser.word(0x41), 4145),
    "fine tune -2500 MHz": setting("fine_tune", -2.5e9),
    "whisper mode": setting("noise_mode", NoiseMode.WHISPER),
    "power out of range, then the reason": raises(
        InstrumentError, "error 3: RVE: value out of range", setting("power_dbm", 50.0)
    ),
    "clear the latched fatal status": write(0x20, 0x00FF),
    "module saw a bad checksum": raises(InstrumentError, "wrong checksum", lambda laser: laser.word(0x00)),
}
NOT_DRIVEN = {
    "ask for the last reply again": ItlaLaser.left_out["0x13"],
    "set 115200 baud": ItlaLaser.left_out["0x0D"],
}


def test_the_sheet_is_covered() -> None:
    assert len(SHEET.examples) == SHEET.worked
    assert set(SHEET.titles) == CALLS.keys() | NOT_DRIVEN.keys()
    assert check_commands(SHEET.name, ItlaLaser) > 0.6


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    on = title.startswith("output on")
    with scripted(SHEET[title], FRAMING, read((0x20, 0), (0x32, 8 if on else 0))) as transport:
        CALLS[title](ItlaLaser(transport, clock=ManualClock()))


OPENING = (
    text(0x01, "ITLA"[:2])
    | read((0x50, 600), (0x51, 1350), (0x52, 191), (0x53, 5000), (0x54, 196), (0x55, 2500), (0x4F, 30_000))
    | read((0x90, 0))
    | {sent(0x67): replied(0x67, 0, 1), sent(0x00): replied(0x00, 0x0011)}
)


def opened(*steps: tuple[bytes, bytes], also: Mapping[bytes, bytes | None] | None = None) -> tuple[ItlaLaser, Any]:
    """A laser that has learnt the ranges of OPENING, without its texts, and then meets these steps."""
    transport = scripted(steps, FRAMING, OPENING | dict(also or {}), clock=ManualClock())
    transport.open()
    laser = ItlaLaser(transport, name="laser", clock=transport.clock)
    laser.learn()
    return laser, transport


def texts(register: int, words: bytes) -> list[tuple[bytes, bytes]]:
    parts = [words[start : start + 2].ljust(2, b"\0") for start in range(0, len(words), 2)]
    return [(sent(register), replied(register, len(words), 2)), *((sent(0x0B), replied(0x0B, one)) for one in parts)]


def test_opening_reads_texts_and_ranges_and_writes_nothing() -> None:
    words = {0x01: b"CW ITLA\0", 0x02: b"Pure Photonics\0", 0x03: b"PPCL550\0", 0x04: b"CRTN1\0", 0x06: b"8.0\0"}
    steps = [step for register, one in words.items() for step in texts(register, one)]
    with scripted(steps, FRAMING, {**OPENING, sent(0x01): b"", sent(0x0B): b""}) as transport:
        laser = ItlaLaser(transport, clock=ManualClock())
        laser.open()
        assert laser.is_open
        assert all(not entry.data[0] & 1 for entry in transport.traffic if entry.direction == ">" and entry.data)


def test_a_frame_that_somebody_left_unfinished_is_completed() -> None:
    cut = FRAMING.wrap(bytes((0x0C, 0, 0, 0)))  # "wrong checksum"
    steps = [(sent(0x00), cut), (b"\0", None), (b"\0", None), (b"\0", cut), *texts(0x01, b"EDFA\0")]
    with scripted(steps, FRAMING) as transport, pytest.raises(SettingsChanged, match="'EDFA'"):
        ItlaLaser(transport).open()


def test_another_device_is_not_opened() -> None:
    with (
        scripted(texts(0x01, b"EDFA\0"), FRAMING, read((0x00, 0x10))) as transport,
        pytest.raises(SettingsChanged, match="'EDFA'"),
    ):
        ItlaLaser(transport).open()


def test_ranges_of_the_module_are_limits() -> None:
    laser, transport = opened((sent(0x31, 1350, True), replied(0x31, 1350)))
    laser.power_dbm = 13.5
    before = transport.traffic
    with pytest.raises(LimitError, match="of the module, OPSL and OPSH"):
        laser.power_dbm = 13.51
    with pytest.raises(LimitError, match="LFL and LFH"):
        laser.frequency = 196.2501e12
    with pytest.raises(LimitError, match="FTFR"):
        laser.fine_tune = 30.001e9
    assert transport.traffic == before
    transport.finish()


def test_the_wavelength_is_the_first_channel_and_waits_for_the_module() -> None:
    laser, transport = opened(
        (sent(0x35, 193, True), replied(0x35, 193)),
        (sent(0x36, 4145, True), replied(0x36, 4145)),
        (sent(0x30, 1, True), replied(0x30, 1, 3)),
        *[(sent(0x00), replied(0x00, 0x0110))] * 3,
        (sent(0x00), replied(0x00, 0x0010)),
    )
    laser.frequency = 193.4145e12
    assert laser.clock.monotonic() == pytest.approx(0.3)
    transport.finish()


def test_the_wavelength_counts_channels_and_the_mhz_parts_where_there_are_any() -> None:
    laser, transport = opened(
        (sent(0x34), replied(0x34, 500)),
        (sent(0x66), replied(0x66, 20)),
        (sent(0x35), replied(0x35, 193)),
        (sent(0x36), replied(0x36, 4145)),
        (sent(0x67), replied(0x67, 70)),
        (sent(0x30), replied(0x30, 3)),
    )
    laser.lacking = frozenset()
    assert pytest.approx(193.4145e12 + 70e6 + 2 * 50.02e9, rel=1e-12) == LIGHT_SPEED / laser.wavelength
    transport.finish()


def test_whisper_keeps_power_and_wavelength() -> None:
    laser, transport = opened((sent(0x90, 2, True), replied(0x90, 2)))
    laser.noise_mode = NoiseMode.WHISPER
    for name, value in (("power_dbm", 10.0), ("frequency", 193e12)):
        with pytest.raises(InputError, match="whisper"):
            setattr(laser, name, value)
    transport.finish()


def test_a_module_without_vendor_registers_says_so() -> None:
    laser, _ = opened()
    laser.lacking = frozenset({0x90})
    with pytest.raises(NotACapability, match="0x90"):
        laser.noise_mode = NoiseMode.DITHER


@pytest.mark.parametrize("code", ERRORS)
def test_each_refusal_has_the_words_of_the_sheet(code: int) -> None:
    laser, transport = opened((sent(0x34, 500, True), replied(0x34, 0, 1)), (sent(0x00), replied(0x00, 0x10 | code)))
    with pytest.raises(InstrumentError, match=ERRORS[code]) as caught:
        laser.grid = 50e9
    assert caught.value.code == code
    transport.finish()


def test_emission_waits_for_the_lock_and_names_what_is_fatal() -> None:
    on = (sent(0x32, 8, True), replied(0x32, 8))
    status = sent(0x20)
    locking = [(status, replied(0x20, 0x4000))] * 5
    laser, transport = opened(on, *locking, (status, replied(0x20, 0x00FF)), also=read((0x32, 8)))
    laser.emission = True
    assert laser.clock.monotonic() == pytest.approx(0.5)
    transport.finish()

    laser, transport = opened(on, (status, replied(0x20, 0x1200)))
    with pytest.raises(InstrumentError, match="temperature, disabled by its pin"):
        laser.emission = True
    transport.finish()


def test_emission_that_never_locks_or_does_not_come_is_no_emission() -> None:
    laser, _ = opened((sent(0x32, 8, True), replied(0x32, 8)), also=read((0x20, 0x4000)))
    with pytest.raises(NotConfirmed, match="not locked after 60 s"):
        laser.emission = True
    laser, _ = opened((sent(0x32, 8, True), replied(0x32, 8)), also=read((0x20, 0), (0x32, 0)))
    with pytest.raises(NotConfirmed, match="emission must be True and reads False"):
        laser.emission = True


def test_safe_state_needs_nothing_learnt_and_waits_for_what_is_pending() -> None:
    off = sent(0x32, 0, True)
    steps = [(off, replied(0x32, 0, 1)), (sent(0x00), replied(0x00, 0x0114))] * 2 + [(off, replied(0x32, 0))]
    with scripted(steps, FRAMING, read((0x32, 0))) as transport:
        ItlaLaser(transport, clock=ManualClock()).safe_state()
    with (
        scripted([(off, replied(0x32, 0))], FRAMING, read((0x32, 8))) as transport,
        pytest.raises(NotConfirmed, match="emission must be False"),
    ):
        ItlaLaser(transport, clock=ManualClock()).safe_state()


def test_arrays_and_status_words() -> None:
    laser, transport = opened(
        *texts(0x57, struct.pack(">3h", 12_000, -345, 7)),
        *texts(0x58, struct.pack(">2h", 2500, -1000)),
        (sent(0x20), replied(0x20, 0x8401)),
        (sent(0x21), replied(0x21, 0x0010)),
    )
    np.testing.assert_allclose(laser.currents(), [1.2, -0.0345, 0.0007])
    np.testing.assert_allclose(laser.temperatures(), [298.15, 263.15])
    assert laser.status() == {
        "fatal": ["power, latched", "frequency", "service request"],
        "warning": ["communication reset, latched"],
    }
    transport.finish()


def test_the_reply_of_another_register_is_never_a_value() -> None:
    laser, transport = opened((sent(0x42), replied(0x43, 2500)))
    with pytest.raises(ProtocolError, match="0x43 answered instead of 0x42"):
        _ = laser.measured_power
    assert transport.is_dirty


@given(st.binary(min_size=4, max_size=4))
def test_frames_come_back_as_they_went(frame: bytes) -> None:
    message = bytes((frame[0] & 0x0F | 4,)) + frame[1:]
    wrapped = FRAMING.wrap(message)
    assert FRAMING.complete(wrapped) == 4
    assert FRAMING.unwrap(wrapped) == message


@given(st.binary(min_size=4, max_size=4), st.integers(0, 31))
def test_no_single_wrong_bit_passes(frame: bytes, bit: int) -> None:
    wrapped = bytearray(FRAMING.wrap(bytes((frame[0] & 0x0F | 4,)) + frame[1:]))
    wrapped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProtocolError):
        FRAMING.unwrap(bytes(wrapped))


@given(st.binary(max_size=12))
def test_any_bytes_end_in_a_frame_or_a_protocol_error(data: bytes) -> None:
    size = FRAMING.complete(data)
    if size is not None:
        with suppress(ProtocolError):
            assert len(FRAMING.unwrap(data[:size])) == 4


def test_grid_sweep_and_what_else_a_bench_asks() -> None:
    laser, transport = opened(
        (sent(0x34, 500, True), replied(0x34, 500)),
        (sent(0x66, 20, True), replied(0x66, 20)),
        (sent(0xE4, 50, True), replied(0xE4, 50)),
        (sent(0xE5, 1, True), replied(0xE5, 1)),
        (sent(0xE6), replied(0xE6, 1990)),
        (sent(0x20, 0xFF, True), replied(0x20, 0xFF)),
        (sent(0x21, 0xFF, True), replied(0x21, 0xFF)),
        *texts(0x05, b"11-NOV-2020\0"),
        *texts(0x07, b"RB\0"),
    )
    laser.lacking = frozenset()
    laser.grid = 50.02e9
    laser.sweep_range = 50e9
    laser.sweep(True)
    assert laser.sweep_offset == pytest.approx(-1e9)
    laser.clear_status()
    assert laser.provenance() == {"made": "11-NOV-2020", "compatible with": "RB"}
    transport.finish()


@pytest.mark.parametrize(
    ("output", "nop", "status", "stable"),
    [(8, 0x10, 0, True), (0, 0x10, 0, False), (8, 0x0110, 0, False), (8, 0x10, 0x4000, False)],
)
def test_stable_means_on_done_and_locked(output: int, nop: int, status: int, stable: bool) -> None:
    with scripted([], FRAMING, read((0x32, output), (0x00, nop), (0x20, status))) as transport:
        assert ItlaLaser(transport).is_stable() is stable


def test_an_operation_that_never_ends_is_not_confirmed() -> None:
    transport = scripted([(sent(0x62, 5, True), replied(0x62, 5, 3))], FRAMING, read((0x00, 0x0110)))
    transport.open()
    laser = ItlaLaser(transport, clock=ManualClock())
    laser.write_register(0x62, b"\x00\x05")
    with pytest.raises(NotConfirmed, match="finish the operation that is pending within 1 s"):
        laser.wait_complete(1.0)


def test_a_text_that_is_none() -> None:
    laser, _ = opened(*texts(0x02, b"\xff\xfe\0"))
    with pytest.raises(ProtocolError, match="0x02 holds no text"):
        laser.words(0x02)
