"""Pictures of calibrations, in the house style; each is made from what is stored, without the bench."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import CalibrationResult
from labqdl.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Real = NDArray[np.float64]


@style.styled
def data_and_model(x_values: Real, data: Real, model: Real, misses: Real, *, x: str, y: str) -> Figure:
    """Data with the fitted model, and below (data - model) / deviation; arrays (n,)."""
    axes = style.panels(2, 1, width=style.COLUMN, height=80.0)
    order = np.argsort(x_values, kind="stable")
    axes[0].plot(x_values[order], model[order], color=style.ORANGE, linewidth=1.0, label="model")
    axes[0].plot(x_values, data, linestyle="none", marker="o", markersize=2.5, color=style.BLUE, label="data")
    axes[0].set_ylabel(y)
    axes[0].legend()
    axes[1].axhline(0.0, color=style.GREY, linewidth=0.6)
    axes[1].plot(x_values, misses, linestyle="none", marker="o", markersize=2.5, color=style.BLUE)
    axes[1].set_xlabel(x)
    axes[1].set_ylabel("misses (deviations)")
    return style.figure_of(axes[0])


@style.styled
def line_and_allan(result: CalibrationResult, raw: Mapping[str, NDArray[Any]]) -> Figure:
    """Variance of vacuum against the local oscillator's power, and the Allan deviation of the variance."""
    axes = style.panels(1, 2, width=style.PAGE, height=60.0)
    for suffix, colour, label in (("", style.BLUE, "x"), ("_p", style.VERMILION, "p")):
        if f"powers{suffix}" not in raw:
            continue
        powers = raw[f"powers{suffix}"]
        axes[0].errorbar(
            1e3 * powers, raw[f"variances{suffix}"], yerr=raw[f"deviations{suffix}"], linestyle="none", marker="o",
            markersize=3, color=colour, label=label,
        )  # fmt: skip
    powers = raw["powers"]
    line = result.value("intercept") + result.value("lo_slope") * powers
    axes[0].plot(1e3 * powers, line, color=style.GREY, linewidth=0.8, label="straight line")
    axes[0].set_xlabel("laser power (mW)")
    axes[0].set_ylabel("variance of a bin (V²)")
    axes[0].legend()
    mean = float(np.mean(raw["block_variances"]))
    axes[1].loglog(1e3 * raw["allan_times"], raw["allan_deviations"] / mean, marker="o", markersize=3, color=style.BLUE)
    axes[1].axhline(1e-3, color=style.GREY, linewidth=0.6, linestyle="--")
    axes[1].set_xlabel("averaging time (ms)")
    axes[1].set_ylabel("Allan deviation / variance")
    return style.figure_of(axes[0])


@style.styled
def record_start(result: CalibrationResult, raw: Mapping[str, NDArray[Any]]) -> Figure:
    """A record around the beginning of its shot."""
    volts, (start, interval) = raw["volts"], raw["time"]
    delay = result.value("delay")
    first = max(int((delay - start) / interval) - 100, 0)
    piece = slice(first, first + 3000)
    times = 1e6 * (start + interval * np.arange(volts.size)[piece])
    ax = style.axes(None, width=style.PAGE, height=style.HEIGHT)
    ax.plot(times, volts.real[piece], color=style.BLUE, linewidth=0.6, label="x")
    if np.iscomplexobj(volts):
        ax.plot(times, volts.imag[piece], color=style.VERMILION, linewidth=0.6, label="p")
        ax.legend()
    ax.axvline(1e6 * delay, color=style.GREY, linewidth=0.8, linestyle="--")
    ax.set_xlabel("time since the trigger (µs)")
    ax.set_ylabel("voltage (V)")
    return style.figure_of(ax)


@style.styled
def tree_stages(result: CalibrationResult, raw: Mapping[str, NDArray[Any]]) -> Figure:
    """Carry of each stage against its voltage, turned so that it is real, with the fitted model."""
    stages = [name.removeprefix("volts_") for name in raw if name.startswith("volts_")]
    ax = style.axes(None, width=style.PAGE, height=70.0)
    for place, stage in enumerate(stages):
        look = style.series(place)
        seen, fitted = raw[f"seen_{stage}"], raw[f"fitted_{stage}"]
        turn = np.exp(-0.5j * np.angle(np.sum(seen**2)))
        scale = float(np.max(np.abs(seen)))
        ax.plot(raw[f"volts_{stage}"], (seen * turn).real / scale, **look.points, markersize=3, label=f"stage {stage}")
        ax.plot(raw[f"volts_{stage}"], (fitted * turn).real / scale, color=look.colour, linewidth=0.8)
    ax.set_xlabel("voltage of the stage (V)")
    ax.set_ylabel("carry / greatest carry")
    ax.legend(ncols=3)
    return style.figure_of(ax)


@style.styled
def scans(pairs: Mapping[str, tuple[Real, Real]], *, x: str, y: str) -> Figure:
    """Some scans in one picture, by name."""
    ax = style.axes(None, width=style.COLUMN, height=style.HEIGHT)
    for place, (name, (places, values)) in enumerate(pairs.items()):
        ax.plot(places, values, **style.series(place).line, markersize=3, linewidth=0.8, label=name)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.legend()
    return style.figure_of(ax)
