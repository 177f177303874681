"""The stack of safe states: whatever was energised is made safe on every way out of the process."""

from __future__ import annotations

import atexit
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from labqdl.clock import Clock, SystemClock
from labqdl.instruments import Guard, Instrument, Refused
from labqdl.safety.arming import SCRIPT, UNARMED, Arming
from labqdl.safety.darkening import DEADLINE, EFFORT, GRACE, WORKERS, Job, Outcome, Way, darken
from labqdl.safety.errors import Unsafe
from labqdl.safety.fresh import make_safe_afresh
from labqdl.safety.paths import DarkCheck, LightPath
from labqdl.safety.reach import is_inside, is_on_loopback, resource_of
from labqdl.safety.recipe import NotRemakeable, Recipe, recipe_of
from labqdl.safety.signals import Handlers, end_by, resend, under_way
from labqdl.safety.unsafe import UnsafeFile
from labqdl.safety.watching import EFFORT as WATCHDOG_EFFORT
from labqdl.safety.watching import HEARTBEAT, Watch
from labqdl.transport import Transport

UNSAFE_EXIT = Unsafe.exit_code
_PATIENCE = (3.0, 0.5)
"""Seconds for which the first, and every further, request to stop waits for an exchange to end."""
_LOOK_AGAIN = 0.02
PRESENT = 1.0
"""Seconds after which a fresh connection is tried: the present one may be dead without a sign."""


@dataclass(frozen=True, slots=True)
class _Energised:
    """An instrument on the stack."""

    instrument: Instrument
    sequence: int
    recipe: Recipe | None


def safe_sequence(energised: Iterable[tuple[int, int]]) -> list[int]:
    """In which order instruments are made safe: indices of pairs (safe_order, when it was energised).

    Lowest `safe_order` first; within one, the last energised first.
    """
    pairs = list(energised)
    return sorted(range(len(pairs)), key=lambda index: (pairs[index][0], -pairs[index][1]))


