"""Every write that a run folder makes to the operating system, each at a named point.

Nothing else in labqdl writes into a run folder. Each operation announces itself to a watcher, when there is one,
before it starts, in the middle of what it writes, and after it is done; a test's watcher kills the process there.
Failures of the operating system (disk full, no permission) come out as `RecordError` with the file's name.

Files are replaced, never changed in place: written under a temporary name beside their own, flushed, renamed.
Only the event log grows in place, one `os.write` a line on a descriptor in append mode: when the call returns, the
line is with the operating system and survives the death of this process.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from labqdl.errors import RecordError

PARTIAL_SUFFIX = ".partial"
"""Ending of a temporary name; the name starts with a dot."""

PRIVATE_FILE = 0o600
"""Mode of files that hold secrets, where the system knows modes."""

PRIVATE_FOLDER = 0o700
"""Mode of a party's folder, where the system knows modes."""

_BINARY: int = getattr(os, "O_BINARY", 0)


class WritePoint(StrEnum):
    """The kinds of writes, in the order in which a run meets them."""

    MAKE_FOLDER = "make-folder"
    OPEN_FILE = "open-file"
    WRITE_FILE = "write-file"
    SYNC_FILE = "sync-file"
    RENAME_FILE = "rename-file"
    RENAME_FOLDER = "rename-folder"
    SYNC_FOLDER = "sync-folder"
    WRITE_LOCK = "write-lock"
    APPEND_LOG = "append-log"
    SYNC_LOG = "sync-log"
    CUT_LOG = "cut-log"
    REMOVE = "remove"


class Moment(StrEnum):
    """When the watcher is called; `DURING` only where bytes are written, half of them being out."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class WriteStep:
    """What a watcher is told."""

    point: WritePoint
    moment: Moment
    path: Path


Watcher = Callable[[WriteStep], None]

_watcher: Watcher | None = None


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Call `watcher` at every write step of this process while the block runs (fault injection in tests)."""
    global _watcher
    previous, _watcher = _watcher, watcher
    try:
        yield
    finally:
        _watcher = previous


def _tell(point: WritePoint, moment: Moment, path: Path) -> None:
    if _watcher is not None:
        _watcher(WriteStep(point, moment, path))


@contextmanager
def _step(point: WritePoint, path: Path) -> Iterator[None]:
    """Announce a step before and after, and name the file when the system refuses."""
    _tell(point, Moment.BEFORE, path)
    try:
        yield
    except OSError as error:
        raise RecordError(f"{path}: cannot {point.replace('-', ' ')}: {error.strerror or error}") from error
    _tell(point, Moment.AFTER, path)


def _write_all(descriptor: int, data: bytes | memoryview, point: WritePoint, path: Path) -> None:
    """Write every byte; in two parts, with a call between them, while somebody watches."""
    view = memoryview(data)
    parts = [view] if _watcher is None or len(view) < 2 else [view[: len(view) // 2], view[len(view) // 2 :]]
    for number, part in enumerate(parts):
        if number:
            _tell(point, Moment.DURING, path)
        while len(part):
            part = part[os.write(descriptor, part) :]


def _flush(descriptor: int) -> None:
    """Ask the system to bring what was written to the medium, as firmly as it can."""
    if sys.platform == "darwin":
        import fcntl

        with suppress(OSError):  # not every file system of macOS knows it; fsync is the next best
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make one folder; its parent must exist."""
    with _step(WritePoint.MAKE_FOLDER, path):
        os.mkdir(path, mode)


def partial_name(path: Path) -> Path:
    """Temporary name under which `path` is written."""
    return path.with_name(f".{path.name}{PARTIAL_SUFFIX}")


def write_file(path: Path, chunks: Iterable[bytes | memoryview], *, sync: bool, mode: int = 0o666) -> None:
    """Write a file as a whole: afterwards `path` holds all of it, or what it held before."""
    temporary = partial_name(path)
    try:
        with _step(WritePoint.OPEN_FILE, temporary):
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
        try:
            for chunk in chunks:
                with _step(WritePoint.WRITE_FILE, temporary):
                    _write_all(descriptor, chunk, WritePoint.WRITE_FILE, temporary)
            if sync:
                with _step(WritePoint.SYNC_FILE, temporary):
                    _flush(descriptor)
        finally:
            os.close(descriptor)
        with _step(WritePoint.RENAME_FILE, path):
            os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def sync_file(path: Path) -> None:
    """Bring a finished file to the medium."""
    with _step(WritePoint.SYNC_FILE, path):
        descriptor = os.open(path, os.O_RDWR | _BINARY)  # Windows flushes writable descriptors only
        try:
            _flush(descriptor)
        finally:
            os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the medium, where the system can: Windows has no such call."""
    with _step(WritePoint.SYNC_FOLDER, path):
        if sys.platform == "win32":
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:  # some network file systems do not flush folders and say so
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


def rename_folder(source: Path, target: Path) -> None:
    """Give a complete folder its name; an empty folder of that name gives way, a filled one does not (OSError)."""
    _tell(WritePoint.RENAME_FOLDER, Moment.BEFORE, target)
    with suppress(FileNotFoundError):
        os.rmdir(target)
    os.rename(source, target)
    _tell(WritePoint.RENAME_FOLDER, Moment.AFTER, target)


def remove_file(path: Path) -> None:
    """Remove what an interrupted write left."""
    with _step(WritePoint.REMOVE, path):
        path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder that an interrupted creation left."""
    with _step(WritePoint.REMOVE, path):
        shutil.rmtree(path)


def open_log(path: Path) -> int:
    """Descriptor of an existing log in append mode."""
    try:
        return os.open(path, os.O_RDWR | os.O_APPEND | _BINARY)
    except OSError as error:
        raise RecordError(f"{path}: cannot open for writing: {error.strerror or error}") from error


def append_log(descriptor: int, line: bytes, path: Path) -> None:
    """Append one line; on return it is with the operating system."""
    with _step(WritePoint.APPEND_LOG, path):
        _write_all(descriptor, line, WritePoint.APPEND_LOG, path)


def sync_log(descriptor: int, path: Path) -> None:
    """Bring the log to the medium."""
    with _step(WritePoint.SYNC_LOG, path):
        _flush(descriptor)


def cut_log(descriptor: int, length: int, path: Path) -> None:
    """Cut the log to `length` bytes: a torn last line goes away."""
    with _step(WritePoint.CUT_LOG, path):
        os.ftruncate(descriptor, length)


def write_lock(descriptor: int, text: bytes, path: Path) -> None:
    """Put the holder's description into the lock file, which is held already."""
    with _step(WritePoint.WRITE_LOCK, path):
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        _write_all(descriptor, text, WritePoint.WRITE_LOCK, path)
