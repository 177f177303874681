"""The light path that a protocol drives: the interface, and the exact emulation behind it."""

from __future__ import annotations

from labqdl.link.base import ClientPort, Link, ServerPort
from labqdl.link.behaviours import (
    ChannelBehaviour,
    ClientBehaviour,
    ServerBehaviour,
    parse_channel,
    parse_client,
    parse_server,
)
from labqdl.link.emulated import Depth, EmulatedLink

__all__ = [
    "ChannelBehaviour",
    "ClientBehaviour",
    "ClientPort",
    "Depth",
    "EmulatedLink",
    "Link",
    "ServerBehaviour",
    "ServerPort",
    "parse_channel",
    "parse_client",
    "parse_server",
]
