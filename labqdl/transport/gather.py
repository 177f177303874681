"""Several instruments at once: one thread a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def gather(*calls: Callable[[], T], timeout: float | None = None) -> tuple[T, ...]:
    """Make all calls at the same time, each on a thread of its own, and give their results in order.

    All are waited for, also after one has failed; then the first failure is raised, with the others as notes.
    TransportTimeout where one has not come back after `timeout` seconds (it goes on in its thread).
    """
    raise NotImplementedError
