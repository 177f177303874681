"""The gallery page: its code makes the pictures that it shows, and every public figure is among them."""

from __future__ import annotations

import re
from pathlib import Path

from labqdl import plots

PAGE = Path(__file__).resolve().parents[2] / "docs" / "plots.md"


def test_pictures_code_and_files_agree() -> None:
    text = PAGE.read_text(encoding="utf-8")
    made = re.findall(r'style\.save\([^\n]*"([a-z-]+\.png)"\)', text)
    shown = re.findall(r"^```\{image\} plots/(\S+)$", text, re.MULTILINE)
    assert sorted(made) == sorted(shown) == sorted(file.name for file in PAGE.with_suffix("").iterdir())
    assert len(re.findall(r"^:alt: \S", text, re.MULTILINE)) == len(shown)


def test_every_public_figure_is_shown() -> None:
    text = PAGE.read_text(encoding="utf-8")
    functions = [name for name in plots.__all__ if name[0].islower() and name != "style"]
    assert [name for name in functions if f"plots.{name}(" not in text] == []
