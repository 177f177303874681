"""Published figures beside ours: accuracy against F^2, and leakage of the data against the gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from labqdl.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACCURACIES = (0, 30, 50, 70, 80, 90, 95, 97, 98, 99)
"""Labels of the axis, per cent."""


@style.styled
def accuracy_against_f2(
    f2_db: Sequence[float],
    published: Sequence[float],
    ours: Mapping[str, Sequence[tuple[float, float, float]]],
    *,
    ax: Axes | None = None,
) -> Axes:
    """Accuracy in per cent over F^2 in dB; the axis is logarithmic in the errors, which tells good networks apart.

    Parameters
    ----------
    f2_db:
        Points, dB.
    published:
        The authors' accuracy there, 0 to 1.
    ours:
        For each network (accuracy, lower and upper end of its interval) at every point, 0 to 1.
    """
    ax = style.axes(ax, width=style.COLUMN, height=65)
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    ax.plot(f2_db, 100 - 100 * np.asarray(published), label="authors' network", **style.series(0).line)
    for index, (name, values) in enumerate(ours.items(), start=1):
        mean, low, high = 100 - 100 * np.asarray(values).T
        look = style.series(index)
        ax.errorbar(f2_db, mean, yerr=(mean - high, low - mean), label=name, **look.line)
    ax.set_yscale("log")
    ax.set_ylim(100, 1)
    ax.yaxis.set_major_locator(FixedLocator([100 - each for each in _ACCURACIES]))
    ax.yaxis.set_major_formatter(FixedFormatter([f"{each:g}" for each in _ACCURACIES]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("F² (dB)")
    ax.set_ylabel("accuracy on MNIST (%)")
    ax.grid(True)
    style.legend(ax, loc="lower right")
    return ax


@style.styled
def data_leakage_over_gain(
    gain: Sequence[float], figures: Mapping[str, Sequence[float]], *, ax: Axes | None = None
) -> Axes:
    """Bits per data symbol by several formulas over the amplifier's gain less 1, both logarithmic.

    Parameters
    ----------
    gain:
        Amplifier gains G > 1.
    figures:
        For each formula its bits per real symbol at every gain.
    """
    ax = style.axes(ax, width=style.COLUMN, height=65)
    above = np.asarray(gain) - 1.0
    for index, (name, bits) in enumerate(figures.items()):
        look = style.series(index)
        ax.plot(above, bits, label=name, color=look.colour, linestyle=look.dashes)
    everything = np.concatenate([np.asarray(bits, float) for bits in figures.values()])
    style.log_axis(ax.xaxis, float(above.min()), float(above.max()))
    style.log_axis(ax.yaxis, float(everything.min()), 2 * float(everything.max()))
    ax.set_xlabel("amplifier gain G − 1")
    ax.set_ylabel("leakage of the data (bit per symbol)")
    ax.grid(True)
    style.legend(ax, loc="lower right")
    return ax
