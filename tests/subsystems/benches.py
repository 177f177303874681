"""A small bench with few modes for tests of subsystems, and its calibrations taken from the world's truth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from labqdl.config.document import parse
from labqdl.config.station import read_station_file
from labqdl.facts.calibration import CalibrationResult, CalibrationSet
from labqdl.facts.ledger import Owner
from labqdl.safety import SCRIPT, SafeStack
from labqdl.station import Station, light_paths
from labqdl.subsystems import ClientBench, MziInterferometer, ServerBench, TimeBinInterferometer
from labqdl_sim.bench import Bench
from labqdl_sim.routes.visa import SimVisaLibrary
from labqdl_sim.world.fields import Grid

BIN_RATE = 6.25e6
RATE = 125e6
MODES = 4
SMALL = Path(__file__).with_name("small.toml")
_STATIONS = files("labqdl") / "stations"
SHIPPED = {
    name: (_STATIONS / f"{name}.toml").read_text(encoding="utf-8") for name in ("chip-8", "loop-32", "loopback-1")
}


@dataclass
class Small:
    """An open station in process with its world, both parties' objects, and calibrations."""

    station: Station
    bench: Bench
    server: ServerBench
    client: ClientBench
    calibrations: CalibrationSet = field(default_factory=CalibrationSet)

    def truth(self, part: str, key: str) -> float:
        """True value of a parameter."""
        assert self.bench.world is not None
        return self.bench.world.parts[part].truth[key]

    def use(self, *results: CalibrationResult) -> None:
        """Add calibrations for both parties."""
        self.calibrations = self.calibrations.with_result(*results)
        self.server.use(self.calibrations)
        self.client.use(self.calibrations)

    def phase(self, arm: str) -> float:
        """Bias phase of an arm of the modulator now, within half a turn of 0, rad."""
        assert self.bench.world is not None
        modulator: Any = self.bench.world.parts["iq"]
        with self.bench.lock:
            phase = float(modulator.phase(arm, self.bench.world.grid(self.bench.clock.monotonic(), 1))[0])
        return math.remainder(phase, 2 * math.pi)

    def power(self, part: str, port: str) -> float:
        """Photons a second that leave a part now."""
        world = self.bench.world
        assert world is not None
        with self.bench.lock:
            world.changed()
            grid = Grid(round(self.bench.clock.monotonic() * RATE) / RATE, 1.0 / RATE, 2048)
            return world.light_of(part, port)(grid).flux


@contextmanager
def small_bench(text: str | None = None, *, opened: tuple[str, ...] | None = None) -> Iterator[Small]:
    """The small station, or another one, open in this process; dark afterwards. `opened`: these instruments alone."""
    file = read_station_file(parse((text or SMALL.read_text(encoding="utf-8")).encode(), source="small.toml"))
    bench = Bench.from_station(file)
    library: Any = SimVisaLibrary.for_bench(bench)
    station = Station(file, library=library, clock=bench.driver_clock)
    stack = SafeStack(arming=SCRIPT, watchdog=False, handlers=False)
    station.instruments()
    stack.paths.extend(light_paths(station))
    station.guarded_by(stack)
    with stack:
        try:
            station.open(opened)
            instruments = station.instruments()
            yield Small(station, bench, ServerBench(file, instruments), ClientBench(file, instruments))
        finally:
            stack.make_safe()
            station.close()


def result(name: str, owner: str, **values: float) -> CalibrationResult:
    """A calibration that is exact and holds for an hour."""
    size = len(values)
    return CalibrationResult(
        name,
        Owner(owner),
        values,
        dict.fromkeys(values, ""),
        np.zeros((size, size)),
        "truth",
        1,
        0.0,
        3600.0,
    )


