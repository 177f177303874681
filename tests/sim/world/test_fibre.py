"""Fibre: loss, delay, slow phase and polarisation, what comes back, what breaks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labqdl_sim.world import World
from labqdl_sim.world.fibre import Fibre
from tests.sim.world.parts import constant, deviates, empty, exact, lamp, pulled

STRICT = 5.0


def test_loss_and_delay() -> None:
    """11.25 km at 1.468: 55.088 us later, and sharp to a small part of a raster step."""
    world = empty()
    lamp(world, lambda t: np.exp(2j * np.pi * 1e5 * t))
    fibre: Fibre = exact(world, "fibre", length=11_250.0, loss_db=2.0, phase=0.4)
    world.link("lamp", "fibre")
    assert fibre.delay == pytest.approx(55.0881e-6, rel=1e-5)
    field = pulled(world, "fibre", start=1e-3)
    instants = 1e-3 + world.step * np.arange(16)
    late = np.exp(2j * np.pi * 1e5 * (instants - 11_250.0 * 1.468 / 299_792_458.0) + 0.4j)
    np.testing.assert_allclose(field.envelope, 10**-0.1 * late, atol=1e-8)


def test_a_voltage_upstream_counts_at_the_time_the_light_passed_it() -> None:
    world = empty()
    lamp(world)
    modulator = exact(world, "phase-modulator", v_pi=1.0, loss_db=0.0)
    exact(world, "fibre", phase=0.0, delay=1e-6, length=0.0)
    world.link("lamp", "phase-modulator")
    world.link("phase-modulator", "fibre")
    modulator.connect_volts("drive", lambda t: np.where(t >= 2e-6, 1.0, 0.0))
    field = pulled(world, "fibre", start=2.96e-6, count=10)
    np.testing.assert_allclose(field.envelope, [1] * 5 + [-1] * 5, atol=1e-12)


@pytest.mark.parametrize("lag", [1.0, 5.0, 50.0])
def test_phase_drift_over_a_time(lag: float) -> None:
    """E (phi(t + s) - phi(t))^2 = 2 sigma^2 (1 - e^(-s/tau)), sigma = 0.3 rad, tau = 10 s."""
    fibre: Fibre = exact(empty(), "fibre", phase=0.0, phase_drift=0.3, drift_time=10.0)
    instants = np.arange(10_000, dtype=np.float64) * 150.0
    before, after = fibre._phase.at(instants), fibre._phase.at(instants + lag)
    expected = 2 * 0.3**2 * (1 - math.exp(-lag / 10.0))
    assert deviates(0.3**2 * float(np.mean((after - before) ** 2)), expected, math.sqrt(2.0 / 10_000)) < STRICT


def test_phase_drift_turns_the_light() -> None:
    world = empty()
    lamp(world)
    fibre: Fibre = exact(world, "fibre", phase=0.2, phase_drift=0.3, drift_time=1e-5)
    world.link("lamp", "fibre")
    field = pulled(world, "fibre", start=0.5, count=2000)
    expected = 0.2 + 0.3 * fibre._phase.at(world.grid(0.5, 2000).instants)
    np.testing.assert_allclose(np.angle(field.envelope), expected, atol=1e-12)
    assert np.ptp(expected) > 0.3


def test_polarisation_drifts_without_loss() -> None:
    world = empty()
    lamp(world)
    fibre: Fibre = exact(
        world, "fibre", birefringence_x=0.7, birefringence_z=-0.4, polarisation_drift=0.2, drift_time=1.0
    )
    world.link("lamp", "fibre")
    early, late = fibre.jones(1.0), fibre.jones(4.0)
    assert early is not None
    assert late is not None
    np.testing.assert_allclose(early @ early.conj().T, np.eye(2), atol=1e-14)
    assert np.abs(late - early).max() > 0.02
    field = pulled(world, "fibre", start=1.0)
    np.testing.assert_allclose(field.jones, early[:, 0])
    assert field.flux == pytest.approx(1.0)


def test_polarisation_drift_has_its_width() -> None:
    """On Poincare's sphere a small drift moves x by (turn_y^2 + turn_z...)^(1/2): mean overlap loss is sigma^2/2."""
    fibre: Fibre = exact(empty(), "fibre", polarisation_drift=0.05, drift_time=1.0)
    crossed = []
    for t in 20.0 * np.arange(1, 1501):
        matrix = fibre.jones(float(t))
        assert matrix is not None
        crossed.append(abs(matrix[1, 0]) ** 2)
    # |<y|U x>|^2 = (turn_x^2 + turn_y^2)/4 to first order: a chi^2 of two degrees of freedom, mean sigma^2/2.
    assert deviates(float(np.mean(crossed)), 0.05**2 / 2, 1.0 / math.sqrt(1500)) < STRICT + 0.1


