"""The exact joint sampler: the client's outcomes and the light that the server gets back, at three depths.

`sample_outcomes` draws outcomes only: one matrix product and one normal an outcome. `sample_statistics` adds what the
server's tests need, summed over the images of a block, without drawing a single residual. `sample_residuals` draws
every residual and every count. All three are exact draws of the same law (`LinkLaw`; derivation in docs/physics.md),
and with the same streams they give the same outcomes, up to the rounding of matrix products.

How depth two works. For one row and image let a, b be the restrictions of x, Jx to the homodyned quadratures. Given
the outcome, the residual is Gaussian with a mean in span(a, b, q, Jq) and a covariance that is sigma^2 I outside of
span(a, b). With an orthonormal basis (e1, e2) of that span, two normals give the components inside of it exactly,
whatever the sign of the conditional spike. Outside, only the Gram matrix of the mean M, of q and of Jq over the images
of the block is needed, in the concatenated space of D = n_modes * images - dim(spans) dimensions, which three normals
and one chi-square with D - 3 degrees of freedom complete. A counted row needs no normal per image at all: the energy
along x, along Jx and elsewhere are non-central chi-squares over the block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import RowStatistics
from labqdl.optics.law import LinkLaw, ReturnedLight
from labqdl.optics.modes import rotate_j

Real = np.floating[Any]
"""float32 or float64."""

_COLLINEAR = 1e-16
"""Squared sine below which a and b count as parallel: both come from one rounded x."""
_NEARLY_COLLINEAR = 1e-4
"""Squared sine above which one step of Gram and Schmidt is orthogonal to 14 digits."""
_UNIT_TOLERANCE = 1e-4
_PARALLEL = 1e-12
"""Squared sine below which vectors count as parallel outside of the spans, where sums over images have rounded."""
_CHUNK = 1 << 15
"""Residuals per chunk in depth three: 128 KiB in float32, so that a chunk stays in the cache of one core."""


class Streams(Protocol):
    """Where the sampler gets its randomness from: one generator per purpose, for one (layer, block).

    Called with one of the purposes "phase", "outcome", "residual", "count", at most once each per sampling call; two
    calls with equal purposes must give generators in equal states. `lambda purpose: root.generator(purpose, layer,
    block)` is one. Numbers drawn for one purpose do not depend on what is drawn for another, so outcomes do not
    depend on how, or whether, the returned light is looked at.
    """

    def __call__(self, purpose: str, /) -> np.random.Generator:
        """A fresh generator for this purpose."""
        ...


@dataclass(frozen=True, slots=True)
class Residuals:
    """Depth three: everything that both receivers saw of one layer of one block.

    Attributes
    ----------
    outcomes:
        The client's outcomes (images, rows), SNU.
    residuals:
        Homodyned quadratures less the expected ones (images, homodyned rows, n_modes), SNU, rows in rising order.
    counts:
        Photon counts (images, counted rows, n_modes).
    statistics:
        The sums over images, computed from the two arrays above.
    """

    outcomes: NDArray[Real]
    residuals: NDArray[Real]
    counts: NDArray[np.int64]
    statistics: RowStatistics


def sample_outcomes(law: LinkLaw, q: NDArray[Real], x: NDArray[Real], streams: Streams) -> NDArray[Real]:
    """Depth one: the client's outcomes only.

    Parameters
    ----------
    law:
        Client's box and light path.
    q:
        Quadratures at the server's output (rows, 2 n_modes), interleaved X, P; float32 or float64.
    x:
        Unit data vectors (images, 2 n_modes), same dtype.
    streams:
        Purposes "outcome" and, with phase noise, "phase".

    Returns
    -------
    Outcomes (images, rows) in SNU as the receiver gives them, of the dtype of `q`; in Fortran order.
    """
    _check(q, x)
    gain, sigma = law.outcome_gain, math.sqrt(law.outcome_variance)
    noise = _normals(streams("outcome"), (q.shape[0], x.shape[0]), q.dtype)
    noise *= q.dtype.type(sigma)
    if law.forward_phase_noise > 0:
        phases = _phases(law, noise.shape, streams)
        noise += (q @ (x * q.dtype.type(gain)).T) * np.cos(phases.forward)
        noise -= (q @ (rotate_j(x) * q.dtype.type(gain)).T) * np.sin(phases.forward)
    else:
        noise += q @ (x * q.dtype.type(gain)).T
    return noise.T


def sample_statistics(
    law: LinkLaw,
    q: NDArray[Real],
    x: NDArray[Real],
    pattern: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    streams: Streams,
) -> tuple[NDArray[Real], RowStatistics]:
    """Depth two: outcomes, and the sufficient statistics of the returned light, jointly exact.

    Parameters
    ----------
    law, q, x:
        As in `sample_outcomes`. `q` in Fortran order (`np.asfortranarray`) is fastest.
    pattern:
        Quadrature that the server homodynes in each mode (n_modes,), True for P.
    counted:
        Rows (rows,) that are displaced and counted instead of homodyned.
    streams:
        Purposes "outcome", "residual", "count" and, with phase noise, "phase".

    Returns
    -------
    Outcomes (images, rows) as in `sample_outcomes`, and the statistics (float64) of each row.
    """
    _check(q, x, pattern, counted)
    work = _Work.prepare(law, q, x, pattern, counted, streams)
    sums = _Sums.empty(counted.size)
    if work.homodyned.size:
        _homodyne_sums(work, streams("residual"), sums)
    if work.counting.size:
        _count_sums(work, streams("count"), sums)
    return work.outcomes().T, _row_statistics(work, sums)


def sample_residuals(
    law: LinkLaw,
    q: NDArray[Real],
    x: NDArray[Real],
    pattern: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    streams: Streams,
) -> Residuals:
    """Depth three: outcomes, every residual and every photon count, jointly exact; arguments as in depth two."""
    _check(q, x, pattern, counted)
    work = _Work.prepare(law, q, x, pattern, counted, streams)
    sums = _Sums.empty(counted.size)
    images, n_modes = x.shape[0], pattern.size
    residuals: NDArray[Real] = np.empty((images, work.homodyned.size, n_modes), dtype=q.dtype)
    counts = np.zeros((images, work.counting.size, n_modes), dtype=np.int64)
    if work.homodyned.size:
        _draw_residuals(work, streams("residual"), residuals, sums)
    if work.counting.size:
        sums.photons[work.counting] = _draw_counts(work, streams("count"), counts)
    return Residuals(work.outcomes().T, residuals, counts, _row_statistics(work, sums))


# --- preparation -------------------------------------------------------------------------------------------------


def _check(
    q: NDArray[Real],
    x: NDArray[Real],
    pattern: NDArray[np.bool_] | None = None,
    counted: NDArray[np.bool_] | None = None,
) -> None:
    if q.ndim != 2 or x.ndim != 2 or q.shape[1] != x.shape[1] or q.shape[1] % 2 or not q.shape[1]:
        raise ValueError(f"q and x need shapes (rows, 2n) and (images, 2n), got {q.shape} and {x.shape}")
    if q.dtype != x.dtype or q.dtype not in (np.float32, np.float64):
        raise TypeError(f"q and x must both be float32 or both float64, got {q.dtype} and {x.dtype}")
    if not (q.shape[0] and x.shape[0]):
        raise ValueError("there must be at least one row and one image")
    if pattern is not None and (pattern.shape != (q.shape[1] // 2,) or pattern.dtype != np.bool_):
        raise ValueError(f"pattern must be {q.shape[1] // 2} booleans, got {pattern.dtype} of shape {pattern.shape}")
    if counted is not None and (counted.shape != (q.shape[0],) or counted.dtype != np.bool_):
        raise ValueError(f"counted must be {q.shape[0]} booleans, got {counted.dtype} of shape {counted.shape}")


def _normals(generator: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Real]:
    drawn: NDArray[Real] = np.empty(shape, dtype=dtype)
    generator.standard_normal(out=drawn, dtype=dtype)
    return drawn


@dataclass(frozen=True, slots=True)
class _Phases:
    """Phases of every row and image, (rows, images), rad."""

    forward: NDArray[Real]
    total: NDArray[Real]


def _phases(law: LinkLaw, shape: tuple[int, ...], streams: Streams) -> _Phases:
    generator = streams("phase")
    common = generator.standard_normal(shape) * law.common_phase_noise
    own = generator.standard_normal((2, *shape))
    forward = math.sqrt(max(law.forward_phase_noise**2 - law.common_phase_noise**2, 0.0))
    total = math.sqrt(max(law.total_phase_noise**2 - law.common_phase_noise**2, 0.0))
    return _Phases(common + forward * own[0], common + total * own[1])


@dataclass(frozen=True, slots=True)
class _Basis:
    """Orthonormal basis of span(a, b) of each image: a = l1 e1, b = l3 e1 + l2 e2. Missing vectors are zero.

    `vectors` (2, images, n_modes) and the lengths (images,) are float64; `dimensions` is the sum of the spans'
    dimensions over the images; `kept` (2, images) tells which vectors there are.
    """

    vectors: NDArray[np.float64]
    l1: NDArray[np.float64]
    l2: NDArray[np.float64]
    l3: NDArray[np.float64]
    kept: NDArray[np.bool_]
    dimensions: int

    @classmethod
    def of(cls, measured: NDArray[Real], rotated: NDArray[np.float64]) -> _Basis:
        """From a and b themselves, (images, n_modes) each; `rotated` is used up."""
        vectors = np.empty((2, *rotated.shape))
        e1, e2 = vectors
        e1[...] = measured
        l1 = np.sqrt(np.vecdot(e1, e1))
        kept1 = l1 > 0
        e1 /= np.where(kept1, l1, 1.0)[:, np.newaxis]
        l3 = np.vecdot(e1, rotated)
        np.multiply(e1, l3[:, np.newaxis], out=e2)
        rotated -= e2
        square = np.vecdot(rotated, rotated)
        if square.min() < _NEARLY_COLLINEAR:  # the subtraction has cancelled digits: once more
            rotated -= np.vecdot(e1, rotated)[:, np.newaxis] * e1
            square = np.vecdot(rotated, rotated)
        kept2 = square > _COLLINEAR
        l2 = np.sqrt(np.where(kept2, square, 0.0))
        np.multiply(rotated, np.where(kept2, 1.0 / np.where(kept2, l2, 1.0), 0.0)[:, np.newaxis], out=e2)
        return cls(vectors, l1, l2, l3, np.stack((kept1, kept2)), int(kept1.sum() + kept2.sum()))


@dataclass(frozen=True, slots=True)
class _Work:
    """Products and noises that depths two and three share; big arrays are (rows, images).

    Attributes: `x_b`, `p_b` the addressed quadratures of q (p_b None where no law needs it); `along` (2, ...) the
    products e.q over the measured quadratures; `across` (2, ...) the products e.Jq; `score` the outcome's noise in
    standard deviations; `power_measured`, `power_other` the sums of q^2 (rows,) over the measured and the other
    quadratures, the latter that of (Jq)^2 over the measured ones.
    """

    law: LinkLaw
    q: NDArray[Real]
    x: NDArray[Real]
    measured: NDArray[Real]
    other: NDArray[Real]
    sign: NDArray[np.float64]
    counted: NDArray[np.bool_]
    homodyned: NDArray[np.intp]
    counting: NDArray[np.intp]
    basis: _Basis
    phases: _Phases | None
    x_b: NDArray[Real]
    p_b: NDArray[Real] | None
    along: NDArray[Real]
    across: NDArray[Real]
    score: NDArray[Real]
    power_measured: NDArray[np.float64]
    power_other: NDArray[np.float64]

    @classmethod
    def prepare(
        cls,
        law: LinkLaw,
        q: NDArray[Real],
        x: NDArray[Real],
        pattern: NDArray[np.bool_],
        counted: NDArray[np.bool_],
        streams: Streams,
    ) -> _Work:
        n_modes, images, rows, dtype = pattern.size, x.shape[0], q.shape[0], q.dtype
        where = 2 * np.arange(n_modes) + pattern
        elsewhere = where ^ 1
        # Transposed copies: rows of q.T are contiguous where q is in Fortran order.
        measured, other = np.take(q.T, where, axis=0), np.take(q.T, elsewhere, axis=0)
        x_measured = np.take(x, where, axis=1)
        x_other = np.take(x, elsewhere, axis=1)
        sign = np.where(pattern, 1.0, -1.0)
        basis = _Basis.of(x_measured, np.multiply(x_other, sign, dtype=np.float64))
        norms = basis.l1**2 + basis.l2**2 + basis.l3**2
        if np.any(np.abs(norms - 1.0) > _UNIT_TOLERANCE):
            raise ValueError("every row of x must be a unit vector")

        score = _normals(streams("outcome"), (rows, images), dtype)
        phases = _phases(law, (rows, images), streams) if law.has_phase_noise else None
        vectors = basis.vectors.reshape(2 * images, n_modes)
        along = (measured.T @ vectors.astype(dtype).T).reshape(rows, 2, images).swapaxes(0, 1)
        mismatched = bool(counted.any()) and law.counter.mismatch() != 0
        # (Jq) on a measured quadrature is sign * q on the other one, so e.Jq = (sign e).q_other.
        across = (other.T @ (vectors * sign).astype(dtype).T).reshape(rows, 2, images).swapaxes(0, 1)
        l1, l2, l3 = (length.astype(dtype) for length in (basis.l1, basis.l2, basis.l3))
        x_b = l1 * along[0] + l3 * across[0] + l2 * across[1]
        p_b: NDArray[Real] | None = None
        if phases is not None or law.client.directed_gain != 0 or mismatched:
            p_b = l3 * along[0] + l2 * along[1] - l1 * across[0]
        return cls(
            law=law,
            q=q,
            x=x,
            measured=measured,
            other=other,
            sign=sign,
            counted=counted,
            homodyned=np.flatnonzero(~counted),
            counting=np.flatnonzero(counted),
            basis=basis,
            phases=phases,
            x_b=x_b,
            p_b=p_b,
            along=along,
            across=across,
            score=score,
            power_measured=np.einsum("jk,jk->k", measured, measured).astype(np.float64),
            power_other=np.einsum("jk,jk->k", other, other).astype(np.float64),
        )

    @property
    def images(self) -> int:
        return int(self.x.shape[0])

    @property
    def n_modes(self) -> int:
        return self.sign.size

    def turned(self) -> NDArray[Real]:
        """Jq of the homodyned rows on the measured quadratures (n_modes, homodyned rows)."""
        return np.asarray(np.take(self.other, self.homodyned, axis=1) * self.sign.astype(self.q.dtype)[:, np.newaxis])

    def outcomes(self) -> NDArray[Real]:
        """The client's outcomes (rows, images)."""
        kind = self.q.dtype.type
        gain, sigma = kind(self.law.outcome_gain), kind(math.sqrt(self.law.outcome_variance))
        values = self.score * sigma
        if self.phases is not None and self.law.forward_phase_noise > 0:
            assert self.p_b is not None
            forward = self.phases.forward
            values += gain * (self.x_b * np.cos(forward) - self.p_b * np.sin(forward)).astype(self.q.dtype)
        else:
            values += gain * self.x_b
        return values

    def directed(self, light: ReturnedLight, rows: NDArray[np.intp]) -> tuple[NDArray[np.float64], _Shift]:
        """Means of the components along x and Jx beyond those of q itself, given the outcome: (rows, images)."""
        score = self.score[rows]
        kappa, signal = light.regression, light.directed_signal
        if self.phases is None:
            along_x: NDArray[np.float64] = np.multiply(score, kappa.real, dtype=np.float64)
            along_p: _Shift = np.multiply(score, kappa.imag, dtype=np.float64) if kappa.imag else 0.0
            if signal != 0:
                assert self.p_b is not None
                x_b, p_b = self.x_b[rows].astype(np.float64), self.p_b[rows].astype(np.float64)
                along_x = along_x + (signal.real * x_b - signal.imag * p_b)
                along_p = along_p + (signal.real * p_b + signal.imag * x_b)
            return along_x, along_p
        total = self.phases.total[rows]
        shift = kappa * score.astype(np.float64) * np.exp(1j * (total - self.phases.forward[rows]))
        if signal != 0:
            assert self.p_b is not None
            shift += signal * np.exp(1j * total) * (self.x_b[rows] + 1j * self.p_b[rows].astype(np.float64))
        return shift.real, shift.imag

    def isotropic(self, light: ReturnedLight, rows: NDArray[np.intp]) -> tuple[_Shift, _Shift]:
        """Amplitudes of q and of Jq in the residual's mean: numbers, or (rows, images) with phase noise."""
        if self.phases is None:
            return light.mismatch(), 0.0
        total = self.phases.total[rows].astype(np.float64)
        loss = -2.0 * np.sin(0.5 * total) ** 2  # cos - 1 without cancellation
        return light.isotropic_signal * loss + light.mismatch(), light.isotropic_signal * np.sin(total)

    def span_covariance(self, light: ReturnedLight, rows: NDArray[np.intp]) -> tuple[_Shift, _Shift, _Shift]:
        """Cholesky factor (m11, m21, m22) of the components' covariance in (e1, e2), given the outcome.

        Each has shape (images,), or (rows, images) with phase noise, which turns the spike's axes.
        """
        first, second, angle = light.conditional
        cosine: _Shift = math.cos(angle)
        sine: _Shift = math.sin(angle)
        if self.phases is not None:
            turned = angle + self.phases.total[rows] - self.phases.forward[rows]
            cosine, sine = np.cos(turned), np.sin(turned)
        xx = first * cosine**2 + second * sine**2
        pp = first * sine**2 + second * cosine**2
        xp = (first - second) * cosine * sine
        basis = self.basis
        s11 = light.floor + basis.l1**2 * xx + 2.0 * basis.l1 * basis.l3 * xp + basis.l3**2 * pp
        s21 = basis.l2 * (basis.l1 * xp + basis.l3 * pp)
        s22 = light.floor + basis.l2**2 * pp
        m11 = np.sqrt(s11)
        m21 = s21 / m11
        m22 = np.sqrt(np.maximum(s22 - m21**2, 0.0))
        return m11 * basis.kept[0], m21, m22 * basis.kept[1]


