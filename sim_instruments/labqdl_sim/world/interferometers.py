"""The client's interferometer: what steers the mode b = u^dagger a into one bin, and what undoes it.

All of them act on the bins of each row in place: light of a row's bins comes out in the row's bins, later by a
constant latency. That is what a tree of delays of 1, 2, 4, ... bins does to every bin (each passes each loop once),
and what a chip does behind a demultiplexer and before a multiplexer. Formulas: docs/world-client.md.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl_sim.world.fields import Complex, Field, Grid
from labqdl_sim.world.part import Parameter, Part
from labqdl_sim.world.rows import Rows, cut

Real = NDArray[np.float64]

STAGES = 10
"""Stages that a tree can have: rows of up to 1024 bins."""
MESH_MODES = 64
"""Modes that a mesh can have."""
_KEPT = 4
"""Grids for which both outputs are kept: the tap asks for two where its electronics are late."""


def amplitude(loss_db: float) -> float:
    """Amplitude factor of a loss in dB."""
    return float(10.0 ** (-loss_db / 20.0))


def coupled(first: Complex, second: Complex, angle: float) -> tuple[Complex, Complex]:
    """A lossless coupler: cos(angle) straight, i sin(angle) across."""
    if angle == 0.0:
        return first, second
    cosine, sine = math.cos(angle), 1j * math.sin(angle)
    return cosine * first + sine * second, sine * first + cosine * second


class _RowInterferometer(Part):
    """What trees and meshes share: rows, latency, two outputs or two inputs for carry and residual."""

    parameters: ClassVar[dict[str, Parameter]] = {
        "loss_db": Parameter("loss of one stage, dB", 0.0, low=0.0),
        "extinction_db": Parameter("extinction of the switch between carry and residual, dB", math.inf, low=0.0),
        "coupler_error": Parameter(
            "by how much the couplers of an element miss 50:50, rad; each is drawn with the spread", 0.0
        ),
        "latency": Parameter(
            "from entering to leaving, the same for all bins, s; nan for the duration of a row", math.nan
        ),
    }
    settings: ClassVar[dict[str, Any]] = {
        "n_modes": 32,
        "bin_rate": 6.25e6,
        "sync_delay": 0.0,
        "sync_level": 0.5,
    }

    def setup(self) -> None:
        self.n_modes = int(self.setting["n_modes"])
        points = self.world.rate / float(self.setting["bin_rate"])
        self.points = round(points)
        if self.n_modes < 1:
            raise InputError(f"a row of {self.n_modes} bins", key=f"components.{self.name}.n_modes", expected=">= 1")
        if self.points < 1 or abs(points - self.points) > 1e-9 * points:
            raise InputError(
                f"a bin of 1/{self.setting['bin_rate']:g} s is no whole number of steps of the raster, "
                f"{self.world.rate:g} points a second",
                key=f"components.{self.name}.bin_rate",
                expected="a rate that divides simulation.rate",
            )
        if math.isnan(self.truth["latency"]):
            self.truth["latency"] = self.n_modes / float(self.setting["bin_rate"])
        self._recent: OrderedDict[tuple[Grid, int], tuple[Complex, Field]] = OrderedDict()

    def draw(self, key: str, number: int) -> None:
        """Draw the truth KEY_NUMBER of one of several equal elements, by itself around the common nominal value."""
        nominal, spread, limits = self.nominal[key], self.spreads[key], self.parameters[key]
        value = nominal
        if spread:
            generator = self.world.root.generator(f"truth {self.name} {key}", number)
            value = next(
                (
                    drawn
                    for normal in generator.standard_normal(64)
                    if limits.low <= (drawn := nominal + spread * float(normal)) <= limits.high
                ),
                nominal,
            )
        self.truth[f"{key}_{number}"] = value

    def rows(self, grid: Grid) -> list[Rows]:
        """Rows that cover a grid at the input."""
        return list(
            cut(
                self._drives.get("sync"),
                grid,
                self.n_modes,
                self.points,
                float(self.setting["sync_delay"]),
                float(self.setting["sync_level"]),
            )
        )

    def passed(self, grid: Grid) -> tuple[Complex, Field]:
        """What the interferometer makes of its light on a grid at its output: all bins, and a field as a pattern."""
        key = (grid, self.world.version)
        found = self._recent.get(key)
        if found is None:
            found = self._recent[key] = self._computed(grid.delayed(self.truth["latency"]))
            while len(self._recent) > _KEPT:
                self._recent.popitem(last=False)
        return found

    def _computed(self, grid: Grid) -> tuple[Complex, Field]:
        raise NotImplementedError

    def shares(self, shape: tuple[int, int, int]) -> tuple[Real, Real]:
        """Amplitudes with which the switch lets each bin into carry and residual; broadcasts with `shape`."""
        leak = self.truth["extinction_db"]
        wrong = 0.0 if math.isinf(leak) else amplitude(leak)
        carry = np.full((1, shape[1], 1), wrong)
        carry[:, -1] = math.sqrt(1.0 - wrong**2)
        return carry, np.sqrt(1.0 - carry**2)


class _Forward(_RowInterferometer):
    """One fibre in; the addressed bin and all others come out of two."""

    light_inputs = ("input",)
    light_outputs = ("carry", "residual")

    def light(self, port: str, grid: Grid) -> Field:
        """The last bin of each row (`carry`), or the others (`residual`)."""
        both, like = self.passed(grid)
        index = self.light_outputs.index(port)
        return Field(both[index], like.jones, like.wavelength)

    def _computed(self, grid: Grid) -> tuple[Complex, Field]:
        result = np.zeros((2, grid.count), np.complex128)
        like = Field.dark(grid)
        for rows in self.rows(grid):
            like = self.field("input", rows.grid)
            bins = self.transformed(like.envelope.reshape(rows.shape), rows.instants)
            for target, share in zip(result, self.shares(rows.shape), strict=True):
                rows.place(bins * share, target)
        return result, like

    def transformed(self, bins: Complex, instants: Real) -> Complex:
        """What becomes of the bins, (rows, n_modes, points)."""
        raise NotImplementedError


class _Inverse(_RowInterferometer):
    """The addressed bin and all others come in from two fibres; one fibre out."""

    light_inputs = ("carry", "residual")
    light_outputs = ("output",)

    def light(self, port: str, grid: Grid) -> Field:
        """Rows as they were before the forward interferometer."""
        envelope, like = self.passed(grid)
        return Field(envelope, like.jones, like.wavelength)

    def _computed(self, grid: Grid) -> tuple[Complex, Field]:
        result = np.zeros(grid.count, np.complex128)
        like = Field.dark(grid)
        for rows in self.rows(grid):
            shares = self.shares(rows.shape)
            fields = [self.field(port, rows.grid) for port in self.light_inputs]
            like = fields[0] if self.plugged("carry") else fields[1]
            bins = sum(field.envelope.reshape(rows.shape) * share for field, share in zip(fields, shares, strict=True))
            rows.place(self.transformed(np.asarray(bins), rows.instants), result)
        return result, like

    def transformed(self, bins: Complex, instants: Real) -> Complex:
        """What becomes of the bins, (rows, n_modes, points)."""
        raise NotImplementedError


class _Tree(_RowInterferometer):
    """Phase modulator and stages with loops of 1, 2, 4, ... bins."""

    volt_inputs = ("phase", *(f"stage{stage}" for stage in range(STAGES)), "sync")
    parameters: ClassVar[dict[str, Parameter]] = {
        **_RowInterferometer.parameters,
        "v_pi_stage": Parameter(
            "volts that turn a stage from passing to crossing (angle by pi/2), V; each is drawn", 5.0, low=1e-3
        ),
        "offset": Parameter("angle of a stage at 0 V, rad; each is drawn with the spread", 0.0),
        "v_pi_phase": Parameter("volts for a phase of pi, V", 5.0, low=1e-3),
    }

    def setup(self) -> None:
        super().setup()
        self.depth = max(self.n_modes - 1, 0).bit_length()
        if self.depth > STAGES:
            raise InputError(
                f"a tree for {self.n_modes} bins needs {self.depth} stages",
                key=f"components.{self.name}.n_modes",
                expected=f"at most {1 << STAGES}",
            )
        for stage in range(self.depth):
            self.draw("v_pi_stage", stage)
            self.draw("offset", stage)
        for coupler in range(2 * self.depth):
            self.draw("coupler_error", coupler)

    def couplers(self, stage: int) -> tuple[slice, slice]:
        """Earlier and later bins that meet in a stage: last bins of blocks, counted from the row's end."""
        delay = 1 << stage
        first = (self.n_modes - 1 - delay) % (2 * delay)
        return slice(first, self.n_modes - delay, 2 * delay), slice(first + delay, self.n_modes, 2 * delay)

    def phase(self, instants: Real) -> Complex | None:
        """Factor of the phase modulator, or None where nothing is plugged in."""
        if not self.plugged("phase"):
            return None
        volts = self.drive("phase", instants.ravel()).reshape(instants.shape)
        factor: Complex = np.exp((-1j * np.pi / self.truth["v_pi_phase"]) * volts)
        return factor

    def joined(self, bins: Complex, instants: Real, stage: int) -> None:
        """One stage, in place: the earlier bin keeps the difference, the later one carries."""
        early, late = self.couplers(stage)
        when = instants[:, late]
        volts = self.drive(f"stage{stage}", when.ravel()).reshape(when.shape)
        angle = (np.pi / 2 / self.truth[f"v_pi_stage_{stage}"]) * volts + self.truth[f"offset_{stage}"]
        cosine, sine = np.cos(angle), np.sin(angle)
        before, behind = (self.truth[f"coupler_error_{2 * stage + side}"] for side in (0, 1))
        first, second = coupled(bins[:, early], bins[:, late], before)
        carry = cosine * first + sine * second
        difference = cosine * second - sine * first
        bins[:, early], bins[:, late] = coupled(difference, carry, behind)


