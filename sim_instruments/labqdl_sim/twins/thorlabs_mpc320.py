"""Thorlabs MPC320 and MPC220: fibre polarisation controllers, APT frames (sheet polcontrol_thorlabs_mpc320.md).

Light enters "input" and leaves "output"; where the paddles stand says `angles(t)`, what they do to polarisation says
`jones(t)`, for whoever couples the twin to light that has one.

What the sheet leaves open, and what stands here:

- After power-on all paddles are disabled, not homed, at 0. A disabled paddle that is told to move says nothing;
  disabling stops it where it is. Moves without homing are carried out, their status lacks "homed".
- CHANENABLESTATE with 2 disables the paddles of its mask, and as always those that are not in it: all.
- A move lasts 0.1 s plus its way at the set speed, at even speed. Homing goes to 0, then to the home position, and
  lasts 1 s more. A new move takes the place of a running one, whose MOVE_COMPLETED never comes. Several paddles in one
  message move together; each one tells its end. Moves of no way are over after 0.1 s.
- Positions, velocities and steps beyond their ranges are clipped.
- Stop: STOPPED (header only) comes at once, for a profiled stop 0.1 s later; the paddle stops at once in both cases.
- At rest the status word has "homed" and "channel enabled" only, as in the sheet's frames, and the limits at 0 and
  1370. In motion: moving and, where it is so, jogging or homing, a velocity in counts/s and 100 mA.
- Jog steps and home position at power-on: 40 counts and 685; velocity 50 %.
- Status updates come at 10 Hz for every paddle, for 5 s behind the last start or acknowledgement (0x0492).
- MOVE_COMPLETED carries status; with the option `short_completed` it is a header only, as some firmware does.
- SET_EEPROMPARAMS with 0x0530 keeps the parameters for the next power-on; other messages are kept nowhere.
- Bytes that begin no message from 0x01 to 0x50 are passed over, as are messages of more than 255 data bytes and
  messages whose data have a wrong length. Unknown ones get no reply.
- A fault "error" is told with HW_RICHRESPONSE (0x0081). The "stay-on" and "interlock" faults mean nothing here.

RTS/CTS are not simulated: roads have no such lines.
"""

from __future__ import annotations

import cmath
import math
import struct
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl.units import from_db
from labqdl_sim.frames import FrameTwin, frame
from labqdl_sim.ports import Light
from labqdl_sim.twin import Reply, Session

_HOST, _UNIT = 0x01, 0x50
_TRAVEL = 1370
_DEGREES = 170.0
_FULL_SPEED = 400.0 * _TRAVEL / _DEGREES  # counts/s
_START = 0.1  # s that every move takes besides its way
_PARAMETERS = (0, 50, 685, 40, 40, 40)
_UPDATES = 50
_PLATES = (0.25, 0.5, 0.25)  # retardation of the paddles in waves: two turns, four, two
_FORWARD, _REVERSE, _JOG, _HOMING = 0x10, 0x20, 0x40, 0x200
_HOMED, _ENABLED = 0x400, 0x80000000


@dataclass
class _Paddle:
    """One paddle: from where to where it goes, when, and what that is (status bits)."""

    path: tuple[tuple[float, float], ...] = ((0.0, 0.0),)  # (time, counts), even speed in between
    kind: int = 0
    enabled: bool = False
    homed_at: float = math.inf

    def position(self, t: float) -> float:
        """Counts at a time."""
        times, places = zip(*self.path, strict=True)
        return float(np.interp(t, times, places))

    def velocity(self, t: float) -> float:
        """Counts a second."""
        for (begin, start), (end, stop) in zip(self.path, self.path[1:], strict=False):
            if begin <= t < end:
                return (stop - start) / (end - begin)
        return 0.0

    def moving(self, t: float) -> bool:
        """Whether it is on its way."""
        return t < self.path[-1][0]

    def rest(self, t: float) -> None:
        """Stay where it is now."""
        if self.moving(t):
            self.abandon(t)
            self.path, self.kind = ((t, float(round(self.position(t)))),), 0

    def abandon(self, t: float) -> None:
        """Homing that is not over is in vain."""
        if t < self.homed_at:
            self.homed_at = math.inf


