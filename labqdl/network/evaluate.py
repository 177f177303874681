"""How accurate a network is at a given noise of the light."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl.network.model import Network, predictions
from labqdl.units import from_db

_CHUNK = 1000  # vectors a turn, so that memory does not grow with the data


@dataclass(frozen=True, eq=False)
class AccuracyCurve:
    """Accuracy against the signal-to-noise F^2 of the outcomes.

    Attributes
    ----------
    f2_db:
        Points in dB, shape (points,).
    accuracy:
        Fraction right, shape (points, draws): every draw uses all vectors with fresh noise.
    vectors:
        How many data vectors.
    """

    f2_db: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    vectors: int

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over the draws, shape (points,)."""
        mean: NDArray[np.float64] = self.accuracy.mean(axis=1)
        return mean

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """Standard error of `mean` over noise draws on these very vectors; NaN for a single draw."""
        draws = self.accuracy.shape[1]
        if draws < 2:
            return np.full(len(self.f2_db), np.nan)
        error: NDArray[np.float64] = self.accuracy.std(axis=1, ddof=1) / math.sqrt(draws)
        return error


def check_labels(network: Network, data: NDArray[np.generic], labels: NDArray[np.integer]) -> None:
    """Raise InputError unless there is one label for each datum, each an index of an output."""
    if labels.shape != (len(data),):
        raise InputError(f"{labels.shape} labels for {len(data)} data", expected="one label for each datum")
    outputs = max(network.layers[-1].rows, 2)
    wrong = (labels < 0) | (labels >= outputs)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise InputError(f"label {labels[place]} of datum {place}", expected=f"whole numbers from 0 to {outputs - 1}")


def accuracy_exact(network: Network, data: NDArray[np.generic], labels: NDArray[np.integer]) -> float:
    """Fraction right without noise, on raw data."""
    check_labels(network, data, labels)
    vectors = network.prepare(data)
    right = sum(
        int(np.sum(predictions(network.forward_exact(vectors[i : i + _CHUNK])) == labels[i : i + _CHUNK]))
        for i in range(0, len(vectors), _CHUNK)
    )
    return right / len(vectors)


def accuracy_vs_f2(
    network: Network,
    data: NDArray[np.generic],
    labels: NDArray[np.integer],
    f2_db: Sequence[float],
    draws: int,
    generator: np.random.Generator,
) -> AccuracyCurve:
    """Accuracy with fresh noise after every optical layer, for each F^2 and draw.

    Parameters
    ----------
    data, labels:
        Raw data (data, *shape) and the index of the right output for each (data,).
    f2_db:
        Signal-to-noise F^2 = 2 mu/DX2 in dB at the operating point's mu; a layer of other `light` has its share.
    draws:
        Independent draws of all noise for each point.

    Raises
    ------
    InputError
        For data and labels that do not fit the network or each other.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    check_labels(network, data, labels)
    vectors = network.prepare(data)
    right = np.zeros((len(f2_db), draws))
    for start in range(0, len(vectors), _CHUNK):
        # The first and largest product has no noise in it yet: once for all points and draws.
        first = network.first_outcomes(vectors[start : start + _CHUNK])
        wanted = labels[start : start + _CHUNK]
        for point, ratio_db in enumerate(f2_db):
            for draw in range(draws):
                outputs = network.forward_from_first(first, from_db(ratio_db), generator)
                right[point, draw] += np.sum(predictions(outputs) == wanted)
    return AccuracyCurve(np.asarray(f2_db, dtype=np.float64), right / len(vectors), len(vectors))
