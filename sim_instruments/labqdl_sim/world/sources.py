"""What makes light: lasers, and amplifiers, whose own noise is classical here (P-sampling)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import lambertw

from labqdl.units import from_db, photon_energy
from labqdl_sim.ports import Light
from labqdl_sim.world.fields import Field, Grid
from labqdl_sim.world.held import gradual, held
from labqdl_sim.world.noise import Drift, White, Wiener
from labqdl_sim.world.part import Parameter, Part
from labqdl_sim.world.passive import transmission

Real = NDArray[np.float64]


class Laser(Part):
    """Continuous light with a linewidth and relative intensity noise.

    The phase is a Wiener process with 2 pi `linewidth` rad^2/s. `rin` is white up to the raster's own band (one-sided
    density in 1/Hz); `wander` is slow noise beside it with a Lorentzian spectrum.
    """

    kind = "laser"
    light_outputs = ("output",)
    parameters: ClassVar = {
        "power": Parameter("Power in W, where no instrument says another", 1e-3, low=0.0),
        "wavelength": Parameter("Vacuum wavelength in m, where no instrument says another", 1550e-9, low=1e-7),
        "linewidth": Parameter("Full width at half maximum of the Lorentzian line in Hz", 100.0, low=0.0),
        "rin": Parameter("White relative intensity noise in 1/Hz", 1e-14, low=0.0),
        "wander": Parameter("Slow relative wander of the power, rms", 0.0, low=0.0, high=0.3),
        "wander_time": Parameter("Correlation time of the wander in s", 1.0, low=1e-9),
    }
    faults: ClassVar = {
        "mode_hop": "the frequency is off by so many Hz",
        "power_drop_db": "the power is lower by so many dB",
        "off": "no light",
    }

    def setup(self) -> None:
        """Phase, intensity."""
        root, name = self.world.root, self.name
        self._phase = Wiener(root, f"linewidth {name}", self.world.step)
        self._intensity = White(root, f"rin {name}")
        self._wander = Drift(root, f"wander {name}", self["wander_time"])
        self._source: Callable[[float], Light] | None = None

    def follow(self, source: Callable[[float], Light] | None) -> None:
        """Take power and wavelength from an instrument, as a function of time in s."""
        self._source = source
        self.world.changed()

    def _flux(self, grid: Grid) -> tuple[float | Real, float]:
        """Mean photons a second, and the wavelength."""
        if self._source is None:
            return self["power"] / photon_energy(self["wavelength"]), self["wavelength"]
        source = self._source
        wavelength = source(grid.start).wavelength
        return held(lambda t: source(t).power / photon_energy(wavelength), grid), wavelength

    def light(self, port: str, grid: Grid) -> Field:
        """The light."""
        flux, wavelength = self._flux(grid)
        if not np.any(flux):
            return Field.dark(grid, wavelength)
        instants = grid.instants
        relative = np.ones(grid.count)
        if self["rin"] > 0.0:
            relative += math.sqrt(self["rin"] / (2.0 * grid.step)) * self._intensity.at(grid.first, grid.count)[0]
        if self["wander"] > 0.0:
            relative += self["wander"] * gradual(self._wander.at, grid, self["wander_time"])
        if self.strikes("power_drop_db"):
            relative *= 10.0 ** (-self.struck_at("power_drop_db", instants) / 10.0)
        if self.strikes("off"):
            relative[self.struck_at("off", instants) > 0.0] = 0.0
        amplitude = np.sqrt(np.maximum(relative * flux, 0.0))
        phase = self._hopped(instants)
        if self["linewidth"] > 0.0:
            phase = phase + math.sqrt(2.0 * math.pi * self["linewidth"]) * self._phase.at(instants)
        envelope = amplitude * np.exp(1j * phase) if np.any(phase) else amplitude.astype(np.complex128)
        return Field(envelope, np.array([1.0, 0.0], np.complex128), wavelength)

    def _hopped(self, instants: Real) -> Real:
        """Phase that other frequencies than the first one have gathered."""
        phase = np.zeros(instants.shape)
        for strike in self.strikes("mode_hop"):
            begin = max(strike.start, 0.0)
            phase += 2.0 * math.pi * strike.value * (np.clip(instants, begin, max(strike.stop, begin)) - begin)
        return phase


_NODES = 4
"""Of an amplifier's gain in one time constant."""
_MEMORY = 6
"""Time constants over which an amplifier remembers its input."""
_GLANCE = 256
"""Raster points over which an amplifier averages its input at one node."""


def saturated_gain(small_signal: float, ratio: float) -> float:
    """Gain of a homogeneously broadened amplifier: the G with G = G_0 exp(-(G - 1) P_in/P_sat).

    Parameters
    ----------
    small_signal:
        G_0, a power ratio.
    ratio:
        Input power over saturation power.

    Notes
    -----
    G = W(r G_0 e^r)/r with Lambert's function W. A. E. Siegman, *Lasers* (1986), section 7.7.
    """
    if ratio < 1e-12:
        return small_signal
    exponent = math.log(ratio) + math.log(small_signal) + ratio
    if exponent > 500.0:
        root = exponent
        for _ in range(8):
            root = exponent - math.log(root)
        return root / ratio
    return float(lambertw(math.exp(exponent)).real) / ratio


