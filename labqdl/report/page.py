"""The page of a report: one HTML file that needs nothing else, no network and no script.

The words and numbers of its tables are made here; `page.jinja` only puts them in their places, escaped.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from labqdl.errors import InputError
from labqdl.facts import Bound, Component, Quantity, TestResult
from labqdl.plots.style import short
from labqdl.report.content import Accuracy, Content, Evidence, ExcessBudget, Lamp, LayerOutcomes, Leaks, Missing
from labqdl.report.cost import WAVELENGTH, Cost
from labqdl.report.pictures import Picture
from labqdl.units import counted, photon_energy, to_db

SIGNS = {Lamp.ACCEPT: "✓", Lamp.UNDECIDED: "?", Lamp.ABORT: "✕", Lamp.INCOMPLETE: "…"}
"""What stands beside the lamp's colour, so that it can be told in grey."""

_AGREES = 3.0
"""Standard deviations within which a budget and a measurement agree."""


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and rows of a table.

    `columns` has a letter a column: t for words on one line, w for words that may take several, n for numbers.
    `emphasised` are rows that stand out.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    columns: str
    emphasised: tuple[int, ...] = ()


def require_jinja2() -> None:
    """Raise an `InputError` that says what to install where jinja2 is missing."""
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise InputError("reports need jinja2", hint='pip install "labqdl[report]"') from error


def compose(content: Content, pictures: Sequence[Picture]) -> str:
    """The page as HTML; the same content and pictures give the same text."""
    require_jinja2()
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("labqdl.report").joinpath("page.jinja").read_text(encoding="utf-8"))
    shown = {picture.name: _embedded(picture) for picture in pictures}
    return template.render(**_sections(content, shown))


def _embedded(picture: Picture) -> dict[str, Any]:
    data = base64.b64encode(picture.svg).decode("ascii")
    return {
        "source": f"data:image/svg+xml;base64,{data}",
        "caption": picture.caption,
        "words": picture.words,
        "wide": picture.wide,
        "name": picture.name,
    }


