"""Beginning and clock of a shot to a fraction of a sample, from preamble and pilots together.

Every group of known bins measures how much too early or too late the windows lie: the light that a window moved
forward meets against one moved backward. Groups are taken in from the preamble outward, as far as the clock known so
far leads to their pilots, and all are fitted by one straight line with the expected clock as prior, so that a short or
dark shot gets the clock of its oscillators instead of one made up from noise. Derivation: docs/signal-processing.md,
"The clock".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.dsp.drive import window_edges
from labqdl.dsp.errors import DspError
from labqdl.dsp.fitting import amplitudes, preamble_fit
from labqdl.dsp.preamble import preamble_bins
from labqdl.facts.layout import FrameLayout

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

_SHIFT = 0.25
"""By how much of a window the early and the late window are moved."""
_REACH = 8.0
"""Standard deviations of the clock's prediction that must fit into a window for a group to be taken in."""
_END = 0.1
"""Standard deviation of the last bin's place, in windows, that is still good for integration."""
_STEP = 0.02
"""Standard deviation, in windows, by which a slow receiver may delay pilots less than the preamble, in which
neighbouring bins differ in phase: no clock is to be made of that."""
_GROUP_SNR = 25.0
"""Signal to noise that a group of pilots collects before it has a say."""
_FINER = (4, 16)
_CELLS = 1 << 20


