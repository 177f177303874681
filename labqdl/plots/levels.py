"""Picture of the three levels: how far figures are off theory, in shares of what counts as equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labqdl.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REACH = 3.0
"""Margins to either side that are shown; what is further off stands at the edge as a triangle."""


@style.styled
def level_deviations(document: Mapping[str, Any], *, ax: Axes | None = None) -> Axes:
    """Deviation of each figure from theory over the margin of 5 %, with 95 % intervals.

    Parameters
    ----------
    document:
        What `labqdl levels --json` prints.
    """
    figures: Mapping[str, Any] = document["figures"]
    ax = style.axes(ax, width=style.PAGE, height=28.0 + 6.0 * len(figures))
    ax.axvspan(-1.0, 1.0, color=style.PALE, alpha=0.5, linewidth=0)
    ax.axvline(0.0, color=style.GREY, linewidth=0.6)
    for number, (level, words) in enumerate((("symbol", "symbol level"), ("wire", "wire level"))):
        series = style.series(number)
        shift = 0.17 * (2 * number - 1)
        for place, one in enumerate(figures.values()):
            margin = one["theory"]["margin"]
            away = (one[level]["value"] - one["theory"]["value"]) / margin
            error = 1.96 * one[level]["error"] / margin
            label = words if place == 0 else None
            if abs(away) > REACH:
                edge, marker = (REACH, ">") if away > 0 else (-REACH, "<")
                ax.plot([edge], [place + shift], label=label, color=series.colour, marker=marker, linestyle="none")
            else:
                ax.errorbar([away], [place + shift], xerr=[error], label=label, **series.points)
    ax.set_xlim(-REACH - 0.1, REACH + 0.1)
    ax.set_ylim(len(figures) - 0.4, -0.6)
    ax.set_yticks(range(len(figures)), list(figures))
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("deviation from theory, in units of 5 % (grey: counts as equal)")
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    symbols = document["symbols"]["wire"]
    ax.set_title(f"{document['station']}, {symbols:,} symbols", loc="right")
    return ax
