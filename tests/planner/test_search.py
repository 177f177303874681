"""The optimum: nothing found at random beats it, it is monotone in the limits, and its figures are the bounds'."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labqdl.config.builds import find_build
from labqdl.facts import Budgets, FrameDescription, TapKind, VerificationPlan
from labqdl.planner.plan import Answer, answer, part_costs, trade_off
from labqdl.planner.question import Aim, Judge, Question, Subject, default_aim
from labqdl.planner.search import Search
from labqdl.planner.stage import Stage, from_logit, logit
from labqdl.security.accountant import WeightsAccountant
from labqdl.security.engines import anisotropic_bound, data_bound, weights_bound
from labqdl.security.expected import LayerLight
from labqdl.security.spectrum import Spectrum
from labqdl.units import from_db
from tests.planner.subjects import AMPLIFIER, FEED_FORWARD, IDEAL, ISOTROPIC, UNEQUAL, bench, untrusted

losses = st.sampled_from([0.0, 0.02, 0.3, 2.0])
limits = st.one_of(st.none(), st.floats(0.01, 1.5))


def _best(question: Question) -> Answer:
    return answer(question, explain=False)


def _nothing_is_better(
    subject: Subject, loss: float, f2_db: float, weights: float | None, data: float | None, seed: int, tries: int
) -> None:
    question = Question(
        subject,
        bench(loss_db=loss) if loss else IDEAL,
        (AMPLIFIER, FEED_FORWARD),
        f2_db=f2_db,
        bits_per_weight=weights,
        bits_per_feature=data,
        aim=default_aim(weights, data),
    )
    found = _best(question)
    assert found.best is not None
    generator = np.random.Generator(np.random.SFC64(seed))
    for stage in question.stages:
        search = Search(question, stage)
        for position in generator.uniform(-12.0, 5.0, tries).tolist():
            rival = search.point(from_db(f2_db), float(from_logit(position)))
            if not found.best.allowed:
                assert rival.violation(question) >= found.best.point.violation(question) * (1.0 - 1e-5)
            elif rival.violation(question) <= 1.0:
                assert rival.objective(question) >= found.best.point.objective(question) * (1.0 - 1e-5)


@settings(max_examples=15)
@given(
    subject=st.sampled_from([ISOTROPIC, UNEQUAL]),
    loss=losses,
    f2_db=st.floats(-12.0, 6.0),
    weights=limits,
    data=limits,
    seed=st.integers(0, 2**32 - 1),
)
def test_no_random_tap_is_better(
    subject: Subject, loss: float, f2_db: float, weights: float | None, data: float | None, seed: int
) -> None:
    _nothing_is_better(subject, loss, f2_db, weights, data, seed, tries=12)


@pytest.mark.soak
@settings(max_examples=300)
@given(
    subject=st.sampled_from([ISOTROPIC, UNEQUAL]),
    loss=st.floats(0.0, 10.0),
    f2_db=st.floats(-25.0, 15.0),
    weights=limits,
    data=limits,
    seed=st.integers(0, 2**32 - 1),
)
def test_no_random_tap_is_better_anywhere(
    subject: Subject, loss: float, f2_db: float, weights: float | None, data: float | None, seed: int
) -> None:
    _nothing_is_better(subject, loss, f2_db, weights, data, seed, tries=40)


@settings(max_examples=15)
@given(loss=losses, f2_db=st.floats(-10.0, 3.0), limit=st.floats(0.02, 1.0), more=st.floats(1.0, 3.0))
def test_looser_limits_leak_no_more(loss: float, f2_db: float, limit: float, more: float) -> None:
    question = Question(ISOTROPIC, untrusted(loss), (AMPLIFIER,), f2_db=f2_db, bits_per_feature=limit, aim=Aim.WEIGHTS)
    tight, loose = _best(question).best, _best(replace(question, bits_per_feature=limit * more)).best
    assert tight is not None
    assert loose is not None
    assert loose.point.weights <= tight.point.weights * (1.0 + 1e-6)
    lossier = _best(replace(question, ledger=untrusted(loss + 0.1))).best
    brighter = _best(replace(question, f2_db=f2_db + 0.5)).best
    for worse in (lossier, brighter):
        assert worse is not None
        assert worse.point.weights >= tight.point.weights


@settings(max_examples=5)
@given(loss=losses, limit=st.floats(0.05, 1.0), more=st.floats(1.05, 3.0))
def test_looser_limits_allow_more_light(loss: float, limit: float, more: float) -> None:
    question = Question(ISOTROPIC, untrusted(loss), (FEED_FORWARD,), aim=Aim.ACCURACY, bits_per_weight=limit)
    tight, loose = _best(question).best, _best(replace(question, bits_per_weight=limit * more)).best
    assert tight is not None
    assert loose is not None
    assert tight.allowed
    assert loose.f2_db > tight.f2_db
    # the limit is used up
    assert tight.point.weights == pytest.approx(limit, rel=1e-3)


@pytest.mark.parametrize("uses", [1, 5])
@pytest.mark.parametrize("tested", [False, True])
def test_figures_are_the_bounds_of_a_run(uses: int, tested: bool) -> None:
    question = Question(
        UNEQUAL,
        bench(),
        (AMPLIFIER,),
        accuracy=0.9,
        aim=Aim.WEIGHTS,
        weight_uses=uses,
        data_uses=2,
        cross_use_tested=tested,
        last_layer_db=2.0,
    )
    best = _best(question).best
    assert best is not None
    point = best.point
    frames, setting, ledger = point.layers, point.setting, point.ledger
    assert frames[1].mu == pytest.approx(frames[0].mu * from_db(2.0))
    data = data_bound("labqdl", frames, setting, ledger, uses=2)
    assert data is not None
    assert point.data == pytest.approx(data.bits, rel=1e-14)
    # what a run's accountant charges for so many uses
    plan = VerificationPlan(counting_fraction=question.counting_fraction, cross_use=tested)
    frame = FrameDescription("x", frames, uses, uses, setting, ledger, plan, Budgets())
    light = [LayerLight(spectrum=spectrum) for spectrum in UNEQUAL.spectra]
    accountant = WeightsAccountant(frame, light)
    charged = [accountant.bits(layer, accountant.price(layer, 0, 0)) for layer in range(2)]
    assert point.layer_weights == pytest.approx(charged, rel=1e-12)
    if not tested or uses == 1:
        equal = weights_bound("labqdl", frames, setting, ledger, uses=uses)
        spectra = [spectrum or Spectrum.unknown() for spectrum in UNEQUAL.spectra]
        steered = anisotropic_bound(frames, spectra, setting, ledger, uses=uses)
        assert equal is not None
        assert point.weights_isotropic == equal.bits
        assert point.weights == steered.bits


def test_mean_over_all_weights_lets_the_last_layer_have_more_light() -> None:
    question = Question(ISOTROPIC, untrusted(0.3), (AMPLIFIER,), accuracy=0.9, aim=Aim.WEIGHTS, last_layer_db=None)
    largest = _best(question).best
    mean = _best(replace(question, judge=Judge.MEAN)).best
    assert largest is not None
    assert mean is not None
    assert mean.last_layer_db == 3.0
    assert mean.point.weights < largest.point.weights
    sizes = np.array([784.0, 10.0])
    assert mean.point.weights == pytest.approx(float(sizes @ mean.point.layer_weights) / 794)
    # and no split on a fine grid does better
    for split in np.linspace(-3.0, 3.0, 13).tolist():
        fixed = _best(replace(question, judge=Judge.MEAN, last_layer_db=split)).best
        assert fixed is not None
        assert fixed.point.weights >= mean.point.weights * (1.0 - 1e-9)


def test_a_build_keeps_its_floor_and_is_charged_for_its_gain() -> None:
    stage = Stage(TapKind.AMPLIFIER, find_build("edfa"))
    question = Question(ISOTROPIC, IDEAL, (stage,), f2_db=-5.0, bits_per_feature=0.01, aim=Aim.WEIGHTS)
    found = _best(question)
    assert found.best is not None
    assert not found.feasible
    point = found.best.point
    assert point.setting.amplifier_gain >= stage.build.least_gain * (1 - 1e-12) if stage.build else False
    assert point.data > point.data_ideal
    assert point.ledger.n_sp > 3.0


def test_phase_noise_that_no_light_overcomes() -> None:
    question = Question(ISOTROPIC, bench(phase=0.5), (AMPLIFIER,), f2_db=10.0, aim=Aim.WEIGHTS)
    assert _best(question).best is None


def test_trade_off_and_costs() -> None:
    question = Question(ISOTROPIC, bench(), (AMPLIFIER,), accuracy=0.9, aim=Aim.WEIGHTS)
    best = _best(question).best
    assert best is not None
    points = trade_off(question, best)
    assert points[0].weights == pytest.approx(best.point.weights, rel=1e-6)
    assert (np.diff([point.weights for point in points]) > 0).all()
    assert (np.diff([point.data for point in points]) < 0).all()
    assert points[-1].data == pytest.approx(points[0].data / 100, rel=0.01)
    costs = part_costs(question, best)
    assert costs[0].part in {"way out", "way back"}
    assert "receiver" not in {cost.part for cost in costs}
    assert all(cost.weights <= best.point.weights * (1 + 1e-9) for cost in costs)


def test_positions_at_the_edges_are_found() -> None:
    # Without loss and without a limit on the data, feed-forward leaks least somewhere inside; with one, at its edge.
    question = Question(ISOTROPIC, IDEAL, (FEED_FORWARD,), f2_db=-5.0, bits_per_feature=1e-6, aim=Aim.WEIGHTS)
    best = _best(question).best
    assert best is not None
    assert best.allowed
    assert best.point.data == pytest.approx(1e-6, rel=1e-5)
    assert float(logit(best.point.tapped)) < -9.0


@pytest.mark.parametrize(
    "change",
    [
        {"stages": ()},
        {"f2_db": None},
        {"accuracy": 0.9},
        {"aim": Aim.MARGIN},
        {"aim": Aim.ACCURACY, "f2_db": None},
        {"bits_per_weight": -1.0},
        {"weight_uses": 0},
        {"subject": replace(ISOTROPIC, curve=None), "last_layer_db": None},
    ],
    ids=["no-stage", "no-target", "two-targets", "margin", "no-limit", "negative", "no-use", "no-curve"],
)
def test_questions_without_sense(change: dict[str, object]) -> None:
    question = Question(ISOTROPIC, IDEAL, (AMPLIFIER,), f2_db=0.0, aim=Aim.WEIGHTS)
    with pytest.raises(ValueError, match=r"must|needs?|target|measured"):
        replace(question, **change)  # type: ignore[arg-type]
