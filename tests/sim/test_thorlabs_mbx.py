"""The bias controller's twin: the sheet's examples, errors, sweeps that find the set point in the light, attenuator."""

from __future__ import annotations

import math

import pytest
from hypothesis import strategies as st

from labqdl_sim.bench import Bench
from labqdl_sim.ports import Light, LightIn, VoltageOut
from labqdl_sim.routes.visa import SimVisaLibrary
from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_flood, check_fuzz, check_titles, play_example

NAME = "thorlabs-mbx"
SHEET = load(NAME)


class Controller(Lab):
    def __init__(self, **options: object) -> None:
        super().__init__(NAME, **options)

    def modulate(self, v_pi: float, v_null: float, floor: float = 0.0, watts: float = 1e-3) -> Controller:
        """Couple a Mach-Zehnder modulator between bias and input."""
        entry, bias = self.twin.ports["input"], self.twin.ports["bias"]
        assert isinstance(entry, LightIn)
        assert isinstance(bias, VoltageOut)

        def light(t: float) -> Light:
            through = math.sin(math.pi / 2 * (bias.at(t) - v_null) / v_pi) ** 2
            return Light(watts * (floor + (1 - floor) * through), 1550e-9)

        entry.connect(light)
        return self


def say(*messages: str, watts: float = 0.0) -> Before:
    def before(lab: Lab) -> None:
        if watts:
            lab.shine(watts)
        for message in messages:
            lab.wire.ask(message.encode() + b"\n")

    return before


OPTIONS: dict[str, dict[str, object]] = {
    "model without a modulator": {"modulator": False},
    "tunable laser not selected": {"laser": "fixed"},
}
BEFORE: dict[str, Before] = {
    "voltage to hold": say("MZM:HOLD:VOLT: 5000"),
    "power ratio to hold": say("MZM:HOLD:RATIO: 500"),
    "bias voltage": say("MZM:HOLD:VOLT: 5420", "MZM:MODE: 7"),
    "power at the modulator's tap": say(watts=1.23e-3),
}
PAUSES = {"automatic quadrature, negative slope: sweep, lock, bias": (0.0, 1.0, 5.0)}
NOT_SIMULATED: dict[str, str] = {}


@pytest.mark.parametrize("example", [e for e in SHEET.examples if e.title not in NOT_SIMULATED], ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, OPTIONS, BEFORE, PAUSES)


def test_every_example_and_every_command_is_there() -> None:
    check_titles(SHEET, OPTIONS, BEFORE, PAUSES, NOT_SIMULATED)
    for command in SHEET.commands:
        controller = Controller(laser="on")
        action = command in ("SYS:WAKE", "SYS:SLEEP", "SYS:RESTART", "MZM:RESET")
        answer = controller.ask(command if action else command + "?")
        assert answer == "1" if action else "Err" not in answer, command


def test_the_very_bytes_of_examples_of_form() -> None:
    controller = Controller()
    controller.ask("MZM:MODE: 4")
    controller.after(6.0)
    assert controller.ask("MZM:VOLT?") == "-2.17"


class TestLines:
    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ("*IDN?", "Err: Undefined header"), ("MZM:MODE 4", "Err: Undefined header"), ("VOA:ATT: 5", "1"),
            ("MZM:MODE: 10", "Err: Illegal parameter value"), ("MZM:MODE: x", "Err: Data type error"),
            ("MZM:MODE: 1.5", "Err: Numeric data error"), ("MZM:MODE:", "Err: Parameter error"),
            ("MZM:HOLD:VOLT: 10001", "Err: Data out of range"), ("MZM:HOLD:RATIO: 249", "Err: Data out of range"),
            ("VOA:ATTEN: 0.5", "Err: Data out of range"), ("VOA:OUT:MW: 100.1", "Err: Data out of range"),
            ("VOA:ATTENU: 5", "Err: Undefined header"), ("RGB:RED: 101", "Err: Data out of range"),
            ("RGB:PINK: 1", "Err: Undefined header"), ("RGB:PINK?", "Err: Undefined header"),
            ("voa:output:mw: 5e0", "1"), ("LAS:POW?", "Err: Feature not present"), ("RGB:WHITE: 50", "1"),
            ("SYS:WAVE?", "Err: Feature not present"),
        ],
    )  # fmt: skip
    def test_answers(self, text: str, answer: str) -> None:
        assert Controller().ask(text) == answer

    def test_ends_of_lines(self) -> None:
        controller = Controller()
        assert controller.wire.ask(b"MZM:MODE?\r\nMZM:MODE?\rMZM:MODE?\n\r") == b"0\r0\r0\r"
        assert Controller(terminator="LF").wire.ask(b"MZM:MODE?\n") == b"0\n"

    def test_what_is_not_fitted(self) -> None:
        controller = Controller(voa=False, firmware="1.9.4")
        assert controller.ask("VOA:POW: 1") == "Err: Hardware missing"
        assert Controller(laser="locked").ask("LAS:POW?") == "Err: Laser is locked"
        assert Controller(laser="on").ask("LAS:POW?") == "1"

    def test_silent_sets(self) -> None:
        controller = Controller(silent_sets=True)
        assert controller.ask("MZM:MODE: 7") == ""
        assert controller.ask("VOA:MODE: 1") == "1"
        assert controller.ask("VOA:MODE?") == "1"
        assert controller.ask("MZM:RESET") == "1"
        assert controller.ask("MZM:MODE: 11") == "Err: Illegal parameter value"

    def test_fuzz(self) -> None:
        tail = st.sampled_from(["?", "", ": 1", ": 0", ": 7", ": -10000", ":9.9E999", ": " + "9" * 3000, ": 5.5"])
        text = st.builds(lambda a, b: (a + b + "\n").encode(), st.sampled_from(SHEET.commands), tail)
        check_fuzz(NAME, text | text | text | st.binary(max_size=30), 150)

    def test_flood(self) -> None:
        check_flood(NAME, b"MZM:MODE: " * 20, 4000)


