"""One writer for a run folder: a lock of the operating system on the file `lock`.

The system gives the lock back when its process ends, however it ends, so a killed writer never leaves one behind and
no process number has to be trusted. The file's text (process, machine, time) only serves the message to whom comes
second. The file stays where it is; removing it while somebody waits for it would let two writers in.
"""

from __future__ import annotations

import errno
import os
import platform
import sys
import threading
import weakref
from pathlib import Path
from typing import ClassVar

from labqdl.clock import Clock
from labqdl.errors import InputError, RecordError
from labqdl.records import storage
from labqdl.records.encoding import compact, parse

_BINARY: int = getattr(os, "O_BINARY", 0)
_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)

# The lock belongs to the process, so a second opening inside of it needs this list of its own.
_held: weakref.WeakValueDictionary[Path, RunLock] = weakref.WeakValueDictionary()
_guard = threading.Lock()

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        # Windows forbids reading what is locked: lock a byte far behind the text.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(descriptor: int) -> None:
        # Record locks, unlike flock, are not shared with forked workers, which may outlive a killed run.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class RunLock:
    """The right to write one run folder, until `release` or the end of the process.

    Raises
    ------
    InputError
        Where another process, or another opening in this one, writes the run.
    """

    busy: ClassVar[str] = "this run is being written"
    """What the holder does, for messages."""
    advice: ClassVar[str] = "Wait for it, or stop it."

    @property
    def subject(self) -> Path:
        """What it is the right to use, for messages."""
        return self.path.parent

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._key = path.resolve()
        with _guard:
            if self._key in _held:
                raise InputError(f"{self.busy} by this very process", source=self.subject)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o666)
            except OSError as error:
                raise RecordError(f"{path}: cannot open for writing: {error.strerror or error}") from error
            try:
                self._acquire(descriptor, clock)
            except BaseException:
                os.close(descriptor)
                raise
            self._release = weakref.finalize(self, os.close, descriptor)
            _held[self._key] = self

    def _acquire(self, descriptor: int, clock: Clock) -> None:
        try:
            _take(descriptor)
        except OSError as error:
            if error.errno not in _BUSY:
                raise InputError(
                    f"the file system gives no locks ({error.strerror or error})",
                    source=self.path,
                    hint="It needs a local disk.",
                ) from error
            holder = _holder(descriptor)
            raise InputError(f"{self.busy} by {holder}", source=self.subject, hint=self.advice) from None
        text = compact({"pid": os.getpid(), "machine": platform.node(), "since": clock.wall()})
        storage.write_lock(descriptor, text + b"\n", self.path)

    @property
    def held(self) -> bool:
        """True until `release`."""
        return self._release.alive

    def release(self) -> None:
        """Let the next writer in; releasing twice is fine."""
        with _guard:
            if self._release.alive:
                _held.pop(self._key, None)
                self._release()


def _holder(descriptor: int) -> str:
    """Words for who holds the lock, as far as the file tells."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        told = parse(os.read(descriptor, 4096))
        return f"process {told['pid']} on {told['machine']}"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"
