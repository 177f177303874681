"""One process a station: a lock of the operating system on a file beside the station file.

The system gives the lock back when its process ends, however it ends; a lock file that stays behind holds nothing.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from labqdl.clock import Clock, SystemClock
from labqdl.records.lock import RunLock
from labqdl.safety.unsafe import state_folder


def lock_path(station: Path) -> Path:
    """Where a station's lock file stands: beside it, or in the user's state folder where that cannot be written."""
    station = station.resolve()
    if os.access(station.parent, os.W_OK):
        return station.with_name(f".{station.name}.lock")
    return state_folder() / f"{station.stem}-{sha256(str(station).encode()).hexdigest()[:12]}.lock"


class StationLock(RunLock):
    """The right to use the instruments of a station, until `release`, the end of a `with` block, or of the process.

    Attributes
    ----------
    taken_over:
        Words about who held it before and ended without letting go; empty where that is not so. Look at what is on.

    Raises
    ------
    InputError
        Where another process, or another opening in this one, uses the station; names the process.
    """

    busy: ClassVar[str] = "this station is used"
    advice: ClassVar[str] = "Wait for it, or stop it; a watchdog needs some seconds after a crash."

    def __init__(self, station: Path, clock: Clock | None = None) -> None:
        self.taken_over = ""
        self._station = station
        path = lock_path(station)
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, clock or SystemClock())

    @property
    def subject(self) -> Path:
        """The station file."""
        return self._station

    def _acquire(self, descriptor: int, clock: Clock) -> None:
        before = os.read(descriptor, 4096)
        super()._acquire(descriptor, clock)
        with suppress(ValueError, LookupError, TypeError):
            told = json.loads(before)
            self.taken_over = (
                f"process {told['pid']} on {told['machine']} used this station and ended without letting go; the lock "
                "that it left is taken over"
            )

    def release(self) -> None:
        """Let the next process in; releasing twice is fine."""
        if self.held:
            with suppress(OSError):
                self.path.write_bytes(b"{}\n")
        super().release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
