"""The plane of both leakages, ours and the authors'."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labqdl.planner.plan import answer
from labqdl.planner.plane import authors_map, exact_plane
from labqdl.planner.question import Aim, Question
from labqdl.security.published import authors_fit
from tests.planner.subjects import AMPLIFIER, FEED_FORWARD, IDEAL, ISOTROPIC, UNEQUAL, bench, untrusted

GRID = np.geomspace(1e-3, 2.0, 24)


@pytest.mark.parametrize("subject", [ISOTROPIC, UNEQUAL], ids=["equal", "unequal"])
def test_contours_are_plans(subject: object) -> None:
    chosen = ISOTROPIC if subject is ISOTROPIC else UNEQUAL
    stages = (AMPLIFIER, FEED_FORWARD) if chosen is ISOTROPIC else (FEED_FORWARD,)
    question = Question(chosen, bench(), stages, accuracy=0.96, aim=Aim.WEIGHTS)
    plane = exact_plane(question, GRID, GRID, (0.96, 0.999))
    assert set(plane.contours) == {0.96}
    weights, data = plane.contours[0.96]
    for index in (8, 20):
        best = answer(replace(question, bits_per_feature=float(data[index])), explain=False).best
        assert best is not None
        assert weights[index] == pytest.approx(best.point.weights, rel=0.01)
    assert (np.diff(weights) <= 1e-12).all()


def test_accuracy_rises_with_both_limits_and_agrees_with_its_contour() -> None:
    question = Question(ISOTROPIC, untrusted(0.2), (AMPLIFIER,), accuracy=0.96, aim=Aim.WEIGHTS)
    plane = exact_plane(question, GRID, GRID, (0.9,))
    known = np.where(np.isnan(plane.accuracy), -1.0, plane.accuracy)
    assert (np.diff(known, axis=0) >= -1e-9).all()
    assert (np.diff(known, axis=1) >= -1e-9).all()
    weights, _ = plane.contours[0.9]
    for row in (12, 20):
        at = np.interp(np.log(weights[row]), np.log(GRID), known[row])
        assert at == pytest.approx(0.9, abs=0.02)


def test_maps_need_a_curve() -> None:
    question = Question(replace(ISOTROPIC, curve=None), IDEAL, (AMPLIFIER,), f2_db=0.0, aim=Aim.WEIGHTS)
    with pytest.raises(ValueError, match="curve"):
        exact_plane(question, GRID, GRID, (0.9,))


def test_the_published_map_labels_its_weights_by_the_diagonal() -> None:
    """Column i is labelled with the leakage at (mu_i, G_i), whatever the row's gain: the point (0.1, 0.1) is drawn
    at 95.8 %, leaks 0.040 by their own formula, and their formulas give 97.1 % where both leak 0.1."""
    drawn = authors_map()
    column, row = (int(np.argmin(np.abs(axis - 0.1))) for axis in (drawn.weights, drawn.data))
    assert drawn.accuracy[row, column] == pytest.approx(0.958, abs=1e-3)
    assert drawn.true_weights[row, column] == pytest.approx(0.0398, abs=5e-4)
    assert (np.diagonal(drawn.true_weights) == drawn.weights).all()
    right = int(np.argmin(np.abs(drawn.true_weights[row] - 0.1)))
    assert drawn.accuracy[row, right] == pytest.approx(0.971, abs=1e-3)
    assert drawn.accuracy[row, right] == pytest.approx(float(authors_fit(np.sqrt(33.7 / 6.13))), abs=2e-3)


def test_the_first_public_map() -> None:
    drawn = authors_map("arxiv-2024", points=64)
    assert drawn.accuracy.shape == (64, 64)
    assert drawn.data[-1] == pytest.approx(0.0137, abs=2e-3)
    with pytest.raises(ValueError, match="labqdl"):
        authors_map("labqdl")
