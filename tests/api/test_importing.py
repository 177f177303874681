"""ONNX models in runs: taken as they are, converted, or refused with what would leak."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from labqdl.api import open_run, run
from labqdl.api.importing import convert_onnx, load_model_or_explain, shared_weights_bound
from labqdl.cli.root import run as command
from labqdl.config import load_link
from labqdl.errors import InputError
from labqdl.network import load_model
from labqdl.security.channel import honest_channel
from labqdl.security.holevo import weight_leakage

EXPORTED = Path(__file__).parents[1] / "network" / "onnx_models"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The inputs that PyTorch answered, with its answers as labels."""
    answers = np.load(EXPORTED / "mlp-outputs.npz")
    file = tmp_path / "data.npz"
    np.savez(file, data=answers["inputs"], labels=answers["outputs"].argmax(axis=1))
    return file


def test_a_run_of_an_onnx_model(data: Path, tmp_path: Path) -> None:
    """In bright light the run predicts what PyTorch predicts."""
    result = run(model=EXPORTED / "mlp-dynamo.onnx", data=data, link="paper", mu=1e9, seed=1, folder=tmp_path / "run")
    assert result.accuracy == 1.0
    assert result.model == "mlp-dynamo"
    recorded = open_run(tmp_path / "run").logits()
    answers = np.load(EXPORTED / "mlp-outputs.npz")["outputs"]
    scale = load_model(EXPORTED / "mlp-dynamo.onnx").layers[-1].scale
    assert recorded * scale == pytest.approx(answers, abs=2e-3)


def test_a_converted_model_is_the_same_network(data: Path, tmp_path: Path) -> None:
    network, files = convert_onnx(EXPORTED / "mlp-legacy.onnx", tmp_path / "mine.safetensors")
    assert [file.name for file in files] == ["mine.safetensors", "mine.json"]
    again = load_model(tmp_path / "mine")
    assert again.fingerprint == network.fingerprint == load_model(EXPORTED / "mlp-legacy.onnx").fingerprint
    assert again.name == "mine"
    first, second = (
        run(model=model, data=data, link="paper", seed=1, folder=tmp_path / name)
        for name, model in (("a", EXPORTED / "mlp-legacy.onnx"), ("b", tmp_path / "mine"))
    )
    assert first.verdict == second.verdict
    assert np.array_equal(open_run(first.run).logits(), open_run(second.run).logits())


def test_the_bound_of_a_refusal() -> None:
    """L(2 P mu + 1, T, eps)/2 at the ideal link's own point, with eps of one use."""
    link = load_link("ideal")
    assert link.operating_point is not None
    mu, tap = link.operating_point.mu, link.operating_point.tap
    honest = honest_channel(mu=mu, n_modes=5, setting=tap, ledger=link.ledger)
    expected = weight_leakage(mu=36 * mu, transmissivity=honest.transmissivity, excess=honest.excess) / 2
    assert shared_weights_bound(36, 9).bits == pytest.approx(expected, rel=1e-9)
    assert shared_weights_bound(36, 9).uses == 36


@pytest.mark.parametrize("name", ["conv-legacy", "attention-dynamo"])
def test_a_refusal_says_what_would_leak(name: str) -> None:
    with pytest.raises(InputError) as caught:
        load_model_or_explain(EXPORTED / f"{name}.onnx")
    words = str(caught.value)
    for part in (f"{name}.onnx: node", "bit per weight", "engine labqdl", "assumes", "calibration", "uses"):
        assert part in words, part
    assert ("alone determine the weights" in words) == (name == "conv-legacy")
    assert f"{shared_weights_bound(36 if 'conv' in name else 5, 9 if 'conv' in name else 8).bits:.4g}" in words


def test_data_of_another_shape_get_the_way_described(data: Path, tmp_path: Path) -> None:
    model = tmp_path / "flat.onnx"
    model.write_bytes((EXPORTED / "no-bias-dynamo.onnx").read_bytes())
    np.savez(data, data=np.ones((4, 2, 5), np.float32))
    with pytest.raises(InputError, match=r"data of shape \(2, 5\) do not fit model 'flat\.onnx'") as caught:
        run(model=model, data=data, folder=tmp_path / "run")
    described = str(caught.value).partition("write ")[2].partition(" into ")[0]
    (tmp_path / "flat.pipeline.json").write_text(described)
    assert run(model=model, data=data, link="paper", folder=tmp_path / "run").images == 4


def test_the_command(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["models", "convert", str(EXPORTED / "leaky-legacy.onnx"), str(tmp_path / "mine"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "labqdl.convert/1"
    assert [layer["activation"] for layer in document["layers"]] == ["leaky-relu", "leaky-relu", "identity"]
    assert command(["models", "convert", str(EXPORTED / "mlp-legacy.onnx"), str(tmp_path / "mine")]) == 0
    assert "12-7-3 network; pipeline for data of shape 3 x 4: flatten" in capsys.readouterr().out
    assert command(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "labqdl.models/1"
    for wrong, words in (
        ([str(EXPORTED / "tanh-legacy.onnx"), "x"], "node '/1/Tanh' (Tanh)"),
        ([str(EXPORTED / "mlp-legacy.onnx"), str(tmp_path / "nowhere" / "x")], "does not exist"),
        ([str(tmp_path / "nowhere.onnx"), str(tmp_path / "x")], "there is no such file"),
    ):
        assert command(["models", "convert", *wrong]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert "Traceback" not in error
    assert command(["run", "--model", str(EXPORTED / "conv-legacy.onnx"), "--data", str(data)]) == 2
    assert "is a convolution" in capsys.readouterr().err
