"""Measuring what is missing or stale, in order, and what a run gets to know of it.

`prepare` is what a run asks for before it begins; `labqdl calibrate` goes the same way with words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from numpy.typing import NDArray

from labqdl.errors import InputError, LabqdlError
from labqdl.facts import CalibrationResult, CalibrationSet
from labqdl.facts.calibration import CalibrationProblem, ProblemKind
from labqdl.sequencer import Checkpoint, Engine, Plan
from labqdl_calibration.graph import Graph
from labqdl_calibration.routine import Bench, CalibrationFailed, OperatorStep, Routine, Step
from labqdl_calibration.store import CalibrationStore


class Mode(StrEnum):
    """How much is measured before a run."""

    FULL = "full"
    """Everything that the run needs, at full length."""
    QUICK = "quick"
    """What is missing, failed or stale, with fewer points; the rest is used as it is."""
    REUSE = "reuse"
    """Nothing: what is missing, failed or stale stops the run."""


Operator = Callable[[OperatorStep], None]
"""Does, or lets a person do, an operator step; returns when it is done and raises where it is not."""
Told = Callable[[str, Routine, Step | OperatorStep | CalibrationResult | LabqdlError], None]
"""Is told of each step of a routine, of its result, and of why it has none: (name, routine, what)."""


@dataclass(slots=True)
class Prepared:
    """What `prepare` found.

    Attributes
    ----------
    calibrations:
        Everything that is known, measured now or before.
    problems:
        Why a run must not begin (or, where it does all the same, why every figure of it is marked); empty where it may.
    measured:
        Names of what was measured now.
    """

    calibrations: CalibrationSet
    problems: tuple[CalibrationProblem, ...]
    measured: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether everything that is needed is there and holds."""
        return not self.problems

    def demand(self) -> CalibrationSet:
        """The calibrations; InputError that lists the problems where there are any."""
        if self.problems:
            raise InputError(
                "the calibration is not what a run needs: " + "; ".join(str(problem) for problem in self.problems),
                hint=f"'labqdl calibrate {self.calibrations.station}' measures what is missing",
            )
        return self.calibrations


def stale(graph: Graph, known: CalibrationSet, bench: Bench, names: Iterable[str]) -> dict[str, CalibrationProblem]:
    """What stands against using each of these results, by name; without those that are fine.

    What a result requires has to be fine, too; an older version of a routine and another bench count as changes.
    """
    needed = graph.order(names)
    found = {one.name: one for one in known.problems(bench.clock.wall(), needed) if one.name in needed}
    for name in needed:
        result = known.get(name)
        if result is None or name in found:
            continue
        if result.version != graph[name].version:
            words = f"was measured by version {result.version} of its routine, which is {graph[name].version} now"
            found[name] = CalibrationProblem(name, ProblemKind.CHANGED, words)
        elif result.conditions.get("bench") != bench.fingerprint:
            found[name] = CalibrationProblem(name, ProblemKind.CHANGED, "was measured on another bench")
    for name in needed:
        broken = [other for other in graph.requires(name) if other in found]
        if broken and name not in found:
            found[name] = CalibrationProblem(name, ProblemKind.CHANGED, f"is computed with {broken[0]}, which is stale")
    return {name: found[name] for name in needed if name in found}


