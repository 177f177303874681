"""Cheats in the world are found by the checks that judge a session, as often as the closed forms say.

A trial is a session of some rows; a cheat's test is run one-sided at `ALPHA`. How many of the trials are found is
binomial with the predicted power; the band of `_BAND` is missed by a right one with less than 4e-7 for all cheats of a
run together. The mean effect, over all trials, is held to 5.6 standard errors as well (2e-8 each); in a soak an error
of 5 % of it exceeds that for all cheats but the substitution, which is found in a single row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import binom

from labqdl.facts import Ledger, TapSetting
from labqdl.security import attacks
from labqdl.security.attacks import Attack, Scene
from labqdl.security.checks import count_check, gain_check, noise_check
from labqdl.security.expected import Totals
from labqdl.security.sample_size import Test as Check
from labqdl.security.shot_noise import vacuum_interval
from labqdl_sim.world import Field, Grid, Part, World
from labqdl_sim.world.adversaries import Cloner, Interceptor, PassiveTap, Spiker
from tests.sim.world.chain import Light, Setting, stream
from tests.sim.world.ideal import BIN_RATE, Source, constant, world

N_MODES, MU = 8, 4.0
ALPHA, POWER = 1e-3, 0.8
TRIALS = 100
_BAND = 1e-8
SCENE = Scene(MU, TapSetting.feed_forward(0.9), Ledger("ideal"), N_MODES)
HONEST = Setting(N_MODES, "feed-forward", {"t": 0.9}, mu=MU)


def part(kind: type[Part], name: str, **given: float) -> Callable[[World], Part]:
    return lambda made: made.add(kind, name, given)


@dataclass(frozen=True, slots=True)
class Case:
    """An attack of the library, and the world that commits it."""

    attack: Attack
    setting: Setting

    @property
    def rows(self) -> int:
        """Rows of a trial that are found with about the wanted power."""
        symbols = attacks.alternative(self.attack, SCENE).symbols_needed(ALPHA, POWER)
        return max(1, round(symbols / N_MODES))

    @property
    def power(self) -> float:
        """Predicted for these rows."""
        return attacks.alternative(self.attack, SCENE).power(self.rows * N_MODES, ALPHA)


def only(kind: type[Part], **given: float) -> Setting:
    """A cheat in the client's place."""
    return replace(HONEST, kind="none", before=part(kind, "cheat", **given))


CASES = {
    "resender": Case(attacks.intercept_resend(), only(Interceptor)),
    "resender of the best estimate": Case(attacks.intercept_resend("mmse"), only(Interceptor, gain=MU / (MU + 1))),
    "cloner": Case(attacks.cloner(1.0), only(Cloner, noise=1.0)),
    "cloner before the stage": Case(
        attacks.cloner_before(0.2), replace(HONEST, before=part(Cloner, "cheat", noise=0.2))
    ),
    "substitution": Case(attacks.substitution(), only(PassiveTap, fraction=1.0)),
    "passive tap": Case(attacks.passive_tap(0.1), replace(HONEST, before=part(PassiveTap, "cheat", fraction=0.1))),
    "outside taps": Case(
        attacks.outside_tap(0.05),
        replace(
            HONEST,
            before=part(PassiveTap, "out", fraction=0.05),
            behind=part(PassiveTap, "home", fraction=0.05),
        ),
    ),
    "turned-up tap, counted": Case(attacks.over_amplification(2.0, Check.COUNT), replace(HONEST, tap={"t": 0.5})),
    "turned-up tap, homodyned": Case(attacks.over_amplification(5.0), replace(HONEST, tap={"t": 0.2})),
}


