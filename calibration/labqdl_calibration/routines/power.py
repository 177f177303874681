"""Before anything else: has the bench warmed up, and what do the power meters show in the dark."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import Estimate, Owner
from labqdl.instruments import PowerMeter
from labqdl_calibration import fits
from labqdl_calibration.bench import CalibrationBench
from labqdl_calibration.routine import DAY, HOUR, CalibrationFailed, Measured, Measuring, Routine, Step

TAP_TOLERANCE = 0.05
"""Relative tolerance of a tap's ratio as data sheets state it (1 % +- 0.05 %): one standard deviation."""


def read_power(meter: PowerMeter, count: int) -> tuple[NDArray[np.float64], Estimate]:
    """Readings in W, (count,), and their mean."""
    readings = np.array([meter.power for _ in range(count)])
    spread = float(np.std(readings, ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    return readings, Estimate(float(np.mean(readings)), spread, "W")


class WarmUp(Routine):
    """Wait until the laser's power stands still.

    Values: `power` (W) that the laser measures of itself or that the meter shows, `drift` (relative, 1/min), `waited`
    (s). A window of readings passes when the slope of a straight line through them is below the limit, or not two
    standard deviations away from it; else another window is read.
    """

    name = "bench.warm-up"
    owner = Owner.SERVER
    title = "power of the laser stands still"
    method = "straight line through readings of the power, until its slope is below 1 % a minute"
    valid_for = 12 * HOUR
    limit: ClassVar[float] = 0.01
    windows: ClassVar[int] = 30

    def measure(self, bench: CalibrationBench) -> Measuring:
        """Read windows of power until one stands still."""
        transmitter = bench.transmitter
        count, spacing = (6, 0.0) if bench.quick else (20, 1.0)
        bench.light()
        begin = bench.clock.monotonic()
        for window in range(self.windows):
            yield Step(window + 1, self.windows, "watch the laser's power")
            times, powers = np.zeros(count), np.zeros(count)
            for place in range(count):
                times[place], powers[place] = bench.clock.monotonic() - begin, _laser_power(transmitter.laser)
                bench.clock.sleep(spacing)
            mean = float(np.mean(powers))
            if not mean > 0:
                raise CalibrationFailed(f"{transmitter.laser.name} emits nothing although it is on")
            span = float(np.ptp(times))
            slope = 0.0 if span == 0 else fits.line((times - times[0]) / 60.0, powers / mean)["slope"]
            if abs(slope) < self.limit:
                found = Measured(raw={"times": times, "powers": powers})
                found.add("power", mean, float(np.std(powers)), "W")
                found.add("drift", slope, 0.0, "1/min")
                found.add("waited", times[-1], 0.0, "s")
                return found
        raise CalibrationFailed(
            f"{transmitter.laser.name} still drifts by {slope:.2g} a minute after {self.windows} windows"
        )


def _laser_power(laser: Any) -> float:
    """What the laser measures of itself; its set point where it measures nothing."""
    try:
        return float(laser.measured_power)
    except AttributeError:
        return float(laser.power)


class Meters(Routine):
    """What the power meters show in the dark.

    Values: `meter_zero` and `meter_noise` (standard deviation of one reading), W, and `tap_ratio`, the share of the
    light that goes to the meter: as the data sheet says, with its tolerance.
    """

    title = "zero and noise of the power meter, ratio of its tap"
    method = "readings with the laser off; ratio of the tap by its data sheet"
    valid_for = 7 * DAY

    def __init__(self, owner: Owner) -> None:
        self.owner = owner  # type: ignore[misc]
        self.name = f"{owner.value}.meters"  # type: ignore[misc]
        self.requires = ("bench.warm-up",) if owner is Owner.CLIENT else ()  # type: ignore[misc]

    def applies(self, bench: CalibrationBench) -> bool:
        """Where there is a meter."""
        return meter_of(bench, self.owner) is not None

    def measure(self, bench: CalibrationBench) -> Measuring:
        """Read in the dark."""
        yield Step(1, 1, "dark readings")
        meter = meter_of(bench, self.owner)
        assert meter is not None
        was_on = bench.transmitter.laser.emission
        bench.transmitter.emit(False)
        try:
            readings, mean = read_power(meter, 8 if bench.quick else 40)
        finally:
            if was_on:
                bench.transmitter.emit(True)
        found = Measured(raw={"dark": readings})
        found.add("meter_zero", mean)
        noise = float(np.std(readings, ddof=1))
        found.add("meter_noise", noise, noise / math.sqrt(2 * (readings.size - 1)), "W")
        ratio = tap_ratio(bench, meter.name)
        if ratio is not None:
            found.add("tap_ratio", ratio, TAP_TOLERANCE * ratio)
            found.remarks.append("tap_ratio is the data sheet's")
        return found


def meter_of(bench: CalibrationBench, owner: Owner) -> PowerMeter | None:
    """The power meter of a party: at its output or its input."""
    if owner is Owner.SERVER:
        return bench.transmitter.meter
    return bench.client.receiver.meter


def tap_ratio(bench: CalibrationBench, meter: str) -> float | None:
    """Share of the light that the tap in front of a meter gives to it, by the station file; None where it is not."""
    for wire in bench.file.wiring:
        if wire.target[0] == meter:
            ratio = bench.sheet(wire.source[0]).get("ratio")
            if ratio is not None:
                return float(ratio) if wire.source[1] in ("tap", "") else 1.0 - float(ratio)
    return None
