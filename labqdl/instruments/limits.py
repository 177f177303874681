"""Limits of a quantity: who set them, and which one is the tightest."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Limit:
    """An inclusive range in the quantity's own (SI) unit.

    Attributes
    ----------
    low, high:
        Inclusive; infinite where open.
    reason:
        Whose limit it is, for the message: "the device's", "of the station file", "of interlock edfa-seed".
    """

    low: float = -math.inf
    high: float = math.inf
    reason: str = "the device's"

    def __post_init__(self) -> None:
        if math.isnan(self.low) or math.isnan(self.high) or self.low > self.high:
            raise ValueError(f"no range: {self.low} to {self.high}")

    def allows(self, value: float) -> bool:
        """Whether the value (a number) is inside; what conversions of units round (1e-12 of the end) is not outside."""
        return self.low - _ROUNDING * abs(self.low) <= value <= self.high + _ROUNDING * abs(self.high)

    def words(self, unit: str) -> str:
        """The range for messages."""
        end = after_number(unit)
        if math.isinf(self.low):
            return f"at most {self.high:.9g}{end}"
        if math.isinf(self.high):
            return f"at least {self.low:.9g}{end}"
        return f"{self.low:.9g} to {self.high:.9g}{end}"


def after_number(unit: str) -> str:
    """What follows a number in messages: a blank and the unit, or nothing where there is no unit to name."""
    return f" {unit}" if unit not in ("", "1") else ""


def broken(limits: Iterable[Limit], value: float) -> Limit | None:
    """The tightest of the limits that the value breaks: the one that it is farthest outside of, or None.

    NaN breaks every limit.
    """
    breaking = [limit for limit in limits if not limit.allows(value)]
    return max(breaking, key=lambda limit: max(limit.low - value, value - limit.high), default=None)
