from __future__ import annotations

import tracemalloc
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labqdl.dsp import Timing, integrate, window_gain
from labqdl.dsp.clock import sparse_sums
from labqdl.dsp.integrate import window_sums
from labqdl.facts.layout import FrameLayout
from tests.dsp.records import INTERVAL, light

LAYOUT = FrameLayout(4, 1, 3, 6.25e6, guard_rows=1, preamble_rows=2, pilot_every=0)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    start=st.floats(-2.0, 40.0),
    ppm=st.floats(-100.0, 100.0),
    per_bin=st.floats(2.1, 30.0),
    duty=st.floats(0.3, 1.0),
)
def test_every_bin_weighs_white_noise_exactly_alike(start: float, ppm: float, per_bin: float, duty: float) -> None:
    """The weights themselves, by a record for each sample: their squares add up to 1 in every bin at any fraction."""
    layout = FrameLayout(4, 1, 3, 6.25e6, duty=duty, guard_rows=1, preamble_rows=2, pilot_every=0)
    interval = layout.bin_time / per_bin
    timing = Timing.known(start * interval, interval, ppm)
    count = int(start + layout.bins * per_bin) + 4
    weights = np.array([integrate(one, timing, layout).ravel() for one in np.eye(count)]).T
    whole = np.isfinite(weights).all(axis=1)
    assert np.sum(weights[whole] ** 2, axis=1) == pytest.approx(1.0, abs=1e-9)
    assert np.sum(weights[whole], axis=1) == pytest.approx(window_gain(timing, layout).ravel()[whole], abs=1e-9)
    assert whole.sum() >= layout.bins - 1 - (start < 0) * 2 / per_bin


@settings(max_examples=20, deadline=None, derandomize=True)
@given(start=st.floats(0.0, 30.0), ppm=st.floats(-100.0, 100.0), per_bin=st.floats(3.0, 30.0), duty=st.floats(0.3, 1.0))
def test_light_comes_back_with_the_gain_that_is_stated(start: float, ppm: float, per_bin: float, duty: float) -> None:
    layout = FrameLayout(4, 1, 3, 6.25e6, duty=duty, guard_rows=1, preamble_rows=2, pilot_every=0)
    interval = layout.bin_time / per_bin
    generator = np.random.default_rng(int(1e6 * per_bin))
    symbols = generator.standard_normal((layout.total_rows, 4, 2)).view(np.complex128)[..., 0]
    record = light(symbols, layout, start=start * interval, ppm=ppm, interval=interval)
    timing = Timing.known(start * interval, interval, ppm)
    got = integrate(record, timing, layout) / window_gain(timing, layout)
    # A sample at either edge, weighted with its share a, holds 1 - a of what lies outside: dark, or the next pulse.
    error = (np.abs(symbols) + np.abs(symbols).max()) / (2 * duty * per_bin * 0.999)
    assert np.all(np.abs(got - symbols) <= error)
    flat = integrate(np.ones(record.size), timing, layout)
    assert flat == pytest.approx(window_gain(timing, layout), rel=1e-9)


def test_white_noise_keeps_its_variance_and_bins_are_independent() -> None:
    """2e5 bins, false-alarm rate 1e-7 each (5.33 standard errors); 5 % more variance would be 15."""
    layout = FrameLayout(32, 50, 125, 6.25e6, pilot_every=0)
    generator = np.random.default_rng(7)
    timing = Timing.known(3.37 * INTERVAL, INTERVAL, 20.0)
    record = 0.02 * generator.standard_normal(int(layout.bins * 10.001) + 10)
    bins = integrate(record, timing, layout).ravel() / 0.02
    error = np.sqrt(2 / bins.size)
    assert abs(np.mean(bins**2) - 1) < 5.33 * error
    assert abs(np.mean(bins[1:] * bins[:-1])) < 5.33 / np.sqrt(bins.size)
    assert 0.05 / error > 15


def test_bins_outside_of_the_record_are_not_numbers() -> None:
    record = np.ones(int(LAYOUT.bins * 10) - 25)
    early = integrate(record, Timing.known(-1.3 * LAYOUT.bin_time, INTERVAL), LAYOUT).ravel()
    assert np.isnan(early[:2]).all()
    assert np.isfinite(early[2:-3]).all()
    late = integrate(record, Timing.known(0.0, INTERVAL), LAYOUT).ravel()
    assert np.isnan(late[-3:]).all()
    assert np.isfinite(late[:-3]).all()
    assert np.isnan(integrate(record, Timing.known(1.0, INTERVAL), LAYOUT)).all()


def test_carry_is_the_last_bin_of_each_row_and_two_quadratures_are_two_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(3)
    z = generator.standard_normal((LAYOUT.bins * 10 + 40, 2)).view(np.complex128)[:, 0]
    timing = Timing.known(13.6 * INTERVAL, INTERVAL, -17.0)
    whole = integrate(z, timing, LAYOUT)
    assert np.allclose(integrate(z, timing, LAYOUT, carry_only=True), whole[:, -1], atol=1e-12)
    assert np.allclose(whole, integrate(z.real, timing, LAYOUT) + 1j * integrate(z.imag, timing, LAYOUT), atol=1e-12)
    monkeypatch.setattr(import_module("labqdl.dsp.integrate"), "_BLOCK", 5)
    assert np.allclose(integrate(z, timing, LAYOUT), whole, atol=1e-12)
    single = integrate(z.real.astype(np.float32), timing, LAYOUT)
    assert single.dtype == np.float64
    assert single == pytest.approx(whole.real, abs=1e-5)
    with pytest.raises(ValueError, match="one dimension"):
        integrate(z[:, None], timing, LAYOUT)


@given(seed=st.integers(0, 10**6), width=st.floats(0.1, 30.0))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_sums_over_few_windows_are_those_over_all(seed: int, width: float) -> None:
    generator = np.random.default_rng(seed)
    record = generator.standard_normal(400)
    begin = np.sort(generator.uniform(-5, 400, 30))
    assert sparse_sums(record, begin, begin + width) == pytest.approx(
        window_sums(record, begin, begin + width), abs=1e-11, nan_ok=True
    )


def test_memory_beyond_record_and_result_does_not_grow() -> None:
    layout = FrameLayout(32, 100, 100, 6.25e6)
    record = np.zeros(layout.bins * 10 + 10, np.float32)
    timing = Timing.known(0.0, INTERVAL)
    tracemalloc.start()
    try:
        result = integrate(record, timing, layout)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - result.nbytes - 8 * layout.bins < 40e6