class SafeStack:
    """A guard for instruments: the first energising call of each puts its `safe_state` on the stack.

    It refuses (`Refused`, nothing is sent) without arming, while an UNSAFE file waits to be acknowledged, after a
    request to stop, and without a working watchdog. `make_safe` runs what is on the stack; so do leaving the `with`
    block in any way, Ctrl-C (once: as soon as the exchange under way is over, `KeyboardInterrupt` ends the program in
    its own order; twice: at once), SIGTERM, SIGHUP and SIGBREAK (the same, with `SystemExit`), the end of the
    interpreter, and, after anything worse, the watchdog process. What is not confirmed raises `Unsafe` (exit code 70)
    and stands in the UNSAFE file.

    No process, thread or handler exists before the first energising call.

    Parameters
    ----------
    arming:
        Whether real instruments may emit.
    unsafe:
        The UNSAFE file; default in the user's state folder.
    watchdog:
        Whether a watchdog process holds what can be reached from another process.
    heartbeat:
        Seconds without a heartbeat after which the watchdog acts; None: only when this process ends. A debugger
        switches it off.
    handlers:
        Whether to handle signals and the end of the interpreter.
    paths:
        Light paths: barriers are made safe with their source, and darkness is confirmed by meters.
    simulated:
        Instruments outside of this process of which a person has said that they are simulated: they need no arming.
    only_outside:
        Leave alone what lives and dies with this process (scripts, simulated instruments in process).
    deadline, effort, grace:
        Seconds for one attempt, for all of them, and between the beginnings of two instruments.
    watchdog_effort:
        Seconds for which the watchdog tries an instrument.
    station:
        The station file: after a crash the watchdog takes its lock, so that nobody begins before it is done.
    notify:
        Where words for a person go; default standard error.
    """

    def __init__(
        self,
        *,
        arming: Arming = UNARMED,
        unsafe: Path | None = None,
        watchdog: bool = True,
        heartbeat: float | None = HEARTBEAT,
        handlers: bool = True,
        paths: Iterable[LightPath] = (),
        simulated: Iterable[Instrument] = (),
        only_outside: bool = False,
        deadline: float = DEADLINE,
        effort: float = EFFORT,
        grace: float = GRACE,
        watchdog_effort: float = WATCHDOG_EFFORT,
        station: Path | None = None,
        clock: Clock | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        self.arming = arming
        self.paths = list(paths)
        self.simulated = list(simulated)
        self.stop_reason = ""
        """Why nothing is energised any more; empty while that is allowed."""
        self._unsafe_path = unsafe
        self._clock: Clock = clock or SystemClock()
        self._notify = notify or _to_standard_error
        self._only_outside = only_outside
        self._deadline, self._effort, self._grace = deadline, effort, grace
        self._watch_options: dict[str, Any] = {
            "heartbeat": heartbeat,
            "effort": watchdog_effort,
            "grace": grace,
            "station": station,
        }
        self._watched = watchdog
        self._watch: Watch | None = None
        self._handled = handlers
        self._handlers = Handlers(self._on_signal)
        self._at_exit = False
        self._lock = threading.RLock()
        self._energised: dict[int, _Energised] = {}
        self._sequence = 0
        self._making_safe = False
        self._requests = 0
        self._first_request = 0.0
        self._pending: int | None = None
        self._resends = 0
        self._waiting_signal: int | None = None
        self._pid = os.getpid()

    # --- energising ---------------------------------------------------------------------------------------------------

    def energising(self, instrument: Instrument, what: str) -> None:
        """Called before the first byte of whatever can make light or voltage come out.

        Raises
        ------
        Refused
            Where it must not be; nothing is sent then.
        """
        if self._only_outside and is_inside(instrument):
            return
        with self._lock:
            where = f"{instrument.name}: {what}"
            if os.getpid() != self._pid:
                raise Refused(f"{where}: refused in a forked process, whose end nobody watches")
            if self._making_safe:
                raise Refused(f"{where}: refused while everything is made safe")
            if self.stop_reason:
                raise Refused(f"{where}: refused: {self.stop_reason}")
            if id(instrument) not in self._energised:
                self._admit(instrument, where)

    def _admit(self, instrument: Instrument, where: str) -> None:
        real = not is_inside(instrument) and all(instrument is not one for one in self.simulated)
        if real and not self.arming.armed:
            resource = resource_of(instrument)
            served = "; one of `labqdl sim serve` needs 'simulated = true' in the station file"
            raise Refused(
                f"{where}: refused, because this is a real instrument ({resource}) and {self.arming.reason}. "
                f"Give --arm when the beam may be there{served if is_on_loopback(resource) else ''}"
            )
        self.unsafe_file.refuse(where)
        members = [instrument]
        for path in self.paths:
            if path.source is instrument:
                members += [one for one in path.barriers if id(one) not in self._energised and one not in members]
        entries = []
        for member in members:
            self._sequence += 1
            entries.append(_Energised(member, self._sequence, self._recipe(member, where)))
        WORKERS.reserve(2 * (len(self._energised) + len(entries) + len(self.paths)))
        self._install()
        for entry in entries:
            if entry.recipe is not None and self._watched:
                order = entry.instrument.safe_order
                self._watching().hold(str(entry.sequence), entry.recipe, order, self._deadline)
        for path in self.paths:
            for check in path.checks if path.source is instrument else ():
                self._look(check)
        for entry in entries:
            self._energised[id(entry.instrument)] = entry

    def _recipe(self, instrument: Instrument, where: str) -> Recipe | None:
        """How the watchdog can make it; None for what ends with this process."""
        if is_inside(instrument):
            return None
        try:
            return recipe_of(instrument)
        except NotRemakeable as error:
            if not self._watched:
                return None
            raise Refused(
                f"{where}: refused, because nobody could make it safe after a crash: {error}. A guard with "
                "watchdog=False does without"
            ) from error

    def _look(self, check: DarkCheck) -> None:
        if self._watched and not is_inside(check.meter):
            with suppress(NotRemakeable):
                self._watching().look(check.path, recipe_of(check.meter), check.quantity, check.below)

    def _watching(self) -> Watch:
        if self._watch is None:
            self._watch = Watch(self.unsafe_file.path, tripped=self._on_trip, **self._watch_options)
        return self._watch

    def _on_trip(self, reason: str) -> None:
        self.stop_reason = f"the watchdog made everything safe, because of this process {reason}"
        self._notify(self.stop_reason)

    @property
    def unsafe_file(self) -> UnsafeFile:
        """The file that says what could not be made safe."""
        return UnsafeFile(self._unsafe_path)

    @property
    def energised(self) -> tuple[Instrument, ...]:
        """What is on the stack, in the order in which it will be made safe."""
        return tuple(entry.instrument for entry in self._sorted())

    @property
    def watchdog_pid(self) -> int | None:
        """Number of the watchdog process; None while there is none."""
        return None if self._watch is None else self._watch.pid

    def leave_on(self, instrument: Instrument | None = None) -> None:
        """Take one instrument, or all, from the stack as it is: a person has said that it stays on."""
        with self._lock:
            for key, entry in list(self._energised.items()):
                if instrument is None or entry.instrument is instrument:
                    self._drop(key)
            if not self._energised and self._watch is not None:
                self._watch.release()

    def allow_again(self) -> None:
        """After a request to stop that was a person's change of mind (at a prompt): energising is allowed again."""
        with self._lock:
            self.stop_reason = ""
            self._requests = 0

    # --- making safe --------------------------------------------------------------------------------------------------

    def make_safe(self, *, final: bool = False) -> tuple[Outcome, ...]:
        """Make everything on the stack safe, and confirm light paths dark; never raises for an instrument.

        What is confirmed leaves the stack; the rest is written into the UNSAFE file. `final` also closes the
        instruments, so that no thread can switch on again what was made safe.
        """
        with self._lock:
            if self._making_safe or not self._energised or os.getpid() != self._pid:
                return ()
            self._making_safe = True
            entries = self._sorted()
        try:
            outcomes = darken([self._job(entry, final) for entry in entries], grace=self._grace)
            sources = {id(entry.instrument) for entry in entries}
            checks = [check for path in self.paths if id(path.source) in sources for check in path.checks]
            dark = darken([self._check(check) for check in checks], grace=self._grace)
            for entry, outcome in zip(entries, outcomes, strict=True):
                if outcome.safe:
                    entry.instrument.energised = False
                    self._drop(id(entry.instrument))
            for outcome in dark:
                if outcome.safe and self._watch is not None:
                    self._watch.drop(outcome.name)
            return (*outcomes, *dark)
        finally:
            self._making_safe = False

    def finish(self) -> tuple[Outcome, ...]:
        """Make everything safe for good: handlers and watchdog go.

        Raises
        ------
        Unsafe
            Where something is not confirmed.
        """
        self.stop_reason = self.stop_reason or "this guard has finished"
        try:
            outcomes = self.make_safe(final=True)
            self._complain(outcomes)
        finally:
            self._energised = {}
            if self._watch is not None:
                self._watch.release()
            self._pending = None
            self._handlers.restore()
        return outcomes

    def _complain(self, outcomes: Iterable[Outcome]) -> None:
        missing = [one for one in outcomes if not one.safe]
        if missing:
            raise Unsafe(missing, self._write(missing))

    def _write(self, missing: list[Outcome]) -> str:
        """Write the UNSAFE file; words for what became of it."""
        recipes = {
            (one.recipe.name, one.recipe.resource): one.recipe
            for one in self._energised.values()
            if one.recipe is not None
        }
        return self.unsafe_file.report(missing, recipes, wall=self._clock.wall(), told_by=f"process {self._pid}")

    def _sorted(self) -> list[_Energised]:
        entries = list(self._energised.values())
        order = safe_sequence((entry.instrument.safe_order, entry.sequence) for entry in entries)
        return [entries[index] for index in order]

    def _drop(self, key: int) -> None:
        entry = self._energised.pop(key)
        if entry.recipe is not None and self._watch is not None:
            self._watch.drop(str(entry.sequence))

    def _job(self, entry: _Energised, final: bool) -> Job:
        instrument = entry.instrument
        ways = []
        if instrument.is_open or entry.recipe is None:
            patience = PRESENT if entry.recipe is not None else math.inf
            ways.append(Way("present connection", partial(_over_present, instrument, final), patience=patience))
        if entry.recipe is not None:
            ways.append(Way("fresh connection", partial(_over_fresh, instrument, entry.recipe), again=True))
        elif instrument.is_open:
            ways.append(Way("connection opened again", partial(_over_reopened, instrument), again=True))
        return Job(instrument.name, resource_of(instrument), ways, self._deadline, self._effort)

    def _check(self, check: DarkCheck) -> Job:
        way = Way("meter", check.confirm, again=True)
        return Job(f"light path {check.path}", resource_of(check.meter), (way,), self._deadline, self._effort)

    # --- ways out -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
        number, self._waiting_signal = self._waiting_signal, None
        if error is None and number is not None:
            end_by(number)

    def _install(self) -> None:
        # The exit function stays when the stack has finished: an Unsafe that nobody caught needs its exit code.
        if self._handled and not self._at_exit:
            self._handlers.install()
            atexit.register(self._last_way_out)
            self._at_exit = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            self._handlers.pass_on(number, frame)
            return
        resent = self._resends > 0
        if resent:
            self._resends -= 1
            if self._pending is None:
                return
        else:
            self._requests += 1
            self._first_request = time.monotonic()
            self.stop_reason = self.stop_reason or "a stop was requested"
        if self._making_safe:
            self._waiting_signal = number
            if not resent:
                self._notify("everything is being made safe; this is not interrupted")
            return
        patience = _PATIENCE[min(self._requests, len(_PATIENCE)) - 1]
        busy, transports = under_way(frame)
        if busy and time.monotonic() < self._first_request + patience:
            self._pending = number
            for transport in transports:
                transport.before_next(partial(self._between_exchanges, transport))
            resend(number, _LOOK_AGAIN, self._is_pending)
            return
        self._act(number, frame)

    def _is_pending(self) -> bool:
        """Whether a signal waits for the end of an exchange; asked by a thread that is about to repeat it."""
        self._resends += self._pending is not None
        return self._pending is not None

    def _between_exchanges(self, transport: Transport) -> None:
        """The exchange that a signal had to wait for is over, and the next one has not begun."""
        if threading.current_thread() is threading.main_thread():
            transport.before_next(None)
            number = self._pending
            if number is not None:
                self._act(number, None)

    def _act(self, number: int, frame: FrameType | None) -> None:
        self._pending = None
        if self._requests > 1:
            self._notify("making everything safe at once")
            self._complain(self.make_safe(final=True))
        elif self._energised:
            self._notify("stopping; once more to make everything safe at once")
        self._handlers.pass_on(number, frame)

    def _last_way_out(self) -> None:
        """At the end of the interpreter."""
        if os.getpid() != self._pid:
            return
        unsafe = isinstance(getattr(sys, "last_value", None), Unsafe)
        try:
            self.finish()
        except Unsafe as error:
            self._notify(str(error))
            unsafe = True
        if unsafe:
            # The one way to an exit code from here; what others have registered still runs.
            atexit.unregister(self._last_way_out)
            atexit._run_exitfuncs()
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError, AttributeError):
                    stream.flush()
            os._exit(UNSAFE_EXIT)


def _over_present(instrument: Instrument, final: bool) -> None:
    if not instrument.is_open:
        instrument.open()
    with instrument.exclusive():
        instrument.safe_state()
        if final:
            instrument.close()


def _over_reopened(instrument: Instrument) -> None:
    instrument.close()
    instrument.open()
    instrument.safe_state()


def _over_fresh(instrument: Instrument, recipe: Recipe) -> None:
    transport = getattr(instrument, "transport", None)
    if isinstance(transport, Transport):
        transport.abandon()  # an instrument with one session only would refuse the fresh one
    make_safe_afresh(recipe)


def _to_standard_error(words: str) -> None:
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"labqdl: {words}\n")
        sys.stderr.flush()


_process_guard: Guard | None = SafeStack(arming=SCRIPT, only_outside=True)


def process_guard() -> Guard | None:
    """The guard of drivers that a script uses without a station; it costs nothing before the first energising call."""
    return _process_guard


def set_process_guard(guard: Guard | None) -> None:
    """Another guard for drivers that are made from now on; None for none (tests of drivers)."""
    global _process_guard
    _process_guard = guard
