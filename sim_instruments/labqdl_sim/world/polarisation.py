"""Polarisation: what turns it, what selects it. Jones vectors (x, y); rotations are those of Poincare's sphere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl_sim.world.fields import Field, Grid
from labqdl_sim.world.part import Parameter, Part
from labqdl_sim.world.passive import hindered, transmission

Complex = NDArray[np.complex128]
_PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], np.complex128)


def rotation(turns: NDArray[np.float64]) -> Complex:
    """exp(-i turns . sigma / 2): the unitary that rotates Poincare's sphere by |turns| about that axis; (2, 2)."""
    angle = float(np.linalg.norm(turns))
    if angle == 0.0:
        return np.eye(2, dtype=np.complex128)
    axis = np.tensordot(turns / angle, _PAULI, 1)
    unitary: Complex = math.cos(angle / 2) * np.eye(2) - 1j * math.sin(angle / 2) * axis
    return unitary


def wave_plate(angle: float, waves: float) -> Complex:
    """A retarder of so many waves with its fast axis at an angle in rad; (2, 2)."""
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    plate = np.diag(np.exp(1j * math.pi * waves * np.array([-1.0, 1.0])))
    unitary: Complex = turn @ plate @ turn.T
    return unitary


def turned(field: Field, matrix: Complex | None) -> Field:
    """Light behind a Jones matrix: what the matrix takes of its power goes out of the envelope."""
    if matrix is None:
        return field
    jones = matrix @ field.jones
    length = float(np.linalg.norm(jones))
    if length < 1e-150:
        return field.scaled(0.0)
    return replace(field.scaled(length) if abs(length - 1.0) > 1e-15 else field, jones=jones / length)


class PolarisingBeamSplitter(Part):
    """x leaves at `main`, y at `cross`; of the other polarisation each lets a share 10^(-extinction/10) through.

    The phase of what passes is in the envelope: behind it the polarisation is (1, e) or (e, 1) with a real first part.
    """

    kind = "pbs"
    light_inputs = ("input",)
    light_outputs = ("main", "cross")
    parameters: ClassVar = {
        "loss_db": Parameter("Loss in dB", 0.3, spread=0.05, low=0.0),
        "extinction_db": Parameter(
            "Power ratio of the two polarisations at an output in dB", 25.0, spread=1.0, low=0.0
        ),
    }
    faults: ClassVar = {"blocked": "no light passes", "excess_db": "so much more loss in dB"}

    def light(self, port: str, grid: Grid) -> Field:
        """One polarisation."""
        leak, kept = transmission(self["extinction_db"]), int(port == "cross")
        field = turned(self.field("input", grid), np.diag([leak, 1.0] if kept else [1.0, leak]).astype(np.complex128))
        wanted = complex(field.jones[kept])
        phase = wanted / abs(wanted) if abs(wanted) > 0.0 else 1.0
        field = replace(field.scaled(transmission(self["loss_db"]) * phase), jones=field.jones / phase)
        return hindered(self, field, grid)


class PolarisationController(Part):
    """Three loops of fibre that stand at angles: quarter, half and quarter wave plate, nearly.

    Who couples an instrument to it says by `turned_by` where the paddles stand; else all are at 0.
    """

    kind = "polarisation-controller"
    light_inputs = ("input",)
    light_outputs = ("output",)
    parameters: ClassVar = {
        "retardance_1": Parameter("Retardance of the first paddle in waves", 0.25, spread=0.01, low=0.0),
        "retardance_2": Parameter("Retardance of the second paddle in waves", 0.5, spread=0.02, low=0.0),
        "retardance_3": Parameter("Retardance of the third paddle in waves", 0.25, spread=0.01, low=0.0),
        "loss_db": Parameter("Loss in dB", 0.1, spread=0.02, low=0.0),
    }
    faults: ClassVar = {"blocked": "no light passes", "excess_db": "so much more loss in dB"}

    def setup(self) -> None:
        """Nobody turns the paddles."""
        self._angles: Callable[[float], Sequence[float] | NDArray[np.float64]] = lambda t: (0.0, 0.0, 0.0)

    def turned_by(self, angles: Callable[[float], Sequence[float] | NDArray[np.float64]]) -> None:
        """Couple to the angles of up to three paddles in rad, as a function of time."""
        self._angles = angles

    def jones(self, t: float) -> Complex:
        """Unitary at time t, (2, 2)."""
        matrix = np.eye(2, dtype=np.complex128)
        for index, angle in enumerate(self._angles(t)):
            matrix = wave_plate(float(angle), self[f"retardance_{index + 1}"]) @ matrix
        return matrix

    def light(self, port: str, grid: Grid) -> Field:
        """The input with its polarisation turned as the paddles stand at the grid's beginning."""
        field = turned(self.field("input", grid), self.jones(grid.start))
        field = field.scaled(transmission(self["loss_db"]))
        return hindered(self, field, grid)


PARTS = (PolarisingBeamSplitter, PolarisationController)
