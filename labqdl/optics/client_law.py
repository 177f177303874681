"""Everything that a client's box does to a row of light, honest or cheating, as one Gaussian law.

Light is described by classical amplitudes with classical Gaussian noise (P-sampling, docs/physics.md): exact as long
as nobody squeezes. Beta is the row's amplitude at the tap plane, u the data's unit vector, x and Jx its two real
directions, X_b the addressed quadrature. The box returns, and its owner reads,

    returned = k beta + (t-1) (u^dagger beta) u + zeta + (N_X + i N_P)/2 u,
    y        = outcome_gain X_b + e_y + c (x . zeta),

where zeta has variance `isotropic_noise` in every quadrature of every mode, and e_y, N_X, N_P follow the tap's law.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from labqdl.facts import Ledger, TapKind, TapSetting
from labqdl.optics.gain_tap import TapLaw, amplifier_tap, feed_forward_tap, tap_law


@dataclass(frozen=True, slots=True)
class ClientLaw:
    """The law of a client's box at the tap plane.

    Attributes
    ----------
    name:
        What the client does, for reports.
    tap:
        The directed part: gain, noise on the addressed mode, outcome.
    isotropic_gain:
        k, amplitude gain of all modes; 1 for an honest client.
    isotropic_noise:
        Classical noise that all returned quadratures get, SNU; 0 for an honest client.
    isotropic_coupling:
        c, how much of that noise's component along x the outcome carries.
    """

    name: str
    tap: TapLaw
    isotropic_gain: float = 1.0
    isotropic_noise: float = 0.0
    isotropic_coupling: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.isotropic_noise) and self.isotropic_noise >= 0):
            raise ValueError(f"isotropic_noise must be finite and not negative, got {self.isotropic_noise!r}")
        for name in ("isotropic_gain", "isotropic_coupling"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)!r}")

    @property
    def directed_gain(self) -> complex:
        """t - 1: what the addressed mode gets beyond the isotropic gain."""
        return self.tap.net_gain - 1.0

    def attenuated(self, transmissivity: float) -> ClientLaw:
        """The same box with everything that it returns attenuated; the outcome stays.

        A client that replaced the return fibre by a lossless one needs this to hide it.
        """
        if not 0 < transmissivity <= 1:
            raise ValueError(f"transmissivity must lie in (0, 1], got {transmissivity!r}")
        amplitude = math.sqrt(transmissivity)
        tap = replace(
            self.tap,
            net_gain=1.0 + amplitude * self.directed_gain,
            d_x=transmissivity * self.tap.d_x,
            d_p=transmissivity * self.tap.d_p,
            covariance_x=amplitude * self.tap.covariance_x,
            covariance_p=amplitude * self.tap.covariance_p,
        )
        return replace(
            self,
            tap=tap,
            isotropic_gain=amplitude * self.isotropic_gain,
            isotropic_noise=transmissivity * self.isotropic_noise,
            isotropic_coupling=self.isotropic_coupling / amplitude,
        )


def honest(ledger: Ledger, setting: TapSetting) -> ClientLaw:
    """The client that does what was agreed, with the receiver that the ledger names."""
    return ClientLaw("honest", tap_law(setting, ledger))


def _reader(variance: float) -> TapLaw:
    """A tap that leaves the addressed mode as it is; the outcome is X_b plus a given noise."""
    return TapLaw(complex(1.0), 0.0, 0.0, 1.0, variance, 0.0)


def intercept_resend(gain: str = "unit", mu_at_client: float | None = None) -> ClientLaw:
    """Heterodynes every mode and sends new coherent states of the amplitudes that it read.

    A heterodyne reads a coherent quadrature with variance 2. `gain` "unit" sends what was read; "mmse" sends the
    least-squares estimate mu/(mu+1) of it, for which `mu_at_client`, the mean photons per mode at the tap plane, is
    needed. The outcome is x times the readings, so it carries the very noise that is returned.

    Raises
    ------
    ValueError
        For another gain, or "mmse" without a positive `mu_at_client`.
    """
    if gain == "unit":
        factor = 1.0
    elif gain == "mmse":
        if mu_at_client is None or not (math.isfinite(mu_at_client) and mu_at_client > 0):
            raise ValueError(f"the MMSE gain needs a positive mu_at_client, got {mu_at_client!r}")
        factor = mu_at_client / (mu_at_client + 1.0)
    else:
        raise ValueError(f"gain must be 'unit' or 'mmse', got {gain!r}")
    return ClientLaw(
        f"intercept-resend ({gain} gain)",
        _reader(0.0),
        isotropic_gain=factor,
        isotropic_noise=2.0 * factor**2,
        isotropic_coupling=1.0 / factor,
    )


def cloner(returned_noise: float = 1.0) -> ClientLaw:
    """Optimal Gaussian cloner on all modes: returns one clone and measures along x on the other.

    The returned clone has `returned_noise` D per quadrature, the kept one 1/D, the least that is possible; the
    default is the symmetric cloner. In classical terms the two noises are one noise, zeta and zeta/D, to which the
    homodyne of the kept clone adds its shot noise.
    """
    if not (math.isfinite(returned_noise) and returned_noise > 0):
        raise ValueError(f"returned_noise must be positive and finite, got {returned_noise!r}")
    return ClientLaw("cloner", _reader(1.0), isotropic_noise=returned_noise, isotropic_coupling=1.0 / returned_noise)


def substitution(kind: str = "vacuum", error_variance: float = 0.0) -> ClientLaw:
    """Keeps all light, homodynes it along x, and returns something else.

    `kind` "vacuum" returns nothing; "estimate" returns coherent states of an estimate of the weights that it already
    has, with an error of `error_variance` (SNU, at the tap plane) in every quadrature, independent for every image.

    Raises
    ------
    ValueError
        For another kind or a negative error variance.
    """
    if kind == "vacuum":
        return ClientLaw("substitution (vacuum)", _reader(1.0), isotropic_gain=0.0)
    if kind == "estimate":
        return ClientLaw("substitution (estimate)", _reader(1.0), isotropic_noise=error_variance)
    raise ValueError(f"kind must be 'vacuum' or 'estimate', got {kind!r}")


def over_amplification(setting: TapSetting, actual_gain: float, ledger: Ledger) -> ClientLaw:
    """Measures more strongly than agreed, at unit net gain, with a perfect detector.

    The amplifier's power gain becomes `actual_gain` and the tap 1/`actual_gain`; a feed-forward tap splits off the
    same share of the light, so its transmissivity becomes 1/`actual_gain`. The amplifier keeps the ledger's n_sp.
    """
    if not (math.isfinite(actual_gain) and actual_gain > 1):
        raise ValueError(f"actual_gain must be a finite number > 1, got {actual_gain!r}")
    if setting.kind is TapKind.AMPLIFIER:
        tap = amplifier_tap(actual_gain, 1.0 / actual_gain, n_sp=ledger.n_sp)
    else:
        tap = feed_forward_tap(1.0 / actual_gain)
    return ClientLaw(f"over-amplification (G = {actual_gain:g})", tap)


def passive_tap(fraction: float, setting: TapSetting, ledger: Ledger) -> ClientLaw:
    """Splits a fraction of all light off before an otherwise honest box.

    What it learns from the split-off light is charged to the bounds, not drawn here.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, got {fraction!r}")
    left = math.sqrt(1.0 - fraction)
    tap = tap_law(setting, ledger)
    tap = replace(tap, net_gain=1.0 + left * (tap.net_gain - 1.0), outcome_gain=left * tap.outcome_gain)
    return ClientLaw(f"passive tap ({fraction:g})", tap, isotropic_gain=left)


