"""Closed forms against an independent mode-by-mode simulation, golden values, limits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.facts import Component, Ledger, Owner, Place, TapSetting
from labqdl.optics import expectation
from labqdl.optics.client_law import honest
from labqdl.optics.law import LinkLaw
from labqdl.optics.modes import rotate_j
from tests.optics.cases import AMPLIFIER, IDEAL, LAWS, LOSSY, compare_with_closed_form, row, unit_vectors
from tests.optics.direct import draw

Real = NDArray[np.float64]


@pytest.mark.parametrize("n_modes", [1, 3])
@pytest.mark.parametrize("name", LAWS)
def test_against_mode_by_mode_simulation(name: str, n_modes: int) -> None:
    law = LAWS[name]
    q, x = row(n_modes, 5), unit_vectors(1, n_modes, 6)[0]
    y, residuals, counts = draw(law, q, x, 40_000, np.random.default_rng(7))
    x_b, p_b = float(x @ q), float(rotate_j(x) @ q)
    size = 2 * n_modes + 1
    covariance = np.empty((size, size))
    covariance[0, 0] = expectation.outcome_variance(law, x_b, p_b)
    covariance[0, 1:] = covariance[1:, 0] = expectation.cross_covariance(law, q, x)
    covariance[1:, 1:] = expectation.residual_covariance(law, q, x)
    mean = np.concatenate(([expectation.outcome_slope(law) * x_b], expectation.residual_mean(law, q, x)))
    compare_with_closed_form(np.column_stack((y, residuals)), mean, covariance)
    slots = counts.astype(np.float64)
    error = 6.0 * slots.std(axis=0) / math.sqrt(slots.shape[0]) + 1e-12
    assert np.all(np.abs(slots.mean(axis=0) - expectation.mean_counts(law, q, x)) <= error)


@pytest.mark.parametrize("name", LAWS)
def test_averages_are_averages(name: str) -> None:
    """Averaged forms against the average of the exact ones over an orthogonal set of rows: exact for quadratics."""
    law, n_modes, mu = LAWS[name], 3, 1.7
    x = unit_vectors(1, n_modes, 8)[0]
    rows = math.sqrt(2 * mu * 2 * n_modes) * np.eye(2 * n_modes)
    square, slope, photons = [], [], []
    for q in rows:
        mean = expectation.residual_mean(law, q, x)
        square.append(np.mean(mean**2 + np.diag(expectation.residual_covariance(law, q, x))))
        slope.append(float(q @ (mean + law.expected_amplitude * q)) / float(q @ q))
        photons.append(expectation.mean_counts(law, q, x).sum())
    assert expectation.mean_square_residual(law, n_modes, mu) == pytest.approx(np.mean(square), rel=1e-12)
    assert expectation.mean_gain(law, n_modes) == pytest.approx(np.mean(slope), rel=1e-12, abs=1e-15)
    assert expectation.mean_photons_per_row(law, n_modes, mu) == pytest.approx(np.mean(photons), rel=1e-12)


def test_headline_numbers() -> None:
    law = LinkLaw.from_ledger(IDEAL, honest(IDEAL, AMPLIFIER))
    assert expectation.signal_to_noise(law, 4.0) == pytest.approx(4.0, rel=1e-14)
    assert expectation.excess_noise(law, 392) == pytest.approx(1 / 392, rel=1e-14)
    assert expectation.residual_variance(law, 392) == pytest.approx(1.00255102, abs=1e-8)
    assert expectation.mean_photons_per_row(law, 392, 4.0) == pytest.approx(0.5, rel=1e-14)
    half = Ledger(
        "half",
        (
            Component("out", Place.FORWARD, Owner.CHANNEL, transmissivity=math.sqrt(0.5)),
            Component("back", Place.RETURN, Owner.CHANNEL, transmissivity=math.sqrt(0.5)),
        ),
    )
    law = LinkLaw.from_ledger(half, honest(half, AMPLIFIER))
    assert expectation.residual_variance(law, 392) == pytest.approx(1.00180384, abs=1e-8)


@pytest.mark.parametrize(("n_sp", "signal"), [(1.5, 3.2), (2.0, 8.0 / 3.0)])
def test_amplifier_above_the_quantum_limit(n_sp: float, signal: float) -> None:
    ledger = Ledger("noisy", (Component("amplifier", Place.TAP, Owner.CLIENT, n_sp=n_sp),))
    law = LinkLaw.from_ledger(ledger, honest(ledger, AMPLIFIER))
    assert expectation.signal_to_noise(law, 4.0) == pytest.approx(signal, rel=1e-13)
    assert expectation.excess_noise(law, 392) == pytest.approx(n_sp / 392, rel=1e-13)


def test_feed_forward_signal() -> None:
    law = LinkLaw.from_ledger(IDEAL, honest(IDEAL, TapSetting.feed_forward(0.9)))
    assert expectation.signal_to_noise(law, 40.0) == pytest.approx(4.0, rel=1e-14)


@pytest.mark.parametrize("gain", [1 + 1e-6, 1 + 1e-4])
def test_weak_measurement_keeps_its_digits(gain: float) -> None:
    law = LinkLaw.from_ledger(IDEAL, honest(IDEAL, TapSetting.amplifier(gain)))
    more = gain - 1.0
    expected = 2 * more / gain / 392
    light = law.counter
    assert light.mismatch() == 0.0
    assert expectation.excess_noise(law, 392) == pytest.approx(expected, rel=1e-13)
    assert expectation.mean_photons_per_row(law, 392, 4000.0) == pytest.approx(more / gain, rel=1e-13)
    series = 2 * 4.0 * more * (1 - 2 * more**2 / gain)
    assert expectation.signal_to_noise(law, 4.0) == pytest.approx(series, rel=1e-11)
    assert law.client.directed_gain == 0


def test_phase_noise_is_the_tabulated_excess_to_lowest_order() -> None:
    rms, mu = 1e-3, 4.0
    law = LinkLaw(honest(IDEAL, AMPLIFIER), forward_phase_noise=rms, total_phase_noise=rms, common_phase_noise=rms)
    quiet = replace(law, forward_phase_noise=0.0, total_phase_noise=0.0, common_phase_noise=0.0)
    more = expectation.mean_square_residual(law, 392, mu) - expectation.mean_square_residual(quiet, 392, mu)
    assert more == pytest.approx(2 * mu * rms**2, rel=1e-5)
    amplitude = math.sqrt(2 * mu)
    at_client = expectation.outcome_variance(law, amplitude, amplitude) / expectation.outcome_slope(law) ** 2
    assert at_client - 2.0 == pytest.approx((2 * mu + 2.0) * rms**2, rel=1e-3)


def test_refusals() -> None:
    law = LAWS["ideal amplifier"]
    with pytest.raises(ValueError, match="mu"):
        expectation.signal_to_noise(law, 0.0)
    wrong: tuple[tuple[str, Any], ...] = (
        ("forward", 0.0),
        ("back", 1.5),
        ("server_noise", -0.1),
        ("dark_counts", math.nan),
        ("expected_amplitude", -1.0),
    )
    for field, value in wrong:
        with pytest.raises(ValueError, match=field):
            replace(law, **{field: value})
    with pytest.raises(ValueError, match="common_phase_noise"):
        replace(law, common_phase_noise=0.1)
    silent = replace(law.client, tap=replace(law.client.tap, outcome_variance=0.0))
    with pytest.raises(ValueError, match="outcome_variance"):
        replace(law, client=silent)
    too_tight = replace(law.client, tap=replace(law.client.tap, covariance_x=2.0))
    with pytest.raises(ValueError, match="no classical light"):
        replace(law, client=too_tight)


def test_ledger_figures_arrive() -> None:
    law = LinkLaw.from_ledger(LOSSY, honest(LOSSY, AMPLIFIER))
    assert (law.forward, law.back) == (LOSSY.forward, LOSSY.back)
    assert law.expected_amplitude == pytest.approx(math.sqrt(LOSSY.total * LOSSY.server_efficiency), rel=1e-15)
    assert law.dark_counts == LOSSY.dark_counts
    assert law.extinction == LOSSY.extinction