class _Framer:
    """APT: six bytes; with bit 7 of the destination, data behind them."""

    def measure(self, buffer: bytearray) -> int:
        """See `Framer`."""
        if len(buffer) < 6:
            return 0
        if buffer[4] & 0x7F != _UNIT or buffer[5] != _HOST:
            return -1
        if not buffer[4] & 0x80:
            return 6
        length = int.from_bytes(buffer[2:4], "little")
        if length > 255:
            return -6
        return 6 + length if len(buffer) >= 6 + length else 0


class ThorlabsMpc320(FrameTwin):
    """An MPC320, or with `model` "MPC220" the one with two paddles.

    Options: `short_completed` (MOVE_COMPLETED without data), `loss` (dB).
    """

    maker = "Thorlabs"
    model = "MPC320"
    serial = "38000001"
    firmware = "1.0.3"
    resources = ("ASRL{name}::INSTR", "ASRL{serial}::INSTR")
    baud = 115200
    framer = _Framer()

    def setup(self) -> None:
        """Open the fibres."""
        if self.model not in ("MPC320", "MPC220"):
            raise InputError(f"no polarisation controller {self.model!r}", key="model", expected="MPC320 or MPC220")
        if not self.serial.isdigit() or int(self.serial) >= 1 << 32:
            raise InputError(f"the serial number is {self.serial!r}", key="serial", expected="digits, such as 38000001")
        self.count = 3 if self.model == "MPC320" else 2
        self.short = self.option("short_completed", False)
        self.loss = from_db(-self.option("loss", 0.2))
        self.stored = _PARAMETERS
        self.updating: dict[Session, float] = {}  # until when updates are sent
        self.announced: list[tuple[Session, Reply, int | None]] = []  # paddle, or None for an update
        fibre = self.light_in("input")

        def leaves(t: float) -> Light:
            light = fibre.at(t)
            return replace(light, power=light.power * self.loss)

        self.light_out("output", leaves)

    def reset(self) -> None:
        """Power-on: nothing enabled, nothing homed, nothing moves."""
        for session, reply, _ in self.announced:
            session.withdraw(reply)
        self.announced.clear()
        self.updating.clear()
        self.parameters = self.stored
        self.paddles = [_Paddle() for _ in range(self.count)]

    def angles(self, t: float) -> NDArray[np.float64]:
        """Angles of the paddles at time t in rad, shape (2,) or (3,)."""
        return np.radians([paddle.position(t) * _DEGREES / _TRAVEL for paddle in self.paddles])

    def jones(self, t: float) -> NDArray[np.complex128]:
        """Jones matrix at time t, shape (2, 2): quarter, half and quarter wave plate at the paddles' angles."""
        matrix = np.eye(2, dtype=np.complex128)
        for angle, waves in zip(self.angles(t), _PLATES, strict=False):
            cos, sin = math.cos(angle), math.sin(angle)
            turn = np.array([[cos, -sin], [sin, cos]])
            matrix = (
                turn @ np.diag([cmath.exp(-1j * math.pi * waves), cmath.exp(1j * math.pi * waves)]) @ turn.T @ matrix
            )
        return matrix

    # Frames

    def opcode(self, data: bytes) -> int:
        """The message number."""
        return int.from_bytes(data[:2], "little")

    def spurious_error(self, code: int, text: str) -> None:
        """A fault that the unit reports by itself."""
        data = struct.pack("<HH64s", 0, code & 0xFFFF, text.encode("latin-1", "replace"))
        for session in self.sessions:
            session.announce(_long(0x0081, data), 0.0)

    def chosen(self, mask: int) -> list[int]:
        """Indices of the paddles in a mask."""
        return [index for index in range(self.count) if mask >> index & 1]

    def status(self, index: int, t: float) -> bytes:
        """The 14 bytes of status."""
        paddle = self.paddles[index]
        position = round(paddle.position(t))
        bits = (
            _HOMED * (t >= paddle.homed_at) | _ENABLED * paddle.enabled | (position == _TRAVEL) | (position == 0) << 1
        )
        if paddle.moving(t):
            forward = paddle.velocity(t) >= 0
            bits |= (_FORWARD if forward else _REVERSE) | (0 if paddle.kind != _JOG else _JOG if forward else 2 * _JOG)
            bits |= paddle.kind & _HOMING
        velocity = round(paddle.velocity(t))
        return struct.pack("<HihhI", 1 << index, position, velocity, 100 * paddle.moving(t), bits)

    def go(self, index: int, target: float, kind: int = 0) -> None:
        """Start a move; its end is announced."""
        paddle, now = self.paddles[index], self.now
        if not paddle.enabled:
            return
        speed = self.parameters[1] / 100 * _FULL_SPEED
        begin, target = paddle.position(now), min(max(target, 0), _TRAVEL)
        if kind == _HOMING:
            turn = now + _START + abs(begin) / speed
            end = turn + 1.0
            paddle.path = ((now, begin), (turn, 0.0), (end, 0.0), (end + _START + target / speed, target))
        else:
            paddle.path = ((now, begin), (now + _START + abs(target - begin) / speed, target))
        paddle.kind, end = kind, paddle.path[-1][0]
        paddle.abandon(now)
        if kind == _HOMING:
            paddle.homed_at = end
            data = _short(0x0444, 1 << index)
        else:
            data = _short(0x0464, 1 << index) if self.short else _long(0x0464, self.status(index, end))
        self.tell(data, end, index)

    def tell(self, data: bytes, at: float, paddle: int | None) -> None:
        """Announce to everybody who listens, in the place of what was announced for this paddle."""
        self.forget(paddle)
        for session in self.sessions:
            now = max(session.time, self.clock.monotonic())
            self.announced.append((session, session.announce(data, at - now), paddle))

    def forget(self, paddle: int | None) -> None:
        """Take back what was announced for a paddle and is not due yet."""
        now = self.now
        for session, reply, index in self.announced:
            if index == paddle and reply.ready_at > now:
                session.withdraw(reply)
        self.announced = [one for one in self.announced if one[2] != paddle and one[1].ready_at > now]

    def execute(self, message: bytes) -> bytes | None:
        """One message; updates that were announced tell what it changed."""
        reply = super().execute(message)
        if self.updating:
            self.refresh()
        return reply

    def refresh(self) -> None:
        """Announce the coming status updates anew."""
        now = self.now
        self.forget(None)
        for session, until in list(self.updating.items()):
            if session not in self.sessions or until <= now:
                del self.updating[session]
                continue
            here = max(session.time, self.clock.monotonic())
            for step in range(_UPDATES, 0, -1):
                at = until - (step - 1) * 0.1
                for index in range(self.count if at > now else 0):
                    update = session.announce(_long(0x0491, self.status(index, at)), at - here)
                    self.announced.append((session, update, None))

    @frame(0x0002)
    def disconnect(self, data: bytes) -> None:
        """The host goes."""
        if self.session is not None:
            self.updating.pop(self.session, None)
            self.forget(None)

    @frame(0x0005)
    def information(self, data: bytes) -> bytes:
        """Who this is."""
        major, interim, minor = (int(part) & 0xFF if part.isdigit() else 0 for part in self._version())
        return _long(0x0006, struct.pack(
            "<I8sH4B60xHHH", int(self.serial), self.model.encode(), 44, minor, interim, major, 0, 1, 0, self.count
        ))  # fmt: skip

    def _version(self) -> list[str]:
        return [*self.firmware.split("."), "0", "0", "0"][:3]

    @frame(0x0011)
    def start_updates(self, data: bytes) -> None:
        """Status at 10 Hz."""
        if self.session is not None:
            self.updating[self.session] = self.now + _UPDATES * 0.1

    @frame(0x0492)
    def acknowledge(self, data: bytes) -> None:
        """The host still reads."""
        if self.session in self.updating:
            self.start_updates(data)

    @frame(0x0012)
    def stop_updates(self, data: bytes) -> None:
        """No more status unasked."""
        self.disconnect(data)

    @frame(0x0223)
    def identify(self, data: bytes) -> None:
        """Flash; nobody sees it."""

    @frame(0x0210)
    def enable(self, data: bytes) -> None:
        """Enable the paddles of a mask, disable all others."""
        if len(data) != 6 or data[3] not in (1, 2):
            return
        for index, paddle in enumerate(self.paddles):
            paddle.enabled = bool(data[2] >> index & 1) and data[3] == 1
            if not paddle.enabled and paddle.moving(self.now):
                paddle.rest(self.now)
                self.forget(index)

    @frame(0x0211)
    def enabled(self, data: bytes) -> bytes | None:
        """Whether all paddles of a mask are enabled."""
        chosen = self.chosen(data[2])
        if not chosen:
            return None
        return _short(0x0212, data[2], 1 if all(self.paddles[index].enabled for index in chosen) else 2)

    @frame(0x0443)
    def home(self, data: bytes) -> None:
        """Find 0, go to the home position."""
        for index in self.chosen(data[2]):
            self.go(index, self.parameters[2], _HOMING)

    @frame(0x0453)
    def move_to(self, data: bytes) -> None:
        """Go to a position."""
        if len(data) == 12:
            mask, target = struct.unpack("<Hi", data[6:])
            for index in self.chosen(mask):
                self.go(index, target)

    @frame(0x0448)
    def move_by(self, data: bytes) -> None:
        """Go a way."""
        if len(data) == 12:
            mask, way = struct.unpack("<Hi", data[6:])
            for index in self.chosen(mask):
                self.go(index, round(self.paddles[index].position(self.now)) + way)

    @frame(0x046A)
    def jog(self, data: bytes) -> None:
        """Go one step."""
        if data[3] in (1, 2):
            for index in self.chosen(data[2]):
                step = self.parameters[3 + index] * (1 if data[3] == 1 else -1)
                self.go(index, round(self.paddles[index].position(self.now)) + step, _JOG)

    @frame(0x0465)
    def stop(self, data: bytes) -> None:
        """Stop; told by STOPPED."""
        now = self.now
        for index in self.chosen(data[2]):
            self.paddles[index].rest(now)
            self.tell(_short(0x0466, 1 << index), now + (_START if data[3] == 2 else 0.0), index)

    @frame(0x0490)
    def ask_status(self, data: bytes) -> bytes | None:
        """Status of the paddles of a mask, one message each."""
        return b"".join(_long(0x0491, self.status(index, self.now)) for index in self.chosen(data[2])) or None

    @frame(0x0530)
    def set_parameters(self, data: bytes) -> None:
        """Velocity, home position, jog steps."""
        if len(data) == 18:
            unused, velocity, *places = struct.unpack("<6H", data[6:])
            self.parameters = (unused, min(max(velocity, 10), 100), *(min(place, _TRAVEL) for place in places))

    @frame(0x0531)
    def get_parameters(self, data: bytes) -> bytes:
        """Velocity, home position, jog steps."""
        return _long(0x0532, struct.pack("<6H", *self.parameters))

    @frame(0x04B9)
    def store(self, data: bytes) -> None:
        """Keep parameters for the next power-on."""
        if len(data) == 10 and struct.unpack("<HH", data[6:])[1] == 0x0530:
            self.stored = self.parameters


def _short(number: int, first: int = 0, second: int = 0) -> bytes:
    return struct.pack("<H4B", number, first, second, _HOST, _UNIT)


def _long(number: int, data: bytes) -> bytes:
    return struct.pack("<HHBB", number, len(data), _HOST | 0x80, _UNIT) + data


TWIN = ThorlabsMpc320
