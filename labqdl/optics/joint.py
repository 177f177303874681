"""What the sampler draws first and shares between depths: outcome noise, phases, products of light with the data.

Big arrays are (rows, images). In the frame of one image, a and b are the restrictions of x and Jx to the homodyned
quadratures, and the law of its residuals given the outcome is white noise with something added or missing in the
plane span(a, b): see docs/physics.md, "Sampling outcomes, residuals and their sums".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from labqdl.optics.law import LinkLaw, ReturnedLight

Real = np.floating[Any]
"""float32 or float64."""
Shift = NDArray[Real] | float
"""A number, or an array that spreads over (rows, images)."""

_COLLINEAR = 1e-16
"""Squared sine below which a and b count as parallel: both come from one rounded x."""
_NEARLY_COLLINEAR = 1e-4
"""Squared sine above which one step of Gram and Schmidt is orthogonal to 14 digits."""
_UNIT_TOLERANCE = 1e-4
_NO_SPIKE = -1e-12
"""Extra variance, relative to the floor, above which a negative one is the rounding of none."""


class Streams(Protocol):
    """Where the sampler gets its randomness from: one generator per purpose, for one (layer, block).

    Called with one of the purposes "phase", "outcome", "residual", "sample", "count", at most once each per sampling
    call; two calls with equal purposes must give generators in equal states. `lambda purpose: root.generator(purpose,
    layer, block)` is one. Numbers drawn for one purpose do not depend on what is drawn for another, so outcomes do
    not depend on how, or whether, the returned light is looked at.
    """

    def __call__(self, purpose: str, /) -> np.random.Generator:
        """A fresh generator for this purpose."""
        ...


def normals(generator: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> NDArray[Real]:
    """Standard normals of this type, float32 or float64."""
    drawn: NDArray[Real] = np.empty(shape, dtype=dtype)
    generator.standard_normal(out=drawn, dtype=dtype)
    return drawn


def is_zero(value: Shift) -> bool:
    """Whether this is the number 0, and not an array."""
    return isinstance(value, float) and value == 0.0


@dataclass(frozen=True, slots=True)
class Phases:
    """Phases of every row and image, (rows, images), rad."""

    forward: NDArray[Real]
    total: NDArray[Real]

    @classmethod
    def draw(cls, law: LinkLaw, shape: tuple[int, ...], streams: Streams, dtype: Any) -> Phases:
        """Of the light against the client's oscillator and of the returned light against the server's."""
        common, forward, total = normals(streams("phase"), (3, *shape), dtype)
        common *= law.common_phase_noise
        forward *= math.sqrt(max(law.forward_phase_noise**2 - law.common_phase_noise**2, 0.0))
        total *= math.sqrt(max(law.total_phase_noise**2 - law.common_phase_noise**2, 0.0))
        forward += common
        total += common
        return cls(forward, total)

    def at(self, images: NDArray[np.intp]) -> Phases:
        """Of these images."""
        return Phases(self.forward[:, images], self.total[:, images])


@dataclass(frozen=True, slots=True)
class Plane:
    """Two vectors v1, v2 for each image that span what a and b span: a = l1 v1, b = l3 v1 + l2 v2.

    Attributes
    ----------
    vectors:
        (2, images, n_modes); missing ones are zero.
    l1, l2, l3:
        Lengths (images,), or numbers.
    kept:
        Which vectors there are, (2, images).
    orthonormal:
        True for an orthonormal basis in float64, False for a and b themselves in the type of the data.
    """

    vectors: NDArray[Real]
    l1: Shift
    l2: Shift
    l3: Shift
    kept: NDArray[np.bool_]
    orthonormal: bool

    @classmethod
    def basis(cls, measured: NDArray[Real], rotated: NDArray[Real]) -> Plane:
        """Orthonormal, from a and b, (images, n_modes) each."""
        vectors = np.empty((2, *rotated.shape))
        left = rotated.astype(np.float64)
        e1, e2 = vectors
        e1[...] = measured
        l1 = np.sqrt(np.vecdot(e1, e1))
        kept1 = l1 > 0
        e1 /= np.where(kept1, l1, 1.0)[:, np.newaxis]
        l3 = np.vecdot(e1, left)
        np.multiply(e1, l3[:, np.newaxis], out=e2)
        left -= e2
        square = np.vecdot(left, left)
        if square.min() < _NEARLY_COLLINEAR:  # the subtraction has cancelled digits: once more
            left -= np.vecdot(e1, left)[:, np.newaxis] * e1
            square = np.vecdot(left, left)
        kept2 = square > _COLLINEAR
        l2 = np.sqrt(np.where(kept2, square, 0.0))
        np.multiply(left, np.where(kept2, 1.0 / np.where(kept2, l2, 1.0), 0.0)[:, np.newaxis], out=e2)
        return cls(vectors, l1, l2, l3, np.stack((kept1, kept2)), True)

    @classmethod
    def plain(cls, measured: NDArray[Real], rotated: NDArray[Real]) -> Plane:
        """a and b themselves, (images, n_modes) each."""
        kept = np.ones((2, len(measured)), dtype=np.bool_)
        return cls(np.stack((measured, rotated)), 1.0, 1.0, 0.0, kept, False)

    def at(self, images: NDArray[np.intp]) -> Plane:
        """An orthonormal basis for these images."""
        if not self.orthonormal:
            return Plane.basis(*self.vectors[:, images])
        l1, l2, l3 = (np.asarray(length)[images] for length in (self.l1, self.l2, self.l3))
        return Plane(self.vectors[:, images], l1, l2, l3, self.kept[:, images], True)

    def dimensions(self, images: NDArray[np.bool_]) -> int:
        """Sum of the planes' dimensions over these images."""
        return int(self.kept[:, images].sum())


