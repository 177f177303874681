"""Theory, symbol level and wire level: emulation and light on a small bench agree with the closed forms."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from labqdl.api.bench import CalibratedBench, Table
from labqdl.api.levels import JOINED, LevelsTable, compare_levels, levels
from labqdl.cli.root import run as command
from labqdl.cli.world import opened_in_process
from labqdl.errors import InputError
from labqdl.facts import Component, Ledger, Owner, Place
from labqdl.facts.operating_point import OperatingPoint, TapSetting
from labqdl.link import EmulatedLink
from labqdl.plans.levels import Answer, LevelFigure, Theory, blocks_for, commissioning_frame, measure, theory
from labqdl.plots import style
from labqdl.plots.levels import level_deviations
from labqdl.rng import Roots
from tests.subsystems.benches import Small, calibrate_truth, find_timing, path_truth, result, small_bench

BOUND = 6.5
"""Standard errors, seeds are fixed: 1e-10 for a right figure, 1e-8 where 128 vectors leave the error uncertain."""
MU = 40.0
TAPS = {"feed-forward": TapSetting.feed_forward(0.7), "amplifier": TapSetting.amplifier(2.0, 0.48)}
SIZES = (1, 2, 8, 32)


def ledger(*, loss: float = 0.7, noise: float = 0.05) -> Ledger:
    return Ledger(
        "levels",
        (
            Component("out", Place.FORWARD, Owner.CHANNEL, transmissivity=loss, phase_noise=0.03),
            Component(
                "client", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=0.9, electronic_noise=noise
            ),
            Component("back", Place.RETURN, Owner.CHANNEL, transmissivity=0.6, excess=0.02),
            Component(
                "server", Place.SERVER_RECEIVER, Owner.SERVER,
                transmissivity=0.85, electronic_noise=0.1, phase_noise=0.02,
            ),
        ),
    )  # fmt: skip


def emulated(world: Ledger, tap: TapSetting, n_modes: int, symbols: int) -> dict[str, LevelFigure]:
    """Figures of an emulation of `world`, measured by somebody who believes in `ledger()`."""
    roots = Roots.from_seed(7)
    frame = commissioning_frame(ledger(), OperatingPoint(MU, tap), n_modes, max(blocks_for(symbols, n_modes), 16))
    return measure(EmulatedLink(world, roots.world), frame, roots.client).figures()


@pytest.mark.parametrize("tap", TAPS)
@pytest.mark.parametrize("n_modes", SIZES)
def test_the_emulation_agrees_with_the_closed_forms(tap: str, n_modes: int) -> None:
    expected = theory(ledger(), TAPS[tap], MU, n_modes)
    found = emulated(ledger(), TAPS[tap], n_modes, 200_000)
    assert ("floor" in found) == (n_modes > 2)
    assert ("amplitude" in found) == (n_modes > 1)
    for key, one in found.items():
        assert abs(Theory(expected[key]).z(one)) < BOUND, (key, expected[key], one)


@pytest.mark.parametrize(
    ("world", "key"),
    [(ledger(loss=0.7 * 1.05**2), "slope"), (ledger(noise=0.2), "outcome variance")],
)
def test_a_planted_error_is_seen(world: Ledger, key: str) -> None:
    """5 % of amplitude; 0.15 SNU of noise at the client's detector, which are 7 % of the outcome's variance."""
    expected = Theory(theory(ledger(), TAPS["amplifier"], MU, 8)[key])
    found = emulated(world, TAPS["amplifier"], 8, 400_000)[key]
    assert abs(expected.z(found)) > BOUND
    assert expected.judge(found) is not Answer.EQUAL


def test_equal_different_and_open() -> None:
    assert Theory(1.0).judge(LevelFigure(1.01, 0.01)) is Answer.EQUAL
    assert Theory(1.0).judge(LevelFigure(1.06, 0.001)) is Answer.DIFFERENT
    assert Theory(1.0).judge(LevelFigure(1.0, 0.04)) is Answer.UNKNOWN
    assert Theory(0.0, scale=1.0).judge(LevelFigure(0.001, 0.01)) is Answer.EQUAL
    assert Theory(1.0).symbols_for(LevelFigure(1.0, 0.05), 1000) == pytest.approx(1000 * 1.645**2)


def _ways(small: Small) -> None:
    """What a ledger takes beside: both ways as the world's light has them, and trees that close."""
    path = path_truth(small)
    small.use(
        result("path.forward", "channel", transmissivity=path.forward),
        result("path.return", "channel", transmissivity=path.back),
        result("server.efficiency", "server", efficiency=path.efficiency),
    )
    for name in ("client.interferometer", "client.inverse"):
        values = dict(small.calibrations[name].values)
        errors = {f"error_{key[7:]}": 0.0 for key in values if key.startswith("offset_")}
        small.use(result(name, "client", **values, **errors))
    now = small.station.clock.wall()
    small.use(*(replace(one, taken=now, valid_for=86_400.0) for one in small.calibrations.values()))


