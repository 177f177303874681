"""`labqdl run`: one secure inference, recorded."""

from __future__ import annotations

from typing import Any

import click

from labqdl.cli.options import run_options
from labqdl.cli.output import Output


@click.command("run")
@click.argument("experiment", required=False, metavar="[EXPERIMENT.toml]")
@run_options
@click.option(
    "--dry-run", is_flag=True, help="Check everything and print the plan; no light flows, nothing is written."
)
@click.pass_obj
def command(output: Output, /, experiment: str | None, as_json: bool, dry_run: bool, **settings: Any) -> int:
    """Classify data through the quantum-secure protocol on an emulated link.

    Without arguments the 10,000 MNIST test digits meet `mnist-robust` on the ideal link: the point where one use
    leaks below 0.01 bit per pixel and 0.03 bit per weight, which needs ideal parts. Everything is recorded in a run
    folder.

    \b
    Examples:
      labqdl run
      labqdl run --images 100 --link lab-bench
      labqdl run --model mnist-plain --link paper
      labqdl run --client intercept-resend
      labqdl run experiment.toml --mu 10 --json

    Exit code 0: the server accepts; 3: it aborts; 4: undecided; 2: bad input; 130: interrupted.
    """
    from labqdl.api import print_dry_run, run

    if dry_run:
        print_dry_run(experiment, click.echo, **settings)
        return 0
    with output.progress("classifying", 1, "blocks") as bar:
        result = run(experiment, on_block=bar.update, **settings)
    output.show(result, as_json)
    return result.exit_code
