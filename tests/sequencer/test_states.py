from __future__ import annotations

from itertools import product

import pytest

from labqdl.sequencer.states import FINAL, TRANSITIONS, EngineState, IllegalTransitionError, Step, following


@pytest.mark.parametrize(("state", "step"), list(product(EngineState, Step)), ids=str)
def test_every_pair_is_a_step_or_an_error(state: EngineState, step: Step) -> None:
    if (state, step) in TRANSITIONS:
        assert following(state, step) is TRANSITIONS[state, step]
    else:
        with pytest.raises(IllegalTransitionError, match=f"cannot {step} an engine that is {state}") as caught:
            following(state, step)
        assert (caught.value.state, caught.value.step) == (state, step)


def test_nothing_leaves_a_final_state_and_everything_else_reaches_one() -> None:
    for state in EngineState:
        targets = {target for (source, _), target in TRANSITIONS.items() if source is state}
        assert state.final == (not targets)
        reached = {state}
        while more := {target for (source, _), target in TRANSITIONS.items() if source in reached} - reached:
            reached |= more
        assert reached & FINAL


def test_every_state_in_which_a_plan_lives_can_end_in_failure_and_by_force() -> None:
    for state in (EngineState.RUNNING, EngineState.PAUSING, EngineState.PAUSED, EngineState.STOPPING):
        assert following(state, Step.FAIL) is EngineState.FAILED
        assert following(state, Step.CLOSE) is EngineState.STOPPED
