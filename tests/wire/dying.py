"""Runs by the wire that die at a step: the served world, the ways, the cells, and a matrix of seconds until dark.

    python -m tests.wire.dying [STEP ...] [--way WAY]

Three processes: `labqdl sim serve loop-32` has the instruments, `labqdl run` or `labqdl resume` sends and dies, and
this one asks the optical world, by its control port, whether light leaves the laser and the sender.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labqdl.api.blocks import finished_blocks
from labqdl.clock import SystemClock
from labqdl.facts import CalibrationSet
from labqdl.records import RunFolder
from labqdl.safety import UnsafeFile, make_recorded_safe
from tests.safety.killing import LONG, ROOT, is_alive, until

STATION = "loop-32"
BENCH = Path(__file__).parent / "bench"
DARK_POWER = 1e-15
"""W behind the sender; a carrier between two shots has 1e-12 W."""
DARK_WITHIN = 2.0
"""s."""
SENT = ("fibre_out", "output")
"""Where light is asked for: all that anybody outside of the server can have."""
STEPS = ("calibrate", "encode", "set data", "arm", "transmit", "fetch", "verify", "record")
_TICK = 0.02


@dataclass(frozen=True)
class Way:
    """A way to die: the word, the signal, what becomes of an instrument, and what is promised.

    `codes`: exit codes that may be; `laser`: whether the laser goes dark as well; `unsafe`: names in the UNSAFE file;
    `later`: nothing shows before the block is over and recorded, and the 2 s begin there.
    """

    word: str = "go"
    number: int | None = None
    target: str = ""
    fault: str = ""
    codes: frozenset[int] = frozenset({1})
    laser: bool = True
    unsafe: tuple[str, ...] = ()
    later: bool = False


WAYS: dict[str, Way] = {
    "exception": Way("raise"),
    "ctrl-c": Way(number=signal.SIGINT, codes=frozenset({130}), later=True),
    "sigterm": Way(number=signal.SIGTERM, codes=frozenset({130, 128 + signal.SIGTERM}), later=True),
    "sigkill": Way(number=signal.SIGKILL, codes=frozenset({-signal.SIGKILL})),
    "gone": Way(target="awg_s", fault="vanish", codes=frozenset({70}), unsafe=("awg_s",)),
    "refuses": Way(
        "raise",
        target="laser",
        fault="stay-on",
        codes=frozenset({70}),
        laser=False,
        unsafe=("laser", "light path signal"),
    ),
    "full disk": Way("full", codes=frozenset({1, 2}), later=True),
}
"""By hand from what is promised.

A laser that stays on is behind two closed barriers, and the meter in front of them sees it. Without its generator a
run cannot go on, and nobody can tell whether that gives voltage still.
"""


class World:
    """The served instruments and their world, seen from outside."""

    def __init__(self, told: Mapping[str, Any], control: socket.socket) -> None:
        self.resources = {one["name"]: str(one["resources"][0]) for one in told["instruments"]}
        self._control, self._lines = control, control.makefile("rb")

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request to the control port."""
        self._control.sendall(json.dumps(request).encode() + b"\n")
        reply: dict[str, Any] = json.loads(self._lines.readline())
        assert reply.pop("ok"), reply
        return reply

    def lit(self) -> set[str]:
        """What shines now, of laser and sender."""
        found = set() if self.ask(do="light", target="laser")["dark"] else {"laser"}
        part, port = SENT
        if self.ask(do="world", part=part, light=port)["power"] > DARK_POWER:
            found.add("sender")
        return found


@contextmanager
def served() -> Iterator[World]:
    """`labqdl sim serve` of the station, with its control port."""
    command = [sys.executable, "-m", "labqdl.cli", "sim", "serve", STATION, "--json", "--control", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=_environment()) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            with socket.create_connection(("127.0.0.1", told["control"]), timeout=LONG) as control:
                yield World(told, control)
        finally:
            process.terminate()


def _environment(**more: str) -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"} | more


