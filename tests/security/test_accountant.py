from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln

from labqdl.facts import Budgets, Component, FrameDescription, Ledger, Owner, Place, TapSetting
from labqdl.facts.spending import Spending
from labqdl.security.accountant import BudgetExceeded, DataAccountant, WeightsAccountant, mismatch_bits
from labqdl.security.data import data_leakage
from labqdl.security.engines import layer_data_leakage
from labqdl.security.expected import LayerLight
from labqdl.security.holevo import repeated_weight_leakage
from labqdl.security.spectrum import Spectrum
from tests.security.light import make_frame
from tests.security.symplectic import entropy

SHAPES = ((16, 16), (4, 16))


def without_cross_use(frame: FrameDescription) -> FrameDescription:
    return replace(frame, plan=replace(frame.plan, cross_use=False))


def spent(accountant: WeightsAccountant, layer: int, blocks: int) -> Spending:
    total = Spending()
    for block in range(blocks):
        total = total + accountant.price(layer, block, total.uses)
    return total


def test_uses_of_a_session_add_up_to_the_bound_for_all_of_them() -> None:
    frame = without_cross_use(make_frame(shapes=SHAPES, images=100, block=64))
    accountant = WeightsAccountant(frame)
    total = spent(accountant, 0, 2)
    assert total.uses == 100
    expected = repeated_weight_leakage(mu=4.0, transmissivity=1.0, excess=1 / 8, uses=100) / 2
    assert accountant.bits(0, total) == pytest.approx(expected, rel=1e-12)
    assert accountant.bits(0, Spending()) == 0.0


def test_the_cross_use_test_holds_a_session_s_noise() -> None:
    frame = make_frame(shapes=SHAPES, images=100, block=10)
    total = spent(WeightsAccountant(frame), 0, 10)
    # three of eight uses are homodyned: noise on the sum of all may be 8/3 of what the sums of these show
    assert total.noise == pytest.approx(1 / 8 * 8 / 3)
    assert spent(WeightsAccountant(frame), 0, 1).noise == pytest.approx(1 / 8 * 8 / 3)
    assert spent(WeightsAccountant(make_frame(shapes=SHAPES, images=2, block=1)), 0, 2).noise == pytest.approx(2 / 8)


def test_light_that_no_test_has_seen_may_carry_more_than_the_test_lets_pass() -> None:
    """Four tested uses with fresh noise, and a killed block of sixteen with the same noise on all of them.

    Each use has the honest variance, and so has the sum over the tested ones: nothing is found.
    """
    frame = make_frame(shapes=SHAPES, images=20, block=4)
    accountant, excess = WeightsAccountant(frame), 1 / 8
    covariance = np.zeros((20, 20))
    covariance[:4, :4] = excess * np.eye(4)
    covariance[4:, 4:] = excess
    tested, everything = np.ones(4) / 2, np.ones(20) / math.sqrt(20)
    assert tested @ covariance[:4, :4] @ tested == pytest.approx(excess)
    found = everything @ covariance @ everything
    seen = accountant.price(0, 0, 0)
    assert found > 4 * seen.noise
    total = seen
    for block in range(1, 5):
        added, bits = accountant.judge(0, block, total, 4, str)
        total = total + added
        assert bits == accountant.bits(0, total)
    assert total.uses == 20
    assert found <= total.noise == pytest.approx((8 / 3 + 16) * excess)


def test_two_uses_of_unequal_light_by_diagonalisation() -> None:
    """Two lossy noisy uses, the noise put where it tells most: the client's modes against the bound from the sums."""
    first, second = (3.0, 0.9, 0.02), (0.5, 0.7, 0.05)  # photons, transmissivity, noise
    total = sum(
        (Spending(1, mu, mu * (1 - t), eps) for mu, t, eps in (first, second)),
        Spending(),
    )
    bound = 2 * WeightsAccountant(without_cross_use(make_frame())).bits(0, total)
    rng = np.random.default_rng(0)
    best = 0.0
    for _ in range(40):
        # the client's environments of both uses, with entangled noise of the allowed variances: what it can learn
        best = max(best, environment_information(rng, first, second))
    assert best <= bound * (1 + 1e-9)
    assert best > 0.5 * bound


