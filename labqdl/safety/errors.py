"""What could not be made safe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labqdl.errors import LabqdlError

if TYPE_CHECKING:
    from labqdl.safety.darkening import Outcome


class Unsafe(LabqdlError):
    """Something was not confirmed to be dark: look at it now. The command line ends with exit code 70.

    Attributes
    ----------
    outcomes:
        What was tried, one entry an instrument or light path that is not confirmed.
    """

    exit_code = 70

    def __init__(self, outcomes: Sequence[Outcome], note: str) -> None:
        self.outcomes = tuple(outcomes)
        lines = "; ".join(str(outcome) for outcome in outcomes)
        super().__init__(f"UNSAFE: {lines}. {note}")
