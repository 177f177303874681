"""What all drivers share: a transport that is opened late, an identity that is checked, waiting until it is done."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from labqdl.clock import Clock, SystemClock
from labqdl.errors import LabqdlError
from labqdl.instruments import (
    Identity,
    Immediate,
    Instrument,
    NotConfirmed,
    OperationComplete,
    Part,
    Quantity,
    ReadBack,
    SettingsChanged,
    Settle,
)
from labqdl.instruments.limits import after_number
from labqdl.safety.stack import process_guard
from labqdl.transport import Framing, Line, RoadOptions, Transport, road_for

_SHARERS: WeakKeyDictionary[Transport, list[Driver]] = WeakKeyDictionary()
"""The open drivers of each transport: one box may be several instruments behind one connection."""


class Driver(Instrument):
    """A real instrument behind a transport. Abstract: `TextInstrument`, `ScpiInstrument` and `FrameInstrument` talk.

    Parameters
    ----------
    resource:
        A VISA resource name, or a transport that is already made (tests, shared boxes). The last one of several drivers
        that share a transport closes it.
    name:
        Name for messages; default the driver's own.
    clock:
        For waiting and time stamps.
    options:
        Serial settings and VISA library that differ from the class's.
    """

    maker: ClassVar[str]
    """Who sells it."""
    models: ClassVar[tuple[str, ...]]
    """Models that it drives, as people call them."""
    sheet: ClassVar[str]
    """Name of the fact sheet, without ending."""
    identity_pattern: ClassVar[str] = ""
    """Regular expression that must be found in "maker model" of the identity; opening anything else is an error."""
    framing: ClassVar[Framing] = Line()
    road: ClassVar[RoadOptions] = RoadOptions()
    timeout: ClassVar[float] = 2.0
    spacing: ClassVar[float] = 0.0
    unasked: ClassVar[bool] = False
    """Whether the instrument sends messages that nobody asked for; the driver then sorts them out itself."""
    left_out: ClassVar[Mapping[str, str]] = {}
    """Commands of the sheet that the driver does not use, with the reason; one stands for all below it, too."""
    base_commands: ClassVar[tuple[str, ...]] = ()
    """Commands that the driver's base class sends."""

    def __init__(
        self,
        resource: str | Transport,
        *,
        name: str | None = None,
        clock: Clock | None = None,
        options: RoadOptions | None = None,
    ) -> None:
        super().__init__(name or type(self).__name__, clock=clock)
        self.guard = process_guard()
        self.road_options = options
        if isinstance(resource, Transport):
            self.transport = resource
        else:
            self.transport = Transport(
                road_for(resource, options or self.road, clock=clock),
                self.framing_for(resource),
                name=self.name,
                resource=resource,
                clock=clock or SystemClock(),
                timeout=self.timeout,
                spacing=self.spacing,
                unasked=self.unasked,
            )
        self._identity: Identity | None = None

    def framing_for(self, resource: str) -> Framing:
        """The framing on this resource; for instruments that end lines differently on serial lines."""
        return self.framing

    def open(self) -> None:
        """Connect, check the identity, read what limits need; change no output. A second call does nothing.

        Raises
        ------
        TransportError
            If nobody answers.
        SettingsChanged
            If somebody else answers than the driver is for.
        """
        if self.is_open:
            return
        self.transport.open()
        try:
            self._identity = self._checked_identity()
            self.learn()
        except BaseException:
            self.close()
            raise
        sharers = _SHARERS.setdefault(self.transport, [])
        if self not in sharers:
            sharers.append(self)

        def after_reopening() -> None:
            for one in tuple(sharers):
                one._after_reopening()

        self.transport.on_reopen = after_reopening

    def open_bare(self) -> None:
        """Connect and check the identity, no more: for `safe_state`, which needs nothing that `learn` reads."""
        if not self.is_open:
            self.transport.open()
            try:
                self._identity = self._checked_identity()
            except BaseException:
                self.close()
                raise

    def learn(self) -> None:
        """Read what the driver has to know once (ranges, options); changes nothing."""

    def close(self) -> None:
        """Let go of the connection; change no output."""
        self._identity = None
        sharers = _SHARERS.get(self.transport, [])
        if self in sharers:
            sharers.remove(self)
        if not sharers:
            self.transport.close()

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and its identity found right."""
        return self._identity is not None and self.transport.is_open

    @abstractmethod
    def identity(self) -> Identity:
        """Ask the instrument who it is."""

    def _checked_identity(self) -> Identity:
        found = self.identity()
        if self.identity_pattern and not re.search(self.identity_pattern, f"{found.maker} {found.model}"):
            raise SettingsChanged(
                f"{self.name} ({self.transport.resource}): found {found.maker} {found.model}, expected "
                f"{self.maker} {' or '.join(self.models)}. Check the resource name, or name the driver of that model"
            )
        return found

    def _after_reopening(self) -> None:
        """After a lost connection: the same box, set as we set it, or no carrying on."""
        found, before = self.identity(), self._identity
        if found != before:
            raise SettingsChanged(f"{self.name}: another instrument answers now: {found} instead of {before}")
        for part, quantity, value in list(self._settings.values()):
            if not quantity.readable or quantity.follows(part):
                continue
            now = quantity.fetch(part)
            if not _same(now, value, quantity.done):
                raise SettingsChanged(
                    f"{self.name}: after the connection was lost {part.path(quantity.name)} is {_shown(now)} and not "
                    f"{_shown(value)}{after_number(quantity.unit)}. Look at the instrument, then open it again"
                )

    @contextmanager
    def unconditionally(self) -> Iterator[None]:
        """For safe states: a connection that was lost is opened again without a comparison of the settings.

        Otherwise an output that went off unseen, its reply lost, would keep `safe_state` from confirming that.
        """
        check, self.transport.on_reopen = self.transport.on_reopen, None
        try:
            yield
        finally:
            self.transport.on_reopen = check

    def exclusive(self) -> AbstractContextManager[object]:
        """Nobody else talks to the instrument inside of this context."""
        return self.transport.transaction()

    def complete_part(self, part: Part, quantity: Quantity[Any], value: Any) -> None:
        """Wait until it is done, as the quantity declares.

        Raises
        ------
        NotConfirmed
            If the time is over.
        """
        match quantity.done:
            case Immediate():
                return
            case Settle(seconds):
                self.clock.sleep(seconds)
            case OperationComplete(timeout):
                self.wait_complete(timeout)
            case ReadBack() as wanted:
                self._read_back(part, quantity, value, wanted)

    def wait_complete(self, timeout: float) -> None:
        """Wait until the instrument reports that it has finished; for families that can."""
        raise TypeError(f"{type(self).__name__} has no report of completion")

    def wait_until(
        self, condition: Callable[[], bool], timeout: float, expectation: str, *, interval: float = 0.01
    ) -> None:
        """Ask until `condition` holds, every `interval` seconds.

        Raises
        ------
        NotConfirmed
            If it does not after `timeout` seconds; `expectation` completes "it was expected to ...".
        """
        end = self.clock.monotonic() + timeout
        while not condition():
            if self.clock.monotonic() >= end:
                raise NotConfirmed(f"{self.name}: it was expected to {expectation} within {timeout:g} s and did not")
            self.clock.sleep(interval)

    def _read_back(self, part: Part, quantity: Quantity[Any], value: Any, wanted: ReadBack) -> None:
        end = self.clock.monotonic() + wanted.timeout
        while True:
            found = quantity.fetch(part)
            if _same(found, value, wanted):
                return
            if self.clock.monotonic() >= end:
                unit = after_number(quantity.unit)
                raise NotConfirmed(
                    f"{self.name}: {part.path(quantity.name)} was set to {_shown(value)}{unit} and reads "
                    f"{_shown(found)}{unit} after {wanted.timeout:g} s"
                )
            self.clock.sleep(wanted.interval)

    def confirm(self, part: Part, quantity: str, value: Any) -> None:
        """Read a quantity once more and raise `NotConfirmed` if it is not this; for safe states.

        What was confirmed is what a lost connection is compared with from now on.
        """
        found = getattr(part, quantity)
        if found != value:
            raise NotConfirmed(f"{self.name}: {part.path(quantity)} must be {_shown(value)} and reads {_shown(found)}")
        declaration = part.quantities()[quantity]
        if not declaration.derived:
            self.remember(part, declaration, value)

    def try_all(self, *steps: Callable[[], object]) -> None:
        """Take every step although some fail, then raise the first failure; for safe states."""
        failures: list[LabqdlError] = []
        for step in steps:
            try:
                step()
            except LabqdlError as error:
                failures.append(error)
        if failures:
            raise failures[0]


def _shown(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else repr(value)


def _same(found: Any, value: Any, done: object) -> bool:
    tolerance = done if isinstance(done, ReadBack) else ReadBack()
    if isinstance(value, float) and isinstance(found, int | float):
        return bool(abs(found - value) <= tolerance.absolute + tolerance.relative * abs(value))
    return bool(found == value)
