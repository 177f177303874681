"""The examples of the fact sheets: complete, sound, and, where the sheets are at hand, really in them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from labqdl.driver.coverage import command_key
from labqdl.transport import Line, TransportTimeout
from tests.sheet_examples import (
    Exchange,
    ScriptRoad,
    Sheet,
    alike,
    load,
    names,
    play,
    same_form,
    scripted,
)

FAMILIES = {
    "oif-itla",
    "nkt-koheras",
    "santec-tsl",
    "keysight-33500",
    "tektronix-awg",
    "thorlabs-mbx",
    "keithley-2400",
    "keysight-n77",
    "amonics-edfa",
    "thorlabs-pm100",
    "keysight-infiniivision",
    "tektronix-mso",
    "labqdl-lockbox",
    "qontrol",
    "thorlabs-mpc320",
    "thorlabs-osw",
    "redpitaya",
    "idq-id900",
}
SHARED = Path(__file__).parents[2] / "shared" / "instruments"


def test_every_family_has_its_examples() -> None:
    assert set(names()) == FAMILIES


@pytest.mark.parametrize("name", names())
def test_examples_are_complete_and_sound(name: str) -> None:
    sheet = load(name)
    assert len(sheet.examples) == sheet.worked
    assert len(set(sheet.titles)) == len(sheet.titles)
    assert len(set(sheet.commands)) == len(sheet.commands)
    for example in sheet.examples:
        assert example.lines == tuple(sorted(example.lines))
        assert example.exchanges
        for exchange in example.exchanges:
            assert exchange.send or exchange.reply, f"{example.title}: neither message nor reply"
            assert exchange.derived <= {"send", "reply"}


def bip4(frame: bytes) -> int:
    mixed = (frame[0] & 0x0F) ^ frame[1] ^ frame[2] ^ frame[3]
    return (mixed >> 4) ^ (mixed & 0x0F)


def crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc


def frames(name: str) -> list[tuple[str, bytes]]:
    return [
        (example.title, side)
        for example in load(name).examples
        for exchange in example.exchanges
        for side in (exchange.send, exchange.reply)
        if side is not None
    ]


def test_frames_carry_right_checksums() -> None:
    for title, frame in frames("oif-itla"):
        assert (len(frame), frame[0] >> 4) == (4, bip4(frame)), title
    for title, frame in frames("nkt-koheras"):
        assert (frame[0], frame[-1]) == (0x0D, 0x0A), title
        body = re.sub(rb"\x5e(.)", lambda found: bytes([found[1][0] - 0x40]), frame[1:-1], flags=re.DOTALL)
        assert crc16(body) == 0, title
    for title, frame in frames("thorlabs-mpc320"):
        length = int.from_bytes(frame[2:4], "little") if frame[4] & 0x80 else 0
        assert len(frame) == 6 + length, title


# --- against the sheets, where they stand beside the project ----------------------------------------------------------

OWN = Path(__file__).parents[1] / "docs" / "instruments"
"""Sheets of instruments that are the project's own."""


def sheet_text(sheet: Sheet) -> str:
    """The fact sheet."""
    own = OWN / sheet.sheet
    return (own if own.is_file() else SHARED / sheet.sheet).read_text(encoding="utf-8")


needs_sheets = pytest.mark.skipif(not SHARED.is_dir(), reason="the fact sheets are not beside the project")


def words(text: str) -> set[str]:
    """All words of a text in capitals, and the short forms that its capital letters mark; digits at the end gone."""
    found: set[str] = set()
    for word in re.findall(r"[A-Za-z_]+", text):
        short = re.match(r"[A-Z_]+", word)
        found.add(word.upper())
        if short:
            found |= {short[0], short[0][:-1]}  # the latter where a long form goes on in capitals: "CHANneln", "CHn"
    return found


def hexadecimal(text: str) -> str:
    """The bytes of a text that shows some, one blank between them."""
    return re.sub(r"[^0-9a-f]+", " ", text.lower())


