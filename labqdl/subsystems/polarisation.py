"""A polarisation controller and the meter behind the polariser that follows it."""

from __future__ import annotations

from collections.abc import Sequence

from labqdl.facts.calibration import CalibrationSet
from labqdl.facts.ledger import Owner
from labqdl.instruments import Paddle, PolarizationController, PowerMeter
from labqdl.subsystems.roles import Roles


class Polarisation:
    """Paddles that turn the light's polarisation into a polariser."""

    def __init__(self, roles: Roles, owner: Owner, calibrations: CalibrationSet) -> None:
        self.name, self.owner, self.calibrations = roles.name, owner, calibrations
        self.controller = roles.instrument("controller", PolarizationController)
        self.meter = roles.optional("meter", PowerMeter)

    @property
    def paddles(self) -> tuple[Paddle, ...]:
        """The paddles, in their order."""
        return tuple(one for one in self.controller.channels().values() if isinstance(one, Paddle))

    def turn(self, angles: Sequence[float]) -> None:
        """Set the angles of the paddles, rad."""
        for paddle, angle in zip(self.paddles, angles, strict=True):
            paddle.angle = angle

    def angles(self) -> list[float]:
        """Angles of the paddles, rad."""
        return [paddle.angle for paddle in self.paddles]

    def set_calibrated(self) -> None:
        """The angles of "polarisation.PARTY" (`angle_1`, ...), where that was calibrated."""
        name = f"polarisation.{self.owner.value}"
        if name in self.calibrations:
            result = self.calibrations.result(name)
            self.turn([result.value(f"angle_{paddle.number}") for paddle in self.paddles])
