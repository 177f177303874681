"""Variable optical attenuators."""

from __future__ import annotations

from typing import ClassVar

from labqdl.instruments.instrument import Instrument
from labqdl.instruments.quantity import required


class Attenuator(Instrument):
    """A variable optical attenuator, with a shutter where the model has one.

    Attenuation is a positive number of dB and includes the insertion loss only if the driver says so. `safe_state`
    closes the shutter; without one it goes to the greatest attenuation. Both let some light through: see `isolation`.
    """

    safe_order: ClassVar[int] = 30

    attenuation = required(float, unit="dB", doc="Attenuation, positive.", settable=True)
    open_shutter = required(bool, doc="Whether the shutter lets light through.", settable=True, energises=True)
    wavelength = required(float, unit="m", doc="Wavelength that the calibration is taken for.", settable=True)
    isolation: ClassVar[float] = 0.0
    """Least attenuation in the safe state in dB as the data sheet guarantees it; 0 where the sheet says nothing."""
