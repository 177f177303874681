"""Tests only: one row, mode by mode, drawn straight from the words of `ClientLaw`, with phases.

Classical amplitudes with classical noise through the whole path, shot noise at each homodyne. No use of LinkLaw's
derived figures: every step is written down as light meets it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from labqdl.optics.law import LinkLaw

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


def draw(
    law: LinkLaw, q: Real, x: Real, draws: int, generator: np.random.Generator, offset: Real | None = None
) -> tuple[Real, Real, NDArray[np.int64]]:
    """Outcomes (draws,), residuals of all quadratures (draws, 2 n) and counts (draws, n) of one row and image.

    Residuals and counts share the returned light, which one beam could not; only their marginals with the outcome
    are compared. `offset` (2 n,) is light that the client adds to what it returns, beyond all drifts of phase.
    """
    n = q.size // 2
    client, tap = law.client, law.client.tap

    def noise(*shape: int) -> Real:
        return generator.standard_normal(shape)

    def cloud(variance: float) -> Complex:
        """Noise of this variance in both quadratures of all modes, as X + iP."""
        return np.asarray(math.sqrt(variance) * (noise(draws, n) + 1j * noise(draws, n)), dtype=np.complex128)

    sent = q[0::2] + 1j * q[1::2]
    u = x[0::2] + 1j * x[1::2]
    common = law.common_phase_noise * noise(draws)
    receiver = math.sqrt(max(law.forward_phase_noise**2 - law.common_phase_noise**2, 0.0)) * noise(draws)
    later = math.sqrt(max(law.total_phase_noise**2 - law.common_phase_noise**2, 0.0)) * noise(draws)

    # Forward fibre; the client sees everything relative to its own oscillator.
    field = math.sqrt(law.forward) * sent * np.exp(1j * (common + receiver))[:, np.newaxis] + cloud(law.forward_excess)
    addressed = field @ u.conj()
    covariance = np.array(
        [
            [tap.outcome_variance, tap.covariance_x, tap.covariance_p],
            [tap.covariance_x, tap.d_x, 0.0],
            [tap.covariance_p, 0.0, tap.d_p],
        ]
    )
    values, axes = np.linalg.eigh(covariance)
    own = noise(draws, 3) @ (axes * np.sqrt(np.maximum(values, 0.0))).T
    zeta = cloud(client.isotropic_noise)
    y = tap.outcome_gain * addressed.real + own[:, 0] + client.isotropic_coupling * (zeta @ u.conj()).real
    returned = client.isotropic_gain * field + zeta
    returned += ((tap.net_gain - 1.0) * addressed + own[:, 1] + 1j * own[:, 2])[:, np.newaxis] * u

    # The light's own phase never held the client's oscillator.
    returned *= np.exp(1j * (later - receiver))[:, np.newaxis]
    if offset is not None:
        returned += offset[0::2] + 1j * offset[1::2]
    returned = math.sqrt(law.back) * returned + cloud(law.back_excess)
    detected = math.sqrt(law.server_efficiency) * returned + cloud(1.0 + law.server_noise)
    residual = detected - law.expected_amplitude * sent
    nulled = returned - law.expected_counter_amplitude * sent
    intensity = law.counter_efficiency * np.abs(nulled) ** 2 / 4.0 + law.dark_counts
    intensity += law.extinction * law.counter_efficiency * law.forward * law.back * np.abs(sent) ** 2 / 4.0
    interleaved = np.empty((draws, 2 * n))
    interleaved[:, 0::2], interleaved[:, 1::2] = residual.real, residual.imag
    return y, interleaved, generator.poisson(intensity)
