"""Which runs lie in a folder, and what came out of them: reads manifests and results, no arrays.

Logs are read of those runs only that have no result: they tell whether an account has refused the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from labqdl.api.blocks import refusal
from labqdl.api.results import Printable
from labqdl.api.tables import COLOURS
from labqdl.errors import InputError, RecordError
from labqdl.facts import VerdictKind
from labqdl.records import Party, RunFolder

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

RUNS_SCHEMA = "labqdl.runs/1"

_ENGINES = {"weights": ("labqdl", "labqdl-anisotropic"), "data": ("labqdl",)}
"""The engines whose figures are bounds; the largest stands in the list, as it is judged by the certificate."""
_MARKS = ("manifest.json", "events.jsonl")
_PARTS = frozenset(("public", *Party))
"""A folder with one of the marks, or with two of the parts, is (or was) a run."""


class RunState(StrEnum):
    """How far a run came, as far as its manifest and result tell, and without a result its log."""

    FINISHED = "finished"
    UNFINISHED = "unfinished"
    REFUSED = "refused"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One line of the list; what is not known is None.

    Attributes
    ----------
    path:
        The run folder.
    state, problem:
        How far it came; what is damaged, in words that name the file, or why an account refused the run.
    created:
        Wall time, seconds since 1970-01-01 UTC.
    model, link, client:
        By name; model as in the result, else as it was asked for.
    images:
        Images that were classified; of an unfinished run those that were asked for.
    verdict, accuracy:
        As in the result.
    leakage:
        The result's `leakage` object: every engine with its assumptions, confidence, samples and calibration.
    """

    path: Path
    state: RunState
    problem: str | None = None
    created: float | None = None
    model: str | None = None
    link: str | None = None
    client: str | None = None
    images: int | None = None
    verdict: str | None = None
    accuracy: float | None = None
    accuracy_interval: tuple[float, float] | None = None
    leakage: Mapping[str, Any] | None = None

    def bits(self, quantity: str, name: str) -> float | None:
        """The largest figure of the engines that bound, as `bits_per_weight`; None where the run has none."""
        values = [engine.get(name) for engine in self.engines(quantity)]
        return max((float(value) for value in values if isinstance(value, int | float)), default=None)

    def engines(self, quantity: str) -> list[Mapping[str, Any]]:
        """What the result says of each engine that bounds "weights" or "data"."""
        found = (self.leakage or {}).get(quantity) or {}
        return [found[name] for name in _ENGINES[quantity] if isinstance(found.get(name), dict)]

    def to_json(self) -> dict[str, Any]:
        """Plain object with every field; `date` is `created` in ISO 8601."""
        return {
            "run": str(self.path),
            "state": self.state.value,
            "problem": self.problem,
            "created": self.created,
            "date": None if self.created is None else datetime.fromtimestamp(self.created, UTC).isoformat(),
            "model": self.model,
            "link": self.link,
            "client": self.client,
            "images": self.images,
            "verdict": self.verdict,
            "accuracy": self.accuracy,
            "accuracy_interval": None if self.accuracy_interval is None else list(self.accuracy_interval),
            "leakage": self.leakage,
        }


def _weights(entry: RunEntry) -> float | None:
    return entry.bits("weights", "bits_per_weight")


def _certified(entry: RunEntry) -> float | None:
    return entry.bits("weights", "certified_bits_per_weight")


def _data(entry: RunEntry) -> float | None:
    return entry.bits("data", "bits_per_feature")


SORT_KEYS: Mapping[str, Callable[[RunEntry], Any]] = {
    "date": lambda entry: entry.created,
    "name": lambda entry: str(entry.path),
    "state": lambda entry: entry.state.value,
    "model": lambda entry: entry.model,
    "link": lambda entry: entry.link,
    "client": lambda entry: entry.client,
    "images": lambda entry: entry.images,
    "verdict": lambda entry: entry.verdict,
    "accuracy": lambda entry: entry.accuracy,
    "weights": _weights,
    "certified": _certified,
    "data": _data,
}
"""What a list can be sorted by; runs that do not have it come last."""


