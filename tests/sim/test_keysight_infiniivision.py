"""The InfiniiVision's twin: the sheet's examples, triggers, clipping, points, segments, formats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from labqdl.errors import InputError
from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_fuzz, check_headers, check_titles, play_example

NAME = "keysight-infiniivision"
SHEET = load(NAME)
Floats = NDArray[np.float64]


class Scope(Lab):
    def __init__(self, **options: object) -> None:
        super().__init__(NAME, **options)

    def sine(self, amplitude: float = 1.0, frequency: float = 1e4, ch: int = 1, since: float = -1e9) -> None:
        def volts(t: Floats) -> Floats:
            return np.where(t >= since, amplitude * np.sin(2 * np.pi * frequency * t), 0.0)

        self.twin.inputs[ch].connect(volts)

    def curve(self) -> tuple[Floats, Floats]:
        """Times and volts by the sheet's scaling; WORD, LSB first, unsigned."""
        fields = [float(x) for x in self.ask(":WAV:FORM WORD;BYT LSBF;UNS 1;PRE?").split(",")]
        got = self.wire.ask(b":WAV:DATA?\n")
        assert got[:2] == b"#8"
        codes = np.frombuffer(got[10:-1], "<u2").astype(float)
        assert codes.size == fields[2]
        return (np.arange(codes.size, dtype=np.float64) - fields[6]) * fields[4] + fields[5], (
            codes - fields[9]
        ) * fields[7] + fields[8]


def four_volts(lab: Lab) -> None:
    """The record of the sheet: 0, 10 mV, -10 mV and too much, 2 ns apart, 1 us before the trigger."""

    def volts(t: Floats) -> Floats:
        slot = np.clip(np.floor((t - (1e-3 - 1e-6)) / 2e-9 + 0.05), 0, 3).astype(int)
        return np.asarray(np.array([0.0, 0.01, -0.01, 5.0])[slot] * (t < 1e-3 - 1e-9))

    lab.twin.inputs[1].connect(volts)
    lab.twin.external.connect(lambda t: (t >= 1e-3) * 1.0)
    lab.ask(":TIM:RANG 8E-9;POS -0.996E-6;:CHAN1:RANG 1.024;:TRIG:SWE NORM;SOUR EXT;LEV 0.5")
    lab.ask(":WAV:FORM WORD;BYT LSBF;POIN 4;:DIG CHAN1;*OPC?")
    assert lab.ask(":SYST:ERR?") == '+0,"No error"'


def thousand(lab: Lab) -> None:
    lab.ask(":TIM:RANG 2E-6;:CHAN1:RANG 1.024;:WAV:FORM WORD;POIN 1000;:DIG CHAN1")


def sent(text: str) -> Before:
    def send(lab: Lab) -> None:
        lab.ask(text)

    return send


BEFORE: dict[str, Before] = {
    "channel range": sent(":CHAN1:RANG 8"),
    "channel impedance": sent(":CHAN1:IMP FIFT"),
    "trigger event": sent(":DIG CHAN1"),
    "waveform format": sent(":WAV:FORM WORD"),
    "preamble": thousand,
    "block of four words": four_volts,
    "record of four points with its preamble": four_volts,
    "single shot polled, then forced": sent(":TRIG:SWE NORM"),
}
OPTIONS = {
    title: {"noise": 0.0, "bits": 12} for title in ("block of four words", "record of four points with its preamble")
}
PAUSES = {"single shot polled, then forced": (0.0, 0.0, 1.0, 1.0)}
NOT_SIMULATED: dict[str, str] = {}


@pytest.mark.parametrize("example", SHEET.examples, ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, OPTIONS, BEFORE, PAUSES)


def test_every_example_and_every_command_is_there() -> None:
    check_titles(SHEET, BEFORE, OPTIONS, PAUSES, NOT_SIMULATED)
    check_headers(Scope().twin, SHEET.commands)


