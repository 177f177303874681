"""`labqdl pause`: ask the process that works on a run."""

from __future__ import annotations

import click

from labqdl.cli.output import Output


@click.command("pause")
@click.argument("run", metavar="RUN")
@click.pass_obj
def command(output: Output, run: str) -> int:
    """Let a run that another process works on wait.

    The run waits behind the block that it is working on, with its light path dark, until `labqdl continue RUN`.

    RUN is its folder. The wish is a file in it, `control.json`, which the run looks for a few times a second; so it
    works from any terminal of any machine that sees the folder. A second wish replaces the first.
    """
    from labqdl.records.control import Wish, ask

    ask(run, Wish.PAUSE)
    output.say("asked; the run does it behind the block that it is working on")
    return 0
