"""What stops or pauses a run from outside of its plan: wishes of other processes, limits of symbols and time."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import suppress

from labqdl.clock import Clock, SystemClock
from labqdl.facts import FrameDescription
from labqdl.link import Link
from labqdl.records import RunFolder
from labqdl.records.control import Wish
from labqdl.sequencer import Engine, EngineState
from labqdl.sequencer.engine import EngineEvent, EventKind
from labqdl.sequencer.states import IllegalTransitionError
from labqdl.units import counted

_log = logging.getLogger(__name__)


class Watcher:
    """Passes wishes on to an engine, writes pauses down, and keeps the light path dark while they last."""

    def __init__(self, record: RunFolder, link: Link) -> None:
        self._record, self._link = record, link
        self._paused = False
        self.engine: Engine | None = None
        self.reason = ""
        """Why the run was stopped, where another process asked for it."""
        self.asked = False
        """Whether a signal asked for an end while there was something to end."""

    def request_stop(self) -> bool:
        """A signal asks to stop at the next good point; False where there is nothing left to end."""
        done = self.engine is not None and self.engine.request_stop()
        self.asked = self.asked or done
        return done

    def abort(self) -> bool:
        """A signal asks to end at once."""
        return self.engine is not None and self.engine.abort()

    def obey(self, wish: Wish) -> None:
        """Do what another process asks for; what makes no sense now is passed over."""
        if self.engine is None:
            return
        with suppress(IllegalTransitionError):
            if wish is Wish.PAUSE:
                self.engine.request_pause()
            elif wish is Wish.CONTINUE:
                self.engine.resume()
            elif self.engine.request_stop():
                self.reason = "by 'labqdl stop'"

    def __call__(self, event: EngineEvent) -> None:
        """Observe the engine, in its own thread."""
        if event.kind is not EventKind.STATE:
            return
        if event.state is EngineState.PAUSED:
            self._paused = True
            try:
                self._link.close()
            except Exception:
                # Nobody waits beside light that cannot be put out: the guard behind the instruments takes over.
                _log.exception("the light path is not dark in a pause; the run is aborted")
                if self.engine is not None:
                    self.engine.abort()
            self._record.event("paused")
        elif self._paused and event.state is EngineState.RUNNING:
            self._paused = False
            self._record.event("continued")


class Limits:
    """Stops an engine before a block that would pass a limit.

    Parameters
    ----------
    frame, engine, done:
        What is run, by what, and the blocks that are finished already.
    symbols:
        Most symbols of the whole run, one way; None: no limit.
    seconds:
        Time after which this process stops behind a block; None: no limit.
    """

    def __init__(
        self,
        frame: FrameDescription,
        engine: Engine,
        done: Collection[int],
        symbols: int | None,
        seconds: float | None,
        clock: Clock | None = None,
    ) -> None:
        self._frame, self._engine, self._done = frame, engine, set(done)
        self._symbols, self._seconds = symbols, seconds
        self._clock: Clock = SystemClock() if clock is None else clock
        self._start = self._clock.monotonic()
        self.reason = ""
        """Why the engine was stopped; empty where it was not."""
        self._look()

    def after(self, block: int) -> None:
        """A block is finished."""
        self._done.add(block)
        self._look()

    def _look(self) -> None:
        left = [block for block in range(self._frame.n_blocks) if block not in self._done]
        if not left or self.reason:
            return
        elapsed = self._clock.monotonic() - self._start
        if self._seconds is not None and elapsed >= self._seconds:
            self._stop(f"its time of {self._seconds:g} s is over")
        elif self._symbols is not None:
            spent = sum(map(self._size, self._done))
            if spent + self._size(left[0]) > self._symbols:
                self._stop(
                    f"{spent:,} of at most {counted(self._symbols, 'symbol')} are spent, and the next block takes "
                    f"{self._size(left[0]):,}"
                )

    def _size(self, block: int) -> int:
        return self._frame.block_vectors(block) * self._frame.symbols_per_image

    def _stop(self, reason: str) -> None:
        self.reason = reason
        self._engine.request_stop()
