"""Keysight and Agilent InfiniiVision oscilloscopes, DSOX1000 and DSO/MSO-X 2000 to 6000 (SCPI, binary records)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labqdl.driver import (
    Action,
    Bool,
    Choice,
    Custom,
    Float,
    Integer,
    Listed,
    ScpiInstrument,
    Text,
    TextChannel,
    Uses,
    number_in,
)
from labqdl.instruments import Digitizer, Input, Limit, NotACapability, NotAValue, Record, Trigger, absent

_RUNNING = 8
_TOP = 0xFF00
"""Greatest code of the 8-bit converter in a 16-bit word; records of high resolution come closer to 0xFFFF."""


class Acquisition(StrEnum):
    """What is made of the samples."""

    NORMAL = "normal"
    AVERAGE = "average"
    HIGH_RESOLUTION = "high resolution"
    PEAK = "peak"


class Preamble(NamedTuple):
    """The ten fields that say what the codes of a record mean."""

    format: float
    type: float
    points: float
    averages: float
    x_increment: float
    x_origin: float
    x_reference: float
    y_increment: float
    y_origin: float
    y_reference: float

    def volts(self, codes: NDArray[np.uint16]) -> NDArray[np.float64]:
        """Voltages of codes, of the same shape."""
        volts = codes.astype(np.float64)
        volts -= self.y_reference
        volts *= self.y_increment
        volts += self.y_origin
        return volts


class ScopeInput(TextChannel, Input):
    """An input; `range` and `offset` are those before the probe."""

    kind = "input"

    enabled = Bool(":CHAN{n}:DISP?", ":CHAN{n}:DISP {}")
    range = Float(
        ":CHAN{n}:RANG?",
        ":CHAN{n}:RANG {}",
        unit="V",
        form=".6g",
        limits=lambda channel: Limit(8e-3 * channel.probe, 40.0 * channel.probe, "typical of the family"),
    )
    offset = Float(":CHAN{n}:OFFS?", ":CHAN{n}:OFFS {}", unit="V", form=".6g")
    impedance = Listed(
        ":CHAN{n}:IMP?", ":CHAN{n}:IMP {}", unit="Ohm", words={50.0: ("FIFT", "FIFTY"), 1e6: ("ONEM", "ONEMEG")}
    )
    ac_coupled = Bool(":CHAN{n}:COUP?", ":CHAN{n}:COUP {}", on="AC", off="DC", doc="Whether the input is AC coupled.")
    band_limited = Bool(":CHAN{n}:BWL?", ":CHAN{n}:BWL {}", doc="Whether the bandwidth is limited.")
    probe = Float(
        ":CHAN{n}:PROB?",
        ":CHAN{n}:PROB {}",
        unit="1",
        form=".6g",
        limits=(0.1, 1e4),
        doc="Factor by which the probe divides.",
    ).moving("range", "offset", "trigger_level")
    inverted = Bool(":CHAN{n}:INV?", ":CHAN{n}:INV {}", doc="Whether the signal is inverted.")
    settings = Text(":CHAN{n}?", doc="All settings of the input as the instrument lists them.")


class _Transferred(Integer):
    """How many samples are transferred: of what there is, and so nothing to compare after a lost connection."""

    derived = True


class InfiniiVision(ScpiInstrument, Digitizer):
    """An oscilloscope of the InfiniiVision family. A little longer than most: segments, and triggers in full.

    The rate follows from the time base (`duration`) and the memory; `record_length` is how many samples are
    transferred, at most those that there are. A shorter one leaves samples out, which `Record.interval` says. Inputs
    bear 5 V RMS at 50 Ohm. A trigger on an input is set with `trigger_input`; `trigger_source` then has no value.
    """

    maker = "Keysight"
    models = ("DSOX1102G", "DSO-X 2000A", "MSO-X 3000T", "MSO-X 4000A", "MSO-X 6000A")
    sheet = "scope_keysight_infiniivision"
    identity_pattern = r"(?i)(keysight|agilent).* (DSO|MSO|EDU)-?X ?\d{4}"
    error_query = ":SYST:ERR?"
    timeout = 5.0
    left_out: ClassVar = {
        ":DIG": "blocks the interface until a trigger comes; arm and wait do the same and can be given up",
        ":CHAN{n}:SCAL": "the range is eight divisions",
        ":CHAN{n}:UNIT": "probes of current are not used",
        ":TIM:SCAL": "the duration is ten divisions",
        **dict.fromkeys((":AUT", ":SYST:PRES", "*RST"), "changes everything"),
    }

    _count = 4

    def learn(self) -> None:
        """How many inputs there are: the last digit of the model's number."""
        assert self._identity is not None
        match = re.search(r"\d{3}([24])", self._identity.model)
        self._count = 4 if match is None else int(match[1])

    def channels(self) -> Mapping[int, ScopeInput]:
        """The inputs; before it is open, all that there may be."""
        return {number: ScopeInput(self, number) for number in range(1, self._count + 1)}

    # Time base and memory
    sample_rate = Float(
        ":ACQ:SRAT?",
        unit="S/s",
        read_only="the instrument chooses it from time base and memory; set `duration`",
    )
    memory_depth = Integer(":ACQ:POIN?", doc="Samples that were recorded.")
    record_length = _Transferred(":WAV:POIN?", (":WAV:POIN:MODE RAW", ":WAV:POIN {}"), limits=(100, 4_000_000))
    duration = Float(
        ":TIM:RANG?", ":TIM:RANG {}", unit="s", form=".6g", doc="Length of a record in time: ten divisions."
    )
    position = Float(
        ":TIM:POS?", ":TIM:POS {}", unit="s", form=".6g", doc="From the trigger to the point of reference."
    )
    reference_point = Text(":TIM:REF?", ":TIM:REF {}", doc="Where on the screen the trigger stands: LEFT, CENT, RIGH.")
    time_mode = Text(":TIM:MODE?", ":TIM:MODE {}", doc="MAIN, WIND, XY or ROLL; records need MAIN.")

    def _pre_trigger(self) -> float:
        with self.exclusive():
            if not self.reference_point.upper().startswith("CENT"):
                raise NotAValue(f"{self.name}: the point of reference is not in the centre; set pre_trigger")
            return self.duration / 2 - self.position

    def _set_pre_trigger(self, seconds: float) -> None:
        self.reference_point = "CENT"
        self.position = self.duration / 2 - seconds

    pre_trigger = Custom(
        float,
        _pre_trigger,
        _set_pre_trigger,
        unit="s",
        limits=lambda scope: Limit(0.0, scope.duration, "the record's length, see duration"),
        uses=(":TIM:REF", ":TIM:POS", ":TIM:RANG"),
        derived=True,
    )
    acquisition = Choice(
        ":ACQ:TYPE?",
        ":ACQ:TYPE {}",
        words={
            Acquisition.NORMAL: ("NORM", "NORMAL"),
            Acquisition.AVERAGE: ("AVER", "AVERAGE"),
            Acquisition.HIGH_RESOLUTION: ("HRES", "HRESOLUTION"),
            Acquisition.PEAK: "PEAK",
        },
        doc="What is made of the samples.",
    )
    averages = Integer(":ACQ:COUN?", ":ACQ:COUN {}", limits=Limit(low=1), doc="Records of an average.")

    def _segments(self) -> int:
        with self.exclusive():
            return round(self.ask_number(":ACQ:SEGM:COUN?")) if self._segmented() else 1

    def _segmented(self) -> bool:
        return self.ask(":ACQ:MODE?").upper().startswith("SEGM")

    def _set_segments(self, count: int) -> None:
        self.tell(f":ACQ:MODE {'SEGM' if count > 1 else 'RTIM'}")
        if count > 1:
            self.tell(f":ACQ:SEGM:COUN {count}")

    segments = Custom(
        int, _segments, _set_segments, unit="1", limits=Limit(low=1), uses=(":ACQ:MODE", ":ACQ:SEGM:COUN")
    )

    # Trigger
    trigger_mode = Text(":TRIG:MODE?", ":TRIG:MODE {}", doc="Kind of trigger: EDGE, GLIT and others.")
    trigger_input = Text(":TRIG:SOUR?", ":TRIG:SOUR {}", doc="What triggers: CHAN1 to CHAN4, EXT or LINE.")
    trigger_level = Float(":TRIG:LEV?", ":TRIG:LEV {}", unit="V", form=".6g")
    trigger_slope = Text(":TRIG:SLOP?", ":TRIG:SLOP {}", doc="Edge that triggers: POS, NEG, EITH or ALT.")
    untriggered = Bool(
        ":TRIG:SWE?",
        ":TRIG:SWE {}",
        on="AUTO",
        off="NORM",
        replies_off=("NORMAL",),
        doc="Whether it records without a trigger when none comes.",
    )
    hold_off = Float(":TRIG:HOLD?", ":TRIG:HOLD {}", unit="s", form=".6g", doc="Least time between triggers.")

    def _trigger_source(self) -> Trigger:
        with self.exclusive():
            if self.untriggered:
                return Trigger.FREE
            found = self.trigger_input
        if not found.upper().startswith("EXT"):
            raise NotAValue(f"{self.name}: {found} triggers, see trigger_input")
        return Trigger.EXTERNAL

    def _set_trigger_source(self, source: Trigger) -> None:
        if source is Trigger.SOFTWARE:
            raise NotACapability(self.name, "trigger that is software alone", "force_trigger works with every source")
        if source is Trigger.EXTERNAL:
            self.trigger_input = "EXT"
        self.untriggered = source is Trigger.FREE

    trigger_source = Custom(Trigger, _trigger_source, _set_trigger_source, uses=(":TRIG:SWE", ":TRIG:SOUR"))
    reference = absent("the sheet has no command for the time base's reference")
    reference_locked = absent("the sheet has no command for the time base's reference")

    # Acquisition
    run = Action(":RUN", doc="Record again and again.")
    condition = Integer(":OPER:COND?", doc="Operation bits; 8: running.")
    triggered = Bool(":TER?", doc="Whether there was a trigger since the last look.")

    @Uses(":SING", ":OPER:COND?", ":TER?")
    def arm(self) -> None:
        """Record once; returns when it runs, or has had its trigger already."""
        with self.exclusive():
            _ = self.triggered  # forgets triggers of before
            self.tell(":SING")
            self.wait_until(lambda: bool(self.condition & _RUNNING) or self.triggered, 5.0, "run")

    @Uses(":TRIG:FORC")
    def force_trigger(self) -> None:
        """Trigger by software."""
        self.tell(":TRIG:FORC")

    def wait(self, timeout: float) -> None:
        """Return when the record is complete; NotConfirmed after `timeout` seconds."""
        self.wait_until(lambda: not self.condition & _RUNNING, timeout, "have its record complete")

    @Uses(":STOP")
    def stop(self) -> None:
        """Stop acquiring."""
        self.tell(":STOP")

    @Uses(":WAV:POIN:MODE", ":WAV:POIN")
    def transfer_everything(self) -> None:
        """Stop, and let `fetch` transfer all samples of the memory."""
        with self.exclusive():
            self.stop()
            self.tell(":WAV:POIN:MODE RAW")
            self.tell(":WAV:POIN MAX")

    @Uses(":WAV:PRE?")
    def preamble(self) -> Preamble:
        """What the codes of the source's record mean."""
        reply = self.ask(":WAV:PRE?")
        try:
            return Preamble(*(number_in(field.strip()) for field in reply.split(",")))
        except (ValueError, TypeError):
            raise self.wrong_reply(":WAV:PRE?", reply, "ten numbers") from None

    @Uses(":WAV:DATA?")
    def codes(self, preamble: Preamble) -> NDArray[np.uint16]:
        """The source's record as it comes from the converter, shape (n,)."""
        return self.ask_block(":WAV:DATA?", "<u2", int(preamble.points))

    @Uses(":WAV:SOUR", ":WAV:FORM", ":WAV:BYT", ":WAV:UNS", ":WAV:POIN:MODE", ":ACQ:SEGM:IND")
    def fetch(self, channel: int) -> Record:
        """Transfer what an input recorded; the oscilloscope must have stopped.

        A code at either end of the converter means clipped or missing samples, and gives `overload`.
        """
        self.demand_input(channel)
        with self.exclusive():
            self.tell(f":WAV:SOUR CHAN{channel};:WAV:FORM WORD;:WAV:BYT LSBF;:WAV:UNS 1;:WAV:POIN:MODE RAW")
            segments = self.segments
            rows = []
            for segment in range(1, segments + 1):
                if segments > 1:
                    self.tell(f":ACQ:SEGM:IND {segment}")
                preamble = self.preamble()
                rows.append(self.codes(preamble))
        if len({len(row) for row in rows}) > 1:
            raise NotAValue(f"{self.name}: the segments have different lengths")
        codes = rows[0] if segments == 1 else np.stack(rows)
        overload = bool(codes.size) and (int(codes.min()) == 0 or int(codes.max()) >= _TOP)
        start = preamble.x_origin - preamble.x_reference * preamble.x_increment
        return Record(preamble.volts(codes), start, preamble.x_increment, overload)

    @Uses(":ACQ:SEGM:IND", ":WAV:SEGM:TTAG?")
    def segment_times(self) -> NDArray[np.float64]:
        """Times of all segments relative to the first, in s, shape (segments,)."""
        times = []
        with self.exclusive():
            for segment in range(1, self.segments + 1):
                self.tell(f":ACQ:SEGM:IND {segment}")
                times.append(self.ask_number(":WAV:SEGM:TTAG?"))
        return np.array(times)

    @Uses(":SYST:DSP")
    def show(self, text: str) -> None:
        """Write a text on the screen; "" takes it away."""
        self.tell(f':SYST:DSP "{Text.checked(_WORDS, self, text)}"')


_WORDS = Text(None, ":SYST:DSP {}", quoted=True, doc="A text for the screen.")
