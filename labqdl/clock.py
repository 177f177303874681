"""Clocks that code is handed: the real one, one that runs faster or slower, and one that a test moves by hand."""

from __future__ import annotations

import math
import time
from typing import Protocol


class Clock(Protocol):
    """What a clock can do: tell elapsed and wall time, and wait."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes backwards."""
        ...

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait until so many seconds have passed on this clock; not at all for none or fewer."""
        ...


class SystemClock:
    """The clock of the operating system: `monotonic` and `wall` are the functions of `time` themselves."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

    def sleep(self, seconds: float) -> None:
        """Let the thread rest."""
        if seconds > 0:
            time.sleep(seconds)  # noqa: TID251 - the one place that waits; everybody else is handed this clock


class ScaledClock:
    """A clock that runs `factor` times as fast as another one, from the moment it is made.

    For demonstrations in which an hour of drift takes a minute: all who share it agree on the time.
    """

    def __init__(self, factor: float, base: Clock | None = None) -> None:
        if not 0 < factor < math.inf:
            raise ValueError(f"a clock runs forward: the factor must be positive and finite, got {factor!r}")
        self.factor = factor
        self._base: Clock = SystemClock() if base is None else base
        self._start = self._base.monotonic()
        self._wall = self._base.wall()

    def monotonic(self) -> float:
        """Scaled seconds since this clock was made."""
        return (self._base.monotonic() - self._start) * self.factor

    def wall(self) -> float:
        """Wall time at which this clock was made, and scaled seconds since."""
        return self._wall + self.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait on the other clock, `factor` times shorter."""
        self._base.sleep(seconds / self.factor)


class ManualClock:
    """A clock that stands still until `advance`, or somebody's `sleep`, moves it."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def monotonic(self) -> float:
        """Seconds on this clock."""
        return self._now

    def wall(self) -> float:
        """Seconds on this clock."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock forward; a clock does not go back (ValueError)."""
        if seconds < 0:
            raise ValueError(f"a clock does not go back, got {seconds!r} s")
        self._now += seconds

    def sleep(self, seconds: float) -> None:
        """Move the clock forward by what was to be waited, at once."""
        if seconds > 0:
            self.advance(seconds)


class HastyClock(SystemClock):
    """For drivers on a bench whose time goes by messages: real time, and what they wait for is over at once."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def monotonic(self) -> float:
        """Seconds of real time, and those that were waited for."""
        return SystemClock.monotonic() + self._skipped

    def sleep(self, seconds: float) -> None:
        """Go on at once, later by so much."""
        if seconds > 0:
            self._skipped += seconds
