"""The cross-use test on light of the exact sampler, and its envelope against the true covariance of the sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.facts import Component, Ledger, Owner, Place, UseSums
from labqdl.optics.client_law import honest
from labqdl.optics.law import LinkLaw
from labqdl.optics.modes import rotate_j
from labqdl.optics.sampler import sample_residuals, sample_statistics
from labqdl.security.checks import cross_use_check, noise_check
from labqdl.security.cross_use import CrossUseTotals, UseAccumulator, cross_use_law
from labqdl.security.expected import HonestLayer, Totals, honest_layers, layer_light
from labqdl.security.sample_size import Alternative, noise_threshold
from labqdl.security.sample_size import Test as Kind
from tests.security.light import BENCH, IDEAL, Reals, assert_power, assert_rate, assert_uniform, make_frame, make_light

ROWS, N_MODES = 16, 12


def streams(*seed: int) -> Callable[[str], np.random.Generator]:
    return lambda purpose: np.random.default_rng([*seed, *purpose.encode()])


def data(kind: str, generator: np.random.Generator, images: int, q: Reals) -> Reals:
    """Data vectors (images, n_weights) of several kinds."""
    width = q.shape[1]
    dense = generator.normal(size=(images, width))
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    if kind == "dense":
        return np.asarray(dense)
    if kind == "repeated":
        return np.tile(dense[:1], (images, 1))
    if kind == "strongest":
        return np.tile(np.linalg.svd(q)[2][:1], (images, 1))
    sparse = np.zeros((images, width))
    sparse[np.arange(images), generator.integers(width, size=images) if kind == "sparse" else 3] = 1.0
    return sparse


KINDS = ("dense", "sparse", "repeated", "one pixel", "strongest")


def make_law(q: Reals, ledger: Ledger) -> HonestLayer:
    return honest_layers(make_frame(ledger=ledger, shapes=(q.shape,)), [layer_light(q)])[0]


def session(
    seed: int,
    kind: str = "dense",
    ledger: Ledger = IDEAL,
    *,
    blocks: int = 3,
    images: int = 5,
    shape: tuple[int, int] = (ROWS, N_MODES),
    spread: float = 0.0,
    scale: float = 1.0,
) -> tuple[HonestLayer, Totals, CrossUseTotals]:
    """One session; `spread` is the variance of a fixed error that the client adds to every use of each weight.

    shape: rows and modes; scale: of the squares of the sums.
    """
    generator = np.random.default_rng(seed)
    q = make_light(generator, *shape, 4.0)
    law = make_law(q, ledger)
    link = LinkLaw.from_ledger(ledger, honest(ledger, make_frame().tap))
    x = data(kind, generator, blocks * images, q)
    offset = generator.normal(scale=math.sqrt(spread), size=q.shape) if spread else None
    accumulator, parts = UseAccumulator(*shape), []
    for block in range(blocks):
        pattern, counted = generator.random(shape[1]) < 0.5, generator.random(shape[0]) < 0.25
        chosen = x[block * images : (block + 1) * images]
        _, light = sample_statistics(
            link, q, chosen, pattern, counted, streams(seed, block), use_sums=True, offset=offset
        )
        assert light.use_sums is not None
        uses = replace(light.use_sums, sums=(light.use_sums.sums * math.sqrt(scale)).astype(np.float32))
        accumulator.add(uses, pattern, counted)
        parts.append(Totals.from_rows(light.statistics, law.row_energy))
    return law, Totals.sum(parts), accumulator.totals(law.row_energy)


# ---- sums ----


def test_sums_are_those_of_every_residual_in_any_order() -> None:
    generator = np.random.default_rng(1)
    q = make_light(generator, ROWS, N_MODES, 4.0)
    link = LinkLaw.from_ledger(IDEAL, honest(IDEAL, make_frame().tap))
    sums, uses = np.zeros(q.shape), np.zeros(q.shape, dtype=int)
    blocks: list[tuple[UseSums, NDArray[np.bool_], NDArray[np.bool_]]] = []
    for block, images in enumerate((4, 7, 1)):
        pattern, counted = generator.random(N_MODES) < 0.5, generator.random(ROWS) < 0.3
        drawn = sample_residuals(link, q, data("dense", generator, images, q), pattern, counted, streams(1, block))
        light = drawn.light(use_sums=True)
        assert light.use_sums is not None
        blocks.append((light.use_sums, pattern, counted))
        for image in drawn.residuals:
            for residuals, row in zip(image, np.flatnonzero(~counted), strict=True):
                for mode in range(N_MODES):
                    weight = 2 * mode + int(pattern[mode])
                    sums[row, weight] += residuals[mode]
                    uses[row, weight] += 1
    orders = ([0, 1, 2], [2, 0, 1])
    found = []
    for order in orders:
        accumulator = UseAccumulator(ROWS, N_MODES)
        for index in order:
            accumulator.add(*blocks[index])
        found.append(accumulator.totals(np.ones(ROWS)))
    assert found[0] == found[1]
    measured = uses > 0
    assert found[0].sum_squares == pytest.approx(float(np.sum(sums[measured] ** 2 / uses[measured])), rel=1e-5)
    assert found[0].weights == np.count_nonzero(measured)
    assert found[0].uses == pytest.approx(float(uses[measured].mean()), rel=1e-12)
    assert found[0].images == 12
    assert found[0].energy == np.count_nonzero(measured.any(axis=1))


def test_what_stands_in_counted_rows_is_no_residual() -> None:
    generator = np.random.default_rng(2)
    counted, pattern = np.arange(5) == 3, generator.random(4) < 0.5
    sums = generator.normal(size=(5, 4)).astype(np.float32)
    found = []
    for rubbish in (0.0, 100.0):
        sums[3] = rubbish
        accumulator = UseAccumulator(5, 4)
        accumulator.add(UseSums(sums.copy(), 3), pattern, counted)
        accumulator.add(UseSums(np.ones((5, 4), dtype=np.float32), 3), pattern, np.zeros(5, dtype=np.bool_))
        found.append(accumulator.totals(np.ones(5)))
    assert found[0] == found[1]
    assert found[0].weights == 20


def test_sums_that_no_receiver_gives_are_refused() -> None:
    accumulator = UseAccumulator(2, 3)
    pattern, counted = np.zeros(3, dtype=np.bool_), np.zeros(2, dtype=np.bool_)
    for value in (np.nan, np.inf, -1e12):
        with pytest.raises(ValueError, match="beyond any receiver"):
            accumulator.add(UseSums(np.full((2, 3), value, dtype=np.float32), 4), pattern, counted)
    with pytest.raises(ValueError, match="2 rows were expected"):
        accumulator.add(UseSums(np.zeros((3, 3), dtype=np.float32), 4), pattern, counted)
    assert accumulator.totals(np.ones(2)) == CrossUseTotals()


def test_a_layer_of_which_all_rows_were_counted_has_no_terms() -> None:
    accumulator = UseAccumulator(2, 3)
    accumulator.add(
        UseSums(np.zeros((2, 3), dtype=np.float32), 4), np.zeros(3, dtype=np.bool_), np.ones(2, dtype=np.bool_)
    )
    assert accumulator.totals(np.ones(2)) == CrossUseTotals(images=4)


@pytest.mark.parametrize("sizes", [(5, 5, 5, 5), (8, 8, 1), (6,), (4,) * 24], ids=["even", "short end", "one", "many"])
def test_the_spikes_of_the_envelope_hold_the_true_ones(sizes: tuple[int, ...]) -> None:
    """Trace and largest eigenvalue of each row's normalised spike, from its definition, for every kind of data."""
    generator = np.random.default_rng(2)
    q = make_light(generator, 6, 8, 4.0)
    for kind in KINDS:
        x = data(kind, generator, sum(sizes), q)
        jx = rotate_j(x)
        accumulator = UseAccumulator(6, 8)
        uses = np.zeros((6, 16))
        spikes = np.zeros((6, 16, 16))
        start = 0
        for images in sizes:
            pattern, counted = generator.random(8) < 0.5, generator.random(6) < 0.4
            where = np.zeros(16)
            where[2 * np.arange(8) + pattern] = 1.0
            accumulator.add(UseSums(np.zeros((6, 8), dtype=np.float32), images), pattern, counted)
            for vector, turned in zip(x[start : start + images], jx[start : start + images], strict=True):
                a, b = vector * where, turned * where
                for row in np.flatnonzero(~counted):
                    uses[row] += where
                    spikes[row] += np.outer(a, a) + np.outer(b, b)
            start += images
        totals = accumulator.totals(np.ones(6))
        trace = 0.0
        for used, spike in zip(uses, spikes, strict=True):
            root = np.sqrt(np.maximum(used, 1))
            normalised = spike / np.outer(root, root)
            assert np.linalg.eigvalsh(normalised)[-1] <= 1 + 1e-9
            trace += float(np.trace(normalised))
        assert totals.spikes_least <= trace * (1 + 1e-9)
        assert trace <= totals.spikes_most * (1 + 1e-9)
        assert totals.spikes_most <= max(len(sizes), 1) * 6


