"""Gain-and-tap stages of the world against the closed forms of physics P1.3 and P1.4.

A figure fails beyond `BOUND` standard errors: 6.6e-9 for a right one, below 1e-6 for the 90 figures of an ordinary run
as for the 56 of a soak, with seeds that nobody has seen (they are fixed). All of them lie within 5.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from labqdl_sim.world import Field, Grid
from labqdl_sim.world.adversaries import PassiveTap
from labqdl_sim.world.taps import AmplifierTap, FeedForwardTap
from tests.sim.world.chain import Light, Setting, stream
from tests.sim.world.figures import Figure, Sums, tap_law
from tests.sim.world.ideal import BIN_RATE, Complex, Oscillator, Real, Source, constant, world

BOUND = 5.8
TAPS = {
    "feed-forward": ("feed-forward", {"t": 0.9}),
    "amplifier": ("amplifier", {"gain": 2.0, "tau": 0.5, "n_sp": 1.2}),
}


def setting(name: str, n_modes: int, **changes: float) -> Setting:
    kind, tap = TAPS[name]
    return Setting(n_modes, kind, {**tap, **changes}, efficiency=0.8, noise=0.05)


def figures(one: Setting, bins: int, seed: int) -> tuple[dict[str, Figure], Sums]:
    sums = Sums(tap_law(one), one.n_modes, one.mu)
    for light in stream(one, bins, seed):
        sums.take(light)
    return {**sums.figures(), **sums.fields()}, sums


def judge(found: dict[str, Figure]) -> str:
    """The figure that is farthest off, as text; empty if all are within the bound."""
    name, worst = max(found.items(), key=lambda item: abs(item[1].z))
    return f"{name}: {worst.value:.6g}, not {worst.theory:.6g}, z = {worst.z:.1f}" if abs(worst.z) > BOUND else ""


@pytest.mark.parametrize(("name", "n_modes", "bins"), [
    ("feed-forward", 1, 1 << 18),
    ("amplifier", 1, 1 << 18),
    ("feed-forward", 8, 1 << 20),
    ("amplifier", 8, 1 << 20),
])  # fmt: skip
def test_closed_forms(name: str, n_modes: int, bins: int) -> None:
    """Slope, outcome variance, net gain, D, N, covariance, floor, S: 1e6 symbols at n = 8, a quarter of them at 1."""
    found, sums = figures(setting(name, n_modes), bins, seed=20 + n_modes)
    assert not judge(found)
    # What a 5 % error in efficiency, gain, added noise or covariance would do.
    for figure in ("slope", "outcome variance", "D of the field along u", "Cov(y, field along u)"):
        assert 0.05 * abs(found[figure].theory) > 9 * found[figure].error
    # Nothing but the addressed mode is touched.
    assert sums.aside < 1e-20


@pytest.mark.soak
@pytest.mark.parametrize("n_modes", [1, 8])
@pytest.mark.parametrize("name", TAPS)
def test_closed_forms_with_twenty_million_symbols(name: str, n_modes: int) -> None:
    found, sums = figures(setting(name, n_modes), 20 << 20, seed=40 + n_modes)
    for figure, one in found.items():
        print(f"{name} n={n_modes} {figure:36} {one.value:12.6f} {one.theory:12.6f} {one.error:10.6f} {one.z:6.2f}")
    assert not judge(found)
    for figure in ("slope", "outcome variance", "added noise along u", "Cov(y, r)"):
        if (name, n_modes, figure) != ("feed-forward", 8, "added noise along u"):
            assert 0.05 * abs(found[figure].theory) > 9 * found[figure].error
    assert sums.aside < 1e-20


@pytest.mark.parametrize(("name", "parameter", "value"), [
    ("feed-forward", "efficiency", 0.84),
    ("feed-forward", "gain_error", 0.05),
    ("amplifier", "n_sp", 1.26),
    pytest.param("feed-forward", "noise", 0.1025, marks=pytest.mark.soak),
    pytest.param("feed-forward", "phase_error", 0.05, marks=pytest.mark.soak),
    pytest.param("amplifier", "gain", 2.1, marks=pytest.mark.soak),
    pytest.param("amplifier", "tau", 0.525, marks=pytest.mark.soak),
])  # fmt: skip
def test_an_error_of_five_percent_fails(name: str, parameter: str, value: float) -> None:
    """The same sums, with one parameter of the world off."""
    right, wrong = setting(name, 1), setting(name, 1, **{parameter: value})
    sums = Sums(tap_law(right), 1, right.mu)
    for light in stream(wrong, 1 << 16, seed=6):
        sums.take(light)
    assert judge({**sums.figures(), **sums.fields()})


def test_a_tap_that_does_not_fit_the_gain_has_another_net_gain() -> None:
    one = setting("amplifier", 2, tau=0.45)
    assert tap_law(one).net_gain == pytest.approx(math.sqrt(0.9))
    sums = Sums(tap_law(one), 2, one.mu)
    for light in stream(one, 1 << 17, seed=3):
        sums.take(light)
    # The others take the returned mean as the sent one.
    found = {**sums.fields(), **{name: sums.figures()[name] for name in ("slope", "outcome variance", "N")}}
    assert not judge(found)


@pytest.mark.parametrize("name", TAPS)
def test_losses_before_and_behind_the_client_and_a_real_receiver(name: str) -> None:
    """All of P1.4: mu T_1 at the tap, the client's noise times T_2 and efficiency on a floor of 1 + v_s."""
    forward, back, efficiency, noise = 0.6, 0.5, 0.9, 0.2
    one = replace(
        setting(name, 4),
        before=lambda made: made.add(PassiveTap, "out", {"fraction": 1 - forward}),
        behind=lambda made: made.add(PassiveTap, "home", {"fraction": 1 - back}),
        forward=forward,
        back=back,
        server_efficiency=efficiency,
        server_noise=noise,
    )
    sums = Sums(tap_law(one), 4, one.mu * forward, math.sqrt(back * efficiency), 1 + noise)
    for light in stream(one, 1 << 17, seed=4):
        sums.take(light)
    assert not judge({**sums.figures(), **sums.fields()})


