"""The tests of the returned light against the honest ledger, and how they share one false-alarm rate.

Every p-value is an upper limit for every data vector of an honest client: it is taken at the worst law of an
envelope (`expected.HonestLayer`, `cross_use`, `sampled`). The tests are run once, on all data of a session; while the
session runs, the e-process of `eprocess` watches, which may be looked at as often as one likes.

Shares of the overall false-alarm rate alpha: half to the e-process, half to the tests here. One layer: its seven
tests share that half equally. Several layers: the tests pooled over all layers share a quarter, the tests of every
single layer share the other quarter, so that cheating on a small layer only is not diluted by the large ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from scipy.special import erfc, ndtri

from labqdl.facts import TestResult
from labqdl.security.cross_use import CrossUseTotals, pooled_law
from labqdl.security.expected import GainLaw, HonestLayer, Totals
from labqdl.security.quadratic import QuadraticLaw, interval_p_value
from labqdl.security.sampled import SampledTotals, combined_p_value, direction_law

E_PROCESS_SHARE = 0.5
"""Share of alpha that the e-process may spend; the tests of this module have the rest."""
TESTS = ("gain", "noise", "phase", "count", "cross-use", "direction", "spectral")
"""Names of the tests, which share equally; what a test without data may spend stays unspent."""


def gain_check(
    layers: Sequence[HonestLayer], totals: Sequence[Totals], threshold: float, name: str = "gain"
) -> TestResult:
    """Two-sided test of the amplitude: loss, taps and substitution lower it, amplification raises it.

    `statistic` is the measured amplitude over the ledger's, weighted over layers with their light.
    """
    law = GainLaw.sum(layer.gain(part) for layer, part in zip(layers, totals, strict=True))
    pooled = Totals.sum(totals)
    z = _beyond(pooled.qr, law)
    return TestResult(
        name=name,
        statistic=1 + pooled.qr / (pooled.qq * layers[0].amplitude),
        expected=1 + law.middle / (pooled.qq * layers[0].amplitude),
        unit="of the expected amplitude",
        z=z,
        p_value=float(erfc(abs(z) / math.sqrt(2))),
        threshold=threshold,
        samples=pooled.residuals,
    )


def phase_check(
    layers: Sequence[HonestLayer], totals: Sequence[Totals], threshold: float, name: str = "phase"
) -> TestResult:
    """Two-sided test of the phase of the returned light against what was sent; `statistic` is its mean, rad."""
    law = GainLaw.sum(layer.phase_law(part) for layer, part in zip(layers, totals, strict=True))
    pooled = Totals.sum(totals)
    z = _beyond(pooled.jr, law)
    return TestResult(
        name=name,
        statistic=pooled.jr / (pooled.jj * layers[0].amplitude),
        expected=law.middle / (pooled.jj * layers[0].amplitude),
        unit="rad",
        z=z,
        p_value=float(erfc(abs(z) / math.sqrt(2))),
        threshold=threshold,
        samples=pooled.residuals,
    )


def _beyond(value: float, law: GainLaw) -> float:
    """Distance from the interval of honest means in honest standard deviations, with its sign."""
    return (max(value - law.high, 0.0) + min(value - law.low, 0.0)) / math.sqrt(law.variance)


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


def cross_use_check(
    layers: Sequence[HonestLayer],
    totals: Sequence[Totals],
    uses: Sequence[CrossUseTotals],
    threshold: float,
    name: str = "cross-use",
) -> TestResult:
    """Two-sided test of each weight's residuals summed over its uses: noise that repeats raises it with every use."""
    low, high = (pooled_law(layers, totals, uses, high=high) for high in (False, True))
    value = math.fsum(part.sum_squares for part in uses)
    return _two_sided(name, value, low, high, sum(part.weights for part in uses), threshold, "SNU per weight")


