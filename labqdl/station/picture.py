"""The station as a figure: boxes for instruments and components, lines for fibres and cables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labqdl.config.station import StationFile
from labqdl.plots import style
from labqdl.station.drawing import layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE, _HIGH = 30.0, 11.0
"""A box, mm."""
_GAP_X, _GAP_Y = 14.0, 6.0


@style.styled
def station_picture(file: StationFile, *, ax: Axes | None = None) -> Axes:
    """Draw a station: instruments in blue (dashed where simulated), parts without a plug in grey, barriers of light
    paths in vermilion; fibres solid, cables dotted, with their loss."""
    from matplotlib.patches import FancyBboxPatch

    plan = layout(file)
    width = plan.columns * _WIDE + (plan.columns - 1) * _GAP_X + 4
    height = plan.rows * (_HIGH + _GAP_Y) + 8
    ax = style.axes(ax, width=max(width, style.COLUMN), height=height)
    barriers = {name for path in file.paths for name in path.barriers}
    corners = {
        name: (column * (_WIDE + _GAP_X), -row * (_HIGH + _GAP_Y)) for name, (column, row) in plan.places.items()
    }
    for name, (x, y) in corners.items():
        entry = file.instruments.get(name)
        colour = style.GREY if entry is None else style.VERMILION if name in barriers else style.BLUE
        dashed = entry is not None and entry.simulated
        box = FancyBboxPatch(
            (x, y), _WIDE, _HIGH, boxstyle="round,pad=0,rounding_size=1.2", facecolor="white", edgecolor=colour,
            linewidth=1.0, linestyle="--" if dashed else "-", zorder=3,
        )  # fmt: skip
        ax.add_patch(box)
        below = str(file.components[name]["kind"]) if entry is None else entry.driver
        ax.text(x + _WIDE / 2, y + _HIGH * 0.64, name, ha="center", va="center", zorder=4)
        ax.text(x + _WIDE / 2, y + _HIGH * 0.27, below, ha="center", va="center", fontsize=6, color="#444444", zorder=4)
    for wire in file.wiring:
        (x0, y0), (x1, y1) = corners[wire.source[0]], corners[wire.target[0]]
        forward = x1 > x0
        start = (x0 + _WIDE, y0 + _HIGH / 2) if forward else (x0 + _WIDE / 2, y0)
        end = (x1, y1 + _HIGH / 2) if forward else (x1 + _WIDE / 2, y1)
        ax.annotate(
            "", xy=end, xytext=start, zorder=2,
            arrowprops={
                "arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "linewidth": 0.9, "color": style.BLACK,
                "linestyle": "-" if wire.kind == "light" else ":",
                "connectionstyle": "arc3" if forward else "arc3,rad=-0.3",
            },
        )  # fmt: skip
        if wire.loss:
            middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 1.2)
            ax.text(*middle, f"{wire.loss:g} dB", ha="center", va="bottom", fontsize=6)
    ax.set_title(f"{file.name}, profile {file.profile}")
    ax.set_xlim(-2, max(width, style.COLUMN) - 2)
    ax.set_ylim(-(plan.rows - 1) * (_HIGH + _GAP_Y) - 3, _HIGH + 3)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax
