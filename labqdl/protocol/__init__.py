"""Server and client as sans-I/O state machines: messages and results in, messages and intents out."""

from __future__ import annotations

from labqdl.protocol.client import BlockResult, Client, Limits
from labqdl.protocol.intents import Outcomes, Returned, SendRows, SetData, SetReceiver
from labqdl.protocol.messages import (
    Abort,
    Acceptance,
    LayerDone,
    Message,
    Proposal,
    Refusal,
    VerdictNotice,
    message_from_json,
)
from labqdl.protocol.server import Server
from labqdl.protocol.session import TRANSITIONS, Session, SessionEvent, SessionState

__all__ = [
    "TRANSITIONS",
    "Abort",
    "Acceptance",
    "BlockResult",
    "Client",
    "LayerDone",
    "Limits",
    "Message",
    "Outcomes",
    "Proposal",
    "Refusal",
    "Returned",
    "SendRows",
    "Server",
    "Session",
    "SessionEvent",
    "SessionState",
    "SetData",
    "SetReceiver",
    "VerdictNotice",
    "message_from_json",
]
