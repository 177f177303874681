"""Instruments that do more to light than pass it: amplifiers, paddles, two inputs, counters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labqdl.clock import ManualClock
from labqdl.config.document import parse
from labqdl.config.station import read_station_file
from labqdl.units import from_db, photon_energy
from labqdl_sim.bench import Bench
from labqdl_sim.ports import PulseIn

HEAD = """
[station]
name = "table"
profile = "sim"
[simulation]
rate = "100 MHz"
[simulation.parts.laser]
linewidth = 0.0
rin = 0.0
"""


def bench(instruments: dict[str, str], components: dict[str, str], wires: str) -> Bench:
    """A bench whose laser is on; wires are "from>to", electric ones "from~to"."""
    text = HEAD
    for name, entry in instruments.items():
        text += f"[instruments.{name}]\n{entry}\n"
    for name, entry in components.items():
        text += f"[components.{name}]\n{entry}\n"
    for wire in wires.split():
        kind = "electric" if "~" in wire else "light"
        source, target = wire.replace("~", ">").split(">")
        text += f'[[wiring]]\nfrom = "{source}"\nto = "{target}"\nkind = "{kind}"\n'
    made = Bench.from_station(read_station_file(parse(text.encode(), source="table.toml")), clock=ManualClock())
    laser: Any = made["laser"]
    laser.emission = True
    laser.power_course = (1.0, 0.0)
    made.clock.advance(100.0)  # type: ignore[attr-defined]
    return made


LASER = 'driver = "nkt-koheras"'


def watts(made: Bench, part: str, port: str) -> float:
    world: Any = made.world
    world.changed()
    field = world.light_of(part, port)(world.grid(made.clock.monotonic(), 2048))
    return float(field.flux * photon_energy(field.wavelength))


def test_paddles_turn_the_light_before_a_polariser() -> None:
    made = bench(
        {"laser": LASER, "mpc": 'driver = "thorlabs-mpc320"'},
        {"pbs": 'kind = "pbs"\nextinction_db = 300.0\nloss = "0 dB"'},
        "laser>mpc mpc>pbs",
    )
    total = watts(made, "pbs", "main") + watts(made, "pbs", "cross")
    mpc: Any = made["mpc"]
    shares = []
    for angle in (0.0, 0.4, 0.8):
        mpc.paddles[1].path = ((0.0, angle / np.radians(170) * 1370),)
        shares.append(watts(made, "pbs", "cross") / total)
    assert np.ptp(shares) > 0.2
    assert watts(made, "pbs", "main") + watts(made, "pbs", "cross") == pytest.approx(total)


def test_an_amplifier_amplifies_while_it_is_pumped() -> None:
    made = bench(
        {"laser": LASER, "edfa": 'driver = "amonics-edfa"'},
        {"pad": 'kind = "pad"\nloss = "40 dB"'},
        "laser>pad pad>edfa",
    )
    edfa: Any = made["edfa"]
    entering = watts(made, "pad", "output")
    assert edfa.input.power(made.clock.monotonic()) == pytest.approx(entering, rel=0.01)
    assert watts(made, "edfa", "output") < entering
    edfa.master_at = 0.0
    for channel in edfa.channels.values():
        channel.armed_at = 0.0
        channel.set_points[channel.mode] = edfa.largest
    assert watts(made, "edfa", "output") > 100 * entering


def test_a_switch_with_two_inputs() -> None:
    made = bench(
        {"laser": LASER, "osw": 'driver = "thorlabs-osw"\ntwin_options = { model = "OSW22-1310E" }'},
        {"split": 'kind = "splitter"\nratio = 0.1'},
        "laser>split split.main>osw.input1 split.tap>osw.input2",
    )
    switch: Any = made["osw"]
    bright, faint = watts(made, "split", "main"), watts(made, "split", "tap")
    for state, expected in ((1, (bright, faint)), (2, (faint, bright))):
        switch.chosen = switch.before = state
        for number, power in enumerate(expected, 1):
            assert watts(made, "osw", f"output{number}") == pytest.approx(power * from_db(-0.7), rel=0.01)


def test_a_counter_is_told_the_rate() -> None:
    made = bench(
        {"laser": LASER, "counter": 'driver = "idq-id900"'},
        {
            "pad": 'kind = "pad"\nloss = "100 dB"',
            "spad": 'kind = "counter-detector"\nefficiency = 0.2\ndark_rate = 50.0\ndead_time = "0 s"',
        },
        "laser>pad pad>spad spad~counter.input2",
    )
    port = made["counter"].ports["input2"]
    assert isinstance(port, PulseIn)
    photons = watts(made, "pad", "output") / photon_energy(1550.1234e-9)
    assert port.rate(made.clock.monotonic()) == pytest.approx(0.2 * photons + 50.0, rel=0.01)
    made["laser"].emission = False  # type: ignore[attr-defined]
    made.world.changed()  # type: ignore[union-attr]
    assert port.rate(made.clock.monotonic()) == pytest.approx(50.0)


def test_patch_cords_and_cables_lose_and_delay() -> None:
    made = bench(
        {"laser": LASER, "scope": 'driver = "tektronix-mso"\ntwin_options = { noise = 0.0 }'},
        {
            "bhd": 'kind = "homodyne"\nnoise = "0.001 pA/sqrt(Hz)"\nbandwidth = "25 MHz"',
            "loss": 'kind = "loss"\nloss = "3 dB"',
        },
        "laser>loss loss>bhd.lo bhd~scope.channel1",
    )
    scope: Any = made["scope"]
    lit = scope.inputs[1].samples(made.clock.monotonic(), 1e8, 5000).std()
    assert lit > 0
    near = bench(
        {"laser": LASER, "scope": 'driver = "tektronix-mso"'},
        {"bhd": 'kind = "homodyne"\nnoise = "0.001 pA/sqrt(Hz)"\nbandwidth = "25 MHz"'},
        "laser>bhd.lo bhd~scope.channel1",
    )
    other: Any = near["scope"]
    bright = other.inputs[1].samples(near.clock.monotonic(), 1e8, 5000).std()
    assert (lit / bright) ** 2 == pytest.approx(from_db(-3.0), rel=0.15)
