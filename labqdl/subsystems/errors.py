"""What goes wrong with light on a bench, and which part it points to."""

from __future__ import annotations

from labqdl.errors import LabqdlError


class ShotInvalid(LabqdlError):
    """A shot of which nothing may be used; it is recorded and sent again.

    Parameters
    ----------
    part:
        What to look at: an instrument, component or path by its name.
    problem:
        What was seen, in one sentence without a full stop.
    """

    exit_code = 5

    def __init__(self, part: str, problem: str) -> None:
        self.part, self.problem = part, problem
        super().__init__(f"{part}: {problem}")


class BenchStopped(LabqdlError):
    """The bench cannot go on: everything was left dark, and a person has to look at the part that is named."""

    exit_code = 5

    def __init__(self, part: str, problem: str, *, hint: str | None = None) -> None:
        self.part, self.problem = part, problem
        text = f"stopped because of {part}: {problem}. The light path was left dark"
        super().__init__(text if hint is None else f"{text}. {hint}")
