"""A program that energises instruments with their real drivers and then comes to some end; told by a JSON argument.

Keys: `instruments` (name: entry point of the driver, resource, arguments), `end` (read, wait or fail), `unsafe` (path),
`full` (files cannot grow beyond so many bytes), `options` of the stack.
It prints {"watchdog": pid} once everything is on.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np

from labqdl.clock import SystemClock
from labqdl.instruments import AmplifierMode, BiasMode
from labqdl.safety import Arming, SafeStack, Unsafe
from tests.safety.bench.victim import limit_files


def itla(laser: Any) -> None:
    laser.emission = True


def amplifier(edfa: Any) -> None:
    edfa.mode = AmplifierMode.CURRENT
    edfa.current_set_point = 0.1
    edfa.pump = True


def bias(box: Any) -> None:
    box.manual_voltage = 2.0
    box.mode = BiasMode.MANUAL


def generator(made: Any) -> None:
    output = made.channels()[1]
    output.amplitude = 0.5
    output.output = True


def player(made: Any) -> None:
    made.stop()
    output = made.channels()[1]
    output.upload("wave", np.sin(np.linspace(0.0, 20.0, 4800)))
    output.select("wave")
    made.arm()
    output.output = True
    made.master = True


def source(made: Any) -> None:
    made.voltage = 1.5
    made.output = True


def shifters(array: Any) -> None:
    array.set_voltages(np.full(array.outputs, 2.0))


def lock(box: Any) -> None:
    box.engaged = True


def shutter(attenuator: Any) -> None:
    attenuator.open_shutter = True


def line(made: Any) -> None:
    made.set_output("DIO4_P", True)


ENERGISE: dict[str, Callable[[Any], None]] = {
    "oif-itla": itla,
    "nkt-koheras": itla,
    "santec-tsl": itla,
    "amonics-edfa": amplifier,
    "thorlabs-mbx": bias,
    "keysight-33500": generator,
    "tektronix-awg": player,
    "keithley-2400": source,
    "qontrol": shifters,
    "labqdl-lockbox": lock,
    "redpitaya-generator": generator,
    "redpitaya-source": source,
    "redpitaya-io": line,
    "keysight-n77": shutter,
}
"""By entry point: what makes light or voltage come out."""


def driver(kind: str, resource: str, name: str, **arguments: Any) -> Any:
    """The driver of an entry point."""
    (found,) = entry_points(group="labqdl.drivers", name=kind)
    return found.load()(resource, name=name, **arguments)


def main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if given.get("full"):
        limit_files(given["full"])
    guard = SafeStack(arming=Arming(True, "a test"), unsafe=Path(given["unsafe"]), **given.get("options", {}))
    with guard:
        made = {}
        for name, (kind, resource, arguments) in given["instruments"].items():
            made[name] = driver(kind, resource, name, **arguments)
            made[name].guard = guard
            made[name].open()
            ENERGISE[kind](made[name])
        print(json.dumps({"watchdog": guard.watchdog_pid}), flush=True)
        if given["end"] == "fail":
            sys.stdin.readline()
            raise ZeroDivisionError("a mistake in the script")
        while given["end"] == "read":
            for one in made.values():
                one.identity()
        SystemClock().sleep(600)


if __name__ == "__main__":
    try:
        main()
    except Unsafe as error:
        sys.stderr.write(f"labqdl: {error}\n")
        sys.exit(error.exit_code)
