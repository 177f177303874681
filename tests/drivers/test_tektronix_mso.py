"""The MSO driver: every example of its sheet, scaling, overload, events, triggers."""

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
from labqdl.instruments import Identity, NotACapability, NotAValue, NotConfirmed, Trigger
from labqdl.transport import InstrumentError, Line, ProtocolError
from labqdl_drivers.digitizers.tektronix_mso import ScopeInput, TektronixMSO
from tests.drivers.accounts import check_commands
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("tektronix-mso")
ALWAYS: dict[bytes, bytes | None] = {
    b"HEAD 0\n": None,
    b"VERB 0\n": None,
    b"*IDN?\n": b"TEKTRONIX,MSO58,C012345,CF:91.1CT FV:1.28.6.1\n",
    b"*ESR?\n": b"0\n",
    b"ACQ:STATE?\n": b"0\n",
}
TRANSFER: dict[bytes, bytes | None] = {
    b"DIS:GLO:CH1:STATE?\n": b"1\n",
    b"DAT:SOU CH1\n": None,
    b"DAT:ENC SRI\n": None,
    b"DAT:WID 2\n": None,
    b"DAT:STAR 1\n": None,
    b"DAT:STOP 10000000000\n": None,
    b"WFMO:NR_P?\n": b"5\n",
    b"DAT:STOP 5\n": None,
    b"WFMO:PT_F?\n": b"Y\n",
    b"WFMO:XIN?\n": b"4.0E-10\n",
    b"WFMO:XZE?\n": b"-2.0E-6\n",
    b"WFMO:PT_O?\n": b"0\n",
    b"WFMO:YMU?\n": b"1.5625E-5\n",
    b"WFMO:YOF?\n": b"0.0E+0\n",
    b"WFMO:YZE?\n": b"0.0E+0\n",
}


def curve(codes: Any) -> bytes:
    data = np.asarray(codes, dtype="<i2").tobytes()
    return b"#%d%d%b\n" % (len(str(len(data))), len(data), data)


def equals(call: Callable[[TektronixMSO], Any], value: Any) -> Callable[[TektronixMSO], None]:
    def check(scope: TektronixMSO) -> None:
        assert call(scope) == value

    return check


def first(scope: TektronixMSO) -> ScopeInput:
    return scope.channels()[1]


def record(scope: TektronixMSO) -> None:
    found = scope.fetch(1)
    np.testing.assert_allclose(found.volts, [0, 0.1, -0.1, 0.5, -0.512], rtol=1e-12)
    assert (found.start, found.interval, found.overload) == (-2e-6, 4e-10, True)


def no_header(scope: TektronixMSO) -> None:
    with pytest.raises(ProtocolError, match="WFMOUTPRE:YMULT"):
        scope.ask_number("WFMO:YMU?")


def capture(scope: TektronixMSO) -> None:
    scope.open()
    assert scope.prepare(1) == 10_000
    scope.arm()
    scope.wait(1.0)


def unknown_command(scope: TektronixMSO) -> None:
    with pytest.raises(InstrumentError, match="error 113: Undefined header; unrecognized command - foo"):
        scope.check_errors("foo")


CALLS: dict[str, Callable[[TektronixMSO], None]] = {
    "identity": equals(
        lambda scope: scope.identity(), Identity("TEKTRONIX", "MSO58", "C012345", "CF:91.1CT FV:1.28.6.1")
    ),
    "reply with its header, before HEADer 0": no_header,
    "input of 50 ohm": lambda scope: setattr(first(scope), "impedance", 50.0),
    "external trigger": lambda scope: setattr(scope, "trigger_input", "AUX"),
    "description of the waveform": equals(
        lambda scope: scope.description,
        "Ch1, DC coupling, 100.0mV/div, 4.000us/div, 10000 points, Sample mode",
    ),
    "curve of five points, two bytes each": record,
    "set-up of a transfer and a single acquisition": capture,
    "acquiring, then over": lambda scope: scope.wait(1.0),
    "event of an unknown command": unknown_command,
}
NOT_DRIVEN = {
    "curve of four points, one byte each": "the driver transfers two bytes a sample",
    "curve as text with its header": "the driver transfers blocks, without headers",
    "curve as text": "the driver transfers blocks",
}
EXTRA: dict[str, dict[bytes, bytes | None]] = {
    "curve of five points, two bytes each": TRANSFER,
    "event of an unknown command": {b"*ESR?\n": b"32\n", b"EVM?\n": b'0,"No events to report - queue empty"\n'},
}


