"""Measured curves: monotone, invertible, with honest intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from labqdl.planner.curves import MeasuredCurve
from tests.planner.subjects import curve


def test_scatter_is_made_monotone_and_points_stay_where_they_are_monotone() -> None:
    scattered = MeasuredCurve(
        np.array([0.0, 1.0, 2.0, 3.0]), np.zeros(1), np.array([[0.5, 0.7, 0.6, 0.9]]), 100, 1, "made up"
    )
    fine = scattered.at(np.linspace(-1, 4, 101))
    assert (np.diff(fine) >= -1e-12).all()
    assert scattered.at(0.0) == 0.5
    assert scattered.at(1.5) == pytest.approx(0.65)
    assert scattered.at(3.0) == scattered.at(30.0) == pytest.approx(0.9)


@given(st.floats(0.2, 0.97), st.floats(-3.0, 3.0))
def test_inverse(accuracy: float, split: float) -> None:
    made = curve()
    f2_db = made.f2_for(accuracy, split)
    assert f2_db is not None
    assert float(made.at(f2_db, split)) >= accuracy
    if f2_db > made.f2_db[0]:
        assert float(made.at(f2_db - 1e-6, split)) < accuracy
    assured = made.f2_for(accuracy, split, assured=True)
    assert assured is None or assured >= f2_db


def test_out_of_reach() -> None:
    made = curve()
    assert made.f2_for(0.999) is None
    assert made.f2_for(0.01) == made.f2_db[0]
    assert made.f2_for(made.best(), assured=True) is None
    with pytest.raises(ValueError, match="last_layer_db"):
        made.at(0.0, 4.0)


@pytest.mark.parametrize("right", [0, 37, 96, 100])
def test_interval_is_clopper_and_pearsons(right: int) -> None:
    hundred = MeasuredCurve(np.array([0.0, 1.0]), np.zeros(1), np.array([[0.5, 0.7]]), 100, 4, "made up")
    expected = stats.binomtest(right, 100).proportion_ci(0.95, method="exact")
    low, high = hundred.interval(right / 100)
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"f2_db": np.array([1.0, 0.0])}, "rising"),
        ({"last_layer_db": np.array([1.0])}, "0 dB"),
        ({"accuracy": np.array([[0.5, 0.6, 0.7]])}, "shape"),
        ({"accuracy": np.array([[0.5, 1.6]])}, "between 0 and 1"),
        ({"vectors": 0}, "at least 1"),
        ({"f2_db": np.array([0.0, math.nan])}, "finite"),
    ],
    ids=["falling", "no-zero", "shape", "above-one", "empty", "nan"],
)
def test_nonsense(change: dict[str, object], words: str) -> None:
    values: dict[str, object] = {
        "f2_db": np.array([0.0, 1.0]),
        "last_layer_db": np.zeros(1),
        "accuracy": np.array([[0.5, 0.6]]),
        "vectors": 10,
        "draws": 1,
        "measured_on": "made up",
    }
    with pytest.raises(ValueError, match=words):
        MeasuredCurve(**{**values, **change})  # type: ignore[arg-type]
