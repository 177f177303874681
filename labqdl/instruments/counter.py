"""Counters of single photons and of other pulses."""

from __future__ import annotations

from abc import abstractmethod

from labqdl.instruments.instrument import Channel, Instrument
from labqdl.instruments.quantity import required


class CounterInput(Channel):
    """An input with a discriminator."""

    kind = "input"

    enabled = required(bool, doc="Whether it counts.", settable=True)
    threshold = required(float, unit="V", doc="Voltage of the discriminator.", settable=True)
    counts = required(int, unit="1", doc="Events in the last complete gate.")
    delay = required(float, unit="s", doc="Delay of this input.", settable=True)


class PhotonCounter(Instrument):
    """A counter of pulses. It emits nothing; `safe_state` only confirms that it answers."""

    gate_time = required(float, unit="s", doc="Length of a gate.", settable=True)

    @abstractmethod
    def restart(self) -> None:
        """Begin a new gate now and forget the counts so far."""

    def safe_state(self) -> None:
        """It emits nothing; confirms that it answers."""
        self.identity()
