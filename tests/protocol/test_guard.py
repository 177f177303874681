"""The client's own checks: their tails against exact laws, false alarms, what they see, and that they stay its own."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from labqdl.facts import (
    Activation,
    Budgets,
    Component,
    FrameDescription,
    LayerFrame,
    Ledger,
    MonitorReading,
    Owner,
    Place,
    TapSetting,
    TestResult,
    VerificationPlan,
)
from labqdl.facts.monitor import POWER_MONITOR
from labqdl.link import Depth, EmulatedLink, parse_server
from labqdl.protocol.guard import (
    Guard,
    GuardRecord,
    GuardSettings,
    complaint,
    crest_of_random_direction,
    poisson_tail,
    quadratic_tail,
)
from labqdl.rng import Roots

METER = Component(POWER_MONITOR, Place.CLIENT_IN, Owner.CLIENT, transmissivity=0.99)
LEDGER = Ledger(
    "meter",
    (
        Component("fibre", Place.FORWARD, Owner.CHANNEL, transmissivity=0.8, excess=0.02),
        METER,
        Component("receiver", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=0.9, electronic_noise=0.05),
    ),
)
SHAKY = replace(
    LEDGER, components=(*LEDGER.components, Component("drift", Place.FORWARD, Owner.CHANNEL, phase_noise=0.05))
)
FRAME = FrameDescription(
    "test",
    (LayerFrame(24, 16, False, 4.0, None, Activation()),),
    8,
    4,
    TapSetting.amplifier(2.0),
    LEDGER,
    VerificationPlan(),
    Budgets(),
    check_vectors=3,
)


def visit(
    seed: int, server: str = "honest", frame: FrameDescription = FRAME, settings: GuardSettings | None = None
) -> Guard:
    """A client's guard after a session over the emulated link with random weights and data."""
    roots = Roots.from_seed(seed)
    generator = np.random.default_rng([seed, 1])
    link = EmulatedLink(frame.ledger, roots.world, depth=Depth.OUTCOMES, server=parse_server(server))
    link.prepare(frame)
    guard = Guard(settings or GuardSettings(alpha=0.01), frame, roots.client)
    for block in range(frame.n_blocks):
        for index, layer in enumerate(frame.layers):
            q = generator.standard_normal((layer.rows, layer.n_weights)) * math.sqrt(2 * layer.mu)
            q *= math.sqrt(2 * layer.mu * q.size / np.sum(q**2))
            data = generator.standard_normal((len(frame.block_images(block)), layer.n_weights))
            x = guard.with_checks(index, block, data / np.linalg.norm(data, axis=1, keepdims=True))
            link.server_port.send_rows(index, block, q, len(x))
            link.server_port.set_receiver(
                index, block, np.zeros(layer.n_modes, np.bool_), np.zeros(layer.rows, np.bool_), 1.0
            )
            link.client_port.set_data(index, block, x)
            link.transmit(index, block)
            guard.take(index, block, link.client_port.outcomes(index, block), link.client_port.monitor(index, block))
    return guard


def p_values(guard: Guard) -> dict[str, float]:
    return {test.name.split(",")[0]: test.p_value for test in guard.findings}


# --- tails -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [1e-9, 0.3, 17.0, 1e5])
def test_the_tail_of_counts_is_that_of_poisson(mean: float) -> None:
    for count in (0, 1, int(mean), int(mean + 5 * math.sqrt(mean)) + 1):
        assert poisson_tail(count, mean) == pytest.approx(float(stats.poisson.sf(count - 1, mean)), rel=1e-9)
    assert poisson_tail(0, 0.0) == 1.0
    assert poisson_tail(1, 0.0) == 0.0


