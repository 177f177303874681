"""What an instrument is: abstract classes, quantities, limits, contracts, data sheets. No I/O."""

from labqdl.instruments.amplifier import AmplifierMode, OpticalAmplifier
from labqdl.instruments.attenuator import Attenuator
from labqdl.instruments.completion import IMMEDIATE, Completion, Immediate, OperationComplete, ReadBack, Settle
from labqdl.instruments.counter import CounterInput, PhotonCounter
from labqdl.instruments.datasheets import Modulator, Photodetector
from labqdl.instruments.digitizer import Digitizer, Input, Record
from labqdl.instruments.environment import InterlockIO, TemperatureSensor
from labqdl.instruments.errors import (
    LimitError,
    NotACapability,
    NotAValue,
    NotConfirmed,
    Refused,
    SettingsChanged,
)
from labqdl.instruments.generator import Output, Reference, Trigger, WaveformGenerator, WaveformMemory
from labqdl.instruments.instrument import Channel, Guard, Identity, Instrument, Part, Reading
from labqdl.instruments.laser import Laser
from labqdl.instruments.limits import Limit
from labqdl.instruments.phase import LockState, PhaseServo, PhaseShifterArray
from labqdl.instruments.polarization import Paddle, PolarizationController
from labqdl.instruments.power_meter import PowerMeter
from labqdl.instruments.quantity import Absent, Declared, DeclaredNumber, InputLimits, Quantity, absent, required
from labqdl.instruments.sources import BiasController, BiasMode, VoltageSource
from labqdl.instruments.switches import OpticalSwitch, Shutter

__all__ = [
    "IMMEDIATE",
    "Absent",
    "AmplifierMode",
    "Attenuator",
    "BiasController",
    "BiasMode",
    "Channel",
    "Completion",
    "CounterInput",
    "Declared",
    "DeclaredNumber",
    "Digitizer",
    "Guard",
    "Identity",
    "Immediate",
    "Input",
    "InputLimits",
    "Instrument",
    "InterlockIO",
    "Laser",
    "Limit",
    "LimitError",
    "LockState",
    "Modulator",
    "NotACapability",
    "NotAValue",
    "NotConfirmed",
    "OperationComplete",
    "OpticalAmplifier",
    "OpticalSwitch",
    "Output",
    "Paddle",
    "Part",
    "PhaseServo",
    "PhaseShifterArray",
    "Photodetector",
    "PhotonCounter",
    "PolarizationController",
    "PowerMeter",
    "Quantity",
    "ReadBack",
    "Reading",
    "Record",
    "Reference",
    "Refused",
    "SettingsChanged",
    "Settle",
    "Shutter",
    "TemperatureSensor",
    "Trigger",
    "VoltageSource",
    "WaveformGenerator",
    "WaveformMemory",
    "absent",
    "required",
]
