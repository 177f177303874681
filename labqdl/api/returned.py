"""Arrays of returned light as they lie on disk, beyond the table of statistics; see docs/file-formats.md.

Sums over uses are the homodyned rows only, in rising order, (rows, n_modes). Kept residuals are a table with one line
a vector: its place in the block, and its residuals (homodyned rows, n_modes). Both are float32, as measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import ResidualSample, RowStatistics, UseSums


def pack_use_sums(uses: UseSums, statistics: RowStatistics) -> NDArray[np.float32]:
    """Sums of the homodyned rows."""
    return np.asarray(uses.sums[~statistics.counted], dtype="<f4")


def unpack_use_sums(array: NDArray[Any], statistics: RowStatistics, n_modes: int) -> UseSums:
    """The inverse of `pack_use_sums`; ValueError for an array that does not fit."""
    homodyned = ~statistics.counted
    expected = (int(np.count_nonzero(homodyned)), n_modes)
    if array.dtype != np.dtype("<f4") or array.shape != expected:
        raise ValueError(f"expected sums over uses of shape {expected} in float32, got {array.dtype} of {array.shape}")
    sums = np.zeros((homodyned.size, n_modes), dtype=np.float32)
    sums[homodyned] = array
    return UseSums(sums, statistics.images)


def _sample_dtype(rows: int, n_modes: int) -> np.dtype[np.void]:
    return np.dtype([("image", "<i8"), ("residuals", "<f4", (rows, n_modes))])


def pack_sample(sample: ResidualSample) -> NDArray[np.void]:
    """One line a vector."""
    table = np.zeros(sample.images.size, _sample_dtype(*sample.residuals.shape[1:]))
    table["image"], table["residuals"] = sample.images, sample.residuals
    return table


def unpack_sample(table: NDArray[Any], statistics: RowStatistics, n_modes: int) -> ResidualSample:
    """The inverse of `pack_sample`; ValueError for an array that does not fit."""
    rows = np.flatnonzero(~statistics.counted).astype(np.int64)
    expected = _sample_dtype(rows.size, n_modes)
    if table.dtype != expected or table.ndim != 1:
        raise ValueError(f"expected a table of {expected}, got {table.dtype} of shape {table.shape}")
    return ResidualSample(table["image"].copy(), rows, np.ascontiguousarray(table["residuals"]))