class TestAcquisition:
    def test_edge_at_the_trigger(self) -> None:
        for slope, sign in (("POS", 1), ("NEG", -1)):
            lab = Scope()
            lab.sine()
            lab.ask(f":CHAN1:RANG 4;:TIM:RANG 1E-3;:TRIG:SWE NORM;SLOP {slope};LEV 0.5;:WAV:POIN 10000;:DIG CHAN1")
            assert lab.ask("*OPC?") == "1"
            t, volts = lab.curve()
            assert t[0] == pytest.approx(-5e-4)
            around = volts[np.abs(t) < 5e-6]
            assert around.mean() == pytest.approx(0.5, abs=0.05)
            assert np.polyfit(t[np.abs(t) < 5e-6], around, 1)[0] * sign > 0

    def test_a_single_shot_by_the_clock(self) -> None:
        lab = Scope()
        lab.sine(since=0.5)
        lab.ask(":CHAN1:RANG 4;:TRIG:SWE NORM;LEV 0.5;:SING")
        assert lab.ask(":OPER:COND?;:TER?") == "+8;+0"
        lab.after(0.4)
        assert lab.ask(":OPER:COND?;:TER?") == "+8;+0"
        lab.after(0.1001)
        assert lab.ask(":OPER:COND?;:TER?") == "+8;+1"
        lab.after(1e-3)
        assert lab.ask(":OPER:COND?;:TER?") == "+0;+0"
        _, volts = lab.curve()
        assert np.abs(volts[:450]).max() < 0.2
        assert np.abs(volts[550:]).max() > 0.8

    def test_without_a_trigger(self) -> None:
        lab = Scope()
        lab.ask(":TRIG:SWE NORM;:DIG CHAN1")
        lab.wire.session.feed(b"*OPC?\n")
        assert lab.wire.session.ready_at() == np.inf
        lab.wire.session.clear()
        assert lab.ask(":OPER:COND?") == "+0"
        lab.ask(":SING;:WAV:DATA?")
        assert lab.error() == -230
        lab.ask(":TRIG:FORC")
        lab.after(1e-3)
        assert lab.ask(":OPER:COND?;:TER?") == "+0;+1"
        lab.ask(":TRIG:SWE AUTO;:DIG CHAN1")
        lab.wire.session.feed(b"*OPC?\n")
        assert lab.wire.session.ready_at() == pytest.approx(lab.clock.monotonic() + 0.04 + 1e-3, abs=1e-3)

    def test_running_shows_the_latest(self) -> None:
        lab = Scope(noise=0.0)
        lab.twin.inputs[1].connect(lambda t: np.floor(t))
        lab.ask(":CHAN1:RANG 16")
        for second in (1, 3):
            lab.after(second + 0.5 - lab.clock.monotonic())
            assert lab.curve()[1].mean() == pytest.approx(second, abs=0.1)
        lab.ask(":STOP")
        lab.after(2.0)
        assert lab.curve()[1].mean() == pytest.approx(3, abs=0.1)
        assert lab.ask(":OPER:COND?") == "+0"

    def test_external_trigger(self) -> None:
        lab = Scope()
        lab.twin.external.connect(lambda t: (t > 0.25) * 2.0)
        lab.ask(":TRIG:SOUR EXT;SWE NORM;LEV 1;:DIG CHAN1;*OPC?")
        assert lab.clock.monotonic() == pytest.approx(0.2505, abs=1e-4)

    def test_segments(self) -> None:
        lab = Scope()
        lab.sine(frequency=100.0)
        lab.ask(":CHAN1:RANG 4;:TRIG:SWE NORM;LEV 0.5;:ACQ:MODE SEGM;SEGM:COUN 4;:DIG CHAN1;*OPC?")
        tags = [float(lab.ask(f":ACQ:SEGM:IND {n};:WAV:SEGM:TTAG?")) for n in range(1, 5)]
        assert tags == pytest.approx([0, 0.01, 0.02, 0.03], abs=1e-5)


