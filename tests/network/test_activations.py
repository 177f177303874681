from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.facts import Activation, ActivationKind
from labqdl.network import apply_activation, centre

Z = np.array([[-2.0, -0.5, 0.0, 0.5, 3.0]], dtype=np.float32)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (Activation(), [-2.0, -0.5, 0.0, 0.5, 3.0]),
        (Activation(ActivationKind.IDENTITY, threshold=1.0), [-3.0, -1.5, -1.0, -0.5, 2.0]),
        (Activation(ActivationKind.RELU), [0.0, 0.0, 0.0, 0.5, 3.0]),
        (Activation(ActivationKind.RELU, threshold=1.0), [0.0, 0.0, 0.0, 0.0, 2.0]),
        (Activation(ActivationKind.LEAKY_RELU, slope=0.1), [-0.2, -0.05, 0.0, 0.5, 3.0]),
        (Activation(ActivationKind.LEAKY_RELU, threshold=-1.0, slope=0.5), [-0.5, 0.5, 1.0, 1.5, 4.0]),
        (Activation(ActivationKind.SQUARE), [4.0, 0.25, 0.0, 0.25, 9.0]),
        (Activation(ActivationKind.SQUARE, threshold=1.0), [9.0, 2.25, 1.0, 0.25, 4.0]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_dtype(activation: Activation, expected: list[float], dtype: Any) -> None:
    outcomes: NDArray[Any] = Z.astype(dtype)
    result = apply_activation(activation, outcomes)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, [expected], rtol=1e-6)


def test_centre_removes_each_vectors_own_mean() -> None:
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_allclose(centre(vectors), [[-1, 0, 1], [-1, 0, 1]])
    assert centre(vectors).dtype == np.float32
