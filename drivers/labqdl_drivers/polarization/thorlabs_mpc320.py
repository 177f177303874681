"""Thorlabs MPC320 and MPC220 motorised fibre polarisation controllers (APT messages)."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from labqdl.driver import Custom, Driver, Uses, reasons
from labqdl.instruments import Identity, Limit, LimitError, Paddle, PolarizationController, ReadBack
from labqdl.transport import Framing, InstrumentError, ProtocolError, RoadOptions

HOST, UNIT, LONG = 0x01, 0x50, 0x80
TRAVEL = math.radians(170.0)
COUNT = TRAVEL / 1370
"""Angle of one encoder count, in rad."""
MOVING, HOMED, ENABLED = 0x2F0, 0x400, 0x8000_0000
FAULTS = {0x4000: "motion error", 0x2_0000: "over-temperature", 0x100_0000: "current limit"}
_LONGEST = 256
"""Bytes of data; the sheet's longest message has 84."""
_EXACT = ReadBack(timeout=1.0)


@dataclass(frozen=True, slots=True)
class AptFraming:
    """Messages of 6 bytes; where bit 7 of the destination is set, bytes 2 and 3 are the length of data that follow."""

    @property
    def end(self) -> int | None:
        """None: any byte may be the last."""
        return None

    def wrap(self, message: bytes) -> bytes:
        """The message itself."""
        return message

    def complete(self, buffer: bytes) -> int | None:
        """Length of the first message. ProtocolError where it is not from the unit to us: the stream is out of step."""
        if len(buffer) < 6:
            return None
        size = 6
        if buffer[4] & LONG:
            size += int.from_bytes(buffer[2:4], "little")
        if (buffer[4] & ~LONG, buffer[5]) != (HOST, UNIT) or size > 6 + _LONGEST:
            raise ProtocolError(f"no message of the unit begins with {bytes(buffer[:6]).hex(' ')}")
        return size if len(buffer) >= size else None

    def unwrap(self, frame: bytes) -> bytes:
        """The message itself."""
        return frame


def short(message: int, first: int = 0, second: int = 0) -> bytes:
    """A message without data."""
    return struct.pack("<HBBBB", message, first, second, UNIT, HOST)


def long(message: int, layout: str, *numbers: int) -> bytes:
    """A message with data, low bytes first."""
    data = struct.pack("<" + layout, *numbers)
    return struct.pack("<HHBB", message, len(data), UNIT | LONG, HOST) + data


class Status(NamedTuple):
    """What a paddle does: counts, signed velocity, motor current in mA, status bits."""

    mask: int
    position: int
    velocity: int
    current: int
    bits: int


def _steps(_: object, angle: float) -> float:
    """The angle in whole counts."""
    return round(angle / COUNT) * COUNT


