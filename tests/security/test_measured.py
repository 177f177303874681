from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.optics.gain_tap import amplifier_tap, feed_forward_tap
from labqdl.optics.measurements import Measurement, asymmetric_cloner, ideal_qnd, of_tap, passive_tap, qnd_tap
from labqdl.security.data import data_leakage, phase_sensitive_data_leakage
from labqdl.security.holevo import phase_sensitive_leakage, weight_leakage
from labqdl.security.measured import data_bits, passive_tap_row_bits, weight_bits
from tests.security.symplectic import entropy, purification
from tests.security.test_data import directions, fock

TABLE = [
    # the physics notes' table 1.6: S = 4, T = 1, 784 rows, 392 modes
    (of_tap(amplifier_tap(2.0, 0.5), "amplifier"), 4.00, 0.04369, 0.99149, 392.0),
    (of_tap(amplifier_tap(1.1, 1 / 1.1), "amplifier"), 20.36, 0.04246, 0.35938, 71.3),
    (of_tap(amplifier_tap(1.01, 1 / 1.01), "amplifier"), 200.0, 0.04554, 0.06596, 7.76),
    (of_tap(feed_forward_tap(0.5), "feed-forward"), 8.0, 0.03252, 0.54331, 134.5),
    (of_tap(feed_forward_tap(0.9), "feed-forward"), 40.0, 0.02654, 0.14540, 20.65),
    (asymmetric_cloner(0.1), 22.0, 0.02739, 0.23570, 39.2),
    (ideal_qnd(1.0), 4.0, 0.02155, 0.68872, 196.0),
    (ideal_qnd(0.1), 22.0, 0.01367, 0.14500, 19.6),
    (ideal_qnd(0.01), 202.0, 0.01288, 0.02273, 1.96),
]


@pytest.mark.parametrize(("device", "mu", "weights", "data", "photons"), TABLE)
def test_table_of_devices(device: Measurement, mu: float, weights: float, data: float, photons: float) -> None:
    assert device.mu_for(4.0) == pytest.approx(mu, rel=3e-4)
    assert weight_bits(device, mu=device.mu_for(4.0), n_modes=392) == pytest.approx(weights, abs=0.6e-5)
    assert data_bits(device, rows=784, n_modes=392) == pytest.approx(data, abs=0.6e-5)
    assert 784 * device.photons == pytest.approx(photons, rel=7e-4)


@pytest.mark.parametrize("mu", [0.01, 4.0, 300.0])
@pytest.mark.parametrize(("x", "p"), [(0.0, 0.05), (0.05, 0.0), (0.03, 0.02), (2.0, 0.001), (0.01, 0.01)])
def test_noise_that_prefers_a_quadrature_by_diagonalisation(mu: float, x: float, p: float) -> None:
    sent = purification(np.eye(2) * (2 * mu + 1))
    sent[0, 0] += x
    sent[1, 1] += p
    known = np.diag([1 + x, 1 + p])
    found = phase_sensitive_leakage(mu=mu, excess_x=x, excess_p=p)
    assert found == pytest.approx(entropy(sent) - entropy(known), rel=1e-6)
    assert found != pytest.approx(phase_sensitive_leakage(mu=1.05 * mu, excess_x=x, excess_p=p), rel=1e-3)


def test_equal_noise_is_the_phase_insensitive_case() -> None:
    for mu, noise in ((4.0, 1 / 392), (90.0, 5.6e-6), (0.1, 2.0)):
        both = phase_sensitive_leakage(mu=mu, excess_x=noise, excess_p=noise)
        assert both == pytest.approx(weight_leakage(mu=mu, transmissivity=1.0, excess=noise), rel=1e-9)
    assert phase_sensitive_leakage(mu=4.0, excess_x=0.0, excess_p=0.0) == 0.0
    # the physics notes' 3.1: mean noise 0.05 on one quadrature or on both
    assert phase_sensitive_leakage(mu=4.0, excess_x=0.0, excess_p=0.1) == pytest.approx(0.585, abs=6e-4)
    assert phase_sensitive_leakage(mu=4.0, excess_x=0.05, excess_p=0.05) == pytest.approx(0.811, abs=6e-4)


