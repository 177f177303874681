"""What a calibration routine is: a plan that measures and ends with values, and what it needs to have been done first.

A routine meets the bench through its instruments and reads earlier results from the bench's calibrations; it knows no
truth, and its fits begin at data or data sheets. Steps that only a person can do are commands of its plan.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labqdl.clock import Clock
from labqdl.errors import LabqdlError
from labqdl.facts import CalibrationResult, CalibrationSet, Estimate, Owner
from labqdl.sequencer import Command
from labqdl_calibration.fits import Fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOUR = 3600.0
DAY = 24 * HOUR


class CalibrationFailed(LabqdlError):
    """A routine cannot give values: what it saw fits nothing that it knows."""

    exit_code = 5


@dataclass(frozen=True, slots=True)
class OperatorStep(Command):
    """Something that only a person can do at the table.

    Attributes
    ----------
    words:
        What to do, as a person is told.
    source, target:
        For fibres and cables: the end that is moved ("NAME.PORT", an output) and where it goes ("NAME.PORT", an
        input); both empty for other things. A simulated table is rewired by these.
    """

    words: str
    source: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Step(Command):
    """One measurement of a routine is about to be made: `number` of `total`."""

    number: int
    total: int
    words: str = ""


Measuring = Generator[Command, Any, "Measured"]


class Bench(Protocol):
    """What every routine finds: names, the time, and what was calibrated before."""

    @property
    def name(self) -> str:
        """Of the station."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with the instruments and the wiring: what was measured on another bench is stale."""
        ...

    @property
    def clock(self) -> Clock:
        """Of the instruments."""
        ...

    calibrations: CalibrationSet
    """What was measured before; grows while routines run."""
    quick: bool
    """Whether fewer points are enough."""


@dataclass(slots=True)
class Measured:
    """What a routine found, before it is signed with time and digests.

    `raw` are the arrays that were recorded, from which alone the values follow; `failures` the checks that were not
    passed.
    """

    values: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    covariance: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    raw: dict[str, NDArray[Any]] = field(default_factory=dict)
    conditions: dict[str, float | str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, key: str, value: float | Estimate, deviation: float = 0.0, unit: str = "") -> None:
        """One value that is independent of the others."""
        if isinstance(value, Estimate):
            self.add(key, value.value, value.deviation, unit or value.unit)
            return
        self.add_all([key], np.array([value]), np.array([[deviation**2]]), [unit])

    def add_all(
        self, keys: Sequence[str], values: ArrayLike, covariance: NDArray[np.float64], units: Sequence[str]
    ) -> None:
        """Several values with their covariance, independent of the others."""
        size, more = len(self.values), len(keys)
        merged = np.zeros((size + more, size + more))
        merged[:size, :size] = self.covariance
        merged[size:, size:] = (covariance + covariance.T) / 2
        self.covariance = merged
        self.values |= dict(zip(keys, np.asarray(values, np.float64).tolist(), strict=True))
        self.units |= dict(zip(keys, units, strict=True))

    def add_fit(self, fit: Fit, names: Mapping[str, tuple[str, str]]) -> None:
        """Some parameters of a fit; {parameter: (key, unit)}."""
        values, covariance = fit.part(*names)
        self.add_all([key for key, _ in names.values()], values, covariance, [unit for _, unit in names.values()])

    def check(self, good: bool, words: str) -> None:
        """A check that must be passed."""
        if not good:
            self.failures.append(words)


class Routine(ABC):
    """Base of all calibrations.

    Attributes
    ----------
    name, owner:
        Of its result.
    title:
        What it is, in a few words.
    method:
        How it is done, in a sentence.
    version:
        Rises when the same data would give other values.
    requires:
        Routines whose results it reads.
    valid_for:
        How long its result holds, s.
    prefers:
        Routines whose results it reads where there are any; they come before it, too.
    serves:
        What it is needed for: "run" for an inference; others are for commissioning.
    by_hand:
        Whether it needs a person at the table.
    """

    name: ClassVar[str]
    owner: ClassVar[Owner]
    title: ClassVar[str]
    method: ClassVar[str]
    version: ClassVar[int] = 1
    requires: ClassVar[tuple[str, ...]] = ()
    prefers: ClassVar[tuple[str, ...]] = ()
    valid_for: ClassVar[float] = 12 * HOUR
    serves: ClassVar[tuple[str, ...]] = ("run",)
    by_hand: ClassVar[bool] = False

    @abstractmethod
    def measure(self, bench: Any) -> Measuring:
        """The plan: yields steps and operator steps, and returns what it found.

        Leaves the bench as it found it, gates blocked, also when it is stopped.
        """

    def applies(self, bench: Any) -> bool:
        """Whether this station has what the routine calibrates."""
        return True

    def draw(self, result: CalibrationResult, raw: Mapping[str, NDArray[Any]]) -> Figure | None:
        """A picture of the data and of what was made of them, from what is stored."""
        return None

    def signed(self, measured: Measured, bench: Bench) -> CalibrationResult:
        """The result, with time, digests and what it was computed with."""
        return CalibrationResult(
            name=self.name,
            owner=self.owner,
            values=measured.values,
            units=measured.units,
            covariance=measured.covariance,
            method=self.method,
            version=self.version,
            taken=bench.clock.wall(),
            valid_for=self.valid_for,
            conditions={
                "bench": bench.fingerprint,
                "extent": "quick" if bench.quick else "full",
                **measured.conditions,
            },
            raw_digest=raw_digest(measured.raw),
            requires={
                name: bench.calibrations[name].digest
                for name in (*self.requires, *self.prefers)
                if name in bench.calibrations
            },
            remarks=tuple(measured.remarks),
            failures=tuple(measured.failures),
        )


def raw_digest(raw: Mapping[str, NDArray[Any]]) -> str:
    """BLAKE2b-256 of arrays with their names, types and shapes, hexadecimal."""
    digest = hashlib.blake2b(digest_size=32)
    for name in sorted(raw):
        array = np.ascontiguousarray(raw[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
