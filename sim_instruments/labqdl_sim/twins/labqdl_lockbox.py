"""The generic lock box: a loop in hardware that holds the phase of a local oscillator (docs/instruments).

Light passes from "input" to "output"; "actuator" is the voltage on the phase shifter. What the loop makes of the phase
the optical world knows, which couples by `lost_at`: when since an instant the light, on either side, went away. Without
a world the loop holds as long as its own fibre is lit.

What the sheet leaves open, and what stands here: the fibre inside has a loss of 1 dB; a slip by the fault "slip" comes
when the fault begins; the error signal's residual is the option `residual` (V), and the actuator's voltage wanders by
`wander` (V) with the drift that it makes good.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from labqdl.units import from_db
from labqdl_sim.ports import Light
from labqdl_sim.scpi import Boolean, Number, Param, ScpiTwin, query

_LEAST = 1e-6
"""W that the loop needs."""
_RANGE = 10.0
"""V: the actuator goes from -_RANGE to _RANGE."""


class LockBox(ScpiTwin):
    """A lock box.

    Options: `acquire_time` (s), `residual` (rms of the error signal, V), `wander` (V), `loss` (dB).
    """

    maker = "LABQDL"
    model = "LOCKBOX"
    serial = "L0001"
    firmware = "1.0"
    roads = ("socket",)
    error_format = '{code:d},"{text}"'

    def setup(self) -> None:
        """Open the fibres and the actuator."""
        self.acquire_time = self.option("acquire_time", 0.05)
        self.residual = self.option("residual", 0.02)
        self.wander = self.option("wander", 1.5)
        self.loss = from_db(-self.option("loss", 1.0))
        self.input = self.light_in("input")
        self.light_out("output", self.light)
        self.voltage_out("actuator", lambda instants: np.full(instants.shape, self.volts(float(instants.max()))))
        self.lost_at: Callable[[float, float], float | None] = lambda since, until: None
        """When between two instants, at the earliest, the loop lost its light; None: it did not."""
        self.drift: Callable[[float], float] = lambda t: 0.5 + 0.3 * math.sin(2 * math.pi * t / 60.0)
        """The phase that the actuator makes good, by its rms."""

    def reset(self) -> None:
        """Open."""
        self.engaged_at: float | None = None
        self.slipped_at: float | None = None
        self.slips = 0

    def number(self, value: float) -> str:
        """Six digits behind the point."""
        return f"{value:.6E}"

    set_point = Param("LOCK:SETPoint", Number("V", (-2.0, 2.0)), 0.0)
    closed = Param("LOCK[:STATe]", Boolean(), False)

    @closed.check
    def _held(self, on: bool) -> bool:
        return on or (self.stays_on and self.engaged_at is not None)

    @closed.changed
    def _switched(self, on: bool) -> None:
        if on:
            self.engaged_at, self.slipped_at = self.now, None
        else:
            self.engaged_at = self.slipped_at = None
            self.slips = 0

    def follow(self, t: float) -> None:
        """See whether it slipped up to now."""
        begin = self.begins
        if begin is None or self.slipped_at is not None or t <= begin:
            return
        lost = t if self.faults.active("slip") else self.lost_at(begin, t)
        if lost is None and self.input.power(t) < _LEAST:
            lost = t
        if lost is not None:
            self.slipped_at = lost
            self.slips += 1

    @property
    def begins(self) -> float | None:
        """When it begins, or began, to hold; None while it is open."""
        return None if self.engaged_at is None else self.engaged_at + self.acquire_time

    def holds(self, t: float) -> tuple[float, float]:
        """From when to when it holds, as seen from time t; nothing lies between (inf, inf)."""
        self.follow(t)
        if self.begins is None:
            return math.inf, math.inf
        return self.begins, math.inf if self.slipped_at is None else self.slipped_at

    def light(self, t: float) -> Light:
        """What leaves the fibre."""
        light = self.input.at(t)
        return replace(light, power=light.power * self.loss)

    def volts(self, t: float) -> float:
        """Voltage on the actuator."""
        if self.engaged_at is None:
            return 0.0
        at = t if self.slipped_at is None else self.slipped_at
        return float(np.clip(self.set_point + self.wander * self.drift(at), -_RANGE, _RANGE))

    @query("LOCK:CONDition?")
    def lock_state(self) -> str:
        """Whether it holds."""
        begin, end = self.holds(self.now)
        if self.engaged_at is None:
            return "UNLOCKED"
        if self.now >= end:
            return "SLIPPED"
        return "LOCKED" if self.now >= begin else "ACQUIRING"

    @query("LOCK:SLIPs?")
    def ask_slips(self) -> int:
        """How often it slipped."""
        self.follow(self.now)
        return self.slips

    @query("LOCK:RESidual?")
    def ask_residual(self) -> float:
        """Noise of the error signal, as it measures it."""
        begin, end = self.holds(self.now)
        return self.residual if begin <= self.now < end else 1.0

    @query("ACTuator:VOLTage?")
    def ask_volts(self) -> float:
        """The actuator."""
        self.follow(self.now)
        return self.volts(self.now)

    @query("INPut:POWer?")
    def ask_power(self) -> float:
        """Light of the local oscillator."""
        return self.input.power(self.now)


TWIN = LockBox
