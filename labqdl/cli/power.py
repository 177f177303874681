"""`labqdl power`: how soon each cheat is found."""

from __future__ import annotations

from typing import Any

import click

from labqdl.cli.options import json_option, point_options
from labqdl.cli.output import Output


@click.command("power")
@point_options
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    metavar="WORD",
    help="Only cheats with this in their name, option or test; may be given again.",
)
@click.option(
    "--link", metavar="NAME|FILE", help="Light path: paper (default), ideal, metro-10km, lab-bench, or a file."
)
@click.option("--transmissivity", type=float, help="Further untrusted power transmissivity, both ways together.")
@click.option("--modes", "n_modes", type=int, default=392, show_default=True, help="Complex modes of a row.")
@click.option("--alpha", type=float, default=1e-6, help="One-sided false-alarm rate of each test. [default: 1e-6]")
@click.option("--wanted", type=float, default=0.99, show_default=True, help="Power whose symbols are stated.")
@click.option("--trials", type=int, default=400, show_default=True, help="Sessions that are drawn; 0: theory alone.")
@click.option("--work", type=float, default=4e9, help="Symbols times sessions that one point may cost. [default: 4e9]")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the random numbers.")
@click.option("--plot", metavar="FILE", help="Draw the curves into this file (.png, .svg, .pdf).")
@json_option
@click.pass_obj
def command(output: Output, /, plot: str | None, as_json: bool, **settings: Any) -> int:
    """Count how often each known cheat is found, against the symbols that the server has measured.

    Sessions are drawn by the exact sampler and judged by the very checks that judge a run; theory stands beside them.
    Without options this is the reference point of the documentation: mu = 4, G = 2, 392 modes, no loss.

    \b
    Examples:
      labqdl power
      labqdl power --attack cloner --transmissivity 0.5
      labqdl power --attack count --plot power.png
      labqdl power --trials 0 --link lab-bench --json
    """
    from labqdl.api.detecting import power
    from labqdl.api.places import file_place

    if plot is not None:
        from labqdl.plots import style

        style.require_matplotlib()
        file_place(plot, "--plot", endings=style.ENDINGS)
    with output.progress("counting", 1, "cheats") as bar:
        result = power(curves=plot is not None or as_json, on_attack=bar.update, **settings)
    if plot is not None:
        from labqdl.plots.power import power_curves

        style.save(power_curves(result.to_json()["attacks"], wanted=result.wanted), plot)
        output.say(f"written: {plot}")
    output.show(result, as_json)
    return 0
