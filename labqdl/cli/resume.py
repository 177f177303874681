"""`labqdl resume`: complete a run that was stopped or killed."""

from __future__ import annotations

import click

from labqdl.cli.options import json_option, table_options
from labqdl.cli.output import Output


@click.command("resume")
@click.argument("run", metavar="RUN")
@table_options
@json_option
@click.pass_obj
def command(output: Output, run: str, uncertified: bool, arm: bool, in_process: bool, as_json: bool) -> int:
    """Complete a run that was stopped or killed, from its folder RUN.

    No finished block is sent again, and on an emulated link the result is the same to the bit as that of an
    undisturbed run. A run that is finished already gives its result again. One that an account refused keeps its
    budget, and is refused again unless its accounts are others now (exit code 4).

    A run on a station opens its instruments again: the same ones have to answer, its file has to say the same, and
    the calibrations that it began with have to hold still. Limits of symbols and time that the run had are lifted.
    Exit codes as for `labqdl run`.
    """
    from labqdl.api import resume
    from labqdl.api.bench import Table
    from labqdl.cli.world import opened_by_wire, opened_in_process

    table = Table(open=opened_in_process if in_process else opened_by_wire, arm=arm, uncertified=uncertified)
    with output.progress("classifying", 1, "blocks") as bar:
        result = resume(run, on_block=bar.update, table=table)
    output.show(result, as_json)
    return result.exit_code
