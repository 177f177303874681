"""One generator's marker starts another one and triggers a scope, to the sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labqdl.clock import ManualClock
from labqdl.instruments import Trigger
from labqdl.transport import RoadOptions
from labqdl_drivers.digitizers.tektronix_mso import TektronixMSO
from labqdl_drivers.generators.tektronix_awg import RunState, TektronixAWG
from labqdl_sim.acquiring import Acquisition, Plan
from labqdl_sim.bench import Bench
from labqdl_sim.edges import crossings
from labqdl_sim.ports import VoltageIn, VoltageOut
from labqdl_sim.routes.visa import SimVisaLibrary

RATE = 1e7
POINTS = 200


class Wired:
    """A master generator whose marker 1 starts a second generator and triggers a scope, which looks at the second."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bench = Bench(seed=4, clock=self.clock)
        for name in ("master", "slave"):
            self.bench.add("tektronix-awg", name, model="AWG5202", run_time=0.01)
        self.bench.add("tektronix-mso", "scope", model="MSO54", noise=0.0)
        library: Any = SimVisaLibrary.for_bench(self.bench)
        options = RoadOptions(visa_library=library)
        self.master = TektronixAWG("TCPIP0::master::inst0::INSTR", clock=self.clock, options=options)
        self.slave = TektronixAWG("TCPIP0::slave::inst0::INSTR", clock=self.clock, options=options)
        self.scope = TektronixMSO("TCPIP0::scope::inst0::INSTR", clock=self.clock, options=options)
        for one in (self.master, self.slave, self.scope):
            one.open()
        marker = self.port("master", "marker1_1")
        for target, port in (("slave", "trigger_a"), ("scope", "auxiliary")):
            entry = self.bench[target].ports[port]
            assert isinstance(entry, VoltageIn)
            entry.connect(marker)
        channel = self.bench["scope"].ports["channel1"]
        assert isinstance(channel, VoltageIn)
        channel.connect(self.port("slave", "output1"))

    def port(self, twin: str, name: str) -> VoltageOut:
        found = self.bench[twin].ports[name]
        assert isinstance(found, VoltageOut)
        return found

    def prepare(self, markers: Any, ramp: Any) -> None:
        for awg, samples, marks in ((self.master, np.zeros(len(markers)), markers), (self.slave, ramp, None)):
            awg.stop()
            awg.sample_rate = RATE
            awg.trigger_source = Trigger.EXTERNAL
            output = awg.channels()[1]
            output.resolution = 15
            output.amplitude = 1.0
            output.upload("w", samples, marks)
            output.select("w")
            output.output = True

    def close(self) -> None:
        SimVisaLibrary.forget(self.bench)


@pytest.fixture
def wired() -> Any:
    made = Wired()
    yield made
    made.close()


def test_an_edge_starts_the_armed_generator_and_the_scope(wired: Wired) -> None:
    markers = np.zeros(POINTS, np.uint8)
    markers[50:] = 1
    ramp = np.linspace(-1.0, 1.0, POINTS)
    wired.prepare(markers, ramp)
    scope = wired.scope
    scope.sample_rate = RATE
    scope.record_length = 1000
    scope.trigger_source = Trigger.EXTERNAL
    scope.channels()[1].range = 2.0
    scope.arm()
    wired.slave.arm()
    assert wired.slave.state is RunState.WAITING
    wired.master.arm()
    assert wired.slave.state is RunState.WAITING
    wired.clock.advance(5.0)  # whoever waits long finds the edge all the same
    wired.master.trigger()
    wired.clock.advance(0.01)
    scope.wait(1.0)
    record = scope.fetch(1)
    first = round(-record.start * RATE)
    played = record.volts[first : first + POINTS]
    # sample k of the record is taken where sample k of the waveform begins
    np.testing.assert_allclose(played, 0.5 * ramp, atol=2e-3)
    np.testing.assert_allclose(record.volts[: first - 1], 0.0, atol=1e-3)
    np.testing.assert_allclose(record.volts[first + POINTS + 1 :], 0.0, atol=1e-3)
    assert wired.slave.state is RunState.WAITING  # played once, and armed again


def test_edges_of_markers_are_those_of_their_voltage(wired: Wired) -> None:
    generator = np.random.default_rng(1)
    markers = np.repeat(generator.integers(0, 2, POINTS // 4), 4).astype(np.uint8)
    wired.prepare(markers, np.zeros(POINTS))
    wired.master.arm()
    begin = wired.clock.monotonic()
    for pause in (3e-6, 30e-6, 7e-6):  # the second comes while the first plays
        wired.master.trigger()
        wired.clock.advance(pause)
    stop = begin + 1e-4
    port = wired.port("master", "marker1_1")
    instants = np.arange(begin - 1e-6, stop, 1e-9)
    volts = port.evaluate(instants)
    for rising in (True, False):
        exact = port.edges(begin - 1e-6, stop, 0.5, rising)
        assert exact is not None
        looked = instants[crossings(volts, 0.5, rising)]
        np.testing.assert_allclose(exact, looked, rtol=0, atol=1.1e-9)
    assert port.edges(begin, stop, 5.0, True).size == 0  # type: ignore[union-attr]


def test_a_marker_that_plays_freely_must_be_looked_at(wired: Wired) -> None:
    markers = np.zeros(POINTS, np.uint8)
    markers[:10] = 1
    wired.prepare(markers, np.zeros(POINTS))
    wired.master.trigger_source = Trigger.FREE
    wired.master.arm()
    assert wired.port("master", "marker1_1").edges(0.0, 1.0, 0.5, True) is None


def test_clock_errors_shift_samples() -> None:
    port = VoltageIn()
    port.connect(lambda t: t)
    plan = Plan({1: port}, 1e6, 1000, 0.0, None, 0.0, (True,), 0.0, None, clock_error=1e-3)
    acquisition = Acquisition(plan, 0.5)
    acquisition.look(1.0)
    record = acquisition.records[0]
    assert record.volts[1][-1] - record.volts[1][0] == pytest.approx(999e-6 / 1.001)
    assert record.rate == 1e6  # it believes in its own clock


def test_a_generator_with_a_wrong_clock_plays_faster() -> None:
    bench = Bench(seed=4, clock=ManualClock())
    twin: Any = bench.add("tektronix-awg", "awg", model="AWG5202", run_time=0.0, clock_error=0.01)
    talk = twin.connect()
    talk.feed(b'CLOC:SRAT 1E7\nWLIS:WAV:NEW "w",100\n')
    talk.feed(b'WLIS:WAV:DATA "w",99,1,#14\x00\x00\x80?\nSOUR1:CASS:WAV "w"\nOUTP1 1\nAWGC:RUN\n')
    ends = [k for k in range(1, 2000) if twin.ports["output1"].at(twin.run_at + k * 1e-8) > 0.2]
    assert ends[0] == pytest.approx(99 * 10 / 1.01, abs=1)