def calibrate_truth(small: Small, *, full_scale_photons: float, snu_bins: int = 40_000) -> None:
    """Calibrations from the world's truth; what depends on filters and fibres is measured as a routine would.

    Parameters
    ----------
    full_scale_photons:
        To which a full-scale bin is attenuated.
    snu_bins:
        Vacuum bins for each shot-noise unit.
    """
    truth, server, client = small.truth, small.server, small.client
    bias = truth("iq", "v_pi_bias")

    def null(phase: float, wanted: float) -> float:
        return bias * (((wanted - phase) / math.pi) % 2.0)

    # What each arm leaves at its null, a quarter turn ahead or behind, the other arm takes away.
    leak = 10 ** (-truth("iq", "extinction_db") / 20)
    wanted = {"i": -leak, "q": leak, "p": math.pi / 2}
    biases = {arm: null(truth("iq", f"phase_{arm}"), angle) for arm, angle in wanted.items()}
    server.transmitter.bias(**biases)
    # The bias sources are coarse: the generator shifts what they miss.
    missed = {arm: small.phase(arm) - angle for arm, angle in wanted.items()}
    small.use(
        result(
            "server.modulator",
            "server",
            v_pi_i=truth("iq", "v_pi_i"),
            v_pi_q=truth("iq", "v_pi_q"),
            **{f"bias_{arm}": volts for arm, volts in biases.items()},
            **{f"offset_{arm}": -2 * truth("iq", f"v_pi_{arm}") / math.pi * missed[arm] for arm in "iq"},
            imbalance=truth("iq", "imbalance"),
            quadrature_error=missed["p"],
        )
    )
    _light(small, full_scale_photons)
    for way, part in (("client.interferometer", "tree_f"), ("client.inverse", "tree_b")):
        if isinstance(client.interferometer, TimeBinInterferometer):
            small.use(result(way, "client", **_tree(small, part)))
        elif isinstance(client.interferometer, MziInterferometer):
            small.use(result(way, "client", **_mesh(small, part.replace("tree", "mesh"))))
    small.use(result("server.lo-phase", "server", v_pi=truth("pm_s", "v_pi")))
    picked = math.sqrt(truth("tap", "efficiency") * (1.0 - truth("tap", "t")) / 2.0)
    gain = (1.0 - math.sqrt(truth("tap", "t"))) / picked / truth("tap", "gain_per_volt")
    strength = small.power("splitter_lo2", "tap") / truth("tap", "lo_flux")
    small.use(
        result(
            "client.tap",
            "client",
            gain_voltage=gain / math.sqrt(strength),
            outcome_gain=picked,
            transmissivity=truth("tap", "t"),
        )
    )
    for party in (server, client):
        receiver = party.receiver
        layout = party.frame.layout(1, 1)
        found = receiver.vacuum(snu_bins * layout.bin_time)
        bins = receiver.dark_bins(found, layout)
        variance = float(np.var(bins.real)) if not np.iscomplexobj(bins) else float(np.var(bins)) / 2.0
        noise = 0.02 / strength if party is client else _electronic(small)
        owner = party.owner.value
        small.use(result(f"{owner}.shot-noise", owner, snu=variance / (1.0 + noise), noise=noise))


def _tree(small: Small, part: str) -> dict[str, float]:
    stages = range((small.client.frame.n_modes - 1).bit_length())
    values = {f"v_pi_{k}": small.truth(part, f"v_pi_stage_{k}") for k in stages}
    values |= {f"offset_{k}": small.truth(part, f"offset_{k}") for k in stages}
    return values | {"v_pi_phase": small.truth(part, "v_pi_phase"), "skew": 0.0}


def _mesh(small: Small, part: str) -> dict[str, float]:
    values = {"crosstalk": small.truth(part, "crosstalk")}
    modes, number = small.client.frame.n_modes, 0
    for bank, count in (("theta", modes - 1), ("phi", modes - 1), ("ret", modes if part.endswith("b") else 0)):
        for k in range(count):
            values[f"{bank}_slope_{k}"] = small.truth(part, f"phase_per_v2_{number}")
            values[f"{bank}_offset_{k}"] = small.truth(part, f"offset_{number}")
            number += 1
    return values


def _light(small: Small, wanted: float) -> None:
    transmitter = small.server.transmitter
    transmitter.emit(True)
    transmitter.set_working_point()
    transmitter.attenuate(0.0)
    assert transmitter.gate is not None
    transmitter.gate.open()
    transmitter.play(np.full(64, transmitter.drive), np.zeros(64))
    bin_time = transmitter.bright_time(small.server.frame.layout(1, 1))
    bright = small.power("gate_out", "output1") * bin_time
    attenuation = 10 * math.log10(bright / wanted)
    transmitter.attenuate(round(attenuation, 3))
    photons = small.power("gate_out", "output1") * bin_time
    transmitter.player.dark()
    assert transmitter.attenuator is not None
    small.use(
        result(
            "server.light",
            "server",
            full_scale_photons=photons,
            attenuation_db=transmitter.attenuator.attenuation,
        )
    )


def _electronic(small: Small) -> float:
    """Electronic noise of the server's receiver in SNU."""
    flux = small.power("pm_s", "output")
    charge = 1.602176634e-19
    shot = 2.0 * charge**2 * small.truth("bhd_s", "efficiency") * flux
    return small.truth("bhd_s", "noise") ** 2 / shot


