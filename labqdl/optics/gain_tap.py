"""The gain-and-tap stage: what the client does to the addressed mode, and the classical outcome that it gets.

Any such stage that treats both quadratures with one complex gain is described by six figures (`TapLaw`); the two
builds are an amplifier followed by a tap, and a feed-forward tap (splitter, heterodyne, displacement). Excess
variances and covariances are those of the *classical* (normally ordered) noise: each homodyne adds its own unit of
shot noise. For covariances between two different modes that equals the symmetrically ordered value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from labqdl.facts import Ledger, TapKind, TapSetting

_UNIT = 4 * 2.0**-52
"""Net gains closer to 1 than this are 1: tau was meant as 1/G, and only its rounding differs."""


@dataclass(frozen=True, slots=True)
class TapLaw:
    """The law of a gain-and-tap stage for a coherent input, in SNU (docs/physics.md, "Gain and tap").

    Attributes
    ----------
    net_gain:
        Complex amplitude gain t of the addressed mode; 1 for an honest, balanced stage.
    d_x, d_p:
        Excess variance over vacuum of the returned quadratures X and P of the addressed mode.
    outcome_gain:
        Mean outcome per X of the addressed mode at the tap's input.
    outcome_variance:
        Variance of the outcome for a coherent input, with shot and electronic noise.
    covariance_x, covariance_p:
        Covariance of the outcome with the returned X and P.
    """

    net_gain: complex
    d_x: float
    d_p: float
    outcome_gain: float
    outcome_variance: float
    covariance_x: float
    covariance_p: float = 0.0

    def __post_init__(self) -> None:
        for name in ("d_x", "d_p", "outcome_variance"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {value!r}")
        for name in ("outcome_gain", "covariance_x", "covariance_p"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)!r}")
        if not (math.isfinite(self.net_gain.real) and math.isfinite(self.net_gain.imag)):
            raise ValueError(f"net_gain must be finite, got {self.net_gain!r}")

    @property
    def n_x(self) -> float:
        """N_X: noise of the outcome referred to the input, without the light's own unit of shot noise."""
        if self.outcome_gain == 0:
            return math.inf
        return self.outcome_variance / self.outcome_gain**2 - 1.0

    @property
    def added_noise(self) -> float:
        """Mean excess of the two returned quadratures, the eta of docs/physics.md."""
        return (self.d_x + self.d_p) / 2.0

    @property
    def photons(self) -> float:
        """Noise photons that one row carries in the addressed mode, (D_X + D_P)/4: what tells about the data."""
        return (self.d_x + self.d_p) / 4.0


def amplifier_tap(
    gain: float,
    tap_transmissivity: float,
    *,
    n_sp: float = 1.0,
    efficiency: float = 1.0,
    electronic_noise: float = 0.0,
) -> TapLaw:
    """Phase-insensitive amplifier of power gain G, then a tap of transmissivity tau whose light is homodyned.

    Source: PRX 15, 041056; derivation in docs/physics.md. With N the amplifier's classical noise, of variance
    2 n_sp (G-1) a quadrature: X_ret = sqrt(tau) (sqrt(G) X + N), y = sqrt(efficiency (1-tau)) (sqrt(G) X + N) + shot.

    G - 1 enters as such, and 1 - tau as (G-1)/G where tau is 1/G up to rounding, so that digits hold for G -> 1.

    Raises
    ------
    ValueError
        For G < 1, tau or efficiency outside (0, 1], n_sp < 1 or negative electronic noise.
    """
    if not (math.isfinite(gain) and gain >= 1):
        raise ValueError(f"gain must be finite and at least 1, got {gain!r}")
    if not 0 < tap_transmissivity <= 1:
        raise ValueError(f"tap_transmissivity must lie in (0, 1], got {tap_transmissivity!r}")
    if not (math.isfinite(n_sp) and n_sp >= 1):
        raise ValueError(f"n_sp must be finite and at least 1, got {n_sp!r}")
    _check_detector(efficiency, electronic_noise)
    more = gain - 1.0
    balanced = abs(tap_transmissivity * gain - 1.0) <= _UNIT
    tapped = more / gain if balanced else 1.0 - tap_transmissivity
    kept = 1.0 / gain if balanced else tap_transmissivity
    noise = 2.0 * n_sp * more
    return TapLaw(
        net_gain=complex(1.0 if balanced else math.sqrt(kept * gain)),
        d_x=kept * noise,
        d_p=kept * noise,
        outcome_gain=math.sqrt(efficiency * tapped * gain),
        outcome_variance=1.0 + electronic_noise + efficiency * tapped * noise,
        covariance_x=noise * math.sqrt(efficiency * kept * tapped),
    )


def feed_forward_tap(transmissivity: float, *, efficiency: float = 1.0, electronic_noise: float = 0.0) -> TapLaw:
    """Splitter of transmissivity t, heterodyne of the split-off light, displacement of the rest to unit net gain.

    The detector sits inside the feed-forward loop, so its imperfections disturb the returned light as well. The
    outcome is the heterodyne's X referred to the tap's input: m = X + noise, Var m = 2 (1+v)/(e (1-t)) for a coherent
    input, and the returned light is displaced by (1 - sqrt t) m, hence D = (1 - sqrt t)^2 Var m and
    Cov(m, X_ret) = (1 - sqrt t) Var m = 2 (1+v)/(e (1 + sqrt t)); derivation in docs/physics.md.

    Raises
    ------
    ValueError
        For t outside (0, 1), efficiency outside (0, 1] or negative electronic noise.
    """
    if not 0 < transmissivity < 1:
        raise ValueError(f"transmissivity must lie between 0 and 1, got {transmissivity!r}")
    _check_detector(efficiency, electronic_noise)
    amplitude = math.sqrt(transmissivity)
    heterodyne = 2.0 * (1.0 + electronic_noise) / efficiency
    split = 1.0 - transmissivity
    disturbance = heterodyne * split / (1.0 + amplitude) ** 2  # (1 - sqrt t)/(1 + sqrt t) without cancellation
    return TapLaw(
        net_gain=complex(1.0),
        d_x=disturbance,
        d_p=disturbance,
        outcome_gain=1.0,
        outcome_variance=heterodyne / split,
        covariance_x=heterodyne / (1.0 + amplitude),
    )


def tap_law(setting: TapSetting, ledger: Ledger) -> TapLaw:
    """The honest stage with this setting, built from the ledger's amplifier and client receiver."""
    if setting.kind is TapKind.AMPLIFIER:
        return amplifier_tap(
            setting.amplifier_gain,
            setting.tap_transmissivity,
            n_sp=ledger.n_sp,
            efficiency=ledger.client_efficiency,
            electronic_noise=ledger.client_noise,
        )
    return feed_forward_tap(
        setting.tap_transmissivity,
        efficiency=ledger.client_efficiency,
        electronic_noise=ledger.client_noise,
    )


def _check_detector(efficiency: float, electronic_noise: float) -> None:
    if not 0 < efficiency <= 1:
        raise ValueError(f"efficiency must lie in (0, 1], got {efficiency!r}")
    if not (math.isfinite(electronic_noise) and electronic_noise >= 0):
        raise ValueError(f"electronic_noise must be finite and not negative, got {electronic_noise!r}")
