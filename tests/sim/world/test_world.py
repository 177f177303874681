"""What a world keeps of the light that was computed, and that long records do not keep all of it."""

from __future__ import annotations

import tracemalloc
from typing import ClassVar

import numpy as np
import pytest

from labqdl.errors import InputError
from labqdl_sim.world import Field, Grid, Part, World
from labqdl_sim.world import world as module
from tests.sim.world.parts import empty, exact, pulled


class Counted(Part):
    """Light that counts how often it was computed."""

    kind = "counted"
    light_outputs = ("output",)
    asked: ClassVar[int] = 0

    def light(self, port: str, grid: Grid) -> Field:
        """Ones."""
        type(self).asked += 1
        return Field(np.ones(grid.count, np.complex128), Field.dark(grid).jones)


def counted() -> World:
    world = empty()
    Counted.asked = 0
    world.add(Counted, "source")
    exact(world, "splitter")
    world.link("source", "splitter")
    return world


def test_the_two_ways_of_a_splitter_ask_once() -> None:
    world = counted()
    for port in ("main", "tap", "main"):
        pulled(world, "splitter", port)
    assert Counted.asked == 1
    pulled(world, "splitter", count=17, port="main")
    assert Counted.asked == 2


def test_a_change_is_seen_at_once() -> None:
    world = counted()
    before = pulled(world, "splitter", "tap").flux
    world.part("splitter").strike("ratio", 0.125)
    assert pulled(world, "splitter", "tap").flux == pytest.approx(before / 4)
    assert Counted.asked == 2


def test_what_is_kept_is_limited_and_what_detectors_asked_for_stays_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ASKED", 10 * 1600)
    monkeypatch.setattr(module, "_BETWEEN", 3 * 1600)
    world = counted()
    for start in range(10):
        pulled(world, "splitter", "tap", start * 1e-3, 100)
    for start in range(10):
        pulled(world, "splitter", "tap", start * 1e-3, 100)
    assert Counted.asked == 10
    for start in (7, 8, 9):
        pulled(world, "splitter", "main", start * 1e-3, 100)
    assert Counted.asked == 10
    pulled(world, "splitter", "main", 0.0, 100)
    assert Counted.asked == 11


def test_a_long_record_is_what_its_pieces_are_and_stays_small() -> None:
    world = empty()
    exact(world, "laser", power=1e-3)
    exact(world, "iq-modulator", phase_i=0.3)
    exact(world, "homodyne")
    exact(world, "splitter")
    world.link("laser", "splitter")
    world.link("splitter", "iq-modulator", "main")
    world.link("iq-modulator", "homodyne", port_in="signal")
    world.link("splitter", "homodyne", "tap", "lo")
    volts = world.volts_of("homodyne", "output")
    instants = world.grid(0.001, 400_000).instants
    tracemalloc.start()
    whole = volts(instants)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 200e6
    for begin in (0, 131_000, 399_900):
        np.testing.assert_allclose(volts(instants[begin : begin + 100]), whole[begin : begin + 100], atol=1e-9)


def test_names_of_parts_and_ports() -> None:
    world = empty()
    exact(world, "laser")
    with pytest.raises(InputError, match="two parts"):
        exact(world, "laser")
    with pytest.raises(InputError, match="Did you mean 'laser'"):
        world.part("lasser")
    with pytest.raises(InputError, match="no optical output"):
        world.light_of("laser", "input")
    with pytest.raises(InputError, match="no electric output"):
        world.volts_of("laser", "output")
    with pytest.raises(InputError, match="has no parameter 'powr'"):
        exact(world, "laser", "other", powr=1.0)
