"""The engine: drives a plan command by command and always ends in an explicit final state. It knows no physics.

How a plan meets it
-------------------
* A plan yields commands and is sent their results. Pausing and stopping take effect at `Checkpoint` only.
* Stop: `StopRequested` is thrown into the plan at its next checkpoint. The plan may catch it (or use `finally`), yield
  cleanup commands, which are executed, and return or let it pass. A plan that comes to another checkpoint instead is
  ended there, like by `abort`.
* An exception of a handler is thrown into the plan at the command that caused it. A plan may clean up and let it
  pass (FAILED), or handle it and go on.
* Abort: the plan is ended at the next command boundary. Cleanup commands that it yields are not executed but reported
  as `COMMAND_SKIPPED`; making a bench safe then is for whoever asked.

How threads meet it
-------------------
Requests may come from any thread and from signal handlers. They only set flags, which no lock guards and no
interruption can tear; the state itself belongs to the thread that runs the plan. `state` shows the flags' effect at
once. A pausing engine waits on a `queue.SimpleQueue`, the one waiting place of the standard library that a signal
handler may safely wake (a `Condition` may miss the call, or lock up, when the handler interrupts its own bookkeeping).
"""

from __future__ import annotations

import inspect
import logging
import queue
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from types import GeneratorType
from typing import Any, TypeVar

from labqdl.clock import Clock, SystemClock
from labqdl.sequencer.commands import Checkpoint, Command, Plan
from labqdl.sequencer.preview import end_plan, preview
from labqdl.sequencer.states import (
    TRANSITIONS,
    EngineState,
    IllegalTransitionError,
    Step,
    StopRequested,
    following,
)

T = TypeVar("T")

_log = logging.getLogger(__name__)

# Windows delivers Ctrl-C to a waiting main thread only when its wait ends.
_LONGEST_WAIT = 0.25

_MOST_OBSERVER_ERRORS = 100


class EventKind(StrEnum):
    """What an observer is told of."""

    STATE = "state"
    COMMAND_STARTED = "command-started"
    COMMAND_FINISHED = "command-finished"
    COMMAND_FAILED = "command-failed"
    COMMAND_SKIPPED = "command-skipped"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """One thing that happened: `time` is the clock's wall time in s; `seconds` how long a finished command took.

    Results of commands are not in it: they may be large, or one party's own.
    """

    sequence: int
    time: float
    kind: EventKind
    state: EngineState
    command: Command | None = None
    seconds: float | None = None
    error: BaseException | None = None


Handler = Callable[[Any], Any]
Observer = Callable[[EngineEvent], None]


