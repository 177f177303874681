from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from labqdl.security.quadratic import QuadraticLaw, interval_p_value


@pytest.mark.parametrize("degrees", [18.0, 76.0, 392.0, 311248.0])
@pytest.mark.parametrize("probability", [1e-12, 1e-6, 0.1, 0.45])
def test_chi_square_tails_are_exact(degrees: float, probability: float) -> None:
    reference = stats.chi2(degrees)
    law = QuadraticLaw(((degrees / 2, 1.0), (degrees / 2, 1.0)))
    assert law.upper_tail(float(reference.isf(probability))) == pytest.approx(probability, rel=1e-8)
    assert law.lower_tail(float(reference.ppf(probability))) == pytest.approx(probability, rel=1e-8)


def test_chi_square_tails_with_a_billion_degrees_follow_wilson_and_hilferty() -> None:
    degrees = 1e9
    law = QuadraticLaw(((degrees, 1.0),))
    for z in (-4.7534, -1.0, 1.0, 4.7534):
        value = degrees * (1 - 2 / (9 * degrees) + z * math.sqrt(2 / (9 * degrees))) ** 3
        tail = law.upper_tail(value) if z > 0 else law.lower_tail(value)
        assert tail == pytest.approx(float(special.ndtr(-abs(z))), rel=1e-5)


@pytest.mark.parametrize(("sources", "mean"), [(1, 0.5), (40, 0.5), (784, 1e-3), (20_000, 0.5), (10**7, 0.5)])
@pytest.mark.parametrize("probability", [1e-9, 1e-6, 0.1, 0.45])
def test_thermal_counts_are_negative_binomial(sources: int, mean: float, probability: float) -> None:
    reference = stats.nbinom(sources, 1 / (1 + mean))
    law = QuadraticLaw(((2.0 * sources, mean / 2),), counting=True)
    high, low = float(reference.isf(probability)), float(reference.ppf(probability))
    assert law.mean == pytest.approx(sources * mean)
    assert law.variance == pytest.approx(sources * mean * (1 + mean))
    assert law.upper_tail(high) == pytest.approx(float(reference.sf(high - 1)), rel=1e-6)
    assert law.lower_tail(low) == pytest.approx(float(reference.cdf(low)), rel=1e-6)


def test_thermal_and_dark_counts_agree_with_a_direct_convolution() -> None:
    numbers = np.arange(400)
    both = np.convolve(stats.nbinom.pmf(numbers, 60, 1 / 1.5), stats.poisson.pmf(numbers, 7.5))[:400]
    law = QuadraticLaw(((120.0, 0.25),), poisson=7.5, counting=True)
    for value in (0, 3, 20, 37, 38, 60, 110):
        assert law.lower_tail(value) == pytest.approx(float(both[: value + 1].sum()), rel=1e-9)
        assert law.upper_tail(value) == pytest.approx(float(both[value:].sum()), rel=1e-7, abs=1e-14)


def test_shifted_law_is_noncentral_chi_square() -> None:
    reference = stats.ncx2(50, 20.0)
    law = QuadraticLaw(((50.0, 1.0),), ((20.0, 1.0),))
    assert (law.mean, law.variance) == pytest.approx((reference.mean(), reference.var()))
    assert law.upper_tail(150.0) == pytest.approx(float(reference.sf(150.0)), rel=1e-9)
    assert law.lower_tail(30.0) == pytest.approx(float(reference.cdf(30.0)), rel=1e-9)


def test_shifted_counts_agree_with_a_sampled_displaced_thermal_mode() -> None:
    generator = np.random.default_rng(1)
    field = generator.normal(scale=math.sqrt(0.3), size=(2, 400_000))
    field[0] += math.sqrt(0.8)
    photons = generator.poisson((field**2).sum(axis=0))
    law = QuadraticLaw(((2.0, 0.3),), ((0.8, 0.3),), counting=True)
    for value in (1, 3, 6):
        share = law.upper_tail(value)
        error = math.sqrt(share * (1 - share) / photons.size)
        assert abs(np.mean(photons >= value) - share) < 5 * error


