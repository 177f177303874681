"""Light as the world computes it: a complex envelope on a grid of instants.

The world propagates *classical* amplitudes and classical noise (P-sampling, physics P5.1): vacuum carries no field,
and each detector adds its own shot noise. That is exact as long as nothing is squeezed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class Grid:
    """Equally spaced instants: `start` in s, `step` in s, `count`. All pulls of one world have its step."""

    start: float
    step: float
    count: int

    @property
    def instants(self) -> NDArray[np.float64]:
        """The instants in s; (count,)."""
        instants: NDArray[np.float64] = self.start + self.step * np.arange(self.count, dtype=np.float64)
        return instants

    @property
    def first(self) -> int:
        """Index of the first instant on the world's own raster, the nearest one: noise is looked up by it."""
        return round(self.start / self.step)

    def delayed(self, seconds: float) -> Grid:
        """The instants at which what arrives on this grid left a place `seconds` upstream."""
        return replace(self, start=self.start - seconds)

    def widened(self, before: int, after: int = 0) -> Grid:
        """The same raster with so many more instants before and after."""
        return Grid(self.start - before * self.step, self.step, self.count + before + after)


@dataclass(frozen=True, slots=True)
class Field:
    """Light in one fibre on a grid.

    Attributes
    ----------
    envelope:
        Complex amplitude against a carrier at the world's wavelength; |envelope|^2 is photons a second; (count,).
    jones:
        Polarisation, a complex unit vector (x, y) that does not change within the grid; (2,).
    wavelength:
        Vacuum wavelength in m.
    """

    envelope: Complex
    jones: Complex
    wavelength: float = 1550e-9

    @classmethod
    def dark(cls, grid: Grid, wavelength: float = 1550e-9) -> Field:
        """No light."""
        return cls(np.zeros(grid.count, np.complex128), np.array([1.0, 0.0], np.complex128), wavelength)

    def scaled(self, amplitude: complex | Complex | NDArray[np.float64]) -> Field:
        """With its amplitude multiplied by a number or by (count,) numbers."""
        return replace(self, envelope=self.envelope * amplitude)

    @property
    def flux(self) -> float:
        """Mean photons a second."""
        return float(np.mean(np.square(self.envelope.real) + np.square(self.envelope.imag)))
