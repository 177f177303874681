"""Telegrams of NKT Photonics' Interbus: start and end bytes, escapes, CRC-16."""

from __future__ import annotations

import binascii

from labqdl.transport import ProtocolError

_START, _END, _ESCAPE = 0x0D, 0x0A, 0x5E
_SPECIAL = (_START, _END, _ESCAPE)
_ESCAPED = bytes(byte + 0x40 for byte in _SPECIAL)


class InterbusFraming:
    """``0D``, then addresses, type, register, data and CRC-16/XMODEM with three bytes escaped, then ``0A``."""

    end = _END

    def wrap(self, message: bytes) -> bytes:
        """The telegram of destination, source, type, register and data."""
        body = message + binascii.crc_hqx(message, 0).to_bytes(2)
        for byte in (_ESCAPE, _START, _END):  # the escape itself first
            body = body.replace(bytes((byte,)), bytes((_ESCAPE, byte + 0x40)))
        return bytes((_START,)) + body + bytes((_END,))

    def complete(self, buffer: bytes) -> int | None:
        """To the first end byte, which occurs nowhere else."""
        if buffer and buffer[0] != _START:
            raise ProtocolError(f"a telegram begins with 0D, not with {buffer[0]:02X}")
        return buffer.find(_END) + 1 or None

    def unwrap(self, frame: bytes) -> bytes:
        """Destination, source, type, register and data; ProtocolError where escapes or checksum are wrong."""
        if len(frame) < 2 or frame[0] != _START or frame[-1] != _END:
            raise ProtocolError(f"no telegram between 0D and 0A: {frame[:40].hex(' ')}")
        first, *parts = frame[1:-1].split(bytes((_ESCAPE,)))
        if any(not part or part[0] not in _ESCAPED for part in parts) or _START in frame[1:]:
            raise ProtocolError(f"a telegram with a wrong escape: {frame[:40].hex(' ')}")
        body = first + b"".join(bytes((part[0] - 0x40,)) + part[1:] for part in parts)
        if len(body) < 6 or binascii.crc_hqx(body, 0):
            raise ProtocolError(f"a telegram with a wrong checksum: {frame[:40].hex(' ')}")
        return body[:-2]
