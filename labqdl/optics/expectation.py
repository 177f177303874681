"""Closed forms of what the joint sampler draws: means, variances, covariances, photon numbers.

All for given weights and data unless a docstring says "averaged", with the phases of the link averaged over. Sources:
PRX 15, 041056; derivations in docs/physics.md. The sampler does not use them, so that they can test it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.optics.law import LinkLaw, ReturnedLight
from labqdl.optics.modes import rotate_j

Vector = NDArray[np.float64]
Real = np.floating[Any]


def outcome_slope(law: LinkLaw) -> float:
    """dE[y]/d(x.q): mean outcome in SNU per addressed quadrature at the server's output."""
    return law.outcome_gain * math.exp(-0.5 * law.forward_phase_noise**2)


def outcome_variance(law: LinkLaw, x_b: float = 0.0, p_b: float = 0.0) -> float:
    """Var y in SNU for addressed quadratures `x_b` = x.q and `p_b` = Jx.q at the server's output.

    Only phase noise makes it depend on them: X cos phi - P sin phi has variance X^2 Var cos + P^2 Var sin.
    """
    var_cos, var_sin = _phase_variances(law.forward_phase_noise)
    return law.outcome_variance + law.outcome_gain**2 * (x_b**2 * var_cos + p_b**2 * var_sin)


def signal_to_noise(law: LinkLaw, mu: float) -> float:
    """S = F^2 of one outcome, averaged over isotropic weights of mu photons per mode at the server's output.

    Signal variance 2 mu slope^2 over the variance of everything else.
    """
    if not (math.isfinite(mu) and mu > 0):
        raise ValueError(f"mu must be positive and finite, got {mu!r}")
    signal = 2.0 * mu * outcome_slope(law) ** 2
    amplitude = math.sqrt(2.0 * mu)
    return signal / outcome_variance(law, amplitude, amplitude)


def excess_noise(law: LinkLaw, n_modes: int) -> float:
    """epsilon: noise above vacuum at the server's input, SNU, mean per quadrature and mode; no phase noise in it."""
    light = law.counter
    return light.floor + (light.spike_x + light.spike_p) / (2.0 * n_modes)


def residual_variance(law: LinkLaw, n_modes: int) -> float:
    """Variance of a homodyned residual in SNU, averaged over quadratures; noise only, for given phases."""
    light = law.homodyne
    return light.floor + (light.spike_x + light.spike_p) / (2.0 * n_modes)


def mean_square_residual(law: LinkLaw, n_modes: int, mu: float) -> float:
    """E r^2 of a homodyned residual in SNU, averaged over isotropic weights of mu photons per mode.

    Noise, wrong gain and phase noise together: what the two-sided noise test sees. Without noise on the addressed
    mode, a gain k sqrt(T) instead of sqrt(T) gives 1 + (1-k)^2 T 2 mu.
    """
    light = law.homodyne
    return residual_variance(law, n_modes) + 2.0 * mu * _mean_power(law, light, n_modes)


def mean_gain(law: LinkLaw, n_modes: int) -> float:
    """Slope of the homodyned returned light on q, averaged over isotropic weights; sqrt(T efficiency) when honest."""
    light = law.homodyne
    return math.exp(-0.5 * law.total_phase_noise**2) * (light.isotropic_signal + light.directed_signal.real / n_modes)


def residual_mean(law: LinkLaw, q: NDArray[Real], x: NDArray[Real], offset: NDArray[Real] | None = None) -> Vector:
    """E r of all 2 n_modes quadratures of one row q (2 n_modes,) for data x (2 n_modes,), interleaved, SNU^(1/2).

    `offset` (2 n_modes,) is light that the client adds to every use, SNU^(1/2) at its output.
    """
    light = law.homodyne
    damping = math.exp(-0.5 * law.total_phase_noise**2)
    mean = np.asarray(damping * _field(light, q, x) - light.expected * np.asarray(q, dtype=np.float64))
    return mean if offset is None else mean + math.sqrt(law.back * law.server_efficiency) * offset


def residual_covariance(law: LinkLaw, q: NDArray[Real], x: NDArray[Real]) -> Vector:
    """Cov(r, r) of all quadratures (2 n_modes, 2 n_modes), interleaved, SNU; shot noise of one homodyne each."""
    light = law.homodyne
    return _covariance(law, light, q, x)


def use_sum_mean(
    law: LinkLaw,
    q: NDArray[Real],
    x: NDArray[Real],
    pattern: NDArray[np.bool_],
    offset: NDArray[Real] | None = None,
) -> Vector:
    """E of the sum of each homodyned weight's residuals over the images of a block (n_modes,), SNU^(1/2).

    One row q (2 n_modes,), data x (images, 2 n_modes), the quadratures of `pattern` (n_modes,), True for P. Its
    products with the measured parts of q and Jq are the means of `sum_qr` and `sum_jr`.
    """
    where = 2 * np.arange(pattern.size) + pattern
    return np.asarray(sum(residual_mean(law, q, direction, offset)[where] for direction in x))


def use_sum_covariance(law: LinkLaw, q: NDArray[Real], x: NDArray[Real], pattern: NDArray[np.bool_]) -> Vector:
    """Covariance of the sums of `use_sum_mean` (n_modes, n_modes), SNU: noise is fresh at every use, so it adds up."""
    where = 2 * np.arange(pattern.size) + pattern
    return np.asarray(sum(residual_covariance(law, q, direction)[np.ix_(where, where)] for direction in x))


