"""Figures about the returned light over a run: what was measured, what an honest client makes likely, and evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labqdl.facts import TestResult
from labqdl.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis


@style.styled
def residual_path(
    symbols: ArrayLike,
    statistic: ArrayLike,
    *,
    expected: ArrayLike | None = None,
    band: tuple[ArrayLike, ArrayLike] | None = None,
    label: str = "statistic",
    unit: str = "",
    ax: Axes | None = None,
) -> Axes:
    """One statistic of the returned light, of everything measured so far, with the range that would be accepted.

    Parameters
    ----------
    symbols:
        Measured symbols so far, rising.
    statistic:
        Its value at each.
    expected:
        Its honest value at each.
    band:
        Lower and upper limits of what the test accepts, were it the last look; NaN where there is none.
    label, unit:
        Name and unit of the vertical axis.
    """
    ax = style.axes(ax)
    count, divisor = _symbols_axis(ax, symbols)
    value = np.asarray(statistic, float)
    place, single = count / divisor, value.size == 1
    every_value = [value, *([] if expected is None else [expected]), *([] if band is None else band)]
    power = style.power_of_scale(float(np.nanmax([np.nanmax(np.abs(part)) for part in every_value])))
    value = value / 10.0**power
    expected = None if expected is None else np.asarray(expected, float) / 10.0**power
    if band is not None:
        band = np.asarray(band[0], float) / 10.0**power, np.asarray(band[1], float) / 10.0**power
    if band is not None:
        low, high = (np.asarray(limit, float) for limit in band)
        look: dict[str, Any] = {"color": style.SKY, "alpha": 0.4, "label": "accepted"}
        if single:
            ax.axhspan(float(low[0]), float(high[0]), linewidth=0.8, **look)
        else:
            ax.fill_between(place, low, high, linewidth=0, **look)
    if expected is not None:
        honest = np.asarray(expected, float)
        look = {"color": style.BLACK, "linewidth": 0.8, "linestyle": (0, (4, 2)), "label": "honest"}
        if single:
            ax.axhline(float(honest[0]), **look)
        else:
            ax.plot(place, honest, **look)
    colours = {**style.series(1).line, "linestyle": "-"}
    ax.plot(place, value, label="measured", markevery=style.every(value.size), **colours)
    ax.set_ylim(*_window(value, expected, band))
    # Of a unit with an explanation only the unit fits.
    unit = " ".join(part for part in (style.raised(power) if power else "", unit.partition(" (")[0]) if part)
    ax.set_ylabel(f"{label} ({unit})" if unit else label)
    style.legend_above(ax)
    return ax


def _window(
    value: NDArray[np.float64], expected: ArrayLike | None, band: tuple[ArrayLike, ArrayLike] | None
) -> tuple[float, float]:
    """Vertical limits: all values, and the band but for the wide beginning that would flatten all that follows."""
    shown = [value]
    if expected is not None:
        shown.append(np.asarray(expected, float))
    if band is not None:
        shown += [np.asarray(limit, float)[-max(1, (2 * value.size) // 3) :] for limit in band]
    return style.limits_around(np.concatenate(shown), 0.12)


@style.styled
def deviations(
    symbols: ArrayLike, paths: Mapping[str, ArrayLike], *, limit: float | None = None, ax: Axes | None = None
) -> Axes:
    """Deviation of every test from honest light over a run, in standard deviations, on one axis.

    Parameters
    ----------
    symbols:
        Measured symbols so far, rising.
    paths:
        Name of a test to its deviations, each with one value for each entry of `symbols`; NaN where it says nothing.
        The deviation is the normal deviate with the test's p-value, so that one limit means the same for all.
    limit:
        Deviation beyond which a test fails, either sign.
    """
    ax = style.axes(ax, width=style.PAGE)
    count, divisor = _symbols_axis(ax, symbols)
    values = {name: np.asarray(path, float) for name, path in paths.items()}
    if limit is not None:
        ax.axhspan(-limit, limit, color=style.SKY, alpha=0.25, linewidth=0, label="accepted")
    ax.axhline(0, color=style.GREY, linewidth=0.5)
    for index, (name, path) in enumerate(values.items()):
        ax.plot(count / divisor, path, label=name, markevery=style.every(path.size), **style.series(index).line)
    shown = np.concatenate([*values.values(), [0.0]])
    _signed_axis(ax.yaxis, shown[np.isfinite(shown)], limit or 1.0)
    ax.set_ylabel("deviation (standard deviations)")
    style.legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


@style.styled
def check_summary(tests: Sequence[TestResult], *, ax: Axes | None = None) -> Axes:
    """Every test at the end of a run: its deviation from honest light, and the range that it accepts.

    Deviations are those of a normal variable with the test's p-value, in standard deviations.

    Parameters
    ----------
    tests:
        Tests with their p-values and thresholds.
    """
    ax = style.axes(ax, height=16.0 + 5.0 * max(2, len(tests)))
    found = [normal_deviate(test.p_value, test.z) for test in tests]
    limits = [normal_deviate(test.threshold, 1.0) for test in tests]
    for row, (test, deviation, limit) in enumerate(zip(tests, found, limits, strict=True)):
        ax.barh(row, 2 * limit, left=-limit, height=0.7, color=style.SKY, alpha=0.35, linewidth=0)
        series = style.series(0 if test.passed else 1)
        ax.plot(deviation, row, markersize=5, **series.points)
    ax.axvline(0, color=style.GREY, linewidth=0.5, zorder=0)
    _signed_axis(ax.xaxis, np.array([0.0, *found]), max([1.0, *limits]))
    ax.set_ylim(len(tests) - 0.4, -0.6)
    ax.set_yticks(range(len(tests)), [test.name for test in tests])
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("deviation (standard deviations)")
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=style.SKY, alpha=0.35, label="accepted")]
    for index, words in enumerate(("passed", "failed")):
        if any(test.passed == (index == 0) for test in tests):
            handles.append(Line2D([], [], label=words, markersize=5, **style.series(index).points))
    style.legend_above(ax, handles)
    return ax


@style.styled
def e_value_path(
    symbols: ArrayLike, log10_e: ArrayLike, *, threshold: float | None = None, ax: Axes | None = None
) -> Axes:
    """The e-process over a run: evidence against an honest client that may be looked at after every block.

    Parameters
    ----------
    symbols:
        Measured symbols so far, rising, from 0.
    log10_e:
        Logarithm to base 10 of the e-value.
    threshold:
        Logarithm to base 10 of the e-value at which the server aborts.
    """
    ax = style.axes(ax)
    count, divisor = _symbols_axis(ax, symbols)
    value = np.asarray(log10_e, float)
    if threshold is not None:
        ax.axhline(
            threshold,
            color=style.VERMILION,
            linewidth=1.0,
            linestyle=(0, (4, 2)),
            label=f"abort at 10$^{{{threshold:.1f}}}$",
        )
    ax.plot(count / divisor, value, label="evidence so far", markevery=style.every(value.size), **style.series(0).line)
    _signed_axis(ax.yaxis, np.append(value, 0.0), threshold or 1.0, floor=-1.0)
    ax.set_ylabel("log$_{10}$ of the e-value")
    style.legend_above(ax)
    return ax


def _symbols_axis(ax: Axes, symbols: ArrayLike) -> tuple[NDArray[np.float64], float]:
    """Label the axis of symbols; the symbols as floats, and what to divide them by."""
    count = np.asarray(symbols, float)
    largest = float(count.max()) if count.size else 1.0
    divisor, word = style.scale_of(largest)
    ax.set_xlabel(f"measured symbols ({word})" if word else "measured symbols")
    ax.set_xlim(0, 1.03 * largest / divisor)
    return count, divisor


def _signed_axis(axis: Axis, values: NDArray[np.float64], limit: float, floor: float | None = None) -> None:
    """Axis that shows `values` and +-`limit` (or from `floor` up), logarithmic away from 0 where that is needed."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    which, ax = style.name_of(axis), axis.axes
    linear = max(10.0, 1.5 * limit)
    low = min(float(values.min()), -limit if floor is None else floor)
    high = max(float(values.max()), limit)
    if max(high, -low) <= 3 * linear:
        getattr(ax, f"set_{which}lim")(low - 0.08 * (high - low), high + 0.08 * (high - low))
        axis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
        return
    bottom, top = ((3 if abs(end) > linear else 1.3) * end for end in (low, high))
    getattr(ax, f"set_{which}scale")("symlog", linthresh=linear, linscale=1.0)
    getattr(ax, f"set_{which}lim")(bottom, top)
    reach = max(top, -bottom)
    first = math.ceil(math.log10(linear))
    sides = 1 if -bottom <= linear or top <= linear else 2
    step = max(1, math.ceil(sides * (math.log10(reach) - first + 1) / (6 if which == "y" else 5)))
    powers = [10.0 ** (first + step * index) for index in range(40)]
    ticks = [0.0, *(sign * power for power in powers for sign in (1, -1))]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if bottom <= tick <= top]))
    axis.set_minor_locator(NullLocator())
    short = reach < 5e3

    def words(value: float, _: int) -> str:
        size = abs(value)
        text = f"{size:,.0f}" if short or size < 10 else style.power_of_ten(size)
        return f"−{text}" if value < 0 else text

    axis.set_major_formatter(FuncFormatter(words))


def normal_deviate(p_value: float, z: float) -> float:
    """Deviation of a normal variable with this two-sided p-value, with the sign of z; z itself where p is 0."""
    from statistics import NormalDist

    if p_value <= 0:
        return z
    if p_value >= 1:
        return 0.0
    return math.copysign(-NormalDist().inv_cdf(p_value / 2), z)
