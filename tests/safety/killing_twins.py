"""Real drivers on served twins, killed: the bench, the cells, and a matrix of seconds until dark.

    python -m tests.safety.killing_twins [INSTRUMENT ...] [--way WAY]

Three processes: `labqdl sim serve` has the twins, a program energises them and ends in some way, and this one asks the
simulated world, by its control port, what leaves the fibres and connectors.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labqdl.clock import SystemClock
from labqdl.safety import Recipe, UnsafeFile, make_recorded_safe
from labqdl.safety.fresh import make_safe_afresh
from tests.safety.killing import BENCH, LONG, ROOT, is_alive, until

DARK_POWER = 1e-9
"""W; a closed shutter leaks 100 dB below 1 mW."""
DARK_VOLTS = 1e-3
DARK_WITHIN = 2.0
QUICK = {"deadline": 1.5, "effort": 0.8, "watchdog_effort": 1.5}
"""Patience with instruments that will never be safe, for tests."""


@dataclass(frozen=True)
class Kind:
    """An instrument of the bench: its twin, the road to it, and the driver (entry point) with its arguments.

    `outputs`: ports that count (None: all); `seeded`: light shines in; `blind`: why nobody can tell that it stays on.
    """

    twin: str
    road: str
    driver: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    arguments: Mapping[str, object] = field(default_factory=dict)
    outputs: frozenset[str] | None = None
    seeded: bool = False
    blind: str = ""

    @property
    def entry_point(self) -> str:
        """Name of the driver."""
        return self.driver or self.twin


KINDS: dict[str, Kind] = {
    "itla": Kind("oif-itla", "pty", options={"enable_time": 0.3, "tune_time": 0.1, "power_time": 0.1}),
    "koheras": Kind("nkt-koheras", "pty"),
    "tsl": Kind("santec-tsl", "socket", options={"diode_time": 0.3}),
    "edfa": Kind("amonics-edfa", "pty", options={"soft_start": 0.2, "activation": 0.1}, seeded=True),
    "mbx": Kind("thorlabs-mbx", "pty", options={"sweep_time": 0.2}, outputs=frozenset({"bias"})),
    "k33500": Kind("keysight-33500", "hislip"),
    "k33500-socket": Kind("keysight-33500", "socket"),
    "awg": Kind("tektronix-awg", "hislip"),
    "k2400": Kind("keithley-2400", "pty"),
    "qontrol": Kind("qontrol", "pty", options={"load": 100.0, "noise": 0.0}),
    "lock": Kind("labqdl-lockbox", "socket", outputs=frozenset({"actuator"})),
    "pitaya": Kind("redpitaya", "socket", "redpitaya-generator"),
    "pitaya-source": Kind("redpitaya", "socket", "redpitaya-source", blind="the board does not tell its slow outputs"),
    "pitaya-io": Kind("redpitaya", "socket", "redpitaya-io"),
    "n77": Kind("keysight-n77", "hislip", seeded=True),
}
ALL = "everything"
"""All of them, in one program."""


@dataclass(frozen=True)
class Way:
    """A way out: what the program does, its signal, its exit code, and what is wrong with the instrument.

    `fault`: "lost" (the connection drops, a new one is accepted), "ignore" (one message, without a sign), "vanish",
    "stay-on", "sessions" (one at a time).
    `full`: nothing can be written. `dark`, `entries`: whether it goes dark, and stands in the UNSAFE file.
    """

    end: str
    number: int | None
    code: int
    fault: str = ""
    full: bool = False
    dark: bool = True
    entries: bool = False


WAYS: dict[str, Way] = {
    "exception": Way("fail", None, 1),
    "ctrl-c": Way("read", signal.SIGINT, -signal.SIGINT),
    "sigterm": Way("read", signal.SIGTERM, 128 + signal.SIGTERM),
    "sigkill": Way("read", signal.SIGKILL, -signal.SIGKILL),
    "sigkill, one session": Way("read", signal.SIGKILL, -signal.SIGKILL, "sessions"),
    "connection lost": Way("fail", None, 1, "lost"),
    "message lost": Way("fail", None, 1, "ignore"),
    "gone": Way("fail", None, 70, "vanish", dark=False, entries=True),
    "gone, sigkill": Way("wait", signal.SIGKILL, -signal.SIGKILL, "vanish", dark=False, entries=True),
    "refuses": Way("fail", None, 70, "stay-on", dark=False, entries=True),
    "refuses, sigkill": Way("wait", signal.SIGKILL, -signal.SIGKILL, "stay-on", dark=False, entries=True),
    "full disk": Way("fail", None, 1, full=True),
    "full disk, sigkill": Way("read", signal.SIGKILL, -signal.SIGKILL, full=True),
    "full disk, refuses": Way("fail", None, 70, "stay-on", full=True, dark=False),
}
"""By hand from what is promised, not from what the code does."""


def promised(row: str, way: str) -> bool:
    """Whether the cell is promised anything.

    What reports nothing is believed. And where all of them lose a message at once, each is waited for in its turn, so
    that their order stays: that takes longer than 2 s for fourteen.
    """
    blind = row in KINDS and KINDS[row].blind
    return not (blind and WAYS[way].fault == "stay-on") and (row, way) != (ALL, "message lost")


def members(row: str, way: str) -> list[str]:
    """The instruments of a row; among all of them, those that can tell."""
    if row != ALL:
        return [row]
    return [name for name, kind in KINDS.items() if not (kind.blind and WAYS[way].fault == "stay-on")]


class Bench:
    """The served twins, seen from outside."""

    def __init__(self, told: Mapping[str, Any], control: socket.socket) -> None:
        self.resources = {one["name"]: str(one["resources"][0]) for one in told["instruments"]}
        self._control = control
        self._lines = control.makefile("rb")
        self.watchdogs: list[int] = []

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request to the control port."""
        self._control.sendall(json.dumps(request).encode() + b"\n")
        reply: dict[str, Any] = json.loads(self._lines.readline())
        assert reply.pop("ok"), reply
        return reply

    def lit(self, names: Sequence[str]) -> set[str]:
        """Those from which light or voltage comes now."""
        found = set()
        for name in names:
            wanted = KINDS[name].outputs
            light = self.ask(do="light", target=name)["outputs"]
            volts = self.ask(do="voltage", target=name)["outputs"]
            powers = [one["power"] > DARK_POWER for key, one in light.items() if wanted is None or key in wanted]
            levels = [
                max(abs(one["lowest"]), abs(one["highest"])) > DARK_VOLTS
                for key, one in volts.items()
                if wanted is None or key in wanted
            ]
            if any(powers + levels):
                found.add(name)
        return found

    def recipe(self, name: str) -> Recipe:
        """How the driver of one of them is made."""
        kind = KINDS[name]
        return Recipe(kind.entry_point, self.resources[name], name, arguments=dict(kind.arguments))

    def given(self, names: Sequence[str]) -> dict[str, tuple[str, str, Mapping[str, object]]]:
        """The same for the program."""
        return {name: (KINDS[name].entry_point, self.resources[name], KINDS[name].arguments) for name in names}


