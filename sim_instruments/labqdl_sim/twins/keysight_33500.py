r"""Keysight 33500B and 33600A waveform generators (sheet awg_keysight_33600a_33500b.md).

Ports "output1", "output2" give the voltage across the attached `termination`: amplitude and offset are meant for
`OUTP:LOAD`, so that into another load than the one set the voltage is (50 + set)/set x attached/(50 + attached) of
what was asked. Port "external" is the trigger (and gate) input, threshold 1.5 V.

What the sheet leaves open, and how it is here:

- A number beyond its range is clipped, with -222; amplitude and offset that do not fit together reduce the one that
  is being set, with -221 (so the order low amplitude, offset, amplitude meets no error).
- Uploads beyond +-1, blocks of a wrong length and waveforms that are too short (-222, -161) store nothing. Code -32768
  counts as -32767. Times: `upload_rate` points a second as an overlapped operation.
- New waveforms carry 40 kSa/s. The sample rate's limit is the model's for every filter, the frequency's limit the
  model's for every function; filters and edge times shape nothing. Numbers of the errors: +781 memory, +785 exists,
  +786 not there, +787 selected.
- `DATA:VOL:CLE` spares a waveform that is being played (+787); the built-in EXP_RISE is always there.
- `VOLT:LIM:STAT 1` is refused (-221) while the present waveform exceeds the limits.
- `FUNC:SQU:DCYC`, `FUNC:RAMP:SYMM`, `FUNC:PULS:*`, `APPL:<other shapes>`, `SYST:BEEP` and `DISP:TEXT` are not in the
  sheet: as other people's drivers use them.

Not simulated: `DATA:SEQuence` and `FUNC:ARB:BALance:...`, whose arguments the sheet does not give.
"""

from __future__ import annotations

import math
import re
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl.units import dbm, from_dbm
from labqdl_sim.edges import edges
from labqdl_sim.scpi import (
    Block,
    Boolean,
    Choice,
    Kind,
    Many,
    Number,
    Param,
    Raw,
    ScpiError,
    ScpiTwin,
    Text,
    Word,
    command,
    query,
)  # fmt: skip
from labqdl_sim.twin import Session

_MODELS = {
    # model: channels, highest frequency in Hz, highest rate in Sa/s, points, with more memory, least points, DAC bits
    "33511B": (1, 20e6, 160e6, 1 << 20, 16 << 20, 8, 16),
    "33512B": (2, 20e6, 160e6, 1 << 20, 16 << 20, 8, 16),
    "33521B": (1, 30e6, 250e6, 1 << 20, 16 << 20, 8, 16),
    "33522B": (2, 30e6, 250e6, 1 << 20, 16 << 20, 8, 16),
    "33611A": (1, 80e6, 660e6, 4 << 20, 64 << 20, 32, 14),
    "33612A": (2, 80e6, 660e6, 4 << 20, 64 << 20, 32, 14),
    "33621A": (1, 120e6, 1e9, 4 << 20, 64 << 20, 32, 14),
    "33622A": (2, 120e6, 1e9, 4 << 20, 64 << 20, 32, 14),
}
_BUILT_IN = "INT:\\BUILTIN\\EXP_RISE.ARB"
_EXP_RISE = 1 - np.exp(-np.arange(400) / 60.0)
_STORED_RATE = 40e3
_THRESHOLD = 1.5
_NOTHING = 9.9e37
_CREST = {"SIN": 2 * math.sqrt(2), "SQU": 2.0, "PULS": 2.0, "PRBS": 2.0, "TRI": 2 * math.sqrt(3),
          "RAMP": 2 * math.sqrt(3), "NOIS": 6.0}  # fmt: skip
Floats = NDArray[np.float64]


class Clipped(Number):
    """A number that is clipped to its limits, with an error."""

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> float:
        """The value of one argument."""
        value = self._read(token)
        low, high = self.bounds(twin, *suffixes)
        if value > high:
            twin.push_error(-222, "value clipped to upper limit")
        elif value < low:
            twin.push_error(-222, "value clipped to lower limit")
        return min(max(value, low), high)


class OrInfinite(Clipped):
    """A number in its limits, or INFinity, which reads 9.9E37."""

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> float:
        """The value of one argument."""
        if self._read(token) >= _NOTHING:
            return math.inf
        return super().parse(twin, token, *suffixes)

    def show(self, twin: ScpiTwin, value: float) -> str:
        """The value in a reply."""
        return "9.9E37" if math.isinf(value) else twin.number(value)


