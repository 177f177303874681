"""Tables of results for a terminal. Every figure of leakage stands beside its engine, confidence and samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from labqdl.api.results import BoundResult, RunResult, describe_point
from labqdl.facts import Bound, LeakageReport, Quantity, VerdictKind

if TYPE_CHECKING:
    from rich.console import RenderableType

# Blue and orange can be told apart by people who see no red or green.
COLOURS = {
    VerdictKind.ACCEPT: "bold blue",
    VerdictKind.UNDECIDED: "bold dark_orange",
    VerdictKind.ABORT: "bold magenta",
}

_PUBLISHED = ("prx-2025", "arxiv-2024")


def percent(accuracy: float | None, interval: tuple[float, float] | None, images: int) -> str:
    """Accuracy with its 95 % interval, in percent."""
    if accuracy is None or interval is None:
        return "not known: the data have no labels" if images else "none: no image came through all layers"
    return f"{100 * accuracy:.2f} % (95 % interval {100 * interval[0]:.2f} to {100 * interval[1]:.2f} %)"


def bits(bound: Bound | None) -> str:
    """Figure of a bound for a table cell; the table's columns and notes say what it rests on."""
    return "-" if bound is None else f"{bound.bits:#.3g}"


def overlap(bound: Bound | None) -> str:
    """Best squared overlap for a table cell, 1 for a guess that is right."""
    return "-" if bound is None or bound.best_overlap is None else f"{bound.best_overlap:#.3g}"


def leakage_table(report: LeakageReport) -> Table:
    """Bits per weight and per feature by engine: one use, certified from this run, all uses of the run together."""
    certified = next((bound for bound in report.bounds if bound.confidence is not None), None)
    repeated = next((bound for bound in report.bounds if bound.uses > 1), None)
    several = "" if repeated is None else ", and all uses together,"
    verb = "takes" if repeated is None else "take"
    caption = f"One use{several} {verb} the parameters of the link as known."
    columns = [("one use", False, False)]
    if certified is not None and certified.confidence is not None:
        columns.append(("one use,\ncertified", True, False))
        caption += (
            f" Certified figures hold at confidence 1 - {1 - certified.confidence:.1g}"
            f" by {certified.samples:,} returned symbols."
        )
    if repeated is not None:
        columns.append((f"{repeated.uses:,} uses", False, True))
        if certified is not None:
            columns.append((f"{repeated.uses:,} uses,\ncertified", True, True))
    if set(_PUBLISHED) & set(report.engines(Quantity.DATA)):
        caption += (
            f" {' and '.join(_PUBLISHED)} are the authors' formulas, shown to compare: about data they are no bounds,"
            " about weights they hold for a lossless link only."
        )
    table = Table(
        box=box.SIMPLE_HEAD,
        title="Leakage, at most",
        title_justify="left",
        caption=caption,
        caption_justify="left",
    )
    table.add_column("engine")
    for heading, _, _ in columns:
        table.add_column(heading, justify="right")
    for quantity, unit in ((Quantity.WEIGHTS, "bit per weight"), (Quantity.DATA, "bit per feature")):
        table.add_row(Text(f"{quantity}, {unit}", style="italic"))
        for engine in report.engines(quantity):
            cells = [
                bits(report.select(quantity, engine, certified=proven, cumulative=summed))
                for _, proven, summed in columns
            ]
            table.add_row(f"  {engine}", *cells, style="bold" if engine == "labqdl" else "")
        for refusal in report.refusals:
            if refusal.quantity is quantity:
                table.add_row(f"  {refusal.engine}", *("none" for _ in columns))
    guessing = [bound.engine for bound in report.bounds if bound.best_overlap is not None]
    if guessing:
        table.add_row(Text("data, best squared overlap of a guess", style="italic"))
        for engine in dict.fromkeys(guessing):
            cells = [
                overlap(report.select(Quantity.DATA, engine, certified=proven, cumulative=summed))
                for _, proven, summed in columns
            ]
            table.add_row(f"  {engine}", *cells)
    return table


def assumption_notes(report: LeakageReport) -> Iterator[RenderableType]:
    """What each engine assumes, for which of its figures, and where the calibration comes from."""
    for quantity in Quantity:
        for engine in report.engines(quantity):
            for place, (figures, sentences) in enumerate(report.assumptions(quantity, engine)):
                start = f"{engine}, {quantity}, " if place == 0 else ""
                words = f"{start}{figures}: assumes {'; '.join(sentences)}"
                yield Padding(Text(words, style="dim"), (0, 0, 0, 2 if place == 0 else 6))
    for refusal in report.refusals:
        yield Padding(Text(f"{refusal.engine}, {refusal.quantity}: {refusal.reason}", style="dim"), (0, 0, 0, 2))
    calibrations = dict.fromkeys(entry for bound in report.bounds for entry in bound.calibration)
    yield Padding(Text(f"calibration: {', '.join(calibrations)}", style="dim"), (0, 0, 1, 2))


def verdict_text(result: RunResult) -> Text:
    """Verdict and reason, coloured so that it can be told at a glance."""
    verdict = result.verdict
    return Text.assemble((verdict.kind.value.upper(), COLOURS[verdict.kind]), f": {verdict.explanation}")


def client_checks(result: RunResult) -> str:
    """What the client's own tests of the light say, by name: the failed ones first."""
    failed = dict.fromkeys(test.name.split(",")[0] for test in result.findings if not test.passed)
    passed = dict.fromkeys(test.name.split(",")[0] for test in result.findings)
    parts = [f"{', '.join(failed)} FAILED"] if failed else []
    if set(passed) - set(failed):
        parts.append(f"{', '.join(name for name in passed if name not in failed)} passed")
    return "; ".join(parts) or "none was made"


def run_summary(result: RunResult) -> Iterator[RenderableType]:
    """A run on one screen."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    grid.add_row("model", result.model)
    cheats = [(name, getattr(result, name)) for name in ("client", "server", "channel")]
    grid.add_row("link", ", ".join([result.link, *(f"{who}: {word}" for who, word in cheats if word != "honest")]))
    grid.add_row("light", describe_point(result.operating_point, result.f2_db))
    grid.add_row("images", f"{result.images:,} in {result.seconds:.1f} s")
    grid.add_row("accuracy", percent(result.accuracy, result.accuracy_interval, result.images))
    grid.add_row("client's checks", client_checks(result))
    grid.add_row("verdict", verdict_text(result))
    for reason in result.uncertified:
        grid.add_row(Text("UNCERTIFIED", style="bold magenta"), Text(reason, style="magenta"))
    grid.add_row("run folder", str(result.run))
    yield grid
    yield Text()
    yield leakage_table(result.leakage)
    yield from assumption_notes(result.leakage)


def bound_summary(result: BoundResult) -> Iterator[RenderableType]:
    """An operating point's leakage on one screen."""
    yield Text(f"link {result.link}: {describe_point(result.operating_point, result.f2_db)}")
    yield Text()
    yield leakage_table(result.leakage)
    yield from assumption_notes(result.leakage)
