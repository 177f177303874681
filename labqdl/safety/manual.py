"""Making safe by hand: everything of a station, or what an UNSAFE file names, whoever energised it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from labqdl.clock import SystemClock
from labqdl.errors import LabqdlError
from labqdl.instruments import Instrument
from labqdl.safety.darkening import DEADLINE, EFFORT, GRACE, WORKERS, Job, Outcome, Way, darken
from labqdl.safety.errors import Unsafe
from labqdl.safety.fresh import make_safe_afresh, open_for_safety
from labqdl.safety.paths import DarkCheck
from labqdl.safety.reach import is_inside, resource_of
from labqdl.safety.recipe import NotRemakeable, Recipe, recipe_of
from labqdl.safety.unsafe import Entry, UnsafeFile


def make_all_safe(
    instruments: Iterable[Instrument],
    *,
    checks: Iterable[DarkCheck] = (),
    deadline: float = DEADLINE,
    effort: float = EFFORT,
    grace: float = GRACE,
) -> tuple[Outcome, ...]:
    """Open each instrument and make it safe, in safe order, then confirm darkness by meters; never raises for one."""
    ordered = sorted(instruments, key=lambda one: one.safe_order)

    def make_safe(instrument: Instrument) -> None:
        try:
            open_for_safety(instrument)
            instrument.safe_state()
        finally:
            instrument.close()

    jobs = [
        Job(one.name, resource_of(one), (Way("fresh connection", partial(make_safe, one), True),), deadline, effort)
        for one in ordered
    ]
    looks = [
        Job(
            f"light path {check.path}", resource_of(check.meter), (Way("meter", check.confirm, True),), deadline, effort
        )
        for check in checks
    ]
    WORKERS.reserve(2 * (len(jobs) + len(looks)))
    return (*darken(jobs, grace=grace), *darken(looks, grace=grace))


def unsafe_of(outcomes: Iterable[Outcome], instruments: Iterable[Instrument]) -> Unsafe | None:
    """What to raise where one of `make_all_safe`'s outcomes is not confirmed, after the user's UNSAFE file names it."""
    missing = [one for one in outcomes if not one.safe]
    if not missing:
        return None
    recipes = {}
    for one in instruments:
        if not is_inside(one):
            with suppress(NotRemakeable):
                recipes[one.name, resource_of(one)] = recipe_of(one)
    wall = SystemClock().wall()
    return Unsafe(missing, UnsafeFile().report(missing, recipes, wall=wall, told_by=f"process {os.getpid()}"))


def make_recorded_safe(
    entries: Iterable[Entry], *, deadline: float = DEADLINE, effort: float = EFFORT
) -> tuple[Outcome, ...]:
    """Try once more what an UNSAFE file names; an entry without a recipe, and a light path, cannot be tried here."""
    entries = tuple(entries)
    recipes = sorted((one.recipe for one in entries if _can_be_tried(one) and one.recipe), key=_order)
    jobs = [
        Job(one.name, one.resource, (Way("fresh connection", partial(make_safe_afresh, one), True),), deadline, effort)
        for one in recipes
    ]
    rest = [
        Outcome(one.name, one.resource, False, "", 0.0, "it can only be looked at")
        for one in entries
        if not _can_be_tried(one)
    ]
    WORKERS.reserve(2 * len(jobs))
    return (*darken(jobs), *rest)


def _can_be_tried(entry: Entry) -> bool:
    """Whether the entry is an instrument's; a light path's recipe is that of its meter."""
    return entry.recipe is not None and entry.recipe.name == entry.name


def _order(recipe: Recipe) -> int:
    """Place in the safe order; the last for a driver that cannot be loaded."""
    try:
        return int(recipe.attributes.get("safe_order", recipe.load().safe_order))
    except LabqdlError:
        return 1000
