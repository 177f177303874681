"""NKT Photonics Koheras BASIK fibre lasers, alone or in an ADJUSTIK or ACOUSTIK rack (Interbus telegrams)."""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import Any, ClassVar, cast

from labqdl.clock import Clock
from labqdl.driver import CELSIUS, Custom, Flag, FrameInstrument, Scale, Uses, Word, reasons
from labqdl.instruments import Identity, Laser, Limit, NotConfirmed, Part, Quantity
from labqdl.transport import ConnectionLost, InstrumentError, ProtocolError, RoadOptions, Transport, TransportTimeout
from labqdl_drivers.lasers.interbus import InterbusFraming

_NACK, _CRC, _BUSY, _ACK, _READ, _WRITE, _SET, _CLEAR, _DATAGRAM = range(9)
_HOST, _MAINBOARD = 0xA1, 0x80
_PICOMETRE = Scale(1e-13)  # tenths of it
_TYPES = {
    0x33: "Koheras BASIK K1x2",
    0x36: "Koheras BASIK MIKRO K0x2",
    0x34: "Koheras ADJUSTIK/ACOUSTIK K822/K852",
    0x21: "Koheras BasiK K80-1",
    0x20: "AdjustiK/BoostiK system K81-83",
    0x70: "BoostiK OEM N83",
}
STATUS = {
    0: "emission on",
    1: "interlock off (open)",
    4: "module disabled",
    5: "supply voltage low",
    6: "module temperature out of range",
    11: "waiting for temperature to drop",
    13: "fibre laser temperature settling",
    14: "wavelength stabilised",
    15: "error code present",
}
_ERRORS = {2: "interlock", 3: "low supply voltage", 7: "module temperature", 8: "module disabled"}
_MAINBOARD_STATUS = (
    "emission",
    "interlock relays off",
    "interlock supply low",
    "interlock loop open",
    "module address problem",
    "SD card",
    "module communication",
    "no backplane",
    "illegal MAC",
    "supply low",
    "temperature out of range",
)
_BLOCKING = 0x0012
"""Interlock open, module disabled."""


class Waveform(StrEnum):
    """Waveforms of the wavelength modulation."""

    SINE = "sine"
    TRIANGLE = "triangle"
    SAWTOOTH = "sawtooth"
    INVERSE_SAWTOOTH = "inverse sawtooth"


def _no_modulation(laser: Koheras) -> str:
    return "a BASIK MIKRO has no modulation registers" if laser.mikro else ""


class _SetupBit(Quantity[bool]):
    """A bit of the setup word, set and cleared alone."""

    def __init__(self, mask: int, doc: str) -> None:
        super().__init__(bool, doc=doc, settable=True)
        self.mask = mask

    def fetch(self, part: Part) -> bool:
        """Read the word."""
        return bool(cast(Koheras, part.instrument).word(0x31) & self.mask)

    def store(self, part: Part, value: bool) -> None:
        """Write this bit only."""
        kind = _SET if value else _CLEAR
        cast(Koheras, part.instrument).exchange(kind, 0x31, struct.pack("<H", self.mask))


class _InPair(Quantity[float]):
    """One of two numbers in a register; the other one stays."""

    def __init__(self, register: int, layout: str, index: int, *, unit: str, doc: str, factor: float = 1.0) -> None:
        super().__init__(float, unit=unit, doc=doc, settable=True, limits=Limit(low=0.0, reason="not negative"))
        self.register, self.layout, self.index, self.factor = register, struct.Struct(layout), index, factor
        self.unless(_no_modulation)

    def _pair(self, part: Part) -> list[Any]:
        data = cast(Koheras, part.instrument).at_least(self.register, self.layout.size)
        return list(self.layout.unpack_from(data))

    def _in_steps(self, value: float) -> float:
        number = value / self.factor
        return number if self.layout.format.endswith("f") else round(number)

    def rounded(self, part: Part, value: float) -> float:
        """To a step of the register."""
        return self._in_steps(value) * self.factor

    def fetch(self, part: Part) -> float:
        """Read the register."""
        return float(self._pair(part)[self.index] * self.factor)

    def store(self, part: Part, value: float) -> None:
        """Read the register, change one number, write it."""
        pair = self._pair(part)
        pair[self.index] = self._in_steps(value)
        cast(Koheras, part.instrument).write_register(self.register, self.layout.pack(*pair))

    def commands(self) -> list[str]:
        """The register."""
        return [f"0x{self.register:02X}"]


