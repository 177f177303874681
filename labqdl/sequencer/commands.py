"""Commands: what a plan yields and an engine executes. Frozen, printable, without behaviour."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, fields
from typing import Any, TypeAlias, TypeVar

_LONGEST_VALUE = 60

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Command:
    """Base of all commands. Plans define their own as small frozen dataclasses; handlers give them a meaning."""

    def describe(self) -> str:
        """One line for a person: the name and every field; arrays by dtype and shape, long values shortened."""
        described = [f"{field.name}={_short(getattr(self, field.name))}" for field in fields(self)]
        return " ".join([type(self).__name__, *described])


@dataclass(frozen=True, slots=True)
class Checkpoint(Command):
    """A point at which a run may pause, or stop with nothing half done. The engine itself handles it."""

    label: str = ""

    def describe(self) -> str:
        """One line for a person."""
        return f"-- checkpoint {self.label}".rstrip()


Plan: TypeAlias = Generator[Command, Any, T]
"""A plan: yields commands, is sent their results, returns its own."""


def _short(value: Any) -> str:
    """A value in at most sixty characters on one line; arrays as `float32[64, 785]`."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"{dtype}{list(shape)}"
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
