"""The library's closed forms against the brute-force propagation over all modes, exactly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.facts import Component, Ledger, Owner, Place, TapKind, TapSetting
from labqdl.optics import client_law
from labqdl.optics.client_law import ClientLaw
from labqdl.optics.gain_tap import TapLaw, amplifier_tap, feed_forward_tap, tap_law
from labqdl.optics.law import LinkLaw, ReturnedLight
from tests.optics.bruteforce import (
    AmplifierBuild,
    Bench,
    Build,
    FeedForwardBuild,
    InterceptResend,
    Moments,
    PassiveTap,
    SymmetricCloner,
    VacuumSubstitution,
    generic_direction,
    interleaved,
    moments,
)

Real = NDArray[np.float64]
SIZES = (1, 8, 32)
EXACT = 1e-10
N_SP = 1.3

LEDGER = Ledger(
    "imperfect",
    (
        Component("fibre out", Place.FORWARD, Owner.CHANNEL, transmissivity=0.8, excess=0.02),
        Component("mesh in", Place.CLIENT_IN, Owner.CLIENT, transmissivity=0.95, excess=0.01),
        Component("amplifier", Place.TAP, Owner.CLIENT, n_sp=N_SP),
        Component("receiver", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=0.85, electronic_noise=0.07),
        Component("mesh out", Place.CLIENT_OUT, Owner.CLIENT, transmissivity=0.9, excess=0.005),
        Component("fibre back", Place.RETURN, Owner.CHANNEL, transmissivity=0.75, excess=0.03),
        Component("homodyne", Place.SERVER_RECEIVER, Owner.SERVER, transmissivity=0.92, electronic_noise=0.05),
        Component("counter", Place.SERVER_COUNTER, Owner.SERVER, transmissivity=0.6),
    ),
)


def bench_of(build: Build) -> Bench:
    """The same light path, multiplied out by hand component by component."""
    return Bench(
        build,
        forward=0.8 * 0.95,
        forward_excess=0.02 * 0.95 + 0.01,
        client_efficiency=0.85,
        client_noise=0.07,
        back=0.9 * 0.75,
        back_excess=0.005 * 0.75 + 0.03,
        server_efficiency=0.92,
        server_noise=0.05,
        counter_efficiency=0.6,
    )


SETTINGS: dict[str, tuple[TapSetting, Build]] = {
    "balanced amplifier": (TapSetting.amplifier(2.0), AmplifierBuild(2.0, 0.5, N_SP)),
    "weak amplifier": (TapSetting.amplifier(1.01), AmplifierBuild(1.01, 1 / 1.01, N_SP)),
    "too little net gain": (TapSetting.amplifier(2.3, 0.35), AmplifierBuild(2.3, 0.35, N_SP)),
    "too much net gain": (TapSetting.amplifier(2.3, 0.55), AmplifierBuild(2.3, 0.55, N_SP)),
    "feed-forward": (TapSetting.feed_forward(0.7), FeedForwardBuild(0.7)),
    "weak feed-forward": (TapSetting.feed_forward(0.99), FeedForwardBuild(0.99)),
}


class Closed:
    """Means and covariances of a `LinkLaw`, written out over all quadratures."""

    def __init__(self, law: LinkLaw, n: int, seed: int) -> None:
        self.u = generic_direction(n, seed)
        self.x, self.jx = interleaved(self.u), interleaved(1j * self.u)
        self.law = law
        self.n = n

    def mean_map(self, light: ReturnedLight) -> Real:
        """Mean of the light itself (before the server subtracts): isotropic q + directed (u^dagger q) u."""
        d = light.directed_signal
        along = np.outer(self.x, self.x) + np.outer(self.jx, self.jx)
        turned = np.outer(self.jx, self.x) - np.outer(self.x, self.jx)
        return light.isotropic_signal * np.eye(2 * self.n) + d.real * along + d.imag * turned

    def noise(self, light: ReturnedLight) -> Real:
        spikes = light.spike_x * np.outer(self.x, self.x) + light.spike_p * np.outer(self.jx, self.jx)
        return np.asarray(light.floor * np.eye(2 * self.n) + spikes)

    def cross(self, light: ReturnedLight) -> Real:
        return np.asarray(light.covariance.real * self.x + light.covariance.imag * self.jx)

    def photons(self, q: Real) -> Real:
        light = self.law.counter
        mean = self.mean_map(light) @ q - light.expected * q
        second = (mean**2 + np.diag(self.noise(light))).reshape(self.n, 2).sum(axis=1)
        return np.asarray(self.law.counter_efficiency * second / 4)

    def disagreement(self, exact: Moments) -> float:
        """Largest absolute deviation of any mean, variance, covariance or photon number."""
        light = self.law.homodyne
        q = np.random.default_rng(self.n).standard_normal(2 * self.n) * math.sqrt(8)
        displacement = math.sqrt(self.law.counter_efficiency) * self.law.counter.expected * q
        return max(
            float(np.abs(found).max())
            for found in (
                self.law.outcome_gain * self.x - exact.outcome_map,
                self.mean_map(light) - exact.homodyne_map,
                self.law.outcome_variance - exact.covariance[0, 0],
                light.outcome_variance - exact.covariance[0, 0],
                self.noise(light) - exact.covariance[1:, 1:],
                self.cross(light) - exact.covariance[0, 1:],
                self.photons(q) - exact.photons(q, displacement),
            )
        )


def compare(client: ClientLaw, build: Build, n: int) -> float:
    law = LinkLaw.from_ledger(LEDGER, client)
    closed = Closed(law, n, seed=7)
    return closed.disagreement(moments(bench_of(build), closed.u))


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("n", SIZES)
def test_honest_law_in_an_imperfect_light_path(name: str, n: int) -> None:
    setting, build = SETTINGS[name]
    assert compare(client_law.honest(LEDGER, setting), build, n) < EXACT


def test_server_expects_the_honest_amplitudes() -> None:
    law = LinkLaw.from_ledger(LEDGER, client_law.honest(LEDGER, SETTINGS["balanced amplifier"][0]))
    total = 0.8 * 0.95 * 0.9 * 0.75
    assert law.homodyne.expected == pytest.approx(math.sqrt(total * 0.92), rel=1e-14)
    assert law.counter.expected == pytest.approx(math.sqrt(total), rel=1e-14)


@pytest.mark.parametrize("n", SIZES)
def test_cheating_clients_in_an_imperfect_light_path(n: int) -> None:
    """Cheats read with perfect detectors."""
    setting = TapSetting.amplifier(2.0)
    cases: list[tuple[ClientLaw, Build]] = [
        (client_law.intercept_resend("unit"), InterceptResend(1.0)),
        (client_law.intercept_resend("mmse", 4.0), InterceptResend(0.8)),
        (client_law.cloner(), SymmetricCloner()),
        (client_law.substitution("vacuum"), VacuumSubstitution()),
    ]
    for client, build in cases:
        assert compare(client, build, n) < EXACT, client.name
    for name in ("balanced amplifier", "too little net gain", "feed-forward"):
        setting, build = SETTINGS[name]
        assert isinstance(build, AmplifierBuild | FeedForwardBuild)
        assert compare(client_law.passive_tap(0.1, setting, LEDGER), PassiveTap(0.1, build), n) < EXACT


@pytest.mark.parametrize("name", ["balanced amplifier", "feed-forward"])
def test_over_amplification_reads_with_perfect_detectors(name: str) -> None:
    setting, _ = SETTINGS[name]
    client = client_law.over_amplification(setting, 3.0, LEDGER)
    stronger: Build = AmplifierBuild(3.0, 1 / 3, N_SP)
    if setting.kind is TapKind.FEED_FORWARD:
        stronger = FeedForwardBuild(1 / 3)
    closed = Closed(LinkLaw.from_ledger(LEDGER, client), 8, seed=1)
    bench = replace(bench_of(stronger), client_efficiency=1.0, client_noise=0.0)
    assert closed.disagreement(moments(bench, closed.u)) < EXACT


@pytest.mark.parametrize("n", SIZES)
def test_cheat_with_a_lossless_fibre_hides_the_missing_loss(n: int) -> None:
    """It sits at the server's output and attenuates what it returns by the honest total."""
    cases: list[tuple[ClientLaw, Build]] = [
        (client_law.intercept_resend("mmse", 4.0), InterceptResend(0.8)),
        (client_law.cloner(), SymmetricCloner()),
        (client_law.over_amplification(TapSetting.feed_forward(0.7), 2.0, LEDGER), FeedForwardBuild(0.5)),
    ]
    for client, build in cases:
        law = LinkLaw.from_ledger(LEDGER, client).with_lossless_fibre()
        bench = bench_of(build)
        bench = replace(bench, forward=1.0, back=bench.forward * bench.back, client_efficiency=1.0, client_noise=0.0)
        closed = Closed(law, n, seed=2)
        assert closed.disagreement(moments(bench, closed.u)) < EXACT, client.name


