from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from labqdl.optics.interferometer import GivensChain, TimeBinTree, integrated_settings, mzi_matrix, reversed_settings

Complex = NDArray[np.complex128]
BUILDS = (GivensChain, TimeBinTree)
SIZES = (1, 2, 3, 5, 6, 8, 13, 32, 100)


def direction(n: int, seed: int, kind: str = "complex") -> Complex:
    generator = np.random.default_rng([n, seed])
    u = generator.standard_normal(n) + 1j * generator.standard_normal(n)
    if kind == "real":
        u = u.real + 0j
    if kind == "sparse":
        u *= generator.random(n) < 0.3
        u[generator.integers(n)] = 1 - 0.5j
    return np.asarray(u / np.linalg.norm(u), dtype=np.complex128)


@st.composite
def random_directions(draw: st.DrawFn) -> Complex:
    n = draw(st.integers(1, 40))
    entry = st.one_of(st.just(0.0), st.floats(-1, 1), st.floats(-1e-200, 1e-200))
    u = np.array(draw(st.lists(entry, min_size=n, max_size=n)), dtype=np.complex128)
    if draw(st.booleans()):
        u = u + 1j * np.array(draw(st.lists(entry, min_size=n, max_size=n)))
    norm = np.linalg.norm(u)
    if not norm > 1e-100:
        u[draw(st.integers(0, n - 1))] = 1.0
        norm = np.linalg.norm(u)
    return np.asarray(u / norm)


def check_unitary(build: type[GivensChain] | type[TimeBinTree], u: Complex) -> None:
    mesh = build.from_direction(u)
    n = u.size
    matrix = mesh.matrix()
    assert np.abs(matrix.conj().T @ matrix - np.eye(n)).max() < 1e-12
    assert np.abs(matrix[mesh.addressed] - u.conj()).max() < 1e-12
    generator = np.random.default_rng(n)
    a = generator.standard_normal((3, n)) + 1j * generator.standard_normal((3, n))
    outputs = mesh.forward(a)
    assert np.abs(outputs - a @ matrix.T).max() < 1e-12
    assert np.abs(outputs[:, mesh.addressed] - a @ u.conj()).max() < 1e-12
    assert np.abs(mesh.inverse(outputs) - a).max() < 1e-12


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("kind", ["complex", "real", "sparse"])
@pytest.mark.parametrize("n", SIZES)
def test_mesh_is_unitary_and_puts_the_inner_product_in_the_named_mode(
    build: type[GivensChain] | type[TimeBinTree], kind: str, n: int
) -> None:
    check_unitary(build, direction(n, 1, kind))


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("position", [0, 3, 6])
def test_basis_vector_passes_straight_through(build: type[GivensChain] | type[TimeBinTree], position: int) -> None:
    u = np.zeros(7, dtype=np.complex128)
    u[position] = 1j
    check_unitary(build, u)


@given(random_directions())
@settings(max_examples=60, deadline=None)
def test_any_direction(u: Complex) -> None:
    for build in BUILDS:
        check_unitary(build, u)


@pytest.mark.parametrize("build", BUILDS)
def test_batches_of_directions_and_of_amplitudes_broadcast(build: type[GivensChain] | type[TimeBinTree]) -> None:
    u = np.stack([direction(6, seed) for seed in range(4)])
    generator = np.random.default_rng(5)
    a = generator.standard_normal((3, 1, 6)) + 1j * generator.standard_normal((3, 1, 6))
    mesh = build.from_direction(u)
    outputs = mesh.forward(a)
    assert outputs.shape == (3, 4, 6)
    assert mesh.matrix().shape == (4, 6, 6)
    for image in range(4):
        alone = build.from_direction(u[image])
        np.testing.assert_allclose(outputs[:, image], alone.forward(a[:, 0]), atol=1e-14)
        np.testing.assert_allclose(mesh.matrix()[image], alone.matrix(), atol=1e-14)
    np.testing.assert_allclose(mesh.inverse(outputs), np.broadcast_to(a, (3, 4, 6)), atol=1e-13)


@pytest.mark.parametrize("build", BUILDS)
def test_float32_directions_are_normalised_to_the_last_digit(build: type[GivensChain] | type[TimeBinTree]) -> None:
    u = direction(50, 2).astype(np.complex64)
    matrix = build.from_direction(u).matrix()
    assert np.abs(matrix.conj().T @ matrix - np.eye(50)).max() < 1e-12