def alone(kind: str, given: dict[str, float], points: int = 4) -> tuple[FeedForwardTap | AmplifierTap, Source]:
    """A tap behind a source in a world of its own."""
    made = world(points)
    source = made.add(Source, "source")
    source.symbols = np.ones(4096, np.complex128)
    tap = made.add(FeedForwardTap, "tap", given) if kind == "feed-forward" else made.add(AmplifierTap, "tap", given)
    made.link("source", "tap")
    return tap, source


def out(tap: FeedForwardTap | AmplifierTap, grid: Grid, port: str = "output") -> Complex:
    return tap.light(port, grid).envelope


def test_a_voltage_sets_the_gain_of_the_electronics() -> None:
    given = {"t": 0.81, "efficiency": 0.5, "gain_per_volt": 0.4, "phase_error": 0.3}
    tap, _ = alone("feed-forward", given)
    assert isinstance(tap, FeedForwardTap)
    pickup = math.sqrt(0.5 * 0.19 / 2)
    np.testing.assert_allclose(tap.gain(np.zeros(1)), 0.1 / pickup * np.exp(0.3j))
    tap.connect_volts("gain", constant(1.5))
    np.testing.assert_allclose(tap.gain(np.zeros(3)), 0.6 * np.exp(0.3j) * np.ones(3))
    amplifier, _ = alone("amplifier", {"gain": 3.0, "gain_per_volt": 0.5})
    assert isinstance(amplifier, AmplifierTap)
    assert amplifier.truth["tau"] == pytest.approx(1 / 3)
    assert amplifier.surplus(Grid(0.0, 1e-8, 1)) == 2.0
    amplifier.connect_volts("gain", constant(2.5))
    np.testing.assert_allclose(amplifier.surplus(Grid(0.0, 1e-8, 2)), 1.25)


