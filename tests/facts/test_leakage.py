"""Bounds as JSON and back."""

from __future__ import annotations

from typing import Any

import pytest

from labqdl.facts import Bound, LeakageReport, Quantity


def bound(quantity: Quantity, engine: str, bits: float, *, uses: int = 1, confidence: float | None = None) -> Bound:
    return Bound(
        quantity=quantity,
        engine=engine,
        bits=bits,
        bits_per_mode=2 * bits if quantity is Quantity.WEIGHTS else None,
        uses=uses,
        confidence=confidence,
        samples=0 if confidence is None else 1000,
        assumptions=("all bounds are tall",),
        calibration=("yesterday",),
    )


REPORT = LeakageReport(
    (
        bound(Quantity.WEIGHTS, "labqdl", 0.1),
        bound(Quantity.WEIGHTS, "labqdl", 0.2, confidence=0.999),
        bound(Quantity.WEIGHTS, "labqdl", 3.0, uses=40),
        bound(Quantity.WEIGHTS, "labqdl", 4.0, uses=40, confidence=0.999),
        bound(Quantity.WEIGHTS, "other", 0.0),
        bound(Quantity.DATA, "labqdl", 0.5),
    )
)


def test_a_report_survives_json() -> None:
    assert LeakageReport.from_json(REPORT.to_json()) == REPORT


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"weights": {}},
        {"weights": {"labqdl": 3}, "data": {}},
        {"weights": {"labqdl": {"bits_per_weight": 1.0}}, "data": {}},
        {"weights": {"labqdl": {"bits_per_weight": -1.0, "assumptions": ["a"], "calibration": ["b"]}}, "data": {}},
        {"weights": [], "data": {}},
    ],
    ids=["empty", "no-data", "no-entry", "no-assumptions", "negative", "list"],
)
def test_anything_else_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match=r"leakage object|>= 0"):
        LeakageReport.from_json(document)
