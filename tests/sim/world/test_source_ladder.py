"""Imperfection ladder of source and digitizer: one knob alone, over two decades, against docs/world.md.

What is compared is the classical light (the world adds shot noise at detectors only), so the excess of each rung is
known to the number of symbols; the rungs share their random numbers. A slope of 1 is that of the excess against the
square of the knob. Coefficients agree within 5 standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from labqdl.facts.layout import FrameLayout
from labqdl_sim.world import Field, Grid, Part, World
from labqdl_sim.world.interferometers import TimeBinTree
from tests.sim.world.ideal import BIN_RATE, ideal_drives, modes, stepped
from tests.sim.world.parts import Complex, empty, exact, pulled

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
