"""Maps of the plane of the two leakages, with the accuracy that is reached within them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from labqdl.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

STEPS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.96, 0.97, 0.98, 1.0)
"""Accuracies at which the colour of a map changes."""
_CLEAR = (0.3, 0.18)
"""Decades between labels and marks, sideways or upwards."""
_SOUGHT = 0.96
"""The accuracy that is looked for: its contour is the bold one."""
LIMITS = ((5e-4, 5.0), (5e-4, 2.0))
"""Axes of a map: bits per weight and bits per feature."""


@dataclass(frozen=True, eq=False)
class MapPanel:
    """One map.

    Attributes
    ----------
    title:
        Above it; the panel's letter is added.
    weights, data:
        Bits per weight and per feature, (columns,) and (rows,), rising.
    accuracy:
        Fraction right, (rows, columns); NaN where nothing is known.
    contours:
        For each accuracy the weights and data along its contour; found from `accuracy` where empty.
    points:
        Marked points by what they are called: (bits per weight, bits per feature).
    """

    title: str
    weights: Array
    data: Array
    accuracy: Array
    contours: Mapping[float, tuple[Array, Array]] = field(default_factory=dict)
    points: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@style.styled
def leakage_maps(
    panels: Sequence[MapPanel],
    *,
    levels: Sequence[float] = (0.9, 0.95, 0.96, 0.97),
    limits: tuple[tuple[float, float], tuple[float, float]] = LIMITS,
) -> Figure:
    """Maps side by side on the same axes, with one colour bar.

    Parameters
    ----------
    panels:
        One to three.
    levels:
        Accuracies whose contours are drawn and labelled; the one to look for is the bold one, 0.96.
    limits:
        Of the axes, bits per weight and bits per feature.
    """
    count = len(panels)
    width = style.COLUMN + 10 if count == 1 else style.PAGE
    drawn = style.panels(1, count, width=width, height=78 if count < 3 else 72, sharex=True, sharey=True)
    for index, (panel, ax) in enumerate(zip(panels, drawn, strict=True)):
        leakage_map(panel, levels=levels, limits=limits, ax=ax)
        letter = f"({chr(ord('a') + index)}) " if count > 1 else ""
        ax.set_title(letter + panel.title)
        if index:
            ax.set_ylabel("")
    figure = style.figure_of(drawn[0])
    mesh = drawn[0].collections[0]
    bar = figure.colorbar(mesh, ax=drawn, location="right", shrink=1.0, pad=0.02, aspect=28, spacing="uniform")
    bar.set_label("accuracy (%)")
    bar.set_ticks(list(STEPS), labels=[f"{100 * step:g}" for step in STEPS])
    bar.ax.tick_params(length=2)
    return figure


@style.styled
def leakage_map(
    panel: MapPanel,
    *,
    levels: Sequence[float] = (0.9, 0.95, 0.96, 0.97),
    limits: tuple[tuple[float, float], tuple[float, float]] = LIMITS,
    ax: Axes | None = None,
) -> Axes:
    """One map: colour for the accuracy, lines for a few of its values, marks for points."""
    ax = style.axes(ax, height=72)
    import matplotlib
    from matplotlib.colors import BoundaryNorm

    colours = matplotlib.colormaps[style.SEQUENTIAL].resampled(len(STEPS) - 1)
    norm = BoundaryNorm(STEPS, colours.N)
    shown = np.ma.masked_invalid(panel.accuracy)
    ax.pcolormesh(panel.weights, panel.data, shown, cmap=colours, norm=norm, shading="nearest", rasterized=True)
    ax.set_facecolor(style.PALE)
    style.log_axis(ax.xaxis, *limits[0])
    style.log_axis(ax.yaxis, *limits[1])
    taken = list(panel.points.values())
    for level in sorted(levels, key=lambda level: abs(level - _SOUGHT)):
        taken += _contour(ax, panel, level, limits, taken)
    for index, (name, (weights, data)) in enumerate(panel.points.items()):
        look = style.series(index + 1)
        ax.plot(
            [weights],
            [data],
            color=look.colour,
            marker=look.marker,
            linestyle="none",
            markersize=6,
            markeredgecolor="white",
            markeredgewidth=0.8,
            label=name,
            clip_on=False,
            zorder=5,
        )
    ax.set_xlabel("weights (bit per weight)")
    ax.set_ylabel("data (bit per feature)")
    if panel.points:
        legend = ax.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none", handlelength=1.2)
        legend.set_zorder(6)
    return ax


def _contour(
    ax: Axes,
    panel: MapPanel,
    level: float,
    limits: tuple[tuple[float, float], tuple[float, float]],
    taken: Sequence[tuple[float, float]],
) -> list[tuple[float, float]]:
    """One contour with its label on the line, where there is room beside what is taken; the label's place."""
    from matplotlib import patheffects

    width = 1.8 if level == _SOUGHT else 0.9
    if panel.contours:
        if level not in panel.contours:
            return []
        line = np.column_stack(panel.contours[level])
        ax.plot(line[:, 0], line[:, 1], color="white", linewidth=width)
    else:
        drawn = ax.contour(
            panel.weights, panel.data, panel.accuracy, levels=[level], colors=["white"], linewidths=[width]
        )
        line = max((part for parts in drawn.allsegs for part in parts), key=len, default=np.zeros((0, 2)))
    inside = np.isfinite(line).all(axis=1)
    for axis, (low, high) in enumerate(limits):
        inside &= (line[:, axis] >= 1.2 * low) & (line[:, axis] <= high / 1.2)
    visible = line[inside]
    at = _label_place(visible[np.argsort(visible[:, 1])], level, taken)
    if at is None:
        return []
    text = ax.annotate(
        f"{100 * level:g}", at, color="white", fontsize=7, ha="center", va="center", zorder=4, annotation_clip=True
    )
    text.set_path_effects([patheffects.withStroke(linewidth=2.0, foreground="#333333")])
    return [at]


def _label_place(line: Array, level: float, taken: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Labels of different accuracies stand at different heights, away from marks and from each other."""
    share = {0.9: 0.2, 0.95: 0.4, 0.96: 0.6, 0.97: 0.8}.get(round(level, 4), 0.5)
    order = np.argsort(np.abs(np.arange(len(line)) - share * (len(line) - 1)), kind="stable")
    marks = np.log10(np.array(taken, dtype=np.float64).reshape(-1, 2))
    for index in order.tolist():
        away = np.abs(np.log10(line[index]) - marks) / _CLEAR
        if not len(marks) or float(away.max(axis=1).min()) > 1.0:
            return float(line[index, 0]), float(line[index, 1])
    return None