class TestWaveforms:
    @pytest.mark.parametrize("form", ["BYTE", "WORD", "ASC"])
    @pytest.mark.parametrize("unsigned", [0, 1])
    @pytest.mark.parametrize("order", ["LSBF", "MSBF"])
    def test_formats(self, form: str, unsigned: int, order: str) -> None:
        lab = Scope(noise=0.0)
        lab.twin.inputs[1].connect(lambda t: 0.3 + 0 * t)
        lab.ask(f":CHAN1:RANG 2;OFFS 0.1;:WAV:FORM {form};UNS {unsigned};BYT {order};POIN 100;:DIG CHAN1")
        fields = [float(x) for x in lab.ask(":WAV:PRE?").split(",")]
        got = lab.wire.ask(b":WAV:DATA?\n")[10:-1]
        if form == "ASC":
            volts = np.array(got.split(b","), dtype=float)
        else:
            kind = ("<" if order == "LSBF" else ">") + ("u" if unsigned else "i") + ("1" if form == "BYTE" else "2")
            volts = (np.frombuffer(got, kind).astype(float) - fields[9]) * fields[7] + fields[8]
        assert volts.size == 100
        assert volts == pytest.approx(0.3, abs=2 / 256)

    def test_clipping_and_steps(self) -> None:
        lab = Scope(noise=0.0)
        lab.sine(amplitude=2.0)
        lab.ask(":CHAN1:RANG 2;:DIG CHAN1")
        _, volts = lab.curve()
        assert volts.min() == pytest.approx(-1.0)
        assert volts.max() == pytest.approx(1.0, abs=1e-4)
        inner = volts[(volts > -1) & (volts < 0.999)]
        assert np.allclose(inner / (2 / 256), np.round(inner / (2 / 256)))

    def test_points_decimate(self) -> None:
        lab = Scope()
        lab.ask(":TIM:RANG 1E-2;:DIG CHAN1;:STOP")
        assert lab.ask(":ACQ:SRAT?;POIN?") == "+4.00000E+08;+4000000"
        lab.ask(":WAV:POIN MAX")
        assert lab.ask(":WAV:POIN?") == "+62500"
        assert lab.ask(":WAV:POIN:MODE RAW;:WAV:POIN?") == "+4000000"
        lab.ask(":WAV:POIN 500")
        fields = lab.ask(":WAV:PRE?").split(",")
        assert fields[2] == "+500"
        assert float(fields[4]) == pytest.approx(2e-5)

    def test_noise_is_repeatable_and_its_own(self) -> None:
        made = []
        for _ in range(2):
            lab = Scope(bits=12)
            lab.ask(":CHAN1:RANG 1;:WAV:POIN 10000;:DIG CHAN1,CHAN2")
            made.append(lab.curve()[1])
            assert np.array_equal(made[-1], lab.curve()[1])
        assert np.array_equal(made[0], made[1])
        assert made[0].std() == pytest.approx(1e-3, rel=0.1)
        lab.ask(":DIG CHAN1,CHAN2")
        assert not np.array_equal(made[0], lab.curve()[1])

    def test_probe_inversion_and_coupling(self) -> None:
        lab = Scope(noise=0.0)
        lab.twin.inputs[1].connect(lambda t: 0.1 + 0 * t)
        lab.ask(":CHAN1:PROB 10;:CHAN1:RANG 8;INV 1;:DIG CHAN1")
        assert lab.curve()[1].mean() == pytest.approx(-1.0, abs=0.04)
        lab.ask(":CHAN1:COUP AC;:DIG CHAN1")
        assert lab.curve()[1].mean() == pytest.approx(0.0, abs=0.04)

    @pytest.mark.parametrize(
        ("text", "code"),
        [(":WAV:SOUR CHAN9", -224), (":WAV:SOUR FUNC;:WAV:DATA?", -221), (":CHAN5:DISP 1", -114), (":FOO", -113),
         (":CHAN1:RANG 1E3", -222), (":DIG CHAN1;:WAV:SOUR CHAN2;:WAV:PRE?", -221), (":TRIG:LEV 1E9", -222)],
    )  # fmt: skip
    def test_refused(self, text: str, code: int) -> None:
        lab = Scope()
        assert lab.ask(text) == ""
        assert lab.error() == code


def test_settings_and_models() -> None:
    lab = Scope()
    lab.ask(":CHAN2:SCAL 0.1;:TIM:SCAL 1E-6;:TRIG:LEV 0.2,CHAN2;:SYST:DSP 'hello'")
    assert (
        lab.ask(":CHAN2:RANG?;:TIM:RANG?;:TRIG:LEV?;LEV? CHAN2")
        == "+8.00000E-01;+1.00000E-05;+0.00000E+00;+2.00000E-01"
    )
    assert lab.ask(":SYST:ERR? STR;:SYST:ERR? NUMB") == '+0,"No error";+0'
    lab.sine(0.2)
    lab.after(1.0)
    assert float(lab.ask(":AUT;*OPC?;:CHAN1:RANG?").split(";")[1]) == pytest.approx(0.5, rel=0.01)
    assert lab.ask(":SYST:PRES;:CHAN1:RANG?") == "+4.00000E+01"
    lab = Scope(model="DSOX1102G")
    lab.ask(":CHAN1:IMP FIFT")
    assert lab.error() == -221
    lab.ask(":CHAN3:DISP 1")
    assert lab.error() == -114
    lab.ask(":WAV:POIN 600")
    assert lab.ask(":WAV:POIN?") == "+1000"
    with pytest.raises(InputError, match="no model"):
        Scope(model="TDS")


PIECES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [b"\n", b";", b":DIG CHAN1\n", b":SING\n", b":TRIG:FORC\n", b":WAV:POIN 10\n", b":WAV:PRE?\n", b":WAV:DATA?\n",
         b":TRIG:SWE NORM\n", b":TIM:RANG ", b"MIN\n", b"1E-6\n", b":ACQ:MODE SEGM\n", b":RUN\n", b":STOP\n",
         b":TER?\n", b":ACQ:TYPE AVER\n", b":WAV:FORM ASC\n", b":TIM:POS 100\n", b":CHAN1?\n", b"*RST\n",
         b":CHAN1:PROB 0.1\n"]
    ),
)  # fmt: skip


def test_any_bytes() -> None:
    check_fuzz(NAME, st.one_of(PIECES, st.just(b":TIM:RANG 1E-6\n")), examples=60)
