"""Fisher information by scores of sampled outcomes and by the information of Gaussian states."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.security.data import best_overlap, data_leakage
from labqdl.security.engines import arxiv_2024_data, prx_2025_data
from labqdl.security.fisher import (
    entangled_information,
    estimation_bits,
    heterodyne_information,
    homodyne_information,
    marginal_information,
    masked_information,
    passive_tap_information,
    quantum_information,
)
from tests.security.symplectic import form

Matrix = NDArray[np.float64]
STEP = 1e-4


def score_variance(covariance: Callable[[float], Matrix], seed: int, samples: int = 400_000) -> tuple[float, float]:
    """Mean square of the score of zero-mean Gaussian outcomes, by differences of log densities; with 5.5 sigma."""
    middle = covariance(0.0)
    outcomes = np.random.default_rng(seed).multivariate_normal(np.zeros(len(middle)), middle, size=samples)

    def log_density(theta: float) -> Matrix:
        matrix = covariance(theta)
        forms = np.einsum("si,ij,sj->s", outcomes, np.linalg.inv(matrix), outcomes)
        return np.asarray(-0.5 * forms - 0.5 * np.linalg.slogdet(matrix)[1])

    squares = ((log_density(STEP) - log_density(-STEP)) / (2 * STEP)) ** 2
    return float(squares.mean()), 5.5 * float(squares.std()) / math.sqrt(samples)


def assert_score(covariance: Callable[[float], Matrix], expected: float, seed: int) -> None:
    found, error = score_variance(covariance, seed)
    assert abs(found - expected) < error
    assert abs(found - 1.05 * expected) > error


def tilted(theta: float, modes: int, seed: int, complex_: bool) -> NDArray[np.complex128]:
    """u cos(theta) + v sin(theta), v a unit vector orthogonal to u; Re u^* v = 0 and Im u^* v = 0."""
    rng = np.random.default_rng(seed)
    u = rng.normal(size=modes) + 1j * complex_ * rng.normal(size=modes)
    v = rng.normal(size=modes) + 1j * complex_ * rng.normal(size=modes)
    u = u / np.linalg.norm(u)
    v = v - (u.conj() @ v) * u
    return np.asarray(u * math.cos(theta) + v / np.linalg.norm(v) * math.sin(theta), dtype=np.complex128)


def real_parts(u: NDArray[np.complex128]) -> tuple[Matrix, Matrix]:
    """x and Jx, interleaved: along what the noise of X_b and P_b returns."""
    x = np.column_stack([u.real, u.imag]).ravel()
    jx = np.column_stack([-u.imag, u.real]).ravel()
    return x, jx


def state(u: NDArray[np.complex128], eta: float) -> Matrix:
    """Covariance of the returned light: vacuum, and eta on both quadratures of mode u."""
    x, jx = real_parts(u)
    return np.asarray(np.eye(x.size) + eta * (np.outer(x, x) + np.outer(jx, jx)))


@pytest.mark.parametrize("eta", [0.2, 1.0, 1.5])
def test_homodyne_of_real_data(eta: float) -> None:
    def covariance(theta: float) -> Matrix:
        return state(tilted(theta, 4, 1, False), eta)[0::2, 0::2]

    assert_score(covariance, homodyne_information(eta), seed=2)


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_heterodyne(eta: float) -> None:
    """Both quadratures of all modes, each with one more unit of vacuum."""

    def covariance(theta: float) -> Matrix:
        u = tilted(theta, 3, 3, True)
        return state(u, eta) + np.eye(6)

    assert_score(covariance, heterodyne_information(eta), seed=4)


def test_homodyne_of_generic_complex_data_is_that_of_heterodyne() -> None:
    """A random quadrature of every mode, many modes: averaged over directions, by the exact information."""
    eta, total, trials = 1.0, 0.0, 60
    for seed in range(trials):
        # patterns of fixed phase: X everywhere, u with random phases
        def covariance(theta: float, seed: int = seed) -> Matrix:
            return state(tilted(theta, 200, seed, True), eta)[0::2, 0::2]

        change = (covariance(STEP) - covariance(-STEP)) / (2 * STEP)
        product = np.linalg.solve(covariance(0.0), change)
        total += 0.5 * float(np.trace(product @ product)) / trials
    assert total == pytest.approx(heterodyne_information(eta), rel=0.02)


@pytest.mark.parametrize(("eta", "component"), [(1.0, 0.05), (1.0, 0.7), (0.3, 0.4)])
def test_variance_of_one_mode_alone(eta: float, component: float) -> None:
    def covariance(theta: float) -> Matrix:
        return np.array([[1 + eta * (component + theta) ** 2]])

    assert_score(covariance, marginal_information(added_noise=eta, component=component), seed=5)


def gaussian_information(covariance: Callable[[float], Matrix], mean: Callable[[float], Matrix] | None = None) -> float:
    """Quantum Fisher information of Gaussian states, vacuum variance 1 (Monras, arXiv:1303.3682).

    F = tr[dS Y]/2 with S Y S - W Y W' = dS, W the symplectic form, plus the mean's |dd|^2 in the metric of S.
    """
    middle = covariance(0.0)
    change = (covariance(STEP) - covariance(-STEP)) / (2 * STEP)
    symplectic = form(len(middle) // 2)
    superoperator = np.kron(middle, middle) - np.kron(symplectic, symplectic)
    solved = np.linalg.pinv(superoperator, rcond=1e-9) @ change.ravel()
    found = 0.5 * float(change.ravel() @ solved)
    if mean is not None:
        shift = (mean(STEP) - mean(-STEP)) / (2 * STEP)
        found += float(shift @ np.linalg.solve(middle, shift))
    return found


@pytest.mark.parametrize("eta", [0.01, 1.0, 3.0])
def test_quantum_information_of_a_thermal_mode(eta: float) -> None:
    found = gaussian_information(lambda theta: state(tilted(theta, 3, 6, True), eta))
    assert found == pytest.approx(quantum_information(eta / 2), rel=1e-6)
    assert found == pytest.approx(2 * eta, rel=1e-6)


@pytest.mark.parametrize(("photons", "mask"), [(0.5, 0.005), (0.5, 0.5), (0.05, 0.2), (2.0, 0.0)])
def test_masking(photons: float, mask: float) -> None:
    def covariance(theta: float) -> Matrix:
        return np.asarray(state(tilted(theta, 2, 7, True), 2 * photons) + 2 * mask * np.eye(4))

    found = gaussian_information(covariance)
    assert found == pytest.approx(masked_information(photons=photons, mask=mask), rel=1e-6)


@pytest.mark.parametrize(("photons", "probe"), [(0.5, 4.0), (0.1, 1.0), (0.5, 0.0)])
def test_entangled_probes(photons: float, probe: float) -> None:
    """Two modes, each half of a two-mode squeezed pair whose other half the server keeps."""
    variance, link = 2 * probe + 1, 2 * math.sqrt(probe * (probe + 1))
    pair = np.kron(np.eye(2), np.diag([1.0, -1.0])) * link

    def covariance(theta: float) -> Matrix:
        full = np.block([[np.eye(4) * variance, pair], [pair.T, np.eye(4) * variance]])
        full[:4, :4] += state(tilted(theta, 2, 8, False), 2 * photons) - np.eye(4)
        return np.asarray(full)

    found = gaussian_information(covariance)
    assert found == pytest.approx(entangled_information(photons=photons, probe_photons=probe), rel=1e-5)


def test_entangled_probes_of_the_reference() -> None:
    assert entangled_information(photons=0.5, probe_photons=4.0) == 18.0
    assert quantum_information(0.5) == 2.0


@pytest.mark.parametrize(("transmissivity", "information", "same"), [(0.9, 0.084, 0.364), (0.5, 2.75, 2.0)])
def test_passive_tap(transmissivity: float, information: float, same: float) -> None:
    """What comes back is coherent light without a part of mode u: information of the mean, over random weights."""
    rng = np.random.default_rng(9)
    mu, total, trials = 4.0, 0.0, 4000
    for _ in range(trials):
        q = math.sqrt(2 * mu) * rng.normal(size=20)

        def mean(theta: float, q: Matrix = q) -> Matrix:
            x, jx = real_parts(tilted(theta, 10, 10, True))
            return np.asarray(q - (1 - math.sqrt(transmissivity)) * ((x @ q) * x + (jx @ q) * jx))

        total += gaussian_information_of_mean(mean) / trials
    expected = passive_tap_information(mu=mu, transmissivity=transmissivity)
    assert total == pytest.approx(expected, rel=5.5 / math.sqrt(trials))
    assert expected == pytest.approx(information, rel=6e-3)
    gain = {0.9: 1.1, 0.5: 2.0}[transmissivity]
    assert quantum_information((gain - 1) / gain) == pytest.approx(same, rel=2e-3)


def gaussian_information_of_mean(mean: Callable[[float], Matrix]) -> float:
    shift = (mean(STEP) - mean(-STEP)) / (2 * STEP)
    return float(shift @ shift)


# the physics notes' table 3.6: per real symbol at n = 392, M = 784 (the later code: 794)
TABLE = [
    (1.0013, 5e-8, 5e-8, 9.8e-6, 2.4e-6, 0.00187, 0.01061, 0.0051, 1.02),
    (1.01, 2.9e-6, 2.9e-6, 5.6e-4, 1.4e-4, 0.01415, 0.06596, 0.0219, 7.76),
    (1.05, 6.67e-5, 6.67e-5, 0.0120, 0.0031, 0.0656, 0.2274, 0.0891, 37.3),
    (1.1, 2.428e-4, 2.431e-4, 0.0398, 0.0108, 0.1205, 0.3594, 0.1557, 71.3),
    (1.3, 0.001559, 0.001563, 0.1866, 0.0599, 0.2737, 0.6499, 0.3171, 180.9),
    (1.5, 0.003242, 0.003253, 0.3115, 0.1112, 0.3685, 0.8011, 0.4010, 261.3),
    (2.0, 0.0072495, 0.0072864, 0.5046, 0.2075, 0.5000, 0.9915, 0.5008, 392.0),
    (3.4142, 0.014367, 0.014470, 0.7106, 0.3326, 0.6358, 1.1724, 0.5864, 554.4),
]


@pytest.mark.parametrize("row", TABLE, ids=[f"G={row[0]}" for row in TABLE])
def test_table_of_estimates_and_bounds(row: tuple[float, ...]) -> None:
    gain = row[0]
    eta = 2 * (gain - 1) / gain
    n, rows = 392, 784
    found = (
        arxiv_2024_data(gain, n_modes=n),
        arxiv_2024_data(gain, n_modes=n, power=2),
        prx_2025_data(gain, n_modes=n, rows=794),
        estimation_bits(heterodyne_information(eta), rows=rows, parameters=2 * n),
        estimation_bits(quantum_information(eta / 2) / 2, rows=rows, parameters=2 * n),
        data_leakage(photons_per_row=eta / 2, rows=rows, n_modes=n) / (2 * n),
        best_overlap(photons_per_row=eta / 2, rows=rows, n_modes=n),
        rows * eta / 2,
    )
    for value, printed in zip(found, row[1:], strict=True):
        digits = 10.0 ** float(Decimal(str(printed)).as_tuple().exponent)  # to the digits that are printed
        assert value == pytest.approx(printed, abs=0.6 * digits)
    # the authors' formulas by the information that they rest on
    assert found[1] == pytest.approx(
        estimation_bits(2 * marginal_information(added_noise=eta, component=n**-0.5), rows=n, parameters=n), rel=1e-12
    )
    assert found[2] == pytest.approx(estimation_bits(homodyne_information(eta), rows=794, parameters=n), rel=1e-12)
    # no measurement's estimate is above the bound
    assert max(found[:5]) < found[5]


def test_ratio_of_quantum_to_homodyne_information() -> None:
    for eta in (1e-3, 0.5, 1.9):
        assert quantum_information(eta / 2) / homodyne_information(eta) == pytest.approx(2 * (1 + eta) / eta)


@pytest.mark.parametrize(
    "call",
    [
        lambda: homodyne_information(-0.1),
        lambda: quantum_information(math.nan),
        lambda: masked_information(photons=0.1, mask=-1.0),
        lambda: passive_tap_information(mu=1.0, transmissivity=1.5),
        lambda: estimation_bits(1.0, rows=0, parameters=1),
    ],
)
def test_refusals(call: Callable[[], float]) -> None:
    with pytest.raises(ValueError, match="must"):
        call()


def test_nothing_to_mask() -> None:
    assert masked_information(photons=0.0, mask=0.0) == 0.0
