"""In process: a PyVISA library whose resources are the instruments of a bench.

`pyvisa.ResourceManager(SimVisaLibrary.for_bench(bench))` opens them as on the wire. END semantics differ by class as
they do there: a SOCKET has no END, so whoever forgets its read termination runs into a timeout; serial lines end at
the termination character; INSTR resources have END and the message exchange protocol. Time costs what the bench's
clock says: with a `ManualClock` a read of a slow reply, or a timeout, moves that clock and returns at once.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from typing import Any, ClassVar

from pyvisa import constants, highlevel, rname
from pyvisa.constants import EventMechanism, EventType, InterfaceType, ResourceAttribute, StatusCode
from pyvisa.util import LibraryPath

from labqdl.errors import InputError
from labqdl_sim.bench import Bench
from labqdl_sim.routes.waiting import wait_until
from labqdl_sim.twin import Session

_SUCCESS = StatusCode.success
_WAIT_SLICE = 0.01  # s; how finely a wait for a service request looks

_DEFAULTS: dict[ResourceAttribute, Any] = {
    ResourceAttribute.timeout_value: 2000,
    ResourceAttribute.termchar: 0x0A,
    ResourceAttribute.termchar_enabled: constants.VI_FALSE,
    ResourceAttribute.send_end_enabled: constants.VI_TRUE,
    ResourceAttribute.suppress_end_enabled: constants.VI_FALSE,
    ResourceAttribute.resource_lock_state: constants.AccessModes.no_lock,
    ResourceAttribute.interface_number: 0,
    ResourceAttribute.max_queue_length: 50,
    ResourceAttribute.io_prot: constants.IOProtocol.normal,
    ResourceAttribute.resource_manufacturer_name: "labqdl",
    ResourceAttribute.resource_impl_version: 0,
    ResourceAttribute.resource_spec_version: 0x00700000,
    ResourceAttribute.user_data: 0,
}
_SERIAL: dict[ResourceAttribute, Any] = {
    ResourceAttribute.asrl_baud_rate: 9600,
    ResourceAttribute.asrl_data_bits: 8,
    ResourceAttribute.asrl_parity: constants.Parity.none,
    ResourceAttribute.asrl_stop_bits: constants.StopBits.one,
    ResourceAttribute.asrl_flow_control: constants.ControlFlow.none,
    ResourceAttribute.asrl_end_in: constants.SerialTermination.termination_char,
    ResourceAttribute.asrl_end_out: constants.SerialTermination.none,
    ResourceAttribute.asrl_discard_null: constants.VI_FALSE,
    ResourceAttribute.asrl_dtr_state: constants.LineState.asserted,
    ResourceAttribute.asrl_rts_state: constants.LineState.asserted,
    ResourceAttribute.asrl_cts_state: constants.LineState.asserted,
    ResourceAttribute.asrl_dsr_state: constants.LineState.asserted,
    ResourceAttribute.asrl_ri_state: constants.LineState.unasserted,
    ResourceAttribute.asrl_dcd_state: constants.LineState.asserted,
    ResourceAttribute.asrl_xon_char: 0x11,
    ResourceAttribute.asrl_xoff_char: 0x13,
    ResourceAttribute.asrl_allow_transmit: constants.VI_TRUE,
}


class _Open:
    """An open resource: session of the twin and attributes.

    `timeout` (s), `stop` (the byte that ends a read, if any), `sends_end` and `ended` (reads know END) follow from the
    attributes; to look those up in every read would cost more than the twin's answer.
    """

    __slots__ = (
        "attributes", "enabled", "ended", "handlers", "locked", "sends_end", "serial", "session", "stop", "stream",
        "timeout",
    )  # fmt: skip

    def __init__(self, name: str, parsed: rname.ResourceName, session: Session, access: int) -> None:
        kind = parsed.interface_type_const
        self.session = session
        self.serial = kind == InterfaceType.asrl
        self.stream = self.serial or parsed.resource_class == "SOCKET"
        self.locked = access == constants.AccessModes.exclusive_lock
        self.enabled: dict[int, int] = {}
        self.handlers: list[tuple[int, Any, Any]] = []
        self.attributes = dict(_DEFAULTS)
        self.attributes[ResourceAttribute.resource_name] = name
        self.attributes[ResourceAttribute.resource_class] = parsed.resource_class
        self.attributes[ResourceAttribute.interface_type] = kind
        board = getattr(parsed, "board", "0")
        self.attributes[ResourceAttribute.interface_number] = int(board) if board.isdigit() else 0
        if self.serial:
            self.attributes.update(_SERIAL)
        elif parsed.resource_class == "SOCKET":
            self.attributes[ResourceAttribute.suppress_end_enabled] = constants.VI_TRUE
            self.attributes[ResourceAttribute.tcpip_nodelay] = constants.VI_TRUE
            self.attributes[ResourceAttribute.tcpip_keepalive] = constants.VI_FALSE
        self.refresh()

    def refresh(self) -> None:
        """Derive what reads and writes need from the attributes."""
        attributes = self.attributes
        by_character = bool(attributes[ResourceAttribute.termchar_enabled])
        if self.serial:
            end_in = attributes[ResourceAttribute.asrl_end_in]
            by_character = by_character or end_in == constants.SerialTermination.termination_char
        self.stop: int | None = int(attributes[ResourceAttribute.termchar]) if by_character else None
        self.timeout = _seconds(attributes[ResourceAttribute.timeout_value])
        self.ended = not self.stream or not attributes[ResourceAttribute.suppress_end_enabled]
        self.sends_end = not self.stream and bool(attributes[ResourceAttribute.send_end_enabled])


class SimVisaLibrary(highlevel.VisaLibraryBase):
    """PyVISA's border: every VISA function that programs use, on the twins of one bench."""

    _benches: ClassVar[dict[str, Bench]] = {}
    _numbers: ClassVar[itertools.count[int]] = itertools.count(1)

    bench: Bench

    @classmethod
    def for_bench(cls, bench: Bench) -> SimVisaLibrary:
        """The library of a bench; benches do not see each other."""
        for path, known in cls._benches.items():
            if known is bench:
                return cls(LibraryPath(path))
        path = f"bench-{next(cls._numbers)}"
        cls._benches[path] = bench
        return cls(LibraryPath(path))

    @classmethod
    def forget(cls, bench: Bench) -> None:
        """Drop the reference to a bench."""
        for path in [path for path, known in cls._benches.items() if known is bench]:
            del cls._benches[path]

    @staticmethod
    def get_library_paths() -> tuple[LibraryPath, ...]:
        """Without a path (`ResourceManager("@labqdl")`) there is no bench; the name says so."""
        return (LibraryPath("unset"),)

    @staticmethod
    def get_debug_info() -> dict[str, Any]:
        """What `pyvisa-info` prints."""
        return {"Version": "simulated instruments of labqdl"}

    def _init(self) -> None:
        path = str(self.library_path)
        known = self._benches.get(path)
        if known is None:
            if path == "unset":
                raise InputError("'@labqdl' without a station file", expected="ResourceManager('station.toml@labqdl')")
            known = Bench.from_file(path)
        self.bench = known
        self._handles = itertools.count(1)
        self._managers: set[int] = set()
        self._opened: dict[int, _Open] = {}
        self._owners: dict[str, int] = {}
        self._guard = threading.Lock()

    # Resource manager

    def open_default_resource_manager(self) -> tuple[Any, StatusCode]:
        """viOpenDefaultRM."""
        handle = next(self._handles)
        self._managers.add(handle)
        return handle, self.handle_return_value(handle, _SUCCESS)  # type: ignore[arg-type]

    def list_resources(self, session: Any, query: str = "?*::INSTR") -> tuple[str, ...]:
        """viFindRsrc."""
        return rname.filter(self.bench.resources, query)

    def open(
        self,
        session: Any,
        resource_name: str,
        access_mode: constants.AccessModes = constants.AccessModes.no_lock,
        open_timeout: Any = constants.VI_TMO_IMMEDIATE,
    ) -> tuple[Any, StatusCode]:
        """viOpen: VI_ERROR_RSRC_NFOUND when nobody answers to that name, or refuses."""
        try:
            parsed = rname.parse_resource_name(resource_name)
        except rname.InvalidResourceName:
            return 0, self.handle_return_value(session, StatusCode.error_invalid_resource_name)
        twin = self.bench.find(resource_name)
        if twin is None:
            return 0, self.handle_return_value(session, StatusCode.error_resource_not_found)
        serial = parsed.interface_type_const == InterfaceType.asrl
        message_road = not serial and parsed.resource_class == "INSTR"
        try:
            made = twin.connect(exchange=message_road)
        except ConnectionRefusedError:
            return 0, self.handle_return_value(session, StatusCode.error_resource_not_found)
        handle = next(self._handles)
        opened = _Open(str(parsed), parsed, made, access_mode)
        if serial:
            made.baud = opened.attributes[ResourceAttribute.asrl_baud_rate]
        if opened.locked:
            if self._owners.get(twin.name) is not None:
                made.close()
                return 0, self.handle_return_value(session, StatusCode.error_resource_locked)
            self._owners[twin.name] = handle
        self._opened[handle] = opened
        return handle, self.handle_return_value(handle, _SUCCESS)  # type: ignore[arg-type]

    def close(self, session: Any) -> StatusCode:
        """viClose."""
        if session in self._managers:
            self._managers.discard(session)
            return self.handle_return_value(None, _SUCCESS)
        opened = self._opened.pop(session, None)
        if opened is None:
            return self.handle_return_value(None, _SUCCESS)  # an event context, or closed before
        if self._owners.get(opened.session.twin.name) == session:
            del self._owners[opened.session.twin.name]
        opened.session.close()
        return self.handle_return_value(None, _SUCCESS)

    def _refused(self, session: Any) -> StatusCode | None:
        """Why an operation on this session cannot be done, if so."""
        opened = self._opened.get(session)
        if opened is None:
            return StatusCode.error_invalid_object
        if self._owners and self._owners.get(opened.session.twin.name, session) != session:
            return StatusCode.error_resource_locked
        if opened.session.lost is not None:
            return StatusCode.error_connection_lost
        return None

    # Bytes

    def write(self, session: Any, data: bytes) -> tuple[int, StatusCode]:
        """viWrite; END goes with the last byte on message roads."""
        opened = self._opened.get(session)
        if opened is None or self._owners or opened.session.lost is not None:
            refused = self._refused(session)
            if refused is not None:
                return 0, self.handle_return_value(session, refused)
        assert opened is not None
        opened.session.feed(data, opened.sends_end)
        if opened.enabled:
            self._notice(session, opened)
        return len(data), self._succeeded(session)  # who writes does not notice yet that the line is dead

    def _succeeded(self, session: Any) -> StatusCode:
        """`handle_return_value` for plain success, without its detours."""
        self._last_status = _SUCCESS
        self._last_status_in_session[session] = _SUCCESS
        return _SUCCESS

    def read(self, session: Any, count: int) -> tuple[bytes, StatusCode]:
        """viRead: up to `count` bytes, the termination character or END, or VI_ERROR_TMO after the timeout."""
        opened = self._opened.get(session)
        if opened is None:
            return b"", self.handle_return_value(session, StatusCode.error_invalid_object)
        if self._owners:
            refused = self._refused(session)
            if refused == StatusCode.error_resource_locked:
                return b"", self.handle_return_value(session, refused)
        talk = opened.session
        clock = self.bench.clock
        now = clock.monotonic()
        stop = opened.stop
        if not opened.stream:
            with self.bench.lock:
                whole = talk.read_whole(count, stop, now)
            if whole is not None:
                return whole, self._succeeded(session)
        deadline = now + opened.timeout
        parts: list[bytes | memoryview] = []
        wanted = count
        while True:
            if not talk.replies:
                if talk.lost is not None:
                    return b"", self.handle_return_value(session, StatusCode.error_connection_lost)
                if parts and opened.stream and opened.ended and not opened.serial:
                    return b"".join(parts), self.handle_return_value(session, _SUCCESS)
                talk.unanswered()
                return self._timed_out(session, deadline)
            now = clock.monotonic()
            ready = talk.replies[0].ready_at
            if ready > now:
                if ready > deadline:
                    return self._timed_out(session, deadline)
                wait_until(clock, ready)
                continue
            with self.bench.lock:
                if not talk.replies:
                    continue
                piece, end = talk.read_until(wanted, stop)
            wanted -= len(piece)
            if not opened.stream and end and not parts:
                return bytes(piece), self.handle_return_value(session, _SUCCESS)
            parts.append(piece)
            if stop is not None and len(piece) and piece[-1] == stop:
                return b"".join(parts), self.handle_return_value(session, StatusCode.success_termination_character_read)
            if end and not opened.stream:
                return b"".join(parts), self.handle_return_value(session, _SUCCESS)
            if wanted <= 0:
                return b"".join(parts), self.handle_return_value(session, StatusCode.success_max_count_read)

    def _timed_out(self, session: Any, deadline: float) -> tuple[bytes, StatusCode]:
        clock = self.bench.clock
        if math.isinf(deadline):
            raise RuntimeError("a read without timeout for a reply that never comes")
        clock.sleep(deadline - clock.monotonic())
        return b"", self.handle_return_value(session, StatusCode.error_timeout)

    def clear(self, session: Any) -> StatusCode:
        """viClear."""
        return self._apply(session, lambda opened: opened.session.clear())

    def flush(self, session: Any, mask: Any) -> StatusCode:
        """viFlush: read buffers are dropped; writes are never held back."""
        discards = (
            constants.BufferOperation.discard_read_buffer | constants.BufferOperation.discard_read_buffer_no_io
            | constants.BufferOperation.discard_receive_buffer
        )  # fmt: skip

        def flush(opened: _Open) -> None:
            if int(mask) & int(discards):
                with self.bench.lock:
                    opened.session.discard()

        return self._apply(session, flush)

    def read_stb(self, session: Any) -> tuple[int, StatusCode]:
        """viReadSTB; streams have no serial poll."""
        refused = self._refused(session)
        if refused is None and self._opened[session].stream:
            refused = StatusCode.error_nonsupported_operation
        if refused is not None:
            return 0, self.handle_return_value(session, refused)
        return self._opened[session].session.status_byte(), self.handle_return_value(session, _SUCCESS)

    def assert_trigger(self, session: Any, protocol: constants.TriggerProtocol) -> StatusCode:
        """viAssertTrigger; streams have none."""
        opened = self._opened.get(session)
        if opened is not None and opened.stream:
            return self.handle_return_value(session, StatusCode.error_nonsupported_operation)
        return self._apply(session, lambda opened: opened.session.trigger())

    def gpib_control_ren(self, session: Any, mode: constants.RENLineOperation) -> StatusCode:
        """viGpibControlREN: accepted; twins are always remote."""
        return self._apply(session, lambda opened: None)

    def _apply(self, session: Any, action: Callable[[_Open], None]) -> StatusCode:
        refused = self._refused(session)
        if refused is None:
            action(self._opened[session])
        return self.handle_return_value(session, _SUCCESS if refused is None else refused)

    # Locks

    def lock(
        self, session: Any, lock_type: constants.Lock, timeout: int, requested_key: str | None = None
    ) -> tuple[str, StatusCode]:
        """viLock: exclusive only; shared ones are not there."""
        opened = self._opened.get(session)
        if opened is None:
            return "", self.handle_return_value(session, StatusCode.error_invalid_object)
        if lock_type != constants.Lock.exclusive:
            return "", self.handle_return_value(session, StatusCode.error_nonsupported_operation)
        with self._guard:
            name = opened.session.twin.name
            if self._owners.get(name, session) != session:
                return "", self.handle_return_value(session, StatusCode.error_resource_locked)
            self._owners[name] = session
        opened.attributes[ResourceAttribute.resource_lock_state] = constants.AccessModes.exclusive_lock
        return "", self.handle_return_value(session, _SUCCESS)

    def unlock(self, session: Any) -> StatusCode:
        """viUnlock."""
        opened = self._opened.get(session)
        if opened is None:
            return self.handle_return_value(session, StatusCode.error_invalid_object)
        with self._guard:
            if self._owners.get(opened.session.twin.name) != session:
                return self.handle_return_value(session, StatusCode.error_session_not_locked)
            del self._owners[opened.session.twin.name]
        opened.attributes[ResourceAttribute.resource_lock_state] = constants.AccessModes.no_lock
        return self.handle_return_value(session, _SUCCESS)

    # Attributes

    def get_attribute(self, session: Any, attribute: Any) -> tuple[Any, StatusCode]:
        """viGetAttribute."""
        opened = self._opened.get(session)
        if opened is None:
            return 0, self.handle_return_value(session, StatusCode.error_invalid_object)
        if attribute == ResourceAttribute.asrl_avalaible_number:
            return opened.session.waiting(), _SUCCESS
        if attribute not in opened.attributes:
            return 0, self.handle_return_value(session, StatusCode.error_nonsupported_attribute)
        return opened.attributes[attribute], self.handle_return_value(session, _SUCCESS)

    def set_attribute(self, session: Any, attribute: Any, attribute_state: Any) -> StatusCode:
        """viSetAttribute."""
        opened = self._opened.get(session)
        if opened is None:
            return self.handle_return_value(session, StatusCode.error_invalid_object)
        if attribute not in opened.attributes:
            return self.handle_return_value(session, StatusCode.error_nonsupported_attribute)
        opened.attributes[attribute] = attribute_state
        opened.refresh()
        if attribute == ResourceAttribute.asrl_baud_rate:
            opened.session.baud = int(attribute_state)
        return self.handle_return_value(session, _SUCCESS)

    # Events: service requests

    def enable_event(self, session: Any, event_type: Any, mechanism: Any, context: None = None) -> StatusCode:
        """viEnableEvent, service requests only."""
        if event_type != EventType.service_request:
            return self.handle_return_value(session, StatusCode.error_invalid_event)

        def enable(opened: _Open) -> None:
            opened.enabled[int(event_type)] = int(mechanism)

        return self._apply(session, enable)

    def disable_event(self, session: Any, event_type: Any, mechanism: Any) -> StatusCode:
        """viDisableEvent."""
        opened = self._opened.get(session)
        if opened is not None:
            opened.enabled.pop(int(event_type), None)
            if int(event_type) == int(EventType.all_enabled):
                opened.enabled.clear()
        return self.handle_return_value(None, _SUCCESS)

    def discard_events(self, session: Any, event_type: Any, mechanism: Any) -> StatusCode:
        """viDiscardEvents: nothing is queued, since `wait_on_event` asks for the status byte itself."""
        return self.handle_return_value(None, _SUCCESS)

    def install_handler(self, session: Any, event_type: Any, handler: Any, user_handle: Any = None) -> Any:
        """viInstallHandler: called from the write that raised the request."""
        opened = self._opened.get(session)
        if opened is None:
            return None, None, None, self.handle_return_value(session, StatusCode.error_invalid_object)
        opened.handlers.append((int(event_type), handler, user_handle))
        return handler, user_handle, handler, self.handle_return_value(session, _SUCCESS)

    def uninstall_handler(self, session: Any, event_type: Any, handler: Any, user_handle: Any = None) -> StatusCode:
        """viUninstallHandler."""
        opened = self._opened.get(session)
        if opened is not None:
            opened.handlers = [entry for entry in opened.handlers if entry[:2] != (int(event_type), handler)]
        return self.handle_return_value(None, _SUCCESS)

    def _notice(self, session: Any, opened: _Open) -> None:
        """Call the handlers when the instrument requests service after a write."""
        mechanism = opened.enabled.get(int(EventType.service_request), 0)
        if mechanism & int(EventMechanism.handler) and opened.session.status_byte() & 64:
            for event_type, handler, user_handle in opened.handlers:
                if event_type == int(EventType.service_request):
                    handler(session, EventType.service_request, next(self._handles), user_handle)

    def wait_on_event(self, session: Any, in_event_type: Any, timeout: int) -> tuple[Any, Any, StatusCode]:
        """viWaitOnEvent: until the instrument requests service, or VI_ERROR_TMO."""
        opened = self._opened.get(session)
        if opened is None:
            return in_event_type, 0, self.handle_return_value(session, StatusCode.error_invalid_object)
        if int(EventType.service_request) not in opened.enabled:
            return in_event_type, 0, self.handle_return_value(session, StatusCode.error_not_enabled)
        clock = self.bench.clock
        left = _seconds(timeout)
        while not opened.session.status_byte() & 64:
            if left <= 0:
                return in_event_type, 0, self.handle_return_value(session, StatusCode.error_timeout)
            slice_ = min(_WAIT_SLICE, left)
            clock.sleep(slice_)
            left -= slice_
        return EventType.service_request, next(self._handles), self.handle_return_value(session, _SUCCESS)


def _seconds(milliseconds: Any) -> float:
    value = int(milliseconds)
    return math.inf if value == constants.VI_TMO_INFINITE else value / 1000