def _sections(content: Content, pictures: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Everything that the template names."""

    def chosen(*names: str) -> list[dict[str, Any]]:
        return [picture for name, picture in pictures.items() if any(name.startswith(start) for start in names)]

    evidence, leaks, outcomes = content.evidence, content.leaks, content.outcomes
    found = isinstance(content.classification, Missing)
    return {
        "name": content.name,
        "lamp": content.headline.lamp.value,
        "sign": SIGNS[content.headline.lamp],
        "headline": content.headline,
        "notes": content.notes,
        "run": content.run,
        "accuracy": _accuracy(content.accuracy),
        "no_confusion": content.classification.reason if isinstance(content.classification, Missing) else "",
        "predicted": _predicted(content.predicted) if found and content.predicted else None,
        "prediction_pictures": chosen("confusion", "accuracy"),
        "no_outcomes": outcomes.reason if isinstance(outcomes, Missing) else "",
        "outcomes": None if isinstance(outcomes, Missing) else _outcomes(outcomes),
        "outcome_pictures": chosen("outcomes"),
        "no_evidence": evidence.reason if isinstance(evidence, Missing) else "",
        "evidence": None if isinstance(evidence, Missing) else _evidence(evidence),
        "tests": None if isinstance(evidence, Missing) or not evidence.tests else _tests(evidence.tests),
        "evidence_pictures": chosen("residual", "checks", "e-value"),
        "findings": _tests(content.findings) if content.findings else None,
        "cautious": _cautious((*(() if isinstance(evidence, Missing) else evidence.tests), *content.findings)),
        "no_leaks": leaks.reason if isinstance(leaks, Missing) else "",
        "leaks": None if isinstance(leaks, Missing) else _leaks(leaks),
        "incomplete": not isinstance(leaks, Missing) and not leaks.complete,
        "assumptions": () if isinstance(leaks, Missing) else _assumptions(leaks),
        "certificate": "" if isinstance(leaks, Missing) else _certificate(leaks),
        "leak_pictures": chosen("leakage"),
        "ledger": _ledger(content.ledger.components),
        "world": None if content.world is None else _ledger(content.world.components),
        "ledger_pictures": chosen("ledger"),
        "budget": _excess(content.budget) if isinstance(content.budget, ExcessBudget) else None,
        "no_budget": content.budget.reason if isinstance(content.budget, Missing) else "",
        "budget_words": _excess_words(content.budget) if isinstance(content.budget, ExcessBudget) else "",
        "budget_pictures": chosen("budget"),
        "cost": _cost(content.cost),
        "cost_words": _cost_words(content.cost),
    }


# --- words and numbers ---------------------------------------------------------------------------------------------


def number(value: float, digits: int = 4) -> str:
    """A number for people, see `labqdl.plots.style.short`."""
    return short(value, digits)


def with_error(value: float, error: float) -> str:
    """A number with its standard error, both to the same place."""
    if not error > 0:
        return number(value)
    places = max(0, min(9, -int(f"{error:.0e}".partition("e")[2]) + 1))
    return f"{value:.{places}f} ± {error:.{places}f}".replace("-", "−")


def _accuracy(accuracy: Accuracy | Missing) -> tuple[str, str]:
    """The accuracy, and what stands behind it."""
    if isinstance(accuracy, Missing):
        return "not known", f": {accuracy.reason}"
    if accuracy.share is None or accuracy.interval is None:
        why = "the data have no labels." if accuracy.images else "no image came through all layers."
        return "not known", f": {why}"
    low, high = accuracy.interval
    return (
        f"{100 * accuracy.share:.2f} %",
        f" of {counted(accuracy.images, 'image')}, 95 % interval {100 * low:.2f} to {100 * high:.2f} % (Clopper and "
        "Pearson).",
    )


def _predicted(predicted: Iterable[tuple[str, int]]) -> Table:
    rows = tuple((name, f"{count:,}") for name, count in predicted)
    return Table(("class", "predicted"), rows, "tn")


def _outcomes(layers: Sequence[LayerOutcomes]) -> Table:
    rows = []
    for layer in layers:
        fit = layer.fit
        of = f"{layer.images:,}" + (f" of {layer.of_images:,}" if layer.images < layer.of_images else "")
        rows.append(
            (
                str(layer.layer),
                with_error(fit.slope, fit.slope_error),
                f"{layer.expected_slope:.4f}",
                with_error(fit.offset, fit.offset_error),
                with_error(fit.f2_db, fit.f2_db_error) + " dB",
                f"{layer.expected_f2_db:.3f} dB".replace("-", "−"),
                of,
            )
        )
    headings = ("layer", "slope", "honest", "offset", "F² measured", "F² honest", "images")
    return Table(headings, tuple(rows), "tnnnnnn")


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "final": evidence.final,
        "worst_case": evidence.worst_case,
        "alpha": number(evidence.alpha),
        "threshold": f"{evidence.threshold:.1f}",
        "log10": number(float(evidence.log10_e.max()), 3),
    }


def _cautious(tests: Sequence[TestResult]) -> str:
    """Why some tests show z = 0 and p = 1, where any do."""
    names = dict.fromkeys(test.name.split(",")[0] for test in tests if test.z == 0 and test.p_value == 1)
    if not names:
        return ""
    return (
        f"z = 0 and p = 1 ({', '.join(names)}): what an honest party would give is known between limits only, because "
        "it depends on data or noise that the tester does not know, or because only a limit of its tail is known. "
        "z counts from the nearest limit, and p is the largest that any honest law allows, cut at 1. So a figure "
        "within the limits is no evidence of a cheat; it need not be exactly the honest one. Such limits "
        "cost some power, and never raise the rate of false alarms."
    )


def _tests(tests: Sequence[TestResult]) -> Table:
    rows: list[tuple[str, ...]] = []
    failed: list[int] = []
    for index, test in enumerate(tests):
        if not test.passed:
            failed.append(index)
        rows.append(
            (
                test.name,
                *_pair(test.statistic, test.expected),
                test.unit,
                number(test.z, 3),
                test.p_text.removeprefix("p = ").removeprefix("p "),
                number(test.threshold, 2),
                f"{test.samples:,}",
                "passed" if test.passed else "failed",
            )
        )
    headings = ("test", "measured", "honest", "unit", "z", "p", "share of α", "samples", "")
    return Table(headings, tuple(rows), "tnnwnnnnt", tuple(failed))


def _pair(measured: float, expected: float) -> tuple[str, str]:
    """Two numbers to the same place, six digits of the larger one."""
    size = max(abs(measured), abs(expected))
    if 0 in (measured, expected) or not 1e-5 <= size < 1e7:
        return number(measured, 6), number(expected, 6)
    places = max(0, 5 - math.floor(math.log10(size)))
    first, second = (f"{value:,.{places}f}".replace("-", "−") for value in (measured, expected))
    return first, second


def _leaks(leaks: Leaks) -> Table:
    rows: list[tuple[str, ...]] = []
    over: list[int] = []
    engines = tuple(dict.fromkeys(bound.engine for bound in leaks.report.bounds))
    ordered = sorted(
        leaks.report.bounds,
        key=lambda bound: (
            bound.quantity is Quantity.DATA,
            bound.engine in leaks.for_comparison,
            engines.index(bound.engine),
            bound.uses > 1,
            bound.confidence is not None,
        ),
    )
    for bound in ordered:
        budget = _budget(leaks, bound)
        if bound.engine in leaks.for_comparison:
            standing = "for comparison"
        elif budget is None:
            standing = "no budget agreed"
        else:
            standing = f"{'within' if bound.bits <= budget else 'above'} {budget:g}"
            if bound.bits > budget:
                over.append(len(rows))
        proven = (
            "parameters taken as known"
            if bound.confidence is None
            else f"certified at confidence 1 − {number(1 - bound.confidence, 2)}, {bound.samples:,} symbols"
        )
        rows.append(
            (
                str(bound.quantity),
                bound.engine,
                "one use" if bound.uses == 1 else f"{bound.uses:,} uses",
                proven,
                number(bound.bits),
                bound.unit,
                standing,
            )
        )
    headings = ("of the", "engine", "covers", "standing", "at most", "unit", "budget")
    return Table(headings, tuple(rows), "tttwntt", tuple(over))


def _budget(leaks: Leaks, bound: Bound) -> float | None:
    budgets = leaks.budgets
    if bound.quantity is Quantity.WEIGHTS:
        return budgets.bits_per_weight if bound.uses == 1 else budgets.cumulative_bits_per_weight
    return budgets.bits_per_feature if bound.uses == 1 else budgets.cumulative_bits_per_feature


def _assumptions(leaks: Leaks) -> tuple[tuple[str, tuple[tuple[str, tuple[str, ...]], ...], str], ...]:
    """Engine with quantity, its assumptions by the figures that they belong to, and where its calibration is from."""
    found = []
    for quantity in Quantity:
        for engine in leaks.report.engines(quantity):
            chosen = [b for b in leaks.report.bounds if b.quantity is quantity and b.engine == engine]
            groups = leaks.report.assumptions(quantity, engine)
            sources = dict.fromkeys(source for bound in chosen for source in bound.calibration)
            found.append((f"{engine}, {quantity}", groups, ", ".join(sources)))
    return tuple(found)


def _certificate(leaks: Leaks) -> str:
    found = leaks.certificate
    if found is None:
        return ""
    return (
        f"The certificate rests on {found.samples:,} measured symbols: at confidence "
        f"1 − {number(1 - found.confidence, 2)} the transmissivity is at least {number(found.transmissivity_min, 6)} "
        "and the excess noise at most "
        f"{number(found.excess_max)} SNU at the server's input."
    )


def _ledger(components: Sequence[Component]) -> Table | None:
    if not components:
        return None
    rows = []
    for part in components:
        noises = [
            f"{number(value, 3)} {unit}"
            for value, unit in (
                (part.electronic_noise, "SNU electronic"),
                (part.excess, "SNU excess"),
                (part.phase_noise, "rad phase"),
                (part.dark_counts, "dark counts a slot"),
                (part.extinction, "extinction"),
            )
            if value
        ]
        if part.n_sp != 1:
            noises.append(f"n_sp = {part.n_sp:g}")
        rows.append(
            (
                part.name,
                part.place.value,
                part.owner.value,
                "yes" if part.server_trusts else "no",
                number(abs(to_db(part.transmissivity)), 3),
                ", ".join(noises) or "none",
                part.calibration,
            )
        )
    headings = ("part", "place", "owner", "trusted", "loss (dB)", "noise", "calibration")
    return Table(headings, tuple(rows), "ttttnww")


def _excess(budget: ExcessBudget) -> Table:
    def line(words: str, value: tuple[float, float], source: str, formula: str, *, share: bool) -> tuple[str, ...]:
        part = f"{100 * value[0] / total:.0f} %" if share and total > 0 else ""
        return words, with_error(1e3 * value[0], 1e3 * value[1]), part, formula, source

    total = budget.expected[0]
    rows = [line(one.cause, (one.excess, one.deviation), one.source, one.formula, share=True) for one in budget.causes]
    rows += [
        line("expected", budget.expected, "", "sum", share=True),
        line("measured", budget.measured, "the run", "", share=False),
        line("unexplained", budget.unexplained, "", "measured less expected", share=False),
    ]
    headings = ("cause", "excess (mSNU)", "share", "formula", "calibration")
    return Table(headings, tuple(rows), "wnnww", (len(rows) - 3, len(rows) - 2))


def _excess_words(budget: ExcessBudget) -> str:
    value, deviation = budget.unexplained
    unit = "vacuum that the run itself measured" if budget.own_unit else "calibrated shot noise"
    words = (
        "Mean over all quadratures, in units of shot noise at the server's input, for "
        f"{number(budget.photons)} photons a mode at its output. What the run measured is the variance of "
        f"its residuals above the {unit}. "
    )
    if not deviation > 0:
        return words
    away = abs(value) / deviation
    agree = "agree" if away < _AGREES else "do not agree"
    return words + f"Both {agree}: they are {away:.1f} standard deviations apart."


def _cost(cost: Cost) -> Table:
    rows = [
        (
            f"layer {layer.layer}",
            f"{layer.macs:,}",
            f"{layer.symbols:,}",
            number(layer.photons),
            number(layer.photons_per_mac, 3),
            number(layer.photons_per_mac * photon_energy(WAVELENGTH) * 1e18, 3),
            duration(layer.symbols / cost.symbol_rate),
        )
        for layer in cost.layers
    ]
    rows.append(
        (
            "one image",
            f"{cost.macs:,}",
            f"{cost.symbols:,}",
            number(cost.photons),
            number(cost.photons_per_mac, 3),
            number(cost.energy_per_mac * 1e18, 3),
            duration(cost.seconds),
        )
    )
    headings = ("", "MACs", "symbols one way", "photons", "photons per MAC", "aJ per MAC", "time one way")
    return Table(headings, tuple(rows), "tnnnnnn", (len(rows) - 1,))


def _cost_words(cost: Cost) -> str:
    rate = cost.symbol_rate
    spoken = f"{number(rate / 1e6)} MBd" if rate >= 1e6 else f"{number(rate)} Bd"
    total = cost.images * cost.symbols
    return (
        f"Photons and energy are those of the light at the server's output, at {WAVELENGTH * 1e9:.0f} nm; electronics "
        f"are not counted. The light of this run, {counted(cost.images, 'vector')}, is {total:,} symbols out and as "
        f"many back: at {spoken} {duration(cost.images * cost.seconds)} each way, both ways at once where out and back "
        f"have a fibre each, {duration(2 * cost.images * cost.seconds)} where they take turns."
    )


def duration(seconds: float) -> str:
    """A time in a unit that fits."""
    for factor, unit in ((3600.0, "h"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= factor * (2 if unit == "h" else 1):
            return f"{number(seconds / factor, 3)} {unit}"
    return f"{number(seconds / 1e-9, 3)} ns"
