"""A small bench with few modes for tests of subsystems, and its calibrations taken from the world's truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from labqdl.config.document import parse
from labqdl.config.station import read_station_file
from labqdl.facts.calibration import CalibrationResult, CalibrationSet
from labqdl.safety import SCRIPT, SafeStack
from labqdl.station import Station, light_paths
from labqdl.subsystems import ClientBench, ServerBench, TimeBinInterferometer
from labqdl_sim.bench import Bench
from labqdl_sim.routes.visa import SimVisaLibrary
from labqdl_sim.world.fields import Grid

BIN_RATE = 6.25e6
RATE = 125e6
MODES = 4
STAGES = 2


def station_text(*, seed: int = 1, rms: Mapping[str, str] | None = None) -> str:
    """A station of `MODES` bins: no lock, no drift, no polarisation; truths without spread but where `rms` says."""
    instruments = {
        "laser": 'driver = "nkt-koheras"',
        "awg_s": 'driver = "tektronix-awg"\ntwin_options = { model = "AWG5204", run_time = 0.001 }',
        "rps1": 'driver = "redpitaya-source"\ntwin = "redpitaya"\nresource = "TCPIP0::rp1::5000::SOCKET"\noptions = { pin = 0 }',
        "rps2": 'driver = "redpitaya-source"\ntwin = "redpitaya"\nresource = "TCPIP0::rp1::5000::SOCKET"\noptions = { pin = 1 }',
        "rps3": 'driver = "redpitaya-source"\ntwin = "redpitaya"\nresource = "TCPIP0::rp1::5000::SOCKET"\noptions = { pin = 2 }',
        "meter_s": 'driver = "thorlabs-pm100"',
        "voa": 'driver = "keysight-n77"\nchannel = 1',
        "gate_out": 'driver = "thorlabs-osw"\ntwin_options = { board = "OSW12-out" }',
        "gate_s": 'driver = "thorlabs-osw"\ntwin_options = { board = "OSW12-s" }',
        "gate_c": 'driver = "thorlabs-osw"\ntwin_options = { board = "OSW12-c" }',
        "dig_s": 'driver = "tektronix-mso"\ntwin_options = { model = "MSO54" }',
        "dig_c": 'driver = "tektronix-mso"\ntwin_options = { model = "MSO54" }',
        "awg_f": 'driver = "tektronix-awg"\ntwin_options = { model = "AWG5208", run_time = 0.001 }',
        "awg_b": 'driver = "tektronix-awg"\ntwin_options = { model = "AWG5208", run_time = 0.001 }',
        "rpc1": 'driver = "redpitaya-source"\ntwin = "redpitaya"\nresource = "TCPIP0::rp2::5000::SOCKET"\noptions = { pin = 0 }',
    }
    tree = f'n_modes = {MODES}\nbin_rate = {BIN_RATE}\nloss = "0.2 dB"\nv_pi_stage = "0.7 V"\nv_pi_phase = "0.7 V"'
    components = {
        "splitter_lo": 'kind = "splitter"\nratio = 0.5',
        "splitter_lo2": 'kind = "splitter"\nratio = 0.5',
        "iq": 'kind = "iq-modulator"\nloss = "6 dB"\nv_pi_i = "1.4 V"\nv_pi_q = "1.4 V"\nv_pi_bias = "0.8 V"\nextinction_db = "40 dB"',
        "tap_s": 'kind = "power-tap"\nratio = 0.01',
        "pad": 'kind = "pad"\nloss = "40 dB"',
        "fibre_out": 'kind = "fibre"\nlength = "0 m"\nloss = "0.3 dB"',
        "tree_f": f'kind = "time-bin-tree"\n{tree}',
        "tap": 'kind = "feed-forward-tap"\nt = 0.9\nefficiency = 0.9\nlo_flux = 2.4e16\ndensity = 2e-6\ngain_per_volt = 0.5',
        "tree_b": f'kind = "time-bin-tree-inverse"\n{tree}',
        "delay_b": f'kind = "cable"\ndelay = "{MODES / BIN_RATE} s"',
        "fibre_back": 'kind = "fibre"\nlength = "0 m"\nloss = "0.3 dB"',
        "pm_s": 'kind = "phase-modulator"\nloss = "3 dB"\nv_pi = "1.4 V"',
        "bhd_s": 'kind = "homodyne"\nefficiency = 0.9\nvisibility = 0.98\ntransimpedance = "100 kV/A"\nnoise = "2 pA/sqrt(Hz)"\ncmrr_db = "55 dB"\nsaturation = "10 mW"\nbandwidth = "25 MHz"',
    }
    light = (
        "laser>splitter_lo splitter_lo.main>iq iq>tap_s tap_s.tap>meter_s tap_s.main>pad pad>voa.input1 "
        "voa.output1>gate_out gate_out.output1>fibre_out fibre_out.output>gate_c gate_c.output1>tree_f "
        "tree_f.carry>tap.input tree_f.residual>tree_b.residual tap>tree_b.carry tree_b>fibre_back "
        "fibre_back.output>gate_s gate_s.output1>bhd_s.signal splitter_lo.tap>splitter_lo2 splitter_lo2.main>pm_s "
        "pm_s>bhd_s.lo splitter_lo2.tap>tap.lo"
    )
    electric = (
        "awg_s.output1>iq.i awg_s.output2>iq.q awg_s.output3>pm_s.drive rps1.aout0>iq.bias_i rps2.aout1>iq.bias_q "
        "rps3.aout2>iq.bias_p rpc1.aout0>tap.gain bhd_s>dig_s.channel1 tap.meter_x>dig_c.channel1 "
        "tap.meter_p>dig_c.channel2 awg_s.marker1_1>dig_s.auxiliary awg_s.marker1_1>dig_c.auxiliary "
        "awg_s.marker1_1>awg_f.trigger_a awg_s.marker1_1>delay_b delay_b>awg_b.trigger_a awg_s.marker1_1>tree_f.sync "
        "delay_b>tree_b.sync "
    ) + " ".join(
        f"awg_{way}.output{stage + 1}>tree_{way}.{f'stage{stage}' if stage < STAGES else 'phase'}"
        for way in "fb"
        for stage in range(STAGES + 1)
    )
    quiet = {
        "laser": "linewidth = 0.0\nrin = 0.0",
        "tap": "noise = 0.02",
        **{name: "spread = { phase = 0.0 }" for name in ("fibre_out", "fibre_back")},
        "iq": "spread = { v_pi_i = 0.03, v_pi_q = 0.03, v_pi_bias = 0.02, imbalance = 0.02 }",
        "tree_f": "spread = { offset = 0.1, v_pi_stage = 0.01 }",
        "tree_b": "spread = { offset = 0.1, v_pi_stage = 0.01 }",
    }
    parts = [f'[station]\nname = "small"\nprofile = "sim"\n']
    parts += [f"[instruments.{name}]\n{text}\n" for name, text in instruments.items()]
    parts += [f"[components.{name}]\n{text}\n" for name, text in components.items()]
    for kind, wires in (("light", light), ("electric", electric)):
        for wire in wires.split():
            source, target = wire.split(">")
            parts.append(f'[[wiring]]\nfrom = "{source}"\nto = "{target}"\nkind = "{kind}"\n')
    parts.append(
        '[[paths]]\nname = "signal"\nsource = "laser"\nbarriers = ["gate_out", "voa"]\nmeter = "meter_s.power"\n'
    )
    parts.append(f'[simulation]\nseed = {seed}\nclock = "steps"\nrate = "125 MHz"\n')
    for name, text in {**quiet, **(rms or {})}.items():
        parts.append(f"[simulation.parts.{name}]\n{text}\n")
    parts.append(SUBSYSTEMS)
    return "\n".join(parts)


def _outputs(generator: str, *numbers: int) -> str:
    return ", ".join(f'"{generator}.output {number}"' for number in numbers)


SUBSYSTEMS = f"""
[frame]
n_modes = {MODES}
bin_rate = "6.25 MHz"
guard_rows = 6

