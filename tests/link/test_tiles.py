"""Tiled rows on the emulated link against light that is propagated mode by mode, and against the law of rows so short.

Statistical limits are six standard errors, seeds are fixed: false alarms below 1e-7 in all.
"""

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
    ReturnedLight,
    TapSetting,
    VerificationPlan,
)
from labqdl.link import Depth, EmulatedLink
from labqdl.optics.tiling import aim, join, stream
from labqdl.rng import Roots
from labqdl.security.engines import asymptotic_bounds, data_bound, weights_bound
from labqdl.security.expected import honest_layers, layer_light
from labqdl.security.verification import Verifier

ROWS, MODES, TILE, IMAGES, MU, GAIN = 12, 7, 3, 9000, 3.0, 2.0
TILES, SLOTS = 3, 3  # 7 modes in tiles of 3, 2 and 2
LEDGER = Ledger(
    "lossy",
    (
        Component("out", Place.FORWARD, Owner.CHANNEL, transmissivity=0.8),
        Component("client's receiver", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=0.9, electronic_noise=0.05),
        Component("back", Place.RETURN, Owner.CHANNEL, transmissivity=0.7),
        Component("receiver", Place.SERVER_RECEIVER, Owner.SERVER, transmissivity=0.85, electronic_noise=0.1),
    ),
)
FRAME = FrameDescription(
    "tiles",
    (LayerFrame(ROWS, 2 * MODES, False, MU, None, Activation(), tile=TILE),),
    IMAGES,
    IMAGES,
    TapSetting.amplifier(GAIN),
    LEDGER,
    VerificationPlan(counting_fraction=0.0),
    Budgets(),
)


def light() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    generator = np.random.default_rng(3)
    q = generator.standard_normal((ROWS, 2 * MODES))
    q *= math.sqrt(2 * MU) / math.sqrt(np.mean(q**2))
    x = generator.standard_normal((IMAGES, 2 * MODES))
    return q, x / np.linalg.norm(x, axis=1, keepdims=True)


def emulated(frame: FrameDescription, depth: Depth, seed: int = 1) -> tuple[NDArray[np.float64], ReturnedLight]:
    q, x = light()
    layer = frame.layers[0]
    directions, norms = aim(x, layer.tiles, np.random.default_rng(9))
    link = EmulatedLink(LEDGER, Roots.from_seed(seed).world, depth=depth)
    link.prepare(frame)
    pattern = np.random.default_rng(7).random(layer.tile_modes) < 0.5
    counted = np.zeros(layer.streamed_rows, np.bool_)
    amplitude = math.sqrt(LEDGER.total * LEDGER.server_efficiency)
    link.server_port.send_rows(0, 0, stream(q, layer.tiles), IMAGES)
    link.server_port.set_receiver(0, 0, pattern, counted, amplitude, use_sums=True, sampled=np.arange(5))
    link.client_port.set_data(0, 0, directions)
    link.transmit(0, 0)
    outcomes = join(link.client_port.outcomes(0, 0), norms).astype(np.float64)
    assert link.rows_sent == layer.streamed_rows * IMAGES
    return outcomes, link.server_port.returned(0, 0)


