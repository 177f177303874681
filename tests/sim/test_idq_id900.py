"""The time controller's twin: the sheet's examples, counters, coincidences, histograms, generators, parser."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from labqdl_sim.ports import PulseIn, VoltageOut
from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_flood, check_fuzz, check_titles, play_example

NAME = "idq-id900"
SHEET = load(NAME)


def rates(lab: Lab, **ports: float) -> Lab:
    for name, rate in ports.items():
        port = lab.twin.ports[name]
        assert isinstance(port, PulseIn)
        port.connect(rate)
    return lab


def counting(lab: Lab) -> None:
    rates(lab, input1=12345.0, input2=23456.0)
    lab.after(3.0)


def low(lab: Lab) -> None:
    lab.ask("DEVI:RES LOWRES")


def delayed(lab: Lab) -> None:
    lab.ask("DELA1:VALU 1000")


def four_bins(lab: Lab) -> None:
    lab.ask("HIST1:BCOU 4")


def playing(lab: Lab) -> None:
    lab.ask("REC:TRIG:ARM:MODE MANU;:REC:ENAB ON;NUM 1;DUR 1000000000000;PLAY")


BEFORE: dict[str, Before] = {
    "two counts in one message": counting,
    "low resolution": low,
    "delay": delayed,
    "histogram": four_bins,
    "acquisition timer is playing": playing,
}
NOT_SIMULATED = {"time stamp with its reference index": "a piece of a file that the data-link service writes"}
_OTHER_SERVICE = {"start-save", "start-stream", "stop", "activate", "disactivate"}


@pytest.mark.parametrize("example", [e for e in SHEET.examples if e.title not in NOT_SIMULATED], ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, {}, BEFORE, {})


def test_every_example_and_every_command_is_there() -> None:
    check_titles(SHEET, BEFORE, NOT_SIMULATED)
    lab = Lab(NAME)
    assert set(SHEET.commands) >= _OTHER_SERVICE
    for command in SHEET.commands:
        if command in _OTHER_SERVICE:
            continue
        word = command
        for suffix in ("{n}", "{k}", "{m}", "{i}"):
            word = word.replace(suffix, "1")
        word += ":LINK" if word.endswith("WIND:END") else ""
        assert {lab.ask(f"{word}?"), lab.ask(word)} != {"SCPI_ERR_UNDEFINED_HEADER"}, command


class TestSettings:
    def test_forms(self) -> None:
        lab = Lab(NAME)
        assert lab.ask("*IDN?").startswith("ID Quantique,ID900,")
        assert lab.ask("input1:threshold -0.4V;thre?") == "-0.4V"
        assert lab.ask("INPUT2:ENAB OFF;ENABL?") == "OFF"
        assert lab.ask("DELAY5:VALUE -20TB;VALUE?") == "-20TB"
        assert lab.ask("DELA5:LINK INPUT3;:DELA5:INPO:LINK?") == "INPU3"
        assert lab.ask("DEVI:CONFI:LOAD COUNT;:TSCO6:FIR:LINK?") == "DELA6"
        assert lab.ask("TSCO6:WIND:ENAB?;BEGI:LINK?;:TSCO24:FIRST:LINK?") == "ON\nDELA1\nTSCO5"
        assert lab.ask("STAR:COUP AC;COUP?;EDGE FALLING;EDGE?") == "AC\nFALLING"
        assert lab.ask("REC:NUM INF;NUM?") == "INF"

    @pytest.mark.parametrize(
        "text",
        ["INPU5:COUN?", "INPU1:THRE 2.6V", "INPU1:COUP XX", "NOPE?", "HIST1:BCOU 16385", "INPU1:COUN:INTE 0",
         "DELA9:VALU 1",
         "DELA1:LINK FOO", "GEN1:PLAY", "REC:PLAY", "SYST:ERR?", "HIST1:BCOU", "INPU1:THRE 1W", "INP1:COUN?"],
    )  # fmt: skip
    def test_errors_are_replies(self, text: str) -> None:
        reply = Lab(NAME).ask(text)
        assert reply.startswith("SCPI_ERR_")
        assert "\n" not in reply

    def test_an_error_in_the_place_of_a_reply(self) -> None:
        assert Lab(NAME).ask("INPU1:THRE 9V;THRE?") == "SCPI_ERR_DATA_OUT_OF_RANGE\n0.5V"

    def test_zeromq_gets_an_empty_answer(self) -> None:
        session = Lab(NAME).twin.connect()
        session.feed(b"INPU1:ENAB ON", end=True)
        assert [reply.data for reply in session.replies] == [b""]


class TestCounters:
    def test_gates(self) -> None:
        lab = rates(Lab(NAME), input1=1e4)
        lab.ask("INPU1:COUN:MODE CYCL;INTE 100;RESE")
        assert lab.ask("INPU1:COUN?") == "0"
        lab.after(0.15)
        first = int(lab.ask("INPU1:COUN?"))
        assert first == pytest.approx(1000, abs=200)
        assert int(lab.ask("INPU1:COUN?")) == first
        lab.after(0.1)
        assert int(lab.ask("INPU1:COUN?")) != first
        assert lab.ask("INPU2:COUN?") == "0"

    def test_counts_are_poissonian_and_repeat_with_the_seed(self) -> None:
        def run() -> list[int]:
            lab = rates(Lab(NAME), input1=1e4)
            lab.ask("INPU1:COUN:INTE 10")
            counts = []
            for _ in range(400):
                lab.after(0.01)
                counts.append(int(lab.ask("INPU1:COUN?")))
            return counts[1:]

        counts = run()
        assert counts == run()
        assert np.mean(counts) == pytest.approx(100, abs=3)  # 6 sigma
        assert np.var(counts) == pytest.approx(100, rel=0.45)  # 6 sigma

    def test_endless(self) -> None:
        lab = rates(Lab(NAME), input1=1e3)
        lab.ask("INPU1:COUN:MODE ACCU")
        seen = []
        for _ in range(5):
            lab.after(1.0)
            seen.append(int(lab.ask("INPU1:COUN?")))
        assert seen == sorted(seen)
        assert seen[-1] == pytest.approx(5000, abs=500)
        assert lab.ask("INPU1:COUN:RESE;:INPU1:COUN?") == "0"

    def test_a_rate_in_time_thresholds_and_what_is_off(self) -> None:
        lab = Lab(NAME)
        port = lab.twin.ports["input1"]
        assert isinstance(port, PulseIn)
        port.connect(lambda t: 1e4 if t < 1.0 else 0.0)
        lab.after(1.0)
        assert int(lab.ask("INPU1:COUN?")) == pytest.approx(1e4, abs=1000)
        lab.after(1.0)
        assert lab.ask("INPU1:COUN?") == "0"
        port.connect(1e4)
        lab.after(1.0)
        assert int(lab.ask("INPU1:COUN?")) > 9000
        for text in ("INPU1:THRE 1.5V", "INPU1:THRE 0.5V;ENAB OFF"):
            lab.ask(text)
            assert lab.ask("INPU1:COUN?") == "0"

    def test_too_fast(self) -> None:
        lab = rates(Lab(NAME), input1=2e8)
        assert lab.ask("INPU1:HIRES:ERROR?") == "1001"
        rates(lab, input1=1e3)
        assert lab.ask("INPU1:HIRES:ERROR?") == "1001"
        assert lab.ask("INPU1:HIRES:ERROR:CLEAR;:INPU1:HIRES:ERROR?") == "0"


class TestCoincidences:
    def test_accidental_and_true_ones(self) -> None:
        lab = rates(Lab(NAME), input1=1e5, input2=1e5, input3=1e5)
        lab.ask("DEVI:CONF:LOAD COUNT;:DELA6:VALU 1000")
        lab.ask("TSCO6:WIND:BEGI:DELA 500;:TSCO6:WIND:END:DELA 1500")
        lab.ask("TSCO7:WIND:BEGI:DELA 0;:TSCO7:WIND:END:DELA 100000")
        lab.after(1.0)
        assert int(lab.ask("TSCO6:COUN?")) == pytest.approx(10, abs=18)
        assert int(lab.ask("TSCO7:COUN?")) == pytest.approx(1000, abs=200)
        lab.twin.pairs["INPU1", "INPU2"] = (5000.0, 0.0, 50e-12)
        lab.after(1.0)
        assert int(lab.ask("TSCO6:COUN?")) == pytest.approx(5010, abs=450)
        lab.ask("DELA6:VALU 5000")
        lab.after(1.0)
        assert int(lab.ask("TSCO6:COUN?")) < 50

    def test_links_in_a_circle(self) -> None:
        lab = Lab(NAME)
        lab.ask("DELA1:LINK DELA2;:DELA2:LINK DELA1;:TSCO1:FIR:LINK TSCO1;:HIST1:REF:LINK DELA1;:HIST1:STOP:LINK TSCO1")
        lab.after(1.0)
        assert lab.ask("TSCO1:COUN?") == "0"
        assert lab.ask("HIST1:BCOU 2;DATA?") == "[0,0]"


class TestHistograms:
    def data(self, lab: Lab) -> list[int]:
        return [int(word) for word in lab.ask("HIST1:DATA?").strip("[]").split(",")]

    def test_peak_over_background(self) -> None:
        lab = rates(Lab(NAME), start=1e6, input1=1e5)
        lab.twin.pairs["STAR", "INPU1"] = (1e4, 5e-9, 100e-12)
        lab.ask("DELA1:VALU 2000;:HIST1:STOP:LINK DELA1;:HIST1:BCOU 20;BWID 500;MIN 0")
        lab.after(10.0)
        data = self.data(lab)
        assert len(data) == 20
        assert data[0] == pytest.approx(500, abs=140)
        assert data[13] + data[14] == pytest.approx(101_000, rel=0.03)
        lab.after(1.0)
        assert all(later >= earlier for later, earlier in zip(self.data(lab), data, strict=True))
        assert lab.ask("HIST1:FLUS") == ""
        assert self.data(lab) == [0] * 20

    @pytest.mark.parametrize(
        ("begin", "end"),
        [
            ("REC:ENAB ON;DUR 2000000000000;NUM 1;PLAY", "REC:STOP"),
            ("TSGE8:ONES:PWID 2000000000000;:TSGE8:ENAB ON", "TSGE8:ENAB?"),
        ],
    )
    def test_the_timer(self, begin: str, end: str) -> None:
        lab = rates(Lab(NAME), start=1e6, input1=1e6)
        lab.ask("HIST1:BCOU 1;BWID 1000")
        lab.ask(begin)
        lab.after(100.0)
        assert lab.ask("REC:STAG?") == "STOPPED"
        assert self.data(lab)[0] == pytest.approx(2000, abs=280)
        lab.ask(end)

    def test_stopped_by_hand(self) -> None:
        lab = Lab(NAME)
        playing(lab)
        assert lab.ask("REC:STAG?") == "PLAYING"
        assert lab.ask("REC:STOP;STAG?") == "STOPPED"


class TestOutputs:
    def test_pulses(self) -> None:
        lab = Lab(NAME)
        port = lab.twin.ports["output2"]
        assert isinstance(port, VoltageOut)
        times = lab.clock.monotonic() + (np.arange(100, dtype=np.float64) + 0.5) * 1e-8
        assert not port.evaluate(times).any()
        lab.ask("OUTP2:MODE TTL;LINK GEN1;ENAB ON")
        assert not port.evaluate(times).any()
        assert lab.ask("GEN1:ENAB ON;PPER 100000;PWID 20000;PNUM 3;PLAY") == ""
        expected = [3.3 if k % 10 < 2 and k < 30 else 0.0 for k in range(100)]
        assert port.evaluate(times) == pytest.approx(expected)
        lab.ask("OUTP2:MODE NIM;LINK TSGE3;:TSGE3:MODE SPUL;ONES:PWID 50000;:TSGE3:ENAB ON")
        assert np.sum(port.evaluate(times) < -0.7) == 5
        lab.twin.faults.add("stay-on")
        assert lab.ask("OUTP2:ENAB OFF;ENAB?") == "ON"
        lab.twin.faults.clear()
        lab.ask("*RST")
        assert not port.evaluate(times).any()

    def test_fuzz(self) -> None:
        likely = st.builds(
            lambda words, tail: b";".join(words) + tail,
            st.lists(
                st.sampled_from([b"INPU1:COUN?", b"INTE 10", b"RESEt", b":TSCO1:FIR:LINK DELA1", b":DELA1:VALU 1E15",
                                 b":HIST1:BCOU 3", b"DATA?", b":HIST1:BWID 1E12", b"MIN -1E15", b":REC:ENAB ON",
                                 b":REC:DUR 0;NUM INF;PLAY", b":OUTP1:ENAB ON;LINK GEN1",
                                 b":GEN1:ENAB ON;PPER 0;PWID 0;PLAY"]),
                max_size=4,
            ),
            st.sampled_from([b"", b"?", b" 1e999", b" INF", b" NINF", b" \xff", b" #15", b'"']),
        )  # fmt: skip
        check_fuzz(NAME, st.binary(max_size=20) | likely | likely)
        check_flood(NAME, b"x" * 100, 256)