_Shift = NDArray[np.float64] | float
"""A number, or an array (rows, images)."""


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over images (rows,) that a depth fills in."""

    qr: NDArray[np.float64]
    rr: NDArray[np.float64]
    jr: NDArray[np.float64]
    photons: NDArray[np.int64]

    @classmethod
    def empty(cls, rows: int) -> _Sums:
        return cls(np.zeros(rows), np.zeros(rows), np.zeros(rows), np.zeros(rows, dtype=np.int64))


def _row_statistics(work: _Work, sums: _Sums) -> RowStatistics:
    counted, slots = work.counted, work.n_modes * work.images
    sum_qq = np.where(counted, 0.0, work.power_measured * work.images)
    signal = np.where(counted, (work.power_measured + work.power_other) * (0.25 * work.images), 0.0)
    return RowStatistics(
        counted=counted.copy(),
        sum_qq=sum_qq,
        sum_qr=sums.qr,
        sum_rr=sums.rr,
        sum_jj=np.where(counted, 0.0, work.power_other * work.images),
        sum_jr=sums.jr,
        residuals=np.where(counted, 0, slots).astype(np.int64),
        photons=sums.photons,
        slots=np.where(counted, slots, 0).astype(np.int64),
        expected_photons_signal=signal,
        images=work.images,
    )


# --- depth two ---------------------------------------------------------------------------------------------------


def _homodyne_sums(work: _Work, generator: np.random.Generator, sums: _Sums) -> None:
    """Sums of q r, (Jq) r and r^2 of the homodyned rows over the block."""
    law, rows, basis = work.law.homodyne, work.homodyned, work.basis
    images = work.images
    dimensions = work.n_modes * images - basis.dimensions
    if dimensions < 3:  # fewer than the three vectors span: a handful of residuals at most
        _draw_residuals(work, generator, None, sums)
        return
    along1 = work.along[0][rows].astype(np.float64)
    along2 = work.along[1][rows].astype(np.float64)
    across1 = work.across[0][rows].astype(np.float64)
    across2 = work.across[1][rows].astype(np.float64)
    m11, m21, m22 = work.span_covariance(law, rows)
    shift_x, shift_p = work.directed(law, rows)
    on_q, on_jq = work.isotropic(law, rows)

    # Components of the residual in the span: noise, regression on the outcome, directed mean.
    first = generator.standard_normal((rows.size, images))
    second = generator.standard_normal((rows.size, images))
    second *= m22
    second += m21 * first
    first *= m11
    first += shift_x * basis.l1
    if not _is_zero(shift_p):
        first += shift_p * basis.l3
        second += shift_p * basis.l2

    # What is left of q, Jq and the mean outside of the spans, summed over the block.
    power, turned_power = work.power_measured[rows], work.power_other[rows]
    cross = np.einsum("j,jk,jk->k", work.sign, work.measured, work.other)[rows]
    outside_qq = np.maximum(images * power - np.vecdot(along1, along1) - np.vecdot(along2, along2), 0.0)
    outside_jj = np.maximum(images * turned_power - np.vecdot(across1, across1) - np.vecdot(across2, across2), 0.0)
    outside_qj = images * cross - np.vecdot(along1, across1) - np.vecdot(along2, across2)
    outside_mq: NDArray[np.float64] | float = 0.0
    outside_mj: NDArray[np.float64] | float = 0.0
    outside_mm: NDArray[np.float64] | float = 0.0
    if work.phases is not None:
        left_qq = power[:, np.newaxis] - along1**2 - along2**2
        left_jj = turned_power[:, np.newaxis] - across1**2 - across2**2
        left_qj = cross[:, np.newaxis] - along1 * across1 - along2 * across2
        outside_mq = np.sum(on_q * left_qq + on_jq * left_qj, axis=1)
        outside_mj = np.sum(on_q * left_qj + on_jq * left_jj, axis=1)
        outside_mm = np.sum(on_q * (on_q * left_qq + 2.0 * on_jq * left_qj) + on_jq * on_jq * left_jj, axis=1)
        first += on_q * along1 + on_jq * across1
        second += on_q * along2 + on_jq * across2
    elif not _is_zero(on_q):
        outside_mq, outside_mj = on_q * outside_qq, on_q * outside_qj
        outside_mm = on_q * outside_mq
        first += on_q * along1
        second += on_q * along2

    # Outside of the spans the noise is white: components along q, what is left of Jq, and what is left of the mean.
    noise = generator.standard_normal((3, rows.size))
    rest = generator.chisquare(dimensions - 3, rows.size) if dimensions > 3 else 0.0
    q1 = np.sqrt(outside_qq)
    j1 = _over(outside_qj, q1)
    j2 = _left(outside_jj, j1)
    m1 = _over(outside_mq, q1)
    m2 = _over(outside_mj - m1 * j1, j2)
    m3 = _left(outside_mm, np.hypot(m1, m2))
    sigma = math.sqrt(law.floor)
    noise_m = m1 * noise[0] + m2 * noise[1] + m3 * noise[2]
    sums.qr[rows] = np.vecdot(first, along1) + np.vecdot(second, along2) + outside_mq + sigma * q1 * noise[0]
    sums.jr[rows] = np.vecdot(first, across1) + np.vecdot(second, across2) + outside_mj
    sums.jr[rows] += sigma * (j1 * noise[0] + j2 * noise[1])
    sums.rr[rows] = np.vecdot(first, first) + np.vecdot(second, second) + outside_mm + 2.0 * sigma * noise_m
    sums.rr[rows] += law.floor * (np.vecdot(noise, noise, axis=0) + rest)


def _over(product: NDArray[np.float64] | float, length: NDArray[np.float64]) -> NDArray[np.float64]:
    """Component along a vector of this length, 0 where there is no vector."""
    there = length > 0
    return np.asarray(np.where(there, product / np.where(there, length, 1.0), 0.0))


def _left(square: NDArray[np.float64] | float, component: NDArray[np.float64]) -> NDArray[np.float64]:
    """Length of what a vector of this square has beyond a component; 0 where only rounding is left of it."""
    left = square - component**2
    return np.sqrt(np.where(left > _PARALLEL * square, left, 0.0))


def _is_zero(value: _Shift) -> bool:
    return isinstance(value, float) and value == 0.0


def _count_sums(work: _Work, generator: np.random.Generator, sums: _Sums) -> None:
    """Photons of the counted rows over the block: Poisson of the exact classical intensity."""
    law, light, rows = work.law, work.law.counter, work.counting
    images, n_modes = work.images, work.n_modes
    power = work.power_measured[rows] + work.power_other[rows]
    mean_x, mean_p = work.directed(light, rows)
    on_q, on_jq = work.isotropic(light, rows)
    outside: NDArray[np.float64] | float = 0.0
    if not (_is_zero(on_q) and _is_zero(on_jq)):
        assert work.p_b is not None
        x_b, p_b = work.x_b[rows].astype(np.float64), work.p_b[rows].astype(np.float64)
        mean_x = mean_x + (on_q * x_b - on_jq * p_b)
        mean_p = mean_p + (on_q * p_b + on_jq * x_b)
        left = np.maximum(power[:, np.newaxis] - x_b**2 - p_b**2, 0.0)
        outside = np.sum((on_q * on_q + on_jq * on_jq) * left, axis=1)

    first, second, angle = light.conditional
    if work.phases is not None or angle != 0.0:
        turned: _Shift = angle
        if work.phases is not None:
            turned = angle + work.phases.total[rows] - work.phases.forward[rows]
        cosine, sine = np.cos(turned), np.sin(turned)
        mean_x, mean_p = mean_x * cosine + mean_p * sine, mean_p * cosine - mean_x * sine
    zeros = np.zeros(rows.size)
    energy_x = zeros + np.sum(np.square(mean_x), axis=1)
    energy_p = zeros + (0.0 if isinstance(mean_p, float) else np.sum(np.square(mean_p), axis=1))
    energy = _noncentral(light.floor + first, energy_x, images, generator)
    energy += _noncentral(light.floor + second, energy_p, images, generator)
    energy += _noncentral(light.floor, zeros + outside, images * (2 * n_modes - 2), generator)
    intensity = energy * (0.25 * law.counter_efficiency) + law.dark_counts * (n_modes * images)
    leaked = law.extinction * law.counter_efficiency * law.forward * law.back
    intensity += leaked * (0.25 * images) * power
    sums.photons[rows] = generator.poisson(intensity)


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


# --- depth three -------------------------------------------------------------------------------------------------


def _draw_residuals(work: _Work, generator: np.random.Generator, residuals: NDArray[Real] | None, sums: _Sums) -> None:
    """Fill (images, homodyned rows, n_modes), if wanted, and the sums: white noise, replaced in span(a, b)."""
    law, rows, basis, dtype = work.law.homodyne, work.homodyned, work.basis, work.q.dtype
    n_modes, sigma = work.n_modes, math.sqrt(law.floor)
    m11, m21, m22 = (np.broadcast_to(m, (rows.size, work.images)) for m in work.span_covariance(law, rows))
    shift_x, shift_p = work.directed(law, rows)
    mean1 = np.broadcast_to(shift_x * basis.l1 + shift_p * basis.l3, (rows.size, work.images))
    mean2 = np.broadcast_to(shift_p * basis.l2, (rows.size, work.images))
    on_q, on_jq = work.isotropic(law, rows)
    q_rows = np.ascontiguousarray(np.take(work.measured, rows, axis=1).T)
    jq_rows = np.ascontiguousarray(work.turned().T)
    step = max(1, _CHUNK // n_modes)
    vectors = np.ascontiguousarray(basis.vectors.swapaxes(0, 1).astype(dtype))  # (images, 2, n_modes)
    sum_qr, sum_rr, sum_jr = np.zeros((3, rows.size))
    for image in range(work.images):
        plane = vectors[image]
        for start in range(0, rows.size, step):
            part = slice(start, min(start + step, rows.size))
            chunk = np.empty_like(q_rows[part]) if residuals is None else residuals[image, part]
            generator.standard_normal(out=chunk, dtype=dtype)
            white = (chunk @ plane.T).astype(np.float64)
            change = np.empty_like(white)
            change[:, 0] = (m11[part, image] - sigma) * white[:, 0] + mean1[part, image]
            change[:, 1] = m21[part, image] * white[:, 0] + (m22[part, image] - sigma) * white[:, 1]
            change[:, 1] += mean2[part, image]
            if sigma != 1.0:
                chunk *= dtype.type(sigma)
            chunk += change.astype(dtype) @ plane
            if work.phases is not None:
                assert not isinstance(on_q, float)
                assert not isinstance(on_jq, float)
                chunk += on_q[part, image, np.newaxis].astype(dtype) * q_rows[part]
                chunk += on_jq[part, image, np.newaxis].astype(dtype) * jq_rows[part]
            elif not _is_zero(on_q):
                chunk += q_rows[part] * dtype.type(on_q)
            sum_qr[part] += np.vecdot(chunk, q_rows[part])
            sum_rr[part] += np.vecdot(chunk, chunk)
            sum_jr[part] += np.vecdot(chunk, jq_rows[part])
    sums.qr[rows] = sum_qr
    sums.rr[rows] = sum_rr
    sums.jr[rows] = sum_jr


def _draw_counts(work: _Work, generator: np.random.Generator, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fill zeros (images, counted rows, n_modes): Poisson of the classical intensity of each mode. Sums per row."""
    law, light, rows = work.law, work.law.counter, work.counting
    shape = (rows.size, work.images)
    mean_x, mean_p = (np.broadcast_to(mean, shape) for mean in work.directed(light, rows))
    on_q, on_jq = (np.broadcast_to(part, shape) for part in work.isotropic(light, rows))
    first, second, angle = light.conditional
    turned: _Shift = angle
    if work.phases is not None:
        turned = angle + work.phases.total[rows] - work.phases.forward[rows]
    axes = np.broadcast_to(np.exp(1j * np.asarray(turned)), shape)
    deviations = [math.sqrt(max(light.floor + spike, 0.0)) for spike in (first, second)]
    sent = work.q[rows, 0::2].astype(np.float64) + 1j * work.q[rows, 1::2]
    leaked = law.extinction * law.counter_efficiency * law.forward * law.back
    background = law.dark_counts + 0.25 * leaked * (sent.real**2 + sent.imag**2)
    floor = math.sqrt(light.floor)
    if floor == 0 and not (on_q.any() or on_jq.any()):
        noise = generator.standard_normal((2, *shape))
        addressed = mean_x + 1j * mean_p + axes * (deviations[0] * noise[0] + 1j * deviations[1] * noise[1])
        intensity = np.abs(addressed) ** 2 * (0.25 * law.counter_efficiency)
        return _scatter_counts(work, intensity, background, generator, counts)
    photons = np.zeros(rows.size, dtype=np.int64)
    for image in range(work.images):
        u = work.x[image, 0::2].astype(np.float64) + 1j * work.x[image, 1::2]
        field = (on_q[:, image] + 1j * on_jq[:, image])[:, np.newaxis] * sent
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
    work: _Work,
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
        u = work.x[image].astype(np.float64) ** 2
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
