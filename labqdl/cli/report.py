"""`labqdl report`: one page about a run, to look at, to print and to send."""

from __future__ import annotations

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output


@click.command("report")
@click.argument("run", metavar="RUN")
@click.option("--out", metavar="FOLDER", help="Folder for the report. [default: report, in the run's folder]")
@click.option(
    "--symbol-rate", type=float, metavar="RATE", help="Symbols per second, for the cost in time. [default: 100e6]"
)
@json_option
@click.pass_obj
def command(output: Output, /, run: str, out: str | None, symbol_rate: float | None, as_json: bool) -> int:
    """Write a report about the run in folder RUN: report.html, one file that needs nothing else, and its pictures.

    The page shows the verdict, what was run, predictions and accuracy, the client's outcomes against perfect light, the
    tests of the returned light over the run, what each party can have learned by every engine, the light path and the
    cost. It is made from the record alone, for runs that were aborted or stopped as well; what is not there or damaged
    is named.

    \b
    Examples:
      labqdl report runs/20260101-120000-000-mnist-robust-ideal
      labqdl report RUN --out for-the-referee --symbol-rate 10e6
    """
    from labqdl.api.reporting import write_report
    from labqdl.report.cost import SYMBOL_RATE

    report = write_report(run, out=out, symbol_rate=SYMBOL_RATE if symbol_rate is None else symbol_rate)
    if not as_json:
        for note in report.notes:
            output.say(note)
    output.show(report, as_json)
    return 0
