"""OIF ITLA-MSA tunable lasers: Pure Photonics PPCL200 to 700, and every other module with the MSA's registers."""

from __future__ import annotations

import math
import struct
from contextlib import suppress
from enum import StrEnum
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from labqdl.driver import CELSIUS, Count, Custom, Dbm, Flag, FrameInstrument, Pick, Scale, Uses, Word, reasons
from labqdl.errors import InputError
from labqdl.instruments import Identity, Laser, Limit, NotConfirmed, OperationComplete, Part, SettingsChanged
from labqdl.transport import InstrumentError, ProtocolError, RoadOptions, TransportTimeout
from labqdl.units import LIGHT_SPEED
from labqdl_drivers.lasers.itla_frames import ERRORS, FATAL_BITS, ItlaFraming

_OK, _XE, _AEA, _PENDING = range(4)
_REPEAT_CODE = 4  # CIP
_NOT_IMPLEMENTED = 1
_LIVE, _DISABLED, _ALARM = 0x0F00, 0x1000, 0x4000


class NoiseMode(StrEnum):
    """What the module's control loops do (Pure Photonics)."""

    DITHER = "dither"
    NO_DITHER = "no dither"
    WHISPER = "whisper"


def _no_vendor(laser: ItlaLaser) -> str:
    return "its vendor registers (0x90 and on) are not implemented" if 0x90 in laser.lacking else ""


class _LoopWord(Word):
    """A set point that the module cannot reach while its loops are frozen."""

    def store(self, part: Part, value: float) -> None:
        """Refuse in whisper mode, else write."""
        cast(ItlaLaser, part.instrument).demand_loops(self.name)
        super().store(part, value)


