"""Thorlabs PM100D and relatives: optical power meter, SCPI over USBTMC (sheet powermeter_thorlabs_pm100d.md).

The model twin: read it before writing another one. The sensor sees the light of port "input".
"""

from __future__ import annotations

import math

from labqdl.units import dbm, from_db
from labqdl_sim.scpi import Boolean, Choice, Integer, Number, Param, ScpiError, ScpiTwin, command, query

_OVERLOAD = 9.91e37
_RANGES = tuple(5e-3 / 10.0**step for step in reversed(range(6)))  # photocurrent at full scale, A: 50 nA to 5 mA
_SENSORS = {
    # name: subtype, flags, wavelengths in nm, responsivity in A/W, largest power in W, noise floor in W
    "S154C": (1, 33, (800.0, 1700.0), 1.0, 3e-3, 1e-11),
    "S155C": (1, 33, (800.0, 1700.0), 1.0, 20e-3, 1e-10),
    "S145C": (1, 33, (800.0, 1700.0), 1e-3, 3.0, 1e-8),
}


class ThorlabsPM100(ScpiTwin):
    """A PM100D with a photodiode head.

    Options: `sensor` (S154C, S155C, S145C or "none"), `sample_time` (s per averaged sample), `zero_time` (s), `offset`
    (dark offset in W before zeroing).
    """

    maker = "THORLABS"
    model = "PM100D"
    serial = "P0001234"
    firmware = "2.5.0"
    resources = ("USB0::0x1313::0x8078::{serial}::INSTR", "USB0::0x1313::0x8078::{name}::INSTR")
    registers = {"OPERation": 7, "QUEStionable": 3, "MEASurement": None, "AUXillary": None}  # noqa: RUF012

    def setup(self) -> None:
        """Plug in the head, open the input."""
        self.sensor = self.option("sensor", "S155C")
        self.sample_time = self.option("sample_time", 3e-3)
        self.zero_time = self.option("zero_time", 2.0)
        self.dark_offset = self.option("offset", 2e-11)
        self.zero_level = 0.0
        self.input = self.light_in("input")
        self._acquisitions = 0

    def reset(self) -> None:
        """Nothing measured, nothing running."""
        self.quantity = "POW"
        self.last: float | None = None
        self.zeroing_until = -math.inf

    def _head(self) -> tuple[int, int, tuple[float, float], float, float, float]:
        return _SENSORS.get(self.sensor, (0, 0, (400.0, 2000.0), 1.0, 0.0, 0.0))

    def _wavelengths(self, *_: int) -> tuple[float, float]:
        return self._head()[2]

    def _powers(self, *_: int) -> tuple[float, float]:
        responsivity = self._head()[3]
        return _RANGES[0] / responsivity, _RANGES[-1] / responsivity

    wavelength = Param("[SENSe:]CORRection:WAVelength", Number("NM", _wavelengths), 1550.0)
    unit = Param("[SENSe:]POWer[:DC]:UNIT", Choice("W", "DBM"), "W")
    upper = Param("[SENSe:]POWer[:DC]:RANGe[:UPPer]", Number("W", _powers), lambda twin: twin._powers()[1])
    auto = Param("[SENSe:]POWer[:DC]:RANGe:AUTO", Boolean(), True)
    reference = Param("[SENSe:]POWer[:DC]:REFerence", Number("W"), 1e-3)
    delta = Param("[SENSe:]POWer[:DC]:REFerence:STATe", Boolean(), False)
    current_upper = Param("[SENSe:]CURRent[:DC]:RANGe[:UPPer]", Number("A", (_RANGES[0], _RANGES[-1])), _RANGES[-1])
    current_auto = Param("[SENSe:]CURRent[:DC]:RANGe:AUTO", Boolean(), True)
    voltage_upper = Param("[SENSe:]VOLTage[:DC]:RANGe[:UPPer]", Number("V", (0.0, 1.0)), 1.0)
    voltage_auto = Param("[SENSe:]VOLTage[:DC]:RANGe:AUTO", Boolean(), True)
    count = Param("[SENSe:]AVERage:COUNt", Integer((1, 100_000)), 1)
    loss = Param("[SENSe:]CORRection[:LOSS[:INPut[:MAGNitude]]]", Number("DB", (-60.0, 60.0)), 0.0)
    beam = Param("[SENSe:]CORRection:BEAMdiameter", Number("MM", (0.1, 50.0)), 10.0)
    responsivity = Param("[SENSe:]CORRection:POWer[:PDIode]:RESPonse", Number("A/W", (1e-3, 1e3)), 1.0)
    narrow = Param("INPut[:PDIode]:FILTer[:LPASs][:STATe]", Boolean(), False)
    accelerator = Param("INPut:THERmopile:ACCelerator[:STATe]", Boolean(), True)
    tau = Param("INPut:THERmopile:ACCelerator:TAU", Number("S", (0.1, 100.0)), 1.0)
    beeper = Param("SYSTem:BEEPer:STATe", Boolean(), True)
    line_frequency = Param("SYSTem:LFRequency", Choice("50", "60"), "50")
    brightness = Param("DISPlay:BRIGhtness", Number("", (0.0, 1.0)), 1.0)
    contrast = Param("DISPlay:CONTrast", Number("", (0.0, 1.0)), 0.5)

    @upper.check
    def _next_range(self, value: float) -> float:
        full_scales = [current / self._head()[3] for current in _RANGES]
        return min(scale for scale in full_scales if scale >= value * (1 - 1e-9))

    @upper.changed
    def _manual(self, value: float) -> None:
        self.auto = False

    @query("SYSTem:SENSor:IDN?")
    def sensor_identity(self) -> str:
        """Name, serial, calibration, type, subtype, flags of the head."""
        if self.sensor not in _SENSORS:
            return "no sensor,,,0,0,0"
        subtype, flags = self._head()[:2]
        return f"{self.sensor},130521104,15-MAY-2013,1,{subtype - 1},{flags}"

    @query("CALibration:STRing?")
    def calibration(self) -> str:
        """When the head was calibrated."""
        return '"Factory calibration"'

    @command("SYSTem:BEEPer[:IMMediate]")
    def beep(self) -> None:
        """Beep; nobody hears it."""

    @command("CONFigure[:SCALar]:POWer", passes=["POW"])
    @command("CONFigure[:SCALar]:CURRent[:DC]", passes=["CURR"])
    @command("CONFigure[:SCALar]:VOLTage[:DC]", passes=["VOLT"])
    @command("CONFigure[:SCALar]:ENERgy", passes=["ENER"])
    @command("CONFigure[:SCALar]:FREQuency", passes=["FREQ"])
    @command("CONFigure[:SCALar]:PDENsity", passes=["PDEN"])
    @command("CONFigure[:SCALar]:TEMPerature", passes=["TEMP"])
    @command("CONFigure[:SCALar]:RESistance", passes=["RES"])
    def configure(self, quantity: str) -> None:
        """Choose what READ? measures."""
        self.quantity = quantity

    @query("CONFigure[:SCALar]?")
    def configured(self) -> str:
        """The quantity that READ? measures."""
        return self.quantity

    @query("MEASure[:SCALar][:POWer]?", passes=["POW"])
    @query("MEASure[:SCALar]:CURRent[:DC]?", passes=["CURR"])
    @query("MEASure[:SCALar]:VOLTage[:DC]?", passes=["VOLT"])
    @query("MEASure[:SCALar]:ENERgy?", passes=["ENER"])
    @query("MEASure[:SCALar]:FREQuency?", passes=["FREQ"])
    @query("MEASure[:SCALar]:PDENsity?", passes=["PDEN"])
    @query("MEASure[:SCALar]:TEMPerature?", passes=["TEMP"])
    @query("MEASure[:SCALar]:RESistance?", passes=["RES"])
    def measure(self, quantity: str) -> float:
        """CONFigure and READ? in one."""
        self.quantity = quantity
        return self.read()

    @command("INITiate[:IMMediate]")
    def initiate(self) -> None:
        """Measure once."""
        self.hold(self.count * self.sample_time)
        self.last = self._measured()

    @query("READ?")
    def read(self) -> float:
        """Measure once and reply."""
        self.initiate()
        return self.fetch()

    @query("FETCh?")
    def fetch(self) -> float:
        """The last value."""
        if self.last is None:
            raise ScpiError(-230)
        return self.last

    @command("ABORt")
    def abort(self) -> None:
        """Stop measuring: measurements here are over when their message is."""

    @command("[SENSe:]CORRection:COLLect:ZERO[:INITiate]")
    def zero(self) -> None:
        """Take what the head sees now for darkness."""
        self.zero_level = self._seen()
        self.zeroing_until = self.now + self.zero_time
        self.operate(self.zero_time)

    @command("[SENSe:]CORRection:COLLect:ZERO:ABORt")
    def abort_zero(self) -> None:
        """Stop zeroing; then there is no level, whatever there was before (the sheet does not say)."""
        if self.now < self.zeroing_until:
            self.zero_level = 0.0
        self.zeroing_until = -math.inf
        self.abort_operations()

    @query("[SENSe:]CORRection:COLLect:ZERO:STATe?")
    def zeroing(self) -> bool:
        """Whether the zero adjustment is running."""
        return self.now < self.zeroing_until

    @query("[SENSe:]CORRection:COLLect:ZERO:MAGNitude?")
    def zero_magnitude(self) -> float:
        """The level taken for darkness, W."""
        return self.zero_level

    def _seen(self) -> float:
        """Power in W that the head believes in, before zero and user corrections: light, offset and noise."""
        noise = self._head()[5]
        self._acquisitions += 1
        draw = float(self.generator("noise", self._acquisitions).standard_normal()) if noise else 0.0
        return self.input.power(self.now) + self.dark_offset + draw * noise / math.sqrt(self.count)

    def _measured(self) -> float:
        if self.sensor not in _SENSORS:
            return _OVERLOAD
        power = self._seen() - self.zero_level
        full_scale = self._powers()[1] if self.auto else self.upper
        if power > min(full_scale, self._head()[4]):
            return _OVERLOAD
        if self.quantity == "CURR":
            return power * self._head()[3]
        power *= from_db(self.loss)
        if self.quantity == "PDEN":
            return power / (math.pi * (self.beam / 20) ** 2)
        if self.quantity != "POW":
            return _OVERLOAD
        if self.unit == "DBM":
            if power <= 0:
                return _OVERLOAD
            return dbm(power) - dbm(self.reference) if self.delta else dbm(power)
        return power - self.reference if self.delta else power


TWIN = ThorlabsPM100
