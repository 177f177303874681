"""Figures about the client's outcomes against what ideal light would have given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labqdl.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELLS = 90
"""Cells of the density along each axis."""
_FEW = 3000
"""Fewer points than this are drawn one by one."""
_TAIL = 2e-4
"""Share of the points that the limits of an axis may leave out at each end."""


@dataclass(frozen=True, slots=True)
class OutcomeFit:
    """Least squares line through outcomes against ideal outcomes, with standard errors.

    Attributes
    ----------
    points:
        How many outcomes.
    slope, slope_error, offset, offset_error:
        Of outcome = slope * ideal + offset.
    noise:
        Variance of the outcomes about that line, in the square of their unit.
    f2_db, f2_db_error:
        F² = slope²/noise for ideal outcomes in units of unit-RMS weights, whose mean square is 1 for random data: the
        signal-to-noise ratio of an outcome, dB; the error is first order in both estimates.
    """

    points: int
    slope: float
    slope_error: float
    offset: float
    offset_error: float
    noise: float
    f2_db: float
    f2_db_error: float


def fit_outcomes(ideal: NDArray[np.floating[Any]], measured: NDArray[np.floating[Any]]) -> OutcomeFit:
    """The line through `measured` (any shape) against `ideal` (the same shape).

    Raises
    ------
    ValueError
        For fewer than three points, other shapes, or ideal outcomes that are all the same.
    """
    x, y = np.asarray(ideal, np.float64).ravel(), np.asarray(measured, np.float64).ravel()
    if x.shape != y.shape or x.size < 3:
        raise ValueError(f"a line needs three points or more, got {x.size} ideal and {y.size} measured outcomes")
    centre, level = float(x.mean()), float(y.mean())
    spread = float(np.mean((x - centre) ** 2))
    if spread == 0:
        raise ValueError("all ideal outcomes are the same")
    slope = float(np.mean((x - centre) * (y - level))) / spread
    noise = float(np.mean((y - level - slope * (x - centre)) ** 2)) * x.size / (x.size - 2)
    slope_error = math.sqrt(noise / (x.size * spread))
    if noise > 0 and slope != 0:
        f2_db = 10 * math.log10(slope**2 / noise)
        error = 10 / math.log(10) * math.hypot(2 * slope_error / slope, math.sqrt(2 / x.size))
    else:
        f2_db, error = math.inf if noise == 0 else -math.inf, 0.0
    offset_error = math.sqrt(noise / x.size + (centre * slope_error) ** 2)
    return OutcomeFit(x.size, slope, slope_error, level - slope * centre, offset_error, noise, f2_db, error)


@style.styled
def outcomes(
    ideal: NDArray[np.floating[Any]],
    measured: NDArray[np.floating[Any]],
    *,
    fit: OutcomeFit | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Density of outcomes over ideal inner products, with the line through them and the line of perfect light.

    A few outcomes are drawn as points.

    Parameters
    ----------
    ideal:
        Inner products of unit-RMS weights with unit data vectors; any shape.
    measured:
        Outcomes in the same unit, that is over what the agreed light makes of 1; the same shape.
    fit:
        The line to draw; computed where it is not given.
    """
    x, y = np.asarray(ideal).ravel(), np.asarray(measured).ravel()
    fit = fit_outcomes(x, y) if fit is None else fit
    limits = [_inner(values) for values in (x, y)]
    ax = style.axes(ax, height=68.0)
    if x.size < _FEW:
        ax.plot(x, y, color=style.BLUE, marker="o", linestyle="none", markersize=2, alpha=0.5, markeredgewidth=0)
    else:
        _density(ax, x, y, limits)
    ends = np.array(limits[0])
    words = f"fit: slope {_digits(fit.slope, fit.slope_error)}, F² = {_digits(fit.f2_db, fit.f2_db_error)} dB"
    ax.plot(ends, fit.slope * ends + fit.offset, color="white", linewidth=3.0)
    ax.plot(ends, fit.slope * ends + fit.offset, color=style.VERMILION, linewidth=1.8, label=words)
    ax.plot(ends, ends, color=style.BLACK, linestyle=(0, (4, 3)), linewidth=0.9, label="perfect light: slope 1")
    ax.set_xlim(*limits[0])
    ax.set_ylim(*limits[1])
    ax.set_xlabel("ideal inner product (unit-RMS weights, unit data)")
    ax.set_ylabel("measured outcome (same unit)")
    style.legend_above(ax, columns=1)
    return ax


def _density(
    ax: Axes, x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]], limits: list[tuple[float, float]]
) -> None:
    """Counts in cells, on a logarithmic scale of blue with its bar."""
    from matplotlib.colors import LogNorm

    counts, _, _ = np.histogram2d(x, y, bins=_CELLS, range=limits)
    most = max(float(counts.max()), 10.0)
    image = ax.imshow(
        np.ma.masked_less(counts.T, 1),
        origin="lower",
        extent=(*limits[0], *limits[1]),
        aspect="auto",
        interpolation="nearest",
        cmap=style.DENSITY,
        norm=LogNorm(1, most),
    )
    bar = style.figure_of(ax).colorbar(image, ax=ax, pad=0.02, aspect=30)
    bar.set_label("outcomes in a cell")
    style.log_axis(bar.ax.yaxis, 1, most)
    bar.outline.set_linewidth(0.4)


def _inner(values: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Limits that leave out the outermost few."""
    low, high = (float(value) for value in np.quantile(values, [_TAIL, 1 - _TAIL]))
    return style.limits_around([low, high], 0.04)


def _digits(value: float, error: float) -> str:
    """A number with as many digits as its standard error allows, two at least."""
    if not math.isfinite(value):
        return f"{value:g}"
    places = 2 if error <= 0 else min(max(-math.floor(math.log10(error)), 2), 6)
    return f"{value:.{places}f}".replace("-", "−")
