"""Keithley 2400, 2401, 2410 and 2450 SourceMeters as sources of a bias voltage (SCPI)."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.driver import (
    NOT_A_NUMBER,
    Action,
    Bool,
    Choice,
    Custom,
    Float,
    Integer,
    Listed,
    Ranged,
    ScpiInstrument,
    Text,
    Uses,
    reasons,
)
from labqdl.errors import InputError
from labqdl.instruments import Limit, NotAValue, VoltageSource
from labqdl.transport import Framing, Line, parse


class SourceFunction(StrEnum):
    """What is held constant."""

    VOLTAGE = "voltage"
    CURRENT = "current"


class OffState(StrEnum):
    """What the terminals see while the output is off."""

    OPEN = "open"
    NORMAL = "normal"
    ZERO = "zero"
    GUARD = "guard"


class Keithley2400(ScpiInstrument, VoltageSource):
    """A SourceMeter that sources voltage.

    A 2450 must speak the command set "SCPI 2400" (menu, or ``*LANG SCPI2400`` and power off and on). `output` False is
    what `off_state` says; NORMAL holds 0 V with a small current limit, OPEN disconnects. It delivers up to 210 V and
    1 A: set `voltage_range`, `current_limit` and `over_voltage` before a modulator is connected, and a limit in the
    station file. `output` is not switched on while the instrument sources current.

    Readings need the output on. The first one switches measuring of both voltage and current on, which changes no
    output.
    """

    maker = "Keithley"
    models = ("2400", "2401", "2410", "2450")
    sheet = "bias_keithley_2400_2450"
    identity_pattern = r"(?i)keithley.* (MODEL )?24(00|01|10|50)"
    error_query = ":SYST:ERR?"
    timeout = 5.0
    left_out: ClassVar = reasons(
        {
            "SOUR:VOLT:LEV": "SOUR:VOLT is the same",
            "*LANG": "changes only after power off and on",
            "SOUR:CURR:RANG SOUR:CURR:LEV": "this driver is of a voltage source",
            "SENS:VOLT:PROT": "the compliance while sourcing current",
            "FORM FORM:BORD": "replies stay text: a #0 block has no end on a stream",
            "FETC INIT": "READ triggers and fetches",
            "MEAS:CURR": "it configures anew; READ keeps what is set",
            "*TRG": "triggers by GPIB",
            "ARM:SOUR TRIG:SOUR": "readings are triggered by asking for them",
            "TRAC:POIN TRAC:FEED:CONT TRAC:DATA": "READ with a trigger count gives as many readings",
        }
    )

    def framing_for(self, resource: str) -> Framing:
        """Lines end with CR on RS-232, as it leaves the factory; with LF elsewhere."""
        serial = parse(resource).kind == "serial" and not resource.startswith("socket://")
        return Line(b"\r") if serial else self.framing

    # Source
    function = Choice(
        ":SOUR:FUNC?",
        ":SOUR:FUNC {}",
        words={SourceFunction.VOLTAGE: "VOLT", SourceFunction.CURRENT: "CURR"},
        doc="What is held constant.",
    )

    def _voltage_limits(self) -> Limit:
        if self.auto_range:
            return Limit(-210.0, 210.0, "the device's greatest range")
        full = self.ask_number(":SOUR:VOLT:RANG?")
        return Limit(-full, full, "the present range, see voltage_range")

    voltage = Float(":SOUR:VOLT?", ":SOUR:VOLT {}", unit="V", limits=_voltage_limits)
    voltage_range = Listed(
        ":SOUR:VOLT:RANG?",
        ":SOUR:VOLT:RANG {}",
        unit="V",
        words={0.2: ("0.2", "0.21"), 2.0: ("2", "2.1"), 20.0: ("20", "21"), 200.0: ("200", "210")},
        doc="Range of the source; set points may exceed it by 5 %.",
    ).chosen_by("auto_range")
    auto_range = Bool(":SOUR:VOLT:RANG:AUTO?", ":SOUR:VOLT:RANG:AUTO {}", doc="Whether the range follows the voltage.")
    fixed = Bool(
        ":SOUR:VOLT:MODE?",
        ":SOUR:VOLT:MODE {}",
        on="FIX",
        off="SWE",
        replies_on=("FIXED",),
        replies_off=("SWEEP", "LIST"),
        doc="Whether the voltage is constant, and no sweep or list.",
    )
    over_voltage = Listed(
        ":SOUR:VOLT:PROT?",
        ":SOUR:VOLT:PROT {}",
        unit="V",
        words={float(step): str(step) for step in (20, 40, 60, 80, 100, 120, 160)} | {210.0: "NONE"},
        doc="Voltage that is never exceeded, whatever is set; 210 V for no such limit.",
    )

    def _current_limits(self) -> Limit:
        full = self.ask_number(":SENS:CURR:RANG?")
        return Limit(max(1e-9, 1e-3 * full), 1.05, "the device's, from 0.1 % of current_range")

    current_limit = Float(":SENS:CURR:PROT?", ":SENS:CURR:PROT {}", unit="A", limits=_current_limits)
    in_compliance = Bool(":SENS:CURR:PROT:TRIP?", doc="Whether the current limit holds the voltage down.")
    delay = Float(
        ":SOUR:DEL?", ":SOUR:DEL {}", unit="s", limits=(0.0, 999.9999), doc="From setting the source to measuring."
    )
    auto_delay = Bool(":SOUR:DEL:AUTO?", ":SOUR:DEL:AUTO {}", doc="Whether the instrument chooses the delay.")
    auto_clear = Bool(
        ":SOUR:CLE:AUTO?", ":SOUR:CLE:AUTO {}", doc="Whether the output goes off after each reading."
    ).moving("output")

    def _output(self) -> bool:
        return self.ask_number("OUTP?") != 0

    def _switch(self, on: bool) -> None:
        if on and self.function is not SourceFunction.VOLTAGE:
            raise InputError(
                "it sources current",
                source=self.name,
                key="output",
                expected="function VOLTAGE",
                hint="The output was not switched on",
            )
        self.tell(f"OUTP {'ON' if on else 'OFF'}")

    output = Custom(bool, _output, _switch, uses=("OUTP",))
    off_state = Choice(
        ":OUTP:SMOD?",
        ":OUTP:SMOD {}",
        words={
            OffState.OPEN: "HIMP",
            OffState.NORMAL: ("NORM", "NORMAL"),
            OffState.ZERO: "ZERO",
            OffState.GUARD: ("GUAR", "GUARD"),
        },
        doc="What the terminals see while the output is off.",
    )
    four_wire = Bool(":SYST:RSEN?", ":SYST:RSEN {}", doc="Whether the voltage is sensed with two more wires.")
    rear = Bool(
        ":ROUT:TERM?", ":ROUT:TERM {}", on="REAR", off="FRON", doc="Whether the rear terminals are used."
    ).moving("output")

    # Measure
    functions = Text(":SENS:FUNC?", ":SENS:FUNC {}", doc='What is measured: "VOLT:DC","CURR:DC" with the quotes.')
    concurrent = Bool(":SENS:FUNC:CONC?", ":SENS:FUNC:CONC {}", doc="Whether several functions are measured at once.")
    integration = Float(
        ":SENS:CURR:NPLC?",
        ":SENS:CURR:NPLC {}",
        unit="1",
        limits=(0.01, 10.0),
        doc="Length of a reading in cycles of the mains.",
    )
    current_range = Ranged(
        ":SENS:CURR:RANG?", ":SENS:CURR:RANG {}", unit="A", limits=(0.0, 1.05), doc="Range of the measured current."
    )
    averaging = Bool(":SENS:AVER?", ":SENS:AVER {}", doc="Whether readings are averaged.")
    averages = Integer(":SENS:AVER:COUN?", ":SENS:AVER:COUN {}", limits=(1, 100), doc="Readings of an average.")
    moving = Bool(
        ":SENS:AVER:TCON?",
        ":SENS:AVER:TCON {}",
        on="MOV",
        off="REP",
        doc="Whether the average moves with each reading.",
    )
    condition = Integer(":STAT:MEAS:COND?", doc="Bits of the measurement condition; 16384: in compliance.")
    events = Integer("*ESR?", doc="Bits of the standard events since the last look.")
    operation = Integer(":STAT:OPER?", doc="Bits of the operation events since the last look.")
    status = Integer("*STB?", doc="The status byte.")
    abort = Action(":ABOR", doc="Stop a measurement.")
    reset = Action("*RST", doc="Factory settings: output off, range 21 V, current limit 105 uA.")

    @Uses(":READ?", ":FORM:ELEM?", ":TRIG:COUN", ":SENS:FUNC", ":SENS:FUNC:CONC")
    def readings(self, count: int = 1) -> NDArray[np.float64]:
        """Measure `count` times: shape (count, 2), voltage in V and current in A; NaN where there was no value.

        Raises
        ------
        NotAValue
            With the output off.
        InputError
            For a count outside of 1 to 2500.
        """
        if not 1 <= count <= 2500:
            raise InputError(f"{count} readings", source=self.name, key="count", expected="1 to 2500")
        with self.exclusive():
            if not self._output():
                raise NotAValue(f"{self.name}: the output is off, and readings need it on")
            measured = self.functions
            if "VOLT" not in measured or "CURR" not in measured:
                self.concurrent = True
                self.tell(':SENS:FUNC "VOLT:DC","CURR:DC"')
            elements = [element.strip() for element in self.ask(":FORM:ELEM?").split(",")]
            self.tell(f":TRIG:COUN {count}")
            averages = self.averages if self.averaging else 1
            seconds = count * (self.delay + averages * (0.1 + 0.2 * self.integration))
            reply = self.ask(":READ?", timeout=self.timeout + seconds)
        if self.kept(self, "auto_clear"):
            self.forget(self, "output")  # it is off now
        return self._table(reply, elements, count)

    def _table(self, reply: str, elements: list[str], count: int) -> NDArray[np.float64]:
        if not {"VOLT", "CURR"} <= set(elements):
            raise NotAValue(f"{self.name}: FORM:ELEM leaves voltage or current out of the readings: {elements}")
        try:
            table = np.array(reply.split(","), dtype=np.float64).reshape(count, len(elements))
        except ValueError:
            raise self.wrong_reply(":READ?", reply, f"{count} x {len(elements)} numbers") from None
        pair = table[:, [elements.index("VOLT"), elements.index("CURR")]]
        pair[np.abs(pair) > NOT_A_NUMBER] = np.nan
        return pair

    def _reading(self, column: int) -> float:
        value = float(self.readings()[0, column])
        if np.isnan(value):
            raise NotAValue(f"{self.name}: the reading is out of range")
        return value

    measured_voltage = Custom(float, lambda source: source._reading(0), unit="V", uses=(":READ?",))
    measured_current = Custom(float, lambda source: source._reading(1), unit="A", uses=(":READ?",))

    def ramp(self, voltage: float, *, step: float = 0.05, interval: float = 0.02) -> None:
        """Go to a voltage in equal steps of at most `step` V, one every `interval` s, as modulators want it.

        Raises
        ------
        LimitError
            For a voltage outside of the limits, before the first step.
        InputError
            For a step that is not positive.
        """
        if not step > 0:
            raise InputError(f"a step of {step} V", source=self.name, key="step", expected="a positive number")
        goal = type(self).voltage.checked(self, voltage)
        start = self.voltage
        count = max(1, int(np.ceil(abs(goal - start) / step - 1e-9)))
        for value in np.linspace(start, goal, count + 1)[1:]:
            self.voltage = float(value)
            self.clock.sleep(interval)

    def safe_state(self) -> None:
        """Go to 0 V, switch the output off, and read both back."""
        with self.unconditionally():
            self.try_all(
                lambda: self.force(":SOUR:VOLT 0"),
                lambda: self.force("OUTP OFF"),
                lambda: self.confirm(self, "output", False),
                lambda: self.confirm(self, "voltage", 0.0),
            )