def check_text(data: bytes, quoted: str, place: str) -> None:
    for word in re.findall(r"[A-Za-z_]+", data.decode("latin-1")):
        assert word.upper() in words(quoted), f"{place}: {word}"
    # numbers of channels (n, c, <x> in the sheet) stand close to letters; those of arguments and replies do not
    for number in re.findall(r"(?<![\w.:])[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])", data.decode("latin-1")):
        assert number.lstrip("+") in quoted, f"{place}: {number}"


def check_binary(data: bytes, quoted: str, place: str) -> None:
    """All bytes stand there, or a block's data do and its message around in words."""
    if data.hex(" ") in hexadecimal(quoted):
        return
    mark = data.find(b"#")
    assert mark >= 0, f"{place}: {data.hex(' ')}"
    start = mark + 2 + int(data[mark + 1 : mark + 2])
    length = int(data[mark + 2 : start])
    assert data[start : start + length].hex(" ") in hexadecimal(quoted), f"{place}: {data.hex(' ')}"
    check_text(data[:mark], quoted, place)


@needs_sheets
@pytest.mark.parametrize("name", names())
def test_quoted_lines_hold_the_examples(name: str) -> None:
    sheet = load(name)
    lines = sheet_text(sheet).splitlines()
    for example in sheet.examples:
        quoted = "\n".join(lines[number - 1] for number in example.lines)
        for exchange in example.exchanges:
            for side, data in (("send", exchange.send), ("reply", exchange.reply)):
                if data is None or side in exchange.derived:
                    continue
                place = f"{example.title}, {side}"
                if all(byte in b"\r\n" or 32 <= byte < 127 for byte in data):
                    check_text(data, quoted, place)
                else:
                    check_binary(data, quoted, place)


def missing(sheet: Sheet, text: str) -> list[str]:
    known, shown = words(text), hexadecimal(text)
    numbers = {int(number, 16) for number in re.findall(r"0x([0-9A-Fa-f]+)", text)}
    for first, last in re.findall(r"0x([0-9A-F]+)\.\.0x([0-9A-F]+)", text):
        numbers |= set(range(int(first, 16), int(last, 16)))
    absent = []
    for command in sheet.commands:
        key = command_key(command)
        if key.startswith("0x"):
            number = int(key, 16)
            if number not in numbers and number.to_bytes(2, "big").hex(" ") not in shown:
                absent.append(command)
        elif not all(node.lstrip("*") in known for node in re.split(r"[:-]", key)):
            absent.append(command)
    return absent


@needs_sheets
@pytest.mark.parametrize("name", names())
def test_commands_stand_in_the_sheet(name: str) -> None:
    sheet = load(name)
    assert missing(sheet, sheet_text(sheet)) == []


# --- the helpers themselves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("SOUR{n}:VOLT {}", "SOUR:VOLT"),
        ("SOUR1:VOLT?", "SOUR:VOLT"),
        (":DRIV:{mode}:CUR:CH{n} {}", "DRIV:CUR:CH"),
        ("MZM:MODE: {}", "MZM:MODE"),
        ("v{n}={}", "V"),
        ("*IDN?", "*IDN"),
        ("0x0453", "0x453"),
        ("0x0b", "0x0B"),
    ],
)
def test_command_key(command: str, key: str) -> None:
    assert command_key(command) == key


def test_arguments_may_be_written_in_other_ways_but_nothing_else() -> None:
    assert alike(b"SRAT 100000000.0\n", b"SRAT 1E8\n")
    assert alike(b"v3=4.50\n", b"v3=4.5\n")
    assert not alike(b"SRAT 1.1E8\n", b"SRAT 1E8\n")
    assert not alike(b"SOUR2:VOLT 1\n", b"SOUR1:VOLT 1\n")
    assert not alike(b"VOLT 1\r\n", b"VOLT 1\n")
    assert not alike(b"DATA A,#11\x01", b"DATA A,#11\x02")


