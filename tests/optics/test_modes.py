from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl.optics.modes import directions, layer_amplitudes, pad_even, pair, rotate_j, unpair

DTYPES = (np.float32, np.float64)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pairing_puts_odd_entries_on_x_and_even_ones_on_p(dtype: type[Any]) -> None:
    rows = np.arange(1, 13, dtype=dtype).reshape(2, 6)
    modes = pair(rows)
    assert modes.dtype == (np.complex64 if dtype is np.float32 else np.complex128)
    np.testing.assert_array_equal(modes, [[1 + 2j, 3 + 4j, 5 + 6j], [7 + 8j, 9 + 10j, 11 + 12j]])
    back = unpair(modes)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, rows)


def test_pairing_of_strided_rows() -> None:
    rows = rng().standard_normal((4, 3, 12))[:, ::2, ::3]
    np.testing.assert_array_equal(pair(rows), rows[..., 0::2] + 1j * rows[..., 1::2])
    np.testing.assert_array_equal(unpair(pair(rows)[..., ::-1])[..., 0], rows[..., -2])


@pytest.mark.parametrize("dtype", DTYPES)
def test_padding_appends_one_zero_to_odd_rows_only(dtype: type[Any]) -> None:
    odd = np.ones((2, 2, 3), dtype=dtype)
    padded = pad_even(odd)
    assert padded.dtype == dtype
    np.testing.assert_array_equal(padded[..., 3], 0)
    np.testing.assert_array_equal(padded[..., :3], odd)
    even = np.ones((2, 4), dtype=dtype)
    assert pad_even(even) is even


@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from(DTYPES))
@settings(max_examples=50, deadline=None)
def test_pairing_identity_and_the_symplectic_form(n_modes: int, seed: int, dtype: type[Any]) -> None:
    """2 Re(u^dagger alpha) = x.q and X, P of b are x.xi and (Jx).xi."""
    generator = rng(seed)
    q = generator.standard_normal(2 * n_modes).astype(dtype)
    x = generator.standard_normal(2 * n_modes).astype(dtype)
    b = np.vdot(pair(x), pair(q) / 2)
    tolerance = 1e-4 if dtype is np.float32 else 1e-12
    assert 2 * b.real == pytest.approx(float(x @ q), abs=tolerance)
    assert 2 * b.imag == pytest.approx(float(rotate_j(x) @ q), abs=tolerance)
    assert rotate_j(x).dtype == dtype
    np.testing.assert_array_equal(pair(rotate_j(x)), 1j * pair(x))
    np.testing.assert_array_equal(rotate_j(rotate_j(x)), -x)
    assert float(x @ rotate_j(x)) == pytest.approx(0, abs=tolerance)


def test_refuses_wrong_kinds() -> None:
    for function in (pair, pad_even, rotate_j):
        with pytest.raises(TypeError, match="float32 or float64"):
            function(np.arange(4))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="at least one axis"):
            function(np.array(1.0))
    for function in (pair, rotate_j):
        with pytest.raises(ValueError, match="even number"):
            function(np.ones(3))
    with pytest.raises(TypeError, match="complex"):
        unpair(np.ones(3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one axis"):
        unpair(np.array(1j))


# --- weights ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", [6, 7])
@pytest.mark.parametrize("with_bias", [False, True])
def test_layer_carries_mu_photons_a_mode(dtype: type[Any], features: int, with_bias: bool) -> None:
    weights = rng(1).standard_normal((5, features)).astype(dtype) * 3
    bias = rng(2).standard_normal(5).astype(dtype) if with_bias else None
    q, scale = layer_amplitudes(weights, bias, 4.0)
    entries = features + with_bias
    assert q.dtype == dtype
    assert q.shape == (5, entries + entries % 2)
    real = q[:, :entries].astype(np.float64)
    assert np.mean(real**2) == pytest.approx(8.0, rel=1e-6)
    np.testing.assert_array_equal(q[:, entries:], 0)
    columns = weights if bias is None else np.column_stack([weights, bias])
    assert scale == pytest.approx(math.sqrt(np.mean(columns.astype(np.float64) ** 2)), rel=1e-6)
    np.testing.assert_allclose(real * scale / math.sqrt(8.0), columns, rtol=1e-5)
    if entries % 2 == 0:
        # <|alpha|^2> = mu, alpha = pair(q) / 2
        assert np.mean(np.abs(pair(q) / 2) ** 2) == pytest.approx(4.0, rel=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e-42, 1e30])
def test_scale_survives_tiny_and_huge_weights(size: float) -> None:
    weights = np.full((2, 4), size, dtype=np.float32)
    weights[0] *= -1
    q, scale = layer_amplitudes(weights, None, 0.5)
    np.testing.assert_allclose(q, np.sign(weights), rtol=1e-6)
    assert scale == pytest.approx(float(weights[1, 0]), rel=1e-6)


def test_weights_are_not_changed() -> None:
    weights = rng().standard_normal((3, 4))
    kept = weights.copy()
    layer_amplitudes(weights, None, 1.0)
    np.testing.assert_array_equal(weights, kept)


def test_layer_refusals() -> None:
    weights = np.ones((2, 4))
    for bad in (np.nan, np.inf):
        broken = weights.copy()
        broken[1, 2] = bad
        with pytest.raises(InputError, match="not finite"):
            layer_amplitudes(broken, None, 1.0)
    with pytest.raises(InputError, match="all weights of the layer are zero"):
        layer_amplitudes(np.zeros((2, 4)), np.zeros(2), 1.0)
    for mu in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="mu"):
            layer_amplitudes(weights, None, mu)
    for bias in (np.ones(3), np.ones(2, dtype=np.float32)):
        with pytest.raises(ValueError, match="bias"):
            layer_amplitudes(weights, bias, 1.0)
    for shape in ((4,), (0, 4), (2, 0)):
        with pytest.raises(ValueError, match="rows, n_features"):
            layer_amplitudes(np.ones(shape), None, 1.0)


