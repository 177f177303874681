"""How a server waits for instrument time."""

from __future__ import annotations

import math

from labqdl.clock import Clock, ManualClock, ScaledClock


def wall_seconds(clock: Clock, seconds: float) -> float | None:
    """Wall time that passes until `seconds` of instrument time are over; None: for ever.

    A manual clock moves there at once: behind it the instrument is infinitely fast.
    """
    if math.isinf(seconds):
        return None
    if isinstance(clock, ManualClock):
        clock.sleep(seconds)
        return 0.0
    if isinstance(clock, ScaledClock):
        return max(seconds / clock.factor, 0.0)
    return max(seconds, 0.0)
