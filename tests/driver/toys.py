"""Instruments that nobody makes, to try the grammar on."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from labqdl.clock import ManualClock
from labqdl.driver import (
    CELSIUS,
    DBM,
    MILLI,
    NANO,
    SI,
    Action,
    Bool,
    Choice,
    Count,
    Custom,
    Flag,
    Float,
    FrameInstrument,
    Integer,
    Listed,
    Pick,
    Scale,
    ScpiInstrument,
    Switched,
    Text,
    TextChannel,
    Uses,
    Word,
)
from labqdl.instruments import Identity, Instrument, Limit, OperationComplete, ReadBack, Refused, Settle
from labqdl.transport import Fixed, Line
from tests.sheet_examples import ScriptedTransport, scripted

Step = tuple[bytes, bytes | None]
IDN: Step = (b"*IDN?\n", b"Acme,Toy 1,007,1.0\n")
QUIET: dict[bytes, bytes | None] = {b"SYST:ERR?\n": b'0,"No error"\n'}


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"
    GREEN = "green"


class ToyChannel(TextChannel):
    level = Float("CH{n}:LEV?", "CH{n}:LEV {}", unit="V", limits=(-1.0, 1.0), doc="Level.")


class Toy(ScpiInstrument):
    """A SCPI instrument with one quantity of each kind."""

    maker = "Acme"
    models = ("Toy 1",)
    sheet = "toy"
    identity_pattern = "Acme Toy"

    plain = Float("PLA?", "PLA {}", unit="V", limits=(0.0, 10.0), doc="A voltage.")
    wavelength = Float("WAV?", "WAV {}", unit="m", wire=NANO, form=".4f", limits=lambda toy: toy.band, doc="A length.")
    power = Float("POW?", "POW {}", unit="W", wire=DBM, doc="A power.")
    warm = Float("TEMP?", unit="K", wire=CELSIUS, suffix=" C", doc="A temperature.")
    second = Float("PAIR?", unit="A", wire=MILLI, field=1, doc="A field.")
    either = Switched("EIT?", "EIT {}", unit_query="UNIT?", wires={"0": DBM, "1": SI}, unit="W", doc="In two units.")
    count = Integer("COUN?", "COUN {}", limits=(1, 5), doc="A number.")
    light = Bool("OUTP?", "OUTP {}", energises=True, doc="Light.")
    reverse = Bool("REV?", "REV {}", on="0", off="1", doc="A switch the other way round.")
    colour = Choice("COL?", "COL {}", words={Colour.RED: ("RED", "R"), Colour.BLUE: "BLUE"}, doc="A colour.")
    title = Text("LAB?", "LAB {}", quoted=True, doc="A text.")
    impedance = Listed("IMP?", "IMP {}", unit="Ohm", words={50.0: "FIFT", 1e6: "MEG"}, doc="Some values.")
    waited = Float("WAI?", "WAI {}", unit="V", done=OperationComplete(3.0), doc="Waits for OPC.")
    held = Float("HEL?", "HEL {}", unit="V", done=ReadBack(absolute=0.01, timeout=1.0, interval=0.1), doc="Reads back.")
    rested = Float("RES?", "RES {}", unit="V", done=Settle(0.7), doc="Rests.")
    twice = Float("TWI?", ("TWI:A {}", "TWI:B {}"), unit="V", doc="Two commands.")
    option = Float("OPT?", "OPT {}", unit="V", doc="An option.").unless(lambda toy: toy.lacking)
    fixed = Float("FIX?", unit="V", doc="Can only be read.")
    both = Custom(float, lambda toy: toy.plain + toy.held, unit="V", uses=("PLA?", "HEL?"), doc="A sum.")
    beep = Action("BEEP", doc="Makes a noise.")

    band = Limit(1500e-9, 1600e-9, "of the toy")
    lacking = ""

    @Uses("SELF")
    def examine(self) -> None:
        self.tell("SELF")

    def channels(self) -> Mapping[int, ToyChannel]:
        return {number: ToyChannel(self, number) for number in (1, 2)}

    def safe_state(self) -> None:
        with self.unconditionally():
            self.force("OUTP 0")
            self.confirm(self, "light", False)


class ToyFrames(FrameInstrument):
    """Messages are register and data; replies are the register's two bytes."""

    maker = "Acme"
    models = ("Frames",)
    sheet = "toy"
    framing = Fixed(2)

    level = Word(0x10, ">h", unit="V", wire=Scale(0.01), settable=True, limits=(-100.0, 1e6), doc="A level.")
    count = Count(0x11, ">H", settable=True, doc="A number.")
    light = Flag(0x12, ">H", mask=0x08, settable=True, energises=True, doc="Light.")
    colour = Pick(0x13, ">H", codes={Colour.RED: 1, Colour.BLUE: 7}, settable=True, doc="A colour.")
    long = Word(0x14, ">i", unit="V", doc="More bytes than come.")
    shared = Word(0x15, ">h", unit="V", write_register=0x16, doc="Set elsewhere.")

    def identity(self) -> Identity:
        return Identity("Acme", "Frames", "1", "")

    def safe_state(self) -> None:
        self.light = False

    def read_register(self, register: int) -> bytes:
        return self.transport.query(bytes((register,)))

    def write_register(self, register: int, data: bytes) -> None:
        self.transport.write(bytes((register,)) + data)


class Watchman:
    """A guard that notes who asks, and says no where it is told to."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.asked: list[str] = []

    def energising(self, instrument: Instrument, what: str) -> None:
        self.asked.append(f"{instrument.name}.{what}")
        if self.refuses:
            raise Refused("not armed")


def opened(*steps: Step, quiet: bool = True, also: Mapping[bytes, bytes | None] | None = None) -> tuple[Toy, Any]:
    """An open toy that then meets these steps."""
    housekeeping = (QUIET if quiet else {}) | dict(also or {})
    transport = scripted([IDN, *steps], Line(), housekeeping, clock=ManualClock())
    toy = Toy(transport, name="toy", clock=transport.clock)
    toy.open()
    return toy, transport


def framed(*steps: Step) -> tuple[ToyFrames, ScriptedTransport]:
    """An open instrument with registers that then meets these steps."""
    transport = scripted(steps, Fixed(2), clock=ManualClock())
    toy = ToyFrames(transport, name="frames", clock=transport.clock)
    toy.open()
    return toy, transport
