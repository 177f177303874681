"""Passive optics: loss, splitters, couplers, taps and isolators. Loss multiplies amplitudes and adds nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import numpy as np

from labqdl.units import loss_to_transmissivity
from labqdl_sim.world.fields import Field, Grid
from labqdl_sim.world.part import Parameter, Part

_LOSS = Parameter("Loss from input to outputs, beyond the division, in dB", 0.0, low=0.0)


def transmission(loss_db: float) -> float:
    """Amplitude transmission of a loss in dB."""
    return math.sqrt(loss_to_transmissivity(loss_db))


class Loss(Part):
    """A loss that does not change: a pad, a connector, a splice."""

    kind = "loss"
    light_inputs = ("input",)
    light_outputs = ("output",)
    parameters: ClassVar = {"loss_db": Parameter("Loss in dB", 0.0, low=0.0)}
    faults: ClassVar = {"blocked": "no light passes", "excess_db": "so much more loss in dB: a bend, a dirty connector"}

    def light(self, port: str, grid: Grid) -> Field:
        """What is left of the input."""
        field = self.field("input", grid).scaled(transmission(self["loss_db"]))
        return hindered(self, field, grid)


def hindered(part: Part, field: Field, grid: Grid) -> Field:
    """Light behind the faults `blocked` and `excess_db` of a part."""
    if part.strikes("blocked"):
        field = field.scaled(np.where(part.struck_at("blocked", grid.instants) > 0.0, 0.0, 1.0))
    if part.strikes("excess_db"):
        field = field.scaled(10.0 ** (-part.struck_at("excess_db", grid.instants) / 20.0))
    return field


class Pad(Loss):
    """A fixed attenuator."""

    kind = "pad"
    parameters: ClassVar = {"loss_db": Parameter("Loss in dB", 10.0, spread=0.1, low=0.0)}


class Splitter(Part):
    """One input, two outputs: the tap gets `ratio` of the power, the main output the rest."""

    kind = "splitter"
    light_inputs = ("input",)
    light_outputs = ("main", "tap")
    parameters: ClassVar = {
        "ratio": Parameter("Share of the power that leaves at the tap", 0.5, spread=0.005, low=0.0, high=1.0),
        "loss_db": _LOSS,
    }

    def light(self, port: str, grid: Grid) -> Field:
        """The output's share of the input."""
        share = self["ratio"] if port == "tap" else 1.0 - self["ratio"]
        return self.field("input", grid).scaled(transmission(self["loss_db"]) * math.sqrt(share))


class PowerTap(Splitter):
    """A splitter that sends a percent to a power meter."""

    kind = "power-tap"
    parameters: ClassVar = {
        "ratio": Parameter("Share of the power that leaves at the tap", 0.01, spread=0.0005, low=0.0, high=1.0),
        "loss_db": _LOSS,
    }


class Coupler(Part):
    """Two inputs, two outputs: c = sqrt(1-r) a + i sqrt(r) b, d = i sqrt(r) a + sqrt(1-r) b.

    Where the two inputs differ in polarisation, that of `a` leaves (of `b` where `a` is dark); of the other one only
    what is parallel interferes, and the rest is lost.
    """

    kind = "coupler"
    light_inputs = ("a", "b")
    light_outputs = ("c", "d")
    parameters: ClassVar = {
        "ratio": Parameter("Share of the power that crosses", 0.5, spread=0.005, low=0.0, high=1.0),
        "loss_db": _LOSS,
    }

    def light(self, port: str, grid: Grid) -> Field:
        """Both inputs, one straight and one crossed."""
        straight = transmission(self["loss_db"]) * math.sqrt(1.0 - self["ratio"])
        crossed = 1j * transmission(self["loss_db"]) * math.sqrt(self["ratio"])
        a, b = self.field("a", grid), self.field("b", grid)
        main, other = (a, b) if np.any(a.envelope) else (b, a)
        first, second = (straight, crossed) if (main is a) == (port == "c") else (crossed, straight)
        overlap = complex(np.vdot(main.jones, other.jones))
        return replace(main, envelope=first * main.envelope + (second * overlap) * other.envelope)


class Isolator(Part):
    """Light passes forward with `loss_db`, backward with `isolation_db`."""

    kind = "isolator"
    light_inputs = ("input", "back_input")
    light_outputs = ("output", "back_output")
    parameters: ClassVar = {
        "loss_db": Parameter("Forward loss in dB", 0.5, spread=0.1, low=0.0),
        "isolation_db": Parameter("Backward loss in dB", 40.0, spread=2.0, low=0.0),
    }
    faults: ClassVar = {"blocked": "no light passes", "excess_db": "so much more loss in dB"}

    def light(self, port: str, grid: Grid) -> Field:
        """One of the two directions."""
        forward = port == "output"
        field = self.field("input" if forward else "back_input", grid)
        field = field.scaled(transmission(self["loss_db" if forward else "isolation_db"]))
        return hindered(self, field, grid)


PARTS = (Loss, Pad, Splitter, PowerTap, Coupler, Isolator)
