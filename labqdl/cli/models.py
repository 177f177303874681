"""`labqdl models`: the models that ship."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output, print_json

if TYPE_CHECKING:
    from labqdl.network import ModelEntry


@click.group("models", invoke_without_command=True)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> int | None:
    """List the models that ship with labqdl, with their accuracy against the signal-to-noise ratio F².

    `labqdl models convert` brings in models from elsewhere.
    """
    return None if context.invoked_subcommand else _list(context.ensure_object(Output), as_json)


@command.command("convert")
@click.argument("source", metavar="FILE.onnx")
@click.argument("target", metavar="OUT")
@click.option(
    "--pipeline",
    metavar="FILE.json",
    help="What happens to the data before the first layer; by default FILE.pipeline.json beside the model, if it is "
    "there.",
)
@click.option(
    "--publish-scales",
    is_flag=True,
    help="Let the server tell every layer's scale: outputs then have the size that PyTorch gives them. Classes do not "
    "need it.",
)
@json_option
@click.pass_obj
def convert(output: Output, source: str, target: str, pipeline: str | None, publish_scales: bool, as_json: bool) -> int:
    """Write the dense network in FILE.onnx as OUT.safetensors and OUT.json, labqdl's own format.

    Reads what PyTorch's exporters write for a stack of dense layers: Gemm, MatMul with Add, Relu, LeakyRelu, Flatten.
    Anything else is refused with the node's name and type; convolutions and attention with what they would leak.
    Needs the extra: pip install 'labqdl[onnx]'. `labqdl run --model FILE.onnx` takes such a file as it is.

    \b
    What an ONNX file does not say is what happens to the data before. A file beside it does:
      {"input": {"shape": [28, 28]},
       "pipeline": [{"step": "scale", "factor": 0.00392156862745098}, {"step": "flatten"}]}

    \b
    Examples:
      labqdl models convert mlp.onnx mlp
      labqdl models convert mlp.onnx models/mlp --pipeline mnist.json
    """
    from labqdl.api.importing import convert_onnx

    network, files = convert_onnx(source, target, pipeline=pipeline, publish_scales=publish_scales)
    if as_json:
        print_json(
            {
                "schema": "labqdl.convert/1",
                "model": [str(file) for file in files],
                "input_shape": list(network.pipeline.input_shape),
                "pipeline": network.pipeline.to_json(),
                "layers": [
                    {
                        "rows": layer.rows,
                        "features": layer.n_features,
                        "bias": layer.bias is not None,
                        "activation": layer.activation.kind.value,
                        "published_scale": layer.published_scale,
                    }
                    for layer in network.layers
                ],
            }
        )
    elif not output.quiet:
        sizes = "-".join(map(str, (network.layers[0].n_features, *(layer.rows for layer in network.layers))))
        steps = ", ".join(step.name for step in network.pipeline.steps) or "nothing"
        shape = " x ".join(map(str, network.pipeline.input_shape))
        output.results.print(f"{sizes} network; pipeline for data of shape {shape}: {steps}", markup=False)
        output.results.print(f"saved {files[0]} and {files[1]}", markup=False)
    return 0


def _list(output: Output, as_json: bool) -> int:
    from labqdl.network import shipped_models

    entries = shipped_models()
    if as_json:
        print_json(
            {
                "schema": "labqdl.models/1",
                "models": [
                    {"name": e.name, "description": e.description, "data": e.dataset, "notes": e.notes} for e in entries
                ],
            }
        )
        return 0
    if not output.quiet:
        for entry in entries:
            _print(output, entry)
    return 0


def _print(output: Output, entry: ModelEntry) -> None:
    """Name, description and the measured accuracy; `--json` has every note."""
    from rich import box
    from rich.table import Table

    console = output.results
    console.print(f"[bold]{entry.name}[/bold]: {entry.description}")
    measured = entry.notes.get("test")
    if not isinstance(measured, dict):
        return
    console.print(f"test accuracy on {entry.dataset}, mean of {measured['draws']} draws of the light's noise:")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("F²/dB")
    for point in (*measured["f2_db"], "no noise"):
        table.add_column(f"{point:g}" if isinstance(point, float) else str(point), justify="right")
    table.add_row("%", *(f"{100 * value:.1f}" for value in (*measured["accuracy"], measured["exact"])))
    console.print(table)
