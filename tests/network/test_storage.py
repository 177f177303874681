from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from labqdl.errors import InputError
from labqdl.facts import Activation, ActivationKind
from labqdl.network import DenseLayer, Network, Pipeline, load_network, save_network
from labqdl.network.pipeline import Centre, Flatten, Normalise, Scale, Standardise
from labqdl.network.storage import network_from_bytes


def example(seed: int = 1) -> Network:
    generator = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return generator.normal(size=shape).astype(np.float32)

    return Network(
        name="example",
        description="Für die Prüfung",
        pipeline=Pipeline((2, 2), (Scale(0.5), Flatten(), Centre(normal(4)), Normalise())),
        layers=(
            DenseLayer(normal(5, 4), normal(5), Activation(ActivationKind.RELU, 0.25), published_scale=True),
            DenseLayer(normal(3, 5), normal(3), centred=True, light=12.5),
        ),
        classes=("a", "b", "c"),
        notes={"licence": "none"},
    )


finite = st.floats(-10, 10, width=32)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    widths = draw(st.lists(st.integers(1, 5), min_size=2, max_size=3))
    bias = draw(st.booleans())
    layers = tuple(
        DenseLayer(
            (generator.normal(size=(after, before)) * draw(st.sampled_from([0.1, 1.0, 10.0]))).astype(np.float32),
            generator.normal(size=after).astype(np.float32) if bias else None,
            Activation(draw(st.sampled_from(list(ActivationKind))), draw(finite)),
            published_scale=bias or draw(st.booleans()),
            centred=draw(st.booleans()),
        )
        for before, after in itertools.pairwise(widths)
    )
    steps = (
        Standardise(generator.normal(size=widths[0]).astype("f4"), generator.uniform(1, 2, widths[0]).astype("f4")),
    )
    return Network(draw(st.text(max_size=5)), Pipeline((widths[0],), draw(st.sampled_from([(), steps]))), layers)


@settings(max_examples=40)
@given(networks())
def test_round_trip_to_the_bit(tmp_path_factory: pytest.TempPathFactory, network: Network) -> None:
    path = tmp_path_factory.mktemp("m") / "model"
    save_network(network, path)
    again = load_network(path.with_suffix(".json"))
    assert again.fingerprint == network.fingerprint
    assert again.name == network.name
    data = np.random.default_rng(1).normal(size=(3, *network.pipeline.input_shape)).astype(np.float32)
    np.testing.assert_array_equal(
        again.forward_exact(again.prepare(data)), network.forward_exact(network.prepare(data))
    )


def test_files_names_and_words(tmp_path: Path) -> None:
    weights, description = save_network(example(), tmp_path / "deep" / "m")
    assert (weights.name, description.name) == ("m.safetensors", "m.json")
    assert {path.name for path in weights.parent.iterdir()} == {"m.safetensors", "m.json"}
    for path in (weights, description, weights.with_suffix("")):
        loaded = load_network(path)
        assert loaded.description == "Für die Prüfung"
        assert loaded.classes == ("a", "b", "c")
        assert loaded.notes == {"licence": "none"}
        assert loaded.layers[0].activation == Activation(ActivationKind.RELU, 0.25)
        assert loaded.layers[1].centred


def test_half_precision_is_rounded_once(tmp_path: Path) -> None:
    save_network(example(), tmp_path / "m", dtype=np.float16)
    assert load_file(tmp_path / "m.safetensors")["layers.0.weights"].dtype == np.float16
    once = load_network(tmp_path / "m")
    np.testing.assert_allclose(once.layers[0].weights, example().layers[0].weights, rtol=1e-3, atol=1e-6)
    save_network(once, tmp_path / "n", dtype=np.float16)
    assert load_network(tmp_path / "n").fingerprint == once.fingerprint


@given(st.binary(max_size=200))
def test_any_bytes_give_a_clear_error(content: bytes) -> None:
    with pytest.raises(InputError, match=r"x\.safetensors"):
        network_from_bytes(
            content,
            b'{"schema": "labqdl.network", "version": 1, "name": "", "input": {"shape": [1]}, '
            b'"pipeline": [], "layers": []}',
            source="x",
        )
    with pytest.raises(InputError, match=r"x\.json"):
        network_from_bytes(b"", content, source="x")


def test_truncated_tensors(tmp_path: Path) -> None:
    weights, _ = save_network(example(), tmp_path / "m")
    content = weights.read_bytes()
    for size in (0, 4, 8, 50, len(content) - 1):
        weights.write_bytes(content[:size])
        with pytest.raises(InputError, match="no readable safetensors file") as caught:
            load_network(weights)
        assert caught.value.source == str(weights)


def test_missing_files(tmp_path: Path) -> None:
    weights, description = save_network(example(), tmp_path / "m")
    description.unlink()
    with pytest.raises(InputError, match=r"m\.json: there is no such file"):
        load_network(weights)
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        load_network(tmp_path / "folder")


