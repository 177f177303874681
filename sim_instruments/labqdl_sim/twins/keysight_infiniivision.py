"""Keysight InfiniiVision oscilloscopes: acquisition and waveform download (sheet scope_keysight_infiniivision.md).

Ports "channel1" ... and "external" take voltages at the connectors; a probe's factor multiplies what they show.

What the sheet leaves open, and how it is here:

- After *RST: running, automatic sweep, 40 V range, 1 ms, channel 1 shown, 1000 points. The rate is the highest at
  which the time range fits into the memory.
- The automatic sweep triggers after `auto_time`. A running instrument shows the acquisition that ended last.
- Codes are those of the converter (8 bits; 12 in HRES and AVER) shifted up to 16 bits, 0 and the maximum where the
  input is beyond the range. Gaussian noise of `noise` ranges is on every sample, less with averages.
- AC coupling takes the mean of the record away; bandwidth limit and impedance change nothing.
- Without a record WAV:DATA? is -230; of a channel that was not acquired, of FUNC and of WMEM it is -221.
- RAW points of a running instrument are NORMal ones: 62,500 at most. *OPC? does not wait for SINGle.
- Settings beyond their range are -222 and change nothing; a range follows the probe's factor.

Not simulated: contents of other groups than :CHANnel<n>?.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl_sim.acquiring import Acquisition, Plan, Record, continuous, quantise
from labqdl_sim.kinds import scientific
from labqdl_sim.ports import Voltages
from labqdl_sim.scpi import (
    Boolean,
    Choice,
    Integer,
    Kind,
    Many,
    Number,
    Param,
    Raw,
    ScpiError,
    ScpiTwin,
    Text,
    Word,
    block,
    command,
    query,
)  # fmt: skip
from labqdl_sim.twin import Session

_MODELS = {"1": (2, 2e9, 1_000_000), "2": (4, 2e9, 1_000_000), "3": (4, 5e9, 4_000_000), "4": (4, 5e9, 4_000_000),
           "6": (4, 20e9, 4_000_000)}  # fmt: skip
_POINTS_1102 = (100, 250, 500, 1000, 2000, 5000, 10000, 20000, 50000, 62500)
_SCREEN = 62_500
Floats = NDArray[np.float64]


class Source(Kind[str]):
    """CHANnel<n>, EXTernal, LINE, FUNCtion or WMEMory<n>; the value is its short form."""

    def parse(self, twin: Any, token: bytes, *suffixes: int) -> str:
        """The value of one argument."""
        word = token.decode("latin-1").upper()
        head = word.rstrip("0123456789")
        number = word[len(head) :] or "1"
        if head in ("CHAN", "CHANNEL") and len(number) < 3 and 1 <= int(number) <= twin.channels:
            return f"CHAN{int(number)}"
        if head in ("WMEM", "WMEMORY") and number in ("1", "2"):
            return f"WMEM{number}"
        short = {"EXTERNAL": "EXT", "FUNCTION": "FUNC"}.get(word, word)
        if short not in ("EXT", "LINE", "FUNC"):
            raise ScpiError(-224)
        return short


def _engineering(value: float) -> str:
    """As a group has its range: +40.0E+00."""
    exponent = 3 * math.floor(math.log10(abs(value)) / 3) if value else 0
    return f"{value / 10.0**exponent:+.1f}E{exponent:+03d}"


class KeysightInfiniiVision(ScpiTwin):
    """An oscilloscope of the 1000 G, 2000, 3000, 4000 or 6000 family.

    Options: `model`, `maker`, `noise` (rms as a share of the range), `bits` (of the converter), `auto_time` (s).
    """

    maker = "KEYSIGHT TECHNOLOGIES"
    model = "MSO-X 4104A"
    serial = "MY51234567"
    firmware = "07.50.2021102830"
    resources = (
        "TCPIP0::{name}::inst0::INSTR", "TCPIP0::{name}::hislip0::INSTR", "TCPIP0::{name}::5025::SOCKET",
        "USB0::0x0957::0x17A0::{serial}::INSTR",
    )  # fmt: skip
    registers = {}  # noqa: RUF012

    def setup(self) -> None:
        """Read options, open the inputs."""
        self.maker = self.option("maker", self.maker)
        digits = "".join(filter(str.isdigit, self.model))
        if digits[:1] not in _MODELS:
            raise InputError(f"no model {self.model!r}", key=self.name, expected="such as MSO-X 4104A or DSOX1102G")
        channels, self.top_rate, self.memory = _MODELS[digits[0]]
        self.channels = min(channels, int(digits[3:4] or channels) or channels)
        self.fixed = digits[0] == "1"
        self.noise = self.option("noise", 1e-3)
        self.bits = self.option("bits", 8)
        self.auto_time = self.option("auto_time", 0.04)
        self.inputs = {ch: self.voltage_in(f"channel{ch}") for ch in range(1, self.channels + 1)}
        self.external = self.voltage_in("external")
        self._acquisitions = 0

    def reset(self) -> None:
        """Running, nothing acquired."""
        self.levels: dict[str, float] = {}
        self.run_since: float | None = self.now
        self.armed: Acquisition | None = None
        self.kept: Acquisition | None = None
        self.shown: dict[tuple[int, int], Floats] = {}
        self.signalled: Acquisition | None = None
        self.trigger_seen = False

    def suffix_allowed(self, name: str, value: int) -> bool:
        """Channels that the model has."""
        return 1 <= value <= self.channels if name == "ch" else True

    def number(self, value: float) -> str:
        """Six digits with sign."""
        return f"{value:+.5E}"

    def integer(self, value: int) -> str:
        """With sign."""
        return f"{value:+d}"

    def extra_status(self) -> int:
        """Bit 0: a trigger came."""
        self._follow()
        return int(self.trigger_seen)

    def cleared(self, session: Session) -> None:
        """A device clear ends what DIGitize waits for."""
        if self.armed is not None and not self.armed.done(self.clock.monotonic()):
            self.armed = None

    # Vertical, horizontal, trigger

    def _spans(self, ch: int = 1) -> tuple[float, float]:
        factor = self._of("probe", ch)
        return 8e-3 * factor, 40.0 * factor

    def _offsets(self, ch: int = 1) -> tuple[float, float]:
        factor = self._of("probe", ch)
        return -40.0 * factor, 40.0 * factor

    display = Param("CHANnel<ch>:DISPlay", Boolean(), lambda twin, ch=1: ch == 1)
    span = Param("CHANnel<ch>:RANGe", Number("V", _spans), 40.0)
    offset = Param("CHANnel<ch>:OFFSet", Number("V", _offsets), 0.0)
    coupling = Param("CHANnel<ch>:COUPling", Choice("AC", "DC"), "DC")
    impedance = Param("CHANnel<ch>:IMPedance", Choice("ONEMeg", "FIFTy"), "ONEM")
    limited = Param("CHANnel<ch>:BWLimit", Boolean(), False)
    probe = Param("CHANnel<ch>:PROBe", Number("", (0.1, 1e4)), 1.0)
    inverted = Param("CHANnel<ch>:INVert", Boolean(), False)
    units = Param("CHANnel<ch>:UNITs", Choice("VOLT", "AMPere"), "VOLT")
    time_mode = Param("TIMebase:MODE", Choice("MAIN", "WINDow", "XY", "ROLL"), "MAIN")
    time_range = Param("TIMebase:RANGe", Number("S", (5e-9, 500.0)), 1e-3)
    position = Param("TIMebase:POSition", Number("S", (-500.0, 500.0)), 0.0)
    time_reference = Param("TIMebase:REFerence", Choice("LEFT", "CENTer", "RIGHt"), "CENT")
    trigger_mode = Param(
        "TRIGger:MODE", Choice("EDGE", "GLITch", "PATTern", "TV", "DURation", "TRANsition", "RUNT"), "EDGE"
    )
    trigger_source = Param("TRIGger[:EDGE]:SOURce", Source(), "CHAN1")
    slope = Param("TRIGger[:EDGE]:SLOPe", Choice("POSitive", "NEGative", "EITHer", "ALTernate"), "POS")
    sweep = Param("TRIGger:SWEep", Choice("AUTO", "NORMal"), "AUTO")
    holdoff = Param("TRIGger:HOLDoff", Number("S", (4e-8, 10.0)), 4e-8)
    acquire_type = Param("ACQuire:TYPE", Choice("NORMal", "AVERage", "HRESolution", "PEAK"), "NORM")
    average_count = Param("ACQuire:COUNt", Integer((2, 65536)), 8)
    acquire_mode = Param("ACQuire:MODE", Choice("RTIMe", "SEGMented"), "RTIM")
    segment_count = Param("ACQuire:SEGMented:COUNt", Integer((2, 1000)), 2)
    segment = Param("ACQuire:SEGMented:INDex", Integer((1, 1000)), 1)
    source = Param("WAVeform:SOURce", Source(), "CHAN1")
    format = Param("WAVeform:FORMat", Choice("BYTE", "WORD", "ASCii"), "BYTE")
    byte_order = Param("WAVeform:BYTeorder", Choice("LSBFirst", "MSBFirst"), "MSBF")
    unsigned = Param("WAVeform:UNSigned", Boolean(), True)
    points_mode = Param("WAVeform:POINts:MODE", Choice("NORMal", "MAXimum", "RAW"), "NORM")

    @impedance.check
    def _fixed(self, value: str, ch: int) -> None:
        if self.fixed and value != "ONEM":
            raise ScpiError(-221)

    @probe.check
    def _rescale(self, value: float, ch: int) -> None:
        factor = value / self._of("probe", ch)
        for param in (type(self).span, type(self).offset):
            param.put(self, param.of(self, ch) * factor, ch)

    @command("CHANnel<ch>:SCALe", takes=[Number("V")])
    def set_scale(self, ch: int, value: float) -> None:
        """Range in volts a division."""
        type(self).span._set(self, (ch,), [repr(8 * value).encode()])

    @query("CHANnel<ch>:SCALe?")
    def ask_scale(self, ch: int) -> float:
        """Range in volts a division."""
        return float(self._of("span", ch)) / 8

    @query("CHANnel<ch>?")
    def ask_channel(self, ch: int) -> str:
        """The settings of a channel at once."""
        return (
            f":CHAN{ch}:RANG {_engineering(self._of('span', ch))};OFFS {self.number(self._of('offset', ch))};"
            f"COUP {self._of('coupling', ch)};IMP {self._of('impedance', ch)}"
        )

    @command("TIMebase:SCALe", takes=[Number("S")])
    def set_time_scale(self, value: float) -> None:
        """Range in seconds a division."""
        type(self).time_range._set(self, (), [repr(10 * value).encode()])

    @query("TIMebase:SCALe?")
    def ask_time_scale(self) -> float:
        """Range in seconds a division."""
        return self.time_range / 10

    @command("TRIGger[:EDGE]:LEVel", takes=[Number("V", (-400.0, 400.0)), Source()], least=1)
    def set_level(self, value: float, source: str | None = None) -> None:
        """Trigger level of the present, or of a named, source."""
        self.levels[source or self.trigger_source] = value

    @query("TRIGger[:EDGE]:LEVel?", takes=[Source()], least=0)
    def ask_level(self, source: str | None = None) -> float:
        """Trigger level of a source."""
        return self.levels.get(source or self.trigger_source, 0.0)

    # Acquiring

    @property
    def _before(self) -> float:
        share = {"LEFT": 0.1, "CENT": 0.5, "RIGH": 0.9}[self.time_reference]
        return self.time_range * share - self.position

    @property
    def rate(self) -> float:
        """Samples a second."""
        return min(self.top_rate, self.memory / self.time_range)

    @property
    def depth(self) -> int:
        """Samples of a record."""
        return max(round(self.time_range * self.rate), 1)

    def _seen(self, ch: int) -> Callable[[Floats], Floats]:
        factor = self._of("probe", ch) * (-1 if self._of("inverted", ch) else 1)
        return lambda instants: np.asarray(self.inputs[ch].evaluate(instants) * factor)

    def _plan(self, channels: list[int]) -> Plan:
        source: Voltages | None = None
        hysteresis = 0.0
        if self.trigger_source == "EXT":
            source = self.external.evaluate
        elif self.trigger_source.startswith("CHAN"):
            ch = int(self.trigger_source[4:])
            source, hysteresis = self._seen(ch), self._of("span", ch) / 100
        rising = {"POS": (True,), "NEG": (False,)}.get(self.slope, (True, False))
        return Plan(
            {ch: self.inputs[ch] for ch in channels}, self.rate, self.depth, self._before, source, self.ask_level(),
            rising, hysteresis, self.auto_time if self.sweep == "AUTO" else None,
            repeats=self.average_count if self.acquire_type == "AVER" else 1,
            segments=self.segment_count if self.acquire_mode == "SEGM" else 1, holdoff=self.holdoff,
        )  # fmt: skip

    def _displayed(self) -> list[int]:
        return [ch for ch in self.inputs if self._of("display", ch)]

    def _arm(self, channels: list[int]) -> Acquisition:
        self._follow()
        self.run_since, self.trigger_seen = None, False
        self.armed = Acquisition(self._plan(channels), self.now)
        self._acquisitions += 1
        return self.armed

    def _follow(self) -> None:
        """Take over what is complete by now."""
        if self.armed is not None:
            if self.signalled is not self.armed and self.armed.triggered(self.now):
                self.signalled, self.trigger_seen = self.armed, True
            if self.armed.done(self.now):
                self.kept, self.armed, self.shown = self.armed, None, {}
        elif self.run_since is not None and math.isfinite(self.now):
            latest = continuous(self._plan(self._displayed()), self.run_since, self.now)
            if latest is not None:
                self.trigger_seen = True
                self._acquisitions += 1
                self.kept, self.shown = latest, {}

    @command("RUN")
    def run(self) -> None:
        """Acquire again and again."""
        self.armed, self.run_since = None, self.now

    @command("STOP")
    def stop(self) -> None:
        """Stop; the last complete record stays."""
        self._follow()
        self.armed = self.run_since = None

    @command("SINGle")
    def single(self) -> None:
        """Acquire once."""
        self._arm(self._displayed())

    @command("DIGitize", takes=[Many(Source())], least=0)
    def digitize(self, *sources: str) -> None:
        """Acquire once; the parser waits until it is over, for ever without a trigger."""
        channels = [int(name[4:]) for name in sources if name.startswith("CHAN")] if sources else self._displayed()
        if not channels:
            raise ScpiError(-221)
        for ch in channels:
            type(self).display.put(self, True, ch)
        armed = self._arm(channels)
        self.hold(max(armed.complete_at(self.now) - self.now, 0.0))
        self._follow()

    @command("TRIGger:FORCe")
    def force(self) -> None:
        """Trigger now."""
        if self.armed is not None:
            self.armed.force(self.now)

    @query("OPERegister:CONDition?")
    def operation(self) -> int:
        """Bit 3: running, or armed."""
        if self.armed is not None:
            self._follow()
        return (self.armed is not None or self.run_since is not None) << 3

    @query("TER?")
    def trigger_event(self) -> int:
        """Whether a trigger came since the last time."""
        self._follow()
        seen, self.trigger_seen = self.trigger_seen, False
        return int(seen)

    @command("AUToscale", takes=[Many(Source())], least=0)
    def autoscale(self, *sources: str) -> None:
        """Ranges that fit to what the inputs see; takes seconds."""
        for ch, port in self.inputs.items():
            volts = port.samples(self.now, 10_000 / max(self.time_range, 0.02), 10_000) * self._of("probe", ch)
            low, high = self._spans(ch)
            type(self).display.put(self, ch == 1 or float(np.ptp(volts)) > low / 8, ch)
            type(self).span.put(self, float(np.clip(2 * np.max(np.abs(volts)) * 1.25, low, high)), ch)
            type(self).offset.put(self, 0.0, ch)
        self.operate(2.0)

    @command("SYSTem:PRESet")
    def preset(self) -> None:
        """*RST."""
        self.restore()

    # Waveforms

    @query("ACQuire:SRATe?")
    def ask_rate(self) -> float:
        """Samples a second."""
        return self.rate

    @query("ACQuire:POINts?")
    def ask_depth(self) -> int:
        """Samples of a record."""
        return self.depth

    def _most(self, available: int) -> int:
        raw = self.points_mode != "NORM" and self.run_since is None and self.armed is None
        return available if raw else min(available, _SCREEN)

    @command("WAVeform:POINts", takes=[Raw()])
    def set_points(self, token: bytes) -> None:
        """How many points are transferred, at most."""
        if token.upper() in (b"MAX", b"MAXIMUM"):
            self.values["points", ()] = self.memory
            return
        value = Integer((1, self.memory)).parse(self, b"100" if token.upper() in (b"MIN", b"MINIMUM") else token)
        if self.fixed:
            value = next((points for points in _POINTS_1102 if points >= value), value)
        self.values["points", ()] = value

    @property
    def _wanted(self) -> int:
        return int(self.values.get(("points", ()), 1000))

    @query("WAVeform:POINts?")
    def ask_points(self) -> int:
        """How many points are transferred."""
        return min(self._wanted, self._most(self.depth if self.kept is None else self.kept.plan.count))

    def _record(self) -> Record:
        self._follow()
        if self.kept is None:
            raise ScpiError(-230)
        if not self.source.startswith("CHAN") or int(self.source[4:]) not in self.kept.records[0].volts:
            raise ScpiError(-221)
        return self.kept.records[min(self.segment, len(self.kept.records)) - 1]

    def _step(self, record: Record) -> tuple[int, int]:
        """Points that are transferred, and every how many-th that is."""
        available = record.volts[int(self.source[4:])].size
        points = min(self._wanted, self._most(available))
        return points, available // points

    def _codes(self, record: Record) -> NDArray[np.int64]:
        assert self.kept is not None
        ch = int(self.source[4:])
        index = self.kept.records.index(record)
        if (ch, index) not in self.shown:
            clean = record.volts[ch] * self._of("probe", ch) * (-1 if self._of("inverted", ch) else 1)
            if self._of("coupling", ch) == "AC":
                clean = clean - clean.mean()
            draw = self.generator("noise", self._acquisitions, ch, index).standard_normal(clean.size)
            quiet = math.sqrt(self.kept.plan.repeats)
            self.shown[ch, index] = clean + draw * (self.noise * self._of("span", ch) / quiet)
        points, step = self._step(record)
        volts = self.shown[ch, index][: points * step : step]
        bits = 12 if self.acquire_type in ("HRES", "AVER") else self.bits
        return quantise(volts, self._of("offset", ch), self._of("span", ch), bits)

    def _scaling(self) -> tuple[float, float, int]:
        """Volts a code, volts at the reference, code of the reference."""
        ch = int(self.source[4:])
        steps = 256 if self.format == "BYTE" else 65536
        return self._of("span", ch) / steps, self._of("offset", ch), steps // 2 if self.unsigned else 0

    @query("WAVeform:PREamble?")
    def preamble(self) -> str:
        """Ten fields: format, type, points, count, x and y."""
        record = self._record()
        assert self.kept is not None
        points, step = self._step(record)
        increment, origin, reference = self._scaling()
        kind = {"NORM": 0, "PEAK": 1, "AVER": 2, "HRES": 3}[self.acquire_type]
        numbers = ({"BYTE": 0, "WORD": 1, "ASC": 4}[self.format], kind, points, self.kept.plan.repeats)
        fields = [f"{value:+d}" for value in numbers]
        fields += [
            scientific(step / record.rate),
            scientific(record.start - record.trigger),
            "+0",
            scientific(increment),
        ]
        return ",".join([*fields, scientific(origin), f"{reference:+d}"])

    @query("WAVeform:DATA?")
    def data(self) -> bytes:
        """The block of the record."""
        codes = self._codes(self._record())
        if self.format == "ASC":
            increment, origin, _ = self._scaling()
            volts = (codes - 32768) * increment + origin
            return block(",".join(f"{value:+.5E}" for value in volts).encode(), 8)
        if self.format == "BYTE":
            codes = codes >> 8
        if not self.unsigned:
            codes = codes - (128 if self.format == "BYTE" else 32768)
        sign = "u" if self.unsigned else "i"
        order = "<" if self.byte_order == "LSBF" else ">"
        return block(codes.astype(f"{sign}1" if self.format == "BYTE" else f"{order}{sign}2").tobytes(), 8)

    @query("WAVeform:SEGMented:TTAG?")
    def time_tag(self) -> float:
        """When the segment's trigger came, s after the first one's."""
        record = self._record()
        assert self.kept is not None
        return record.trigger - self.kept.records[0].trigger

    @query("WAVeform:SEGMented:COUNt?")
    def segments(self) -> int:
        """How many segments were acquired."""
        self._follow()
        return 0 if self.kept is None else len(self.kept.records)

    @query("SYSTem:ERRor[:NEXT]?", takes=[Word()], least=0)
    def ask_error(self, form: str = "STR") -> str:
        """The oldest error, as number and text or as number."""
        shown = self.next_error()
        return shown.split(",")[0] if form.upper() in ("NUMB", "NUMBER") else shown

    @command("SYSTem:DSP", takes=[Text()])
    def show_text(self, text: str) -> None:
        """A text on the screen."""


TWIN = KeysightInfiniiVision
