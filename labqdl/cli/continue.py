"""`labqdl continue`: ask the process that works on a run."""

from __future__ import annotations

import click

from labqdl.cli.output import Output


@click.command("continue")
@click.argument("run", metavar="RUN")
@click.pass_obj
def command(output: Output, run: str) -> int:
    """Let a paused run go on.

    Takes back `labqdl pause RUN`; RUN is its folder. See there how a run is reached.
    """
    from labqdl.records.control import Wish, ask

    ask(run, Wish.CONTINUE)
    output.say("asked; the run does it behind the block that it is working on")
    return 0
