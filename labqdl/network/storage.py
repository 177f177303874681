"""Models on disk: NAME.safetensors with every number, NAME.json with what the numbers mean.

The description, schema ``labqdl.network`` version 1, is one JSON object with these keys::

    schema        "labqdl.network"
    version       1
    name          what people call the model
    description   one or two sentences (may be missing)
    input         {"shape": [28, 28]}: shape of one raw datum
    pipeline      list of steps, see labqdl.network.pipeline
    layers        list, in order of use, of
        weights          name of the tensor (rows, features)
        bias             name of the tensor (rows,), or null (may be missing)
        activation       {"kind": "identity" | "relu" | "leaky-relu" | "square", "threshold": 0.0, "slope": 0.01};
                         threshold and slope may be missing
        published_scale  true if the server tells the client the layer's RMS (may be missing: false)
        centred          true if the client subtracts the vector's own mean (may be missing: false)
    classes       names of the outputs (may be missing)
    fingerprint   digest of the numbers and of what acts on them; checked when present
    notes         object with free public facts (may be missing)

Tensors are float16, float32 or float64; all are used as float32. Keys that are not in this list are errors, and so
are tensors that nothing refers to: both are more often a slip of the pen than an extension.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import load as tensors_from_bytes
from safetensors.numpy import save as tensors_to_bytes

from labqdl.config.files import parse_json, read_bytes
from labqdl.errors import InputError
from labqdl.facts import Activation, ActivationKind
from labqdl.network.model import DenseLayer, Network
from labqdl.network.pipeline import Pipeline, step_from_json

SCHEMA = "labqdl.network"
VERSION = 1
_KEYS = {"schema", "version", "name", "input", "pipeline", "layers"}
_MAYBE = {"description", "classes", "fingerprint", "notes"}
_LAYER_KEYS = {"weights", "activation"}
_LAYER_MAYBE = {"bias", "published_scale", "centred", "light"}


def save_network(network: Network, path: Path, *, dtype: type[np.floating[Any]] = np.float32) -> tuple[Path, Path]:
    """Write NAME.safetensors and NAME.json.

    Parameters
    ----------
    path:
        Where: the name of either file or the one they share.
    dtype:
        Type of the tensors on disk. With float16 the weights are rounded; the fingerprint is that of what is
        written.

    Returns
    -------
    The paths of the tensors and of the description. Both are written beside their names and then renamed.
    """
    tensors: dict[str, NDArray[np.float32]] = dict(network.pipeline.tensors())
    layers = []
    for index, layer in enumerate(network.layers):
        prefix = f"layers.{index}"
        tensors[f"{prefix}.weights"] = layer.weights
        if layer.bias is not None:
            tensors[f"{prefix}.bias"] = layer.bias
        activation: dict[str, Any] = {"kind": layer.activation.kind.value, "threshold": layer.activation.threshold}
        if layer.activation.kind is ActivationKind.LEAKY_RELU:
            activation["slope"] = layer.activation.slope
        layers.append(
            {
                "weights": f"{prefix}.weights",
                "bias": None if layer.bias is None else f"{prefix}.bias",
                "activation": activation,
                "published_scale": layer.published_scale,
                "centred": layer.centred,
                **({} if layer.light == 1.0 else {"light": layer.light}),
            }
        )
    described: dict[str, Any] = {
        "schema": SCHEMA,
        "version": VERSION,
        "name": network.name,
        "description": network.description,
        "input": {"shape": list(network.pipeline.input_shape)},
        "pipeline": network.pipeline.to_json(),
        "layers": layers,
        "classes": list(network.classes),
        "notes": network.notes,
    }
    packed = tensors_to_bytes({name: np.ascontiguousarray(array, dtype=dtype) for name, array in tensors.items()})
    written = network_from_bytes(packed, json.dumps(described).encode(), source=str(path))
    described["fingerprint"] = written.fingerprint
    text = json.dumps(described, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    weights_path, description_path = (_beside(path, suffix) for suffix in (".safetensors", ".json"))
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, content in ((weights_path, packed), (description_path, text.encode())):
        temporary = target.with_name(target.name + ".part")
        temporary.write_bytes(content)
        os.replace(temporary, target)
    return weights_path, description_path


def load_network(path: Path) -> Network:
    """Read a model; `path` names the description, the tensors or both without suffix.

    Raises
    ------
    InputError
        For missing or damaged files, unknown keys or versions, missing or superfluous tensors, NaN, shapes that do
        not fit and a fingerprint that does not match; names file and key.
    """
    contents = []
    for suffix in (".safetensors", ".json"):
        hint = "A model is a pair: NAME.safetensors and NAME.json"
        contents.append(read_bytes(_beside(path, suffix), hint=hint))
    return network_from_bytes(contents[0], contents[1], source=str(_beside(path, "")))


def _beside(path: Path, suffix: str) -> Path:
    """The file of a model with this suffix; dots inside of the model's name stay."""
    name = path.stem if path.suffix in (".json", ".safetensors") else path.name
    return path.with_name(name + suffix)


