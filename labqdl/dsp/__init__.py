"""Signal processing of shots: symbols to samples, and samples to one number a bin.

Arrays in, arrays out; volts in, volts out: what a volt means in shot-noise units is the calibration's to say.
"""

from __future__ import annotations

from labqdl.dsp.drive import drive, phase_drive
from labqdl.dsp.errors import DspError
from labqdl.dsp.finding import find_shot
from labqdl.dsp.integrate import integrate, window_gain
from labqdl.dsp.pilots import PilotTrack, pilot_track, rotated
from labqdl.dsp.preamble import known_symbols
from labqdl.dsp.shot_noise import VacuumSlots, VacuumVariance, shot_noise, vacuum_table
from labqdl.dsp.timing import Timing

__all__ = [
    "DspError",
    "PilotTrack",
    "Timing",
    "VacuumSlots",
    "VacuumVariance",
    "drive",
    "find_shot",
    "integrate",
    "known_symbols",
    "phase_drive",
    "pilot_track",
    "rotated",
    "shot_noise",
    "vacuum_table",
    "window_gain",
]
