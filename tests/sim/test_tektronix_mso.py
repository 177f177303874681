"""The MSO's twin: the sheet's examples, headers, events, encodings, acquisition by the clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_fuzz, check_headers, check_titles, play_example

NAME = "tektronix-mso"
SHEET = load(NAME)
Floats = NDArray[np.float64]


class Scope(Lab):
    def __init__(self, **options: object) -> None:
        super().__init__(NAME, **options)
        self.ask("HEAD 0;:VERB 0")

    def events(self) -> str:
        self.ask("*ESR?")
        return self.ask("ALLE?")

    def shot(self) -> None:
        assert self.ask("ACQ:STATE 0;:ACQ:STOPA SEQ;:ACQ:STATE 1;*OPC?") == "1"

    def sine(self, amplitude: float = 0.3, frequency: float = 1e6, since: float = -1e9) -> None:
        self.twin.inputs[1].connect(lambda t: np.where(t >= since, amplitude * np.sin(2 * np.pi * frequency * t), 0.0))


def sent(text: str) -> Before:
    def send(lab: Lab) -> None:
        lab.ask(text)

    return send


def five_points(lab: Lab) -> None:
    def volts(t: Floats) -> Floats:
        slot = np.clip(np.floor((t - 1e-3) * 250e6 + 0.05), 0, 4).astype(int)
        return np.asarray(np.array([0.0, 0.1, -0.1, 0.5, -1.0])[slot] * (t >= 1e-3 - 1e-12))

    lab.twin.inputs[1].connect(volts)
    lab.twin.auxiliary.connect(lambda t: 2.0 * (t >= 1e-3))
    lab.ask("HEAD 0;:TRIG:A:EDGE:SOU AUX;:TRIG:A:MOD NORM;:HOR:POS 0;:DAT:ENC SRI;WID 2;STOP 5")
    assert lab.ask("ACQ:STOPA SEQ;:ACQ:STATE 1;*OPC?") == "1"


def four_points(lab: Lab) -> None:
    five_points(lab)
    lab.twin.inputs[1].connect(
        lambda t: np.array([0.0, 0.1, -0.1, 1.0])[np.clip(np.floor((t - 1.5e-3) * 250e6 + 0.05), 0, 3).astype(int)]
    )
    lab.twin.auxiliary.connect(lambda t: 2.0 * (t >= 1.5e-3))
    assert lab.ask("DAT:WID 1;STOP 4;:ACQ:STATE 1;*OPC?") == "1"


def as_text(header: str) -> Before:
    def before(lab: Lab) -> None:
        lab.twin.inputs[1].connect(lambda t: -0.44 + 0 * t)
        lab.ask(f"HEAD {header};:DAT:ENC ASCI;STOP 2;:ACQ:STOPA SEQ")
        lab.after(1.0)

    return before


BEFORE: dict[str, Before] = {
    "description of the waveform": sent("HEAD 0"),
    "curve of five points, two bytes each": five_points,
    "curve of four points, one byte each": four_points,
    "curve as text with its header": as_text("1"),
    "curve as text": as_text("0"),
    "acquiring, then over": sent("HEAD 0;:ACQ:STOPA SEQ;:ACQ:STATE 1"),
    "event of an unknown command": sent("HEAD 0\nfoo\n*ESR?\n"),
}
SILENT = {"noise": 0.0}
OPTIONS = {title: SILENT for title in SHEET.titles if title.startswith("curve")}
NOT_SIMULATED: dict[str, str] = {}
LEFT_OUT = {"CURVES": "an endless stream would have to come from something that ticks"}


@pytest.mark.parametrize("example", SHEET.examples, ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, OPTIONS, BEFORE, {})


def test_every_example_and_every_command_is_there() -> None:
    check_titles(SHEET, BEFORE, OPTIONS, NOT_SIMULATED)
    check_headers(Scope().twin, SHEET.commands, LEFT_OUT)


class TestHeadersAndEvents:
    def test_headers(self) -> None:
        lab = Lab(NAME)
        assert lab.ask("CH1:SCA?;:HEAD?;*OPC?") == ":CH1:SCALE 1.0E-1;:HEADER 1;1"
        assert lab.ask("HEAD OFF;:CH1:SCALE?") == "1.0E-1"
        assert lab.ask("*RST;:HEAD?") == "0"

    def test_events_need_the_register_first(self) -> None:
        lab = Scope()
        lab.ask("*CLS;:NOPE")
        assert lab.ask("EVENT?") == "1"
        assert lab.ask("*ESR?") == "32"
        assert lab.ask("EVM?") == '113,"Undefined header; unrecognized command - :NOPE"'
        assert lab.ask("EVM?") == '0,"No events to report - queue empty"'
        lab.ask("CH1:SCA 99;:HOR:MODE:SAMPLER 1E9;*ESR?")
        assert lab.ask("ALLE?") == '222,"Data out of range",221,"Settings conflict"'

    def test_a_channel_that_is_off(self) -> None:
        lab = Scope()
        lab.ask("DAT:SOU CH2")
        assert lab.ask("CURV?") == ""
        assert lab.events() == '2244,"Waveform requested is not ON"'
        lab.ask("DIS:GLO:CH2:STATE 1")
        lab.shot()
        assert lab.wire.ask(b"CURV?\n").startswith(b"#510000")
        assert lab.ask("SEL:CH2?") == "1"


class TestCurves:
    @pytest.mark.parametrize("encoding", ["ASCI", "RIB", "RPB", "SRI", "SRP", "FPB", "SFP"])
    @pytest.mark.parametrize("width", [1, 2])
    def test_encodings(self, encoding: str, width: int) -> None:
        lab = Scope(noise=0.0)
        lab.twin.inputs[1].connect(lambda t: 0.25 + 0 * t)
        lab.ask(f"CH1:OFFS 0.1;POS -1;:DAT:ENC {encoding};WID {width};STAR 11;STOP 20")
        lab.shot()
        form, order, count, size = lab.ask("WFMO:BN_F?;BYT_O?;NR_P?;BYT_N?").split(";")
        assert count == "10"
        got = lab.wire.ask(b"CURV?\n")
        if encoding == "ASCI":
            codes = np.array(got.split(b","), dtype=float)
        else:
            head = 2 + int(got[1:2])
            kind = {"RI": "i", "RP": "u", "FP": "f"}[form]
            codes = np.frombuffer(got[head:-1], f"{'<' if order == 'LSB' else '>'}{kind}{size}").astype(float)
        multiple, offset, zero = (float(x) for x in lab.ask("WFMO:YMU?;YOF?;YZE?").split(";"))
        assert codes.size == 10
        assert (codes - offset) * multiple + zero == pytest.approx(0.25, abs=4.1e-3 if width == 1 else 3e-4)

    def test_the_trigger_is_at_its_point(self) -> None:
        for slope, sign in (("RIS", 1), ("FALL", -1)):
            lab = Scope()
            lab.sine()
            lab.ask(f"DAT:ENC SRI;WID 2;:TRIG:A:EDGE:SLO {slope};:TRIG:A:LEV:CH1 0.1;:TRIG:A:MOD NORM")
            lab.shot()
            got = lab.wire.ask(b"CURV?\n")
            volts = np.frombuffer(got[7:-1], "<i2") * float(lab.ask("WFMO:YMU?"))
            point = int(lab.ask("WFMO:PT_O?"))
            assert point == 5000
            assert volts[point - 2 : point + 3].mean() == pytest.approx(0.1, abs=0.02)
            assert (volts[point + 5] - volts[point - 5]) * sign > 0
            assert float(lab.ask("WFMO:XIN?")) == pytest.approx(4e-9)

    def test_two_sources_and_the_whole_waveform(self) -> None:
        lab = Scope()
        lab.ask("DIS:GLO:CH2:STATE 1;:DAT:SOU CH1,CH2;ENC RIB;WID 1;STOP 4")
        lab.shot()
        got = lab.wire.ask(b"CURV?\n")
        assert len(got) == 2 * 7 + 2
        assert got[7:10] == b",#1"
        assert lab.wire.ask(b"DAT:SOU CH1;:WAVF?\n").count(b";") == 16
        assert lab.ask("WFMO?").count(";") == 15
        assert lab.ask("HEAD 1;:WFMO?").startswith(":WFMOUTPRE:BYT_NR 1;BIT_NR 8;ENCDG BINARY;BN_FMT RI;")

    def test_high_resolution_has_finer_steps(self) -> None:
        seen = []
        for mode in ("SAM", "HIR"):
            lab = Scope()
            lab.ask(f"ACQ:MOD {mode};:DAT:ENC SRI;WID 2")
            lab.shot()
            seen.append(np.unique(np.frombuffer(lab.wire.ask(b"CURV?\n")[7:-1], "<i2")).size)
        assert seen[1] > 5 * seen[0]


class TestAcquisition:
    def test_a_single_shot_by_the_clock(self) -> None:
        lab = Scope()
        lab.sine(since=0.5)
        lab.ask("TRIG:A:MOD NORM;:TRIG:A:LEV:CH1 0.1;:ACQ:STOPA SEQ;:ACQ:STATE 1")
        lab.after(0.5)
        assert lab.ask("ACQ:STATE?") == "1"
        lab.after(1e-4)
        assert lab.ask("ACQ:STATE?") == "0"

    def test_without_a_trigger(self) -> None:
        lab = Scope()
        lab.ask("TRIG:A:MOD NORM;:ACQ:STOPA SEQ;:ACQ:STATE 1")
        lab.wire.session.feed(b"*OPC?\n")
        assert lab.wire.session.ready_at() == np.inf
        lab.wire.session.clear()
        assert lab.ask("ACQ:STATE?") == "1"
        lab.ask("TRIG FORC")
        lab.after(1e-3)
        assert lab.ask("ACQ:STATE?;*OPC?") == "0;1"

    def test_horizontal(self) -> None:
        lab = Scope()
        lab.ask("HOR:MOD:SCA 1E-6")
        assert lab.ask("HOR:SAMPLER?;:HOR:RECO?") == "1.0E+9;10000"
        lab.ask("HOR:MOD MAN;:HOR:MODE:SAMPLER 1E8;:HOR:RECO 5000")
        assert lab.ask("HOR:MOD:SCA?;:HOR:MODE?") == "5.0E-6;MANUAL"
        lab.shot()
        assert lab.ask("DAT:STOP 10000000000;:WFMO:NR_P?") == "5000"

    def test_measurements(self) -> None:
        lab = Scope()
        lab.sine(0.3, 2e6)
        lab.ask("MEASU:ADDMEAS FREQUENCY;:MEASU:ADDMEAS PK2PK")
        lab.shot()
        got = lab.ask("MEASU:MEAS1:RESU:CURR:MEAN?;:MEASU:MEAS2:RESU:CURR:MEAN?").split(";")
        assert [float(x) for x in got] == pytest.approx([2e6, 0.6], rel=0.05)


PIECES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [b"\n", b";", b"HEAD 1\n", b"ACQ:STATE 1\n", b"ACQ:STOPA SEQ\n", b"TRIG FORC\n", b"CURV?\n", b"WFMO?\n",
         b"TRIG:A:MOD NORM\n", b"HOR:RECO 1000\n", b"DAT:STOP ", b"5\n", b"DAT:STAR 99999\n", b"DAT:ENC ASCI\n",
         b"*OPC?\n", b"*RST\n", b"DAT:SOU CH1,CH2\n", b"HOR:MOD MAN\n", b"CH1:SCA 1E-3\n", b"ALLE?\n", b"WAVF?\n"]
    ),
)  # fmt: skip


def test_any_bytes() -> None:
    check_fuzz(NAME, PIECES, examples=60)
