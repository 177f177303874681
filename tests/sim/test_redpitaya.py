"""The Red Pitaya's twin: the sheet's examples, generators, triggers and buffers, slow pins, parser."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from labqdl_sim.ports import VoltageIn, VoltageOut
from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_fuzz, check_titles, play_example

NAME = "redpitaya"
SHEET = load(NAME)
Floats = NDArray[np.float64]


def plug(lab: Lab, port: str, source: object) -> None:
    found = lab.twin.ports[port]
    assert isinstance(found, VoltageIn)
    found.connect(source)  # type: ignore[arg-type]


def step_at(t: float, low: float = -0.5, high: float = 0.5) -> object:
    return lambda instants: np.where(instants >= t, high, low)


def sine(lab: Lab) -> None:
    plug(lab, "in1", lambda instants: 0.5 * np.sin(2e5 * np.pi * instants))


def triggered(lab: Lab) -> None:
    lab.ask("ACQ:START\r\n")
    lab.after(1e-3)
    lab.ask("ACQ:TRIG NOW\r\n")
    lab.after(1.0)


def three(lab: Lab) -> None:
    plug(lab, "in1", lambda instants: np.resize([0.0, 0.25, -0.5], instants.shape))
    lab.ask("ACQ:DATA:FORMAT BIN\r\n")
    triggered(lab)


def three_raw(lab: Lab) -> None:
    plug(lab, "in1", lambda instants: np.resize([0.0, 2047 / 8192, -0.5], instants.shape))
    lab.ask("ACQ:DATA:FORMAT BIN\r\nACQ:DATA:UNITS RAW\r\n")
    triggered(lab)


def two(lab: Lab) -> None:
    plug(lab, "in1", lambda instants: np.resize([0.012345, -0.0012], instants.shape))
    triggered(lab)


def armed(lab: Lab) -> None:
    plug(lab, "in1", step_at(0.5))
    lab.ask("ACQ:START\r\nACQ:TRIG CH1_PE\r\n")


BEFORE: dict[str, Before] = {
    "waiting, then triggered": armed,
    "buffer is filled": triggered,
    "data as text": two,
    "three samples in volts": three,
    "three raw samples": three_raw,
    "acquisition up to the full buffer": sine,
}
OPTIONS: dict[str, dict[str, object]] = {
    "data as text": {"buffer": 2, "noise": 0.0},
    "three samples in volts": {"buffer": 3, "noise": 0.0},
    "three raw samples": {"buffer": 3, "noise": 0.0},
}
PAUSES: dict[str, tuple[float, ...]] = {
    "waiting, then triggered": (0.1, 1.0),
    "acquisition up to the full buffer": (0.0,) * 7 + (0.01, 0.1),
}
NOT_SIMULATED: dict[str, str] = {}
_ARGUMENTS = {
    "ACQ:SOUR1:DATA:OLD:N": " 1", "ACQ:SOUR1:DATA:LATEST:N": " 1", "ACQ:SOUR1:DATA:START:N": " 0,1",
    "ACQ:SOUR1:DATA:START:END": " 0,1", "ACQ:SOUR1:DATA:TRIG": " 1,PRE_TRIG", "ACQ:TRIG": " NOW",
    "SOUR1:TRAC:DATA:DATA": " 0,1", "ANALOG:PIN": " AIN0", "DIG:PIN": " DIO0_P", "DIG:PIN:DIR": " DIO0_P",
}  # fmt: skip


@pytest.mark.parametrize("example", [e for e in SHEET.examples if e.title not in NOT_SIMULATED], ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, OPTIONS, BEFORE, PAUSES)


def test_every_example_and_every_command_is_there() -> None:
    check_titles(SHEET, BEFORE, OPTIONS, PAUSES, NOT_SIMULATED)
    lab = Lab(NAME)
    triggered(lab)
    for command in SHEET.commands:
        word = command.replace("{n}", "1")
        codes = []
        for form in (f"{word}?", word):
            lab.ask(f"*CLS;:{form}{_ARGUMENTS.get(word, '')}\r\n")
            codes.append(lab.ask("SYST:ERR?\r\n").split(",")[0])
        assert set(codes) - {"-113"}, command


def test_all_outputs_are_at_zero_after_power_on_and_reset() -> None:
    lab = Lab(NAME)
    instants = np.linspace(0, 1e-3, 1001)

    def quiet() -> bool:
        ports = [port for port in lab.twin.ports.values() if isinstance(port, VoltageOut)]
        assert len(ports) == 22
        return all(not port.evaluate(instants).any() for port in ports)

    assert quiet()
    for text in (
        "SOUR1:VOLT 1",
        "OUTPUT1:STATE ON",
        "ANALOG:PIN AOUT1,1.8",
        "DIG:PIN:DIR OUT,DIO3_N",
        "DIG:PIN DIO3_N,1",
    ):
        lab.ask(text + "\r\n")
    assert lab.ask("SYST:ERR?\r\n") == '0,"No error"'
    assert not quiet()
    assert lab.volts("aout1") == pytest.approx(1.8)
    assert lab.volts("dio3_n") == pytest.approx(3.3)
    lab.ask("*RST\r\n")
    assert quiet()


def out(lab: Lab, instants: Floats) -> Floats:
    port = lab.twin.ports["out1"]
    assert isinstance(port, VoltageOut)
    return port.evaluate(instants)


class TestGenerators:
    TIMES = (np.arange(1000, dtype=np.float64) + 0.5) / 1e6

    def on(self, *texts: str) -> Lab:
        lab = Lab(NAME)
        for text in ("SOUR1:VOLT 0.5", *texts, "OUTPUT1:STATE ON"):
            lab.ask(text + "\r\n")
        assert lab.ask("SYST:ERR?\r\n") == '0,"No error"'
        return lab

    def test_shapes(self) -> None:
        x = self.TIMES * 1000
        shapes = {
            "SINE": np.sin(2 * np.pi * x), "SQUARE": np.where(x < 0.5, 1, -1), "SAWU": 2 * x - 1, "SAWD": 1 - 2 * x,
            "TRIANGLE": 2 / np.pi * np.arcsin(np.sin(2 * np.pi * x)), "DC": np.ones(1000), "DC_NEG": -np.ones(1000),
            "PWM": np.where(x < 0.5, 1, -1),
        }  # fmt: skip
        for name, wave in shapes.items():
            lab = self.on(f"SOUR1:FUNC {name}", "SOUR1:VOLT:OFFS 0.25")
            assert out(lab, self.TIMES) == pytest.approx(0.25 + 0.5 * wave, abs=2 / 8192), name
        lab = self.on("SOUR1:FUNC PWM", "SOUR1:DCYC 0.2", "SOUR1:PHAS 90")
        assert np.mean(out(lab, self.TIMES) > 0) == pytest.approx(0.2, abs=0.01)
        lab = self.on("SOUR1:FUNC ARBITRARY", "SOUR1:TRAC:DATA:DATA 0,1,-1,0.5")
        assert out(lab, self.TIMES)[[100, 300, 600, 900]] == pytest.approx([0, 0.5, -0.5, 0.25])

    def test_limits(self) -> None:
        lab = Lab(NAME)
        for text, code in (
            ("SOUR1:VOLT 1.1", -222), ("SOUR1:FREQ:FIX 63E6", -222), ("SOUR1:FUNC NOISE", -224), ("SOUR3:VOLT 0", -114),
            ("SOUR1:DCYC 2", -222), ("SOUR1:TRAC:DATA:DATA 2", -222), ("SOUR1:BURS:NCYC 0", -222), ("SOUR1:VOLT", -109),
            ("ANALOG:PIN AOUT0,1.9", -222), ("ANALOG:PIN AIN0,1", -224), ("DIG:PIN LED9,1", -224),
            ("DIG:PIN LED1,2", -222),
            ("ACQ:DEC 3", -222), ("ACQ:DEC 65537", -222), ("ACQ:TRIG:DLY -9000", -222),
            ("ACQ:SOUR1:DATA:OLD:N? 16385", -222),
        ):  # fmt: skip
            lab.ask(text + "\r\n")
            assert lab.ask("SYST:ERR?\r\n").split(",")[0] == str(code), text
        lab.ask("SOUR1:VOLT 0.8\r\nSOUR1:VOLT:OFFS -0.3\r\n")
        assert lab.ask("SYST:ERR?\r\n") == '9006,"Value out of range"'
        assert lab.ask("SOUR1:VOLT:OFFS?\r\n") == "0"
        lab.ask("SOUR1:TRAC:DATA:DATA " + ",".join(["0"] * 16385) + "\r\n")
        assert lab.ask("SYST:ERR:COUN?\r\n") == "1"
        assert lab.ask("SYST:ERR:NEXT?\r\n").startswith("-223")

    def test_burst(self) -> None:
        lab = self.on("SOUR1:FUNC DC", "SOUR1:FREQ:FIX 10000", "SOUR1:BURS:STAT BURST", "SOUR1:BURS:NCYC 2",
                      "SOUR1:BURS:NOR 2", "SOUR1:BURS:INT:PER 500")  # fmt: skip
        assert not out(lab, self.TIMES).any()
        lab.ask("SOUR1:TRIG:INT\r\n")
        times = np.arange(2000, dtype=np.float64) * 1e-6 + 0.5e-6
        expected = ((times % 500e-6) < 200e-6) & (times < 1e-3)
        assert np.array_equal(out(lab, times) > 0, expected)

    def test_external_start_and_gate(self) -> None:
        lab = self.on("SOUR1:FUNC DC", "SOUR1:TRIG:SOUR EXT_PE")
        times = np.arange(20, dtype=np.float64) * 1e-5
        assert not out(lab, times).any()
        plug(lab, "ext", step_at(1.05e-4, 0.0, 3.3))
        assert np.array_equal(out(lab, times) > 0, times > 1.04e-4)
        lab.ask("SOUR1:TRIG:SOUR GATED\r\n")
        assert np.array_equal(out(lab, times) > 0, times > 1.04e-4)

    def test_alignment_reset_and_an_output_that_stays_on(self) -> None:
        lab = self.on("SOUR1:FREQ:FIX 1000")
        lab.after(0.25e-3)
        lab.ask("PHAS:ALIGN\r\n")
        assert abs(lab.volts("out1")) < 1e-3
        lab.ask("GEN:RST\r\n")
        assert lab.ask("OUTPUT1:STATE?\r\n") == "OFF"
        lab.ask("OUTPUT1:STATE ON\r\n")
        lab.twin.faults.add("stay-on")
        lab.ask("OUTPUT1:STATE OFF\r\nGEN:RST\r\n")
        assert lab.ask("OUTPUT1:STATE?\r\n") == "ON"


class TestAcquisition:
    def ready(self, *texts: str, noise: float = 0.0, buffer: int = 256) -> Lab:
        lab = Lab(NAME, noise=noise, buffer=buffer)
        for text in ("ACQ:DATA:UNITS RAW", *texts):
            lab.ask(text + "\r\n")
        return lab

    def data(self, lab: Lab, text: str = "ACQ:SOUR1:DATA?") -> list[int]:
        return [int(word) for word in lab.ask(text + "\r\n").strip("{}").split(",")]

    def test_the_trigger_is_in_the_middle(self) -> None:
        lab = self.ready("ACQ:TRIG:LEV 0.1")
        plug(lab, "in1", step_at(1e-3))
        lab.ask("ACQ:START\r\n")
        lab.after(0.5e-3)
        lab.ask("ACQ:TRIG CH1_PE\r\n")
        lab.after(0.5e-3 + 0.2e-6)
        assert lab.ask("ACQ:TRIG:STAT?\r\n") == "TD"
        assert lab.ask("ACQ:TRIG:FILL?\r\n") == "0"
        lab.after(1.0)
        assert lab.ask("ACQ:TRIG:FILL?\r\n") == "1"
        data = self.data(lab)
        assert len(data) == 256
        assert data[:127] == [-4096] * 127
        assert data[129:] == [4096] * 127
        assert self.data(lab, "ACQ:SOUR1:DATA:TRIG? 5,PRE_TRIG")[:4] == [-4096] * 4
        assert self.data(lab, "ACQ:SOUR1:DATA:TRIG? 5,POST_TRIG")[1:] == [4096] * 4
        assert len(self.data(lab, "ACQ:SOUR1:DATA:TRIG? 5,PRE_POST_TRIG")) == 10
        lab.ask("ACQ:SOUR1:DATA:TRIG? 200,PRE_TRIG\r\n")
        assert lab.ask("SYST:ERR?\r\n").startswith("-222")

    def test_delay_puts_all_behind_it(self) -> None:
        lab = self.ready("ACQ:TRIG:DLY 128")
        plug(lab, "in1", lambda instants: instants)
        lab.ask("ACQ:START\r\nACQ:TRIG NOW\r\n")
        lab.after(0.1)
        assert lab.ask("ACQ:TRIG:FILL?\r\n") == "1"
        assert lab.ask("ACQ:TPOS?\r\n") == "0"
        assert lab.ask("ACQ:WPOS?\r\n") == "0"
        assert lab.ask("ACQ:TRIG:DLY:NS?\r\n") == "1024"
        lab.ask("ACQ:TRIG:DLY:NS 800\r\n")
        assert lab.ask("ACQ:TRIG:DLY?\r\n") == "100"

    def test_windows(self) -> None:
        lab = self.ready("ACQ:TRIG:DLY 128", "ACQ:AVG OFF")
        t0 = lab.clock.monotonic()
        plug(lab, "in1", lambda instants: np.round((instants - t0) * 125e6) / 8192)
        lab.ask("ACQ:START\r\n")
        lab.after(100 * 8e-9)
        lab.ask("ACQ:TRIG NOW\r\n")
        lab.after(0.1)
        data = self.data(lab)
        assert data == list(range(100, 356))
        assert self.data(lab, "ACQ:SOUR1:DATA:OLD:N? 3") == [100, 101, 102]
        assert self.data(lab, "acq:sour1:data:latest:n? 2") == [354, 355]
        assert lab.ask("ACQ:WPOS?\r\n") == "100"
        assert self.data(lab, "ACQ:SOUR1:DATA:START:N? 100,2") == [100, 101]
        assert self.data(lab, "ACQ:SOUR1:DATA:START:N? 99,2") == [355, 100]
        assert self.data(lab, "ACQ:SOUR1:DATA:START:END? 254,1") == [254, 255, 256, 257]

    def test_arming_before_start_never_fires(self) -> None:
        lab = self.ready()
        lab.ask("ACQ:TRIG NOW\r\nACQ:START\r\n")
        lab.after(1.0)
        assert lab.ask("ACQ:TRIG:STAT?\r\n") == "WAIT"
        lab.ask("ACQ:STOP\r\nACQ:TRIG NOW\r\n")
        assert lab.ask("ACQ:TRIG:STAT?\r\n") == "WAIT"
        assert self.data(lab) == [0] * 256

    @pytest.mark.parametrize(
        ("source", "fires"), [("CH1_NE", True), ("CH1_PE", False), ("CH1_AE", True), ("CH2_PE", False)]
    )
    def test_edges(self, source: str, fires: bool) -> None:
        lab = self.ready()
        plug(lab, "in1", step_at(1e-3, 0.5, -0.5))
        lab.ask(f"ACQ:START\r\nACQ:TRIG {source}\r\n")
        lab.after(2e-3)
        assert lab.ask("ACQ:TRIG:STAT?\r\n") == ("TD" if fires else "WAIT")

    def test_generator_and_external_trigger(self) -> None:
        lab = self.ready("SOUR1:VOLT 1", "OUTPUT1:STATE ON", "ACQ:START", "ACQ:TRIG AWG_PE")
        lab.after(2e-3)
        assert lab.ask("ACQ:TRIG:STAT?\r\n") == "TD"
        lab = self.ready("ACQ:START", "ACQ:TRIG EXT_NE")
        plug(lab, "ext", step_at(1e-3, 3.3, 0.0))
        assert lab.ask("ACQ:TRIG:STAT?\r\n") == "WAIT"
        lab.after(2e-3)
        assert lab.ask("ACQ:TRIG:STAT?\r\n") == "TD"

    def test_clipping_gain_and_formats(self) -> None:
        lab = self.ready("ACQ:TRIG:DLY 128", buffer=4)
        plug(lab, "in1", lambda instants: np.full(instants.shape, 5.0))
        plug(lab, "in2", lambda instants: np.full(instants.shape, -5.0))
        lab.ask("ACQ:START\r\nACQ:TRIG NOW\r\n")
        lab.after(1.0)
        assert self.data(lab) == [8191] * 4
        assert self.data(lab, "ACQ:SOUR2:DATA?") == [-8192] * 4
        lab.ask("ACQ:SOUR1:GAIN HV\r\nACQ:DATA:UNITS VOLTS\r\n")
        assert lab.ask("ACQ:SOUR1:DATA?\r\n") == "{" + ",".join(["5.000000"] * 4) + "}"
        lab.ask("ACQ:DATA:FORMAT BIN\r\nACQ:DATA:BYTE:ORDER LEND\r\n")
        reply = lab.wire.ask(b"ACQ:SOUR1:DATA?\r\n")
        assert np.frombuffer(reply[4:20], "<f4") == pytest.approx([5.0] * 4)
        lab.ask("ACQ:RST\r\n")
        assert lab.ask("ACQ:SOUR1:GAIN?;:ACQ:DATA:FORMAT?\r\n") == "LV;ASCII"

    def test_noise_is_a_sample_s_own(self) -> None:
        lab = self.ready(noise=2.0, buffer=16384)
        lab.ask("ACQ:DEC 8\r\nACQ:START\r\n")
        assert lab.ask("ACQ:SRATE?\r\n") == "15625000"
        lab.after(0.01)
        lab.ask("ACQ:TRIG NOW\r\n")
        lab.after(1.0)
        data = self.data(lab)
        assert np.std(data) == pytest.approx(2.0, rel=0.1)
        assert self.data(lab, "ACQ:SOUR1:DATA:LATEST:N? 100") == data[-100:]
        assert self.data(lab, "ACQ:SOUR2:DATA?") != data


class TestSlow:
    def test_pins_and_analog(self) -> None:
        lab = Lab(NAME)
        plug(lab, "ain2", lambda instants: np.full(instants.shape, 2.0))
        assert float(lab.ask("ANALOG:PIN? AIN2\r\n")) == pytest.approx(2.0, abs=1e-3)
        plug(lab, "ain2", lambda instants: np.full(instants.shape, 9.0))
        assert lab.ask("ANALOG:PIN? AIN2\r\n") == "3.3"
        plug(lab, "dio1_p:in", lambda instants: np.full(instants.shape, 3.3))
        assert lab.ask("DIG:PIN? DIO1_P\r\n") == "1"
        lab.ask("DIG:PIN:DIR OUT,DIO1_P\r\nDIG:PIN LED3,1\r\n")
        assert lab.ask("DIG:PIN? DIO1_P;:DIG:PIN? LED3;:DIG:PIN:DIR? DIO1_P\r\n") == "0;1;OUT"

    def test_empty_lines_instead_of_nothing(self) -> None:
        lab = Lab(NAME)
        assert lab.wire.ask(b"NOPE?\r\n") == b""
        lab.ask("RP:RET_ON_ERROR ON\r\n")
        assert lab.wire.ask(b"NOPE?\r\n") == b"\r\n"
        assert lab.wire.ask(b"ACQ:SOUR1:DATA:TRIG? 5,PRE_TRIG\r\n") == b"\r\n"
        assert lab.wire.ask(b"NOPE\r\n") == b""

    def test_fuzz(self) -> None:
        likely = st.sampled_from(
            [b"\r\n", b";", b"SOUR1:VOLT 1\r\n", b"OUTPUT1:STATE ON\r\n", b"ACQ:START\r\n", b"ACQ:TRIG CH1_PE\r\n",
             b"ACQ:TRIG:STAT?\r\n", b"ACQ:SOUR1:DATA:OLD:N? 5\r\n", b"SOUR1:FREQ:FIX 0\r\n",
             b"SOUR1:BURS:STAT BURST\r\n",
             b"SOUR1:FUNC ARBITRARY\r\n", b"SOUR1:TRIG:SOUR EXT_PE\r\n", b"ACQ:DEC ", b"65536\r\n",
             b"#15", b"DIG:PIN? "]
        )  # fmt: skip
        check_fuzz(NAME, st.binary(max_size=20) | likely | likely, buffer=64)
