"""Accounts over runs: what was spent on the same weights or the same datum, in one SQLite file for each party.

A file holds nothing but digests, sums and the names of runs: the server's is about weights, the client's about data
vectors, which are known by a keyed digest whose key never leaves the client's file. Charges are made before light
flows, each in a transaction that reads the sums, judges and writes, so that two runs at a time cannot both take the
last of a budget. A run that is resumed is charged for what it sends again, the block in which it was interrupted, and
not for what it had finished. A finished block is settled: of its noise remains what the run's tests let pass.

Layout (schema 1)::

    about(key, value)                                   schema, party, and in the client's file the digest key
    holdings(owner, kind, label, uses, photons, lost, noise, added_bits, bits, budget)
    charges(run, attempt, block, owner, kind, uses, photons, lost, noise, added_bits)
    runs(run, name)
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from labqdl.errors import InputError, LabqdlError, RecordError
from labqdl.facts.spending import Spending
from labqdl.records.closing import Closing
from labqdl.records.store import Party

SCHEMA = 1
SERVER_FILE = "server.sqlite3"
CLIENT_FILE = "client.sqlite3"
_PATIENCE = 60.0
"""Seconds that a run waits for another one's transaction, which takes milliseconds."""
_KEY_BYTES = 32

_TABLES = (
    "CREATE TABLE about (key TEXT PRIMARY KEY, value BLOB NOT NULL)",
    "CREATE TABLE holdings (owner TEXT NOT NULL, kind TEXT NOT NULL, label TEXT NOT NULL, uses INTEGER NOT NULL,"
    " photons REAL NOT NULL, lost REAL NOT NULL, noise REAL NOT NULL, added_bits REAL NOT NULL, bits REAL NOT NULL,"
    " budget REAL, PRIMARY KEY (owner, kind)) WITHOUT ROWID",
    "CREATE TABLE charges (run TEXT NOT NULL, attempt INTEGER NOT NULL, block INTEGER NOT NULL, owner TEXT NOT NULL,"
    " kind TEXT NOT NULL, uses INTEGER NOT NULL, photons REAL NOT NULL, lost REAL NOT NULL, noise REAL NOT NULL,"
    " added_bits REAL NOT NULL, PRIMARY KEY (owner, run, block, kind, attempt)) WITHOUT ROWID",
    "CREATE TABLE runs (run TEXT PRIMARY KEY, name TEXT NOT NULL)",
)


@dataclass(frozen=True, slots=True)
class Holding:
    """What one layer's weights or one data vector have cost so far.

    Attributes
    ----------
    owner:
        Digest of the weights, or keyed digest of the vector; hexadecimal.
    label:
        What the party calls it.
    spending:
        Sums over all uses.
    bits:
        What they amounted to when it was charged last: bits per weight, or bits in total of a data vector.
    budget:
        The budget that was agreed then, None without one; in the unit of `bits`.
    runs:
        (name, uses) of the runs that have spent, by the order of the names.
    """

    owner: str
    label: str
    spending: Spending
    bits: float
    budget: float | None
    runs: tuple[tuple[str, int], ...]

    @property
    def left(self) -> float | None:
        """Bits that are left of the budget, None without one."""
        return None if self.budget is None else max(self.budget - self.bits, 0.0)


@dataclass(frozen=True, slots=True)
class Charge:
    """One thing to be charged in a block.

    Attributes
    ----------
    owner:
        Digest that it is known by.
    label:
        What to call it.
    kind:
        The shape in which it meets the light. Sums of one kind add up; bits of different kinds are added.
    """

    owner: str
    label: str
    kind: str = ""


Judge = Callable[[Charge, Spending, float], tuple[Spending, float]]
"""(charge, spent so far in its kind, bits in other kinds) -> (what is added, bits of its kind after it); raises to
refuse."""


