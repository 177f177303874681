"""What the server's receivers, set as they were, can and cannot have measured; and the fingerprint of a record.

A record that no receiver can give is a fault of the bench or a damaged file, not evidence against the client, so it
is refused before the verifier sees it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import ResidualSample, ReturnedLight, RowStatistics, UseSums

_TOLERANCE = 1e-3
"""Relative: sums that the server can predict, taken by a receiver in single precision."""
_SUMS = ("sum_qq", "sum_qr", "sum_rr", "sum_jj", "sum_jr", "expected_photons_signal")
"""Columns of real numbers in a record."""
_LARGEST_SUM = 1e30
_LARGEST_COUNT = 10**15
"""Per row, SNU and photons: far beyond any receiver, and small enough that no sum over rows overflows."""
_LARGEST_RESIDUAL = 1e9
"""Of one quadrature, SNU^(1/2)."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How the server's receivers were set for one layer of one block.

    Attributes
    ----------
    pattern, counted:
        Quadratures (n_modes,), True for P, and rows that were counted instead (rows,).
    images:
        Vectors for which the rows were streamed.
    use_sums:
        Whether residuals were summed over the uses of each weight.
    sampled:
        Vectors of which every residual was kept, rising.
    vacuum_slots:
        Vacuum slots beside each homodyned row of each vector.
    """

    pattern: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    images: int
    use_sums: bool
    sampled: NDArray[np.int64]
    vacuum_slots: int = 0


def impossible(light: ReturnedLight, setting: Setting, quadratures: NDArray[np.floating[Any]]) -> str | None:
    """Why receivers with this setting cannot have measured this, None if they can.

    `quadratures` (rows, n_weights) are those that were sent, SNU^(1/2).
    """
    statistics, counted = light.statistics, setting.counted
    left_off = light.use_sums is None and light.sample is None and nothing_measured(statistics)
    if left_off and statistics.counted.shape == counted.shape and statistics.images == setting.images:
        return None
    where = 2 * np.arange(setting.pattern.size) + setting.pattern
    # Columns: the quadratures are in Fortran order. Jq on a measured quadrature is q on the other one, up to its sign.
    sent, turned = np.take(quadratures.T, where, axis=0), np.take(quadratures.T, where ^ 1, axis=0)
    problem = _impossible_sums(statistics, setting, sent, turned)
    if problem is not None:
        return problem
    if (light.use_sums is not None) != setting.use_sums:
        return "sums over uses are there and were not asked for, or the other way round"
    if (light.sample is not None) != bool(setting.sampled.size):
        return "single residuals are there and were not asked for, or the other way round"
    if light.use_sums is not None:
        problem = _impossible_use_sums(light.use_sums, statistics, setting, sent)
    if problem is None and light.sample is not None:
        problem = _impossible_sample(light.sample, statistics, setting)
    return problem


def _impossible_sums(
    statistics: RowStatistics,
    setting: Setting,
    sent: NDArray[np.floating[Any]],
    turned: NDArray[np.floating[Any]],
) -> str | None:
    s, counted, images = statistics, setting.counted, setting.images
    if s.counted.shape != counted.shape or s.counted.dtype != np.bool_ or not np.array_equal(s.counted, counted):
        return "the counted rows are not those that were chosen"
    if s.images != images:
        return f"{s.images} images, expected {images}"
    for name in _SUMS:
        array = getattr(s, name)
        if not np.issubdtype(array.dtype, np.floating) or not (np.abs(array) <= _LARGEST_SUM).all():
            return f"{name} is not finite, or beyond any receiver"
    for name in ("residuals", "photons", "slots"):
        if not np.issubdtype(getattr(s, name).dtype, np.integer):
            return f"{name} is no whole number"
    per_row = images * setting.pattern.size
    if (s.residuals != np.where(counted, 0, per_row)).any() or (s.slots != np.where(counted, per_row, 0)).any():
        return f"a row has {per_row} residuals or slots"
    if (s.photons < 0).any() or (s.photons > _LARGEST_COUNT).any() or s.photons[~counted].any():
        return "photons are counted in counted rows only, not negative, and not beyond any counter"
    if s.sum_qr[counted].any() or s.sum_rr[counted].any() or s.sum_jr[counted].any():
        return "a counted row has no residuals"
    if s.vacuum_slots != setting.vacuum_slots * images * int(np.count_nonzero(~counted)):
        return f"{s.vacuum_slots} vacuum slots are not those that were asked for"
    if not (0 <= s.vacuum_squares <= _LARGEST_SUM) or bool(s.vacuum_squares) != bool(s.vacuum_slots):
        return "the vacuum slots' sum of squares is not possible"
    on_measured = images * np.einsum("jk,jk->k", sent, sent).astype(np.float64)
    on_others = images * np.einsum("jk,jk->k", turned, turned).astype(np.float64)
    for name, expected in (
        ("sum_qq", np.where(counted, 0.0, on_measured)),
        ("sum_jj", np.where(counted, 0.0, on_others)),
        ("expected_photons_signal", np.where(counted, 0.25 * (on_measured + on_others), 0.0)),
    ):
        if not np.allclose(getattr(s, name), expected, rtol=_TOLERANCE, atol=1e-9):
            return f"{name} is not that of the rows that were sent"
    for square, product in ((s.sum_qq, s.sum_qr), (s.sum_jj, s.sum_jr)):
        limit = np.sqrt(np.abs(square)) * np.sqrt(np.maximum(s.sum_rr, 0.0)) * (1.0 + _TOLERANCE)
        if (s.sum_rr < 0).any() or (np.abs(product) > limit + 1e-9).any():
            return "the sums are no sums of squares and products (Cauchy-Schwarz)"
    return None


def _impossible_use_sums(
    uses: UseSums, statistics: RowStatistics, setting: Setting, sent: NDArray[np.floating[Any]]
) -> str | None:
    sums, shape = uses.sums, setting.counted.shape + setting.pattern.shape
    if sums.shape != shape or not np.issubdtype(sums.dtype, np.floating) or uses.images != setting.images:
        return f"sums over uses are not those of {setting.images} uses of {shape[0]} x {shape[1]} weights"
    if not (np.abs(sums) <= _LARGEST_RESIDUAL * setting.images).all():
        return "sums over uses are not finite, or beyond any receiver"
    if sums[setting.counted].any():
        return "a counted row has no sums over uses"
    squares = np.einsum("kj,kj->k", sums, sums).astype(np.float64)
    if (squares > setting.images * statistics.sum_rr * (1.0 + _TOLERANCE) + 1e-9).any():
        return "sums over uses and sums of squares do not fit (Cauchy-Schwarz)"
    products = np.einsum("kj,jk->k", sums, sent).astype(np.float64)
    scale = np.sqrt(np.abs(statistics.sum_qq) * statistics.sum_rr)
    if (np.abs(products - statistics.sum_qr) > _TOLERANCE * scale + 1e-9).any():
        return "sum_qr is not that of the sums over uses"
    return None


def _impossible_sample(sample: ResidualSample, statistics: RowStatistics, setting: Setting) -> str | None:
    residuals, rows = sample.residuals, np.flatnonzero(~setting.counted)
    if not (np.array_equal(sample.images, setting.sampled) and np.array_equal(sample.rows, rows)):
        return "single residuals are not those of the vectors and rows that were chosen"
    if residuals.shape[2] != setting.pattern.size or not np.issubdtype(residuals.dtype, np.floating):
        return f"single residuals are {residuals.dtype} of shape {residuals.shape}"
    if not (np.abs(residuals) <= _LARGEST_RESIDUAL).all():
        return "single residuals are not finite, or beyond any receiver"
    squares = np.einsum("ikj,ikj->k", residuals, residuals).astype(np.float64)
    if (squares > statistics.sum_rr[rows] * (1.0 + _TOLERANCE) + 1e-9).any():
        return "single residuals have more squares than all residuals together"
    return None


def nothing_measured(statistics: RowStatistics) -> bool:
    """Whether the server left its receivers off: no symbols, so no evidence either way and nothing certified.

    It is the server's own decision. A client that returns nothing still leaves shot noise in the receivers.
    """
    names = (*_SUMS, "counted", "residuals", "photons", "slots")
    return not any(getattr(statistics, name).any() for name in names)


def fingerprint(layer: int, block: int, statistics: RowStatistics) -> bytes:
    """BLAKE2b-256 of one record in a fixed layout: kept in its place, so that the record itself need not be.

    The verifier keeps one of sums over uses and single residuals itself.
    """
    head = f"{layer},{block},{statistics.images},{statistics.counted.size};"
    if statistics.vacuum_slots:
        head += f"vacuum {statistics.vacuum_slots} {statistics.vacuum_squares.hex()};"
    digest = hashlib.blake2b(head.encode(), digest_size=32)
    for name in _SUMS:
        digest.update(getattr(statistics, name).astype("<f8").tobytes())
    for name in ("counted", "residuals", "photons", "slots"):
        digest.update(getattr(statistics, name).astype("<i8").tobytes())
    return digest.digest()
