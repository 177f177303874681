"""Cassettes: what is recorded is replayed to the byte, and compared with a twin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.errors import InputError
from labqdl.transport import Line, ProtocolError, Transport, TransportTimeout
from labqdl.transport.cassette import CassetteRoad, _encoded, differences, load, replaying
from tests.transport.servers import MemoryRoad, over

ID = b"THORLABS,PM100,P0012345,1.4.0\n"


def recorded(path: Path) -> Path:
    road = MemoryRoad(ID[:13], ID[13:], b"1.0E-3\n", b"#3300" + bytes(300) + b"\n", None, b"1\n")
    transport = over(road)
    with transport.record(path, mask=(b"P0012345",), versions={"firmware": "1.4.0"}):
        transport.query(b"*IDN?")
        transport.query(b"POW?")
        transport.query_block(b"CURV?")
        with pytest.raises(TransportTimeout):
            transport.query(b"SLOW?")
        transport.write(b"WAV 1550")
        transport.query(b"*OPC?")
    return path


def play(transport: Transport) -> None:
    assert transport.query(b"*IDN?") == b"THORLABS,PM100,********,1.4.0"
    assert transport.query(b"POW?") == b"1.0E-3"
    assert transport.query_block(b"CURV?").tobytes() == bytes(300)
    with pytest.raises(TransportTimeout, match="no reply was recorded"):
        transport.query(b"SLOW?")
    transport.write(b"WAV 1550")
    assert transport.query(b"*OPC?") == b"1"


def test_what_was_recorded_is_replayed(tmp_path: Path) -> None:
    path = recorded(tmp_path / "power.jsonl")
    text = path.read_text()
    assert "P0012345" not in text
    head = json.loads(text.splitlines()[0])
    assert head["versions"]["firmware"] == "1.4.0"
    assert head["versions"]["labqdl"]
    assert head["instrument"] == "laser"
    with replaying(path) as road, Transport(road, Line(), name="meter", resource="cassette") as transport:
        play(transport)


def test_replay_is_strict(tmp_path: Path) -> None:
    path = recorded(tmp_path / "power.jsonl")
    with Transport(CassetteRoad(load(path)), Line(), name="meter", resource="cassette") as transport:
        transport.query(b"*IDN?")
        with pytest.raises(ProtocolError, match=r"sent 'POWER\?.*power.jsonl, line 4, has > 'POW\?"):
            transport.query(b"POWER?")


def test_leftovers_fail(tmp_path: Path) -> None:
    path = recorded(tmp_path / "power.jsonl")

    def partly() -> None:
        with replaying(path) as road, Transport(road, Line(), name="meter", resource="cassette") as transport:
            transport.query(b"*IDN?")

    with pytest.raises(ProtocolError, match="left over"):
        partly()


def test_a_twin_that_answers_otherwise_is_found(tmp_path: Path) -> None:
    cassette = load(recorded(tmp_path / "power.jsonl"))
    answers = [ID.replace(b"P0012345", b"*" * 8), b"1.0E-3\n", b"#3300" + bytes(300) + b"\n"]
    same = MemoryRoad(*answers, b"1\n")
    same.open()
    assert differences(cassette, same) == []
    other = MemoryRoad(answers[0], b"1.00E-3\n", answers[2], None)
    other.open()
    found = differences(cassette, other)
    assert [(d.line, d.command, d.answered) for d in found] == [
        (5, b"POW?\n", b"1.00E-3\n"),
        (12, b"WAV 1550\n*OPC?\n", b""),
    ]
    assert "'POW?\\n' was answered by '1.0E-3\\n', now by '1.00E-3\\n'" in str(found[0])
    near = MemoryRoad(answers[0], b"1.00E-3\n", answers[2], b"1\n")
    near.open()
    assert differences(cassette, near, same=lambda a, b: a == b or a == b"1.0E-3\n") == []


def test_a_cassette_is_not_overwritten(tmp_path: Path) -> None:
    path = recorded(tmp_path / "power.jsonl")
    transport = over(MemoryRoad())
    with pytest.raises(InputError, match="exists already"), transport.record(path):
        pass


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("{}\n", "line 1: not a line of a cassette"),
        ('{"schema": "labqdl.cassette", "version": 2}\n', "version 2"),
        ('{"schema": "labqdl.cassette", "version": 1}\n{"time": 0, "direction": "?", "text": ""}\n', "line 2"),
        ('{"schema": "labqdl.cassette", "version": 1}\n[]\n', "line 2"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        load(path)
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "missing.jsonl")


@given(st.binary(max_size=50))
def test_any_bytes_survive(data: bytes) -> None:
    import base64

    found = json.loads(json.dumps(_encoded(data)))
    assert data == (base64.b64decode(found["base64"]) if "base64" in found else found["text"].encode("latin-1"))