@pytest.mark.parametrize("degrees", [1, 5, 300])
@pytest.mark.parametrize("score", [1.0, 3.0, 6.0])
def test_the_bound_on_a_tail_is_above_it_and_close(degrees: int, score: float) -> None:
    value = 2.5 * float(stats.chi2.isf(stats.norm.sf(score), degrees))
    exact = float(stats.norm.sf(score))
    bound = quadratic_tail(value, ((float(degrees), 2.5),))
    # For many degrees the bound is z sqrt(2 pi) above the tail; for few, whose tails are longer, more.
    most = exact * 2.5 * (1 + score * math.sqrt(2 * math.pi)) if degrees == 300 else exact * 150
    assert exact <= bound <= most
    # The same with a mean, against the noncentral law.
    shift = 3.0 * degrees
    value = 2.5 * float(stats.ncx2.isf(exact, degrees, shift))
    bound = quadratic_tail(value, ((float(degrees), 2.5),), 2.5 * shift, 2.5)
    assert exact * 0.999 <= bound <= most


def test_the_bound_on_a_tail_is_one_below_the_mean() -> None:
    assert quadratic_tail(9.9, ((10.0, 1.0),)) == 1.0
    assert quadratic_tail(1e9, ((10.0, 1.0),)) == 0.0


def test_a_random_direction_hits_a_single_one_rarely() -> None:
    # Worst form: all of it along one axis. 2e6 draws of n x_1^2 for n = 30, of which 20,000 may exceed the limit for
    # 1 % (far fewer do); a limit 3 times too small must not pass.
    generator = np.random.default_rng(5)
    squares = 30 / (1 + generator.chisquare(29, 2_000_000) / generator.chisquare(1, 2_000_000))
    share = float(np.mean(squares > crest_of_random_direction(0.01)))
    assert 0 < share < 0.01
    assert float(np.mean(squares > crest_of_random_direction(0.01) / 3)) > 0.01


# --- check vectors -----------------------------------------------------------------------------------------------


def test_checks_lie_in_secret_places_and_come_out_again() -> None:
    guard = Guard(GuardSettings(), FRAME, Roots.from_seed(1).client)
    other = Guard(GuardSettings(), FRAME, Roots.from_seed(2).client)
    x = np.random.default_rng(0).standard_normal((4, 16)).astype(np.float32)
    seen = set()
    for block in range(2):
        whole = guard.with_checks(0, block, x)
        assert whole.shape == (7, 16)
        assert whole.dtype == np.float32
        places = guard.places(0, block)
        assert (np.diff(places) > 0).all()
        assert (whole[places] == whole[places[0]]).all()
        assert np.linalg.norm(whole[places[0]]) == pytest.approx(1, rel=1e-6)
        data, checks = guard.split(0, block, whole)
        np.testing.assert_array_equal(data, x)
        np.testing.assert_array_equal(checks, whole[places])
        seen.add(tuple(checks[0]))
        assert not np.array_equal(other.with_checks(0, block, x), whole)
    assert len(seen) == 2  # a fresh direction for every block
    plain = Guard(GuardSettings(), replace(FRAME, check_vectors=0), Roots.from_seed(1).client)
    assert plain.with_checks(0, 0, x) is x
    assert plain.split(0, 0, x)[0] is x


def test_places_are_uniform() -> None:
    # 3 of 7 places, 2,000 blocks: chi-square over the seven, false alarm 1e-7.
    frame = replace(FRAME, images=8000)
    guard = Guard(GuardSettings(), frame, Roots.from_seed(3).client)
    counts = np.bincount(np.concatenate([guard.places(0, block) for block in range(2000)]), minlength=7)
    assert stats.chisquare(counts).pvalue > 1e-7
    counts[0] *= 1.3  # a place that is taken too often is found
    assert stats.chisquare(counts, counts.sum() / 7 * np.ones(7)).pvalue < 1e-7


def test_padding_carries_no_light() -> None:
    frame = replace(FRAME, layers=(replace(FRAME.layers[0], n_features=15),))
    guard = Guard(GuardSettings(), frame, Roots.from_seed(1).client)
    checks = guard.with_checks(0, 0, np.zeros((4, 16)))[guard.places(0, 0)]
    assert not checks[:, 15].any()
    assert checks[:, :15].all()


