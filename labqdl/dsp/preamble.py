"""Looks for the preamble of a shot anywhere in a record: correlation with its complex symbols, by FFT.

Every bin of the record, at every place, is first integrated over its window. Around a place the bins of the
preamble are then explained by the least-squares fit of offset and complex amplitude to the known symbols; for a single
quadrature, whose phase is unknown, by offset and both quadratures of the amplitude. What counts is the share rho^2 of
their variance that the fit explains. It does not depend on the record's scale or offset, nor on how bright the light
elsewhere is, and for white noise its law is exact,

    P(rho^2 > x) = I_{1-x}(nu / 2, p / 2),

with p real parameters and nu real degrees of freedom that are left. The preamble may be cut into segments with an
amplitude each, for light whose phase wanders. Derivation: docs/signal-processing.md, "Where a shot begins".
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft, ifft, next_fast_len
from scipy.special import betainc

from labqdl.dsp.drive import window_edges
from labqdl.dsp.errors import DspError
from labqdl.facts.layout import FrameLayout, RowKind

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]
_Sums = tuple[Complex, Complex, Real]

FALSE_ALARM = 1e-9
"""Probability, anywhere in the search, with which noise may be taken for a preamble."""
_SEGMENTS = 16
_SEGMENT_ROWS = 3
"""Rows that a piece of the preamble has at least: fewer, with an amplitude each, would fit other rows too."""
_LEAST_BINS = 6
"""Bins that a segment must have: three are used up by its own fit."""
_WINDOW = 6
"""Samples of a window that suffice for the search; finer records are averaged first."""
_SMALLEST_FFT = 1 << 15
_STRETCH = 1 << 18
"""Places that are searched at once; the first stretch of a record with a preamble ends the search."""
RIVAL = 0.7
"""Share of the best place's log-likelihood that no other place may reach: else nothing stands out."""

STRANGE = 0.5
"""Light that the reference does not explain, against what it explains, at which something else was found."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where the preamble is, to about half a sample of the search.

    `first`: beginning of the shot's first bin in samples (sample k covers k to k + 1); `clock`: relative length of a
    bin against nominal, minus 1; `segments` that it took; `quality` and `false_alarm` as of `Timing`.
    """

    first: float
    clock: float
    segments: int
    quality: float
    false_alarm: float


def known_symbols(layout: FrameLayout, *, carry_only: bool = False) -> Complex:
    """What everybody knows of a shot: unit phasors of preamble and pilot rows, 0 elsewhere; (total_rows, n_modes).

    With `carry_only` as the client's carry sees it: light in the last bin of each row only.
    """
    known = layout.symbols(np.zeros((layout.images, layout.rows, layout.n_modes), np.complex128), 1.0)
    if carry_only:
        known[:, :-1] = 0.0
    return known


def preamble_bins(reference: Complex, layout: FrameLayout) -> NDArray[np.int64]:
    """Bins of the preamble from the first to the last that has light in the reference, rising.

    Those without light in between are known to be dark, and count as such.
    """
    rows = np.flatnonzero(layout.kinds == RowKind.PREAMBLE)
    bins = (rows[:, None] * layout.n_modes + np.arange(layout.n_modes)).ravel()
    lit = np.flatnonzero(reference.reshape(-1)[bins])
    return bins[lit[0] : lit[-1] + 1] if lit.size else bins[:0]


@dataclass(frozen=True)
class _Template:
    """Impulses of one segment on the search's raster: `places` in samples after the preamble's first bin, `symbols`."""

    places: NDArray[np.int64]
    symbols: Complex

    def spectra(self, length: int) -> tuple[Complex, Complex]:
        """Conjugate spectra of the symbols, and of ones."""
        raster = np.zeros((2, length), np.complex128)
        np.add.at(raster[0], self.places, self.symbols)
        np.add.at(raster[1], self.places, 1.0)
        both = np.conj(fft(raster, axis=1, overwrite_x=True))
        return both[0], both[1]

    def norms(self, place: NDArray[np.int64], end: int) -> tuple[Real, Complex, Complex, Real]:
        """Number, sum conj(r), sum conj(r)^2 and sum |r|^2 of those that lie in 0 ... end - 1, for each place."""
        first, last = np.searchsorted(self.places, -place), np.searchsorted(self.places, end - place)
        r = np.conj(self.symbols)

        def between(terms: NDArray[Any]) -> NDArray[Any]:
            running = np.concatenate([np.zeros(1, terms.dtype), np.cumsum(terms)])
            return np.asarray(running[last] - running[first])

        return (last - first).astype(np.float64), between(r), between(r**2), between(np.abs(r) ** 2)


