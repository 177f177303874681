"""Tektronix AWG5200 and AWG70000 waveform generators (SCPI, waveforms as blocks)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labqdl.driver import Action, Bool, Choice, Custom, Float, Integer, ScpiInstrument, Text, TextChannel, Uses
from labqdl.errors import InputError
from labqdl.instruments import (
    Limit,
    LimitError,
    NotACapability,
    NotAValue,
    OperationComplete,
    Output,
    ReadBack,
    Reference,
    Trigger,
    WaveformGenerator,
    WaveformMemory,
    absent,
)

_MODEL = re.compile(r"AWG(52|7000)0?([1248])", re.IGNORECASE)
_RATES = {"AWG52": 2.5e9, "AWG70001": 50e9, "AWG70002": 25e9}
_BLOCK = 249_999_999
"""Most samples of one block: its length has nine digits."""


class RunState(StrEnum):
    """What the generator does."""

    STOPPED = "stopped"
    WAITING = "waiting"
    RUNNING = "running"


class RunMode(StrEnum):
    """How an output plays its waveform."""

    CONTINUOUS = "continuous"
    TRIGGERED = "triggered"
    TRIGGERED_CONTINUOUS = "triggered continuous"


@dataclass(frozen=True)
class Step:
    """A step of a sequence: one waveform for each track, `repeats` times (None: for ever).

    `wait` waits for trigger A first; `then` is "NEXT", "FIRST", "LAST" or the number of the step that follows.
    """

    waveforms: Sequence[str]
    repeats: int | None = 1
    wait: bool = False
    then: str | int = "NEXT"


class AwgOutput(TextChannel, Output):
    """An output. Voltages are those into 50 Ohm; changing clock or path switches the output off."""

    kind = "output"

    @property
    def generator(self) -> TektronixAWG:
        """The generator that it is part of."""
        return cast(TektronixAWG, self.instrument)

    output = Bool("OUTP{n}:STAT?", "OUTP{n}:STAT {}")
    signal_path = Text(
        "OUTP{n}:PATH?", "OUTP{n}:PATH {}", doc="5200: DCHB, DCHV, ACD or ACAM; 70000: DIR, DCAM, AC."
    ).moving("output", "amplitude", "offset")

    def _amplitude_limits(self) -> Limit:
        if self.generator.fast:
            return Limit(0.25, 0.5, "of the model")
        path = self.signal_path
        return Limit(0.25, 1.5 if path == "DCHB" else math.inf, f"of path {path}, without the option for 25 mV")

    def _offset_limits(self) -> Limit:
        path = self.signal_path
        if not path.startswith("DC"):
            raise NotACapability(self.generator.name, self.path("offset"), f"there is none on path {path}")
        return Limit(-2.0, 2.0, f"of path {path}")

    # The 70000 keeps the amplitude in dBm: the fourth digit may differ.
    amplitude = Float(
        "SOUR{n}:VOLT?", "SOUR{n}:VOLT {}", unit="V", limits=_amplitude_limits, done=ReadBack(relative=2e-3)
    )
    offset = Float("SOUR{n}:VOLT:LEV:IMM:OFFS?", "SOUR{n}:VOLT:LEV:IMM:OFFS {}", unit="V", limits=_offset_limits)
    load = absent("voltages refer to 50 Ohm; the sheet has no command")
    skew = absent("the sheet has no command")
    resolution = Integer(
        "SOUR{n}:DAC:RES?",
        "SOUR{n}:DAC:RES {}",
        limits=lambda channel: Limit(8, 10) if channel.generator.fast else Limit(12, 16),
        doc="Bits of the converter; each marker takes one of them.",
    )
    run_mode = Choice(
        "SOUR{n}:RMOD?",
        "SOUR{n}:RMOD {}",
        words={
            RunMode.CONTINUOUS: ("CONT", "CONTINUOUS"),
            RunMode.TRIGGERED: ("TRIG", "TRIGGERED"),
            RunMode.TRIGGERED_CONTINUOUS: ("TCON", "TCONTINUOUS"),
        },
        doc="How the waveform is played.",
    ).moving("trigger_source")
    trigger_a = Bool(
        "SOUR{n}:TINP?",
        "SOUR{n}:TINP {}",
        on="ATR",
        off="BTR",
        replies_on=("ATRIGGER",),
        replies_off=("BTRIGGER",),
        doc="Whether trigger input A counts, or B.",
    )
    first_while_waiting = Bool(
        "OUTP{n}:WVAL:ANAL:STAT?",
        "OUTP{n}:WVAL:ANAL:STAT {}",
        on="FIRST",
        off="ZERO",
        replies_on=("FIRS",),
        doc="Whether the first sample stands at the output while it waits, or 0.",
    )
    assigned = Text("SOUR{n}:CASS?", quoted=True, doc='Waveform that is played, or "sequence,track".')
    unassign = Action("SOUR{n}:CASS:CLEAR", doc="Play nothing.")

    @Uses("SOUR{n}:MARK{m}:VOLT:HIGH", "SOUR{n}:MARK{m}:VOLT:LOW")
    def set_marker(self, marker: int, low: float, high: float) -> None:
        """Voltages of a marker output, in V.

        Raises
        ------
        LimitError
            Outside of -1.4 to 1.4 V (70000), or -0.3 to 1.55 V low and -0.5 to 1.75 V high (5200).
        """
        ends = {"LOW": (-0.3, 1.55), "HIGH": (-0.5, 1.75)}
        for end, value in (("LOW", low), ("HIGH", high)):
            limits = Limit(*((-1.4, 1.4) if self.generator.fast else ends[end]), "of the model")
            if not limits.allows(value):
                raise LimitError(self.path(f"marker {marker}"), value, "V", limits, instrument=self.generator.name)
        for end, value in (("LOW", low), ("HIGH", high)):
            self.generator.tell(f"SOUR{self.number}:MARK{marker}:VOLT:{end} {value:.9g}")

    @Uses("WLIS:WAV:NEW", "WLIS:WAV:DEL", "WLIS:WAV:DATA")
    def upload(self, name: str, samples: NDArray[np.float64], markers: NDArray[np.uint8] | None = None) -> None:
        """Write a waveform into the list that all outputs share; see `Output.upload`.

        Markers need bits of this output's `resolution`; without them they are an InputError.
        """
        generator = self.generator
        generator.check_name(name)
        values = self.checked_waveform(samples, generator.memory)
        bits = None if markers is None else self._marker_bits(markers, len(values))
        with generator.exclusive():
            players = generator.make_room(name)
            generator.tell(f'WLIS:WAV:NEW "{name}",{len(values)}')
            generator.send_blocks("WLIS:WAV:DATA", name, values.astype("<f4"))
            if bits is not None:
                generator.send_blocks("WLIS:WAV:MARK:DATA", name, bits)
            generator.wait_complete(60.0)
            for player in players:
                player.select(name)

    def _marker_bits(self, markers: ArrayLike, count: int) -> NDArray[np.uint8]:
        generator = self.generator
        found = np.asarray(markers)
        most = 2 if generator.fast else 4
        if found.dtype.kind not in "bui" or found.shape != (count,) or found.min() < 0 or found.max() >= 1 << most:
            raise InputError(
                f"markers of shape {found.shape} and type {found.dtype}",
                source=generator.name,
                key=self.path("markers"),
                expected=f"{count} numbers from 0 to {(1 << most) - 1}",
            )
        used = int(found.max()).bit_length()
        free = (10 if generator.fast else 16) - self.resolution
        if used > free:
            raise InputError(
                f"marker {used} is used where the converter leaves bits for {free}",
                source=generator.name,
                key=self.path("markers"),
                hint="Set a lower resolution",
            )
        return (found.astype(np.uint8) << (6 if generator.fast else 4)).astype(np.uint8)

    @Uses("WLIS:WAV:MARK:DATA")
    def upload_markers(self, name: str, markers: NDArray[np.uint8]) -> None:
        """Write the markers of a waveform that is in the list; as `upload`, its samples stay."""
        generator = self.generator
        generator.check_name(name)
        bits = self._marker_bits(markers, len(markers))
        with generator.exclusive():
            generator.send_blocks("WLIS:WAV:MARK:DATA", name, bits)

    @Uses("SOUR{n}:CASS:WAV")
    def select(self, name: str) -> None:
        """Play this waveform of the list on the next start."""
        self.generator.check_name(name)
        self.generator.tell(f'SOUR{self.number}:CASS:WAV "{name}"')

    @Uses("SOUR{n}:CASS:SEQ")
    def select_sequence(self, name: str, track: int = 1) -> None:
        """Play a track of a sequence on the next start."""
        self.generator.check_name(name)
        self.generator.tell(f'SOUR{self.number}:CASS:SEQ "{name}",{track}')


class TektronixAWG(ScpiInstrument, WaveformGenerator):
    """An AWG5202, 5204, 5208, 70001 or 70002. Longer than most: outputs, markers and sequences.

    The waveform list is common to all outputs. Trigger A starts what is armed: the connector and `trigger` alike, so
    that there is no source SOFTWARE of its own. `master` off keeps all outputs off, however they are switched.
    The markers' bits of the 5200 are not certain in the fact sheet (bits 4 to 7 for markers 1 to 4).
    """

    maker = "Tektronix"
    models = ("AWG5202", "AWG5204", "AWG5208", "AWG70001A", "AWG70001B", "AWG70002A", "AWG70002B")
    sheet = "awg_tektronix_awg70000_5200"
    identity_pattern = r"(?i)tektronix AWG(520[248]|7000[12])"
    timeout = 10.0
    left_out: ClassVar = {
        "INST:MODE": "the function generator of the 70000 is not used",
        "WLIS:WAV:NORM": "samples come as they are to be played",
        "MMEM:CDIR": "files are given with their path",
        "MMEM:OPEN:SASS:SEQ": "sequences are built by command",
        "SLIS:SEQ:STEP{i}:EJIN": "event jumps: rare",
        "SLIS:SEQ:STEP{i}:EJUM": "event jumps: rare",
        "SYST:ERR:ALL": "errors are read one by one",
        "SYST:ERR:CODE": "errors are read with their text",
        "WLIS:SIZE": "the list says how long it is",
        "WLIS:NAME": "the list has all names",
    }

    # Until `learn` knows the model.
    _count = 8
    _greatest_rate = 50e9
    _memory = WaveformMemory(1, _BLOCK)
    fast = False
    """Whether it is a 70000."""

    @Uses("WLIS:WAV:LMIN?", "WLIS:WAV:LMAX?")
    def learn(self) -> None:
        """Outputs and greatest rate by the model; lengths of waveforms from the instrument."""
        assert self._identity is not None
        model = self._identity.model.upper()
        self._count = _count(model) or 8
        self.fast = model.startswith("AWG70")
        self._greatest_rate = next((rate for name, rate in _RATES.items() if model.startswith(name)), 2.5e9)
        ends = [round(self.ask_number(f"WLIS:WAV:{end}?")) for end in ("LMIN", "LMAX")]
        self._memory = WaveformMemory(ends[0], ends[1], 1, 10 if self.fast else 16)

    def channels(self) -> Mapping[int, AwgOutput]:
        """The outputs; before it is open, all that there may be."""
        return {number: AwgOutput(self, number) for number in range(1, self._count + 1)}

    @property
    def memory(self) -> WaveformMemory:
        """What a waveform may be."""
        return self._memory

    sample_rate = Float(
        "CLOC:SRAT?",
        "CLOC:SRAT {}",
        unit="S/s",
        limits=lambda generator: Limit(1.49e3, generator._greatest_rate, "of the model"),
        done=OperationComplete(30.0),
    ).moving("output")
    reference = Choice(
        "CLOC:SOUR?",
        "CLOC:SOUR {}",
        words={
            Reference.INTERNAL: ("INT", "INTERNAL"),
            Reference.EXTERNAL: ("EFIX", "EFIXED", "EVAR", "EVARIABLE", "EXT", "EXTERNAL"),
        },
        done=OperationComplete(30.0),
    ).moving("output")
    reference_locked = absent("the sheet has no query for it")
    external_clock = Float(
        "CLOC:ECL:FREQ?",
        "CLOC:ECL:FREQ {}",
        unit="Hz",
        limits=(6.25e9, 12.5e9),
        doc="Frequency of an external sampling clock.",
    ).unless(lambda generator: "" if generator.fast else "the sheet has its range for the 70000 only")
    master = Bool(
        "OUTP:OFF?",
        "OUTP:OFF {}",
        on="0",
        off="1",
        replies_on=("OFF",),
        replies_off=("ON",),
        energises=True,
        doc="Whether outputs that are switched on are on; off keeps all of them off.",
    )
    state = Choice(
        "AWGC:RST?",
        words={RunState.STOPPED: "0", RunState.WAITING: "1", RunState.RUNNING: "2"},
        doc="Whether it is stopped, waits for a trigger, or runs.",
    )
    options = Text("*OPT?", doc="Installed options.")

    def _trigger_source(self) -> Trigger:
        found = {channel.run_mode is RunMode.CONTINUOUS for channel in self.channels().values()}
        if len(found) > 1:
            raise NotAValue(f"{self.name}: some outputs are triggered and some play freely")
        return Trigger.FREE if found.pop() else Trigger.EXTERNAL

    def _set_trigger_source(self, source: Trigger) -> None:
        if source is Trigger.SOFTWARE:
            reason = "trigger A takes connector and command alike; set EXTERNAL, trigger() works then"
            raise NotACapability(self.name, "trigger source that is software alone", reason)
        for channel in self.channels().values():
            if source is Trigger.EXTERNAL:
                channel.trigger_a = True
            channel.run_mode = RunMode.CONTINUOUS if source is Trigger.FREE else RunMode.TRIGGERED

    trigger_source = Custom(Trigger, _trigger_source, _set_trigger_source, uses=("SOUR{n}:RMOD", "SOUR{n}:TINP"))

    @Uses("AWGC:RUN", "AWGC:RST?")
    def arm(self) -> None:
        """Run; returns when it waits for its trigger, or plays freely."""
        self.energising("arm")
        with self.exclusive():
            self.tell("AWGC:RUN")
            self.wait_until(lambda: self.state is not RunState.STOPPED, 10.0, "run", interval=0.05)

    @Uses("TRIG:IMM")
    def trigger(self) -> None:
        """Trigger A by software."""
        self.energising("trigger")
        self.tell("TRIG:IMM ATR")

    @Uses("AWGC:STOP", "AWGC:RST?")
    def stop(self) -> None:
        """Stop playing."""
        with self.exclusive():
            self.tell("AWGC:STOP")
            self.wait_until(lambda: self.state is RunState.STOPPED, 10.0, "stop", interval=0.05)

    def check_name(self, name: str) -> None:
        """InputError for a name that lists could not show: lists are cut at commas and nothing is escaped."""
        if not re.fullmatch(r'[^",\x00-\x1f\x7f-\U0010ffff]+', name):
            raise InputError(
                f"the name {name!r}", source=self.name, key="name", expected="printable ASCII, no quotes or commas"
            )

    @Uses("WLIS:LIST?")
    def waveforms(self) -> list[str]:
        """Names of all waveforms in the list."""
        names = self.ask("WLIS:LIST?").strip('"')
        return names.split(",") if names else []

    def make_room(self, name: str) -> list[AwgOutput]:
        """Delete the waveform of this name, if there is one; the outputs that it was assigned to."""
        if name not in self.waveforms():
            return []
        players = [channel for channel in self.channels().values() if channel.assigned == name]
        if players and self.state is not RunState.STOPPED:
            raise InputError(f"the waveform {name} is playing", source=self.name, key="name", hint="Call stop() first")
        self.tell(f'WLIS:WAV:DEL "{name}"')
        return players

    def send_blocks(self, command: str, name: str, data: NDArray[Any]) -> None:
        """Send data of a waveform in as few blocks as their length allows."""
        for start in range(0, len(data), _BLOCK):
            part = data[start : start + _BLOCK]
            prefix = f'{command} "{name}",{start},{len(part)},'
            self.transport.write_block(prefix.encode(), part, timeout=self.timeout + part.nbytes / 1e6)
            self.check_errors(prefix)

    @Uses("WLIS:WAV:LENG?", "WLIS:WAV:DATA?")
    def download(self, name: str) -> NDArray[np.float32]:
        """Samples of a waveform in the list, shape (n,), from -1 to 1."""
        self.check_name(name)
        with self.exclusive():
            count = round(self.ask_number(f'WLIS:WAV:LENG? "{name}"'))
            parts = []
            for start in range(0, count, _BLOCK):
                size = min(_BLOCK, count - start)
                command = f'WLIS:WAV:DATA? "{name}",{start},{size}'
                parts.append(self.ask_block(command, "<f4", size))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @Uses("SLIS:SEQ:NEW", "SLIS:SEQ:STEP{i}:TASS{t}:WAV", "SLIS:SEQ:STEP{i}:RCO", "SLIS:SEQ:STEP{i}:GOTO")
    def sequence(self, name: str, steps: Sequence[Step]) -> None:
        """Make a new sequence of these steps, numbered from 1; InstrumentError where the name exists."""
        for one in (name, *(waveform for step in steps for waveform in step.waveforms)):
            self.check_name(one)
        with self.exclusive():
            self.tell(f'SLIS:SEQ:NEW "{name}",{len(steps)}')
            for number, step in enumerate(steps, 1):
                prefix = f"SLIS:SEQ:STEP{number}"
                for track, waveform in enumerate(step.waveforms, 1):
                    self.tell(f'{prefix}:TASS{track}:WAV "{name}","{waveform}"')
                self.tell(f'{prefix}:RCO "{name}",{"INF" if step.repeats is None else step.repeats}')
                self.tell(f'{prefix}:GOTO "{name}",{step.then}')
                self._wait_input(prefix, name, step.wait)

    @Uses("SLIS:SEQ:STEP{i}:WINP")
    def _wait_input(self, prefix: str, name: str, wait: bool) -> None:
        self.tell(f'{prefix}:WINP "{name}",{"ATR" if wait else "OFF"}')

    @Uses("MMEM:OPEN")
    def load_file(self, path: str) -> None:
        """Load a waveform file (WFMX) that is on the instrument's disk into the list."""
        self.tell(f'MMEM:OPEN "{path}"')
        self.wait_complete(300.0)

    @Uses("MMEM:DATA", "MMEM:DEL")
    def write_file(self, path: str, data: bytes) -> None:
        """Write a file, such as a WFMX one, to the instrument's disk."""
        prefix = f'MMEM:DATA "{path}",'
        with self.exclusive():
            self.transport.write_block(prefix.encode(), data, timeout=self.timeout + len(data) / 1e6)
            self.check_errors(prefix)

    def delete_file(self, path: str) -> None:
        """Delete a file from the instrument's disk; InstrumentError -256 where there is none."""
        self.tell(f'MMEM:DEL "{path}"')

    @Uses("MMEM:DATA:SIZE?", "MMEM:DATA?")
    def read_file(self, path: str) -> bytes:
        """Content of a file on the instrument's disk."""
        with self.exclusive():
            size = round(self.ask_number(f'MMEM:DATA:SIZE? "{path}"'))
            return self.ask_block(f'MMEM:DATA? "{path}",0,{size}', np.uint8, size).tobytes()

    def safe_state(self) -> None:
        """Switch all outputs off, each by its own switch, and read that back."""
        with self.unconditionally():
            outputs = [AwgOutput(self, number) for number in range(1, (_count(self.identity().model) or 8) + 1)]
            self.try_all(
                *(lambda number=one.number: self.force(f"OUTP{number}:STAT 0") for one in outputs),
                *(lambda one=one: self.confirm(one, "output", False) for one in outputs),
            )


def _count(model: str) -> int | None:
    """Outputs of a model: the last digit of its number."""
    match = _MODEL.match(model)
    return None if match is None else int(match[2])
