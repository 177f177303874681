"""The shot-noise unit: intervals that cover, envelopes that hold while it is measured, and what a spike can hide."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from labqdl.facts import (
    Component,
    FrameDescription,
    Ledger,
    Owner,
    Place,
    Reason,
    ShotNoise,
    VerdictKind,
)
from labqdl.link import EmulatedLink, parse_client
from labqdl.rng import Roots
from labqdl.security.expected import LayerLight, Totals, honest_layers, layer_light
from labqdl.security.finite import certifiable, channel_limits
from labqdl.security.shot_noise import (
    UNIT_SHARE,
    block_layer,
    measured_alpha,
    session_layers,
    unit_limit,
    vacuum_interval,
)
from labqdl.security.verification import Verifier
from tests.security.light import IDEAL, make_frame, make_light

NOISY = Ledger(
    "noisy",
    (
        Component("fibre", Place.RETURN, Owner.CHANNEL, transmissivity=0.8, excess=0.02),
        Component("receiver", Place.SERVER_RECEIVER, Owner.SERVER, transmissivity=0.9, electronic_noise=0.1),
        Component("counter", Place.SERVER_COUNTER, Owner.SERVER, transmissivity=0.7),
    ),
)


def measured(kind: ShotNoise, *, slots: int = 4, ledger: Ledger = IDEAL, **changes: float) -> FrameDescription:
    """A small frame with a measured unit."""
    frame = make_frame(ledger=ledger, shapes=((24, 16),), images=8, block=4, **changes)  # type: ignore[arg-type]
    return replace(frame, plan=replace(frame.plan, shot_noise=kind, cross_use=False), vacuum_slots=slots)


def session(frame: FrameDescription, seed: int, client: str = "honest") -> Verifier:
    """The server's verifier after a session over the emulated link with random weights and data."""
    roots = Roots.from_seed(seed)
    generator = np.random.default_rng([seed, 2])
    q = make_light(generator, frame.layers[0].rows, frame.layers[0].n_modes, frame.layers[0].mu)
    link = EmulatedLink(frame.ledger, roots.world, client=parse_client(client))
    link.prepare(frame)
    verifier = Verifier(frame, [layer_light(q)])
    amplitude = math.sqrt(frame.ledger.total * frame.ledger.server_efficiency)
    for block in range(frame.n_blocks):
        images = len(frame.block_images(block))
        x = generator.standard_normal((images, q.shape[1]))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        pattern = roots.server.bits("pattern", block, count=q.shape[1] // 2)
        counted = roots.server.uniforms("counted", block, count=len(q)) < frame.plan.counting_fraction
        link.server_port.send_rows(0, block, q, images)
        link.server_port.set_receiver(0, block, pattern, counted, amplitude)
        link.client_port.set_data(0, block, x)
        link.transmit(0, block)
        verifier.add(0, block, link.server_port.returned(0, block), pattern)
    return verifier


def p_value(verifier: Verifier, name: str) -> float:
    return next(test.p_value for test in verifier.consistency().tests if test.name == name)


# --- intervals ---------------------------------------------------------------------------------------------------


def test_the_unit_lies_in_its_interval_as_often_as_stated() -> None:
    # 20,000 units from 50 slots at 90 %: 2,000 misses, one standard deviation is 42; five and a half of them.
    generator = np.random.default_rng(4)
    misses = 0
    for squares in 1.1 * generator.chisquare(50, 20_000):
        low, high = vacuum_interval(Totals(vacuum_squares=float(squares), vacuum_slots=50), 0.1)
        misses += not low <= 1.1 <= high
    assert abs(misses - 2000) < 5.5 * math.sqrt(20_000 * 0.1 * 0.9)
    with pytest.raises(ValueError, match="no vacuum slot"):
        vacuum_interval(Totals(), 0.1)


def test_the_interval_becomes_an_envelope_of_the_floor() -> None:
    frame = measured(ShotNoise.OWN, ledger=NOISY)
    layer = honest_layers(frame, [LayerLight()])[0]
    totals = Totals(vacuum_squares=1.1 * 4000, vacuum_slots=4000)
    low, high = vacuum_interval(totals, 0.5 * UNIT_SHARE * frame.plan.alpha)
    (own,) = session_layers(frame, [layer], totals)
    # A blocked receiver does not see the path's 0.9 * 0.02 of technical noise; slots from the client do.
    assert own.lowest_floor == pytest.approx(low + 0.018)
    assert own.floor == pytest.approx(high + 0.018)
    (crossed,) = session_layers(measured(ShotNoise.CROSSED, ledger=NOISY), [layer], totals)
    assert (crossed.lowest_floor, crossed.floor) == (low, high)
    assert session_layers(measured(ShotNoise.KNOWN, ledger=NOISY), [layer], totals) == (layer,)
    assert layer.lowest_floor == layer.floor
    # A block's own slots, at a smaller share of alpha, give a wider interval.
    wider = block_layer(frame, layer, totals)
    assert wider.lowest_floor < own.lowest_floor < own.floor < wider.floor
    size = Totals(residuals=1000, homodyned=100)
    assert own.noise(size, high=False).mean < layer.noise(size, high=False).mean < own.noise(size, high=True).mean
    assert measured_alpha(frame) == pytest.approx((1 - UNIT_SHARE) * frame.plan.alpha)
    assert measured_alpha(measured(ShotNoise.KNOWN)) == frame.plan.alpha


# --- honest sessions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ShotNoise.OWN, ShotNoise.CROSSED])
@pytest.mark.parametrize("ledger", [IDEAL, NOISY], ids=["ideal", "noisy"])
@pytest.mark.parametrize("sessions", [30, pytest.param(4000, marks=pytest.mark.soak)], ids=["small", "soak"])
def test_an_honest_client_is_not_blamed_for_an_uncertain_unit(kind: ShotNoise, ledger: Ledger, sessions: int) -> None:
    """At alpha = 1 %: no more false alarms than a binomial's 1e-7 tail allows, and p-values of noise not too small."""
    frame = measured(kind, ledger=ledger, alpha=0.01)
    alarms, noise = 0, []
    for seed in range(sessions):
        verifier = session(frame, seed)
        consistency = verifier.consistency()
        alarms += not consistency.passed
        noise.append(next(test.p_value for test in consistency.tests if test.name == "noise"))
    assert stats.binom.sf(alarms - 1, sessions, 0.01) > 1e-7
    small = int(np.count_nonzero(np.array(noise) <= 0.01))
    assert stats.binom.sf(small - 1, sessions, 0.01) > 1e-7


def test_without_the_envelope_an_uncertain_unit_would_blame_honest_clients() -> None:
    """The planted error: the estimate taken for the truth. One slot a row leaves the unit 10 % uncertain."""
    frame = measured(ShotNoise.OWN, slots=1, counting=0.0)
    wrong = 0
    for seed in range(60):
        totals = session(frame, seed).totals()[0]
        estimate = totals.vacuum_squares / totals.vacuum_slots
        layer = replace(honest_layers(frame, [LayerLight()])[0], floor=estimate)
        wrong += layer.noise(totals, high=True).upper_tail(totals.rr) < 0.01
    assert stats.binom.sf(wrong - 1, 60, 0.01) < 1e-7


# --- spikes ------------------------------------------------------------------------------------------------------


def test_a_spike_hides_the_noise_that_it_matches_from_a_crossed_unit_only() -> None:
    """What the server sees is (1 + eps + d)/(1 + d): near 1 with a crossed unit, 1 + eps + d with its own."""
    ratios = {}
    for kind in (ShotNoise.OWN, ShotNoise.CROSSED):
        frame = measured(kind, slots=64, counting=0.0)
        totals = Totals.sum(session(frame, seed, "spiking:0.5").totals()[0] for seed in range(40))
        ratios[kind] = totals.rr / totals.residuals / (totals.vacuum_squares / totals.vacuum_slots)
    # eps = 1/8 a mode; 61,440 residuals and ten times as many slots: 5.5 sigma are 3.3 %.
    assert ratios[ShotNoise.OWN] == pytest.approx(1 + 0.125 + 0.5, rel=0.033)
    assert ratios[ShotNoise.CROSSED] == pytest.approx((1 + 0.125 + 0.5) / 1.5, rel=0.033)


def test_who_takes_the_unit_decides_whether_a_spike_is_found() -> None:
    for seed in range(3):
        own = session(measured(ShotNoise.OWN, slots=32, counting=0.0), seed, "spiking:1").verdict()
        assert own.kind is VerdictKind.ABORT
        crossed = session(measured(ShotNoise.CROSSED, slots=32, counting=0.0), seed, "spiking:1").verdict()
        assert crossed.kind is VerdictKind.UNDECIDED
        assert crossed.consistency.passed
        assert crossed.reason is Reason.SHOT_NOISE
        assert crossed.certificate is None
        assert "crossed the client" in crossed.explanation
        # A counter needs no unit: it finds the spike, and certifies what is left of the noise.
        counted = session(measured(ShotNoise.CROSSED, slots=32, counting=0.5), seed, "spiking:1")
        assert counted.verdict().kind is VerdictKind.ABORT
        assert p_value(counted, "count") < 1e-9


# --- certificates ------------------------------------------------------------------------------------------------


def test_certificates_charge_an_uncertain_unit_to_the_client() -> None:
    known = session(measured(ShotNoise.KNOWN, ledger=NOISY, counting=0.0), 5).limits()
    few, many = (session(measured(ShotNoise.OWN, slots=slots, ledger=NOISY, counting=0.0), 5) for slots in (2, 4000))
    limits = [verifier.limits() for verifier in (few, many)]
    assert known is not None
    assert known.excess_homodyne is not None
    found = [one.excess_homodyne for one in limits if one is not None and one.excess_homodyne is not None]
    assert known.excess_homodyne < found[1] < found[0]
    assert found[1] == pytest.approx(known.excess_homodyne, rel=0.1)
    assert "server's own input blocked" in few.bounds()[0].assumptions[-1] + few.bounds()[0].assumptions[-2]


def test_what_a_certificate_with_a_measured_unit_spends_adds_up_to_delta() -> None:
    """A tenth goes to the unit's own lower limit, nine tenths to what the limits of a known unit may spend."""
    frame = measured(ShotNoise.OWN, slots=20, ledger=NOISY, counting=0.0)
    (totals,) = session(frame, 6).totals()
    layers = honest_layers(frame)
    delta = 1e-3
    own = channel_limits(layers, [totals], NOISY, delta, None, ShotNoise.OWN)
    known = channel_limits(layers, [totals], NOISY, 0.9 * delta, None, ShotNoise.KNOWN)
    assert own.transmissivity == pytest.approx(known.transmissivity, rel=1e-12)
    least = totals.vacuum_squares / float(stats.chi2.isf(0.1 * delta, totals.vacuum_slots))
    assert own.excess_homodyne is not None
    assert known.excess_homodyne is not None
    assert own.excess_homodyne == pytest.approx(known.excess_homodyne + (1.1 - least) / 0.9, rel=1e-9)


def test_a_certificate_from_an_uncertain_unit_covers_the_truth() -> None:
    """At 90 % confidence the limit is below the true excess in at most a tenth of the sessions; 100 of them."""
    truth, misses = 0.02 + 0.8 / 8, 0
    for seed in range(100):
        frame = measured(ShotNoise.OWN, slots=1, ledger=NOISY, counting=0.0, delta=0.1)
        limits = session(frame, seed).limits()
        assert limits is not None
        misses += limits.excess < truth
    assert stats.binom.sf(misses - 1, 100, 0.1) > 1e-7


def test_a_crossed_unit_certifies_by_counts_or_not_at_all() -> None:
    totals = session(measured(ShotNoise.CROSSED, ledger=NOISY, counting=0.5), 6)
    limits = totals.limits()
    assert limits is not None
    assert limits.excess_homodyne is None
    assert limits.excess == limits.excess_counts
    assert any("crossed the client" in assumption for assumption in totals.bounds()[0].assumptions)
    none = session(measured(ShotNoise.CROSSED, ledger=NOISY, counting=0.0), 6)
    assert none.limits() is None
    assert none.bounds() == ()
    frame = measured(ShotNoise.CROSSED, ledger=NOISY, counting=0.0)
    with pytest.raises(ValueError, match="witnesses"):
        channel_limits(honest_layers(frame), none.totals(), NOISY, 1e-6, shot_noise=ShotNoise.CROSSED)


def test_a_receiver_in_other_hands_gives_no_unit() -> None:
    other = replace(
        NOISY, components=(NOISY.components[0], replace(NOISY.components[1], owner=Owner.CHANNEL), NOISY.components[2])
    )
    totals = Totals(vacuum_squares=100.0, vacuum_slots=100, residuals=10, qq=1.0)
    assert certifiable(other, ShotNoise.KNOWN, totals)
    assert not certifiable(other, ShotNoise.OWN, totals)
    assert certifiable(NOISY, ShotNoise.OWN, totals)
    verdict = session(measured(ShotNoise.OWN, ledger=other, counting=0.0), 7).verdict()
    assert verdict.reason is Reason.SHOT_NOISE
    assert "in other hands" in verdict.explanation
    assert unit_limit(NOISY, ShotNoise.KNOWN, Totals(), 1e-6) == pytest.approx(1.1)
    assert unit_limit(NOISY, ShotNoise.OWN, Totals(), 1e-6) is None


def test_a_frame_that_measures_has_slots_to_measure_in() -> None:
    with pytest.raises(ValueError, match="vacuum_slots"):
        replace(measured(ShotNoise.OWN), vacuum_slots=0)