class Amplitude(Kind[float]):
    """Peak to peak in V into the set load; arguments and replies in the unit of VOLT:UNIT or of their own suffix."""

    _form = re.compile(rb"(.*?[\d.])\s*(VPP|VRMS|DBM)$", re.IGNORECASE)

    def parse(self, twin: Any, token: bytes, *suffixes: int) -> float:
        """The value of one argument."""
        match = self._form.match(token)
        unit = match[2].decode().upper() if match is not None else twin.unit_of(*suffixes)
        value = Number("" if match is not None or unit == "DBM" else "V").parse(
            twin, match[1] if match is not None else token
        )
        if unit == "DBM" and abs(value) > 300:
            raise ScpiError(-222)
        value = twin.from_unit(value, unit, *suffixes)
        low, high = twin.amplitudes(*suffixes)
        if value > high * (1 + 1e-12):
            twin.push_error(-222, "value clipped to upper limit")
        elif value < low * (1 - 1e-12):
            twin.push_error(-222, "value clipped to lower limit")
        return float(min(max(value, low), high))

    def show(self, twin: Any, value: float) -> str:
        """The value in a reply (of channel 1's unit; the twin shows the others)."""
        return str(twin.number(value))

    def extreme(self, twin: Any, which: str, *suffixes: int) -> float:
        """Value of MIN or MAX."""
        return float(twin.amplitudes(*suffixes)[which == "MAX"])


class Name(Kind[str]):
    """A waveform's name, bare or quoted."""

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> str:
        """The value of one argument."""
        kind: Kind[str] = Text() if token[:1] in (b'"', b"'") else Word()
        return kind.parse(twin, token)


