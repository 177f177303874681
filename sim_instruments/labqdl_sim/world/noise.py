"""Random processes whose value at an instant depends on nothing but the seed, a name and that instant.

Whoever asks, in whichever order and however often, meets the same numbers: the tapped light and the returned light
share the noise of one amplifier although two digitizers ask for them at different times.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from labqdl.rng import Root

CHUNK = 4096
"""Raster points that one keyed generator fills."""
_KEPT = 128
_LEVELS = 40
"""A Wiener process is bridged down from an interval of 2**_LEVELS chunks."""
_OFFSET = 1 << 62
"""Added to indices, which may be negative; keys may not."""

Real = NDArray[np.float64]


class White:
    """Independent standard normals on the world's raster.

    Parameters
    ----------
    root, purpose:
        Address of the numbers.
    columns:
        Independent processes that are drawn together.
    """

    def __init__(self, root: Root, purpose: str, columns: int = 1) -> None:
        self._root, self._purpose, self._columns = root, purpose, columns
        self._chunk = lru_cache(maxsize=_KEPT)(self._drawn)

    def _drawn(self, chunk: int) -> Real:
        generator = self._root.generator(self._purpose, chunk + _OFFSET)
        return generator.standard_normal((self._columns, CHUNK))

    def at(self, first: int, count: int) -> Real:
        """Values at raster indices first ... first + count - 1; (columns, count)."""
        begin, end = first // CHUNK, -(-(first + count) // CHUNK)
        parts = [self._chunk(index) for index in range(begin, end)]
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        skipped = first - begin * CHUNK
        return joined[:, skipped : skipped + count]


class Wiener:
    """A Wiener process with unit variance a second that can be asked anywhere (Levy's construction).

    Parameters
    ----------
    root, purpose:
        Address of the numbers.
    step:
        Raster on which the path is refined, s; between its points it is straight.
    """

    def __init__(self, root: Root, purpose: str, step: float) -> None:
        self._root, self._purpose, self._step = root, purpose, step
        self._steps = White(root, f"{purpose} steps")
        self._node = lru_cache(maxsize=1 << 14)(self._bridged)

    def _normal(self, level: int, index: int) -> float:
        return float(self._root.generator(f"{self._purpose} bridge", level, index).standard_normal())

    def _bridged(self, level: int, index: int) -> float:
        """Value at chunk boundary index * 2**level, in units of the square root of a chunk's variance; 0 at 0."""
        if index <= 0:
            return 0.0
        if level >= _LEVELS:
            return self._normal(level, index) * 2.0 ** (level / 2) if index == 1 else 0.0
        if index % 2 == 0:
            return self._node(level + 1, index // 2)
        before, after = self._node(level + 1, index // 2), self._node(level + 1, index // 2 + 1)
        between: float = (before + after) / 2 + self._normal(level, index) * 2.0 ** ((level - 1) / 2)
        return between

    def at(self, instants: Real) -> Real:
        """The path at equally spaced or any rising instants in s (0 before 0); shape in = shape out."""
        if instants.size == 0:
            return np.zeros(0)
        position = np.maximum(instants / self._step, 0.0)
        begin, end = int(position[0]) // CHUNK, int(position[-1]) // CHUNK
        path = np.concatenate([self._path(chunk) for chunk in range(begin, end + 1)])
        local = position - begin * CHUNK
        low = np.minimum(local.astype(np.int64), path.size - 2)
        # Chunks join at one value, which the next one repeats: places behind a join move on by one each.
        low += low // CHUNK
        share = local - np.floor(local)
        values: Real = path[low] * (1.0 - share) + path[np.minimum(low + 1, path.size - 1)] * share
        return values

    def _path(self, chunk: int) -> Real:
        scale = np.sqrt(CHUNK * self._step)
        ends = self._node(0, chunk) * scale, self._node(0, chunk + 1) * scale
        steps = self._steps.at(chunk * CHUNK, CHUNK)[0] * np.sqrt(self._step)
        walk = np.concatenate([[0.0], np.cumsum(steps)])
        share = np.arange(CHUNK + 1) / CHUNK
        bridge = walk - share * walk[-1]
        path: Real = ends[0] + bridge + share * (ends[1] - ends[0])
        return path


class Drift:
    """A stationary slow process of unit variance and given correlation time: sums of it with white noise are drift.

    An Ornstein-Uhlenbeck process on a raster of a tenth of its correlation time, straight in between: independent
    normals over the last 10 correlation times, weighted by its memory.
    """

    _MEMORY = 100

    def __init__(self, root: Root, purpose: str, correlation_time: float) -> None:
        self._white = White(root, purpose)
        self._step = correlation_time / 10
        weights = np.exp(-np.arange(self._MEMORY) / 10)
        self._weights = weights / np.sqrt(np.sum(weights**2))

    def at(self, instants: Real) -> Real:
        """The process at instants in s; shape in = shape out."""
        position = instants / self._step
        low, high = int(np.floor(position.min())), int(np.floor(position.max())) + 1
        drawn = self._white.at(low - self._MEMORY + 1, high - low + self._MEMORY)[0]
        values = np.convolve(drawn, self._weights, mode="valid")
        result: Real = np.interp(position, np.arange(low, high + 1), values)
        return result
