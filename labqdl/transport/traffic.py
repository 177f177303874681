"""What went over a wire lately: entries that people can read, in the log and in every error."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

SHOWN_BYTES = 60
"""Bytes of one message that an error shows; the ring keeps more."""


class Direction(StrEnum):
    """Which way bytes went, seen from us."""

    SENT = ">"
    RECEIVED = "<"
    OPENED = "+"
    CLOSED = "-"


class TrafficEntry(NamedTuple):
    """One message, or the opening or closing of the connection.

    `time` is wall time in seconds; `data` may be shortened, `size` is the number of bytes that really went.
    """

    time: float
    direction: Direction
    data: bytes
    size: int

    def __str__(self) -> str:
        text = readable(self.data)
        if self.size > min(len(self.data), SHOWN_BYTES):
            text += f"... ({self.size} bytes)"
        return f"{self.direction} {text}".rstrip()


def readable(data: bytes, limit: int | None = SHOWN_BYTES) -> str:
    r"""Bytes as text: printable ASCII stays, everything else is escaped (\n, \x00); at most `limit` bytes."""
    return repr(bytes(data[:limit]))[2:-1]
