"""Qontrol Q8iv, Q8a, Q8b, Q8bi on a backplane: voltage and current channels (sheet phase_qontrol_q8.md).

Lines of text and binary frames on one stream; replies are text. Channel n leaves port "output<n>", V; every channel
drives a resistor.

What the sheet leaves open, and what stands here:

- After power-on all channels are at 0 V, limits at full scale. "E90:00" goes to whoever listens at that moment; with
  the option `announces` the first session finds it waiting as well.
- `i=` regulates the current; the voltage is what the resistor makes of it. A value above full scale or below zero
  (E11), a voltage above VMAX (E01) and a current above IMAX (E02) are refused and change nothing. When the resistor
  draws more than IMAX at a set voltage, or needs more than VMAX at a set current, the set is answered with OK, the
  channel goes to 0 and the line E02 or E01 of the channel comes before that OK. Limits that are lowered do the same.
- Set values are kept as floor(x / full scale x 65535). Outputs follow with 0.1 ms and are there after 0.9 ms.
  Readings have noise of 0.1 mV and 1 uA (option `noise` scales it), 4 decimals for V, 3 for mA.
- Error lines have two digits for code and channel; E10:00 for a word that nobody knows and for a binary code without
  meaning in the table, E11 for a value, E12 for a channel, E13 for what cannot be set, asked or done, E14:00 for a
  line or frame that is too long, E15:00 for a header with odd parity.
- Several modules answer `id?` and `nchan?` as one: the first module's id, the number of channels of the whole chain.
  `nup=0`, then `nupall?` (with `old` only `nup?`) lists modules.
- `vvec` and its binary form take one to eight values and stay in one module. `vall=` is refused (E13).
- BCAST: each module does it with the channel number inside of the module. ADDM: the id's four hexadecimal digits.
- A text command takes 1 ms, a binary one 0.2 ms.
- vcal, ical, vip, sr, pdi, pdp, pdr, gain (a channel's), nvm, log, quiet, led, safe, rocom (the chain's) keep a
  number and change nothing; verr and ierr read 0.

Not simulated: codes 33 to 38 without text command and 44 to 4C (the sheet has no meaning for them), motor and input
modules.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl_sim.lines import LineTwin
from labqdl_sim.twin import Session

_TYPES = {"Q8iv": 24.0, "Q8a": 100.0, "Q8b": 83.333, "Q8bi": 100.0}  # full scale of the current, mA
_V_FULL = 12.0
_CHANNELS = 8
_TAU, _SETTLED = 0.1e-3, 0.9e-3
_LIMIT = 512
_KEPT = {"VCAL", "ICAL", "VIP", "SR", "PDI", "PDP", "PDR", "GAIN"}
_CHAIN = {"NVM", "LOG", "QUIET", "LED", "SAFE", "ROCOM"}
_CODES = {
    0x00: "V", 0x01: "I", 0x02: "VMAX", 0x03: "IMAX", 0x04: "VCAL", 0x05: "ICAL", 0x06: "VERR", 0x07: "IERR",
    0x0A: "VIP", 0x0B: "SR", 0x0C: "PDI", 0x0D: "PDP", 0x0E: "PDR", 0x0F: "GAIN", 0x20: "VFULL", 0x21: "IFULL",
    0x22: "NCHAN", 0x23: "FIRMWARE", 0x24: "ID", 0x25: "LIFETIME", 0x26: "NVM", 0x27: "LOG", 0x28: "QUIET",
    0x31: "LED", 0x32: "NUP", 0x37: "OK", 0x41: "HELP", 0x42: "SAFE", 0x43: "ROCOM",
}  # fmt: skip
_PER_CHANNEL = {"V", "I", "VMAX", "IMAX", "VERR", "IERR", *_KEPT}
_LINE = re.compile(r"([a-z]+?)(all|vec)?(\d*)\s*(?:(=|\?)\s*(.*))?", re.IGNORECASE)
_VALUE = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_BCAST, _ALLCH, _ADDM, _READ, _ACT, _DEXT = 0x40, 0x20, 0x10, 0x08, 0x04, 0x02


class _Wrong(Exception):
    """A command is answered with an error line."""

    def __init__(self, code: int, channel: int = 0) -> None:
        super().__init__(code, channel)
        self.code = code
        self.channel = channel


class Qontrol(LineTwin):
    """A Q8iv; `model` chooses Q8a, Q8b or Q8bi.

    Options: `modules` (in the chain), `load` (ohms at every channel; `loads` is the array), `noise` (1 is the usual
    noise, 0 none), `announces` (E90 for the first session), `old` (firmware without `nupall?`).
    """

    maker = "Qontrol"
    model = "Q8iv"
    serial = "0A2F"
    firmware = "Q8iv-1.20"
    resources = ("ASRL{name}::INSTR", "ASRL{serial}::INSTR")
    baud = 115200
    latency = 0.5e-3
    reply_terminator = b"\n"

    def setup(self) -> None:
        """Read the options, open the outputs."""
        if self.model not in _TYPES:
            raise InputError(f"no Qontrol module {self.model!r}", key="model", expected=", ".join(_TYPES))
        self.current_full = _TYPES[self.model]
        modules = self.option("modules", 1)
        if not 1 <= modules <= 30:
            raise InputError(f"{modules} modules", key="modules", expected="1 to 30")
        self.channels = _CHANNELS * modules
        self.loads = np.full(self.channels, self.option("load", 1000.0))
        self.noise = self.option("noise", 1.0)
        self.announces = self.option("announces", False)
        self.old = self.option("old", False)
        self.readings = 0
        for channel in range(self.channels):
            self.voltage_out(f"output{channel}", lambda instants, channel=channel: self.volts(channel, instants))  # type: ignore[misc]

    def reset(self) -> None:
        """Power-on: all at zero."""
        self.targets = np.zeros(self.channels)  # V
        self.starts = np.zeros(self.channels)
        self.since = np.full(self.channels, -math.inf)
        self.current_mode = np.zeros(self.channels, dtype=np.bool_)
        self.limits = {"VMAX": np.full(self.channels, _V_FULL), "IMAX": np.full(self.channels, self.current_full)}
        self.kept: dict[tuple[str, int], float] = {}
        self.powered = self.now
        for session in self.sessions:
            session.announce(b"E90:00\n", 0.0)

    def connect(self, *, exchange: bool = False, baud: int | None = None) -> Session:
        """Open a session."""
        session = super().connect(exchange=exchange, baud=baud)
        if self.announces:
            self.announces = False
            session.announce(b"E90:00\n", 0.0)
        return session

    def spurious_error(self, code: int, text: str) -> None:
        """An error line out of the blue (for channel 0)."""
        self.tell(abs(code) % 100, 0)

    # Channels

    def volts(self, channel: int, instants: NDArray[np.float64]) -> NDArray[np.float64]:
        """Output voltage at many instants, V."""
        passed = np.maximum(instants - self.since[channel], 0.0)
        target, start = self.targets[channel], self.starts[channel]
        settled = passed >= _SETTLED
        fade = np.exp(-np.where(settled, 0.0, passed) / _TAU)
        return np.asarray(np.where(settled, target, target + (start - target) * fade), dtype=np.float64)

    def drive(self, channel: int, volts: float, current: bool) -> None:
        """A channel goes to a voltage."""
        now = self.now
        present = float(self.volts(channel, np.array([now]))[0])
        if self.stays_on and volts < present:
            return
        self.starts[channel], self.since[channel] = present, now
        self.targets[channel], self.current_mode[channel] = volts, current

    def milliamps(self, channel: int, volts: float) -> float:
        """What the resistor draws."""
        return 1e3 * volts / float(self.loads[channel])

    def trip(self, channel: int) -> None:
        """Compare what a channel does with its limits; it goes to zero where it is too much."""
        volts = float(self.targets[channel])
        over_voltage = volts > self.limits["VMAX"][channel] * (1 + 1e-9)
        over_current = self.milliamps(channel, volts) > self.limits["IMAX"][channel] * (1 + 1e-9)
        if over_voltage or over_current:
            self.drive(channel, 0.0, False)
            self.tell(1 if over_voltage else 2, channel)

    def tell(self, code: int, channel: int) -> None:
        """An error line to everybody."""
        for session in self.sessions:
            session.announce(_error(code, channel), 0.0)

    def set_channel(self, word: str, channel: int, value: float) -> None:
        """Set one value of one channel."""
        full = self.full(word)
        if not math.isfinite(value) or value < 0 or value > full * (1 + 1e-9):
            raise _Wrong(11, channel)
        value = math.floor(min(value / full, 1.0) * 65535 + 1e-6) / 65535 * full
        if word in self.limits:
            self.limits[word][channel] = value
        elif word == "V":
            if value > self.limits["VMAX"][channel] * (1 + 1e-9):
                raise _Wrong(1, channel)
            self.drive(channel, value, False)
        else:
            if value > self.limits["IMAX"][channel] * (1 + 1e-9):
                raise _Wrong(2, channel)
            self.drive(channel, value * 1e-3 * float(self.loads[channel]), True)
        self.trip(channel)

    def full(self, word: str) -> float:
        """Full scale of a quantity."""
        return _V_FULL if word in ("V", "VMAX") else self.current_full

    def write(self, word: str, channel: int, value: float) -> None:
        """Set something."""
        if word in ("V", "I", "VMAX", "IMAX"):
            self.set_channel(word, channel, value)
        elif word in _KEPT or word in _CHAIN:
            if not abs(value) < 1e6:
                raise _Wrong(11, channel)
            self.kept[word, channel if word in _KEPT else 0] = value
        elif word == "NUP":
            if value != 0:
                raise _Wrong(11)
        else:
            raise _Wrong(13, channel)

    def read(self, word: str, channel: int) -> str:
        """One line of an answer."""
        if word in ("V", "I"):
            volts = float(self.volts(channel, np.array([self.now]))[0])
            self.readings += 1
            draw = self.noise * float(self.generator("readings", self.readings).standard_normal())
            if word == "V":
                return f"{volts + 1e-4 * draw:+.4f} V"
            return f"{self.milliamps(channel, volts) + 1e-3 * draw:+.3f} mA"
        if word in self.limits:
            return f"{self.limits[word][channel]:+.3f} {'V' if word == 'VMAX' else 'mA'}"
        if word in _KEPT or word in _CHAIN:
            return f"{self.kept.get((word, channel if word in _KEPT else 0), 0.0):+.3f}"
        if word in ("VERR", "IERR"):
            return f"+0.000 {'V' if word == 'VERR' else 'mA'}"
        return self.chain(word)

    def chain(self, word: str) -> str:
        """What the chain says of itself."""
        if word == "VFULL":
            return f"{_V_FULL:+.3f} V"
        if word == "IFULL":
            return f"{self.current_full:+.3f} mA"
        if word == "NCHAN":
            return str(self.channels)
        if word == "FIRMWARE":
            return self.firmware
        if word == "ID":
            return f"{self.model}-{self.serial}"
        if word == "LIFETIME":
            return f"{self.now - self.powered:.0f} s"
        if word == "NUP":
            return "\n".join(
                f"{self.model}-{self.module(index)}:{index}" for index in range(self.channels // _CHANNELS)
            )
        if word == "HELP":
            return "Qontrol: cmd[ch]=value, cmd[ch]?, cmd"
        raise _Wrong(13)

    def module(self, index: int) -> str:
        """Serial number of a module; they count up from the first."""
        try:
            return f"{int(self.serial, 16) + index:04X}"
        except ValueError:
            return self.serial

    # Messages

    def split(self, session: Session, end: bool) -> bytes | None:
        """A line, or a frame that begins with a byte above 127."""
        buffer = session.buffer
        while buffer:
            if buffer[0] & 0x80:
                length = _length(buffer)
                if length > _LIMIT:
                    buffer.clear()
                    return b"\x80"  # too long: `execute` says so
                if not length or len(buffer) < length:
                    return None
                message = bytes(buffer[:length])
                del buffer[:length]
                return message
            at = min((i for i in (buffer.find(b"\n"), buffer.find(b"\r")) if i >= 0), default=-1)
            if at < 0 and len(buffer) <= _LIMIT and not end:
                return None
            if at < 0 and len(buffer) > _LIMIT:
                buffer.clear()
                return b"\x80"
            message = bytes(buffer[: at + 1]) if at >= 0 else bytes(buffer)
            del buffer[: len(message)]
            if message.strip():
                return message
        return None

    def words(self, message: bytes) -> str:
        """Frames as hexadecimal."""
        return message.hex() if message[:1] >= b"\x80" else super().words(message)

    def execute(self, message: bytes) -> bytes | None:
        """Carry out a line or a frame."""
        try:
            if message == b"\x80":
                raise _Wrong(14)
            if message[0] & 0x80:
                self.hold(0.2e-3)
                lines = self.binary(message)
            else:
                self.hold(1e-3)
                lines = self.text(message.decode("latin-1").strip())
        except _Wrong as wrong:
            return _error(wrong.code, wrong.channel)
        return ("\n".join(lines) + "\n").encode("latin-1", "replace") if lines else b"OK\n"

    def text(self, text: str) -> list[str]:
        """One line; lines of the answer, none for OK."""
        match = _LINE.fullmatch(text)
        if match is None:
            raise _Wrong(10)
        word, form, digits, operator, rest = match.groups()
        word, form = word.upper(), (form or "").upper()
        if word not in _CODES.values() or (word == "NUP" and form == "ALL" and self.old):
            raise _Wrong(10)
        if len(digits) > 6:
            raise _Wrong(12)
        if form:
            if word not in (("V", "I") if form == "VEC" else ("V", "I", "VMAX", "IMAX", "NUP")):
                raise _Wrong(10)
            if operator != ("?" if form == "ALL" else "="):
                raise _Wrong(13)
        if operator is None:
            return self.act(word)
        values = [_number(one) for one in rest.split(",")] if operator == "=" else []
        if operator == "?" and rest:
            raise _Wrong(11)
        if form == "ALL":
            return [self.read(word, channel) for channel in range(self.channels if word != "NUP" else 1)]
        if word not in _PER_CHANNEL:
            if digits:
                raise _Wrong(12, int(digits) % 100)
            channel = 0
        else:
            channel = self.existing(int(digits)) if digits else self.existing(-1)
        if operator == "?":
            return [self.read(word, channel)]
        if form == "VEC":
            self.vector(word, channel, values)
        elif len(values) == 1:
            self.write(word, channel, values[0])
        else:
            raise _Wrong(11, channel)
        return []

    def existing(self, channel: int) -> int:
        """A channel that there is."""
        if not 0 <= channel < self.channels:
            raise _Wrong(12, max(channel, 0) % 100)
        return channel

    def vector(self, word: str, channel: int, values: list[float]) -> None:
        """Consecutive channels of one module; all values are looked at before the first is set."""
        if word not in _PER_CHANNEL or not values or channel % _CHANNELS + len(values) > _CHANNELS:
            raise _Wrong(11, channel)
        for index, value in enumerate(values):
            if word in ("V", "I", "VMAX", "IMAX") and not 0 <= value <= self.full(word) * (1 + 1e-9):
                raise _Wrong(11, channel + index)
        for index, value in enumerate(values):
            self.write(word, channel + index, value)

    def act(self, word: str) -> list[str]:
        """An action."""
        if word == "HELP":
            return [self.chain(word)]
        if word == "OK" or word in _CHAIN:
            return []
        raise _Wrong(13)

    def binary(self, frame: bytes) -> list[str]:
        """One frame; lines of the answer, none for OK."""
        header = frame[0]
        if header.bit_count() % 2:
            raise _Wrong(15)
        word = _CODES.get(frame[1])
        if word is None:
            raise _Wrong(10)
        if header & _ACT:
            return self.act(word)
        data = frame[7:] if header & _DEXT else frame[5:]
        codes = [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
        if word not in _PER_CHANNEL:
            targets = [0]
        elif header & _ALLCH:
            targets = list(range(self.channels))
        elif header & _BCAST:
            inside = frame[4]
            if inside >= _CHANNELS:
                raise _Wrong(12, inside % 100)
            targets = list(range(inside, self.channels, _CHANNELS))
        elif header & _ADDM:
            name = frame[2:4].hex().upper()
            ids = [self.module(index) for index in range(self.channels // _CHANNELS)]
            if name not in ids or frame[4] >= _CHANNELS:
                raise _Wrong(12, frame[4] % 100)
            targets = [ids.index(name) * _CHANNELS + frame[4]]
        else:
            targets = [self.existing(int.from_bytes(frame[2:5], "big"))]
        if header & _READ:
            return [self.read(word, channel) for channel in targets]
        scale = self.full(word) / 65535 if word in ("V", "I", "VMAX", "IMAX") else 1.0
        values = [code * scale for code in codes]
        for channel in targets:
            if header & _DEXT:
                self.vector(word, channel, values)
            else:
                self.write(word, channel, values[0])
        return []


def _length(buffer: bytearray) -> int:
    """Bytes of the frame that the buffer starts with; 0: not known yet."""
    if not buffer[0] & _DEXT:
        return 7
    return 7 + 2 * int.from_bytes(buffer[5:7], "big") if len(buffer) >= 7 else 0


def _number(text: str) -> float:
    if _VALUE.fullmatch(text.strip()) is None:
        raise _Wrong(11)
    return float(text)


def _error(code: int, channel: int) -> bytes:
    return f"E{code:02d}:{channel:02d}\n".encode()


TWIN = Qontrol