@pytest.mark.parametrize("build", BUILDS)
def test_refuses_what_is_no_direction(build: type[GivensChain] | type[TimeBinTree]) -> None:
    for bad in (np.zeros(3), np.array([1.0, 1.0]), np.array([np.nan, 1.0])):
        with pytest.raises(ValueError, match="unit"):
            build.from_direction(bad)
    for shapeless in (np.zeros(0), np.array(1.0)):
        with pytest.raises(ValueError, match="at least one mode"):
            build.from_direction(shapeless)
    mesh = build.from_direction(direction(3, 0))
    with pytest.raises(ValueError, match="takes"):
        mesh.forward(np.zeros(4, dtype=np.complex128))
    with pytest.raises(ValueError, match="takes"):
        mesh.inverse(np.array(1.0 + 0j))


# --- the chain -------------------------------------------------------------------------------------------------


def test_chain_equals_the_explicit_product_of_two_mode_rotations() -> None:
    n = 7
    u = direction(n, 3)
    moduli, running = np.abs(u), np.sqrt(np.cumsum(np.abs(u) ** 2))
    product = np.diag(np.exp(-1j * np.angle(u)))
    for k in range(1, n):
        step = np.eye(n, dtype=np.complex128)
        cosine, sine = running[k - 1] / running[k], moduli[k] / running[k]
        step[k - 1 : k + 1, k - 1 : k + 1] = [[-sine, cosine], [cosine, sine]]
        product = step @ product
    chain = GivensChain.from_direction(u)
    np.testing.assert_allclose(chain.matrix(), product, atol=1e-13)
    assert (chain.depth, chain.addressed) == (n - 1, n - 1)


@pytest.mark.parametrize("n", [1, 2, 6, 33])
def test_integrated_mzis_carry_b_with_the_stated_phase(n: int) -> None:
    u = direction(n, 4)
    chain = GivensChain.from_direction(u)
    chips = integrated_settings(chain)
    a = direction(n, 9) * 3
    carry = a[0]
    mesh = np.eye(n, dtype=np.complex128)
    for k in range(1, n):
        mzi = mzi_matrix(float(chips.internal[k - 1]), float(chips.external[k - 1]))
        np.testing.assert_allclose(mzi @ mzi.conj().T, np.eye(2), atol=1e-15)
        carry, _ = mzi @ np.array([carry, a[k]])
        step = np.eye(n, dtype=np.complex128)
        step[np.ix_([0, k], [0, k])] = mzi
        mesh = step @ mesh
    assert abs(carry - np.exp(1j * chips.carry_phase) * np.vdot(u, a)) < 1e-12
    np.testing.assert_allclose(mesh[0], np.exp(1j * chips.carry_phase) * u.conj(), atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 6, 33])
def test_a_chain_passed_backwards_undoes_the_first_one(n: int) -> None:
    chips = integrated_settings(GivensChain.from_direction(direction(n, 4)))
    back = reversed_settings(chips)
    both = np.eye(n, dtype=np.complex128)
    for k in range(1, n):
        both[[0, k]] = mzi_matrix(float(chips.internal[k - 1]), float(chips.external[k - 1])) @ both[[0, k]]
    for k in reversed(range(1, n)):
        both[[0, k]] = mzi_matrix(float(chips.internal[k - 1]), float(back.external[k - 1])).T @ both[[0, k]]
    both *= np.exp(1j * back.returning)[:, None]
    np.testing.assert_allclose(both, np.eye(n), atol=1e-12)


def test_mzi_is_two_balanced_couplers_around_a_phase() -> None:
    internal, external = 0.7, -1.9
    balanced = np.array([[1, 1j], [1j, 1]]) / math.sqrt(2)
    built = balanced @ np.diag([np.exp(1j * internal), 1]) @ balanced @ np.diag([np.exp(1j * external), 1])
    # The two differ by nothing: the formula includes the couplers' common phase.
    np.testing.assert_allclose(mzi_matrix(internal, external), built, atol=1e-15)


def test_integrated_settings_of_batches_and_of_loops() -> None:
    u = np.stack([direction(5, seed) for seed in range(3)])
    batch = integrated_settings(GivensChain.from_direction(u))
    alone = integrated_settings(GivensChain.from_direction(u[1]))
    np.testing.assert_allclose(batch.external[1], alone.external)
    np.testing.assert_allclose(batch.carry_phase[1], alone.carry_phase)
    with pytest.raises(ValueError, match="lossless"):
        integrated_settings(GivensChain.from_direction(u, loop_transmissivity=0.9))


