"""Tektronix AWG5200 and AWG70000 waveform generators (sheet awg_tektronix_awg70000_5200.md).

Ports "output1" ... give volts into 50 ohm: amplitude/2 x sample + offset while the output is on and the instrument
runs, 0 V otherwise; "marker1_1" (channel, marker) the marker levels. "trigger_a" and "trigger_b" take triggers.

What the sheet leaves open, and how it is here:

- After *RST: continuous, highest rate of the model, 0.5 Vpp, outputs off, lists empty. AWGC:RUN takes `run_time` and is
  -221 without anything assigned. Assigning takes the data as they are then.
- A waveform that exists, or a sequence, is -221 for NEW; names that do not exist are -224; samples outside of the
  waveform -222; a block of another length than count -161; what is no number -222.
- Another clock source or rate, and another path, switch the outputs off. DCHV goes to 5 Vpp, AC paths too.
- AWG70000 amplitudes are kept in steps of 0.001 dBm. Samples are clipped to +-1 and rounded to DAC:RES bits, of which
  markers do not take any away here. Markers 1 and 2 of the AWG70000 are bits 6 and 7, 1 to 4 of the AWG5200 bits
  4 to 7. -222 says "limits" behind its text.
- Sequences play their steps with their repeats and GOTOs; a step that waits for a trigger (WINP) or jumps on an event
  (EJIN, EJUM) keeps the setting but plays at once.

Not simulated: the function generator (INST:MODE FGEN is kept), the contents of .seqx files (-257), trigger connectors.
"""

from __future__ import annotations

import math
import re
from functools import partial

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl.units import dbm, from_dbm
from labqdl_sim.edges import edges
from labqdl_sim.scpi import (
    Block,
    Boolean,
    Choice,
    Integer,
    Number,
    Param,
    Raw,
    ScpiError,
    ScpiTwin,
    Text,
    block,
    command,
    query,
)  # fmt: skip

_MODELS = {
    # model: channels, highest rate, points, least points, DAC bits, markers, largest amplitude
    "AWG5202": (2, 2.5e9, 2_000_000_000, 1, (12, 16), 4, 1.5),
    "AWG5204": (4, 2.5e9, 2_000_000_000, 1, (12, 16), 4, 1.5),
    "AWG5208": (8, 2.5e9, 2_000_000_000, 1, (12, 16), 4, 1.5),
    "AWG70001": (1, 50e9, 2_000_000_000, 2400, (8, 10), 2, 0.5),
    "AWG70002": (2, 25e9, 2_000_000_000, 2400, (8, 10), 2, 0.5),
}  # fmt: skip
_TRIGGER_LEVEL = 0.5  # V
_RECENT = 10.0
"""s: how long ago a trigger may have come at a connector whose source does not know its edges."""
Floats = NDArray[np.float64]
_Step = dict[str, str]
_Places = dict[int, NDArray[np.intp]]
_Part = tuple[str, NDArray[np.float32], NDArray[np.uint8], float]


