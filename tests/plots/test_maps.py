"""Maps of the two leakages: what is drawn is what was given, in print size."""

from __future__ import annotations

import numpy as np
import pytest

from labqdl.plots import style
from labqdl.plots.maps import LIMITS, MapPanel, leakage_map, leakage_maps

pytest.importorskip("matplotlib")

WEIGHTS, DATA = np.geomspace(*LIMITS[0], 40), np.geomspace(*LIMITS[1], 30)


def _panel(title: str, *, contours: bool) -> MapPanel:
    accuracy = 0.9 + 0.03 * np.log10(WEIGHTS[None, :] / 1e-3) + 0.01 * np.log10(DATA[:, None] / 1e-3)
    accuracy = np.where(accuracy < 0.9, np.nan, accuracy)
    lines = {0.96: (np.full(30, 0.05), DATA)} if contours else {}
    return MapPanel(title, WEIGHTS, DATA, accuracy, lines, {"plan": (0.1, 0.2)})


def test_panels_share_axes_and_one_colour_bar() -> None:
    figure = leakage_maps([_panel("first", contours=False), _panel("second", contours=True)])
    first, second, bar = figure.axes
    assert first.get_title(loc="left") == "(a) first"
    assert second.get_title(loc="left") == "(b) second"
    assert first.get_xlim() == second.get_xlim() == LIMITS[0]
    assert "bit per weight" in first.get_xlabel()
    assert "bit per feature" in first.get_ylabel()
    assert "accuracy" in bar.get_ylabel()
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(style.PAGE)


def test_given_contours_are_drawn_and_labelled() -> None:
    ax = leakage_map(_panel("x", contours=True), levels=(0.9, 0.96))
    lines = [line for line in ax.lines if len(line.get_xdata()) == 30]  # type: ignore[arg-type]
    assert len(lines) == 1
    np.testing.assert_array_equal(np.asarray(lines[0].get_xdata()), np.full(30, 0.05))
    assert [text.get_text() for text in ax.texts] == ["96"]


def test_contours_of_the_grid_are_where_the_accuracy_is() -> None:
    ax = leakage_map(_panel("x", contours=False), levels=(0.96,))
    assert [text.get_text() for text in ax.texts] == ["96"]
    x, y = ax.texts[0].xy  # type: ignore[attr-defined]
    assert 0.9 + 0.03 * np.log10(x / 1e-3) + 0.01 * np.log10(y / 1e-3) == pytest.approx(0.96, abs=1e-3)


def test_labels_keep_away_from_points() -> None:
    panel = _panel("x", contours=True)
    on_line = MapPanel("x", WEIGHTS, DATA, panel.accuracy, panel.contours, {"plan": (0.05, 0.05)})
    ax = leakage_map(on_line, levels=(0.96,))
    _, y = ax.texts[0].xy  # type: ignore[attr-defined]
    assert abs(np.log10(y / 0.05)) > 0.18


def test_files_are_the_same_bytes_for_the_same_data() -> None:
    panels = [_panel("x", contours=True)]
    assert style.render(leakage_maps(panels)) == style.render(leakage_maps(panels))
