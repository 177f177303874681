"""Instruments of a station that ships, coupled by the world: what one is told, the others see."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labqdl.config.document import parse
from labqdl.config.station import StationFile, find_station_file, load_station_file, read_station_file
from labqdl.errors import InputError
from labqdl.instruments import LockState, Trigger
from labqdl.station import Station
from labqdl.units import photon_energy
from labqdl_sim.bench import Bench
from labqdl_sim.routes.visa import SimVisaLibrary
from labqdl_sim.world.attach import LockPart

POINTS = 8_000
"""Samples of a waveform, 64 us."""


class Table:
    """A station that ships, open in process, with its laser on and its light path free."""

    def __init__(self, name: str) -> None:
        self.file = load_station_file(name)
        self.bench = Bench.from_station(self.file)
        library: Any = SimVisaLibrary.for_bench(self.bench)
        self.station = Station(self.file, library=library, clock=self.bench.driver_clock)
        self.station.open()
        self["laser"].power = 20e-3
        self["laser"].emission = True
        self["voa"].open_shutter = True
        self["voa"].attenuation = 28.0
        for gate in ("gate_out", "gate_c", "gate_s"):
            self[gate].port = 1
        for name in ("dig_s", "dig_c"):
            digitizer = self[name]
            digitizer.sample_rate = 62.5e6
            digitizer.record_length = POINTS
            digitizer.trigger_source = Trigger.EXTERNAL
            for number, channel in digitizer.channels().items():
                channel.enabled = number == 1
            digitizer.channels()[1].range = 0.5
            digitizer.channels()[1].offset = 0.0
        self.world: Any = self.bench.world

    def __getitem__(self, name: str) -> Any:
        return self.station[name]

    def load(self, i: np.ndarray[Any, Any] | None = None, rate: float = 125e6) -> None:
        """Give the server's generator a shot: markers 1 (start) and 2 (digitizers) high, I as given."""
        awg = self["awg_s"]
        awg.stop()
        awg.sample_rate = rate
        awg.trigger_source = Trigger.EXTERNAL
        output = awg.channels()[1]
        output.resolution = 12
        output.amplitude = 1.5
        output.upload("shot", np.zeros(POINTS) if i is None else i, np.full(POINTS, 3, np.uint8))
        output.select("shot")
        output.output = True

    def shot(self, *digitizers: str) -> list[np.ndarray[Any, Any]]:
        """Arm, trigger, fetch the second half of each record, which begins with the trigger."""
        for name in digitizers:
            self[name].arm()
        self["awg_s"].arm()
        self["awg_s"].trigger()
        records = []
        for name in digitizers:
            self[name].wait(5.0)
            record = self[name].fetch(1)
            assert not record.overload
            records.append(record.volts[POINTS // 2 :])
        return records

    def watts(self, part: str, port: str) -> float:
        """Mean power that leaves a part now."""
        field = self.world.light_of(part, port)(self.world.grid(self.bench.clock.monotonic(), 4096))
        return float(field.flux * photon_energy(field.wavelength))

    def close(self) -> None:
        self.station.close()
        SimVisaLibrary.forget(self.bench)


@pytest.fixture
def table() -> Iterator[Table]:
    """The smallest station."""
    made = Table("loopback-1")
    yield made
    made.close()


def square() -> np.ndarray[Any, Any]:
    """Full scale for the first half, then nothing."""
    return np.where(np.arange(POINTS) < POINTS // 2, 1.0, 0.0)


def test_light_goes_through_the_loop_and_meets_a_held_oscillator(table: Table) -> None:
    table["lock_s"].acquire()
    table.load(square())
    found = []
    for set_point in (0.0, 1.0, 2.0):
        table["lock_s"].set_point = set_point
        (volts,) = table.shot("dig_s")
        found.append(volts[50:1900].mean() - volts[2100:3900].mean())
    noise = volts[2100:].std()
    # two set points 180 degrees apart see the opposite, and 90 degrees the other quadrature
    assert found[0] == pytest.approx(-found[2], abs=0.2 * noise)
    assert math.hypot(found[0], found[1]) > noise


def test_laser_off_every_detector_sees_vacuum(table: Table) -> None:
    table.load(square())
    lit = table.shot("dig_s", "dig_c")
    table["laser"].emission = False
    dark = table.shot("dig_s", "dig_c")
    figures = table.file.components["bhd_s"]
    amplifier = figures["transimpedance"] * figures["noise"] * math.sqrt(figures["bandwidth"])
    assert dark[0].std() == pytest.approx(math.hypot(amplifier, 0.01 * 0.05), rel=0.15)  # and that of the scope
    assert dark[0].std() < 0.1 * lit[0].std()
    assert abs(dark[0].mean()) < 1e-4
    assert table["meter_s"].power < 1e-9
    assert table["lock_s"].input_power == 0.0


def test_attenuation_and_gates(table: Table) -> None:
    before = table.watts("fibre_out", "output")
    table["voa"].attenuation = 38.0
    assert table.watts("fibre_out", "output") == pytest.approx(before / 10, rel=0.01)
    table["gate_out"].port = 2
    assert table.watts("fibre_out", "output") < 1e-6 * before
    table["gate_out"].port = 1
    table["voa"].open_shutter = False
    assert table.watts("fibre_out", "output") == 0.0


def test_meters_read_the_field(table: Table) -> None:
    table["meter_c"].samples = 100
    table["voa"].attenuation = 0.0
    assert table["meter_s"].power == pytest.approx(table.watts("tap_s", "tap"), rel=1e-3)
    assert table["meter_c"].power == pytest.approx(table.watts("tap_c", "tap"), abs=3e-11)


def test_broken_fibre(table: Table) -> None:
    table.load(square())
    table["lock_s"].acquire()
    table["meter_c"].samples = 100
    table.world.parts["fibre_out"].strike("broken")
    assert table.watts("gate_s", "output1") < 1e-20 + table.watts("tap", "output")
    assert table.watts("tap_c", "main") == 0.0
    assert table["lock_s"].state is LockState.SLIPPED
    (volts,) = table.shot("dig_c")
    assert abs(volts[50:1900].mean() - volts[2100:].mean()) < 6 * volts.std() * math.sqrt(2 / 1800)


def test_lock_makes_good_what_fibres_do(table: Table) -> None:
    lock = table.world.parts["lock_s"]
    assert isinstance(lock, LockPart)
    assert {part.name for part, _ in lock.signal} >= {"fibre_out", "tap", "fibre_back", "laser"}
    assert {part.name for part, _ in lock.oscillator} == {"pm_s", "lock_s", "splitter_lo2", "splitter_lo", "laser"}
    table["lock_s"].acquire()

    def angle() -> float:
        grid = table.world.grid(table.bench.clock.monotonic(), 64)
        table.world.changed()
        signal = table.world.light_of("fibre_back", "output")(grid).envelope
        oscillator = table.world.light_of("pm_s", "output")(grid).envelope
        return float(np.angle(np.mean(signal * oscillator.conj())))

    table["voa"].attenuation = 0.0
    found = []
    for _ in range(5):
        table.bench.clock.advance(7.0)  # type: ignore[attr-defined]
        found.append(angle())
    assert np.std(np.unwrap(found)) < 0.3  # the modulator drifts, the loop's noise is 20 mrad
    table["lock_s"].engaged = False
    found = []
    for _ in range(5):
        table.bench.clock.advance(20.0)  # type: ignore[attr-defined]
        found.append(angle())
    assert np.std(np.unwrap(found)) > 0.5


def test_lock_follows_polarisation_too() -> None:
    """Fibres, paddles and polarisers give the light a phase of their own, which wanders with the polarisation."""
    made = Table("loop-32")
    try:
        made["lock_s"].acquire()
        made.world.parts["iq"].strike("drift", 0.0)
        found = []
        for _ in range(5):
            made.bench.clock.advance(20.0)  # type: ignore[attr-defined]
            made.world.changed()
            grid = made.world.grid(made.bench.clock.monotonic(), 40_000)
            signal = made.world.light_of("gate_s", "output1")(grid)
            oscillator = made.world.light_of("pm_s", "output")(grid)
            both = signal.envelope * oscillator.envelope.conj() * np.vdot(oscillator.jones, signal.jones)
            found.append(np.angle(both.mean()))
        # noise of 20 mrad around 10 kHz, averaged over 320 us: 2 mrad; without the loop radians
        assert np.std(np.unwrap(found)) < 0.01
    finally:
        made.close()


def test_a_record_is_taken_as_everything_stood(table: Table) -> None:
    """What is set after the trigger, before somebody fetches, does not change what was recorded."""
    table.load(square())
    table["lock_s"].acquire()
    table["dig_s"].arm()
    table["awg_s"].arm()
    table["awg_s"].trigger()
    table["gate_s"].port = 2
    table["laser"].emission = False
    table["dig_s"].wait(5.0)
    volts = table["dig_s"].fetch(1).volts[POINTS // 2 :]
    assert volts.std() > 5e-3


def test_same_seed_same_bits() -> None:
    def run() -> bytes:
        made = Table("loopback-1")
        try:
            made.load(square())
            return b"".join(volts.tobytes() for volts in made.shot("dig_s", "dig_c"))
        finally:
            made.close()

    assert run() == run()


def test_truth_is_drawn_around_the_sheet() -> None:
    file = load_station_file("loop-32")
    truths = []
    for seed in range(3):
        world = Bench.from_station(replace(file, seed=seed)).world
        assert world is not None
        truths.append(world.truth()["iq"]["v_pi_i"])
    assert len(set(truths)) == 3
    assert all(abs(one - 1.4) < 0.2 for one in truths)


# --- mistakes --------------------------------------------------------------------------------------------------------


def changed(old: str, new: str, name: str = "loopback-1") -> StationFile:
    text = Path(find_station_file(name)).read_text(encoding="utf-8")
    assert old in text
    return read_station_file(parse(text.replace(old, new, 1).encode(), source="table.toml"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("visibility = 0.98", "visibilty = 0.98", r"line \d+: key 'components.bhd_s.visibilty': .*Did you mean 'visib"),
        ("rin = 1e-14", "rinn = 1e-14", r"line \d+: key 'simulation.parts.laser.rinn': .*Did you mean 'rin'"),
        ("{ v_pi = 0.03", "{ vpi = 0.03", r"line \d+: key 'simulation.parts.pm_s.spread.vpi': .*Did you mean 'v_pi'"),
        ("efficiency = 0.9\n", 'efficiency = "high"\n', r"key 'components.tap.efficiency': 'high' is no number"),
        ('to = "voa.input1"', 'to = "voa.input"', r"key 'wiring\[6\].to': voa has no port 'input' .*input1"),
        (
            'from = "voa.output1"',
            'from = "voa"',
            r"key 'wiring\[7\].from': voa has several ports at .* voa.output1, voa",
        ),
        (
            'to = "pm_s.drive"',
            'to = "pm_s.driver"',
            r"pm_s has no port 'driver' at which a voltage .*mean 'pm_s.drive'",
        ),
        ('from = "tap_s.main"', 'from = "tap_s.tap"', r"tap_s.tap goes into the fibre on line \d+ already"),
    ],
)
def test_mistakes_have_their_line(old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Bench.from_station(changed(old, new))


def test_parts_that_there_are_not() -> None:
    with pytest.raises(InputError, match=r"there is no instrument or component 'lasr'.*Did you mean 'laser'"):
        changed("[simulation.parts.laser]", "[simulation.parts.lasr]")
    with pytest.raises(InputError, match="no standard deviation"):
        changed("{ v_pi = 0.03", "{ v_pi = -0.03")


def test_without_a_rate_nothing_is_coupled() -> None:
    bench = Bench.from_station(replace(load_station_file("loopback-1"), rate=None))
    assert bench.world is None
