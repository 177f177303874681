"""Ways to measure the addressed mode and give it back, as noise: what the quantum limit allows, and who reaches it.

A device returns X_out = gain_x X + n_X and P_out = gain_p P + n_P and has a meter m = X + n_M (input-referred). The
meter is classical, so that it commutes with the returned light: [n_M, n_P] = -2i gain_p, and the product of their
variances is at least gain_p^2 (Arthurs and Kelly, Bell Syst. Tech. J. 44, 725; Grangier, Levenson and Poizat, Nature
396, 537). Derivations: docs/physics.md, "Other measurements". The stages that a session can use are in `gain_tap`; the
ones here serve to compare and to plan. Those that squeeze have no classical light: simulate them with vacuum noise at
every port, never with the samplers of this room.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from labqdl.optics.gain_tap import TapLaw

_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measuring device as noise, in SNU.

    Attributes
    ----------
    name:
        What people call it.
    gain_x, gain_p:
        Amplitude gain of the returned quadratures.
    d_x, d_p:
        Variance of the noise that is added to them, at the output: what disturbs the light that goes back.
    n_x:
        Variance of the meter's noise, referred to the input, without the input's own; inf without a meter.
    """

    name: str
    gain_x: float
    gain_p: float
    d_x: float
    d_p: float
    n_x: float

    def __post_init__(self) -> None:
        for name in ("gain_x", "gain_p", "d_x", "d_p", "n_x"):
            value = getattr(self, name)
            if math.isnan(value) or value < 0 or (value == math.inf and name != "n_x"):
                raise ValueError(f"{name} must be finite and not negative, got {value!r}")
        if self.n_x * self.d_p < self.gain_p**2 * (1 - _SLACK):
            raise ValueError(f"no device has N_X D_P = {self.n_x * self.d_p!r} at a gain of {self.gain_p!r} on P")

    @property
    def unit_gain(self) -> bool:
        """Whether both quadratures come back at their own size."""
        return math.isclose(self.gain_x, 1.0, rel_tol=_SLACK) and math.isclose(self.gain_p, 1.0, rel_tol=_SLACK)

    @property
    def photons(self) -> float:
        """Noise photons about the data that a row returns, (D_X + D_P)/4; at unit gain."""
        if not self.unit_gain:
            raise ValueError(f"{self.name}: the returned noise alone tells about the data at unit gain only")
        return (self.d_x + self.d_p) / 4.0

    def signal_to_noise(self, mu: float) -> float:
        """S = 2 mu / (1 + N_X) at mu mean photons per mode at its input, both quadratures encoded."""
        return 2.0 * mu / (1.0 + self.n_x)

    def mu_for(self, signal_to_noise: float) -> float:
        """Mean photons per mode at its input for this S."""
        return 0.5 * signal_to_noise * (1.0 + self.n_x)


def of_tap(law: TapLaw, name: str) -> Measurement:
    """A stage of `gain_tap` with real, balanced gain.

    Raises
    ------
    ValueError
        For a net gain other than 1: its excess over vacuum is then not what it adds.
    """
    if law.net_gain != 1:
        raise ValueError(f"{name}: needs unit net gain, got {law.net_gain!r}")
    return Measurement(name, 1.0, 1.0, law.d_x, law.d_p, law.n_x)


def asymmetric_cloner(disturbance: float) -> Measurement:
    """Optimal asymmetric Gaussian cloner: noise D on the clone that goes back, 1/D on the one that is measured.

    Source: Cerf, Ipe and Rottenberg, PRL 85, 1754; it reaches N_X D_P = 1 without preferring a quadrature.
    """
    _positive("disturbance", disturbance)
    return Measurement("optimal cloner", 1.0, 1.0, disturbance, disturbance, 1.0 / disturbance)


def qnd_tap(squeezer_gain: float, tap_transmissivity: float) -> Measurement:
    """Quantum non-demolition tap: phase-sensitive amplifier X -> g X, tap tau, and an amplifier that restores X.

    D_X = (1-tau)/(tau g^2), D_P = tau (1-tau) g^2, N_X = tau/((1-tau) g^2), gain tau on P (Shapiro, Opt. Lett. 5, 351;
    Braginsky, Vorontsov and Thorne, Science 209, 547). For g -> inf at fixed (1-tau) g^2 it becomes `ideal_qnd`.
    """
    if not (math.isfinite(squeezer_gain) and squeezer_gain >= 1):
        raise ValueError(f"squeezer_gain must be finite and at least 1, got {squeezer_gain!r}")
    _inside("tap_transmissivity", tap_transmissivity)
    tau, tapped, power = tap_transmissivity, 1.0 - tap_transmissivity, squeezer_gain**2
    return Measurement("QND tap", 1.0, tau, tapped / (tau * power), tau * tapped * power, tau / (tapped * power))


def ideal_qnd(disturbance: float) -> Measurement:
    """The limit of `qnd_tap`: noise on P alone, D_P = 1/N_X."""
    _positive("disturbance", disturbance)
    return Measurement("ideal QND", 1.0, 1.0, 0.0, disturbance, 1.0 / disturbance)


def squeezed_vacuum_tap(transmissivity: float, squeezed_variance: float) -> Measurement:
    """Beam splitter of transmissivity t whose free port has squeezed vacuum, variance s in X and 1/s in P.

    D_X = (1-t) s, D_P = (1-t)/s, N_X = t s/(1-t), net gain sqrt(t) on both (Shapiro, Opt. Lett. 5, 351).
    """
    _inside("transmissivity", transmissivity)
    _positive("squeezed_variance", squeezed_variance)
    t, s, split = transmissivity, squeezed_variance, 1.0 - transmissivity
    gain = math.sqrt(t)
    return Measurement("squeezed-vacuum tap", gain, gain, split * s, split / s, t * s / split)


def passive_tap(transmissivity: float) -> Measurement:
    """Beam splitter alone: the mode stays coherent and comes back sqrt(t) times as large; N_X = t/(1-t)."""
    _inside("transmissivity", transmissivity)
    gain, split = math.sqrt(transmissivity), 1.0 - transmissivity
    return Measurement("passive tap", gain, gain, split, split, transmissivity / split)


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")


def _inside(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {value!r}")
