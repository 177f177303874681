"""Power of the server's tests against measured symbols: counted sessions over theory, one panel a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from labqdl.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL = 46.0
"""Height of one panel with its share of labels, mm."""
_WORDS = {
    "noise": "residuals",
    "gain": "residuals",
    "phase": "residuals",
    "count": "counted mode slots",
    "cross-use": "weights summed over their uses",
}


@style.styled
def power_curves(attacks: Sequence[Mapping[str, Any]], *, wanted: float | None = None) -> Figure:
    """Curves of `labqdl power`, a panel for each test.

    Parameters
    ----------
    attacks:
        Objects as in the `attacks` of `labqdl power --json`: `title`, `test`, and `points` with `symbols`, `theory`,
        `counted` and `interval` (both None where a point was not drawn).
    wanted:
        Power whose symbols are stated; drawn as a thin line.
    """
    tests = list(dict.fromkeys(str(attack["test"]) for attack in attacks))
    panels = style.panels(len(tests), 1, height=_PANEL * len(tests) + 6)
    for ax, test in zip(panels, tests, strict=True):
        chosen = [attack for attack in attacks if attack["test"] == test]
        _panel(ax, test, chosen, wanted)
    return style.figure_of(panels[0])


def _panel(ax: Axes, test: str, attacks: Sequence[Mapping[str, Any]], wanted: float | None) -> None:
    symbols = [point["symbols"] for attack in attacks for point in attack["points"]]
    if wanted is not None:
        ax.axhline(wanted, color=style.GREY, linewidth=0.6, linestyle=(0, (1, 2)))
    handles: list[Any] = []
    # From left to right, as the key lists them: colours come again after seven, and then far away.
    for index, attack in enumerate(sorted(attacks, key=lambda one: one["points"][0]["symbols"])):
        look, points, label = style.series(index), attack["points"], str(attack["title"])
        place, power = _smooth([point["symbols"] for point in points], [point["theory"] for point in points])
        (line,) = ax.plot(place, power, color=look.colour, linestyle=look.dashes, label=f"{label} (theory)")
        counted = [point for point in points if point["counted"] is not None]
        if not counted:  # nothing was drawn: theory stands alone, and the key shows its line
            handles.append(line)
            continue
        value = np.array([point["counted"] for point in counted], float)
        low, high = np.array([point["interval"] for point in counted], float).T
        place = np.array([point["symbols"] for point in counted], float)
        errors = np.maximum([value - low, high - value], 0.0)
        handles.append(ax.errorbar(place, value, yerr=errors, elinewidth=0.8, label=label, **look.points))
    style.log_axis(ax.xaxis, min(symbols) / 1.5, max(symbols) * 1.5)
    ax.set_ylim(-0.03, 1.05)
    ax.set_xlabel(_WORDS.get(test, "symbols"))
    ax.set_ylabel("power")
    ax.set_title(f"{test} test")
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _smooth(symbols: Sequence[float], power: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Theory between its points: a test's normal deviate is all but linear in the square root of the symbols."""
    root = np.sqrt(np.asarray(symbols, float))
    deviate = ndtri(np.clip(power, 1e-12, 1 - 1e-12))
    place = np.geomspace(root[0], root[-1], 60)
    return place**2, np.asarray(ndtr(np.interp(place, root, deviate)))
