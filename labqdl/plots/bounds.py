"""Figures about leakage: what each engine says that each party may have learned, against the agreed budgets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from labqdl.facts import Bound, Quantity
from labqdl.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# (certified, cumulative) to (words, marker, filled): certified figures are filled, sums over all uses are squares.
_KINDS = {
    (False, False): ("one use, parameters taken as known", "o", False),
    (True, False): ("one use, certified", "o", True),
    (False, True): ("all uses, parameters taken as known", "s", False),
    (True, True): ("all uses, certified", "s", True),
}


@style.styled
def leakage(
    bounds: Sequence[Bound],
    quantity: Quantity,
    *,
    budget: float | None = None,
    cumulative_budget: float | None = None,
    for_comparison: Collection[str] = (),
    key: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Dots on a logarithmic axis of bits: one group of rows for each engine, with budgets as lines.

    What the figures rest on (assumptions, confidence, samples, calibration) has no room here: print it beside.

    Parameters
    ----------
    bounds:
        Bounds of any quantity and engine; those about `quantity` are drawn.
    quantity:
        Weights or data.
    budget, cumulative_budget:
        Agreed budgets for one use and for all uses, in the unit of the bounds.
    for_comparison:
        Engines that give no bounds: drawn in grey.
    key:
        Whether to draw a legend.
    """
    chosen = [bound for bound in bounds if bound.quantity is quantity]
    engines = sorted(dict.fromkeys(bound.engine for bound in chosen), key=lambda engine: engine in for_comparison)
    ax = style.axes(ax, height=46.0 + 3.6 * max(4, len(chosen)))
    kinds = {kind for bound in chosen if (kind := (bound.confidence is not None, bound.uses > 1))}
    values = [bound.bits for bound in chosen] + [value for value in (budget, cumulative_budget) if value is not None]
    positive = [value for value in values if value > 0]
    low, high = (min(positive) / 2.2, max(positive) * 3.2) if positive else (1e-3, 1.0)
    ticks, position = [], 0.0
    for engine in engines:
        rows = sorted(
            (bound for bound in chosen if bound.engine == engine), key=lambda b: (b.uses > 1, b.confidence is not None)
        )
        ticks.append(position + 0.5 * (len(rows) - 1))
        for bound in rows:
            _, marker, filled = _KINDS[bound.confidence is not None, bound.uses > 1]
            colour = style.GREY if engine in for_comparison else style.BLUE
            place = max(bound.bits, low)
            ax.plot([low, place], [position, position], color=style.PALE, linewidth=0.7, zorder=1)
            ax.plot(
                place,
                position,
                marker=marker,
                linestyle="none",
                color=colour,
                markersize=5,
                markeredgewidth=1.0,
                markerfacecolor=colour if filled else "white",
                zorder=3,
            )
            ax.annotate(
                style.short(bound.bits),
                (place, position),
                (5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
                zorder=2.5,
            )
            position += 1
        position += 0.6
    style.log_axis(ax.xaxis, low, high)
    ax.set_ylim(position - 0.8, -1.0)
    ax.set_yticks(ticks, engines)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    for value, words, dashes in (
        (budget, "budget", (0, (4, 2))),
        (cumulative_budget, "budget, all uses", (0, (1, 1.5))),
    ):
        if value is not None:
            ax.axvline(value, color=style.VERMILION, linewidth=1.0, linestyle=dashes, zorder=2)
            ax.annotate(
                words,
                (value, 1),
                (0, 1),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=8,
                color=style.VERMILION,
                annotation_clip=False,
            )
    ax.set_xlabel(
        "leakage, at most (bit per weight)" if quantity is Quantity.WEIGHTS else "leakage, at most (bit per feature)"
    )
    if key and chosen:
        style.legend(ax, _handles(kinds), loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return ax


@style.styled
def leakage_key(figure: Figure, bounds: Sequence[Bound]) -> None:
    """One legend under a figure whose panels `leakage` drew with `key=False`."""
    kinds = {(bound.confidence is not None, bound.uses > 1) for bound in bounds}
    figure.legend(handles=_handles(kinds), loc="outside lower center", ncols=2)


def _handles(kinds: Collection[tuple[bool, bool]]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=marker,
            color=style.BLUE,
            markersize=5,
            markeredgewidth=1.0,
            markerfacecolor=style.BLUE if filled else "white",
            label=words,
        )
        for kind, (words, marker, filled) in _KINDS.items()
        if kind in kinds
    ]
