"""Keysight and Agilent 33500B and 33600A waveform generators (SCPI, waveforms as blocks)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from labqdl.driver import (
    DEGREES,
    Action,
    Bool,
    Choice,
    Custom,
    Float,
    Integer,
    ScpiInstrument,
    Text,
    TextChannel,
    Uses,
    reasons,
)
from labqdl.errors import InputError
from labqdl.instruments import (
    Limit,
    NotACapability,
    NotAValue,
    OperationComplete,
    Output,
    Part,
    Reference,
    SettingsChanged,
    Trigger,
    WaveformGenerator,
    WaveformMemory,
)
from labqdl.instruments.limits import broken

_MODELS: dict[str, tuple[int, float, float]] = {
    "33511B": (1, 20e6, 160e6),
    "33512B": (2, 20e6, 160e6),
    "33521B": (1, 30e6, 250e6),
    "33522B": (2, 30e6, 250e6),
    "33611A": (1, 80e6, 660e6),
    "33612A": (2, 80e6, 660e6),
    "33621A": (1, 120e6, 1e9),
    "33622A": (2, 120e6, 1e9),
}
"""Channels, greatest frequency of a sine in Hz, greatest sample rate in S/s."""
_NAME = re.compile(r"[A-Za-z]\w{0,11}", re.ASCII)
_STORED = re.compile(r"INT:\\[\w\\]+\.ARB", re.ASCII | re.IGNORECASE)
_UNLOCKED = 32


class Function(StrEnum):
    """What an output plays."""

    SINE = "sine"
    SQUARE = "square"
    TRIANGLE = "triangle"
    RAMP = "ramp"
    PULSE = "pulse"
    PRBS = "prbs"
    NOISE = "noise"
    ARBITRARY = "arbitrary"
    DC = "dc"


class Filter(StrEnum):
    """Filter behind the converter; the greatest sample rate depends on it."""

    NORMAL = "normal"
    STEP = "step"
    OFF = "off"


class _Load(Float):
    """A load whose 9.9E37 means an open output: `math.inf`."""

    def checked(self, part: Part, value: object) -> float:
        if value == math.inf and broken(part.instrument.station_limits(part.path(self.name)), math.inf) is None:
            return math.inf
        return super().checked(part, value)

    def parse(self, reply: str, part: Part) -> float:
        try:
            return super().parse(reply, part)
        except NotAValue:
            return math.inf

    def form(self, value: float, part: Part) -> str:
        return "INF" if value == math.inf else super().form(value, part)


class ArbOutput(TextChannel, Output):
    """An output of a 33500B or 33600A.

    Voltages refer to `load`, which the instrument believes and does not measure: 50 Ohm for modulator drivers, infinite
    (`math.inf`) for bias electrodes. `protected` keeps the voltage between `lowest` and `highest`, whatever is set.
    Amplitude and offset limit each other: set a low amplitude, the offset, then the amplitude.
    """

    kind = "output"

    @property
    def generator(self) -> Keysight33500:
        """The generator that it is part of."""
        return cast(Keysight33500, self.instrument)

    codes = False
    """Whether `upload` sends 16-bit codes instead of 32-bit numbers: half the bytes, no less resolution."""

    output = Bool("OUTP{n}?", "OUTP{n} {}")
    load = _Load("OUTP{n}:LOAD?", "OUTP{n}:LOAD {}", unit="Ohm", limits=(1.0, 1e4)).moving(
        "amplitude", "offset", "lowest", "highest"
    )
    function = Choice(
        "SOUR{n}:FUNC?",
        "SOUR{n}:FUNC {}",
        words=dict(zip(Function, ("SIN", "SQU", "TRI", "RAMP", "PULS", "PRBS", "NOIS", "ARB", "DC"), strict=True)),
        doc="What is played.",
    )
    frequency = Float(
        "SOUR{n}:FREQ?",
        "SOUR{n}:FREQ {}",
        unit="Hz",
        limits=lambda channel: Limit(1e-6, channel.instrument.greatest_frequency, "of the model for a sine"),
        doc="Repetition rate of the function.",
    )
    phase = Float(
        "SOUR{n}:PHAS?",
        "SOUR{n}:PHAS {}",
        unit="rad",
        wire=DEGREES,
        limits=(-2 * math.pi, 2 * math.pi),
        doc="Phase of the function.",
    )

    def _ends(self) -> tuple[float, float]:
        """Least and greatest voltage that the output may have now."""
        load = self.load
        peak = 10.0 if load == math.inf else 10.0 * load / (load + 50.0)
        return (max(-peak, self.lowest), min(peak, self.highest)) if self.protected else (-peak, peak)

    def _amplitude_limits(self) -> Limit:
        low, high = self._ends()
        offset = self.offset
        least = 2e-4 * high if high > 0 else 1e-3
        room = max(least, 2 * min(high - offset, offset - low))
        return Limit(least, room, f"the device's, with {offset:g} V offset into this load")

    def _offset_limits(self) -> Limit:
        low, high = self._ends()
        half = min(self.amplitude, high - low) / 2
        return Limit(low + half, high - half, "the device's, with the present amplitude into this load")

    def _amplitude(self) -> float:
        with self.instrument.exclusive():
            if self.unit == "VPP":
                return self.generator.ask_number(f"SOUR{self.number}:VOLT?")
            high, low = (self.generator.ask_number(f"SOUR{self.number}:VOLT:{end}?") for end in ("HIGH", "LOW"))
        return high - low

    def _set_amplitude(self, value: float) -> None:
        if self.unit != "VPP":
            self.generator.tell(f"SOUR{self.number}:VOLT:UNIT VPP")
        self.generator.tell(f"SOUR{self.number}:VOLT {value:.9g}")

    unit = Text("SOUR{n}:VOLT:UNIT?", doc="Unit of the front panel; setting the amplitude makes it VPP.")
    amplitude = Custom(
        float,
        _amplitude,
        _set_amplitude,
        unit="V",
        limits=_amplitude_limits,
        uses=("SOUR{n}:VOLT", "SOUR{n}:VOLT:HIGH", "SOUR{n}:VOLT:LOW", "SOUR{n}:VOLT:UNIT"),
    )
    offset = Float("SOUR{n}:VOLT:OFFS?", "SOUR{n}:VOLT:OFFS {}", unit="V", limits=_offset_limits)
    protected = Bool(
        "SOUR{n}:VOLT:LIM:STAT?", "SOUR{n}:VOLT:LIM:STAT {}", doc="Whether the voltage stays within the two limits."
    )
    lowest = Float(
        "SOUR{n}:VOLT:LIM:LOW?", "SOUR{n}:VOLT:LIM:LOW {}", unit="V", doc="Least voltage while it is protected."
    )
    highest = Float(
        "SOUR{n}:VOLT:LIM:HIGH?", "SOUR{n}:VOLT:LIM:HIGH {}", unit="V", doc="Greatest voltage while it is protected."
    )
    auto_range = Bool(
        "SOUR{n}:VOLT:RANG:AUTO?", "SOUR{n}:VOLT:RANG:AUTO {}", doc="Whether the output amplifier may switch by itself."
    )
    inverted = Bool("OUTP{n}:POL?", "OUTP{n}:POL {}", on="INV", off="NORM", doc="Whether the output is inverted.")
    sync = Bool("OUTP{n}:SYNC?", "OUTP{n}:SYNC {}", doc="Whether the sync connector gives a marker.")

    # Waveforms
    rate = Float(
        "SOUR{n}:FUNC:ARB:SRAT?",
        "SOUR{n}:FUNC:ARB:SRAT {}",
        unit="S/s",
        limits=lambda channel: channel.instrument.rates(),
        doc="Samples per second of this output.",
    ).moving("sample_rate")
    skew = Float("SOUR{n}:FUNC:ARB:SKEW:TIME?", "SOUR{n}:FUNC:ARB:SKEW:TIME {}", unit="s")
    selected = Text("SOUR{n}:FUNC:ARB?", quoted=True, doc="Name of the waveform that is selected.")
    filter = Choice(
        "SOUR{n}:FUNC:ARB:FILT?",
        "SOUR{n}:FUNC:ARB:FILT {}",
        words={Filter.NORMAL: ("NORM", "NORMAL"), Filter.STEP: "STEP", Filter.OFF: "OFF"},
        doc="Filter behind the converter.",
    )
    by_trigger = Bool(
        "SOUR{n}:FUNC:ARB:ADV?",
        "SOUR{n}:FUNC:ARB:ADV {}",
        on="TRIG",
        off="SRAT",
        replies_on=("TRIGGER",),
        replies_off=("SRATE",),
        doc="Whether each trigger gives one sample, instead of the clock.",
    )
    samples = Integer("SOUR{n}:FUNC:ARB:POIN?", doc="Samples of the waveform that is selected.")
    free = Integer("SOUR{n}:DATA:VOL:FREE?", doc="Samples that the memory still takes.")
    synchronise = Action("SOUR{n}:FUNC:ARB:SYNC", doc="Restart the waveforms of all outputs together.")

    # Triggers
    bursting = Bool(
        "SOUR{n}:BURS:STAT?", "SOUR{n}:BURS:STAT {}", doc="Whether a trigger starts `cycles` waveforms."
    ).moving("trigger_source")
    gated = Bool(
        "SOUR{n}:BURS:MODE?",
        "SOUR{n}:BURS:MODE {}",
        on="GAT",
        off="TRIG",
        replies_on=("GATED",),
        replies_off=("TRIGGERED",),
        doc="Whether it plays as long as the trigger is high.",
    )
    cycles = Integer(
        "SOUR{n}:BURS:NCYC?", "SOUR{n}:BURS:NCYC {}", limits=Limit(low=1), doc="Waveforms after one trigger."
    )
    burst_period = Float(
        "SOUR{n}:BURS:INT:PER?", "SOUR{n}:BURS:INT:PER {}", unit="s", doc="Time between bursts without a trigger."
    )
    burst_phase = Float(
        "SOUR{n}:BURS:PHAS?",
        "SOUR{n}:BURS:PHAS {}",
        unit="rad",
        wire=DEGREES,
        limits=(-2 * math.pi, 2 * math.pi),
        doc="Phase at which a burst begins.",
    )
    rising = Bool("TRIG{n}:SLOP?", "TRIG{n}:SLOP {}", on="POS", off="NEG", doc="Which edge of the input triggers.")
    triggers = Integer("TRIG{n}:COUN?", "TRIG{n}:COUN {}", limits=(1, 1_000_000), doc="Triggers after one arming.")
    delay = Float(
        "TRIG{n}:DEL?", "TRIG{n}:DEL {}", unit="s", limits=(0.0, 1000.0), doc="From the trigger to the waveform."
    )
    timer = Float(
        "TRIG{n}:TIM?", "TRIG{n}:TIM {}", unit="s", limits=(1e-6, 8000.0), doc="Period of the internal trigger."
    )

    @Uses("SOUR{n}:DATA:VOL:CAT?")
    def catalog(self) -> list[str]:
        """Names of the waveforms in this output's memory, the built-in ones among them."""
        reply = self.generator.ask(f"SOUR{self.number}:DATA:VOL:CAT?")
        return re.findall(r'"([^"]+)"', reply)

    @Uses("SOUR{n}:DATA:VOL:CLE")
    def clear(self) -> None:
        """Delete all waveforms of this output but the one that it plays; InstrumentError where it plays one."""
        self.generator.tell(f"SOUR{self.number}:DATA:VOL:CLE")

    @Uses("FORM:BORD", "SOUR{n}:DATA:ARB", "SOUR{n}:DATA:ARB:DAC")
    def upload(self, name: str, samples: NDArray[np.float64], markers: NDArray[np.uint8] | None = None) -> None:
        """Write a waveform into this output's memory; see `Output.upload`.

        The instrument can only delete all waveforms at once. A name is replaced where it is the only one; beside
        others it is an InputError: `clear`, then upload all again.
        """
        generator = self.generator
        self._check_name(name)
        if markers is not None:
            raise NotACapability(generator.name, "markers", "waveforms have none; `sync` gives one for each period")
        values = self.checked_waveform(samples, generator.greatest_memory)
        payload = np.rint(values * 32767).astype("<i2") if self.codes else values.astype("<f4")
        prefix = f"SOUR{self.number}:DATA:ARB{':DAC' if self.codes else ''} {name},"
        with generator.exclusive():
            was_selected = self._make_room(name, len(values))
            generator.tell("FORM:BORD SWAP")
            timeout = generator.timeout + payload.nbytes / 1e6
            generator.transport.write_block(prefix.encode(), payload, timeout=timeout)
            generator.wait_complete(timeout + 10.0)
            generator.check_errors(prefix)
            if was_selected:
                self.select(name)

    def _check_name(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            expected = "1 to 12 letters, digits and underscores, a letter first"
            raise InputError(
                f"the name {name!r}", source=self.instrument.name, key=self.path("name"), expected=expected
            )

    def _make_room(self, name: str, count: int) -> bool:
        """Delete what has this name; whether it was selected to be played."""
        here = {one.casefold() for one in self.catalog() if not one.startswith("INT:")}
        replaced = name.casefold() in here
        selected = replaced and self.function is Function.ARBITRARY and self.selected.casefold() == name.casefold()
        if replaced:
            if selected and self.output:
                raise InputError(f"the waveform {name} is playing", source=self.instrument.name, key=self.path("name"))
            if len(here) > 1:
                raise InputError(
                    f"the waveform {name} exists, beside {len(here) - 1} others",
                    source=self.instrument.name,
                    key=self.path("name"),
                    hint="This model deletes only all at once: call clear(), then upload all again",
                )
            if selected:
                self.function = Function.SINE
            self.clear()
        free = self.free
        if count > free:
            raise InputError(f"{count} samples do not fit into the memory", expected=f"at most {free} now")
        return selected

    @Uses("SOUR{n}:FUNC:ARB", "SOUR{n}:FUNC", "SOUR{n}:FUNC:ARB:SRAT")
    def select(self, name: str) -> None:
        r"""Play this waveform, from memory or a file such as ``INT:\BUILTIN\EXP_RISE.ARB``; the rate stays.

        The instrument would take the rate that is stored with the waveform.
        """
        stored = _STORED.fullmatch(name) is not None
        if not stored:
            self._check_name(name)
        generator = self.generator
        with generator.exclusive():
            rate = self.rate
            generator.tell(f"SOUR{self.number}:FUNC:ARB " + (f'"{name}"' if stored else name))
            self.function = Function.ARBITRARY
            self.rate = rate

    @Uses("SOUR{n}:DATA:ATTR:POIN?", "SOUR{n}:DATA:ATTR:PTP?", "SOUR{n}:DATA:ATTR:AVER?", "SOUR{n}:DATA:ATTR:CFAC?")
    def facts(self, name: str) -> dict[str, float]:
        """Samples ("points"), peak to peak ("span"), mean and crest factor of a waveform in memory, of full scale 1."""
        self._check_name(name)
        words = {"points": "POIN", "span": "PTP", "mean": "AVER", "crest": "CFAC"}
        prefix = f"SOUR{self.number}:DATA:ATTR"
        return {key: self.generator.ask_number(f"{prefix}:{word}? {name}") for key, word in words.items()}

    @Uses("MMEM:STOR:DATA", "MMEM:LOAD:DATA")
    def file(self, name: str, *, load: bool) -> None:
        """Load a waveform from the instrument's own file into memory, or store the one that is selected there."""
        self._check_name(name)
        verb = "LOAD" if load else "STOR"
        self.generator.tell(f'MMEM:{verb}:DATA{self.number} "INT:\\{name}.arb"', timeout=30.0)


class Keysight33500(ScpiInstrument, WaveformGenerator):
    """A waveform generator of the series 33500B and 33600A. Longer than most: two dozen settings of each output.

    Each output has its own memory and rate; `sample_rate` sets all, and has no value where they differ. FREE plays
    without a trigger; SOFTWARE and EXTERNAL play `cycles` waveforms after each trigger.
    """

    maker = "Keysight"
    models = tuple(_MODELS)
    sheet = "awg_keysight_33600a_33500b"
    identity_pattern = rf"(?i)(agilent|keysight).* ({'|'.join(_MODELS)})"
    timeout = 5.0
    left_out: ClassVar = reasons(
        {
            "*RST": "changes everything",
            "SOUR:APPL SOUR:APPL:ARB": "sets rate, amplitude and offset and switches the output on, all at once",
            "OUTP:SYNC:SOUR": "the sync connector follows the outputs' own switches",
            "SOUR:DATA:ARB2:FORM": "two outputs in one block (DATA:ARB2): an option",
            "SOUR:FUNC:ARB:FREQ SOUR:FUNC:ARB:PER": "the rate says the same",
            "SOUR:FUNC:ARB:PTP": "the amplitude says the same",
            "SOUR:FUNC:ARB:BAL": "needs the IQ option",
            "SOUR:DATA:SEQ": "the sheet does not give the format of its descriptor",
        }
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._outputs = {number: ArbOutput(self, number) for number in (1, 2)}
        self._count, self.greatest_frequency, self._greatest_rate = 2, 120e6, 1e9
        self.greatest_memory = WaveformMemory(8, 64_000_000)
        self._was_free = False

    def learn(self) -> None:
        """Take outputs, rates and memory from the model: there are no queries for them."""
        assert self._identity is not None
        model = self._identity.model
        if model not in _MODELS:
            raise SettingsChanged(f"{self.name}: found a {model}; the fact sheet has {', '.join(_MODELS)}")
        self._count, self.greatest_frequency, self._greatest_rate = _MODELS[model]
        small = model.startswith("335")
        self.greatest_memory = WaveformMemory(8, 16_000_000, 1, 16) if small else WaveformMemory(32, 64_000_000, 1, 14)

    def channels(self) -> Mapping[int, ArbOutput]:
        """The outputs; before it is open, both that there may be."""
        return {number: channel for number, channel in self._outputs.items() if number <= self._count}

    @property
    def memory(self) -> WaveformMemory:
        """What a waveform may be: at most what is free in each output's memory now."""
        most = self.greatest_memory
        longest = min(channel.free for channel in self.channels().values())
        return WaveformMemory(most.shortest, longest, most.granularity, most.bits)

    def rates(self) -> Limit:
        """Sample rates of the model."""
        return Limit(1e-6, self._greatest_rate, "of the model with the filter off")

    def _agreed(self, quantity: str) -> Any:
        found = {getattr(channel, quantity) for channel in self.channels().values()}
        if len(found) > 1:
            raise NotAValue(f"{self.name}: the outputs differ in their {quantity}: {sorted(found)}")
        return found.pop()

    def _set_rate(self, value: float) -> None:
        for channel in self.channels().values():
            channel.rate = value

    sample_rate = Custom(float, lambda self: float(self._agreed("rate")), _set_rate, unit="S/s", limits=rates)
    reference = Choice(
        "SOUR:ROSC:SOUR?",
        "SOUR:ROSC:SOUR {}",
        words={Reference.INTERNAL: "INT", Reference.EXTERNAL: "EXT"},
        done=OperationComplete(),
    )
    # The sheet has the bits; the query is SCPI's own.
    questionable = Custom(
        int,
        lambda self: round(self.ask_number("STAT:QUES:COND?")),
        unit="1",
        doc="Bits 1 and 2: outputs switched off by overload; 32: not locked.",
    )

    def _locked(self) -> bool:
        with self.exclusive():
            used = self.ask("SOUR:ROSC:SOUR:CURR?").upper()
            return used.startswith("EXT") and not self.questionable & _UNLOCKED

    reference_locked = Custom(bool, _locked, uses=("SOUR:ROSC:SOUR:CURR?",))

    def _trigger_source(self) -> Trigger:
        if not self._agreed("bursting"):
            return Trigger.FREE
        words = {self.ask(f"TRIG{number}:SOUR?") for number in self.channels()}
        if words == {"BUS"}:
            return Trigger.SOFTWARE
        if words == {"EXT"}:
            return Trigger.EXTERNAL
        raise NotAValue(f"{self.name}: bursts are started by {' and '.join(sorted(words))}")

    def _set_trigger_source(self, source: Trigger) -> None:
        self._was_free = False
        word = {Trigger.FREE: "IMM", Trigger.SOFTWARE: "BUS", Trigger.EXTERNAL: "EXT"}[source]
        for channel in self.channels().values():
            self.tell(f"TRIG{channel.number}:SOUR {word}")
            if source is not Trigger.FREE:
                channel.gated = False
            channel.bursting = source is not Trigger.FREE

    trigger_source = Custom(Trigger, _trigger_source, _set_trigger_source, uses=("TRIG{n}:SOUR",))
    align_phases = Action("PHAS:SYNC", doc="Restart the functions of all outputs with their set phases.")

    @Uses("INIT{n}:CONT", "INIT{n}")
    def arm(self) -> None:
        """Wait for the trigger, once; what plays freely plays."""
        self.energising("arm")
        with self.exclusive():
            if self._was_free:
                self.trigger_source = Trigger.FREE
            for number, channel in self.channels().items():
                if channel.bursting:
                    self.tell(f"INIT{number}:CONT 0")
                    self.tell(f"INIT{number}")

    @Uses("*TRG")
    def trigger(self) -> None:
        """Start by software."""
        self.energising("trigger")
        self.tell("*TRG")

    @Uses("ABOR", "INIT{n}:CONT")
    def stop(self) -> None:
        """Stop playing. What played freely waits for a software trigger from now on, until `arm` frees it again."""
        with self.exclusive():
            was_free = not all(channel.bursting for channel in self.channels().values())
            for number in self.channels():
                self.tell(f"INIT{number}:CONT 0")
            if was_free:
                self.trigger_source = Trigger.SOFTWARE
                self._was_free = True
            self.tell("ABOR")

    def safe_state(self) -> None:
        """Switch all outputs off, and read that back."""
        with self.unconditionally():
            model = self.identity().model
            count = _MODELS[model][0] if model in _MODELS else 2
            outputs = [self._outputs[number] for number in range(1, count + 1)]
            self.try_all(
                *(lambda number=one.number: self.force(f"OUTP{number} 0") for one in outputs),
                *(lambda one=one: self.confirm(one, "output", False) for one in outputs),
            )
