"""The exact joint sampler: the client's outcomes and the light that the server gets back, at three depths.

`sample_outcomes` draws outcomes only: one matrix product and one normal an outcome. `sample_statistics` adds what the
server's tests need, summed over the images of a block, without drawing a single residual. `sample_residuals` draws
every residual and every count. All three are exact draws of the same law (`LinkLaw`; derivation in docs/physics.md),
and with the same streams they give the same outcomes, up to the rounding of matrix products.

How depth two works. For one row and image let a, b be the restrictions of x, Jx to the homodyned quadratures. Given
the outcome, the residual is Gaussian with a mean in span(a, b, q, Jq) and a covariance that is sigma^2 I but for that
span. Where the addressed mode has more noise than others, its noise along a and b is drawn, two normals an image, and
counts as mean M; on top of that the noise is white. Where it has less (the outcome tells what a cloner's noise was), an
orthonormal basis of span(a, b) takes two normals that replace the white noise there, and what follows happens outside
of the spans. Of white noise over all images of a block, only its products with M, q and Jq and its square are wanted:
three normals and one chi-square a row complete their Gram matrix. A counted row needs no normal per image at all: the
energy along x, along Jx and elsewhere are non-central chi-squares over the block.

The sum of each weight's residuals over the images costs one normal a weight and block: it is the projection on the
directions (1, 1, ..., 1) (x) e_j, and of all others only one more component of M and a chi-square are needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import ResidualSample, ReturnedLight, RowStatistics, UseSums
from labqdl.optics.counting import count_sums, draw_counts
from labqdl.optics.homodyned import Sums, add_sums, add_sums_of_uses, draw_residuals, needs_every_residual
from labqdl.optics.joint import Joint, Phases, Real, Streams, adds_only, normals
from labqdl.optics.law import LinkLaw
from labqdl.optics.modes import rotate_j

__all__ = ["Residuals", "Streams", "sample_outcomes", "sample_residuals", "sample_statistics"]


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

    def light(self, *, use_sums: bool = False, sampled: NDArray[np.int64] | None = None) -> ReturnedLight:
        """As `sample_statistics` gives it: with sums of uses, and with the residuals of these images, where wanted."""
        homodyned = np.flatnonzero(~self.statistics.counted)
        uses = self.residuals.sum(axis=0, dtype=np.float64) if use_sums else None
        kept = None if sampled is None else self.residuals[np.sort(sampled)]
        return _light(self.statistics, homodyned, uses, sampled, kept)


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
    noise = normals(streams("outcome"), (q.shape[0], x.shape[0]), q.dtype)
    noise *= q.dtype.type(sigma)
    if law.forward_phase_noise > 0:
        phases = Phases.draw(law, noise.shape, streams, q.dtype)
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
    *,
    use_sums: bool = False,
    sampled: NDArray[np.int64] | None = None,
    offset: NDArray[Real] | None = None,
) -> tuple[NDArray[Real], ReturnedLight]:
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
        Purposes "outcome", "residual", "sample", "count" and, with phase noise, "phase".
    use_sums:
        Whether the residuals of each weight are to be summed over the images (`UseSums`).
    sampled:
        Images of which every residual is kept (`ResidualSample`), as places in the block; None for none.
    offset:
        Light that is added to the returned quadratures in the same way for every image (rows, 2 n_modes), as a
        coherent meter that touches all uses of the weights leaves it: SNU^(1/2) at the client's output, without phase
        noise. Outcomes do not depend on it.

    Returns
    -------
    Outcomes (images, rows) as in `sample_outcomes`, and what the server measured: the statistics (float64) of each
    row over all images, and what else was asked for.
    """
    _check(q, x, pattern, counted, sampled, offset)
    summing = use_sums or offset is not None
    joint = Joint.prepare(law, q, x, pattern, counted, streams, plain=adds_only(law.homodyne))
    sums = Sums.empty(joint.homodyned.size, joint.n_modes, uses=use_sums)
    kept: NDArray[Real] | None = None
    if joint.homodyned.size:
        at_homodyne, _ = _offsets(joint, offset)
        summed = np.ones(joint.images, dtype=np.bool_)
        if sampled is not None:
            summed[sampled] = False
            kept = np.empty((int(sampled.size), joint.homodyned.size, joint.n_modes), dtype=q.dtype)
        one_by_one: list[tuple[NDArray[np.intp], NDArray[Real] | None]] = []
        if kept is not None and len(kept):
            one_by_one.append((np.flatnonzero(~summed), kept))
        if summed.any() and needs_every_residual(joint, summed, uses=summing):
            one_by_one.append((np.flatnonzero(summed), None))
            summed[:] = False
        if summed.any():
            if summing:
                add_sums_of_uses(joint, summed, streams("residual"), sums, at_homodyne)
            else:
                add_sums(joint, summed, streams("residual"), sums)
        if not summed.all():
            generator = streams("sample")
            for images, wanted in one_by_one:
                draw_residuals(joint.at(images), generator, wanted, sums, at_homodyne)
    elif sampled is not None:
        kept = np.empty((int(sampled.size), 0, joint.n_modes), dtype=q.dtype)
    photons: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
    if joint.counting.size:
        photons = count_sums(joint, streams("count"), _offsets(joint, offset)[1])
    light = _light(_row_statistics(joint, sums, photons), joint.homodyned, sums.uses, sampled, kept)
    return joint.outcomes().T, light


