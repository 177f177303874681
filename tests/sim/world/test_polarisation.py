"""Malus, wave plates, and what paddles can do."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import minimize

from labqdl.clock import ManualClock
from labqdl_sim.bench import Bench
from labqdl_sim.twins.thorlabs_mpc320 import ThorlabsMpc320
from labqdl_sim.world.polarisation import PolarisationController, rotation
from tests.sim.world.parts import Complex, Real, empty, exact, lamp, pulled


def constantly(*angles: float) -> Callable[[float], Real]:
    """Paddles that stand still."""
    return lambda t: np.array(angles)


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4, 1.4, math.pi / 2])
def test_malus(angle: float) -> None:
    world = empty()
    lamp(world, 2.0, np.array([math.cos(angle), math.sin(angle)], np.complex128))
    exact(world, "pbs", loss_db=0.5, extinction_db=20.0)
    world.link("lamp", "pbs")
    kept = 4.0 * 10**-0.05
    cos2, sin2 = math.cos(angle) ** 2, math.sin(angle) ** 2
    assert pulled(world, "pbs", "main").flux == pytest.approx(kept * (cos2 + 0.01 * sin2), rel=1e-12)
    assert pulled(world, "pbs", "cross").flux == pytest.approx(kept * (sin2 + 0.01 * cos2), rel=1e-12)


def test_what_a_beam_splitter_passes_carries_its_phase_in_the_envelope() -> None:
    world = empty()
    lamp(world, 1.0, np.array([0.6 * np.exp(0.4j), 0.8 * np.exp(-1.1j)]))
    exact(world, "pbs", loss_db=0.0, extinction_db=300.0)
    world.link("lamp", "pbs")
    main, cross = pulled(world, "pbs", "main"), pulled(world, "pbs", "cross")
    np.testing.assert_allclose(main.envelope, 0.6 * np.exp(0.4j), rtol=1e-12)
    np.testing.assert_allclose(cross.envelope, 0.8 * np.exp(-1.1j), rtol=1e-12)
    np.testing.assert_allclose(main.jones, [1.0, 0.0], atol=1e-14)
    np.testing.assert_allclose(cross.jones, [0.0, 1.0], atol=1e-14)


def test_rotations_are_exponentials() -> None:
    sigma = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    for turns in np.random.default_rng(3).standard_normal((5, 3)):
        np.testing.assert_allclose(rotation(turns), expm(-0.5j * np.tensordot(turns, sigma, 1)), atol=1e-13)
    np.testing.assert_array_equal(rotation(np.zeros(3)), np.eye(2))


def test_a_half_wave_plate_turns_linear_light_by_twice_its_angle() -> None:
    world = empty()
    lamp(world)
    controller: PolarisationController = exact(world, "polarisation-controller", retardance_1=0.0, retardance_3=0.0)
    exact(world, "pbs", loss_db=0.0, extinction_db=300.0)
    world.link("lamp", "polarisation-controller")
    world.link("polarisation-controller", "pbs")
    for angle in (0.0, 0.2, 0.5):
        controller.turned_by(constantly(0.0, angle, 0.0))
        world.changed()
        expected = 10**-0.01 * math.cos(2 * angle) ** 2
        assert pulled(world, "pbs", "main").flux == pytest.approx(expected, rel=1e-12)


def test_ideal_paddles_do_what_the_instrument_says(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(clock=ManualClock())
    twin = bench.add("thorlabs-mpc320", "paddles")
    controller: PolarisationController = exact(empty(), "polarisation-controller")
    assert isinstance(twin, ThorlabsMpc320)
    monkeypatch.setattr(twin, "angles", constantly(0.3, 1.2, 2.5))
    controller.turned_by(twin.angles)
    np.testing.assert_allclose(np.abs(controller.jones(0.0) - twin.jones(0.0)), 0.0, atol=1e-14)


def test_imperfect_paddles_still_reach_every_state() -> None:
    controller = empty(4).add(PolarisationController, "paddles")
    generator = np.random.default_rng(8)
    for _ in range(4):
        drawn = generator.standard_normal(2) + 1j * generator.standard_normal(2)
        state: Complex = drawn / np.linalg.norm(drawn)

        def missed(angles: np.ndarray, state: Complex = state) -> float:
            controller.turned_by(lambda t: angles)
            return float(abs((controller.jones(0.0) @ state)[1]) ** 2)

        best = min(minimize(missed, start, method="Nelder-Mead").fun for start in generator.uniform(0, 3, (4, 3)))
        assert best < 1e-4