# ---- p-values ----


def upper_tails(sessions: list[tuple[HonestLayer, Totals, CrossUseTotals]]) -> Reals:
    return np.array(
        [cross_use_law(law, part, uses, high=True).upper_tail(uses.sum_squares) for law, part, uses in sessions]
    )


def one_block(scale: float = 1.0) -> list[tuple[HonestLayer, Totals, CrossUseTotals]]:
    """Sessions of 1500 weights, whose mean square has a deviation of 3.6 %."""
    return [session(seed, "one pixel", blocks=1, images=4, shape=(40, 50), scale=scale) for seed in range(250)]


def test_p_values_of_one_block_are_uniform_and_five_per_cent_of_noise_break_that() -> None:
    # One block: every row has exactly one spike. The same pixel in all images puts it into one direction.
    sessions = one_block()
    _, _, uses = sessions[0]
    assert uses.spikes_most == uses.spikes_least == uses.weights / 50
    assert_uniform(upper_tails(sessions))
    with pytest.raises(AssertionError, match="from uniform"):
        assert_uniform(upper_tails(one_block(1.05)))


@pytest.mark.parametrize("ledger", [IDEAL, BENCH], ids=["ideal", "bench"])
@pytest.mark.parametrize("kind", KINDS)
def test_false_alarms_stay_below_their_share_for_every_data(kind: str, ledger: Ledger) -> None:
    trials = 40
    sessions = [session(1000 + seed, kind, ledger) for seed in range(trials)]
    for rate in (0.2, 0.02):
        hits = sum(not cross_use_check([law], [part], [uses], rate).passed for law, part, uses in sessions)
        assert_rate(hits, trials, rate)


