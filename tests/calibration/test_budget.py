"""The error budget: each cause by its formula, sums, and the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labqdl.facts import CalibrationResult, CalibrationSet, Estimate, Owner
from labqdl_calibration.budget import budget_waterfall, error_budget, largest

MU, MODES = 10.0, 32


def result(name: str, **values: tuple[float, float]) -> CalibrationResult:
    return CalibrationResult(
        name=name,
        owner=Owner.SERVER,
        values={key: value for key, (value, _) in values.items()},
        units=dict.fromkeys(values, ""),
        covariance=np.diag([deviation**2 for _, deviation in values.values()]),
        method="made up",
        version=1,
        taken=0.0,
        valid_for=1e9,
    )


def calibrations() -> CalibrationSet:
    tree = {"offset_0": (0.1, 0.004), "error_0": (0.02, 0.003), "v_pi_phase": (0.7, 0.007)}
    return CalibrationSet(
        [
            result("path.forward", transmissivity=(0.5, 0.01)),
            result("path.return", transmissivity=(0.4, 0.01)),
            result("client.tap", d=(0.05, 0.005), net_gain_re=(0.98, 0.001), net_gain_im=(0.1, 0.001)),
            result("server.lock", residual=(0.02, 0.004)),
            result("client.interferometer", **tree),
            result("client.inverse", **tree),
            result("server.lo-phase", v_pi=(1.4, 0.014)),
            result("server.modulator", quadrature_error=(0.01, 0.001), imbalance=(0.0, 0.002)),
            result("server.shot-noise", snu=(1e-4, 1e-6), noise=(0.02, 0.001)),
            result("server.efficiency", efficiency=(0.8, 0.01)),
        ]
    )


def test_each_cause_by_its_formula() -> None:
    budget = error_budget(calibrations(), mu=MU, n_modes=MODES, measured=Estimate(0.03, 0.004, "SNU"))
    found = {row.cause: row.excess for row in budget.rows}
    signal = 2 * MU * 0.5 * 0.4
    assert found["noise of the tap itself"].value == pytest.approx(0.4 * 0.05 / 32)
    assert found["net gain of the addressed mode"].value == pytest.approx(signal * (0.02**2 + 0.1**2) / 32)
    assert found["phase lock of the server"].value == pytest.approx(signal * 0.02**2)
    assert found["phase lock of the server"].deviation == pytest.approx(2 * signal * 0.02 * 0.004)
    delta = 0.02**2 - 0.003**2 + 0.004**2
    assert found["couplers of the trees"].value == pytest.approx(4 * signal * delta * 31 / 32)
    assert found["phase modulators of the trees"].value == pytest.approx(2 * signal * (math.pi / 3**0.5 * 0.01) ** 2)
    assert found["angle between X and P"].value == pytest.approx(0.5 * signal * (math.pi / 2 * 0.01) ** 2)
    assert found["I/Q modulator"].value == pytest.approx(0.5 * signal * (0.001**2 + 0.002**2))
    assert found["shot-noise unit"].deviation == pytest.approx(1.02 * 0.01 / 0.8)
    assert budget.expected.value == pytest.approx(sum(one.value for one in found.values()))
    assert budget.unexplained is not None
    assert budget.unexplained.value == pytest.approx(0.03 - budget.expected.value)


def test_the_table_has_the_largest_first_and_the_sums_last() -> None:
    budget = error_budget(calibrations(), mu=MU, n_modes=MODES, measured=Estimate(0.03, 0.004, "SNU"))
    lines = budget.lines()
    assert [line[0] for line in lines[-3:]] == ["expected", "measured", "unexplained"]
    assert lines[0][0] == max(budget.rows, key=lambda row: row.excess.value).cause
    assert lines[-2][1] == "30 ± 4"
    tight = {row.cause for row in largest(budget, 1e-3)}
    assert "phase lock of the server" in tight
    assert "I/Q modulator" not in tight


def test_what_is_missing_or_failed_has_no_row() -> None:
    assert error_budget(CalibrationSet(), mu=MU, n_modes=MODES).rows == ()
    only = error_budget(CalibrationSet([result("server.lock", residual=(0.02, 0.004))]), mu=MU, n_modes=MODES)
    assert [row.cause for row in only.rows] == ["phase lock of the server"]
    assert only.rows[0].excess.value == pytest.approx(2 * MU * 0.02**2)


def test_the_waterfall_is_drawn() -> None:
    pytest.importorskip("matplotlib")
    budget = error_budget(calibrations(), mu=MU, n_modes=MODES, measured=Estimate(0.03, 0.004, "SNU"))
    ax = budget_waterfall(budget)
    assert [label.get_text() for label in ax.get_yticklabels()][-2:] == ["expected", "measured"]
    assert ax.get_xlabel().endswith("(mSNU)")
