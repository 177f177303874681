"""The library's closed expectations, phase noise included, against brute force averaged over phases by quadrature."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.optics import client_law, expectation
from labqdl.optics.law import LinkLaw
from tests.optics.bruteforce import Bench, generic_direction, interleaved, moments
from tests.optics.test_law_bruteforce import EXACT, LEDGER, SETTINGS, SIZES, bench_of

Real = NDArray[np.float64]
DARK, EXTINCTION, MU = 0.02, 0.003, 4.0
Rms = tuple[float, float, float]
"""Forward, return and client's receiver phase noise, rad."""
STILL: Rms = (0.0, 0.0, 0.0)
NOISY: Rms = (0.12, 0.2, 0.08)


@dataclass(frozen=True)
class Averages:
    """Moments for given q, averaged over phases by Gauss-Hermite quadrature."""

    means: Real
    """(1 + n_weights,): of y and of the homodyned quadratures"""
    covariance: Real
    photons: Real
    slope: Real
    """(n_weights,): outcome map"""
    outcome_noise: float
    """E Var(y given q) over isotropic weights"""
    gain: float
    """mean diagonal element of the homodyne map"""
    square: float
    """E r^2 over isotropic weights, mean over quadratures"""
    photons_per_row: float
    """over isotropic weights"""


def nodes(rms: float) -> list[tuple[float, float]]:
    if rms == 0:
        return [(0.0, 1.0)]
    points, weights = np.polynomial.hermite_e.hermegauss(9)
    return [(rms * float(p), float(w)) for p, w in zip(points, weights / weights.sum(), strict=True)]


def average(bench: Bench, n: int, q: Real, rms: Rms) -> Averages:
    u = generic_direction(n, 7)
    total = bench.forward * bench.back
    expected = math.sqrt(total * bench.server_efficiency)
    displaced = math.sqrt(total * bench.counter_efficiency)
    leaked = EXTINCTION * total * bench.counter_efficiency
    size = 2 * n
    mean, second = np.zeros(1 + size), np.zeros((1 + size, 1 + size))
    photons, slope, noise, gain, square, per_row = np.zeros(n), np.zeros(size), 0.0, 0.0, 0.0, 0.0
    for triple in itertools.product(*map(nodes, rms)):
        weight = math.prod(w for _, w in triple)
        exact = moments(bench, u, phases=(triple[0][0], triple[1][0], triple[2][0]))
        means = np.concatenate([[exact.outcome_map @ q], exact.homodyne_map @ q])
        mean += weight * means
        second += weight * (exact.covariance + np.outer(means, means))
        photons += weight * exact.photons(q, displaced * q)
        slope += weight * exact.outcome_map
        noise += weight * (exact.covariance[0, 0] + 2 * MU * float(exact.outcome_map @ exact.outcome_map))
        gain += weight * float(np.trace(exact.homodyne_map)) / size
        wrong = float(np.sum((exact.homodyne_map - expected * np.eye(size)) ** 2))
        square += weight * (float(np.trace(exact.covariance[1:, 1:])) + 2 * MU * wrong) / size
        missed = float(np.sum((exact.counted_map - displaced * np.eye(size)) ** 2))
        per_row += weight * (float(np.trace(exact.counted_covariance)) - size + 2 * MU * missed) / 4
    sent = (q**2).reshape(n, 2).sum(axis=1) / 4
    return Averages(
        mean,
        second - np.outer(mean, mean),
        photons + DARK + leaked * sent,
        slope,
        noise - 2 * MU * float(slope @ slope),
        gain,
        square,
        per_row + n * (DARK + leaked * MU),
    )


def law_of(name: str, rms: Rms) -> LinkLaw:
    forward, back, receiver = rms
    return replace(
        LinkLaw.from_ledger(LEDGER, client_law.honest(LEDGER, SETTINGS[name][0])),
        dark_counts=DARK,
        extinction=EXTINCTION,
        forward_phase_noise=math.hypot(forward, receiver),
        total_phase_noise=math.hypot(forward, back),
        common_phase_noise=forward,
    )


