"""Limits: the tightest one is named, rounding of units is not outside, NaN is outside of everything."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.instruments import Limit
from labqdl.instruments.limits import broken
from labqdl.units import dbm, from_dbm

VALUES = st.integers(-1000, 1000).map(lambda number: number / 8)  # differences without rounding
ENDS = st.tuples(VALUES, VALUES).map(sorted)


@given(st.lists(ENDS, max_size=6), VALUES)
def test_the_limit_that_is_named_is_broken_and_the_tightest_on_its_side(ends: list[list[float]], value: float) -> None:
    limits = [Limit(low, high, str(number)) for number, (low, high) in enumerate(ends)]
    found = broken(limits, value)
    breaking = [limit for limit in limits if not limit.allows(value)]
    assert (found is None) == (not breaking)
    if found is None:
        return
    assert found in breaking
    if value < found.low:
        assert found.low == max(limit.low for limit in breaking if value < limit.low)
    else:
        assert found.high == min(limit.high for limit in breaking if value > limit.high)


@given(st.floats(-60.0, 30.0))
def test_an_end_is_inside_whatever_unit_it_was_written_in(level: float) -> None:
    limit = Limit(0.0, from_dbm(level))
    assert limit.allows(from_dbm(dbm(from_dbm(level))))
    assert not limit.allows(from_dbm(level) * (1 + 1e-9))


@pytest.mark.parametrize("nanometres", [1528.0, 1550.1234, 1563.0, 1630.0])
def test_wavelengths_at_the_end(nanometres: float) -> None:
    assert Limit(1e-6, nanometres * 1e-9).allows(nanometres / 1e9)
    assert not Limit(1e-6, nanometres * 1e-9).allows((nanometres + 1e-4) * 1e-9)


def test_nan_breaks_every_limit() -> None:
    assert broken([Limit()], math.nan) is not None
    assert broken([], math.nan) is None


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (math.nan, 1.0), (0.0, math.nan)])
def test_what_is_no_range(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="no range"):
        Limit(low, high)


@pytest.mark.parametrize(
    ("limit", "words"),
    [(Limit(0, 2), "0 to 2 V"), (Limit(low=1), "at least 1 V"), (Limit(high=1e-3), "at most 0.001 V")],
)
def test_words(limit: Limit, words: str) -> None:
    assert limit.words("V") == words
    assert limit.words("").endswith(words.removesuffix(" V"))