def environment_information(
    rng: np.random.Generator, first: tuple[float, float, float], second: tuple[float, float, float]
) -> float:
    """Holevo information of two uses of one amplitude through entangling cloners whose noises are correlated."""
    (m1, t1, e1), (m2, t2, e2) = first, second
    loss = np.array([1 - t1, 1 - t2])
    # noise variances of the cloners' injected modes, correlated by an angle between them
    variances = 1 + np.array([e1, e2]) / loss
    correlation = rng.uniform(-1, 1) * math.sqrt((variances[0] - 1) * (variances[1] - 1))
    injected = np.array([[variances[0], correlation], [correlation, variances[1]]])
    # purify the injected pair (same for X and P): Schmidt form in its eigenbasis
    values, basis = np.linalg.eigh(injected)
    links = basis @ np.diag(np.sqrt(np.maximum(values**2 - 1, 0.0)))
    amplitude = np.sqrt(2 * np.array([m1, m2]))

    def state(modulated: bool) -> float:
        arriving = np.eye(2) + (np.outer(amplitude, amplitude) if modulated else 0.0)
        kept = np.sqrt(np.array([t1, t2]))
        taken = np.sqrt(loss)
        # the client's output ports: what is lost of the light and what is not injected
        ports = taken[:, None] * arriving * taken[None, :] + kept[:, None] * injected * kept[None, :]
        cross = kept[:, None] * links
        x = np.block([[ports, cross], [cross.T, np.diag(values)]])
        p = np.block([[ports, -cross], [-cross.T, np.diag(values)]])
        full = np.zeros((8, 8))
        full[0::2, 0::2], full[1::2, 1::2] = x, p
        return entropy(full)

    return state(True) - state(False)


@given(st.lists(st.tuples(st.floats(0.01, 20.0), st.floats(0.3, 1.0), st.floats(1e-6, 0.5)), min_size=1, max_size=5))
def test_adding_uses_never_lowers_the_sum_nor_exceeds_the_parts_alone(parts: list[tuple[float, float, float]]) -> None:
    accountant = WeightsAccountant(make_frame())
    total, previous = Spending(), 0.0
    for mu, transmissivity, excess in parts:
        total = total + Spending(1, mu, mu * (1 - transmissivity), excess)
        bits = accountant.bits(0, total)
        assert bits >= previous * (1 - 1e-12)
        previous = bits


def test_equal_uses_are_the_special_case_of_the_reference() -> None:
    accountant = WeightsAccountant(make_frame())
    for uses, bits in ((1, 0.0874), (10, 2.228), (100, 7.99)):
        total = Spending(uses, 4.0 * uses, 0.0, uses / 392)
        assert 2 * accountant.bits(0, total) == pytest.approx(bits, rel=3e-3)


def test_unequal_weights_cost_more() -> None:
    frame = make_frame(shapes=((784, 784),), images=1, block=1)
    unequal = [LayerLight(spectrum=Spectrum.of(np.arange(1, 393.0) ** -1.0))]
    total = spent(WeightsAccountant(frame), 0, 1)
    assert WeightsAccountant(frame, unequal).bits(0, total) > 1.05 * WeightsAccountant(frame).bits(0, total)


def test_loss_is_charged_in_photons() -> None:
    loss = Component("fibre", Place.FORWARD, Owner.CHANNEL, transmissivity=0.9)
    frame = without_cross_use(make_frame(ledger=Ledger("lossy", (loss,)), shapes=SHAPES, images=6, block=3))
    accountant = WeightsAccountant(frame)
    total = spent(accountant, 0, 2)
    assert total.lost == pytest.approx(6 * 4.0 * 0.1)
    expected = repeated_weight_leakage(mu=4.0, transmissivity=0.9, excess=1 / 8, uses=6) / 2
    assert accountant.bits(0, total) == pytest.approx(expected, rel=1e-12)


