"""`labqdl stop`: ask the process that works on a run."""

from __future__ import annotations

import click

from labqdl.cli.output import Output


@click.command("stop")
@click.argument("run", metavar="RUN")
@click.pass_obj
def command(output: Output, run: str) -> int:
    """Stop a run that another process works on, cleanly.

    The run ends behind the block that it is working on, and leaves its light path dark; `labqdl resume RUN` does the
    rest. RUN is its folder; see 'labqdl pause --help' how a run is reached.
    """
    from labqdl.records.control import Wish, ask

    ask(run, Wish.STOP)
    output.say("asked; the run does it behind the block that it is working on")
    return 0