def bench_table() -> str:
    """What `labqdl sim serve` gets."""
    lines = ["[bench]", "seed = 14"]
    for name, kind in KINDS.items():
        lines += [f"[instruments.{name}]", f'twin = "{kind.twin}"', f'routes = ["{kind.road}"]']
        options = ", ".join(f"{key} = {json.dumps(value)}" for key, value in kind.options.items())
        lines += [f"options = {{ {options} }}"] if options else []
    return "\n".join(lines) + "\n"


@contextmanager
def served(folder: Path) -> Iterator[Bench]:
    """The bench, served by another process; no watchdog may be left at the end."""
    table = folder / "bench.toml"
    table.write_text(bench_table(), encoding="utf-8")
    command = [sys.executable, "-m", "labqdl.cli", "sim", "serve", str(table), "--json", "--control", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            with socket.create_connection(("127.0.0.1", told["control"]), timeout=LONG) as control:
                made = Bench(told, control)
                for name, kind in KINDS.items():
                    if kind.seeded:
                        made.ask(do="shine", target=name, power=1e-3)
                yield made
        finally:
            process.terminate()
    left = [pid for pid in made.watchdogs if not until(lambda pid=pid: not is_alive(pid), 10.0)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"watchdogs that stayed: {left}"


@dataclass
class Cell:
    """What became of one way out.

    `dark`: seconds until each instrument was dark for good; None where it shines still.
    """

    code: int
    error: str
    entries: list[str]
    dark: dict[str, float | None]
    again: bool = True

    @property
    def slowest(self) -> float:
        """Seconds until the last one was dark."""
        return max((seconds for seconds in self.dark.values() if seconds is not None), default=float("nan"))

    def problems(self, names: Sequence[str], way: Way) -> list[str]:
        """What is not as promised."""
        found = []
        if self.code != way.code:
            found.append(f"exit code {self.code}, expected {way.code}")
        for name in names:
            seconds = self.dark[name]
            if way.dark and (seconds is None or seconds > DARK_WITHIN):
                found.append(f"{name} " + ("stays lit" if seconds is None else f"dark after {seconds:.2f} s"))
            if not way.dark and seconds is not None:
                found.append(f"{name} is dark although it cannot be: the test tests nothing")
        if self.entries != (sorted(names) if way.entries else []):
            found.append(f"UNSAFE names {self.entries}")
        if not way.dark and "NOT confirmed safe" not in self.error:
            found.append("no words about it")
        if way.full and not way.dark and "could not be written" not in self.error:
            found.append("no words about the file")
        if not self.again:
            found.append("not made safe afterwards from its UNSAFE file")
        return found


def run(bench: Bench, names: Sequence[str], way: Way, folder: Path, *, recover: bool = True) -> Cell:
    """Let a program energise the instruments and come to its end; `recover`: make them dark afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    unsafe = folder / "UNSAFE"
    assert not bench.lit(names), "lit before it begins"
    if way.fault == "sessions":
        for name in names:
            bench.ask(do="fault", target=name, effect="sessions", value=1)
    argument: dict[str, Any] = {"instruments": bench.given(names), "end": way.end, "unsafe": str(unsafe)}
    argument["options"] = {} if way.dark else QUICK
    if way.full:
        argument["full"] = 16
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, str(BENCH / "twin_victim.py"), json.dumps(argument)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"LABQDL_STATE": str(folder), "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
    ) as process:
        try:
            return _end(bench, names, way, process, unsafe, recover)
        finally:
            if process.poll() is None:
                process.kill()
            bench.ask(do="clear")


def _end(
    bench: Bench, names: Sequence[str], way: Way, process: subprocess.Popen[bytes], unsafe: Path, recover: bool
) -> Cell:
    assert process.stdout is not None
    assert process.stdin is not None
    line = process.stdout.readline()
    assert line, process.communicate(timeout=LONG)[1].decode()
    watchdog = int(json.loads(line)["watchdog"])
    bench.watchdogs.append(watchdog)
    assert until(lambda: bench.lit(names) == set(names)), f"not on: {set(names) - bench.lit(names)}"
    for name in names if way.fault in ("lost", "ignore", "vanish", "stay-on") else ():
        effect = "vanish" if way.fault == "lost" else way.fault
        once = {"times": 1} if way.fault == "ignore" else {}
        number = bench.ask(do="fault", target=name, effect=effect, **once)["id"]
        if way.fault == "lost":
            bench.ask(do="remove", id=number)
    start = time.monotonic()
    if way.number is None:
        process.stdin.write(b"\n")
        process.stdin.flush()
    else:
        os.killpg(process.pid, way.number)
    dark: dict[str, float | None] = dict.fromkeys(names)
    while time.monotonic() < start + LONG:
        over = process.poll() is not None and not is_alive(watchdog)
        lit, now = bench.lit(names), time.monotonic() - start
        for name in names:
            dark[name] = None if name in lit else now if dark[name] is None else dark[name]
        if over:
            break
        SystemClock().sleep(0.01)
    error = process.communicate(timeout=LONG)[1].decode()
    entries = sorted({entry.name for entry in UnsafeFile(unsafe).entries()})
    cell = Cell(process.returncode, error, entries, dark)
    bench.ask(do="clear")
    if not recover:
        return cell
    if entries:
        make_recorded_safe(UnsafeFile(unsafe).entries())
        cell.again = not bench.lit(names)
    for name in bench.lit(names):
        make_safe_afresh(bench.recipe(name))
    return cell


def main() -> int:
    """Print the matrix; exit code 1 where something is not as promised."""
    parser = argparse.ArgumentParser(description="Seconds until dark: instruments x ways out.")
    parser.add_argument("instruments", nargs="*", metavar="INSTRUMENT")
    parser.add_argument("--way", action="append", choices=list(WAYS))
    given = parser.parse_args()
    rows = [name for name in (*KINDS, ALL) if not given.instruments or name in given.instruments]
    ways = {name: way for name, way in WAYS.items() if not given.way or name in given.way}
    failures = []
    write = sys.stdout.write
    write("".join(f"{number:2}: {name}\n" for number, name in enumerate(ways, 1)))
    write(" " * 16 + "".join(f"{number:>8}" for number in range(1, len(ways) + 1)) + "\n")
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as bench:
        for row in rows:
            write(f"{row:16}")
            for number, (word, way) in enumerate(ways.items()):
                if not promised(row, word):
                    write(f"{'-':>8}")
                    continue
                names = members(row, word)
                try:
                    cell = run(bench, names, way, Path(folder) / row / str(number))
                    problems = cell.problems(names, way)
                    shown = f"{cell.slowest:.2f}" if way.dark else "70" if cell.code == 70 else "UNSAFE"
                except AssertionError as error:
                    problems, shown = [str(error)], ""
                failures += [f"{row} / {word}: {problem}" for problem in problems]
                write(f"{shown + '!' * bool(problems):>8}")
                sys.stdout.flush()
            write("\n")
    write("".join(f"{failure}\n" for failure in failures))
    write("seconds until dark; 70 or UNSAFE: told that it is not; !: not as promised; -: nothing promised\n")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
