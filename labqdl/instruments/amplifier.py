"""Optical amplifiers."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from labqdl.instruments.instrument import Instrument
from labqdl.instruments.quantity import required


class AmplifierMode(StrEnum):
    """What an amplifier holds constant."""

    CURRENT = "current"
    POWER = "power"
    GAIN = "gain"


class OpticalAmplifier(Instrument):
    """An optical amplifier (EDFA).

    ``pump = False`` means that every pump diode is off and the amplifier has confirmed it. A pumped amplifier without
    seed stores energy and releases it in a pulse that kills receivers: where the input power can be read, ``pump =
    True`` is refused below `least_seed`. `safe_state` switches all pumps off; it comes first in the safe order.
    """

    safe_order: ClassVar[int] = 10
    least_seed: ClassVar[float] = 1e-6
    """Input power in W below which switching the pump on is refused."""

    pump = required(bool, doc="Whether the pump diodes are on.", settable=True, energises=True)
    mode = required(AmplifierMode, doc="What is held constant.", settable=True)
    output_set_point = required(float, unit="W", doc="Output power that is held in mode power.", settable=True)
    gain_set_point = required(float, unit="dB", doc="Gain that is held in mode gain.", settable=True)
    current_set_point = required(float, unit="A", doc="Pump current that is held in mode current.", settable=True)
    input_power = required(float, unit="W", doc="Measured input power.")
    output_power = required(float, unit="W", doc="Measured output power.")
    pump_current = required(float, unit="A", doc="Measured current of the (first) pump diode.")
    temperature = required(float, unit="K", doc="Temperature of the pump diode, or of the case where that is all.")
