"""Simulated instruments: a query in process against PyVISA-sim, and a large block by HiSLIP against a raw socket."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Benchmark, Options, Ratio, Result, interleave, not_installed
from labqdl.clock import ManualClock
from labqdl_sim.bench import Bench
from labqdl_sim.scpi import Number, Param, ScpiTwin, query
from labqdl_sim.tokens import block

QUERIES = 20_000
SAMPLES = 1 << 22
RESOURCE = "TCPIP0::meter::inst0::INSTR"
PEER = """
spec: "1.1"
devices:
  meter:
    eom: {TCPIP INSTR: {q: "\\n", r: "\\n"}}
    error: ERROR
    properties:
      wavelength:
        default: 1550.0
        specs: {type: float}
        getter: {q: "SENS:CORR:WAV?", r: "{:.8e}"}
resources:
  TCPIP0::meter::inst0::INSTR: {device: meter}
"""

STATION = """
[instruments.memory]
twin = "benchmarks.twins:Memory"
routes = ["hislip", "socket"]
"""


class Memory(ScpiTwin):
    """A waveform of natural noise, as a digitizer sends it: a newline stands in it every few hundred bytes."""

    model = "MEMORY"
    wavelength = Param("SENSe:CORRection:WAVelength", Number("NM"), 1550.0)

    def setup(self) -> None:
        """Draw the waveform once."""
        wave = self.generator("wave").standard_normal(SAMPLES).astype("<f4")
        self._block = block(wave.tobytes())

    @query("CURVe?")
    def curve(self) -> bytes:
        """The waveform."""
        return self._block


def _queries(instrument: Any, count: int) -> Callable[[], None]:
    def ask() -> None:
        for _ in range(count):
            instrument.query("SENS:CORR:WAV?")

    return ask


def measure_queries(options: Options) -> Iterator[Result]:
    """One query of a number through PyVISA."""
    import pyvisa

    from labqdl_sim.routes.visa import SimVisaLibrary

    case = "a query in process"
    if importlib.util.find_spec("pyvisa_sim") is None:
        yield not_installed(case, "pyvisa-sim")
        return
    bench = Bench(clock=ManualClock())
    bench.add(Memory, "meter")
    count = max(1, int(QUERIES * options.scale))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "peer.yaml"
        path.write_text(PEER)
        managers = {"subject": pyvisa.ResourceManager(SimVisaLibrary.for_bench(bench))}
        managers["peer"] = pyvisa.ResourceManager(f"{path}@sim")
        ends = {"read_termination": "\n", "write_termination": "\n"}
        opened = {name: manager.open_resource(RESOURCE, **ends) for name, manager in managers.items()}
        times = interleave({name: _queries(each, count) for name, each in opened.items()}, options.repeats)
        for manager in managers.values():
            manager.close()
    yield Ratio(
        case,
        "one query of a number through PyVISA; subject parses SCPI, peer (PyVISA-sim) looks a fixed string up",
        1,
        times["subject"].each(count),
        times["peer"].each(count),
        target=0.5,
    )


@contextmanager
def _served() -> Iterator[dict[str, str]]:
    """A server in another process; resources by kind."""
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        station = Path(folder) / "station.toml"
        station.write_text(STATION)
        command = [sys.executable, "-m", "labqdl.cli", "sim", "serve", str(station), "--json"]
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout is not None
                resources = json.loads(server.stdout.readline())["instruments"][0]["resources"]
                yield dict(zip(("hislip", "socket"), resources, strict=True))
            finally:
                server.terminate()


def measure_blocks(options: Options) -> Iterator[Result]:
    """16 MiB of float32 into an array."""
    import pyvisa

    with _served() as resources:
        manager = pyvisa.ResourceManager("@py")
        roads: dict[str, Any] = {
            kind: manager.open_resource(name, read_termination="\n", write_termination="\n", timeout=60_000)
            for kind, name in resources.items()
        }
        roads["hislip"].chunk_size = 1 << 20

        def fetch(kind: str) -> Callable[[], None]:
            def work() -> None:
                wave = roads[kind].query_binary_values("CURV?", datatype="f", container=np.ndarray)
                assert wave.size == SAMPLES

            return work

        times = interleave({kind: fetch(kind) for kind in roads}, options.repeats)
        for road in roads.values():
            road.close()
        manager.close()
    yield Ratio(
        "16 MiB of float32, instrument in another process",
        "query_binary_values of pyvisa-py into an array; subject by HiSLIP in chunks of 1 MiB, peer by TCPIP::SOCKET",
        1,
        times["hislip"],
        times["socket"],
        target=0.1,
    )


IN_PROCESS = Benchmark("in-process", "a simulated instrument's answer against PyVISA-sim's", measure_queries)
HISLIP = Benchmark("hislip", "a large block by HiSLIP against a raw socket", measure_blocks)