def change(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set (or with ... delete) a dotted key; digits are list indices."""

    def apply(described: dict[str, Any]) -> None:
        target: Any = described
        *parents, last = [int(part) if part.isdigit() else part for part in key.split(".")]
        for part in parents:
            target = target[part]
        if value is ...:
            del target[last]
        else:
            target[last] = value

    return apply


@pytest.mark.parametrize(
    ("edit", "key", "message"),
    [
        (change("schema", "other"), "schema", "expected 'labqdl.network'"),
        (change("version", 2), "version", "found 2"),
        (change("version", True), "version", "found True"),
        (change("name", ...), "name", "this key is missing"),
        (change("name", 3), "name", "expected text"),
        (change("colour", 1), "colour", "unknown key"),
        (change("input", [1]), "input", "expected an object"),
        (change("input.shape", []), "input.shape", "positive whole numbers"),
        (change("input.shape", [2, -2]), "input.shape", "positive whole numbers"),
        (change("input.shape", [2, 3]), "pipeline", "the data there has"),
        (change("pipeline", {}), "pipeline", "expected a list"),
        (change("pipeline.0", 1), "pipeline[0]", "expected an object"),
        (change("pipeline.0.step", "squeeze"), "pipeline[0].step", "unknown step 'squeeze'"),
        (change("pipeline.2.mean", "nothing"), "pipeline[2].mean", "no tensor 'nothing'"),
        (change("layers", []), "pipeline.2.mean", "does not use"),
        (change("layers.1", "x"), "layers[1]", "expected an object"),
        (change("layers.1.weights", "layers.9"), "layers[1].weights", "has no tensor 'layers.9'"),
        (change("layers.1.weights", ["x"]), "layers[1].weights", "has no tensor"),
        (change("layers.1.weights", "layers.0.bias"), "layers[1]", "weights must have the shape"),
        (change("layers.0.weights", "layers.1.weights"), "layers[0]", "bias must have the shape"),
        (change("layers.1.bias", None), "layers.1.bias", "does not use"),
        (change("layers.1.bias", "layers.0.bias"), "layers[1]", "bias must have the shape"),
        (change("layers.1.gain", 1), "layers[1].gain", "unknown key"),
        (change("layers.1.light", "much"), "layers[1].light", "finite number"),
        (change("layers.1.light", -1), "layers[1]", "positive"),
        (change("layers.1.light", ...), "fingerprint", "does not match"),
        (change("layers.1.activation", ...), "layers[1].activation", "missing"),
        (change("layers.0.activation.kind", "gelu"), "layers[0].activation.kind", "unknown activation 'gelu'"),
        (change("layers.0.activation.kind", ["relu"]), "layers[0].activation.kind", "unknown activation"),
        (change("layers.0.activation.threshold", "1"), "layers[0].activation.threshold", "finite number"),
        (change("layers.0.activation.threshold", float("nan")), "layers[0].activation.threshold", "finite number"),
        (change("layers.0.published_scale", 1), "layers[0].published_scale", "true or false"),
        (change("layers.0.published_scale", False), "layers", "layer 0 must publish its scale"),
        (change("layers.1.centred", False), "fingerprint", "does not match"),
        (change("classes", ["a"]), "layers", "1 class names for 3 outputs"),
        (change("classes", [1, 2, 3]), "classes", "expected names"),
        (change("notes", "x" * 100), "notes", "..."),
    ],
)
def test_wrong_descriptions(tmp_path: Path, edit: Callable[[dict[str, Any]], None], key: str, message: str) -> None:
    _, description = save_network(example(), tmp_path / "m")
    described = json.loads(description.read_text(encoding="utf-8"))
    edit(described)
    description.write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_network(description)
    assert message in str(caught.value)
    if key != "pipeline.2.mean":
        assert caught.value.key == key
    assert str(tmp_path / "m") in str(caught.value)


def test_json_that_is_none(tmp_path: Path) -> None:
    _, description = save_network(example(), tmp_path / "m")
    for content, message in (
        (b'{\n "a": }', r"m\.json, line 2: no JSON"),
        (b"\xff", "no UTF-8"),
        (b"[]", "an object"),
        (b"[" * 100_000, "no JSON"),
    ):
        description.write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_network(description)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("layers.0.bias", np.array([1, 2, np.nan, 4, 5], dtype=np.float32), r"entry \[2\] is NaN"),
        ("layers.0.bias", np.array([1, 2, 1e300, 4, 5]), r"entry \[2\] is NaN, infinite or too large"),
        ("layers.0.bias", np.arange(5), "type int64"),
        ("layers.0.weights", np.ones((5, 3), dtype=np.float32), "takes 3 features"),
        ("layers.0.weights", np.ones(5, dtype=np.float32), "weights must have the shape"),
        ("more", np.ones(5, dtype=np.float32), "does not use the tensor 'more'"),
    ],
)
def test_wrong_tensors(tmp_path: Path, name: str, array: np.ndarray[Any, Any], message: str) -> None:
    weights, _ = save_network(example(), tmp_path / "m")
    save_file({**load_file(weights), name: array}, weights)
    with pytest.raises(InputError, match=message):
        load_network(weights)
