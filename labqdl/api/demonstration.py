"""The demonstration: four recorded runs that show what the protocol does, and what it does not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from labqdl.api.results import Printable, RunResult
from labqdl.api.running import run
from labqdl.api.tables import COLOURS
from labqdl.facts import Quantity
from labqdl.units import counted

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

DEMO_SCHEMA = "labqdl.demo/1"


@dataclass(frozen=True, slots=True)
class Scene:
    """One row of the demonstration: letter, what it shows, and the settings of its run."""

    letter: str
    title: str
    settings: dict[str, Any]


SCENES = (
    Scene(
        "a",
        "mnist-plain at the paper's point: mu = 4, G = 2, ideal parts",
        {"model": "mnist-plain", "link": "paper"},
    ),
    Scene(
        "b",
        "mnist-robust at the limit of ideal parts (G near 1, bright light); no bench gets there",
        {"model": "mnist-robust", "link": "ideal"},
    ),
    Scene(
        "c",
        "mnist-robust on lab-bench: real parts on one table",
        {"model": "mnist-robust", "link": "lab-bench"},
    ),
    Scene(
        "d",
        "as (a), but the client heterodynes every mode and resends what it saw",
        {"model": "mnist-plain", "link": "paper", "client": "intercept-resend"},
    ),
)


@dataclass(frozen=True, slots=True)
class DemoResult(Printable):
    """The runs of the demonstration."""

    rows: tuple[tuple[Scene, RunResult], ...]

    def to_json(self) -> dict[str, Any]:
        """The object of `labqdl demo --json`; each run as `labqdl run --json` gives it."""
        return {
            "schema": DEMO_SCHEMA,
            "runs": [{"letter": scene.letter, "title": scene.title, **result.to_json()} for scene, result in self.rows],
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        table = Table(box=box.SIMPLE_HEAD, title="Secure inference on the MNIST test digits", title_justify="left")
        for heading in ("", "accuracy", "F²", "engine"):
            table.add_column(heading, justify="left" if heading in ("", "engine") else "right")
        table.add_column("weights\none use", justify="right")
        table.add_column("data\none use", justify="right")
        table.add_column("weights\ncertified", justify="right")
        table.add_column("weights\nall uses", justify="right")
        table.add_column("verdict")
        for scene, result in self.rows:
            table.add_row(*_cells(scene, result))
        yield table
        yield Text(
            "F² is the signal-to-noise ratio of a first-layer outcome. Leakage in bits per real weight and pixel, at "
            "most. 'one use' and 'all uses' (of this run's images together) take the parameters of the link as known; "
            "'certified' is what the server's own measurements of this run prove at confidence "
            f"{_confidence(self.rows)}. Engine labqdl is exact within its assumptions, "
            "among them equally bright directions, which labqdl-anisotropic does without; prx-2025 and arxiv-2024 are "
            "the authors' formulas: about data they are no bounds, about weights they hold for a lossless link only. "
            "'labqdl bound' prints every assumption.",
            style="dim",
        )
        yield Text()
        for scene, result in self.rows:
            yield Text.assemble((f"({scene.letter}) ", "bold"), f"{scene.title}: {counted(result.images, 'image')}")
            yield Text.assemble("    ", (result.verdict.kind.value, COLOURS[result.verdict.kind]))
            yield Text(f"    {result.verdict.explanation}")
            yield Text(f"    record: {result.run}", style="dim")


def _confidence(rows: tuple[tuple[Scene, RunResult], ...]) -> str:
    for _, result in rows:
        for bound in result.leakage.bounds:
            if bound.confidence is not None:
                return f"1 - {1 - bound.confidence:.1g}"
    return "(none: nothing was measured)"


def _cells(scene: Scene, result: RunResult) -> list[Text]:
    report = result.leakage
    engines = report.engines(Quantity.WEIGHTS)

    def column(quantity: Quantity, certified: bool = False, cumulative: bool = False) -> Text:
        lines = []
        for engine in engines:
            bound = report.select(quantity, engine, certified=certified, cumulative=cumulative)
            lines.append("-" if bound is None else f"{bound.bits:#.3g}")
        return Text("\n".join(lines))

    accuracy = "-" if result.accuracy is None else f"{100 * result.accuracy:.2f} %"
    return [
        Text(f"({scene.letter})", style="bold"),
        Text(accuracy),
        Text(f"{result.f2_db:.1f} dB"),
        Text("\n".join(engines), no_wrap=True),
        column(Quantity.WEIGHTS),
        column(Quantity.DATA),
        column(Quantity.WEIGHTS, certified=True),
        column(Quantity.WEIGHTS, cumulative=True),
        Text(result.verdict.kind.value, style=COLOURS[result.verdict.kind]),
    ]


def demonstrate(
    *,
    out: str | Path = "runs",
    images: int | None = None,
    seed: int | None = None,
    on_block: Callable[[str, int, int], None] | None = None,
) -> DemoResult:
    """Perform the demonstration's runs, one folder each in a new folder in `out`.

    Parameters
    ----------
    images:
        Images of each run; all 10,000 by default.
    seed:
        Seed of all random numbers; system entropy by default.
    on_block:
        Told the scene's letter, blocks done and blocks in all.
    """
    stamp = datetime.now(UTC).strftime("demo-%Y%m%d-%H%M%S-%f")[:-3]
    rows = []
    for scene in SCENES:

        def told(done: int, total: int, letter: str = scene.letter) -> None:
            if on_block is not None:
                on_block(letter, done, total)

        result = run(folder=Path(out) / stamp / scene.letter, on_block=told, images=images, seed=seed, **scene.settings)
        rows.append((scene, result))
    return DemoResult(tuple(rows))
