"""Keysight and Agilent attenuators: N77xx, 8157x modules, 8156A (sheet voa_keysight_n775x_n776x_8157x_8156a.md).

Every attenuator slot n has a fibre "input<n>" and a fibre "output<n>"; the power meters of an N7751A or N7752A have
"input5" and "input6".

What the sheet leaves open, and what stands here:

- Power-on and *RST: shutter closed (unless OUTP:STAT:APOW says open), no filter attenuation, no offset, power control
  off, dBm, 1550 nm, the fastest speed. *RST leaves APOW alone. A closed shutter is dark.
- Through an open shutter go the light less the insertion loss (1 dB) less the filter, which runs to its new place with
  the speed in dB/s and takes 20 ms more (the 8156A: 10 dB/s, which cannot be changed, and 0.2 s).
- A new offset leaves the filter where it is. Limits are those of the filter, plus offset.
- Power control (-50 to +23 dBm): the filter stands at once where the output has the power that was asked for; without
  light it opens fully. While the power cannot be reached, bit n of the questionable condition is set ("settled
  unsuccessfully"; the sheet names no register). Without power control (N775x) POW:CONT 1 is a settings conflict (-221),
  and POW moves the filter to P_ref - P. With it, POW alone moves the filter to what the light needs now. On the 8156A,
  POW needs absolute power mode (-221 else).
- APM fixes the power at which the 8156A's filter is at zero: what the attenuation showed, in dBm, plus the filter.
- Numbers: `+1.40000000E+001`; option `numbers = "short"` gives `14` for attenuations. Switches answer 0 and 1, the unit
  +0 and +1.
- The meter measures what leaves, for the averaging time; darkness shows -80 dBm, its offset is added; above +10 dBm the
  meters of N775x show 9.91E+37. A meter slot has no commands but READ and FETCh, in dBm.
- Zeroing takes 3 s and changes nothing; `ZERO?` gives the last result, +0, or -1 where there was light.
- *OPT? lists one model a slot, blank where there is none. A slot that is not there gives -303.

8156A: commands take no suffix but 1. Slot registers of the 816x family are not in the sheet and not simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

from labqdl.errors import InputError
from labqdl.units import dbm, from_db, from_dbm
from labqdl_sim.kinds import scientific
from labqdl_sim.ports import DARK, Light
from labqdl_sim.scpi import Boolean, Integer, Number, Param, Raw, ScpiError, ScpiTwin, Word, command, query

_OVERLOAD = 9.91e37
_FLOOR = -80.0  # dBm
_LOSS = 1.0  # dB


@dataclass(frozen=True)
class _Model:
    """What a model has."""

    slots: tuple[int, ...]
    meters: tuple[int, ...] = ()
    control: bool = False
    filter: float = 45.0
    band: tuple[float, float] = (1260e-9, 1640e-9)
    speeds: tuple[float, float] = (0.1, 1000.0)


_WIDE = (1250e-9, 1650e-9)
_MODELS = {
    "N7751A": _Model((1,), (5, 6)), "N7752A": _Model((1, 3), (5, 6)), "N7761A": _Model((1,), control=True),
    "N7762A": _Model((1, 3), control=True), "N7764A": _Model((1, 3, 5, 7), control=True),
    "N7766A": _Model((1, 3), control=True), "N7768A": _Model((1, 3, 5, 7), control=True),
    "81576A": _Model((1,), control=True, filter=60.0, band=_WIDE, speeds=(0.1, 12.0)),
    "81577A": _Model((1,), control=True, filter=60.0, band=_WIDE, speeds=(0.1, 12.0)),
    "8156A": _Model((1,), filter=60.0, band=(1200e-9, 1650e-9), speeds=(10.0, 10.0)),
}  # fmt: skip


def metered(watts: float) -> float:
    """Watts as dBm, not below the meter's floor."""
    return max(dbm(watts), _FLOOR)


class _Decibel(Number):
    """An attenuation."""

    def show(self, twin: ScpiTwin, value: float) -> str:
        """The value in a reply."""
        return f"{round(value, 4):g}" if _of(twin).short else scientific(value)


