"""Twins that speak binary frames: a framer cuts them out of the stream, a table of opcodes leads to handlers.

class Laser(FrameTwin):
    framer = Fixed(4)

    def opcode(self, frame: bytes) -> int:
        return frame[1]

    def check(self, frame: bytes) -> bool: ...          # checksum
    def bad(self, frame: bytes) -> bytes | None: ...    # answer to a frame with a wrong one

    @frame(0x31)
    def power(self, data: bytes) -> bytes: ...          # whole request in, whole reply out (None: no reply)
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, ClassVar, Protocol, TypeVar

from labqdl_sim.twin import Session, Twin

F = TypeVar("F", bound=Callable[..., Any])


class Framer(Protocol):
    """Where frames begin and end."""

    def measure(self, buffer: bytearray) -> int:
        """Length of the frame that the buffer starts with; 0: more is needed; -n: the first n bytes are no frame."""
        ...


class Fixed:
    """Frames of one length."""

    def __init__(self, length: int) -> None:
        self._length = length

    def measure(self, buffer: bytearray) -> int:
        """See `Framer`."""
        return self._length if len(buffer) >= self._length else 0


class Prefixed:
    """A header of fixed length that tells the length of the whole frame: `length(header) -> bytes in all`."""

    def __init__(self, header: int, length: Callable[[bytes], int]) -> None:
        self._header = header
        self._length = length

    def measure(self, buffer: bytearray) -> int:
        """See `Framer`."""
        if len(buffer) < self._header:
            return 0
        total = self._length(bytes(buffer[: self._header]))
        return total if len(buffer) >= total else 0


class Delimited:
    """Frames from a start byte to an end byte, both included; what stands before a start byte is dropped.

    `restart`: the start byte never stands inside a frame (it is escaped), so that a second one begins a new frame.
    `limit`: a frame that is not over after so many bytes is dropped.
    """

    def __init__(self, start: bytes, stop: bytes, *, restart: bool = False, limit: int = 1 << 16) -> None:
        self._start = start
        self._stop = stop
        self._restart = restart
        self._limit = limit

    def measure(self, buffer: bytearray) -> int:
        """See `Framer`."""
        start = buffer.find(self._start)
        if start:
            return -(len(buffer) if start < 0 else start)
        length = buffer.find(self._stop, 1) + 1
        if self._restart:
            again = buffer.rfind(self._start, 1, length or len(buffer))
            if again > 0:
                return -again
        return -len(buffer) if not length and len(buffer) > self._limit else length


def frame(*opcodes: Hashable) -> Callable[[F], F]:
    """Declare a method as the handler of frames with one of these opcodes."""

    def decorate(function: F) -> F:
        function._opcodes = [*getattr(function, "_opcodes", []), *opcodes]  # type: ignore[attr-defined]
        return function

    return decorate


class FrameTwin(Twin):
    """Base of instruments with a binary protocol. END of message roads means nothing here."""

    roads = ("serial",)
    framer: Framer = Fixed(1)

    _table: ClassVar[dict[Hashable, str]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._table = {
            opcode: name
            for base in reversed(cls.__mro__)
            for name, member in vars(base).items()
            if callable(member)
            for opcode in getattr(member, "_opcodes", ())
        }

    def opcode(self, data: bytes) -> Hashable:
        """What the table of handlers is asked for."""
        return data[0]

    def check(self, data: bytes) -> bool:
        """Whether the frame is whole (checksum, addresses)."""
        return True

    def bad(self, data: bytes) -> bytes | None:
        """Answer to a frame that `check` refused; None: silence."""
        return None

    def unknown(self, data: bytes) -> bytes | None:
        """Answer to a frame without handler; None: silence."""
        return None

    def words(self, message: bytes) -> str:
        """Frames as hexadecimal."""
        return message.hex()

    def split(self, session: Session, end: bool) -> bytes | None:
        """The next complete message."""
        buffer = session.buffer
        while buffer:
            length = self.framer.measure(buffer)
            if length == 0:
                return None
            data = bytes(buffer[: abs(length)])
            del buffer[: abs(length)]
            if length > 0:
                return data
        return None

    def execute(self, message: bytes) -> bytes | None:
        """Carry out one message."""
        if not self.check(message):
            return self.bad(message)
        name = self._table.get(self.opcode(message))
        if name is None:
            return self.unknown(message)
        reply: bytes | None = getattr(self, name)(message)
        return reply
