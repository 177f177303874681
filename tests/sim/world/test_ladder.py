"""Imperfection ladder: one knob alone, over two decades, against the closed forms of docs/world.md.

What is compared is the classical light (the world adds shot noise at detectors only), so the excess of each rung is
known to the number of symbols; the rungs share their random numbers. A slope of 1 is that of the excess against the
square of the knob. Coefficients agree within 5 standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from labqdl.facts.layout import FrameLayout
from labqdl_sim.world import Field, Grid, Part, World
from labqdl_sim.world.interferometers import TimeBinTree, TimeBinTreeInverse
from tests.sim.world.ideal import BIN_RATE, Source, delayed, directions, ideal_drives, modes, stepped
from tests.sim.world.parts import Complex, Real, empty, exact, pulled

STRICT = 5.0
MU = 4.0
POINTS = 2
KNOBS = 10.0 ** np.linspace(-3.5, -1.5, 5)
"""Two decades, in rad."""
V_PI = 5.0


def climb(excess: Callable[[float], float], expected: Callable[[float], float], error: float) -> None:
    """Slope within 2 %, every rung within so many relative standard errors."""
    found = np.array([excess(float(knob)) for knob in KNOBS])
    slope = np.polyfit(np.log(KNOBS**2), np.log(found), 1)[0]
    assert abs(slope - 1.0) < 0.02
    wanted = np.array([expected(float(knob)) for knob in KNOBS])
    np.testing.assert_allclose(found / wanted, 1.0, atol=STRICT * error)


@dataclass
class Loop:
    """Symbols through a tree and its inverse, whose voltages are off by errors that a test gives.

    `excess(...)`: mean square error of a quadrature in SNU, of what returns and of the client's carry.
    """

    n_modes: int
    images: int
    rows: int
    seed: int = 3

    def __post_init__(self) -> None:
        self.layout = FrameLayout(
            self.n_modes, self.images, self.rows, BIN_RATE, guard_rows=0, preamble_rows=1, pilot_every=0
        )
        self.generator = np.random.default_rng(self.seed)
        self.u = directions(self.generator, self.images, self.n_modes)
        shape = (self.images, self.rows, self.n_modes)
        self.data: Complex = np.zeros(shape, np.complex128)
        self.data.real, self.data.imag = math.sqrt(MU / 2) * self.generator.standard_normal((2, *shape))
        self.symbols = self.layout.symbols(self.data, 1.0)
        self.depth = (self.n_modes - 1).bit_length()

    def errors(self) -> Real:
        """One standard normal a bin."""
        drawn: Real = self.generator.standard_normal(self.layout.bins)
        return drawn

    def excess(self, forward: Mapping[str, Real], back: Mapping[str, Real]) -> tuple[float, float]:
        """Errors in V by port and bin; the excess of the return, and that of the carry."""
        world = World(empty(self.seed).root, POINTS * BIN_RATE)
        world.add(Source, "source").symbols = self.symbols.ravel()
        settings = {"n_modes": self.n_modes, "bin_rate": BIN_RATE}
        tree = world.add(TimeBinTree, "tree", settings)
        late = tree.truth["latency"]
        inverse = world.add(TimeBinTreeInverse, "inverse", {**settings, "sync_delay": late})
        world.link("source", "tree")
        for port in ("carry", "residual"):
            world.link("tree", "inverse", port, port)
        drives = ideal_drives(self.u, self.layout, V_PI, V_PI)
        for port, volts in drives.items():
            tree.connect_volts(port, _plus(volts, forward.get(port)))
        for port, volts in delayed(
            {port: _plus(volts, back.get(port)) for port, volts in drives.items()}, late
        ).items():
            inverse.connect_volts(port, volts)
        for part in (tree, inverse):
            part.connect_volts("sync", stepped(np.ones(self.layout.bins)))
        return self._error(world, "inverse", "output", 2), self._error(world, "tree", "carry", 1)

    def _error(self, world: World, name: str, port: str, latencies: int) -> float:
        start = latencies * self.n_modes / BIN_RATE
        field = pulled(world, name, port, start, self.layout.bins * POINTS)
        rows = modes(field, (self.layout.total_rows, self.n_modes, POINTS), world.step)[self.layout.data_rows]
        if port == "carry":
            wanted = np.einsum("ij,irj->ir", np.conj(self.u), self.data)
            return float(2.0 * np.mean(np.abs(rows[..., -1] - wanted) ** 2))
        return float(2.0 * np.mean(np.abs(rows - self.data) ** 2))


def _plus(volts: Callable[[Real], Real], errors: Real | None) -> Callable[[Real], Real]:
    if errors is None:
        return volts
    wrong = stepped(errors)
    return lambda instants: volts(instants) + wrong(instants)


def stages(loop: Loop) -> dict[str, Real]:
    """Errors of all stages for an angle error of 1 rad."""
    return {f"stage{stage}": loop.errors() * V_PI * 2 / np.pi for stage in range(loop.depth)}


def phases(loop: Loop) -> dict[str, Real]:
    """Errors of the phase for an error of 1 rad."""
    return {"phase": loop.errors() * V_PI / np.pi}


def scaled(errors: Mapping[str, Real], factor: float) -> dict[str, Real]:
    """All of them times a factor."""
    return {port: factor * values for port, values in errors.items()}


SIZES = [(2, 20, 100), (8, 20, 40), pytest.param(32, 200, 100, marks=pytest.mark.soak)]


@pytest.mark.parametrize(("n_modes", "images", "rows"), SIZES)
def test_independent_errors_of_coupler_angles(n_modes: int, images: int, rows: int) -> None:
    """8 mu delta^2 (n - 1)/n on the return; 2 mu delta^2 sum R_k^2 on the carry, log2 n of them in a tree."""
    loop = Loop(n_modes, images, rows)
    forward, back = stages(loop), stages(loop)
    # A squared error of one coupler is the product of two exponentials or so: relative variance 5 at most.
    error = math.sqrt(5.0 / (2 * images * rows * (n_modes - 1)))
    share = (n_modes - 1) / n_modes
    climb(
        lambda knob: loop.excess(scaled(forward, knob), scaled(back, knob))[0],
        lambda knob: 8 * MU * knob**2 * share, error,
    )  # fmt: skip
    carry = loop.excess(scaled(forward, 1e-3), {})[1] / (2 * MU * 1e-6 * loop.depth)
    assert abs(carry - 1.0) < STRICT * math.sqrt(8.0 / (images * rows))


@pytest.mark.parametrize(("n_modes", "images", "rows"), SIZES)
def test_independent_errors_of_phase_shifters(n_modes: int, images: int, rows: int) -> None:
    """4 mu delta^2 on the return, 2 mu delta^2 on the carry."""
    loop = Loop(n_modes, images, rows)
    forward, back = phases(loop), phases(loop)
    error = math.sqrt(4.0 / (images * rows * n_modes))
    climb(
        lambda knob: loop.excess(scaled(forward, knob), scaled(back, knob))[0],
        lambda knob: 4 * MU * knob**2, error,
    )  # fmt: skip
    carry = loop.excess(scaled(forward, 1e-3), {})[1] / (2 * MU * 1e-6)
    assert abs(carry - 1.0) < STRICT * math.sqrt(8.0 / (images * rows))


def test_the_same_errors_forward_and_back_do_nothing() -> None:
    loop = Loop(8, 5, 10)
    wrong = scaled({**stages(loop), **phases(loop)}, 0.03)
    returned, carry = loop.excess(wrong, wrong)
    assert returned < 1e-20
    assert carry > 1e-3


def test_steps_of_a_converter_are_errors_of_the_angle() -> None:
    """b bits over [0, pi/2] on the way there only: 4 mu delta^2 (n - 1)/n with delta = (pi/2) 2^-b / sqrt 12."""
    loop = Loop(8, 60, 4)
    drives = ideal_drives(loop.u, loop.layout, V_PI, V_PI)
    centres = (np.arange(loop.layout.bins, dtype=np.float64) + 0.5) / BIN_RATE
    for bits in (6, 9, 12):
        wrong = {}
        for port, volts in drives.items():
            if port.startswith("stage"):
                world = empty()
                cable = exact(world, "cable", full_scale=V_PI, bits=bits + 1)
                cable.connect_volts("input", volts)
                # The largest angle is the end of the range, which has no code of its own.
                ideal = volts(centres)
                wrong[port] = np.where(ideal > 0.999 * V_PI, 0.0, world.volts_of("cable", "output")(centres) - ideal)
        delta = math.pi / 2 * 2.0**-bits / math.sqrt(12)
        ratio = loop.excess(wrong, {})[0] / (4 * MU * delta**2 * 7 / 8)
        # 60 directions with 7 angles each: the square of a uniform error has a relative variance of 4/5.
        assert abs(ratio - 1.0) < STRICT * math.sqrt(2.0 / (60 * 7))


class Encoder(Part):
    """The light of a laser with the symbols of bins, from instant 0 on; mean photons a bin are the symbols'."""

    kind = "encoder"
    light_inputs = ("input",)
    light_outputs = ("output",)
    settings: ClassVar[Mapping[str, Any]] = {}
    symbols: Complex = np.zeros(0, np.complex128)

    def light(self, port: str, grid: Grid) -> Field:
        """Symbols times the phase of the light."""
        laser = self.field("input", grid)
        place = np.floor(grid.instants * BIN_RATE + 1e-3).astype(np.int64)
        inside = (place >= 0) & (place < self.symbols.size)
        symbols = np.where(inside, self.symbols[np.clip(place, 0, self.symbols.size - 1)], 0.0)
        return laser.scaled(symbols * math.sqrt(BIN_RATE / laser.flux))


