"""The modulator's model against the world's modulator, and the pulls of its fit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labqdl.rng import Roots
from labqdl.subsystems.modulator_map import ModulatorMap
from labqdl_calibration import fits, iq
from labqdl_sim.world import World
from labqdl_sim.world.modulators import IqModulator

SHEET = {"v_pi_i": 3.5, "v_pi_q": 3.5, "v_pi_bias": 5.0, "extinction_db": 30.0}


def modulator(seed: int) -> IqModulator:
    return World(Roots.from_seed(seed).world).add(IqModulator, "iq", {"loss_db": 0.0}, {"loss_db": 0.0})


def true_parameters(part: IqModulator) -> np.ndarray:
    bias = [part["v_pi_bias"]] * 3
    leak = 10 ** (-part["extinction_db"] / 20)
    phases = [part["phase_i"], part["phase_q"], part["phase_p"]]
    return np.array([1.0, 0.0, part["imbalance"], leak, *phases, *bias, part["v_pi_i"], part["v_pi_q"]])


def field(part: IqModulator, row: np.ndarray) -> complex:
    for port, volts in zip(("bias_i", "bias_q", "bias_p", "i", "q"), row, strict=True):
        part.connect_volts(port, lambda t, volts=volts: np.full(t.shape, volts))  # type: ignore[misc]
    return complex(part.transfer(part.world.grid(0.0, 1))[0])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_model_is_the_worlds_and_its_working_point_is_dark_and_square(seed: int) -> None:
    part, random = modulator(seed), np.random.default_rng(seed)
    rows = random.uniform(-5, 5, (20, 5))
    p = true_parameters(part)
    seen = np.array([abs(field(part, row)) ** 2 for row in rows])
    assert np.allclose(iq.power(p, iq.Settings.of(rows)), seen, atol=1e-12)
    exact = fits.Fit(iq.KEYS, p, np.zeros((12, 12)), seen, seen, 1)
    point = iq.working_point(exact, dict.fromkeys("iqp", (-10.0, 10.0)))
    assert point is not None
    dark = field(part, np.array([*point.values, 0, 0]))
    along = (field(part, np.array([*point.values, 1e-4, 0])) - dark) / (1e-4 / part["v_pi_i"])
    across = (field(part, np.array([*point.values, 0, 1e-4])) - dark) / (1e-4 / part["v_pi_q"])
    assert abs(dark) < 1e-9
    assert np.angle(across / along) == pytest.approx(math.pi / 2, abs=1e-4)
    ratio = (1 - part["imbalance"] / 2) / (1 + part["imbalance"] / 2)
    assert abs(across / along) == pytest.approx(ratio, abs=1e-4)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_transmitters_map_takes_off_what_the_children_leak(seed: int) -> None:
    part = modulator(seed)
    exact = fits.Fit(iq.KEYS, true_parameters(part), np.zeros((12, 12)), np.zeros(1), np.zeros(1), 1)
    point = iq.working_point(exact, dict.fromkeys("iqp", (-10.0, 10.0)))
    assert point is not None
    left = iq.remainder(exact, point.values).values
    wanted = np.linspace(0.2, 1, 8) * np.exp(2j * np.pi * np.arange(8) / 8)
    errors = []
    for leak in (0.0, 10 ** (-part["extinction_db"] / 20)):
        found = ModulatorMap(part["v_pi_i"], part["v_pi_q"], part["imbalance"], float(left[2]), 1.8, leak)
        amplitudes = found.reach() * wanted
        i, q = found.voltages(amplitudes)
        assert np.allclose(found.relative(i, q), amplitudes, atol=1e-8)
        seen = np.array(
            [field(part, np.array([*point.values, left[0] + x, left[1] + y])) for x, y in zip(i, q, strict=True)]
        )
        full = abs(field(part, np.array([*point.values, left[0] + 1.8, left[1]])))
        scale = np.vdot(amplitudes, seen) / np.vdot(amplitudes, amplitudes)
        errors.append(float(np.linalg.norm(seen / scale - amplitudes) / np.linalg.norm(amplitudes)))
    assert abs(scale) == pytest.approx(full, rel=1e-4)  # a full-scale bin is I at the peak
    assert errors[0] > 5e-3
    assert errors[1] < 5e-5


def test_pulls_of_the_fit() -> None:
    """12 modulators with phases anywhere: 9 parameters each, mean and width of all pulls within 5.2 deviations."""
    pulls = []
    for seed in range(12):
        part, random = modulator(100 + seed), np.random.default_rng(seed)
        scan = np.linspace(-8, 8, 33)
        rows = np.zeros((4 * scan.size + 60, 5))
        for arm in range(5):
            rows[arm * scan.size : (arm + 1) * scan.size, arm] = scan if arm < 3 else 0
        rows[-93:, :3] = random.uniform(-8, 8, (93, 3))
        rows[-60:-30, 3] = np.linspace(-1, 1, 30)
        rows[-30:, 4] = np.linspace(-1, 1, 30)
        seen = np.array([abs(field(part, row)) ** 2 for row in rows]) * 2e-5
        deviation = np.hypot(3e-9, 2e-4 * seen)
        seen = seen + deviation * random.standard_normal(seen.size) + 1e-8
        phases = tuple(iq.null_of(scan, seen[arm * 33 : arm * 33 + 33], 5.0)[0] for arm in (0, 1))
        found = iq.fit(rows, seen, deviation, SHEET, (phases[0], phases[1]))
        truth = dict(zip(iq.KEYS, true_parameters(part), strict=True)) | {"power": 2e-5, "zero": 1e-8}
        assert found.probability > 1e-6
        for key in iq.KEYS:
            miss = found[key] - truth[key]
            if key.startswith("phase"):
                miss = float(fits.wrapped(2 * miss)) / 2
            pulls.append(miss / found.deviation(key))
    assert abs(np.mean(pulls)) < 5.2 / math.sqrt(len(pulls) / 2)  # phases and their voltages go together
    assert abs(np.std(pulls) - 1) < 5.2 / math.sqrt(len(pulls))


def test_a_wrong_model_is_seen() -> None:
    part, random = modulator(7), np.random.default_rng(7)
    rows = random.uniform(-5, 5, (150, 5))
    seen = np.array([abs(field(part, row)) ** 2 for row in rows])
    found = iq.fit(rows, seen * (1 + 0.05 * np.sin(np.arange(150))), 1e-3 + 0 * seen, SHEET, (part["phase_i"], 0.0))
    assert found.probability < 1e-6
