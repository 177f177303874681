"""What commands write: results to standard output, progress and messages to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@dataclass(slots=True)
class Output:
    """Where a command's words go, and how many of them."""

    quiet: bool = False
    verbose: bool = False

    @property
    def results(self) -> Console:
        """Console of the results (standard output); a fixed width in files and pipes."""
        return _Results(width=None if sys.stdout.isatty() else 120, highlight=False, emoji=False)

    @property
    def messages(self) -> Console:
        """Console of progress and messages (standard error)."""
        return _Messages(stderr=True, highlight=False, emoji=False)

    def show(self, result: Any, as_json: bool) -> None:
        """Print a result for a person, or as one JSON object and nothing else."""
        if as_json:
            print_json(result.to_json())
        elif not self.quiet:
            self.results.print(result)

    def say(self, text: str) -> None:
        """A message that `--quiet` silences."""
        if not self.quiet:
            self.messages.print(text, markup=False, soft_wrap=True)  # commands in it can be copied

    def detail(self, text: str) -> None:
        """A message for `-v` only."""
        if self.verbose and not self.quiet:
            self.messages.print(text, markup=False, style="dim")

    @contextmanager
    def progress(self, description: str, total: int, unit: str) -> Iterator[ProgressBar]:
        """A progress bar with time left; none where standard error is no terminal or with `--quiet`."""
        console = self.messages
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=self.quiet or not console.is_terminal,
            transient=True,
        ) as bar:
            yield ProgressBar(bar, bar.add_task(description, total=total, unit=_units(unit, total)), unit)


@dataclass(slots=True)
class ProgressBar:
    """One bar; call `update` with what is done."""

    _bar: Progress
    _task: TaskID
    _unit: str

    def update(self, completed: int, total: int | None = None, description: str | None = None) -> None:
        """Show how much is done."""
        words: dict[str, Any] = {} if total is None else {"unit": _units(self._unit, total)}
        self._bar.update(self._task, completed=completed, total=total, description=description, **words)


def _units(unit: str, total: int) -> str:
    """What is counted behind "of `total`"; `unit` in the plural."""
    return unit.removesuffix("s") if total == 1 else unit


class _Results(Console):
    """Prints results; a reader that goes away, as `| head` does, changes neither the work nor the exit code."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        discard_output()


class _Messages(Console):
    """Prints messages; a reader that goes away, as with `2>&1 | head`, ends nothing either."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        _discard(sys.stderr)


def print_line(text: str) -> bool:
    """One line on standard output, at once; False where its reader went away, which is no error."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        return False
    return True


def print_error(text: str, *, as_json: Mapping[str, Any] | None = None) -> None:
    """The line in which a command says why it failed; where it was asked for JSON, that is one object as well."""
    line = f"labqdl: {text}" if as_json is None else json.dumps({"error": text, **as_json})
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except BrokenPipeError:
        _discard(sys.stderr)


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON object on standard output."""
    try:
        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()


def discard_output() -> None:
    """Send what is left for standard output to nowhere: the interpreter would fail on it again at its end."""
    _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # it is no file (a test, a notebook): nothing will be flushed into one
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