@dataclass(slots=True)
class Runner:
    """Measures routines one after the other.

    Parameters
    ----------
    bench:
        Whose `calibrations` grow.
    graph:
        Its routines.
    store:
        Keeps results; None: they live in the bench only.
    operator:
        For steps that only a person can do; None: a routine with such a step fails.
    told:
        Is told of progress.
    pictures:
        Whether pictures are drawn and kept.
    """

    bench: Any
    graph: Graph
    store: CalibrationStore | None = None
    operator: Operator | None = None
    told: Told | None = None
    pictures: bool = False
    raw: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    """Raw data of what was measured, by name."""

    def measure(self, name: str) -> CalibrationResult:
        """Measure one; what it requires must be in the bench's calibrations.

        Raises
        ------
        LabqdlError
            Where it cannot give values. Results that fail their own checks are kept and returned.
        """
        routine = self.graph[name]
        for other in self.graph.requires(name):
            self.bench.calibrations.result(other)
        measured = Engine(
            {Step: lambda step: self._tell(routine, step), OperatorStep: lambda step: self._operate(routine, step)}
        ).run(_with_checkpoints(routine, self.bench))
        result = routine.signed(measured, self.bench)
        self.bench.calibrations = self.bench.calibrations.with_result(result)
        self.raw[name] = measured.raw
        if self.store is not None:
            self.store.save(result, measured.raw, routine.draw(result, measured.raw) if self.pictures else None)
        self._tell(routine, result)
        return result

    def measure_all(self, names: Iterable[str]) -> tuple[list[str], dict[str, CalibrationProblem]]:
        """Measure these in the order given; what depends on a failed one is left out.

        Returns
        -------
        Names that have a result now, and a problem for each of the others.
        """
        done: list[str] = []
        problems: dict[str, CalibrationProblem] = {}
        for name in names:
            known = self.bench.calibrations
            broken = [one for one in self.graph.requires(name) if one in problems or one not in known]
            if broken:
                why = "failed" if broken[0] in problems else "was never measured"
                problems[name] = CalibrationProblem(name, ProblemKind.MISSING, f"needs {broken[0]}, which {why}")
                continue
            try:
                result = self.measure(name)
            except CalibrationFailed as error:
                problems[name] = CalibrationProblem(name, ProblemKind.FAILED, str(error))
                self._tell(self.graph[name], error)
                continue
            done.append(name)
            if result.failures:
                problems[name] = CalibrationProblem(name, ProblemKind.FAILED, result.failures[0])
        return done, problems

    def _operate(self, routine: Routine, step: OperatorStep) -> None:
        self._tell(routine, step)
        if self.operator is None:
            raise CalibrationFailed(f"{routine.name} needs a person at the table: {step.words}")
        self.operator(step)

    def _tell(self, routine: Routine, what: Step | OperatorStep | CalibrationResult | LabqdlError) -> None:
        if self.told is not None:
            self.told(routine.name, routine, what)


def _with_checkpoints(routine: Routine, bench: Any) -> Plan[Any]:
    """The routine's plan, which may be paused or stopped between its steps."""
    plan = routine.measure(bench)
    answer: Any = None
    try:
        while True:
            try:
                command = plan.send(answer)
            except StopIteration as end:
                return end.value
            if isinstance(command, Step):
                yield Checkpoint(f"{routine.name} {command.number}/{command.total}")
            answer = yield command
    finally:
        plan.close()


def prepare(
    bench: Any,
    mode: Mode | str,
    *,
    graph: Graph | None = None,
    store: CalibrationStore | None = None,
    purpose: str = "run",
    operator: Operator | None = None,
    told: Told | None = None,
    pictures: bool = False,
) -> Prepared:
    """Have everything calibrated that a purpose needs, or say what stands against it.

    Parameters
    ----------
    bench:
        What `labqdl_calibration.bench` opens; its `calibrations` are replaced by what is known.
    mode:
        full, quick or reuse.
    graph:
        Routines; None: all that ship, of which those count that apply to the bench.
    store:
        Where results are kept; None: what the bench knows already is all there is, and nothing is kept.
    purpose, operator, told, pictures:
        See `Graph.needed_for` and `Runner`.

    Raises
    ------
    RecordError
        For damaged files, by name.
    LabqdlError
        Where an instrument does not answer as it should.
    """
    mode = Mode(mode)
    if graph is None:
        from labqdl_calibration.routines import all_routines

        graph = all_routines()
    graph = graph.applicable(bench)
    if store is not None:
        bench.calibrations = store.load()
    needed = graph.needed_for(purpose)
    bad = stale(graph, bench.calibrations, bench, needed)
    measured: list[str] = []
    if mode is not Mode.REUSE:
        wanted = [name for name in needed if mode is Mode.FULL or name in bad]
        bench.quick = mode is Mode.QUICK
        runner = Runner(bench, graph, store, operator, told, pictures)
        measured, failed = runner.measure_all(wanted)
        bad = stale(graph, bench.calibrations, bench, needed) | failed
    ordered = tuple(bad[name] for name in needed if name in bad)
    return Prepared(bench.calibrations, ordered, tuple(measured))
