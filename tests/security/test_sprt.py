"""Wald's test against simulation: error rates, mean sample numbers, blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labqdl.security.sprt import (
    Decision,
    Sprt,
    expected_symbols,
    gain_increment,
    gain_information,
    noise_increment,
    noise_information,
)
from tests.security.light import Reals, assert_rate


def run_noise(
    generator: np.random.Generator, test: Sprt, *, true: float, ratio: float, block: int, most: int = 4000
) -> Sprt:
    """Residuals of variance `true` times the honest 1.1, in blocks, until a decision."""
    for _ in range(most):
        if test.decision is not Decision.UNDECIDED:
            return test
        residuals = generator.normal(scale=math.sqrt(1.1 * true), size=block)
        rr = float(residuals @ residuals)
        test = test.after(noise_increment(rr, block, variance=1.1, ratio=ratio))
    raise AssertionError("no decision")


@pytest.mark.parametrize("block", [1, 50])
def test_errors_stay_within_walds_limits_whatever_the_block(block: int) -> None:
    generator = np.random.default_rng(1)
    start, trials = Sprt(0.05, 0.1), 400
    alarms = sum(
        run_noise(generator, start, true=1.0, ratio=1.5, block=block).decision is Decision.CHEAT for _ in range(trials)
    )
    missed = sum(
        run_noise(generator, start, true=1.5, ratio=1.5, block=block).decision is Decision.HONEST for _ in range(trials)
    )
    assert_rate(alarms, trials, 0.05 / 0.9)
    assert_rate(missed, trials, 0.1 / 0.95)


def test_boundaries_are_walds() -> None:
    """Decisions at likelihood ratios of (1 - beta)/alpha = 800 and beta/(1 - alpha) = 0.2002."""
    start = Sprt(0.001, 0.2)
    assert start.after(math.log(799)).decision is Decision.UNDECIDED
    assert start.after(math.log(801)).decision is Decision.CHEAT
    assert start.after(math.log(0.201)).decision is Decision.UNDECIDED
    assert start.after(math.log(0.2)).decision is Decision.HONEST


def test_a_wrong_honest_variance_accuses_honest_clients() -> None:
    """A planted mistake of 5 % in the honest variance raises the false alarms beyond the limit."""
    generator = np.random.default_rng(2)
    trials = 250
    alarms = sum(
        run_noise(generator, Sprt(0.05, 0.1), true=1.05, ratio=1.15, block=1).decision is Decision.CHEAT
        for _ in range(trials)
    )
    with pytest.raises(AssertionError, match="expected"):
        assert_rate(alarms, trials, 0.05 / 0.9)


@pytest.mark.parametrize("honest", [False, True])
def test_mean_numbers_to_a_decision(honest: bool) -> None:
    # Wald's formula leaves out what overshoots the boundary: at most one increment, small against 5.
    generator = np.random.default_rng(3)
    alpha, beta, ratio, trials = 0.01, 0.05, 1.2, 200
    numbers = [
        run_noise(generator, Sprt(alpha, beta), true=1.0 if honest else ratio, ratio=ratio, block=1).blocks
        for _ in range(trials)
    ]
    expected = expected_symbols(noise_information(ratio, honest=honest), alpha, beta, honest=honest)
    error = float(np.std(numbers)) / math.sqrt(trials)
    assert abs(float(np.mean(numbers)) - expected) < 5 * error + 0.06 * expected
    assert 5 * error < 0.35 * expected


def test_a_shift_of_the_amplitude_is_found_in_the_expected_number() -> None:
    generator = np.random.default_rng(4)
    alpha, beta, shift, light, variance = 1e-3, 0.05, -0.1, 8.0, 1.1
    numbers, found = [], 0
    for _ in range(300):
        test = Sprt(alpha, beta)
        while test.decision is Decision.UNDECIDED:
            q = generator.normal(scale=math.sqrt(light))
            r = shift * q + generator.normal(scale=math.sqrt(variance))
            test = test.after(gain_increment(q * r, q * q, variance=variance, shift=shift))
        numbers.append(test.blocks)
        found += test.decision is Decision.CHEAT
    assert found > 300 * (1 - beta / (1 - alpha)) - 5 * math.sqrt(300 * beta)
    expected = expected_symbols(gain_information(shift, variance=variance, light=light), alpha, beta)
    assert np.mean(numbers) == pytest.approx(expected, rel=0.25)


def test_increments_are_log_likelihood_ratios() -> None:
    generator = np.random.default_rng(5)
    q, r = generator.normal(size=20), generator.normal(size=20)

    def log_density(mean: Reals, variance: float) -> float:
        return float(np.sum(-0.5 * np.log(2 * np.pi * variance) - 0.5 * (r - mean) ** 2 / variance))

    zero = np.zeros(20)
    assert noise_increment(float(r @ r), 20, variance=1.3, ratio=0.7) == pytest.approx(
        log_density(zero, 0.91) - log_density(zero, 1.3), rel=1e-12
    )
    assert gain_increment(float(q @ r), float(q @ q), variance=1.3, shift=0.2) == pytest.approx(
        log_density(0.2 * q, 1.3) - log_density(zero, 1.3), rel=1e-12
    )


def test_information_is_the_mean_increment() -> None:
    assert noise_information(1.7) == pytest.approx(noise_increment(1.7 * 1.1, 1, variance=1.1, ratio=1.7))
    assert noise_information(1.7, honest=True) == pytest.approx(-noise_increment(1.1, 1, variance=1.1, ratio=1.7))
    mean = gain_increment(0.3 * 8.0, 8.0, variance=1.1, shift=0.3)
    assert gain_information(0.3, variance=1.1, light=8.0) == pytest.approx(mean)


def test_a_decision_is_final() -> None:
    test = Sprt(0.01, 0.1)
    assert test.decision is Decision.UNDECIDED
    assert test.after(test.upper - 1e-9).decision is Decision.UNDECIDED
    sure = test.after(test.upper)
    assert sure.decision is Decision.CHEAT
    assert sure.after(-100.0) == sure
    assert sure.blocks == 1
    assert test.after(test.lower).after(1000.0).decision is Decision.HONEST


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.1), (0.1, 0.0), (0.6, 0.4)])
def test_error_rates_must_be_rates(alpha: float, beta: float) -> None:
    with pytest.raises(ValueError, match="error rates"):
        Sprt(alpha, beta)