class FibrePaddle(Paddle):
    """One of the paddles. The angle is the paddle's own, 0 to 170 degrees in steps of 0.12."""

    @property
    def mask(self) -> int:
        """Its bit in messages."""
        return 1 << (self.number - 1)

    @property
    def unit(self) -> ThorlabsMPC320:
        """The controller."""
        assert isinstance(self.instrument, ThorlabsMPC320)
        return self.instrument

    @Uses("0x0490")
    def status(self) -> Status:
        """Ask what it does. ProtocolError where the answer has another length."""
        return Status(*self.unit.request(short(0x0490, self.mask), 0x0491, "HihhI", self.mask))

    def _enabled(self) -> bool:
        return bool(self.unit.request(short(0x0211, self.mask), 0x0212, "xxBBxx", self.mask)[1] == 1)

    def _angle(self) -> float:
        return self.status().position * COUNT

    def _turn_to(self, angle: float) -> None:
        self._move(long(0x0453, "Hi", self.mask, round(angle / COUNT)))

    angle = Custom(
        float,
        _angle,
        _turn_to,
        unit="rad",
        limits=Limit(0.0, TRAVEL, "of the travel, 0 to 170 degrees"),
        rounds=_steps,
        done=ReadBack(absolute=5 * COUNT, relative=0.0, timeout=5.0, interval=0.02),
        uses=("0x0453", "0x0490"),
    )
    enabled = Custom(bool, _enabled, uses=("0x0211",), doc="Whether its motor is switched on.")
    current = Custom(float, lambda one: one.status().current * 1e-3, unit="A", doc="Current of its motor.")
    jog_step = Custom(
        float,
        lambda one: one.unit.parameters()[2 + one.number] * COUNT,
        lambda one, angle: one.unit.set_parameter(2 + one.number, round(angle / COUNT)),
        unit="rad",
        limits=(COUNT, TRAVEL),
        rounds=_steps,
        done=_EXACT,
        doc="Step of `jog`.",
    )

    @Uses("0x0448")
    def turn(self, angle: float) -> None:
        """Turn by an angle in rad, and wait until it is there. LimitError where that leaves the travel."""
        target = self.angle + angle
        limit = Limit(0.0, TRAVEL, "of the travel, 0 to 170 degrees")
        if not limit.allows(target):
            raise LimitError(self.path("angle"), target, "rad", limit, instrument=self.unit.name)
        self._move(long(0x0448, "Hi", self.mask, round(angle / COUNT)))

    @Uses("0x046A")
    def jog(self, forward: bool = True) -> None:
        """Make one step, and wait until it is done; the unit itself stops at the ends."""
        self._move(short(0x046A, self.mask, 1 if forward else 2))

    @Uses("0x0443")
    def home(self) -> None:
        """Search the reference position, and wait until it is found (some seconds)."""
        with self.unit.exclusive():
            self.unit.send(short(0x0443, self.mask))
            self.unit.receive(0x0444, self.mask, timeout=20.0)

    @Uses("0x0465")
    def stop(self) -> None:
        """Stop at once, and confirm that it stands."""
        with self.unit.exclusive():
            self.unit.send(short(0x0465, self.mask, 1))
            stands = f"have {self.label} standing"
            self.unit.wait_until(lambda: not self.status().bits & MOVING, 1.0, stands, interval=0.02)

    def _move(self, message: bytes) -> None:
        with self.unit.exclusive():
            bits = self.status().bits
            if not bits & ENABLED:
                self.unit.enable()
            if not bits & HOMED:
                self.home()
            self.unit.send(message)
            self.unit.receive(0x0464, self.mask, timeout=10.0)
            bits = self.status().bits
        for fault, words in FAULTS.items():
            if bits & fault:
                raise self.unit.transport.complain(InstrumentError(f"{self.label}: {words}", code=fault), message)


