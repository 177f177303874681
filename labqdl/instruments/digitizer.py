"""Digitizers and oscilloscopes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl.instruments.generator import Reference, Trigger
from labqdl.instruments.instrument import Channel, Instrument
from labqdl.instruments.quantity import required


@dataclass(frozen=True, slots=True)
class Record:
    """What a channel recorded.

    Attributes
    ----------
    volts:
        Shape (n,), or (segments, n).
    start:
        Time of the first sample relative to the trigger, in s.
    interval:
        Time between samples, in s.
    overload:
        Whether a sample sits at either end of the converter's range: the record must not be used.
    """

    volts: NDArray[np.float64]
    start: float
    interval: float
    overload: bool


class Input(Channel):
    """An analog input."""

    enabled = required(bool, doc="Whether it is recorded.", settable=True)
    range = required(float, unit="V", doc="Full scale, from the least to the greatest voltage.", settable=True)
    offset = required(float, unit="V", doc="Voltage in the middle of the range.", settable=True)
    impedance = required(float, unit="Ohm", doc="Input impedance.", settable=True)


class Digitizer(Instrument):
    """A digitizer or oscilloscope. It emits nothing; `safe_state` stops it.

    `arm` starts one acquisition and returns when the instrument waits for its trigger; `wait` returns when the record
    is complete; `fetch` transfers it. A record with overload says so.
    """

    sample_rate = required(float, unit="S/s", doc="Samples per second.", settable=True)
    record_length = required(int, unit="1", doc="Samples of a record.", settable=True)
    pre_trigger = required(float, unit="s", doc="Time that is recorded before the trigger.", settable=True)
    trigger_source = required(Trigger, doc="What starts a record.", settable=True)
    trigger_level = required(float, unit="V", doc="Level of the trigger.", settable=True)
    reference = required(Reference, doc="Source of the time base.", settable=True)
    reference_locked = required(bool, doc="Whether the time base follows an external reference.")
    segments = required(int, unit="1", doc="Records that one arming takes.", settable=True)
    enob: ClassVar[float] = 0.0
    """Effective number of bits of the data sheet at the bench's bandwidth; 0 where the sheet says nothing."""

    def demand_input(self, number: int) -> None:
        """InputError where there is no input of this number; for `fetch`."""
        known = self.channels()
        if number not in known:
            raise InputError(
                f"there is no input {number}", source=self.name, key="channel", expected=f"{min(known)} to {max(known)}"
            )

    @abstractmethod
    def arm(self) -> None:
        """Start one acquisition; returns when the instrument waits for its trigger."""

    @abstractmethod
    def force_trigger(self) -> None:
        """Trigger by software."""

    @abstractmethod
    def wait(self, timeout: float) -> None:
        """Return when the record is complete; `TransportTimeout` or `NotConfirmed` after `timeout` seconds."""

    @abstractmethod
    def fetch(self, channel: int) -> Record:
        """Transfer what a channel recorded."""

    @abstractmethod
    def stop(self) -> None:
        """Stop acquiring."""

    def safe_state(self) -> None:
        """Stop."""
        self.stop()