def test_noise_of_output_and_meters_is_one_noise_whoever_asks_first() -> None:
    first, source = alone("feed-forward", {"t": 0.7, "readout_bandwidth": 0.0})
    second, _ = alone("feed-forward", {"t": 0.7, "readout_bandwidth": 0.0})
    grid = first.world.grid(1e-6, 5000)
    light, meter = out(first, grid), first.volts("meter_x", grid.instants)
    again = second.volts("meter_x", grid.instants)
    np.testing.assert_array_equal(meter, again)
    np.testing.assert_array_equal(out(second, grid.widened(-700, -13)), light[700:-13])
    # With the light subtracted, the displacement is what the meters read: exactly.
    k = (1 - math.sqrt(0.7)) / math.sqrt(0.3 / 2)
    meters = [first.volts(port, grid.instants) * math.sqrt(grid.step) / 1.3e-7 for port in ("meter_x", "meter_p")]
    rest = math.sqrt(0.7) * source.light("output", grid).envelope
    np.testing.assert_allclose(light, rest + k * (meters[0] + 1j * meters[1]) / (2 * math.sqrt(grid.step)), rtol=1e-9)


def step_response(tap: FeedForwardTap | AmplifierTap, grid: Grid) -> Complex:
    """Output less that of the same tap in the dark: the noise is the same and goes."""
    lit = out(tap, grid)
    source = tap.world.parts["source"]
    assert isinstance(source, Source)
    kept, source.symbols = source.symbols, np.zeros(1, np.complex128)
    tap.world.changed()
    dark = out(tap, grid)
    source.symbols = kept
    tap.world.changed()
    return lit - dark


def test_electronics_come_late_and_have_a_band() -> None:
    points = 20
    step = 1 / (points * BIN_RATE)
    grid = Grid(-50 * step, step, 200)
    amplitude = math.sqrt(BIN_RATE)
    on = np.arange(-50, 150) >= 0
    late, _ = alone("feed-forward", {"t": 0.5, "delay": 7 * step}, points)
    behind = np.arange(-50, 150) >= 7
    np.testing.assert_allclose(
        step_response(late, grid), amplitude * (math.sqrt(0.5) * on + (1 - math.sqrt(0.5)) * behind), atol=1e-6
    )
    bandwidth = 10e6
    slow, _ = alone("feed-forward", {"t": 0.5, "bandwidth": bandwidth}, points)
    rise = 1 - np.exp(-2 * np.pi * bandwidth * step * (np.arange(-50, 150) + 1))
    np.testing.assert_allclose(
        step_response(slow, grid),
        amplitude * (math.sqrt(0.5) * on + (1 - math.sqrt(0.5)) * np.where(on, rise, 0.0)),
        atol=1e-6 * amplitude,
    )


def test_meters_that_are_overloaded_give_back_too_little() -> None:
    tap, source = alone("feed-forward", {"t": 0.5, "swing": 0.002, "density": 1.3e-7, "readout_bandwidth": 0.0})
    source.symbols = np.full(4096, 1000.0, np.complex128)
    grid = tap.world.grid(0.0, 400)
    np.testing.assert_array_equal(tap.volts("meter_x", grid.instants), 0.002)
    light = source.light("output", grid).envelope.real
    most = (
        0.002 * math.sqrt(grid.step) / 1.3e-7 * (1 - math.sqrt(0.5)) / math.sqrt(0.5 / 2) / (2 * math.sqrt(grid.step))
    )
    np.testing.assert_allclose(out(tap, grid).real, math.sqrt(0.5) * light + most)


def test_arm_and_losses() -> None:
    tap, _ = alone("feed-forward", {"t": 0.5, "arm_phase": 0.4, "loss_db": 1.0})
    grid = tap.world.grid(0.0, 8)
    np.testing.assert_allclose(step_response(tap, grid), math.sqrt(BIN_RATE) * 10**-0.05 * np.exp(0.4j), rtol=1e-9)
    given = {"gain": 4.0, "tau": 0.3, "arm_phase": -0.2, "input_loss_db": 2.0, "loss_db": 1.0}
    amplifier, _ = alone("amplifier", given)
    wanted = math.sqrt(BIN_RATE * 4.0 * 0.3) * 10 ** (-3 / 20) * np.exp(-0.2j)
    np.testing.assert_allclose(step_response(amplifier, grid), wanted, rtol=1e-9)
    before = step_response(tap, grid)
    for one, response in ((tap, before), (amplifier, np.full(8, wanted))):
        one.connect_volts("arm", constant(1.5))
        np.testing.assert_allclose(step_response(one, grid), response * np.exp(0.3j * np.pi), rtol=1e-9)


