"""Tests of differences: published values, brute force over all tables, and false alarms by simulation."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from labqdl.api.significance import difference, holm, independent_shares, paired_shares, ratio, wilson


def test_wilsons_interval_as_published() -> None:
    """Newcombe 1998a, table I: 81 of 263."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@pytest.mark.parametrize(
    ("right1", "images1", "right2", "images2", "low", "high"),
    [(48, 80, 56, 70, 0.0524, 0.3339), (3, 10, 9, 10, 0.1705, 0.8090), (2, 7, 6, 7, 0.0582, 0.8062)],
)
def test_newcombes_interval_as_published(
    right1: int, images1: int, right2: int, images2: int, low: float, high: float
) -> None:
    """Newcombe 1998b, table II, method 10."""
    found = independent_shares(right1, images1, right2, images2)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_exact_tests_by_enumeration() -> None:
    """Every table at least as unlikely, summed by hand."""
    for first, second in product(range(7), repeat=2):
        images1, images2 = 6, 8
        total = first + second
        weights = {
            k: math.comb(images1, k) * math.comb(images2, total - k)
            for k in range(max(0, total - images2), min(images1, total) + 1)
        }
        seen = weights[first]
        expected = sum(w for w in weights.values() if w <= seen) / sum(weights.values())
        assert independent_shares(first, images1, second, images2).p_value == pytest.approx(expected, rel=1e-9)
    for only1, only2 in product(range(8), repeat=2):
        n = only1 + only2
        expected = sum(math.comb(n, k) for k in range(n + 1) if math.comb(n, k) <= math.comb(n, only1)) / 2**n
        assert paired_shares(50, only1, only2, 5).p_value == pytest.approx(expected, rel=1e-9)


def test_paired_intervals_cover_the_difference() -> None:
    """600 draws; coverage of 95 % within what a false-alarm rate of 1e-7 allows."""
    generator = np.random.default_rng(5)
    for cells in ((0.9, 0.03, 0.05, 0.02), (0.4, 0.2, 0.1, 0.3), (0.97, 0.01, 0.01, 0.01)):
        truth = cells[2] - cells[1]
        tables = generator.multinomial(200, cells, size=200)
        covered = 0
        for both, only1, only2, neither in tables:
            found = paired_shares(int(both), int(only1), int(only2), int(neither))
            covered += found.low <= truth <= found.high
        assert covered >= stats.binom.ppf(1e-7, 200, 0.93)


def test_paired_and_unpaired_agree_on_the_difference() -> None:
    found = paired_shares(80, 5, 12, 3)
    assert found.value == pytest.approx(0.07)
    assert found.low < found.value < found.high
    # Answers that hang together make the interval shorter.
    apart = independent_shares(85, 100, 92, 100)
    assert found.high - found.low < apart.high - apart.low
    assert paired_shares(10, 0, 0, 0).p_value == 1.0
    assert paired_shares(0, 0, 0, 10).low <= 0 <= paired_shares(0, 0, 0, 10).high


@given(st.tuples(*[st.integers(0, 400)] * 4).filter(lambda t: sum(t) > 0))
def test_intervals_hold_their_difference(cells: tuple[int, int, int, int]) -> None:
    found = paired_shares(*cells)
    assert -1 - 1e-9 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1 + 1e-9
    assert 0 <= found.p_value <= 1
    both, only1, only2, neither = cells
    mirrored = paired_shares(both, only2, only1, neither)
    assert mirrored.value == pytest.approx(-found.value)
    assert mirrored.low == pytest.approx(-found.high)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="counts"):
        paired_shares(0, 0, 0, 0)
    with pytest.raises(ValueError, match="no share"):
        independent_shares(3, 2, 1, 2)
    with pytest.raises(ValueError, match="no share"):
        independent_shares(0, 0, 1, 2)


# -- measured ratios --------------------------------------------------------------------------------------------------


def light(generator: np.random.Generator, rows: int, gain: float = 0.0, noise: float = 1.0) -> tuple[np.ndarray, ...]:
    """Sums of rows of 40 quadratures: q^2, q r, r^2 and their number; every fourth row was counted."""
    q = generator.standard_normal((rows, 40)) * generator.uniform(1, 3, (rows, 1))
    r = gain * q + math.sqrt(noise) * generator.standard_normal((rows, 40))
    here = np.arange(rows) % 4 != 0
    qq, qr, rr, number = (part * here for part in ((q * q).sum(1), (q * r).sum(1), (r * r).sum(1), np.full(rows, 40)))
    return qq, qr, rr, number


def p_values(pairs: int, rows: int, change: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """p-values of gain and noise between pairs of sessions, of which the second differs by `change`."""
    generator = np.random.default_rng(11)
    gains, noises = [], []
    for _ in range(pairs):
        sums = [light(generator, rows), light(generator, rows, **change)]
        one, two = (ratio(qr, qq) for qq, qr, _, _ in sums)
        assert one is not None
        assert two is not None
        gains.append(difference(one, two).p_value)
        one, two = (ratio(rr, number) for _, _, rr, number in sums)
        assert one is not None
        assert two is not None
        noises.append(difference(one, two).p_value)
    return np.array(gains), np.array(noises)


def test_false_alarms_are_as_rare_as_they_say() -> None:
    """800 pairs of equal sessions: p-values are uniform (Kolmogorov's test at 1e-7)."""
    for found in p_values(800, 40, {}):
        assert stats.kstest(found, "uniform").pvalue > 1e-7
        assert np.count_nonzero(found < 0.05) <= stats.binom.isf(1e-7, 800, 0.05)


def test_a_planted_difference_of_five_percent_is_found() -> None:
    gains, _ = p_values(20, 400, {"gain": -0.05})
    assert (gains < 1e-6).all()
    _, noises = p_values(20, 4000, {"noise": 1.05})
    assert (noises < 1e-6).all()


def test_ratios_by_hand() -> None:
    found = ratio(np.array([1.0, 4.0, 0.0]), np.array([2.0, 2.0, 0.0]))
    assert found is not None
    # R = 5/4; deviations -1.5 and 1.5; 2/1 * 4.5 / 16.
    assert (found.value, found.variance, found.parts) == (1.25, 0.5625, 2)
    assert ratio(np.array([1.0]), np.array([2.0])) is None
    assert ratio(np.zeros(3), np.zeros(3)) is None


def test_ratios_of_equal_parts_are_means() -> None:
    """With equal denominators it is Welch's test of means."""
    generator = np.random.default_rng(3)
    y1, y2 = generator.normal(1, 1, 12), generator.normal(1.5, 3, 30)
    one, two = ratio(y1, np.ones(12)), ratio(y2, np.ones(30))
    assert one is not None
    assert two is not None
    found = difference(one, two)
    expected = stats.ttest_ind(y2, y1, equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_ratios_without_scatter() -> None:
    one, two = ratio(np.ones(3), np.ones(3)), ratio(2 * np.ones(3), np.ones(3))
    assert one is not None
    assert two is not None
    assert difference(one, one).p_value == 1.0
    assert difference(one, two).p_value == 0.0


# -- many tests -------------------------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()
    assert holm([0.7]) == (0.7,)
    assert holm([0.6, 0.9]) == (1.0, 1.0)


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.001, 0.2))
def test_holm_is_the_step_down_procedure(p: list[float], alpha: float) -> None:
    """Reject the smallest while it is at most alpha over the number that is left."""
    rejected = set()
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[index] * (len(p) - rank) > alpha:
            break
        rejected.add(index)
    assert {index for index, value in enumerate(holm(p)) if value <= alpha} == rejected
