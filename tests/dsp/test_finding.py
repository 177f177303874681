"""A shot found in records where known software fails: own clocks, fractional delays, cut records, dim light.

Bounds on errors are 6 standard deviations as the fit states them (1e-9 a number), plus a hundredth of a sample.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import lfilter

from labqdl.dsp import DspError, Timing, find_shot, integrate, known_symbols, window_gain
from labqdl.facts.layout import FrameLayout, RowKind
from tests.dsp.records import INTERVAL, gaussian_data, shot

SHORT = FrameLayout(32, 1, 36, 6.25e6)


def assert_right(found: Timing, start: float, ppm: float, layout: FrameLayout) -> None:
    interval = found.interval
    assert abs(found.start - start) < 6 * found.start_std + 0.02 * interval
    assert abs(found.clock_ppm - ppm) < 6 * found.clock_std + 0.05
    # What integration needs: windows at the end of the shot lie where the light is.
    end = found.start - start + 1e-6 * (found.clock_ppm - ppm) * layout.duration
    assert abs(end) < 0.3 * layout.duty * layout.bin_time


@settings(max_examples=15, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    n_modes=st.sampled_from([1, 3, 16]),
    ppm=st.floats(-30.0, 30.0),
    start=st.floats(0.0, 300.0),
    per_bin=st.floats(4.0, 21.0),
    duty=st.sampled_from([0.5, 0.75, 1.0]),
    snr=st.floats(30.0, 3e4),
    real=st.booleans(),
    phase=st.floats(-3.14, 3.14),
    offset=st.floats(-30.0, 30.0),
    linewidth=st.sampled_from([0.0, 0.0, 100.0]),
    rows=st.integers(1, 50),
    guard_rows=st.integers(0, 3),
    pilot_every=st.sampled_from([0, 5, 16]),
    seed=st.integers(0, 10**6),
)
def test_found_at_any_clock_delay_rate_and_electronics(
    n_modes: int,
    ppm: float,
    start: float,
    per_bin: float,
    duty: float,
    snr: float,
    real: bool,
    phase: float,
    offset: float,
    linewidth: float,
    rows: int,
    guard_rows: int,
    pilot_every: int,
    seed: int,
) -> None:
    layout = FrameLayout(
        n_modes, 1, rows, 6.25e6, duty=duty, guard_rows=guard_rows, preamble_rows=37, pilot_every=pilot_every
    )
    generator = np.random.default_rng(seed)
    interval = layout.bin_time / per_bin
    gain = 0.013 * np.exp(1j * phase)
    record = shot(
        gaussian_data(layout, generator),
        layout,
        generator,
        start=start * interval,
        ppm=ppm,
        snr=snr,
        real=real,
        amplitude=gain,
        offset=0.013 * offset,
        linewidth=linewidth,
        interval=interval,
    )
    found = find_shot(record, interval, None, layout)
    assert_right(found, start * interval, ppm, layout)
    if linewidth == 0:
        # Samples at the edges of a window are half dark, and the rest is noise.
        assert abs(found.amplitude / gain - 1) < 0.15 + 0.5 / (duty * per_bin)
        assert abs(found.offset - 0.013 * offset) < 0.013
    assert found.quality > 10
    assert found.false_alarm < 1e-9


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("carry", [True, False])
def test_stated_standard_deviations_are_those_of_the_errors(real: bool, carry: bool) -> None:
    """Pulls over 24 shots: mean square within [0.1, 3.3] and mean below 1.1, each missed with probability < 1e-7.

    (Chi-square and normal quantiles for width 1. The prior of the clock, 20 ppm, is where true clocks are drawn.)
    """
    generator = np.random.default_rng(11)
    layout = FrameLayout(8, 1, 40, 6.25e6)
    pulls = []
    for _ in range(24):
        start, ppm = generator.uniform(0, 60) * INTERVAL, 20 * generator.standard_normal()
        symbols = gaussian_data(layout, generator)
        if carry:
            symbols[:, :-1] = 0
        record = shot(symbols, layout, generator, start=start, ppm=ppm, snr=60.0, real=real, amplitude=0.6 + 0.8j)
        found = find_shot(record, INTERVAL, None, layout, carry_only=carry)
        pulls.append([(found.start - start) / found.start_std, (found.clock_ppm - ppm) / found.clock_std])
    squares, means = np.mean(np.square(pulls), axis=0), np.mean(pulls, axis=0)
    assert np.all(squares > 0.1)
    assert np.all(squares < 3.3)
    assert np.all(np.abs(means) < 1.1)


@pytest.mark.parametrize("ppm", [-20.0, 20.0])
@pytest.mark.parametrize("carry", [True, False])
def test_twenty_ppm_over_a_long_shot(ppm: float, carry: bool) -> None:
    """20 ppm move the end of this shot by 15 samples, two whole pulses; every bin is found where it is."""
    generator = np.random.default_rng(4)
    layout = FrameLayout(32, 30, 66, 6.25e6)
    symbols = gaussian_data(layout, generator)
    if carry:
        symbols[:, :-1] = 0
    record = shot(symbols, layout, generator, start=1.234e-6, ppm=ppm, snr=200.0, amplitude=0.8 + 0.6j)
    found = find_shot(record, INTERVAL, None, layout, carry_only=carry)
    assert_right(found, 1.234e-6, ppm, layout)
    values = integrate(record, found, layout, carry_only=carry)
    expected = (found.amplitude * symbols).real
    if carry:
        expected = expected[:, -1]
    last = slice(-200, None)
    rest = values[last] - window_gain(found, layout, carry_only=carry)[last] * expected[last] - found.offset.real
    signal = window_gain(found, layout, carry_only=carry)[last] * expected[last]
    assert np.mean(rest**2) / np.mean(signal**2) < 0.1


def test_data_that_are_known_as_well_lead_the_clock() -> None:
    """A calibration's shot, all of which is known, without pilots: 3 samples of drift in one run of rows."""
    generator = np.random.default_rng(4)
    layout = FrameLayout(4, 1, 2500, 6.25e6, pilot_every=0)
    symbols = gaussian_data(layout, generator)
    record = shot(symbols, layout, generator, start=1.2e-6, ppm=30.0, snr=100.0, amplitude=0.8 + 0.6j)
    found = find_shot(record, INTERVAL, symbols, layout)
    assert_right(found, 1.2e-6, 30.0, layout)
    assert found.clock_std < 0.5


