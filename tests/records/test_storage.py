from __future__ import annotations

import os
from pathlib import Path

import pytest

from labqdl.errors import RecordError
from labqdl.records import storage
from labqdl.records.storage import Moment, WritePoint, WriteStep, watched


class Boom(BaseException):
    pass


def test_a_file_is_whole_or_untouched_at_every_step(tmp_path: Path) -> None:
    path = tmp_path / "file"
    steps: list[WriteStep] = []
    with watched(steps.append):
        storage.write_file(path, [b"old", b"er"], sync=True)
    assert path.read_bytes() == b"older"
    for number in range(len(steps)):
        storage.write_file(path, [b"old"], sync=False)
        left = number

        def strike(step: WriteStep) -> None:
            nonlocal left
            if left == 0:
                raise Boom
            left -= 1

        with pytest.raises(Boom), watched(strike):
            storage.write_file(path, [b"new", b"er"], sync=True)
        assert path.read_bytes() in (b"old", b"newer")
        assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_steps_are_announced_in_order_with_a_middle(tmp_path: Path) -> None:
    steps: list[WriteStep] = []
    with watched(steps.append):
        storage.write_file(tmp_path / "file", [b"ab"], sync=True)
    assert [(step.point, step.moment) for step in steps] == [
        (WritePoint.OPEN_FILE, Moment.BEFORE),
        (WritePoint.OPEN_FILE, Moment.AFTER),
        (WritePoint.WRITE_FILE, Moment.BEFORE),
        (WritePoint.WRITE_FILE, Moment.DURING),
        (WritePoint.WRITE_FILE, Moment.AFTER),
        (WritePoint.SYNC_FILE, Moment.BEFORE),
        (WritePoint.SYNC_FILE, Moment.AFTER),
        (WritePoint.RENAME_FILE, Moment.BEFORE),
        (WritePoint.RENAME_FILE, Moment.AFTER),
    ]


def test_watchers_nest_and_go_away(tmp_path: Path) -> None:
    outer: list[WriteStep] = []
    inner: list[WriteStep] = []
    with watched(outer.append):
        with watched(inner.append):
            storage.make_folder(tmp_path / "a")
        storage.make_folder(tmp_path / "b")
    storage.make_folder(tmp_path / "c")
    assert len(outer) == len(inner) == 2


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))
    storage.write_file(tmp_path / "file", [b"0123456789"], sync=False)
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_refusals_of_the_system_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RecordError, match=r"\.file\.partial: cannot write file: No space left on device"):
        storage.write_file(tmp_path / "file", [b"x"], sync=False)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_be_flushed_are_let_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(os, "fsync", lambda descriptor: refuse(22))
    storage.sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: refuse(5))
    with pytest.raises(RecordError, match="cannot sync folder"):
        storage.sync_folder(tmp_path)


def test_a_missing_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"events\.jsonl"):
        storage.open_log(tmp_path / "events.jsonl")