[subsystems.sender]
kind = "transmitter"
owner = "server"
laser = "laser"
i = "awg_s.output 1"
q = "awg_s.output 2"
bias_i = "rps1"
bias_q = "rps2"
bias_p = "rps3"
attenuator = "voa"
gate = "gate_out"
meter = "meter_s"
modulator = "iq"
pad = "pad"
sample_rate = "125 MHz"

[subsystems.verifier]
kind = "homodyne-receiver"
owner = "server"
x = "dig_s.input 1"
gate = "gate_s"
lo_phase = "awg_s.output 3"
lo_modulator = "pm_s"
detector = "bhd_s"
sample_rate = "62.5 MHz"
range = "500 mV"

[subsystems.meter]
kind = "homodyne-receiver"
owner = "client"
x = "dig_c.input 1"
p = "dig_c.input 2"
gate = "gate_c"
sample_rate = "62.5 MHz"
range = "300 mV"

[subsystems.tree]
kind = "time-bin-interferometer"
owner = "client"
stages = [{_outputs("awg_f", *range(1, STAGES + 1))}]
phase = "awg_f.output {STAGES + 1}"
inverse_stages = [{_outputs("awg_b", *range(1, STAGES + 1))}]
inverse_phase = "awg_b.output {STAGES + 1}"
forward = "tree_f"
inverse = "tree_b"
sample_rate = "62.5 MHz"

