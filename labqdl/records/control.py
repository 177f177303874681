"""What another process wants of a run: a small file in the run's folder, looked at a few times a second.

`pause`, `continue` and `stop` are written by whoever wants them and read by the process that works on the run, which
does them at its next checkpoint, between two blocks. A file works alike on every system, over network drives, and
needs no port; it says nothing about the run itself and is removed when the process ends.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

from labqdl.clock import SystemClock
from labqdl.errors import InputError
from labqdl.records.lock import RunLock
from labqdl.records.storage import write_file

FILE = "control.json"
LOOK = 0.2
"""Seconds between two looks."""


class Wish(StrEnum):
    """What a run may be asked."""

    PAUSE = "pause"
    CONTINUE = "continue"
    STOP = "stop"


def ask(folder: str | Path, wish: Wish) -> None:
    """Leave a wish for the process that works on a run.

    Raises
    ------
    InputError
        Where there is no run, or nobody works on it.
    """
    path = Path(folder)
    if not (path / "manifest.json").is_file():
        raise InputError("there is no run", source=path, expected="the folder of a run")
    try:
        RunLock(path / "lock", SystemClock()).release()
    except InputError:
        content = json.dumps({"wish": wish.value, "at": SystemClock().wall()}).encode()
        write_file(path / FILE, [content], sync=False)
        return
    raise InputError(
        "nobody works on this run now",
        source=path,
        expected="a run that is going on",
        hint="'labqdl resume' does the rest of one that was stopped",
    )


def wished(folder: Path) -> tuple[Wish, float] | None:
    """The last wish and its wall time; None where there is none that can be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads((folder / FILE).read_bytes())
        return Wish(found["wish"]), float(found["at"])
    return None


@contextmanager
def obeying(folder: Path, tell: Callable[[Wish], None], *, look: float = LOOK) -> Iterator[None]:
    """While the block runs, every new wish is told, from a thread of its own; older ones are forgotten."""
    file = folder / FILE
    with suppress(OSError):
        file.unlink()
    over = threading.Event()

    def watch() -> None:
        last: tuple[Wish, float] | None = None
        while not over.wait(look):
            found = wished(folder)
            if found is not None and found != last:
                last = found
                tell(found[0])

    thread = threading.Thread(target=watch, name="wishes of a run", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(OSError):
            file.unlink()
