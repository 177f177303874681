"""Safe actions, in their order, each with its own deadline; one that fails or hangs never stops the next.

One thread decides; every action runs in a worker thread. A job has *ways*, tried one after another: the present
connection, then a fresh one, which is repeated until the job's effort is spent. The next job begins when the one
before it is done, or after `grace` seconds: a hanging amplifier must not leave the laser on.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from labqdl.safety.signals import leave_signals_to_main

GRACE = 0.5
"""Seconds after which the next job begins although the one before is not done."""
DEADLINE = 3.0
"""Seconds that one attempt may take."""
EFFORT = 6.0
"""Seconds for which a fresh connection is tried again, from the beginning of the job."""
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one job.

    Attributes
    ----------
    name, resource:
        Of the instrument; the resource may be empty.
    safe:
        Whether the safe state was confirmed.
    way:
        How: "present connection", "fresh connection", "meter"; the last one tried where it was not confirmed.
    seconds:
        From the beginning of all jobs to this one's end.
    problem:
        Why it is not confirmed; empty where it is.
    """

    name: str
    resource: str
    safe: bool
    way: str
    seconds: float
    problem: str = ""

    def __str__(self) -> str:
        place = f"{self.name} ({self.resource})" if self.resource else self.name
        if self.safe:
            return f"{place}: safe, confirmed over the {self.way} after {self.seconds:.2f} s"
        return f"{place}: NOT confirmed safe: {self.problem}"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to do it: words for it, the call (which raises where it fails), whether trying again may help.

    `patience`: seconds after which it is given up for the next way, where that is before the job's deadline.
    """

    words: str
    call: Callable[[], None]
    again: bool = False
    patience: float = math.inf


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be made safe, or to be confirmed dark."""

    name: str
    resource: str
    ways: Sequence[Way]
    deadline: float = DEADLINE
    effort: float = EFFORT


class Workers:
    """Threads that make calls. Some are kept in store, since none can be started while the interpreter ends."""

    def __init__(self) -> None:
        self._idle: deque[SimpleQueue[Callable[[], None]]] = deque()
        self._count = 0
        self._lock = threading.Lock()

    def reserve(self, count: int) -> None:
        """See that at least `count` threads exist."""
        with self._lock:
            while self._count < count:
                self._start()

    def _start(self) -> None:
        tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()

        def work() -> None:
            leave_signals_to_main()
            while True:
                tasks.get()()
                self._idle.append(tasks)

        threading.Thread(target=work, name="labqdl-safety", daemon=True).start()
        self._count += 1
        self._idle.append(tasks)

    def run(self, call: Callable[[], None]) -> None:
        """Make the call on some thread; RuntimeError where there is none and none can be started."""
        try:
            tasks = self._idle.popleft()
        except IndexError:
            self._start()
            tasks = self._idle.pop()
        tasks.put(call)


WORKERS = Workers()
"""Shared by all of the process."""


@dataclass(slots=True)
class _Active:
    """A job that is under way."""

    job: Job
    began: float
    way: int = -1
    attempts: int = 0
    running: bool = False
    until: float = 0.0  # deadline of the attempt, or time of the next one
    pause: float = _FIRST_PAUSE
    problems: list[str] = field(default_factory=list)


def darken(jobs: Iterable[Job], *, grace: float = GRACE, workers: Workers = WORKERS) -> list[Outcome]:
    """Do all jobs, beginning them in this order; gives their outcomes in the same order. Never raises for a job."""
    waiting = deque(enumerate(jobs))
    outcomes: dict[int, Outcome] = {}
    active: dict[int, _Active] = {}
    told: SimpleQueue[tuple[int, int, str, BaseException | None]] = SimpleQueue()
    start = time.monotonic()
    newest, next_start = -1, start

    def finish(index: int, way: str, problem: str = "") -> None:
        job = active.pop(index).job
        seconds = time.monotonic() - start
        outcomes[index] = Outcome(job.name, job.resource, not problem, way, seconds, problem)

    def attempt(index: int, entry: _Active, now: float) -> None:
        way = entry.job.ways[entry.way]
        entry.attempts = number = entry.attempts + 1

        def call() -> None:
            failure: BaseException | None = None
            try:
                way.call()
            except BaseException as error:
                failure = error
            told.put((index, number, way.words, failure))

        entry.running, entry.until = True, now + min(entry.job.deadline, way.patience)
        try:
            workers.run(call)
        except RuntimeError as error:
            told.put((index, number, way.words, error))

    def go_on(index: int, entry: _Active, now: float) -> None:
        """After a failed attempt: the same way again, the next way, or the end."""
        way = entry.job.ways[entry.way] if entry.way >= 0 else None
        entry.running = False
        if way is not None and way.again and now + entry.pause < entry.began + entry.job.effort:
            entry.until = now + entry.pause
            entry.pause = min(2 * entry.pause, _LONGEST_PAUSE)
        elif entry.way + 1 < len(entry.job.ways):
            entry.way += 1
            attempt(index, entry, now)
        else:
            finish(index, way.words if way else "", "; ".join(dict.fromkeys(entry.problems)) or "nothing could be done")

    while waiting or active:
        now = time.monotonic()
        if waiting and (now >= next_start or newest not in active):
            newest, job = waiting.popleft()
            next_start = now + grace
            active[newest] = _Active(job, now)
            go_on(newest, active[newest], now)
            continue
        for index, entry in list(active.items()):
            if now < entry.until:
                continue
            if entry.running:
                way = entry.job.ways[entry.way]
                limit = min(entry.job.deadline, way.patience)
                entry.problems.append(f"the {way.words} hung for more than {limit:g} s and was given up")
                go_on(index, entry, now)
            else:
                attempt(index, entry, now)
        if not active:
            continue
        times = [entry.until for entry in active.values()] + ([next_start] if waiting else [])
        try:
            index, number, words, failure = told.get(timeout=max(min(times) - time.monotonic(), 0.0))
        except Empty:
            continue
        found = active.get(index)
        if found is None:
            continue  # of an attempt that was given up, after another one had succeeded
        if failure is None:
            finish(index, words)  # also late: a safe state that is confirmed is confirmed
        elif found.running and number == found.attempts:
            found.problems.append(f"{words}: {_words(failure)}")
            go_on(index, found, time.monotonic())
    return [outcomes[index] for index in sorted(outcomes)]


def _words(error: BaseException) -> str:
    """The error in one line, without its traffic."""
    return (str(error) or type(error).__name__).split(" | recent traffic")[0].replace("\n", " ")
