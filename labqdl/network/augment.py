"""Small random warps of images for training: shift, rotation, scale, slant, elastic waves. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_KNOTS = 5  # the elastic field is given on 5 x 5 knots and bilinear between them


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Standard deviations of the random warps.

    Attributes
    ----------
    shift:
        Pixels, each direction.
    rotation:
        Radians.
    scale:
        Natural logarithm of the magnification, each direction.
    slant:
        Tangent of the shear angle.
    elastic:
        Pixels by which the knots of the elastic field move, each direction.
    group:
        Images of a batch that share one warp; sharing makes it much faster (whole groups move as one array).
    """

    shift: float = 0.8
    rotation: float = 0.1
    scale: float = 0.07
    slant: float = 0.1
    elastic: float = 1.0
    group: int = 8


def warp(images: Floats, plan: Augmentation, generator: np.random.Generator) -> Floats:
    """Randomly warped images, bilinear, zero outside of the frame.

    Parameters
    ----------
    images:
        float32, shape (images, height, width); the number of images must be a multiple of `plan.group`.
    """
    count, height, width = images.shape
    groups = count // plan.group
    if groups * plan.group != count:
        raise ValueError(f"{count} images are no multiple of the group of {plan.group}")
    y0, x0 = (
        np.ravel(axis).astype(np.float32)
        for axis in np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    )
    angle = generator.normal(0, plan.rotation, (groups, 1))
    stretch_x, stretch_y = np.exp(generator.normal(0, plan.scale, (2, groups, 1)))
    slant = generator.normal(0, plan.slant, (groups, 1))
    shift_x, shift_y = generator.normal(0, plan.shift, (2, groups, 1))
    knots = generator.normal(0, plan.elastic, (2, groups, _KNOTS, _KNOTS))
    down, across = _interpolation(height), _interpolation(width)
    wave_x, wave_y = np.einsum("ai,cnij,bj->cnab", down, knots, across, optimize=True).reshape(2, groups, -1)
    x = np.cos(angle) * stretch_x * x0 + (np.sin(angle) + slant) * y0 + shift_x + wave_x + (width - 1) / 2
    y = np.cos(angle) * stretch_y * y0 - np.sin(angle) * x0 + shift_y + wave_y + (height - 1) / 2
    # One empty pixel all around catches every sample outside of the frame.
    x = np.clip(x + 1, 0, width + 1).astype(np.float32)
    y = np.clip(y + 1, 0, height + 1).astype(np.float32)
    left = np.minimum(x.astype(np.intp), width)
    top = np.minimum(y.astype(np.intp), height)
    part_x, part_y = (x - left)[..., None].astype(np.float32), (y - top)[..., None].astype(np.float32)
    padded = np.zeros((groups, height + 2, width + 2, plan.group), dtype=np.float32)
    padded[:, 1:-1, 1:-1] = images.reshape(groups, plan.group, height, width).transpose(0, 2, 3, 1)
    pixels = padded.reshape(-1, plan.group)
    corner = (np.arange(groups)[:, None] * (height + 2) + top) * (width + 2) + left
    upper = pixels[corner] * (1 - part_x) + pixels[corner + 1] * part_x
    lower = pixels[corner + width + 2] * (1 - part_x) + pixels[corner + width + 3] * part_x
    warped = upper * (1 - part_y) + lower * part_y
    return np.ascontiguousarray(warped.transpose(0, 2, 1)).reshape(count, height, width)


def _interpolation(size: int) -> NDArray[np.float64]:
    """Matrix (size, knots) of bilinear interpolation from evenly spaced knots."""
    place = np.linspace(0, _KNOTS - 1, size)
    hats: NDArray[np.float64] = np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(_KNOTS)))
    return hats
