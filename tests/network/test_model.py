from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from labqdl.facts import Activation, ActivationKind
from labqdl.network import DenseLayer, Network, Pipeline, predictions
from labqdl.units import from_db

Floats = np.ndarray[Any, np.dtype[np.float32]]
RELU = Activation(ActivationKind.RELU)


def random(*shape: int, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def network(*layers: DenseLayer, **fields: Any) -> Network:
    return Network("test", Pipeline((layers[0].n_features,)), layers, **fields)


def test_scale_is_the_rms_with_the_bias_column() -> None:
    layer = DenseLayer(np.array([[3, 0], [0, 0]], dtype=np.float32), np.array([4, 0], dtype=np.float32))
    assert layer.scale == pytest.approx(math.sqrt(25 / 6))
    np.testing.assert_allclose(layer.unit_weights, np.array([[3, 0, 4], [0, 0, 0]]) / layer.scale, rtol=1e-6)
    assert np.mean(layer.unit_weights**2) == pytest.approx(1)


def test_spectrum() -> None:
    np.testing.assert_allclose(DenseLayer(np.eye(6, dtype=np.float32)).spectrum(), [1, 1, 1], rtol=1e-5)
    # One direction only: all light in half of the first mode's pair; a bias makes an odd number of columns even.
    single = DenseLayer(np.ones((5, 4), dtype=np.float32), np.ones(5, dtype=np.float32))
    np.testing.assert_allclose(single.spectrum(), [3, 0, 0], atol=1e-5)
    # Independent entries, rows as columns: Marchenko-Pastur has mean square 2.
    values = DenseLayer(random(400, 400)).spectrum()
    assert values.mean() == pytest.approx(1)
    assert np.mean(values**2) == pytest.approx(2, rel=0.02)
    # They majorise the eigenvalues of the complex modes.
    weights = random(400, 400).astype(np.float64)
    modes = weights[:, 0::2] + 1j * weights[:, 1::2]
    hermitian = np.linalg.eigvalsh(modes.conj().T @ modes)[::-1]
    assert (np.cumsum(hermitian) / hermitian.mean() <= np.cumsum(values) + 1e-6).all()


def test_published_scales_give_the_ordinary_network() -> None:
    first = DenseLayer(random(5, 7), random(5, seed=2), Activation(ActivationKind.RELU, 0.3), published_scale=True)
    second = DenseLayer(random(3, 5, seed=3), random(3, seed=4), published_scale=True)
    x = random(11, 7, seed=5)
    hidden = np.maximum(x @ first.weights.T + random(5, seed=2) - 0.3, 0)
    expected = hidden @ second.weights.T + random(3, seed=4)
    np.testing.assert_allclose(network(first, second).forward_exact(x), expected, rtol=2e-5, atol=1e-5)


def test_without_biases_the_kept_scale_changes_size_but_not_direction() -> None:
    layers = (DenseLayer(random(5, 7), activation=RELU), DenseLayer(random(3, 5, seed=3), centred=True))
    kept = network(*layers)
    told = network(*(dataclasses.replace(layer, published_scale=True) for layer in layers))
    x = random(11, 7, seed=5)
    factor = layers[0].scale * layers[1].scale
    np.testing.assert_allclose(kept.forward_exact(x) * factor, told.forward_exact(x), rtol=1e-5, atol=1e-5)


def test_centred_layer_subtracts_the_vectors_own_mean_before_the_ones() -> None:
    layer = DenseLayer(random(4, 6), random(4, seed=2), published_scale=True, centred=True)
    x = random(3, 6, seed=3) + 5
    expected = (x - x.mean(axis=1, keepdims=True)) @ layer.weights.T + random(4, seed=2)
    np.testing.assert_allclose(network(layer).forward_exact(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_noise_has_the_variance_and_mean_of_the_protocol(bias: bool) -> None:
    """Outcome noise r |v|/F: mean and variance of 200,000 draws; false-alarm rate below 1e-6 (5 sigma, 2 tests)."""
    layer = DenseLayer(random(2000, 3), random(2000, seed=2) if bias else None, published_scale=True)
    f2 = from_db(-3)
    x = np.tile(np.array([[1.0, -2, 0.5]], dtype=np.float32), (100, 1))
    noisy = network(layer).noisy_forward(x, f2, np.random.default_rng(7))
    norm = math.sqrt(1 + 4 + 0.25 + bias)

    def check(expected_deviation: float) -> None:
        residual = (noisy - network(layer).forward_exact(x)).astype(np.float64)
        count = residual.size
        assert abs(residual.mean()) < 5 * expected_deviation / math.sqrt(count)
        assert abs(residual.var() / expected_deviation**2 - 1) < 5 * math.sqrt(2 / count)

    deviation = layer.scale * norm / math.sqrt(f2)
    check(deviation)
    with pytest.raises(AssertionError):
        check(deviation * 1.05)


def test_noise_is_fresh_and_seeded() -> None:
    net = network(DenseLayer(random(5, 7), activation=RELU), DenseLayer(random(3, 5, seed=3)))
    x = np.tile(random(1, 7, seed=5), (2, 1))
    first = net.noisy_forward(x, 1.0, np.random.default_rng(1))
    assert not np.allclose(first[0], first[1])
    np.testing.assert_array_equal(first, net.noisy_forward(x, 1.0, np.random.default_rng(1)))
    assert not np.allclose(first, net.noisy_forward(x, 1.0, np.random.default_rng(2)))


def test_large_f2_is_the_exact_limit_and_layers_may_differ() -> None:
    net = network(DenseLayer(random(5, 7), activation=RELU), DenseLayer(random(3, 5, seed=3)))
    x = random(4, 7, seed=5)
    generator = np.random.default_rng(1)
    np.testing.assert_allclose(net.noisy_forward(x, 1e14, generator), net.forward_exact(x), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        net.noisy_forward(x, (1e14, 1e14), generator), net.forward_exact(x), rtol=1e-4, atol=1e-4
    )
    assert not np.allclose(net.noisy_forward(x, (1e14, 1.0), generator), net.forward_exact(x), atol=1e-2)
    for wrong in (0.0, (1.0, -1.0), float("nan")):
        with pytest.raises(ValueError, match="positive"):
            net.noisy_forward(x, wrong, generator)


def test_a_layer_of_more_light_has_less_noise() -> None:
    """The same unit normals, divided by the root of the layer's own F^2."""
    net = network(DenseLayer(random(5, 7), activation=RELU), DenseLayer(random(3, 5, seed=3), light=4.0))
    same = network(*(dataclasses.replace(layer, light=1.0) for layer in net.layers))
    x = random(4, 7, seed=5)
    found = net.noisy_forward(x, 2.0, np.random.default_rng(1))
    np.testing.assert_array_equal(found, same.noisy_forward(x, (2.0, 8.0), np.random.default_rng(1)))
    assert not np.allclose(found, same.noisy_forward(x, 2.0, np.random.default_rng(1)))
    with pytest.raises(ValueError, match="for 2 layers"):
        net.noisy_forward(x, (1.0, 2.0, 3.0), np.random.default_rng(1))


@pytest.mark.parametrize("centred", [False, True])
def test_empty_vectors_have_outcome_zero_and_no_nan(centred: bool) -> None:
    net = network(
        DenseLayer(random(5, 7), activation=Activation(ActivationKind.RELU, 100.0), centred=centred),
        DenseLayer(random(3, 5, seed=3)),
    )
    x = np.zeros((2, 7), dtype=np.float32)
    assert not net.forward_exact(x).any()
    # The threshold empties the hidden vector of every datum.
    assert not net.noisy_forward(np.vstack([x, random(1, 7)]), 1.0, np.random.default_rng(1)).any()
    biased = network(DenseLayer(random(3, 7), random(3), published_scale=True))
    np.testing.assert_allclose(biased.forward_exact(x), np.tile(random(3), (2, 1)), rtol=1e-5)


def test_frame_layers() -> None:
    first = DenseLayer(random(5, 7), random(5), RELU, published_scale=True)
    second = DenseLayer(random(3, 5), random(3), centred=True, published_scale=True)
    frames = network(first, second).frame_layers(4.0)
    assert [(f.rows, f.n_features, f.bias, f.mu, f.centred) for f in frames] == [
        (5, 7, True, 4.0, False),
        (3, 5, True, 4.0, True),
    ]
    assert frames[0].published_scale == first.scale
    assert frames[0].activation == RELU
    assert frames[0].n_weights == 8
    assert [f.mu for f in network(first, second).frame_layers((1.0, 2.0))] == [1.0, 2.0]
    assert network(DenseLayer(random(5, 7))).frame_layers(1.0)[0].published_scale is None
    shared = network(first, dataclasses.replace(second, light=2.5))
    assert [f.mu for f in shared.frame_layers(4.0)] == [4.0, 10.0]
    assert [f.mu for f in shared.frame_layers((1.0, 2.0))] == [1.0, 2.0]
    with pytest.raises(ValueError, match="3 values of mu for 2 layers"):
        network(first, second).frame_layers((1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DenseLayer(random(3)), "weights must have the shape"),
        (lambda: DenseLayer(random(0, 3)), "weights must have the shape"),
        (lambda: DenseLayer(random(2, 3), random(3)), r"bias must have the shape \(2,\)"),
        (lambda: DenseLayer(np.array([[1, np.nan]], dtype=np.float32)), r"weights must be finite; entry \[0, 1\]"),
        (lambda: DenseLayer(random(1, 2), np.array([np.inf], dtype=np.float32)), "bias must be finite"),
        (lambda: DenseLayer(np.zeros((2, 2), dtype=np.float32)), "no scale"),
        (lambda: DenseLayer(random(1, 2), activation=Activation(threshold=math.nan)), "threshold and slope"),
        (lambda: DenseLayer(random(1, 2), light=0.0), "light of a layer must be positive"),
        (lambda: Network("n", Pipeline((2,)), ()), "at least one layer"),
        (lambda: Network("n", Pipeline((3,)), (DenseLayer(random(1, 2)),)), "takes 2 features, the pipeline gives 3"),
        (lambda: network(DenseLayer(random(2, 2)), DenseLayer(random(1, 3))), "takes 3 features, layer 0 gives 2"),
        (lambda: network(DenseLayer(random(2, 2)), DenseLayer(random(1, 2), random(1))), "layer 0 must publish"),
        (lambda: network(DenseLayer(random(2, 2)), classes=("a",)), "1 class names for 2 outputs"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_fingerprint_follows_everything_that_acts_on_the_numbers() -> None:
    layer = DenseLayer(random(3, 4), activation=RELU)
    base = network(layer)
    assert base.fingerprint == network(dataclasses.replace(layer)).fingerprint
    assert base.fingerprint == dataclasses.replace(base, description="other words").fingerprint
    others = [
        dataclasses.replace(layer, centred=True),
        dataclasses.replace(layer, published_scale=True),
        dataclasses.replace(layer, activation=Activation(ActivationKind.RELU, 0.1)),
        dataclasses.replace(layer, weights=layer.weights * np.float32(1.001)),
        dataclasses.replace(layer, bias=random(3)),
        dataclasses.replace(layer, light=2.0),
    ]
    assert len({base.fingerprint, *(network(other).fingerprint for other in others)}) == 7


def test_predictions() -> None:
    np.testing.assert_array_equal(predictions(np.array([[1, 3, 2], [5, 0, 0]], dtype=np.float32)), [1, 0])
    np.testing.assert_array_equal(predictions(np.array([[1], [-1]], dtype=np.float32)), [1, 0])
