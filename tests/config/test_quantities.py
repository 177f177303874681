from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.config import quantities as q
from labqdl.config.quantities import DIMENSIONS, Dimension, parse_quantity
from labqdl.errors import InputError


@pytest.mark.parametrize(
    ("text", "dimension", "expected"),
    [
        ("3 dB", q.LOSS, 3.0),
        ("0.2 dB/km", q.LOSS_PER_LENGTH, 2e-4),
        ("10 km", q.LENGTH, 1e4),
        ("1550 nm", q.WAVELENGTH, 1.55e-6),
        ("5 mrad", q.ANGLE, 5e-3),
        ("48\u00b5rad", q.ANGLE, 48e-6),
        ("48 \u03bcrad", q.ANGLE, 48e-6),
        ("180 deg", q.ANGLE, math.pi),
        ("0.01 SNU", q.NOISE, 0.01),
        ("3 dBm", q.POWER, 1.9952623149688795e-3),
        ("-30dBm", q.POWER, 1e-6),
        (" 1e2 ns ", q.TIME, 1e-7),
        (".5 GHz", q.FREQUENCY, 5e8),
        ("-50 dB", q.RATIO, 1e-5),
        ("85 %", q.RATIO, 0.85),
        ("0.85", q.RATIO, 0.85),
        (0.85, q.RATIO, 0.85),
        (1, q.RATIO, 1.0),
    ],
)
def test_values(text: str | float, dimension: Dimension, expected: float) -> None:
    assert parse_quantity(text, dimension) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda dimension: dimension.name)
def test_every_dimension_reads_its_own_example(dimension: Dimension) -> None:
    assert math.isfinite(parse_quantity(dimension.example, dimension))
    assert dimension.name in dimension.words


@pytest.mark.parametrize(
    ("value", "dimension", "fragment"),
    [
        ("3 km", q.LOSS, "'km' is no unit of a loss"),
        ("3 DB", q.LOSS, "Did you mean 'dB'?"),
        ("3", q.LOSS, "has no unit"),
        (3, q.LOSS, "3 has no unit"),
        (True, q.RATIO, "True is no quantity"),
        ([1], q.RATIO, "[1] is no quantity"),
        ("dB", q.LOSS, "not a number with a unit"),
        ("", q.LOSS, "not a number with a unit"),
        ("nan dB", q.LOSS, "not a number with a unit"),
        ("inf", q.RATIO, "not a number with a unit"),
        ("1,5 dB", q.LOSS, "is no unit"),
        (math.nan, q.RATIO, "not a finite number"),
        (-math.inf, q.RATIO, "not a finite number"),
        (10**400, q.RATIO, "not a finite number"),
        ("1e999 dB", q.LOSS, "not a finite number"),
        ("1e308 km", q.LENGTH, "not a finite number"),
        ("1e6 dBm", q.POWER, "not a finite number"),
        ("x" * 100, q.LOSS, "..."),
    ],
)
def test_mistakes_say_what_is_wrong_and_what_was_expected(value: object, dimension: Dimension, fragment: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_quantity(value, dimension, source="file.toml", key="loss", line=7)
    text = str(caught.value)
    assert text.startswith("file.toml, line 7: key 'loss': ")
    assert fragment in text
    assert dimension.name in text


@given(
    number=st.floats(-1e200, 1e200, allow_nan=False),
    dimension=st.sampled_from([d for d in DIMENSIONS if not d.plain and d not in (q.POWER, q.TEMPERATURE)]),
    data=st.data(),
    space=st.sampled_from(["", " ", "  "]),
)
def test_any_number_in_any_unit(number: float, dimension: Dimension, data: st.DataObject, space: str) -> None:
    unit = data.draw(st.sampled_from(sorted(dimension.units)))
    factor = dimension.units[unit]
    assert isinstance(factor, float)
    assert parse_quantity(f"{number!r}{space}{unit}", dimension) == number * factor


@given(st.text(max_size=12) | st.from_regex(r"[+-]?\d{1,3}(\.\d*)?(e\d{1,3})? ?[a-zA-Z%/]{0,4}", fullmatch=True))
def test_any_text_is_a_finite_number_or_an_input_error(text: str) -> None:
    for dimension in DIMENSIONS:
        with contextlib.suppress(InputError):
            assert math.isfinite(parse_quantity(text, dimension))
