"""Where a shot lies in a record: the preamble first, then beginning and clock together with the pilots."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.dsp.clock import fit_clock
from labqdl.dsp.drive import LEAST_SAMPLES
from labqdl.dsp.errors import DspError
from labqdl.dsp.preamble import FALSE_ALARM, find_preamble, known_symbols
from labqdl.dsp.timing import Timing
from labqdl.facts.layout import FrameLayout

CLOCK_STD = 20.0
"""Standard deviation in ppm of the clock of two oscillators without common reference."""


def find_shot(
    record: NDArray[Any],
    interval: float,
    reference: NDArray[np.complex128] | None,
    layout: FrameLayout,
    *,
    carry_only: bool = False,
    clock_ppm: float = 0.0,
    clock_std: float = CLOCK_STD,
    search: tuple[float, float] | None = None,
    false_alarm: float = FALSE_ALARM,
) -> Timing:
    """Beginning, clock, amplitude and offset of the shot in a record, to a fraction of a sample.

    Parameters
    ----------
    record:
        Volts, (n,): real for one quadrature of unknown phase, x + i p for two. Guard rows may be missing, the end may
        be missing, and up to half of the preamble.
    interval:
        Nominal time between samples, s.
    reference:
        Symbols that are known beforehand in the receiver's frame (a local oscillator that is turned by phi in a bin
        turns its symbol by -phi), 0 where nothing is known; (total_rows, n_modes). None: `known_symbols`.
    layout:
        Rows of the shot.
    carry_only:
        With no reference given: light in the last bin of each row only, as a client sees it.
    clock_ppm, clock_std:
        What is known of the clock beforehand: expectation and standard deviation. With a common reference the standard
        deviation is small (but not 0).
    search:
        Least and greatest beginning of the shot's first bin on the record's axis, s; None: anywhere.
    false_alarm:
        Probability with which noise may be taken for a shot.

    Raises
    ------
    DspError
        Where there is no preamble that could not be chance, where the record does not fit the frame, where the clock
        cannot be followed to the end of the shot or is more than 5 standard deviations from its expectation.
    """
    if record.ndim != 1:
        raise ValueError(f"a record has one dimension, got shape {record.shape}")
    if not (clock_std > 0 and interval > 0):
        raise ValueError("clock_std and interval must be positive")
    known = known_symbols(layout, carry_only=carry_only) if reference is None else reference
    if known.shape != (layout.total_rows, layout.n_modes):
        raise ValueError(f"the reference has shape {known.shape}, expected {(layout.total_rows, layout.n_modes)}")
    per_bin = layout.bin_time / interval
    if per_bin < LEAST_SAMPLES:
        raise DspError(
            f"the record has {per_bin:.3g} samples a bin", expected=f"at least {LEAST_SAMPLES:g} samples a bin"
        )
    if not np.isfinite(record).all():
        raise DspError("the record has samples that are not numbers", expected="finite voltages")
    edges = None if search is None else (search[0] / interval + 0.5, search[1] / interval + 0.5)
    found = find_preamble(
        record,
        layout,
        known,
        per_bin,
        clock=1e-6 * clock_ppm,
        clock_range=2e-6 * clock_std,
        search=edges,
        limit=false_alarm,
    )
    fit = fit_clock(
        record,
        layout,
        known,
        per_bin,
        first=found.first,
        clock=found.clock,
        segments=found.segments,
        expected=1e-6 * clock_ppm,
        expected_std=1e-6 * clock_std,
    )
    return Timing(
        start=(fit.first - 0.5) * interval,
        clock_ppm=1e6 * fit.clock,
        interval=interval,
        amplitude=fit.amplitude,
        offset=fit.offset,
        noise=fit.noise * math.sqrt(layout.duty * per_bin),
        quality=found.quality,
        false_alarm=found.false_alarm,
        start_std=fit.first_std * interval,
        clock_std=1e6 * fit.clock_std,
    )
