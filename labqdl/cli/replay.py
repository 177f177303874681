"""`labqdl replay`: every figure of a run again, from its record."""

from __future__ import annotations

from dataclasses import replace

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output


@click.command("replay")
@click.argument("run", metavar="RUN")
@click.option(
    "--light",
    is_flag=True,
    help="Emulate the light again as well, from the recorded root entropy (a seed is not needed), and compare every "
    "array bit for bit. Takes as long as the run did, and as much room in the system's folder for temporary files.",
)
@json_option
@click.pass_obj
def command(output: Output, run: str, light: bool, as_json: bool) -> int:
    """Compute every figure of the result in folder RUN again from its record, and say whether each agrees.

    The server's statistics give verdict, certificate and bounds; the client's outcomes give activations, outputs,
    predictions and accuracy; checksums tell files that were damaged. The table shows each figure as recorded and as
    recomputed; 'to the bit' means that not even the last digit differs, 'to rounding' that another machine or version
    sums in another order (at most 1e-9). RUN is only read.

    A result that was edited, statistics that were edited (with a fitting checksum, too), and a frame that this
    version would make differently all show as figures that do not agree.

    \b
    Examples:
      labqdl replay runs/20260102-030405-678-mnist-robust-ideal
      labqdl replay runs/mine --light
      labqdl replay runs/mine --json

    Exit code 0: all agree; 1: something does not; 2: there is no run, it has no result yet, or its model or data are
    gone.
    """
    from labqdl.api.replaying import replay

    with output.progress("light again", 1, "blocks") as bar:
        result = replay(run, light=light, on_block=bar.update)
    output.show(replace(result, verbose=output.verbose), as_json)
    return result.exit_code
