"""The 2400's twin: the sheet's examples, ranges, compliance, readings, and where voltage is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from labqdl.errors import InputError
from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_fuzz, check_headers, check_titles, play_example

NAME = "keithley-2400"
SHEET = load(NAME)


class Source(Lab):
    def __init__(self, **options: object) -> None:
        super().__init__(NAME, **options)

    def out(self) -> float:
        return self.volts("output")


def one_volt(lab: Lab) -> None:
    lab.ask(":SOUR:VOLT 1;:OUTP 1")


def noise_below_zero(lab: Lab) -> None:
    one_volt(lab)
    for _ in range(30):
        lab.ask(":READ?")
        following = lab.twin.generator("noise", lab.twin._readings + 1).standard_normal(2)
        if following[1] < 0:
            return


def read_while_off(lab: Lab) -> None:
    assert lab.ask(":READ?") == ""


def open_interlock(lab: Lab) -> None:
    lab.twin.faults.add("interlock")
    lab.ask("OUTP 1")


BEFORE: dict[str, Before] = {
    "source level": one_volt,
    "output is on": one_volt,
    "reading": noise_below_zero,
    "reading with the output off, then no error": read_while_off,
    "blocked by the interlock": open_interlock,
    "invalid with source read-back on": lambda lab: lab.twin.push_error(823),
}
OPTIONS = {"reading": {"resistance": 1e12, "noise": 1e-3}}  # noise alone, so that the current can be negative
NOT_SIMULATED: dict[str, str] = {}


@pytest.mark.parametrize("example", SHEET.examples, ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, OPTIONS, BEFORE, {})


def test_every_example_and_every_command_is_there() -> None:
    check_titles(SHEET, BEFORE, OPTIONS, NOT_SIMULATED)
    check_headers(Source().twin, SHEET.commands)


class TestSource:
    def test_dark_at_power_on_and_after_a_reset(self) -> None:
        lab = Source()
        assert lab.out() == 0
        lab.ask(":SOUR:VOLT 5")
        assert lab.out() == 0
        lab.ask("OUTP ON")
        assert lab.out() == pytest.approx(5.0)
        lab.ask("OUTP 0")
        assert lab.out() == 0
        lab.ask("OUTP 1;*RST")
        assert lab.out() == 0
        assert lab.ask("OUTP?;:SOUR:VOLT:RANG?;:SENS:CURR:PROT?") == "0;2.100000E+01;1.050000E-04"

    def test_beyond_the_range_leaves_the_old_value(self) -> None:
        lab = Source()
        lab.ask(":SOUR:VOLT:RANG 2;:SOUR:VOLT 1.5;:SOUR:VOLT 2.5")
        assert lab.error() == -222
        assert lab.ask(":SOUR:VOLT?;:SOUR:VOLT:RANG?") == "1.500000E+00;2.100000E+00"
        lab.ask(":SOUR:VOLT:RANG 0.2")
        assert lab.error() == -221
        lab.ask(":SOUR:VOLT:RANG:AUTO 1;:SOUR:VOLT 150")
        assert lab.ask(":SYST:ERR?;:SOUR:VOLT:RANG?") == '0,"No error";2.100000E+02'

    def test_compliance(self) -> None:
        lab = Source(resistance=1e3)
        lab.ask(":SENS:CURR:PROT 1E-3;:SOUR:VOLT 0.5;:OUTP 1")
        assert lab.ask(":SENS:CURR:PROT:TRIP?") == "0"
        lab.ask(":SOUR:VOLT 5")
        assert lab.out() == pytest.approx(1.0)
        assert lab.ask(":SENS:CURR:PROT:TRIP?;:STAT:MEAS:COND?") == "1;16384"
        reading = lab.ask(":READ?").split(",")
        assert float(reading[1]) == pytest.approx(1e-3, abs=1e-8)
        assert int(float(reading[4])) & 8

    def test_compliance_and_measuring_range(self) -> None:
        lab = Source()
        lab.ask(":SENS:CURR:PROT 1E-9")
        assert lab.error() == 0
        lab.ask(":SENS:CURR:RANG 1E-3;PROT 1E-9")
        assert lab.error() == -222

    def test_a_current_into_the_load(self) -> None:
        lab = Source(resistance=1e3)
        lab.ask(":SOUR:FUNC CURR;:SOUR:CURR:RANG 1E-2;:SOUR:CURR 5E-3;:SENS:VOLT:PROT 2;:OUTP 1")
        assert lab.out() == pytest.approx(2.0)
        assert lab.ask(":SENS:VOLT:PROT:TRIP?;:SENS:CURR:PROT:TRIP?") == "1;0"
        lab.ask(":SENS:VOLT:PROT 10")
        assert lab.out() == pytest.approx(5.0)

    def test_over_voltage(self) -> None:
        lab = Source()
        lab.ask(":SOUR:VOLT:RANG 200;:SENS:CURR:PROT 1;:SOUR:VOLT:PROT 20;:SOUR:VOLT 100;:OUTP 1")
        assert lab.out() == pytest.approx(20.0)
        assert int(float(lab.ask(":READ?").split(",")[4])) & 16
        lab.ask(":SOUR:VOLT:PROT 30")
        assert lab.error() == -222
        assert lab.ask(":SOUR:VOLT:PROT NONE;:SOUR:VOLT:PROT?") == "2.100000E+02"

    def test_resolution(self) -> None:
        lab = Source()
        lab.ask(":SOUR:VOLT 1.23456;:OUTP 1")
        assert lab.out() == pytest.approx(1.2345, abs=1e-12)

    def test_function_and_terminals_switch_off(self) -> None:
        lab = Source()
        for text in (":SOUR:FUNC CURR", ":ROUT:TERM REAR"):
            lab.ask("OUTP 1;" + text)
            assert lab.ask("OUTP?") == "0"

    def test_faults(self) -> None:
        lab = Source()
        lab.ask(":SOUR:VOLT 5;:OUTP 1")
        lab.twin.faults.add("stay-on")
        lab.ask("OUTP 0;*RST")
        assert lab.ask("OUTP?") == "1"
        assert lab.out() == pytest.approx(5.0)
        lab = Source()
        lab.ask(":SOUR:VOLT 5;:OUTP 1")
        lab.twin.faults.add("interlock")
        assert lab.out() == 0


class TestReadings:
    def test_elements_and_formats(self) -> None:
        lab = Source(resistance=1e3, noise=0.0)
        lab.ask(':SENS:CURR:PROT 1;:SOUR:VOLT 1;:OUTP 1;:FORM:ELEM CURR,VOLT;:SENS:FUNC "VOLT:DC","CURR:DC"')
        assert lab.ask(":READ?") == "+1.000000E+00,+1.000000E-03"
        assert lab.ask(":SENS:FUNC?;:FORM:ELEM?") == '"VOLT:DC","CURR:DC";VOLT,CURR'
        for order, sign in (("NORM", ">"), ("SWAP", "<")):
            got = lab.wire.ask(f":FORM REAL,32;:FORM:BORD {order};:READ?\n".encode())
            assert got[:2] == b"#0"
            assert np.frombuffer(got[2:-1], f"{sign}f4") == pytest.approx([1.0, 1e-3])
        assert lab.ask(":FORM?;:FORM ASC;:FORM?") == "REAL,32;ASC"

    def test_resistance_and_what_is_not_measured(self) -> None:
        lab = Source(resistance=2e3, noise=0.0)
        lab.ask(':SENS:CURR:PROT 1;:SOUR:VOLT 1;:OUTP 1;:SENS:FUNC:CONC 0;:SENS:FUNC "VOLT"')
        assert lab.ask(":READ?").split(",")[1:3] == ["+9.910000E+37", "+9.910000E+37"]
        assert float(lab.ask(':SENS:FUNC "RES";:READ?').split(",")[2]) == pytest.approx(2e3)
        lab.ask(':SENS:FUNC "VOLT","CURR"')
        assert lab.error() == -221
        lab.ask(':SENS:FUNC "POWER"')
        assert lab.error() == -224

    def test_beyond_the_measuring_range(self) -> None:
        lab = Source(resistance=1e3)
        lab.ask(":SENS:CURR:PROT 1;RANG 1E-4;:SOUR:VOLT 1;:OUTP 1")
        reading = lab.ask(":READ?").split(",")
        assert reading[1] == "+9.900000E+37"
        assert int(float(reading[4])) & 1

    def test_time(self) -> None:
        lab = Source()
        lab.ask("OUTP 1")
        lab.wire.session.feed(b":READ?\n")
        assert lab.wire.session.ready_at() == pytest.approx(0.06)
        lab = Source()
        lab.ask("OUTP 1;:SENS:AVER 1;:SENS:AVER:COUN 10;:SENS:CURR:NPLC 2;:SOUR:DEL 0.1;:TRIG:COUN 3;:INIT")
        assert lab.ask(":STAT:OPER:COND?") == "0"
        lab.wire.session.feed(b"*OPC?\n")
        assert lab.wire.session.ready_at() == pytest.approx(3 * (0.4 + 0.1 + 0.04))

    def test_noise_is_repeatable_and_averages(self) -> None:
        readings = []
        for _ in range(2):
            lab = Source(resistance=1e3)
            lab.ask(":SENS:CURR:PROT 1;:SOUR:VOLT 1;:OUTP 1;:FORM:ELEM CURR;:TRIG:COUN 500")
            readings.append(np.array(lab.ask(":READ?").split(","), dtype=float))
        assert np.array_equal(readings[0], readings[1])
        assert readings[0].std() == pytest.approx(1.05e-9, rel=0.2)

    def test_buffer(self) -> None:
        lab = Source()
        assert lab.ask(":TRAC:DATA?") == ""
        assert lab.error() == -230
        lab.ask("OUTP 1;:FORM:ELEM VOLT;:TRAC:POIN 5;FEED:CONT NEXT;:TRIG:COUN 4;:INIT")
        assert lab.ask("*OPC?;:TRAC:FEED:CONT?") == "1;NEXT"
        assert lab.ask(":INIT;*OPC?;:TRAC:FEED:CONT?") == "1;NEV"
        assert len(lab.ask(":TRAC:DATA?").split(",")) == 5

    def test_bus_trigger(self) -> None:
        lab = Source()
        lab.ask("*TRG")
        assert lab.error() == -211
        lab.ask("OUTP 1;:ARM:SOUR BUS;:READ?")
        assert lab.error() == -214
        assert lab.ask(":INIT;:STAT:OPER:COND?") == "64"
        assert lab.ask(":FETC?") == ""
        assert lab.error() == -230
        assert lab.ask("*TRG;:FETC?").count(",") == 4

    def test_output_off_after_a_reading(self) -> None:
        lab = Source()
        lab.ask(":SOUR:CLE:AUTO 1")
        assert lab.ask(":MEAS:CURR?").count(",") == 4
        assert lab.ask("OUTP?") == "0"


def test_errors_and_models() -> None:
    lab = Source()
    for _ in range(12):
        lab.ask("FOO")
    codes = [lab.error() for _ in range(11)]
    assert codes == [-113] * 9 + [-350, 0]
    lab.ask("*LANG?")
    assert lab.error() == -113
    lab = Source(model="2450")
    assert lab.ask("*LANG SCPI2400;*LANG?") == "SCPI2400"
    assert lab.ask("*IDN?").split(",")[1] == "MODEL 2450"
    with pytest.raises(InputError, match="no model"):
        Source(model="2600")
    assert lab.wire.ask(b"OUTP?\r") == b"0\n"


PIECES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [b"\n", b";", b":SOUR:VOLT ", b"1E99", b"-5\n", b"20\n", b"OUTP 1\n", b":READ?\n", b":SOUR:FUNC CURR\n",
         b':SENS:FUNC "RES"\n', b":SOUR:VOLT:PROT ", b"NONE\n", b":TRIG:COUN 9\n", b":INIT\n", b"*TRG\n", b":FETC?\n",
         b":FORM REAL,32\n", b":SOUR:CURR MAX\n", b":TRAC:FEED:CONT NEXT\n", b":TRAC:DATA?\n", b":SOUR:CLE:AUTO 1\n"]
    ),
)  # fmt: skip


def test_any_bytes() -> None:
    check_fuzz(NAME, PIECES, resistance=10.0)


def test_replies_end_as_the_road_wants_them() -> None:
    """CR on RS-232, as it leaves the factory, LF elsewhere."""
    twin = Source().twin
    for speed, end in ((9600, b"\r"), (None, b"\n")):
        session = twin.connect(baud=speed)
        session.feed(b"*OPC?\r")
        assert bytes(session.read(100)[0]) == b"1" + end
