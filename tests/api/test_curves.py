"""Curves of accuracy against F^2: what ships belongs to the models that ship, and can be made again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from labqdl.api.curves import (
    curve_of,
    load_curve,
    measure_curve,
    published_curve,
    read_curve,
    save_curve,
    shipped_curve,
)
from labqdl.errors import InputError
from labqdl.network import load_model, shipped_models


@pytest.mark.parametrize("model", [entry.name for entry in shipped_models()])
def test_shipped_curves_belong_to_the_shipped_models(model: str) -> None:
    network, curve = load_model(model), shipped_curve(model)
    assert curve is not None
    assert curve.fingerprint == network.fingerprint
    assert "set aside" in curve.measured_on
    # and agree with what the training itself found on the same part of the data
    notes = network.notes["validation"]
    assert isinstance(notes, dict)
    assert curve.vectors == notes["data"]
    for f2_db, accuracy in zip(notes["f2_db"], notes["accuracy"], strict=True):
        spread = np.sqrt(accuracy * (1 - accuracy) / (curve.vectors * 3)) + 0.004
        assert float(curve.at(f2_db)) == pytest.approx(accuracy, abs=5 * spread)


def test_the_small_one_is_made_again_as_it_ships(tmp_path: Path) -> None:
    made = measure_curve("breast-cancer", "breast-cancer-train", held_out=True, last_layer_db=(-2.0, 2.0))
    shipped = shipped_curve("breast-cancer")
    assert shipped is not None
    assert made.vectors == shipped.vectors == 46
    assert made.draws == shipped.draws == 435
    same = [int(np.flatnonzero(shipped.last_layer_db == split)[0]) for split in (-2.0, 0.0, 2.0)]
    # 20,010 looks at each point: 5 sigma of their noise, other random numbers than in the file
    np.testing.assert_allclose(made.accuracy, shipped.accuracy[same], atol=5 * 0.5 / np.sqrt(20_010) * np.sqrt(2))
    file = save_curve(made, "breast-cancer", tmp_path / "curve.json")
    again = load_curve(file)
    np.testing.assert_allclose(again.accuracy, made.accuracy, atol=5e-6)
    assert (again.vectors, again.draws, again.fingerprint) == (made.vectors, made.draws, made.fingerprint)
    assert curve_of(load_model("breast-cancer"), "breast-cancer", file).vectors == 46


def test_more_light_for_the_last_layer_helps() -> None:
    for model in ("mnist-robust", "mnist-plain"):
        curve = shipped_curve(model)
        assert curve is not None
        needed = [curve.f2_for(0.96, split) for split in curve.last_layer_db.tolist()]
        assert all(value is not None for value in needed)
        assert (np.diff(np.array(needed, dtype=np.float64)) < 0).all()


def test_foreign_and_damaged_curves(tmp_path: Path) -> None:
    network = load_model("breast-cancer")
    curve = shipped_curve("mnist-plain")
    assert curve is not None
    foreign = save_curve(curve, "mnist-plain", tmp_path / "foreign.json")
    with pytest.raises(InputError, match="another model"):
        curve_of(network, "breast-cancer", foreign)
    with pytest.raises(InputError, match="no curve"):
        curve_of(network, "somewhere/mine", None)
    with pytest.raises(InputError, match="no such file"):
        load_curve(tmp_path / "missing.json")
    with pytest.raises(InputError, match="cannot be written"):
        save_curve(curve, "x", tmp_path / "no" / "x.json")
    document = json.loads(foreign.read_text())
    for damage, words in (
        ("{", "no JSON"),
        ("[]", "is no curve"),
        (json.dumps({**document, "schema": "other/1"}), "is no curve"),
        (json.dumps({name: value for name, value in document.items() if name != "draws"}), "draws"),
        (json.dumps({**document, "accuracy": [[0.5]]}), "shape"),
        (json.dumps({**document, "vectors": "many"}), "many"),
    ):
        with pytest.raises(InputError, match=words):
            read_curve(damage.encode(), source="x.json")


def test_measuring_needs_labels_and_notes(tmp_path: Path) -> None:
    np.savez(tmp_path / "bare.npz", data=np.ones((4, 30)))
    with pytest.raises(InputError, match="labels"):
        measure_curve("breast-cancer", tmp_path / "bare.npz")
    with pytest.raises(InputError, match="draws"):
        measure_curve("breast-cancer", "breast-cancer-train", held_out=True, draws=0)


def test_the_published_curve() -> None:
    assert published_curve().f2_for(0.96) == pytest.approx(4.0)
    assert published_curve().fingerprint == ""
