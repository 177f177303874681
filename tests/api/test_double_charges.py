"""No light is charged twice, none flows uncharged, and a refused block costs neither party anything."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import labqdl
from labqdl.api.accounting import RunAccounts
from labqdl.api.experiment import configure, resolve
from labqdl.api.running import resume
from labqdl.errors import LabqdlError
from labqdl.optics.modes import layer_amplitudes
from labqdl.records.accounts import CLIENT_FILE, SERVER_FILE, Accounts
from labqdl.security.accountant import BudgetExceeded
from labqdl.security.expected import layer_light

SETTINGS: dict[str, Any] = {"model": "breast-cancer", "link": "paper", "images": 12, "block": 4, "seed": 3}
ROWS = 32
"""Of the first layer: probes of each data vector."""


def open_accounts(folder: Path, run: str = "r", finished: tuple[int, ...] = (), **more: Any) -> RunAccounts:
    chosen = resolve(configure(None, {**SETTINGS, **more}))
    frame = chosen.frame(session=run)
    light = [layer_light(layer_amplitudes(layer.weights, layer.bias, 4.0)[0]) for layer in chosen.network.layers]
    return RunAccounts(folder, run, run, frame, chosen.network, light, chosen.dataset.data, finished=finished)


def charged(folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Uses of every layer, and probes of every vector."""
    with Accounts.of_weights(folder) as weights, Accounts.of_data(folder) as data:
        return (
            {holding.label: holding.spending.uses for holding in weights.holdings()},
            {holding.owner: holding.spending.uses for holding in data.holdings()},
        )


def totals(folder: Path) -> tuple[list[int], int]:
    weights, data = charged(folder)
    return list(weights.values()), sum(data.values())


@pytest.mark.parametrize(
    "budget", [{"cumulative_bits_per_weight": 1e-3}, {"cumulative_bits_per_feature": 1e-3}], ids=["weights", "data"]
)
def test_a_refused_block_charges_neither_party(tmp_path: Path, budget: dict[str, Any]) -> None:
    with open_accounts(tmp_path) as kept:
        kept.record(0, 0)
    before = charged(tmp_path)
    assert totals(tmp_path) == ([4, 4], 4 * ROWS)
    with open_accounts(tmp_path, "refused", **budget) as kept, pytest.raises(BudgetExceeded):
        kept.record(0, 0)
    assert charged(tmp_path) == before
    with Accounts.of_weights(tmp_path) as weights, Accounts.of_data(tmp_path) as data:
        assert weights.attempts("refused") == data.attempts("refused") == 0


def test_a_budget_of_each_kind_refuses_although_the_other_would_allow(tmp_path: Path) -> None:
    wide: dict[str, Any] = {"cumulative_bits_per_weight": 1e3, "cumulative_bits_per_feature": 1e3}
    for number, (key, words) in enumerate(
        (("cumulative_bits_per_weight", "bit per weight"), ("cumulative_bits_per_feature", "bit per feature"))
    ):
        folder = tmp_path / str(number)
        with open_accounts(folder, **{**wide, key: 1e-3}) as kept, pytest.raises(BudgetExceeded, match=words):
            kept.record(0, 0)
        assert totals(folder) == ([], 0)
        with open_accounts(folder, **wide) as kept:
            kept.record(0, 0)
        assert totals(folder) == ([4, 4], 4 * ROWS)


def test_two_copies_of_a_run_that_go_on_at_the_same_time_both_pay(tmp_path: Path) -> None:
    """The folder's lock does not hold its copy, which has the same run. Light flows twice, and counts twice."""
    with open_accounts(tmp_path) as first:
        first.record(0, 0)
    with open_accounts(tmp_path, finished=(0,)) as one, open_accounts(tmp_path, finished=(0,)) as other:
        for block in (1, 2):
            one.record(0, block)
            other.record(0, block)
            one.record(0, block)  # the same process again: no new light
    assert totals(tmp_path) == ([4 + 2 * 8] * 2, (4 + 2 * 8) * ROWS)


CAP = 8 / 3
"""Noise of a run's tested uses, in units of that of one: three of eight are homodyned."""


def noises(folder: Path) -> list[float]:
    """Noise on the sum of all uses of each layer's weights, in units of that of one use."""
    chosen = resolve(configure(None, SETTINGS))
    frame = chosen.frame(session="r")
    excess = {f"breast-cancer, layer {number + 1}": 1 / layer.n_modes for number, layer in enumerate(frame.layers)}
    with Accounts.of_weights(folder) as weights:
        return [holding.spending.noise / excess[holding.label] for holding in weights.holdings()]


