"""From amplitudes to the voltages of an I/Q modulator and back.

Two Mach-Zehnder modulators at their null stand in the arms of a third one. With the relative imbalance g = (amplitude
of I - amplitude of Q) / mean, the angle pi/2 + e between the arms, and A the amplitude at the maximum of the I arm,

    alpha = A [sin(pi V_I / 2 V_pi,I) + i exp(i e) rho sin(pi V_Q / 2 V_pi,Q)],   rho = (1 - g/2)/(1 + g/2).

Solved from the imaginary part up; the arcsine is exact, so that nothing is linearised.

A child that leaks, f(x) = sin x - i l cos x, is biased beside its own null so that no light is left at 0 V (I by -rho
l, Q by l / rho). To first order in l that adds -A l (rho + i) [cos(pi V_I / 2 V_pi,I) - cos(pi V_Q / 2 V_pi,Q)], which
a few turns of the same solution take off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError

_TURNS = 5
Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class ModulatorMap:
    """The map of one modulator.

    Attributes
    ----------
    v_pi_i, v_pi_q:
        Half-wave voltages of both arms as seen by the generator, V.
    imbalance:
        (amplitude of I - amplitude of Q) / their mean.
    quadrature_error:
        Angle between the arms less 90 degrees, rad.
    drive:
        Peak voltage of the generator, V.
    leak:
        l of f(x) = sin x - i l cos x, what a child modulator does with the light at an angle x from its null: l^2 is
        its power extinction. 0 for a perfect null.
    """

    v_pi_i: float
    v_pi_q: float
    imbalance: float
    quadrature_error: float
    drive: float
    leak: float = 0.0

    def __post_init__(self) -> None:
        if not (self.v_pi_i > 0 and self.v_pi_q > 0 and self.drive > 0):
            raise ValueError("half-wave voltages and drive must be positive")
        if not (abs(self.imbalance) < 2 and abs(self.quadrature_error) < math.pi / 2):
            raise ValueError("no I/Q modulator has this imbalance or quadrature error")
        if not abs(self.leak) < 0.2:
            raise ValueError(f"no modulator leaks an amplitude of {self.leak!r}")

    @property
    def _ratio(self) -> float:
        return (1.0 - self.imbalance / 2) / (1.0 + self.imbalance / 2)

    @property
    def full_drive(self) -> float:
        """Amplitude of the I arm at the generator's peak voltage, as a share of its maximum."""
        angle = math.pi / 2 * min(self.drive / self.v_pi_i, 1.0)
        return abs(math.sin(angle) + self.leak * (self._ratio + 1j) * (1.0 - math.cos(angle)))

    def relative(self, i: Real, q: Real) -> Complex:
        """Amplitudes that voltages make, in units of a full-scale bin: I at the generator's peak, Q at 0."""
        along = np.sin(math.pi / 2 / self.v_pi_i * i).astype(np.complex128)
        across = np.sin(math.pi / 2 / self.v_pi_q * q)
        along += 1j * np.exp(1j * self.quadrature_error) * self._ratio * across
        return (along + self._leaked(i, q)) / self.full_drive

    def _leaked(self, i: Real, q: Real) -> Complex:
        """What the children's leak changes at these voltages, in units of the I arm's maximum."""
        cosines = np.cos(math.pi / 2 / self.v_pi_i * i) - np.cos(math.pi / 2 / self.v_pi_q * q)
        return np.asarray(-self.leak * (self._ratio + 1j) * cosines)

    def reach(self) -> float:
        """Largest modulus, in units of a full-scale bin, that is reached at every phase."""
        most_i = math.sin(math.pi / 2 * min(self.drive / self.v_pi_i, 1.0))
        most_q = math.sin(math.pi / 2 * min(self.drive / self.v_pi_q, 1.0))
        across = self._ratio * most_q * math.cos(self.quadrature_error)
        bare = min(most_i / (1 + abs(math.tan(self.quadrature_error))), across) / self.full_drive
        return bare * (1.0 - 2.0 * abs(self.leak))

    def voltages(self, amplitudes: Complex) -> tuple[Real, Real]:
        """Voltages for amplitudes in units of a full-scale bin; shape of `amplitudes` each.

        Raises
        ------
        InputError
            For an amplitude that the modulator or the generator cannot make; nothing is ever clipped.
        """
        scaled = np.asarray(amplitudes) * self.full_drive
        i, q = self._bare(scaled)
        # The leak is small, and so is what it changes by from one turn to the next.
        for _ in range(_TURNS if self.leak else 0):
            i, q = self._bare(scaled - self._leaked(i, q))
        return i, q

    def _bare(self, scaled: Complex) -> tuple[Real, Real]:
        """Voltages of modulators without a leak, for amplitudes in units of the I arm's maximum."""
        across = scaled.imag / (self._ratio * math.cos(self.quadrature_error))
        along = scaled.real + self._ratio * math.sin(self.quadrature_error) * across
        volts = []
        for share, v_pi in ((along, self.v_pi_i), (across, self.v_pi_q)):
            most = math.sin(math.pi / 2 * min(self.drive / v_pi, 1.0))
            worst = float(np.max(np.abs(share), initial=0.0))
            if not worst <= most * (1 + 1e-9):
                raise InputError(
                    f"a bin needs {worst / most:.3g} times what the modulator makes at the generator's "
                    f"{self.drive:g} V",
                    expected="amplitudes within the modulator's full scale",
                )
            volts.append(2 * v_pi / math.pi * np.arcsin(np.clip(share, -most, most)))
        return volts[0], volts[1]
