"""The operating point: how bright the light is and how strongly the client measures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class TapKind(StrEnum):
    """How the client reads the addressed mode and gives it back."""

    AMPLIFIER = "amplifier"
    """Phase-insensitive amplifier of power gain G, then a tap of transmissivity tau (1/G when balanced)."""
    FEED_FORWARD = "feed-forward"
    """Beam splitter of transmissivity t, heterodyne of the split-off light, displacement back to unit gain."""


@dataclass(frozen=True, slots=True)
class TapSetting:
    """Setting of the gain-and-tap stage that both parties agree on.

    Attributes
    ----------
    kind:
        Which build.
    amplifier_gain:
        Power gain G >= 1 of the amplifier; 1 for the feed-forward tap, which has none.
    tap_transmissivity:
        Power transmissivity in (0, 1): tau of the tap behind the amplifier, t of the feed-forward splitter.
    """

    kind: TapKind
    amplifier_gain: float
    tap_transmissivity: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.amplifier_gain) and self.amplifier_gain >= 1):
            raise ValueError(f"amplifier_gain must be a finite number >= 1, got {self.amplifier_gain!r}")
        if not 0 < self.tap_transmissivity < 1:
            raise ValueError(f"tap_transmissivity must lie between 0 and 1, got {self.tap_transmissivity!r}")
        if self.kind is TapKind.FEED_FORWARD and self.amplifier_gain != 1:
            raise ValueError("a feed-forward tap has no amplifier: amplifier_gain must be 1")

    @classmethod
    def amplifier(cls, gain: float, tap_transmissivity: float | None = None) -> TapSetting:
        """Amplifier and tap; without `tap_transmissivity` balanced to unit net gain, tau = 1/G."""
        if not (math.isfinite(gain) and gain > 1):
            raise ValueError(f"amplifier_gain must be a finite number > 1 to measure anything, got {gain!r}")
        return cls(TapKind.AMPLIFIER, gain, 1.0 / gain if tap_transmissivity is None else tap_transmissivity)

    @classmethod
    def feed_forward(cls, transmissivity: float) -> TapSetting:
        """Feed-forward tap with power transmissivity t in (0, 1)."""
        return cls(TapKind.FEED_FORWARD, 1.0, transmissivity)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Light and tap of a session.

    Attributes
    ----------
    mu:
        Mean photons per mode at the *server's output* plane, averaged over a layer; > 0.
    tap:
        Setting of the client's gain-and-tap stage.
    """

    mu: float
    tap: TapSetting

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mu) and self.mu > 0):
            raise ValueError(f"mu must be a positive finite number of photons per mode, got {self.mu!r}")

    @property
    def modulation_variance(self) -> float:
        """V_A = 2 mu, variance of one modulated quadrature in SNU at the server's output."""
        return 2.0 * self.mu
