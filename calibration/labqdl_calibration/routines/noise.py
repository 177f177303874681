"""Electronic noise and shot noise of a receiver, against the power of its local oscillator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import CalibrationResult, Owner
from labqdl_calibration import fits
from labqdl_calibration.bench import CalibrationBench
from labqdl_calibration.routine import HOUR, Measured, Measuring, Routine, Step

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from labqdl.subsystems.receiver import HomodyneReceiver

Real = NDArray[np.float64]
_MOST_CURVATURE = 4.5
"""Deviations of the quadratic term from 0 beyond which the receiver is not linear; by chance in 7e-6 of all cases."""
_BLOCKS = 64


class ShotNoise(Routine):
    """The shot-noise unit: variance of vacuum with the local oscillator on, less that of the electronics.

    The own gate is blocked throughout. The laser's power is stepped, since signal and local oscillators come from it.

    Values: `snu` (V^2 of an integrated bin, electronics subtracted, at the laser's working power), `noise` (v_el, SNU),
    `clearance_db`, `lo_slope` (V^2/W of laser power), `intercept` (V^2), `curvature` (quadratic term in its standard
    deviations), `stationary_time` (s: averages over longer times are limited by drift, or the record ends); with two
    quadratures also `snu_p`, `noise_p`.
    """

    title = "shot-noise unit, electronic noise, linearity with the local oscillator"
    method = "variance of integrated vacuum bins at several powers of the local oscillator, and with the laser off"
    valid_for = 1 * HOUR
    levels: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]] = ((), (0.4, 0.6, 0.8))
    """Shares of the working power at which is measured besides, quick and full; their inverses where the laser does not
    go so low."""
    seconds: ClassVar[tuple[float, float]] = (4e-4, 4e-3)
    """Length of each record; that at the working power is four times as long."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner  # type: ignore[misc]
        self.name = f"{owner.value}.shot-noise"  # type: ignore[misc]
        self.requires = ("bench.warm-up",)  # type: ignore[misc]

    def applies(self, bench: CalibrationBench) -> bool:
        """Where the receiver can block its own input."""
        return bench.receiver(self.owner).gate is not None

    def measure(self, bench: CalibrationBench) -> Measuring:
        """Record vacuum at each power; the laser is left at its working power."""
        receiver, laser = bench.receiver(self.owner), bench.transmitter.laser
        seconds = self.seconds[not bench.quick]
        bench.gates(**{self.owner.value: False})
        was_on = laser.emission
        working = laser.power
        levels = [*_allowed(laser, working, self.levels[not bench.quick]), 1.0]
        powers, records = [0.0], []
        try:
            yield Step(1, len(levels) + 1, "electronics")
            bench.transmitter.emit(False)
            records.append(vacuum(receiver, bench, 2 * seconds))
            bench.transmitter.emit(True)
            for number, share in enumerate(levels, start=2):
                yield Step(number, len(levels) + 1, f"local oscillator at {100 * share:.0f} %")
                laser.power = share * working
                powers.append(_power_of(laser))
                records.append(vacuum(receiver, bench, seconds * (4 if share == 1.0 else 1)))
        finally:
            laser.power = working
            if not was_on:
                bench.transmitter.emit(False)
        return self.measured(np.array(powers), records, bench.bin_time)

    def measured(self, powers: Real, records: list[NDArray[Any]], bin_time: float) -> Measured:
        """Values of records (bins,), the first one without light, the last one at the working power."""
        found = Measured(conditions={"laser_power": float(powers[-1])})
        quadratures = {"": [one.real for one in records]}
        if np.iscomplexobj(records[0]):
            quadratures["_p"] = [one.imag for one in records]
        for suffix, values in quadratures.items():
            estimates = [fits.variance(one, _BLOCKS) for one in values]
            variances = np.array([one.value for one in estimates])
            # Blocks scatter by a tenth; the deviation of a Gaussian record is known better than that.
            deviations = np.array([one.value * math.sqrt(2 / values[k].size) for k, one in enumerate(estimates)])
            deviations = np.maximum(deviations, 0.5 * np.array([one.deviation for one in estimates]))
            found.raw |= {f"powers{suffix}": powers, f"variances{suffix}": variances, f"deviations{suffix}": deviations}
            dark, bright = variances[0], variances[-1]
            derived = np.array([bright - dark, dark / (bright - dark), 10 * math.log10(bright / dark)])
            slopes = np.array(
                [[-1.0, 1.0], [bright / (bright - dark) ** 2, -dark / (bright - dark) ** 2],
                 [-10 / math.log(10) / dark, 10 / math.log(10) / bright]]
            )  # fmt: skip
            spread = np.diag(np.square(deviations[[0, -1]]))
            keys = [f"snu{suffix}", f"noise{suffix}", f"clearance_db{suffix}"]
            found.add_all(keys, derived, slopes @ spread @ slopes.T, ["V^2", "SNU", "dB"])
            line = fits.line(powers, variances, deviations)
            if not suffix:
                found.add_fit(line, {"slope": ("lo_slope", "V^2/W"), "intercept": ("intercept", "V^2")})
            if powers.size > 2:
                fit = fits.shot_noise(powers, variances, deviations)
                found.add(f"curvature{suffix}", fit.curvature, 1.0)
                found.check(
                    abs(fit.curvature) < _MOST_CURVATURE,
                    f"the noise is not linear in the local oscillator's power: {fit.curvature:.1f} deviations",
                )
            found.check(bright > 1.2 * dark, "there is hardly more noise with the local oscillator than without")
            found.raw[f"block_variances{suffix}"] = _block_variances(values[-1])
        blocks = found.raw["block_variances"]
        spacing = records[-1].size / blocks.size * bin_time
        allan = fits.allan(blocks, spacing)
        found.add("stationary_time", allan.best_time, 0.0, "s")
        found.raw["allan_times"], found.raw["allan_deviations"] = allan.times, allan.deviations
        return found

    def draw(self, result: CalibrationResult, raw: Mapping[str, NDArray[Any]]) -> Figure | None:
        """Variance against power with the straight line, and the Allan deviation of the variance."""
        from labqdl_calibration.pictures import line_and_allan

        return line_and_allan(result, raw)


def vacuum(receiver: HomodyneReceiver, bench: CalibrationBench, seconds: float) -> NDArray[Any]:
    """Integrated bins of a record with the own gate blocked, in volts less their mean; (bins,)."""
    found = receiver.record(seconds)
    values = receiver.dark_bins(found, bench.layout(1))
    return np.asarray(values - np.mean(values))


def _allowed(laser: Any, working: float, shares: tuple[float, ...]) -> tuple[float, ...]:
    """Shares of the working power that the laser gives and the station allows: below it, or else above."""
    limits = type(laser).power.limits_of(laser)

    def allowed(some: tuple[float, ...]) -> bool:
        return all(one.allows(share * working) for share in some for one in limits)

    if allowed(shares):
        return shares
    above = tuple(1.0 / share for share in shares if 1.0 / share <= 2.5)
    return above if allowed(above) else ()


def _power_of(laser: Any) -> float:
    try:
        return float(laser.measured_power)
    except AttributeError:
        return float(laser.power)


def _block_variances(values: Real) -> Real:
    count = min(256, values.size // 64)
    return np.asarray(np.mean(np.square(values[: values.size // count * count].reshape(count, -1)), axis=1))
