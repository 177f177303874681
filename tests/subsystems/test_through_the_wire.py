"""One block of a small layer through drivers, wire protocols and the optical world, against the closed forms.

Calibrations are the world's truth, so that a figure that is off is the link's or a subsystem's fault. The seed is
fixed; a figure fails beyond five standard errors of the seven that are looked at: 4e-6 for a right one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl.facts import (
    Activation,
    Budgets,
    FrameDescription,
    LayerFrame,
    Ledger,
    ReturnedLight,
    ShotNoise,
    TapSetting,
    VerificationPlan,
)
from labqdl.instruments import Refused
from labqdl.optics.gain_tap import feed_forward_tap
from labqdl.optics.modes import rotate_j
from labqdl.rng import Roots
from labqdl.subsystems import BenchLink, BenchStopped, Incident, ShotInvalid, TimeBinInterferometer
from labqdl.subsystems.bench_link import FORWARD
from tests.subsystems.benches import MODES, Small, calibrate_truth, find_timing, path_truth, small_bench

MU = 4.0
ROOT = Roots.from_seed(5).server


@pytest.fixture(scope="module")
def small() -> Iterator[Small]:
    with small_bench() as made:
        calibrate_truth(made, full_scale_photons=400.0, snu_bins=20_000)
        find_timing(made)
        yield made


def frame(rows: int, images: int, **plan: object) -> FrameDescription:
    layer = LayerFrame(
        rows=rows, n_features=2 * MODES, bias=False, mu=MU, published_scale=None, activation=Activation()
    )
    chosen = VerificationPlan(counting_fraction=0.0, shot_noise=ShotNoise.OWN, **plan)  # type: ignore[arg-type]
    return FrameDescription(
        "small",
        (layer,),
        images,
        images,
        TapSetting.feed_forward(0.9),
        Ledger("none"),
        chosen,
        Budgets(),
        vacuum_slots=4,
    )


def emits(small: Small) -> bool:
    """What the laser says of itself."""
    return small.server.transmitter.laser.emission


@dataclass
class Block:
    q: NDArray[np.float64]
    x: NDArray[np.float64]
    pattern: NDArray[np.bool_]
    outcomes: NDArray[np.floating[Any]]
    light: ReturnedLight


def sent(link: BenchLink, rows: int, images: int, *, expected: float, seed: int = 7) -> Block:
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((rows, 2 * MODES)) * math.sqrt(2 * MU)
    x = rng.standard_normal((images, 2 * MODES))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    pattern = np.array([False, True, True, False])
    counted = np.zeros(rows, np.bool_)
    link.prepare(frame(rows, images))
    link.server_port.send_rows(0, 0, q, images)
    link.server_port.set_receiver(0, 0, pattern, counted, expected, use_sums=True, sampled=np.arange(images))
    link.client_port.set_data(0, 0, x)
    link.transmit(0, 0)
    return Block(q, x, pattern, link.client_port.outcomes(0, 0), link.server_port.returned(0, 0))


def test_a_block_agrees_with_the_closed_forms(small: Small) -> None:
    rows, images = 16, 48
    path = path_truth(small)
    link = BenchLink(small.server, small.client, ROOT)
    block = sent(link, rows, images, expected=path.amplitude)
    link.close()
    assert link.incidents == []
    assert link.rows_sent == rows * images
    noise = small.calibrations.value("client.shot-noise", "noise")
    law = feed_forward_tap(0.9, efficiency=0.9, electronic_noise=noise)
    mean = block.x @ block.q.T
    y = block.outcomes

    def close(found: float, expected: float, error: float, systematic: float = 0.0) -> None:
        assert abs(found - expected) < 5 * error + systematic, f"{found:.5g}, expected {expected:.5g} +- {error:.2g}"

    # The client: slope and variance of its outcomes.
    slope = float(np.sum(y * mean) / np.sum(mean**2))
    rest = y - slope * mean
    close(slope, path.outcome_gain, float(rest.std() / np.sqrt(np.sum(mean**2))), 0.01 * path.outcome_gain)
    variance = float(rest.var())
    close(variance, law.outcome_variance, variance * math.sqrt(2 / rest.size), 0.02 * variance)

    # The server: amplitude, floor and own vacuum.
    s = block.light.statistics
    assert s.residuals.tolist() == [images * MODES] * rows
    gain = path.amplitude + s.sum_qr.sum() / s.sum_qq.sum()
    close(gain, path.amplitude, 1.05 / math.sqrt(s.sum_qq.sum()), 0.01 * path.amplitude)
    phase = s.sum_jr.sum() / s.sum_jj.sum()
    close(phase, 0.0, 1.05 / math.sqrt(s.sum_jj.sum()), 0.005)
    vacuum = s.vacuum_squares / s.vacuum_slots
    assert s.vacuum_slots == 4 * rows * images
    electronic = small.calibrations.value("server.shot-noise", "noise")
    close(vacuum, 1.0 + electronic, 1.05 * math.sqrt(2 / s.vacuum_slots + 2 / 20_000), 0.0)
    excess = law.added_noise * path.back * path.efficiency / MODES
    close(
        s.sum_rr.sum() / s.residuals.sum() - vacuum,
        excess,
        1.05 * math.sqrt(2 / s.residuals.sum() + 2 / s.vacuum_slots),
    )

    # Both: the meter's noise comes back along u, with the predicted covariance.
    sample = block.light.sample
    assert sample is not None
    place = 2 * np.arange(MODES) + block.pattern
    a = block.x[:, place]
    along = np.einsum("irm,im->ir", sample.residuals, a) / np.sqrt(np.sum(a**2, axis=1))[:, None]
    weight = np.sqrt(np.sum(a**2, axis=1))[:, None]
    covariance = float(np.sum(along * rest * weight) / np.sum(weight**2 * np.ones_like(along)))
    expected = law.covariance_x * math.sqrt(path.back * path.efficiency)
    close(covariance, expected, math.sqrt(variance * 1.1 / np.sum(weight**2 * np.ones_like(along))))

    # The sums are those of the single residuals.
    r = sample.residuals.astype(np.float64)  # kept with the digits of a record
    qm, jm = block.q[:, place], rotate_j(block.q)[:, place]
    np.testing.assert_allclose(s.sum_rr, np.einsum("irm,irm->r", r, r), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(s.sum_qr, np.einsum("irm,rm->r", r, qm), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(s.sum_jr, np.einsum("irm,rm->r", r, jm), rtol=1e-5, atol=1e-3)
    assert block.light.use_sums is not None
    np.testing.assert_allclose(block.light.use_sums.sums, r.sum(axis=0), rtol=1e-5, atol=1e-4)


def test_closing_leaves_everything_dark(small: Small) -> None:
    link = BenchLink(small.server, small.client, ROOT)
    sent(link, 2, 2, expected=0.6)
    assert small.power("laser", "output") > 0
    assert emits(small)
    link.close()
    assert small.power("laser", "output") == 0
    assert not emits(small)
    tree = small.client.interferometer
    assert isinstance(tree, TimeBinInterferometer)
    for player in (small.server.transmitter.player, *tree.players.values()):
        assert not any(one.output for one in player.outputs.values())
    for gate in (small.server.transmitter.gate, small.server.receiver.gate, small.client.receiver.gate):
        assert gate is not None
        assert not gate.passing


@pytest.mark.parametrize(
    ("part", "what", "value", "named", "attempts"),
    [
        ("fibre_out", "broken", 1.0, FORWARD, 2),
        ("fibre_out", "excess_db", 40.0, FORWARD, 2),
        ("gate_c", "blocked", 1.0, FORWARD, 2),
        ("gate_out", "blocked", 1.0, FORWARD, 2),
        ("iq", "blocked", 1.0, FORWARD, 2),
        ("laser", "off", 1.0, "laser", 0),
        ("laser", "power_drop_db", 2.0, "laser", 0),
    ],
)
def test_faults_end_dark_and_name_the_part(
    small: Small, part: str, what: str, value: float, named: str, attempts: int
) -> None:
    told: list[Incident] = []
    link = BenchLink(small.server, small.client, ROOT, attempts=2, on_incident=told.append)
    assert small.bench.world is not None
    broken = small.bench.world.parts[part]
    try:
        broken.strike(what, value)
        with pytest.raises(BenchStopped) as caught:
            sent(link, 2, 2, expected=0.6)
    finally:
        broken.mend(what)
    assert caught.value.part == named
    assert [one.attempt for one in told] == list(range(1, attempts + 1))
    assert link.rows_in_vain == 4 * attempts
    assert small.power("laser", "output") == 0
    assert not emits(small)


def test_light_that_does_not_come_back_is_for_the_tests_to_see(small: Small) -> None:
    link = BenchLink(small.server, small.client, ROOT)
    assert small.bench.world is not None
    fibre = small.bench.world.parts["fibre_back"]
    try:
        fibre.strike("broken")
        block = sent(link, 4, 4, expected=0.65)
    finally:
        fibre.mend("broken")
        link.close()
    assert link.incidents == []
    s = block.light.statistics
    # What comes is vacuum: all that was expected is missing.
    assert s.sum_qr.sum() / s.sum_qq.sum() == pytest.approx(-0.65, abs=5 / math.sqrt(s.sum_qq.sum()))


def test_a_shot_whose_lock_slipped_is_sent_again(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Incident] = []
    states = [True, False]

    def demand() -> None:
        if states and states.pop():
            raise ShotInvalid("lock_s", "is slipped")

    states.append(True)
    monkeypatch.setattr(small.server.receiver, "demand_lock", demand)
    link = BenchLink(small.server, small.client, ROOT, on_incident=told.append)
    block = sent(link, 3, 2, expected=0.65)
    link.close()
    assert [(one.attempt, one.part, one.rows) for one in told] == [(1, "lock_s", 6)]
    assert link.incidents == told
    assert (link.rows_sent, link.rows_in_vain) == (12, 6)
    assert block.light.statistics.residuals.tolist() == [2 * MODES] * 3
    states[:] = [True] * 9
    with pytest.raises(BenchStopped, match=r"stopped because of lock_s: is slipped\. The light path was left dark"):
        sent(BenchLink(small.server, small.client, ROOT), 1, 1, expected=0.65)
    assert not emits(small)


def test_blocks_are_cut_into_shots_that_fit(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small.server, "frame", replace(small.server.frame, shot_time=4.2e-5))
    link = BenchLink(small.server, small.client, ROOT)
    shots: list[int] = []
    once = BenchLink._once

    def counted(self: BenchLink, data: Any, u: Any, turned: Any) -> Any:
        shots.append(len(u))
        return once(self, data, u, turned)

    monkeypatch.setattr(BenchLink, "_once", counted)
    block = sent(link, 8, 5, expected=0.65)
    link.close()
    assert shots == [2, 2, 1]
    assert block.outcomes.shape == (5, 8)
    assert block.light.sample is not None
    assert np.all(np.abs(block.light.sample.residuals) < 8)


def test_tiles_and_images_share_shots(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, tiles, images = 6, 3, 5
    layer = LayerFrame(
        rows=rows,
        n_features=2 * MODES * tiles,
        bias=False,
        mu=40.0,
        published_scale=None,
        activation=Activation(),
        tile=MODES,
    )
    plan = VerificationPlan(counting_fraction=0.0, shot_noise=ShotNoise.OWN)
    tap, ledger = TapSetting.feed_forward(0.9), Ledger("none")
    monkeypatch.setattr(small.server, "frame", replace(small.server.frame, shot_time=5e-5))
    link = BenchLink(small.server, small.client, ROOT)
    link.prepare(FrameDescription("tiled", (layer,), images, images, tap, ledger, plan, Budgets(), vacuum_slots=4))
    rng = np.random.default_rng(4)
    q = rng.standard_normal((rows * tiles, 2 * MODES)) * math.sqrt(2 * layer.mu)
    x = rng.standard_normal((images, tiles, 2 * MODES))
    x /= np.linalg.norm(x, axis=2, keepdims=True)
    pattern = np.array([True, False, False, True])
    link.server_port.send_rows(0, 0, q, images)
    link.server_port.set_receiver(
        0, 0, pattern, np.zeros(len(q), np.bool_), 0.0, use_sums=True, sampled=np.arange(images)
    )
    link.client_port.set_data(0, 0, x.reshape(images, -1))
    link.transmit(0, 0)
    light, y = link.server_port.returned(0, 0), link.client_port.outcomes(0, 0)
    link.close()
    assert link.rows_sent == rows * tiles * images
    assert light.sample is not None
    measured = q[:, 2 * np.arange(MODES) + pattern]
    for tile in range(tiles):
        which = slice(tile * rows, (tile + 1) * rows)
        mean = x[:, tile] @ q[which].T
        slope = np.sum(y[:, which] * mean) / np.sum(mean**2)
        assert slope == pytest.approx(0.85, abs=5 * 4.9 / math.sqrt(np.sum(mean**2)))
        gain = np.sum(light.sample.residuals[:, which] * measured[which]) / np.sum(measured[which] ** 2) / images
        assert gain == pytest.approx(0.67, abs=0.03)
    assert light.statistics.residuals.tolist() == [images * MODES] * rows * tiles


def test_what_the_bench_cannot_do_is_refused_before_light_flows(small: Small) -> None:
    link = BenchLink(small.server, small.client, ROOT)
    with pytest.raises(InputError, match="counting_fraction = 0"):
        link.prepare(
            FrameDescription(
                "s",
                frame(2, 2).layers,
                2,
                2,
                TapSetting.feed_forward(0.9),
                Ledger("none"),
                VerificationPlan(counting_fraction=0.1),
                Budgets(),
            )
        )
    with pytest.raises(InputError, match=r"a splitter of 0\.8, tap has 0\.9"):
        link.prepare(
            FrameDescription(
                "s",
                frame(2, 2).layers,
                2,
                2,
                TapSetting.feed_forward(0.8),
                Ledger("none"),
                VerificationPlan(counting_fraction=0.0),
                Budgets(),
            )
        )
    link.prepare(frame(1, 1))
    bright = np.full((1, 2 * MODES), 1e4)
    link.server_port.send_rows(0, 0, bright, 1)
    link.server_port.set_receiver(0, 0, np.zeros(MODES, np.bool_), np.zeros(1, np.bool_), 0.5)
    link.client_port.set_data(0, 0, np.full((1, 2 * MODES), 1 / math.sqrt(2 * MODES)))
    with pytest.raises(InputError, match="brighter than full scale"):
        link.transmit(0, 0)
    assert not emits(small)


def test_nothing_emits_against_the_guard(small: Small) -> None:
    class No:
        def energising(self, instrument: object, what: str) -> None:
            raise Refused(f"{what}: refused")

    link = BenchLink(small.server, small.client, ROOT)
    kept = [(one, one.guard) for one in small.station.instruments().values()]
    try:
        for one, _ in kept:
            one.guard = No()
        with pytest.raises(Refused):
            sent(link, 1, 1, expected=0.6)
    finally:
        for one, guard in kept:
            one.guard = guard
    assert small.power("laser", "output") == 0
