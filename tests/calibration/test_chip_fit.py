"""Heaters of two chips are found from matrices with noise, and what they are set to then is the vector, and undone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl_calibration.chip_fit import Bank, back, chain, forward, inverse

MODES = 5


def heaters(rng: np.random.Generator, count: int) -> Bank:
    return Bank(0.1 + 0.003 * rng.standard_normal(count), rng.uniform(-np.pi, np.pi, count))


def noisy(rng: np.random.Generator, data: NDArray[np.complex128], size: float) -> NDArray[np.complex128]:
    noise = rng.standard_normal(data.shape) + 1j * rng.standard_normal(data.shape)
    turns = np.exp(2j * np.pi * rng.random((len(data), *(1,) * (data.ndim - 1)))) * 3.0
    return np.asarray(turns * (data + size * noise))


def wrapped(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.angle(np.exp(1j * angle)))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 6))])
def test_heaters_are_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    settings, crosstalk, noise = 24, 0.02, 0.003
    theta, phi = heaters(rng, MODES - 1), heaters(rng, MODES - 1)
    heat = [rng.uniform(0, 70, (settings, MODES - 1)) for _ in range(2)]
    matrices = chain(theta.phases(heat[0], crosstalk), phi.phases(heat[1], crosstalk))
    np.testing.assert_allclose(
        matrices @ np.conj(np.swapaxes(matrices, 1, 2)), np.broadcast_to(np.eye(MODES), matrices.shape), atol=1e-12
    )
    found = forward(heat[0], heat[1], noisy(rng, matrices[:, -1], noise), 0.1, 0.015)
    assert found.misfit < 0.06
    for name, bank in (("theta", theta), ("phi", phi)):
        np.testing.assert_allclose(found.banks[name].slopes, bank.slopes, atol=2e-3)
        assert np.max(np.abs(wrapped(found.banks[name].offsets - bank.offsets))) < 0.1
        for heat_of in (heat[0], heat[1]):
            off = found.banks[name].phases(heat_of, found.crosstalk) - bank.phases(heat_of, crosstalk)
            assert np.sqrt(np.mean(wrapped(off) ** 2)) < 0.03
    assert found.crosstalk == pytest.approx(crosstalk, abs=0.003)

    theta2, phi2, ret = heaters(rng, MODES - 1), heaters(rng, MODES - 1), heaters(rng, MODES)
    heat2 = [rng.uniform(0, 70, (settings, count)) for count in (MODES - 1, MODES - 1, MODES)]
    truth = [bank.phases(warm, crosstalk) for bank, warm in zip((theta2, phi2, ret), heat2, strict=True)]
    second = back(truth[0], truth[1], truth[2])
    second[:, :, -1] *= 0.95 * np.exp(0.3j)
    loops = noisy(rng, second @ matrices, noise)
    other = inverse(heat2[0], heat2[1], heat2[2], loops, matrices, 0.1, 0.015)
    assert other.misfit < 0.06
    np.testing.assert_allclose(other.banks["theta"].slopes, theta2.slopes, atol=2e-3)
    warmed = dict(zip(("theta", "phi", "ret"), heat2, strict=True))
    fitted = [other.banks[name].phases(warm, other.crosstalk) for name, warm in warmed.items()]
    again = back(fitted[0], fitted[1], fitted[2])
    again[:, :, -1] *= 0.95 * np.exp(0.3j)
    overlap = np.einsum("mij,mij->m", np.conj(again), second) / np.einsum("mij,mij->m", np.conj(second), second).real
    np.testing.assert_allclose(np.abs(overlap), 1.0, atol=2e-3)