class TektronixAwg(ScpiTwin):
    """A generator.

    Options: `model` (AWG5202, AWG5204, AWG5208, AWG70001A, AWG70002A, ...B), `minimum` (least points, 0: the model's),
    `memory` (points of all waveforms), `run_time` (s), `clock_error` (by which part its clock is too fast).
    """

    maker = "TEKTRONIX"
    model = "AWG5208"
    serial = "B010122"
    firmware = "SCPI:99.0 FW:6.0.0242.0"
    resources = (
        "TCPIP0::{name}::inst0::INSTR",
        "TCPIP0::{name}::4000::SOCKET",
        "USB0::0x0699::0x0503::{serial}::INSTR",
    )
    error_format = '{code},"{text}"'

    def setup(self) -> None:
        """Read options, open the connectors."""
        found = _MODELS.get(self.model.upper().rstrip("AB"))
        if found is None:
            raise InputError(f"no model {self.model!r}", key=self.name, expected=", ".join(_MODELS))
        self.channels, self.top_rate, points, least, self.bits, self.markers, self.top = found
        self.fast = "700" in self.model
        self.least = self.option("minimum", 0) or least
        self.memory = self.option("memory", points)
        self.run_time = self.option("run_time", 0.5)
        self.clock_error = self.option("clock_error", 0.0)
        self.connectors = {"ATR": self.voltage_in("trigger_a"), "BTR": self.voltage_in("trigger_b")}
        self.files: dict[str, bytes] = {}
        for ch in range(1, self.channels + 1):
            self.voltage_out(f"output{ch}", partial(self.volts, ch))
            for m in range(1, self.markers + 1):
                self.voltage_out(
                    f"marker{ch}_{m}", partial(self.marker_volts, ch, m), partial(self.marker_edges, ch, m)
                )

    def reset(self) -> None:
        """Stopped, empty."""
        self.waves: dict[str, tuple[NDArray[np.float32], NDArray[np.uint8]]] = {}
        self.sequences: dict[str, list[_Step]] = {}
        self.assigned: dict[int, str] = {}
        self.played: dict[int, tuple[list[_Part], int]] = {}
        self.run_at = math.inf
        self._kept_steps: dict[int, tuple[NDArray[np.uint8], tuple[int, int], NDArray[np.int8], _Places]] = {}
        self.triggers: dict[str, list[float]] = {"ATR": [], "BTR": []}
        self.folder = "\\Users\\OEM\\Documents"

    def restore(self) -> None:
        """What *RST does; what a fault holds on stays on."""
        held = dict(self.values), self.assigned, self.played, self.run_at
        on = self.stays_on and any(self._of("output", ch) for ch in range(1, self.channels + 1))
        super().restore()
        if on:
            self.values, self.assigned, self.played, self.run_at = held

    def suffix_allowed(self, name: str, value: int) -> bool:
        """Channels, markers, steps, tracks."""
        return 1 <= value <= {"ch": self.channels, "m": self.markers, "t": 8}.get(name, 16383)

    def push_error(self, code: int, detail: str = "") -> None:
        """What is out of range says so in more words."""
        super().push_error(code, detail or ("limits" if code == -222 else ""))

    def number(self, value: float) -> str:
        """Eleven digits and a short exponent: 2.5000000000E+9."""
        mantissa, exponent = f"{value:.10E}".split("E")
        return f"{mantissa}E{int(exponent):+d}"

    # Settings

    def _amplitudes(self, ch: int = 1) -> tuple[float, float]:
        return 0.25, self.top if self.fast or self._of("path", ch) == "DCHB" else 5.0

    def _rates(self, *_: int) -> tuple[float, float]:
        return 1.49e3, self.top_rate

    def _resolutions(self, *_: int) -> tuple[float, float]:
        return self.bits

    def _highs(self, *_: int) -> tuple[float, float]:
        return (-1.4, 1.4) if self.fast else (-0.5, 1.75)

    def _lows(self, *_: int) -> tuple[float, float]:
        return (-1.4, 1.4) if self.fast else (-0.3, 1.55)

    mode = Param("INSTrument:MODE", Choice("AWG", "FGEN"), "AWG", operation=3.0)
    rate = Param("CLOCk:SRATe", Number("", _rates), lambda twin: twin.top_rate)
    clock_source = Param("CLOCk:SOURce", Choice("INTernal", "EFIXed", "EVARiable", "EXTernal"), "INT")
    clock_frequency = Param("CLOCk:ECLock:FREQuency", Number("HZ", (6.25e9, 12.5e9)), 6.25e9)
    output = Param("OUTPut<ch>[:STATe]", Boolean(), False, readable=False)
    all_off = Param("OUTPut:OFF", Boolean(), False)
    amplitude = Param("SOURce<ch>:VOLTage[:LEVel][:IMMediate][:AMPLitude]", Number("V", _amplitudes), 0.5)
    offset = Param("SOURce<ch>:VOLTage[:LEVel][:IMMediate]:OFFSet", Number("V", (-2.0, 2.0)), 0.0)
    path = Param(
        "OUTPut<ch>:PATH", Choice("DCHB", "DCHV", "ACD", "ACAM", "DIR", "DCAM", "AC"),
        lambda twin, ch=1: "DIR" if twin.fast else "DCHB",
    )  # fmt: skip
    resolution = Param("SOURce<ch>:DAC:RESolution", Integer(_resolutions), lambda twin, ch=1: twin.bits[1])
    run_mode = Param("SOURce<ch>:RMODe", Choice("CONTinuous", "TRIGgered", "TCONtinuous"), "CONT")
    trigger_input = Param("SOURce<ch>:TINPut", Choice("ATRigger", "BTRigger"), "ATR")
    marker_high = Param("SOURce<ch>:MARKer<m>:VOLTage[:LEVel][:IMMediate]:HIGH", Number("V", _highs), 1.0)
    marker_low = Param("SOURce<ch>:MARKer<m>:VOLTage[:LEVel][:IMMediate]:LOW", Number("V", _lows), 0.0)
    waiting_level = Param("OUTPut<ch>:WVALue[:ANALog][:STATe]", Choice("ZERO", "FIRSt"), "ZERO")

    @rate.check
    def _clock_drops(self, value: float) -> None:
        if value != self.rate:
            self._drop()

    @clock_source.check
    def _source_drops(self, value: str) -> None:
        if value != self.clock_source:
            self._drop()

    def _drop(self) -> None:
        for ch in range(1, self.channels + 1):
            type(self).output.put(self, self.stays_on and self._of("output", ch), ch)

    @path.check
    def _path(self, value: str, ch: int) -> None:
        if value not in (("DIR", "DCAM", "AC") if self.fast else ("DCHB", "DCHV", "ACD", "ACAM")):
            raise ScpiError(-224)
        if value != self._of("path", ch):
            type(self).output.put(self, self.stays_on and self._of("output", ch), ch)

    @amplitude.check
    def _in_steps(self, value: float, ch: int) -> float:
        if not self.fast:
            return value
        return math.sqrt(from_dbm(round(dbm(value**2 / 8 / 50), 3)) * 50 * 8)

    @output.check
    def _held(self, value: bool, ch: int) -> bool:
        return value or (self.stays_on and self._of("output", ch))

    @all_off.check
    def _master(self, value: bool) -> bool:
        return value and not self.stays_on

    @query("*OPT?")
    def ask_options(self) -> str:
        """What is built in."""
        return "0"

    # Running

    def emits(self, ch: int) -> bool:
        """Whether an output is on; an open interlock (a fault) switches it off."""
        if self.interlocked and self._of("output", ch) and not self.stays_on:
            type(self).output.put(self, False, ch)
        return bool(self._of("output", ch)) and not self.all_off

    @query("OUTPut<ch>[:STATe]?")
    def ask_output(self, ch: int) -> bool:
        """Whether an output is on."""
        self.emits(ch)
        return bool(self._of("output", ch))

    @command("AWGControl:RUN[:IMMediate]")
    def run(self) -> None:
        """Play what is assigned."""
        if not self.played:
            raise ScpiError(-221, "nothing is assigned")
        self.run_at = self.now + self.run_time
        self.triggers = {"ATR": [], "BTR": []}
        self.operate(self.run_time)

    @command("AWGControl:STOP[:IMMediate]")
    def stop(self) -> None:
        """Stop."""
        if not self.stays_on:
            self.run_at = math.inf

    @query("AWGControl:RSTate?")
    def state(self) -> int:
        """0 stopped, 1 waiting for a trigger, 2 running."""
        if self.now < self.run_at or not self.played:
            return 0
        waiting = [self._of("run_mode", ch) != "CONT" and not self._begun(ch, np.array([self.now]))[1][0]
                   for ch in self.played]  # fmt: skip
        return 1 if all(waiting) else 2

    @command("TRIGger[:SEQuence][:IMMediate]", takes=[Choice("ATRigger", "BTRigger")], least=0)
    def trigger(self, which: str = "ATR") -> None:
        """A trigger by software."""
        if self.run_at <= self.now:
            self.triggers[which] = [*self.triggers[which][-999:], self.now]

    def _begun(self, ch: int, instants: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """When the waveform that plays at each instant began, and whether it plays at all."""
        if self._of("run_mode", ch) == "CONT":
            return np.full(instants.shape, self.run_at if math.isfinite(self.run_at) else 0.0), instants >= self.run_at
        times = self._triggers(ch, float(instants.max()))
        index = np.searchsorted(times, instants, side="right")
        starts = np.concatenate(([0.0], times))[index]
        playing = index > 0
        if self._of("run_mode", ch) == "TRIG":
            parts, _ = self.played[ch]
            playing &= (instants - starts) * self.true_rate < sum(data.size * repeats for _, data, _, repeats in parts)
        return starts, playing

    @property
    def true_rate(self) -> float:
        """Points a second that its clock gives."""
        return self.rate * (1.0 + self.clock_error)

    def _triggers(self, ch: int, until: float) -> Floats:
        """When a waiting channel was triggered, up to a time, by command and at its connector; rising."""
        which = self._of("trigger_input", ch)
        times = np.array(self.triggers[which])
        connector = self.connectors[which]
        if connector.connected and until >= self.run_at:
            stop = np.nextafter(until, np.inf)
            came = connector.edges(self.run_at, stop, _TRIGGER_LEVEL, True)
            if came is None:
                came = edges(connector.evaluate, max(self.run_at, until - _RECENT), stop, _TRIGGER_LEVEL, True)
            times = np.sort(np.concatenate([times, came]))
        return times[:1] if self._of("run_mode", ch) == "TCON" else times

    def _at(self, ch: int, instants: Floats) -> tuple[Floats, NDArray[np.uint8]]:
        """Samples and marker bytes at each instant; 0 (or the first sample) where nothing plays."""
        parts, loop = self.played[ch]
        starts, playing = self._begun(ch, instants)
        if len(parts) == 1:  # one waveform: the same in fewer steps, since shots are long
            _, data, marker, _ = parts[0]
            at = np.where(playing, (instants - starts) * self.true_rate + 1e-3, 0.0).astype(np.intp)
            if at.size and at.max() >= data.size:
                at %= data.size
            idle = float(data[0]) if self._of("waiting_level", ch) == "FIRS" else 0.0
            return np.where(playing, data[at], idle), np.where(playing, marker[at], 0).astype(np.uint8)
        lengths = np.array([data.size * repeats for _, data, _, repeats in parts])
        ends = np.cumsum(lengths)
        place = np.floor(np.where(playing, instants - starts, 0.0) * self.true_rate + 1e-3)
        begin = float(ends[loop] - lengths[loop]) if math.isfinite(ends[loop]) else 0.0
        if math.isfinite(ends[-1]):
            place = np.where(place >= ends[-1], begin + np.mod(place - begin, max(ends[-1] - begin, 1.0)), place)
        step = np.minimum(np.searchsorted(ends, place, side="right"), len(parts) - 1)
        samples, marks = np.zeros(instants.shape), np.zeros(instants.shape, np.uint8)
        for index, (_, data, marker, _) in enumerate(parts):
            here = step == index
            first = 0.0 if index == 0 else float(ends[index - 1])
            position = np.mod(place[here] - first, data.size).astype(np.intp)
            samples[here], marks[here] = data[position], marker[position]
        idle = float(parts[0][1][0]) if self._of("waiting_level", ch) == "FIRS" else 0.0
        return np.where(playing, samples, idle), np.where(playing, marks, 0).astype(np.uint8)

    def _active(self, ch: int) -> bool:
        return self.emits(ch) and ch in self.played and math.isfinite(self.run_at)

    def volts(self, ch: int, instants: Floats) -> Floats:
        """Volts of an output."""
        if not self._active(ch):
            return np.zeros(instants.shape)
        steps = 2 ** (self._of("resolution", ch) - 1) - 1
        value = np.round(np.clip(self._at(ch, instants)[0], -1, 1) * steps) / steps
        offset = 0.0 if self._of("path", ch) in ("AC", "ACD", "ACAM") else self._of("offset", ch)
        return np.where(instants >= self.run_at, self._of("amplitude", ch) / 2 * value + offset, 0.0)

    def marker_volts(self, ch: int, m: int, instants: Floats) -> Floats:
        """Volts of a marker."""
        if not self._active(ch):
            return np.zeros(instants.shape)
        high = (self._at(ch, instants)[1] >> (m + (5 if self.fast else 3))) & 1 == 1
        cls = type(self)
        return np.where(high, cls.marker_high.of(self, ch, m), cls.marker_low.of(self, ch, m))

    def marker_edges(self, ch: int, m: int, start: float, stop: float, level: float, rising: bool) -> Floats | None:
        """When a marker crosses a level; None where that would take a look at every point: while it plays freely."""
        cls = type(self)
        low, high = cls.marker_low.of(self, ch, m), cls.marker_high.of(self, ch, m)
        if not self._active(ch) or not low < level <= high:
            return np.zeros(0)
        parts, _ = self.played[ch]
        if self._of("run_mode", ch) != "TRIG" or len(parts) != 1 or not math.isfinite(parts[0][3]):
            return None
        marks = (parts[0][2] >> (m + (5 if self.fast else 3))) & 1
        times = self._triggers(ch, stop)
        marks, places = self._steps_of(m, parts[0][2], int(parts[0][3]))
        times = times[np.searchsorted(times, start - marks.size / self.true_rate) :]
        if not times.size:
            return times
        found, before = [], 0
        for time, end in zip(times, np.append(times[1:], np.inf), strict=True):
            wanted = 1 if rising else -1
            if marks[0] - before == wanted:
                found.append(np.array([time]))
            ends = time + places[wanted] / self.true_rate
            found.append(ends[ends < end])
            last = (end - time) * self.true_rate  # where the next trigger cuts it off
            before = int(marks[int(last)]) if last < marks.size else 0
        joined = np.concatenate(found)
        return np.asarray(joined[(joined >= start) & (joined < stop)])

    def _steps_of(self, m: int, marker: NDArray[np.uint8], repeats: int) -> tuple[NDArray[np.int8], _Places]:
        """Levels of a marker, 0 or 1, and behind which points it rises and falls; kept, since many ask."""
        kept = self._kept_steps.get(id(marker))
        if kept is None or kept[0] is not marker or kept[1] != (m, repeats):
            marks = np.tile((marker >> (m + (5 if self.fast else 3))) & 1, repeats).astype(np.int8)
            steps = np.diff(marks, append=0)
            places = {value: np.flatnonzero(steps == value) + 1 for value in (1, -1)}
            if len(self._kept_steps) > 8:
                self._kept_steps.clear()
            kept = self._kept_steps[id(marker)] = (marker, (m, repeats), marks, places)
        return kept[2], kept[3]

    # Waveforms

    def _wave(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        if name not in self.waves:
            raise ScpiError(-224, "no such waveform")
        return self.waves[name]

    @query("WLISt:LIST?")
    def ask_list(self) -> str:
        """Names of all waveforms."""
        return '"' + ",".join(self.waves) + '"'

    @query("WLISt:SIZE?")
    def ask_size(self) -> int:
        """Number of waveforms."""
        return len(self.waves)

    @query("WLISt:NAME?", takes=[Integer((0, 1e9))])
    def ask_name(self, index: int) -> str:
        """Name of one waveform, from 0 on."""
        if index >= len(self.waves):
            raise ScpiError(-222)
        return f'"{list(self.waves)[index]}"'

    @command("WLISt:WAVeform:NEW", takes=[Text(), Integer((1, 1e12)), Choice("REAL", "IQ")], least=2)
    def new(self, name: str, points: int, kind: str = "REAL") -> None:
        """A waveform of zeros."""
        if name in self.waves:
            raise ScpiError(-221, "waveform exists")
        if points < self.least:
            raise ScpiError(-222)
        if points + sum(data.size for data, _ in self.waves.values()) > min(self.memory, 1 << 30):
            raise ScpiError(-225)
        self.waves[name] = np.zeros(points, np.float32), np.zeros(points, np.uint8)

    @command("WLISt:WAVeform:DELete", takes=[Raw()])
    def delete(self, token: bytes) -> None:
        """Forget one waveform, or ALL."""
        if token.upper() == b"ALL":
            self.waves.clear()
            return
        name = Text().parse(self, token)
        self._wave(name)
        del self.waves[name]

    @query("WLISt:WAVeform:LENGth?", takes=[Text()])
    def ask_length(self, name: str) -> int:
        """Points of a waveform."""
        return self._wave(name)[0].size

    @query("WLISt:WAVeform:LMINimum?")
    def ask_least(self) -> int:
        """Least points of a waveform."""
        return self.least

    @query("WLISt:WAVeform:LMAXimum?")
    def ask_most(self) -> int:
        """Most points of a waveform."""
        return self.memory

    @command("WLISt:WAVeform:NORMalize", takes=[Text(), Choice("FSCale", "ZREFerence", "NONE")])
    def normalise(self, name: str, how: str) -> None:
        """Scale to full range: around the middle, or around zero."""
        data, marks = self._wave(name)
        if how == "FSC" and np.ptp(data) > 0:
            data = (2 * (data - data.min()) / np.ptp(data) - 1).astype(np.float32)
        elif how == "ZREF" and np.abs(data).max() > 0:
            data = (data / np.abs(data).max()).astype(np.float32)
        self.waves[name] = data, marks

    _span = (Text(), Integer((0, 1e12)), Integer((1, 1e12)))

    @command("WLISt:WAVeform:DATA", takes=[*_span, Block()], passes=[0])
    @command("WLISt:WAVeform:MARKer:DATA", takes=[*_span, Block()], passes=[1])
    def write(self, part: int, name: str, start: int, count: int, payload: bytes) -> None:
        """Samples (float32, little-endian) or marker bytes from `start` on."""
        target = self._wave(name)[part]
        if len(payload) != count * target.itemsize:
            raise ScpiError(-161)
        if start + count > target.size:
            raise ScpiError(-222)
        values = np.frombuffer(payload, "<f4" if part == 0 else "u1")
        if part == 0 and not np.all(np.isfinite(values)):
            raise ScpiError(-222)
        target[start : start + count] = values

    @query("WLISt:WAVeform:DATA?", takes=_span, least=1, passes=[0])
    @query("WLISt:WAVeform:MARKer:DATA?", takes=_span, least=1, passes=[1])
    def read(self, part: int, name: str, start: int = 0, count: int = -1) -> bytes:
        """Samples or marker bytes."""
        data = self._wave(name)[part]
        if start + max(count, 0) > data.size:
            raise ScpiError(-222)
        return block(data[start : start + count if count >= 0 else None].astype("<f4" if part == 0 else "u1").tobytes())

    @command("SOURce<ch>:CASSet:WAVeform", takes=[Text()])
    def assign(self, ch: int, name: str) -> None:
        """What a channel plays."""
        data, marks = self._wave(name)
        self.assigned[ch], self.played[ch] = name, ([(name, data.copy(), marks.copy(), 1.0)], 0)

    @command("SOURce<ch>:CASSet:SEQuence", takes=[Text(), Integer((1, 8))])
    def assign_sequence(self, ch: int, name: str, track: int) -> None:
        """The track of a sequence that a channel plays."""
        steps = self._steps(name)
        parts: list[_Part] = []
        seen: dict[int, int] = {}
        at = 0
        while at not in seen and at < len(steps):
            seen[at] = len(parts)
            step = steps[at]
            data, marks = self._wave(step.get(f"WAV{track}", ""))
            repeats = float(step.get("RCO", "1").replace("INF", "inf"))
            parts.append((name, data.copy(), marks.copy(), repeats))
            goto = step.get("GOTO", "NEXT")
            at = {"NEXT": at + 1, "FIRS": 0, "LAST": len(steps) - 1}.get(goto, int(goto) - 1 if goto.isdigit() else 0)
            if math.isinf(repeats):
                break
        self.assigned[ch], self.played[ch] = f"{name},{track}", (parts, seen.get(at, 0))

    @query("SOURce<ch>:CASSet?")
    def ask_assigned(self, ch: int) -> str:
        """What a channel plays."""
        return f'"{self.assigned.get(ch, "")}"'

    @command("SOURce<ch>:CASSet:CLEAR")
    def unassign(self, ch: int) -> None:
        """A channel plays nothing."""
        self.assigned.pop(ch, None)
        self.played.pop(ch, None)

    # Sequences

    def _steps(self, name: str) -> list[_Step]:
        if name not in self.sequences:
            raise ScpiError(-224, "no such sequence")
        return self.sequences[name]

    @command("SLISt:SEQuence:NEW", takes=[Text(), Integer((1, 16383)), Integer((1, 8))], least=2)
    def new_sequence(self, name: str, steps: int, tracks: int = 1) -> None:
        """A sequence of empty steps."""
        if name in self.sequences:
            raise ScpiError(-221, "sequence exists")
        self.sequences[name] = [{} for _ in range(steps)]

    def _step(self, name: str, index: int) -> _Step:
        steps = self._steps(name)
        if index > len(steps):
            raise ScpiError(-222)
        return steps[index - 1]

    @command("SLISt:SEQuence:STEP<i>:TASSet<t>:WAVeform", takes=[Text(), Text()])
    def set_step(self, i: int, t: int, name: str, wave: str) -> None:
        """The waveform of a step."""
        self._wave(wave)
        self._step(name, i)[f"WAV{t}"] = wave

    @query("SLISt:SEQuence:STEP<i>:TASSet<t>:WAVeform?", takes=[Text()])
    def ask_step(self, i: int, t: int, name: str) -> str:
        """The waveform of a step."""
        return f'"{self._step(name, i).get(f"WAV{t}", "")}"'

    @command("SLISt:SEQuence:STEP<i>:RCOunt", takes=[Text(), Raw()], passes=["RCO", ("INF", "INFINITE")])
    @command("SLISt:SEQuence:STEP<i>:GOTO", takes=[Text(), Raw()], passes=["GOTO", ("NEXT", "FIRST", "LAST")])
    @command("SLISt:SEQuence:STEP<i>:WINPut", takes=[Text(), Raw()], passes=["WINP", ("ATR", "BTR", "ITR", "OFF")])
    @command("SLISt:SEQuence:STEP<i>:EJINput", takes=[Text(), Raw()], passes=["EJIN", ("ATR", "BTR", "ITR", "OFF")])
    @command("SLISt:SEQuence:STEP<i>:EJUMp", takes=[Text(), Raw()], passes=["EJUM", ("NEXT", "FIRST", "LAST")])
    def set_flow(self, i: int, key: str, words: tuple[str, ...], name: str, token: bytes) -> None:
        """How a step repeats, waits, and where it goes."""
        step = self._step(name, i)
        word = token.decode("latin-1").upper()
        match = next((full for full in words if word and full.startswith(word) and len(word) >= 3), None)
        if match is not None:
            step[key] = match[:3] if key in ("RCO", "WINP", "EJIN") else match[:4]
        elif key in ("RCO", "GOTO", "EJUM"):
            top = 1_048_576 if key == "RCO" else len(self._steps(name))
            step[key] = str(Integer((1, top)).parse(self, token))
        else:
            raise ScpiError(-224)

    @query("SLISt:SEQuence:STEP<i>:RCOunt?", takes=[Text()], passes=["RCO", "1"])
    @query("SLISt:SEQuence:STEP<i>:GOTO?", takes=[Text()], passes=["GOTO", "NEXT"])
    @query("SLISt:SEQuence:STEP<i>:WINPut?", takes=[Text()], passes=["WINP", "OFF"])
    @query("SLISt:SEQuence:STEP<i>:EJINput?", takes=[Text()], passes=["EJIN", "OFF"])
    @query("SLISt:SEQuence:STEP<i>:EJUMp?", takes=[Text()], passes=["EJUM", "NEXT"])
    def ask_flow(self, i: int, key: str, default: str, name: str) -> str:
        """How a step repeats, waits, and where it goes."""
        return self._step(name, i).get(key, default)

    # Files

    def _path_of(self, name: str) -> str:
        path = name.replace("/", "\\").replace("\\\\", "\\").upper()
        return path if ":" in path or path[:1] == "\\" else f"{self.folder.upper()}\\{path}"

    def _file(self, name: str) -> bytes:
        found = self.files.get(self._path_of(name))
        if found is None:
            found = self.files.get(re.sub("^[A-Z]:", "", self._path_of(name)))
        if found is None:
            raise ScpiError(-256)
        return found

    @command("MMEMory:CDIRectory", takes=[Text()])
    def set_folder(self, path: str) -> None:
        """Where names without a path are."""
        self.folder = re.sub("^[A-Za-z]:", "", path.replace("\\\\", "\\")).rstrip("\\") or "\\"

    @query("MMEMory:CDIRectory?")
    def ask_folder(self) -> str:
        """Where names without a path are."""
        return f'"{self.folder}"'

    @command("MMEMory:DATA", takes=[Text(), Block()])
    def store(self, name: str, payload: bytes) -> None:
        """Write a file."""
        self.files[re.sub("^[A-Z]:", "", self._path_of(name))] = payload

    @query("MMEMory:DATA?", takes=[Text(), Integer((0, 1e12)), Integer((1, 1e12))], least=1)
    def fetch(self, name: str, start: int = 0, size: int = 10**9) -> bytes:
        """Read a file, or a part of it."""
        return block(self._file(name)[start : start + size])

    @query("MMEMory:DATA:SIZE?", takes=[Text()])
    def ask_file_size(self, name: str) -> int:
        """Bytes of a file."""
        return len(self._file(name))

    @command("MMEMory:DELete", takes=[Text()])
    def delete_file(self, name: str) -> None:
        """Delete a file."""
        self._file(name)
        del self.files[re.sub("^[A-Z]:", "", self._path_of(name))]

    @command("MMEMory:OPEN", takes=[Text()])
    def open_file(self, name: str) -> None:
        """Load a WFMX file into the waveform list."""
        content = self._file(name)
        head = re.match(rb'<DataFile offset="(\d{1,9})"', content)
        if head is None:
            raise ScpiError(-257)
        offset = int(head[1])
        count = re.search(rb"<NumberSamples>\s*(\d{1,10})\s*</NumberSamples>", content[:offset])
        marked = re.search(rb"<MarkersIncluded>\s*true\s*<", content[:offset], re.IGNORECASE)
        points = int(count[1]) if count is not None else -1
        if points < self.least or len(content) - offset != points * (5 if marked else 4):
            raise ScpiError(-257)
        data = np.frombuffer(content, "<f4", points, offset).astype(np.float32)
        marks = np.zeros(points, np.uint8)
        if marked:  # bit 0 is marker 1 in a file
            marks = (np.frombuffer(content, "u1", points, offset + 4 * points) << (6 if self.fast else 4)).astype(
                np.uint8
            )
        if not np.all(np.isfinite(data)):
            raise ScpiError(-257)
        stem = re.split(r"[\\/]", name)[-1].rsplit(".", 1)[0]
        self.waves[stem] = data, marks
        self.operate(0.2 + points / 1e8)

    @command("MMEMory:OPEN:SASSet:SEQuence", takes=[Text()])
    def open_sequence(self, name: str) -> None:
        """Load a sequence file: its format is not known here."""
        self._file(name)
        raise ScpiError(-257)

    # Errors

    @query("SYSTem:ERRor:CODE[:NEXT]?")
    def ask_code(self) -> str:
        """Number of the oldest error."""
        return self.next_error().split(",")[0]

    @query("SYSTem:ERRor:ALL?")
    def ask_all(self) -> str:
        """All errors."""
        shown = [self.next_error()]
        while self.errors:
            shown.append(self.next_error())
        return ",".join(shown)


TWIN = TektronixAwg
