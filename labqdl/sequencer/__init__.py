"""The sequencer: plans are generators of small commands; an engine with explicit states executes them."""

from __future__ import annotations

from labqdl.sequencer.commands import Checkpoint, Command, Plan
from labqdl.sequencer.engine import Engine, EngineEvent, EventKind, Handler, Observer
from labqdl.sequencer.preview import preview, print_plan
from labqdl.sequencer.signals import Stoppable, stop_on_signals
from labqdl.sequencer.states import EngineState, IllegalTransitionError, PlanAborted, StopRequested

__all__ = [
    "Checkpoint",
    "Command",
    "Engine",
    "EngineEvent",
    "EngineState",
    "EventKind",
    "Handler",
    "IllegalTransitionError",
    "Observer",
    "Plan",
    "PlanAborted",
    "StopRequested",
    "Stoppable",
    "preview",
    "print_plan",
    "stop_on_signals",
]
