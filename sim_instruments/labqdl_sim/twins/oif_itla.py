"""Tunable laser after the OIF ITLA-MSA, with Pure Photonics' own registers (sheet laser_pure_photonics_itla.md).

Frames of four bytes with a nibble of checksum, a register file, operations that go on after their reply (CP) and show
in the upper byte of NOP. Light leaves port "output".

What the sheet leaves open, and what stands here:

- Data that come with CP: the mask of pending operations. Data that come with CE: zero. XE echoes what was written.
- Which writes stay pending: SENA on always; Channel, PWR, FTF and a jump only while the output is on, else they are
  done at once. While one of them runs, another one is refused with CIP; output off is always taken, at once.
- Light rises half way through the switch-on and is at full power when it is over; tuning glides and does not mute.
- Modes other than 0 freeze the loops: with the output on, PWR and Channel are refused there with EXF. The frequency
  then wanders by up to `drift` Hz, slowly.
- LstResp (0x13) answers with the whole last reply, as LstRsp in a frame does.
- MRL is latched at power-on and after a reset; ALM is "not locked"; FatalT, SRQT and ALMT begin as in the MSA.
- The "interlock" fault is the DIS* pin. A hard reset goes back to 9600 baud, a soft one keeps the speed.
- A frame is carried out whatever its two reserved bits say.

Not simulated: firmware download (DLConfig takes nothing but 0, DLStatus is 0) and memory behind the manual extended
address (EAC and EA keep what is written, EAR answers ERE); dither and thresholds are kept and change no light; nothing
ever trips a threshold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from labqdl.units import LIGHT_SPEED, from_dbm
from labqdl_sim.frames import Fixed, FrameTwin
from labqdl_sim.ports import DARK, Light

_OK, _XE, _AEA, _CP = range(4)
_RNI, _RNW, _RVE, _CIP, _CII, _ERE, _ERO, _EXF, _CIE = range(1, 10)
_BAUDS = (9600, 19200, 38400, 57600, 115200)
_CEL, _XEL, _MRL = 1 << 6, 1 << 7, 1 << 5
_SENA = 8


class _Failure(Exception):
    """A command ends with XE; the code is for NOP."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class _Register:
    """A register that only keeps a number: its range, what it holds after a reset, whether it can be written."""

    low: int = 0
    high: int = 0xFFFF
    default: int = 0
    writable: bool = True

    @property
    def signed(self) -> bool:
        """Two's complement on the wire."""
        return self.low < 0


_WORD = _Register()
_KEPT = {
    0x22: _Register(0, 0x7FFF, 200), 0x23: _Register(0, 0x7FFF, 100), 0x24: _Register(0, 0x7FFF, 50),
    0x25: _Register(0, 0x7FFF, 25), 0x26: _Register(0, 0x7FFF, 500), 0x27: _Register(0, 0x7FFF, 200),
    0x28: _Register(default=0x1FBF), 0x29: _Register(default=0x000F), 0x2A: _Register(default=0x0D0D),
    0x33: _Register(default=2), 0x59: _Register(0, 0x32), 0x5A: _WORD, 0x5B: _WORD, 0x5C: _WORD,
    0x0E: _WORD, 0x0F: _WORD,
    0x30: _Register(1, 0xFFFF, 1), 0x34: _Register(-0x8000, 0x7FFF, 500), 0x36: _Register(0, 9999),
    0x62: _Register(-0x8000, 0x7FFF),
}  # fmt: skip
_KEPT_13 = {
    0x63: _Register(0, 999), 0x64: _Register(0, 999), 0x65: _WORD, 0x66: _Register(-99, 99), 0x67: _Register(0, 99),
}  # fmt: skip
_KEPT_VENDOR = {
    0x90: _Register(0, 2), 0xD0: _WORD, 0xE0: _WORD, 0xE4: _Register(0, 500, 100), 0xE7: _WORD, 0xE9: _WORD,
    0xEA: _Register(default=193), 0xEB: _Register(0, 9999), 0xEC: _WORD, 0xF0: _WORD, 0xF1: _Register(1, 0xFFFF, 1000),
    0xF2: _WORD, 0xE8: _Register(writable=False),
}  # fmt: skip
_STORED = (0x30, 0x31, 0x33, 0x34, 0x35, 0x36, 0x63, 0x64, 0x65, 0x66, 0x67, *range(0x22, 0x2B), *range(0x59, 0x5D))


