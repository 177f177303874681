"""What squeezed encoding leaks to loss: one real weight a mode, on the squeezed quadrature.

A figure for planning: the sessions of this library send coherent states. Derivation: docs/physics.md, "Squeezed
encoding".
"""

from __future__ import annotations

import math

import numpy as np

from labqdl.security.entropy import thermal_entropy
from labqdl.security.holevo import weight_leakage


def squeezed_leakage(*, modulation: float, squeezed_variance: float, transmissivity: float) -> float:
    """Holevo information about one weight on the X quadrature of a squeezed state, through pure loss; bits.

    modulation: variance V_m of the weights' amplitudes in X, SNU; squeezed_variance: V_s of the state in X, 1/V_s in P;
    transmissivity: power. With a = (1-T)(V_s+V_m) + T, b = (1-T) V_s + T and p = (1-T)/V_s + T the client's mode has
    the symplectic eigenvalue sqrt(a p) for unknown and sqrt(b p) for known weights.

    Raises
    ------
    ValueError
        For a negative modulation, a squeezed variance that is not positive, or a transmissivity outside [0, 1].
    """
    if not (math.isfinite(modulation) and modulation >= 0):
        raise ValueError(f"modulation must be finite and at least 0, got {modulation!r}")
    if not (math.isfinite(squeezed_variance) and squeezed_variance > 0):
        raise ValueError(f"squeezed_variance must be positive and finite, got {squeezed_variance!r}")
    if not 0.0 <= transmissivity <= 1.0:
        raise ValueError(f"transmissivity must lie in [0, 1], got {transmissivity!r}")
    lost, passed = 1.0 - transmissivity, transmissivity
    other = lost / squeezed_variance + passed
    # b p - 1 = T (1-T) (V_s + 1/V_s - 2) without differences of ones
    known = passed * lost * (squeezed_variance - 1.0) ** 2 / squeezed_variance
    unknown = known + lost * modulation * other
    return _thermal(unknown) - _thermal(known)


def coherent_pair_leakage(*, modulation: float, transmissivity: float) -> float:
    """The same for coherent states that carry a weight on each quadrature, V_m each; bits per weight."""
    return weight_leakage(mu=0.5 * modulation, transmissivity=transmissivity, excess=0.0) / 2.0


def modulation_for(*, signal_to_noise: float, squeezed_variance: float, meter_noise: float) -> float:
    """V_m at which S = V_m/(V_s + N_X), the meter's noise N_X referred to the input; SNU."""
    return signal_to_noise * (squeezed_variance + meter_noise)


def _thermal(excess: float) -> float:
    """g((nu - 1)/2) of a mode with nu^2 = 1 + excess, bits."""
    return float(thermal_entropy(np.float64(0.5 * excess / (math.sqrt(1.0 + excess) + 1.0))))
