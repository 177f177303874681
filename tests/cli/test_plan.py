"""`labqdl plan` and `labqdl curve`: exit codes, files, one object, one clear line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labqdl.api import plan
from labqdl.cli.root import run

SMALL = ("plan", "--model", "breast-cancer", "--accuracy", "0.9", "--link", "lab-bench", "--tap", "amplifier")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_feasible(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SMALL, "--json", "--write", "e.toml"]) == 0
    assert _json(capsys)["feasible"]
    assert 'model = "breast-cancer"' in Path("e.toml").read_text()
    assert run(["run", "e.toml", "--images", "2", "--seed", "1", "--quiet"]) in (0, 4)


def test_infeasible(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["plan", "--f2-db", "0", "--modes", "16", "--rows", "32", "--link", "lab-bench", "--tap", "amplifier"]
    assert run([*sizes, "--bits-per-weight", "0.0001", "--write", "e.toml"]) == 4
    printed = capsys.readouterr()
    assert "NOT FEASIBLE" in printed.out
    assert "not written" in printed.err
    assert not Path("e.toml").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--accuracy", "96"], ["--write", "e.json"], ["--map", "m.bmp"], ["--build", "glass"], ["--uses", "-1"]],
    ids=lambda arguments: arguments[0],
)
def test_nonsense(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SMALL, *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("labqdl: ")
    assert "Traceback" not in printed.err


def test_map(capsys: pytest.CaptureFixture[str]) -> None:
    network = ["plan", "--model", "paper-network", "--link", "lab-bench", "--tap", "amplifier"]
    assert run([*network, "--map", "map.json", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    panels = json.loads(Path("map.json").read_text())["panels"]
    assert panels[2]["title"] == "paper-network, lab-bench"


def test_curve(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["curve", "breast-cancer", "breast-cancer-train", "--held-out", "--draws", "2", "--json"]) == 0
    document = _json(capsys)
    assert document["schema"] == "labqdl.curve/1"
    assert document["file"] == "breast-cancer-curve.json"
    assert plan(model="breast-cancer", accuracy=0.8, curve="breast-cancer-curve.json", details=False).accuracy
    assert run(["curve", "breast-cancer", "breast-cancer", "--draws", "1", "--out", "c.json"]) == 0
    assert "95 % interval" in capsys.readouterr().out
