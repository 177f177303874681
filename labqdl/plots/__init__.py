"""Figures from plain arrays and facts, in the house style; matplotlib is loaded when the first one is drawn.

Each function draws into the axes that it is given, or into a new figure of print size, and gives the axes back;
`labqdl.plots.style.save` writes them to a file.
"""

from __future__ import annotations

from labqdl.plots import style
from labqdl.plots.bounds import leakage, leakage_key
from labqdl.plots.classification import accuracy_curve, accuracy_path, confusion_matrix
from labqdl.plots.evidence import check_summary, deviations, e_value_path, normal_deviate, residual_path
from labqdl.plots.ledger import ledger_waterfall
from labqdl.plots.maps import MapPanel, leakage_map, leakage_maps
from labqdl.plots.outcomes import OutcomeFit, fit_outcomes, outcomes
from labqdl.plots.power import power_curves

__all__ = [
    "MapPanel",
    "OutcomeFit",
    "accuracy_curve",
    "accuracy_path",
    "check_summary",
    "confusion_matrix",
    "deviations",
    "e_value_path",
    "fit_outcomes",
    "leakage",
    "leakage_key",
    "leakage_map",
    "leakage_maps",
    "ledger_waterfall",
    "normal_deviate",
    "outcomes",
    "power_curves",
    "residual_path",
    "style",
]
