"""Red Pitaya STEMlab boards: the common dialect, and the two fast inputs as a digitizer."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

import numpy as np

from labqdl.driver import (
    Bool,
    Custom,
    Float,
    Integer,
    Listed,
    ScpiInstrument,
    Text,
    TextChannel,
    Uses,
    number_in,
    reasons,
)
from labqdl.errors import InputError
from labqdl.instruments import Digitizer, Input, Limit, NotConfirmed, Part, Record, Trigger, absent
from labqdl.transport import Framing, Line

HALF = 8192
"""Samples of the buffer before the trigger while the trigger delay is 0."""
ACQUISITION = (
    "ACQ:RST ACQ:START ACQ:STOP ACQ:DEC ACQ:DEC:FACTOR ACQ:SRATE ACQ:AVG ACQ:SOUR{n}:GAIN ACQ:SOUR{n}:COUP "
    "ACQ:SPLIT:TRIG ACQ:TRIG:LEV ACQ:TRIG:HYST ACQ:TRIG:DLY ACQ:TRIG:DLY:NS ACQ:TRIG ACQ:TRIG:STAT ACQ:TRIG:FILL "
    "ACQ:DATA:FORMAT ACQ:DATA:UNITS ACQ:DATA:BYTE:ORDER ACQ:SOUR{n}:DATA ACQ:SOUR{n}:DATA:OLD:N "
    "ACQ:SOUR{n}:DATA:LATEST:N ACQ:SOUR{n}:DATA:START:N ACQ:SOUR{n}:DATA:START:END ACQ:SOUR{n}:DATA:TRIG "
    "ACQ:BUF:SIZE ACQ:WPOS ACQ:TPOS"
)
GENERATION = (
    "GEN:RST SOUR{n}:FUNC SOUR{n}:FREQ:FIX SOUR{n}:VOLT SOUR{n}:VOLT:OFFS SOUR{n}:PHAS SOUR{n}:DCYC "
    "SOUR{n}:TRAC:DATA:DATA SOUR{n}:TRIG:SOUR SOUR{n}:BURS:STAT SOUR{n}:BURS:NCYC SOUR{n}:BURS:NOR "
    "SOUR{n}:BURS:INT:PER OUTPUT{n}:STATE SOUR{n}:TRIG:INT PHAS:ALIGN"
)
DIGITAL = "DIG:PIN DIG:PIN:DIR"
ANALOG = "ANALOG:PIN"
COMMON = {
    "RP:RET_ON_ERROR": "changes the server for all its clients",
    "SYST:ERR:COUN": "the queue is read until it is empty",
    "SYST:BRD:ID": "the name of the board says the same",
}


class RedPitayaBoard(ScpiInstrument):
    """The dialect of the SCPI server on a board, which all its roles share, each over a connection of its own.

    The server must have been started on the board. Its state is common to all clients, and lost when it starts again. A
    query that fails is not answered (a time-out). The text of ``*IDN?`` differs by release, so only the name counts.
    """

    maker = "Red Pitaya"
    models = ("STEMlab 125-14", "STEMlab 125-10", "SDRlab 122-16", "SIGNALlab 250-12")
    sheet = "scope_redpitaya_scpi"
    identity_pattern = r"(?i)red ?pitaya"
    idn_fields = 1
    framing: ClassVar[Framing] = Line(terminator=b"\r\n")
    timeout = 5.0

    board = Text("SYST:BRD:NAME?", doc="Name of the board.")


class Edge(StrEnum):
    """What a trigger from outside is: edges of the external input, of a fast input, or the generator's start."""

    EXTERNAL_RISING = "EXT_PE"
    EXTERNAL_FALLING = "EXT_NE"
    EXTERNAL_ANY = "EXT_AE"
    INPUT_1_RISING = "CH1_PE"
    INPUT_1_FALLING = "CH1_NE"
    INPUT_1_ANY = "CH1_AE"
    INPUT_2_RISING = "CH2_PE"
    INPUT_2_FALLING = "CH2_NE"
    INPUT_2_ANY = "CH2_AE"
    GENERATOR_RISING = "AWG_PE"
    GENERATOR_FALLING = "AWG_NE"
    GENERATOR_ANY = "AWG_AE"


