"""Imperfection ladder of the client: one knob at a time over two decades against the formulas of physics P1.5.

No noise is drawn but the knob's own, so the excess is read off the returned light itself: mean square of a residual
quadrature, 2 <|returned - sent|^2> a mode. Light is isotropic with mu photons a mode, as P1.5 has it. The slope of
log(excess) over log(formula) is 1 within 2 %; the factor in front is 1 within five standard errors of the drawn errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from labqdl.facts.layout import FrameLayout
from labqdl_sim.world import World
from labqdl_sim.world.interferometers import MziMesh, MziMeshInverse, TimeBinTree, TimeBinTreeInverse
from labqdl_sim.world.taps import FeedForwardTap
from tests.sim.world.ideal import (
    BIN_RATE,
    Complex,
    Real,
    Source,
    delayed,
    directions,
    heat,
    ideal_drives,
    joined,
    mesh_phases,
    modes,
    stepped,
    world,
)

N, MU, ROWS, IMAGES = 8, 4.0, 8, 8
DECADES = np.logspace(-3.5, -1.5, 5)
COUPLERS = N - 1
LAYOUT = FrameLayout(N, IMAGES, ROWS, BIN_RATE, guard_rows=0, preamble_rows=1, pilot_every=0)
SEEDS = 6


def isotropic(generator: np.random.Generator) -> Complex:
    """Light whose covariance over the rows of an image is exactly mu times the identity: it has no sampling error."""
    drawn = (generator.standard_normal((N, N)) + 1j * generator.standard_normal((N, N)) for _ in range(IMAGES))
    unitary: Complex = np.stack([np.linalg.qr(one)[0] for one in drawn])
    return unitary * math.sqrt(MU * N)


def pair(
    seed: int, given: Mapping[str, float], spread: Mapping[str, float], noise: Callable[[str, int], Real | None]
) -> tuple[World, Complex]:
    """Source, tree and inverse; `noise` adds voltages to a port of the forward (0) and of the inverse tree (1)."""
    generator = np.random.default_rng(seed)
    made = world(1, seed)
    u = directions(generator, IMAGES, N)
    symbols = LAYOUT.symbols(isotropic(generator), 0.0)
    made.add(Source, "source").symbols = symbols.ravel()
    settings = {"n_modes": N, "bin_rate": BIN_RATE, **given}
    trees = made.add(TimeBinTree, "tree", settings, spread), made.add(TimeBinTreeInverse, "back", settings, spread)
    late = N / BIN_RATE
    for side, tree in enumerate(trees):
        for port, volts in ideal_drives(u, LAYOUT).items():
            extra = noise(port, side)
            total = volts if extra is None else joined(volts, stepped(extra))
            tree.connect_volts(port, delayed({port: total}, side * late)[port])
    made.link("source", "tree")
    made.link("tree", "back", "residual", "residual")
    made.link("tree", "back", "carry", "carry")
    return made, symbols


def excess(made: World, symbols: Complex) -> float:
    """Mean square of a residual quadrature of the data rows, SNU."""
    shape = (LAYOUT.total_rows, N, 1)
    field = made.parts["back"].light("output", made.grid(2 * N / BIN_RATE, LAYOUT.bins))
    difference = (modes(field, shape, made.step) - symbols)[LAYOUT.data_rows.ravel()]
    return float(2 * np.mean(np.abs(difference) ** 2))


def outcome(made: World, symbols: Complex) -> float:
    """Mean square of the error of the addressed quadrature at the tap, SNU."""
    ideal, _ = pair(int(made.root.entropy[0]), {}, {}, lambda port, side: None)
    shape = (LAYOUT.total_rows, N, 1)
    grid = made.grid(N / BIN_RATE, LAYOUT.bins)
    found, wanted = (modes(one.parts["tree"].light("carry", grid), shape, made.step) for one in (made, ideal))
    return float(2 * np.mean(np.abs(found - wanted)[LAYOUT.data_rows.ravel(), -1] ** 2))


def judge(
    measure: Callable[[float, int], float], formula: Callable[[float], float], relative: float, more: int = 0
) -> None:
    """Compare over two decades and some seeds; `relative` is the standard error of the mean of the drawn errors.

    Where few are drawn a world, the factor comes from `more` seeds at one value.
    """
    measured = np.array([np.mean([measure(knob, seed) for seed in range(1, SEEDS + 1)]) for knob in DECADES])
    wanted = np.array([formula(float(knob)) for knob in DECADES])
    slope = np.polyfit(np.log(wanted), np.log(measured), 1)[0]
    assert abs(slope - 1) < 0.02, slope
    ratio = measured / wanted
    if more:
        ratio = np.array([np.mean([measure(0.01, seed) for seed in range(1, more + 1)]) / formula(0.01)])
    print(f"slope {slope:.5f}, factor {ratio.mean():.4f}, at most {5 * relative + 0.01:.3f} off 1")
    assert np.all(np.abs(ratio - 1) < 5 * relative + 0.01), ratio


def jitter(port_wanted: str, volts: float, seed: int) -> Callable[[str, int], Real | None]:
    """Independent errors of a voltage, in every bin and in both trees."""

    def noise(port: str, side: int) -> Real | None:
        if not port.startswith(port_wanted):
            return None
        address = [seed, side, *port.encode()]
        return volts * np.random.default_rng(address).standard_normal(LAYOUT.bins)

    return noise


def reciprocal(noise: Callable[[str, int], Real | None]) -> Callable[[str, int], Real | None]:
    """The forward tree's errors in both trees."""
    return lambda port, side: noise(port, 0)


