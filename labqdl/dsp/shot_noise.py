"""Variance of vacuum: how much, how certain, how steady; and the slots in which a verifier may measure it.

The shot-noise unit may come only from slots in which the verifier blocks *its own* input (docs/physics.md, "The
shot-noise unit"), at times that nobody else knows beforehand: noise that somebody adds to vacuum which has crossed
other hands would make the unit too large, and hide as much in everything else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from labqdl.dsp.errors import DspError
from labqdl.dsp.integrate import integrate_windows
from labqdl.dsp.timing import Timing
from labqdl.facts.layout import FrameLayout

Real = NDArray[np.float64]

STATIONARY = 1e-7
"""Probability with which a steady variance is called unsteady."""
_LAGS = 16
_LEAST_BLOCK = 64
_BLOCKS = 64


@dataclass(frozen=True, slots=True)
class VacuumVariance:
    """Variance of vacuum bins.

    Attributes
    ----------
    variance:
        V^2 of an integrated bin.
    low, high:
        Limits that hold the truth with probability `confidence`, each side half of the rest.
    samples, effective:
        Bins, and independent ones that would know the variance as well (neighbours may share a receiver's memory).
    block_bins:
        Bins of the shortest average in `allan`.
    allan:
        Allan deviation of the variance for averages of block_bins * 2**k bins, V^2; falls as 1/sqrt(2**k) while the
        noise is steady. Empty with too few bins.
    steady:
        What `allan` would be for steady noise, V^2; same shape.
    p_value:
        Probability that the variances of blocks scatter as much when nothing drifts (Bartlett's test at
        every length of average, the least p value times their number); NaN with too few bins to say.
    """

    variance: float
    low: float
    high: float
    confidence: float
    samples: int
    effective: float
    block_bins: int
    allan: Real
    steady: Real
    p_value: float

    @property
    def stationary(self) -> bool:
        """Whether nothing speaks against a constant variance, at false-alarm rate `STATIONARY`."""
        return not self.p_value < STATIONARY


def _effective_share(bins: Real, variance: float) -> float:
    """Independent bins for each bin when a variance is estimated: 1 / sum of squared autocorrelations.

    (Bins of different slots are not neighbours.) Lags whose correlation could be chance count as none.
    """
    length = bins.shape[1]
    total = 1.0
    for lag in range(1, min(_LAGS, length - 1) + 1):
        pairs = bins.shape[0] * (length - lag)
        rho = float(np.einsum("ij,ij->", bins[:, lag:], bins[:, :-lag])) / pairs / variance
        if rho**2 > 9.0 / pairs:
            total += 2.0 * rho**2
    return 1.0 / total


def _bartlett(variances: Real, freedom: float) -> float:
    """P value of equal variances from blocks with so many degrees of freedom each."""
    count = variances.size
    mean = float(variances.mean())
    statistic = freedom * (count * math.log(mean) - float(np.sum(np.log(variances))))
    return float(chi2.sf(statistic / (1 + (count + 1) / (3 * count * freedom)), count - 1))


def shot_noise(vacuum: NDArray[np.float64], *, confidence: float = 1 - 1e-6) -> VacuumVariance:
    """Variance of integrated vacuum bins, with an interval and a test of whether it drifts.

    Parameters
    ----------
    vacuum:
        Volts of integrated bins, (n,) of one record or (slots, n) of several, in the order of time. The mean of each
        record or slot is the electronics' offset, and taken out.
    confidence:
        Of the interval.

    Raises
    ------
    DspError
        With fewer than two bins a slot, with bins that are not numbers, or that are all equal.
    """
    bins = np.atleast_2d(np.asarray(vacuum, np.float64))
    if bins.shape[1] < 2 or not np.isfinite(bins).all():
        raise DspError(
            f"vacuum bins of shape {bins.shape} with {int((~np.isfinite(bins)).sum())} that are not numbers",
            expected="at least two finite bins in each slot",
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}")
    bins = bins - bins.mean(axis=1, keepdims=True)
    slots, length = bins.shape
    freedom = slots * (length - 1)
    variance = float(np.einsum("ij,ij->", bins, bins)) / freedom
    if not variance > 0:
        raise DspError("all vacuum bins are equal", expected="noise", hint="Is the receiver on, does the record clip")
    share = _effective_share(bins, variance)
    effective = freedom * share
    rest = (1 - confidence) / 2
    low, high = (variance * effective / float(q) for q in (chi2.isf(rest, effective), chi2.ppf(rest, effective)))
    block = max(_LEAST_BLOCK, bins.size // _BLOCKS)
    count = bins.size // block
    allan, steady, p_value = np.zeros(0), np.zeros(0), math.nan
    if count >= 4:
        # Blocks run through slots; each bin has lost the share of its slot's mean.
        blocks = np.square(bins.ravel()[: count * block]).reshape(count, block).mean(axis=1) * length / (length - 1)
        levels: list[float] = []
        p_values: list[float] = []
        averages = blocks
        while averages.size >= 4:
            levels.append(math.sqrt(0.5 * float(np.mean(np.diff(averages) ** 2))))
            p_values.append(_bartlett(averages, block * share * (length - 1) / length * 2 ** len(p_values)))
            averages = averages[: averages.size // 2 * 2].reshape(-1, 2).mean(axis=1)
        # Short averages see bursts, long ones slow drifts: the most telling one counts, as one of so many.
        p_value = min(1.0, len(p_values) * min(p_values))
        allan = np.array(levels)
        steady = variance * np.sqrt(2.0 / (block * share * 2.0 ** np.arange(len(levels))))
    return VacuumVariance(variance, low, high, confidence, bins.size, effective, block, allan, steady, p_value)


@dataclass(frozen=True, slots=True)
class VacuumSlots:
    """Times at which the verifier blocks its own input, on the axis of one record; nobody else knows them beforehand.

    Attributes
    ----------
    begin, end:
        s on the record's axis, from when the gate is closed until it begins to open; (slots,), rising.
    settle:
        Time around each slot in which the gate moves, s: neither vacuum nor data.
    """

    begin: Real
    end: Real
    settle: float = 0.0

    def __post_init__(self) -> None:
        if self.begin.shape != self.end.shape or self.begin.ndim != 1:
            raise ValueError("begin and end need one number a slot")
        if np.any(self.end <= self.begin) or np.any(self.begin[1:] < self.end[:-1]) or self.settle < 0:
            raise ValueError("slots must be longer than nothing and follow each other; settle must not be negative")

    @classmethod
    def drawn(cls, uniforms: Real, length: float, duration: float, settle: float = 0.0) -> VacuumSlots:
        """Slots of equal length at random times within `duration`, all placements equally likely.

        Parameters
        ----------
        uniforms:
            One secret number in [0, 1) a slot: the verifier's own, as `labqdl.rng.Root.uniforms` gives them.
        length, duration, settle:
            Of a slot, of the record, and of the gate, s.
        """
        each = length + 2 * settle
        free = duration - uniforms.size * each
        if free < 0:
            raise DspError(
                f"{uniforms.size} slots of {length:g} s with {settle:g} s around them need {uniforms.size * each:g} s",
                expected=f"at most the record's {duration:g} s",
            )
        begin = np.sort(uniforms) * free + np.arange(uniforms.size) * each + settle
        return cls(begin, begin + length, settle)

    @classmethod
    def whole(cls, samples: int, interval: float) -> VacuumSlots:
        """One slot that is all of a separate record, taken with the input blocked."""
        return cls(np.array([-0.5 * interval]), np.array([(samples - 0.5) * interval]))

    def bins(self, record: NDArray[Any], interval: float, layout: FrameLayout) -> list[NDArray[Any]]:
        """Integrated vacuum of each slot, windows as long as a bin's light and as far apart as bins.

        Returns
        -------
        One array for each slot, as many bins as it holds; complex for a complex record.
        """
        found = []
        for begin, end in zip(self.begin, self.end, strict=True):
            count = max(math.floor((end - begin) / layout.bin_time + 1e-9), 0)
            first = begin / interval + 0.5 + np.arange(count) * layout.bin_time / interval
            width = layout.duty * layout.bin_time / interval
            values = integrate_windows(record, first, first + width)
            found.append(values[np.isfinite(values)])
        return found

    def rows(self, timing: Timing, layout: FrameLayout) -> NDArray[np.bool_]:
        """Rows of a shot that a slot touches, or the gate while it moves: they carry no data; (total_rows,)."""
        row = layout.n_modes * timing.bin_time(layout)
        starts = timing.start + np.arange(layout.total_rows) * row
        first = np.searchsorted(self.end + self.settle, starts, side="right")
        touched = np.append(self.begin - self.settle, np.inf)[first] < starts + row
        return np.asarray(touched, np.bool_)


def vacuum_table(slots: Sequence[NDArray[Any]]) -> Real:
    """Slots of one or several records as the table that `shot_noise` takes; (slots, n), n of the shortest one.

    Both quadratures of a hybrid count as slots of their own.
    """
    if not slots:
        raise DspError("there is no vacuum slot", expected="slots in which the verifier blocks its own input")
    length = min(slot.size for slot in slots)
    parts = [part for slot in slots for part in ((slot.real, slot.imag) if np.iscomplexobj(slot) else (slot,))]
    return np.array([part[:length] for part in parts], np.float64)
