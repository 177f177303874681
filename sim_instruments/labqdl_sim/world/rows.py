"""How an interferometer cuts the light that passes it into rows of time bins.

Rows begin `delay` seconds after a rising edge of the synchronisation voltage and follow each other without gaps until
the next edge. Before any edge, and where nothing is plugged in, they count from instrument time 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labqdl_sim.edges import crossings
from labqdl_sim.ports import Voltages
from labqdl_sim.world.fields import Grid

_POINTS = 4096
_REACHES = tuple(2.56e-4 * 8.0**level for level in range(5))
"""How far back an edge is looked for, s: in windows of `_POINTS`, so that a pulse is found that is longer than 1/4096
of the time since then; up to 1 s."""
_SNAP = 0.05
"""Share of a raster step by which an edge may lie behind a raster point and still begin with it: rounding of late
instrument times, not physics."""


def _refined(source: Voltages, low: float, high: float, level: float) -> float:
    """The edge between an instant below the level and a later one above it."""
    while high - low > 1e-12 + 1e-15 * abs(high):
        instants = np.linspace(low, high, 65)
        place = int(np.argmax(source(instants) >= level))
        if place == 0:  # a noisy voltage: the edge is here
            return low
        low, high = float(instants[place - 1]), float(instants[place])
    return high


def last_edge(source: Voltages, before: float, level: float) -> float | None:
    """Time of the last rising edge at or before an instant; None: there was none in the last second."""
    newest = before
    for reach in _REACHES:
        instants = np.linspace(before - reach, newest, _POINTS)
        hits = crossings(source(instants), level, rising=True)
        if hits.size:
            at = int(hits[-1])
            return _refined(source, float(instants[at - 1]), float(instants[at]), level)
        newest = float(instants[0])
    return None


def origins(source: Voltages | None, grid: Grid, delay: float, level: float) -> list[tuple[int, int, float]]:
    """Spans of a grid between edges: first point, point behind the last one, and where the rows of the span begin."""
    if source is None:
        return [(0, grid.count, 0.0)]
    sync = source

    def late(instants: NDArray[np.float64]) -> NDArray[np.float64]:
        return sync(instants - delay)

    first = last_edge(late, grid.start, level)
    spans: list[tuple[int, int, float]] = []
    begin, origin = 0, 0.0 if first is None else first
    instants = grid.instants
    for at in crossings(late(instants), level, rising=True):
        edge = _refined(late, float(instants[at - 1]), float(instants[at]), level)
        place = int(np.ceil((edge - grid.start) / grid.step - _SNAP))
        spans.append((begin, place, origin))
        begin, origin = place, edge
    spans.append((begin, grid.count, origin))
    return [span for span in spans if span[1] > span[0]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Whole rows that cover a piece of a grid.

    Attributes
    ----------
    grid:
        The raster points of these rows.
    shape:
        (rows, bins of a row, points of a bin).
    skipped, begin, end:
        Points of `grid` before the piece, and the piece's place in the grid that was asked for.
    """

    grid: Grid
    shape: tuple[int, int, int]
    skipped: int
    begin: int
    end: int

    @property
    def instants(self) -> NDArray[np.float64]:
        """Instants of all points; `shape`."""
        return self.grid.instants.reshape(self.shape)

    def place(self, values: NDArray[np.complex128], target: NDArray[np.complex128]) -> None:
        """Put what belongs to the piece, of `shape`, into an array for the whole grid."""
        target[self.begin : self.end] = values.ravel()[self.skipped : self.skipped + self.end - self.begin]


def cut(
    source: Voltages | None, grid: Grid, bins: int, points: int, delay: float = 0.0, level: float = 0.5
) -> Iterator[Rows]:
    """Rows of `bins` bins of `points` raster points that cover a grid.

    Parameters
    ----------
    source:
        The synchronisation voltage, V; None for none.
    grid:
        Where light is asked for.
    bins, points:
        Bins of a row, raster points of a bin.
    delay:
        Seconds from an edge to the first row's beginning.
    level:
        Volts at which an edge counts.
    """
    whole = bins * points
    for begin, end, origin in origins(source, grid, delay, level):
        first = int(np.floor((grid.start - origin) / grid.step + _SNAP)) + begin
        skipped = first % whole
        rows = -(-(skipped + end - begin) // whole)
        start = grid.start + (begin - skipped) * grid.step
        yield Rows(Grid(start, grid.step, rows * whole), (rows, bins, points), skipped, begin, end)
