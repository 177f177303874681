"""Every way out of a program that has light on, in real processes; the lamps themselves are asked.

The expectations were written by hand, from what is promised: dark within 2 s whatever happens to the program; exit
code 70, a message and an UNSAFE file where an instrument is gone, deaf or stubborn; the others go dark all the same.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from labqdl.errors import InputError
from labqdl.safety.station_lock import StationLock
from tests.safety.killing import LONG, Ended, Victim, World, is_alive, until, world

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups of POSIX")

DARK_WITHIN = 2.0
QUICK = {"deadline": 1.0, "effort": 0.6, "watchdog_effort": 1.0}
"""Patience with instruments that will never be safe, for tests."""

WAYS: dict[str, tuple[str, tuple[int, ...], int]] = {
    "returns": ("end", (), 0),
    "exception": ("fail", (), 1),
    "ctrl-c in exchanges": ("read", (signal.SIGINT,), -signal.SIGINT),
    "ctrl-c while waiting": ("wait", (signal.SIGINT,), -signal.SIGINT),
    "sigterm": ("wait", (signal.SIGTERM,), 128 + signal.SIGTERM),
    "terminal closed": ("read", (signal.SIGHUP,), 128 + signal.SIGHUP),
    "sigkill": ("read", (signal.SIGKILL,), -signal.SIGKILL),
    "sigquit": ("wait", (signal.SIGQUIT,), -signal.SIGQUIT),
}
"""What the victim does, the signals that it gets, and its exit code where everything went dark."""
FAULTS = {
    "none": "good",
    "single session": "single",
    "slow": "slow",
    "deaf": "deaf",
    "stubborn": "stubborn",
    "gone": "good",
}
"""What is wrong with the pump, which comes first in the safe order: the laser comes last."""
UNSAFE_FAULTS = ("deaf", "stubborn", "gone")


def end_of(way: str, fault: str, scene: World, folder: Path, **given: Any) -> Ended:
    end, signals, _ = WAYS[way]
    if fault in UNSAFE_FAULTS and given.get("guard") != "script":
        given.setdefault("options", QUICK)
    victim = Victim(scene, folder, "wait" if fault in ("deaf", "gone") and end == "read" else end, **given)
    if fault == "gone":
        scene.ask("gone pump")
    if signals:
        victim.send(*signals)
    else:
        victim.go()
    return victim.ended()


def check(way: str, fault: str, folder: Path, **given: Any) -> None:
    """The promise, for one way out and one fault."""
    with world({"pump": FAULTS[fault], "bias": "good", "laser": "good"}) as scene:
        ended = end_of(way, fault, scene, folder, **given)
        dark_at = {name: moment - ended.killed_at for name, moment in scene.changed().items()}
        if fault in UNSAFE_FAULTS:
            assert ended.code == (70 if WAYS[way][1] not in ((signal.SIGKILL,), (signal.SIGQUIT,)) else WAYS[way][2]), (
                ended
            )
            assert "NOT confirmed safe" in ended.error
            assert "pump" in ended.error
            if given.get("full"):
                assert "could not be written" in ended.error
                assert ended.entries == []
            else:
                assert ended.entries == ["pump"], ended
            if fault in ("stubborn", "gone"):
                assert scene.lit() == {"pump"}
            late = max(dark_at["bias"], dark_at["laser"])
        else:
            assert ended.code == WAYS[way][2], ended
            assert ended.entries == []
            assert scene.lit() == set()
            assert dark_at["pump"] < dark_at["laser"] or fault == "slow"
            late = max(dark_at.values())
        print(f"{way} / {fault} / {given}: dark after {late:.3f} s")
        assert late < DARK_WITHIN


SHORT: list[tuple[str, str, dict[str, Any]]] = [
    ("returns", "none", {}),
    ("exception", "stubborn", {}),
    ("exception", "none", {"guard": "script"}),  # a script without station has a guard
    ("ctrl-c in exchanges", "single session", {}),
    ("sigterm", "gone", {}),
    ("sigkill", "single session", {}),
    ("exception", "gone", {"full": 16}),
]


def test_whatever_dies_goes_dark(tmp_path: Path) -> None:
    """Three worlds at a time: each mostly waits for processes to begin and to end."""
    with ThreadPoolExecutor(3) as pool:
        cells = {
            f"{way} / {fault} / {given}": pool.submit(check, way, fault, tmp_path / str(index), **given)
            for index, (way, fault, given) in enumerate(SHORT)
        }
    failed = {cell: error for cell, done in cells.items() if (error := done.exception()) is not None}
    assert not failed, "\n".join(f"{cell}: {error}" for cell, error in failed.items())


@pytest.mark.soak
@pytest.mark.parametrize("guard", ["stack", "script"])
@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.parametrize("way", list(WAYS))
def test_every_way_out_with_every_fault(way: str, fault: str, guard: str, tmp_path: Path) -> None:
    check(way, fault, tmp_path, guard=guard)


@pytest.mark.soak
@pytest.mark.parametrize("way", ["exception", "sigkill"])
def test_full_disk(way: str, tmp_path: Path) -> None:
    check(way, "gone", tmp_path, full=16)


def test_second_ctrl_c_makes_safe_at_once(tmp_path: Path) -> None:
    """A program that does not heed the first one, nor the second, is dark after the second."""
    with world({"pump": "good", "laser": "good"}) as scene:
        victim = Victim(scene, tmp_path, "linger")
        assert victim.process.stdout is not None
        victim.process.stdout.readline()
        victim.send(signal.SIGINT)
        assert not until(lambda: scene.lit() != {"pump", "laser"}, 0.3)
        victim.send(signal.SIGINT)
        assert until(lambda: not scene.lit(), 3 * DARK_WITHIN)
        assert victim.process.poll() is None
        assert max(scene.changed().values()) - victim.killed_at < DARK_WITHIN
        victim.send(signal.SIGKILL)
        assert "once more to make everything safe" in victim.ended().error


def test_watchdog_outlives_what_ends_its_parent(tmp_path: Path) -> None:
    with world({"laser": "good"}) as scene:
        victim = Victim(scene, tmp_path, "wait")
        assert victim.watchdog is not None
        assert os.getsid(victim.watchdog) != os.getsid(victim.process.pid)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(victim.watchdog, number)
        assert not until(lambda: not is_alive(victim.watchdog or 0), 0.2)
        victim.send(signal.SIGKILL)
        victim.ended()
        assert scene.lit() == set()


def test_fork_does_not_keep_the_watchdog_waiting(tmp_path: Path) -> None:
    with world({"laser": "good"}) as scene:
        victim = Victim(scene, tmp_path, "fork")
        os.kill(victim.process.pid, signal.SIGKILL)
        assert until(lambda: not scene.lit(), 3 * DARK_WITHIN)
        assert scene.changed()["laser"] - victim.killed_at < DARK_WITHIN
        os.killpg(victim.process.pid, signal.SIGKILL)
        victim.ended()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the state of a process is read in /proc")
def test_process_that_stands_still_is_noticed(tmp_path: Path) -> None:
    """A missed heartbeat; the process is told when it wakes up."""
    with world({"laser": "good"}) as scene:
        victim = Victim(scene, tmp_path, "wait", options={"heartbeat": 0.5})
        victim.send(signal.SIGSTOP)
        stopped = time.monotonic()
        assert until(lambda: not scene.lit(), LONG)
        assert 0.3 < scene.changed()["laser"] - stopped < 3 * (0.5 + DARK_WITHIN)
        victim.send(signal.SIGCONT)
        status = Path(f"/proc/{victim.process.pid}/stat")
        # Before it sleeps again, the system may give the signal to another thread, which does not wake it.
        assert until(lambda: status.read_text().rpartition(")")[2].split()[0] == "S")
        victim.send(signal.SIGTERM)
        ended = victim.ended()
        assert "its heartbeat stopped" in ended.error


@pytest.mark.parametrize(
    ("kind", "entries"),
    [("good", []), pytest.param("stubborn", ["laser", "light path probe"], marks=pytest.mark.soak)],
)
@pytest.mark.parametrize("way", ["exception", pytest.param("sigkill", marks=pytest.mark.soak)])
def test_meter_confirms_darkness(kind: str, entries: list[str], way: str, tmp_path: Path) -> None:
    with world({"laser": kind, "meter": "good"}) as scene:
        end, signals, code = WAYS[way]
        victim = Victim(scene, tmp_path, "wait" if signals else end, meter=scene.ports["meter"], options=QUICK)
        victim.send(*signals) if signals else victim.go()
        ended = victim.ended()
        assert ended.entries == entries, ended
        assert ended.code == (70 if entries and not signals else code)


def test_nobody_takes_a_station_before_its_watchdog_is_done(tmp_path: Path) -> None:
    station = tmp_path / "station.toml"
    with world({"laser": "moment"}) as scene:
        victim = Victim(scene, tmp_path, "wait", station=str(station))
        with pytest.raises(InputError, match=f"this station is used by process {victim.process.pid} on"):
            StationLock(station)
        victim.send(signal.SIGKILL)
        words = f"this station is used by process {victim.watchdog} on"
        assert until(lambda: words in locked_by(station))
        victim.ended()
        with StationLock(station) as lock:
            assert lock.taken_over == ""


def locked_by(station: Path) -> str:
    try:
        StationLock(station).release()
    except InputError as error:
        return str(error)
    return ""


def test_single_matrix_size() -> None:
    """The matrix of the soak is whole."""
    assert len(list(itertools.product(WAYS, FAULTS, ("stack", "script")))) == 96
