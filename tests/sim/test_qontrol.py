"""The Qontrol's twin: the sheet's examples, channels and limits, trips, binary frames, parser."""

from __future__ import annotations

import re

import pytest
from hypothesis import strategies as st

from labqdl.errors import InputError
from labqdl_sim.twins.qontrol import _KEPT
from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_flood, check_fuzz, check_titles, play_example

NAME = "qontrol"
SHEET = load(NAME)


def power_up(lab: Lab) -> None:
    lab.twin.reset()
    lab.wire.feed(b"")


def over_current(lab: Lab) -> None:
    lab.wire.ask(b"v3=4.5\n")
    lab.wire.ask(b"v5=5\n")
    lab.twin.loads[5] = 100.0
    lab.wire.ask(b"ok\n")
    lab.twin.trip(5)
    lab.wire.feed(b"")


def eight_voltages(lab: Lab) -> None:
    lab.wire.ask(b"vvec0=1,2,3,4,5,6,7,8\n")
    lab.after(0.1)


BEFORE: dict[str, Before] = {
    "line after power-up": power_up,
    "over-current line before an answer": over_current,
    "binary: read V5": eight_voltages,
    "binary: read all voltages": eight_voltages,
}
OPTIONS: dict[str, dict[str, object]] = {
    "modules of the chain": {"modules": 2},
    "device id, not programmed": {"serial": "****"},
}
NOT_SIMULATED: dict[str, str] = {}


@pytest.mark.parametrize("example", [e for e in SHEET.examples if e.title not in NOT_SIMULATED], ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, OPTIONS, BEFORE, {})


def test_every_example_and_every_command_is_there() -> None:
    check_titles(SHEET, BEFORE, OPTIONS, NOT_SIMULATED)
    lab = Lab(NAME)
    for command in SHEET.commands:
        word = command.replace("{n}", "0") + ("0" if command.upper() in _KEPT | {"VERR", "IERR"} else "")
        replies = {lab.ask(f"{word}?\n"), lab.ask(f"{word}=0\n"), lab.ask(f"{word}\n")}
        assert not all(re.fullmatch(r"E1[0-3]:\d\d", reply) for reply in replies), command


def test_all_outputs_are_at_zero_after_power_on() -> None:
    lab = Lab(NAME)
    for _ in range(2):
        assert [lab.volts(f"output{n}") for n in range(8)] == [0.0] * 8
        assert lab.wire.ask(b"vvec0=1,2,3,4,5,6,7,8\n") == b"OK\n"
        lab.after(0.1)
        assert [lab.volts(f"output{n}") for n in range(8)] == pytest.approx(range(1, 9), abs=2e-4)
        lab.twin.reset()
        assert lab.wire.ask(b"") == b"E90:00\n"
    assert Lab(NAME, announces=True).ask("ok\n") == "E90:00\nOK"


class TestChannels:
    def test_settling(self) -> None:
        lab = Lab(NAME, noise=0.0)
        lab.ask("v3=6\n")
        assert 0.0 < lab.volts("output3") < 6.0
        lab.after(5e-3)
        assert lab.volts("output3") == pytest.approx(6.0, abs=12 / 65535)
        assert lab.ask("V3?\n") == "+5.9999 V"
        assert lab.ask("i3?\n") == "+6.000 mA"
        assert lab.ask("v3=4.5\nv3?\n") == "OK\n+4.4999 V"
        lab.ask("v3=0\n")
        lab.after(5e-3)
        assert lab.volts("output3") == 0.0

    def test_readings_have_noise_of_their_own(self) -> None:
        lab, again = Lab(NAME), Lab(NAME)
        first = [lab.ask("v0?\n") for _ in range(5)]
        assert len(set(first)) > 1
        assert first == [again.ask("v0?\n") for _ in range(5)]

    def test_current(self) -> None:
        lab = Lab(NAME, load=500.0, noise=0.0)
        assert lab.ask("i2=10\n") == "OK"
        lab.after(0.01)
        assert lab.volts("output2") == pytest.approx(5.0, abs=1e-3)
        assert lab.ask("i2?\n") == "+10.000 mA"

    @pytest.mark.parametrize(
        ("text", "reply"),
        [
            ("v3=12.1", "E11:03"), ("v3=-0.1", "E11:03"), ("i3=24.1", "E11:03"), ("v8=1", "E12:08"), ("v=1", "E12:00"),
            ("v3=x", "E11:00"), ("v3=", "E11:00"), ("v3=nan", "E11:00"), ("v3=1,2", "E11:03"), ("volt3=1", "E10:00"),
            ("vall=1", "E13:00"), ("vvec0?", "E13:00"), ("vvec4=1,2,3,4,5", "E11:04"), ("nchan=3", "E13:00"),
            ("v3", "E13:00"), ("vmaxvec0=1", "E10:00"), ("v3?1", "E11:00"), ("nup=1", "E11:00"),
            ("vvec0=1,13", "E11:01"),
            ("v99999999999=1", "E12:00"), ("V11=1e400", "E12:11"), ("verr0=1", "E13:00"), ("id3?", "E12:03"),
        ],
    )  # fmt: skip
    def test_refusals_change_nothing(self, text: str, reply: str) -> None:
        lab = Lab(NAME)
        assert lab.ask(text + "\n") == reply
        lab.after(1.0)
        assert [lab.volts(f"output{n}") for n in range(8)] == [0.0] * 8

    def test_limits(self) -> None:
        lab = Lab(NAME)
        assert lab.ask("vmax3=5\n") == "OK"
        assert lab.ask("v3=5.5\n") == "E01:03"
        assert lab.ask("imax3=4\n") == "OK"
        assert lab.ask("i3=5\n") == "E02:03"
        assert lab.ask("vmax3?\n") == "+5.000 V"
        assert lab.ask("imax3?\n") == "+4.000 mA"
        assert lab.ask("v3=4.5\n") == "E02:03\nOK"
        lab.after(0.1)
        assert lab.volts("output3") == 0.0
        assert lab.ask("v3=3.5\n") == "OK"
        assert lab.ask("imax3=2\n") == "E02:03\nOK"
        assert Lab(NAME, load=1000.0).ask("i0=20\n") == "E01:00\nOK"

    def test_other_modules_and_chains(self) -> None:
        lab = Lab(NAME, model="Q8b", modules=2)
        assert lab.ask("ifull?\n") == "+83.333 mA"
        assert lab.ask("nchan?\n") == "16"
        assert lab.ask("nupall?\n") == "Q8b-0A2F:0\nQ8b-0A30:1"
        assert lab.ask("v15=1\n") == "OK"
        assert lab.ask("ivec8=1,2\n") == "OK"
        assert len(lab.ask("vall?\n").splitlines()) == 16
        old = Lab(NAME, old=True)
        assert old.ask("nupall?\n") == "E10:00"
        assert old.ask("nup?\n") == "Q8iv-0A2F:0"
        for wrong in ({"model": "Q9"}, {"modules": 0}):
            with pytest.raises(InputError):
                Lab(NAME, **wrong)

    def test_an_output_that_stays_on(self) -> None:
        lab = Lab(NAME)
        lab.ask("v0=5\n")
        lab.after(0.1)
        lab.twin.faults.add("stay-on")
        assert lab.ask("v0=0\n") == "OK"
        lab.after(0.1)
        assert lab.volts("output0") == pytest.approx(5.0, abs=1e-3)

    def test_kept_numbers(self) -> None:
        lab = Lab(NAME)
        assert lab.ask("gain3=2\n") == "OK"
        assert lab.ask("gain3?\n") == "+2.000"
        assert lab.ask("gain2?\n") == "+0.000"
        assert lab.ask("led=1\n") == "OK"
        assert lab.ask("led?\n") == "+1.000"
        assert lab.ask("verr3?\n") == "+0.000 V"
        lab.after(10)
        assert lab.ask("lifetime?\n") == "10 s"


