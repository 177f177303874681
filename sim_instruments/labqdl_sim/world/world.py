"""The world of one bench: its parts, its raster and its randomness."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, TypeVar

from labqdl.errors import InputError
from labqdl.rng import Root
from labqdl_sim.ports import Voltages
from labqdl_sim.world.fields import Field, Grid
from labqdl_sim.world.part import Part, Pull

P = TypeVar("P", bound=Part)

_ASKED, _BETWEEN = 1 << 28, 1 << 27
"""Bytes of light that are kept of what detectors asked for (the halves of one receiver ask for the same), and of what
was computed for that (the two ways of an interferometer do)."""


class _Kept:
    """Fields that were just computed, up to so many bytes; the ones that were not used for the longest time go."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._fields: OrderedDict[tuple[Any, ...], Field] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[Any, ...]) -> Field | None:
        found = self._fields.get(key)
        if found is not None:
            self._fields.move_to_end(key)
        return found

    def put(self, key: tuple[Any, ...], field: Field) -> None:
        self._fields[key] = field
        self._bytes += field.envelope.nbytes
        while self._bytes > self._limit:
            self._bytes -= self._fields.popitem(last=False)[1].envelope.nbytes

    def clear(self) -> None:
        self._fields.clear()
        self._bytes = 0


class World:
    """Parts by name, coupled at their ports; light is pulled from its source when a detector is read.

    Parameters
    ----------
    root:
        The world's random root.
    rate:
        Points of the raster a second: at least twice what any receiver resolves.
    """

    def __init__(self, root: Root, rate: float = 100e6) -> None:
        self.root = root
        self.rate = rate
        self.parts: dict[str, Part] = {}
        self.version = 0
        """Rises with every change of coupling; what was computed before is not used again then."""
        self._asked, self._between = _Kept(_ASKED), _Kept(_BETWEEN)
        self._depth = 0

    @property
    def step(self) -> float:
        """Seconds between points of the raster."""
        return 1.0 / self.rate

    def grid(self, start: float, count: int) -> Grid:
        """A grid of the world's step that begins at the raster point nearest to `start`."""
        return Grid(round(start * self.rate) / self.rate, self.step, count)

    def add(
        self,
        kind: type[P],
        name: str,
        given: Mapping[str, Any] | None = None,
        spreads: Mapping[str, float] | None = None,
    ) -> P:
        """Put a part into the world."""
        if name in self.parts:
            raise InputError(f"two parts are called {name!r}")
        part = kind(name, self, given, spreads)
        self.parts[name] = part
        return part

    def part(self, name: str) -> Part:
        """The part of that name; InputError when there is none."""
        found = self.parts.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self.parts, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else None
            raise InputError(f"no part {name!r} in this world", hint=hint)
        return found

    def light_of(self, name: str, port: str) -> Pull:
        """An optical output as a function of the grid, to be connected; it keeps what was just computed."""
        part = self.part(name)
        if port not in part.light_outputs:
            raise InputError(f"{name} has no optical output {port!r}", expected=", ".join(part.light_outputs) or "none")

        def pull(grid: Grid) -> Field:
            key = (name, port, grid, self.version)
            found = self._asked.get(key) or self._between.get(key)
            if found is None:
                kept = self._between if self._depth else self._asked
                self._depth += 1
                try:
                    found = part.light(port, grid)
                finally:
                    self._depth -= 1
                kept.put(key, found)
            return found

        return pull

    def volts_of(self, name: str, port: str) -> Voltages:
        """An electric output as a function of instants, to be connected."""
        part = self.part(name)
        if port not in part.volt_outputs:
            raise InputError(f"{name} has no electric output {port!r}", expected=", ".join(part.volt_outputs) or "none")
        return lambda instants: part.volts(port, instants)

    def link(self, source: str, target: str, port_out: str = "output", port_in: str = "input") -> None:
        """Connect an output of one part to an input of another, fibre to fibre or cable to cable."""
        if port_out in self.part(source).light_outputs:
            self.part(target).connect_light(port_in, self.light_of(source, port_out))
        else:
            self.part(target).connect_volts(port_in, self.volts_of(source, port_out))

    def changed(self) -> None:
        """Something was plugged in or out, or an instrument was set: forget what was computed."""
        self.version += 1
        self._asked.clear()
        self._between.clear()

    def truth(self) -> dict[str, dict[str, float]]:
        """True values of all parameters by part: for tests and for sealed truths, out of reach of any routine."""
        return {name: dict(part.truth) for name, part in self.parts.items()}
