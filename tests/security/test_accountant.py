from __future__ import annotations

import json

import pytest

from labqdl.facts import Budgets
from labqdl.security.accountant import Accountant, BudgetExceeded
from labqdl.security.data import data_leakage
from labqdl.security.holevo import repeated_weight_leakage
from tests.security.light import make_frame

SHAPES = ((16, 16), (4, 16))


def expected_weight_bits(uses: int) -> float:
    return repeated_weight_leakage(mu=4.0, transmissivity=1.0, excess=1 / 8, uses=uses) / 2


def expected_data_bits(uses: int) -> float:
    layers = (data_leakage(photons_per_row=0.5, rows=rows * uses, n_modes=8) for rows in (16, 4))
    return sum(layers) / 16


def test_every_block_is_charged_once() -> None:
    accountant = Accountant(make_frame(shapes=SHAPES, images=100, block=64))
    assert accountant.bits_per_weight() == 0.0
    assert accountant.bits_per_feature() == 0.0
    assert accountant.record(0, 0)
    assert not accountant.record(0, 0)
    assert accountant.weight_uses(0) == 64
    assert accountant.weight_uses(1) == 0
    assert accountant.record(0, 1)
    assert accountant.record(1, 1)
    assert (accountant.weight_uses(0), accountant.weight_uses(1)) == (100, 36)
    assert accountant.data_uses(70) == accountant.data_uses(0) == 1
    assert accountant.bits_per_weight() == pytest.approx(expected_weight_bits(100), rel=1e-9)
    assert accountant.bits_per_feature() == pytest.approx(expected_data_bits(1), rel=1e-9)


def test_earlier_sessions_count() -> None:
    frame = make_frame(shapes=SHAPES, images=10, block=5)
    accountant = Accountant(frame, earlier_weight_uses=(7, 2), earlier_data_uses={3: 4})
    assert accountant.data_uses(3) == 4
    accountant.record(0, 0)
    assert (accountant.weight_uses(0), accountant.weight_uses(1)) == (12, 2)
    assert accountant.data_uses(3) == 5
    assert accountant.data_uses(8) == 0
    assert accountant.bits_per_feature() == pytest.approx(expected_data_bits(5), rel=1e-9)


def test_a_block_beyond_the_weight_budget_is_refused_and_not_charged() -> None:
    budget = (expected_weight_bits(10) + expected_weight_bits(15)) / 2
    frame = make_frame(shapes=SHAPES, images=20, block=5, budgets=Budgets(cumulative_bits_per_weight=budget))
    accountant = Accountant(frame)
    accountant.record(0, 0)
    accountant.record(0, 1)
    with pytest.raises(BudgetExceeded, match=r"block 2 of layer 1 would bring its weights to 15 uses .* budget"):
        accountant.record(0, 2)
    assert accountant.weight_uses(0) == 10
    accountant.require(0, 1)
    assert not accountant.record(0, 1)
    assert accountant.record(1, 0)


def test_a_data_vector_beyond_its_budget_is_refused() -> None:
    budget = (expected_data_bits(2) + expected_data_bits(3)) / 2
    frame = make_frame(shapes=SHAPES, images=20, block=5, budgets=Budgets(cumulative_bits_per_feature=budget))
    accountant = Accountant(frame, earlier_data_uses={6: 2})
    accountant.record(0, 0)
    with pytest.raises(BudgetExceeded, match=r"use a data vector for the 3\. time"):
        accountant.record(0, 1)
    assert BudgetExceeded("x").exit_code == 4


def test_state_survives_json() -> None:
    frame = make_frame(shapes=SHAPES, images=20, block=5)
    accountant = Accountant(frame, earlier_weight_uses=(1, 2), earlier_data_uses={3: 1})
    accountant.record(1, 2)
    accountant.record(0, 3)
    state = json.loads(json.dumps(accountant.state_dict()))
    other = Accountant(frame)
    other.load_state(state)
    assert other.state_dict() == accountant.state_dict()
    assert other.bits_per_weight() == accountant.bits_per_weight()
    assert not other.record(0, 3)


def test_wrong_states_and_keys_are_refused() -> None:
    frame = make_frame(shapes=SHAPES, images=20, block=5)
    accountant = Accountant(frame)
    state = accountant.state_dict()
    with pytest.raises(ValueError, match="schema"):
        accountant.load_state({**state, "schema": 99})
    with pytest.raises(ValueError, match="another frame"):
        accountant.load_state({**state, "frame": "0"})
    with pytest.raises(IndexError, match="layer 2 of 2"):
        accountant.record(2, 0)
    with pytest.raises(IndexError, match="block 4 of 4"):
        accountant.record(0, 4)
    with pytest.raises(ValueError, match="earlier_weight_uses"):
        Accountant(frame, earlier_weight_uses=(1,))
    with pytest.raises(ValueError, match="earlier_data_uses"):
        Accountant(frame, earlier_data_uses={0: -1})


def test_uses_of_earlier_sessions_spend_the_budget_too() -> None:
    free = make_frame(images=8, block=4)
    fresh = Accountant(free)
    fresh.record(0, 0)
    one_block = fresh.bits_per_weight()
    budgets = Budgets(cumulative_bits_per_weight=1.01 * one_block)
    frame = make_frame(images=8, block=4, budgets=budgets)
    assert Accountant(frame).record(0, 0)
    with pytest.raises(BudgetExceeded, match="104 uses"):
        Accountant(frame, earlier_weight_uses=(100, 0)).record(0, 0)