class _Decimation(Integer):
    """A divisor of the sample rate; the board does not have them all."""

    def checked(self, part: Part, value: object) -> int:
        """1, 2, 4, 8, 16, or from 17 to 65536."""
        number = super().checked(part, value)
        if number not in (1, 2, 4, 8, 16) and not 17 <= number <= 65_536:
            raise InputError(
                f"no decimation by {number}",
                source=part.instrument.name,
                key=part.path(self.name),
                expected="1, 2, 4, 8, 16, or 17 to 65536",
                hint="Nothing was sent",
            )
        return number

    def store(self, part: Part, value: int) -> None:
        """Set it."""
        super().store(part, value)
        assert isinstance(part, RedPitaya)
        part.known_decimation = value


class FastInput(TextChannel, Input):
    """A fast input. The range is chosen with jumpers, and told to the board by `range`."""

    enabled = Custom(bool, lambda _: True, read_only="both inputs are always recorded")
    range = Listed("ACQ:SOUR{n}:GAIN?", "ACQ:SOUR{n}:GAIN {}", unit="V", words={2.0: "LV", 40.0: "HV"})
    offset = absent("the range is symmetric; there is no command for an offset")
    impedance = Custom(float, lambda _: 1e6, unit="Ohm", read_only="the inputs have 1 MOhm")


