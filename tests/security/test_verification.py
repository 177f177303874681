from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from labqdl.facts import Budgets, FrameDescription, Ledger, Reason, ReturnedLight, VerdictKind
from labqdl.security.expected import LayerLight, layer_light
from labqdl.security.finite import THE_TAP
from labqdl.security.verification import Verifier
from tests.security.light import IDEAL, Returned, draw, isotropic, make_frame, make_light

SHAPES = ((16, 16), (10, 16))
IMAGES, BLOCK = 40, 8
WIDE = Budgets(bits_per_weight=4.0, bits_per_feature=4.0)


def session(
    budgets: Budgets = WIDE,
    *,
    alpha: float = 1e-6,
    gain_error: float = 0.0,
    noise_error: float = 0.0,
    extra: float = 0.0,
) -> tuple[FrameDescription, list[LayerLight], list[Returned]]:
    """A frame, and the light of both layers from one seed; false alarms of the verdict at 1e-6."""
    generator = np.random.default_rng(1)
    frame = make_frame(shapes=SHAPES, images=IMAGES, block=BLOCK, budgets=budgets, alpha=alpha)
    lights, drawn = [], []
    for rows, features in SHAPES:
        q = make_light(generator, rows, features // 2, 4.0)
        lights.append(layer_light(q))
        x = isotropic(generator, IMAGES, features // 2)
        drawn.append(
            draw(
                generator,
                IDEAL,
                q,
                x,
                counted=np.arange(rows) % 4 == 0,
                gain_error=gain_error,
                noise_error=noise_error,
                extra=extra,
            )
        )
    return frame, lights, drawn


def block_of(drawn: list[Returned], layer: int, block: int) -> ReturnedLight:
    return ReturnedLight(drawn[layer].statistics(slice(block * BLOCK, (block + 1) * BLOCK)))


def keys() -> list[tuple[int, int]]:
    return [(layer, block) for block in range(IMAGES // BLOCK) for layer in range(2)]


def run(
    frame: FrameDescription, lights: list[LayerLight] | None, drawn: list[Returned], order: list[tuple[int, int]]
) -> Verifier:
    verifier = Verifier(frame, lights)
    for layer, block in order:
        assert verifier.add(layer, block, block_of(drawn, layer, block))
    return verifier


def test_an_honest_session_within_budget_is_accepted() -> None:
    frame, lights, drawn = session()
    verifier = run(frame, lights, drawn, keys())
    verdict = verifier.verdict()
    assert verdict.kind is VerdictKind.ACCEPT
    assert verdict.reason is Reason.ACCEPTED
    assert verdict.certificate is not None
    assert verdict.certificate.passed
    assert verdict.certificate.limited_by is None
    assert len(verdict.consistency.tests) == 12
    assert "engine labqdl" in verdict.explanation
    assert "no cumulative budget agreed" in verdict.explanation
    assert f"{verifier.samples:,} symbols" in verdict.explanation
    equal, _, single, cumulative = verifier.bounds()
    assert single.engine == verdict.certificate.engine == "labqdl-anisotropic"
    assert single.bits == verdict.certificate.bits_per_weight >= equal.bits
    assert cumulative.uses == IMAGES
    json.dumps(verdict.to_json())
    assert verifier.log10_abort > -math.log10(frame.plan.alpha)
    seen = 0
    for test in verifier.consistency().tests:
        if (edges := verifier.accepted(test)) is not None:
            assert edges[0] < test.statistic < edges[1]
            seen += 1
    assert seen >= 3


def test_without_knowledge_of_the_weights_the_worst_case_is_assumed() -> None:
    frame, lights, drawn = session()
    known, unknown = run(frame, lights, drawn, keys()), run(frame, None, drawn, keys())
    assert unknown.verdict().kind is VerdictKind.ACCEPT
    first, second = known.limits(), unknown.limits()
    assert first is not None
    assert second is not None
    assert second.transmissivity <= first.transmissivity


@pytest.mark.parametrize(("gain", "noise", "extra"), [(-0.15, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.5)])
def test_a_cheat_is_caught_at_the_end_and_while_running(gain: float, noise: float, extra: float) -> None:
    frame, lights, drawn = session(gain_error=gain, noise_error=noise, extra=extra)
    verifier = run(frame, lights, drawn, keys())
    assert not verifier.running().passed
    assert verifier.running().tests == ()
    verdict = verifier.verdict()
    assert verdict.kind is VerdictKind.ABORT
    assert verdict.reason is Reason.INCONSISTENT
    assert "does not agree with the ledger" in verdict.explanation
    assert "e-value 10^" in verdict.explanation
    failed = [test.name for test in verdict.consistency.tests if not test.passed]
    assert {name for name in failed if "," in name}
    words = verdict.explanation
    for name in {name.split(",")[0] for name in failed}:  # each test once, its layers by name
        assert words.count(f" {name}: ") + words.count(f" {name}, layer") == 1
    for name in failed:
        assert name.partition(", ")[2] in words


def test_a_weak_cheat_can_fail_a_test_before_the_e_process_is_sure() -> None:
    frame, lights, drawn = session(gain_error=-0.04)
    verifier = run(frame, lights, drawn, keys())
    assert verifier.running().passed
    verdict = verifier.verdict()
    assert verdict.kind is VerdictKind.ABORT
    assert "e-value" not in verdict.explanation
    assert "gain: 0.96" in verdict.explanation


def test_too_few_symbols_leave_it_undecided_and_say_how_many_more() -> None:
    frame, lights, drawn = session(Budgets(bits_per_weight=0.7, bits_per_feature=4.0))
    verdict = run(frame, lights, drawn, keys()).verdict()
    assert verdict.kind is VerdictKind.UNDECIDED
    assert verdict.reason is Reason.SAMPLES
    certificate = verdict.certificate
    assert certificate is not None
    assert certificate.failing == ("bits_per_weight",)
    assert certificate.more_symbols is not None
    assert certificate.more_symbols > 0
    assert certificate.limited_by == THE_TAP
    assert f"{certificate.more_symbols:,} further symbols" in verdict.explanation


def test_a_budget_that_no_symbols_can_meet_names_the_part_to_blame() -> None:
    frame, lights, drawn = session(Budgets(bits_per_weight=0.1, bits_per_feature=0.1))
    verdict = run(frame, lights, drawn, keys()).verdict()
    assert verdict.reason is Reason.BUDGET
    certificate = verdict.certificate
    assert certificate is not None
    assert certificate.failing == ("bits_per_weight", "bits_per_feature")
    assert certificate.more_symbols is None
    assert "No number of further symbols cures that" in verdict.explanation
    only_data, _, _ = session(Budgets(bits_per_weight=4.0, bits_per_feature=0.1))
    data = run(only_data, lights, drawn, keys()).verdict()
    assert data.reason is Reason.BUDGET
    assert data.certificate is not None
    assert data.certificate.failing == ("bits_per_feature",)


def test_cumulative_budgets_are_judged_where_agreed() -> None:
    budgets = replace(WIDE, cumulative_bits_per_weight=0.5, cumulative_bits_per_feature=1e-3)
    frame, lights, drawn = session(budgets)
    verdict = run(frame, lights, drawn, keys()).verdict()
    assert verdict.certificate is not None
    assert verdict.certificate.failing == ("cumulative_bits_per_weight", "cumulative_bits_per_feature")
    assert "cumulative bits per weight 0.5" in verdict.explanation
    assert "no cumulative budget agreed" not in verdict.explanation


def test_nothing_measured_is_undecided() -> None:
    frame, lights, _ = session()
    verifier = Verifier(frame, lights)
    assert verifier.certificate() is None
    assert verifier.bounds() == ()
    verdict = verifier.verdict()
    assert (verdict.kind, verdict.reason) == (VerdictKind.UNDECIDED, Reason.SAMPLES)
    assert verdict.certificate is None
    assert verdict.consistency.passed


def test_order_and_resuming_do_not_change_a_bit() -> None:
    frame, lights, drawn = session()
    reference = run(frame, lights, drawn, keys())
    order = keys()
    np.random.default_rng(9).shuffle(order)
    assert run(frame, lights, drawn, order).verdict() == reference.verdict()

    half = run(frame, lights, drawn, keys()[:5])
    resumed = run(frame, lights, drawn, keys()[:5])
    assert resumed.running() == half.running()
    for layer, block in keys()[5:]:
        resumed.add(layer, block, block_of(drawn, layer, block))
    assert resumed.verdict() == reference.verdict()
    assert resumed.state_dict() == reference.state_dict() == json.loads(json.dumps(reference.state_dict()))
    assert half.state_dict() != reference.state_dict()


def test_a_gap_in_the_order_is_judged_as_if_it_had_not_been() -> None:
    frame, lights, drawn = session()
    late = run(frame, lights, drawn, [*keys()[1:3], keys()[0]])
    in_time = run(frame, lights, drawn, keys()[:3])
    assert late.running() == in_time.running()
    layer, block = keys()[3]
    for verifier in (late, in_time):
        verifier.add(layer, block, block_of(drawn, layer, block))
    assert late.running() == in_time.running()


def test_the_largest_evidence_of_any_moment_counts_in_whatever_order_blocks_arrive() -> None:
    frame, lights, drawn = session()
    _, _, loud = session(noise_error=0.3)
    parts = [(key, block_of(loud if key[1] == 1 else drawn, *key)) for key in keys()]

    def watch(order: list[int]) -> Verifier:
        verifier = Verifier(frame, lights)
        for index in order:
            (layer, block), light = parts[index]
            verifier.add(layer, block, light)
        return verifier

    in_time = watch(list(range(len(parts))))
    # What was found after the second block fades under honest light, and is not forgotten.
    assert in_time.evidence().log10_largest > in_time.evidence().log10_now + 1
    assert in_time.running().log10_e_value == in_time.evidence().log10_largest
    assert in_time.consistency().log10_e_value == in_time.evidence().log10_largest
    late = watch([*range(4, len(parts)), *range(4)])
    assert late.running() == in_time.running()


def test_the_same_block_twice_counts_once_and_must_agree() -> None:
    frame, lights, drawn = session()
    verifier = run(frame, lights, drawn, keys()[:2])
    before = verifier.state_dict()
    assert not verifier.add(0, 0, block_of(drawn, 0, 0))
    assert verifier.state_dict() == before
    assert verifier.blocks == ((0, 0), (1, 0))
    with pytest.raises(ValueError, match="reported before with other figures"):
        verifier.add(0, 0, block_of(drawn, 0, 1))


def test_statistics_that_do_not_fit_are_refused() -> None:
    frame, lights, drawn = session()
    verifier = Verifier(frame, lights)
    good = block_of(drawn, 0, 0)
    with pytest.raises(IndexError, match="layer 2 of 2"):
        verifier.add(2, 0, good)
    with pytest.raises(IndexError, match="block 9"):
        verifier.add(0, 9, good)
    with pytest.raises(ValueError, match="the frame has 10 and 8"):
        verifier.add(1, 0, good)
    with pytest.raises(ValueError, match="not finite"):
        verifier.add(0, 0, ReturnedLight(replace(good.statistics, sum_rr=np.full(16, np.nan))))


def test_the_ledger_of_the_frame_decides_what_is_honest() -> None:
    frame, lights, drawn = session()
    other = replace(
        frame,
        ledger=Ledger("other", frame.ledger.components),
        tap=replace(frame.tap, amplifier_gain=30.0, tap_transmissivity=1 / 30),
    )
    assert run(other, lights, drawn, keys()).verdict().kind is VerdictKind.ABORT


def test_the_e_process_has_half_of_alpha() -> None:
    frame, lights, drawn = session()
    verifier = run(frame, lights, drawn, keys())
    honest = verifier.evidence()
    for log10, passed in ((6.2, True), (6.31, False)):  # 1/alpha = 10^6, 2/alpha = 10^6.301
        verifier._evidence = replace(honest, log10_largest=log10)
        assert verifier.running().passed is passed
        consistency = verifier.consistency()
        assert all(test.passed for test in consistency.tests)
        assert consistency.passed is passed


def test_a_cumulative_budget_is_compared_with_all_uses() -> None:
    frame, lights, drawn = session()
    figures = {bound.uses: bound.bits for bound in run(frame, lights, drawn, keys()).bounds()}
    one, many = figures[1], figures[IMAGES]
    assert one < 0.9 * many
    for budget, failing in ((1.01 * many, ()), (0.99 * many, ("cumulative_bits_per_weight",))):
        budgets = replace(WIDE, cumulative_bits_per_weight=budget)
        certificate = run(session(budgets)[0], lights, drawn, keys()).certificate()
        assert certificate is not None
        assert certificate.failing == failing
