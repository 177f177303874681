"""Interlocks: read right before the call that they guard."""

from __future__ import annotations

from collections.abc import Sequence

from labqdl.errors import LabqdlError
from labqdl.instruments import Guard, Instrument, Refused
from labqdl.station.building import Rule
from labqdl.station.values import value_text


class InterlockGuard:
    """Asks the interlocks, then the guard behind it (arming and the stack of what must go dark).

    Parameters
    ----------
    rules:
        The station's interlocks.
    behind:
        Who is asked when all of them hold; None: nobody.
    """

    def __init__(self, rules: Sequence[Rule], behind: Guard | None = None) -> None:
        self.rules = rules
        self.behind = behind

    def energising(self, instrument: Instrument, what: str) -> None:
        """Read what the interlocks compare; Refused with the measured value where one does not hold."""
        for rule in self.rules:
            if rule.guards(instrument, what):
                self._ask(rule, instrument, what)
        if self.behind is not None:
            self.behind.energising(instrument, what)

    def _ask(self, rule: Rule, instrument: Instrument, what: str) -> None:
        require = rule.interlock.require
        why = f" ({rule.interlock.reason})" if rule.interlock.reason else ""
        refusal = f"{instrument.name}.{what}: refused, because {require} must hold before it{why}"
        measured = rule.part.instrument
        try:
            measured.open()
            found = rule.quantity.fetch(rule.part)
            holds = require.holds(found, rule.wanted)
        except LabqdlError as error:
            raise Refused(f"{refusal}, and {require.instrument}.{require.path} cannot be read: {error}") from error
        if not holds:
            shown = value_text(rule.quantity, found)
            raise Refused(f"{refusal}; {require.instrument}.{require.path} is {shown}. Nothing was sent")
