"""Sources of constant voltage, and controllers of modulator bias."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from labqdl.instruments.instrument import Instrument
from labqdl.instruments.quantity import required


class VoltageSource(Instrument):
    """A source of one constant voltage with a current limit.

    ``output = False`` disconnects or holds 0 V, as the driver says. `safe_state` goes to 0 V and switches the output
    off. Setting `voltage` with the output off energises nothing.
    """

    safe_order: ClassVar[int] = 50
    step: ClassVar[float] = 0.0
    """Smallest change of the voltage in V, by the data sheet; 0 where it is finer than what anybody would notice."""

    output = required(bool, doc="Whether the output is on.", settable=True, energises=True)
    voltage = required(float, unit="V", doc="Set point of the voltage.", settable=True)
    current_limit = required(float, unit="A", doc="Greatest current that may flow.", settable=True)
    measured_voltage = required(float, unit="V", doc="Measured voltage at the terminals.")
    measured_current = required(float, unit="A", doc="Measured current.")


class BiasMode(StrEnum):
    """What a bias controller does with its modulator."""

    OFF = "off"
    PEAK = "peak"
    QUADRATURE_POSITIVE = "quadrature+"
    QUADRATURE_NEGATIVE = "quadrature-"
    NULL = "null"
    MANUAL = "manual"
    RATIO = "ratio"


class BiasController(Instrument):
    """A controller that holds an optical modulator at its working point, with dither or by a fixed voltage.

    `mode` OFF means that no bias and no dither leave the box. `safe_state` switches it OFF. During frames the dither
    must rest: MANUAL holds the voltage.
    """

    safe_order: ClassVar[int] = 50

    mode = required(BiasMode, doc="Working point, or manual voltage.", settable=True, energises=True)
    voltage = required(float, unit="V", doc="Bias voltage: set in mode manual, present value else.", settable=True)
    dither = required(float, unit="V", doc="Amplitude of the dither.", settable=True)
    stable = required(bool, doc="Whether the working point is held.")
