"""Thorlabs MBX: bias controller and attenuator on scripted transports."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import hypothesis.strategies as st
import pytest
from hypothesis import given

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl.instruments import BiasMode, LimitError, NotACapability, NotConfirmed, SettingsChanged
from labqdl.transport import InstrumentError, ProtocolError, TransportTimeout
from labqdl_drivers.modulators.thorlabs_mbx import MbxLines, ThorlabsMBX, ThorlabsMBXAttenuator
from tests.sheet_examples import ScriptedTransport, load, scripted

IDENTITY: Mapping[bytes, bytes | None] = {
    b"SYS:MODEL?\n": b"MBX\r",
    b"SYS:SER?\n": b"M00012345\r",
    b"SYS:FIRM?\n": b"1.9.5\r",
}


Pair = tuple[bytes | None, bytes | None]


def dialogue(*pairs: Pair, clock: ManualClock | None = None) -> ScriptedTransport:
    return scripted(pairs, MbxLines(), IDENTITY, clock=clock, unasked=True)


def bias(*pairs: Pair) -> ThorlabsMBX:
    clock = ManualClock()
    box = ThorlabsMBX(dialogue(*pairs, clock=clock), clock=clock)
    box.open()
    return box


def attenuator(*pairs: Pair) -> ThorlabsMBXAttenuator:
    clock = ManualClock()
    box = ThorlabsMBXAttenuator(dialogue(*pairs, clock=clock), clock=clock)
    box.open()
    return box


def finish(box: ThorlabsMBX | ThorlabsMBXAttenuator) -> None:
    assert isinstance(box.transport, ScriptedTransport)
    box.transport.finish()


SHEET = load("thorlabs-mbx")


def quadrature(box: ThorlabsMBX) -> None:
    box.mode = BiasMode.QUADRATURE_NEGATIVE
    box.wait_stable()
    assert box.bias == -2.17


def refused(box: ThorlabsMBX, words: str, call: Callable[[], object]) -> None:
    with pytest.raises(InstrumentError, match=words):
        call()


def attenuate(box: ThorlabsMBX) -> None:
    ThorlabsMBXAttenuator(box.transport, clock=ManualClock()).attenuation = 5.0


def reads(name: str, value: float) -> Callable[[ThorlabsMBX], None]:
    def call(box: ThorlabsMBX) -> None:
        assert getattr(box, name) == pytest.approx(value, rel=1e-12)

    return call


CALLS: dict[str, Callable[[ThorlabsMBX], None]] = {
    "attenuation of 5 dB": attenuate,
    "voltage to hold": reads("manual_voltage", 5.0),
    "power ratio to hold": reads("ratio", 5.0),
    "bias voltage": reads("bias", 5.42),
    "power at the modulator's tap": reads("tap_power", 1.23e-3),
    "automatic quadrature, negative slope: sweep, lock, bias": quadrature,
    "model without a modulator": lambda box: refused(box, "Feature not present", lambda: box.bias),
    "tunable laser not selected": lambda box: refused(box, "laser not selected", lambda: box.ask("LAS:POW?")),
}
NOT_DRIVEN = {"attenuation out of range": "the driver refuses it before a byte is sent"}


def test_the_sheet_is_covered() -> None:
    assert len(SHEET.examples) == SHEET.worked
    assert set(SHEET.titles) == CALLS.keys() | NOT_DRIVEN.keys()


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    with scripted(SHEET[title], MbxLines(), unasked=True) as transport:
        CALLS[title](ThorlabsMBX(transport, clock=ManualClock()))


class TestFraming:
    @given(
        st.lists(st.tuples(st.text("1Er:.x ", min_size=1), st.sampled_from(["\r", "\n", "\r\n", "\n\r"]))),
        st.data(),
    )
    def test_any_terminators_in_any_pieces(self, lines: list[tuple[str, str]], data: st.DataObject) -> None:
        stream = "".join(text + end for text, end in lines).encode()
        framing, buffer, found = MbxLines(), b"", []
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            buffer, stream = buffer + stream[:size], stream[size:]
            while (length := framing.complete(buffer)) is not None:
                found.append(framing.unwrap(buffer[:length]).decode())
                buffer = buffer[length:]
        assert found == [text for text, _ in lines]

    @given(st.binary(max_size=60))
    def test_any_bytes(self, data: bytes) -> None:
        length = MbxLines().complete(data)
        assert length is None or 0 < length <= len(data)

    def test_the_second_half_of_a_terminator_may_be_late(self) -> None:
        box = bias((b"MZM:MODE?\n", b"7\r"), (None, b"\n"), (b"MZM:MODE?\n", b"0\r"))
        assert [box.mode, box.mode] == [BiasMode.MANUAL, BiasMode.OFF]


class TestBias:
    def test_identity(self) -> None:
        assert bias().identity().serial == "M00012345"

    @pytest.mark.parametrize(
        ("mode", "digit"),
        [
            (BiasMode.PEAK, 1),
            (BiasMode.NULL, 2),
            (BiasMode.QUADRATURE_POSITIVE, 3),
            (BiasMode.QUADRATURE_NEGATIVE, 4),
            (BiasMode.MANUAL, 7),
            (BiasMode.RATIO, 8),
        ],
    )
    def test_modes(self, mode: BiasMode, digit: int) -> None:
        box = bias((b"MZM:MODE: %d\n" % digit, b"1\r"), (b"MZM:MODE?\n", b"%d\r" % digit))
        box.mode = mode
        assert box.energised
        assert box.mode is mode
        finish(box)

    def test_other_digits_have_their_meaning_and_ten_has_none(self) -> None:
        box = bias(*((b"MZM:MODE?\n", digit + b"\r") for digit in (b"5", b"6", b"9", b"10")))
        assert [box.mode, box.mode, box.mode] == [
            BiasMode.QUADRATURE_POSITIVE,
            BiasMode.QUADRATURE_NEGATIVE,
            BiasMode.RATIO,
        ]
        with pytest.raises(ProtocolError, match="'10' is not"):
            _ = box.mode

    @pytest.mark.parametrize(("found", "sent"), [(b"3", b"5"), (b"4", b"6"), (b"6", b"6")])
    def test_hold(self, found: bytes, sent: bytes) -> None:
        box = bias((b"MZM:MODE?\n", found + b"\r"), (b"MZM:MODE: " + sent + b"\n", b"1\r"))
        box.hold()
        finish(box)

    def test_peak_has_no_hold(self) -> None:
        box = bias((b"MZM:MODE?\n", b"1\r"))
        with pytest.raises(InputError, match="mode peak has no hold"):
            box.hold()
        assert not box.energised

    def test_voltage_is_a_set_point_in_manual_and_the_bias_else(self) -> None:
        box = bias(
            (b"MZM:MODE?\n", b"7\r"),
            (b"MZM:HOLD:VOLT: -2171\n", b"1\r"),
            (b"MZM:MODE?\n", b"7\r"),
            (b"MZM:HOLD:VOLT?\n", b"-2171\r"),
            (b"MZM:MODE?\n", b"4\r"),
            (b"MZM:VOLT?\n", b"-2.17\r"),
        )
        box.voltage = -2.1712
        assert box.energised, "in mode manual the voltage goes out at once"
        assert box.voltage == pytest.approx(-2.171)
        assert box.voltage == pytest.approx(-2.17)
        finish(box)

    def test_a_voltage_for_later_energises_nothing(self) -> None:
        box = bias((b"MZM:MODE?\n", b"0\r"), (b"MZM:HOLD:VOLT: 5000\n", b"1\r"))
        box.voltage = 5.0
        assert not box.energised

    def test_limits_and_what_is_not_there(self) -> None:
        box = bias()
        with pytest.raises(LimitError, match="-10 to 10 V"):
            box.voltage = 10.1
        with pytest.raises(LimitError):
            box.ratio = 2.0
        with pytest.raises(NotACapability, match="dither"):
            box.dither = 0.1
        finish(box)

    @pytest.mark.parametrize(
        "words", ["Feature not present", "Data out of range", "Undefined header", "Laser is locked"]
    )
    def test_errors_are_raised_in_the_words_of_the_box(self, words: str) -> None:
        box = bias((b"MZM:MODE: 1\n", f"Err: {words}\r".encode()), (b"MZM:MODE?\n", b"0\r"))
        with pytest.raises(InstrumentError, match=words):
            box.mode = BiasMode.PEAK
        assert box.mode is BiasMode.OFF, "the connection goes on"

    def test_a_set_that_is_not_answered_by_one(self) -> None:
        box = bias((b"MZM:MODE: 1\n", b"0\r"))
        with pytest.raises(ProtocolError, match="1 \\(accepted\\)"):
            box.mode = BiasMode.PEAK

    def test_waiting_for_the_lock(self) -> None:
        box = bias(
            (b"MZM:CAL?\n", b"1\r"),
            (b"MZM:CAL?\n", b"0\r"),
            (b"MZM:SET?\n", b"0\r"),
            (b"MZM:CAL?\n", b"0\r"),
            (b"MZM:SET?\n", b"1\r"),
        )
        box.wait_stable()
        assert box.clock.monotonic() == pytest.approx(0.4)
        finish(box)

    def test_no_lock(self) -> None:
        clock = ManualClock()
        box = ThorlabsMBX(
            scripted([], MbxLines(), {**IDENTITY, b"MZM:CAL?\n": b"1\r"}, clock=clock, unasked=True), clock=clock
        )
        box.open()
        with pytest.raises(NotConfirmed, match="lock its bias within 30 s"):
            box.wait_stable(30.0)

    def test_other_readings(self) -> None:
        box = bias(
            (b"MZM:TAP:MW?\n", b"1.23\r"),
            (b"MZM:HOLD:RATIO?\n", b"500\r"),
            (b"MZM:RESET\n", b"1\r"),
            (b"SYS:WAKE\n", b"1\r"),
            (b"SYS:SLEEP\n", b"1\r"),
        )
        assert box.tap_power == pytest.approx(1.23e-3)
        assert box.ratio == 5.0
        box.recalibrate()
        box.wake()
        box.sleep()
        finish(box)

    def test_safe_state(self) -> None:
        box = bias((b"MZM:MODE: 0\n", b"1\r"), (b"MZM:MODE?\n", b"0\r"))
        box.safe_state()
        finish(box)

    def test_a_box_that_does_not_go_off(self) -> None:
        box = bias((b"MZM:MODE: 0\n", b"1\r"), (b"MZM:MODE?\n", b"7\r"))
        with pytest.raises(NotConfirmed, match="mode must be"):
            box.safe_state()


class TestAttenuator:
    def test_attenuation_settles(self) -> None:
        box = attenuator((b"VOA:ATT: 7.5\n", b"1\r"), (b"VOA:ATT?\n", b"7.5\r"))
        box.attenuation = 7.5
        assert box.clock.monotonic() == 1.0
        assert box.attenuation == 7.5
        finish(box)

    def test_out_of_range_is_not_sent(self) -> None:
        box = attenuator()
        with pytest.raises(LimitError, match="1 to 20 dB"):
            box.attenuation = 25.0
        finish(box)

    def test_power_and_readings(self) -> None:
        box = attenuator(
            (b"VOA:OUT:MW: 2.5\n", b"1\r"),
            (b"VOA:MODE: 1\n", b"1\r"),
            (b"VOA:MEAS?\n", b"7.49\r"),
            (b"VOA:ERR?\n", b"-0.01\r"),
            (b"VOA:TAP:MW?\n", b"0.5\r"),
            (b"VOA:SET?\n", b"1\r"),
        )
        box.output_power = 2.5e-3
        box.constant_power = True
        assert (box.measured, box.deviation) == (7.49, -0.01)
        assert box.tap_power == pytest.approx(0.5e-3)
        assert box.settled
        finish(box)

    def test_the_loop_off_lets_light_through(self) -> None:
        box = attenuator((b"VOA:POW: 1\n", b"1\r"), (b"VOA:POW: 0\n", b"1\r"))
        box.loop = True
        before = box.energised
        box.loop = False
        assert (before, box.energised) == (False, True)
        finish(box)

    def test_the_safe_state_keeps_the_loop_on(self) -> None:
        box = attenuator(
            (b"VOA:ATT: 20\n", b"1\r"),
            (b"VOA:MODE: 0\n", b"1\r"),
            (b"VOA:POW: 1\n", b"1\r"),
            (b"VOA:ATT?\n", b"20.0\r"),
            (b"VOA:MODE?\n", b"0\r"),
            (b"VOA:POW?\n", b"1\r"),
        )
        box.safe_state()
        finish(box)

    def test_one_failure_in_the_safe_state_does_not_stop_the_rest(self) -> None:
        box = attenuator(
            (b"VOA:ATT: 20\n", b"Err: Feature not present\r"),
            (b"VOA:MODE: 0\n", b"1\r"),
            (b"VOA:POW: 1\n", b"1\r"),
            (b"VOA:ATT?\n", b"3\r"),
            (b"VOA:MODE?\n", b"0\r"),
            (b"VOA:POW?\n", b"1\r"),
        )
        with pytest.raises(InstrumentError, match="Feature not present"):
            box.safe_state()
        finish(box)


def test_both_over_one_transport() -> None:
    transport = dialogue((b"MZM:MODE?\n", b"0\r"), (b"VOA:MODE?\n", b"0\r"))
    controller, voa = ThorlabsMBX(transport), ThorlabsMBXAttenuator(transport)
    controller.open()
    voa.open()
    assert controller.mode is BiasMode.OFF
    controller.close()
    assert not voa.constant_power
    voa.close()
    transport.finish()
    with pytest.raises(ValueError, match="not open"):
        transport.write(b"MZM:MODE: 0")


def test_both_are_compared_after_a_lost_connection() -> None:
    clock = ManualClock()
    transport = dialogue(
        (b"MZM:MODE: 4\n", b"1\r"),
        (b"VOA:ATT: 5\n", b"1\r"),
        (b"VOA:MEAS?\n", None),
        (b"MZM:MODE?\n", b"4\r"),
        (b"VOA:ATT?\n", b"1.0\r"),
        clock=clock,
    )
    controller, voa = ThorlabsMBX(transport, clock=clock), ThorlabsMBXAttenuator(transport, clock=clock)
    controller.open()
    voa.open()
    controller.mode = BiasMode.QUADRATURE_NEGATIVE
    voa.attenuation = 5.0
    with pytest.raises(TransportTimeout):
        _ = voa.measured
    with pytest.raises(SettingsChanged, match="attenuation is 1 and not 5 dB"):
        _ = voa.measured
    transport.finish()
