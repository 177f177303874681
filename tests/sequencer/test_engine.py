from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import pytest

from labqdl.clock import ManualClock
from labqdl.errors import Stopped
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

Plan = Generator[Command, Any, Any]


@dataclass(frozen=True, slots=True)
class Work(Command):
    n: int


@dataclass(frozen=True, slots=True)
class FineWork(Work):
    pass


@dataclass(frozen=True, slots=True)
class Darken(Command):
    pass


class Bench:
    """An engine whose handlers note what they were asked, and may do something at a certain work."""

    def __init__(self, at: dict[int, Callable[[], Any]] | None = None, **options: Any) -> None:
        self.done: list[str] = []
        self.events: list[EngineEvent] = []
        self.at = at or {}
        self.clock = ManualClock()
        options = {"observer": self.events.append, "clock": self.clock, **options}
        self.engine = Engine({Work: self.work, Darken: lambda _: self.done.append("dark")}, **options)

    def work(self, command: Work) -> int:
        self.clock.advance(2.0)
        self.done.append(f"work {command.n}")
        if command.n in self.at:
            self.at[command.n]()
        return 10 * command.n

    @property
    def states(self) -> list[EngineState]:
        return [event.state for event in self.events if event.kind is EventKind.STATE]


def working(count: int = 4) -> Plan:
    """Checkpoint, work, ...; dark at the end, however it ends."""
    results = []
    try:
        for n in range(count):
            yield Checkpoint(f"block {n}")
            results.append((yield Work(n)))
    finally:
        yield Darken()
    return results


S = EngineState


def state_of(bench: Bench) -> EngineState:
    """A call, after which a type checker does not take the state for settled."""
    return bench.engine.state


def test_results_go_into_the_plan_and_out_of_it() -> None:
    bench = Bench()
    assert state_of(bench) is S.IDLE
    assert bench.engine.run(working(3)) == [0, 10, 20]
    assert bench.done == ["work 0", "work 1", "work 2", "dark"]
    assert bench.states == [S.RUNNING, S.DONE]
    assert bench.engine.state is S.DONE


def test_events_tell_everything_in_order() -> None:
    bench = Bench()
    bench.engine.run(working(1))
    assert [(event.sequence, event.time, event.kind, event.seconds) for event in bench.events] == [
        (0, 0.0, EventKind.STATE, None),
        (1, 0.0, EventKind.CHECKPOINT, None),
        (2, 0.0, EventKind.COMMAND_STARTED, None),
        (3, 2.0, EventKind.COMMAND_FINISHED, 2.0),
        (4, 2.0, EventKind.COMMAND_STARTED, None),
        (5, 2.0, EventKind.COMMAND_FINISHED, 0.0),
        (6, 2.0, EventKind.STATE, None),
    ]
    assert bench.events[3].command == Work(0)


def test_a_subclass_is_handled_like_its_base() -> None:
    def plan() -> Plan:
        return (yield FineWork(7))

    assert Bench().engine.run(plan()) == 70


def test_without_observer() -> None:
    assert Bench(observer=None).engine.run(working(1)) == [0]


# -- stopping -------------------------------------------------------------------------------------------------------


def test_a_stop_takes_effect_at_the_next_checkpoint_after_cleanup() -> None:
    bench = Bench()
    bench.at = {1: bench.engine.request_stop}
    with pytest.raises(StopRequested) as caught:
        bench.engine.run(working())
    assert isinstance(caught.value, Stopped)
    assert caught.value.exit_code == 130
    assert bench.done == ["work 0", "work 1", "dark"]
    assert bench.states == [S.RUNNING, S.STOPPING, S.STOPPED]


def test_a_plan_may_catch_the_stop_clean_up_and_return() -> None:
    def plan() -> Plan:
        count = 0
        try:
            while True:
                yield Checkpoint()
                yield Work(count)
                count += 1
        except StopRequested:
            yield Darken()
        return count

    bench = Bench()
    bench.at = {4: bench.engine.request_stop}
    assert bench.engine.run(plan()) == 5
    assert bench.engine.state is S.STOPPED
    assert bench.done[-1] == "dark"


