"""Command lines run in this process, in an empty folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labqdl.cli.root import run


class Words:
    """What a command printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


@pytest.fixture
def labqdl_command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command line in an empty folder; gives what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Words:
        code = run(arguments)
        printed = capsys.readouterr()
        return Words(code, printed.out, printed.err)

    return call
