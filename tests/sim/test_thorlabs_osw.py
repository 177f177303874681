"""The switches' twins: the sheet's examples, paths of light, moving mirrors, parsers."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from labqdl.errors import InputError
from labqdl_sim.ports import Light, LightIn
from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_flood, check_fuzz, check_titles, play_example

NAME = "thorlabs-osw"
AGILTRON = "labqdl_sim.twins.thorlabs_osw:AgiltronFf"
SHEET = load(NAME)
LOSS = 10**-0.07


def on_channel_3(lab: Lab) -> None:
    lab.wire.ask(b"\x01\x12\x00\x03")


BEFORE: dict[str, Before] = {"Agiltron: active channel": on_channel_3}
NOT_SIMULATED: dict[str, str] = {}


@pytest.mark.parametrize("example", [e for e in SHEET.examples if e.title not in NOT_SIMULATED], ids=lambda e: e.title)
def test_example(example: Example) -> None:
    name = AGILTRON if example.title.startswith("Agiltron") else NAME
    play_example(name, example, {}, BEFORE, {})


def test_every_example_and_every_command_is_there() -> None:
    check_titles(SHEET, BEFORE, NOT_SIMULATED)
    osw, board = Lab(NAME), Lab(AGILTRON)
    for command in SHEET.commands:
        if command.startswith("0x"):
            assert board.wire.ask(bytes.fromhex(command[2:]) + b"\x00\x01") != b"", command
        else:
            assert osw.ask(f"{command}?\n"), command


def lit(name: str, inputs: tuple[str, ...] = ("input",), **options: object) -> Lab:
    lab = Lab(name, **options)
    for index, port in enumerate(inputs):
        fibre = lab.twin.ports[port]
        assert isinstance(fibre, LightIn)
        fibre.connect(lambda t, index=index: Light((1 + index) * 1e-3, (1550 + index) * 1e-9))  # type: ignore[misc]
    return lab


class TestOsw:
    def test_one_by_two(self) -> None:
        lab = lit(NAME)
        assert lab.light("output1").power == pytest.approx(1e-3 * LOSS)
        assert lab.light("output2").power == pytest.approx(1e-9 * LOSS)
        lab.wire.ask(b"S 2\n")
        assert lab.light("output1").power < 1e-8
        assert lab.light("output2").power < 1e-8
        lab.after(0.6e-3)
        assert lab.light("output2").power == pytest.approx(1e-3 * LOSS)
        lab.twin.reset()
        assert lab.light("output1").power == pytest.approx(1e-3 * LOSS)

    def test_two_by_two(self) -> None:
        lab = lit(NAME, ("input1", "input2"), model="OSW22-1310E")
        assert lab.light("output1").wavelength == pytest.approx(1550e-9)
        assert lab.ask("T?\n") == "OSW22-1310E"
        lab.wire.ask(b"S 2\n")
        lab.after(1e-3)
        assert lab.light("output1").power == pytest.approx(2e-3 * LOSS, rel=1e-5)
        assert lab.light("output1").wavelength == pytest.approx(1551e-9)
        assert lab.light("output2").wavelength == pytest.approx(1550e-9)

    def test_dark_without_light(self) -> None:
        assert Lab(NAME).light("output1").dark

    def test_silence_for_what_is_unknown(self) -> None:
        lab = Lab(NAME)
        for text in ("S 3\n", "S 0\n", "S\n", "X?\n", "S?x\n", "*IDN?\n", "\n"):
            assert lab.ask(text) == ""
        assert lab.ask("S?\n") == "1"
        assert lab.ask("s 2\r\nS? \n") == "2"

    def test_the_board_does_not_hear_while_the_mirror_moves(self) -> None:
        lab = Lab(NAME)
        lab.twin.clock.sleep(1.0)
        session = lab.twin.connect()
        session.feed(b"S 2\nS?\n")
        assert session.ready_at() == pytest.approx(1.0 + 0.5e-3 + 1e-3)

    def test_fuzz(self) -> None:
        likely = st.sampled_from([b"S 1\n", b"S 2\n", b"S?", b"I? \n", b"T?\r\n", b"S 99999999999999999999\n"])
        check_fuzz(NAME, st.binary(max_size=20) | likely)
        check_flood(NAME, b"x" * 100, 256)


class TestAgiltron:
    def test_channels_and_settling(self) -> None:
        lab = lit(AGILTRON, channels=4)
        assert lab.wire.ask(b"\x01\x12\x00\x04") == b"\x01\x12\x00\x04"
        assert lab.light("output1").power == pytest.approx(1e-4 * LOSS)
        lab.after(6e-3)
        assert lab.light("output1").power < 1e-8
        assert lab.light("output4").power < 1e-8
        lab.after(5e-3)
        assert lab.light("output4").power == pytest.approx(1e-3 * LOSS)
        assert lab.wire.ask(b"\x01\x11\x00\x00") == b"\x01\x11\x00\x04"

    def test_refusals_differ_from_the_request(self) -> None:
        lab = Lab(AGILTRON, channels=4)
        for channel in (0, 5, 255):
            assert lab.wire.ask(bytes([1, 0x12, 0, channel])) == bytes([1, 0x12, 0xFF, channel])
        lab.twin.faults.add("busy")
        assert lab.wire.ask(b"\x01\x12\x00\x02") == b"\x01\x12\xff\x02"
        assert lab.wire.ask(b"\x01\x11\x00\x00") == b"\x01\x11\x00\x01"

    def test_noise_before_a_frame_and_frames_nobody_knows(self) -> None:
        lab = Lab(AGILTRON)
        assert lab.wire.ask(b"\xff\x00\x01\x12") == b""
        assert lab.wire.ask(b"\x00\x02\x01\x13\x00\x00") == b"\x01\x12\x00\x02"
        with pytest.raises(InputError):
            Lab(AGILTRON, channels=5)

    def test_fuzz(self) -> None:
        likely = st.builds(lambda op, n: bytes([1, op, 0, n]), st.sampled_from([0x11, 0x12]), st.integers(0, 255))
        check_fuzz(AGILTRON, st.binary(max_size=20) | likely)
        check_flood(AGILTRON, b"x" * 100, 256)
