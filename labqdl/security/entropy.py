"""Entropy of a thermal mode, accurate over the whole range of photon numbers that a bound meets."""

from __future__ import annotations

import math
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def checked(name: str, values: Any, low: float = 0.0, high: float = math.inf) -> Array:
    """`values` as a float64 array, all finite and within [low, high].

    Raises
    ------
    ValueError
        Naming the quantity and the first value outside.
    """
    array = np.asarray(values, dtype=np.float64)
    wrong = ~(np.isfinite(array) & (array >= low) & (array <= high))
    if np.any(wrong):
        bound = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(f"{name} must be finite and {bound}, got {array[wrong].flat[0]!r}")
    return array


def entropy_slope(photons: Array) -> Array:
    """dg/dn = log2(1 + 1/n), bits per photon; inf at n = 0."""
    # log1p(1/n) loses nothing for n >= 1; below, 1/n may overflow while log1p(n) - log(n) has equal signs
    low = np.minimum(photons, 1.0)
    with np.errstate(divide="ignore"):
        below = np.log1p(low) - np.log(low)
    above = np.log1p(1.0 / np.maximum(photons, 1.0))
    return np.where(photons < 1.0, below, above) / math.log(2.0)


@overload
def thermal_entropy(photons: float) -> float: ...
@overload
def thermal_entropy(photons: Array) -> Array: ...
def thermal_entropy(photons: float | Array) -> float | Array:
    """Von Neumann entropy g(n) of a thermal mode with n mean photons, bits.

    g(n) = (n+1) log2(n+1) - n log2 n (Holevo and Werner, PRA 63, 032312, Eq. (3.12) in bits); a mode of symplectic
    eigenvalue nu (vacuum 1) has n = (nu-1)/2. Relative error of a few 1e-16 from n = 0 and 1e-300 to 1e300, since
    no two terms of unequal sign meet.

    Raises
    ------
    ValueError
        For a negative or non-finite photon number.
    """
    n = checked("photons", photons)
    low = np.minimum(n, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        below = (1.0 + low) * np.log1p(low) - np.where(low > 0.0, low * np.log(low), 0.0)
    high = np.maximum(n, 1.0)
    above = np.log1p(high) + high * np.log1p(1.0 / high)
    bits = np.where(n < 1.0, below, above) / math.log(2.0)
    return float(bits) if np.isscalar(photons) or bits.ndim == 0 else bits


def entropy_increment(photons: Array, extra: Array) -> Array:
    """g(n + d) - g(n) for n, d >= 0, without the cancellation of the plain difference when d << n; bits.

    For d <= n/4 the slope log2(1 + 1/n) is integrated by eight Gauss nodes: its nearest singularity, n = 0, lies at
    nine half-widths from the middle, so the relative error is below (9 + sqrt(80))^-16 = 1e-20.
    """
    plain = thermal_entropy(np.asarray(photons + extra)) - thermal_entropy(np.asarray(photons))
    small = (extra <= 0.25 * photons) & (photons > 0.0)
    base = np.where(small, photons, 1.0)
    step = np.where(small, extra, 0.0)
    integral = np.zeros_like(base)
    for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
        integral = integral + 0.5 * weight * entropy_slope(base + 0.5 * (1.0 + node) * step)
    return np.where(small, step * integral, plain)


@overload
def inverse_thermal_entropy(bits: float) -> float: ...
@overload
def inverse_thermal_entropy(bits: Array) -> Array: ...
def inverse_thermal_entropy(bits: float | Array) -> float | Array:
    """Mean photons n of the thermal mode whose entropy g(n) is `bits`; between 0 and 1000 bits.

    Bisection in log n down to one part in 1e15; entropies below g(1e-300) give 0.

    Raises
    ------
    ValueError
        For negative, non-finite or larger entropies.
    """
    target = checked("bits", bits, high=1000.0)
    low = np.full(target.shape, math.log(1e-300))
    high = np.full(target.shape, math.log(1e302))
    for _ in range(64):
        middle = 0.5 * (low + high)
        above = thermal_entropy(np.exp(np.asarray(middle))) > target
        high = np.where(above, middle, high)
        low = np.where(above, low, middle)
    photons = np.asarray(np.exp(0.5 * (low + high)))
    # the exponential of a rounded logarithm has lost three digits at the ends: one Newton step brings them back
    photons = photons + (target - thermal_entropy(photons)) / entropy_slope(photons)
    photons = np.where(target < thermal_entropy(1e-300), 0.0, photons)
    return float(photons) if np.isscalar(bits) or photons.ndim == 0 else photons
