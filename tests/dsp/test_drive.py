from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labqdl.dsp import DspError, Timing, drive, integrate, phase_drive, window_gain
from labqdl.facts.layout import FrameLayout
from tests.dsp.records import light

SMALL = FrameLayout(4, 2, 3, 6.25e6, guard_rows=1, preamble_rows=3, pilot_every=2)


def symbols_of(layout: FrameLayout, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.complex128]]:
    generator = np.random.default_rng(seed)
    return generator.standard_normal((layout.total_rows, layout.n_modes, 2)).view(np.complex128)[..., 0]


@settings(max_examples=40, deadline=None)
@given(
    per_bin=st.floats(2.0, 40.0),
    duty=st.floats(0.2, 1.0),
    start=st.floats(0.0, 3e-6),
    seed=st.integers(0, 1000),
)
def test_samples_are_the_means_of_the_pulses(per_bin: float, duty: float, start: float, seed: int) -> None:
    """Against the integral of the pulse train that the tests compute on their own, at any rate, duty and start."""
    layout = FrameLayout(4, 2, 3, 6.25e6, duty=duty, guard_rows=1, preamble_rows=3, pilot_every=2)
    symbols = symbols_of(layout, seed)
    rate = per_bin * layout.bin_rate
    samples = drive(symbols, layout, rate, start=start)
    # Sample k is held from k to k + 1: the mean over the time around k + 1/2.
    expected = light(symbols, layout, start=start - 0.5 / rate, interval=1 / rate, count=samples.size)
    assert samples == pytest.approx(expected, abs=1e-9)
    assert abs(samples.size - (start + layout.duration) * rate) <= 1


def test_a_multiple_of_the_bin_rate_is_dark_between_pulses() -> None:
    samples = drive(SMALL.symbols(np.ones((2, 3, 4), np.complex128), 2.0), SMALL, 16 * SMALL.bin_rate)
    shape = samples.reshape(-1, 16)
    assert np.all(shape[:, :2] == 0)
    assert np.all(shape[:, 14:] == 0)
    assert np.all(shape[:, 2:14] == shape[:, 5:6])


def test_what_is_played_is_integrated_with_its_matched_filter() -> None:
    """Samples of the receiver in the middle of the generator's: every bin returns its symbol times one known gain."""
    symbols = symbols_of(SMALL, 5)
    rate = 10 * SMALL.bin_rate
    volts = drive(symbols, SMALL, rate)
    timing = Timing.known(-0.5 / rate, 1 / rate)
    expected = symbols * math.sqrt(6 + 2 * 0.75**2)
    assert integrate(volts, timing, SMALL) == pytest.approx(expected, rel=1e-9)
    # ... and no other window of unit noise catches more of the pulses' energy.
    assert np.sum(np.abs(volts) ** 2) == pytest.approx(np.sum(np.abs(expected) ** 2), rel=1e-9)
    assert window_gain(timing, SMALL)[0, 0] == pytest.approx(7.5 / math.sqrt(6 + 2 * 0.75**2))


def test_phase_pattern_changes_in_the_dark() -> None:
    phases = np.where(symbols_of(SMALL, 2).real > 0, math.pi / 2, 0.0)
    rate = 10.4 * SMALL.bin_rate
    pattern = phase_drive(phases, SMALL, rate, start=1e-7)
    played = drive(np.exp(1j * phases), SMALL, rate, start=1e-7)
    light_on = np.abs(played) > 0
    assert pattern.size == light_on.size
    assert np.angle(played[light_on]) == pytest.approx(pattern[light_on])


def test_shapes_rates_and_starts_that_do_not_fit() -> None:
    good = np.ones((SMALL.total_rows, SMALL.n_modes), np.complex128)
    with pytest.raises(DspError, match=r"1\.5 samples a bin at 6\.25e\+06 bins a second; expected at least 2"):
        drive(good, SMALL, 1.5 * SMALL.bin_rate)
    for function in (drive, phase_drive):
        with pytest.raises(ValueError, match="shape"):
            function(good[1:], SMALL, 1e8)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="negative"):
            function(good, SMALL, 1e8, start=-1e-9)  # type: ignore[arg-type]
