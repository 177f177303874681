"""`labqdl plan`: which operating point reaches a target, or what stands in the way."""

from __future__ import annotations

from typing import Any

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output


@click.command("plan")
@click.option("--model", metavar="NAME|FILE", help="Shipped model, file, or paper-network. [default: mnist-robust]")
@click.option("--accuracy", metavar="SHARE", help="To reach, by the model's curve; or max. [default: 0.96]")
@click.option("--f2-db", type=float, metavar="DB", help="To reach instead of an accuracy: signal-to-noise F².")
@click.option("--bits-per-weight", type=float, metavar="BITS", help="What may leak about a weight at most.")
@click.option("--bits-per-feature", type=float, metavar="BITS", help="What may leak about a data feature at most.")
@click.option("--link", metavar="NAME|FILE", help="Light path: ideal (default), paper, metro-10km, lab-bench, a file.")
@click.option("--tap", metavar="KIND", default="both", help="amplifier, feed-forward, or both. [default: both]")
@click.option("--build", metavar="NAME", help="Build whose floors hold: edfa, feed-forward. [default: no floor]")
@click.option("--aim", metavar="WHAT", help="Make small: margin, weights or data. [default: what has no limit]")
@click.option(
    "--judge", metavar="HOW", default="largest", help="Weights: the largest layer, or the mean. [default: largest]"
)
@click.option("--assured", is_flag=True, help="The lower end of the accuracy's interval has to reach the target.")
@click.option("--uses", type=int, default=1, help="Uses of the same weights that the limit covers. [default: 1]")
@click.option("--data-uses", type=int, default=1, help="Uses of the same data vector. [default: 1]")
@click.option("--cross-use/--no-cross-use", default=True, help="The cross-use test is in force. [default: on]")
@click.option(
    "--last-layer-db", metavar="DB", default="0", help="Extra light of the last layer, or choose. [default: 0]"
)
@click.option("--curve", metavar="FILE", help="Accuracy against F², from 'labqdl curve'. [default: the shipped one]")
@click.option("--modes", type=int, multiple=True, help="With --f2-db alone: modes of a row, once for each layer.")
@click.option("--rows", type=int, multiple=True, help="With --f2-db alone: rows of a layer, once for each layer.")
@click.option("--tile", type=int, metavar="MODES", help="Modes of the client's interferometer, if rows have more.")
@click.option("--symbol-rate", type=float, default=100e6, help="Symbols a second. [default: 1e8]")
@click.option("--alpha", type=float, help="False-alarm rate of the tests. [default: 1e-6]")
@click.option("--delta", type=float, help="1 - confidence of the certificate. [default: 1e-6]")
@click.option(
    "--squeezing", type=float, multiple=True, metavar="DB", help="Also what squeezed encoding would leak to the loss."
)
@click.option("--write", metavar="FILE.toml", help="Write the point as an experiment for 'labqdl run'.")
@click.option("--map", "map_file", metavar="FILE", help="Draw the map of both leakages: .png, .pdf, .svg, or .json.")
@json_option
@click.pass_obj
def command(output: Output, /, write: str | None, map_file: str | None, as_json: bool, **settings: Any) -> int:
    """Find the light and the tap that reach an accuracy on a link while little leaks, or say what stands in the way.

    Limits are upper bounds on what the client can learn about the weights and the server about the data; what has no
    limit is made small. The answer names tap and gain, photons per mode, what leaks by exact bounds at the link's
    total loss and noise, what the point asks of a bench, and how many symbols it takes to certify it.

    \b
    Examples:
      labqdl plan --link lab-bench
      labqdl plan --link lab-bench --bits-per-weight 0.1 --accuracy max
      labqdl plan --bits-per-weight 0.05 --bits-per-feature 0.05 --write experiment.toml
      labqdl plan --bits-per-feature 0.1 --build edfa
      labqdl plan --f2-db -5 --bits-per-feature 0.01 --tap amplifier
      labqdl plan --link lab-bench --squeezing 3 --squeezing 10
      labqdl plan --link lab-bench --map map.pdf

    Exit code 0: there is such a point; 4: there is none, and the answer says which part would have to be what.
    """
    from labqdl.api.plan_files import experiment_path, write_experiment
    from labqdl.api.planning import plan

    # wrong names of files are said before a long answer
    if write is not None:
        experiment_path(write)
    if map_file is not None:
        from labqdl.api.plan_map import map_path, save_map

        map_path(map_file)
    result = plan(**settings)
    if write is not None:
        if result.feasible:
            for file in write_experiment(result, write):
                output.say(f"wrote {file}")
        else:
            output.say(f"{write} is not written: no point is within the limits")
    if map_file is not None:
        output.say(f"wrote {save_map(result, map_file)}")
    output.show(result, as_json)
    return result.exit_code
