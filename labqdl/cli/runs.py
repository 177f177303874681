"""`labqdl runs`: the runs in a folder with outcome and key figures."""

from __future__ import annotations

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output


@click.command("runs")
@click.argument("folder", required=False, default="runs", metavar="[FOLDER]")
@click.option(
    "--sort",
    default="date",
    metavar="KEY",
    help="date (newest first, default), name, state, model, link, client, images, verdict, accuracy, weights, "
    "certified or data; runs without that figure come last.",
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option("--model", metavar="NAME", help="Only runs of this model; * stands for anything.")
@click.option("--link", metavar="NAME", help="Only runs on this link; * stands for anything.")
@click.option("--client", metavar="NAME", help="Only runs with this client; * stands for anything.")
@click.option("--verdict", metavar="WORD", help="Only runs with this verdict: accept, undecided or abort.")
@click.option("--state", metavar="WORD", help="Only finished, unfinished, refused or damaged runs.")
@json_option
@click.pass_obj
def command(
    output: Output,
    folder: str,
    sort: str,
    reverse: bool,
    model: str | None,
    link: str | None,
    client: str | None,
    verdict: str | None,
    state: str | None,
    as_json: bool,
) -> int:
    """List the runs in FOLDER (default: runs) with date, model, link, images, accuracy, leakage and verdict.

    Reads only each run's manifest and result, and without a result its log. A run that was stopped or killed is marked
    unfinished ('labqdl resume' completes it), one that an account refused is marked refused, with the reason, and one
    whose manifest, result or log is damaged is marked damaged ('labqdl recover' saves what can be saved). Damage to
    arrays shows when a run is opened or replayed.

    \b
    Examples:
      labqdl runs
      labqdl runs --sort accuracy --reverse --link lab-bench
      labqdl runs results --state damaged
      labqdl runs --json --verdict accept
    """
    from labqdl.api.listing import list_runs

    result = list_runs(
        folder, sort=sort, reverse=reverse, model=model, link=link, client=client, verdict=verdict, state=state
    )
    output.show(result, as_json)
    return 0
