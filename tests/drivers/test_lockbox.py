"""The lock box on scripted transports."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl.instruments import LimitError, LockState, NotConfirmed
from labqdl_drivers.phase.lockbox import LockBox
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("labqdl-lockbox")
ALWAYS: dict[bytes, bytes | None] = {b"*IDN?\n": b"LABQDL,LOCKBOX,L0001,1.0\n", b"SYST:ERR?\n": b'0,"No error"\n'}


def closed(box: LockBox) -> None:
    box.engaged = True


def opened(box: LockBox) -> None:
    box.engaged = False


def angle(box: LockBox) -> None:
    box.set_point = 0.5


def holds(box: LockBox) -> None:
    assert box.state is LockState.LOCKED


def loose(box: LockBox) -> None:
    assert box.state is LockState.UNLOCKED


def read(name: str, value: object) -> Callable[[LockBox], None]:
    def check(box: LockBox) -> None:
        assert getattr(box, name) == pytest.approx(value)

    return check


CALLS: dict[str, Callable[[LockBox], None]] = {
    "loop closed": closed,
    "whether it is closed": read("engaged", True),
    "condition": holds,
    "set point": angle,
    "set point asked": read("set_point", 0.5),
    "slips": read("slips", 0),
    "residual": read("residual", 0.02),
    "actuator": read("actuator", -1.25),
    "light": read("input_power", 1.6e-3),
    "loop opened": opened,
    "condition when open": loose,
}
NOT_DRIVEN = {"identity": "asked when it opens", "no error": "asked behind every command"}


def test_the_sheet_is_covered() -> None:
    assert len(SHEET.examples) == SHEET.worked
    assert set(SHEET.titles) == CALLS.keys() | NOT_DRIVEN.keys()


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    with scripted(SHEET[title], LockBox.framing, ALWAYS) as transport:
        CALLS[title](LockBox(transport, clock=ManualClock()))


def box_with(*pairs: tuple[bytes, bytes | None]) -> tuple[LockBox, ScriptedTransport]:
    clock = ManualClock()
    transport = scripted(pairs, LockBox.framing, ALWAYS, clock=clock)
    box = LockBox(transport, clock=clock)
    box.open()
    return box, transport


def test_acquiring_waits_until_it_holds() -> None:
    box, transport = box_with(
        (b"LOCK 1\n", None), (b"LOCK:COND?\n", b"ACQUIRING\n"), (b"LOCK:COND?\n", b"LOCKED\n")
    )  # fmt: skip
    with transport:
        box.acquire()


def test_what_never_holds_is_an_error() -> None:
    box, transport = box_with((b"LOCK 1\n", None), *[(b"LOCK:COND?\n", b"ACQUIRING\n")] * 3)
    with transport, pytest.raises(NotConfirmed, match="expected to lock"):
        box.acquire(timeout=0.02)
    with pytest.raises(InputError, match="time limit"):
        box.acquire(timeout=0.0)


def test_set_points_have_limits() -> None:
    box, transport = box_with()
    with transport, pytest.raises(LimitError):
        box.set_point = 2.5


def test_safe_means_open_and_relaxed() -> None:
    box, transport = box_with((b"LOCK 0\n", None), (b"ACT:VOLT?\n", b"0.000000E+00\n"))
    with transport:
        box.safe_state()
    box, transport = box_with((b"LOCK 0\n", None), (b"ACT:VOLT?\n", b"1.500000E+00\n"))
    with transport, pytest.raises(NotConfirmed, match=r"stands at 1\.5 V"):
        box.safe_state()
