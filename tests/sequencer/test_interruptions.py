"""KeyboardInterrupt at every single line of the engine: the run ends in a final state and the plan is over."""

from __future__ import annotations

import sys
from collections.abc import Generator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytest

from labqdl.sequencer import Checkpoint, Command, Engine, EngineState, StopRequested, engine


@dataclass(frozen=True, slots=True)
class Work(Command):
    n: int


def plan(cleaned: list[str]) -> Generator[Command, Any, str]:
    try:
        for n in range(2):
            yield Checkpoint()
            yield Work(n)
    finally:
        cleaned.append("begun")
        yield Work(-1)
    return "complete"


def interrupted_run(line: int, stopping: bool) -> tuple[bool, EngineState, list[str], bool]:
    """Run with an interruption at the `line`-th line that the engine executes; whether it struck, and how it ended."""
    left = line
    struck = False

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left, struck
        if frame.f_code.co_filename != engine.__file__:
            return None
        if event == "line" and not struck:
            if left == 0:
                struck = True
                raise KeyboardInterrupt
            left -= 1
        return trace

    def work(command: Work) -> None:
        if stopping and command.n == 0:
            runner.request_stop()

    runner = Engine({Work: work}, observer=lambda _: None)
    cleaned: list[str] = []
    running = plan(cleaned)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        runner.run(running)
    except (KeyboardInterrupt, StopRequested):
        pass
    finally:
        sys.settrace(before)
    return struck, runner.state, cleaned, running.gi_frame is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("stopping", [False, True])
def test_no_line_of_the_engine_leaves_anything_open(stopping: bool) -> None:
    line = 0
    while True:
        struck, state, cleaned, over = interrupted_run(line, stopping)
        if not struck:
            break
        if state is EngineState.IDLE:  # before the engine touched the plan
            assert (cleaned, over) == ([], False)
            assert line < 10
        else:
            assert state.final, line
            assert over, line
        line += 1
    assert line > 100
    assert state is (EngineState.STOPPED if stopping else EngineState.DONE)
