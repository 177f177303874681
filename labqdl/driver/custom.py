"""Quantities that need more than one command: two functions with a declaration around them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, Unpack

from labqdl.instruments import DeclaredNumber, NotAValue, Part, Quantity

T = TypeVar("T")


class Custom(Quantity[T]):
    """A quantity with a function to read it and one to set it; both get the part, the second one the checked value.

    Parameters
    ----------
    read, write:
        Functions; None where there is nothing to call.
    uses:
        The instrument's commands that they send, for the coverage table.
    derived:
        Whether it is set through other quantities: those are compared after a lost connection, and this one is not.
    rounds:
        Gives what the device is really told, of the part and the value: the nearest step.
    """

    def __init__(
        self,
        kind: type[T],
        read: Callable[[Any], T] | None,
        write: Callable[[Any, T], None] | None = None,
        *,
        uses: Iterable[str] = (),
        unit: str = "",
        derived: bool = False,
        rounds: Callable[[Any, T], T] | None = None,
        **common: Unpack[DeclaredNumber],
    ) -> None:
        super().__init__(kind, unit=unit, settable=write is not None, readable=read is not None, **common)
        self.derived = derived
        self._rounds = rounds
        self._read = read
        self._write = write
        self._uses = tuple(uses)

    def fetch(self, part: Part) -> T:
        """Call the function that reads."""
        if self._read is None:
            raise NotAValue(f"{part.instrument.name}: {part.path(self.name)} can only be set")
        return self._read(part)

    def store(self, part: Part, value: T) -> None:
        """Call the function that sets."""
        assert self._write is not None, "checked() refuses quantities that cannot be set"
        self._write(part, value)

    def rounded(self, part: Part, value: T) -> T:
        """As the function says, or the value itself."""
        return value if self._rounds is None else self._rounds(part, value)

    def commands(self) -> Iterable[str]:
        """What was declared."""
        return self._uses
