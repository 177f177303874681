"""ID900 and ID1000 on scripted messages."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl.instruments import LimitError, NotACapability, NotAValue, NotConfirmed, SettingsChanged
from labqdl.transport import InstrumentError, ProtocolError, Whole
from labqdl_drivers.counters.idq_id900 import ID900, Coupling, Edge, Resolution, time_stamps
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("idq-id900")
Pair = tuple[bytes | None, bytes | None]
GATES = b";:".join(b"INPU%d:COUN:INTE?" % number for number in (1, 2, 3, 4))
OPENING: dict[bytes, bytes | None] = {
    b"*IDN?": b"ID Quantique,ID900,2019001,1.7.0",
    b"DEVI:RES:BWID?": b"100",
}
ID1000 = {b"*IDN?": b"IDQ,ID1000,2023001,2.1"}


def counter(*pairs: Pair, also: dict[bytes, bytes] | None = None) -> tuple[ID900, ScriptedTransport]:
    clock = ManualClock()
    transport = scripted(pairs, Whole(), OPENING | dict(also or {}), messages=True, clock=clock)
    box = ID900(transport, clock=clock)
    box.open()
    return box, transport


def gate(box: ID900) -> None:
    box.gate_time = 1.0


def threshold(box: ID900) -> None:
    box.channels()[1].threshold = 1.0


def refused(box: ID900) -> None:
    with pytest.raises(InstrumentError, match="SCPI_ERR_UNKNOWN"):
        box.ask("INPU9:COUN?")


def equals(call: Callable[[ID900], object], value: object) -> Callable[[ID900], None]:
    def check(box: ID900) -> None:
        assert call(box) == value

    return check


CALLS: dict[str, Callable[[ID900], None]] = {
    "three settings in one message": gate,
    "two counts in one message": equals(lambda box: box.counts_of(1, 2).tolist(), [12345, 23456]),
    "high resolution": equals(lambda box: box.time_base, 1e-12),
    "low resolution": equals(lambda box: box.time_base, 100e-12),
    "a setting is answered with an empty message": threshold,
    "high-resolution input without error": equals(lambda box: box.channels()[1].trouble, 0),
    "delay": equals(lambda box: box.channels()[1].delay, pytest.approx(100e-9)),
    "histogram": equals(lambda box: box.histogram(1).tolist(), [0, 0, 3, 12]),
    "acquisition timer is playing": equals(lambda box: box.recording, True),
    "an error is an answer": refused,
}
NOT_DRIVEN = {"time stamp with its reference index": "a piece of a file: see test_time_stamps"}


def test_the_sheet_is_covered() -> None:
    assert len(SHEET.examples) == SHEET.worked
    assert set(SHEET.titles) == CALLS.keys() | NOT_DRIVEN.keys()


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    others = {b"INPU%d:COUN:MODE CYCL;INTE 1000;RESEt" % number: b"" for number in (2, 3, 4)}
    always = OPENING | others | {GATES: b"1000\n1000\n1000\n1000"} | (ID1000 if "playing" in title else {})
    with scripted(SHEET[title], Whole(), always, messages=True) as transport:
        box = ID900(transport, clock=ManualClock())
        box.open()
        CALLS[title](box)
        box.close()


class TestMessages:
    @given(st.binary(max_size=40))
    def test_any_message_is_whole(self, message: bytes) -> None:
        with scripted([(b"X?", message)], Whole(), messages=True) as transport:
            assert transport.query(b"X?") == message

    def test_an_answer_to_a_set(self) -> None:
        box, _ = counter((b"INPU1:ENAB ON", b"1"))
        with pytest.raises(ProtocolError, match="empty message"):
            box.channels()[1].enabled = True

    def test_an_error_leaves_the_connection(self) -> None:
        box, transport = counter((b"INPU1:ENAB ON", b"SCPI_ERR_EXECUTION"), (b"INPU1:ENAB?", b"OFF"))
        with pytest.raises(InstrumentError, match="SCPI_ERR_EXECUTION"):
            box.channels()[1].enabled = True
        assert not box.channels()[1].enabled
        transport.finish()


class TestInputs:
    def test_settings(self) -> None:
        box, transport = counter(
            (b"INPU2:ENAB ON", b""),
            (b"INPU2:THRE -0.4V", b""),
            (b"INPU2:THRE?", b"-0.4V"),
            (b"INPU2:COUP AC", b""),
            (b"INPU2:EDGE FALLING", b""),
            (b"INPU2:EDGE?", b"FALLING"),
            (b"INPU2:SELE UNSHAPED", b""),
            (b"INPU2:COUN?", b"77"),
            (b"INPU2:HIRES:ERROR:CLEAR", b""),
        )
        one = box.channels()[2]
        one.enabled = True
        one.threshold = -0.4
        assert one.threshold == -0.4
        one.coupling = Coupling.AC
        one.edge = Edge.FALLING
        assert one.edge is Edge.FALLING
        one.shaped = False
        assert one.counts == 77
        one.clear_trouble()
        transport.finish()

    def test_limits(self) -> None:
        box, transport = counter()
        with pytest.raises(LimitError, match=r"-2\.5 to 2\.5 V"):
            box.channels()[1].threshold = 3.0
        with pytest.raises(LimitError, match=r"at least 0\.001 s"):
            box.gate_time = 1e-4
        transport.finish()

    @pytest.mark.parametrize(("idn", "link"), [({}, b"INPO:LINK"), (ID1000, b"LINK")])
    def test_delays_are_linked_and_read_back(self, idn: dict[bytes, bytes], link: bytes) -> None:
        box, transport = counter(
            (b"DELA3:" + link + b" INPU3", b""), (b"DELA3:VALU 25", b""), (b"DELA3:VALU?", b"25TB"), also=idn
        )
        box.channels()[3].delay = 2.5e-9
        transport.finish()

    def test_without_a_time_base(self) -> None:
        box, transport = counter(also={b"DEVI:RES:BWID?": b"SCPI_ERR_UNDEFINED"})
        with pytest.raises(NotACapability, match="time base"):
            _ = box.channels()[1].delay
        transport.finish()

    def test_a_delay_in_other_units(self) -> None:
        box, _ = counter((b"DELA1:VALU?", b"1000"))
        with pytest.raises(ProtocolError, match="1000TB"):
            _ = box.channels()[1].delay


class TestCounting:
    def test_gate(self) -> None:
        sets = [(b"INPU%d:COUN:MODE CYCL;INTE 100;RESEt" % number, b"") for number in (1, 2, 3, 4)]
        box, transport = counter(*sets, also={GATES: b"100\n100\n100\n100"})
        box.gate_time = 0.1
        assert box.gate_time == pytest.approx(0.1)
        transport.finish()

    def test_a_gate_in_other_units_is_noticed(self) -> None:
        sets = [(b"INPU%d:COUN:MODE CYCL;INTE 100;RESEt" % number, b"") for number in (1, 2, 3, 4)]
        box, _ = counter(*sets, also={GATES: b"100000\n" * 3 + b"100000"})
        with pytest.raises(NotConfirmed, match=r"gate_time was set to 0\.1 s and reads 100"):
            box.gate_time = 0.1

    def test_different_gates(self) -> None:
        box, _ = counter((GATES, b"100\n100\n200\n100"))
        with pytest.raises(NotAValue, match="different gates"):
            _ = box.gate_time

    def test_an_id1000_keeps_its_gate(self) -> None:
        box, transport = counter(also=ID1000)
        with pytest.raises(NotACapability, match="not certain"):
            box.gate_time = 0.1
        transport.finish()

    def test_all_counts(self) -> None:
        box, transport = counter(
            (b";:".join(b"INPU%d:COUN:RESE" % number for number in (1, 2, 3, 4)), b""),
            (b"INPU1:COUN?;:INPU2:COUN?;:INPU3:COUN?;:INPU4:COUN?", b"1\n2\n3\n4"),
            (b"INPU1:COUN?;:INPU2:COUN?", b"12345"),
        )
        box.restart()
        assert box.counts_of(1, 2, 3, 4).tolist() == [1, 2, 3, 4]
        with pytest.raises(ProtocolError, match="2 lines"):
            box.counts_of(1, 2)
        with pytest.raises(InputError, match="1 to 4"):
            box.counts_of(5)
        transport.finish()

    @pytest.mark.parametrize(("idn", "path"), [({}, b"HIST2:INPO:"), (ID1000, b"HIST2:")])
    def test_histograms(self, idn: dict[bytes, bytes], path: bytes) -> None:
        box, transport = counter(
            (path + b"REF:LINK STAR;:" + path + b"STOP:LINK INPU1", b""),
            (b"HIST2:BCOU 4;BWID 100;MIN -2000;FLUS", b""),
            (b"HIST2:DATA?", b"[0,1,2,3]"),
            (b"HIST2:FLUS", b""),
            (b"HIST2:DATA?", b"[]"),
            (b"HIST2:DATA?", b"[0,x]"),
            also=idn,
        )
        box.set_histogram(2, reference="STAR", stop="INPU1", bins=4, width=100e-12, start=-2e-9)
        np.testing.assert_array_equal(box.histogram(2), [0, 1, 2, 3])
        box.clear_histogram(2)
        assert box.histogram(2).shape == (0,)
        with pytest.raises(ProtocolError, match="list"):
            box.histogram(2)
        with pytest.raises(InputError, match="16384"):
            box.set_histogram(2, reference="STAR", stop="INPU1", bins=16385, width=100e-12)
        transport.finish()


class TestUnit:
    def test_resolution(self) -> None:
        box, transport = counter((b"DEVI:RES HIRES", b""), (b"DEVI:RES:BWID?", b"1"), also=ID1000)
        box.resolution = Resolution.HIGH
        assert box.time_base == 1e-12
        assert box.resolution is Resolution.LOW, "as the script says"
        transport.finish()

    def test_an_id900_has_none(self) -> None:
        box, _ = counter()
        with pytest.raises(NotACapability, match="ID1000"):
            box.resolution = Resolution.HIGH

    def test_another_box(self) -> None:
        with pytest.raises(SettingsChanged, match="EDFA"):
            counter(also={b"*IDN?": b"AMONICS,EDFA,1,2"})

    def test_the_safe_state_asks_who_it_is(self) -> None:
        box, _ = counter()
        box.safe_state()


def test_time_stamps() -> None:
    content = SHEET["time stamp with its reference index"].exchanges[0].reply
    assert content is not None
    assert time_stamps(content, referenced=True).tolist() == [[123456789, 7]]
    assert time_stamps(content, referenced=False).tolist() == [123456789, 7]
    with pytest.raises(ValueError, match="multiple"):
        time_stamps(content[:-1], referenced=False)
