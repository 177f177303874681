"""Settings of instruments on the raster, and what electronics make of a voltage."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from labqdl_sim.ports import Voltages
from labqdl_sim.world.fields import Grid

HELD = 4096
"""Raster points for which a setting that is known as a function of time is held."""
_FORGOTTEN = 40.0
"""Time constants after which a low pass remembers nothing: exp(-40) is below the rounding of numbers."""

_GRADUAL = 1e4
"""Blocks that a process takes at least to change: straight lines miss it by less than 1e-4 of its width then."""

Real = NDArray[np.float64]
T = TypeVar("T", np.float64, np.complex128)


def held(evaluate: Callable[[float], float], grid: Grid) -> float | Real:
    """A slow function of time, asked once for each block of `HELD` raster points, at the block's first instant.

    Blocks lie on the world's raster, so that overlapping pulls see the same values.

    Returns
    -------
    One number where all blocks agree, else (count,).
    """
    begin, end = grid.first // HELD, (grid.first + grid.count - 1) // HELD
    values = np.array([evaluate(block * HELD * grid.step) for block in range(begin, end + 1)])
    if np.all(values == values[0]):
        return float(values[0])
    result: Real = np.repeat(values, HELD)[grid.first - begin * HELD :][: grid.count]
    return result


def gradual(evaluate: Callable[[Real], NDArray[T]], grid: Grid, time: float) -> NDArray[T]:
    """A process that hardly changes in `HELD` raster points, by straight lines between the ends of their blocks.

    Parameters
    ----------
    evaluate:
        The process at rising instants.
    time:
        On which it changes, s. Where that is too fast for it, the process is asked at every point.
    """
    if time < _GRADUAL * HELD * grid.step:
        return evaluate(grid.instants)
    begin, end = grid.first // HELD, (grid.first + grid.count - 1) // HELD
    ends = evaluate(np.arange(begin, end + 2, dtype=np.float64) * (HELD * grid.step))
    lines = ends[:-1, None] + np.diff(ends)[:, None] * (np.arange(HELD) / HELD)
    result: NDArray[T] = lines.ravel()[grid.first - begin * HELD :][: grid.count]
    return result


def low_passed(source: Voltages, grid: Grid, bandwidth: float) -> Real:
    """A voltage behind a single pole.

    y_k = a y_(k-1) + (1 - a) v_k with a = exp(-2 pi B d) and step d: transfer (1 - a)/(1 - a e^(-i w d)). Above twice
    the rate of the raster the pole is left out.
    """
    decay = 2.0 * math.pi * bandwidth * grid.step
    if not 0 < decay < _FORGOTTEN / 3:
        return source(grid.instants)
    before = math.ceil(_FORGOTTEN / decay)
    drive = source(grid.widened(before).instants)
    pole = math.exp(-decay)
    passed, _ = lfilter([1.0 - pole], [1.0, -pole], drive, zi=[pole * drive[0]])
    result: Real = passed[before:]
    return result
