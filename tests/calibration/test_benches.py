"""Whole benches: calibrated blind through drivers and wires, then compared with the truth that was sealed before.

In the ordinary tests two benches and the calibrations that most others hang on; in soak 200 benches and all of them.
A pull is (value - truth) / deviation. Of N pulls the mean is allowed 5.5 / sqrt(N); the root mean square is to lie
between 0.5 and 1.6: deviations with a declared prior in them are a little too wide, those from few residuals too
narrow. A planted error of 5 % in what is measured fails (`test_a_planted_error_shows`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labqdl_sim.world import World
from tests.calibration.benches import Pull, everything, measured, pulls, sealed, seeded, table

SOME = ("client.shot-noise", "client.interferometer")
FEW = (101, 102)


def assert_agree(found: list[Pull], limit: float) -> None:
    print(table(found))
    values = np.array([one.pull for one in found])
    worst = max(found, key=lambda one: abs(one.pull))
    assert abs(worst.pull) < limit, worst
    assert abs(values.mean()) < 5.5 / np.sqrt(values.size)
    assert 0.5 < np.sqrt(np.mean(np.square(values))) < 1.6


def test_two_benches_are_calibrated_blind_and_then_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Pull] = []
    for seed in FEW:
        with seeded(seed) as (sim, bench):
            seal = sealed(sim)
            with monkeypatch.context() as blind:
                blind.setattr(World, "truth", lambda world: pytest.fail("a routine asked for the truth"))
                known = measured(bench, SOME)
            assert sealed(sim) == seal
            found += pulls(sim, known)
    assert len(found) > 40
    assert_agree(found, 5.5)


def test_a_planted_error_shows() -> None:
    honest = [Pull("a", str(k), 1.0 + 0.005 * miss, 1.0, 0.005) for k, miss in enumerate(np.linspace(-1.5, 1.5, 12))]
    assert_agree(honest, 5.5)
    planted = [replace(one, value=1.05 * one.value) for one in honest]
    with pytest.raises(AssertionError):
        assert_agree(planted, 5.5)


@pytest.mark.soak
def test_200_benches() -> None:
    found: list[Pull] = []
    for seed in range(1000, 1200):
        found += everything(seed)[1]
    print(table(found))
    by_key: dict[tuple[str, str], list[float]] = {}
    for one in found:
        by_key.setdefault((one.name, one.key), []).append(one.pull)
    for key, values in by_key.items():
        # Fewer than 70 keys, each with a mean of 200 pulls: by chance beyond 5.5 in 3e-6 of all repetitions.
        assert abs(np.mean(values)) < 5.5 / np.sqrt(len(values)) * max(np.std(values), 1.0), key
        assert 0.25 < np.sqrt(np.mean(np.square(values))) < 1.8, key
