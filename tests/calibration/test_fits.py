"""Every fit on synthetic data: pulls have mean 0 and width 1, and a planted mistake shows.

Of N pulls the mean is allowed 5.2 / sqrt(N) and the width 5.2 / sqrt(2 N): each fails by chance in 2e-7 of all
repetitions, and the seeds are fixed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl_calibration import fits

Real = NDArray[np.float64]
SIGMAS = 5.2


def assert_pulls(pulls: Real) -> None:
    """Pulls (fits, parameters) are standard normal within statistics."""
    count = len(pulls)
    assert np.all(np.abs(np.mean(pulls, axis=0)) < SIGMAS / math.sqrt(count))
    assert np.all(np.abs(np.std(pulls, axis=0) - 1) < SIGMAS / math.sqrt(2 * count))


def pulls_of(fit: fits.Fit, truth: dict[str, float], angles: tuple[str, ...] = ()) -> list[float]:
    return [
        float(fits.wrapped(fit[key] - value) if key in angles else fit[key] - value) / fit.deviation(key)
        for key, value in truth.items()
    ]


def test_pulls_of_a_line_and_of_a_weighted_mean() -> None:
    random = np.random.default_rng(1)
    x = np.linspace(0, 3e-3, 9)
    sigma = 1e-6 * (1 + x / 1e-3)
    found = [
        pulls_of(
            fits.line(x, 2e-6 + 0.04 * x + sigma * random.standard_normal(9), sigma), {"intercept": 2e-6, "slope": 0.04}
        )
        for _ in range(600)
    ]
    assert_pulls(np.array(found))
    means = [
        pulls_of(fits.weighted_mean(7 + sigma * random.standard_normal(9), sigma), {"mean": 7.0}) for _ in range(600)
    ]
    assert_pulls(np.array(means))


@pytest.mark.parametrize("phase", [-3.1, -1.0, 0.4, 3.12])
def test_pulls_of_a_half_wave_fit_whose_data_sheet_is_half_wrong(phase: float) -> None:
    random = np.random.default_rng(2)
    volts = np.linspace(-6, 6, 61)
    truth = {"offset": 1.0, "amplitude": 0.9, "v_pi": 3.7, "phase": phase}
    found = []
    for _ in range(25):
        power = 1.0 + 0.9 * np.cos(np.pi * volts / 3.7 + phase) + 0.01 * random.standard_normal(61)
        found.append(pulls_of(fits.half_wave(volts, power, 2.5, 0.01), truth, ("phase",)))
    assert_pulls(np.array(found))


def test_pulls_of_a_half_wave_fit_with_unknown_noise_and_known_voltage() -> None:
    random = np.random.default_rng(3)
    volts = np.linspace(-4, 4, 40)
    found = []
    for _ in range(300):
        power = 0.5 + 0.5 * np.cos(np.pi * volts / 3 - 2) + 0.02 * random.standard_normal(40)
        fit = fits.half_wave(volts, power, 3.0, known=True)
        found.append(pulls_of(fit, {"offset": 0.5, "amplitude": 0.5, "phase": -2.0}, ("phase",)))
    # With 37 degrees of freedom and a deviation from the residuals the pulls are Student's: wider by 2.7 %.
    assert_pulls(np.array(found) / math.sqrt(37 / 35))


def test_visibility_has_the_right_error() -> None:
    random = np.random.default_rng(4)
    volts = np.linspace(0, 8, 50)
    found = []
    for _ in range(300):
        power = 2 * (1 + 0.95 * np.cos(np.pi * volts / 3 + 1)) + 0.03 * random.standard_normal(50)
        seen = fits.visibility(fits.half_wave(volts, power, 3.0, 0.03, known=True))
        found.append([(seen.value - 0.95) / seen.deviation])
    assert_pulls(np.array(found))


def test_variance_of_a_record_with_a_band_has_the_right_error() -> None:
    random = np.random.default_rng(5)
    found = []
    for _ in range(400):
        white = random.standard_normal(8196)
        seen = fits.variance((white[4:] + white[3:-1] + white[2:-2] + white[1:-3] + white[:-4]) / math.sqrt(5))
        found.append([(seen.value - 1) / seen.deviation])
    # 64 blocks: Student's again, 63 degrees of freedom; the mean of a skew ratio is off by a tenth of a deviation.
    assert abs(np.mean(found)) < 0.15 + SIGMAS / 20
    assert abs(np.std(found) - math.sqrt(63 / 61)) < SIGMAS / math.sqrt(800)


def test_shot_noise_line_its_pulls_and_its_curvature() -> None:
    random = np.random.default_rng(6)
    power = np.linspace(0, 8e-3, 9)
    variances = 1e-6 + 2e-3 * power
    straight, bends, clearances = [], [], []
    for _ in range(400):
        sigma = variances * math.sqrt(2 / 20_000)
        fit = fits.shot_noise(power, variances + sigma * random.standard_normal(9), sigma)
        straight.append(pulls_of(fit.line, {"intercept": 1e-6, "slope": 2e-3}))
        bends.append([fit.curvature])
        clear = fit.clearance_at(4e-3)
        clearances.append([(clear.value - 10 * math.log10(9)) / clear.deviation])
    assert_pulls(np.array(straight))
    assert_pulls(np.array(bends))
    assert_pulls(np.array(clearances))
    bent = fits.shot_noise(power, variances * (1 - 0.1 * power / 8e-3), variances * math.sqrt(2 / 20_000))
    assert abs(bent.curvature) > 4


def test_pulls_of_a_hysteresis_map() -> None:
    random = np.random.default_rng(7)
    command = np.concatenate([np.linspace(0, 30, 16), np.linspace(28, 0, 15)])
    move = np.sign(np.diff(command, prepend=-1))
    found = []
    for _ in range(400):
        reading = 0.8 + 1.01 * command + 0.05 * move + 0.02 * random.standard_normal(31)
        found.append(pulls_of(fits.hysteresis(command, reading, 0.02), {"offset": 0.8, "slope": 1.01, "width": 0.1}))
    assert_pulls(np.array(found))


def test_pulls_of_a_delay_to_a_fraction_of_a_sample() -> None:
    random = np.random.default_rng(8)
    t = np.arange(400) * 1e-8
    found = []

    def pulse(at: float) -> Real:
        late, soon = (t - 1.9e-6 - at) / 3e-8, (t - 1.5e-6 - at) / 6e-8
        return np.asarray(np.exp(-(soon**2)) + 0.5 * np.exp(-(late**2)))

    for _ in range(200):
        late = float(random.uniform(-3e-7, 3e-7))
        record = 0.3 * pulse(late) + 0.01 * random.standard_normal(400)
        found.append(pulls_of(fits.delay(pulse(0), record, 1e-8), {"gain": 0.3, "delay": late}))
    assert_pulls(np.array(found))


def test_allan_deviation_falls_for_white_noise_and_rises_for_drift() -> None:
    random = np.random.default_rng(9)
    white = fits.allan(random.standard_normal(4096), 0.1)
    expected = 1 / np.sqrt(white.times / 0.1)
    # Overlapping estimates have less error than `errors` says, never more.
    assert np.all(np.abs(white.deviations - expected) < SIGMAS * expected * white.errors / white.deviations)
    walk = fits.allan(np.cumsum(random.standard_normal(4096)), 0.1)
    assert walk.deviations[-2] > walk.deviations[0]
    mixed = fits.allan(random.standard_normal(4096) + 0.02 * np.cumsum(random.standard_normal(4096)), 0.1)
    assert 1 < mixed.best_time < 40


def test_a_prior_counts_as_data_and_a_bad_model_is_seen() -> None:
    x = np.linspace(-1, 1, 21)
    prior = (np.array([0.0, 2.0]), np.array([np.inf, 0.01]))
    fit = fits.least_squares(
        lambda p: p[0] + 0 * x, ("level", "kept"), [[0.0, 1.0]], np.full(21, 3.0), 0.1, prior=prior
    )
    assert fit["kept"] == pytest.approx(2.0)
    assert fit.deviation("kept") == pytest.approx(0.01)
    assert fit.deviation("level") == pytest.approx(0.1 / math.sqrt(21))
    assert fits.line(x, x**2, 0.01).probability < 1e-6
    assert fits.line(x, x**2, 0.01).widened().deviation("slope") > 10 * fits.line(x, x**2, 0.01).deviation("slope")


def test_propagation_through_a_quotient() -> None:
    values, covariance = fits.propagated(
        lambda p: np.array([p[0] / p[1]]), np.array([2.0, 4.0]), np.diag([0.01**2, 0.02**2])
    )
    assert values[0] == 0.5
    assert math.sqrt(covariance[0, 0]) == pytest.approx(0.5 * math.hypot(0.005, 0.005), rel=1e-4)


def test_wrapping_keeps_pi_and_turns_the_rest() -> None:
    assert np.allclose(fits.wrapped([np.pi, -np.pi, 3 * np.pi, 0.1, 7.0]), [np.pi, np.pi, np.pi, 0.1, 7.0 - 2 * np.pi])