def detuned(linewidth: float, mismatch: float, symbols: Complex) -> World:
    """A laser, split: symbols on one arm, which is longer by `mismatch` in s; "fibre" and "splitter" tap to compare."""
    world = World(empty(5).root, POINTS * BIN_RATE)
    exact(world, "laser", linewidth=linewidth, rin=0.0)
    exact(world, "splitter")
    world.add(Encoder, "encoder").symbols = symbols
    exact(world, "fibre", length=0.0, delay=mismatch, phase=0.0)
    world.link("laser", "splitter")
    world.link("splitter", "encoder", "main")
    world.link("encoder", "fibre")
    return world


def drawn(count: int) -> Complex:
    """Symbols with mean MU photons."""
    generator = np.random.default_rng(11)
    result = np.zeros(count, np.complex128)
    result.real, result.imag = math.sqrt(MU / 2) * generator.standard_normal((2, count))
    return result


def in_bin(lag: float) -> float:
    """What the mean over a bin's points leaves of the variance of a Wiener process over `lag` bins.

    1 - (1 - 1/POINTS^2)/(3 lag); in the limit of many points tau - T_bin/3 takes the place of the delay tau.
    """
    return 1.0 - (1.0 - POINTS**-2) / (3.0 * lag)


@pytest.mark.parametrize("bins", [60_000, pytest.param(2_000_000, marks=pytest.mark.soak)])
def test_common_phase_noise_of_unequal_arms(bins: int) -> None:
    """2 mu T sigma^2 with sigma^2 = 2 pi dnu (tau - T_bin/3), T = 1: arms 0.48 us apart."""
    mismatch = 3 / BIN_RATE
    symbols = drawn(bins)

    def excess(sigma: float) -> float:
        world = detuned(sigma**2 / (2 * math.pi * mismatch), mismatch, symbols)
        start, count = mismatch, bins * POINTS
        signal, lo = pulled(world, "fibre", "output", start, count), pulled(world, "splitter", "tap", start, count)
        beat = signal.envelope * np.conj(lo.envelope) / np.abs(lo.envelope)
        returned = beat.reshape(bins, POINTS).sum(axis=1) * math.sqrt(world.step / POINTS)
        return float(2 * np.mean(np.abs(returned - symbols) ** 2))

    # Phases are correlated over three bins: relative variance of phi^2 |alpha|^2, summed over its correlation.
    climb(excess, lambda sigma: 2 * MU * sigma**2 * in_bin(3), math.sqrt((2 * 3 + 3) / bins))