def test_scattered_light_comes_back_with_its_mean_power() -> None:
    """Over 400 fibres; each power is an average over two quadratures and 16 places: an exponential."""
    powers = []
    for seed in range(400):
        world = empty(seed)
        lamp(world)
        exact(world, "fibre", backscatter_db=20.0, length=0.0)
        world.link("lamp", "fibre")
        powers.append(pulled(world, "fibre", "back", count=1).flux)
    assert deviates(float(np.mean(powers)), 0.01, 1.0 / math.sqrt(400)) < STRICT


def test_scattered_light_comes_from_all_along_the_fibre() -> None:
    world = empty()
    lamp(world, lambda t: np.where((t >= 0) & (t < 8e-9), 1.0, 0.0).astype(np.complex128))
    exact(world, "fibre", length=0.0, delay=1e-6, backscatter_db=0.0)
    world.link("lamp", "fibre")
    echo = np.abs(pulled(world, "fibre", "back", count=300).envelope) > 0
    assert echo[:250].sum() == 16
    assert not np.any(echo[251:])


def test_a_break_and_what_else_can_happen() -> None:
    world = empty()
    lamp(world)
    fibre: Fibre = exact(world, "fibre", phase=0.0)
    world.link("lamp", "fibre")
    fibre.strike("broken", start=8 * world.step)
    np.testing.assert_allclose(np.abs(pulled(world, "fibre").envelope), [1.0] * 8 + [0.0] * 8)
    fibre.mend("broken")
    fibre.strike("phase_jump", 0.5)
    fibre.strike("polarisation_jump", math.pi)
    field = pulled(world, "fibre")
    np.testing.assert_allclose(field.envelope, np.exp(0.5j), atol=1e-12)
    np.testing.assert_allclose(np.abs(field.jones), [0.0, 1.0], atol=1e-12)
    fibre.mend()
    np.testing.assert_allclose(pulled(world, "fibre").jones, [1.0, 0.0])


def test_an_unplugged_fibre_is_dark() -> None:
    world = empty()
    exact(world, "laser")
    fibre = exact(world, "fibre")
    world.link("laser", "fibre")
    assert pulled(world, "fibre").flux > 0
    fibre.connect_light("input", None)
    assert pulled(world, "fibre").flux == 0.0


def test_order_and_size_of_pulls_change_nothing() -> None:
    """Laser, modulator, fibre, amplifier: the same questions in another order, to the bit; pieces, to rounding."""

    def chain() -> list[tuple[float, int]]:
        world = empty(7)
        exact(world, "laser", rin=1e-12, linewidth=1e4)
        modulator = exact(world, "iq-modulator", bandwidth=20e6, drift=0.1, drift_time=1e-3)
        exact(world, "fibre", phase_drift=1.0, drift_time=1e-3, polarisation_drift=0.3)
        exact(world, "edfa", tau=1e-4)
        world.link("laser", "iq-modulator")
        world.link("iq-modulator", "fibre")
        world.link("fibre", "edfa")
        modulator.connect_volts("i", lambda t: np.sin(2e7 * t))
        modulator.connect_volts("bias_q", constant(1.0))
        worlds.append(world)
        return [(0.01, 3000), (0.02, 100), (0.01 + 1000 * world.step, 50)]

    worlds: list[World] = []
    questions = chain()
    chain()
    first = [pulled(worlds[0], "edfa", start=start, count=count) for start, count in questions]
    second = [pulled(worlds[1], "edfa", start=start, count=count) for start, count in reversed(questions)]
    for one, other in zip(first, reversed(second), strict=True):
        np.testing.assert_array_equal(one.envelope, other.envelope)
        np.testing.assert_array_equal(one.jones, other.jones)
    np.testing.assert_allclose(first[2].envelope, first[0].envelope[1000:1050], rtol=1e-6)
