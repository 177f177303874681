"""`labqdl resume`: complete a run that was stopped or killed."""

from __future__ import annotations

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output


@click.command("resume")
@click.argument("run", metavar="RUN")
@json_option
@click.pass_obj
def command(output: Output, run: str, as_json: bool) -> int:
    """Complete a run that was stopped or killed, from its folder RUN.

    No finished block is sent again, and the result is the same to the bit as that of an undisturbed run. A run that
    is finished already gives its result again. One that an account refused keeps its budget, and is refused again
    unless its accounts are others now (exit code 4). Exit codes as for `labqdl run`.
    """
    from labqdl.api import resume

    with output.progress("classifying", 1, "blocks") as bar:
        result = resume(run, on_block=bar.update)
    output.show(result, as_json)
    return result.exit_code
