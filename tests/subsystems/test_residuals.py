"""Sums of residuals against single ones, whatever way a block is cut into shots."""

from __future__ import annotations

import numpy as np
import pytest

from labqdl.optics.modes import pair
from labqdl.subsystems.residuals import ResidualSums


@pytest.mark.parametrize("chunk", [1, 2, 5])
@pytest.mark.parametrize("tiles", [1, 3])
def test_sums_do_not_depend_on_the_shots(chunk: int, tiles: int) -> None:
    rng = np.random.default_rng(1)
    images, rows, modes, amplitude = 5, 2, 4, 0.7
    q = rng.standard_normal((rows * tiles, 2 * modes))
    pattern = np.array([False, True, False, True])
    values = rng.standard_normal((images, rows * tiles, modes))
    sampled = np.array([3, 0])
    sums = ResidualSums(q, pattern, amplitude, images, use_sums=True, sampled=sampled)
    for tile in range(tiles):
        which = slice(tile * rows, (tile + 1) * rows)
        for first in range(0, images, chunk):
            sums.add(values[first : first + chunk, which], which, first)
    light = sums.light(12.5, 10)
    alpha = pair(q)
    measured = np.where(pattern, alpha.imag, alpha.real)
    turned = np.where(pattern, (1j * alpha).imag, (1j * alpha).real)
    residual = values - amplitude * measured
    s = light.statistics
    np.testing.assert_allclose(s.sum_qq, images * (measured**2).sum(axis=1))
    np.testing.assert_allclose(s.sum_jj, images * (turned**2).sum(axis=1))
    np.testing.assert_allclose(s.sum_qr, (residual * measured).sum(axis=(0, 2)))
    np.testing.assert_allclose(s.sum_jr, (residual * turned).sum(axis=(0, 2)))
    np.testing.assert_allclose(s.sum_rr, (residual**2).sum(axis=(0, 2)))
    assert s.residuals.tolist() == [images * modes] * (rows * tiles)
    assert (s.vacuum_squares, s.vacuum_slots, s.images) == (12.5, 10, images)
    assert not s.counted.any()
    assert light.use_sums is not None
    np.testing.assert_allclose(light.use_sums.sums, residual.sum(axis=0), rtol=1e-6)
    assert light.sample is not None
    assert light.sample.images.tolist() == [0, 3]
    np.testing.assert_array_equal(light.sample.residuals, residual[[0, 3]].astype(np.float32))


def test_what_was_not_asked_for_is_not_there() -> None:
    sums = ResidualSums(np.ones((1, 2)), np.zeros(1, np.bool_), 1.0, 1)
    sums.add(np.ones((1, 1, 1)), slice(0, 1), 0)
    light = sums.light()
    assert light.use_sums is None
    assert light.sample is None
    assert light.statistics.sum_rr.tolist() == [0.0]
