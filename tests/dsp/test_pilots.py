from __future__ import annotations

import math

import numpy as np
import pytest

from labqdl.dsp import DspError, find_shot, integrate, pilot_track, rotated, window_gain
from labqdl.facts.layout import FrameLayout, RowKind
from tests.dsp.records import INTERVAL, gaussian_data, shot

LAYOUT = FrameLayout(8, 2, 60, 6.25e6, pilot_every=12)


def values_of(
    amplitude: complex | np.ndarray[tuple[int, ...], np.dtype[np.complex128]],
    generator: np.random.Generator,
    *,
    noise: float,
    real: bool,
    offset: float = 0.4,
    layout: FrameLayout = LAYOUT,
) -> np.ndarray[tuple[int, ...], np.dtype[np.complex128]]:
    """Integrated values of a shot with Gaussian data: amplitude of one number or one for each row."""
    along = np.broadcast_to(np.asarray(amplitude), (layout.total_rows,))
    light = gaussian_data(layout, generator) * along[:, None]
    drawn = generator.standard_normal((*light.shape, 2)).view(np.complex128)[..., 0]
    noisy = light + offset + noise * drawn
    return np.asarray(noisy.real if real else noisy)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("carry", [True, False])
def test_closed_form_is_unbiased_and_knows_its_noise(real: bool, carry: bool) -> None:
    """Pulls of 15 groups times 60 shots: 3600 (both quadratures), mean and mean square to 6 standard errors (2e-9).

    A gain wrong by 5 % moves the mean by 6 standard errors of a single group: 200 of all.
    """
    generator = np.random.default_rng(1)
    truth = 1.2 * np.exp(0.9j)
    pulls, noises = [], []
    for _ in range(60):
        values = values_of(truth, generator, noise=0.05, real=real)
        track = pilot_track(values[:, -1] if carry else values, LAYOUT, offset=0.4)
        pulls.append((track.amplitude - truth) / track.std)
        noises.append(track.noise)
    both = np.concatenate([np.real(pulls).ravel(), np.imag(pulls).ravel()])
    assert abs(both.mean()) < 6 / math.sqrt(both.size)
    # The noise is estimated from each shot too; the preamble's groups of one quadrature are not quite symmetric.
    assert abs(np.mean(both**2) - 1) < 6 * math.sqrt(2 / both.size) + (0.3 if carry else 0.12)
    assert np.mean(noises) == pytest.approx(0.05, rel=0.05)
    assert abs(0.05 * truth / track.std[-1]) > (0.5 if carry else 1.5) * 0.8


@pytest.mark.parametrize("real", [True, False])
def test_gain_and_phase_are_followed_between_groups(real: bool) -> None:
    generator = np.random.default_rng(2)
    row = np.arange(LAYOUT.total_rows)
    truth = (1 + 0.002 * row) * np.exp(1j * (2.8 + 0.012 * row))
    track = pilot_track(values_of(truth, generator, noise=0.01, real=real), LAYOUT)
    inside = (row >= track.rows[0]) & (row <= track.rows[-1])
    followed = track.at_rows()[inside] / truth[inside]
    assert np.max(np.abs(np.angle(followed))) < 0.02
    assert np.max(np.abs(np.abs(followed) - 1)) < 0.02
    assert np.all(np.diff(track.phase) > 0)
    assert track.offset == pytest.approx(0.4, abs=0.01)


def test_groups_that_support_each_other_by_the_linewidth() -> None:
    """Against the exact posterior: the mean square error is the least of all linewidths at the true one."""
    generator = np.random.default_rng(3)
    layout = FrameLayout(2, 1, 400, 6.25e6, pilot_every=4)
    linewidth = 3000.0
    row_time = layout.n_modes * layout.bin_time
    errors = dict.fromkeys((None, 0.0, linewidth / 30, linewidth, 30 * linewidth), 0.0)
    for _ in range(30):
        steps = math.sqrt(2 * math.pi * linewidth * row_time) * generator.standard_normal(layout.total_rows)
        truth = np.exp(1j * np.cumsum(steps))
        values = values_of(truth, generator, noise=0.3, real=False, layout=layout)
        for one in errors:
            track = pilot_track(values, layout, linewidth=one)
            middle = np.interp(track.rows, np.arange(layout.total_rows), np.unwrap(np.angle(truth)))
            errors[one] += float(np.mean(np.abs(track.amplitude - np.exp(1j * middle)) ** 2))
    best = errors.pop(linewidth)
    assert best < 0.75 * min(errors.values())


