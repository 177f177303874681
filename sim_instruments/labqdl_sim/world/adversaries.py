"""Parts that cheats put into the light: each has one input and one output, and what is kept leaves at a second one.

Their laws are those of `labqdl.optics.client_law`; noise is white on the raster, so that it is the same in every mode,
whatever its shape. A client that amplifies more than agreed needs no part of its own: its tap has other parameters.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from labqdl_sim.world.fields import Complex, Field, Grid
from labqdl_sim.world.noise import White
from labqdl_sim.world.part import Parameter, Part


class _Adding(Part):
    """Adds complex classical noise."""

    light_inputs = ("input",)

    def setup(self) -> None:
        """Open the noise."""
        self._noise = White(self.world.root, f"{self.name} noise", 2)

    def added(self, grid: Grid, variance: float) -> Complex:
        """Noise of this variance in each quadrature of every mode, SNU; (count,)."""
        drawn = self._noise.at(grid.first, grid.count)
        noise: Complex = math.sqrt(variance / (4.0 * grid.step)) * (drawn[0] + 1j * drawn[1])
        return noise


class Interceptor(_Adding):
    """Intercept and resend: a heterodyne reads all light, and new light is sent with the amplitude that was read."""

    kind = "interceptor"
    light_outputs = ("output",)
    parameters: ClassVar = {
        "gain": Parameter("amplitude sent per amplitude read; mu/(mu + 1) for the best estimate", 1.0, low=0.0),
        "efficiency": Parameter("of the heterodyne", 1.0, low=1e-6, high=1.0),
    }

    def light(self, port: str, grid: Grid) -> Field:
        """What was read: a coherent quadrature with a variance of 2 at efficiency 1."""
        field = self.field("input", grid)
        read = field.envelope + self.added(grid, 2.0 / self["efficiency"])
        return Field(self["gain"] * read, field.jones, field.wavelength)


class PassiveTap(Part):
    """Splits a power fraction off, and leaves it at `kept`: inside the client, or outside on the fibre."""

    kind = "passive-tap"
    light_inputs = ("input",)
    light_outputs = ("output", "kept")
    parameters: ClassVar = {"fraction": Parameter("share of the power that is kept", 0.01, low=0.0, high=1.0)}

    def light(self, port: str, grid: Grid) -> Field:
        """The output's share."""
        share = self["fraction"] if port == "kept" else 1.0 - self["fraction"]
        return self.field("input", grid).scaled(math.sqrt(share))


class Cloner(_Adding):
    """Optimal Gaussian cloner on all modes: the clone that goes on has noise D, the other one the same noise times 1/D.

    In classical terms the two noises are one, zeta and zeta/D: no other pair of clones is less noisy.
    """

    kind = "cloner"
    light_outputs = ("output", "kept")
    parameters: ClassVar = {"noise": Parameter("D, noise of the clone that goes on, SNU a quadrature", 1.0, low=1e-9)}

    def light(self, port: str, grid: Grid) -> Field:
        """One of the clones."""
        field = self.field("input", grid)
        noise = self.added(grid, self["noise"])
        return Field(
            field.envelope + (noise / self["noise"] if port == "kept" else noise), field.jones, field.wavelength
        )


class Spiker(_Adding):
    """Adds noise to slots in which no signal arrives: a shot-noise unit taken from slots that crossed it is too large.

    A slot counts as empty where the light stays below `threshold` for half a `window` before and after. With a voltage
    at `enable`, noise is added only while that is above 0.5 V.
    """

    kind = "spiker"
    light_outputs = ("output",)
    volt_inputs = ("enable",)
    parameters: ClassVar = {
        "noise": Parameter("noise that is added, SNU a quadrature", 0.1, low=0.0),
        "threshold": Parameter("light above which a slot has a signal, photons a second", 1e6, low=0.0),
        "window": Parameter(
            "light this near, before and after together, makes a slot one with signal, s", 1e-5, low=0.0
        ),
    }

    def light(self, port: str, grid: Grid) -> Field:
        """The input, noisier where it is empty."""
        reach = math.ceil(self["window"] / (2.0 * grid.step))
        wide = self.field("input", grid.widened(reach, reach))
        bright = np.square(np.abs(wide.envelope)) > self["threshold"]
        seen = np.concatenate([[0], np.cumsum(bright)])
        empty = seen[2 * reach + 1 :] == seen[: grid.count]
        if self.plugged("enable"):
            empty &= self.drive("enable", grid.instants) > 0.5
        light = wide.envelope[reach : reach + grid.count]
        return Field(light + np.where(empty, self.added(grid, self["noise"]), 0.0), wide.jones, wide.wavelength)


PARTS = (Interceptor, PassiveTap, Cloner, Spiker)