def test_the_data_bound_of_phase_sensitive_noise_covers_the_state() -> None:
    """One row on two modes, noise on P alone: Haar average with its phase, diagonalised in the number basis."""
    noise, most = 0.15, 7
    # rows of coherent states i zeta u/2, zeta Gaussian of variance D: Gauss-Hermite in zeta
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    amplitudes = 0.5j * math.sqrt(noise) * nodes
    weights = weights / weights.sum()
    numbers = np.arange(most + 1)
    factorial = np.array([math.factorial(int(k)) for k in numbers], dtype=np.float64)
    kets = np.exp(-0.5 * np.abs(amplitudes[:, None]) ** 2) * amplitudes[:, None] ** numbers / np.sqrt(factorial)
    single = (kets.T * weights) @ kets.conj()
    known = np.linalg.eigvalsh(single)
    vectors, shares = directions(2, 2 * most)
    blocks = [slice(k * (k + 1) // 2, (k + 1) * (k + 2) // 2) for k in numbers]
    average = np.zeros((blocks[-1].stop, blocks[-1].stop), dtype=np.complex128)
    for (u, share), turn in itertools.product(
        zip(vectors, shares, strict=True), np.exp(2j * np.pi * np.arange(2 * most + 1) / (2 * most + 1))
    ):
        embedding = np.zeros((blocks[-1].stop, most + 1), dtype=np.complex128)
        for number, block in enumerate(blocks):
            embedding[block, number] = fock(turn * u, number)
        average += share / (2 * most + 1) * (embedding @ single @ embedding.conj().T)
    values = np.linalg.eigvalsh(average)

    def bits(spectrum: NDArray[np.floating[Any]]) -> float:
        kept = spectrum[spectrum > 1e-15]
        return float(-np.sum(kept * np.log2(kept)))

    assert np.trace(average).real == pytest.approx(1.0, abs=1e-8)
    chi = bits(values) - bits(known)
    bound = phase_sensitive_data_leakage(photons_x=0.0, photons_p=noise / 4, rows=1, n_modes=2)
    thermal = data_leakage(photons_per_row=noise / 4, rows=1, n_modes=2)
    # the phase is worth more than what thermal light of as many photons tells: that alone would be no bound
    assert thermal < chi < bound
    # the Haar average is flat in each block: chi is the bound less what remains unknown of the row's own noise
    assert bound - bits(known) == pytest.approx(chi, abs=1e-6)


def test_loose_form_for_noise_on_both_quadratures() -> None:
    for rows, photons in ((784, 0.25), (784, 0.0025), (10, 0.1)):
        exact = phase_sensitive_data_leakage(photons_x=0.0, photons_p=photons, rows=rows, n_modes=392)
        loose = phase_sensitive_data_leakage(photons_x=1e-15, photons_p=photons, rows=rows, n_modes=392)
        assert exact < loose < 1.25 * exact + 1.0
    assert phase_sensitive_data_leakage(photons_x=0.0, photons_p=0.0, rows=3, n_modes=4) == 0.0


def test_a_real_qnd_tap_is_charged_on_both_quadratures() -> None:
    device = qnd_tap(1e6, 1 - 1e-12)
    assert weight_bits(device, mu=4.0, n_modes=392) == pytest.approx(
        weight_bits(ideal_qnd(1.0), mu=4.0, n_modes=392), rel=1e-3
    )
    with pytest.raises(ValueError, match="need unit gain"):
        weight_bits(passive_tap(0.5), mu=4.0, n_modes=392)
    with pytest.raises(ValueError, match="need unit gain"):
        data_bits(passive_tap(0.5), rows=784, n_modes=392)


def test_passive_tap_of_one_row() -> None:
    """t = 1/2, mu = 4: 2.755 bits, by the thermal state of what was split off; the amplifier of equal N_X has 2.778."""
    modulated = 1 + 0.5 * 2 * 4.0
    assert passive_tap_row_bits(mu=4.0, transmissivity=0.5) == pytest.approx(entropy(np.eye(2) * modulated), rel=1e-12)
    assert passive_tap_row_bits(mu=4.0, transmissivity=0.5) == pytest.approx(2.755, abs=6e-4)
    assert weight_leakage(mu=4.0, transmissivity=1.0, excess=1.0) == pytest.approx(2.778, abs=6e-4)
    with pytest.raises(ValueError, match="transmissivity"):
        passive_tap_row_bits(mu=4.0, transmissivity=1.2)


def test_noise_too_broad_to_sum_gives_an_upper_bound() -> None:
    """Where the law of N is too broad to sum, the bound goes on, a little above: doubled light by its own bits."""

    def bits(photons: float) -> float:
        return phase_sensitive_data_leakage(photons_x=0.0, photons_p=photons, rows=1, n_modes=4)

    summed, broad, broader = bits(1e4), bits(1e6), bits(1e8)
    # Three modes to share N among, and the entropy of N: four bits for each doubling. The step between the two is what
    # Jensen's inequality gives away for the logarithm of a chi-squared intensity, 3 (ln E - E ln) = 5.5 bits, and the
    # Gaussian entropy, which is less than two.
    assert broader - broad == pytest.approx(4 * math.log2(100.0), abs=1e-3)
    assert 5.0 < broad - summed - 4 * math.log2(100.0) < 7.5