class ThorlabsMPC320(Driver, PolarizationController):
    """Three paddles (MPC320) or two (MPC220).

    A paddle whose motor is off is switched on with all others before it moves, and one that has no reference position
    yet (after power-up) searches it first. Values out of range would be clipped without a word; they are refused here.
    Reports that nobody waits for any more (a move that was stopped) are passed over. The unit needs RTS set; the 50 ms
    that the maker waits after it are not kept: everything is answered or confirmed. (About 300 lines, with its frames.)
    """

    maker = "Thorlabs"
    models = ("MPC320", "MPC220")
    sheet = "polcontrol_thorlabs_mpc320"
    identity_pattern = r"Thorlabs MPC[23]20"
    framing: ClassVar[Framing] = AptFraming()
    road = RoadOptions(baudrate=115_200, rtscts=True)
    timeout = 0.5
    spacing = 0.01  # more than 100 requests a second upset one unit
    unasked = True
    left_out: ClassVar = reasons(
        {
            "0x0011 0x0012 0x0492": "status is asked for, and not sent ten times a second",
            "0x0002": "the serial port is simply closed",
            "0x0223": "a light on the box",
        }
    )
    _paddles = 3

    @Uses("0x0005")
    def identity(self) -> Identity:
        """Model, serial number and firmware."""
        serial, model, minor, interim, major, paddles = self.request(short(0x0005), 0x0006, "I8s2x3Bx60x4xH")
        self._paddles = paddles
        return Identity(
            self.maker, model.rstrip(b"\0 ").decode("ascii", "replace"), str(serial), f"{major}.{interim}.{minor}"
        )

    def channels(self) -> Mapping[int, FibrePaddle]:
        """The paddles, from 1."""
        return {number: FibrePaddle(self, number) for number in range(1, self._paddles + 1)}

    @Uses("0x0210")
    def enable(self) -> None:
        """Switch all motors on, in one message: it switches those off that it does not name."""
        paddles = self.channels().values()
        self.send(short(0x0210, sum(paddle.mask for paddle in paddles), 1))
        for paddle in paddles:
            self.confirm(paddle, "enabled", True)

    @Uses("0x0531")
    def parameters(self) -> list[int]:
        """Unused, velocity in percent, home position and jog steps in counts."""
        return list(self.request(short(0x0531), 0x0532, "6H"))

    @Uses("0x0530")
    def set_parameter(self, index: int, number: int) -> None:
        """Change one of `parameters`, which go together."""
        with self.exclusive():
            numbers = self.parameters()
            numbers[index] = number
            self.send(long(0x0530, "6H", *numbers))

    speed = Custom(
        float,
        lambda unit: unit.parameters()[1] / 100,
        lambda unit, share: unit.set_parameter(1, round(share * 100)),
        unit="1",
        limits=(0.1, 1.0),
        rounds=lambda _, share: round(share * 100) / 100,
        done=_EXACT,
        doc="Speed as a share of 400 degrees per second.",
    )
    home_angle = Custom(
        float,
        lambda unit: unit.parameters()[2] * COUNT,
        lambda unit, angle: unit.set_parameter(2, round(angle / COUNT)),
        unit="rad",
        limits=(0.0, TRAVEL),
        rounds=_steps,
        done=_EXACT,
        doc="Angle to which paddles go at the end of `home`.",
    )

    @Uses("0x04B9")
    def save(self) -> None:
        """Keep speed, home angle and jog steps through power-off."""
        self.send(long(0x04B9, "HH", 1, 0x0530))

    def safe_state(self) -> None:
        """Stop all paddles."""
        with self.unconditionally():
            self.try_all(*(paddle.stop for paddle in self.channels().values()))

    def send(self, message: bytes) -> None:
        """Send a message that has no answer of its own."""
        self.transport.write(message)

    def receive(self, message: int, mask: int | None, *, timeout: float | None = None) -> bytes:
        """Wait for a message (of the paddle with this mask), passing over others; InstrumentError for a fault."""
        end = self.clock.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            frame = self.transport.read(timeout=max(end - self.clock.monotonic(), 1e-3))
            found = int.from_bytes(frame[:2], "little")
            if found == message and (mask is None or frame[6 if frame[4] & LONG else 2] == mask):
                return frame
            if found in (0x0080, 0x0081):
                raise self.transport.complain(_fault(frame))

    def request(self, message: bytes, reply: int, layout: str, mask: int | None = None) -> tuple[Any, ...]:
        """Send a request and take the numbers of its reply: of its data, or of all six bytes where it has none."""
        with self.exclusive():
            self.send(message)
            frame = self.receive(reply, mask)
        data = frame[6:] or frame
        if len(data) != struct.calcsize("<" + layout):
            error = ProtocolError(f"message {reply:04X} hex has {len(data)} bytes of data: {frame.hex(' ')}")
            raise self.transport.complain(error, message)
        return struct.unpack("<" + layout, data)


def _fault(frame: bytes) -> InstrumentError:
    """What a fault report says; the short one says nothing."""
    if len(frame) < 10:
        return InstrumentError("a fault without words (HW_RESPONSE)")
    about, code = struct.unpack_from("<HH", frame, 6)
    words = frame[10:].split(b"\0")[0].decode("ascii", "replace")
    return InstrumentError(f"{words} (message {about:04X} hex)", code=code)
