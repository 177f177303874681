"""Several instruments that act as one: transmitter, interferometer, gain-and-tap, receivers; and a bench as a link."""

from labqdl.subsystems.bench_link import BenchLink, Incident
from labqdl.subsystems.counting import CountingReceiver
from labqdl.subsystems.errors import BenchStopped, ShotInvalid
from labqdl.subsystems.gain_tap import AmplifierTap, FeedForwardTap, GainTap
from labqdl.subsystems.gate import Gate
from labqdl.subsystems.interferometer import (
    Interferometer,
    MziInterferometer,
    NoInterferometer,
    TimeBinInterferometer,
    Way,
)
from labqdl.subsystems.modulator_map import ModulatorMap
from labqdl.subsystems.parties import ClientBench, ServerBench
from labqdl.subsystems.polarisation import Polarisation
from labqdl.subsystems.receiver import HomodyneReceiver, Recorded
from labqdl.subsystems.transmitter import Brightness, Transmitter

__all__ = [
    "AmplifierTap",
    "BenchLink",
    "BenchStopped",
    "Brightness",
    "ClientBench",
    "CountingReceiver",
    "FeedForwardTap",
    "GainTap",
    "Gate",
    "HomodyneReceiver",
    "Incident",
    "Interferometer",
    "ModulatorMap",
    "MziInterferometer",
    "NoInterferometer",
    "Polarisation",
    "Recorded",
    "ServerBench",
    "ShotInvalid",
    "TimeBinInterferometer",
    "Transmitter",
    "Way",
]
