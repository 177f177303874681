"""Simulated instruments for a command: in this process, or in one of their own behind the wire protocols."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labqdl.cli.table import opened, present
from labqdl.errors import InputError

if TYPE_CHECKING:
    from labqdl.config.station import StationFile
    from labqdl.station import Station

STARTING = 60.0
"""Seconds that a world may take until all its instruments listen."""
ENDING = 10.0


@contextmanager
def opened_by_wire(station: str, profile: str | None, /, *, arm: bool) -> Iterator[Station]:
    """The station open; instruments that its profile simulates are served by a process of their own.

    Drivers talk to them over TCP, HiSLIP and serial lines as to real ones. A profile that simulates some of the
    instruments and not all has the simulated ones in this process.
    """
    from labqdl.clock import HastyClock, SystemClock
    from labqdl.config.station import STEPS, load_station_file
    from labqdl.station import open_station

    file = load_station_file(present(station), profile)
    if not all(entry.simulated for entry in file.instruments.values()):
        with opened(station, profile, arm=arm) as table:
            yield table
        return
    with world(file.source) as resources:
        clock = HastyClock() if file.clock == STEPS else SystemClock()
        with open_station(station, profile, arm=arm, clock=clock, file=served(file, resources)) as table:
            yield table


@contextmanager
def opened_in_process(station: str, profile: str | None, /, *, arm: bool) -> Iterator[Station]:
    """The station open; instruments that its profile simulates stand in this process."""
    with opened(station, profile, arm=arm) as table:
        yield table


def served(file: StationFile, resources: dict[str, str]) -> StationFile:
    """What a station file says, with simulated instruments at these resources; entries of one box share its own."""
    boxes: dict[str, str] = {}
    instruments = {}
    for name, entry in file.instruments.items():
        box = boxes.setdefault(entry.resource or f"name {name}", name)
        instruments[name] = replace(entry, resource=resources[box], simulated=False, declared_simulated=True)
    return replace(file, instruments=instruments)


@contextmanager
def world(station: str) -> Iterator[dict[str, str]]:
    """Serve the simulated instruments of a station file from another process; gives a resource for each by its name.

    Raises
    ------
    InputError
        Where it does not start; with what it said.
    """
    command = [sys.executable, "-m", "labqdl.cli", "sim", "serve", station, "--json", "--until-eof"]
    flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    # A group of its own: Ctrl-C is for the run, which needs its instruments to go dark.
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # which ends with this process, however that ends
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        creationflags=flags,
        start_new_session=sys.platform != "win32",
    )
    said: list[bytes] = []
    first: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout, process.stderr

    def listen() -> None:
        first.put(out.readline())
        for _ in out:
            pass

    def complaints() -> None:
        for line in err:
            said.append(line)
            del said[:-20]

    readers = [threading.Thread(target=each, daemon=True) for each in (listen, complaints)]
    for reader in readers:
        reader.start()
    try:
        try:
            line = first.get(timeout=STARTING)
        except queue.Empty:
            line = b""
        try:
            told: dict[str, Any] = json.loads(line)
        except ValueError:
            process.kill()
            process.wait()
            readers[1].join()
            words = b"".join(said).decode(errors="replace").strip() or "it said nothing"
            raise InputError(f"the simulated instruments do not start: {words}", source=station) from None
        yield {one["name"]: one["resources"][0] for one in told["instruments"]}
    finally:
        process.stdin.close()
        _end(process)
        for reader in readers:
            reader.join()
        out.close()
        err.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    with suppress(OSError):
        process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
    try:
        process.wait(ENDING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
