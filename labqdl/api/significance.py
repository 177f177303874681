"""Whether two runs differ by more than chance: exact tests of counts, differences of measured ratios, many at once.

Sources: McNemar's test in its exact form and Fisher's test are conditional binomial and hypergeometric tails; the
intervals of differences are the score intervals of R. G. Newcombe, Stat. Med. 17, 873 (1998), method 10 (independent
samples) and Stat. Med. 17, 2635 (1998), method 10 (paired samples); correction for many tests after S. Holm, Scand.
J. Stat. 6, 65 (1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
"""Of the intervals of differences."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference, second less first, with its interval and the probability of one so large by chance.

    Attributes
    ----------
    value, low, high:
        The difference and its interval at confidence `CONFIDENCE`.
    p_value:
        Two-sided, of the test named by `test`.
    """

    value: float
    low: float
    high: float
    p_value: float
    test: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """A measured ratio of two sums, sum(y)/sum(x), with its variance from the scatter between parts.

    Attributes
    ----------
    value, variance:
        Of the ratio.
    parts:
        Independent parts behind it; two at least.
    """

    value: float
    variance: float
    parts: int


def paired_shares(both: int, only_first: int, only_second: int, neither: int) -> Difference:
    """Difference of two shares on the same images: exact McNemar test, Newcombe's interval for paired samples.

    Parameters
    ----------
    both, only_first, only_second, neither:
        Images that both, one or neither of two classifiers got right; at least one image.
    """
    images = both + only_first + only_second + neither
    if images < 1 or min(both, only_first, only_second, neither) < 0:
        raise ValueError("counts must not be negative, and there must be an image")
    discordant = only_first + only_second
    p_value = float(stats.binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
    first, second = both + only_first, both + only_second
    low1, high1 = wilson(first, images)
    low2, high2 = wilson(second, images)
    p1, p2 = first / images, second / images
    # Correlation of the two answers, with Newcombe's correction for continuity where it is positive.
    product = float(both * neither - only_first * only_second)
    product = max(product - images / 2, 0.0) if product > 0 else product
    margins = math.sqrt(first * (images - first) * second * (images - second))
    phi = product / margins if margins else 0.0
    below = math.sqrt(max((p2 - low2) ** 2 - 2 * phi * (p2 - low2) * (high1 - p1) + (high1 - p1) ** 2, 0.0))
    above = math.sqrt(max((high2 - p2) ** 2 - 2 * phi * (high2 - p2) * (p1 - low1) + (p1 - low1) ** 2, 0.0))
    value = p2 - p1
    return Difference(value, value - below, value + above, p_value, "exact McNemar")


def independent_shares(right1: int, images1: int, right2: int, images2: int) -> Difference:
    """Difference of two shares on different images: Fisher's exact test, Newcombe's interval."""
    for right, images in ((right1, images1), (right2, images2)):
        if not 0 <= right <= images or images < 1:
            raise ValueError(f"{right} of {images} is no share")
    table = np.array([[right1, images1 - right1], [right2, images2 - right2]])
    p_value = float(stats.fisher_exact(table).pvalue)
    p1, p2 = right1 / images1, right2 / images2
    low1, high1 = wilson(right1, images1)
    low2, high2 = wilson(right2, images2)
    value = p2 - p1
    return Difference(
        value,
        value - math.hypot(p2 - low2, high1 - p1),
        value + math.hypot(high2 - p2, p1 - low1),
        min(p_value, 1.0),
        "exact Fisher",
    )


def wilson(right: int, images: int) -> tuple[float, float]:
    """Wilson's score interval of a share at confidence `CONFIDENCE`."""
    interval = stats.binomtest(right, images).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def ratio(numerators: NDArray[np.floating], denominators: NDArray[np.floating]) -> Ratio | None:
    """sum(y)/sum(x) over independent parts (rows of light in a block), None for fewer than two parts with data.

    The variance is that of a ratio estimator, n/(n-1) sum (y_i - R x_i)^2 / (sum x_i)^2: from the scatter of the
    parts alone, so that it holds for dishonest light as well, whose law nobody knows.

    Parameters
    ----------
    numerators, denominators:
        Shape (parts,); parts whose denominator is 0 hold nothing and are left out.
    """
    there = denominators != 0
    y, x = numerators[there].astype(np.float64), denominators[there].astype(np.float64)
    if len(x) < 2:
        return None
    value = float(y.sum() / x.sum())
    scatter = float(np.square(y - value * x).sum())
    return Ratio(value, len(x) / (len(x) - 1) * scatter / float(x.sum()) ** 2, len(x))


def difference(first: Ratio, second: Ratio) -> Difference:
    """Difference of two measured ratios: Welch's t test, degrees of freedom after Satterthwaite."""
    value, variance = second.value - first.value, first.variance + second.variance
    if variance == 0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0, "Welch t")
    parts = [(one.variance, one.parts - 1) for one in (first, second)]
    freedom = variance**2 / math.fsum(part**2 / left for part, left in parts)
    error = math.sqrt(variance)
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * error
    p_value = 2.0 * float(stats.t.sf(abs(value) / error, freedom))
    return Difference(value, value - reach, value + reach, p_value, "Welch t")


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values: those at most alpha are significant with a family-wise error rate of alpha, in any law."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)