def test_the_sheet_is_covered() -> None:
    assert set(SHEET.titles) == CALLS.keys() | NOT_DRIVEN.keys()
    assert check_commands(SHEET.name, TektronixMSO) > 0.6


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    with scripted(SHEET[title], Line(), ALWAYS | EXTRA.get(title, {})) as transport:
        CALLS[title](TektronixMSO(transport, clock=transport.clock))


def opened(
    *steps: tuple[bytes, bytes | None], state: dict[bytes, bytes | None] | None = None
) -> tuple[TektronixMSO, ScriptedTransport]:
    transport = scripted(steps, Line(), ALWAYS | (state or {}), clock=ManualClock())
    scope = TektronixMSO(transport, name="scope", clock=transport.clock)
    scope.open()
    return scope, transport


@pytest.mark.parametrize(("model", "count", "rate"), [("MSO54", 4, 6.25e9), ("MSO64B", 4, 50e9), ("LPD64", 4, 50e9)])
def test_inputs_and_rates_by_the_model(model: str, count: int, rate: float) -> None:
    scope, transport = opened(state={b"*IDN?\n": b"TEKTRONIX,%b,C1,FV:1\n" % model.encode()})
    assert list(scope.channels()) == list(range(1, count + 1))
    with pytest.raises(InputError, match=f"at most {rate:g}".replace("+", r"\+")):
        scope.sample_rate = 2 * rate
    with pytest.raises(InputError, match="1 to 4"):
        scope.fetch(5)
    transport.finish()


@given(arrays(np.int16, 5), st.floats(1e-6, 1), st.integers(-30000, 30000), st.floats(-10, 10))
def test_scaling_there_and_back(codes: np.ndarray[Any, Any], step: float, middle: int, zero: float) -> None:
    scaling: dict[bytes, bytes | None] = {b"WFMO:YMU?\n": b"%r\n" % step, b"WFMO:YOF?\n": b"%d\n" % middle}
    scaling[b"WFMO:YZE?\n"] = b"%r\n" % zero
    scope, transport = opened((b"CURV?\n", curve(codes)), state=TRANSFER | scaling)
    volts = scope.fetch(1).volts
    np.testing.assert_array_equal(np.rint((volts - zero) / step + middle), codes)
    transport.finish()


@pytest.mark.parametrize(
    ("code", "overload"), [(0x7FEF, False), (-0x7FFF, False), (0x7FF0, True), (0x7FFF, True), (-0x8000, True)]
)
def test_overload_at_the_ends_of_the_converter(code: int, overload: bool) -> None:
    scope, transport = opened((b"CURV?\n", curve([0, 1, code, 3, 4])), state=TRANSFER)
    assert scope.fetch(1).overload is overload
    transport.finish()


def test_the_trigger_may_stand_inside_of_the_record() -> None:
    scope, transport = opened(state=TRANSFER | {b"WFMO:PT_O?\n": b"1000\n", b"WFMO:XZE?\n": b"0.0\n"})
    assert scope.pre_trigger == pytest.approx(4e-7)
    with pytest.raises(NotACapability, match="no command for the trigger's place"):
        scope.pre_trigger = 0.0
    transport.finish()


def test_no_curve_of_an_input_that_is_not_shown() -> None:
    scope, transport = opened(state=TRANSFER | {b"DIS:GLO:CH1:STATE?\n": b"0\n"})
    with pytest.raises(NotAValue, match="not enabled"):
        scope.fetch(1)
    scope, transport = opened(state=TRANSFER | {b"WFMO:PT_F?\n": b"ENV\n"})
    with pytest.raises(NotAValue, match="envelope"):
        scope.fetch(1)
    transport.finish()


