"""Frames of the OIF ITLA-MSA: four bytes with a BIP-4 checksum; its error codes and status bits."""

from __future__ import annotations

from labqdl.transport import ProtocolError

ERRORS = {
    0x01: "RNI: register not implemented",
    0x02: "RNW: register not writable",
    0x03: "RVE: value out of range",
    0x04: "CIP: ignored, an operation is pending",
    0x05: "CII: ignored, module is initialising",
    0x06: "ERE: extended address out of range",
    0x07: "ERO: extended address is read-only",
    0x08: "EXF: general execution failure",
    0x09: "CIE: ignored because the optical output is on",
    0x0A: "IVC: invalid configuration, ignored",
    0x0F: "VSE: vendor specific",
}
FATAL_BITS = (
    "power, latched",
    "temperature, latched",
    "frequency, latched",
    "vendor, latched",
    "communication reset, latched",
    "module restart, latched",
    "communication error, latched",
    "execution error, latched",
    "power",
    "temperature",
    "frequency",
    "vendor",
    "disabled by its pin",
    "fatal",
    "alarm",
    "service request",
)
"""Meaning of the bits of the fatal and the warning word, lowest first."""


def bip4(frame: bytes) -> int:
    """The checksum of a frame, whose own checksum (bits 7..4 of the first byte) is left out."""
    folded = (frame[0] & 0x0F) ^ frame[1] ^ frame[2] ^ frame[3]
    return (folded >> 4) ^ (folded & 0x0F)


class ItlaFraming:
    """Frames of four bytes with a parity over nibbles in the highest four bits."""

    end = None

    def wrap(self, message: bytes) -> bytes:
        """Flags, register and data with the checksum; a single byte goes out as it is, to complete a lost frame."""
        if len(message) == 1:
            return message
        return bytes((message[0] & 0x0F | bip4(message) << 4,)) + message[1:]

    def complete(self, buffer: bytes) -> int | None:
        """Four bytes."""
        return 4 if len(buffer) >= 4 else None

    def unwrap(self, frame: bytes) -> bytes:
        """The frame without checksum; ProtocolError where it is wrong."""
        if len(frame) != 4 or frame[0] >> 4 != bip4(frame) or not frame[0] & 0x04:
            raise ProtocolError(f"no frame with a right checksum: {frame.hex(' ')}")
        return bytes((frame[0] & 0x0F,)) + frame[1:]
