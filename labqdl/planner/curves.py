"""A model's accuracy against F^2 as the planner uses it: monotone, invertible, with an interval.

Measured points carry the scatter of finite data and noise draws. They are made monotone by isotonic regression and
interpolated by a monotone cubic in dB; nothing is extrapolated. Where the last layer was measured with more light
than the others, the needed F^2 is interpolated linearly in those decibels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression
from scipy.special import betaincinv

Array = NDArray[np.float64]

CONFIDENCE = 0.95
"""Of the interval of an accuracy."""


@dataclass(frozen=True, eq=False)
class MeasuredCurve:
    """Accuracy against F^2, measured once and kept.

    Attributes
    ----------
    f2_db:
        F^2 of the operating point in dB, rising; shape (points,).
    last_layer_db:
        By how much more light the last layer had than the model gives it, dB, rising, 0 among them; shape (splits,).
    accuracy:
        Fraction right, mean over the noise draws; shape (splits, points).
    vectors, draws:
        Data vectors, and noise draws for each of them.
    measured_on:
        What they were, in words: which data, and that the model was not trained on them.
    fingerprint:
        Of the model that was measured; empty for a published curve.
    """

    f2_db: Array
    last_layer_db: Array
    accuracy: Array
    vectors: int
    draws: int
    measured_on: str
    fingerprint: str = ""

    def __post_init__(self) -> None:
        for name in ("f2_db", "last_layer_db"):
            values = getattr(self, name)
            if values.ndim != 1 or not np.isfinite(values).all() or (np.diff(values) <= 0).any():
                raise ValueError(f"{name} must be a rising list of finite numbers")
        if self.f2_db.size < 2 or 0.0 not in self.last_layer_db:
            raise ValueError("a curve needs two points of F^2, and the light of the model itself (0 dB)")
        if self.accuracy.shape != (self.last_layer_db.size, self.f2_db.size):
            raise ValueError(f"accuracy has shape {self.accuracy.shape}")
        if not ((self.accuracy >= 0) & (self.accuracy <= 1)).all():
            raise ValueError("accuracies lie between 0 and 1")
        if self.vectors < 1 or self.draws < 1:
            raise ValueError("vectors and draws must be at least 1")

    @cached_property
    def _fits(self) -> tuple[PchipInterpolator, ...]:
        return tuple(PchipInterpolator(self.f2_db, isotonic_regression(row).x) for row in self.accuracy)

    def at(self, f2_db: Array | float, last_layer_db: float = 0.0) -> Array:
        """Accuracy at F^2 in dB; constant beyond the measured range."""
        inside = np.clip(f2_db, self.f2_db[0], self.f2_db[-1])
        low, weight = self._split(last_layer_db)
        mean = self._fits[low](inside)
        if weight > 0.0:
            mean = (1.0 - weight) * mean + weight * self._fits[low + 1](inside)
        return np.asarray(np.clip(mean, 0.0, 1.0))

    def best(self, last_layer_db: float = 0.0) -> float:
        """Accuracy at the largest F^2 that was measured."""
        return float(self.at(self.f2_db[-1], last_layer_db))

    def interval(self, accuracy: float) -> tuple[float, float]:
        """Clopper-Pearson interval at 95 % for this many vectors, as if each had been seen once.

        Several noise draws on the same vectors make the mean more precise than that, never less; the interval is for
        other data of the same kind.
        """
        right = accuracy * self.vectors
        tail = 0.5 * (1.0 - CONFIDENCE)
        low = float(betaincinv(right, self.vectors - right + 1.0, tail)) if right > 0 else 0.0
        high = float(betaincinv(right + 1.0, self.vectors - right, 1.0 - tail)) if right < self.vectors else 1.0
        return low, high

    def f2_for(self, accuracy: float, last_layer_db: float = 0.0, *, assured: bool = False) -> float | None:
        """Smallest F^2 in dB at which the accuracy is reached; None if it is not, within the measured range.

        assured: the lower end of the interval has to reach it, not the mean. The first measured point is returned
        where even that suffices.
        """

        def reached(position: float) -> bool:
            value = float(self.at(position, last_layer_db))
            return (self.interval(value)[0] if assured else value) >= accuracy

        low, high = float(self.f2_db[0]), float(self.f2_db[-1])
        if not reached(high):
            return None
        if reached(low):
            return low
        while high - low > 1e-9 * max(1.0, abs(high)):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if reached(middle) else (middle, high)
        return high

    def _split(self, last_layer_db: float) -> tuple[int, float]:
        first, last = float(self.last_layer_db[0]), float(self.last_layer_db[-1])
        if not first - 1e-12 <= last_layer_db <= last + 1e-12:
            raise ValueError(f"last_layer_db must lie between {first:g} and {last:g}, got {last_layer_db!r}")
        if self.last_layer_db.size == 1:
            return 0, 0.0
        place = int(np.searchsorted(self.last_layer_db, last_layer_db, side="right")) - 1
        low = min(max(place, 0), self.last_layer_db.size - 2)
        width = float(self.last_layer_db[low + 1] - self.last_layer_db[low])
        return low, min(max((last_layer_db - float(self.last_layer_db[low])) / width, 0.0), 1.0)