def test_a_curve_of_another_length() -> None:
    scope, _ = opened((b"CURV?\n", curve([1, 2])), state=TRANSFER)
    with pytest.raises(ProtocolError, match=r"2 numbers.* is not a block of 5 numbers"):
        scope.fetch(1)


def test_all_events_are_told() -> None:
    scope, transport = opened(
        (b"ACQ:STATE 0\n", None),
        (b"*ESR?\n", b"48\n"),
        (b"EVM?\n", b'222,"Data out of range"\n'),
        (b"EVM?\n", b'221,"Settings conflict"\n'),
        (b"EVM?\n", b'1,"No events to report - new events pending *ESR?"\n'),
    )
    with pytest.raises(InstrumentError, match="error 222: Data out of range; 221 Settings conflict"):
        scope.stop()
    transport.finish()


def test_an_error_bit_without_an_event() -> None:
    scope, transport = opened((b"ACQ:STATE 0\n", None), (b"*ESR?\n", b"16\n"), (b"EVM?\n", b'0,"No events"\n'))
    with pytest.raises(InstrumentError, match="event register is 16"):
        scope.stop()
    transport.finish()


def test_a_rate_that_the_instrument_did_not_take() -> None:
    scope, transport = opened(
        (b"HOR:MOD MAN\n", None), (b"HOR:MODE:SAMPLER 3000000000\n", None), state={b"HOR:SAMPLER?\n": b"3.125E+9\n"}
    )
    with pytest.raises(NotConfirmed, match=r"reads 3\.125e\+09 S/s"):
        scope.sample_rate = 3e9
    transport.finish()


def test_range_and_offset() -> None:
    scope, transport = opened(
        (b"CH1:SCA 0.02\n", None),
        (b"CH1:POS 0\n", None),
        (b"CH1:OFFS 0.25\n", None),
        state={b"CH1:SCA?\n": b"20.0E-3\n", b"CH1:POS?\n": b"1.0E+0\n", b"CH1:OFFS?\n": b"100.0E-3\n"},
    )
    channel = first(scope)
    channel.range = 0.2
    channel.offset = 0.25
    assert [channel.range, channel.offset] == pytest.approx([0.2, 0.08])
    transport.finish()


def test_trigger_sources_and_levels() -> None:
    scope, transport = opened(
        (b"TRIG:A:TYP EDGE\n", None),
        (b"TRIG:A:EDGE:SOU AUX\n", None),
        (b"TRIG:A:MOD NORM\n", None),
        (b"TRIG:A:MOD AUTO\n", None),
        (b"TRIG:A:MOD?\n", b"AUTO\n"),
        (b"TRIG:A:MOD?\n", b"NORMAL\n"),
        (b"TRIG:A:EDGE:SOU?\n", b"AUX\n"),
        (b"TRIG:A:EDGE:SOU?\n", b"CH2\n"),
        (b"TRIG:A:LEV:CH2 0.1\n", None),
        (b"TRIG:A:EDGE:SOU?\n", b"AUX\n"),
    )
    scope.trigger_source = Trigger.EXTERNAL
    scope.trigger_source = Trigger.FREE
    assert [scope.trigger_source, scope.trigger_source] == [Trigger.FREE, Trigger.EXTERNAL]
    scope.trigger_level = 0.1
    with pytest.raises(NotACapability, match="AUX"):
        scope.trigger_level = 0.1
    with pytest.raises(NotACapability, match="force_trigger"):
        scope.trigger_source = Trigger.SOFTWARE
    transport.finish()


def test_waiting_ends() -> None:
    scope, transport = opened((b"TRIG FORC\n", None), state={b"ACQ:STATE?\n": b"1\n"})
    scope.force_trigger()
    with pytest.raises(NotConfirmed, match=r"record complete within 0.2 s"):
        scope.wait(0.2)
    transport.finish()


def test_safe_state_stops() -> None:
    scope, transport = opened((b"ACQ:STATE 0\n", None))
    scope.safe_state()
    transport.finish()
