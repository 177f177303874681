"""`labqdl bound`: the data whatever the server sends, and the best guess, beside the bits."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import labqdl
from labqdl.api.results import BoundResult
from labqdl.cli.root import run as command_line
from labqdl.facts import LeakageReport, Quantity


def test_no_attenuator_no_bound_for_any_probe(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bound", "--mu", "4", "--amplifier-gain", "2", "--modes", "392", "--rows", "784"]
    assert command_line([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["leakage"]["data"]
    assert data["labqdl"]["best_overlap"] == pytest.approx(0.500798262764, abs=1e-12)
    assert data["labqdl-any-probe"]["refused"].startswith("no bound without a trusted attenuator")
    assert set(data["labqdl-any-probe"]) == {"refused"}
    assert command_line(arguments) == 0
    shown = capsys.readouterr().out
    assert "data, best squared overlap of a guess" in shown
    assert "0.501" in shown
    assert "labqdl-any-probe, data: no bound without a trusted attenuator" in shown


def bench() -> BoundResult:
    return labqdl.bound(link="lab-bench", samples=1_000_000, uses=3)


def test_a_client_with_loss_of_its_own_has_a_bound_for_any_probe() -> None:
    report = bench().leakage
    any_probe = report.select(Quantity.DATA, "labqdl-any-probe")
    coherent = report.select(Quantity.DATA, "labqdl")
    assert any_probe is not None
    assert coherent is not None
    assert any_probe.bits > coherent.bits
    assert any_probe.best_overlap is not None
    assert coherent.best_overlap is not None
    assert coherent.best_overlap < any_probe.best_overlap < 1
    assert report.refusals == ()
    assert "labqdl-any-probe" in str(bench())


def test_reports_come_back_from_json() -> None:
    for report in (bench().leakage, labqdl.bound(mu=4.0, amplifier_gain=2.0).leakage):
        back = LeakageReport.from_json(json.loads(json.dumps(report.to_json())))
        assert back.to_json() == report.to_json()
        assert back.refusals == report.refusals


def test_overlap_belongs_to_data() -> None:
    report = bench().leakage
    weights = report.select(Quantity.WEIGHTS, "labqdl")
    assert weights is not None
    with pytest.raises(ValueError, match="best_overlap"):
        replace(weights, best_overlap=0.5)
