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
    """Make all calls at the same time and give their results in order.

    Each has a thread of its own; without a timeout the last one takes the caller's, which would only wait. All are
    waited for, also after one has failed; then the first failure is raised, with the others as notes.
    TransportTimeout where one has not come back after `timeout` seconds (it goes on in its thread).
    """
    if not calls:
        return ()
    done: SimpleQueue[tuple[int, Any, BaseException | None]] = SimpleQueue()
    results: list[Any] = [None] * len(calls)
    failures: dict[int, BaseException] = {}
    own = len(calls) - 1 if timeout is None else len(calls)

    def reporter(index: int) -> Report:
        return lambda result, failure: done.put((index, result, failure))

    for index, call in enumerate(calls[:own]):
        try:
            worker = _idle.pop()
        except IndexError:
            worker = _Worker()
        worker.jobs.put((call, reporter(index)))
    if own < len(calls):
        try:
            results[own] = calls[own]()
        except Exception as error:  # Ctrl-C is not waited with
            failures[own] = error
    missing = own
    deadline = None if timeout is None else monotonic() + timeout
    while missing:
        try:
            index, result, failure = done.get(timeout=None if deadline is None else max(deadline - monotonic(), 0.0))
        except Empty as empty:
            late = TransportTimeout(
                f"{missing} of {len(calls)} calls made at the same time did not come back within {timeout:g} s"
            )
            raise _with_notes(late, failures) from empty
        missing -= 1
        results[index] = result
        if failure is not None:
            failures[index] = failure
    if failures:
        first = failures.pop(min(failures))
        raise _with_notes(first, failures)
    return tuple(results)


def _with_notes(error: BaseException, others: dict[int, BaseException]) -> BaseException:
    for _, other in sorted(others.items(), key=lambda entry: entry[0]):
        error.add_note(f"failed as well: {other}")
    return error
