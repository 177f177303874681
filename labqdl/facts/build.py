"""Builds of the gain-and-tap stage, and how good parts get: figures that theory does not know.

A bound for G -> 1 is a limit. A build says how close to it a bench gets (docs/planning.md, "Builds").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from labqdl.facts.operating_point import TapKind


@dataclass(frozen=True, slots=True)
class TapBuild:
    """One way to build the stage. Figures of the other kind keep their defaults, which do nothing.

    Attributes
    ----------
    name, description:
        What people call it, and what it is.
    kind:
        The law that it follows.
    least_gain:
        Smallest net power gain that an amplifier can be held at; 1 where nothing limits it.
    least_split:
        Smallest share of the light that a feed-forward splitter can be made to split off.
    transmissivity_before, transmissivity_after:
        Power transmissivity of the passive parts in front of and behind an amplifier's gain medium. The medium makes
        up for both, so that its gain and with it its noise are larger than the net gain says.
    in_line_transmissivity:
        Power transmissivity for the light that stays in a feed-forward tap (displacement coupler, delay).
    n_sp:
        Spontaneous-emission factor of the gain medium; None takes the ledger's.
    efficiency, electronic_noise:
        Of the detectors inside a feed-forward loop; None takes those of the ledger's client receiver.
    gain_accuracy:
        To how much |t - 1| the net amplitude gain can be held.
    source:
        Where the figures come from.
    """

    name: str
    kind: TapKind
    description: str
    least_gain: float = 1.0
    least_split: float = 0.0
    transmissivity_before: float = 1.0
    transmissivity_after: float = 1.0
    in_line_transmissivity: float = 1.0
    n_sp: float | None = None
    efficiency: float | None = None
    electronic_noise: float | None = None
    gain_accuracy: float = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        limits = {
            "least_gain": (1.0, math.inf),
            "least_split": (0.0, 1.0),
            "transmissivity_before": (1e-6, 1.0),
            "transmissivity_after": (1e-6, 1.0),
            "in_line_transmissivity": (1e-6, 1.0),
            "n_sp": (1.0, math.inf),
            "efficiency": (1e-6, 1.0),
            "electronic_noise": (0.0, math.inf),
            "gain_accuracy": (0.0, math.inf),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{self.name}: {name} must lie between {low:g} and {high:g}, got {value!r}")

    @property
    def least_tapped(self) -> float:
        """Smallest tapped fraction: 1 - 1/G of the least gain, or the least split."""
        return 1.0 - 1.0 / self.least_gain if self.kind is TapKind.AMPLIFIER else self.least_split


@dataclass(frozen=True, slots=True)
class Floor:
    """How good one property of a bench gets, for comparison with what an operating point asks for.

    Attributes
    ----------
    name:
        Which property: `phase-noise` (rad rms), `extinction` (power ratio), `untrusted-loss` (dB), `gain-accuracy`
        (|t - 1|), `path-balance` (rms relative amplitude), `shot-noise-unit` (relative).
    value:
        The best figure that is known to be reached, in that unit.
    words, source:
        What it is the figure of, and where it comes from.
    """

    name: str
    value: float
    words: str
    source: str
