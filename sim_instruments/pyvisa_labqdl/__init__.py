"""PyVISA backend `@labqdl`: `pyvisa.ResourceManager("station.toml@labqdl")` opens the simulated instruments of a
station file in process."""

from __future__ import annotations

from labqdl_sim.routes.visa import SimVisaLibrary

WRAPPER_CLASS = SimVisaLibrary
