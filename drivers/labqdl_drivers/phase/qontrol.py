"""Qontrol Q8iv, Q8a, Q8b and Q8bi modules: voltages on the phase shifters of a photonic chip."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from labqdl.driver import MILLI, Custom, Float, Text, TextChannel, TextInstrument, Uses, number_in, reasons
from labqdl.errors import InputError
from labqdl.instruments import Identity, Limit, NotConfirmed, Part, PhaseShifterArray, SettingsChanged
from labqdl.transport import Framing, InstrumentError, ProtocolError, RoadOptions, TransportTimeout
from labqdl_drivers.phase.qontrol_frames import (
    CURRENT,
    CURRENT_LIMIT,
    ERRORS,
    MODULE,
    REFUSED,
    VOLTAGE,
    VOLTAGE_LIMIT,
    QontrolFraming,
    frame,
)

T = TypeVar("T")

_ERROR_LINE = re.compile(r"E(\d+):(\d+)")


class _Output(Float):
    """A number with its unit; what is read of an output is measured, and never exactly what was set."""

    derived = True

    def parse(self, reply: str, part: Part) -> float:
        """The number; blanks before the unit differ by firmware."""
        return super().parse(reply.replace(" ", ""), part)


class _Drive(_Output):
    """What drives an output: a voltage that was accepted is kept, to be looked for after a lost connection."""

    def store(self, part: Part, value: float) -> None:
        """Set it."""
        assert isinstance(part, ShifterOutput)
        part.array.told[part.number] = np.nan
        super().store(part, value)
        if self.unit == "V":
            part.array.told[part.number] = value


class _Ceiling(_Output):
    """A limit of the voltage, which holds for the driver, too, as soon as it was accepted."""

    def store(self, part: Part, value: float) -> None:
        """Set it."""
        assert isinstance(part, ShifterOutput)
        super().store(part, value)
        part.array.highest[part.number] = value


class ShifterOutput(TextChannel):
    """One output, counted from 0 through all modules of the chain."""

    kind = "output"

    @property
    def array(self) -> Qontrol:
        """The modules that it is part of."""
        assert isinstance(self.instrument, Qontrol)
        return self.instrument

    voltage = _Drive(
        "v{n}?",
        "v{n}={}",
        unit="V",
        suffix="V",
        limits=lambda output: output.array.limit_of(output.number),
        energises=True,
        doc="Voltage: sets the output, reads what is measured.",
    )
    current = _Drive(
        "i{n}?",
        "i{n}={}",
        unit="A",
        suffix="mA",
        wire=MILLI,
        limits=lambda output: Limit(0.0, output.array.full_current, "of the module"),
        energises=True,
        doc="Current: sets the regulated current (a limit on some firmware), reads what is measured.",
    )
    current_limit = _Output(
        "imax{n}?",
        "imax{n}={}",
        unit="A",
        suffix="mA",
        form=".3f",
        wire=MILLI,
        limits=lambda output: Limit(0.0, output.array.full_current, "of the module"),
        doc="Current at which the output trips.",
    )

    voltage_limit = _Ceiling(
        "vmax{n}?",
        "vmax{n}={}",
        unit="V",
        suffix="V",
        form=".4f",
        limits=lambda output: Limit(0.0, output.array.full_voltage, "of the module"),
        doc="Greatest voltage that the output gives.",
    )


_VOLTS = _Output("v{n}?", unit="V", suffix="V", doc="A voltage in a reply.")


class Qontrol(TextInstrument, PhaseShifterArray):
    """A chain of output modules. Outputs are live as soon as they are set: set `voltage_limit` of each output first.

    Modules report errors (``E02:05``: over-current, output 5 has tripped) at any time; the next exchange raises them as
    `InstrumentError` after its own answer was read, and the outputs have then to be looked at. What they reported
    before the driver opened is passed over. After a lost connection the measured voltages must be those that were set,
    within 2 % and 50 mV. Thermal shifters need 5 to 20 ms before one measures; the driver does not wait for them. The
    latency timer of the USB bridge (16 ms) is best set to 1 ms. (Over 300 lines: single outputs as well as whole
    arrays, in text and in frames, and answers that have to be told from error lines.)
    """

    maker = "Qontrol"
    models = ("Q8iv", "Q8a", "Q8b", "Q8bi")
    sheet = "phase_qontrol_q8"
    identity_pattern = r"(?i)Q8"
    framing: ClassVar[Framing] = QontrolFraming()
    road = RoadOptions(baudrate=115_200)
    timeout = 0.5
    unasked = True
    left_out: ClassVar = reasons(
        {
            "ivec": "whether a current is regulated or a limit differs by firmware; single outputs can",
            "nchan": "a line for each output of the whole chain tells the number",
            "vcal ical verr ierr vip sr pdi pdp pdr gain": "calibration and controller constants of the maker",
            "nvm log quiet led safe rocom help": "housekeeping that the sheet only names",
        }
    )

    binary = True
    """Whether all outputs are set and read by binary frames; False for firmware that knows text only."""
    full_voltage: float
    full_current: float
    highest: NDArray[np.float64]
    """Greatest voltage of each output, as learnt or set."""
    told: NDArray[np.float64]
    """Voltages that were set and accepted; NaN where there is none to compare with."""
    _count = 0

    lifetime = Text("lifetime?", doc="Time that the first module has run, in its own words.")

    @Uses("id?", "firmware?")
    def identity(self) -> Identity:
        """Type and serial number of the first module."""
        model, _, serial = self.ask("id?").partition("-")
        return Identity(self.maker, model, serial, self.ask("firmware?"))

    @Uses("vfull?", "ifull?")
    def learn(self) -> None:
        """Read full scales, number of outputs and their voltage limits."""
        self.full_voltage = _VOLTS.parse(self.ask("vfull?"), self)
        self.full_current = 1e-3 * number_in(self.ask("ifull?").replace(" ", ""), "mA")
        self.highest = self._all(VOLTAGE_LIMIT, "V")
        self._count = len(self.highest)
        self.told = np.full(self._count, np.nan)
        self._outputs = {number: ShifterOutput(self, number) for number in range(self._count)}

    def channels(self) -> Mapping[int, ShifterOutput]:
        """The outputs, from 0."""
        return self._outputs if self._count else {}

    def limit_of(self, number: int) -> Limit:
        """What an output's voltage may be."""
        return Limit(0.0, min(self.full_voltage, float(self.highest[number])), "of the module and its VMAX")

    outputs = Custom(int, lambda array: len(array.voltages()), unit="1")
    voltage_limit = Custom(float, lambda array: float(array._all(VOLTAGE_LIMIT, "V").min()), unit="V")
    current_limit = Custom(float, lambda array: 1e-3 * float(array._all(CURRENT_LIMIT, "mA").min()), unit="A")

    @Uses("nup", "nupall?", "nup?", "ok")
    def modules(self) -> list[str]:
        """Type and serial number of each module of the chain, in its order."""
        self.tell("nup=0")
        try:
            found = self.exchange(b"nupall?", many=True)
        except InstrumentError:  # older firmware
            found = self.exchange(b"nup?", many=True)
        return [line.rpartition(":")[0] for line in found]

    def set_voltages(self, voltages: NDArray[np.float64]) -> None:
        """Set all outputs: every value is checked, then one message a module is sent."""
        voltages = np.asarray(voltages, dtype=np.float64)
        if voltages.shape != (self._count,):
            raise InputError(
                f"voltages of shape {voltages.shape}",
                source=self.name,
                expected=f"one for each of {self._count} outputs",
            )
        for output, volts in zip(self.channels().values(), voltages, strict=True):
            ShifterOutput.voltage.checked(output, volts)
        if voltages.any():
            self.energising("voltages")
        with self.exclusive():
            self.told[:] = np.nan
            for start in range(0, self._count, MODULE):
                self._accepted(self._vector(start, voltages[start : start + MODULE]))
            self.told[:] = voltages

    @Uses("vvec{n}=")
    def _vector(self, start: int, voltages: NDArray[np.float64]) -> bytes:
        """The message that sets the outputs of one module."""
        if self.binary:
            scale = 0xFFFF / self.full_voltage if voltages.any() else 0.0
            return frame(VOLTAGE, start, np.floor(voltages * scale).astype(np.uint16))
        return f"vvec{start}={','.join(f'{volts:.6g}' for volts in voltages.tolist())}".encode()

    def voltages(self) -> NDArray[np.float64]:
        """Measured voltages in V."""
        return self._all(VOLTAGE, "V")

    def currents(self) -> NDArray[np.float64]:
        """Measured currents in A."""
        return 1e-3 * self._all(CURRENT, "mA")

    def safe_state(self) -> None:
        """All outputs to 0 V, confirmed by measurement (below 50 mV). Trips that are reported do not stop it."""
        with self.unconditionally(), self.exclusive():
            count = self._count or len(_twice(self.voltages))
            for start in range(0, count, MODULE):
                with suppress(InstrumentError):
                    self._accepted(self._vector(start, np.zeros(min(MODULE, count - start))))
            self.told = np.full(count, np.nan)
            self.clock.sleep(0.02)
            left = np.abs(_twice(self.voltages))
            if left.max() > 0.05:
                raise NotConfirmed(f"{self.name}: output {left.argmax()} still measures {left.max():.3g} V")

    def ask(self, command: str, *, timeout: float | None = None) -> str:
        """Send a query and give its reply of one line."""
        return self.exchange(command.encode(self.encoding), timeout=timeout)[0]

    def tell(self, command: str, *, timeout: float | None = None) -> None:
        """Send a command; its answer must be ``OK``."""
        self._accepted(command.encode(self.encoding), timeout=timeout)

    def exchange(self, message: bytes, *, many: bool = False, timeout: float | None = None) -> list[str]:
        """Send a command, as text or frame, and read its answer: a line, or `many` up to the echo of a ping.

        Raises
        ------
        InstrumentError
            If an error line came before or instead of the answer.
        """
        lines: list[str] = []
        errors: list[int] = []
        words: list[str] = []
        with self.transport.transaction():
            waiting = self.transport.leftover().decode("ascii", "replace").split("\n")[:-1]
            if any(line.strip() and not _ERROR_LINE.fullmatch(line.strip()) for line in waiting):
                stale = ProtocolError("a line that nobody asked for was waiting before the command was sent")
                raise self.transport.complain(stale, message)
            self.transport.write(message, timeout=timeout)
            if many:
                self.transport.write(b"ok", timeout=timeout)
            try:
                while True:
                    line = self.text(self.transport.read(timeout=timeout), message.hex(" "))
                    found = _ERROR_LINE.fullmatch(line)
                    if found is not None:
                        code = int(found[1])
                        if code not in REFUSED and not self.is_open:
                            continue
                        errors.append(code)
                        words.append(f"{ERRORS.get(code, 'undocumented error')} (channel {int(found[2])})")
                        if code in REFUSED and not many:
                            break
                    elif many and line.upper() == "OK":
                        break
                    else:
                        lines.append(line)
                        if not many:
                            break
            except TransportTimeout as error:
                error.about(command=message)
                if not errors:
                    raise
        if errors:
            raise self.transport.complain(InstrumentError("; ".join(words), code=errors[0]), message)
        return lines

    def _accepted(self, message: bytes, *, timeout: float | None = None) -> None:
        reply = self.exchange(message, timeout=timeout)[0]
        if reply.upper() != "OK":
            raise self.transport.complain(ProtocolError(f"the reply {reply!r} is not OK"), message)

    @Uses("vall?", "iall?", "vmaxall?")
    def _all(self, code: int, unit: str) -> NDArray[np.float64]:
        """One number of every output, shape (outputs,)."""
        message = frame(code, every=True)
        if self.binary:
            lines = self.exchange(message, many=True)
        elif code == CURRENT_LIMIT:  # the only one that has no word for all
            lines = [self.ask(f"imax{number}?") for number in range(self._count)]
        else:
            lines = self.exchange({VOLTAGE: b"vall?", CURRENT: b"iall?", VOLTAGE_LIMIT: b"vmaxall?"}[code], many=True)
        if self._count and len(lines) != self._count:
            error = ProtocolError(f"{len(lines)} values came from {self._count} outputs")
            raise self.transport.complain(error, message)
        try:
            return np.array([number_in(line.replace(" ", ""), unit) for line in lines], dtype=np.float64)
        except ValueError:
            raise self.wrong_reply(message.hex(" "), lines, f"numbers in {unit}") from None

    def _after_reopening(self) -> None:
        super()._after_reopening()
        known = np.isfinite(self.told)
        if known.any() and not np.allclose(self.voltages()[known], self.told[known], rtol=0.02, atol=0.05):
            raise SettingsChanged(
                f"{self.name}: after the connection was lost the outputs are not as they were set. "
                "Look at the modules, then open them again"
            )


def _twice(call: Callable[[], T]) -> T:
    """Once more where error lines that had waited were in the way."""
    try:
        return call()
    except InstrumentError:
        return call()
