"""Optical switches: Thorlabs OSW12, OSW22 and Agiltron FF 1xN (sheet switch_thorlabs_osw_agiltron_ff.md).

`ThorlabsOsw` speaks lines; `AgiltronFf` (twin "labqdl_sim.twins.thorlabs_osw:AgiltronFf") speaks frames of four bytes.
Light enters "input" and leaves "output1" to "outputN"; an OSW22 has "input1" and "input2".

What the sheet leaves open, and what stands here:

- While the mirror moves no light goes through. OSW: 0.5 ms, in which the board hears nothing more; `S?` is the state
  that was commanded. Agiltron: 10 ms behind the echo, which comes at once; half of that time the old path still leaks a
  tenth of its light. `01 11` is the channel that was commanded, also while the mirror moves.
- A state other than 1 and 2 and a command that nobody knows are passed over in silence. Letters in any case; a blank
  before the line's end or none.
- Agiltron: a channel that there is not is answered with FF in the third byte, and so is every select while the "busy"
  fault holds. After power-on channel 1 is active. Bytes before a 01 are passed over (nothing else begins a frame); a
  frame that nobody knows is not answered. What is the rest of a frame may come at any time.
- Insertion loss 0.7 dB, crosstalk -60 dB; light of two inputs adds up, at the wavelength of the stronger one.
- `T?` gives the model, `I?` the board's name, "OSW-8104-01".

RTS/CTS are not simulated: roads have no such lines.
"""

from __future__ import annotations

import math
from dataclasses import replace

from labqdl.errors import InputError
from labqdl.units import from_db
from labqdl_sim.frames import FrameTwin, frame
from labqdl_sim.lines import LineTwin, line
from labqdl_sim.ports import DARK, Light, LightIn
from labqdl_sim.twin import Twin


class _Paths(Twin):
    """Light from inputs to outputs, and a mirror that needs time."""

    moves = 0.5e-3
    leak = 0.0

    def paths(self, inputs: tuple[str, ...], outputs: int) -> None:
        """Read the options of the optics, open the fibres."""
        self.moves = self.option("switch_time", self.moves)
        self.loss = from_db(-self.option("loss", 0.7))
        self.crosstalk = from_db(self.option("crosstalk", -60.0))
        self.inputs: list[LightIn] = [self.light_in(name) for name in inputs]
        for number in range(1, outputs + 1):
            self.light_out(f"output{number}", lambda t, number=number: self.leaves(number, t))  # type: ignore[misc]

    def reset(self) -> None:
        """Power-on: not latching, so state 1."""
        self.chosen = self.before = 1
        self.since = -math.inf

    def choose(self, state: int) -> None:
        """The mirror goes there."""
        if state != self.chosen:
            self.before, self.chosen, self.since = self.chosen, state, self.now

    def connected(self, state: int, output: int) -> int | None:
        """Index of the input that leads to an output in that state."""
        return 0 if state == output else None

    def leaves(self, output: int, t: float) -> Light:
        """The light of one output."""
        passed = t - self.since
        moving = passed < self.moves
        through = self.connected(self.before if moving else self.chosen, output)
        factor = 1.0 if not moving else self.leak if passed < self.moves / 2 else 0.0
        parts = []
        for index, fibre in enumerate(self.inputs):
            light = fibre.at(t)
            share = factor if index == through else 0.0
            parts.append(replace(light, power=light.power * self.loss * max(share, self.crosstalk)))
        power = math.fsum(part.power for part in parts)
        return Light(power, max(parts, key=lambda part: part.power).wavelength) if power > 0 else DARK


class ThorlabsOsw(_Paths, LineTwin):
    """An OSW12-1310E, or with `model` "OSW22-..." an OSW22 (state 1 bar, state 2 cross).

    Options: `board` (name that `I?` gives), `loss` and `crosstalk` (dB), `switch_time` (s).
    """

    maker = "Thorlabs"
    model = "OSW12-1310E"
    resources = ("ASRL{name}::INSTR", "ASRL{serial}::INSTR")
    baud = 115200
    latency = 1e-3
    line_limit = 256

    def setup(self) -> None:
        """Open the fibres."""
        self.board = self.option("board", "OSW-8104-01")
        self.crossing = self.model.upper().startswith("OSW22")
        self.paths(("input1", "input2") if self.crossing else ("input",), 2)

    def connected(self, state: int, output: int) -> int | None:
        """Bar and cross for the OSW22."""
        if self.crossing:
            return output - 1 if state == 1 else 2 - output
        return super().connected(state, output)

    @line("S {n:int}")
    def select(self, n: int) -> None:
        """Go to a state; no reply."""
        if n in (1, 2):
            self.choose(n)
            self.hold(self.moves)

    @line("S?")
    def state(self) -> int:
        """The state."""
        return self.chosen

    @line("T?")
    def kind(self) -> str:
        """Type of the board."""
        return self.model

    @line("I?")
    def name_of_board(self) -> str:
        """Name of the board."""
        return self.board


class _Framer:
    """Four bytes of which the first is 01."""

    def measure(self, buffer: bytearray) -> int:
        """See `Framer`."""
        start = buffer.find(b"\x01")
        if start:
            return -(len(buffer) if start < 0 else start)
        return 4 if len(buffer) >= 4 else 0


class AgiltronFf(_Paths, FrameTwin):
    """An FF 1x8 on the CL-LB driver board.

    Options: `channels` (4 or 8), `loss` and `crosstalk` (dB), `switch_time` (s).
    """

    maker = "Agiltron"
    model = "FF"
    resources = ("ASRL{name}::INSTR", "ASRL{serial}::INSTR")
    baud = 9600
    framer = _Framer()
    moves = 10e-3
    leak = 0.1

    def setup(self) -> None:
        """Open the fibres."""
        self.channels = self.option("channels", 8)
        if self.channels not in (4, 8):
            raise InputError(f"a switch with {self.channels} channels", key="channels", expected="4 or 8")
        self.paths(("input",), self.channels)

    def opcode(self, data: bytes) -> bytes:
        """The second byte says what to do, the third is zero."""
        return data[1:3]

    @frame(b"\x11\x00")
    def active(self, data: bytes) -> bytes:
        """The active channel."""
        return data[:3] + bytes([self.chosen])

    @frame(b"\x12\x00")
    def select(self, data: bytes) -> bytes:
        """Choose a channel."""
        if not 1 <= data[3] <= self.channels or self.faults.active("busy"):
            return data[:2] + b"\xff" + data[3:]
        self.choose(data[3])
        return data


TWIN = ThorlabsOsw
