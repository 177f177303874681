"""A program that switches lamps on and then comes to some end. Its parent tells it all in one JSON argument.

Keys: `ports` of the lamps by name, `guard` ("script": the driver's own; "stack": a `SafeStack` in a `with` block),
`end` (see ENDS), `unsafe` (path), `meter` (name, or absent), `watchdog` and other options of the stack.
It prints one line of JSON, {"watchdog": pid}, once everything shines.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from labqdl.clock import SystemClock
from labqdl.safety import Arming, SafeStack, Unsafe, process_guard
from labqdl.safety.paths import DarkCheck, LightPath
from labqdl.safety.station_lock import StationLock
from tests.safety.bench.fake_drivers import Lamp, Laser, Meter, Pump

KINDS = {"pump": Pump, "laser": Laser}


def read_for_ever(lamps: list[Lamp]) -> None:
    while True:
        for lamp in lamps:
            lamp.identity()


def wait_for_ever(lamps: list[Lamp]) -> None:
    SystemClock().sleep(600)


def fail(lamps: list[Lamp]) -> None:
    sys.stdin.readline()
    raise ZeroDivisionError("a mistake in the script")


def end(lamps: list[Lamp]) -> None:
    sys.stdin.readline()


def linger(lamps: list[Lamp]) -> None:
    """Make the first Ctrl-C have no effect, as a long clean-up would; says a second time that it is ready."""
    ready = True
    while True:
        try:
            if ready:
                ready = False
                print(flush=True)
            SystemClock().sleep(600)
        except KeyboardInterrupt:
            continue


def fork(lamps: list[Lamp]) -> None:
    """A forked worker outlives its parent, with all of its pipes."""
    if os.fork() == 0:
        SystemClock().sleep(5)
        os._exit(0)
    SystemClock().sleep(600)


ENDS = {"read": read_for_ever, "wait": wait_for_ever, "fail": fail, "end": end, "linger": linger, "fork": fork}


def resource(port: int) -> str:
    return f"TCPIP0::127.0.0.1::{port}::SOCKET"


def main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[1])
    # A runner in the background hands down an ignored Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if given.get("full"):
        limit_files(given["full"])
    lamps = [KINDS.get(name, Lamp)(resource(port), name=name) for name, port in given["ports"].items() if name]
    guard: Any = process_guard()
    locked: Any = nullcontext()
    if given["guard"] == "stack":
        paths = []
        if "meter" in given:
            meter = Meter(resource(given["meter"]), name="meter")
            paths = [LightPath("probe", lamps[-1], (), (DarkCheck("probe", meter, "power", 0.5),))]
        station = Path(given["station"]) if "station" in given else None
        locked = nullcontext() if station is None else StationLock(station)
        options = {"arming": Arming(True, "a test"), **given.get("options", {})}
        guard = SafeStack(unsafe=Path(given["unsafe"]), paths=paths, station=station, **options)
        for lamp in lamps:
            lamp.guard = guard
    with locked, guard if given["guard"] == "stack" else nullcontext():
        for lamp in lamps:
            lamp.open()
            lamp.output = True
        print(json.dumps({"watchdog": guard.watchdog_pid}), flush=True)
        ENDS[given["end"]](lamps)


def limit_files(size: int) -> None:
    """No file may grow beyond so many bytes: what a full disk looks like."""
    import resource as limits

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits.setrlimit(limits.RLIMIT_FSIZE, (size, size))


if __name__ == "__main__":
    try:
        main()
    except Unsafe as error:
        if "--command" not in sys.argv:
            raise
        sys.stderr.write(f"labqdl: {error}\n")
        sys.exit(error.exit_code)