@pytest.mark.parametrize("kind", ["complex", "sparse"])
def test_lossy_loop_captures_exactly_the_direction(kind: str) -> None:
    n, kept = 12, 0.93
    u = direction(n, 6, kind)
    loop = GivensChain.from_direction(u, loop_transmissivity=kept)
    exponents = n - 1 - np.arange(n)
    expected = 1.0 / np.sum(np.abs(u) ** 2 * kept ** (-exponents.astype(float)))
    assert float(loop.captured_fraction) == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(loop.matrix()[-1], math.sqrt(expected) * u.conj(), atol=1e-13)
    # A slot-by-slot loop: loss acts on the field between two slots, the last field stays in the loop.
    a = direction(n, 7)
    field, out = a[0] * np.exp(-1j * np.angle(u[0])), []
    for k in range(1, n):
        arriving, circulating = a[k] * np.exp(-1j * np.angle(u[k])), math.sqrt(kept) * field
        angle = loop.angles[k - 1]
        out.append(-math.sin(angle) * circulating + math.cos(angle) * arriving)
        field = math.cos(angle) * circulating + math.sin(angle) * arriving
    np.testing.assert_allclose(loop.forward(a), [*out, field], atol=1e-13)


def test_lossy_loop_backwards_is_the_adjoint_and_not_the_inverse() -> None:
    u = direction(8, 8)
    loop = GivensChain.from_direction(u, loop_transmissivity=0.9)
    matrix = loop.matrix()
    a = direction(8, 1)
    np.testing.assert_allclose(loop.inverse(a), matrix.conj().T @ a, atol=1e-14)
    there_and_back = matrix.conj().T @ matrix
    assert np.linalg.svd(matrix, compute_uv=False).max() < 1 + 1e-12  # passive
    spread = np.linalg.eigvalsh(there_and_back)
    assert spread[-1] - spread[0] > 0.05  # the returned mean depends on x


def test_lossless_loop_is_the_chain_and_first_slot_loses_what_the_formula_says() -> None:
    u = direction(9, 1)
    np.testing.assert_array_equal(GivensChain.from_direction(u, 1.0).angles, GivensChain.from_direction(u).angles)
    assert float(GivensChain.from_direction(u).captured_fraction) == pytest.approx(1.0, abs=1e-14)
    first = np.zeros(392)
    first[0] = 1.0
    loop = GivensChain.from_direction(first, loop_transmissivity=10 ** (-0.001))
    assert -10 * math.log10(float(loop.captured_fraction)) == pytest.approx(3.91, abs=1e-9)


def test_loop_refuses_impossible_loss() -> None:
    for bad in (0.0, 1.1, -1.0, math.nan):
        with pytest.raises(ValueError, match="loop_transmissivity"):
            GivensChain.from_direction(direction(3, 0), loop_transmissivity=bad)
    with pytest.raises(ValueError, match="too lossy"):
        GivensChain.from_direction(direction(400, 0), loop_transmissivity=1e-3)


# --- the tree --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 31, 392])
def test_tree_has_as_many_couplers_as_the_chain_and_logarithmic_depth(n: int) -> None:
    tree = TimeBinTree.from_direction(direction(n, 2))
    assert sum(angles.shape[-1] for angles in tree.angles) == n - 1
    assert tree.depth == (n - 1).bit_length() == math.ceil(math.log2(n))
    assert tree.delays == tuple(2**stage for stage in range(tree.depth))
    assert tree.latency == sum(tree.delays)
    for stage in range(tree.depth):
        early, late = tree.couplers(stage)
        assert early.size == tree.angles[stage].shape[-1]
        assert np.all(late - early == tree.delays[stage])
        assert early.min() >= 0
        assert late.max() == n - 1


def loop_stage(pulses: list[complex], delay: int, couplers: dict[int, float]) -> list[complex]:
    """One coupler with a delay loop, slot by slot: `couplers` maps an arrival slot to its angle, else crossed.

    Written without the library's bookkeeping of bins: the loop is a queue, and what leaves in slot t + delay is
    read as bin t.
    """
    loop = [0j] * delay
    line_out = []
    for slot, arriving in enumerate([*pulses, *[0j] * delay]):
        leaving = loop.pop(0)
        if slot in couplers:
            cosine, sine = math.cos(couplers[slot]), math.sin(couplers[slot])
            line_out.append(cosine * arriving - sine * leaving)
            loop.append(sine * arriving + cosine * leaving)
        else:
            line_out.append(leaving)
            loop.append(arriving)
    return line_out[delay:]


