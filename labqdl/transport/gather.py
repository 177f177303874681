"""Several instruments at once: one thread a call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from labqdl.transport.errors import TransportTimeout

T = TypeVar("T")


Report = Callable[[Any, BaseException | None], None]


class _Worker:
    """A thread that makes one call after another, kept for the next `gather` (starting one costs as much as a query).

    It is a daemon: a call that hangs must not keep the program from ending.
    """

    def __init__(self) -> None:
        self.jobs: SimpleQueue[tuple[Callable[[], Any], Report]] = SimpleQueue()
        threading.Thread(target=self._run, name="labqdl-gather", daemon=True).start()

    def _run(self) -> None:
        while True:
            call, report = self.jobs.get()
            result, failure = None, None
            try:
                result = call()
            except BaseException as error:
                failure = error
            # Free before it reports: who is told may gather again at once.
            _idle.append(self)
            report(result, failure)
            del call, report, result, failure


_idle: list[_Worker] = []


def gather(*calls: Callable[[], T], timeout: float | None = None) -> tuple[T, ...]:
    """Make all calls at the same time, each on a thread of its own, and give their results in order.

    All are waited for, also after one has failed; then the first failure is raised, with the others as notes.
    TransportTimeout where one has not come back after `timeout` seconds (it goes on in its thread).
    """
    done: SimpleQueue[tuple[int, Any, BaseException | None]] = SimpleQueue()

    def reporter(index: int) -> Report:
        return lambda result, failure: done.put((index, result, failure))

    for index, call in enumerate(calls):
        try:
            worker = _idle.pop()
        except IndexError:
            worker = _Worker()
        worker.jobs.put((call, reporter(index)))
    results: list[Any] = [None] * len(calls)
    failures: list[tuple[int, BaseException]] = []
    missing = set(range(len(calls)))
    deadline = None if timeout is None else monotonic() + timeout
    while missing:
        try:
            index, result, failure = done.get(timeout=None if deadline is None else max(deadline - monotonic(), 0.0))
        except Empty as empty:
            error = TransportTimeout(
                f"{len(missing)} of {len(calls)} calls made at the same time did not come back within {timeout:g} s"
            )
            for _, failure in failures:
                error.add_note(f"failed as well: {failure}")
            raise error from empty
        missing.remove(index)
        results[index] = result
        if failure is not None:
            failures.append((index, failure))
    if failures:
        failures.sort(key=lambda entry: entry[0])
        first = failures[0][1]
        for _, failure in failures[1:]:
            first.add_note(f"failed as well: {failure}")
        raise first
    return tuple(results)