@dataclass
class Death:
    """How one process ended.

    `dark`: seconds from the blow, or from the end of its block, until laser and sender were dark for good; None where
    one shines still. `sent`: (layer, block) of all that it sent; `entries`: names in the UNSAFE file; `before`,
    `after`: finished blocks.
    """

    code: int
    words: str
    dark: dict[str, float | None]
    sent: list[tuple[int, int]]
    entries: list[str]
    before: set[int] = field(default_factory=set)
    after: set[int] = field(default_factory=set)

    def problems(self, way: Way | None) -> list[str]:
        """What is not as promised; without a way: as a run that comes to its end."""
        found = []
        if self.code not in ({0, 3, 4} if way is None else way.codes):
            found.append(f"exit code {self.code}: {self.words[-600:]}")
        twice = {block for _, block in self.sent} & self.before
        if twice:
            found.append(f"finished blocks {sorted(twice)} were sent again")
        if len(self.sent) != len(set(self.sent)):
            found.append("one process sent a layer twice")
        if not self.before <= self.after:
            found.append(f"finished blocks {sorted(self.before - self.after)} are gone")
        for name, seconds in self.dark.items():
            stays = way is not None and name == "laser" and not way.laser
            if stays and seconds is not None:
                found.append(f"{name} is dark although it cannot be: the test tests nothing")
            if not stays and (seconds is None or seconds > DARK_WITHIN):
                found.append(f"{name} " + ("stays lit" if seconds is None else f"dark after {seconds:.2f} s"))
        wanted = [] if way is None else sorted(way.unsafe)
        if self.entries != wanted:
            found.append(f"UNSAFE names {self.entries}, expected {wanted}")
        return found


