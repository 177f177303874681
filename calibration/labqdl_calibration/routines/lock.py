"""The set point at which a phase servo holds the local oscillator in phase with a symbol of 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.dsp import integrate
from labqdl.facts import CalibrationResult, Owner
from labqdl.subsystems.errors import ShotInvalid
from labqdl_calibration import fits
from labqdl_calibration.bench import CalibrationBench
from labqdl_calibration.fits import Real, propagated, wrapped
from labqdl_calibration.routine import HOUR, CalibrationFailed, Measured, Measuring, Routine, Step
from labqdl_calibration.routines.interferometer import alternating, attenuation_for, timing_of, wide_range
from labqdl_calibration.routines.timing import light_shot, pass_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Complex = NDArray[np.complex128]
_PEAK_SHARE = 0.35


class Lock(Routine):
    """Phase of bright light against the servo's set point; the set point at which it is 0 is kept.

    Values: `set_point` (V at which a symbol of 1 is along X), `angle` (rad at 0 V, modulo a turn), `angle_per_volt`
    (rad/V), `residual` (rad rms of the phase from row to row beyond what noise explains).
    """

    title = "set point and residual of the phase lock"
    method = "phase of bright light at several set points of the closed loop"
    valid_for = 2 * HOUR
    set_points: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]] = (
        (-0.5, 0.0, 0.5),
        (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5),
    )
    rows: ClassVar[tuple[int, int]] = (32, 128)

    def __init__(self, owner: Owner) -> None:
        self.owner = owner  # type: ignore[misc]
        self.name = f"{owner.value}.lock"  # type: ignore[misc]
        first = ("client.interferometer",) if owner is Owner.CLIENT else ("server.lo-phase", "client.inverse")
        self.requires = (f"{owner.value}.timing", *first)  # type: ignore[misc]

    def applies(self, bench: CalibrationBench) -> bool:
        """Where there is a servo."""
        return bench.receiver(self.owner).lock is not None

    def measure(self, bench: CalibrationBench) -> Measuring:
        """One shot a set point."""
        receiver = bench.receiver(self.owner)
        points = self.set_points[not bench.quick]
        phases, errors, residuals = [], [], []
        pass_all(bench)
        bench.gates(out=True, client=True, server=self.owner is Owner.SERVER)
        try:
            with wide_range(receiver) as half:
                bench.light(attenuation_for(bench, self.owner, _PEAK_SHARE * half))
                for number, point in enumerate(points, start=1):
                    yield Step(number, len(points), f"{point:+g} V")
                    try:
                        receiver.hold(point)
                        values = phase_shot(bench, self.owner, self.rows[not bench.quick])
                        receiver.demand_lock()
                    except ShotInvalid as error:
                        raise CalibrationFailed(f"the lock of the {self.owner.value} does not hold: {error}") from error
                    mean = complex(np.mean(values))
                    across = (values * np.conj(mean)).imag / abs(mean) ** 2
                    phases.append(float(np.angle(mean)))
                    errors.append(float(np.std(across)) / math.sqrt(across.size))
                    slow, fast = np.var(across), 0.5 * np.mean(np.square(np.diff(across)))
                    residuals.append(math.sqrt(max(float(slow - fast), 0.0)))
        finally:
            bench.gates(out=False, client=False, server=False)
            receiver.release()
        return self.measured(np.array(points), np.array(phases), np.array(errors), np.array(residuals))

    def measured(self, points: Real, phases: Real, errors: Real, residuals: Real) -> Measured:
        """Values of phases (n,) at set points in V, rising."""
        unwrapped = np.unwrap(phases)
        line = fits.line(points, unwrapped, np.maximum(errors, 1e-3)).widened()
        found = Measured(raw={"set_points": points, "phases": unwrapped, "errors": errors, "fitted": line.fitted})
        slope = line["slope"]
        if abs(slope) < 0.05:
            raise CalibrationFailed("the phase does not follow the set point: the loop holds nothing")
        # The branch nearest to a set point of 0.
        turns = round(line["intercept"] / (2 * math.pi))

        def zero(p: Real) -> Real:
            return np.array([-(p[0] - 2 * math.pi * turns) / p[1], p[0], p[1]])

        values, covariance = propagated(zero, line.values, line.covariance)
        values[1] = float(wrapped(values[1]))
        found.add_all(["set_point", "angle", "angle_per_volt"], values, covariance, ["V", "rad", "rad/V"])
        # Each set point sees one stretch of what the loop leaves: their scatter is the better measure of it.
        scatter = float(np.std(unwrapped - line.fitted)) * math.sqrt(points.size / max(points.size - 2, 1))
        residual = math.hypot(float(np.mean(residuals)), scatter)
        found.add("residual", residual, residual / math.sqrt(2 * max(points.size - 2, 1)), "rad")
        found.check(residual < 0.2, f"the loop leaves {residual:.2f} rad rms")
        return found

    def draw(self, result: CalibrationResult, raw: Mapping[str, NDArray[Any]]) -> Figure | None:
        """Phase against set point."""
        from labqdl_calibration.pictures import data_and_model

        misses = (raw["phases"] - raw["fitted"]) / np.maximum(raw["errors"], 1e-3)
        x, y = "set point (V)", "phase (rad)"
        return data_and_model(raw["set_points"], raw["phases"], raw["fitted"], misses, x=x, y=y)


def phase_shot(bench: CalibrationBench, owner: Owner, rows: int) -> Complex:
    """Full-scale light in the last bin (server: in all others) as complex volts, one value a row or pair of rows."""
    layout = bench.layout(rows, preamble=1, guard=2)
    symbols = np.zeros((layout.total_rows, layout.n_modes), np.complex128)
    places = layout.data_rows.ravel()
    if owner is Owner.CLIENT:
        symbols[places, -1] = 1.0
        record = light_shot(bench, layout, symbols, record=(owner,))[owner]
        values = integrate(record.volts, timing_of(bench, owner, record), layout, carry_only=True)[places]
        return np.asarray(values, np.complex128)
    symbols[places] = 1.0
    wave = alternating(bench, layout)
    record = light_shot(bench, layout, symbols, record=(owner,), lo_phase=wave, tail=30e-6)[owner]
    values = integrate(record.volts, timing_of(bench, owner, record), layout)[places]
    row = np.mean(values[:, : max(layout.n_modes - 1, 1)], axis=1)
    even, odd = row[places % 2 == 0], row[places % 2 == 1]
    count = min(even.size, odd.size)
    return np.asarray(even[:count] + 1j * odd[:count])
