"""Homodyned returned light: its sums without its residuals, and its residuals.

What is summed is the residual R of a row over the images of a block, in the concatenated space of n_modes * images
dimensions. In each image's plane its components are drawn (`Joint.components`); beyond that it is a known mean M and
white noise Z, of which only the products with a few vectors are ever needed. Derived in docs/physics.md, "Sampling
outcomes, residuals and their sums".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labqdl.optics.joint import Joint, Real, is_zero, normals

Vector = NDArray[np.float64]

_CHUNK = 1 << 15
"""Residuals per chunk: 128 KiB in float32, so that a chunk stays in the cache of one core."""
_PARALLEL = 1e-12
"""Squared sine below which vectors count as parallel outside of the planes, where sums over images have rounded."""
_JITTER = 1e-12
"""Relative variance that keeps a factor from failing where all images share a direction."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over images and, but for `uses`, over modes; of the homodyned rows, into which residuals are added.

    Attributes
    ----------
    qr, rr, jr:
        Sums of q r, r^2 and (Jq) r (homodyned rows,).
    uses:
        Sums of r (homodyned rows, n_modes), or None where they are not wanted.
    """

    qr: Vector
    rr: Vector
    jr: Vector
    uses: Vector | None

    @classmethod
    def empty(cls, rows: int, n_modes: int, *, uses: bool) -> Sums:
        """Nothing summed yet."""
        return cls(np.zeros(rows), np.zeros(rows), np.zeros(rows), np.zeros((rows, n_modes)) if uses else None)


def needs_every_residual(joint: Joint, images: NDArray[np.bool_], *, uses: bool) -> bool:
    """Whether these images leave too few dimensions beyond their planes; there are few residuals then."""
    orthonormal = joint.plane.orthonormal
    beyond = joint.n_modes * int(images.sum()) - (joint.plane.dimensions(images) if orthonormal else 0)
    return orthonormal and beyond <= joint.n_modes if uses else beyond < 3


@dataclass(frozen=True, slots=True)
class _Gram:
    """Products over the images of a block, (homodyned rows,) each, float64.

    Attributes
    ----------
    inside_q, inside_j, inside:
        Products of the components in the planes with q, with Jq, and their squares.
    qq, qj, jj:
        Of q and Jq beyond the planes.
    mq, mj, mm:
        Of the mean beyond the planes with q, with Jq and with itself.
    dimensions:
        Of the space beyond the planes, in which the noise is white.
    """

    inside_q: Vector
    inside_j: Vector
    inside: Vector
    qq: Vector
    qj: Vector
    jj: Vector
    mq: Vector
    mj: Vector
    mm: Vector
    dimensions: int


def add_sums(joint: Joint, images: NDArray[np.bool_], generator: np.random.Generator, sums: Sums) -> None:
    """Sums over these images (a mask), but not those of uses: three normals and a chi-square a row and block.

    In each plane two normals a row and image.
    """
    law, rows, left_out = joint.law.homodyne, joint.homodyned, np.flatnonzero(~images)
    drawn = joint.components(law, rows, generator)
    drawn[..., left_out] = 0.0
    isotropic = _isotropic(joint, left_out)
    split = _by_planes if joint.plane.orthonormal else _all_as_mean
    gram = split(joint, images, drawn, isotropic)
    # White noise: along q, what is left of Jq, and what is left of the mean.
    noise = generator.standard_normal((3, rows.size))
    squares = np.einsum("ik,ik->k", noise, noise)
    if gram.dimensions > 3:
        squares += generator.chisquare(gram.dimensions - 3, rows.size)
    q1 = np.sqrt(gram.qq)
    j1 = _over(gram.qj, q1)
    j2 = _left(gram.jj, j1)
    m1 = _over(gram.mq, q1)
    m2 = _over(gram.mj - m1 * j1, j2)
    m3 = _left(gram.mm, np.hypot(m1, m2))
    sigma = math.sqrt(law.floor)
    sums.qr[:] += gram.inside_q + gram.mq + sigma * q1 * noise[0]
    sums.jr[:] += gram.inside_j + gram.mj + sigma * (j1 * noise[0] + j2 * noise[1])
    sums.rr[:] += gram.inside + gram.mm + 2.0 * sigma * (m1 * noise[0] + m2 * noise[1] + m3 * noise[2])
    sums.rr[:] += law.floor * squares


def add_sums_of_uses(
    joint: Joint,
    images: NDArray[np.bool_],
    generator: np.random.Generator,
    sums: Sums,
    offset: Vector | None,
) -> None:
    """Sums over these images (a mask), those of uses too: n_modes + 1 normals and a chi-square a row and block.

    All other sums follow from these but for the squares. `offset` (homodyned rows, n_modes) is added to the
    residuals of each image, as they are measured.
    """
    law, plane, rows = joint.law.homodyne, joint.plane, joint.homodyned
    count, left_out, kind = int(images.sum()), np.flatnonzero(~images), joint.precision
    sent, turned = joint.sent, joint.turned
    drawn = joint.components(law, rows, generator)
    drawn[..., left_out] = 0.0
    isotropic = _isotropic(joint, left_out)
    means = _means(joint, drawn, isotropic)
    sigma, root = math.sqrt(law.floor), math.sqrt(count)
    white = normals(generator, (rows.size, joint.n_modes), kind)
    # `inside`: squares of the components in the planes; `mm`: of the mean beyond them; `share`: its part that the
    # sum over the images sees, in units of the white noise there.
    if plane.orthonormal:
        factor = _factor(joint, images)
        noise = white @ factor.T
        inside, mm, share = _beyond_the_planes(joint, left_out, drawn, isotropic, factor)
        rest = joint.n_modes * (count - 1) - plane.dimensions(images)
    else:
        noise = white * kind(root)
        inside, mm, share = np.zeros(rows.size), _of_the_mean(joint, drawn, isotropic), means / kind(root)
        rest = joint.n_modes * (count - 1)
    uses = (means + kind(sigma) * noise).astype(np.float64)
    squares = np.vecdot(white, white).astype(np.float64)
    product = np.vecdot(share, white).astype(np.float64)
    if rest > 0:
        further = generator.standard_normal(rows.size)
        product += np.sqrt(np.maximum(mm - np.vecdot(share, share), 0.0)) * further
        squares += further**2
    if rest > 1:
        squares += generator.chisquare(rest - 1, rows.size)
    rr = inside + mm + 2.0 * sigma * product + law.floor * squares
    if offset is not None:
        rr += 2.0 * np.vecdot(offset, uses) + count * np.vecdot(offset, offset)
        uses += count * offset
    sums.rr[:] += rr
    sums.qr[:] += np.vecdot(uses, sent)
    sums.jr[:] += np.vecdot(uses, turned)
    if sums.uses is not None:
        sums.uses[:] += uses


def draw_residuals(
    joint: Joint,
    generator: np.random.Generator,
    residuals: NDArray[Real] | None,
    sums: Sums,
    offset: Vector | None,
) -> None:
    """Fill (images, homodyned rows, n_modes), if wanted, and add to the sums: white noise, replaced in the planes.

    `offset` as in `add_sums_of_uses`.
    """
    law, rows, plane, dtype = joint.law.homodyne, joint.homodyned, joint.plane, joint.q.dtype
    n_modes, shape, sigma = joint.n_modes, (rows.size, joint.images), math.sqrt(law.floor)
    m11, m21, m22 = (np.broadcast_to(m, shape) for m in joint.spread(law, rows))
    shift_x, shift_p = joint.directed(law, rows)
    mean1 = np.broadcast_to(shift_x * plane.l1 + shift_p * plane.l3, shape)
    mean2 = np.broadcast_to(shift_p * plane.l2, shape)
    on_q, on_jq = joint.isotropic(law, rows)
    sent, turned = joint.sent, joint.turned
    added = None if offset is None else offset.astype(dtype)
    step = max(1, _CHUNK // n_modes)
    vectors = np.ascontiguousarray(plane.vectors.swapaxes(0, 1).astype(dtype))  # (images, 2, n_modes)
    for image in range(joint.images):
        basis = vectors[image]
        for start in range(0, rows.size, step):
            part = slice(start, min(start + step, rows.size))
            chunk = np.empty_like(sent[part]) if residuals is None else residuals[image, part]
            generator.standard_normal(out=chunk, dtype=dtype)
            white = (chunk @ basis.T).astype(np.float64)
            change = np.empty_like(white)
            change[:, 0] = (m11[part, image] - sigma) * white[:, 0] + mean1[part, image]
            change[:, 1] = m21[part, image] * white[:, 0] + (m22[part, image] - sigma) * white[:, 1]
            change[:, 1] += mean2[part, image]
            if sigma != 1.0:
                chunk *= dtype.type(sigma)
            chunk += change.astype(dtype) @ basis
            if isinstance(on_q, np.ndarray):
                chunk += on_q[part, image, np.newaxis].astype(dtype) * sent[part]
                chunk += np.asarray(on_jq)[part, image, np.newaxis].astype(dtype) * turned[part]
            elif not is_zero(on_q):
                chunk += sent[part] * dtype.type(on_q)
            if added is not None:
                chunk += added[part]
            sums.qr[part] += np.vecdot(chunk, sent[part])
            sums.rr[part] += np.vecdot(chunk, chunk)
            sums.jr[part] += np.vecdot(chunk, turned[part])
            if sums.uses is not None:
                sums.uses[part] += chunk


# --- parts -------------------------------------------------------------------------------------------------------


def _by_planes(joint: Joint, images: NDArray[np.bool_], drawn: NDArray[Real], isotropic: NDArray[Real] | None) -> _Gram:
    """Components inside of the planes, and the rest outside; `drawn` is used up."""
    rows, count, left_out = joint.homodyned, int(images.sum()), np.flatnonzero(~images)
    along, across = _products(joint)
    along[..., left_out] = 0.0
    across[..., left_out] = 0.0
    mq = mj = mm = np.zeros(rows.size)
    if isotropic is not None:
        mq, mj, mm = _outside(joint, along, across, isotropic)
        drawn += _inside(along, across, isotropic)
    return _Gram(
        inside_q=_dot(drawn, along),
        inside_j=_dot(drawn, across),
        inside=_dot(drawn, drawn),
        qq=np.maximum(count * joint.power_measured[rows] - _dot(along, along), 0.0),
        qj=count * _cross(joint) - _dot(along, across),
        jj=np.maximum(count * joint.power_other[rows] - _dot(across, across), 0.0),
        mq=mq,
        mj=mj,
        mm=mm,
        dimensions=joint.n_modes * count - joint.plane.dimensions(images),
    )


def _all_as_mean(
    joint: Joint, images: NDArray[np.bool_], drawn: NDArray[Real], isotropic: NDArray[Real] | None
) -> _Gram:
    """All components as a mean, on top of which the noise is white everywhere."""
    rows, count, zeros = joint.homodyned, int(images.sum()), np.zeros(joint.homodyned.size)
    means = _means(joint, drawn, isotropic)
    return _Gram(
        inside_q=zeros,
        inside_j=zeros,
        inside=zeros,
        qq=count * joint.power_measured[rows],
        qj=count * _cross(joint),
        jj=count * joint.power_other[rows],
        mq=np.vecdot(means, joint.sent).astype(np.float64),
        mj=np.vecdot(means, joint.turned).astype(np.float64),
        mm=_of_the_mean(joint, drawn, isotropic),
        dimensions=joint.n_modes * count,
    )


def _means(joint: Joint, drawn: NDArray[Real], isotropic: NDArray[Real] | None) -> NDArray[Real]:
    """Components along the planes' vectors and isotropic means, summed over the images (homodyned rows, n_modes)."""
    vectors = joint.plane.vectors.reshape(2 * joint.images, joint.n_modes)
    means = drawn.reshape(len(drawn), -1) @ vectors
    if isotropic is not None:
        means += _summed(joint, isotropic)
    return np.asarray(means)