# --- honest light ------------------------------------------------------------------------------------------------

ROUNDS = pytest.mark.parametrize("sessions", [200, pytest.param(10_000, marks=pytest.mark.soak)], ids=["small", "soak"])


@ROUNDS
@pytest.mark.parametrize("ledger", [LEDGER, SHAKY], ids=["quiet", "shaky"])
def test_false_alarms_stay_below_the_agreed_rate(sessions: int, ledger: Ledger) -> None:
    """Each test on its own at 1e-2 and 1e-3, and all together; counts beyond a binomial's 1e-7 tail fail."""
    frame = replace(FRAME, ledger=ledger, images=4)
    found: dict[str, list[float]] = {}
    alarms = 0
    for seed in range(sessions):
        guard = visit(seed, frame=frame, settings=GuardSettings(alpha=0.01, power_tolerance=0.0))
        alarms += not all(test.passed for test in guard.findings)
        for name, p in p_values(guard).items():
            found.setdefault(name, []).append(p)
    assert set(found) == {"power", "row power", "out of band", "outcome energy", "repeat"}
    for name, values in found.items():
        for level in (1e-2, 1e-3):
            count = int(np.count_nonzero(np.array(values) <= level))
            assert stats.binom.sf(count - 1, sessions, level) > 1e-7, f"{name} at {level}: {count} of {sessions}"
    assert stats.binom.sf(alarms - 1, sessions, 0.01) > 1e-7
    if ledger is LEDGER:
        # The repeat test is exact without phase noise: p-values are uniform, and 5 % more noise shows in the soak.
        repeats = np.array(found["repeat"])
        assert stats.kstest(repeats, "uniform").pvalue > 1e-7
        if sessions > 1000:
            degrees = 2 * 24
            louder = np.asarray(stats.chi2.sf(1.05 * stats.chi2.isf(repeats, degrees), degrees))
            assert stats.kstest(louder, "uniform").pvalue < 1e-7


