"""Random processes that are looked up: their laws, and that nobody's question changes an answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labqdl_sim.world.noise import CHUNK, Drift, White, Wiener
from tests.sim.world.parts import Real, deviates, empty

STRICT = 5.0
ROOT = empty().root


def test_white_noise_is_normal_and_new_in_every_chunk() -> None:
    values = White(ROOT, "white", 2).at(-10 * CHUNK, 40 * CHUNK)
    assert values.shape == (2, 40 * CHUNK)
    assert abs(values.mean()) < STRICT / math.sqrt(values.size)
    assert deviates(float(values.var()), 1.0, math.sqrt(2.0 / values.size)) < STRICT
    assert abs(np.mean(values[0] * values[1])) < STRICT / math.sqrt(40 * CHUNK)
    for lag in (1, 7, CHUNK, 10 * CHUNK):
        assert abs(np.mean(values[:, lag:] * values[:, :-lag])) < STRICT / math.sqrt(values[:, lag:].size)


@settings(max_examples=40, deadline=None)
@given(st.integers(-3 * CHUNK, 3 * CHUNK), st.integers(1, 2 * CHUNK), st.integers(0, CHUNK))
def test_a_piece_of_white_noise_is_a_piece_of_the_whole(first: int, count: int, skipped: int) -> None:
    whole = White(ROOT, "pieces", 2).at(-4 * CHUNK, 12 * CHUNK)
    piece = White(ROOT, "pieces", 2).at(first + skipped, count)
    start = first + skipped + 4 * CHUNK
    np.testing.assert_array_equal(piece, whole[:, start : start + count])


def test_purposes_do_not_share_numbers() -> None:
    one, other = (White(ROOT, name).at(0, 20_000)[0] for name in ("one", "other"))
    assert abs(np.mean(one * other)) < STRICT / math.sqrt(20_000)


@pytest.mark.parametrize("lag", [1.0, 3.5, 3 * CHUNK + 0.25])
def test_steps_of_a_wiener_process(lag: float) -> None:
    """Variance of a step of s seconds is s; between points of the raster the path is straight."""
    step = 1e-6
    begin = 20.0 + np.arange(600) * max(2 * lag, 2 * CHUNK) * step * 1.37
    instants = np.sort(np.concatenate([begin, begin + lag * step]))
    wiener = Wiener(ROOT, "wiener", step)
    path = np.array([wiener.at(instants[k : k + 2]) for k in range(0, instants.size, 2)])
    steps = path[:, 1] - path[:, 0]
    position = begin / step - np.floor(begin / step)
    # Of a straight path between points: what two fractions a and b leave of the two ends.
    expected = float(np.mean([_variance(float(place), lag) for place in position])) * step
    assert deviates(float(np.mean(steps**2)), expected, math.sqrt(2.0 / steps.size)) < STRICT
    assert abs(np.mean(steps[1:] * steps[:-1])) < STRICT * expected / math.sqrt(steps.size)


def test_ends_of_chunks_are_a_wiener_process() -> None:
    """In units of a chunk's variance, over 8000 chunks: single steps, steps of 64, and no memory."""
    wiener = Wiener(ROOT, "ends", 1e-6)
    ends = np.array([wiener._node(0, index) for index in range(8001)])
    steps = np.diff(ends)
    assert deviates(float(np.mean(steps**2)), 1.0, math.sqrt(2.0 / steps.size)) < STRICT
    assert abs(np.mean(steps[1:] * steps[:-1])) < STRICT / math.sqrt(steps.size)
    coarse = np.diff(ends[::64])
    assert deviates(float(np.mean(coarse**2)), 64.0, math.sqrt(2.0 / coarse.size)) < STRICT


def _variance(place: float, lag: float) -> float:
    """Of a step of a path that is straight between whole numbers, from a place in [0, 1) on: sum of squared shares."""
    end = place + lag
    whole = math.floor(end)
    if whole == 0:
        return lag**2
    return (1.0 - place) ** 2 + (whole - 1) + (end - whole) ** 2


def test_a_wiener_process_is_one_path_whoever_asks_first() -> None:
    step = 8e-9
    instants = 5.0 + np.arange(3 * CHUNK, dtype=np.float64) * step
    late, early = Wiener(ROOT, "path", step), Wiener(ROOT, "path", step)
    early.at(np.array([0.1]))
    whole = early.at(instants)
    for begin in (2 * CHUNK, 17, CHUNK - 1):
        np.testing.assert_allclose(late.at(instants[begin : begin + 9]), whole[begin : begin + 9], rtol=0, atol=1e-12)
    # No jump where chunks meet: no step beyond 6 standard deviations.
    assert np.abs(np.diff(whole)).max() < 6.0 * math.sqrt(step)


def test_a_wiener_process_begins_at_nothing() -> None:
    wiener = Wiener(ROOT, "begin", 1e-6)
    assert wiener.at(np.array([-1.0, 0.0])).tolist() == [0.0, 0.0]
    assert wiener.at(np.zeros(0)).size == 0


@pytest.mark.parametrize("lag", [0.0, 1.0, 3.0])
def test_drift_forgets_exponentially(lag: float) -> None:
    drift = Drift(ROOT, "drift", 1.0)
    instants: Real = np.arange(8000, dtype=np.float64) * 12.0
    here, there = drift.at(instants), drift.at(instants + lag)
    error = math.sqrt((1.0 + math.exp(-2 * lag)) / instants.size)
    assert abs(np.mean(here * there) - math.exp(-lag)) < STRICT * error


def test_drift_has_the_memory_that_it_says() -> None:
    """Its weights alone, without chance: their correlation over k tenths of the time is e^(-k/10)."""
    weights = Drift(ROOT, "memory", 1.0)._weights
    for tenths in (0, 1, 10, 30):
        kept = float(np.sum(weights[tenths:] * weights[: weights.size - tenths]))
        assert kept == pytest.approx(math.exp(-tenths / 10), abs=1e-4)


def test_drift_is_the_same_from_another_beginning() -> None:
    drift = Drift(ROOT, "drift", 2.0)
    instants: Real = np.linspace(-30.0, 30.0, 500)
    whole = drift.at(instants)
    again = Drift(ROOT, "drift", 2.0)
    np.testing.assert_allclose(
        [again.at(instants[k : k + 1])[0] for k in (499, 3, 250)], whole[[499, 3, 250]], atol=1e-12
    )