# --- data ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 5), st.booleans(), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_directions_are_unit_vectors_that_give_the_data_back(
    features: int, images: int, bias: bool, dtype: type[Any], seed: int
) -> None:
    data = (rng(seed).standard_normal((images, features)) * 10 + 0.1).astype(dtype)
    x, norms, empty = directions(data, bias, rng())
    entries = features + bias
    digits = 2e-6 if dtype is np.float32 else 1e-14
    assert x.dtype == dtype
    assert norms.dtype == dtype
    assert x.shape == (images, entries + entries % 2)
    np.testing.assert_allclose(np.linalg.norm(x.astype(np.float64), axis=1), 1, atol=digits)
    np.testing.assert_allclose(x[:, :features] * norms[:, None], data, rtol=4 * digits)
    if bias:
        np.testing.assert_allclose(x[:, features] * norms, 1, rtol=4 * digits)
    np.testing.assert_array_equal(x[:, entries:], 0)
    assert not empty.any()


def test_empty_vectors_get_a_fresh_uniformly_random_direction() -> None:
    data = np.zeros((4000, 5), dtype=np.float32)
    data[7] = [3, 0, 4, 0, 0]
    x, norms, empty = directions(data, False, rng(3))
    np.testing.assert_allclose(x[7], [0.6, 0, 0.8, 0, 0, 0], rtol=1e-6)
    assert norms[7] == 5
    assert not empty[7]
    assert np.count_nonzero(empty) == 3999
    np.testing.assert_array_equal(norms[empty], 0)
    drawn = x[empty].astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(drawn[:, 5], 0)  # the pad meets no weight
    assert np.unique(drawn[:, 0]).size > 3900
    # Uniform on the sphere: mean 0 and covariance 1/5, Var x_i^2 = 8/175. 20 + 5 statistics at 6 sigma: below 1e-6.
    count = drawn.shape[0]
    assert np.abs(drawn[:, :5].mean(axis=0)).max() < 6 * math.sqrt(0.2 / count)
    second = drawn[:, :5].T @ drawn[:, :5] / count
    assert np.abs(np.diag(second) - 0.2).max() < 6 * math.sqrt(8 / 175 / count)
    assert np.abs(second - np.diag(np.diag(second))).max() < 6 * math.sqrt(1 / 35 / count)


def test_generator_is_used_for_empty_vectors_only() -> None:
    generator = rng(4)
    untouched = generator.bit_generator.state
    directions(np.ones((3, 4)), False, generator)
    directions(np.zeros((3, 4)), True, generator)
    assert generator.bit_generator.state == untouched
    first, _, _ = directions(np.zeros((1, 4)), False, generator)
    second, _, _ = directions(np.zeros((1, 4)), False, generator)
    assert not np.array_equal(first, second)


def test_zero_vector_with_a_bias_is_the_bias() -> None:
    x, norms, empty = directions(np.zeros((1, 4)), True, rng())
    np.testing.assert_array_equal(x, [[0, 0, 0, 0, 1, 0]])
    np.testing.assert_array_equal(norms, [1])
    assert not empty[0]


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        (np.float32, 1e-45),
        (np.float32, 1e-30),
        (np.float32, 1e30),
        (np.float64, 5e-324),
        (np.float64, 1e-308),
        (np.float64, 1e-200),
        (np.float64, 1e200),
    ],
)
def test_tiny_and_huge_vectors_keep_their_direction(dtype: type[Any], size: float) -> None:
    data: NDArray[Any] = np.array([[size, -size, 0, 0], [1, 1, 1, 1]], dtype=dtype)
    x, norms, empty = directions(data, False, rng())
    np.testing.assert_allclose(x[0], np.array([1, -1, 0, 0]) / math.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(x[1], 0.5)
    assert norms[0] > 0
    assert not empty.any()


def test_no_images_are_no_error() -> None:
    x, norms, empty = directions(np.zeros((0, 5)), True, rng())
    assert x.shape == (0, 6)
    assert norms.shape == empty.shape == (0,)


def test_data_refusals() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        data = np.ones((3, 4))
        data[2, 1] = bad
        with pytest.raises(InputError, match="data vector 2"):
            directions(data, False, rng())
    with pytest.raises(InputError, match="data vector 0"):
        directions(np.full((1, 4), 3e38, dtype=np.float32), False, rng())
    for shape in ((4,), (3, 0)):
        with pytest.raises(ValueError, match="images, n_features"):
            directions(np.ones(shape), False, rng())