def _isotropic(joint: Joint, left_out: NDArray[np.intp]) -> NDArray[Real] | None:
    """Amplitudes of q and Jq in the means (2, homodyned rows, images), 0 where images are left out; None without any.

    A mean along q and Jq comes of a wrong gain and of phase noise.
    """
    on_q, on_jq = joint.isotropic(joint.law.homodyne, joint.homodyned)
    if is_zero(on_q):
        return None
    amplitudes: NDArray[Real] = np.empty((2, joint.homodyned.size, joint.images), dtype=joint.precision)
    amplitudes[0], amplitudes[1] = on_q, on_jq
    amplitudes[..., left_out] = 0.0
    return amplitudes


def _products(joint: Joint) -> tuple[Vector, Vector]:
    """Products of the planes' vectors with q and Jq, (homodyned rows, 2, images) each, float64; to be written to."""
    assert joint.along is not None
    assert joint.across is not None
    along, across = (
        np.ascontiguousarray(np.take(products, joint.homodyned, axis=1).swapaxes(0, 1), dtype=np.float64)
        for products in (joint.along, joint.across)
    )
    return along, across


def _cross(joint: Joint) -> Vector:
    """Product of q and Jq over the measured quadratures (homodyned rows,)."""
    return np.asarray(np.vecdot(joint.sent, joint.turned), dtype=np.float64)


