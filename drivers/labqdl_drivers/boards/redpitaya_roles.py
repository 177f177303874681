"""What else a Red Pitaya board can be: a source of a small voltage, and lines for interlocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

from labqdl.clock import Clock
from labqdl.driver import Custom, Uses, reasons
from labqdl.errors import InputError
from labqdl.instruments import InterlockIO, NotAValue, NotConfirmed, VoltageSource, absent
from labqdl.transport import RoadOptions, Transport
from labqdl_drivers.boards.redpitaya import ACQUISITION, ANALOG, COMMON, DIGITAL, GENERATION, RedPitayaBoard

_LINE = re.compile(r"DIO\d+_[PN]|LED\d+")


class RedPitayaSource(RedPitayaBoard, VoltageSource):
    """A slow analog output as a source of 0 to 1.8 V.

    A pin has one value and no switch: ``output = False`` sends 0 V and keeps the set point here. The sheet has no way
    to ask a pin for its value, so `output` has none before it was set, and only a wire to a slow input (`sense`) lets
    the safe state be confirmed; without one the error queue must do.

    Parameters
    ----------
    pin:
        Number of the output, 0 to 3.
    sense:
        Number of the slow input (0 to 3) that measures the terminal; None for none.
    """

    left_out: ClassVar = reasons(
        COMMON
        | {ACQUISITION: "driver redpitaya", GENERATION: "driver redpitaya-generator", DIGITAL: "driver redpitaya-io"}
    )

    step: ClassVar[float] = 1.8 / 255  # 8 bits of pulse width

    def __init__(
        self,
        resource: str | Transport,
        *,
        pin: int = 0,
        sense: int | None = None,
        name: str | None = None,
        clock: Clock | None = None,
        options: RoadOptions | None = None,
    ) -> None:
        super().__init__(resource, name=name, clock=clock, options=options)
        for number in (pin, 0 if sense is None else sense):
            if number not in range(4):
                raise InputError(f"no slow pin {number}", source=self.name, expected="0 to 3")
        self.pin, self.sense = pin, sense
        self._volts = 0.0
        self._on: bool | None = None

    def _send(self, volts: float) -> None:
        self.tell(f"ANALOG:PIN AOUT{self.pin},{volts:.6g}")

    def _output(self) -> bool:
        if self._on is None:
            raise NotAValue(f"{self.name}: the board does not tell whether AOUT{self.pin} is above 0 V; set output")
        return self._on

    def _switch(self, on: bool) -> None:
        self._on = None
        self._send(self._volts if on else 0.0)
        self._on = on

    def _set_voltage(self, volts: float) -> None:
        if self._on:
            self.energising("voltage")
            self._send(volts)
        self._volts = volts

    def _measured(self) -> float:
        return self.ask_number(f"ANALOG:PIN? AIN{self.sense}")

    output = Custom(bool, _output, _switch, uses=("ANALOG:PIN",))
    # Kept here and not in the board: nothing to compare after a lost connection.
    voltage = Custom(float, lambda source: source._volts, _set_voltage, unit="V", limits=(0.0, 1.8), derived=True)
    measured_voltage = Custom(float, _measured, unit="V", uses=("ANALOG:PIN?",)).unless(
        lambda source: "no slow input is named as sense" if source.sense is None else ""
    )
    current_limit = absent("the sheet has none")
    measured_current = absent("the sheet has none")

    def safe_state(self) -> None:
        """0 V on the pin, measured where an input is named for it (below 20 mV).

        Without one nothing confirms it, since the board does not tell: it is said twice, in case once is lost.
        """
        with self.unconditionally():
            self._volts = 0.0
            self._switch(False)
            if self.sense is None:
                self._switch(False)
            elif abs(volts := self._measured()) > 0.02:
                raise NotConfirmed(f"{self.name}: AIN{self.sense} still measures {volts:.3g} V")


class RedPitayaIO(RedPitayaBoard, InterlockIO):
    """Digital pins and lights of the board as lines.

    A pin becomes an output when it is first set, low before it drives; opening changes no direction. Inputs are read as
    they are: after power-up all pins are inputs.

    Parameters
    ----------
    lines_in, lines_out:
        Names such as DIO0_P and LED1.
    """

    left_out: ClassVar = reasons(
        COMMON
        | {ACQUISITION: "driver redpitaya", GENERATION: "driver redpitaya-generator", ANALOG: "driver redpitaya-source"}
    )

    def __init__(
        self,
        resource: str | Transport,
        *,
        lines_in: Iterable[str] = ("DIO0_P", "DIO1_P", "DIO2_P", "DIO3_P"),
        lines_out: Iterable[str] = ("DIO4_P", "DIO5_P", "DIO6_P", "DIO7_P"),
        name: str | None = None,
        clock: Clock | None = None,
        options: RoadOptions | None = None,
    ) -> None:
        super().__init__(resource, name=name, clock=clock, options=options)
        self.lines_in, self.lines_out = tuple(lines_in), tuple(lines_out)
        for line in self.lines_in + self.lines_out:
            if not _LINE.fullmatch(line):
                raise InputError(f"no line {line!r}", source=self.name, expected="names such as DIO0_P and LED1")
        self._driven: set[str] = set()

    @Uses("DIG:PIN?")
    def _level(self, line: str) -> bool:
        command = f"DIG:PIN? {line}"
        reply = self.ask(command)
        if reply not in ("0", "1"):
            raise self.wrong_reply(command, reply, "0 or 1")
        return reply == "1"

    def inputs(self) -> Mapping[str, bool]:
        """Levels of the input lines."""
        return {line: self._level(line) for line in self.lines_in}

    def outputs(self) -> Mapping[str, bool]:
        """Levels of the output lines."""
        return {line: self._level(line) for line in self.lines_out}

    @Uses("DIG:PIN", "DIG:PIN:DIR")
    def set_output(self, line: str, level: bool) -> None:
        """Set a line and read it back; NotConfirmed where it has another level."""
        if line not in self.lines_out:
            expected = ", ".join(self.lines_out)
            raise InputError(f"no output line {line!r}", source=self.name, expected=expected)
        if level:
            self.energising(f"line {line}")
        with self.exclusive():
            if line.startswith("DIO") and line not in self._driven:
                self.tell(f"DIG:PIN {line},0")
                self.tell(f"DIG:PIN:DIR OUT,{line}")
                self._driven.add(line)
            self.tell(f"DIG:PIN {line},{level:d}")
            if self._level(line) != level:
                raise NotConfirmed(f"{self.name}: line {line} was set to {level:d} and reads {not level:d}")

    def safe_state(self) -> None:
        """Every output line driven low."""
        with self.unconditionally():
            self._driven.clear()
            self.try_all(*(lambda line=line: self.set_output(line, False) for line in self.lines_out))
