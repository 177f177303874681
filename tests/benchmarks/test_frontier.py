"""The frontier's figures: interval of a crossing, leakage of a model, and a page that says what the JSON says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from benchmarks import frontier
from labqdl.network import DenseLayer, Network, Pipeline, load_model
from labqdl.network.recipes import FRONTIER, PLANS
from labqdl.planner.curves import MeasuredCurve


def test_the_interval_of_a_crossing_is_where_the_ends_of_the_accuracy_cross() -> None:
    points = np.arange(-10.0, 1.0)
    curve = MeasuredCurve(points, np.zeros(1), (0.90 + 0.01 * (points + 10))[None, :], 10_000, 10, "a line")
    found = frontier.crossing(curve, 0.96)
    assert found["f2_db"] == pytest.approx(-4.0, abs=1e-6)
    # One point of accuracy a dB; the binomial interval at 96 % of 10,000 is 0.38 points to either side.
    assert found["low"] == pytest.approx(-4.38, abs=0.03)
    assert found["high"] == pytest.approx(-3.62, abs=0.03)
    assert frontier.crossing(curve, 0.999)["f2_db"] == pytest.approx(-0.1, abs=1e-3)


def test_unequal_rows_leak_more_than_equal_ones_and_more_light_leaks_more() -> None:
    generator = np.random.default_rng(1)
    weights = generator.standard_normal((40, 16)).astype(np.float32)
    scales = np.exp(generator.standard_normal((40, 1))).astype(np.float32)

    def leak(matrix: Any, light: float = 1.0) -> frontier.Leakage:
        network = Network("n", Pipeline((16,)), (DenseLayer(matrix, light=light),))
        spectra = tuple(frontier.spectrum(layer) for layer in network.layers)
        return frontier.best_leakage(network, spectra, -5.0, frontier.link(0.0), 0.01)

    equal, unequal, bright = leak(weights), leak(weights * scales), leak(weights, light=2.0)
    assert unequal.layers[0] > 1.05 * equal.layers[0]
    assert bright.layers[0] > 1.5 * equal.layers[0]
    assert equal.mean == pytest.approx(equal.layers[0])
    assert equal.data <= 0.01 * (1 + 1e-6)


def test_loss_is_charged_half_on_either_way() -> None:
    assert frontier.link(0.0).components == ()
    first, second = frontier.link(3.0).components
    assert first.transmissivity == second.transmissivity == pytest.approx(10**-0.15)


def test_the_page_says_what_the_json_says() -> None:
    document = json.loads(frontier.DATA.read_text(encoding="utf-8"))
    page = frontier.PAGE.read_text(encoding="utf-8")
    assert frontier.tables(document) in page
    recipes = PLANS | FRONTIER
    assert set(document["models"]) <= set(recipes)
    for name, found in document["models"].items():
        if name in PLANS:
            assert found["fingerprint"] == load_model(name).fingerprint
        assert found["targets"]["0.96"]["low"] < found["targets"]["0.96"]["f2_db"] < found["targets"]["0.96"]["high"]
        assert found["mean_light"] == pytest.approx(1)