class TimeBinTree(_Tree, _Forward):
    """Time-bin tree: carries u^dagger a into the last bin of each row, for angles and phases that fit u."""

    kind = "time-bin-tree"

    def transformed(self, bins: Complex, instants: Real) -> Complex:
        """Phases, then the stages with delays 1, 2, 4, ..."""
        factor = self.phase(instants)
        fields: Complex = bins * amplitude(self.depth * self.truth["loss_db"])
        if factor is not None:
            fields *= factor
        for stage in range(self.depth):
            self.joined(fields, instants, stage)
        return fields


class TimeBinTreeInverse(_Tree, _Inverse):
    """The way back: the stages with delays ..., 4, 2, 1, then the phases with the other sign."""

    kind = "time-bin-tree-inverse"

    def transformed(self, bins: Complex, instants: Real) -> Complex:
        """Undoes `TimeBinTree` if it gets the same voltages at the same bins."""
        fields: Complex = bins * amplitude(self.depth * self.truth["loss_db"])
        for stage in reversed(range(self.depth)):
            self.joined(fields, instants, stage)
        factor = self.phase(instants)
        return fields if factor is None else fields * np.conj(factor)


class _Mesh(_RowInterferometer):
    """Chain of Mach-Zehnder interferometers with heaters, behind a demultiplexer; the carry runs on the upper port.

    A heater's phase is offset + phase_per_v2 (V^2 + crosstalk sum_j V_j^2 / |i - j|^2) over the others of its row on
    the chip (internal ones and external ones are a row each). Voltages are constant: they are read at a row's begin.
    """

    parameters: ClassVar[dict[str, Parameter]] = {
        **_RowInterferometer.parameters,
        "phase_per_v2": Parameter("phase of a heater per volt squared, rad/V^2; each is drawn", 0.3, low=1e-6),
        "offset": Parameter("phase of a path at 0 V, rad; each is drawn with the spread", 0.0),
        "crosstalk": Parameter("share of its phase that a heater gives to its neighbour", 0.0, low=0.0, high=1.0),
        "facet_db": Parameter("loss of getting on and off the chip, together, dB", 0.0, low=0.0),
    }
    banks: ClassVar[tuple[str, ...]] = ("th", "ph")

    def setup(self) -> None:
        super().setup()
        if self.n_modes > MESH_MODES:
            raise InputError(
                f"a mesh of {self.n_modes} modes", key=f"components.{self.name}.n_modes", expected=f"<= {MESH_MODES}"
            )
        self.places: dict[str, range] = {}
        at = 0
        for bank in self.banks:
            heaters = self.n_modes if bank == "ret" else self.n_modes - 1
            self.places[bank] = range(at, at + heaters)
            at += heaters
        for heater in range(at):
            self.draw("phase_per_v2", heater)
            self.draw("offset", heater)
        for coupler in range(2 * (self.n_modes - 1)):
            self.draw("coupler_error", coupler)

    def imbalance(self, element: int, side: int) -> float:
        """Angle of one of the two couplers of an element, rad."""
        return math.pi / 4 + self.truth[f"coupler_error_{2 * element + side}"]

    def heated(self, bank: str, when: Real) -> Real:
        """Phases of a bank of heaters at the begin of each row, (heaters, rows), rad."""
        numbers = self.places[bank]
        if not numbers:
            return np.zeros((0, when.size))
        slope = np.array([self.truth[f"phase_per_v2_{number}"] for number in numbers])
        offset = np.array([self.truth[f"offset_{number}"] for number in numbers])
        power = np.stack([np.square(self.drive(f"{bank}{place + 1}", when)) for place in range(slope.size)])
        places = np.arange(slope.size)
        distance = np.abs(places[:, None] - places)
        spread = self.truth["crosstalk"] / np.maximum(distance, 1) ** 2
        np.fill_diagonal(spread, 1.0)
        phases: Real = slope[:, None] * (spread @ power) + offset[:, None]
        return phases


