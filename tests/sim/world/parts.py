"""Worlds of a few parts, with the truth that a test wants, and sources and voltages that are known exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.rng import Roots
from labqdl_sim.world import Field, Grid, Part, World
from labqdl_sim.world.kinds import part_class

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]
RATE = 125e6


def empty(seed: int = 1, rate: float = RATE) -> World:
    """A world without parts."""
    return World(Roots.from_seed(seed).world, rate)


def exact(world: World, kind: str, name: str | None = None, /, **given: float) -> Any:
    """A part whose truth is its nominal value."""
    found = part_class(kind)
    return world.add(found, name or kind, given, dict.fromkeys(found.parameters, 0.0))


class Lamp(Part):
    """Light that a test gives as a function of instants, on the world's raster and off it."""

    kind = "lamp"
    light_outputs = ("output",)
    settings: ClassVar[Mapping[str, Any]] = {}
    envelope: Callable[[Real], Complex] = staticmethod(lambda instants: np.ones(instants.shape, np.complex128))
    jones: Complex = np.array([1.0, 0.0], np.complex128)

    def light(self, port: str, grid: Grid) -> Field:
        """What the test says."""
        return Field(self.envelope(grid.instants), self.jones)


def lamp(world: World, envelope: Callable[[Real], Complex] | complex = 1.0, jones: Complex | None = None) -> Lamp:
    """A lamp called "lamp"."""
    part = world.add(Lamp, "lamp")
    if callable(envelope):
        part.envelope = envelope
    else:
        level = envelope
        part.envelope = lambda instants: np.full(instants.shape, level, np.complex128)
    if jones is not None:
        part.jones = jones
    return part


def constant(volts: float) -> Callable[[Real], Real]:
    """A voltage that stands still."""
    return lambda instants: np.full(instants.shape, volts)


def pulled(world: World, name: str, port: str = "output", start: float = 0.0, count: int = 16) -> Field:
    """Light at an output."""
    return world.light_of(name, port)(world.grid(start, count))


def deviates(measured: float, expected: float, relative_error: float) -> float:
    """By how many standard errors a measured number misses an expected one."""
    return abs(measured / expected - 1.0) / relative_error
