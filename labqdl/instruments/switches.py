"""Optical switches and shutters."""

from __future__ import annotations

from typing import ClassVar

from labqdl.instruments.instrument import Instrument
from labqdl.instruments.quantity import required


class OpticalSwitch(Instrument):
    """A 1 x N or 2 x 2 switch; ports count from 1, as printed on the box. It emits nothing.

    `safe_state` goes to `safe_port` where the station names one, and else only confirms that it answers. A MEMS switch
    needs about 1 ms: setting `port` returns when it has arrived.
    """

    safe_order: ClassVar[int] = 20

    port = required(int, doc="The port that the light takes.", settable=True, unit="1")
    safe_port: int | None = None

    def safe_state(self) -> None:
        """Go to the safe port, if there is one."""
        if self.safe_port is not None:
            self.port = self.safe_port
        else:
            self.identity()


class Shutter(Instrument):
    """A shutter. ``is_passing = False`` means closed and confirmed; `safe_state` closes it."""

    safe_order: ClassVar[int] = 20

    is_passing = required(bool, doc="Whether light passes.", settable=True, energises=True)

    def safe_state(self) -> None:
        """Close."""
        self.is_passing = False
