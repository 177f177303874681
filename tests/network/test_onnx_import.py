"""ONNX files: what PyTorch wrote, what onnx's own evaluator answers, and clear words for everything else."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from labqdl.errors import InputError
from labqdl.facts import ActivationKind
from labqdl.network import Network, load_model
from labqdl.network.onnx_graph import read_graph
from labqdl.network.onnx_import import SharedWeightsError, load_onnx, pipeline_file, pipeline_from_json

EXPORTED = Path(__file__).with_name("onnx_models")
LOADABLE = (
    "mlp-legacy", "mlp-dynamo", "external-dynamo", "unfolded-legacy", "no-bias-legacy", "no-bias-dynamo",
    "leaky-legacy", "leaky-dynamo", "view-legacy", "view-dynamo", "reshape-legacy", "reshape-dynamo",
    "batch-norm-dynamo",
)  # fmt: skip

Floats = NDArray[np.float32]


def outputs(network: Network, data: Floats) -> Floats:
    """Without noise; data in the shape that the graph takes."""
    return network.forward_exact(network.prepare(data.reshape(len(data), *network.pipeline.input_shape)))


# -- what PyTorch's exporters wrote ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOADABLE)
def test_exported_networks_answer_as_pytorch_does(name: str) -> None:
    network = load_onnx(EXPORTED / f"{name}.onnx", publish_scales=True)
    kind = name.rpartition("-")[0]
    answers = np.load(EXPORTED / f"{kind if kind not in ('external', 'unfolded') else 'mlp'}-outputs.npz")
    assert outputs(network, answers["inputs"]) == pytest.approx(answers["outputs"], rel=1e-5, abs=1e-6)
    # Without the last scale the outputs are smaller or larger, all by the same factor.
    plain = outputs(load_onnx(EXPORTED / f"{name}.onnx"), answers["inputs"])
    factor = math.prod(layer.scale for layer in network.layers) if kind in ("no-bias",) else None
    assert np.array_equal(plain.argmax(axis=1), answers["outputs"].argmax(axis=1))
    if factor is not None:
        assert plain * factor == pytest.approx(answers["outputs"], rel=1e-5)


def test_what_is_published_and_what_is_not() -> None:
    """A scale is told exactly where a later layer has biases."""
    for name, published in (("mlp-legacy", [True, False]), ("no-bias-dynamo", [False, False]),
                            ("leaky-legacy", [True, True, False]), ("view-dynamo", [False, False])):  # fmt: skip
        assert [layer.published_scale for layer in load_onnx(EXPORTED / f"{name}.onnx").layers] == published


def test_names_shapes_and_activations() -> None:
    network = load_onnx(EXPORTED / "leaky-dynamo.onnx")
    assert network.name == "leaky-dynamo"
    assert [layer.weights.shape for layer in network.layers] == [(6, 8), (6, 6), (1, 6)]
    kinds = [layer.activation.kind for layer in network.layers]
    assert kinds == [ActivationKind.LEAKY_RELU, ActivationKind.LEAKY_RELU, ActivationKind.IDENTITY]
    assert network.layers[0].activation.slope == pytest.approx(0.2)
    assert load_onnx(EXPORTED / "mlp-legacy.onnx").pipeline.input_shape == (3, 4)
    # The single channel of an image is no axis of the data.
    assert load_onnx(EXPORTED / "reshape-legacy.onnx").pipeline.input_shape == (3, 4)


def test_models_are_loaded_by_path() -> None:
    assert load_model(EXPORTED / "mlp-legacy.onnx").fingerprint == load_onnx(EXPORTED / "mlp-legacy.onnx").fingerprint


@pytest.mark.parametrize(
    ("name", "uses", "n_weights", "node"),
    [
        ("conv-legacy", 36, 9, "'/0/Conv' (Conv) is a convolution"),
        ("conv-dynamo", 36, 9, "'node_conv2d' (Conv) is a convolution"),
        ("transposed-conv-legacy", 16, 8, "(ConvTranspose) is a convolution"),
        ("transposed-conv-dynamo", 16, 8, "(ConvTranspose) is a convolution"),
        ("attention-legacy", 5, 8, "'/MatMul' (MatMul) multiplies two values that both depend"),
        ("attention-dynamo", 5, 8, "'node_matmul' (MatMul) multiplies two values"),
    ],
)
def test_shared_weights_are_refused(name: str, uses: int, n_weights: int, node: str) -> None:
    with pytest.raises(SharedWeightsError, match=re.escape(node)) as caught:
        load_onnx(EXPORTED / f"{name}.onnx")
    assert (caught.value.uses, caught.value.n_weights) == (uses, n_weights)
    assert f"{name}.onnx" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("softmax-legacy", r"'/3/Softmax' \(Softmax\).*the largest output stays the largest"),
        ("softmax-dynamo", r"'node_softmax' \(Softmax\).*the largest output stays the largest"),
        ("batch-norm-legacy", r"'/1/BatchNormalization' \(BatchNormalization\).*Fold it"),
        ("tanh-legacy", r"'/1/Tanh' \(Tanh\).*Understood are Gemm, MatMul"),
        ("tanh-dynamo", r"'node_tanh' \(Tanh\).*Understood are Gemm, MatMul"),
    ],
)
def test_everything_else_is_refused_by_name(name: str, words: str) -> None:
    with pytest.raises(InputError, match=rf"{name}\.onnx: node {words}"):
        load_onnx(EXPORTED / f"{name}.onnx")


def test_the_exported_files_are_small_and_tell_nothing_of_the_machine() -> None:
    for file in EXPORTED.glob("*.onnx"):
        content = file.read_bytes()
        assert len(content) < 100_000
        assert b"site-packages" not in content
        assert b".py" not in content


# -- graphs made here, against onnx's reference evaluator -------------------------------------------------------------


class Maker:
    """Collects nodes and constants of a graph."""

    def __init__(self, shape: Sequence[int], *, opset: int = 17, batch: int | str = "batch") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.shape, self.opset, self.batch = tuple(shape), opset, batch
        self.last = "x"

    def constant(self, array: Any, how: str = "initializer") -> str:
        name = f"c{len(self.initializers) + len(self.nodes)}"
        tensor = numpy_helper.from_array(np.asarray(array), name)
        if how == "initializer":
            self.initializers.append(tensor)
        else:
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> Maker:
        """A node on the last value, which stands first unless `inputs` hold it."""
        names = list(inputs) if self.last in inputs else [self.last, *inputs]
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [output], f"my {kind}", **attributes))
        self.last = output
        return self

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "made",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [self.batch, *self.shape])],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, None)],
            self.initializers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def save(self, path: Path) -> Path:
        onnx.save(self.model(), str(path))
        return path


def matrix(*shape: int) -> Floats:
    return np.random.default_rng(math.prod(shape)).standard_normal(shape).astype(np.float32)


def agrees(maker: Maker, folder: Path, images: int = 4) -> Network:
    """The network answers as the reference evaluator does."""
    network = load_onnx(maker.save(folder / "made.onnx"), publish_scales=True)
    data = matrix(images, *maker.shape)
    (expected,) = ReferenceEvaluator(maker.model()).run(None, {"x": data})
    found = outputs(network, data)
    expected = expected.reshape(found.shape)  # a graph may end with (data, 1, outputs)
    scale = float(np.abs(expected).max()) or 1.0
    # Both sides round to float32 in each layer; sums that cancel leave some tens of its steps (1.2e-7).
    assert found / scale == pytest.approx(expected / scale, abs=1e-5)
    return network


@st.composite
def graphs(draw: st.DrawFn) -> Maker:
    """Any stack of dense layers, written in any of the understood ways."""
    shape = draw(st.sampled_from([(6,), (2, 3), (1, 2, 3), (1, 1, 6), (3, 2, 1)]))
    maker = Maker(shape, opset=draw(st.sampled_from([11, 13, 17, 20])))
    how = st.sampled_from(["initializer", "node"])
    if len(shape) > 1:
        if draw(st.booleans()):
            maker.node("Flatten", axis=draw(st.sampled_from([1, -len(shape)])))
        else:
            target = draw(st.sampled_from([[-1, 6], [0, -1], [0, 6], [-1, 1, 6]]))
            maker.node("Reshape", maker.constant(np.array(target, np.int64), draw(how)))
    features = 6
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.integers(1, 5))
        seed = draw(st.integers(0, 2**16))
        generator = np.random.default_rng(seed)
        weights = generator.standard_normal((rows, features)).astype(np.float32)
        bias = generator.standard_normal(draw(st.sampled_from([(rows,), (1, rows), (1,)]))).astype(np.float32)
        if draw(st.booleans()):
            if maker.nodes and maker.nodes[-1].op_type == "Reshape":  # Gemm takes matrices only
                maker.node("Flatten")
            transposed = draw(st.booleans())
            stored = maker.constant(weights if transposed else np.ascontiguousarray(weights.T), draw(how))
            extra = [maker.constant(bias, draw(how))] if draw(st.booleans()) else []
            alpha = draw(st.sampled_from([1.0, 0.5, -2.0]))
            beta = draw(st.sampled_from([1.0, 0.25, 0.0]))
            maker.node("Gemm", stored, *extra, transB=int(transposed), alpha=alpha, beta=beta)
        else:
            if draw(st.booleans()):
                stored = maker.constant(weights, draw(how))
                maker.nodes.append(helper.make_node("Transpose", [stored], [f"{stored}t"], perm=[1, 0]))
                stored = f"{stored}t"
            else:
                stored = maker.constant(np.ascontiguousarray(weights.T), draw(how))
            maker.node("MatMul", stored)
            if draw(st.booleans()):
                added = maker.constant(bias, draw(how))
                maker.node("Add", *((added, maker.last) if draw(st.booleans()) else (maker.last, added)))
        match draw(st.sampled_from(["", "Relu", "LeakyRelu", "Identity", "Dropout"])):
            case "":
                pass
            case "LeakyRelu":
                maker.node("LeakyRelu", alpha=draw(st.sampled_from([0.01, 0.3])))
            case "Dropout" if maker.opset < 12:
                maker.node("Dropout", ratio=0.5)
            case kind:
                maker.node(kind)
        features = rows
    return maker


@settings(max_examples=60)
@given(maker=graphs())
def test_any_stack_of_dense_layers(maker: Maker, tmp_path_factory: pytest.TempPathFactory) -> None:
    agrees(maker, tmp_path_factory.mktemp("graph"))


@pytest.mark.soak
@settings(max_examples=1500)
@given(maker=graphs())
def test_many_stacks_of_dense_layers(maker: Maker, tmp_path_factory: pytest.TempPathFactory) -> None:
    agrees(maker, tmp_path_factory.mktemp("graph"))


def test_weights_of_other_types(tmp_path: Path) -> None:
    for dtype in (np.float16, np.float64):
        maker = Maker((4,))
        maker.node("MatMul", maker.constant(matrix(4, 3).astype(dtype)))
        weights = load_onnx(maker.save(tmp_path / "model.onnx")).layers[0].weights
        assert weights.dtype == np.float32
        assert np.array_equal(weights, matrix(4, 3).astype(dtype).astype(np.float32).T)
    brain = numpy_helper.from_array(matrix(4, 3), "w")
    bits = (matrix(4, 3).view(np.uint32) >> 16).astype(np.uint16)
    brain = helper.make_tensor("w", TensorProto.BFLOAT16, (4, 3), bits.tobytes(), raw=True)
    maker = Maker((4,))
    maker.initializers.append(brain)
    maker.node("MatMul", "w")
    weights = load_onnx(maker.save(tmp_path / "model.onnx")).layers[0].weights
    assert np.abs(weights - matrix(4, 3).T).max() < 0.02


def test_a_fixed_number_of_data(tmp_path: Path) -> None:
    """An export without dynamic axes; its Reshape names the number."""
    maker = Maker((2, 3), batch=4)
    maker.node("Reshape", maker.constant(np.array([4, 6], np.int64)))
    maker.node("Gemm", maker.constant(matrix(6, 2)))
    agrees(maker, tmp_path)


def test_weights_among_the_inputs_as_early_versions_have_them(tmp_path: Path) -> None:
    maker = Maker((4,))
    maker.node("MatMul", maker.constant(matrix(4, 3)))
    model = maker.model()
    model.graph.input.append(helper.make_tensor_value_info("c0", TensorProto.FLOAT, [4, 3]))
    onnx.save(model, str(tmp_path / "model.onnx"))
    assert load_onnx(tmp_path / "model.onnx").layers[0].rows == 3


def test_functions_are_inlined(tmp_path: Path) -> None:
    body = [
        helper.make_node("MatMul", ["a", "w"], ["p"], "inner"),
        helper.make_node("Relu", ["p"], ["b"], "act"),
    ]
    function = helper.make_function("mine", "Dense", ["a", "w"], ["b"], body, [helper.make_opsetid("", 17)])
    maker = Maker((4,))
    maker.nodes.append(helper.make_node("Dense", ["x", maker.constant(matrix(4, 3))], ["y"], domain="mine"))
    maker.last = "y"
    model = maker.model()
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    onnx.save(model, str(tmp_path / "model.onnx"))
    network = load_onnx(tmp_path / "model.onnx")
    assert network.layers[0].activation.kind is ActivationKind.RELU


# -- what is refused -------------------------------------------------------------------------------------------------


def gemm(maker: Maker, rows: int, features: int = 4, **attributes: Any) -> Maker:
    return maker.node("Gemm", maker.constant(matrix(features, rows)), **attributes)


def skip(maker: Maker) -> None:
    gemm(maker, 4)
    before = maker.last
    maker.node("Relu").node("Add", before, maker.last)


def branch(maker: Maker) -> None:
    gemm(maker, 4)
    before = maker.last
    maker.node("Relu")
    maker.node("Gemm", before, maker.constant(matrix(4, 2)))
    maker.nodes[-1].input[:] = [before, maker.nodes[-1].input[-1]]


REFUSED: dict[str, tuple[Callable[[Maker], object], str]] = {
    "transposed data": (lambda m: gemm(m, 3, transA=1), r"'my Gemm' \(Gemm\) transposes the data"),
    "other side": (lambda m: m.node("MatMul", m.constant(matrix(4, 4)), "x"), r"'my MatMul' \(MatMul\) .* other side"),
    "other side of Gemm": (lambda m: m.node("Gemm", m.constant(matrix(4, 4)), "x"), "other side"),
    "vector": (lambda m: m.node("MatMul", m.constant(matrix(4))), "a matrix was expected"),
    "wrong size": (lambda m: gemm(m, 3, features=5), "takes 5 features"),
    "skip connection": (skip, "branches and skip connections"),
    "branch": (branch, "branches and skip connections"),
    "two activations": (lambda m: gemm(m, 3).node("Relu").node("Relu"), "does not follow a dense layer"),
    "activation first": (lambda m: m.node("Relu"), r"'my Relu' \(Relu\) does not follow"),
    "two biases": (
        lambda m: gemm(m, 3).node("Add", m.constant(matrix(3))).node("Add", m.constant(matrix(3))),
        "is no bias",
    ),
    "bias of the batch": (lambda m: gemm(m, 3).node("Add", m.constant(matrix(4, 3))), "adds a bias of shape"),
    "scaling of the data": (
        lambda m: m.node("Div", m.constant(np.float32(255))).node("Gemm", m.constant(matrix(4, 3))),
        r"\(Div\).*NAME\.pipeline\.json",
    ),
    "shift of the data": (lambda m: gemm(m.node("Add", m.constant(matrix(4))), 3), r"\(Add\).*NAME\.pipeline\.json"),
    "cast": (lambda m: gemm(m.node("Cast", to=TensorProto.FLOAT), 3), r"'my Cast' \(Cast\)"),
    "flatten all": (lambda m: gemm(m.node("Flatten", axis=0), 3), "flattens from axis 0"),
    "mixing reshape": (
        lambda m: m.node("Reshape", m.constant(np.array([-1, 2], np.int64))),
        r"'my Reshape' \(Reshape\) .* may not mix data",
    ),
    "other domain": (lambda m: m.node("Gemm2", domain="com.example"), r"\(com\.example\.Gemm2\)"),
    "attention": (lambda m: m.node("Attention", domain="com.microsoft"), r"\(com\.microsoft\.Attention\) is attention"),
    "training": (
        lambda m: m.node("Dropout", m.constant(np.float32(0.5)), m.constant(np.array(True))),
        "is in training mode",
    ),
    "softmax inside": (lambda m: gemm(gemm(m, 4).node("Softmax"), 2), r"\(Softmax\).*Understood are"),
    "nothing dense": (lambda m: m.node("Identity"), "has no dense layer"),
    "no scale": (lambda m: m.node("Gemm", m.constant(np.zeros((4, 2), np.float32))), "all weights are zero"),
    "not finite": (lambda m: m.node("Gemm", m.constant(np.full((4, 2), np.inf, np.float32))), "must be finite"),
    "loose end": (lambda m: gemm(m, 3).nodes.append(helper.make_node("Relu", [m.last], ["lost"])), "not what the last"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_graphs_that_are_no_stack_of_dense_layers(case: str, tmp_path: Path) -> None:
    build, words = REFUSED[case]
    maker = Maker((4,))
    build(maker)
    with pytest.raises(InputError, match=words) as caught:
        load_onnx(maker.save(tmp_path / "odd.onnx"))
    assert "odd.onnx" in str(caught.value)


def test_dense_layers_on_tokens_share_their_weights(tmp_path: Path) -> None:
    maker = Maker((7, 4))
    maker.node("MatMul", maker.constant(matrix(4, 3)))
    with pytest.raises(SharedWeightsError, match=r"for 7 parts \(tokens\) of every datum") as caught:
        load_onnx(maker.save(tmp_path / "tokens.onnx"))
    assert (caught.value.uses, caught.value.n_weights) == (7, 4)


@pytest.mark.parametrize(
    ("attributes", "size", "patches"),
    [
        ({}, (8, 8), 36),
        ({"strides": [2, 2]}, (8, 8), 9),
        ({"pads": [1, 1, 1, 1]}, (8, 8), 64),
        ({"dilations": [2, 2]}, (8, 8), 16),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 1]}, (8, 7), 28),
    ],
    ids=["plain", "strides", "pads", "dilations", "same"],
)
def test_patches_of_a_convolution(
    attributes: dict[str, Any], size: tuple[int, int], patches: int, tmp_path: Path
) -> None:
    """As many as the reference evaluator gives pixels."""
    maker = Maker((2, *size))
    maker.node("Conv", maker.constant(matrix(5, 2, 3, 3)), kernel_shape=[3, 3], **attributes)
    (image,) = ReferenceEvaluator(maker.model()).run(None, {"x": matrix(1, 2, *size)})
    assert math.prod(image.shape[2:]) == patches
    with pytest.raises(SharedWeightsError) as caught:
        load_onnx(maker.save(tmp_path / "conv.onnx"))
    assert (caught.value.uses, caught.value.n_weights) == (patches, 18)


def test_inputs_and_outputs(tmp_path: Path) -> None:
    maker = gemm(Maker((4,)), 3)
    for change, words in (
        (lambda g: g.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])), r"2 inputs \(x, z\)"),
        (lambda g: g.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])), "2 outputs"),
        (lambda g: g.input.pop(), r"0 inputs \(none\)"),
        (lambda g: setattr(g.input[0].type.tensor_type.shape.dim[1], "dim_param", "n"), "shape .*'batch', 'n'"),
    ):
        model = maker.model()
        change(model.graph)
        onnx.save(model, str(tmp_path / "odd.onnx"))
        with pytest.raises(InputError, match=words):
            load_onnx(tmp_path / "odd.onnx")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        load_onnx(tmp_path / "nowhere.onnx")
    with pytest.raises(InputError, match="cannot be read"):
        load_onnx(tmp_path)
    for content in (b"", b"not a graph", b"\x08\x08"):
        (tmp_path / "odd.onnx").write_bytes(content)
        with pytest.raises(InputError, match=r"odd\.onnx: is no ONNX file"):
            load_onnx(tmp_path / "odd.onnx")


def test_lost_external_weights(tmp_path: Path) -> None:
    (tmp_path / "lost.onnx").write_bytes((EXPORTED / "external-dynamo.onnx").read_bytes())
    with pytest.raises(InputError, match=r"lost\.onnx: the weights that it keeps in another file cannot be read"):
        load_onnx(tmp_path / "lost.onnx")


def test_external_weights_outside_of_the_folder(tmp_path: Path) -> None:
    """A file cannot make us read any other file of the machine."""
    (tmp_path / "secret").write_bytes(bytes(1000))
    (tmp_path / "models").mkdir()
    model = onnx.load(str(EXPORTED / "external-dynamo.onnx"), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../secret"
    onnx.save(model, str(tmp_path / "models" / "odd.onnx"))
    with pytest.raises(InputError, match="in another file cannot be read"):
        load_onnx(tmp_path / "models" / "odd.onnx")


@settings(max_examples=150)
@given(data=st.data())
def test_damage_is_an_error_or_another_network_but_no_crash(data: st.DataObject, tmp_path_factory: Any) -> None:
    name = data.draw(st.sampled_from(LOADABLE))
    content = bytearray((EXPORTED / f"{name}.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("damage") / "odd.onnx"
    file.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    with np.errstate(all="ignore"):
        problem = ""
        try:
            load_onnx(file)
        except InputError as error:
            problem = str(error)
    assert not problem or "odd.onnx" in problem


# -- the pipeline beside it -------------------------------------------------------------------------------------------


def test_the_pipeline_beside_the_file(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    maker = gemm(Maker((4,)), 3)
    maker.save(file)
    assert load_onnx(file).pipeline.input_shape == (4,)
    described = {
        "input": {"shape": [2, 2]},
        "pipeline": [
            {"step": "scale", "factor": 0.5},
            {"step": "standardise", "mean": 0.25, "deviation": [[1.0, 2.0], [3.0, 4.0]]},
            {"step": "flatten"},
            {"step": "centre", "mean": [0.0, 0.0, 1.0, 0.0]},
        ],
    }
    pipeline_file(file).write_text(json.dumps(described))
    network = load_onnx(file)
    data = matrix(3, 2, 2)
    expected = ((data * 0.5 - 0.25) / np.array([[1, 2], [3, 4]])).reshape(3, 4) - np.array([0, 0, 1, 0])
    assert network.prepare(data) == pytest.approx(expected.astype(np.float32), rel=1e-6)
    other = tmp_path / "other.json"
    other.write_text('{"input": {"shape": [4]}, "pipeline": []}')
    assert load_onnx(file, pipeline=other).pipeline.steps == ()


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ([], "found something else"),
        ({"input": {"shape": [4]}}, "found something else"),
        ({"input": {"shape": 4}, "pipeline": []}, r"input\.shape"),
        ({"input": {"shape": [True]}, "pipeline": []}, r"input\.shape"),
        ({"input": [4], "pipeline": []}, r"input\.shape"),
        ({"input": {"shape": [4]}, "pipeline": {}}, "a list of steps"),
        ({"input": {"shape": [4]}, "pipeline": [3]}, r"pipeline\[0\].*a step"),
        ({"input": {"shape": [4]}, "pipeline": [{"step": "melt"}]}, "unknown step 'melt'"),
        ({"input": {"shape": [4]}, "pipeline": [{"step": "centre", "mean": "lots"}]}, "no tensor 'lots'"),
        ({"input": {"shape": [4]}, "pipeline": [{"step": "centre", "mean": [1, 2]}]}, r"pipeline\[0\]\.mean"),
        ({"input": {"shape": [4]}, "pipeline": [{"step": "centre", "mean": [1, [2]]}]}, r"pipeline\[0\]\.mean"),
        ({"input": {"shape": [4]}, "pipeline": [{"step": "centre", "mean": None}]}, r"pipeline\[0\]\.mean"),
        ({"input": {"shape": [4]}, "pipeline": [{"step": "blur", "deviation": 1.0}]}, "takes images"),
        ({"input": {"shape": [2, 2]}, "pipeline": []}, "end it with 'flatten'"),
    ],
)
def test_mistakes_in_a_pipeline(described: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        pipeline_from_json(described, source="mine.json")
    assert "mine.json" in str(caught.value)


def test_pipelines_that_are_no_json_or_do_not_fit(tmp_path: Path) -> None:
    file = gemm(Maker((4,)), 3).save(tmp_path / "model.onnx")
    pipeline_file(file).write_text("{\n nonsense")
    with pytest.raises(InputError, match=r"model\.pipeline\.json, line 2: no JSON"):
        load_onnx(file)
    pipeline_file(file).write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no UTF-8 text"):
        load_onnx(file)
    pipeline_file(file).write_text('{"input": {"shape": [5]}, "pipeline": []}')
    with pytest.raises(InputError, match="takes 4 features, the pipeline gives 5"):
        load_onnx(file)
    with pytest.raises(InputError, match=r"lost\.json: there is no such file"):
        load_onnx(file, pipeline=tmp_path / "lost.json")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r'pip install "labqdl\[onnx\]"'):
        read_graph(EXPORTED / "mlp-legacy.onnx")