class RedPitaya(RedPitayaBoard, Digitizer):
    """Two inputs of 14 bits at 125 MS/s divided by `decimation`, into a buffer of 16384 samples.

    Pre-trigger data are valid since `arm` waits for them before it lets the trigger come. What triggers is told with
    the command that arms, and cannot be read back: `trigger_source` and `trigger_edge` are kept by the driver, and
    EXTERNAL means any of the edges. Samples are transferred as big-endian floats in V, the server's default order.
    Input damage: 30 V with jumpers at HV, 1.5 V at LV.
    """

    left_out: ClassVar = reasons(
        COMMON
        | {
            "ACQ:DEC:FACTOR ACQ:TRIG:DLY:NS": "another word for the same",
            "ACQ:SOUR{n}:COUP": "boards 250-12 only",
            "ACQ:SPLIT:TRIG": "the inputs of a digitizer are recorded together",
            "ACQ:DATA:BYTE:ORDER": "newer servers only; the default is relied upon",
            "ACQ:SOUR{n}:DATA:OLD:N ACQ:SOUR{n}:DATA:LATEST:N ACQ:SOUR{n}:DATA:START:N ACQ:SOUR{n}:DATA:START:END "
            "ACQ:SOUR{n}:DATA:TRIG ACQ:WPOS ACQ:TPOS": "pieces of the buffer; it is transferred as a whole",
            GENERATION: "driver redpitaya-generator",
            DIGITAL: "driver redpitaya-io",
            ANALOG: "driver redpitaya-source",
        }
    )
    enob = 0.0

    decimation = _Decimation("ACQ:DEC?", "ACQ:DEC {}", doc="Divisor of the sample rate.")
    trigger_delay = Integer(
        "ACQ:TRIG:DLY?",
        "ACQ:TRIG:DLY {}",
        limits=Limit(0, HALF, "of the sheet: 0 trigger in the middle, 8192 at the beginning"),
        doc="Samples by which the trigger is earlier than the middle of the buffer.",
    )
    averaging = Bool("ACQ:AVG?", "ACQ:AVG {}", on="ON", off="OFF", doc="Whether decimated samples are averaged.")
    trigger_level = Float(
        "ACQ:TRIG:LEV?", "ACQ:TRIG:LEV {}", unit="V", limits=Limit(-20.0, 20.0, "of the greater input range")
    )
    hysteresis = Float(
        "ACQ:TRIG:HYST?", "ACQ:TRIG:HYST {}", unit="V", limits=(0.0, 20.0), doc="Hysteresis of the trigger."
    )
    record_length = Integer("ACQ:BUF:SIZE?", read_only="the buffer has one length")
    reference = absent("the sheet has no command for the clock")
    reference_locked = absent("the sheet has no command for the clock")
    segments = absent("one record an arming")

    known_decimation = 1
    base_rate = 125e6
    """Samples per second without decimation."""
    _source = Trigger.FREE
    _edge = Edge.EXTERNAL_RISING

    def learn(self) -> None:
        """Read sample rate and decimation."""
        self.known_decimation = self.decimation
        self.base_rate = self._rate() * self.known_decimation

    @Uses("ACQ:SRATE?")
    def _rate(self) -> float:
        reply = self.ask("ACQ:SRATE?")
        try:
            return number_in(reply.removesuffix("Hz").strip())
        except ValueError:
            raise self.wrong_reply("ACQ:SRATE?", reply, "a number of samples per second") from None

    def _set_rate(self, rate: float) -> None:
        divisor = max(1, round(self.base_rate / rate)) if rate > 0 else 0
        if not divisor or abs(self.base_rate / divisor - rate) > 1e-6 * rate:
            raise InputError(
                f"no rate of {rate:g} S/s",
                source=self.name,
                key="sample_rate",
                expected=f"{self.base_rate:g} S/s divided by 1, 2, 4, 8, 16, or 17 to 65536",
                hint="Nothing was sent",
            )
        self.decimation = divisor

    sample_rate = Custom(float, _rate, _set_rate, unit="S/s", uses=("ACQ:SRATE?", "ACQ:DEC"), derived=True)
    pre_trigger = Custom(
        float,
        lambda board: (HALF - board.trigger_delay) / board._rate(),
        lambda board, seconds: setattr(board, "trigger_delay", HALF - round(seconds * board._rate())),
        unit="s",
        limits=lambda board: Limit(0.0, HALF * board.known_decimation / board.base_rate, "of the buffer's first half"),
        derived=True,
        rounds=lambda board, seconds: (
            round(seconds * board.base_rate / board.known_decimation) * board.known_decimation / board.base_rate
        ),
    )

    trigger_source = Custom(Trigger, lambda board: board._source, lambda board, one: setattr(board, "_source", one))
    trigger_edge = Custom(
        Edge,
        lambda board: board._edge,
        lambda board, one: setattr(board, "_edge", one),
        doc="Which edge an external trigger is.",
    )

    def channels(self) -> Mapping[int, FastInput]:
        """The inputs, 1 and 2."""
        return {number: FastInput(self, number) for number in (1, 2)}

    @Uses("ACQ:RST")
    def reset(self) -> None:
        """Back to the server's defaults; what was set before is forgotten here, too."""
        with self.exclusive():
            self.tell("ACQ:RST")
            self._settings.clear()
            self.learn()

    @Uses("ACQ:DATA:FORMAT", "ACQ:DATA:UNITS")
    def use_blocks(self) -> None:
        """Have samples sent as binary floats in V; `fetch` sees to it."""
        self.tell("ACQ:DATA:FORMAT BIN")
        self.tell("ACQ:DATA:UNITS VOLTS")

    @Uses("ACQ:START", "ACQ:TRIG")
    def arm(self) -> None:
        """Start, wait until pre-trigger data are there, then let the trigger come (FREE: at once)."""
        with self.exclusive():
            history = max(0.0, self.pre_trigger)
            self.tell("ACQ:START")
            self.clock.sleep(history)
            if self._source is Trigger.FREE:
                self.force_trigger()
            elif self._source is Trigger.EXTERNAL:
                self.tell(f"ACQ:TRIG {self._edge.value}")

    def force_trigger(self) -> None:
        """Trigger by software; before `arm` it would never fire."""
        self.tell("ACQ:TRIG NOW")

    @Uses("ACQ:TRIG:STAT?", "ACQ:TRIG:FILL?")
    def wait(self, timeout: float) -> None:
        """Return when the trigger has come and the buffer is full; NotConfirmed after `timeout` seconds."""
        end = self.clock.monotonic() + timeout
        for query, wanted, other in (("ACQ:TRIG:STAT?", "TD", "WAIT"), ("ACQ:TRIG:FILL?", "1", "0")):
            while (reply := self.ask(query)) != wanted:
                if reply != other:
                    raise self.wrong_reply(query, reply, f"{wanted} or {other}")
                if self.clock.monotonic() >= end:
                    missing = "no trigger came" if wanted == "TD" else "the buffer was not full"
                    raise NotConfirmed(f"{self.name}: {missing} within {timeout:g} s")
                self.clock.sleep(0.002)

    @Uses("ACQ:SOUR{n}:DATA?", "ACQ:BUF:SIZE?")
    def fetch(self, channel: int) -> Record:
        """Transfer the buffer of an input, oldest sample first."""
        self.demand_input(channel)
        with self.exclusive():
            self.use_blocks()
            rate, delay, length, full = (
                self._rate(),
                self.trigger_delay,
                self.record_length,
                self.channels()[channel].range / 2,
            )
            volts = self.ask_block(f"ACQ:SOUR{channel}:DATA?", ">f4", length).astype(np.float64)
        overload = bool(np.abs(volts).max(initial=0.0) >= full * (1 - 2**-12))
        return Record(volts, -(HALF - delay) / rate, 1 / rate, overload)

    @Uses("ACQ:STOP")
    def stop(self) -> None:
        """Stop acquiring."""
        self.tell("ACQ:STOP")
