"""A bench with one well-known SCPI instrument, and ways to open it on every road."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pyvisa

from labqdl.clock import Clock, ManualClock
from labqdl_sim.bench import Bench
from labqdl_sim.routes.visa import SimVisaLibrary
from labqdl_sim.scpi import (
    Block,
    Boolean,
    Choice,
    Integer,
    Many,
    Number,
    Param,
    Raw,
    ScpiError,
    ScpiTwin,
    Text,
    command,
    query,
)  # fmt: skip
from labqdl_sim.serve import serve
from labqdl_sim.tokens import block

no_pty = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals on Windows")
ROADS = ["inproc", "socket", "hislip", pytest.param("pty", marks=no_pty)]


class Bed(ScpiTwin):
    """One of everything that an SCPI instrument can have."""

    model = "BED"
    suffixes = {"ch": (1, 2)}  # noqa: RUF012
    queue_depth = 4

    def setup(self) -> None:
        self.loaded = b""
        self.triggers = 0

    def reset(self) -> None:
        self.codes: list[int] = []

    level = Param("SOURce<ch>:POWer[:LEVel][:IMMediate]", Number("DBM", (-10.0, 13.0)), 0.0, settle=0.2)
    wave = Param("SOURce<ch>:WAVelength[:CW]", Number("M", (1.5e-6, 1.6e-6)), 1.55e-6, operation=0.5)
    output = Param("OUTPut<ch>[:STATe]", Boolean(), False)
    shape = Param("FUNCtion", Choice("SINusoid", "SQUare", "DC"), "SIN")
    points = Param("TRACe:POINts", Integer((1, 100)), 10)
    label = Param("LABel", Text(), "none", kept=True)

    @query("READ<ch>:POWer?")
    def read_power(self, ch: int) -> float:
        return type(self).level.actual(self, self.now, ch)

    @query("NOISe?")
    def noise(self) -> list[float]:
        return [float(x) for x in self.generator("noise").standard_normal(3)]

    @command("TRACe:DATA", takes=[Text(), Block()])
    def upload(self, name: str, data: bytes) -> None:
        self.label, self.loaded = name, data

    @query("TRACe:DATA?")
    def download(self) -> bytes:
        return block(self.loaded)

    @command("TRACe:CODes", takes=[Many(Integer((-8, 7)))])
    def set_codes(self, *codes: int) -> None:
        self.codes = list(codes)

    @query("TRACe:CODes?")
    def get_codes(self) -> list[int]:
        return self.codes

    @command("ANY", takes=[Raw()])
    def anything(self, token: bytes) -> None:
        self.loaded = token

    @query("MATH:SUM?", takes=[Integer(), Integer()], least=1)
    def total(self, a: int, b: int = 1) -> int:
        return a + b

    @command("SWEep", passes=[3.0])
    @command("SWEep:FAST", passes=[1.0])
    def sweep(self, seconds: float) -> None:
        self.operate(seconds)

    @command("ACQuire:BLOCk")
    def block_until_trigger(self) -> None:
        self.hold(float("inf"))

    @command("CONFlict")
    def conflict(self) -> None:
        raise ScpiError(-221, "not now")

    def triggered(self, session: object) -> None:
        self.triggers += 1


def make_bench(clock: Clock | None = None, *, seed: int = 1, **options: Any) -> tuple[Bench, Bed]:
    """A bench with a `Bed` called "bed"."""
    bench = Bench(seed=seed, clock=ManualClock() if clock is None else clock)
    bed = bench.add(Bed, "bed", **options)
    assert isinstance(bed, Bed)
    return bench, bed


class Talk:
    """Text in, text out, on a bare session."""

    def __init__(self, twin: Any, *, exchange: bool = False) -> None:
        self.twin = twin
        self.session = twin.connect(exchange=exchange)

    def write(self, text: str | bytes) -> None:
        self.session.feed((text if isinstance(text, bytes) else text.encode("latin-1")) + b"\n")

    def read(self) -> str:
        replies = b"".join(reply.data for reply in self.session.replies)
        self.session.discard()
        return replies.decode("latin-1").removesuffix("\n")

    def ask(self, text: str | bytes) -> str:
        self.write(text)
        return self.read()

    def error(self) -> int:
        return int(self.ask("SYST:ERR?").split(",")[0])


@contextmanager
def opened(bench: Bench, name: str, road: str) -> Iterator[Any]:
    """A PyVISA resource of an instrument on one of the roads."""
    if road == "inproc":
        library = SimVisaLibrary.for_bench(bench)
        manager = pyvisa.ResourceManager(library)
        try:
            yield _open(manager, f"TCPIP0::{name}::inst0::INSTR")
        finally:
            manager.close()
            SimVisaLibrary.forget(bench)
        return
    bench.routes[name] = (road,)
    with serve(bench) as served:
        manager = pyvisa.ResourceManager("@py")
        instrument = _open(manager, served.resource(name))
        try:
            yield instrument
        finally:
            instrument.close()


def _open(manager: pyvisa.ResourceManager, resource: str) -> Any:
    return manager.open_resource(resource, read_termination="\n", write_termination="\n", timeout=3000)
