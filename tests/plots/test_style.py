from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from labqdl.errors import InputError
from labqdl.plots import style


def drawn(low: float = 0.01, high: float = 100.0) -> matplotlib.axes.Axes:
    ax = style.axes()
    with style.house_style():
        style.log_axis(ax.yaxis, low, high)
        ax.plot([1, 2], [low, high], label="a line", **style.series(0).line)
        style.legend(ax)
    return ax


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_the_same_figure_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    first, second = (style.save(drawn(), tmp_path / f"{name}/a.{kind}") for name in _folders(tmp_path))
    assert first.read_bytes() == second.read_bytes()
    assert matplotlib.__version__.encode() not in first.read_bytes()


def _folders(tmp_path: Path) -> tuple[str, str]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return "one", "two"


def test_unknown_ending_and_unwritable_file_are_mistakes_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown kind of picture 'gif'"):
        style.save(drawn(), tmp_path / "a.gif")
    with pytest.raises(InputError, match="cannot be written"):
        style.save(drawn(), tmp_path / "missing" / "a.png")


def test_print_size(tmp_path: Path) -> None:
    width, height = style.figure_of(style.axes(width=style.PAGE, height=50.0)).get_size_inches()
    assert (width * 25.4, height * 25.4) == pytest.approx((170.0, 50.0))
    assert style._STYLE["font.size"] == 8


def test_nothing_of_the_style_outlives_a_call() -> None:
    before = matplotlib.rcParams.copy()
    style.render(drawn(), "svg")
    assert dict(matplotlib.rcParams) == dict(before)


def test_a_style_of_the_user_does_not_reach_the_figure() -> None:
    expected = style.render(drawn())
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "lines.linewidth": 9}):
        assert style.render(drawn()) == expected


def test_without_matplotlib_the_message_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from labqdl.errors import InputError\nfrom labqdl.plots import style\n"
        "try: style.figure()\nexcept InputError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "labqdl[report]"' in done.stdout


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 100.0, ["0.01", "0.1", "1", "10", "100"]),
        (0.9, 12.0, ["1", "2", "5", "10"]),
        (2.0, 3.1, ["2", "2.25", "2.5", "2.75", "3"]),
        (1e-6, 1.0, ["$10^{-6}$", "$10^{-4}$", "$10^{-2}$", "$10^{0}$"]),
    ],
)
def test_labels_of_a_log_axis(low: float, high: float, expected: list[str]) -> None:
    ax = drawn(low, high)
    style.render(ax)
    shown = [
        label.get_text()
        for label, where in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)
        if low <= where <= high
    ]
    assert [entry for entry in shown if entry in expected] == expected
    assert len(shown) <= 2 * len(expected)


def test_series_differ_in_colour_marker_and_dashes() -> None:
    assert len({entry.colour for entry in style.SERIES}) == len(style.SERIES)
    assert len({entry.marker for entry in style.SERIES}) == len(style.SERIES)
    again = style.series(len(style.SERIES))
    assert again != style.series(0)
    assert again.points == {**style.series(0).points, "markerfacecolor": "white"}
    assert style.series(2 * len(style.SERIES)) == style.series(0)
    greys = [sum(np.array([0.2126, 0.7152, 0.0722]) * _rgb(entry.colour)) for entry in style.SERIES[:2]]
    assert abs(greys[0] - greys[1]) > 0.02


def _rgb(colour: str) -> np.typing.NDArray[np.float64]:
    return np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])


def test_limits_leave_a_margin() -> None:
    assert style.limits_around([0.0, 10.0], 0.1) == (-1.0, 11.0)
    assert style.limits_around([5.0]) == pytest.approx((4.7, 5.3))
    assert style.limits_around([0.0]) == (-1.0, 1.0)
    assert style.limits_around([float("nan")]) == (-1.0, 1.0)
