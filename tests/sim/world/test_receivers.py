"""Receivers and cables of the world: shot noise where vacuum meets a diode, and what electronics make of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from labqdl.rng import Roots
from labqdl.units import photon_energy
from labqdl_sim.world import Field, Grid, World
from labqdl_sim.world.receivers import ELECTRON, Cable, CounterDetector, Homodyne, Hybrid, LowPass, interpolated

RATE = 125e6
ETA, VISIBILITY, Z, NOISE = 0.85, 0.97, 1e4, 3e-12
QUIET = {"noise": 0.0, "cmrr_db": 300.0, "bandwidth": 0.0, "saturation": 1.0, "swing": 1e3}
FLUX = 1e-3 / photon_energy(1550e-9)


def steady(amplitude: complex, jones: tuple[complex, complex] = (1.0, 0.0)) -> Any:
    """Constant light of so many square roots of photons/s."""
    return lambda grid: Field(np.full(grid.count, amplitude, np.complex128), np.array(jones, np.complex128))


def receiver(kind: Any = Homodyne, signal: Any = None, lo: Any = None, seed: int = 1, **given: float) -> Any:
    world = World(Roots.from_seed(seed).world, RATE)
    figures = {"efficiency": ETA, "visibility": VISIBILITY, "transimpedance": Z, **QUIET, **given}
    part = world.add(kind, "bhd", figures, dict.fromkeys(("angle", "imbalance"), 0.0) if kind is Hybrid else None)
    if signal is not None:
        part.connect_light("signal", signal)
    part.connect_light("lo", steady(math.sqrt(FLUX)) if lo is None else lo)
    return part


def raster(count: int, start: float = 0.0) -> Any:
    return start + np.arange(count) / RATE


def test_vacuum_has_the_noise_of_the_oscillators_photons() -> None:
    count = 200_000
    volts = receiver().volts("output", raster(count))
    expected = (Z * ELECTRON) ** 2 * ETA * FLUX * RATE
    # 6 standard errors: false alarms below 2e-9; 5 % of planted error would be 16 of them
    assert volts.var() == pytest.approx(expected, rel=6 * math.sqrt(2 / count))
    half = receiver(lo=steady(math.sqrt(FLUX / 2))).volts("output", raster(count))
    assert half.var() == pytest.approx(expected / 2, rel=6 * math.sqrt(2 / count))
    assert abs(np.corrcoef(volts[:-1], volts[1:])[0, 1]) < 6 / math.sqrt(count)


def test_noise_without_light_is_the_amplifiers() -> None:
    count = 100_000
    volts = receiver(lo=steady(0.0), noise=NOISE).volts("output", raster(count))
    assert volts.var() == pytest.approx((Z * NOISE) ** 2 * RATE / 2, rel=6 * math.sqrt(2 / count))


@pytest.mark.parametrize("phase", [0.0, 0.7, math.pi / 2])
def test_mean_of_a_bin_in_shot_noise_units(phase: float) -> None:
    bins, points = 4000, 15
    alpha = 2.0
    amplitude = alpha / math.sqrt(points / RATE)
    part = receiver(signal=steady(amplitude), lo=steady(math.sqrt(FLUX) * np.exp(1j * phase)))
    volts = part.volts("output", raster(bins * points)).reshape(bins, points)
    unit = Z * ELECTRON * math.sqrt(ETA * FLUX * RATE)
    quadratures = volts.sum(axis=1) / math.sqrt(points) / unit
    expected = 2 * math.sqrt(ETA) * VISIBILITY * alpha * math.cos(phase)
    assert quadratures.mean() == pytest.approx(expected, abs=6 / math.sqrt(bins))
    assert quadratures.var() == pytest.approx(1.0, rel=6 * math.sqrt(2 / bins))


def test_other_polarisation_does_not_interfere() -> None:
    part = receiver(signal=steady(1e5, (0.0, 1.0)))
    assert part.volts("output", raster(5000)).mean() == pytest.approx(0.0, abs=6e-4)


def test_answers_do_not_depend_on_questions() -> None:
    part = receiver(signal=steady(1e5), bandwidth=25e6, noise=NOISE, cmrr_db=40.0)
    whole = part.volts("output", raster(4000, 1e-3))
    part.world.changed()
    again = part.volts("output", raster(500, 1e-3 + 1200 / RATE))
    np.testing.assert_allclose(again, whole[1200:1700], rtol=0, atol=1e-12)
    late = part.volts("output", raster(1, 1e-3 + 3999 / RATE))
    assert late[0] == pytest.approx(whole[-1], abs=1e-12)
    fine = part.volts("output", raster(4000, 1e-3)[100:3000] + 0.37 / RATE)
    other = part.volts("output", raster(4000, 1e-3)[900:1000] + 0.37 / RATE)
    np.testing.assert_allclose(other, fine[800:900], rtol=0, atol=1e-9)


def test_samples_between_the_points_have_the_same_noise() -> None:
    """Within the band of the amplifier: a digitizer's clock does not change the shot noise unit."""
    part = receiver(bandwidth=25e6)
    count = 60_000
    reference = np.mean([part.volts("output", raster(count, k * 1e-3)).var() for k in range(3)])
    for shift in (0.25, 0.5):
        moved = np.mean([part.volts("output", raster(count, k * 1e-3) + shift / RATE).var() for k in range(3)])
        assert moved == pytest.approx(reference, rel=1e-3)


def test_interpolation_is_flat_in_the_band() -> None:
    times = np.arange(400)
    for frequency in (0.01, 0.2, 0.3):
        values = np.cos(2 * np.pi * frequency * times)
        places = np.linspace(50, 300, 777)
        np.testing.assert_allclose(interpolated(values, places), np.cos(2 * np.pi * frequency * places), atol=1e-3)


