"""Sufficient statistics of returned light, row by row, summed over the images of a block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RowStatistics:
    """What the server's receivers measured on one layer of one block; one entry a row, summed over its images.

    The residual of a homodyned quadrature is r = y_s - expected_amplitude * q, with y_s the measured value in SNU,
    q the quadrature that was sent and expected_amplitude = sqrt(T eta_s) of the honest ledger. A counted row was
    displaced by the honest expectation before counting.

    Attributes (each of shape (rows,))
    ----------------------------------
    counted:
        True for rows that were counted, False for rows that were homodyned.
    sum_qq, sum_qr, sum_rr:
        Sums of q^2, q r and r^2 over the homodyned quadratures, SNU; 0 for counted rows. float64.
    sum_jj, sum_jr:
        Sums of (Jq)^2 and (Jq) r over the homodyned quadratures, SNU, where Jq = (-P, X) in interleaved order is the
        light turned by a quarter: the phase of the returned light shows along it. 0 for counted rows. float64.
    residuals:
        Number of homodyned quadratures; 0 for counted rows. int64.
    photons:
        Photons counted; 0 for homodyned rows. int64.
    slots:
        Mode slots counted; 0 for homodyned rows. int64.
    expected_photons_signal:
        Photons of the sent light that were nulled (sum over slots of |alpha|^2 at the server's output), which
        imperfect extinction scales with; 0 for homodyned rows. float64.
    images:
        Images in the block (scalar).
    vacuum_squares, vacuum_slots:
        Sum of squares of the quadratures that were homodyned in vacuum slots beside the rows, in the unit in which the
        receiver is calibrated, and their number (scalars); 0 where the shot-noise unit is known without them.
    """

    counted: NDArray[np.bool_]
    sum_qq: NDArray[np.float64]
    sum_qr: NDArray[np.float64]
    sum_rr: NDArray[np.float64]
    sum_jj: NDArray[np.float64]
    sum_jr: NDArray[np.float64]
    residuals: NDArray[np.int64]
    photons: NDArray[np.int64]
    slots: NDArray[np.int64]
    expected_photons_signal: NDArray[np.float64]
    images: int
    vacuum_squares: float = 0.0
    vacuum_slots: int = 0

    def __post_init__(self) -> None:
        for name in (
            "sum_qq",
            "sum_qr",
            "sum_rr",
            "sum_jj",
            "sum_jr",
            "residuals",
            "photons",
            "slots",
            "expected_photons_signal",
        ):
            if getattr(self, name).shape != self.counted.shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {self.counted.shape}")