def trials(light: Iterator[Light], rows: int, seed: int) -> Iterator[Totals]:
    """Sums of sessions of so many rows, and nulled counts of the same light."""
    counts = np.random.default_rng([seed, 99])
    for block in light:
        whole = block.sent.shape[0] // rows * rows
        shape = (whole // rows, -1)
        sent = np.where(block.turned, block.sent.imag, block.sent.real)[:whole].reshape(shape) * 2.0
        other = np.where(block.turned, -block.sent.real, block.sent.imag)[:whole].reshape(shape) * 2.0
        residual = block.residual[:whole].reshape(shape)
        photons = counts.poisson(np.abs(block.returned - block.sent) ** 2)[:whole].reshape(shape)
        columns = zip(
            *(
                np.einsum("ij,ij->i", one, two).tolist()
                for one, two in (
                    (sent, sent), (sent, residual), (residual, residual), (other, other), (other, residual),
                )
            ),
            photons.sum(axis=1).tolist(),
            strict=True,
        )  # fmt: skip
        size = sent.shape[1]
        for qq, qr, rr, jj, jr, total in columns:
            yield Totals(
                qq=qq, qr=qr, rr=rr, jj=jj, jr=jr, energy=qq + jj, signal=(qq + jj) / 4, residuals=size,
                homodyned=rows, photons=total, slots=size, counted=rows, images=rows,
            )  # fmt: skip


def found(test: Check, part: Totals) -> bool:
    """Whether the check that judges a session finds it, at the predicted side."""
    judge = {Check.GAIN: gain_check, Check.NOISE: noise_check, Check.COUNT: count_check}[test]
    return not judge([SCENE.layer()], [part], 2 * ALPHA).passed


def effect(test: Check, sessions: list[Totals]) -> tuple[float, float]:
    """The mean effect on a test's statistic and its standard error, from the spread between sessions."""
    if test is Check.GAIN:
        values = np.array([one.qr / one.qq for one in sessions])
    elif test is Check.NOISE:
        values = np.array([one.rr / one.residuals for one in sessions])
    else:
        values = np.array([one.photons / one.homodyned for one in sessions], np.float64)
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size))


def predicted(case: Case) -> float:
    """The same by the closed forms of the library."""
    alternative = attacks.alternative(case.attack, SCENE)
    if case.attack.test is Check.NOISE:
        honest = 1.0 + SCENE.honest.client.tap.added_noise / N_MODES
        return alternative.effect * honest
    if case.attack.test is Check.COUNT:
        return alternative.photons * alternative.effect
    return alternative.effect


def band(number: int, least: float, most: float) -> tuple[int, int]:
    """How many of so many trials a power between two limits finds."""
    return int(binom.ppf(_BAND, number, least)), int(binom.ppf(1 - _BAND, number, most))


def prove(name: str, wanted: int, seed: int) -> str:
    """Runs `wanted` trials of a cheat; a line for the table."""
    case = CASES[name]
    light = stream(case.setting, wanted * case.rows * N_MODES, seed, rows_a_direction=1)
    sessions = list(trials(light, case.rows, seed))
    number = sum(found(case.attack.test, one) for one in sessions)
    low, high = band(len(sessions), case.power, case.power)
    mean, error = effect(case.attack.test, sessions)
    line = (
        f"{name:32} {case.attack.test:6} {case.rows * N_MODES:7} symbols: found {number}/{len(sessions)}, predicted "
        f"{case.power:.3f}; effect {mean:.5f}, predicted {predicted(case):.5f} +- {error:.5f}"
    )
    assert low <= number <= high, line
    assert abs(mean - predicted(case)) < 5.6 * error, line
    return line


@pytest.mark.parametrize("name", [name for name in CASES if name != "turned-up tap, homodyned"])
def test_a_cheat_is_found_with_the_predicted_power(name: str) -> None:
    print(prove(name, 2 * TRIALS, seed=8))


@pytest.mark.soak
@pytest.mark.parametrize("name", CASES)
def test_a_cheat_is_found_with_the_predicted_power_in_many_trials(name: str) -> None:
    print(prove(name, 20 * TRIALS, seed=9))


def test_an_honest_client_is_accused_no_more_often_than_agreed() -> None:
    sessions = list(trials(stream(HONEST, 2 * TRIALS * 30 * N_MODES, 3, rows_a_direction=1), 30, seed=3))
    for check in (Check.GAIN, Check.NOISE, Check.COUNT):
        accused = sum(found(check, one) for one in sessions)
        assert accused <= binom.ppf(1 - 1e-7, len(sessions), 2 * ALPHA)


class Imitator(Cloner):
    """Returns light of its own, off by some noise, where there was light; vacuum where there was none."""

    kind = "imitator"

    def light(self, port: str, grid: Grid) -> Field:
        field = self.field("input", grid)
        noise = np.where(field.envelope != 0.0, self.added(grid, self["noise"]), 0.0)
        return Field(field.envelope + noise, field.jones)


