"""Room in the converter's range for what a party expects."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from labqdl.facts import CalibrationSet
from tests.subsystems.benches import Small, result, small_bench


@pytest.fixture(scope="module")
def small() -> Iterator[Small]:
    with small_bench() as made:
        yield made


def test_bright_bins_widen_the_range_and_dim_ones_leave_that_of_the_file(small: Small) -> None:
    receiver = small.server.receiver
    unit = 1e-4  # V^2 of a vacuum bin
    before = receiver.calibrations
    receiver.calibrations = CalibrationSet([result("server.shot-noise", "server", snu=unit, noise=0.0)])
    try:
        receiver.configure()
        least = receiver.x.range
        receiver.make_room(1.0, 7.5)
        assert receiver.x.range == pytest.approx(least)
        bright = 8.0 * least / math.sqrt(unit)  # a swing of 8 ranges in one sample's bin
        receiver.make_room(bright, 1.0)
        assert receiver.x.range >= 16.0 * least
        receiver.make_room(1.0, 7.5)
        assert receiver.x.range == pytest.approx(least)
    finally:
        receiver.calibrations = before
