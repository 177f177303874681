"""Modulators against the interference of their arms, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labqdl_sim.world.modulators import IqModulator
from tests.sim.world.parts import Complex, Real, constant, deviates, empty, exact, lamp, pulled

STRICT = 5.0
GIVEN = {
    "v_pi_i": 3.2, "v_pi_q": 3.7, "v_pi_bias": 5.5, "phase_i": 0.3, "phase_q": -0.7, "phase_p": 1.1,
    "extinction_db": 24.0, "imbalance": 0.08, "loss_db": 5.0,
}  # fmt: skip


def arm(theta: Real, extinction_db: float) -> Complex:
    """A push-pull Mach-Zehnder modulator: the two arms have opposite phases, and not quite the same amplitude."""
    uneven = 10.0 ** (-extinction_db / 20.0)
    upper, lower = (1.0 + uneven) / 2.0 * np.exp(1j * theta), (1.0 - uneven) / 2.0 * np.exp(-1j * theta)
    result: Complex = -1j * (upper - lower)
    return result


def test_transfer_is_the_interference_of_four_arms() -> None:
    world = empty()
    lamp(world, 3.0 - 4.0j)
    modulator = exact(world, "iq-modulator", **GIVEN)
    world.link("lamp", "iq-modulator")
    drives = {"bias_i": 1.5, "bias_q": -2.0, "bias_p": 0.4}
    for port, volts in drives.items():
        modulator.connect_volts(port, constant(volts))
    count = 400
    i = 2.0 * np.sin(2e6 * np.pi * np.arange(count) / 125e6)
    q = 1.5 * np.cos(7e6 * np.pi * np.arange(count) / 125e6)
    modulator.connect_volts("i", lambda t: i[np.rint(t * 125e6).astype(int)])
    modulator.connect_volts("q", lambda t: q[np.rint(t * 125e6).astype(int)])
    in_i = arm(np.pi * i / (2 * 3.2) + 0.3 + np.pi * 1.5 / 5.5, 24.0)
    in_q = arm(np.pi * q / (2 * 3.7) - 0.7 - np.pi * 2.0 / 5.5, 24.0)
    outer = 1.1 + np.pi * 0.4 / 5.5
    expected = (3.0 - 4.0j) * 10 ** (-0.25) * (1.04 * in_i + 0.96 * np.exp(1j * outer) * in_q) / 2.0
    np.testing.assert_allclose(pulled(world, "iq-modulator", count=count).envelope, expected, rtol=1e-12, atol=1e-12)


def swept(world_given: dict[str, float], port: str, volts: Real) -> Real:
    """Power transmission while one voltage is swept."""
    world = empty()
    lamp(world)
    modulator = exact(world, "iq-modulator", **world_given)
    world.link("lamp", "iq-modulator")
    modulator.connect_volts(port, lambda t: volts[np.rint(t * 125e6).astype(int)])
    result: Real = np.abs(pulled(world, "iq-modulator", count=volts.size).envelope) ** 2
    return result


def test_null_and_maximum_of_a_child_are_apart_by_the_extinction_and_v_pi() -> None:
    volts = np.linspace(-5.0, 5.0, 10_001)
    # The other arm at its null, so that it hardly adds.
    given = {"phase_i": 0.0, "phase_q": 0.0, "imbalance": 0.0, "v_pi_i": 3.2, "extinction_db": 30.0, "loss_db": 0.0}
    power = swept({**given, "phase_p": math.pi / 2}, "i", volts)
    assert power.max() == pytest.approx(0.25, rel=0.07)
    null, peaks = volts[np.argmin(power)], volts[np.argmax(power)]
    assert abs(abs(peaks - null) - 3.2) < 0.15
    alone = swept({**given, "imbalance": 0.0, "extinction_db": 300.0}, "i", volts)
    assert alone.min() < 1e-20
    assert alone.max() == pytest.approx(0.25)


def test_all_light_passes_when_both_children_and_the_arms_agree() -> None:
    world = empty()
    lamp(world)
    given = {"phase_i": math.pi / 2, "phase_q": math.pi / 2, "phase_p": 0.0, "imbalance": 0.0, "loss_db": 6.0}
    exact(world, "iq-modulator", **given)
    world.link("lamp", "iq-modulator")
    assert pulled(world, "iq-modulator").flux == pytest.approx(10**-0.6, rel=1e-12)


def test_bandwidth_is_one_pole() -> None:
    """A small sine at several frequencies: amplitude and phase of the discrete pole, near the analogue one."""
    world = empty()
    modulator = exact(world, "phase-modulator", bandwidth=5e6, v_pi=4.0, loss_db=0.0)
    lamp(world)
    world.link("lamp", "phase-modulator")
    for frequency in (0.5e6, 5e6, 20e6):
        modulator.connect_volts("drive", lambda t, f=frequency: 0.1 * np.sin(2 * np.pi * f * t))
        field = pulled(world, "phase-modulator", start=0.3, count=1000)
        volts = np.angle(field.envelope) * 4.0 / np.pi
        instants = 0.3 + world.step * np.arange(1000)
        measured = 2 * np.mean(volts * np.exp(-2j * np.pi * frequency * instants)) / (-0.1j)
        pole = math.exp(-2 * math.pi * 5e6 * world.step)
        expected = (1 - pole) / (1 - pole * np.exp(-2j * np.pi * frequency * world.step))
        assert abs(measured - expected) < 1e-4
        assert abs(abs(expected) - 1 / math.hypot(1, frequency / 5e6)) < 0.05


def test_filtered_drive_does_not_depend_on_where_a_pull_begins() -> None:
    world = empty()
    modulator = exact(world, "phase-modulator", bandwidth=2e6)
    lamp(world)
    world.link("lamp", "phase-modulator")
    modulator.connect_volts("drive", lambda t: np.where(np.floor(t * 3e6) % 2 > 0, 2.0, -1.0))
    whole = pulled(world, "phase-modulator", start=0.1, count=400).envelope
    for begin in (1, 130, 399):
        piece = pulled(world, "phase-modulator", start=0.1 + begin * world.step, count=1).envelope
        np.testing.assert_allclose(piece, whole[begin : begin + 1], rtol=1e-12)


def test_phase_modulator_turns_by_pi_at_v_pi() -> None:
    world = empty()
    lamp(world, 2.0)
    modulator = exact(world, "phase-modulator", v_pi=3.3, loss_db=3.0)
    world.link("lamp", "phase-modulator")
    modulator.connect_volts("drive", constant(1.65))
    np.testing.assert_allclose(pulled(world, "phase-modulator").envelope, 2j * 10**-0.15, rtol=1e-12)


def test_biases_wander_with_their_width_and_time() -> None:
    """Looked at on a slow raster of a world of its own: 10,000 s apart is 100 correlation times."""
    world = empty(rate=0.1)
    modulator: IqModulator = exact(world, "iq-modulator", drift=0.05, drift_time=1000.0, phase_i=0.4)
    # 10 correlation times apart, points are independent to exp(-10); on the nodes of its raster a line loses nothing.
    phase = modulator.phase("i", world.grid(0.0, 2_000_000)) - 0.4
    apart = phase[::1000]
    assert deviates(float(np.mean(apart**2)), 0.05**2, math.sqrt(2.0 / apart.size)) < STRICT
    other = modulator.phase("q", world.grid(0.0, 2_000_000))[::1000]
    assert abs(np.mean(apart * other)) < STRICT * 0.05**2 / math.sqrt(apart.size)
    steps = float(np.mean((phase[100::1000] - apart) ** 2))
    assert deviates(steps, 2 * 0.05**2 * (1 - math.exp(-1)), math.sqrt(2.0 / apart.size)) < STRICT


def test_slow_processes_by_straight_lines_are_what_they_are_at_every_point() -> None:
    world = empty()
    slow, fast = (exact(world, "iq-modulator", str(time), drift=0.5, drift_time=time) for time in (0.5, 0.01))
    for modulator in (slow, fast):
        grid = world.grid(0.3, 200_000)
        drawn = 0.5 * modulator._drifts["i"].at(grid.instants)
        assert np.ptp(drawn) > 1e-3
        np.testing.assert_allclose(modulator.phase("i", grid), drawn, atol=1e-4)
        piece = modulator.phase("i", world.grid(0.3 + 3777 * world.step, 100))
        np.testing.assert_allclose(piece, modulator.phase("i", grid)[3777:3877], rtol=1e-12)


def test_a_bias_jump_is_a_bias_jump() -> None:
    world = empty()
    lamp(world)
    modulator: IqModulator = exact(world, "iq-modulator", phase_i=0.2)
    modulator.strike("bias_jump", 0.5, start=8 * world.step)
    np.testing.assert_allclose(modulator.phase("i", world.grid(0.0, 16)), [0.2] * 8 + [0.7] * 8)
