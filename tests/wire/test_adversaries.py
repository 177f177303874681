"""Cheats that stand in the world of loop-32, between its fibres: found through the wire, as often as theory says.

The honest table is calibrated; the same table with one more part on the light's way then does the run. The server
sees what its receiver records, and nothing of the part. Expected, by hand before the code:

    cheat                                       test that must fail    why
    tap of 35 % on the way out                  gain                   amplitude sqrt(0.65)
    all light heterodyned and sent again        noise                  2 SNU on the way out, 0.46 at the server
    the client's tap at 14 times its gain       noise                  0.5 SNU a mode, all of it along the data
    noise of 2 SNU on the way back              noise                  1.2 SNU at the server
    the same, and dark slots have it as well    noise                  the own unit never crossed the cheat
    the same, unit from slots that crossed it   (none)                 the unit is as large as the noise: why it is own
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from labqdl.api.bench import CalibratedBench
from labqdl.facts import (
    Activation,
    Budgets,
    FrameDescription,
    LayerFrame,
    Ledger,
    RowStatistics,
    TapSetting,
    VerdictKind,
    VerificationPlan,
)
from labqdl.rng import Roots
from labqdl.security.checks import gain_check, noise_check
from labqdl.security.expected import HonestLayer, LayerLight, Totals, honest_layers
from labqdl.security.sample_size import Alternative
from labqdl.security.sample_size import Test as Check
from labqdl.subsystems import BenchLink
from tests.subsystems.benches import Small, small_bench
from tests.wire.benches import QUIET, performed

OUT, BACK = ("fibre_out.output", "gate_c"), ("fibre_back.output", "mpc_s")
"""Wires in which a cheat may be put."""
ALPHA = 1e-3
"""One-sided false-alarm rate of the counted tests."""


def inserted(text: str, wire: tuple[str, str], *parts: tuple[str, str, dict[str, float]]) -> str:
    """A station file with parts (name, kind, figures) in one of its wires, in this order."""
    source, target = wire
    found = f'from = "{source}"\nto = "{target}"\n'
    assert text.count(found) == 1
    wires, added = [], ""
    for name, kind, figures in parts:
        wires.append(f'from = "{source}"\nto = "{name}.input"\n')
        source = f"{name}.output"
        lines = "".join(f"{key} = {value!r}\n" for key, value in figures.items())
        added += f'\n[components.{name}]\nkind = "{kind}"\n\n[simulation.parts.{name}]\n{lines}'
    wires.append(f'from = "{source}"\nto = "{target}"\n')
    return text.replace(found, "\n[[wiring]]\n".join(wires)) + added


@contextmanager
def cheated(loop: Small, wire: tuple[str, str], *parts: tuple[str, str, dict[str, float]]) -> Iterator[Small]:
    """The table with a cheat, and what was known of it without."""
    with small_bench(inserted(QUIET, wire, *parts) if parts else QUIET) as small:
        small.use(*loop.calibrations.values())
        yield small


NOISE = ("thief", "cloner", {"noise": 2.0})
SPIKE = ("spiker", "spiker", {"noise": 2.0, "threshold": 3e7})
CHEATS: list[tuple[str, tuple[str, str], tuple[Any, ...], dict[str, Any], str]] = [
    ("tap", OUT, (("thief", "passive-tap", {"fraction": 0.35}),), {}, "gain"),
    ("resender", OUT, (("thief", "interceptor", {}),), {"images": 3}, "noise"),
    ("noise", BACK, (NOISE,), {}, "noise"),
    ("spiked slots", BACK, (NOISE, SPIKE), {}, "noise"),
    ("spiked slots, crossed unit", BACK, (NOISE, SPIKE), {"shot_noise": "crossed"}, ""),
]


SESSION: dict[str, Any] = {"images": 1, "vacuum_slots": 128}
"""So much vacuum that the server knows its unit to 2 %: with little, few symbols find nothing."""
SOAK = {"resender", "noise", "spiked slots, crossed unit"}


@pytest.mark.parametrize(
    ("cheat", "wire", "parts", "settings", "test"),
    [pytest.param(*one, id=one[0], marks=[pytest.mark.soak] if one[0] in SOAK else []) for one in CHEATS],
)
def test_a_run_with_a_cheat_is_aborted(
    loop: Small,
    tmp_path: Path,
    cheat: str,
    wire: tuple[str, str],
    parts: tuple[Any, ...],
    settings: dict[str, Any],
    test: str,
) -> None:
    with cheated(loop, wire, *parts) as small:
        found = performed(small, tmp_path, **{**SESSION, **settings})
    assert not found.incidents
    assert found.lit == 0.0
    if test:
        assert found.verdict is VerdictKind.ABORT
        assert test in found.failed
    else:
        assert "noise" not in found.failed, "slots that crossed the cheat hide its noise"


@pytest.mark.soak
def test_a_client_that_turns_its_tap_up_is_found(loop: Small, tmp_path: Path) -> None:
    with cheated(loop, OUT) as small:
        assert small.bench.world is not None
        part = small.bench.world.parts["tap"]
        part.strike("gain_per_volt", 14.0 * part.truth["gain_per_volt"])
        found = performed(small, tmp_path, **SESSION)
    assert found.verdict is VerdictKind.ABORT
    assert "noise" in found.failed


# --- How often: rows of a block are trials ----------------------------------------------------------------------------

MU = 4.0
TOLERANCES = (0.02, 0.02, 0.02)
"""Of amplitude (relative), phase (rad) and noise (SNU): as a good calibration leaves them."""


@dataclass(frozen=True)
class Counted:
    """A cheat in some strength, the test that finds it, and its symbols a trial: images times modes."""

    part: tuple[str, str, dict[str, float]]
    test: Check
    images: int

    def predicted(self, amplitude: float, floor: float, symbols: int) -> float:
        """Power by theory, one-sided at `ALPHA`, beyond what the plan tolerates."""
        gain, _, noise = TOLERANCES
        _, kind, figures = self.part
        if kind == "passive-tap":
            effect = amplitude * (1.0 - math.sqrt(1.0 - figures["fraction"]) - gain)
            return Alternative(Check.GAIN, effect, variance=floor, light=2 * MU).power(symbols, ALPHA)
        added = figures["noise"] if kind == "cloner" else 2.0
        ratio = (floor + added * amplitude**2) / (floor + noise)
        return Alternative(Check.NOISE, ratio).power(symbols, ALPHA)


COUNTED = [
    Counted(("thief", "passive-tap", {"fraction": 0.3}), Check.GAIN, 16),
    Counted(("thief", "cloner", {"noise": 1.5}), Check.NOISE, 8),
    Counted(("thief", "interceptor", {}), Check.NOISE, 4),
]


AT_ONCE = 64
"""Rows that are sent as one layer."""


def rows_of(small: Small, rows: int, images: int) -> list[RowStatistics]:
    """Statistics of random rows of equal light, each with so many images, against no expectation."""
    return [_block(small, min(AT_ONCE, rows - first), images, first) for first in range(0, rows, AT_ONCE)]


def _block(small: Small, rows: int, images: int, seed: int) -> RowStatistics:
    modes = small.server.frame.n_modes
    rng = np.random.default_rng([11, seed])
    pattern = rng.random(modes) < 0.5
    q = rng.standard_normal((rows, 2 * modes))
    measured = q[:, 2 * np.arange(modes) + pattern]
    q *= (math.sqrt(2 * MU * modes) / np.linalg.norm(measured, axis=1))[:, None]
    x = rng.standard_normal((images, 2 * modes))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    link = BenchLink(small.server, small.client, Roots.from_seed(seed).server)
    link.prepare(_frame(rows, images, modes, Ledger("none"), VerificationPlan(counting_fraction=0.0)))
    link.server_port.send_rows(0, 0, q, images)
    link.server_port.set_receiver(0, 0, pattern, np.zeros(rows, np.bool_), 0.0)
    link.client_port.set_data(0, 0, x)
    link.transmit(0, 0)
    light = link.server_port.returned(0, 0).statistics
    link.close()
    assert not link.incidents
    return light


def _frame(rows: int, images: int, modes: int, ledger: Ledger, plan: VerificationPlan) -> FrameDescription:
    layer = LayerFrame(rows, 2 * modes, False, MU, None, Activation())
    tap = TapSetting.feed_forward(0.9)
    return FrameDescription("rows", (layer,), images, images, tap, ledger, plan, Budgets())


def expectation(small: Small, amplitude: float, floor: float) -> HonestLayer:
    """The server's expectation of one row: the amplitude and the noise that the honest table has."""
    gain, phase, noise = TOLERANCES
    plan = VerificationPlan(counting_fraction=0.0, gain_tolerance=gain, phase_tolerance=phase, noise_tolerance=noise)
    modes = small.server.frame.n_modes
    path = CalibratedBench(small.station, "loop-32", small.calibrations).light_path(MU)
    (layer,) = honest_layers(_frame(1, 1, modes, path.ledger, plan), [LayerLight(alignment=1 / (2 * modes))])
    return replace(
        layer, amplitude=amplitude, floor=floor + noise, floor_least=floor, spike_x=0.0, spike_p=0.0, mismatch=0.0,
        phase=0.0, phase_least=0.0, flutter=0.0, droop=0.0, phase_tolerance=0.0,
    )  # fmt: skip


