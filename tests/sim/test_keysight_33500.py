"""The 33500's twin: the sheet's examples, uploads, limits, triggers, what leaves, and PyMeasure's driver."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl_sim.bench import Bench
from labqdl_sim.routes.visa import SimVisaLibrary
from labqdl_sim.tokens import block
from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_fuzz, check_headers, check_titles, play_example

NAME = "keysight-33500"
SHEET = load(NAME)


class Generator(Lab):
    def __init__(self, **options: object) -> None:
        super().__init__(NAME, **{"minimum": 2, **options})

    def out(self, ch: int = 1) -> float:
        return self.volts(f"output{ch}")

    def trace(self, start: float, rate: float, count: int, ch: int = 1) -> np.ndarray[Any, np.dtype[np.float64]]:
        found: np.ndarray[Any, np.dtype[np.float64]] = self.twin.ports[f"output{ch}"].samples(start, rate, count)
        return found


def uploaded(lab: Lab) -> None:
    assert lab.ask("SOUR1:DATA:ARB MYWFM,0,0.5,1,-1") == ""


def unknown(lab: Lab) -> None:
    lab.ask("FOO")


def beyond(lab: Lab) -> None:
    lab.ask("FREQ 1E12")


def flooded(lab: Lab) -> None:
    for _ in range(25):
        lab.ask("FOO")
    for _ in range(19):
        lab.ask("SYST:ERR?")


BEFORE: dict[str, Before] = {
    "catalogue of waveforms": uploaded,
    "select the waveform and play it": uploaded,
    "undefined header, then no error": unknown,
    "value clipped to a limit, then no error": beyond,
    "overflow of the error queue": flooded,
}
SHORT = {"minimum": 2}
OPTIONS = {title: SHORT for title in SHEET.titles if "upload" in title or "waveform" in title}
NOT_SIMULATED: dict[str, str] = {}
LEFT_OUT = {
    "SOUR{n}:DATA:SEQ": "the sheet does not describe its block",
    "SOUR{n}:FUNC:ARB:BAL": "the sheet does not name what comes below it",
}


@pytest.mark.parametrize("example", SHEET.examples, ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, OPTIONS, BEFORE, {})


def test_every_example_and_every_command_is_there() -> None:
    check_titles(SHEET, BEFORE, OPTIONS, NOT_SIMULATED)
    check_headers(Generator().twin, SHEET.commands, LEFT_OUT)


class TestUploads:
    SAMPLES = (0.0, 0.5, 1.0, -1.0)

    @pytest.mark.parametrize(("order", "sign"), [("SWAP", "<"), ("NORM", ">")])
    @pytest.mark.parametrize("kind", ["f4", "i2"])
    def test_blocks_become_voltages(self, order: str, sign: str, kind: str) -> None:
        lab = Generator(model="33522B")
        values = np.array(self.SAMPLES) * (32767 if kind == "i2" else 1)
        data = block(
            np.round(values).astype(sign + kind).tobytes() if kind == "i2" else values.astype(sign + kind).tobytes()
        )
        lab.ask(f"FORM:BORD {order}")
        lab.wire.ask(b"SOUR1:DATA:ARB" + (b":DAC" if kind == "i2" else b"") + b" W_1," + data + b"\n")
        assert lab.ask("DATA:ATTR:POIN? W_1;PTP? W_1") == "+4;+1.000000000000000E+00"
        lab.ask("FUNC:ARB W_1;:FUNC ARB;:FUNC:ARB:SRAT 1E6;:VOLT:OFFS 0.1;:VOLT 0.5;:OUTP 1")
        assert lab.error() == 0
        start = lab.twin.origin[1][0]
        got = lab.trace(start + 0.5e-6, 1e6, 8)
        assert got == pytest.approx(np.tile(0.1 + 0.25 * np.array(self.SAMPLES), 2), abs=2e-5)
        assert lab.ask("FUNC:ARB?;:FUNC:ARB:FREQ?;PER?") == '"W_1";+2.500000000000000E+05;+4.000000000000000E-06'

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("DATA:ARB W,0,1.5", -222), ("DATA:ARB:DAC W,40000,0", -222), ("DATA:ARB 1W,0,1", -222),
            ("DATA:ARB W", -109),
            ("DATA:ARB ABCDEFGHIJKLM,0,1", -222), ("DATA:ARB W,#13abc", -161), ("DATA:ARB W,0", -222),
            ("FUNC:ARB NOPE", 786), ('FUNC:ARB "INT:\\NOPE.ARB"', 788), ('MMEM:LOAD:DATA "INT:\\NOPE.ARB"', -256),
            ("SOUR3:FREQ 1", -114), ("*TRG", -211), ("INIT", -213), ("VOLT:LIM:HIGH 0.01;:VOLT:LIM:STAT 1", -221),
        ],
    )  # fmt: skip
    def test_refused(self, text: str, code: int) -> None:
        lab = Generator()
        lab.ask(text)
        assert lab.error() == code
        assert lab.error() == 0
        assert lab.ask("DATA:VOL:CAT?") == '"INT:\\BUILTIN\\EXP_RISE.ARB"'

    def test_blocks_that_are_no_numbers_are_refused(self) -> None:
        lab = Generator()
        lab.wire.ask(b"DATA:ARB W," + block(np.array([np.nan, 0], ">f4").tobytes()) + b"\n")
        assert lab.error() == -222

    def test_names_memory_and_clearing(self) -> None:
        lab = Generator()
        free = int(lab.ask("DATA:VOL:FREE?"))
        assert free == 4 << 20
        lab.ask("DATA:ARB W,0,1;:DATA:ARB w,0,1")
        assert lab.error() == 785
        assert int(lab.ask("DATA:VOL:FREE?")) == free - 2
        lab.twin.points = 10
        lab.ask("DATA:ARB V,0,0,0,0,0,0,0,0,1")
        assert lab.error() == 781
        lab.ask("FUNC:ARB W;:FUNC ARB;:DATA:VOL:CLE")
        assert lab.error() == 787
        assert '"W"' in lab.ask("DATA:VOL:CAT?")
        lab.ask('MMEM:STOR:DATA "INT:\\W.ARB";:FUNC SIN;:DATA:VOL:CLE;:MMEM:LOAD:DATA "INT:\\W.ARB"')
        assert lab.ask("DATA:VOL:CAT?;:SYST:ERR?") == '"INT:\\BUILTIN\\EXP_RISE.ARB","INT:\\W.ARB";+0,"No error"'

    def test_a_large_upload_takes_its_time(self) -> None:
        lab = Generator()
        lab.wire.ask(b"DATA:ARB W," + block(bytes(4_000_000)) + b"\n")
        lab.wire.session.feed(b"*OPC?\n")
        assert lab.wire.session.ready_at() == pytest.approx(1.0)

    def test_both_channels_at_once(self) -> None:
        lab = Generator()
        lab.ask("DATA:ARB2:FORM ABAB;:DATA:ARB2 W,0,1,0.5,-1")
        assert [w["W"][0].round(3).tolist() for w in lab.twin.waves.values()] == [[0, 0.5], [1, -1]]

    def test_too_short_for_the_model(self) -> None:
        lab = Generator(minimum=0)
        lab.ask("DATA:ARB W," + ",".join(["0"] * 31))
        assert lab.error() == -222


class TestLevels:
    def test_dark_at_power_on_and_after_a_reset(self) -> None:
        lab = Generator()
        assert lab.out(1) == lab.out(2) == 0
        lab.ask("FUNC DC;:VOLT:OFFS 1;:OUTP 1")
        assert lab.out() == pytest.approx(1.0)
        lab.ask("OUTP 0")
        assert lab.out() == 0
        lab.ask("OUTP 1;*RST")
        assert lab.out() == 0
        assert lab.ask("OUTP?;:FUNC?;:VOLT?") == "0;SIN;+1.000000000000000E-01"

    def test_a_held_output_stays_on(self) -> None:
        lab = Generator()
        lab.ask("FUNC DC;:VOLT:OFFS 1;:OUTP 1")
        lab.twin.faults.add("stay-on")
        lab.ask("OUTP 0")
        assert lab.ask("OUTP?") == "1"
        assert lab.out() == pytest.approx(1.0)

    def test_overload_switches_off(self) -> None:
        lab = Generator()
        lab.ask("FUNC DC;:VOLT:OFFS 1;:OUTP 1")
        lab.twin.faults.add("interlock")
        assert lab.out() == 0
        assert lab.ask("STAT:QUES:COND?;:OUTP?") == "+1;0"

    def test_load_changes_what_is_shown_and_not_what_leaves(self) -> None:
        lab = Generator()
        lab.ask("FUNC DC;:VOLT:OFFS 1;:OUTP 1;:OUTP:LOAD INF")
        assert lab.out() == pytest.approx(1.0)
        assert lab.ask("VOLT:OFFS?;:VOLT? MAX") == "+2.000000000000000E+00;+2.000000000000000E+01"
        lab.twin.termination = math.inf
        assert lab.out() == pytest.approx(2.0)

    def test_amplitude_and_offset_share_five_volts(self) -> None:
        lab = Generator()
        lab.ask("VOLT:OFFS 4;:VOLT 4")
        assert lab.error() == -221
        assert float(lab.ask("VOLT?")) == pytest.approx(2.0)
        lab.ask("VOLT:OFFS 4.5")
        assert lab.error() == -221
        assert float(lab.ask("VOLT:OFFS?")) == pytest.approx(4.0)
        lab.ask("VOLT:LOW -1;HIGH 2")
        assert lab.ask("SYST:ERR?") == '+0,"No error"'
        assert float(lab.ask("VOLT?")) == pytest.approx(3.0)
        assert float(lab.ask("VOLT:OFFS?")) == pytest.approx(0.5)
        lab.ask("VOLT:LOW 3")
        assert lab.error() == -221

    def test_units_of_the_amplitude(self) -> None:
        lab = Generator()
        lab.ask("VOLT 1 VRMS")
        assert float(lab.ask("VOLT?")) == pytest.approx(2 * math.sqrt(2))
        assert float(lab.ask("VOLT:UNIT DBM;:VOLT?")) == pytest.approx(13.0103, abs=1e-4)
        lab.ask("VOLT 0;:VOLT:UNIT VPP")
        assert float(lab.ask("VOLT?")) == pytest.approx(0.632456, abs=1e-6)
        lab.ask("OUTP:LOAD INF;:VOLT:UNIT DBM")
        assert lab.error() == -221

    def test_limits_protect(self) -> None:
        lab = Generator()
        lab.ask("VOLT:LIM:HIGH 0.5;LOW -0.5;STAT 1;:VOLT 3")
        assert lab.error() == -221
        assert float(lab.ask("VOLT?")) == pytest.approx(1.0)
        lab.ask("OUTP 1")
        assert np.abs(lab.trace(0, 1e5, 1000)).max() <= 0.5 + 1e-12
        lab.ask("APPL:ARB 1E6,9,4")
        assert np.abs(lab.trace(0, 1e5, 1000)).max() <= 0.5 + 1e-12

    def test_clipped_values(self) -> None:
        lab = Generator()
        lab.ask("FREQ 1E-9;:PHAS 500")
        assert lab.ask("FREQ?;:PHAS?") == "+1.000000000000000E-06;+3.600000000000000E+02"
        assert lab.ask("SYST:ERR?") == '-222,"Data out of range; value clipped to lower limit"'


class TestShapes:
    @pytest.mark.parametrize("shape", ["SIN", "SQU", "TRI", "RAMP", "PULS", "PRBS", "NOIS", "ARB", "DC"])
    def test_within_the_amplitude(self, shape: str) -> None:
        lab = Generator()
        lab.ask(f"FUNC {shape};:FREQ 5000;:VOLT 2;:OUTP 1")
        got = lab.trace(0.0, 1e6, 4000)
        assert np.abs(got).max() <= 1 + 1e-9
        assert (np.ptp(got) > 0.9) == (shape != "DC")

    def test_frequency_changes_keep_the_phase(self) -> None:
        lab = Generator()
        lab.ask("FREQ 10;:VOLT 2;:OUTP 1")
        lab.after(0.0333)
        before = lab.out()
        lab.ask("FREQ 1000")
        assert lab.out() == pytest.approx(before)
        lab.ask("PHAS:SYNC")
        assert lab.out() == pytest.approx(0.0, abs=1e-9)

    def test_noise_is_a_function_of_time(self) -> None:
        lab = Generator()
        lab.ask("FUNC NOIS;:VOLT 6;:OUTP 1")
        got = lab.trace(1.0, 1e6, 20_000)
        assert np.array_equal(got, lab.trace(1.0, 1e6, 20_000))
        assert abs(got.std() - 1.0) < 0.04
        assert abs(got.mean()) < 0.04


class TestTriggers:
    def burst(self, lab: Generator, source: str) -> None:
        lab.ask(f"FUNC SQU;:FREQ 1000;:VOLT 2;:BURS:STAT 1;NCYC 2;:TRIG:SOUR {source};:OUTP 1")

    def test_bus(self) -> None:
        lab = Generator()
        self.burst(lab, "BUS")
        lab.ask("BURS:PHAS 180")
        assert np.all(lab.trace(0.0, 1e4, 100) == -1)
        lab.after(1.0)
        lab.ask("TRIG:DEL 1E-3;*TRG")
        got = lab.trace(1.00005, 1e4, 50)
        assert np.all(got[:10] == -1)
        assert got[10:30].tolist() == ([-1.0] * 5 + [1.0] * 5) * 2
        assert np.all(got[30:] == -1)

    def test_timer_with_a_count(self) -> None:
        lab = Generator()
        self.burst(lab, "TIM")
        lab.ask("INIT:CONT 0;:TRIG:TIM 0.01;COUN 3;:BURS:PHAS 180;:ABOR")
        assert np.all(lab.trace(0.0, 1e4, 100) == -1)
        lab.ask("INIT")
        got = lab.trace(0.00005, 1e4, 600)
        assert (got > 0).sum() == 3 * 10

    def test_external_and_gate(self) -> None:
        lab = Generator()
        self.burst(lab, "EXT")
        lab.ask("BURS:PHAS 180")
        assert np.all(lab.trace(0.0, 1e4, 500) == -1)
        lab.twin.external.connect(lambda t: np.where((t % 0.02 > 0.005) & (t % 0.02 < 0.0145), 5.0, 0.0))
        got = lab.trace(0.00005, 1e4, 400)
        assert (got > 0).sum() == 2 * 10
        assert got[:55].max() == -1
        lab.ask("BURS:MODE GAT")
        assert 80 <= (lab.trace(0.00005, 1e4, 400) > 0).sum() <= 110

    def test_one_sample_a_trigger(self) -> None:
        lab = Generator()
        lab.ask("DATA:ARB W,0,1,-1;:FUNC:ARB W;:FUNC:ARB:ADV TRIG;:FUNC ARB;:VOLT 2;:TRIG:SOUR BUS;:OUTP 1")
        seen = []
        for _ in range(4):
            seen.append(round(lab.out(), 3))
            lab.after(1.0)
            lab.ask("*TRG")
        assert seen == [0, 1, -1, 0]


def test_reference() -> None:
    lab = Generator()
    assert lab.ask("ROSC:SOUR EXT;:ROSC:SOUR:CURR?;:STAT:QUES:COND?") == "INT;+32"
    lab = Generator(reference=True)
    assert lab.ask("ROSC:SOUR EXT;:ROSC:SOUR:CURR?;:STAT:QUES:COND?") == "EXT;+0"


def test_models() -> None:
    with pytest.raises(InputError, match="no model"):
        Generator(model="33500")
    assert Generator(model="33511B").ask("FREQ? MAX;:FUNC:ARB:SRAT? MAX").startswith("+2.000000000000000E+07;+1.6")


PIECES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [b"\n", b";", b"DATA:ARB W,", b"#18", b"VOLT ", b"DBM", b"1E999", b"-1", b"INF", b"OUTP 1\n", b"FUNC ",
         b"NOIS\n", b"FUNC:ARB W\n", b"FUNC ARB\n", b"BURS:STAT 1\n", b"*TRG\n", b"TRIG:SOUR EXT\n", b"FREQ MAX\n",
         b"APPL:ARB ", b"FUNC:ARB:PER ", b"VOLT:OFFS ", b"3\n", b"VOLT:HIGH ", b"OUTP:LOAD ", b"VOLT:LIM:HIGH ",
         b"VOLT:LIM:STAT 1\n"]
    ),
)  # fmt: skip


def test_any_bytes() -> None:
    check_fuzz(NAME, PIECES, minimum=2)


def test_pymeasure() -> None:
    from pymeasure.instruments.agilent import Agilent33500

    bench = Bench(seed=2, clock=ManualClock())
    twin: Any = bench.add(NAME, "awg", model="33522B", minimum=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        awg: Any = Agilent33500("TCPIP0::awg::inst0::INSTR", visa_library=SimVisaLibrary.for_bench(bench))
    awg.shape = "SQU"
    awg.frequency, awg.amplitude, awg.offset = 2e3, 0.5, 0.1
    assert (awg.shape, awg.frequency, awg.amplitude, awg.offset) == ("SQU", 2e3, 0.5, 0.1)
    awg.ch_2.output = "on"
    assert awg.ch_2.output
    awg.ch_1.data_volatile_clear()
    awg.ch_1.data_arb("test", range(-10000, 10000, +20), data_format="DAC")
    awg.ch_1.arb_file = "test"
    awg.ch_1.arb_srate = 1e6
    awg.ch_1.shape = "ARB"
    awg.phase_sync()
    assert awg.ch_1.arb_srate == 1e6
    assert awg.check_errors() == []
    assert twin.waves[1]["TEST"][0].size == 1000
    awg.adapter.close()
