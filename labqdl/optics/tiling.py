"""Rows that are longer than the client's interferometer, cut into tiles of almost equal length.

A row of n modes meets an interferometer of fewer in C tiles, one after the other; each is a row of its own to the
light. The client sets the unit vector u_c = x_c/|x_c| of a tile and adds z = sum |x_c| y_c: as sum |x_c|^2 = 1, z has
the noise of one outcome. It learns every partial sum, and the tap's noise comes back once for each tile
(docs/physics.md, "Tiles"). Here lies the bookkeeping alone: which mode belongs to which tile.

Rows are streamed tile by tile: all rows of the first tile, all of the second, and so on. Tiles differ by one mode at
most; the shorter ones end in a slot of vacuum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = np.floating[Any]


def lengths(n_modes: int, tiles: int) -> tuple[int, ...]:
    """Modes of each tile; they differ by one at most."""
    if not 1 <= tiles <= n_modes:
        raise ValueError(f"{n_modes} modes cannot be cut into {tiles} tiles")
    short, longer = divmod(n_modes, tiles)
    return (short + 1,) * longer + (short,) * (tiles - longer)


def cut(rows: NDArray[Real], tiles: int) -> NDArray[Real]:
    """Interleaved rows (..., n_weights) as tiles (..., tiles, 2 tile_modes), padded with zeros."""
    each = lengths(rows.shape[-1] // 2, tiles)
    if len(set(each)) == 1:
        return rows.reshape(*rows.shape[:-1], tiles, 2 * each[0])
    result: NDArray[Real] = np.zeros((*rows.shape[:-1], tiles, 2 * each[0]), dtype=rows.dtype)
    start = 0
    for tile, length in enumerate(each):
        result[..., tile, : 2 * length] = rows[..., start : start + 2 * length]
        start += 2 * length
    return result


def stream(rows: NDArray[Real], tiles: int) -> NDArray[Real]:
    """Rows of light (rows, n_weights) as they are streamed: (tiles * rows, 2 tile_modes), tile by tile."""
    if tiles == 1:
        return rows
    parts = cut(rows, tiles).swapaxes(0, 1)
    return np.ascontiguousarray(parts).reshape(tiles * len(rows), -1)


def aim(x: NDArray[Real], tiles: int, generator: np.random.Generator) -> tuple[NDArray[Real], NDArray[np.float64]]:
    """Unit vectors of all tiles of unit vectors, and the norms that their outcomes count with.

    A tile of zeros has no direction: it gets a fresh, uniformly random one, since skipping it would show the support
    of the data; its norm is 0. Numbers are drawn for such tiles only.

    Parameters
    ----------
    x:
        (vectors, n_weights).
    generator:
        The client's own stream.

    Returns
    -------
    Directions (vectors, tiles * 2 tile_modes), tile by tile, dtype of `x`; norms (vectors, tiles).
    """
    if tiles == 1:
        return x, np.ones((len(x), 1))
    parts = cut(x, tiles).astype(np.float64)
    norms = np.linalg.norm(parts, axis=2)
    for vector, tile in np.argwhere(norms == 0):
        length = 2 * lengths(x.shape[1] // 2, tiles)[tile]
        parts[vector, tile, :length] = generator.standard_normal(length)
    parts /= np.linalg.norm(parts, axis=2)[:, :, None]
    return parts.reshape(len(x), -1).astype(x.dtype), norms


def join(outcomes: NDArray[Real], norms: NDArray[np.float64]) -> NDArray[Real]:
    """Outcomes of whole rows (vectors, rows) from those of all tiles (vectors, tiles * rows): z = sum |x_c| y_c."""
    tiles = norms.shape[1]
    if tiles == 1:
        return outcomes
    parts = outcomes.reshape(len(outcomes), tiles, -1)
    joined: NDArray[Real] = np.einsum("ict,ic->it", parts, norms).astype(outcomes.dtype)
    return joined
