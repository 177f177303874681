"""The event log: one JSON object a line, numbered, each line's checksum chained to the line before it.

A line is `{"seq":N,"time":T,"kind":"...","data":{...},"check":"0123456789abcdef"}`. The checksum is BLAKE2b (8 bytes)
over the previous line's checksum and this line up to `,"check"`; the chain starts from the run's identity. So a line
that was changed, removed, doubled, moved or taken from another run is noticed. Whole lines missing at the end are not:
nothing in the file knows of them.

A line that a kill has cut short has no newline at its end. It never counted: the call that wrote it had not returned.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from labqdl.clock import Clock
from labqdl.errors import RecordError
from labqdl.records import storage
from labqdl.records.encoding import compact, parse, plain

_CHECK_BYTES = 8
_CHECK = re.compile(rb',"check":"([0-9a-f]{16})"}\Z')
_KIND = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One line of the log.

    `time` is wall time in seconds since 1970-01-01 UTC; `fields` is what the writer gave with it.
    """

    sequence: int
    time: float
    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TornLine:
    """What a killed writer left behind the last complete line: `size` bytes at `offset`."""

    offset: int
    size: int


class Position(NamedTuple):
    """Where the next line goes: byte offset, sequence number and the checksum that it continues."""

    end: int
    sequence: int
    check: bytes


class _BadLineError(Exception):
    """Why a line cannot be trusted."""


def start(run_id: str) -> Position:
    """Position in an empty log of this run."""
    return Position(0, 0, blake2b(run_id.encode(), digest_size=_CHECK_BYTES).digest())


def encode(position: Position, time: float, kind: str, fields: Mapping[str, Any]) -> tuple[bytes, Position]:
    """Line for an event with its newline, and the position behind it.

    Raises
    ------
    ValueError
        For a kind that is not lower-case words joined by '-', and for NaN.
    TypeError
        For fields that JSON cannot hold.
    """
    if not _KIND.match(kind):
        raise ValueError(f"event kind {kind!r} must be lower-case words joined by '-'")
    content = {"seq": position.sequence, "time": float(time), "kind": kind, "data": plain(fields, kind)}
    body = compact(content)[:-1]
    check = blake2b(position.check + body, digest_size=_CHECK_BYTES).digest()
    line = body + b',"check":"' + check.hex().encode() + b'"}\n'
    return line, Position(position.end + len(line), position.sequence + 1, check)


def _decode(line: bytes, position: Position) -> tuple[RecordedEvent, Position]:
    """Event and next position of a line without its newline; `_BadLineError` for any damage."""
    found = _CHECK.search(line)
    if found is None:
        raise _BadLineError("it does not end with a checksum")
    body = line[: found.start()]
    check = blake2b(position.check + body, digest_size=_CHECK_BYTES).digest()
    if check.hex().encode() != found.group(1):
        raise _BadLineError("it does not fit its checksum, or a line before it is missing")
    try:
        content = parse(body + b"}")
        event = RecordedEvent(content["seq"], content["time"], content["kind"], MappingProxyType(content["data"]))
    except (ValueError, LookupError, TypeError) as error:
        raise _BadLineError(f"it is no event: {error}") from None
    if event.sequence != position.sequence:
        raise _BadLineError(f"expected event {position.sequence}, found {event.sequence}")
    return event, Position(position.end + len(line) + 1, position.sequence + 1, check)


def stated_check(line: bytes) -> bytes | None:
    """The checksum that a line without its newline carries, right or wrong; None where none can be read."""
    found = _CHECK.search(line)
    return None if found is None else bytes.fromhex(found.group(1).decode())


def unchecked(line: bytes) -> RecordedEvent | None:
    """What a line without its newline says, whether or not it fits; None where it is no event."""
    found = _CHECK.search(line)
    if found is None:
        return None
    try:
        content = parse(line[: found.start()] + b"}")
        sequence, time, kind, fields = content["seq"], content["time"], content["kind"], content["data"]
    except (ValueError, LookupError, TypeError):
        return None
    right = type(sequence) is int and isinstance(time, float) and isinstance(fields, dict)
    if not right or not isinstance(kind, str) or not _KIND.match(kind):
        return None
    return RecordedEvent(sequence, time, kind, MappingProxyType(fields))


