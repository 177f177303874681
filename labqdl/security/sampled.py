"""Direction and spectral tests on the images of which every residual is kept.

*Direction*: energy of the residuals along the strongest directions of the layer's light, where noise costs the client
least and tells it most. *Spectral*: the honest residuals of one image are white noise plus a part of rank two whose
strength is the agreed tap's. So the three largest singular values have limits that hold whatever the data, and a client
that disturbs a second mode, or the addressed one too much, exceeds one of them.
Derivations: `docs/physics.md`, section "Verification".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvalsh
from scipy.special import gammaincc

from labqdl.facts import ResidualSample
from labqdl.security.expected import HonestLayer
from labqdl.security.quadratic import QuadraticLaw
from labqdl.security.singular import SMALLEST, multiplier_norm, noise_norm_tail, spiked_edge

_LEAST_SIDE = 4
"""Smallest side of a residual matrix whose third singular value says anything."""
_FAILURES = (1e-4, 1e-7, 1e-10, 1e-14)
"""Probabilities that the phase noise may exceed what is allowed for it; the best one is taken for each matrix."""


@dataclass(frozen=True, slots=True)
class ImageSpectrum:
    """Singular values of one image's residuals against the honest ones.

    Attributes
    ----------
    ratio:
        First, second or third singular value, whichever is further off, over the edge that the honest one of large
        matrices does not pass.
    rank:
        Which one: 1, 2 or 3.
    p_value:
        Upper limit, for every data: the three singular values together.
    residuals:
        Size of the matrix.
    """

    ratio: float
    rank: int
    p_value: float
    residuals: int


@dataclass(frozen=True, slots=True)
class SampledTotals:
    """Sums over the sampled images of one layer.

    Attributes
    ----------
    energy:
        Sum of squares of the residuals along the principal directions, SNU.
    degrees:
        Number of these components.
    pairs, images:
        Sampled (row, image) pairs that were homodyned, and images.
    light:
        Upper limit on the sum over these images of the light's own energy along the directions, and of the turned
        light's, SNU at the server's output.
    spectra:
        One for each image and tile, in the order of sending.
    """

    energy: float = 0.0
    degrees: int = 0
    pairs: int = 0
    images: int = 0
    light: float = 0.0
    spectra: tuple[ImageSpectrum, ...] = ()

    @classmethod
    def sum(cls, parts: Iterable[SampledTotals]) -> SampledTotals:
        """Sum of totals; but for the order of `spectra` it does not depend on theirs."""
        chosen = tuple(parts)
        return cls(
            math.fsum(part.energy for part in chosen),
            sum(part.degrees for part in chosen),
            sum(part.pairs for part in chosen),
            sum(part.images for part in chosen),
            math.fsum(part.light for part in chosen),
            tuple(spectrum for part in chosen for spectrum in part.spectra),
        )


def inspect(
    layer: HonestLayer,
    sample: ResidualSample,
    pattern: NDArray[np.bool_],
    principal: NDArray[np.float64] | None = None,
) -> SampledTotals:
    """Totals of one (layer, block).

    Parameters
    ----------
    layer:
        The honest law.
    sample:
        Every residual of the sampled images.
    pattern:
        Quadrature that was homodyned in each mode, (n_modes,), True for P.
    principal:
        `LayerLight.principal`; None leaves the direction test without data.
    """
    images, rows, n_modes = sample.residuals.shape
    if pattern.shape != (layer.n_modes,) or n_modes != layer.n_modes or rows > layer.rows:
        raise ValueError(f"residuals have shape {sample.residuals.shape}, pattern {pattern.shape}")
    if not np.isfinite(sample.residuals).all():
        raise ValueError("sampled residuals are not finite")
    if images == 0 or rows == 0:
        return SampledTotals()
    energy, directions, light = 0.0, 0, 0.0
    if principal is not None:
        axes = _restricted(principal, pattern)
        directions = axes.shape[1]
        energy = math.fsum(float(np.square(image @ axes).sum()) for image in _matrices(sample))
        light = images * min(directions * layer.alignment, 1.0) * layer.energy
    spectra = tuple(
        _spectrum(layer, part)
        for image in _matrices(sample)
        for part in _tiles(layer, sample, image)
        if min(part.shape) >= _LEAST_SIDE
    )
    return SampledTotals(energy, images * rows * directions, images * rows, images, light, spectra)


def direction_law(layer: HonestLayer, sampled: SampledTotals, *, high: bool) -> QuadraticLaw:
    """Worst law of the energy along the principal directions, for the upper (`high`) or the lower tail.

    The honest noise on the addressed mode may lie along them as a whole, in one direction, or not at all.
    """
    if not high:
        return layer.squares(sampled.degrees, 0.0, 0.0, 0.0, 0.0, high=False)
    lost = layer.droop * math.sqrt(sampled.light)
    own = layer.amplitude * (lost + math.sqrt(layer.mean_energy(sampled.images)))
    shift = (own + layer.tolerated(sampled.light, sampled.light)) ** 2
    strength = layer.phase + layer.flutter
    return layer.squares(sampled.degrees, sampled.pairs, sampled.light, strength, shift, high=True)


def combined_p_value(p_values: Sequence[float]) -> float:
    """One p-value from those of a sequence of tests, each valid whatever the earlier ones were; 1 for none.

    Twice the smaller of Fisher's (many weak signs) and Bonferroni's (one strong sign). Both hold for p-values that
    are conservative, and for such whose law may depend on the past as long as P(p <= u | past) <= u.
    """
    if not p_values:
        return 1.0
    count = len(p_values)
    fisher = float(gammaincc(count, -math.fsum(math.log(p) for p in p_values)))
    return min(1.0, 2.0 * max(min(fisher, count * min(p_values)), SMALLEST))


def _matrices(sample: ResidualSample) -> Iterable[NDArray[np.float64]]:
    return (image.astype(np.float64) for image in sample.residuals)


def _tiles(layer: HonestLayer, sample: ResidualSample, image: NDArray[np.float64]) -> Iterable[NDArray[np.float64]]:
    """The residuals of every tile of an image: each has a direction of its own."""
    if layer.tiles == 1:
        return (image,)
    edges = np.searchsorted(sample.rows, np.arange(1, layer.tiles) * (layer.rows // layer.tiles))
    return np.split(image, edges)


def _restricted(principal: NDArray[np.float64], pattern: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Orthonormal basis (n_modes, directions) of what the pattern leaves of the principal directions."""
    measured = principal[:, 2 * np.arange(pattern.size) + pattern]
    _, sizes, vectors = np.linalg.svd(measured, full_matrices=False)
    return np.ascontiguousarray(vectors[sizes > 1e-6].T)


