"""The graph of an ONNX file, with everything that is constant in it known: what `onnx_import` makes layers of.

Reading folds what exporters leave behind of shapes and constants (`Constant`, `Identity` and `Transpose` of weights,
and the chain `Shape`, `Gather`, `Unsqueeze`, `Concat` that says "as many rows as there were, all else in one"), so
that what remains are the operations on the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labqdl.config.files import read_bytes
from labqdl.errors import InputError

if TYPE_CHECKING:
    import onnx

BATCH = -1
"""Stands in a shape for the number of data, whatever it is."""

_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, slots=True)
class Node:
    """One operation on the data.

    Attributes
    ----------
    kind:
        Type of the operation as ONNX calls it; with its domain where that is not ONNX's own.
    label:
        What an error calls it: its name, or its place where it has none, and its type.
    inputs, outputs:
        Names of values; an input that was left out is "".
    attributes:
        By name; strings as text, tensors as arrays.
    """

    kind: str
    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def input(self, index: int) -> str:
        """Name of an input, "" where it is not there."""
        return self.inputs[index] if index < len(self.inputs) else ""


@dataclass(frozen=True, slots=True)
class Graph:
    """The operations on the data, in order, and all constants.

    Attributes
    ----------
    file:
        Where it came from, for errors.
    name:
        Name of the graph.
    data, shape:
        Name of the input and shape of one datum.
    fixed_batch:
        The number of data that the file was exported for, None where any number goes.
    output:
        Name of the output.
    nodes:
        Operations whose inputs are not all constant.
    constants:
        Arrays by name; shapes that depend on the number of data hold `BATCH` in its place.
    """

    file: str
    name: str
    data: str
    shape: tuple[int, ...]
    fixed_batch: int | None
    output: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]

    def refuse(self, node: Node, problem: str, hint: str | None = None) -> InputError:
        """An error about one node."""
        return InputError(f"{node.label} {problem}", source=self.file, hint=hint)


@dataclass(slots=True)
class _Folding:
    """Values known so far: constants, and shapes of the input and of what only renames it."""

    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def read_graph(path: Path) -> Graph:
    """The graph of an ONNX file.

    Raises
    ------
    InputError
        Where the extra is not installed, the file (or the file beside it with the weights) is missing or damaged, and
        where the graph has not one input and one output of known shape.
    """
    model = _load(path)
    graph = model.graph
    known = _Folding()
    for tensor in graph.initializer:
        known.constants[tensor.name] = _array(tensor, path)
    if graph.sparse_initializer:
        raise InputError("has sparse weights, which no exporter of dense layers writes", source=path)
    # Up to IR version 3 the weights are listed among the inputs.
    inputs = [entry for entry in graph.input if entry.name not in known.constants]
    for what, entries in (("input", inputs), ("output", graph.output)):
        if len(entries) != 1:
            names = ", ".join(entry.name for entry in entries) or "none"
            raise InputError(f"has {len(entries)} {what}s ({names})", source=path, expected=f"one {what}")
    dimensions = _dimensions(inputs[0], path)
    known.shapes[inputs[0].name] = (BATCH, *dimensions[1:])
    nodes = []
    for index, raw in enumerate(graph.node):
        node = _node(raw, index, path)
        if not _fold(node, known, path):
            nodes.append(node)
    return Graph(
        file=str(path),
        name=graph.name,
        data=inputs[0].name,
        shape=dimensions[1:],
        fixed_batch=dimensions[0] if dimensions[0] > 0 else None,
        output=graph.output[0].name,
        nodes=tuple(nodes),
        constants=known.constants,
    )


def _load(path: Path) -> onnx.ModelProto:
    try:
        import onnx
        import onnx.inliner
        from google.protobuf.message import DecodeError
    except ImportError:
        raise InputError(
            "reading ONNX files needs the package onnx", source=path, hint='pip install "labqdl[onnx]"'
        ) from None
    content = read_bytes(path)
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise InputError(f"is no ONNX file: {error}", source=path) from None
    if not model.graph.node:
        raise InputError("is no ONNX file, or its graph is empty", source=path)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        raise InputError(
            f"the weights that it keeps in another file cannot be read: {error}",
            source=path,
            hint="Keep the .data file of the export beside the .onnx file",
        ) from None
    if model.functions:
        try:
            model = onnx.inliner.inline_local_functions(model)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"its functions cannot be inlined: {error}", source=path) from None
    return model


def _array(tensor: onnx.TensorProto, path: Path) -> NDArray[Any]:
    """A tensor; whole numbers as int64, all else as float32 (bfloat16 has no type in numpy)."""
    from onnx import numpy_helper

    try:
        array = np.asarray(numpy_helper.to_array(tensor))
        with np.errstate(over="ignore"):
            return array.astype(np.int64 if array.dtype.kind in "biu" else np.float32)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError(f"tensor '{tensor.name}' cannot be read: {error}", source=path) from None


def _dimensions(entry: onnx.ValueInfoProto, path: Path) -> tuple[int, ...]:
    """Shape of the input; 0 for a number of data that is left open."""
    kind = entry.type.tensor_type
    sizes = [dimension.dim_value for dimension in kind.shape.dim]
    if len(sizes) < 2 or min(sizes[1:]) < 1:
        shown = [d.dim_value or d.dim_param or "?" for d in kind.shape.dim]
        raise InputError(
            f"input '{entry.name}' has the shape {shown}",
            source=path,
            expected="(data, ...) with all sizes but the first one known",
            hint="Export with only the first axis dynamic",
        )
    return tuple(sizes)


def _node(raw: onnx.NodeProto, index: int, path: Path) -> Node:
    from onnx import AttributeProto, helper

    kind = raw.op_type if raw.domain in _DOMAINS else f"{raw.domain}.{raw.op_type}"
    label = f"node '{raw.name}' ({kind})" if raw.name else f"node {index} ({kind})"
    attributes: dict[str, Any] = {}
    for attribute in raw.attribute:
        if attribute.type == AttributeProto.TENSOR:
            attributes[attribute.name] = _array(attribute.t, path)
            continue
        try:
            value = helper.get_attribute_value(attribute)
        except ValueError as error:
            raise InputError(f"{label}: attribute '{attribute.name}' cannot be read: {error}", source=path) from None
        attributes[attribute.name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return Node(kind, label, tuple(raw.input), tuple(raw.output), attributes)


def _fold(node: Node, known: _Folding, path: Path) -> bool:
    """Compute a node whose inputs are all constant or a shape; False where it acts on the data."""
    if not node.outputs:
        return False
    if node.kind == "Constant":
        known.constants[node.outputs[0]] = _constant(node, path)
        return True
    if node.kind == "Shape" and node.inputs and node.inputs[0] in known.shapes:
        sizes = np.array(known.shapes[node.inputs[0]], dtype=np.int64)
        start, end = node.attributes.get("start", 0), node.attributes.get("end")
        known.constants[node.outputs[0]] = sizes[start:end]
        return True
    if node.kind in ("Identity", "Dropout") and node.inputs and node.inputs[0] in known.shapes:
        known.shapes[node.outputs[0]] = known.shapes[node.inputs[0]]
        return False
    if not node.inputs or not all(name in known.constants for name in node.inputs if name):
        return False
    values = [known.constants[name] for name in node.inputs if name]
    try:
        result = _compute(node, values)
    except (ValueError, IndexError, TypeError) as error:
        raise InputError(f"{node.label}: {error}", source=path) from None
    if result is None:
        return False
    known.constants[node.outputs[0]] = result
    return True


def _constant(node: Node, path: Path) -> NDArray[Any]:
    for name, kind in (("value_float", np.float32), ("value_floats", np.float32)):
        if name in node.attributes:
            return np.asarray(node.attributes[name], dtype=kind)
    for name in ("value_int", "value_ints"):
        if name in node.attributes:
            return np.asarray(node.attributes[name], dtype=np.int64)
    if isinstance(value := node.attributes.get("value"), np.ndarray):
        return value
    raise InputError(f"{node.label} holds no numbers: {', '.join(node.attributes) or 'nothing'}", source=path)


def _compute(node: Node, values: list[NDArray[Any]]) -> NDArray[Any] | None:
    """Value of a node on constants, None where it is not one that exporters leave behind."""
    first = values[0]
    match node.kind:
        case "Identity":
            return first
        case "Transpose":
            return np.transpose(first, node.attributes.get("perm"))
        case "Gather":
            return np.take(first, values[1], axis=node.attributes.get("axis", 0))
        case "Unsqueeze":
            axes = values[1].reshape(-1).tolist() if len(values) > 1 else node.attributes.get("axes", [0])
            return np.expand_dims(first, tuple(int(axis) for axis in axes))
        case "Concat":
            return np.concatenate(values, axis=node.attributes.get("axis", 0))
        case "Cast" if first.dtype.kind == "i":  # of a shape; every whole number is kept as int64
            return first
    return None