class Engine:
    """Runs one plan, once.

    Parameters
    ----------
    handlers:
        Command type to what executes it; a subclass of a listed type is handled by it, too. A record that must not
        be lost is written by a handler, whose errors reach the plan, never by an observer.
    observer:
        Told of everything, in the thread that runs the plan. Its exceptions never reach the plan: they are logged
        and kept in `observer_errors`.
    clock:
        For the times in events; the system's by default.
    """

    def __init__(
        self,
        handlers: Mapping[type[Any], Handler],
        *,
        observer: Observer | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._handlers = dict(handlers)
        self._observer = observer
        self._clock = clock or SystemClock()
        self._state = EngineState.IDLE  # changed by the running thread only
        self._claim = threading.Lock()
        self._pause_wanted = False
        self._stop_wanted = False
        self._abort_wanted = False
        self._stop_thrown = False
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._sequence = 0
        self._observer_errors: list[Exception] = []

    # -- requests, from any thread --------------------------------------------------------------------------------

    @property
    def state(self) -> EngineState:
        """Where the engine is, requests included."""
        state = self._state
        if self._stop_wanted:
            return TRANSITIONS.get((state, Step.STOP), state)
        if self._pause_wanted:
            return TRANSITIONS.get((state, Step.PAUSE), state)
        if state in (EngineState.PAUSING, EngineState.PAUSED):
            return EngineState.RUNNING  # resumed; the running thread has not noticed yet
        return state

    @property
    def observer_errors(self) -> tuple[Exception, ...]:
        """What observers raised; the first hundred."""
        return tuple(self._observer_errors)

    def request_pause(self) -> None:
        """Pause at the next checkpoint; IllegalTransitionError unless running or pausing already."""
        self._allow(Step.PAUSE)
        self._pause_wanted = True

    def resume(self) -> None:
        """Go on after a pause, or take back the request for one; IllegalTransitionError in any other state."""
        self._allow(Step.RESUME)
        self._pause_wanted = False
        self._wake.put(None)

    def request_stop(self) -> bool:
        """Stop at the next checkpoint, after the plan's cleanup. Asking twice changes nothing.

        False where the run had ended already. An engine that has not started will not start.
        """
        if self._state.final:
            return False
        self._stop_wanted = True
        self._wake.put(None)
        return True

    def abort(self) -> bool:
        """End the plan at the next command boundary, without executing its cleanup. False where it had ended."""
        if self._state.final:
            return False
        self._abort_wanted = True
        return self.request_stop()

    def _allow(self, step: Step) -> None:
        following(self.state, step)

    # -- running --------------------------------------------------------------------------------------------------

    def run(self, plan: Plan[T]) -> T:
        """Execute a plan to its end; its result.

        Raises
        ------
        StopRequested
            After a stop or an abort that the plan let pass. A plan that catches it may return a result instead.
        IllegalTransitionError
            Where this engine has run before.
        Exception
            What a handler or the plan raised and the plan did not handle, after its cleanup.
        """
        _require_generator(plan)
        if not self._claim.acquire(blocking=False):
            raise IllegalTransitionError(self.state, Step.START)
        try:
            return self._run(plan)
        finally:
            # Reached in a state that is not final only by an interruption of this method's own last steps.
            if not self._state.final:
                self._state = EngineState.FAILED
            with suppress(Exception):
                end_plan(plan)

    def _run(self, plan: Plan[T]) -> T:
        if self._stop_wanted:
            self._adopt()
            raise StopRequested("stopped before it began")
        self._move(Step.START)
        try:
            result = self._drive(plan)
        except BaseException as error:
            stopped = isinstance(error, StopRequested | KeyboardInterrupt)
            self._move(Step.CLOSE if stopped else Step.FAIL)
            raise
        self._move(Step.CLOSE if self._stop_thrown else Step.FINISH)
        return result

    def _drive(self, plan: Plan[T]) -> T:
        """Send results and errors into the plan until it ends."""
        value: Any = None
        error: BaseException | None = None
        while True:
            if self._abort_wanted:
                self._adopt()
                self._end(plan)
                raise error or StopRequested("aborted; the plan's cleanup was not executed")
            try:
                command = plan.send(value) if error is None else plan.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            except BaseException as raised:
                if inspect.getgeneratorstate(plan) == inspect.GEN_CLOSED:  # it came out of the plan, which is over
                    raise
                value, error = None, raised  # it struck here, between plan and engine
                continue
            value, error = None, None
            try:
                value = self._perform(command)
            except BaseException as raised:
                error = raised

    def _perform(self, command: Any) -> Any:
        """Result of one command; what it raises is for the plan."""
        self._adopt()
        if self._abort_wanted:
            return None  # the next turn of the loop ends the plan
        if isinstance(command, Checkpoint):
            return self._checkpoint(command)
        handler = self._handler(command)
        self._tell(EventKind.COMMAND_STARTED, command)
        begin = self._clock.monotonic()
        try:
            result = handler(command)
        except BaseException as error:
            self._tell(EventKind.COMMAND_FAILED, command, seconds=self._clock.monotonic() - begin, error=error)
            raise
        self._tell(EventKind.COMMAND_FINISHED, command, seconds=self._clock.monotonic() - begin)
        return result

    def _handler(self, command: Any) -> Handler:
        for kind in type(command).__mro__:
            if kind in self._handlers:
                return self._handlers[kind]
        if not isinstance(command, Command):
            raise TypeError(f"a plan yields commands, got {type(command).__name__}")
        raise TypeError(f"no handler for the command {type(command).__name__}")

    def _checkpoint(self, command: Checkpoint) -> None:
        """Wait while a pause is wanted; raise StopRequested, once, when a stop is."""
        self._tell(EventKind.CHECKPOINT, command)
        while True:
            self._adopt()
            if self._state is EngineState.PAUSING:
                self._move(Step.HOLD)
            if self._state is not EngineState.PAUSED:
                break
            with suppress(queue.Empty):
                self._wake.get(timeout=_LONGEST_WAIT)
        if self._state is not EngineState.STOPPING or self._abort_wanted:
            return
        if self._stop_thrown:
            self._abort_wanted = True  # it was told to stop and goes on working
            return
        self._stop_thrown = True
        raise StopRequested("stopped at a checkpoint, as requested")

    def _end(self, plan: Plan[Any]) -> None:
        for command in end_plan(plan):
            self._tell(EventKind.COMMAND_SKIPPED, command)

    # -- telling --------------------------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Make requests that arrived since the last time part of the state, and tell of it."""
        state = self.state
        if state is not self._state:
            self._state = state
            self._tell(EventKind.STATE)

    def _move(self, step: Step) -> None:
        """Take a step of this thread's own."""
        self._state = following(self._state, step)
        self._tell(EventKind.STATE)

    def _tell(
        self,
        kind: EventKind,
        command: Command | None = None,
        *,
        seconds: float | None = None,
        error: BaseException | None = None,
    ) -> None:
        if self._observer is None:
            return
        event = EngineEvent(self._sequence, self._clock.wall(), kind, self._state, command, seconds, error)
        self._sequence += 1
        try:
            self._observer(event)
        except Exception as failure:
            if len(self._observer_errors) < _MOST_OBSERVER_ERRORS:
                self._observer_errors.append(failure)
                _log.warning("an observer failed at event %d (%s)", event.sequence, kind, exc_info=failure)

    # -- looking ahead --------------------------------------------------------------------------------------------

    def dry_run(
        self, plan: Plan[Any], *, limit: int | None = None, answer: Callable[[Command], Any] | None = None
    ) -> Generator[Command, None, None]:
        """The commands of a plan, none executed; like `preview`, and a command without handler is a TypeError.

        Needs no fresh engine and changes nothing in this one.
        """
        for command in preview(plan, limit=limit, answer=answer):
            if not isinstance(command, Checkpoint):
                self._handler(command)
            yield command


def _require_generator(plan: object) -> None:
    if not isinstance(plan, GeneratorType):
        raise TypeError(f"a plan is a generator, got {type(plan).__name__}; was the function called?")
