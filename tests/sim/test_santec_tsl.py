"""The TSL's twin: the sheet's examples, both unit systems, both dialects, tuning, sweeps, logs, emission."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl_sim.bench import Bench
from labqdl_sim.routes.visa import SimVisaLibrary
from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, Wire, check_flood, check_fuzz, check_titles, play_example

NAME = "santec-tsl"
SHEET = load(NAME)


class Laser(Lab):
    def __init__(self, **options: object) -> None:
        super().__init__(NAME, **options)

    def on(self) -> Laser:
        self.ask(":POW:STAT 1")
        self.after(11.0)
        return self

    def wavelength(self) -> float:
        """Of the light, in nm."""
        return self.light().wavelength * 1e9


def say(*messages: str, seconds: float = 0.0) -> Before:
    def before(lab: Lab) -> None:
        for message in messages:
            lab.wire.ask(message.encode() + b"\r")
        lab.after(seconds)

    return before


def interlock(lab: Lab) -> None:
    lab.twin.faults.add("interlock")


OLD: dict[str, object] = {"model": "TSL-550"}
OPTIONS: dict[str, dict[str, object]] = {
    "identity of a TSL-550": OLD,
    "wavelength in SCPI mode": {"code": True},
    "nanometres in SCPI mode are out of range": {"code": True},
    "power when off, two-letter command": OLD,
    "status word, two-letter command": OLD,
}
BEFORE: dict[str, Before] = {
    "wavelength in legacy mode": say(":WAV 1550"),
    "wavelength in SCPI mode": say(":WAV 1.55E-6"),
    "data out of range": say(":WAV 999"),
    "interlock alert": interlock,
    "tuning not complete, then complete": say(":WAV 1600"),
    "sweep runs, then has stopped": say(":WAV 1550", ":WAV:SWE:STAR 1550", ":WAV:SWE:STOP 1560", seconds=5.0),
    "wavelength log of one point": say(
        ":WAV 1550;:WAV:SWE:STAR 1550;STOP 1550.05;:TRIG:OUTP 3", ":WAV:SWE 1", seconds=20.0
    ),
    "status word, two-letter command": say("LO", "AO", "FT10", seconds=20.0),
}
PAUSES = {"tuning not complete, then complete": (0.0, 5.0), "sweep runs, then has stopped": (0.0, 0.1, 2.0)}
NOT_SIMULATED: dict[str, str] = {}


@pytest.mark.parametrize("example", [e for e in SHEET.examples if e.title not in NOT_SIMULATED], ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, OPTIONS, BEFORE, PAUSES)


def test_the_very_bytes_of_examples_of_form() -> None:
    laser = Laser()
    assert laser.ask("*IDN?") == "SANTEC,TSL-570,21020001,0001.000.0001"
    assert laser.ask(":WAV 1550;:WAV?") == "1550.0000"
    assert laser.ask(":SYST:COMM:COD 1;:WAV?") == "+1.55000000E-006"
    old = Laser(**OLD)
    assert old.ask("*IDN?") == "SANTEC,TSL-550,06020001,0001.0000"
    assert old.ask("OP") == "-040.000"
    say("LO", "AO", "FT10", seconds=20.0)(old)
    assert old.ask("SU") == "-011000"


def test_every_example_and_every_command_is_there() -> None:
    check_titles(SHEET, OPTIONS, BEFORE, PAUSES, NOT_SIMULATED)
    for command in SHEET.commands:
        laser = Laser(**({} if command == ":SYST:COMM:COD" else OLD))
        if command[0] in ":*":
            answers = [laser.ask(command + ending) for ending in ("?", "", " 1")]
            codes = set(iter(laser.error, 0)) if not command.startswith(":SPEC") else set()
            assert any(answers) or codes != {-113}, command
        else:
            assert laser.ask(command) not in ("", "NR") or command == "TA", command


class TestMessages:
    @pytest.mark.parametrize(
        ("message", "code"),
        [
            (":NONSENSE 1", -113), (":WAV", -109), (":WAV 1,2", -108), (":WAV 1700", -222), (":WAV ABC", -148),
            (":POW 14", -222), (":POW:STAT 2", 0), (":WAV:SWE:SPE 3", -222), (":WAV:SWE:MOD 4", -222), (":$", -102),
            (":WAV:FIN 100.1", -222), (":TRIG:INP:SOFT", -200), (":POW:ATT 31", -222), (":WAV:SWE:CYCL 1000", -222),
        ],
    )  # fmt: skip
    def test_errors(self, message: str, code: int) -> None:
        laser = Laser()
        laser.ask(message)
        assert laser.error() == code
        assert laser.ask(":SYST:ERR?") == '0,"No error"'

    def test_short_long_and_aliases(self) -> None:
        laser = Laser()
        laser.ask(":FREQuency 193.4145")
        assert laser.ask(":wavelength:frequency?") == "193.41450"
        assert laser.ask(":WAV?") == "1550.0000" or float(laser.ask(":WAV?")) == pytest.approx(299792.458 / 193.4145)
        assert laser.ask(":WAV:MIN?;:WAV:MAX?") == "1500.0000;1630.0000"
        assert laser.ask(":WAV? MIN") == "1500.0000"
        assert laser.ask(":FREQ:MIN?") == laser.ask(":FREQ? MIN") == f"{299792.458 / 1630:.5f}"

    def test_scpi_units(self) -> None:
        laser = Laser(code=True)
        assert laser.ask(":SYST:COMM:COD?") == "1"
        laser.ask(":WAV 1.5501234E-6")
        assert laser.ask(":WAV?") == "+1.55012340E-006"
        laser.ask(":FREQ 1.93E14")
        assert float(laser.ask(":FREQ?")) == pytest.approx(1.93e14)
        laser.ask("*RST")
        assert laser.ask(":SYST:COMM:COD?") == "1"
        laser.ask(":WAV 1550")
        assert laser.error() == -222

    def test_power_units(self) -> None:
        laser = Laser()
        laser.ask(":POW 10;:POW:UNIT 1")
        assert laser.ask(":POW?") == "10.00"
        laser.ask(":POW 20.1")
        assert laser.error() == -222
        laser.ask(":POW 5;:POW:UNIT 0")
        assert laser.ask(":POW?") == "6.99"
        assert laser.ask(":POW:ATT?") == "6.01"

    def test_models(self) -> None:
        old = Laser(**OLD)
        assert old.twin.baud == 9600
        assert old.ask(":SYST:COMM:COD?") == ""
        assert old.error() == -113
        old.ask(":WAV:SWE:SPE 3.3")
        assert old.ask(":WAV:SWE:SPE?") == "3.3"
        assert Laser(range="260360").ask(":WAV:MAX?") == "1360.0000"
        for options in ({"range": "x"}, {"delimiter": "EOT"}):
            with pytest.raises(InputError):
                Laser(**options)
        assert Wire(Laser(delimiter="CRLF").twin).ask(b"*OPC?\r\n") == b"1\r\n"

    @pytest.mark.parametrize("model", ["TSL-550", "TSL-570"])
    def test_fuzz(self, model: str) -> None:
        head = st.sampled_from(
            [c for c in SHEET.commands if not c.startswith(":SPEC")] + ["WA", ":WAV", ":SYST:COMM:COD"]
        )
        value = st.sampled_from(
            ["", "?", "1", " 0", " 1550", " 1.55E-6", " 1e999", " -1E-400", " MAX", "? MIN", ' "x"']
        )
        line = st.builds(lambda a, b: (a + b + "\r").encode(), head, value)
        junk = st.binary(max_size=30) | st.just(b"#19\r") | st.just(b"'")
        check_fuzz(NAME, line | line | line | junk, 80, model=model)

    def test_flood(self) -> None:
        check_flood(NAME, b":WAV 1" * 20_000, 1 << 20)


class TestEmission:
    def test_dark_until_on_with_the_shutter_open(self) -> None:
        laser = Laser()
        assert laser.light().dark
        assert laser.ask(":POW:STAT?") == "0"
        laser.ask(":POW:STAT 1")
        assert laser.ask("*OPC?") == "0"
        laser.after(5.0)
        assert laser.light().power == pytest.approx(0.5e-3)
        laser.after(6.0)
        assert laser.ask("*OPC?") == "1"
        assert laser.light().power == pytest.approx(1e-3)
        assert laser.ask(":POW:ACT?") == "0.00"
        laser.ask(":POW:SHUT 1")
        assert laser.light().dark
        assert laser.ask(":POW:ACT?") == "-40.00"
        laser.ask(":POW:SHUT 0")
        assert not laser.light().dark
        laser.ask(":POW:STAT 0")
        assert laser.light().dark

    def test_reset_and_reboot_are_dark(self) -> None:
        laser = Laser().on()
        laser.ask("*RST")
        assert laser.light().dark
        assert laser.ask(":POW:STAT?") == "0"
        laser.on()
        laser.ask(":SPEC:REB")
        assert laser.wire.session.lost == "closed"
        assert laser.light().dark
        with pytest.raises(ConnectionRefusedError):
            laser.twin.connect()
        laser.after(60.0)
        laser.wire = Wire(laser.twin)
        assert laser.ask(":POW:STAT?") == "0"
        assert laser.light().dark

    def test_interlock_latches(self) -> None:
        laser = Laser().on()
        rule = laser.twin.faults.add("interlock")
        assert laser.light().dark
        laser.ask(":POW:STAT 1")
        assert laser.error() == -200
        laser.twin.faults.remove(rule)
        assert laser.light().dark
        assert laser.ask(":SYST:ALER?") == "No alerts."
        laser.on()
        assert not laser.light().dark

    def test_what_stays_on_is_read_back(self) -> None:
        laser = Laser().on()
        laser.twin.faults.add("stay-on")
        laser.ask(":POW:STAT 0;:POW:SHUT 1;*RST")
        assert laser.ask(":POW:STAT?;:POW:SHUT?") == "1;0"
        assert not laser.light().dark

    def test_front_panel_has_it(self) -> None:
        laser = Laser()
        laser.twin.faults.add("lockout")
        laser.ask(":POW:STAT 1")
        assert laser.ask(":POW:STAT?") == "0"
        assert laser.error() == -203

    def test_attenuator_in_manual_control(self) -> None:
        laser = Laser().on()
        laser.ask(":POW:ATT:AUT 0;:POW:ATT 23")
        assert laser.light().power == pytest.approx(1e-4)
        assert laser.ask(":POW:ATT?") == "23.00"

    def test_tuning_glides_and_is_pending(self) -> None:
        laser = Laser().on()
        laser.ask(":WAV 1550;:WAV:FIN 50")
        laser.after(5.0)
        laser.ask(":WAV 1600")
        assert laser.ask("*OPC?") == "0"
        laser.after(0.55)
        assert laser.wavelength() == pytest.approx(1575.005)
        laser.after(0.6)
        assert laser.ask("*OPC?") == "1"
        assert laser.ask(":WAV:FIN:DIS;:WAV:FIN?") == "0.00"
        assert laser.wavelength() == pytest.approx(1600.0)


class TestStrangers:
    def test_pymeasure_drives_it_unmodified(self) -> None:
        from pymeasure.instruments.santec.tsl550 import TSL550, SweepMode, SweepStatus

        bench = Bench(clock=ManualClock())
        laser = Laser(**OLD)
        laser.twin = bench.add(NAME, "tsl", model="TSL-550")
        assert isinstance(bench.clock, ManualClock)
        laser.clock = bench.clock
        device = TSL550(
            "ASRLtsl::INSTR",
            visa_library=SimVisaLibrary.for_bench(bench),
            read_termination="\r",
            write_termination="\r",
        )
        device.power_unit = "dBm"
        device.power_setpoint = 3
        device.wavelength_setpoint = 1555.5
        device.laser_enabled = True
        device.output_enabled = True
        laser.after(20.0)
        assert device.power == pytest.approx(3.0, abs=0.01)
        assert (device.wavelength_setpoint, laser.wavelength()) == pytest.approx((1555.5, 1555.5))
        device.frequency_setpoint = 193.5
        assert device.frequency_setpoint == 193.5
        device.wavelength_start, device.wavelength_stop, device.sweep_speed = 1550, 1560, 12.5
        device.sweep_mode = SweepMode.CONTINUOUS_ONE_WAY
        device.start_sweep()
        assert device.sweep_status == SweepStatus.PREPARATION_FOR_SWEEP_START
        laser.after(3.0)
        assert (device.sweep_status, device.sweep_count) == (SweepStatus.STOPPED, 1)
        device.output_enabled = False
        assert laser.light().dark
        SimVisaLibrary.forget(bench)


class TestSweeps:
    def start(self, laser: Laser, mode: int, *more: str) -> None:
        laser.ask(f":WAV 1550;:WAV:SWE:STAR 1550;STOP 1560;MOD {mode};SPE 10;STEP 5;DWEL 1")
        for message in more:
            laser.ask(message)
        laser.after(10.0)
        laser.ask(":WAV:SWE 1")

    def test_continuous_one_way(self) -> None:
        laser = Laser().on()
        self.start(laser, 1)
        assert laser.ask(":WAV:SWE?") == "1"
        laser.after(0.4)
        assert laser.wavelength() == pytest.approx(1554.0)
        laser.ask(":WAV 1551")
        assert laser.error() == -200
        laser.after(0.6)
        assert laser.ask(":WAV:SWE?;:WAV:SWE:COUN?") == "0;1"
        laser.after(5.0)
        assert laser.wavelength() == pytest.approx(1560.0)
        assert laser.ask(":WAV?") == "1560.0000"

    def test_two_way_cycles_with_a_pause_between(self) -> None:
        laser = Laser().on()
        self.start(laser, 3, ":WAV:SWE:CYCL 2;DEL 1")
        seen = []
        for _ in range(6):
            laser.after(0.9)
            seen.append((laser.wavelength(), laser.ask(":WAV:SWE:COUN?")))
        assert [wavelength for wavelength, _ in seen] == pytest.approx([1559, 1552, 1550, 1556, 1555, 1550])
        assert [count for _, count in seen] == ["0", "0", "1", "1", "1", "2"]

    def test_steps_and_their_log(self) -> None:
        laser = Laser().on()
        self.start(laser, 0, ":TRIG:OUTP 3")
        laser.after(0.5)
        assert laser.wavelength() == pytest.approx(1550.0)
        laser.after(1.0)
        assert laser.wavelength() == pytest.approx(1555.0)
        assert laser.ask(":READ:POIN?") == "0"
        laser.after(2.0)
        assert laser.ask(":READ:POIN?") == "3"
        data = laser.wire.ask(b":READ:DAT?\r")
        assert np.frombuffer(data[4:-1], "<u4").tolist() == [15_500_000, 15_550_000, 15_600_000]
        assert np.frombuffer(laser.wire.ask(b":READ:DAT:POW?\r")[4:-1], "<i4").tolist() == [0, 0, 0]
        laser.ask(":SYST:COMM:COD 1")
        data = laser.wire.ask(b":READ:DAT?\r")
        assert data[:4] == b"#224"
        assert np.frombuffer(data[4:-1], "<f8") == pytest.approx([1550e-9, 1555e-9, 1560e-9])

    def test_trigger_starts_from_standby(self) -> None:
        laser = Laser().on()
        self.start(laser, 1, ":TRIG:INP:STAN 1")
        assert laser.ask(":WAV:SWE?") == "3"
        laser.after(100.0)
        assert laser.ask(":WAV:SWE?") == "3"
        laser.ask(":TRIG:INP:SOFT")
        assert laser.ask(":WAV:SWE?") == "1"
        laser.after(1.1)
        assert laser.ask(":WAV:SWE?") == "0"

    def test_moves_to_the_start_first_and_can_be_stopped(self) -> None:
        laser = Laser().on()
        laser.ask(":WAV 1600")
        laser.after(5.0)
        laser.ask(":WAV:SWE:STAR 1550;STOP 1560;:WAV:SWE:REP")
        assert laser.ask(":WAV:SWE?;*OPC?") == "4;0"
        laser.after(1.2 + 1000)
        assert laser.ask(":WAV:SWE?") == "1"
        laser.ask(":WAV:SWE 0")
        place = laser.wavelength()
        laser.after(5.0)
        assert laser.wavelength() == place
        assert laser.ask(":WAV:SWE?") == "0"


class TestTwoLetters:
    def test_values(self) -> None:
        laser = Laser(**OLD)
        assert laser.ask("WA1550.1234") == "1550.1234"
        assert laser.ask("WA") == "1550.1234"
        assert laser.ask("WA 1700") == "1550.1234"
        assert laser.ask("FQ193.1") == "193.10000"
        assert laser.ask("OP5") == "+005.000"
        assert laser.ask("LP") == "0.00"
        assert laser.ask("LP2") == "2.00"
        assert laser.ask("LP99") == "2.00"
        assert laser.ask("SZ3") == "3"
        assert laser.ask("XX") == "NR"
        assert laser.ask("LO1") == "NR"

    def test_switches(self) -> None:
        laser = Laser(**OLD)
        assert laser.ask("SU") == "000000"
        assert laser.ask("LO") == "LO"
        assert laser.ask("SU") == "-000002"
        laser.after(11.0)
        assert not laser.light().dark
        assert laser.ask("SC") == "SC"
        assert laser.light().dark
        assert laser.ask("AO") == "NR"
        assert laser.ask("SO") == "SO"
        assert laser.ask("CO") == "CO"
        assert laser.ask("AO") == "AO"
        assert laser.ask("SU") == "-101000"
        laser.ask("WA1600")
        assert laser.ask("SU")[-1] == "1"
        laser.ask("AT3")
        assert laser.ask("SU")[-1] == "5"
        assert laser.ask("LF") == "LF"
        assert laser.light().dark

    def test_sweep_with_pause(self) -> None:
        laser = Laser(**OLD)
        laser.ask("LO")
        for message in ("WA1550", "SS1550", "SE1560", "SN10", "SM1", "TM3", "TW5"):
            laser.ask(message)
        laser.after(20.0)
        laser.ask("SG")
        assert laser.ask("SK") == "1"
        laser.after(0.5)
        laser.ask("SP")
        assert laser.ask("SK") == "2"
        laser.after(50.0)
        assert laser.wavelength() == pytest.approx(1555.0)
        laser.ask("SR")
        laser.after(0.2)
        assert laser.wavelength() == pytest.approx(1557.0)
        laser.after(1.0)
        assert laser.ask("SK") == "0"
        assert laser.ask("TN") == "3"
        assert laser.wire.ask(b"TA\r") == np.array([15_500_000, 15_550_000, 15_600_000], ">u4").tobytes()

    @pytest.mark.parametrize("mode", range(1, 13))
    def test_modes(self, mode: int) -> None:
        laser = Laser(**OLD)
        assert laser.ask(f"SM{mode}") == str(mode)
        for message in ("LO", "SS1550", "SE1560", "WW5", "WF0.5"):
            laser.ask(message)
        laser.after(20.0)
        laser.ask("SG")
        laser.after(2.0)
        assert laser.ask("SK") == ("3" if mode > 6 else "0" if mode in (3, 5) else laser.ask("SK"))
        assert 1550.0 <= laser.wavelength() <= 1560.0001