def test_what_all_tests_of_a_session_may_spend_adds_up_to_at_most_alpha(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test that is made, of single blocks and of all blocks so far, at the threshold that it was given."""
    spent: list[float] = []
    made = Guard._tests

    def tests(self: Guard, sums: GuardRecord, blocks: int) -> tuple[TestResult, ...]:
        results = made(self, sums, blocks)
        spent.extend(result.threshold for result in results)
        return results

    monkeypatch.setattr(Guard, "_tests", tests)
    layers = (FRAME.layers[0], replace(FRAME.layers[0], rows=10, n_features=24))
    visit(3, frame=replace(FRAME, layers=layers, images=24, ledger=LEDGER), settings=GuardSettings(alpha=0.01))
    assert len(spent) == 2 * (6 * 5 + 5 * 4)
    assert 0.005 < math.fsum(spent) <= 0.01


@pytest.mark.parametrize(("brightness", "seen"), [(1.03, False), (1.09, True)])
def test_the_power_meter_is_believed_as_far_as_it_is_calibrated(brightness: float, seen: bool) -> None:
    """63,000 photons: 3 % more are eight standard deviations off, as far as 9 % are from what the tolerance allows."""
    layer = replace(FRAME.layers[0], mu=100.0)
    frame = replace(FRAME, layers=(layer,), images=400, block=100)
    guard = visit(4, f"bright-probe:{brightness}", frame, GuardSettings(alpha=0.4, power_tolerance=0.05))
    (power,) = [test for test in guard.findings if test.name == "power, layer 1"]
    assert power.z > 5
    assert power.passed is not seen


def test_the_brightest_of_many_rows_is_judged_as_that() -> None:
    """P(one of 24 rows has so many photons) is at most 24 times that of one row, at the crest that is allowed."""
    light = 0.5 * 7 * (4.0 * 16 / 2 * LEDGER.transmissivity(Place.FORWARD) + LEDGER.forward_excess * 8 / 2)
    photons = np.full(24, round(light))
    photons[5] = round(2 * light + 3 * math.sqrt(2 * light))
    guard = Guard(GuardSettings(row_crest=2.0), FRAME, Roots.from_seed(1).client)
    guard.take(0, 0, np.zeros((7, 24)), MonitorReading(photons, 0.5, 0))
    (row,) = [test for test in guard.findings if test.name == "row power, layer 1"]
    assert row.statistic == photons[5]
    assert row.p_value == pytest.approx(24 * float(stats.poisson.sf(photons[5] - 1, 2 * light)), rel=1e-9)
    assert 1e-3 < row.p_value < 1


def test_what_failed_once_stays_failed() -> None:
    """A bright block among honest ones: the last blocks' own tests pass, and do not wipe out what was found."""
    guard = Guard(GuardSettings(), replace(FRAME, images=400, check_vectors=0), Roots.from_seed(1).client)
    found = []
    for block in range(100):
        values = np.full((4, 24), 60.0 if block == 0 else 0.0)
        found.append([test.name for test in guard.take(0, block, values)])
    assert found[0] == found[1] == ["outcome energy, layer 1"]
    assert not found[-1]
    (test,) = guard.findings
    assert not test.passed


def test_phase_noise_that_was_agreed_is_no_entangled_light() -> None:
    """Bright light whose phase wanders makes repeated outcomes differ by three times the noise of a quiet path."""
    frame = replace(FRAME, ledger=SHAKY, layers=(replace(FRAME.layers[0], mu=400.0),), images=40)
    guard = visit(5, frame=frame)
    (repeat,) = [test for test in guard.findings if test.name == "repeat, layer 1"]
    assert repeat.passed
    assert repeat.statistic > 1.5
    assert repeat.z > 6


def test_dark_counts_of_the_watchdog_are_those_of_all_slots() -> None:
    """7 vectors, 24 rows and 8 modes of 0.05 darks each."""
    guard = Guard(GuardSettings(), FRAME, Roots.from_seed(1).client)
    guard.take(0, 0, np.zeros((7, 24)), MonitorReading(np.zeros(24, np.int64), 0.0, 80, dark_counts=0.05))
    (dark,) = [test for test in guard.findings if test.name == "out of band, layer 1"]
    assert dark.expected == pytest.approx(67.2)
    assert dark.p_value == pytest.approx(float(stats.poisson.sf(79, 67.2)), rel=1e-9)


def test_nothing_is_judged_that_was_not_measured() -> None:
    guard = Guard(GuardSettings(), replace(FRAME, check_vectors=0), Roots.from_seed(1).client)
    assert guard.take(0, 0, np.zeros((4, 24))) == ()
    assert [test.name for test in guard.findings] == ["outcome energy, layer 1"]
    guard.take(0, 1, np.zeros((4, 24)), MonitorReading(np.zeros(24, np.int64), 0.0, 0))
    assert {test.name for test in guard.findings} == {"outcome energy, layer 1", "out of band, layer 1"}
    with pytest.raises(ValueError, match="rows"):
        guard.take(0, 0, np.zeros((4, 24)), MonitorReading(np.zeros(23, np.int64), 0.0, 0))


# --- dishonest light ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("bright-probe:2", "power"),
        ("bright-probe:100", "outcome energy"),
        ("two-mode-squeezed:3", "repeat"),
        ("x-dependent:0.01", "out of band"),
    ],
)
def test_every_dishonest_server_is_seen_by_its_test(word: str, name: str) -> None:
    frame = replace(FRAME, images=40, block=8)
    for seed in range(5):
        guard = visit(seed, word, frame, GuardSettings())
        failed = [test for test in guard.findings if not test.passed]
        assert name in {test.name.split(",")[0] for test in failed}
        words = complaint(failed)
        assert f"{name}, layer 1" in words
        assert words.isprintable()
        assert "p = 0," not in words
        if word.startswith("two-mode"):
            assert {test.name for test in failed} == {"repeat, layer 1"}  # its energy is the agreed one


