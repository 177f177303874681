"""Instrument time that goes by messages, so that a program meets the same bits whichever road it takes.

With clock = "steps" the clock of a bench stands still while nobody talks. Each message that an instrument executes
moves it by one step (200 us), and on to the end of whatever the message takes: what the instrument holds, how late its
reply comes. So the time of every measurement follows from the messages alone, in one process and through sockets.

Who waits by asking again and again would wait long: the same question with the same answer in a row moves the clock by
twice as much each time, up to 4,096 steps. A poll is made of few questions: a list of many settings that is read
again and again takes no longer each time.
"""

from __future__ import annotations

import hashlib

from labqdl.clock import HastyClock, ManualClock

__all__ = ["STEP", "HastyClock", "Polls", "StepClock"]

STEP = 200e-6
_DOUBLINGS = 12
_KEPT = 8
"""Different questions that a poll may consist of; whoever reads a list of settings twice does not wait."""


class StepClock(ManualClock):
    """A clock that messages move; waiting on it costs nothing and changes nothing."""

    def __init__(self, step: float = STEP) -> None:
        super().__init__()
        self.step = step

    def reach(self, instant: float) -> None:
        """Move forward to an instant, where it is still to come."""
        if instant > self.monotonic():
            self.advance(instant - self.monotonic())

    def sleep(self, seconds: float) -> None:
        """Only messages take time."""


class Polls:
    """What one session asked and was answered before."""

    def __init__(self) -> None:
        self._answers: dict[bytes, bytes] = {}
        self._streak = 0

    def step(self, message: bytes, step: float) -> float:
        """Seconds that this message moves the clock by, before it is executed."""
        if _digest(message) not in self._answers:
            self._streak = 0
        return step * float(1 << min(self._streak, _DOUBLINGS))

    def heard(self, message: bytes, answer: bytes) -> None:
        """What was answered: nothing is no poll."""
        key = _digest(message)
        told = _digest(answer)
        self._streak = self._streak + 1 if answer and self._answers.get(key) == told else 0
        self._answers.pop(key, None)
        if answer:
            self._answers[key] = told
            if len(self._answers) > _KEPT:
                del self._answers[next(iter(self._answers))]


def _digest(data: bytes) -> bytes:
    return bytes(data) if len(data) <= 64 else hashlib.blake2b(data, digest_size=16).digest()
