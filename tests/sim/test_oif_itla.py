"""The ITLA's twin: the sheet's examples, the register file, pending operations, and where light is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from labqdl.errors import InputError
from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_fuzz, check_titles, play_example

NAME = "oif-itla"
SHEET = load(NAME)


def frame(register: int, value: int | None = None, *, last: bool = False) -> bytes:
    head = (value is not None) | last << 3
    high, low = divmod((value or 0) & 0xFFFF, 256)
    mixed = head ^ register ^ high ^ low
    return bytes([(mixed >> 4 ^ mixed & 15) << 4 | head, register, high, low])


class Laser(Lab):
    def __init__(self, **options: object) -> None:
        super().__init__(NAME, **options)

    def exchange(self, register: int, value: int | None = None) -> tuple[int, int]:
        """Status and data."""
        got = self.wire.ask(frame(register, value))
        assert len(got) == 4
        mixed = got[0] & 15 ^ got[1] ^ got[2] ^ got[3]
        assert got[0] >> 4 == mixed >> 4 ^ mixed & 15
        assert got[0] & 4
        assert got[1] == register
        return got[0] & 3, got[2] << 8 | got[3]

    def read(self, register: int) -> int:
        status, value = self.exchange(register)
        assert status == 0
        return value

    def write(self, register: int, value: int) -> int:
        return self.exchange(register, value)[0]

    def refused(self, register: int, value: int | None = None) -> int:
        """The reason of an execution error."""
        assert self.exchange(register, value)[0] == 1
        return self.read(0) & 15

    def text(self, register: int) -> bytes:
        status, length = self.exchange(register)
        assert status == 2
        got = b"".join(self.read(0x0B).to_bytes(2, "big") for _ in range((length + 1) // 2))
        assert self.refused(0x0B) == 6
        return got[:length]

    def on(self) -> Laser:
        assert self.write(0x32, 8) == 3
        self.after(6.0)
        assert self.read(0) == 0x0010
        return self


def at_193_4145(lab: Lab) -> None:
    lab.wire.ask(frame(0x35, 193))
    lab.wire.ask(frame(0x36, 4145))


def lasing(lab: Lab) -> None:
    lab.wire.ask(frame(0x32, 8))
    lab.after(6.0)


def noisy_line(lab: Lab) -> None:
    lab.twin.faults.add("flip-input", value=0)


BEFORE: dict[str, Before] = {
    "frequency, THz part": at_193_4145,
    "frequency, 0.1 GHz part": at_193_4145,
    "output on at once": lasing,
    "output power 9.99 dBm": lasing,
    "module saw a bad checksum": noisy_line,
}
PAUSES = {"output on, pending, then ready": (0.0, 1.0, 5.0)}
NOT_SIMULATED: dict[str, str] = {}


@pytest.mark.parametrize("example", [e for e in SHEET.examples if e.title not in NOT_SIMULATED], ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, {}, BEFORE, PAUSES)


def test_every_example_and_every_register_is_there() -> None:
    check_titles(SHEET, BEFORE, PAUSES, NOT_SIMULATED)
    for command in SHEET.commands:
        laser = Laser()
        status, _ = laser.exchange(int(command, 16)) if command != "0x13" else (0, 0)
        assert status != 1 or laser.read(0) & 15 != 1, command


class TestFrames:
    def test_bad_checksums_change_nothing(self) -> None:
        laser = Laser()
        for bit in range(32):
            damaged = (int.from_bytes(frame(0x31, 1000), "big") ^ 1 << bit).to_bytes(4, "big")
            if damaged[0] & 8:
                continue
            assert laser.wire.ask(damaged)[0] & 8
        assert laser.read(0x31) == 1000
        assert laser.read(0x20) & 0x40
        assert laser.write(0x20, 0xFF) == 0
        assert laser.read(0x20) & 0xFF == 0

    def test_resynchronisation_by_single_zeros(self) -> None:
        for stray in range(1, 4):
            laser = Laser()
            assert laser.wire.ask(b"\xa5" * stray) == b""
            got = b""
            sent = 0
            while not got:
                got = laser.wire.ask(b"\0")
                sent += 1
            assert sent == 4 - stray
            laser.read(0)  # what came together may have had a right checksum by chance
            assert laser.read(0) == 0x0010

    def test_last_reply_again(self) -> None:
        laser = Laser()
        first = laser.wire.ask(frame(0x52))
        assert laser.wire.ask(frame(0, last=True)) == first
        assert laser.wire.ask(frame(0x13)) == first

    def test_speed_changes_behind_the_reply(self) -> None:
        laser = Laser()
        serial = type(laser.wire)(laser.twin, baud=9600)
        assert len(serial.ask(frame(0x0D, 0x40))) == 4
        assert serial.ask(frame(0)) == b""
        fast = type(laser.wire)(laser.twin, baud=115200)
        assert len(fast.ask(frame(0))) == 4
        assert fast.ask(frame(0x0D))[3] == 0x40
        assert laser.refused(0x0D, 0x50) == 3
        assert laser.write(0x32, 1) == 0
        assert laser.twin.baud == 9600

    def test_fuzz(self) -> None:
        valid = st.builds(
            frame, st.integers(0, 255), st.none() | st.integers(0, 0xFFFF) | st.sampled_from([0, 1, 8, 0xFF, 1000])
        )
        likely = st.builds(frame, st.sampled_from([0x30, 0x31, 0x32, 0x62, 0x90, 0xE4, 0xE5, 0xED]), st.integers(0, 16))
        check_fuzz(NAME, st.binary(max_size=40) | valid | valid | likely, 150)


class TestRegisters:
    def test_strings(self) -> None:
        laser = Laser()
        assert laser.text(0x01) == b"CW ITLA\0"
        assert laser.text(0x02) == b"Pure Photonics\0"
        assert laser.text(0x03) == b"PPCL550\0"
        assert laser.text(0x04) == b"CRTNT00001\0"
        for register in (5, 6, 7):
            assert laser.text(register)[-1:] == b"\0"
        assert len(laser.text(0x57)) == len(laser.text(0x58)) == 4

    def test_reasons(self) -> None:
        laser = Laser()
        assert laser.refused(0xFE) == 1
        assert laser.refused(0x42, 1) == 2
        assert laser.refused(0x01, 1) == 2
        assert laser.refused(0x31, 5000) == 3
        assert laser.refused(0x31, 599) == 3
        assert laser.refused(0x0B, 1) == 7
        assert laser.refused(0x14, 1) == 8
        assert laser.refused(0x35, 500) == 3
        assert laser.refused(0x90, 3) == 3
        assert laser.refused(0x62, 30_001) == 3
        assert laser.read(0) == 0x0010

    def test_limits_and_the_channel_plan(self) -> None:
        laser = Laser()
        assert [laser.read(r) for r in (0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x4F)] == [
            600, 1350, 191, 5000, 196, 2500, 30000,
        ]  # fmt: skip
        laser.write(0x35, 193)
        laser.write(0x36, 4145)
        laser.write(0x67, 7)
        laser.write(0x34, 1000)
        assert laser.write(0x30, 3) == 0
        assert [laser.read(r) for r in (0x40, 0x41, 0x68)] == [193, 6145, 7]
        assert laser.refused(0x30, 60) == 3
        assert laser.read(0x30) == 3
        assert laser.refused(0x30, 0) == 3

    def test_firmware_that_takes_any_frequency(self) -> None:
        laser = Laser(checks_frequency=False)
        assert laser.write(0x30, 500) == 0
        assert laser.read(0x40) == 217

    def test_older_standard_and_other_makers(self) -> None:
        laser = Laser(msa="1.2", vendor=False)
        for register in (0x65, 0x68, 0x90, 0xED):
            assert laser.refused(register) == 1
            assert laser.refused(register, 0) == 1

    def test_stored_defaults_survive_a_reset(self) -> None:
        laser = Laser()
        laser.write(0x31, 700)
        laser.write(0x32, 2)
        assert laser.read(0x31) == 1000
        laser.write(0x31, 700)
        laser.write(0x08, 0x8000)
        assert laser.read(0x08) == 0
        laser.write(0x32, 1)
        assert laser.read(0x31) == 700

    def test_options_are_checked(self) -> None:
        with pytest.raises(InputError):
            Laser(colour="red")


class TestEmission:
    def test_dark_until_enabled_and_after(self) -> None:
        laser = Laser()
        assert laser.light().dark
        assert laser.read(0x42) == 0x10000 - 6000
        assert laser.exchange(0x32, 8) == (3, 0x0100)
        assert laser.light().dark
        laser.after(4.0)
        assert 0 < laser.light().power < 10e-3
        laser.after(2.0)
        assert laser.light().power == pytest.approx(10e-3)
        assert laser.read(0x42) == 1000
        assert not laser.read(0x20) & 1 << 14
        assert laser.write(0x32, 0) == 0
        assert laser.light().dark
        assert laser.read(0x32) == 0
        assert laser.read(0x20) & 1 << 14

    @pytest.mark.parametrize("bits", [1, 2])
    def test_resets_are_dark(self, bits: int) -> None:
        laser = Laser(boot_time=2.0)
        laser.after(2.0)
        laser.on()
        assert laser.write(0x32, bits) == 0
        assert laser.light().dark
        assert laser.read(0) == 0
        assert laser.refused(0x31, 1000) == 5
        laser.after(2.0)
        assert laser.read(0) == 0x0010
        assert laser.read(0x20) & 0x20
        assert laser.light().dark

    def test_off_while_pending(self) -> None:
        laser = Laser()
        laser.write(0x32, 8)
        laser.after(4.9)
        assert laser.write(0x32, 0) == 0
        laser.after(5.0)
        assert laser.light().dark
        assert laser.read(0) == 0x0010

    def test_tuning_is_pending_and_glides(self) -> None:
        laser = Laser().on()
        assert laser.exchange(0x62, 2000) == (3, 0x0100)
        assert laser.refused(0x62, 0) == 4
        assert laser.refused(0x30, 2) == 4
        laser.after(0.25)
        assert laser.read(0x41) == 10
        laser.after(0.3)
        assert laser.read(0x41) == 20
        assert laser.light().wavelength == pytest.approx(299792458 / 193.002e12, rel=1e-12)
        assert laser.refused(0x36, 1) == 9
        assert laser.exchange(0x31, 1300) == (3, 0x0100)
        laser.after(1.1)
        assert laser.light().power == pytest.approx(19.95e-3, rel=1e-3)

    def test_whisper_freezes_the_loops(self) -> None:
        laser = Laser().on()
        assert laser.write(0x90, 2) == 0
        assert laser.refused(0x31, 700) == 8
        assert laser.exchange(0x62, 100)[0] == 3
        laser.after(150.0)
        assert abs(laser.light().wavelength - 299792458 / 193.0001e12) > 1e-14
        assert laser.write(0x90, 0) == 0
        assert laser.light().wavelength == pytest.approx(299792458 / 193.0001e12, rel=1e-13)

    def test_sweep_and_jump(self) -> None:
        laser = Laser(drift=0.0).on()
        assert laser.refused(0xE5, 1) == 8
        laser.write(0x90, 1)
        laser.write(0xE4, 20)
        laser.write(0xF1, 5000)
        assert laser.write(0xE5, 1) == 0
        offsets = []
        for _ in range(5):
            offsets.append(laser.read(0xE6) - 2000)
            laser.after(1.0)
        assert offsets == [0, 50, 100, 50, 0]
        laser.write(0xE5, 0)
        laser.write(0xEB, 4145)
        assert laser.exchange(0xED, 1)[0] == 3
        laser.after(0.2)
        assert (laser.read(0x40), laser.read(0x41)) == (193, 4145)
        laser.write(0xD2, 20)
        assert laser.read(0xD2) == 0x8000
        laser.after(2.0)
        assert laser.read(0xD2) == 0

    def test_the_disable_pin_clears_sena(self) -> None:
        laser = Laser().on()
        rule = laser.twin.faults.add("interlock")
        assert laser.light().dark
        assert laser.read(0x20) & 1 << 12
        assert laser.refused(0x32, 8) == 8
        laser.twin.faults.remove(rule)
        assert laser.light().dark
        assert laser.read(0x32) == 0

    def test_faults_of_the_world(self) -> None:
        laser = Laser().on()
        laser.twin.faults.add("stay-on")
        laser.write(0x32, 0)
        assert laser.read(0x32) == 8
        assert not laser.light().dark
        laser.twin.faults.clear()
        busy: Any = laser.twin.faults.add("busy")
        assert laser.read(0) >> 8
        assert laser.refused(0x31, 700) == 4
        laser.twin.faults.remove(busy)
        laser.twin.faults.add("lockout")
        assert laser.refused(0x31, 700) == 8