def network_from_bytes(tensors: bytes, description: bytes, *, source: str) -> Network:
    """A model from the content of its two files; `source` is their name without suffix."""
    where = f"{source}.json"
    described = _parse(description, where)
    arrays = _read_tensors(tensors, f"{source}.safetensors")
    unused = set(arrays)

    def tensor(name: object, key: str) -> NDArray[np.float32]:
        if not isinstance(name, str) or name not in arrays:
            raise InputError(
                f"{source}.safetensors has no tensor {name!r}",
                source=where,
                key=key,
                expected="one of " + ", ".join(sorted(arrays)) if arrays else "a tensor's name",
            )
        unused.discard(name)
        return arrays[name]

    shape = _input_shape(described["input"], where)
    steps = []
    for index, entry in enumerate(_list(described["pipeline"], where, "pipeline")):
        key = f"pipeline[{index}]"
        entry = _object(entry, where, key)
        steps.append(step_from_json(entry, arrays, source=where, key=key))
        unused -= {value for value in entry.values() if isinstance(value, str)}
    try:
        pipeline = Pipeline(shape, tuple(steps))
    except ValueError as error:
        raise InputError(str(error), source=where, key="pipeline") from None

    layers = []
    for index, entry in enumerate(_list(described["layers"], where, "layers")):
        key = f"layers[{index}]"
        entry = _object(entry, where, key)
        _check_keys(entry, _LAYER_KEYS, _LAYER_MAYBE, where, key)
        bias = entry.get("bias")
        try:
            layers.append(
                DenseLayer(
                    weights=tensor(entry["weights"], f"{key}.weights"),
                    bias=None if bias is None else tensor(bias, f"{key}.bias"),
                    activation=_activation(entry["activation"], where, f"{key}.activation"),
                    published_scale=_flag(entry.get("published_scale", False), where, f"{key}.published_scale"),
                    centred=_flag(entry.get("centred", False), where, f"{key}.centred"),
                    light=_number(entry.get("light", 1.0), where, f"{key}.light"),
                )
            )
        except ValueError as error:
            raise InputError(str(error), source=f"{source}.safetensors", key=key) from None
    if unused:
        raise InputError(
            f"the description does not use the tensor '{min(unused)}'", source=f"{source}.safetensors", key=min(unused)
        )
    classes = _list(described.get("classes", []), where, "classes")
    if not all(isinstance(name, str) for name in classes):
        raise InputError(f"found {classes!r}", source=where, key="classes", expected="names")
    notes = _object(described.get("notes", {}), where, "notes")
    try:
        network = Network(
            name=_text(described["name"], where, "name"),
            pipeline=pipeline,
            layers=tuple(layers),
            description=_text(described.get("description", ""), where, "description"),
            classes=tuple(classes),
            notes=dict(notes),
        )
    except ValueError as error:
        raise InputError(str(error), source=where, key="layers") from None
    fingerprint = described.get("fingerprint")
    if fingerprint is not None and fingerprint != network.fingerprint:
        raise InputError(
            "the fingerprint does not match the numbers",
            source=where,
            key="fingerprint",
            expected=network.fingerprint,
            hint="The two files do not belong together, or one was edited; delete the key to use them as they are",
        )
    return network


