"""Optical power meters."""

from __future__ import annotations

from abc import abstractmethod

from labqdl.instruments.instrument import Instrument
from labqdl.instruments.quantity import required
from labqdl.units import dbm


class PowerMeter(Instrument):
    """An optical power meter. It emits nothing: `safe_state` only confirms that it answers.

    `power` is in W whatever unit the front panel shows; overload and a missing head raise `NotAValue`. The driver sets
    the unit on the wire when it reads, not when it opens.
    """

    power = required(float, unit="W", doc="Measured power, a new reading each time.")
    wavelength = required(float, unit="m", doc="Wavelength that the responsivity is taken for.", settable=True)
    range = required(float, unit="W", doc="Upper end of the measuring range.", settable=True)
    auto_range = required(bool, doc="Whether the meter chooses the range.", settable=True)
    averaging = required(float, unit="s", doc="Averaging time of a reading.", settable=True)

    @abstractmethod
    def zero(self) -> None:
        """Take the present reading as dark, and wait until that is done; the light must be blocked."""

    def safe_state(self) -> None:
        """It emits nothing; confirms that it answers."""
        self.identity()

    @property
    def power_dbm(self) -> float:
        """View of `power` in dBm; -inf for none or less."""
        return dbm(max(self.power, 0.0))
