"""`labqdl watch`: show quantities again and again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from labqdl.cli.output import Output, print_line
from labqdl.cli.table import brief, end_safe, ended_by_signals, opened, quantity_of, station_options

if TYPE_CHECKING:
    from labqdl.instruments import Part, Quantity


@click.command("watch")
@click.argument("name", required=False, metavar="[NAME]")
@click.argument("quantity", nargs=-1, metavar="[QUANTITY]")
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(min=0.0),
    help="Between rows.",
)
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="End after so many rows.  [default: Ctrl-C ends]"
)
@click.option("--leave-on", is_flag=True, help="Leave everything as it is at the end.")
@station_options
@click.pass_obj
def command(
    output: Output,
    name: str | None,
    quantity: tuple[str, ...],
    interval: float,
    count: int | None,
    leave_on: bool,
    station: str,
    profile: str | None,
) -> int:
    """Read QUANTITY of the instrument NAME again and again, or all numbers of it, or of all instruments.

    Prints one row of tab-separated columns a reading, the first of them the time, so that a file of it can be plotted.
    At the end, also by Ctrl-C and when the reader of a pipe goes away, the instruments that it read go to their safe
    state, unless --leave-on is given.

    \b
    Examples:
      labqdl watch meter power
      labqdl watch meter power --interval 0.1 --count 100 --leave-on > power.tsv
      labqdl watch --profile sim --count 3
    """
    from labqdl.errors import LabqdlError
    from labqdl.station import find_quantity, plain_value, quantity_paths

    problems: dict[str, LabqdlError] = {}
    silent = None if name else problems
    with ended_by_signals(), opened(station, profile, None if name is None else [name], problems=silent) as table:
        instruments = [table[name]] if name is not None else list(table.instruments().values())
        instruments = [one for one in instruments if one.is_open]
        for error in problems.values():
            output.say(brief(error))
        chosen: list[tuple[str, Part, Quantity[Any]]]
        if quantity:
            chosen = [(instruments[0].name, *find_quantity(instruments[0], quantity_of(quantity)))]
        else:
            chosen = [
                (one.name, part, declared)
                for one in instruments
                for part, declared in quantity_paths(one).values()
                if declared.readable and declared.kind in (float, int) and not declared.reason_missing(part)
            ]
        heads = [
            f"{one}.{part.path(known.name)}{f' / {known.unit}' if known.unit else ''}" for one, part, known in chosen
        ]
        done = 0
        try:
            there = print_line("\t".join(["time", *heads]))
            while there and (count is None or done < count):
                if done:
                    table.clock.sleep(interval)
                row = [time.strftime("%H:%M:%S", time.localtime(table.clock.wall()))]
                for _, part, known in chosen:
                    try:
                        row.append(f"{plain_value(known.fetch(part)):.9g}")
                    except (LabqdlError, ValueError) as error:
                        row.append("nan")
                        output.say(brief(error))
                there = print_line("\t".join(row))
                done += 1
        except KeyboardInterrupt:
            pass
        finally:
            if not leave_on:
                for outcome in end_safe(table):
                    output.detail(str(outcome))
    return 0
