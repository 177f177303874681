"""Evidence has two sides, every layer counts, and every budget counts: what must not be told apart, or mixed up.

All light is drawn from fixed seeds. Honest sums pass at a share of 1e-8 a test, fewer than 20 tests: a false alarm in
five million runs; every cheat here is off by more than ten standard deviations.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from labqdl.facts import Budgets, Component, Ledger, Owner, Place, UseSums, VerdictKind
from labqdl.security.checks import gain_check, phase_check, session_checks
from labqdl.security.cross_use import CrossUseTotals, UseAccumulator, cross_use_law
from labqdl.security.expected import HonestLayer, Totals, honest_layers, layer_light
from labqdl.security.finite import weight_bits_per_mode
from labqdl.security.sampled import SampledTotals, direction_law
from tests.security.light import IDEAL, draw, isotropic, make_frame, make_light
from tests.security.test_verification import WIDE, keys, run, session

SHARE = 1e-8
LOSSY = Ledger("lossy", (Component("back", Place.RETURN, Owner.CHANNEL, transmissivity=0.6),))


def light_of(
    ledger: Ledger, expected: Ledger, gain_error: float = 0.0, angle: float = 0.0
) -> tuple[HonestLayer, Totals]:
    """Totals of light from one ledger, judged by the law of another."""
    generator = np.random.default_rng(7)
    q = make_light(generator, 24, 8, 4.0)
    law = honest_layers(make_frame(ledger=expected, shapes=(q.shape,)), [layer_light(q)])[0]
    counted = np.zeros(24, dtype=np.bool_)
    returned = draw(generator, ledger, q, isotropic(generator, 60, 8), counted=counted, gain_error=gain_error)
    part = returned.totals(60)[0]
    transmission = math.sqrt(ledger.total * ledger.server_efficiency)
    return law, replace(part, jr=part.jr + math.sin(angle) * transmission * part.jj)


def test_loss_that_was_agreed_is_no_sign_of_cheating() -> None:
    law, part = light_of(LOSSY, LOSSY)
    result = gain_check([law], [part], SHARE)
    assert result.passed
    assert result.statistic == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("error", [-0.1, 0.1], ids=["too little comes back", "too much comes back"])
def test_loss_beyond_what_was_agreed_is_found_and_so_is_gain(error: float) -> None:
    law, part = light_of(LOSSY, LOSSY, gain_error=error)
    result = gain_check([law], [part], SHARE)
    assert not result.passed
    assert result.z * error > 10 * abs(error)
    assert result.statistic == pytest.approx(1 + error, abs=0.02)


@pytest.mark.parametrize("angle", [-0.1, 0.1])
def test_the_phase_is_told_with_its_sign_and_judged_on_both_sides(angle: float) -> None:
    law, part = light_of(IDEAL, IDEAL, angle=angle)
    result = phase_check([law], [part], SHARE)
    assert not result.passed
    assert result.z * angle > 10 * abs(angle)
    assert result.statistic == pytest.approx(math.sin(angle), abs=0.02)


@pytest.mark.parametrize("check", [gain_check, phase_check])
def test_a_deviation_is_judged_by_both_tails(check: object) -> None:
    """P(|z| as large) of a normal law, not P(z as large)."""
    law, part = light_of(IDEAL, IDEAL)
    test = gain_check if check is gain_check else phase_check
    honest = law.gain(part) if test is gain_check else law.phase_law(part)
    for sign, edge in ((1, honest.high), (-1, honest.low)):
        value = edge + sign * 3.0 * math.sqrt(honest.variance)
        moved = replace(part, qr=value) if test is gain_check else replace(part, jr=value)
        assert test([law], [moved], SHARE).p_value == pytest.approx(2.6997960632601866e-3, rel=1e-9)


@pytest.mark.parametrize("cheated", [0, 1])
def test_a_cheat_on_one_layer_is_found_on_that_layer_however_small(cheated: int) -> None:
    generator = np.random.default_rng(11)
    laws, parts = [], []
    for index, rows in enumerate((96, 4)):
        q = make_light(generator, rows, 8, 4.0)
        laws.append(honest_layers(make_frame(shapes=(q.shape,)), [layer_light(q)])[0])
        returned = draw(
            generator,
            IDEAL,
            q,
            isotropic(generator, 60, 8),
            counted=np.zeros(rows, dtype=np.bool_),
            gain_error=-0.3 if index == cheated else 0.0,
        )
        parts.append(returned.totals(60)[0])
    failed = {test.name for test in session_checks(laws, parts, 1e-6) if not test.passed}
    assert f"gain, layer {cheated + 1}" in failed
    assert not any(name.endswith(f"layer {2 - cheated}") for name in failed)


@pytest.mark.parametrize(
    ("budgets", "failing"),
    [
        (Budgets(bits_per_weight=1e-6, bits_per_feature=4.0), ("bits_per_weight",)),
        (Budgets(bits_per_weight=4.0, bits_per_feature=1e-6), ("bits_per_feature",)),
        (replace(WIDE, cumulative_bits_per_weight=1e-6), ("cumulative_bits_per_weight",)),
        (replace(WIDE, cumulative_bits_per_feature=1e-6), ("cumulative_bits_per_feature",)),
    ],
    ids=["weights", "data", "weights over uses", "data over uses"],
)
def test_one_budget_that_is_exceeded_is_enough(budgets: Budgets, failing: tuple[str, ...]) -> None:
    frame, lights, drawn = session(budgets)
    verdict = run(frame, lights, drawn, keys()).verdict()
    assert verdict.certificate is not None
    assert verdict.certificate.failing == failing
    assert not verdict.certificate.passed
    assert verdict.kind is VerdictKind.UNDECIDED


# --- what phase noise adds to the envelopes -----------------------------------------------------------------------


def phase_moments(deviation: float) -> tuple[float, float]:
    """E sin^2 phi and E (1 - cos phi)^2 of a normal phase, by Gauss and Hermite."""
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    return float(weights @ np.sin(deviation * points) ** 2), float(weights @ (1 - np.cos(deviation * points)) ** 2)


def shaky_law(deviation: float, light: float = 1e4) -> HonestLayer:
    ledger = Ledger(
        "shaky", (Component("back", Place.RETURN, Owner.CHANNEL, transmissivity=0.8, phase_noise=deviation),)
    )
    q = make_light(np.random.default_rng(1), 8, 8, 4.0)
    law = honest_layers(make_frame(ledger=ledger, shapes=(q.shape,)), [layer_light(q)])[0]
    return replace(law, cross=light)


@pytest.mark.parametrize("deviation", [0.1, 0.5])
@pytest.mark.parametrize("kind", ["cross-use", "direction"])
def test_envelopes_hold_light_that_is_turned_and_light_that_is_missing(kind: str, deviation: float) -> None:
    """Beyond the law without phase noise: sigma^2 for E sin^2 of the turned light, and E (1 - cos)^2 of the light."""
    law, light = shaky_law(deviation), 200.0
    still = replace(law, phase=0.0, flutter=0.0, droop=0.0)
    uses = CrossUseTotals(weights=500, uses=1.0, images=1, spikes_most=100, energy=light)
    sampled = SampledTotals(degrees=500, pairs=100, images=1, light=light)
    totals = Totals(qq=light, images=1)

    def mean(layer: HonestLayer) -> float:
        if kind == "cross-use":
            return cross_use_law(layer, totals, uses, high=True).mean
        return direction_law(layer, sampled, high=True).mean

    _, missing = phase_moments(deviation)
    expected = law.amplitude**2 * light * (deviation**2 + missing)
    assert mean(law) - mean(still) == pytest.approx(expected, rel=1e-6)


def test_a_turn_moves_the_phase_by_the_light_that_lies_along_the_other_one() -> None:
    """Light with q.Jq = 100 and |Jq|^2 = 1: what cos(phi) makes of it is the larger part."""
    deviation = 0.5
    law = shaky_law(deviation)
    part = Totals(jj=1.0, j4=1.0, images=1, homodyned=1)
    still = replace(law, phase=0.0, flutter=0.0, droop=0.0)
    sine, cosine = phase_moments(deviation)
    variance = law.amplitude**2 * (sine + 1e4 * (cosine - (1 - math.exp(-(deviation**2) / 2)) ** 2))
    assert law.phase_law(part).variance - still.phase_law(part).variance >= variance


@pytest.mark.parametrize("spikes", [(0.2, 1.5), (1.5, 0.2)])
def test_the_larger_spike_is_taken_above_and_the_smaller_below(spikes: tuple[float, float]) -> None:
    """Any data along x alone, or along Jx alone, stays between the envelope's means."""
    law = replace(shaky_law(0.0), spike_x=spikes[0], spike_p=spikes[1])
    totals = Totals(residuals=500, homodyned=100, images=1)
    least, most = 500 * law.floor + 100 * 0.2, 500 * law.floor + 100 * 1.5
    assert law.noise(totals, high=False).mean == pytest.approx(least)
    assert law.noise(totals, high=True).mean == pytest.approx(most)


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_net_gain_off_one_collects_both_quadratures_of_the_strongest_light(share: float) -> None:
    """(x.q)^2 + (Jx.q)^2 over rows that have this share of their light along x and along Jx alike, at most all."""
    law = replace(shaky_law(0.0), mismatch=0.3, alignment=share)
    assert law.mean_energy(2) == pytest.approx(0.09 * min(2 * share, 1.0) * law.energy * 2)


