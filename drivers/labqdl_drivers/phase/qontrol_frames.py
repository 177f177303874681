"""Lines, binary frames and error codes of Qontrol modules."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labqdl.transport import ProtocolError

VOLTAGE, CURRENT, VOLTAGE_LIMIT, CURRENT_LIMIT = range(4)
"""Codes of the binary frame."""
MODULE = 8
"""Outputs that one vector frame sets."""
REFUSED = range(10, 17)
"""Errors that are the answer to a command; all others may come at any time."""
ERRORS: Mapping[int, str] = {
    0: "unknown error",
    1: "over-voltage",
    2: "over-current",
    3: "power error",
    4: "calibration error",
    5: "output error",
    10: "unrecognised command",
    11: "unrecognised parameter",
    12: "unrecognised channel",
    13: "operation forbidden",
    14: "serial buffer overflow",
    15: "serial communication error",
    16: "command timed out",
    17: "SPI error",
    18: "ADC error",
    19: "I2C error",
    30: "too many errors, some suppressed",
    31: "firmware trap",
    90: "powered up, all settings are lost",
}


@dataclass(frozen=True, slots=True)
class QontrolFraming:
    """Lines of text both ways; a message whose first byte has bit 7 is a binary frame and goes out as it is."""

    @property
    def end(self) -> int | None:
        """LF."""
        return 10

    def wrap(self, message: bytes) -> bytes:
        """The message, with LF where it is text."""
        return message if message[:1] >= b"\x80" else message + b"\n"

    def complete(self, buffer: bytes) -> int | None:
        """Length of the first line. ProtocolError for bytes that are no text: replies are text in either mode."""
        found = buffer.find(b"\n")
        if not buffer[: found if found >= 0 else None].isascii():
            raise ProtocolError("bytes above 7F hex in a reply: wrong baud rate or another instrument")
        return None if found < 0 else found + 1

    def unwrap(self, frame: bytes) -> bytes:
        """The line."""
        return frame.rstrip(b"\r\n")


def frame(code: int, channel: int = 0, words: NDArray[np.uint16] | None = None, *, every: bool = False) -> bytes:
    """A binary command: writes the words from a channel on, or reads where there are none.

    `every` addresses all channels. Bit 0 of the header makes its number of ones even.
    """
    count = 0 if words is None else len(words)
    header = 0x80 | (every << 5) | ((words is None) << 3) | ((count > 1) << 1)
    header |= header.bit_count() & 1
    length = struct.pack(">H", count) if count > 1 else b""
    data = b"\0\0" if words is None else words.astype(">u2").tobytes()
    return struct.pack(">BBxH", header, code, channel) + length + data
