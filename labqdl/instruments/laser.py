"""Lasers."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from labqdl.instruments.instrument import Instrument
from labqdl.instruments.quantity import required
from labqdl.units import LIGHT_SPEED, dbm, from_dbm


class Laser(Instrument):
    """A continuous-wave laser.

    ``emission = False`` means that the laser's own output stage is off and it has confirmed that; only a meter knows
    whether a fibre is dark. `safe_state` switches emission off. Changing power or wavelength never switches
    emission on. On `emission = True` the call returns when the laser reports that it has settled.
    """

    safe_order: ClassVar[int] = 60

    emission = required(bool, doc="Whether light comes out.", settable=True, energises=True)
    power = required(float, unit="W", doc="Set point of the output power.", settable=True)
    measured_power = required(float, unit="W", doc="Output power as the laser's own monitor reads it.")
    wavelength = required(float, unit="m", doc="Set point of the vacuum wavelength.", settable=True)
    temperature = required(float, unit="K", doc="Temperature of the laser as it reports it.")

    @abstractmethod
    def is_stable(self) -> bool:
        """Whether power and frequency are locked, or at least no operation is under way; the driver says which."""

    @property
    def power_dbm(self) -> float:
        """View of `power` in dBm; may be set."""
        return dbm(self.power)

    @power_dbm.setter
    def power_dbm(self, level: float) -> None:
        self.power = from_dbm(level)

    @property
    def wavelength_nm(self) -> float:
        """View of `wavelength` in nm; may be set."""
        return self.wavelength * 1e9

    @wavelength_nm.setter
    def wavelength_nm(self, value: float) -> None:
        self.wavelength = value * 1e-9

    @property
    def frequency(self) -> float:
        """View of `wavelength` as optical frequency in Hz; may be set."""
        return LIGHT_SPEED / self.wavelength

    @frequency.setter
    def frequency(self, value: float) -> None:
        self.wavelength = LIGHT_SPEED / value
