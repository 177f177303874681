"""Santec TSL-550, TSL-570, TSL-580 and TSL-710 tunable lasers (SCPI-like commands, in either unit system)."""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from labqdl.driver import (
    DBM,
    MILLI,
    NANO,
    SI,
    Action,
    Bool,
    Choice,
    Custom,
    Float,
    Integer,
    ScpiInstrument,
    Switched,
    Uses,
    Wire,
    reasons,
)
from labqdl.errors import InputError
from labqdl.instruments import IMMEDIATE, Completion, Laser, Limit, NotConfirmed, OperationComplete, Part, absent
from labqdl.transport import InstrumentError, Line, ProtocolError
from labqdl.units import from_dbm

_ALERT = re.compile(r"No(\d+)\.,\s*(.*)")
ALERTS = {
    0: "power-supply error 1",
    2: "power-supply error 2",
    3: "power-supply error 3",
    5: "wavelength error",
    6: "power-setting error",
    7: "interlock",
    20: "temperature control 1",
    21: "temperature control 2",
    22: "temperature control 3",
    23: "warming up",
    25: "shutter",
    26: "sensor",
    27: "connection",
    28: "exhaust fan",
}
_SETTLED = OperationComplete(60.0)


class SweepMode(StrEnum):
    """How the wavelength is swept."""

    STEPS = "steps"
    CONTINUOUS = "continuous"
    STEPS_BOTH_WAYS = "steps both ways"
    CONTINUOUS_BOTH_WAYS = "continuous both ways"


class SweepState(StrEnum):
    """What the sweep does now."""

    STOPPED = "stopped"
    RUNNING = "running"
    WAITING = "waits for a trigger"
    PREPARING = "moves to its start"


class TriggerOutput(StrEnum):
    """When the trigger output gives a pulse."""

    NONE = "none"
    STOP = "stop"
    START = "start"
    STEP = "step"


class _Wave(Float):
    """A wavelength in nm with 4 decimals, or in m with 10 digits, as the laser's command set wants it."""

    def form(self, value: float, part: Part) -> str:
        """The digits on the wire."""
        return f"{value:.9E}" if cast(SantecTSL, part).metres else f"{NANO.from_si(value):.4f}"


def _wave(command: str, *, low: float | None = None, doc: str = "", done: Completion = IMMEDIATE) -> _Wave:
    return _Wave(
        command + "?",
        command + " {}",
        unit="m",
        wire=lambda laser: SI if laser.metres else NANO,
        limits=(lambda laser: laser.band) if low is None else Limit(low, reason="of the sheet"),
        doc=doc,
        done=done,
    )


_POWERS = Limit(from_dbm(-15.0), from_dbm(13.0), "of the sheet; the laser does not tell its own")
_UNIT = ":POW:UNIT?"
_WIRES: dict[str, Wire] = {"0": DBM, "1": MILLI}


class _Attenuation(Float):
    """The attenuator, which can be set only while it does not follow the power."""

    def store(self, part: Part, value: float) -> None:
        """Refuse in automatic mode, in which the laser sets it by itself."""
        laser = cast(SantecTSL, part.instrument)
        if laser.constant_power:
            raise InputError(
                "the attenuator follows the power set point",
                source=laser.name,
                key="attenuation",
                hint="Set constant_power to False first. Nothing was set",
            )
        super().store(part, value)


class _Speed(Float):
    """The speed of sweeps, of which a TSL-570 knows eight."""

    def checked(self, part: Part, value: object) -> float:
        """One of the speeds that the model has."""
        speed, known = super().checked(part, value), cast(SantecTSL, part.instrument).listed_speeds
        if known and not any(math.isclose(speed, one * 1e-9, rel_tol=1e-6) for one in known):
            raise InputError(
                f"{speed * 1e9:.6g} nm/s is none of its speeds",
                source=part.instrument.name,
                key="sweep_speed",
                expected=f"{', '.join(map(str, known))} nm/s",
                hint="Nothing was sent",
            )
        return speed


