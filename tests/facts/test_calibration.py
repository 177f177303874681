"""Calibration results: exact round trip, digests, staleness and refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from labqdl.errors import InputError
from labqdl.facts import CalibrationResult, CalibrationSet, Owner
from labqdl.facts.calibration import ProblemKind


def result(name: str = "server.noise", **changes: object) -> CalibrationResult:
    base = CalibrationResult(
        name=name,
        owner=Owner.SERVER,
        values={"snu": 0.1 + 0.2, "noise": 1e-17},
        units={"snu": "V^2", "noise": "SNU"},
        covariance=np.array([[4e-4, 1e-6], [1e-6, 1e-4]]),
        method="variances with light and without",
        version=1,
        taken=1000.0,
        valid_for=60.0,
        conditions={"lo_power": 1e-3},
        raw_digest="ab",
        remarks=("on a Monday",),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_a_result_survives_json_to_the_bit() -> None:
    there = result()
    back = CalibrationResult.from_json(json.loads(json.dumps(there.to_json())))
    assert back.digest == there.digest
    assert back.values == there.values
    assert back.estimate("snu").deviation == 0.02
    assert back.covariance_of("noise", "snu")[0, 1] == 1e-6


def test_any_change_changes_the_digest() -> None:
    digests = {
        one.digest
        for one in (
            result(),
            result(taken=1001.0),
            result(raw_digest="cd"),
            result(remarks=()),
            result(failures=("x",)),
        )
    }
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("key", "value"),
    [("schema", 2), ("values", {"snu": 1.0}), ("covariance", [[1.0]]), ("valid_for", 0), ("owner", "nobody")],
)
def test_what_is_no_result_is_refused(key: str, value: object) -> None:
    with pytest.raises(InputError):
        CalibrationResult.from_json(result().to_json() | {key: value})


def test_missing_and_unknown_keys_are_named() -> None:
    data = result().to_json()
    with pytest.raises(InputError, match="surplus"):
        CalibrationResult.from_json(data | {"surplus": 1})
    del data["method"]
    with pytest.raises(InputError, match="method"):
        CalibrationResult.from_json(data)


def test_what_is_not_finite_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="snu is not finite"):
        result(values={"snu": float("nan"), "noise": 0.0})


def test_staleness_by_age_by_change_and_by_failure() -> None:
    first = result("a.first")
    second = result("a.second", requires={"a.first": first.digest})
    third = result("a.third", requires={"a.second": second.digest}, valid_for=1e6)
    fresh = CalibrationSet([first, second, third], station="loop-32")
    assert fresh.problems(1010.0) == ()
    assert [(one.name, one.kind) for one in fresh.problems(1061.0, ["a.third"])] == [
        ("a.second", ProblemKind.EXPIRED),
        ("a.first", ProblemKind.EXPIRED),
    ]
    again = fresh.with_result(replace(first, taken=1005.0))
    assert [(one.name, one.kind) for one in again.problems(1010.0)] == [("a.second", ProblemKind.CHANGED)]
    assert again.problems(1010.0, ["a.nothing"])[0].kind is ProblemKind.MISSING
    failed = fresh.with_result(replace(second, failures=("the line is bent",)))
    assert {one.kind for one in failed.problems(1010.0, ["a.third"])} == {ProblemKind.CHANGED, ProblemKind.FAILED}
    with pytest.raises(InputError, match="the line is bent"):
        failed.value("a.second", "snu")
    with pytest.raises(InputError, match=r"labqdl calibrate loop-32 a\.nothing"):
        fresh.value("a.nothing", "snu")
    with pytest.raises(InputError, match="snu, noise"):
        fresh.value("a.first", "clearance")


def test_a_party_reads_its_own_and_the_channels() -> None:
    everything = CalibrationSet(
        [result("server.x"), result("client.x", owner=Owner.CLIENT), result("path.x", owner=Owner.CHANNEL)]
    )
    assert sorted(everything.of("server")) == ["path.x", "server.x"]
    assert sorted(everything.of(Owner.CLIENT)) == ["client.x", "path.x"]


def test_a_set_survives_json() -> None:
    there = CalibrationSet([result("server.x"), result("server.a")], station="loop-32")
    back = CalibrationSet.from_json(json.loads(json.dumps(there.to_json())))
    assert back.digest == there.digest
    assert back.station == "loop-32"


def test_estimates_are_written_with_two_figures_of_the_deviation() -> None:
    assert str(result().estimate("snu")) == "0.300 ± 0.020 V^2"