def test_a_plan_that_ends_before_the_stop_reaches_it_is_done() -> None:
    bench = Bench()
    bench.at = {3: bench.engine.request_stop}
    assert bench.engine.run(working(4)) == [0, 10, 20, 30]
    assert bench.states == [S.RUNNING, S.STOPPING, S.DONE]


def test_a_plan_that_goes_on_working_is_ended_at_its_next_checkpoint() -> None:
    def stubborn() -> Plan:
        n = 0
        while True:
            try:
                yield Checkpoint()
                yield Work(n)
            except StopRequested:
                pass
            n += 1

    bench = Bench()
    bench.at = {2: bench.engine.request_stop}
    with pytest.raises(StopRequested, match="aborted"):
        bench.engine.run(stubborn())
    assert bench.done == ["work 0", "work 1", "work 2"]
    assert bench.engine.state is S.STOPPED


def test_stopped_before_it_began() -> None:
    bench = Bench()
    assert bench.engine.request_stop() is True
    assert bench.engine.state is S.STOPPED
    with pytest.raises(StopRequested, match="before it began"):
        bench.engine.run(working())
    assert bench.done == []
    assert bench.engine.state is S.STOPPED
    assert bench.engine.request_stop() is False


def test_an_error_in_the_cleanup_is_a_failure() -> None:
    def plan() -> Plan:
        try:
            yield Checkpoint()
            yield Work(0)
            yield Checkpoint()
        finally:
            yield Work(1)

    def fail() -> None:
        raise OSError("laser does not answer")

    bench = Bench()
    bench.at = {0: bench.engine.request_stop, 1: fail}
    with pytest.raises(OSError, match="laser does not answer"):
        bench.engine.run(plan())
    assert bench.engine.state is S.FAILED


def test_abort_executes_nothing_more_and_reports_what_it_skipped() -> None:
    bench = Bench()
    bench.at = {1: bench.engine.abort}
    with pytest.raises(StopRequested, match="aborted"):
        bench.engine.run(working())
    assert bench.done == ["work 0", "work 1"]
    skipped = [event.command for event in bench.events if event.kind is EventKind.COMMAND_SKIPPED]
    assert skipped == [Darken()]
    assert bench.states == [S.RUNNING, S.STOPPING, S.STOPPED]
    assert bench.engine.abort() is False


def test_abort_while_cleaning_up() -> None:
    def plan() -> Plan:
        try:
            yield Work(0)
            yield Checkpoint()
        finally:
            yield Work(1)
            yield Work(2)

    bench = Bench()
    bench.at = {0: bench.engine.request_stop, 1: bench.engine.abort}
    with pytest.raises(StopRequested):
        bench.engine.run(plan())
    assert bench.done == ["work 0", "work 1"]
    assert bench.engine.state is S.STOPPED


def test_abort_of_a_plan_that_fails_at_it() -> None:
    def plan() -> Plan:
        try:
            yield Work(0)
        finally:
            raise LookupError("in the cleanup")

    bench = Bench()
    bench.at = {0: bench.engine.abort}
    with pytest.raises(LookupError, match="in the cleanup"):
        bench.engine.run(plan())
    assert bench.engine.state is S.FAILED


# -- errors ---------------------------------------------------------------------------------------------------------


class DetectorError(Exception):
    pass


def fail() -> None:
    raise DetectorError("saturated")


def test_an_error_of_a_handler_reaches_the_plan_which_cleans_up() -> None:
    bench = Bench({1: fail})
    with pytest.raises(DetectorError, match="saturated"):
        bench.engine.run(working())
    assert bench.done == ["work 0", "work 1", "dark"]
    assert bench.states == [S.RUNNING, S.FAILED]
    failed = [event for event in bench.events if event.kind is EventKind.COMMAND_FAILED]
    assert len(failed) == 1
    assert isinstance(failed[0].error, DetectorError)
    assert failed[0].seconds == 2.0