def found_in(layer: HonestLayer, blocks: Sequence[RowStatistics], test: Check) -> int:
    """In how many rows a test finds something, one-sided at `ALPHA`."""
    return sum(_found_in(layer, light, test) for light in blocks)


def _found_in(layer: HonestLayer, light: RowStatistics, test: Check) -> int:
    a, hits = layer.amplitude, 0
    for qq, qr, rr, jj, residuals in zip(
        light.sum_qq, light.sum_qr, light.sum_rr, light.sum_jj, light.residuals, strict=True
    ):
        totals = Totals(
            qq=float(qq), qr=float(qr - a * qq), rr=float(rr - 2 * a * qr + a * a * qq), jj=float(jj),
            energy=2.0 * float(qq), residuals=int(residuals), homodyned=light.images, images=light.images,
        )  # fmt: skip
        check = gain_check if test is Check.GAIN else noise_check
        hits += check([layer], [totals], ALPHA).p_value <= 2 * ALPHA
    return hits


def counted(loop: Small, rows: int, cheats: Sequence[Counted]) -> list[tuple[str, int, float, int]]:
    """Of these cheats: words, symbols of a trial, power by theory, and trials that found it of so many rows."""
    found = []
    for images in sorted({one.images for one in cheats}):
        with cheated(loop, OUT) as small:
            honest = rows_of(small, rows, images)
            qq, qr, rr = (sum(float(getattr(s, f"sum_{key}").sum()) for s in honest) for key in ("qq", "qr", "rr"))
            amplitude = qr / qq
            floor = (rr - amplitude * qr) / sum(int(s.residuals.sum()) for s in honest)
            layer = expectation(small, amplitude, floor)
            for test in (Check.GAIN, Check.NOISE):
                found.append((f"nobody, {test}", images, ALPHA, found_in(layer, honest, test)))
        for one in cheats:
            if one.images != images:
                continue
            with cheated(loop, OUT, one.part) as small:
                light = rows_of(small, rows, images)
            symbols = int(light[0].residuals[0])
            words = " ".join([one.part[1], *(f"{value:g}" for value in one.part[2].values())])
            predicted = one.predicted(amplitude, floor, symbols)
            found.append((f"{words}, {one.test}", symbols, predicted, found_in(layer, light, one.test)))
    return found


def agree(found: list[tuple[str, int, float, int]], rows: int, slack: float) -> None:
    """Counted power lies where theory has it: within `slack`, and what chance adds at 1e-7."""
    for words, symbols, power, hits in found:
        print(f"{words:28} {symbols:5} symbols: theory {power:.4f}, counted {hits / rows:.4f} of {rows}")
    for words, _, power, hits in found:
        if words.startswith("nobody"):
            assert hits <= stats.binom.isf(1e-7, rows, 2 * ALPHA), (words, hits)
            continue
        low, high = max(power - slack, 0.0), min(power + slack, 1.0)
        assert stats.binom.ppf(1e-7, rows, low) <= hits <= stats.binom.isf(1e-7, rows, high), (words, power, hits)


def test_a_few_rows_find_cheats_as_often_as_theory_says(loop: Small) -> None:
    agree(counted(loop, 48, COUNTED[-1:]), 48, 0.1)


@pytest.mark.soak
def test_cheats_are_found_as_often_as_theory_says(loop: Small) -> None:
    agree(counted(loop, 512, COUNTED), 512, 0.08)