def test_what_no_test_has_seen_counts_with_all_its_noise(tmp_path: Path) -> None:
    def near(uses: float) -> object:
        return pytest.approx([uses, uses], rel=1e-12)

    with open_accounts(tmp_path) as kept:
        kept.record(0, 0)
        assert noises(tmp_path) == near(4)
        kept.settle(0)
        assert noises(tmp_path) == near(CAP)
        kept.record(0, 1)  # killed within this block
    assert noises(tmp_path) == near(CAP + 4)
    with open_accounts(tmp_path, finished=(0,)) as kept:
        assert noises(tmp_path) == near(CAP + 4)
        kept.record(0, 1)
        assert noises(tmp_path) == near(CAP + 8)
        # killed again, after the block was finished and before that was settled
    with open_accounts(tmp_path, finished=(0, 1)) as kept:
        assert noises(tmp_path) == near(CAP + 4)
        kept.record(0, 2)
        kept.settle(2)
        assert noises(tmp_path) == near(CAP + 4)
    # Whoever begins a new run each time, and is killed in its first block, does not get away with the cap either.
    for number in range(3):
        with open_accounts(tmp_path, f"other {number}") as kept:
            kept.record(0, 0)
    assert noises(tmp_path) == near(CAP + 4 + 12)


def test_copies_of_a_run_are_tested_apart(tmp_path: Path) -> None:
    with open_accounts(tmp_path) as first:
        first.record(0, 0)
        first.settle(0)
    with open_accounts(tmp_path, finished=(0,)) as one, open_accounts(tmp_path, finished=(0,)) as other:
        for copy in (one, other):
            copy.record(0, 1)
        for copy in (one, other):
            copy.settle(1)
    assert noises(tmp_path) == pytest.approx([CAP + 4] * 2, rel=1e-12)


def test_settled_bits_are_those_of_what_is_left(tmp_path: Path) -> None:
    held = []
    for folder, settled in ((tmp_path / "a", (0,)), (tmp_path / "b", ())):
        with open_accounts(folder) as kept:
            kept.record(0, 0)
            for block in settled:
                kept.settle(block)
        with Accounts.of_weights(folder) as weights:
            held.append(sorted(holding.bits for holding in weights.holdings()))
    with open_accounts(tmp_path / "c", finished=(0,)), Accounts.of_weights(tmp_path / "c") as weights:
        assert held[0] == sorted(holding.bits for holding in weights.holdings())
    assert all(less < more for less, more in zip(*held, strict=True))


def test_a_charge_without_light_is_paid_again_and_nothing_before_it(tmp_path: Path) -> None:
    """Killed between the charge and the light: nobody knows whether light flowed, so the block is charged anew."""
    with open_accounts(tmp_path) as kept:
        kept.record(0, 0)
    for _ in range(2):
        with open_accounts(tmp_path) as kept:
            kept.record(0, 0)
    assert totals(tmp_path) == ([12, 12], 12 * ROWS)


def test_what_was_charged_to_one_party_only_is_charged_to_both(tmp_path: Path) -> None:
    """Killed between the two commits, before any light: the server has the charge, the client has not."""
    with open_accounts(tmp_path) as kept:
        kept.record(0, 0)
        shutil.copyfile(tmp_path / CLIENT_FILE, tmp_path / "kept")
        kept.record(0, 1)
    shutil.copyfile(tmp_path / "kept", tmp_path / CLIENT_FILE)
    assert totals(tmp_path) == ([8, 8], 4 * ROWS)
    with open_accounts(tmp_path, finished=(0,)) as kept:
        kept.record(0, 1)
    assert totals(tmp_path) == ([12, 12], 8 * ROWS)


def test_light_that_has_flowed_counts_even_beyond_a_budget(tmp_path: Path) -> None:
    """The accounts were lost; the next block is refused, and what was sent before is on the account nevertheless."""
    with (
        pytest.raises(BudgetExceeded),
        open_accounts(tmp_path, finished=(0, 1), cumulative_bits_per_weight=1e-3) as kept,
    ):
        kept.record(0, 2)
    assert totals(tmp_path) == ([8, 8], 8 * ROWS)


def test_running_and_resuming_charges_what_was_sent(tmp_path: Path) -> None:
    budgets: dict[str, Any] = {"cumulative_bits_per_weight": 50.0}

    def stop(done: int, total: int) -> None:
        raise KeyError("killed")

    with pytest.raises(KeyError, match="killed"):
        labqdl.run(folder=tmp_path / "a", on_block=stop, **SETTINGS, **budgets)
    assert totals(tmp_path / "accounts") == ([4, 4], 4 * ROWS)
    resume(tmp_path / "a")
    assert totals(tmp_path / "accounts") == ([12, 12], 12 * ROWS)
    resume(tmp_path / "a")
    assert totals(tmp_path / "accounts") == ([12, 12], 12 * ROWS)


def test_no_light_flows_for_a_block_that_cannot_be_charged(tmp_path: Path) -> None:
    folder = tmp_path / "accounts"
    with open_accounts(folder):
        pass
    connection = sqlite3.connect(folder / SERVER_FILE)
    connection.execute("CREATE TRIGGER full BEFORE INSERT ON charges BEGIN SELECT RAISE(ABORT, 'no room'); END")
    connection.commit()
    connection.close()
    with pytest.raises(LabqdlError, match="no room"):
        labqdl.run(folder=tmp_path / "a", cumulative_bits_per_weight=50.0, **SETTINGS)
    assert totals(folder) == ([], 0)
    assert not list((tmp_path / "a").rglob("*block*0*"))
