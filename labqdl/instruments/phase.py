"""Arrays of phase shifters, and hardware loops that hold a phase."""

from __future__ import annotations

from abc import abstractmethod
from enum import StrEnum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.instruments.instrument import Instrument
from labqdl.instruments.quantity import required


class PhaseShifterArray(Instrument):
    """Voltages on the electrodes or heaters of a photonic chip.

    Arrays have one value for each output, float64, shape (outputs,). Writing checks every value before the first is
    sent. `safe_state` sets all outputs to 0 and confirms it.
    """

    safe_order: ClassVar[int] = 50

    outputs = required(int, unit="1", doc="Number of outputs.")
    voltage_limit = required(float, unit="V", doc="Greatest voltage that the unit gives or allows.")
    current_limit = required(float, unit="A", doc="Greatest current that the unit gives or allows.")

    @abstractmethod
    def set_voltages(self, voltages: NDArray[np.float64]) -> None:
        """Set all voltages in V, shape (outputs,); energises.

        Raises
        ------
        LimitError
            For a value out of range, before the first is sent.
        """

    @abstractmethod
    def voltages(self) -> NDArray[np.float64]:
        """Voltages in V as the unit reports them, shape (outputs,)."""

    @abstractmethod
    def currents(self) -> NDArray[np.float64]:
        """Measured currents in A, shape (outputs,)."""


class LockState(StrEnum):
    """State of a phase lock."""

    UNLOCKED = "unlocked"
    ACQUIRING = "acquiring"
    LOCKED = "locked"
    SLIPPED = "slipped"


class PhaseServo(Instrument):
    """A loop in hardware that holds an optical phase; software sets and watches it, and is never part of the loop.

    `safe_state` opens the loop and sets its actuator to 0 V.
    """

    safe_order: ClassVar[int] = 50

    engaged = required(bool, doc="Whether the loop is closed.", settable=True, energises=True)
    set_point = required(float, unit="V", doc="Error signal that the loop holds.", settable=True)
    state = required(LockState, doc="Whether it holds.")
    actuator = required(float, unit="V", doc="Voltage on the actuator.")
