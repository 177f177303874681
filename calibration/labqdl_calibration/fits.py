"""Least squares on arrays: values with covariance, and whether the model describes the data at all.

Pure functions of data. Covariances are those of independent normal errors whose standard deviations the caller states;
where he states none they come from the residuals. Nothing here knows an instrument, or what the true value might be:
starting values come from the data or from the caller's data sheet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from labqdl.facts import Estimate

Real = NDArray[np.float64]
Model = Callable[[Real], Real]


@dataclass(frozen=True, slots=True)
class Fit:
    """What a fit found.

    Attributes
    ----------
    keys, values, covariance:
        Parameters in order; (p,), (p,), (p, p).
    fitted:
        The model at the data; (n,).
    residuals:
        (data - model) / standard deviation; (n,).
    freedom:
        Number of data minus number of parameters.
    """

    keys: tuple[str, ...]
    values: Real
    covariance: Real
    fitted: Real
    residuals: Real
    freedom: int

    def __getitem__(self, key: str) -> float:
        """Value of a parameter."""
        return float(self.values[self.keys.index(key)])

    def deviation(self, key: str) -> float:
        """Standard deviation of a parameter."""
        place = self.keys.index(key)
        return math.sqrt(self.covariance[place, place])

    def estimate(self, key: str, unit: str = "") -> Estimate:
        """A parameter with its standard deviation."""
        return Estimate(self[key], self.deviation(key), unit)

    def part(self, *keys: str) -> tuple[Real, Real]:
        """Values and covariance of some parameters; (k,), (k, k)."""
        places = [self.keys.index(key) for key in keys]
        return self.values[places], self.covariance[np.ix_(places, places)]

    @property
    def chi_square(self) -> float:
        """Sum of the squared residuals."""
        return float(np.sum(np.square(self.residuals)))

    @property
    def probability(self) -> float:
        """Probability of a chi square at least as large if model and deviations are right; 1 without freedom."""
        return float(stats.chi2.sf(self.chi_square, self.freedom)) if self.freedom > 0 else 1.0

    def widened(self) -> Fit:
        """With the covariance multiplied by chi square over freedom where that is above 1.

        For systematic wiggles that are as large as the noise: the deviations then say what was seen.
        """
        factor = max(self.chi_square / self.freedom, 1.0) if self.freedom > 0 else 1.0
        return replace(self, covariance=self.covariance * factor)


def scaled(fit: Fit) -> Fit:
    """With the covariance multiplied by chi square over freedom: the deviations are those that the residuals show."""
    factor = fit.chi_square / fit.freedom if fit.freedom > 0 else 1.0
    return replace(fit, covariance=fit.covariance * factor)


def wrapped(angle: ArrayLike) -> Real:
    """Angles in (-pi, pi]; shape in = shape out."""
    turned = np.asarray(angle, dtype=np.float64)
    return turned - 2 * np.pi * np.ceil((turned - np.pi) / (2 * np.pi))


def jacobian(function: Model, at: Real, steps: Real) -> Real:
    """Derivatives of a function (p,) -> (n,) by central differences; (n, p)."""
    columns = []
    for place, step in enumerate(steps):
        up, down = at.copy(), at.copy()
        up[place] += step
        down[place] -= step
        columns.append((np.atleast_1d(function(up)) - np.atleast_1d(function(down))) / (2 * step))
    return np.stack(columns, axis=1)


def propagated(function: Model, values: Real, covariance: Real) -> tuple[Real, Real]:
    """A function of estimates and the covariance that follows to first order; (n,), (n, n).

    The differences are taken over a tenth of a standard deviation, so that the scale of each value is its own.
    """
    deviations = np.sqrt(np.diag(covariance))
    steps = np.where(deviations > 0, 0.1 * deviations, 1e-6 * np.maximum(np.abs(values), 1e-6))
    slope = jacobian(function, np.asarray(values, np.float64), steps)
    return np.atleast_1d(function(values)), np.asarray(slope @ covariance @ slope.T)


def least_squares(
    model: Model,
    keys: Sequence[str],
    starts: Sequence[ArrayLike],
    data: Real,
    deviation: ArrayLike | None = None,
    *,
    prior: tuple[Real, Real] | None = None,
    scale: ArrayLike | None = None,
) -> Fit:
    """Fit a model (p,) -> (n,) to data by least squares, from several starts, of which the best end counts.

    Parameters
    ----------
    model:
        Function of the parameters.
    keys, starts:
        Names of the parameters, and vectors (p,) to begin at.
    data, deviation:
        (n,); standard deviations of the data, one number or (n,). None: one for all, from the residuals.
    prior:
        Values and standard deviations (p,) that parameters have from elsewhere, such as a data sheet; infinite
        deviations for those of which nothing is known. They count as data.
    scale:
        Typical size of each parameter, for the steps of the derivatives; default: that of the start.

    Raises
    ------
    ValueError
        With fewer data than parameters, and where no start ends at finite values.
    """
    count, size = data.size, len(keys)
    if count < size and prior is None:
        raise ValueError(f"{count} data for {size} parameters")
    weights = 1.0 / np.broadcast_to(np.asarray(1.0 if deviation is None else deviation, np.float64), data.shape)
    bound = None if prior is None else np.isfinite(prior[1])

    def misses(parameters: Real) -> Real:
        found: Real = (model(parameters) - data) * weights
        if prior is None or bound is None:
            return found
        return np.concatenate([found, ((parameters - prior[0]) / prior[1])[bound]])

    best: tuple[float, Real, Real] | None = None
    for start in starts:
        begin = np.asarray(start, np.float64)
        sizes = np.maximum(np.abs(begin), 1e-3) if scale is None else np.asarray(scale, np.float64)
        # In units of the sizes, since the steps of the derivatives are at least 6e-6 of one.
        end: Any = optimize.least_squares(_scaled(misses, sizes), begin / sizes, jac="3-point", xtol=1e-12, ftol=1e-12)
        if np.all(np.isfinite(end.x)) and (best is None or end.cost < best[0]):
            best = float(end.cost), end.x * sizes, end.jac / sizes
    if best is None:
        raise ValueError("no start leads to finite values")
    # Parameters of very different size (a gain beside a delay) are brought to one before they meet in a matrix.
    _, values, slopes = best
    norms = np.linalg.norm(slopes, axis=0)
    norms[norms == 0] = 1.0
    unit = slopes / norms
    covariance = np.linalg.pinv(unit.T @ unit, hermitian=True, rcond=1e-14) / np.outer(norms, norms)
    fitted = model(values)
    residuals = (data - fitted) * weights
    freedom = count - size
    if deviation is None:
        spread = float(np.sum(np.square(residuals)) / freedom) if freedom > 0 else 0.0
        covariance = covariance * spread
        residuals = residuals / math.sqrt(spread) if spread > 0 else residuals
    return Fit(tuple(keys), values, covariance, fitted, residuals, freedom)


def _scaled(function: Model, sizes: Real) -> Model:
    return lambda parameters: function(parameters * sizes)


def linear(columns: Sequence[ArrayLike], keys: Sequence[str], data: Real, deviation: ArrayLike | None = None) -> Fit:
    """Fit coefficients of given columns (n,) to data (n,); in closed form.

    `deviation` as in `least_squares`.
    """
    design = np.stack([np.broadcast_to(np.asarray(one, np.float64), data.shape) for one in columns], axis=1)
    if data.size < len(keys):
        raise ValueError(f"{data.size} data for {len(keys)} parameters")
    weights = 1.0 / np.broadcast_to(np.asarray(1.0 if deviation is None else deviation, np.float64), data.shape)
    weighted = design * weights[:, None]
    # Columns of very different size (volts^2 beside ones) are brought to one before they meet in a matrix.
    sizes = np.linalg.norm(weighted, axis=0)
    sizes[sizes == 0] = 1.0
    inverse = np.linalg.pinv((weighted / sizes).T @ (weighted / sizes), hermitian=True)
    values = inverse @ ((weighted / sizes).T @ (data * weights)) / sizes
    covariance = inverse / np.outer(sizes, sizes)
    fitted = design @ values
    residuals = (data - fitted) * weights
    freedom = data.size - len(keys)
    if deviation is None:
        spread = float(np.sum(np.square(residuals)) / freedom) if freedom > 0 else 0.0
        covariance = covariance * spread
        residuals = residuals / math.sqrt(spread) if spread > 0 else residuals
    return Fit(tuple(keys), values, covariance, fitted, residuals, freedom)


def line(x: Real, y: Real, deviation: ArrayLike | None = None) -> Fit:
    """y = intercept + slope x."""
    return linear([np.ones_like(x), x], ("intercept", "slope"), y, deviation)


def half_wave(
    volts: Real, power: Real, v_pi: float, deviation: ArrayLike | None = None, *, known: bool = False, span: float = 2.5
) -> Fit:
    """power = offset + amplitude cos(pi volts / v_pi + phase), amplitude >= 0, phase in (-pi, pi].

    For each half-wave voltage within a factor `span` of the data sheet's `v_pi` the rest is linear: the best of them
    is where the fit begins, so that it needs no other start and ends in no wrong fringe. With `known` the half-wave
    voltage is kept as it is given.

    Returns
    -------
    Fit with offset, amplitude, v_pi, phase; without v_pi where that is known.
    """

    def harmonic(voltage: float) -> Fit:
        angle = np.pi * volts / voltage
        return linear([np.ones_like(volts), np.cos(angle), np.sin(angle)], ("offset", "cos", "sin"), power, deviation)

    def polar(one: Fit) -> tuple[float, float, float]:
        return one["offset"], math.hypot(one["cos"], one["sin"]), math.atan2(-one["sin"], one["cos"])

    if known:
        flat = harmonic(v_pi)
        values, covariance = propagated(
            lambda p: np.array([p[0], np.hypot(p[1], p[2]), np.arctan2(-p[2], p[1])]), flat.values, flat.covariance
        )
        return replace(flat, keys=("offset", "amplitude", "phase"), values=values, covariance=covariance)
    # A fringe that is hardly begun fits anything: what would need an amplitude beyond the seen range by far is out.
    seen = float(np.ptp(power))
    weights = 1.0 / np.broadcast_to(np.asarray(1.0 if deviation is None else deviation, np.float64), power.shape)
    best, least = v_pi, math.inf
    for candidate in v_pi * np.geomspace(1 / span, span, 81):
        angle = np.pi * volts / candidate
        design = np.stack([np.ones_like(volts), np.cos(angle), np.sin(angle)], axis=1) * weights[:, None]
        found = np.linalg.lstsq(design, power * weights, rcond=None)[0]
        cost = float(np.sum(np.square(design @ found - power * weights)))
        if cost < least and math.hypot(found[1], found[2]) <= 3 * seen:
            best, least = float(candidate), cost
    offset, amplitude, phase = polar(harmonic(best))

    def model(p: Real) -> Real:
        return np.asarray(p[0] + p[1] * np.cos(np.pi * volts / p[2] + p[3]))

    keys = ("offset", "amplitude", "v_pi", "phase")
    end = least_squares(
        model, keys, [[offset, amplitude, best, phase]], power, deviation, scale=[seen, seen, v_pi, 1.0]
    )
    values, covariance = end.values.copy(), end.covariance
    if values[1] < 0:
        values[1], values[3] = -values[1], values[3] + np.pi
        flip = np.diag([1.0, -1.0, 1.0, 1.0])
        covariance = flip @ covariance @ flip
    values[3] = wrapped(values[3])
    return replace(end, values=values, covariance=covariance)


def visibility(fringe: Fit) -> Estimate:
    """Contrast (max - min) / (max + min) of a fringe that `half_wave` fitted."""
    values, covariance = fringe.part("offset", "amplitude")
    found, spread = propagated(lambda p: p[1:] / p[:1], values, covariance)
    return Estimate(float(found[0]), math.sqrt(spread[0, 0]))


def variance(samples: Real, blocks: int = 64) -> Estimate:
    """Variance of a stationary record, and its standard deviation from how much that of its blocks differs.

    A receiver's band makes neighbouring samples alike, so that sqrt(2/n) would be too small; blocks that are long
    against the correlation time know by themselves. With fewer than `4 * blocks` samples they are taken as independent.

    Parameters
    ----------
    samples:
        (n,) or (records, n); the mean of all is subtracted.
    """
    flat = np.square(samples - np.mean(samples)).ravel()
    if flat.size < 4 * blocks:
        mean = float(np.sum(flat) / (flat.size - 1))
        return Estimate(mean, mean * math.sqrt(2 / (flat.size - 1)))
    means = flat[: flat.size // blocks * blocks].reshape(blocks, -1).mean(axis=1)
    mean = float(np.sum(flat) / (flat.size - 1))
    return Estimate(mean, float(np.std(means, ddof=1)) / math.sqrt(blocks))


@dataclass(frozen=True, slots=True)
class ShotNoiseLine:
    """Variance against power of the local oscillator.

    Attributes
    ----------
    line:
        intercept (electronic noise, V^2) and slope (V^2/W).
    curvature:
        z-score of a quadratic term: beyond 4 or so the detector saturates, or technical noise of the laser is seen.
    """

    line: Fit
    curvature: float

    def unit_at(self, power: float) -> Estimate:
        """Shot-noise unit at a power, V^2: the slope times the power."""
        return Estimate(self.line["slope"] * power, self.line.deviation("slope") * power, "V^2")

    def clearance_at(self, power: float) -> Estimate:
        """Shot noise plus electronic over electronic noise at a power, dB."""
        values, covariance = self.line.part("intercept", "slope")
        found, spread = propagated(lambda p: 10 * np.log10(1 + p[1:] * power / np.abs(p[:1])), values, covariance)
        return Estimate(float(found[0]), math.sqrt(spread[0, 0]), "dB")


def shot_noise(power: Real, variances: Real, deviations: Real) -> ShotNoiseLine:
    """variance = intercept + slope power, and whether a quadratic term is needed; arrays (n,), n >= 3."""
    straight = line(power, variances, deviations)
    scale = float(np.max(np.abs(power))) or 1.0
    columns = [np.ones_like(power), power / scale, np.square(power / scale)]
    bent = linear(columns, ("intercept", "slope", "square"), variances, deviations)
    error = bent.deviation("square")
    return ShotNoiseLine(straight, bent["square"] / error if error > 0 else 0.0)


@dataclass(frozen=True, slots=True)
class Allan:
    """Overlapping Allan deviation: times (k,) in s, deviations (k,) and their standard deviations (k,)."""

    times: Real
    deviations: Real
    errors: Real

    @property
    def best_time(self) -> float:
        """Averaging time with the least deviation: beyond it drift wins over noise."""
        return float(self.times[int(np.argmin(self.deviations))])


def allan(values: Real, spacing: float) -> Allan:
    """Overlapping Allan deviation of equally spaced values (n,), n >= 8, for averages over 1, 2, 4, ... of them.

    Source: D. W. Allan, Proc. IEEE 54, 221 (1966); the overlapping estimator of IEEE Std 1139.
    """
    if values.size < 8:
        raise ValueError(f"an Allan deviation needs 8 values, got {values.size}")
    summed = np.concatenate([[0.0], np.cumsum(values)])
    times, found, errors = [], [], []
    length = 1
    while 3 * length <= values.size:
        means = (summed[length:] - summed[:-length]) / length
        steps = means[length:] - means[:-length]
        deviation = math.sqrt(0.5 * float(np.mean(np.square(steps))))
        times.append(length * spacing)
        found.append(deviation)
        # Independent differences of this length: as many as fit side by side.
        errors.append(deviation / math.sqrt(2 * max(values.size / length - 1, 1)))
        length *= 2
    return Allan(np.array(times), np.array(found), np.array(errors))


def hysteresis(command: Real, reading: Real, deviation: ArrayLike | None = None) -> Fit:
    """reading = offset + slope command + width/2 where the command rose to its value, - width/2 where it fell.

    Whether it rose follows from the order of the data; where a value is repeated the last move counts. The first one
    counts as having risen.

    Returns
    -------
    Fit with offset, slope, width.
    """
    move = np.sign(np.diff(command, prepend=command[0] - 1.0))
    for place in range(1, move.size):
        if move[place] == 0:
            move[place] = move[place - 1]
    return linear([np.ones_like(command), command, 0.5 * move], ("offset", "slope", "width"), reading, deviation)


def delay(reference: Real, record: Real, interval: float, *, longest: float | None = None) -> Fit:
    """When a known signal stands in a record, to a fraction of a sample: record(t) = gain reference(t - delay).

    Both are real and of one length (n,), and zero (or noise) at both ends for longer than the delay: the shift is
    cyclic. White noise; its level comes from the residuals.

    Parameters
    ----------
    reference, record:
        (n,), on one raster of `interval` s.
    longest:
        Greatest |delay| in s that is looked for; None: half of the record.

    Returns
    -------
    Fit with gain and delay (s).
    """
    count = reference.size
    spectrum, seen = np.fft.rfft(reference), np.fft.rfft(record)
    frequencies = np.fft.rfftfreq(count, interval)
    correlation = np.fft.irfft(seen * np.conj(spectrum), count)
    lags = np.fft.fftfreq(count, 1.0 / count)
    allowed = np.abs(lags) * interval <= (count * interval / 2 if longest is None else longest)
    coarse = float(lags[int(np.argmax(np.where(allowed, correlation, -np.inf)))]) * interval
    energy = float(np.sum(np.square(reference)))

    def model(p: Real) -> Real:
        return np.asarray(p[0] * np.fft.irfft(spectrum * np.exp(-2j * np.pi * frequencies * p[1]), count))

    start = [float(np.max(np.where(allowed, correlation, -np.inf))) / energy, coarse]
    return least_squares(model, ("gain", "delay"), [start], record, scale=[max(abs(start[0]), 1e-30), interval])


def weighted_mean(values: Real, deviations: Real) -> Fit:
    """Mean of values (n,) of one quantity with their standard deviations."""
    return linear([np.ones_like(values)], ("mean",), values, deviations)
