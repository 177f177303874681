r"""Cassettes: what went over a wire, as a file that tests replay to the byte.

A cassette is JSON Lines. The first line is the head (schema, version, when, instrument, resource, versions of labqdl,
driver and firmware); every other line is `{"time": seconds since the start, "direction": ">", "<", "+" or "-",
"text": ...}` with the bytes as Latin-1 text, or as `"base64"` where they are mostly not printable. Consecutive bytes of
one direction are one line, however they were cut on the wire.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

from labqdl.clock import Clock, SystemClock
from labqdl.errors import InputError
from labqdl.transport.errors import ConnectionLost, ProtocolError, TransportTimeout
from labqdl.transport.road import Road
from labqdl.transport.traffic import Direction, readable

SCHEMA = "labqdl.cassette"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a cassette: what moved, and in which line (1-based) it stands."""

    line: int
    time: float
    direction: Direction
    data: bytes


@dataclass(frozen=True, slots=True)
class Cassette:
    """A cassette in memory."""

    path: Path
    head: Mapping[str, Any]
    entries: tuple[Entry, ...]

    @property
    def messages(self) -> bool:
        """Whether it was recorded on a road of messages."""
        return bool(self.head.get("messages", False))


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an instrument answers otherwise than the cassette says."""

    line: int
    command: bytes
    recorded: bytes
    answered: bytes

    def __str__(self) -> str:
        return (
            f"line {self.line}: '{readable(self.command)}' was answered by '{readable(self.recorded)}', "
            f"now by '{readable(self.answered) or 'nothing'}'"
        )


def load(path: Path) -> Cassette:
    """Read a cassette; InputError with file and line where it is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"the cassette cannot be read: {error.strerror or error}", source=path) from error
    except UnicodeDecodeError as error:
        raise InputError("the cassette is no text", source=path) from error
    head: Mapping[str, Any] = {}
    entries: list[Entry] = []
    for number, line in enumerate(lines, 1):
        try:
            found = json.loads(line)
            if number == 1:
                head = found
                if head["schema"] != SCHEMA or head["version"] != VERSION:
                    raise ValueError(f"schema {head['schema']!r}, version {head['version']!r}")
                continue
            data = (
                base64.b64decode(found["base64"], validate=True)
                if "base64" in found
                else found["text"].encode("latin-1")
            )
            entries.append(Entry(number, float(found["time"]), Direction(found["direction"]), data))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"not a line of a cassette ({error})", source=path, line=number, expected=f"{SCHEMA}, version {VERSION}"
            ) from error
    if not lines:
        raise InputError("the cassette is empty", source=path)
    return Cassette(path, head, tuple(entries))


def recording(
    road: Road,
    path: Path,
    *,
    clock: Clock | None = None,
    name: str = "",
    resource: str = "",
    mask: tuple[bytes, ...] = (),
    versions: Mapping[str, str] | None = None,
) -> RecordingRoad:
    """A road that writes what moves over `road` to a new cassette; InputError where the file exists already."""
    clock = SystemClock() if clock is None else clock
    head = {
        "schema": SCHEMA,
        "version": VERSION,
        "recorded": datetime.fromtimestamp(clock.wall(), UTC).isoformat(timespec="seconds"),
        "instrument": name,
        "resource": _masked(resource.encode(), mask).decode(errors="replace"),
        "messages": road.messages,
        "alternates": bool(getattr(road, "alternates", False)),
        "versions": {"labqdl": _own_version(), **(versions or {})},
        "masked": len(mask),
    }
    try:
        file = path.open("x", encoding="utf-8", newline="\n")
    except FileExistsError as error:
        raise InputError("the cassette exists already and is not overwritten", source=path) from error
    except OSError as error:
        raise InputError(f"the cassette cannot be written: {error.strerror or error}", source=path) from error
    file.write(json.dumps(head) + "\n")
    return RecordingRoad(road, file, clock, mask)


