from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from labqdl.dsp import DspError, Timing, VacuumSlots, find_shot, integrate, shot_noise, vacuum_table
from labqdl.facts.layout import FrameLayout, RowKind
from labqdl.rng import Root
from tests.dsp.records import INTERVAL, gaussian_data, shot

SECRET = Root("server", bytes(range(32)))


def test_variance_interval_and_the_five_percent_that_it_excludes() -> None:
    """Coverage of 300 intervals at 90 %: 240 to 294 inside, missed with probability < 1e-6."""
    generator = np.random.default_rng(1)
    inside = 0
    for _ in range(300):
        found = shot_noise(0.02 * generator.standard_normal((4, 250)) + 0.5, confidence=0.9)
        inside += found.low < 0.02**2 < found.high
        assert found.effective <= 996
    assert 240 <= inside <= 294
    many = shot_noise(generator.standard_normal(40_000))
    assert many.low < 1.0 < many.high
    assert not many.low < 1.05 < many.high
    assert many.effective == 39_999
    assert many.high - many.low == pytest.approx(2 * 4.89 * math.sqrt(2 / 40_000), rel=0.02)


def test_bins_with_a_memory_count_less() -> None:
    """A receiver that leaks rho = 0.5 to the next bin: sum rho^2 = 5/3; coverage stays, 90 % of 150 shots (1e-6)."""
    generator = np.random.default_rng(2)
    inside = 0
    for _ in range(150):
        bins = lfilter([1.0], [1.0, -0.5], generator.standard_normal(2100))[100:] * math.sqrt(0.75)
        found = shot_noise(bins, confidence=0.9)
        assert found.effective == pytest.approx(2000 * 3 / 5, rel=0.2)
        inside += found.low < 1.0 < found.high
    assert 111 <= inside <= 149


def test_steady_noise_is_stationary_and_drift_is_not() -> None:
    """100 steady records at 1e-7 each; a drift of 8 % over 2e5 bins is seen, and its Allan deviation stops falling."""
    generator = np.random.default_rng(3)
    for _ in range(100):
        steady = shot_noise(generator.standard_normal(6400))
        assert steady.stationary
    bins = generator.standard_normal(200_000)
    steady = shot_noise(bins)
    assert steady.stationary
    assert steady.allan.size == steady.steady.size >= 5
    assert steady.allan[:3] == pytest.approx(steady.steady[:3], rel=0.9)
    assert steady.steady[0] == pytest.approx(math.sqrt(2 / steady.block_bins), rel=0.02)
    drifting = shot_noise(bins * np.linspace(0.98, 1.02, bins.size))
    assert not drifting.stationary
    assert drifting.allan[-1] > 2 * drifting.steady[-1]
    few = shot_noise(bins[:100])
    assert few.allan.size == 0
    assert math.isnan(few.p_value)
    assert few.stationary


def test_vacuum_that_is_none() -> None:
    with pytest.raises(DspError, match="at least two finite bins"):
        shot_noise(np.ones((3, 1)))
    with pytest.raises(DspError, match=r"1 that are not numbers"):
        shot_noise(np.array([1.0, np.nan, 2.0]))
    with pytest.raises(DspError, match="equal"):
        shot_noise(np.full(100, 2.0))
    with pytest.raises(ValueError, match="confidence"):
        shot_noise(np.arange(10.0), confidence=1.0)
    with pytest.raises(DspError, match="no vacuum slot"):
        vacuum_table([])


def test_slots_at_secret_times_do_not_touch_and_may_lie_anywhere() -> None:
    length, duration, settle = 2e-6, 60e-6, 0.5e-6
    starts = []
    for shot_index in range(200):
        slots = VacuumSlots.drawn(SECRET.uniforms("vacuum", shot_index, count=5), length, duration, settle)
        assert slots.begin[0] >= settle
        assert slots.end[-1] + settle <= duration
        assert np.all(slots.begin[1:] - slots.end[:-1] >= 2 * settle * 0.999)
        starts.append(slots.begin)
    # Uniform placement: the middle slot's mean is the middle; each of 200 has a spread of less than 12 us.
    assert abs(np.mean(starts, axis=0)[2] + length / 2 - duration / 2) < 6 * 12e-6 / math.sqrt(200)
    assert np.min(starts) < 3e-6
    with pytest.raises(DspError, match=r"30 slots .* need 9e-05 s; expected at most the record's 6e-05 s"):
        VacuumSlots.drawn(SECRET.uniforms("vacuum", 0, count=30), length, duration, settle)
    with pytest.raises(ValueError, match="follow each other"):
        VacuumSlots(np.array([0.0, 1.0]), np.array([2.0, 3.0]))
    with pytest.raises(ValueError, match="one number a slot"):
        VacuumSlots(np.array([0.0, 1.0]), np.array([2.0]))


