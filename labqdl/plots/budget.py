"""Waterfall of an error budget: excess noise by cause, its sum, and what a run measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labqdl.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@style.styled
def excess_waterfall(
    causes: Sequence[tuple[str, float, float]],
    expected: tuple[float, float],
    measured: tuple[float, float] | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Causes as bars that stand on each other, the sum, and what was measured with its deviation; drawn in mSNU.

    Parameters
    ----------
    causes:
        (words, excess, standard deviation), SNU, from the first bar to the last.
    expected, measured:
        (excess, standard deviation), SNU.
    """
    names = [words for words, _, _ in causes] + ["expected"] + (["measured"] if measured is not None else [])
    ax = style.axes(ax, width=style.PAGE, height=20.0 + 6.0 * len(names))
    level = 0.0
    for place, (_, excess, deviation) in enumerate(causes):
        size = 1e3 * excess
        ax.barh(place, size, left=level, height=0.62, color=style.SKY)
        _error(ax, place, level, size, 1e3 * deviation)
        level += size
        ax.plot([level, level], [place + 0.31, place + 0.69], color=style.GREY, linewidth=0.6)
    bars = [(expected, style.BLUE)] + ([(measured, style.ORANGE)] if measured is not None else [])
    for place, ((excess, deviation), colour) in enumerate(bars, start=len(causes)):
        ax.barh(place, 1e3 * excess, height=0.62, color=colour)
        _error(ax, place, 0.0, 1e3 * excess, 1e3 * deviation)
    ax.axvline(0.0, color=style.GREY, linewidth=0.6)
    _, right = ax.get_xlim()
    left = min(0.0, *(1.1e3 * (excess - deviation) for (excess, deviation), _ in bars))
    ax.set_xlim(left, right + 0.2 * (right - left))  # room for the words
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("excess noise at the server's input (mSNU)")
    return ax


def _error(ax: Axes, place: int, begin: float, size: float, deviation: float) -> None:
    end = begin + size
    if deviation > 0:
        ax.errorbar(end, place, xerr=deviation, color=style.BLACK, capsize=2, linewidth=0.8)
    shown = "below 0.001" if abs(size) + deviation < 1e-3 else f"{size:.2g} ± {deviation:.2g}"
    words = shown.replace("-", "−")
    right = max(begin, end + deviation)
    ax.annotate(words, (right, place), (4, 0), textcoords="offset points", va="center", fontsize=7, color=style.GREY)
