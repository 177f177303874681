"""Settings of instruments on the raster, and what electronics make of a voltage."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from labqdl_sim.ports import Voltages
from labqdl_sim.world.fields import Grid

HELD = 1024
"""Raster points for which a setting that is known as a function of time is held."""
_FORGOTTEN = 40.0
"""Time constants after which a low pass remembers nothing: exp(-40) is below the rounding of numbers."""

Real = NDArray[np.float64]


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
