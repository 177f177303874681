"""Facts: ledgers add up, frames have one digest, bounds cannot be shown bare."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.facts import (
    Activation,
    Bound,
    Budgets,
    Component,
    FrameDescription,
    LayerFrame,
    LeakageReport,
    Ledger,
    OperatingPoint,
    Owner,
    Place,
    Quantity,
    TapSetting,
    VerificationPlan,
)

BOUND = Bound(Quantity.WEIGHTS, "labqdl", 0.04, 0.08, 1, None, 0, ("collective Gaussian attack",), ("ideal parts",))


def ledger() -> Ledger:
    return Ledger(
        "test",
        (
            Component("fibre out", Place.FORWARD, Owner.CHANNEL, transmissivity=0.5, excess=0.01, phase_noise=0.003),
            Component("interferometer", Place.CLIENT_IN, Owner.CLIENT, transmissivity=0.8),
            Component("amplifier", Place.TAP, Owner.CLIENT, n_sp=1.3, excess=0.002),
            Component(
                "client's receiver", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=0.9, electronic_noise=0.05
            ),
            Component("fibre back", Place.RETURN, Owner.CHANNEL, transmissivity=0.4, phase_noise=0.004),
            Component(
                "server's receiver", Place.SERVER_RECEIVER, Owner.SERVER, transmissivity=0.7, electronic_noise=0.1
            ),
            Component(
                "counter", Place.SERVER_COUNTER, Owner.SERVER, transmissivity=0.6, dark_counts=1e-6, extinction=1e-5
            ),
        ),
    )


def test_ledger_adds_up() -> None:
    path = ledger()
    assert path.forward == pytest.approx(0.4)
    assert path.back == pytest.approx(0.4)
    assert path.total == pytest.approx(0.16)
    # 0.01 SNU behind the outgoing fibre passes 0.8, then 0.4; 0.002 at the tap passes 0.4.
    assert path.technical_excess == pytest.approx(0.01 * 0.8 * 0.4 + 0.002 * 0.4)
    assert path.total_phase_noise == pytest.approx(0.005)
    assert path.forward_phase_noise == pytest.approx(0.003)
    assert (path.n_sp, path.client_noise, path.server_noise) == (1.3, 0.05, 0.1)
    assert (path.client_efficiency, path.server_efficiency, path.counter_efficiency) == (0.9, 0.7, 0.6)


def test_a_component_made_ideal_changes_only_itself() -> None:
    path = ledger().without("fibre out")
    assert path.forward == pytest.approx(0.8)
    assert path.back == pytest.approx(0.4)
    assert Ledger("empty").without("nothing") == Ledger("empty")


def test_an_empty_ledger_is_ideal() -> None:
    path = Ledger("ideal")
    assert path.total == path.client_efficiency == path.server_efficiency == path.n_sp == 1.0
    assert path.technical_excess == path.total_phase_noise == 0.0
    assert path.calibrations == ("ideal parts",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"transmissivity": 1.2}, "transmissivity must be between 0 and 1"),
        ({"transmissivity": 0.0}, "no light would pass"),
        ({"transmissivity": math.nan}, "transmissivity"),
        ({"excess": -0.1}, "excess must be >= 0"),
        ({"n_sp": 0.9}, "n_sp must be >= 1"),
        ({"n_sp": 1.5}, "belongs to the gain-and-tap"),
        ({"electronic_noise": 0.1}, "belongs to a receiver"),
        ({"dark_counts": 0.1}, "belong to the counter"),
        ({"owner": Owner.CLIENT, "trusted": True}, "cannot trust"),
        ({"place": Place.SERVER_RECEIVER, "excess": 0.1}, "electronic_noise, not excess"),
        ({"place": Place.TAP, "transmissivity": 0.9}, "belongs to 'client-in' or 'client-out'"),
    ],
)
def test_impossible_components_are_refused(changes: dict[str, object], words: str) -> None:
    part = Component("fibre", Place.FORWARD, Owner.CHANNEL)
    with pytest.raises(ValueError, match=words):
        replace(part, **changes)  # type: ignore[arg-type]


def test_names_are_unique() -> None:
    part = Component("fibre", Place.FORWARD, Owner.CHANNEL)
    with pytest.raises(ValueError, match="two components"):
        Ledger("x", (part, part))


def frame(mu: float = 4.0) -> FrameDescription:
    layers = (
        LayerFrame(784, 784, False, mu, None, Activation()),
        LayerFrame(10, 784, False, mu, None, Activation()),
    )
    return FrameDescription(
        "s", layers, 130, 64, TapSetting.amplifier(2.0), Ledger("ideal"), VerificationPlan(), Budgets()
    )


def test_frame_counts() -> None:
    agreed = frame()
    assert agreed.symbols_per_image == 311_248  # physics P2.4
    assert agreed.n_blocks == 3
    assert list(agreed.block_images(2)) == [128, 129]
    with pytest.raises(IndexError):
        agreed.block_images(3)


def test_digest_sees_every_change() -> None:
    agreed = frame()
    assert agreed.digest == frame().digest
    others = [
        frame(4.000000001),
        replace(agreed, images=131),
        replace(agreed, plan=VerificationPlan(alpha=1e-5)),
        replace(agreed, budgets=Budgets(bits_per_weight=0.2)),
        replace(agreed, tap=TapSetting.feed_forward(0.5)),
        replace(agreed, ledger=ledger()),
    ]
    assert len({agreed.digest, *(other.digest for other in others)}) == len(others) + 1


def test_layers_must_fit() -> None:
    first = LayerFrame(10, 4, False, 1.0, None, Activation())
    with pytest.raises(ValueError, match="takes 11 features"):
        replace(frame(), layers=(first, LayerFrame(3, 11, False, 1.0, None, Activation())))


@given(st.integers(1, 2000), st.booleans())
def test_rows_are_padded_to_even(features: int, bias: bool) -> None:
    layer = LayerFrame(3, features, bias, 1.0, None, Activation())
    assert layer.n_weights % 2 == 0
    assert 0 <= layer.n_weights - features - bias <= 1
    assert layer.n_modes * 2 == layer.n_weights


def test_a_bound_cannot_be_formatted_bare() -> None:
    text = f"{BOUND}"
    for part in ("0.04", "labqdl", "asymptotic", "collective Gaussian attack", "ideal parts", "one use"):
        assert part in text
    with pytest.raises(ValueError, match="not a bare number"):
        f"{BOUND:.3f}"


def test_a_certified_bound_shows_confidence_and_samples() -> None:
    text = str(replace(BOUND, confidence=1 - 1e-6, samples=311_248, uses=10))
    assert "1 - 1e-06" in text
    assert "311,248 symbols" in text
    assert "10 uses" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"assumptions": ()},
        {"engine": ""},
        {"calibration": ()},
        {"bits": -1.0},
        {"bits": math.nan},
        {"confidence": 1.0},
        {"confidence": 0.9, "samples": 0},
    ],
)
def test_a_bound_without_its_basis_cannot_exist(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"bound|confidence"):
        replace(BOUND, **changes)  # type: ignore[arg-type]


def test_report_is_keyed_by_engine() -> None:
    certified = replace(BOUND, bits=0.06, bits_per_mode=0.12, confidence=1 - 1e-6, samples=100)
    data = Bound(Quantity.DATA, "labqdl", 1.0, None, 1, None, 0, ("unit gain",), ("ideal parts",))
    report = LeakageReport((BOUND, certified, replace(BOUND, bits=0.5, uses=7), data))
    shown = report.to_json()
    assert shown["weights"]["labqdl"]["bits_per_weight"] == 0.04
    assert shown["weights"]["labqdl"]["certified_bits_per_mode"] == 0.12
    assert shown["weights"]["labqdl"]["samples"] == 100
    assert shown["weights"]["labqdl"]["cumulative_bits_per_weight"] == 0.5
    assert shown["weights"]["labqdl"]["cumulative_uses"] == 7
    assert shown["data"]["labqdl"]["bits_per_feature"] == 1.0
    assert report.select(Quantity.WEIGHTS, "labqdl", certified=True) == certified
    assert report.select(Quantity.DATA, "prx-2025") is None


@pytest.mark.parametrize(("gain", "tau"), [(0.5, None), (1.0, None), (math.nan, None), (2.0, 1.0), (2.0, 0.0)])
def test_impossible_amplifiers(gain: float, tau: float | None) -> None:
    with pytest.raises(ValueError, match=r"amplifier_gain|tap_transmissivity"):
        TapSetting.amplifier(gain, tau)


def test_balanced_amplifier() -> None:
    assert TapSetting.amplifier(4.0).tap_transmissivity == 0.25


@pytest.mark.parametrize("mu", [0.0, -1.0, math.inf, math.nan])
def test_impossible_light(mu: float) -> None:
    with pytest.raises(ValueError, match="mu"):
        OperatingPoint(mu, TapSetting.amplifier(2.0))


@pytest.mark.parametrize(
    "changes",
    [{"counting_fraction": 1.0}, {"alpha": 0.0}, {"delta": 0.7}, {"residual_share": 1.1}, {"residual_share": -0.1}],
)
def test_impossible_plans(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        VerificationPlan(**changes)


@pytest.mark.parametrize(
    ("share", "vectors", "kept"),
    [(0.0, 256, 0), (0.004, 250, 1), (0.004, 256, 2), (0.004, 1, 1), (0.1, 30, 3), (1.0, 7, 7), (1e-7, 4, 1)],
)
def test_shares_are_rounded_up_to_whole_vectors(share: float, vectors: int, kept: int) -> None:
    assert VerificationPlan(residual_share=share).sampled_vectors(vectors) == kept
