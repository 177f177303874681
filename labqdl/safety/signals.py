"""Signals that ask to stop: installing handlers, giving back what was there, and not cutting an exchange in half."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from labqdl.clock import SystemClock
from labqdl.transport import Transport

STOP_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""Ctrl-C, a polite request, a closed terminal; Ctrl-Break where it exists."""

_HERE = str(Path(__file__).parent)
_EXCHANGES = Transport.query.__code__.co_filename

Handler = Callable[[int, FrameType | None], Any]


def under_way(frame: FrameType | None) -> tuple[bool, list[Transport]]:
    """Whether a frame must not be interrupted now, and the transports in whose exchanges it stands.

    That is inside of an exchange with an instrument, or of this room's own bookkeeping.
    """
    busy = False
    transports: list[Transport] = []
    while frame is not None:
        name = frame.f_code.co_filename
        if name == _EXCHANGES:
            busy = True
            owner = frame.f_locals.get("self")
            if isinstance(owner, Transport):
                transports.append(owner)
        elif name.startswith(_HERE) and name != __file__:
            busy = True
        frame = frame.f_back
    return busy, transports


def leave_signals_to_main() -> None:
    """To be called first by a thread of ours: a signal that it took would not wake a main thread that sleeps."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def is_interactive() -> bool:
    """Whether a person sits at a prompt, where Ctrl-C ends a line and not the program."""
    return hasattr(sys, "ps1") or bool(sys.flags.interactive)


class Handlers:
    """One handler for all stop signals; those that are ignored stay ignored, those of a prompt stay Python's."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._previous: dict[int, Any] = {}

    def install(self, numbers: Iterable[int] = STOP_SIGNALS) -> None:
        """Take these signals; does nothing outside of the main thread, where Python does not allow it."""
        if self._previous or threading.current_thread() is not threading.main_thread():
            return
        for number in numbers:
            previous = signal.getsignal(number)
            if previous in (signal.SIG_IGN, None) or (number == signal.SIGINT and is_interactive()):
                continue
            self._previous[number] = previous
            signal.signal(number, self._handler)

    def restore(self) -> None:
        """Give back what was there, unless somebody else has put a handler there since."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._handler:
                signal.signal(number, previous)
        self._previous = {}

    def pass_on(self, number: int, frame: FrameType | None) -> None:
        """Do what would have been done without us.

        Raises
        ------
        KeyboardInterrupt, SystemExit
            As Python's own handlers do; a signal that would have killed the process becomes SystemExit.
        """
        previous = self._previous.get(number, signal.SIG_DFL)
        if callable(previous):
            previous(number, frame)
        else:
            end_by(number)


def end_by(number: int) -> NoReturn:
    """What a signal means to a program that does not handle it.

    Raises
    ------
    KeyboardInterrupt, SystemExit
        By the signal.
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def resend(number: int, after: float, wanted: Callable[[], bool]) -> None:
    """Send the signal to the main thread once more, after so many seconds, if it is wanted then."""

    def send() -> None:
        leave_signals_to_main()
        SystemClock().sleep(after)
        if not wanted():
            return
        if sys.platform == "win32":
            signal.raise_signal(number)
        else:
            signal.pthread_kill(_main_ident(), number)

    threading.Thread(target=send, name="labqdl-signal", daemon=True).start()


def _main_ident() -> int:
    ident = threading.main_thread().ident
    assert ident is not None
    return ident
