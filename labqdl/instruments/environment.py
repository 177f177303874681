"""Temperatures, and lines that interlocks use."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from labqdl.instruments.instrument import Instrument
from labqdl.instruments.quantity import required


class TemperatureSensor(Instrument):
    """A thermometer. It emits nothing."""

    temperature = required(float, unit="K", doc="Measured temperature.")

    def safe_state(self) -> None:
        """It emits nothing; confirms that it answers."""
        self.identity()


class InterlockIO(Instrument):
    """Digital lines: contacts that are read, and enables that are set.

    `safe_state` switches every output off.
    """

    safe_order: ClassVar[int] = 20

    @abstractmethod
    def inputs(self) -> Mapping[str, bool]:
        """Levels of the input lines by name."""

    @abstractmethod
    def outputs(self) -> Mapping[str, bool]:
        """Levels of the output lines by name, as the device reports them."""

    @abstractmethod
    def set_output(self, line: str, level: bool) -> None:
        """Set an output line; True energises.

        Raises
        ------
        InputError
            For a line that does not exist.
        """
