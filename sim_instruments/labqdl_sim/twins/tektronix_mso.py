"""Tektronix 4, 5 and 6 series MSO oscilloscopes: acquisition and curves (sheet scope_tektronix_mso56.md).

Ports "channel1" ... and "auxiliary" take voltages at the connectors.

What the sheet leaves open, and how it is here:

- Power-on and *RST: running, automatic trigger, channel 1 shown, 0.1 V/div, 4 us/div, 10,000 points, RIB, width 1.
  Headers are on at power-on; *RST leaves HEADer and VERBose alone. Headers are long with VERBose 0 too.
- PT_Off is the sample of the trigger (HORizontal:POSition, default 50 %, is not in the sheet), XZEro 0.
- 64,000 codes for ten divisions in steps of 16 (12 bits; 1 in HIRes and AVErage), -32768 and 32767 beyond the range.
  Gaussian noise of `noise` divisions. FPB and SFP send volts as float32 with YMUlt 1.
- The automatic trigger fires after `auto_time`; *OPC? waits for a single acquisition, for ever without a trigger.
- Events can be read after *ESR? only, which puts those that came since the last one into the queue. No event for
  power-on or for *OPC. SYSTem:ERRor? does not exist.
- Measurements look at the first source of DATa:SOUrce.

Not simulated: CURVEStream?, whose endless blocks would have to come from something that ticks.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl_sim.acquiring import Acquisition, Plan, continuous, quantise
from labqdl_sim.scpi import (
    ERROR_TEXTS,
    EXE,
    Boolean,
    Choice,
    Integer,
    Kind,
    Many,
    Number,
    Param,
    ScpiError,
    ScpiTwin,
    block,
    command,
    query,
)  # fmt: skip
from labqdl_sim.twin import Session

_NOTHING = 9.91e37
_ENCODINGS = {
    # word: format, byte order
    "ASCI": ("RI", "MSB"), "RIB": ("RI", "MSB"), "RPB": ("RP", "MSB"), "SRI": ("RI", "LSB"), "SRP": ("RP", "LSB"),
    "FPB": ("FP", "MSB"), "SFP": ("FP", "LSB"),
}  # fmt: skip
_MODES = {"SAM": "Sample", "HIR": "High Res", "AVE": "Average", "ENV": "Envelope", "PEAK": "Peak Detect"}
_ITEMS = (
    "BYT_Nr", "BIT_Nr", "ENCdg", "BN_Fmt", "BYT_Or", "WFId", "NR_Pt", "PT_Fmt", "XUNit", "XINcr", "XZEro", "PT_Off",
    "YUNit", "YMUlt", "YOFf", "YZEro",
)  # fmt: skip
Floats = NDArray[np.float64]


class Channel(Kind[str]):
    """CH<x>; with `others`, also these words."""

    def __init__(self, *others: str) -> None:
        self._others = others

    def parse(self, twin: Any, token: bytes, *suffixes: int) -> str:
        """The value of one argument."""
        word = token.decode("latin-1").upper()
        if word in self._others:
            return word
        if word[:2] != "CH" or not word[2:].isdigit() or len(word) > 4 or not 1 <= int(word[2:]) <= twin.channels:
            raise ScpiError(-224)
        return f"CH{int(word[2:])}"


class Bandwidth(Kind[float]):
    """A number in Hz, or FULl."""

    def parse(self, twin: Any, token: bytes, *suffixes: int) -> float:
        """The value of one argument."""
        if token.upper() in (b"FUL", b"FULL"):
            return 1e9
        return Number("HZ", (20e6, 1e9)).parse(twin, token)

    def show(self, twin: ScpiTwin, value: float) -> str:
        """The value in a reply."""
        return twin.number(value)


def _prefixed(value: float, unit: str) -> str:
    """As WFId has it: 100.0mV, 4.000us."""
    exponent = min(max(3 * math.floor(math.log10(abs(value)) / 3 + 1e-9), -12), 0) if value else 0
    scaled = value / 10.0**exponent
    digits = 3 - min(max(math.floor(math.log10(abs(scaled)) + 1e-9), 0), 3) if scaled else 3
    prefix = {0: "", -3: "m", -6: "u", -9: "n", -12: "p"}[exponent]
    return f"{scaled:.{digits}f}{prefix}{unit}"


class TektronixMso(ScpiTwin):
    """An oscilloscope.

    Options: `model` (its last digit is the number of channels), `rate` (highest, Sa/s), `memory` (points), `noise`
    (rms in divisions), `auto_time` (s), `clock_error` (by which part its clock is too fast).
    """

    maker = "TEKTRONIX"
    model = "MSO58"
    serial = "C012345"
    firmware = "CF:91.1CT FV:1.28.6.1"
    resources = (
        "TCPIP0::{name}::inst0::INSTR", "TCPIP0::{name}::4000::SOCKET", "USB0::0x0699::0x0522::{serial}::INSTR",
    )  # fmt: skip
    prefixes = True
    registers = {}  # noqa: RUF012
    without = ("SYSTem:ERRor",)
    queue_depth = 33
    error_codes = {code: -code for code in ERROR_TEXTS if code < 0}  # noqa: RUF012
    error_texts = {  # noqa: RUF012
        **{-code: text for code, text in ERROR_TEXTS.items() if code < 0}, 2244: "Waveform requested is not ON",
    }  # fmt: skip

    def setup(self) -> None:
        """Read options, open the inputs."""
        digits = [int(character) for character in self.model if character.isdigit()]
        self.channels = digits[1] if len(digits) > 1 and 1 <= digits[1] <= 8 else 4
        self.top_rate = self.option("rate", 6.25e9)
        self.memory = self.option("memory", 62_500_000)
        self.noise = self.option("noise", 0.01)
        self.auto_time = self.option("auto_time", 0.04)
        self.inputs = {ch: self.voltage_in(f"channel{ch}") for ch in range(1, self.channels + 1)}
        self.auxiliary = self.voltage_in("auxiliary")
        self.clock_error = self.option("clock_error", 0.0)
        self.headers = True
        self.readable: deque[tuple[int, str]] = deque(maxlen=self.queue_depth)
        self._acquisitions = 0

    def reset(self) -> None:
        """Running, nothing acquired."""
        self.sources = ["CH1"]
        self.run_since: float | None = self.now
        self.armed: Acquisition | None = None
        self.kept: Acquisition | None = None
        self.shown: dict[int, Floats] = {}
        self.measurements: list[str] = []

    def suffix_allowed(self, name: str, value: int) -> bool:
        """Channels that the model has."""
        return 1 <= value <= (self.channels if name == "ch" else 100)

    def number(self, value: float) -> str:
        """As short as possible: 4.0E-3."""
        if not value:
            return "0.0"
        mantissa, exponent = f"{value:.9E}".split("E")
        mantissa = mantissa.rstrip("0")
        return f"{mantissa}{'0' if mantissa[-1] == '.' else ''}E{int(exponent):+d}"

    def headed(self, header: str, answer: bytes) -> bytes:
        """Common commands never carry theirs; the reply of a group has its own."""
        return answer if header[0] == "*" or answer[:1] == b":" else super().headed(header, answer)

    def settle(self) -> None:
        """A trigger that came takes its record."""
        if self.armed is not None:
            self.armed.look(self.clock.monotonic())

    def cleared(self, session: Session) -> None:
        """A device clear ends what *OPC? waits for; the acquisition stays armed."""

    def done_at(self) -> float:
        """A single acquisition is an overlapped operation."""
        done = super().done_at()
        return done if self.armed is None else max(done, self.armed.complete_at(self.now))

    # Events

    def _unit(self, unit: bytes, path: str) -> tuple[bytes | None, str]:
        try:
            return super()._unit(unit, path)
        except ScpiError as error:
            if error.code != -113 or error.detail:
                raise
            word = unit.split(None, 1)[0].decode("latin-1")
            raise ScpiError(-113, f"unrecognized command - {word}") from None

    @query("*ESR?")
    def ask_events(self) -> int:
        """The register; what came since the last time can be read from now on."""
        self.readable = deque(self.errors, self.queue_depth)
        self.errors.clear()
        events, self.esr = self.standard_events(), 0
        return events

    @command("*CLS")
    def clear_status(self) -> None:
        """Forget all events."""
        super().clear_status()
        self.readable.clear()

    def _next(self) -> tuple[int, str]:
        if self.readable:
            return self.readable.popleft()
        if self.errors:
            return 1, "No events to report - new events pending *ESR?"
        return 0, "No events to report - queue empty"

    @query("EVENT?")
    def ask_event(self) -> int:
        """Code of the oldest event."""
        return self._next()[0]

    @query("EVMsg?")
    def ask_event_message(self) -> str:
        """The oldest event."""
        code, text = self._next()
        return f'{code},"{text}"'

    @query("ALLEv?")
    def ask_all_events(self) -> str:
        """All events."""
        found = [self._next()]
        while self.readable:
            found.append(self.readable.popleft())
        return ",".join(f'{code},"{text}"' for code, text in found)

    # Settings

    def _rates(self, *_: int) -> tuple[float, float]:
        return 1.0, self.top_rate

    def _lengths(self, *_: int) -> tuple[float, float]:
        return 1000, self.memory

    verbose = Param("VERBose", Boolean(), True, kept=True)
    scale = Param("CH<ch>:SCAle", Number("V", (5e-4, 10.0)), 0.1)
    offset = Param("CH<ch>:OFFSet", Number("V", (-100.0, 100.0)), 0.0)
    position = Param("CH<ch>:POSition", Number("", (-8.0, 8.0)), 0.0)
    coupling = Param("CH<ch>:COUPling", Choice("AC", "DC", "DCREJ"), "DC")
    termination = Param("CH<ch>:TERmination", Number("OHM", (50.0, 1e6)), 1e6)
    bandwidth = Param("CH<ch>:BANdwidth", Bandwidth(), 1e9)
    display = Param("DISplay:GLObal:CH<ch>:STATE", Boolean(), lambda twin, ch=1: ch == 1)
    horizontal_mode = Param("HORizontal:MODe", Choice("AUTO", "MANual", long=True), "AUTO")
    rate = Param("HORizontal:MODe:SAMPLERate", Number("", _rates), 250e6)
    length = Param("HORizontal:RECOrdlength", Integer(_lengths), 10_000)
    share = Param("HORizontal:POSition", Number("", (0.0, 100.0)), 50.0)
    trigger_type = Param("TRIGger:A:TYPe", Choice("EDGE", "WIDth", "TIMEOut", "RUNt", "LOGIc", long=True), "EDGE")
    trigger_source = Param("TRIGger:A:EDGE:SOUrce", Channel("AUX", "LINE"), "CH1")
    slope = Param("TRIGger:A:EDGE:SLOpe", Choice("RISe", "FALL", "EITher", long=True), "RIS")
    level = Param("TRIGger:A:LEVel:CH<ch>", Number("V", (-100.0, 100.0)), 0.0)
    auxiliary_level = Param("TRIGger:AUXLevel", Number("V", (-5.0, 5.0)), 0.5)
    trigger_mode = Param("TRIGger:A:MODe", Choice("AUTO", "NORMal", long=True), "AUTO")
    mode = Param("ACQuire:MODe", Choice("SAMple", "HIRes", "AVErage", "ENVelope", "PEAKdetect", long=True), "SAM")
    averages = Param("ACQuire:NUMAVg", Integer((2, 10240)), 16)
    stop_after = Param("ACQuire:STOPAfter", Choice("RUNSTop", "SEQuence", long=True), "RUNST")
    encoding = Param(
        "DATa:ENCdg",
        Choice("ASCIi", "RIBinary", "RPBinary", "SRIbinary", "SRPbinary", "FPBinary", "SFPbinary", long=True), "RIB",
    )  # fmt: skip
    width = Param("DATa:WIDth", Integer((1, 8)), 1)
    first = Param("DATa:STARt", Integer((1, 10**12)), 1)
    last = Param("DATa:STOP", Integer((1, 10**12)), 10_000)

    @command("HEADer", takes=[Boolean()])
    def set_headers(self, value: bool) -> None:
        """Replies with their headers."""
        self.headers = value

    @query("HEADer?")
    def ask_headers(self) -> bool:
        """Whether replies carry headers."""
        return self.headers

    @termination.check
    def _either(self, value: float, ch: int) -> float:
        return 50.0 if value < 1e3 else 1e6

    @width.check
    def _widths(self, value: int) -> int:
        if value not in (1, 2, 4, 8):
            raise ScpiError(-222)
        return value

    @command("SELect:CH<ch>", takes=[Boolean()])
    def set_select(self, ch: int, value: bool) -> None:
        """Show a channel, as older series call it."""
        type(self).display.put(self, value, ch)

    @query("SELect:CH<ch>?")
    def ask_select(self, ch: int) -> bool:
        """Whether a channel is shown."""
        return bool(self._of("display", ch))

    @query("HORizontal:SAMPLERate?")
    def ask_rate(self) -> float:
        """Samples a second."""
        return self.rate

    @rate.check
    def _manual_only(self, value: float) -> None:
        if self.horizontal_mode == "AUTO":
            raise ScpiError(-221)

    @length.check
    def _same_time(self, value: int) -> None:
        if self.horizontal_mode == "AUTO":
            self.rate = min(self.rate * value / self.length, self.top_rate)

    @command("HORizontal:MODe:SCAle", "HORizontal:SCAle", takes=[Number("S", (1e-10, 1e3))])
    def set_time_scale(self, value: float) -> None:
        """Seconds a division: changes the rate, or in manual mode the length."""
        if self.horizontal_mode == "AUTO":
            self.rate = min(self.length / (10 * value), self.top_rate)
        else:
            self.length = round(min(max(10 * value * self.rate, 1000), self.memory))

    @query("HORizontal:MODe:SCAle?", "HORizontal:SCAle?")
    def ask_time_scale(self) -> float:
        """Seconds a division."""
        return self.length / self.rate / 10

    @command("DATa:SOUrce", takes=[Many(Channel())], least=1)
    def set_sources(self, *names: str) -> None:
        """What CURVe? sends."""
        self.sources = list(names)

    @query("DATa:SOUrce?")
    def ask_sources(self) -> str:
        """What CURVe? sends."""
        return ",".join(self.sources)

    # Acquiring

    def _plan(self) -> Plan:
        source, level, hysteresis, known = None, self.auxiliary_level, 0.0, None
        if self.trigger_source == "AUX":
            source, known = self.auxiliary.evaluate, self.auxiliary.edges
        elif self.trigger_source != "LINE":
            ch = int(self.trigger_source[2:])
            source, level, hysteresis = self.inputs[ch].evaluate, self._of("level", ch), self._of("scale", ch) / 10
        shown = {ch: port for ch, port in self.inputs.items() if self._of("display", ch)}
        return Plan(
            shown, self.rate, self.length, self._trigger_index / self.rate, source, level,
            {"RIS": (True,), "FALL": (False,)}.get(self.slope, (True, False)), hysteresis,
            self.auto_time if self.trigger_mode == "AUTO" else None,
            repeats=self.averages if self.mode == "AVE" else 1, edges=known, clock_error=self.clock_error,
        )  # fmt: skip

    @property
    def _trigger_index(self) -> int:
        return round(self.length * self.share / 100)

    def _follow(self) -> None:
        """Take over what is complete by now."""
        if self.armed is not None:
            if self.armed.done(self.now):
                self.kept, self.armed, self.shown = self.armed, None, {}
        elif self.run_since is not None and math.isfinite(self.now):
            latest = continuous(self._plan(), self.run_since, self.now)
            if latest is not None:
                self._acquisitions += 1
                self.kept, self.shown = latest, {}

    @command("ACQuire:STATE", takes=[Choice("ON", "OFF", "RUN", "STOP", "1", "0")])
    def set_state(self, value: str) -> None:
        """Begin, or stop."""
        self._follow()
        self.armed = self.run_since = None
        if value in ("ON", "RUN", "1"):
            if self.stop_after == "SEQ":
                self._acquisitions += 1
                self.armed = Acquisition(self._plan(), self.now)
            else:
                self.run_since = self.now

    @query("ACQuire:STATE?")
    def ask_state(self) -> bool:
        """Whether it acquires."""
        if self.armed is not None:
            self._follow()
        return self.armed is not None or self.run_since is not None

    @stop_after.changed
    def _stop_after(self, value: str) -> None:
        if value == "SEQ" and self.run_since is not None:
            self.run_since, self.armed = None, Acquisition(self._plan(), self.now)
            self._acquisitions += 1

    @command("TRIGger", takes=[Choice("FORCe")])
    def force(self, word: str) -> None:
        """Trigger now."""
        if self.armed is not None:
            self.armed.force(self.now)

    # Curves

    def _volts(self, ch: int) -> Floats:
        """The record of a channel with its noise; event 2244 where there is none."""
        if self.kept is None or ch not in self.kept.records[0].volts or not self._of("display", ch):
            self.push_error(2244)
            self.esr |= EXE
            raise _NoData
        if ch not in self.shown:
            clean = self.kept.records[0].volts[ch]
            if self._of("coupling", ch) != "DC":
                clean = clean - clean.mean()
            draw = self.generator("noise", self._acquisitions, ch).standard_normal(clean.size)
            quiet = math.sqrt(self.kept.plan.repeats)
            self.shown[ch] = clean + draw * (self.noise * self._of("scale", ch) / quiet)
        return self.shown[ch]

    def _range(self) -> slice:
        count = self.length if self.kept is None else self.kept.plan.count
        return slice(self.first - 1, min(self.last, count))

    def _bytes(self) -> int:
        return 4 if _ENCODINGS[self.encoding][0] == "FP" else min(self.width, 2)

    def _scaling(self, ch: int) -> tuple[float, float, float]:
        """YMUlt, YOFf, YZEro."""
        form, _ = _ENCODINGS[self.encoding]
        if form == "FP":
            return 1.0, 0.0, 0.0
        codes = 250 if self._bytes() == 1 else 64_000
        zero = 0.0 if form == "RI" else 128.0 if self._bytes() == 1 else 32768.0
        scale: float = self._of("scale", ch)
        return scale * 10 / codes, self._of("position", ch) * codes / 10 + zero, self._of("offset", ch)

    def _curve(self, name: str) -> bytes:
        ch = int(name[2:])
        volts = self._volts(ch)[self._range()]
        if not volts.size:
            raise ScpiError(-222)
        form, order = _ENCODINGS[self.encoding]
        sign = "<" if order == "LSB" else ">"
        scale = self._of("scale", ch)
        bits = 16 if self.mode in ("HIR", "AVE") else 12
        centre = self._of("offset", ch) - self._of("position", ch) * scale
        codes = quantise(volts, centre, scale * 10 * 65536 / 64000, bits) - 32768
        if form == "FP":
            return block(((codes * scale / 6400) + centre).astype(f"{sign}f4").tobytes())
        if self._bytes() == 1:
            codes = codes >> 8
        if self.encoding == "ASCI":
            return ",".join(map(str, codes.tolist())).encode()
        if form == "RP":
            codes = codes + (128 if self._bytes() == 1 else 32768)
        return block(codes.astype(f"{sign}{'i' if form == 'RI' else 'u'}{self._bytes()}").tobytes())

    @query("CURVe?")
    def curve(self) -> bytes | None:
        """The record of each source."""
        self._follow()
        try:
            return b",".join(self._curve(name) for name in self.sources)
        except _NoData:
            return None

    @query("WFMOutpre:BYT_Nr?", passes=["BYT_Nr"])
    @query("WFMOutpre:BIT_Nr?", passes=["BIT_Nr"])
    @query("WFMOutpre:ENCdg?", passes=["ENCdg"])
    @query("WFMOutpre:BN_Fmt?", passes=["BN_Fmt"])
    @query("WFMOutpre:BYT_Or?", passes=["BYT_Or"])
    @query("WFMOutpre:WFId?", passes=["WFId"])
    @query("WFMOutpre:NR_Pt?", passes=["NR_Pt"])
    @query("WFMOutpre:PT_Fmt?", passes=["PT_Fmt"])
    @query("WFMOutpre:XUNit?", passes=["XUNit"])
    @query("WFMOutpre:XINcr?", passes=["XINcr"])
    @query("WFMOutpre:XZEro?", passes=["XZEro"])
    @query("WFMOutpre:PT_Off?", passes=["PT_Off"])
    @query("WFMOutpre:YUNit?", passes=["YUNit"])
    @query("WFMOutpre:YMUlt?", passes=["YMUlt"])
    @query("WFMOutpre:YOFf?", passes=["YOFf"])
    @query("WFMOutpre:YZEro?", passes=["YZEro"])
    def item(self, name: str) -> str:
        """One item of the preamble, of the first source."""
        ch = int(self.sources[0][2:])
        form, order = _ENCODINGS[self.encoding]
        multiple, zero, offset = self._scaling(ch)
        plan = None if self.kept is None else self.kept.plan
        rate, length = (self.rate, self.length) if plan is None else (plan.rate, plan.count)
        span = self._range()
        if name == "WFId":
            time = _prefixed(length / rate / 10, "s")
            return (
                f'"Ch{ch}, {self._of("coupling", ch)} coupling, {_prefixed(self._of("scale", ch), "V")}/div, '
                f'{time}/div, {length} points, {_MODES[self.mode]} mode"'
            )
        index = self._trigger_index if plan is None else round(plan.before * rate)
        return {
            "BYT_Nr": str(self._bytes()), "BIT_Nr": str(8 * self._bytes()), "BN_Fmt": form, "BYT_Or": order,
            "ENCdg": "ASCII" if self.encoding == "ASCI" else "BINARY", "NR_Pt": str(max(span.stop - span.start, 0)),
            "PT_Fmt": "Y", "XUNit": '"s"', "XINcr": self.number(1 / rate), "XZEro": "0.0",
            "PT_Off": str(index - span.start), "YUNit": '"V"', "YMUlt": self.number(multiple),
            "YOFf": self.number(zero), "YZEro": self.number(offset),
        }[name]  # fmt: skip

    @query("WFMOutpre?")
    def preamble(self) -> str:
        """All items."""
        if self.kept is None:
            self._follow()
        if not self.headers:
            return ";".join(self.item(name) for name in _ITEMS)
        return ":WFMOUTPRE:" + ";".join(f"{name.upper()} {self.item(name)}" for name in _ITEMS)

    @query("WAVFrm?")
    def waveform(self) -> bytes | None:
        """Preamble and curve."""
        self._follow()
        curve = self.curve()
        if curve is None:
            return None
        return self.preamble().encode() + (b";:CURVE " if self.headers else b";") + curve

    # Measurements

    @command("MEASUrement:ADDMEAS", takes=[
        Choice("FREQUENCY", "PERIOD", "MEAN", "RMS", "MAXIMUM", "MINIMUM", "PK2PK", "AMPLITUDE")
    ])  # fmt: skip
    def add_measurement(self, kind: str) -> None:
        """One more measurement."""
        self.measurements.append(kind)

    @query("MEASUrement:MEAS<n>:RESUlts:CURRentacq:MEAN?")
    def measure(self, n: int) -> float:
        """Its value in the present record."""
        if n > len(self.measurements):
            raise ScpiError(-222)
        self._follow()
        try:
            volts = self._volts(int(self.sources[0][2:]))
        except _NoData:
            return _NOTHING
        kind = self.measurements[n - 1]
        if kind in ("FREQUENCY", "PERIOD"):
            above = volts > (volts.max() + volts.min()) / 2
            rises = np.flatnonzero(above[1:] & ~above[:-1])
            if rises.size < 2 or self.kept is None:
                return _NOTHING
            period = float(rises[-1] - rises[0]) / (rises.size - 1) / self.kept.plan.rate
            return period if kind == "PERIOD" else 1 / period
        found = {
            "MEAN": volts.mean(),
            "RMS": np.sqrt(np.mean(volts**2)),
            "MAXIMUM": volts.max(),
            "MINIMUM": volts.min(),
        }
        return float(found.get(kind, np.ptp(volts)))


class _NoData(Exception):
    """There is no record of that channel."""


TWIN = TektronixMso
