"""The accounts over runs, as a person wants to read them: what each party has spent, on what, and what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from labqdl.api.results import Printable
from labqdl.errors import InputError
from labqdl.records.accounts import CLIENT_FILE, SERVER_FILE, Accounts, Holding
from labqdl.security.accountant import DATA_ASSUMPTIONS, DATA_ENGINE, WEIGHTS_ASSUMPTIONS, WEIGHTS_ENGINE

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

ACCOUNTS_SCHEMA = "labqdl.accounts/1"

DEFAULT_FOLDER = "runs/accounts"
_SHOWN = 20
_CALIBRATION = "the agreed light path of each run; its manifest has every part's"
_WHY_MORE = (
    "Why an account says more than the run's own table for the same uses: the table supposes that the cross-use test "
    "holds the noise on the sum of all uses to that of one. An account is charged before any light flows, and takes "
    "all the noise that the test would let pass: it sees a weight only in the uses in which that weight is homodyned. "
    "Of a block that is not finished, or in which a run was killed, it takes all the noise. "
    "What the run then certifies from measured light is a third figure, and stands in its table."
)


@dataclass(frozen=True, slots=True)
class AccountsResult(Printable):
    """What both parties have spent.

    Attributes
    ----------
    folder:
        Where the accounts are.
    weights:
        The server's, one a layer that was ever sent; bits per weight. None where there is no such file.
    data:
        The client's, one a data vector that ever met the light; bits in total. None where there is no such file.
    """

    folder: Path
    weights: tuple[Holding, ...] | None
    data: tuple[Holding, ...] | None

    def to_json(self) -> dict[str, Any]:
        """The object of `labqdl accounts --json`; schema `labqdl.accounts/1`."""
        return {
            "schema": ACCOUNTS_SCHEMA,
            "folder": str(self.folder),
            "weights": None if self.weights is None else [_entry(holding, "per_weight") for holding in self.weights],
            "data": None if self.data is None else [_entry(holding, "of_the_vector") for holding in self.data],
            "basis": {
                "weights": _basis(WEIGHTS_ENGINE, WEIGHTS_ASSUMPTIONS),
                "data": _basis(DATA_ENGINE, DATA_ASSUMPTIONS),
            },
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        if self.weights is not None:
            yield from _table("Weights (the server's account)", self.weights, "uses", "bit per\nweight, so far")
            yield _words(WEIGHTS_ENGINE, WEIGHTS_ASSUMPTIONS)
            yield Padding(Text(_WHY_MORE, style="dim"), (0, 0, 1, 2))
        if self.data is not None:
            yield from _table(
                "Data (the client's account)", self.data, "rows that\nprobed it", "bit of the\nvector, so far"
            )
            yield _words(DATA_ENGINE, DATA_ASSUMPTIONS)
        yield Text(f"calibration: {_CALIBRATION}. The client's file knows data by keyed digests only.", style="dim")


def _words(engine: str, assumptions: tuple[str, ...]) -> RenderableType:
    """What the figures of a table rest on."""
    words = f"engine {engine}, asymptotic (parameters taken as known, no samples): assumes {'; '.join(assumptions)}"
    return Padding(Text(words, style="dim"), (0, 0, 0, 2))


def _basis(engine: str, assumptions: tuple[str, ...]) -> dict[str, Any]:
    return {
        "engine": engine,
        "confidence": None,
        "samples": 0,
        "assumptions": list(assumptions),
        "calibration": [_CALIBRATION],
    }


def _entry(holding: Holding, unit: str) -> dict[str, Any]:
    return {
        "digest": holding.owner,
        "label": holding.label,
        **asdict(holding.spending),
        f"bits_{unit}": holding.bits,
        f"budget_{unit}": holding.budget,
        f"left_{unit}": holding.left,
        "runs": [{"name": name, "uses": uses} for name, uses in holding.runs],
    }


def _table(title: str, holdings: tuple[Holding, ...], uses: str, bits: str) -> Iterator[RenderableType]:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for heading in ("digest", "what"):
        table.add_column(heading)
    for heading in (uses, "runs", bits, "budget", "left"):
        table.add_column(heading, justify="right")
    for holding in holdings[:_SHOWN]:
        table.add_row(
            holding.owner[:12],
            holding.label,
            f"{holding.spending.uses:,}",
            f"{len(holding.runs):,}",
            f"{holding.bits:#.4g}",
            "-" if holding.budget is None else f"{holding.budget:.4g}",
            "-" if holding.left is None else f"{holding.left:#.3g}",
        )
    yield table
    if len(holdings) > _SHOWN:
        yield Text(f"  and {len(holdings) - _SHOWN:,} more with fewer bits; --json has all of them", style="dim")
    if not holdings:
        yield Text("  nothing was charged yet", style="dim")


def accounts(folder: str | Path = DEFAULT_FOLDER) -> AccountsResult:
    """What was spent on weights and data over all runs that used these accounts.

    Raises
    ------
    InputError
        Where the folder holds neither party's account.
    RecordError
        For a damaged account; names the file.
    """
    path = Path(folder)
    weights = _holdings(path / SERVER_FILE, Accounts.of_weights)
    data = _holdings(path / CLIENT_FILE, Accounts.of_data)
    if weights is None and data is None:
        raise InputError(
            "no accounts here",
            source=path,
            expected=f"{SERVER_FILE} or {CLIENT_FILE}",
            hint="Runs with a cumulative budget keep them in 'accounts' beside the run, or where --accounts says.",
        )
    return AccountsResult(path, weights, data)


def _holdings(file: Path, opened: Callable[[Path], Accounts]) -> tuple[Holding, ...] | None:
    if not file.is_file():
        return None
    with opened(file.parent) as kept:
        return kept.holdings()
