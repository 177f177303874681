"""The Koheras' twin: the sheet's examples, telegrams, registers of all modules, interlock, watchdog, light."""

from __future__ import annotations

import struct

import pytest
from hypothesis import strategies as st

from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_flood, check_fuzz, check_titles, play_example

NAME = "nkt-koheras"
SHEET = load(NAME)
NACK, BAD_CRC, BUSY, ACK, READ, WRITE, SET, CLEAR, DATA, TOGGLE = range(10)
BASIK, BOARD = 1, 0x80


def crc(data: bytes) -> bytes:
    value = 0
    for byte in data:
        for bit in range(7, -1, -1):
            value = (value << 1) ^ (0x1021 if (value >> 15 ^ byte >> bit) & 1 else 0)
            value &= 0xFFFF
    return value.to_bytes(2, "big")


def telegram(to: int, kind: int, register: int, data: bytes = b"", *, host: int = 0xA1, damage: int = 0) -> bytes:
    body = bytes([to, host, kind, register]) + data
    checksum = crc(body)
    body += bytes([checksum[0] ^ damage, checksum[1]])
    escaped = body.replace(b"\x5e", b"\x5e\x9e").replace(b"\n", b"\x5e\x4a").replace(b"\r", b"\x5e\x4d")
    return b"\r" + escaped + b"\n"


def opened(reply: bytes) -> bytes:
    assert reply[:1] == b"\r"
    assert reply[-1:] == b"\n"
    body = reply[1:-1]
    assert b"\r" not in body
    assert b"\n" not in body
    for code, byte in ((b"\x5e\x4d", b"\r"), (b"\x5e\x4a", b"\n"), (b"\x5e\x9e", b"\x5e")):
        body = body.replace(code, byte)
    assert crc(body[:-2]) == body[-2:]
    return body


class Laser(Lab):
    def __init__(self, **options: object) -> None:
        super().__init__(NAME, **options)

    def exchange(self, kind: int, register: int, data: bytes = b"", *, to: int = BASIK) -> tuple[int, bytes]:
        body = opened(self.wire.ask(telegram(to, kind, register, data)))
        assert (body[0], body[1], body[3]) == (0xA1, to, register)
        return body[2], body[4:-2]

    def read(self, register: int, form: str = "B", *, to: int = BASIK) -> int:
        kind, data = self.exchange(READ, register, to=to)
        assert kind == DATA
        return int(struct.unpack("<" + form, data)[0])

    def write(self, register: int, value: int, form: str = "B", *, to: int = BASIK, kind: int = WRITE) -> int:
        return self.exchange(kind, register, struct.pack("<" + form, value), to=to)[0]


def emitting(lab: Lab) -> None:
    lab.wire.ask(telegram(BASIK, WRITE, 0x30, b"\1"))
    lab.after(10.0)


def open_loop(lab: Lab) -> None:
    lab.twin.faults.add("interlock")


def busy(lab: Lab) -> None:
    lab.twin.faults.add("busy")


BEFORE: dict[str, Before] = {
    "emission refused": open_loop,
    "emission while busy": busy,
    "read emission": emitting,
    "status": emitting,
}
NOT_SIMULATED: dict[str, str] = {}


@pytest.mark.parametrize("example", [e for e in SHEET.examples if e.title not in NOT_SIMULATED], ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, {}, BEFORE, {})


def test_every_example_and_every_register_is_there() -> None:
    check_titles(SHEET, BEFORE, NOT_SIMULATED)
    places = [
        (Laser(), BASIK), (Laser(), BOARD), (Laser(type="mikro"), BASIK), (Laser(type="k80"), 0x0A),
    ]  # fmt: skip
    for command in SHEET.commands:
        register = int(command, 16)
        kinds = {laser.exchange(READ, register, to=to)[0] for laser, to in places}
        for data in (b"\0", b"\0\0", b"\xb0\x04", bytes(4)):
            kinds |= {laser.exchange(WRITE, register, data, to=to)[0] for laser, to in places}
        assert kinds & {DATA, ACK}, command


