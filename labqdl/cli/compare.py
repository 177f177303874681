"""`labqdl compare`: which differences between runs are significant."""

from __future__ import annotations

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN [RUN ...]")
@click.option(
    "--alpha",
    type=float,
    default=0.05,
    help="Probability that any difference is called significant where there is none. [default: 0.05]",
)
@json_option
@click.pass_obj
def command(output: Output, runs: tuple[str, ...], alpha: float, as_json: bool) -> int:
    """Compare runs with the first of them: settings that differ, and differences that are more than chance.

    Accuracy: McNemar's exact test where both runs classified the same images, else Fisher's. Light: gain, phase,
    noise and counts of every layer, with the scatter between rows as their error. All p-values of a comparison are
    corrected together (Holm), so that alpha holds for all of them. Bounds have no error bars and are listed.

    \b
    Examples:
      labqdl compare runs/a runs/b
      labqdl compare runs/honest runs/suspect runs/other --alpha 0.001
      labqdl compare runs/a runs/b --json

    Exit code 0, whatever differs; 2: there is no run.
    """
    from labqdl.api.comparing import compare

    output.show(compare(runs, alpha=alpha), as_json)
    return 0
