"""The pictures of a report: which there are, what stands under each, and what a person who cannot see it is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labqdl import plots
from labqdl.facts import Quantity
from labqdl.plots import style
from labqdl.plots.budget import excess_waterfall
from labqdl.report.content import CheckPath, Content, ExcessBudget, LayerOutcomes, Missing
from labqdl.units import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as a file.

    Attributes
    ----------
    name:
        Of its file, without ending: lower-case words joined by '-'.
    caption:
        What it shows, for everybody.
    words:
        What is to be seen in it, for whoever cannot see it.
    wide:
        Whether it takes the width of the page.
    svg, png:
        The files.
    """

    name: str
    caption: str
    words: str
    wide: bool
    svg: bytes
    png: bytes


def draw(content: Content) -> tuple[Picture, ...]:
    """All pictures that this run has, in the order of the page."""
    return tuple(_file(*drawn) for drawn in _drawn(content))


def _file(name: str, caption: str, words: str, ax: Axes) -> Picture:
    style.fix_layout(ax)
    wide = style.figure_of(ax).get_size_inches()[0] * 25.4 > 1.2 * style.COLUMN
    return Picture(name, caption, words, wide, style.render(ax, "svg", salt=name), style.render(ax, "png"))


_Drawn = tuple[str, str, str, "Axes"]


def _drawn(content: Content) -> Iterator[_Drawn]:
    yield from _predictions(content)
    if not isinstance(content.outcomes, Missing):
        for layer in content.outcomes:
            yield _outcomes(layer)
    yield from _evidence(content)
    yield from _leakage(content)
    if isinstance(content.budget, ExcessBudget):
        yield _budget(content.budget)
    if content.ledger.components:
        names = ", ".join(component.name for component in content.ledger.components)
        yield (
            "ledger",
            "Losses as the light meets them, from the server's output through the client's tap and back, coloured by "
            "owner; receivers branch off. Beside each bar the noise that the part adds. The legend gives what each "
            "owner holds of the path without receivers.",
            f"Waterfall of losses: {names}.",
            plots.ledger_waterfall(content.ledger),
        )


def _budget(budget: ExcessBudget) -> _Drawn:
    causes = [(one.cause, one.excess, one.deviation) for one in budget.causes]
    return (
        "budget",
        "Excess noise of the returned light by cause, as the calibrations let expect it, their sum, and what the run "
        "measured; bars are one standard deviation.",
        f"Waterfall of excess noise: expected {1e3 * budget.expected[0]:.3g} mSNU, measured "
        f"{1e3 * budget.measured[0]:.3g} mSNU.",
        excess_waterfall(causes, budget.expected, budget.measured),
    )


def _predictions(content: Content) -> Iterator[_Drawn]:
    found = content.classification
    if isinstance(found, Missing):
        return
    right = int(found.counts.trace())
    total = int(found.counts.sum())
    yield (
        "confusion",
        "Which class was taken for which. Blue: right, by its share of the row; orange: wrong, the commonest mistake "
        "darkest.",
        f"Confusion matrix: {right:,} of {counted(total, 'image')} on the diagonal.",
        plots.confusion_matrix(found.counts, found.classes),
    )
    if found.images.size > 1:
        yield (
            "accuracy",
            "Accuracy of all images so far, block by block, with its 95 % interval (Clopper and Pearson).",
            f"Accuracy over the run, {100 * found.accuracy[-1]:.2f} per cent at its end.",
            plots.accuracy_path(found.images, found.accuracy, (found.low, found.high)),
        )


def _outcomes(layer: LayerOutcomes) -> _Drawn:
    fit = layer.fit
    return (
        f"outcomes-layer-{layer.layer}",
        f"Layer {layer.layer}: the client's outcomes against the inner products that perfect light would have given, "
        "in units of unit-RMS weights and unit data. The spread about the line is the light's own noise.",
        f"Density of {fit.points:,} outcomes; fitted slope {fit.slope:.4f}, offset {fit.offset:.4f}.",
        plots.outcomes(layer.ideal, layer.measured, fit=fit),
    )


_MEANING = {
    "gain": "amplitude of the returned light over the ledger's: loss, taps and substitution lower it",
    "noise": "mean square of the residuals: measuring and resending, cloning and amplifying raise it",
    "phase": "quarter-turned part of the returned light: a phase that the ledger does not know",
    "count": "photons left after nulling: the sharpest witness of noise on one mode",
    "cross-use": "what repeats in every use of the same weights",
    "direction": "noise in the directions of the weights",
    "spectral": "largest directions of the residuals' covariance",
}


def _evidence(content: Content) -> Iterator[_Drawn]:
    found = content.evidence
    if isinstance(found, Missing):
        return
    for path in found.paths:
        yield _path(path)
    if found.symbols.size > 1:
        yield (
            "e-value",
            "Evidence against an honest client, which may be looked at after every block: at the threshold the server "
            "aborts, and an honest client gets there with at most half of the agreed false-alarm rate.",
            f"Path of the e-value: log10 is {found.log10_e[-1]:.4g} at its end, the threshold {found.threshold:.3g}.",
            plots.e_value_path(found.symbols, found.log10_e, threshold=found.threshold),
        )
    if found.tests:
        failed = [test.name for test in found.tests if not test.passed]
        yield (
            "checks",
            "Every test at the end, pooled over layers and layer by layer, as the normal deviate with its p-value.",
            f"Deviations of {len(found.tests)} tests; "
            + (f"failed: {', '.join(failed)}." if failed else "none failed."),
            plots.check_summary(found.tests),
        )


def _path(path: CheckPath) -> _Drawn:
    meaning = _MEANING.get(path.name, "")
    return (
        f"residual-{path.name}",
        path.name.capitalize() + (f": {meaning}." if meaning else "."),
        f"Path of {path.name}: {path.statistic[-1]:.6g} at its end where {path.expected[-1]:.6g} is honest.",
        plots.residual_path(
            path.symbols,
            path.statistic,
            expected=path.expected,
            band=(path.low, path.high),
            label=path.name,
            unit=path.unit,
        ),
    )


def _leakage(content: Content) -> Iterator[_Drawn]:
    leaks = content.leaks
    if isinstance(leaks, Missing):
        return
    budgets = leaks.budgets
    for quantity, single, total in (
        (Quantity.WEIGHTS, budgets.bits_per_weight, budgets.cumulative_bits_per_weight),
        (Quantity.DATA, budgets.bits_per_feature, budgets.cumulative_bits_per_feature),
    ):
        chosen = [bound for bound in leaks.report.bounds if bound.quantity is quantity]
        if not chosen:
            continue
        what = "weights, to the client" if quantity is Quantity.WEIGHTS else "data, to the server"
        yield (
            f"leakage-{quantity}",
            f"Leakage of the {what}, by every engine; lines mark the agreed budgets, grey the authors' formulas. What "
            "each figure rests on stands in the table.",
            "; ".join(f"{bound.engine}: {bound.bits:.3g} {bound.unit}" for bound in chosen) + ".",
            plots.leakage(
                leaks.report.bounds,
                quantity,
                budget=single,
                cumulative_budget=total,
                for_comparison=leaks.for_comparison,
            ),
        )