@dataclass(frozen=True, slots=True)
class RunList(Printable):
    """The runs of a folder."""

    folder: Path
    entries: tuple[RunEntry, ...]

    def to_json(self) -> dict[str, Any]:
        """The object of `labqdl runs --json`; schema `labqdl.runs/1`."""
        return {
            "schema": RUNS_SCHEMA,
            "folder": str(self.folder),
            "runs": [entry.to_json() for entry in self.entries],
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        if not self.entries:
            yield Text(f"No runs in {self.folder}")
            return
        table = Table(
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            collapse_padding=True,
            caption=_caption(self.entries),
            caption_justify="left",
        )
        table.add_column("run", overflow="fold")  # whole, to be copied
        for heading in ("date (UTC)", "model", "link"):
            table.add_column(heading, no_wrap=True)
        for heading in ("images", "accuracy", "I_w", "I_w\ncertified", "I_x"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("outcome", no_wrap=True)
        for entry in self.entries:
            table.add_row(*_cells(entry, self.folder))
        yield table
        for entry in self.entries:
            if entry.problem is not None:
                said = f"{entry.path}: {entry.problem}" if entry.state is RunState.REFUSED else entry.problem
                yield Text(said, style="bold magenta")


def list_runs(
    folder: str | Path = "runs",
    *,
    sort: str = "date",
    reverse: bool = False,
    model: str | None = None,
    link: str | None = None,
    client: str | None = None,
    verdict: str | None = None,
    state: str | None = None,
) -> RunList:
    """List the runs in a folder, one below another folder of it included (as `labqdl demo` makes them).

    Parameters
    ----------
    folder:
        Where to look; a run folder lists itself.
    sort, reverse:
        One of `SORT_KEYS`; newest first by default, everything else rises. `reverse` turns the order round.
    model, link, client:
        Names, with `*` and `?` for what is left open; only runs that fit are listed.
    verdict, state:
        accept, undecided, abort; finished, unfinished, refused, damaged.

    Raises
    ------
    InputError
        Where there is no such folder, and for an unknown key, verdict or state.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError("there is no such folder", source=place, expected="a folder with runs in it")
    for option, given, known in (
        ("--sort", sort, tuple(SORT_KEYS)),
        ("--verdict", verdict, tuple(VerdictKind)),
        ("--state", state, tuple(RunState)),
    ):
        if given is not None and given not in known:
            raise InputError(f"unknown word '{given}'", source=option, expected="one of " + ", ".join(known))
    entries = [_read(path) for path in _run_folders(place)]
    wanted = [
        entry
        for entry in entries
        if all(
            pattern is None or (value is not None and fnmatchcase(value, pattern))
            for pattern, value in ((model, entry.model), (link, entry.link), (client, entry.client))
        )
        and verdict in (None, entry.verdict)
        and state in (None, entry.state.value)
    ]
    return RunList(place, tuple(_sorted(wanted, sort, reverse)))


def _sorted(entries: Iterable[RunEntry], sort: str, reverse: bool) -> list[RunEntry]:
    key = SORT_KEYS[sort]
    by_name = sorted(entries, key=lambda entry: str(entry.path))
    known = [entry for entry in by_name if key(entry) is not None]
    known.sort(key=key, reverse=reverse != (sort == "date"))
    return known + [entry for entry in by_name if key(entry) is None]


def _run_folders(folder: Path) -> Iterator[Path]:
    """`folder` itself, its subfolders, or theirs: whatever is or was a run."""
    if _is_run(folder):
        yield folder
        return
    for child in _subfolders(folder):
        if _is_run(child):
            yield child
        else:
            yield from (grandchild for grandchild in _subfolders(child) if _is_run(grandchild))


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.is_dir())
    except OSError:  # a folder that may not be read holds no runs for us
        return []


def _is_run(folder: Path) -> bool:
    try:
        names = {entry.name for entry in folder.iterdir()}
    except OSError:
        return False
    return any(mark in names for mark in _MARKS) or len(_PARTS & names) > 1


def _read(path: Path) -> RunEntry:
    """A run's line from its manifest and its result; damage is told in the line, not raised."""
    try:
        folder = RunFolder.glance(path)
    except (RecordError, InputError) as error:
        return RunEntry(path, RunState.DAMAGED, problem=str(error))
    settings = folder.manifest.get("experiment")
    settings = settings if isinstance(settings, dict) else {}
    # A run that has no result tells what was asked for.
    asked = RunEntry(
        path,
        RunState.UNFINISHED,
        created=folder.created,
        model=_name(settings.get("model")),
        link=_name(settings.get("link")),
        client=_name(settings.get("client")),
        images=settings.get("images"),
    )
    world = folder.party(Party.WORLD)
    if not world.has_json("result"):
        missing = [part for part in sorted(_PARTS) if not (path / part).is_dir()]
        if missing:
            return _damaged(asked, f"{path / missing[0]}: this folder is missing")
        try:
            reason = refusal(folder)
        except RecordError as error:
            return _damaged(asked, str(error))
        return asked if reason is None else replace(asked, state=RunState.REFUSED, problem=reason)
    try:
        result = world.load_json("result")
        interval = result["accuracy_interval"]
        return RunEntry(
            path,
            RunState.FINISHED,
            created=folder.created,
            model=str(result["model"]),
            link=str(result["link"]),
            client=str(result["client"]),
            images=int(result["images"]),
            verdict=str(result["verdict"]),
            accuracy=result["accuracy"],
            accuracy_interval=None if interval is None else (float(interval[0]), float(interval[1])),
            leakage=result["leakage"],
        )
    except RecordError as error:
        return _damaged(asked, str(error))
    except (LookupError, TypeError, ValueError) as error:
        return _damaged(asked, f"{path / 'world' / 'result.json'}: not a result that this version reads ({error!r})")


def _damaged(entry: RunEntry, problem: str) -> RunEntry:
    return replace(entry, state=RunState.DAMAGED, problem=problem)


def _name(word: Any) -> str | None:
    """A model's or link's name: what was asked for, or the stem of the file."""
    if not isinstance(word, str):
        return None
    return Path(word).stem if Path(word).is_absolute() else word


def _cells(entry: RunEntry, folder: Path) -> list[Text]:
    name = entry.path.relative_to(folder).as_posix() if entry.path != folder else entry.path.name or str(entry.path)
    date = "-" if entry.created is None else datetime.fromtimestamp(entry.created, UTC).strftime("%Y-%m-%d %H:%M")
    outcome = Text(entry.state.value, style="dim" if entry.state is RunState.UNFINISHED else "bold magenta")
    if entry.verdict is not None:
        known = entry.verdict in tuple(VerdictKind)
        outcome = Text(entry.verdict, style=COLOURS[VerdictKind(entry.verdict)] if known else "")
    return [
        Text(name),
        Text(date),
        Text(entry.model or "-"),
        Text((entry.link or "-") + ("" if entry.client in (None, "honest") else f"\n{entry.client}")),
        Text("-" if entry.images is None else f"{entry.images:,}"),
        Text("-" if entry.accuracy is None else f"{100 * entry.accuracy:.2f} %"),
        *(Text(_figure(value)) for value in (_weights(entry), _certified(entry), _data(entry))),
        outcome,
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:#.3g}"


def _caption(entries: tuple[RunEntry, ...]) -> str:
    """What the figures of the table rest on."""
    certified = [
        engine for entry in entries for engine in entry.engines("weights") if engine.get("confidence") is not None
    ]
    words = (
        "I_w, I_x: at most so many bits per weight and per feature leak in one use; parameters of the link taken as "
        f"known. I_w is the larger figure of {' and '.join(_ENGINES['weights'])}, I_x that of {_ENGINES['data'][0]}, "
        "against a server that sends coherent light."
    )
    if certified:
        confidences = sorted({entry["confidence"] for entry in certified})
        samples = sorted({entry["samples"] for entry in certified})
        words += (
            " Certified: from the server's own measurements at confidence "
            + " or ".join(f"1 - {1 - value:.1g}" for value in confidences)
            + f" ({' to '.join(f'{value:,}' for value in dict.fromkeys((samples[0], samples[-1])))} symbols)."
        )
    return words + " --json has each figure's assumptions and calibration, and the other engines."
