"""In process: pyserial opens `labqdl://NAME` (`serial.serial_for_url`) on the benches that were attached.

`attach(bench)` makes the instruments of a bench known and registers the URL; the class that pyserial looks for is in
`protocol_labqdl` beside this module. Names are looked up in the bench that was attached last, first.
"""

from __future__ import annotations

from labqdl.errors import InputError
from labqdl_sim.bench import Bench
from labqdl_sim.twin import Twin

_attached: list[Bench] = []


def attach(bench: Bench) -> None:
    """Let `labqdl://NAME` find the instruments of this bench."""
    import serial

    if "labqdl_sim.routes" not in serial.protocol_handler_packages:
        serial.protocol_handler_packages.append("labqdl_sim.routes")
    if bench not in _attached:
        _attached.append(bench)


def detach(bench: Bench) -> None:
    """Forget a bench; open ports stay as they are."""
    if bench in _attached:
        _attached.remove(bench)


def find(name: str) -> Twin:
    """The instrument of that name (InputError when no attached bench has it)."""
    for bench in reversed(_attached):
        if name in bench.twins:
            return bench.twins[name]
    known = sorted({name for bench in _attached for name in bench.twins})
    raise InputError(f"no simulated instrument {name!r}", expected=f"one of {', '.join(known)}" if known else None)
