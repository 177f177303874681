"""Integrate and dump: one number for each bin of a record, the matched filter of a flat pulse.

Sample k of a record stands for the time from half an interval before its instant to half an interval after it. A bin's
window covers sample k with the share w_k of that time, and the bin's number is

    y = sum_k w_k v_k / sqrt(sum_k w_k^2).

White noise of variance s^2 a sample has exactly the variance s^2 in every bin, wherever the window lies between the
samples: what calibration finds for vacuum holds for every bin of every record. A voltage that is constant through the
window is multiplied by sum_k w_k / sqrt(sum_k w_k^2), which `window_gain` gives: about the square root of the samples
in the window. Derivation: docs/signal-processing.md, "Integrate and dump".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.dsp.drive import window_edges
from labqdl.dsp.timing import Timing
from labqdl.facts.layout import FrameLayout

_BLOCK = 1 << 16
"""Bins that are treated at once: memory beyond the record and the result stays below some ten megabytes."""

Real = NDArray[np.float64]


def _weights_squared(begin: Real, end: Real) -> Real:
    """sum w_k^2 of windows from `begin` to `end`, in samples."""
    first, last = np.floor(begin), np.floor(end)
    left, right = first + 1.0 - begin, end - last
    return np.where(first == last, (end - begin) ** 2, left**2 + (last - first - 1.0) + right**2)


def window_sums(record: NDArray[Any], begin: Real, end: Real) -> NDArray[Any]:
    """Sums of a record over windows with fractional edges; NaN for windows that are not wholly in it.

    Parameters
    ----------
    record:
        (n,), real or complex.
    begin, end:
        Edges in samples (sample k covers k to k + 1), rising; any shape.

    Returns
    -------
    Shape of `begin`, complex for a complex record.
    """
    kind = np.complex128 if np.iscomplexobj(record) else np.float64
    sums = np.full(begin.shape, np.nan, kind)
    inside = (begin >= 0) & (end <= record.size)
    if not inside.any():
        return sums
    low, high = int(begin[inside].min()), int(np.ceil(end[inside].max()))
    part = record[low:high]
    running = np.zeros(part.size + 2, kind)
    np.cumsum(part, out=running[1:-1])
    running[-1] = running[-2]  # an edge at the very end has nothing behind it

    def until(edge: Real) -> NDArray[Any]:
        local = edge - low
        whole = local.astype(np.int64)
        before = running[whole]
        return np.asarray(before + (local - whole) * (running[whole + 1] - before))

    sums[inside] = until(end[inside]) - until(begin[inside])
    return sums


def integrate_windows(record: NDArray[Any], begin: Real, end: Real) -> NDArray[Any]:
    """Window sums with white noise's variance kept; as `window_sums`, but divided by sqrt(sum w^2)."""
    return np.asarray(window_sums(record, begin, end) / np.sqrt(_weights_squared(begin, end)))


def bin_windows(timing: Timing, layout: FrameLayout, bins: NDArray[np.int64]) -> tuple[Real, Real]:
    """Edges of the windows of bins in samples of the record, sample k covering k to k + 1; shape of `bins` each."""
    begin, end = window_edges(layout, bins)
    first = timing.start / timing.interval + 0.5
    per_bin = timing.bin_time(layout) / timing.interval
    return first + begin * per_bin, first + end * per_bin


def _places(layout: FrameLayout, carry_only: bool) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    if carry_only:
        return np.arange(1, layout.total_rows + 1) * layout.n_modes - 1, (layout.total_rows,)
    return np.arange(layout.bins), (layout.total_rows, layout.n_modes)


def integrate(record: NDArray[Any], timing: Timing, layout: FrameLayout, *, carry_only: bool = False) -> NDArray[Any]:
    """One number for each bin: sum over the bin's window, normalised so that white noise keeps its variance.

    Parameters
    ----------
    record:
        Volts, (n,); two quadratures of a hybrid as x + i p.
    timing:
        Where the shot begins, from `find_shot` or `Timing.known`.
    layout:
        Rows of the shot.
    carry_only:
        Only the last bin of each row, in which the light of a client's carry is.

    Returns
    -------
    Volts, (total_rows, n_modes), or (total_rows,) for the carry; NaN for bins that are not wholly in the record.
    """
    if record.ndim != 1:
        raise ValueError(f"a record has one dimension, got shape {record.shape}")
    places, shape = _places(layout, carry_only)
    result = np.empty(places.size, np.complex128 if np.iscomplexobj(record) else np.float64)
    for block in range(0, places.size, _BLOCK):
        begin, end = bin_windows(timing, layout, places[block : block + _BLOCK])
        result[block : block + begin.size] = integrate_windows(record, begin, end)
    return result.reshape(shape)


def window_gain(timing: Timing, layout: FrameLayout, *, carry_only: bool = False) -> Real:
    """What `integrate` makes of 1 V through the whole window of each bin: sum w / sqrt(sum w^2); shape of `integrate`.

    It depends a little on where the edges lie between samples (at most 1 / (2 w) at w samples a window), because noise
    of whole samples is weighted there.
    """
    places, shape = _places(layout, carry_only)
    begin, end = bin_windows(timing, layout, places)
    gain: Real = ((end - begin) / np.sqrt(_weights_squared(begin, end))).reshape(shape)
    return gain
