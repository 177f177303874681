"""The Keithley 2400 driver: every example of its sheet, limits of the ranges, readings, the ramp, the safe state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl.instruments import Identity, LimitError, NotAValue, NotConfirmed, SettingsChanged
from labqdl.transport import InstrumentError, Line, ProtocolError
from labqdl_drivers.sources.keithley_2400 import Keithley2400, OffState, SourceFunction
from tests.drivers.accounts import check_commands
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("keithley-2400")
IDN = b"KEITHLEY INSTRUMENTS INC.,MODEL 2400,1234567,C33 Mar 31 2015 09:32:39/A02 /K/J\n"
ALWAYS: dict[bytes, bytes | None] = {b"*IDN?\n": IDN, b":SYST:ERR?\n": b'0,"No error"\n'}
STATE: dict[bytes, bytes | None] = {
    b"OUTP?\n": b"1\n",
    b":SOUR:FUNC?\n": b"VOLT\n",
    b":SOUR:VOLT:RANG:AUTO?\n": b"0\n",
    b":SOUR:VOLT:RANG?\n": b"2.100000E+01\n",
    b":SENS:CURR:RANG?\n": b"1.050000E-02\n",
    b":SENS:CURR:NPLC?\n": b"1.00\n",
    b":SENS:AVER?\n": b"0\n",
    b":SOUR:DEL?\n": b"0.000000E+00\n",
    b":SENS:FUNC?\n": b'"VOLT:DC","CURR:DC"\n',
    b":FORM:ELEM?\n": b"VOLT,CURR,RES,TIME,STAT\n",
    b":TRIG:COUN 1\n": None,
}
READING = b"+1.000000E+00,-1.234567E-06,+9.910000E+37,+1.234567E+03,+2.150800E+04"


def equals(call: Callable[[Keithley2400], Any], value: Any) -> Callable[[Keithley2400], None]:
    def check(source: Keithley2400) -> None:
        assert call(source) == value

    return check


def refused(words: str) -> Callable[[Keithley2400], None]:
    def check(source: Keithley2400) -> None:
        with pytest.raises(InstrumentError, match=words):
            source.check_errors(":READ?")

    return check


def bias_sequence(source: Keithley2400) -> None:
    source.reset()
    source.function = SourceFunction.VOLTAGE
    source.voltage_range = 20.0
    source.functions = '"CURR"'
    source.current_limit = 0.005
    source.voltage = 0.0
    source.output = True


CALLS: dict[str, Callable[[Keithley2400], None]] = {
    "identity": equals(
        lambda source: source.identity(),
        Identity("KEITHLEY INSTRUMENTS INC.", "MODEL 2400", "1234567", "C33 Mar 31 2015 09:32:39/A02 /K/J"),
    ),
    "source function": equals(lambda source: source.function, SourceFunction.VOLTAGE),
    "source range": equals(lambda source: source.voltage_range, 20.0),
    "source level": equals(lambda source: source.voltage, 1.0),
    "output is on": equals(lambda source: source.output, True),
    "terminals": equals(lambda source: source.rear, False),
    "reading": equals(lambda source: source.measured_current, -1.234567e-6),
    "no error": lambda source: source.check_errors("OUTP ON"),
    "reading with the output off, then no error": refused(r"error 803: Not permitted with OUTPUT off"),
    "blocked by the interlock": refused("error 802: OUTPUT blocked by interlock"),
    "invalid with source read-back on": refused("error 823"),
    "bias sequence up to the output": bias_sequence,
}


def test_the_sheet_is_covered() -> None:
    assert set(SHEET.titles) == CALLS.keys()
    assert check_commands(SHEET.name, Keithley2400) > 0.6


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    with scripted(SHEET[title], Line(), STATE | ALWAYS) as transport:
        CALLS[title](Keithley2400(transport, clock=ManualClock()))


def opened(
    *steps: tuple[bytes, bytes | None], state: dict[bytes, bytes | None] | None = None
) -> tuple[Keithley2400, ScriptedTransport]:
    transport = scripted(steps, Line(), ALWAYS | (STATE if state is None else STATE | state), clock=ManualClock())
    source = Keithley2400(transport, name="bias", clock=transport.clock)
    source.open()
    return source, transport


def test_opening_asks_for_nothing_but_the_identity() -> None:
    with scripted([(b"*IDN?\n", IDN)], Line()) as transport:
        Keithley2400(transport).open()


def test_another_instrument() -> None:
    transport = scripted([(b"*IDN?\n", b"KEITHLEY INSTRUMENTS,MODEL 6487,1,A\n")], Line())
    with pytest.raises(SettingsChanged, match="6487"):
        Keithley2400(transport).open()


def test_lines_end_with_cr_on_serial_lines() -> None:
    assert Keithley2400("ASRL/dev/ttyS0::INSTR").transport.framing == Line(b"\r")
    assert Keithley2400("TCPIP0::127.0.0.1::5025::SOCKET").transport.framing == Line(b"\n")


@pytest.mark.parametrize("volts", [21.1, -21.1, 250.0, float("nan")])
def test_voltages_stay_in_the_range(volts: float) -> None:
    source, transport = opened()
    with pytest.raises(InputError):
        source.voltage = volts
    transport.finish()


def test_automatic_range_leaves_all_of_it() -> None:
    source, transport = opened((b":SOUR:VOLT 200\n", None), state={b":SOUR:VOLT:RANG:AUTO?\n": b"1\n"})
    source.voltage = 200.0
    with pytest.raises(LimitError, match="-210 to 210 V"):
        source.voltage = 211.0
    transport.finish()


def test_current_limit_is_at_least_a_thousandth_of_its_range() -> None:
    source, transport = opened((b":SENS:CURR:PROT 0.0001\n", None))
    source.current_limit = 1e-4
    for amperes in (1.0e-5, 1.06):
        with pytest.raises(LimitError, match=r"1.05e-05 to 1.05 A"):
            source.current_limit = amperes
    transport.finish()


def test_ranges_are_those_of_the_sheet() -> None:
    source, transport = opened((b":SOUR:VOLT:RANG 0.2\n", None), (b":SOUR:VOLT:PROT 20\n", None))
    source.voltage_range = 0.2
    source.over_voltage = 20.0
    with pytest.raises(InputError, match=r"expected 0.2 or 2 or 20 or 200"):
        source.voltage_range = 5.0
    with pytest.raises(InputError, match="expected 20 or 40"):
        source.over_voltage = 30.0
    transport.finish()


def test_no_output_while_it_sources_current() -> None:
    source, transport = opened(state={b":SOUR:FUNC?\n": b"CURR\n"})
    with pytest.raises(InputError, match="sources current"):
        source.output = True
    transport.finish()


def test_no_reading_without_output() -> None:
    source, transport = opened(state={b"OUTP?\n": b"0\n"})
    with pytest.raises(NotAValue, match="output is off"):
        _ = source.measured_voltage
    transport.finish()


def test_first_reading_switches_both_functions_on() -> None:
    source, transport = opened(
        (b":SENS:FUNC:CONC 1\n", None),
        (b':SENS:FUNC "VOLT:DC","CURR:DC"\n', None),
        (b":READ?\n", READING + b"\n"),
        state={b":SENS:FUNC?\n": b'"CURR:DC"\n'},
    )
    assert source.measured_voltage == 1.0
    transport.finish()


def test_elements_may_stand_in_another_order() -> None:
    source, transport = opened((b":READ?\n", b"2.0,3.0\n"), state={b":FORM:ELEM?\n": b"CURR,VOLT\n"})
    assert source.measured_voltage == 3.0
    source, transport = opened(state={b":FORM:ELEM?\n": b"CURR\n", b":READ?\n": b"1\n"})
    with pytest.raises(NotAValue, match="FORM:ELEM"):
        _ = source.measured_current
    transport.finish()


@pytest.mark.parametrize("reply", [b"+1.0,+2.0\n", b"hello\n", b"1,2,3,4,5,6\n"])
def test_what_is_no_reading(reply: bytes) -> None:
    source, _ = opened((b":READ?\n", reply))
    with pytest.raises(ProtocolError, match="1 x 5 numbers"):
        _ = source.measured_voltage


@given(st.lists(st.tuples(*[st.floats(-200, 200)] * 2), min_size=1, max_size=20))
def test_many_readings(values: list[tuple[float, float]]) -> None:
    reply = b",".join(b"%r,%r,+9.910000E+37,+1.0,+0.0" % pair for pair in values) + b"\n"
    count = len(values)
    source, transport = opened((b":TRIG:COUN %d\n" % count, None), (b":READ?\n", reply))
    np.testing.assert_array_equal(source.readings(count), np.array(values))
    transport.finish()


def test_overflow_is_nan_and_no_value() -> None:
    overflow = (b":READ?\n", READING.replace(b"-1.234567E-06", b"+9.900000E+37") + b"\n")
    source, transport = opened(overflow, overflow)
    assert np.isnan(source.readings()[0, 1])
    with pytest.raises(NotAValue, match="out of range"):
        _ = source.measured_current
    for count in (0, 2501):
        with pytest.raises(InputError, match="1 to 2500"):
            source.readings(count)
    transport.finish()


def test_ramp_goes_in_small_steps() -> None:
    source, transport = opened(
        *[(b":SOUR:VOLT %.2f\n" % volts, None) for volts in (0.96, 0.92, 0.88)],
        state={b":SOUR:VOLT?\n": b"1.000000E+00\n"},
    )
    source.ramp(0.88)
    assert source.clock.monotonic() == pytest.approx(0.06)
    with pytest.raises(LimitError):
        source.ramp(22.0)
    with pytest.raises(InputError, match="a step of"):
        source.ramp(1.0, step=0.0)
    transport.finish()


def test_safe_state_confirms() -> None:
    steps = [(b":SOUR:VOLT 0\n", None), (b"OUTP OFF\n", None), (b"OUTP?\n", b"0\n"), (b":SOUR:VOLT?\n", b"0.0E+00\n")]
    source, transport = opened(*steps)
    source.safe_state()
    transport.finish()
    source, transport = opened(*steps[:2], state={b":SOUR:VOLT?\n": b"0.0E+00\n"})
    with pytest.raises(NotConfirmed, match="output must be False and reads True"):
        source.safe_state()
    transport.finish()


def test_off_state() -> None:
    source, transport = opened((b":OUTP:SMOD HIMP\n", None), (b":OUTP:SMOD?\n", b"HIMP\n"))
    source.off_state = OffState.OPEN
    assert source.off_state is OffState.OPEN
    transport.finish()