class TestStrangers:
    def test_pymeasure_drives_it_unmodified(self) -> None:
        from pymeasure.instruments.thorlabs.thorlabsmbxseries import MzmMode, RgbPowerMode, ThorlabsMBXSeries, VoaMode

        controller = Controller(silent_sets=True)
        bench = Bench(clock=controller.clock)
        controller.twin = bench.add(NAME, "mbx", silent_sets=True)
        device = ThorlabsMBXSeries("ASRLmbx::INSTR", visa_library=SimVisaLibrary.for_bench(bench))
        device.mzm.mode = MzmMode.MANUAL
        device.mzm.voltage_setpoint = 5.0
        assert device.mzm.mode == MzmMode.MANUAL
        assert device.mzm.voltage == 5.0
        assert controller.volts() == 5.0
        device.mzm.calibrate()
        assert device.mzm.is_calibrating
        controller.after(6.0)
        assert device.mzm.is_stable
        device.voa.mode = VoaMode.POWER
        assert device.voa.mode == VoaMode.POWER
        device.voa.enabled = True
        device.voa.attenuation_setpoint = 5
        assert (device.voa.enabled, device.voa.attenuation_setpoint) == (True, 5)
        device.rgb.mode = RgbPowerMode.RGB
        device.rgb.rgb = (1, 2, 3)
        assert device.rgb.rgb == (1, 2, 3)
        SimVisaLibrary.forget(bench)


