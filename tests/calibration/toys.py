"""Small routines without instruments, for tests of order, storage and the command line."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from labqdl.clock import ManualClock
from labqdl.facts import CalibrationSet, Owner
from labqdl_calibration.routine import CalibrationFailed, Measured, Measuring, OperatorStep, Routine, Step


class ToyBench:
    """A bench with a clock and nothing else."""

    def __init__(self, name: str = "toy", fingerprint: str = "f") -> None:
        self.name, self.fingerprint = name, fingerprint
        self.clock = ManualClock(1000.0)
        self.calibrations = CalibrationSet(station=name)
        self.quick = False
        self.measured: list[str] = []


class Toy(Routine):
    """Gives the number that it was made with."""

    owner: ClassVar[Owner] = Owner.SERVER
    title = "a number"
    method = "looks at itself"

    def __init__(
        self,
        name: str,
        requires: tuple[str, ...] = (),
        *,
        value: float = 1.0,
        bad: str = "",
        wrong: str = "",
        by_hand: bool = False,
        serves: tuple[str, ...] = ("run",),
        valid_for: float = 60.0,
        version: int = 1,
        there: bool = True,
    ) -> None:
        self.name, self.requires, self.value = name, requires, value  # type: ignore[misc]
        self.bad, self.wrong, self.by_hand, self.serves = bad, wrong, by_hand, serves  # type: ignore[misc]
        self.valid_for, self.version, self.there = valid_for, version, there  # type: ignore[misc]

    def applies(self, bench: Any) -> bool:
        return self.there

    def measure(self, bench: Any) -> Measuring:
        yield Step(1, 1, "look")
        if self.by_hand:
            yield OperatorStep("unplug the fibre from A and plug it into B", "a.output", "b.input")
        if self.wrong:
            raise CalibrationFailed(self.wrong)
        bench.measured.append(self.name)
        found = Measured(raw={"data": np.arange(3.0) * self.value})
        found.add("value", self.value, 0.1, "V")
        found.check(not self.bad, self.bad)
        return found
