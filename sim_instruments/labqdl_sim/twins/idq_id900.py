"""ID Quantique ID900 and ID1000 time controllers: SCPI texts in ZeroMQ messages (sheet tagger_idq_id900_id1000.md).

Pulses enter "input1" to "input4" and "start": ports that are told a rate; which pulses come is drawn from a random
stream of the twin. `pairs[("INPU1", "INPU2")] = (rate in 1/s, delay in s, jitter in s)` adds pulses that come together
(the second one later by the delay) to coincidences and histograms; the inputs' own rates contain them.

What the sheet leaves open, and what stands here:

- After power-on inputs are on, DC, rising edge, threshold 0.5 V, HIRES; gates CYCLE of 1 s; outputs and generators
  off; delay k = 1 to 4 belongs to input k, 5 to 8 to input k - 4; a histogram goes from STARt to INPU<i>, 1000 bins
  of 100 ps.
- Pulses are 1 V high (option `height`): with a threshold that is not between 0 and that an input counts nothing.
- Gates follow each other from the last reset or change of the gate on. COUN? is the count of the last full gate, 0
  before there is one, however often it is asked; with ACCUMULATE it is the count since the reset. Integration times
  are ms (option `gate_unit` in s), whole numbers from 1 to 3600000.
- HIRES:ERROR? is 1001 once the rate is above `max_rate` (100 MHz) when it is asked for, until CLEAR; the other codes
  never come. RECAlibrate takes 1 s.
- Windows count pulses of the FIRSt link that come between begin and end after one of the begin link: the product of
  both rates and the window, and the pairs whose delay is in it. A combiner without window passes its FIRSt link.
  Without LOAD COUNT links are NONE; LOAD COUNT sets links and enables windows, their delays are the driver's
  business.
- Histograms count from FLUSh or from the last change of their settings on, while the timer plays if REC is enabled or
  generator 8 has ONES:PWID and is enabled (its one shot begins then), else always. Bins are from MIN on, in ps.
- STAGe? is PLAYING or STOPPED. PLAY of what is not enabled is refused.
- An error is SCPI_ERR_ and the standard text of SCPI in capitals, in the place of that command's reply; after a
  command that was not understood the rest of the message is dropped. Sets answer with nothing; if one message has
  several replies they come as lines.
- The time base is 1 ps in HIRES and 100 ps in LOWRES for both models; delays keep their number in it.
- Outputs 1 to 4: pulses of GEN<k> and TSGE<k>, NIM -0.8 V, TTL 3.3 V; other links give no pulses.

Not simulated: the data-link service, its stream of time stamps and files (start-save, start-stream, stop, activate,
disactivate: another program on the host's own port 6060); SEND only keeps its state. OPIN, OPOUt, RESYnc, SELEct, EDGE
and COUPling are kept and change no counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from labqdl_sim.kinds import Kind
from labqdl_sim.ports import PulseIn
from labqdl_sim.scpi import ERROR_TEXTS, Boolean, Choice, Integer, Number, Param, ScpiError, ScpiTwin, command, query
from labqdl_sim.twin import Session

_LINK = re.compile(r"(INPU|STAR|DELA|TSCO|TSGE|GEN|NONE)[A-Z]*(\d{0,3})")
_ON = Boolean(("OFF", "ON"))
_COUPLING = Choice("DC", "AC")
_EDGE = Choice("RISING", "FALLING")
_THRESHOLD = Number("V", (-2.5, 2.5), show=lambda value: f"{value:g}V")
_SELECT = Choice("UNSHAPED", "SHAPED")
_RESYNC = Choice("AUTO", "OFF")
_RESOLUTION = Choice("HIRES", "LOWRES")
_TICKS = Number("TB", (-1e15, 1e15), show=lambda value: f"{value:.0f}TB")
_PICOSECONDS = Integer((0, 1e18))
_NUMBER = Number("", (1, math.inf), show=lambda value: "INF" if math.isinf(value) else f"{value:.0f}")
_PAIRS = {3: (2, 7), 4: (2, 8), 5: (3, 8), 6: (1, 6), 7: (1, 7), 8: (1, 8)}  # combiner: main delay, second delay
_TRIPLES = {13: (6, 7), 14: (6, 8), 15: (7, 8), 16: (3, 4), 24: (6, 5)}  # combiner: combiners


class _Link(Kind[str]):
    """The name of a block, such as INPU1."""

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> str:
        """The value of one argument."""
        match = _LINK.fullmatch(token.decode("latin-1").upper())
        if match is None:
            raise ScpiError(-224)
        return match[1] + match[2]


class IdqId900(ScpiTwin):
    """An ID900, or with `model` "ID1000" an ID1000.

    Options: `height` (V), `gate_unit` (s), `max_rate` (1/s).
    """

    maker = "ID Quantique"
    model = "ID900"
    serial = "2301001"
    firmware = "1.5.0"
    resources = ("zmq://{name}:5555",)
    roads = ("zmq",)
    reply_terminator = b""
    reply_separator = b"\n"
    prefixes = True
    without = ("SYSTem", "STATus")
    suffixes: Mapping[str, Sequence[int]] = {  # type: ignore[misc]
        "n": range(1, 5), "k": range(1, 9), "m": range(1, 33), "i": range(1, 5), "g": range(1, 9), "o": range(1, 5),
    }  # fmt: skip

    def setup(self) -> None:
        """Open inputs and outputs."""
        self.height = self.option("height", 1.0)
        self.gate_unit = self.option("gate_unit", 1e-3)
        self.max_rate = self.option("max_rate", 100e6)
        self.inputs: dict[str, PulseIn] = {f"INPU{n}": self.pulse_in(f"input{n}") for n in range(1, 5)}
        self.inputs["STAR"] = self.pulse_in("start")
        self.pairs: dict[tuple[str, str], tuple[float, float, float]] = {}
        self.draws = 0
        for number in range(1, 5):
            self.voltage_out(f"output{number}", lambda instants, number=number: self.pulses(number, instants))  # type: ignore[misc]

    def reset(self) -> None:
        """Power-on: inputs listen, nothing else goes on."""
        now = self.now
        self.gates: dict[str, tuple[float, int]] = {}  # when a counter began, and the number of its stream
        self.totals: dict[str, tuple[float, int]] = {}  # endless counts: up to when, how many
        self.power_on = now
        self.faulty: set[int] = set()
        self.bins: dict[int, tuple[float, NDArray[np.int64]]] = {}
        self.played: dict[str, float] = {}
        self.playing = (math.inf, -math.inf)

    # Messages

    def split(self, session: Session, end: bool) -> bytes | None:
        """ZeroMQ frames messages: what comes together is one."""
        message = bytes(session.buffer)
        session.buffer.clear()
        return message

    def execute(self, message: bytes) -> bytes | None:
        """One message has one reply, an empty one if there is nothing to say."""
        if len(message) > self.input_limit:
            return self.refuse(ScpiError(-363))
        return super().execute(message.strip()) or b""

    def refuse(self, error: ScpiError) -> bytes:
        """Errors are replies."""
        text = ERROR_TEXTS.get(error.code, "Unknown")
        return b"SCPI_ERR_" + re.sub(r"[^A-Z]+", "_", text.upper()).encode()

    def number(self, value: float) -> str:
        """Numbers as they are."""
        return f"{value:.10g}"

    # Device

    resolution = Param("DEVIce:RESolution", _RESOLUTION, "HIRES")

    @query("DEVIce:RESolution:BWID?")
    def time_base(self) -> int:
        """The time base in ps."""
        return 1 if self.resolution == "HIRES" else 100

    @command("DEVIce:CONFigure:LOAD", takes=[Choice("COUNT")])
    def load(self, what: str) -> None:
        """The predefined wiring for coincidences."""
        own = type(self)
        for k in (2, 3, 4):
            own.delay_link.put(self, f"INPU{k}", k + 4)
        for m, (main, second) in _PAIRS.items():
            own.begin_link.put(self, f"DELA{main}", m)
            own.first_link.put(self, f"DELA{second}", m)
        for m, (begin, first) in _TRIPLES.items():
            own.begin_link.put(self, f"TSCO{begin}", m)
            own.first_link.put(self, f"TSCO{first}", m)
        for m in (*_PAIRS, *_TRIPLES):
            own.end_link.put(self, own.begin_link.of(self, m), m)
            own.window.put(self, True, m)

    @command("DEVIce:SAMPling:RECAlibrate")
    def recalibrate(self) -> None:
        """Calibrate the inputs."""
        self.hold(1.0)

    # Inputs

    enable = Param("INPUt<n>:ENABle", _ON, True)
    coupling = Param("INPUt<n>:COUPling", _COUPLING, "DC")
    edge = Param("INPUt<n>:EDGE", _EDGE, "RISING")
    threshold = Param("INPUt<n>:THREshold", _THRESHOLD, 0.5)
    select = Param("INPUt<n>:SELEct", _SELECT, "UNSHAPED")
    resync = Param("INPUt<n>:RESYnc", _RESYNC, "AUTO")
    mode = Param("INPUt<n>:MODE", _RESOLUTION, "HIRES")
    start_enable = Param("STARt:ENABle", _ON, True)
    start_coupling = Param("STARt:COUPling", _COUPLING, "DC")
    start_edge = Param("STARt:EDGE", _EDGE, "RISING")
    start_threshold = Param("STARt:THREshold", _THRESHOLD, 0.5)
    start_select = Param("STARt:SELEct", _SELECT, "UNSHAPED")
    start_resync = Param("STARt:RESYnc", _RESYNC, "AUTO")
    start_mode = Param("STARt:MODE", _RESOLUTION, "HIRES")

    @query("INPUt<n>:HIRES:ERROR?")
    def input_error(self, n: int) -> int:
        """1001 when pulses came too fast."""
        if self.rate(f"INPU{n}", self.now) > self.max_rate:
            self.faulty.add(n)
        return 1001 if n in self.faulty else 0

    @command("INPUt<n>:HIRES:ERROR:CLEAR")
    def clear_input_error(self, n: int) -> None:
        """Forget it."""
        self.faulty.discard(n)

    # Counters

    count_mode = Param("INPUt<n>:COUNter:MODE", Choice("CYCLe", "ACCUmulate"), "CYCL")
    gate = Param("INPUt<n>:COUNter:INTEgrationtime", Integer((1, 3_600_000)), 1000)
    pair_mode = Param("TSCO<m>:COUNter:MODE", Choice("CYCLe", "ACCUmulate"), "CYCL")
    pair_gate = Param("TSCO<m>:COUNter:INTEgrationtime", Integer((1, 3_600_000)), 1000)

    @command("INPUt<n>:COUNter:RESEt", passes=["INPU"])
    @command("TSCO<m>:COUNter:RESEt", passes=["TSCO"])
    def restart(self, number: int, block: str) -> None:
        """Gates begin anew."""
        self.draws += 1
        self.gates[f"{block}{number}"] = (self.now, self.draws)
        self.totals.pop(f"{block}{number}", None)

    @count_mode.changed
    @gate.changed
    def _regate(self, value: object, n: int) -> None:
        self.restart(n, "INPU")

    @pair_mode.changed
    @pair_gate.changed
    def _regate_pairs(self, value: object, m: int) -> None:
        self.restart(m, "TSCO")

    @query("INPUt<n>:COUNter?")
    def count(self, n: int) -> int:
        """Pulses of an input."""
        return self.counted(f"INPU{n}", n, type(self).count_mode.of(self, n), type(self).gate.of(self, n))

    @query("TSCO<m>:COUNter?")
    def count_pairs(self, m: int) -> int:
        """Pulses of a combiner."""
        return self.counted(f"TSCO{m}", 100 + m, type(self).pair_mode.of(self, m), type(self).pair_gate.of(self, m))

    def counted(self, source: str, number: int, mode: str, gate: int) -> int:
        """What a counter shows."""
        began, stream = self.gates.get(source, (self.power_on, 0))
        now = self.now
        if mode == "ACCU":
            since, total = self.totals.get(source, (began, 0))
            if now > since:
                self.draws += 1
                total += self.drawn(self.expected(source, since, now), number, self.draws, 1)
                self.totals[source] = (now, total)
            return total
        length = gate * self.gate_unit
        full = math.floor((now - began) / length + 1e-9)
        if full < 1:
            return 0
        expected = self.expected(source, began + (full - 1) * length, began + full * length)
        return self.drawn(expected, number, stream, 1 + full)

    def drawn(self, expected: float, *key: int) -> int:
        """A Poisson number from the stream of that key."""
        return int(self.generator("counts", *key).poisson(min(expected, 1e15)))

    def expected(self, source: str, begin: float, end: float) -> float:
        """Expected number of pulses between two times: from the rate at eight places in between."""
        step = (end - begin) / 8
        return sum(self.rate(source, begin + (index + 0.5) * step) for index in range(8)) * step

    def rate(self, source: str, t: float, depth: int = 0) -> float:
        """Pulses a second of a block."""
        own, block, number = type(self), source.rstrip("0123456789"), _digits(source)
        if depth > 6:
            return 0.0
        if block == "INPU" and source in self.inputs:
            on, level = own.enable.of(self, number), own.threshold.of(self, number)
            return self.inputs[source].rate(t) if on and 0 < level < self.height else 0.0
        if block == "STAR":
            on = self.start_enable and 0 < self.start_threshold < self.height
            return self.inputs["STAR"].rate(t) if on else 0.0
        if block == "DELA" and 1 <= number <= 8:
            return self.rate(own.delay_link.of(self, number), t, depth + 1)
        if block == "TSCO" and 1 <= number <= 32:
            first = own.first_link.of(self, number)
            passed = self.rate(first, t, depth + 1)
            if not own.window.of(self, number):
                return passed
            begin, end = (own.begin.of(self, number), own.end.of(self, number))
            width, tick = max(end - begin, 0.0), self.time_base() * 1e-12
            opener = own.begin_link.of(self, number)
            opened = self.rate(opener, t, depth + 1)
            together = self.together(opener, first)
            pairs = 0.0 if together is None else together[0] * float(
                _share(np.array([begin * tick, end * tick]), *together[1:])[0]
            )  # fmt: skip
            return min(opened * min(width * tick * passed, passed) + pairs, 1e12)
        return 0.0

    def together(self, first: str, second: str) -> tuple[float, float, float] | None:
        """Rate, delay and jitter of the pairs that two links see; None: they have none."""
        (one, early), (other, late) = self.resolved(first), self.resolved(second)
        for key, sign in (((one, other), 1.0), ((other, one), -1.0)):
            if key in self.pairs:
                rate, delay, jitter = self.pairs[key]
                return rate, sign * delay + late - early, jitter
        return None

    def resolved(self, source: str) -> tuple[str, float]:
        """The input behind a link and the delay in s on the way."""
        delay = 0.0
        for _ in range(8):
            number = _digits(source)
            if not source.startswith("DELA") or not 1 <= number <= 8:
                break
            delay += type(self).delay.of(self, number) * self.time_base() * 1e-12
            source = type(self).delay_link.of(self, number)
        return source, delay

    # Delays and combiners

    delay = Param("DELAy<k>:VALUe", _TICKS, 0.0)
    delay_link = Param("DELAy<k>[:INPOrt]:LINK", _Link(), lambda twin, k: f"INPU{(k - 1) % 4 + 1}")
    window = Param("TSCO<m>:WINDow:ENABle", _ON, False)
    begin_link = Param("TSCO<m>:WINDow:BEGIn:LINK", _Link(), "NONE")
    begin = Param("TSCO<m>:WINDow:BEGIn:DELAy", _TICKS, 0.0)
    begin_edge = Param("TSCO<m>:WINDow:BEGIn:EDGE", _EDGE, "RISING")
    end_link = Param("TSCO<m>:WINDow:END:LINK", _Link(), "NONE")
    end = Param("TSCO<m>:WINDow:END:DELAy", _TICKS, 0.0)
    end_edge = Param("TSCO<m>:WINDow:END:EDGE", _EDGE, "RISING")
    first_link = Param("TSCO<m>:FIRst:LINK", _Link(), "NONE")
    combiner_in = Param("TSCO<m>:OPIN", Choice("ONLYFIR", "MUTE"), "ONLYFIR")
    combiner_out = Param("TSCO<m>:OPOUt", Choice("ONLYFIR", "MUTE"), "MUTE")

    # Histograms

    reference = Param("HISTogram<i>[:INPOrt]:REFerence:LINK", _Link(), "STAR")
    stop = Param("HISTogram<i>[:INPOrt]:STOP:LINK", _Link(), lambda twin, i: f"INPU{i}")
    bin_count = Param("HISTogram<i>:BCOUnt", Integer((1, 16384)), 1000)
    bin_width = Param("HISTogram<i>:BWIDth", Integer((1, 1e12)), 100)
    minimum = Param("HISTogram<i>:MINimum", Integer((-1e15, 1e15)), 0)

    @reference.changed
    @stop.changed
    @bin_count.changed
    @bin_width.changed
    @minimum.changed
    def _changed(self, value: object, i: int) -> None:
        self.flush(i)

    @command("HISTogram<i>:FLUSh")
    def flush(self, i: int) -> None:
        """Empty it."""
        self.bins[i] = (self.now, np.zeros(type(self).bin_count.of(self, i), dtype=np.int64))

    @query("HISTogram<i>:DATA?")
    def histogram(self, i: int) -> str:
        """Counts of all bins."""
        since, counts = self.bins.get(i, (self.power_on, np.zeros(type(self).bin_count.of(self, i), dtype=np.int64)))
        now = self.now
        begin, end = self.recording(since, now)
        if end > begin:
            own, middle = type(self), (begin + end) / 2
            start, stop = own.reference.of(self, i), own.stop.of(self, i)
            width = own.bin_width.of(self, i) * 1e-12
            edges = own.minimum.of(self, i) * 1e-12 + np.arange(len(counts) + 1, dtype=np.float64) * width
            rates = np.full(len(counts), self.rate(start, middle) * self.rate(stop, middle) * width)
            together = self.together(start, stop)
            if together is not None:
                rates = rates + together[0] * _share(edges, *together[1:])
            self.draws += 1
            generator = self.generator("histogram", i, self.draws)
            counts = counts + generator.poisson(np.minimum(rates * (end - begin), 1e15))
        self.bins[i] = (now, counts)
        return "[" + ",".join(map(str, counts.tolist())) + "]"

    def recording(self, begin: float, end: float) -> tuple[float, float]:
        """The part of a span in which histograms fill."""
        own = type(self)
        if self.recorder:
            first, last = self.playing
        elif own.shot.of(self, 8) and own.generating_time.of(self, 8):
            first = self.played.get("TSGE8", math.inf)
            last = first + own.shot.of(self, 8) * 1e-12
        else:
            return begin, end
        return max(begin, first), min(end, last)

    # The acquisition timer

    trigger_mode = Param("RECord:TRIGger:ARM:MODE", Choice("MANUal", "AUTO"), "MANU")
    recorder = Param("RECord:ENABle", _ON, False)
    repetitions = Param("RECord:NUM", _NUMBER, 1.0)
    duration = Param("RECord:DURation", _PICOSECONDS, 1_000_000_000_000)

    @command("RECord:PLAY")
    def play(self) -> None:
        """Start."""
        if not self.recorder:
            raise ScpiError(-221)
        self.playing = (self.now, self.now + self.duration * 1e-12 * self.repetitions if self.duration else self.now)

    @command("RECord:STOP")
    def halt(self) -> None:
        """Stop."""
        self.playing = (self.playing[0], min(self.playing[1], self.now))

    @query("RECord:STAGe?")
    def stage(self) -> str:
        """What the timer does."""
        return "PLAYING" if self.playing[0] <= self.now < self.playing[1] else "STOPPED"

    # Time stamps

    sending = Param("RAW<n>:SEND", _ON, False)
    sending_old = Param("TSST<n>:DATA:RAW:SEND", _ON, False)

    @query("TSST<n>:DATA:RAW:ERRORS?")
    def lost(self, n: int) -> int:
        """Lost time stamps: none."""
        return 0

    @command("TSST<n>:DATA:RAW:ERRORS:CLEAR")
    def clear_lost(self, n: int) -> None:
        """Forget them."""

    # Generators and outputs

    generating = Param("GEN<g>:ENABle", _ON, False)
    period = Param("GEN<g>:PPERiod", _PICOSECONDS, 1_000_000)
    width = Param("GEN<g>:PWIDth", _PICOSECONDS, 100_000)
    pulse_number = Param("GEN<g>:PNUMber", _NUMBER, math.inf)
    generating_time = Param("TSGE<g>:ENABle", _ON, False)
    generator_mode = Param("TSGE<g>:MODE", Choice("SPULse", "MPULse"), "SPUL")
    period_time = Param("TSGE<g>:PPERiod", _PICOSECONDS, 1_000_000)
    width_time = Param("TSGE<g>:PWIDth", _PICOSECONDS, 100_000)
    number_time = Param("TSGE<g>:PNUMber", _NUMBER, math.inf)
    shot = Param("TSGE<g>:ONEShot:PWIDth", _PICOSECONDS, 0)
    output = Param("OUTPut<o>:ENABle", _ON, False)
    level = Param("OUTPut<o>:MODE", Choice("NIM", "TTL"), "NIM")
    output_link = Param("OUTPut<o>:LINK", _Link(), "NONE")

    @generating_time.changed
    def _started(self, on: bool, g: int) -> None:
        if on:
            self.played[f"TSGE{g}"] = self.now

    @output.check
    def _check_output(self, on: bool, o: int) -> bool:
        return on or (self.stays_on and type(self).output.of(self, o))

    @command("GEN<g>:PLAY", passes=["GEN"])
    @command("TSGE<g>:PLAY", passes=["TSGE"])
    def generate(self, g: int, block: str) -> None:
        """Start."""
        own = type(self)
        if not (own.generating if block == "GEN" else own.generating_time).of(self, g):
            raise ScpiError(-221)
        self.played[f"{block}{g}"] = self.now

    def pulses(self, number: int, instants: NDArray[np.float64]) -> NDArray[np.float64]:
        """Volts of an output."""
        own, none = type(self), np.zeros(instants.shape)
        link = own.output_link.of(self, number)
        block, g = link.rstrip("0123456789"), _digits(link)
        begin = self.played.get(link, math.inf)
        if not own.output.of(self, number) or block not in ("GEN", "TSGE") or not math.isfinite(begin):
            return none
        old = block == "TSGE"
        if not (own.generating_time if old else own.generating).of(self, g):
            return none
        period = (own.period_time if old else own.period).of(self, g) * 1e-12
        width = (own.width_time if old else own.width).of(self, g) * 1e-12
        count = (own.number_time if old else own.pulse_number).of(self, g)
        if old and own.shot.of(self, g):
            width, count = own.shot.of(self, g) * 1e-12, 1.0
        period = max(period, width, 1e-12)
        passed = instants - begin
        index = np.floor(np.maximum(passed, 0.0) / period)
        high = (passed >= 0) & (passed - index * period < width) & (index < count)
        return np.where(high, -0.8 if own.level.of(self, number) == "NIM" else 3.3, 0.0)


def _digits(name: str) -> int:
    digits = name.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return int(digits) if digits else 0


def _share(edges: NDArray[np.float64], delay: float, jitter: float) -> NDArray[np.float64]:
    """Share of pairs between neighbouring edges (s), for a Gaussian delay."""
    spread = max(jitter, 1e-15) * math.sqrt(2)
    below = np.array([0.5 * (1 + math.erf(max(min((edge - delay) / spread, 10.0), -10.0))) for edge in edges])
    return np.diff(below)


TWIN = IdqId900
