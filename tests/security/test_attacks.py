"""Symbols and powers of the named cheats: against the reference table, and counted with the sampler and the checks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy import stats

from labqdl.facts import Component, Ledger, Owner, Place, TapSetting
from labqdl.rng import Roots
from labqdl.security.attacks import (
    ATTACKS,
    Attack,
    Scene,
    alternative,
    alternative_of,
    cloner,
    cloner_before,
    coherent,
    estimate,
    geometry,
    intercept_resend,
    outside_tap,
    over_amplification,
    passive_tap,
    simulate,
    substitution,
)
from labqdl.security.sample_size import Test as Kind

IDEAL = Scene(4.0, TapSetting.amplifier(2.0), Ledger("ideal"), 392)
HALF = Scene(
    4.0,
    TapSetting.amplifier(2.0),
    Ledger(
        "half",
        (
            Component("out", Place.FORWARD, Owner.CHANNEL, transmissivity=math.sqrt(0.5)),
            Component("back", Place.RETURN, Owner.CHANNEL, transmissivity=math.sqrt(0.5)),
        ),
    ),
    392,
)

# Symbols for power 0.99 at one-sided 1e-6, mu = 4, G = 2, n = 392: the reference's figures without loss and at T = 1/2.
TABLE = [
    (intercept_resend(), 76, 196),
    (intercept_resend("mmse"), 101, 275),
    (passive_tap(0.001), 2.51e7, 5.02e7),
    (passive_tap(0.01), 249_997, 499_622),
    (passive_tap(0.1), 2_385, 4_767),
    (over_amplification(2.2), 1.87e9, 3.74e9),
    (over_amplification(3), 1.394e8, 2.78e8),
    (over_amplification(10), 2.42e7, 4.84e7),
    (over_amplification(2.2, Kind.COUNT), 19_205 * 392, 24_400 * 392),
    (over_amplification(3, Kind.COUNT), 1_624 * 392, 2_054 * 392),
    (over_amplification(10, Kind.COUNT), 347 * 392, 435 * 392),
    (cloner(1), 196, 589),
    (cloner_before(0.1), 10_971, 42_028),
    (cloner_before(0.01), 1.016e6, 4.04e6),
    (substitution(), 18, 34),
    (estimate(0.25), 2_011, 7_356),
    (estimate(0.02), 336_041, 1.51e6),
    (outside_tap(0.001), 6.28e6, 1.26e7),
    (outside_tap(0.01), 62_814, 125_534),
]


def named(attack: Attack) -> str:
    return f"{attack.title}, {attack.test}"


@pytest.mark.parametrize(("attack", "ideal", "half"), TABLE, ids=[named(row[0]) for row in TABLE])
def test_symbols_are_those_of_the_reference(attack: Attack, ideal: float, half: float) -> None:
    for scene, expected in ((IDEAL, ideal), (HALF, half)):
        found = alternative(attack, scene).symbols_needed(1e-6, 0.99)
        assert abs(found - expected) <= max(1.0, 0.005 * expected)
        rows, modes = geometry(attack, scene, found)
        assert alternative(attack, scene).power(rows * modes, 1e-6) == pytest.approx(0.99, abs=4e-3)


def test_faint_cloners_are_counted_within_few_rows() -> None:
    attack = cloner_before(0.01, Kind.COUNT)
    assert alternative(attack, IDEAL).symbols_needed(1e-6, 0.99) <= 35 * 392
    assert alternative(attack, HALF).symbols_needed(1e-6, 0.99) <= 66 * 392


def test_the_table_covers_every_attack_of_the_catalogue() -> None:
    listed = {named(attack) for attack, _, _ in TABLE} | {named(cloner_before(0.01, Kind.COUNT))}
    assert {named(attack) for attack in ATTACKS} - listed == {named(coherent(10)), named(coherent(100))}


# Everything whose symbols can be drawn within a second; the rest in the soak.
QUICK = [
    *(a for a in ATTACKS if a.uses < 10 and alternative(a, IDEAL).symbols_needed(1e-6, 0.99) < 3e5),
    coherent(100),
]


@pytest.mark.parametrize("scene", [IDEAL, HALF], ids=["ideal", "half"])
@pytest.mark.parametrize("attack", QUICK, ids=named)
def test_counted_power_is_that_of_theory(attack: Attack, scene: Scene) -> None:
    """200 sessions at the symbols for 0.9 (60 over many uses); counts outside of a binomial's 1e-8 tails fail."""
    check(attack, scene, 60 if attack.uses > 1 else 200, 1e-8)


@pytest.mark.soak
@pytest.mark.parametrize("scene", [IDEAL, HALF], ids=["ideal", "half"])
@pytest.mark.parametrize("attack", ATTACKS, ids=named)
def test_counted_power_is_that_of_theory_at_full_size(attack: Attack, scene: Scene) -> None:
    if alternative(attack, scene).symbols_needed(1e-6, 0.9) > 6e7:
        pytest.skip("more symbols than can be drawn; the same law at other strengths is tested")
    check(attack, scene, 2000, 1e-8)


