"""Our transport and the simulated instruments meet: one conversation on every road, in process and over the wire."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from labqdl.clock import Clock, ManualClock, SystemClock
from labqdl.transport import Line, RoadOptions, Transport, TransportTimeout, road_for
from labqdl_sim.bench import Bench
from labqdl_sim.routes import serial_url
from labqdl_sim.routes.visa import SimVisaLibrary
from labqdl_sim.serve import serve
from tests.sim.benches import make_bench

IN_PROCESS = {
    "visa-instr": "TCPIP0::bed::inst0::INSTR",
    "visa-socket": "TCPIP0::bed::5025::SOCKET",
    "visa-serial": "ASRLbed::INSTR",
    "serial": "labqdl://bed",
}
OVER_THE_WIRE = ["socket", "hislip", "pty"]


def clock_for(road: str) -> Clock:
    return ManualClock() if road in IN_PROCESS else SystemClock()


@contextmanager
def wired(bench: Bench, road: str, timeout: float = 2.0) -> Iterator[Transport]:
    if road == "pty" and sys.platform == "win32":
        pytest.skip("there are no pseudo terminals on Windows")
    if road in IN_PROCESS:
        resource: str = IN_PROCESS[road]
        library: Any = None
        serial_url.attach(bench)
        if road.startswith("visa"):
            library = SimVisaLibrary.for_bench(bench)
        wire = road_for(resource, RoadOptions(visa_library=library), clock=bench["bed"].clock)
        try:
            with _transport(wire, resource, bench, timeout) as transport:
                yield transport
        finally:
            serial_url.detach(bench)
            SimVisaLibrary.forget(bench)
        return
    bench.routes["bed"] = (road,)
    with serve(bench) as served:
        resource = served.resource("bed")
        options = RoadOptions(visa_library="@py" if road == "hislip" else None)
        with _transport(road_for(resource, options), resource, bench, timeout) as transport:
            yield transport


def _transport(wire: Any, resource: str, bench: Bench, timeout: float) -> Transport:
    return Transport(wire, Line(), name="bed", resource=resource, timeout=timeout, clock=bench["bed"].clock)


@pytest.mark.parametrize("road", [*IN_PROCESS, *OVER_THE_WIRE])
class TestEveryRoad:
    def test_a_conversation_and_a_block(self, road: str) -> None:
        bench, twin = make_bench(clock_for(road))
        data = np.arange(5120, dtype=np.uint8)
        with wired(bench, road) as transport:
            assert transport.query(b"*IDN?") == b"LABQDL,BED,000001,1.0"
            transport.write(b"SOUR:POW 1")
            assert transport.query(b"SOUR:POW?") == b"1.00000000E+00"
            transport.write_block(b'TRAC:DATA "W;\n",', data)
            assert np.array_equal(transport.query_block(b"TRAC:DATA?"), data)
            assert twin.loaded == data.tobytes()
            assert transport.query(b"SYST:ERR?") == b'+0,"No error"'

    def test_silence_ends_at_the_deadline_and_the_next_reply_is_the_right_one(self, road: str) -> None:
        bench, twin = make_bench(clock_for(road))
        twin.faults.add("silent", command="READ", nth=1)
        with wired(bench, road) as transport:
            checks: list[bytes] = []
            transport.on_reopen = lambda: checks.append(transport.query(b"*IDN?"))
            start = twin.clock.monotonic()
            with pytest.raises(TransportTimeout):
                transport.query(b"READ:POW?", timeout=0.1)
            assert 0.09 <= twin.clock.monotonic() - start < 0.5
            assert transport.query(b"*OPC?") == b"1"
            assert checks == [b"LABQDL,BED,000001,1.0"]
