"""Worlds of a client with ideal voltages, at two to four raster points a bin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from labqdl.facts.layout import FrameLayout
from labqdl.optics.interferometer import GivensChain, TimeBinTree, integrated_settings, reversed_settings
from labqdl.rng import Root
from labqdl_sim.world import Field, Grid, Part, World

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

BIN_RATE = 6.25e6


def world(points: int = 2, seed: int = 5) -> World:
    """With `points` raster points a bin."""
    return World(Root("world", seed.to_bytes(32, "little")), points * BIN_RATE)


class Source(Part):
    """Light of given bins from instant 0 on, over the whole bin, and nothing else."""

    kind = "symbols"
    light_outputs = ("output",)
    symbols: Complex = np.zeros(1, np.complex128)
    """Amplitudes of the bins in square roots of photons."""

    def light(self, port: str, grid: Grid) -> Field:
        """Each bin's amplitude over its duration."""
        place = np.floor(grid.instants * BIN_RATE + 1e-3).astype(np.int64)
        inside = (place >= 0) & (place < self.symbols.size)
        amplitudes = np.where(inside, self.symbols[np.clip(place, 0, self.symbols.size - 1)], 0.0)
        return Field(np.asarray(amplitudes * np.sqrt(BIN_RATE), np.complex128), Field.dark(grid).jones)


class Oscillator(Part):
    """A local oscillator with the phase of each bin from an instant on."""

    kind = "oscillator"
    light_outputs = ("output",)
    flux: float = 1e16
    """Photons a second."""
    start: float = 0.0
    phases: Real = np.zeros(1)

    def light(self, port: str, grid: Grid) -> Field:
        """Constant power; the last phase stays."""
        place = np.floor((grid.instants - self.start) * BIN_RATE + 1e-3).astype(np.int64)
        phases = self.phases[np.clip(place, 0, self.phases.size - 1)]
        return Field(np.sqrt(self.flux) * np.exp(1j * phases), Field.dark(grid).jones)


def constant(volts: float) -> Callable[[Real], Real]:
    """A voltage that does not change."""
    return lambda instants: np.full(instants.shape, volts)


def stepped(values: Real) -> Callable[[Real], Real]:
    """A voltage that holds one of the (bins,) values over each bin from instant 0 on, and 0 V elsewhere."""

    def volts(instants: Real) -> Real:
        place = np.floor(instants * BIN_RATE + 1e-3).astype(np.int64)
        inside = (place >= 0) & (place < values.size)
        return np.where(inside, values[np.clip(place, 0, values.size - 1)], 0.0)

    return volts


def ideal_drives(
    u: Complex, layout: FrameLayout, v_pi_stage: float = 5.0, v_pi_phase: float = 5.0
) -> dict[str, Callable[[Real], Real]]:
    """Voltages of a tree for the directions of a shot's images; carries pass unchanged in all other rows.

    Parameters
    ----------
    u:
        (images, n_modes) unit vectors.
    layout:
        Of the shot, which begins at instant 0.

    Returns
    -------
    By port: `phase`, `stage0`, ...; voltages as functions of instants at the tree's input.
    """
    tree = TimeBinTree.from_direction(u)
    phases = np.zeros((layout.total_rows, layout.n_modes))
    phases[layout.data_rows] = tree.phases[:, None, :]
    drives = {"phase": stepped(phases.ravel() * v_pi_phase / np.pi)}
    for stage, angles in enumerate(tree.angles):
        settings = np.full((layout.total_rows, layout.n_modes), np.pi / 2)
        rows = np.full((u.shape[0], layout.n_modes), np.pi / 2)
        rows[:, tree.couplers(stage)[1]] = angles
        settings[layout.data_rows] = rows[:, None, :]
        drives[f"stage{stage}"] = stepped(settings.ravel() * v_pi_stage * 2 / np.pi)
    return drives


def directions(generator: np.random.Generator, images: int, n_modes: int) -> Complex:
    """Random unit vectors, (images, n_modes)."""
    drawn = generator.standard_normal((images, n_modes)) + 1j * generator.standard_normal((images, n_modes))
    result: Complex = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return result


def modes(field: Field, shape: tuple[int, int, int], step: float) -> Complex:
    """Mode amplitudes of light on whole bins, by integrating over each; (rows, n_modes)."""
    points = shape[2]
    integrated: Complex = field.envelope.reshape(shape).sum(axis=2) * np.sqrt(step / points)
    return integrated


def joined(one: Callable[[Real], Real], other: Callable[[Real], Real]) -> Callable[[Real], Real]:
    """The sum of two voltages."""
    return lambda instants: one(instants) + other(instants)


def delayed(drives: dict[str, Callable[[Real], Real]], seconds: float) -> dict[str, Callable[[Real], Real]]:
    """The same voltages so much later."""

    def shifted(volts: Callable[[Real], Real]) -> Callable[[Real], Real]:
        return lambda instants: volts(instants - seconds)

    return {port: shifted(volts) for port, volts in drives.items()}


def mesh_phases(u: Complex) -> tuple[dict[str, float], dict[str, float], float]:
    """Phases of the heaters that make a mesh carry u^dagger a, and of those that undo it, and the carry's phase.

    Parameters
    ----------
    u:
        (n_modes,) unit vector.
    """
    chain = integrated_settings(GivensChain.from_direction(u))
    back = reversed_settings(chain)
    forward = {f"th{k + 1}": float(value) for k, value in enumerate(chain.internal)}
    forward |= {f"ph{k + 1}": float(value) for k, value in enumerate(chain.external)}
    inverse = {f"th{k + 1}": float(value) for k, value in enumerate(chain.internal)}
    inverse |= {f"ph{k + 1}": float(value) for k, value in enumerate(back.external)}
    inverse |= {f"ret{k + 1}": float(value) for k, value in enumerate(back.returning)}
    return forward, inverse, float(chain.carry_phase)


def heat(part: Part, phases: dict[str, float], phase_per_v2: float) -> None:
    """Constant voltages that give a mesh these phases."""
    for port, phase in phases.items():
        part.connect_volts(port, constant(float(np.sqrt(phase % (2 * np.pi) / phase_per_v2))))