def test_what_every_use_lacks_adds_up_and_is_allowed_for() -> None:
    """Phase noise takes the same share from every use: over 6000 uses its mean exceeds the noise of their sums."""
    ledger = Ledger("shaky", (Component("fibre", Place.RETURN, Owner.CHANNEL, phase_noise=0.15),))
    hits = 0
    for seed in range(8):
        law, part, uses = session(seed, "dense", ledger, blocks=2, images=3000)
        mean = law.amplitude * law.droop * math.sqrt(8.0 * uses.uses)
        assert mean > 1.5
        hits += not cross_use_check([law], [part], [uses], 0.02).passed
        careless = replace(law, droop=0.0)
        assert cross_use_check([careless], [part], [uses], 0.02).p_value < 1e-12
    assert_rate(hits, 8, 0.02)


# ---- power ----


def test_noise_that_repeats_is_found_as_predicted() -> None:
    """A fixed error of variance eps on each weight raises the variance of S/sqrt(K) by K eps."""
    trials, spread, blocks, images, alpha = 100, 0.004, 4, 30, 0.01
    hits, predicted, unnoticed = 0, [], 0
    for seed in range(trials):
        law, part, uses = session(5000 + seed, blocks=blocks, images=images, spread=spread)
        # The exact honest mean instead of the envelope's, so that the formula's assumption holds.
        middle = law.floor + law.spike / N_MODES
        ratio = 1 + spread * uses.uses / middle
        threshold = noise_threshold(uses.weights, alpha) * middle
        hits += uses.mean_square > threshold
        predicted.append(Alternative(Kind.CROSS_USE, ratio).power(uses.weights, alpha))
        unnoticed += noise_check([law], [part], 2 * alpha).passed
    assert 0.3 < np.mean(predicted) < 0.95
    # K differs between weights, and the spike is not white: three more per cent.
    assert_power(hits, trials, float(np.mean(predicted)) + 0.03)
    assert unnoticed > 0.8 * trials


def test_ten_times_the_uses_show_what_single_uses_hide() -> None:
    # The same error, 0.2 % of the shot noise: invisible in the mean square, plain in the sums over 1600 uses.
    law, part, uses = session(7, blocks=4, images=400, spread=0.002)
    assert noise_check([law], [part], 1e-3).passed
    found = cross_use_check([law], [part], [uses], 1e-6)
    assert not found.passed
    assert found.unit == "SNU per weight"
    assert found.statistic > 1.5
    assert found.expected == pytest.approx(1 + 1 / N_MODES, rel=0.1)
    assert found.samples == uses.weights


