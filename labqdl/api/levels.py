"""A station on three levels: theory and emulation by the ledger of its calibrations, and the light on its wires.

A joined view for commissioning: rows and data are known here, which no session between two parties allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from labqdl.api.bench import CalibratedBench, Table, calibrated
from labqdl.api.light_paths import calibrated_path
from labqdl.api.wire_accuracy import AccuracyPoint, wire_accuracy
from labqdl.errors import InputError
from labqdl.facts import Ledger
from labqdl.facts.calibration import CalibrationSet
from labqdl.facts.operating_point import OperatingPoint
from labqdl.link import EmulatedLink
from labqdl.plans.levels import (
    SCALES,
    UNITS,
    WORDS,
    LevelFigure,
    Theory,
    blocks_for,
    commissioning_frame,
    measure,
    theory,
)
from labqdl.rng import Roots

DEFAULT_SYMBOLS = 200_000
"""Verification symbols of each level where nobody names any: half a minute of a simulated wire."""
JOINED = (
    "Joined view for commissioning: the same person knows rows and data here. In a session the server knows the rows "
    "and the client the data, and neither can make this table."
)
LEVELS = ("symbol", "wire")
_NUDGE = 0.5
"""Standard deviations by which a calibrated value is moved to see what follows from it."""
_UNITS_OF_SHOT_NOISE: Mapping[str, Mapping[str, float]] = {
    "client.shot-noise": {"outcome variance": -1.0, "Cov(outcome, residual)": -0.5},
    "server.shot-noise": {
        "vacuum": -1.0, "floor": -1.0, "added noise along u": -1.0, "excess": -1.0, "Cov(outcome, residual)": -0.5,
    },
}  # fmt: skip
"""Powers of a receiver's shot-noise unit in the figures that are measured with it."""


@dataclass(frozen=True, eq=False)
class LevelsTable:
    """Figures of all levels.

    Attributes
    ----------
    station, n_modes, point:
        What was measured, and with which light.
    theory:
        Closed forms with the deviations of the calibrations.
    levels:
        "symbol" and "wire", figures by their names.
    symbols:
        Verification symbols of each level.
    marks:
        Why nothing of it is certified; empty otherwise.
    incidents:
        Shots that were not used.
    accuracy:
        Accuracy of the shipped model at several F^2, where it was asked for.
    """

    station: str
    n_modes: int
    point: OperatingPoint
    theory: Mapping[str, Theory]
    levels: Mapping[str, Mapping[str, LevelFigure]]
    symbols: Mapping[str, int]
    marks: tuple[str, ...] = ()
    incidents: int = 0
    accuracy: tuple[AccuracyPoint, ...] = ()

    @property
    def figures(self) -> tuple[str, ...]:
        """Figures that were measured, in order."""
        return tuple(key for key in WORDS if all(key in level for level in self.levels.values()))

    def to_json(self) -> dict[str, Any]:
        """As `labqdl levels --json` prints it."""
        return {
            "schema": "labqdl.levels/1",
            "view": JOINED,
            "station": self.station,
            "n_modes": self.n_modes,
            "mu": self.point.mu,
            "tap": self.point.tap.kind.value,
            "uncertified": list(self.marks),
            "shots_not_used": self.incidents,
            "symbols": dict(self.symbols),
            "figures": {key: self._figure(key) for key in self.figures},
            "accuracy": [point.to_json() for point in self.accuracy],
        }

    def _figure(self, key: str) -> dict[str, Any]:
        expected = self.theory[key]
        return {
            "unit": UNITS.get(key, ""),
            "meaning": WORDS[key],
            "theory": {"value": expected.value, "deviation": expected.deviation, "margin": expected.margin},
            **{
                name: {
                    "value": level[key].value,
                    "error": level[key].error,
                    "z": expected.z(level[key]) if name == "wire" else self.symbol_z(key),
                    "equivalence": expected.equivalence(level[key]),
                    "answer": expected.judge(level[key]).value,
                    "symbols_for_equivalence": expected.symbols_for(level[key], self.symbols[name]),
                }
                for name, level in self.levels.items()
            },
        }

    def symbol_z(self, key: str) -> float:
        """Deviation of the emulation, which has the ledger's very figures: calibrations make no difference to it."""
        return Theory(self.theory[key].value).z(self.levels["symbol"][key])

    def __rich__(self) -> Any:
        from rich import box
        from rich.console import Group
        from rich.padding import Padding
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid(box=box.SIMPLE_HEAD, title=self._title(), title_justify="left")
        for heading in ("", "theory", "symbol level", "z", "5 %", "wire level", "z", "5 %"):
            grid.add_column(heading, justify="right" if heading else "left", no_wrap=True)
        for key in self.figures:
            expected = self.theory[key]
            cells = [_number(expected.value, expected.deviation)]
            for name in LEVELS:
                one = self.levels[name][key]
                z = expected.z(one) if name == "wire" else self.symbol_z(key)
                answer = expected.judge(one).value
                cells += [_number(one.value, one.error), f"{z:+.1f}".replace("-", "−"), answer]
            unit = UNITS.get(key, "")
            grid.add_row(f"{key} ({unit})" if unit else key, *cells)
        notes = [JOINED, _EXPLAINED, *self._open(), *(f"UNCERTIFIED: {mark}" for mark in self.marks)]
        if self.incidents:
            notes.append(f"Shots that were not used: {self.incidents}.")
        parts = [grid, self._accuracy()] if self.accuracy else [grid]
        return Group(*parts, *(Padding(Text(note), (0, 0, 0, 2)) for note in notes))

    def _accuracy(self) -> Any:
        from rich import box
        from rich.table import Table as Grid

        grid = Grid(box=box.SIMPLE_HEAD, title="Accuracy, the same images at each point", title_justify="left")
        for heading in ("F²", "mu", "images", "theory", "wire", "z"):
            grid.add_column(heading, justify="right")
        for point in self.accuracy:
            grid.add_row(
                f"{point.f2_db:g} dB".replace("-", "−"),
                f"{point.mu:.4g}",
                str(point.images),
                f"{100 * point.theory:.1f} %",
                f"{100 * point.wire:.1f} %",
                f"{point.z:+.1f}".replace("-", "−"),
            )
        return grid

    def _title(self) -> str:
        words = "feed-forward tap" if self.point.tap.kind.value == "feed-forward" else "amplifier and tap"
        return (
            f"{self.station}: {self.n_modes} mode{'s' if self.n_modes > 1 else ''}, {words}, mu = {self.point.mu:.4g}, "
            f"{self.symbols['wire']:,} verification symbols"
        )

    def _open(self) -> list[str]:
        wanting = {
            key: self.theory[key].symbols_for(self.levels["wire"][key], self.symbols["wire"])
            for key in self.figures
            if self.theory[key].judge(self.levels["wire"][key]).value == "open"
        }
        if not wanting:
            return []
        words = ", ".join(f"{key} {symbols:.2g}" for key, symbols in wanting.items())
        return [f"Open: too few symbols for an answer. Where a figure is as theory says, enough are about: {words}."]


