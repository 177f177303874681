"""The gain-and-tap stage as the planner turns it: one knob, the fraction of light that it taps.

An amplifier of gain G with a balanced tap taps u = 1 - 1/G, a feed-forward splitter u = 1 - t. Both disturb more and
read better as u grows. A build's own imperfections become parts of the ledger, exactly: an amplifier between passive
losses is one without them and with a larger n_sp; loss inside a feed-forward tap is a smaller transmissivity and a less
efficient detector (docs/planning.md, "Builds").
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import Component, Ledger, Owner, Place, TapBuild, TapKind, TapSetting

Array = NDArray[np.float64]

LEAST_TAPPED = 1e-9
"""Weakest tap that is searched: beyond it G - 1 loses the digits of a float."""
MOST_TAPPED = 0.999
"""Strongest tap that is searched: an amplifier of 30 dB."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A kind of tap, and the build that it is made by (None: the law with the ledger's figures, no floor)."""

    kind: TapKind
    build: TapBuild | None = None

    def __post_init__(self) -> None:
        if self.build is not None and self.build.kind is not self.kind:
            raise ValueError(f"build {self.build.name} is of kind {self.build.kind}, not {self.kind}")

    @property
    def name(self) -> str:
        """What people call it."""
        return self.kind.value if self.build is None else self.build.name

    @property
    def least(self) -> float:
        """Smallest tapped fraction that can be set."""
        return LEAST_TAPPED if self.build is None else max(LEAST_TAPPED, self.build.least_tapped)

    @property
    def gain_accuracy(self) -> float:
        """To how much |t - 1| the net gain can be held; 0 without a build."""
        return 0.0 if self.build is None else self.build.gain_accuracy

    def disturbance(self, tapped: Array, ledger: Ledger) -> Array:
        """D: excess variance of either returned quadrature of the addressed mode, SNU; shape of `tapped`."""
        if self.kind is TapKind.AMPLIFIER:
            return np.asarray(2.0 * self._n_sp(tapped, ledger) * tapped)
        # t' = t l is left of the light that stays; 1 - sqrt t' without cancellation
        left = (1.0 - tapped) * self._in_line
        gone = (tapped + (1.0 - tapped) * (1.0 - self._in_line)) / (1.0 + np.sqrt(left))
        return np.asarray(gone**2 * self._heterodyne(ledger) / tapped)

    def client_noise(self, tapped: Array, ledger: Ledger) -> Array:
        """DX2: variance of the outcome referred to the tap's input, with the light's own unit, SNU."""
        if self.kind is TapKind.AMPLIFIER:
            shot = (1.0 + ledger.client_noise) / ledger.client_efficiency
            return np.asarray(shot * (1.0 - tapped) / tapped + 2.0 * self._n_sp(tapped, ledger) * tapped)
        return np.asarray(self._heterodyne(ledger) / tapped)

    def setting(self, tapped: float) -> TapSetting:
        """The setting that both parties agree on."""
        if self.kind is TapKind.AMPLIFIER:
            return TapSetting.amplifier(1.0 / (1.0 - tapped))
        return TapSetting.feed_forward((1.0 - tapped) * self._in_line)

    def ledger(self, tapped: float, ledger: Ledger) -> Ledger:
        """The ledger with the build's own imperfections in it, at this setting."""
        build = self.build
        if build is None:
            return ledger
        calibration = f"build {build.name}: {build.source or build.description}"
        if self.kind is TapKind.AMPLIFIER:
            factor = float(self._n_sp(np.asarray(tapped), ledger))
            parts = [replace(c, n_sp=1.0) if c.place is Place.TAP else c for c in ledger.components]
            name = f"amplifier ({build.name})"
            parts.append(Component(name, Place.TAP, Owner.CLIENT, n_sp=factor, calibration=calibration))
            return Ledger(ledger.name, tuple(parts))
        replaced = ledger.at(Place.CLIENT_RECEIVER) if build.efficiency is not None else ()
        kept = [component for component in ledger.components if component not in replaced]
        if build.efficiency is not None:
            kept.append(
                Component(
                    f"heterodyne ({build.name})",
                    Place.CLIENT_RECEIVER,
                    Owner.CLIENT,
                    transmissivity=build.efficiency,
                    electronic_noise=build.electronic_noise or 0.0,
                    phase_noise=math.hypot(*(component.phase_noise for component in replaced), 0.0),
                    calibration=calibration,
                )
            )
        if self._in_line < 1.0:
            share = tapped / (1.0 - (1.0 - tapped) * self._in_line)
            name = f"loss inside the tap ({build.name})"
            kept.append(
                Component(name, Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=share, calibration=calibration)
            )
        return Ledger(ledger.name, tuple(kept))

    @property
    def _in_line(self) -> float:
        return 1.0 if self.build is None else self.build.in_line_transmissivity

    def _n_sp(self, tapped: Array, ledger: Ledger) -> Array:
        """Effective n_sp: 2 n_sp (G_int - 1) T_after = 2 n_eff (G - 1) with G = T_before G_int T_after."""
        build = self.build
        if build is None:
            return np.full(np.shape(tapped), ledger.n_sp)
        own = ledger.n_sp if build.n_sp is None else build.n_sp
        before, after = build.transmissivity_before, build.transmissivity_after
        # (G/T_before - T_after)/(G - 1) with G = 1/(1-u)
        return np.asarray(own * ((1.0 / before - after) + after * tapped) / tapped)

    def _heterodyne(self, ledger: Ledger) -> float:
        """H = 2 (1+v)/e, noise of the heterodyne inside a feed-forward tap."""
        build = self.build
        if build is None or build.efficiency is None:
            return 2.0 * (1.0 + ledger.client_noise) / ledger.client_efficiency
        return 2.0 * (1.0 + (build.electronic_noise or 0.0)) / build.efficiency


def tapped_fraction(setting: TapSetting) -> float:
    """u of a setting: 1 - 1/G of an amplifier, 1 - t of a feed-forward tap."""
    if setting.kind is TapKind.AMPLIFIER:
        return (setting.amplifier_gain - 1.0) / setting.amplifier_gain
    return 1.0 - setting.tap_transmissivity


def logit(tapped: Array | float) -> Array:
    """ln(u/(1-u)): the scale on which taps are searched; for the amplifier ln(G-1)."""
    values = np.asarray(tapped, dtype=np.float64)
    return np.log(values) - np.log1p(-values)


def from_logit(position: Array | float) -> Array:
    """The inverse of `logit`."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.asarray(position, dtype=np.float64))))


def decibels_of_gain(setting: TapSetting) -> float:
    """Power gain of an amplifier in dB; 0 for a feed-forward tap."""
    return 10.0 * math.log10(setting.amplifier_gain)