def _spectrum(layer: HonestLayer, residuals: NDArray[np.float64]) -> ImageSpectrum:
    rows, columns = residuals.shape
    gram = residuals @ residuals.T if rows < columns else residuals.T @ residuals
    size = gram.shape[0]
    squares = eigvalsh(gram, subset_by_index=(size - 3, size - 1))
    deviation = math.sqrt(layer.floor)
    spike = max(layer.spike_x, layer.spike_p) / layer.floor
    turned = turned_light(layer, rows)
    # A net gain off one adds to the part of rank two.
    own = layer.mismatch * layer.amplitude * math.sqrt(2 * layer.alignment * layer.energy) / deviation
    # Gain and phase within their tolerances multiply each row of the light by a factor, which lengthens no vector more.
    brightest = layer.alignment * layer.energy
    tolerated = layer.tolerated(brightest, brightest) / deviation
    judged: list[tuple[float, float, int]] = []
    for rank in (3, 2, 1):
        value = math.sqrt(max(float(squares[3 - rank]), 0.0)) / deviation
        # The second spike is at most half of both; without the two there is none.
        left = (spike, spike / 2, 0.0)[rank - 1]
        allowed = value - tolerated - (own if rank < 3 else 0.0)
        tail = min(noise_norm_tail(allowed - norm, rows, columns, left) + failure for norm, failure in turned)
        judged.append((min(tail, 1.0), -value / spiked_edge(rows, columns, left), rank))
    p_value, ratio, rank = min(judged)
    return ImageSpectrum(-ratio, rank, min(1.0, 3 * p_value), rows * columns)


def turned_light(layer: HonestLayer, rows: int) -> tuple[tuple[float, float], ...]:
    """Pairs (norm of what phase noise adds to the residuals in units of the noise, probability that it adds more).

    rows: homodyned rows of the image, of which each has its own phase.
    """
    if layer.phase == 0:
        return ((0.0, 0.0),)
    strength = math.sqrt(layer.phase)  # amplitude times sigma_phi
    norm, longest = math.sqrt(layer.alignment * layer.energy), math.sqrt(float(layer.row_energy.max()))
    result = []
    for failure in _FAILURES:
        sines = multiplier_norm(strength, norm, longest, rows, 0.5 * failure)
        # 1 - cos phi <= phi^2/2, at its largest over the rows.
        largest = multiplier_norm(strength, 1.0, 1.0, rows, 0.5 * failure)
        cosines = 0.5 * largest**2 / layer.amplitude * norm
        result.append(((sines + cosines) / math.sqrt(layer.floor), failure))
    return tuple(result)
