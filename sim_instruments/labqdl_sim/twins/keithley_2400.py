"""Keithley 2400 and 2450 source-measure units in their 2400 command set (sheet bias_keithley_2400_2450.md).

Port "output" gives the voltage at the load of `resistance` ohm: of the source, held back by the compliance of the
other quantity and by the over-voltage limit, in steps of the source's resolution; 0 V when the output is off.

What the sheet leaves open, and how it is here:

- *RST: fixed range 21 V (range 105 uA for currents), autorange off, so that what goes beyond is -222. A range below
  the present level is refused (-221), an over-voltage limit that is no step too (-222).
- A compliance below 0.1 % of a fixed measuring range is -222; with autorange (the state after *RST) the range follows.
- The source settles at once; changing its function or the terminals switches the output off.
- A reading takes NPLC/50 s for each value of a repeating filter, the source delay and 40 ms. A quantity that is not
  measured reads as the programmed source, or 9.91E+37; beyond its range 9.9E+37. TRIG:COUN values come in one reply.
- A source that waits for *TRG makes READ? a trigger deadlock (-214). TRAC:DATA? of an empty buffer is -230.
- STAT:OPER:COND?: bit 6 waits for a trigger, bit 10 idle. SWE and LIST are kept, their tables are not in the sheet.
- A reply ends with CR on a serial line that has a speed (the factory's choice for RS-232), else with LF.
- +823 and +308 never come by themselves. The 2450 differs by *LANG, which the sheet lets wait for a reboot.
"""

from __future__ import annotations

import math
import struct

from labqdl.errors import InputError
from labqdl_sim.scpi import (
    Boolean,
    Choice,
    Integer,
    Kind,
    Many,
    Number,
    Param,
    Raw,
    ScpiError,
    ScpiTwin,
    Text,
    command,
    query,
)  # fmt: skip
from labqdl_sim.twin import Session

_NAN = 9.91e37
_OVERFLOW = 9.9e37
_RANGES = {"VOLT": (0.21, 2.1, 21.0, 210.0), "CURR": (1.05e-6, 1.05e-5, 1.05e-4, 1.05e-3, 1.05e-2, 0.105, 1.05)}
_STEPS = (20.0, 40.0, 60.0, 80.0, 100.0, 120.0, 160.0)
_NONE = 210.0
_LEAST_COMPLIANCE = 1e-3 * (1.0 - 1e-9)
"""Of the measuring range: 0.1 %; 1e-3 * 1.05 is more than 0.00105 by a rounding."""
_ELEMENTS = ("VOLT", "CURR", "RES", "TIME", "STAT")
_FUNCTIONS = {"VOLT": "VOLT:DC", "CURR": "CURR:DC", "RES": "RES"}
_OVERHEAD = 0.04


class OverVoltage(Kind[float]):
    """One of the steps of the over-voltage limit, or NONE."""

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> float:
        """The value of one argument."""
        if token.upper() == b"NONE":
            return _NONE
        value = Number("V").parse(twin, token)
        if value not in (*_STEPS, _NONE):
            raise ScpiError(-222)
        return value

    def show(self, twin: ScpiTwin, value: float) -> str:
        """The value in a reply."""
        return twin.number(value)


