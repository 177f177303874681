"""Whether two documents say the same: figure by figure, to the bit or within the rounding of another machine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from labqdl.records.encoding import plain

ROUNDING = 1e-9
"""Largest relative difference that counts as agreement. On one machine and version results agree to the bit; another
processor or linear algebra library sums in another order, which the tails of the tests enlarge."""

NOT_FIGURES = frozenset({"run", "seconds"})
"""What a result says about its place and time: no figure that a record could give again."""

ABSENT = "(absent)"
"""Stands for an entry that one of two documents lacks."""

Leaf = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, as it was recorded and as it comes out again.

    Attributes
    ----------
    name:
        Path in the document, as `certificate.bits_per_weight`; entries with a name of their own go by it.
    recorded, recomputed:
        The two values. `recomputed` is None also where nothing could be computed; `note` then says why.
    agrees:
        True where both are the same, numbers within `ROUNDING`.
    exact:
        True where they are the same to the bit.
    note:
        Why it does not agree, where that is known.
    """

    name: str
    recorded: Leaf
    recomputed: Leaf
    agrees: bool
    exact: bool
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain object with every field."""
        return {
            "name": self.name,
            "recorded": self.recorded,
            "recomputed": self.recomputed,
            "agrees": self.agrees,
            "exact": self.exact,
            "note": self.note,
        }


def compare_documents(recorded: Any, recomputed: Any) -> tuple[Figure, ...]:
    """Every leaf of two JSON documents side by side, in the order of the first; what only one has does not agree."""
    first, second = (dict(_leaves(plain(document), "")) for document in (recorded, recomputed))
    figures = []
    for name in dict.fromkeys([*first, *second]):
        old, new = first.get(name, ABSENT), second.get(name, ABSENT)
        figures.append(Figure(name, old, new, same(old, new), _identical(old, new)))
    return tuple(figures)


def same(first: Leaf, second: Leaf) -> bool:
    """Whether two leaves agree: numbers within `ROUNDING` of the larger one, all else exactly."""
    if _is_number(first) and _is_number(second):
        assert isinstance(first, int | float)
        assert isinstance(second, int | float)
        if isinstance(first, int) and isinstance(second, int):
            return first == second
        return math.isclose(first, second, rel_tol=ROUNDING, abs_tol=0.0)
    return _identical(first, second)


def figures_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result without its place and time."""
    return {name: value for name, value in result.items() if name not in NOT_FIGURES}


def _identical(first: Leaf, second: Leaf) -> bool:
    return type(first) is type(second) and first == second


def _is_number(value: Leaf) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _leaves(document: Any, path: str) -> Iterator[tuple[str, Leaf]]:
    if isinstance(document, dict) and document:
        for key, value in document.items():
            yield from _leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(document, list) and document:
        for index, value in enumerate(document):
            named = isinstance(value, dict) and isinstance(value.get("name"), str)
            yield from _leaves(value, f"{path}[{value['name'] if named else index}]")
    elif isinstance(document, dict | list):
        yield path, "(empty)"
    else:
        yield path, document