def test_too_quiet_sums_are_found_too() -> None:
    law, part, uses = session(8)
    found = cross_use_check([law], [part], [replace(uses, sum_squares=0.5 * uses.sum_squares)], 1e-6)
    assert found.z < -5
    assert not found.passed


def test_a_net_gain_off_one_shifts_the_sums_by_at_most_its_allowance() -> None:
    generator = np.random.default_rng(9)
    q = make_light(generator, ROWS, N_MODES, 4.0)
    frame = make_frame(shapes=(q.shape,), tap=replace(make_frame().tap, tap_transmissivity=0.45))
    law = honest_layers(frame, [layer_light(q)])[0]
    x = data("strongest", generator, 1, q)[0]
    jx = rotate_j(x[None])[0]
    pattern = generator.random(N_MODES) < 0.5
    where = 2 * np.arange(N_MODES) + pattern
    mean = -law.mismatch * law.amplitude * (np.outer(q @ x, x[where]) + np.outer(q @ jx, jx[where]))
    uses = CrossUseTotals(1.0, ROWS * N_MODES, 50, 50, ROWS, ROWS, float(law.row_energy.sum()))
    part = Totals(
        qq=50 * float(np.sum(q[:, where] ** 2)), residuals=50 * ROWS * N_MODES, homodyned=50 * ROWS, images=50
    )
    allowed = cross_use_law(law, part, uses, high=True)
    assert allowed.shifts[0][0] >= 50 * float(np.sum(mean**2))
    assert allowed.shifts[0][0] < 10 * 50 * float(np.sum(mean**2))


def test_what_phase_noise_and_a_net_gain_off_one_take_adds_up() -> None:
    """All rows along one direction that is measured as a whole: the sums miss both shares of the same light."""
    ledger = Ledger("shaky", (Component("fibre", Place.RETURN, Owner.CHANNEL, phase_noise=0.3),))
    generator = np.random.default_rng(10)
    x = np.zeros(2 * N_MODES)
    x[0::2] = generator.normal(size=N_MODES)
    x /= np.linalg.norm(x)
    q = np.outer(generator.choice([-1.0, 1.0], size=ROWS), x) * math.sqrt(8.0 * 2 * N_MODES)
    tap = replace(make_frame().tap, tap_transmissivity=0.45)
    law = honest_layers(make_frame(ledger=ledger, shapes=(q.shape,), tap=tap), [layer_light(q)])[0]
    net_gain = math.sqrt(2.0 * 0.45)
    assert law.mismatch == pytest.approx(1 - net_gain)
    missing = 1.0 - net_gain * math.exp(-0.5 * 0.3**2)
    uses, energy = 50, float(np.sum(q**2))
    sums = CrossUseTotals(1.0, ROWS * N_MODES, uses, uses, ROWS, ROWS, energy)
    part = Totals(qq=uses * energy, residuals=uses * ROWS * N_MODES, homodyned=uses * ROWS, images=uses)
    allowed = cross_use_law(law, part, sums, high=True).shifts[0][0]
    assert uses * missing**2 * energy <= allowed < 1.2 * uses * missing**2 * energy


def test_quiet_sums_are_judged_with_the_fewest_spikes() -> None:
    """A hundredth of the weights surely carries the client's noise, a tenth may: either sum is honest."""
    law = make_law(make_light(np.random.default_rng(11), ROWS, N_MODES, 4.0), IDEAL)
    law = replace(law, spike_x=9.0, spike_p=9.0)
    generator = np.random.default_rng(12)
    part = Totals(qq=1.0, images=1)
    for spikes in (100, 1000):
        loud = 9.0 * float(generator.chisquare(spikes))
        uses = CrossUseTotals(float(generator.chisquare(10_000)) + loud, 10_000, 1.0, 1, 1000, 100.0, 1.0)
        assert cross_use_check([law], [part], [uses], 1e-6).passed
    for squares in (9_000.0, 22_000.0):
        uses = CrossUseTotals(squares, 10_000, 1.0, 1, 1000, 100.0, 1.0)
        assert not cross_use_check([law], [part], [uses], 1e-6).passed