@pytest.mark.soak
@pytest.mark.parametrize("real", [True, False])
def test_thirty_ppm_over_a_million_bins(real: bool) -> None:
    generator = np.random.default_rng(4)
    layout = FrameLayout(32, 100, 280, 6.25e6)
    assert layout.bins > 1e6
    record = shot(gaussian_data(layout, generator), layout, generator, start=1.2e-6, ppm=30.0, snr=50.0, real=real)
    assert_right(find_shot(record, INTERVAL, None, layout), 1.2e-6, 30.0, layout)


def test_no_clock_is_made_up() -> None:
    """Matched clocks and short, dim shots: the clock stays at what its oscillators are, not at what noise says."""
    generator = np.random.default_rng(9)
    for _ in range(5):
        record = shot(gaussian_data(SHORT, generator), SHORT, generator, start=5e-7, snr=10.0)
        shared = find_shot(record, INTERVAL, None, SHORT, clock_std=0.01)
        assert abs(shared.clock_ppm) < 0.06
        own = find_shot(record, INTERVAL, None, SHORT)
        assert own.clock_std < 20.0
        assert abs(own.clock_ppm) < 6 * own.clock_std


@pytest.mark.parametrize("real", [True, False])
def test_a_slow_receiver_makes_no_clock(real: bool) -> None:
    """One pole at 5 MHz for bins of 160 ns: its delay is part of the beginning, one number, and no drift."""
    generator = np.random.default_rng(9)
    layout = FrameLayout(32, 1, 100, 6.25e6)
    share = 1 - np.exp(-2 * np.pi * 5e6 * INTERVAL)
    delays = []
    for _ in range(4):
        start = 3.3e-6 + generator.uniform() * INTERVAL
        record = shot(gaussian_data(layout, generator), layout, generator, start=start, ppm=12.0, snr=200.0, real=real)
        found = find_shot(lfilter([share], [1.0, share - 1.0], record), INTERVAL, None, layout)
        assert abs(found.clock_ppm - 12.0) < 6 * found.clock_std
        assert found.clock_std < 3.0
        delays.append(found.start - start)
    assert np.std(delays) < 0.05 * INTERVAL
    assert 0 < np.mean(delays) < 2 * INTERVAL


def test_a_clock_far_from_its_expectation_is_refused() -> None:
    generator = np.random.default_rng(9)
    record = shot(gaussian_data(SHORT, generator), SHORT, generator, start=5e-7, ppm=90.0, snr=1e4)
    with pytest.raises(DspError, match=r"differs by (89|90|91)\S* ppm .*; expected 0 ppm within 10 ppm"):
        find_shot(record, INTERVAL, None, SHORT, clock_std=10.0)
    found = find_shot(record, INTERVAL, None, SHORT, clock_ppm=85.0, clock_std=10.0)
    assert found.clock_ppm == pytest.approx(90.0, abs=1.0)


