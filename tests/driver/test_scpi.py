"""The error queue, completion and identity of SCPI instruments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.clock import ManualClock
from labqdl.instruments import Identity, NotConfirmed, SettingsChanged
from labqdl.transport import InstrumentError, Line, ProtocolError, TransportTimeout
from tests.driver.toys import IDN, Toy, opened
from tests.sheet_examples import scripted

NONE = (b"SYST:ERR?\n", b'+0,"No error"\n')


def test_each_set_reads_the_queue_to_its_end() -> None:
    toy, transport = opened(
        (b"PLA 1\n", None),
        (b"SYST:ERR?\n", b'-222,"Data out of range"\n'),
        (b"SYST:ERR?\n", b'-113,"Undefined header; PLA"\n'),
        NONE,
        (b"PLA?\n", b"1\n"),
        quiet=False,
    )
    with pytest.raises(InstrumentError, match="error -222: Data out of range; -113 Undefined header; PLA") as caught:
        toy.plain = 1.0
    assert caught.value.code == -222
    assert caught.value.command == b"PLA 1"
    assert caught.value.instrument == "script"
    assert toy.plain == 1.0, "the connection is in order"
    transport.finish()


@pytest.mark.parametrize(
    "reply", [b"0\n", b"+0\n", b'0,"No error"\n', b'+0, "No error"\n', b"0,No error\n", b' 0 ,""\n']
)
def test_ways_to_say_that_there_is_no_error(reply: bytes) -> None:
    toy, transport = opened((b"BEEP\n", None), (b"SYST:ERR?\n", reply), quiet=False)
    toy.beep()
    transport.finish()


@pytest.mark.parametrize("reply", [b"no error\n", b"\n", b"0.0\n", b"W\n"])
def test_what_is_no_entry_of_a_queue(reply: bytes) -> None:
    toy, transport = opened((b"BEEP\n", None), (b"SYST:ERR?\n", reply), quiet=False)
    with pytest.raises(ProtocolError, match="is not an error such as"):
        toy.beep()
    assert transport.is_dirty


@given(st.integers(-32768, 32767).filter(bool), st.text("abc ;,:-", max_size=20))
def test_every_error_keeps_its_number_and_words(code: int, words: str) -> None:
    reply = f'{code:+d},"{words}"\n'.encode()
    toy, _ = opened((b"BEEP\n", None), (b"SYST:ERR?\n", reply), NONE, quiet=False)
    with pytest.raises(InstrumentError) as caught:
        toy.beep()
    assert caught.value.code == code
    assert caught.value.text == words


def test_a_queue_without_an_end_is_broken() -> None:
    toy, _ = opened((b"BEEP\n", None), also={b"SYST:ERR?\n": b'-350,"Queue overflow"\n'})
    with pytest.raises(ProtocolError, match="did not end after 64 errors"):
        toy.beep()


def test_identity_has_four_fields() -> None:
    for reply, found in (
        (b"Acme,Toy 1,007,1.0\n", Identity("Acme", "Toy 1", "007", "1.0")),
        (b"Acme, Toy 1 ,0,1.0,opt 2\n", Identity("Acme", "Toy 1", "0", "1.0,opt 2")),
    ):
        with scripted([(b"*IDN?\n", reply)], Line()) as transport:
            assert Toy(transport).identity() == found
    with scripted([(b"*IDN?\n", b"Acme,Toy\n")], Line()) as transport, pytest.raises(ProtocolError, match="4 fields"):
        Toy(transport).identity()


def test_somebody_else_is_not_opened_and_nothing_stays_open() -> None:
    with scripted([(b"*IDN?\n", b"Evil,Box,1,1\n")], Line()) as transport:
        toy = Toy(transport, name="toy")
        with pytest.raises(SettingsChanged, match="found Evil Box, expected Acme Toy 1"):
            toy.open()
        assert not toy.is_open
        assert not transport.is_open


def test_opening_twice_and_closing_twice() -> None:
    toy, transport = opened()
    toy.open()
    toy.close()
    toy.close()
    assert not toy.is_open
    transport.finish()


def test_completion_by_opc() -> None:
    toy, transport = opened((b"WAI 1\n", None), NONE, (b"*OPC?\n", b"+1\n"))
    toy.waited = 1.0
    transport.finish()
    toy, _ = opened((b"WAI 1\n", None), (b"*OPC?\n", b"0\n"))
    with pytest.raises(ProtocolError, match="is not 1"):
        toy.waited = 1.0
    toy, _ = opened((b"WAI 1\n", None), (b"*OPC?\n", None))
    with pytest.raises(NotConfirmed, match="not complete after 3 s") as caught:
        toy.waited = 1.0
    assert isinstance(caught.value.__cause__, TransportTimeout)


def test_safe_states_leave_old_errors_alone() -> None:
    steps = [IDN, (b"OUTP 0\n", None), (b"OUTP?\n", b"0\n")]
    with scripted(steps, Line()) as transport:
        toy = Toy(transport, clock=ManualClock())
        toy.open()
        toy.safe_state()
