"""Lines of text: a reply is understood as a whole or refused, and a value is refused before a byte is sent."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labqdl.driver import Bool, Choice, Float, commands_used, number_in, reasons
from labqdl.errors import InputError
from labqdl.instruments import Limit, LimitError, NotACapability, NotAValue, Part
from labqdl.transport import ProtocolError
from labqdl.units import from_dbm
from tests.driver.toys import Colour, Toy, opened

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(NUMBERS)
def test_every_number_that_is_written_is_read(number: float) -> None:
    for text in (repr(number), f"{number:.9g}", f"{number:+.8E}"):
        assert number_in(text) == float(text)
        assert number_in(f"{text} dBm", " dBm") == float(text)
        assert number_in(f"a, {text} ,b", field=1) == float(text)


@given(st.text(max_size=12))
def test_text_is_a_number_only_as_a_whole(text: str) -> None:
    try:
        number = number_in(text)
    except ValueError:
        return
    assert math.isfinite(number)
    assert text.isascii()
    assert not set(text) - set("0123456789+-.eE")
    assert number == float(text)


@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "-inf", "1_000", "0x1F", "1,5", "1.5 W", " 1", "1 ", "--1", "1e", ".", "1e400", "١"]
)
def test_what_python_or_people_call_a_number_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        number_in(text)


@given(st.text("0123456789+-.eE_ naifty\t\x1c\xb2\xa0", max_size=8) | NUMBERS.map(repr))
@example("9.91E+37")
@example("1_0")
def test_the_short_way_to_a_number_is_as_strict_as_the_long_one(reply: str) -> None:
    class Slow(Float):
        """Without the short way: it has a `parse` of its own."""

        def parse(self, reply: str, part: Part) -> float:
            return super().parse(reply, part)

    def outcome(quantity: Float) -> float | str:
        toy, _ = opened((b"PLA?\n", reply.encode("latin-1") + b"\n"))
        try:
            return quantity.fetch(toy)
        except (ProtocolError, NotAValue) as error:
            return str(error)

    quick, slow = Float("PLA?", unit="V"), Slow("PLA?", unit="V")
    assert quick._sent is not None
    assert slow._sent is None
    assert outcome(quick) == outcome(slow)


@given(st.floats(0.0, 10.0))
def test_what_is_set_is_what_is_sent(value: float) -> None:
    sent = format(value, ".9g")
    toy, transport = opened((f"PLA {sent}\n".encode(), None), (b"PLA?\n", f"{sent}\n".encode()))
    toy.plain = value
    assert toy.plain == float(sent)
    assert f"PLA {sent}\n".encode() in [entry.data for entry in transport.traffic]
    transport.finish()


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [("power", from_dbm(-10), b"POW -10\n"), ("power", 1e-3, b"POW 0\n"), ("wavelength", 1550e-9, b"WAV 1550.0000\n")],
)
def test_what_is_sent_is_in_the_units_of_the_wire(name: str, value: float, sent: bytes) -> None:
    toy, transport = opened((sent, None))
    setattr(toy, name, value)
    transport.finish()


@pytest.mark.parametrize(
    ("name", "reply", "value"),
    [
        ("plain", b"+1.50000000E+00", 1.5),
        ("wavelength", b"1550.0000", 1550e-9),
        ("power", b"-10", from_dbm(-10)),
        ("warm", b"25.0 C", 298.15),
        ("second", b"7, 12.5", 0.0125),
        ("count", b"+3.0E+0", 3),
        ("light", b"+1", True),
        ("light", b"off", False),
        ("reverse", b"0", True),
        ("reverse", b"1", False),
        ("colour", b"r", Colour.RED),
        ("colour", b"Blue", Colour.BLUE),
        ("title", b'"a, b"', "a, b"),
    ],
)
def test_replies_that_are_understood(name: str, reply: bytes, value: Any) -> None:
    command = next(iter(Toy.quantities()[name].commands())).encode()
    toy, transport = opened((command + b"\n", reply + b"\n"))
    found = getattr(toy, name)
    assert found == (pytest.approx(value) if isinstance(value, float) else value)
    assert type(found) is type(value)
    transport.finish()


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("plain", b"1.5 V"),
        ("plain", b"1.5;2"),
        ("plain", b""),
        ("warm", b"25.0"),
        ("warm", b"25.0 K"),
        ("second", b"7"),
        ("count", b"3.5"),
        ("count", b"three"),
        ("light", b"2"),
        ("light", b"1 1"),
        ("reverse", b"ON"),
        ("colour", b"GREEN"),
        ("title", b"a"),
        ("title", b"'a\""),
        ("plain", b"\xb5\xff"),
    ],
)
def test_replies_that_are_not(name: str, reply: bytes) -> None:
    command = next(iter(Toy.quantities()[name].commands())).encode()
    toy, transport = opened((command + b"\n", reply + b"\n"))
    with pytest.raises(ProtocolError) as caught:
        getattr(toy, name)
    assert caught.value.command == command
    assert caught.value.traffic
    assert transport.is_dirty, "what may be a shifted reply is not read on"


@pytest.mark.parametrize("reply", [b"9.91E+37", b"-9.9E37", b"9.9e+37"])
def test_the_number_that_means_none_is_no_value(reply: bytes) -> None:
    toy, transport = opened((b"PLA?\n", reply + b"\n"))
    with pytest.raises(NotAValue, match="plain has no value now"):
        _ = toy.plain
    assert not transport.is_dirty


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        ("plain", 10.001, LimitError, r"10\.001 V is outside of the limits; expected 0 to 10 V \(the device's\)"),
        ("plain", -1e-9, LimitError, "Nothing was sent"),
        ("plain", math.nan, InputError, "not finite"),
        ("plain", math.inf, InputError, "not finite"),
        ("plain", "3", InputError, "is no number"),
        ("plain", True, InputError, "is no number"),
        ("plain", None, InputError, "is no number"),
        ("wavelength", 1600.1e-9, LimitError, "of the toy"),
        ("count", 2.5, InputError, "no whole number"),
        ("count", 6, LimitError, "1 to 5"),
        ("light", 1, InputError, "no switch"),
        ("title", 1, InputError, "no text"),
        ("colour", "pink", InputError, "expected red or blue or green"),
        ("colour", Colour.GREEN, NotACapability, "colour green"),
        ("fixed", 1.0, InputError, "can only be read"),
        ("both", 1.0, InputError, "can only be read"),
    ],
)
def test_wrong_values_are_refused_before_a_byte_is_sent(
    name: str, value: Any, error: type[Exception], words: str
) -> None:
    toy, transport = opened()
    before = transport.traffic
    with pytest.raises(error, match=words):
        setattr(toy, name, value)
    assert transport.traffic == before


def test_the_tightest_limit_wins_and_says_whose_it_is() -> None:
    toy, transport = opened((b"PLA 5\n", None))
    toy.limit("plain", Limit(1.0, 6.0, "of the station file"))
    toy.limit("plain", Limit(high=5.0, reason="of interlock seed"))
    toy.plain = 5.0
    for value, words in (
        (5.5, "of interlock seed"),
        (7.0, "of interlock seed"),
        (0.5, "1 to 6 V .of the station file"),
    ):
        with pytest.raises(LimitError, match=words):
            toy.plain = value
    with pytest.raises(KeyError):
        toy.limit("voltage", Limit())
    transport.finish()


def test_channels_write_their_number_and_have_limits_of_their_own() -> None:
    toy, transport = opened((b"CH2:LEV 0.5\n", None), (b"CH1:LEV?\n", b"0.25\n"))
    toy.limit("channel 2.level", Limit(high=0.5, reason="of the station file"))
    toy.channels()[2].level = 0.5
    assert toy.channels()[1].level == 0.25
    with pytest.raises(LimitError, match=r"'channel 2\.level'.*station file"):
        toy.channels()[2].level = 0.6
    transport.finish()


def test_a_unit_that_the_front_panel_switches() -> None:
    toy, transport = opened(
        (b"UNIT?\n", b"+0\n"),
        (b"EIT?\n", b"-20\n"),
        (b"UNIT?\n", b"1\n"),
        (b"EIT 0.002\n", None),
        (b"UNIT?\n", b"2\n"),
    )
    assert toy.either == pytest.approx(1e-5)
    toy.either = 2e-3
    with pytest.raises(ProtocolError, match="is not 0 or 1"):
        _ = toy.either
    transport.finish()


def test_several_commands_actions_and_options() -> None:
    toy, transport = opened((b"TWI:A 1\n", None), (b"TWI:B 1\n", None), (b"BEEP\n", None), (b"OPT?\n", b"2\n"))
    toy.twice = 1.0
    toy.beep()
    assert toy.option == 2.0
    toy.lacking = "it was not bought"
    with pytest.raises(NotACapability, match="has no option: it was not bought"):
        _ = toy.option
    with pytest.raises(NotACapability, match="it was not bought"):
        toy.option = 1.0
    transport.finish()


def test_numbers_of_hand_written_methods_are_as_strict() -> None:
    toy, _ = opened((b"X?\n", b"1.5\n"), (b"X?\n", b"9.91E37\n"), (b"X?\n", b"1.5 V\n"))
    assert toy.ask_number("X?") == 1.5
    with pytest.raises(NotAValue):
        toy.ask_number("X?")
    with pytest.raises(ProtocolError, match="is not a number"):
        toy.ask_number("X?")


def test_a_word_cannot_mean_two_things() -> None:
    with pytest.raises(ValueError, match="on and off"):
        Bool("A?", "A {}", on="1", off="1")
    with pytest.raises(ValueError, match="red and blue: 'Red'"):
        Choice("A?", "A {}", words={Colour.RED: ("RED", "1"), Colour.BLUE: ("BLUE", "Red")})


def test_declarations_that_cannot_be_meant() -> None:
    with pytest.raises(ValueError, match="none of the units"):
        Float("A?", unit="dBm")


def test_every_command_of_a_driver_is_known() -> None:
    used = commands_used(Toy)
    assert {"PLA?", "PLA {}", "TWI:A {}", "TWI:B {}", "UNIT?", "BEEP", "SELF", "CH{n}:LEV?", "*IDN?"} <= used
    assert reasons({"A B": "why", "C": "how"}) == {"A": "why", "B": "why", "C": "how"}


@pytest.mark.parametrize(("value", "word"), [(50.0, b"FIFT"), (1e6, b"MEG"), (9.9e5, None), (51.0, None)])
def test_numbers_that_take_some_values_only(value: float, word: bytes | None) -> None:
    steps = [] if word is None else [(b"IMP " + word + b"\n", None), (b"IMP?\n", f"{value:.3E}\n".encode())]
    toy, transport = opened(*steps)
    if word is None:
        with pytest.raises(InputError, match="is none of its values; expected 50 or 1000000"):
            toy.impedance = value
    else:
        toy.impedance = value
        assert toy.impedance == value
    transport.finish()


@pytest.mark.parametrize(
    ("reply", "value"), [(b"fift", 50.0), (b"50", 50.0), (b"5.0E1", 50.0), (b"+1.000000E+06", 1e6), (b"MEG", 1e6)]
)
def test_ways_to_say_one_of_some_values(reply: bytes, value: float) -> None:
    toy, _ = opened((b"IMP?\n", reply + b"\n"), (b"IMP?\n", b"75\n"))
    assert toy.impedance == value
    with pytest.raises(ProtocolError, match="is not FIFT or MEG"):
        _ = toy.impedance


@pytest.mark.parametrize("text", ['a"b', "a\nb", "grün"])
def test_a_text_stays_one_argument(text: str) -> None:
    toy, transport = opened()
    before = transport.traffic
    with pytest.raises(InputError, match="is not one argument"):
        toy.title = text
    assert transport.traffic == before
