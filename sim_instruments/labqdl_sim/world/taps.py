"""Gain-and-tap stages: what the client does to the addressed bin, and the light or voltage that it reads.

Formulas and their place in the closed forms: docs/world-client.md. The noise of a stage is looked up by raster point,
so that what is tapped and what returns share it, whoever asks first.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl_sim.world.fields import Complex, Field, Grid
from labqdl_sim.world.interferometers import amplitude
from labqdl_sim.world.noise import White
from labqdl_sim.world.part import Parameter, Part

Real = NDArray[np.float64]

_SETTLED = 25.0
"""Time constants after which a low pass remembers nothing."""


def complex_white(white: White, grid: Grid) -> Complex:
    """Two independent standard normals a raster point as one complex number; (count,)."""
    drawn = white.at(grid.first, grid.count)
    joined: Complex = drawn[0] + 1j * drawn[1]
    return joined


def sampled(values: Real, grid: Grid, instants: Real) -> Real:
    """A voltage known on the raster at other instants: mean over the interval that each of them stands for.

    That is what a converter with a matched anti-alias filter does; a white noise keeps its density. Instants that are
    closer than the raster get the nearest point.
    """
    spacing = (instants[-1] - instants[0]) / (instants.size - 1) if instants.size > 1 else 0.0
    width = max(round(spacing / grid.step), 1)
    places = np.rint((instants - grid.start) / grid.step - (width - 1) / 2 + 1e-6).astype(np.intp)
    if width == 1:
        return values[places]
    sums = np.concatenate([[0.0], np.cumsum(values)])
    result: Real = (sums[places + width] - sums[places]) / width
    return result


def covering(instants: Real, step: float) -> Grid:
    """A raster that covers rising instants and the interval that each of them stands for."""
    spacing = (instants[-1] - instants[0]) / (instants.size - 1) if instants.size > 1 else 0.0
    margin = math.ceil(spacing / step / 2) + 2
    first = math.floor(instants[0] / step) - margin
    last = math.ceil(instants[-1] / step) + margin
    return Grid(first * step, step, last - first + 1)


class FeedForwardTap(Part):
    """Splitter, heterodyne of the split-off light, displacement of the rest by what was read.

    Per raster point of duration d the meter reads m = s sqrt(e (1-t)/2) 2 E sqrt(d) + sqrt(s^2 + v) (xi_x + i xi_p),
    where s^2 is the power of the local oscillator by its nominal one, and the rest becomes sqrt(t) E + k m/(2 sqrt d).
    Without a voltage at `gain` the electronics are trimmed: k = (1 - sqrt t)/sqrt(e (1-t)/2) makes the net gain 1.
    """

    kind = "feed-forward-tap"
    light_inputs = ("input", "lo")
    light_outputs = ("output",)
    volt_inputs = ("gain",)
    volt_outputs = ("meter_x", "meter_p")
    parameters: ClassVar[dict[str, Parameter]] = {
        "t": Parameter("power transmissivity of the splitter", 0.9, low=1e-9, high=1.0 - 1e-9),
        "efficiency": Parameter("of the two detectors, from split-off light to electrons", 1.0, low=1e-6, high=1.0),
        "noise": Parameter("electronic noise of a meter, SNU at the nominal local oscillator", 0.0, low=0.0),
        "gain_error": Parameter("relative error of the electronics' gain", 0.0),
        "phase_error": Parameter("phase of the displacement against the light that it is added to, rad", 0.0),
        "arm_phase": Parameter("phase of the addressed arm, through the tap, against the other one, rad", 0.0),
        "gain_per_volt": Parameter("gain k for 1 V at the gain input, 1/V", 0.5),
        "delay": Parameter("by how much the displacement comes too late, s", 0.0),
        "bandwidth": Parameter("of the electronics (one pole), Hz", math.inf, low=1.0),
        "density": Parameter("density of a meter's shot noise at the nominal local oscillator, V/sqrt(Hz)", 1.3e-7),
        "lo_flux": Parameter("nominal local oscillator, photons a second", 7.8e15, low=1.0),
        "loss_db": Parameter("loss of the rest on its way out, dB", 0.0, low=0.0),
    }

    def setup(self) -> None:
        """Address of the noise; what follows from other parameters."""
        self._noise = White(self.world.root, f"{self.name} meters", 2)

    def gain(self, instants: Real) -> Complex | complex:
        """k at these instants."""
        truth = self.truth
        error = (1.0 + truth["gain_error"]) * np.exp(1j * truth["phase_error"])
        if self.plugged("gain"):
            return np.asarray(self.drive("gain", instants) * (truth["gain_per_volt"] * error))
        return complex((1.0 - math.sqrt(truth["t"])) / self._pickup * error)

    @property
    def _pickup(self) -> float:
        """Meter's amplitude per amplitude of the light, at the nominal local oscillator."""
        return math.sqrt(self.truth["efficiency"] * (1.0 - self.truth["t"]) / 2.0)

    def read(self, grid: Grid) -> tuple[Complex, Complex]:
        """The meter in SNU per raster point, X + i P, and the phasor of its local oscillator."""
        lag = self._memory(grid.step)
        wide = grid.widened(lag)
        light = self.field("input", wide).envelope
        strength: Real | float = 1.0
        phasor: Complex = np.ones(1, np.complex128)
        if self.plugged("lo"):
            oscillator = self.field("lo", wide).envelope
            modulus: Real = np.abs(oscillator)
            strength = modulus / math.sqrt(self.truth["lo_flux"])
            phasor = np.exp(1j * np.angle(oscillator))
        signal = (strength * 2.0 * self._pickup * math.sqrt(grid.step)) * light * np.conj(phasor)
        noise = np.sqrt(np.square(strength) + self.truth["noise"]) * complex_white(self._noise, wide)
        meter = self._filtered(signal + noise, lag, grid.step)
        return meter, phasor[lag:] if phasor.size > 1 else phasor

    def _memory(self, step: float) -> int:
        decay = 2.0 * math.pi * self.truth["bandwidth"] * step
        return 0 if decay > _SETTLED else math.ceil(_SETTLED / decay)

    def _filtered(self, values: Complex, lag: int, step: float) -> Complex:
        if lag == 0:
            return values
        decay = math.exp(-2.0 * math.pi * self.truth["bandwidth"] * step)
        kernel = (1.0 - decay) * decay ** np.arange(lag + 1)
        result: Complex = np.convolve(values, kernel, mode="valid")
        return result

    def light(self, port: str, grid: Grid) -> Field:
        """The displaced rest."""
        field = self.field("input", grid)
        when = grid.delayed(self.truth["delay"])
        meter, phasor = self.read(when)
        displacement = self.gain(when.instants) * meter * phasor / (2.0 * math.sqrt(grid.step))
        out = math.sqrt(self.truth["t"]) * field.envelope + displacement
        arm = amplitude(self.truth["loss_db"]) * np.exp(1j * self.truth["arm_phase"])
        return Field(arm * out, field.jones, field.wavelength)

    def volts(self, port: str, instants: Real) -> Real:
        """What a meter gives: `density` volts for a noise of 1 SNU in a band of 1 Hz (two-sided)."""
        if instants.size == 0:
            return np.zeros(0)
        grid = covering(instants, self.world.step)
        meter, _ = self.read(grid)
        part = meter.real if port == "meter_x" else meter.imag
        return sampled(part * (self.truth["density"] / math.sqrt(grid.step)), grid, instants)


