"""The attenuators' twin: the sheet's examples, all models, settling, shutter, power control, light."""

from __future__ import annotations

import math

import pytest
from hypothesis import strategies as st

from labqdl.errors import InputError
from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_flood, check_fuzz, check_titles, play_example

NAME = "keysight-n77"
SHEET = load(NAME)
OLD: dict[str, object] = {"model": "8156A"}
CONTROL: dict[str, object] = {"model": "N7764A"}


class Attenuator(Lab):
    def __init__(self, **options: object) -> None:
        super().__init__(NAME, **options)

    def through(self, n: int = 1) -> float:
        """Loss from fibre to fibre in dB at 1 mW."""
        self.shine(1e-3, f"input{n}")
        light = self.light(f"output{n}")
        return math.inf if light.dark else -10 * math.log10(light.power / 1e-3)


def attenuated(lab: Lab) -> None:
    lab.wire.ask(b"INP1:ATT 14\n")


def in_watts(lab: Lab) -> None:
    lab.wire.ask(b"OUTP1:POW:UNIT 1\n")


OPTIONS: dict[str, dict[str, object]] = {
    "identity of an 8156A": OLD,
    "attenuation, short form of the number": {"numbers": "short"},
    "absolute power mode of an 8156A": OLD,
    "power control": CONTROL,
    "zeroing went well": CONTROL,
}
BEFORE: dict[str, Before] = {
    "attenuation, short form of the number": attenuated,
    "attenuation, long form of the number": attenuated,
    "unit watt": in_watts,
}
NOT_SIMULATED: dict[str, str] = {}


@pytest.mark.parametrize("example", [e for e in SHEET.examples if e.title not in NOT_SIMULATED], ids=lambda e: e.title)
def test_example(example: Example) -> None:
    lab = play_example(NAME, example, OPTIONS, BEFORE, {})
    assert lab.ask("SYST:ERR?\n") == '+0,"No error"'


def test_every_example_and_every_command_is_there() -> None:
    check_titles(SHEET, OPTIONS, BEFORE, NOT_SIMULATED)
    attenuator, old = Attenuator(**CONTROL), Attenuator(**OLD)
    for command in SHEET.commands:
        header = command.replace("{n}", "1")
        lab = old if header.endswith("LCM") else attenuator
        if header.endswith("DISP"):
            lab.ask(header)
        else:
            if header.startswith("FETC"):
                lab.ask("READ1:POW?")
            assert lab.ask(header + "?"), command
        assert lab.error() == 0, command


class TestModels:
    @pytest.mark.parametrize(
        ("model", "slots", "meters"),
        [
            ("N7751A", (1,), (5, 6)), ("N7752A", (1, 3), (5, 6)), ("N7761A", (1,), ()), ("N7762A", (1, 3), ()),
            ("N7764A", (1, 3, 5, 7), ()), ("8156A", (1,), ()), ("81576A", (1,), ()),
        ],
    )  # fmt: skip
    def test_slots(self, model: str, slots: tuple[int, ...], meters: tuple[int, ...]) -> None:
        attenuator = Attenuator(model=model)
        for n in range(1, 9):
            assert bool(attenuator.ask(f"INP{n}:ATT?")) == (n in slots)
            if n not in slots:
                assert attenuator.ask("SYST:ERR?") == '-303,"Slot empty"'
        for n in meters:
            attenuator.shine(1e-5, f"input{n}")
            assert float(attenuator.ask(f"READ{n}:POW?")) == pytest.approx(-20.0)
            attenuator.shine(0.0, f"input{n}")
            assert float(attenuator.ask(f"READ{n}:POW?")) == -80.0
            attenuator.shine(0.02, f"input{n}")
            assert float(attenuator.ask(f"READ{n}:POW?")) > 1e30
        assert attenuator.ask("*OPT?").count(model) == len(slots) + len(meters)

    def test_nobody_knows_others(self) -> None:
        with pytest.raises(InputError):
            Attenuator(model="N7799A")

    def test_ranges(self) -> None:
        attenuator = Attenuator()
        assert attenuator.ask("INP1:ATT? MIN;ATT? MAX") == "+0.00000000E+000;+4.50000000E+001"
        assert attenuator.ask("INP1:WAV? MIN;WAV? MAX") == "+1.26000000E-006;+1.64000000E-006"
        for text, code in (
            ("INP1:ATT 46", -222), ("INP1:ATT -1", -222), ("INP1:WAV 1550", -222), ("INP1:WAV 1550NM", 0),
            ("INP1:ATT:SPE 1001", -222), ("INP1:LCM 1", -113), ("OUTP1:POW:CONT 1", -221), ("NONSENSE", -113),
            ("OUTP1:ATIM 2", -222), ("OUTP1 MAYBE", -224), ("OUTP1:CORR:COLL:ZERO", -221), ("READ1:POW?", -303),
            ("FETC5:POW?", -230), ("INP1:ATT MAX", 0), ("OUTP1:POW 1", -222), ("OUTP1:POW? NO", -224),
        ):  # fmt: skip
            attenuator.ask(text)
            assert attenuator.error() == code, text
        old = Attenuator(**OLD)
        old.ask("OUTP:POW -3")
        assert old.error() == -221
        assert old.ask("INP:LCM 1;LCM?") == "1"
        assert old.ask("INP:ATT MAX;ATT?") == "+6.00000000E+001"

    def test_fuzz(self) -> None:
        head = st.sampled_from([c.replace("{n}", n) for c in SHEET.commands for n in ("", "1", "3", "5")])
        tail = st.sampled_from(["?", "", " 1", " 0", " -30", " 1E999", " 3e400DBM", " 20 DB", " MAX", "? MIN", " 5UW"])
        text = st.builds(lambda a, b: (a + b + "\n").encode(), head, tail)
        for model in ("N7752A", "N7764A", "8156A"):
            check_fuzz(NAME, text | text | text | st.binary(max_size=30), 50, model=model)

    def test_flood(self) -> None:
        check_flood(NAME, b"INP1:ATT " * 20_000, 1 << 20)


