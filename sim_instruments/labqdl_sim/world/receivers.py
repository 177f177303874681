"""Detectors and the electronics behind them: light becomes a voltage, and only here vacuum becomes noise.

A balanced pair of photodiodes on a raster of step d gives, at signal amplitude E_s and local oscillator E_L (square
roots of photons/s), quantum efficiency eta and transimpedance Z,

    v = Z e [ 2 eta V Re(E_s E_L*) + sqrt(eta (|E_L|^2 + |E_s|^2) / d) xi ] + Z i_n / sqrt(2 d) xi',

with the overlap V of the two modes in space and polarisation, the electron's charge e, the amplifier's input noise
i_n (one-sided, A/sqrt(Hz)) and xi, xi' white standard normals on the raster. A bin with amplitude alpha = E_s sqrt(tau)
has in units of its own shot noise the mean 2 sqrt(eta) V Re(alpha e^{-i phi}) and the variance 1 (docs/physics.md).
Behind it stand the low pass of the amplifier and its range.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.signal import bessel, sosfilt

from labqdl.units import photon_energy
from labqdl_sim.ports import Edges, Voltages
from labqdl_sim.world.fields import Field, Grid
from labqdl_sim.world.noise import White
from labqdl_sim.world.part import Parameter, Part

ELECTRON = 1.602176634e-19

_TAPS = 16
"""Points of the raster on which a value between them is interpolated."""
_PIECE = 1 << 17
"""Points of the raster that are computed together."""
_FINE = 1024
"""Places between two points for which the interpolation's weights are known; straight lines between them, to 1e-6."""
_WINDOW = 9.0
"""Shape of the Kaiser window of the interpolation: flat to 0.4 of the raster's rate within 1e-4."""
_SETTLED = 1e-13
"""What is left of a filter's past where the first value is used."""
_MEAN = 512
"""Raster points over which the mean of the direct part is taken."""

Real = NDArray[np.float64]


class LowPass:
    """A Bessel low pass of fourth order on a raster, which does not ring; none where its band reaches the raster's."""

    def __init__(self, bandwidth: float, rate: float) -> None:
        self.past = 0
        self._sections: Real | None = None
        if 0.0 < bandwidth < 0.45 * rate:
            self._sections = bessel(4, bandwidth, fs=rate, output="sos", norm="mag")
            poles = np.concatenate([np.roots([1.0, *section[4:]]) for section in self._sections])
            self.past = math.ceil(math.log(_SETTLED) / math.log(float(np.max(np.abs(poles)))))

    def __call__(self, values: Real) -> Real:
        """Values with `past` ones in front of them, which are gone in the result; (past + n,) to (n,)."""
        if self._sections is None:
            return values
        passed: Real = sosfilt(self._sections, values)[self.past :]
        return passed