def check(attack: Attack, scene: Scene, trials: int, tail: float) -> None:
    symbols = alternative(attack, scene).symbols_needed(1e-6, 0.9)
    rows, modes = geometry(attack, scene, symbols)
    expected = alternative(attack, scene).power(rows * modes, 1e-6)
    found = simulate(attack, scene, symbols, 1e-6, trials, Roots.from_seed(11).world)
    assert stats.binom.cdf(found, trials, expected) > tail, f"{found} of {trials}, expected {expected:.4f}"
    assert stats.binom.sf(found - 1, trials, expected) > tail, f"{found} of {trials}, expected {expected:.4f}"


def test_an_attack_a_twentieth_weaker_is_not_taken_for_it() -> None:
    """The comparison above sees an effect that is five per cent off."""
    trials, attack = 4000, passive_tap(0.1)
    symbols = alternative(attack, IDEAL).symbols_needed(1e-6, 0.9)
    rows, modes = geometry(attack, IDEAL, symbols)
    found = simulate(passive_tap(0.095), IDEAL, symbols, 1e-6, trials, Roots.from_seed(12).world)
    assert stats.binom.cdf(found, trials, alternative(attack, IDEAL).power(rows * modes, 1e-6)) < 1e-8


@pytest.mark.parametrize(
    "attack", [over_amplification(3), passive_tap(0.1), over_amplification(3, Kind.COUNT)], ids=named
)
def test_honest_light_is_found_at_the_stated_rate(attack: Attack) -> None:
    """The honest client at alpha = 5 %: one side 5 %, the other side the same; 4,000 sessions, 1e-8 tails."""
    honest = Attack("honest", "--client honest", attack.test, lambda scene: scene.honest)
    found = simulate(honest, IDEAL, 20 * 392, 0.05, 4000, Roots.from_seed(13).world)
    assert stats.binom.sf(found - 1, 4000, 0.1) > 1e-8
    assert stats.binom.cdf(found, 4000, 0.07) > 1e-8  # counts are discrete, and checks hold for the worst data


def test_effects_are_what_their_docstring_says() -> None:
    assert alternative(intercept_resend(), IDEAL).effect == pytest.approx(3 / (1 + 1 / 392))
    assert alternative(passive_tap(0.19), IDEAL).effect == pytest.approx(-0.1, abs=1e-9)
    assert alternative(over_amplification(3, Kind.COUNT), IDEAL).effect == pytest.approx((4 / 3) / 1)
    assert alternative(coherent(100), IDEAL).effect == pytest.approx((1 + 100 / 392) / (1 + 1 / 392))
    spiked = alternative(cloner_before(0.01, Kind.COUNT), HALF)
    assert spiked.effect == 1.0
    assert spiked.isotropic == pytest.approx(0.5 * 0.01 / 2)


BENCH = Scene(
    4.0,
    TapSetting.amplifier(2.0),
    Ledger(
        "bench",
        (
            Component("fibre", Place.RETURN, Owner.CHANNEL, transmissivity=0.9, excess=0.01, phase_noise=0.03),
            Component("counter", Place.SERVER_COUNTER, Owner.SERVER, transmissivity=0.8, dark_counts=0.002),
        ),
    ),
    64,
)


@pytest.mark.parametrize("test", [Kind.GAIN, Kind.NOISE, Kind.COUNT])
def test_an_honest_client_on_a_real_path_makes_no_difference(test: Kind) -> None:
    """Phase noise, dark counts and technical noise belong to the honest law, not to the cheat."""
    found = alternative_of(test, BENCH.honest, BENCH)
    assert found.effect == pytest.approx(0.0 if test is Kind.GAIN else 1.0, abs=1e-12)
    assert (found.isotropic, found.stray) == pytest.approx((0.0, 0.0), abs=1e-15)
    assert test is not Kind.COUNT or (found.background > 0 and found.dark > 0.002)


def test_counted_power_on_a_real_path_is_that_of_theory() -> None:
    attack = cloner_before(0.05, Kind.COUNT)
    found = alternative(attack, BENCH)
    rows = found.symbols_needed(1e-3, 0.8) // 64
    trials = 400
    hits = simulate(attack, BENCH, rows * 64, 1e-3, trials, Roots.from_seed(77).world)
    low, high = found.power(rows * 64, 1e-3) - 0.13, found.power(rows * 64, 1e-3) + 0.13
    # 5.5 standard errors of 0.02; the check's envelope for phase noise may cost a few more per cent.
    assert low < hits / trials < high
    # Without the background that an honest client has as well, far fewer symbols would seem to do.
    assert replace(found, background=0.0, dark=0.0).symbols_needed(1e-3, 0.8) < 0.7 * rows * 64
