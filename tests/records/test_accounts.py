from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from labqdl.errors import InputError, LabqdlError, RecordError
from labqdl.facts.spending import Spending
from labqdl.records import accounts as module
from labqdl.records.accounts import CLIENT_FILE, SERVER_FILE, Accounts, Charge

LAYER = Charge("aa", "toy, layer 1")


def one(charge: Charge, spent: Spending, elsewhere: float) -> tuple[Spending, float]:
    """Each charge is a use of two photons, and as many bits as uses."""
    added = Spending(1, 2.0, 0.5, 0.1)
    return added, float(spent.uses + 1)


def pay(
    accounts: Accounts, run: str, block: int, *, attempt: int | None = 1, charges: tuple[Charge, ...] = (LAYER,)
) -> int:
    with accounts.transaction():
        return accounts.charge(run, f"name of {run}", block, charges, one, budget=5.0, attempt=attempt)


def test_blocks_are_charged_once_a_process(tmp_path: Path) -> None:
    with Accounts.of_weights(tmp_path) as accounts:
        assert pay(accounts, "r1", 0) == 1
        assert pay(accounts, "r1", 0) == 0
        assert pay(accounts, "r1", 1) == 1
        assert accounts.attempts("r1") == 1
        # the next process finds block 0 finished, and sends block 1 again
        assert pay(accounts, "r1", 0, attempt=None) == 0
        assert pay(accounts, "r1", 1, attempt=2) == 1
        assert accounts.attempts("r1") == 2
        assert accounts.attempts("r2") == 0
        # a finished block of a run whose accounts were lost
        assert pay(accounts, "r2", 0, attempt=None) == 1
    with Accounts.of_weights(tmp_path) as accounts:
        (holding,) = accounts.holdings()
    assert (holding.spending.uses, holding.spending.photons, holding.spending.lost) == (4, 8.0, 2.0)
    assert holding.spending.noise == pytest.approx(0.4)
    assert (holding.bits, holding.budget, holding.left) == (4.0, 5.0, 1.0)
    assert holding.runs == (("name of r1", 3), ("name of r2", 1))
    assert holding.label == "toy, layer 1"


def test_a_block_is_settled_once(tmp_path: Path) -> None:
    """Of two charges of the same block, one in each of two processes, the noise of one goes down."""
    with Accounts.of_weights(tmp_path) as accounts:
        for block, attempt in ((0, 1), (1, 1), (1, 2)):
            pay(accounts, "r", block, attempt=attempt)
        for block, noise, left in ((1, 0.2, 0.3), (1, 0.025, 0.225), (1, 0.0, 0.225), (0, 0.0, 0.125), (7, 0.0, 0.125)):
            with accounts.transaction():
                accounts.settle("r", block, LAYER, noise, lambda spent: 10 * spent.noise)
            (holding,) = accounts.holdings()
            assert holding.spending.noise == pytest.approx(left)
        assert holding.bits == pytest.approx(1.25)
        assert (holding.spending.uses, holding.spending.photons, holding.runs) == (3, 6.0, (("name of r", 3),))


def test_kinds_of_one_owner_are_kept_apart_and_added(tmp_path: Path) -> None:
    seen: list[float] = []

    def judge(charge: Charge, spent: Spending, elsewhere: float) -> tuple[Spending, float]:
        seen.append(elsewhere)
        return Spending(10), spent.uses + 10.0

    with Accounts.of_data(tmp_path) as accounts:
        for run, kind in (("r1", "wide"), ("r2", "narrow"), ("r3", "wide")):
            with accounts.transaction():
                accounts.charge(run, run, 0, [Charge("v", "data vector", kind)], judge, budget=None, attempt=1)
        (holding,) = accounts.holdings()
    assert seen == [0.0, 10.0, 10.0]
    assert (holding.bits, holding.spending.uses, holding.budget, holding.left) == (30.0, 30, None, None)


