"""The watchdog process: makes instruments safe when the process that energised them is gone. `python -m` runs it.

It reads one JSON object a line from standard input and acknowledges each that has a number `n` on standard output:

    {"n": 1, "do": "begin", "parent": 4711, "unsafe": "/.../UNSAFE", "report": "/.../watchdog.json", "grace": 0.5,
     "station": null}
    {"n": 2, "do": "hold", "key": "1", "recipe": {...}, "order": 60, "deadline": 3.0, "effort": 20.0}
    {"n": 3, "do": "look", "key": "light path a", "path": "a", "recipe": {...}, "quantity": "power", "below": 1e-9,
     "effort": 20.0}
    {"n": 4, "do": "drop", "key": "1"}
    {"do": "beat", "within": 10.0}
    {"n": 5, "do": "end"}

`hold` loads the driver at once, so that nothing has to be imported when it matters. `beat` says within how many
seconds the next one comes (null: no matter when). At the end of standard input without `end`, or where a beat is
missed, everything held is made safe over fresh connections, in safe order, again and again until it works or its
effort is spent (a single session of a dead process is given free after moments). What is not confirmed goes into the
UNSAFE file. It has a session of its own, and no signal that means "stop" ends it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TextIO

from labqdl.clock import SystemClock
from labqdl.errors import LabqdlError
from labqdl.safety.darkening import DEADLINE, GRACE, WORKERS, Job, Outcome, Way, darken
from labqdl.safety.fresh import make_safe_afresh
from labqdl.safety.paths import confirm_dark
from labqdl.safety.recipe import Recipe
from labqdl.safety.signals import STOP_SIGNALS
from labqdl.safety.station_lock import StationLock
from labqdl.safety.unsafe import UnsafeFile
from labqdl.transport import Transport

_METER_ORDER = 1000
_ONCE_MORE = 0.3
"""Seconds after which everything is made safe a second time."""


@dataclass(frozen=True)
class _Held:
    order: int
    sequence: int
    recipe: Recipe
    job: Job


class Watchdog:
    """The state of the process: what it holds, and until when it waits."""

    def __init__(self, replies: TextIO) -> None:
        self._replies = replies
        self._held: dict[str, _Held] = {}
        self._until: float | None = None
        self._parent = 0
        self._grace = GRACE
        self._unsafe: Path | None = None
        self._report: Path | None = None
        self._station: Path | None = None
        self._lock: StationLock | None = None
        self._ended = False
        self._sequence = 0

    def serve(self, lines: TextIO) -> int:
        """Follow the lines to their end; gives the exit code of the process."""
        incoming: SimpleQueue[str] = SimpleQueue()

        def read() -> None:
            with suppress(OSError, ValueError):
                for line in lines:
                    incoming.put(line)
            incoming.put("")

        threading.Thread(target=read, name="labqdl-watchdog-input", daemon=True).start()
        while not self._ended:
            try:
                rest = None if self._until is None else max(self._until - time.monotonic(), 0.0)
                line = incoming.get(timeout=rest)
            except Empty:
                return self._trip("its heartbeat stopped")
            if not line:
                return self._trip("it ended without a word")
            self._follow(line)
        return 0

    def _follow(self, line: str) -> None:
        message: dict[str, Any] = json.loads(line)
        problem = ""
        try:
            getattr(self, f"_do_{message['do']}")(message)
        except Exception as error:  # whatever it is, whoever asked must hear of it before anything is switched on
            problem = str(error) or type(error).__name__
        if "n" in message:
            self._say({"ack": message["n"]} | ({"problem": problem} if problem else {}))

    def _say(self, message: dict[str, Any]) -> None:
        with suppress(OSError, ValueError):  # nobody there to read it
            self._replies.write(json.dumps(message) + "\n")
            self._replies.flush()

    def _do_begin(self, message: dict[str, Any]) -> None:
        self._parent = message["parent"]
        self._unsafe = Path(message["unsafe"])
        self._report = Path(message["report"])
        self._grace = message["grace"]
        self._station = None if message["station"] is None else Path(message["station"])

    def _do_hold(self, message: dict[str, Any]) -> None:
        recipe = Recipe.from_json(message["recipe"])
        _load_libraries(recipe)
        way = Way("fresh connection", partial(make_safe_afresh, recipe), again=True)
        job = Job(recipe.name, recipe.resource, (way,), message["deadline"], message["effort"])
        self._keep(message["key"], message["order"], recipe, job)

    def _do_look(self, message: dict[str, Any]) -> None:
        recipe = Recipe.from_json(message["recipe"])
        _load_libraries(recipe)
        name = f"light path {message['path']}"

        def look() -> None:
            meter = recipe.make()
            try:
                meter.open()
                confirm_dark(message["path"], meter, message["quantity"], message["below"])
            finally:
                meter.close()

        job = Job(name, recipe.resource, (Way("meter", look, again=True),), DEADLINE, message["effort"])
        self._keep(message["key"], _METER_ORDER, recipe, job)

    def _keep(self, key: str, order: int, recipe: Recipe, job: Job) -> None:
        self._sequence += 1
        self._held[key] = _Held(order, self._sequence, recipe, job)
        WORKERS.reserve(2 * len(self._held))

    def _do_drop(self, message: dict[str, Any]) -> None:
        self._held.pop(message["key"], None)

    def _do_beat(self, message: dict[str, Any]) -> None:
        within = message["within"]
        self._until = None if within is None else time.monotonic() + within

    def _do_end(self, message: dict[str, Any]) -> None:
        self._ended = True

    def _trip(self, reason: str) -> int:
        """Make everything safe that is held."""
        if not self._held:
            return 0
        self._say({"tripped": reason})
        self._take_station()
        held = sorted(self._held.values(), key=lambda one: (one.order, -one.sequence))
        actions = [one.job for one in held if one.order != _METER_ORDER]
        outcomes = darken(actions, grace=self._grace)
        # What the dead process had just sent may be read by an instrument after what came over our own connection.
        SystemClock().sleep(_ONCE_MORE)
        repeated = darken([job for job, one in zip(actions, outcomes, strict=True) if one.safe], grace=self._grace)
        worse = {(one.name, one.resource): one for one in repeated if not one.safe}
        outcomes = [worse.get((one.name, one.resource), one) for one in outcomes]
        outcomes += darken([one.job for one in held if one.order == _METER_ORDER], grace=self._grace)
        missing = [one for one in outcomes if not one.safe]
        written = self._write(reason, outcomes)
        lines = [f"labqdl watchdog: process {self._parent}: {reason}", *map(str, outcomes)]
        if missing:
            lines.append(written)
        with suppress(OSError, ValueError):  # the terminal may be gone
            print("\n  ".join(lines), file=sys.stderr, flush=True)
        if self._lock is not None:
            self._lock.release()
        return 70 if missing else 0

    def _take_station(self) -> None:
        """Keep others off the station; the old process may live still, or another one may have been quicker."""
        for _ in range(5 if self._station is not None else 0):
            assert self._station is not None
            try:
                self._lock = StationLock(self._station)
                return
            except LabqdlError:
                SystemClock().sleep(0.02)  # the system frees what a dead process held in its own order

    def _write(self, reason: str, outcomes: list[Outcome]) -> str:
        """The files about it; words for what became of the UNSAFE file."""
        wall = SystemClock().wall()
        words = ""
        if self._unsafe is not None and not all(one.safe for one in outcomes):
            recipes = {(one.job.name, one.job.resource): one.recipe for one in self._held.values()}
            told_by = f"watchdog of process {self._parent} ({reason})"
            words = UnsafeFile(self._unsafe).report(outcomes, recipes, wall=wall, told_by=told_by)
        if self._report is not None:
            document = {
                "schema": "labqdl.watchdog/1",
                "parent": self._parent,
                "reason": reason,
                "ended": wall,
                "outcomes": [asdict(one) for one in outcomes],
            }
            with suppress(OSError):
                self._report.parent.mkdir(parents=True, exist_ok=True)
                self._report.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        return words


def _load_libraries(recipe: Recipe) -> None:
    """Make the driver, and load what its road would load when it opens: PyVISA takes a second or two."""
    transport = getattr(recipe.make(), "transport", None)
    road = type(transport.road).__module__ if isinstance(transport, Transport) else ""
    if road.endswith(".visa"):
        import pyvisa

        pyvisa.ResourceManager((recipe.options or {}).get("visa_library") or "")
    elif road.endswith((".serial", ".zmq")):
        importlib.import_module(road.rpartition(".")[2])


def main() -> int:
    """Run the process."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    # What a driver prints must not end up between the replies.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    sys.stdout = sys.stderr
    code = Watchdog(replies).serve(sys.stdin)
    # Threads that hang with an instrument would keep the process.
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
