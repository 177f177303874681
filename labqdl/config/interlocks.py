"""The small language of interlocks: one comparison, read by these patterns and never run as code.

    edfa.input_power > 10 uW        what must hold (a `Comparison`)
    edfa.pump = true                before what (an `Action`)

A quantity is named as in messages: ``laser.power``, or ``awg.channel 2.output`` for one of a channel. What a value
means, and in which units it may be given, the driver's declaration of the quantity says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from labqdl.errors import InputError

OPERATORS = (">=", "<=", "==", "!=", ">", "<")

_NAME = r"[A-Za-z][A-Za-z0-9_-]*"
_PATH = r"(?:[a-z_]+ [0-9]+\.)?[a-z_][a-z0-9_]*"
_COMPARISON = re.compile(rf"\s*({_NAME})\.({_PATH})\s*({'|'.join(OPERATORS)})\s*([^\s<>=!](?:[^<>=!]*[^\s<>=!])?)\s*")
_ACTION = re.compile(rf"\s*({_NAME})(?:\.({_PATH})(?:\s*=\s*([^\s<>=!](?:[^<>=!]*[^\s<>=!])?))?)?\s*")
_LONGEST = 200

NAME = re.compile(_NAME)
"""How instruments and components may be called."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`instrument`'s quantity `path` compared by `operator` with the value that `value` stands for."""

    instrument: str
    path: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.instrument}.{self.path} {self.operator} {self.value}"

    def holds(self, found: object, wanted: object) -> bool:
        """Whether a value that was read fulfils it; NaN fulfils nothing.

        Raises
        ------
        TypeError
            Where the operator orders values that have no order.
        """
        if isinstance(found, float) and found != found:
            return False
        if self.operator == "==":
            return found == wanted
        if self.operator == "!=":
            return found != wanted
        if not isinstance(found, int | float) or not isinstance(wanted, int | float):
            raise TypeError(f"{found!r} and {wanted!r} have no order")
        return {
            ">": found > wanted,
            ">=": found >= wanted,
            "<": found < wanted,
            "<=": found <= wanted,
        }[self.operator]


@dataclass(frozen=True, slots=True)
class Action:
    """Setting `instrument`'s quantity `path` (None: anything that energises it) to a value (None: any)."""

    instrument: str
    path: str | None
    value: str | None

    def __str__(self) -> str:
        path = f".{self.path}" if self.path else ""
        return f"{self.instrument}{path}{f' = {self.value}' if self.value else ''}"


def parse_comparison(text: str) -> Comparison:
    """Read what must hold.

    Raises
    ------
    InputError
        For text that is not exactly one comparison; the caller adds the place.
    """
    match = _COMPARISON.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise InputError(
            f"{_shown(text)} is not one comparison",
            expected=f'INSTRUMENT.QUANTITY, one of {" ".join(OPERATORS)}, and a value: "edfa.input_power > 10 uW"',
            hint=_hint(text),
        )
    return Comparison(*match.groups())


def parse_action(text: str) -> Action:
    """Read before what an interlock stands.

    Raises
    ------
    InputError
        For text that is not exactly one action; the caller adds the place.
    """
    match = _ACTION.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise InputError(
            f"{_shown(text)} is no action",
            expected='INSTRUMENT.QUANTITY = VALUE, INSTRUMENT.QUANTITY or INSTRUMENT: "edfa.pump = true"',
        )
    return Action(*match.groups())


def parse_quantity_name(text: str) -> tuple[str, str]:
    """Instrument and path of "laser.power" or "awg.channel 2.output".

    Raises
    ------
    InputError
        For anything else.
    """
    match = re.fullmatch(rf"\s*({_NAME})\.({_PATH})\s*", text)
    if match is None:
        raise InputError(f"{_shown(text)} names no quantity", expected='INSTRUMENT.QUANTITY such as "meter.power"')
    return match[1], match[2]


def _hint(text: str) -> str | None:
    words = set(re.findall(r"[a-z]+|&&|\|\|", text.lower()))
    if words & {"and", "or", "not", "&&", "||"}:
        return "One interlock holds one comparison: write a second [[interlocks]] for what must hold as well"
    if re.search(r"[^<>=!]=[^=]", text):
        return "Equality is =="
    return None


def _shown(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
