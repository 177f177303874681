"""Pure numerics of the light: modes, interferometers, gain-and-tap, the exact joint law and its sampler.

Arrays in, arrays out: no state, files, logging or clock. Quadratures in shot-noise units (vacuum variance 1).
"""

from __future__ import annotations

from labqdl.optics.client_law import (
    ClientLaw,
    cloner,
    honest,
    intercept_resend,
    over_amplification,
    passive_tap,
    substitution,
)
from labqdl.optics.gain_tap import TapLaw, amplifier_tap, feed_forward_tap, tap_law
from labqdl.optics.interferometer import GivensChain, TimeBinTree
from labqdl.optics.law import LinkLaw, ReturnedLight
from labqdl.optics.modes import directions, layer_amplitudes, pad_even, pair, rotate_j, unpair
from labqdl.optics.sampler import Residuals, Streams, sample_outcomes, sample_residuals, sample_statistics

__all__ = [
    "ClientLaw",
    "GivensChain",
    "LinkLaw",
    "Residuals",
    "ReturnedLight",
    "Streams",
    "TapLaw",
    "TimeBinTree",
    "amplifier_tap",
    "cloner",
    "directions",
    "feed_forward_tap",
    "honest",
    "intercept_resend",
    "layer_amplitudes",
    "over_amplification",
    "pad_even",
    "pair",
    "passive_tap",
    "rotate_j",
    "sample_outcomes",
    "sample_residuals",
    "sample_statistics",
    "substitution",
    "tap_law",
    "unpair",
]
