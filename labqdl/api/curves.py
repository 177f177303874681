"""Curves of accuracy against F^2: measured once on data that a model was not trained on, kept as small JSON files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.api.places import write_text
from labqdl.config.files import parse_json, read_bytes
from labqdl.errors import InputError
from labqdl.network import Network, load_dataset, load_model, predictions
from labqdl.network.catalogue import SHIPPED_MODELS
from labqdl.network.datasets import Dataset, shipped_file
from labqdl.network.evaluate import check_labels
from labqdl.network.splitting import held_out_indices
from labqdl.planner.curves import MeasuredCurve
from labqdl.security.published import CURVE_ACCURACY, CURVE_F2_DB
from labqdl.units import from_db

CURVE_SCHEMA = "labqdl.curve/1"
F2_DB = tuple(float(point) for point in (-30, -27, *range(-24, 13), 14, 16, 20))
"""Points that are measured, dB."""
LAST_LAYER_DB = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 9.0, 12.0)
"""Extra light of the last layer that is measured, dB."""
LEAST_DRAWS, LEAST_LOOKS = 8, 20_000
"""Noise draws for each datum: at least so many, and more for few data, so that a point has so many looks in all."""
_CHUNK = 1000
Floats = NDArray[np.float32]
_DIGITS = 5

OnPoint = Callable[[int, int], None]
"""Called with evaluations done and in all."""


def measure_curve(
    model: str | Path,
    data: str | Path,
    *,
    labels: str | Path | None = None,
    held_out: bool = False,
    f2_db: tuple[float, ...] = F2_DB,
    last_layer_db: tuple[float, ...] = LAST_LAYER_DB,
    draws: int | None = None,
    seed: int = 1,
    on_point: OnPoint | None = None,
) -> MeasuredCurve:
    """Accuracy of a model against F^2, and against extra light of its last layer.

    Parameters
    ----------
    model:
        Shipped model or path.
    data, labels:
        Data set with labels. A plan made from test data would choose on them: take validation data.
    held_out:
        The data are those that the model was trained on: take the part that its training set aside, which the
        model's notes tell.
    f2_db, last_layer_db, draws:
        Points, and noise draws for each datum at each of them; by default 8, and more for fewer than 2,500 data.
    seed:
        Of the noise.

    Raises
    ------
    InputError
        For data without labels or that do not fit, and for a model whose notes do not say what was set aside.
    """
    network = load_model(model)
    dataset = load_dataset(data, labels=None if labels is None else Path(labels))
    if dataset.labels is None:
        raise InputError("has no labels", source=dataset.source, expected="labels (--labels FILE)")
    if draws is not None and draws < 1:
        raise InputError(f"{draws} draws", source="--draws", expected="1 or more")
    part, where = _part(network, dataset) if held_out else (dataset, f"{dataset.name}, {len(dataset):,} data")
    assert part.labels is not None
    check_labels(network, part.data, part.labels)
    if draws is None:
        draws = max(LEAST_DRAWS, -(-LEAST_LOOKS // len(part)))
    splits = tuple(sorted({0.0, *last_layer_db})) if len(network.layers) > 1 else (0.0,)
    accuracy = _measured(network, part, f2_db, splits, draws, seed, on_point)
    return MeasuredCurve(
        f2_db=np.asarray(f2_db, dtype=np.float64),
        last_layer_db=np.asarray(splits),
        accuracy=accuracy,
        vectors=len(part),
        draws=draws,
        measured_on=where,
        fingerprint=network.fingerprint,
    )


def _part(network: Network, dataset: Dataset) -> tuple[Dataset, str]:
    notes = network.notes.get("training")
    if not isinstance(notes, dict) or not {"validation", "seed"} <= set(notes):
        raise InputError(
            f"the notes of model '{network.name}' do not say what its training set aside",
            source="--held-out",
            expected="a model made by 'labqdl train'",
        )
    held, _ = held_out_indices(len(dataset), float(notes["validation"]), int(notes["seed"]))
    assert dataset.labels is not None
    part = Dataset(dataset.name, dataset.source, dataset.data[held], dataset.labels[held], dataset.classes)
    return part, f"{len(held):,} of {len(dataset):,} data of {dataset.name} that the training set aside"


def _measured(
    network: Network,
    data: Dataset,
    f2_db: tuple[float, ...],
    splits: tuple[float, ...],
    draws: int,
    seed: int,
    on_point: OnPoint | None,
) -> NDArray[np.float64]:
    assert data.labels is not None
    vectors = network.prepare(data.data, source=data.source)
    generator = np.random.Generator(np.random.SFC64(seed))
    right = np.zeros((len(splits), len(f2_db)))
    chunks = range(0, len(vectors), _CHUNK)
    total = len(chunks) * len(f2_db)
    done = 0
    for start in chunks:
        first = network.first_outcomes(vectors[start : start + _CHUNK])
        wanted = data.labels[start : start + _CHUNK]
        for point, ratio_db in enumerate(f2_db):
            for _ in range(draws):
                # The last layer alone sees the split: everything before it is drawn once for all of them.
                outcomes, norms = _before_the_last(network, first, from_db(ratio_db), generator)
                for split, extra in enumerate(splits):
                    last = network.layers[-1]
                    noise = generator.standard_normal(outcomes.shape, dtype=np.float32)
                    noise *= np.float32(1.0 / math.sqrt(from_db(ratio_db + extra) * last.light))
                    right[split, point] += np.sum(predictions(last.finish(outcomes + noise, norms)) == wanted)
            done += 1
            if on_point is not None:
                on_point(done, total)
    return right / (draws * len(vectors))


def _before_the_last(
    network: Network, first: tuple[Floats, Floats], ratio: float, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    """Noiseless outcomes and norms of the last layer, behind all others with their noise."""
    outcomes, norms = first
    for layer, following in pairwise(network.layers):
        noise: Floats = generator.standard_normal(outcomes.shape, dtype=np.float32)
        noise *= np.float32(1.0 / math.sqrt(ratio * layer.light))
        units, norms = following.directions(layer.finish(outcomes + noise, norms))
        outcomes = units @ following.unit_weights.T
    return outcomes, norms


def curve_to_json(curve: MeasuredCurve, name: str) -> dict[str, Any]:
    """The object of a curve's file; schema `labqdl.curve/1` (docs/file-formats.md)."""
    return {
        "schema": CURVE_SCHEMA,
        "model": name,
        "fingerprint": curve.fingerprint,
        "measured_on": curve.measured_on,
        "vectors": curve.vectors,
        "draws": curve.draws,
        "f2_db": curve.f2_db.tolist(),
        "last_layer_db": curve.last_layer_db.tolist(),
        "accuracy": [[round(value, _DIGITS) for value in row] for row in curve.accuracy.tolist()],
    }


