"""Dense networks from ONNX files, as PyTorch's exporters write them (both the TorchScript one and the newer one).

Understood are stacks of dense layers: `Gemm`, or `MatMul` with `Add`; `Relu` and `LeakyRelu`; `Flatten`, and
`Reshape` where it flattens; `Identity`, and `Dropout`, which does nothing outside of training. Weights may be
initialisers (in the file or beside it) or `Constant` nodes. Everything else is refused with the node's name and type:
a network that was understood by half would be another network.

Layers that use the same weights many times on one datum (convolutions, dense layers on several tokens, attention) are
refused for a physical reason (`SharedWeightsError`): every use is one more chance to learn the weights.

The input pipeline is not part of an ONNX file. Without more, a datum has the shape of the graph's input (leading
axes of length one left out) and is flattened, nothing else. A file NAME.pipeline.json beside NAME.onnx says more::

    {"input": {"shape": [28, 28]}, "pipeline": [{"step": "scale", "factor": 0.00392156862745098}, {"step": "flatten"}]}

with the steps of `labqdl.network.pipeline`; where a step wants an array, its numbers stand in place of a name (one
number for all entries, or nested lists of the data's shape).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.config.files import parse_json, read_bytes
from labqdl.errors import InputError
from labqdl.facts import Activation, ActivationKind
from labqdl.network.model import DenseLayer, Network
from labqdl.network.onnx_graph import BATCH, Graph, Node, read_graph
from labqdl.network.pipeline import Flatten, Pipeline, Shape, Step, step_from_json

Floats = NDArray[np.float32]

PIPELINE_SUFFIX = ".pipeline.json"
"""Ending of the file beside a .onnx file that describes its input pipeline."""

_UNDERSTOOD = "Gemm, MatMul, Add, Relu, LeakyRelu, Flatten, Reshape, Identity, Dropout and Constant"
_ATTENTION = frozenset({"Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention", "RotaryEmbedding"})
_LAST = frozenset({"Softmax", "LogSoftmax", "Sigmoid"})
_ON_DATA = frozenset({"Sub", "Mul", "Div", "Add"})


class SharedWeightsError(InputError):
    """A layer that uses the same weights many times on one datum.

    Attributes
    ----------
    uses:
        How often one datum meets each weight (patches or tokens), P.
    n_weights:
        Real weights of a row (a kernel's entries over all input channels).
    """

    def __init__(self, problem: str, *, source: str, uses: int, n_weights: int, hint: str | None = None) -> None:
        super().__init__(problem, source=source, hint=hint)
        self.uses = uses
        self.n_weights = n_weights


@dataclass(frozen=True, slots=True)
class _Dense:
    """A dense layer as it is being read; `label` names the node that began it."""

    label: str
    weights: Floats
    bias: Floats | None = None
    activation: Activation | None = None


def load_onnx(path: Path, *, pipeline: Path | None = None, publish_scales: bool = False) -> Network:
    """A network from an ONNX file.

    Parameters
    ----------
    path:
        The file.
    pipeline:
        Description of the input pipeline; by default NAME.pipeline.json beside the file, if it is there.
    publish_scales:
        Whether every layer tells its scale, so that outputs have the size that PyTorch gives them, which classes do
        not need. Without it a layer tells its scale exactly where a later layer has biases.

    Raises
    ------
    SharedWeightsError
        For convolutions, attention, and dense layers on several tokens.
    InputError
        For everything else that is not a stack of dense layers, naming file, node and type; for a missing extra, and
        for damaged files.
    """
    graph = read_graph(path)
    _refuse_attention(graph)
    found = _Reader(graph).layers()
    biased = [index for index, layer in enumerate(found) if layer.bias is not None]
    last_biased = biased[-1] if biased else 0
    layers = []
    for index, layer in enumerate(found):
        published = publish_scales or index < last_biased
        try:
            layers.append(DenseLayer(layer.weights, layer.bias, layer.activation or Activation(), published))
        except ValueError as error:
            raise InputError(f"{layer.label}: {error}", source=path) from None
    try:
        return Network(
            name=path.stem,
            pipeline=_pipeline(pipeline, path, graph.shape),
            layers=tuple(layers),
            description=f"Imported from {path.name}.",
        )
    except ValueError as error:
        raise InputError(str(error), source=path) from None


class _Reader:
    """Walks through the operations on the data, which must form one chain."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._value = graph.data  # name of the value at the end of the chain
        self._shape: Shape = graph.shape
        self._layers: list[_Dense] = []
        self._passed: set[str] = set()

    def layers(self) -> list[_Dense]:
        """All dense layers, in order."""
        for node in self._graph.nodes:
            self._step(node)
        if self._graph.output != self._value:
            raise InputError(
                f"output '{self._graph.output}' is not what the last operation gives", source=self._graph.file
            )
        if not self._layers:
            raise InputError("has no dense layer", source=self._graph.file, expected="Gemm or MatMul nodes")
        return self._layers

    def _step(self, node: Node) -> None:
        self._check_chain(node)
        match node.kind:
            case "Gemm":
                self._gemm(node)
            case "MatMul":
                self._matmul(node)
            case "Add" if self._layers:
                self._add(node)
            case "Relu":
                self._activate(node, Activation(ActivationKind.RELU))
            case "LeakyRelu":
                slope = float(node.attributes.get("alpha", 0.01))
                self._activate(node, Activation(ActivationKind.LEAKY_RELU, slope=slope))
            case "Flatten":
                self._flatten(node)
            case "Reshape":
                self._reshape(node)
            case "Identity":
                pass
            case "Dropout":
                self._dropout(node)
            case "Conv" | "ConvTranspose":
                raise self._convolution(node)
            case _:
                raise self._unknown(node)
        self._passed.add(self._value)
        self._value = node.outputs[0]

    def _check_chain(self, node: Node) -> None:
        """Each operation takes the value before it and nothing else that depends on the data."""
        varying = [name for name in node.inputs if name and name not in self._graph.constants]
        if not node.outputs or not varying:
            raise self._unknown(node)
        for name in varying:
            if name in self._passed:
                raise self._graph.refuse(
                    node,
                    f"takes '{name}' past the operations that came after it: branches and skip connections are not "
                    "stacks of dense layers",
                )
            if name != self._value:
                raise self._graph.refuse(node, f"takes '{name}', which nothing before it gives")
        if len(varying) > 1:
            raise self._graph.refuse(node, "joins two values that both depend on the data", _expected())

    # -- dense layers ----------------------------------------------------------------------------------------------

    def _gemm(self, node: Node) -> None:
        if node.input(0) != self._value:
            raise self._graph.refuse(node, "multiplies from the other side: it mixes data of a batch")
        if node.attributes.get("transA", 0):
            raise self._graph.refuse(node, "transposes the data: it mixes data of a batch")
        weights = self._matrix(node, node.input(1))
        weights = weights if node.attributes.get("transB", 0) else weights.T
        self._dense(node, weights * np.float32(node.attributes.get("alpha", 1.0)))
        beta = float(node.attributes.get("beta", 1.0))
        if node.input(2) and beta != 0:
            self._bias(node, self._graph.constants[node.input(2)] * np.float32(beta))

    def _matmul(self, node: Node) -> None:
        if node.input(0) != self._value:
            raise self._graph.refuse(node, "multiplies from the other side: it mixes data of a batch")
        self._dense(node, self._matrix(node, node.input(1)).T)

    def _matrix(self, node: Node, name: str) -> Floats:
        matrix = self._graph.constants[name]
        if matrix.ndim != 2:
            raise self._graph.refuse(node, f"has weights '{name}' of shape {matrix.shape}: a matrix was expected")
        return matrix.astype(np.float32)

    def _dense(self, node: Node, weights: Floats) -> None:
        *places, features = self._shape
        if features != weights.shape[1]:
            raise self._graph.refuse(node, f"takes {weights.shape[1]} features, what comes in has {self._shape}")
        if math.prod(places) > 1:
            raise SharedWeightsError(
                f"{node.label} uses the same weights for {math.prod(places)} parts (tokens) of every datum",
                source=self._graph.file,
                uses=math.prod(places),
                n_weights=weights.shape[1],
                hint="Flatten the data before the first dense layer",
            )
        self._layers.append(_Dense(node.label, weights))
        self._shape = (weights.shape[0],)

    def _add(self, node: Node) -> None:
        last = self._layers[-1]
        if last.activation is not None or last.bias is not None:
            raise self._graph.refuse(node, "adds something that is no bias of a dense layer")
        self._bias(node, self._graph.constants[next(name for name in node.inputs if name != self._value)])

    def _bias(self, node: Node, values: NDArray[Any]) -> None:
        last = self._layers[-1]
        rows = last.weights.shape[0]
        if values.size not in (1, rows) or (values.ndim and math.prod(values.shape[:-1]) != 1):
            raise self._graph.refuse(node, f"adds a bias of shape {values.shape} to {rows} rows")
        bias = np.broadcast_to(values.reshape(-1), (rows,)).astype(np.float32)
        self._layers[-1] = replace(last, bias=bias if bias.any() else None)

    def _activate(self, node: Node, activation: Activation) -> None:
        if not self._layers or self._layers[-1].activation is not None:
            raise self._graph.refuse(node, "does not follow a dense layer", _expected())
        self._layers[-1] = replace(self._layers[-1], activation=activation)

    # -- shapes ----------------------------------------------------------------------------------------------------

    def _flatten(self, node: Node) -> None:
        axis = int(node.attributes.get("axis", 1))
        if axis not in (1, -len(self._shape)):
            raise self._graph.refuse(node, f"flattens from axis {axis}: only all axes of a datum (axis 1) are allowed")
        self._shape = (math.prod(self._shape),)

    def _reshape(self, node: Node) -> None:
        if node.input(0) != self._value:
            raise self._graph.refuse(node, "takes its shape from the data")
        target = [int(size) for size in self._graph.constants[node.input(1)].reshape(-1)]
        if not node.attributes.get("allowzero", 0):
            current = (BATCH, *self._shape)
            target = [current[i] if size == 0 and i < len(current) else size for i, size in enumerate(target)]
        known = math.prod(self._shape)
        rest = target[1:]
        if rest.count(BATCH) == 1 and target[0] in (BATCH, self._graph.fixed_batch):
            # "-1" in one place of a datum: whatever is left.
            others = -math.prod(rest)
            rest = [known // others if size == BATCH and others > 0 else size for size in rest]
        if not rest or target[0] not in (BATCH, self._graph.fixed_batch) or math.prod(rest) != known or min(rest) < 1:
            raise self._graph.refuse(
                node, f"gives data of shape {self._shape} the shape {target}: it may not mix data of a batch"
            )
        self._shape = tuple(rest)

    def _dropout(self, node: Node) -> None:
        training = self._graph.constants.get(node.input(2))
        if training is not None and training.any():
            raise self._graph.refuse(node, "is in training mode", "Call model.eval() before the export")

    # -- what is refused -------------------------------------------------------------------------------------------

    def _convolution(self, node: Node) -> InputError:
        kernel = self._graph.constants.get(node.input(1))
        if kernel is None or kernel.ndim < 3 or len(self._shape) != kernel.ndim - 1:
            return self._graph.refuse(node, "is a convolution, and its kernel or its input is not known", _expected())
        transposed = node.kind == "ConvTranspose"
        patches = math.prod(self._shape[1:] if transposed else _patches(node, self._shape[1:], kernel.shape[2:]))
        # A transposed convolution's kernel names its input channels first; each pixel that comes in meets all of it.
        entries = kernel.size // kernel.shape[1 if transposed else 0]
        return SharedWeightsError(
            f"{node.label} is a convolution: each of its rows of {entries} weights meets {patches} patches of every "
            "datum",
            source=self._graph.file,
            uses=max(patches, 1),
            n_weights=entries,
            hint="Use dense layers",
        )

    def _unknown(self, node: Node) -> InputError:
        if node.kind in _LAST and node is self._graph.nodes[-1]:
            hint = "Export the network without it: the largest output stays the largest"
        elif node.kind in _ON_DATA and not self._layers:
            hint = f"Say what happens to the data in NAME{PIPELINE_SUFFIX} beside the file, and export without it"
        elif node.kind == "BatchNormalization":
            hint = "Fold it into the layer before it (torch.onnx.export with dynamo=True does)"
        else:
            hint = _expected()
        return self._graph.refuse(node, "is nothing that a stack of dense layers needs", hint)


def _expected() -> str:
    return f"Understood are {_UNDERSTOOD}"


def _refuse_attention(graph: Graph) -> None:
    """Attention is told by its own node, or by a product of two values that both depend on the data."""
    for node in graph.nodes:
        product = node.kind == "MatMul" and all(name not in graph.constants for name in node.inputs)
        if node.kind.rpartition(".")[2] in _ATTENTION or product:
            tokens = graph.shape[0] if len(graph.shape) > 1 else 1
            what = (
                "multiplies two values that both depend on the data, as attention does" if product else "is attention"
            )
            raise SharedWeightsError(
                f"{node.label} {what}. The product and the softmax concern the client's data alone and would stay with "
                f"the client; but the projections before it use the same weights for each of {tokens} tokens",
                source=graph.file,
                uses=tokens,
                n_weights=graph.shape[-1],
                hint="Attention is not among the layers that this protocol protects",
            )


def _patches(node: Node, size: tuple[int, ...], kernel: tuple[int, ...]) -> Iterator[int]:
    """Places at which a kernel meets an input, axis by axis."""
    axes = len(size)
    strides = node.attributes.get("strides") or [1] * axes
    dilations = node.attributes.get("dilations") or [1] * axes
    pads = node.attributes.get("pads") or [0] * (2 * axes)
    same = str(node.attributes.get("auto_pad", "NOTSET")).startswith("SAME")
    for axis in range(axes):
        if same:
            yield -(-size[axis] // strides[axis])
        else:
            reach = dilations[axis] * (kernel[axis] - 1) + 1
            yield (size[axis] + pads[axis] + pads[axis + axes] - reach) // strides[axis] + 1


# -- the pipeline --------------------------------------------------------------------------------------------------


def pipeline_file(path: Path) -> Path:
    """Where the description of an ONNX file's input pipeline lies, if there is one."""
    return path.with_name(path.stem + PIPELINE_SUFFIX)


def _pipeline(given: Path | None, path: Path, shape: Shape) -> Pipeline:
    """The pipeline that is described in a file, given or beside the graph's, else plain flattening."""
    file = pipeline_file(path) if given is None else given
    if given is None and not file.is_file():
        while len(shape) > 1 and shape[0] == 1:  # a single channel
            shape = shape[1:]
        return Pipeline(shape, (Flatten(),) if len(shape) > 1 else ())
    return pipeline_from_json(parse_json(read_bytes(file), source=file), source=file)


def pipeline_from_json(described: Any, *, source: str | Path) -> Pipeline:
    """A pipeline from its description with arrays written out.

    Raises
    ------
    InputError
        For unknown keys, steps and fields, and for numbers that do not fit; names source and key.
    """
    if not isinstance(described, dict) or set(described) != {"input", "pipeline"}:
        raise InputError(
            "found something else", source=source, expected='{"input": {"shape": [...]}, "pipeline": [...]}'
        )
    sizes = described["input"].get("shape") if isinstance(described["input"], dict) else None
    if not isinstance(sizes, list) or not sizes or not all(type(n) is int and n > 0 for n in sizes):
        raise InputError(f"found {sizes!r}", source=source, key="input.shape", expected="positive whole numbers")
    entries = described["pipeline"]
    if not isinstance(entries, list):
        raise InputError(f"found {entries!r}", source=source, key="pipeline", expected="a list of steps")
    shape: Shape = tuple(sizes)
    steps: list[Step] = []
    for index, entry in enumerate(entries):
        key = f"pipeline[{index}]"
        if not isinstance(entry, dict):
            raise InputError(f"found {entry!r}", source=source, key=key, expected="a step")
        fields, tensors = _written_out(entry, shape, str(source), key)
        step = step_from_json(fields, tensors, source=str(source), key=key)
        try:
            shape = step.output_shape(shape)
        except ValueError as error:
            raise InputError(str(error), source=source, key=key) from None
        steps.append(step)
    try:
        return Pipeline(tuple(sizes), tuple(steps))
    except ValueError as error:
        raise InputError(str(error), source=source, key="pipeline") from None


def _written_out(
    entry: Mapping[str, Any], shape: Shape, source: str, key: str
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """A step's fields with names in place of the arrays that stand in them, and the arrays by name."""
    fields, tensors = dict(entry), {}
    for name in ("mean", "deviation"):
        if name not in entry or isinstance(entry[name], str):
            continue
        if entry.get("step") == "blur":  # its deviation is a number
            continue
        wrong = InputError(
            "found something else", source=source, key=f"{key}.{name}", expected=f"a number, or lists of shape {shape}"
        )
        try:
            values = np.asarray(entry[name], dtype=np.float32)
        except (ValueError, TypeError, OverflowError):
            raise wrong from None
        if values.shape not in ((), shape) or not np.isfinite(values).all():
            raise wrong
        tensors[name] = np.broadcast_to(values, shape).copy()
        fields[name] = name
    return fields, tensors