class TestTelegrams:
    def test_wrong_checksum(self) -> None:
        laser = Laser()
        body = opened(laser.wire.ask(telegram(BASIK, WRITE, 0x30, b"\1", damage=1)))
        assert body[2:4] == bytes([BAD_CRC, 0x30])
        assert laser.read(0x30) == 0

    def test_nobody_at_other_addresses(self) -> None:
        laser = Laser(address=5)
        found = [to for to in range(1, 49) if laser.wire.ask(telegram(to, READ, 0x61))]
        assert found == [5]
        assert laser.wire.ask(telegram(BOARD, READ, 0x61)) != b""
        assert Laser(mainboard=False).wire.ask(telegram(BOARD, READ, 0x61)) == b""

    def test_any_host_is_answered(self) -> None:
        laser = Laser()
        assert opened(laser.wire.ask(telegram(BASIK, READ, 0x61, host=0x40)))[:2] == bytes([0x40, BASIK])

    def test_not_understood(self) -> None:
        laser = Laser()
        assert laser.exchange(READ, 0xFE)[0] == NACK
        assert laser.exchange(WRITE, 0x17, b"\0\0")[0] == NACK
        assert laser.exchange(WRITE, 0x30, b"\0\0")[0] == NACK
        assert laser.exchange(WRITE, 0x30, b"\2")[0] == NACK
        assert laser.exchange(SET, 0x2A, b"\0\0")[0] == NACK
        assert laser.exchange(ACK, 0x30)[0] == NACK
        assert laser.exchange(WRITE, 0xB8, struct.pack("<2f", float("nan"), 1.0))[0] == NACK
        assert laser.exchange(WRITE, 0xB8, struct.pack("<2f", 10.0, 20.0))[0] == ACK

    def test_pieces_noise_and_a_start_in_the_middle(self) -> None:
        laser = Laser()
        whole = telegram(BASIK, READ, 0x61)
        assert opened(laser.wire.ask(b"noise" + whole[:4] + whole))[4] == 0x33
        for byte in whole[:-1]:
            assert laser.wire.ask(bytes([byte])) == b""
        assert opened(laser.wire.ask(b"\n"))[4] == 0x33

    def test_every_byte_in_the_user_area(self) -> None:
        laser = Laser()
        data = bytes(range(16, 256))
        for content in (data, bytes(range(240)), b"\x0a\x0d\x5e" * 80):
            assert laser.exchange(WRITE, 0x8D, content)[0] == ACK
            assert laser.exchange(READ, 0x8D) == (DATA, content)
        laser.twin.reset()
        assert laser.exchange(READ, 0x8D)[1] == b"\x0a\x0d\x5e" * 80

    def test_bits(self) -> None:
        laser = Laser()
        assert laser.write(0x31, 0x14, "H", kind=SET) == ACK
        assert laser.write(0x31, 0x04, "H", kind=CLEAR) == ACK
        assert laser.write(0x31, 0x21, "H", kind=TOGGLE) == ACK
        assert laser.read(0x31, "H") == 0x31
        assert laser.write(0x30, 1, kind=TOGGLE) == ACK
        assert laser.read(0x30) == 1

    def test_fuzz(self) -> None:
        likely = st.builds(
            telegram,
            st.sampled_from([BASIK, BOARD, 2]),
            st.integers(0, 10),
            st.integers(0, 255) | st.sampled_from([0x22, 0x2A, 0x2D, 0x2F, 0x30, 0x32, 0x34, 0xA0]),
            st.binary(max_size=8) | st.sampled_from([b"\1", b"\0\4", b"\xff\xff"]),
        )
        check_fuzz(NAME, st.binary(max_size=40) | likely | likely | st.just(b"\r\x5e\n"), 150)

    def test_flood(self) -> None:
        check_flood(NAME, b"\r" + b"x" * 100, 512)
        check_flood(NAME, b"x" * 100, 512)


class TestRegisters:
    def test_identity(self) -> None:
        laser = Laser()
        assert laser.exchange(READ, 0x65) == (DATA, b"K1234567")
        assert laser.exchange(READ, 0x64)[1].startswith(b"\x75\x001.17-2345 Dec 21 2021")
        assert laser.read(0x61, to=BOARD) == 0x34
        assert Laser(type="mikro").read(0x61) == 0x36
        assert Laser(type="k80").read(0x61, to=0x0A) == 0x21

    def test_power_in_two_units(self) -> None:
        laser = Laser()
        assert laser.write(0x22, 2000, "H") == ACK
        assert laser.read(0xA0, "h") == 1301
        assert laser.write(0xA0, 1602, "h") == ACK
        assert laser.read(0x22, "H") == 3999
        for value in (999, 4001):
            assert laser.write(0x22, value, "H") == NACK
        assert laser.write(0xA0, 999, "h") == NACK

    def test_limits_are_in_the_parameter_sets(self) -> None:
        laser = Laser()
        for record, register in ((0x5A, 0x2A), (0x52, 0x22)):
            kind, data = laser.exchange(READ, record)
            assert kind == DATA
            _, _, high, low, numerator, denominator, _ = struct.unpack("<7h", data[2:])
            assert (numerator, denominator) == ((1, 10) if record == 0x5A else (1, 100))
            for value, answer in ((high, ACK), (low, ACK), (high + 1, NACK), (low - 1, NACK)):
                assert laser.write(register, value, "h") == answer

    def test_broadcasts_of_the_mainboard(self) -> None:
        laser = Laser()
        assert laser.write(0x2D, -123, "h", to=BOARD) == ACK
        assert laser.write(0x2F, 1500, "H", to=BOARD) == ACK
        assert laser.write(0x31, 4, "H", to=BOARD) == ACK
        assert (laser.read(0x2A, "h"), laser.read(0x22, "H"), laser.read(0x31, "H")) == (-123, 1500, 4)
        assert laser.write(0x2E, 1200, "h", to=BOARD) == ACK
        assert laser.read(0x22, "H") == 1585
        assert laser.exchange(READ, 0x2D, to=BOARD)[0] == NACK
        assert laser.read(0x11, "H", to=BOARD) == 24_000