@cache
def _kernel() -> tuple[Real, Real]:
    """Weights of the `_TAPS` points for `_FINE` + 1 places between two of them, and their differences; (_, _TAPS)."""
    offsets = np.arange(1 - _TAPS // 2, _TAPS // 2 + 1)
    away = np.arange(_FINE + 1)[:, None] / _FINE - offsets
    weights = np.sinc(away) * np.i0(_WINDOW * np.sqrt(np.maximum(1.0 - (2.0 * away / _TAPS) ** 2, 0.0)))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights, np.diff(weights, axis=0, append=weights[-1:])


def interpolated(values: Real, position: Real, doubt: float = 1e-6) -> Real:
    """Values between the points of a raster, by a windowed sinc of `_TAPS` points.

    Parameters
    ----------
    values:
        On the raster, (points,).
    position:
        Places in units of its step, from `_TAPS`/2 - 1 on and `_TAPS`/2 before its end; (n,).
    doubt:
        Error of the places by rounding.
    """
    nearest = np.rint(position)
    if np.all(np.abs(position - nearest) < doubt):
        return values[nearest.astype(np.int64)]
    low = np.floor(position)
    rest = position - low
    whole = low.astype(np.int64) + (1 - _TAPS // 2)
    weights, differences = _kernel()
    if np.ptp(rest) < doubt:
        place = float(rest[0]) * _FINE
        row = weights[int(place)] + (place - int(place)) * differences[int(place)]
        return np.asarray(sum(weight * values[whole + tap] for tap, weight in enumerate(row)))
    place_at = (rest * _FINE).astype(np.int64)
    beyond = rest * _FINE - place_at
    result = np.zeros(position.shape)
    for tap in range(_TAPS):
        result += (weights[place_at, tap] + beyond * differences[place_at, tap]) * values[whole + tap]
    return result


def sampled(grid_of: Callable[[float, int], Grid], step: float, instants: Real, past: int,
            compute: Callable[[Grid], Real]) -> Real:  # fmt: skip
    """Values at any rising instants of what can be computed on the raster only.

    `compute` gets a grid that covers the instants and `past` points more in front, and leaves those out of its result.
    Long records are computed in pieces, so that not all light on the way to them is in memory at once.
    """
    if instants.size == 0:
        return np.zeros(0)
    pieces = math.ceil(float(instants[-1] - instants[0]) / step / _PIECE)
    if pieces > 1:
        cuts = np.searchsorted(instants, instants[0] + step * _PIECE * np.arange(1, pieces))
        return np.concatenate([sampled(grid_of, step, piece, past, compute) for piece in np.split(instants, cuts)])
    before, after = _TAPS // 2, _TAPS // 2 + 1
    doubt = 1e-6 + 4e-16 * abs(float(instants[-1])) / step
    first = math.floor(float(instants[0]) / step + doubt)
    last = math.ceil(float(instants[-1]) / step - doubt)
    grid = grid_of((first - before - past) * step, last - first + before + after + past + 1)
    values = compute(grid)
    return interpolated(values, instants / step - (first - before), doubt)


def overlap(signal: Field, oscillator: Field) -> complex:
    """Amplitude with which two polarisations overlap."""
    return complex(np.vdot(oscillator.jones, signal.jones))


def power_watts(field: Field) -> Real:
    """Power in W on the grid; (count,)."""
    flux: Real = np.square(field.envelope.real) + np.square(field.envelope.imag)
    return flux * photon_energy(field.wavelength)


_PAIR = {
    "efficiency": Parameter("quantum efficiency of the diodes with everything in front of them", 0.9, 0.0, 0.0, 1.0),
    "visibility": Parameter("overlap of signal and local oscillator in space, amplitude", 0.98, 0.0, 0.0, 1.0),
    "transimpedance": Parameter("output over difference of the photocurrents, V/A", 10e3, 0.0, 0.0),
    "noise": Parameter("noise of the amplifier at its input, A/sqrt(Hz)", 2e-12, 0.0, 0.0),
    "cmrr_db": Parameter("rejection of what both diodes see, dB in amplitude", 55.0, 0.0, 0.0),
    "saturation": Parameter("power on the diodes above which the output grows no more, W", 10e-3, 0.0, 0.0),
    "swing": Parameter("largest output voltage, V", 2.0, 0.0, 0.0),
    "bandwidth": Parameter("-3 dB bandwidth of the amplifier, Hz", 25e6, 0.0, 0.0),
}


class _Receiver(Part):
    """What homodyne and hybrid share: one balanced pair of photodiodes."""

    def setup(self) -> None:
        """Open the noise of each pair."""
        self._low_pass = LowPass(self["bandwidth"], self.world.rate)
        root = self.world.root
        self._shot = {port: White(root, f"{self.name} shot noise {port}") for port in self.volt_outputs}
        self._amplifier = {port: White(root, f"{self.name} amplifier {port}") for port in self.volt_outputs}

    def pair(self, port: str) -> tuple[complex, float, float]:
        """Phase factor of the local oscillator, share of the light, and gain of one pair."""
        raise NotImplementedError

    def volts(self, port: str, instants: Real) -> Real:
        """The voltage at rising instants."""
        return sampled(
            self.world.grid, self.world.step, instants, self._low_pass.past, lambda grid: self._on(port, grid)
        )

    def _on(self, port: str, grid: Grid) -> Real:
        # A whole number of means around the grid, so that the direct part does not depend on what is asked.
        before = grid.first % _MEAN + _MEAN
        after = -(grid.first + grid.count) % _MEAN + _MEAN
        wide = grid.widened(before, after)
        signal, oscillator = self.field("signal", wide), self.field("lo", wide)
        factor, share, gain = self.pair(port)
        scale = self["transimpedance"] * ELECTRON * gain
        eta, step = self["efficiency"], self.world.step
        turned = oscillator.envelope.conj() * (overlap(signal, oscillator) * self["visibility"] * factor.conjugate())
        beat = 2.0 * eta * share * (signal.envelope * turned).real
        watts = (power_watts(signal) + power_watts(oscillator)) * share
        flux = watts / photon_energy(oscillator.wavelength)
        direct = 10.0 ** (-self["cmrr_db"] / 20) * eta * (flux - _running_mean(flux))
        shot = np.sqrt(eta * flux / step) * self._shot[port].at(wide.first, wide.count)[0]
        limited = np.minimum(1.0, self["saturation"] * share / np.maximum(watts, 1e-30))
        volts = scale * limited * (beat + shot + direct)
        volts += (
            self["transimpedance"] * gain * self["noise"] / math.sqrt(2.0 * step)
            * self._amplifier[port].at(wide.first, wide.count)[0]
        )  # fmt: skip
        passed = self._low_pass(volts[before : before + grid.count])
        return np.clip(passed, -self["swing"], self["swing"])


def _running_mean(flux: Real) -> Real:
    """Mean over `_MEAN` points, straight lines in between; (whole number of means,) to the same."""
    means = flux.reshape(-1, _MEAN).mean(axis=1)
    centres = (np.arange(means.size) + 0.5) * _MEAN
    result: Real = np.interp(np.arange(flux.size) + 0.5, centres, means)
    return result


class Homodyne(_Receiver):
    """A balanced homodyne receiver: a 50:50 coupler, two diodes and one amplifier."""

    kind = "homodyne"
    light_inputs = ("signal", "lo")
    volt_outputs = ("output",)
    parameters: ClassVar = _PAIR

    def pair(self, port: str) -> tuple[complex, float, float]:
        """All the light."""
        return 1.0 + 0.0j, 1.0, 1.0


class Hybrid(_Receiver):
    """A 90 degree hybrid with two balanced pairs: X and P at once, each of half the light."""

    kind = "hybrid"
    light_inputs = ("signal", "lo")
    volt_outputs = ("output_x", "output_p")
    parameters: ClassVar = {
        **_PAIR,
        "angle": Parameter("angle between the two quadratures beyond 90 degrees, rad", 0.0, 0.01),
        "imbalance": Parameter("gain of the second pair over that of the first, less one", 0.0, 0.01, -0.5, 0.5),
    }

    def pair(self, port: str) -> tuple[complex, float, float]:
        """Half of the light; the second oscillator is ahead by 90 degrees."""
        if port == "output_x":
            return 1.0 + 0.0j, 0.5, 1.0
        turn = math.pi / 2 + self["angle"]
        return complex(math.cos(turn), math.sin(turn)), 0.5, 1.0 + self["imbalance"]


class CounterDetector(Part):
    """A detector of single photons: pulses at a rate, which the counter draws."""

    kind = "counter-detector"
    light_inputs = ("input",)
    pulse_outputs: ClassVar[tuple[str, ...]] = ("pulses",)
    parameters: ClassVar = {
        "efficiency": Parameter("pulses per photon", 0.2, 0.0, 0.0, 1.0),
        "dark_rate": Parameter("pulses a second without light", 1000.0, 0.0, 0.0),
        "dead_time": Parameter("time after a pulse without another one, s", 1e-6, 0.0, 0.0),
    }

    def rate(self, t: float) -> float:
        """Pulses a second around instrument time t; those that the dead time swallows are not in it."""
        wanted = self["efficiency"] * self.power_flux("input", t) + self["dark_rate"]
        return wanted / (1.0 + wanted * self["dead_time"])


class Cable(Part):
    """A cable or an electronic stage: delay, gain, band, steps of a converter, jitter."""

    kind = "cable"
    volt_inputs = ("input",)
    volt_outputs = ("output",)
    parameters: ClassVar = {
        "delay": Parameter("of what comes out, s", 0.0, 0.0, 0.0),
        "gain": Parameter("voltage out over voltage in", 1.0),
        "offset": Parameter("voltage out without any in, V", 0.0),
        "bandwidth": Parameter("-3 dB bandwidth, Hz; 0 for no limit", 0.0, 0.0, 0.0),
        "full_scale": Parameter("range of its converter, from -full_scale to full_scale, V", 1.0, 0.0, 0.0),
        "jitter": Parameter("standard deviation of the time of a point, s", 0.0, 0.0, 0.0),
    }
    settings: ClassVar = {"bits": 0}

    def setup(self) -> None:
        """Open the jitter."""
        self._edges: Edges | None = None
        self._low_pass = LowPass(self["bandwidth"], self.world.rate)
        self._jitter = White(self.world.root, f"{self.name} jitter")

    def connect_volts(self, port: str, drive: Voltages | None, edges: Edges | None = None) -> None:
        """Plug a cable in, of which it may be known when its voltage crosses a level; None pulls it out."""
        self._edges = edges
        super().connect_volts(port, drive)

    def edges(self, start: float, stop: float, level: float, rising: bool) -> Real | None:
        """When what comes out crosses a level; None where that is not known, or not to the point."""
        plain = self["bandwidth"] == self["jitter"] == self.setting["bits"] == 0
        if self._edges is None or not plain or self["gain"] <= 0.0:
            return None
        return moved(self._edges, self["delay"], self["gain"])(start, stop, level - self["offset"], rising)

    def volts(self, port: str, instants: Real) -> Real:
        """What comes out at rising instants."""
        times = instants - self["delay"]
        if self["jitter"] > 0.0 and times.size:
            # On the raster, so that who asks again finds the same; straight lines in between.
            first = math.floor(float(times[0]) / self.world.step)
            last = math.ceil(float(times[-1]) / self.world.step) + 1
            moved = self._jitter.at(first, last - first + 1)[0] * self["jitter"]
            times = np.maximum.accumulate(
                times + np.interp(times / self.world.step - first, np.arange(moved.size), moved)
            )
        if self._low_pass.past:
            volts = sampled(
                self.world.grid, self.world.step, times, self._low_pass.past,
                lambda grid: self._low_pass(self.drive("input", grid.instants)),
            )  # fmt: skip
        else:
            volts = self.drive("input", times)
        volts = volts * self["gain"] + self["offset"]
        bits = int(self.setting["bits"])
        if bits:
            step = 2.0 * self["full_scale"] / (1 << bits)
            volts = np.clip(np.round(volts / step) * step, -self["full_scale"], self["full_scale"] - step)
        return volts


def moved(edges: Edges, delay: float, gain: float) -> Edges:
    """When a voltage crosses a level behind a positive gain and a delay in s."""

    def late(start: float, stop: float, level: float, rising: bool) -> Real | None:
        found = edges(start - delay, stop - delay, level / gain, rising)
        return None if found is None else found + delay

    return late


PARTS: tuple[type[Part], ...] = (Homodyne, Hybrid, CounterDetector, Cable)
"""What this module adds to the kinds of parts."""
