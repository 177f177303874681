"""Plans looked at without executing them, and ended without executing more of them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from labqdl.sequencer.commands import Command, Plan
from labqdl.sequencer.states import PlanAborted

_MOST_SKIPPED = 1000


def preview(
    plan: Plan[Any], *, limit: int | None = None, answer: Callable[[Command], Any] | None = None
) -> Generator[Command, None, None]:
    """The commands that a plan would have executed, in order; the plan is ended when this is.

    Parameters
    ----------
    plan:
        Is sent None for each result, so it must not look into results before it has tested them for None.
    limit:
        Stop after so many commands.
    answer:
        Gives the results instead, for plans that need some.
    """
    try:
        value: Any = None
        count = 0
        while limit is None or count < limit:
            try:
                command = plan.send(value)
            except StopIteration:
                return
            yield command
            count += 1
            value = None if answer is None else answer(command)
    finally:
        end_plan(plan)


def print_plan(
    plan: Plan[Any],
    write: Callable[[str], object],
    *,
    limit: int = 100,
    answer: Callable[[Command], Any] | None = None,
) -> None:
    """Hand each command of a plan as a numbered line to `write`; after `limit` of them, a line that says so."""
    for number, command in enumerate(preview(plan, limit=limit + 1, answer=answer), start=1):
        if number > limit:
            write(f"      ... and more, after the first {limit}")
            return
        write(f"{number:5d} {command.describe()}")


def end_plan(plan: Plan[Any]) -> list[Command]:
    """End a plan now. The commands that its cleanup yields are not executed but returned; each block of cleanup is left
    at the first of them.

    `close()` would not do: a plan whose `finally` yields would not end but raise RuntimeError. RuntimeError here is
    for a plan that refuses to end after a thousand commands; any other exception is the plan's own.
    """
    skipped: list[Command] = []
    while len(skipped) < _MOST_SKIPPED:
        try:
            skipped.append(plan.throw(PlanAborted()))
        except (PlanAborted, StopIteration):
            return skipped
    raise RuntimeError(f"the plan does not end: it yielded {_MOST_SKIPPED} commands after it was told to")
