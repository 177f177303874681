"""Amonics AEDFA series of erbium-doped fibre amplifiers, and AYDFA and others with the same commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from labqdl.driver import (
    CELSIUS,
    DBM,
    MILLI,
    SI,
    Bool,
    Custom,
    Float,
    Scale,
    TextChannel,
    TextInstrument,
    Uses,
    Wire,
    reasons,
)
from labqdl.errors import InputError
from labqdl.instruments import (
    AmplifierMode,
    Identity,
    Limit,
    NotACapability,
    NotAValue,
    NotConfirmed,
    OpticalAmplifier,
    Part,
    ReadBack,
    Refused,
)
from labqdl.transport import InstrumentError, Line, RoadOptions, TransportTimeout

_WORDS = {AmplifierMode.CURRENT: "ACC", AmplifierMode.POWER: "APC", AmplifierMode.GAIN: "AGC"}
_UNITS: dict[str, Wire] = {"mA": MILLI, "A": SI, "mW": MILLI, "W": SI, "dBm": DBM, "dB": SI}
_OFF, _ON, _BUSY, _LOCK = 0, 1, 2, 4
_MONITORS = {
    "current": ":READ:CH:CUR?",
    "input": ":READ:CH:POW:IN?",
    "output": ":READ:CH:POW:OUT?",
    "photodiode": ":READ:CH:POW:PD?",
    "case": ":READ:CH:TEMP:BOX?",
    "chamber": ":READ:CH:TEMP:FC?",
    "pump": ":READ:CH:TEMP:TEC?",
    "supply": ":READ:CH:VOLT:PS?",
}
_ALARMS = {
    "loss of input": ("input", ":SENS:THRES:ALARM:POW:IN:LOS:CH1"),
    "input too high": ("input", ":SENS:THRES:ALARM:POW:IN:OVER:CH1"),
    "over-current": ("current", ":SENS:THRES:ALARM:CUR:OVER"),
    "case temperature": ("case", ":SENS:THRES:ALARM:TEMP:BOX"),
    "fibre chamber": ("chamber", ":SENS:THRES:ALARM:TEMP:FC"),
    "pump temperature warning": ("pump", ":SENS:THRES:ALARM:TEMP:TEC:WARN"),
    "pump overheated": ("pump", ":SENS:THRES:ALARM:TEMP:TEC:OVER"),
    "supply": ("supply", ":SENS:THRES:ALARM:VOLT:PS"),
}
_PERCENT = Scale(0.01)
THRESHOLDS: dict[str, tuple[str, Wire]] = {
    "input watched": (":THRES:POW:IN:STAT:SET1", SI),
    "input level": (":THRES:POW:IN:LEV:SET1", DBM),
    "output watched": (":THRES:POW:OUT:STAT:SET1", SI),
    "output range": (":THRES:POW:OUT:RANGE:SET1", _PERCENT),
    "output restart time": (":THRES:POW:OUT:TIME", SI),
    "current watched": (":THRES:CUR:OVER:STAT", SI),
    "current level": (":THRES:CUR:OVER:LEV:SET1", MILLI),
    "reflection watched": (":THRES:OBR:OVER:STAT", SI),
    "reflection level": (":THRES:OBR:OVER:LEV:SET1", DBM),
    "case watched": (":THRES:TEMP:BOX:STAT", SI),
    "case lowest": (":THRES:TEMP:BOX:MIN", CELSIUS),
    "case highest": (":THRES:TEMP:BOX:MAX", CELSIUS),
    "chamber watched": (":THRES:TEMP:FC:STAT", SI),
    "chamber highest": (":THRES:TEMP:FC:MAX", CELSIUS),
    "supply watched": (":THRES:VOLT:PS:STAT", SI),
}
"""Thresholds by name: command, conversion to W, A, K, s or shares; "watched" ones are 0 or 1."""


@dataclass(frozen=True, slots=True)
class Drive:
    """What one drive channel takes in one mode."""

    wire: Wire = MILLI
    limit: Limit = Limit(reason="of the amplifier, not read yet")  # noqa: RUF009 - frozen
    step: float = 0.0


class _SetPoint(Float):
    """The set point of a mode, in the unit that the amplifier names."""

    def __init__(self, mode: AmplifierMode, unit: str) -> None:
        self.word = word = _WORDS[mode]
        super().__init__(
            f":DRIV:{word}:CUR:CH{{n}}?",
            f":DRIV:{word}:CUR:CH{{n}} {{}}",
            unit=unit,
            wire=lambda part: _drive(part, word).wire,
            limits=lambda part: _drive(part, word).limit,
            done=ReadBack(relative=1e-3),
        )
        self.unless(lambda part: cast(AmonicsEDFA, part.instrument).lacks(word))

    def form(self, value: float, part: Part) -> str:
        """The nearest of the amplifier's steps, which it would take anyhow."""
        drive = _drive(part, self.word)
        number = drive.wire.from_si(value)
        return format(round(number / drive.step) * drive.step if drive.step > 0 else number, self.format)

    def commands(self) -> list[str]:
        """For all modes."""
        return [":DRIV:{mode}:CUR:CH{n}"]


