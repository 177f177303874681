"""Santec TSL-550 and TSL-570 tunable lasers: SCPI and two-letter commands (sheet laser_santec_tsl550_tsl570.md).

Light leaves port "output": diode on, shutter open.

What the sheet leaves open, and what stands here:

- Power-on and *RST: diode off, shutter open, automatic power control, band centre, legacy units (TSL-570: the command
  set survives *RST). The monitor stands behind the shutter and shows -40 dBm in the dark.
- Tuning glides at 50 nm/s and takes 0.1 s at least; power and attenuator take 0.2 s, the diode `diode_time` until its
  power is there, rising all the while. While a sweep runs, a new wavelength is refused with -200.
- Manual power control: 13 dBm less the attenuation. Fine tuning: 0.1 pm a unit. Coherence control, the display's unit
  and what the trigger output does to the world are kept and change no light.
- A one-way sweep flies back between cycles, a two-way cycle goes there and back, 0 cycles count as one; step sweeps
  take 20 ms a step on top of the dwell. Modes of constant frequency steps exist as two-letter modes only. The whole
  range may be swept at any speed.
- The log holds the last finished pass: a point at every trigger step (continuous) or every step, none while the trigger
  output is "none". SCPI mode: doubles in m; power log: signed 32-bit little-endian in 0.01 dBm, SCPI mode doubles in
  dBm. `TA` ends without delimiter.
- Numbers in SCPI mode are all like the sheet's wavelength; whole numbers are plain in both modes.
- Two-letter commands exist on the TSL-550 only. Those without a number that switch something answer with their own
  name; a number out of range changes nothing and is answered with the present value; `OP` and `LP` without a number
  give the monitor. Unknown ones answer NR.
- The "interlock" fault opens the loop: diode off (and it stays off), alert 07, POW:STAT 1 refused with -200. Other
  alerts never come. A reboot drops the link and takes 60 s, a shutdown does not come back.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl.units import LIGHT_SPEED, dbm, from_db, from_dbm, to_db
from labqdl_sim.kinds import Boolean, Integer, Number, ScpiError, Word, scientific
from labqdl_sim.ports import DARK, Light
from labqdl_sim.scpi import Param, ScpiTwin, command, query
from labqdl_sim.tokens import block
from labqdl_sim.twin import Session, Twin

_C = LIGHT_SPEED / 1e3  # nm THz
_TOP = 13.0  # dBm, without attenuation
_TUNING = 50.0  # nm/s
_STEP_TIME = 0.02
_POINTS = 65_535
_SPEEDS_570 = (1, 2, 5, 10, 20, 50, 100, 200)


class _Real(Number):
    """A number with fixed decimals in legacy mode, in scientific notation in SCPI mode."""

    decimals = 2

    def __init__(self, low: float, high: float, decimals: int = 2) -> None:
        super().__init__("", (low, high))
        self.decimals = decimals

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> float:
        """Rounded to the instrument's step."""
        return round(super().parse(twin, token), self.decimals)

    def show(self, twin: ScpiTwin, value: float) -> str:
        """The value in a reply."""
        return scientific(value) if _of(twin).scpi else f"{value:.{self.decimals}f}"


class _Scaled(Number):
    """Nanometres or terahertz in legacy mode, metres or hertz in SCPI mode."""

    def __init__(self, units: tuple[str, str], factor: float, decimals: int, span: bool = False) -> None:
        super().__init__(units[0], self._span if span else self._range)
        self._other = Number(units[1])
        self._factor = factor
        self._decimals = decimals

    def _range(self, twin: ScpiTwin, *_: int) -> tuple[float, float]:
        low, high = _of(twin).band
        return (low, high) if self.unit == "NM" else (_C / high, _C / low)

    def _span(self, twin: ScpiTwin, *_: int) -> tuple[float, float]:
        low, high = self._range(twin)
        return (1e-4 if self.unit == "NM" else 2e-5), high - low

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> float:
        """The value in nm or THz."""
        value = self._other._read(token) / self._factor if _of(twin).scpi else self._read(token)
        low, high = self.bounds(twin)
        if not low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
            raise ScpiError(-222)
        return round(value, self._decimals)

    def show(self, twin: ScpiTwin, value: float) -> str:
        """The value in a reply."""
        return scientific(value * self._factor) if _of(twin).scpi else f"{value:.{self._decimals}f}"