class TestFrames:
    def test_values(self) -> None:
        lab = Lab(NAME)
        assert lab.wire.ask(bytes.fromhex("81 00 00 00 00 7F FF")) == b"OK\n"
        lab.after(0.1)
        assert lab.volts("output0") == pytest.approx(32767 / 65535 * 12)
        assert lab.wire.ask(bytes.fromhex("82 00 00 00 06 00 03 00 00 00 00 00 00")) == b"E11:06\n"
        assert lab.wire.ask(bytes.fromhex("A0 00 00 00 00 00 00")) == b"OK\n"
        lab.after(0.1)
        assert lab.volts("output0") == 0.0

    def test_parity_codes_and_addresses(self) -> None:
        lab = Lab(NAME, modules=2)
        assert lab.wire.ask(bytes.fromhex("80 00 00 00 00 7F FF")) == b"E15:00\n"
        assert lab.wire.ask(bytes.fromhex("81 44 00 00 00 00 00")) == b"E10:00\n"
        assert lab.wire.ask(bytes.fromhex("88 20 00 00 00 00 00")) == b"+12.000 V\n"
        assert lab.wire.ask(bytes.fromhex("84 37 00 00 00 00 00")) == b"OK\n"
        assert lab.wire.ask(bytes.fromhex("81 00 00 00 10 00 00")) == b"E12:16\n"
        assert lab.wire.ask(bytes.fromhex("90 00 0A 30 02 40 00")) == b"OK\n"
        assert lab.wire.ask(bytes.fromhex("90 00 0B 30 02 40 00")) == b"E12:02\n"
        assert lab.wire.ask(bytes.fromhex("C0 00 00 00 01 40 00")) == b"OK\n"
        lab.after(0.1)
        on = [n for n in range(16) if lab.volts(f"output{n}") > 1]
        assert on == [1, 9, 10]

    def test_frames_in_pieces_and_too_long(self) -> None:
        lab = Lab(NAME)
        assert lab.wire.ask(b"v1?\n\x88\x00")[-2:] == b"V\n"
        assert lab.wire.ask(b"\x00\x00\x0a\x00\x00ok\n") == b"E12:10\nOK\n"
        assert lab.wire.ask(b"\x82\x00\x00\x00\x00\xff\xff") == b"E14:00\n"
        assert lab.wire.ask(b"ok" * 500) == b"E14:00\n"
        assert lab.wire.ask(b"ok\n") == b"OK\n"

    def test_fuzz(self) -> None:
        words = st.sampled_from(["v", "i", "vmax", "imax", "vvec", "vall", "id", "nupall", "gain", "safe", "ok"])
        likely = st.builds(
            lambda word, channel, tail: f"{word}{channel}{tail}\n".encode(),
            words,
            st.integers(-1, 9) | st.just(""),
            st.sampled_from(["?", "", "=1", "=1,2,3", "=1e999", "=-1", "=12", "==", "=24"]),
        )
        frames = st.builds(lambda head, rest: bytes([head]) + rest, st.integers(128, 255), st.binary(max_size=24))
        check_fuzz(NAME, st.binary(max_size=12) | likely | likely | frames)
        check_flood(NAME, b"x" * 100, 512)
