"""Error budget of a run on a station: what its calibrations let expect, and what its light says."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from labqdl.facts import Estimate, FrameDescription, ReturnedLight
from labqdl.facts.calibration import CalibrationSet
from labqdl.report.content import ExcessBudget, ExcessCause, Missing


def excess_budget(
    frame: FrameDescription, calibrations: CalibrationSet, blocks: Iterable[tuple[int, Mapping[int, ReturnedLight]]]
) -> ExcessBudget | Missing:
    """The budget of a run beside what it measured.

    The measured excess is the mean square of all homodyned residuals less the vacuum's, over the receiver's
    efficiency: noise and a wrong amplitude alike (docs/physics.md, "Levels"). Its standard deviation is that of
    both samples; the noise in the returned light is taken as normal, which it nearly is.

    Parameters
    ----------
    frame:
        Of the run.
    calibrations:
        Those that it began with.
    blocks:
        What the server measured, block by block.
    """
    try:
        from labqdl_calibration.budget import UNIT_CAUSE, error_budget
    except ImportError as error:
        return Missing(f"calibrations are not installed ({error}).")
    squares = light = vacuum = inverse = 0.0
    count = slots = 0
    for _, layers in blocks:
        for layer, returned in layers.items():
            found = returned.statistics
            number = int(found.residuals.sum())
            squares += float(found.sum_rr.sum())
            light += float(found.sum_qq.sum())
            count += number
            inverse += number / frame.layers[layer].tile_modes
            vacuum += found.vacuum_squares
            slots += found.vacuum_slots
    if not count or not light > 0:
        return Missing("the server has measured nothing.")
    own = slots > 0
    unit = vacuum / slots if own else 1.0 + frame.ledger.server_noise
    mean = squares / count
    efficiency = frame.ledger.server_efficiency
    spread = mean * math.sqrt(2.0 / count)
    deviation = math.hypot(spread, unit * math.sqrt(2.0 / slots) if own else 0.0) / efficiency
    measured = Estimate((mean - unit) / efficiency, deviation, "SNU")
    # A quadrature has the variance 2 mu; shares of 1/n are means over everything that was measured.
    budget = error_budget(calibrations, mu=light / count / 2.0, n_modes=count / inverse, measured=measured)
    if own:  # against its own vacuum a run needs no calibrated unit
        budget = replace(budget, rows=tuple(row for row in budget.rows if row.cause != UNIT_CAUSE))
    if not budget.rows:
        return Missing("no calibration of the run says anything about excess noise.")
    unexplained = budget.unexplained
    assert unexplained is not None
    return ExcessBudget(
        causes=tuple(
            ExcessCause(row.cause, row.source, row.formula, row.excess.value, row.excess.deviation)
            for row in budget.ordered()
        ),
        expected=(budget.expected.value, budget.expected.deviation),
        measured=(measured.value, measured.deviation),
        unexplained=(unexplained.value, unexplained.deviation),
        photons=light / count / 2.0,
        own_unit=own,
    )


def budget_to_json(budget: ExcessBudget | Missing | None) -> dict[str, Any] | None:
    """As `labqdl report --json` has it; SNU at the server's input."""
    if not isinstance(budget, ExcessBudget):
        return None

    def both(value: tuple[float, float]) -> dict[str, float]:
        return {"value": value[0], "deviation": value[1]}

    return {
        "unit": "SNU",
        "causes": [
            {
                "cause": one.cause,
                "calibration": one.source,
                "formula": one.formula,
                "value": one.excess,
                "deviation": one.deviation,
            }
            for one in budget.causes
        ],
        "expected": both(budget.expected),
        "measured": both(budget.measured),
        "unexplained": both(budget.unexplained),
        "photons_per_mode": budget.photons,
        "own_shot_noise_unit": budget.own_unit,
    }