class _Power(Number):
    """A power, kept in dBm, in the unit of POWer:UNIT."""

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> float:
        """The value in dBm."""
        value = Number("MW" if _of(twin).milliwatts else "DBM")._read(token)
        low, high = (0.03, 20.0) if _of(twin).milliwatts else (-15.0, 13.0)
        if not low <= value <= high:
            raise ScpiError(-222)
        return to_db(value) if _of(twin).milliwatts else round(value, 2)

    def bounds(self, twin: ScpiTwin, *suffixes: int) -> tuple[float, float]:
        """Lowest and highest value in dBm."""
        return -15.0, 13.0

    def show(self, twin: ScpiTwin, value: float) -> str:
        """The value in a reply."""
        value = from_db(value) if _of(twin).milliwatts else value
        return scientific(value) if _of(twin).scpi else f"{value:.2f}"


_LENGTH = _Scaled(("NM", "M"), 1e-9, 4)
_LENGTH_STEP = _Scaled(("NM", "M"), 1e-9, 4, span=True)
_FREQUENCY = _Scaled(("THZ", "HZ"), 1e12, 5)
_FREQUENCY_STEP = _Scaled(("THZ", "HZ"), 1e12, 5, span=True)


@dataclass(frozen=True)
class _Sweep:
    """A sweep as a function of time; wavelengths in nm, `begin` infinite while it waits for a trigger."""

    start: float
    stop: float
    continuous: bool
    two_way: bool
    speed: float
    step: float
    by_frequency: bool
    dwell: float
    delay: float
    cycles: float
    begin: float

    @property
    def steps(self) -> int:
        """Steps of one pass."""
        span = abs(_C / self.stop - _C / self.start) if self.by_frequency else abs(self.stop - self.start)
        return int(span / self.step + 1e-6)

    @property
    def out(self) -> float:
        """Seconds of one pass."""
        if self.continuous:
            return max(abs(self.stop - self.start) / self.speed, 1e-3)
        return (self.steps + 1) * (self.dwell + _STEP_TIME)

    @property
    def back(self) -> float:
        """Seconds back to the start."""
        return self.out if self.two_way else abs(self.stop - self.start) / _TUNING

    @property
    def active(self) -> float:
        """Seconds of one cycle that count as sweep."""
        return self.out + (self.back if self.two_way else 0.0)

    @property
    def period(self) -> float:
        """Seconds from one cycle's beginning to the next one's."""
        return self.out + self.back + self.delay

    @property
    def end(self) -> float:
        """Instrument time at which it is over."""
        return self.begin + (self.cycles - 1) * self.period + self.active

    def finished(self, t: float) -> int:
        """Cycles that are over at time t."""
        elapsed = t - self.begin
        return int(min(self.cycles, (elapsed - self.active) // self.period + 1)) if elapsed >= self.active else 0

    def at(self, t: float) -> float:
        """Wavelength at time t."""
        elapsed = min(t, self.end) - self.begin
        if elapsed <= 0:
            return self.start
        if t >= self.end:
            return self.start if self.two_way else self._forward(self.out)
        within = elapsed % self.period
        if within < self.out:
            return self._forward(within)
        if within < self.out + self.back:
            if self.two_way:
                return self._forward(2 * self.out - within)
            return self.stop + (self.start - self.stop) * (within - self.out) / self.back
        return self.start

    def _forward(self, seconds: float) -> float:
        if self.continuous:
            return self.start + math.copysign(
                min(self.speed * seconds, abs(self.stop - self.start)), self.stop - self.start
            )
        return float(self.grid(min(int(seconds / (self.dwell + _STEP_TIME)), self.steps)))

    def grid(self, index: int | NDArray[np.float64]) -> float | NDArray[np.float64]:
        """Wavelength of a step."""
        sign = math.copysign(self.step, self.stop - self.start)
        return _C / (_C / self.start - sign * index) if self.by_frequency else self.start + sign * index

    def points(self, spacing: float) -> NDArray[np.float64]:
        """Wavelengths of the log of one pass."""
        if not self.continuous:
            return np.asarray(self.grid(np.arange(min(self.steps + 1, _POINTS), dtype=np.float64)))
        count = min(int(abs(self.stop - self.start) / spacing + 1e-6) + 1, _POINTS)
        return self.start + math.copysign(spacing, self.stop - self.start) * np.arange(count, dtype=np.float64)


class SantecTsl(ScpiTwin):
    """A TSL-570, in legacy mode.

    Options: `model` ("TSL-550", "TSL-570"), `code` (True: begins in SCPI mode), `range` (model code, "500630" for 1500
    to 1630 nm), `delimiter` ("CR", "LF", "CRLF"), `diode_time` (s).
    """

    maker = "SANTEC"
    model = "TSL-570"
    serial = ""
    firmware = ""
    resources = ("TCPIP0::{name}::5000::SOCKET", "ASRL{name}::INSTR", "TCPIP0::{name}::inst0::INSTR")
    roads = ("socket", "serial")
    terminators = b"\r"
    reply_terminator = b"\r"
    registers = {}  # noqa: RUF012
    without = ("SYSTem:VERSion", "SYSTem:ERRor:COUNt", "STATus", "*TST", "*TRG")
    error_format = '{code},"{text}"'
    error_codes = {  # noqa: RUF012 - the sheet's list is shorter than the standard's
        -101: -102, -104: -148, -114: -113, -120: -102, -121: -102, -123: -222, -131: -102, -138: -108, -151: -102,
        -221: -200, -224: -222, -350: -200, -363: -200,
    }  # fmt: skip

    def setup(self) -> None:
        """Choose model and range, open the fibre."""
        self.old = self.model == "TSL-550"
        self.serial = self.serial or ("06020001" if self.old else "21020001")
        self.firmware = self.firmware or ("0001.0000" if self.old else "0001.000.0001")
        self.baud = 9600 if self.old else None
        self._starts_in_scpi = self.option("code", False)
        self.diode_time = self.option("diode_time", 10.0)
        band = self.option("range", "500630")
        if not re.fullmatch(r"\d{6}", band) or band[:3] >= band[3:]:
            raise InputError(f"no range {band!r}", key=self.name, expected="a model code such as '500630'")
        self.band = (1000.0 + int(band[:3]), 1000.0 + int(band[3:]))
        ends = {"CR": b"\r", "LF": b"\n", "CRLF": b"\r\n"}
        delimiter = self.option("delimiter", "CR")
        if delimiter not in ends:
            raise InputError(f"no delimiter {delimiter!r}", key=self.name, expected="CR, LF or CRLF")
        self.reply_terminator = ends[delimiter]
        self.terminators = ends[delimiter][-1:]
        self.code = self._starts_in_scpi and not self.old
        self.booting_until = -math.inf
        self.light_out("output", self.light)

    def reset(self) -> None:
        """Power-on and *RST: dark."""
        self.diode = False
        self.on_at = -math.inf
        centre = sum(self.band) / 2
        self.course = (centre, centre, 0.0, 0.0)
        self.sweep: _Sweep | None = None
        self.sweeping = False
        self.paused_at: float | None = None
        self.fine_on = False
        self.by_frequency = False
        self.set_busy_until = -math.inf

    def restore(self) -> None:
        """*RST."""
        if self.stays_on and self.diode:
            return
        super().restore()

    @property
    def scpi(self) -> bool:
        """Whether numbers are in m and Hz."""
        return self.code

    # The laser

    def emitting(self) -> bool:
        """Whether the diode is on; an open interlock switches it off."""
        if self.diode and self.interlocked and not self.stays_on:
            self.diode = False
        return self.diode and self.now >= self.booting_until

    def position(self, t: float) -> float:
        """Wavelength in nm, fine tuning apart."""
        if self.sweep is not None and self.sweeping and t >= self.sweep.begin:
            return self.sweep.at(t if self.paused_at is None else min(t, self.paused_at))
        start, end, since, seconds = self.course
        return end if t >= since + seconds else start + (end - start) * max(t - since, 0.0) / seconds

    def level(self) -> float:
        """Power in dBm that the diode and its attenuator are set to."""
        return self.power if self.automatic else _TOP - self.attenuation

    def light(self, t: float) -> Light:
        """What leaves the fibre."""
        if not self.emitting() or self.shutter:
            return DARK
        share = min((t - self.on_at) / self.diode_time, 1.0) if self.diode_time > 0 else 1.0
        if share <= 0:
            return DARK
        return Light(share * from_dbm(self.level()), (self.position(t) + self.fine * 1e-4) * 1e-9)

    def monitored(self) -> float:
        """The monitor in dBm."""
        return max(dbm(self.light(self.now).power), -40.0)

    def move(self, target: float, begin: float) -> float:
        """Tune from where it stands; seconds that it takes."""
        start = self.position(begin)
        seconds = 0.1 + abs(target - start) / _TUNING if abs(target - start) > 1e-9 else 0.0
        self.course = (start, target, begin, seconds)
        return seconds

    # Messages

    def execute(self, message: bytes) -> bytes | None:
        """One message, two-letter commands of the old model first."""
        self.follow_sweep()
        if self.old:
            found = _TWO_LETTERS.fullmatch(message.strip())
            if found is not None:
                return self.two_letters(found[1].decode().upper(), found[2])
        return super().execute(message)

    def follow_sweep(self) -> None:
        """The present wavelength is what a sweep has come to."""
        if self.sweep is None or not self.sweeping:
            return
        now = self.now
        if now >= self.sweep.begin:
            self.wavelength = round(self.position(now), 4)
        if self.paused_at is None and now >= self.sweep.end:
            self.end_sweep()

    def end_sweep(self) -> None:
        """The laser stands where it is."""
        now = self.now
        place = self.position(now)
        self.course = (place, place, now, 0.0)
        self.sweeping, self.paused_at = False, None

    def connect(self, *, exchange: bool = False, baud: int | None = None) -> Session:
        """Nobody is at home while it boots."""
        if self.clock.monotonic() < self.booting_until:
            raise ConnectionRefusedError(f"{self.name} boots")
        return super().connect(exchange=exchange, baud=baud)

    # Settings

    wavelength = Param("WAVelength", _LENGTH, lambda twin: sum(twin.band) / 2)
    display_unit = Param("WAVelength:UNIT", Integer((0, 1)), 0)
    fine = Param("WAVelength:FINe", _Real(-100.0, 100.0), 0.0)
    coherence = Param("COHCtrl", Boolean(), False)
    power = Param("POWer", _Power("DBM"), 0.0)
    milliwatts = Param("POWer:UNIT", Boolean(), False)
    automatic = Param("POWer:ATTenuation:AUTo", Boolean(), True)
    shutter = Param("POWer:SHUTter", Boolean(), False)
    attenuation = Param("POWer:ATTenuation", _Real(0.0, 30.0), 0.0, readable=False)
    sweep_start = Param("WAVelength:SWEep:STARt", _LENGTH, lambda twin: twin.band[0])
    sweep_stop = Param("WAVelength:SWEep:STOP", _LENGTH, lambda twin: twin.band[1])
    sweep_step = Param("WAVelength:SWEep:STEP", _LENGTH_STEP, 1.0)
    frequency_step = Param("[WAVelength:]FREQuency:SWEep:STEP", _FREQUENCY_STEP, 0.1)
    sweep_mode = Param("WAVelength:SWEep:MODe", Integer((0, 3)), 1)
    speed = Param("WAVelength:SWEep:SPEed", _Real(0.5, 200.0, 1), 10.0)
    dwell = Param("WAVelength:SWEep:DWELl", _Real(0.0, 999.9, 1), 0.0)
    delay = Param("WAVelength:SWEep:DELay", _Real(0.0, 999.9, 1), 0.0)
    cycles = Param("WAVelength:SWEep:CYCLes", Integer((0, 999)), 1)
    trigger_output = Param("TRIGger:OUTPut", Integer((0, 3)), 0)
    trigger_setting = Param("TRIGger:OUTPut:SETTing", Integer((0, 1)), 0)
    trigger_step = Param("TRIGger:OUTPut:STEP", _LENGTH_STEP, 0.1)
    external = Param("TRIGger:INPut:EXTernal", Boolean(), False)
    standby = Param("TRIGger:INPut:STANdby", Boolean(), False)

    @wavelength.check
    def _may_tune(self, value: float) -> None:
        if self.sweeping:
            raise ScpiError(-200)

    @wavelength.changed
    def _tune(self, value: float) -> None:
        self.operate(self.move(value, self.now))

    @fine.changed
    def _fine_tuned(self, value: float) -> None:
        self.fine_on = True

    @speed.check
    def _possible_speed(self, value: float) -> None:
        if value > 100 if self.old else value not in _SPEEDS_570:
            raise ScpiError(-222)

    @shutter.check
    def _stuck_shutter(self, value: bool) -> bool:
        return value and not self.stays_on

    @power.changed
    @attenuation.changed
    def _attenuator_moves(self, value: float) -> None:
        self.set_busy_until = self.now + 0.2
        self.operate(0.2)

    @command("SYSTem:COMMunicate:CODe", takes=[Integer((0, 1))])
    def set_code(self, value: int) -> None:
        """Legacy or SCPI units."""
        if self.old:
            raise ScpiError(-113)
        self.code = bool(value)

    @query("SYSTem:COMMunicate:CODe?")
    def get_code(self) -> bool:
        """Legacy or SCPI units."""
        if self.old:
            raise ScpiError(-113)
        return self.code

    @query("WAVelength:MINimum?", passes=["MIN"])
    @query("WAVelength:MAXimum?", passes=["MAX"])
    @query("WAVelength:SWEep:RANGe:MINimum?", passes=["MIN"])
    @query("WAVelength:SWEep:RANGe:MAXimum?", passes=["MAX"])
    def range_end(self, which: str) -> str:
        """An end of the range."""
        return _LENGTH.show(self, _LENGTH.extreme(self, which))

    @query("[WAVelength:]FREQuency:MINimum?", passes=["MIN"])
    @query("[WAVelength:]FREQuency:MAXimum?", passes=["MAX"])
    def frequency_end(self, which: str) -> str:
        """An end of the range as frequency."""
        return _FREQUENCY.show(self, _FREQUENCY.extreme(self, which))

    @command("[WAVelength:]FREQuency", takes=[_FREQUENCY])
    def set_frequency(self, value: float) -> None:
        """Wavelength by its frequency."""
        self._may_tune(value)
        self.wavelength = _C / value
        self._tune(self.wavelength)

    @query("[WAVelength:]FREQuency?", takes=[Word()], least=0)
    def get_frequency(self, which: str = "") -> str:
        """Frequency of the wavelength, or an end of the range."""
        if which:
            return self.frequency_end(_end(which))
        return _FREQUENCY.show(self, _C / self.wavelength)

    @command("[WAVelength:]FREQuency:SWEep:STARt", takes=[_FREQUENCY])
    def set_frequency_start(self, value: float) -> None:
        """Start of the sweep."""
        self.sweep_start = _C / value

    @query("[WAVelength:]FREQuency:SWEep:STARt?")
    def get_frequency_start(self) -> str:
        """Start of the sweep."""
        return _FREQUENCY.show(self, _C / self.sweep_start)

    @command("[WAVelength:]FREQuency:SWEep:STOP", takes=[_FREQUENCY])
    def set_frequency_stop(self, value: float) -> None:
        """End of the sweep."""
        self.sweep_stop = _C / value

    @query("[WAVelength:]FREQuency:SWEep:STOP?")
    def get_frequency_stop(self) -> str:
        """End of the sweep."""
        return _FREQUENCY.show(self, _C / self.sweep_stop)

    @command("WAVelength:FINe:DISable")
    def end_fine(self) -> None:
        """Fine tuning ends."""
        self.fine, self.fine_on = 0.0, False

    @command("POWer:STATe", takes=[Boolean()])
    def switch(self, on: bool) -> None:
        """The diode."""
        if on and self.interlocked:
            raise ScpiError(-200)
        if on and not self.diode:
            self.diode, self.on_at = True, self.now
            self.operate(self.diode_time)
        elif not on and not self.stays_on:
            self.diode = False

    @query("POWer:STATe?")
    def switched(self) -> bool:
        """Whether the diode is on."""
        return self.emitting()

    @query("POWer:ACTual?")
    def actual(self) -> str:
        """The monitor."""
        return _Power("DBM").show(self, self.monitored())

    @query("POWer:ATTenuation?")
    def attenuated(self) -> str:
        """The attenuator, which follows the power under automatic control."""
        return _Real(0, 30).show(self, min(max(_TOP - self.power, 0.0), 30.0) if self.automatic else self.attenuation)

    @query("SYSTem:ALERt?")
    def alert(self) -> str:
        """The interlock's alert, or none."""
        return "No07., Inter lock detection" if self.interlocked else "No alerts."

    @command("SPECial:SHUTdown", passes=[math.inf])
    @command("SPECial:REBoot", passes=[60.0])
    def reboot(self, seconds: float) -> None:
        """The link is lost, everything is as after power-on."""
        self.values.clear()
        self.code = self._starts_in_scpi and not self.old
        self.restore()
        self.clear_status()
        self.booting_until = self.now + seconds
        for session in list(self.sessions):
            session.drop("closed")

    @query("*OPC?")
    def tuned(self) -> bool:
        """Whether all is settled; does not wait."""
        return not self.pending

    # Sweeps

    @command("WAVelength:SWEep[:STATe]", takes=[Boolean()])
    def set_sweep(self, on: bool) -> None:
        """Start or stop."""
        if on:
            self.start_sweep(max(self.cycles, 1))
        else:
            self.stop_sweep()

    @command("WAVelength:SWEep[:STATe]:REPeat")
    def repeat(self) -> None:
        """Sweep until it is stopped."""
        self.start_sweep(math.inf)

    def start_sweep(self, cycles: float) -> None:
        """Move to the start, then sweep, or wait for a trigger there."""
        if self.sweeping:
            raise ScpiError(-200)
        now = self.now
        prepared = self.move(self.sweep_start, now)
        self.operate(prepared)
        waits = self.external or self.standby
        self.sweep = _Sweep(
            self.sweep_start, self.sweep_stop, bool(self.sweep_mode & 1), self.sweep_mode >= 2, self.speed,
            self.frequency_step if self.by_frequency else self.sweep_step, self.by_frequency, self.dwell, self.delay,
            cycles, math.inf if waits else now + prepared,
        )  # fmt: skip
        self.sweeping, self.paused_at = True, None

    def stop_sweep(self) -> None:
        """Stay where it is."""
        if self.sweeping:
            self.wavelength = round(self.position(self.now), 4)
            self.end_sweep()

    @query("WAVelength:SWEep[:STATe]?")
    def sweep_state(self) -> int:
        """0 stopped, 1 running, 3 standing by, 4 moving to the start."""
        if not self.sweeping or self.sweep is None:
            return 0
        if math.isinf(self.sweep.begin):
            return 4 if self.now < self.course[2] + self.course[3] else 3
        return 4 if self.now < self.sweep.begin else 1

    @query("WAVelength:SWEep:COUNt?")
    def count(self) -> int:
        """Finished sweeps."""
        if self.sweep is None:
            return 0
        return self.sweep.finished(self.now if self.paused_at is None else self.paused_at)

    @command("TRIGger:INPut:SOFTtrigger")
    def soft_trigger(self) -> None:
        """Start from standby."""
        if self.sweep_state() != 3 or self.sweep is None:
            raise ScpiError(-200)
        self.sweep = replace(self.sweep, begin=self.now)

    def logged(self) -> NDArray[np.float64]:
        """Wavelengths of the log in nm."""
        if self.sweep is None or not self.trigger_output or self.now < self.sweep.begin + self.sweep.out:
            return np.zeros(0)
        return self.sweep.points(self.trigger_step)

    @query("READout:POINts?")
    def points(self) -> int:
        """Length of the log."""
        return len(self.logged())

    @query("READout:DATa?")
    def wavelength_log(self) -> bytes:
        """The log."""
        log = self.logged()
        return block((log * 1e-9).astype("<f8").tobytes() if self.scpi else np.rint(log * 1e4).astype("<u4").tobytes())

    @query("READout:DATa:POWer?")
    def power_log(self) -> bytes:
        """The power at the log's points."""
        log = np.full(len(self.logged()), self.monitored())
        return block(log.astype("<f8").tobytes() if self.scpi else np.rint(log * 100).astype("<i4").tobytes())

    # Two-letter commands

    def two_letters(self, name: str, number: bytes | None) -> bytes | None:
        """Reply to a two-letter command."""
        try:
            answer = self._two_letters(name, number)
        except ScpiError:
            answer = self._two_letters(name, None) if name in _NUMBERS else "NR"
        return answer if isinstance(answer, bytes) else answer.encode() + self.reply_terminator

    def _two_letters(self, name: str, number: bytes | None) -> str | bytes:
        if name in _NUMBERS:
            header = _NUMBERS[name]
            if number is not None:
                self._unit(b":" + header + b" " + number, "")
            return (self._unit(b":" + header + b"?", "")[0] or b"").decode()
        if name in ("OP", "LP"):
            return self._level(name, number)
        if name == "SM":
            return self._mode(number)
        if number is not None:
            return "NR"
        if name == "TA":
            return np.rint(self.logged() * 1e4).astype(">u4").tobytes()
        if name in ("SU", "SK"):
            return self.status_word() if name == "SU" else self.old_sweep_state()
        if name == "TN":
            return str(self.points())
        if not self._switch(name):
            return "NR"
        return name

    def _switch(self, name: str) -> bool:
        if name in _SWITCHES:
            self._unit(_SWITCHES[name], "")
        elif name in ("AF", "AO"):
            if self.shutter:
                raise ScpiError(-200)
            self.automatic = name == "AF"
        elif name == "SP":
            if self.sweep_state() == 1 and self.paused_at is None:
                self.paused_at = self.now
        elif name == "SR":
            if self.sweeping and self.paused_at is not None and self.sweep is not None:
                self.sweep = replace(self.sweep, begin=self.sweep.begin + self.now - self.paused_at)
                self.paused_at = None
        else:
            return False
        return True

    def _level(self, name: str, number: bytes | None) -> str:
        if number is not None:
            unit, self.milliwatts = self.milliwatts, name == "LP"
            try:
                self._unit(b":POW " + number, "")
                level = self.power
            except ScpiError:
                level = self.power
            finally:
                self.milliwatts = unit
        else:
            level = self.monitored()
        return f"{level:+08.3f}" if name == "OP" else f"{from_db(level):.2f}"

    def _mode(self, number: bytes | None) -> str:
        if number is not None and number.isdigit() and len(number) < 3 and 1 <= int(number) <= 12:
            self.standby = int(number) > 6
            kind = (int(number) - 1) % 6
            self.sweep_mode = (1, 3, 0, 2, 0, 2)[kind]
            self.by_frequency = kind >= 4
        kind = (2, 0, 3, 1)[self.sweep_mode] + 2 * (self.by_frequency and not self.sweep_mode & 1)
        return str(kind + 1 + 6 * self.standby)

    def old_sweep_state(self) -> str:
        """0 stop, 1 running, 2 pause, 3 awaiting trigger, 4 moving to the start."""
        return "2" if self.sweeping and self.paused_at is not None else str(self.sweep_state())

    def status_word(self) -> str:
        """`-011000`."""
        now = self.now
        moving = now < self.course[2] + self.course[3]
        busy = moving + 2 * (self.emitting() and now < self.on_at + self.diode_time) + 4 * (now < self.set_busy_until)
        busy = busy or int(self.faults.active("busy"))
        sign = "-" if self.emitting() else ""
        return f"{sign}{self.coherence:d}{self.fine_on:d}{not self.automatic:d}00{busy}"


def _of(twin: Twin) -> SantecTsl:
    assert isinstance(twin, SantecTsl)
    return twin


def _end(word: str) -> str:
    ends = {"MIN": "MIN", "MINIMUM": "MIN", "MAX": "MAX", "MAXIMUM": "MAX"}
    if word.upper() not in ends:
        raise ScpiError(-108)
    return ends[word.upper()]


_TWO_LETTERS = re.compile(rb"(TRE|TRD|[A-Z]{2})[ \t]*([+-]?(?:\d+\.?\d*|\.\d+))?", re.IGNORECASE)
_NUMBERS = {
    "WA": b"WAV", "FQ": b"WAV:FREQ", "FT": b"WAV:FIN", "AT": b"POW:ATT", "SS": b"WAV:SWE:STAR", "SE": b"WAV:SWE:STOP",
    "FS": b"FREQ:SWE:STAR", "FF": b"FREQ:SWE:STOP", "WW": b"WAV:SWE:STEP", "WF": b"FREQ:SWE:STEP",
    "SN": b"WAV:SWE:SPE", "SB": b"WAV:SWE:DWEL", "SA": b"WAV:SWE:DEL", "SZ": b"WAV:SWE:CYCL", "TM": b"TRIG:OUTP",
    "TW": b"TRIG:OUTP:STEP",
}  # fmt: skip
_SWITCHES = {
    "LO": b":POW:STAT 1", "LF": b":POW:STAT 0", "SO": b":POW:SHUT 0", "SC": b":POW:SHUT 1", "CO": b":COHC 1",
    "CF": b":COHC 0", "SG": b":WAV:SWE 1", "SQ": b":WAV:SWE 0", "TRE": b":TRIG:INP:EXT 1", "TRD": b":TRIG:INP:EXT 0",
}  # fmt: skip

TWIN = SantecTsl
