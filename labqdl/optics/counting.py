"""Counted returned light: photons of the nulled rows, over a block or slot by slot.

A counter sees the classical intensity of what the nulling displacement leaves, so the energies along x, along Jx and
elsewhere are all that the total of a row depends on. Derived in docs/physics.md, "Sampling outcomes, residuals and
their sums".
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from labqdl.optics.joint import Joint, Shift, is_zero
from labqdl.optics.modes import rotate_j

Vector = NDArray[np.float64]


def count_sums(joint: Joint, generator: np.random.Generator, offset: Vector | None) -> NDArray[np.int64]:
    """Photons of each counted row over the block: Poisson of the exact classical intensity.

    `offset` (counted rows, 2 n_modes) is added to the quadratures of every image at the displacement.
    """
    law, light, rows = joint.law, joint.law.counter, joint.counting
    images, n_modes = joint.images, joint.n_modes
    power = joint.power_measured[rows] + joint.power_other[rows]
    mean_x, mean_p = joint.directed(light, rows)
    on_q, on_jq = joint.isotropic(light, rows)
    outside = np.zeros(rows.size)
    if not (is_zero(on_q) and is_zero(on_jq) and offset is None):
        # Known light that is neither noise nor directed: w = on_q q + on_jq Jq + offset.
        w_x: Shift = 0.0
        w_p: Shift = 0.0
        square: Shift = 0.0
        if not (is_zero(on_q) and is_zero(on_jq)):
            assert joint.p_b is not None
            x_b, p_b = joint.x_b[rows].astype(np.float64), joint.p_b[rows].astype(np.float64)
            w_x, w_p = on_q * x_b - on_jq * p_b, on_q * p_b + on_jq * x_b
            square = (on_q * on_q + on_jq * on_jq) * power[:, np.newaxis]
        if offset is not None:
            w_x, w_p = w_x + offset @ joint.x.T, w_p + offset @ rotate_j(joint.x).T
            square = square + np.vecdot(offset, offset)[:, np.newaxis]
            if not (is_zero(on_q) and is_zero(on_jq)):
                sent = joint.q[rows].astype(np.float64)
                square = square + 2.0 * on_q * np.vecdot(offset, sent)[:, np.newaxis]
                square = square + 2.0 * on_jq * np.vecdot(offset, rotate_j(sent))[:, np.newaxis]
        mean_x, mean_p = mean_x + w_x, mean_p + w_p
        outside = np.sum(np.maximum(square - w_x**2 - w_p**2, 0.0), axis=1)

    first, second, angle = light.conditional
    if joint.phases is not None or angle != 0.0:
        turned: Shift = angle
        if joint.phases is not None:
            turned = angle + joint.phases.total[rows] - joint.phases.forward[rows]
        cosine, sine = np.cos(turned), np.sin(turned)
        mean_x, mean_p = mean_x * cosine + mean_p * sine, mean_p * cosine - mean_x * sine
    zeros = np.zeros(rows.size)
    energy_x = zeros + np.sum(np.square(mean_x), axis=1)
    energy_p = zeros + (0.0 if isinstance(mean_p, float) else np.sum(np.square(mean_p), axis=1))
    energy = _noncentral(light.floor + first, energy_x, images, generator)
    energy += _noncentral(light.floor + second, energy_p, images, generator)
    energy += _noncentral(light.floor, outside, images * (2 * n_modes - 2), generator)
    intensity = energy * (0.25 * law.counter_efficiency) + law.dark_counts * (n_modes * images)
    leaked = law.extinction * law.counter_efficiency * law.forward * law.back
    intensity += leaked * (0.25 * images) * power
    return generator.poisson(intensity)


def _noncentral(
    variance: float, energy: NDArray[np.float64], dimensions: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """|m + noise|^2 for |m|^2 = energy and isotropic noise of this variance per dimension."""
    if variance <= 0 or dimensions == 0:
        return energy.copy()
    total = (np.sqrt(energy) + math.sqrt(variance) * generator.standard_normal(energy.size)) ** 2
    if dimensions > 1:
        total += variance * generator.chisquare(dimensions - 1, energy.size)
    return np.asarray(total)


def draw_counts(
    joint: Joint, generator: np.random.Generator, counts: NDArray[np.int64], offset: Vector | None
) -> NDArray[np.int64]:
    """Fill zeros (images, counted rows, n_modes): Poisson of the classical intensity of each mode. Sums per row.

    `offset` as in `count_sums`.
    """
    law, light, rows = joint.law, joint.law.counter, joint.counting
    shape = (rows.size, joint.images)
    mean_x, mean_p = (np.broadcast_to(mean, shape) for mean in joint.directed(light, rows))
    on_q, on_jq = (np.broadcast_to(part, shape) for part in joint.isotropic(light, rows))
    first, second, angle = light.conditional
    turned: Shift = angle
    if joint.phases is not None:
        turned = angle + joint.phases.total[rows] - joint.phases.forward[rows]
    axes = np.broadcast_to(np.exp(1j * np.asarray(turned)), shape)
    deviations = [math.sqrt(max(light.floor + spike, 0.0)) for spike in (first, second)]
    sent = joint.q[rows, 0::2].astype(np.float64) + 1j * joint.q[rows, 1::2]
    leaked = law.extinction * law.counter_efficiency * law.forward * law.back
    background = law.dark_counts + 0.25 * leaked * (sent.real**2 + sent.imag**2)
    floor = math.sqrt(light.floor)
    if floor == 0 and offset is None and not (on_q.any() or on_jq.any()):
        noise = generator.standard_normal((2, *shape))
        addressed = mean_x + 1j * mean_p + axes * (deviations[0] * noise[0] + 1j * deviations[1] * noise[1])
        intensity = np.abs(addressed) ** 2 * (0.25 * law.counter_efficiency)
        return _scatter_counts(joint, intensity, background, generator, counts)
    fixed = 0.0 if offset is None else offset[:, 0::2] + 1j * offset[:, 1::2]
    photons = np.zeros(rows.size, dtype=np.int64)
    for image in range(joint.images):
        u = joint.x[image, 0::2].astype(np.float64) + 1j * joint.x[image, 1::2]
        field = (on_q[:, image] + 1j * on_jq[:, image])[:, np.newaxis] * sent + fixed
        noise = generator.standard_normal((2, rows.size))
        addressed = mean_x[:, image] + 1j * mean_p[:, image]
        addressed = addressed + axes[:, image] * (deviations[0] * noise[0] + 1j * deviations[1] * noise[1])
        if floor > 0:
            white = generator.standard_normal((2, *sent.shape))
            isotropic = floor * (white[0] + 1j * white[1])
            field += isotropic
            addressed = addressed - isotropic @ u.conj()
        field += addressed[:, np.newaxis] * u
        intensity = (field.real**2 + field.imag**2) * (0.25 * law.counter_efficiency) + background
        counts[image] = generator.poisson(intensity)
        photons += counts[image].sum(axis=1)
    return photons


def _scatter_counts(
    joint: Joint,
    directed: NDArray[np.float64],
    background: NDArray[np.float64],
    generator: np.random.Generator,
    counts: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Counts of a nulled row whose light is all in the addressed mode: few photons, so draw these, not the slots.

    Independent Poisson numbers in all slots are a Poisson total of which each photon picks its slot independently:
    in proportion to |u_j|^2 for the addressed light of `directed` (rows, images) mean counts, to `background`
    (rows, n_modes) for dark counts and unextinguished light, which are the same for every image.
    """
    images, rows, n_modes = counts.shape
    numbers = generator.poisson(directed)
    photons: NDArray[np.int64] = numbers.sum(axis=1)
    for image in range(images):
        u = joint.x[image].astype(np.float64) ** 2
        edges = np.cumsum(u[0::2] + u[1::2])
        which = np.repeat(np.arange(rows), numbers[:, image])
        modes = np.searchsorted(edges, generator.random(which.size) * edges[-1], side="right")
        np.add.at(counts[image], (which, modes), 1)
    edges = np.cumsum(background)
    if edges[-1] > 0:
        total = int(generator.poisson(images * edges[-1]))
        slots = np.searchsorted(edges, generator.random(total) * edges[-1], side="right")
        which = generator.integers(images, size=total)
        np.add.at(counts, (which, slots // n_modes, slots % n_modes), 1)
        photons += np.bincount(slots // n_modes, minlength=rows)
    return photons
