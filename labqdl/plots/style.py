"""The house style of labqdl's figures, and the only place that knows how a figure becomes a file.

Figures are drawn with matplotlib's object-oriented interface on the Agg canvas: no window, no pyplot, no state that
outlives a call. They are made for print, one column (85 mm) or two (170 mm) wide with text of 8 and 9 points, on a
light ground. The colours are those of Okabe and Ito (Color Universal Design, 2008), which people who see no red or no
green can tell apart; each goes with a marker and a line style of its own, so that a grey copy can be read as well.

Files are the same bytes for the same data: no date, no version and no random name is written into them.

matplotlib is imported when the first figure is drawn; without it there is an `InputError` that says what to install.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from labqdl.errors import InputError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLUMN = 85.0
"""Width of a figure in one column of print, mm."""
PAGE = 170.0
"""Width of a figure across both columns, mm."""
HEIGHT = 60.0
"""Usual height of one panel, mm."""
RESOLUTION = 200
"""Pixels per inch of PNG files."""

_MM_PER_INCH = 25.4

BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#5A5A5A"
PALE = "#D9D9D9"

SEQUENTIAL = "cividis"
"""Colour map for maps: its lightness rises evenly, for people who see no red or green as well."""
DENSITY = "Blues"
"""Colour map for densities: where there is little it fades into the paper."""


@dataclass(frozen=True, slots=True)
class Series:
    """How one series of a figure is told from the others: by colour, by marker, and by the line's dashes."""

    colour: str
    marker: str
    dashes: str
    filled: bool = True

    @property
    def line(self) -> dict[str, Any]:
        """Keywords of `Axes.plot` for a line with markers."""
        return {**self._markers, "linestyle": self.dashes}

    @property
    def points(self) -> dict[str, Any]:
        """Keywords of `Axes.plot` and `Axes.errorbar` for markers without a line."""
        return {**self._markers, "linestyle": "none"}

    @property
    def _markers(self) -> dict[str, Any]:
        return {
            "color": self.colour,
            "marker": self.marker,
            "markerfacecolor": self.colour if self.filled else "white",
        }


SERIES: tuple[Series, ...] = (
    Series(BLUE, "o", "-"),
    Series(VERMILION, "s", "--"),
    Series(GREEN, "^", "-."),
    Series(ORANGE, "D", ":"),
    Series(PURPLE, "v", "-"),
    Series(SKY, "P", "--"),
    Series(BLACK, "X", "-."),
)
"""Series in the order of use."""


def series(index: int) -> Series:
    """The series of that number; after the last they begin again with open markers, then with filled ones."""
    turn, place = divmod(index, len(SERIES))
    return SERIES[place] if turn % 2 == 0 else replace(SERIES[place], filled=False)


_STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # ships with matplotlib: the same on every machine
    "mathtext.fontset": "dejavusans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "figure.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titleweight": "normal",
    "axes.titlepad": 5,
    "axes.labelpad": 3,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#333333",
    "axes.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": [-9, 9],  # long numbers are scaled in the axis label, where they are read
    "axes.formatter.use_mathtext": False,
    "grid.color": PALE,
    "grid.linewidth": 0.5,
    "figure.facecolor": "white",
    "figure.edgecolor": "white",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.03,
    "figure.constrained_layout.h_pad": 0.03,
    "savefig.facecolor": "white",
    "savefig.edgecolor": "white",
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "lines.markeredgewidth": 0.6,
    "patch.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 2,
    "ytick.minor.size": 2,
    "legend.frameon": False,
    "legend.handlelength": 2.0,
    "legend.borderaxespad": 0.3,
    "legend.labelspacing": 0.35,
    "errorbar.capsize": 2,
    "image.cmap": SEQUENTIAL,
    "svg.fonttype": "path",  # letters as outlines: no reader needs the font
    "pdf.fonttype": 42,
    "path.simplify": True,
}