def find_timing(small: Small) -> None:
    """Delays of both receivers, from a bright shot through the whole path."""
    server, client = small.server, small.client
    layout = server.frame.layout(1, 4)
    brightness = server.transmitter.brightness()
    server.transmitter.prepare(brightness)
    for party in (server, client):
        party.receiver.configure()
        assert party.receiver.gate is not None
        party.receiver.gate.open()
    assert server.transmitter.gate is not None
    server.transmitter.gate.open()
    client.tap.engage()
    server.transmitter.load(
        layout.symbols(np.zeros((1, 4, layout.n_modes), np.complex128), brightness.known), layout, brightness, tail=1e-5
    )
    u = np.zeros((1, layout.n_modes), np.complex128)
    u[0, -1] = 1.0
    client.interferometer.load(u, layout)
    for party in (server, client):
        party.receiver.hold()
        party.receiver.arm(layout.duration + 4e-5)
    client.interferometer.arm()
    server.transmitter.arm()
    server.transmitter.start()
    for party in (client, server):
        owner = party.owner.value
        party.receiver.wait(layout.duration + 4e-5)
        found = party.receiver.fetch()
        timing = party.receiver.find(found, layout, carry_only=party is client)
        small.use(result(f"{owner}.timing", owner, delay=timing.start + found.start, clock_ppm=0.0))
        if party.receiver.lock is not None:
            per_volt = small.truth(party.receiver.lock.name, "angle_per_volt")
            small.use(result(f"{owner}.lock", owner, set_point=float(np.angle(timing.amplitude)) / per_volt))


@dataclass(frozen=True)
class LightPath:
    """Light path as it truly is, from known light of the last shot.

    `forward` and `back` are power transmissivities to and behind the tap, `efficiency` that of the server's receiver
    with what its band and windows make of a pulse; `amplitude` of q at the server's receiver, `outcome_gain` of x.q.
    """

    forward: float
    back: float
    efficiency: float

    @property
    def amplitude(self) -> float:
        return math.sqrt(self.forward * self.back * self.efficiency)

    @property
    def outcome_gain(self) -> float:
        return math.sqrt(self.forward)


SHAPE = 0.977
"""Efficiency of a window for a pulse behind the receiver's 25 MHz, from filtering one pulse and white noise."""


def path_truth(small: Small) -> LightPath:
    """Transmissivities from the photons of preamble bins, as `find_timing` has just sent them."""
    world, generator = small.bench.world, small.bench["awg_s"]
    assert world is not None
    layout = small.server.frame.layout(1, 4)
    latency = layout.n_modes * layout.bin_time
    bright = (layout.kinds == 1).nonzero()[0]

    def photons(part: str, port: str, delay: float) -> Any:
        grid = Grid(round((start + delay) * RATE) / RATE, 1 / RATE, layout.bins * 20)
        envelope = world.light_of(part, port)(grid).envelope.reshape(layout.total_rows, layout.n_modes, 20)
        return np.square(np.abs(envelope)).sum(axis=2)[bright].mean(axis=0) / RATE

    with small.bench.lock:
        world.changed()
        start = generator.triggers["ATR"][-1]  # type: ignore[attr-defined]
        sent = photons("gate_out", "output1", 0.0).mean()
        there = photons("tree_f", "carry", latency)[-1]
        back = photons("gate_s", "output1", 2 * latency)[:-1].mean()
    seen = small.truth("bhd_s", "efficiency") * small.truth("bhd_s", "visibility") ** 2 * SHAPE
    return LightPath(float(there / sent), float(back / there), seen)


def align(small: Small) -> None:
    """Turn the polarisation controllers until their polarisers pass most light, as the world sees it."""
    from scipy.optimize import minimize

    transmitter = small.server.transmitter
    transmitter.prepare(transmitter.brightness())
    for gate in (transmitter.gate, small.server.receiver.gate, small.client.receiver.gate):
        assert gate is not None
        gate.open()
    transmitter.play(np.full(64, transmitter.drive), np.zeros(64))
    transmitter.attenuate(0.0)
    for party, polariser in ((small.client, "pbs_c"), (small.server, "pbs_s")):
        paddles = party.polarisation
        if paddles is None:
            continue

        def lost(angles: Any, paddles: Any = paddles, polariser: str = polariser) -> float:
            paddles.turn([float(np.clip(angle, 0.0, 2.9)) for angle in angles])
            return -small.power(polariser, "main")

        starts = np.random.default_rng(1).uniform(0.0, 2.8, (16, 3))
        best = min(starts, key=lost)
        lost(minimize(lost, best, method="Nelder-Mead", options={"maxfev": 40, "xatol": 1e-3}).x)
    transmitter.player.dark()
