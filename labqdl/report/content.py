"""What the report of a run says, before it is drawn or written: plain values, all of them from the record.

Whoever reads a run folder fills these in (`labqdl.api.reporting`); the rest of this room turns them into pictures and
a page, and looks nowhere else. What a run does not have is a `Missing` with the reason, which the page prints in its
place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import Bound, Budgets, Certificate, FrameDescription, LeakageReport, Ledger, TestResult
from labqdl.plots import OutcomeFit
from labqdl.report.cost import Cost


class Lamp(StrEnum):
    """The light at the top of the page."""

    ACCEPT = "accept"
    UNDECIDED = "undecided"
    ABORT = "abort"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a part of the report is not there."""

    reason: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The verdict: lamp, one line for everybody, and the server's own words (may be empty)."""

    lamp: Lamp
    line: str
    explanation: str


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """Predictions against labels.

    Attributes
    ----------
    counts:
        (classes, classes): true class in rows, predictions in columns.
    classes:
        Names; empty where there are none.
    images, accuracy, low, high:
        After each complete block: images so far, share of right predictions and its 95 % interval; (blocks,).
    """

    counts: NDArray[np.int64]
    classes: tuple[str, ...]
    images: NDArray[np.int64]
    accuracy: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The accuracy as the run recorded it; None where the data have no labels."""

    images: int
    share: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class LayerOutcomes:
    """Outcomes of one layer against ideal inner products, both in units of unit-RMS weights and unit data.

    Attributes
    ----------
    layer:
        From 1.
    ideal, measured:
        Any number of points; the same shape.
    fit:
        The line through them.
    expected_slope, expected_f2_db:
        What the agreed light path makes of an honest client's outcome.
    images, of_images:
        Of how many images the points are, of how many that were measured.
    """

    layer: int
    ideal: NDArray[np.float32]
    measured: NDArray[np.float32]
    fit: OutcomeFit
    expected_slope: float
    expected_f2_db: float
    images: int
    of_images: int


@dataclass(frozen=True, slots=True, eq=False)
class CheckPath:
    """One test of the returned light, of everything measured so far, over the run.

    Attributes
    ----------
    name, unit:
        Of the test and its statistic.
    symbols:
        Measured symbols so far, all receivers; (points,).
    statistic, expected:
        The statistic and its honest value; (points,).
    low, high:
        What the test would accept were that its last look.

    A test without edges in a unit of its own is told in standard deviations: the normal deviate with its p-value.
    """

    name: str
    unit: str
    symbols: NDArray[np.float64]
    statistic: NDArray[np.float64]
    expected: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the server's verifier made of the returned light.

    Attributes
    ----------
    paths:
        Tests pooled over layers.
    tests:
        All tests at the end.
    final:
        Whether `tests` are those of the recorded verdict, and not a look in between.
    symbols, log10_e:
        The e-process from before any light on; (points,).
    threshold:
        Its logarithm to base 10 at which the server aborts.
    alpha:
        False-alarm rate of all tests together.
    certified:
        Bounds that the measured light proves so far.
    worst_case:
        True where the weights were not at hand, so that the honest law had to be that of the worst ones.
    """

    paths: tuple[CheckPath, ...]
    tests: tuple[TestResult, ...]
    final: bool
    symbols: NDArray[np.float64]
    log10_e: NDArray[np.float64]
    threshold: float
    alpha: float
    certified: tuple[Bound, ...]
    worst_case: bool


@dataclass(frozen=True, slots=True)
class Leaks:
    """Bounds on leakage with the budgets that were agreed."""

    report: LeakageReport
    budgets: Budgets
    for_comparison: tuple[str, ...]
    certificate: Certificate | None
    complete: bool


@dataclass(frozen=True, slots=True)
class ExcessCause:
    """One cause of excess noise: what its calibration lets expect, SNU at the server's input."""

    cause: str
    source: str
    formula: str
    excess: float
    deviation: float


@dataclass(frozen=True, slots=True)
class ExcessBudget:
    """Error budget of a run on a station, beside what it measured; SNU at the server's input, mean over quadratures.

    Attributes
    ----------
    causes:
        The largest first.
    expected, measured, unexplained:
        (value, standard deviation): the causes' sum, what the run's light says, and the difference.
    photons:
        Mean photons of a mode slot of the run at the server's output.
    own_unit:
        Whether the run's own vacuum was taken off, and not the calibration's.
    """

    causes: tuple[ExcessCause, ...]
    expected: tuple[float, float]
    measured: tuple[float, float]
    unexplained: tuple[float, float]
    photons: float
    own_unit: bool


@dataclass(frozen=True, slots=True)
class Content:
    """A whole report.

    Attributes
    ----------
    name:
        Of the run folder.
    headline:
        The verdict.
    notes:
        What the reader must know first: damage, differences from what was agreed, what is only simulation.
    run:
        What was run: names and values, in order.
    frame:
        What both parties agreed on.
    predicted:
        How often each class was predicted; empty where nothing was.
    findings:
        The client's own tests of the light that it was sent.
    world:
        The light path that was really there, where it is not the agreed one.
    budget:
        Error budget of a run on a station; None for an emulated link.
    """

    name: str
    headline: Headline
    notes: tuple[str, ...]
    run: tuple[tuple[str, str], ...]
    frame: FrameDescription
    accuracy: Accuracy | Missing
    classification: Classification | Missing
    predicted: tuple[tuple[str, int], ...]
    findings: tuple[TestResult, ...]
    outcomes: tuple[LayerOutcomes, ...] | Missing
    evidence: Evidence | Missing
    leaks: Leaks | Missing
    ledger: Ledger
    world: Ledger | None
    cost: Cost
    budget: ExcessBudget | Missing | None = None