def test_a_plan_may_handle_an_error_and_go_on() -> None:
    def plan() -> Plan:
        for attempt in range(3):
            try:
                return (yield Work(attempt))
            except DetectorError:
                yield Darken()
        return None

    bench = Bench({0: fail})
    assert bench.engine.run(plan()) == 10
    assert bench.done == ["work 0", "dark", "work 1"]
    assert bench.engine.state is S.DONE


def test_an_error_of_the_plan() -> None:
    def plan() -> Plan:
        yield Work(0)
        raise LookupError("no such block")

    bench = Bench()
    with pytest.raises(LookupError, match="no such block"):
        bench.engine.run(plan())
    assert bench.engine.state is S.FAILED


def test_stop_iteration_of_a_handler_is_no_result() -> None:
    def end() -> None:
        raise StopIteration(5)

    bench = Bench({0: end})
    with pytest.raises(RuntimeError, match="StopIteration"):
        bench.engine.run(working())
    assert bench.engine.state is S.FAILED


def test_ctrl_c_that_nobody_turned_into_a_request_still_cleans_up() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    bench = Bench({1: interrupt})
    with pytest.raises(KeyboardInterrupt):
        bench.engine.run(working())
    assert bench.done == ["work 0", "work 1", "dark"]
    assert bench.engine.state is S.STOPPED


def test_force_in_the_middle_of_a_command() -> None:
    bench = Bench()

    def force() -> None:
        bench.engine.abort()
        raise KeyboardInterrupt

    bench.at = {1: force}
    with pytest.raises(KeyboardInterrupt):
        bench.engine.run(working())
    assert bench.done == ["work 0", "work 1"]
    assert bench.engine.state is S.STOPPED


def test_an_interruption_inside_of_the_plan() -> None:
    def plan() -> Plan:
        yield Work(0)
        raise KeyboardInterrupt

    bench = Bench()
    with pytest.raises(KeyboardInterrupt):
        bench.engine.run(plan())
    assert bench.engine.state is S.STOPPED


@pytest.mark.parametrize("kind", list(EventKind), ids=str)
def test_an_interruption_in_the_observer_ends_well(kind: EventKind) -> None:
    """KeyboardInterrupt may strike anywhere in the engine's thread; the state is final, the plan over."""

    def interrupt(event: EngineEvent) -> None:
        if event.kind is kind:
            raise KeyboardInterrupt

    bench = Bench({1: fail}, observer=interrupt)
    plan = working()
    with pytest.raises((KeyboardInterrupt, DetectorError)):
        bench.engine.run(plan)
    assert bench.engine.state.final
    assert plan.gi_frame is None  # type: ignore[attr-defined]


def test_commands_that_nobody_handles() -> None:
    def unknown() -> Plan:
        try:
            yield Command()
        finally:
            yield Darken()

    def nonsense() -> Plan:
        yield 3  # type: ignore[misc]

    bench = Bench()
    with pytest.raises(TypeError, match="no handler for the command Command"):
        bench.engine.run(unknown())
    assert bench.done == ["dark"]
    assert bench.engine.state is S.FAILED
    with pytest.raises(TypeError, match="a plan yields commands, got int"):
        Bench().engine.run(nonsense())


def test_a_plan_is_a_generator() -> None:
    bench = Bench()
    with pytest.raises(TypeError, match="was the function called"):
        bench.engine.run(working)  # type: ignore[arg-type]
    assert bench.engine.state is S.IDLE
    assert bench.engine.run(working(1)) == [0]


def test_an_engine_runs_once() -> None:
    bench = Bench()
    bench.engine.run(working(1))
    with pytest.raises(IllegalTransitionError, match="cannot start an engine that is done"):
        bench.engine.run(working(1))
    assert bench.engine.state is S.DONE


def test_an_engine_does_not_run_inside_of_itself() -> None:
    bench = Bench()
    bench.at = {0: lambda: bench.engine.run(working(1))}
    with pytest.raises(IllegalTransitionError, match="cannot start an engine that is running"):
        bench.engine.run(working(2))
    assert bench.engine.state is S.FAILED
    assert bench.done == ["work 0", "dark"]


