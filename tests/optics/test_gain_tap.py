"""Gain-and-tap laws: published values, exact rational arithmetic, limits, refusals."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext
from fractions import Fraction
from typing import Any

import pytest

from labqdl.facts import Component, Ledger, Owner, Place, TapSetting
from labqdl.optics.gain_tap import TapLaw, amplifier_tap, feed_forward_tap, tap_law

GAINS = (1.0 + 1e-6, 1.0 + 1e-4, 1.001207, 1.1, 1.5, 2.0, 2.0 + math.sqrt(2.0), 5.0, 40.0)
SPLITS = (1e-6, 0.1, 0.5, 0.9, 1.0 - 1e-6)


def root(value: Fraction) -> Decimal:
    """Square root to 50 digits."""
    getcontext().prec = 50
    return (Decimal(value.numerator) / Decimal(value.denominator)).sqrt()


def close(value: float, exact: Fraction | Decimal) -> bool:
    number = Decimal(exact.numerator) / Decimal(exact.denominator) if isinstance(exact, Fraction) else exact
    return abs(Decimal(value) - number) <= Decimal("1e-14") * abs(number)


@pytest.mark.parametrize("gain", GAINS)
def test_balanced_amplifier_against_rational_arithmetic(gain: float) -> None:
    getcontext().prec = 50
    law = amplifier_tap(gain, 1.0 / gain)
    g = Fraction(gain)
    assert law.net_gain == 1
    assert close(law.d_x, 2 * (g - 1) / g)
    assert law.d_p == law.d_x
    assert close(law.outcome_gain, root(g - 1))
    assert close(law.outcome_variance, 1 + 2 * (g - 1) ** 2 / g)
    assert close(law.covariance_x, cross(g))
    assert close(law.n_x, ((g - 1) ** 2 + 1) / (g * (g - 1)))
    assert close(1 + law.n_x, (2 * g**2 - 3 * g + 2) / (g * (g - 1)))
    assert law.added_noise == law.d_x
    assert law.photons == pytest.approx(law.d_x / 2, rel=1e-15)


def cross(g: Fraction) -> Decimal:
    """2 (G-1) sqrt(tau (1-tau)) with tau = 1/G."""
    factor = 2 * (g - 1)
    return Decimal(factor.numerator) / Decimal(factor.denominator) * root((g - 1) / g**2)


@pytest.mark.parametrize("t", SPLITS)
def test_feed_forward_against_decimal_arithmetic(t: float) -> None:
    getcontext().prec = 50
    law = feed_forward_tap(t)
    exact = Decimal(t)
    amplitude = exact.sqrt()
    assert law.net_gain == 1
    assert close(law.d_x, 2 * (1 - amplitude) / (1 + amplitude))
    assert close(law.outcome_variance, 2 / (1 - exact))
    assert close(law.covariance_x, 2 / (1 + amplitude))
    assert law.outcome_gain == 1


def check_reference(law: TapLaw, d: float, n: float) -> None:
    assert law.d_x == pytest.approx(d, abs=5e-6)
    assert law.d_p == pytest.approx(d, abs=5e-6)
    assert law.n_x == pytest.approx(n, rel=1e-12)


def test_feed_forward_with_a_real_detector() -> None:
    check_reference(feed_forward_tap(0.9, efficiency=0.8, electronic_noise=0.05), 0.06913, 25.25)


@pytest.mark.parametrize(("efficiency", "noise"), [(0.84, 0.05), (0.8, 0.0525)])
def test_reference_check_sees_small_errors(efficiency: float, noise: float) -> None:
    with pytest.raises(AssertionError):
        check_reference(feed_forward_tap(0.9, efficiency=efficiency, electronic_noise=noise), 0.06913, 25.25)


def test_gain_two() -> None:
    law = amplifier_tap(2.0, 0.5)
    assert 1 + law.n_x == pytest.approx(2.0, rel=1e-15)
    assert law.added_noise == 1.0
    # Correlation of the outcome with the returned X, which has variance 1 + eta: one half.
    assert law.covariance_x / math.sqrt(law.outcome_variance * (1 + law.d_x)) == pytest.approx(0.5, rel=1e-15)


def test_amplifier_above_the_quantum_limit_and_real_receiver() -> None:
    law = amplifier_tap(2.0, 0.5, n_sp=1.5)
    assert law.added_noise == 1.5
    assert 8.0 / (1 + law.n_x) == pytest.approx(3.2, rel=1e-14)
    lossy = amplifier_tap(2.0, 0.5, efficiency=0.8, electronic_noise=0.1)
    assert lossy.added_noise == 1.0, "the receiver sits behind the tap"
    assert lossy.outcome_variance == pytest.approx(1 + 0.1 + 2 * 0.8 * 0.5, rel=1e-15)


def test_unbalanced_amplifier() -> None:
    law = amplifier_tap(2.0, 0.6)
    assert law.net_gain == pytest.approx(math.sqrt(1.2), rel=1e-15)
    assert law.d_x == pytest.approx(1.2, rel=1e-15)
    assert law.outcome_gain == pytest.approx(math.sqrt(0.8), rel=1e-15)


@pytest.mark.parametrize(
    "law", [amplifier_tap(gain, 1 / gain) for gain in GAINS] + [feed_forward_tap(t) for t in SPLITS]
)
def test_quantum_limit(law: TapLaw) -> None:
    assert law.n_x * law.d_p >= 1 - 1e-12
    # The returned noise cannot be explained by more of the outcome than there is.
    assert law.covariance_x**2 <= law.outcome_variance * law.d_x * (1 + 1e-12)


def test_weak_limits_of_the_noise_disturbance_product() -> None:
    amplifier, feed_forward = amplifier_tap(1 + 1e-6, 1 / (1 + 1e-6)), feed_forward_tap(1 - 1e-6)
    assert amplifier.n_x * amplifier.d_p == pytest.approx(2.0, rel=1e-5)
    assert feed_forward.n_x * feed_forward.d_p == pytest.approx(1.0, rel=1e-5)


def test_no_measurement_has_infinite_noise() -> None:
    law = amplifier_tap(1.0, 1.0)
    assert law.n_x == math.inf
    assert law.added_noise == 0


def test_setting_and_ledger() -> None:
    ledger = Ledger(
        "bench",
        (
            Component("amplifier", Place.TAP, Owner.CLIENT, n_sp=1.2),
            Component("receiver", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=0.8, electronic_noise=0.05),
        ),
    )
    amplifier = tap_law(TapSetting.amplifier(2.0), ledger)
    assert amplifier == amplifier_tap(2.0, 0.5, n_sp=1.2, efficiency=0.8, electronic_noise=0.05)
    feed_forward = tap_law(TapSetting.feed_forward(0.9), ledger)
    assert feed_forward == feed_forward_tap(0.9, efficiency=0.8, electronic_noise=0.05)


@pytest.mark.parametrize(
    ("gain", "tau", "extra"),
    [
        (0.9, 0.5, {}),
        (math.nan, 0.5, {}),
        (2.0, 0.0, {}),
        (2.0, 1.1, {}),
        (2.0, 0.5, {"n_sp": 0.9}),
        (2.0, 0.5, {"efficiency": 0.0}),
        (2.0, 0.5, {"efficiency": 1.1}),
        (2.0, 0.5, {"electronic_noise": -0.1}),
    ],
)
def test_amplifier_refusals(gain: float, tau: float, extra: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        amplifier_tap(gain, tau, **extra)


@pytest.mark.parametrize(("t", "extra"), [(0.0, {}), (1.0, {}), (0.5, {"efficiency": 2.0})])
def test_feed_forward_refusals(t: float, extra: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must lie"):
        feed_forward_tap(t, **extra)


@pytest.mark.parametrize(
    "change",
    [
        {"net_gain": complex(math.nan, 0)},
        {"d_x": -1.0},
        {"d_p": math.inf},
        {"outcome_gain": math.nan},
        {"outcome_variance": -0.1},
        {"covariance_x": math.inf},
        {"covariance_p": math.nan},
    ],
)
def test_law_refusals(change: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "net_gain": 1 + 0j,
        "d_x": 1.0,
        "d_p": 1.0,
        "outcome_gain": 1.0,
        "outcome_variance": 2.0,
        "covariance_x": 1.0,
    }
    with pytest.raises(ValueError, match="must be"):
        TapLaw(**(good | change))
