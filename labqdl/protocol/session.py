"""The states of a session and the one table of transitions that both parties obey.

Each party holds its own `Session`; nothing is shared. A handshake is NEW, PROPOSED, AGREED; light flows in RUNNING;
DONE, REFUSED and ABORTED are final. What is not in the table is a `ProtocolError` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from labqdl.errors import ProtocolError


class SessionState(StrEnum):
    """Where a party stands."""

    NEW = "new"
    PROPOSED = "proposed"
    AGREED = "agreed"
    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"
    ABORTED = "aborted"


class SessionEvent(StrEnum):
    """What moves a party from one state to the next."""

    PROPOSE = "propose"
    """The server sends a frame description; the client receives it."""
    AGREE = "agree"
    """The client accepts; the server receives an acceptance with its own digest."""
    REFUSE = "refuse"
    """The client declines, or the digests differ."""
    START = "start"
    """A party asks for its first intent: light may flow."""
    COMPLETE = "complete"
    """The last layer of the last block is in."""
    ABORT = "abort"
    """Either party ends the session, or the server finds the returned light inconsistent."""


_HANDSHAKE_END = {SessionEvent.REFUSE: SessionState.REFUSED, SessionEvent.ABORT: SessionState.ABORTED}

TRANSITIONS: Mapping[SessionState, Mapping[SessionEvent, SessionState]] = MappingProxyType(
    {
        SessionState.NEW: MappingProxyType(
            {SessionEvent.PROPOSE: SessionState.PROPOSED, SessionEvent.ABORT: SessionState.ABORTED}
        ),
        SessionState.PROPOSED: MappingProxyType({SessionEvent.AGREE: SessionState.AGREED, **_HANDSHAKE_END}),
        SessionState.AGREED: MappingProxyType(
            {
                SessionEvent.START: SessionState.RUNNING,
                # Everything was restored from an earlier process: nothing is left to send.
                SessionEvent.COMPLETE: SessionState.DONE,
                **_HANDSHAKE_END,
            }
        ),
        SessionState.RUNNING: MappingProxyType(
            {SessionEvent.COMPLETE: SessionState.DONE, SessionEvent.ABORT: SessionState.ABORTED}
        ),
        SessionState.DONE: MappingProxyType({}),
        SessionState.REFUSED: MappingProxyType({}),
        SessionState.ABORTED: MappingProxyType({}),
    }
)
"""Every transition there is."""


class Session:
    """One party's place in the table.

    Parameters
    ----------
    party:
        `server` or `client`, for error messages.
    """

    def __init__(self, party: str) -> None:
        self._party = party
        self._state = SessionState.NEW

    def __repr__(self) -> str:
        return f"Session({self._party}, {self._state})"

    @property
    def state(self) -> SessionState:
        """Where the party stands."""
        return self._state

    @property
    def final(self) -> bool:
        """Whether no transition leads out of this state."""
        return not TRANSITIONS[self._state]

    def advance(self, event: SessionEvent) -> None:
        """Take one transition.

        Raises
        ------
        ProtocolError
            Where the table has no such transition; the state is unchanged.
        """
        after = TRANSITIONS[self._state].get(event)
        if after is None:
            raise ProtocolError(f"{self._party}: {event} is not allowed in state {self._state}")
        self._state = after

    def expect(self, action: str, *states: SessionState) -> None:
        """Raise a `ProtocolError` that names the action unless the party is in one of these states."""
        if self._state not in states:
            raise ProtocolError(f"{self._party}: {action} is not allowed in state {self._state}")
