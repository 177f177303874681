"""Symbols to certify a bound, and to see a cheat."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from labqdl.facts import Budgets, Component, FrameDescription, Ledger, Owner, Place, VerificationPlan
from labqdl.optics.client_law import over_amplification
from labqdl.optics.law import LinkLaw
from labqdl.planner.question import Aim, Question, Subject
from labqdl.planner.search import Point, Search
from labqdl.planner.verification import POWER, best_certification, certification, detections, symbols_per_image
from labqdl.security.checks import session_checks
from labqdl.security.expected import Totals, honest_layers
from tests.planner.subjects import AMPLIFIER, IDEAL, ISOTROPIC, bench, layers


def _paper() -> tuple[Question, Point]:
    question = Question(ISOTROPIC, IDEAL, (AMPLIFIER,), f2_db=6.0, aim=Aim.WEIGHTS)
    return question, Search(question, AMPLIFIER).point(4.0, 0.5)


@pytest.mark.parametrize(
    ("bits_per_mode", "images"), [(0.2279, 10), (0.1363, 100), (0.1033, 1000), (0.0924, 10_000), (0.0890, 100_000)]
)
def test_table_of_finite_size(bits_per_mode: float, images: int) -> None:
    # Physics notes 3.4; there delta is spent on each of the two limits, here it is their sum.
    question, point = _paper()
    assert symbols_per_image(point) == 311_248
    found = certification(question, point, budget=bits_per_mode / 2, delta=2e-6, counting_fraction=0.0)
    assert found.images == pytest.approx(images, rel=0.12)
    assert found.symbols == 311_248 * (found.images or 0)


def test_counting_certifies_sooner() -> None:
    question, point = _paper()
    slow = certification(question, point, budget=0.046, delta=1e-6, counting_fraction=0.0)
    fast = best_certification(question, point, budget=0.046, delta=1e-6)
    assert slow.images is not None
    assert fast.images is not None
    assert fast.images < slow.images / 4
    assert fast.counting_fraction > 0


def test_nothing_certifies_less_than_there_is() -> None:
    question, point = _paper()
    found = best_certification(question, point, budget=0.043, delta=1e-6)
    assert found.images is None
    assert found.symbols is None


def test_tighter_budgets_and_confidence_take_longer() -> None:
    question, point = _paper()
    images = [
        certification(question, point, budget=budget, delta=delta, counting_fraction=0.25).images or 0
        for budget, delta in ((0.06, 1e-3), (0.06, 1e-9), (0.05, 1e-9))
    ]
    assert images == sorted(images)
    assert len(set(images)) == 3


def test_sums_over_uses_hold_many_uses() -> None:
    # Physics notes 3.5: K = 100 gives 7.99 bits per mode with all noise on the symmetric mode. The sums are as many as
    # the weights, however many uses there are: they hold the noise on that mode to about 0.03 SNU.
    question, point = _paper()
    question = replace(question, weight_uses=100)
    budget = 3.0
    plain = certification(question, point, budget=budget, delta=1e-6, counting_fraction=0.25)
    tested = replace(question, cross_use_tested=True)
    held = certification(tested, point, budget=budget, delta=1e-6, counting_fraction=0.25)
    assert plain.images is None
    assert held.images is not None


def test_detection_of_named_cheats() -> None:
    # Physics notes 2.4 (mu = 4, G = 2, n = 392), with shares of alpha: resending within a row, a 1 % tap within a
    # few inferences, more gain by counting.
    _, point = _paper()
    seen = {found.cheat.partition(":")[0]: found for found in detections(point, alpha=1e-6, counting_fraction=0.25)}
    assert seen["intercept-resend"].test == "noise"
    assert seen["passive-tap"].test == "gain"
    assert seen["over-amplification"].test == "count"
    for name, low, high in (
        ("intercept-resend", 1e-4, 1e-3),
        ("passive-tap", 1.0, 1.5),
        ("cloner", 0.01, 0.1),
        ("over-amplification", 7.0, 12.0),
    ):
        images = seen[name].images
        assert images is not None
        assert low < images < high, name


@pytest.mark.parametrize("sizes", [((784, 392),), ((784, 392), (10, 392))], ids=["one layer", "two layers"])
def test_cheats_are_sought_with_the_shares_of_the_session_s_tests(sizes: tuple[tuple[int, int], ...]) -> None:
    """Residuals that show a tap of 1 %, from the thresholds that the server's tests of a finished session have."""
    question = Question(
        Subject("s", layers(*sizes), (None,) * len(sizes)), IDEAL, (AMPLIFIER,), f2_db=6.0, aim=Aim.WEIGHTS
    )
    point = Search(question, AMPLIFIER).point(4.0, 0.5)
    frame = FrameDescription("t", point.layers, 1, 1, point.setting, IDEAL, VerificationPlan(), Budgets())
    measured = Totals(qq=1.0, rr=100.0, jj=1.0, residuals=100, homodyned=10, images=1)
    gain = session_checks(honest_layers(frame), [measured] * len(sizes), 1e-6)[0]
    assert gain.name == "gain"
    sigma = float(ndtri(POWER) - ndtri(gain.threshold / 2))
    mu, excess, shift = point.layers[0].mu, 1.0 / 392, 1.0 - math.sqrt(0.99)
    needed = sigma**2 * (1.0 + excess) / (2.0 * mu * shift**2) / (784 * 392)
    (found,) = [each for each in detections(point, alpha=1e-6, counting_fraction=0.0) if "passive" in each.cheat]
    assert found.test == "gain"
    assert found.images == pytest.approx(needed, rel=0.01)