class TestEmission:
    def test_dark_until_told_and_after(self) -> None:
        laser = Laser()
        assert laser.light().dark
        assert laser.read(0x66, "H") == 0
        assert laser.read(0x90, "h") == -10_000
        assert laser.write(0x30, 1) == ACK
        assert laser.read(0x66, "H") == 0x2001
        laser.after(1.0)
        assert 5e-3 < laser.light().power < 7e-3
        laser.after(9.0)
        assert laser.light().power == pytest.approx(10e-3, rel=1e-3)
        assert laser.read(0x17, "H") == 1000
        assert laser.read(0x66, "H") == 0x4001
        assert laser.light().wavelength == pytest.approx(1550.1234e-9)
        assert laser.write(0x30, 0) == ACK
        assert laser.light().dark
        assert laser.read(0x66, "H") == 0
        laser.write(0x30, 1)
        laser.twin.reset()
        assert laser.light().dark

    def test_offset_is_thermal(self) -> None:
        laser = Laser()
        emitting(laser)
        laser.write(0x2A, 1000, "h")
        laser.after(10.0)
        assert laser.read(0x72, "i") == pytest.approx(632, abs=1)
        assert laser.read(0x66, "H") == 0x2001
        laser.after(60.0)
        assert laser.read(0x66, "H") == 0x4001
        assert laser.light().wavelength == pytest.approx(1550.2234e-9, rel=1e-9)
        laser.write(0x30, 0)
        laser.after(60.0)
        assert laser.read(0x72, "i") == pytest.approx(999, abs=1)

    def test_interlock_latches_until_the_mainboard_resets_it(self) -> None:
        laser = Laser()
        emitting(laser)
        rule = laser.twin.faults.add("interlock")
        assert laser.light().dark
        assert laser.read(0x66, "H") == 0x8002
        assert laser.read(0x67) == 2
        assert laser.read(0x66, "H", to=BOARD) == 0b1010
        assert laser.write(0x32, 1, to=BOARD) == ACK
        assert laser.write(0x30, 1) == NACK
        laser.twin.faults.remove(rule)
        assert laser.write(0x30, 1) == NACK
        assert laser.write(0x32, 1, to=BOARD) == ACK
        assert laser.light().dark
        assert laser.write(0x30, 1, to=BOARD) == ACK
        laser.after(1.0)
        assert not laser.light().dark

    def test_watchdog(self) -> None:
        laser = Laser()
        laser.write(0x34, 5, to=BOARD)
        emitting(laser)
        assert laser.light().dark
        assert laser.read(0x30) == 0
        laser.write(0x30, 1)
        for _ in range(5):
            laser.after(4.0)
            assert laser.read(0x30) == 1
        laser.after(4.9)
        assert not laser.light().dark
        laser.after(0.2)
        assert laser.light().dark

    def test_an_output_that_stays_on_and_a_panel_that_has_it(self) -> None:
        laser = Laser()
        emitting(laser)
        laser.twin.faults.add("stay-on")
        assert laser.write(0x30, 0) == ACK
        assert laser.read(0x30) == 1
        assert not laser.light().dark
        laser.twin.faults.clear()
        laser.twin.faults.add("lockout")
        assert laser.write(0x30, 0) == NACK

    def test_an_old_module(self) -> None:
        laser = Laser(type="k80")
        assert laser.light().dark
        assert laser.write(0x30, 1, to=0x0A) == ACK
        laser.after(10.0)
        assert laser.read(0x18, "H", to=0x0A) == 1000
        assert laser.light().power == pytest.approx(10e-3, rel=1e-3)
        assert laser.read(0x15, "H", to=0x0A) == 300
        assert laser.exchange(READ, 0x66, to=0x0A)[0] == NACK
