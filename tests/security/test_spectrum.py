from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize

from labqdl.security.holevo import water_filling_leakage, weight_leakage
from labqdl.security.spectrum import Prior, Spectrum, layer_spectrum, worst_leakage
from tests.security.symplectic import entropy, purification

Matrix = NDArray[np.float64]


def random_light(rng: np.random.Generator, rows: int, modes: int, decay: float) -> Matrix:
    """Rows whose real directions fall off, in a random frame that mixes X and P of all modes."""
    frame = np.linalg.qr(rng.normal(size=(2 * modes, 2 * modes)))[0]
    return np.asarray(rng.normal(size=(rows, 2 * modes)) * np.arange(1, 2 * modes + 1) ** -decay @ frame.T)


def leakage_of(modulation: Matrix, noise: Matrix) -> float:
    """Holevo information of Gaussian symbols of this covariance under added noise of that one, diagonalised; bits."""
    size = modulation.shape[0]
    sent = purification(np.eye(size) + modulation)
    sent[:size, :size] += noise
    return entropy(sent) - entropy(np.eye(size) + noise)


def steered(modulation: Matrix, total: float, rng: np.random.Generator) -> float:
    """The worst noise of this trace that a search over all covariances finds; bits."""
    size = modulation.shape[0]
    lower = np.tril_indices(size)

    def value(entries: Matrix) -> float:
        factor = np.zeros((size, size))
        factor[lower] = entries
        noise = factor @ factor.T
        return -leakage_of(modulation, noise * total / max(np.trace(noise), 1e-300) + 1e-13 * np.eye(size))

    starts = [np.linalg.cholesky(modulation)[lower], np.eye(size)[lower], rng.normal(size=lower[0].size)]
    return -min(float(minimize(value, start, method="L-BFGS-B", options={"maxiter": 60}).fun) for start in starts)


@pytest.mark.parametrize("seed", range(6))
def test_no_noise_tells_more_than_the_worst_prior(seed: int) -> None:
    """Two modes, correlated quadratures: direct search over noise covariances, each diagonalised symplectically."""
    rng = np.random.default_rng(seed)
    values = 10 ** rng.uniform(-1.5, 1.7, 4)
    frame = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    modulation = frame * values @ frame.T
    total = 10 ** rng.uniform(-3.5, 0.7)
    found = steered(modulation, total, rng) / 2
    # four rows of equal energy that have just this covariance
    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    spectrum = layer_spectrum(signs * np.sqrt(values) @ frame.T)
    assert len(spectrum.priors) == 2
    bound = spectrum.leakage(mu=float(values.mean()) / 2, transmissivity=1.0, excess=total / 4)
    assert found <= bound * (1 + 1e-9)
    assert found > 0.75 * bound  # and it is not idle
    worst = worst_leakage(mu=float(values.mean()) / 2, transmissivity=1.0, excess=total / 4)
    assert found <= max(worst, weight_leakage(mu=float(values.mean()) / 2, transmissivity=1.0, excess=total / 4))


def test_a_quadrature_alone_leaks_more_than_half_a_mode_of_the_mean() -> None:
    """Only X is modulated: noise on P alone; closed form of the physics notes for that, diagonalised again."""
    variance, noise = 16.0, 2 / 392
    direct = leakage_of(np.diag([variance, 1e-12]), np.diag([1e-14, noise]))

    def g(n: float) -> float:
        return (n + 1) * math.log2(n + 1) - n * math.log2(n)

    closed = g((math.sqrt(1 + (variance + 1) * noise) - 1) / 2) - g((math.sqrt(1 + noise) - 1) / 2)
    assert direct == pytest.approx(closed, rel=1e-6)
    even = weight_leakage(mu=4.0, transmissivity=1.0, excess=1 / 392)
    assert direct > 1.5 * even
    rows = np.zeros((40, 2))
    rows[:, 0] = 4.0
    bound = layer_spectrum(rows).leakage(mu=4.0, transmissivity=1.0, excess=1 / 392)
    assert direct <= bound < 1.02 * direct


