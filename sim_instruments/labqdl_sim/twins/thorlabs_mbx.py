"""Thorlabs MBX modulator bias controller with attenuator (sheet bias_thorlabs_mbx_mx_series.md).

Lines with a colon before the argument; every set is answered. The bias leaves connector "bias"; light that comes from
the modulator enters port "input", passes tap, attenuator and second tap, and leaves port "output".

What the sheet leaves open, and what stands here:

- Replies end with CR (option `terminator = "LF"` for the manual's).
- A bias sweep takes `sweep_time` s and runs from -10 V to +10 V. Where the light at the input followed it, the set
  point is found in what came: of all voltages that fit, the one closest to 0 V. Where nothing did (no fibre connected,
  or light that does not depend on the bias), it is that of a modulator with option `v_pi` and its null at `v_null`.
- Auto and hold modes and MZM:RESET in one of them start a sweep, except that a hold mode keeps the voltage of the auto
  mode on the same slope if that is locked. Nothing here drifts, so that auto modes stay
  where they locked. After a sweep the loop is at its set point while there is light; in manual mode always.
- MZM:RESET in mode 0 or 7 sweeps as well and returns to the voltage.
- Power ratios mean a transmission of 1 / ratio, relative to the best one.
- The attenuator moves with a time constant of 0.15 s. Off is 1 dB, and so is the lowest attenuation (option
  `lowest`: 0.5 for other firmware). In power mode it goes as far as 1 to 20 dB reach. Without light the measured
  attenuation reads 0.00.
- Errors: no number: "Data type error"; digits where whole ones belong, with a fraction: "Numeric data error"; beyond a
  range: "Data out of range"; no such choice: "Illegal parameter value"; nothing at all: "Parameter error".
- Asleep, all but SYStem answers "Execution error"; the bias is at 0 V, the attenuator off. RESTART takes 2 s, without
  an answer meanwhile. The "lockout" fault answers sets with "Execution error"; with "stay-on" the bias does not return
  to 0 V.
- LAS:POWer? depends on option `laser`: "none", "fixed" ("Tunable laser not selected"), "off", "on" (0, 1),
  "locked" ("Laser is locked").
- Option `silent_sets`: only VOA:MODE and MZM:RESET answer, as PyMeasure's driver expects.

Not simulated: dither (no commands in the sheet), the laser itself and the RF amplifier of MX and TLX (neither).
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from labqdl.units import from_db, to_db
from labqdl_sim.lines import LineTwin, Refusal, line
from labqdl_sim.ports import DARK, Light

_OFF, _PEAK, _NULL, _AUTO_POSITIVE, _AUTO_NEGATIVE, _HOLD_POSITIVE, _HOLD_NEGATIVE, _MANUAL = range(8)
_RATIO_POSITIVE, _RATIO_NEGATIVE = 8, 9
_RISING = (_AUTO_POSITIVE, _HOLD_POSITIVE, _RATIO_POSITIVE)
_RAIL = 10.0
_SAMPLES = 801
_TAU = 0.15
_WHOLE = re.compile(r"[+-]?\d{1,9}")
_REAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_COLOURS = ("RED", "GREEN", "BLUE", "WHITE")


class ThorlabsMbx(LineTwin):
    """An MBX with modulator bias control and attenuator.

    Options: `modulator`, `voa` (False: not fitted), `laser`, `v_pi`, `v_null` (V), `sweep_time` (s), `lowest` (dB),
    `terminator` ("CR", "LF"), `silent_sets`.
    """

    maker = "Thorlabs"
    model = "MBX1"
    serial = "M00123456"
    firmware = "1.10.2"
    resources = ("ASRL{name}::INSTR", "ASRL{serial}::INSTR")
    baud = 115200
    reply_terminator = b"\r"
    keywords = True
    accepted = "1"

    def setup(self) -> None:
        """What is fitted; ports."""
        self.modulator = self.option("modulator", True)
        self.voa = self.option("voa", True)
        self.laser = self.option("laser", "none")
        self.v_pi = self.option("v_pi", 5.0)
        self.v_null = self.option("v_null", 0.33)
        self.sweep_time = self.option("sweep_time", 5.0)
        self.lowest = self.option("lowest", 1.0)
        self.reply_terminator = b"\n" if self.option("terminator", "CR") == "LF" else b"\r"
        self.silent_sets = self.option("silent_sets", False)
        self.input = self.light_in("input")
        self.light_out("output", self.light)
        self.voltage_out("bias", self.bias)

    def reset(self) -> None:
        """Power-on: bias and attenuator off."""
        self.mode = _OFF
        self.millivolts = 0
        self.ratio = 250
        self.swept_at = -math.inf
        self.found: float | None = None  # set point of the last sweep, once somebody asked
        self.resting = 0.0  # V in modes without loop
        self.voa_on = False
        self.voa_mode = 0
        self.attenuation = self.lowest
        self.milliwatts = 1.0
        self.voa_course = (self.lowest, -math.inf)
        self.lights = dict.fromkeys(_COLOURS, 0)
        self.light_mode = 0
        self.asleep = False
        self.awake_from = -math.inf

    # The modulator's bias

    def calibrating(self, t: float) -> bool:
        """Whether the sweep runs."""
        return self.swept_at <= t < self.swept_at + self.sweep_time

    def bias(self, instants: NDArray[np.float64]) -> NDArray[np.float64]:
        """Voltage at many instants."""
        if self.asleep:
            return np.zeros_like(instants)
        phase = (instants - self.swept_at) / self.sweep_time if self.sweep_time > 0 else np.full_like(instants, 2.0)
        sweeping = (phase >= 0) & (phase < 1)
        volts = np.full_like(instants, 0.0)
        if not sweeping.all():
            volts += self.set_point()
        volts[sweeping] = _RAIL * (2 * phase[sweeping] - 1)
        return volts

    def volts(self) -> float:
        """Voltage now."""
        return float(self.bias(np.array([self.now]))[0])

    def set_point(self) -> float:
        """Voltage that the mode wants once it has swept."""
        if self.mode in (_OFF, _MANUAL):
            return self.resting
        if self.now < self.swept_at + self.sweep_time:
            return 0.0
        if self.found is None:
            self.found = self.search()
        return self.found

    def search(self) -> float:
        """The set point, from the light that came during the sweep."""
        volts = np.linspace(-_RAIL, _RAIL, _SAMPLES)
        instants = self.swept_at + (volts + _RAIL) / (2 * _RAIL) * self.sweep_time * (1 - 1e-9)
        self.found = 0.0  # whoever asks for the bias meanwhile gets some
        seen = np.array([self.input.power(float(t)) for t in instants])
        if seen.max() <= 0 or seen.max() - seen.min() < 0.05 * seen.max():
            seen = np.sin(np.pi / 2 * (volts - self.v_null) / self.v_pi) ** 2
        return _closest(volts, seen / seen.max(), self.mode, self.ratio / 100)

    def locked(self) -> bool:
        """Whether the bias is at its set point."""
        if self.mode == _OFF or self.calibrating(self.now):
            return False
        return self.mode == _MANUAL or not self.input.connected or self.input.power(self.now) > 0

    # The attenuator

    def wanted(self, t: float) -> float:
        """Attenuation in dB that the attenuator goes for."""
        if not self.voa_on or self.asleep:
            return self.lowest
        if self.voa_mode == 0:
            return self.attenuation
        power = self.input.power(t) * 1e3
        return min(max(to_db(power / self.milliwatts), self.lowest), 20.0)

    def attenuated(self, t: float) -> float:
        """Attenuation in dB at time t."""
        start, since = self.voa_course
        target = self.wanted(t)
        return target + (start - target) * math.exp(-max(t - since, 0.0) / _TAU)

    def move_voa(self) -> None:
        """From here on the attenuator goes somewhere else."""
        self.voa_course = (self.attenuated(self.now), self.now)

    def light(self, t: float) -> Light:
        """What leaves the box."""
        entering = self.input.at(t)
        if entering.dark:
            return DARK
        loss = self.attenuated(t) if self.voa else 0.0
        return Light(entering.power * from_db(-loss), entering.wavelength)

    # Lines

    def answer(self, text: str) -> bytes | None:
        """One line."""
        if self.now < self.awake_from:
            return None
        system = text[:3].upper() == "SYS"
        if (self.asleep and not system) or (self.locked_out and ":" in text and "?" not in text):
            return b"Err: Execution error"
        reply = super().answer(text)
        silent = self.silent_sets and reply == b"1" and text.rstrip()[-1:] != "?"
        return None if silent and not re.match(r"VOA:MODE:|MZM:RESET", text, re.IGNORECASE) else reply

    def not_understood(self, text: str) -> str:
        """A header that is not there."""
        return "Err: Undefined header"

    def fitted(self, there: bool) -> None:
        """Refuse what the model lacks."""
        if not there:
            old = [int(part) for part in re.findall(r"\d{1,9}", self.firmware)] < [1, 9, 5]
            raise Refusal("Err: Hardware missing" if old else "Err: Feature not present")

    def switch_off_bias(self) -> bool:
        """Whether the bias may return to 0 V."""
        return not self.stays_on

    @line("SYStem:MODEL?")
    def get_model(self) -> str:
        """Model."""
        return self.model

    @line("SYStem:PRODUCT?")
    def product(self) -> str:
        """Product."""
        return "Modulator Bias Controller"

    @line("SYStem:SERial?")
    def get_serial(self) -> str:
        """Serial number."""
        return self.serial

    @line("SYStem:FIRMware?")
    def get_firmware(self) -> str:
        """Firmware."""
        return self.firmware

    @line("SYStem:BOOT?")
    def boot(self) -> str:
        """Boot loader."""
        return "1.0.0"

    @line("SYStem:HARDware?")
    def hardware(self) -> str:
        """Hardware."""
        return "1"

    @line("SYStem:WAVElength?")
    def laser_code(self) -> str:
        """Code of the laser."""
        self.fitted(self.laser != "none")
        return "C"

    @line("SYStem:WAKE")
    def wake(self) -> None:
        """Power up."""
        self.asleep = False

    @line("SYStem:SLEEP")
    def sleep(self) -> None:
        """Power down."""
        if self.switch_off_bias():
            self.mode, self.resting, self.found, self.swept_at = _OFF, 0.0, None, -math.inf
            self.voa_on = False
            self.asleep = True

    @line("SYStem:RESTART")
    def restart(self) -> None:
        """Boot."""
        if self.switch_off_bias():
            self.reset()
        self.awake_from = self.now + 2.0

    @line("MZM:MODe: {x:text}")
    def set_mode(self, x: str) -> None:
        """Mode of the bias."""
        self.fitted(self.modulator)
        mode = _whole(x, 0, 9, choice=True)
        if mode == _OFF:
            if not self.switch_off_bias():
                return
            self.resting, self.swept_at, self.found = 0.0, -math.inf, None
        elif mode == _MANUAL:
            self.resting, self.swept_at, self.found = self.millivolts / 1000, -math.inf, None
        elif not self._same_slope(mode):
            self.mode = mode
            self.sweep()
        self.mode = mode

    def _same_slope(self, mode: int) -> bool:
        """Whether a hold mode may keep what the auto mode has found."""
        pairs = {_HOLD_POSITIVE: _AUTO_POSITIVE, _HOLD_NEGATIVE: _AUTO_NEGATIVE}
        kept = self.mode in (mode, pairs.get(mode)) and mode in pairs and self.locked()
        if kept:
            self.set_point()
        return kept

    def sweep(self) -> None:
        """Start a calibration."""
        self.swept_at, self.found = self.now, None

    @line("MZM:MODe?")
    def get_mode(self) -> int:
        """Mode of the bias."""
        self.fitted(self.modulator)
        return self.mode

    @line("MZM:HOLD:VOLTage: {x:text}")
    def set_voltage(self, x: str) -> None:
        """Voltage of the manual mode, mV."""
        self.fitted(self.modulator)
        self.millivolts = _whole(x, -10_000, 10_000)
        if self.mode == _MANUAL:
            self.resting = self.millivolts / 1000

    @line("MZM:HOLD:VOLTage?")
    def get_voltage(self) -> int:
        """Voltage of the manual mode, mV."""
        self.fitted(self.modulator)
        return self.millivolts

    @line("MZM:HOLD:RATIO: {x:text}")
    def set_ratio(self, x: str) -> None:
        """Power ratio of modes 8 and 9."""
        self.fitted(self.modulator)
        self.ratio = _whole(x, 250, 10_000)
        if self.mode in (_RATIO_POSITIVE, _RATIO_NEGATIVE):
            self.found = None

    @line("MZM:HOLD:RATIO?")
    def get_ratio(self) -> int:
        """Power ratio of modes 8 and 9."""
        self.fitted(self.modulator)
        return self.ratio

    @line("MZM:VOLTage?")
    def voltage(self) -> str:
        """Bias in V."""
        self.fitted(self.modulator)
        return f"{self.volts():.2f}"

    @line("MZM:TAP:MW?")
    def tap(self) -> str:
        """Power behind the modulator."""
        self.fitted(self.modulator)
        return f"{self.input.power(self.now) * 1e3:.2f}"

    @line("MZM:SETpoint?")
    def stable(self) -> bool:
        """Whether the bias is at its set point."""
        self.fitted(self.modulator)
        return self.locked()

    @line("MZM:CALibrating?")
    def get_calibrating(self) -> bool:
        """Whether the sweep runs."""
        self.fitted(self.modulator)
        return self.calibrating(self.now) or self.faults.active("busy")

    @line("MZM:RESET")
    def calibrate(self) -> None:
        """Sweep again."""
        self.fitted(self.modulator)
        self.sweep()

    @line("VOA:POWer: {x:text}")
    def set_voa(self, x: str) -> None:
        """The attenuator's loop."""
        self.fitted(self.voa)
        on = bool(_whole(x, 0, 1, choice=True))
        self.move_voa()
        self.voa_on = on

    @line("VOA:POWer?")
    def get_voa(self) -> bool:
        """The attenuator's loop."""
        self.fitted(self.voa)
        return self.voa_on

    @line("VOA:MODE: {x:text}")
    def set_voa_mode(self, x: str) -> None:
        """Constant attenuation or power."""
        self.fitted(self.voa)
        mode = _whole(x, 0, 1, choice=True)
        self.move_voa()
        self.voa_mode = mode

    @line("VOA:MODE?")
    def get_voa_mode(self) -> int:
        """Constant attenuation or power."""
        self.fitted(self.voa)
        return self.voa_mode

    @line("VOA:ATTen: {x:text}")
    def set_attenuation(self, x: str) -> None:
        """Attenuation in dB."""
        self.fitted(self.voa)
        value = _real(x, self.lowest, 20.0)
        self.move_voa()
        self.attenuation = value

    @line("VOA:ATTen?")
    def get_attenuation(self) -> str:
        """Attenuation in dB."""
        self.fitted(self.voa)
        return f"{self.attenuation:.2f}"

    @line("VOA:OUTput:MW: {x:text}")
    def set_power(self, x: str) -> None:
        """Power in mW."""
        self.fitted(self.voa)
        value = _real(x, 0.01, 100.0)
        self.move_voa()
        self.milliwatts = value

    @line("VOA:OUTput:MW?")
    def get_power(self) -> str:
        """Power in mW."""
        self.fitted(self.voa)
        return f"{self.milliwatts:.2f}"

    def measured(self) -> float:
        """Ratio of the taps in dB."""
        self.fitted(self.voa)
        return self.attenuated(self.now) if self.input.power(self.now) > 0 else 0.0

    @line("VOA:MEASured?")
    def measured_attenuation(self) -> str:
        """Ratio of the taps in dB."""
        return f"{self.measured():.2f}"

    @line("VOA:ERRor?")
    def attenuation_error(self) -> str:
        """Measured less set attenuation in dB."""
        return f"{round(self.measured() - self.attenuation, 2) + 0.0:.2f}"

    @line("VOA:TAP:MW?")
    def voa_tap(self) -> str:
        """Power behind the attenuator."""
        self.fitted(self.voa)
        return f"{self.light(self.now).power * 1e3:.2f}"

    @line("VOA:SETpoint?")
    def voa_stable(self) -> bool:
        """Whether the attenuator is within 0.1 dB."""
        measured = self.measured()
        if not self.voa_on or measured <= 0:
            return False
        target = self.attenuation
        if self.voa_mode == 1:
            target = to_db(self.input.power(self.now) * 1e3 / self.milliwatts)
        return abs(measured - target) <= 0.1

    @line("RGB:POWer: {x:text}")
    def set_light(self, x: str) -> None:
        """Light under the chassis."""
        self.light_mode = _whole(x, 0, 2, choice=True)

    @line("RGB:POWer?")
    def get_light(self) -> int:
        """Light under the chassis."""
        return self.light_mode

    @line("RGB:{colour:word}: {x:text}")
    def set_colour(self, colour: str, x: str) -> None:
        """Brightness of a colour."""
        if colour.upper() not in self.lights:
            raise Refusal("Err: Undefined header")
        self.lights[colour.upper()] = _whole(x, 0, 100)

    @line("RGB:{colour:word}?")
    def get_colour(self, colour: str) -> int:
        """Brightness of a colour."""
        if colour.upper() not in self.lights:
            raise Refusal("Err: Undefined header")
        return self.lights[colour.upper()]

    @line("LASer:POWer?")
    def laser_power(self) -> str:
        """Whether the laser emits."""
        self.fitted(self.laser != "none")
        if self.laser in ("off", "on"):
            return str(int(self.laser == "on"))
        raise Refusal("Err: Laser is locked" if self.laser == "locked" else "Err: Tunable laser not selected")


