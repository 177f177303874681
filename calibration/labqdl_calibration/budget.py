"""Error budget of a run: excess noise that its calibrations let expect, cause by cause, beside what it measured.

All figures are excess noise of the returned light, mean over its quadratures, in SNU at the server's input (before
its receiver's efficiency). Formulas: docs/physics.md, "Imperfections", and docs/calibration.md, "Error budget", with mu
photons a mode at the server's output, T = T_forward T_return, n modes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labqdl.facts import CalibrationSet, Estimate
from labqdl.plots.budget import excess_waterfall

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNIT_CAUSE = "shot-noise unit"
"""What the unit of all others leaves open."""


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One cause.

    Attributes
    ----------
    cause:
        In words.
    source:
        The calibration that it follows from.
    excess:
        SNU, and how well it is known.
    formula:
        As text.
    """

    cause: str
    source: str
    excess: Estimate
    formula: str


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """Expected excess by cause, and what was measured."""

    rows: tuple[BudgetRow, ...]
    measured: Estimate | None = None

    @property
    def expected(self) -> Estimate:
        """Sum of all causes."""
        value = math.fsum(row.excess.value for row in self.rows)
        return Estimate(value, math.sqrt(math.fsum(row.excess.deviation**2 for row in self.rows)), "SNU")

    @property
    def unexplained(self) -> Estimate | None:
        """Measured less expected."""
        if self.measured is None:
            return None
        expected = self.expected
        deviation = math.hypot(self.measured.deviation, expected.deviation)
        return Estimate(self.measured.value - expected.value, deviation, "SNU")

    def lines(self) -> list[tuple[str, str, str, str]]:
        """Cause, excess in mSNU, share of the expected sum, calibration; the largest first, sums at the end."""
        total = self.expected.value

        def row(words: str, one: Estimate, source: str, *, share: bool = True) -> tuple[str, str, str, str]:
            part = f"{100 * one.value / total:.0f} %" if share and total > 0 else ""
            return words, f"{1e3 * one.value:.3g} ± {1e3 * one.deviation:.2g}", part, source

        found = [row(one.cause, one.excess, one.source) for one in self.ordered()]
        found.append(row("expected", self.expected, ""))
        if self.measured is not None and self.unexplained is not None:
            found.append(row("measured", self.measured, "the run", share=False))
            found.append(row("unexplained", self.unexplained, "", share=False))
        return found

    def ordered(self) -> Sequence[BudgetRow]:
        """Causes, the largest first."""
        return sorted(self.rows, key=lambda one: -one.excess.value)


