"""Limits of a run, and pausing, going on and stopping it from outside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labqdl.api import open_run, resume, run, running
from labqdl.errors import InputError, Stopped
from labqdl.records.control import Wish

SETTINGS: dict[str, Any] = {"model": "breast-cancer", "link": "paper", "images": 20, "block": 5, "seed": 3}


def events(path: Path) -> list[str]:
    return [event.kind for event in open_run(path).events()]


def test_a_run_stops_before_the_block_that_would_pass_its_symbols_and_resume_does_the_rest(tmp_path: Path) -> None:
    whole = run(folder=tmp_path / "whole", **SETTINGS)
    each = open_run(whole.run).frame.symbols_per_image
    with pytest.raises(Stopped, match=r"stopped after 2 of 4 blocks \(.* of at most .* symbols are spent") as caught:
        run(folder=tmp_path / "run", max_symbols=12 * each, **SETTINGS)
    assert "labqdl resume" in str(caught.value)
    last = open_run(tmp_path / "run").events()[-1]
    assert last.kind == "stopped"
    assert f"next block takes {5 * each:,}" in last.fields["reason"]
    assert resume(tmp_path / "run").accuracy == whole.accuracy
    with pytest.raises(Stopped, match="stopped after 0 of 4 blocks"):
        run(folder=tmp_path / "none", max_symbols=1, **SETTINGS)


def test_a_run_stops_when_its_time_is_over(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match=r"1 of 4 blocks \(its time of 1e-06 s is over\)|0 of 4 blocks"):
        run(folder=tmp_path / "run", max_seconds=1e-6, **SETTINGS)
    with pytest.raises(InputError, match="max_seconds"):
        run(folder=tmp_path / "other", max_seconds=-1.0, **SETTINGS)


def test_a_run_is_paused_continued_and_stopped_by_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    tells: list[Callable[[Wish], None]] = []

    @contextmanager
    def hearing(path: Path, tell: Callable[[Wish], None]) -> Iterator[None]:
        assert path == folder
        tells.append(tell)
        yield

    def somebody() -> None:
        while "paused" not in events(folder):
            threading.Event().wait(0.01)
        tells[0](Wish.CONTINUE)

    other = threading.Thread(target=somebody)

    def on_block(done: int, total: int) -> None:
        if done == 1:
            tells[0](Wish.CONTINUE)  # makes no sense now, and is passed over
            tells[0](Wish.PAUSE)
            other.start()
        elif done == 2:
            tells[0](Wish.STOP)

    with monkeypatch.context() as patched:
        patched.setattr(running, "obeying", hearing)
        with pytest.raises(Stopped, match="stopped after 2 of 4 blocks \\(by 'labqdl stop'\\)"):
            run(folder=folder, on_block=on_block, **SETTINGS)
    other.join()
    found = events(folder)
    assert found.index("paused") < found.index("continued") < found.index("stopped")
    undisturbed = run(folder=tmp_path / "undisturbed", **SETTINGS)
    assert resume(folder).accuracy == undisturbed.accuracy
