"""Drivers of the instruments of `fake_world`."""

from __future__ import annotations

from typing import ClassVar

from labqdl.driver import Bool, Float, ScpiInstrument


class Lamp(ScpiInstrument):
    """Something that shines."""

    maker = "Fake"
    models = ("Lamp",)
    sheet = "none"
    identity_pattern = "Fake Lamp"
    timeout = 1.0
    error_query: ClassVar[str | None] = None

    output = Bool("OUTP?", "OUTP {}", on="ON", off="OFF", energises=True, doc="Whether it shines.")

    def safe_state(self) -> None:
        """Off, confirmed."""
        self.force("OUTP OFF")
        self.confirm(self, "output", False)


class Pump(Lamp):
    """Goes dark before all others."""

    safe_order = 10


class Laser(Lamp):
    """Goes dark last."""

    safe_order = 60


class Meter(ScpiInstrument):
    """Sees the light of all lamps together."""

    maker = "Fake"
    models = ("Lamp",)
    sheet = "none"
    error_query: ClassVar[str | None] = None

    power = Float("POW?", unit="W", doc="Power.")

    def safe_state(self) -> None:
        """Emits nothing."""
        self.identity()