DRAWN = math.sqrt(2 / (SEEDS * IMAGES * ROWS * COUPLERS))


def test_independent_errors_of_the_couplers() -> None:
    """8 mu delta^2 (n-1)/n on the residual; 2 mu delta^2 sum_k R_k^2 on the outcome, in a tree 2 mu delta^2 log2 n."""

    def made(delta: float, seed: int) -> tuple[World, Complex]:
        return pair(seed, {}, {}, jitter("stage", delta * 5.0 * 2 / math.pi, seed))

    judge(lambda d, seed: excess(*made(d, seed)), lambda d: 8 * MU * d**2 * (N - 1) / N, DRAWN)
    judge(lambda d, seed: outcome(*made(d, seed)), lambda d: 2 * MU * d**2 * math.log2(N), 3 * DRAWN)


def test_independent_errors_of_the_phases() -> None:
    """4 mu delta^2 on the residual, 2 mu delta^2 on the outcome."""

    def made(delta: float, seed: int) -> tuple[World, Complex]:
        return pair(seed, {}, {}, jitter("phase", delta * 5.0 / math.pi, seed))

    judge(lambda d, seed: excess(*made(d, seed)), lambda d: 4 * MU * d**2, DRAWN)
    judge(lambda d, seed: outcome(*made(d, seed)), lambda d: 2 * MU * d**2, 3 * DRAWN)


def test_the_same_errors_both_ways_are_seen_by_the_client_only() -> None:
    """A reciprocal mesh: 0 on the residual."""
    for port in ("stage", "phase"):
        made, symbols = pair(3, {}, {}, reciprocal(jitter(port, 0.1, 3)))
        assert excess(made, symbols) < 1e-24
        assert outcome(made, symbols) > 1e-3


def test_converters_with_few_bits() -> None:
    """Steps of size Delta over [0, pi/2] are independent errors of Delta/sqrt(12) rad."""

    def made(delta: float, seed: int) -> tuple[World, Complex]:
        ideal = ideal_drives(directions(np.random.default_rng(seed), IMAGES, N), LAYOUT)
        size = delta * math.sqrt(12.0) * 5.0 * 2 / math.pi
        bins: Real = np.asarray((np.arange(LAYOUT.bins) + 0.5) / BIN_RATE, np.float64)

        def noise(port: str, side: int) -> Real | None:
            if not port.startswith("stage"):
                return None
            volts = ideal[port](bins)
            # The two converters have different zeros.
            zero = np.random.default_rng([seed, side, *port.encode()]).uniform(size=LAYOUT.bins) * size
            error: Real = np.asarray(np.round((volts + zero) / size) * size - zero - volts, np.float64)
            return error

        return pair(seed, {}, {}, noise)

    judge(lambda d, seed: excess(*made(d, seed)), lambda d: 8 * MU * d**2 * (N - 1) / N, DRAWN)


