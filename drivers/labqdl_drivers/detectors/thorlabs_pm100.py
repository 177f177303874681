"""Thorlabs PM100D, PM100USB, PM100A, PM101, PM400 and PM16 optical power meters (SCPI)."""

from __future__ import annotations

from typing import ClassVar, cast

from labqdl.driver import (
    MILLI,
    NANO,
    Action,
    Bool,
    Custom,
    Float,
    Integer,
    Listed,
    Ranged,
    ScpiInstrument,
    Text,
    Uses,
    reasons,
)
from labqdl.instruments import Limit, NotAValue, Part, PowerMeter
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


def _no_display(meter: ThorlabsPM100) -> str:
    model = meter._identity.model if meter._identity else "PM100D"
    return "" if model == "PM100D" else f"the sheet has it for the PM100D, not for a {model}"


class ThorlabsPM100(ScpiInstrument, PowerMeter):
    """A Thorlabs power meter with a photodiode head.

    The unit of the front panel stays as it is: readings are asked for with the unit, and understood in either.
    Wavelength and range limits are read from the head when it opens; after another head was plugged in, open again.
    Less than 80 % of the sheet's commands are used: most of the others are status registers, and thermal or energy
    heads, which a bench with photodiodes does without.
    """

    maker = "Thorlabs"
    models = ("PM100D", "PM100USB", "PM100A", "PM101", "PM400", "PM16")
    sheet = "powermeter_thorlabs_pm100d"
    identity_pattern = r"(?i)thorlabs PM(100|101|16|400)"
    timeout = 5.0
    left_out: ClassVar = reasons(
        {
            "SENS:VOLT:RANG INP:THER SENS:CORR:POW:RESP": "thermal heads and adapters",
            "SENS:CORR:COLL:ZERO:MAGN": "the sheet does not say in which unit",
            "CONF:POW": "MEAS configures it",
            "CONF:VOLT CONF:ENER CONF:FREQ CONF:PDEN CONF:TEMP CONF:RES": "other heads than photodiodes",
            "INIT FETC": "READ starts and fetches",
            "SYST:VERS": "nothing depends on it",
            "*RST": "changes everything at once",
            "*CLS *TST *STB *ESR *ESE *SRE STAT": "errors are read from the queue",
        }
    )

    averaged = 1

    wavelength = Float("SENS:CORR:WAV?", "SENS:CORR:WAV {}", unit="m", wire=NANO, limits=lambda meter: meter.band)
    range = Ranged("SENS:POW:RANG?", "SENS:POW:RANG {}", unit="W", limits=lambda meter: meter.ranges).chosen_by(
        "auto_range"
    )
    auto_range = Bool("SENS:POW:RANG:AUTO?", "SENS:POW:RANG:AUTO {}")
    low_pass = Bool("INP:FILT?", "INP:FILT {}", doc="Whether the input is limited to a low bandwidth.")
    loss_correction = Float(
        "SENS:CORR?", "SENS:CORR {}", unit="dB", limits=(-60, 60), doc="Attenuation before the head that is added back."
    )
    samples = _Samples("SENS:AVER:COUN?", "SENS:AVER:COUN {}", limits=(1, 100_000), doc="Samples of one reading.")
    reference = Float("SENS:POW:REF?", "SENS:POW:REF {}", unit="W", doc="Power that is subtracted in delta mode.")
    relative = Bool(
        "SENS:POW:REF:STAT?",
        "SENS:POW:REF:STAT {}",
        doc="Delta mode: whether the meter takes powers relative to `reference`; keep it off for absolute ones.",
    )
    current_range = Float(
        "SENS:CURR:RANG?", unit="A", doc="Upper end of the photocurrent's measuring range, which `range` sets in W."
    )
    beam_diameter = Float(
        "SENS:CORR:BEAM?", "SENS:CORR:BEAM {}", unit="m", wire=MILLI, doc="Diameter of the beam, for power densities."
    )
    sensor = Text("SYST:SENS:IDN?", doc="Name, serial number, calibration, type, subtype and flags of the head.")
    calibration = Text("CAL:STR?", quoted=True, doc="Text of the head's calibration.")
    configured = Text("CONF?", doc="Quantity that is measured now, such as POW or CURR; reading `power` makes it POW.")
    line_frequency = Listed(
        "SYST:LFR?", "SYST:LFR {}", unit="Hz", words={50.0: "50", 60.0: "60"}, doc="Frequency of the mains."
    )
    beeper = Bool("SYST:BEEP:STAT?", "SYST:BEEP:STAT {}", doc="Whether the meter beeps.")
    brightness = Float(
        "DISP:BRIG?", "DISP:BRIG {}", unit="1", limits=(0.0, 1.0), doc="Brightness of the display."
    ).unless(_no_display)
    contrast = Float("DISP:CONT?", "DISP:CONT {}", unit="1", limits=(0.0, 1.0), doc="Contrast of the display.").unless(
        _no_display
    )
    beep = Action("SYST:BEEP", doc="Beep once.")
    abort = Action("ABOR", doc="Stop a measurement.")
    abort_zero = Action("SENS:CORR:COLL:ZERO:ABOR", doc="Stop zeroing.")

    def _reading_time(self) -> float:
        """Time limit of a reading, in s."""
        return self.timeout + 2 * self.averaged * _SAMPLE

    def _power(self) -> float:
        with self.exclusive():
            unit = self.ask("SENS:POW:UNIT?")
            number = self.ask_number("MEAS:POW?", timeout=self._reading_time())
        return from_dbm(number) if unit == "DBM" else number

    power = Custom(float, _power, unit="W", uses=("MEAS:POW?", "SENS:POW:UNIT?"))

    def _photocurrent(self) -> float:
        with self.exclusive():
            self.tell("CONF:CURR")
            return self.ask_number("READ?", timeout=self._reading_time())

    photocurrent = Custom(
        float, _photocurrent, unit="A", uses=("CONF:CURR", "READ?"), doc="Measured current of the photodiode."
    )

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
        self.wait_until(lambda: self.ask("SENS:CORR:COLL:ZERO:STAT?") == "0", 60.0, "end its zeroing", interval=0.2)
