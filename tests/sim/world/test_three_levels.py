"""One table: theory, the exact symbol-level sampler, and the world with ideal voltages, for both taps and three sizes.

Each figure of both levels lies within `BOUND` standard errors of theory: 3.6e-9 for a right one, 5e-7 for all of a run
with seeds that nobody has seen (they are fixed). Equivalence at 5 %: two one-sided tests, each at a level of 5 %, that
a figure differs from theory by less than 5 % of it (of 1 for the imaginary part of the net gain); the soak takes as
many symbols as that needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from scipy.special import ndtr

from labqdl.optics.client_law import ClientLaw
from labqdl.optics.law import LinkLaw
from labqdl.optics.modes import rotate_j
from labqdl.optics.sampler import sample_residuals
from labqdl.rng import Root
from tests.sim.world.chain import BINS, Setting, stream
from tests.sim.world.figures import Figure, Sums, tap_law
from tests.sim.world.ideal import directions

BOUND = 5.9
MARGIN, LEVEL = 0.05, 0.05
SIZES = (1, 8, 32)
TAPS: Mapping[str, Mapping[str, float]] = {
    "feed-forward": {"t": 0.5},
    "amplifier": {"gain": 2.0, "tau": 0.5, "n_sp": 1.2},
}
SERVER = (0.9, 0.1)
"""Efficiency and electronic noise of the server's receiver."""
FULL = {
    "feed-forward": {1: 20_000_000, 8: 20_000_000, 32: 120_000_000},
    "amplifier": {1: 20_000_000, 8: 20_000_000, 32: 40_000_000},
}
"""Verification symbols of a soak: eps of a row of 32 modes is 1.4 % of the shot noise behind the feed-forward tap."""


def setting(name: str, n_modes: int) -> Setting:
    return Setting(
        n_modes, name, TAPS[name], efficiency=0.8, noise=0.05, server_efficiency=SERVER[0], server_noise=SERVER[1]
    )


def empty(one: Setting) -> Sums:
    return Sums(tap_law(one), one.n_modes, one.mu, amplitude=math.sqrt(SERVER[0]), floor=1 + SERVER[1])


def world_level(one: Setting, symbols: int, seed: int) -> dict[str, Figure]:
    """Figures of light that went through the world."""
    sums = empty(one)
    for light in stream(one, symbols, seed):
        sums.take(light)
    return sums.figures()


def symbol_level(one: Setting, symbols: int, seed: int) -> dict[str, Figure]:
    """Figures of the sampler's outcomes and residuals."""
    efficiency, noise = SERVER
    law = LinkLaw(
        ClientLaw("honest", tap_law(one)),
        server_efficiency=efficiency,
        server_noise=noise,
        expected_amplitude=math.sqrt(efficiency),
    )
    n, rows, sums = one.n_modes, 64, empty(one)
    blocks = -(-symbols // BINS)
    images = -(-symbols // (blocks * n * rows))
    root = Root("world", (seed + 7).to_bytes(32, "little"))
    for block in range(blocks):
        generator = np.random.default_rng([seed, block, 1])
        x = directions(generator, images, n).view(np.float64)
        q = math.sqrt(2 * one.mu) * generator.standard_normal((rows, 2 * n))
        pattern = root.bits("pattern", block, count=n)
        drawn = sample_residuals(
            law, q, x, pattern, np.zeros(rows, np.bool_), lambda purpose, key=block: root.generator(purpose, key)
        )
        where = 2 * np.arange(n) + pattern
        turned = np.asarray(rotate_j(x), np.float64)
        along, across = (np.repeat(v[:, where], rows, axis=0) for v in (x, turned))
        signal = (x @ q.T + 1j * (turned @ q.T)).ravel()
        outcomes = np.ascontiguousarray(drawn.outcomes, np.float64).ravel()
        sums.add(signal, along, across, outcomes, drawn.residuals.reshape(-1, n).astype(np.float64))
    return sums.figures()


def equivalent(one: Figure) -> tuple[bool, float]:
    """Whether it is within 5 % of theory, and the p-value: the larger one of two one-sided tests."""
    margin = MARGIN * (abs(one.theory) or 1.0)
    p_value = float(ndtr((abs(one.value - one.theory) - margin) / one.error))
    return p_value < LEVEL, p_value


def table(name: str, n_modes: int, levels: tuple[dict[str, Figure], dict[str, Figure]]) -> list[str]:
    """Lines: figure, theory, both levels with z and the p-value of equivalence."""
    lines = [
        f"{name}, n = {n_modes}",
        f"  {'':22}{'theory':>10}{'symbols':>12}{'z':>7}{'p':>9}{'world':>12}{'z':>7}{'p':>9}",
    ]
    for figure in levels[0]:
        text = f"  {figure:22}{levels[0][figure].theory:10.5f}"
        for level in levels:
            one = level[figure]
            text += f"{one.value:12.5f}{one.z:7.2f}{equivalent(one)[1]:9.1e}"
        lines.append(text)
    return lines


def compare(name: str, n_modes: int, symbols: int, seed: int) -> dict[str, tuple[Figure, Figure]]:
    one = setting(name, n_modes)
    levels = symbol_level(one, symbols, seed), world_level(one, symbols, seed)
    assert list(levels[0]) == list(levels[1])
    print("\n".join(table(name, n_modes, levels)))
    for level in levels:
        for figure, found in level.items():
            assert abs(found.z) < BOUND, (figure, found)
    return {figure: (levels[0][figure], levels[1][figure]) for figure in levels[0]}


@pytest.mark.parametrize("n_modes", SIZES)
@pytest.mark.parametrize("name", TAPS)
def test_three_levels_agree(name: str, n_modes: int) -> None:
    found = compare(name, n_modes, 1 << 16, seed=n_modes)
    assert set(found) >= {"slope", "outcome variance", "net gain, real", "added noise along u", "Cov(y, r)", "eps", "S"}
    assert ("floor" in found) == (n_modes > 2)


@pytest.mark.soak
@pytest.mark.parametrize("n_modes", SIZES)
@pytest.mark.parametrize("name", TAPS)
def test_three_levels_are_equivalent_at_five_percent(name: str, n_modes: int) -> None:
    for figure, levels in compare(name, n_modes, FULL[name][n_modes], seed=100 + n_modes).items():
        for level in levels:
            assert equivalent(level)[0], (figure, level)


def test_equivalence_is_told_apart_from_difference_and_from_ignorance() -> None:
    assert equivalent(Figure(1.01, 1.0, 0.01))[0]
    assert not equivalent(Figure(1.06, 1.0, 0.001))[0]  # another value
    assert not equivalent(Figure(1.0, 1.0, 0.04))[0]  # too few symbols to say
    assert equivalent(Figure(0.001, 0.0, 0.01))[0]
