"""Upper bounds on the tails of singular values of noise, valid for every size of matrix.

An honest residual matrix of one image (rows x quadratures) is white noise plus a part of rank two. By Weyl's
inequality its third singular value is at most the first one of the white noise, whatever the data, and the other two
are at most that of noise with a spike. Slepian's inequality bounds these tails at any size by those of two or three
independent chi variables, which are integrals. Derivation: `docs/physics.md`, section "Verification".
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc, gammaincc, gammaln, log_ndtr, ndtri

SMALLEST = 1e-100
"""Probabilities below this are reported as this: beyond it the integrals would lose their digits."""

_LIFTS = np.array([0.0, 0.7, 1.5, 2.5, 3.7, 5.0, 6.5, 8.5, 11.0, 14.0, 18.0, 23.0])
"""Values of the auxiliary normal variable, of which the best is taken; the bound holds for each."""
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(41)
_CELLS = 4
_ANGLES = 8
_CUTS = np.array([1.5, 2.0, 2.5, 3.0, 3.5, 4.0])
_TILTS = np.linspace(0.02, 0.48, 24)


def noise_norm_tail(value: float, rows: int, columns: int, spike: float = 0.0) -> float:
    """Upper bound on P(first singular value >= value) of Gaussian noise of unit variance, at least `SMALLEST`.

    Parameters
    ----------
    value:
        In units of the noise's standard deviation.
    rows, columns:
        Of the matrix; at least 1, and 3 columns where there is a spike.
    spike:
        Extra variance along two orthogonal directions in the space of the columns. By Anderson's inequality noise
        with less, in whatever two directions, has a smaller tail.
    """
    if spike <= 0:
        other, density = _chi_grid(columns)
        levels = value + _LIFTS
        inside = np.maximum(levels[:, np.newaxis] - other, 0.0)
        tails = gammaincc(0.5 * rows, 0.5 * inside**2) @ density
        return _clipped(_best(tails))
    if columns < 3:
        raise ValueError(f"two spikes need three columns, got {columns}")
    if value <= spiked_edge(rows, columns, spike):
        return 1.0
    other, density = _chi_grid(columns - 2)
    along, density_along = _chi_grid(2)
    radii = max(math.sqrt(rows) - 7.0, 0.0) + 0.05 * np.arange(800)
    log_tails = np.log(np.maximum(gammaincc(0.5 * rows, 0.5 * radii**2), 1e-300))
    angles = np.linspace(0.0, 0.5 * math.pi, _CELLS * _ANGLES + 1)
    # Between two angles the norm is at most that at one of them, divided by the cosine of half their distance.
    shrink = math.cos(0.5 * float(angles[1]))
    total = 0.0
    for cell in range(_CELLS):
        theta = angles[cell * _ANGLES : (cell + 1) * _ANGLES + 1]
        cosine, sine = np.cos(theta)[:, np.newaxis, np.newaxis], np.sin(theta)[:, np.newaxis, np.newaxis]
        length = np.sqrt(1 + spike * cosine**2)
        taken = (math.sqrt(1 + spike) * cosine * along[:, np.newaxis] + sine * other) / length
        levels = (value + float(length.min()) * _LIFTS) * shrink
        tails = np.empty(_LIFTS.size)
        for index, level in enumerate(levels):
            inside = (level / length - taken).min(axis=0)
            tails[index] = density_along @ np.exp(np.interp(inside, radii, log_tails)) @ density
        total += _best(tails)
    return _clipped(total)


def spiked_edge(rows: int, columns: int, spike: float = 0.0) -> float:
    """Where the first singular value of large matrices lies: sqrt(rows) + sqrt(columns), or beyond for a spike.

    The spike moves it beyond the edge of the noise when it exceeds sqrt(columns/rows) (Baik, Ben Arous and Peche).
    """
    ratio = columns / rows
    if spike <= math.sqrt(ratio):
        return math.sqrt(rows) + math.sqrt(columns)
    return math.sqrt(rows * (1 + spike) * (1 + ratio / spike))


def multiplier_norm(deviation: float, norm: float, longest: float, rows: int, failure: float) -> float:
    """Upper limit of |diag(v) J| for normal v of this deviation, wrong with a probability of at most `failure`.

    Parameters
    ----------
    deviation:
        Of the independent components of v (rows,), or more than it.
    norm, longest:
        Limits on the norm of J and on the length of each of its rows.
    rows:
        Of J; the bound holds for fewer as well.
    """
    if deviation == 0:
        return 0.0
    largest = -float(ndtri(0.5 * failure / rows))
    bounds = [largest * norm]
    # v_k^2 <= t^2 + (v_k^2 - t^2)_+; the sum of the latter by Chernoff's bound.
    cut = _CUTS[:, np.newaxis]
    root = np.sqrt(1 - 2 * _TILTS)
    inside = 1 - erfc(cut / math.sqrt(2.0))
    generating = inside + np.exp(-_TILTS * cut**2) * erfc(cut * root / math.sqrt(2.0)) / root
    excess = ((rows * np.log(generating) - math.log(failure)) / _TILTS).min(axis=1)
    bounds += np.sqrt(_CUTS**2 * norm**2 + excess * longest**2).tolist()
    return deviation * min(bounds)


def _chi_grid(degrees: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points over all that counts of a chi variable (it is near sqrt(degrees), with a deviation below 1), weights.

    Gauss and Legendre's: a trapezoidal rule would lose 1 % at the origin, where the density of two degrees rises.
    """
    centre = math.sqrt(degrees)
    low, high = max(centre - 6.0, 0.0), centre + 12.0
    points = 0.5 * (low + high) + 0.5 * (high - low) * _NODES
    log_density = (degrees - 1) * np.log(points) - 0.5 * points**2
    log_density -= (0.5 * degrees - 1) * math.log(2.0) + float(gammaln(0.5 * degrees))
    return points, np.exp(log_density) * (0.5 * (high - low) * _NODE_WEIGHTS)


def _best(tails: NDArray[np.float64]) -> float:
    """Smallest of P(chi sum >= value + lift)/P(normal >= lift) over the lifts."""
    exponent = np.log(np.maximum(tails, 1e-290)) - log_ndtr(-_LIFTS)
    return min(1.0, math.exp(float(exponent.min())))


def _clipped(probability: float) -> float:
    return min(1.0, max(probability, SMALLEST))
