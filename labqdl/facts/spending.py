"""What uses of the same weights, or of the same datum, have disclosed together: sums that can be added over runs."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spending:
    """Sums over all uses of one layer's weights, or of one data vector. Units add up over runs of unequal light.

    Attributes
    ----------
    uses:
        How often the weights were sent, or how many rows of weights have probed the vector.
    photons:
        Weights: mean photons per mode where the charged part of the path begins, summed over uses. Data: noise photons
        about the vector that these rows have returned.
    lost:
        Weights: of these photons, how many the charged part of the path has not returned. 0 for data.
    noise:
        Weights: excess noise on the symmetric mode of all uses at the end of the charged part, SNU. 0 for data.
    bits:
        Data: bits in total that are added as they are (hidden vectors, net gain off 1). 0 for weights.
    """

    uses: int = 0
    photons: float = 0.0
    lost: float = 0.0
    noise: float = 0.0
    bits: float = 0.0

    def __post_init__(self) -> None:
        if self.uses < 0:
            raise ValueError(f"uses must be at least 0, got {self.uses!r}")
        for name in ("photons", "lost", "noise", "bits"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and at least 0, got {value!r}")

    def __add__(self, other: Spending) -> Spending:
        return Spending(
            self.uses + other.uses,
            self.photons + other.photons,
            self.lost + other.lost,
            self.noise + other.noise,
            self.bits + other.bits,
        )