class TestBias:
    def test_nothing_at_power_on_in_mode_0_asleep_and_after_a_restart(self) -> None:
        controller = Controller()
        assert controller.volts() == 0.0
        for end in ("MZM:MODE: 0", "SYS:SLEEP", "SYS:RESTART"):
            controller.ask("MZM:HOLD:VOLT: -7123")
            controller.ask("MZM:MODE: 7")
            assert controller.volts() == pytest.approx(-7.123)
            assert controller.ask("MZM:SET?") == "1"
            assert controller.ask(end) in ("1", "")
            assert controller.volts() == 0.0
            controller.ask("SYS:WAKE")
        assert controller.ask("MZM:MODE?") == ""
        controller.after(2.0)
        assert controller.ask("MZM:MODE?") == "0"
        controller.twin.reset()
        assert controller.volts() == 0.0

    def test_asleep(self) -> None:
        controller = Controller()
        controller.ask("SYS:SLEEP")
        assert controller.ask("MZM:VOLT?") == "Err: Execution error"
        assert controller.ask("SYS:MODEL?") == "MBX1"
        assert controller.ask("SYS:WAKE") == "1"
        assert controller.ask("MZM:VOLT?") == "0.00"

    @pytest.mark.parametrize(
        ("mode", "expected"),
        [(1, -2.8), (2, 1.2), (3, 3.2), (4, -0.8), (5, 3.2), (6, -0.8), (8, 1.2 + 4 * 0.29517), (9, 1.2 - 4 * 0.29517)],
    )
    def test_sweeps_find_the_set_point_in_the_light(self, mode: int, expected: float) -> None:
        controller = Controller().modulate(4.0, 1.2)
        controller.ask("MZM:HOLD:RATIO: 500")
        assert controller.ask(f"MZM:MODE: {mode}") == "1"
        assert controller.ask("MZM:CAL?;") == "Err: Undefined header"
        controller.after(2.5)
        assert controller.ask("MZM:CAL?") == "1"
        assert controller.ask("MZM:SET?") == "0"
        assert controller.volts() == pytest.approx(0.0, abs=1e-6)
        controller.after(1.25)
        assert controller.volts() == pytest.approx(5.0, abs=1e-6)
        controller.after(2.0)
        assert controller.ask("MZM:CAL?") == "0"
        assert controller.ask("MZM:SET?") == "1"
        assert controller.volts() == pytest.approx(expected, abs=0.01)
        assert float(controller.ask("MZM:VOLT?")) == pytest.approx(expected, abs=0.02)

    def test_poor_extinction_and_a_loop_that_loses_its_light(self) -> None:
        controller = Controller().modulate(6.0, -1.0, floor=0.3)
        controller.ask("MZM:MODE: 2")
        controller.after(6.0)
        assert controller.volts() == pytest.approx(-1.0, abs=0.01)
        assert controller.ask("MZM:TAP:MW?") == "0.30"
        controller.shine(0.0)
        assert controller.ask("MZM:SET?") == "0"

    def test_light_that_does_not_follow_the_bias(self) -> None:
        controller = Controller(v_pi=4.0, v_null=0.0)
        controller.shine(1e-3)
        controller.ask("MZM:MODE: 1")
        controller.after(6.0)
        assert abs(controller.volts()) == pytest.approx(4.0, abs=0.01)

    def test_hold_keeps_what_auto_has_found(self) -> None:
        controller = Controller()
        controller.ask("MZM:MODE: 4")
        controller.after(6.0)
        assert controller.ask("MZM:MODE: 6") == "1"
        assert controller.ask("MZM:CAL?") == "0"
        assert controller.ask("MZM:VOLT?") == "-2.17"
        controller.ask("MZM:MODE: 5")
        assert controller.ask("MZM:CAL?") == "1"
        controller.after(6.0)
        assert controller.ask("MZM:RESET") == "1"
        assert controller.ask("MZM:CAL?") == "1"

    def test_a_reset_in_manual_mode_comes_back(self) -> None:
        controller = Controller()
        controller.ask("MZM:HOLD:VOLT: 3000")
        controller.ask("MZM:MODE: 7")
        controller.ask("MZM:RESET")
        assert controller.volts() == -10.0
        controller.after(5.1)
        assert controller.volts() == 3.0

    def test_faults(self) -> None:
        controller = Controller()
        controller.ask("MZM:HOLD:VOLT: 3000")
        controller.ask("MZM:MODE: 7")
        controller.twin.faults.add("stay-on")
        for end in ("MZM:MODE: 0", "SYS:SLEEP", "SYS:RESTART"):
            controller.ask(end)
            assert controller.volts() == 3.0
        controller.twin.faults.clear()
        controller.after(3.0)
        controller.twin.faults.add("lockout")
        assert controller.ask("MZM:MODE: 0") == "Err: Execution error"
        assert controller.ask("MZM:MODE?") == "7"


class TestAttenuator:
    def test_constant_attenuation(self) -> None:
        controller = Controller()
        controller.shine(1e-3)
        assert controller.light().power == pytest.approx(10**-3.1)
        assert controller.ask("VOA:SET?") == "0"
        controller.ask("VOA:ATT: 11")
        assert controller.light().power == pytest.approx(10**-3.1)
        controller.ask("VOA:POW: 1")
        assert controller.ask("VOA:SET?") == "0"
        controller.after(0.15)
        assert float(controller.ask("VOA:ERR?")) == pytest.approx(-3.68, abs=0.02)
        controller.after(1.0)
        assert controller.ask("VOA:SET?") == "1"
        assert controller.ask("VOA:MEAS?") == "11.00"
        assert controller.ask("VOA:TAP:MW?") == "0.08"
        assert controller.light().power == pytest.approx(10**-4.1, rel=1e-2)
        controller.ask("VOA:POW: 0")
        controller.after(2.0)
        assert controller.light().power == pytest.approx(10**-3.1, rel=1e-4)

    def test_constant_power_within_reach(self) -> None:
        controller = Controller()
        controller.shine(10e-3)
        for message in ("VOA:MODE: 1", "VOA:OUT:MW: 2", "VOA:POW: 1"):
            assert controller.ask(message) == "1"
        controller.after(3.0)
        assert controller.light().power == pytest.approx(2e-3)
        assert controller.ask("VOA:SET?") == "1"
        controller.shine(1.0)
        assert controller.light().power == pytest.approx(10e-3)
        assert controller.ask("VOA:SET?") == "0"
        controller.shine(0.0)
        assert controller.ask("VOA:SET?") == "0"
        assert controller.ask("VOA:MEAS?") == "0.00"
        assert controller.light().dark

    def test_other_firmware_goes_lower(self) -> None:
        controller = Controller(lowest=0.5)
        assert controller.ask("VOA:ATTEN: 0.5") == "1"
        assert controller.ask("VOA:ATTEN?") == "0.50"
