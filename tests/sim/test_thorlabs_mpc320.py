"""The polarisation controller's twin: the sheet's frames, moves in time, stops, updates, parser."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import strategies as st

from labqdl.errors import InputError
from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_flood, check_fuzz, check_titles, play_example

NAME = "thorlabs-mpc320"
SHEET = load(NAME)
ENABLE = bytes.fromhex("10 02 07 01 50 01")
FULL_SPEED = struct.pack("<HHBB6H", 0x0530, 12, 0xD0, 1, 0, 100, 685, 40, 40, 40)


def short(number: int, first: int = 0, second: int = 0) -> bytes:
    return struct.pack("<H4B", number, first, second, 0x50, 1)


def move(mask: int, counts: int, number: int = 0x0453) -> bytes:
    return struct.pack("<HHBBHi", number, 6, 0xD0, 1, mask, counts)


def status(lab: Lab, mask: int = 1) -> tuple[int, int, int, int, int]:
    reply = lab.wire.ask(short(0x0490, mask))
    assert reply[:6] == bytes.fromhex("91 04 0E 00 81 50")
    return struct.unpack("<HihhI", reply[6:])


def enabled(lab: Lab) -> None:
    assert lab.wire.ask(ENABLE) == b""


def homed(lab: Lab) -> None:
    enabled(lab)
    for mask in (1, 2, 4):
        lab.wire.ask(short(0x0443, mask))


def at_90_degrees(lab: Lab) -> None:
    homed(lab)
    lab.wire.ask(move(1, 725))


BEFORE: dict[str, Before] = {
    "enable state of paddle 1": enabled,
    "home paddle 1": enabled,
    "paddle 2 to 90 degrees": homed,
    "paddle 1 by -10 degrees": at_90_degrees,
    "jog paddle 3 forward": enabled,
    "stop paddle 1 now": enabled,
    "status of paddle 1": at_90_degrees,
}
NOT_SIMULATED: dict[str, str] = {}


@pytest.mark.parametrize("example", [e for e in SHEET.examples if e.title not in NOT_SIMULATED], ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, {}, BEFORE, {})


def test_every_example_and_every_message_is_there() -> None:
    check_titles(SHEET, BEFORE, NOT_SIMULATED)
    lab = Lab(NAME)
    assert {int(command, 16) for command in SHEET.commands} == set(type(lab.twin)._table)


class TestMoves:
    def test_nothing_moves_that_is_not_enabled(self) -> None:
        lab = Lab(NAME)
        assert lab.wire.ask(move(1, 500) + short(0x0443, 1) + short(0x046A, 1, 1)) == b""
        assert status(lab) == (1, 0, 0, 0, 2)
        lab.wire.ask(ENABLE + short(0x0210, 2, 1))
        assert lab.wire.ask(move(1, 500)) == b""
        assert lab.wire.ask(short(0x0211, 1)) == bytes.fromhex("12 02 01 02 01 50")
        assert lab.wire.ask(short(0x0211, 2)) == bytes.fromhex("12 02 02 01 01 50")
        assert lab.wire.ask(short(0x0211, 8)) == b""
        lab.twin.reset()
        assert lab.wire.ask(short(0x0211, 2))[3] == 2

    def test_a_move_takes_its_time(self) -> None:
        lab = Lab(NAME)
        enabled(lab)
        lab.wire.session.feed(FULL_SPEED + move(1, 1370))
        assert lab.wire.session.ready_at() == pytest.approx(0.1 + 170 / 400)
        lab.after(0.25)
        lab.wire.session.feed(short(0x0490, 1))
        first = lab.wire.session.replies[0]
        assert first.ready_at == pytest.approx(0.25)
        _, position, velocity, current, bits = struct.unpack("<HihhI", first.data[6:])
        assert 500 < position < 800
        assert velocity > 2000
        assert current == 100
        assert bits == 0x80000010
        assert len(lab.wire.ask(b"")) == 40
        assert status(lab) == (1, 1370, 0, 0, 0x80000001)

    def test_homing_bits(self) -> None:
        lab = Lab(NAME)
        enabled(lab)
        lab.wire.session.feed(short(0x0443, 1))
        lab.after(1.2)
        lab.wire.session.feed(short(0x0490, 1))
        bits = struct.unpack("<I", lab.wire.session.replies[0].data[-4:])[0]
        assert bits & 0x600 == 0x200
        lab.wire.ask(b"")
        assert status(lab)[1::3] == (685, 0x80000400)
        assert lab.wire.ask(short(0x0443, 1) + short(0x0465, 1, 1)) == bytes.fromhex("66 04 01 00 01 50")
        assert status(lab)[4] & 0x400 == 0

    def test_out_of_range_is_clipped(self) -> None:
        lab = Lab(NAME)
        enabled(lab)
        assert lab.wire.ask(move(1, 100_000))[8:12] == struct.pack("<i", 1370)
        assert lab.wire.ask(move(1, -100_000, 0x0448))[8:12] == struct.pack("<i", 0)
        assert lab.wire.ask(short(0x046A, 1, 2))[8:12] == struct.pack("<i", 0)
        lab.wire.ask(struct.pack("<HHBB6H", 0x0530, 12, 0xD0, 1, 0, 5, 2000, 1, 2, 3))
        assert struct.unpack("<6H", lab.wire.ask(short(0x0531))[6:]) == (0, 10, 1370, 1, 2, 3)

    def test_stop_takes_the_place_of_the_end(self) -> None:
        lab = Lab(NAME)
        enabled(lab)
        lab.wire.session.feed(move(3, 1370))
        lab.after(0.3)
        got = lab.wire.ask(short(0x0465, 1, 2))
        assert got.startswith(bytes.fromhex("66 04 01 00 01 50 64 04 0E 00 81 50 02 00"))
        assert len(got) == 26
        assert 100 < status(lab)[1] < 1000
        lab.wire.session.feed(move(1, 1370))
        lab.after(0.2)
        assert lab.wire.ask(short(0x0210, 2, 1)) == b""
        assert status(lab)[1] < 1370

    def test_what_is_kept(self) -> None:
        lab = Lab(NAME)
        lab.wire.ask(FULL_SPEED)
        lab.twin.reset()
        assert struct.unpack("<6H", lab.wire.ask(short(0x0531))[6:])[1] == 50
        lab.wire.ask(FULL_SPEED + struct.pack("<HHBBHH", 0x04B9, 4, 0xD0, 1, 1, 0x0530))
        lab.twin.reset()
        assert struct.unpack("<6H", lab.wire.ask(short(0x0531))[6:])[1] == 100

    def test_light_and_polarisation(self) -> None:
        lab = Lab(NAME, loss=0.0)
        assert lab.light().dark
        lab.shine(1e-3)
        assert lab.light().power == pytest.approx(1e-3)
        homed(lab)
        assert lab.twin.angles(lab.clock.monotonic()) == pytest.approx(np.radians([85, 85, 85]), abs=1e-3)
        matrix = lab.twin.jones(lab.clock.monotonic())
        assert matrix @ matrix.conj().T == pytest.approx(np.eye(2))
        assert abs(matrix[1, 0]) == pytest.approx(0.0, abs=1e-9)  # all at one angle: a full wave
        lab.wire.ask(move(2, 725 - round(22.5 * 1370 / 170)))
        matrix = lab.twin.jones(lab.clock.monotonic())
        assert abs(matrix[1, 0]) > 0.1

    def test_two_paddles_and_short_ends(self) -> None:
        lab = Lab(NAME, model="MPC220", short_completed=True)
        enabled(lab)
        assert lab.wire.ask(move(7, 100)) == bytes.fromhex("64 04 01 00 01 50 64 04 02 00 01 50")
        assert lab.wire.ask(short(0x0005))[-2:] == b"\2\0"
        with pytest.raises(InputError):
            Lab(NAME, model="MPC999")
        with pytest.raises(InputError):
            Lab(NAME, serial="x")


class TestUpdates:
    def test_ten_a_second_until_nobody_acknowledges(self) -> None:
        lab = Lab(NAME)
        enabled(lab)
        session = lab.wire.session
        session.feed(short(0x0011))
        assert len(session.replies) == 150
        session.feed(move(1, 1370))
        lab.after(1.0)
        session.feed(short(0x0492))
        places = [struct.unpack("<i", one.data[8:12])[0] for one in session.replies if one.data[6] == 1]
        assert places == sorted(places)
        assert places[0] < 500 < 1300 < places[-1]
        assert session.replies[-1].ready_at == pytest.approx(6.0)
        lab.wire.session.feed(short(0x0012))
        assert all(one.ready_at <= 1.3 for one in session.replies)
        lab.wire.ask(b"")
        assert lab.wire.ask(short(0x0011) + short(0x0002)) == b""

    def test_a_fault_is_told(self) -> None:
        lab = Lab(NAME)
        lab.twin.spurious_error(7, "over current")
        told = lab.wire.ask(b"")
        assert told[:10] == bytes.fromhex("81 00 44 00 81 50 00 00 07 00")
        assert told[10:].rstrip(b"\0") == b"over current"


class TestParser:
    def test_silence_for_what_is_unknown_and_noise_is_passed_over(self) -> None:
        lab = Lab(NAME)
        assert lab.wire.ask(short(0x0999)) == b""
        assert lab.wire.ask(b"\xff\xff" + short(0x0531))[:2] == b"\x32\x05"
        assert lab.wire.ask(struct.pack("<HHBB", 0x0530, 60_000, 0xD0, 1) + short(0x0531))[:2] == b"\x32\x05"
        assert lab.wire.ask(struct.pack("<HHBB", 0x0453, 2, 0xD0, 1) + b"\1\0") == b""

    def test_fuzz(self) -> None:
        numbers = st.sampled_from([int(command, 16) for command in SHEET.commands])
        likely = st.builds(short, numbers, st.integers(0, 8), st.integers(0, 3))
        long = st.builds(
            lambda number, data: struct.pack("<HHBB", number, len(data), 0xD0, 1) + data,
            numbers,
            st.binary(max_size=14),
        )
        check_fuzz(NAME, st.binary(max_size=20) | likely | likely | long)
        check_flood(NAME, b"x" * 100, 256)
