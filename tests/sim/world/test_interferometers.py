"""The client's trees and meshes against the matrices that physics asks for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from labqdl.errors import InputError
from labqdl.facts.layout import FrameLayout
from labqdl_sim.world import Grid, World
from labqdl_sim.world.interferometers import MziMesh, MziMeshInverse, TimeBinTree, TimeBinTreeInverse
from labqdl_sim.world.rows import last_edge
from tests.sim.world.ideal import (
    BIN_RATE,
    Complex,
    Real,
    Source,
    constant,
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


def givens(u: Complex) -> Complex:
    """U of physics 1.2 as a product of 2 x 2 rotations, without any of the library: outputs (d_2 ... d_n, c_n)."""
    n = u.size
    matrix = np.diag(np.exp(-1j * np.angle(u)))
    for k in range(1, n):
        angle = np.arctan2(abs(u[k]), np.linalg.norm(u[:k]))
        c, s = np.cos(angle), np.sin(angle)
        matrix[[k - 1, k]] = np.array([[-s, c], [c, s]]) @ matrix[[k - 1, k]]
    return matrix


@pytest.mark.parametrize("n_modes", [1, 2, 8])
def test_every_tree_and_mesh_is_a_unitary_whose_last_row_is_u(n_modes: int) -> None:
    """All basis vectors pass; the spaces of the residuals agree with the direct matrix, whatever their basis."""
    layout = FrameLayout(n_modes, 1, n_modes, BIN_RATE, guard_rows=1, preamble_rows=1, pilot_every=0)
    u = directions(np.random.default_rng(n_modes), 1, n_modes)
    symbols = layout.symbols(np.eye(n_modes, dtype=np.complex128)[None], 0.0)
    made = bench(layout, u, symbols)
    rows = sum(shot(made, "tree", port, layout, 1) for port in ("carry", "residual"))
    matrix = np.asarray(rows)[layout.data_rows[0]].T
    np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(n_modes), atol=1e-12)
    np.testing.assert_allclose(matrix[-1], givens(u[0])[-1], atol=1e-12)
    direct = givens(u[0])[:-1]
    np.testing.assert_allclose(
        matrix[:-1].conj().T @ matrix[:-1], direct.conj().T @ direct, atol=1e-12
    )  # projectors on the residuals


def chip(n_modes: int, u: Complex, symbols: Complex, **given: float) -> World:
    """Source, mesh and inverse with the voltages of an ideal chip of 0.3 rad/V^2."""
    made = world(POINTS)
    made.add(Source, "source").symbols = symbols.ravel()
    settings = {"n_modes": n_modes, "bin_rate": BIN_RATE, **given}
    mesh, back = made.add(MziMesh, "tree", settings), made.add(MziMeshInverse, "back", settings)
    made.link("source", "tree")
    for port in ("carry", "residual"):
        made.link("tree", "back", port, port)
    forward, inverse, _ = mesh_phases(u)
    heat(mesh, forward, 0.3)
    heat(back, inverse, 0.3)
    return made


@pytest.mark.parametrize("n_modes", [1, 2, 5, 8, 32])
def test_mesh_carries_the_inner_product_and_its_inverse_undoes_it(n_modes: int) -> None:
    generator = np.random.default_rng(n_modes)
    u = directions(generator, 1, n_modes)[0]
    symbols = generator.standard_normal((12, n_modes)) + 1j * generator.standard_normal((12, n_modes))
    layout = FrameLayout(n_modes, 1, 12, BIN_RATE, guard_rows=0, preamble_rows=1, pilot_every=0)
    shot_rows = np.concatenate([np.zeros((1, n_modes)), symbols])
    made = chip(n_modes, u, shot_rows)
    carry = shot(made, "tree", "carry", layout, 1)[1:, -1]
    np.testing.assert_allclose(carry, np.exp(1j * mesh_phases(u)[2]) * (symbols @ u.conj()), atol=1e-12)
    np.testing.assert_allclose(shot(made, "back", "output", layout, 2), shot_rows, atol=1e-12)


def test_loss_of_stages_elements_and_facets() -> None:
    """A tree loses the same for all bins; in a chain the modes that join last lose least (physics 1.2)."""
    n_modes, lost = 8, 0.2
    layout, u, symbols = random_shot(n_modes, 3)
    left = shot(bench(layout, u, symbols, loss_db=lost), "back", "output", layout, 2)
    np.testing.assert_allclose(left, symbols * 10 ** (-2 * 3 * lost / 20), atol=1e-12)
    one_row = FrameLayout(n_modes, 1, n_modes, BIN_RATE, guard_rows=0, preamble_rows=1, pilot_every=0)
    rows = np.concatenate([np.zeros((1, n_modes)), np.eye(n_modes)])
    made = chip(n_modes, u[0], rows, loss_db=lost, facet_db=1.5)
    carry = np.abs(shot(made, "tree", "carry", one_row, 1)[1:, -1])
    passed = np.array([7, 7, 6, 5, 4, 3, 2, 1])
    np.testing.assert_allclose(carry, np.abs(u[0]) * 10 ** (-(passed * lost + 1.5) / 20), atol=1e-12)


def test_extinction_of_the_switch_lets_light_into_the_other_arm() -> None:
    layout, u, symbols = random_shot(8, 4)
    closed, open_a_bit = (bench(layout, u, symbols, extinction_db=db) for db in (np.inf, 20.0))
    carry, mixed = (shot(made, "tree", "carry", layout, 1) for made in (closed, open_a_bit))
    others = shot(closed, "tree", "residual", layout, 1)
    np.testing.assert_allclose(mixed, np.sqrt(0.99) * carry + 0.1 * others, atol=1e-12)


def test_a_neighbour_heats_by_its_share_of_the_phase_and_less_with_distance() -> None:
    made = world(POINTS)
    given = {"n_modes": 5, "bin_rate": BIN_RATE, "crosstalk": 0.02, "phase_per_v2": 0.4, "offset": 0.3}
    mesh = made.add(MziMesh, "mesh", given)
    mesh.connect_volts("th2", constant(1.5))
    warmth = 0.4 * 1.5**2
    phases = mesh.heated("th", np.zeros(2))
    np.testing.assert_allclose(phases[:, 0], 0.3 + warmth * np.array([0.02, 1.0, 0.02, 0.005]))
    np.testing.assert_allclose(mesh.heated("ph", np.zeros(1)), 0.3)


def test_couplers_of_equal_elements_are_drawn_one_by_one_and_are_part_of_the_truth() -> None:
    made = world(POINTS)
    settings = {"n_modes": 32, "bin_rate": BIN_RATE}
    spread = {"v_pi_stage": 0.1, "offset": 0.05, "coupler_error": 0.01}
    tree, again = (world(POINTS).add(TimeBinTree, "tree", settings, spread) for _ in range(2))
    other = made.add(TimeBinTree, "other", settings, spread)
    assert tree.truth == pytest.approx(again.truth, nan_ok=True)
    for key, elements in (("v_pi_stage", 5), ("offset", 5), ("coupler_error", 10)):
        values = {tree.truth[f"{key}_{number}"] for number in range(elements)}
        assert len(values) == elements
        assert values.isdisjoint(other.truth.values())
    assert f"offset_{5}" not in tree.truth
    assert made.truth()["other"]["latency"] == pytest.approx(32 / BIN_RATE)


def test_rows_follow_the_last_edge_of_the_synchronisation() -> None:
    """Two shots with another pause than a whole number of rows: each counts from its own edge."""
    n_modes, rows = 4, 6
    layout = FrameLayout(n_modes, 1, rows - 1, BIN_RATE, guard_rows=0, preamble_rows=1, pilot_every=0)
    u = directions(np.random.default_rng(1), 1, n_modes)
    length = layout.bins
    generator = np.random.default_rng(2)
    data = generator.standard_normal((1, rows - 1, n_modes)).astype(np.complex128)
    symbols = layout.symbols(data, 1.0).ravel()
    pause = 2 * n_modes + 1
    begin = 3  # bins before the first shot
    light = np.concatenate([np.zeros(begin), symbols, np.zeros(pause), symbols])
    high = np.concatenate([np.zeros(begin), np.ones(length), np.zeros(pause), np.ones(length)])
    made = bench(layout, u, light)
    tree = made.parts["tree"]
    tree.connect_volts("sync", stepped(high))
    drives = ideal_drives(u, layout)
    second = delayed(drives, (begin + length + pause) / BIN_RATE)
    for port, volts in delayed(drives, begin / BIN_RATE).items():
        tree.connect_volts(port, joined(volts, second[port]))
    late = n_modes / BIN_RATE
    carry = made.light_of("tree", "carry")(made.grid(late, light.size * POINTS))
    bins = modes(carry, (1, light.size, POINTS), made.step)[0]
    wanted = np.einsum("j,rj->r", np.conj(u[0]), data[0])
    for start in (begin, begin + length + pause):
        last = bins[start : start + length].reshape(rows, n_modes)[layout.data_rows[0], -1]
        np.testing.assert_allclose(last, wanted, atol=1e-12)
    # The same from a grid that begins in the middle of the second shot.
    middle = begin + length + pause + 2 * n_modes + 1
    piece = made.light_of("tree", "carry")(made.grid(late + middle / BIN_RATE, 5 * POINTS))
    np.testing.assert_array_equal(piece.envelope, carry.envelope[middle * POINTS : (middle + 5) * POINTS])


def test_an_edge_is_found_from_afar_to_a_millionth_of_a_bin() -> None:
    edge = 1000.0123456789
    for age in (1e-9, 1e-6, 1e-4, 1e-3, 0.9):

        def pulse(instants: Real) -> Real:
            return np.where((instants >= edge) & (instants < edge + 2e-4), 1.2, 0.0)

        found = last_edge(pulse, edge + age, 0.5)
        if age < 0.8:
            assert found is not None
            assert abs(found - edge) < 1e-12 + 1e-15 * edge
    assert last_edge(pulse, edge - 1e-3, 0.5) is None


def test_mistakes_are_told() -> None:
    made = world(POINTS)
    with pytest.raises(InputError, match="whole number"):
        made.add(TimeBinTree, "tree", {"n_modes": 4, "bin_rate": 4e6})
    with pytest.raises(InputError, match="stages"):
        made.add(TimeBinTree, "long", {"n_modes": 2048, "bin_rate": BIN_RATE})
    with pytest.raises(InputError, match="65 modes"):
        made.add(MziMesh, "wide", {"n_modes": 65, "bin_rate": BIN_RATE})
    with pytest.raises(InputError, match="0 bins"):
        made.add(TimeBinTree, "none", {"n_modes": 0, "bin_rate": BIN_RATE})
