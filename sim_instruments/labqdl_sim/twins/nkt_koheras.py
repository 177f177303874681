"""NKT Koheras fibre laser with its mainboard, Interbus telegrams (sheet laser_nkt_koheras_basik.md).

One bus with two modules: a laser (BASIK K1x2 at address 1; MIKRO; BasiK K80-1 at 0x0A) and the ADJUSTIK mainboard at
0x80. Light leaves port "output".

What the sheet leaves open, and what stands here:

- Output power follows its set point with a time constant of 1 s and is there within 4 s of emission on; off is dark at
  once. The wavelength follows the offset with 10 s while emission is on. "Stabilised": 4 s after emission on, and the
  offset within 0.5 pm; "settling": emission is on and that is not so.
- A set point outside of its parameter set, a number that is not finite, a wrong length of data and a write of bits to
  anything but an unsigned number are refused with NACK. Limits: 10 to 40 mW, -289.0 to +349.0 pm, 0 to 1000 permille
  (offset -1000 to 1000).
- The interlock relays are on at power-on. A loop that opens (the "interlock" fault) drops them and emission; once it is
  closed again, mainboard register 0x32 brings them back. Until then emission is refused with NACK, the status has bits
  1 and 15 and the error code is 2. Reading 0x32 gives 1 while the relays are on.
- BUSY answers writes while the "busy" fault holds; nothing else makes a module busy. The reply that sometimes does not
  come is a fault too ("silent" with a rate). The "lockout" fault answers writes with NACK.
- The watchdog counts from the last telegram with a right checksum to either module.
- Data behind a telegram's end without start are dropped, a start byte begins a telegram anew.
- Types of registers that the sheet gives no type for (K80-1): U16, switches U8. A user area that is written in part
  keeps zeros behind.

Modulation is kept in its registers and changes no light; Ethernet settings are kept and move nothing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

from labqdl_sim.frames import Delimited, FrameTwin
from labqdl_sim.ports import DARK, Light

_NACK, _BAD_CRC, _BUSY, _ACK, _READ, _WRITE, _SET, _CLEAR, _DATA, _TOGGLE = range(10)
_MAINBOARD = 0x80
_RISE, _WARM, _THERMAL = 1.0, 4.0, 10.0


@dataclass(frozen=True)
class _Register:
    """A register that keeps what is written: struct format, range, value at power-on, whether it can be read."""

    form: str
    low: float = 0
    high: float = math.inf
    default: float = 0
    readable: bool = True


def _kept(form: str, high: float = math.inf, default: float = 0, *, low: float = 0) -> _Register:
    return _Register("<" + form, low, high, default)


_POWER = (1000, 4000)  # 0.01 mW
_OFFSET = (-2890, 3490)  # 0.1 pm
_BASIK = {
    0x30: _kept("B", 1), 0x31: _kept("H", 0x3FF), 0x22: _kept("H", _POWER[1], 1000, low=_POWER[0]),
    0xA0: _kept("h", 1602, 1000, low=1000), 0x2A: _kept("h", _OFFSET[1], low=_OFFSET[0]), 0xB5: _kept("B", 1),
    0xB7: _kept("H", 0xFF), 0xB8: _kept("2f", 1e6, 1000.0), 0x2B: _kept("H", 1000), 0x2F: _kept("h", 1000, low=-1000),
    0xBA: _kept("2f", 1e6, 1000.0), 0x2C: _kept("H", 1000), 0xA1: _kept("2H", 1000, 1000),
}  # fmt: skip
_MIKRO = {number: _BASIK[number] for number in (0x22, 0x2A, 0x30, 0x31, 0xA0)} | {0x3A: _kept("B", 255)}
_K80 = {
    0x23: _kept("H", _POWER[1], 1000), 0x25: _kept("H", 0xFFFF, 25_000), 0x30: _kept("B", 1),
} | {number: _kept("B", 1) for number in (0x31, 0x32, 0x33, 0x34, 0x35, 0x36)}  # fmt: skip
_BOARD = {
    0x34: _kept("B", 255), 0x3B: _kept("H", 0x7FFF), 0xB0: _kept("4B", 255, 10),
    0x3E: _Register("<B", 0, 1, 0, False), 0x3F: _Register("<B", 0, 1, 0, False),
}  # fmt: skip
_TYPES = {"basik": (0x33, 1, _BASIK), "mikro": (0x36, 1, _MIKRO), "k80": (0x21, 0x0A, _K80)}
_SETS = {0x52: 0x22, 0x5A: 0x2A, 0x5B: 0x2B, 0x5C: 0x2C, 0x5F: 0x2F, 0xD0: 0xA0}  # parameter set of a set point
_UNITS = {0x22: 7, 0x2A: 11, 0x2B: 13, 0x2C: 13, 0x2F: 13, 0xA0: 18}


class _Refused(Exception):
    """NACK."""


class NktKoheras(FrameTwin):
    """A BASIK K1x2 E15 in an ADJUSTIK.

    Options: `type` ("basik", "mikro", "k80"), `address`, `mainboard` (False: a bare module, whose interlock is the bus
    connector), `wavelength` (standard wavelength in m).
    """

    maker = "NKT Photonics"
    model = "Koheras BASIK"
    serial = "K1234567"
    firmware = "1.17-2345 Dec 21 2021"
    resources = ("ASRL{name}::INSTR", "ASRL{serial}::INSTR", "TCPIP0::{name}::10001::SOCKET")
    baud = 115200
    framer = Delimited(b"\r", b"\n", restart=True, limit=512)

    def setup(self) -> None:
        """Choose the modules, open the fibre."""
        kind = self.option("type", "basik")
        self.type, address, self.table = _TYPES[kind if kind in _TYPES else "basik"]
        self.address = self.option("address", address)
        self.mainboard = self.option("mainboard", True)
        self.standard = round(self.option("wavelength", 1550.1234e-9) / 1e-13)
        self.user_area = bytes(240)
        self.light_out("output", self.light)

    def reset(self) -> None:
        """Power-on: dark."""
        self.values = {number: _packed(register, register.default) for number, register in self.table.items()}
        self.board = {number: _packed(register, register.default) for number, register in _BOARD.items()}
        self.emission = False
        self.relays = True
        self.heard = self.now
        self.on_at = -math.inf
        self.power_course = (0.0, 0.0)  # mW at a time
        self.offset_course = (0.0, 0.0)  # 0.1 pm at a time

    # The laser

    def number(self, register: int) -> float:
        """What a register of the laser holds."""
        known = self.table[register]
        return float(struct.unpack(known.form, self.values[register])[0])

    @property
    def power_register(self) -> int:
        """Where the set point in 0.01 mW is."""
        return 0x22 if 0x22 in self.table else 0x23

    def watch(self, t: float) -> bool:
        """Whether emission is on at time t; the interlock and the watchdog end it."""
        if self.interlocked:
            self.relays = False
        seconds = self.board[0x34][0] if self.mainboard else 0
        silent = seconds and t > self.heard + seconds
        if self.emission and (not self.relays or silent) and not self.stays_on:
            end = self.heard + seconds if silent else t
            self.darken(end)
        return self.emission

    def darken(self, t: float) -> None:
        """Emission off."""
        self.offset_course = (self.offset(t), t)
        self.emission = False

    def milliwatts(self, t: float) -> float:
        """Output power."""
        if not self.watch(t):
            return 0.0
        start, since = self.power_course
        target = self.number(self.power_register) / 100
        return target + (start - target) * math.exp(-max(t - since, 0.0) / _RISE)

    def offset(self, t: float) -> float:
        """Wavelength offset in 0.1 pm; it stands still while the laser is off."""
        start, since = self.offset_course
        if not self.emission or 0x2A not in self.table:
            return start
        target = self.number(0x2A)
        return target + (start - target) * math.exp(-max(t - since, 0.0) / _THERMAL)

    def stable(self, t: float) -> bool:
        """Whether wavelength is stabilised."""
        return self.watch(t) and t >= self.on_at + _WARM and abs(self.offset(t) - self.number(0x2A)) < 5

    def light(self, t: float) -> Light:
        """What leaves the fibre."""
        power = self.milliwatts(t)
        return Light(power * 1e-3, (self.standard + self.offset(t)) * 1e-13) if power > 0 else DARK

    def switch(self, on: bool) -> None:
        """Emission."""
        now = self.now
        if on and not self.emission:
            if self.interlocked or not self.relays:
                raise _Refused
            self.emission, self.on_at = True, now
            self.power_course, self.offset_course = (0.0, now), (self.offset_course[0], now)
        elif not on and self.emission and not self.stays_on:
            self.darken(now)

    # Telegrams

    def execute(self, message: bytes) -> bytes | None:
        """One telegram."""
        body = _unescape(message[1:-1])
        if len(body) < 6 or len(body) > 246 or not self.has(body[0]):
            return None
        to, source, kind, register = body[:4]
        if crc16(body):
            return _telegram(source, to, _BAD_CRC, register)
        self.watch(self.now)
        self.heard = self.now
        if kind == _READ:
            try:
                data = self.read(to, register)
            except _Refused:
                return _telegram(source, to, _NACK, register)
            return _telegram(source, to, _DATA, register, data)
        if kind not in (_WRITE, _SET, _CLEAR, _TOGGLE):
            return _telegram(source, to, _NACK, register)
        if self.faults.active("busy"):
            return _telegram(source, to, _BUSY, register)
        try:
            if self.locked_out:
                raise _Refused
            self.write(to, register, body[4:-2] if kind == _WRITE else self.bits(to, register, kind, body[4:-2]))
        except _Refused:
            return _telegram(source, to, _NACK, register)
        return _telegram(source, to, _ACK, register)

    def has(self, address: int) -> bool:
        """Whether a module listens there."""
        return address == self.address or (self.mainboard and address == _MAINBOARD)

    def bits(self, to: int, register: int, kind: int, data: bytes) -> bytes:
        """What a register becomes when bits are set, cleared or toggled."""
        known = (_BOARD if to == _MAINBOARD else self.table).get(register)
        if known is None or known.form not in ("<B", "<H") or len(data) != struct.calcsize(known.form):
            raise _Refused
        old, mask = (int.from_bytes(one, "little") for one in (self.read(to, register), data))
        new = old | mask if kind == _SET else old & ~mask if kind == _CLEAR else old ^ mask
        return new.to_bytes(len(data), "little")

    def read(self, to: int, register: int) -> bytes:
        """Content of a register."""
        common: dict[int, Callable[[], bytes]] = {
            0x61: lambda: bytes([0x34 if to == _MAINBOARD else self.type]),
            0x64: lambda: _u16(117) + self.firmware.encode("latin-1", "replace")[:60],
            0x65: lambda: self.serial.encode("latin-1", "replace")[:8].ljust(8, b"\0"),
        }
        if register in common:
            return common[register]()
        if to == _MAINBOARD:
            return self.read_board(register)
        if register == 0x30:
            return bytes([self.emission])
        if register in self.values:
            return self.values[register]
        readings = self.readings_k80() if self.type == 0x21 else self.readings()
        if register not in readings:
            raise _Refused
        return readings[register]()

    def readings(self) -> dict[int, Callable[[], bytes]]:
        """What a BASIK measures, by register."""
        now = self.now
        found: dict[int, Callable[[], bytes]] = {
            0x17: lambda: _u16(round(100 * self.milliwatts(now))),
            0x90: lambda: _i16(_dbm(100 * self.milliwatts(now))),
            0x72: lambda: round(self.offset(now)).to_bytes(4, "little", signed=True),
            0x32: lambda: self.standard.to_bytes(4, "little"),
            0x1C: lambda: _i16(253), 0x1E: lambda: _u16(12_000), 0x66: lambda: _u16(self.status()),
            0x67: lambda: bytes([0 if self.relays else 2]), 0x8D: lambda: self.user_area,
        }  # fmt: skip
        if self.type == 0x36:
            del found[0x67]
            return found
        for record, register in _SETS.items():
            found[record] = lambda register=register: self.parameters(register)  # type: ignore[misc]
        return found

    def readings_k80(self) -> dict[int, Callable[[], bytes]]:
        """What a BasiK K80-1 measures, by register."""
        now = self.now
        return {
            0x11: lambda: _u16(25_000), 0x15: lambda: _u16(300 if self.watch(now) else 0),
            0x18: lambda: _u16(round(100 * self.milliwatts(now))), 0x19: lambda: _u16(253), 0x1B: lambda: _u16(12_000),
        }  # fmt: skip

    def parameters(self, register: int) -> bytes:
        """The parameter set of a set point."""
        known = self.table[register]
        factory, high, low = int(known.default), int(known.high), int(known.low)
        numerator, denominator = (1, 10) if register in (0x2A, 0x2B, 0x2C, 0x2F) else (1, 100)
        return bytes([_UNITS[register], 0]) + struct.pack("<7h", factory, factory, high, low, numerator, denominator, 0)

    def status(self) -> int:
        """Status bits of a BASIK."""
        on = self.watch(self.now)
        stable = self.stable(self.now)
        return on | (not self.relays) << 1 | (on and not stable) << 13 | stable << 14 | (not self.relays) << 15

    def read_board(self, register: int) -> bytes:
        """A register of the mainboard."""
        if register in _BOARD and _BOARD[register].readable:
            return self.board[register]
        if register == 0x32:
            return bytes([self.relays])
        if register == 0x11:
            return _u16(24_000)
        if register == 0x66:
            return _u16(self.watch(self.now) | (not self.relays) << 1 | self.interlocked << 3)
        raise _Refused

    def write(self, to: int, register: int, data: bytes) -> None:
        """Write a register, or refuse."""
        if to == _MAINBOARD:
            self.write_board(register, data)
            return
        if register == 0x8D and self.type != 0x21 and data:
            self.user_area = data.ljust(240, b"\0")
            return
        known = self.table.get(register)
        if known is None:
            raise _Refused
        _checked(known, data)
        if register == 0x30:
            self.switch(bool(data[0]))
            return
        now = self.now
        if register in (0x22, 0x23, 0xA0):
            self.power_course = (self.milliwatts(now), now)
        elif register == 0x2A:
            self.offset_course = (self.offset(now), now)
        self.values[register] = data
        if register == 0x22 and 0xA0 in self.table:
            self.values[0xA0] = _i16(_dbm(self.number(0x22)))
        elif register == 0xA0:
            self.values[0x22] = _u16(min(max(round(100 * 10 ** (self.number(0xA0) / 1000)), _POWER[0]), _POWER[1]))

    def write_board(self, register: int, data: bytes) -> None:
        """Write a register of the mainboard; some go to all lasers."""
        if register in (0x30, 0x31, 0x2D, 0x2E, 0x2F):
            to = {0x30: 0x30, 0x31: 0x31, 0x2D: 0x2A, 0x2E: 0xA0, 0x2F: self.power_register}[register]
            self.write(self.address, to, data)
        elif register == 0x32:
            if len(data) != 1:
                raise _Refused
            self.relays = self.relays or (data[0] > 0 and not self.interlocked)
        else:
            known = _BOARD.get(register)
            if known is None:
                raise _Refused
            _checked(known, data)
            self.board[register] = data


def crc16(data: bytes) -> int:
    """CRC-16/XMODEM; 0 over data with their own CRC behind."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc


