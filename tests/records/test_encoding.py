from __future__ import annotations

import math
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.errors import RecordError
from labqdl.records.encoding import checked_file, compact, parse, plain, read_checked_file
from labqdl.records.store import Party

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


def same(left: Any, right: Any) -> bool:
    """Equal in value and type, zeros by sign."""
    if isinstance(left, float) and isinstance(right, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return type(left) is type(right) and bool(left == right)


@given(VALUES)
def test_values_come_back_exactly(value: Any) -> None:
    assert same(parse(compact(plain(value))), value)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_numpy_scalars_keep_their_value(value: float) -> None:
    assert plain(np.float32(value)) == value
    assert plain(np.float64(value)) == value


def test_other_scalars() -> None:
    class Colour(Enum):
        RED = 1

    assert same(
        plain({"a": (np.int16(-3), np.bool_(True)), "b": Party.SERVER, "c": Colour.RED}),
        {"a": [-3, True], "b": "server", "c": 1},
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_nan_is_refused_with_its_place(value: float) -> None:
    with pytest.raises(ValueError, match=r"manifest\.light\[1\] is"):
        plain({"light": [0.0, value]}, "manifest")


@pytest.mark.parametrize("value", [{1: "a"}, np.zeros(3), object(), b"bytes", {1, 2}, 1j])
def test_what_json_cannot_say_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        plain(value)


@pytest.mark.parametrize("data", [b"NaN", b"[Infinity]", b"1e999", b"{", b"\xff", b"[" * 200_000])
def test_parse_takes_json_only(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(data)


@given(st.dictionaries(st.text().filter(lambda key: key != "sha256"), VALUES, max_size=4))
def test_checked_files_come_back(tmp_path_factory: pytest.TempPathFactory, fields: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "checked.json"
    path.write_bytes(checked_file(fields))
    assert same(read_checked_file(path), fields)


@given(position=st.integers(0, 10_000), bits=st.integers(1, 255))
def test_damage_is_noticed_or_harmless(tmp_path_factory: pytest.TempPathFactory, position: int, bits: int) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    fields = {"numbers": [0.1, 1e300, 3], "text": "a\u00b5\n", "flag": True}
    data = bytearray(checked_file(fields))
    data[position % len(data)] ^= bits
    path.write_bytes(bytes(data))
    with suppress(RecordError):
        assert same(read_checked_file(path), fields)  # blanks between the values may change


@pytest.mark.parametrize("data", [b"[]", b"{}", b"3"])
def test_files_without_checksum_are_damaged(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(RecordError, match=r"x\.json: damaged, it holds no checksum"):
        read_checked_file(path)


def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"x\.json: this file is missing"):
        read_checked_file(tmp_path / "x.json")
    with pytest.raises(RecordError, match="cannot be read"):
        read_checked_file(tmp_path)