def decode_after(line: bytes, check: bytes) -> RecordedEvent | None:
    """The event of a line without its newline, if it fits the checksum of the line before it; for salvage."""
    found = _CHECK.search(line)
    if found is None:
        return None
    fits = blake2b(check + line[: found.start()], digest_size=_CHECK_BYTES).hexdigest().encode() == found.group(1)
    return unchecked(line) if fits else None


class LogReader:
    """Iterates over the events of a log and knows, at its end, where the next one goes.

    Iteration raises `RecordError` with file and line for damage; a torn last line ends it and is kept in `torn`.
    """

    def __init__(self, path: Path, run_id: str) -> None:
        self.path = path
        self.position = start(run_id)
        self.torn: TornLine | None = None

    def __iter__(self) -> Iterator[RecordedEvent]:
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            raise RecordError(f"{self.path}: this file is missing") from None
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        with file:
            for number, raw in enumerate(file, start=1):
                if not raw.endswith(b"\n"):
                    self._keep_torn(raw, number)
                    return
                try:
                    event, self.position = _decode(raw[:-1], self.position)
                except _BadLineError as error:
                    raise RecordError(f"{self.path}, line {number}: damaged: {error}") from None
                yield event

    def _keep_torn(self, tail: bytes, number: int) -> None:
        """A tail without newline is torn, unless it is a whole line whose newline was changed."""
        try:
            _decode(tail[:-1], self.position)
        except _BadLineError:
            self.torn = TornLine(self.position.end, len(tail))
        else:
            raise RecordError(f"{self.path}, line {number}: damaged: its end was changed")


class EventLog:
    """The log of a run that this process writes; one writer, any thread."""

    def __init__(self, path: Path, position: Position, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._position = position
        self._pending: int | None = None
        self._following = position
        self._lock = threading.Lock()
        self._descriptor: int | None = storage.open_log(path)

    def append(self, kind: str, fields: Mapping[str, Any]) -> RecordedEvent:
        """Write one event; when this returns, it survives the death of this process."""
        with self._lock:
            descriptor = self._open_descriptor()
            self._settle(descriptor)
            time = self._clock.wall()
            line, following = encode(self._position, time, kind, fields)
            event = RecordedEvent(self._position.sequence, time, kind, MappingProxyType(plain(fields, kind)))
            # An exception may come out of any line from here on (Ctrl-C, a full disk). `_settle` then finds out
            # from the file whether the line is there before anything else is written behind it.
            self._following = following
            self._pending = len(line)
            storage.append_log(descriptor, line, self.path)
            self._position = following
            self._pending = None
            return event

    def _settle(self, descriptor: int) -> None:
        """After an interrupted `append`: adopt its line when it is whole, else cut what there is of it."""
        if self._pending is None:
            return
        if self._position is not self._following:
            size = os.fstat(descriptor).st_size
            if size == self._following.end:
                self._position = self._following
            elif size != self._position.end:
                storage.cut_log(descriptor, self._position.end, self.path)
        self._pending = None

    def cut(self, torn: TornLine) -> None:
        """Remove a torn last line that the reader found."""
        with self._lock:
            storage.cut_log(self._open_descriptor(), torn.offset, self.path)

    def sync(self) -> None:
        """Bring the log to the medium."""
        with self._lock:
            storage.sync_log(self._open_descriptor(), self.path)

    def close(self) -> None:
        """Give the file back; closing twice is fine."""
        with self._lock:
            if self._descriptor is not None:
                descriptor, self._descriptor = self._descriptor, None
                os.close(descriptor)

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise ValueError(f"{self.path}: this run is closed")
        return self._descriptor
