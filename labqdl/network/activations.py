"""What a client does with its outcomes and with a vector before it meets the light: element-wise, public, cheap.

The client of the protocol and the plain forward passes of `labqdl.network.model` call the same two functions, so
that an accuracy curve and a secure inference cannot drift apart.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import Activation, ActivationKind

Real = TypeVar("Real", np.float32, np.float64)


def apply_activation(activation: Activation, outcomes: NDArray[Real]) -> NDArray[Real]:
    """Element-wise activation of outcomes of any shape, in the units of the outcomes; the result has their dtype.

    With z the outcome, h the threshold and s the slope: identity z - h; ReLU max(z - h, 0); leaky ReLU z - h
    above the threshold and s (z - h) below; square (z - h)^2.
    """
    shifted: NDArray[Real] = outcomes - outcomes.dtype.type(activation.threshold) if activation.threshold else outcomes
    match activation.kind:
        case ActivationKind.IDENTITY:
            return shifted
        case ActivationKind.RELU:
            return np.maximum(shifted, outcomes.dtype.type(0))
        case ActivationKind.LEAKY_RELU:
            return np.where(shifted > 0, shifted, outcomes.dtype.type(activation.slope) * shifted)
        case ActivationKind.SQUARE:
            return shifted * shifted


def centre(vectors: NDArray[Real]) -> NDArray[Real]:
    """Subtract from each vector its own mean; shape (vectors, features), dtype kept.

    A ReLU leaves a vector with a large common part. It does not tell classes apart, but it would take its share of
    the unit norm against which the light's noise is measured.
    """
    centred: NDArray[Real] = vectors - vectors.mean(axis=-1, keepdims=True)
    return centred
