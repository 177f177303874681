"""Accuracy through a station against theory: the light of a point, and each image's probability."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from labqdl.api.bench import CalibratedBench, Table
from labqdl.api.curves import shipped_curve
from labqdl.api.levels import levels
from labqdl.api.light_paths import LightPath, find_light_path
from labqdl.api.wire_accuracy import F2_DB, _chances, _light_for, wire_accuracy
from labqdl.cli.world import opened_in_process
from labqdl.errors import InputError
from labqdl.network import load_dataset, load_model
from labqdl.optics.client_law import honest
from labqdl.optics.expectation import signal_to_noise
from labqdl.optics.law import LinkLaw
from labqdl.units import from_db, to_db


@dataclass
class Paper:
    """A light path without instruments."""

    def light_path(self, mu: float | None = None) -> LightPath:
        return find_light_path("lab-bench")


BENCH = cast(CalibratedBench, Paper())


@pytest.mark.parametrize("f2_db", F2_DB)
def test_the_light_gives_the_ratio(f2_db: float) -> None:
    path = BENCH.light_path()
    assert path.point is not None
    law = LinkLaw.from_ledger(path.ledger, honest(path.ledger, path.point.tap))
    assert to_db(signal_to_noise(law, _light_for(BENCH, from_db(f2_db)))) == pytest.approx(f2_db, abs=0.01)


@pytest.mark.parametrize("f2_db", [-7.0, -1.0])
def test_the_mean_probability_is_on_the_shipped_curve(f2_db: float) -> None:
    """Other images than those of the curve: a few per cent apart."""
    network, data = load_model("digits"), load_dataset("digits").first(200)
    curve = shipped_curve("digits")
    assert curve is not None
    assert data.labels is not None
    mu = _light_for(BENCH, from_db(f2_db))
    found = _chances(BENCH, network, network.prepare(data.data, source="digits"), data.labels, mu, 1)
    assert np.all((found >= 0) & (found <= 1))
    assert float(np.mean(found)) == pytest.approx(float(curve.at(f2_db)), abs=0.06)


def test_more_light_than_the_locks_allow_is_refused() -> None:
    class Shaky(Paper):
        def light_path(self, mu: float | None = None) -> Any:
            from dataclasses import replace

            path = super().light_path(mu)
            parts = tuple(replace(part, phase_noise=0.5) for part in path.ledger.components)
            return replace(path, ledger=replace(path.ledger, components=parts))

    with pytest.raises(InputError, match="too much phase noise"):
        _light_for(cast(CalibratedBench, Shaky()), from_db(20.0))
    with pytest.raises(InputError, match="0 images"):
        wire_accuracy(BENCH, 0)


@pytest.mark.soak
def test_the_wire_is_on_the_curve(tmp_path: Path) -> None:
    """Five points of 100 images; each within five deviations, 3e-6 in all for a right one."""
    table = Table(open=opened_in_process, folder=str(tmp_path))
    found = levels("loop-32", symbols=100_000, accuracy=100, seed=1, table=table)
    assert [point.images for point in found.accuracy] == [100] * 5
    for point in found.accuracy:
        assert abs(point.z) < 5, point