def coherent_meter(variance: float) -> ClientLaw:
    """Lets one coherent meter touch every use of the same weights, and reads it after the last one.

    A coupling of this strength adds `variance` (SNU per quadrature and mode) to the returned light: the *same* noise
    at every use, which is drawn as the sampler's `offset` and is no part of this law. The meter itself carries the
    noise 1/`variance` of an optimal clone, which is what a reading after a single use would suffer from.

    Raises
    ------
    ValueError
        For a variance that is not positive.
    """
    if not (math.isfinite(variance) and variance > 0):
        raise ValueError(f"variance must be positive and finite, got {variance!r}")
    return ClientLaw("coherent meter over all uses", _reader(1.0 + 1.0 / variance))


def spiking(noise: float, setting: TapSetting, ledger: Ledger) -> ClientLaw:
    """Clones every mode with `noise` in front of an otherwise honest box, and spikes vacuum slots with as much.

    All that crosses the client gets the noise D of an optimal cloner, so that a shot-noise unit that was measured on
    slots which crossed the client is too large by 1 + D. The outcome reads the returned clone.
    """
    if not (math.isfinite(noise) and noise > 0):
        raise ValueError(f"noise must be positive and finite, got {noise!r}")
    tap = tap_law(setting, ledger)
    return ClientLaw(
        f"cloner that spikes vacuum slots ({noise:g} SNU)",
        tap,
        isotropic_noise=noise,
        isotropic_coupling=tap.outcome_gain,
    )
