"""The bounds on singular values against Tracy and Widom's law, direct simulation and their own limits."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import optimize, special, stats

from labqdl.security.singular import SMALLEST, multiplier_norm, noise_norm_tail, spiked_edge
from tests.security.light import Reals


def tracy_widom_tail(value: float) -> float:
    """1 - F_1, from Ferrari and Spohn's determinant F_1(s) = det(1 - Ai(x + y + s)) on (0, inf), by quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    x, roots = 8 * (nodes + 1), np.sqrt(8 * weights)
    kernel = roots[:, None] * special.airy(x[:, None] + x + value)[0] * roots
    return float(-np.expm1(np.sum(np.log1p(-np.linalg.eigvalsh(kernel)))))


def tracy_widom_edge(rows: int, columns: int, probability: float) -> float:
    """First singular value of noise with this upper tail: Tracy and Widom at Ma's centring (Bernoulli 18, 322)."""
    first, second = math.sqrt(rows - 0.5), math.sqrt(columns - 0.5)
    scale = (first + second) * (1 / first + 1 / second) ** (1 / 3)
    score = optimize.brentq(lambda s: math.log(tracy_widom_tail(s) / probability), -3.5, 14)
    return math.sqrt((first + second) ** 2 + scale * score)


def norms(seed: int, trials: int, rows: int, columns: int, spikes: tuple[float, ...] = ()) -> Reals:
    generator = np.random.default_rng(seed)
    deviations = np.ones(columns)
    deviations[: len(spikes)] = np.sqrt(1 + np.array(spikes))
    noise = generator.normal(size=(trials, rows, columns)) * deviations
    return np.asarray(np.linalg.norm(noise, 2, axis=(1, 2)))


@pytest.mark.parametrize(
    ("quantile", "probability"), [(-1.26857, 0.5), (0.97931, 0.05), (2.02345, 0.01), (3.27219, 0.001)]
)
def test_the_determinant_has_the_published_quantiles(quantile: float, probability: float) -> None:
    # Tables of Bejan (2005) and of R's package RMTstat.
    assert tracy_widom_tail(quantile) == pytest.approx(probability, rel=2e-3)


def test_chianis_gamma_law_is_close_to_it() -> None:
    # Chiani, J. Multivariate Anal. 129, 69 (2014): shifted gamma law.
    for value in (-2.0, 0.0, 2.0, 4.0):
        approximate = stats.gamma.sf(value + 9.84801, 46.446, scale=0.186054)
        assert approximate == pytest.approx(tracy_widom_tail(value), rel=0.1)


@pytest.mark.parametrize(("rows", "columns"), [(8, 392), (60, 32), (588, 392), (10, 392)])
def test_the_bound_is_above_tracy_and_widom_and_not_far(rows: int, columns: int) -> None:
    for probability in (0.05, 1e-4, 1e-8):
        bound = noise_norm_tail(tracy_widom_edge(rows, columns, probability), rows, columns)
        assert probability < bound < 200 * probability
        # In the singular value itself: what the bound needs more is below 6 %.
        assert noise_norm_tail(1.06 * tracy_widom_edge(rows, columns, probability), rows, columns) < probability


@pytest.mark.parametrize(("rows", "columns"), [(6, 8), (24, 16), (4, 40)])
def test_simulated_noise_stays_below_the_bound(rows: int, columns: int) -> None:
    trials = 8000
    found = norms(1, trials, rows, columns)
    for probability in (0.1, 0.01, 0.005):
        edge = float(np.quantile(found, 1 - probability))
        # The empirical tail is this probability within a factor of 2 (its deviation is below 16 %).
        assert noise_norm_tail(edge, rows, columns) > probability / 2
        assert tracy_widom_edge(rows, columns, probability) == pytest.approx(edge, rel=0.02)


@pytest.mark.parametrize("spikes", [(1.0,), (0.5, 0.5), (0.8, 0.2), (3.0,), (0.05,)])
@pytest.mark.parametrize(("rows", "columns"), [(12, 16), (40, 8)])
def test_a_spike_of_any_shape_stays_below_its_bound(spikes: tuple[float, ...], rows: int, columns: int) -> None:
    found = norms(2, 2000, rows, columns, spikes)
    for probability in (0.1, 0.01):
        edge = float(np.quantile(found, 1 - probability))
        assert noise_norm_tail(edge, rows, columns, sum(spikes)) > probability / 2


def test_without_the_spike_the_bound_would_be_passed() -> None:
    found = norms(3, 2000, 40, 8, (3.0,))
    edge = float(np.quantile(found, 0.5))
    assert noise_norm_tail(edge, 40, 8) < 1e-3
    assert noise_norm_tail(edge, 40, 8, 3.0) > 0.5


def test_the_spiked_bound_is_sharp_where_it_matters() -> None:
    # 15 % above where the spike puts it, the singular value is impossible at 1e-8; 5 % more spike is not noticed.
    edge = spiked_edge(784, 392, 1.0)
    assert edge == pytest.approx(math.sqrt(784 * 2 * 1.5))
    assert noise_norm_tail(1.15 * edge, 784, 392, 1.0) < 1e-8
    assert noise_norm_tail(1.15 * edge, 784, 392, 1.0) >= noise_norm_tail(1.15 * edge, 784, 392)
    assert noise_norm_tail(edge, 784, 392, 1.0) == 1.0
    noise = np.random.default_rng(4).normal(size=(784, 392)) * np.sqrt(1 + (np.arange(392) == 0))
    assert math.sqrt(np.linalg.eigvalsh(noise.T @ noise)[-1]) == pytest.approx(edge, rel=0.03)
    assert spiked_edge(784, 392, 0.7) == spiked_edge(784, 392) == 28 + math.sqrt(392)


