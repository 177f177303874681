"""Gain and phase while a shot lasts, from its pilots, in closed form.

A group of pilot rows with symbols r and integrated values y gives the complex amplitude c by least squares: for two
quadratures c = sum (y - o) conj(r) / sum |r|^2, for one, y = o + Re(c r), the two equations for Re c and Im c that the
rows of 0 and of 90 degrees determine. Between groups gain and phase are followed on straight lines, or, where the
linewidth is known, by the maximum of the posterior of a phase that walks at random. No angle is searched for.

A homodyne measured one quadrature: its outcome cannot be turned afterwards. `rotated` takes complex values only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.special import ndtri

from labqdl.dsp.errors import DspError
from labqdl.dsp.fitting import amplitudes
from labqdl.dsp.preamble import known_symbols
from labqdl.facts.layout import FrameLayout, RowKind

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

FALSE_ALARM = 1e-9
"""Probability with which noise alone may declare any group of a shot lost."""


@dataclass(frozen=True, slots=True)
class PilotTrack:
    """Complex amplitude along a shot.

    Attributes
    ----------
    rows:
        Middle of each group of pilots, in rows since the shot began; (groups,), rising.
    amplitude:
        Integrated volts for a symbol of 1 at each group, with the phase of light against local oscillator; (groups,).
    std:
        Standard deviation of either quadrature of `amplitude`; (groups,).
    offset, noise:
        Mean of dark bins, and standard deviation of one quadrature of a bin about the fits, in the values' unit.
    total_rows:
        Rows of the shot.
    """

    rows: Real
    amplitude: Complex
    std: Real
    offset: complex
    noise: float
    total_rows: int

    @property
    def gain(self) -> Real:
        """Integrated volts for a symbol of 1; (groups,)."""
        return np.asarray(np.abs(self.amplitude))

    @property
    def phase(self) -> Real:
        """Phase in rad, without jumps of a turn; (groups,)."""
        return np.unwrap(np.angle(self.amplitude))

    def at_rows(self) -> Complex:
        """Amplitude at every row, gain and phase on straight lines between groups; (total_rows,)."""
        row = np.arange(self.total_rows)
        gain = np.interp(row, self.rows, self.gain)
        return np.asarray(gain * np.exp(1j * np.interp(row, self.rows, self.phase)))

    def lost(
        self,
        *,
        phase: float | None = None,
        phase_tolerance: float = 0.2,
        gain_tolerance: float = 0.2,
        false_alarm: float = FALSE_ALARM,
    ) -> NDArray[np.bool_]:
        """Rows that must not be used, because the lock was lost before or behind them; (total_rows,).

        A group is lost where its phase is off by more than `phase_tolerance`, or its gain by more than the share
        `gain_tolerance` of the median, and noise is no excuse; all rows up to its neighbours are then lost too.

        Parameters
        ----------
        phase:
            The angle at which the lock should hold, rad; None for a receiver without lock (a hybrid), where the step
            from one group to the next must not be larger than the tolerance instead.
        false_alarm:
            Probability that noise alone flags any group of a shot that is within tolerance.
        """
        # Two-sided, phase and gain of all groups share the probability.
        width = -float(ndtri(false_alarm / (4 * max(self.rows.size, 1))))
        usual = float(np.median(self.gain))
        angle = self.std / np.maximum(self.gain, 1e-300)
        bad = np.abs(self.gain - usual) > gain_tolerance * usual + width * self.std
        # Noise that could turn the amplitude by more than the tolerance leaves the phase unknown: that is lost, too.
        bad |= width * angle > math.pi
        if phase is not None:
            away = np.angle(self.amplitude * np.exp(-1j * phase))
            bad |= np.abs(away) > phase_tolerance + width * angle
        elif self.rows.size > 1:
            step = np.angle(self.amplitude[1:] * np.conj(self.amplitude[:-1]))
            jump = np.abs(step) > phase_tolerance + width * np.hypot(angle[1:], angle[:-1])
            bad[1:] |= jump
            bad[:-1] |= jump
        rows = np.zeros(self.total_rows, np.bool_)
        edges = np.concatenate([[-1.0], self.rows, [float(self.total_rows)]])
        for group in np.flatnonzero(bad):
            rows[math.floor(edges[group]) + 1 : math.ceil(edges[group + 2])] = True
        return rows


def _offset(values: NDArray[Any], kinds: NDArray[np.int8]) -> complex:
    dark = values[kinds == RowKind.GUARD]
    dark = dark[np.isfinite(dark)]
    return complex(dark.mean()) if dark.size else 0j


def _smoothed(measured: Complex, std: Real, walk: Real) -> Complex:
    """Maximum of the posterior of a random walk whose steps have variances `walk`, seen with `std`."""
    weight = std**-2.0
    if not np.any(walk > 0):
        return np.full(measured.shape, np.sum(weight * measured) / np.sum(weight))
    stiff = 1.0 / np.maximum(walk, 1e-12 * float(walk.max()))
    band = np.zeros((2, measured.size))
    band[0] = weight
    band[0, 1:] += stiff
    band[0, :-1] += stiff
    band[1, :-1] = -stiff
    return np.asarray(solveh_banded(band, weight * measured, lower=True))


def pilot_track(
    values: NDArray[Any],
    layout: FrameLayout,
    *,
    reference: Complex | None = None,
    offset: complex | None = None,
    linewidth: float | None = None,
) -> PilotTrack:
    """Gain and phase along a shot from integrated values of its preamble and pilots.

    Parameters
    ----------
    values:
        From `integrate`: (total_rows, n_modes), or (total_rows,) of the carry; NaN where the record has nothing.
    layout:
        Rows of the shot.
    reference:
        Known symbols in the receiver's frame, (total_rows, n_modes), 0 where unknown; None: `known_symbols`.
    offset:
        Electronics without light, in the values' unit; None: from the guard rows, 0 without any.
    linewidth:
        Of light against local oscillator in Hz: neighbouring groups support each other as far as their phase can have
        walked in between, 0: one amplitude for the shot. None: every group stands for itself.

    Raises
    ------
    DspError
        Where no group of pilots and no preamble is in the record.
    """
    if values.shape not in ((layout.total_rows, layout.n_modes), (layout.total_rows,)):
        raise ValueError(f"values have shape {values.shape}, expected rows of {layout}")
    known = known_symbols(layout) if reference is None else reference
    symbols = known[:, -1:] if values.ndim == 1 else known
    table = values.reshape(layout.total_rows, -1)
    kinds = layout.kinds
    real = not np.iscomplexobj(values)
    dark = _offset(table, kinds) if offset is None else offset
    level = dark.real if real else dark
    used = np.flatnonzero((kinds == RowKind.PREAMBLE) | (kinds == RowKind.PILOT))
    # Preamble: four groups, or fewer; pilots: every pair is one.
    head = np.flatnonzero(kinds[used] == RowKind.PREAMBLE)
    pieces = min(4, max(head.size // 4, 1))
    group = np.empty(used.size, np.int64)
    group[head] = np.arange(head.size) * pieces // max(head.size, 1)
    group[head.size :] = pieces + np.arange(used.size - head.size) // 2
    there = np.isfinite(table[used]) & (symbols[used] != 0)
    y = np.where(there, table[used] - level, 0.0)
    r = np.where(there, symbols[used], 0.0)
    each = np.repeat(group, y.shape[1])
    groups = int(group[-1]) + 1
    c = amplitudes(real, y.ravel(), r.ravel(), each, groups)
    fit = c[each] * r.ravel()
    rest = np.where(there.ravel(), y.ravel() - (fit.real if real else fit), 0.0)
    count = np.bincount(each, there.ravel(), groups)
    power = np.bincount(each, np.abs(r.ravel()) ** 2, groups)
    if real:
        uu = np.bincount(each, r.ravel().real ** 2, groups)
        # Of the two quadratures the one that is seen less.
        power = 2.0 * np.minimum(uu, power - uu)
        power = np.where(power > 1e-9 * np.maximum(uu, 1e-300), power, 0.0)
    good = power > 0
    if not good.any():
        raise DspError(
            "the record holds neither the preamble nor a pair of pilots", expected="pilots of 0 and of 90 degrees"
        )
    freedom = float(np.sum(count[good] * (1 if real else 2) - 2))
    spread = float(np.sum(np.abs(rest[good[each]]) ** 2))
    noise = math.sqrt(spread / freedom) if freedom > 0 else math.nan
    if math.isnan(noise):
        flat = table[kinds == RowKind.GUARD]
        flat = flat[np.isfinite(flat)]
        noise = float(np.std(flat)) / (1.0 if real else math.sqrt(2.0)) if flat.size > 1 else 0.0
    std = noise / np.sqrt((power / 2.0 if real else power)[good])
    rows = (np.bincount(each, np.repeat(used, y.shape[1]) * there.ravel(), groups)[good]) / count[good]
    found = c[good]
    if linewidth is not None and found.size > 1:
        time = np.diff(rows) * layout.n_modes * layout.bin_time
        walk = 2 * math.pi * linewidth * time * float(np.median(np.abs(found))) ** 2
        found = _smoothed(found, np.maximum(std, 1e-300 + 1e-9 * float(np.abs(found).max())), walk)
    return PilotTrack(rows, found, std, complex(dark), noise, layout.total_rows)


def rotated(values: NDArray[np.complex128], track: PilotTrack) -> NDArray[np.complex128]:
    """Values of a hybrid without offset and turned back by the phase that pilots found: real parts are X, as sent.

    Parameters
    ----------
    values:
        Complex, (total_rows, n_modes) or (total_rows,).

    Raises
    ------
    TypeError
        For real values: the outcome of a homodyne cannot be turned afterwards.
    """
    if not np.iscomplexobj(values):
        raise TypeError("one quadrature cannot be turned afterwards: only two of them, from a hybrid, can")
    turn = np.exp(-1j * np.angle(track.at_rows()))
    return np.asarray((values - track.offset) * (turn if values.ndim == 1 else turn[:, None]))
