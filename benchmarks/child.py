"""One `labqdl` command in a process of its own, with its peak memory and a clock on its parts.

`python -m benchmarks.child REPORT STARTED ARGUMENTS...` runs `labqdl ARGUMENTS` and writes a JSON report; STARTED is
the parent's `time.time()` just before, so that the start of the interpreter counts as import.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Part: functions of labqdl that belong to it. Time in a function that another one of the table calls counts for the
# inner one only.
PARTS = {
    "load": ("labqdl.api.running:resolve",),
    "light": ("labqdl.link.emulated:EmulatedLink.transmit", "labqdl.link.emulated:EmulatedLink.prepare"),
    "parties": (
        "labqdl.protocol.server:Server.__init__",
        "labqdl.protocol.server:Server.next_intents",
        "labqdl.protocol.client:Client.__init__",
        "labqdl.protocol.client:Client.next_intent",
        "labqdl.protocol.client:Client.outcomes",
    ),
    "verify": ("labqdl.protocol.server:Server.returned", "labqdl.protocol.server:Server.verdict"),
    "bounds": ("labqdl.api.running:asymptotic_bounds", "labqdl.security.verification:Verifier.bounds"),
    "record": (
        "labqdl.records.run:RunFolder.create",
        "labqdl.api.blocks:RunRecorder.started",
        "labqdl.api.blocks:RunRecorder.finished",
        "labqdl.api.blocks:RunRecorder.verdict",
        "labqdl.api.running:_save_result",
    ),
}


class Clock:
    """Exclusive seconds of each part."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._inner = [0.0]

    def wrap(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.perf_counter() - began
                self.seconds[part] += spent - self._inner.pop()
                self._inner[-1] += spent

        return timed

    def watch(self) -> None:
        """Put the clock around all functions of the table."""
        import importlib

        for part, names in PARTS.items():
            for name in names:
                module, _, path = name.partition(":")
                *outer, attribute = path.split(".")
                owner: Any = functools.reduce(getattr, outer, importlib.import_module(module))
                found = owner.__dict__[attribute]
                if isinstance(found, classmethod):
                    setattr(owner, attribute, classmethod(self.wrap(part, found.__func__)))
                else:
                    setattr(owner, attribute, self.wrap(part, found))


def peak_memory() -> int | None:
    """Largest resident memory of this process so far, bytes; None where the system does not tell."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    report, started, *arguments = sys.argv[1:]
    from labqdl.cli import main as labqdl_main

    clock = Clock()
    clock.watch()  # imports what the command would import later
    imported = time.time() - float(started)
    sys.argv = ["labqdl", *arguments]
    code: object = 0
    began = time.perf_counter()
    try:
        labqdl_main()
    except SystemExit as stop:
        code = stop.code
    Path(report).write_text(
        json.dumps(
            {
                "code": code or 0,
                "import": imported,
                "command": time.perf_counter() - began,
                "parts": clock.seconds,
                "memory": peak_memory(),
            }
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
