"""The client's trees and meshes against the matrices that physics asks for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from labqdl.facts.layout import FrameLayout
from labqdl_sim.world import Grid, World
from labqdl_sim.world.interferometers import TimeBinTree, TimeBinTreeInverse
from tests.sim.world.ideal import BIN_RATE, Complex, Source, delayed, directions, ideal_drives, modes, stepped, world

POINTS = 2


def bench(layout: FrameLayout, u: Complex, symbols: Complex, **given: float) -> World:
    """Source, tree and inverse one after the other, with ideal voltages for the given directions."""
    made = world(POINTS)
    made.add(Source, "source").symbols = symbols.ravel()
    settings = {"n_modes": layout.n_modes, "bin_rate": BIN_RATE, **given}
    tree = made.add(TimeBinTree, "tree", settings)
    latency = tree.truth["latency"]
    back = made.add(TimeBinTreeInverse, "back", {**settings, "sync_delay": latency})
    made.link("source", "tree")
    for port in ("carry", "residual"):
        made.link("tree", "back", port, port)
    drives = ideal_drives(u, layout)
    for port, volts in drives.items():
        tree.connect_volts(port, volts)
    for port, volts in delayed(drives, latency).items():
        back.connect_volts(port, volts)
    start = stepped(np.ones(layout.bins))
    tree.connect_volts("sync", start)
    back.connect_volts("sync", start)
    return made


def shot(made: World, name: str, port: str, layout: FrameLayout, latencies: int) -> Complex:
    """All bins of the shot behind so many latencies."""
    late = latencies * layout.n_modes / BIN_RATE
    grid = made.grid(late, layout.bins * POINTS)
    return modes(made.light_of(name, port)(grid), (layout.total_rows, layout.n_modes, POINTS), made.step)


def random_shot(n_modes: int, seed: int) -> tuple[FrameLayout, Complex, Complex]:
    layout = FrameLayout(n_modes, images=3, rows=5, bin_rate=BIN_RATE, guard_rows=2, preamble_rows=3, pilot_every=4)
    generator = np.random.default_rng(seed)
    data = generator.standard_normal((3, 5, n_modes)) + 1j * generator.standard_normal((3, 5, n_modes))
    return layout, directions(generator, 3, n_modes), layout.symbols(data, 2.0)


@pytest.mark.parametrize("n_modes", [1, 2, 5, 8, 32])
def test_tree_carries_the_inner_product_and_its_inverse_undoes_it(n_modes: int) -> None:
    layout, u, symbols = random_shot(n_modes, n_modes)
    made = bench(layout, u, symbols)
    carry = shot(made, "tree", "carry", layout, 1)
    wanted = np.einsum("ij,irj->ir", np.conj(u), symbols[layout.data_rows])
    np.testing.assert_allclose(carry[layout.data_rows, -1], wanted, atol=1e-12)
    other = np.setdiff1d(np.arange(layout.total_rows), layout.data_rows)
    np.testing.assert_allclose(carry[other, -1], symbols[other, -1], atol=1e-12)
    assert not np.any(carry[:, :-1])
    residual = shot(made, "tree", "residual", layout, 1)
    assert not np.any(residual[:, -1])
    power = np.sum(np.abs(carry) ** 2 + np.abs(residual) ** 2, axis=1)
    np.testing.assert_allclose(power, np.sum(np.abs(symbols) ** 2, axis=1), rtol=1e-12)
    np.testing.assert_allclose(shot(made, "back", "output", layout, 2), symbols, atol=1e-12)


@pytest.mark.parametrize("n_modes", [1, 2, 8, 32])
def test_a_piece_of_the_light_is_what_the_whole_has_there(n_modes: int) -> None:
    layout, u, symbols = random_shot(n_modes, 7)
    made = bench(layout, u, symbols, loss_db=0.3, coupler_error=0.02)
    pull = made.light_of("back", "output")
    late = 2 * layout.n_modes * POINTS
    whole = pull(Grid(late * made.step, made.step, layout.bins * POINTS)).envelope
    cuts = [0, 3, 17, layout.bins, layout.bins * POINTS - 1, layout.bins * POINTS]
    for begin, end in pairwise(sorted(set(cuts))):
        piece = pull(Grid((late + begin) * made.step, made.step, end - begin)).envelope
        np.testing.assert_array_equal(piece, whole[begin:end])