class Edfa(Part):
    """Erbium-doped fibre amplifier: passive loss, gain that saturates slowly, its own noise, passive loss.

    Behind the input loss, E -> sqrt(G) E + N with independent complex normal N of n_sp (G - 1) photons a mode (per
    raster point: n_sp (G - 1)/step photons a second). The gain follows the input power, averaged over the last times
    `tau`; so light that returns after darkness meets the full small-signal gain.
    """

    kind = "edfa"
    light_inputs = ("input",)
    light_outputs = ("output",)
    parameters: ClassVar = {
        "gain_db": Parameter("Small-signal gain at full pump in dB", 30.0, spread=0.5, low=0.0, high=60.0),
        "saturation": Parameter("Saturation power at full pump in W: see saturated_gain", 20e-3, spread=1e-3, low=1e-6),
        "n_sp": Parameter("Spontaneous emission factor; 1 is the quantum limit", 1.4, spread=0.05, low=1.0),
        "loss_in_db": Parameter("Passive loss before the gain in dB", 0.8, spread=0.1, low=0.0),
        "loss_out_db": Parameter("Passive loss behind the gain in dB", 0.8, spread=0.1, low=0.0),
        "absorption_db": Parameter("Loss of the erbium without pump in dB", 30.0, spread=1.0, low=0.0),
        "tau": Parameter("Time constant of the gain in s", 1e-3, spread=5e-5, low=1e-6),
    }
    faults: ClassVar = {"surge_db": "the gain jumps up by so many dB, and comes back with the time constant"}

    def setup(self) -> None:
        """Noise; the pump is full until somebody else says how strong it is."""
        self._noise = White(self.world.root, f"spontaneous {self.name}", 2)
        self._share: Callable[[float], float] = lambda t: 1.0
        self._held: Callable[[float], float | None] = lambda t: None
        self._power = lru_cache(maxsize=1 << 12)(self._glance)

    @classmethod
    def rated(cls, gain_db: float, output: float) -> dict[str, float]:
        """Figures of an amplifier with a small-signal gain from fibre to fibre in dB, and a rated output in W.

        The gain medium gives at most P_sat ln G_0.
        """
        losses = cls.parameters["loss_in_db"].default + cls.parameters["loss_out_db"].default
        most = output / from_db(-cls.parameters["loss_out_db"].default)
        saturation = most / math.log(from_db(gain_db + losses))
        return {"gain_db": gain_db + losses, "saturation": saturation}

    def pumped_by(
        self, share: Callable[[float], float], held: Callable[[float], float | None] = lambda t: None
    ) -> None:
        """Couple to an instrument.

        Parameters
        ----------
        share:
            Share of full pump above threshold, 0 to 1, as a function of time in s.
        held:
            Output power in W that the instrument holds as far as that pump reaches; None where it holds the pump.
        """
        self._share, self._held = share, held
        self.world.changed()

    def _glance(self, node: int, version: int) -> float:
        """Input power behind the input loss at a node of the slow raster, in W."""
        grid = self.world.grid(node * self["tau"] / _NODES, _GLANCE)
        field = self.field("input", grid.widened(_GLANCE, -_GLANCE))
        return field.flux * photon_energy(field.wavelength) * from_db(-self["loss_in_db"])

    def _gain_at_node(self, node: int) -> float:
        t = node * self["tau"] / _NODES
        share = min(max(self._share(t), 0.0), 1.0)
        if share == 0.0:
            return from_db(-self["absorption_db"])
        weights = np.exp(-np.arange(_NODES * _MEMORY) / _NODES)
        powers = [self._power(node - back, self.world.version) for back in range(weights.size)]
        power = float(np.dot(weights, powers) / weights.sum())
        gain = saturated_gain(from_db(self["gain_db"] * share), power / (self["saturation"] * share))
        held = self._held(t)
        if held is None:
            return gain
        return min(gain, held / max(power * from_db(-self["loss_out_db"]), 1e-30))

    def gain(self, instants: Real) -> Real:
        """Power gain between the passive losses at rising instants."""
        position = instants * (_NODES / self["tau"]) - 1.0
        first, last = math.floor(position[0]), math.floor(position[-1]) + 1
        nodes = range(first, last + 1)
        gain: Real = np.interp(position, nodes, [self._gain_at_node(node) for node in nodes])
        for strike in self.strikes("surge_db"):
            since = instants - max(strike.start, 0.0)
            lasting = (since >= 0.0) & (instants < strike.stop)
            surge = strike.value * np.exp(-np.maximum(since, 0.0) / self["tau"]) * lasting
            gain = gain * 10.0 ** (surge / 10.0)
        return gain

    def light(self, port: str, grid: Grid) -> Field:
        """Amplified light and the amplifier's own."""
        gain = self.gain(grid.instants)
        field = self.field("input", grid).scaled(transmission(self["loss_in_db"]) * np.sqrt(gain))
        normals = self._noise.at(grid.first, grid.count)
        width = np.sqrt(self["n_sp"] * np.maximum(gain - 1.0, 0.0) / (2.0 * grid.step))
        envelope = field.envelope + width * (normals[0] + 1j * normals[1])
        return Field(transmission(self["loss_out_db"]) * envelope, field.jones, field.wavelength)


PARTS = (Laser, Edfa)
