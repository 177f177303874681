"""Red Pitaya's SCPI server: digitizer, generator, slow analog, pins (sheet scope_redpitaya_scpi.md).

Ports: fast inputs "in1", "in2" and outputs "out1", "out2"; slow inputs "ain0" to "ain3" and outputs "aout0" to "aout3";
pins "dio0_p" to "dio7_n" (what they drive) and "dio0_p:in" to "dio7_n:in" (what drives them); "ext" is the external
trigger.

What the sheet leaves open, and what stands here:

- Generators begin with SINE, 1 kHz, 0 V, off. A set that makes |amplitude| + |offset| more than 1 V is refused with
  9006, values out of range with -222. Output on runs a continuous wave at once; TRig:INT starts it anew at its phase.
  BURST is at 0 V until TRig:INT and between its bursts. EXT_PE and EXT_NE start at the first edge of "ext" after they
  were chosen, GATED runs while "ext" is above 1.65 V. DC is +amplitude, DC_NEG -amplitude, both plus offset.
- `GEN:RST` and `*RST` go back to all that, outputs off. `ACQ:RST` is the state at power-on: decimation 1, averaging
  on, LV, level 0, delay 0, ASCII, VOLTS, big-endian.
- A trigger source counts only while the acquisition runs: before START it is passed over, and START forgets the last
  one. An edge is looked for in all of the first million samples since the source was chosen, then at a million
  places. AWG sources fire at the first period of generator 1 (else 2) that begins after that. A crossing needs a
  sample below level - hysteresis before it.
- 8192 + delay samples follow the trigger, then the acquisition ends. Data before that are the newest 16384 samples;
  samples from before START are 0. Averaging takes the mean of up to 8 places in each sample. Inputs clip at full
  scale and have noise of one count (option `noise`).
- Windows: STArt:N and STArt:End count from the buffer's beginning (the write pointer is WPOS), the end is included;
  PRE_POST_TRIG gives n samples before the trigger and n from it on. A window larger than the buffer is -222, a
  trigger window without trigger 9006 too.
- AIN have 12 bits over 3.3 V, AOUT 8 bits over 1.8 V. Pins begin as inputs; an input reads 1 above 1.65 V; a pin
  keeps what is written and drives it once it is an output. LEDs are kept.
- `RP:RET_ON_ERROR` takes ON, OFF or nothing (ON).
- `*RST` does GEN:RST and ACQ:RST and resets pins and slow outputs.

Not simulated: per-channel trigger forms (`...:CH1`): SPLIT is kept, both channels share one trigger; deep memory (AXI);
AC coupling (kept).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from labqdl_sim.ports import VoltageIn
from labqdl_sim.scpi import Boolean, Choice, Integer, Many, Number, Param, ScpiError, ScpiTwin, block, command, query

_RATE = 125e6
_COUNTS = 8192
_CHUNK = 1 << 20
_LOGIC = 1.65
_OUT_OF_RANGE = 9006
_ANALOG = ("AOUT0", "AOUT1", "AOUT2", "AOUT3")
_INPUTS = ("AIN0", "AIN1", "AIN2", "AIN3")
_PINS = tuple(f"DIO{n}_{side}" for n in range(8) for side in "PN")
_LEDS = tuple(f"LED{n}" for n in range(8))
_SOURCES = ("DISABLED", "NOW", *(f"{one}_{edge}E" for one in ("CH1", "CH2", "EXT", "AWG") for edge in "PNA"))
Floats = NDArray[np.float64]


def _plain(value: float) -> str:
    return f"{value:.10g}"


class RedPitaya(ScpiTwin):
    """A STEMlab 125-14.

    Options: `buffer` (samples), `noise` (counts). Signals are sampled as they are: the inputs have no bandwidth.
    """

    maker = "REDPITAYA"
    model = "INSTR2024"
    serial = "0"
    firmware = "01-02"
    resources = ("TCPIP0::{name}::5000::SOCKET",)
    roads = ("socket",)
    reply_terminator = b"\r\n"
    error_format = '{code:d},"{text}"'
    error_texts = {_OUT_OF_RANGE: "Value out of range"}  # noqa: RUF012
    suffixes = {"ch": (1, 2)}  # noqa: RUF012

    def setup(self) -> None:
        """Open all connectors."""
        self.size = self.option("buffer", 16384)
        self.noise = self.option("noise", 1.0)
        self.returns = False
        self.asking = False
        self.acquisitions = 0
        self.fast = {ch: self.voltage_in(f"in{ch}") for ch in (1, 2)}
        self.ext = self.voltage_in("ext")
        self.slow = {name: self.voltage_in(name.lower()) for name in _INPUTS}
        for ch in (1, 2):
            self.voltage_out(f"out{ch}", lambda instants, ch=ch: self.wave(ch, instants))  # type: ignore[misc]
        for name in _ANALOG:
            self.voltage_out(name.lower(), lambda instants, name=name: np.full(instants.shape, self.levels[name]))  # type: ignore[misc]
        self.wires: dict[str, VoltageIn] = {}
        for name in _PINS:
            self.voltage_out(name.lower(), lambda instants, name=name: np.full(instants.shape, self.driven(name)))  # type: ignore[misc]
            self.wires[name] = self.voltage_in(name.lower() + ":in")

    def reset(self) -> None:
        """State when the server starts: nothing on."""
        self.levels = dict.fromkeys(_ANALOG, 0.0)
        self.pins = dict.fromkeys((*_PINS, *_LEDS), False)
        self.outputs = dict.fromkeys(_PINS, False)
        self.reset_generators()
        self.reset_acquisition()

    def number(self, value: float) -> str:
        """Numbers as they are."""
        return _plain(value)

    def refuse(self, error: ScpiError) -> bytes | None:
        """Into the queue; a query that fails may answer with an empty line."""
        super().refuse(error)
        return b"" if self.returns and self.asking else None

    def execute(self, message: bytes) -> bytes | None:
        """One message."""
        self.asking = b"?" in message
        return super().execute(message)

    @command("RP:RET_ON_ERROR", takes=[Boolean()], least=0)
    def return_on_error(self, on: bool = True) -> None:
        """Queries that fail answer with an empty line."""
        self.returns = on

    @query("SYSTem:BRD:ID?")
    def board(self) -> int:
        """Number of the board."""
        return 0

    @query("SYSTem:BRD:Name?")
    def board_name(self) -> str:
        """Name of the board."""
        return "STEMlab 125-14"

    # Generators

    function = Param(
        "SOUR<ch>:FUNC",
        Choice("SINE", "SQUARE", "TRIANGLE", "SAWU", "SAWD", "PWM", "DC", "DC_NEG", "ARBITRARY"),
        "SINE",
    )
    frequency = Param("SOUR<ch>:FREQ:FIX", Number("HZ", (0.0, _RATE / 2)), 1000.0)
    amplitude = Param("SOUR<ch>:VOLT", Number("V", (0.0, 1.0)), 0.0)
    offset = Param("SOUR<ch>:VOLT:OFFS", Number("V", (-1.0, 1.0)), 0.0)
    phase = Param("SOUR<ch>:PHAS", Number("DEG", (-360.0, 360.0)), 0.0)
    duty = Param("SOUR<ch>:DCYC", Number("", (0.0, 1.0)), 0.5)
    start_source = Param("SOUR<ch>:TRig:SOUR", Choice("INT", "EXT_PE", "EXT_NE", "GATED"), "INT")
    burst = Param("SOUR<ch>:BURS:STAT", Choice("CONTINUOUS", "BURST"), "CONTINUOUS")
    cycles = Param("SOUR<ch>:BURS:NCYC", Integer((1, 65536)), 1)
    repetitions = Param("SOUR<ch>:BURS:NOR", Integer((1, 65536)), 1)
    interval = Param("SOUR<ch>:BURS:INT:PER", Number("US", (1.0, 500e6)), 1000.0)
    output = Param("OUTPUT<ch>:STATE", Boolean(("OFF", "ON")), False)

    @amplitude.check
    def _check_amplitude(self, value: float, ch: int) -> None:
        if value + abs(type(self).offset.of(self, ch)) > 1 + 1e-9:
            raise ScpiError(_OUT_OF_RANGE)

    @offset.check
    def _check_offset(self, value: float, ch: int) -> None:
        if abs(value) + type(self).amplitude.of(self, ch) > 1 + 1e-9:
            raise ScpiError(_OUT_OF_RANGE)

    @output.check
    def _check_output(self, on: bool, ch: int) -> bool:
        if not on and self.stays_on:
            return type(self).output.of(self, ch)
        return on

    @output.changed
    def _switched(self, on: bool, ch: int) -> None:
        if on:
            self.began[ch] = self.now

    @start_source.changed
    def _armed(self, source: str, ch: int) -> None:
        self.armed[ch] = self.now

    @frequency.changed
    def _retuned(self, value: float, ch: int) -> None:
        self.began[ch] = self.now

    @command("GEN:RST")
    def reset_generators(self) -> None:
        """Both generators off and as after power-on."""
        kept = [ch for ch in (1, 2) if self.stays_on and self._of("output", ch)]
        self._defaults("function", "frequency", "amplitude", "offset", "phase", "duty", "start_source", "burst",
                       "cycles", "repetitions", "interval", "output")  # fmt: skip
        for ch in kept:
            type(self).output.put(self, True, ch)
        self.began = dict.fromkeys((1, 2), self.now)
        self.fired: dict[int, float] = {}
        self.armed = dict.fromkeys((1, 2), self.now)
        self.table = {ch: np.zeros(1) for ch in (1, 2)}

    def _defaults(self, *names: str) -> None:
        keys = [key for key in self.values if key[0] in names]
        for key in keys:
            del self.values[key]

    @command("SOUR<ch>:TRAC:DATA:DATA", takes=[Many(Number("", (-1.0, 1.0)))], least=1)
    def upload(self, ch: int, *values: float) -> None:
        """One period of the arbitrary wave."""
        if len(values) > 16384:
            raise ScpiError(-223)
        self.table[ch] = np.array(values)

    @command("SOUR<ch>:TRig:INT")
    def start(self, ch: int) -> None:
        """Start now."""
        self.began[ch] = self.fired[ch] = self.now

    @command("PHAS:ALIGN")
    def align(self) -> None:
        """Both generators start at the same time."""
        for ch in (1, 2):
            self.began[ch] = self.now

    def wave(self, ch: int, instants: Floats) -> Floats:
        """Voltage of a fast output at many instants."""
        own = type(self)
        if not own.output.of(self, ch):
            return np.zeros(instants.shape)
        source = own.start_source.of(self, ch)
        begin, gate = self.began[ch], np.ones(instants.shape, dtype=np.bool_)
        if source == "GATED":
            gate = self.ext.evaluate(instants) > _LOGIC
        elif source != "INT":
            latest = float(instants.max()) if instants.size else 0.0
            edge = self.edge(self.ext, self.armed[ch], latest, _RATE, _LOGIC, 0.0, source[-2:])
            begin = math.inf if edge is None else edge
            gate = instants >= begin
        rate = own.frequency.of(self, ch)
        passed = np.where(gate, instants - (begin if math.isfinite(begin) else 0.0), 0.0)
        turns = passed * rate
        if own.burst.of(self, ch) == "BURST":
            start = self.fired.get(ch, math.inf) if source == "INT" else begin
            since = instants - start if math.isfinite(start) else np.full(instants.shape, -1.0)
            count, period = own.cycles.of(self, ch), own.interval.of(self, ch) * 1e-6
            period = max(period, count / rate if rate > 0 else math.inf)
            index = np.floor(np.maximum(since, 0.0) / period) if math.isfinite(period) else np.zeros(instants.shape)
            inside = np.maximum(since, 0.0) - (index * period if math.isfinite(period) else 0.0)
            turns = inside * rate
            gate = gate & (since >= 0) & (index < own.repetitions.of(self, ch)) & (turns < count)
        volts = own.amplitude.of(self, ch) * self.shape(ch, turns + own.phase.of(self, ch) / 360)
        volts = np.clip(np.where(gate, volts + own.offset.of(self, ch), 0.0), -1.0, 1.0 - 1 / _COUNTS)
        return np.asarray(np.round(volts * _COUNTS) / _COUNTS)

    def shape(self, ch: int, turns: Floats) -> Floats:
        """A wave of amplitude 1 by its phase in turns."""
        x = turns - np.floor(turns)
        duty = type(self).duty.of(self, ch)
        shapes: dict[str, Callable[[], Floats]] = {
            "SINE": lambda: np.sin(2 * np.pi * x),
            "SQUARE": lambda: np.where(x < 0.5, 1.0, -1.0),
            "TRIANGLE": lambda: 1 - 4 * np.abs(np.mod(x + 0.25, 1.0) - 0.5),
            "SAWU": lambda: 2 * x - 1,
            "SAWD": lambda: 1 - 2 * x,
            "PWM": lambda: np.where(x < duty, 1.0, -1.0),
            "DC": lambda: np.ones(x.shape),
            "DC_NEG": lambda: -np.ones(x.shape),
            "ARBITRARY": lambda: self.table[ch][
                np.minimum((x * len(self.table[ch])).astype(int), len(self.table[ch]) - 1)
            ],
        }
        return np.asarray(shapes[type(self).function.of(self, ch)]())

    # Acquisition

    decimation = Param("ACQ:DEC[:Factor]", Integer((1, 65536)), 1)
    averaging = Param("ACQ:AVG", Boolean(("OFF", "ON")), True)
    gain = Param("ACQ:SOUR<ch>:GAIN", Choice("LV", "HV"), "LV")
    coupling = Param("ACQ:SOUR<ch>:COUP", Choice("DC", "AC"), "DC")
    split_trigger = Param("ACQ:SPLIT:TRig", Boolean(("OFF", "ON")), False)
    level = Param("ACQ:TRig:LEV", Number("V", (-20.0, 20.0)), 0.0)
    hysteresis = Param("ACQ:TRig:HYST", Number("V", (0.0, 20.0)), 0.005)
    delay = Param("ACQ:TRig:DLY", Integer((-8192, 1 << 30)), 0)
    form = Param("ACQ:DATA:FORMAT", Choice("ASCII", "BIN"), "ASCII")
    unit = Param("ACQ:DATA:Units", Choice("VOLTS", "RAW"), "VOLTS")
    order = Param("ACQ:DATA:BYTE:ORDER", Choice("LEND", "BEND"), "BEND")

    @decimation.check
    def _check_decimation(self, value: int) -> None:
        if value < 16 and value not in (1, 2, 4, 8):
            raise ScpiError(-222)

    @command("ACQ:RST")
    def reset_acquisition(self) -> None:
        """As after power-on."""
        self._defaults("decimation", "averaging", "gain", "coupling", "split_trigger", "level", "hysteresis", "delay",
                       "form", "unit", "order")  # fmt: skip
        self.started: float | None = None
        self.stopped = math.inf
        self.source = "DISABLED"
        self.chosen = 0.0
        self.searched = 0.0
        self.hit: float | None = None

    @query("ACQ:SRATe?")
    def rate(self) -> int:
        """Samples a second."""
        return round(_RATE / self.decimation)

    @property
    def step(self) -> float:
        """Seconds from sample to sample."""
        return self.decimation / _RATE

    @command("ACQ:TRig:DLY:NS", takes=[Number("NS", (-1e9, 1e12))])
    def set_delay(self, nanoseconds: float) -> None:
        """The delay as a time."""
        samples = round(nanoseconds * 1e-9 / self.step)
        if not -8192 <= samples <= 1 << 30:
            raise ScpiError(-222)
        self.delay = samples

    @query("ACQ:TRig:DLY:NS?")
    def get_delay(self) -> int:
        """The delay as a time."""
        return round(self.delay * self.step * 1e9)

    @command("ACQ:START")
    def begin(self) -> None:
        """Run."""
        self.started, self.stopped = self.now, math.inf
        self.source, self.hit = "DISABLED", None
        self.acquisitions += 1

    @command("ACQ:STOP")
    def end(self) -> None:
        """Stop where it is."""
        self.look()
        if self.running:
            self.stopped = self.now

    @property
    def running(self) -> bool:
        """Whether samples are taken now."""
        return self.started is not None and self.now < self.stopped

    @command("ACQ:TRig", takes=[Choice(*_SOURCES)])
    def choose(self, source: str) -> None:
        """What triggers."""
        self.look()
        if not self.running or self.hit is not None:
            return
        self.source, self.chosen = source, self.now
        self.searched = self.now
        self.look()

    def look(self) -> None:
        """Whether the trigger came by now; the acquisition ends when all is there."""
        if not self.running or self.hit is not None or self.source == "DISABLED":
            return
        if self.source == "NOW":
            self.fire(self.chosen)
        elif self.source.startswith("AWG"):
            own = type(self)
            on = [ch for ch in (1, 2) if own.output.of(self, ch) and own.frequency.of(self, ch) > 0]
            if on:
                begin, rate = self.began[on[0]], own.frequency.of(self, on[0])
                at = begin + max(math.ceil((self.chosen - begin) * rate), 0) / rate
                if at <= self.now:
                    self.fire(at)
        else:
            port, level, hysteresis = self.ext, _LOGIC, 0.0
            if self.source.startswith("CH"):
                port, level, hysteresis = self.fast[int(self.source[2])], self.level, self.hysteresis
            at_edge = self.edge(port, self.searched, self.now, 1 / self.step, level, hysteresis, self.source[-2:])
            self.searched = max(self.now - 2 * self.step, self.searched)
            if at_edge is not None:
                self.fire(at_edge)

    def fire(self, at: float) -> None:
        """The trigger came."""
        self.hit = at
        self.stopped = at + max(self.size // 2 + self.delay, 0) * self.step

    def edge(
        self, port: VoltageIn, begin: float, end: float, rate: float, level: float, hysteresis: float, kind: str
    ) -> float | None:
        """When a voltage crosses a level for the first time; None: it does not."""
        if not port.connected or end <= begin:
            return None
        signs = (1.0,) if kind == "PE" else (-1.0,) if kind == "NE" else (1.0, -1.0)

        def search(first: float, spacing: float, count: int) -> float | None:
            volts = port.samples(first, 1 / spacing, count)
            found = (_crossing(sign * volts, sign * level, hysteresis) for sign in signs)
            hits = [index for index in found if index is not None]
            return first + min(hits) * spacing if hits else None

        total = math.ceil((end - begin) * rate) + 1
        hit = search(begin, 1 / rate, min(total, _CHUNK))
        if hit is not None or total <= _CHUNK:
            return hit
        first = begin + (_CHUNK - 1) / rate
        spacing = (end - first) / (_CHUNK - 1)
        rough = search(first, spacing, _CHUNK)
        if rough is None or spacing * rate > _CHUNK:
            return rough
        fine = search(max(rough - spacing, first), 1 / rate, math.ceil(spacing * rate) + 2)
        return rough if fine is None else fine

    @query("ACQ:TRig:STAT?")
    def state(self) -> str:
        """WAIT or TD."""
        self.look()
        return "WAIT" if self.hit is None else "TD"

    @query("ACQ:TRig:FILL?")
    def filled(self) -> bool:
        """Whether all samples are there."""
        self.look()
        return self.hit is not None and self.now >= self.stopped

    @query("ACQ:BUF:SIZE?")
    def buffer_size(self) -> int:
        """Samples in the buffer."""
        return self.size

    def written(self, t: float) -> int:
        """Samples written from START to a time."""
        if self.started is None:
            return 0
        return max(math.floor((min(t, self.stopped) - self.started) / self.step + 1e-6), 0)

    @query("ACQ:WPOS?")
    def write_pointer(self) -> int:
        """Where the next sample goes."""
        self.look()
        return self.written(self.now) % self.size

    @query("ACQ:TPOS?")
    def trigger_pointer(self) -> int:
        """Where the trigger was."""
        self.look()
        return 0 if self.hit is None else self.written(self.hit) % self.size

    def samples(self, ch: int, first: int, count: int) -> NDArray[np.int16]:
        """Counts of the samples from number `first` after START on."""
        numbers = first + np.arange(count)
        if self.started is None or not count:
            return np.zeros(count, dtype=np.int16)
        instants: Floats = (self.started + numbers * self.step).astype(np.float64)
        volts = self.fast[ch].evaluate(instants)
        if self.averaging and self.decimation > 1:
            places = min(self.decimation, 8)
            for place in range(1, places):
                volts = volts + self.fast[ch].evaluate(instants + place / places * self.step)
            volts = volts / places
        counts = volts * _COUNTS / self.full_scale(ch)
        if self.noise:
            counts = counts + self.noise * self.grain(ch, first, count)
        counts = np.nan_to_num(np.clip(np.round(counts), -_COUNTS, _COUNTS - 1))
        return np.where(numbers >= 0, counts, 0).astype(np.int16)

    def grain(self, ch: int, first: int, count: int) -> Floats:
        """Noise of the samples: the same for a sample whenever it is read."""
        blocks = range(first // 4096, (first + count - 1) // 4096 + 1)
        drawn = [
            self.generator("noise", self.acquisitions, ch, number).standard_normal(4096)
            if number >= 0 else np.zeros(4096) for number in blocks
        ]  # fmt: skip
        start = first - blocks[0] * 4096
        return np.concatenate(drawn)[start : start + count]

    def full_scale(self, ch: int) -> float:
        """Volts of 8192 counts."""
        return 20.0 if type(self).gain.of(self, ch) == "HV" else 1.0

    def show(self, ch: int, counts: NDArray[np.int16]) -> bytes:
        """Samples in the format that is set."""
        volts = counts.astype(np.float64) * self.full_scale(ch) / _COUNTS
        raw = self.unit == "RAW"
        if self.form == "ASCII":
            words = map(str, counts.tolist()) if raw else map("{:f}".format, volts.tolist())
            return b"{" + ",".join(words).encode() + b"}"
        sign = "<" if self.order == "LEND" else ">"
        return block(counts.astype(sign + "i2").tobytes() if raw else volts.astype(sign + "f4").tobytes())

    def oldest(self) -> int:
        """Number of the oldest sample that is kept."""
        self.look()
        return self.written(self.now) - self.size

    def checked(self, count: int) -> int:
        """A number of samples that the buffer has."""
        if not 1 <= count <= self.size:
            raise ScpiError(-222)
        return count

    @query("ACQ:SOUR<ch>:DATA?")
    def all_data(self, ch: int) -> bytes:
        """The buffer, oldest first."""
        return self.show(ch, self.samples(ch, self.oldest(), self.size))

    @query("ACQ:SOUR<ch>:DATA:Old:N?", takes=[Integer()])
    def old_data(self, ch: int, count: int) -> bytes:
        """The oldest samples."""
        return self.show(ch, self.samples(ch, self.oldest(), self.checked(count)))

    @query("ACQ:SOUR<ch>:DATA:LATest:N?", takes=[Integer()])
    def latest_data(self, ch: int, count: int) -> bytes:
        """The newest samples."""
        return self.show(ch, self.samples(ch, self.oldest() + self.size - self.checked(count), count))

    @query("ACQ:SOUR<ch>:DATA:STArt:N?", takes=[Integer(), Integer()])
    def data_from(self, ch: int, start: int, count: int) -> bytes:
        """Samples from a place in the buffer on."""
        if not 0 <= start < self.size:
            raise ScpiError(-222)
        first = self.oldest()
        whole = np.roll(self.samples(ch, first, self.size), first % self.size - start)
        return self.show(ch, whole[: self.checked(count)])

    @query("ACQ:SOUR<ch>:DATA:STArt:End?", takes=[Integer(), Integer()])
    def data_between(self, ch: int, start: int, end: int) -> bytes:
        """Samples between two places in the buffer."""
        if not 0 <= end < self.size:
            raise ScpiError(-222)
        return self.data_from(ch, start, (end - start) % self.size + 1)

    @query("ACQ:SOUR<ch>:DATA:TRig?", takes=[Integer(), Choice("PRE_TRIG", "POST_TRIG", "PRE_POST_TRIG")])
    def data_around(self, ch: int, count: int, where: str) -> bytes:
        """Samples around the trigger."""
        oldest = self.oldest()
        if self.hit is None:
            raise ScpiError(_OUT_OF_RANGE)
        before = self.checked(count) if where != "POST_TRIG" else 0
        after = count if where != "PRE_TRIG" else 0
        first = self.written(self.hit) - before
        if first < oldest or first + before + after > oldest + self.size:
            raise ScpiError(-222)
        return self.show(ch, self.samples(ch, first, before + after))

    # Slow analog, pins

    @command("ANALOG:PIN", takes=[Choice(*_ANALOG), Number("V", (0.0, 1.8))])
    def set_analog(self, name: str, volts: float) -> None:
        """Voltage of a slow output."""
        if self.stays_on and volts < self.levels[name]:
            return
        self.levels[name] = round(volts / 1.8 * 255) / 255 * 1.8

    @query("ANALOG:PIN?", takes=[Choice(*_ANALOG, *_INPUTS)])
    def get_analog(self, name: str) -> float:
        """Voltage of a slow input, or setting of an output."""
        if name in self.levels:
            return self.levels[name]
        return round(min(max(self.slow[name].at(self.now), 0.0), 3.3) / 3.3 * 4095) / 4095 * 3.3

    @command("DIG:PIN", takes=[Choice(*_PINS, *_LEDS), Integer((0, 1))])
    def set_pin(self, name: str, value: int) -> None:
        """Level of a pin or LED."""
        if value or not self.stays_on:
            self.pins[name] = bool(value)

    @query("DIG:PIN?", takes=[Choice(*_PINS, *_LEDS)])
    def get_pin(self, name: str) -> bool:
        """Level of a pin: what it drives, or what drives it."""
        if name in _LEDS or self.outputs[name]:
            return self.pins[name]
        return self.wires[name].at(self.now) > _LOGIC

    @command("DIG:PIN:DIR", takes=[Choice("IN", "OUT"), Choice(*_PINS)])
    def set_direction(self, direction: str, name: str) -> None:
        """Input or output."""
        self.outputs[name] = direction == "OUT"

    @query("DIG:PIN:DIR?", takes=[Choice(*_PINS)])
    def get_direction(self, name: str) -> str:
        """Input or output."""
        return "OUT" if self.outputs[name] else "IN"

    def driven(self, name: str) -> float:
        """Volts that a pin drives."""
        return 3.3 if self.outputs[name] and self.pins[name] else 0.0


def _crossing(volts: Floats, level: float, hysteresis: float) -> int | None:
    """Index of the first sample at or above a level, after one below level - hysteresis."""
    low = np.flatnonzero(volts < level - hysteresis) if hysteresis else np.flatnonzero(volts < level)
    if not low.size:
        return None
    high = np.flatnonzero(volts[low[0] :] >= level)
    return int(low[0] + high[0]) if high.size else None


TWIN = RedPitaya