def test_poisson_only_and_nothing_at_all() -> None:
    law = QuadraticLaw((), poisson=30.0, counting=True)
    assert law.upper_tail(60) == pytest.approx(float(stats.poisson.sf(59, 30)), rel=1e-9)
    assert law.lower_tail(3) == pytest.approx(float(stats.poisson.cdf(3, 30)), rel=1e-9)
    dark = QuadraticLaw((), counting=True)
    assert dark.upper_tail(1) == 0.0
    assert dark.lower_tail(0) == 1.0
    assert dark.upper_tail(0) == 1.0
    assert dark.lower_tail(-1) == 0.0


def test_extreme_values_do_not_break() -> None:
    law = QuadraticLaw(((392.0, 1.0),))
    assert law.upper_tail(1e9) == 0.0
    assert law.lower_tail(0.0) == 0.0
    assert law.lower_tail(1e-9) == 0.0
    assert QuadraticLaw(((2000.0, 0.25),), counting=True).lower_tail(0) == pytest.approx(1.5**-1000, rel=1e-6)
    assert QuadraticLaw(((20.0, 0.25),), counting=True).upper_tail(10**6) == 0.0


def test_sums_need_laws_of_one_kind() -> None:
    with pytest.raises(ValueError, match="at least one"):
        QuadraticLaw.sum([])
    with pytest.raises(ValueError, match="homodyned or all counted"):
        QuadraticLaw.sum([QuadraticLaw(()), QuadraticLaw((), counting=True)])
    law = QuadraticLaw.sum([QuadraticLaw(((3.0, 1.0),)), QuadraticLaw(((4.0, 1.0),), ((1.0, 1.0),))])
    assert law.mean == pytest.approx(8.0)


def test_interval_p_value_is_twice_the_smaller_tail() -> None:
    law = QuadraticLaw(((50.0, 1.0),))
    assert interval_p_value(90.0, law, law) == pytest.approx(2 * float(stats.chi2.sf(90.0, 50)), rel=1e-9)
    assert interval_p_value(25.0, law, law) == pytest.approx(2 * float(stats.chi2.cdf(25.0, 50)), rel=1e-9)
    assert interval_p_value(49.5, law, law) == pytest.approx(1.0, abs=0.05)


def test_values_at_the_mean_to_rounding_have_tails_of_one_half() -> None:
    law = QuadraticLaw(((0.3, 1.07), (1e9, 1.1), (3e7, 0.07)))
    for value in (law.mean, np.nextafter(law.mean, 0), np.nextafter(law.mean, 2e9)):
        assert law.upper_tail(float(value)) == pytest.approx(0.5, abs=1e-4)
        assert law.lower_tail(float(value)) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("spike", [0.3, 1.0, 6.0])
@pytest.mark.parametrize("modes", [2, 6, 40])
def test_a_concentrated_spike_has_the_largest_tails(spike: float, modes: int) -> None:
    """Beyond mean + 4 floor + 2 spike and below mean - sqrt(3) deviations, as docs/physics.md proves; not elsewhere."""
    pairs = 5.0
    laws = {
        share: QuadraticLaw(((pairs * (modes - 2), 1.0), (pairs, 1 + share * spike), (pairs, 1 + (1 - share) * spike)))
        for share in (1.0, 0.9, 0.7, 0.5)
    }
    worst = laws[1.0]
    deviation = math.sqrt(worst.variance)
    above = worst.mean + 4 + 2 * spike + deviation * np.linspace(0, 8, 9)
    # The sum that decides has four degrees of freedom more; it is as wide as the concentrated law, or less.
    width = math.sqrt(worst.variance + 8 * ((1 + spike) ** 2))
    below = worst.mean - math.sqrt(3) * width - deviation * np.linspace(0, 2, 5)
    for law in (laws[0.9], laws[0.7], laws[0.5]):
        for value in above:
            assert law.upper_tail(float(value)) <= worst.upper_tail(float(value)) * (1 + 1e-7)
        for value in below[below > 0]:
            assert law.lower_tail(float(value)) <= worst.lower_tail(float(value)) * (1 + 1e-7)
    # At the mean the order is the other way round, so the statement is not empty.
    assert laws[0.5].upper_tail(worst.mean) > worst.upper_tail(worst.mean)
