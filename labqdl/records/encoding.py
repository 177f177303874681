"""JSON as run folders keep it: exact floats, no NaN, string keys only, and a checksum inside of each file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from labqdl.errors import RecordError

CHECKSUM_KEY = "sha256"


def plain(value: Any, where: str = "value") -> Any:
    """The same value out of dict, list, str, int, float, bool and None only.

    Tuples become lists, numpy scalars become the Python number of exactly the same value, enumeration members
    become their values.

    Raises
    ------
    ValueError
        For NaN and infinities: JSON has none. Write None, or a word.
    TypeError
        For keys that are no strings, and for what JSON cannot say; arrays go into .npy files.
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.float16 | np.float32 | np.float64):
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"{where} is {number}: JSON has no such number; write None or a word")
        return number
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where}: key {key!r} must be a string, not {type(key).__name__}")
        return {str(key): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise TypeError(f"{where}: cannot write {type(value).__name__} as JSON")


def compact(value: Any) -> bytes:
    """One line of ASCII for a plain value; the same value always gives the same bytes."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is larger than any number that is written")
    return number


def parse(data: bytes) -> Any:
    """Value of JSON bytes; ValueError for anything else, NaN and numbers that are too large included."""
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(compact(dict(fields))).hexdigest()


def checked_file(fields: Mapping[str, Any]) -> bytes:
    """Bytes of a JSON file for people to read, with the checksum of its other fields as the last one."""
    value = plain(fields)
    return json.dumps({**value, CHECKSUM_KEY: _digest(value)}, allow_nan=False, indent=1).encode("ascii") + b"\n"


def read_checked_file(path: Path) -> dict[str, Any]:
    """Fields of a file that `checked_file` made.

    Raises
    ------
    RecordError
        Where the file is missing, is no JSON or does not fit its checksum; names the file.
    """
    try:
        value = parse(path.read_bytes())
    except FileNotFoundError:
        raise RecordError(f"{path}: this file is missing") from None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise RecordError(f"{path}: damaged, not valid JSON: {error}") from error
    if not isinstance(value, dict) or CHECKSUM_KEY not in value:
        raise RecordError(f"{path}: damaged, it holds no checksum")
    checksum = value.pop(CHECKSUM_KEY)
    if checksum != _digest(value):
        raise RecordError(f"{path}: damaged or edited, its content does not fit its checksum")
    return value
