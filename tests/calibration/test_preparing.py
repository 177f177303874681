"""What is measured, reused or refused before a run; operator steps; failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from labqdl.errors import InputError
from labqdl.facts.calibration import ProblemKind
from labqdl_calibration.graph import Graph
from labqdl_calibration.preparing import Mode, Runner, prepare
from labqdl_calibration.routine import OperatorStep
from labqdl_calibration.store import CalibrationStore
from tests.calibration.toys import Toy, ToyBench


def chain(**changes: object) -> Graph:
    return Graph([Toy("a"), Toy("b", ("a",), **changes), Toy("c", ("b",)), Toy("d", serves=())])  # type: ignore[arg-type]


def test_full_measures_everything_that_a_run_needs_and_quick_only_what_is_stale(tmp_path: Path) -> None:
    store = CalibrationStore("toy", tmp_path)
    bench = ToyBench()
    first = prepare(bench, "full", graph=chain(), store=store)
    assert first.measured == ("a", "b", "c")
    assert first.ready
    assert first.demand()["c"].conditions["extent"] == "full"
    again = ToyBench()
    assert prepare(again, "quick", graph=chain(), store=store).measured == ()
    assert prepare(again, "reuse", graph=chain(), store=store).ready
    again.clock.advance(61.0)
    late = prepare(again, Mode.REUSE, graph=chain(), store=store)
    assert [one.kind for one in late.problems] == [ProblemKind.EXPIRED] * 3
    with pytest.raises(InputError, match="labqdl calibrate toy"):
        late.demand()
    assert prepare(again, "quick", graph=chain(), store=store).measured == ("a", "b", "c")
    assert again.calibrations["a"].conditions["extent"] == "quick"


def test_a_new_measurement_makes_stale_what_was_computed_with_the_old_one(tmp_path: Path) -> None:
    store = CalibrationStore("toy", tmp_path)
    bench = ToyBench()
    prepare(bench, "full", graph=chain(), store=store)
    bench.clock.advance(1.0)
    Runner(bench, chain(), store).measure("b")
    found = prepare(ToyBench(), "reuse", graph=chain(), store=store)
    assert [(one.name, one.kind) for one in found.problems] == [("c", ProblemKind.CHANGED)]
    assert prepare(ToyBench(), "quick", graph=chain(), store=store).measured == ("c",)


def test_another_bench_and_another_version_are_stale(tmp_path: Path) -> None:
    store = CalibrationStore("toy", tmp_path)
    prepare(ToyBench(), "full", graph=chain(), store=store)
    other = prepare(ToyBench(fingerprint="g"), "reuse", graph=chain(), store=store)
    assert "another bench" in str(other.problems[0])
    newer = prepare(ToyBench(), "reuse", graph=chain(version=2), store=store)
    assert [one.name for one in newer.problems] == ["b", "c"]
    assert "version 1" in str(newer.problems[0])


@pytest.mark.parametrize("trouble", [{"wrong": "no fringe"}, {"bad": "the line is bent"}])
def test_what_failed_stops_what_depends_on_it_and_the_run(trouble: dict[str, str], tmp_path: Path) -> None:
    bench = ToyBench()
    found = prepare(bench, "full", graph=chain(**trouble), store=CalibrationStore("toy", tmp_path))
    assert "c" not in bench.measured
    assert [(one.name, one.kind) for one in found.problems] == [
        ("b", ProblemKind.FAILED),
        ("c", ProblemKind.MISSING),
    ]
    assert next(iter(trouble.values())) in str(found.problems[0])
    assert not found.ready


def test_operator_steps_reach_the_person_and_nobody_there_is_said() -> None:
    asked: list[OperatorStep] = []
    bench = ToyBench()
    assert prepare(bench, "full", graph=chain(by_hand=True), operator=asked.append).ready
    assert asked[0].source == "a.output"
    assert "unplug the fibre" in asked[0].describe()
    alone = prepare(ToyBench(), "full", graph=chain(by_hand=True))
    assert [one.kind for one in alone.problems] == [ProblemKind.FAILED, ProblemKind.MISSING]
    assert "a person at the table" in str(alone.problems[0])
