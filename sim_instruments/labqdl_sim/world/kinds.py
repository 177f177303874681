"""The kinds of parts that a world can be made of, by name."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module

from labqdl.errors import InputError
from labqdl_sim.world.part import Part

MODULES = (
    "sources",
    "modulators",
    "passive",
    "fibre",
    "polarisation",
    "receivers",
    "interferometers",
    "taps",
    "adversaries",
)
"""Modules of this package that have parts; each names them in its `PARTS`."""


@cache
def _kinds() -> dict[str, type[Part]]:
    found: dict[str, type[Part]] = {}
    for module in MODULES:
        parts: tuple[type[Part], ...] = import_module(f"labqdl_sim.world.{module}").PARTS
        for part in parts:
            if part.kind in found:
                raise ValueError(f"two parts are of the kind {part.kind!r}")
            found[part.kind] = part
    return found


def kinds() -> tuple[str, ...]:
    """Names of all kinds."""
    return tuple(sorted(_kinds()))


def part_class(kind: str) -> type[Part]:
    """The part of that kind.

    Raises
    ------
    InputError
        When there is none.
    """
    found = _kinds().get(kind)
    if found is None:
        near = difflib.get_close_matches(kind, kinds(), n=1)
        hint = f"Did you mean {near[0]!r}?" if near else None
        raise InputError(f"no part of the kind {kind!r}", expected=f"one of {', '.join(kinds())}", hint=hint)
    return found
