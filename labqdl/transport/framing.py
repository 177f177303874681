r"""Where a reply ends: framings that see bytes and do no I/O.

Anything with the four methods of `Framing` will do; framings of one family (checksums, escapes) are written next to
its driver.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from labqdl.transport.errors import ProtocolError
from labqdl.transport.traffic import readable


class Framing(Protocol):
    """How messages are laid on the wire and how a reply is told from the next."""

    @property
    def end(self) -> int | None:
        """The byte with which each reply ends, for roads that must know it before reading; None where there is none."""
        ...

    def wrap(self, message: bytes) -> bytes:
        """The bytes that go out for a message."""
        ...

    def complete(self, buffer: bytes) -> int | None:
        """Length of the first whole reply in the buffer, all framing included; None where more bytes are needed.

        Raises ProtocolError as soon as the bytes cannot become a reply.
        """
        ...

    def unwrap(self, frame: bytes) -> bytes:
        """The reply inside of one whole frame, as `complete` measured it. ProtocolError where a checksum is wrong."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    r"""Lines of text that end with a terminator; a reply that starts with `#` is read as an IEEE 488.2 block.

    Attributes
    ----------
    terminator:
        What ends a message to the instrument.
    reply_terminator:
        What ends a reply; None: the same.
    echo:
        Whether the instrument repeats each message, with the reply terminator, before it answers. `Transport` reads
        the echo and compares it.
    prompt:
        What the instrument sends when it is ready again, such as `b"> "`. A reply, of several lines perhaps, then
        reaches to the prompt, and each write waits for it.
    blocks:
        Whether `#` opens a block. False for dialects in which it is an ordinary character.
    """

    terminator: bytes = b"\n"
    reply_terminator: bytes | None = None
    echo: bool = False
    prompt: bytes = b""
    blocks: bool = True
    ending: bytes = field(init=False, repr=False, compare=False)
    """What ends a reply."""

    def __post_init__(self) -> None:
        ending = self.terminator if self.reply_terminator is None else self.reply_terminator
        if not ending:
            raise ValueError("lines need something that ends them")
        object.__setattr__(self, "ending", ending)

    @property
    def end(self) -> int | None:
        """The last byte of a reply."""
        return (self.prompt or self.ending)[-1]

    def wrap(self, message: bytes) -> bytes:
        """The message with its terminator."""
        return message + self.terminator

    def echoed(self, message: bytes) -> bytes:
        """The bytes that an echoing instrument sends back for a message."""
        return message + self.ending

    def complete(self, buffer: bytes) -> int | None:
        """Length of the first reply with its terminator, or prompt."""
        if self.prompt:
            return self._to_prompt(buffer)
        if buffer[:1] == b"#" and self.blocks:
            return self._block(buffer, self.ending)
        found = buffer.find(self.ending)
        return None if found < 0 else found + len(self.ending)

    def unwrap(self, frame: bytes) -> bytes:
        """The reply without terminator and prompt; a terminator that a message-based road left out is not missed."""
        if self.prompt:
            frame = frame.removesuffix(self.prompt)
        if frame[:1] == b"#" and self.blocks and frame[1:2] != b"0":
            return self._whole(frame, self.ending)
        return frame.removesuffix(self.ending)

    def _to_prompt(self, buffer: bytes) -> int | None:
        """A prompt stands at the beginning of a line; the same characters inside of a line are none."""
        if buffer.startswith(self.prompt):
            return len(self.prompt)
        ending = self.ending
        found = buffer.find(ending + self.prompt)
        return None if found < 0 else found + len(ending) + len(self.prompt)

    def _block(self, buffer: bytes, ending: bytes) -> int | None:
        header = block_header(buffer)
        if header is None:
            return None
        data = sum(header)
        tail = buffer[data : data + len(ending)]
        if not ending.startswith(tail):
            raise ProtocolError(
                f"a block said to have {header[1]} bytes is followed by '{readable(tail)}' instead of its terminator"
            )
        return data + len(ending) if tail == ending else None

    def _whole(self, frame: bytes, ending: bytes) -> bytes:
        """A block without terminator: its data may end with the same bytes."""
        header = block_header(frame)
        if header is None or len(frame) - sum(header) not in (0, len(ending)):
            said = "an unfinished header" if header is None else f"{header[1]} bytes after a header of {header[0]}"
            raise ProtocolError(f"a block with {said} came as a message of {len(frame)} bytes")
        return frame[: sum(header)]


@dataclass(frozen=True, slots=True)
class Fixed:
    """Replies of one length, in bytes, without terminator; messages go out as they are."""

    length: int

    @property
    def end(self) -> int | None:
        """None: any byte may be the last."""
        return None

    def wrap(self, message: bytes) -> bytes:
        """The message itself."""
        return message

    def complete(self, buffer: bytes) -> int | None:
        """The length, once so many bytes are there."""
        return self.length if len(buffer) >= self.length else None

    def unwrap(self, frame: bytes) -> bytes:
        """The frame itself; ProtocolError where a message of another length came."""
        if len(frame) != self.length:
            raise ProtocolError(f"a reply of {len(frame)} bytes instead of {self.length}")
        return frame


@dataclass(frozen=True, slots=True)
class Whole:
    """Messages as the road carries them, without terminator: for roads of messages (ZeroMQ)."""

    @property
    def end(self) -> int | None:
        """None: the road knows the end."""
        return None

    def wrap(self, message: bytes) -> bytes:
        """The message itself."""
        return message

    def complete(self, buffer: bytes) -> int | None:
        """None: a stream has no messages, and on a road of messages nobody needs to know."""
        return None

    def unwrap(self, frame: bytes) -> bytes:
        """The frame itself."""
        return frame


def block_header(buffer: bytes) -> tuple[int, int] | None:
    r"""(length of the header, length of the data) of a definite block `#<digits><length><data>` at the buffer's start.

    None where more bytes are needed; ProtocolError where it is none, or an indefinite one (`#0`).
    """
    if len(buffer) < 2:
        if buffer[:1] not in (b"", b"#"):
            raise ProtocolError(f"a block begins with '#', not with '{readable(buffer[:1])}'")
        return None
    digits = buffer[1] - 48
    if buffer[:1] != b"#" or not 0 <= digits <= 9:
        raise ProtocolError(f"no block begins with '{readable(buffer[:12])}'")
    if digits == 0:
        raise ProtocolError("a block of indefinite length (#0), whose end a stream does not show")
    number = bytes(buffer[2 : 2 + digits])
    if not number.isdigit() and number:
        raise ProtocolError(f"the length of a block is not a number: '{readable(buffer[:12])}'")
    if len(number) < digits:
        return None
    return 2 + digits, int(number)
