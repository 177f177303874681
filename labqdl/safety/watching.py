"""Our end of the watchdog process: starting it, telling it, and noticing when it has gone or bitten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from labqdl.instruments import Refused
from labqdl.safety.recipe import Recipe
from labqdl.safety.signals import leave_signals_to_main

HEARTBEAT = 10.0
"""Seconds without a heartbeat after which the watchdog acts; they come five times as often."""
EFFORT = 20.0
"""Seconds for which the watchdog tries an instrument."""
_PATIENCE = 30.0
"""Seconds for which a reply of the watchdog is awaited; loading a driver on a busy machine takes a few."""
_DEBUGGERS = ("pydevd", "debugpy", "_pydevd_bundle")


def debugged() -> bool:
    """Whether a debugger may stop all threads, and with them the heartbeat."""
    if sys.gettrace() is not None or any(name in sys.modules for name in _DEBUGGERS):
        return True
    monitoring = getattr(sys, "monitoring", None)
    return monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None


class Watch:
    """A watchdog process that starts with the first instrument that it has to hold.

    Parameters
    ----------
    unsafe:
        Where it writes what it could not make safe; its report goes beside it (`watchdog.json`).
    heartbeat:
        Seconds without a heartbeat after which it acts; None: it waits for the end of this process only.
    effort, grace:
        Seconds for which it tries each instrument, and between the beginnings of two.
    station:
        Station file whose lock it takes while it acts.
    tripped:
        Called, in a thread, with the reason when it has acted although this process lives.
    """

    def __init__(
        self,
        unsafe: Path,
        *,
        heartbeat: float | None,
        effort: float,
        grace: float,
        station: Path | None,
        tripped: Callable[[str], None],
    ) -> None:
        self._unsafe = unsafe
        self._heartbeat = heartbeat
        self._effort = effort
        self._grace = grace
        self._station = station
        self._tripped = tripped
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: dict[str, dict[str, Any]] = {}
        self._replies: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._number = 0
        self._writing = threading.Lock()
        self._end_of_beats = threading.Event()

    @property
    def pid(self) -> int | None:
        """Number of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def hold(self, key: str, recipe: Recipe, order: int, deadline: float) -> None:
        """Have it hold an instrument until `drop(key)`; returns when it has the driver. Refused where that fails."""
        message = {
            "do": "hold",
            "key": key,
            "recipe": recipe.to_json(),
            "order": order,
            "deadline": deadline,
            "effort": self._effort,
        }
        self._tell_and_keep(key, message)

    def look(self, path: str, recipe: Recipe, quantity: str, below: float) -> None:
        """Have it confirm darkness with a meter after it has made safe."""
        key = f"light path {path}"
        message = {
            "do": "look",
            "key": key,
            "path": path,
            "recipe": recipe.to_json(),
            "quantity": quantity,
            "below": below,
            "effort": self._effort,
        }
        self._tell_and_keep(key, message)

    def _tell_and_keep(self, key: str, message: dict[str, Any]) -> None:
        if not self._lives():
            self._start()
        self._ask(message)
        self._messages[key] = message

    def drop(self, key: str) -> None:
        """It need not hold this any longer."""
        if self._messages.pop(key, None) is not None and self._lives():
            with suppress(Refused):
                self._ask({"do": "drop", "key": key})

    def release(self) -> None:
        """End it in order; it makes nothing safe any more."""
        self._end_of_beats.set()
        self._messages = {}
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            self._send(process, {"do": "end"})
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)

    def _lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _start(self) -> None:
        """Start it, and tell it everything once more if it had gone."""
        if not sys.executable:
            raise Refused("no watchdog can be started, because this Python does not know its own program")
        # -P: nothing in the working folder may stand before the modules that this process has loaded.
        paths = os.pathsep.join(dict.fromkeys(entry or os.getcwd() for entry in sys.path if isinstance(entry, str)))
        options: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":  # no console that could be closed with it, no Ctrl-C
            options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "labqdl.safety.watchdog"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": paths},
                **options,
            )
        except OSError as error:
            raise Refused(f"the watchdog cannot be started: {error}") from error
        self._process = process
        self._replies = SimpleQueue()
        threading.Thread(target=self._listen, args=(process, self._replies), name="labqdl-watch", daemon=True).start()
        _close_in_forks(process)
        begin = {
            "do": "begin",
            "parent": os.getpid(),
            "unsafe": str(self._unsafe.resolve()),
            "report": str(self._unsafe.resolve().with_name("watchdog.json")),
            "grace": self._grace,
            "station": None if self._station is None else str(self._station.resolve()),
        }
        for message in (begin, *self._messages.values()):
            self._ask(message)
        if self._heartbeat is not None:
            self._end_of_beats = threading.Event()
            arguments = (process, self._heartbeat, self._end_of_beats)
            threading.Thread(target=self._beat, args=arguments, name="labqdl-heartbeat", daemon=True).start()

    def _beat(self, process: subprocess.Popen[bytes], within: float, end: threading.Event) -> None:
        leave_signals_to_main()
        with suppress(OSError, ValueError):
            while True:
                self._send(process, {"do": "beat", "within": None if debugged() else within})
                if end.wait(within / 5):
                    return

    def _listen(self, process: subprocess.Popen[bytes], replies: SimpleQueue[dict[str, Any]]) -> None:
        leave_signals_to_main()
        assert process.stdout is not None
        with process.stdout as stream, suppress(OSError, ValueError):
            for line in stream:
                message = json.loads(line)
                if "tripped" in message:
                    self._tripped(message["tripped"])
                else:
                    replies.put(message)
        replies.put({})

    def _send(self, process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
        assert process.stdin is not None
        with self._writing:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()

    def _ask(self, message: dict[str, Any]) -> None:
        """Tell it and wait for its acknowledgement; Refused where it has none or a problem."""
        process = self._process
        assert process is not None
        self._number += 1
        number = self._number
        end = time.monotonic() + _PATIENCE
        try:
            self._send(process, message | {"n": number})
            while True:
                reply = self._replies.get(timeout=max(end - time.monotonic(), 0.0))
                if not reply or reply.get("ack") == number:
                    break
        except (OSError, ValueError, Empty):
            reply = {}
        if not reply:
            raise Refused("the watchdog process does not answer, and without it nothing is switched on")
        if "problem" in reply:
            raise Refused(f"the watchdog could not make it safe after a crash: {reply['problem']}")


def _close_in_forks(process: subprocess.Popen[bytes]) -> None:
    """A fork of this process must not keep the pipe open whose end tells the watchdog that this process died."""
    if not hasattr(os, "register_at_fork"):
        return
    known = weakref.ref(process)

    def close() -> None:
        forked = known()
        if forked is not None and forked.stdin is not None:
            with suppress(OSError, ValueError):  # replaced, not closed: its object still owns the number
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, forked.stdin.fileno())
                os.close(nothing)

    os.register_at_fork(after_in_child=close)
