"""An instrument that PyMeasure drives, served as one of ours: the station file says which property is which quantity.

    [instruments.laser]
    driver = "pymeasure"
    resource = "TCPIP0::10.0.0.5::5000::SOCKET"
    options = { instrument = "pymeasure.instruments.santec:TSL550", role = "Laser" }
    safe = ["output_enabled = false", "laser_enabled = false"]

    [instruments.laser.mapping]
    emission = { property = "output_enabled" }
    wavelength = { property = "wavelength_setpoint", unit = "nm" }

What is not mapped is not a capability. Limits of the device are PyMeasure's own: where its property clips, what reads
back is another value than what was set, and that is an error; state the limits that matter in the station file. Its
errors arrive as ours, without the traffic of our transports.
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from labqdl.instruments import Identity
from labqdl_drivers.adapters.foreign import ForeignInstrument


class PyMeasureInstrument(ForeignInstrument):
    """Base of the classes that are made for each mapping; `PyMeasureInstrument(...)` gives one of the role's class.

    PyMeasure has no locks: one of the adapter's is held over everything that it is asked.
    """

    package: ClassVar[str] = "PyMeasure"
    install: ClassVar[str] = "pymeasure"
    driver_name: ClassVar[str] = "pymeasure"
    models: ClassVar[tuple[str, ...]] = ("whatever PyMeasure drives",)

    def identity(self) -> Identity:
        """What `*IDN?` says, through PyMeasure; the name of its class where it does not ask."""
        found = self.read("id") if self._has("id") else None
        parts = [part.strip() for part in str(found or f",{type(self._theirs).__name__}").split(",")]
        parts += [""] * (4 - len(parts))
        return Identity(parts[0], parts[1], parts[2], ",".join(parts[3:]))

    def _make(self, kind: Any) -> Any:
        ends = {key: text for key in ("read_termination", "write_termination") if (text := self._wanted[key])}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PyMeasure's own, about its own base class
            return kind(self.resource, visa_library=self.library or "", **ends)

    def _get(self, name: str) -> Any:
        parent, last = self._parent(name)
        return getattr(parent, last)

    def _set(self, name: str, value: Any) -> None:
        parent, last = self._parent(name)
        setattr(parent, last, value)

    def _has(self, name: str) -> bool:
        parent, last = self._parent(name)
        return hasattr(type(parent), last) or last in vars(parent)

    def _release(self, theirs: Any) -> None:
        theirs.adapter.close()