class TestLight:
    def test_the_shutter_is_what_blocks(self) -> None:
        attenuator = Attenuator()
        assert attenuator.through() == float("inf")
        attenuator.ask("OUTP1 1")
        assert attenuator.through() == pytest.approx(1.0)
        assert attenuator.through(3) == float("inf")
        attenuator.ask("INP1:ATT 20;*OPC?")
        assert attenuator.through() == pytest.approx(21.0)
        attenuator.ask("OUTP1:STAT OFF")
        assert attenuator.light("output1").dark
        attenuator.ask("OUTP1 ON;:OUTP1:STAT:APOW 1;*RST")
        assert attenuator.light("output1").dark
        assert attenuator.ask("OUTP1:STAT:APOW?;:INP1:ATT?") == "1;+0.00000000E+000"

    def test_open_at_power_on_only_where_it_was_asked_for(self) -> None:
        assert Attenuator(open_at_power_on=True).through() == pytest.approx(1.0)

    def test_the_filter_takes_its_time(self) -> None:
        attenuator = Attenuator()
        attenuator.ask("OUTP1 1;:INP1:ATT:SPE 10;:INP1:ATT 40")
        attenuator.after(2.01)
        assert attenuator.through() == pytest.approx(21.0, abs=0.1)
        before = attenuator.clock.monotonic()
        assert attenuator.ask("*OPC?") == "1"
        assert attenuator.clock.monotonic() - before == pytest.approx(2.01, abs=0.01)
        assert attenuator.through() == pytest.approx(41.0)
        old = Attenuator(**OLD)
        old.ask("INP:ATT 60;*OPC?")
        assert old.clock.monotonic() == pytest.approx(6.2)

    def test_offsets_move_the_display_only(self) -> None:
        attenuator = Attenuator(numbers="short")
        attenuator.ask("OUTP1 1;:INP1:ATT 10;OFFS 5;*OPC?")
        assert attenuator.ask("INP1:ATT?") == "15"
        assert attenuator.through() == pytest.approx(11.0)
        assert attenuator.ask("INP1:ATT? MIN;ATT? MAX") == "5;50"
        attenuator.ask("INP1:ATT 4")
        assert attenuator.error() == -222
        attenuator.ask("INP1:OFFS:DISP")
        assert attenuator.ask("INP1:ATT?;OFFS?") == "0;-10"

    def test_power_without_a_meter_counts_from_a_reference(self) -> None:
        attenuator = Attenuator()
        attenuator.ask("OUTP1 1;:OUTP1:POW:REF -1;:OUTP1:POW -21;*OPC?")
        assert attenuator.through() == pytest.approx(21.0)
        assert float(attenuator.ask("OUTP1:POW?")) == pytest.approx(-21.0)

    def test_power_control(self) -> None:
        attenuator = Attenuator(**CONTROL)
        attenuator.ask("OUTP1 1;:OUTP1:POW:CONTR 1;:OUTP1:POW -30")
        assert attenuator.ask("OUTP1:POW:CONT?;CONTR?") == "1;1"
        for watts in (1e-3, 1e-4):
            attenuator.shine(watts, "input1")
            assert attenuator.light("output1").power == pytest.approx(1e-6)
        assert float(attenuator.ask("READ1:POW?")) == pytest.approx(-30.0)
        assert attenuator.ask("STAT:QUES:COND?") == "0"
        attenuator.shine(1e-7, "input1")
        assert attenuator.ask("STAT:QUES:COND?") == "2"
        assert float(attenuator.ask("INP1:ATT?")) == 0.0
        attenuator.ask("OUTP1:POW:UNIT 1;:OUTP1:POW 5UW")
        assert float(attenuator.ask("OUTP1:POW?")) == pytest.approx(5e-6)
        attenuator.shine(1e-3, "input1")
        assert attenuator.light("output1").power == pytest.approx(5e-6)
        place = attenuator.ask("INP1:ATT?")
        attenuator.ask("OUTP1:POW:CONT 0")
        attenuator.shine(1e-4, "input1")
        assert attenuator.ask("INP1:ATT?") == place
        attenuator.ask("OUTP1:POW 10UW;*OPC?")
        assert attenuator.light("output1").power == pytest.approx(1e-5)
        assert attenuator.ask("FETC1:POW?") == "+1.00000000E-006"

    def test_zeroing_needs_darkness(self) -> None:
        attenuator = Attenuator(**CONTROL)
        attenuator.shine(1e-3, "input1")
        attenuator.ask("OUTP1:CORR:COLL:ZERO;*OPC?")
        assert attenuator.clock.monotonic() == pytest.approx(3.0)
        assert attenuator.ask("OUTP1:CORR:COLL:ZERO?") == "+0"
        attenuator.ask("OUTP1 1;:OUTP1:CORR:COLL:ZERO:ALL")
        assert attenuator.ask("OUTP1:CORR:COLL:ZERO?") == "-1"

    def test_faults(self) -> None:
        attenuator = Attenuator()
        attenuator.ask("OUTP1 1")
        attenuator.twin.faults.add("stay-on")
        attenuator.ask("OUTP1 0;*RST")
        assert attenuator.ask("OUTP1?") == "1"
        assert attenuator.through() < 2
        attenuator.twin.faults.clear()
        attenuator.twin.faults.add("lockout")
        attenuator.ask("OUTP1 0")
        assert attenuator.error() == -203
        assert attenuator.ask("OUTP1?") == "1"
