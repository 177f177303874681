"""Figures about predictions: which class was taken for which, and how often they are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labqdl.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SEVERAL = 4
"""Mistakes of one kind that get the darkest colour, where no kind is commoner."""
_NUMBERED = 16
"""Most classes whose cells have room for a number."""


@style.styled
def confusion_matrix(counts: NDArray[np.integer[Any]], classes: Sequence[str] = (), *, ax: Axes | None = None) -> Axes:
    """How often each class was taken for each.

    Right answers stand on the diagonal in blue, wrong ones in orange, each shaded by its share of the row or, where
    wrong, of the commonest mistake, so that rare mistakes can be seen at all.

    Parameters
    ----------
    counts:
        (classes, classes): true class in rows, prediction in columns.
    classes:
        Their names; numbers from 0 where there are none.
    ax:
        Where to draw; a new figure of one column by default.
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(f"counts must have shape (classes, classes), got {counts.shape}")
    if classes and len(classes) != len(counts):
        raise ValueError(f"{len(classes)} names for {len(counts)} classes")
    from matplotlib.colors import to_rgb

    size = len(counts)
    names = [str(name) for name in classes] or [str(index) for index in range(size)]
    rows = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    wrong = counts * (1 - np.eye(size, dtype=np.int64))
    right = np.eye(size) * counts / rows
    share = np.where(np.eye(size, dtype=bool), 0.75 * right, 0.9 * wrong / max(int(wrong.max()), _SEVERAL))
    tint = np.array(
        [[to_rgb(style.BLUE if row == column else style.ORANGE) for column in range(size)] for row in range(size)]
    )
    ax = style.axes(ax, height=78.0)
    ax.imshow(1 - share[..., None] * (1 - tint), interpolation="nearest", aspect="equal")
    if size <= _NUMBERED:
        small = 8.0 if size <= 6 or counts.max() < 1000 else 6.5
        for (row, column), count in np.ndenumerate(counts):
            if count:
                dark = row == column and share[row, column] > 0.45
                ax.text(
                    column,
                    row,
                    f"{count}",
                    ha="center",
                    va="center",
                    fontsize=small,
                    color="white" if dark else "black",
                )
    step = 1 if size <= _NUMBERED else -(-size // 10)
    ax.set_xticks(range(0, size, step), names[::step])
    ax.set_yticks(range(0, size, step), names[::step])
    if max(map(len, names)) > 3:
        ax.tick_params(axis="x", rotation=30 if size > 3 else 0)
    ax.set_xticks(np.arange(1, size) - 0.5, minor=True)
    ax.set_yticks(np.arange(1, size) - 0.5, minor=True)
    ax.grid(which="minor", linewidth=0.4)
    ax.tick_params(which="both", length=0)
    ax.spines[["top", "right"]].set_visible(True)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    return ax


@style.styled
def accuracy_curve(
    f2_db: ArrayLike,
    accuracy: ArrayLike,
    interval: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    label: str | None = None,
    target: float | None = None,
    line: bool = True,
    index: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Accuracy against the signal-to-noise parameter F² of an outcome.

    Call it again with the same axes and another `index` for another curve.

    Parameters
    ----------
    f2_db:
        F² in dB.
    accuracy:
        Share of right answers, 0 to 1.
    interval:
        Lower and upper limits of the accuracy, drawn as bars.
    label:
        Name in the legend.
    target:
        An accuracy to mark by a thin line.
    line:
        Whether to join the points.
    index:
        Which series of the house style.
    """
    from matplotlib.ticker import MaxNLocator

    ax = style.axes(ax)
    place, share = np.asarray(f2_db, float), 100 * np.asarray(accuracy, float)
    series = style.series(index)
    look = series.line if line else series.points
    bars = None
    if interval is not None:
        low, high = (100 * np.asarray(limit, float) for limit in interval)
        bars = [share - low, high - share]
    ax.errorbar(place, share, yerr=bars, label=label, elinewidth=0.8, **look)
    if target is not None:
        ax.axhline(100 * target, color=style.GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
        ax.annotate(
            f"{100 * target:g} %",
            (0, 100 * target),
            (3, 2),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="left",
            va="bottom",
            color=style.GREY,
        )
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 3, 5, 10]))
    ax.set_xlabel("signal-to-noise F² (dB)")
    ax.set_ylabel("accuracy (%)")
    style.legend(ax, loc="lower right")
    return ax


@style.styled
def accuracy_path(
    images: ArrayLike,
    accuracy: ArrayLike,
    interval: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Accuracy of all images so far, over a run.

    Parameters
    ----------
    images:
        Images so far, rising.
    accuracy:
        Share of them that were right, 0 to 1.
    interval:
        Its limits, drawn as a band.
    """
    ax = style.axes(ax)
    count, share = np.asarray(images, float), 100 * np.asarray(accuracy, float)
    if interval is not None:
        low, high = (100 * np.asarray(limit, float) for limit in interval)
        ax.fill_between(count, low, high, color=style.SKY, alpha=0.35, linewidth=0, label="95 % interval")
    ax.plot(count, share, label="so far", markevery=style.every(count.size), **style.series(0).line)
    ax.set_xlabel("images")
    ax.set_ylabel("accuracy (%)")
    ax.set_xlim(0, float(count.max()) * 1.02 if count.size else 1)
    style.count_axis(ax.xaxis)
    style.legend_above(ax)
    return ax