def test_separate_records_give_the_same_unit_as_bins_of_light() -> None:
    """White noise of 0.3 V a sample: 0.09 V^2 in vacuum windows of a blocked record, as in every bin of a shot."""
    generator = np.random.default_rng(4)
    layout = FrameLayout(32, 1, 60, 6.25e6)
    blocked = 0.3 * generator.standard_normal((60_000, 2)).view(np.complex128)[:, 0] + 0.2
    slots = VacuumSlots.whole(blocked.size, INTERVAL).bins(blocked, INTERVAL, layout)
    table = vacuum_table(slots)
    assert table.shape == (2, 6000)
    found = shot_noise(table)
    assert found.low < 0.09 < found.high
    assert found.high < 1.15 * 0.09
    assert found.variance == pytest.approx(
        np.var(integrate(blocked, Timing.known(0.0, INTERVAL), layout).real), rel=0.2
    )


def test_rows_that_a_slot_touches_carry_no_data() -> None:
    layout = FrameLayout(8, 1, 40, 6.25e6)
    row = 8 * layout.bin_time
    timing = Timing.known(3 * row, INTERVAL)
    slots = VacuumSlots(np.array([10.2, 20.0]) * row, np.array([12.4, 21.0]) * row, settle=0.1 * row)
    assert np.flatnonzero(slots.rows(timing, layout)).tolist() == [7, 8, 9, 16, 17, 18]


def spiked_shot(
    spiking: float, guess: bool, seed: int
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], VacuumSlots, FrameLayout]:
    """A verifier's record in noise units: light returned with `spiking` more noise, own slots, dark rows of the client.

    The client adds the noise to everything it returns, vacuum rows as well, or (`guess`) also at times at which it
    supposes vacuum slots. What the verifier's closed gate lets in is nothing.
    """
    generator = np.random.default_rng(seed)
    layout = FrameLayout(32, 3, 60, 6.25e6, guard_rows=20)
    symbols = gaussian_data(layout, generator)
    start = 2e-6
    record = np.asarray(shot(symbols, layout, generator, start=start, ppm=3.0, snr=100.0))
    unit = math.sqrt(layout.duty * layout.bin_time / INTERVAL / 100.0)
    instants = np.arange(record.size) * INTERVAL
    returned = symbols_noise = math.sqrt(spiking) * unit * generator.standard_normal(record.size)
    if guess:
        guessed = VacuumSlots.drawn(generator.uniform(size=6), 10e-6, instants[-1])
        inside = np.zeros(record.size, np.bool_)
        for begin, end in zip(guessed.begin, guessed.end, strict=True):
            inside |= (instants >= begin) & (instants <= end)
        returned = np.where(inside, symbols_noise, 0.0)
    after = start + (layout.guard_rows + layout.preamble_rows + 2) * layout.n_modes * layout.bin_time
    free = instants[-1] - after - 20e-6
    drawn = VacuumSlots.drawn(SECRET.uniforms("gate", seed, count=6), 10e-6, free, settle=0.5e-6)
    slots = VacuumSlots(drawn.begin + after, drawn.end + after, drawn.settle)
    light = np.asarray(shot(symbols, layout, generator, start=start, ppm=3.0, snr=1e12, count=record.size))
    for begin, end in zip(slots.begin, slots.end, strict=True):
        closed = (instants >= begin - slots.settle) & (instants <= end + slots.settle)
        record = np.where(closed, record - light, record)
        returned = np.where(closed, 0.0, returned)
    return (record + returned) / unit, slots, layout


@pytest.mark.parametrize("guess", [False, True])
def test_spiking_of_other_slots_does_not_change_the_unit(guess: bool) -> None:
    """Noise of 30 % on everything that crosses the client: 1 stays 1 in the verifier's own slots.

    Interval of probability 1 - 1e-6. The unit from vacuum rows that crossed the client would be 1.3, and the 30 % in
    the light invisible. (Where it guesses times, its noise is seen in the light and still not in the slots.)
    """
    for seed in range(3):
        record, slots, layout = spiked_shot(0.3, guess, seed)
        timing = find_shot(record, INTERVAL, None, layout)
        own = shot_noise(vacuum_table(slots.bins(record, INTERVAL, layout)))
        assert own.samples > 350
        assert own.low < 1.0 < own.high
        crossed = integrate(record, timing, layout)[layout.kinds == RowKind.GUARD].ravel()
        fooled = shot_noise(crossed[np.isfinite(crossed)])
        if not guess:
            assert fooled.low < 1.3 < fooled.high
            assert not fooled.low < 1.0 < fooled.high
        assert slots.rows(timing, layout).sum() >= 6
