"""Exact tails of quadratic forms of Gaussian noise, homodyned or counted.

A sum of squared residuals is Q = sum_i lambda_i chi2(nu_i, noncentral); a number of photons after nulling is Poisson
with an intensity of that same form (plus dark counts). Both have an elementary cumulant generating function (CGF),
and a tail probability is a line integral over it, which the trapezoidal rule computes to rounding error. That
spares scaled chi-square (Satterthwaite) and normal approximations, which are wrong by factors at 1e-6. Derivation in
`docs/physics.md`, section "Verification".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

_Tilt = TypeVar("_Tilt", np.float64, np.complex128)

_NODES = 1001
_LOWEST = -40.0
"""Photon-number tilts below this are zero photons for every purpose: e^-40."""


@dataclass(frozen=True, slots=True)
class QuadraticLaw:
    """Law of Q = sum_i lambda_i chi2_{nu_i} (a noncentral part at most `shifts`), or of the photons it makes.

    Attributes
    ----------
    terms:
        Pairs (nu, lambda): degrees of freedom (real, >= 0) and variance of each, SNU or photons.
    shifts:
        Pairs (M, lambda): squared length of a mean and the variance along it; 0 for a central law.
    poisson:
        Mean of an independent Poisson count (dark counts, imperfect extinction); only when counting.
    counting:
        False for Q itself, True for Poisson counts whose intensity is Q.
    """

    terms: tuple[tuple[float, float], ...]
    shifts: tuple[tuple[float, float], ...] = ()
    poisson: float = 0.0
    counting: bool = False

    @classmethod
    def sum(cls, laws: Iterable[QuadraticLaw]) -> QuadraticLaw:
        """Law of the sum of independent quantities; at least one law, all of the same kind."""
        chosen = tuple(laws)
        if len({law.counting for law in chosen}) != 1:
            raise ValueError("laws to be added must be at least one, all homodyned or all counted")
        return cls(
            tuple(term for law in chosen for term in law.terms),
            tuple(shift for law in chosen for shift in law.shifts),
            math.fsum(law.poisson for law in chosen),
            chosen[0].counting,
        )

    @property
    def mean(self) -> float:
        """Expectation, SNU or photons."""
        return math.fsum([*(nu * lam for nu, lam in self.terms), *(m for m, _ in self.shifts), self.poisson])

    @property
    def variance(self) -> float:
        """Variance, SNU squared or photons squared."""
        spread = math.fsum([*(2 * nu * lam * lam for nu, lam in self.terms), *(4 * m * lam for m, lam in self.shifts)])
        return spread + (self.mean if self.counting else 0.0)

    @property
    def largest(self) -> float:
        """Largest variance of any direction; 0 for a purely Poisson law."""
        return max((lam for nu, lam in (*self.terms, *self.shifts) if nu > 0), default=0.0)

    @property
    def limit(self) -> float:
        """Supremum of the tilts s at which the CGF is finite (inf for a purely Poisson law)."""
        if self.largest == 0:
            return math.inf
        bound = 0.5 / self.largest
        return math.log1p(bound) if self.counting else bound

    def cgf(self, s: NDArray[_Tilt]) -> NDArray[_Tilt]:
        """log E exp(s Q) at tilts, real or complex, whose real part is below `limit`; any shape."""
        z: NDArray[_Tilt] = np.expm1(s) if self.counting else s
        result: NDArray[_Tilt] = self.poisson * z
        for nu, lam in self.terms:
            if nu > 0:
                result = result - 0.5 * nu * np.log1p(-2 * lam * z)
        for m, lam in self.shifts:
            result = result + m * z / (1 - 2 * lam * z)
        return result

    def _slopes(self, s: float) -> tuple[float, float]:
        """First and second derivative of the CGF at a real tilt."""
        z = math.expm1(s) if self.counting else s
        first, second = self.poisson, 0.0
        for nu, lam in self.terms:
            if nu > 0:
                slope = lam / (1 - 2 * lam * z)
                first += nu * slope
                second += 2 * nu * slope * slope
        for m, lam in self.shifts:
            slope = 1 / (1 - 2 * lam * z)
            first += m * slope * slope
            second += 4 * m * lam * slope**3
        if not self.counting:
            return first, second
        factor = math.exp(s)
        return factor * first, factor * first + factor * factor * second

    def _tilt(self, value: float) -> float:
        """The saddle point: the tilt at which the tilted mean is `value`, kept away from 0 by one spread."""
        mean, spread = self.mean, math.sqrt(self.variance)
        upper = value > mean
        # Any tilt of the right sign gives the same integral; one standard deviation keeps off the pole at 0.
        least = 1.0 / spread
        if self.limit < math.inf:
            least = min(least, 0.5 * self.limit)
        if abs(value - mean) <= 0.5 * spread:
            return least if upper else -least
        if upper:
            if self.limit < math.inf:
                high = self.limit * (1 - 1e-12)
            else:
                high = least
                while self._slopes(high)[0] < value:
                    high *= 2
            if self._slopes(high)[0] <= value:
                return high
            low = 0.0
        else:
            floor = _LOWEST if self.counting else -1e12 / spread
            low = -least
            while low > floor and self._slopes(low)[0] > value:
                low = max(2 * low, floor)
            if self._slopes(low)[0] > value:
                return low
            high = 0.0
        root = float(brentq(lambda s: self._slopes(s)[0] - value, low, high, xtol=1e-18, rtol=1e-13))
        return max(root, least) if upper else min(root, -least)

    def upper_tail(self, value: float) -> float:
        """P(Q >= value), to about 1e-9 relative."""
        if value <= 0 and (self.counting or not self.shifts):
            return 1.0
        if value <= self.mean:
            below = self.lower_tail(value - 1) if self.counting else self.lower_tail(value)
            return 1.0 - below
        if self.variance == 0:
            return 0.0
        return self._integral(value, self._tilt(value))

    def lower_tail(self, value: float) -> float:
        """P(Q <= value), to about 1e-9 relative."""
        if value < 0 or (value == 0 and not self.counting):
            return 0.0
        if value > self.mean:
            above = self.upper_tail(value + 1) if self.counting else self.upper_tail(value)
            return 1.0 - above
        if self.variance == 0:
            return 1.0
        return self._integral(value, self._tilt(value))

    def _integral(self, value: float, tilt: float) -> float:
        """Bromwich (or Fourier) integral of exp(K(s) - s value) over the half-line weight, through `tilt`."""
        width = 1.0 / math.sqrt(self._slopes(tilt)[1])
        if self.counting:
            # Periodic integrand: the trapezoidal rule converges exponentially. Beyond 14 spreads it is below 1e-40.
            edge = min(math.pi, 14.0 * max(width, 1e-300)) if self.variance > 50 else math.pi
            omega = np.linspace(-edge, edge, _NODES)
            weight = np.full(_NODES, omega[1] - omega[0])
            weight[[0, -1]] *= 0.5
            s = np.asarray(tilt + 1j * omega, dtype=np.complex128)
            denominator = -np.expm1(-s) if tilt > 0 else -np.expm1(s)
        else:
            # omega = width * sinh(t) follows the algebraic decay that few degrees of freedom leave.
            t = np.linspace(-18.0, 18.0, _NODES)
            omega = width * np.sinh(t)
            weight = width * np.cosh(t) * (t[1] - t[0])
            s = np.asarray(tilt + 1j * omega, dtype=np.complex128)
            denominator = s if tilt > 0 else -s
        exponent = self.cgf(s) - s * value
        peak = float(self.cgf(np.array(tilt))) - tilt * value
        total = float(np.sum(np.real(np.exp(exponent - peak) / denominator) * weight)) / (2 * math.pi)
        return min(max(total * math.exp(peak), 0.0), 1.0)


def interval_p_value(value: float, low: QuadraticLaw, high: QuadraticLaw) -> float:
    """Two-sided p-value of a value whose law lies between two: twice the smaller tail, each at its worst law."""
    return min(1.0, 2.0 * min(high.upper_tail(value), low.lower_tail(value)))