def test_a_clock_that_cannot_be_followed_is_refused() -> None:
    generator = np.random.default_rng(9)
    layout = FrameLayout(8, 40, 50, 6.25e6, pilot_every=0)
    record = shot(gaussian_data(layout, generator), layout, generator, start=5e-7, ppm=15.0, snr=100.0)
    with pytest.raises(DspError, match=r"the end of the shot .* is uncertain"):
        find_shot(record, INTERVAL, None, layout)
    assert find_shot(record, INTERVAL, None, layout, clock_ppm=15.0, clock_std=0.1).clock_ppm == pytest.approx(
        15, abs=1
    )


@settings(max_examples=12, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    cut=st.floats(0.0, 0.45),
    kept=st.floats(0.6, 1.0),
    real=st.booleans(),
    n_modes=st.sampled_from([4, 32]),
    seed=st.integers(0, 10**6),
)
def test_records_cut_at_either_end(cut: float, kept: float, real: bool, n_modes: int, seed: int) -> None:
    layout = FrameLayout(n_modes, 1, 60, 6.25e6)
    generator = np.random.default_rng(seed)
    start = -(layout.guard_rows + cut * layout.preamble_rows) * n_modes * layout.bin_time
    symbols = gaussian_data(layout, generator)
    count = int((start + kept * layout.duration) / INTERVAL)
    record = shot(symbols, layout, generator, start=start, ppm=12.0, snr=1000.0, real=real, count=count)
    found = find_shot(record, INTERVAL, None, layout)
    assert_right(found, start, 12.0, layout)
    values = integrate(record, found, layout)
    there = np.isfinite(values)
    assert np.array_equal(there[layout.guard_rows + layout.preamble_rows], np.ones(n_modes, np.bool_))
    assert not there[: layout.guard_rows - 1].any()
    assert abs(there.mean() - (count * INTERVAL) / layout.duration) < 0.02


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("cut", [0.6, 0.8, 1.2])
def test_most_of_the_preamble_missing_is_refused_and_never_guessed(cut: float, real: bool) -> None:
    generator = np.random.default_rng(2)
    for n_modes in (1, 8, 32):
        layout = FrameLayout(n_modes, 1, 60, 6.25e6)
        start = -(layout.guard_rows + cut * layout.preamble_rows) * n_modes * layout.bin_time
        record = shot(gaussian_data(layout, generator), layout, generator, start=start, snr=1000.0, real=real)
        with pytest.raises(DspError, match="no preamble"):
            find_shot(record, INTERVAL, None, layout)


def refused(record: NDArray[Any], layout: FrameLayout = SHORT, **options: Any) -> str:
    with pytest.raises(DspError) as caught:
        find_shot(record, INTERVAL, None, layout, **options)
    return str(caught.value)


def test_noise_and_other_light_hold_no_preamble() -> None:
    generator = np.random.default_rng(2)
    message = refused(generator.standard_normal(30_000))
    assert "no preamble in the record of 30000 samples" in message
    assert "expected a preamble of 31 rows, 992 bins, at 10 samples a bin" in message
    refused(generator.standard_normal((30_000, 2)).view(np.complex128)[:, 0])
    data = gaussian_data(SHORT, generator)
    data[SHORT.kinds == RowKind.PREAMBLE] = 0
    refused(shot(data, SHORT, generator, start=1e-6, snr=1e4))
    refused(np.zeros(30_000))
    refused(np.zeros(20))
    other = FrameLayout(32, 1, 36, 6.25e6, preamble_rows=23)
    refused(shot(gaussian_data(other, generator), other, generator, start=1e-6, snr=1e3))


@pytest.mark.parametrize("real", [True, False])
def test_a_third_of_a_preamble_before_other_light_is_refused(real: bool) -> None:
    """It is there beyond any doubt, and nothing rivals it: but what follows is not this frame."""
    generator = np.random.default_rng(2)
    symbols = gaussian_data(SHORT, generator)
    torn = slice(SHORT.guard_rows + 10, SHORT.guard_rows + SHORT.preamble_rows)
    symbols[torn] = np.exp(2j * np.pi * generator.uniform(size=symbols[torn].shape))
    message = refused(shot(symbols, SHORT, generator, start=1e-6, snr=1e3, real=real))
    chance = re.search(r"with probability (\S+), and another place reaches (\d+) %", message)
    assert chance is not None
    assert float(chance[1]) < 1e-9
    assert int(chance[2]) <= 70


