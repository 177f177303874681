"""Gain, noise and count tests of the returned light against the honest ledger, each two-sided.

Every p-value is an upper limit for every data vector of an honest client: it is taken at the worst law of an
envelope (`expected.HonestLayer`). The tests are run once, on all data of a session; while the session runs, the
e-process of `eprocess` watches, which may be looked at as often as one likes.

Shares of the overall false-alarm rate alpha: half to the e-process, half to the tests here. One layer: its three
tests share that half equally. Several layers: the three tests pooled over all layers share a quarter, the three tests
of every single layer share the other quarter, so that cheating on a small layer only is not diluted by the large
ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import erfc

from labqdl.facts import TestResult
from labqdl.security.expected import GainLaw, HonestLayer, Totals
from labqdl.security.quadratic import QuadraticLaw, interval_p_value

E_PROCESS_SHARE = 0.5
"""Share of alpha that the e-process may spend; the tests of this module have the rest."""


def gain_check(
    layers: Sequence[HonestLayer], totals: Sequence[Totals], threshold: float, name: str = "gain"
) -> TestResult:
    """Two-sided test of the amplitude: loss, taps and substitution lower it, amplification raises it.

    `statistic` is the measured amplitude over the ledger's, weighted over layers with their light.
    """
    law = GainLaw.sum(layer.gain(part) for layer, part in zip(layers, totals, strict=True))
    pooled = Totals.sum(totals)
    amplitude = layers[0].amplitude
    beyond = max(pooled.qr - law.high, 0.0) + min(pooled.qr - law.low, 0.0)
    z = beyond / math.sqrt(law.variance)
    return TestResult(
        name=name,
        statistic=1 + pooled.qr / (pooled.qq * amplitude),
        expected=1 + law.middle / (pooled.qq * amplitude),
        unit="of the expected amplitude",
        z=z,
        p_value=float(erfc(abs(z) / math.sqrt(2))),
        threshold=threshold,
        samples=pooled.residuals,
    )


def noise_check(
    layers: Sequence[HonestLayer], totals: Sequence[Totals], threshold: float, name: str = "noise"
) -> TestResult:
    """Two-sided test of the mean square of the residuals: cloning and resending raise it, imitation lowers it."""
    pairs = list(zip(layers, totals, strict=True))
    low = QuadraticLaw.sum(layer.noise(part, high=False) for layer, part in pairs)
    high = QuadraticLaw.sum(layer.noise(part, high=True) for layer, part in pairs)
    pooled = Totals.sum(totals)
    return _two_sided(name, pooled.rr, low, high, pooled.residuals, threshold, "SNU per quadrature")


def count_check(
    layers: Sequence[HonestLayer], totals: Sequence[Totals], threshold: float, name: str = "count"
) -> TestResult:
    """Two-sided test of the photons that are left after nulling."""
    pairs = list(zip(layers, totals, strict=True))
    low = QuadraticLaw.sum(layer.count(part, high=False) for layer, part in pairs)
    high = QuadraticLaw.sum(layer.count(part, high=True) for layer, part in pairs)
    pooled = Totals.sum(totals)
    return _two_sided(name, float(pooled.photons), low, high, pooled.slots, threshold, "photons per slot")


def _two_sided(
    name: str, value: float, low: QuadraticLaw, high: QuadraticLaw, samples: int, threshold: float, unit: str
) -> TestResult:
    """Test result of a quadratic statistic whose honest law lies between two."""
    if value > high.mean:
        beyond = (value - high.mean) / math.sqrt(high.variance) if high.variance else math.inf
    elif value < low.mean:
        beyond = (value - low.mean) / math.sqrt(low.variance)
    else:
        beyond = 0.0
    return TestResult(
        name=name,
        statistic=value / samples,
        expected=0.5 * (low.mean + high.mean) / samples,
        unit=unit,
        z=beyond,
        p_value=interval_p_value(value, low, high),
        threshold=threshold,
        samples=samples,
    )


def session_checks(layers: Sequence[HonestLayer], totals: Sequence[Totals], alpha: float) -> tuple[TestResult, ...]:
    """All tests of a finished session: pooled over layers, then (if there are several) layer by layer.

    Parameters
    ----------
    layers, totals:
        Honest law and sums of every layer.
    alpha:
        Overall false-alarm rate of the consistency verdict, e-process included.

    A test without data (no row was counted, or none homodyned) is left out; its share stays unspent.
    """
    budget = (1 - E_PROCESS_SHARE) * alpha
    groups: list[tuple[str, Sequence[HonestLayer], Sequence[Totals], float]] = []
    if len(layers) == 1:
        groups.append(("", layers, totals, budget / 3))
    else:
        groups.append(("", layers, totals, budget / 6))
        share = budget / (6 * len(layers))
        groups += [
            (f", layer {index + 1}", [layer], [part], share)
            for index, (layer, part) in enumerate(zip(layers, totals, strict=True))
        ]
    results = []
    for suffix, chosen, parts, share in groups:
        if any(part.residuals for part in parts):
            results.append(gain_check(chosen, parts, share, "gain" + suffix))
            results.append(noise_check(chosen, parts, share, "noise" + suffix))
        if any(part.slots for part in parts):
            results.append(count_check(chosen, parts, share, "count" + suffix))
    return tuple(results)
