"""Plans: the same bounds as a run, better than the shipped points, the paper's table, clear words for nonsense."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import labqdl
from labqdl.api.plan_files import write_experiment
from labqdl.api.plan_map import map_panels, save_map
from labqdl.api.planning import PAPER_NETWORK, PlanResult, plan
from labqdl.config import load_link
from labqdl.errors import InputError
from labqdl.facts import Quantity
from labqdl.planner.question import Aim


@pytest.fixture(scope="module")
def small() -> PlanResult:
    """A plan for the small model with everything in it."""
    return plan(model="breast-cancer", accuracy=0.9, link="lab-bench", tap="amplifier")


@pytest.mark.parametrize(
    "settings",
    [
        {"tap": "amplifier"},
        {"tap": "feed-forward", "last_layer_db": 3.0},
        {"build": "edfa"},
        {"build": "feed-forward", "bits_per_feature": 1.2},
        {"tap": "amplifier", "uses": 3},
        {"tap": "amplifier", "uses": 3, "cross_use": False},
    ],
    ids=["amplifier", "split", "edfa", "feed-forward-build", "uses", "no-cross-use"],
)
def test_a_run_of_the_written_experiment_reports_the_plans_bounds(settings: dict[str, Any], tmp_path: Path) -> None:
    made = plan(model="breast-cancer", accuracy=0.9, link="lab-bench", details=False, **settings)
    assert made.feasible
    files = write_experiment(made, tmp_path / "experiment.toml")
    assert len(files) == (2 if "build" in settings else 1)
    run = labqdl.run(files[0], images=3, seed=1, out=str(tmp_path / "runs"))
    best = made.best
    assert best is not None
    assert run.operating_point.mu == best.point.mu
    assert run.operating_point.tap == best.point.setting
    for quantity, engine in (
        (Quantity.WEIGHTS, "labqdl"),
        (Quantity.WEIGHTS, "labqdl-anisotropic"),
        (Quantity.DATA, "labqdl"),
    ):
        planned, found = made.leakage.select(quantity, engine), run.leakage.select(quantity, engine)
        assert planned is not None
        assert found is not None
        # the spectrum is taken from the light of 32-bit weights by the run
        assert found.bits == pytest.approx(planned.bits, rel=1e-5 if engine != "labqdl" else 1e-14)
    assert run.leakage.select(Quantity.DATA, "labqdl").bits == best.point.data_ideal  # type: ignore[union-attr]
    if settings.get("uses"):
        planned = made.leakage.select(Quantity.WEIGHTS, "labqdl", cumulative=True)
        found = run.leakage.select(Quantity.WEIGHTS, "labqdl", cumulative=True)
        assert planned is not None
        assert found is not None
        assert (planned.uses, planned.bits) == (found.uses, found.bits)


@pytest.mark.parametrize("link", ["lab-bench", "metro-10km"])
def test_lowest_leakage_is_below_that_of_the_points_that_ship(link: str) -> None:
    point = load_link(link).operating_point
    assert point is not None
    shipped = labqdl.bound(link=link)
    found = plan(f2_db=shipped.f2_db, link=link, tap="amplifier", details=False)
    assert found.best is not None
    assert found.best.point.weights < shipped.weights.bits
    # and the shipped point is on the planner's own curve of points
    gain = point.tap.amplifier_gain
    limited = plan(
        f2_db=shipped.f2_db, link=link, tap="amplifier", bits_per_feature=shipped.data.bits, details=False
    ).best
    assert limited is not None
    assert limited.point.setting.amplifier_gain == pytest.approx(gain, rel=1e-4)
    assert limited.point.mu == pytest.approx(point.mu, rel=1e-4)
    assert limited.point.weights == pytest.approx(shipped.weights.bits, rel=1e-4)


@pytest.mark.parametrize(("weights", "data", "accuracy", "f2_db"), [(0.1, 0.1, 0.977, 10.2), (0.05, 0.01, 0.971, 6.46)])
def test_the_papers_network_within_exact_limits(weights: float, data: float, accuracy: float, f2_db: float) -> None:
    # Physics notes 4.3.
    found = plan(
        model=PAPER_NETWORK,
        accuracy="max",
        bits_per_weight=weights,
        bits_per_feature=data,
        tap="amplifier",
        details=False,
    )
    assert found.best is not None
    assert found.best.f2_db == pytest.approx(f2_db, abs=0.01)
    assert found.accuracy == pytest.approx(accuracy, abs=1.5e-3)


def test_json_has_everything_and_only_numbers_that_json_knows(small: PlanResult) -> None:
    text = json.dumps(small.to_json(), allow_nan=False)
    document = json.loads(text)
    assert document["schema"] == "labqdl.plan/1"
    assert document["feasible"]
    assert document["point"]["layers"][1]["rows"] == 2
    assert document["point"]["bits_per_weight"] == small.best.point.weights  # type: ignore[union-attr]
    assert {"weights", "data"} == set(document["leakage"])
    for key in ("alternatives", "costs", "demands", "trade_off"):
        assert document[key]
    assert document["obstacles"] == []
    homodyne, counting = document["verification"]["certification"]
    assert homodyne["counting_fraction"] == 0.0
    assert counting["counting_fraction"] > 0.0
    assert counting["images"] > 0
    assert homodyne["seconds"] == pytest.approx(homodyne["symbols"] / 1e8)
    assert len(document["verification"]["detection"]) == 4
    assert document["symbols_per_image"] == 32 * 16 + 2 * 17
    low, high = document["accuracy_interval"]
    assert low < document["accuracy"] < high


def test_squeezing_is_compared_where_it_is_asked_for() -> None:
    asked: dict[str, Any] = {"f2_db": -5.0, "modes": (16,), "rows": (8,), "details": False}
    assert plan(link="lab-bench", **asked).to_json()["encodings"] == []
    found = plan(link="lab-bench", squeezing=(10.0,), **asked)
    pair, alone, squeezed, best = found.to_json()["encodings"]
    assert squeezed["squeezing_db"] == 10.0
    assert best["bits"] <= squeezed["bits"] < pair["bits"] < alone["bits"]
    assert "no bound of a session" in " ".join(str(found).split())
    for wrong in (-1.0, 41.0, math.nan):
        with pytest.raises(InputError, match="--squeezing"):
            plan(link="lab-bench", squeezing=(wrong,), **asked)


def test_words_for_people(small: PlanResult) -> None:
    text = str(small)
    for part in (
        "FEASIBLE",
        "What each part costs",
        "asks of a bench",
        "certify",
        "trade-off",
        "assumes",
        "confidence",
    ):
        assert part in text, part
    infeasible = plan(f2_db=0.0, modes=(16,), rows=(32,), link="lab-bench", tap="amplifier", bits_per_weight=0.001)
    assert infeasible.exit_code == 4
    words = str(infeasible)
    assert "NOT FEASIBLE" in words
    assert "What stands in the way" in words
    assert json.loads(json.dumps(infeasible.to_json(), allow_nan=False))["obstacles"]


def test_aims_follow_from_the_limits() -> None:
    for limits, aim in (
        ({}, Aim.WEIGHTS),
        ({"bits_per_weight": 2.0}, Aim.DATA),
        ({"bits_per_feature": 2.0}, Aim.WEIGHTS),
        ({"bits_per_weight": 2.0, "bits_per_feature": 2.0}, Aim.MARGIN),
        ({"bits_per_weight": 2.0, "aim": "weights"}, Aim.WEIGHTS),
    ):
        found = plan(f2_db=-5.0, modes=(16,), rows=(32,), link="lab-bench", tap="amplifier", details=False, **limits)
        assert found.answer.question.aim is aim


def test_light_of_the_last_layer_is_chosen() -> None:
    question: dict[str, Any] = {"model": "breast-cancer", "accuracy": 0.92, "link": "lab-bench", "tap": "amplifier"}
    plain = plan(**question, judge="mean", details=False).best
    chosen = plan(**question, judge="mean", last_layer_db="choose", details=False).best
    assert plain is not None
    assert chosen is not None
    assert chosen.point.weights <= plain.point.weights


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"accuracy": 96}, "0.96 for 96 %"),
        ({"accuracy": "high"}, "--accuracy"),
        ({"accuracy": 0.9, "f2_db": 1.0}, "one target"),
        ({"accuracy": "max"}, "nothing limits the light"),
        ({"f2_db": float("nan")}, "--f2-db"),
        ({"bits_per_weight": 0.0}, "--bits-per-weight"),
        ({"bits_per_feature": float("inf")}, "--bits-per-feature"),
        ({"uses": 0}, "--uses"),
        ({"tap": "mirror"}, "mirror"),
        ({"build": "edfa", "tap": "feed-forward"}, "--build"),
        ({"build": "edfb"}, "edfa"),
        ({"aim": "margin"}, "both limits"),
        ({"aim": "speed"}, "--aim"),
        ({"judge": "jury"}, "--judge"),
        ({"link": "nowhere"}, "nowhere"),
        ({"model": "nothing"}, "nothing"),
        ({"modes": (3,), "rows": (3,)}, "--modes and --rows"),
        ({"f2_db": 0.0, "modes": (3, 4), "rows": (3,)}, "once for each layer"),
        ({"last_layer_db": 30.0}, "--last-layer-db"),
        ({"last_layer_db": "much"}, "choose"),
        ({"f2_db": 0.0, "modes": (8,), "rows": (4,), "last_layer_db": "choose"}, "one layer"),
        ({"symbol_rate": -1.0}, "--symbol-rate"),
        ({"delta": 0.7}, "delta"),
        ({"curve": "missing.json"}, "missing.json"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_nonsense_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan(**{"details": False, **({} if "f2_db" in settings else {"model": "breast-cancer"}), **settings})


def test_what_cannot_be_written(small: PlanResult, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.toml"):
        write_experiment(small, tmp_path / "x.json")
    sizes = plan(f2_db=0.0, modes=(4,), rows=(4,), details=False)
    with pytest.raises(InputError, match="model with weights"):
        write_experiment(sizes, tmp_path / "x.toml")
    none = plan(model="breast-cancer", accuracy=0.9, link="lab-bench", bits_per_weight=1e-4, details=False)
    with pytest.raises(InputError, match="no feasible point"):
        write_experiment(none, tmp_path / "x.toml")
    with pytest.raises(InputError, match="does not exist"):
        write_experiment(small, tmp_path / "no" / "x.toml")
    with pytest.raises(InputError, match="png"):
        save_map(small, tmp_path / "x.bmp")
    with pytest.raises(InputError, match="curve"):
        save_map(sizes, tmp_path / "x.json")


def test_map_has_the_papers_beside_ours(tmp_path: Path) -> None:
    found = plan(model=PAPER_NETWORK, tap="amplifier", details=False)
    panels = map_panels(found)
    assert [panel.title for panel in panels] == ["published map", "same network, exact"]
    weights, data = panels[1].points["their point"]
    assert weights == pytest.approx(0.1, abs=2e-4)
    assert data == pytest.approx(0.5257, abs=2e-4)  # 0.514 without the hidden vector
    document = json.loads(save_map(found, tmp_path / "map.json").read_text())
    assert document["schema"] == "labqdl.map/1"
    assert [panel["title"] for panel in document["panels"]] == ["published map", "same network, exact"]
    panel = document["panels"][1]
    assert len(panel["accuracy"]) == len(panel["bits_per_feature"])
    assert {entry["accuracy"] for entry in panel["contours"]} == {0.9, 0.95, 0.96, 0.97}