def _drive(part: Part, word: str) -> Drive:
    return cast(AmonicsEDFA, part.instrument).drives.get((word, cast(Any, part).fields["n"]), Drive())


def _monitor(query: str, name: str, unit: str, wire: Wire, doc: str = "") -> Float:
    return Float(query, unit=unit, wire=wire, doc=doc).unless(lambda edfa: edfa.has_no(name))


class AmonicsStage(TextChannel):
    """A drive channel of an amplifier with several stages; the amplifier's own set points are those of stage 1."""

    kind = "stage"

    current_set_point = _SetPoint(AmplifierMode.CURRENT, "A")
    current_set_point.doc = "Pump current that is held in mode current."
    output_set_point = _SetPoint(AmplifierMode.POWER, "W")
    output_set_point.doc = "Power that is held in mode power."


class AmonicsEDFA(TextInstrument, OpticalAmplifier):
    """An amplifier without error queue: all that is set is read back.

    The unit ignores a state command now and then, as the sheet says: mode and switches are sent again until they read
    back, for 3 s. Soft start (BUSY) is waited for. `pump` arms all stages, then switches the master output; off, and
    in the safe state, the master output is off. Thresholds are methods, since units lack some, and a query for one that
    is missing is not answered. Over 300 lines, since modes, units, stages and monitors differ from one to the next
    and have to be found out.
    """

    maker = "Amonics"
    models = ("AEDFA", "AYDFA", "and other fibre amplifiers of the series")
    sheet = "edfa_amonics_aedfa"
    identity_pattern = r"Amonics A\w*DFA"
    framing = Line(b"\r\n")
    road = RoadOptions(baudrate=19200)
    spacing = 0.05
    fields: Mapping[str, object] = {"n": 1}
    left_out: ClassVar = reasons(
        {
            "READ:DRIV:LO_MARGIN": "what was set is read back",
            "THRES:POW:IN:ACT": "the sheet does not say what it means",
            "THRES:POW:OUT:RANGE_MIN THRES:POW:OUT:RANGE_MAX THRES:POW:OUT:REF": "follow from the range",
        }
    )

    # Until `learn` has asked the amplifier.
    drives: Mapping[tuple[str, int], Drive] = {}
    monitors: Mapping[str, int] = {}
    tells_mode = True
    _last_mode: AmplifierMode | None = None

    def _mode(self) -> AmplifierMode:
        if not self.tells_mode:
            if self._last_mode is None:
                raise NotAValue(f"{self.name}: this unit does not tell its mode, and none was set yet")
            return self._last_mode
        reply = self.ask(":MODE:SW:CH1?")
        for mode, word in _WORDS.items():
            if reply == word:
                return mode
        raise self.wrong_reply(":MODE:SW:CH1?", reply, "ACC, APC or AGC")

    def _set_mode(self, mode: AmplifierMode) -> None:
        word = _WORDS[mode]
        if self.lacks(word):
            raise NotACapability(self.name, f"mode {mode}", self.lacks(word))
        for stage in self._stages(word):
            command = f":MODE:SW:CH{stage}"
            if self.tells_mode:
                self._insist(f"{command} {word}", lambda query=f"{command}?": self.ask(query) == word, word)
            else:
                self.tell(f"{command} {word}")
        self._last_mode = mode

    mode = Custom(AmplifierMode, _mode, _set_mode, uses=(":MODE:SW:CH{n}",))

    def _set_pump(self, on: bool) -> None:
        if not on:
            self._insist(":DRIV:MCTRL 0", lambda: self._state(":DRIV:MCTRL?") == _OFF, "0")
            return
        self._demand_seed_and_interlock()
        word = _WORDS[self.mode]
        for stage in self._stages(word):
            command = f":DRIV:{word}:STAT:CH{stage}"
            self._insist(f"{command} 1", lambda query=f"{command}?": self._state(query) == _ON, "1")
        self._insist(":DRIV:MCTRL 1", lambda: self._state(":DRIV:MCTRL?") == _ON, "1")

    pump = Custom(
        bool,
        lambda edfa: edfa.ask_number(":DRIV:MCTRL?") != _OFF,
        _set_pump,
        uses=(":DRIV:MCTRL", ":DRIV:{mode}:STAT:CH{n}", ":DRIV:INTERLOCK?"),
    )
    current_set_point = _SetPoint(AmplifierMode.CURRENT, "A")
    output_set_point = _SetPoint(AmplifierMode.POWER, "W")
    gain_set_point = _SetPoint(AmplifierMode.GAIN, "dB")
    input_power = _monitor(":SENS:POW:IN:CH1?", "input", "W", MILLI)
    output_power = _monitor(":SENS:POW:OUT:CH1?", "output", "W", MILLI)
    photodiode_power = _monitor(":SENS:POW:PD:CH1?", "photodiode", "W", MILLI, "Power at the internal photodiode.")
    pump_current = _monitor(":SENS:CUR:CH1?", "current", "A", MILLI)
    temperature = Custom(
        float,
        lambda edfa: CELSIUS.to_si(
            edfa.ask_number(":SENS:TEMP:BOX?" if edfa.has_no("pump") else ":SENS:TEMP:TEC:CH1?")
        ),
        unit="K",
        uses=(":SENS:TEMP:TEC:CH{n}", ":SENS:TEMP:BOX"),
    )
    case_temperature = _monitor(":SENS:TEMP:BOX?", "case", "K", CELSIUS, "Temperature of the case.")
    chamber_temperature = _monitor(":SENS:TEMP:FC?", "chamber", "K", CELSIUS, "Temperature of the fibre chamber.")
    supply_voltage = _monitor(":SENS:VOLT:PS?", "supply", "V", SI, "Supply voltage.")
    seed_settling = Bool(":DRIV:SEED_ST?", doc="Whether the seed is still stabilising.")

    @Uses(":READ:MODE:NAMES?", ":READ:CH:DRIV:{mode}?", ":READ:DRIV:MIN:{mode}:CH{n}?", *_MONITORS.values())
    def learn(self) -> None:
        """Read modes, stages, the limits and unit of every set point, and which monitors there are."""
        drives: dict[tuple[str, int], Drive] = {}
        for word in self.mode_names():
            for stage in range(1, int(self.ask_number(f":READ:CH:DRIV:{word}?")) + 1):
                drives[word, stage] = self.read_drive(word, stage)
        self.drives = drives
        self.monitors = {name: int(self.ask_number(query)) for name, query in _MONITORS.items()}
        try:
            self.ask(":MODE:SW:CH1?")
        except TransportTimeout:  # "some units do not answer"
            self.tells_mode = False
            self._last_mode = next(
                (mode for mode, word in _WORDS.items() if {word} == {one for one, _ in drives}), None
            )

    def mode_names(self) -> list[str]:
        """The amplifier's words for its modes, of those that are known here."""
        return [word for word in self.ask(":READ:MODE:NAMES?").replace(",", " ").split() if word in _WORDS.values()]

    @Uses(":READ:DRIV:MAX:{mode}:CH{n}?", ":READ:DRIV:STEP:{mode}:CH{n}?", ":READ:DRIV:UNIT:{mode}:CH{n}?")
    def read_drive(self, word: str, stage: int) -> Drive:
        """Limits, step and unit of a set point, asked from the amplifier."""
        ends = [self.ask_number(f":READ:DRIV:{end}:{word}:CH{stage}?") for end in ("MIN", "MAX", "STEP")]
        query = f":READ:DRIV:UNIT:{word}:CH{stage}?"
        unit = self.ask(query)
        if unit not in _UNITS:
            raise self.wrong_reply(query, unit, f"one of {', '.join(_UNITS)}")
        wire = _UNITS[unit]
        return Drive(wire, Limit(wire.to_si(ends[0]), wire.to_si(ends[1]), f"of the amplifier in mode {word}"), ends[2])

    def channels(self) -> Mapping[int, AmonicsStage]:
        """The stages where there are several."""
        count = max((stage for _, stage in self.drives), default=1)
        return {stage: AmonicsStage(self, stage) for stage in range(1, count + 1)} if count > 1 else {}

    def lacks(self, word: str) -> str:
        """Why there is no such mode; "" where there is, or where nobody has asked yet."""
        known = not self.drives or any(one == word for one, _ in self.drives)
        return "" if known else f"READ:MODE:NAMES? does not name {word}"

    def has_no(self, monitor: str) -> str:
        """Why there is no such monitor; "" where there is, or where nobody has asked yet."""
        return "" if self.monitors.get(monitor, 1) else f"{_MONITORS[monitor]} answers 0"

    @Uses(":CAL:SYS:MODEL?", ":CAL:SYS:SERIAL?")
    def identity(self) -> Identity:
        """Ask for model and serial number; the firmware is not told."""
        return Identity(self.maker, self.ask(":CAL:SYS:MODEL?"), self.ask(":CAL:SYS:SERIAL?"), "")

    def tell(self, command: str, *, timeout: float | None = None) -> None:
        """Send a command; the amplifier says nothing to it."""
        self.transport.write(command.encode(self.encoding), timeout=timeout)

    @Uses(*(command for _, command in _ALARMS.values()))
    def alarms(self, *, latched: bool = False) -> dict[str, int]:
        """Alarms that are raised now, or were since they were read, with the amplifier's number (1, or the channel)."""
        found = {}
        for name, (monitor, command) in _ALARMS.items():
            if self.has_no(monitor) or (latched and monitor == "chamber"):
                continue
            value = int(self.ask_number(f"{command}{':LATCH' if latched else ''}?"))
            if value:
                found[name] = value
        return found

    @Uses(*(command for command, _ in THRESHOLDS.values()))
    def threshold(self, name: str) -> float:
        """One of `THRESHOLDS`, in SI units; TransportTimeout where the unit lacks it."""
        command, wire = self._threshold(name)
        return wire.to_si(self.ask_number(f"{command}?"))

    def set_threshold(self, name: str, value: float) -> None:
        """Set one of `THRESHOLDS` and read it back."""
        command, wire = self._threshold(name)
        self.tell(f"{command} {wire.from_si(value):.6g}")
        found = self.threshold(name)
        if abs(found - value) > 1e-3 * abs(value):
            raise NotConfirmed(f"{self.name}: threshold '{name}' was set to {value:g} and reads {found:g}")

    def _threshold(self, name: str) -> tuple[str, Wire]:
        if name not in THRESHOLDS:
            raise InputError(f"there is no threshold {name!r}", source=self.name, expected=" or ".join(THRESHOLDS))
        return THRESHOLDS[name]

    @Uses(":THRES:INTERLOCK:UNLOCK")
    def unlock_interlock(self) -> None:
        """Unlock the lasers after the interlock loop was closed."""
        self.energising("unlock_interlock")
        self.tell(":THRES:INTERLOCK:UNLOCK 1")

    @Uses(":THRES:TEMP:TEC:OVER:UNLOCK")
    def unlock_overheated(self) -> None:
        """Unlock the pumps after they were too hot; Refused where that is not possible yet."""
        self.energising("unlock_overheated")
        if not self.ask_number(":THRES:TEMP:TEC:OVER:UNLOCK?"):
            raise Refused(f"{self.name}: the pumps cannot be unlocked yet")
        self.tell(":THRES:TEMP:TEC:OVER:UNLOCK 1")

    def safe_state(self) -> None:
        """Switch the master output off and confirm it."""
        with self.unconditionally():
            self.pump = False

    def _stages(self, word: str) -> list[int]:
        return [stage for one, stage in self.drives if one == word] or [1]

    def _state(self, query: str) -> int:
        """A switch's state once it is not busy any more; InstrumentError where it is locked."""
        end = self.clock.monotonic() + 30.0
        while (state := int(self.ask_number(query))) == _BUSY:
            if self.clock.monotonic() >= end:
                raise NotConfirmed(f"{self.name}: {query} is still BUSY after 30 s")
            self.clock.sleep(0.1)
        if state == _LOCK:
            raise self.transport.complain(
                InstrumentError("LOCK: an alarm or the interlock must be cleared", code=_LOCK), query.encode()
            )
        return state

    def _insist(self, command: str, reached: Any, wanted: str) -> None:
        end = self.clock.monotonic() + 3.0
        while True:
            self.tell(command)
            if reached():
                return
            if self.clock.monotonic() >= end:
                raise NotConfirmed(f"{self.name}: '{command}' was sent for 3 s and {wanted} was not read back")
            self.clock.sleep(0.1)

    def _demand_seed_and_interlock(self) -> None:
        if self.ask_number(":DRIV:INTERLOCK?"):
            error = InstrumentError("interlock active, lasers locked", hint="Close the loop, then unlock_interlock()")
            raise self.transport.complain(error)
        if self.has_no("input"):
            return
        seed = self.input_power
        if seed < self.least_seed or self.ask_number(f"{_ALARMS['loss of input'][1]}?"):
            raise Refused(
                f"{self.name}: the pump stays off, because the seed is missing: {seed:.3g} W at the input, "
                f"{self.least_seed:.3g} W needed. A pumped amplifier without seed ends in a pulse"
            )