def sparse_sums(record: NDArray[Any], begin: Real, end: Real) -> NDArray[Any]:
    """Sums over few windows of equal width anywhere in a long record; (windows,), NaN where they leave it.

    The same numbers as `integrate.window_sums`, which runs through everything in between.
    """
    kind = np.complex128 if np.iscomplexobj(record) else np.float64
    sums = np.full(begin.shape, np.nan, kind)
    inside = np.flatnonzero((begin >= 0) & (end <= record.size))
    if not inside.size:
        return sums
    width = int(np.ceil(np.max(end[inside] - begin[inside]))) + 1
    for some in np.array_split(inside, -(-inside.size * width // _CELLS)):
        first, last = begin[some, None], end[some, None]
        cells = np.floor(first).astype(np.int64) + np.arange(width)
        share = np.clip(np.minimum(cells + 1, last) - np.maximum(cells, first), 0.0, 1.0)
        sums[some] = np.einsum("ij,ij->i", record[np.minimum(cells, record.size - 1)], share)
    return sums


@dataclass(frozen=True, slots=True)
class Fit:
    """Beginning of the first bin in samples, relative clock, both variances and covariance, and the preamble's fit."""

    first: float
    clock: float
    first_std: float
    clock_std: float
    amplitude: complex
    offset: complex
    noise: float


@dataclass(frozen=True, slots=True)
class _Known:
    """The bins whose light is known, sorted, with the symbols of their neighbours and the group of each."""

    bins: NDArray[np.int64]
    symbols: Complex
    before: Complex
    after: Complex
    group: NDArray[np.int64]
    preamble_groups: int

    @property
    def groups(self) -> int:
        return int(self.group[-1]) + 1


def _grouped(reference: Complex, layout: FrameLayout, segments: int, snr: float) -> _Known:
    """Preamble in `segments` pieces (some at least), pilots in runs that are bright enough together."""
    flat = reference.reshape(-1)
    head = preamble_bins(reference, layout)
    last = head[-1]
    head = head[flat[head] != 0]
    pieces = max(segments, min(8, head.size // 8), 1)
    group = np.arange(head.size) * pieces // head.size
    lit = np.flatnonzero(flat)
    rest = lit[lit > last]
    if rest.size:
        row, which = np.unique(rest // layout.n_modes, return_inverse=True)
        # Two rows at a time, also where more are known one after another.
        count = np.arange(row.size)
        begin = np.maximum.accumulate(np.where(np.diff(row, prepend=-2) > 1, count, 0))
        pair = (np.cumsum((count - begin) % 2 == 0) - 1)[which]
        each = max(1, rest.size // (int(pair[-1]) + 1))
        together = max(1, math.ceil(_GROUP_SNR / max(snr, 1e-6) / each))
        # Whole groups only: a short one at the end joins the one before it.
        whole = max(1, (int(pair[-1]) + 1) // together)
        group = np.concatenate([group, pieces + np.minimum(pair // together, whole - 1)])
    bins = np.concatenate([head, rest])
    padded = np.concatenate([[0.0], flat, [0.0]])
    return _Known(bins, flat[bins], padded[bins], padded[bins + 2], group, pieces)


class _Discriminator:
    """How far windows lie off, group by group."""

    def __init__(self, record: NDArray[Any], layout: FrameLayout, per_bin: float) -> None:
        self.record, self.layout, self.per_bin = record, layout, per_bin
        self.real = not np.iscomplexobj(record)
        self.window = layout.duty * per_bin
        self.gap = (1.0 - layout.duty) * per_bin
        self.shift = _SHIFT * self.window

    def mean(self, bins: NDArray[np.int64], first: float, clock: float, moved: float = 0.0) -> NDArray[Any]:
        """Mean volts of the windows of bins, moved by so many samples."""
        begin, end = (first + moved + edge * self.per_bin * (1 + clock) for edge in window_edges(self.layout, bins))
        return sparse_sums(self.record, begin, end) / self.window

    def lags(
        self, known: _Known, chosen: NDArray[np.bool_], first: float, clock: float, offset: complex, noise: float
    ) -> tuple[Real, Real]:
        """Samples by which the light of each group comes later than its windows, and the information (1/variance)."""
        some = chosen[known.group]
        bins, group, r = known.bins[some], known.group[some], known.symbols[some]
        level = offset.real if self.real else offset
        prompt, early, late = (self.mean(bins, first, clock, m) - level for m in (0.0, -self.shift, self.shift))
        c = amplitudes(self.real, prompt, r, group, known.groups)[group]
        near = self.shift > self.gap
        ahead = known.after[some] if near else np.zeros_like(r)
        behind = known.before[some] if near else np.zeros_like(r)
        overlap = max(self.shift - self.gap, 0.0) / self.window
        stay = 1.0 - self.shift / self.window
        # Light that comes later by e is met more by the late window and less by the early one, at 1/window a sample.
        models = (stay * r + overlap * ahead, stay * r + overlap * behind)
        slopes = ((r - ahead) / self.window, -(r - behind) / self.window)

        def seen(symbols: Complex) -> NDArray[Any]:
            return np.asarray((c * symbols).real if self.real else c * symbols)

        up, bottom = np.zeros(known.groups), np.zeros(known.groups)
        for values, model, slope in zip((late, early), models, slopes, strict=True):
            tilt = seen(slope)
            rest = np.where(np.isfinite(values), values - seen(model), 0.0)
            up += np.bincount(group, (np.conj(tilt) * rest).real, known.groups)
            bottom += np.bincount(group, np.where(np.isfinite(values), np.abs(tilt) ** 2, 0.0), known.groups)
        lag = np.divide(up, bottom, out=np.zeros(known.groups), where=bottom > 0)
        # Noise of late minus early, which share all but 2 shift at either end, against that of two windows.
        variance = noise**2 * 2.0 * self.shift / self.window
        return lag, bottom / max(variance, 1e-30)


def _line(
    weight: Real, at: Real, behind: NDArray[np.bool_], lag: Real, prior: float, prior_std: float, step_std: float
) -> tuple[float, float, Real]:
    """Offset and slope of lag = offset + slope at + step [behind], and the covariance of the three.

    The slope has a prior, and so has the step. Lags that scatter more than their weights say are believed less; the
    priors are not.
    """
    design = np.stack([np.ones_like(at), at, behind.astype(np.float64)], axis=1)
    priors = np.array([0.0, prior_std**-2, step_std**-2])

    def solved(w: Real) -> tuple[Real, Real]:
        covariance = np.linalg.inv(design.T @ (w[:, None] * design) + np.diag(priors))
        right = design.T @ (w * lag) + priors * np.array([0.0, prior, 0.0])
        return np.asarray(covariance @ right), np.asarray(covariance)

    found, covariance = solved(weight)
    freedom = max(int((weight > 0).sum()) - 2, 1)
    scatter = float(np.sum(weight * (lag - design @ found) ** 2)) / freedom
    if scatter > 1.0:
        found, covariance = solved(weight / scatter)
    return float(found[0]), float(found[1]), covariance


def fit_clock(
    record: NDArray[Any],
    layout: FrameLayout,
    reference: Complex,
    per_bin: float,
    *,
    first: float,
    clock: float,
    segments: int,
    expected: float,
    expected_std: float,
) -> Fit:
    """Beginning and clock by weighted least squares over preamble and pilots, from a first guess.

    Parameters
    ----------
    first, clock, segments:
        From `find_preamble`.
    expected, expected_std:
        Prior of the relative clock.

    Raises
    ------
    DspError
        Where the clock cannot be followed to the end of the shot, or is far from what was expected.
    """
    tool = _Discriminator(record, layout, per_bin)
    head = preamble_bins(reference, layout)
    symbols = reference.reshape(-1)[head]
    amplitude, offset, noise = preamble_fit(tool.real, tool.mean(head, first, clock), symbols, segments)
    for more_segments in _FINER:
        # Light whose phase wanders is one amplitude to the search, but more than one to a fit that sees its noise.
        if more_segments > segments and head.size >= 8 * more_segments:
            finer = preamble_fit(tool.real, tool.mean(head, first, clock), symbols, more_segments)
            if finer[2] ** 2 < noise**2 * (1 - 6 * math.sqrt(2 / head.size)):
                segments, (amplitude, offset, noise) = more_segments, finer
    known = _grouped(reference, layout, segments, abs(amplitude) ** 2 / max(noise, 1e-30) ** 2)
    middle = float(np.mean(head)) * per_bin
    centre = np.bincount(known.group, known.bins) / np.bincount(known.group) * per_bin - middle
    chosen = np.arange(known.groups) < known.preamble_groups
    within = first + (centre + middle) * (1 + clock) < record.size
    place = first + middle * (1 + clock)  # of the preamble's middle: nearly independent of the clock
    behind = np.arange(known.groups) >= known.preamble_groups
    covariance = np.zeros((3, 3))
    for _ in range(64):
        begin = place - middle * (1 + clock)
        lag, information = tool.lags(known, chosen, begin, clock, offset, noise)
        weight = np.where(chosen, information, 0.0)
        moved, changed, covariance = _line(
            weight, centre, behind, lag, expected - clock, expected_std, _STEP * tool.window
        )
        place += moved
        clock += changed
        begin = place - middle * (1 + clock)
        amplitude, offset, noise = preamble_fit(tool.real, tool.mean(head, begin, clock), symbols, segments)
        settled = abs(moved) + abs(changed) * np.abs(centre[chosen]).max() < 1e-3 * tool.window
        doubt = np.sqrt(covariance[0, 0] + 2 * centre * covariance[0, 1] + centre**2 * covariance[1, 1])
        more = within & (_REACH * doubt < tool.window) & ~chosen
        if more.any():
            chosen |= more
        elif settled:
            break
    last = layout.bins * per_bin - middle
    doubt_last = math.sqrt(covariance[0, 0] + 2 * last * covariance[0, 1] + last**2 * covariance[1, 1])
    if (within & ~chosen).any() or doubt_last > _END * tool.window:
        raise DspError(
            f"the clock is known to {1e6 * math.sqrt(covariance[1, 1]):.2g} ppm, by which the end of the shot "
            f"({layout.bins} bins) is uncertain by {doubt_last / tool.window:.2g} of a bin's window",
            expected=f"at most {_END:g} of a window",
            hint="Brighter or more pilots, a longer preamble, or a common reference and with it a smaller clock_std",
        )
    if abs(clock - expected) > 5 * expected_std:
        raise DspError(
            f"the digitizer's clock differs by {1e6 * clock:.4g} ppm from the generator's",
            expected=f"{1e6 * expected:.4g} ppm within {1e6 * expected_std:.2g} ppm",
            hint="Are both on the reference that the station says, and is the sample rate right",
        )
    first_variance = covariance[0, 0] - 2 * middle * covariance[0, 1] + middle**2 * covariance[1, 1]
    return Fit(
        place - middle * (1 + clock),
        float(clock),
        math.sqrt(first_variance),
        math.sqrt(covariance[1, 1]),
        amplitude,
        offset,
        noise,
    )