class AmplifierTap(Part):
    """Phase-insensitive amplifier, then a splitter; a receiver stands at `tap`.

    Its noise is n_sp (G-1) photons a mode of classical light. With a voltage at `gain`, G - 1 is that voltage times
    `gain_per_volt`. A bright input saturates it: G - 1 falls to (G - 1)/(1 + P/saturation), where P is the input power
    as the inversion remembers it, over `recovery` seconds.
    """

    kind = "amplifier-tap"
    light_inputs = ("input",)
    light_outputs = ("output", "tap")
    volt_inputs = ("gain",)
    parameters: ClassVar[dict[str, Parameter]] = {
        "gain": Parameter("power gain G of the amplifier itself", 2.0, low=1.0),
        "n_sp": Parameter("spontaneous emission factor", 1.0, low=1.0),
        "tau": Parameter("power transmissivity of the splitter; nan for 1/G", math.nan),
        "gain_per_volt": Parameter("G - 1 for 1 V at the gain input, 1/V", 1.0),
        "arm_phase": Parameter("phase of the addressed arm, through the tap, against the other one, rad", 0.0),
        "input_loss_db": Parameter("passive loss before the amplifier, dB", 0.0, low=0.0),
        "loss_db": Parameter("passive loss of the output, behind the splitter, dB", 0.0, low=0.0),
        "saturation": Parameter("input flux that halves G - 1, photons a second", math.inf, low=1.0),
        "recovery": Parameter("time over which the inversion remembers the input, s", 1e-4, low=1e-9),
    }

    def setup(self) -> None:
        """Address of the noise; what follows from other parameters."""
        self._noise = White(self.world.root, f"{self.name} spontaneous emission", 2)
        if math.isnan(self.truth["tau"]):
            self.truth["tau"] = 1.0 / self.truth["gain"]

    def surplus(self, grid: Grid) -> Real | float:
        """G - 1 on a grid."""
        truth = self.truth
        if self.plugged("gain"):
            small: Real | float = np.maximum(self.drive("gain", grid.instants) * truth["gain_per_volt"], 0.0)
        else:
            small = truth["gain"] - 1.0
        if math.isinf(truth["saturation"]):
            return small
        return small / (1.0 + self._remembered(grid) / truth["saturation"])

    def _remembered(self, grid: Grid) -> Real:
        """Input flux, weighted by exp(-age/recovery): from short looks at it on a raster of an eighth of that time."""
        block = max(round(self.truth["recovery"] / 8 / grid.step), 1)
        low, high = grid.first // block - 1, (grid.first + grid.count) // block + 1
        memory = 80
        look = min(block, 64)
        seen = np.array(
            [
                self.field("input", Grid((index * block + block // 2 - look // 2) * grid.step, grid.step, look)).flux
                for index in range(low - memory, high + 1)
            ]
        )
        weights = np.exp(-np.arange(memory + 1) / 8.0)
        smooth = np.convolve(seen, weights / weights.sum(), mode="valid")
        where = (np.arange(low, high + 1) + 1) * block
        result: Real = np.interp(grid.first + np.arange(grid.count), where, smooth)
        return result * float(np.square(amplitude(self.truth["input_loss_db"])))

    def light(self, port: str, grid: Grid) -> Field:
        """The amplified light's share of this output."""
        truth = self.truth
        field = self.field("input", grid)
        more = self.surplus(grid)
        noise = np.sqrt(truth["n_sp"] * more / (2.0 * grid.step)) * complex_white(self._noise, grid)
        amplified = np.sqrt(1.0 + more) * amplitude(truth["input_loss_db"]) * field.envelope + noise
        if port == "tap":
            return Field(math.sqrt(1.0 - truth["tau"]) * amplified, field.jones, field.wavelength)
        arm = math.sqrt(truth["tau"]) * amplitude(truth["loss_db"]) * np.exp(1j * truth["arm_phase"])
        return Field(arm * amplified, field.jones, field.wavelength)


PARTS = (FeedForwardTap, AmplifierTap)
