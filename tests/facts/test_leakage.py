"""Bounds as JSON and back."""

from __future__ import annotations

from dataclasses import replace
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


MIXED = LeakageReport(
    (
        replace(bound(Quantity.WEIGHTS, "labqdl", 0.1), assumptions=("shared", "known")),
        replace(bound(Quantity.WEIGHTS, "labqdl", 3.0, uses=40), assumptions=("shared", "known", "kept together")),
        replace(bound(Quantity.WEIGHTS, "labqdl", 0.2, confidence=0.999), assumptions=("shared", "pooled")),
        replace(bound(Quantity.DATA, "labqdl", 0.5), assumptions=("coherent light",)),
    )
)


def test_a_report_survives_json() -> None:
    for report in (REPORT, MIXED):
        assert set(LeakageReport.from_json(report.to_json()).bounds) == set(report.bounds)
    assert LeakageReport.from_json(REPORT.to_json()) == REPORT


def test_assumptions_belong_to_figures() -> None:
    """In words every sentence stands once, with the figures that share it; in JSON beside the figure's own name."""
    assert MIXED.assumptions(Quantity.WEIGHTS, "labqdl") == (
        ("all figures", ("shared",)),
        ("one use and 40 uses", ("known",)),
        ("40 uses", ("kept together",)),
        ("one use certified", ("pooled",)),
    )
    assert MIXED.assumptions(Quantity.DATA, "labqdl") == (("one use", ("coherent light",)),)
    assert MIXED.assumptions(Quantity.DATA, "nobody") == ()
    entry = MIXED.to_json()["weights"]["labqdl"]
    assert entry["assumptions"] == ["shared", "known"]
    assert entry["cumulative_assumptions"] == ["shared", "known", "kept together"]
    assert entry["certified_assumptions"] == ["shared", "pooled"]
    assert "cumulative_certified_assumptions" not in entry


def test_an_older_report_has_one_list_for_all_figures() -> None:
    document = REPORT.to_json()
    for entry in (*document["weights"].values(), *document["data"].values()):
        for name in [name for name in entry if name.endswith("_assumptions")]:
            del entry[name]
    assert LeakageReport.from_json(document) == REPORT


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
