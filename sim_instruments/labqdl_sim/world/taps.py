"""Gain-and-tap stages: what the client does to the addressed bin, and the light or voltage that it reads.

Formulas and their place in the closed forms: docs/world-client.md. The noise of a stage is looked up by raster point,
so that what is tapped and what returns share it, whoever asks first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl_sim.world.fields import Complex, Field, Grid
from labqdl_sim.world.interferometers import amplitude
from labqdl_sim.world.noise import White
from labqdl_sim.world.part import Parameter, Part
from labqdl_sim.world.receivers import LowPass, sampled

Real = NDArray[np.float64]

_SETTLED = 25.0
"""Time constants after which a low pass remembers nothing."""


ARM: Mapping[str, Parameter] = {
    "arm_phase": Parameter("phase of the addressed arm, through the tap, against the other one, at 0 V, rad", 0.0),
    "v_pi_arm": Parameter("volts at the input `arm` that turn the addressed arm by pi, V", 5.0, low=1e-3),
}
"""What sets the phase of the net gain: the arm and its phase shifter."""


def arm(part: Part, instants: Real) -> Complex | complex:
    """Phasor of the addressed arm behind a tap."""
    if not part.plugged("arm"):
        return complex(np.exp(1j * part["arm_phase"]))
    turned: Complex = np.exp(1j * (part["arm_phase"] + np.pi / part["v_pi_arm"] * part.drive("arm", instants)))
    return turned


def complex_white(white: White, grid: Grid) -> Complex:
    """Two independent standard normals a raster point as one complex number; (count,)."""
    drawn = white.at(grid.first, grid.count)
    joined: Complex = drawn[0] + 1j * drawn[1]
    return joined


class FeedForwardTap(Part):
    """Splitter, heterodyne of the split-off light, displacement of the rest by what was read.

    Per raster point of duration d the meter reads m = s sqrt(e (1-t)/2) 2 E sqrt(d) + sqrt(s^2 + v) (xi_x + i xi_p),
    where s^2 is the power of the local oscillator by its nominal one, and the rest becomes sqrt(t) E + k m/(2 sqrt d).
    Without a voltage at `gain` the electronics are trimmed: k = (1 - sqrt t)/sqrt(e (1-t)/2) makes the net gain 1.
    """

    kind = "feed-forward-tap"
    light_inputs = ("input", "lo")
    light_outputs = ("output",)
    volt_inputs = ("gain", "arm")
    volt_outputs = ("meter_x", "meter_p")
    parameters: ClassVar[dict[str, Parameter]] = {
        "t": Parameter("power transmissivity of the splitter", 0.9, low=1e-9, high=1.0 - 1e-9),
        "efficiency": Parameter("of the two detectors, from split-off light to electrons", 1.0, low=1e-6, high=1.0),
        "noise": Parameter("electronic noise of a meter, SNU at the nominal local oscillator", 0.0, low=0.0),
        "gain_error": Parameter("relative error of the electronics' gain", 0.0),
        "phase_error": Parameter("phase of the displacement against the light that it is added to, rad", 0.0),
        **ARM,
        "gain_per_volt": Parameter("gain k for 1 V at the gain input, 1/V", 0.5),
        "delay": Parameter("by how much the displacement comes too late, s", 0.0),
        "bandwidth": Parameter(
            "of the electronics between meter and displacement (one pole), Hz; 0 for no limit", 0.0, low=0.0
        ),
        "readout_bandwidth": Parameter(
            "of the meters' outputs (Bessel, fourth order), Hz; 0 for no limit", 25e6, low=0.0
        ),
        "density": Parameter("density of a meter's shot noise at the nominal local oscillator, V/sqrt(Hz)", 1.3e-7),
        "swing": Parameter("largest voltage of a meter, at its output and in the electronics, V", math.inf, low=0.0),
        "lo_flux": Parameter("nominal local oscillator, photons a second", 7.8e15, low=1.0),
        "loss_db": Parameter("loss of the rest on its way out, dB", 0.0, low=0.0),
    }

    def setup(self) -> None:
        """Open the noise of the two detectors."""
        self._noise = White(self.world.root, f"{self.name} meters", 2)
        self._readout = LowPass(self.truth["readout_bandwidth"], self.world.rate)

    @property
    def _pickup(self) -> float:
        """Meter's amplitude per amplitude of the light, at the nominal local oscillator."""
        return math.sqrt(self.truth["efficiency"] * (1.0 - self.truth["t"]) / 2.0)

    def gain(self, instants: Real) -> Complex | complex:
        """k at these instants."""
        truth = self.truth
        error = complex((1.0 + truth["gain_error"]) * np.exp(1j * truth["phase_error"]))
        if self.plugged("gain"):
            return np.asarray(self.drive("gain", instants) * (truth["gain_per_volt"] * error))
        return (1.0 - math.sqrt(truth["t"])) / self._pickup * error

    def meter(self, grid: Grid) -> tuple[Complex, Complex]:
        """What is read, X + i P in SNU per raster point, and the phasor of the local oscillator (or (1,) ones)."""
        strength: Real | float = 1.0
        phasor: Complex = np.ones(1, np.complex128)
        if self.plugged("lo"):
            oscillator = self.field("lo", grid).envelope
            strength = np.abs(oscillator) / math.sqrt(self.truth["lo_flux"])
            phasor = np.exp(1j * np.angle(oscillator))
        light = self.field("input", grid).envelope * np.conj(phasor)
        meter: Complex = (strength * 2.0 * self._pickup * math.sqrt(grid.step)) * light
        meter += np.sqrt(np.square(strength) + self.truth["noise"]) * complex_white(self._noise, grid)
        if not math.isinf(self.truth["swing"]):
            most = self.truth["swing"] * math.sqrt(grid.step) / self.truth["density"]
            meter = np.clip(meter.real, -most, most) + 1j * np.clip(meter.imag, -most, most)
        return meter, phasor

    def displacement(self, grid: Grid) -> Complex:
        """Amplitude that is added to the rest on a grid of the electronics' own time."""
        bandwidth = self.truth["bandwidth"]
        decay = 2.0 * math.pi * bandwidth * grid.step
        lag = math.ceil(_SETTLED / decay) if 0.0 < decay < _SETTLED else 0
        meter, phasor = self.meter(grid.widened(lag))
        if lag:
            kernel = (1.0 - math.exp(-decay)) * np.exp(-decay * np.arange(lag + 1))
            meter = np.convolve(meter, kernel, mode="valid")
            phasor = phasor[lag:] if phasor.size > 1 else phasor
        added: Complex = self.gain(grid.instants) * meter * phasor / (2.0 * math.sqrt(grid.step))
        return added

    def light(self, port: str, grid: Grid) -> Field:
        """The displaced rest."""
        field = self.field("input", grid)
        out = math.sqrt(self.truth["t"]) * field.envelope + self.displacement(grid.delayed(self.truth["delay"]))
        return Field(amplitude(self.truth["loss_db"]) * arm(self, grid.instants) * out, field.jones, field.wavelength)

    def volts(self, port: str, instants: Real) -> Real:
        """What a meter gives: `density` volts for a noise of 1 SNU in a band of 1 Hz (two-sided)."""
        scale = self.truth["density"] / math.sqrt(self.world.step)

        def on(grid: Grid) -> Real:
            meter, _ = self.meter(grid)
            return self._readout((meter.real if port == "meter_x" else meter.imag) * scale)

        return sampled(self.world.grid, self.world.step, instants, self._readout.past, on)