_EXPLAINED = (
    "z: deviation from theory in standard deviations, at the wire those of the calibrations included. 5 %: two "
    "one-sided tests, each at a level of 5 %, that a figure is less than 5 % off theory (0.05 where theory is 0)."
)


def levels(
    station: str,
    *,
    profile: str | None = None,
    symbols: int = DEFAULT_SYMBOLS,
    mu: float | None = None,
    seed: int | None = None,
    accuracy: int = 0,
    table: Table | None = None,
    on_block: Callable[[int, int], None] | None = None,
) -> LevelsTable:
    """Compare theory, symbol level and wire level of a station.

    Parameters
    ----------
    station, profile:
        As of a run.
    symbols:
        Verification symbols of each level, at least.
    mu:
        Photons a mode; the station's usual light where None.
    seed:
        Of rows, directions and patterns; system entropy where None.
    accuracy:
        Images of the shipped model's data that are classified at each of five F^2 as well; 0: none.
    table:
        How the station is opened and calibrated.
    on_block:
        Told how many blocks the wire has done.

    Raises
    ------
    InputError
        For a mistake in what was given, and a calibration that is missing, failed or stale.
    BenchStopped
        Where a part of the bench stands in the way.
    """
    if symbols < 1:
        raise InputError(f"{symbols} symbols", source="--symbols", expected="1 or more")
    table = Table() if table is None else table
    with table.open(station, profile, arm=table.arm) as opened:
        bench = calibrated(
            opened,
            station,
            mode=table.calibration,
            folder=table.folder,
            uncertified=table.uncertified,
            told=table.told,
        )
        found = compare_levels(bench, symbols=symbols, mu=mu, seed=seed, on_block=on_block)
        if not accuracy:
            return found
        points = wire_accuracy(bench, accuracy, seed=1 if seed is None else seed, on_point=on_block)
        return replace(found, accuracy=points)


