"""The examples of README and documentation run, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(path for path in (TOP / "docs").glob("*.md") if BLOCK.search(path.read_text(encoding="utf-8")))


def _blocks(page: Path) -> list[tuple[int, str]]:
    """Line and text of every Python block of a page."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, match.start(1)) + 1, match.group(1)) for match in BLOCK.finditer(text)]


def _run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a page's blocks one after another in one namespace and in an empty folder; errors show the page's lines."""
    monkeypatch.chdir(folder)
    namespace: dict[str, Any] = {"__name__": "example"}
    for line, block in _blocks(page):
        exec(compile("\n" * (line - 1) + block, page, "exec"), namespace)
    return namespace


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(page, tmp_path, monkeypatch)


def test_the_tutorial_is_among_them() -> None:
    assert "tutorial" in {page.stem for page in PAGES}


def test_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's example is there, is at most ten lines, and runs."""
    readme = TOP / "README.md"
    blocks = _blocks(readme)
    assert blocks
    assert len([line for line in blocks[0][1].splitlines() if line.strip()]) <= 10
    _run(readme, tmp_path, monkeypatch)
