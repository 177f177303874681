"""Between SI values and the numbers on the wire."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from labqdl.units import LIGHT_SPEED, dbm, from_dbm


class Wire(Protocol):
    """A conversion between the numbers on the wire and SI."""

    def to_si(self, number: float) -> float:
        """SI value of a number on the wire."""
        ...

    def from_si(self, value: float) -> float:
        """The number on the wire for an SI value."""
        ...


@dataclass(frozen=True, slots=True)
class Scale:
    """``SI = number * factor + offset``: nanometres are ``Scale(1e-9)``, degrees Celsius ``Scale(1, 273.15)``."""

    factor: float = 1.0
    offset: float = 0.0

    def to_si(self, number: float) -> float:
        """SI value of a number on the wire."""
        return number * self.factor + self.offset

    def from_si(self, value: float) -> float:
        """The number on the wire for an SI value."""
        return (value - self.offset) / self.factor


@dataclass(frozen=True, slots=True)
class Dbm:
    """A power in W that stands on the wire in dBm, or in `step` dBm (0.01 where the register counts hundredths)."""

    step: float = 1.0

    def to_si(self, number: float) -> float:
        """W from the number on the wire."""
        return from_dbm(number * self.step)

    def from_si(self, value: float) -> float:
        """The number on the wire; -inf for no power, which no instrument accepts."""
        return dbm(value) / self.step


@dataclass(frozen=True, slots=True)
class Optical:
    """A vacuum wavelength in m that stands on the wire as a frequency in `step` Hz."""

    step: float = 1.0

    def to_si(self, number: float) -> float:
        """m from the number on the wire."""
        return LIGHT_SPEED / (number * self.step)

    def from_si(self, value: float) -> float:
        """The number on the wire."""
        return LIGHT_SPEED / value / self.step


SI = Scale()
NANO = Scale(1e-9)
MICRO = Scale(1e-6)
MILLI = Scale(1e-3)
CELSIUS = Scale(1.0, 273.15)
DEGREES = Scale(math.pi / 180)
DBM = Dbm()