[subsystems.tap]
kind = "feed-forward-tap"
owner = "client"
gain = "rpc1"
tap = "tap"
"""


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
            phase = float(modulator.phase(arm, np.array([self.bench.clock.monotonic()]))[0])
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
def small_bench(text: str | None = None) -> Iterator[Small]:
    """The small station, open in this process; dark afterwards."""
    file = read_station_file(parse((text or station_text()).encode(), source="small.toml"))
    bench = Bench.from_station(file)
    library: Any = SimVisaLibrary.for_bench(bench)
    station = Station(file, library=library, clock=bench.driver_clock)
    stack = SafeStack(arming=SCRIPT, watchdog=False, handlers=False)
    station.instruments()
    stack.paths.extend(light_paths(station))
    station.guarded_by(stack)
    with stack:
        try:
            station.open()
            instruments = station.instruments()
            yield Small(station, bench, ServerBench(file, instruments), ClientBench(file, instruments))
        finally:
            stack.make_safe()
            station.close()


def result(name: str, owner: str, **values: float) -> CalibrationResult:
    """A calibration that is exact and holds for an hour."""
    size = len(values)
    return CalibrationResult(
        name, owner, values, dict.fromkeys(values, ""), np.zeros((size, size)), "truth", 1, 0.0, 3600.0  # type: ignore[arg-type]
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
        values = {f"v_pi_{k}": truth(part, f"v_pi_stage_{k}") for k in range(STAGES)}
        values |= {f"offset_{k}": truth(part, f"offset_{k}") for k in range(STAGES)}
        small.use(result(way, "client", v_pi_phase=truth(part, "v_pi_phase"), skew=0.0, **values))
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
        layout.symbols(np.zeros((1, 4, layout.n_modes), np.complex128), brightness.known), layout, brightness, 1e-5
    )
    u = np.zeros((1, layout.n_modes), np.complex128)
    u[0, -1] = 1.0
    client.interferometer.load(u, layout)
    for party in (server, client):
        party.receiver.arm(layout.duration + 1e-5)
    client.interferometer.arm()
    server.transmitter.arm()
    server.transmitter.start()
    for party in (client, server):
        owner = party.owner.value
        party.receiver.wait(layout.duration + 1e-5)
        found = party.receiver.fetch()
        timing = party.receiver.find(found, layout, carry_only=party is client)
        small.use(result(f"{owner}.timing", owner, delay=timing.start + found.start, clock_ppm=0.0))
