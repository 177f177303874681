"""The InfiniiVision driver: every example of its sheet, scaling, overload, segments, arming and waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl.instruments import Identity, LimitError, NotACapability, NotAValue, NotConfirmed, Trigger
from labqdl.transport import Line, ProtocolError
from labqdl_drivers.digitizers.keysight_infiniivision import InfiniiVision, Preamble, ScopeInput
from tests.drivers.accounts import check_commands
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("keysight-infiniivision")
ALWAYS: dict[bytes, bytes | None] = {
    b"*IDN?\n": b"KEYSIGHT TECHNOLOGIES,MSO-X 4104A,MY51234567,07.50.2021102830\n",
    b":SYST:ERR?\n": b'+0,"No error"\n',
    b":TER?\n": b"+0\n",
    b":ACQ:MODE?\n": b"RTIM\n",
    b":CHAN1:PROB?\n": b"+1.0E+00\n",
}
SETUP = b":WAV:SOUR CHAN%d;:WAV:FORM WORD;:WAV:BYT LSBF;:WAV:UNS 1;:WAV:POIN:MODE RAW\n"
PREAMBLE = Preamble(1, 0, 4, 1, 2e-9, -1e-6, 0, 15.625e-6, 0, 32768)


def block(codes: Any) -> bytes:
    data = np.asarray(codes, dtype="<u2").tobytes()
    return b"#8%08d%b\n" % (len(data), data)


def preamble(points: int) -> bytes:
    return b"+1,+0,+%d,+1,+2.0E-009,-1.0E-006,+0,+1.56250000E-005,+0.0E+000,+32768\n" % points


def equals(call: Callable[[InfiniiVision], Any], value: Any) -> Callable[[InfiniiVision], None]:
    def check(scope: InfiniiVision) -> None:
        assert call(scope) == value

    return check


def first(scope: InfiniiVision) -> ScopeInput:
    return scope.channels()[1]


def record(scope: InfiniiVision) -> None:
    found = scope.fetch(1)
    np.testing.assert_allclose(found.volts, [0, 0.010, -0.010, 32767 * 15.625e-6], atol=1e-15)
    assert found.volts[3] == pytest.approx(0.512, abs=2e-5)
    assert (found.start, found.interval, found.overload) == (-1e-6, 2e-9, True)


def single_shot(scope: InfiniiVision) -> None:
    scope.arm()
    scope.force_trigger()
    scope.wait(1.0)


CALLS: dict[str, Callable[[InfiniiVision], None]] = {
    "identity": equals(
        lambda scope: scope.identity(),
        Identity("KEYSIGHT TECHNOLOGIES", "MSO-X 4104A", "MY51234567", "07.50.2021102830"),
    ),
    "channel is shown": equals(lambda scope: first(scope).enabled, True),
    "channel range": equals(lambda scope: first(scope).range, 8.0),
    "channel coupling": equals(lambda scope: first(scope).ac_coupled, False),
    "channel impedance": equals(lambda scope: first(scope).impedance, 50.0),
    "trigger event": equals(lambda scope: scope.triggered, True),
    "preamble": equals(lambda scope: scope.preamble(), PREAMBLE._replace(points=1000)),
    "block of four words": equals(lambda scope: scope.codes(PREAMBLE).tolist(), [32768, 33408, 32128, 65535]),
    "record of four points with its preamble": record,
    "deep memory": lambda scope: scope.transfer_everything(),
    "single shot polled, then forced": single_shot,
    "settings of a channel as a group": equals(
        lambda scope: first(scope).settings, ":CHAN1:RANG +40.0E+00;OFFS +0.00000E+00;COUP DC;IMP ONEM"
    ),
    "no error": lambda scope: scope.check_errors(":STOP"),
}
NOT_DRIVEN = {
    "waveform source": "the driver sets the source before each transfer",
    "waveform format": "the driver sets the format before each transfer",
    "digitize and wait": "DIG blocks the interface; arm and wait do the same and can be given up",
}


def test_the_sheet_is_covered() -> None:
    assert set(SHEET.titles) == CALLS.keys() | NOT_DRIVEN.keys()
    assert check_commands(SHEET.name, InfiniiVision) > 0.8


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    with scripted(SHEET[title], Line(), ALWAYS | {SETUP % 1: None}) as transport:
        CALLS[title](InfiniiVision(transport, clock=transport.clock))


def opened(
    *steps: tuple[bytes, bytes | None], state: dict[bytes, bytes | None] | None = None
) -> tuple[InfiniiVision, ScriptedTransport]:
    transport = scripted(steps, Line(), ALWAYS | (state or {}), clock=ManualClock())
    scope = InfiniiVision(transport, name="scope", clock=transport.clock)
    scope.open()
    return scope, transport


@pytest.mark.parametrize(("model", "count"), [("DSOX1102G", 2), ("MSO-X 4104A", 4), ("DSO-X 3012T", 2)])
def test_inputs_by_the_model(model: str, count: int) -> None:
    scope, _ = opened(state={b"*IDN?\n": b"KEYSIGHT TECHNOLOGIES,%b,MY1,1\n" % model.encode()})
    assert list(scope.channels()) == list(range(1, count + 1))
    with pytest.raises(InputError, match=f"1 to {count}"):
        scope.fetch(count + 1)


@given(
    arrays(np.uint16, st.integers(1, 200)),
    st.floats(1e-6, 1),
    st.floats(-10, 10),
    st.sampled_from([0, 128, 32768]),
)
def test_scaling_there_and_back(codes: np.ndarray[Any, Any], step: float, origin: float, middle: int) -> None:
    scale = PREAMBLE._replace(y_increment=step, y_origin=origin, y_reference=middle)
    volts = scale.volts(codes)
    np.testing.assert_array_equal(np.rint((volts - origin) / step + middle), codes)
    np.testing.assert_allclose(volts, [(int(code) - middle) * step + origin for code in codes], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("codes", "overload"), [([1, 0xFEFF], False), ([0, 9], True), ([9, 0xFF00], True), ([9, 0xFFFF], True)]
)
def test_overload_at_the_ends_of_the_converter(codes: list[int], overload: bool) -> None:
    scope, transport = opened((SETUP % 2, None), (b":WAV:PRE?\n", preamble(2)), (b":WAV:DATA?\n", block(codes)))
    assert scope.fetch(2).overload is overload
    transport.finish()


def test_fewer_codes_than_the_preamble_says() -> None:
    scope, _ = opened((SETUP % 1, None), (b":WAV:PRE?\n", preamble(3)), (b":WAV:DATA?\n", block([5, 6])))
    with pytest.raises(ProtocolError, match=r"2 numbers.* is not a block of 3 numbers"):
        scope.fetch(1)


@pytest.mark.parametrize("reply", [b"+1,+0,+4\n", b"a,b,c,d,e,f,g,h,i,j\n"])
def test_what_is_no_preamble(reply: bytes) -> None:
    scope, _ = opened((b":WAV:PRE?\n", reply))
    with pytest.raises(ProtocolError, match="ten numbers"):
        scope.preamble()


def test_segments() -> None:
    state: dict[bytes, bytes | None] = {b":ACQ:MODE?\n": b"SEGM\n", b":ACQ:SEGM:COUN?\n": b"+3\n"}
    rows = np.arange(100, 106).reshape(3, 2)
    steps: list[tuple[bytes, bytes | None]] = [(b":ACQ:MODE SEGM\n", None), (b":ACQ:SEGM:COUN 3\n", None)]
    steps.append((SETUP % 1, None))
    for number, row in enumerate(rows, 1):
        steps += [(b":ACQ:SEGM:IND %d\n" % number, None), (b":WAV:PRE?\n", preamble(2)), (b":WAV:DATA?\n", block(row))]
    for number in (1, 2, 3):
        steps += [(b":ACQ:SEGM:IND %d\n" % number, None), (b":WAV:SEGM:TTAG?\n", b"%d.0E-06\n" % number)]
    scope, transport = opened(*steps, state=state)
    scope.segments = 3
    found = scope.fetch(1)
    np.testing.assert_allclose(found.volts, (rows - 32768) * 15.625e-6)
    np.testing.assert_allclose(scope.segment_times(), [1e-6, 2e-6, 3e-6])
    transport.finish()


def test_arming_sees_a_trigger_that_was_quick() -> None:
    scope, transport = opened(
        (b":TER?\n", b"+1\n"), (b":SING\n", None), (b":OPER:COND?\n", b"+0\n"), (b":TER?\n", b"+1\n")
    )
    scope.arm()
    transport.finish()


def test_waiting_ends() -> None:
    scope, transport = opened(state={b":OPER:COND?\n": b"+8\n"})
    with pytest.raises(NotConfirmed, match=r"record complete within 0.5 s"):
        scope.wait(0.5)
    assert transport.clock.monotonic() == pytest.approx(0.5, abs=0.02)


def test_trigger_sources() -> None:
    scope, transport = opened(
        (b":TRIG:SOUR EXT\n", None),
        (b":TRIG:SWE NORM\n", None),
        (b":TRIG:SWE AUTO\n", None),
        (b":TRIG:SWE?\n", b"AUTO\n"),
        (b":TRIG:SWE?\n", b"NORM\n"),
        (b":TRIG:SOUR?\n", b"EXT\n"),
        (b":TRIG:SWE?\n", b"NORM\n"),
        (b":TRIG:SOUR?\n", b"CHAN1\n"),
    )
    scope.trigger_source = Trigger.EXTERNAL
    scope.trigger_source = Trigger.FREE
    with pytest.raises(NotACapability, match="force_trigger"):
        scope.trigger_source = Trigger.SOFTWARE
    assert [scope.trigger_source, scope.trigger_source] == [Trigger.FREE, Trigger.EXTERNAL]
    with pytest.raises(NotAValue, match="CHAN1 triggers"):
        _ = scope.trigger_source
    transport.finish()


def test_pre_trigger() -> None:
    state: dict[bytes, bytes | None] = {b":TIM:RANG?\n": b"+1.0E-03\n", b":TIM:REF?\n": b"CENT\n"}
    scope, transport = opened(
        (b":TIM:REF CENT\n", None), (b":TIM:POS 0.0004\n", None), (b":TIM:POS?\n", b"+4.0E-04\n"), state=state
    )
    scope.pre_trigger = 1e-4
    assert scope.pre_trigger == pytest.approx(1e-4)
    with pytest.raises(LimitError, match=r"0 to 0.001 s"):
        scope.pre_trigger = 2e-3
    transport.finish()


def test_inputs_refuse_before_a_byte_is_sent() -> None:
    scope, transport = opened()
    channel = first(scope)
    calls: list[Callable[[], None]] = [
        lambda: setattr(channel, "range", 50.0),
        lambda: setattr(channel, "impedance", 75.0),
        lambda: setattr(scope, "record_length", 10),
        lambda: setattr(scope, "sample_rate", 1e9),
        lambda: setattr(scope, "trigger_input", "EXT;*RST"),
        lambda: scope.show("line\n*RST"),
    ]
    for call in calls:
        with pytest.raises((InputError, NotACapability)):
            call()
    transport.finish()


def test_safe_state_stops() -> None:
    scope, transport = opened((b":STOP\n", None))
    scope.safe_state()
    transport.finish()
