"""Accounts over runs: a budget shared by runs, resumed runs that pay for what they send again, and the listing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import labqdl
import labqdl.api
from labqdl.api import accounts
from labqdl.api.accounting import RunAccounts, data_shape, weight_digests
from labqdl.api.experiment import configure, resolve
from labqdl.api.listing import RunState, list_runs
from labqdl.cli.root import run as command_line
from labqdl.errors import InputError, RecordError
from labqdl.facts import Quantity
from labqdl.network import load_model
from labqdl.optics.modes import layer_amplitudes
from labqdl.records.accounts import Accounts
from labqdl.security.accountant import (
    DATA_ASSUMPTIONS,
    DATA_ENGINE,
    WEIGHTS_ASSUMPTIONS,
    WEIGHTS_ENGINE,
    BudgetExceeded,
)
from labqdl.security.expected import layer_light

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


def test_a_refusal_says_all_that_one_needs(tmp_path: Path) -> None:
    labqdl.run(folder=tmp_path / "a", cumulative_bits_per_weight=3.2, **SETTINGS)
    with pytest.raises(BudgetExceeded) as caught:
        labqdl.run(folder=tmp_path / "b", cumulative_bits_per_weight=2.5, **SETTINGS)
    told = accounts(tmp_path / "accounts")
    assert told.weights is not None
    spent = next(holding.bits for holding in told.weights if holding.label.endswith("layer 1"))
    text = str(caught.value)
    for words in (
        f"the server's account of breast-cancer, layer 1 in {tmp_path / 'accounts'} refuses this run",
        "block 0 of layer 1 would bring its weights to 16 uses",
        "this run with all 3 blocks that are left of it to",
        "budget of 2.5 (engine labqdl-anisotropic, asymptotic)",
        f"spent so far: {spent:.4g} bit by run a (12 uses)",
        "fewer images",
        "cumulative_bits_per_weight",
        f"'labqdl accounts {tmp_path / 'accounts'}'",
    ):
        assert words in text


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    """A run that its budget allowed one of three blocks."""
    folder = tmp_path / "runs" / "refused"
    with pytest.raises(BudgetExceeded):
        labqdl.run(folder=folder, cumulative_bits_per_weight=1.7, **SETTINGS)
    return folder


def test_a_refused_run_says_so(refused: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (entry,) = list_runs(refused.parent, state="refused").entries
    assert entry.state is RunState.REFUSED
    assert entry.problem is not None
    assert "refuses this run: block 1 of layer" in entry.problem
    assert not list_runs(refused.parent, state="unfinished").entries
    assert command_line(["runs", str(refused.parent)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "refuses this run: block 1 of layer" in shown
    with pytest.raises(RecordError, match=r"as it was refused: the server's account"):
        labqdl.api.replay(refused)
    page = labqdl.api.write_report(refused).page.read_text(encoding="utf-8")
    assert "An account over runs refused this run after 1 of 3 blocks." in page
    # what the accounts hold is in the joined view alone
    assert "bit per weight" not in (refused / "events.jsonl").read_text()


def test_resuming_a_refused_run_says_so_unless_its_accounts_are_others(refused: Path) -> None:
    before = (refused / "events.jsonl").read_text()
    with pytest.raises(
        BudgetExceeded, match=r"was refused before, and is again, .* refuses this run: block 1"
    ) as caught:
        labqdl.api.resume(refused)
    assert caught.value.exit_code == 4
    assert (refused / "events.jsonl").read_text() == before
    for file in (refused.parent / "accounts").iterdir():
        file.unlink()
    with pytest.raises(BudgetExceeded, match="was refused before"):  # its own finished block is charged again
        labqdl.api.resume(refused)


def test_a_refused_run_goes_on_where_others_spending_is_gone(tmp_path: Path) -> None:
    kept = tmp_path / "accounts"
    labqdl.run(folder=tmp_path / "a", cumulative_bits_per_weight=9.0, **SETTINGS)
    with pytest.raises(BudgetExceeded):
        labqdl.run(folder=tmp_path / "b", cumulative_bits_per_weight=2.4, **SETTINGS)
    for file in kept.iterdir():
        file.unlink()
    labqdl.api.resume(tmp_path / "b")
    entries = {entry.path.name: entry.state for entry in list_runs(tmp_path).entries}
    assert entries == {"a": RunState.FINISHED, "b": RunState.FINISHED}


def test_an_account_holds_the_noise_that_the_cross_use_test_cannot_see(tmp_path: Path) -> None:
    """3/8 of the uses of a weight are homodyned: the account takes 8/3 of the noise that the run's table takes."""
    result = labqdl.run(folder=tmp_path / "a", accounts=str(tmp_path / "kept"), **SETTINGS)
    table = result.leakage.select(Quantity.WEIGHTS, WEIGHTS_ENGINE, cumulative=True)
    told = accounts(tmp_path / "kept")
    assert table is not None
    assert told.weights is not None
    network = load_model("breast-cancer")
    expected = {1.0: [], 8 / 3: []}  # type: dict[float, list[float]]
    for layer in network.layers:
        light = layer_amplitudes(layer.weights, layer.bias, 4.0)[0]
        for factor, found in expected.items():
            excess = factor * 2 / light.shape[1]
            leak = layer_light(light).spectrum
            assert leak is not None
            found.append(leak.leakage(mu=12 * 4.0, transmissivity=1.0, excess=excess) / 2)
    assert table.bits == pytest.approx(max(expected[1.0]), rel=1e-9)
    assert sorted(holding.bits for holding in told.weights) == pytest.approx(sorted(expected[8 / 3]), rel=1e-9)


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
    with pytest.raises(BudgetExceeded, match=r"client's account of data vector 0 in .* run a \(32 rows\)"):
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
def test_light_that_flowed_in_vain_is_paid_for(tmp_path: Path) -> None:
    with run_accounts(tmp_path, "r") as kept:
        kept.record(0, 0)
        kept.again(0)
        kept.record(1, 0)  # the other layer of the same block goes on
        kept.settle(0)
        assert uses(tmp_path) == [8, 8]
        kept.record(0, 1)
        kept.settle(1)
    assert uses(tmp_path) == [12, 12]
    with run_accounts(tmp_path, "r", finished=(0, 1)) as kept:  # a resumed run owes nothing more for them
        kept.record(0, 2)
    assert uses(tmp_path) == [16, 16]


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
    shown = " ".join(shown.split())
    for words in (*WEIGHTS_ASSUMPTIONS, *DATA_ASSUMPTIONS, f"engine {WEIGHTS_ENGINE}", f"engine {DATA_ENGINE}"):
        assert words in shown
    assert "Why an account says more" in shown
    assert command_line(["accounts", str(tmp_path / "accounts"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "labqdl.accounts/1"
    assert {entry["uses"] for entry in told["weights"]} == {12}
    assert told["basis"]["weights"]["engine"] == WEIGHTS_ENGINE
    assert told["basis"]["data"]["assumptions"] == list(DATA_ASSUMPTIONS)
    assert {len(entry["runs"]) for entry in told["data"]} == {1}
    assert command_line(["accounts", str(tmp_path)]) == 2
    assert "no accounts here" in capsys.readouterr().err


def test_there_are_no_accounts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no accounts here"):
        accounts(tmp_path / "nowhere")


def test_long_listings_are_cut(tmp_path: Path) -> None:
    labqdl.run(folder=tmp_path / "a", accounts=str(tmp_path / "kept"), **{**SETTINGS, "images": 30})
    assert "and 10 more with fewer bits" in str(accounts(tmp_path / "kept"))
