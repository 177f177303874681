"""How a server waits for instrument time, and sends what is ready."""

from __future__ import annotations

import math
from collections.abc import Callable

from labqdl.clock import Clock, ManualClock, ScaledClock
from labqdl_sim.steps import StepClock
from labqdl_sim.twin import Session


def wait_until(clock: Clock, instant: float) -> None:
    """Wait for something that an instrument says at that instant."""
    if isinstance(clock, StepClock):
        clock.reach(instant)  # nobody asked for it: waiting for it takes the time that it needs
    else:
        clock.sleep(instant - clock.monotonic())


WHOLE = 1 << 62
"""Bytes: more than any reply has."""


def wall_seconds(clock: Clock, seconds: float) -> float | None:
    """Wall time that passes until `seconds` of instrument time are over; None: for ever.

    A manual clock moves there at once: behind it the instrument is infinitely fast.
    """
    if math.isinf(seconds):
        return None
    if isinstance(clock, ManualClock):
        wait_until(clock, clock.monotonic() + seconds)
        return 0.0
    if isinstance(clock, ScaledClock):
        return max(seconds / clock.factor, 0.0)
    return max(seconds, 0.0)


def send_ready(
    session: Session, send: Callable[[bytes | memoryview, bool, int], object], limit: int = WHOLE
) -> float | None:
    """Hand every reply whose time has come to `send(data, end, tag)`, in pieces of up to `limit` bytes.

    `end`: END comes with the piece; `tag`: of the message that it answers. Returns the wall time until the next
    reply, None when none is on its way.
    """
    clock = session.twin.clock
    while True:
        with session.twin.lock:
            if not session.replies:
                return None
            tag = session.replies[0].tag
            wait = session.replies[0].ready_at - clock.monotonic()
            if wait <= 0:
                piece, end = session.read(limit)
        if wait <= 0:
            send(piece, end, tag)
            continue
        wall = wall_seconds(clock, wait)
        if wall != 0.0:
            return wall
