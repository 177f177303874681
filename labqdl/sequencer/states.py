"""The states of an engine and every step between them.

    IDLE -START-> RUNNING -FINISH-> DONE            any error ends in FAILED
    RUNNING -PAUSE-> PAUSING -HOLD-> PAUSED -RESUME-> RUNNING
    RUNNING, PAUSING, PAUSED -STOP-> STOPPING -CLOSE-> STOPPED

`TRANSITIONS` is the whole truth: a pair that is not in it is an `IllegalTransitionError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from labqdl.errors import Stopped


class EngineState(StrEnum):
    """Where an engine is."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """True where nothing will ever change again."""
        return self in FINAL


class Step(StrEnum):
    """What moves an engine. The first three are requests from outside."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    START = "start"
    HOLD = "hold"
    FINISH = "finish"
    CLOSE = "close"
    FAIL = "fail"


FINAL = frozenset({EngineState.STOPPED, EngineState.DONE, EngineState.FAILED})

_S = EngineState

TRANSITIONS: Mapping[tuple[EngineState, Step], EngineState] = MappingProxyType(
    {
        (_S.IDLE, Step.START): _S.RUNNING,
        (_S.IDLE, Step.STOP): _S.STOPPED,
        (_S.RUNNING, Step.PAUSE): _S.PAUSING,
        (_S.RUNNING, Step.STOP): _S.STOPPING,
        (_S.RUNNING, Step.FINISH): _S.DONE,
        (_S.RUNNING, Step.CLOSE): _S.STOPPED,  # Ctrl-C that nobody turned into a request
        (_S.RUNNING, Step.FAIL): _S.FAILED,
        (_S.PAUSING, Step.PAUSE): _S.PAUSING,
        (_S.PAUSING, Step.RESUME): _S.RUNNING,
        (_S.PAUSING, Step.HOLD): _S.PAUSED,
        (_S.PAUSING, Step.STOP): _S.STOPPING,
        (_S.PAUSING, Step.FINISH): _S.DONE,  # no checkpoint came before the end
        (_S.PAUSING, Step.CLOSE): _S.STOPPED,
        (_S.PAUSING, Step.FAIL): _S.FAILED,
        (_S.PAUSED, Step.PAUSE): _S.PAUSED,
        (_S.PAUSED, Step.RESUME): _S.RUNNING,
        (_S.PAUSED, Step.STOP): _S.STOPPING,
        (_S.PAUSED, Step.CLOSE): _S.STOPPED,
        (_S.PAUSED, Step.FAIL): _S.FAILED,
        (_S.STOPPING, Step.STOP): _S.STOPPING,
        (_S.STOPPING, Step.FINISH): _S.DONE,  # the plan ended before the stop reached it
        (_S.STOPPING, Step.CLOSE): _S.STOPPED,
        (_S.STOPPING, Step.FAIL): _S.FAILED,
    }
)


class IllegalTransitionError(ValueError):
    """A request that makes no sense in this state, such as `resume` of an engine that never paused."""

    def __init__(self, state: EngineState, step: Step) -> None:
        self.state = state
        self.step = step
        super().__init__(f"cannot {step} an engine that is {state}")


class StopRequested(Stopped):
    """Thrown into a plan at a checkpoint when somebody asked to stop; comes out of `Engine.run` afterwards."""


class PlanAborted(BaseException):
    """Thrown into a plan that must end at once: commands that it still yields are not executed.

    Not an `Exception`, so that a plan's error handling does not take it for an error of a command.
    """


def following(state: EngineState, step: Step) -> EngineState:
    """State after a step; IllegalTransitionError where the table has none."""
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        raise IllegalTransitionError(state, step) from None