def cross_covariance(law: LinkLaw, q: NDArray[Real], x: NDArray[Real]) -> Vector:
    """Cov(y, r) with the residuals of all quadratures (2 n_modes,), interleaved, SNU."""
    light = law.homodyne
    direction = np.asarray(x, dtype=np.float64)
    rotated = rotate_j(direction)
    kappa = light.covariance
    relative = math.exp(-0.5 * _relative_variance(law))
    noise = relative * (kappa.real * direction + kappa.imag * rotated)
    # The phases' common part: covariances of the sines and cosines of two correlated angles.
    common = law.common_phase_noise**2
    damping = math.exp(-0.5 * (law.forward_phase_noise**2 + law.total_phase_noise**2))
    cos_cos = damping * 2.0 * math.sinh(0.5 * common) ** 2
    sin_sin = damping * math.sinh(common)
    field = _field(light, q, x)
    x_b, p_b = float(np.dot(direction, q)), float(np.dot(rotated, q))
    return np.asarray(noise + law.outcome_gain * (x_b * cos_cos * field - p_b * sin_sin * rotate_j(field)))


def mean_counts(law: LinkLaw, q: NDArray[Real], x: NDArray[Real], offset: NDArray[Real] | None = None) -> Vector:
    """Mean photon counts of every mode slot (n_modes,) of one row after the nulling displacement.

    `offset` as in `residual_mean`.
    """
    light = law.counter
    sent = np.asarray(q, dtype=np.float64)
    field = _field(light, q, x)
    damping = math.exp(-0.5 * law.total_phase_noise**2)
    # E (e^{i phi} v - E q)^2 per quadrature is |mean|^2 plus the phase's covariance, which `_covariance` has.
    mean = damping * field - light.expected * sent
    if offset is not None:
        mean = mean + math.sqrt(law.back) * offset
    energy = mean**2 + np.diag(_covariance(law, light, q, x))
    photons = energy.reshape(-1, 2).sum(axis=1) * (0.25 * law.counter_efficiency)
    leaked = law.extinction * law.counter_efficiency * law.forward * law.back
    power = (sent**2).reshape(-1, 2).sum(axis=1)
    return np.asarray(photons + law.dark_counts + 0.25 * leaked * power)


def mean_photons_per_row(law: LinkLaw, n_modes: int, mu: float) -> float:
    """Mean counts of one row (n_modes slots), averaged over isotropic weights of mu photons per mode."""
    light = law.counter
    noise = n_modes * light.floor / 2.0 + (light.spike_x + light.spike_p) / 4.0
    signal = n_modes * mu * _mean_power(law, light, n_modes)
    leaked = law.extinction * law.forward * law.back * n_modes * mu
    return law.counter_efficiency * (noise + signal + leaked) + law.dark_counts * n_modes


def _mean_power(law: LinkLaw, light: ReturnedLight, n_modes: int) -> float:
    """Mean of |e^{i phi} field - expected q|^2 / |q|^2 over isotropic weights and the phase."""
    gain, directed = light.isotropic_signal, light.directed_signal
    loss = 2.0 * light.expected * -math.expm1(-0.5 * law.total_phase_noise**2)
    through = light.mismatch() ** 2 + loss * gain
    # The addressed mode is one of n; there the gain is k + d.
    reshaped = 2.0 * (light.mismatch() + 0.5 * loss) * directed.real + abs(directed) ** 2
    return through + reshaped / n_modes


def _field(light: ReturnedLight, q: NDArray[Real], x: NDArray[Real]) -> Vector:
    """Mean returned quadratures without phase noise (2 n_modes,)."""
    sent, direction = np.asarray(q, dtype=np.float64), np.asarray(x, dtype=np.float64)
    rotated = rotate_j(direction)
    addressed = complex(np.dot(direction, sent), np.dot(rotated, sent)) * light.directed_signal
    return np.asarray(light.isotropic_signal * sent + addressed.real * direction + addressed.imag * rotated)


def _covariance(law: LinkLaw, light: ReturnedLight, q: NDArray[Real], x: NDArray[Real]) -> Vector:
    direction = np.asarray(x, dtype=np.float64)
    rotated = rotate_j(direction)
    # Phase noise turns the axes of an asymmetric spike and mixes them.
    centre = 0.5 * (light.spike_x + light.spike_p)
    half = 0.5 * (light.spike_x - light.spike_p) * math.exp(-2.0 * _relative_variance(law))
    var_cos, var_sin = _phase_variances(law.total_phase_noise)
    field = _field(light, q, x)
    turned = rotate_j(field)
    return np.asarray(
        light.floor * np.eye(direction.size)
        + (centre + half) * np.outer(direction, direction)
        + (centre - half) * np.outer(rotated, rotated)
        + var_cos * np.outer(field, field)
        + var_sin * np.outer(turned, turned)
    )


def _relative_variance(law: LinkLaw) -> float:
    """Variance of the angle between the addressed mode's noise as returned and as the client read it."""
    return law.forward_phase_noise**2 + law.total_phase_noise**2 - 2.0 * law.common_phase_noise**2


def _phase_variances(rms: float) -> tuple[float, float]:
    """Var cos phi and Var sin phi of a Gaussian angle."""
    square = rms**2
    return 0.5 * math.expm1(-square) ** 2, -0.5 * math.expm1(-2.0 * square)
