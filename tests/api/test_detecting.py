"""The power study: rows, curves and figures of `labqdl power`, from Python and from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import labqdl
from labqdl.cli.root import run
from labqdl.errors import InputError
from labqdl.security.attacks import ATTACKS


def test_a_study_counts_what_theory_says() -> None:
    study = labqdl.power(attacks=["symmetric cloner", "count"], trials=100, work=3e8)
    assert [row.title for row in study.rows] == [
        "over-amplification to 2.2",
        "over-amplification to 3",
        "over-amplification to 10",
        "symmetric cloner",
        "cloner of 0.01 SNU before the stage",
    ]
    assert {row.test for row in study.rows} == {"count", "noise"}
    for row in study.rows:
        assert len(row.points) == 8
        assert [point.symbols for point in row.points] == sorted(point.symbols for point in row.points)
        assert row.stated.theory == pytest.approx(0.99, abs=4e-3)
        assert row.stated.symbols == pytest.approx(row.symbols, rel=0.03)
        for point in row.points:
            if point.counted is not None and point.interval is not None:
                # Intervals of 95 %: six times as wide they miss nothing.
                low, high = (6 * limit - 5 * point.counted for limit in point.interval)
                assert low <= point.theory <= high
    assert study.rows[0].stated.counted is None  # 7.5e6 slots times 100 sessions are more than the allowed work
    cloner = study.rows[3]
    assert cloner.symbols == 196
    assert cloner.stated.counted is not None
    assert cloner.stated.counted > 0.9
    assert "196" in str(study)
    document = study.to_json()
    assert document["schema"] == "labqdl.power/1"
    assert json.loads(json.dumps(document)) == document


def test_the_same_seed_gives_the_same_study() -> None:
    one, two, other = (
        labqdl.power(attacks=["intercept-resend"], trials=40, curves=False, seed=seed) for seed in (3, 3, 4)
    )
    assert one == two
    assert other.rows[0].symbols == one.rows[0].symbols


def test_theory_alone_covers_every_cheat_in_every_path() -> None:
    seen = []
    paths: tuple[dict[str, Any], ...] = (
        {},
        {"transmissivity": 0.5},
        {"link": "lab-bench"},
        {"tap": "feed-forward", "tap_transmissivity": 0.8},
    )
    for settings in paths:
        study = labqdl.power(trials=0, curves=False, **settings)
        assert all(point.counted is None for row in study.rows for point in row.points)
        seen.append(len(study.rows))
    assert seen == [len(ATTACKS)] * 4
    half = labqdl.power(trials=0, curves=False, transmissivity=0.5)
    assert next(row for row in half.rows if row.title == "symmetric cloner").symbols == 589


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    labqdl.power(attacks=["passive"], trials=0, on_attack=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"attacks": ["nobody"]}, "--attack"),
        ({"alpha": 0.0}, "--alpha"),
        ({"wanted": 1.0}, "--wanted"),
        ({"n_modes": 1}, "--modes"),
        ({"trials": -1}, "--trials"),
        ({"seed": -1}, "--seed"),
        ({"work": -1.0}, "--work"),
        ({"transmissivity": 1.5}, "--transmissivity"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mistakes_name_their_option(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        labqdl.power(**wrong)


def test_the_command_prints_draws_and_answers_in_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["power", "--attack", "symmetric", "--trials", "20"]) == 0
    words = capsys.readouterr().out
    assert "symmetric cloner" in words
    assert "196" in words
    assert run(["power", "--attack", "symmetric", "--trials", "20", "--json", "--plot", "curves.svg"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["attacks"][0]["points"]) == 8
    assert Path("curves.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert run(["power", "--attack", "x", "--trials", "20", "--plot", "curves.gif"]) == 2
