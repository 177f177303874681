"""The generic lock box, a phase servo with a few SCPI commands; its fact sheet is its page in the documentation."""

from __future__ import annotations

import math
from typing import ClassVar

from labqdl.driver import Bool, Choice, Float, Integer, ScpiInstrument, reasons
from labqdl.errors import InputError
from labqdl.instruments import LockState, NotConfirmed, PhaseServo

VOLTS_PER_RADIAN = 2.0 / math.pi
"""Set point for an angle."""


class LockBox(ScpiInstrument, PhaseServo):
    """A loop that holds the phase of a local oscillator against the light that it meets.

    `set_point` chooses the angle: 1 V is 90 degrees. After a slip the loop must be closed again: `acquire`.
    """

    maker = "labqdl"
    models = ("LOCKBOX",)
    sheet = "labqdl-lockbox"
    identity_pattern = r"(?i)labqdl LOCKBOX"
    timeout = 2.0
    left_out: ClassVar = reasons({"*RST": "changes everything at once", "*CLS": "errors are read from the queue"})

    engaged = Bool("LOCK?", "LOCK {}")
    set_point = Float("LOCK:SETP?", "LOCK:SETP {}", unit="V", limits=(-2.0, 2.0))
    state = Choice(
        "LOCK:COND?",
        words={
            LockState.UNLOCKED: "UNLOCKED",
            LockState.ACQUIRING: "ACQUIRING",
            LockState.LOCKED: "LOCKED",
            LockState.SLIPPED: "SLIPPED",
        },
    )
    actuator = Float("ACT:VOLT?", unit="V")
    slips = Integer("LOCK:SLIP?", doc="How often it slipped since it was closed.")
    residual = Float("LOCK:RES?", unit="V", doc="Noise of the error signal around the set point, rms.")
    input_power = Float("INP:POW?", unit="W", doc="Light in the local oscillator's fibre.")

    def acquire(self, timeout: float = 5.0) -> None:
        """Close the loop, or close it again, and wait until it holds.

        Raises
        ------
        InputError
            For a time limit that is not positive.
        NotConfirmed
            Where it does not lock in time.
        """
        if not timeout > 0:
            raise InputError(f"a time limit of {timeout!r} s", source=self.name, expected="a positive number")
        with self.exclusive():
            self.engaged = True
            self.wait_until(lambda: self.state is LockState.LOCKED, timeout, "lock", interval=0.01)

    def safe_state(self) -> None:
        """Open the loop, and see that the actuator is at 0 V."""
        with self.unconditionally():
            self.engaged = False
            volts = self.actuator
        if abs(volts) > 1e-3:
            raise NotConfirmed(f"{self.name}: the loop is open and its actuator stands at {volts:g} V")
