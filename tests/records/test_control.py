"""Wishes of other processes for a run, through a file in its folder."""

from __future__ import annotations

import queue
from pathlib import Path

import pytest

from labqdl.clock import SystemClock
from labqdl.errors import InputError
from labqdl.records.control import FILE, Wish, ask, obeying, wished
from labqdl.records.lock import RunLock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "manifest.json").write_text("{}")
    return tmp_path


def test_a_wish_needs_a_run_that_somebody_works_on(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="there is no run"):
        ask(tmp_path / "nothing", Wish.STOP)
    with pytest.raises(InputError, match="nobody works on this run") as caught:
        ask(folder, Wish.STOP)
    assert "labqdl resume" in str(caught.value)
    assert wished(folder) is None


def test_every_new_wish_is_told_and_older_ones_are_forgotten(folder: Path) -> None:
    lock = RunLock(folder / "lock", SystemClock())
    try:
        ask(folder, Wish.STOP)  # of an earlier process
        told: queue.Queue[Wish] = queue.Queue()
        with obeying(folder, told.put, look=0.005):
            assert wished(folder) is None
            for wish in (Wish.PAUSE, Wish.CONTINUE, Wish.PAUSE, Wish.STOP):
                ask(folder, wish)
                assert told.get(timeout=20) is wish
        assert told.empty()
        assert not (folder / FILE).exists()
    finally:
        lock.release()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"wish": "dance", "at": 1}', '{"wish": "stop"}'])
def test_a_damaged_wish_is_none(folder: Path, content: str) -> None:
    (folder / FILE).write_text(content)
    assert wished(folder) is None
