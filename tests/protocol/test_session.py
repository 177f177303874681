from __future__ import annotations

import pytest

from labqdl.errors import ProtocolError
from labqdl.protocol import TRANSITIONS, Session, SessionEvent, SessionState

FINAL = {SessionState.DONE, SessionState.REFUSED, SessionState.ABORTED}


def _reach(state: SessionState) -> Session:
    """A session in this state, by the shortest way through the table."""
    ways: dict[SessionState, list[SessionEvent]] = {SessionState.NEW: []}
    queue = [SessionState.NEW]
    while queue:
        here = queue.pop(0)
        for event, after in TRANSITIONS[here].items():
            if after not in ways:
                ways[after] = [*ways[here], event]
                queue.append(after)
    session = Session("server")
    for event in ways[state]:
        session.advance(event)
    return session


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(SessionState)
    for state in SessionState:
        session = _reach(state)
        assert session.state is state
        assert session.final == (state in FINAL)
        assert str(state) in repr(session)


@pytest.mark.parametrize("state", list(SessionState))
@pytest.mark.parametrize("event", list(SessionEvent))
def test_an_event_moves_as_the_table_says_or_raises_and_changes_nothing(
    state: SessionState, event: SessionEvent
) -> None:
    session = _reach(state)
    if event in TRANSITIONS[state]:
        session.advance(event)
        assert session.state is TRANSITIONS[state][event]
    else:
        with pytest.raises(ProtocolError, match=f"{event} is not allowed in state {state}"):
            session.advance(event)
        assert session.state is state


def test_every_state_that_is_not_final_can_be_aborted_and_leads_to_an_end() -> None:
    for state in set(SessionState) - FINAL:
        assert TRANSITIONS[state][SessionEvent.ABORT] is SessionState.ABORTED


def test_expect() -> None:
    session = Session("client")
    session.expect("a call", SessionState.NEW, SessionState.DONE)
    with pytest.raises(ProtocolError, match="client: a call is not allowed in state new"):
        session.expect("a call", SessionState.DONE)
