"""Accounts over runs: a budget shared by runs, resumed runs that pay for what they send again, and the listing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import labqdl
from labqdl.api import accounts
from labqdl.api.accounting import RunAccounts, data_shape, weight_digests
from labqdl.api.experiment import configure, resolve
from labqdl.cli.root import run as command_line
from labqdl.errors import InputError
from labqdl.network import load_model
from labqdl.records.accounts import Accounts
from labqdl.security.accountant import BudgetExceeded

SETTINGS: dict[str, Any] = {"model": "breast-cancer", "link": "paper", "images": 12, "block": 4, "seed": 3}


def test_two_runs_share_one_budget(tmp_path: Path) -> None:
    first = labqdl.run(folder=tmp_path / "a", cumulative_bits_per_weight=3.2, **SETTINGS)
    assert first.images == 12
    with pytest.raises(BudgetExceeded, match=r"run a \(12 uses\)") as caught:
        labqdl.run(folder=tmp_path / "b", cumulative_bits_per_weight=3.2, **{**SETTINGS, "images": 40})
    assert caught.value.exit_code == 4
    told = accounts(tmp_path / "accounts")
    assert told.weights is not None
    assert {holding.label for holding in told.weights} == {"breast-cancer, layer 1", "breast-cancer, layer 2"}
    for holding in told.weights:
        assert holding.runs[0] == ("a", 12)
        assert 0 < holding.bits <= 3.2
        assert holding.left == pytest.approx(3.2 - holding.bits)
    assert told.data is not None
    # the second run's vectors are the first one's, and further ones
    assert sum(len(holding.runs) == 2 for holding in told.data) in (0, 12)
    labqdl.run(folder=tmp_path / "elsewhere" / "c", cumulative_bits_per_weight=3.2, **SETTINGS)


def test_a_datum_has_a_budget_over_runs(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    spent = labqdl.run(folder=tmp_path / "a", accounts=str(folder), **SETTINGS)
    once = spent.leakage.to_json()["data"]["labqdl"]["bits_per_feature"]
    told = accounts(folder)
    assert told.data is not None
    assert len(told.data) == 12
    assert told.data[0].bits == pytest.approx(30 * once, rel=1e-9)
    assert told.data[0].budget is None
    budget = {"cumulative_bits_per_feature": 1.05 * once, "accounts": str(folder)}
    with pytest.raises(BudgetExceeded, match=r"data vector 0 .* run a \(32 uses\)"):
        labqdl.run(folder=tmp_path / "b", **SETTINGS, **budget)
    # whoever has no accounts there is a stranger to them
    labqdl.run(folder=tmp_path / "new" / "b", **SETTINGS, cumulative_bits_per_feature=1.05 * once)


def test_without_a_budget_no_accounts_are_kept(tmp_path: Path) -> None:
    labqdl.run(folder=tmp_path / "a", **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def run_accounts(folder: Path, name: str, finished: tuple[int, ...] = ()) -> RunAccounts:
    chosen = resolve(configure(None, SETTINGS))
    frame = chosen.frame(session=name)
    return RunAccounts(folder, name, name, frame, chosen.network, [], chosen.dataset.data, finished=finished)


def uses(folder: Path) -> list[int]:
    told = accounts(folder)
    assert told.weights is not None
    return [holding.spending.uses for holding in told.weights]


@pytest.fixture
def without_light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts of equal directions: what the server knows of its light does not matter here."""
    from labqdl.api import accounting
    from labqdl.security.accountant import WeightsAccountant

    monkeypatch.setattr(accounting, "WeightsAccountant", lambda frame, light: WeightsAccountant(frame))


@pytest.mark.usefixtures("without_light")
def test_a_resumed_run_pays_for_what_it_sends_again(tmp_path: Path) -> None:
    with run_accounts(tmp_path, "r") as kept:
        for block in range(2):
            for layer in range(2):
                kept.record(layer, block)
                kept.record(layer, block)
    assert uses(tmp_path) == [8, 8]
    # killed in block 1: block 0 was finished, block 1 and 2 are sent
    with run_accounts(tmp_path, "r", finished=(0,)) as kept:
        for block in (1, 2):
            kept.record(0, block)
            kept.record(1, block)
    assert uses(tmp_path) == [16, 16]
    # finished: nothing is sent, nothing is charged
    with run_accounts(tmp_path, "r", finished=(0, 1, 2)):
        pass
    assert uses(tmp_path) == [16, 16]
    # the accounts were lost: what the run had finished counts
    with run_accounts(tmp_path / "lost", "r", finished=(0, 1)):
        pass
    assert uses(tmp_path / "lost") == [8, 8]


@pytest.mark.usefixtures("without_light")
def test_the_same_datum_twice_in_a_block_counts_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = resolve(configure(None, SETTINGS))
    data = np.array(chosen.dataset.data)
    data[1] = data[0]
    frame = chosen.frame(session="r")
    with RunAccounts(tmp_path, "r", "r", frame, chosen.network, [], data) as kept:
        kept.record(0, 0)
    told = accounts(tmp_path)
    assert told.data is not None
    rows = frame.layers[0].rows
    assert sorted(holding.spending.uses for holding in told.data) == [rows, rows, 2 * rows]


def test_weights_are_known_whatever_their_light_and_name() -> None:
    network = load_model("breast-cancer")
    digests = weight_digests(network)
    assert len(set(digests)) == len(network.layers)
    assert weight_digests(load_model("breast-cancer")) == digests
    assert data_shape(network) == data_shape(load_model("breast-cancer"))
    assert data_shape(network) != data_shape(load_model("mnist-robust"))


def test_neither_party_s_file_knows_the_other_s_secrets(tmp_path: Path) -> None:
    labqdl.run(folder=tmp_path / "a", cumulative_bits_per_weight=9.0, **SETTINGS)
    network = load_model("breast-cancer")
    client = (tmp_path / "accounts" / "client.sqlite3").read_bytes()
    server = (tmp_path / "accounts" / "server.sqlite3").read_bytes()
    with Accounts.of_data(tmp_path / "accounts") as kept:
        vectors = [holding.owner.encode() for holding in kept.holdings()]
    assert all(digest.encode() in server and digest.encode() not in client for digest in weight_digests(network))
    assert all(vector in client and vector not in server for vector in vectors)


def test_the_command_lists_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labqdl.run(folder=tmp_path / "a", cumulative_bits_per_weight=9.0, **SETTINGS)
    capsys.readouterr()
    assert command_line(["accounts", str(tmp_path / "accounts")]) == 0
    shown = capsys.readouterr().out
    for words in ("the server's account", "the client's account", "breast-cancer, layer 1", "left", "12"):
        assert words in shown
    assert command_line(["accounts", str(tmp_path / "accounts"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "labqdl.accounts/1"
    assert {entry["uses"] for entry in told["weights"]} == {12}
    assert {len(entry["runs"]) for entry in told["data"]} == {1}
    assert command_line(["accounts", str(tmp_path)]) == 2
    assert "no accounts here" in capsys.readouterr().err


def test_there_are_no_accounts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no accounts here"):
        accounts(tmp_path / "nowhere")


def test_long_listings_are_cut(tmp_path: Path) -> None:
    labqdl.run(folder=tmp_path / "a", accounts=str(tmp_path / "kept"), **{**SETTINGS, "images": 30})
    assert "and 10 more with fewer bits" in str(accounts(tmp_path / "kept"))
