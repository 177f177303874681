"""The edges of acceptance against the tests themselves: just inside passes, just outside fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from labqdl.facts import Ledger, TestResult
from labqdl.security.acceptance import accepted_range
from labqdl.security.checks import (
    count_check,
    cross_use_check,
    direction_check,
    gain_check,
    noise_check,
    phase_check,
)
from labqdl.security.cross_use import CrossUseTotals
from labqdl.security.expected import HonestLayer, Totals, honest_layers
from labqdl.security.sampled import SampledTotals
from tests.security.light import BENCH, IDEAL, make_frame

SHARE = 1e-7
INSIDE = 1 - 1e-3


def setting(ledger: Ledger) -> tuple[HonestLayer, Totals]:
    (layer,) = honest_layers(make_frame(ledger=ledger, shapes=((40, 64),), mu=3.0))
    pairs, modes = 30 * 64, layer.n_modes
    energy = pairs * layer.energy / layer.rows
    homodyned = Totals(qq=energy / 2, jj=energy / 2, energy=energy, residuals=pairs * modes, homodyned=pairs, images=64)
    counted = Totals(signal=0.25 * energy / 3, slots=pairs // 3 * modes, counted=pairs // 3)
    return layer, layer.expected(Totals.sum((homodyned, counted)))


Judge = Callable[[float], TestResult]


def judges(layer: HonestLayer, totals: Totals) -> dict[str, Judge]:
    """Each test as a function of its statistic."""
    uses = CrossUseTotals(weights=2000, uses=24.0, images=64, spikes_most=40, spikes_least=30.0, energy=layer.energy)
    sampled = SampledTotals(degrees=300, pairs=30, images=1, light=10.0)
    scale = layer.amplitude

    def gain(value: float) -> TestResult:
        return gain_check([layer], [replace(totals, qr=(value - 1) * totals.qq * scale)], SHARE)

    def phase(value: float) -> TestResult:
        return phase_check([layer], [replace(totals, jr=value * totals.jj * scale)], SHARE)

    def noise(value: float) -> TestResult:
        return noise_check([layer], [replace(totals, rr=value * totals.residuals)], SHARE)

    def count(value: float) -> TestResult:
        return count_check([layer], [replace(totals, photons=round(value * totals.slots))], SHARE)

    def repeated(value: float) -> TestResult:
        return cross_use_check([layer], [totals], [replace(uses, sum_squares=value * uses.weights)], SHARE)

    def direction(value: float) -> TestResult:
        return direction_check([layer], [replace(sampled, energy=value * sampled.degrees)], SHARE)

    return {
        "gain": gain,
        "phase": phase,
        "noise": noise,
        "count": count,
        "cross-use": repeated,
        "direction": direction,
    }


@pytest.mark.parametrize("ledger", [IDEAL, BENCH], ids=lambda ledger: ledger.name)
@pytest.mark.parametrize("name", ["gain", "phase", "noise", "count", "cross-use", "direction"])
def test_just_inside_of_the_edges_passes_and_just_outside_fails(name: str, ledger: Ledger) -> None:
    layer, totals = setting(ledger)
    judge = judges(layer, totals)[name]
    uses = CrossUseTotals(weights=2000, uses=24.0, images=64, spikes_most=40, spikes_least=30.0, energy=layer.energy)
    sampled = SampledTotals(degrees=300, pairs=30, images=1, light=10.0)
    edges = accepted_range(name, [layer], [totals], SHARE, cross_use=[uses], sampled=[sampled])
    assert edges is not None
    low, high = edges
    honest = judge(low).expected
    assert low < honest < high
    step = 1 / totals.slots if name == "count" else 0.0
    for edge in edges:
        if edge == 0:
            continue
        outward = edge - honest
        assert judge(honest + INSIDE * outward).passed
        assert not judge(honest + outward * (1 + 2e-3) + (1.1 * step if outward > 0 else -1.1 * step)).passed


def test_the_edges_close_in_as_light_comes_in() -> None:
    layer, totals = setting(BENCH)
    more = layer.expected(totals, 16.0)
    for name in ("gain", "phase", "noise", "count"):
        few, many = (accepted_range(name, [layer], [part], SHARE) for part in (totals, more))
        assert few is not None
        assert many is not None
        assert (few[1] - few[0]) / (many[1] - many[0]) == pytest.approx(4.0, rel=0.2)


def test_a_handful_of_photons_may_be_none() -> None:
    """Where no photon at all is commoner than the alarm, the lower edge of the count is 0."""
    layer, _ = setting(IDEAL)
    few = layer.expected(Totals(signal=1e-3, slots=40, counted=2))
    edges = accepted_range("count", [layer], [few], SHARE)
    assert edges is not None
    assert edges[0] == 0.0
    assert edges[1] > 0.0


def test_without_data_there_are_no_edges() -> None:
    layer, _ = setting(IDEAL)
    for name in ("gain", "phase", "noise", "count", "cross-use", "direction", "spectral"):
        assert accepted_range(name, [layer], [Totals()], SHARE) is None
