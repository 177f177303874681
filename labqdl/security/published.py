"""What the protocol's authors published about accuracy, with their formulas as their code has them.

Facts and formulas of Sulimany et al., PRX 15, 041056 (arXiv:2408.05629) and their public code, errors included, so
that published figures can be repeated and compared; the leakage formulas are in `labqdl.security.engines`. The
accuracy curve is that of their network of 784-784-10 neurons trained without noise, on 10,000 validation digits,
read at whole decibels (mean of five neighbouring points of their 512).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

CURVE_F2_DB: tuple[float, ...] = (-10.0, -5.0, -3.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 20.0)
"""F^2 in dB at which the authors' curve was read."""

CURVE_ACCURACY: tuple[float, ...] = (
    0.289,
    0.632,
    0.772,
    0.908,
    0.924,
    0.940,
    0.952,
    0.960,
    0.965,
    0.970,
    0.973,
    0.975,
    0.978,
    0.981,
)
"""Fraction right at those points."""

LOGISTIC: tuple[float, float, float, float] = (728.857, 3.08295, -0.643359, -631.700)
"""b1..b4 of the authors' fit b1/(1 + exp(-b2 (x - b3))) + b4 in per cent, x the linear F^2."""


def authors_accuracy(f2_db: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """The authors' measured curve, monotone interpolation in dB; constant outside of -10 to 20 dB."""
    curve = PchipInterpolator(CURVE_F2_DB, CURVE_ACCURACY)
    return np.asarray(curve(np.clip(f2_db, CURVE_F2_DB[0], CURVE_F2_DB[-1])), dtype=np.float64)


def authors_fit(argument: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """The authors' logistic, fraction right, at its linear argument; it was fitted against F^2.

    Their map evaluates it at the square root of mu/DX2 (`authors_fit_argument`).
    """
    b1, b2, b3, b4 = LOGISTIC
    return np.asarray(b1 / (1.0 + np.exp(-b2 * (np.asarray(argument) - b3))) + b4, dtype=np.float64) / 100.0


def authors_fit_argument(*, mu: float, client_noise: float) -> float:
    """What the authors' map puts into the fit: sqrt(mu/DX2), with DX2 the client's noise referred to the input, SNU.

    The signal-to-noise ratio of a homodyne with both quadratures encoded is 2 mu/DX2, and the fit's argument F^2.
    """
    return math.sqrt(mu / client_noise)