class _Attenuation(Param[float]):
    """What the display shows: the filter's place plus the offset."""

    def of(self, twin: ScpiTwin, *suffixes: int) -> float:
        """The setting."""
        return _of(twin).place(suffixes[0]) + KeysightN77.offset.of(twin, suffixes[0])

    def put(self, twin: ScpiTwin, value: float, *suffixes: int) -> None:
        """The filter runs there."""
        _of(twin).run(suffixes[0], value - KeysightN77.offset.of(twin, suffixes[0]))


class KeysightN77(ScpiTwin):
    """An N7752A.

    Options: `model` (N7751A, N7752A, N7761A, N7762A, N7764A, N7766A, N7768A, 81576A, 81577A, 8156A), `numbers`
    ("long", "short"), `open_at_power_on` (as if APOW had been set before).
    """

    maker = "Agilent Technologies"
    model = "N7752A"
    serial = ""
    firmware = ""
    suffixes = {}  # noqa: RUF012
    error_codes = {-114: -303}  # noqa: RUF012
    error_texts = {-303: "Slot empty"}  # noqa: RUF012

    def setup(self) -> None:
        """Choose the model, open the fibres."""
        if self.model not in _MODELS:
            raise InputError(f"no model {self.model!r}", key=self.name, expected=f"one of {', '.join(_MODELS)}")
        self.old = self.model == "8156A"
        if self.old:
            self.maker = "HEWLETT-PACKARD"
        self.serial = self.serial or ("0" if self.old else "MY12345678")
        self.firmware = self.firmware or ("1.01" if self.old else "1.13.1")
        self.has = _MODELS[self.model]
        self.short = self.option("numbers", "long") == "short"
        self.inputs = {n: self.light_in(f"input{n}") for n in (*self.has.slots, *self.has.meters)}
        for n in self.has.slots:
            self.light_out(f"output{n}", lambda t, n=n: self.light(n, t))  # type: ignore[misc]
        if self.option("open_at_power_on", False):
            for n in self.has.slots:
                KeysightN77.at_power_on.put(self, True, n)
                KeysightN77.output.put(self, True, n)

    def reset(self) -> None:
        """Power-on and *RST."""
        self.courses: dict[int, tuple[float, float, float, float]] = {}  # filter: from, to, since, seconds
        self.zero_power: dict[int, float] = {}  # 8156A: dBm at no filter attenuation
        self.targets: dict[int, float] = {}  # dBm
        self.zeroed: dict[int, int] = {}
        self.last: dict[int, float] = {}

    def restore(self) -> None:
        """*RST."""
        open_still = [n for n in self.has.slots if self.stays_on and KeysightN77.output.of(self, n)]
        super().restore()
        for n in open_still:
            KeysightN77.output.put(self, True, n)

    def suffix_allowed(self, name: str, value: int) -> bool:
        """Attenuators and, for READ and FETCh, meters."""
        return value in self.has.slots or (name == "meter" and value in self.has.meters)

    def number(self, value: float) -> str:
        """`+1.55000000E-006`."""
        return scientific(value)

    # The attenuator

    def filtered(self, n: int, t: float) -> float:
        """Attenuation of the filter in dB at time t."""
        if KeysightN77.control.of(self, n):
            power = self.inputs[n].power(t)
            needed = metered(power) - _LOSS - self.targets.get(n, 0.0) if power > 0 else 0.0
            return min(max(needed, 0.0), self.has.filter)
        start, end, since, seconds = self.courses.get(n, (0.0, 0.0, 0.0, 0.0))
        if t >= since + seconds:
            return end
        return start + (end - start) * max(t - since, 0.0) / seconds

    def place(self, n: int) -> float:
        """Where the filter was sent."""
        if KeysightN77.control.of(self, n):
            return self.filtered(n, self.now)
        return self.courses.get(n, (0.0, 0.0, 0.0, 0.0))[1]

    def run(self, n: int, to: float) -> None:
        """Send the filter there."""
        start = self.filtered(n, self.now)
        rest = 0.2 if self.old else 0.02
        seconds = rest + abs(to - start) / KeysightN77.speed.of(self, n)
        self.courses[n] = (start, to, self.now, seconds)
        self.operate(seconds)

    def light(self, n: int, t: float) -> Light:
        """What leaves the fibre."""
        entering = self.inputs[n].at(t)
        if not KeysightN77.output.of(self, n) or entering.dark:
            return DARK
        return Light(entering.power * from_db(-_LOSS - self.filtered(n, t)), entering.wavelength)

    def condition(self, register: str) -> int:
        """Questionable: power control that does not reach its power."""
        if register != "QUEStionable":
            return 0
        bits = 0
        for n in self.has.slots:
            if KeysightN77.control.of(self, n):
                through = metered(self.inputs[n].power(self.now)) - _LOSS - self.filtered(n, self.now)
                bits |= (abs(through - self.targets.get(n, 0.0)) > 0.01) << n
        return bits

    # Settings

    def _wavelengths(self, *_: int) -> tuple[float, float]:
        return self.has.band

    def _speeds(self, *_: int) -> tuple[float, float]:
        return self.has.speeds

    def _attenuations(self, n: int) -> tuple[float, float]:
        offset = KeysightN77.offset.of(self, n)
        return offset, self.has.filter + offset

    attenuation = _Attenuation("INPut<slot>:ATTenuation", _Decibel("DB", _attenuations), 0.0)
    offset = Param("INPut<slot>:OFFSet", _Decibel("DB", (-200.0, 200.0)), 0.0)
    speed = Param("INPut<slot>:ATTenuation:SPEed", Number("", _speeds), lambda twin, n: twin.has.speeds[1])
    wavelength = Param("INPut<slot>:WAVelength", Number("M", _wavelengths), 1550e-9)
    continuous = Param("INPut<slot>:LCMode", Boolean(), False)
    at_power_on = Param("OUTPut<slot>:STATe:APOWeron", Boolean(), False, kept=True)
    output = Param("OUTPut<slot>[:STATe]", Boolean(), False)
    absolute = Param("OUTPut<slot>:APMode", Boolean(), False)
    control = Param("OUTPut<slot>:POWer:CONTrol", Boolean(), False)
    unit = Param("OUTPut<slot>:POWer:UNIT", Integer((0, 1), show=lambda value: f"{value:+d}"), 0)
    power_offset = Param("OUTPut<slot>:POWer:OFFSet", _Decibel("DB", (-200.0, 200.0)), 0.0)
    reference = Param("OUTPut<slot>:POWer:REFerence", Number("DBM", (-100.0, 100.0)), 0.0)
    averaging = Param("OUTPut<slot>:ATIMe", Number("S", (2e-3, 1.0)), 0.1)

    @output.check
    def _shutter(self, value: bool, n: int) -> bool:
        return value or (self.stays_on and KeysightN77.output.of(self, n))

    @continuous.check
    def _only_old(self, value: bool, n: int) -> None:
        if not self.old:
            raise ScpiError(-113)

    @absolute.changed
    def _absolute_power(self, value: bool, n: int) -> None:
        self.zero_power[n] = KeysightN77.offset.of(self, n) + 2 * self.place(n)

    @control.check
    def _can_control(self, value: bool, n: int) -> None:
        if value and not self.has.control:
            raise ScpiError(-221)
        if not value and KeysightN77.control.of(self, n):
            place = self.place(n)
            self.courses[n] = (place, place, self.now, 0.0)

    @attenuation.check
    def _open_loop(self, value: float, n: int) -> None:
        self._can_control(False, n)
        KeysightN77.control.put(self, False, n)

    @command("INPut<slot>:OFFSet:DISPlay")
    def zero_display(self, n: int) -> None:
        """The attenuation reads 0 from now on."""
        KeysightN77.offset.put(self, -self.place(n), n)

    # Power

    def power_limits(self, n: int) -> tuple[float, float]:
        """Least and greatest power in dBm that can be asked for."""
        if self.has.control:
            return -50.0, 23.0
        top = self.power_at_zero(n)
        return top - self.has.filter, top

    def power_at_zero(self, n: int) -> float:
        """Power in dBm that leaves at no filter attenuation, as far as an instrument without meter knows."""
        if self.old:
            if not KeysightN77.absolute.of(self, n):
                raise ScpiError(-221)
            return self.zero_power[n]
        return KeysightN77.reference.of(self, n) - KeysightN77.offset.of(self, n)

    @command("OUTPut<slot>:POWer", takes=[Raw()])
    def set_power(self, n: int, token: bytes) -> None:
        """The power that should leave."""
        low, high = self.power_limits(n)
        ends = {b"MIN": low, b"MAX": high, b"DEF": min(max(0.0, low), high)}
        level = ends.get(token.upper()[:3])
        if level is None:
            watts = KeysightN77.unit.of(self, n)
            level = Number("W" if watts else "DBM").parse(self, token)
            if watts:
                level = dbm(max(level, 0.0))
        if not low - 1e-9 <= level <= high + 1e-9:
            raise ScpiError(-222)
        self.targets[n] = level
        if not self.has.control:
            self.run(n, min(max(high - level, 0.0), self.has.filter))
        elif not KeysightN77.control.of(self, n):
            power = self.inputs[n].power(self.now)
            if power > 0:
                self.run(n, min(max(metered(power) - _LOSS - level, 0.0), self.has.filter))

    @query("OUTPut<slot>:POWer?", takes=[Word()], least=0)
    def get_power(self, n: int, which: str = "") -> float:
        """The power that should leave, or what is possible."""
        low, high = self.power_limits(n)
        ends = {"MIN": low, "MAX": high}
        if which and which.upper()[:3] not in ends:
            raise ScpiError(-224)
        if which:
            return self.shown(n, ends[which.upper()[:3]])
        return self.shown(n, self.targets.get(n, 0.0) if self.has.control else high - self.place(n))

    @command("OUTPut<slot>:POWer:CONTR", takes=[Boolean()])
    def set_control(self, n: int, value: bool) -> None:
        """Power control, as some write it."""
        self._can_control(value, n)
        KeysightN77.control.put(self, value, n)

    @query("OUTPut<slot>:POWer:CONTR?")
    def get_control(self, n: int) -> bool:
        """Power control, as some write it."""
        return KeysightN77.control.of(self, n)

    def shown(self, n: int, level: float) -> float:
        """A power in the unit of the slot."""
        if n in self.has.slots and KeysightN77.unit.of(self, n):
            return from_dbm(level)
        return level

    @query("READ<meter>:POWer?")
    def read(self, n: int) -> float:
        """Measure."""
        if n in self.has.meters:
            self.hold(0.1)
            level = metered(self.inputs[n].power(self.now))
            self.last[n] = level if level <= 10.0 else _OVERLOAD
        else:
            if not self.has.control:
                raise ScpiError(-303)
            self.hold(KeysightN77.averaging.of(self, n))
            self.last[n] = metered(self.light(n, self.now).power) + KeysightN77.power_offset.of(self, n)
        return self.fetch(n)

    @query("FETCh<meter>:POWer?")
    def fetch(self, n: int) -> float:
        """The last value."""
        if n not in self.last:
            raise ScpiError(-230)
        return self.last[n] if self.last[n] == _OVERLOAD else self.shown(n, self.last[n])

    @command("OUTPut<slot>:CORRection:COLLect:ZERO", passes=[False])
    @command("OUTPut<slot>:CORRection:COLLect:ZERO:ALL", passes=[True])
    def zero(self, n: int, everything: bool) -> None:
        """Zero the meter, or all of them."""
        if not self.has.control:
            raise ScpiError(-221)
        for slot in self.has.slots if everything else (n,):
            self.zeroed[slot] = -1 if self.light(slot, self.now).power > 1e-11 else 0
        self.operate(3.0)

    @query("OUTPut<slot>:CORRection:COLLect:ZERO[:ALL]?")
    def zero_result(self, n: int) -> str:
        """How the last zeroing went."""
        return f"{self.zeroed.get(n, 0):+d}"

    @query("*OPT?")
    def options(self) -> str:
        """One model a slot."""
        slots = (*self.has.slots, *self.has.meters)
        return ",".join(self.model if n in slots else " " for n in range(1, max(slots) + 1))


def _of(twin: ScpiTwin) -> KeysightN77:
    assert isinstance(twin, KeysightN77)
    return twin


TWIN = KeysightN77