def compare_levels(
    bench: CalibratedBench,
    *,
    symbols: int,
    mu: float | None = None,
    seed: int | None = None,
    on_block: Callable[[int, int], None] | None = None,
) -> LevelsTable:
    """As `levels`, of a bench that is open and calibrated."""
    roots = Roots.from_system() if seed is None else Roots.from_seed(seed)
    path = bench.light_path(mu)
    assert path.point is not None
    assert path.tile is not None
    point = path.point if mu is None else OperatingPoint(mu, path.point.tap)
    frame = commissioning_frame(path.ledger, point, path.tile, blocks_for(symbols, path.tile))
    incidents: list[object] = []
    wire = measure(bench.link(roots.server, incidents.append), frame, roots.client, on_block)
    symbol = measure(EmulatedLink(path.ledger, roots.world), frame, roots.client)
    return LevelsTable(
        station=path.name,
        n_modes=path.tile,
        point=point,
        theory=calibrated_theory(bench, path.ledger, point, path.tile),
        levels={"symbol": symbol.figures(), "wire": wire.figures()},
        symbols={"symbol": symbol.symbols, "wire": wire.symbols},
        marks=bench.marks,
        incidents=len(incidents),
    )


def calibrated_theory(bench: CalibratedBench, ledger: Ledger, point: OperatingPoint, n_modes: int) -> dict[str, Theory]:
    """Closed forms, with what the covariances of the calibrations leave open: to first order, name by name."""
    from labqdl.station.light_path import held_phase

    file, now, known = bench.station.file, bench.station.clock.wall(), bench.calibrations
    expected = theory(ledger, point.tap, point.mu, n_modes)
    variances = dict.fromkeys(expected, 0.0)
    # What the server subtracts is the product of what both ways' calibrations found, photons and all: only the slope
    # of the way back counts. The angle of its lock is measured in the same way.
    slope, angle = known.get("path.return"), known.get("server.lock")
    if slope is not None and {"slope", "photons"} <= slope.values.keys():
        parts = [slope.estimate(key).deviation / slope.estimate(key).value for key in ("slope", "photons")]
        variances["amplitude"] = max(parts[0] ** 2 - 0.25 * parts[1] ** 2, 0.0)
    if angle is not None and "angle" in angle.values:
        variances["phase"] = held_phase(angle) ** 2
        if n_modes == 1:
            variances["net gain, imaginary"] = variances["phase"]
    if n_modes == 1:
        variances["net gain, real"] = variances["amplitude"]
    elif "client.tap" in known and {"net_gain_re", "net_gain_im"} <= known["client.tap"].values.keys():
        for figure, key in (("net gain, real", "net_gain_re"), ("net gain, imaginary", "net_gain_im")):
            one = known["client.tap"].estimate(key)
            variances[figure] = one.deviation**2 + (one.value - expected[figure]) ** 2

    def at(calibrations: CalibrationSet) -> dict[str, float]:
        moved = calibrated_path(file, bench.source, calibrations, now, instruments=True, mu=point.mu)
        assert moved.point is not None
        return theory(moved.ledger, moved.point.tap, point.mu, n_modes)

    for name, result in known.items():
        deviations = np.sqrt(np.diag(result.covariance))
        slopes = np.zeros((len(expected), len(deviations)))
        for place, (key, deviation) in enumerate(zip(result.values, deviations, strict=True)):
            if not deviation > 0:
                continue
            step = _NUDGE * float(deviation)
            values = {**result.values, key: result.values[key] + step}
            try:
                moved = at(known.with_result(replace(result, values=values)))
            except (InputError, ValueError):  # no light path has such a value
                continue
            slopes[:, place] = [(moved[figure] - expected[figure]) / step for figure in expected]
        for row, figure in zip(slopes, expected, strict=True):
            variances[figure] += float(row @ result.covariance @ row)
        for figure, power in _UNITS_OF_SHOT_NOISE.get(name, {}).items():
            unit = result.estimate("snu")
            variances[figure] += (power * expected[figure] * unit.deviation / unit.value) ** 2
    return {
        figure: Theory(value, math.sqrt(max(variances[figure], 0.0)), SCALES.get(figure))
        for figure, value in expected.items()
    }


def _number(value: float, error: float) -> str:
    """A value with its error in units of the last digits: 0.7087(31)."""
    if not error > 0:
        return f"{value:.5g}".replace("-", "−")
    places = max(0, min(7, 1 - math.floor(math.log10(error))))
    digits = f"{error * 10**places:.0f}" if error < 1 else f"{error:.{places}f}"
    return f"{value:.{places}f}({digits})".replace("-", "−")
