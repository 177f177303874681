"""Exchanges with an instrument on loopback, against a raw socket, pyvisa-py, PyMeasure and QCoDeS."""

from __future__ import annotations

import importlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Benchmark, Note, Options, Ratio, Result, interleave, not_installed
from benchmarks.wire_server import BLOCK_BYTES, NUMBER, SLOW_SECONDS
from labqdl.driver import Float, ScpiInstrument
from labqdl.transport import Line, Transport, gather, road_for

READS = 300
ROUNDS = 15
"""Rounds of readings for each repeat: short ones, so that what disturbs one case disturbs its neighbours as well."""
BLOCKS = 20
SWEEPS = 50
INSTRUMENTS = 4
READ_TARGET = 1 / 0.85
PROPERTY = "a property of a labqdl driver"
BLOCK_TARGET = 1 / 0.8
PARALLEL_TARGET = 1 / 3.5

Read = Callable[[], float]


@contextmanager
def instrument() -> Iterator[int]:
    """The port of an instrument in another process."""
    command = [sys.executable, "-m", "benchmarks.wire_server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


def name_of(port: int) -> str:
    return f"TCPIP0::127.0.0.1::{port}::SOCKET"


def raw_socket(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def raw_read(connection: socket.socket) -> Read:
    """What any program must do: send, receive, and make a number of it."""

    def read() -> float:
        connection.sendall(b"POW?\n")
        return float(connection.recv(4096))

    return read


def raw_block(connection: socket.socket) -> Callable[[], Any]:
    def read() -> Any:
        connection.sendall(b"CURV?\n")
        start = connection.recv(4096)
        header = 2 + int(start[1:2])
        size = int(start[2:header])
        data = np.empty(size + 1, np.uint8)
        have = len(start) - header
        data[:have] = np.frombuffer(start, np.uint8, have, header)
        view = data.data
        while have <= size:
            have += connection.recv_into(view[have:])
        return data[:size].view(np.float32)

    return read


class Meter(ScpiInstrument):
    """A driver with one declared quantity."""

    maker, models, sheet = "labqdl", ("bench",), ""
    power = Float("POW?", unit="W", doc="Measured power.")

    def safe_state(self) -> None:
        """It emits nothing."""


def driver_of(port: int, stack: ExitStack) -> Read:
    """What a program does that reads a property of a driver in a loop."""
    meter = Meter(name_of(port), name="meter")
    meter.open()
    stack.callback(meter.close)
    return lambda: meter.power


def transport_to(port: int) -> Transport:
    return Transport(road_for(name_of(port)), Line(), name="meter", resource=name_of(port))


def pyvisa_py(port: int, stack: ExitStack) -> Any:
    pyvisa = importlib.import_module("pyvisa")
    manager = pyvisa.ResourceManager("@py")
    found = manager.open_resource(name_of(port), read_termination="\n", write_termination="\n")
    stack.callback(found.close)
    return found


def pymeasure(port: int, stack: ExitStack) -> Read:
    instruments = importlib.import_module("pymeasure.instruments")
    adapters = importlib.import_module("pymeasure.adapters")

    class Meter(instruments.Instrument):  # type: ignore[misc, name-defined]
        power = instruments.Instrument.measurement("POW?", "Measure the power in W.")

    adapter = adapters.VISAAdapter(name_of(port), visa_library="@py", read_termination="\n", write_termination="\n")
    meter = Meter(adapter, "meter", includeSCPI=False)
    stack.callback(adapter.close)
    return lambda: float(meter.power)


def qcodes(port: int, stack: ExitStack) -> Read:
    visa = importlib.import_module("qcodes.instrument")
    meter = visa.VisaInstrument("meter", name_of(port), visalib="@py", terminator="\n", device_clear=False)
    meter.add_parameter("power", get_cmd="POW?", get_parser=float)
    stack.callback(meter.close)
    return lambda: float(meter.power())


def many(work: Callable[[], object], count: int) -> Callable[[], None]:
    def repeat() -> None:
        for _ in range(count):
            work()

    return repeat


def measure(options: Options) -> Iterator[Result]:
    reads = max(round(READS * options.scale), 20)
    with instrument() as port, ExitStack() as stack:
        raw = stack.enter_context(raw_socket(port))
        ours = stack.enter_context(transport_to(port))
        visa = pyvisa_py(port, stack)
        cases: dict[str, Read] = {
            "raw": raw_read(raw),
            PROPERTY: driver_of(port, stack),
            "labqdl": lambda: float(ours.query(b"POW?")),
            "pyvisa-py": lambda: float(visa.query("POW?")),
        }
        missing: list[Note] = []
        for label, peer in (("PyMeasure", pymeasure), ("QCoDeS", qcodes)):
            try:
                cases[label] = peer(port, stack)
            except ImportError:
                missing.append(not_installed(label, label.lower()))
        assert all(read() == float(NUMBER) for read in cases.values())
        times = interleave({label: many(read, reads) for label, read in cases.items()}, options.repeats * ROUNDS)
        for label in list(cases)[1:]:
            yield Ratio(
                f"one reading, {label} to a raw socket",
                "question and number over loopback; labqdl with lock, deadline, look for stale bytes and traffic ring; "
                "a property also with its declaration and a strict reading of the number",
                1,
                times[label].each(reads),
                times["raw"].each(reads),
                READ_TARGET if label in (PROPERTY, "labqdl") else None,
            )
        yield from missing
        yield from _blocks(options, raw, ours, visa)
        yield from _parallel(options, port)


def _blocks(options: Options, raw: socket.socket, ours: Transport, visa: Any) -> Iterator[Result]:
    blocks = max(round(BLOCKS * options.scale), 1)
    cases: dict[str, Callable[[], Any]] = {
        "raw": raw_block(raw),
        "labqdl": lambda: ours.query_block(b"CURV?", np.float32, timeout=10.0),
        "pyvisa-py": lambda: visa.query_binary_values("CURV?", "f", container=np.ndarray, data_points=BLOCK_BYTES // 4),
    }
    assert all(len(read()) == BLOCK_BYTES // 4 for read in cases.values())
    times = interleave({label: many(read, blocks) for label, read in cases.items()}, options.repeats)
    for label in list(cases)[1:]:
        yield Ratio(
            f"block of 4 MB, {label} to a raw socket",
            "IEEE 488.2 block into a numpy array; raw: header first, then recv_into",
            1,
            times[label].each(blocks),
            times["raw"].each(blocks),
            BLOCK_TARGET if label == "labqdl" else None,
        )


def _parallel(options: Options, port: int) -> Iterator[Result]:
    sweeps = max(round(SWEEPS * options.scale), 2)
    with ExitStack() as stack:
        transports = [stack.enter_context(transport_to(port)) for _ in range(INSTRUMENTS)]
        calls = [partial(one.query, b"SLOW?") for one in transports]
        times = interleave(
            {
                "together": many(lambda: gather(*calls), sweeps),
                "one by one": many(lambda: [call() for call in calls], sweeps),
            },
            options.repeats,
        )
        yield Ratio(
            f"{INSTRUMENTS} instruments of {SLOW_SECONDS * 1e3:g} ms, together to one by one",
            "one reading of each, by gather() on a thread an instrument against a loop",
            INSTRUMENTS,
            times["together"].each(sweeps),
            times["one by one"].each(sweeps),
            PARALLEL_TARGET,
        )


TRANSPORT = Benchmark("transport", "exchanges with instruments over loopback, against other stacks", measure)