class OifItla(FrameTwin):
    """A PPCL550 by default.

    Options: `power` (least and largest set point in dBm), `band` (first and last frequency in THz), `fine_range` (MHz),
    `enable_time`, `tune_time`, `power_time`, `fine_time`, `boot_time` (s), `checks_frequency` (False: a frequency
    outside the band is taken without RVE, as some firmware does), `msa` ("1.3" or "1.2", which has no MHz registers),
    `vendor` (False: registers from 0x80 on are not there), `drift` (Hz).
    """

    maker = "Pure Photonics"
    model = "PPCL550"
    serial = "CRTNT00001"
    firmware = "PP:FW:1.3"
    resources = ("ASRL{name}::INSTR", "ASRL{serial}::INSTR")
    baud = 9600
    framer = Fixed(4)

    def setup(self) -> None:
        """Read the options, open the fibre."""
        self.powers = tuple(round(100 * float(p)) for p in self.option("power", [6.0, 13.5]))
        self.band = tuple(round(float(f) * 1e6) for f in self.option("band", [191.5, 196.25]))  # MHz
        self.fine_range = self.option("fine_range", 30_000)
        self.enable_time = self.option("enable_time", 5.0)
        self.tune_time = self.option("tune_time", 2.0)
        self.power_time = self.option("power_time", 1.0)
        self.fine_time = self.option("fine_time", 0.5)
        self.boot_time = self.option("boot_time", 0.0)
        self.checks_frequency = self.option("checks_frequency", True)
        self.drift = self.option("drift", 30e6)
        self.kept = dict(_KEPT)
        self.newer = self.option("msa", "1.3") != "1.2"
        if self.newer:
            self.kept |= _KEPT_13
        self.vendor = self.option("vendor", True)
        if self.vendor:
            self.kept |= _KEPT_VENDOR
        self.kept[0x31] = _Register(min(-1, self.powers[0]), self.powers[1], min(1000, self.powers[1]))
        self.kept[0x35] = _Register(self.band[0] // 1_000_000, self.band[1] // 1_000_000, 193)
        self.stored: dict[int, int] = {}
        self.light_out("output", self.light)

    def reset(self) -> None:
        """Power-on: dark, defaults as they were stored, 9600 baud."""
        self.baud = 9600
        self.restart(self.boot_time)

    def restart(self, boot_time: float) -> None:
        """What a soft reset does."""
        self.registers = {number: register.default for number, register in self.kept.items()} | self.stored
        self.sena = False
        self.sena_at = self.sweep_at = -math.inf
        self.operations: list[tuple[float, int]] = []
        self.ready_from = self.now + boot_time
        self.error = _OK
        self.latched = {0x20: _MRL, 0x21: 0}
        self.string = b""
        self.position = 0
        self.calibrated_at = -math.inf
        self.sweeping = False
        self.frozen_at = 0.0
        self.jumped: int | None = None
        self.last = bytes(4)
        self.frequency_glide = (self.nominal(), self.nominal(), 0.0, 0.0)
        self.power_glide = (float(self.registers[0x31]), float(self.registers[0x31]), 0.0, 0.0)

    # The laser

    def nominal(self) -> float:
        """Frequency in MHz that channel, grid and fine tuning ask for."""
        kept = self.registers
        channel = (kept.get(0x65, 0) << 16) + kept[0x30]
        grid = kept[0x34] * 100 + kept.get(0x66, 0)
        if self.jumped is not None:
            return float(self.jumped)
        return kept[0x35] * 1e6 + kept[0x36] * 100 + kept.get(0x67, 0) + (channel - 1) * grid + kept[0x62]

    def frequency(self, t: float) -> float:
        """Emitted frequency in MHz at instrument time t."""
        value = _glide(self.frequency_glide, t)
        if self.registers.get(0x90, 0):
            value += self.drift / 1e6 * math.sin(2 * math.pi * (t - self.frozen_at) / 600)
            value += self.swing(t)
        return value

    def swing(self, t: float) -> float:
        """Offset in MHz of the clean sweep, a triangle about the middle."""
        if not self.sweeping or not self.registers[0xE4]:
            return 0.0
        half = self.registers[0xE4] * 500.0
        phase = (t - self.sweep_at) * self.registers[0xF1] / half % 4
        return half * (phase if phase < 1 else 2 - phase if phase < 3 else phase - 4)

    def watts(self, t: float) -> float:
        """Emitted power at instrument time t."""
        if not self.emitting:
            return 0.0
        share = 1.0
        if self.enable_time > 0:
            share = min(max(2 * (t - self.sena_at) / self.enable_time - 1, 0.0), 1.0)
        return share * from_dbm(_glide(self.power_glide, t) / 100)

    @property
    def emitting(self) -> bool:
        """Whether the output is enabled; an open DIS* pin clears SENA."""
        if self.sena and self.interlocked and not self.stays_on:
            self.off()
        return self.sena

    def off(self) -> None:
        """SENA is cleared."""
        self.sena = False
        self.sweeping = False
        self.operations.clear()

    def light(self, t: float) -> Light:
        """What leaves the fibre."""
        power = self.watts(t)
        return Light(power, LIGHT_SPEED / (self.frequency(t) * 1e6)) if power > 0 else DARK

    # Operations

    def flags(self) -> int:
        """Pending operations, one bit each from bit 0 on."""
        self.operations = [(end, bit) for end, bit in self.operations if end > self.now]
        bits = 0
        for _, bit in self.operations:
            bits |= 1 << bit
        return bits or int(self.faults.active("busy"))

    def begin(self, seconds: float) -> int | None:
        """Start an operation; the mask that comes with CP, None when it is over at once."""
        if not self.sena or seconds <= 0:
            return None
        bit = next(bit for bit in range(8) if not self.flags() >> bit & 1)
        self.operations.append((self.now + seconds, bit))
        return self.flags() << 8

    def must_be_idle(self) -> None:
        """XE with CIP while something is pending."""
        if self.flags():
            raise _Failure(_CIP)

    def must_not_emit(self) -> None:
        """XE with CIE while the output is on."""
        if self.emitting:
            raise _Failure(_CIE)

    # Frames

    def check(self, data: bytes) -> bool:
        """BIP-4."""
        return data[0] >> 4 == _bip4(data)

    def bad(self, data: bytes) -> bytes:
        """CE: not carried out."""
        self.latched[0x20] |= _CEL
        return self.reply(_OK, data[1], 0, ce=True)

    def reply(self, status: int, register: int, value: int, *, ce: bool = False) -> bytes:
        """A frame to the host, which is kept for LstRsp."""
        frame = bytes([0x0C if ce else 0x04 | status, register, value >> 8 & 0xFF, value & 0xFF])
        self.last = bytes([_bip4(frame) << 4 | frame[0], *frame[1:]])
        return self.last

    def execute(self, message: bytes) -> bytes | None:
        """One frame."""
        if not self.check(message):
            return self.bad(message)
        if message[0] & 0x08 or (message[1] == 0x13 and not message[0] & 1):
            return self.last
        register, value = message[1], int.from_bytes(message[2:], "big")
        try:
            if message[0] & 1:
                answer = self.write(register, value)
                return self.reply(_OK, register, value) if answer is None else self.reply(_CP, register, answer)
            return self.reply(*self.read(register))
        except _Failure as failure:
            self.error = failure.code
            self.latched[0x20] |= _XEL
            return self.reply(_XE, register, value)

    # Reading

    def read(self, register: int) -> tuple[int, int, int]:
        """Status, register and data of the reply to a read."""
        text = self.text(register)
        if text is not None:
            self.string, self.position = text, 0
            return _AEA, register, len(text)
        if register == 0x0B:
            if self.position >= len(self.string):
                raise _Failure(_ERE)
            pair = self.string[self.position : self.position + 2].ljust(2, b"\0")
            self.position += 2
            return _OK, register, int.from_bytes(pair, "big")
        if register == 0x10:
            raise _Failure(_ERE)
        value = self.value(register)
        if value is None:
            raise _Failure(_RNW if register in (0xE5, 0xED) and self.vendor else _RNI)
        return _OK, register, value & 0xFFFF

    def text(self, register: int) -> bytes | None:
        """Registers that are read through the AEA buffer."""
        strings = {0x01: "CW ITLA", 0x02: self.maker, 0x03: self.model, 0x04: self.serial, 0x05: "01-JAN-2024",
                   0x06: self.firmware, 0x07: "1.0"}  # fmt: skip
        if register in strings:
            return strings[register].encode("latin-1", "replace")[:79] + b"\0"
        if register == 0x57:
            return _words(1250, 2000 if self.emitting else 0)
        return _words(2500, 3500) if register == 0x58 else None

    def value(self, register: int) -> int | None:
        """Registers that answer with a number."""
        if register in self.kept:
            return self.registers[register]
        now = self.now
        actual = round(self.frequency(now))
        first, last = self.band
        if register == 0x00:
            error, self.error = self.error, _OK
            return self.flags() << 8 | (now >= self.ready_from) << 4 | error
        if register in (0x20, 0x21):
            return self.status_word(register)
        if register == 0x42:
            watts = self.watts(now)
            return max(round(1000 * math.log10(watts * 1e3)), -6000) if watts > 0 else -6000
        numbers = {
            0x08: 0, 0x09: 0x0200, 0x0A: self.position, 0x0D: _BAUDS.index(self.baud or 9600) << 4, 0x14: 0, 0x15: 0,
            0x32: self.emitting * _SENA, 0x40: actual // 1_000_000, 0x41: actual % 1_000_000 // 100, 0x43: 2500,
            0x4F: self.fine_range, 0x50: self.powers[0], 0x51: self.powers[1], 0x52: first // 1_000_000,
            0x53: first % 1_000_000 // 100, 0x54: last // 1_000_000, 0x55: last % 1_000_000 // 100, 0x56: 1, 0x61: 0,
        }  # fmt: skip
        if self.newer:
            numbers |= {0x68: actual % 100, 0x69: first % 100, 0x6A: last % 100, 0x6B: 0}
        if self.vendor:
            numbers |= {0xD1: 0, 0xD2: (now < self.calibrated_at) << 15, 0xE6: 2000 + round(self.swing(now) / 100)}
        return numbers.get(register)

    def status_word(self, register: int) -> int:
        """StatusF or StatusW."""
        word = self.latched[register]
        fatal = self.latched[0x20] & self.registers[0x29] & 0xFF
        locked = self.sena and not self.flags() and not self.registers.get(0x90, 0)
        quiet = self.sena and bool(self.flags()) and not self.registers[0x33] & 2
        word |= self.interlocked << 12 | bool(fatal) << 13 | (not locked and not quiet) << 14
        asked = (self.latched[0x20] | self.latched[0x21]) & self.registers[0x28] & 0xFF
        return word | bool(asked) << 15

    # Writing

    def write(self, register: int, value: int) -> int | None:
        """Carry out a write: None for OK, the data of a CP else."""
        if register == 0x00:
            return None
        if register == 0x0B:
            raise _Failure(_ERO)
        if self.locked_out:
            raise _Failure(_EXF)
        if self.now < self.ready_from:
            raise _Failure(_CII)
        special = {
            0x08: self.store, 0x0D: self.io_capabilities, 0x14: self.download, 0x20: self.clear_fatal,
            0x21: self.clear_warning, 0x30: self.tune, 0x31: self.set_power, 0x32: self.enable, 0x62: self.fine_tune,
        }  # fmt: skip
        if self.vendor:
            special |= {0x90: self.mode, 0xD2: self.calibrate, 0xE5: self.sweep, 0xED: self.jump}
        if register in special:
            return special[register](value)
        known = self.kept.get(register)
        if known is None:
            known_number = (
                self.text(register) is not None or register in (0x10, 0x13) or self.value(register) is not None
            )
            raise _Failure(_ERE if register == 0x10 else _RNW if known_number else _RNI)
        if not known.writable:
            raise _Failure(_RNW)
        if register in (0x34, 0x35, 0x36, 0x66, 0x67):
            self.must_not_emit()
            self.jumped = None
        self.keep(register, value)
        if not self.sena:
            self.settle_at_once()
        return None

    def keep(self, register: int, value: int) -> None:
        """Into the register, if it is in range."""
        known = self.kept[register]
        if known.signed and value & 0x8000:
            value -= 0x10000
        if not known.low <= value <= known.high or (register == 0x31 and value < self.powers[0]):
            raise _Failure(_RVE)
        self.registers[register] = value

    def settle_at_once(self) -> None:
        """With the output off the laser stands where it was told to."""
        power = float(self.registers[0x31])
        self.frequency_glide = (self.nominal(), self.nominal(), 0.0, 0.0)
        self.power_glide = (power, power, 0.0, 0.0)

    def within_band(self) -> None:
        """RVE outside of the band, if this firmware looks."""
        if self.checks_frequency and not self.band[0] <= self.nominal() - self.registers[0x62] <= self.band[1]:
            raise _Failure(_RVE)

    def change(self, register: int, value: int, seconds: float) -> int | None:
        """A write to a quantity that moves there in time."""
        self.must_be_idle()
        before = self.registers[register]
        start = _glide(self.frequency_glide, self.now)
        power = _glide(self.power_glide, self.now)
        self.keep(register, value)
        try:
            if register == 0x30:
                self.within_band()
            if not 1e6 < self.nominal() < 1e9:
                raise _Failure(_RVE)
        except _Failure:
            self.registers[register] = before
            raise
        self.settle_at_once()
        pending = self.begin(seconds)
        if pending is not None:
            self.frequency_glide = (start, self.nominal(), self.now, seconds)
            self.power_glide = (power, float(self.registers[0x31]), self.now, seconds)
        return pending

    def loops_run(self) -> None:
        """With the output on, power and channel move only in mode 0."""
        if self.emitting and self.registers.get(0x90, 0):
            raise _Failure(_EXF)

    def tune(self, value: int) -> int | None:
        """Channel."""
        self.loops_run()
        self.jumped = None
        return self.change(0x30, value, self.tune_time)

    def set_power(self, value: int) -> int | None:
        """PWR."""
        self.loops_run()
        return self.change(0x31, value, self.power_time)

    def fine_tune(self, value: int) -> int | None:
        """FTF."""
        if abs(value - (value & 0x8000) * 2) > self.fine_range:
            raise _Failure(_RVE)
        return self.change(0x62, value, self.fine_time)

    def enable(self, value: int) -> int | None:
        """ResEna."""
        if value & 3:
            if value & 1:
                self.reset()
            else:
                self.restart(self.boot_time)
            return None
        if not value & _SENA:
            if not self.stays_on:
                self.off()
            return None
        if self.emitting:
            return None
        if self.interlocked:
            raise _Failure(_EXF)
        self.within_band()
        self.settle_at_once()
        self.sena, self.sena_at = True, self.now
        return self.begin(self.enable_time)

    def store(self, value: int) -> None:
        """GenCfg."""
        if value & 0x8000:
            self.stored = {number: self.registers[number] for number in _STORED if number in self.registers}

    def io_capabilities(self, value: int) -> None:
        """IOCap: the reply still comes at the old speed."""
        if value >> 4 & 0xF >= len(_BAUDS):
            raise _Failure(_RVE)
        self.baud = _BAUDS[value >> 4 & 0xF]

    def download(self, value: int) -> None:
        """DLConfig: there is no firmware to load."""
        if value:
            raise _Failure(_EXF)

    def clear_fatal(self, value: int) -> None:
        """StatusF: latched bits that are written as 1 are cleared."""
        self.latched[0x20] &= ~value

    def clear_warning(self, value: int) -> None:
        """StatusW."""
        self.latched[0x21] &= ~value

    def mode(self, value: int) -> None:
        """Dither, no dither, whisper."""
        self.keep(0x90, value)
        self.frozen_at = self.now
        if not value:
            self.sweeping = False

    def calibrate(self, value: int) -> None:
        """Clean-jump calibration of so many points."""
        if value > 1000:
            raise _Failure(_RVE)
        self.calibrated_at = self.now + 0.1 * value

    def sweep(self, value: int) -> None:
        """Clean sweep on and off; needs frozen loops."""
        if value > 1:
            raise _Failure(_RVE)
        if value and not (self.emitting and self.registers[0x90]):
            raise _Failure(_EXF)
        self.sweeping, self.sweep_at = bool(value), self.now

    def jump(self, value: int) -> int | None:
        """Clean jump to the frequency in 0xEA and 0xEB."""
        if value != 1:
            raise _Failure(_RVE)
        self.must_be_idle()
        if not self.emitting:
            raise _Failure(_EXF)
        target = self.registers[0xEA] * 1_000_000 + self.registers[0xEB] * 100
        if not self.band[0] <= target <= self.band[1]:
            raise _Failure(_RVE)
        start = _glide(self.frequency_glide, self.now)
        self.jumped = target
        self.frequency_glide = (start, float(target), self.now, 0.1)
        return self.begin(0.1)


def _bip4(frame: bytes) -> int:
    mixed = (frame[0] & 0x0F) ^ frame[1] ^ frame[2] ^ frame[3]
    return mixed >> 4 ^ mixed & 0x0F


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "big", signed=True) for value in values)


def _glide(course: tuple[float, float, float, float], t: float) -> float:
    """Where a quantity is at time t: (from, to, since, seconds)."""
    start, end, since, seconds = course
    if t >= since + seconds or seconds <= 0:
        return end
    return start + (end - start) * max(t - since, 0.0) / seconds


TWIN = OifItla
