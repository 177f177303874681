"""Instrument time that goes by messages: the same messages give the same bits on any road."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pyvisa

from labqdl.config.station import load_station_file
from labqdl_sim.bench import Bench
from labqdl_sim.ports import Light, LightIn
from labqdl_sim.routes.visa import SimVisaLibrary
from labqdl_sim.routes.waiting import wait_until, wall_seconds
from labqdl_sim.serve import serve
from labqdl_sim.steps import STEP, HastyClock, Polls, StepClock

Ask = Callable[[str, str], bytes]


def bench() -> Bench:
    return Bench.from_table({
        "bench": {"clock": "steps", "seed": 5},
        "instruments": {
            "meter": {"twin": "thorlabs-pm100", "routes": ["socket"]},
            "awg": {"twin": "tektronix-awg", "routes": ["socket"]},
            "lock": {"twin": "labqdl-lockbox", "routes": ["socket"]},
        },
    })  # fmt: skip


def session(made: Bench) -> tuple[Any, Callable[[str], str]]:
    talk = made["meter"].connect()

    def ask(text: str) -> str:
        talk.feed(text.encode() + b"\n")
        if "?" not in text:
            return ""
        data, _ = talk.read(1 << 20)
        return bytes(data).decode().strip()

    return talk, ask


def test_each_message_is_a_step() -> None:
    made = bench()
    _, ask = session(made)
    for count in range(1, 6):
        ask(f"SENS:CORR:WAV {1540 + count}")
        assert made.clock.monotonic() == pytest.approx(count * STEP)


def test_what_a_message_takes_is_over_when_it_was_executed() -> None:
    made = bench()
    talk, ask = session(made)
    ask("SENS:AVER:COUN 1000")
    before = made.clock.monotonic()
    ask("READ?")  # 1000 samples of 3 ms
    assert made.clock.monotonic() == pytest.approx(before + STEP + 3.0)
    talk.feed(b"READ?\n")
    assert talk.ready_at() <= made.clock.monotonic()


def test_waiting_by_asking_gets_faster() -> None:
    made = bench()
    _, ask = session(made)
    ask("SENS:CORR:COLL:ZERO")  # takes 2 s
    asked = 0
    while ask("SENS:CORR:COLL:ZERO:STATE?") == "1":
        asked += 1
    assert 8 < asked < 20


def test_readings_that_differ_are_no_polls() -> None:
    polls = Polls()
    for number in range(5):
        assert polls.step(b"READ?", STEP) == STEP
        polls.heard(b"READ?", b"%d" % number)
    for power in (1, 1, 2, 4):
        assert polls.step(b"*OPC?", STEP) == (STEP if power == 1 else power * STEP)
        polls.heard(b"*OPC?", b"0")
    assert polls.step(b"OUTP ON", STEP) == STEP
    polls.heard(b"OUTP ON", b"")
    assert polls.step(b"*OPC?", STEP) == STEP


def test_nobody_waits() -> None:
    clock = StepClock()
    clock.sleep(10.0)
    assert clock.monotonic() == 0.0
    clock.reach(1.0)
    clock.reach(0.5)
    assert clock.monotonic() == 1.0
    hasty = HastyClock()
    start = hasty.monotonic()
    hasty.sleep(1000.0)
    assert 1000.0 <= hasty.monotonic() - start < 1010.0
    assert isinstance(bench().driver_clock, HastyClock)


SCRIPT = [
    ("laser", "shine"),
    ("meter", "SENS:AVER:COUN 10"),
    ("meter", "READ?"),
    ("lock", "LOCK 1"),
    ("lock", "LOCK:COND?"),
    ("awg", 'WLIS:WAV:NEW "a",2400'),
    ("meter", "READ?"),
    ("awg", 'SOUR1:CASS:WAV "a"'),
    ("awg", "AWGC:RUN"),
    *[("awg", "AWGC:RST?")] * 12,
    *[("lock", "LOCK:COND?")] * 10,
    ("lock", "ACT:VOLT?"),
    ("meter", "MEAS:POW?"),
]


def play(made: Bench, ask: Ask) -> list[bytes]:
    answers = []
    for name, message in SCRIPT:
        if message == "shine":
            fibre = made["lock"].ports["input"]
            assert isinstance(fibre, LightIn)
            fibre.connect(lambda t: Light(1e-3, 1.55e-6))
            continue
        answers.append(ask(name, message))
    answers.append(repr(made.clock.monotonic()).encode())
    return answers


def over_sockets() -> list[bytes]:
    made = bench()
    with serve(made) as served:
        manager = pyvisa.ResourceManager("@py")
        opened = {
            name: manager.open_resource(
                served.resource(name, "SOCKET"), read_termination="\n", write_termination="\n", timeout=5000
            )
            for name in ("meter", "awg", "lock")
        }

        def ask(name: str, message: str) -> bytes:
            device: Any = opened[name]
            if "?" in message:
                return str(device.query(message)).encode()
            device.write(message)
            # A socket says nothing about when a message was executed; a reply of the same instrument does.
            return str(device.query("*IDN?")).encode()

        try:
            return play(made, ask)
        finally:
            for device in opened.values():
                device.close()


def in_process() -> list[bytes]:
    made = bench()
    manager = pyvisa.ResourceManager(SimVisaLibrary.for_bench(made))
    opened = {
        name: manager.open_resource(
            f"TCPIP0::{name}::5025::SOCKET" if name != "awg" else f"TCPIP0::{name}::4000::SOCKET",
            read_termination="\n", write_termination="\n", timeout=5000,
        )
        if name != "meter"
        else manager.open_resource("USB0::0x1313::0x8078::meter::INSTR", read_termination="\n")
        for name in ("meter", "awg", "lock")
    }  # fmt: skip

    def ask(name: str, message: str) -> bytes:
        device: Any = opened[name]
        if "?" in message:
            return str(device.query(message)).encode()
        device.write(message)
        return str(device.query("*IDN?")).encode()

    try:
        return play(made, ask)
    finally:
        SimVisaLibrary.forget(made)


def test_the_same_messages_give_the_same_bits_on_any_road() -> None:
    first = in_process()
    assert first == in_process()
    assert first == over_sockets()
    assert b"LOCKED" in first


def test_a_station_says_which_clock() -> None:
    made = Bench.from_station(load_station_file("loopback-1"))
    assert isinstance(made.clock, StepClock)
    assert np.isfinite(made.clock.monotonic())


def test_what_comes_unasked_is_waited_for() -> None:
    """A motor that says that it arrived: whoever reads until then moves the clock there, on every road."""
    made = Bench.from_table({"bench": {"clock": "steps"}, "instruments": {"meter": {"twin": "thorlabs-pm100"}}})
    talk = made["meter"].connect()
    talk.announce(b"arrived\n", 2.5)
    assert wall_seconds(made.clock, 2.5) == 0.0
    assert made.clock.monotonic() == pytest.approx(2.5)
    wait_until(made.clock, 1.0)
    wait_until(made.clock, 3.0)
    assert made.clock.monotonic() == pytest.approx(3.0)
    manager = pyvisa.ResourceManager(SimVisaLibrary.for_bench(made))
    try:
        device: Any = manager.open_resource("USB0::0x1313::0x8078::meter::INSTR", timeout=100)
        (session,) = [one for one in made["meter"].sessions if one is not talk]
        session.announce(b"here\n", 0.05)
        assert device.read() == "here\n"
        with pytest.raises(pyvisa.errors.VisaIOError):
            device.read()  # times out at once
    finally:
        SimVisaLibrary.forget(made)
