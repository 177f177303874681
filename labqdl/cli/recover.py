"""`labqdl recover`: save what a damaged run allows."""

from __future__ import annotations

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output


@click.command("recover")
@click.argument("run", metavar="RUN")
@click.option("--out", metavar="FOLDER", help="The new folder. [default: RUN-recovered]")
@json_option
@click.pass_obj
def command(output: Output, run: str, out: str | None, as_json: bool) -> int:
    """Save what the damaged folder RUN allows into a new one; nothing is written into RUN.

    Every file that fits its checksum is copied; the table says of each other file what became of it and why. A block
    of which a file is damaged counts as not done, and 'labqdl resume' on the new folder sends it again, with the same
    random numbers where the root entropy is whole or a seed was recorded. A block that is whole is never lost, also
    where the log lost its line. Lost manifests come back from their second copy.

    \b
    Examples:
      labqdl recover runs/20260102-030405-678-mnist-robust-ideal
      labqdl recover runs/mine --out runs/saved
      labqdl resume runs/saved

    Exit code 0: nothing is lost; 1: something is; 2: there is nothing to save, or the new folder's place is taken.
    """
    from labqdl.api.recovering import recover

    result = recover(run, out)
    output.show(result, as_json)
    return result.exit_code
