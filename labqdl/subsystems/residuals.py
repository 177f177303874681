"""From the server's measured quadratures to the sums that its tests take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import ResidualSample, ReturnedLight, RowStatistics, UseSums
from labqdl.optics.modes import rotate_j

Real = NDArray[np.floating[Any]]


class ResidualSums:
    """Sums over the images of a block of the residuals r = y - A q of one layer, image by image.

    Parameters
    ----------
    quadratures:
        q that was sent, interleaved, (rows, 2 n_modes) in SNU^(1/2).
    pattern:
        Quadrature that is homodyned in each mode, True for P; (n_modes,).
    expected_amplitude:
        A, honest amplitude of q at the receiver.
    images:
        Images of the block.
    use_sums, sampled:
        As of `ServerPort.set_receiver`.
    """

    def __init__(
        self,
        quadratures: Real,
        pattern: NDArray[np.bool_],
        expected_amplitude: float,
        images: int,
        *,
        use_sums: bool = False,
        sampled: NDArray[np.int64] | None = None,
    ) -> None:
        q = np.asarray(quadratures, np.float64)
        self._rows, self._n_modes = q.shape[0], q.shape[1] // 2
        place = 2 * np.arange(self._n_modes) + pattern
        self.measured = q[:, place]
        self._turned = rotate_j(q)[:, place]
        self._amplitude, self._images = expected_amplitude, images
        self._sums = np.zeros((5, self._rows))
        self._uses = np.zeros((self._rows, self._n_modes)) if use_sums else None
        self._sampled = np.sort(sampled) if sampled is not None and sampled.size else None
        kept = 0 if self._sampled is None else self._sampled.size
        self._kept = np.zeros((kept, self._rows, self._n_modes))

    def add(self, values: Real, rows: slice, first: int) -> None:
        """Take in what was measured.

        Parameters
        ----------
        values:
            Measured quadratures in SNU^(1/2), (images of the shot, rows of the slice, n_modes).
        rows:
            To which rows of the layer they belong.
        first:
            Place of the first image in the block.
        """
        measured, turned = self.measured[rows], self._turned[rows]
        residual = values - self._amplitude * measured
        images = len(values)
        self._sums[0, rows] += images * np.sum(measured**2, axis=1)
        self._sums[1, rows] += np.einsum("irm,rm->r", residual, measured)
        self._sums[2, rows] += np.einsum("irm,irm->r", residual, residual)
        self._sums[3, rows] += images * np.sum(turned**2, axis=1)
        self._sums[4, rows] += np.einsum("irm,rm->r", residual, turned)
        if self._uses is not None:
            self._uses[rows] += residual.sum(axis=0)
        if self._sampled is not None:
            here = np.flatnonzero((self._sampled >= first) & (self._sampled < first + images))
            self._kept[here, rows] = residual[self._sampled[here] - first]

    def light(self, vacuum_squares: float = 0.0, vacuum_slots: int = 0) -> ReturnedLight:
        """Everything, when all images are in."""
        rows = self._rows
        none, zero = np.zeros(rows), np.zeros(rows, np.int64)
        qq, qr, rr, jj, jr = self._sums
        statistics = RowStatistics(
            counted=np.zeros(rows, np.bool_),
            sum_qq=qq,
            sum_qr=qr,
            sum_rr=rr,
            sum_jj=jj,
            sum_jr=jr,
            residuals=np.full(rows, self._images * self._n_modes, np.int64),
            photons=zero,
            slots=zero.copy(),
            expected_photons_signal=none,
            images=self._images,
            vacuum_squares=vacuum_squares,
            vacuum_slots=vacuum_slots,
        )
        uses = None if self._uses is None else UseSums(self._uses.astype(np.float32), self._images)
        sample = None
        if self._sampled is not None:
            # As records keep them: a verdict over the record is then the verdict to the bit.
            kept = self._kept.astype(np.float32)
            sample = ResidualSample(self._sampled, np.arange(rows, dtype=np.int64), kept)
        return ReturnedLight(statistics, uses, sample)
