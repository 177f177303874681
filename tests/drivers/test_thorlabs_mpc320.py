"""Thorlabs MPC320 on scripted transports: APT frames, movement that is waited for."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import given

from labqdl.clock import ManualClock
from labqdl.instruments import LimitError, NotConfirmed, SettingsChanged
from labqdl.transport import InstrumentError, ProtocolError, TransportTimeout
from labqdl_drivers.polarization.thorlabs_mpc320 import COUNT, AptFraming, ThorlabsMPC320, long, short
from tests.sheet_examples import Example, ScriptedTransport, load, scripted

SHEET = load("thorlabs-mpc320")
Pair = tuple[bytes | None, bytes | None]
READY = 0x8000_0400


def said(message: int, first: int = 0, second: int = 0) -> bytes:
    return struct.pack("<HBBBB", message, first, second, 0x01, 0x50)


def data(message: int, layout: str, *numbers: int) -> bytes:
    content = struct.pack("<" + layout, *numbers)
    return struct.pack("<HHBB", message, len(content), 0x81, 0x50) + content


def status(mask: int, position: int, bits: int = READY) -> tuple[bytes, bytes]:
    return short(0x0490, mask), data(0x0491, "HihhI", mask, position, 0, 0, bits)


def information(model: bytes = b"MPC320", paddles: int = 3) -> bytes:
    content = struct.pack("<I8sH4B60xHHH", 38_001_234, model, 44, 3, 0, 1, 0, 1, 0, paddles)
    return struct.pack("<HHBB", 0x0006, len(content), 0x81, 0x50) + content


PARAMETERS = (short(0x0531), data(0x0532, "6H", 0, 50, 685, 40, 40, 40))
ANGLE = math.radians(90)


def controller(
    *pairs: Pair, always: tuple[Pair, ...] = (), model: bytes = b"MPC320", paddles: int = 3
) -> tuple[ThorlabsMPC320, ScriptedTransport]:
    clock = ManualClock()
    housekeeping = {short(0x0005): information(model, paddles)} | {ask: reply for ask, reply in always if ask}
    transport = scripted(pairs, AptFraming(), housekeeping, unasked=True, clock=clock)
    unit = ThorlabsMPC320(transport, clock=clock)
    unit.open()
    return unit, transport


def turned(unit: ThorlabsMPC320) -> None:
    unit.channels()[2].angle = ANGLE


def half_speed(unit: ThorlabsMPC320) -> None:
    unit.speed = 0.5


def read_parameters(unit: ThorlabsMPC320) -> None:
    assert unit.parameters() == [0, 50, 685, 40, 40, 40]


def asked(unit: ThorlabsMPC320) -> None:
    assert unit.identity().model == "MPC320"
    assert unit.identity().firmware == "1.0.3"


def enabled(unit: ThorlabsMPC320) -> None:
    assert unit.channels()[1].enabled


def position(unit: ThorlabsMPC320) -> None:
    assert unit.channels()[1].angle == pytest.approx(725 * COUNT)


CALLS: dict[str, Callable[[ThorlabsMPC320], None]] = {
    "information": asked,
    "enable paddles 1 to 3": lambda unit: unit.enable(),
    "enable state of paddle 1": enabled,
    "home paddle 1": lambda unit: unit.channels()[1].home(),
    "paddle 2 to 90 degrees": turned,
    "paddle 1 by -10 degrees": lambda unit: unit.channels()[1].turn(math.radians(-10)),
    "jog paddle 3 forward": lambda unit: unit.channels()[3].jog(),
    "stop paddle 1 now": lambda unit: unit.channels()[1].stop(),
    "status of paddle 1": position,
    "velocity, home position and jog steps": half_speed,
    "read the parameters": read_parameters,
}


def test_the_sheet_is_covered() -> None:
    assert len(SHEET.examples) == SHEET.worked
    assert set(SHEET.titles) == CALLS.keys()


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    example: Example = SHEET[title]
    always: dict[bytes, bytes | None] = dict([PARAMETERS, *(status(mask, 725) for mask in (1, 2, 4))])
    always |= {short(0x0211, mask): said(0x0212, mask, 1) for mask in (1, 2, 4)}
    always[short(0x0005)] = SHEET["information"].exchanges[0].reply
    with scripted(example, AptFraming(), always, unasked=True) as transport:
        CALLS[title](ThorlabsMPC320(transport, clock=ManualClock()))


class TestFraming:
    @given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.none() | st.binary(max_size=90))), st.data())
    def test_messages_in_any_pieces(self, messages: list[tuple[int, bytes | None]], source: st.DataObject) -> None:
        frames = [
            said(number, 1, 2) if content is None else struct.pack("<HHBB", number, len(content), 0x81, 0x50) + content
            for number, content in messages
        ]
        stream, framing, buffer, found = b"".join(frames), AptFraming(), b"", []
        while stream:
            size = source.draw(st.integers(1, len(stream)))
            buffer, stream = buffer + stream[:size], stream[size:]
            while (length := framing.complete(buffer)) is not None:
                found.append(framing.unwrap(buffer[:length]))
                buffer = buffer[length:]
        assert found == frames
        assert not buffer

    @given(st.binary(max_size=40))
    def test_any_bytes(self, content: bytes) -> None:
        try:
            length = AptFraming().complete(content)
        except ProtocolError:
            return
        assert length is None or 6 <= length <= len(content)

    def test_out_of_step(self) -> None:
        with pytest.raises(ProtocolError, match="no message of the unit"):
            AptFraming().complete(said(0x0464)[1:] + b"\0")


class TestMoving:
    MOVE = long(0x0453, "Hi", 2, 725)

    def test_motors_are_switched_on_and_the_reference_is_searched_first(self) -> None:
        unit, transport = controller(
            status(2, 0, 0),
            (short(0x0210, 7, 1), None),
            *((short(0x0211, mask), said(0x0212, mask, 1)) for mask in (1, 2, 4)),
            (short(0x0443, 2), said(0x0444, 2)),
            (self.MOVE, said(0x0464, 2)),
            status(2, 724),
            status(2, 725),
        )
        unit.channels()[2].angle = ANGLE
        transport.finish()

    def test_old_reports_and_those_of_others_are_passed_over(self) -> None:
        unit, transport = controller(
            (None, data(0x0464, "HihhI", 1, 3, 0, 0, READY)),
            status(2, 0),
            (self.MOVE, said(0x0466, 4) + said(0x0464, 1) + said(0x0464, 2)),
            status(2, 725),
            status(2, 725),
        )
        unit.channels()[2].angle = ANGLE
        transport.finish()

    def test_a_report_too_early_is_not_believed(self) -> None:
        unit, transport = controller(
            status(2, 0), (self.MOVE, said(0x0464, 2)), status(2, 100), status(2, 300), status(2, 500), status(2, 722)
        )
        unit.channels()[2].angle = ANGLE
        assert unit.clock.monotonic() >= 0.04
        transport.finish()

    def test_a_paddle_that_stays_where_it_is(self) -> None:
        unit, _ = controller((self.MOVE, said(0x0464, 2)), always=(status(2, 100),))
        with pytest.raises(NotConfirmed, match=r"paddle 2\.angle was set to"):
            unit.channels()[2].angle = ANGLE

    def test_no_report(self) -> None:
        unit, _ = controller((self.MOVE, None), always=(status(2, 0),))
        with pytest.raises(TransportTimeout):
            unit.channels()[2].angle = ANGLE

    def test_faults(self) -> None:
        unit, _ = controller((self.MOVE, said(0x0464, 2)), status(2, 300, READY | 0x4000), always=(status(2, 0),))
        with pytest.raises(InstrumentError, match="paddle 2: motion error"):
            unit.channels()[2].angle = ANGLE
        words = struct.pack("<HH64s", 0x0453, 7, b"jammed")
        report = struct.pack("<HHBB", 0x0081, len(words), 0x81, 0x50) + words
        unit, _ = controller((self.MOVE, report), always=(status(2, 0),))
        with pytest.raises(InstrumentError, match=r"error 7: jammed \(message 0453 hex\)"):
            unit.channels()[2].angle = ANGLE
        unit, _ = controller((self.MOVE, said(0x0080)), always=(status(2, 0),))
        with pytest.raises(InstrumentError, match="without words"):
            unit.channels()[2].angle = ANGLE

    def test_limits(self) -> None:
        unit, transport = controller(status(1, 100))
        for angle in (-0.01, math.radians(170.2)):
            with pytest.raises(LimitError, match="0 to 170 degrees"):
                unit.channels()[1].angle = angle
        with pytest.raises(LimitError, match="0 to 170 degrees"):
            unit.channels()[1].turn(-101 * COUNT)
        transport.finish()

    def test_jog_backward(self) -> None:
        unit, transport = controller((short(0x046A, 1, 2), said(0x0464, 1)), always=(status(1, 100),))
        unit.channels()[1].jog(forward=False)
        transport.finish()


class TestUnit:
    def test_two_paddles(self) -> None:
        unit, _ = controller(model=b"MPC220", paddles=2)
        assert list(unit.channels()) == [1, 2]

    def test_another_model(self) -> None:
        with pytest.raises(SettingsChanged, match="KDC101"):
            controller(model=b"KDC101")

    def test_parameters_go_together_and_are_read_back(self) -> None:
        after = short(0x0531), data(0x0532, "6H", 0, 50, 685, 40, 81, 40)
        unit, transport = controller(PARAMETERS, (long(0x0530, "6H", 0, 50, 685, 40, 81, 40), None), after, after)
        unit.channels()[2].jog_step = math.radians(10)
        assert unit.channels()[2].jog_step == pytest.approx(math.radians(10), abs=COUNT)
        transport.finish()

    def test_a_parameter_that_is_not_taken(self) -> None:
        unit, _ = controller((long(0x0530, "6H", 0, 50, 0, 40, 40, 40), None), always=(PARAMETERS,))
        with pytest.raises(NotConfirmed, match="home_angle"):
            unit.home_angle = 0.0

    def test_save(self) -> None:
        unit, transport = controller((long(0x04B9, "HH", 1, 0x0530), None))
        unit.save()
        transport.finish()

    def test_a_reply_of_another_length(self) -> None:
        unit, _ = controller((short(0x0531), data(0x0532, "5H", 0, 1, 2, 3, 4)))
        with pytest.raises(ProtocolError, match="10 bytes of data"):
            unit.parameters()


class TestSafeState:
    def test_stops_all(self) -> None:
        unit, transport = controller(
            (short(0x0465, 1, 1), said(0x0466, 1)),
            status(1, 100, READY | 0x10),
            status(1, 101),
            *(pair for mask in (2, 4) for pair in ((short(0x0465, mask, 1), None), status(mask, 0))),
        )
        unit.safe_state()
        transport.finish()

    def test_one_that_moves_on_does_not_keep_the_others_moving(self) -> None:
        unit, transport = controller(
            *((short(0x0465, mask, 1), None) for mask in (1, 2, 4)),
            always=(status(1, 0, READY | 0x20), status(2, 0), status(4, 0)),
        )
        with pytest.raises(NotConfirmed, match="have paddle 1 standing within 1 s"):
            unit.safe_state()
        transport.finish()
