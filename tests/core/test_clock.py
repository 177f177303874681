"""Waiting on a clock."""

from __future__ import annotations

import pytest

from labqdl.clock import Clock, ManualClock, ScaledClock, SystemClock


def test_a_manual_clock_sleeps_by_moving() -> None:
    clock = ManualClock(1.0)
    clock.sleep(0.5)
    clock.sleep(0.0)
    clock.sleep(-3.0)
    assert clock.monotonic() == 1.5


@pytest.mark.parametrize("factor", [0.25, 1.0, 60.0])
def test_a_scaled_clock_runs_by_its_factor(factor: float) -> None:
    base = ManualClock(100.0)
    clock = ScaledClock(factor, base)
    assert (clock.monotonic(), clock.wall()) == (0.0, 100.0)
    base.advance(2.0)
    assert clock.monotonic() == 2.0 * factor
    assert clock.wall() == 100.0 + 2.0 * factor
    clock.sleep(3.0)
    assert base.monotonic() == pytest.approx(102.0 + 3.0 / factor)
    assert clock.monotonic() == pytest.approx(2.0 * factor + 3.0)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf"), float("nan")])
def test_a_clock_that_stands_or_runs_back_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="runs forward"):
        ScaledClock(factor)


def test_all_clocks_can_wait() -> None:
    clocks: tuple[Clock, ...] = (SystemClock(), ManualClock(), ScaledClock(1e6))
    for clock in clocks:
        before = clock.monotonic()
        clock.sleep(1e-4)
        assert clock.monotonic() - before >= 1e-4
