"""Worlds, victims and the hunt for orphans, for the tests of this room."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labqdl.clock import SystemClock

BENCH = Path(__file__).parent / "bench"
ROOT = Path(__file__).parents[2]
LONG = 60.0
"""Seconds after which something that must end has not."""
_TICK = 0.01


def until(condition: Any, timeout: float = LONG) -> bool:
    """Whether the condition came true."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        SystemClock().sleep(_TICK)
    return True


def is_alive(pid: int) -> bool:
    """Whether there is a process of that number that is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


@dataclass
class World:
    """The fake instruments, seen from outside."""

    ports: dict[str, int]
    process: subprocess.Popen[bytes]
    control: socket.socket
    watchdogs: list[int] = field(default_factory=list)
    victims: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def ask(self, command: str) -> Any:
        self.control.sendall(command.encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            data += self.control.recv(1 << 16)
        return json.loads(data)

    def lit(self) -> set[str]:
        """Names of the lamps that shine now."""
        return {name for name, (lit, _) in self.ask("state").items() if lit}

    def changed(self) -> dict[str, float]:
        """When each lamp last went on or off, on the system's monotonic clock."""
        return {name: moment for name, (_, moment) in self.ask("state").items()}


@contextmanager
def world(kinds: Mapping[str, str]) -> Iterator[World]:
    """A world with these lamps; no watchdog of a victim may be left at its end."""
    command = [sys.executable, str(BENCH / "fake_world.py"), json.dumps(dict(kinds))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", ports.pop("")), timeout=LONG) as control:
            made = World(ports, process, control)
            try:
                yield made
            finally:
                for victim in made.victims:
                    victim.kill()
                    victim.communicate()
                assert process.stdin is not None
                process.stdin.close()
                left = [pid for pid in made.watchdogs if not until(lambda pid=pid: not is_alive(pid), 40.0)]
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
        process.wait(LONG)
    assert not left, f"watchdogs that stayed: {left}"


@dataclass
class Ended:
    """How a victim ended."""

    code: int
    error: str
    unsafe: Path
    killed_at: float

    @property
    def entries(self) -> list[str]:
        """Names in the UNSAFE file; none where there is no file."""
        if not self.unsafe.exists():
            return []
        return sorted(entry["name"] for entry in json.loads(self.unsafe.read_text())["entries"])


class Victim:
    """A program that has switched on the lamps of a world."""

    def __init__(self, scene: World, folder: Path, end: str, *, guard: str = "stack", **given: Any) -> None:
        self.scene = scene
        folder.mkdir(exist_ok=True)
        self.unsafe = folder / "UNSAFE"
        lamps = {name: port for name, port in scene.ports.items() if name != "meter"}
        argument = json.dumps({"ports": lamps, "end": end, "guard": guard, "unsafe": str(self.unsafe)} | given)
        self.process = subprocess.Popen(
            [sys.executable, str(BENCH / "victim.py"), argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"LABQDL_STATE": str(folder), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,
        )
        scene.victims.append(self.process)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate(timeout=LONG)[1].decode()
        self.watchdog: int | None = json.loads(line)["watchdog"]
        if self.watchdog is not None:
            scene.watchdogs.append(self.watchdog)
        # The last command has no reply: the world may be about to read it.
        assert until(lambda: scene.lit() == lamps.keys()), scene.lit()
        self.killed_at = time.monotonic()

    def go(self) -> None:
        """Let it come to its own end."""
        self.killed_at = time.monotonic()
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def send(self, *numbers: int, gap: float = 0.3) -> None:
        """Send signals to its whole process group, as a terminal does."""
        self.killed_at = time.monotonic()
        for index, number in enumerate(numbers):
            if index:
                SystemClock().sleep(gap)
            os.killpg(self.process.pid, number)

    def ended(self) -> Ended:
        """Wait for its end and its watchdog's."""
        text = self.process.communicate(timeout=LONG)[1].decode()
        if self.watchdog is not None:
            watchdog = self.watchdog
            assert until(lambda: not is_alive(watchdog), LONG), "the watchdog stays"
        return Ended(self.process.returncode, text, self.unsafe, self.killed_at)
