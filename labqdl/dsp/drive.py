"""From symbols to the samples that a waveform generator plays.

A generator holds sample k from k / rate to (k + 1) / rate. A sample that a pulse fills partly gets that part of the
pulse's amplitude, so that the integral over a pulse is the same for all bins at any sample rate, and a receiver whose
samples lie in the middle of the generator's meets exactly the shape for which `integrate` is the matched filter.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from labqdl.dsp.errors import DspError
from labqdl.facts.layout import FrameLayout

LEAST_SAMPLES = 2.0
"""Samples a bin below which pulses cannot be told apart."""
_BLOCK = 1 << 16


def window_edges(layout: FrameLayout, bins: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Begin and end of the light of bins, in bins since the shot began; shape of `bins` each."""
    dark = (1.0 - layout.duty) / 2.0
    first = bins.astype(np.float64)
    return first + dark, first + (1.0 - dark)


def _placed(layout: FrameLayout, sample_rate: float, start: float) -> tuple[float, float]:
    """Samples of a bin, and samples before the shot."""
    per_bin = _samples_per_bin(layout, sample_rate)
    before = start * sample_rate
    if not before >= 0:
        raise ValueError(f"start must not be negative, got {start!r}")
    return per_bin, before


def _samples_per_bin(layout: FrameLayout, sample_rate: float) -> float:
    per_bin = sample_rate / layout.bin_rate
    if not per_bin >= LEAST_SAMPLES:
        raise DspError(
            f"{sample_rate:g} S/s make {per_bin:.3g} samples a bin at {layout.bin_rate:g} bins a second",
            expected=f"at least {LEAST_SAMPLES:g} samples a bin",
        )
    return per_bin


def drive(
    symbols: NDArray[np.complex128], layout: FrameLayout, sample_rate: float, *, start: float = 0.0
) -> NDArray[np.complex128]:
    """Samples of the complex amplitude of a shot: pulses that are on during `duty` of each bin, dark in between.

    Parameters
    ----------
    symbols:
        Amplitudes of all bins in any unit, (total_rows, n_modes), as `FrameLayout.symbols` gives them.
    layout:
        Where they lie in time.
    sample_rate:
        Samples a second; need not be a multiple of the bin rate.
    start:
        Seconds from the first sample to the beginning of the shot, not negative.

    Returns
    -------
    (n,), n such that the whole shot is in it.

    Raises
    ------
    DspError
        With fewer than `LEAST_SAMPLES` samples a bin.
    """
    if symbols.shape != (layout.total_rows, layout.n_modes):
        raise ValueError(f"symbols have shape {symbols.shape}, expected {(layout.total_rows, layout.n_modes)}")
    per_bin, before = _placed(layout, sample_rate, start)
    width = math.ceil(layout.duty * per_bin) + 1
    out = np.zeros(math.ceil(before + layout.bins * per_bin) + width + 1, np.complex128)
    flat = symbols.reshape(-1)
    for block in range(0, flat.size, _BLOCK):
        bins = np.arange(block, min(block + _BLOCK, flat.size))
        begin, end = (before + edge * per_bin for edge in window_edges(layout, bins))
        places = np.floor(begin).astype(np.int64)[:, None] + np.arange(width)
        share = np.clip(np.minimum(places + 1, end[:, None]) - np.maximum(places, begin[:, None]), 0.0, 1.0)
        pulses = share * flat[bins, None]
        # Pulses that touch share a sample; those of every other bin never do.
        for parity in (0, 1):
            out[places[parity::2]] += pulses[parity::2]
    return out[: math.ceil(before + layout.bins * per_bin - 1e-6)]


def phase_drive(
    phases: NDArray[np.float64], layout: FrameLayout, sample_rate: float, *, start: float = 0.0
) -> NDArray[np.float64]:
    """Samples of a quantity that keeps one value through each bin: the phase of a local oscillator, a coupler's angle.

    It changes at the boundary of bins, in the dark. A sample takes the value of the bin in which its middle lies.

    Parameters
    ----------
    phases:
        One value for each bin in any unit, (total_rows, n_modes).
    layout, sample_rate, start:
        As for `drive`; samples before the shot have the first bin's value.

    Returns
    -------
    (n,), n as of `drive`.

    Raises
    ------
    DspError
        With fewer than `LEAST_SAMPLES` samples a bin.
    """
    if phases.shape != (layout.total_rows, layout.n_modes):
        raise ValueError(f"phases have shape {phases.shape}, expected {(layout.total_rows, layout.n_modes)}")
    per_bin, before = _placed(layout, sample_rate, start)
    count = math.ceil(before + layout.bins * per_bin - 1e-6)
    bins = np.floor((np.arange(count) + 0.5 - before) / per_bin).astype(np.int64)
    played: NDArray[np.float64] = phases.reshape(-1)[np.clip(bins, 0, layout.bins - 1)]
    return played
