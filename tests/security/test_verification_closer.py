"""The verifier with sums over uses and sampled images: order, restoring, refusals, and what the verdict says."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.facts import FrameDescription, ReturnedLight, TestResult, VerdictKind
from labqdl.optics.client_law import honest
from labqdl.optics.law import LinkLaw
from labqdl.optics.sampler import sample_statistics
from labqdl.security.expected import LayerLight, layer_light
from labqdl.security.verification import Verifier
from tests.security.light import IDEAL, isotropic, make_frame, make_light
from tests.security.test_cross_use import streams

SHAPES = ((24, 32), (10, 24))
IMAGES, BLOCK = 40, 8
Block = tuple[ReturnedLight, NDArray[np.bool_]]


@cache
def session(spread: float = 0.0) -> tuple[FrameDescription, tuple[LayerLight, ...], dict[tuple[int, int], Block]]:
    """Frame, light and returned blocks of one seed; `spread`: variance of an error that repeats in every use."""
    generator = np.random.default_rng(1)
    frame = make_frame(shapes=SHAPES, images=IMAGES, block=BLOCK)
    link = LinkLaw.from_ledger(IDEAL, honest(IDEAL, frame.tap))
    lights, blocks = [], {}
    for layer, (rows, features) in enumerate(SHAPES):
        q = make_light(generator, rows, features // 2, 4.0)
        lights.append(layer_light(q))
        offset = generator.normal(scale=math.sqrt(spread), size=q.shape)
        for block in range(IMAGES // BLOCK):
            pattern, counted = generator.random(features // 2) < 0.5, generator.random(rows) < 0.25
            x = isotropic(generator, BLOCK, features // 2)
            _, light = sample_statistics(
                *(link, q, x, pattern, counted, streams(layer, block)),
                use_sums=True,
                sampled=np.array([block]),
                offset=offset if spread else None,
            )
            blocks[(layer, block)] = light, pattern
    return frame, tuple(lights), blocks


def keys() -> list[tuple[int, int]]:
    return [(layer, block) for block in range(IMAGES // BLOCK) for layer in range(2)]


def run(order: list[tuple[int, int]], spread: float = 0.0) -> Verifier:
    frame, lights, blocks = session(spread)
    verifier = Verifier(frame, lights)
    for key in order:
        assert verifier.add(*key, *blocks[key])
    return verifier


def test_all_tests_are_run_on_an_honest_session() -> None:
    verdict = run(keys()).verdict()
    assert verdict.consistency.passed
    names = [test.name for test in verdict.consistency.tests]
    base = ["gain", "noise", "phase", "count", "cross-use", "direction", "spectral"]
    assert names == base + [f"{name}, layer {layer}" for layer in (1, 2) for name in base]
    assert math.fsum(test.threshold for test in verdict.consistency.tests) == pytest.approx(0.5e-6)


def test_the_order_of_blocks_changes_no_bit() -> None:
    reference = run(keys())
    order = keys()
    np.random.default_rng(2).shuffle(order)
    other = run(order)
    assert other.verdict() == reference.verdict()
    assert other.cross_use() == reference.cross_use()
    assert other.sampled() == reference.sampled()
    assert other.state_dict() == reference.state_dict()
    json.dumps(reference.state_dict())


def test_the_state_shows_every_residual_that_was_kept() -> None:
    frame, lights, blocks = session()
    light, pattern = blocks[(0, 0)]
    assert light.use_sums is not None
    assert light.sample is not None
    sums, residuals = light.use_sums.sums.copy(), light.sample.residuals.copy()
    sums[0, 0] += 1e-3
    residuals[0, 0, 0] += 1e-3
    states = []
    for changed in (
        light,
        replace(light, use_sums=replace(light.use_sums, sums=sums)),
        replace(light, sample=replace(light.sample, residuals=residuals)),
        replace(light, sample=None),
        replace(light, use_sums=None, sample=None),
    ):
        verifier = Verifier(frame, lights)
        verifier.add(0, 0, changed, pattern)
        states.append(json.dumps(verifier.state_dict(), sort_keys=True))
        assert not verifier.add(0, 0, changed, pattern)
        for other in (light, replace(light, use_sums=None)):
            if other is not changed:
                with pytest.raises(ValueError, match="reported before with other figures"):
                    verifier.add(0, 0, other, pattern)
    assert len(set(states)) == len(states)


def test_sums_over_uses_count_only_where_every_block_has_them() -> None:
    frame, lights, blocks = session()
    verifier = Verifier(frame, lights)
    assert verifier.cross_use() is None
    verifier.add(0, 0, *blocks[(0, 0)])
    uses = verifier.cross_use()
    assert uses is not None
    assert uses[0].images == BLOCK
    assert uses[1].weights == 0
    light, pattern = blocks[(1, 0)]
    verifier.add(1, 0, replace(light, use_sums=None), pattern)
    assert verifier.cross_use() is None
    assert "cross-use" not in {test.name for test in verifier.consistency().tests}


def test_blocks_of_which_nothing_was_measured_lack_nothing() -> None:
    frame, lights, blocks = session()
    verifier = run(keys()[:2])
    light, _ = blocks[(0, 1)]
    dark = {
        name: np.zeros_like(getattr(light.statistics, name))
        for name in ("counted", "sum_qq", "sum_qr", "sum_rr", "sum_jj", "sum_jr", "residuals", "photons", "slots")
    }
    zeros = np.zeros(light.statistics.counted.size)
    verifier.add(0, 1, ReturnedLight(replace(light.statistics, **dark, expected_photons_signal=zeros)))
    assert verifier.cross_use() is not None
    assert frame.n_blocks == 5
    assert len(lights) == 2


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    frame, lights, blocks = session()
    light, pattern = blocks[(0, 0)]
    assert light.use_sums is not None
    assert light.sample is not None
    verifier = Verifier(frame, lights)
    with pytest.raises(ValueError, match="need the pattern"):
        verifier.add(0, 0, light)
    with pytest.raises(ValueError, match="sums over 7 uses, expected 8"):
        verifier.add(0, 0, replace(light, use_sums=replace(light.use_sums, images=7)), pattern)
    few = replace(light.sample, rows=light.sample.rows[1:], residuals=light.sample.residuals[:, 1:])
    with pytest.raises(ValueError, match="sampled rows do not fit"):
        verifier.add(0, 0, replace(light, sample=few), pattern)
    wild = np.full_like(light.use_sums.sums, np.nan)
    with pytest.raises(ValueError, match="beyond any receiver"):
        verifier.add(0, 0, replace(light, use_sums=replace(light.use_sums, sums=wild)), pattern)
    assert verifier.blocks == ()
    assert verifier.add(0, 0, light, pattern)
    assert verifier.cross_use() == run(keys()[:1]).cross_use()


def test_an_error_that_repeats_is_named_in_the_verdict() -> None:
    verifier = run(keys(), spread=0.4)
    verdict = verifier.verdict()
    assert verdict.kind is VerdictKind.ABORT
    assert "cross-use" in verdict.explanation
    assert "SNU per weight" in verdict.explanation


def test_without_knowledge_of_the_weights_there_is_no_direction_to_test() -> None:
    frame, _, blocks = session()
    verifier = Verifier(frame)
    verifier.add(0, 0, *blocks[(0, 0)])
    names = {test.name for test in verifier.consistency().tests}
    assert "spectral" in names
    assert "direction" not in names


def test_no_p_value_is_printed_as_nothing() -> None:
    certain = TestResult("gain", 0.5, 1.0, "of the expected amplitude", -80.0, 0.0, 1e-7, 100)
    assert certain.p_text == "p below 1e-300"
    assert replace(certain, p_value=2.5e-9).p_text == "p = 2.5e-09"
    assert not certain.passed
