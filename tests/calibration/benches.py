"""Seeded benches of loop-32 with an open truth, and what each calibrated value really is. Tests only."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from labqdl.config.station import load_station_file
from labqdl.facts import CalibrationSet, Owner
from labqdl.station import open_station
from labqdl.units import ELEMENTARY_CHARGE
from labqdl_calibration.bench import CalibrationBench
from labqdl_calibration.fits import wrapped
from labqdl_calibration.preparing import Runner
from labqdl_calibration.routines import all_routines
from labqdl_sim.bench import Bench
from labqdl_sim.routes.visa import SimVisaLibrary

_GLANCE = 4096


@contextmanager
def seeded(seed: int, station: str = "loop-32") -> Iterator[tuple[Bench, CalibrationBench]]:
    """The simulated table of a seed, and the same as calibrations see it; nothing of the truth reaches them."""
    sim = Bench.from_station(replace(load_station_file(station, "sim"), seed=seed))
    library = SimVisaLibrary.for_bench(sim)
    try:
        with open_station(station, "sim", library=library, clock=sim.driver_clock) as table:
            bench = CalibrationBench(table)
            bench.quick = True
            yield sim, bench
            bench.dark()
    finally:
        SimVisaLibrary.forget(sim)


def measured(bench: CalibrationBench, names: Sequence[str] | None = None) -> CalibrationSet:
    """Calibrate these, or what a run needs; in order."""
    graph = all_routines().applicable(bench)
    order = graph.needed_for("run") if names is None else graph.order(names)
    _, problems = Runner(bench, graph).measure_all(order)
    assert not problems, "; ".join(map(str, problems.values()))
    return bench.calibrations


def sealed(sim: Bench) -> str:
    """Digest of the truth of all parts."""
    assert sim.world is not None
    return hashlib.sha256(json.dumps(sim.world.truth(), sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Pull:
    """One calibrated value against its truth."""

    name: str
    key: str
    value: float
    truth: float
    deviation: float
    period: float = math.inf

    @property
    def pull(self) -> float:
        miss = self.value - self.truth
        if math.isfinite(self.period):
            miss = float(wrapped(2 * math.pi * miss / self.period)) * self.period / (2 * math.pi)
        return miss / self.deviation


def pulls(sim: Bench, known: CalibrationSet) -> list[Pull]:
    """Everything that has a truth of its own."""
    world = sim.world
    assert world is not None
    truth = world.truth()
    found: list[Pull] = []

    def add(name: str, key: str, value: float, period: float = math.inf) -> None:
        if name in known and key in known[name].values:
            estimate = known.estimate(name, key)
            found.append(Pull(name, key, estimate.value, value, estimate.deviation, period))

    iq = truth["iq"]
    for key in ("v_pi_i", "v_pi_q", "imbalance", "extinction_db"):
        add("server.modulator", key, iq[key])
    for arm in "iqp":
        add("server.modulator", f"v_pi_bias_{arm}", iq["v_pi_bias"])
    add("server.lo-phase", "v_pi", truth["pm_s"]["v_pi"])
    for name, part in (("client.interferometer", "tree_f"), ("client.inverse", "tree_b")):
        tree = truth[part]
        for stage in range(5):
            add(name, f"v_pi_{stage}", tree[f"v_pi_stage_{stage}"])
            add(name, f"offset_{stage}", tree[f"offset_{stage}"])
            add(name, f"error_{stage}", tree[f"coupler_error_{2 * stage}"] + tree[f"coupler_error_{2 * stage + 1}"])
        add(name, "v_pi_phase", tree["v_pi_phase"])
    for owner in Owner.CLIENT, Owner.SERVER:
        lock = truth["lock_c" if owner is Owner.CLIENT else "lock_s"]
        # The signal's phase against an oscillator that is ahead falls behind.
        add(f"{owner.value}.lock", "angle_per_volt", -lock["angle_per_volt"])
    add("server.attenuator", "slope", 1.0)
    add("server.attenuator", "hysteresis_db", 0.0)
    return found


def noise_pulls(sim: Bench, bench: CalibrationBench) -> list[Pull]:
    """Electronic noise against what the light of the local oscillators makes it; switches the laser on."""
    world, known = sim.world, bench.calibrations
    assert world is not None
    bench.light()
    found = []
    grid = world.grid(sim.clock.monotonic(), _GLANCE)
    if "server.shot-noise" in known:
        part = world.part("bhd_s")
        flux = part.field("lo", grid).flux
        noise = part["noise"] ** 2 / (2 * ELEMENTARY_CHARGE**2 * part["efficiency"] * flux)
        noise += _digitizer(sim, bench, Owner.SERVER)
        one = known.estimate("server.shot-noise", "noise")
        found.append(Pull("server.shot-noise", "noise", one.value, noise, one.deviation))
    if "client.shot-noise" in known:
        part = world.part("tap")
        noise = part["noise"] * part["lo_flux"] / part.field("lo", grid).flux + _digitizer(sim, bench, Owner.CLIENT)
        for key in ("noise", "noise_p"):
            one = known.estimate("client.shot-noise", key)
            found.append(Pull("client.shot-noise", key, one.value, noise, one.deviation))
    return found


def _digitizer(sim: Bench, bench: CalibrationBench, owner: Owner) -> float:
    """Noise of the digitizer itself in SNU: 0.01 divisions of ten, and the steps of 12 bits."""
    receiver = bench.receiver(owner)
    twin: Any = sim[receiver.digitizer.name]
    step = receiver.x.range / 4096
    volts = (twin.noise * receiver.x.range / 10) ** 2 + step**2 / 12
    return float(volts / bench.calibrations.value(f"{owner.value}.shot-noise", "snu"))


def light_pulls(sim: Bench, bench: CalibrationBench) -> list[Pull]:
    """Photons of a bin and the way to the tap, asked of the world while the light is on."""
    from labqdl_calibration.routines.timing import pass_all

    world, known, transmitter = sim.world, bench.calibrations, bench.transmitter
    assert world is not None
    light = known.result("server.light")
    bench.light(light.value("attenuation_db"))
    transmitter.set_working_point()
    pass_all(bench)
    transmitter.play(np.full(4800, transmitter.drive), np.zeros(4800))
    bench.gates(out=True, client=True)
    grid = world.grid(sim.clock.monotonic(), _GLANCE)
    out = world.part("fibre_out").field("input", grid).flux
    inside = world.part("tree_f").field("input", grid).flux
    tree = 10 ** (-world.truth()["tree_f"]["loss_db"] * 5 / 10)
    bench.gates(out=False, client=False)
    transmitter.player.dark()
    photons = light.estimate("full_scale_photons")
    truth = out * transmitter.bright_time(bench.layout(1))
    found = [Pull("server.light", "full_scale_photons", photons.value, truth, photons.deviation)]
    if "path.forward" in known:
        way = known.estimate("path.forward", "transmissivity")
        found.append(Pull("path.forward", "transmissivity", way.value, inside / out * tree, way.deviation))
    return found


def table(found: list[Pull]) -> str:
    """Mean and width of the pulls of each key, over benches."""
    keys = list(dict.fromkeys((one.name, one.key) for one in found))
    lines = [f"{'calibration':<24}{'key':<22}{'benches':>8}{'mean':>8}{'width':>8}{'largest':>9}"]
    for name, key in keys:
        values = np.array([one.pull for one in found if (one.name, one.key) == (name, key)])
        width = float(np.sqrt(np.mean(np.square(values))))
        lines.append(
            f"{name:<24}{key:<22}{values.size:>8}{values.mean():>8.2f}{width:>8.2f}{np.abs(values).max():>9.2f}"
        )
    return "\n".join(lines)


def everything(seed: int, names: Sequence[str] | None = None) -> tuple[str, list[Pull], dict[str, Any]]:
    """Seal, calibrate blind, open: digest before, all pulls, and the truth."""
    with seeded(seed) as (sim, bench):
        seal = sealed(sim)
        known = measured(bench, names)
        found = pulls(sim, known) + noise_pulls(sim, bench)
        if "server.light" in known:
            found += light_pulls(sim, bench)
        assert sim.world is not None
        assert sealed(sim) == seal
        return seal, found, sim.world.truth()
