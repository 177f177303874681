"""The tree of errors that labqdl raises on purpose, each with the exit code of the command line.

A user's mistake is an `InputError`: it names the place (file, key, line), says what was expected and what
to do. Everything else that is foreseen derives from `LabqdlError` too, so that the command line can print one
clear line and no traceback.
"""

from __future__ import annotations

from pathlib import Path


class LabqdlError(Exception):
    """Base of every error that labqdl raises on purpose."""

    exit_code: int = 1


class InputError(LabqdlError):
    """A mistake in what a person handed over: file, key, option, value, shape or unit.

    Parameters
    ----------
    problem:
        What is wrong, in one sentence, with the value that was found.
    source:
        The file or option in which it was found.
    key, line:
        Key (dotted) and line (1-based) inside of that file, where there are any.
    expected:
        What would have been right.
    hint:
        What to do about it.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        source: str | Path | None = None,
        key: str | None = None,
        line: int | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.problem = problem
        self.source = None if source is None else str(source)
        self.key = key
        self.line = line
        self.expected = expected
        self.hint = hint
        super().__init__(str(self))

    def at(self, source: str | None, key: str | None = None) -> InputError:
        """The same mistake at another place."""
        return InputError(self.problem, source=source, key=key, expected=self.expected, hint=self.hint)

    def __str__(self) -> str:
        place = ""
        if self.source is not None:
            place = self.source if self.line is None else f"{self.source}, line {self.line}"
        if self.key is not None:
            place = f"{place}: key '{self.key}'" if place else f"key '{self.key}'"
        text = f"{place}: {self.problem}" if place else self.problem
        if self.expected is not None:
            text += f"; expected {self.expected}"
        if self.hint is not None:
            text += f". {self.hint}"
        return text


class RecordError(LabqdlError):
    """A run folder that is damaged or of another schema; names the file."""

    exit_code = 2


class ProtocolError(LabqdlError):
    """A message or call that the agreed session does not allow at this point."""

    exit_code = 3


class Stopped(LabqdlError):
    """A run was stopped by its user; what is finished is on disk and can be resumed."""

    exit_code = 130