class Victims:
    """Begins runs on a world, one after the other, and lets them die."""

    def __init__(self, world: World, folder: Path, calibrations: CalibrationSet | None) -> None:
        self.world, self.folder = world, folder
        self.path = folder / "run"
        """Folder of the run."""
        self.watchdogs: list[int] = []
        self._numbers = itertools.count()
        self._pid: int | None = None
        self._known: Path | None = None
        if calibrations is not None:
            self._known = folder / "known.json"
            self._known.write_text(json.dumps(calibrations.to_json()), encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, str(BENCH / "victim.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
            text=True,
        )

    def __enter__(self) -> Victims:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pid is not None:  # where a test gave up, it waits for its word still
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        left = [pid for pid in self.watchdogs if not until(lambda pid=pid: not is_alive(pid), 10.0)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, f"watchdogs that stayed: {left}"

    def finished(self) -> set[int]:
        """Blocks of the run that are on disk."""
        if not self.path.exists():
            return set()
        return set(finished_blocks(RunFolder.open(self.path)))

    def run(self, images: int, step: str | None = None, way: Way | None = None, block: int = 0) -> Death:
        """`labqdl run`, to its end or to its death at a step."""
        out = str(self.folder / "runs")
        arguments = ["run", "--station", STATION, "--images", str(images), "--block", "1", "--seed", "1", "--mu", "40",
                     "--out", out, "--calibrations", str(self.folder / "calibrations")]  # fmt: skip
        return self._one(arguments, step, way, block)

    def resume(self, step: str | None = None, way: Way | None = None, block: int = 0) -> Death:
        """`labqdl resume`, to its end or to its next death."""
        return self._one(["resume", str(self.path)], step, way, block)

    def _one(self, arguments: list[str], step: str | None, way: Way | None, block: int) -> Death:
        folder = self.folder / str(next(self._numbers))
        folder.mkdir()
        for name in ("told", "words", "go"):
            os.mkfifo(folder / name)
        before = self.finished()
        assert not self.world.lit(), "lit before it begins"
        told, words = (os.open(folder / name, os.O_RDONLY | os.O_NONBLOCK) for name in ("told", "words"))
        try:
            request = {
                "folder": str(folder),
                "arguments": arguments,
                "resources": self.world.resources,
                "calibrations": None if self._known is None or step == "calibrate" else str(self._known),
                "step": step,
                "block": block,
                "state": str(folder),
                "quick": way is not None and bool(way.unsafe),
            }
            death = self._end(_Reader(told), _Reader(words), request, folder, way)
        finally:
            os.close(told)
            os.close(words)
        if not self.path.exists():
            made = [one for one in (self.folder / "runs").glob("*") if one.is_dir()]
            if made:
                made[0].rename(self.path)
        death.before, death.after = before, self.finished()
        return death

    def _end(self, told: _Reader, words: _Reader, request: dict[str, Any], folder: Path, way: Way | None) -> Death:
        process, world = self.process, self.world
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        pid = self._pid = int(json.loads(process.stdout.readline())["pid"])
        watchdog: int | None = None
        blow = time.monotonic()
        if way is not None:
            assert until(lambda: told.has("at") or not is_alive(pid), LONG), "it does not come to its step"
            assert told.has("at"), f"it ends before its step: {words.text()}"
            watchdog = told.one("at")["watchdog"]
            self.watchdogs += [] if watchdog is None else [watchdog]
            assert world.lit() or request["step"] == "calibrate", "dark before its end"
            if way.fault:
                world.ask(do="fault", target=way.target, effect=way.fault)
            blow = time.monotonic()
            if way.number is not None:
                os.killpg(pid, way.number)
            if way.number != signal.SIGKILL:
                with (folder / "go").open("w") as word:
                    word.write(way.word + "\n")
        dark: dict[str, float | None] = dict.fromkeys(("laser", "sender"))
        while time.monotonic() < blow + LONG:
            over = not is_alive(pid) and (watchdog is None or not is_alive(watchdog))
            lit, now = world.lit(), time.monotonic() - blow
            for name in dark:
                dark[name] = None if name in lit else now if dark[name] is None else dark[name]
            told.take()
            words.take()
            if over:
                break
            SystemClock().sleep(_TICK)
        code = int(json.loads(process.stdout.readline())["code"])
        self._pid = None
        over_at = [float(one["over"]) - blow for one in told.all("over")]
        if way is not None and way.later and over_at and over_at[-1] > 0:
            dark = {
                name: None if seconds is None else max(seconds - over_at[-1], 0.0) for name, seconds in dark.items()
            }
        if way is None:
            # It came to its end: the world is dark when it has ended.
            dark = {name: None if seconds is None else 0.0 for name, seconds in dark.items()}
        unsafe = UnsafeFile(folder / "UNSAFE")
        entries = unsafe.entries()
        world.ask(do="clear")
        if entries:
            make_recorded_safe(entries)
        sent = [(int(one["sent"][0]), int(one["sent"][1])) for one in told.all("sent")]
        return Death(code, words.text(), dark, sent, sorted({one.name for one in entries}))


class _Reader:
    """What comes out of a named pipe."""

    def __init__(self, number: int) -> None:
        self._number, self._data = number, b""

    def take(self) -> None:
        """Read what is there."""
        try:
            while piece := os.read(self._number, 1 << 16):
                self._data += piece
        except BlockingIOError:
            pass

    def text(self) -> str:
        """All of it."""
        self.take()
        return self._data.decode(errors="replace")

    def all(self, key: str) -> list[dict[str, Any]]:
        """Lines with a key."""
        self.take()
        lines = self._data.split(b"\n")[:-1]
        return [one for one in map(json.loads, lines) if key in one]

    def has(self, key: str) -> bool:
        """Whether there is one."""
        return bool(self.all(key))

    def one(self, key: str) -> dict[str, Any]:
        """The last of them."""
        return self.all(key)[-1]


def promised(step: str, way: str) -> bool:
    """Whether the cell exists: what is calibrated is not recorded on a disk that a run could fill."""
    return (step, way) != ("calibrate", "full disk")


def main() -> int:
    """Print the matrix; exit code 1 where something is not as promised."""
    from tests.wire.benches import calibrated_bench

    parser = argparse.ArgumentParser(description="Seconds until dark: steps x ways to die.")
    parser.add_argument("steps", nargs="*", metavar="STEP")
    parser.add_argument("--way", action="append", choices=list(WAYS))
    given = parser.parse_args()
    ways = {name: way for name, way in WAYS.items() if not given.way or name in given.way}
    failures = []
    write = sys.stdout.write
    write(" " * 12 + "".join(f"{name:>12}" for name in ways) + "\n")
    with calibrated_bench() as small:
        known = small.calibrations
    with tempfile.TemporaryDirectory() as folder, served() as world:
        for step in STEPS:
            if given.steps and step not in given.steps:
                continue
            write(f"{step:12}")
            for number, (name, way) in enumerate(ways.items()):
                if not promised(step, name):
                    write(f"{'-':>12}")
                    continue
                place = Path(folder) / f"{step} {number}"
                place.mkdir()
                problems: list[str] = []
                with Victims(world, place, known) as victims:
                    try:
                        death = victims.run(2, step, way, block=1)
                        problems += death.problems(way)
                        shown = " ".join("lit" if one is None else f"{one:.2f}" for one in death.dark.values())
                        if step != "calibrate":
                            problems += victims.resume().problems(None)
                            problems += [] if victims.finished() == {0, 1} else ["not complete"]
                    except AssertionError as error:
                        problems, shown = [*problems, str(error)], ""
                failures += [f"{step} / {name}: {problem}" for problem in problems]
                write(f"{shown + '!' * bool(problems):>12}")
                sys.stdout.flush()
            write("\n")
    write("".join(f"{failure}\n" for failure in failures))
    write("seconds until dark, laser and sender; lit: stays so, as it must; !: not as promised\n")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
