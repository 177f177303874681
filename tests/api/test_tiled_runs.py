"""Runs whose rows are cut into tiles: recorded, stopped, resumed, replayed and exported like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labqdl.api import export, open_run, replay, resume, run
from labqdl.errors import InputError, Stopped

SETTINGS: dict[str, Any] = {
    "model": "digits",
    "link": "paper",
    "images": 8,
    "block": 4,
    "seed": 7,
    "tile": 9,  # 32 modes in 4 tiles of 8; 16 modes in 2
    "check_vectors": 2,
    "monitor_fraction": 1e-4,
    "residual_share": 0.2,
}


def test_a_tiled_run_is_consistent_and_survives_everything_that_is_done_with_runs(tmp_path: Path) -> None:
    whole = run(folder=tmp_path / "whole", **SETTINGS)
    recorded = open_run(whole.run)
    assert all(test.passed for test in whole.verdict.consistency.tests)
    assert all(test.passed for test in whole.findings)
    assert [(layer.tiles, layer.tile_modes) for layer in recorded.frame.layers] == [(4, 8), (2, 8)]
    assert recorded.statistics(0)[0].counted.shape == (4 * 32,)
    assert replay(whole.run).agrees
    with pytest.raises(Stopped):
        run(folder=tmp_path / "stopped", max_symbols=recorded.frame.symbols_per_image * 7, **SETTINGS)
    again = resume(tmp_path / "stopped")
    np.testing.assert_array_equal(open_run(again.run).logits(), recorded.logits())
    assert export(whole.run, tmp_path / "exported.h5").stat().st_size > 0


def test_tiles_leave_the_accuracy_and_cost_bits(tmp_path: Path) -> None:
    """The combined outcomes have the noise of whole rows; only what leaks is more."""
    common = {**SETTINGS, "images": 60, "block": 60, "check_vectors": 0, "monitor_fraction": 0.0}
    tiled = run(folder=tmp_path / "tiled", **common)
    plain = run(folder=tmp_path / "plain", **{**common, "tile": None})
    assert tiled.f2_db == plain.f2_db
    assert tiled.accuracy is not None
    assert plain.accuracy is not None
    assert abs(tiled.accuracy - plain.accuracy) < 0.12  # both about 96 % of 60
    for number in range(2):
        bits = [result.leakage.bounds[number].bits for result in (tiled, plain)]
        assert bits[0] > bits[1]


def test_a_tile_has_at_least_one_mode(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tile"):
        run(folder=tmp_path / "run", **{**SETTINGS, "tile": 0})
