from __future__ import annotations

import numpy as np
import pytest

from labqdl.network.augment import Augmentation, warp

STILL = Augmentation(0, 0, 0, 0, 0, group=2)


def images(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    y, x = np.mgrid[:28, :28] - 13.5
    stroke = np.exp(-(x**2) / 8 - y**2 / 40).astype(np.float32)
    return np.tile(stroke, (count, 1, 1)) * np.arange(1, count + 1, dtype=np.float32)[:, None, None]


def test_no_warp_is_the_identity_and_keeps_the_order() -> None:
    np.testing.assert_allclose(warp(images(6), STILL, np.random.default_rng(1)), images(6), atol=1e-4)


def test_a_shift_moves_the_centre_of_mass_by_its_deviation() -> None:
    """400 shifts of deviation 1 pixel: the mean square lies within 30 % (over 5 sigma of chi2_800/800, 0.05)."""
    moved = warp(images(800), Augmentation(1.0, 0, 0, 0, 0, group=2), np.random.default_rng(2))
    mass = moved.sum(axis=(1, 2))
    x = (moved.sum(axis=1) @ (np.arange(28) - 13.5)) / mass
    y = (moved.sum(axis=2) @ (np.arange(28) - 13.5)) / mass
    assert 0.7 < (x[::2] ** 2 + y[::2] ** 2).mean() / 2 < 1.3
    np.testing.assert_allclose(x[::2], x[1::2], atol=1e-3)  # a group shares its warp


@pytest.mark.parametrize(
    "plan",
    [
        Augmentation(0, 0.2, 0, 0, 0, group=2),
        Augmentation(0, 0, 0.2, 0, 0, group=2),
        Augmentation(0, 0, 0, 0.2, 0, group=2),
        Augmentation(0, 0, 0, 0, 1.0, group=2),
    ],
)
def test_every_warp_changes_the_image_a_little_and_is_seeded(plan: Augmentation) -> None:
    warped = warp(images(4), plan, np.random.default_rng(3))
    difference = np.abs(warped - images(4)).mean() / images(4).mean()
    assert 0.005 < difference < 0.5
    np.testing.assert_array_equal(warped, warp(images(4), plan, np.random.default_rng(3)))


def test_groups_must_fit() -> None:
    with pytest.raises(ValueError, match="3 images are no multiple"):
        warp(images(3), STILL, np.random.default_rng(1))
