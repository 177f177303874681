"""The optical world: light pulled through a modest chain against drawing the random numbers that the chain needs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks.harness import Benchmark, Figure, Options, Ratio, Result, interleave
from labqdl.rng import Roots
from labqdl_sim.bench import Bench
from labqdl_sim.ports import Light
from labqdl_sim.world import World
from labqdl_sim.world.kinds import part_class
from labqdl_sim.world.sources import Laser

RATE = 125e6
POINTS = 1 << 20
NORMALS = 6
"""Independent normals a raster point: phase and intensity of the laser, two of the amplifier, shot and electronics."""


def chain() -> World:
    """Laser, splitter, I/Q modulator, pad, fibre, amplifier, balanced receiver, with everything that they have."""
    world = World(Roots.from_seed(1).world, RATE)
    given: dict[str, dict[str, float]] = {
        "laser": {"power": 10e-3, "linewidth": 1e3, "rin": 1e-14},
        "iq-modulator": {"drift": 0.05, "bandwidth": 30e6},
        "pad": {"loss_db": 40.0},
        "fibre": {"length": 1e3, "loss_db": 0.2, "phase_drift": 1.0},
        "edfa": {"gain_db": 3.0, "saturation": 1e-3},
    }
    for kind in ("laser", "splitter", "iq-modulator", "pad", "fibre", "edfa", "homodyne"):
        world.add(part_class(kind), kind, given.get(kind))
    world.link("laser", "splitter")
    world.link("splitter", "iq-modulator", "main")
    world.link("iq-modulator", "pad")
    world.link("pad", "fibre")
    world.link("fibre", "edfa")
    world.link("edfa", "homodyne", port_in="signal")
    world.link("splitter", "homodyne", "tap", "lo")
    modulator = world.part("iq-modulator")
    for port, shift in (("i", 0.0), ("q", 0.25)):
        modulator.connect_volts(port, lambda instants, shift=shift: np.floor(6.25e6 * instants + shift) % 2.0)  # type: ignore[misc]
    return world


def loop() -> World:
    """All that lies between the instruments of `loop-32`, lit."""
    world = Bench.from_file("loop-32").world
    assert world is not None
    laser = world.part("laser")
    assert isinstance(laser, Laser)
    laser.follow(lambda t: Light(20e-3, 1550e-9))
    return world


def _pull(world: World, sources: Sequence[tuple[str, str]], count: int) -> Callable[[], object]:
    starts = iter(range(100, 1_000_000))

    def work() -> object:
        # Always somewhere else, so that nothing is at hand.
        instants = world.grid(next(starts) * count / RATE, count).instants
        return [world.volts_of(*source)(instants) for source in sources]

    return work


def measure_pull(options: Options) -> Iterator[Result]:
    """Voltages of a receiver, raster point by raster point."""
    count = max(1 << 12, int(POINTS * options.scale))
    generator = np.random.Generator(np.random.SFC64(1))
    work = {
        "subject": _pull(chain(), [("homodyne", "output")], count),
        "peer": lambda: generator.standard_normal(NORMALS * count),
        "loop": _pull(loop(), [("bhd_s", "output"), ("tap", "meter_x"), ("tap", "meter_p")], count),
    }
    times = interleave(work, options.repeats)
    yield Ratio(
        f"{count:,} points of a receiver's voltage",
        "subject pulls laser, splitter, I/Q modulator, pad, fibre, amplifier and balanced receiver; peer draws as many "
        f"normals as that needs, {NORMALS} a point",
        1,
        times["subject"],
        times["peer"],
    )
    yield Figure(
        "points a second", count / statistics.median(times["subject"].wall) / 1e6, "million points/s of the same chain"
    )
    yield Figure(
        "the same in normals",
        count / statistics.median(times["peer"].wall) / 1e6,
        "million points/s if nothing but its random numbers were drawn",
    )
    yield Figure(
        "loop-32, points a second",
        count / statistics.median(times["loop"].wall) / 1e6,
        "million points/s of all three voltages",
        f"a second of light takes {RATE * statistics.median(times['loop'].wall) / count:.0f} s",
    )


WORLD = Benchmark("world", "the optical world's points a second against its random numbers' own rate", measure_pull)