def _inside(along: Vector, across: Vector, isotropic: NDArray[Real]) -> Vector:
    """Components of the isotropic means in the planes (homodyned rows, 2, images)."""
    on_q, on_jq = isotropic[:, :, np.newaxis]
    return np.asarray(on_q * along + on_jq * across)


def _outside(joint: Joint, along: Vector, across: Vector, isotropic: NDArray[Real]) -> tuple[Vector, Vector, Vector]:
    """Outside of the planes, summed over the images: products of the isotropic mean with q, with Jq, with itself."""
    rows, (on_q, on_jq) = joint.homodyned, isotropic
    qq = joint.power_measured[rows][:, np.newaxis] - _of_image(along, along)
    jj = joint.power_other[rows][:, np.newaxis] - _of_image(across, across)
    qj = _cross(joint)[:, np.newaxis] - _of_image(along, across)
    with_q, with_jq = on_q * qq + on_jq * qj, on_q * qj + on_jq * jj
    return np.sum(with_q, axis=1), np.sum(with_jq, axis=1), np.vecdot(on_q, with_q) + np.vecdot(on_jq, with_jq)


def _summed(joint: Joint, isotropic: NDArray[Real]) -> NDArray[Real]:
    """Isotropic means summed over the images (homodyned rows, n_modes)."""
    on_q, on_jq = isotropic.sum(axis=2)[..., np.newaxis]
    return np.asarray(on_q * joint.sent + on_jq * joint.turned)


