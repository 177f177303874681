"""Ctrl-C and its relatives become requests: first a clean stop, then force."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

_NAMES = ("SIGINT", "SIGTERM", "SIGBREAK")


class Stoppable(Protocol):
    """What can be asked to end; each answers False where there was nothing left to end."""

    def request_stop(self) -> bool:
        """Stop cleanly at the next good point."""
        ...

    def abort(self) -> bool:
        """End at once."""
        ...


@contextmanager
def stop_on_signals(target: Stoppable) -> Iterator[None]:
    """While the block runs, the first SIGINT, SIGTERM or SIGBREAK (Windows) asks `target` to stop.

    The second one aborts it and raises KeyboardInterrupt where the main thread is, as does the first one when
    `target` has ended. Signals that were ignored stay ignored. The previous handlers come back afterwards. Signals
    reach the main thread only: in any other thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if not asked and target.request_stop():
            asked = True
            return
        target.abort()
        raise KeyboardInterrupt

    previous: dict[int, Any] = {}
    try:
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.getsignal(number)
                signal.signal(number, handle)
        yield
    finally:
        for number, handler in previous.items():
            # A handler that was not set from Python reads as None and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