def test_spiked_vacuum_slots_hide_noise_from_a_unit_that_crossed_the_client() -> None:
    """And not from the verifier's own slots: there it is found with the predicted power."""
    noise, slots = 0.25, 2048

    def cheat(made: World) -> Part:
        made.add(Imitator, "imitator", {"noise": noise})
        made.add(Spiker, "spiker", {"noise": noise})
        made.link("imitator", "spiker")
        return made.parts["imitator"]

    attack = attacks.estimate(noise)
    rows = math.ceil(attacks.alternative(attack, SCENE).symbols_needed(ALPHA, POWER) / N_MODES)
    honest = replace(HONEST, kind="none", before=part(PassiveTap, "nobody", fraction=0.0))
    light = Setting(N_MODES, "none", {}, before=cheat, last="spiker")
    sessions = list(trials(stream(light, TRIALS * rows * N_MODES, 5, rows_a_direction=1), rows, seed=5))
    crossing = list(stream(replace(light, mu=0.0), TRIALS * slots, 6, rows_a_direction=1))
    own = list(stream(replace(honest, mu=0.0), TRIALS * slots, 7, rows_a_direction=1))
    caught = {}
    for name, blocks in (("crossed", crossing), ("own", own)):
        vacuum = np.concatenate([block.residual.ravel() for block in blocks])[: TRIALS * slots].reshape(TRIALS, slots)
        caught[name] = 0
        for squares, session in zip(np.sum(vacuum**2, axis=1).tolist(), sessions, strict=False):
            low, high = vacuum_interval(Totals(vacuum_squares=squares, vacuum_slots=slots), ALPHA / 10)
            layer = replace(SCENE.layer(), floor=high, floor_least=low)
            caught[name] += not noise_check([layer], [session], 2 * ALPHA).passed
    unit, spread = float(np.mean(vacuum**2)), math.sqrt(2 / vacuum.size)
    assert abs(unit - 1.0) < 5.6 * spread
    crossed = np.concatenate([block.residual.ravel() for block in crossing])
    assert abs(float(np.mean(crossed**2)) / (1 + noise) - 1.0) < 5.6 * math.sqrt(2 / crossed.size)
    # The unit's own uncertainty costs power: the floor is the end of an interval, up to 2 x 4 standard errors high.
    alternative = attacks.alternative(attack, SCENE)
    worst = 1 + 8 * math.sqrt(2 / slots)
    power = replace(alternative, effect=alternative.effect / worst).power(rows * N_MODES, ALPHA)
    low, high = band(len(sessions), power, alternative.power(rows * N_MODES, ALPHA))
    assert low <= caught["own"] <= high
    assert caught["crossed"] <= binom.ppf(1 - 1e-7, len(sessions), 2 * ALPHA)


def test_a_spiker_leaves_signals_alone_and_obeys_its_switch() -> None:
    made = world(4)
    source = made.add(Source, "source")
    source.symbols = np.concatenate([np.zeros(50), np.ones(50), np.zeros(50)]).astype(np.complex128)
    spiker = made.add(Spiker, "spiker", {"noise": 0.5, "window": 4 / BIN_RATE, "threshold": 1e3})
    made.link("source", "spiker")
    grid = made.grid(0.0, 600)
    added = spiker.light("output", grid).envelope - source.light("output", grid).envelope
    near = np.zeros(600, np.bool_)
    near[200 - 8 : 400 + 8] = True
    assert np.all(added[near] == 0.0)
    assert np.all(added[~near] != 0.0)
    spiker.connect_volts("enable", constant(0.0))
    assert np.array_equal(spiker.light("output", grid).envelope, source.light("output", grid).envelope)
    spiker.connect_volts("enable", constant(1.0))
    again = spiker.light("output", grid).envelope - source.light("output", grid).envelope
    np.testing.assert_array_equal(again, added)


def test_clones_share_one_noise_and_a_tap_keeps_what_it_takes() -> None:
    made = world(2)
    source = made.add(Source, "source")
    cloner = made.add(Cloner, "cloner", {"noise": 0.2})
    tap = made.add(PassiveTap, "tap", {"fraction": 0.3})
    for name in ("cloner", "tap"):
        made.link("source", name)
    grid = made.grid(0.0, 1 << 16)
    on, kept = (cloner.light(port, grid).envelope for port in ("output", "kept"))
    np.testing.assert_allclose(kept, on / 0.2)
    variance = np.mean(np.abs(on) ** 2) * 2 * grid.step
    assert abs(variance / 0.2 - 1) < 5.6 / math.sqrt(grid.count)
    source.symbols = np.ones(4, np.complex128)
    made.changed()
    on, kept = (tap.light(port, made.grid(0.0, 8)).envelope for port in ("output", "kept"))
    np.testing.assert_allclose([np.abs(on) ** 2, np.abs(kept) ** 2], np.array([[0.7], [0.3]]) * BIN_RATE * np.ones(8))
