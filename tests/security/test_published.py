"""The authors' published accuracy and their pipeline: the headline figures that follow from them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labqdl.facts import TapSetting
from labqdl.optics.gain_tap import amplifier_tap
from labqdl.security.published import (
    CURVE_ACCURACY,
    CURVE_F2_DB,
    authors_accuracy,
    authors_fit,
    authors_fit_argument,
)

POINTS = [(4.0, 2.0, 0.9588, 0.952, 0.970), (8.49, 1.370, 0.9647, 0.962, 0.972), (33.70, 1.1835, 0.9710, 0.974, 0.977)]
"""mu, G, accuracy by the authors' pipeline, and by the raw curve at mu/DX2 and at 2 mu/DX2."""


@pytest.mark.parametrize(("mu", "gain", "pipeline", "half", "full"), POINTS)
def test_headline_of_the_authors_pipeline(mu: float, gain: float, pipeline: float, half: float, full: float) -> None:
    setting = TapSetting.amplifier(gain)
    noise = amplifier_tap(setting.amplifier_gain, setting.tap_transmissivity).n_x + 1.0
    assert float(authors_fit(authors_fit_argument(mu=mu, client_noise=noise))) == pytest.approx(pipeline, abs=6e-5)
    # The table holds whole decibels; in between the interpolation may be off by a tenth of a point.
    assert float(authors_accuracy(10 * math.log10(mu / noise))) == pytest.approx(half, abs=1.5e-3)
    assert float(authors_accuracy(10 * math.log10(2 * mu / noise))) == pytest.approx(full, abs=1.5e-3)


def test_curve_is_the_table_at_its_points_rises_and_is_flat_outside() -> None:
    np.testing.assert_allclose(authors_accuracy(np.array(CURVE_F2_DB)), CURVE_ACCURACY, rtol=1e-12)
    fine = authors_accuracy(np.linspace(-15, 25, 400))
    assert np.all(np.diff(fine) >= -1e-12)
    assert fine[0] == pytest.approx(CURVE_ACCURACY[0])
    assert fine[-1] == pytest.approx(CURVE_ACCURACY[-1])


def test_fit_in_linear_f2_is_off_by_more_than_a_point_and_levels_off_too_low() -> None:
    f2 = 10 ** (np.array(CURVE_F2_DB) / 10)
    error = authors_fit(f2) - np.array(CURVE_ACCURACY)
    assert float(np.sqrt(np.mean(error**2))) == pytest.approx(0.0111, abs=0.004)
    assert float(authors_fit(1e6)) == pytest.approx(0.9716, abs=1e-4)
