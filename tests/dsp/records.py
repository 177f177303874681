"""Records as a digitizer would take them, computed without labqdl.dsp: each sample is the mean over its own time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts.layout import FrameLayout

INTERVAL = 1 / 62.5e6


def light(
    symbols: NDArray[np.complex128],
    layout: FrameLayout,
    *,
    start: float,
    ppm: float = 0.0,
    interval: float = INTERVAL,
    count: int | None = None,
) -> NDArray[np.complex128]:
    """Mean amplitude over each sample's time (half an interval to either side of its instant), without noise; (n,)."""
    per_bin = layout.bin_time / interval * (1 + 1e-6 * ppm)
    width = layout.duty * per_bin
    begin = start / interval + 0.5 + (np.arange(layout.bins) + (1 - layout.duty) / 2) * per_bin
    total = int(begin[-1] + per_bin) + 50 if count is None else count
    flat = symbols.ravel()
    until = np.cumsum(flat) * width
    corners = np.stack([begin, begin + width], axis=1).ravel()
    heights = np.stack([until - flat * width, until], axis=1).ravel()
    grid = np.arange(total + 1.0)
    return np.diff(np.interp(grid, corners, heights.real) + 1j * np.interp(grid, corners, heights.imag))


def shot(
    symbols: NDArray[np.complex128],
    layout: FrameLayout,
    generator: np.random.Generator,
    *,
    start: float,
    ppm: float = 0.0,
    snr: float = 100.0,
    real: bool = True,
    amplitude: complex = 1.0,
    offset: complex = 0.0,
    linewidth: float = 0.0,
    interval: float = INTERVAL,
    count: int | None = None,
) -> NDArray[Any]:
    """A noisy record: `snr` is the power of a bin with symbol 1 over the noise of one quadrature, integrated."""
    clean = light(symbols, layout, start=start, ppm=ppm, interval=interval, count=count) * amplitude
    if linewidth:
        steps = np.sqrt(2 * np.pi * linewidth * interval) * generator.standard_normal(clean.size)
        clean *= np.exp(1j * np.cumsum(steps))
    noise = abs(amplitude) * np.sqrt(layout.duty * layout.bin_time / interval / snr)
    if real:
        return np.asarray(clean.real + complex(offset).real + noise * generator.standard_normal(clean.size))
    quadratures = generator.standard_normal((clean.size, 2)).view(np.complex128)[:, 0]
    return np.asarray(clean + offset + noise * quadratures)


def gaussian_data(layout: FrameLayout, generator: np.random.Generator, scale: float = 0.5) -> NDArray[np.complex128]:
    """Symbols of a shot with Gaussian data rows."""
    shape = (layout.images, layout.rows, layout.n_modes, 2)
    return layout.symbols(scale * generator.standard_normal(shape).view(np.complex128)[..., 0], 1.0)
