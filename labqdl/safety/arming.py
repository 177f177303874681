"""Arming: the wish to have real light, said in so many words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arming:
    """Whether real instruments may emit, and who said so.

    Simulated instruments inside of the process, and those that a station file declares simulated, need no arming.
    """

    armed: bool
    reason: str


UNARMED = Arming(False, "nobody gave --arm")
"""What a station starts with."""

SCRIPT = Arming(True, "a person's own script, without a station")
"""Who writes a laser's switch into a script means it."""
