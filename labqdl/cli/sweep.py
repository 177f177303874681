"""`labqdl sweep`: one setting through its points, and what is read at each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output, print_json, print_line
from labqdl.cli.table import arm_option, end_safe, ended_by_signals, opened, present

if TYPE_CHECKING:
    from labqdl.plans.sweep import SweepRow, SweepTable


@click.command("sweep", context_settings={"ignore_unknown_options": True})
@click.argument("station", metavar="STATION")
@click.argument("setting", metavar="SETTING")
@click.argument("begin", metavar="FROM")
@click.argument("end", metavar="TO")
@click.argument("steps", metavar="STEPS", type=click.IntRange(min=1))
@click.option(
    "--read", "reads", multiple=True, required=True, metavar="INSTRUMENT.QUANTITY", help="To read at each point."
)
@click.option(
    "--first", multiple=True, metavar="INSTRUMENT.QUANTITY=VALUE", help="To set before the first point, in this order."
)
@click.option("--log", is_flag=True, help="Points by equal ratios, not by equal steps.")
@click.option(
    "--settle",
    type=click.FloatRange(min=0.0),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Before reading.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Keep it: .csv or .json.")
@click.option("--dry-run", is_flag=True, help="Show what would be set, in order; set nothing.")
@click.option("--profile", metavar="NAME", help="bench, sim (simulated instruments), or one that the file declares.")
@arm_option
@json_option
@click.pass_obj
def command(
    output: Output,
    station: str,
    setting: str,
    begin: str,
    end: str,
    steps: int,
    reads: tuple[str, ...],
    first: tuple[str, ...],
    log: bool,
    settle: float,
    out: Path | None,
    dry_run: bool,
    profile: str | None,
    arm: bool,
    as_json: bool,
) -> int:
    """Set SETTING of STATION from FROM to TO in STEPS points, and read quantities at each.

    SETTING is INSTRUMENT.QUANTITY, as are the quantities to read. All points are held against the limits of device and
    station before anything is sent; interlocks and --arm hold as for 'labqdl set'. Rows are printed as they come,
    columns separated by tabs. At the end, on every way out, the setting is what it was before, if nothing failed, and
    all instruments of the sweep go to their safe state; what was measured by then is kept.

    \b
    Examples:
      labqdl sweep loop-32 voa.attenuation 0dB 20dB 11 --read meter_s.power --first laser.emission=on
      labqdl sweep station.toml laser.power 0dBm 10dBm 21 --log --read meter.power --settle 0.2 --out curve.csv
      labqdl sweep loop-32 voa.attenuation 0dB 20dB 3 --read meter_s.power --dry-run
    """
    from labqdl.errors import InputError
    from labqdl.plans.sweep import Place, Spacing, SweepHandlers, sweep, sweep_points
    from labqdl.sequencer import Engine, print_plan
    from labqdl.station import set_quantity

    if out is not None and out.suffix not in (".csv", ".json"):
        raise InputError(f"{str(out)!r} has another ending", source="--out", expected=".csv or .json")
    before = []
    for word in first:
        place, equals, text = word.partition("=")
        if not equals:
            raise InputError(f"{word!r} has no value", source="--first", expected="INSTRUMENT.QUANTITY=VALUE")
        before.append((place, text.strip()))
    names = dict.fromkeys(
        place.strip().partition(".")[0] for place in (setting, *reads, *(place for place, _ in before))
    )
    with ended_by_signals(), opened(present(station), profile, names, arm=arm) as table:
        swept = Place.find(table, setting)
        read = [Place.find(table, name) for name in reads]
        prepared = [(Place.find(table, place), text) for place, text in before]
        points = sweep_points(swept, begin, end, steps, Spacing.LOG if log else Spacing.LINEAR)

        def told(row: SweepRow) -> None:
            if not as_json:
                print_line("\t".join(row.cells()))
            for name, problem in row.problems.items():
                output.say(f"{name}: {problem}")

        handlers = SweepHandlers(table, swept, read, points, told)
        if dry_run:
            for one, text in prepared:
                print_line(f"      set {one.label} to {text}")
            print_plan(sweep(swept.label, points, settle=settle), print_line, limit=1000)
            return 0
        try:
            back = float(swept.quantity.fetch(swept.part)) if swept.quantity.readable else None
            for one, text in prepared:
                set_quantity(one.part, one.quantity, text, source=one.label)
            if not as_json:
                print_line("\t".join(handlers.table.heads))
            Engine(handlers.handlers(), clock=table.clock).run(sweep(swept.label, points, settle=settle, back=back))
        finally:
            try:
                _keep(handlers.table, out, output)
            finally:
                for outcome in end_safe(table):
                    output.detail(str(outcome))
        if as_json:
            print_json(handlers.table.to_json())
    return 0


def _keep(table: SweepTable, out: Path | None, output: Output) -> None:
    if out is None or not table.rows:
        return
    text = table.to_csv() if out.suffix == ".csv" else json.dumps(table.to_json(), indent=1) + "\n"
    out.write_text(text, encoding="utf-8")
    output.say(f"{len(table.rows)} of {len(table.points)} points are in {out}")
