"""The amplifier's twin: the sheet's examples, limits, states, alarms, and where light is."""

from __future__ import annotations

import math

import pytest
from hypothesis import strategies as st

from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, Wire, check_flood, check_fuzz, check_titles, play_example

NAME = "amonics-edfa"
SHEET = load(NAME)
RATED = 10 ** (27 / 10 - 3)


class Amplifier(Lab):
    def __init__(self, **options: object) -> None:
        super().__init__(NAME, **options)

    def ask(self, text: str) -> str:
        return super().ask(text + "\r\n")

    def on(self, current: float = 400, mode: str = "ACC") -> Amplifier:
        self.ask(f":MODE:SW:CH1 {mode}")
        self.ask(f":DRIV:{mode}:CUR:CH1 {current}")
        self.ask(f":DRIV:{mode}:STAT:CH1 1")
        self.after(2.0)
        self.ask(":DRIV:MCTRL 1")
        self.after(2.0)
        return self


def driven(lab: Lab) -> None:
    lab.wire.ask(b":DRIV:ACC:CUR:CH1 350\r\n")


def pumping(lab: Lab) -> None:
    driven(lab)
    lab.wire.ask(b":DRIV:ACC:STAT:CH1 1\r\n")
    lab.after(2.0)
    lab.wire.ask(b":DRIV:MCTRL 1\r\n")


BEFORE: dict[str, Before] = {
    "set point read back": driven,
    "pump current": pumping,
    "mode, set point, channel, activation, output power": lambda lab: lab.shine(1e-3),
}
PAUSES = {"mode, set point, channel, activation, output power": (0.0, *[0.05] * 5, 2.0, 0.05, 1.0, 1.0)}
NOT_SIMULATED: dict[str, str] = {}


@pytest.mark.parametrize("example", [e for e in SHEET.examples if e.title not in NOT_SIMULATED], ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, {}, BEFORE, PAUSES)


def test_every_example_and_every_command_is_there() -> None:
    check_titles(SHEET, BEFORE, PAUSES, NOT_SIMULATED)
    amplifier = Amplifier()
    for command in SHEET.commands:
        number = "SET1" if "SET{n}" in command else "CH1"
        text = command.replace("SET{n}", number).replace("CH{n}", number).replace("{mode}", "APC")
        assert amplifier.ask(text + "?"), command
        if ":ALARM:" in command and not command.endswith(":FC"):
            assert amplifier.ask(text + ":LATCH?") in ("0", "1"), command


class TestLines:
    def test_sets_are_silent_and_so_is_what_is_not_understood(self) -> None:
        amplifier = Amplifier()
        for text in (
            "*IDN?", ":NONSENSE?", ":DRIV:AGC:CUR:CH1?", ":READ:CH:DRIV:AGC?", ":SENS:POW:OUT:CH2?", ":MODE:SW:CH1 ACC",
            ":SENS:THRES:ALARM:TEMP:FC:LATCH?", ":THRES:POW:IN:LEV:SET1 -20", ":DRIV:ACC:CUR:CH1", ":THRES:NO 1",
            ":READ:DRIV:MIN:ACC:CH7?", ":THRES:POW:IN:ACT:CH9?", ":SENS:THRES:ALARM:NO?",
        ):  # fmt: skip
            assert amplifier.ask(text) == "", text
        assert amplifier.ask(":thres:pow:in:lev:set1?") == "-2.000000e+01"

    def test_out_of_range_is_ignored(self) -> None:
        amplifier = Amplifier()
        amplifier.ask(":DRIV:ACC:CUR:CH1 350.4")
        for value in (401, -1, "1e999"):
            amplifier.ask(f":DRIV:ACC:CUR:CH1 {value}")
        assert amplifier.ask(":DRIV:ACC:CUR:CH1?") == "3.500000e+02"
        assert amplifier.ask(":READ:DRIV:MAX:APC:CH1?") == "501"
        assert amplifier.ask(":READ:DRIV:UNIT:APC:CH1?") == "mW"
        amplifier.ask(":THRES:CUR:OVER:STAT 0.5")
        amplifier.ask(":THRES:CUR:OVER:LEV:SET1 1E9")
        assert amplifier.ask(":THRES:CUR:OVER:STAT?") == "0"
        assert amplifier.ask(":THRES:CUR:OVER:LEV:SET1?") == "4.500000e+02"

    def test_pace(self) -> None:
        amplifier = Amplifier(pace=0.05)
        assert amplifier.ask(":READ:MODE:NAMES?") == "ACC APC"
        amplifier.after(0.04)
        assert amplifier.ask(":READ:MODE:NAMES?") == ""
        amplifier.after(0.05)
        assert amplifier.ask(":READ:MODE:NAMES?") == "ACC APC"
        assert Wire(Amplifier().twin).ask(b":READ:CH:CUR? \n") == b"1\r\n"

    def test_units_without_input_monitor(self) -> None:
        amplifier = Amplifier(input_monitor=False)
        assert amplifier.ask(":READ:CH:POW:IN?") == "0"
        assert amplifier.ask(":SENS:POW:IN:CH1?") == ""

    def test_fuzz(self) -> None:
        head = st.sampled_from(SHEET.commands)
        text = st.builds(
            lambda head, mode, n, tail: head.replace("{mode}", mode).replace("{n}", n) + tail + "\r\n",
            head, st.sampled_from(["ACC", "APC", "AGC"]), st.sampled_from(["1", "0", "99999999999"]),
            st.sampled_from(["?", "", " 1", " 0", " 400", " 1e999", " ACC", " APC", ":LATCH?", " -3.5"]),
        )  # fmt: skip
        lines = text.map(str.encode)
        check_fuzz(NAME, lines | lines | lines | st.binary(max_size=30) | st.just(b"9" * 5000 + b"\n"), 150)

    def test_flood(self) -> None:
        check_flood(NAME, b":DRIV" * 20, 4000)


