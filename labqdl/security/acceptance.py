"""What the tests of the returned light would still accept: the edges of `checks`, in each test's own unit.

A test says only whether what was measured is within its edges. Reports and planners want the edges themselves, so here
the p-value is inverted: the statistic at which it would be the test's share of alpha.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from scipy.special import ndtri

from labqdl.security.cross_use import CrossUseTotals, pooled_law
from labqdl.security.expected import GainLaw, HonestLayer, Totals
from labqdl.security.quadratic import QuadraticLaw
from labqdl.security.sampled import SampledTotals, direction_law

_CLOSE = 1e-4
"""Edges are found to this many standard deviations."""
_STEPS = 60


def accepted_range(
    test: str,
    layers: Sequence[HonestLayer],
    totals: Sequence[Totals],
    threshold: float,
    *,
    cross_use: Sequence[CrossUseTotals] | None = None,
    sampled: Sequence[SampledTotals] | None = None,
) -> tuple[float, float] | None:
    """Lowest and highest statistic that a test of `checks`, pooled over these layers, accepts.

    Parameters
    ----------
    test:
        Its name, without that of a layer.
    layers, totals, cross_use, sampled:
        As for `checks.session_checks`; the statistic's own value is not used.
    threshold:
        The test's share of alpha.

    Returns
    -------
    The edges in the unit of the test's statistic, to 1e-4 standard deviations (counts: to one photon); None without
    data, and for the spectral test, which has an edge for every image.
    """
    pooled = Totals.sum(totals)
    if test in ("gain", "phase"):
        if pooled.qq <= 0 or pooled.jj <= 0:
            return None
        gain = test == "gain"
        law = GainLaw.sum(
            layer.gain(part) if gain else layer.phase_law(part) for layer, part in zip(layers, totals, strict=True)
        )
        reach = -float(ndtri(threshold / 2)) * math.sqrt(law.variance)
        scale, centre = (pooled.qq if gain else pooled.jj) * layers[0].amplitude, float(gain)
        return centre + (law.low - reach) / scale, centre + (law.high + reach) / scale
    pair = _quadratic(test, layers, totals, cross_use, sampled)
    if pair is None:
        return None
    low, high, samples = pair
    return _lower_edge(low, threshold / 2) / samples, _upper_edge(high, threshold / 2) / samples


def _quadratic(
    test: str,
    layers: Sequence[HonestLayer],
    totals: Sequence[Totals],
    cross_use: Sequence[CrossUseTotals] | None,
    sampled: Sequence[SampledTotals] | None,
) -> tuple[QuadraticLaw, QuadraticLaw, int] | None:
    """Laws of the lower and the upper tail of a quadratic statistic, and what it is divided by."""

    def laws(make: Callable[[int, bool], QuadraticLaw], known: Iterable[int]) -> tuple[QuadraticLaw, QuadraticLaw]:
        chosen = tuple(known)
        low, high = (QuadraticLaw.sum(make(index, end) for index in chosen) for end in (False, True))
        return low, high

    everything = range(len(layers))
    if test == "noise" and (samples := sum(part.residuals for part in totals)):
        return *laws(lambda index, high: layers[index].noise(totals[index], high=high), everything), samples
    if test == "count" and (samples := sum(part.slots for part in totals)):
        return *laws(lambda index, high: layers[index].count(totals[index], high=high), everything), samples
    if test == "cross-use" and cross_use is not None and (samples := sum(part.weights for part in cross_use)):
        known = [index for index, part in enumerate(cross_use) if part.weights]
        chosen = [layers[i] for i in known], [totals[i] for i in known], [cross_use[i] for i in known]
        return pooled_law(*chosen, high=False), pooled_law(*chosen, high=True), samples
    if test == "direction" and sampled is not None and (samples := sum(part.degrees for part in sampled)):
        known = [index for index, part in enumerate(sampled) if part.degrees]
        return *laws(lambda index, high: direction_law(layers[index], sampled[index], high=high), known), samples
    return None


def _upper_edge(law: QuadraticLaw, probability: float) -> float:
    """Value that is reached or exceeded with this probability, below 1/2."""
    return _edge(law, law.upper_tail, 1.0, probability)


def _lower_edge(law: QuadraticLaw, probability: float) -> float:
    """Value that is reached or undershot with this probability, below 1/2; 0 where even that is commoner."""
    if law.lower_tail(0.0) >= probability:
        return 0.0
    return _edge(law, law.lower_tail, -1.0, probability)


def _edge(law: QuadraticLaw, tail: Callable[[float], float], sign: float, probability: float) -> float:
    """Root of tail(value) = probability on one side of the mean, by bisection guided by the normal law.

    The normal deviate of the tail is close to a straight line in the value, so that false position needs few steps.
    """
    spread = math.sqrt(law.variance)
    wanted = -float(ndtri(probability))

    def rounded(value: float) -> float:
        return float(math.floor(value)) if law.counting else value

    def deviate(value: float) -> float:
        found = tail(value)
        return math.inf if found <= 0 else -float(ndtri(min(found, 1.0)))

    near, far = rounded(law.mean), rounded(law.mean + sign * wanted * spread)
    least = 1.0 if law.counting else 0.0
    while deviate(far := max(far, 0.0)) < wanted:
        near, far = far, rounded(far + sign * max(spread, least))
    below, above = deviate(near), deviate(far)
    for _ in range(_STEPS):
        if abs(far - near) <= max(_CLOSE * spread, least):
            break
        share = (wanted - below) / (above - below) if math.isfinite(above) else 0.5
        # Away from the ends, so that the interval shrinks from both sides.
        middle = rounded(near + min(max(share, 0.02), 0.98) * (far - near))
        if middle in (near, far):
            middle = rounded(0.5 * (near + far))
        value = deviate(middle)
        if abs(value - wanted) < _CLOSE:
            return middle
        if value < wanted:
            near, below = middle, value
        else:
            far, above = middle, value
    # The last value that is still accepted: its tail is the larger one.
    return near