def _explained(
    real: bool, a: Complex, m: Complex, e: Real, n: Real, q1: Complex, q2: Complex, p: Real
) -> tuple[Real, Real]:
    """Explained and total variance (sums of squares) about the mean at every place, from sums over lit bins.

    a = sum y conj(r), m = sum y, e = sum |y|^2, n = number, q1 = sum conj(r), q2 = sum conj(r)^2, p = sum |r|^2.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        total = e - np.abs(m) ** 2 / n
        centred = a - m * q1 / n
        if real:
            uu = (p + q2.real) / 2 - q1.real**2 / n
            ww = (p - q2.real) / 2 - q1.imag**2 / n
            uw = q2.imag / 2 - q1.real * q1.imag / n
            # A ridge of rounding size keeps a reference of only one phase (uu ww = uw^2) from dividing by nothing.
            ridge = 1e-9 * p
            uu, ww = uu + ridge, ww + ridge
            x, y = centred.real, centred.imag
            explained = (ww * x**2 - 2 * uw * x * y + uu * y**2) / (uu * ww - uw**2)
        else:
            explained = np.abs(centred) ** 2 / (p - np.abs(q1) ** 2 / n + 1e-9 * p)
    usable = n >= _LEAST_BINS
    return np.where(usable, explained, 0.0), np.where(usable, total, 0.0)


@dataclass
class _Best:
    score: float = 0.0
    place: int = 0
    clock: float = 0.0
    share: float = 0.0
    freedom: float = 1.0
    segments: int = 1


class _Search:
    """One search with one number of segments."""

    def __init__(self, record: NDArray[Any], layout: FrameLayout, reference: Complex, per_bin: float) -> None:
        self.real = not np.iscomplexobj(record)
        self.bins = preamble_bins(reference, layout)
        self.symbols = reference.reshape(-1)[self.bins]
        self.thin = max(1, int(layout.duty * per_bin / _WINDOW))
        usable = record.size // self.thin * self.thin
        kind = np.float64 if self.real else np.complex128
        samples = record[:usable].reshape(-1, self.thin).mean(axis=1, dtype=kind) if self.thin > 1 else record
        self.samples = samples
        self.per_bin = per_bin / self.thin
        window = layout.duty * self.per_bin
        self.width = max(1, round(window))
        self.trim = (window - self.width) / 2
        self.begin = window_edges(layout, self.bins)[0]
        self.cells = np.zeros(0)
        self.level = complex(samples.mean()) if samples.size else 0j

    @property
    def places(self) -> int:
        """Places at which a window may begin."""
        return max(self.samples.size - self.width + 1, 0)

    def _filtered(self, low: int, count: int) -> NDArray[Any]:
        """Window sums that begin at `low`, low + 1, ...; 0 where they leave the record."""
        values = np.zeros(count, np.float64 if self.real else np.complex128)
        first, last = max(low, 0), min(low + count, self.places)
        if last > first:
            level = self.level.real if self.real else self.level
            # In double precision, whatever the record has: sums of a whole block are taken.
            part = self.samples[first : last + self.width - 1].astype(values.dtype) - level
            running = np.concatenate([np.zeros(1, part.dtype), np.cumsum(part)])
            values[first - low : last - low] = running[self.width :] - running[: -self.width]
        return values

    def _sums(self, values: NDArray[Any], spectra: list[tuple[Complex, Complex]], count: int) -> list[_Sums]:
        """For every segment and place: sum y conj(r), sum y, sum |y|^2 over the bins of the preamble."""
        if self.real:
            # The mask's correlations with y and y^2 are real: one transform carries both.
            signal, both = fft(values), fft(values + 1j * values**2)
            pairs = ((ifft(signal * r)[:count], ifft(both * one)[:count]) for r, one in spectra)
            return [(a, m.real.astype(np.complex128), m.imag) for a, m in pairs]
        signal, power = fft(values), fft(np.abs(values) ** 2)
        return [
            (ifft(signal * r)[:count], ifft(signal * one)[:count], ifft(power * one)[:count].real) for r, one in spectra
        ]

    def run(self, segments: int, clock: float, low: int, high: int) -> _Best:
        """The best place of the first lit bin's window in low <= place < high."""
        offsets = np.round((self.begin - self.begin[0]) * self.per_bin * (1 + clock)).astype(np.int64)
        pieces = np.array_split(np.arange(self.bins.size), segments)
        reach = int(offsets[-1]) + 1
        length = next_fast_len(min(max(_SMALLEST_FFT, 4 * reach), reach + high - low))
        cell = max(round(self.per_bin), 1)
        step = max((length - reach + 1) // cell, 1) * cell
        templates = [_Template(offsets[piece], self.symbols[piece]) for piece in pieces]
        spectra = [template.spectra(length) for template in templates]
        best = _Best(clock=clock, segments=segments)
        loudest = 0.0
        for place in range(low, high, step):
            count = min(step, high - place)
            explained, total = np.zeros(count), np.zeros(count)
            lit, used = np.zeros(count), np.zeros(count)
            everywhere = place >= 0 and place + count + reach <= self.places
            where = np.zeros(1, np.int64) if everywhere else place + np.arange(count)
            sums = self._sums(self._filtered(place, length), spectra, count)
            for template, of_segment in zip(templates, sums, strict=True):
                n, q1, q2, p = template.norms(where, self.places)
                loudest = max(loudest, float(of_segment[2].max()))
                part, whole = _explained(self.real, *of_segment, n, q1, q2, p)
                explained += part
                total += whole
                lit += np.where(n >= _LEAST_BINS, n, 0.0)
                used += n >= _LEAST_BINS
            # Half of the preamble must be there; sums that are mere rounding of a far louder place say nothing.
            fit = (lit >= self.bins.size / 2) & (total > 1e-11 * loudest)
            share = np.clip(np.divide(explained, total, out=np.zeros(count), where=fit), 0.0, 1.0 - 1e-12)
            freedom = np.maximum((lit - 3 * used) if self.real else 2 * (lit - 2 * used), 1.0)
            score = -freedom * np.log1p(-share)
            padded = np.zeros(-(-count // cell) * cell)
            padded[:count] = score
            peaks = padded.reshape(-1, cell).max(axis=1)
            at = (place - low) // cell
            self.cells[at : at + peaks.size] = np.maximum(self.cells[at : at + peaks.size], peaks)
            top = int(np.argmax(score))
            if score[top] > best.score:
                best = _Best(float(score[top]), place + top, clock, float(share[top]), float(freedom[top]), segments)
        return best

    def unexplained(self, best: _Best) -> float:
        """Light that the fit at a place leaves unexplained against what it explains; 0 where it cannot be told.

        The noise is known from the two halves of each window, in whose difference flat pulses cancel.
        """
        half = self.width // 2
        if not half:
            return 0.0
        offsets = np.round((self.begin - self.begin[0]) * self.per_bin * (1 + best.clock)).astype(np.int64)
        begin = best.place + offsets
        begin = begin[(begin >= 0) & (begin < self.places)]
        cells = self.samples[begin[:, None] + np.arange(self.width)]
        difference = cells[:, :half].sum(axis=1) - cells[:, self.width - half :].sum(axis=1)
        whole = cells.sum(axis=1)
        noise = float(np.mean(np.abs(difference) ** 2)) * self.width / (2 * half)
        total = float(np.mean(np.abs(whole - whole.mean()) ** 2))
        explained = best.share * total
        return max(total - explained - noise, 0.0) / max(explained, 1e-300)

    def rival(self, best: _Best, low: int) -> float:
        """Score of the best place that is more than a bin away from the best one, against its score."""
        cell = (best.place - low) // max(round(self.per_bin), 1)
        others = np.concatenate([self.cells[: max(cell - 2, 0)], self.cells[cell + 3 :]])
        return float(others.max(initial=0.0)) / best.score


def find_preamble(
    record: NDArray[Any],
    layout: FrameLayout,
    reference: Complex,
    per_bin: float,
    *,
    clock: float,
    clock_range: float,
    search: tuple[float, float] | None,
    limit: float,
) -> Found:
    """Place of the first preamble in the record; at least half of it must be in there.

    Parameters
    ----------
    record:
        (n,), real for one quadrature, complex for two.
    layout, reference:
        Rows of the shot, and the known symbols in the receiver's frame, (total_rows, n_modes), 0 where unknown.
    per_bin:
        Nominal samples a bin.
    clock, clock_range:
        Expected relative deviation of a bin's length, and how far to look to either side of it.
    search:
        Least and greatest beginning of the shot's first bin, in samples; None for anywhere.
    limit:
        Probability with which noise may be taken for a preamble.

    Raises
    ------
    DspError
        Where no place is better than chance would make it.
    """
    looker = _Search(record, layout, reference, per_bin)
    lit = looker.bins.size
    if lit < _LEAST_BINS:
        raise DspError(
            f"the preamble has {lit} bins",
            expected=f"at least {_LEAST_BINS}, else it cannot be told from chance",
            hint="More preamble_rows in the frame",
        )
    thin = looker.thin
    # The shot's first bin against the first lit bin's window, in the search's samples.
    lead = float(looker.begin[0]) * looker.per_bin * (1 + clock) + looker.trim
    offset = int((looker.begin[lit // 2] - looker.begin[0]) * looker.per_bin) + 1
    low, high = -offset, looker.places
    if search is not None:
        low = max(low, math.floor(search[0] / thin + lead) - 1)
        high = min(high, math.ceil(search[1] / thin + lead) + 2)
    length = float(looker.begin[-1] - looker.begin[0]) * looker.per_bin
    # Bins at the ends of the preamble move by up to half a sample between neighbouring hypotheses of the clock.
    steps = math.ceil(max(clock_range * length - 0.5, 0.0))
    clocks = [clock + clock_range * k / steps for k in range(-steps, steps + 1)] if steps else [clock]
    # Into how many pieces the preamble is cut, one after the other, until it is found; the record from its beginning.
    finest = min(_SEGMENTS, layout.preamble_rows // _SEGMENT_ROWS, lit // _LEAST_BINS)
    ladder = sorted({1, min(4, finest), finest} - {0}) if high > low else []
    beyond = 2 * round(looker.per_bin)
    tries = max(len(ladder) * len(clocks) * (high - low), 1)
    chance, rival, strange, best = 1.0, 1.0, math.inf, _Best()
    for segments, begin in itertools.product(ladder, range(low, high, _STRETCH)):
        end = min(begin + _STRETCH, high)
        stop = min(end + beyond, high)
        looker.cells = np.zeros((stop - begin) // max(round(looker.per_bin), 1) + 2)
        top = max((looker.run(segments, one, begin, stop) for one in clocks), key=lambda one: one.score)
        now = min(1.0, tries * _tail(top))
        # What lies behind the end of a stretch is seen whole in the next one.
        if now <= chance and top.score > 0 and (top.place < end or end == high):
            chance, rival, strange, best = now, looker.rival(top, begin), looker.unexplained(top), top
        if chance <= limit and rival <= RIVAL and strange <= STRANGE:
            break
    quality = best.share / (1 - best.share) * best.freedom / (2.0 * best.segments)
    if not (chance <= limit and rival <= RIVAL and strange <= STRANGE):
        raise DspError(
            f"no preamble in the record of {record.size} samples: the best place explains {100 * best.share:.2g} % of "
            f"the variance of its bins (quality {quality:.3g}), as noise does with probability {chance:.2g}, and "
            f"another place reaches {100 * rival:.0f} % of its likelihood; it leaves {strange:.2g} times as "
            "much light unexplained",
            expected=f"a preamble of {layout.preamble_rows} rows, {lit} bins, at {per_bin:.4g} samples a bin, "
            f"seen by chance with probability below {limit:.1g}, no rival above {100 * RIVAL:.0f} %, and at "
            f"most {STRANGE:g} times as much other light",
            hint="Is there light, did the trigger come, is the local oscillator on, do bin rate and record length fit",
        )
    lead = float(looker.begin[0]) * looker.per_bin * (1 + best.clock) + looker.trim
    return Found((best.place - lead) * thin, best.clock, best.segments, quality, chance)


def _tail(best: _Best) -> float:
    """Probability that noise explains as much at one place."""
    return float(betainc(best.freedom / 2, float(best.segments), 1.0 - best.share))