def sample_residuals(
    law: LinkLaw,
    q: NDArray[Real],
    x: NDArray[Real],
    pattern: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    streams: Streams,
    *,
    offset: NDArray[Real] | None = None,
) -> Residuals:
    """Depth three: outcomes, every residual and every photon count, jointly exact; arguments as in depth two."""
    _check(q, x, pattern, counted, None, offset)
    joint = Joint.prepare(law, q, x, pattern, counted, streams)
    at_homodyne, at_counter = _offsets(joint, offset)
    sums = Sums.empty(joint.homodyned.size, joint.n_modes, uses=False)
    images, n_modes = x.shape[0], pattern.size
    residuals: NDArray[Real] = np.empty((images, joint.homodyned.size, n_modes), dtype=q.dtype)
    counts = np.zeros((images, joint.counting.size, n_modes), dtype=np.int64)
    photons: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
    if joint.homodyned.size:
        draw_residuals(joint, streams("residual"), residuals, sums, at_homodyne)
    if joint.counting.size:
        photons = draw_counts(joint, streams("count"), counts, at_counter)
    return Residuals(joint.outcomes().T, residuals, counts, _row_statistics(joint, sums, photons))


# --- parts -------------------------------------------------------------------------------------------------------


def _check(
    q: NDArray[Real],
    x: NDArray[Real],
    pattern: NDArray[np.bool_] | None = None,
    counted: NDArray[np.bool_] | None = None,
    sampled: NDArray[np.int64] | None = None,
    offset: NDArray[Real] | None = None,
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
    if sampled is not None and (
        sampled.ndim != 1
        or not np.issubdtype(sampled.dtype, np.integer)
        or not np.array_equal(sampled, np.unique(sampled))
        or (sampled.size and not (sampled[0] >= 0 and sampled[-1] < x.shape[0]))
    ):
        raise ValueError(f"sampled must be rising places among {x.shape[0]} images, got {sampled!r}")
    if offset is not None and (offset.shape != q.shape or not np.issubdtype(offset.dtype, np.floating)):
        raise ValueError(f"offset must have the shape of q, {q.shape}, got {offset.dtype} of shape {offset.shape}")


def _offsets(
    joint: Joint, offset: NDArray[Real] | None
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """An offset as homodyned (homodyned rows, n_modes), and at the counter's displacement (counted rows, 2 n_modes)."""
    if offset is None:
        return None, None
    law, where = joint.law, 2 * np.arange(joint.n_modes) + (joint.sign > 0)
    measured = offset[np.ix_(joint.homodyned, where)].astype(np.float64)
    nulled = offset[joint.counting].astype(np.float64)
    return measured * math.sqrt(law.back * law.server_efficiency), nulled * math.sqrt(law.back)


def _row_statistics(joint: Joint, sums: Sums, photons: NDArray[np.int64]) -> RowStatistics:
    counted, slots = joint.counted, joint.n_modes * joint.images

    def spread(values: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[Any]:
        every = np.zeros(counted.size, dtype=values.dtype)
        every[rows] = values
        return every

    signal = (joint.power_measured + joint.power_other) * (0.25 * joint.images)
    return RowStatistics(
        counted=counted.copy(),
        sum_qq=np.where(counted, 0.0, joint.power_measured * joint.images),
        sum_qr=spread(sums.qr, joint.homodyned),
        sum_rr=spread(sums.rr, joint.homodyned),
        sum_jj=np.where(counted, 0.0, joint.power_other * joint.images),
        sum_jr=spread(sums.jr, joint.homodyned),
        residuals=np.where(counted, 0, slots).astype(np.int64),
        photons=spread(photons, joint.counting),
        slots=np.where(counted, slots, 0).astype(np.int64),
        expected_photons_signal=np.where(counted, signal, 0.0),
        images=joint.images,
    )


def _light(
    statistics: RowStatistics,
    homodyned: NDArray[np.intp],
    uses: NDArray[np.float64] | None,
    sampled: NDArray[np.int64] | None,
    kept: NDArray[Real] | None,
) -> ReturnedLight:
    """Facts from the arrays of the homodyned rows."""
    use_sums, sample = None, None
    if uses is not None:
        every = np.zeros((statistics.counted.size, uses.shape[1]), dtype=np.float32)
        every[homodyned] = uses
        use_sums = UseSums(every, statistics.images)
    if sampled is not None and kept is not None:
        sample = ResidualSample(sampled.astype(np.int64), homodyned.astype(np.int64), kept)
    return ReturnedLight(statistics, use_sums, sample)
