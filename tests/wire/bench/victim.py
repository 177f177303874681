"""Runs of the command line on a station whose world somebody else serves; each dies, or not, at a step.

One JSON object a line on standard input begins one run in a process of its own; the imports are done once:

    folder       of three named pipes: `told` (what happens, JSON lines), `words` (standard error), `go`, which is read
    arguments    of `labqdl`
    resources    of the station's instruments by name
    calibrations file of a calibration set; none: the run calibrates
    step, block  where it says so, and waits for a word from `go`; none: nowhere
    state        LABQDL_STATE
    quick        little patience with instruments that will never be safe

Words: go; raise (a mistake in the program); full (no file can grow any more).
Standard output has {"pid": ...} at the beginning and {"code": ...} at the end of each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import labqdl.api
import labqdl.api.bench
import labqdl.subsystems

# All that a run imports, before the first one begins.
import labqdl_calibration.bench
import labqdl_calibration.budget
import labqdl_calibration.preparing
import labqdl_calibration.routines
from labqdl.api import running
from labqdl.api.bench import CalibratedBench
from labqdl.api.blocks import RunRecorder
from labqdl.cli import run as run_command
from labqdl.cli import world
from labqdl.cli.root import run as labqdl_command
from labqdl.config.station import load_station_file
from labqdl.facts import CalibrationSet
from labqdl.plans.infer import InferenceHandlers
from labqdl.safety import SafeStack
from labqdl.station import Station
from labqdl.station import opening as opening_module
from labqdl.station.drivers import driver_class
from labqdl.subsystems.receiver import HomodyneReceiver
from labqdl.subsystems.transmitter import Transmitter
from tests.safety.bench.victim import limit_files
from tests.safety.killing_twins import QUICK

LOADED = (labqdl, labqdl_calibration, run_command)
NOTHING_FITS = 16
"""Bytes that a file may have on a full disk."""
STEPS: dict[str, tuple[Any, str]] = {
    "calibrate": (Transmitter, "play"),
    "encode": (InferenceHandlers, "_encode"),
    "set data": (InferenceHandlers, "_set_data"),
    "arm": (Transmitter, "arm"),
    "transmit": (Transmitter, "start"),
    "fetch": (HomodyneReceiver, "fetch"),
    "verify": (InferenceHandlers, "_verify"),
    "record": (RunRecorder, "finished"),
}
"""What is done at each step; a run waits behind it, and before it records."""


class Watched:
    """Tells what one run does, and waits where it is to die."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._folder = Path(given["folder"])
        self._step, self._wanted = given.get("step"), given.get("block")
        self._block: int | None = None
        self._told = os.open(self._folder / "told", os.O_WRONLY)
        self._stations: list[Station] = []

    def tell(self, **what: Any) -> None:
        """One line, whatever else fails."""
        os.write(self._told, json.dumps(what).encode() + b"\n")

    def here(self) -> None:
        """Wait for a word and do what it says."""
        self._step = None
        guard: Any = self._stations[-1]["laser"].guard
        behind = getattr(guard, "behind", guard)
        self.tell(at=True, block=self._block, watchdog=behind.watchdog_pid)
        with (self._folder / "go").open() as words:
            word = words.readline().strip()
        if word == "raise":
            raise ZeroDivisionError("a mistake in the program")
        if word == "full":
            limit_files(NOTHING_FITS)

    def watch(self) -> None:
        """Put itself around the steps."""
        transmit = InferenceHandlers._transmit

        def transmitting(handlers: InferenceHandlers, command: Any) -> None:
            self._block = command.block
            self.tell(sent=[command.layer, command.block])
            transmit(handlers, command)

        setattr(InferenceHandlers, "_transmit", transmitting)  # noqa: B010 - as for the steps
        for step, (owner, name) in STEPS.items():
            setattr(owner, name, self._around(step, getattr(owner, name)))

    def _around(self, step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def around(made: Any, *arguments: Any, **more: Any) -> Any:
            command = arguments[0] if arguments else None
            self._block = getattr(command, "block", self._block)
            here = self._step == step and (step == "calibrate" or self._block == self._wanted)
            if step == "record":
                self.tell(over=time.monotonic())
            if here and step == "record":
                self.here()
            result = call(made, *arguments, **more)
            if here and step != "record":
                self.here()
            return result

        return around

    def served(self, resources: dict[str, str]) -> Callable[[str], Any]:
        """The world of somebody else in the place of an own one."""

        @contextmanager
        def served(station: str) -> Iterator[dict[str, str]]:
            yield resources

        return served

    def opened(self, station: Station) -> None:
        """Keep a station that was opened."""
        self._stations.append(station)


def one_run(given: dict[str, Any]) -> int:
    """The command line, watched."""
    watched = Watched(given)
    watched.watch()
    world.world = watched.served(given["resources"])  # type: ignore[assignment]
    opened = Station.open

    def opening(station: Station, *arguments: Any, **more: Any) -> Any:
        watched.opened(station)
        return opened(station, *arguments, **more)

    setattr(Station, "open", opening)  # noqa: B010 - as for the steps
    if given.get("quick"):
        patience: dict[str, Any] = dict(QUICK)
        setattr(opening_module, "SafeStack", partial(SafeStack, **patience))  # noqa: B010 - as for the steps
    if given.get("calibrations") is not None:
        known = CalibrationSet.from_json(json.loads(Path(given["calibrations"]).read_text(encoding="utf-8")))

        def calibrated(station: Station, source: str, **_: Any) -> CalibratedBench:
            return CalibratedBench(station, source, known)

        setattr(running, "calibrated", calibrated)  # noqa: B010 - as for the steps
    return labqdl_command(given["arguments"])


def begin(given: dict[str, Any]) -> int:
    """A process for one run, with a session and streams of its own; gives its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ["LABQDL_STATE"] = given["state"]
        folder = Path(given["folder"])
        words = os.open(folder / "words", os.O_WRONLY)
        nothing = os.open(os.devnull, os.O_RDWR)
        for number, stream in ((0, nothing), (1, nothing), (2, words)):
            os.dup2(stream, number)
        code = one_run(given)
    except BaseException as error:
        import traceback

        traceback.print_exception(error)
        code = 1
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """One run after the other."""
    for entry in load_station_file("loop-32").instruments.values():
        driver_class(entry.driver)
    for line in sys.stdin:
        pid = begin(json.loads(line))
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