def spiked_tail(value: float, rows: int, columns: int, spike: float, angles: int, widened: float = 1.0) -> float:
    """The spiked bound of docs/physics.md, integrated directly: four ranges of so many angles each, the best lift.

    Nothing is interpolated. widened: factor on the level, for angles that stand for those between them.
    """
    nodes, weights = np.polynomial.legendre.leggauss(60)

    def chi(degrees: int) -> tuple[Reals, Reals]:
        low, high = stats.chi.ppf(1e-18, degrees), stats.chi.isf(1e-30, degrees)
        points = 0.5 * (low + high) + 0.5 * (high - low) * nodes
        return points, 0.5 * (high - low) * weights * stats.chi.pdf(points, degrees)

    (along, density_along), (other, density) = chi(2), chi(columns - 2)
    total = 0.0
    for quarter in range(4):
        thetas = (quarter + np.linspace(0, 1, angles + 1)) * math.pi / 8
        lengths = np.sqrt(1 + spike * np.cos(thetas) ** 2)
        tails = []
        for lift in (0.0, 0.7, 1.5, 2.5, 3.7, 5.0, 6.5, 8.5, 11.0, 14.0, 18.0, 23.0):
            level = widened * (value + lift * lengths.min())
            left = np.full((60, 60), math.inf)  # what |g| must be at least
            for theta, length in zip(thetas, lengths, strict=True):
                taken = math.sqrt(1 + spike) * math.cos(theta) * along[:, None] + math.sin(theta) * other
                left = np.minimum(left, (level - taken) / length)
            tails.append(float(density_along @ stats.chi.sf(left, rows) @ density) / stats.norm.sf(lift))
        total += min(1.0, *tails)
    return min(1.0, total)


@pytest.mark.parametrize(
    ("rows", "columns", "spike", "above"),
    [(12, 16, 1.0, 3.0), (4, 10000, 3.0, 0.5), (10, 10000, 3.0, 2.0), (5, 10000, 10.0, 0.03)],
)
def test_the_spiked_bound_against_direct_integration(rows: int, columns: int, spike: float, above: float) -> None:
    """Few angles may stand for all others, and a table for the law of chi: neither lowers the bound."""
    value = spiked_edge(rows, columns, spike) + above
    found = noise_norm_tail(value, rows, columns, spike)
    assert 1e-6 < found < 1
    assert spiked_tail(value, rows, columns, spike, angles=64) < found
    # The norm of a plane's map is at most that at one of two directions, over the cosine of half their angle.
    coarse = spiked_tail(value, rows, columns, spike, angles=8, widened=math.cos(math.pi / 128))
    assert found == pytest.approx(coarse, rel=2e-3)


def test_tails_fall_and_end_at_the_smallest() -> None:
    for spike in (0.0, 1.0):
        tails = [noise_norm_tail(value, 20, 12, spike) for value in np.linspace(6, 36, 25)]
        assert all(after <= before for before, after in pairwise(tails))
        assert tails[0] == 1.0
        assert tails[-1] == SMALLEST
    with pytest.raises(ValueError, match="three columns"):
        noise_norm_tail(5.0, 4, 2, 1.0)


@pytest.mark.parametrize("rows", [10, 200])
def test_random_rows_of_known_light_stay_below_their_limit(rows: int) -> None:
    generator = np.random.default_rng(5)
    light = generator.normal(size=(rows, 30)) + 0.5 * generator.normal(size=30)
    norm, longest = float(np.linalg.norm(light, 2)), float(np.linalg.norm(light, axis=1).max())
    found = np.array([np.linalg.norm(generator.normal(size=(rows, 1)) * light, 2) for _ in range(800)])
    for failure in (0.1, 0.01):
        assert np.quantile(found, 1 - failure) <= multiplier_norm(1.0, norm, longest, rows, failure)
    limit = multiplier_norm(1.0, norm, longest, rows, 1e-6)
    assert limit < 6 * float(np.median(found))
    assert multiplier_norm(0.01, norm, longest, rows, 1e-6) == pytest.approx(0.01 * limit)
    assert multiplier_norm(0.0, norm, longest, rows, 1e-6) == 0.0


@pytest.mark.parametrize("rows", [1, 2, 10])
@pytest.mark.parametrize("failure", [1e-2, 1e-6])
def test_multipliers_of_the_identity_reach_the_exact_quantile_of_their_largest(rows: int, failure: float) -> None:
    """|diag(v)| is the largest |v_k|, whose distribution is exact: P(all |v_k| < t) = (1 - 2 Q(t))^rows."""
    exact = optimize.brentq(
        lambda cut: -math.expm1(rows * math.log1p(-2 * stats.norm.sf(cut))) - failure, 0.1, 10.0, xtol=1e-12
    )
    limit = multiplier_norm(1.0, 1.0, 1.0, rows, failure)
    # The union over the rows may cost what it costs, and no more.
    assert exact * (1 - 1e-9) <= limit <= exact * 1.01
