from __future__ import annotations

import math

import numpy as np
import pytest

from labqdl.errors import InputError
from labqdl.network import DenseLayer, Network, Pipeline, accuracy_exact, accuracy_vs_f2

SIGN = Network("sign", Pipeline((2,)), (DenseLayer(np.array([[1, 0], [-1, 0]], dtype=np.float32)),))
DATA = np.tile(np.array([[1.0, 0], [-1.0, 0]]), (2000, 1))
LABELS = np.tile([0, 1], 2000)


def test_accuracy_agrees_with_the_closed_form() -> None:
    """Two rows (+-1, 0)/sqrt(1/2): margin 2 sqrt 2 against noise sqrt(2)/F, so P(right) = Phi(2 F).

    40,000 decisions a point, 5 sigma, 3 points: false-alarm rate 1.7e-6 if the seed were not fixed.
    """
    curve = accuracy_vs_f2(SIGN, DATA, LABELS, [-10, -6, 0], 10, np.random.default_rng(3))

    def check(factor: float) -> None:
        for f2_db, found in zip(curve.f2_db, curve.mean, strict=True):
            expected = 0.5 * math.erfc(-2 * factor * 10 ** (f2_db / 20) / math.sqrt(2))
            assert abs(found - expected) < 5 * math.sqrt(expected * (1 - expected) / 40_000)

    check(1.0)
    with pytest.raises(AssertionError):
        check(1.05)
    assert curve.vectors == 4000
    np.testing.assert_allclose(curve.standard_error, np.sqrt(curve.mean * (1 - curve.mean) / 40_000), rtol=0.8)


def test_single_draw_has_no_standard_error() -> None:
    curve = accuracy_vs_f2(SIGN, DATA[:10], LABELS[:10], [60], 1, np.random.default_rng(3))
    assert curve.mean[0] == 1
    assert np.isnan(curve.standard_error).all()


def test_exact_accuracy() -> None:
    assert accuracy_exact(SIGN, DATA, LABELS) == 1
    assert accuracy_exact(SIGN, DATA, np.zeros(4000, dtype=int)) == 0.5


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(3, dtype=int), r"\(3,\) labels for 4000 data"),
        (np.where(np.arange(4000) == 7, 2, 0), "label 2 of datum 7; expected whole numbers from 0 to 1"),
        (np.full(4000, -1), "label -1"),
    ],
)
def test_labels_that_do_not_fit(labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        accuracy_exact(SIGN, DATA, labels)


def test_draws_must_be_positive() -> None:
    with pytest.raises(ValueError, match="draws"):
        accuracy_vs_f2(SIGN, DATA, LABELS, [0], 0, np.random.default_rng(3))
