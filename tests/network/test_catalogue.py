from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labqdl.errors import InputError
from labqdl.network import (
    Network,
    accuracy_exact,
    accuracy_vs_f2,
    default_dataset,
    load_dataset,
    load_model,
    save_network,
    shipped_models,
)
from labqdl.network.datasets import shipped_file
from labqdl.network.recipes import PLANS, build, pack_digits, ship

NAMES = ("mnist-plain", "mnist-robust", "mnist-faint", "mnist-discreet", "digits", "breast-cancer")


def test_every_shipped_model_loads_and_has_a_recipe_and_a_licence() -> None:
    entries = {entry.name: entry for entry in shipped_models()}
    assert tuple(entries) == NAMES == tuple(PLANS)
    for name, entry in entries.items():
        network = load_model(name)
        assert network.name == name
        assert network.description == entry.description != ""
        assert network.classes == load_dataset(entry.dataset).classes
        assert default_dataset(name) == entry.dataset
        # The recipe that is in the code is the one that made the model.
        assert entry.notes["training"] == json.loads(json.dumps(PLANS[name].to_json()))
        assert "licence" in entry.notes
    assert default_dataset("other") is None


def test_the_mnist_models_are_784_784_10_without_biases_and_keep_their_scales() -> None:
    for name in ("mnist-plain", "mnist-robust", "mnist-faint", "mnist-discreet"):
        layers = load_model(name).layers
        assert [layer.weights.shape for layer in layers] == [(784, 784), (10, 784)]
        assert all(layer.bias is None and not layer.published_scale for layer in layers)
    # The same light in every row.
    for layer in load_model("mnist-robust").layers:
        np.testing.assert_allclose(np.mean(layer.weights**2, axis=1), 1, rtol=1e-3)
    assert all(layer.bias is not None for layer in load_model("breast-cancer").layers)


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_is_what_the_notes_say(name: str) -> None:
    """Exact accuracy on the whole test set, and one draw at each of two F^2 against the mean of ten in the notes.

    A draw's deviation from the mean over draws is at most that of independent decisions; 6 sigma of it for two
    points and six models: false-alarm rate below 1e-8 if the seed were not fixed.
    """
    network, data = load_model(name), load_dataset(str(default_dataset(name)))
    notes: dict[str, Any] = dict(network.notes["test"])  # type: ignore[call-overload]
    assert data.labels is not None
    assert accuracy_exact(network, data.data, data.labels) == pytest.approx(notes["exact"], abs=2.5 / len(data))
    points = [-5.0, 5.0]
    found = accuracy_vs_f2(network, data.data, data.labels, points, 1, np.random.default_rng(5)).mean
    for point, value in zip(points, found, strict=True):
        expected = notes["accuracy"][notes["f2_db"].index(point)]
        assert abs(value - expected) < 6 * math.sqrt(expected * (1 - expected) * 1.1 / len(data))


def test_mnist_faint_needs_less_than_a_tenth_of_the_light_in_total() -> None:
    """96 % at -18 dB and 97 % at -16 dB, mean over all rows; what shares the light has that mean."""
    network = load_model("mnist-faint")
    assert sum(layer.rows * layer.light for layer in network.layers) == pytest.approx(794)
    assert network.layers[1].light > 20 * network.layers[0].light
    notes: dict[str, Any] = dict(network.notes["test"])  # type: ignore[call-overload]
    figures = dict(zip(notes["f2_db"], notes["accuracy"], strict=True))
    assert figures[-18.0] > 0.96
    assert figures[-16.0] > 0.97


def test_mnist_robust_reaches_the_first_exploration_at_every_point() -> None:
    """Lines (R) of the exploration that this model had to reach: the same light in every row, at F^2 in dB."""
    wanted = {-10.0: 0.906, -5.0: 0.961, -3.0: 0.970, 0.0: 0.977, 5.0: 0.981, 10.0: 0.983}
    notes: dict[str, Any] = dict(load_model("mnist-robust").notes["test"])  # type: ignore[call-overload]
    figures = dict(zip(notes["f2_db"], notes["accuracy"], strict=True))
    assert {point: figures[point] for point in wanted if figures[point] < wanted[point]} == {}


def test_models_by_path_and_by_unknown_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = load_model("breast-cancer")
    weights, description = save_network(network, tmp_path / "mine")
    for path in (weights, description, tmp_path / "mine", str(weights)):
        assert load_model(path).fingerprint == network.fingerprint
    with pytest.raises(InputError, match="there is no model 'mnist-rubust'; expected one of mnist-plain"):
        load_model("mnist-rubust")
    for empty in ("", ".", "x.y"):
        with pytest.raises(InputError, match="there is no model"):
            load_model(empty)
    for missing in (tmp_path / "nothing", "nothing.json"):
        with pytest.raises(InputError, match="there is no such file"):
            load_model(missing)
    save_network(network, tmp_path / "mine.v2")
    assert load_model(tmp_path / "mine.v2").fingerprint == network.fingerprint
    monkeypatch.chdir(tmp_path)
    assert load_model("mine").fingerprint == network.fingerprint


def test_ship_writes_the_figures_of_the_rounded_model(tmp_path: Path) -> None:
    data = load_dataset("breast-cancer")
    assert data.labels is not None
    original: Network = load_model("breast-cancer")
    curve = accuracy_vs_f2(original, data.data, data.labels, [0.0], 2, np.random.default_rng(1))
    shipped = ship(original, curve, data, tmp_path / original.name)
    assert load_model(tmp_path / "breast-cancer").notes == json.loads(json.dumps(shipped.notes))
    assert shipped.fingerprint == original.fingerprint  # it was rounded before


def test_digits_have_a_network_of_64_32_10_without_biases_and_96_percent_in_good_light() -> None:
    network = load_model("digits")
    assert [layer.weights.shape for layer in network.layers] == [(32, 64), (10, 32)]
    assert all(layer.bias is None and not layer.published_scale for layer in network.layers)
    notes: dict[str, Any] = dict(network.notes["test"])  # type: ignore[call-overload]
    figures = dict(zip(notes["f2_db"], notes["accuracy"], strict=True))
    assert [round(100 * figures[f2]) for f2 in (-5.0, 0.0, 3.0, 5.0, 10.0)] == [72, 94, 95, 96, 96]


def test_digits_are_packed_as_they_ship(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pack_digits(tmp_path / "digits.npz")
    with (
        np.load(tmp_path / "digits.npz") as packed,
        np.load(str(shipped_file("digits.npz"))) as ships,
    ):
        assert sorted(packed.files) == sorted(ships.files)
        for name in packed.files:
            np.testing.assert_array_equal(packed[name], ships[name], strict=True)


@pytest.mark.soak
def test_the_digits_model_is_made_again_to_the_byte(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    build("digits", "", tmp_path)
    for suffix in (".json", ".safetensors"):
        assert (tmp_path / f"digits{suffix}").read_bytes() == shipped_file(f"digits{suffix}").read_bytes()


def test_recipes_refuse_unknown_names_and_missing_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no recipe 'x'"):
        build("x", tmp_path, tmp_path)
    with pytest.raises(InputError, match="MNIST training data"):
        build("mnist-plain", tmp_path, tmp_path)


def test_using_a_model_loads_neither_jax_nor_sklearn_nor_scipy() -> None:
    code = (
        "import sys; from labqdl.network import load_model; load_model('breast-cancer'); "
        "import labqdl.network.train, labqdl.network.recipes; "
        "print([name for name in ('jax', 'optax', 'sklearn', 'scipy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