# --- the tap by itself -----------------------------------------------------------------------------------------


def check_tap(law: TapLaw, build: AmplifierBuild | FeedForwardBuild, efficiency: float, noise: float) -> None:
    """A `TapLaw` against the propagation of one mode through this stage alone."""
    exact = moments(Bench(build, client_efficiency=efficiency, client_noise=noise), np.ones(1, dtype=np.complex128))
    size = max(1.0, exact.covariance[0, 0])
    found = [
        law.outcome_gain - exact.outcome_map[0],
        (law.outcome_variance - exact.covariance[0, 0]) / size,
        law.net_gain.real - exact.homodyne_map[0, 0],
        law.net_gain.imag - exact.homodyne_map[1, 0],
        law.d_x + 1 - exact.covariance[1, 1],
        law.d_p + 1 - exact.covariance[2, 2],
        law.covariance_x - exact.covariance[0, 1],
        law.covariance_p - exact.covariance[0, 2],
        exact.covariance[1, 2],
    ]
    assert max(map(abs, found)) < EXACT


@pytest.mark.parametrize(("efficiency", "noise"), [(1.0, 0.0), (0.8, 0.05), (0.3, 1.0)])
def test_taps_alone(efficiency: float, noise: float) -> None:
    for gain, n_sp in itertools.product((1 + 1e-6, 1.2, 2.0, 10.0), (1.0, 1.3, 2.0)):
        for tau in (1 / gain, 0.3, 0.9):
            law = amplifier_tap(gain, tau, n_sp=n_sp, efficiency=efficiency, electronic_noise=noise)
            check_tap(law, AmplifierBuild(gain, tau, n_sp), efficiency, noise)
    for t in (0.01, 0.5, 0.9, 0.999):
        law = feed_forward_tap(t, efficiency=efficiency, electronic_noise=noise)
        check_tap(law, FeedForwardBuild(t), efficiency, noise)