def _own_version() -> str:
    try:
        return metadata.version("labqdl")
    except metadata.PackageNotFoundError:
        return "not installed"


class RecordingRoad:
    """Passes everything on and writes it down; an open road stays open when the recording ends."""

    def __init__(self, road: Road, file: TextIO, clock: Clock, mask: tuple[bytes, ...]) -> None:
        self.messages = road.messages
        self.alternates = bool(getattr(road, "alternates", False))
        self.in_process: bool = getattr(road, "in_process", False)
        self.now = road.now
        self._road = road
        self._file = file
        self._clock = clock
        self._mask = tuple(word for word in mask if word)
        self._start = clock.monotonic()
        self._time = 0.0
        self._direction: Direction | None = None
        self._data = bytearray()

    def open(self) -> None:
        """Open the road."""
        self._road.open()
        self._mark(Direction.OPENED)

    def close(self) -> None:
        """Close the road."""
        self._road.close()
        self._mark(Direction.CLOSED)

    def end_on(self, byte: int | None) -> None:
        """Pass it on."""
        self._road.end_on(byte)

    def send(self, data: bytes | bytearray | memoryview, deadline: float) -> None:
        """Send and write down; what could not be sent is written, too."""
        self._add(Direction.SENT, data)
        self._road.send(data, deadline)

    def receive(self, maximum: int, deadline: float) -> bytes:
        """Receive and write down."""
        data = self._road.receive(maximum, deadline)
        self._add(Direction.RECEIVED, data)
        return data

    def receive_into(self, view: memoryview, deadline: float) -> int:
        """Receive and write down."""
        count = self._road.receive_into(view, deadline)
        self._add(Direction.RECEIVED, view[:count])
        return count

    def waiting(self) -> object:
        """Pass it on."""
        return self._road.waiting()

    def finish(self) -> None:
        """Write the last line and close the file."""
        self._flush()
        self._file.close()

    def _add(self, direction: Direction, data: bytes | bytearray | memoryview) -> None:
        # On a road of messages each message is a line; on a stream a line ends where the direction changes.
        if direction is not self._direction or self.messages:
            self._flush()
            self._direction = direction
            self._time = self._clock.monotonic() - self._start
        self._data += data

    def _mark(self, direction: Direction) -> None:
        self._add(direction, b"")
        self._flush()

    def _flush(self) -> None:
        """One line: whole messages, so that a mask finds what was cut on the wire."""
        if self._direction is None:
            return
        data = _masked(bytes(self._data), self._mask)
        line: dict[str, Any] = {"time": round(self._time, 6), "direction": str(self._direction)}
        line |= _encoded(data)
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        self._data.clear()
        self._direction = None


def _masked(data: bytes, mask: tuple[bytes, ...]) -> bytes:
    for word in mask:
        data = data.replace(word, b"*" * len(word))
    return data


def _encoded(data: bytes) -> dict[str, str]:
    odd = sum(1 for byte in data[:4096] if not (32 <= byte < 127 or byte in b"\r\n\t"))
    if odd * 4 > min(len(data), 4096):
        return {"base64": base64.b64encode(data).decode()}
    return {"text": data.decode("latin-1")}