def test_observers_never_break_a_run(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: EngineEvent) -> None:
        raise DetectorError(f"plot window closed at {event.sequence}")

    bench = Bench(observer=broken)
    assert bench.engine.run(working(40)) == [10 * n for n in range(40)]
    assert bench.engine.state is S.DONE
    assert len(bench.engine.observer_errors) == 100
    assert str(bench.engine.observer_errors[1]) == "plot window closed at 1"
    assert "an observer failed at event 0 (state)" in caplog.text


# -- pausing --------------------------------------------------------------------------------------------------------


def paused_then(action: Callable[[Engine], object]) -> tuple[Bench, BaseException | None]:
    """Pause at a checkpoint in a thread, wait until it holds there, act, wait for the end."""
    bench = Bench()
    holding = threading.Event()
    outcome: list[BaseException] = []

    def observe(event: EngineEvent) -> None:
        bench.events.append(event)
        if event.kind is EventKind.STATE and event.state is S.PAUSED:
            holding.set()

    bench.engine = Engine({Work: bench.work, Darken: lambda _: bench.done.append("dark")}, observer=observe)
    bench.at = {1: bench.engine.request_pause}

    def run() -> None:
        try:
            bench.engine.run(working())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert holding.wait(10)
    assert bench.engine.state is S.PAUSED
    assert bench.done == ["work 0", "work 1"]
    action(bench.engine)
    thread.join(10)
    assert not thread.is_alive()
    return bench, outcome[0] if outcome else None


def test_pause_and_resume() -> None:
    bench, error = paused_then(Engine.resume)
    assert error is None
    assert bench.done == ["work 0", "work 1", "work 2", "work 3", "dark"]
    assert bench.states == [S.RUNNING, S.PAUSING, S.PAUSED, S.RUNNING, S.DONE]


def test_pause_and_stop() -> None:
    bench, error = paused_then(Engine.request_stop)
    assert isinstance(error, StopRequested)
    assert bench.done == ["work 0", "work 1", "dark"]
    assert bench.states == [S.RUNNING, S.PAUSING, S.PAUSED, S.STOPPING, S.STOPPED]


def test_pause_and_abort() -> None:
    bench, error = paused_then(Engine.abort)
    assert isinstance(error, StopRequested)
    assert bench.done == ["work 0", "work 1"]
    assert bench.states == [S.RUNNING, S.PAUSING, S.PAUSED, S.STOPPING, S.STOPPED]


def test_a_pause_taken_back_before_the_checkpoint_never_holds() -> None:
    bench = Bench()

    def hesitate() -> None:
        bench.engine.request_pause()
        assert state_of(bench) is S.PAUSING
        bench.engine.request_pause()
        bench.engine.resume()
        assert bench.engine.state is S.RUNNING

    bench.at = {0: hesitate}
    bench.engine.run(working(2))
    assert bench.states == [S.RUNNING, S.DONE]


def test_a_pause_that_comes_too_late_does_not_hold_the_end() -> None:
    bench = Bench()
    bench.at = {1: bench.engine.request_pause}
    bench.engine.run(working(2))
    assert bench.states == [S.RUNNING, S.PAUSING, S.DONE]


def test_requests_that_make_no_sense() -> None:
    bench = Bench()

    def nonsense() -> None:
        with pytest.raises(IllegalTransitionError, match="cannot resume an engine that is running"):
            bench.engine.resume()

    def late() -> None:
        bench.engine.request_stop()
        with pytest.raises(IllegalTransitionError, match="cannot pause an engine that is stopping"):
            bench.engine.request_pause()

    for call, name in ((bench.engine.request_pause, "pause"), (bench.engine.resume, "resume")):
        with pytest.raises(IllegalTransitionError, match=f"cannot {name} an engine that is idle"):
            call()
    bench.at = {0: nonsense, 1: late}
    with pytest.raises(StopRequested):
        bench.engine.run(working())
    with pytest.raises(IllegalTransitionError, match="cannot pause an engine that is stopped"):
        bench.engine.request_pause()
