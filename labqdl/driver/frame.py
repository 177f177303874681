"""Instruments that speak binary frames: registers instead of commands."""

from __future__ import annotations

import struct
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, ClassVar, Generic, TypeVar, Unpack, cast

from labqdl.driver.base import Driver
from labqdl.driver.wire import SI, Wire
from labqdl.errors import InputError
from labqdl.instruments import DeclaredNumber, Part, Quantity
from labqdl.transport import ProtocolError

T = TypeVar("T")
E = TypeVar("E", bound=Enum)


class FrameInstrument(Driver):
    """An instrument with numbered registers of bytes; a family's driver knows frames, checksums and status."""

    longer_registers: ClassVar[bool] = False
    """Whether a register may hold more bytes than the sheet says, which are ignored."""

    @abstractmethod
    def read_register(self, register: int) -> bytes:
        """Data of a register as they stand in the frame."""

    @abstractmethod
    def write_register(self, register: int, data: bytes) -> None:
        """Write a register and make sure that it was accepted (InstrumentError with the instrument's reason)."""

    def number_in(self, register: int, layout: struct.Struct) -> Any:
        """Read a register and take its first number; ProtocolError where it has another length."""
        data = self.read_register(register)
        if len(data) != layout.size and not (self.longer_registers and len(data) > layout.size):
            raise self.transport.complain(
                ProtocolError(f"register 0x{register:02X} holds {len(data)} bytes instead of {layout.size}")
            )
        return layout.unpack_from(data)[0]


class DeclaredRegister(DeclaredNumber, total=False):
    """What every declaration of a register may say, in the words of `Register`."""

    settable: bool
    write_register: int | None


class Register(Quantity[T]):
    """A quantity in a register; `Word`, `Count`, `Flag` and `Pick` know its type.

    Parameters
    ----------
    register:
        Its number.
    layout:
        Of the data, as `struct` writes it: ">h" for a signed 16-bit word with the high byte first.
    write_register:
        The register for setting, where it is another one.
    """

    def __init__(
        self,
        kind: type[T],
        register: int,
        layout: str,
        *,
        unit: str = "",
        settable: bool = False,
        write_register: int | None = None,
        **common: Unpack[DeclaredNumber],
    ) -> None:
        super().__init__(kind, unit=unit, settable=settable or write_register is not None, **common)
        self.register = register
        self.write_register = register if write_register is None else write_register
        self.layout = struct.Struct(layout)

    def meaning(self, number: float) -> T:
        """The value of the number in the register; ValueError where it has none."""
        raise NotImplementedError

    def number(self, value: T) -> float:
        """The number in the register for a value."""
        raise NotImplementedError

    def fetch(self, part: Part) -> T:
        """Read the register; ProtocolError where it has another length, or no meaning."""
        instrument = cast(FrameInstrument, part.instrument)
        number = instrument.number_in(self.register, self.layout)
        try:
            return self.meaning(number)
        except ValueError:
            error = ProtocolError(f"register 0x{self.register:02X} holds {number!r}, which {self.name} cannot be")
            raise instrument.transport.complain(error) from None

    def store(self, part: Part, value: T) -> None:
        """Write the register."""
        try:
            data = self.layout.pack(self.number(value))
        except struct.error:
            raise InputError(
                f"{value!r} does not fit into register 0x{self.write_register:02X}",
                source=part.instrument.name,
                key=part.path(self.name),
                hint="Nothing was sent",
            ) from None
        cast(FrameInstrument, part.instrument).write_register(self.write_register, data)

    def commands(self) -> Iterable[str]:
        """The registers, as hexadecimal numbers."""
        return {f"0x{self.register:02X}", f"0x{self.write_register:02X}"}


class Word(Register[float]):
    """A number in a register.

    Parameters
    ----------
    register, layout, write_register:
        See `Register`.
    wire:
        Conversion between the number in the register and SI.
    """

    def __init__(
        self,
        register: int,
        layout: str,
        *,
        unit: str,
        wire: Wire = SI,
        **common: Unpack[DeclaredRegister],
    ) -> None:
        super().__init__(float, register, layout, unit=unit, **common)
        self.wire = wire

    def meaning(self, number: float) -> float:
        """The SI value."""
        return self.wire.to_si(number)

    def number(self, value: float) -> float:
        """The number in the register, rounded to its step."""
        number = self.wire.from_si(value)
        return number if self.layout.format[-1] in "fd" else round(number)

    def rounded(self, part: Part, value: float) -> float:
        """The value of the number in the register."""
        return self.meaning(self.number(value))


class Count(Register[int]):
    """A whole number in a register."""

    def __init__(self, register: int, layout: str, *, unit: str = "1", **common: Unpack[DeclaredRegister]) -> None:
        super().__init__(int, register, layout, unit=unit, **common)

    def meaning(self, number: float) -> int:
        """The number."""
        return int(number)

    def number(self, value: int) -> float:
        """The number."""
        return value


class Flag(Register[bool]):
    """A switch in a register: the bits of `mask` are 1 for on; the other bits are written as 0."""

    def __init__(self, register: int, layout: str, *, mask: int = 1, **common: Unpack[DeclaredRegister]) -> None:
        super().__init__(bool, register, layout, **common)
        self.mask = mask

    def meaning(self, number: float) -> bool:
        """Whether one of the bits is 1."""
        return bool(int(number) & self.mask)

    def number(self, value: bool) -> float:
        """The mask, or 0."""
        return self.mask if value else 0


class Pick(Register[E], Generic[E]):
    """One of several choices, each with its number in the register."""

    def __init__(
        self, register: int, layout: str, *, codes: Mapping[E, int], **common: Unpack[DeclaredRegister]
    ) -> None:
        super().__init__(type(next(iter(codes))), register, layout, **common)
        self.codes = dict(codes)
        self._meaning = {code: one for one, code in codes.items()}

    def meaning(self, number: float) -> E:
        """The choice with this number."""
        try:
            return self._meaning[int(number)]
        except KeyError:
            raise ValueError(number) from None

    def number(self, value: E) -> float:
        """The number of a choice."""
        return self.codes[value]