def _phased(phases: Real) -> Complex:
    """Phasors of (rows,) phases that multiply (rows, points)."""
    factors: Complex = np.exp(1j * phases)[:, None]
    return factors


class MziMesh(_Mesh, _Forward):
    """Chain of n-1 Mach-Zehnder interferometers: external phase, 50:50, internal phase, 50:50."""

    kind = "mzi-mesh"
    volt_inputs = (
        *(f"{bank}{place}" for bank in ("th", "ph") for place in range(1, MESH_MODES)),
        "sync",
    )

    def transformed(self, bins: Complex, instants: Real) -> Complex:
        """Differences in bins 0 ... n-2, the carry in the last one."""
        when = instants[:, 0, 0]
        internal, external = self.heated("th", when), self.heated("ph", when)
        fields: Complex = bins * amplitude(self.truth["facet_db"])
        element = amplitude(self.truth["loss_db"])
        for k in range(self.n_modes - 1):
            upper, lower = fields[:, k] * (element * _phased(external[k])), fields[:, k + 1] * element
            upper, lower = coupled(upper, lower, self.imbalance(k, 0))
            upper, lower = coupled(upper * _phased(internal[k]), lower, self.imbalance(k, 1))
            fields[:, k], fields[:, k + 1] = lower, upper
        return fields


