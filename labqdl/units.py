"""Conversions between SI, decibel and shot-noise units, and numbers of things in words.

SI floats inside; decibel only at the edges.
"""

from __future__ import annotations

import math

PLANCK = 6.62607015e-34
"""Planck constant in J s (exact, SI 2019)."""
LIGHT_SPEED = 299_792_458.0
"""Speed of light in vacuum in m/s (exact, SI 2019)."""

ELEMENTARY_CHARGE = 1.602176634e-19
"""Elementary charge in C (exact, SI 2019)."""


def from_db(ratio_db: float) -> float:
    """Power ratio from decibel: 10^(dB/10)."""
    return float(10.0 ** (ratio_db / 10.0))


def to_db(ratio: float) -> float:
    """Decibel from a power ratio; 0 gives -inf.

    Raises
    ------
    ValueError
        For a negative ratio, which has no decibel value.
    """
    if ratio < 0:
        raise ValueError(f"a power ratio cannot be negative, got {ratio!r}")
    return -math.inf if ratio == 0 else 10.0 * math.log10(ratio)


def from_dbm(level: float) -> float:
    """Power in W from dBm: 1 mW times 10^(level/10)."""
    return 1e-3 * from_db(level)


def dbm(power: float) -> float:
    """Level in dBm of a power in W; 0 gives -inf. ValueError for a negative power."""
    return to_db(power / 1e-3)


def loss_to_transmissivity(loss_db: float) -> float:
    """Power transmissivity of a loss in dB (positive numbers attenuate)."""
    return from_db(-loss_db)


def photon_energy(wavelength: float) -> float:
    """Energy in J of one photon at a vacuum wavelength in m: h c / lambda."""
    return PLANCK * LIGHT_SPEED / wavelength


def counted(number: int, thing: str) -> str:
    """A number of things in words: "1 block", "2 blocks", "12,000 uses"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
