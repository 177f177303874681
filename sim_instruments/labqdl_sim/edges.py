"""Where a voltage crosses a level: what triggers of oscilloscopes and generators look for.

A voltage is a function of time that can be asked anywhere, also in the future; nothing ticks. A search therefore has
a grid: as fine as the caller wants for its first `FINE` points, and `COARSE` ones over the rest, refined where
they find something. Pulses that are shorter than the grid and come late can be missed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from labqdl_sim.ports import Voltages

FINE = 1 << 16
COARSE = 1 << 12
_BACK = 16
_JITTER = np.arange(COARSE) * 0.6180339887498949 % 1.0  # so that no period hides behind the grid


def crossings(volts: NDArray[np.float64], level: float, rising: bool, hysteresis: float = 0.0) -> NDArray[np.intp]:
    """Indices of the first samples beyond `level`, shape (crossings,); between the two halves of the hysteresis a
    voltage counts as where it came from."""
    above = volts >= level + hysteresis / 2 if rising else volts <= level - hysteresis / 2
    below = volts < level - hysteresis / 2 if rising else volts > level + hysteresis / 2
    decided = np.flatnonzero(above | below)
    states = above[decided]
    return decided[1:][states[1:] & ~states[:-1]]


def edges(
    source: Voltages, start: float, stop: float, level: float, rising: bool, hysteresis: float = 0.0
) -> NDArray[np.float64]:
    """Times of all edges from `start` to `stop` on a grid of `FINE` points, shape (edges,)."""
    instants = np.linspace(start, stop, FINE)
    return instants[crossings(source(instants), level, rising, hysteresis)]


def first_edge(
    source: Voltages, start: float, stop: float, resolution: float, level: float, rising: tuple[bool, ...],
    hysteresis: float = 0.0,
) -> float | None:  # fmt: skip
    """Time of the first edge from `start` to `stop` in one of the directions, as exact as `resolution`; None: none."""
    found = [
        time for one in rising if (time := _first(source, start, stop, resolution, level, one, hysteresis)) is not None
    ]
    return min(found, default=None)


def _first(
    source: Voltages, start: float, stop: float, resolution: float, level: float, rising: bool, hysteresis: float
) -> float | None:
    if stop <= start:
        return None
    count = min(math.ceil((stop - start) / resolution) + 1, FINE)
    instants = start + np.arange(count, dtype=np.float64) * resolution
    hits = crossings(source(instants), level, rising, hysteresis)
    if hits.size:
        return float(instants[hits[0]])
    begin, late = float(instants[-1]), None
    while stop > begin:
        step = (stop - begin) / COARSE
        instants = begin + np.append((np.arange(COARSE) + _JITTER) * step, COARSE * step)
        hits = crossings(source(instants), level, rising, hysteresis)
        if not hits.size:
            break
        at = int(hits[0])
        late = float(instants[at])
        if step <= resolution / 128:
            break
        begin, stop = float(instants[max(at - _BACK, 0)]), late  # what is faster than the grid began before
    return late