def test_a_group_of_unknown_groups_is_left_out_and_none_at_all_is_refused() -> None:
    generator = np.random.default_rng(4)
    values = values_of(1j, generator, noise=0.01, real=True)
    values[: LAYOUT.guard_rows + LAYOUT.preamble_rows] = np.nan
    pilots = np.flatnonzero(LAYOUT.kinds == RowKind.PILOT)
    values[pilots[1]] = np.nan  # of its pair only one quadrature is left
    track = pilot_track(values, LAYOUT, offset=0.4)
    assert track.rows == pytest.approx((pilots[2::2] + pilots[3::2]) / 2)
    assert track.amplitude == pytest.approx(1j, abs=0.03)
    with pytest.raises(DspError, match="neither the preamble nor a pair of pilots"):
        pilot_track(np.full(LAYOUT.total_rows, np.nan), LAYOUT)
    with pytest.raises(ValueError, match="expected rows of"):
        pilot_track(values[1:], LAYOUT)


@pytest.mark.parametrize("real", [True, False])
def test_rows_with_a_lost_lock_are_flagged_and_no_others(real: bool) -> None:
    """A slip of 0.6 rad and a drop of the light by half; 100 shots without either flag nothing (1e-9 each)."""
    generator = np.random.default_rng(5)
    angle = {"phase": 0.3} if real else {}
    for _ in range(100):
        track = pilot_track(values_of(np.exp(0.3j), generator, noise=0.1, real=real), LAYOUT)
        assert not track.lost(**angle).any()
    row = np.arange(LAYOUT.total_rows)
    slip = np.exp(1j * (0.3 + 0.6 * (row > 110)))
    lost = pilot_track(values_of(slip, generator, noise=0.02, real=real), LAYOUT).lost(**angle)
    assert lost[107:115].all()
    assert not lost[:90].any()
    assert lost[140:].all() == real  # a locked receiver that slipped stays wrong; a hybrid is turned back
    drop = np.exp(0.3j) * np.where((row > 80) & (row < 100), 0.5, 1.0)
    lost = pilot_track(values_of(drop, generator, noise=0.02, real=real), LAYOUT).lost(**angle)
    assert lost[81:100].all()
    assert not lost[:60].any()
    assert not lost[125:].any()
    dim = pilot_track(values_of(0.02, generator, noise=0.2, real=real), LAYOUT)
    assert dim.lost(**angle).any()


def test_a_hybrid_is_turned_back_and_a_homodyne_never() -> None:
    """From record to symbols; the mean square error is the noise that is stated, to 6 standard errors (2e-9)."""
    generator = np.random.default_rng(6)
    layout = FrameLayout(16, 2, 60, 6.25e6, pilot_every=6)
    symbols = gaussian_data(layout, generator)
    record = shot(
        symbols, layout, generator, start=4e-7, ppm=8.0, snr=1e3, real=False, amplitude=0.3j, offset=1, linewidth=50
    )
    timing = find_shot(record, INTERVAL, None, layout)
    values = integrate(record, timing, layout)
    track = pilot_track(values, layout)
    turned = rotated(values, track) / (np.abs(track.at_rows())[:, None])
    data = layout.kinds == RowKind.DATA
    error = np.abs(turned[data] - symbols[data]) ** 2
    power = np.mean(np.abs(symbols[data]) ** 2)
    assert error.mean() < 2 / 1e3 + power * (2 * math.pi * 50 * 8 * 16 * layout.bin_time + 0.01**2)
    wrong = np.abs(values[data] / window_gain(timing, layout)[data] - symbols[data]) ** 2
    assert wrong.mean() > 0.1
    with pytest.raises(TypeError, match="one quadrature cannot be turned afterwards"):
        rotated(values.real, track)