def test_low_pass() -> None:
    low = LowPass(25e6, RATE)
    times = np.arange(low.past + 4000, dtype=np.float64)
    for frequency, gain in ((1e5, 1.0), (25e6, math.sqrt(0.5))):
        passed = low(np.cos(2 * np.pi * frequency / RATE * times))
        assert np.sqrt(2 * np.mean(passed[-2500:] ** 2)) == pytest.approx(gain, rel=0.02)
    assert LowPass(0.0, RATE).past == 0
    assert LowPass(RATE, RATE)(times) is times


def test_too_much_light_saturates() -> None:
    bright = receiver(lo=steady(math.sqrt(4 * FLUX)), saturation=1e-3).volts("output", raster(50_000))
    linear = receiver(lo=steady(math.sqrt(4 * FLUX))).volts("output", raster(50_000))
    np.testing.assert_allclose(bright, linear / 4, rtol=1e-9)
    clipped = receiver(swing=1e-4).volts("output", raster(1000))
    assert np.abs(clipped).max() == 1e-4


def test_what_both_diodes_see_leaks() -> None:
    """Intensity noise of the oscillator at 1 MHz, rejected by so many decibels."""
    tone = 0.05

    def modulated(grid: Grid) -> Field:
        strength = 1.0 + tone * np.cos(2 * np.pi * 1e6 * grid.instants)
        return Field(np.sqrt(FLUX * strength).astype(np.complex128), np.array([1.0, 0.0], np.complex128))

    times = raster(125_000)
    for decibels in (30.0, 50.0):
        volts = receiver(lo=modulated, cmrr_db=decibels).volts("output", times)
        line = 2 * np.mean(volts * np.cos(2 * np.pi * 1e6 * times))
        expected = Z * ELECTRON * ETA * FLUX * tone * 10 ** (-decibels / 20)
        assert line == pytest.approx(expected, abs=6 * volts.std() * math.sqrt(2 / times.size))


def test_hybrid_reads_both_quadratures_of_half_the_light() -> None:
    bins, points, alpha = 4000, 15, 2.0 * np.exp(0.5j)
    part = receiver(Hybrid, signal=steady(alpha / math.sqrt(points / RATE)))
    unit = Z * ELECTRON * math.sqrt(ETA * FLUX / 2 * RATE)
    read = [
        part.volts(port, raster(bins * points)).reshape(bins, points).sum(axis=1) / math.sqrt(points) / unit
        for port in ("output_x", "output_p")
    ]
    expected = 2 * math.sqrt(ETA / 2) * VISIBILITY * alpha
    for quadrature, mean in zip(read, (expected.real, expected.imag), strict=True):
        assert quadrature.mean() == pytest.approx(mean, abs=6 / math.sqrt(bins))
        assert quadrature.var() == pytest.approx(1.0, rel=6 * math.sqrt(2 / bins))
    assert abs(np.corrcoef(read)[0, 1]) < 6 / math.sqrt(bins)


def test_counter_counts_photons_darks_and_loses_what_comes_too_soon() -> None:
    world = World(Roots.from_seed(2).world, RATE)
    part = world.add(CounterDetector, "spad", {"efficiency": 0.25, "dark_rate": 100.0, "dead_time": 1e-6})
    assert part.rate(1.0) == pytest.approx(100.0, rel=1e-3)
    part.connect_light("input", steady(1000.0))
    wanted = 0.25e6 + 100.0
    assert part.rate(1.0) == pytest.approx(wanted / (1 + wanted * 1e-6))


class TestCable:
    def cable(self, **given: float) -> Cable:
        world = World(Roots.from_seed(3).world, RATE)
        made = world.add(Cable, "cable", given)
        made.connect_volts("input", lambda t: np.where(t >= 1e-6, 1.0, 0.0), lambda a, b, level, up: np.array([1e-6]))
        return made

    def test_delay_and_gain(self) -> None:
        cable = self.cable(delay=2e-6, gain=0.5, offset=0.1)
        np.testing.assert_allclose(cable.volts("output", np.array([2.9e-6, 3.1e-6])), [0.1, 0.6])

    def test_edges_come_later(self) -> None:
        found = self.cable(delay=2e-6).edges(0.0, 1.0, 0.5, True)
        assert found is not None
        assert found[0] == pytest.approx(3e-6)
        assert self.cable(bandwidth=1e6).edges(0.0, 1.0, 0.5, True) is None

    def test_band(self) -> None:
        volts = self.cable(bandwidth=2e6).volts("output", np.array([0.5e-6, 1.02e-6, 3e-6]))
        assert volts[0] == pytest.approx(0.0, abs=1e-3)
        assert 0.0 < volts[1] < 0.5
        assert volts[2] == pytest.approx(1.0, abs=0.01)

    def test_bits(self) -> None:
        cable = self.cable(bits=3, full_scale=2.0, gain=0.7)
        assert set(np.unique(cable.volts("output", np.linspace(0, 2e-6, 100)))) == {0.0, 0.5}

    def test_jitter_is_looked_up(self) -> None:
        cable = self.cable(jitter=1e-8)
        cable.connect_volts("input", lambda t: t)
        times = raster(2000, 1e-5)
        moved = cable.volts("output", times) - times
        assert moved.std() == pytest.approx(1e-8, rel=0.2)
        again = cable.volts("output", times[500:600]) - times[500:600]
        np.testing.assert_allclose(again[5:], moved[505:600], atol=1e-15)