@pytest.mark.parametrize(("key", "factor", "scatter"), [("offset", 8, 0.9), ("coupler_error", 16, 0.65)])
def test_constant_errors_of_stages(key: str, factor: int, scatter: float) -> None:
    """Drawn once a stage: the same mean as independent ones; 50:50 couplers that miss by delta: two a coupler each way.

    Errors of the stages are few, and the excess of one seed scatters by `scatter` of its mean; the slope does not.
    """
    judge(
        lambda d, seed: excess(*pair(seed, {}, {key: d}, lambda port, side: None)),
        lambda d: factor * MU * d**2 * (N - 1) / N,
        scatter / math.sqrt(60),
        more=60,
    )


def tapped(seed: int, given: Mapping[str, float]) -> tuple[World, Complex]:
    """The same with a tap in the addressed arm, whose noise is subtracted: the same world without light."""
    made, symbols = pair(seed, {}, {}, lambda port, side: None)
    made.add(FeedForwardTap, "tap", {"t": 0.9, "noise": 0.0, **given})
    made.link("tree", "tap", "carry")
    made.link("tap", "back", "output", "carry")
    return made, symbols


def tap_excess(seed: int, given: Mapping[str, float]) -> float:
    made, symbols = tapped(seed, given)
    shape = (LAYOUT.total_rows, N, 1)
    grid = made.grid(2 * N / BIN_RATE, LAYOUT.bins)
    lit = modes(made.parts["back"].light("output", grid), shape, made.step)
    source = made.parts["source"]
    assert isinstance(source, Source)
    source.symbols = np.zeros(1, np.complex128)
    made.changed()
    dark = modes(made.parts["back"].light("output", grid), shape, made.step)
    return float(2 * np.mean(np.abs(lit - dark - symbols)[LAYOUT.data_rows.ravel()] ** 2))


def test_net_gain_off_one() -> None:
    """2 mu |t - 1|^2 / n: the phase of the arm, and gain and phase of the electronics, which make 1 - sqrt(t) of it."""
    part = 1 - math.sqrt(0.9)
    for knob, weight in (("arm_phase", 1.0), ("gain_error", part), ("phase_error", part)):
        measured = np.array([tap_excess(1, {knob: float(d)}) for d in DECADES])
        np.testing.assert_allclose(measured, 2 * MU * (weight * DECADES) ** 2 / N, rtol=1e-3)


def chip(seed: int, given: Mapping[str, float], spread: Mapping[str, float]) -> tuple[World, Complex]:
    """A mesh and its inverse instead of the tree; one direction for all images."""
    generator = np.random.default_rng(seed)
    made = world(1, seed)
    symbols = LAYOUT.symbols(isotropic(generator), 0.0)
    made.add(Source, "source").symbols = symbols.ravel()
    settings = {"n_modes": N, "bin_rate": BIN_RATE, "phase_per_v2": 0.3, **given}
    mesh, back = made.add(MziMesh, "tree", settings, spread), made.add(MziMeshInverse, "back", settings, spread)
    forward, inverse, _ = mesh_phases(directions(generator, 1, N)[0])
    heat(mesh, forward, 0.3)
    heat(back, inverse, 0.3)
    made.link("source", "tree")
    for port in ("carry", "residual"):
        made.link("tree", "back", port, port)
    return made, symbols


def test_heaters_of_a_chip() -> None:
    """Errors of phases are half as large in angle; thermal crosstalk is quadratic too, with a factor of the chip."""
    # An internal phase off by delta turns by delta/2 and shifts both ports by delta/2: delta^2/2 of the light of two
    # modes; an external or a returning one shifts one mode by delta. Two chips: 2 (n-1) of each, n on the way back.
    photons = MU * (2 * (N - 1) * 1.0 + 2 * (N - 1) * 1.0 + N)
    judge(
        lambda d, seed: excess(*chip(seed, {}, {"offset": d})),
        lambda d: 2 * photons * d**2 / N,
        0.5 / math.sqrt(40),
        more=40,
    )
    one = excess(*chip(1, {"crosstalk": 1e-3}, {})) / 1e-6
    measured = np.array([excess(*chip(1, {"crosstalk": float(knob)}, {})) for knob in DECADES[:4]])
    slope = np.polyfit(np.log(one * DECADES[:4] ** 2), np.log(measured), 1)[0]
    assert abs(slope - 1) < 0.02
    assert one > 1.0