# --- a planted error of 5 % is seen ----------------------------------------------------------------------------

Planted = Callable[[LinkLaw], LinkLaw]


def scaled(law: LinkLaw, name: str) -> LinkLaw:
    return replace(law, **{name: getattr(law, name) * 0.95})


def scaled_tap(law: LinkLaw, name: str) -> LinkLaw:
    tap = replace(law.client.tap, **{name: getattr(law.client.tap, name) * 0.95})
    return replace(law, client=replace(law.client, tap=tap))


PLANTED: dict[str, Planted] = {
    "forward loss": lambda law: scaled(law, "forward"),
    "return loss": lambda law: scaled(law, "back"),
    "server efficiency": lambda law: scaled(law, "server_efficiency"),
    "server noise": lambda law: scaled(law, "server_noise"),
    "counter efficiency": lambda law: scaled(law, "counter_efficiency"),
    "forward excess": lambda law: scaled(law, "forward_excess"),
    "return excess": lambda law: scaled(law, "back_excess"),
    "net gain": lambda law: scaled_tap(law, "net_gain"),
    "added noise X": lambda law: scaled_tap(law, "d_x"),
    "added noise P": lambda law: scaled_tap(law, "d_p"),
    "outcome gain": lambda law: scaled_tap(law, "outcome_gain"),
    "outcome variance": lambda law: scaled_tap(law, "outcome_variance"),
    "covariance": lambda law: scaled_tap(law, "covariance_x"),
}


@pytest.mark.parametrize("planted", PLANTED)
@pytest.mark.parametrize("name", ["too little net gain", "feed-forward"])
def test_planted_errors_of_five_per_cent_are_seen(name: str, planted: str) -> None:
    setting, build = SETTINGS[name]
    law = LinkLaw.from_ledger(LEDGER, client_law.honest(LEDGER, setting))
    closed = Closed(PLANTED[planted](law), 8, seed=7)
    assert closed.disagreement(moments(bench_of(build), closed.u)) > 1e4 * EXACT


def test_client_receiver_of_the_ledger_is_the_one_of_the_tap() -> None:
    """5 % on the client's efficiency and electronic noise, which enter through `tap_law`."""
    setting, build = SETTINGS["feed-forward"]
    parts = [
        replace(part, transmissivity=0.85 * 0.95) if part.name == "receiver" else part for part in LEDGER.components
    ]
    noisy = [replace(part, electronic_noise=0.07 * 1.05) if part.name == "receiver" else part for part in parts]
    for components in (parts, noisy):
        law = LinkLaw.from_ledger(LEDGER, ClientLaw("wrong", tap_law(setting, Ledger("wrong", tuple(components)))))
        closed = Closed(law, 8, seed=7)
        assert closed.disagreement(moments(bench_of(build), closed.u)) > 1e4 * EXACT