def _parse(description: bytes, where: str) -> Mapping[str, Any]:
    """The description with its schema, version and keys checked."""
    described = _object(parse_json(description, source=where), where, "")
    if described.get("schema") != SCHEMA:
        raise InputError(f"found {described.get('schema')!r}", source=where, key="schema", expected=repr(SCHEMA))
    if described.get("version") != VERSION or isinstance(described.get("version"), bool):
        raise InputError(
            f"found {described.get('version')!r}", source=where, key="version", expected=f"{VERSION}, which this reads"
        )
    _check_keys(described, _KEYS, _MAYBE, where, "")
    return described


def _read_tensors(content: bytes, where: str) -> dict[str, NDArray[np.float32]]:
    """All tensors as float32; finite."""
    try:
        raw = tensors_from_bytes(content)
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"no readable safetensors file: {error}", source=where) from None
    arrays = {}
    for name, array in raw.items():
        if array.dtype not in (np.float16, np.float32, np.float64):
            raise InputError(f"type {array.dtype}", source=where, key=name, expected="float16, float32 or float64")
        with np.errstate(over="ignore"):
            converted = array.astype(np.float32)
        if not np.isfinite(converted).all():
            place = np.argwhere(~np.isfinite(converted))[0].tolist()
            raise InputError(f"entry {place} is NaN, infinite or too large", source=where, key=name)
        arrays[name] = converted
    return arrays


def _check_keys(entry: Mapping[str, Any], needed: set[str], maybe: set[str], where: str, key: str) -> None:
    prefix = f"{key}." if key else ""
    for missing in sorted(needed - set(entry)):
        raise InputError("this key is missing", source=where, key=prefix + missing)
    for unknown in sorted(set(entry) - needed - maybe):
        raise InputError(
            "unknown key", source=where, key=prefix + unknown, expected="only " + ", ".join(sorted(needed | maybe))
        )


def _object(value: Any, where: str, key: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"found {_short(value)}", source=where, key=key or None, expected="an object {...}")
    return value


def _list(value: Any, where: str, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"found {_short(value)}", source=where, key=key, expected="a list [...]")
    return value


def _text(value: Any, where: str, key: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"found {_short(value)}", source=where, key=key, expected="text")
    return value


def _flag(value: Any, where: str, key: str) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"found {_short(value)}", source=where, key=key, expected="true or false")
    return value


def _number(value: Any, where: str, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"found {_short(value)}", source=where, key=key, expected="a finite number")
    return float(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _input_shape(value: Any, where: str) -> tuple[int, ...]:
    entry = _object(value, where, "input")
    _check_keys(entry, {"shape"}, set(), where, "input")
    shape = _list(entry["shape"], where, "input.shape")
    if not shape or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape):
        raise InputError(f"found {shape!r}", source=where, key="input.shape", expected="positive whole numbers")
    return tuple(shape)


def _activation(value: Any, where: str, key: str) -> Activation:
    entry = _object(value, where, key)
    _check_keys(entry, {"kind"}, {"threshold", "slope"}, where, key)
    kinds = [kind.value for kind in ActivationKind]
    if entry["kind"] not in kinds:
        raise InputError(
            f"unknown activation {_short(entry['kind'])}",
            source=where,
            key=f"{key}.kind",
            expected="one of " + ", ".join(kinds),
        )
    numbers = {name: _number(entry[name], where, f"{key}.{name}") for name in ("threshold", "slope") if name in entry}
    return Activation(ActivationKind(entry["kind"]), **numbers)
