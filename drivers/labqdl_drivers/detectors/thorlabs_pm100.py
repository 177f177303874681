"""Thorlabs PM100D, PM100USB, PM100A, PM101, PM400 and PM16 optical power meters (SCPI)."""

from __future__ import annotations

from typing import ClassVar, cast

from labqdl.driver import NANO, Action, Bool, Custom, Float, Integer, Ranged, ScpiInstrument, Text, Uses, reasons
from labqdl.instruments import Limit, NotAValue, NotConfirmed, Part, PowerMeter
from labqdl.units import from_dbm

_SAMPLE = 3e-3
"""Seconds that one sample of an average takes; newer firmware is ten times faster and does not say so."""


class _Samples(Integer):
    """Samples of an average, which say how long a reading takes."""

    def fetch(self, part: Part) -> int:
        """Ask, and keep it for the time limit of readings."""
        found = super().fetch(part)
        cast(ThorlabsPM100, part).averaged = found
        return found

    def store(self, part: Part, value: int) -> None:
        """Set, and keep it for the same."""
        super().store(part, value)
        cast(ThorlabsPM100, part).averaged = value


class ThorlabsPM100(ScpiInstrument, PowerMeter):
    """A Thorlabs power meter with a photodiode head.

    The unit of the front panel stays as it is: readings are asked for with the unit, and understood in either.
    Wavelength and range limits are read from the head when it opens; after another head was plugged in, open again.
    Less than 80 % of the sheet's commands are used: most of the others are status registers, the front panel and
    thermal or energy heads, which a bench with photodiodes does without.
    """

    maker = "Thorlabs"
    models = ("PM100D", "PM100USB", "PM100A", "PM101", "PM400", "PM16")
    sheet = "powermeter_thorlabs_pm100d"
    identity_pattern = r"(?i)thorlabs PM(100|101|16|400)"
    timeout = 5.0
    left_out: ClassVar = reasons(
        {
            "SENS:CURR:RANG": "photodiode current: the power range says the same",
            "SENS:VOLT:RANG INP:THER SENS:CORR:POW:RESP": "thermal heads and adapters",
            "SENS:CORR:BEAM": "power density is not needed at a fibre",
            "SENS:POW:REF": "differences are taken by whoever has the readings",
            "SENS:CORR:COLL:ZERO:MAGN SENS:CORR:COLL:ZERO:ABOR": "zeroing is waited for, then judged by a reading",
            "CONF INIT FETC READ": "power is asked for with MEAS",
            "SYST:VERS SYST:BEEP SYST:LFR DISP": "the front panel",
            "*RST": "changes everything at once",
            "*CLS *TST *STB *ESR *ESE *SRE STAT": "errors are read from the queue",
        }
    )

    averaged = 1

    wavelength = Float("SENS:CORR:WAV?", "SENS:CORR:WAV {}", unit="m", wire=NANO, limits=lambda meter: meter.band)
    range = Ranged("SENS:POW:RANG?", "SENS:POW:RANG {}", unit="W", limits=lambda meter: meter.ranges)
    auto_range = Bool("SENS:POW:RANG:AUTO?", "SENS:POW:RANG:AUTO {}")
    low_pass = Bool("INP:FILT?", "INP:FILT {}", doc="Whether the input is limited to a low bandwidth.")
    loss_correction = Float(
        "SENS:CORR?", "SENS:CORR {}", unit="dB", limits=(-60, 60), doc="Attenuation before the head that is added back."
    )
    samples = _Samples("SENS:AVER:COUN?", "SENS:AVER:COUN {}", limits=(1, 100_000), doc="Samples of one reading.")
    calibration = Text("CAL:STR?", quoted=True, doc="Text of the head's calibration.")
    abort = Action("ABOR", doc="Stop a measurement.")

    def _power(self) -> float:
        with self.exclusive():
            unit = self.ask("SENS:POW:UNIT?")
            number = self.ask_number("MEAS:POW?", timeout=self.timeout + 2 * self.averaged * _SAMPLE)
        return from_dbm(number) if unit == "DBM" else number

    power = Custom(float, _power, unit="W", uses=("MEAS:POW?", "SENS:POW:UNIT?"))

    def _averaging(self) -> float:
        return self.samples * _SAMPLE

    def _set_averaging(self, seconds: float) -> None:
        self.samples = max(1, round(seconds / _SAMPLE))

    averaging = Custom(
        float,
        _averaging,
        _set_averaging,
        unit="s",
        limits=(_SAMPLE, 300.0),
        derived=True,
        rounds=lambda meter, seconds: max(1, round(seconds / _SAMPLE)) * _SAMPLE,
    )

    @Uses("SYST:SENS:IDN?", "SENS:CORR:WAV? MIN", "SENS:POW:RANG? MAX")
    def learn(self) -> None:
        """Read the head and its limits.

        Raises
        ------
        NotAValue
            Without a head.
        """
        self.head = self.ask("SYST:SENS:IDN?").split(",")[0].strip('"')
        if self.head == "no sensor":
            raise NotAValue(f"{self.name}: no measuring head is plugged in")
        self.band = self._range_of("SENS:CORR:WAV", 1e-9)
        self.ranges = self._range_of("SENS:POW:RANG", 1.0)
        self.averaged = self.samples

    def _range_of(self, command: str, factor: float) -> Limit:
        low, high = (self.ask_number(f"{command}? {end}") for end in ("MIN", "MAX"))
        return Limit(low * factor, high * factor, f"of head {self.head}")

    @Uses("SENS:CORR:COLL:ZERO", "SENS:CORR:COLL:ZERO:STAT?")
    def zero(self) -> None:
        """Take the present reading as dark, and wait for the end (photodiodes 1 to 10 s); the light must be blocked."""
        self.tell("SENS:CORR:COLL:ZERO")
        end = self.clock.monotonic() + 60.0
        while self.ask("SENS:CORR:COLL:ZERO:STAT?") != "0":
            if self.clock.monotonic() >= end:
                raise NotConfirmed(f"{self.name}: zeroing did not end within 60 s")
            self.clock.sleep(0.2)