class Keithley2400(ScpiTwin):
    """A source-measure unit.

    Options: `model` (2400, 2401, 2410 or 2450), `resistance` (of the load, ohm), `noise` (of readings, relative to
    the range, at 1 NPLC). Attribute `load` is the present resistance.
    """

    maker = "KEITHLEY INSTRUMENTS INC."
    model = "2400"
    serial = "1234567"
    firmware = "C33 Mar 31 2015 09:32:39/A02 /K/J"
    resources = (
        "GPIB0::24::INSTR", "ASRL{name}::INSTR", "USB0::0x05E6::0x2450::{serial}::INSTR",
        "TCPIP0::{name}::inst0::INSTR", "TCPIP0::{name}::5025::SOCKET",
    )  # fmt: skip
    terminators = b"\n\r"
    queue_depth = 10
    registers = {"OPERation": 7, "QUEStionable": 3, "MEASurement": 0}  # noqa: RUF012
    error_texts = {  # noqa: RUF012
        -214: "Trigger deadlock", 802: "OUTPUT blocked by interlock", 803: "Not permitted with OUTPUT off",
        823: "Invalid with source read-back on",
    }  # fmt: skip

    def setup(self) -> None:
        """Attach the load."""
        if self.model not in ("2400", "2401", "2410", "2450"):
            raise InputError(f"no model {self.model!r}", key=self.name, expected="2400, 2401, 2410 or 2450")
        self.load = self.option("resistance", 1e6)
        self.noise = self.option("noise", 1e-6)
        self.language = "SCPI2400"
        self.began = self.clock.monotonic()
        self._readings = 0
        self.voltage_out("output", lambda instants: self.terminal()[0] + 0.0 * instants)

    def reset(self) -> None:
        """Nothing measured, nothing armed."""
        self.measured = {"CURR"}
        self.waiting = False
        self.last: list[dict[str, float]] = []
        self.trace: list[dict[str, float]] = []
        self.feeding = False
        self.elements: tuple[str, ...] = _ELEMENTS

    def execute(self, message: bytes) -> bytes | None:
        """One message; on RS-232 its reply ends with CR."""
        reply = super().execute(message)
        if reply is not None and self.session is not None and self.session.baud is not None:
            return reply[: -len(self.reply_terminator)] + b"\r"
        return reply

    def restore(self) -> None:
        """What *RST does; an output that a fault holds stays on."""
        held = self.output and self.stays_on
        level = self.voltage, self.current, self.function
        super().restore()
        if held:
            self.output = True
            self.voltage, self.current, self.function = level

    def identity(self) -> str:
        """Reply to *IDN?."""
        return f"{self.maker},MODEL {self.model},{self.serial},{self.firmware}"

    def number(self, value: float) -> str:
        """Seven digits."""
        return f"{value:.6E}"

    def show_error(self, code: int, text: str) -> str:
        """With sign, but for 0."""
        return f'{code:+d},"{text}"' if code else f'0,"{text}"'

    def condition(self, register: str) -> int:
        """Measurement: 14 compliance. Operation: 6 waiting for a trigger, 10 idle."""
        if register == "MEASurement":
            return self.tripped() << 14
        if register == "OPERation":
            return self.waiting << 6 | (not self.waiting and not self.pending) << 10
        return 0

    def triggered(self, session: Session | None) -> None:
        """*TRG."""
        if not self.waiting:
            self.push_error(-211)
            return
        self.waiting = False
        self._measure()

    # Source

    def _volts(self, *_: int) -> tuple[float, float]:
        top = 210.0 if self.voltage_auto else self.voltage_range
        return -top, top

    def _amps(self, *_: int) -> tuple[float, float]:
        top = 1.05 if self.current_auto else self.current_range
        return -top, top

    function = Param("SOURce:FUNCtion[:MODE]", Choice("VOLTage", "CURRent"), "VOLT")
    voltage_mode = Param("SOURce:VOLTage:MODE", Choice("FIXed", "SWEep", "LIST"), "FIX")
    current_mode = Param("SOURce:CURRent:MODE", Choice("FIXed", "SWEep", "LIST"), "FIX")
    voltage_range = Param("SOURce:VOLTage:RANGe", Number("V", (-210.0, 210.0)), 21.0)
    voltage_auto = Param("SOURce:VOLTage:RANGe:AUTO", Boolean(), False)
    voltage = Param("SOURce:VOLTage[:LEVel][:IMMediate][:AMPLitude]", Number("V", _volts), 0.0)
    current_range = Param("SOURce:CURRent:RANGe", Number("A", (-1.05, 1.05)), 1.05e-4)
    current_auto = Param("SOURce:CURRent:RANGe:AUTO", Boolean(), False)
    current = Param("SOURce:CURRent[:LEVel][:IMMediate][:AMPLitude]", Number("A", _amps), 0.0)
    compliance_current = Param("[SENSe:]CURRent[:DC]:PROTection[:LEVel]", Number("A", (1e-9, 1.05)), 1.05e-4)
    compliance_voltage = Param("[SENSe:]VOLTage[:DC]:PROTection[:LEVel]", Number("V", (2e-4, 210.0)), 21.0)
    over_voltage = Param("SOURce:VOLTage:PROTection[:LEVel]", OverVoltage(), _NONE)
    delay = Param("SOURce:DELay", Number("S", (0.0, 999.9999)), 0.0)
    delay_auto = Param("SOURce:DELay:AUTO", Boolean(), True)
    auto_off = Param("SOURce:CLEar:AUTO", Boolean(), False)
    output = Param("OUTPut[:STATe]", Boolean(), False, readable=False)
    off_state = Param("OUTPut:SMODe", Choice("HIMPedance", "NORMal", "ZERO", "GUARd"), "NORM")
    four_wire = Param("SYSTem:RSENse", Boolean(), False)
    terminals = Param("ROUTe:TERMinals", Choice("FRONt", "REAR"), "FRON")

    @voltage_range.check
    def _voltage_range(self, value: float) -> float:
        return self._next_range("VOLT", value, self.voltage)

    @voltage_range.changed
    def _voltage_fixed(self, value: float) -> None:
        self.voltage_auto = False

    @current_range.check
    def _current_range(self, value: float) -> float:
        return self._next_range("CURR", value, self.current)

    @current_range.changed
    def _current_fixed(self, value: float) -> None:
        self.current_auto = False

    def _next_range(self, quantity: str, value: float, level: float) -> float:
        found = min(top for top in _RANGES[quantity] if top >= abs(value) * (1 - 1e-9))
        if found < abs(level):
            raise ScpiError(-221)
        return found

    @voltage.changed
    def _voltage_follows(self, value: float) -> None:
        if self.voltage_auto:
            self.voltage_range = min(top for top in _RANGES["VOLT"] if top >= abs(value))

    @current.changed
    def _current_follows(self, value: float) -> None:
        if self.current_auto:
            self.current_range = min(top for top in _RANGES["CURR"] if top >= abs(value))

    @compliance_current.check
    def _compliance_current(self, value: float) -> None:
        if not self.sense_current_auto and value < _LEAST_COMPLIANCE * self.sense_current:
            raise ScpiError(-222)

    @compliance_voltage.check
    def _compliance_voltage(self, value: float) -> None:
        if not self.sense_voltage_auto and value < _LEAST_COMPLIANCE * self.sense_voltage:
            raise ScpiError(-222)

    @voltage.check
    def _voltage_held(self, value: float) -> float:
        held = self.output and self.stays_on and abs(value) < abs(self.voltage)
        return self.voltage if held else value

    @output.check
    def _may_switch(self, value: bool) -> bool:
        if value and self.interlocked:
            raise ScpiError(802)
        return value or (self.output and self.stays_on)

    @query("OUTPut[:STATe]?")
    def ask_output(self) -> bool:
        """Whether the output is on."""
        return self.emits()

    @function.changed
    def _function_off(self, value: str) -> None:
        self.output = self.output and self.stays_on

    @terminals.changed
    def _terminals_off(self, value: str) -> None:
        self.output = self.output and self.stays_on

    def emits(self) -> bool:
        """Whether the output is on; an open interlock (a fault) switches it off."""
        if self.output and self.interlocked and not self.stays_on:
            self.output = False
        return self.output

    def terminal(self) -> tuple[float, float, bool]:
        """Voltage and current of the load, and whether the source is in compliance."""
        if not self.emits():
            return 0.0, 0.0, False
        load = max(self.load, 1e-3)
        step = (self.voltage_range if self.function == "VOLT" else self.current_range) / 1.05 / 4e4
        if self.function == "VOLT":
            volts, limit = round(self.voltage / step) * step, self.compliance_current * load
        else:
            volts, limit = round(self.current / step) * step * load, self.compliance_voltage
        bound = min(limit, self.over_voltage)
        inside = abs(volts) <= bound
        volts = volts if inside else math.copysign(bound, volts)
        return volts, volts / load, not inside

    @query("[SENSe:]CURRent[:DC]:PROTection:TRIPped?", passes=["VOLT"])
    @query("[SENSe:]VOLTage[:DC]:PROTection:TRIPped?", passes=["CURR"])
    def ask_tripped(self, source: str) -> bool:
        """Whether the source is in compliance."""
        return self.function == source and self.tripped()

    def tripped(self) -> bool:
        """Whether the source is in compliance."""
        return self.terminal()[2]

    # Measuring

    concurrent = Param("[SENSe:]FUNCtion:CONCurrent", Boolean(), True)
    nplc = Param("[SENSe:]CURRent[:DC]:NPLCycles", Number("", (0.01, 10.0)), 1.0)
    sense_current = Param("[SENSe:]CURRent[:DC]:RANGe[:UPPer]", Number("A", (-1.05, 1.05)), 1.05e-4)
    sense_current_auto = Param("[SENSe:]CURRent[:DC]:RANGe:AUTO", Boolean(), True)
    sense_voltage = Param("[SENSe:]VOLTage[:DC]:RANGe[:UPPer]", Number("V", (-210.0, 210.0)), 21.0)
    sense_voltage_auto = Param("[SENSe:]VOLTage[:DC]:RANGe:AUTO", Boolean(), True)
    averaging = Param("[SENSe:]AVERage[:STATe]", Boolean(), False)
    average_count = Param("[SENSe:]AVERage:COUNt", Integer((1, 100)), 10)
    average_control = Param("[SENSe:]AVERage:TCONtrol", Choice("REPeat", "MOVing"), "REP")
    border = Param("FORMat:BORDer", Choice("NORMal", "SWAPped"), "NORM")
    trigger_count = Param("TRIGger:COUNt", Integer((1, 2500)), 1)
    arm_source = Param(
        "ARM:SOURce", Choice("IMMediate", "TLINk", "TIMer", "MANual", "BUS", "NSTest", "PSTest", "BSTest"), "IMM"
    )
    trigger_source = Param("TRIGger:SOURce", Choice("IMMediate", "TLINk"), "IMM")
    trace_points = Param("TRACe:POINts", Integer((1, 2500)), 100)

    @query("[SENSe:]VOLTage[:DC]:NPLCycles?")
    def ask_nplc(self) -> float:
        """All functions share their integration time."""
        return self.nplc

    @sense_current.check
    def _sense_current(self, value: float) -> float:
        return self._next_range("CURR", value, 0.0)

    @sense_current.changed
    def _sense_current_fixed(self, value: float) -> None:
        self.sense_current_auto = False

    @sense_voltage.check
    def _sense_voltage(self, value: float) -> float:
        return self._next_range("VOLT", value, 0.0)

    @sense_voltage.changed
    def _sense_voltage_fixed(self, value: float) -> None:
        self.sense_voltage_auto = False

    @command("[SENSe:]FUNCtion[:ON]", takes=[Many(Text())], least=1)
    def set_functions(self, *names: str) -> None:
        """What is measured; with concurrent measurements on, in addition to what was."""
        wanted = set()
        for name in names:
            short = name.upper().replace("VOLTAGE", "VOLT").replace("CURRENT", "CURR").replace("RESISTANCE", "RES")
            short = short.removesuffix(":DC")
            if short not in _FUNCTIONS:
                raise ScpiError(-224)
            wanted.add(short)
        if self.concurrent:
            self.measured |= wanted
        elif len(wanted) > 1:
            raise ScpiError(-221)
        else:
            self.measured = wanted

    @query("[SENSe:]FUNCtion[:ON]?")
    def ask_functions(self) -> str:
        """What is measured."""
        return ",".join(f'"{long}"' for short, long in _FUNCTIONS.items() if short in self.measured)

    @concurrent.changed
    def _one_only(self, value: bool) -> None:
        if not value and len(self.measured) > 1:
            self.measured = {"VOLT" if "VOLT" in self.measured else "CURR"}

    @command("FORMat:ELEMents[:SENSe]", takes=[Many(Choice(*_ELEMENTS))], least=1)
    def set_elements(self, *names: str) -> None:
        """Which values a reading has; their order is fixed."""
        self.elements = tuple(name for name in _ELEMENTS if name in names)

    @query("FORMat:ELEMents[:SENSe]?")
    def ask_elements(self) -> str:
        """Which values a reading has."""
        return ",".join(self.elements)

    @command("FORMat[:DATA]", takes=[Choice("ASCii", "REAL"), Integer((32, 32))], least=1)
    def set_format(self, name: str, bits: int = 32) -> None:
        """Text, or float32."""
        self.values["format", ()] = name

    @query("FORMat[:DATA]?")
    def ask_format(self) -> str:
        """How readings are sent."""
        return "REAL,32" if self.values.get(("format", ())) == "REAL" else "ASC"

    def _reading(self) -> dict[str, float]:
        self._readings += 1
        volts, amps, tripped = self.terminal()
        count = self.average_count if self.averaging else 1
        noise = self.generator("noise", self._readings).standard_normal(2) * self.noise / math.sqrt(count * self.nplc)
        values = {"VOLT": self.voltage if self.function == "VOLT" else _NAN}
        values["CURR"] = self.current if self.function == "CURR" else _NAN
        over = False
        senses = {"VOLT": (volts, self.sense_voltage_auto, self.sense_voltage, noise[0])}
        senses["CURR"] = (amps, self.sense_current_auto, self.sense_current, noise[1])
        for quantity, (value, auto, fixed, draw) in senses.items():
            if quantity not in self.measured and "RES" not in self.measured:
                continue
            top = next((top for top in _RANGES[quantity] if top >= abs(value)), _RANGES[quantity][-1])
            top = top if auto else fixed
            over |= abs(value) > top
            values[quantity] = _OVERFLOW if abs(value) > top else value + float(draw) * top
        values["RES"] = _NAN
        if "RES" in self.measured:
            values["RES"] = values["VOLT"] / values["CURR"] if values["CURR"] else _OVERFLOW
        values["TIME"] = self.now - self.began
        limited = self.function == "VOLT" and abs(volts) >= self.over_voltage
        values["STAT"] = float(
            over | self.averaging << 1 | (self.terminals == "FRON") << 2 | tripped << 3 | limited << 4
        )
        return values

    def _duration(self) -> float:
        values = self.average_count if self.averaging and self.average_control == "REP" else 1
        return self.nplc / 50 * values + self.delay + _OVERHEAD

    def _measure(self) -> None:
        count, each = self.trigger_count, self._duration()
        self.last = [self._reading() for _ in range(count)]
        for index, reading in enumerate(self.last):
            reading["TIME"] += (index + 1) * each
        if self.feeding:
            self.trace = [*self.trace, *self.last][: self.trace_points]
            self.feeding = len(self.trace) < self.trace_points
        self.operate(count * each)
        if self.auto_off and not self.stays_on:
            self.output = False

    def _packed(self, readings: list[dict[str, float]]) -> str | bytes:
        values = [reading[name] for reading in readings for name in self.elements]
        if self.values.get(("format", ())) != "REAL":
            return ",".join(f"{value:+.6E}" for value in values)
        return b"#0" + struct.pack(f"{'<' if self.border == 'SWAP' else '>'}{len(values)}f", *values)

    @command("INITiate[:IMMediate]")
    def initiate(self) -> None:
        """Measure, or wait for *TRG."""
        if not self.emits() and not self.auto_off:
            raise ScpiError(803)
        if self.waiting:
            raise ScpiError(-213)
        if self.auto_off and not self.interlocked:
            self.output = True
        if self.arm_source == "IMM" and self.trigger_source == "IMM":
            self._measure()
        else:
            self.waiting = True

    @query("READ?")
    def read(self) -> str | bytes:
        """Measure and reply."""
        if self.arm_source != "IMM" or self.trigger_source != "IMM":
            raise ScpiError(-214)
        self.initiate()
        return self.fetch()

    @query("FETCh?")
    def fetch(self) -> str | bytes:
        """The last readings, once they are there."""
        if not self.last or self.waiting:
            raise ScpiError(-230)
        self.hold(max(self.done_at() - self.now, 0.0))
        return self._packed(self.last)

    @query("MEASure:CURRent[:DC]?", passes=["CURR"])
    @query("MEASure:VOLTage[:DC]?", passes=["VOLT"])
    def measure(self, quantity: str) -> str | bytes:
        """Measure one quantity and reply."""
        self.measured = self.measured | {quantity} if self.concurrent else {quantity}
        return self.read()

    @command("ABORt")
    def abort(self) -> None:
        """Back to idle."""
        self.waiting = False
        self.abort_operations()

    @command("TRACe:FEED:CONTrol", takes=[Choice("NEXT", "NEVer")])
    def feed_trace(self, when: str) -> None:
        """The next readings go into the buffer, which is emptied."""
        self.feeding = when == "NEXT"
        if self.feeding:
            self.trace = []

    @query("TRACe:FEED:CONTrol?")
    def ask_feed(self) -> str:
        """Whether readings go into the buffer."""
        return "NEXT" if self.feeding else "NEV"

    @command("TRACe:CLEar")
    def clear_trace(self) -> None:
        """Empty the buffer."""
        self.trace = []

    @query("TRACe:DATA?")
    def ask_trace(self) -> str | bytes:
        """The buffer."""
        if not self.trace:
            raise ScpiError(-230)
        self.hold(max(self.done_at() - self.now, 0.0))
        return self._packed(self.trace)

    @command("*LANG", takes=[Raw()])
    def set_language(self, word: bytes) -> None:
        """The command set after the next reboot (2450)."""
        if self.model != "2450":
            raise ScpiError(-113)
        if word.upper() not in (b"SCPI", b"SCPI2400", b"TSP"):
            raise ScpiError(-224)
        self.language = word.decode("latin-1").upper()

    @query("*LANG?")
    def ask_language(self) -> str:
        """The command set (2450)."""
        if self.model != "2450":
            raise ScpiError(-113)
        return self.language


TWIN = Keithley2400