def test_counts_of_a_cheat_are_seen_with_the_power_that_is_promised() -> None:
    """Monte Carlo of geometric counts: over-amplification is found with 99 %, within what 600 trials can tell."""
    shape = replace(ISOTROPIC, layers=layers((784, 8)), spectra=(None,))
    question = Question(shape, IDEAL, (AMPLIFIER,), f2_db=0.0, aim=Aim.WEIGHTS)
    point = Search(question, AMPLIFIER).point(1.0, 0.3)
    found = next(each for each in detections(point, alpha=1e-2, counting_fraction=0.5) if "over" in each.cheat)
    assert found.test == "count"
    assert found.images is not None
    gain = float(found.cheat.partition(":")[2])
    law = LinkLaw.from_ledger(IDEAL, over_amplification(point.setting, gain, IDEAL))
    rows = round(found.images * 784 * 0.5)
    few, many = point.setting.amplifier_gain, law.client.tap.photons
    honest = (few - 1) / few
    generator = np.random.Generator(np.random.SFC64(11))
    quiet = generator.negative_binomial(rows, 1 / (1 + honest), 200_000)
    # threshold of the count test: alpha (1 - e-process) / 7 tests / 2 sides
    threshold = np.quantile(quiet, 1 - 1e-2 * 0.5 / 7 / 2)
    loud = generator.negative_binomial(rows, 1 / (1 + many), 600)
    assert np.mean(loud > threshold) > 0.97


def test_loss_and_detectors_are_in_the_figures() -> None:
    question = Question(ISOTROPIC, bench(), (AMPLIFIER,), f2_db=-5.0, aim=Aim.WEIGHTS)
    point = Search(question, AMPLIFIER).point(0.316, 0.5)
    clean = certification(question, point, budget=1.2 * point.weights, delta=1e-6, counting_fraction=0.25).images
    noisy_receiver = Component("noisy", Place.SERVER_RECEIVER, Owner.SERVER, trusted=True, electronic_noise=3.0)
    ledger = Ledger("noisy", (*point.ledger.components, noisy_receiver))
    noisy = replace(point, ledger=ledger)
    worse = certification(question, noisy, budget=1.2 * point.weights, delta=1e-6, counting_fraction=0.25).images
    assert clean is not None
    assert worse is not None
    assert worse > 2 * clean
