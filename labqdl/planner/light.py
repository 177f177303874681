"""Signal and leakage of many operating points at once: closed forms of one ledger, one tap and one network's sizes.

They repeat `security.channel.honest_channel`, `optics.expectation.signal_to_noise` and `security.engines` for arrays
of tapped fractions, at unit net gain; tests hold them together. A plan's own figures come from those functions.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from labqdl.facts import LayerFrame, Ledger, Place
from labqdl.planner.stage import Array, Stage
from labqdl.security.channel import client_input, client_output, trusted_parts
from labqdl.security.data import data_leakage
from labqdl.security.holevo import weight_leakage

Sizes = tuple[tuple[int, int, int], ...]
"""(rows, modes) of every layer."""


@dataclass(frozen=True, slots=True)
class Path:
    """What a ledger does to light that meets a stage of unit net gain, as the coefficients of the closed forms.

    Attributes
    ----------
    forward:
        T_1, server's output to tap.
    forward_excess:
        Technical noise at the tap's input, SNU.
    blur:
        1 - exp(-sigma_1^2) of the phase noise at the client's receiver: share of the signal that becomes noise.
    arriving, passed:
        Transmissivity in front of the charged part of the path, and of the charged part.
    technical:
        Excess noise at the end of the charged part without tap and phase, SNU.
    behind:
        Transmissivity of the charged part behind the tap.
    turned:
        1 - exp(-sigma^2) of the phase noise at the server's receiver.
    client_in, client_out:
        Transmissivity of what the client owns in front of and behind the tap.
    """

    forward: float
    forward_excess: float
    blur: float
    arriving: float
    passed: float
    technical: float
    behind: float
    turned: float
    client_in: float
    client_out: float

    @classmethod
    def of(cls, ledger: Ledger) -> Path:
        """The coefficients of a ledger."""
        parts = trusted_parts(ledger)
        noise, ahead, behind = 0.0, 1.0, 1.0
        for component in parts.charged_forward:
            noise = noise * component.transmissivity + component.excess
            ahead *= component.transmissivity
        noise += math.fsum(component.excess for component in ledger.at(Place.TAP))
        for component in parts.charged_back:
            noise = noise * component.transmissivity + component.excess + component.electronic_noise
            behind *= component.transmissivity
        return cls(
            forward=ledger.forward,
            forward_excess=ledger.forward_excess,
            blur=-math.expm1(-(ledger.forward_phase_noise**2)),
            arriving=parts.transmissivity_forward,
            passed=ahead * behind,
            technical=noise,
            behind=behind,
            turned=-math.expm1(-(ledger.total_phase_noise**2)),
            client_in=client_input(ledger),
            client_out=client_output(ledger),
        )

    @property
    def transmissivity(self) -> float:
        """T of the charged channel, phase noise included."""
        return self.passed * (1.0 - self.turned)

    def signal_to_noise(self, mu: Array | float, client_noise: Array) -> Array:
        """S = F^2 of an outcome, for a noise referred to the tap's input (`Stage.client_noise`)."""
        light = 2.0 * np.asarray(mu)
        noise = (client_noise + self.forward_excess) / self.forward
        return np.asarray(light * (1.0 - self.blur) / (noise + light * self.blur))

    def mu_for(self, f2: float, client_noise: Array) -> Array:
        """Photons per mode at the server's output that give S = f2; infinite where phase noise forbids it."""
        room = (1.0 - self.blur) - f2 * self.blur
        noise = (client_noise + self.forward_excess) / self.forward
        return np.asarray(f2 * noise / (2.0 * room)) if room > 0.0 else np.full(np.shape(noise), math.inf)

    @property
    def largest_f2(self) -> float:
        """S that no brightness exceeds because of phase noise."""
        return (1.0 - self.blur) / self.blur if self.blur > 0.0 else math.inf

    def excess(self, mu: Array, disturbance: Array, n_modes: int) -> Array:
        """Excess noise of the charged channel, SNU per quadrature and mode."""
        phase = 2.0 * mu * self.arriving * self.passed * self.turned
        return np.asarray(self.technical + self.behind * disturbance / n_modes + phase)

    def weight_bits(
        self, mu: Array, disturbance: Array, n_modes: int, *, uses: int = 1, symmetric_noise: float = 1.0
    ) -> Array:
        """Bits per real weight of equally bright directions, after `uses` uses; infinite where mu is.

        symmetric_noise: noise on the sum of the uses, in units of that of one.
        """
        fine = np.isfinite(mu) & (mu < 1e280)
        safe = np.where(fine, mu, 1.0)
        noise = self.excess(safe, disturbance, n_modes) * symmetric_noise
        bits = weight_leakage(
            mu=uses * safe * self.arriving, transmissivity=min(self.transmissivity, 1.0), excess=noise
        )
        return np.where(fine, 0.5 * np.asarray(bits), math.inf)


def sizes_of(layers: tuple[LayerFrame, ...]) -> Sizes:
    """Rows, modes of a tile and tiles of each layer."""
    return tuple((layer.rows, layer.tile_modes, layer.tiles) for layer in layers)


@functools.lru_cache(maxsize=16)
def _data_curve(sizes: Sizes, uses: int) -> tuple[PchipInterpolator, float, float]:
    """ln of the data bits in all as a function of ln of the photons a row, and the ends of its range."""
    low, high = math.log(1e-14), math.log(1e3)
    grid = np.linspace(low, high, 401)
    bits = [_data_bits(float(photons), sizes, uses) for photons in np.exp(grid)]
    return PchipInterpolator(grid, np.log(bits)), low, high


def _data_bits(photons: float, sizes: Sizes, uses: int, stray: tuple[float, ...] = ()) -> float:
    extra = stray or (0.0,) * len(sizes)
    # hidden vectors differ from use to use: what they tell is added (security.engines.network_data_leakage)
    return math.fsum(
        (1 if index == 0 else uses)
        * tiles
        * data_leakage(
            photons_per_row=photons, rows=rows * (uses if index == 0 else 1), n_modes=n, gain_mismatch_photons=more
        )
        for index, ((rows, n, tiles), more) in enumerate(zip(sizes, extra, strict=True))
    )


def data_bits(photons: Array, sizes: Sizes, features: int, uses: int = 1) -> Array:
    """Bits per feature that rows of so many noise photons tell about the data, summed over layers; interpolated.

    Relative error below 1e-5 from 1e-14 to 1e3 photons a row, beyond any tap (a test says so).
    """
    curve, low, high = _data_curve(sizes, uses)
    with np.errstate(divide="ignore"):
        position = np.clip(np.log(photons), low, high)
    return np.asarray(np.exp(curve(position)) / features)


def data_bits_off_gain(
    photons: Array, mu: Array, shares: tuple[float, ...], sizes: Sizes, features: int, *, power: float, uses: int = 1
) -> Array:
    """The same where the net gain is off by |t-1|: `power` = |t-1|^2 times the client's own transmissivities. Exact."""
    bits = [
        _data_bits(float(each), sizes, uses, tuple(power * light * share for share in shares))
        if math.isfinite(light)
        else math.inf
        for each, light in zip(photons.tolist(), mu.tolist(), strict=True)
    ]
    return np.asarray(bits) / features


def photons_per_row(stage: Stage, path: Path, tapped: Array, ledger: Ledger) -> Array:
    """Noise photons about the data that a row returns to a server which owns all beyond the client."""
    return 0.5 * stage.disturbance(tapped, ledger) * path.client_out
