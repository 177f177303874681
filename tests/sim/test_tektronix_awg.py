"""The AWG's twin: the sheet's examples, uploads, files, sequences, triggers, and where voltage is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from labqdl.errors import InputError
from labqdl_sim.tokens import block
from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_fuzz, check_headers, check_titles, play_example

NAME = "tektronix-awg"
SHEET = load(NAME)
SAMPLES = np.array([0, 1, 0, -0.5], "<f4")


class Generator(Lab):
    def __init__(self, **options: object) -> None:
        super().__init__(NAME, **options)

    def error(self) -> int:
        return int(self.ask("SYST:ERR:CODE?"))

    def upload(self, name: str, values: Any) -> None:
        data = np.asarray(values, "<f4")
        self.ask(f'WLIS:WAV:NEW "{name}",{data.size}')
        self.wire.ask(f'WLIS:WAV:DATA "{name}",0,{data.size},'.encode() + block(data.tobytes()) + b"\n")

    def trace(self, count: int, port: str = "output1", start: float | None = None) -> list[float]:
        begin = self.twin.run_at if start is None else start
        found = self.twin.ports[port].samples(begin + 0.5 / self.twin.rate, self.twin.rate, count)
        return [round(float(x), 4) for x in found]


def uploaded(lab: Lab) -> None:
    lab.wire.ask(b'WLIS:WAV:NEW "w",4\nWLIS:WAV:DATA "w",0,4,' + block(SAMPLES.tobytes()) + b"\n")


def assigned(lab: Lab) -> None:
    uploaded(lab)
    lab.ask('SOUR1:CASS:WAV "w"')


def sent(*lines: str) -> Before:
    def send(lab: Lab) -> None:
        for line in lines:
            lab.ask(line)

    return send


def triggered(lab: Lab) -> None:
    assigned(lab)
    lab.ask("SOUR1:RMOD TRIG")


BEFORE: dict[str, Before] = {
    "run, then running": assigned,
    "run, waiting for a trigger": triggered,
    "assigned waveform": sent('WLIS:WAV:NEW "name",4', 'SOUR1:CASS:WAV "name"'),
    "assigned sequence": sent(
        'WLIS:WAV:NEW "w",4', 'SLIS:SEQ:NEW "seq",1', 'SLIS:SEQ:STEP1:TASS1:WAV "seq","w"', 'SOUR1:CASS:SEQ "seq",1'
    ),
    "list of waveforms": sent('WLIS:WAV:NEW "a",4', 'WLIS:WAV:NEW "b",4', 'WLIS:WAV:NEW "c",4'),
    "upload of markers": uploaded,
    "read the samples back": uploaded,
    "data out of range": sent("CLOC:SRAT 1"),
}
PAUSES = {"run, then running": (0.0, 1.0), "run, waiting for a trigger": (0.0, 1.0)}
NOT_SIMULATED: dict[str, str] = {}


@pytest.mark.parametrize("example", [e for e in SHEET.examples if e.title not in NOT_SIMULATED], ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, {}, BEFORE, PAUSES)


def test_every_example_and_every_command_is_there() -> None:
    check_titles(SHEET, BEFORE, PAUSES, NOT_SIMULATED)
    check_headers(Generator().twin, SHEET.commands)


class TestOutputs:
    def playing(self, **options: object) -> Generator:
        lab = Generator(**options)
        assigned(lab)
        lab.ask("OUTP1:STAT 1;:AWGC:RUN;*OPC?")
        return lab

    def test_dark_at_power_on_and_after_a_reset(self) -> None:
        lab = Generator()
        assert lab.volts("output1") == 0
        assigned(lab)
        lab.ask("AWGC:RUN;*OPC?")
        assert lab.trace(4) == [0] * 4
        lab.ask("OUTP1:STAT 1")
        assert lab.trace(8) == [0, 0.25, 0, -0.125] * 2
        lab.ask("OUTP:OFF 1")
        assert lab.trace(4) == [0] * 4
        lab.ask("OUTP:OFF 0;:AWGC:STOP")
        assert lab.ask("AWGC:RST?") == "0"
        assert lab.volts("output1") == 0
        lab = self.playing()
        lab.ask("*RST")
        assert lab.trace(4, start=5.0) == [0] * 4
        assert lab.ask("OUTP1?;:WLIS:SIZE?") == "0;0"

    def test_amplitude_offset_and_resolution(self) -> None:
        lab = self.playing()
        lab.ask("SOUR1:VOLT 1;:SOUR1:VOLT:OFFS 0.2")
        assert lab.trace(4) == [0.2, 0.7, 0.2, -0.05]
        lab.ask("OUTP1:PATH ACD")
        assert lab.ask("OUTP1?") == "0"
        lab.ask("OUTP1 1")
        assert lab.trace(4) == [0, 0.5, 0, -0.25]
        lab.ask("SOUR1:DAC:RES 11")
        assert lab.error() == -222

    def test_clock_changes_switch_off(self) -> None:
        for text in ("CLOC:SRAT 1E9", "CLOC:SOUR EFIX"):
            lab = self.playing()
            lab.ask(text)
            assert lab.ask("OUTP1?") == "0"

    def test_assignments_take_the_data_as_they_are(self) -> None:
        lab = self.playing()
        lab.ask('WLIS:WAV:DEL "w"')
        assert lab.trace(4) == [0, 0.25, 0, -0.125]
        assert lab.ask("SOUR1:CASS:CLEAR;:SOUR1:CASS?") == '""'
        assert lab.trace(4) == [0] * 4

    def test_faults(self) -> None:
        lab = self.playing()
        lab.twin.faults.add("stay-on")
        lab.ask("OUTP1 0;:AWGC:STOP;:OUTP:OFF 1;*RST")
        assert lab.trace(4) == [0, 0.25, 0, -0.125]
        lab = self.playing()
        lab.twin.faults.add("interlock")
        assert lab.trace(4) == [0] * 4
        assert lab.ask("OUTP1?") == "0"

    def test_triggers(self) -> None:
        lab = self.playing()
        lab.ask("SOUR1:RMOD TRIG;:AWGC:RUN;*OPC?")
        assert lab.ask("AWGC:RST?") == "1"
        lab.after(1.0)
        lab.ask("TRIG:IMM BTR")
        assert lab.ask("AWGC:RST?") == "1"
        lab.ask("TRIG:IMM ATR")
        assert lab.trace(6, start=lab.clock.monotonic()) == [0, 0.25, 0, -0.125, 0, 0]
        lab.ask("SOUR1:RMOD TCON")
        assert lab.trace(6, start=lab.clock.monotonic()) == [0, 0.25, 0, -0.125, 0, 0.25]

    def test_markers(self) -> None:
        lab = Generator(model="AWG70002A", minimum=4)
        uploaded(lab)
        lab.wire.ask(b'WLIS:WAV:MARK:DATA "w",0,4,#14\x00\x40\x80\xc0\n')
        lab.ask('SOUR1:CASS:WAV "w";:OUTP1 1;:SOUR1:MARK2:VOLT:HIGH 0.5;:AWGC:RUN;*OPC?')
        assert lab.trace(4, "marker1_1") == [0, 1, 0, 1]
        assert lab.trace(4, "marker1_2") == [0, 0, 0.5, 0.5]
        lab.ask("SOUR1:VOLT 0.333")
        assert float(lab.ask("SOUR1:VOLT?")) == pytest.approx(0.333, rel=2e-4)

    def test_sequences(self) -> None:
        lab = Generator()
        lab.upload("a", [1, 1])
        lab.upload("b", [-1])
        lab.ask('SLIS:SEQ:NEW "s",2;:SLIS:SEQ:STEP1:TASS1:WAV "s","a";:SLIS:SEQ:STEP2:TASS1:WAV "s","b"')
        lab.ask('SLIS:SEQ:STEP2:RCO "s",3;GOTO "s",FIRST;:SOUR1:CASS:SEQ "s",1;:OUTP1 1;:AWGC:RUN;*OPC?')
        assert lab.error() == 0
        assert lab.trace(10) == [0.25] * 2 + [-0.25] * 3 + [0.25] * 2 + [-0.25] * 3
        lab.ask('SLIS:SEQ:STEP1:RCO "s",INF;:SOUR1:CASS:SEQ "s",1')
        assert lab.trace(10) == [0.25] * 10
        assert lab.ask('SLIS:SEQ:STEP1:RCO? "s";:SLIS:SEQ:STEP2:GOTO? "s";WINP? "s"') == "INF;FIRS;OFF"


class TestLists:
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ('WLIS:WAV:NEW "w",4', -221), ('WLIS:WAV:LENG? "x"', -224),
            ('WLIS:WAV:DATA "w",2,4,#216' + "\0" * 16, -222),
            ('WLIS:WAV:DATA "w",0,4,#14abcd', -161), ('SOUR1:CASS:WAV "x"', -224), ("AWGC:RUN", -221),
            ("SOUR9:VOLT 1", -114), ("SOUR1:VOLT 9", -222), ("OUTP1:PATH DIR", -224), ('MMEM:OPEN "x.wfmx"', -256),
            ("WLIS:NAME? 7", -222), ('WLIS:WAV:DATA "w",0,1,#14\x00\x00\xc0\x7f', -222),
        ],
    )  # fmt: skip
    def test_refused(self, text: str, code: int) -> None:
        lab = Generator()
        uploaded(lab)
        assert lab.ask(text) == ""
        assert lab.error() == code
        assert lab.wire.ask(b'WLIS:WAV:DATA? "w",0,4\n') == block(SAMPLES.tobytes()) + b"\n"

    def test_queries_and_normalisation(self) -> None:
        lab = Generator()
        uploaded(lab)
        assert lab.ask('WLIS:SIZE?;NAME? 0;:WLIS:WAV:LENG? "w";LMIN?') == '1;"w";4;1'
        lab.wire.ask(b'WLIS:WAV:NORM "w",FSC\n')
        assert lab.twin.waves["w"][0].tolist() == pytest.approx([-1 / 3, 1, -1 / 3, -1])
        assert Generator(model="AWG70001A").ask("WLIS:WAV:LMIN?;:CLOC:SRAT?") == "2400;5.0000000000E+10"
        lab.ask("NOPE;:NOPE")
        lab.ask("FOO")
        assert lab.ask("SYST:ERR:ALL?") == '-113,"Undefined header",-113,"Undefined header"'
        with pytest.raises(InputError, match="no model"):
            Generator(model="AWG9")

    @pytest.mark.parametrize("marked", [True, False])
    def test_wfmx_files(self, marked: bool) -> None:
        text = (
            '<DataFile offset="000000000" version="0.1">\r\n<NumberSamples>4</NumberSamples>\r\n'
            f"<MarkersIncluded>{str(marked).lower()}</MarkersIncluded>\r\n</DataFile>\r\n"
        )
        head = text.replace("000000000", f"{len(text):09d}").encode()
        content = head + SAMPLES.tobytes() + (bytes([0, 1, 2, 3]) if marked else b"")
        lab = Generator()
        lab.wire.ask(b'MMEM:DATA "x.wfmx",' + block(content) + b"\n")
        assert lab.ask('MMEM:DATA:SIZE? "x.wfmx"') == str(len(content))
        assert lab.wire.ask(b'MMEM:DATA? "x.wfmx",1,8\n') == b"#18DataFile\n"
        lab.wire.session.feed(b'MMEM:OPEN "C:\\\\Users\\\\OEM\\\\Documents\\\\x.wfmx"\n*OPC?\n')
        assert lab.wire.session.ready_at() == pytest.approx(0.2, abs=0.01)
        data, marks = lab.twin.waves["x"]
        assert data.tolist() == SAMPLES.tolist()
        assert marks.tolist() == ([0, 16, 32, 48] if marked else [0] * 4)
        assert lab.ask('MMEM:DEL "x.wfmx";:SYST:ERR?').endswith('0,"No error"')
        assert math.isinf(lab.twin.run_at)


PIECES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [b"\n", b";", b'WLIS:WAV:NEW "w",8\n', b'WLIS:WAV:DATA "w",0,', b"2,#18", b'SOUR1:CASS:WAV "w"\n',
         b"AWGC:RUN\n", b"OUTP1 1\n", b"*OPC?\n", b"TRIG:IMM\n", b"SOUR1:RMOD TRIG\n", b'SLIS:SEQ:NEW "s",2\n',
         b"CLOC:SRAT MIN\n", b'SLIS:SEQ:STEP1:TASS1:WAV "s","w"\n', b'SOUR1:CASS:SEQ "s",1\n',
         b'MMEM:DATA "x",#13abc\n', b'MMEM:OPEN "x"\n']
    ),
)  # fmt: skip


def test_any_bytes() -> None:
    check_fuzz(NAME, PIECES)
