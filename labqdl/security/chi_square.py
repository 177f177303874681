"""Quantiles and tails of the chi-square law that stay right for any number of degrees of freedom.

scipy's inverse of the incomplete gamma function loses the tails above 1e7 degrees (a factor 3 in probability at 3e9,
on the unsafe side); there Wilson and Hilferty's cube root (PNAS 17, 684) is right to 1e-5 of the probability.
"""

from __future__ import annotations

import math

from scipy.special import gammainc, gammaincc, gammainccinv, gammaincinv, ndtr, ndtri

_MANY = 1e6
"""Degrees of freedom from which on the cube root is taken."""


def chi_square_quantile(probability: float, degrees: float, *, upper: bool = False) -> float:
    """x with P(chi2_degrees <= x) = probability, or with P(chi2_degrees >= x) = probability for `upper`."""
    if degrees < _MANY:
        return float(2 * (gammainccinv if upper else gammaincinv)(degrees / 2, probability))
    small, score = 2 / (9 * degrees), float(ndtri(probability))
    return degrees * (1 - small + (-score if upper else score) * math.sqrt(small)) ** 3


def chi_square_tail(value: float, degrees: float, *, upper: bool = False) -> float:
    """P(chi2_degrees <= value), or P(chi2_degrees >= value) for `upper`."""
    if degrees < _MANY:
        return float((gammaincc if upper else gammainc)(degrees / 2, value / 2))
    small = 2 / (9 * degrees)
    score = ((value / degrees) ** (1 / 3) - (1 - small)) / math.sqrt(small)
    return float(ndtr(-score if upper else score))
