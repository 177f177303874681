"""Instruments that speak binary frames: registers instead of commands."""

from __future__ import annotations

import struct
from abc import abstractmethod
from collections.abc import Iterable
from typing import cast

from labqdl.driver.base import Driver
from labqdl.driver.wire import SI, Wire
from labqdl.instruments import IMMEDIATE, Completion, InputLimits, Part, Quantity
from labqdl.transport import ProtocolError


class FrameInstrument(Driver):
    """An instrument with numbered registers of bytes; a family's driver knows frames, checksums and status."""

    @abstractmethod
    def read_register(self, register: int) -> bytes:
        """Data of a register as they stand in the frame."""

    @abstractmethod
    def write_register(self, register: int, data: bytes) -> None:
        """Write a register and make sure that it was accepted (InstrumentError with the instrument's reason)."""


def register_of(part: Part, register: int) -> bytes:
    """Data of a register, read by the instrument of a part."""
    return cast(FrameInstrument, part.instrument).read_register(register)


class Word(Quantity[float]):
    """A number in a register.

    Parameters
    ----------
    register:
        Its number.
    layout:
        Of the data, as `struct` writes it: ">h" for a signed 16-bit word with the high byte first.
    wire:
        Conversion between the number in the register and SI.
    write_register:
        The register for setting, where it is another one.
    """

    def __init__(
        self,
        register: int,
        layout: str,
        *,
        unit: str,
        doc: str = "",
        wire: Wire = SI,
        settable: bool = False,
        write_register: int | None = None,
        limits: InputLimits = None,
        energises: bool = False,
        done: Completion = IMMEDIATE,
        read_only: str = "",
    ) -> None:
        super().__init__(
            float,
            unit=unit,
            doc=doc,
            settable=settable or write_register is not None,
            limits=limits,
            energises=energises,
            done=done,
            read_only=read_only,
        )
        self.register = register
        self.write_register = register if write_register is None else write_register
        self.layout = struct.Struct(layout)
        self.wire = wire

    def fetch(self, part: Part) -> float:
        """Read the register; ProtocolError where it has another length."""
        data = register_of(part, self.register)
        if len(data) != self.layout.size:
            instrument = cast(FrameInstrument, part.instrument)
            raise instrument.transport.complain(
                ProtocolError(
                    f"register 0x{self.register:02X} holds {len(data)} bytes, {self.name} needs {self.layout.size}"
                )
            )
        return self.wire.to_si(self.layout.unpack(data)[0])

    def store(self, part: Part, value: float) -> None:
        """Write the register, rounded to its step."""
        number = round(self.wire.from_si(value))
        cast(FrameInstrument, part.instrument).write_register(self.write_register, self.layout.pack(number))

    def commands(self) -> Iterable[str]:
        """The registers, as hexadecimal numbers."""
        return {f"0x{self.register:02X}", f"0x{self.write_register:02X}"}
