"""The station of these tests, opened and calibrated once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labqdl.facts import CalibrationSet
from tests.subsystems.benches import Small
from tests.wire.benches import calibrated_bench


@pytest.fixture(scope="session")
def loop() -> Iterator[Small]:
    """loop-32, open in this process, with calibrations from its truth."""
    with calibrated_bench() as small:
        yield small


@pytest.fixture(scope="session")
def loop_calibrations(loop: Small) -> CalibrationSet:
    """What is known of it; holds for a served one as well, whose truth is drawn from the same seed."""
    return loop.calibrations
