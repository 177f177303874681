"""Red Pitaya boards: the two fast outputs as a waveform generator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.driver import (
    DEGREES,
    MICRO,
    Action,
    Bool,
    Choice,
    Custom,
    Float,
    Integer,
    Scale,
    TextChannel,
    Uses,
    reasons,
)
from labqdl.errors import InputError
from labqdl.instruments import (
    Limit,
    NotACapability,
    NotAValue,
    Output,
    Part,
    Trigger,
    WaveformGenerator,
    WaveformMemory,
    absent,
)
from labqdl_drivers.boards.redpitaya import ACQUISITION, ANALOG, COMMON, DIGITAL, RedPitayaBoard


class Shape(StrEnum):
    """Function of a fast output."""

    SINE = "sine"
    SQUARE = "square"
    TRIANGLE = "triangle"
    SAW_UP = "sawu"
    SAW_DOWN = "sawd"
    PWM = "pwm"
    DC = "dc"
    DC_NEGATIVE = "dc_neg"
    ARBITRARY = "arbitrary"


class _Level(Float):
    """Amplitude or offset, which share the range of 1 V: what the other one may be follows from what was set."""

    def store(self, part: Part, value: float) -> None:
        """Set it."""
        assert isinstance(part, FastOutput)
        super().store(part, value)
        part.held[self.name] = value


class FastOutput(TextChannel, Output):
    """A fast output. Its memory holds one waveform, that of the last `upload`, and plays it in 1 / `frequency`."""

    def __init__(self, parent: RedPitayaGenerator, number: int) -> None:
        super().__init__(parent, number)
        self.board = parent
        self.held: dict[str, float] = {"amplitude": 0.0, "offset": 0.0}
        self.waveform: str | None = None

    def _amplitudes(self) -> Limit:
        return Limit(0.0, 2 * (1 - abs(self.held["offset"])), "of the output: peak and offset together 1 V")

    def _offsets(self) -> Limit:
        most = 1 - self.held["amplitude"] / 2
        return Limit(-most, most, "of the output: peak and offset together 1 V")

    output = Bool("OUTPUT{n}:STATE?", "OUTPUT{n}:STATE {}", on="ON", off="OFF")
    amplitude = _Level("SOUR{n}:VOLT?", "SOUR{n}:VOLT {}", unit="V", wire=Scale(2.0), limits=_amplitudes)
    offset = _Level("SOUR{n}:VOLT:OFFS?", "SOUR{n}:VOLT:OFFS {}", unit="V", limits=_offsets)
    load = Custom(float, lambda _: 50.0, unit="Ohm", read_only="voltages are those into 50 Ohm; there is no command")
    skew = absent("the sheet has a phase (see there) and no delay")
    shape = Choice(
        "SOUR{n}:FUNC?",
        "SOUR{n}:FUNC {}",
        words={one: one.value.upper() for one in Shape},
        doc="Function that is played.",
    )
    frequency = Float(
        "SOUR{n}:FREQ:FIX?", "SOUR{n}:FREQ:FIX {}", unit="Hz", limits=(0.0, 62.5e6), doc="Repetitions per second."
    )
    phase = Float(
        "SOUR{n}:PHAS?",
        "SOUR{n}:PHAS {}",
        unit="rad",
        wire=DEGREES,
        limits=(-2 * math.pi, 2 * math.pi),
        doc="Phase at which it starts.",
    )
    duty = Float("SOUR{n}:DCYC?", "SOUR{n}:DCYC {}", unit="1", limits=(0.0, 1.0), doc="Duty cycle of shape PWM.")
    burst_cycles = Integer("SOUR{n}:BURS:NCYC?", "SOUR{n}:BURS:NCYC {}", limits=(1, 50_000), doc="Periods of a burst.")
    bursts = Integer("SOUR{n}:BURS:NOR?", "SOUR{n}:BURS:NOR {}", limits=(1, 50_000), doc="Bursts after a trigger.")
    burst_period = Float(
        "SOUR{n}:BURS:INT:PER?",
        "SOUR{n}:BURS:INT:PER {}",
        unit="s",
        wire=MICRO,
        form=".0f",
        limits=(1e-6, 500.0),
        doc="Time from burst to burst.",
    )

    @Uses("SOUR{n}:TRAC:DATA:DATA")
    def upload(self, name: str, samples: NDArray[np.float64], markers: NDArray[np.uint8] | None = None) -> None:
        """Write a waveform as text with six decimals; it replaces the one that was there, whatever its name."""
        if markers is not None:
            raise NotACapability(self.board.name, f"{self.label} markers", "the sheet has none")
        values = self.checked_waveform(samples, self.board.memory)
        with self.board.exclusive():
            if self.output and self.shape is Shape.ARBITRARY:
                raise InputError(
                    "the waveform is playing", source=self.board.name, key=self.path("samples"), expected="output off"
                )
            self.waveform = None
            self.board.tell(f"SOUR{self.number}:TRAC:DATA:DATA {','.join(np.char.mod('%.6f', values).tolist())}")
            self.waveform = name

    def select(self, name: str) -> None:
        """Play the waveform that was uploaded; InputError for another one."""
        if name != self.waveform:
            expected = "nothing was uploaded" if self.waveform is None else repr(self.waveform)
            raise InputError(f"no waveform {name!r}", source=self.board.name, key=self.label, expected=expected)
        self.shape = Shape.ARBITRARY


class RedPitayaGenerator(RedPitayaBoard, WaveformGenerator):
    """The two fast outputs, -1 to 1 V into 50 Ohm, 14 bits.

    A generator that runs cannot be told to stop: switch its outputs off. A waveform of n samples is played n times
    `frequency` samples a second, each output with its own.
    """

    left_out: ClassVar = reasons(
        COMMON | {ACQUISITION: "driver redpitaya", DIGITAL: "driver redpitaya-io", ANALOG: "driver redpitaya-source"}
    )

    sample_rate = Custom(
        float, lambda _: 125e6, unit="S/s", read_only="the converters always run at 125 MS/s; see frequency"
    )
    reference = absent("the sheet has no command for the clock")
    reference_locked = absent("the sheet has no command for the clock")
    align = Action("PHAS:ALIGN", doc="Start both outputs in phase.")
    _outputs: Mapping[int, FastOutput] = {}

    def channels(self) -> Mapping[int, FastOutput]:
        """The outputs, 1 and 2."""
        self._outputs = self._outputs or {number: FastOutput(self, number) for number in (1, 2)}
        return self._outputs

    def learn(self) -> None:
        """Read amplitudes and offsets, which limit each other."""
        for one in self.channels().values():
            one.held = {"amplitude": one.amplitude, "offset": one.offset}

    @property
    def memory(self) -> WaveformMemory:
        """Up to 16384 samples of 14 bits."""
        return WaveformMemory(1, 16_384)

    def _source(self) -> Trigger:
        source, mode = self.ask("SOUR1:TRIG:SOUR?"), self.ask("SOUR1:BURS:STAT?")
        match source.upper(), mode.upper():
            case "INT", "CONTINUOUS":
                return Trigger.FREE
            case "INT", "BURST":
                return Trigger.SOFTWARE
            case "EXT_PE", _:
                return Trigger.EXTERNAL
        raise NotAValue(f"{self.name}: trigger {source} in mode {mode} is none that a generator's class has")

    def _set_source(self, source: Trigger) -> None:
        for number in self.channels():
            self.tell(f"SOUR{number}:BURS:STAT {'CONTINUOUS' if source is Trigger.FREE else 'BURST'}")
            self.tell(f"SOUR{number}:TRIG:SOUR {'EXT_PE' if source is Trigger.EXTERNAL else 'INT'}")

    trigger_source = Custom(Trigger, _source, _set_source, uses=("SOUR{n}:TRIG:SOUR", "SOUR{n}:BURS:STAT"))

    def arm(self) -> None:
        """Start where the source is FREE; a generator of any other source waits for it already."""
        if self.trigger_source is Trigger.FREE:
            self.trigger()

    @Uses("SOUR{n}:TRIG:INT")
    def trigger(self) -> None:
        """Start both outputs by software."""
        self.energising("trigger")
        for number in self.channels():
            self.tell(f"SOUR{number}:TRIG:INT")

    def stop(self) -> None:
        """Not a capability: NotACapability."""
        raise NotACapability(self.name, "way to stop", "the sheet has no such command; switch the outputs off")

    @Uses("GEN:RST")
    def reset(self) -> None:
        """Back to the server's defaults (outputs off); what was set before is forgotten here, too."""
        with self.exclusive():
            self.tell("GEN:RST")
            self._settings.clear()
            self.learn()

    def safe_state(self) -> None:
        """Both outputs off, and read that back."""
        with self.unconditionally():
            self.try_all(
                *(lambda n=number: self.force(f"OUTPUT{n}:STATE OFF") for number in self.channels()),
                *(lambda one=one: self.confirm(one, "output", False) for one in self.channels().values()),
            )
