"""The figures of the reproduction's page."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from labqdl.api.places import folder_place
from labqdl.api.reproduction import MODELS, Reproduction, gain_table
from labqdl.plots import style
from labqdl.plots.published import accuracy_against_f2, data_leakage_over_gain

GAINS = tuple(1.0 + 10.0**power for power in np.linspace(-3.0, 0.6, 37))


def check_figures(stem: Path) -> None:
    """InputError where `save_figures` could not write, or what draws is not installed."""
    style.require_matplotlib()
    folder_place(stem.parent, "--figures")


def save_figures(found: Reproduction, stem: Path, page: Path | None) -> list[tuple[str, str]]:
    """Write the figures as `stem`-NAME.svg; gives each file's name as `page` refers to it, and its caption."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    drawn = []
    if found.accuracy:
        axes = accuracy_against_f2(
            [row.f2_db for row in found.accuracy],
            [row.authors for row in found.accuracy],
            {name: [row.ours[name] for row in found.accuracy] for name in MODELS},
        )
        drawn.append((style.save(axes, stem.with_name(f"{stem.name}-accuracy.svg")), "Accuracy against F²."))
    rows = gain_table(GAINS)
    axes = data_leakage_over_gain(
        GAINS,
        {
            "exact bound": [row.data_exact for row in rows],
            "formula of 2025": [row.data_2025 for row in rows],
            "formula of 2024": [row.data_2024 for row in rows],
        },
    )
    caption = "Leakage of the data over the gain (n = 392 modes, one inference): the exact bound and both formulas."
    drawn.append((style.save(axes, stem.with_name(f"{stem.name}-data.svg")), caption))
    start = Path.cwd() if page is None else page.parent
    return [(Path(os.path.relpath(file, start)).as_posix(), words) for file, words in drawn]
