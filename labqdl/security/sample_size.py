"""Powers of the tests and the symbols that a stated power needs, in closed form or by exact inversion.

Conventions of this module: one-sided false-alarm rate `alpha` (half of it for a two-sided test), an effect of known
size, and data vectors whose noise is spread over many modes, so that residuals count as independent. The tests
themselves (`checks`) are valid for every data vector and lose little by it. Formulas: `docs/physics.md`, section
"Verification".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from labqdl.security.chi_square import chi_square_quantile, chi_square_tail
from labqdl.security.quadratic import QuadraticLaw

_MOST = 1e16


class Test(StrEnum):
    """Tests whose power has a closed form."""

    GAIN = "gain"
    NOISE = "noise"
    PHASE = "phase"
    COUNT = "count"
    CROSS_USE = "cross-use"


@dataclass(frozen=True, slots=True)
class Alternative:
    """What a cheat makes of a test's statistic, beside the honest law.

    Attributes
    ----------
    test:
        The test that judges it.
    effect:
        NOISE, CROSS_USE: ratio of the variance of residuals (of S^2/K) to the honest one. GAIN: shift of the amplitude
        at the detector, per amplitude sent. PHASE: the same times the sine of the angle. COUNT: ratio of the photons
        of the addressed mode to the honest ones.
    variance:
        Honest variance of a residual, SNU (GAIN, PHASE).
    light:
        Mean of q^2 of a homodyned quadrature, 2 mu, SNU (GAIN, PHASE).
    n_modes, photons:
        Slots of a row, and honest thermal photons of its addressed mode (COUNT).
    background, dark:
        Further honest photons per slot, thermal and Poisson (COUNT).
    isotropic, stray:
        Photons per slot that the cheat adds to these, thermal and Poisson (COUNT).
    """

    test: Test
    effect: float
    variance: float = 1.0
    light: float = 8.0
    n_modes: int = 1
    photons: float = 0.5
    background: float = 0.0
    dark: float = 0.0
    isotropic: float = 0.0
    stray: float = 0.0

    def power(self, symbols: float, alpha: float) -> float:
        """Probability that it is found in so many symbols, one-sided at alpha.

        Symbols are residuals; weights for CROSS_USE; mode slots for COUNT.
        """
        if self.test in (Test.GAIN, Test.PHASE):
            distance = abs(self.effect) * math.sqrt(symbols * self.light / self.variance)
            return float(ndtr(distance + ndtri(alpha)))
        if self.test is Test.COUNT:
            rows = max(1, round(symbols / self.n_modes))
            honest = _rows_law(self.photons, self.background, self.dark, self.n_modes, rows)
            thermal, steady = self.background + self.isotropic, self.dark + self.stray
            cheat = _rows_law(self.photons * self.effect, thermal, steady, self.n_modes, rows)
            if cheat.mean >= honest.mean:
                return cheat.upper_tail(_critical(honest, alpha))
            return cheat.lower_tail(_critical_low(honest, alpha))
        upper = self.effect > 1
        edge = chi_square_quantile(alpha, symbols, upper=upper)
        return chi_square_tail(edge / self.effect, symbols, upper=upper)

    def symbols_needed(self, alpha: float, wanted: float) -> int:
        """Symbols with which `power` reaches `wanted`; whole rows for COUNT.

        Raises
        ------
        ValueError
            For an effect of nothing, or one that 10^16 symbols do not show.
        """
        if not 0 < alpha < wanted < 1:
            raise ValueError(f"a power lies between the false-alarm rate and 1, got {alpha!r} and {wanted!r}")
        if self.test in (Test.GAIN, Test.PHASE):
            if self.effect == 0:
                raise ValueError(f"{self.test}: there is no effect to find")
            distance = float(ndtri(wanted) - ndtri(alpha))
            return math.ceil(distance**2 * self.variance / (self.effect**2 * self.light))
        if self.test is Test.COUNT:
            if self.effect == 1 and self.isotropic == 0 and self.stray == 0:
                raise ValueError(f"{self.test}: there is no effect to find")
            return self.n_modes * _first(lambda rows: self.power(rows * self.n_modes, alpha) >= wanted)
        if self.effect <= 0 or self.effect == 1:
            raise ValueError(f"{self.test}: a ratio of variances other than 1 was expected, got {self.effect!r}")

        def excess(symbols: float) -> float:
            return self.power(symbols, alpha) - wanted

        high = 1.0
        while excess(high) < 0:
            high *= 2
            if high > _MOST:
                raise ValueError(f"{self.test}: an effect of {self.effect!r} is not found with {_MOST:g} symbols")
        if high == 1.0:
            return 1
        return math.ceil(float(brentq(excess, high / 2, high, rtol=1e-12)) - 1e-6)


def noise_threshold(samples: float, alpha: float, *, upper: bool = True) -> float:
    """Mean square of residuals over the honest one at which the one-sided noise test fails."""
    return chi_square_quantile(alpha, samples, upper=upper) / samples


def gain_threshold(symbols: float, alpha: float, *, variance: float = 1.0, light: float = 8.0) -> float:
    """Shift of the amplitude, per amplitude sent, at which the one-sided gain test fails."""
    return -float(ndtri(alpha)) * math.sqrt(variance / (symbols * light))


def _rows_law(photons: float, thermal: float, steady: float, n_modes: int, rows: int) -> QuadraticLaw:
    """Counts of so many rows: thermal light on the addressed mode and on every mode, and steady light on every mode."""
    noise = 0.5 * thermal
    return QuadraticLaw(
        ((2.0 * rows * (n_modes - 1), noise), (2.0 * rows, 0.5 * photons + noise)),
        poisson=steady * rows * n_modes,
        counting=True,
    )


def _critical(law: QuadraticLaw, alpha: float) -> int:
    """Smallest count with an upper tail of at most alpha."""
    return _first(lambda count: law.upper_tail(count) <= alpha, start=math.ceil(law.mean))


def _critical_low(law: QuadraticLaw, alpha: float) -> int:
    """Largest count with a lower tail of at most alpha; -1 where even none at all is likelier."""
    most = math.floor(law.mean)
    return most - _first(lambda fewer: fewer > most or law.lower_tail(most - fewer) <= alpha, start=0)


def _first(holds: Callable[[int], bool], start: int = 1) -> int:
    """Smallest integer from `start` on at which a condition holds that stays true from there on."""
    step = 1
    low = start - 1
    while not holds(low + step):
        low += step
        step *= 2
        if step > _MOST:
            raise ValueError("no number of symbols is enough")
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
