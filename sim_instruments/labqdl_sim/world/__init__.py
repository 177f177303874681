"""The optical world: components with ports whose light and voltages are computed when somebody asks for them."""

from __future__ import annotations

from labqdl_sim.world.fields import Field, Grid
from labqdl_sim.world.part import Parameter, Part
from labqdl_sim.world.world import World

__all__ = ["Field", "Grid", "Parameter", "Part", "World"]
