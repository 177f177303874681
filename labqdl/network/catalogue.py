"""The models that ship with labqdl, by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labqdl.errors import InputError
from labqdl.network.datasets import shipped_file
from labqdl.network.model import Network
from labqdl.network.storage import load_network, network_from_bytes

SHIPPED_MODELS: dict[str, str] = {
    "mnist-plain": "mnist-test",
    "mnist-robust": "mnist-test",
    "mnist-faint": "mnist-test",
    "mnist-discreet": "mnist-test",
    "digits": "digits",
    "breast-cancer": "breast-cancer",
}
"""Names of the shipped models and of the data set that each is meant for."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What the catalogue says about a shipped model.

    Attributes
    ----------
    name, description:
        As in the model's description.
    dataset:
        Name of the shipped data set that the model is evaluated on (`labqdl.network.datasets.load_dataset`).
    notes:
        How it was trained and measured, and its licence.
    """

    name: str
    description: str
    dataset: str
    notes: dict[str, Any]


def shipped_models() -> tuple[ModelEntry, ...]:
    """All shipped models; reads the descriptions only, not the weights."""
    entries = []
    for name, dataset in SHIPPED_MODELS.items():
        described = json.loads(shipped_file(f"{name}.json").read_bytes())
        entries.append(ModelEntry(name, described["description"], dataset, described["notes"]))
    return tuple(entries)


def load_model(what: str | Path) -> Network:
    """A shipped model by name, or any model by path: see `labqdl.network.storage.load_network`, and for files that
    end in .onnx `labqdl.network.onnx_import.load_onnx`.

    Raises
    ------
    InputError
        If there is neither, or the files are damaged.
    """
    word = str(what)
    if word in SHIPPED_MODELS:
        files = [shipped_file(f"{word}{suffix}") for suffix in (".safetensors", ".json")]
        return network_from_bytes(files[0].read_bytes(), files[1].read_bytes(), source=str(files[0]).rpartition(".")[0])
    path = Path(what)
    if path.suffix == ".onnx":
        from labqdl.network.onnx_import import load_onnx

        return load_onnx(path)
    if path.name and (path.suffix in (".json", ".safetensors") or path.parent != Path() or _pair_exists(path)):
        return load_network(path)
    raise InputError(
        f"there is no model '{word}'",
        expected="one of " + ", ".join(SHIPPED_MODELS) + ", or the path of NAME.safetensors or NAME.onnx",
        hint="'labqdl models' lists what ships",
    )


def _pair_exists(path: Path) -> bool:
    return path.with_name(path.name + ".json").exists()


def default_dataset(model: str | Path) -> str | None:
    """Name of the data set that a shipped model is meant for; None for other models."""
    return SHIPPED_MODELS.get(str(model))
