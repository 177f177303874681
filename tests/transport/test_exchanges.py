"""Whole exchanges over a road in memory: framings, blocks, echo and prompt, spacing, the dirty flag, messages."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.transport import (
    ConnectionLost,
    Direction,
    Fixed,
    InstrumentError,
    Line,
    ProtocolError,
    TransportTimeout,
    block_header,
)
from labqdl.transport.framing import Framing
from tests.transport.servers import MemoryRoad, over

REPLIES: list[tuple[Framing, bytes, bytes]] = [
    (Line(), b"1.5E-3\n", b"1.5E-3"),
    (Line(b"\r\n"), b"a\rb\nc\r\n", b"a\rb\nc"),
    (Line(b"\r", b"\r\n"), b"\r\n", b""),
    (Line(b"\r", prompt=b"> "), b"one\rtwo> no\r> ", b"one\rtwo> no"),
    (Line(b"\r", prompt=b"> "), b"> ", b""),
    (Line(), b"#15a\nb\nc\n", b"#15a\nb\nc"),
    (Line(), b"#10\n", b"#10"),
    (Line(b"\r\n"), b"#212\r\n\r\n\r\n\r\n\r\n\r\n\r\n", b"#212\r\n\r\n\r\n\r\n\r\n\r\n"),
    (Line(blocks=False), b"#15a\n", b"#15a"),
    (Fixed(4), b"\x00\n\r#", b"\x00\n\r#"),
]


def chunked(data: bytes, cuts: set[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


@pytest.mark.parametrize(("framing", "wire", "reply"), REPLIES)
def test_a_reply_is_the_same_at_every_split(framing: Framing, wire: bytes, reply: bytes) -> None:
    for cut in range(1, len(wire) + 1):
        assert over(MemoryRoad(*chunked(wire, {cut})), framing).query(b"X?") == reply
    assert over(MemoryRoad(*chunked(wire, set(range(len(wire))))), framing).query(b"X?") == reply


@given(st.data(), st.binary(max_size=40), st.sampled_from([b"\n", b"\r\n", b";\r"]))
def test_blocks_of_any_bytes_in_any_pieces(data: st.DataObject, payload: bytes, ending: bytes) -> None:
    digits = str(len(payload)).encode()
    wire = b"#%d%b%b%b" % (len(digits), digits, payload, ending)
    cuts = data.draw(st.sets(st.integers(0, len(wire))))
    block = over(MemoryRoad(*chunked(wire, cuts)), Line(ending)).query_block(b"CURV?")
    assert block.tobytes() == payload
    assert over(MemoryRoad(*chunked(wire, cuts)), Line(ending)).query(b"CURV?") == wire.removesuffix(ending)


@given(st.data(), st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"").replace(b"#", b"")), min_size=1))
def test_replies_glued_together_come_apart(data: st.DataObject, replies: list[bytes]) -> None:
    wire = b"".join(reply + b"\n" for reply in replies)
    transport = over(MemoryRoad(*chunked(wire, data.draw(st.sets(st.integers(0, len(wire)))))))
    assert [transport.read() for _ in replies] == replies


@given(st.binary(max_size=60))
def test_garbage_is_an_error_of_ours_or_a_reply(wire: bytes) -> None:
    for framing in (Line(), Line(b"\r", prompt=b"> "), Line(b"\r", echo=True), Fixed(7)):
        road = MemoryRoad(wire) if wire else MemoryRoad()
        transport = over(road, framing)
        failure: Exception | None = None
        try:
            transport.query(b"X?")
        except (ProtocolError, TransportTimeout) as error:
            failure = error
        assert transport.is_dirty == (failure is not None)
        assert str(failure).isprintable()


@given(st.binary(max_size=30))
def test_a_block_header_is_measured_or_refused(buffer: bytes) -> None:
    try:
        found = block_header(buffer)
    except ProtocolError:
        return
    assert found is None or found[0] <= len(buffer)


def test_blocks_go_into_an_array_of_the_wanted_type() -> None:
    values = np.arange(5000, dtype=">f4")
    raw = values.tobytes()
    transport = over(MemoryRoad(b"#520000" + raw + b"\n", b"7\n"))
    assert np.array_equal(transport.query_block(b"CURV?", ">f4"), values)
    assert transport.query(b"X?") == b"7"


@pytest.mark.parametrize(
    ("answers", "error", "says"),
    [
        ([b"#15abcdefg\n"], ProtocolError, "followed by 'f' instead"),
        ([b"#15abc", None], TransportTimeout, "received so far: '#15abc'"),
        ([b"#15abcd\n", None], TransportTimeout, "did not end"),
        ([b"#6100000", b"x" * 7000, None], TransportTimeout, "7000 of 100000 bytes"),
        ([b"#0abc\n"], ProtocolError, "indefinite"),
        ([b"#2a5\n"], ProtocolError, "not a number"),
        ([b"#x\n"], ProtocolError, "no block begins with"),
        ([b"ERR\n"], ProtocolError, "no block begins with 'ERR"),
        ([b"#13abc\n"], ProtocolError, "no whole number of float32"),
        ([None], TransportTimeout, "nothing received"),
    ],
)
def test_wrong_blocks(answers: list[bytes | None], error: type[Exception], says: str) -> None:
    transport = over(MemoryRoad(*answers))
    with pytest.raises(error, match=says):
        transport.query_block(b"CURV?", np.float32)
    assert transport.is_dirty


def test_a_block_that_goes_on_after_its_end_is_noticed_at_once() -> None:
    transport = over(MemoryRoad(b"#12abX\n"))
    with pytest.raises(ProtocolError, match="a block said to have 2 bytes is followed by 'X'"):
        transport.query(b"CURV?")
    assert transport.is_dirty


def test_blocks_as_messages() -> None:
    road = MemoryRoad(b"#13abc", b"#13abc\n", b"#0a\nb\n", b"#13ab\n", b"#13a\n", messages=True)
    transport = over(road)
    assert [transport.query_block(b"C?").tobytes() for _ in range(4)] == [b"abc", b"abc", b"a\nb", b"ab\n"]
    with pytest.raises(ProtocolError, match="3 bytes after a header"):
        transport.query_block(b"C?")


def test_messages_need_no_terminator_and_hold_one_reply() -> None:
    transport = over(MemoryRoad(b"1.0", b"2.0\n", b"3\n4\n", messages=True))
    assert [transport.query(b"X?"), transport.query(b"X?")] == [b"1.0", b"2.0"]
    with pytest.raises(ProtocolError, match="more than one reply"):
        transport.query(b"X?")


@pytest.mark.parametrize("size", [3, 300_000])
def test_a_block_is_sent_with_its_header(size: int) -> None:
    road = MemoryRoad()
    payload = np.arange(size, dtype=np.uint8)
    over(road).write_block(b"DATA ", payload)
    digits = str(size).encode()
    assert b"".join(data for _, data in road.sent) == b"DATA #%d%b" % (len(digits), digits) + payload.tobytes() + b"\n"
    assert len(road.sent) == (1 if size == 3 else 3)
    message = MemoryRoad(messages=True)
    over(message).write_block(b"DATA ", payload.tobytes())
    assert len(message.sent) == 1


def test_echo_and_prompt() -> None:
    framing = Line(b"\r", echo=True, prompt=b"> ")
    road = MemoryRoad(b"pow?\r1", b"2\r>", b" ", b"pow=3\r> ", b"pow=9\rtoo much\r> ")
    transport = over(road, framing)
    assert transport.query(b"pow?") == b"12"
    transport.write(b"pow=3")
    with pytest.raises(InstrumentError, match="too much") as caught:
        transport.write(b"pow=9")
    assert caught.value.text == "too much"
    assert not transport.is_dirty


@pytest.mark.parametrize("pieces", [(b"pow?\r1> 2> \r> ",), (b"pow?\r1> ", b"2> ", b"\r", b"> ")])
def test_a_prompt_inside_of_a_line_is_none(pieces: tuple[bytes, ...]) -> None:
    transport = over(MemoryRoad(*pieces), Line(b"\r", echo=True, prompt=b"> "))
    assert transport.query(b"pow?") == b"1> 2> "


@pytest.mark.parametrize("frame", [b"", b"abc", b"abcde"])
def test_a_message_of_another_length_is_no_frame(frame: bytes) -> None:
    with pytest.raises(ProtocolError, match=f"a reply of {len(frame)} bytes instead of 4"):
        Fixed(4).unwrap(frame)


def test_another_echo_is_a_bad_frame() -> None:
    transport = over(MemoryRoad(b"pow!\r12\r"), Line(b"\r", echo=True))
    with pytest.raises(ProtocolError, match="the echo is not what was sent: 'pow!"):
        transport.query(b"pow?")
    assert transport.is_dirty


def test_messages_keep_their_distance() -> None:
    road = MemoryRoad(b"1\n", b"2\n", None, b"4\n")
    transport = over(road, spacing=0.05)
    transport.query(b"A?")
    transport.write(b"B")
    road.clock.advance(0.03)
    transport.query(b"C?")
    road.clock.advance(1.0)
    with pytest.raises(TransportTimeout):
        transport.query(b"D?")
    transport.query(b"E?")
    times = [time for time, _ in road.sent]
    assert times == pytest.approx([0.0, 0.05, 0.10, 1.10, 3.15])


def test_a_timeout_ends_at_its_deadline_and_tells_what_came() -> None:
    road = MemoryRoad(b"1.2", None)
    transport = over(road, timeout=1.5)
    with pytest.raises(TransportTimeout) as caught:
        transport.query(b"POW?")
    assert road.clock.monotonic() == 1.5
    error = caught.value
    assert (error.instrument, error.resource, error.command, error.received) == ("laser", "memory", b"POW?", b"1.2")
    text = str(error)
    for part in ("laser (memory)", "command: 'POW?'", "received so far: '1.2'", "'\\n'", "1.5 s", "> POW?\\n", "< 1.2"):
        assert part in text
    assert len(text) < 400
    assert "\n" not in text


def test_after_a_timeout_the_stream_is_opened_again_and_checked() -> None:
    road = MemoryRoad(None, b"SANTEC\n", b"1.0\n")
    transport = over(road)
    seen: list[bytes] = []
    transport.on_reopen = lambda: seen.append(transport.query(b"*IDN?"))
    with pytest.raises(TransportTimeout):
        transport.query(b"POW 3;POW?")
    assert transport.is_dirty
    assert transport.is_open
    assert transport.query(b"POW?") == b"1.0"
    assert seen == [b"SANTEC"]
    assert road.openings == 2
    # What may have taken effect is never sent again.
    assert [data for _, data in road.sent] == [b"POW 3;POW?\n", b"*IDN?\n", b"POW?\n"]


def test_a_refused_check_leaves_the_stream_closed() -> None:
    road = MemoryRoad(None, b"OTHER\n", b"OTHER\n")
    transport = over(road)

    def check() -> None:
        found = transport.query(b"*IDN?")
        raise transport.complain(InstrumentError(f"another instrument answers: {found.decode()}"))

    transport.on_reopen = check
    with pytest.raises(TransportTimeout):
        transport.query(b"POW?")
    for _ in range(2):
        with pytest.raises(InstrumentError, match=r"laser \(memory\): .*another instrument answers: OTHER"):
            transport.write(b"POW 3")
        assert transport.is_dirty
    assert b"POW 3\n" not in [data for _, data in road.sent]


def test_a_timeout_in_the_check_is_a_timeout_and_the_check_is_made_again() -> None:
    road = MemoryRoad(None, None, b"SANTEC\n", b"1\n")
    transport = over(road)
    checks: list[bytes] = []
    transport.on_reopen = lambda: checks.append(transport.query(b"*IDN?"))
    for _ in range(2):
        with pytest.raises(TransportTimeout):
            transport.query(b"POW?")
    assert transport.query(b"POW?") == b"1"
    assert checks == [b"SANTEC"]
    assert road.openings == 3


def test_who_cannot_be_reached_again_stays_dirty() -> None:
    road = MemoryRoad(None)
    transport = over(road)
    with pytest.raises(TransportTimeout):
        transport.query(b"POW?")
    road.refuse_to_open = True
    with pytest.raises(ConnectionLost, match=r"laser \(memory\): nobody there"):
        transport.query(b"POW?")
    assert transport.is_dirty


def test_unasked_bytes_stop_the_next_message() -> None:
    road = MemoryRoad(b"1\n2\n")
    transport = over(road)
    assert transport.query(b"X?") == b"1"
    with pytest.raises(ProtocolError, match="nobody asked for") as caught:
        transport.write(b"POW 3")
    assert caught.value.received == b"2\n"
    assert [data for _, data in road.sent] == [b"X?\n"]
    road.pending = True
    road.answers.append(b"99\n")
    with pytest.raises(ProtocolError, match="nobody asked for"):
        transport.query(b"X?")


def test_an_interrupt_leaves_no_half_exchange() -> None:
    class Interrupted(MemoryRoad):
        def receive(self, maximum: int, deadline: float) -> bytes:
            if self.openings == 1:
                raise KeyboardInterrupt
            return super().receive(maximum, deadline)

    transport = over(Interrupted(b"1\n"))
    with pytest.raises(KeyboardInterrupt):
        transport.query(b"X?")
    assert transport.is_dirty
    assert transport.query(b"X?") == b"1"


def test_a_framing_that_cannot_decode_is_a_bad_frame() -> None:
    class Text(Line):
        def unwrap(self, frame: bytes) -> bytes:
            return frame.decode("ascii").encode()

    with pytest.raises(ProtocolError, match="no text"):
        over(MemoryRoad(b"\xff\n"), Text()).query(b"X?")


def test_the_ring_keeps_a_thousand_and_shortens() -> None:
    transport = over(MemoryRoad(*[b"x" * 5000 + b"\n"] * 600))
    for _ in range(600):
        transport.query(b"X?")
    traffic = transport.traffic
    assert len(traffic) == 1000
    assert traffic[-1].direction is Direction.RECEIVED
    assert traffic[-1].size == 5001
    assert len(traffic[-1].data) == 256
    assert str(traffic[-1]).endswith("... (5001 bytes)")


def test_a_closed_transport_is_a_mistake_of_the_program() -> None:
    transport = over(MemoryRoad())
    transport.close()
    transport.close()
    assert not transport.is_open
    with pytest.raises(ValueError, match="not open"):
        transport.query(b"X?")
    with pytest.raises(TypeError, match="framing by lines"):
        over(MemoryRoad(), Fixed(3)).query_block(b"X?")
