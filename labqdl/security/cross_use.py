"""The cross-use test: residuals of each weight summed over all of its uses.

A client that adds the same noise to every use of a weight passes every test of single uses, and its noise grows on the
symmetric mode of the uses. The honest client's noise is fresh at every use, so that the sum S of a weight's residuals
over its K measured uses has the variance K (floor + its share of the spike), whatever the data, repeated data
included. The test is on the sum of S^2/K over all weights. Derivation: `docs/physics.md`, section "Verification".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import UseSums
from labqdl.security.expected import HonestLayer, Totals
from labqdl.security.quadratic import QuadraticLaw

_SCALE = 2.0**24
"""Sums are kept in units of 2^-24: whole numbers, which add up to the same in any order."""
_LARGEST = 2.0**31
"""Largest sum of one block, SNU^(1/2): far beyond any receiver, and 2^8 blocks of it still fit."""


@dataclass(frozen=True, slots=True)
class CrossUseTotals:
    """What the cross-use test of one layer rests on.

    Attributes
    ----------
    sum_squares:
        Sum over the homodyned weights of S^2/K, SNU; S is the sum of a weight's residuals over its K measured uses.
    weights:
        Number of terms: weights that were homodyned at least once.
    uses:
        Mean K over these weights. A weight is measured in a random part of its uses only (one quadrature of a mode at a
        time, uncounted rows), so that K is about (1 - counting fraction)/2 of `images`.
    images:
        Uses of every weight, measured or not.
    spikes_most, spikes_least:
        Bounds, for every data, on the trace of the normalised spike: how many of the terms can carry the client's
        whole noise on the addressed mode. The most are whole numbers a row, so that the upper tail is proven.
    energy:
        Sum of |q|^2 over the rows that have terms, one image, SNU at the server's output.
    """

    sum_squares: float = 0.0
    weights: int = 0
    uses: float = 0.0
    images: int = 0
    spikes_most: int = 0
    spikes_least: float = 0.0
    energy: float = 0.0

    @property
    def mean_square(self) -> float:
        """Mean of S^2/K, SNU; the floor and the spike's share for an honest client. Needs at least one weight."""
        return self.sum_squares / self.weights


class UseAccumulator:
    """Sums of residuals of every weight of one layer over its uses, and how often each weight was measured.

    Sums are held as whole numbers, so that blocks may come in any order. Memory: 12 bytes a weight.

    Parameters
    ----------
    rows, n_modes:
        Of the layer.
    """

    def __init__(self, rows: int, n_modes: int) -> None:
        self._sums = np.zeros((rows, 2 * n_modes), dtype=np.int64)
        self._uses = np.zeros((rows, 2 * n_modes), dtype=np.int32)
        self._blocks: list[tuple[int, NDArray[np.bool_]]] = []  # images, homodyned rows

    @staticmethod
    def check(sums: NDArray[np.floating[Any]]) -> None:
        """Refuse sums that no receiver gives; ValueError."""
        if not (np.abs(sums) <= _LARGEST).all():
            raise ValueError("sums of residuals are not finite, or beyond any receiver")

    def add(self, use: UseSums, pattern: NDArray[np.bool_], counted: NDArray[np.bool_]) -> None:
        """Take in one block: sums (rows, n_modes) at the quadratures of `pattern` (n_modes,), True for P.

        counted: rows (rows,) that were counted instead; their sums are ignored.
        """
        rows, columns = self._sums.shape
        if use.sums.shape != (rows, columns // 2) or pattern.shape != (columns // 2,):
            raise ValueError(f"sums have shape {use.sums.shape}, pattern {pattern.shape}; {rows} rows were expected")
        self.check(use.sums)
        where = 2 * np.arange(pattern.size) + pattern
        homodyned = ~counted
        whole = np.rint(use.sums.astype(np.float64) * _SCALE).astype(np.int64)
        whole[counted] = 0
        self._sums[:, where] += whole
        self._uses[:, where] += np.int32(use.images) * homodyned[:, np.newaxis].astype(np.int32)
        self._blocks.append((use.images, homodyned))

    def totals(self, row_energy: NDArray[np.float64]) -> CrossUseTotals:
        """Totals over the blocks so far; `row_energy` is |q_k|^2 of every row, (rows,), SNU."""
        measured = self._uses > 0
        weights = int(np.count_nonzero(measured))
        if weights == 0:
            return CrossUseTotals(images=sum(images for images, _ in self._blocks))
        squares = np.square(self._sums / _SCALE) / np.maximum(self._uses, 1)
        rows = measured.any(axis=1)
        fewest = np.where(measured, self._uses, np.iinfo(np.int32).max).min(axis=1)[rows].astype(np.float64)
        most = self._uses.max(axis=1)[rows].astype(np.float64)
        # An image of a block meets weights that were measured as often as the block has images, or more often.
        highest, lowest = np.zeros(fewest.size), np.zeros(fewest.size)
        for images, homodyned in self._blocks:
            highest += homodyned[rows] * np.minimum(1.0, images / fewest)
            lowest += homodyned[rows] * (images / most)
        per_row = np.minimum(np.ceil(highest - 1e-9), np.count_nonzero(measured, axis=1)[rows])
        return CrossUseTotals(
            sum_squares=math.fsum(squares.sum(axis=1).tolist()),
            weights=weights,
            uses=int(self._uses.sum(dtype=np.int64)) / weights,
            images=sum(images for images, _ in self._blocks),
            spikes_most=int(per_row.sum()),
            spikes_least=float(np.minimum(lowest, per_row).sum()),
            energy=math.fsum(row_energy[rows].tolist()),
        )


def cross_use_law(layer: HonestLayer, totals: Totals, uses: CrossUseTotals, *, high: bool) -> QuadraticLaw:
    """Worst law of sum S^2/K for the upper (`high`) or the lower tail, over every data.

    Each row's normalised sums have the covariance floor + spike M, with M's eigenvalues at most 1 and its trace between
    `spikes_least` and `spikes_most` over all rows; the concentrated spike is the worst. Phase noise adds its own
    variance, at most that of a single use, in the upper tail only. What every use returns too little of (`droop`), or
    too much of (`mismatch`), and what gain and phase may be off at every use, adds up over the uses: a mean whose
    square grows with K.

    totals: sums of the same blocks.
    """
    if not high:
        return layer.squares(uses.weights, uses.spikes_least, 0.0, 0.0, 0.0, high=False)
    lost = layer.amplitude * layer.droop * math.sqrt(totals.qq)
    gained = layer.amplitude * math.sqrt(layer.mean_energy(totals.images))
    shift = (lost + gained + layer.tolerated(totals.qq, totals.energy - totals.qq)) ** 2
    return layer.squares(uses.weights, uses.spikes_most, uses.energy, layer.phase + layer.flutter, shift, high=True)


def pooled_law(
    layers: Sequence[HonestLayer], totals: Sequence[Totals], uses: Sequence[CrossUseTotals], *, high: bool
) -> QuadraticLaw:
    """`cross_use_law` of several layers together."""
    return QuadraticLaw.sum(
        cross_use_law(layer, part, use, high=high) for layer, part, use in zip(layers, totals, uses, strict=True)
    )
