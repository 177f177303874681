"""Where a shot lies in a record, and how fast its clock runs against the digitizer's."""

from __future__ import annotations

import math
from dataclasses import dataclass

from labqdl.facts.layout import FrameLayout


@dataclass(frozen=True, slots=True)
class Timing:
    """Where a shot lies in a record.

    Attributes
    ----------
    start:
        Beginning of the shot's first bin, s on the record's own axis: sample k is at k * interval. Negative where the
        record begins later.
    clock_ppm:
        A bin lasts bin_time * (1 + clock_ppm * 1e-6) on the record's axis: positive where the digitizer's clock is
        fast against the generator's.
    interval:
        Nominal time between samples, s.
    amplitude:
        Volts in the middle of a pulse for a reference symbol of 1: v = offset + amplitude * symbol for a record of two
        quadratures, v = offset + Re(amplitude * symbol) for one.
    offset:
        Volts of the electronics without light, from the same fit.
    noise:
        Standard deviation of an integrated bin (one quadrature) about the fit, V.
    quality:
        Peak over floor: power of the preamble that the reference explains, in units of what it explains of pure noise
        (an F statistic: 1 where there is no preamble).
    false_alarm:
        Upper limit of the probability that noise alone would have looked like that anywhere in the search; NaN where
        nothing was searched.
    start_std, clock_std:
        Standard deviations of `start` (s) and `clock_ppm`.
    """

    start: float
    clock_ppm: float
    interval: float
    amplitude: complex = 0j
    offset: complex = 0j
    noise: float = math.nan
    quality: float = math.nan
    false_alarm: float = math.nan
    start_std: float = 0.0
    clock_std: float = 0.0

    @classmethod
    def known(cls, start: float, interval: float, clock_ppm: float = 0.0) -> Timing:
        """A place that is known beforehand, for records without a preamble: vacuum, and uncalibrated ones."""
        return cls(start, clock_ppm, interval)

    def bin_time(self, layout: FrameLayout) -> float:
        """Seconds of a bin on the record's axis."""
        return layout.bin_time * (1.0 + 1e-6 * self.clock_ppm)

    def snr(self, samples: float) -> float:
        """Power of a full-scale bin over the noise of one quadrature, for windows of so many samples."""
        return samples * abs(self.amplitude) ** 2 / self.noise**2
