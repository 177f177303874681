"""Electro-optic modulators: what voltages make of light that passes."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl_sim.world.fields import Field, Grid
from labqdl_sim.world.held import gradual, low_passed
from labqdl_sim.world.noise import Drift
from labqdl_sim.world.part import Parameter, Part
from labqdl_sim.world.passive import transmission

Real = NDArray[np.float64]
_BANDWIDTH = Parameter("Electric bandwidth in Hz, one pole; 0 for none", 0.0, low=0.0)


class IqModulator(Part):
    """Two Mach-Zehnder modulators in the arms of a third one.

    E_out = E_in sqrt(T)/2 [(1 + g/2) f(theta_I) + e^(i phi_P) (1 - g/2) f(theta_Q)], theta = pi V/(2 V_pi) + phi,
    phi = phase + pi V_bias/v_pi_bias + drift; f(theta) = sin theta - i e cos theta, where e^2 is the power extinction
    of a child modulator: what it leaves of its maximum at best.
    """

    kind = "iq-modulator"
    light_inputs = ("input",)
    light_outputs = ("output",)
    volt_inputs = ("i", "q", "bias_i", "bias_q", "bias_p")
    parameters: ClassVar = {
        "v_pi_i": Parameter("Half-wave voltage of the I modulator in V", 3.5, spread=0.1, low=0.1),
        "v_pi_q": Parameter("Half-wave voltage of the Q modulator in V", 3.5, spread=0.1, low=0.1),
        "v_pi_bias": Parameter("Half-wave voltage of the bias electrodes in V", 5.0, spread=0.2, low=0.1),
        "phase_i": Parameter("Phase of the I modulator at zero bias in rad", 0.0, spread=1.0),
        "phase_q": Parameter("Phase of the Q modulator at zero bias in rad", 0.0, spread=1.0),
        "phase_p": Parameter("Phase between the arms at zero bias in rad", 0.0, spread=1.0),
        "drift": Parameter("Slow wander of each of the three phases, rad rms", 0.0, low=0.0),
        "drift_time": Parameter("Correlation time of the wander in s", 300.0, low=1e-6),
        "extinction_db": Parameter("Power extinction of the child modulators in dB", 30.0, spread=1.0, low=1.0),
        "imbalance": Parameter("(amplitude of I - of Q) over their mean", 0.0, spread=0.01, low=-1.0, high=1.0),
        "bandwidth": _BANDWIDTH,
        "loss_db": Parameter("Loss at full transmission in dB", 6.0, spread=0.3, low=0.0),
    }
    faults: ClassVar = {"bias_jump": "all three phases jump by so many rad", "blocked": "no light passes"}

    def setup(self) -> None:
        """Three slow phases."""
        self._drifts = {
            arm: Drift(self.world.root, f"drift {self.name} {arm}", self["drift_time"]) for arm in ("i", "q", "p")
        }

    def phase(self, arm: str, grid: Grid) -> Real:
        """Bias phase of arm i, q or p in rad; (count,)."""
        instants = grid.instants
        phase: Real = self[f"phase_{arm}"] + (math.pi / self["v_pi_bias"]) * self.drive(f"bias_{arm}", instants)
        if self["drift"] > 0.0:
            phase = phase + self["drift"] * gradual(self._drifts[arm].at, grid, self["drift_time"])
        if self.strikes("bias_jump"):
            phase = phase + self.struck_at("bias_jump", instants)
        return phase

    def _child(self, arm: str, grid: Grid) -> NDArray[np.complex128]:
        volts = low_passed(lambda when: self.drive(arm, when), grid, self["bandwidth"])
        theta = (math.pi / (2.0 * self[f"v_pi_{arm}"])) * volts + self.phase(arm, grid)
        leak = 10.0 ** (-self["extinction_db"] / 20.0)
        passed = np.empty(theta.shape, np.complex128)
        passed.real = np.sin(theta)
        passed.imag = -leak * np.cos(theta)
        return passed

    def transfer(self, grid: Grid) -> NDArray[np.complex128]:
        """E_out/E_in."""
        half = self["imbalance"] / 2.0
        outer = self.phase("p", grid)
        # A bias stands still for most of a pull: one exponential is enough then.
        turn = np.exp(1j * (outer[:1] if np.ptp(outer) == 0.0 else outer))
        arms = (1.0 + half) * self._child("i", grid)
        arms += (1.0 - half) * turn * self._child("q", grid)
        arms *= transmission(self["loss_db"]) / 2.0
        if self.strikes("blocked"):
            arms[self.struck_at("blocked", grid.instants) > 0.0] = 0.0
        return arms

    def light(self, port: str, grid: Grid) -> Field:
        """The input times the transfer."""
        return self.field("input", grid).scaled(self.transfer(grid))


class PhaseModulator(Part):
    """E_out = E_in sqrt(T) e^(i pi V/V_pi)."""

    kind = "phase-modulator"
    light_inputs = ("input",)
    light_outputs = ("output",)
    volt_inputs = ("drive",)
    parameters: ClassVar = {
        "v_pi": Parameter("Half-wave voltage in V", 3.5, spread=0.1, low=0.1),
        "bandwidth": _BANDWIDTH,
        "loss_db": Parameter("Loss in dB", 3.0, spread=0.2, low=0.0),
    }

    def light(self, port: str, grid: Grid) -> Field:
        """The input with its phase shifted."""
        volts = low_passed(lambda when: self.drive("drive", when), grid, self["bandwidth"])
        shift = np.exp((1j * math.pi / self["v_pi"]) * volts)
        return self.field("input", grid).scaled(transmission(self["loss_db"]) * shift)


PARTS = (IqModulator, PhaseModulator)
