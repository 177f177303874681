"""The emulated link: two ports that show nothing of each other, laws that agree with theory, counted sends."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.facts import (
    Activation,
    Budgets,
    Component,
    FrameDescription,
    LayerFrame,
    Ledger,
    Owner,
    Place,
    TapSetting,
    VerificationPlan,
)
from labqdl.link import Depth, EmulatedLink, parse_channel, parse_client, parse_server
from labqdl.rng import Roots

ROWS, MODES, IMAGES, MU = 40, 8, 4000, 4.0
LEDGER = Ledger(
    "lossy",
    (
        Component("out", Place.FORWARD, Owner.CHANNEL, transmissivity=0.8),
        Component("client's receiver", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=0.9, electronic_noise=0.05),
        Component("back", Place.RETURN, Owner.CHANNEL, transmissivity=0.7, excess=0.01),
        Component("receiver", Place.SERVER_RECEIVER, Owner.SERVER, transmissivity=0.85, electronic_noise=0.1),
        Component("counter", Place.SERVER_COUNTER, Owner.SERVER, transmissivity=0.6, dark_counts=1e-3),
    ),
)
FRAME = FrameDescription(
    "test",
    (LayerFrame(ROWS, 2 * MODES, False, MU, None, Activation()),),
    IMAGES,
    IMAGES,
    TapSetting.amplifier(2.0),
    LEDGER,
    VerificationPlan(),
    Budgets(),
)


def light(seed: int = 3) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    generator = np.random.default_rng(seed)
    q = generator.standard_normal((ROWS, 2 * MODES)) * math.sqrt(2 * MU)
    x = generator.standard_normal((IMAGES, 2 * MODES))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return q, x, generator.random(MODES) < 0.5, generator.random(ROWS) < 0.25


def shine(
    link: EmulatedLink, block: int = 0, *, use_sums: bool = False, sampled: NDArray[np.int64] | None = None
) -> None:
    q, x, pattern, counted = light()
    link.prepare(FRAME)
    link.server_port.send_rows(0, block, q, IMAGES)
    amplitude = math.sqrt(LEDGER.total * LEDGER.server_efficiency)
    link.server_port.set_receiver(0, block, pattern, counted, amplitude, use_sums=use_sums, sampled=sampled)
    link.client_port.set_data(0, block, x)
    link.transmit(0, block)


@pytest.mark.parametrize("depth", Depth)
def test_outcomes_follow_the_single_row_model(depth: Depth) -> None:
    # 160,000 outcomes; slope and variance within 5.5 sigma (two-sided 4e-8 each, three depths).
    link = EmulatedLink(LEDGER, Roots.from_seed(5).world, depth=depth)
    shine(link)
    y = np.asarray(link.client_port.outcomes(0, 0), dtype=np.float64)
    q, x, _, _ = light()
    signal = x @ q.T
    efficiency, noise, gain = 0.9, 0.05, 2.0
    slope = math.sqrt(efficiency * (1 - 1 / gain) * gain * 0.8)  # P1.4
    variance = 1 + noise + 2 * efficiency * (1 - 1 / gain) * (gain - 1)
    found = float((y * signal).sum() / (signal**2).sum())
    assert abs(found - slope) < 5.5 * math.sqrt(variance / (signal**2).sum())
    assert abs(np.var(y - slope * signal) / variance - 1) < 5.5 * math.sqrt(2 / y.size)
    # The same check sees an efficiency that is 5 % off.
    wrong = math.sqrt(1.05 * efficiency * (1 - 1 / gain) * gain * 0.8)
    assert abs(found - wrong) > 5.5 * math.sqrt(variance / (signal**2).sum())


def test_depths_report_what_they_measured() -> None:
    for depth in (Depth.STATISTICS, Depth.RESIDUALS):
        link = EmulatedLink(LEDGER, Roots.from_seed(6).world, depth=depth)
        shine(link)
        statistics = link.server_port.returned(0, 0).statistics
        _, _, _, counted = light()
        assert np.array_equal(statistics.counted, counted)
        assert statistics.residuals.sum() == np.count_nonzero(~counted) * MODES * IMAGES
        assert statistics.slots.sum() == np.count_nonzero(counted) * MODES * IMAGES
        # Honest residual variance, P2.1; 960,000 residuals or so, 5.5 sigma.
        efficiency, returned = 0.85, 0.7
        expected = 1.1 + efficiency * 0.01 + returned * efficiency * 1.0 / MODES
        found = statistics.sum_rr.sum() / statistics.residuals.sum()
        assert abs(found / expected - 1) < 5.5 * math.sqrt(2 / statistics.residuals.sum())
    blind = EmulatedLink(LEDGER, Roots.from_seed(6).world, depth=Depth.OUTCOMES)
    shine(blind)
    assert blind.server_port.returned(0, 0).statistics.residuals.sum() == 0


@pytest.mark.parametrize("depth", [Depth.STATISTICS, Depth.RESIDUALS])
def test_what_was_asked_for_is_measured_and_outcomes_do_not_depend_on_it(depth: Depth) -> None:
    counted = light()[3]
    plain = EmulatedLink(LEDGER, Roots.from_seed(7).world, depth=depth)
    shine(plain)
    assert plain.server_port.returned(0, 0).use_sums is None
    asked = EmulatedLink(LEDGER, Roots.from_seed(7).world, depth=depth)
    sampled = np.array([3, 1000])
    shine(asked, use_sums=True, sampled=sampled)
    found = asked.server_port.returned(0, 0)
    assert found.use_sums is not None
    assert found.sample is not None
    assert np.array_equal(found.sample.images, sampled)
    assert found.sample.residuals.shape == (2, np.count_nonzero(~counted), MODES)
    # Sums over 4,000 uses of 500 weights or so, and 1,000 single residuals; the variance of one, P2.1, 5.5 sigma.
    variance = 1.1 + 0.85 * 0.01 + 0.7 * 0.85 / MODES
    sums = found.use_sums.sums[~counted]
    assert abs(np.mean(sums**2) / (IMAGES * variance) - 1) < 5.5 * math.sqrt(2 / sums.size)
    assert abs(np.mean(found.sample.residuals**2) / variance - 1) < 5.5 * math.sqrt(2 / found.sample.residuals.size)
    first, second = (np.asarray(link.client_port.outcomes(0, 0)) for link in (plain, asked))
    np.testing.assert_allclose(second, first, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("depth", [Depth.STATISTICS, Depth.RESIDUALS])
def test_a_coherent_meter_leaves_the_same_noise_in_every_use(depth: Depth) -> None:
    _, _, pattern, counted = light()
    link = EmulatedLink(LEDGER, Roots.from_seed(8).world, client=parse_client("coherent:0.05"), depth=depth)
    sums = []
    link.prepare(FRAME)
    for block in (0, 1):
        q, x, pattern, counted = light()
        link.server_port.send_rows(0, block, q, IMAGES)
        amplitude = math.sqrt(LEDGER.total * LEDGER.server_efficiency)
        link.server_port.set_receiver(0, block, pattern, counted, amplitude, use_sums=True)
        link.client_port.set_data(0, block, x)
        link.transmit(0, block)
        uses = link.server_port.returned(0, block).use_sums
        assert uses is not None
        sums.append(uses.sums[~counted].ravel() / IMAGES)
    # Noise of single uses is 1.1/4000 in these means; 0.05 at the client is 0.05 * 0.7 * 0.85 at the detector.
    assert np.asarray(np.corrcoef(np.stack(sums)))[0, 1] > 0.95
    assert np.mean(sums[0] * sums[1]) == pytest.approx(0.05 * 0.7 * 0.85, rel=5.5 * math.sqrt(2 / sums[0].size))
    honest = EmulatedLink(LEDGER, Roots.from_seed(8).world, depth=depth)
    shine(honest, use_sums=True)
    plain = honest.server_port.returned(0, 0).use_sums
    assert plain is not None
    assert abs(np.corrcoef(sums[0], plain.sums[~counted].ravel())[0, 1]) < 5.5 / math.sqrt(sums[0].size)


def test_a_coherent_meter_has_noise_of_its_own_for_every_layer() -> None:
    """Sums over uses of two layers of equal size: 800 pairs, uncorrelated within 5.5 deviations."""
    layer = FRAME.layers[0]
    square = replace(layer, n_features=ROWS)
    link = EmulatedLink(LEDGER, Roots.from_seed(8).world, client=parse_client("coherent:0.05"))
    link.prepare(replace(FRAME, layers=(square, square), images=400, block=400))
    generator = np.random.default_rng(4)
    sums = []
    for index in (0, 1):
        q = generator.standard_normal((ROWS, ROWS)) * math.sqrt(2 * MU)
        x = generator.standard_normal((400, ROWS))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        link.server_port.send_rows(index, 0, q, 400)
        amplitude = math.sqrt(LEDGER.total * LEDGER.server_efficiency)
        link.server_port.set_receiver(
            index, 0, np.zeros(ROWS // 2, np.bool_), np.zeros(ROWS, np.bool_), amplitude, use_sums=True
        )
        link.client_port.set_data(index, 0, x)
        link.transmit(index, 0)
        uses = link.server_port.returned(index, 0).use_sums
        assert uses is not None
        sums.append(uses.sums.ravel())
    assert abs(np.asarray(np.corrcoef(np.stack(sums)))[0, 1]) < 5.5 / math.sqrt(sums[0].size)


@pytest.mark.parametrize("energy", [1.0, 4.0])
def test_a_bright_probe_is_that_much_brighter_in_energy(energy: float) -> None:
    """Slope of 160,000 outcomes on x.q against that of the agreed light; 2 % is more than 5.5 standard errors."""
    honest, bright = (
        EmulatedLink(LEDGER, Roots.from_seed(9).world, server=parse_server(word))
        for word in ("honest", f"bright-probe:{energy}")
    )
    q, x, _, _ = light()
    slopes = []
    for link in (honest, bright):
        shine(link)
        y = np.asarray(link.client_port.outcomes(0, 0), dtype=np.float64)
        inner = x @ q.T
        slopes.append(float(np.sum(y * inner) / np.sum(inner**2)))
    assert slopes[1] / slopes[0] == pytest.approx(math.sqrt(energy), rel=0.02)


def test_streams_make_blocks_independent_of_order() -> None:
    first, second = (EmulatedLink(LEDGER, Roots.from_seed(9).world) for _ in range(2))
    shine(first, 0)
    first.server_port.returned(0, 0)
    shine(first, 1)
    shine(second, 1)
    assert np.array_equal(first.client_port.outcomes(0, 1), second.client_port.outcomes(0, 1))
    a, b = (link.server_port.returned(0, 1).statistics for link in (first, second))
    assert np.array_equal(a.sum_rr, b.sum_rr)
    assert np.array_equal(a.photons, b.photons)


def test_a_cheat_reads_at_the_slope_that_its_software_expects() -> None:
    # Interception reads X_b at slope 1; the software divides by the agreed tap's slope.
    link = EmulatedLink(LEDGER, Roots.from_seed(5).world, client=parse_client("intercept-resend"))
    shine(link)
    y = np.asarray(link.client_port.outcomes(0, 0), dtype=np.float64)
    q, x, _, _ = light()
    signal = x @ q.T
    slope = math.sqrt(0.9 * 0.5 * 2 * 0.8)
    spread = math.sqrt(0.9) * math.sqrt(2)
    assert abs((y * signal).sum() / (signal**2).sum() - slope) < 5.5 * spread / math.sqrt((signal**2).sum())


def test_a_tampered_fibre_shows_in_the_gain() -> None:
    honest = EmulatedLink(LEDGER, Roots.from_seed(5).world)
    tapped = EmulatedLink(parse_channel("outside-tap:0.1").build(LEDGER), Roots.from_seed(5).world)
    slopes = []
    for link in (honest, tapped):
        shine(link)
        statistics = link.server_port.returned(0, 0).statistics
        slopes.append(statistics.sum_qr.sum() / statistics.sum_qq.sum())
    # A share of 0.1 on both legs costs sqrt(T eta_s) * 0.1 of the amplitude.
    assert slopes[1] - slopes[0] == pytest.approx(-0.1 * math.sqrt(LEDGER.total * 0.85), rel=0.02)


def test_rows_are_counted_and_results_given_once() -> None:
    link = EmulatedLink(LEDGER, Roots.from_seed(5).world)
    with pytest.raises(RuntimeError, match="not prepared"):
        link.transmit(0, 0)
    shine(link)
    shine(link, 1)
    assert link.rows_sent == 2 * ROWS * IMAGES
    link.client_port.outcomes(0, 1)
    with pytest.raises(RuntimeError, match="no light has passed"):
        link.client_port.outcomes(0, 1)
    link.server_port.returned(0, 1)
    with pytest.raises(RuntimeError, match="no light has returned"):
        link.server_port.returned(0, 1)


def test_ports_must_be_set_and_agree() -> None:
    q, x, pattern, counted = light()
    link = EmulatedLink(LEDGER, Roots.from_seed(5).world)
    link.prepare(FRAME)
    link.server_port.send_rows(0, 0, q, IMAGES - 1)
    link.server_port.set_receiver(0, 0, pattern, counted, 1.0)
    with pytest.raises(RuntimeError, match="both ports"):
        link.transmit(0, 0)
    link.client_port.set_data(0, 0, x)
    with pytest.raises(RuntimeError, match="3999 images"):
        link.transmit(0, 0)
    link.close()
    with pytest.raises(RuntimeError, match="both ports"):
        link.transmit(0, 0)


def test_ports_show_nothing_of_each_other() -> None:
    link = EmulatedLink(LEDGER, Roots.from_seed(5).world)
    for name in ("returned", "send_rows", "set_receiver"):
        assert not hasattr(link.client_port, name)
    for name in ("outcomes", "set_data"):
        assert not hasattr(link.server_port, name)


def test_every_layer_and_block_has_noise_of_its_own() -> None:
    q, x, pattern, counted = light()
    frame = replace(FRAME, layers=(FRAME.layers[0], replace(FRAME.layers[0], rows=ROWS, n_features=ROWS)))
    width = ROWS // 2
    noises = []
    for layer, block in ((0, 0), (0, 1), (1, 0)):
        link = EmulatedLink(Ledger("ideal"), Roots.from_seed(5).world)
        link.prepare(frame)
        rows, vectors = (q, x) if layer == 0 else (np.zeros((ROWS, ROWS)), np.eye(ROWS)[:1].repeat(IMAGES, axis=0))
        link.server_port.send_rows(layer, block, rows, IMAGES)
        link.server_port.set_receiver(layer, block, pattern if layer == 0 else np.zeros(width, np.bool_), counted, 1.0)
        link.client_port.set_data(layer, block, vectors)
        link.transmit(layer, block)
        noises.append((link.client_port.outcomes(layer, block) - vectors @ rows.T).ravel())
    # 160,000 pairs each: a correlation beyond 0.015 is six standard deviations (three tests: 6e-9).
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(noises[first], noises[second])[0, 1]) < 0.015
    assert np.corrcoef(noises[0], noises[0])[0, 1] > 0.99


def test_the_server_subtracts_what_it_asked_for() -> None:
    q, x, pattern, counted = light()
    link = EmulatedLink(LEDGER, Roots.from_seed(5).world)
    link.prepare(FRAME)
    link.server_port.send_rows(0, 0, q, IMAGES)
    link.server_port.set_receiver(0, 0, pattern, counted, 0.0)
    link.client_port.set_data(0, 0, x)
    link.transmit(0, 0)
    statistics = link.server_port.returned(0, 0).statistics
    slope = statistics.sum_qr.sum() / statistics.sum_qq.sum()
    assert slope == pytest.approx(math.sqrt(0.8 * 0.7 * 0.85), rel=0.01)  # standard error below 0.001


def test_a_tapped_fibre_leaves_light_behind_the_nulling_displacement() -> None:
    found = []
    for channel in ("honest", "outside-tap:0.3"):
        link = EmulatedLink(parse_channel(channel).build(LEDGER), Roots.from_seed(5).world)
        shine(link)
        statistics = link.server_port.returned(0, 0).statistics
        found.append(statistics.photons.sum() / statistics.expected_photons_signal.sum())
    # The displacement stays that of the agreed ledger: (sqrt T - 0.7 sqrt T)^2 of the sent photons are left, beside
    # less of the tap's noise (0.7 of 0.7 * 0.6 / 2 photons a row, n mu = 32 sent).
    noise = 0.7 * 0.6 * (0.5 * (0.7 - 1)) / 32
    assert found[1] - found[0] == pytest.approx(0.6 * 0.56 * 0.09 + noise, rel=0.03)
