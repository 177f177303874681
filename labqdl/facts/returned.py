"""What the server's receivers give back for one layer of one block, from sums to single residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts.statistics import RowStatistics


@dataclass(frozen=True, slots=True)
class UseSums:
    """Residuals of each weight, summed over the uses in one block: what the cross-use test accumulates.

    Attributes
    ----------
    sums:
        Sum over the block's images of the residual of each homodyned quadrature, SNU^(1/2); (rows, n_modes). Zero
        rows where the row was counted. The quadratures are those of the block's pattern.
    images:
        Uses of each weight in the block.
    """

    sums: NDArray[np.float32]
    images: int


@dataclass(frozen=True, slots=True)
class ResidualSample:
    """Every residual of the images that were drawn for a closer look.

    Attributes
    ----------
    images:
        Their places in the block, rising; (sampled,).
    rows:
        Homodyned rows, rising; (homodyned,).
    residuals:
        Homodyned quadratures less the expected ones, SNU^(1/2); (sampled, homodyned, n_modes).
    """

    images: NDArray[np.int64]
    rows: NDArray[np.int64]
    residuals: NDArray[np.floating[Any]]

    def __post_init__(self) -> None:
        expected = (self.images.size, self.rows.size)
        if self.residuals.ndim != 3 or self.residuals.shape[:2] != expected:
            raise ValueError(f"residuals have shape {self.residuals.shape}, expected {expected} and the modes")


@dataclass(frozen=True, slots=True)
class ReturnedLight:
    """All that the server measured of one layer of one block; the optional parts as the plan asks for them."""

    statistics: RowStatistics
    use_sums: UseSums | None = None
    sample: ResidualSample | None = None
