"""ID Quantique ID900 and ID1000 time controllers as counters, over ZeroMQ."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.driver import (
    Action,
    Bool,
    Choice,
    Custom,
    Float,
    Integer,
    ScpiInstrument,
    TextChannel,
    Uses,
    number_in,
    reasons,
)
from labqdl.errors import InputError
from labqdl.instruments import CounterInput, Limit, NotAValue, PhotonCounter, ReadBack
from labqdl.transport import Framing, InstrumentError, Whole

MILLISECOND = 1e-3
PICOSECOND = 1e-12


class Coupling(StrEnum):
    """Coupling of an input."""

    DC = "dc"
    AC = "ac"


class Edge(StrEnum):
    """Edge that is counted."""

    RISING = "rising"
    FALLING = "falling"


class Resolution(StrEnum):
    """Time base of an ID1000: 1 ps or 100 ps."""

    HIGH = "high"
    LOW = "low"


def _no_time_base(counter: ID900) -> str:
    return "" if counter.time_base else "the unit does not tell its time base, in which delays are counted"


class TimedInput(TextChannel, CounterInput):
    """One of the four inputs. Delays are rounded to the time base; block n delays input n."""

    @property
    def counter(self) -> ID900:
        """The time controller."""
        assert isinstance(self.instrument, ID900)
        return self.instrument

    enabled = Bool("INPU{n}:ENAB?", "INPU{n}:ENAB {}", on="ON", off="OFF")
    threshold = Float(
        "INPU{n}:THRE?",
        "INPU{n}:THRE {}V",
        unit="V",
        form=".6g",
        suffix="V",
        limits=Limit(-2.5, 2.5, "of the data sheet"),
    )
    counts = Integer("INPU{n}:COUN?")
    coupling = Choice(
        "INPU{n}:COUP?",
        "INPU{n}:COUP {}",
        words={Coupling.DC: "DC", Coupling.AC: "AC"},
        doc="Coupling of the discriminator.",
    )
    edge = Choice(
        "INPU{n}:EDGE?",
        "INPU{n}:EDGE {}",
        words={Edge.RISING: "RISING", Edge.FALLING: "FALLING"},
        doc="Edge that is counted.",
    )
    shaped = Bool(
        "INPU{n}:SELE?",
        "INPU{n}:SELE {}",
        on="SHAPED",
        off="UNSHAPED",
        doc="Whether the pulse shaper is used.",
    )
    trouble = Integer(
        "INPU{n}:HIRES:ERROR?",
        doc="State of the high resolution: 0 in order, 1 to recalibrate, 1001 to 1003 rate or threshold.",
    )
    clear_trouble = Action("INPU{n}:HIRES:ERROR:CLEAR", doc="Forget the trouble.")

    def _delay(self) -> float:
        command = f"DELA{self.number}:VALU?"
        reply = self.counter.ask(command)
        try:
            return number_in(reply, "TB") * self.counter.time_base
        except ValueError:
            raise self.counter.wrong_reply(command, reply, "a number of time bases such as 1000TB") from None

    def _set_delay(self, seconds: float) -> None:
        link = "LINK" if self.counter.is_id1000 else "INPO:LINK"
        self.counter.tell(f"DELA{self.number}:{link} INPU{self.number}")
        self.counter.tell(f"DELA{self.number}:VALU {round(seconds / self.counter.time_base)}")

    delay = Custom(
        float,
        _delay,
        _set_delay,
        unit="s",
        rounds=lambda one, seconds: round(seconds / one.counter.time_base) * one.counter.time_base,
        done=ReadBack(),
        uses=("DELA{k}:VALU", "DELA{k}:INPO:LINK", "DELA{k}:LINK"),
    ).unless(lambda one: _no_time_base(one.counter))


class ID900(ScpiInstrument, PhotonCounter):
    """Four counters with one gate.

    The resource is ``zmq://HOST:5555``. A set is answered with an empty message, or with an error. The unit of the gate
    on an ID1000 is not certain: there the gate is left as it stands. The text of ``*IDN?`` is not in the sheet, so any
    that names the maker or the model will do. Time stamps are written into files by the maker's data-link service;
    `time_stamps` reads them. (Over 300 lines: two models, histograms, and a long list of what is left out.)
    """

    maker = "ID Quantique"
    models = ("ID900", "ID1000")
    sheet = "tagger_idq_id900_id1000"
    identity_pattern = r"(?i)ID ?quantique|IDQ|ID ?900|ID ?1000"
    idn_fields = 1
    error_query = None
    framing: ClassVar[Framing] = Whole()
    left_out: ClassVar = reasons(
        {
            "DEVI:CONF:LOAD TSCO{m}:COUN TSCO{m}:OPIN TSCO{m}:OPOU TSCO{m}:FIR:LINK TSCO{m}:WIND:ENAB TSCO{m}:WIND:END "
            "TSCO{m}:WIND:BEGI:LINK TSCO{m}:WIND:BEGI:DELA TSCO{m}:WIND:BEGI:EDGE": "coincidences are in time stamps",
            "INPU{n}:RESY INPU{n}:MODE": "the sheet has one value of each",
            "STAR:ENAB STAR:COUP STAR:EDGE STAR:THRE STAR:SELE STAR:RESY STAR:MODE": "the start input has no counter",
            "REC:TRIG:ARM:MODE REC:ENAB REC:NUM REC:DUR REC:PLAY REC:STOP TSGE{k}:ONES:PWID TSGE{k}:ENAB "
            "TSGE{k}:MODE": "the acquisition timer differs by model; gates are what the class counts with",
            "RAW{n}:SEND TSST{n}:DATA:RAW:SEND TSST{n}:DATA:RAW:ERRORS TSST{n}:DATA:RAW:ERRORS:CLEAR start-save "
            "start-stream stop activate disactivate": "time stamps go to the maker's service on the computer",
            "GEN{k}:ENAB GEN{k}:PPER GEN{k}:PWID GEN{k}:PNUM GEN{k}:PLAY OUTP{n}:ENAB OUTP{n}:MODE "
            "OUTP{n}:LINK": "a counter emits nothing",
        }
    )

    time_base = 0.0
    """Seconds of one step of delays; 0 where the unit does not tell."""
    is_id1000 = False
    inputs = (1, 2, 3, 4)

    @Uses("DEVI:RES:BWID?")
    def learn(self) -> None:
        """Find out the model, and the time base where it is told."""
        self.is_id1000 = "1000" in self.identity().model
        self._learn_time_base()

    def _learn_time_base(self) -> None:
        command = "DEVI:RES:BWID?"
        try:
            reply = self.ask(command)
        except InstrumentError:
            self.time_base = 0.0
            return
        try:
            self.time_base = number_in(reply) * PICOSECOND
        except ValueError:
            raise self.wrong_reply(command, reply, "a number of ps") from None

    def channels(self) -> Mapping[int, TimedInput]:
        """The inputs, from 1."""
        return {number: TimedInput(self, number) for number in self.inputs}

    def _resolution(self) -> Resolution:
        self._learn_time_base()
        if not self.time_base:
            raise NotAValue(f"{self.name}: the unit does not tell its time base")
        return Resolution.HIGH if self.time_base < 50 * PICOSECOND else Resolution.LOW

    def _set_resolution(self, resolution: Resolution) -> None:
        self.tell(f"DEVI:RES {'HIRES' if resolution is Resolution.HIGH else 'LOWRES'}")
        self._learn_time_base()

    resolution = Custom(
        Resolution,
        _resolution,
        _set_resolution,
        uses=("DEVI:RES", "DEVI:RES:BWID?"),
        doc="Time base; delays keep their number of steps, so set them afterwards.",
    ).unless(lambda counter: "" if counter.is_id1000 else "only an ID1000 can choose its time base")
    recalibrate = Action("DEVI:SAMP:RECA", doc="Recalibrate the high resolution.")

    def _gate(self) -> float:
        values = set(self._asked("INPU{}:COUN:INTE?", self.inputs))
        if len(values) > 1:
            raise NotAValue(f"{self.name}: the inputs have different gates, {sorted(values)} ms; set gate_time")
        return values.pop() * MILLISECOND

    def _set_gate(self, seconds: float) -> None:
        for number in self.inputs:
            self.tell(f"INPU{number}:COUN:MODE CYCL;INTE {round(seconds / MILLISECOND)};RESEt")

    gate_time = Custom(
        float,
        _gate,
        _set_gate,
        unit="s",
        limits=Limit(low=MILLISECOND, reason="of the counter: whole milliseconds"),
        rounds=lambda _, seconds: round(seconds / MILLISECOND) * MILLISECOND,
        done=ReadBack(),
        uses=("INPU{n}:COUN:MODE", "INPU{n}:COUN:INTE", "INPU{n}:COUN:RESE"),
    ).unless(lambda counter: "the sheet is not certain of its unit on an ID1000" if counter.is_id1000 else "")

    @Uses("INPU{n}:COUN:RESE")
    def restart(self) -> None:
        """Begin a new gate on all inputs."""
        self.tell(";:".join(f"INPU{number}:COUN:RESE" for number in self.inputs))

    def counts_of(self, *inputs: int) -> NDArray[np.int64]:
        """Events in the last complete gate of several inputs, asked for in one message."""
        unknown = set(inputs) - set(self.inputs)
        if unknown or not inputs:
            raise InputError(f"no inputs {sorted(unknown)}", source=self.name, expected="some of the inputs 1 to 4")
        return np.array(self._asked("INPU{}:COUN?", inputs), dtype=np.int64)

    @Uses(
        "HIST{i}:INPO:REF:LINK", "HIST{i}:REF:LINK", "HIST{i}:STOP:LINK", "HIST{i}:BCOU", "HIST{i}:BWID", "HIST{i}:MIN"
    )
    def set_histogram(
        self, histogram: int, *, reference: str, stop: str, bins: int, width: float, start: float = 0.0
    ) -> None:
        """Wire a histogram (1 to 4) of delays between two sources such as STAR and INPU1; times in s."""
        if not (1 <= histogram <= 4 and 1 <= bins <= 16_384 and width >= PICOSECOND):
            expected = "histogram 1 to 4, 1 to 16384 bins of at least 1 ps"
            raise InputError(f"{histogram}, {bins} bins of {width:g} s", source=self.name, expected=expected)
        path = f"HIST{histogram}:" + ("" if self.is_id1000 else "INPO:")
        with self.exclusive():
            self.tell(f"{path}REF:LINK {reference};:{path}STOP:LINK {stop}")
            times = f"BWID {round(width / PICOSECOND)};MIN {round(start / PICOSECOND)}"
            self.tell(f"HIST{histogram}:BCOU {bins};{times};FLUS")

    @Uses("HIST{i}:FLUS")
    def clear_histogram(self, histogram: int) -> None:
        """Begin a histogram anew."""
        self.tell(f"HIST{histogram}:FLUS")

    @Uses("HIST{i}:DATA?")
    def histogram(self, histogram: int) -> NDArray[np.int64]:
        """Counts in the bins, shape (bins,)."""
        command = f"HIST{histogram}:DATA?"
        reply = self.ask(command)
        try:
            if reply[:1] != "[" or reply[-1:] != "]":
                raise ValueError(reply)
            return np.array(reply[1:-1].split(",") if len(reply) > 2 else [], dtype=np.int64)
        except ValueError:
            raise self.wrong_reply(command, reply[:60], "a list such as [0,3,12]") from None

    recording = Custom(
        bool,
        lambda counter: counter.ask("REC:STAG?") == "PLAYING",
        uses=("REC:STAG?",),
        doc="Whether the acquisition timer runs.",
    ).unless(lambda counter: "" if counter.is_id1000 else "the acquisition timer of an ID900 is another one")

    def ask(self, command: str, *, timeout: float | None = None) -> str:
        """Send a message; InstrumentError where the reply names an error."""
        reply = super().ask(command, timeout=timeout)
        if "SCPI_ERR_" in reply:
            raise self.transport.complain(InstrumentError(reply), command.encode())
        return reply

    def tell(self, command: str, *, timeout: float | None = None) -> None:
        """Send a message that sets something; its answer must be empty."""
        reply = self.ask(command, timeout=timeout)
        if reply:
            raise self.wrong_reply(command, reply, "an empty message (accepted)")

    def _asked(self, template: str, inputs: tuple[int, ...]) -> list[int]:
        """Whole numbers from several inputs in one message."""
        command = ";:".join(template.format(number) for number in inputs)
        reply = self.ask(command)
        try:
            numbers = [int(line) for line in reply.split("\n")]
            if len(numbers) != len(inputs):
                raise ValueError(reply)
        except ValueError:
            raise self.wrong_reply(command, reply, f"{len(inputs)} lines with a whole number each") from None
        return numbers


def time_stamps(content: bytes, *, referenced: bool) -> NDArray[np.uint64]:
    """Events in a binary file of the data-link service, in time bases, shape (n,).

    `referenced` files have two columns, shape (n, 2): time, and index of the reference pulse. ValueError for half an
    event.
    """
    words = np.frombuffer(content, "<u8").astype(np.uint64)
    return words.reshape(-1, 2) if referenced else words
