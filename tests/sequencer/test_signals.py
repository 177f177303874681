from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from labqdl.sequencer import stop_on_signals


class Target:
    def __init__(self, alive: bool = True) -> None:
        self.alive = alive
        self.asked: list[str] = []

    def request_stop(self) -> bool:
        self.asked.append("stop")
        return self.alive

    def abort(self) -> bool:
        self.asked.append("abort")
        return self.alive


SIGNALS = [number for name in ("SIGINT", "SIGTERM", "SIGBREAK") if (number := getattr(signal, name, None)) is not None]


@pytest.mark.parametrize("number", SIGNALS)
def test_first_a_request_then_force(number: signal.Signals) -> None:
    target = Target()
    before = signal.getsignal(number)
    with stop_on_signals(target):
        signal.raise_signal(number)
        assert target.asked == ["stop"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert target.asked == ["stop", "abort"]
    assert signal.getsignal(number) is before


def test_nothing_left_to_stop() -> None:
    target = Target(alive=False)
    with stop_on_signals(target), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_handlers_come_back_after_an_error() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(LookupError), stop_on_signals(Target()):
        raise LookupError
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        target = Target()
        with stop_on_signals(target):
            signal.raise_signal(signal.SIGINT)
        assert target.asked == []
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_from_outside_of_python_become_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(signal, "getsignal", lambda number: None)
            with stop_on_signals(Target()):
                pass
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_are_let_be() -> None:
    found: list[Any] = []

    def work() -> None:
        with stop_on_signals(Target()):
            found.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


RUNNING = """
import sys
from dataclasses import dataclass
from labqdl.sequencer import *

class Tell(Command):
    pass

def say(word):
    print(word, flush=True)

def plan():
    say("ready")
    try:
        while True:
            yield Checkpoint()
            yield Command()
    finally:
        yield Tell()

engine = Engine({Tell: lambda _: say("dark"), Command: lambda _: None})
if sys.argv[1] == "paused":
    def observe(event):
        if event.state is EngineState.PAUSED:
            say("paused")
    engine = Engine({Tell: lambda _: say("dark"), Command: lambda _: engine.request_pause()}, observer=observe)
with stop_on_signals(engine):
    try:
        engine.run(plan())
    except StopRequested as stop:
        say(engine.state.value)
        sys.exit(stop.exit_code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no signal can be sent to one process on Windows")
@pytest.mark.parametrize("mode", ["running", "paused"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_real_signal_stops_a_real_process_cleanly(mode: str, number: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", RUNNING, mode], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while process.stdout.readline().strip() not in ("ready" if mode == "running" else "paused",):
        pass
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert output.split()[-2:] == ["dark", "stopped"]
    assert process.returncode == 130