def _whole(text: str, low: int, high: int, *, choice: bool = False) -> int:
    if _WHOLE.fullmatch(text) is None:
        _real(text, -math.inf, math.inf)
        raise Refusal("Err: Numeric data error")
    if not low <= int(text) <= high:
        raise Refusal("Err: Illegal parameter value" if choice else "Err: Data out of range")
    return int(text)


def _real(text: str, low: float, high: float) -> float:
    if not text.strip():
        raise Refusal("Err: Parameter error")
    if _REAL.fullmatch(text) is None:
        raise Refusal("Err: Data type error")
    if not low <= float(text) <= high:
        raise Refusal("Err: Data out of range")
    return float(text)


def _closest(volts: NDArray[np.float64], seen: NDArray[np.float64], mode: int, ratio: float) -> float:
    """The voltage closest to 0 V at which the light is as the mode wants it."""
    if mode in (_PEAK, _NULL):
        best = seen if mode == _PEAK else -seen
        inside = np.flatnonzero((best[1:-1] >= best[:-2]) & (best[1:-1] >= best[2:])) + 1
        good = inside[best[inside] > best.max() - 0.2] if len(inside) else np.array([int(np.argmax(best))])
        index = int(good[np.argmin(np.abs(volts[good]))])
        left, middle, right = best[max(index - 1, 0)], best[index], best[min(index + 1, len(best) - 1)]
        curvature = left - 2 * middle + right
        shift = 0.5 * (left - right) / curvature if curvature < 0 else 0.0
        return float(volts[index] + shift * (volts[1] - volts[0]))
    level = 1 / ratio if mode in (_RATIO_POSITIVE, _RATIO_NEGATIVE) else (seen.max() + seen.min()) / 2
    above = seen - level
    if mode not in _RISING:
        above = -above
    crossings = np.flatnonzero((above[:-1] < 0) & (above[1:] >= 0))
    if not len(crossings):
        return float(volts[np.argmin(np.abs(above))])
    places = volts[crossings] + (volts[1] - volts[0]) * above[crossings] / (above[crossings] - above[crossings + 1])
    return float(places[np.argmin(np.abs(places))])


TWIN = ThorlabsMbx