SOAK = {"loopback-1": 10_000_000, "chip-8": 10_000_000, "loop-32": 40_000_000}
"""Verification symbols of the full size; what is open then needs more than a simulated bench sends in a night."""
UNBUDGETED = {"chip-8": {"floor", "excess", "added noise along u", "S"}}
"""Figures that a mesh makes worse and no row of the error budget of a chip tells of yet."""


@pytest.mark.soak
@pytest.mark.parametrize("station", SOAK)
def test_wire_is_equal_to_theory(station: str, tmp_path: Path) -> None:
    """No figure is further off than the margin of 5 % and what the calibrations leave open, at six deviations."""
    table = Table(open=opened_in_process, calibration="full", folder=str(tmp_path))
    found = levels(station, symbols=SOAK[station], seed=1, table=table)
    for key in set(found.figures) - UNBUDGETED.get(station, set()):
        expected, one = found.theory[key], found.levels["wire"][key]
        reach = expected.margin + 6 * float(np.hypot(one.error, expected.deviation))
        assert abs(one.value - expected.value) < reach, (key, expected, one)


@pytest.fixture(scope="module")
def wired() -> Iterator[LevelsTable]:
    with small_bench() as small:
        calibrate_truth(small, full_scale_photons=1000.0, snu_bins=20_000)
        find_timing(small)
        _ways(small)
        bench = CalibratedBench(small.station, "small", small.calibrations)
        yield compare_levels(bench, symbols=10_000, mu=MU, seed=3)


def test_light_on_a_small_bench_is_on_the_curve(wired: LevelsTable) -> None:
    """5 % and five standard errors: calibrations are the truth up to windows and filters, which take some per cent."""
    wire = wired.levels["wire"]
    assert wired.n_modes == 4
    for key in wired.figures:
        expected = wired.theory[key]
        away = abs(wire[key].value - expected.value)
        assert away < 2 * expected.margin + 5 * wire[key].error, (key, expected, wire[key])
    for key in ("slope", "outcome variance", "net gain, real", "net gain, imaginary", "floor", "S"):
        assert wire[key].error < wired.theory[key].margin
    assert wired.symbols["wire"] >= 10_000
    assert wired.incidents == 0


def test_the_table_says_what_it_is(wired: LevelsTable, tmp_path: Path) -> None:
    from rich.console import Console

    console = Console(width=120, record=True, file=io.StringIO())
    console.print(wired)
    text = console.export_text()
    assert "Joined view for commissioning" in text
    assert "Cov(outcome, residual)" in text
    document = json.loads(json.dumps(wired.to_json(), allow_nan=False))
    assert document["view"] == JOINED
    assert set(document["figures"]) == set(wired.figures)
    one = document["figures"]["slope"]
    assert one["wire"]["z"] == pytest.approx(
        (one["wire"]["value"] - one["theory"]["value"]) / np.hypot(one["wire"]["error"], one["theory"]["deviation"])
    )
    file = style.save(level_deviations(document), tmp_path / "levels.png")
    assert file.stat().st_size > 5000


def test_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="0 symbols"):
        levels("loop-32", symbols=0)
    assert command(["levels", "no-such-station"]) == 2
    assert "no-such-station" in capsys.readouterr().err
    assert command(["levels", "loop-32", "--calibration", "never"]) == 2
