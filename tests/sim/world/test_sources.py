"""Lasers and amplifiers against closed forms.

Statistical bounds are 5 standard errors: false alarms below 1e-6 a comparison, and an error of 5 % is seen.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq

from labqdl_sim.bench import Bench
from labqdl_sim.ports import DARK, Light
from labqdl_sim.twins.amonics_edfa import AmonicsEdfa
from labqdl_sim.world.sources import Edfa, Laser, saturated_gain
from tests.sim.world.parts import Real, deviates, empty, exact, lamp, pulled

FLUX_OF_A_MILLIWATT = 7.802881e15
"""Photons a second at 1550 nm: 1e-3 W / (6.62607015e-34 J s * 299792458 m/s / 1550e-9 m)."""
STRICT = 5.0


def one_sided(values: Real, step: float) -> tuple[Real, Real]:
    """Frequencies without 0 and the last, and the one-sided spectral density of values/mean - 1 there."""
    relative = values / values.mean() - 1.0
    density = 2.0 * step / values.size * np.abs(np.fft.rfft(relative)) ** 2
    frequencies = np.arange(1, density.size - 1, dtype=np.float64) / (values.size * step)
    return frequencies, density[1:-1]


def test_power_is_photons() -> None:
    world = empty()
    exact(world, "laser", power=1e-3, linewidth=0.0, rin=0.0)
    field = pulled(world, "laser")
    assert field.flux == pytest.approx(FLUX_OF_A_MILLIWATT, rel=1e-6)
    assert np.ptp(field.envelope.real) == 0.0
    assert not np.any(field.envelope.imag)


@pytest.mark.parametrize(("lag", "count"), [(8, 800_000), (1000, 2_000_000)])
def test_linewidth_is_the_variance_of_the_phase_over_a_delay(lag: int, count: int) -> None:
    world = empty()
    exact(world, "laser", linewidth=10e3, rin=0.0)
    envelope = pulled(world, "laser", start=3.0, count=count).envelope[::lag]
    turned = np.angle(envelope[1:] * np.conj(envelope[:-1]))
    expected = 2.0 * math.pi * 10e3 * lag * world.step
    assert deviates(float(np.mean(turned**2)), expected, math.sqrt(2.0 / turned.size)) < STRICT


def test_linewidth_over_a_slow_delay() -> None:
    """Over milliseconds, where the path comes from the bridge and not from its steps; 1000 pairs."""
    world = empty()
    exact(world, "laser", linewidth=10.0, rin=0.0)
    pull = world.light_of("laser", "output")
    turns = np.angle([pull(world.grid(1.0 + 1e-3 * k, 1)).envelope[0] for k in range(1001)])
    steps = np.angle(np.exp(1j * np.diff(turns)))
    assert deviates(float(np.mean(steps**2)), 2.0 * math.pi * 10.0 * 1e-3, math.sqrt(2.0 / steps.size)) < STRICT
    assert abs(np.mean(steps[1:] * steps[:-1])) < STRICT * 2.0 * math.pi * 1e-2 / math.sqrt(steps.size)


def test_relative_intensity_noise_is_white_with_its_density() -> None:
    world = empty()
    exact(world, "laser", linewidth=1e5, rin=1e-12)
    power = np.abs(pulled(world, "laser", start=0.2, count=200_000).envelope) ** 2
    _, density = one_sided(power, world.step)
    assert deviates(float(density.mean()), 1e-12, 1.0 / math.sqrt(density.size)) < STRICT
    for band in np.array_split(density, 8):
        assert deviates(float(band.mean()), 1e-12, 1.0 / math.sqrt(band.size)) < STRICT


def test_slow_wander_has_a_lorentzian_spectrum() -> None:
    time, width = 1e-6, 0.02
    world = empty(rate=10e6)
    exact(world, "laser", linewidth=0.0, rin=0.0, wander=width, wander_time=time)
    power = np.abs(pulled(world, "laser", start=1.0, count=1_000_000).envelope) ** 2
    frequency, density = one_sided(power, world.step)
    expected = 4.0 * time * width**2 / (1.0 + (2.0 * math.pi * frequency * time) ** 2)
    slow = frequency < 0.15 / time
    ratio = density[slow] / expected[slow]
    # A sum over ten steps a correlation time stands for the integral: 1 % more than the Lorentzian at its middle.
    assert abs(ratio.mean() - 1.0) < STRICT / math.sqrt(ratio.size) + 0.012
    # Normal: relative error of the variance sqrt(2 * integral of the squared correlation / duration) = sqrt(2 time/T).
    assert deviates(float(power.std() / power.mean()), width, math.sqrt(time / (2 * power.size * world.step))) < STRICT


def test_mode_hop_turns_the_phase_against_a_delayed_copy() -> None:
    world = empty()
    laser = exact(world, "laser", linewidth=0.0, rin=0.0)
    exact(world, "fibre", phase=0.0, length=100.0)
    world.link("laser", "fibre")
    laser.strike("mode_hop", 2e6, start=1e-3, stop=2e-3)
    delay = 100.0 * 1.468 / 299_792_458.0
    for start, turn in ((0.5e-3, 0.0), (1.5e-3, -2.0 * math.pi * 2e6 * delay), (2.5e-3, 0.0)):
        late, direct = pulled(world, "fibre", start=start), pulled(world, "laser", start=start)
        turned = late.envelope * np.conj(direct.envelope) / direct.flux
        np.testing.assert_allclose(turned, np.exp(1j * turn), atol=1e-6)


def test_mode_hop_begins_without_a_jump_of_the_phase() -> None:
    world = empty()
    laser = exact(world, "laser", linewidth=0.0, rin=0.0)
    laser.strike("mode_hop", 1.3e6, start=0.25 + 0.2 * world.step, stop=0.25 + 100 * world.step)
    phase = np.unwrap(np.angle(pulled(world, "laser", start=0.25 - 20 * world.step, count=200).envelope))
    steps = np.diff(phase) / (2.0 * math.pi * world.step)
    np.testing.assert_allclose(phase[:20], 0.0, atol=1e-9)
    np.testing.assert_allclose(steps[21:119], 1.3e6, rtol=1e-5)
    np.testing.assert_allclose(steps[121:], 0.0, atol=1.0)


def test_power_drop_and_dark() -> None:
    world = empty()
    laser = exact(world, "laser", linewidth=0.0, rin=0.0)
    before = pulled(world, "laser").flux
    laser.strike("power_drop_db", 3.0, start=8 * world.step)
    field = pulled(world, "laser")
    np.testing.assert_allclose(np.abs(field.envelope[:8]) ** 2, before)
    np.testing.assert_allclose(np.abs(field.envelope[8:]) ** 2, before * 10**-0.3)
    laser.strike("off")
    assert pulled(world, "laser").flux == 0.0
    laser.mend()
    assert pulled(world, "laser").flux == before


def test_laser_follows_its_instrument() -> None:
    world = empty()
    laser = exact(world, "laser", linewidth=0.0, rin=0.0)
    laser.follow(lambda t: Light(1e-3, 1550e-9) if t < 1e-3 else DARK)
    assert pulled(world, "laser").flux == pytest.approx(FLUX_OF_A_MILLIWATT, rel=1e-6)
    assert pulled(world, "laser", start=2e-3).flux == 0.0
    whole = pulled(world, "laser", start=0.9e-3, count=25_000).envelope
    piece = pulled(world, "laser", start=0.9e-3 + 14_000 * world.step, count=1000).envelope
    assert 0 < np.count_nonzero(whole) < whole.size
    np.testing.assert_array_equal(whole[14_000:15_000], piece)
    assert 0 < np.count_nonzero(piece) < piece.size


@pytest.mark.parametrize(("small", "ratio"), [(1000.0, 1e-6), (1000.0, 0.01), (10.0, 1.0), (1e6, 0.5), (2.0, 600.0)])
def test_saturated_gain_solves_its_equation(small: float, ratio: float) -> None:
    found = brentq(lambda gain: math.log(gain) - math.log(small) + (gain - 1.0) * ratio, 1.0, small, xtol=1e-13)
    assert saturated_gain(small, ratio) == pytest.approx(found, rel=1e-9)


def test_an_amplifier_without_input_emits_n_sp_g_minus_1_photons_a_mode() -> None:
    world = empty()
    exact(world, "edfa", gain_db=20.0, n_sp=1.5, loss_in_db=1.0, loss_out_db=2.0)
    noise = pulled(world, "edfa", count=200_000).envelope
    expected = 1.5 * (100.0 - 1.0) * 10**-0.2
    photons = np.abs(noise) ** 2 * world.step
    assert deviates(float(photons.mean()), expected, 1.0 / math.sqrt(noise.size)) < STRICT
    for part in (noise.real, noise.imag):
        share = float(np.mean(part**2)) * world.step
        assert deviates(share, expected / 2.0, math.sqrt(2.0 / noise.size)) < STRICT
    assert abs(np.mean(noise.real * noise.imag)) * world.step < STRICT * expected / 2.0 / math.sqrt(noise.size)


def test_an_amplifier_amplifies_between_its_losses_and_saturates() -> None:
    world = empty()
    power = 1e-4
    amplitude = math.sqrt(power / 1e-3 * FLUX_OF_A_MILLIWATT)
    lamp(world, amplitude)
    exact(world, "edfa", gain_db=20.0, loss_in_db=1.0, loss_out_db=2.0, saturation=5e-3)
    world.link("lamp", "edfa")
    entering = power * 10**-0.1
    gain = brentq(lambda g: math.log(g / 100.0) + (g - 1.0) * entering / 5e-3, 1.0, 100.0)
    mean = pulled(world, "edfa", start=0.1, count=10_000).envelope.mean()
    assert abs(mean) / amplitude == pytest.approx(math.sqrt(gain * 10**-0.3), rel=1e-5)
    assert gain < 60.0


def test_light_after_darkness_meets_the_small_signal_gain() -> None:
    world = empty(rate=10e6)
    lamp(world, lambda t: np.where(t > 0.05, 1e8, 0.0).astype(np.complex128))
    amplifier = exact(world, "edfa", gain_db=30.0, loss_in_db=0.0, saturation=1e-4, tau=1e-3)
    world.link("lamp", "edfa")
    before, soon, late = (float(amplifier.gain(np.array([t]))[0]) for t in (0.0499, 0.0501, 0.1))
    assert before == pytest.approx(1000.0)
    assert 1.0 < late < 0.2 * soon
    assert late == pytest.approx(saturated_gain(1000.0, 1e16 / FLUX_OF_A_MILLIWATT * 1e-3 / 1e-4), rel=1e-4)


def test_a_surge_fades_with_the_time_constant() -> None:
    world = empty()
    amplifier = exact(world, "edfa", gain_db=20.0, tau=1e-3)
    amplifier.strike("surge_db", 6.0, start=0.5)
    gains = amplifier.gain(np.array([0.4999, 0.5, 0.501, 0.52]))
    np.testing.assert_allclose(gains, 100.0 * 10.0 ** np.array([0.0, 0.6, 0.6 / math.e, 0.0]), rtol=1e-6)


def test_without_pump_erbium_absorbs_and_adds_nothing() -> None:
    world = empty()
    lamp(world, 1e4)
    amplifier = exact(world, "edfa", absorption_db=20.0, loss_in_db=1.0, loss_out_db=1.0)
    world.link("lamp", "edfa")
    amplifier.pumped_by(lambda t: 0.0)
    field = pulled(world, "edfa")
    np.testing.assert_allclose(field.envelope, 1e4 * 10.0 ** (-22.0 / 20.0), rtol=1e-12)


def test_noise_of_an_amplifier_is_the_same_for_everybody() -> None:
    world = empty()
    exact(world, "edfa")
    exact(world, "splitter")
    world.link("edfa", "splitter")
    tap = pulled(world, "splitter", "tap", start=0.01, count=500).envelope
    main = pulled(world, "splitter", "main", start=0.01 + 100 * world.step, count=300).envelope
    np.testing.assert_allclose(main, tap[100:400], rtol=1e-9)


def test_an_amplifier_holds_its_output_as_far_as_its_pump_reaches() -> None:
    world = empty()
    lamp(world, math.sqrt(1e-2 * FLUX_OF_A_MILLIWATT))
    amplifier = exact(world, "edfa", **Edfa.rated(20.0, 10e-3), n_sp=1.0)
    world.link("lamp", "edfa")
    for wanted, expected in ((5e-4, 5e-4), (1e-4, 1e-4)):
        amplifier.pumped_by(lambda t: 1.0, lambda t, wanted=wanted: wanted)
        assert pulled(world, "edfa", start=0.1, count=5000).flux == pytest.approx(
            expected * 1e3 * FLUX_OF_A_MILLIWATT, rel=2e-3
        )
    amplifier.pumped_by(lambda t: 1.0, lambda t: 1.0)
    most = pulled(world, "edfa", start=0.1, count=5000).flux
    amplifier.pumped_by(lambda t: 1.0)
    assert pulled(world, "edfa", start=0.1, count=5000).flux == most
    assert most / FLUX_OF_A_MILLIWATT * 1e-3 < 1e-3


def test_rated_figures_are_those_from_fibre_to_fibre() -> None:
    for entering, leaving in ((1e-9, 1e-9 * 1e3), (1.0, None)):
        world = empty()
        lamp(world, math.sqrt(entering * 1e3 * FLUX_OF_A_MILLIWATT))
        figures = Edfa.rated(30.0, 0.1)
        exact(world, "edfa", **figures)
        world.link("lamp", "edfa")
        out = abs(pulled(world, "edfa", start=0.1, count=20_000).envelope.mean()) ** 2 / FLUX_OF_A_MILLIWATT * 1e-3
        if leaving is None:
            assert out - entering * 10**-0.16 == pytest.approx(0.1, rel=0.02)
        else:
            assert out == pytest.approx(leaving, rel=0.02)


def test_two_receivers_share_an_amplifier_s_noise_and_nothing_else() -> None:
    """Closed forms of docs/physics.md: variances 1 + 2 n_sp (G-1) T eta, covariance 2 n_sp (G-1) eta sqrt(T T')."""
    gain, n_sp, tapped, efficiency, count = 4.0, 1.3, 0.3, 0.8, 300_000
    world = empty()
    exact(world, "edfa", gain_db=10 * math.log10(gain), n_sp=n_sp, loss_in_db=0.0, loss_out_db=0.0)
    exact(world, "splitter", ratio=tapped)
    exact(world, "pad", loss_db=1.0)
    exact(world, "laser", power=5e-3, rin=0.0, linewidth=0.0)
    exact(world, "splitter", "oscillators")
    world.link("edfa", "splitter")
    world.link("splitter", "pad", "main")
    world.link("laser", "oscillators")
    shares = {"tap": tapped, "main": (1.0 - tapped) * 10**-0.1}
    ideal = {"visibility": 1.0, "noise": 0.0, "cmrr_db": 300.0, "bandwidth": 0.0, "swing": 1e3, "saturation": 1.0}
    for name in shares:
        exact(world, "homodyne", name, efficiency=efficiency, **ideal)
        world.link("oscillators", name, name, "lo")
    world.link("splitter", "tap", "tap", "signal")
    world.link("pad", "main", port_in="signal")
    instants = world.grid(0.01, count).instants
    bright = {name: world.volts_of(name, "output")(instants) for name in shares}
    for name in shares:
        world.part(name).connect_light("signal", None)
    # The light that a receiver sees adds to its shot noise too little to count: 1e9 photons a second against 1e16.
    vacuum = {name: world.volts_of(name, "output")(instants) for name in shares}
    noise = {name: bright[name] / vacuum[name].std() for name in shares}
    for name, share in shares.items():
        expected = 1.0 + 2.0 * n_sp * (gain - 1.0) * share * efficiency
        assert deviates(float(noise[name].var()), expected, 2.0 / math.sqrt(count)) < STRICT
    covariance = float(np.mean(noise["tap"] * noise["main"]))
    expected = 2.0 * n_sp * (gain - 1.0) * efficiency * math.sqrt(math.prod(shares.values()))
    assert deviates(covariance, expected, math.sqrt(2.0 * (1 + 1 / expected) / count) * 2.0) < STRICT
    assert abs(np.mean(vacuum["tap"] * vacuum["main"])) < STRICT * np.prod([v.std() for v in vacuum.values()]) / (
        math.sqrt(count)
    )


STATION = """
[station]
name = "amplifier"
profile = "sim"
[instruments.laser]
driver = "nkt-koheras"
[instruments.edfa]
driver = "amonics-edfa"
[components.pad]
kind = "pad"
loss = "30 dB"
[[wiring]]
from = "laser"
to = "pad"
[[wiring]]
from = "pad"
to = "edfa"
[simulation]
seed = 3
clock = "steps"
rate = "50 MHz"
"""


def test_an_instrument_pumps_the_amplifier_and_its_monitor_shows_what_leaves(tmp_path: Path) -> None:
    path = tmp_path / "station.toml"
    path.write_text(STATION, encoding="utf-8")
    bench = Bench.from_file(path)
    twin = bench["edfa"]
    assert bench.world is not None
    assert isinstance(twin, AmonicsEdfa)
    laser = bench.world.part("laser")
    assert isinstance(laser, Laser)
    laser.follow(lambda t: Light(10e-3, 1550e-9))

    def power() -> float:
        assert bench.world is not None
        bench.world.changed()
        now = bench.clock.monotonic()
        return bench.world.light_of("edfa", "output")(bench.world.grid(now, 4096)).flux * 1e-3 / FLUX_OF_A_MILLIWATT

    assert power() < 1e-7
    channel = twin.channels[1]
    twin.master_at = channel.armed_at = -100.0
    for mode, set_point, low, high in (
        ("APC", 5.0, 4.9e-3, 5.1e-3),
        ("APC", 1.0, 0.98e-3, 1.02e-3),
        ("ACC", 200.0, 5e-5, 1e-3),
    ):
        channel.mode, channel.course = mode, (set_point, -1e9)
        channel.set_points[mode] = set_point
        assert low < power() < high
        assert twin.leaving(bench.clock.monotonic()) == pytest.approx(power(), rel=1e-3)
    channel.armed_at = None
    assert power() < 1e-7
