from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest

from labqdl.sequencer import Checkpoint, Command, Engine, EngineState, preview, print_plan
from labqdl.sequencer.preview import end_plan


@dataclass(frozen=True, slots=True)
class Measure(Command):
    n: int


@dataclass(frozen=True, slots=True)
class Darken(Command):
    pass


def plan(count: int, ended: list[str]) -> Generator[Command, Any, float]:
    total = 0.0
    try:
        for n in range(count):
            yield Checkpoint(f"block {n}")
            outcome = yield Measure(n)
            total += outcome if outcome is not None else 0.0
    finally:
        ended.append(f"total {total}")
        yield Darken()
    return total


def test_a_preview_lists_everything_and_ends_the_plan() -> None:
    ended: list[str] = []
    listed = list(preview(plan(2, ended)))
    assert listed == [Checkpoint("block 0"), Measure(0), Checkpoint("block 1"), Measure(1), Darken()]
    assert ended == ["total 0.0"]


def test_a_preview_may_be_cut_short_anywhere() -> None:
    for limit in range(6):
        ended: list[str] = []
        assert len(list(preview(plan(2, ended), limit=limit))) == min(limit, 5)
        assert ended == ([] if limit == 0 else ["total 0.0"])  # limit 0 never starts it
    ended = []
    commands = preview(plan(5, ended))
    next(commands)
    commands.close()
    assert ended == ["total 0.0"]


def test_answers_stand_in_for_results() -> None:
    ended: list[str] = []
    list(preview(plan(3, ended), answer=lambda command: command.n if isinstance(command, Measure) else None))
    assert ended == ["total 3.0"]


def test_printing() -> None:
    lines: list[str] = []
    print_plan(plan(1, []), lines.append)
    assert lines == ["    1 -- checkpoint block 0", "    2 Measure n=0", "    3 Darken"]
    lines.clear()
    print_plan(plan(9, []), lines.append, limit=2)
    assert lines == ["    1 -- checkpoint block 0", "    2 Measure n=0", "      ... and more, after the first 2"]
    lines.clear()
    print_plan(plan(1, []), lines.append, limit=3)
    assert len(lines) == 3


def test_an_error_of_the_plan_comes_out() -> None:
    def bad() -> Generator[Command, Any, None]:
        yield Darken()
        raise LookupError("no such block")

    with pytest.raises(LookupError, match="no such block"):
        list(preview(bad()))


def test_a_dry_run_executes_nothing_and_misses_no_handler() -> None:
    executed: list[Command] = []
    engine = Engine({Measure: executed.append, Darken: executed.append})
    assert [command.describe() for command in engine.dry_run(plan(1, []), limit=2)] == [
        "-- checkpoint block 0",
        "Measure n=0",
    ]
    ended: list[str] = []
    with pytest.raises(TypeError, match="no handler for the command Darken"):
        list(Engine({Measure: executed.append}).dry_run(plan(1, ended)))
    assert ended == ["total 0.0"]
    assert executed == []
    assert engine.state is EngineState.IDLE


def test_ending_a_plan_that_refuses() -> None:
    def stubborn() -> Generator[Command, Any, None]:
        for _ in range(2000):
            try:
                yield Darken()
            except BaseException:
                continue

    refusing = stubborn()
    next(refusing)
    with pytest.raises(RuntimeError, match="does not end"):
        end_plan(refusing)
    for _ in refusing:
        pass


def test_cleanup_of_nested_plans_is_skipped_whole() -> None:
    def inner() -> Generator[Command, Any, None]:
        try:
            yield Measure(0)
        finally:
            yield Measure(1)
            yield Measure(2)

    def outer() -> Generator[Command, Any, None]:
        try:
            yield from inner()
        finally:
            yield Darken()

    running = outer()
    next(running)
    assert end_plan(running) == [Measure(1), Darken()]  # each `finally` is left at its first command