def test_a_refusal_charges_nothing(tmp_path: Path) -> None:
    class Refused(LabqdlError):
        pass

    def judge(charge: Charge, spent: Spending, elsewhere: float) -> tuple[Spending, float]:
        if charge.owner == "bb":
            raise Refused("no")
        return one(charge, spent, elsewhere)

    with Accounts.of_weights(tmp_path) as accounts:
        with pytest.raises(Refused), accounts.transaction():
            accounts.charge("r", "r", 0, [LAYER, Charge("bb", "other")], judge, budget=None, attempt=1)
        assert accounts.holdings() == ()
        assert accounts.attempts("r") == 0
        assert pay(accounts, "r", 0) == 1


def test_data_are_known_by_keyed_digests(tmp_path: Path) -> None:
    with Accounts.of_data(tmp_path / "a") as first, Accounts.of_data(tmp_path / "b") as second:
        assert first.keyed_digest(b"x") == first.keyed_digest(b"x")
        assert first.keyed_digest(b"x") != first.keyed_digest(b"y")
        assert first.keyed_digest(b"x") != second.keyed_digest(b"x")
        kept = first.keyed_digest(b"x")
    with Accounts.of_data(tmp_path / "a") as again:
        assert again.keyed_digest(b"x") == kept
    with Accounts.of_weights(tmp_path / "a") as weights, pytest.raises(ValueError, match="only the client"):
        weights.keyed_digest(b"x")


def spend(folder: str, run: str, start: multiprocessing.synchronize.Barrier) -> None:
    """A process that takes from a budget of 25 uses until it is refused."""

    def judge(charge: Charge, spent: Spending, elsewhere: float) -> tuple[Spending, float]:
        if spent.uses + 1 > 25:
            raise LabqdlError("spent")
        return one(charge, spent, elsewhere)

    with Accounts.of_weights(Path(folder)) as accounts:
        start.wait(60)
        for block in range(100):
            try:
                with accounts.transaction():
                    accounts.charge(run, run, block, [LAYER], judge, budget=25.0, attempt=1)
            except LabqdlError:
                return


def test_two_processes_never_take_more_than_there_is(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    workers = [context.Process(target=spend, args=(str(tmp_path), f"r{k}", start)) for k in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    with Accounts.of_weights(tmp_path) as accounts:
        (holding,) = accounts.holdings()
    assert holding.spending.uses == 25
    assert sum(uses for _, uses in holding.runs) == 25


def test_a_writer_that_holds_on_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    with Accounts.of_weights(tmp_path) as first, Accounts.of_weights(tmp_path) as second:
        with first.transaction(), pytest.raises(LabqdlError, match="another process has held the accounts"):
            pay(second, "r", 0)
        assert pay(second, "r", 0) == 1


def test_files_that_are_no_accounts_are_named(tmp_path: Path) -> None:
    for content, words in ((b"not a database, but long enough to be looked at" * 40, "damaged"),):
        (tmp_path / SERVER_FILE).write_bytes(content)
        with pytest.raises(RecordError, match=rf"{SERVER_FILE}: .*{words}"):
            Accounts.of_weights(tmp_path)
    other = tmp_path / "other"
    Accounts.of_weights(other).close()
    (other / SERVER_FILE).rename(other / CLIENT_FILE)
    with pytest.raises(RecordError, match="accounts of the server, not client"):
        Accounts.of_data(other)
    newer = tmp_path / "newer"
    Accounts.of_weights(newer).close()
    connection = sqlite3.connect(newer / SERVER_FILE)
    connection.execute("UPDATE about SET value = 9 WHERE key = 'schema'")
    connection.commit()
    connection.close()
    with pytest.raises(RecordError, match="schema 9"):
        Accounts.of_weights(newer)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    connection = sqlite3.connect(foreign / SERVER_FILE)
    connection.execute("CREATE TABLE something (x)")
    connection.commit()
    connection.close()
    with pytest.raises(RecordError, match=SERVER_FILE):
        Accounts.of_weights(foreign)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot open the accounts"):
        Accounts.of_weights(tmp_path / "file" / "accounts")