class SantecTSL(ScpiInstrument, Laser):
    """A tunable laser that sweeps.

    Its command set (nm, or SI units on a TSL-570) is read when it opens and stays as it is, and so does the unit of
    power. `emission` is the diode on and the shutter open; off, and in the safe state, the diode is off, since the
    sources of the sheet disagree on which way round the shutter's command goes: look, before you gate with
    `open_shutter`. It returns when ``*OPC?`` says that tuning is over, tens of seconds after a cold start.
    The two-letter commands of older models are not used, and make up more than a third of the sheet.
    Just over 300 lines: the sweep and its triggers are a third of them.
    """

    maker = "Santec"
    models = ("TSL-550", "TSL-570", "TSL-580", "TSL-710")
    sheet = "laser_santec_tsl550_tsl570"
    identity_pattern = r"(?i)santec TSL-?(550|570|580|710)"
    framing = Line(b"\r")
    timeout = 5.0
    error_query = ":SYST:ERR?"
    left_out: ClassVar = reasons(
        {
            "WAV:FREQ": "the wavelength says the same",
            "WAV:UNIT": "of the display",
            "READ:DAT:POW": "the sheet has it from general knowledge only, without its layout",
            "SPEC *RST": "changes everything at once",
            "*CLS *STB *ESR": "errors are read from the queue",
            "LO LF WA FQ FT OP LP AT AF AO SO SC CO CF SS SE FS FF WW WF SN SB SA SZ SM SG SP SR SQ SK TRE TRD TM TW "
            "TN TA SU": "older models; the long commands do the same",
        }
    )

    # Until `learn` has asked the laser.
    metres = False
    band = Limit(reason="of the laser, not read yet")
    speeds = Limit(0.5e-9, 200e-9, "of the sheet")
    listed_speeds: tuple[int, ...] = ()

    diode = Bool(
        ":POW:STAT?", ":POW:STAT {}", energises=True, done=OperationComplete(60.0), doc="Whether the diode is on."
    )
    open_shutter = Bool(
        ":POW:SHUT?", ":POW:SHUT {}", on="0", off="1", energises=True, doc="Whether the shutter is open, by the sheet."
    )

    def _set_emission(self, on: bool) -> None:
        if not on:
            self.diode = False
            self.confirm(self, "diode", False)
            return
        try:
            self.diode = True
        except InstrumentError as error:
            raise self.transport.complain(InstrumentError(f"{error.text}; {self.alert()}", code=error.code)) from error
        if not self.diode:
            raise NotConfirmed(f"{self.name}: the diode stays off: {self.alert() or 'no alert'}")
        self.open_shutter = True

    emission = Custom(
        bool,
        lambda laser: laser.diode and laser.open_shutter,
        _set_emission,
        uses=("POW:STAT", "POW:SHUT"),
        derived=True,
    )
    power = Switched(
        ":POW?", ":POW {}", unit_query=_UNIT, wires=_WIRES, unit="W", form=".2f", limits=_POWERS, done=_SETTLED
    )
    measured_power = Switched(":POW:ACT?", unit_query=_UNIT, wires=_WIRES, unit="W")
    wavelength = _wave(":WAV", done=_SETTLED)
    temperature = absent("the sheet has no command that tells a temperature")
    fine_tune = Float(
        ":WAV:FIN?",
        ":WAV:FIN {}",
        unit="1",
        form=".2f",
        limits=(-100.0, 100.0),
        done=_SETTLED,
        doc="Fine tuning with the piezo, in the laser's own units: -100 to 100, which are no known wavelength.",
    )
    end_fine_tune = Action(":WAV:FIN:DIS", doc="End fine tuning.")
    coherence_control = Bool(":COHC?", ":COHC {}", doc="Whether the line is broadened.")
    attenuation = _Attenuation(
        ":POW:ATT?", ":POW:ATT {}", unit="dB", form=".2f", limits=(0.0, 30.0), doc="Internal attenuator."
    )
    constant_power = Bool(
        ":POW:ATT:AUT?", ":POW:ATT:AUT {}", doc="Whether the attenuator follows the power set point."
    ).moving("attenuation")

    sweep_start = _wave(":WAV:SWE:STAR", doc="Where a sweep begins.")
    sweep_stop = _wave(":WAV:SWE:STOP", doc="Where a sweep ends.")
    sweep_step = _wave(":WAV:SWE:STEP", low=0.1e-12, doc="Step of a sweep in steps.")
    sweep_mode = Choice(
        ":WAV:SWE:MOD?",
        ":WAV:SWE:MOD {}",
        words={mode: str(number) for number, mode in enumerate(SweepMode)},
        doc="How the wavelength is swept.",
    )
    sweep_speed = _Speed(
        ":WAV:SWE:SPE?",
        ":WAV:SWE:SPE {}",
        unit="m/s",
        wire=NANO,
        form=".1f",
        limits=lambda laser: laser.speeds,
        doc="Speed of a continuous sweep; the TSL-570 takes 1, 2, 5, 10, 20, 50, 100 and 200 nm/s.",
    )
    sweep_dwell = Float(
        ":WAV:SWE:DWEL?", ":WAV:SWE:DWEL {}", unit="s", form=".1f", limits=(0.0, 999.9), doc="Rest at each step."
    )
    sweep_delay = Float(
        ":WAV:SWE:DEL?", ":WAV:SWE:DEL {}", unit="s", form=".1f", limits=(0.0, 999.9), doc="Rest between sweeps."
    )
    sweep_cycles = Integer(":WAV:SWE:CYCL?", ":WAV:SWE:CYCL {}", limits=(0, 999), doc="Sweeps that one start makes.")
    sweeps_done = Integer(":WAV:SWE:COUN?", doc="Sweeps that are finished.")
    sweep_state = Choice(
        ":WAV:SWE?",
        words={
            SweepState.STOPPED: "0",
            SweepState.RUNNING: "1",
            SweepState.WAITING: "3",
            SweepState.PREPARING: "4",
        },
        doc="What the sweep does now.",
    )
    start_sweep = Action(":WAV:SWE 1", doc="Start `sweep_cycles` sweeps.")
    repeat_sweep = Action(":WAV:SWE:REP", doc="Sweep until it is stopped.")
    stop_sweep = Action(":WAV:SWE 0", doc="Stop sweeping.")
    trigger_output = Choice(
        ":TRIG:OUTP?",
        ":TRIG:OUTP {}",
        words={one: str(number) for number, one in enumerate(TriggerOutput)},
        doc="When the trigger output gives a pulse.",
    )
    trigger_by_wavelength = Bool(
        ":TRIG:OUTP:SETT?", ":TRIG:OUTP:SETT {}", doc="Whether pulses have equal distances in wavelength, not in time."
    )
    trigger_step = _wave(":TRIG:OUTP:STEP", low=0.1e-12, doc="Distance of the trigger pulses.")
    external_trigger = Bool(":TRIG:INP:EXT?", ":TRIG:INP:EXT {}", doc="Whether the trigger input starts sweeps.")
    trigger_standby = Bool(":TRIG:INP:STAN?", ":TRIG:INP:STAN {}", doc="Whether a sweep waits for its trigger.")
    trigger = Action(":TRIG:INP:SOFT", doc="Trigger by software.")

    @Uses(":SYST:COMM:COD?", ":WAV:MIN?", ":WAV:MAX?")
    def learn(self) -> None:
        """Read the command set and the band."""
        model = (self._identity or self.identity()).model
        self.metres = bool(re.search("5[78]0", model)) and self.ask(":SYST:COMM:COD?") == "1"
        ends = (":WAV? MIN", ":WAV? MAX") if self.metres else (":WAV:MIN?", ":WAV:MAX?")
        low, high = (self.ask_number(query) * (1.0 if self.metres else 1e-9) for query in ends)
        self.band = Limit(low, high, "of the laser")
        self.speeds = Limit(0.5e-9, 100e-9, "of the sheet") if "550" in model else Limit(1e-9, 200e-9, "of the sheet")
        self.listed_speeds = (1, 2, 5, 10, 20, 50, 100, 200) if "570" in model else ()

    def wait_complete(self, timeout: float) -> None:
        """Ask ``*OPC?``, which answers 0 at once while something is under way."""

        def complete() -> bool:
            reply = self.ask("*OPC?")
            if reply not in ("0", "1"):
                raise self.wrong_reply("*OPC?", reply, "0 or 1")
            return reply == "1"

        self.wait_until(complete, timeout, "complete its operation", interval=0.05)

    def wait_sweep(self, timeout: float) -> None:
        """Wait until the sweep has stopped."""
        self.wait_until(lambda: self.sweep_state is SweepState.STOPPED, timeout, "end its sweep", interval=0.05)

    @Uses(":WAV:SWE:RANG:MIN?", ":WAV:SWE:RANG:MAX?")
    def sweep_range(self) -> tuple[float, float]:
        """Least and greatest wavelength of a sweep at the present speed, in m."""
        factor = 1.0 if self.metres else 1e-9
        low, high = (self.ask_number(f":WAV:SWE:RANG:{end}?") * factor for end in ("MIN", "MAX"))
        return low, high

    @Uses(":READ:POIN?", ":READ:DAT?")
    def wavelength_log(self) -> NDArray[np.float64]:
        """The wavelengths in m at the trigger pulses of the last sweep.

        32-bit numbers of 0.1 pm; points of 8 bytes (SI units) are taken for metres, which the sheet has not verified.
        """
        with self.exclusive():
            points = int(self.ask_number(":READ:POIN?"))
            data = self.transport.query_block(b":READ:DAT?", np.uint8)
        if data.size == 4 * points:
            return data.view("<u4") * 1e-13
        if data.size == 8 * points:
            return data.view("<f8").astype(np.float64)
        error = ProtocolError(f"a log of {data.size} bytes for {points} points")
        raise self.transport.complain(error, b":READ:DAT?")

    @Uses(":SYST:ALER?")
    def alert(self) -> str:
        """The present alert with its number and the sheet's words; "" for none."""
        reply = self.ask(":SYST:ALER?")
        if reply.lower().startswith("no alert"):
            return ""
        match = _ALERT.fullmatch(reply)
        if match is None:
            raise self.wrong_reply(":SYST:ALER?", reply, "an alert such as No07., Inter lock detection")
        number = int(match[1])
        return f"alert {number}: {ALERTS.get(number, match[2])}"

    def is_stable(self) -> bool:
        """Whether the diode is on, no tuning is under way and there is no alert."""
        return self.diode and self.ask("*OPC?") == "1" and not self.alert()

    def safe_state(self) -> None:
        """Switch the diode off and confirm it; the shutter stays as it is."""
        with self.unconditionally():
            self.force(":POW:STAT 0")
            self.confirm(self, "diode", False)
