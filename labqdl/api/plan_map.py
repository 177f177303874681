"""The map of a plan: the plane of both leakages with the accuracy within them, beside the published one."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from labqdl.api.places import file_place, write_text
from labqdl.api.planning import DEFAULT_LINK, PAPER_NETWORK, PlanResult, plan
from labqdl.errors import InputError
from labqdl.facts import TapKind
from labqdl.planner.plane import authors_map, exact_plane
from labqdl.planner.question import Question
from labqdl.planner.search import Search
from labqdl.planner.stage import Stage
from labqdl.plots import style
from labqdl.plots.maps import LIMITS, MapPanel, leakage_maps

MAP_SCHEMA = "labqdl.map/1"
LEVELS = (0.9, 0.95, 0.96, 0.97)
ENDINGS = (*style.ENDINGS, ".json")
_COLUMNS, _ROWS, _PUBLISHED = 160, 120, 160
_THEIR_POINT = (0.1, 0.1)
_THEIR_GAIN, _THEIR_MU = 1.1835, 33.70
"""Their formulas give that point at this gain and light."""


def map_panels(result: PlanResult) -> tuple[MapPanel, ...]:
    """The published map; the same network with exact bounds on ideal parts; the plan's network on its link.

    Raises
    ------
    InputError
        Where the plan has no curve of accuracy, so that there is nothing to draw.
    """
    question = result.answer.question
    if question.subject.curve is None:
        raise InputError("there is no curve of accuracy against F²", source="--map", expected="a model")
    weights, data = np.geomspace(*LIMITS[0], _COLUMNS), np.geomspace(*LIMITS[1], _ROWS)
    published = authors_map(points=_PUBLISHED)
    theirs = plan(model=PAPER_NETWORK, link=DEFAULT_LINK, tap=TapKind.AMPLIFIER.value, details=False).answer.question
    exact = exact_plane(theirs, weights, data, LEVELS)
    panels = [
        MapPanel(
            "published map",
            published.weights,
            published.data,
            published.accuracy,
            points={"their point": _THEIR_POINT},
        ),
        MapPanel(
            "same network, exact",
            exact.weights,
            exact.data,
            exact.accuracy,
            exact.contours,
            {"their point": their_point(theirs)},
        ),
    ]
    if result.model == PAPER_NETWORK and result.link == theirs.ledger.name:
        return tuple(panels)
    best = result.best
    if question.last_layer_db is None:
        question = replace(question, last_layer_db=0.0 if best is None else best.last_layer_db)
    own = exact_plane(question, weights, data, LEVELS)
    points = {} if best is None else {"plan": (best.point.weights, best.point.data)}
    title = f"{result.model}, {result.link}"
    panels.append(MapPanel(title, own.weights, own.data, own.accuracy, own.contours, points))
    return tuple(panels)


def their_point(question: Question) -> tuple[float, float]:
    """What the authors' point (0.1, 0.1) leaks by the exact bounds on ideal parts."""
    stage = Stage(TapKind.AMPLIFIER)
    search = Search(question, stage)
    tapped = 1.0 - 1.0 / _THEIR_GAIN
    noise = stage.client_noise(np.asarray(tapped), question.ledger)
    point = search.point(2.0 * _THEIR_MU / float(noise), tapped)
    return point.weights, point.data


def save_map(result: PlanResult, path: str | Path) -> Path:
    """Draw the map of a plan, or write its numbers: .png, .pdf, .svg or .json.

    Raises
    ------
    InputError
        For another ending, a plan without a curve, and a file that cannot be written.
    """
    target = map_path(path)
    panels = map_panels(result)
    if target.suffix.lower() != ".json":
        return style.save(leakage_maps(panels, levels=LEVELS), target)
    document = {"schema": MAP_SCHEMA, "panels": [_panel(panel) for panel in panels]}
    return write_text(target, json.dumps(document, allow_nan=False) + "\n")


def map_path(path: str | Path) -> Path:
    """InputError unless a map can be written there, and what draws it is installed."""
    target = file_place(path, "--map", endings=ENDINGS)
    if target.suffix.lower() != ".json":
        style.require_matplotlib()
    return target


def _panel(panel: MapPanel) -> dict[str, Any]:
    return {
        "title": panel.title,
        "bits_per_weight": _numbers(panel.weights),
        "bits_per_feature": _numbers(panel.data),
        "accuracy": [_numbers(row) for row in panel.accuracy],
        "contours": [
            {"accuracy": level, "bits_per_weight": _numbers(weights), "bits_per_feature": _numbers(data)}
            for level, (weights, data) in panel.contours.items()
        ],
        "points": [
            {"name": name, "bits_per_weight": weights, "bits_per_feature": data}
            for name, (weights, data) in panel.points.items()
        ],
    }


def _numbers(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[float | None]:
    """Six digits are more than a map shows; null for what is not known."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values.tolist()]
