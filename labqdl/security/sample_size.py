"""Powers of the tests and the symbols that a stated power needs, in closed form or by exact inversion.

Conventions of this module: one-sided false-alarm rate `alpha` (half of it for a two-sided test), an effect of known
size, and data vectors whose noise is spread over many modes, so that residuals count as independent. The tests
themselves (`checks`) are valid for every data vector and lose little by it. Formulas: `docs/physics.md`, section
"Verification".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum

from scipy.optimize import brentq
from scipy.special import gammainc, gammaincc, gammainccinv, gammaincinv, ndtr, ndtri

from labqdl.security.quadratic import QuadraticLaw

_MANY = 1e6
"""Degrees of freedom from which on Wilson and Hilferty's cube root is taken: right to 1e-5 of a probability there."""
_MOST = 1e16


class Test(StrEnum):
    """Tests whose power has a closed form."""

    GAIN = "gain"
    NOISE = "noise"
    PHASE = "phase"
    COUNT = "count"
    CROSS_USE = "cross-use"


def power(
    test: Test | str,
    effect: float,
    symbols: float,
    alpha: float,
    *,
    variance: float = 1.0,
    light: float = 8.0,
    photons: float = 0.5,
    n_modes: int = 1,
    isotropic: float = 0.0,
) -> float:
    """Probability that an effect of this size is found.

    Parameters
    ----------
    test, effect:
        "noise", "cross-use": ratio of the variance of residuals (of S^2/K) to the honest one. "gain": shift of the
        amplitude at the detector, per amplitude sent. "phase": the same times the sine of the angle. "count": ratio of
        the photons of the addressed mode to the honest ones.
    symbols:
        Residuals; weights for "cross-use"; mode slots for "count".
    alpha:
        One-sided false-alarm rate.
    variance:
        Honest variance of a residual, SNU ("gain", "phase").
    light:
        Mean of q^2 of a homodyned quadrature, 2 mu, SNU ("gain", "phase").
    photons, n_modes, isotropic:
        Honest photons of a row, slots of a row, and further photons per slot that the cheat adds ("count").
    """
    kind = Test(test)
    if kind in (Test.GAIN, Test.PHASE):
        distance = abs(effect) * math.sqrt(symbols * light / variance)
        return float(ndtr(distance + ndtri(alpha)))
    if kind is Test.COUNT:
        rows = max(1, round(symbols / n_modes))
        honest = _row_law(photons, 0.0, n_modes, rows)
        cheat = _row_law(photons * effect, isotropic, n_modes, rows)
        if cheat.mean >= honest.mean:
            return cheat.upper_tail(_critical(honest, alpha))
        return cheat.lower_tail(_critical_low(honest, alpha))
    return _chi_square_power(effect, symbols, alpha)


def symbols_needed(
    test: Test | str,
    effect: float,
    alpha: float,
    power_wanted: float,
    *,
    variance: float = 1.0,
    light: float = 8.0,
    photons: float = 0.5,
    n_modes: int = 1,
    isotropic: float = 0.0,
) -> int:
    """Symbols with which `power` reaches `power_wanted`; parameters as there, rows times `n_modes` for "count".

    Raises
    ------
    ValueError
        For an effect of nothing, or one that 10^16 symbols do not show.
    """
    kind = Test(test)
    if not 0 < alpha < power_wanted < 1:
        raise ValueError(f"a power lies between the false-alarm rate and 1, got {alpha!r} and {power_wanted!r}")
    if kind in (Test.GAIN, Test.PHASE):
        if effect == 0:
            raise ValueError(f"{kind}: there is no effect to find")
        distance = float(ndtri(power_wanted) - ndtri(alpha))
        return math.ceil(distance**2 * variance / (effect**2 * light))

    def falls_short(symbols: float) -> float:
        chance = power(kind, effect, symbols, alpha, photons=photons, n_modes=n_modes, isotropic=isotropic)
        return chance - power_wanted

    if kind is Test.COUNT:
        return n_modes * _first(lambda rows: falls_short(rows * n_modes) >= 0)
    if effect <= 0 or effect == 1:
        raise ValueError(f"{kind}: a ratio of variances other than 1 was expected, got {effect!r}")
    high = 1.0
    while falls_short(high) < 0:
        high *= 2
        if high > _MOST:
            raise ValueError(f"{kind}: an effect of {effect!r} is not found with {_MOST:g} symbols")
    if high == 1.0:
        return 1
    return math.ceil(float(brentq(falls_short, high / 2, high, rtol=1e-12)) - 1e-6)


def noise_threshold(samples: float, alpha: float, *, upper: bool = True) -> float:
    """Mean square of residuals over the honest one at which the one-sided noise test fails."""
    if samples >= _MANY:
        return _cube(samples, -float(ndtri(alpha)) if upper else float(ndtri(alpha)))
    inverse = gammainccinv if upper else gammaincinv
    return float(2 * inverse(0.5 * samples, alpha)) / samples


def gain_threshold(symbols: float, alpha: float, *, variance: float = 1.0, light: float = 8.0) -> float:
    """Shift of the amplitude, per amplitude sent, at which the one-sided gain test fails."""
    return -float(ndtri(alpha)) * math.sqrt(variance / (symbols * light))


def _chi_square_power(ratio: float, samples: float, alpha: float) -> float:
    upper = ratio > 1
    if samples >= _MANY:
        small = 2 / (9 * samples)
        edge = (noise_threshold(samples, alpha, upper=upper) / ratio) ** (1 / 3)
        score = (edge - (1 - small)) / math.sqrt(small)
        return float(ndtr(-score if upper else score))
    edge = 0.5 * samples * noise_threshold(samples, alpha, upper=upper) / ratio
    return float((gammaincc if upper else gammainc)(0.5 * samples, edge))


def _cube(samples: float, score: float) -> float:
    small = 2 / (9 * samples)
    return float((1 - small + score * math.sqrt(small)) ** 3)


def _row_law(photons: float, isotropic: float, n_modes: int, rows: int) -> QuadraticLaw:
    """Counts of so many rows: thermal light on the addressed mode, and on every mode."""
    noise = 0.5 * isotropic
    return QuadraticLaw(
        ((2.0 * rows * (n_modes - 1), noise), (2.0 * rows, 0.5 * photons + noise)),
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
