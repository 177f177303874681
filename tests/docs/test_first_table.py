"""Commands of the page on a first table: every one of them is a command with options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from labqdl.cli.root import cli

PAGE = Path(__file__).parents[2] / "docs" / "first-table.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    found = [line for block in BLOCK.findall(PAGE.read_text()) for line in block.splitlines() if line.strip()]
    assert len(found) > 10
    return found


@pytest.mark.parametrize("line", commands())
def test_a_command_is_one(line: str) -> None:
    words = shlex.split(line)
    assert words.pop(0) == "labqdl"
    chosen: click.Command = cli
    while isinstance(chosen, click.Group):
        found = chosen.get_command(click.Context(chosen), words[0])
        assert found is not None, words[0]
        chosen = found
        words.pop(0)
    chosen.make_context(line, words, resilient_parsing=False).close()


def test_what_does_not_exist_is_noticed() -> None:
    run = cli.get_command(click.Context(cli), "run")
    assert run is not None
    with pytest.raises(click.exceptions.NoSuchOption):
        run.make_context("run", ["--stations", "loop-32"])