def _telegram(to: int, source: int, kind: int, register: int, data: bytes = b"") -> bytes:
    body = bytes([to, source, kind, register]) + data
    body += crc16(body).to_bytes(2, "big")
    return b"\r" + b"".join(bytes([0x5E, b + 0x40]) if b in b"\n\r\x5e" else bytes([b]) for b in body) + b"\n"


def _unescape(body: bytes) -> bytes:
    first, *rest = body.split(b"\x5e")
    return first + b"".join(bytes([(piece[0] - 0x40) & 0xFF]) + piece[1:] for piece in rest if piece)


def _packed(register: _Register, value: float) -> bytes:
    count = len(struct.unpack(register.form, bytes(struct.calcsize(register.form))))
    whole = value if "f" in register.form else int(value)
    return struct.pack(register.form, *[whole] * count)


def _checked(register: _Register, data: bytes) -> None:
    if len(data) != struct.calcsize(register.form):
        raise _Refused
    if not all(register.low <= value <= register.high for value in struct.unpack(register.form, data)):
        raise _Refused


def _u16(value: int) -> bytes:
    return min(max(value, 0), 0xFFFF).to_bytes(2, "little")


def _i16(value: int) -> bytes:
    return value.to_bytes(2, "little", signed=True)


def _dbm(hundredths: float) -> int:
    """0.01 mW as 0.01 dBm; -100 dBm for nothing."""
    return max(round(1000 * math.log10(hundredths / 100)), -10_000) if hundredths > 0 else -10_000


TWIN = NktKoheras
