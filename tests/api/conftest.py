"""Runs that several tests look at; each is made once a session and never changed: damage copies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labqdl.api import run

SETTINGS: dict[str, Any] = {"model": "breast-cancer", "link": "paper", "images": 7, "block": 3, "seed": 5}
"""Three blocks, the last one with a single image."""


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(folder=folder, **SETTINGS)
    return folder


@pytest.fixture(scope="session")
def aborted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which a cheating client was caught."""
    folder = tmp_path_factory.mktemp("aborted") / "run"
    run(folder=folder, **{**SETTINGS, "images": 30, "block": 10, "client": "intercept-resend"})
    return folder


@pytest.fixture(scope="session")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed after its second block."""
    folder = tmp_path_factory.mktemp("stopped") / "run"

    class Killed(BaseException):
        """Stands for the death of the process."""

    def kill(done: int, total: int) -> None:
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        run(folder=folder, on_block=kill, **SETTINGS)
    return folder


@pytest.fixture
def copied(tmp_path: Path) -> Callable[..., Path]:
    """A copy of a run, to be damaged."""

    def copy(source: Path, name: str = "copy") -> Path:
        return Path(shutil.copytree(source, tmp_path / name))

    return copy