def adds_only(light: ReturnedLight) -> bool:
    """Whether the noise of returned light given the outcome is white noise with more on the addressed mode, not less.

    True for amplifiers, and for every noise that the client's reading did not take in. False where light that was
    read gets back noise of all modes, as from a cloner: what the outcome tells about it is then missing.
    """
    return min(light.conditional[:2]) >= _NO_SPIKE * light.floor


@dataclass(frozen=True, slots=True)
class Joint:
    """One layer of one block: what was drawn, and the products that residuals and counts are made of.

    Attributes
    ----------
    sent, turned:
        q and Jq of the homodyned rows on the measured quadratures (homodyned rows, n_modes).
    x_b, p_b:
        Addressed quadratures of q (rows, images); p_b None where no law needs it.
    along, across:
        Products v.q and v.Jq over the measured quadratures for the two vectors of the plane, (2, rows, images); None
        where nothing needs them.
    score:
        The outcome's noise in standard deviations.
    power_measured, power_other:
        Sums of q^2 (rows,) over the measured and the other quadratures; the latter is that of (Jq)^2 over the
        measured ones.
    """

    law: LinkLaw
    q: NDArray[Real]
    x: NDArray[Real]
    sent: NDArray[Real]
    turned: NDArray[Real]
    sign: NDArray[np.float64]
    counted: NDArray[np.bool_]
    homodyned: NDArray[np.intp]
    counting: NDArray[np.intp]
    plane: Plane
    phases: Phases | None
    x_b: NDArray[Real]
    p_b: NDArray[Real] | None
    along: NDArray[Real] | None
    across: NDArray[Real] | None
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
        *,
        plain: bool = False,
    ) -> Joint:
        """Draw outcomes and phases and form the products; `plain` for a and b instead of an orthonormal basis.

        With a and b, products with the plane are formed only where the law needs them.
        """
        n_modes, images, rows, dtype = pattern.size, x.shape[0], q.shape[0], q.dtype
        where = 2 * np.arange(n_modes) + pattern
        elsewhere = where ^ 1
        # Transposed copies: rows of q.T are contiguous where q is in Fortran order.
        measured, other = np.take(q.T, where, axis=0), np.take(q.T, elsewhere, axis=0)
        sign = np.where(pattern, 1.0, -1.0)
        a, b = np.take(x, where, axis=1), np.take(x, elsewhere, axis=1)
        b *= sign.astype(dtype)
        norms = np.vecdot(a, a) + np.vecdot(b, b)
        if np.any(np.abs(norms - 1.0) > _UNIT_TOLERANCE):
            raise ValueError("every row of x must be a unit vector")
        plane = Plane.plain(a, b) if plain else Plane.basis(a, b)

        score = normals(streams("outcome"), (rows, images), dtype)
        phases = Phases.draw(law, (rows, images), streams, dtype) if law.has_phase_noise else None
        shaped = phases is not None or law.client.directed_gain != 0
        shaped |= bool(counted.any()) and law.counter.mismatch() != 0
        along: NDArray[Real] | None = None
        across: NDArray[Real] | None = None
        p_b: NDArray[Real] | None = None
        if plain and not shaped and law.homodyne.mismatch() == 0:
            x_b = q @ x.T
        else:
            vectors = plane.vectors.reshape(2 * images, n_modes)
            along = (measured.T @ vectors.astype(dtype).T).reshape(rows, 2, images).swapaxes(0, 1)
            # (Jq) on a measured quadrature is sign * q on the other one, so v.Jq = (sign v).q_other.
            across = (other.T @ (vectors * sign).astype(dtype).T).reshape(rows, 2, images).swapaxes(0, 1)
            l1, l2, l3 = (np.asarray(length, dtype=dtype) for length in (plane.l1, plane.l2, plane.l3))
            x_b = l1 * along[0] + l3 * across[0] + l2 * across[1]
            if shaped:
                p_b = l3 * along[0] + l2 * along[1] - l1 * across[0]
        homodyned = np.flatnonzero(~counted)
        sent: NDArray[Real] = np.ascontiguousarray(np.take(measured, homodyned, axis=1).T)
        turned: NDArray[Real] = np.ascontiguousarray(np.take(other, homodyned, axis=1).T)
        turned *= sign.astype(dtype)
        return cls(
            law=law,
            q=q,
            x=x,
            sent=sent,
            turned=turned,
            sign=sign,
            counted=counted,
            homodyned=homodyned,
            counting=np.flatnonzero(counted),
            plane=plane,
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
        """Images of the block."""
        return int(self.x.shape[0])

    @property
    def n_modes(self) -> int:
        """Modes of a row."""
        return self.sign.size

    @property
    def precision(self) -> type[Real]:
        """Type in which components in the plane are kept: with the floor in them they need float64."""
        return np.float64 if self.plane.orthonormal else self.q.dtype.type

    def at(self, images: NDArray[np.intp]) -> Joint:
        """The same for these images only, with an orthonormal basis and without the products."""
        return replace(
            self,
            x=self.x[images],
            plane=self.plane.at(images),
            phases=None if self.phases is None else self.phases.at(images),
            x_b=self.x_b[:, images],
            p_b=None if self.p_b is None else self.p_b[:, images],
            along=None,
            across=None,
            score=self.score[:, images],
        )

    def outcomes(self) -> NDArray[Real]:
        """The client's outcomes (rows, images)."""
        kind = self.q.dtype.type
        gain, sigma = kind(self.law.outcome_gain), kind(math.sqrt(self.law.outcome_variance))
        values = self.score * sigma
        if self.phases is not None and self.law.forward_phase_noise > 0:
            assert self.p_b is not None
            forward = self.phases.forward
            values += gain * (self.x_b * np.cos(forward) - self.p_b * np.sin(forward))
        else:
            values += gain * self.x_b
        return values

    def directed(self, light: ReturnedLight, rows: NDArray[np.intp]) -> tuple[NDArray[Real], Shift]:
        """Means of the components along x and Jx beyond those of q itself, given the outcome: (rows, images)."""
        kind = self.precision
        score = self.score[rows]
        kappa, signal = light.regression, light.directed_signal
        if self.phases is None:
            along_x: NDArray[Real] = np.multiply(score, kind(kappa.real), dtype=kind)
            along_p: Shift = np.multiply(score, kind(kappa.imag), dtype=kind) if kappa.imag else 0.0
            if signal != 0:
                assert self.p_b is not None
                x_b, p_b = self.x_b[rows].astype(kind), self.p_b[rows].astype(kind)
                along_x = along_x + (signal.real * x_b - signal.imag * p_b)
                along_p = along_p + (signal.real * p_b + signal.imag * x_b)
            return along_x, along_p
        total = self.phases.total[rows].astype(kind, copy=False)
        turned = total - self.phases.forward[rows]
        if signal == 0 and kappa.imag == 0:
            score = score * kind(kappa.real)
            return score * np.cos(turned), score * np.sin(turned)
        shift = kappa * score.astype(kind, copy=False) * np.exp(1j * turned)
        if signal != 0:
            assert self.p_b is not None
            shift += signal * np.exp(1j * total) * (self.x_b[rows] + 1j * self.p_b[rows].astype(kind, copy=False))
        return shift.real, shift.imag

    def isotropic(self, light: ReturnedLight, rows: NDArray[np.intp]) -> tuple[Shift, Shift]:
        """Amplitudes of q and of Jq in the residual's mean: numbers, or (rows, images) with phase noise."""
        if self.phases is None:
            return light.mismatch(), 0.0
        total = self.phases.total[rows].astype(self.precision, copy=False)
        loss = -2.0 * np.sin(0.5 * total) ** 2  # cos - 1 without cancellation
        return light.isotropic_signal * loss + light.mismatch(), light.isotropic_signal * np.sin(total)

    def spread(self, light: ReturnedLight, rows: NDArray[np.intp]) -> tuple[Shift, Shift, Shift]:
        """Cholesky factor (m11, m21, m22) of the covariance of the plane's components, given the outcome.

        The floor is part of it for an orthonormal basis, and is not for a and b themselves. Numbers, (images,), or
        (rows, images) with phase noise, which turns the spike's axes.
        """
        first, second, angle = light.conditional
        cosine: Shift = math.cos(angle)
        sine: Shift = math.sin(angle)
        if self.phases is not None and first != second:
            turned = self.phases.total[rows].astype(self.precision, copy=False) - self.phases.forward[rows]
            turned += angle
            cosine, sine = np.cos(turned), np.sin(turned)
        xx = first * cosine**2 + second * sine**2
        pp = first * sine**2 + second * cosine**2
        xp = (first - second) * cosine * sine
        plane = self.plane
        if not plane.orthonormal:
            m11 = np.sqrt(np.maximum(xx, 0.0))
            m21 = np.where(m11 > 0, xp / np.where(m11 > 0, m11, 1.0), 0.0)
            return m11, m21, np.sqrt(np.maximum(pp - m21**2, 0.0))
        s11 = light.floor + plane.l1**2 * xx + 2.0 * plane.l1 * plane.l3 * xp + plane.l3**2 * pp
        s21 = plane.l2 * (plane.l1 * xp + plane.l3 * pp)
        s22 = light.floor + plane.l2**2 * pp
        m11 = np.sqrt(s11)
        m21 = s21 / m11
        m22 = np.sqrt(np.maximum(s22 - m21**2, 0.0))
        return m11 * plane.kept[0], m21, m22 * plane.kept[1]

    def components(self, light: ReturnedLight, rows: NDArray[np.intp], generator: np.random.Generator) -> NDArray[Real]:
        """Components of the residuals along the plane's vectors, (rows, 2, images), but for those of q and Jq.

        Noise, regression on the outcome and directed mean; in `precision`.
        """
        drawn = normals(generator, (rows.size, 2, self.images), self.precision)
        first, second = drawn[:, 0], drawn[:, 1]
        m11, m21, m22 = (np.asarray(m, dtype=self.precision) for m in self.spread(light, rows))
        second *= m22
        if m21.any():
            second += m21 * first
        first *= m11
        shift_x, shift_p = self.directed(light, rows)
        plane = self.plane
        first += shift_x * plane.l1 if plane.orthonormal else shift_x
        if not is_zero(shift_p):
            if plane.orthonormal:
                first += shift_p * plane.l3
            second += shift_p * plane.l2 if plane.orthonormal else shift_p
        return drawn