def disagreement(law: LinkLaw, bench: Bench, n: int, rms: Rms) -> dict[str, float]:
    q = np.random.default_rng(n).standard_normal(2 * n) * math.sqrt(2 * MU)
    u = generic_direction(n, 7)
    x, jx = interleaved(u), interleaved(1j * u)
    exact = average(bench, n, q, rms)
    x_b, p_b = float(x @ q), float(jx @ q)
    signal_to_noise = 2 * MU * float(exact.slope @ exact.slope) / exact.outcome_noise
    found: dict[str, float | Real] = {
        "outcome slope": expectation.outcome_slope(law) * x - exact.slope,
        "outcome variance": expectation.outcome_variance(law, x_b, p_b) - exact.covariance[0, 0],
        "signal to noise": expectation.signal_to_noise(law, MU) - signal_to_noise,
        "residual mean": expectation.residual_mean(law, q, x) - exact.means[1:] + law.homodyne.expected * q,
        "residual covariance": expectation.residual_covariance(law, q, x) - exact.covariance[1:, 1:],
        "cross-covariance": expectation.cross_covariance(law, q, x) - exact.covariance[0, 1:],
        "counts": expectation.mean_counts(law, q, x) - exact.photons,
        "mean gain": expectation.mean_gain(law, n) - exact.gain,
        "mean square residual": expectation.mean_square_residual(law, n, MU) - exact.square,
        "photons of a row": expectation.mean_photons_per_row(law, n, MU) - exact.photons_per_row,
    }
    return {name: float(np.abs(value).max()) for name, value in found.items()}


@pytest.mark.parametrize("name", ["balanced amplifier", "too little net gain", "too much net gain", "feed-forward"])
@pytest.mark.parametrize("n", SIZES)
def test_expectations_without_phase_noise(name: str, n: int) -> None:
    found = disagreement(law_of(name, STILL), bench_of(SETTINGS[name][1]), n, STILL)
    assert max(found.values()) < EXACT, found


@pytest.mark.parametrize("n", [1, 4])
def test_expectations_with_phase_noise(n: int) -> None:
    name = "too little net gain"
    found = disagreement(law_of(name, NOISY), bench_of(SETTINGS[name][1]), n, NOISY)
    assert max(found.values()) < EXACT, found


@pytest.mark.parametrize("n", [1, 4])
def test_expectations_of_the_feed_forward_tap_with_phase_noise_of_the_fibres(n: int) -> None:
    """Its local oscillator steers the displacement as well, so that only the fibres' phases are compared."""
    rms = (NOISY[0], NOISY[1], 0.0)
    found = disagreement(law_of("feed-forward", rms), bench_of(SETTINGS["feed-forward"][1]), n, rms)
    assert max(found.values()) < EXACT, found


def test_expectations_see_five_per_cent_of_phase_noise() -> None:
    name = "too little net gain"
    for index in range(3):
        wrong = tuple(rms * (1.05 if i == index else 1.0) for i, rms in enumerate(NOISY))
        law = law_of(name, (wrong[0], wrong[1], wrong[2]))
        found = disagreement(law, bench_of(SETTINGS[name][1]), 1, NOISY)
        assert max(found.values()) > 1e4 * EXACT


@pytest.mark.parametrize("name", ["balanced amplifier", "feed-forward"])
@pytest.mark.parametrize("n", SIZES)
def test_mean_noise_per_mode(name: str, n: int) -> None:
    """epsilon and the residual's variance are traces of the covariance; S of an outcome is 2 mu slope^2 / Var y."""
    law, bench = law_of(name, STILL), bench_of(SETTINGS[name][1])
    exact = moments(bench, generic_direction(n, 7))
    variance = float(np.trace(exact.covariance[1:, 1:])) / (2 * n)
    assert abs(expectation.residual_variance(law, n) - variance) < EXACT
    counted = (float(np.trace(exact.counted_covariance)) / (2 * n) - 1) / bench.counter_efficiency
    assert abs(expectation.excess_noise(law, n) - counted) < EXACT
    signal = 2 * MU * float(exact.outcome_map @ exact.outcome_map)
    assert abs(expectation.signal_to_noise(law, MU) - signal / exact.covariance[0, 0]) < EXACT
