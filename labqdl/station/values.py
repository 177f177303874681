"""Quantities of instruments as people name and write them."""

from __future__ import annotations

import difflib
import math
import re
from enum import Enum
from typing import Any

from labqdl.config.quantities import BY_UNIT, parse_quantity, quantity_text
from labqdl.errors import InputError
from labqdl.instruments import Channel, Instrument, LimitError, NotACapability, Part, Quantity

_SWITCH = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
_ANY_CHANNEL = re.compile(r"channel(\d+)\.(\w+)")


def quantity_paths(instrument: Instrument) -> dict[str, tuple[Part, Quantity[Any]]]:
    """Every quantity that the model has, by its path: "power", "channel 2.amplitude"."""
    return {
        part.path(name): (part, quantity)
        for part in instrument.parts()
        for name, quantity in part.quantities().items()
        if quantity.capable
    }


def find_quantity(instrument: Instrument, path: str) -> tuple[Part, Quantity[Any]]:
    """Part and declaration of a path.

    Each class calls its parts as its front panels do: channel, output, input. "channel 2.amplitude" means part 2 of
    any of them; `channel2.amplitude` is understood as well.

    Raises
    ------
    InputError
        For a path that the instrument does not have, with the nearest one that it has.
    NotACapability
        Where its class has the quantity and this model has not.
    """
    known = quantity_paths(instrument)
    if path in known:
        return known[path]
    folded = {one.replace(" ", "").lower(): one for one in known}
    plain = path.replace(" ", "").replace("-", "_").lower()
    if plain in folded:
        return known[folded[plain]]
    path = _own_path(instrument, plain) or path
    if path in known:
        return known[path]
    for part in instrument.parts():
        for name, quantity in part.quantities().items():
            if part.path(name) == path:
                raise NotACapability(instrument.name, path, getattr(quantity, "reason", "not of this model"))
    close = difflib.get_close_matches(plain, folded, n=1)
    if not close and "." in plain:  # parts are called differently by each class: channel, output, input
        end = plain.rpartition(".")[2]
        close = difflib.get_close_matches(
            plain, [one for one in folded if one.rpartition(".")[2] == end], n=1, cutoff=0
        )
    raise InputError(
        f"there is no quantity {path!r}",
        source=instrument.name,
        expected=f"one of {', '.join(known)}" if len(known) <= 24 else f"one of {len(known)}: see 'labqdl get'",
        hint=f"Did you mean '{folded[close[0]]}'?" if close else None,
    )


def _own_path(instrument: Instrument, plain: str) -> str | None:
    """The instrument's own name for a quantity of "channel2"; None where no part, or more than one, has it."""
    found = _ANY_CHANNEL.fullmatch(plain)
    if found is None:
        return None
    number, name = int(found[1]), found[2]
    own = [
        part.path(name)
        for part in instrument.parts()
        if isinstance(part, Channel) and part.number == number and name in part.quantities()
    ]
    return own[0] if len(own) == 1 else None


def parse_value(quantity: Quantity[Any], value: object, *, source: str | None = None) -> Any:
    """A value in SI from what a person wrote ("3 dBm", "on", "null"), or from a plain number of a file.

    Raises
    ------
    InputError
        For what is no value of this quantity; the caller adds the place.
    """

    def wrong(problem: str, expected: str, hint: str | None = None) -> InputError:
        return InputError(problem, source=source, key=quantity.name, expected=expected, hint=hint)

    kind = quantity.kind
    if kind is bool:
        found = value if isinstance(value, bool) else _SWITCH.get(str(value).strip().lower())
        if found is None:
            raise wrong(f"{value!r} is no switch", "on or off")
        return found
    if issubclass(kind, Enum):
        choices = {str(one.value).lower(): one for one in kind} | {one.name.lower(): one for one in kind}
        text = str(value).strip().lower()
        if text not in choices:
            close = difflib.get_close_matches(text, choices, n=1)
            raise wrong(
                f"{value!r} is no choice",
                " or ".join(str(one.value) for one in kind),
                f"Did you mean '{choices[close[0]].value}'?" if close else None,
            )
        return choices[text]
    if kind is str:
        return str(value)
    number = parse_quantity(value, BY_UNIT[quantity.unit], source=source, key=quantity.name)
    if kind is int:
        if number != math.floor(number):
            raise wrong(f"{value!r} is no whole number", "a whole number")
        return int(number)
    return number


def set_quantity(part: Part, quantity: Quantity[Any], text: str, *, source: str | None = None) -> None:
    """Set a quantity to what a person typed.

    Raises
    ------
    LimitError
        With what was typed and with the limit, both as people write them.
    LabqdlError
        For what is no value of this quantity, and for whatever the instrument says.
    """
    value = parse_value(quantity, text, source=source)
    try:
        setattr(part, quantity.name, value)
    except LimitError as error:
        plain = value_text(quantity, value).partition(" (")[0]
        error.problem = f"{text if text == plain else f'{text} ({plain})'} is outside of the limits"
        low, high = (value_text(quantity, end) for end in (error.limit.low, error.limit.high))
        if math.isinf(error.limit.low):
            words = f"at most {high}"
        elif math.isinf(error.limit.high):
            words = f"at least {low}"
        else:
            words = f"{low} to {high}"
        error.expected = f"{words} ({error.limit.reason})"
        raise


def value_text(quantity: Quantity[Any], value: Any) -> str:
    """A value as people read it: "1 mW (0 dBm)", "on", "null"."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, int | float) and quantity.kind in (int, float):
        return quantity_text(float(value), quantity.unit)
    return str(value)


def plain_value(value: Any) -> Any:
    """A value for JSON."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