class Keysight33500(ScpiTwin):
    """A generator with one or two channels.

    Options: `model` (33511B to 33622A), `maker`, `termination` (ohm attached to the outputs, inf: nothing), `memory`
    (True: the option with more points), `minimum` (least points of a waveform, 0: the model's), `upload_rate`
    (points/s), `reference` (True: 10 MHz at the reference input).
    """

    maker = "Agilent Technologies"
    model = "33622A"
    serial = "MY50000123"
    firmware = "A.02.03-3.15-03-64-02"
    resources = (
        "TCPIP0::{name}::inst0::INSTR", "TCPIP0::{name}::hislip0::INSTR", "TCPIP0::{name}::5025::SOCKET",
        "USB0::0x0957::0x5707::{serial}::INSTR",
    )  # fmt: skip
    error_texts = {  # noqa: RUF012
        -350: "Error queue overflow", 781: "Not enough memory to load specified arb waveform",
        785: "Specified arb waveform already exists", 786: "Specified arb waveform does not exist",
        787: "Cannot delete the currently selected arb waveform", 788: "Specified arb waveform is not loaded",
    }  # fmt: skip

    def setup(self) -> None:
        """Read options, open the connectors."""
        self.maker = self.option("maker", self.maker)
        if self.model not in _MODELS:
            raise InputError(f"no model {self.model!r}", key=self.name, expected=", ".join(_MODELS))
        self.channels, self.top, self.top_rate, points, more, least, self.bits = _MODELS[self.model]
        self.points = more if self.option("memory", False) else points
        self.termination = self.option("termination", 50.0)
        self.least = self.option("minimum", 0) or least
        self.upload_rate = self.option("upload_rate", 1e6)
        self.reference = self.option("reference", False)
        self.files: dict[str, tuple[Floats, float]] = {}
        self.overloaded = 0
        self.external = self.voltage_in("external")
        self._seeds = [int(self.generator("noise", ch).integers(1 << 62)) for ch in range(3)]
        for channel in range(1, self.channels + 1):
            self.voltage_out(f"output{channel}", partial(self.volts, channel))

    def reset(self) -> None:
        """Outputs off, volatile waveforms gone, triggers armed."""
        channels = range(1, self.channels + 1)
        self.waves: dict[int, dict[str, tuple[Floats, float]]] = {
            ch: {_BUILT_IN: (_EXP_RISE, _STORED_RATE)} for ch in channels
        }
        self.selected = dict.fromkeys(channels, _BUILT_IN)
        self.origin = dict.fromkeys(channels, (self.now, 0.0))
        self.armed = dict.fromkeys(channels, self.now)
        self.fired: dict[int, list[float]] = {ch: [] for ch in channels}

    def restore(self) -> None:
        """What *RST does; an output that a fault holds stays on."""
        held = [ch for ch in self.selected if self.stays_on and type(self).output.of(self, ch)]
        super().restore()
        for ch in held:
            type(self).output.put(self, True, ch)

    def suffix_allowed(self, name: str, value: int) -> bool:
        """Channels that the model has; 1 and 2 elsewhere."""
        return 1 <= value <= (self.channels if name == "ch" else 2)

    def number(self, value: float) -> str:
        """Sixteen digits with sign."""
        return f"{value:+.15E}"

    def integer(self, value: int) -> str:
        """With sign."""
        return f"{value:+d}"

    def condition(self, register: str) -> int:
        """Questionable: 0, 1 overload of an output, 5 loop unlocked."""
        if register != "QUEStionable":
            return 0
        for channel in self.selected:
            self.emits(channel)
        return self.overloaded | (self.reference_source == "EXT" and not self.reference) << 5

    def triggered(self, session: Session | None) -> None:
        """*TRG starts what waits for the bus."""
        waiting = [ch for ch in self.selected if type(self).trigger_source.of(self, ch) == "BUS" and self._accepts(ch)]
        if not waiting:
            self.push_error(-211)
        for ch in waiting:
            self.fired[ch] = [*self.fired[ch][-999:], self.now]

    # Limits that depend on each other

    def scale(self, ch: int) -> float:
        """Volts into the set load for 1 V into 50 ohm."""
        load = type(self).load.of(self, ch)
        return 2.0 if math.isinf(load) else 2 * load / (50 + load)

    def amplitudes(self, ch: int = 1) -> tuple[float, float]:
        """Least and largest Vpp into the set load."""
        return 1e-3 * self.scale(ch), 10.0 * self.scale(ch)

    def _levels(self, ch: int = 1) -> tuple[float, float]:
        """Lowest and highest voltage into the set load: of the amplifier, and of VOLT:LIM."""
        low, high = -5.0 * self.scale(ch), 5.0 * self.scale(ch)
        if type(self).limited.of(self, ch):
            low, high = max(low, type(self).limit_low.of(self, ch)), min(high, type(self).limit_high.of(self, ch))
        return low, high

    def _frequencies(self, *_: int) -> tuple[float, float]:
        return 1e-6, self.top

    def _rates(self, *_: int) -> tuple[float, float]:
        return 1e-6, self.top_rate

    def _full(self, ch: int = 1) -> tuple[float, float]:
        return -5.0 * self.scale(ch), 5.0 * self.scale(ch)

    def unit_of(self, ch: int = 1) -> str:
        """Unit of amplitudes."""
        return type(self).unit.of(self, ch)

    def _crest(self, ch: int) -> float:
        shape = type(self).shape.of(self, ch)
        if shape == "ARB":
            rms = float(np.sqrt(np.mean(self._wave(ch)[0] ** 2)))
            return 2 / rms if rms > 1e-6 else _CREST["SIN"]
        return _CREST.get(shape, _CREST["SIN"])

    def from_unit(self, value: float, unit: str, ch: int = 1) -> float:
        """Vpp of an amplitude in another unit; dBm needs a finite load (-221)."""
        if unit == "DBM":
            load = type(self).load.of(self, ch)
            if math.isinf(load):
                raise ScpiError(-221, "dBm needs a finite load")
            value = math.sqrt(from_dbm(value) * load)
        return value if unit == "VPP" else value * self._crest(ch)

    # Settings

    shape = Param(
        "[SOURce<ch>:]FUNCtion",
        Choice("SINusoid", "SQUare", "TRIangle", "RAMP", "PULSe", "PRBS", "NOISe", "ARB", "DC"),
        "SIN",
    )  # fmt: skip
    frequency = Param("[SOURce<ch>:]FREQuency", Clipped("HZ", _frequencies), 1e3)
    unit = Param("[SOURce<ch>:]VOLTage:UNIT", Choice("VPP", "VRMS", "DBM"), "VPP")
    amplitude = Param("[SOURce<ch>:]VOLTage", Amplitude(), lambda twin, ch=1: 0.1, readable=False)
    offset = Param("[SOURce<ch>:]VOLTage:OFFSet", Clipped("V", _full), 0.0)
    limit_high = Param("[SOURce<ch>:]VOLTage:LIMit:HIGH", Clipped("V", _full), lambda t, ch=1: t._full(ch)[1])
    limit_low = Param("[SOURce<ch>:]VOLTage:LIMit:LOW", Clipped("V", _full), lambda t, ch=1: t._full(ch)[0])
    limited = Param("[SOURce<ch>:]VOLTage:LIMit:STATe", Boolean(), False)
    phase = Param("[SOURce<ch>:]PHASe", Clipped("DEG", (-360.0, 360.0)), 0.0)
    duty = Param("[SOURce<ch>:]FUNCtion:SQUare:DCYCle", Clipped("PCT", (0.01, 99.99)), 50.0)
    symmetry = Param("[SOURce<ch>:]FUNCtion:RAMP:SYMMetry", Clipped("PCT", (0.0, 100.0)), 100.0)
    width = Param("[SOURce<ch>:]FUNCtion:PULSe:WIDTh", Clipped("S", (4e-9, 1e6)), 1e-4)
    hold_pulse = Param("[SOURce<ch>:]FUNCtion:PULSe:HOLD", Choice("WIDTh", "DCYCle"), "WIDT")
    transition = Param("[SOURce<ch>:]FUNCtion:PULSe:TRANsition[:BOTH]", Clipped("S", (2.9e-9, 1e-6)), 1e-8)
    output = Param("OUTPut<ch>[:STATe]", Boolean(), False, readable=False)
    load = Param("OUTPut<ch>:LOAD", OrInfinite("OHM", (1.0, 1e4)), 50.0)
    polarity = Param("OUTPut<ch>:POLarity", Choice("NORMal", "INVerted"), "NORM")
    sync = Param("OUTPut<ch>:SYNC[:STATe]", Boolean(), True)
    sync_source = Param("OUTPut<ch>:SYNC:SOURce", Choice("CH1", "CH2"), "CH1")
    burst = Param("[SOURce<ch>:]BURSt:STATe", Boolean(), False)
    burst_mode = Param("[SOURce<ch>:]BURSt:MODE", Choice("TRIGgered", "GATed"), "TRIG")
    cycles = Param("[SOURce<ch>:]BURSt:NCYCles", OrInfinite("", (1.0, 1e8)), 1.0)
    burst_period = Param("[SOURce<ch>:]BURSt:INTernal:PERiod", Clipped("S", (1e-6, 8000.0)), 10e-3)
    burst_phase = Param("[SOURce<ch>:]BURSt:PHASe", Clipped("DEG", (-360.0, 360.0)), 0.0)
    trigger_source = Param("TRIGger<ch>:SOURce", Choice("IMMediate", "EXTernal", "TIMer", "BUS"), "IMM")
    trigger_slope = Param("TRIGger<ch>:SLOPe", Choice("POSitive", "NEGative"), "POS")
    trigger_count = Param("TRIGger<ch>:COUNt", Clipped("", (1.0, 1e6)), 1.0)
    trigger_delay = Param("TRIGger<ch>:DELay", Clipped("S", (0.0, 1000.0)), 0.0)
    trigger_timer = Param("TRIGger<ch>:TIMer", Clipped("S", (1e-6, 8000.0)), 1.0)
    continuous = Param("INITiate<ch>:CONTinuous", Boolean(), True)
    reference_source = Param("[SOURce<ch>:]ROSCillator:SOURce", Choice("INTernal", "EXTernal"), "INT", kept=True)
    border = Param("FORMat:BORDer", Choice("NORMal", "SWAPped"), "NORM")
    rate = Param("[SOURce<ch>:]FUNCtion:ARBitrary:SRATe", Clipped("SA/S", _rates), _STORED_RATE)
    filter = Param("[SOURce<ch>:]FUNCtion:ARBitrary:FILTer", Choice("NORMal", "STEP", "OFF"), "STEP")
    advance = Param("[SOURce<ch>:]FUNCtion:ARBitrary:ADVance", Choice("SRATe", "TRIGger"), "SRAT")
    skew = Param("[SOURce<ch>:]FUNCtion:ARBitrary:SKEW:TIME", Clipped("S", (-4e-9, 4e-9)), 0.0)
    dual = Param("[SOURce<ch>:]DATA:ARBitrary<k>:FORMat", Choice("AABB", "ABAB"), "AABB")

    @query("[SOURce<ch>:]VOLTage?", "[SOURce<ch>:]FUNCtion:ARBitrary:PTPeak?", takes=[Word()], least=0)
    def ask_amplitude(self, ch: int, which: str = "") -> str:
        """The amplitude, in the unit that is set."""
        value = self._of("amplitude", ch) if not which else self._extreme(which, 0.1, *self.amplitudes(ch))
        unit = self.unit_of(ch)
        if unit != "VPP":
            value /= self._crest(ch)
        if unit == "DBM":
            value = dbm(value**2 / self._of("load", ch))
        return self.number(value)

    @command("[SOURce<ch>:]FUNCtion:ARBitrary:PTPeak", takes=[Amplitude()])
    def set_peak_to_peak(self, ch: int, value: float) -> None:
        """VOLTage under another name."""
        type(self).amplitude.put(self, self._room_for_amplitude(value, ch), ch)

    @staticmethod
    def _extreme(which: str, default: float, low: float, high: float) -> float:
        found = {"MIN": low, "MAX": high, "DEF": default}.get(which[:3].upper())
        if found is None:
            raise ScpiError(-224)
        return found

    @amplitude.check
    def _room_for_amplitude(self, value: float, ch: int) -> float:
        low, high = self._levels(ch)
        offset = self._of("offset", ch)
        room = max(2 * min(high - offset, offset - low), 0.0)
        if value > room * (1 + 1e-9):
            self.push_error(-221, "amplitude changed due to offset")
            return float(room)
        return value

    @offset.check
    def _room_for_offset(self, value: float, ch: int) -> float:
        low, high = self._levels(ch)
        half = 0.0 if self._of("shape", ch) == "DC" else self._of("amplitude", ch) / 2
        if not low - 1e-9 <= value - half <= value + half <= high + 1e-9:
            self.push_error(-221, "offset changed due to amplitude")
            return float(min(max(value, low + half), high - half))
        return value

    @command("[SOURce<ch>:]VOLTage:HIGH", takes=[Number("V")], passes=[True])
    @command("[SOURce<ch>:]VOLTage:LOW", takes=[Number("V")], passes=[False])
    def set_level(self, ch: int, upper: bool, value: float) -> None:
        """One level of the waveform; the other one moves if they would meet."""
        low, high = self._levels(ch)
        if not low <= value <= high:
            self.push_error(-222, f"value clipped to {'upper' if value > high else 'lower'} limit")
            value = min(max(value, low), high)
        least = self.amplitudes(ch)[0]
        top, bottom = self._edges(ch)
        top, bottom = (value, bottom) if upper else (top, value)
        if top - bottom < least * (1 - 1e-9):
            self.push_error(-221, "low level changed due to high level" if upper else "high level changed due to low")
            top, bottom = (top, top - least) if upper else (bottom + least, bottom)
            if not low <= bottom <= top <= high:
                return
        type(self).amplitude.put(self, top - bottom, ch)
        type(self).offset.put(self, (top + bottom) / 2, ch)

    def _edges(self, ch: int) -> tuple[float, float]:
        offset, half = self._of("offset", ch), self._of("amplitude", ch) / 2
        return offset + half, offset - half

    @query("[SOURce<ch>:]VOLTage:HIGH?", takes=[Word()], least=0, passes=[True])
    @query("[SOURce<ch>:]VOLTage:LOW?", takes=[Word()], least=0, passes=[False])
    def ask_level(self, ch: int, upper: bool, which: str = "") -> float:
        """One level of the waveform."""
        if which:
            return self._extreme(which, 0.05 if upper else -0.05, *self._levels(ch))
        return float(self._edges(ch)[0 if upper else 1])

    @limited.check
    def _fits(self, value: bool, ch: int) -> None:
        top, bottom = self._edges(ch)
        if value and not (self._of("limit_low", ch) <= bottom and top <= self._of("limit_high", ch)):
            raise ScpiError(-221, "limits below the present waveform")

    @limit_high.check
    def _high_above(self, value: float, ch: int) -> None:
        if self._of("limited", ch) and value < self._edges(ch)[0]:
            raise ScpiError(-221, "limits below the present waveform")

    @limit_low.check
    def _low_below(self, value: float, ch: int) -> None:
        if self._of("limited", ch) and value > self._edges(ch)[1]:
            raise ScpiError(-221, "limits below the present waveform")

    @load.check
    def _rescale(self, value: float, ch: int) -> None:
        old = self.scale(ch)
        factor = (2.0 if math.isinf(value) else 2 * value / (50 + value)) / old
        for param in (type(self).amplitude, type(self).offset, type(self).limit_high, type(self).limit_low):
            param.put(self, param.of(self, ch) * factor, ch)

    @unit.check
    def _needs_load(self, value: str, ch: int) -> None:
        if value == "DBM" and math.isinf(self._of("load", ch)):
            raise ScpiError(-221, "dBm needs a finite load")

    @command("[SOURce<ch>:]VOLTage:RANGe:AUTO", takes=[Choice("ON", "OFF", "ONCE", "1", "0")])
    def set_auto(self, ch: int, value: str) -> None:
        """Autorange."""
        self.values["auto", (ch,)] = value in ("ON", "1")

    @query("[SOURce<ch>:]VOLTage:RANGe:AUTO?")
    def ask_auto(self, ch: int) -> bool:
        """Whether autorange is on."""
        return bool(self.values.get(("auto", (ch,)), True))

    @frequency.check
    def _keep_phase(self, value: float, ch: int) -> None:
        start, cycles = self.origin[ch]
        self.origin[ch] = (self.now, cycles + (self.now - start) * self._of("frequency", ch))

    @shape.changed
    def _restart(self, value: str, ch: int) -> None:
        self.origin[ch] = (self.now, 0.0)

    @output.check
    def _held(self, value: bool, ch: int) -> bool:
        self.overloaded &= ~(1 << ch - 1)
        return value or (self.stays_on and self._of("output", ch))

    @command("[SOURce<ch>:]PHASe:SYNChronize", "[SOURce<ch>:]FUNCtion:ARBitrary:SYNChronize")
    def synchronise(self, ch: int) -> None:
        """All channels start together."""
        for channel in self.origin:
            self.origin[channel] = (self.now, 0.0)

    @query("[SOURce<ch>:]ROSCillator:SOURce:CURRent?")
    def current_reference(self, ch: int) -> str:
        """The reference in use."""
        return "EXT" if self.reference_source == "EXT" and self.reference else "INT"

    @command("[SOURce<ch>:]APPLy:SINusoid", takes=[Many(Raw())], least=0, passes=["SIN"])
    @command("[SOURce<ch>:]APPLy:SQUare", takes=[Many(Raw())], least=0, passes=["SQU"])
    @command("[SOURce<ch>:]APPLy:TRIangle", takes=[Many(Raw())], least=0, passes=["TRI"])
    @command("[SOURce<ch>:]APPLy:RAMP", takes=[Many(Raw())], least=0, passes=["RAMP"])
    @command("[SOURce<ch>:]APPLy:PULSe", takes=[Many(Raw())], least=0, passes=["PULS"])
    @command("[SOURce<ch>:]APPLy:NOISe", takes=[Many(Raw())], least=0, passes=["NOIS"])
    @command("[SOURce<ch>:]APPLy:DC", takes=[Many(Raw())], least=0, passes=["DC"])
    @command("[SOURce<ch>:]APPLy:ARBitrary", takes=[Many(Raw())], least=0, passes=["ARB"])
    def apply(self, ch: int, shape: str, *tokens: bytes) -> None:
        """Function, rate or frequency, amplitude and offset at once; the output goes on."""
        if len(tokens) > 3:
            raise ScpiError(-108)
        cls = type(self)
        cls.shape.put(self, shape, ch)
        self._restart(shape, ch)
        for param, token in zip((cls.rate if shape == "ARB" else cls.frequency, cls.amplitude, cls.offset), tokens,
                                strict=False):  # fmt: skip
            param._set(self, (ch,), [token])
        self.overloaded &= ~(1 << ch - 1)
        cls.output.put(self, True, ch)

    @query("[SOURce<ch>:]APPLy?")
    def applied(self, ch: int) -> str:
        """Function, rate or frequency, amplitude and offset."""
        shape = self._of("shape", ch)
        rate = self._of("rate" if shape == "ARB" else "frequency", ch)
        return f'"{shape} {self.number(rate)},{self.ask_amplitude(ch)},{self.number(self._of("offset", ch))}"'

    # Triggers

    @command("ABORt")
    def abort(self) -> None:
        """Triggers start over; channels that are not continuous go idle."""
        for ch in self.armed:
            self.fired[ch] = []
            self.armed[ch] = self.now if self._of("continuous", ch) else math.inf

    @command("INITiate<ch>[:IMMediate]")
    def initiate(self, ch: int) -> None:
        """Wait for TRIG:COUN triggers."""
        if self._of("continuous", ch):
            raise ScpiError(-213)
        self.armed[ch], self.fired[ch] = self.now, []

    @continuous.changed
    def _arm(self, value: bool, ch: int) -> None:
        self.armed[ch], self.fired[ch] = (self.now if value else math.inf), []

    def _limit(self, ch: int) -> float:
        return math.inf if self._of("continuous", ch) else self._of("trigger_count", ch)

    def _accepts(self, ch: int) -> bool:
        return self.armed[ch] <= self.now and len(self.fired[ch]) < self._limit(ch)

    def _starts(self, ch: int, instants: Floats) -> tuple[Floats, Floats]:
        """When each instant's last trigger came (-inf: none yet), and how many there were until then."""
        source = self._of("trigger_source", ch)
        delay, armed, limit = self._of("trigger_delay", ch), self.armed[ch], self._limit(ch)
        if math.isinf(armed):
            return np.full(instants.shape, -np.inf), np.zeros(instants.shape)
        if source in ("IMM", "TIM"):
            period = self._of("trigger_timer" if source == "TIM" else "burst_period", ch)
            count = np.floor((instants - delay - armed) / period)
            count = np.minimum(count, limit - 1)
            return np.where(count >= 0, armed + delay + np.maximum(count, 0) * period, -np.inf), np.maximum(
                count + 1, 0
            )
        if source == "BUS":
            times = np.array(self.fired[ch])
        else:
            first = max(armed, float(instants.min()) - delay - 1.0)
            rising = self._of("trigger_slope", ch) == "POS"
            end = float(instants.max())
            connected = self.external.connected and end > first
            times = edges(self.external.evaluate, first, end, _THRESHOLD, rising) if connected else np.zeros(0)
        if math.isfinite(limit):
            times = times[: int(limit)]
        index = np.searchsorted(times + delay, instants, side="right")
        padded = np.concatenate(([-np.inf], times + delay))
        return padded[index], index.astype(np.float64)

    # Waveforms

    @command("[SOURce<ch>:]DATA:ARBitrary<k>", takes=[Name(), Many(Raw())], least=2, passes=["f"])
    @command("[SOURce<ch>:]DATA:ARBitrary<k>:DAC", takes=[Name(), Many(Raw())], least=2, passes=["i"])
    def upload(self, ch: int, k: int, code: str, name: str, *tokens: bytes) -> None:
        """A waveform into volatile memory, as text or block, for one channel or for both."""
        if not re.fullmatch(r"[A-Za-z]\w{0,11}", name, re.ASCII):
            raise ScpiError(-222, "waveform name")
        if k == 2 and self.channels < 2:
            raise ScpiError(-241)
        data = self._values(code, tokens)
        key = name.upper()
        parts = {ch: data}
        if k == 2:
            if data.size % 2:
                raise ScpiError(-222)
            half = data.size // 2
            both = (data[:half], data[half:]) if self._dual() == "AABB" else (data[::2], data[1::2])
            parts = {1: both[0], 2: both[1]}
        if next(iter(parts.values())).size < self.least:
            raise ScpiError(-222, "too few points")
        for channel, part in parts.items():
            if key in self.waves[channel]:
                raise ScpiError(785)
            if part.size > self._free(channel):
                raise ScpiError(781)
        steps = 2 ** (self.bits - 1) - 1
        for channel, part in parts.items():
            self.waves[channel][key] = (np.round(part * steps) / steps, _STORED_RATE)
        self.operate(data.size / self.upload_rate)

    def _dual(self) -> str:
        return next((value for (name, _), value in self.values.items() if name == "dual"), "AABB")

    def _values(self, code: str, tokens: tuple[bytes, ...]) -> Floats:
        if len(tokens) == 1 and tokens[0][:1] == b"#":
            payload = Block().parse(self, tokens[0])
            kind = np.dtype(("<" if self.border == "SWAP" else ">") + ("f4" if code == "f" else "i2"))
            if not payload or len(payload) % kind.itemsize:
                raise ScpiError(-161)
            values = np.frombuffer(payload, kind).astype(np.float64)
        else:
            number = Number()
            values = np.array([number.parse(self, token) for token in tokens])
        if code == "i":
            if not np.all((values >= -32768) & (values <= 32767)):
                raise ScpiError(-222)
            return np.asarray(np.maximum(np.round(values), -32767) / 32767)
        if not np.all(np.abs(values) <= 1):  # also catches what is no number
            raise ScpiError(-222)
        return values

    def _free(self, ch: int) -> int:
        return self.points - sum(data.size for name, (data, _) in self.waves[ch].items() if name != _BUILT_IN)

    def _wave(self, ch: int) -> tuple[Floats, float]:
        return self.waves[ch][self.selected[ch]]

    @command("[SOURce<ch>:]DATA:VOLatile:CLEar")
    def clear_volatile(self, ch: int) -> None:
        """Forget the waveforms of a channel, but not the one that plays."""
        playing = self.selected[ch] if self._of("shape", ch) == "ARB" else _BUILT_IN
        kept = {_BUILT_IN, playing}
        self.waves[ch] = {name: wave for name, wave in self.waves[ch].items() if name in kept}
        self.selected[ch] = playing
        if playing != _BUILT_IN:
            raise ScpiError(787)

    @query("[SOURce<ch>:]DATA:VOLatile:CATalog?")
    def catalogue(self, ch: int) -> str:
        """Names of the waveforms in volatile memory."""
        return ",".join(f'"{name}"' for name in self.waves[ch])

    @query("[SOURce<ch>:]DATA:VOLatile:FREE?")
    def free(self, ch: int) -> int:
        """Points that are free."""
        return self._free(ch)

    def _loaded(self, ch: int, name: str) -> str:
        key = name.upper()
        if key not in self.waves[ch]:
            raise ScpiError(786 if ":" not in key else 788)
        return key

    @query("[SOURce<ch>:]DATA:ATTRibute:POINts?", takes=[Name()], least=0, passes=["points"])
    @query("[SOURce<ch>:]DATA:ATTRibute:PTPeak?", takes=[Name()], least=0, passes=["ptp"])
    @query("[SOURce<ch>:]DATA:ATTRibute:AVERage?", takes=[Name()], least=0, passes=["mean"])
    @query("[SOURce<ch>:]DATA:ATTRibute:CFACtor?", takes=[Name()], least=0, passes=["crest"])
    def attribute(self, ch: int, which: str, name: str = "") -> int | float:
        """Facts of a waveform; default: of the selected one."""
        data = self.waves[ch][self._loaded(ch, name) if name else self.selected[ch]][0]
        if which == "points":
            return data.size
        if which == "ptp":
            return float(np.ptp(data)) / 2
        if which == "mean":
            return float(np.mean(data))
        rms = float(np.sqrt(np.mean(data**2)))
        return float(np.max(np.abs(data))) / rms if rms else _NOTHING

    @query("[SOURce<ch>:]FUNCtion:ARBitrary:POINts?")
    def selected_points(self, ch: int) -> int:
        """Points of the selected waveform."""
        return self._wave(ch)[0].size

    @command("[SOURce<ch>:]FUNCtion:ARBitrary", takes=[Name()])
    def select(self, ch: int, name: str) -> None:
        """Choose what FUNC ARB plays; its own rate comes with it."""
        self.selected[ch] = self._loaded(ch, name)
        type(self).rate.put(self, self._wave(ch)[1], ch)
        self.origin[ch] = (self.now, 0.0)

    @query("[SOURce<ch>:]FUNCtion:ARBitrary?")
    def ask_selected(self, ch: int) -> str:
        """The selected waveform."""
        return f'"{self.selected[ch]}"'

    @command("[SOURce<ch>:]FUNCtion:ARBitrary:FREQuency", takes=[Number("HZ")], passes=[False])
    @command("[SOURce<ch>:]FUNCtion:ARBitrary:PERiod", takes=[Number("S")], passes=[True])
    def set_repetition(self, ch: int, period: bool, value: float) -> None:
        """The sample rate by its repetitions."""
        if value <= 0:
            raise ScpiError(-222)
        points = self._wave(ch)[0].size
        type(self).rate._set(self, (ch,), [repr(points / value if period else points * value).encode()])

    @query("[SOURce<ch>:]FUNCtion:ARBitrary:FREQuency?", passes=[False])
    @query("[SOURce<ch>:]FUNCtion:ARBitrary:PERiod?", passes=[True])
    def ask_repetition(self, ch: int, period: bool) -> float:
        """How often, or how long, the waveform is."""
        frequency: float = self._of("rate", ch) / self._wave(ch)[0].size
        return 1 / frequency if period else frequency

    @command("MMEMory:STORe:DATA<ch>", takes=[Name()])
    def store(self, ch: int, path: str) -> None:
        """A volatile waveform into a file of its name."""
        match = re.fullmatch(r"INT:\\(\w{1,40})\.ARB", path.upper())
        if match is None:
            raise ScpiError(-257)
        found = self.waves[ch].get(match[1]) or self.waves[ch].get(path.upper())
        self.files[path.upper()] = found or self._wave(ch)

    @command("MMEMory:LOAD:DATA<ch>", takes=[Name()])
    def load_file(self, ch: int, path: str) -> None:
        """A file into volatile memory, under the file's name."""
        key = path.upper()
        if key not in self.files:
            raise ScpiError(-256)
        if key in self.waves[ch]:
            raise ScpiError(785)
        if self.files[key][0].size > self._free(ch):
            raise ScpiError(781)
        self.waves[ch][key] = self.files[key]

    # What leaves

    def emits(self, ch: int) -> bool:
        """Whether an output is on; an overload (a fault) switches it off."""
        if self.interlocked and self._of("output", ch) and not self.stays_on:
            self.overloaded |= 1 << ch - 1
            type(self).output.put(self, False, ch)
        return bool(self._of("output", ch))

    @query("OUTPut<ch>[:STATe]?")
    def ask_output(self, ch: int) -> bool:
        """Whether an output is on."""
        return self.emits(ch)

    def volts(self, ch: int, instants: Floats) -> Floats:
        """Voltages at the attached load."""
        if not self.emits(ch):
            return np.zeros(instants.shape)
        value = self._played(ch, instants - self._of("skew", ch))
        if self._of("polarity", ch) == "INV":
            value = -value
        volts = self._of("offset", ch) + self._of("amplitude", ch) / 2 * value
        low, high = self._levels(ch)
        volts = np.clip(volts, low, high)
        load, attached = self._of("load", ch), self.termination
        factor = (1.0 if math.isinf(load) else (50 + load) / load) * (
            1.0 if math.isinf(attached) else attached / (50 + attached)
        )
        return np.asarray(volts * factor)

    def _played(self, ch: int, instants: Floats) -> Floats:
        """The waveform between -1 and 1."""
        shape = self._of("shape", ch)
        if shape == "DC":
            return np.zeros(instants.shape)
        data, _ = self._wave(ch)
        frequency = self._of("rate", ch) / data.size if shape == "ARB" else self._of("frequency", ch)
        if shape == "ARB" and self._of("advance", ch) == "TRIG":
            _, count = self._starts(ch, instants)
            return np.asarray(data[count.astype(np.intp) % data.size])
        start, cycles = self.origin[ch]
        if not self._of("burst", ch):
            return self._wave_at(
                ch, shape, cycles + (instants - start) * frequency + self._of("phase", ch) / 360, instants
            )
        begin = self._of("burst_phase", ch) / 360
        if self._of("burst_mode", ch) == "GAT":
            high = self.external.evaluate(instants) > _THRESHOLD
            on = high == (self._of("trigger_slope", ch) == "POS")
            passed = (instants - start) * frequency
        else:
            starts, _ = self._starts(ch, instants)
            passed = (
                np.where(np.isfinite(starts), instants - np.where(np.isfinite(starts), starts, 0.0), -1.0) * frequency
            )
            on = (passed >= 0) & (passed < self._of("cycles", ch))
        return self._wave_at(ch, shape, begin + np.where(on, passed, 0.0), instants)

    def _wave_at(self, ch: int, shape: str, cycles: Floats, instants: Floats) -> Floats:
        position = cycles - np.floor(cycles)
        if shape == "SIN":
            return np.asarray(np.sin(2 * np.pi * position))
        if shape == "SQU":
            return np.where(position < self._of("duty", ch) / 100, 1.0, -1.0)
        if shape == "PULS":
            return np.where(position < self._of("width", ch) * self._of("frequency", ch), 1.0, -1.0)
        if shape in ("TRI", "RAMP"):
            rise = 0.5 if shape == "TRI" else min(max(self._of("symmetry", ch) / 100, 1e-9), 1 - 1e-9)
            return np.where(position < rise, 2 * position / rise - 1, 1 - 2 * (position - rise) / (1 - rise))
        if shape == "ARB":
            data = self._wave(ch)[0]
            return np.asarray(data[np.minimum((position * data.size + 1e-6).astype(np.intp), data.size - 1)])
        if shape == "PRBS":
            return np.asarray(_PRBS[np.floor(cycles).astype(np.int64) % _PRBS.size])
        return self._noise(ch, instants)

    def _noise(self, ch: int, instants: Floats) -> Floats:
        """Gaussian, white up to the model's frequency, six sigma peak to peak; the same at the same instant."""
        slots = np.floor(instants * 2 * self.top).astype(np.int64).astype(np.uint64)
        with np.errstate(over="ignore"):
            one, two = (_mixed(slots * np.uint64(2) + np.uint64(k + self._seeds[ch])) for k in range(2))
        gauss = np.sqrt(-2 * np.log(np.maximum(one, 1e-300))) * np.cos(2 * np.pi * two)
        return np.asarray(np.clip(gauss / 3, -1, 1))

    # What other drivers ask for

    @command("SYSTem:BEEPer[:IMMediate]", "DISPlay:TEXT:CLEar")
    def beep(self) -> None:
        """Nobody hears or sees it."""

    @command("DISPlay:TEXT", takes=[Text()])
    def show_text(self, text: str) -> None:
        """Nobody sees it."""


def _mixed(slots: NDArray[np.uint64]) -> Floats:
    """A uniform number of each counter (splitmix64)."""
    z = slots * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2.0**53)


def _prbs7() -> Floats:
    state, bits = 127, []
    for _ in range(127):
        bit = (state >> 6 ^ state >> 5) & 1
        bits.append(2.0 * bit - 1.0)
        state = (state << 1 | bit) & 127
    return np.array(bits)


_PRBS = _prbs7()
TWIN = Keysight33500