class AmplifierTap(Part):
    """Phase-insensitive amplifier, then a splitter; a receiver stands at `tap`.

    Its noise is n_sp (G-1) photons a mode of classical light. With a voltage at `gain`, G - 1 is that voltage times
    `gain_per_volt`. For an amplifier that saturates, put an `edfa` and a `splitter` in its place.
    """

    kind = "amplifier-tap"
    light_inputs = ("input",)
    light_outputs = ("output", "tap")
    volt_inputs = ("gain", "arm")
    parameters: ClassVar[dict[str, Parameter]] = {
        "gain": Parameter("power gain G of the amplifier itself", 2.0, low=1.0),
        "n_sp": Parameter("spontaneous emission factor", 1.0, low=1.0),
        "tau": Parameter("power transmissivity of the splitter; nan for 1/G", math.nan),
        "gain_per_volt": Parameter("G - 1 for 1 V at the gain input, 1/V", 1.0),
        **ARM,
        "input_loss_db": Parameter("passive loss before the amplifier, dB", 0.0, low=0.0),
        "loss_db": Parameter("passive loss of the output, behind the splitter, dB", 0.0, low=0.0),
    }

    def setup(self) -> None:
        """Address of the noise; what follows from other parameters."""
        self._noise = White(self.world.root, f"{self.name} spontaneous emission", 2)
        if math.isnan(self.truth["tau"]):
            self.truth["tau"] = 1.0 / self.truth["gain"]

    def surplus(self, grid: Grid) -> Real | float:
        """G - 1 on a grid."""
        if self.plugged("gain"):
            return np.maximum(self.drive("gain", grid.instants) * self.truth["gain_per_volt"], 0.0)
        return self.truth["gain"] - 1.0

    def light(self, port: str, grid: Grid) -> Field:
        """The amplified light's share of this output."""
        truth = self.truth
        field = self.field("input", grid)
        more = self.surplus(grid)
        noise = np.sqrt(truth["n_sp"] * more / (2.0 * grid.step)) * complex_white(self._noise, grid)
        amplified = np.sqrt(1.0 + more) * amplitude(truth["input_loss_db"]) * field.envelope + noise
        if port == "tap":
            return Field(math.sqrt(1.0 - truth["tau"]) * amplified, field.jones, field.wavelength)
        passed = math.sqrt(truth["tau"]) * amplitude(truth["loss_db"]) * arm(self, grid.instants)
        return Field(passed * amplified, field.jones, field.wavelength)


PARTS = (FeedForwardTap, AmplifierTap)
