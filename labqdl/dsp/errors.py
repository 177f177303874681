"""What signal processing refuses."""

from __future__ import annotations

from labqdl.errors import LabqdlError


class DspError(LabqdlError):
    """A record in which what was expected cannot be found, or not well enough to be used.

    Parameters
    ----------
    problem:
        What was found, with figures.
    expected:
        What would have been there.
    hint:
        What to look at on the bench.
    """

    def __init__(self, problem: str, *, expected: str | None = None, hint: str | None = None) -> None:
        self.problem, self.expected, self.hint = problem, expected, hint
        text = problem if expected is None else f"{problem}; expected {expected}"
        super().__init__(text if hint is None else f"{text}. {hint}")
