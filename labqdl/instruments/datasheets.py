"""Parts without a plug of their own: what their data sheets say."""

from __future__ import annotations

import math
from dataclasses import dataclass

from labqdl.units import ELEMENTARY_CHARGE, photon_energy


@dataclass(frozen=True, slots=True)
class Modulator:
    """An electro-optic modulator.

    Attributes
    ----------
    v_pi:
        Half-wave voltage at radio frequency, in V.
    v_pi_bias:
        Half-wave voltage of the bias electrode, in V.
    bandwidth:
        Electro-optic bandwidth (-3 dB), in Hz.
    insertion_loss:
        At the transmission maximum, in dB.
    extinction:
        Ratio of greatest to least transmission, in dB.
    input_limit:
        Greatest peak voltage at the radio-frequency input, in V.
    power_limit:
        Greatest optical input power, in W.
    """

    v_pi: float
    v_pi_bias: float
    bandwidth: float
    insertion_loss: float
    extinction: float
    input_limit: float
    power_limit: float

    def __post_init__(self) -> None:
        for name in ("v_pi", "v_pi_bias", "bandwidth", "input_limit", "power_limit"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number, got {value!r}")
        for name in ("insertion_loss", "extinction"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True)
class Photodetector:
    """A photodiode, or a balanced pair, with its amplifier.

    Attributes
    ----------
    responsivity:
        In A/W.
    wavelength:
        At which the responsivity holds, in m.
    bandwidth:
        -3 dB, in Hz.
    transimpedance:
        In V/A.
    saturation:
        Optical power at one diode above which it is not linear, in W.
    damage:
        Greatest optical power, in W.
    noise:
        Input-referred noise current density, in A/sqrt(Hz).
    """

    responsivity: float
    wavelength: float
    bandwidth: float
    transimpedance: float
    saturation: float
    damage: float
    noise: float

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number, got {value!r}")
        if self.quantum_efficiency > 1:
            raise ValueError(
                f"a responsivity of {self.responsivity:g} A/W at {self.wavelength * 1e9:g} nm means "
                f"{self.quantum_efficiency:.2f} electrons a photon"
            )

    @property
    def quantum_efficiency(self) -> float:
        """Electrons a photon: responsivity times h nu / e."""
        return self.responsivity * photon_energy(self.wavelength) / ELEMENTARY_CHARGE
