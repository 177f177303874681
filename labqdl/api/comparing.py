"""Runs side by side: which settings differ, and which differences of their results are more than chance.

The first run is the reference; every other one is compared with it. Tested are the accuracy and, layer by layer, what
the server measured of the light: gain, phase, noise and counts. All p-values of a comparison are corrected together
after Holm. Bounds have no error bars: they are listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table
from rich.text import Text

from labqdl.api.agreement import Figure, Leaf, compare_documents
from labqdl.api.blocks import finished_blocks, load_logits, load_statistics
from labqdl.api.reading import RecordedRun, open_run
from labqdl.api.results import Printable
from labqdl.api.running import experiment_of
from labqdl.api.significance import (
    CONFIDENCE,
    Difference,
    Ratio,
    difference,
    holm,
    independent_shares,
    paired_shares,
    ratio,
)
from labqdl.errors import InputError, RecordError
from labqdl.network import predictions

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

COMPARE_SCHEMA = "labqdl.compare/1"

DEFAULT_ALPHA = 0.05

_PERCENT = f"{100 * CONFIDENCE:g} %"

_BOUND = re.compile(r"\.(.*bits_per_(weight|feature)|confidence|samples|cumulative_uses)$")
"""Figures of a leakage report that are compared; the others say what they rest on."""

_QUANTITIES = (
    ("gain", "of the expected amplitude"),
    ("phase", "rad"),
    ("noise", "SNU per quadrature"),
    ("count", "photons per slot"),
)


@dataclass(frozen=True, slots=True)
class Compared:
    """One tested difference.

    Attributes
    ----------
    name, unit:
        What, as `gain, layer 1`.
    first, second:
        The value in either run.
    difference:
        Second less first, with its interval and p-value.
    adjusted:
        p-value after Holm's correction over all tests of the comparison.
    significant:
        Whether that is at most alpha.
    note:
        What the test rests on.
    """

    name: str
    unit: str
    first: float
    second: float
    difference: Difference
    adjusted: float
    significant: bool
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain object with every field."""
        return {
            "name": self.name,
            "unit": self.unit,
            "first": self.first,
            "second": self.second,
            "difference": self.difference.value,
            "interval": [self.difference.low, self.difference.high],
            "test": self.difference.test,
            "p_value": self.difference.p_value,
            "adjusted_p_value": self.adjusted,
            "significant": self.significant,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Pair:
    """The reference and one other run.

    Attributes
    ----------
    second:
        The other run.
    settings:
        Settings that differ.
    tests:
        Differences with their significance.
    bounds:
        Bounds of both results; they agree or not, chance has no part in the asymptotic ones.
    outcomes:
        Verdicts of both.
    remarks:
        What could not be tested, and what to keep in mind.
    """

    second: Path
    settings: tuple[Figure, ...]
    tests: tuple[Compared, ...]
    bounds: tuple[Figure, ...]
    outcomes: tuple[str | None, str | None]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison(Printable):
    """Runs compared with the first of them.

    Attributes
    ----------
    first:
        The reference.
    pairs:
        It and each other run.
    alpha:
        Family-wise error rate of all tests together.
    leakage:
        Each run's `leakage` object, with what its bounds rest on; None for a run without a result.
    """

    first: Path
    pairs: tuple[Pair, ...]
    alpha: float
    leakage: tuple[tuple[Path, Any], ...]

    @property
    def n_tests(self) -> int:
        """Tests that share alpha."""
        return sum(len(pair.tests) for pair in self.pairs)

    def to_json(self) -> dict[str, Any]:
        """The object of `labqdl compare --json`; schema `labqdl.compare/1`."""
        return {
            "schema": COMPARE_SCHEMA,
            "first": str(self.first),
            "alpha": self.alpha,
            "correction": "Holm",
            "tests": self.n_tests,
            "confidence": CONFIDENCE,
            "leakage": {str(path): leakage for path, leakage in self.leakage},
            "pairs": [
                {
                    "second": str(pair.second),
                    "verdicts": list(pair.outcomes),
                    "settings": [_sides(figure) for figure in pair.settings],
                    "tests": [test.to_json() for test in pair.tests],
                    "bounds": [{**_sides(figure), "same": figure.agrees} for figure in pair.bounds],
                    "remarks": list(pair.remarks),
                }
                for pair in self.pairs
            ],
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield Text.assemble("first:  ", (str(self.first), "bold"))
        for pair in self.pairs:
            yield Text.assemble("second: ", (str(pair.second), "bold"))
            yield from self._pair(pair)
        yield Text(
            f"Significant: p at most {self.alpha:g} after Holm's correction for all {self.n_tests} tests of this "
            f"comparison (family-wise error rate {self.alpha:g}). Intervals hold at {_PERCENT} each, uncorrected. "
            "Differences of the light are tested with the scatter between rows, honest or not. Certified bounds hold "
            "at each run's own confidence, the others take the parameters of the link as known; prx-2025 and "
            "arxiv-2024 are the authors' formulas: about data no bounds, about weights for a lossless link only. "
            "'labqdl report' and --json have confidence, symbols, assumptions and calibration of each.",
            style="dim",
        )

    def _pair(self, pair: Pair) -> Iterator[RenderableType]:
        if pair.settings:
            yield _side_table("settings that differ", pair.settings)
        else:
            yield Text("The settings are the same.")
        verdicts = [word or "no result yet" for word in pair.outcomes]
        yield Text(f"verdict: {verdicts[0]}" + (" both" if verdicts[0] == verdicts[1] else f", second {verdicts[1]}"))
        if pair.tests:
            table = Table(box=box.SIMPLE_HEAD, title="differences", title_justify="left", pad_edge=False)
            table.add_column("")
            for heading in ("first", "second", "second - first", f"{_PERCENT} interval", "p", "p, Holm"):
                table.add_column(heading, justify="right", no_wrap=True)
            table.add_column("")
            for test in pair.tests:
                table.add_row(*_cells(test))
            yield table
        told = [test for test in pair.tests if test.significant]
        for test in told:
            yield Text(_sentence(test), style="bold")
        if pair.tests and not told:
            yield Text("No difference is significant.")
        different = [figure for figure in pair.bounds if not figure.agrees]
        if different:
            yield _side_table("bounds that differ (at most so many bits; quantity.engine.figure)", different)
        elif pair.bounds:
            yield Text(f"All {len(pair.bounds)} figures of the bounds are the same.")
        for remark in pair.remarks:
            yield Text(remark, style="dim")


def compare(paths: Sequence[str | Path], *, alpha: float = DEFAULT_ALPHA) -> Comparison:
    """Compare runs with the first of them.

    Parameters
    ----------
    paths:
        Run folders, two at least.
    alpha:
        Family-wise error rate: probability that any difference is called significant where there is none.

    Raises
    ------
    InputError
        For fewer than two runs, an impossible alpha, and where there is no run.
    RecordError
        For a damaged run; names the file.
    """
    if len(paths) < 2:
        raise InputError(f"{len(paths)} runs to compare", expected="two or more")
    if not 0 < alpha < 1:
        raise InputError(f"alpha {alpha!r}", source="--alpha", expected="a number between 0 and 1")
    runs = [_Side(open_run(path)) for path in paths]
    drafts = [_draft(runs[0], other) for other in runs[1:]]
    adjusted = iter(holm([test.p_value for draft in drafts for *_, test, _ in draft.tests]))
    pairs = []
    for other, draft in zip(runs[1:], drafts, strict=True):
        tests = []
        for name, unit, first, second, test, note in draft.tests:
            corrected = next(adjusted)
            tests.append(Compared(name, unit, first, second, test, corrected, corrected <= alpha, note))
        outcomes = (runs[0].verdict, other.verdict)
        pairs.append(Pair(other.run.path, draft.settings, tuple(tests), draft.bounds, outcomes, draft.remarks))
    leakage = tuple((run.run.path, None if run.result is None else run.result["leakage"]) for run in runs)
    return Comparison(runs[0].run.path, tuple(pairs), alpha, leakage)


_Test = tuple[str, str, float, float, Difference, str]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A pair before the correction for many tests."""

    settings: tuple[Figure, ...]
    tests: tuple[_Test, ...]
    bounds: tuple[Figure, ...]
    remarks: tuple[str, ...]


class _Side:
    """One run, with what a comparison needs of it."""

    def __init__(self, run: RecordedRun) -> None:
        self.run = run
        self.result = run.result if run.finished else None
        self.complete = [block for block, whole in finished_blocks(run.folder).items() if whole]
        self.images = np.array([i for block in self.complete for i in run.frame.block_images(block)], dtype=np.int64)
        self.data: NDArray[Any] | None = None
        self.right: NDArray[np.bool_] | None = None
        self.problem = ""
        try:
            dataset = experiment_of(run.folder).dataset
        except (InputError, RecordError) as error:
            self.problem = str(error)
            return
        self.data = dataset.data
        if dataset.labels is not None and self.images.size:
            logits = [load_logits(run.folder, run.frame, block) for block in self.complete]
            found = predictions(np.concatenate(logits).astype(np.float32))
            self.right = found == dataset.labels[self.images]

    @property
    def verdict(self) -> str | None:
        """As in the result."""
        return None if self.result is None else str(self.result["verdict"])

    @property
    def seed(self) -> int | None:
        """The seed, if there was one."""
        seed: int | None = self.run.manifest["experiment"].get("seed")
        return seed

    def settings(self) -> dict[str, Any]:
        """What was chosen, without what merely follows from it."""
        experiment, frame = dict(self.run.manifest["experiment"]), dict(self.run.manifest["frame"])
        for name in ("model_fingerprint", "data_digest"):
            experiment[name] = str(experiment.get(name))[:16]
        del frame["session"]
        return {**experiment, "frame": frame, "world": self.run.manifest.get("world")}

    def ratios(self) -> dict[tuple[str, int], Ratio]:
        """What the server measured, by quantity and layer; from rows of blocks, which are independent of each other."""
        amplitude = float(np.sqrt(self.run.frame.ledger.total * self.run.frame.ledger.server_efficiency))
        columns: dict[tuple[str, int], list[tuple[NDArray[Any], NDArray[Any]]]] = {}
        for block in self.run.blocks:
            for layer, rows in load_statistics(self.run.folder, self.run.frame, block).items():
                for name, above, below in (
                    ("gain", rows.sum_qr, rows.sum_qq * amplitude),
                    ("phase", rows.sum_jr, rows.sum_jj * amplitude),
                    ("noise", rows.sum_rr, rows.residuals),
                    ("count", rows.photons, rows.slots),
                ):
                    columns.setdefault((name, layer), []).append((above, below))
        found = {}
        for (name, layer), parts in columns.items():
            value = ratio(np.concatenate([y for y, _ in parts]), np.concatenate([x for _, x in parts]))
            if value is not None:
                shift = 1.0 if name == "gain" else 0.0
                found[name, layer] = Ratio(value.value + shift, value.variance, value.parts)
        return found


def _draft(first: _Side, second: _Side) -> _Draft:
    remarks: list[str] = []
    tests: list[_Test] = []
    settings = tuple(figure for figure in compare_documents(first.settings(), second.settings()) if not figure.agrees)
    accuracy = _accuracy(first, second, remarks)
    if accuracy is not None:
        tests.append(accuracy)
    ratios = first.ratios(), second.ratios()
    units = dict(_QUANTITIES)
    for name, layer in ratios[0]:
        if (name, layer) in ratios[1]:
            one, two = ratios[0][name, layer], ratios[1][name, layer]
            note = f"scatter of {one.parts:,} and {two.parts:,} rows"
            tests.append((f"{name}, layer {layer + 1}", units[name], one.value, two.value, difference(one, two), note))
    if first.seed is not None and first.seed == second.seed:
        remarks.append(
            f"Both runs use seed {first.seed}: they share random numbers, so that chance differs less than the tests "
            "assume."
        )
    bounds: tuple[Figure, ...] = ()
    if first.result is not None and second.result is not None:
        figures = compare_documents(first.result["leakage"], second.result["leakage"])
        bounds = tuple(figure for figure in figures if _BOUND.search(figure.name))
    else:
        remarks.append("A run without a result has no bounds and no verdict to compare.")
    return _Draft(settings, tuple(tests), bounds, tuple(remarks))


def _accuracy(first: _Side, second: _Side, remarks: list[str]) -> _Test | None:
    """Paired where both runs classified the same images, else of independent samples."""
    if first.right is not None and second.right is not None and _same_images(first, second):
        common, one, two = np.intersect1d(first.images, second.images, return_indices=True)
        if common.size:
            right1, right2 = first.right[one], second.right[two]
            counts = (right1 & right2, right1 & ~right2, ~right1 & right2, ~right1 & ~right2)
            both, only1, only2, neither = (int(np.count_nonzero(part)) for part in counts)
            test = paired_shares(both, only1, only2, neither)
            note = f"same {common.size:,} images; only the first right on {only1:,}, only the second on {only2:,}"
            return "accuracy", "share", float(right1.mean()), float(right2.mean()), test, note
    counts1, counts2 = _counts(first), _counts(second)
    if counts1 is None or counts2 is None:
        remarks.append("The accuracy is not compared: one of the runs has none.")
        return None
    for side in (first, second):
        if side.problem:
            remarks.append(
                f"{side.run.path}: which images were right cannot be told again ({side.problem}); the accuracies are "
                "compared as if the images were different ones."
            )
    test = independent_shares(*counts1, *counts2)
    note = f"{counts1[1]:,} and {counts2[1]:,} images, taken as different ones"
    return "accuracy", "share", counts1[0] / counts1[1], counts2[0] / counts2[1], test, note


def _same_images(first: _Side, second: _Side) -> bool:
    """Whether both runs' data are the same as far as both go."""
    if first.data is None or second.data is None or first.data.shape[1:] != second.data.shape[1:]:
        return False
    common = min(len(first.data), len(second.data))
    return bool(np.array_equal(first.data[:common], second.data[:common]))


def _counts(side: _Side) -> tuple[int, int] | None:
    """Right answers and images."""
    if side.right is not None:
        return int(np.count_nonzero(side.right)), int(side.right.size)
    if side.result is None or side.result["accuracy"] is None:
        return None
    images = int(side.result["images"])
    return round(side.result["accuracy"] * images), images


# -- printing ------------------------------------------------------------------------------------------------------


def _sides(figure: Figure) -> dict[str, Any]:
    return {"name": figure.name, "first": figure.recorded, "second": figure.recomputed}


def _side_table(title: str, figures: Sequence[Figure]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    table.add_column("", overflow="fold")
    table.add_column("first", justify="right", overflow="fold")
    table.add_column("second", justify="right", overflow="fold")
    for figure in figures:
        table.add_row(Text(figure.name), Text(_word(figure.recorded)), Text(_word(figure.recomputed)))
    return table


def _word(value: Leaf) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _cells(test: Compared) -> list[Text]:
    scale, digits = (100.0, 2) if test.name == "accuracy" else (1.0, 5)
    unit = " %" if test.name == "accuracy" else ""
    low, high = test.difference.low * scale, test.difference.high * scale
    return [
        Text(test.name),
        Text(f"{test.first * scale:.{digits}f}{unit}"),
        Text(f"{test.second * scale:.{digits}f}{unit}"),
        Text(f"{test.difference.value * scale:+.{digits}f}"),
        Text(f"{low:+.{digits}f} to {high:+.{digits}f}"),
        Text(_chance(test.difference.p_value)),
        Text(_chance(test.adjusted)),
        Text("significant", style="bold magenta") if test.significant else Text(""),
    ]


def _chance(p_value: float, *, sign: bool = False) -> str:
    """A p-value; one too small for a float is only bounded."""
    if p_value == 0:
        return "< 1e-300"
    return f"= {p_value:.2g}" if sign else f"{p_value:.2g}"


def _sentence(test: Compared) -> str:
    """A significant difference in words."""
    way = "higher" if test.difference.value > 0 else "lower"
    if test.name == "accuracy":
        size = f"{100 * abs(test.difference.value):.2f} percentage points"
    else:
        size = f"{abs(test.difference.value):.3g} {test.unit}"
    chance = _chance(test.adjusted, sign=True)
    return (
        f"{test.name} is {size} {way} in the second run ({test.difference.test}, p {chance} after Holm; {test.note})."
    )
