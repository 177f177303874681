"""What stands in the way is named: a planted bottleneck, the build, all parts, the limits, the network."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labqdl.config.builds import find_build
from labqdl.facts import Component, Ledger, Owner, Place, TapKind
from labqdl.planner.obstacles import ALL_PARTS, improved, improved_build, with_build, with_part
from labqdl.planner.plan import answer
from labqdl.planner.question import Aim, Question
from labqdl.planner.stage import Stage
from tests.planner.subjects import AMPLIFIER, FEED_FORWARD, IDEAL, ISOTROPIC, untrusted

GOOD = (
    Component("way out", Place.FORWARD, Owner.CHANNEL, transmissivity=0.9999),
    Component("homodyne", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=0.99),
    Component("way back", Place.RETURN, Owner.CHANNEL, transmissivity=0.9999),
)
BOTTLENECKS = {
    "loss": Component("bad connector", Place.RETURN, Owner.CHANNEL, transmissivity=0.9),
    "noise": Component("bad modulator", Place.FORWARD, Owner.CHANNEL, excess=0.05),
    "phase": Component("bad lock", Place.RETURN, Owner.CHANNEL, phase_noise=0.5),
    "amplifier": Component("bad amplifier", Place.TAP, Owner.CLIENT, n_sp=40.0),
    "detector": Component(
        "bad detector", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=0.03, electronic_noise=1.0
    ),
}


def _question(ledger: Ledger, **changes: object) -> Question:
    question = Question(ISOTROPIC, ledger, (AMPLIFIER,), f2_db=-5.0, bits_per_weight=0.03, aim=Aim.DATA)
    return replace(question, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", BOTTLENECKS)
def test_a_planted_bottleneck_is_named_with_what_it_would_have_to_be(kind: str) -> None:
    bad = BOTTLENECKS[kind]
    question = _question(Ledger("planted", (*GOOD, bad)))
    if kind == "detector":  # behind enough gain any detector does; a limit on the data forbids that
        question = replace(question, bits_per_feature=0.5, aim=Aim.MARGIN)
    assert answer(replace(question, ledger=Ledger("good", GOOD))).feasible
    found = answer(question)
    assert not found.feasible
    first = found.obstacles[0]
    assert first.part == bad.name
    assert bad.name in first.words
    assert "would have to be" in first.words
    assert all(obstacle.factor is None for obstacle in found.obstacles[1:])
    # the way is open with it, and closed with a little less
    assert first.factor is not None
    assert 0 < first.factor < 1
    assert answer(with_part(question, bad.name, first.factor), explain=False).feasible
    assert not answer(with_part(question, bad.name, 1.02 * first.factor), explain=False).feasible


@settings(max_examples=8)
@given(st.floats(0.02, 0.5), st.floats(0.015, 0.1))
def test_needed_loss_is_that_of_a_link_with_it(transmissivity_lost: float, limit: float) -> None:
    """By another route: the link with the loss that was named meets the limit exactly."""
    bad = Component("bad", Place.FORWARD, Owner.CHANNEL, transmissivity=1 - transmissivity_lost)
    question = _question(Ledger("planted", (bad,)), bits_per_weight=limit, aim=Aim.DATA)
    found = answer(question)
    if found.feasible:
        return
    factor = found.obstacles[0].factor
    assert factor is not None
    met = Component("bad", Place.FORWARD, Owner.CHANNEL, transmissivity=bad.transmissivity**factor)
    least = answer(_question(Ledger("met", (met,)), bits_per_weight=None, aim=Aim.WEIGHTS)).best
    assert least is not None
    assert least.point.weights == pytest.approx(limit, rel=2e-3)
    assert least.point.weights <= limit * (1 + 1e-6)


def test_a_build_that_cannot_go_low_enough() -> None:
    stage = Stage(TapKind.AMPLIFIER, find_build("edfa"))
    question = Question(ISOTROPIC, IDEAL, (stage,), f2_db=-5.0, bits_per_feature=0.1, aim=Aim.WEIGHTS)
    found = answer(question)
    first = found.obstacles[0]
    assert first.part == "tap build edfa"
    assert "net gain of at least 0.7 dB" in first.words
    assert first.factor is not None
    assert answer(with_build(question, "edfa", first.factor), explain=False).feasible
    assert answer(replace(question, stages=(AMPLIFIER,)), explain=False).feasible


def test_no_single_part_is_enough() -> None:
    found = answer(_question(untrusted(1.0)))
    assert found.obstacles[0].part == ALL_PARTS
    assert found.obstacles[0].factor is not None
    assert {obstacle.part for obstacle in found.obstacles[1:]} == {"way out", "way back"}
    assert all("even an ideal one leaves" in obstacle.words for obstacle in found.obstacles[1:])


def test_the_limits_themselves() -> None:
    found = answer(_question(untrusted(0.1), bits_per_weight=1e-4))
    assert found.obstacles[0].part == "the limits"
    # less than what ideal parts leave at this F^2 is impossible: g(S/4n) with feed-forward, g(S/2n) with an amplifier
    assert found.obstacles[0].weights > 1e-3
    assert found.reachable is not None
    assert found.reachable.f2_db < -15.0
    assert found.reachable.point.weights == pytest.approx(1e-4, rel=1e-3)


def test_the_network_itself() -> None:
    question = Question(ISOTROPIC, IDEAL, (AMPLIFIER,), accuracy=0.99, aim=Aim.WEIGHTS)
    found = answer(question)
    assert found.best is None
    assert [obstacle.part for obstacle in found.obstacles] == ["the network"]
    assert "98.00 % at most" in found.obstacles[0].words
    assured = answer(replace(question, accuracy=0.9798, assured=True))
    assert "at the lower end" in assured.obstacles[0].words


def test_phase_noise_that_no_light_overcomes_is_named() -> None:
    lock = Component("lock", Place.FORWARD, Owner.CHANNEL, phase_noise=0.6)
    question = Question(ISOTROPIC, Ledger("x", (lock,)), (AMPLIFIER, FEED_FORWARD), f2_db=6.0, aim=Aim.WEIGHTS)
    found = answer(question)
    assert found.best is None
    assert found.obstacles[0].part == "lock"
    assert "phase noise 0.6 rad would have to be" in found.obstacles[0].words


def test_improvement_has_the_part_and_an_ideal_one_at_its_ends() -> None:
    for component in (*GOOD, *BOTTLENECKS.values()):
        assert improved(component, 1.0) == component
        assert improved(component, 0.0) == Component(component.name, component.place, component.owner)
    edfa = find_build("edfa")
    assert improved_build(edfa, 1.0) == edfa
    assert improved_build(edfa, 0.0).least_gain == 1.0
    assert improved_build(edfa, 0.0).n_sp == 1.0
