"""Polarisation controllers."""

from __future__ import annotations

from typing import ClassVar

from labqdl.instruments.instrument import Channel, Instrument
from labqdl.instruments.quantity import required


class Paddle(Channel):
    """One retarder: a fibre paddle that turns, or a squeezer with a voltage mapped to an angle."""

    kind = "paddle"

    angle = required(float, unit="rad", doc="Angle of the retarder.", settable=True)


class PolarizationController(Instrument):
    """A polarisation controller of several retarders. It emits nothing and loses no light.

    Setting an angle returns when it is reached. `safe_state` stops all movement.
    """

    safe_order: ClassVar[int] = 70