class MziMeshInverse(_Mesh, _Inverse):
    """The same chain passed backwards, with a phase shifter at each port where light returns.

    Backwards an element is the transpose, so that it undoes the forward one only with external phases and phases at
    the returning ports of its own (docs/world-client.md).
    """

    kind = "mzi-mesh-inverse"
    banks = ("th", "ph", "ret")
    volt_inputs = (
        *(f"{bank}{place}" for bank in ("th", "ph") for place in range(1, MESH_MODES)),
        *(f"ret{place}" for place in range(1, MESH_MODES + 1)),
        "sync",
    )

    def transformed(self, bins: Complex, instants: Real) -> Complex:
        """From differences and carry back to the modes."""
        when = instants[:, 0, 0]
        internal, external, back = (self.heated(bank, when) for bank in self.banks)
        fields: Complex = bins * amplitude(self.truth["facet_db"])
        element = amplitude(self.truth["loss_db"])
        for k in reversed(range(self.n_modes - 1)):
            lower, upper = fields[:, k] * element, fields[:, k + 1] * element
            upper, lower = coupled(upper, lower, self.imbalance(k, 1))
            upper, lower = coupled(upper * _phased(internal[k]), lower, self.imbalance(k, 0))
            fields[:, k], fields[:, k + 1] = upper * _phased(external[k]), lower
        result: Complex = fields * np.exp(1j * back.T)[:, :, None]
        return result


PARTS = (TimeBinTree, TimeBinTreeInverse, MziMesh, MziMeshInverse)
