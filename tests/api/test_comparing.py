"""Comparisons of runs: settings, accuracy on the same images, light, and what cannot be compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from labqdl.api import open_run, run
from labqdl.api.comparing import Compared, Comparison, compare
from labqdl.cli.root import run as command
from labqdl.errors import InputError
from labqdl.network import load_dataset

Copy = Callable[..., Path]

SETTINGS: dict[str, Any] = {"model": "breast-cancer", "link": "paper", "images": 100, "block": 25}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two alike, one in faint light, one with a cheating client."""
    folder = tmp_path_factory.mktemp("runs")
    made: dict[str, dict[str, Any]] = {"one": {"seed": 1}, "two": {"seed": 2}, "faint": {"seed": 3, "mu": 0.02}}
    for name, settings in made.items():
        run(folder=folder / name, **{**SETTINGS, **settings})
    run(folder=folder / "cheat", **SETTINGS, seed=4, client="passive-tap:0.2")
    return {name: folder / name for name in (*made, "cheat")}


def named(found: Comparison) -> dict[str, Compared]:
    return {test.name: test for test in found.pairs[0].tests}


def test_runs_that_differ_by_chance_only(runs: dict[str, Path]) -> None:
    found = compare([runs["one"], runs["two"]])
    (pair,) = found.pairs
    assert [figure.name for figure in pair.settings] == ["seed"]
    assert not any(test.significant for test in pair.tests)
    assert pair.remarks == ()
    names = {test.name for test in pair.tests}
    assert {"accuracy", "gain, layer 1", "noise, layer 2", "count, layer 1", "phase, layer 1"} <= names
    assert all(figure.agrees for figure in pair.bounds if "certified" not in figure.name)


def test_accuracy_on_the_same_images_is_paired(runs: dict[str, Path]) -> None:
    found = named(compare([runs["one"], runs["faint"]]))["accuracy"]
    labels = load_dataset("breast-cancer").labels
    assert labels is not None
    right = [open_run(runs[name]).logits().argmax(axis=1) == labels[:100] for name in ("one", "faint")]
    only = [int(np.count_nonzero(right[i] & ~right[1 - i])) for i in (0, 1)]
    assert found.difference.test == "exact McNemar"
    assert found.difference.p_value == pytest.approx(stats.binomtest(only[0], sum(only)).pvalue)
    assert found.difference.value == pytest.approx(right[1].mean() - right[0].mean())
    assert f"only the first right on {only[0]}" in found.note
    assert found.significant
    assert found.difference.value < 0


def test_a_cheat_shows_in_the_light(runs: dict[str, Path]) -> None:
    found = compare([runs["one"], runs["cheat"]])
    tests = named(found)
    gain = tests["gain, layer 1"]
    assert gain.significant
    assert gain.difference.value == pytest.approx(-(1 - np.sqrt(0.8)), abs=0.03)
    assert found.pairs[0].outcomes[1] == "abort"
    assert "accuracy" not in tests  # no image came through
    assert any("accuracy is not compared" in remark for remark in found.pairs[0].remarks)
    recorded = {test["name"]: test for test in open_run(runs["cheat"]).result["consistency"]["tests"]}
    assert gain.second == pytest.approx(recorded["gain, layer 1"]["statistic"], rel=1e-6)
    assert tests["noise, layer 1"].second == pytest.approx(recorded["noise, layer 1"]["statistic"], rel=1e-6)
    assert tests["count, layer 1"].second == pytest.approx(recorded["count, layer 1"]["statistic"], rel=1e-6)
    phase = tests["phase, layer 1"].second
    assert phase == pytest.approx(recorded["phase, layer 1"]["statistic"], rel=1e-6)


def test_all_tests_are_corrected_together(runs: dict[str, Path]) -> None:
    alone = compare([runs["one"], runs["two"]])
    many = compare([runs["one"], runs["two"], runs["faint"], runs["cheat"]])
    assert many.n_tests == sum(len(pair.tests) for pair in many.pairs) > 2 * alone.n_tests
    for name, test in named(alone).items():
        other = named(many)[name]
        assert other.difference == test.difference
        assert other.adjusted >= test.adjusted
    assert str(runs["one"]) in str(many)


