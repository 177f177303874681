"""What a client's own detectors at its input saw: evidence about the server that no server has a hand in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POWER_MONITOR = "client's power monitor"
"""Name of the ledger's component (place client-in, owner client) whose lost light falls on the client's power meter."""

WATCHDOG_DARK_COUNTS = 1e-6
"""Mean dark counts per mode slot of the emulated detector of out-of-band light."""


@dataclass(frozen=True, slots=True)
class MonitorReading:
    """The client's monitors during one layer of one block, summed over the vectors that were streamed.

    Attributes
    ----------
    photons:
        Photons that the power meter counted in each row; (rows,), int64.
    fraction:
        Share of the light at the client's input that reaches the power meter and is counted; 0 without a meter.
    out_of_band:
        Photons outside of the band in which the client's stage works, behind a filter that reflects all of them;
        darks included.
    dark_counts:
        Mean dark counts of that detector per mode slot, as calibrated.
    """

    photons: NDArray[np.int64]
    fraction: float
    out_of_band: int
    dark_counts: float = WATCHDOG_DARK_COUNTS

    def __post_init__(self) -> None:
        if self.photons.ndim != 1 or not np.issubdtype(self.photons.dtype, np.integer) or (self.photons < 0).any():
            raise ValueError("photons must be whole numbers, one for each row, not negative")
        if not 0 <= self.fraction < 1:
            raise ValueError(f"fraction must lie in [0, 1), got {self.fraction!r}")
        if self.out_of_band < 0 or not 0 <= self.dark_counts < np.inf:
            raise ValueError("counts must not be negative")
