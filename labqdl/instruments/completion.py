"""How one knows that an instrument has done what it was told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Immediate:
    """The instrument has done it when it has accepted the command."""


@dataclass(frozen=True, slots=True)
class OperationComplete:
    """The instrument answers ``*OPC?`` when it is done, within `timeout` seconds."""

    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Reading the quantity gives what was set, within a tolerance, after at most `timeout` seconds.

    The tolerance is `absolute` (the quantity's unit) plus `relative` times the value; texts and switches are equal or
    not. The instrument is asked every `interval` seconds.
    """

    absolute: float = 0.0
    relative: float = 1e-6
    timeout: float = 2.0
    interval: float = 0.05


@dataclass(frozen=True, slots=True)
class Settle:
    """The instrument says nothing; it is done after so many seconds."""

    seconds: float


Completion = Immediate | OperationComplete | ReadBack | Settle
IMMEDIATE = Immediate()