def test_the_same_run_twice(runs: dict[str, Path]) -> None:
    found = compare([runs["one"], runs["one"]])
    assert found.pairs[0].settings == ()
    assert all(test.difference.value == 0 for test in found.pairs[0].tests)
    assert not any(test.significant for test in found.pairs[0].tests)
    assert any("seed 1" in remark for remark in found.pairs[0].remarks)
    text = str(found)
    assert "The settings are the same." in text
    assert "No difference is significant." in text
    assert "figures of the bounds are the same" in text


def test_different_numbers_of_the_same_images(runs: dict[str, Path], whole: Path) -> None:
    found = named(compare([runs["one"], whole]))["accuracy"]
    assert found.difference.test == "exact McNemar"
    assert "same 7 images" in found.note


def test_other_images(runs: dict[str, Path], tmp_path: Path) -> None:
    """Shifted data: Fisher's test, for different images."""
    data = load_dataset("breast-cancer")
    assert data.labels is not None
    np.savez(tmp_path / "shifted.npz", data=data.data[50:110], labels=data.labels[50:110])
    shifted: dict[str, Any] = {"data": tmp_path / "shifted.npz", "images": 60, "seed": 9}
    run(folder=tmp_path / "run", **{**SETTINGS, **shifted})
    found = named(compare([runs["one"], tmp_path / "run"]))["accuracy"]
    assert found.difference.test == "exact Fisher"
    # Its data are gone: what the result says is all that is left.
    (tmp_path / "shifted.npz").unlink()
    again = compare([runs["one"], tmp_path / "run"])
    assert named(again)["accuracy"].difference == found.difference
    assert any("cannot be told again" in remark for remark in again.pairs[0].remarks)


def test_a_run_without_a_result(whole: Path, stopped: Path) -> None:
    found = compare([whole, stopped])
    assert found.pairs[0].outcomes[1] is None
    assert found.pairs[0].bounds == ()
    assert any("without a result" in remark for remark in found.pairs[0].remarks)
    assert "accuracy" in named(found)
    assert "no result yet" in str(found)


def test_mistakes(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 runs to compare"):
        compare([whole])
    with pytest.raises(InputError, match="--alpha"):
        compare([whole, whole], alpha=1.5)
    with pytest.raises(InputError, match="nowhere"):
        compare([whole, tmp_path / "nowhere"])


def test_the_command(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["compare", str(runs["one"]), str(runs["cheat"]), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "labqdl.compare/1"
    assert document["correction"] == "Holm"
    assert [entry["name"] for entry in document["pairs"][0]["settings"]] == ["client", "seed"]
    assert document["leakage"][str(runs["one"])]["weights"]["labqdl"]["assumptions"]
    assert command(["compare", str(runs["one"]), str(runs["faint"])]) == 0
    text = capsys.readouterr().out
    assert "frame.layers[0].mu" in text
    assert "accuracy is" in text
    assert "exact McNemar" in text
    assert "Holm" in text
    assert "own confidence" in text
    assert "authors' formulas" in text
    assert command(["compare", str(runs["one"])]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.soak
def test_false_alarms_between_real_runs(tmp_path: Path) -> None:
    """100 pairs of equal runs: p-values of the light are no smaller than uniform ones (false alarm 1e-7 a quantity)."""
    found: dict[str, list[float]] = {}
    for pair in range(100):
        for side in range(2):
            run(folder=tmp_path / f"{side}", **{**SETTINGS, "images": 50}, seed=1000 + 2 * pair + side)
        for name, test in named(compare([tmp_path / "0", tmp_path / "1"])).items():
            found.setdefault(name, []).append(test.difference.p_value)
        shutil.rmtree(tmp_path / "0")
        shutil.rmtree(tmp_path / "1")
    for name in ("gain, layer 1", "noise, layer 1", "count, layer 1", "phase, layer 1"):
        assert stats.kstest(found[name], "uniform", alternative="greater").pvalue > 1e-7, name
