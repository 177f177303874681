"""Registers: numbers, switches and choices in bytes, and what does not fit."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.errors import InputError
from labqdl.instruments import LimitError
from labqdl.transport import ProtocolError
from tests.driver.toys import Colour, ToyFrames, Watchman, framed


@given(st.integers(-10_000, 32_767))
def test_words_are_scaled_and_rounded_to_their_step(number: int) -> None:
    data = struct.pack(">h", number)
    toy, transport = framed((b"\x10" + data, None), (b"\x10", data))
    toy.level = number * 0.01 + 0.004
    assert toy.level == pytest.approx(number * 0.01)
    transport.finish()


def test_every_kind_of_register() -> None:
    toy, transport = framed(
        (b"\x11\x12\x34", None),
        (b"\x11", b"\x12\x34"),
        (b"\x12\x00\x08", None),
        (b"\x12", b"\xff\xf7"),
        (b"\x13\x00\x07", None),
        (b"\x13", b"\x00\x01"),
        (b"\x15", b"\xff\xff"),
        (b"\x16\x00\x05", None),
    )
    toy.guard = guard = Watchman()
    toy.count = 0x1234
    assert toy.count == 0x1234
    toy.light = True
    assert toy.light is False
    toy.colour = Colour.BLUE
    assert toy.colour is Colour.RED
    assert toy.shared == -1.0
    toy.shared = 5.0
    assert guard.asked == ["frames.light"]
    transport.finish()


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("level", 400.0, InputError),
        ("level", -100.1, LimitError),
        ("count", -1, InputError),
        ("count", 65536, InputError),
    ],
)
def test_what_does_not_fit_is_refused_before_a_byte_is_sent(name: str, value: Any, error: type[Exception]) -> None:
    toy, transport = framed()
    before = transport.traffic
    with pytest.raises(error, match="Nothing was sent"):
        setattr(toy, name, value)
    assert transport.traffic == before


def test_wrong_lengths_and_meanings_are_no_values() -> None:
    toy, transport = framed((b"\x14", b"\x00\x01"))
    with pytest.raises(ProtocolError, match="0x14 holds 2 bytes instead of 4"):
        _ = toy.long
    assert transport.is_dirty
    toy, transport = framed((b"\x13", b"\x00\x02"))
    with pytest.raises(ProtocolError, match="0x13 holds 2, which colour cannot be"):
        _ = toy.colour
    assert transport.is_dirty


def test_longer_registers_where_a_family_says_so() -> None:
    class Generous(ToyFrames):
        longer_registers = True

        def read_register(self, register: int) -> bytes:
            return b"\x00\x64\xff"

        def safe_state(self) -> None:
            """Nothing to do."""

    toy, _ = framed()
    generous = Generous(toy.transport)
    assert generous.level == 1.0
    with pytest.raises(ProtocolError, match="3 bytes instead of 4"):
        _ = generous.long


def test_registers_are_the_commands() -> None:
    assert set(ToyFrames.quantities()["shared"].commands()) == {"0x15", "0x16"}