def test_a_block_beyond_the_weight_budget_is_refused_by_name() -> None:
    frame = without_cross_use(make_frame(shapes=SHAPES, images=20, block=5))
    free = WeightsAccountant(frame)
    ten, fifteen = spent(free, 0, 2), spent(free, 0, 3)
    budget = (free.bits(0, ten) + free.bits(0, fifteen)) / 2
    accountant = WeightsAccountant(replace(frame, budgets=Budgets(cumulative_bits_per_weight=budget)))
    added, bits = accountant.judge(0, 1, spent(free, 0, 1), 5, str)
    assert added.uses == 5
    assert bits == pytest.approx(free.bits(0, ten))
    with pytest.raises(BudgetExceeded, match=r"block 2 of layer 1 .* 15 uses .* spent so far: .* by run a \(10 uses\)"):
        accountant.judge(0, 2, ten, 10, lambda: "run a (10 uses)")
    assert BudgetExceeded("x").exit_code == 4


def test_probes_of_a_vector_add_up() -> None:
    frame = make_frame(shapes=SHAPES, images=20, block=5)
    accountant = DataAccountant(frame)
    once, thrice = accountant.price(), accountant.price(3)
    later = data_leakage(photons_per_row=0.5, rows=4, n_modes=8)
    for total, times in ((once, 1), (thrice, 3)):
        expected = data_leakage(photons_per_row=0.5, rows=16 * times, n_modes=8) + times * later
        assert accountant.bits(total) == pytest.approx(expected, rel=1e-12)
    assert accountant.bits(Spending()) == 0.0


def test_rows_of_unequal_photons_are_bounded_by_equal_ones() -> None:
    """16 rows of 0.5 and 16 of 0.05 photons, sampled: no more than 32 rows of the mean (5.5 sigma, 4e-8)."""
    accountant = DataAccountant(make_frame(shapes=((16, 16),)))
    bound = accountant.bits(Spending(32, 16 * 0.55))
    rng = np.random.default_rng(3)
    numbers = rng.negative_binomial(16, 1 / 1.5, 300_000) + rng.negative_binomial(16, 1 / 1.05, 300_000)
    bits = (gammaln(numbers + 8.0) - gammaln(numbers + 1.0) - gammaln(8.0)) / math.log(2)
    error = 5.5 * float(bits.std()) / math.sqrt(bits.size)
    assert float(bits.mean()) - error <= bound < 1.05 * float(bits.mean())


def test_a_vector_beyond_its_budget_is_refused_by_name() -> None:
    frame = make_frame(shapes=SHAPES, images=20, block=5)
    free = DataAccountant(frame)
    budget = (free.bits(free.price(2)) + free.bits(free.price(3))) / 2 / 16
    accountant = DataAccountant(replace(frame, budgets=Budgets(cumulative_bits_per_feature=budget)))
    assert accountant.budget == pytest.approx(16 * budget)
    accountant.judge([7], free.price(), 0.0, str)
    with pytest.raises(BudgetExceeded, match=r"data vector 7 .* bit per feature .* by run b"):
        accountant.judge([7], free.price(2), 0.0, lambda: "run b")
    with pytest.raises(BudgetExceeded, match="data vector 7"):  # three times in one block
        accountant.judge([7, 8, 9], Spending(), 0.0, str)
    with pytest.raises(BudgetExceeded, match="by nobody"):  # what another shape of the same datum has cost
        accountant.judge([7], Spending(), 16 * budget, str)


def test_gain_off_one_is_added_bit_by_bit() -> None:
    tap = TapSetting.amplifier(2.0, 0.49)
    frame = make_frame(shapes=((16, 16),), tap=tap)
    accountant = DataAccountant(frame)
    single = layer_data_leakage(frame.layers[0], tap, frame.ledger)
    assert accountant.bits(accountant.price()) == pytest.approx(single, rel=1e-12)
    assert mismatch_bits(frame, frame.layers[0]) > 0.0
    assert mismatch_bits(make_frame(), make_frame().layers[0]) == 0.0


@pytest.mark.parametrize("wrong", [{"uses": -1}, {"photons": -0.1}, {"noise": math.nan}, {"bits": math.inf}])
def test_impossible_spendings(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Spending(**wrong)  # type: ignore[arg-type]
