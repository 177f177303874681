"""Tektronix MSO oscilloscopes of the series 4, 5 and 6, and LPD64 (SCPI-like, binary records)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from labqdl.driver import Bool, Choice, Custom, Float, Integer, Listed, ScpiInstrument, Text, TextChannel, Uses, reasons
from labqdl.instruments import (
    Digitizer,
    Identity,
    Input,
    Limit,
    NotACapability,
    NotAValue,
    ReadBack,
    Record,
    Trigger,
    absent,
)
from labqdl.transport import InstrumentError

_DIVISIONS = 10.0
_ERRORS = 0b0011_1100
"""Bits of the event register: query, device, execution and command error."""
_BOTTOM, _TOP = -0x8000, 0x7FF0
"""Ends of the 12-bit converter in a 16-bit word; records of high resolution may go up to 0x7FFF."""


class Acquisition(StrEnum):
    """What is made of the samples."""

    SAMPLE = "sample"
    HIGH_RESOLUTION = "high resolution"
    AVERAGE = "average"
    ENVELOPE = "envelope"


class ScopeInput(TextChannel, Input):
    """An input. 50 Ohm inputs bear 5 V RMS."""

    kind = "input"

    enabled = Bool("DIS:GLO:CH{n}:STATE?", "DIS:GLO:CH{n}:STATE {}")
    scale = Float("CH{n}:SCA?", "CH{n}:SCA {}", unit="V", doc="Volts a division; `range` is ten of them.").moving(
        "range", "offset"
    )

    def _range(self) -> float:
        return _DIVISIONS * self.scale

    def _set_range(self, value: float) -> None:
        self.scale = value / _DIVISIONS

    range = Custom(float, _range, _set_range, unit="V", uses=("CH{n}:SCA",), derived=True)
    position = Float("CH{n}:POS?", "CH{n}:POS {}", unit="1", doc="Divisions by which the trace is moved up.").moving(
        "offset"
    )

    def _offset(self) -> float:
        scope = cast("TektronixMSO", self.instrument)
        with scope.exclusive():
            return scope.ask_number(f"CH{self.number}:OFFS?") - self.position * self.scale

    def _set_offset(self, value: float) -> None:
        self.position = 0.0
        cast("TektronixMSO", self.instrument).tell(f"CH{self.number}:OFFS {value:.9g}")

    offset = Custom(float, _offset, _set_offset, unit="V", uses=("CH{n}:OFFS", "CH{n}:POS"))
    impedance = Listed("CH{n}:TER?", "CH{n}:TER {}", unit="Ohm", words={50.0: "50.0E+0", 1e6: "1.0E+6"})
    coupling = Text("CH{n}:COUP?", "CH{n}:COUP {}", doc="DC, AC or DCREJ.")
    bandwidth = Float("CH{n}:BAN?", "CH{n}:BAN {}", unit="Hz", doc="Bandwidth of the input.")


class TektronixMSO(ScpiInstrument, Digitizer):
    """An oscilloscope of the 4, 5 or 6 series. A little longer than most: its own event queue and preamble.

    Opening it switches the headers of replies off, and nothing else. Records come with 16 bits a sample. The rate and
    the length of a record are set apart from each other (manual horizontal mode); the instrument takes the steps that
    it has, and a value that it did not take is `NotConfirmed`. A trigger on an input is set with `trigger_input`.
    """

    maker = "Tektronix"
    models = ("MSO44", "MSO46", "MSO54", "MSO56", "MSO58", "MSO64", "MSO64B", "LPD64")
    sheet = "scope_tektronix_mso56"
    identity_pattern = r"(?i)tektronix (MSO|LPD)[456][468]"
    error_query = "EVM?"
    base_commands = ("*IDN?", "EVM?", "*OPC?")
    no_error = frozenset({0, 1})
    timeout = 10.0
    left_out: ClassVar = reasons(
        {
            "SEL:CH{n}": "older series",
            "HOR:MOD:SCA": "rate and length say the same",
            "CURVES": "an endless stream, stopped by a device clear alone",
            "WAVF WFMO": "preamble and curve are asked for item by item",
            "WFMO:XUN WFMO:YUN": "units are those of the axes: s and V",
            "WFMO:BIT_N WFMO:BYT_N WFMO:BYT_O WFMO:BN_F WFMO:ENC": "the driver sets what is transferred",
            "MEASU:ADDMEAS MEASU:MEAS{n}:RESU:CURR:MEAN": "measurements are made from records",
            "EVENT ALLE": "EVM tells the events with their texts, one by one",
            "*CLS": "the event queue is read empty instead",
            "*RST": "changes everything",
        }
    )

    # Until `learn` knows the model.
    _count = 8
    _greatest_rate = 50e9

    @Uses("HEAD", "VERB")
    def identity(self) -> Identity:
        """Switch the headers of replies off and ask ``*IDN?``."""
        self.force("HEAD 0")
        self.force("VERB 0")
        return super().identity()

    def learn(self) -> None:
        """Inputs and greatest rate by the model."""
        assert self._identity is not None
        match = re.match(r"(?i)(?:MSO|LPD)([456])([468])", self._identity.model)
        if match is not None:
            self._count = int(match[2])
            self._greatest_rate = 50e9 if match[1] == "6" else 6.25e9

    def channels(self) -> Mapping[int, ScopeInput]:
        """The inputs; before it is open, all that there may be."""
        return {number: ScopeInput(self, number) for number in range(1, self._count + 1)}

    @Uses("*ESR?", "EVM?")
    def check_errors(self, command: str) -> None:
        """Read the event register, and the events where it says that there was an error."""
        events = round(self.ask_number("*ESR?"))
        if events & _ERRORS:
            super().check_errors(command)
            error = InstrumentError(f"the event register is {events}, without an event", code=events)
            raise self.transport.complain(error, command.encode())

    # Time base
    sample_rate = Float(
        "HOR:SAMPLER?",
        ("HOR:MOD MAN", "HOR:MODE:SAMPLER {}"),
        unit="S/s",
        limits=lambda scope: Limit(high=scope._greatest_rate, reason="of the model"),
        done=ReadBack(),
    )
    record_length = Integer("HOR:RECO?", ("HOR:MOD MAN", "HOR:RECO {}"), limits=(1000, 125_000_000), done=ReadBack())

    @Uses("WFMO:XZE?", "WFMO:XIN?", "WFMO:PT_O?")
    def _start(self) -> tuple[float, float]:
        """Time of the first sample and time between samples, in s."""
        interval = self.ask_number("WFMO:XIN?")
        return self.ask_number("WFMO:XZE?") - interval * self.ask_number("WFMO:PT_O?"), interval

    def _pre_trigger(self) -> float:
        with self.exclusive():
            return -self._start()[0]

    pre_trigger = Custom(
        float,
        _pre_trigger,
        unit="s",
        read_only="the sheet has no command for the trigger's place in the record",
        uses=("WFMO:XZE?", "WFMO:XIN?", "WFMO:PT_O?"),
    )
    acquisition = Choice(
        "ACQ:MOD?",
        "ACQ:MOD {}",
        words={
            Acquisition.SAMPLE: ("SAM", "SAMPLE"),
            Acquisition.HIGH_RESOLUTION: ("HIR", "HIRES"),
            Acquisition.AVERAGE: ("AVE", "AVERAGE"),
            Acquisition.ENVELOPE: ("ENV", "ENVELOPE"),
        },
        doc="What is made of the samples.",
    )
    reference = absent("the sheet has no command for the time base's reference")
    reference_locked = absent("the sheet has no command for the time base's reference")
    segments = absent("the sheet has no command for segmented memory")

    # Trigger
    trigger_type = Text("TRIG:A:TYP?", "TRIG:A:TYP {}", doc="Kind of trigger: EDGE and others.")
    trigger_input = Text("TRIG:A:EDGE:SOU?", "TRIG:A:EDGE:SOU {}", doc="What triggers: CH1 to CH8, AUX, LINE.")
    rising = Bool(
        "TRIG:A:EDGE:SLO?",
        "TRIG:A:EDGE:SLO {}",
        on="RIS",
        off="FALL",
        replies_on=("RISE",),
        doc="Which edge triggers.",
    )
    untriggered = Bool(
        "TRIG:A:MOD?",
        "TRIG:A:MOD {}",
        on="AUTO",
        off="NORM",
        replies_off=("NORMAL",),
        doc="Whether it records without a trigger when none comes.",
    )

    def _level_command(self) -> str:
        source = self.trigger_input.upper()
        if not re.fullmatch(r"CH\d", source):
            raise NotACapability(self.name, f"level of trigger {source}", "the sheet has it for the inputs only")
        return f"TRIG:A:LEV:{source}"

    def _level(self) -> float:
        with self.exclusive():
            return self.ask_number(f"{self._level_command()}?")

    def _set_level(self, value: float) -> None:
        self.tell(f"{self._level_command()} {value:.9g}")

    trigger_level = Custom(float, _level, _set_level, unit="V", uses=("TRIG:A:LEV:CH{n}",))

    def _trigger_source(self) -> Trigger:
        with self.exclusive():
            if self.untriggered:
                return Trigger.FREE
            found = self.trigger_input
        if found.upper() not in ("AUX", "AUXILIARY"):
            raise NotAValue(f"{self.name}: {found} triggers, see trigger_input")
        return Trigger.EXTERNAL

    def _set_trigger_source(self, source: Trigger) -> None:
        if source is Trigger.SOFTWARE:
            raise NotACapability(self.name, "trigger that is software alone", "force_trigger works with every source")
        if source is Trigger.EXTERNAL:
            self.trigger_type = "EDGE"
            self.trigger_input = "AUX"
        self.untriggered = source is Trigger.FREE

    trigger_source = Custom(Trigger, _trigger_source, _set_trigger_source, uses=("TRIG:A:MOD", "TRIG:A:EDGE:SOU"))

    # Acquisition
    acquiring = Bool("ACQ:STATE?", doc="Whether it acquires.")

    @Uses("ACQ:STATE", "ACQ:STOPA")
    def arm(self) -> None:
        """Record once; returns when the instrument has accepted it (the sheet has no query for "armed")."""
        with self.exclusive():
            self.tell("ACQ:STATE 0")
            self.tell("ACQ:STOPA SEQ")
            self.tell("ACQ:STATE 1")

    @Uses("TRIG")
    def force_trigger(self) -> None:
        """Trigger by software."""
        self.tell("TRIG FORC")

    @Uses("ACQ:STATE?", "*OPC?")
    def wait(self, timeout: float) -> None:
        """Return when the record is complete; NotConfirmed after `timeout` seconds."""
        self.wait_until(lambda: not self.acquiring, timeout, "have its record complete")
        self.wait_complete(self.timeout)

    @Uses("ACQ:STATE")
    def stop(self) -> None:
        """Stop acquiring."""
        self.tell("ACQ:STATE 0")

    description = Text("WFMO:WFI?", quoted=True, doc="Input, coupling, scales, length and mode of the record in words.")

    @Uses("DAT:SOU", "DAT:ENC", "DAT:WID", "DAT:STAR", "DAT:STOP", "WFMO:NR_P?")
    def prepare(self, channel: int) -> int:
        """Choose an input's whole record for the transfer, two bytes a sample; gives the number of samples."""
        self.demand_input(channel)
        with self.exclusive():
            for command in (f"SOU CH{channel}", "ENC SRI", "WID 2", "STAR 1", "STOP 10000000000"):
                self.tell(f"DAT:{command}")
            points = round(self.ask_number("WFMO:NR_P?"))
            self.tell(f"DAT:STOP {points}")
        return points

    @Uses("CURV?")
    def codes(self, points: int) -> NDArray[np.int16]:
        """The record that was chosen as it comes from the converter, shape (points,)."""
        return self.ask_block("CURV?", "<i2", points)

    @Uses("WFMO:YMU?", "WFMO:YOF?", "WFMO:YZE?", "WFMO:PT_F?")
    def fetch(self, channel: int) -> Record:
        """Transfer what an input recorded.

        A code at either end of the converter means clipping, and gives `overload`.

        Raises
        ------
        NotAValue
            For an input that is not shown (the instrument would not answer), and for an envelope.
        """
        self.demand_input(channel)
        with self.exclusive():
            if not self.channels()[channel].enabled:
                raise NotAValue(f"{self.name}: input {channel} is not enabled and has no record")
            points = self.prepare(channel)
            if self.ask("WFMO:PT_F?").upper() != "Y":
                raise NotAValue(f"{self.name}: the record is an envelope and has no single voltages")
            start, interval = self._start()
            factor, middle, zero = (self.ask_number(f"WFMO:{item}?") for item in ("YMU", "YOF", "YZE"))
            codes = self.codes(points)
        volts = codes.astype(np.float64)
        volts -= middle
        volts *= factor
        volts += zero
        overload = bool(codes.size) and (int(codes.min()) == _BOTTOM or int(codes.max()) >= _TOP)
        return Record(volts, start, interval, overload)
