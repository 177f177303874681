from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labqdl.facts import MonitorReading, ResidualSample, RowStatistics, UseSums
from labqdl.protocol import Outcomes, Returned, SendRows, SetData, SetReceiver

SECRET = 0.123456789


def _statistics() -> RowStatistics:
    real, whole = np.full(2, SECRET), np.zeros(2, dtype=np.int64)
    return RowStatistics(np.zeros(2, dtype=np.bool_), real, real, real, real, real, whole, whole, whole, real, 3)


def _all() -> list[Any]:
    array = np.full((2, 4), SECRET)
    return [
        SendRows(0, 1, array, 5),
        SetReceiver(0, 1, np.array([True, False]), np.array([True, False, False]), 0.5),
        SetData(0, 1, array),
        Outcomes(0, 1, array.astype(np.float32)),
        Outcomes(0, 1, array.astype(np.float32), MonitorReading(np.array([123456, 0]), 0.1, 7)),
        Returned(0, 1, _statistics()),
        Returned(
            0,
            1,
            _statistics(),
            UseSums(array.astype(np.float32), 3),
            ResidualSample(np.array([1]), np.arange(2), array[np.newaxis]),
        ),
    ]


@pytest.mark.parametrize("item", _all(), ids=lambda item: type(item).__name__)
def test_repr_shows_shapes_and_no_secret(item: Any) -> None:
    assert repr(item).startswith(f"{type(item).__name__}(layer=0, block=1")
    assert "0.12345" not in repr(item)
    assert "True" not in repr(item)
    assert "123456" not in repr(item)


def test_arrays_are_read_only_and_do_not_follow_their_owner() -> None:
    array = np.zeros((2, 4), dtype=np.float32)
    setting = SetData(0, 0, array)
    array[:] = 1
    assert not setting.directions.any()
    with pytest.raises(ValueError, match="read-only"):
        setting.directions[0, 0] = 1
    assert SendRows(0, 0, setting.directions, 1).quadratures is setting.directions


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ([[1.0]], TypeError),
        (np.zeros((2, 2), dtype=np.int64), TypeError),
        (np.zeros((2, 2), dtype=np.complex128), TypeError),
        (np.zeros(2), ValueError),
    ],
)
def test_wrong_arrays(values: Any, error: type[Exception]) -> None:
    for kind in (SetData, Outcomes):
        with pytest.raises(error):
            kind(0, 0, values)
    with pytest.raises(error):
        SendRows(0, 0, values, 1)


def test_wrong_addresses_and_results() -> None:
    wrong: Any = True
    with pytest.raises(TypeError, match="layer must be an int"):
        Outcomes(wrong, 0, np.zeros((1, 1)))
    with pytest.raises(TypeError, match="RowStatistics"):
        Returned(0, 0, wrong)
    with pytest.raises(TypeError, match="UseSums"):
        Returned(0, 0, _statistics(), wrong)
    with pytest.raises(TypeError, match="ResidualSample"):
        Returned(0, 0, _statistics(), None, wrong)
    with pytest.raises(TypeError, match="bool"):
        SetReceiver(0, 0, np.zeros(2), np.zeros(2), 1.0)  # type: ignore[arg-type]