class Koheras(FrameInstrument, Laser):
    """A BASIK K1x2 or MIKRO module.

    `emission` returns when the module says that the wavelength is stabilised (seconds to minutes), and so does
    `wavelength` while light is on; with the light off, and with `fine_wavelength`, tuning is slow and `is_stable` tells
    when it is over. Modules leave some requests unanswered: a reading is asked for once more, a setting never.
    A module that is busy is asked again for `patience` seconds, since it says that it did nothing.
    Of the sheet's registers the old BasiK K80's and the rack's broadcasts are left out, more than 20 %.
    Longer than a table, because words are split into bits and pairs and the rack is a second device.

    Parameters
    ----------
    module:
        Its address on the bus, 1 to 160.
    in_rack:
        Whether it sits in an ADJUSTIK or ACOUSTIK, whose mainboard answers at address 128.
    """

    maker = "NKT Photonics"
    models = ("Koheras BASIK K1x2", "Koheras BASIK MIKRO K0x2", "the same in Koheras ADJUSTIK or ACOUSTIK")
    sheet = "laser_nkt_koheras_basik"
    identity_pattern = r"BASIK (K1x2|MIKRO)"
    framing = InterbusFraming()
    road = RoadOptions(baudrate=115200)
    timeout = 1.0
    longer_registers = True
    patience: ClassVar[float] = 2.0
    left_out: ClassVar = reasons(
        {
            "0xA0 0x90": "the same power in dBm",
            "0x8D": "the user's own notes",
            "0x23 0x25 0x33 0x35 0x36 0x11 0x15 0x18 0x19 0x1B": "of the old BasiK K80, another device",
            "0x2D 0x2E 0x3B 0x3E 0x3F": "the rack's broadcasts: a bench sets one module",
            "0xB0": "the rack's address on the network",
            "0x3A": "a delay that only the MIKRO has; emission waits for the module's status",
        }
    )

    # Until `learn` has asked the module.
    mikro = False
    standard = 0.0
    offsets = Limit(-289e-12, 349e-12, "of the sheet; the module has no parameter set")
    powers = Limit(0.0, 40e-3, "of the sheet; the module has no parameter set")

    def __init__(
        self,
        resource: str | Transport,
        *,
        name: str | None = None,
        clock: Clock | None = None,
        options: RoadOptions | None = None,
        module: int = 1,
        in_rack: bool = False,
    ) -> None:
        super().__init__(resource, name=name, clock=clock, options=options)
        self.module = module
        self.in_rack = in_rack

    def _set_emission(self, on: bool) -> None:
        self.write_register(0x30, bytes((on,)))
        if on:
            self.wait_stable(300.0)
        else:
            self.wait_until(lambda: not self.word(0x66) & 1, 5.0, "end emission")
        self.confirm(self, "emission", on)

    emission = Custom(bool, lambda laser: bool(laser.word(0x30, "<B")), _set_emission, uses=("0x30", "0x66", "0x67"))
    power = Word(0x22, "<H", unit="W", wire=Scale(1e-5), settable=True, limits=lambda laser: laser.powers)
    measured_power = Word(0x17, "<H", unit="W", wire=Scale(1e-5))
    temperature = Word(0x1C, "<h", unit="K", wire=Scale(0.1, CELSIUS.offset))
    supply_voltage = Word(0x1E, "<H", unit="V", wire=Scale(1e-3), doc="Supply voltage of the module.")

    def _set_wavelength(self, value: float) -> None:
        self.fine_wavelength = value - self.word(0x32, "<I") * 1e-13
        if self.emission:
            self.wait_stable(600.0)

    wavelength = Custom(
        float,
        lambda laser: _PICOMETRE.to_si(laser.word(0x32, "<I") + laser.word(0x2A, "<h")),
        _set_wavelength,
        unit="m",
        uses=("0x32", "0x2A"),
        limits=lambda laser: laser.band,
    )
    measured_wavelength = Custom(
        float,
        lambda laser: _PICOMETRE.to_si(laser.word(0x32, "<I") + laser.word(0x72, "<i")),
        unit="m",
        uses=("0x32", "0x72"),
        doc="Vacuum wavelength as the module calculates it from its temperature.",
    )
    fine_wavelength = Word(
        0x2A,
        "<h",
        unit="m",
        wire=_PICOMETRE,
        settable=True,
        limits=lambda laser: laser.offsets,
        doc="Set point of the offset from the module's standard wavelength (thermal, slow).",
    )

    modulation = Flag(0xB5, "<B", settable=True, doc="Whether the wavelength is modulated.").unless(_no_modulation)
    modulation_level = Word(
        0x2B, "<H", unit="1", wire=Scale(1e-3), settable=True, doc="Share of the modulation range."
    ).unless(_no_modulation)
    modulation_offset = Word(
        0x2F, "<h", unit="1", wire=Scale(1e-3), settable=True, doc="Offset in shares of the modulation range."
    ).unless(_no_modulation)
    modulation_frequency = _InPair(0xB8, "<2f", 0, unit="Hz", doc="First internal frequency of the modulation.")
    second_modulation_frequency = _InPair(0xB8, "<2f", 1, unit="Hz", doc="Second internal frequency.")
    external_gain = _InPair(0xA1, "<2H", 1, unit="1", factor=1e-3, doc="Gain of the external modulation input.")
    amplitude_frequency = _InPair(0xBA, "<2f", 0, unit="Hz", doc="First frequency of the amplitude modulation.")
    amplitude_depth = Word(
        0x2C, "<H", unit="1", wire=Scale(1e-3), settable=True, doc="Depth of the amplitude modulation."
    ).unless(_no_modulation)

    def _set_waveform(self, waveform: Waveform) -> None:
        word = self.word(0xB7) & ~0xC0 | list(Waveform).index(waveform) << 6
        self.write_register(0xB7, struct.pack("<H", word))

    modulation_waveform = Custom(
        Waveform,
        lambda laser: list(Waveform)[laser.word(0xB7) >> 6 & 3],
        _set_waveform,
        uses=("0xB7",),
        doc="Waveform of the internal wavelength modulation.",
    ).unless(_no_modulation)
    narrow_modulation = _SetupBit(0x0002, "Setup bit 1: narrow modulation range; one source says wide, so try.")
    external_modulation = _SetupBit(0x0004, "Whether the modulation input acts on the wavelength.")
    dc_coupled = _SetupBit(0x0008, "Whether the modulation input is DC coupled.")
    internal_modulation = _SetupBit(0x0010, "Whether the internal source acts on the wavelength.")
    modulation_output = _SetupBit(0x0020, "Whether the modulation output is on.")
    constant_current = _SetupBit(0x0100, "Whether the pump is held at constant current instead of constant power.")
    external_amplitude = _SetupBit(0x0200, "Whether the amplitude modulation comes from outside.")

    @Uses("0x52", "0x5A", "0x31")
    def learn(self) -> None:
        """Read the standard wavelength and the upper and lower limits in the parameter sets of the set points."""
        self.standard = self.word(0x32, "<I") * 1e-13
        self.offsets = self._parameter_limit(0x2A, 1e-13, type(self).offsets)
        self.powers = self._parameter_limit(0x22, 1e-5, type(self).powers)

    def _parameter_limit(self, register: int, factor: float, otherwise: Limit) -> Limit:
        try:
            data = self.at_least(register + 0x30, 16)
        except InstrumentError:
            return otherwise
        upper, lower = struct.unpack_from("<hh", data, 6)
        return Limit(lower * factor, upper * factor, "of the module's parameter set") if lower < upper else otherwise

    @property
    def band(self) -> Limit:
        """Limits of the wavelength."""
        if not self.standard:
            return Limit(reason="of the module, not read yet")
        return Limit(self.standard + self.offsets.low, self.standard + self.offsets.high, self.offsets.reason)

    @Uses("0x61", "0x64", "0x65")
    def identity(self) -> Identity:
        """Read type, serial number and firmware."""
        kind = self.word(0x61, "<B")
        self.mikro = kind == 0x36
        firmware = self.at_least(0x64, 2)[2:]
        serial, version = (
            data.split(b"\0")[0].decode("ascii", "replace").strip() for data in (self.read_register(0x65), firmware)
        )
        return Identity(self.maker, _TYPES.get(kind, f"module type 0x{kind:02X}"), serial, version)

    def is_stable(self) -> bool:
        """Whether light is on, the wavelength is stabilised and nothing settles any more."""
        return self.word(0x66) & 0xE001 == 0x4001

    def wait_stable(self, timeout: float) -> None:
        """Wait until `is_stable`; InstrumentError with the module's error, or where its interlock is open."""
        end = self.clock.monotonic() + timeout
        while True:
            status = self.word(0x66)
            if status & 0xE001 == 0x4001:
                return
            if status & 0x8000:
                code = None if self.mikro else self.word(0x67, "<B")
                raise self.transport.complain(
                    InstrumentError(_ERRORS.get(code or 0, "error without a name"), code=code)
                )
            if status & _BLOCKING:
                words = ", ".join(name for bit, name in STATUS.items() if status & _BLOCKING & 1 << bit)
                raise self.transport.complain(
                    InstrumentError(words, hint="Close the interlock, then reset_interlock()")
                )
            if self.clock.monotonic() >= end:
                raise NotConfirmed(f"{self.name}: not stable after {timeout:g} s, status {', '.join(self.status())}")
            self.clock.sleep(0.1)

    def status(self) -> list[str]:
        """What the status word says, by the sheet's table."""
        word = self.word(0x66)
        return [name for bit, name in STATUS.items() if word >> bit & 1]

    def safe_state(self) -> None:
        """Switch emission off and confirm it by set point and status; telegrams that are not answered are repeated."""
        with self.unconditionally():
            for attempt in range(5):
                try:
                    self.emission = False
                    return
                except TransportTimeout:
                    if attempt == 4:
                        raise

    # --- the rack ----------------------------------------------------------------------------------------------------

    def reset_interlock(self) -> None:
        """Reset the rack's interlock circuit after the loop was closed."""
        self.energising("reset_interlock")
        self.exchange(_WRITE, 0x32, b"\x01", module=_MAINBOARD)

    def _set_watchdog(self, seconds: float) -> None:
        self.exchange(_WRITE, 0x34, bytes((round(seconds),)), module=_MAINBOARD)

    watchdog = Custom(
        float,
        lambda laser: float(laser.exchange(_READ, 0x34, module=_MAINBOARD)[0]),
        _set_watchdog,
        unit="s",
        uses=("0x34",),
        limits=(0.0, 255.0),
        doc="Silence of the host after which the rack switches emission off; 0: never.",
    ).unless(lambda laser: "" if laser.in_rack else "nobody said that it sits in a rack (in_rack)")

    def rack_status(self) -> list[str]:
        """What the rack's status word says."""
        word = int.from_bytes(self.exchange(_READ, 0x66, module=_MAINBOARD)[:2], "little")
        return [name for bit, name in enumerate(_MAINBOARD_STATUS) if word >> bit & 1]

    # --- telegrams ---------------------------------------------------------------------------------------------------

    def word(self, register: int, layout: str = "<H") -> int:
        """A register's number."""
        return int(self.number_in(register, struct.Struct(layout)))

    def at_least(self, register: int, length: int) -> bytes:
        """A register's bytes; ProtocolError where they are fewer."""
        data = self.read_register(register)
        if len(data) < length:
            error = ProtocolError(f"register 0x{register:02X} holds {len(data)} bytes instead of {length}")
            raise self.transport.complain(error)
        return data

    def read_register(self, register: int) -> bytes:
        """Data of a register; asked for once more where no answer came."""
        try:
            return self.exchange(_READ, register)
        except TransportTimeout as silence:
            try:
                return self.exchange(_READ, register)
            except ConnectionLost:  # the connection that was opened again for it is silent as well
                raise silence from None

    def write_register(self, register: int, data: bytes) -> None:
        """Write a register, and see it acknowledged."""
        self.exchange(_WRITE, register, data)

    def exchange(self, kind: int, register: int, data: bytes = b"", *, module: int | None = None) -> bytes:
        """One telegram and its answer's data; InstrumentError where the module refuses."""
        address = self.module if module is None else module
        message = bytes((address, _HOST, kind, register)) + data
        wanted = _DATAGRAM if kind == _READ else _ACK
        end = self.clock.monotonic() + self.patience
        while True:
            reply = self.transport.query(message)
            if reply[:2] != bytes((_HOST, address)) or reply[3] != register:
                error = ProtocolError(f"a telegram answers something else: {reply[:8].hex(' ')}")
                raise self.transport.complain(error, message)
            if reply[2] == wanted:
                return reply[4:]
            if reply[2] != _BUSY or self.clock.monotonic() >= end:
                break
            self.clock.sleep(0.05)
        words = {
            _NACK: "NACK: not understood or not allowed",
            _CRC: "CRC error: the module saw a wrong checksum",
            _BUSY: "BUSY",
        }
        if reply[2] not in words:
            unknown = ProtocolError(f"a telegram of type {reply[2]} instead of {wanted}")
            raise self.transport.complain(unknown, message)
        hint = "See that the interlock is closed, then reset_interlock()" if register == 0x30 else None
        raise self.transport.complain(InstrumentError(words[reply[2]], code=reply[2], hint=hint), message)