class ItlaLaser(FrameInstrument, Laser):
    """A tunable laser by the OIF's multi-source agreement.

    `emission` returns when nothing is pending and the alarm bit says that the laser is locked (a cold start takes up to
    30 s). Wavelength and channel can be changed with the output off only; both, the power and emission, only in noise
    mode DITHER. Setting the wavelength writes the first channel and goes to channel 1; `fine_tune` adds to it.
    Opening a serial port may toggle modem lines, upon which some boards let light out: keep a shutter closed.
    Less than 80 % of the registers are used: firmware download and trigger lines are not for a bench, and the vendor's
    registers of clean jump and scan differ between firmwares. Long for what one quantity takes: frequencies stand in
    three registers each, strings and arrays in a buffer, and every operation may be pending.
    """

    maker = "Pure Photonics"
    models = ("PPCL200", "PPCL300", "PPCL550", "PPCL551", "PPCL600", "PPCL700", "any ITLA by OIF-ITLA-MSA-01.2 or 01.3")
    sheet = "laser_pure_photonics_itla"
    framing = ItlaFraming()
    road = RoadOptions(baudrate=9600)
    timeout = 0.5
    left_out: ClassVar = reasons(
        {
            "0x09 0x0A 0x0E 0x0F 0x10": "manual extended addresses; arrays and texts come without them",
            "0x08": "storing as default would change what the laser does at the next start",
            "0x0D": "a module that was left at another baud rate is lost to everybody else",
            "0x13": "a bad frame closes the connection, and nothing is repeated",
            "0x14 0x15": "firmware download",
            "0x28 0x29 0x2A": "trigger lines of the connector",
            "0x63 0x64": "MHz parts of the frequency thresholds",
            "0x65": "no module has so many channels",
            "0x69 0x6A 0x6B": "MHz parts of the limits; the coarse ones lie inside",
            "0xD0 0xD1 0xD2 0xE9 0xEA 0xEB 0xEC 0xED": "clean jumps need a calibration of the module",
            "0xE0": "password of locked units",
            "0xE7 0xE8 0xF0 0xF1 0xF2": "the sheet's sources disagree on their meaning",
        }
    )

    # Until `learn` has asked the module.
    lacking: frozenset[int] = frozenset()
    levels = Limit(reason="of the module, not read yet")
    band = Limit(reason="of the module, not read yet")
    fine_range = Limit(reason="of the module, not read yet")
    _frozen = False
    _pending = False

    def _set_emission(self, on: bool) -> None:
        if on:
            self.demand_loops("emission")
            self.write_register(0x32, b"\x00\x08")
            self.wait_complete(60.0)
            self._wait_for_lock(60.0)
        else:
            self._switch_off(10.0)
        self.confirm(self, "emission", on)

    emission = Custom(bool, lambda laser: bool(laser.word(0x32) & 0x08), _set_emission, uses=("0x32", "0x00", "0x20"))

    power = _LoopWord(
        0x31,
        ">h",
        unit="W",
        wire=Dbm(0.01),
        settable=True,
        limits=lambda laser: laser.levels,
        done=OperationComplete(30.0),
    )
    measured_power = Word(0x42, ">h", unit="W", wire=Dbm(0.01))
    temperature = Word(0x43, ">h", unit="K", wire=Scale(0.01, 273.15))

    def _first(self) -> float:
        return self.word(0x35) * 1e12 + self.word(0x36) * 1e8 + self._megahertz(0x67)

    def _wavelength(self) -> float:
        grid = self.grid
        return LIGHT_SPEED / (self._first() + (self.channel - 1) * grid)

    def _channels(self) -> Limit:
        if math.isinf(self.band.high):
            return Limit(1, 65535, "of the register")
        with self.exclusive():
            first, grid = self._first(), self.grid
        end = LIGHT_SPEED / (self.band.low if grid > 0 else self.band.high)
        last = 65535 if grid == 0 else max(1, min(65535, int((end - first) / grid + 1e-6) + 1))
        return Limit(1, last, "of the band on the present grid")

    def _set_wavelength(self, value: float) -> None:
        self.demand_loops("wavelength")
        if 0x67 in self.lacking:
            tenths, rest = round(LIGHT_SPEED / value / 1e8), None
        else:
            tenths, rest = divmod(round(LIGHT_SPEED / value / 1e6), 100)
        for register, number in ((0x35, tenths // 10_000), (0x36, tenths % 10_000), (0x67, rest), (0x30, 1)):
            if number is not None:
                self.write_register(register, struct.pack(">H", number))
                self.wait_complete(60.0)

    wavelength = Custom(
        float,
        _wavelength,
        _set_wavelength,
        unit="m",
        uses=("0x35", "0x36", "0x67", "0x30"),
        limits=lambda laser: laser.band,
    ).moving("channel")
    measured_wavelength = Custom(
        float,
        lambda laser: LIGHT_SPEED / (laser.word(0x40) * 1e12 + laser.word(0x41) * 1e8 + laser._megahertz(0x68)),
        unit="m",
        uses=("0x40", "0x41", "0x68"),
        doc="Vacuum wavelength as the module reports it.",
    )
    channel = Count(
        0x30,
        ">H",
        settable=True,
        limits=lambda laser: laser._channels(),
        done=OperationComplete(60.0),
        doc="Channel on the grid, from 1.",
    ).moving("wavelength")

    @property
    def grid_step(self) -> float:
        """Step of the grid in Hz: 0.1 GHz where the register of the MHz part is lacking."""
        return 1e8 if 0x66 in self.lacking else 1e6

    def _set_grid(self, value: float) -> None:
        tenths, rest = divmod(round(value / self.grid_step) * round(self.grid_step / 1e6), 100)
        self.write_register(0x34, struct.pack(">h", tenths))
        self.wait_complete(60.0)
        if 0x66 not in self.lacking:
            self.write_register(0x66, struct.pack(">h", rest))

    grid = Custom(
        float,
        lambda laser: laser.word(0x34, ">h") * 1e8 + laser._megahertz(0x66),
        _set_grid,
        unit="Hz",
        uses=("0x34", "0x66"),
        rounds=lambda laser, value: round(value / laser.grid_step) * laser.grid_step,
        doc="Distance of the channels.",
        done=OperationComplete(60.0),
    ).moving("wavelength", "channel")
    smallest_grid = Word(0x56, ">H", unit="Hz", wire=Scale(1e8), doc="Least distance of channels.")
    fine_tune = Word(
        0x62,
        ">h",
        unit="Hz",
        wire=Scale(1e6),
        settable=True,
        limits=lambda laser: laser.fine_range,
        done=OperationComplete(60.0),
        doc="Offset from the set frequency; may be set with the output on.",
    )
    noise_mode = Pick(
        0x90,
        ">H",
        codes={NoiseMode.DITHER: 0, NoiseMode.NO_DITHER: 1, NoiseMode.WHISPER: 2},
        settable=True,
        done=OperationComplete(30.0),
        doc="Whisper freezes all control loops: least noise, and the frequency drifts with the room's temperature.",
    ).unless(_no_vendor)
    sweep_range = Word(0xE4, ">H", unit="Hz", wire=Scale(1e9), settable=True, doc="Width of the clean sweep.").unless(
        _no_vendor
    )
    sweep_offset = Word(0xE6, ">H", unit="Hz", wire=Scale(1e8, -2000e8), doc="Where a clean sweep is now.").unless(
        _no_vendor
    )
    age = Word(0x61, ">H", unit="1", wire=Scale(0.01), doc="Share of the diode's life that is over.")
    fatal_power = Word(0x22, ">H", unit="dB", wire=Scale(0.01), settable=True, doc="Deviation of power that is fatal.")
    warning_power = Word(0x23, ">H", unit="dB", wire=Scale(0.01), settable=True, doc="Deviation of power that warns.")
    fatal_frequency = Word(0x24, ">H", unit="Hz", wire=Scale(1e8), settable=True, doc="Deviation that is fatal.")
    warning_frequency = Word(0x25, ">H", unit="Hz", wire=Scale(1e8), settable=True, doc="Deviation that warns.")
    fatal_temperature = Word(0x26, ">H", unit="K", wire=Scale(0.01), settable=True, doc="Deviation that is fatal.")
    warning_temperature = Word(0x27, ">H", unit="K", wire=Scale(0.01), settable=True, doc="Deviation that warns.")
    shut_down_on_fatal = Flag(0x33, ">H", mask=4, settable=True, doc="Whether a fatal condition ends emission.")
    dither = Flag(0x59, ">H", mask=2, settable=True, doc="Whether the module dithers its frequency by itself.")
    dither_rate = Word(0x5A, ">H", unit="Hz", wire=Scale(1e3), settable=True, doc="Frequency of the dither.")
    dither_frequency = Word(0x5B, ">H", unit="Hz", wire=Scale(1e8), settable=True, doc="Peak-to-peak dither.")
    dither_amplitude = Word(0x5C, ">H", unit="1", wire=Scale(1e-3), settable=True, doc="Peak-to-peak share of power.")

    @Uses("0x50", "0x51", "0x52", "0x53", "0x54", "0x55", "0x4F")
    def learn(self) -> None:
        """Read the module's ranges, and which registers it lacks."""
        low, high = (Dbm(0.01).to_si(self.word(register, ">h")) for register in (0x50, 0x51))
        self.levels = Limit(low, high, "of the module, OPSL and OPSH")
        first, last = (self.word(register) * 1e12 + self.word(register + 1) * 1e8 for register in (0x52, 0x54))
        self.band = Limit(LIGHT_SPEED / last, LIGHT_SPEED / first, "of the module, LFL and LFH")
        reach = self.word(0x4F) * 1e6
        self.fine_range = Limit(-reach, reach, "of the module, FTFR")
        lacking: set[int] = set()
        if not self._has(0x67):  # the MHz parts came with release 1.3, all together
            lacking |= {0x66, 0x67, 0x68}
        if not self._has(0x90):
            lacking.add(0x90)
        self.lacking = frozenset(lacking)
        self._frozen = 0x90 not in lacking and self.word(0x90) != 0

    @Uses("0x01", "0x02", "0x03", "0x04", "0x06")
    def identity(self) -> Identity:
        """Read the module's texts."""
        return Identity(self.words(0x02), self.words(0x03), self.words(0x04), self.words(0x06))

    def _checked_identity(self) -> Identity:
        try:
            self.word(0x00)
        except InstrumentError as error:
            if error.code is not None:
                raise
            self._complete_frame()
        kind = self.words(0x01)
        if "ITLA" not in kind:
            raise SettingsChanged(f"{self.name} ({self.transport.resource}): found {kind!r}, expected 'CW ITLA'")
        return super()._checked_identity()

    @Uses("0x05", "0x07")
    def provenance(self) -> dict[str, str]:
        """When the module was made, and which releases its firmware is compatible with."""
        return {"made": self.words(0x05), "compatible with": self.words(0x07)}

    def is_stable(self) -> bool:
        """Whether the output is on, nothing is pending and the alarm bit says that the laser is locked."""
        return self.emission and not self._busy() and not self.word(0x20) & _ALARM

    @Uses("0x20", "0x21")
    def status(self) -> dict[str, list[str]]:
        """What the words "fatal" and "warning" say, by the sheet's table."""
        words = {"fatal": self.word(0x20), "warning": self.word(0x21)}
        return {kind: [name for bit, name in enumerate(FATAL_BITS) if word >> bit & 1] for kind, word in words.items()}

    def clear_status(self) -> None:
        """Forget the latched bits of both words."""
        for register in (0x20, 0x21):
            self.write_register(register, b"\x00\xff")

    @Uses("0x57")
    def currents(self) -> NDArray[np.float64]:
        """Currents of cooler, diode and what else the technology has, in A; the order is the maker's."""
        return np.frombuffer(self.read_register(0x57), ">i2") * 1e-4

    @Uses("0x58")
    def temperatures(self) -> NDArray[np.float64]:
        """Temperatures of diode and case, in K."""
        return np.frombuffer(self.read_register(0x58), ">i2") * 1e-2 + CELSIUS.offset

    @Uses("0xE5")
    def sweep(self, on: bool) -> None:
        """Start or stop a clean sweep over `sweep_range` (Pure Photonics; not in noise mode DITHER)."""
        self.write_register(0xE5, struct.pack(">H", on))

    def safe_state(self) -> None:
        """Switch the output off, once an operation that is under way lets it, and confirm that."""
        with self.unconditionally():
            self.emission = False

    # --- frames ------------------------------------------------------------------------------------------------------

    def word(self, register: int, layout: str = ">H") -> int:
        """A register's number."""
        return int(self.number_in(register, struct.Struct(layout)))

    @Uses("0x0B")
    def read_register(self, register: int) -> bytes:
        """Two bytes of a register, or all bytes of its text or array."""
        with self.exclusive():
            status, data = self._exchange(0, register)
            if status != _AEA:
                return data
            length = int.from_bytes(data)
            rest = b"".join(self._exchange(0, 0x0B)[1] for _ in range((length + 1) // 2))
            return rest[:length]

    def words(self, register: int) -> str:
        """A register's text."""
        text = self.read_register(register).split(b"\0")[0]
        try:
            return text.decode("ascii").strip()
        except UnicodeDecodeError:
            raise self.transport.complain(ProtocolError(f"register 0x{register:02X} holds no text: {text!r}")) from None

    def write_register(self, register: int, data: bytes) -> None:
        """Write two bytes; InstrumentError with the module's reason where it does not execute that."""
        with self.exclusive():
            status, _ = self._exchange(1, register, data)
            self._pending = self._pending or status == _PENDING
            if register == 0x90:
                self._frozen = data != b"\x00\x00"  # some firmware freezes its loops without dither, too

    def wait_complete(self, timeout: float) -> None:
        """Read NOP until no operation is pending."""
        done = "finish the operation that is pending"
        self.wait_until(lambda: not (self._pending and self._busy()), timeout, done, interval=0.1)
        self._pending = False

    def _busy(self) -> bool:
        return bool(self.word(0x00) & 0xFF00)

    def _exchange(self, flags: int, register: int, data: bytes = b"\0\0") -> tuple[int, bytes]:
        message = bytes((flags, register)) + data
        with self.exclusive():
            reply = self.transport.query(message)
            if reply[0] & 0x08:
                error = InstrumentError("CE: the module saw a wrong checksum and executed nothing")
                raise self.transport.complain(error, message)
            if reply[1] != register:
                garbled = ProtocolError(f"register 0x{reply[1]:02X} answered instead of 0x{register:02X}")
                raise self.transport.complain(garbled, message)
            if reply[0] & 0x03 == _XE:
                # The reason waits in NOP, and reading it clears it.
                code = self.transport.query(b"\0\0\0\0")[3] & 0x0F
                raise self.transport.complain(InstrumentError(ERRORS.get(code, "no reason given"), code=code), message)
            return reply[0] & 0x03, reply[2:]

    def _complete_frame(self) -> None:
        """Somebody may have stopped inside of a frame: zeros, one at a time, until the module answers."""
        for _ in range(4):
            self.transport.write(b"\0")
            with suppress(TransportTimeout):
                self.transport.read(timeout=0.25)
                return

    def _has(self, register: int) -> bool:
        try:
            self.read_register(register)
        except InstrumentError as error:
            if error.code != _NOT_IMPLEMENTED:
                raise
            return False
        return True

    def _megahertz(self, register: int) -> float:
        return 0.0 if register in self.lacking else self.word(register, ">h") * 1e6

    def demand_loops(self, what: str) -> None:
        """InputError in whisper mode (and without dither), in which modules freeze what holds power and frequency."""
        if self._frozen:
            raise InputError(
                f"{what} cannot be changed in whisper mode or without dither",
                source=self.name,
                hint="Set noise_mode to 'dither' first. Nothing was sent",
            )

    def _wait_for_lock(self, timeout: float) -> None:
        end = self.clock.monotonic() + timeout
        while True:
            status = self.word(0x20)
            trouble = status & (_LIVE | _DISABLED)
            if trouble:
                names = ", ".join(name for bit, name in enumerate(FATAL_BITS) if trouble >> bit & 1)
                raise self.transport.complain(InstrumentError(f"fatal status: {names}", code=status))
            if not status & _ALARM:
                return
            if self.clock.monotonic() >= end:
                raise NotConfirmed(f"{self.name}: the output is on, and not locked after {timeout:g} s (alarm bit)")
            self.clock.sleep(0.1)

    def _switch_off(self, timeout: float) -> None:
        end = self.clock.monotonic() + timeout
        while True:
            try:
                self.write_register(0x32, b"\0\0")
                break
            except InstrumentError as error:  # what the module says that it ignored may be said again
                if error.code != _REPEAT_CODE or self.clock.monotonic() >= end:
                    raise
                self.clock.sleep(0.05)
        self.wait_complete(timeout)