class CassetteRoad:
    """Plays the instrument of a cassette: takes the recorded bytes in the recorded order, and nothing else.

    Other bytes, or bytes at another point, are a ProtocolError that names the line; where no reply was recorded,
    reading is a TransportTimeout at once.
    """

    def __init__(self, cassette: Cassette) -> None:
        self.cassette = cassette
        self.messages = cassette.messages
        self.alternates = bool(cassette.head.get("alternates", False))
        self.in_process = True
        self.now = SystemClock().monotonic
        self._index = 0
        self._offset = 0

    def open(self) -> None:
        """Pass the opening, where one was recorded."""
        self._pass(Direction.OPENED)

    def close(self) -> None:
        """Pass the closing, where one was recorded."""
        self._pass(Direction.CLOSED)

    def end_on(self, byte: int | None) -> None:
        """Of no use here."""

    def send(self, data: bytes | bytearray | memoryview, deadline: float) -> None:
        """Compare with what was sent then."""
        data = bytes(data)
        while data:
            entry = self._next()
            recorded = b"" if entry is None or entry.direction is not Direction.SENT else entry.data[self._offset :]
            part = data[: len(recorded)]
            if not recorded or part != recorded[: len(part)]:
                raise ProtocolError(f"not as recorded: sent '{readable(data)}', but {self._where()}")
            self._advance(len(part))
            data = data[len(part) :]

    def receive(self, maximum: int, deadline: float) -> bytes:
        """What was received then."""
        entry = self._next()
        if entry is None or entry.direction is not Direction.RECEIVED:
            raise TransportTimeout(f"no reply was recorded: {self._where()}")
        data = entry.data[self._offset :]
        if not self.messages:
            data = data[:maximum]
        self._advance(len(data))
        return data

    def receive_into(self, view: memoryview, deadline: float) -> int:
        """What was received then, into a buffer."""
        data = self.receive(len(view), deadline)
        view[: len(data)] = data
        return len(data)

    def waiting(self) -> bool:
        """Never: unasked bytes of then are read when they are asked for."""
        return False

    def finish(self) -> None:
        """ProtocolError where something of the cassette was not played."""
        self._pass(Direction.CLOSED)
        if self._next() is not None:
            left = len(self.cassette.entries) - self._index
            raise ProtocolError(f"{left} lines of the cassette are left over: {self._where()}")

    def _next(self) -> Entry | None:
        return self.cassette.entries[self._index] if self._index < len(self.cassette.entries) else None

    def _advance(self, count: int) -> None:
        self._offset += count
        if self._offset >= len(self.cassette.entries[self._index].data):
            self._index += 1
            self._offset = 0

    def _pass(self, direction: Direction) -> None:
        entry = self._next()
        if entry is not None and entry.direction is direction:
            self._index += 1
            self._offset = 0

    def _where(self) -> str:
        entry = self._next()
        name = self.cassette.path.name
        if entry is None:
            return f"{name} is at its end"
        return f"{name}, line {entry.line}, has {entry.direction} '{readable(entry.data[self._offset :])}'"


@contextmanager
def replaying(path: Path) -> Iterator[CassetteRoad]:
    """The road of a cassette for the length of a `with` block, at whose end all of it must have been played."""
    road = CassetteRoad(load(path))
    yield road
    road.finish()


def differences(
    cassette: Cassette,
    road: Road,
    *,
    timeout: float = 1.0,
    same: Callable[[bytes, bytes], bool] = bytes.__eq__,
) -> list[Difference]:
    """Send what a cassette sends over another road, a simulated twin's say, and list the answers that differ.

    The road must be open. `same(recorded, answered)` decides; by default every byte counts. An answer that does not
    come within `timeout` seconds, or is shorter, is compared as far as it came.
    """
    found: list[Difference] = []
    command = b""
    for entry in cassette.entries:
        if entry.direction is Direction.SENT:
            command = entry.data
            road.send(command, road.now() + timeout)
        elif entry.direction is Direction.RECEIVED:
            answered = _answer(road, entry.data, timeout)
            if not same(entry.data, answered):
                found.append(Difference(entry.line, command, entry.data, answered))
    return found


def _answer(road: Road, recorded: bytes, timeout: float) -> bytes:
    """As many bytes as were recorded, or up to the same last byte, and what came with them."""
    deadline = road.now() + timeout
    answer = b""
    try:
        while len(answer) < len(recorded) or road.waiting():
            answer += road.receive(1 << 16, deadline)
            if road.messages or (answer[-1:] == recorded[-1:] and not road.waiting()):
                break
    except (TransportTimeout, ConnectionLost):
        pass
    return answer