def _beyond_the_planes(
    joint: Joint, left_out: NDArray[np.intp], drawn: NDArray[Real], isotropic: NDArray[Real] | None, factor: Vector
) -> tuple[Vector, Vector, NDArray[Real]]:
    """Squares in the planes, squares of the mean outside, and its share in the sum over the images (rows, n_modes)."""
    rows = len(drawn)
    if isotropic is None:
        return _dot(drawn, drawn), np.zeros(rows), np.zeros((rows, joint.n_modes))
    along, across = _products(joint)
    along[..., left_out] = 0.0
    across[..., left_out] = 0.0
    inside = _inside(along, across, isotropic)
    mean = _summed(joint, isotropic)
    mean -= inside.reshape(rows, -1) @ joint.plane.vectors.reshape(-1, joint.n_modes)
    squares = _outside(joint, along, across, isotropic)[2]
    inside += drawn
    share = np.linalg.solve(factor, mean.T).T
    # It is part of the mean; what it has beyond that is rounding, of directions that all images share.
    share *= np.sqrt(np.minimum(_over(squares, np.vecdot(share, share)), 1.0))[:, np.newaxis]
    return _dot(inside, inside), squares, share


def _of_the_mean(joint: Joint, drawn: NDArray[Real], isotropic: NDArray[Real] | None) -> Vector:
    """Squares of the mean over the images, where all components along a and b count as mean."""
    rows, (a, b) = joint.homodyned, joint.plane.vectors
    first, second = drawn[:, 0], drawn[:, 1]
    with_first = first * np.vecdot(a, a) + second * (2 * np.vecdot(a, b))
    squares = np.vecdot(with_first, first).astype(np.float64) + np.vecdot(second * np.vecdot(b, b), second)
    if isotropic is None:
        return np.asarray(squares)
    assert joint.along is not None
    assert joint.across is not None
    on_q, on_jq = isotropic
    for amplitude, products in ((on_q, joint.along), (on_jq, joint.across)):
        with_drawn = first * products[0][rows]
        with_drawn += second * products[1][rows]
        squares += 2.0 * np.vecdot(amplitude, with_drawn)
    squares += joint.power_measured[rows] * np.vecdot(on_q, on_q) + joint.power_other[rows] * np.vecdot(on_jq, on_jq)
    squares += 2.0 * _cross(joint) * np.vecdot(on_q, on_jq)
    return np.asarray(squares)


def _factor(joint: Joint, images: NDArray[np.bool_]) -> Vector:
    """Cholesky factor of the covariance of the sum over these images of white noise outside of their planes."""
    flat = joint.plane.vectors[:, images].reshape(-1, joint.n_modes).astype(np.float64, copy=False)
    count, diagonal = int(images.sum()), np.arange(joint.n_modes)
    covariance = -(flat.T @ flat)
    covariance[diagonal, diagonal] += count
    try:
        return np.asarray(np.linalg.cholesky(covariance))
    except np.linalg.LinAlgError:  # all images share a direction: nothing is left along it but rounding
        covariance[diagonal, diagonal] += _JITTER * count
        return np.asarray(np.linalg.cholesky(covariance))


def _dot(one: NDArray[Real], two: NDArray[Real]) -> Vector:
    """Products over the planes' vectors and the images (rows,) of arrays (rows, 2, images)."""
    return np.asarray(np.vecdot(one.reshape(len(one), -1), two.reshape(len(two), -1)), dtype=np.float64)


def _of_image(one: Vector, two: Vector) -> Vector:
    """Products over the planes' vectors (rows, images) of arrays (rows, 2, images)."""
    return np.asarray(np.einsum("kvi,kvi->ki", one, two))


def _over(product: Vector, length: Vector) -> Vector:
    """Component along a vector of this length, 0 where there is no vector."""
    there = length > 0
    return np.asarray(np.where(there, product / np.where(there, length, 1.0), 0.0))


def _left(square: Vector, component: Vector) -> Vector:
    """Length of what a vector of this square has beyond a component; 0 where only rounding is left of it."""
    left = square - component**2
    return np.sqrt(np.where(left > _PARALLEL * square, left, 0.0))
