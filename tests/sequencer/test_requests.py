"""Random plans, random requests at random moments: every run ends in a final state that fits what happened."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from labqdl.clock import ManualClock
from labqdl.sequencer import (
    Checkpoint,
    Command,
    Engine,
    EngineEvent,
    EngineState,
    EventKind,
    IllegalTransitionError,
    StopRequested,
)
from labqdl.sequencer.states import TRANSITIONS, Step

S = EngineState


@dataclass(frozen=True, slots=True)
class Work(Command):
    n: int


class WorkError(Exception):
    pass


ACTIONS = ["nothing", "pause", "resume", "stop", "abort", "fail", "interrupt"]
MANNERS = ["lets pass", "cleans up", "returns", "goes on"]


def make_plan(manner: str, checkpoints: list[bool]) -> Generator[Command, Any, str]:
    """A plan with a checkpoint before some works, that meets errors and stops in one of four manners."""
    for n, checked in enumerate(checkpoints):
        try:
            if checked:
                yield Checkpoint()
            yield Work(n)
        except (WorkError, StopRequested):
            if manner == "goes on":
                continue
            if manner == "returns":
                return "early"
            if manner == "cleans up":
                yield Work(-1)
            raise
    return "complete"


def perform(engine: Engine, action: str) -> None:
    """One request from inside a handler or observer; legal exactly when the table says so."""
    requests: dict[str, tuple[Step, Callable[[], object]]] = {
        "pause": (Step.PAUSE, engine.request_pause),
        "resume": (Step.RESUME, engine.resume),
        "stop": (Step.STOP, engine.request_stop),
        "abort": (Step.STOP, engine.abort),
    }
    if action in requests:
        step, call = requests[action]
        before = engine.state
        if (before, step) in TRANSITIONS:
            call()
            assert engine.state is TRANSITIONS[before, step]
        elif step is Step.STOP:
            assert call() is False
        else:
            with pytest.raises(IllegalTransitionError):
                call()
            assert engine.state is before
    elif action == "fail":
        raise WorkError
    elif action == "interrupt":
        raise KeyboardInterrupt


@given(
    manner=st.sampled_from(MANNERS),
    checkpoints=st.lists(st.booleans(), max_size=8),
    in_handlers=st.lists(st.sampled_from(ACTIONS), max_size=10),
    in_observer=st.lists(st.sampled_from(ACTIONS), max_size=25),
    when_paused=st.lists(st.sampled_from(["resume", "stop", "abort"]), max_size=3),
)
def test_every_run_ends_in_a_state_that_fits(
    manner: str, checkpoints: list[bool], in_handlers: list[str], in_observer: list[str], when_paused: list[str]
) -> None:
    seen: list[EngineState] = []

    def work(command: Work) -> None:
        assert not engine.state.final
        if in_handlers:
            perform(engine, in_handlers.pop())

    def observe(happened: EngineEvent) -> None:
        if happened.kind is EventKind.STATE:
            seen.append(happened.state)
            if happened.state is S.PAUSED:  # nobody else would wake it
                perform(engine, when_paused.pop() if when_paused else "resume")
                return
        if in_observer:
            perform(engine, in_observer.pop())

    engine = Engine({Work: work}, observer=observe, clock=ManualClock())
    plan = make_plan(manner, checkpoints)
    result: str | None = None
    error: BaseException | None = None
    try:
        result = engine.run(plan)
    except BaseException as raised:
        error = raised
    event(f"{engine.state}")
    assert engine.state.final
    assert plan.gi_frame is None  # type: ignore[attr-defined]
    if error is None:
        assert engine.state in (S.DONE, S.STOPPED)
        assert result in ("complete", "early")
    elif isinstance(error, WorkError | IllegalTransitionError):
        assert engine.state is S.FAILED
    else:
        assert isinstance(error, StopRequested | KeyboardInterrupt)
        # An interruption of the very last announcement cannot change what has happened.
        assert engine.state is S.STOPPED or (isinstance(error, KeyboardInterrupt) and engine.state.final)
    allowed = {(source, target) for (source, _), target in TRANSITIONS.items()}
    steps = list(zip([S.IDLE, *seen], seen, strict=False))
    for source, target in steps:
        # Requests between two looks of the engine are adopted together: a way through the table, not always one step.
        assert (source, target) in allowed or any((source, m) in allowed and (m, target) in allowed for m in S)
    final_steps = [target for _, target in steps if target.final]
    assert len(final_steps) <= 1


class Requests(RuleBasedStateMachine):
    """Requests against an engine that is stepped command by command, compared with the table alone."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine({Work: lambda _: None}, clock=ManualClock())
        self.model = S.IDLE

    def request(self, step: Step, call: Callable[[], object]) -> None:
        expected = TRANSITIONS.get((self.model, step))
        if expected is None and step is not Step.STOP:
            with pytest.raises(IllegalTransitionError):
                call()
            return
        call()
        self.model = expected or self.model

    @rule()
    def pause(self) -> None:
        self.request(Step.PAUSE, self.engine.request_pause)

    @rule()
    def resume(self) -> None:
        self.request(Step.RESUME, self.engine.resume)

    @rule()
    def stop(self) -> None:
        self.request(Step.STOP, self.engine.request_stop)

    @rule()
    def abort(self) -> None:
        self.request(Step.STOP, self.engine.abort)

    @precondition(lambda self: self.model.final)
    @rule()
    def run_again(self) -> None:
        with pytest.raises((IllegalTransitionError, StopRequested)):
            self.engine.run(make_plan("lets pass", [True]))

    @precondition(lambda self: self.model is S.IDLE)
    @rule(
        checkpoints=st.lists(st.booleans(), min_size=1, max_size=5),
        requests=st.lists(st.sampled_from([Step.PAUSE, Step.RESUME, Step.STOP]), max_size=6),
    )
    def run(self, checkpoints: list[bool], requests: list[Step]) -> None:
        calls: dict[Step, Callable[[], object]] = {
            Step.PAUSE: self.engine.request_pause,
            Step.RESUME: self.engine.resume,
            Step.STOP: self.engine.request_stop,
        }

        def work(_: Work) -> None:
            if requests:
                self.request(requests[-1], calls[requests.pop()])
            if self.model is S.PAUSING:  # a checkpoint may follow, and nobody would wake the engine there
                self.request(Step.RESUME, self.engine.resume)
            assert self.engine.state is self.model

        self.engine = Engine({Work: work}, clock=ManualClock())
        calls[Step.PAUSE], calls[Step.RESUME] = self.engine.request_pause, self.engine.resume
        calls[Step.STOP] = self.engine.request_stop
        self.model = S.RUNNING
        try:
            self.engine.run(make_plan("lets pass", checkpoints))
        except StopRequested:
            assert self.model is S.STOPPING
            self.model = S.STOPPED
        else:
            self.model = S.DONE

    @invariant()
    def states_agree(self) -> None:
        assert self.engine.state is self.model


TestRequests = Requests.TestCase
