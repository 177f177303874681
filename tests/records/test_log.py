from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labqdl.clock import ManualClock
from labqdl.errors import RecordError
from labqdl.records import log
from labqdl.records.log import EventLog, LogReader, RecordedEvent, TornLine
from labqdl.records.storage import WriteStep, watched

RUN = "0123456789abcdef"


class Boom(BaseException):
    pass


def made(count: int = 6, run_id: str = RUN) -> tuple[bytes, list[int]]:
    """Bytes of a log with so many events, and where each one ends."""
    position = log.start(run_id)
    data, ends = b"", []
    for number in range(count):
        line, position = log.encode(position, 10.0 + number, "block-finished", {"block": number, "text": "µ\n\x00"})
        data += line
        ends.append(len(data))
    return data, ends


DATA, ENDS = made()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "events.jsonl"


def read(path: Path, data: bytes) -> tuple[list[RecordedEvent], LogReader]:
    path.write_bytes(data)
    reader = LogReader(path, RUN)
    return list(reader), reader


def test_events_come_back(place: Path) -> None:
    events, reader = read(place, DATA)
    assert [event.sequence for event in events] == list(range(6))
    assert [event.time for event in events] == [10.0 + n for n in range(6)]
    assert dict(events[3].fields) == {"block": 3, "text": "µ\n\x00"}
    assert reader.torn is None
    assert reader.position.end == len(DATA)


def test_every_truncation_keeps_every_completed_event(place: Path) -> None:
    for length in range(ENDS[2] + 1):
        events, reader = read(place, DATA[:length])
        complete = sum(end <= length for end in ENDS)
        assert len(events) == complete
        end = ENDS[complete - 1] if complete else 0
        assert reader.torn == (None if length == end else TornLine(end, length - end))


@example(position=len(DATA) - 1, flip=1)  # the last newline: not to be taken for a torn line
@given(position=st.integers(0, len(DATA) - 1), flip=st.integers(1, 255))
def test_every_changed_byte_is_noticed(place: Path, position: int, flip: int) -> None:
    data = bytearray(DATA)
    data[position] ^= flip
    line = 1 + sum(end <= position for end in ENDS)
    with pytest.raises(RecordError, match=rf"events\.jsonl, line {line}: damaged"):
        read(place, bytes(data))


@given(
    start=st.integers(0, len(DATA) - 2), size=st.integers(1, 400), filling=st.binary(max_size=400), torn=st.booleans()
)
def test_replaced_pieces_are_noticed(place: Path, start: int, size: int, filling: bytes, torn: bool) -> None:
    """Any piece replaced by anything: an error, or (at the end only) a torn line that is reported."""
    data = DATA[:-5] if torn else DATA
    damaged = data[:start] + filling + data[start + size :]
    if damaged == data:
        return
    try:
        events, reader = read(place, damaged)
    except RecordError:
        return
    good, _ = read(place, DATA)
    assert events == good[: len(events)]
    cut_at_a_line = start in (0, *ENDS) and start + size >= len(data) and not filling
    assert reader.torn is not None or cut_at_a_line


@pytest.mark.parametrize(
    "order", [[1, 0, 2, 3, 4, 5], [0, 2, 3, 4, 5], [0, 1, 1, 2, 3, 4, 5], [0, 1, 2, 3, 5]], ids=str
)
def test_moved_missing_and_doubled_lines_are_noticed(place: Path, order: list[int]) -> None:
    lines = DATA.splitlines(keepends=True)
    with pytest.raises(RecordError, match="does not fit its checksum"):
        read(place, b"".join(lines[n] for n in order))


def test_lines_of_another_run_are_noticed(place: Path) -> None:
    with pytest.raises(RecordError, match="line 1: damaged"):
        read(place, made(run_id="f" * 16)[0])


@pytest.mark.parametrize(
    "body", [b'{"seq":0', b'{"seq":7,"time":0.0,"kind":"a","data":{}', b'{"seq":0,"data":{}', b"["]
)
def test_lines_with_a_good_checksum_but_no_event_are_noticed(place: Path, body: bytes) -> None:
    from hashlib import blake2b

    check = blake2b(log.start(RUN).check + body, digest_size=8).hexdigest().encode()
    with pytest.raises(RecordError, match="line 1: damaged"):
        read(place, body + b',"check":"' + check + b'"}\n')


def test_a_missing_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"events\.jsonl: this file is missing"):
        list(LogReader(tmp_path / "events.jsonl", RUN))
    with pytest.raises(RecordError, match="cannot be read"):
        list(LogReader(tmp_path, RUN))


@pytest.mark.parametrize("kind", ["", "Block", "block finished", "block_finished", "-a", "a-", "a\n"])
def test_kinds_are_words(kind: str) -> None:
    with pytest.raises(ValueError, match="lower-case words"):
        log.encode(log.start(RUN), 0.0, kind, {})


def opened(path: Path) -> EventLog:
    path.write_bytes(b"")
    return EventLog(path, log.start(RUN), ManualClock(5.0))


def test_a_writer_goes_on_after_an_interruption_at_any_step(tmp_path: Path) -> None:
    """The interrupted event is there whole or not at all; those before and behind it are."""
    path = tmp_path / "events.jsonl"
    for step in range(3):
        writer = opened(path)
        writer.append("first", {"n": 1})
        left = step

        def strike(_: WriteStep) -> None:
            nonlocal left
            if left == 0:
                raise Boom
            left -= 1

        with pytest.raises(Boom), watched(strike):
            writer.append("interrupted", {"n": 2})
        writer.append("last", {"n": 3})
        writer.append("last", {"n": 4})
        writer.close()
        kinds = [event.kind for event in LogReader(path, RUN)]
        assert kinds == ["first", *(["interrupted"] if step == 2 else []), "last", "last"]


def test_an_event_that_cannot_be_written_as_json_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = opened(path)
    with pytest.raises(ValueError, match="nan"):
        writer.append("first", {"n": float("nan")})
    assert writer.append("first", {"n": 1}).sequence == 0
    writer.close()
    assert len(list(LogReader(path, RUN))) == 1


def test_many_threads_write_one_unbroken_log(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = opened(path)

    def work(name: int) -> None:
        for n in range(50):
            writer.append("tick", {"thread": name, "n": n})

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    events = list(LogReader(path, RUN))
    assert [event.sequence for event in events] == list(range(200))
    for name in range(4):
        assert [event.fields["n"] for event in events if event.fields["thread"] == name] == list(range(50))


def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    writer = opened(tmp_path / "events.jsonl")
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.append("late", {})
