"""How unequal a layer's light is, and what its weights leak to a client that knows it.

The isotropic bound takes every direction of the weights as equally bright. A client that knows which directions are
not can put its noise where it tells most (water filling). How much it knows is a matter of the prior, so several
priors are taken, each from the server's own rows, and the largest figure counts; derivation and what was found
numerically in docs/physics.md, "Unequal weights".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.security.entropy import Array
from labqdl.security.holevo import water_filling_leakage, weight_leakage

_MOST_VALUES = 2048
_BIN = 0.01
"""Long spectra are gathered in bins of this relative width and rounded up: at most 1 % too much light."""
_LEAST = 1e-5
"""Directions dimmer than this share of the mean are rounded up to it."""
_EQUAL = 1e-3
"""Relative spread of the rows' energies below which they count as equal."""


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """One description of a layer's directions.

    Attributes
    ----------
    values:
        Energies of the directions over their mean, shape (n,); rounded up where they were gathered.
    shares:
        Fraction of the directions that has each, shape (n,), sum 1.
    """

    values: Array
    shares: Array

    @classmethod
    def of(cls, energies: NDArray[np.floating[Any]]) -> Prior:
        """From the energies of all directions, any scale; long lists are gathered in bins, rounded up."""
        values = np.maximum(np.asarray(energies, dtype=np.float64).ravel(), 0.0)
        if values.size == 0 or not np.isfinite(values).all() or not values.any():
            raise ValueError("a spectrum needs finite energies of at least one direction")
        values = np.sort(values / values.mean())
        if values.size <= _MOST_VALUES:
            return cls(values, np.full(values.size, 1.0 / values.size))
        bins = np.floor(np.log(np.maximum(values, _LEAST)) / _BIN)
        ends = np.flatnonzero(np.append(np.diff(bins) > 0, True))
        counts = np.diff(ends, prepend=-1)
        return cls(np.maximum(values[ends], _LEAST), counts / values.size)

    def leakage(self, *, mu: float, transmissivity: float, excess: float) -> float:
        """Bits per complex mode at `mu` mean photons per mode: noise where it tells most, loss evenly spread."""
        light = mu * float(self.values @ self.shares)
        return water_filling_leakage(
            mu=light, eigenvalues=self.values, counts=self.shares, transmissivity=transmissivity, excess=excess
        )


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """What is assumed about the directions of one layer's weights.

    Attributes
    ----------
    priors:
        Descriptions of which the worst counts; none if nothing is known, and the worst of all spectra is taken.
    """

    priors: tuple[Prior, ...]

    @classmethod
    def unknown(cls) -> Spectrum:
        """Too few rows to tell: whatever the weights prefer, the bound holds."""
        return cls(())

    @classmethod
    def of(cls, energies: Array) -> Spectrum:
        """From the energies of all modes, shape (n_modes,), any scale."""
        return cls((Prior.of(energies),))

    @property
    def known(self) -> bool:
        """Whether the layer has rows enough to speak of a spectrum."""
        return bool(self.priors)

    def leakage(self, *, mu: float, transmissivity: float, excess: float) -> float:
        """Bits per complex mode, at least those of equal directions."""
        equal = weight_leakage(mu=mu, transmissivity=transmissivity, excess=excess)
        if not self.known:
            return max(equal, worst_leakage(mu=mu, transmissivity=transmissivity, excess=excess))
        return max(
            equal, *(prior.leakage(mu=mu, transmissivity=transmissivity, excess=excess) for prior in self.priors)
        )


def layer_spectrum(q: NDArray[np.floating[Any]]) -> Spectrum:
    """Spectrum of a layer's light q, shape (rows, n_weights), interleaved (X1, P1, X2, P2, ...), any scale.

    Two priors: Gaussian rows with the real covariance of the rows at hand, whose 2n eigendirections count as half a
    mode each (a client may disturb a single quadrature), and rows with the same covariance of complex amplitudes but
    no preferred phase. If the rows differ in energy, both again with every row at its own. Fewer rows than modes say
    nothing about the directions that they leave empty: `Spectrum.unknown`.
    """
    light = np.asarray(q, dtype=np.float64)
    if light.ndim != 2 or light.shape[1] % 2 or not light.any():
        raise ValueError(f"q must have shape (rows, n_weights even) and hold light, got {light.shape}")
    rows, modes = light.shape[0], light.shape[1] // 2
    if rows < modes:
        return Spectrum.unknown()
    real = np.linalg.eigvalsh(light.T @ light)
    complexes = light[:, 0::2] + 1j * light[:, 1::2]
    circular = np.linalg.eigvalsh(complexes.conj().T @ complexes)
    priors = [Prior.of(real), Prior.of(circular)]
    energy = np.einsum("ij,ij->i", light, light)
    if float(energy.std()) > _EQUAL * float(energy.mean()):
        priors += [Prior.of(np.multiply.outer(energy, np.maximum(values, 0.0))) for values in (real, circular)]
    return Spectrum(tuple(priors))


@lru_cache(maxsize=4096)
def worst_leakage(*, mu: float, transmissivity: float, excess: float) -> float:
    """Bits per complex mode for the worst of all spectra with this mean light, noise steered, loss evenly spread.

    All light in a fraction f of the directions and all noise there as well: the maximum of f L(2 mu/f + 1, T, eps/f)
    over f. (Distributions over more kinds of directions gain nothing at T = 1, and under loss less than 0.1 %, by
    linear programming in the tests.)
    """
    low, high = -40.0, 0.0
    best = 0.0
    for _ in range(6):
        logs = np.linspace(low, high, 65)
        fractions = np.exp(logs)
        bits = fractions * np.asarray(
            weight_leakage(
                mu=mu / fractions, transmissivity=np.full_like(fractions, transmissivity), excess=excess / fractions
            )
        )
        index = int(bits.argmax())
        best = max(best, float(bits[index]))
        low, high = float(logs[max(index - 1, 0)]), float(logs[min(index + 1, logs.size - 1)])
    return best