def require_matplotlib() -> None:
    """Raise an `InputError` that says what to install where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError("figures need matplotlib", hint='pip install "labqdl[report]"') from error


@contextmanager
def house_style(**changes: Any) -> Iterator[None]:
    """matplotlib's defaults replaced by the house style within the block, whatever a user's matplotlibrc says."""
    require_matplotlib()
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcParams.update(matplotlib.rcParamsDefault)  # a user's style sheet does not reach a report
        parameters: Any = matplotlib.rcParams  # its type lists every key that there is
        parameters.update({**_STYLE, **changes})
        yield


_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def styled(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Decorator of a plot function: whatever it draws is drawn in the house style."""

    @functools.wraps(function)
    def wrapped(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        with house_style():
            return function(*args, **kwargs)

    return wrapped


@styled
def figure(width: float = COLUMN, height: float = HEIGHT) -> Figure:
    """An empty figure of that size.

    Parameters
    ----------
    width, height:
        In mm: `COLUMN` or `PAGE` wide.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    result = Figure(figsize=(width / _MM_PER_INCH, height / _MM_PER_INCH))
    FigureCanvasAgg(result)
    return result


@styled
def axes(ax: Axes | None = None, *, width: float = COLUMN, height: float = HEIGHT) -> Axes:
    """`ax`, or the only axes of a new figure of that size in mm: how each plot function begins."""
    return figure(width, height).subplots() if ax is None else ax


@styled
def panels(rows: int, columns: int, *, width: float = PAGE, height: float = HEIGHT, **keywords: Any) -> list[Axes]:
    """Axes of a grid, row after row, in a new figure; keywords go to `Figure.subplots` (`sharex`, `width_ratios`)."""
    return list(figure(width, height).subplots(rows, columns, squeeze=False, **keywords).flat)


def figure_of(drawn: Figure | Axes) -> Figure:
    """The figure behind what a plot function gave back."""
    found: Any = drawn if hasattr(drawn, "savefig") else drawn.get_figure()
    result: Figure = found
    return result


_METADATA: Mapping[str, Mapping[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Date": None, "Creator": None},
}
ENDINGS = tuple(f".{kind}" for kind in _METADATA)
"""Endings of files that figures can be saved as."""


def render(drawn: Figure | Axes, kind: str = "png", *, salt: str = "labqdl") -> bytes:
    """Bytes of a figure as a file; the same figure gives the same bytes.

    Parameters
    ----------
    drawn:
        A figure, or axes of it.
    kind:
        `png` (at `RESOLUTION`), `pdf` or `svg`.
    salt:
        Names inside of an SVG are made from it: pictures with different salts can stand in one document.
    """
    if kind not in _METADATA:
        raise InputError(f"unknown kind of picture '{kind}'", expected=", ".join(_METADATA))
    buffer = io.BytesIO()
    with house_style(**{"svg.hashsalt": salt}):
        figure_of(drawn).savefig(buffer, format=kind, dpi=RESOLUTION, metadata=dict(_METADATA[kind]))
    return buffer.getvalue()


def fix_layout(drawn: Figure | Axes) -> None:
    """Find the places of all axes now and keep them, so that several renderings of a figure find them once."""
    chosen = figure_of(drawn)
    with house_style():
        chosen.draw_without_rendering()
        chosen.set_layout_engine("none")


def save(drawn: Figure | Axes, path: str | Path) -> Path:
    """Write a figure to a file whose ending says the kind: .png, .pdf or .svg.

    Raises
    ------
    InputError
        For another ending, or where the file cannot be written.
    """
    path = Path(path)
    content = render(drawn, path.suffix.removeprefix(".").lower(), salt=path.stem)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", source=path) from None
    return path


@styled
def log_axis(axis: Axis, low: float, high: float) -> None:
    """Make an axis logarithmic from `low` to `high` (both > 0), with labels that a person can read.

    Few decades get labels at 2 and 5 as well; figures between 0.001 and 100,000 are written as such, others as powers
    of ten; unlabelled minor ticks stand at every integer where there is room.
    """
    from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, NullFormatter

    which, ax = name_of(axis), axis.axes
    getattr(ax, f"set_{which}scale")("log")
    getattr(ax, f"set_{which}lim")(low, high)
    decades = math.log10(high / low)
    if decades < 0.7:  # less than a decade: a linear choice of round values
        locator = _round_values(low, high)
        axis.set_major_locator(FixedLocator(locator))
        axis.set_major_formatter(FixedFormatter([f"{value:g}" for value in locator]))
        axis.set_minor_locator(FixedLocator([]))
        return
    plain = 10.0 ** math.ceil(math.log10(low) - 1e-9) >= 0.9e-3 and high <= 2e5  # of the labels that are shown
    steps = (1.0, 2.0, 5.0) if decades < 2.2 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=steps, numticks=8 if decades > 2.2 else 20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}" if plain else power_of_ten(value)))
    if decades < 7:
        axis.set_minor_locator(LogLocator(base=10, subs=tuple(float(digit) for digit in range(1, 10)), numticks=100))
    axis.set_minor_formatter(NullFormatter())


def name_of(axis: Axis) -> str:
    """x or y."""
    return str(axis.axis_name)  # type: ignore[attr-defined]


def _round_values(low: float, high: float) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(value) for value in found if low <= value <= high]


def power_of_ten(value: float) -> str:
    """A number as mathtext: 10^3, or 2 x 10^3 where the mantissa is not 1."""
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    mantissa = value / 10.0**exponent
    power = f"10^{{{exponent}}}"
    return f"${power}$" if abs(mantissa - 1) < 1e-6 else f"${mantissa:.3g}\\times{power}$"


def count_axis(axis: Axis) -> None:
    """Ticks of an axis that counts (images, blocks): whole numbers, thousands set apart."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def scale_of(largest: float) -> tuple[float, str]:
    """Divisor and its word for numbers up to `largest`, so that ticks stay short: 10^6 and "million"."""
    for divisor, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if largest >= 2 * divisor:
            return divisor, word
    return 1.0, ""


def power_of_scale(largest: float) -> int:
    """Exponent, a multiple of 3, by which small numbers up to `largest` are scaled for an axis; 0 from 0.001 on."""
    if not 0 < largest < 1e-3 or not math.isfinite(largest):
        return 0
    return 3 * math.floor(math.log10(largest) / 3 + 1e-9)


def raised(exponent: int) -> str:
    """10 to a power, in letters that need no mathematics: 10⁻⁶."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def short(value: float, digits: int = 3) -> str:
    """A number with so many digits; a true minus sign, and a power of ten as such: 2 × 10⁻⁶."""
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.{digits}g}".replace("-", "−").partition("e")
    if not exponent:
        return mantissa
    power = raised(int(exponent.replace("−", "-")))
    return power if mantissa == "1" else f"{mantissa} × {power}"


def every(points: int, most: int = 25) -> int:
    """Every how manieth point of a line gets a marker, so that markers do not run into each other."""
    return max(1, -(-points // most))


def limits_around(
    values: Sequence[float] | np.typing.NDArray[np.floating[Any]], share: float = 0.06
) -> tuple[float, float]:
    """Limits of a linear axis that shows all finite values with a margin; (-1, 1) where there are none."""
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return -1.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    margin = share * (high - low) or abs(high) * share or 1.0
    return low - margin, high + margin


@styled
def legend(ax: Axes, handles: Sequence[Artist] | None = None, **keywords: Any) -> None:
    """A legend, where there is anything to name."""
    found, labels = ax.get_legend_handles_labels()
    if handles is not None:
        ax.legend(handles=list(handles), **keywords)
    elif labels:
        ax.legend(found, labels, **keywords)


@styled
def legend_above(ax: Axes, handles: Sequence[Artist] | None = None, *, columns: int = 3) -> None:
    """A legend on top, where it hides nothing: over the whole figure, or over the axes where there are several."""
    found, labels = ax.get_legend_handles_labels()
    shown = found if handles is None else list(handles)
    names = labels if handles is None else [str(handle.get_label()) for handle in handles]
    if not shown:
        return
    spacing: dict[str, Any] = {"columnspacing": 1.2, "handlelength": 1.6, "handletextpad": 0.5}
    chosen = figure_of(ax)
    if len([other for other in chosen.axes if other.get_label() != "<colorbar>"]) == 1:
        chosen.legend(shown, names, loc="outside upper center", ncols=columns, **spacing)
    else:
        ax.legend(
            shown, names, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, borderaxespad=0.2, **spacing
        )
