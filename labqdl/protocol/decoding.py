"""Strict conversion between frozen dataclasses and plain JSON objects, for what a peer may send.

A peer is not trusted to send what a type says: unknown or missing keys, wrong types, booleans in place of numbers,
numbers that are not finite and values that the dataclass itself rejects are all a `ProtocolError` that names the key.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from labqdl.errors import ProtocolError

T = TypeVar("T")


def _hints(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


def encode(value: Any) -> Any:
    """Plain JSON value (objects, lists, strings, numbers, None) of a dataclass, enum, tuple or number."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    return value.value if isinstance(value, StrEnum) else value


def decode(cls: type[T], document: object, where: str) -> T:
    """A dataclass from its plain JSON object.

    Parameters
    ----------
    cls:
        Dataclass whose fields are float, int, str, enums, optional values, tuples or dataclasses of those.
    document:
        What came over the wire, as a JSON parser gives it.
    where:
        Name of the object in error messages.

    Raises
    ------
    ProtocolError
        For anything but an object with exactly the fields of `cls`, each of its type, that `cls` accepts.
    """
    if not isinstance(document, Mapping):
        raise ProtocolError(f"{where}: expected an object, got {type(document).__name__}")
    hints = _hints(cls)
    strange = [key for key in document if key not in hints]
    if strange:
        raise ProtocolError(f"{where}: unknown key {str(strange[0])[:80]!r}")
    missing = [key for key in hints if key not in document]
    if missing:
        raise ProtocolError(f"{where}: missing key {missing[0]!r}")
    values = {key: _value(hint, document[key], f"{where}.{key}") for key, hint in hints.items()}
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise ProtocolError(f"{where}: {error}") from error


def _value(hint: Any, value: object, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        inner = [option for option in get_args(hint) if option is not type(None)]
        return None if value is None else _value(inner[0], value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ProtocolError(f"{where}: expected a list, got {type(value).__name__}")
        return tuple(_value(get_args(hint)[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if is_dataclass(hint):
        assert isinstance(hint, type)
        return decode(hint, value, where)
    if issubclass(hint, StrEnum):
        return _enum(hint, value, where)
    return _plain(hint, value, where)


def _enum(hint: type[StrEnum], value: object, where: str) -> StrEnum:
    try:
        return hint(str(value))
    except ValueError as error:
        allowed = ", ".join(hint)
        raise ProtocolError(f"{where}: expected one of {allowed}, got {str(value)[:80]!r}") from error


def _plain(hint: type, value: object, where: str) -> Any:
    # A bool is an int to Python, never to a protocol. An int is a fine float and stays as it is: the digest of a
    # frame is taken over its JSON, which tells 4 from 4.0.
    accepted: tuple[type, ...] = (int, float) if hint is float else (hint,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise ProtocolError(f"{where}: expected {hint.__name__}, got {type(value).__name__}")
    if hint is float:
        try:
            finite = math.isfinite(value)  # type: ignore[arg-type]
        except OverflowError:
            finite = False
        if not finite:
            raise ProtocolError(f"{where}: expected a finite number")
    return value
