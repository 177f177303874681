"""Subject and peer of the benchmarks do comparable work: shapes, and the same law of what they compute."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from benchmarks import depths, dsp, passes, scaling, simulators, torch_peer, world
from benchmarks.harness import Figure, Note, Options, Ratio
from benchmarks.workload import BLOCK, between, digits, over_blocks
from labqdl.optics.sampler import sample_outcomes


def test_outcomes_of_subject_and_peer_have_one_law() -> None:
    """Mean and variance over 64 images x 784 rows; both bands are 6 standard errors."""
    work = digits()
    layer, vectors = work.layers[0], work.images[:64]
    clean = np.float32(work.law.outcome_gain) * (vectors @ layer.rows.T)
    noise = sample_outcomes(work.law, layer.columns, vectors, work.streams(0, 0)) - clean
    sigma = math.sqrt(work.law.outcome_variance)
    assert abs(float(noise.mean())) < 6 * sigma / math.sqrt(noise.size)
    assert abs(float(noise.var()) / sigma**2 - 1) < 6 * math.sqrt(2 / noise.size)


def test_unit_vectors_between_layers_are_contiguous_whatever_the_order_of_outcomes() -> None:
    work = digits()
    outcomes = np.asfortranarray(work.images[:8] @ work.layers[0].rows.T)
    hidden = between(work.layers[0], outcomes, work.layers[1])
    assert hidden.shape == (8, 784)
    assert hidden.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(hidden, axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_every_block_is_worked_on_once(threads: int) -> None:
    seen: list[int] = []
    over_blocks(lambda index, vectors: seen.append(index), digits().blocks(10 * BLOCK), threads)
    assert sorted(seen) == list(range(10))


def test_errors_of_a_thread_are_not_lost() -> None:
    def fail(index: int, vectors: object) -> None:
        raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        over_blocks(fail, digits().blocks(128), 2)


def test_passes_run_and_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "cores", lambda: 1)
    results = list(passes.measure(Options(repeats=1, scale=1e-9)))
    ratios = [result for result in results if isinstance(result, Ratio)]
    assert {ratio.target for ratio in ratios} >= {1.2, 1.5, 3.0}
    assert all(ratio.ratio.median > 0 for ratio in ratios)


def test_every_depth_is_measured_against_its_floor() -> None:
    results = list(depths.measure(Options(repeats=1, scale=1e-9)))
    assert [result.case for result in results if isinstance(result, Ratio)] == [
        f"{depth.name}, {where}" for where in ("ideal link", "metro-10km, with phase noise") for depth in depths.DEPTHS
    ]


def test_floors_count_what_the_depths_draw() -> None:
    layer = digits().layers[0]
    homodyned = int((~layer.counted).sum())
    outcomes, statistics, uses, plan, every = depths.DEPTHS
    assert outcomes.normals(layer, 250, phases=False) == 784 * 250
    assert statistics.normals(layer, 250, phases=False) == 784 * 250 + homodyned * 503
    assert uses.normals(layer, 250, phases=False) == 784 * 250 + homodyned * (500 + 392)
    assert plan.kept(250) == 1
    assert plan.normals(layer, 250, phases=True) == 4 * 784 * 250 + homodyned * (500 + 2 * 392)
    assert every.normals(layer, 32, phases=False) == 784 * 32 + homodyned * 32 * 392
    assert sum(a * b * c for a, b, c in uses.products(layer, 250, phases=False)) == (784 + homodyned) * 784 * 250


def test_generators_are_all_measured() -> None:
    results = list(passes.measure_generators(Options(repeats=1, scale=1e-9)))
    assert sum(isinstance(result, Figure) for result in results) == 2 * len(passes.GENERATORS)


def test_scaling_covers_depths_and_sizes() -> None:
    found = [result.case for result in scaling.measure(Options(repeats=1, scale=0.01)) if isinstance(result, Figure)]
    assert found == [f"{depth} over {axis}" for depth in scaling.DEPTHS for axis in ("rows", "modes", "images")]


def test_the_world_is_measured_against_its_random_numbers() -> None:
    ratio, *figures = world.measure_pull(Options(repeats=1, scale=1e-9))
    assert isinstance(ratio, Ratio)
    assert ratio.ratio.median > 1.0
    assert [figure.case for figure in figures if isinstance(figure, Figure)] == [
        "points a second",
        "the same in normals",
        "loop-32, points a second",
    ]


@pytest.mark.parametrize(("package", "measure"), [("torch", torch_peer.measure), ("piquasso", simulators.measure)])
def test_peers_that_are_missing_are_notes(package: str, measure: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert callable(measure)
    results = list(measure(Options(repeats=1, scale=0.01)))
    assert len(results) == 1
    assert isinstance(results[0], Note)
    assert results[0].text == f"not installed: pip install {package}"


def test_a_small_shot_is_processed_in_a_process_of_its_own() -> None:
    """Values agree with what was sent; figures of a small shot have no target."""
    results = list(dsp.DSP.measure(Options(repeats=1, scale=0.02)))
    figures = [result for result in results if isinstance(result, Figure)]
    assert len(figures) >= 1 + len(dsp.STEPS)
    assert figures[0].case == "20,000 symbols, 10 samples each, from record to values"
    assert "correlation with what was sent 0.9" in figures[0].note
    assert all(figure.verdict == "" for figure in figures)