class TestEmission:
    def test_dark_without_pump(self) -> None:
        amplifier = Amplifier()
        amplifier.shine(1e-3)
        assert amplifier.light().dark
        amplifier.ask(":DRIV:ACC:CUR:CH1 400")
        assert amplifier.light().dark
        amplifier.ask(":DRIV:ACC:STAT:CH1 1")
        assert amplifier.ask(":DRIV:ACC:STAT:CH1?") == "2"
        amplifier.after(2.0)
        assert amplifier.ask(":DRIV:ACC:STAT:CH1?") == "1"
        assert amplifier.ask(":DRIV:MCTRL?") == "0"
        assert amplifier.light().dark
        amplifier.ask(":DRIV:MCTRL 1")
        assert amplifier.ask(":DRIV:MCTRL?") == "2"
        amplifier.after(2.0)
        assert amplifier.ask(":DRIV:MCTRL?") == "1"
        assert 0.8 * RATED < amplifier.light().power < RATED
        amplifier.ask(":DRIV:MCTRL 0")
        assert amplifier.light().dark
        amplifier.ask(":DRIV:MCTRL 1")
        assert not Amplifier.light(amplifier.on()).dark
        amplifier.ask(":DRIV:ACC:STAT:CH1 0")
        assert amplifier.ask(":DRIV:MCTRL?") == "0"
        assert amplifier.light().dark
        amplifier.on().twin.reset()
        assert amplifier.light().dark

    def test_gain_and_saturation(self) -> None:
        amplifier = Amplifier().on()
        powers = []
        for seed in (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1):
            amplifier.shine(seed)
            powers.append(amplifier.light().power)
        assert powers == sorted(powers)
        assert powers[0] > 0
        assert powers[-1] < RATED
        small = (powers[1] - powers[0]) / 1e-6
        assert 33 < 10 * math.log10(small) < 35
        assert amplifier.light().wavelength == 1550e-9
        assert amplifier.ask(":SENS:POW:IN:CH1?") == "1.000000e+02"

    def test_below_threshold_nothing_leaves(self) -> None:
        amplifier = Amplifier().on(50)
        amplifier.shine(1e-3)
        assert amplifier.light().dark
        amplifier.ask(":DRIV:ACC:CUR:CH1 200")
        amplifier.after(1.0)
        assert 0 < amplifier.light().power < RATED * 150 / 350
        assert amplifier.ask(":SENS:CUR:CH1?") == "1.999932e+02"

    def test_constant_power(self) -> None:
        amplifier = Amplifier()
        amplifier.shine(1e-3)
        amplifier.on(100, "APC")
        assert amplifier.light().power == pytest.approx(0.1, rel=1e-6)
        assert 50 < float(amplifier.ask(":SENS:CUR:CH1?")) < 400
        amplifier.shine(1e-6)
        amplifier.ask(":DRIV:APC:CUR:CH1 500")
        amplifier.after(1.0)
        assert amplifier.light().power < 0.1
        assert float(amplifier.ask(":SENS:CUR:CH1?")) == 400
        assert float(amplifier.ask(":SENS:POW:OUT:CH1?")) == pytest.approx(amplifier.light().power * 1e3, rel=1e-6)

    def test_activating_a_channel_that_is_off_trips(self) -> None:
        amplifier = Amplifier()
        amplifier.ask(":DRIV:MCTRL 1")
        assert amplifier.ask(":DRIV:ACC:STAT:CH1?") == "4"
        amplifier.ask(":DRIV:ACC:STAT:CH1 1")
        assert amplifier.ask(":DRIV:ACC:STAT:CH1?") == "4"
        amplifier.ask(":DRIV:ACC:STAT:CH1 0")
        assert amplifier.ask(":DRIV:ACC:STAT:CH1?") == "0"
        amplifier.ask(":DRIV:ACC:STAT:CH1 1")
        amplifier.ask(":DRIV:MCTRL 1")
        assert amplifier.ask(":DRIV:MCTRL?") == "0"
        assert amplifier.ask(":DRIV:ACC:STAT:CH1?") == "2"

    def test_a_channel_that_is_on_keeps_its_mode(self) -> None:
        amplifier = Amplifier().on()
        amplifier.ask(":MODE:SW:CH1 APC")
        assert amplifier.ask(":MODE:SW:CH1?") == "ACC"
        assert amplifier.ask(":DRIV:APC:STAT:CH1?") == "0"
        amplifier.ask(":DRIV:APC:STAT:CH1 0")
        assert amplifier.ask(":DRIV:MCTRL?") == "1"

    def test_interlock(self) -> None:
        amplifier = Amplifier().on()
        rule = amplifier.twin.faults.add("interlock")
        assert amplifier.light().dark
        assert amplifier.ask(":DRIV:INTERLOCK?") == "1"
        amplifier.ask(":THRES:INTERLOCK:UNLOCK 1")
        amplifier.twin.faults.remove(rule)
        assert amplifier.ask(":DRIV:INTERLOCK?") == "1"
        assert amplifier.ask(":DRIV:ACC:STAT:CH1?") == "4"
        assert amplifier.light().dark
        amplifier.ask(":THRES:INTERLOCK:UNLOCK 1")
        assert amplifier.ask(":DRIV:INTERLOCK?") == "0"
        assert amplifier.light().dark
        assert not Amplifier.light(amplifier.on()).dark

    def test_other_faults(self) -> None:
        amplifier = Amplifier().on()
        amplifier.twin.faults.add("stay-on")
        amplifier.ask(":DRIV:MCTRL 0")
        amplifier.ask(":DRIV:ACC:STAT:CH1 0")
        assert amplifier.ask(":DRIV:MCTRL?") == "1"
        assert not amplifier.light().dark
        amplifier.twin.faults.clear()
        amplifier.twin.faults.add("lockout")
        amplifier.ask(":DRIV:MCTRL 0")
        assert not amplifier.light().dark

    def test_loss_of_input(self) -> None:
        amplifier = Amplifier().on()
        assert amplifier.ask(":SENS:THRES:ALARM:POW:IN:LOS:CH1?") == "1"
        assert not amplifier.light().dark
        amplifier.ask(":THRES:POW:IN:STAT:SET1 1")
        assert amplifier.light().dark
        amplifier.shine(1e-4)
        assert not amplifier.light().dark
        assert amplifier.ask(":SENS:THRES:ALARM:POW:IN:LOS:CH1?") == "0"
        assert amplifier.ask(":SENS:THRES:ALARM:POW:IN:LOS:CH1:LATCH?") == "1"
        assert amplifier.ask(":SENS:THRES:ALARM:POW:IN:LOS:CH1:LATCH?") == "0"
        amplifier.shine(0.02)
        assert amplifier.ask(":SENS:THRES:ALARM:POW:IN:OVER:CH1?") == "1"
        amplifier.ask(":THRES:CUR:OVER:LEV:SET1 300")
        amplifier.ask(":THRES:CUR:OVER:STAT 1")
        assert amplifier.ask(":SENS:THRES:ALARM:CUR:OVER?") == "1"