def propagated(gain: float = GAIN) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Outcomes (images, rows) and sum of squared residuals of each streamed row, mode by mode (P representation)."""
    q, x = light()
    generator = np.random.default_rng(11)
    directions, norms = aim(x, TILES, generator)
    pattern = np.random.default_rng(7).random(SLOTS) < 0.5
    alpha = stream(q, TILES).reshape(TILES, ROWS, SLOTS, 2) @ np.array([0.5, 0.5j])
    efficiency, noise = LEDGER.client_efficiency, LEDGER.client_noise
    outcomes, squares = [], []
    for tile in range(TILES):
        u = directions.reshape(IMAGES, TILES, SLOTS, 2)[:, tile] @ np.array([1, 1j])
        sent = np.broadcast_to(math.sqrt(LEDGER.forward) * alpha[tile], (IMAGES, ROWS, SLOTS))
        b = np.einsum("ij,ikj->ik", u.conj(), sent)
        # <|n|^2> = G - 1 photons from the amplifier; the tap sends 1/G back and the rest to the client.
        spontaneous = generator.standard_normal((2, IMAGES, ROWS)) * math.sqrt((gain - 1) / 2)
        amplified = math.sqrt(gain) * b + spontaneous[0] + 1j * spontaneous[1]
        client = math.sqrt(efficiency * (1 - 1 / GAIN)) * 2 * amplified.real
        outcomes.append(client + math.sqrt(1 + noise) * generator.standard_normal(client.shape))
        back = sent + u[:, None, :] * (math.sqrt(1 / GAIN) * amplified - b)[..., None]
        back = math.sqrt(LEDGER.back * LEDGER.server_efficiency) * back
        measured = 2 * np.where(pattern, back.imag, back.real)
        honest = (
            2
            * math.sqrt(LEDGER.total * LEDGER.server_efficiency)
            * np.where(pattern, alpha[tile].imag, alpha[tile].real)
        )
        residuals = measured - honest
        residuals += math.sqrt(1 + LEDGER.server_noise) * generator.standard_normal(residuals.shape)
        squares.append(np.square(residuals).sum(axis=(0, 2)))
    joined = join(np.concatenate(outcomes, axis=1), norms).astype(np.float64)
    return joined, np.concatenate(squares)


@pytest.mark.parametrize("depth", [Depth.STATISTICS, Depth.RESIDUALS])
def test_the_emulation_of_tiles_agrees_with_light_that_is_propagated(depth: Depth) -> None:
    q, x = light()
    found, returned = emulated(FRAME, depth)
    outcomes, squares = propagated()
    exact = (x @ q.T) * math.sqrt(LEDGER.forward * LEDGER.client_efficiency * (GAIN - 1))
    exact *= math.sqrt((1 - 1 / GAIN) * GAIN / (GAIN - 1))
    for values in (found, outcomes):
        error = values - exact
        assert np.mean(error * exact) == pytest.approx(0, abs=6 * float(np.std(error * exact)) / math.sqrt(error.size))
    samples = found.size
    assert np.var(found - exact) == pytest.approx(np.var(outcomes - exact), rel=6 * math.sqrt(4 / samples))
    statistics = returned.statistics
    assert statistics.sum_rr.shape == (ROWS * TILES,)
    limit = 6 * math.sqrt(2 * 2 * 1.3**2 * IMAGES * SLOTS)  # two sums of squares of variance 1.3 at most
    np.testing.assert_allclose(statistics.sum_rr, squares, atol=limit)
    assert statistics.sum_rr.sum() == pytest.approx(squares.sum(), abs=limit * math.sqrt(ROWS * TILES))
    # What a tap of 5 % more gain would leave is seen by this very comparison.
    _, more = propagated(1.05 * GAIN)
    assert abs(more.sum() - squares.sum()) > limit * math.sqrt(ROWS * TILES)


def test_the_verifier_accepts_honest_tiles_and_expects_the_noise_once_a_tile() -> None:
    q, _ = light()
    _, returned = emulated(FRAME, Depth.STATISTICS)
    expected = layer_light(q, TILES)
    (law,) = honest_layers(FRAME, (expected,))
    assert (law.rows, law.n_modes, law.tiles) == (ROWS * TILES, SLOTS, TILES)
    verifier = Verifier(FRAME, (expected,))
    verifier.add(0, 0, returned, np.random.default_rng(7).random(SLOTS) < 0.5)
    assert all(test.passed for test in verifier.verdict().consistency.tests)
    # Without knowing of tiles, one spike a row is expected, and three come back.
    whole = replace(FRAME, layers=(replace(FRAME.layers[0], tile=None),))
    (short,) = honest_layers(whole, (layer_light(q),))
    assert law.spike * law.rows == pytest.approx(TILES * short.spike * short.rows)


def test_bounds_of_tiles_are_those_of_rows_so_short_and_data_add_up() -> None:
    setting, ideal = TapSetting.amplifier(2.0), Ledger("ideal")
    whole = LayerFrame(784, 784, False, 4.0, None, Activation())
    tiled = replace(whole, tile=28)  # 14 tiles of 28 modes
    alone = LayerFrame(784, 56, False, 4.0, None, Activation())
    assert (tiled.tiles, tiled.tile_modes, tiled.least_modes) == (14, 28, 28)
    weights = [weights_bound("labqdl", (layer,), setting, ideal) for layer in (tiled, alone)]
    assert weights[0] is not None
    assert weights[1] is not None
    assert weights[0].bits == weights[1].bits
    data = [data_bound("labqdl", (layer,), setting, ideal) for layer in (tiled, alone)]
    assert data[0] is not None
    assert data[1] is not None
    # Bits in total: fourteen times those of one tile.
    assert data[0].bits * 784 == pytest.approx(14 * data[1].bits * 56)
    assert any("tiles" in words for words in weights[0].assumptions)
    assert any("tiles" in words for words in data[0].assumptions)
    untiled = asymptotic_bounds((whole,), setting, ideal)
    assert all("tiles" not in " ".join(bound.assumptions) for bound in untiled)


def test_whole_rows_have_the_digest_that_they_had_before_there_were_tiles() -> None:
    whole = replace(FRAME, layers=(replace(FRAME.layers[0], tile=None),))
    assert "tile" not in whole.to_json()["layers"][0]
    assert whole.digest != FRAME.digest
    assert (whole.tile, FRAME.tile) == (None, TILE)
    assert FRAME.symbols_per_image == ROWS * TILES * SLOTS
    with pytest.raises(ValueError, match="same tile"):
        replace(FRAME, layers=(replace(FRAME.layers[0], rows=4), LayerFrame(2, 4, False, MU, None, Activation())))