def test_isotropic_rows_are_hardly_worse_than_equal_ones() -> None:
    rng = np.random.default_rng(3)
    spectrum = layer_spectrum(rng.normal(size=(20_000, 24)))
    call = {"mu": 4.0, "transmissivity": 1.0, "excess": 1 / 12}
    assert 1.0 <= spectrum.leakage(**call) / weight_leakage(**call) < 1.005


def test_rows_of_unequal_light_are_known_to_the_client() -> None:
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(4000, 8))
    bright = rows * np.where(np.arange(4000) < 400, 3.0, 0.3)[:, None]
    flat, unequal = layer_spectrum(rows), layer_spectrum(bright)
    assert len(flat.priors) == 4  # normal rows differ in energy by chance
    call = {"mu": 4.0, "transmissivity": 1.0, "excess": 0.01}
    # a tenth of the rows carries 92 % of the light: as if a tenth of the directions did
    ten = np.r_[np.full(100, 9.0), np.full(900, 0.09)]
    expected = water_filling_leakage(mu=4.0, eigenvalues=ten, excess=0.01)
    assert unequal.leakage(**call) == pytest.approx(expected, rel=0.12)
    assert unequal.leakage(**call) > 1.15 * flat.leakage(**call)
    equal = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert len(layer_spectrum(equal).priors) == 2


def test_few_rows_say_nothing() -> None:
    rng = np.random.default_rng(5)
    assert not layer_spectrum(rng.normal(size=(10, 784))).known
    assert layer_spectrum(rng.normal(size=(12, 24))).known
    unknown = Spectrum.unknown().leakage(mu=4.0, transmissivity=1.0, excess=1 / 392)
    for decay in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0):
        spectrum = Spectrum.of(np.arange(1, 393.0) ** -decay)
        assert spectrum.leakage(mu=4.0, transmissivity=1.0, excess=1 / 392) <= unknown
    assert unknown == pytest.approx(0.2234, abs=1e-4)


@pytest.mark.parametrize(
    ("mu", "transmissivity", "excess"),
    [(4.0, 1.0, 1 / 392), (90.0, 1.0, 5.6e-6), (0.2, 0.86, 0.0024), (4.0, 0.999, 0.0026), (4.0, 1.0, 3.0)],
)
def test_worst_of_all_spectra_by_linear_programming(mu: float, transmissivity: float, excess: float) -> None:
    """Any distribution over directions of any light and noise with these means: no more than 0.1 % above."""
    light = np.r_[0.0, np.geomspace(mu / 30, mu * 300, 81)]
    noise = np.r_[0.0, np.geomspace(excess / 300, excess * 300, 81)]
    m, e = (grid.ravel() for grid in np.meshgrid(light, noise))
    bits = np.asarray(weight_leakage(mu=m, transmissivity=np.full(m.size, transmissivity), excess=e))
    solved = linprog(
        -bits, A_eq=np.ones((1, m.size)), b_eq=[1.0], A_ub=np.vstack([m, e]), b_ub=[mu, excess], method="highs"
    )
    found = -float(solved.fun or 0.0)
    bound = Spectrum.unknown().leakage(mu=mu, transmissivity=transmissivity, excess=excess)
    assert 0.99 * bound < found < 1.001 * bound


def test_gathered_spectra_are_rounded_up_by_no_more_than_a_hundredth() -> None:
    values = np.random.default_rng(6).lognormal(sigma=2.0, size=5000)
    gathered = Prior.of(values)
    assert gathered.values.size < 2000
    assert gathered.shares.sum() == pytest.approx(1.0)
    exact = water_filling_leakage(mu=4.0, eigenvalues=values, excess=0.01)
    assert exact <= gathered.leakage(mu=4.0, transmissivity=1.0, excess=0.01) < 1.01 * exact


@pytest.mark.parametrize("energies", [np.array([]), np.zeros(3), np.array([1.0, math.inf])])
def test_refuses_what_is_no_spectrum(energies: Matrix) -> None:
    with pytest.raises(ValueError, match="spectrum needs"):
        Spectrum.of(energies)


def test_refuses_light_that_is_none() -> None:
    with pytest.raises(ValueError, match="q must have shape"):
        layer_spectrum(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="q must have shape"):
        layer_spectrum(np.ones((3, 5)))