def test_forms() -> None:
    assert same_form(b"9.87654321E-05\n", b"1.23456789E-03\n")
    assert not same_form(b"9.8765E-05\n", b"1.23456789E-03\n")
    assert not same_form(b"9.87654321E-05\r\n", b"1.23456789E-03\n")
    assert same_form(b"THORLABS,PM100D,M00009,3.0\n", b"THORLABS,PM100D,P0001234,2.5.0\n")
    assert not same_form(b"THORLABS PM100D\n", b"THORLABS,PM100D,P0001234,2.5.0\n")
    assert same_form(b"+1.0000 V\n", b"+4.5003 V\n")
    assert not same_form(b"1.0000 V\n", b"+4.5003 V\n")
    assert same_form(b"\x84\x42\x03\xe8", b"\x84\x42\x03\xe7")
    assert not same_form(b"\x84\x42\x03", b"\x84\x42\x03\xe7")


def test_a_script_is_followed_to_its_end() -> None:
    road = ScriptRoad([Exchange(None, b"E90:00\n"), Exchange(b"v3=4.5\n", b"OK\n")], {b"ok\n": b"OK\n"})
    road.open()
    assert road.waiting()
    assert road.receive(3, 0.0) + road.receive(99, 0.0) == b"E90:00\n"
    road.send(b"ok\n", 0.0)
    assert road.receive(99, 0.0) == b"OK\n"
    with pytest.raises(AssertionError, match="never sent"):
        road.finish()
    road.send(b"v3=", 0.0)
    with pytest.raises(AssertionError, match="half a message"):
        road.finish()
    road.send(b"4.5\n", 0.0)
    with pytest.raises(AssertionError, match="never read"):
        road.finish()
    assert road.receive(99, 0.0) == b"OK\n"
    road.finish()
    with pytest.raises(TransportTimeout):
        road.receive(1, 0.0)
    with pytest.raises(AssertionError, match="where the script has None"):
        road.send(b"v4=1\n", 0.0)
    with pytest.raises(AssertionError, match="where the script has None"):
        road.finish()


@pytest.mark.parametrize("messages", [False, True])
def test_a_scripted_transport_checks_the_script_when_left(messages: bool) -> None:
    sheet = load("thorlabs-pm100")
    queue = {b"SYST:ERR?\n": b'+0,"No error"\n'}
    with scripted(sheet["measured power"], Line(), queue, messages=messages) as transport:
        assert transport.query(b"SYST:ERR?") == b'+0,"No error"'
        assert transport.query(b"MEAS:POW?") == b"1.23456789E-03"
        assert transport.query(b"SYST:ERR?") == b'+0,"No error"'
    upload = load("keysight-33500")["upload of four samples, little-endian float32"]
    with scripted(upload, Line(), messages=messages) as transport:
        transport.write(b"FORM:BORD SWAP")
        transport.write_block(b"SOUR1:DATA:ARB MYWFM,", np.array([0.0, 0.5, 1.0, -1.0], "<f4"))
    with pytest.raises(AssertionError, match="never sent"), scripted(upload, Line()) as transport:
        transport.write(b"FORM:BORD SWAP")


def test_play_compares_bytes_or_form() -> None:
    class Echo:
        output = bytearray()

        def feed(self, data: bytes) -> None:
            self.output += data

    twin = Echo()
    assert play(twin, Exchange(b"1.5\n", b"1.5\n")) == b"1.5\n"
    assert play(twin, Exchange(b"1.5\n", b"2.7\n", typical=True)) == b"1.5\n"
    with pytest.raises(AssertionError, match="instead of"):
        play(twin, Exchange(b"1.5\n", b"2.7\n"))
    with pytest.raises(AssertionError, match="has not the form"):
        play(twin, Exchange(b"1.5\n", b"2.70\n", typical=True))
