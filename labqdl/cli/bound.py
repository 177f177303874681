"""`labqdl bound`: what an operating point leaks."""

from __future__ import annotations

import click

from labqdl.cli.options import json_option, point_options
from labqdl.cli.output import Output


@click.command("bound")
@point_options
@click.option(
    "--link", metavar="NAME|FILE", help="Light path: ideal (default), paper, metro-10km, lab-bench, or a file."
)
@click.option(
    "--modes", type=int, multiple=True, help="Complex modes of a row; once for each layer. [default: 392 392]"
)
@click.option("--tile", type=int, metavar="MODES", help="Modes of the client's interferometer, if rows have more.")
@click.option("--rows", type=int, multiple=True, help="Rows of a layer; once for each layer. [default: 784 10]")
@click.option("--transmissivity", type=float, help="Further untrusted power transmissivity, both ways together.")
@click.option("--excess", type=float, help="Further technical noise, SNU per quadrature and mode at the server.")
@click.option("--samples", type=int, help="Also what an honest run of that many returned symbols would certify.")
@click.option("--confidence", type=float, default=1 - 1e-6, help="Of the certified figures. [default: 1 - 1e-6]")
@click.option("--uses", type=int, default=1, help="Uses of the same weights for the cumulative figures. [default: 1]")
@json_option
@click.pass_obj
def command(
    output: Output,
    mu: float | None,
    amplifier_gain: float | None,
    tap: str | None,
    tap_transmissivity: float | None,
    link: str | None,
    modes: tuple[int, ...],
    tile: int | None,
    rows: tuple[int, ...],
    transmissivity: float | None,
    excess: float | None,
    samples: int | None,
    confidence: float,
    uses: int,
    as_json: bool,
) -> int:
    """Say what an operating point leaks: weights to the client, data to the server, by every engine.

    \b
    Examples:
      labqdl bound --mu 4 --amplifier-gain 2
      labqdl bound --mu 4 --amplifier-gain 2 --modes 392 --rows 784 --transmissivity 0.999
      labqdl bound --mu 4 --amplifier-gain 2 --tile 32
      labqdl bound --link lab-bench --samples 311248 --uses 1000
    """
    from labqdl.api import bound
    from labqdl.api.bounding import DEFAULT_MODES, DEFAULT_ROWS

    result = bound(
        mu=mu,
        amplifier_gain=amplifier_gain,
        tap=tap,
        tap_transmissivity=tap_transmissivity,
        modes=modes or DEFAULT_MODES,
        rows=rows or DEFAULT_ROWS,
        tile=tile,
        link=link,
        transmissivity=transmissivity,
        excess=excess,
        samples=samples,
        confidence=confidence,
        uses=uses,
    )
    output.show(result, as_json)
    return 0
