"""A process that runs an inference and kills itself, really, at one of its write steps."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from labqdl.api import run
from labqdl.records import storage


def main() -> None:
    folder, settings, fatal = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    count = 0

    def watch(step: storage.WriteStep) -> None:
        nonlocal count
        count += 1
        if count == fatal:
            # No handler, no `finally`, no flush: what a power switch or the kernel's memory killer leaves behind.
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    with storage.watched(watch):
        run(settings, folder=folder)


if __name__ == "__main__":
    main()