def test_with_a_local_oscillator_of_its_own_the_tap_reads_that_quadrature_and_displaces_right() -> None:
    """Outcomes turn with the oscillator, the net gain does not; a weak one reads less over the same electronics."""
    for phase, power in ((0.0, 1.0), (0.7, 1.0), (-2.0, 0.25)):
        tap, source = alone("feed-forward", {"t": 0.6, "readout_bandwidth": 0.0, "lo_flux": 1e16, "noise": 0.5})
        oscillator = tap.world.add(Oscillator, "lo")
        oscillator.phases, oscillator.flux = np.array([phase]), 1e16 * power
        tap.world.link("lo", "tap", port_in="lo")
        grid = tap.world.grid(0.0, 4000)
        gain = math.sqrt(0.6) + math.sqrt(power) * (1 - math.sqrt(0.6))
        np.testing.assert_allclose(step_response(tap, grid), math.sqrt(BIN_RATE) * gain, rtol=1e-9)
        lit = [tap.volts(port, grid.instants) for port in ("meter_x", "meter_p")]
        source.symbols = np.zeros(1, np.complex128)
        tap.world.changed()
        dark = [tap.volts(port, grid.instants) for port in ("meter_x", "meter_p")]
        read = (lit[0] - dark[0] + 1j * (lit[1] - dark[1])) / 1.3e-7 * grid.step
        wanted = math.sqrt(0.4 / 2 * power) * 2 * math.sqrt(BIN_RATE) * grid.step * np.exp(-1j * phase)
        np.testing.assert_allclose(read, wanted, rtol=1e-9)
        variance: Real = np.var(np.stack(dark), axis=1) / 1.3e-7**2 * grid.step
        assert np.all(np.abs(variance / (power + 0.5) - 1) < BOUND * math.sqrt(2 / 4000))


def test_a_seed_gives_the_same_bits() -> None:
    one = setting("feed-forward", 8)
    light: Light = next(iter(stream(one, 1 << 12, seed=9)))
    again: Light = next(iter(stream(one, 1 << 12, seed=9)))
    np.testing.assert_array_equal(light.residual, again.residual)
    np.testing.assert_array_equal(light.outcome, again.outcome)


class Pulses(Source):
    """Light in the middle three quarters of each bin."""

    def light(self, port: str, grid: Grid) -> Field:
        """Bins of the same energy."""
        within = (grid.instants * BIN_RATE + 1e-6) % 1.0
        field = super().light(port, grid)
        return field.scaled(np.where((within >= 0.125) & (within < 0.875), 1 / math.sqrt(0.75), 0.0))


def test_a_digitizer_of_ten_samples_a_bin_reads_the_meter_with_little_loss() -> None:
    """Through the readout's band of 25 MHz: signal to noise by that of the whole mode, and light of the bin before."""
    made, bins = world(20), 20_000
    source = made.add(Pulses, "source")
    source.symbols = (np.arange(bins) % 2).astype(np.complex128)
    tap = made.add(FeedForwardTap, "tap", {"t": 0.9})
    made.link("source", "tap")
    instants = np.arange(bins * 10) / 62.5e6
    lit = tap.volts("meter_x", instants)
    source.symbols = np.zeros(1, np.complex128)
    made.changed()
    dark = tap.volts("meter_x", instants)
    signal, noise = ((one.reshape(bins, 10)[:, 3:]).sum(axis=1) for one in (lit - dark, dark))
    share = float(signal[1::2].mean() ** 2 / noise.var()) / (4 * 0.1 / 2)
    assert 0.9 < share < 1.0
    assert abs(float(signal[2::2].mean() / signal[1::2].mean())) < 0.005
