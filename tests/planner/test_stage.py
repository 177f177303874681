"""The planner's stages against the optics room: the same laws, and builds that become exact parts of a ledger."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.config.builds import find_build, shipped_builds
from labqdl.facts import OperatingPoint, Place, TapBuild, TapKind
from labqdl.optics.gain_tap import amplifier_tap, feed_forward_tap, tap_law
from labqdl.planner.stage import Stage, from_logit, logit, tapped_fraction
from tests.planner.subjects import AMPLIFIER, FEED_FORWARD, IDEAL, bench

STAGES = [AMPLIFIER, FEED_FORWARD, *(Stage(build.kind, build) for build in shipped_builds().builds)]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: f"{stage.name}-{stage.build is not None}")
@given(tapped=st.floats(1e-4, 0.99))
def test_a_stage_is_the_law_of_its_setting_and_ledger(stage: Stage, tapped: float) -> None:
    ledger = bench()
    law = tap_law(stage.setting(tapped), stage.ledger(tapped, ledger))
    at = np.array([tapped])
    assert stage.disturbance(at, ledger)[0] == pytest.approx(law.added_noise, rel=1e-9)
    assert stage.client_noise(at, ledger)[0] == pytest.approx(law.n_x + 1.0, rel=1e-9)
    assert law.net_gain == 1.0


@given(tapped=st.floats(0.02, 0.95), before=st.floats(0.3, 1.0), after=st.floats(0.3, 1.0), n_sp=st.floats(1.0, 3.0))
def test_an_amplifier_between_losses_by_another_route(tapped: float, before: float, after: float, n_sp: float) -> None:
    """Loss, ideal-length amplifier, loss, one after the other on amplitude and classical noise."""
    build = TapBuild("x", TapKind.AMPLIFIER, "", transmissivity_before=before, transmissivity_after=after, n_sp=n_sp)
    stage = Stage(TapKind.AMPLIFIER, build)
    gain = 1.0 / (1.0 - tapped)
    inner = gain / (before * after)
    power, noise = before, 0.0
    power, noise = power * inner, noise * inner + 2.0 * n_sp * (inner - 1.0)
    power, noise = power * after, noise * after
    assert power == pytest.approx(gain)
    law = tap_law(stage.setting(tapped), stage.ledger(tapped, IDEAL))
    assert law.d_x == pytest.approx((1.0 - tapped) * noise, rel=1e-9)
    assert law.outcome_variance == pytest.approx(1.0 + tapped * noise, rel=1e-9)
    assert law.covariance_x == pytest.approx(noise * math.sqrt(tapped * (1.0 - tapped)), rel=1e-9)


@given(tapped=st.floats(0.01, 0.95), kept=st.floats(0.5, 1.0), efficiency=st.floats(0.4, 1.0))
def test_loss_inside_a_feed_forward_tap_by_another_route(tapped: float, kept: float, efficiency: float) -> None:
    """What stays passes the loss; the displacement brings it back to unit gain with the same reading."""
    build = TapBuild(
        "x", TapKind.FEED_FORWARD, "", in_line_transmissivity=kept, efficiency=efficiency, electronic_noise=0.1
    )
    stage = Stage(TapKind.FEED_FORWARD, build)
    reading = 2.0 * 1.1 / (efficiency * tapped)
    weight = 1.0 - math.sqrt((1.0 - tapped) * kept)
    law = tap_law(stage.setting(tapped), stage.ledger(tapped, bench()))
    assert law.outcome_variance == pytest.approx(reading, rel=1e-9)
    assert law.d_x == pytest.approx(weight**2 * reading, rel=1e-9)
    assert law.covariance_x == pytest.approx(weight * reading, rel=1e-9)


def test_without_losses_a_build_is_its_law() -> None:
    plain = Stage(TapKind.FEED_FORWARD, TapBuild("x", TapKind.FEED_FORWARD, "", efficiency=0.8, electronic_noise=0.05))
    assert tap_law(plain.setting(0.1), plain.ledger(0.1, IDEAL)) == feed_forward_tap(
        0.9, efficiency=0.8, electronic_noise=0.05
    )
    noisy = Stage(TapKind.AMPLIFIER, TapBuild("x", TapKind.AMPLIFIER, "", n_sp=1.5))
    assert tap_law(noisy.setting(0.5), noisy.ledger(0.5, IDEAL)).d_x == pytest.approx(
        amplifier_tap(2.0, 0.5, n_sp=1.5).d_x
    )


def test_a_build_keeps_the_phase_noise_of_the_receiver_that_it_replaces() -> None:
    ledger = bench()
    kept = Stage(TapKind.FEED_FORWARD, find_build("feed-forward")).ledger(0.1, ledger)
    assert kept.forward_phase_noise == ledger.forward_phase_noise
    assert kept.at(Place.SERVER_RECEIVER) == ledger.at(Place.SERVER_RECEIVER)


def test_floors() -> None:
    edfa, feed = find_build("edfa"), find_build("feed-forward")
    assert Stage(TapKind.AMPLIFIER, edfa).least == pytest.approx(1 - 10**-0.07)
    assert Stage(TapKind.FEED_FORWARD, feed).least == pytest.approx(0.01)
    with pytest.raises(ValueError, match="kind"):
        Stage(TapKind.AMPLIFIER, feed)
    with pytest.raises(ValueError, match="n_sp"):
        TapBuild("x", TapKind.AMPLIFIER, "", n_sp=0.5)


@given(st.floats(1e-8, 0.999))
def test_positions(tapped: float) -> None:
    assert float(from_logit(logit(tapped))) == pytest.approx(tapped, rel=1e-12)
    for stage in (AMPLIFIER, FEED_FORWARD):
        point = OperatingPoint(1.0, stage.setting(tapped))
        assert tapped_fraction(point.tap) == pytest.approx(tapped, rel=1e-6)