def test_common_phase_noise_through_a_receiver() -> None:
    """Bright light in quadrature with its oscillator: variance of the outcomes 1 + 4 mu sigma^2 of the vacuum's."""
    bins, photons, sigma, mismatch = 60_000, 1e4, 5e-3, 3 / BIN_RATE
    world = detuned(sigma**2 / (2 * math.pi * mismatch), mismatch, np.full(bins, 1j * math.sqrt(photons)))
    receiver = exact(
        world, "homodyne", efficiency=1.0, visibility=1.0, noise=0.0, cmrr_db=300.0, bandwidth=0.0, swing=1e3,
        saturation=1.0,
    )  # fmt: skip
    world.link("fibre", "homodyne", port_in="signal")
    world.link("splitter", "homodyne", "tap", "lo")
    instants = world.grid(mismatch, bins * POINTS).instants
    bright = world.volts_of("homodyne", "output")(instants)
    receiver.connect_light("signal", None)
    vacuum = world.volts_of("homodyne", "output")(instants)
    means = [volts.reshape(bins, POINTS).sum(axis=1) for volts in (bright, vacuum)]
    ratio = float(np.var(means[0]) / np.var(means[1]))
    expected = 1 + 4 * photons * sigma**2 * in_bin(3)
    # The vacuum is the same in both; the phase is correlated over three bins.
    assert abs(ratio - expected) < STRICT * expected * math.sqrt(2 * (1 + 2) / bins)


