"""Powers and sample sizes: the table of named attacks, simulation, and the tests themselves."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from labqdl.security.checks import count_check, noise_check
from labqdl.security.expected import LayerLight, Totals, honest_layers
from labqdl.security.sample_size import Alternative, gain_threshold, noise_threshold
from labqdl.security.sample_size import Test as Kind
from labqdl.security.sprt import expected_symbols, gain_information, noise_information
from tests.security.light import assert_power, make_frame

ALPHA, POWER, MU, N_MODES = 1e-6, 0.99, 4.0, 392
FIBRES = {1.0: 1.0, 0.5: math.sqrt(0.5)}  # T, and T_2 = sqrt(T)


def added(gain: float) -> float:
    """eta of an amplifier of this gain with a tap of its inverse."""
    return 2 * (gain - 1) / gain


def honest_variance(back: float) -> float:
    return 1 + back * added(2.0) / N_MODES


Expected = tuple[float, float | None]

# Variance of the residuals as a function of T and T_2, symbols and expected symbols of the sequential test for T = 1
# and T = 0.5. The last three noise rows are printed with three digits.
NOISE: dict[str, tuple[Callable[[float, float], float], Expected, Expected, float]] = {
    "intercept-resend": (lambda t, _: 1 + 2 * t, (76, 30), (196, 89), 0),
    "MMSE resend": (lambda t, _: 1 + 2 * t * MU / (MU + 1), (101, 43), (275, 129), 0),
    "symmetric cloner": (lambda t, _: 1 + t, (196, 90), (589, 291), 0),
    "cloner 0.1": (lambda t, back: honest_variance(back) + 0.1 * t, (10_971, 5_838), (42_028, 22_598), 0),
    "vacuum": (lambda t, _: 1 + 2 * MU * t, (18, 5), (34, 11), 0),
    "estimate 0.25": (lambda t, _: 1 + 0.25 * t, (2_011, 1_039), (7_356, 3_895), 0),
    "estimate 0.02": (lambda t, _: 1 + 0.02 * t, (336_041, 1.8e5), (1.51e6, None), 0.011),
    "cloner 0.01": (lambda t, back: honest_variance(back) + 0.01 * t, (1.016e6, 5.5e5), (4.04e6, None), 0.003),
    "G = 2.2": (lambda _, back: 1 + back * added(2.2) / N_MODES, (1.87e9, 1.02e9), (3.74e9, None), 0.003),
    "G = 3": (lambda _, back: 1 + back * added(3.0) / N_MODES, (1.394e8, 7.6e7), (2.78e8, None), 0.003),
    "G = 10": (lambda _, back: 1 + back * added(10.0) / N_MODES, (2.42e7, None), (4.84e7, None), 0.003),
}


@pytest.mark.parametrize("name", NOISE)
@pytest.mark.parametrize("transmission", [1.0, 0.5])
def test_symbols_against_noise(name: str, transmission: float) -> None:
    variance, first, second, digits = NOISE[name]
    number, sequential = first if transmission == 1 else second
    back = FIBRES[transmission]
    ratio = variance(transmission, back) / honest_variance(back)
    found = Alternative(Kind.NOISE, ratio).symbols_needed(ALPHA, POWER)
    assert found == pytest.approx(number, rel=digits, abs=0.5 if digits == 0 else 0)
    if sequential is not None:
        mean = expected_symbols(noise_information(ratio), ALPHA, 1 - POWER)
        assert mean == pytest.approx(sequential, rel=max(digits, 1e-3), abs=0.51)


SHIFTS: dict[str, tuple[float, Expected, Expected]] = {
    "passive tap 0.001": (1 - math.sqrt(0.999), (2.51e7, 1.36e7), (5.02e7, 2.73e7)),
    "passive tap 0.01": (1 - math.sqrt(0.99), (249_997.5, 135_877), (499_622, 271_552)),
    "passive tap 0.1": (1 - math.sqrt(0.9), (2_385.5, 1_296), (4_767, 2_591)),
    "outside tap 0.001": (0.001, (6.28e6, 3.4e6), (1.26e7, None)),
    "outside tap 0.01": (0.01, (62_814, 34_140), (125_534, 68_230)),
}


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("transmission", [1.0, 0.5])
def test_symbols_against_loss(name: str, transmission: float) -> None:
    fraction, first, second = SHIFTS[name]
    number, sequential = first if transmission == 1 else second
    variance = honest_variance(FIBRES[transmission])
    shift = fraction * math.sqrt(transmission)
    found = Alternative(Kind.GAIN, shift, variance=variance, light=2 * MU).symbols_needed(ALPHA, POWER)
    coarse = number > 1e6
    assert found == pytest.approx(number, rel=4e-3 if coarse else 1e-5, abs=0.51)
    if sequential is not None:
        mean = expected_symbols(gain_information(shift, variance=variance, light=2 * MU), ALPHA, 1 - POWER)
        assert mean == pytest.approx(sequential, rel=5e-3 if coarse else 1e-4, abs=0.51)


@pytest.mark.parametrize(
    ("transmission", "gain", "rows"),
    [(1.0, 2.2, 19_205), (1.0, 3.0, 1_624), (1.0, 10.0, 347), (0.5, 2.2, 24_400), (0.5, 3.0, 2_054), (0.5, 10.0, 435)],
)
def test_rows_of_counting_against_over_amplification(transmission: float, gain: float, rows: int) -> None:
    photons = FIBRES[transmission] * added(2.0) / 2
    found = Alternative(Kind.COUNT, added(gain) / added(2.0), photons=photons, n_modes=N_MODES).symbols_needed(
        ALPHA, POWER
    )
    # Whole photons make the power jump from row to row; "smallest" is then a matter of a few rows.
    assert found % N_MODES == 0
    assert found // N_MODES == pytest.approx(rows, rel=3e-3)


@pytest.mark.parametrize(("transmission", "most"), [(1.0, 35), (0.5, 66)])
def test_a_cloner_of_little_noise_is_counted_in_few_rows(transmission: float, most: int) -> None:
    photons = FIBRES[transmission] * added(2.0) / 2
    isotropic = 0.01 * transmission / 2
    found = Alternative(Kind.COUNT, 1.0, photons=photons, n_modes=N_MODES, isotropic=isotropic).symbols_needed(
        ALPHA, POWER
    )
    assert found / N_MODES <= most


def test_z_of_one_inference() -> None:
    # 311 248 residuals; the column "z per inference" of the table.
    for fraction, expected in ((1 - math.sqrt(0.999), 0.79), (1 - math.sqrt(0.99), 7.9), (0.01, 15.8)):
        z = fraction / (gain_threshold(311_248, ALPHA, variance=honest_variance(1.0), light=8.0) / 4.75342)
        assert z == pytest.approx(expected, rel=5e-3)


def test_splitting_alpha_over_four_tests_costs_eight_per_cent() -> None:
    one, four = (Alternative(Kind.GAIN, 0.01).symbols_needed(alpha, POWER) for alpha in (ALPHA, ALPHA / 4))
    assert four / one == pytest.approx(1.08, abs=0.005)


def test_the_sequential_test_saves_46_per_cent_of_small_effects() -> None:
    fixed = Alternative(Kind.NOISE, 1.01).symbols_needed(ALPHA, POWER)
    saved = 1 - expected_symbols(noise_information(1.01), ALPHA, 1 - POWER) / fixed
    assert saved == pytest.approx(0.46, abs=0.01)


# ---- by other routes ----


@pytest.mark.parametrize("ratio", [3.0, 1.3, 0.6])
def test_power_of_the_noise_test_by_simulation(ratio: float) -> None:
    symbols = Alternative(Kind.NOISE, ratio).symbols_needed(1e-3, 0.8)
    noisy = Alternative(Kind.NOISE, ratio)
    assert noisy.power(symbols, 1e-3) >= 0.8 > noisy.power(symbols - 1, 1e-3)
    squares = ratio * np.random.default_rng(1).chisquare(symbols, size=20_000) / symbols
    edge = noise_threshold(symbols, 1e-3, upper=ratio > 1)
    hits = int(np.sum(squares > edge if ratio > 1 else squares < edge))
    assert_power(hits, 20_000, Alternative(Kind.NOISE, ratio).power(symbols, 1e-3))
    with pytest.raises(AssertionError, match="power"):
        assert_power(hits, 20_000, Alternative(Kind.NOISE, ratio**1.05).power(symbols, 1e-3))


def test_many_symbols_follow_the_same_law_as_few() -> None:
    # Wilson and Hilferty's root takes over at 10^6 degrees: no step there.
    for upper in (False, True):
        exact = stats.chi2.isf(1e-6, 999_999) if upper else stats.chi2.ppf(1e-6, 999_999)
        assert noise_threshold(999_999, 1e-6, upper=upper) == pytest.approx(exact / 999_999, rel=1e-9)
        below, above = noise_threshold(999_999, 1e-6, upper=upper), noise_threshold(1_000_001, 1e-6, upper=upper)
        assert above == pytest.approx(below, rel=1e-7)
    noisy = Alternative(Kind.NOISE, 1.009)
    assert noisy.power(999_999, 1e-6) == pytest.approx(noisy.power(1_000_001, 1e-6), rel=1e-3)
    assert Alternative(Kind.CROSS_USE, 1.009).power(5000, 1e-3) == Alternative(Kind.NOISE, 1.009).power(5000, 1e-3)


def test_power_of_the_gain_test_by_simulation() -> None:
    symbols = Alternative(Kind.GAIN, 0.05, variance=1.2, light=6.0).symbols_needed(1e-3, 0.7)
    assert Alternative(Kind.GAIN, -0.05, variance=1.2, light=6.0).power(symbols, 1e-3) == pytest.approx(0.7, abs=2e-3)
    estimate = 0.05 + np.random.default_rng(2).normal(scale=math.sqrt(1.2 / (symbols * 6.0)), size=20_000)
    hits = int(np.sum(estimate > gain_threshold(symbols, 1e-3, variance=1.2, light=6.0)))
    assert_power(hits, 20_000, 0.7)


@pytest.mark.parametrize("effect", [2.0, 0.4])
def test_power_of_the_count_test_by_simulation(effect: float) -> None:
    symbols = Alternative(Kind.COUNT, effect, photons=0.3, n_modes=8).symbols_needed(1e-3, 0.9)
    rows = symbols // 8
    counts = np.random.default_rng(3).negative_binomial(rows, 1 / (1 + 0.3 * effect), size=20_000)
    law = stats.nbinom(rows, 1 / 1.3)
    hits = int(np.sum(law.sf(counts - 1) <= 1e-3 if effect > 1 else law.cdf(counts) <= 1e-3))
    assert_power(hits, 20_000, Alternative(Kind.COUNT, effect, photons=0.3, n_modes=8).power(symbols, 1e-3))
    assert hits > 0.88 * 20_000


def test_the_check_itself_has_the_promised_power() -> None:
    # 5 rows of 392 modes; the check's envelope lets the spike lie in one direction, which costs little.
    law = honest_layers(make_frame(shapes=((5, 784),)), [LayerLight(1 / 784)])[0]
    ratio = 1.25
    expected = Alternative(Kind.NOISE, ratio).power(1960, 1e-3)
    squares = ratio * (1 + 1 / 392) * np.random.default_rng(4).chisquare(1960, size=400)
    caught = 0
    for square in squares:
        part = Totals(rr=float(square), residuals=1960, homodyned=5, energy=1.0, images=1)
        caught += not noise_check([law], [part], 2e-3).passed
    assert_power(caught, 400, expected)
    rows = Alternative(Kind.COUNT, 4 / 3, photons=0.5, n_modes=392).symbols_needed(1e-3, 0.9) // 392
    photons = np.random.default_rng(5).negative_binomial(rows, 1 / (1 + 2 / 3), size=400)
    caught = sum(
        not count_check([law], [Totals(photons=int(k), slots=392 * rows, counted=rows, images=1)], 2e-3).passed
        for k in photons
    )
    assert_power(caught, 400, Alternative(Kind.COUNT, 4 / 3, photons=0.5, n_modes=392).power(rows * 392, 1e-3))


def test_no_effect_needs_no_number() -> None:
    for test, effect in ((Kind.GAIN, 0.0), (Kind.NOISE, 1.0), (Kind.CROSS_USE, -1.0), (Kind.COUNT, 1.0)):
        with pytest.raises(ValueError, match=test):
            Alternative(test, effect).symbols_needed(1e-3, 0.9)
    with pytest.raises(ValueError, match="a power lies between"):
        Alternative(Kind.GAIN, 0.1).symbols_needed(0.5, 0.4)
    with pytest.raises(ValueError, match="not found"):
        Alternative(Kind.NOISE, 1 + 1e-14).symbols_needed(1e-3, 0.9)
    assert Alternative(Kind.NOISE, 1e9).symbols_needed(1e-3, 0.5) == 1