def test_entangled_light_adds_two_units_a_photon_to_what_is_repeated() -> None:
    # N_S = 0.5: outcome variance grows by g^2 T_1 2 N_S. 100 sessions, 9,600 degrees: standard error 1.4 %, 5.5 sigma.
    found, degrees = 0.0, 0
    for seed in range(100):
        guard = visit(seed, "two-mode-squeezed:0.5")
        found += math.fsum(one.repeats for one in guard.records)
        degrees += sum(one.degrees for one in guard.records)
    gain, variance = 0.9 * 0.8 * 0.99, 1.05 + 0.9 * (1.0 + 0.02)
    expected = variance + gain * 2 * 0.5
    assert found / degrees == pytest.approx(expected, rel=5.5 * math.sqrt(2 / degrees))
    assert found / degrees > 1.05 * variance * (1 + 5.5 * math.sqrt(2 / degrees))


def test_power_of_the_repeat_test_is_that_of_its_chi_square() -> None:
    # 400 sessions at N_S = 0.3; binomial error of the share of alarms at p <= 0.01: 2.5 %, five of them.
    p = np.array(
        [p_values(visit(seed, "two-mode-squeezed:0.3", replace(FRAME, images=4)))["repeat"] for seed in range(400)]
    )
    ratio = 1 + 0.9 * 0.8 * 0.99 * 0.6 / (1.05 + 0.9 * 1.02)
    power = float(stats.chi2.sf(stats.chi2.isf(0.01, 48) / ratio, 48))
    assert 0.05 < power < 0.95
    assert abs(np.mean(p <= 0.01) - power) < 5 * math.sqrt(power * (1 - power) / 400)


# --- records -----------------------------------------------------------------------------------------------------


def test_records_bring_everything_back() -> None:
    for word in ("honest", "bright-probe:3"):
        guard = visit(4, word, replace(FRAME, images=20))
        text = json.dumps([record.to_json() for record in guard.records])
        again = Guard(GuardSettings(alpha=0.01), replace(FRAME, images=20), Roots.from_seed(4).client)
        again.restore(GuardRecord(**entry) for entry in json.loads(text))
        assert again.records == guard.records
        assert again.findings == guard.findings


@pytest.mark.parametrize(
    "wrong",
    [{"alpha": 0.0}, {"alpha": 0.5}, {"power_tolerance": -0.1}, {"row_crest": 0.5}, {"outcome_crest": math.inf}],
    ids=str,
)
def test_settings_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GuardSettings(**wrong)


def readings() -> NDArray[np.int64]:
    return np.zeros(2, np.int64)


def test_readings_that_make_no_sense() -> None:
    for wrong in ((readings() - 1, 0.1, 0), (readings()[:, None], 0.1, 0), (readings(), 1.0, 0), (readings(), 0.1, -1)):
        with pytest.raises(ValueError, match=r"photons|fraction|counts"):
            MonitorReading(*wrong)
    with pytest.raises(ValueError, match="check_vectors"):
        replace(FRAME, check_vectors=1)


def test_the_agreed_rate_is_the_clients_as_well() -> None:
    root = Roots.from_seed(1).client
    for alpha in (1e-6, 1e-2):
        frame = replace(FRAME, plan=replace(FRAME.plan, alpha=alpha))
        assert Guard(GuardSettings(), frame, root).threshold == pytest.approx(alpha / (2 * 5 * 1 * 2))
        assert Guard(GuardSettings(alpha=1e-3), frame, root).threshold == pytest.approx(1e-3 / 20)