def test_parts_of_a_spike_count_as_a_whole_one_in_the_upper_tail() -> None:
    """Every image looks at the quadrature that was measured least often: 2 1/6 terms of one row carry a spike."""
    accumulator = UseAccumulator(1, 2)
    blocks = ((2, (False, False)), (1, (False, True)), (2, (True, False)), (2, (True, True)))
    uses = np.zeros(4)
    for images, pattern in blocks:
        light = UseSums(np.zeros((1, 2), dtype=np.float32), images)
        accumulator.add(light, np.array(pattern), np.zeros(1, dtype=np.bool_))
        uses[2 * np.arange(2) + np.array(pattern)] += images
    assert uses.tolist() == [3, 4, 4, 3]
    trace = sum(images / uses[2 * np.arange(2) + np.array(pattern)].min() for images, pattern in blocks)
    assert trace == pytest.approx(13 / 6)
    totals = accumulator.totals(np.ones(1))
    assert trace <= totals.spikes_most < 4


@pytest.mark.parametrize("bright", [0, 1])
def test_the_layer_that_leaks_most_is_certified(bright: int) -> None:
    """Four times the light in one layer: what is certified is that layer's figure, and never that of all together."""
    frame, _, drawn = session()
    layers = tuple(replace(layer, mu=4.0 if index == bright else 1.0) for index, layer in enumerate(frame.layers))
    frame = replace(frame, layers=layers)
    verifier = run(frame, None, drawn, keys())
    certificate, limits = verifier.certificate(), verifier.limits()
    assert certificate is not None
    assert limits is not None
    each = [leak / 2 for leak in weight_bits_per_mode(frame, honest_layers(frame, None), limits)]
    assert each[bright] > 1.2 * each[1 - bright]
    assert certificate.bits_per_weight == pytest.approx(each[bright])