def test_chance_is_the_chance_that_is_stated() -> None:
    """60 records of noise at a stated false-alarm rate of 0.2: 30 or more would be an accident of 1e-6."""
    generator = np.random.default_rng(2)
    layout = FrameLayout(2, 1, 4, 6.25e6, pilot_every=0)
    seen = 0
    for _ in range(60):
        try:
            find_shot(generator.standard_normal(2000), INTERVAL, None, layout, false_alarm=0.2, clock_std=0.1)
            seen += 1
        except DspError:
            pass
    assert seen < 30


@pytest.mark.parametrize("linewidth", [1e3, 1e4])
def test_light_whose_phase_wanders(linewidth: float) -> None:
    """10 kHz turn the phase by about three rad during the preamble."""
    generator = np.random.default_rng(6)
    for real in (True, False) * 2:
        record = shot(
            gaussian_data(SHORT, generator),
            SHORT,
            generator,
            start=3.3e-6,
            ppm=20.0,
            snr=200.0,
            real=real,
            linewidth=linewidth,
        )
        assert_right(find_shot(record, INTERVAL, None, SHORT), 3.3e-6, 20.0, SHORT)


def test_a_reference_in_the_receivers_frame_and_a_limited_search() -> None:
    """A local oscillator that turns by 90 degrees in secret bins: the verifier knows, and turns its reference."""
    generator = np.random.default_rng(6)
    symbols = gaussian_data(SHORT, generator)
    turn = np.exp(-0.5j * np.pi * generator.integers(0, 2, symbols.shape))
    record = shot(symbols * turn, SHORT, generator, start=2e-6, ppm=5.0, snr=100.0)
    assert_right(find_shot(record, INTERVAL, known_symbols(SHORT) * turn, SHORT), 2e-6, 5.0, SHORT)
    refused(record)
    twice = np.concatenate([record, 3 * record])
    second = record.size * INTERVAL
    found = find_shot(twice, INTERVAL, known_symbols(SHORT) * turn, SHORT, search=(0.0, 0.5 * second))
    assert_right(found, 2e-6, 5.0, SHORT)
    found = find_shot(twice, INTERVAL, known_symbols(SHORT) * turn, SHORT, search=(second, 1.5 * second))
    assert_right(found, second + 2e-6, 5.0, SHORT)


@pytest.mark.parametrize("lead", [0, 37])
def test_long_records_are_searched_in_stretches(lead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretches shorter than a bin's distance to any place: the shot is found wherever it lies against their ends."""
    generator = np.random.default_rng(8)
    layout = FrameLayout(2, 1, 10, 6.25e6)
    start = (700.4 + lead) * INTERVAL
    record = shot(gaussian_data(layout, generator), layout, generator, start=start, snr=300.0, count=4000)
    whole = find_shot(record, INTERVAL, None, layout)
    assert_right(whole, start, 0.0, layout)
    for stretch in (400, 741, 742, 760, 1500):
        monkeypatch.setattr(import_module("labqdl.dsp.preamble"), "_STRETCH", stretch)
        pieces = find_shot(record, INTERVAL, None, layout)
        assert pieces.start == pytest.approx(whole.start, abs=0.1 * INTERVAL)


def test_records_and_frames_that_do_not_fit() -> None:
    record = np.zeros(1000)
    with pytest.raises(DspError, match=r"1\.6 samples a bin"):
        find_shot(record, 1e-7, None, SHORT)
    with pytest.raises(DspError, match="not numbers"):
        find_shot(np.full(1000, np.nan), INTERVAL, None, SHORT)
    with pytest.raises(DspError, match="the preamble has 3 bins; expected at least"):
        find_shot(record, INTERVAL, None, FrameLayout(1, 1, 4, 6.25e6, preamble_rows=3))
    with pytest.raises(ValueError, match="one dimension"):
        find_shot(record[:, None], INTERVAL, None, SHORT)
    with pytest.raises(ValueError, match="reference has shape"):
        find_shot(record, INTERVAL, np.ones((2, 2), np.complex128), SHORT)
    with pytest.raises(ValueError, match="clock_std"):
        find_shot(record, INTERVAL, None, SHORT, clock_std=0.0)


def test_preamble_resembles_no_shifted_or_turning_copy() -> None:
    """Cyclic ambiguity of the rows, every shift up to eight turns; 1/sqrt(31) = 0.18 at whole turns."""
    rows = SHORT.preamble[:, -1]
    turning = np.exp(2j * np.pi * np.outer(np.linspace(-8, 8, 161), np.arange(31)) / 31)
    worst = max(float(np.max(np.abs(turning @ (rows * np.roll(rows, -k).conj())))) for k in range(1, 31)) / 31
    assert worst < 0.4
    bins = SHORT.preamble[0]
    assert max(abs(np.vdot(bins, np.roll(bins, k))) for k in range(1, 32)) < 1e-9
    assert np.allclose(np.abs(SHORT.preamble), 1.0)
