"""Thorlabs OSW12 and OSW22 fibre-optic switch kits."""

from __future__ import annotations

from typing import ClassVar

from labqdl.driver import Integer, TextInstrument, Uses, reasons
from labqdl.instruments import Identity, OpticalSwitch, ReadBack
from labqdl.transport import Framing, Line, RoadOptions

_SWITCHING = 2e-3
"""Seconds that the MEMS mirror gets before it is asked; the sheet says below 1 ms."""


class ThorlabsOSW(TextInstrument, OpticalSwitch):
    """A 1 x 2 switch (port 1 or 2) or a 2 x 2 one (port 1 is the bar state, 2 the cross state).

    It answers no command that sets, so the port is read back. Without power it falls back to port 1. Switch with little
    power only: above some tens of mW it ages, so close an attenuator or the laser's shutter around the change. What an
    unknown command does is not in the sheet; a time-out is all that can be expected.
    """

    maker = "Thorlabs"
    models = ("OSW12", "OSW22")
    sheet = "switch_thorlabs_osw_agiltron_ff"
    identity_pattern = r"OSW"
    framing: ClassVar[Framing] = Line(terminator=b"\n", reply_terminator=b"\r\n", blocks=False)
    road = RoadOptions(baudrate=115_200, rtscts=True)

    left_out: ClassVar = reasons({"0x0111 0x0112": "frames of Agiltron's switches, which share the sheet only"})

    port = Integer("S?", "S {}", limits=(1, 2), done=ReadBack(timeout=0.5, interval=0.01))

    @Uses("I?", "T?")
    def identity(self) -> Identity:
        """Name and type code of the board; it tells neither serial number nor firmware."""
        return Identity(self.maker, self.ask("I? "), "", f"board type {self.ask('T?')}")

    def tell(self, command: str, *, timeout: float | None = None) -> None:
        """Send a command, which has no answer, and give the mirror its time."""
        with self.transport.transaction():
            self.transport.write(command.encode(self.encoding), timeout=timeout)
            self.clock.sleep(_SWITCHING)