def save_curve(curve: MeasuredCurve, name: str, path: str | Path) -> Path:
    """Write a curve's file: one list a line, so that changes can be read.

    Raises
    ------
    InputError
        Where it cannot be written.
    """
    document = curve_to_json(curve, name)
    rows = ",\n".join(f"  {json.dumps(row)}" for row in document.pop("accuracy"))
    lines = [f' "{key}": {json.dumps(value)}' for key, value in document.items()]
    text = "{\n" + ",\n".join(lines) + f',\n "accuracy": [\n{rows}\n ]\n}}\n'
    return write_text(Path(path), text)


def load_curve(what: str | Path) -> MeasuredCurve:
    """A curve from its file.

    Raises
    ------
    InputError
        For a missing or damaged file.
    """
    path = Path(what)
    return read_curve(read_bytes(path, expected="a curve ('labqdl curve' makes it)"), source=str(path))


def read_curve(content: bytes, *, source: str) -> MeasuredCurve:
    """A curve from the content of its file; errors as `load_curve`."""
    document = parse_json(content, source=source)
    if not isinstance(document, dict) or document.get("schema") != CURVE_SCHEMA:
        raise InputError("is no curve", source=source, expected=f'an object with "schema": "{CURVE_SCHEMA}"')
    try:
        return MeasuredCurve(
            f2_db=np.asarray(document["f2_db"], dtype=np.float64),
            last_layer_db=np.asarray(document["last_layer_db"], dtype=np.float64),
            accuracy=np.asarray(document["accuracy"], dtype=np.float64),
            vectors=int(document["vectors"]),
            draws=int(document["draws"]),
            measured_on=str(document["measured_on"]),
            fingerprint=str(document["fingerprint"]),
        )
    except KeyError as error:
        raise InputError(f"key {error} is missing", source=source, expected=f"schema {CURVE_SCHEMA}") from None
    except (TypeError, ValueError) as error:
        raise InputError(str(error), source=source, expected=f"schema {CURVE_SCHEMA}") from None


def shipped_curve(model: str) -> MeasuredCurve | None:
    """The curve that ships with a model; None where none does."""
    if model not in SHIPPED_MODELS:
        return None
    resource = shipped_file(f"curves/{model}.json")
    if not resource.is_file():
        return None
    return read_curve(resource.read_bytes(), source=f"shipped curve {model}")


def curve_of(network: Network, model: str | Path, file: str | Path | None) -> MeasuredCurve:
    """The curve for a plan: from a file, else the one that ships; it has to be this very model's.

    Raises
    ------
    InputError
        Where there is none, or it belongs to other numbers.
    """
    curve = shipped_curve(str(model)) if file is None else load_curve(file)
    if curve is None:
        raise InputError(
            f"no curve of accuracy against F² ships with model '{model}'",
            source="--curve",
            expected="a file that 'labqdl curve MODEL DATA --out FILE' makes",
        )
    if curve.fingerprint != network.fingerprint:
        raise InputError(
            f"was measured with another model (fingerprint {curve.fingerprint[:16]}, not {network.fingerprint[:16]})",
            source=str(file) if file is not None else f"shipped curve {model}",
            hint="'labqdl curve' measures it again",
        )
    return curve


def published_curve() -> MeasuredCurve:
    """The curve that the protocol's authors published for their network of 784-784-10 neurons."""
    return MeasuredCurve(
        f2_db=np.array(CURVE_F2_DB),
        last_layer_db=np.zeros(1),
        accuracy=np.array([CURVE_ACCURACY]),
        vectors=10_000,
        draws=5,
        measured_on="10,000 validation digits, by the authors (read at whole decibels)",
    )