def error_budget(
    calibrations: CalibrationSet, *, mu: float, n_modes: float, measured: Estimate | None = None
) -> ErrorBudget:
    """The budget of a run.

    Parameters
    ----------
    calibrations:
        Those that the run used; what is missing has no row.
    mu:
        Mean photons a mode at the server's output.
    n_modes:
        Modes of a row; a mean of several counts by 1/n.
    measured:
        Excess that the run measured, SNU at the server's input.
    """
    known = {name: one for name, one in calibrations.items() if one.good}
    out, back = (
        known[name].estimate("transmissivity").value if name in known else 1.0
        for name in ("path.forward", "path.return")
    )
    signal = 2.0 * mu * out * back
    rows: list[BudgetRow] = []

    def add(cause: str, source: str, value: float, deviation: float, formula: str) -> None:
        rows.append(BudgetRow(cause, source, Estimate(value, deviation, "SNU"), formula))

    def phase(cause: str, source: str, sigma: float, relative: float, factor: float, formula: str) -> None:
        excess = factor * signal * sigma**2
        add(cause, source, excess, 2 * relative * excess, formula)

    if "client.tap" in known and "d" in known["client.tap"].values:
        tap = known["client.tap"]
        noise = tap.estimate("d")
        add("noise of the tap itself", "client.tap", back * noise.value / n_modes, back * noise.deviation / n_modes,
            "T_return D / n")  # fmt: skip
        if "net_gain_re" in tap.values:
            re, im = tap.estimate("net_gain_re"), tap.estimate("net_gain_im")
            away = (re.value - 1) ** 2 + im.value**2
            error = 2 * math.hypot((re.value - 1) * re.deviation, im.value * im.deviation)
            add("net gain of the addressed mode", "client.tap", signal * away / n_modes, signal * error / n_modes,
                "2 mu T |t - 1|^2 / n")  # fmt: skip
    if "server.lock" in known:
        left = known["server.lock"].estimate("residual")
        phase("phase lock of the server", "server.lock", left.value, left.deviation / max(left.value, 1e-12), 1.0,
              "2 mu T sigma^2")  # fmt: skip
    trees = [known[name] for name in ("client.interferometer", "client.inverse") if name in known]
    if len(trees) == 2 and "v_pi_phase" in trees[0].values:
        _trees(trees[0], trees[1], signal, n_modes, rows)
    if "server.lo-phase" in known:
        half = known["server.lo-phase"].estimate("v_pi")
        phase("angle between X and P", "server.lo-phase", math.pi / 2 * half.deviation / half.value, 1.0, 0.5,
              "mu T (pi/2 sigma(V_pi)/V_pi)^2")  # fmt: skip
    if "server.modulator" in known:
        modulator = known["server.modulator"]
        angle, balance = modulator.estimate("quadrature_error"), modulator.estimate("imbalance")
        error = math.hypot(angle.deviation, balance.deviation)
        phase("I/Q modulator", "server.modulator", error, 1.0, 0.5, "mu T (sigma(angle)^2 + sigma(imbalance)^2)")
    if "server.shot-noise" in known:
        unit, noise = known["server.shot-noise"].estimate("snu"), known["server.shot-noise"].estimate("noise")
        efficiency = known["server.efficiency"].value("efficiency") if "server.efficiency" in known else 1.0
        floor = (1 + noise.value) * unit.deviation / unit.value / efficiency
        add(UNIT_CAUSE, "server.shot-noise", 0.0, floor, "(1 + v) sigma(SNU)/SNU / efficiency")
    return ErrorBudget(tuple(rows), measured)


def _trees(forward: object, inverse: object, signal: float, n_modes: float, rows: list[BudgetRow]) -> None:
    from labqdl.facts import CalibrationResult

    assert isinstance(forward, CalibrationResult)
    assert isinstance(inverse, CalibrationResult)
    stages = [key.removeprefix("offset_") for key in forward.values if key.startswith("offset_")]
    squares, variances, phases = [], [], []
    for tree in (forward, inverse):
        for stage in stages:
            offset, miss = tree.estimate(f"offset_{stage}"), tree.estimate(f"error_{stage}")
            # What both couplers of an element miss together stays; what is left of the angle is its error.
            squares.append(max(miss.value**2 - miss.deviation**2, 0.0) + offset.deviation**2)
            variances.append(miss.deviation**2 * (miss.value**2 + miss.deviation**2))
        half = tree.estimate("v_pi_phase")
        phases.append((math.pi / math.sqrt(3) * half.deviation / half.value) ** 2)
    angle = math.fsum(squares) / len(squares)
    factor = 4 * signal * (n_modes - 1) / n_modes
    deviation = factor * 2 * math.sqrt(math.fsum(variances)) / len(squares)
    source = "client.interferometer, client.inverse"
    rows.append(
        BudgetRow(
            "couplers of the trees", source, Estimate(factor * angle, deviation, "SNU"), "8 mu T delta^2 (n - 1) / n"
        )
    )
    excess = 2 * signal * math.fsum(phases) / 2
    rows.append(BudgetRow("phase modulators of the trees", source, Estimate(excess, excess, "SNU"), "4 mu T delta^2"))


def budget_waterfall(budget: ErrorBudget, *, ax: Axes | None = None) -> Axes:
    """Causes as bars that stand on each other, the sum, and what was measured with its deviation; mSNU."""
    causes = [(row.cause, row.excess.value, row.excess.deviation) for row in budget.ordered()]
    sums = [None if one is None else (one.value, one.deviation) for one in (budget.expected, budget.measured)]
    assert sums[0] is not None
    return excess_waterfall(causes, sums[0], sums[1], ax=ax)


def largest(budget: ErrorBudget, allowed: float) -> Iterable[BudgetRow]:
    """Causes whose upper limit (two deviations) is above their equal share of an allowed excess, SNU."""
    share = allowed / max(len(budget.rows), 1)
    return (row for row in budget.ordered() if row.excess.value + 2 * row.excess.deviation > share)
