"""An e-process against the honest law: evidence of cheating that may be looked at after every block.

For a statistic S of a block whose honest CGF is at most K(s) for every data vector, exp(s S - K(s)) has expectation at
most 1 given everything before the block. Its products over blocks are non-negative supermartingales for every fixed
rule that picks s from what is known before the light flows, and so is their mixture over a grid of alternatives with
weights that sum to 1. Ville's inequality then gives P(sup E >= 1/alpha) <= alpha at *any* stopping time, also when the
data of a later layer or image depend on earlier outcomes. Derivation: `docs/physics.md`, section "Verification".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from labqdl.security.expected import GainLaw, HonestLayer, Totals
from labqdl.security.quadratic import QuadraticLaw

GAIN_SHIFTS = tuple(sign * 2.0**-power for sign in (-1, 1) for power in range(21))
"""Relative shifts of the amplitude: 1 to 1e-6, either sign."""
PHASE_SHIFTS = tuple(sign * 2.0**-power for sign in (-1, 1) for power in range(15))
"""Angles by which the returned light is turned: 1 to 6e-5 rad, either sign."""
NOISE_RATIOS = (
    *(1 + 2.0**power for power in range(-14, 5)),
    *(1 - 2.0**-power for power in range(1, 15)),
)
"""Variance over honest variance: 17 down to 1 + 6e-5, and 0.5 up to 1 - 6e-5."""
PHOTON_FACTORS = tuple(math.exp(sign * 2.0**power) for sign in (-1, 1) for power in range(-10, 4))
"""Photons over honest photons: e^(+-0.001) to e^(+-8)."""

_EDGE = 0.8
"""Tilts stay below this fraction of where the worst law's CGF diverges."""


def _weights() -> NDArray[np.float64]:
    """Logarithms of the mixture weights: a quarter to each kind of evidence, equal within a kind."""
    sizes = (len(GAIN_SHIFTS), len(PHASE_SHIFTS), len(NOISE_RATIOS), len(PHOTON_FACTORS))
    return np.concatenate([np.full(size, -math.log(len(sizes) * size)) for size in sizes])


LOG_WEIGHTS = _weights()


def log_increments(layer: HonestLayer, block: Totals) -> NDArray[np.float64]:
    """Logarithm of every alternative's factor for one (layer, block); shape (alternatives,).

    The tilts depend on the frame, the server's light and its choices only, never on what was measured.
    """
    return np.concatenate([_gain(layer, block), _phase(layer, block), _noise(layer, block), _count(layer, block)])


def _gain(layer: HonestLayer, block: Totals) -> NDArray[np.float64]:
    shifts = np.array(GAIN_SHIFTS)
    if block.residuals == 0 or block.qq <= 0:
        return np.zeros(shifts.size)
    return _linear(block.qr, layer.gain(block), shifts * (layer.amplitude * block.qq))


def _phase(layer: HonestLayer, block: Totals) -> NDArray[np.float64]:
    shifts = np.array(PHASE_SHIFTS)
    if block.residuals == 0 or block.jj <= 0:
        return np.zeros(shifts.size)
    return _linear(block.jr, layer.phase_law(block), shifts * (layer.amplitude * block.jj))


def _linear(value: float, law: GainLaw, means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors of a sum whose honest law is Gaussian or sub-Gaussian, with the best tilts against these means."""
    tilt = means / law.variance
    worst = np.where(tilt > 0, law.high, law.low)
    return tilt * (value - worst) - 0.5 * tilt**2 * law.variance


def _noise(layer: HonestLayer, block: Totals) -> NDArray[np.float64]:
    ratios = np.array(NOISE_RATIOS)
    if block.residuals == 0:
        return np.zeros(ratios.size)
    high, low = layer.noise(block, high=True), layer.noise(block, high=False)
    floor = layer.floor + layer.spike / layer.n_modes
    tilt = np.minimum(0.5 * (1 - 1 / ratios) / floor, _EDGE * high.limit)
    return tilt * block.rr - _worst_cgf(tilt, low, high)


def _count(layer: HonestLayer, block: Totals) -> NDArray[np.float64]:
    factors = np.array(PHOTON_FACTORS)
    if block.slots == 0:
        return np.zeros(factors.size)
    high, low = layer.count(block, high=True), layer.count(block, high=False)
    thermal = high.mean / block.counted
    # Likelihood ratio per photon of two geometric laws whose means differ by this factor.
    tilt = np.log(factors * (1 + thermal) / (1 + factors * thermal))
    if high.limit < math.inf:
        tilt = np.minimum(tilt, _EDGE * high.limit)
    return tilt * block.photons - _worst_cgf(tilt, low, high)


def _worst_cgf(tilt: NDArray[np.float64], low: QuadraticLaw, high: QuadraticLaw) -> NDArray[np.float64]:
    """Largest CGF of the envelope: the upper law for positive tilts, the lower one for negative tilts."""
    result = np.empty_like(tilt)
    up = tilt > 0
    result[up] = high.cgf(tilt[up])
    result[~up] = low.cgf(tilt[~up])
    return result


@dataclass(frozen=True, slots=True)
class Evidence:
    """State of the e-process.

    `log10_now` is the logarithm of the e-value of all blocks so far, `log10_largest` of its running maximum, which
    is compared with 1/alpha_e; both start at 0 (no evidence). `log_products` are the logarithms of the alternatives'
    products, shape (alternatives,).
    """

    log10_now: float
    log10_largest: float
    log_products: NDArray[np.float64]

    @classmethod
    def start(cls) -> Evidence:
        """Before any light: E = 1."""
        return cls(0.0, 0.0, np.zeros(LOG_WEIGHTS.size))

    def after(self, increments: NDArray[np.float64]) -> Evidence:
        """The evidence after one more block's `log_increments`."""
        products = self.log_products + increments
        now = float(logsumexp(products + LOG_WEIGHTS)) / math.log(10)
        return Evidence(now, max(self.log10_largest, now), products)

    def exceeds(self, alpha: float) -> bool:
        """Whether honesty is rejected at this false-alarm rate."""
        return self.log10_largest >= -math.log10(alpha)


def evidence(layers: Sequence[HonestLayer], blocks: Iterable[tuple[int, Totals]]) -> Evidence:
    """E-process over (layer, totals) of blocks in the order in which they were sent."""
    state = Evidence.start()
    for index, block in blocks:
        state = state.after(log_increments(layers[index], block))
    return state
