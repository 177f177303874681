"""Fibre: loss, delay, slow phase and polarisation, light that is scattered back, and the end of it when it breaks."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.units import LIGHT_SPEED
from labqdl_sim.world.fields import Field, Grid
from labqdl_sim.world.held import gradual
from labqdl_sim.world.noise import Drift
from labqdl_sim.world.part import Parameter, Part
from labqdl_sim.world.passive import hindered, transmission
from labqdl_sim.world.polarisation import rotation, turned

GROUP_INDEX = 1.468
"""Of standard single-mode fibre at 1550 nm."""
_SEGMENTS = 16
_POLARISATION_STEP = 1e-3
"""s for which the polarisation of the light in a fibre is taken to stand."""


class Fibre(Part):
    """A length of single-mode fibre.

    Without `birefringence_*` and `polarisation_drift` it maintains polarisation. Light that is scattered back leaves
    at `back`: it comes from 16 places along the fibre with independent complex normal amplitudes, so that its mean
    power is `backscatter_db` below what enters.
    """

    kind = "fibre"
    light_inputs = ("input",)
    light_outputs = ("output", "back")
    parameters: ClassVar = {
        "length": Parameter("Length in m", 1.0, low=0.0),
        "loss_db": Parameter("Loss from end to end in dB", 0.0, low=0.0),
        "delay": Parameter("Delay beyond that of the length in s", 0.0),
        "phase": Parameter("Phase at the beginning in rad; a spread of 3 makes it arbitrary", 0.0, spread=3.0),
        "phase_drift": Parameter("Slow wander of the phase, rad rms", 0.0, low=0.0),
        "drift_time": Parameter("Correlation time of phase and polarisation in s", 10.0, low=1e-6),
        "birefringence_x": Parameter("Rotation about the first axis of Poincare's sphere in rad", 0.0),
        "birefringence_y": Parameter("Rotation about the second axis of Poincare's sphere in rad", 0.0),
        "birefringence_z": Parameter("Rotation about the third axis of Poincare's sphere in rad", 0.0),
        "polarisation_drift": Parameter("Slow wander of each of the three rotations, rad rms", 0.0, low=0.0),
        "backscatter_db": Parameter("Power that is scattered back, below what enters, in dB", 80.0, low=0.0),
    }
    faults: ClassVar = {
        "broken": "no light leaves",
        "blocked": "no light leaves: unplugged",
        "excess_db": "so much more loss in dB: a bend",
        "phase_jump": "the phase jumps by so many rad",
        "polarisation_jump": "the polarisation turns by so many rad on Poincare's sphere",
    }

    def setup(self) -> None:
        """Slow phase, slow polarisation, scattering places."""
        root, name, time = self.world.root, self.name, self["drift_time"]
        self._phase = Drift(root, f"phase {name}", time)
        self._axes = [Drift(root, f"polarisation {name} {axis}", time) for axis in "xyz"]
        normals = root.generator(f"backscatter {name}").standard_normal((2, _SEGMENTS))
        self._scattering = (normals[0] + 1j * normals[1]) / math.sqrt(2 * _SEGMENTS)

    @property
    def delay(self) -> float:
        """Seconds from end to end."""
        return self["length"] * GROUP_INDEX / LIGHT_SPEED + self["delay"]

    def light(self, port: str, grid: Grid) -> Field:
        """What leaves the far end, or comes back out of the near one."""
        return self._scattered(grid) if port == "back" else self._passed(grid)

    def _passed(self, grid: Grid) -> Field:
        field = self.field("input", grid.delayed(self.delay))
        field = field.scaled(transmission(self["loss_db"]) * self.phasor(grid))
        if self.strikes("broken"):
            field = field.scaled(np.where(self.struck_at("broken", grid.instants) > 0.0, 0.0, 1.0))
        return turned(hindered(self, field, grid), self.jones(grid.start))

    def phasor(self, grid: Grid) -> complex | NDArray[np.complex128]:
        """Factor of its slow phase, and of what jumps it; one number or (count,)."""
        if self["phase_drift"] == 0.0 and not self.strikes("phase_jump"):
            return complex(np.exp(1j * self["phase"]))
        drift, width = self._phase, self["phase_drift"]
        phasor = gradual(lambda when: np.exp(1j * (self["phase"] + width * drift.at(when))), grid, self["drift_time"])
        if self.strikes("phase_jump"):
            phasor = phasor * np.exp(1j * self.struck_at("phase_jump", grid.instants))
        return phasor

    def jones(self, t: float) -> NDArray[np.complex128] | None:
        """Unitary of the polarisation around time t, shape (2, 2); None where it is 1."""
        t = math.floor(t / _POLARISATION_STEP) * _POLARISATION_STEP
        turns = np.array([self[f"birefringence_{axis}"] for axis in "xyz"])
        if self["polarisation_drift"] > 0.0:
            turns += self["polarisation_drift"] * np.array([float(axis.at(np.array([t]))[0]) for axis in self._axes])
        turns[1] += self.struck("polarisation_jump", t + _POLARISATION_STEP)
        return rotation(turns) if np.any(turns) else None

    def _scattered(self, grid: Grid) -> Field:
        mean = transmission(self["backscatter_db"])
        total = Field.dark(grid)
        places = (np.arange(_SEGMENTS) + 0.5) / _SEGMENTS
        for place, weight in zip(places, self._scattering, strict=True):
            field = self.field("input", grid.delayed(2.0 * place * self.delay))
            total = Field(total.envelope + mean * weight * field.envelope, field.jones, field.wavelength)
        return total


PARTS = (Fibre,)