class Accounts(Closing):
    """One party's accounts.

    Raises
    ------
    RecordError
        For a file that is no such account, of another party, damaged, or of a newer schema.
    InputError
        Where the file cannot be made or opened.
    """

    def __init__(self, path: Path, party: Party) -> None:
        self._path = path
        self._party = party
        self._connection = self._connect()
        try:
            with self._named():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    @classmethod
    def of_weights(cls, folder: Path) -> Accounts:
        """The server's, `server.sqlite3` in the folder; bits per weight."""
        return cls(folder / SERVER_FILE, Party.SERVER)

    @classmethod
    def of_data(cls, folder: Path) -> Accounts:
        """The client's, `client.sqlite3` in the folder; bits in total of each data vector."""
        return cls(folder / CLIENT_FILE, Party.CLIENT)

    def __repr__(self) -> str:
        return f"Accounts({self._party}, {self._path})"

    def close(self) -> None:
        """Give the file back; closing twice is fine."""
        self._connection.close()

    def keyed_digest(self, content: bytes) -> str:
        """Name under which a datum of this content is kept: BLAKE2b-128 under the client's key, hexadecimal."""
        row = self._connection.execute("SELECT value FROM about WHERE key = 'digest-key'").fetchone()
        if row is None:
            raise ValueError(f"{self!r} has no digest key: only the client knows data by digests")
        return hashlib.blake2b(content, key=bytes(row[0]), digest_size=16).hexdigest()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All charges within, or none; nobody else reads or writes sums meanwhile."""
        with self._named():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def attempts(self, run: str) -> int:
        """How many processes have charged for this run so far."""
        with self._named():
            row = self._connection.execute("SELECT MAX(attempt) FROM charges WHERE run = ?", (run,)).fetchone()
        return 0 if row[0] is None else int(row[0])

    def charge(
        self,
        run: str,
        name: str,
        block: int,
        charges: Sequence[Charge],
        judge: Judge,
        *,
        budget: float | None,
        attempt: int | None,
    ) -> int:
        """Charge one block of a run; returns how many charges are new. To be called within `transaction`.

        Where `judge` raises, the transaction is to be given up.

        Parameters
        ----------
        run, name:
            Identity of the run, the same when it is resumed, and what people call it.
        attempt:
            Number of the process that sends the block, from 1 on: it is charged once for each. None for a block that
            an earlier process finished: it is charged unless it was.
        """
        execute = self._connection.execute
        execute("INSERT OR IGNORE INTO runs VALUES (?, ?)", (run, name))
        new = 0
        for charge in charges:
            known = execute(
                "SELECT 1 FROM charges WHERE owner = ? AND run = ? AND block = ? AND kind = ?"
                " AND (? IS NULL OR attempt = ?)",
                (charge.owner, run, block, charge.kind, attempt, attempt),
            ).fetchone()
            if known is not None:
                continue
            spent = self._spent(charge)
            added, bits = judge(charge, spent, self._elsewhere(charge))
            total = spent + added
            execute(
                "INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run,
                    attempt or 0,
                    block,
                    charge.owner,
                    charge.kind,
                    added.uses,
                    added.photons,
                    added.lost,
                    added.noise,
                    added.bits,
                ),
            )
            execute(
                "INSERT OR REPLACE INTO holdings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    charge.owner,
                    charge.kind,
                    charge.label,
                    total.uses,
                    total.photons,
                    total.lost,
                    total.noise,
                    total.bits,
                    bits,
                    budget,
                ),
            )
            new += 1
        return new

    def settle(self, run: str, block: int, charge: Charge, noise: float, bits: Callable[[Spending], float]) -> None:
        """A block is finished: lower the noise of its charge to what remains of it. To be called within `transaction`.

        A block that was charged several times (an earlier process was killed in it, or copies of the run sent it) is
        settled once: the run's tests have seen it once.

        Parameters
        ----------
        noise:
            What remains, SNU; a charge of less stays as it is.
        bits:
            Bits of the charge's kind that a spending amounts to.
        """
        execute = self._connection.execute
        one = (charge.owner, run, block, charge.kind)
        charged = execute(
            "SELECT attempt, noise FROM charges WHERE owner = ? AND run = ? AND block = ? AND kind = ?"
            " ORDER BY attempt",
            one,
        ).fetchall()
        if not charged or min(row[1] for row in charged) < max(row[1] for row in charged) or noise >= charged[-1][1]:
            return
        execute(
            "UPDATE charges SET noise = ? WHERE owner = ? AND run = ? AND block = ? AND kind = ? AND attempt = ?",
            (noise, *one, charged[-1][0]),
        )
        kind = (charge.owner, charge.kind)
        (left,) = execute("SELECT SUM(noise) FROM charges WHERE owner = ? AND kind = ?", kind).fetchone()
        spent = replace(self._spent(charge), noise=float(left))
        execute("UPDATE holdings SET noise = ?, bits = ? WHERE owner = ? AND kind = ?", (left, bits(spent), *kind))

    def spenders(self, owner: str) -> tuple[tuple[str, int], ...]:
        """(name, uses) of the runs that have spent on this, by the order of the names."""
        with self._named():
            rows = self._connection.execute(
                "SELECT runs.name, SUM(charges.uses) FROM charges JOIN runs USING (run) WHERE owner = ?"
                " GROUP BY run ORDER BY runs.name",
                (owner,),
            ).fetchall()
        return tuple((str(name), int(uses)) for name, uses in rows)

    def holdings(self) -> tuple[Holding, ...]:
        """Everything that was charged, most bits first."""
        with self._named():
            rows = self._connection.execute(
                "SELECT owner, label, SUM(uses), SUM(photons), SUM(lost), SUM(noise), SUM(added_bits),"
                " SUM(bits) AS total, MIN(budget) FROM holdings GROUP BY owner ORDER BY total DESC, owner"
            ).fetchall()
            spent = self._connection.execute(
                "SELECT owner, runs.name, SUM(charges.uses) FROM charges JOIN runs USING (run)"
                " GROUP BY owner, run ORDER BY runs.name"
            ).fetchall()
        runs: dict[str, list[tuple[str, int]]] = {}
        for owner, name, uses in spent:
            runs.setdefault(str(owner), []).append((str(name), int(uses)))
        return tuple(
            Holding(
                owner=str(row[0]),
                label=str(row[1]),
                spending=Spending(*row[2:7]),
                bits=float(row[7]),
                budget=None if row[8] is None else float(row[8]),
                runs=tuple(runs.get(str(row[0]), ())),
            )
            for row in rows
        )

    def _spent(self, charge: Charge) -> Spending:
        row = self._connection.execute(
            "SELECT uses, photons, lost, noise, added_bits FROM holdings WHERE owner = ? AND kind = ?",
            (charge.owner, charge.kind),
        ).fetchone()
        return Spending() if row is None else Spending(*row)

    def _elsewhere(self, charge: Charge) -> float:
        row = self._connection.execute(
            "SELECT SUM(bits) FROM holdings WHERE owner = ? AND kind <> ?", (charge.owner, charge.kind)
        ).fetchone()
        return float(row[0] or 0.0)

    def _connect(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"cannot open the accounts: {error}", source=self._path) from error

    def _prepare(self) -> None:
        execute = self._connection.execute
        if not execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            execute("BEGIN IMMEDIATE")
            # another run may have been faster
            if not execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                for table in _TABLES:
                    execute(table)
                about: list[tuple[str, object]] = [("schema", SCHEMA), ("party", self._party.value)]
                if self._party is Party.CLIENT:
                    about.append(("digest-key", secrets.token_bytes(_KEY_BYTES)))
                self._connection.executemany("INSERT INTO about VALUES (?, ?)", about)
            execute("COMMIT")
        told = dict(execute("SELECT key, value FROM about WHERE key IN ('schema', 'party')").fetchall())
        if told.get("schema") != SCHEMA:
            raise RecordError(
                f"{self._path}: these accounts have schema {told.get('schema')!r}, this labqdl reads {SCHEMA}"
            )
        if told.get("party") != self._party.value:
            raise RecordError(f"{self._path}: these are the accounts of the {told.get('party')}, not {self._party}")

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors of the database as errors that name the file."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise LabqdlError(
                    f"{self._path}: another process has held the accounts for {_PATIENCE:.0f} s; try again"
                ) from error
            raise RecordError(f"{self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise RecordError(f"{self._path}: these accounts are damaged: {error}") from error