@pytest.mark.parametrize("n", [2, 3, 6, 8, 11])
def test_tree_runs_in_time_with_plain_fibre_storage(n: int) -> None:
    u = direction(n, 3)
    tree = TimeBinTree.from_direction(u)
    schedule = [
        dict(zip(tree.couplers(stage)[1].tolist(), tree.angles[stage].tolist(), strict=True))
        for stage in range(tree.depth)
    ]
    a = direction(n, 5)
    pulses = [complex(value) for value in a * np.exp(-1j * np.angle(u))]
    for delay, couplers in zip(tree.delays, schedule, strict=True):
        pulses = loop_stage(pulses, delay, couplers)
    np.testing.assert_allclose(pulses, tree.forward(a), atol=1e-13)
    assert abs(pulses[-1] - np.vdot(u, a)) < 1e-13
    # FIFO: the bins come back from the fibre in the order in which they went in, through the same hardware.
    for delay, couplers in zip(reversed(tree.delays), reversed(schedule), strict=True):
        pulses = loop_stage(pulses, delay, couplers)
    np.testing.assert_allclose(np.array(pulses) * np.exp(1j * np.angle(u)), a, atol=1e-13)


def chain_in_order(chain: GivensChain, order: list[int]) -> Complex:
    """There and back through a chain whose way back meets the residuals in a given order (coupler indices)."""
    fields = np.array(chain.matrix())
    for k in order:
        cosine, sine = math.cos(chain.angles[k]), math.sin(chain.angles[k])
        residual, carry = fields[k].copy(), fields[-1].copy()
        # The loop keeps the carry (last row); what it lets out takes the residual's slot.
        fields[k] = sine * carry + cosine * residual
        fields[-1] = cosine * carry - sine * residual
    return fields


def test_chain_needs_last_in_first_out_storage() -> None:
    errors = []
    for seed in range(200):
        u = direction(6, seed)
        chain = GivensChain.from_direction(u)
        # After the way back the loop holds mode 1 and residual slot k holds mode k: put them in order again.
        place = [5, 0, 1, 2, 3, 4]
        phases = np.exp(1j * np.angle(u))[:, None]
        lifo = phases * chain_in_order(chain, [4, 3, 2, 1, 0])[place]
        np.testing.assert_allclose(lifo, np.eye(6), atol=1e-12)
        fifo = phases * chain_in_order(chain, [0, 1, 2, 3, 4])[place]
        errors.append(np.abs(fifo - np.eye(6)).max())
    # Same angles, first in first out: wrong for every generic direction; the largest element is off by 0.45 (median).
    assert min(errors) > 0.1
    assert 0.35 < float(np.median(errors)) < 0.55


def test_tree_needs_its_stages_in_reverse_order() -> None:
    u = direction(6, 0)
    tree = TimeBinTree.from_direction(u)
    again = tree.forward(tree.matrix().T * np.exp(1j * np.angle(u)))  # stages 1, 2, 4 once more
    assert np.abs(again - np.eye(6)).max() > 0.1


def test_retro_reflection_undoes_the_chain_for_real_directions_only() -> None:
    """A retro-reflected mesh gives the transpose, which is the adjoint for real u (not for complex u)."""
    for kind, agrees in (("real", True), ("complex", False)):
        for build in BUILDS:
            matrix = build.from_direction(direction(6, 1, kind)).matrix()
            error = float(np.abs(matrix.T @ matrix - np.eye(6)).max())
            assert (error < 1e-12) == agrees


def test_builds_agree_on_what_they_measure_and_on_the_return() -> None:
    for n, seed in itertools.product((5, 12), range(3)):
        u = direction(n, seed)
        a = direction(n, seed + 10)
        chain, tree = GivensChain.from_direction(u), TimeBinTree.from_direction(u)
        displaced_chain, displaced_tree = chain.forward(a), tree.forward(a)
        displaced_chain[..., chain.addressed] *= 0.5
        displaced_tree[..., tree.addressed] *= 0.5
        np.testing.assert_allclose(chain.inverse(displaced_chain), tree.inverse(displaced_tree), atol=1e-13)
