"""Thorlabs MBX bias controllers and MX / TLX transmitters: the modulator's bias, and the attenuator behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from labqdl.driver import MILLI, Action, Bool, Choice, Custom, Float, Scale, TextInstrument, Uses, reasons
from labqdl.errors import InputError
from labqdl.instruments import (
    Attenuator,
    BiasController,
    BiasMode,
    Identity,
    Limit,
    Part,
    Settle,
    absent,
)
from labqdl.transport import Framing, InstrumentError, ProtocolError, RoadOptions

_REPLY = re.compile(rb"[\r\n]*[^\r\n]+[\r\n]+")


@dataclass(frozen=True, slots=True)
class MbxLines:
    """Lines that end with LF on their way out; on their way back with CR (seen), LF (manual), or both in any order."""

    @property
    def end(self) -> int | None:
        """CR."""
        return 13

    def wrap(self, message: bytes) -> bytes:
        """The message with its LF."""
        return message + b"\n"

    def complete(self, buffer: bytes) -> int | None:
        """Length of the first line; what the one before left of its terminator belongs to it."""
        found = _REPLY.match(buffer)
        return None if found is None else found.end()

    def unwrap(self, frame: bytes) -> bytes:
        """The line."""
        return frame.strip(b"\r\n")


class _MBX(TextInstrument):
    """The dialect: a colon before the argument; ``1`` or ``Err: ...`` for everything that is set."""

    maker = "Thorlabs"
    models = ("MBX", "MX10", "MX35", "MX40", "TLX1", "TLX2")
    sheet = "bias_thorlabs_mbx_mx_series"
    identity_pattern = r"(?i)thorlabs .*(MBX|MX\d|TLX)"
    framing: ClassVar[Framing] = MbxLines()
    road = RoadOptions(baudrate=115_200)
    unasked = True  # the second half of a terminator (CR LF) may come after its line was read

    sleep = Action("SYS:SLEEP", doc="Go to sleep.")

    @Uses("SYS:WAKE")
    def wake(self) -> None:
        """Wake up; what was on before may come back."""
        self.energising("wake")
        self.tell("SYS:WAKE")

    @Uses("SYS:MODEL", "SYS:SER", "SYS:FIRM")
    def identity(self) -> Identity:
        """Ask for model, serial number and firmware; there is no ``*IDN?``."""
        return Identity(self.maker, self.ask("SYS:MODEL?"), self.ask("SYS:SER?"), self.ask("SYS:FIRM?"))

    def ask(self, command: str, *, timeout: float | None = None) -> str:
        """Send a query; InstrumentError where the reply is one of the ``Err:`` texts."""
        with self.exclusive():
            if self.transport.leftover().strip(b"\r\n"):
                error = ProtocolError("a line that nobody asked for was waiting before the command was sent")
                raise self.transport.complain(error, command.encode())
            reply = super().ask(command, timeout=timeout)
        if reply.startswith("Err:"):
            raise self.transport.complain(InstrumentError(reply[4:].strip()), command.encode())
        return reply

    def tell(self, command: str, *, timeout: float | None = None) -> None:
        """Send a command; its answer must be ``1``."""
        reply = self.ask(command, timeout=timeout)
        if reply != "1":
            raise self.wrong_reply(command, reply, "1 (accepted)")


_COMMON = {
    "SYS:PRODUCT": "the model says the same",
    "SYS:BOOT SYS:HARD": "versions of boot loader and hardware",
    "SYS:WAVE": "code of a built-in laser, which is another instrument",
    "SYS:RESTART": "the connection would not survive it",
    "RGB:POW RGB:RED RGB:GREEN RGB:BLUE RGB:WHITE": "light of the case",
    "LAS:POW": "the sheet holds no more of the laser's commands",
}
_BIAS = "MZM:MODE MZM:HOLD:VOLT MZM:HOLD:RATIO MZM:VOLT MZM:TAP:MW MZM:SET MZM:CAL MZM:RESET"
_ATTENUATOR = "VOA:POW VOA:MODE VOA:ATT VOA:OUT:MW VOA:MEAS VOA:ERR VOA:TAP:MW VOA:SET"


class ThorlabsMBX(_MBX, BiasController):
    """The bias of the Mach-Zehnder modulator.

    The automatic modes sweep the bias first (some seconds to a minute: `wait_stable`) and use a dither of their own.
    `hold` and mode MANUAL are without dither. Mode RATIO sends the positive slope (8); the negative one (9), set at the
    box, reads as RATIO too, and the hold modes (5, 6) read as their quadratures. `voltage` reads the set point in mode
    MANUAL and the present bias else; setting it in another mode is kept for MANUAL.
    """

    left_out: ClassVar = reasons(_COMMON | {_ATTENUATOR: "driver thorlabs-mbx-voa"})

    mode = Choice(
        "MZM:MODE?",
        "MZM:MODE: {}",
        words={
            BiasMode.OFF: "0",
            BiasMode.PEAK: "1",
            BiasMode.NULL: "2",
            BiasMode.QUADRATURE_POSITIVE: ("3", "5"),
            BiasMode.QUADRATURE_NEGATIVE: ("4", "6"),
            BiasMode.MANUAL: "7",
            BiasMode.RATIO: ("8", "9"),
        },
    )
    manual_voltage = Float(
        "MZM:HOLD:VOLT?",
        "MZM:HOLD:VOLT: {}",
        unit="V",
        wire=MILLI,
        form=".0f",
        limits=(-10.0, 10.0),
        doc="Set point of the bias in mode manual, in steps of 1 mV.",
    )
    bias = Float("MZM:VOLT?", unit="V", doc="Present bias voltage.")
    ratio = Float(
        "MZM:HOLD:RATIO?",
        "MZM:HOLD:RATIO: {}",
        unit="1",
        wire=Scale(0.01),
        form=".0f",
        limits=(2.5, 100.0),
        doc="Ratio of input to output power that mode ratio holds.",
    )
    tap_power = Float("MZM:TAP:MW?", unit="W", wire=MILLI, doc="Optical power at the tap behind the modulator.")
    stable = Bool("MZM:SET?")
    calibrating = Bool("MZM:CAL?", doc="Whether the bias is being swept.")
    dither = absent("the dither of the automatic modes is fixed; its commands are not in the sheet")

    def _voltage(self) -> float:
        with self.exclusive():
            return self.manual_voltage if self.mode is BiasMode.MANUAL else self.bias

    def _set_voltage(self, volts: float) -> None:
        if self.mode is BiasMode.MANUAL:
            self.energising("voltage")
        self.manual_voltage = volts

    voltage = Custom(
        float,
        _voltage,
        _set_voltage,
        unit="V",
        limits=(-10.0, 10.0),
        uses=("MZM:HOLD:VOLT", "MZM:VOLT?"),
        derived=True,
    )

    @Uses("MZM:MODE")
    def hold(self) -> None:
        """Hold the bias where quadrature was found, without dither (modes 5 and 6); `mode` releases it.

        Raises
        ------
        InputError
            In a mode that has no such hold.
        """
        with self.exclusive():
            mode = self.mode
            code = {BiasMode.QUADRATURE_POSITIVE: 5, BiasMode.QUADRATURE_NEGATIVE: 6}.get(mode)
            if code is None:
                raise InputError(
                    f"mode {mode} has no hold",
                    source=self.name,
                    key="hold",
                    expected="one of the quadratures; for others read `bias`, set `voltage`, then mode manual",
                )
            self.energising("hold")
            self.tell(f"MZM:MODE: {code}")

    @Uses("MZM:RESET")
    def recalibrate(self) -> None:
        """Start the sweep of the bias anew."""
        self.energising("recalibrate")
        self.tell("MZM:RESET")

    def wait_stable(self, timeout: float = 90.0) -> None:
        """Return when the sweep is over and the working point is held; NotConfirmed after `timeout` seconds."""
        self.wait_until(lambda: not self.calibrating and self.stable, timeout, "lock its bias", interval=0.2)

    def safe_state(self) -> None:
        """Mode OFF: 0 V and no dither."""
        with self.unconditionally():
            self.tell("MZM:MODE: 0")
            self.confirm(self, "mode", BiasMode.OFF)


class _DarkWhenOn(Bool):
    """A switch that lets light through when it is off."""

    def store(self, part: Part, value: bool) -> None:
        """Ask the guard before it goes off."""
        if not value:
            part.instrument.energising(part.path(self.name))
        super().store(part, value)


class ThorlabsMBXAttenuator(_MBX, Attenuator):
    """The attenuator behind the modulator, over a transport of its own or the bias controller's.

    It has no shutter, and its loop switched off means least attenuation: the safe state is 20 dB held by the loop.
    """

    left_out: ClassVar = reasons(_COMMON | {_BIAS: "driver thorlabs-mbx"})

    attenuation = Float(
        "VOA:ATT?",
        "VOA:ATT: {}",
        unit="dB",
        form=".2f",
        limits=Limit(1.0, 20.0, "of the manual, 1 to 20 dB"),
        done=Settle(1.0),
    )
    output_power = Float(
        "VOA:OUT:MW?",
        "VOA:OUT:MW: {}",
        unit="W",
        wire=MILLI,
        form=".2f",
        limits=(1e-5, 0.1),
        energises=True,
        doc="Power that is held while `constant_power` is on.",
    )
    constant_power = Bool(
        "VOA:MODE?", "VOA:MODE: {}", energises=True, doc="Whether the output power is held, not the attenuation."
    )
    measured = Float("VOA:MEAS?", unit="dB", doc="Attenuation measured with the taps; needs light.")
    deviation = Float("VOA:ERR?", unit="dB", doc="Measured minus set attenuation.")
    tap_power = Float("VOA:TAP:MW?", unit="W", wire=MILLI, doc="Optical power behind the attenuator.")
    settled = Bool("VOA:SET?", doc="Whether it is within 0.1 dB of its set point; needs light.")
    open_shutter = absent("no shutter in the box; the loop switched off means least attenuation")
    wavelength = absent("the attenuation is measured with taps, at whatever wavelength there is")

    loop = _DarkWhenOn("VOA:POW?", "VOA:POW: {}", doc="Whether the loop is on; off is least attenuation.")

    def safe_state(self) -> None:
        """The greatest attenuation, held by the loop; how much that is needs light to be measured."""
        with self.unconditionally():
            self.try_all(
                lambda: self.tell("VOA:ATT: 20"),
                lambda: self.tell("VOA:MODE: 0"),
                lambda: self.tell("VOA:POW: 1"),
                lambda: self.confirm(self, "attenuation", 20.0),
                lambda: self.confirm(self, "constant_power", False),
                lambda: self.confirm(self, "loop", True),
            )
