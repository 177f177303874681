"""Several calls at once."""

from __future__ import annotations

import threading

import pytest

from labqdl.transport import ConnectionLost, TransportTimeout, gather
from tests.transport.servers import WAIT


def test_all_run_at_the_same_time_and_results_are_in_order() -> None:
    barrier = threading.Barrier(4)

    def call(number: int) -> int:
        barrier.wait(WAIT)
        return number

    for _ in range(20):
        assert gather(*(lambda n=n: call(n) for n in range(4))) == (0, 1, 2, 3)
    assert gather() == ()


def test_threads_are_kept() -> None:
    for _ in range(5):
        gather(*[threading.get_ident] * 3)
    before = threading.active_count()
    for _ in range(20):
        gather(*[threading.get_ident] * 3)
    assert threading.active_count() == before


def test_the_first_failure_is_raised_when_all_are_done() -> None:
    done = threading.Event()

    def failing(text: str) -> None:
        raise ConnectionLost(text)

    def slow() -> None:
        assert release.wait(WAIT)
        done.set()

    release = threading.Event()

    def failing_last() -> None:
        release.set()
        raise ConnectionLost("second")

    with pytest.raises(ConnectionLost, match="first") as caught:
        gather(lambda: failing("first"), slow, failing_last)
    assert done.is_set()
    assert caught.value.__notes__ == ["failed as well: second"]


def test_who_does_not_come_back_is_not_waited_for() -> None:
    release = threading.Event()
    with pytest.raises(TransportTimeout, match="1 of 2 calls"):
        gather(lambda: release.wait(WAIT), lambda: True, timeout=0.05)
    release.set()