def test_coherence_over_the_row() -> None:
    """Bins of a row leave the laser one after the other: 2 mu 2 pi dnu T (n - 1)/2 on the client's outcome."""
    n_modes, rows = 8, 10_000
    u = np.full((1, n_modes), 1 / math.sqrt(n_modes), np.complex128)
    layout = FrameLayout(n_modes, 1, rows, BIN_RATE, guard_rows=0, preamble_rows=1, pilot_every=0)
    data = drawn(rows * n_modes).reshape(1, rows, n_modes)
    drives = ideal_drives(u, layout, V_PI, V_PI)

    def excess(sigma: float) -> float:
        span = (n_modes - 1) / 2 / BIN_RATE
        world = detuned(sigma**2 / (2 * math.pi * span), 0.0, layout.symbols(data, 1.0).ravel())
        tree = world.add(TimeBinTree, "tree", {"n_modes": n_modes, "bin_rate": BIN_RATE})
        exact(world, "fibre", "lo", length=0.0, phase=0.0, delay=tree.truth["latency"])
        world.link("fibre", "tree")
        world.link("splitter", "lo", "tap")
        for port, volts in {**drives, "sync": stepped(np.ones(layout.bins))}.items():
            tree.connect_volts(port, volts)
        start, count = n_modes / BIN_RATE, layout.bins * POINTS
        lo = pulled(world, "lo", "output", start, count).envelope
        field = pulled(world, "tree", "carry", start, count)
        beat = Field(field.envelope * np.conj(lo) / np.abs(lo), field.jones)
        carry = modes(beat, (layout.total_rows, n_modes, POINTS), world.step)[layout.data_rows][..., -1]
        return float(2 * np.mean(np.abs(carry - np.einsum("ij,irj->ir", np.conj(u), data)) ** 2))

    left = sum(lag * in_bin(lag) for lag in range(1, n_modes)) / sum(range(1, n_modes))
    climb(excess, lambda sigma: 2 * MU * sigma**2 * left, math.sqrt(3.0 / rows))


def test_steps_of_a_digitizer() -> None:
    """Delta^2/12 beside the shot noise of a receiver, for 5 to 12 bits: slope against Delta^2 1, every rung 12."""
    world = empty()
    exact(world, "laser", power=5e-3, rin=0.0)
    exact(world, "homodyne", bandwidth=0.0, noise=0.0, transimpedance=5e5, swing=10.0)
    world.link("laser", "homodyne", port_in="lo")
    instants = world.grid(0.01, 40_000).instants
    analogue = world.volts_of("homodyne", "output")(instants)
    assert 0.1 < analogue.std() < 0.3
    analogue = np.clip(analogue, -0.999, 0.999)
    steps, excess = [], []
    for bits in (5, 6, 7, 8, 9, 10, 11, 12):
        cable = exact(world, "cable", f"{bits} bits", bits=bits, full_scale=1.0)
        cable.connect_volts("input", lambda when: analogue)
        errors = world.volts_of(f"{bits} bits", "output")(instants) - analogue
        steps.append(2.0 / 2**bits)
        excess.append(float(np.mean(errors**2)))
        # The square of a uniform error has a relative variance of 4/5.
        assert abs(excess[-1] / (steps[-1] ** 2 / 12) - 1.0) < STRICT * math.sqrt(0.8 / instants.size)
    assert abs(np.polyfit(np.log(np.square(steps)), np.log(excess), 1)[0] - 1.0) < 0.02


def test_what_has_no_error_has_no_excess() -> None:
    assert max(Loop(8, 3, 5).excess({}, {})) < 1e-24
