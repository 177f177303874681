"""What is asked of the planner."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from labqdl.facts import LayerFrame, Ledger
from labqdl.planner.curves import MeasuredCurve
from labqdl.planner.stage import Stage
from labqdl.security.spectrum import Spectrum


class Aim(StrEnum):
    """What is made small, or large, within the limits."""

    MARGIN = "margin"
    """The larger of the two leakages, each in units of its limit."""
    WEIGHTS = "weights"
    """The leakage of the weights."""
    DATA = "data"
    """The leakage of the data."""
    ACCURACY = "accuracy"
    """The accuracy: as much light as the limits allow."""


class Judge(StrEnum):
    """Which figure for the weights of all layers is compared with the limit."""

    LARGEST = "largest"
    """The layer that leaks most per weight, as in the bounds of a run."""
    MEAN = "mean"
    """All bits over all weights: a small last layer may then have more light."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A network as the planner sees it.

    Attributes
    ----------
    name:
        What people call it.
    layers:
        Sizes; `mu` of each is its light in units of the operating point's.
    spectra:
        What is assumed about the directions of each layer's weights; None takes all directions as equally bright.
    curve:
        Measured accuracy against F^2; None where F^2 itself is the target.
    """

    name: str
    layers: tuple[LayerFrame, ...]
    spectra: tuple[Spectrum | None, ...]
    curve: MeasuredCurve | None = None

    def __post_init__(self) -> None:
        if not self.layers or len(self.spectra) != len(self.layers):
            raise ValueError(f"{len(self.spectra)} spectra for {len(self.layers)} layers")


@dataclass(frozen=True, eq=False)
class Question:
    """A target, its limits, and what may be chosen to reach it.

    Attributes
    ----------
    subject, ledger:
        The network, and the honest light path.
    stages:
        Kinds and builds of the tap to choose from.
    accuracy, f2_db:
        The target: an accuracy, by the subject's curve, or F^2 of the operating point in dB. One of them, or none
        where the aim is the accuracy.
    assured:
        Whether the lower end of the accuracy's interval has to reach the target.
    bits_per_weight, bits_per_feature:
        Limits on what leaks, after all uses; None for no limit.
    aim:
        What is optimised within them.
    weight_uses, data_uses:
        Uses of the same weights and of the same data vector that the limits cover.
    cross_use_tested, counting_fraction:
        Whether the server's cross-use test is in force, so that a client cannot put the noise of all uses on their
        sum, and the share of rows that it counts instead of homodyning them: a weight is measured in (1 - share)/2 of
        its uses only.
    judge:
        Which figure for the weights counts.
    last_layer_db:
        Extra light of the last layer in dB: a number, or None to choose it.
    """

    subject: Subject
    ledger: Ledger
    stages: tuple[Stage, ...]
    accuracy: float | None = None
    f2_db: float | None = None
    assured: bool = False
    bits_per_weight: float | None = None
    bits_per_feature: float | None = None
    aim: Aim = Aim.MARGIN
    weight_uses: int = 1
    data_uses: int = 1
    cross_use_tested: bool = False
    counting_fraction: float = 0.25
    judge: Judge = Judge.LARGEST
    last_layer_db: float | None = 0.0

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("there must be a stage to choose")
        targets = sum(value is not None for value in (self.accuracy, self.f2_db))
        if targets != (0 if self.aim is Aim.ACCURACY else 1):
            raise ValueError("a target is either an accuracy or F^2, and none where the accuracy is the aim")
        if self.subject.curve is None and (self.accuracy is not None or self.last_layer_db is None):
            raise ValueError("accuracy, and light of the last layer that is to be chosen, need a measured curve")
        if self.aim is Aim.MARGIN and None in (self.bits_per_weight, self.bits_per_feature):
            raise ValueError("a margin needs both limits")
        if self.aim is Aim.ACCURACY and self.bits_per_weight is None and self.bits_per_feature is None:
            raise ValueError("the accuracy is limited by leakage: it needs a limit")
        for name in ("bits_per_weight", "bits_per_feature"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value!r}")
        if not 0 <= self.counting_fraction < 1:
            raise ValueError(f"counting_fraction must lie in [0, 1), got {self.counting_fraction!r}")
        if min(self.weight_uses, self.data_uses) < 1:
            raise ValueError("uses must be at least 1")

    @property
    def symmetric_noise(self) -> float:
        """Noise that may sit on the sum of all uses of a weight, in units of that of one use.

        All of it without the cross-use test; with it what the accountant of a run charges
        (`security.accountant.WeightsAccountant`).
        """
        if not self.cross_use_tested:
            return float(self.weight_uses)
        return min(float(self.weight_uses), 2.0 / (1.0 - self.counting_fraction))

    @property
    def weight_limit(self) -> float:
        """The limit on the weights; infinite without one."""
        return math.inf if self.bits_per_weight is None else self.bits_per_weight

    @property
    def data_limit(self) -> float:
        """The limit on the data; infinite without one."""
        return math.inf if self.bits_per_feature is None else self.bits_per_feature


def default_aim(bits_per_weight: float | None, bits_per_feature: float | None) -> Aim:
    """What is optimised where nothing is said: the margin within both limits, else what has no limit.

    Without any limit it is the leakage of the weights: that of the data has no smallest value above zero.
    """
    if bits_per_weight is not None and bits_per_feature is not None:
        return Aim.MARGIN
    return Aim.DATA if bits_per_weight is not None else Aim.WEIGHTS
