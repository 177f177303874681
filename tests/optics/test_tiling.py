"""Cutting rows into tiles: nothing is lost, tiles differ by one mode at most, empty tiles get a direction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.optics.tiling import aim, cut, join, lengths, stream


@given(n_modes=st.integers(1, 60), tiles=st.integers(1, 60))
def test_lengths_differ_by_one_at_most_and_add_up(n_modes: int, tiles: int) -> None:
    if tiles > n_modes:
        with pytest.raises(ValueError, match="cannot be cut"):
            lengths(n_modes, tiles)
        return
    found = lengths(n_modes, tiles)
    assert len(found) == tiles
    assert sum(found) == n_modes
    assert max(found) - min(found) <= 1


@pytest.mark.parametrize(("n_modes", "tiles"), [(8, 1), (8, 2), (7, 3), (392, 13)])
def test_outcomes_of_tiles_add_up_to_those_of_whole_rows(n_modes: int, tiles: int) -> None:
    generator = np.random.default_rng(1)
    q = generator.standard_normal((5, 2 * n_modes))
    x = generator.standard_normal((3, 2 * n_modes))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    light = stream(q, tiles)
    directions, norms = aim(x, tiles, generator)
    assert light.shape == (5 * tiles, 2 * -(-n_modes // tiles))
    np.testing.assert_allclose(np.square(norms).sum(axis=1), 1)
    parts = directions.reshape(3, tiles, -1)
    np.testing.assert_allclose(np.linalg.norm(parts, axis=2), 1)
    # Outcomes without noise of each tile, tile by tile as they are streamed.
    outcomes = np.einsum("ktj,itj->itk", light.reshape(tiles, 5, -1).swapaxes(0, 1), parts).reshape(3, -1)
    np.testing.assert_allclose(join(outcomes, norms), x @ q.T, atol=1e-12)
    np.testing.assert_allclose(np.square(light).sum(), np.square(q).sum())


def test_the_sum_has_the_noise_of_one_outcome() -> None:
    generator = np.random.default_rng(2)
    x = generator.standard_normal((1, 24))
    x /= np.linalg.norm(x)
    _, norms = aim(x, 4, generator)
    noise = generator.standard_normal((200_000, 4))
    summed = join(noise, np.repeat(norms, len(noise), axis=0))
    assert np.var(summed) == pytest.approx(1, abs=6 * np.sqrt(2 / len(noise)))


def test_an_empty_tile_gets_a_random_direction_and_does_not_count() -> None:
    x = np.zeros((2, 14), np.float32)
    x[:, 0] = 1.0  # the other tiles are empty
    directions, norms = aim(x, 3, np.random.default_rng(4))
    again, _ = aim(x, 3, np.random.default_rng(5))
    assert directions.dtype == np.float32
    np.testing.assert_array_equal(norms, [[1, 0, 0], [1, 0, 0]])
    parts = directions.reshape(2, 3, 6)
    np.testing.assert_allclose(np.linalg.norm(parts, axis=2), 1, rtol=1e-6)
    assert not np.allclose(parts[0, 1], parts[1, 1])
    assert not np.allclose(directions[:, 6:], again[:, 6:])
    # A slot of vacuum at the end of a shorter tile carries nothing.
    np.testing.assert_array_equal(parts[:, 1:, 4:], 0)


def test_padding_is_vacuum() -> None:
    parts = cut(np.ones((1, 14)), 3)
    np.testing.assert_array_equal(parts[0], [[1] * 6, [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0]])
