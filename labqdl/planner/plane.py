"""The plane of the two leakages with the accuracy that they allow: ours, and the map of the protocol's authors.

Ours: for each F^2 and each limit on the data the least leakage of the weights; so the contour of an accuracy is a
curve over the data's limit, and nothing is interpolated between accuracies. The authors': their formulas, errors
included, in the arrangement of their code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import PchipInterpolator

from labqdl.planner.question import Aim, Question
from labqdl.planner.search import Search
from labqdl.planner.stage import MOST_TAPPED, Array, Stage, from_logit, logit
from labqdl.security.engines import arxiv_2024_data, prx_2025_data, published_added_noise
from labqdl.security.holevo import weight_leakage
from labqdl.security.published import authors_fit
from labqdl.units import from_db

_TAPS = 241
_RATIO_TAPS = 7
_RATIO_F2 = 7
_STEP_DB = 0.5


@dataclass(frozen=True, eq=False)
class Plane:
    """Accuracy over limits on the two leakages.

    Attributes
    ----------
    weights, data:
        Limits, bits per real weight and per feature; (columns,) and (rows,), rising.
    accuracy:
        Fraction right that is reached within both, (rows, columns); NaN where the measured curve does not reach down.
    contours:
        For each accuracy that was asked for, the weights' and the data's limits along its contour.
    """

    weights: Array
    data: Array
    accuracy: Array
    contours: dict[float, tuple[Array, Array]]


def exact_plane(question: Question, weights: Array, data: Array, levels: Sequence[float]) -> Plane:
    """The plane of a question's network on its link, by the exact bounds; its own limits and target are ignored.

    The subject needs a curve, and the split of light a number.
    """
    curve = question.subject.curve
    if curve is None or question.last_layer_db is None:
        raise ValueError("a map needs a measured curve, and a split of the light")
    split = question.last_layer_db
    free = replace(question, bits_per_weight=None, bits_per_feature=None, accuracy=None, f2_db=0.0, aim=Aim.WEIGHTS)
    low, high = float(curve.f2_db[0]), float(curve.f2_db[-1])
    grid = np.linspace(low, high, round((high - low) / _STEP_DB) + 1)
    least = _least(free, split, grid)
    table = np.array([[least(f2_db, limit) for limit in data.tolist()] for f2_db in grid.tolist()])  # (f2, data)
    accuracy = np.full((data.size, weights.size), np.nan)
    for row in range(data.size):
        reach = np.maximum.accumulate(table[:, row])  # the light only grows with F^2; a safeguard for equal entries
        known = np.isfinite(reach)
        if known.any():
            f2_db = np.interp(np.log(weights), np.log(reach[known]), grid[known], left=np.nan)
            accuracy[row] = np.where(np.isnan(f2_db), np.nan, curve.at(np.nan_to_num(f2_db, nan=low), split))
    contours = {}
    for level in levels:
        needed = curve.f2_for(level, split)
        if needed is not None:
            contours[level] = (np.array([least(needed, limit) for limit in data.tolist()]), data)
    return Plane(weights, data, accuracy, contours)


def _least(question: Question, split: float, grid: Array) -> Callable[[float, float], float]:
    """Least leakage of the weights for F^2 in dB and a limit on the data, over all stages."""
    searches = [_Column(Search(question, stage, split), stage, grid) for stage in question.stages]

    def least(f2_db: float, limit: float) -> float:
        return min(column.least(f2_db, limit) for column in searches)

    return least


class _Column:
    """One stage: leakages over the tap for any F^2, the water-filling ratio from a coarse grid of both."""

    def __init__(self, search: Search, stage: Stage, grid: Array) -> None:
        self._search = search
        self._positions = np.linspace(float(logit(stage.least)), float(logit(MOST_TAPPED)), _TAPS)
        self._tapped = from_logit(self._positions)
        self._cache: dict[float, tuple[Array, Array]] = {}
        places = np.linspace(self._positions[0], self._positions[-1], _RATIO_TAPS)
        self._f2_db = np.linspace(float(grid[0]), float(grid[-1]), _RATIO_F2)
        rows = []
        for f2_db in self._f2_db.tolist():
            if from_db(f2_db) >= search.largest_f2:
                break
            points = [search.point(from_db(f2_db), float(from_logit(place))) for place in places.tolist()]
            ratios = np.log([point.weights / point.weights_isotropic for point in points])
            rows.append(PchipInterpolator(places, ratios)(self._positions))
        self._ratios = np.array(rows)

    def least(self, f2_db: float, limit: float) -> float:
        if from_db(f2_db) >= self._search.largest_f2:
            return float("inf")
        if f2_db not in self._cache:
            _, weights, data = self._search.leakages(from_db(f2_db), self._tapped)
            weights = weights * np.exp(self._ratio(f2_db))
            self._cache[f2_db] = (np.minimum.accumulate(weights), np.maximum.accumulate(data))
        weights, data = self._cache[f2_db]
        # between two taps the running minimum is interpolated where the limit falls between their data leakages
        if limit < data[0]:
            return float("inf")
        return float(np.exp(np.interp(np.log(limit), np.log(data), np.log(weights))))

    def _ratio(self, f2_db: float) -> Array:
        known = self._f2_db[: len(self._ratios)]
        if known.size < 2:
            return np.asarray(self._ratios[0])
        return np.asarray(PchipInterpolator(known, self._ratios, axis=0)(np.clip(f2_db, known[0], known[-1])))


@dataclass(frozen=True, eq=False)
class AuthorsMap:
    """The authors' map of operating points as their code computes it.

    Attributes
    ----------
    weights, data:
        The axes that it draws: (columns,) and (rows,), bits.
    accuracy:
        (rows, columns): logistic fit at sqrt(mu/DX2).
    true_weights:
        (rows, columns): what their own formula for the weights gives at each point. The map's axis holds only its
        diagonal: column i is labelled with mu_i and G_i together, whatever the row's gain is.
    """

    weights: Array
    data: Array
    accuracy: Array
    true_weights: Array


def authors_map(engine: str = "prx-2025", *, n_modes: int = 392, rows: int = 794, points: int = 512) -> AuthorsMap:
    """The map of the later public code (`prx-2025`) or of the first one (`arxiv-2024`), on the grids of each.

    The first counts bits per complex mode ("weight symbol"), the later one bits per real weight.
    """
    if engine == "prx-2025":
        gain = 1.0 + np.logspace(-2.1, np.log10(2.5), points)
        mu = np.logspace(-2.0, np.log10(50.0), points)
    elif engine == "arxiv-2024":
        gain = 1.0 + np.logspace(-2.2, np.log10(2.2), points)
        mu = np.logspace(-4.0, 1.0, points)
    else:
        raise ValueError(f"no published map by engine {engine!r}")
    noise = (2.0 * gain**2 - 3.0 * gain + 2.0) / (gain * (gain - 1.0))
    excess = np.array([published_added_noise(value) for value in gain.tolist()]) / n_modes
    leakage = np.asarray(weight_leakage(mu=mu[None, :], transmissivity=np.ones((1, 1)), excess=excess[:, None]))
    if engine == "prx-2025":
        leakage = leakage / 2.0
        data = [prx_2025_data(value, n_modes=n_modes, rows=rows) for value in gain.tolist()]
    else:
        data = [arxiv_2024_data(value, n_modes=n_modes) for value in gain.tolist()]
    return AuthorsMap(
        weights=np.diagonal(leakage).copy(),
        data=np.asarray(data),
        accuracy=authors_fit(np.sqrt(mu[None, :] / noise[:, None])),
        true_weights=leakage,
    )
