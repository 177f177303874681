"""Models for a run: a layer that uses the same weights many times is refused with what it would leak."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from labqdl.api.places import model_place
from labqdl.config import load_link
from labqdl.errors import InputError
from labqdl.facts import Activation, Bound, LayerFrame
from labqdl.network import Dataset, Network, load_model, save_network
from labqdl.network.onnx_import import SharedWeightsError, load_onnx, pipeline_file
from labqdl.security.engines import weights_bound

POINT_OF = "ideal"
"""The link at whose operating point the figures of a refusal are given: that of a run without options."""


def load_model_or_explain(what: str | Path) -> Network:
    """A model by name or path, as `labqdl.network.load_model` gives it.

    Raises
    ------
    InputError
        As there; a convolution or attention layer is refused with what its weights would leak.
    """
    try:
        return load_model(what)
    except SharedWeightsError as error:
        raise _explained(error) from None


def check_shape(network: Network, source: str, dataset: Dataset) -> None:
    """Where data do not have the shape that an ONNX file takes, say how to describe the way from one to the other."""
    path, shape, wanted = Path(source), dataset.data.shape[1:], network.pipeline.input_shape
    if path.suffix != ".onnx" or shape == wanted:
        return
    described = json.dumps({"input": {"shape": list(shape)}, "pipeline": [{"step": "flatten"}]})
    raise InputError(
        f"data of shape {shape} do not fit model '{path.name}'",
        source=dataset.source,
        expected=f"data of shape {wanted}",
        hint=f"If only the shape differs, write {described} into {pipeline_file(path)}",
    )


def convert_onnx(
    source: str | Path, target: str | Path, *, pipeline: str | Path | None = None, publish_scales: bool = False
) -> tuple[Network, tuple[Path, Path]]:
    """Write an ONNX file in labqdl's own format.

    Parameters
    ----------
    source:
        The .onnx file.
    target:
        Name of the two files that are written, with or without .safetensors; an existing model is replaced.
    pipeline:
        Description of the input pipeline; by default NAME.pipeline.json beside the file, if it is there.
    publish_scales:
        Whether every layer tells its scale, so that outputs have the size that PyTorch gives them.

    Returns
    -------
    The network, and the paths of its tensors and of its description.

    Raises
    ------
    InputError
        As `load_model_or_explain`, and where the files cannot be written.
    """
    place = model_place(target)
    file = None if pipeline is None else Path(pipeline)
    try:
        network = load_onnx(Path(source), pipeline=file, publish_scales=publish_scales)
    except SharedWeightsError as error:
        raise _explained(error) from None
    return network, save_network(replace(network, name=place.name), place)


def _explained(error: SharedWeightsError) -> InputError:
    """A refusal with what would leak."""
    return InputError(
        f"{error.problem}. {leak_words(error.uses, error.n_weights)}", source=error.source, hint=error.hint
    )


def shared_weights_bound(uses: int, n_weights: int) -> Bound:
    """What a client can learn about weights that one datum meets `uses` times, at the default operating point.

    L(2 P mu + 1, T, eps)/2 bits per weight with P uses, the client's noise held to that of one use by the test across
    uses (docs/physics.md, "Convolution and attention").

    Parameters
    ----------
    uses:
        Patches or tokens of a datum, P.
    n_weights:
        Real weights of a row.
    """
    link = load_link(POINT_OF)
    point = link.operating_point
    if point is None:
        raise LookupError(f"link {POINT_OF} has no operating point of its own")
    layer = LayerFrame(1, n_weights, False, point.mu, None, Activation())
    bound = weights_bound("labqdl", [layer], point.tap, link.ledger, uses=uses, cross_use_tested=True)
    if bound is None:  # this engine speaks about every tap
        raise LookupError("no bound by engine labqdl")
    return bound


def leak_words(uses: int, n_weights: int) -> str:
    """Sentences about what would leak, for the refusal."""
    once, often = shared_weights_bound(1, n_weights), shared_weights_bound(uses, n_weights)
    words = (
        f"At the point of link {POINT_OF} one use of rows of {n_weights} weights would tell at most {once.bits:.3g} "
        f"bit per weight (engine {once.engine}), but a single datum would tell {often}"
    )
    if uses >= n_weights:
        words += (
            f"; with {uses} uses of {n_weights} weights an honest client's outcomes alone determine the weights, as "
            "far as the noise allows"
        )
    return words
