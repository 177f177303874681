"""The calibrations that ship, in the order in which a bench is brought up."""

from __future__ import annotations

from labqdl.facts import Owner
from labqdl.subsystems.interferometer import Way
from labqdl_calibration.graph import Graph
from labqdl_calibration.routines.chips import Steering
from labqdl_calibration.routines.interferometer import LoPhase
from labqdl_calibration.routines.light import AttenuatorMap, Light, OutputLoss
from labqdl_calibration.routines.lock import Lock
from labqdl_calibration.routines.modulator import Modulator
from labqdl_calibration.routines.noise import ShotNoise
from labqdl_calibration.routines.paths import Efficiency, LoopBack, PathLoss, Received, Tap
from labqdl_calibration.routines.polarisation import Paddles
from labqdl_calibration.routines.power import Meters, WarmUp
from labqdl_calibration.routines.timing import ShotTiming


def all_routines() -> Graph:
    """Every routine, whether or not it applies to a given bench."""
    return Graph(
        [
            WarmUp(),
            Meters(Owner.SERVER),
            Meters(Owner.CLIENT),
            Modulator(),
            ShotNoise(Owner.SERVER),
            Paddles(Owner.CLIENT),
            Paddles(Owner.SERVER),
            ShotNoise(Owner.CLIENT),
            ShotTiming(Owner.CLIENT),
            ShotTiming(Owner.SERVER),
            AttenuatorMap(),
            OutputLoss(),
            Light(),
            LoPhase(),
            Steering(Way.FORWARD),
            Steering(Way.INVERSE),
            Lock(Owner.CLIENT),
            Lock(Owner.SERVER),
            Received(),
            Efficiency(Owner.SERVER),
            Efficiency(Owner.CLIENT),
            Tap(),
            PathLoss(forward=True),
            PathLoss(forward=False),
            LoopBack(),
        ]
    )