def direction_check(
    layers: Sequence[HonestLayer], sampled: Sequence[SampledTotals], threshold: float, name: str = "direction"
) -> TestResult:
    """Two-sided test of the residuals along the strongest directions of the light, in the sampled images."""
    pairs = list(zip(layers, sampled, strict=True))
    low = QuadraticLaw.sum(direction_law(layer, part, high=False) for layer, part in pairs)
    high = QuadraticLaw.sum(direction_law(layer, part, high=True) for layer, part in pairs)
    pooled = SampledTotals.sum(sampled)
    return _two_sided(name, pooled.energy, low, high, pooled.degrees, threshold, "SNU per component")


def spectral_check(sampled: Sequence[SampledTotals], threshold: float, name: str = "spectral") -> TestResult:
    """One-sided test of the three largest singular values of each sampled image's residuals.

    `statistic` is that of the image with the smallest p-value, over the edge that an honest one does not pass but for
    its fluctuation; `z` is the p-value's.
    """
    spectra = SampledTotals.sum(sampled).spectra
    worst = min(spectra, key=lambda spectrum: (spectrum.p_value, -spectrum.ratio))
    p_value = combined_p_value([spectrum.p_value for spectrum in spectra])
    return TestResult(
        name=name,
        statistic=worst.ratio,
        expected=1.0,
        unit=f"of the honest edge ({('first', 'second', 'third')[worst.rank - 1]} singular value)",
        z=float(-ndtri(0.5 * p_value)) + 0.0,  # no negative zero
        p_value=p_value,
        threshold=threshold,
        samples=sum(spectrum.residuals for spectrum in spectra),
    )


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


def session_checks(
    layers: Sequence[HonestLayer],
    totals: Sequence[Totals],
    alpha: float,
    *,
    cross_use: Sequence[CrossUseTotals] | None = None,
    sampled: Sequence[SampledTotals] | None = None,
) -> tuple[TestResult, ...]:
    """All tests of a finished session: pooled over layers, then (if there are several) layer by layer.

    Parameters
    ----------
    layers, totals:
        Honest law and sums of every layer.
    alpha:
        Overall false-alarm rate of the consistency verdict, e-process included.
    cross_use, sampled:
        Sums over uses, and over sampled images, of every layer; None where nothing of the kind was kept.

    A test without data (no row was counted, or none homodyned) is left out; its share stays unspent.
    """
    uses = [CrossUseTotals()] * len(layers) if cross_use is None else list(cross_use)
    samples = [SampledTotals()] * len(layers) if sampled is None else list(sampled)
    share = (1 - E_PROCESS_SHARE) * alpha / len(TESTS)
    everything = range(len(layers))
    groups: list[tuple[str, Sequence[int], float]] = [("", everything, share)]
    if len(layers) > 1:
        groups = [("", everything, share / 2)]
        groups += [(f", layer {index + 1}", [index], share / (2 * len(layers))) for index in everything]
    results: list[TestResult] = []
    for suffix, chosen, threshold in groups:
        results += _group(
            [layers[index] for index in chosen],
            [totals[index] for index in chosen],
            [uses[index] for index in chosen],
            [samples[index] for index in chosen],
            threshold,
            suffix,
        )
    return tuple(results)


def _group(
    layers: Sequence[HonestLayer],
    totals: Sequence[Totals],
    uses: Sequence[CrossUseTotals],
    sampled: Sequence[SampledTotals],
    share: float,
    suffix: str,
) -> Iterator[TestResult]:
    """The tests of some layers together, those that have data."""
    if any(part.residuals for part in totals):
        yield gain_check(layers, totals, share, "gain" + suffix)
        yield noise_check(layers, totals, share, "noise" + suffix)
        yield phase_check(layers, totals, share, "phase" + suffix)
    if any(part.slots for part in totals):
        yield count_check(layers, totals, share, "count" + suffix)
    known = [index for index, part in enumerate(uses) if part.weights]
    if known:
        yield cross_use_check(
            [layers[index] for index in known],
            [totals[index] for index in known],
            [uses[index] for index in known],
            share,
            "cross-use" + suffix,
        )
    known = [index for index, part in enumerate(sampled) if part.degrees]
    if known:
        yield direction_check(
            [layers[index] for index in known], [sampled[index] for index in known], share, "direction" + suffix
        )
    if any(part.spectra for part in sampled):
        yield spectral_check(sampled, share, "spectral" + suffix)
