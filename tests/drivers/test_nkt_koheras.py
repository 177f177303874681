"""The Koheras driver: every example of its sheet, to the byte; telegrams, refusals, settling, the dark state."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.clock import ManualClock
from labqdl.instruments import LimitError, NotACapability, NotConfirmed, SettingsChanged
from labqdl.transport import InstrumentError, ProtocolError, TransportTimeout
from labqdl_drivers.lasers.interbus import InterbusFraming
from labqdl_drivers.lasers.nkt_koheras import Koheras, Waveform
from tests.drivers.accounts import check_commands
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("nkt-koheras")
FRAMING = InterbusFraming()
NACK, CRC, BUSY, ACK = range(4)
Step = tuple[bytes, bytes | None]


def read(register: int, data: bytes | int, layout: str = "<H") -> Step:
    """A register is read and answered."""
    data = struct.pack(layout, data) if isinstance(data, int) else data
    return FRAMING.wrap(bytes((1, 0xA1, 4, register))), FRAMING.wrap(bytes((0xA1, 1, 8, register)) + data)


def write(register: int, data: bytes | int, layout: str = "<H", *, kind: int = 5, answer: int = ACK) -> Step:
    """A register is written and answered."""
    data = struct.pack(layout, data) if isinstance(data, int) else data
    return FRAMING.wrap(bytes((1, 0xA1, kind, register)) + data), FRAMING.wrap(bytes((0xA1, 1, answer, register)))


def refused(register: int) -> Step:
    return read(register, b"")[0], FRAMING.wrap(bytes((0xA1, 1, NACK, register)))


STABLE = dict([read(0x66, 0x4001), read(0x30, 1, "<B")])
DARK = dict([read(0x66, 0x0000), read(0x30, 0, "<B")])


def setting(name: str, value: Any) -> Callable[[Koheras], None]:
    return lambda laser: setattr(laser, name, value)


def equals(call: Callable[[Koheras], Any], value: Any) -> Callable[[Koheras], None]:
    def check(laser: Koheras) -> None:
        assert call(laser) == value

    return check


def refusal(words: str) -> Callable[[Koheras], None]:
    def check(laser: Koheras) -> None:
        laser.patience = 0.0  # type: ignore[misc]
        with pytest.raises(InstrumentError, match=words):
            laser.emission = True

    return check


CALLS: dict[str, Callable[[Koheras], None]] = {
    "module type": equals(lambda laser: laser.word(0x61, "<B"), 0x33),
    "emission on": setting("emission", True),
    "emission refused": refusal("NACK: not understood or not allowed.* interlock"),
    "emission while busy": refusal("BUSY"),
    "read emission": equals(lambda laser: laser.emission, True),
    "set point 10 mW": setting("power", 10e-3),
    "wavelength offset -12.3 pm": setting("fine_wavelength", -12.3e-12),
    "wavelength offset +1.3 pm, escaped": setting("fine_wavelength", 1.3e-12),
    "standard wavelength": equals(lambda laser: laser.word(0x32, "<I"), 15_501_234),
    "status": equals(lambda laser: laser.status(), ["emission on", "wavelength stabilised"]),
    "interlock reset of the mainboard": lambda laser: laser.reset_interlock(),
    "set setup bit 2 only": setting("external_modulation", True),
    "firmware": equals(lambda laser: laser.read_register(0x64)[2:11], b"1.17-2345"),
}


def test_the_sheet_is_covered() -> None:
    assert len(SHEET.examples) == SHEET.worked
    assert set(SHEET.titles) == CALLS.keys()
    assert check_commands(SHEET.name, Koheras) > 0.55


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    with scripted(SHEET[title], FRAMING, STABLE) as transport:
        CALLS[title](Koheras(transport, clock=ManualClock()))


def opened(
    *steps: Step, also: Mapping[bytes, bytes | None] | None = None, mikro: bool = False
) -> tuple[Koheras, ScriptedTransport]:
    """An open laser at 1550.1234 nm, -300 to +350 pm, 0 to 40 mW, which then meets these steps."""
    opening = [
        read(0x61, 0x36 if mikro else 0x33, "<B"),
        read(0x64, b"\x75\x001.17-2345\0"),
        read(0x65, b"K0001234"),
        read(0x32, 15_501_234, "<I"),
        read(0x5A, struct.pack("<BB7h", 0, 0, 0, 0, 3500, -3000, 1, 1, 0)),
        refused(0x52),
    ]
    transport = scripted([*opening, *steps], FRAMING, also or {}, clock=ManualClock())
    laser = Koheras(transport, name="laser", clock=transport.clock)
    laser.open()
    return laser, transport


def test_opening_reads_who_it_is_and_its_limits() -> None:
    laser, transport = opened()
    assert all(entry.data[3] == 4 for entry in transport.traffic if entry.direction == ">")
    before = transport.traffic
    with pytest.raises(LimitError, match="of the module's parameter set"):
        laser.fine_wavelength = 350.1e-12
    with pytest.raises(LimitError, match="of the sheet; the module has no parameter set"):
        laser.power = 40.1e-3
    with pytest.raises(LimitError, match="parameter set"):
        laser.wavelength = 1550.5e-9
    assert transport.traffic == before
    transport.finish()


def test_another_module_is_not_opened() -> None:
    steps = [read(0x61, 0x34, "<B"), read(0x64, b"\x75\x00x"), read(0x65, b"1")]
    with scripted(steps, FRAMING) as transport, pytest.raises(SettingsChanged, match="ADJUSTIK"):
        Koheras(transport).open()


def test_emission_waits_until_the_wavelength_is_stabilised() -> None:
    settling = [read(0x66, 0x2001)] * 4 + [read(0x66, 0x0001)] * 2 + [read(0x66, 0x4001)]
    laser, transport = opened(write(0x30, 1, "<B"), *settling, read(0x30, 1, "<B"))
    laser.emission = True
    assert laser.clock.monotonic() == pytest.approx(0.6)
    transport.finish()


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([read(0x66, 0x8001), read(0x67, 7, "<B")], "error 7: module temperature"),
        ([read(0x66, 0x8000), read(0x67, 2, "<B")], "error 2: interlock"),
        ([read(0x66, 0x0002)], r"interlock off \(open\)"),
        ([read(0x66, 0x0010)], "module disabled"),
    ],
)
def test_emission_that_does_not_come_says_why(steps: list[Step], words: str) -> None:
    laser, transport = opened(write(0x30, 1, "<B"), *steps)
    with pytest.raises(InstrumentError, match=words):
        laser.emission = True
    transport.finish()


def test_emission_that_never_settles_is_not_confirmed() -> None:
    laser, _ = opened(write(0x30, 1, "<B"), also=dict([read(0x66, 0x2001)]))
    with pytest.raises(
        NotConfirmed, match="not stable after 300 s, status emission on, fibre laser temperature settling"
    ):
        laser.emission = True


def test_the_wavelength_is_the_standard_and_the_offset_and_waits_while_light_is_on() -> None:
    steps = [read(0x32, 15_501_234, "<I"), write(0x2A, -123, "<h"), read(0x30, 1, "<B")]
    laser, transport = opened(*steps, read(0x66, 0x2001), read(0x66, 0x4001))
    laser.wavelength = 1550.1111e-9
    transport.finish()
    laser, transport = opened(*steps[:2], read(0x30, 0, "<B"), read(0x32, 15_501_234, "<I"), read(0x2A, -123, "<h"))
    laser.wavelength = 1550.1111e-9
    assert laser.wavelength == pytest.approx(1550.1111e-9, abs=1e-14)
    transport.finish()


def test_a_busy_module_is_asked_again_and_at_last_believed() -> None:
    busy, done = write(0x22, 1000, answer=BUSY), write(0x22, 1000)
    laser, transport = opened(busy, busy, done)
    laser.power = 10e-3
    assert laser.clock.monotonic() == pytest.approx(0.1)
    transport.finish()
    laser, _ = opened(also=dict([busy]))
    with pytest.raises(InstrumentError, match="BUSY"):
        laser.power = 10e-3
    assert laser.clock.monotonic() == pytest.approx(2.0, abs=0.1)


def test_a_reading_is_asked_for_once_more_a_setting_never() -> None:
    silent = read(0x17, 0)[0], None
    check = [read(0x61, 0x33, "<B"), read(0x64, b"\x75\x001.17-2345\0"), read(0x65, b"K0001234")]
    laser, transport = opened(silent, *check, read(0x17, 999))
    assert laser.measured_power == pytest.approx(9.99e-3)
    transport.finish()
    laser, transport = opened((write(0x22, 1000)[0], None))
    with pytest.raises(TransportTimeout):
        laser.power = 10e-3
    transport.finish()


def test_the_dark_state_survives_unanswered_telegrams_and_needs_nothing_learnt() -> None:
    off = write(0x30, 0, "<B")
    with scripted([(off[0], None), (off[0], None), off], FRAMING, DARK) as transport:
        Koheras(transport, clock=ManualClock()).safe_state()
    with scripted([off], FRAMING, dict([read(0x66, 0x0001), read(0x30, 0, "<B")])) as transport:
        laser = Koheras(transport, clock=ManualClock())
        with pytest.raises(NotConfirmed, match="end emission"):
            laser.safe_state()


def test_words_of_bits_and_pairs_change_only_what_was_meant() -> None:
    frequencies = struct.pack("<2f", 10.0, 20.0)
    laser, transport = opened(
        read(0xB7, 0x0055),
        write(0xB7, 0x0095),
        read(0xB8, frequencies),
        write(0xB8, struct.pack("<2f", 50.0, 20.0)),
        read(0xA1, struct.pack("<2H", 7, 500)),
        write(0xA1, struct.pack("<2H", 7, 250)),
        write(0x31, 0x0020, kind=7),
        read(0x31, 0x0010),
    )
    laser.modulation_waveform = Waveform.SAWTOOTH
    laser.modulation_frequency = 50.0
    laser.external_gain = 0.25
    laser.modulation_output = False
    assert laser.internal_modulation is True
    transport.finish()


def test_a_mikro_says_what_it_lacks() -> None:
    laser, _ = opened(mikro=True)
    with pytest.raises(NotACapability, match="MIKRO has no modulation"):
        laser.modulation_frequency = 10.0
    lacking = {name for name, quantity in laser.quantities().items() if quantity.reason_missing(laser)}
    assert {"modulation", "external_gain", "modulation_waveform", "watchdog"} <= lacking


def test_registers_may_be_longer_and_never_shorter() -> None:
    laser, _ = opened(read(0x17, b"\xe8\x03\x00\x00"), read(0x17, b"\xe8"))
    assert laser.measured_power == pytest.approx(10e-3)
    with pytest.raises(ProtocolError, match="1 bytes instead of 2"):
        _ = laser.measured_power


@pytest.mark.parametrize("header", [bytes((0xA1, 2, 8, 0x17)), bytes((0xA2, 1, 8, 0x17)), bytes((0xA1, 1, 8, 0x18))])
def test_the_answer_of_somebody_else_is_never_a_value(header: bytes) -> None:
    laser, transport = opened((read(0x17, 0)[0], FRAMING.wrap(header + b"\xe8\x03")))
    with pytest.raises(ProtocolError, match="answers something else"):
        _ = laser.measured_power
    assert transport.is_dirty


@given(st.binary(min_size=4, max_size=244))
def test_telegrams_come_back_as_they_went(message: bytes) -> None:
    frame = FRAMING.wrap(message)
    assert FRAMING.complete(frame + b"\r") == len(frame)
    assert all(FRAMING.complete(frame[:size]) is None for size in range(len(frame)))
    assert FRAMING.unwrap(frame) == message


@given(st.binary(min_size=4, max_size=40), st.integers(0), st.integers(0, 7))
def test_no_single_wrong_bit_passes(message: bytes, position: int, bit: int) -> None:
    frame = bytearray(FRAMING.wrap(message))
    frame[position % len(frame)] ^= 1 << bit
    with suppress(ProtocolError):
        size = FRAMING.complete(bytes(frame))
        assert size is None or FRAMING.unwrap(bytes(frame[:size])) is None


@given(st.binary(max_size=60))
def test_any_bytes_end_in_a_telegram_or_a_protocol_error(data: bytes) -> None:
    with suppress(ProtocolError):
        size = FRAMING.complete(data)
        if size is not None:
            assert len(FRAMING.unwrap(data[:size])) >= 4


def test_the_rack_is_a_second_device_on_the_bus() -> None:
    def rack(kind: int, register: int, data: bytes, answer: int, reply: bytes = b"") -> Step:
        message = bytes((0x80, 0xA1, kind, register)) + data
        return FRAMING.wrap(message), FRAMING.wrap(bytes((0xA1, 0x80, answer, register)) + reply)

    steps = [rack(5, 0x34, b"\x0a", ACK), rack(4, 0x34, b"", 8, b"\x0a"), rack(4, 0x66, b"", 8, b"\x09\x00")]
    with scripted(steps, FRAMING) as transport:
        laser = Koheras(transport, clock=ManualClock(), in_rack=True)
        laser.watchdog = 10.0
        assert laser.watchdog == 10.0
        assert laser.rack_status() == ["emission", "interlock loop open"]
        with pytest.raises(LimitError):
            laser.watchdog = 256.0


def test_modules_have_addresses() -> None:
    question, answer = FRAMING.wrap(bytes((7, 0xA1, 4, 0x66))), FRAMING.wrap(bytes((0xA1, 7, 8, 0x66, 1, 0x40)))
    with scripted([(question, answer)], FRAMING) as transport:
        assert Koheras(transport, module=7).is_stable()


def test_a_telegram_of_no_known_type() -> None:
    laser, transport = opened((read(0x17, 0)[0], FRAMING.wrap(bytes((0xA1, 1, 6, 0x17)))))
    with pytest.raises(ProtocolError, match="of type 6 instead of 8"):
        _ = laser.measured_power
    assert transport.is_dirty
