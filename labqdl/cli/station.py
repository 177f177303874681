"""`labqdl station`: check, draw and begin station files."""

from __future__ import annotations

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output, print_json
from labqdl.cli.table import DEFAULT, present, twin_problems


@click.group("station")
def command() -> None:
    """Check and draw station files, or begin one.

    A station file says which instruments stand on a table, how they are reached and wired, what their limits are and
    which interlocks hold. Every command about instruments takes it with --station; --profile sim puts a simulated twin
    at each resource, so that everything works without a table.
    """


@command.command("check")
@click.argument("file", required=False, default=DEFAULT, metavar="[FILE]")
@click.option("--profile", metavar="NAME", help="bench, sim, or one that the file declares.")
@json_option
@click.pass_obj
def check(output: Output, file: str, profile: str | None, as_json: bool) -> int:
    """List all mistakes of FILE (default: station.toml) at once, and what is not as it should be.

    Loads the drivers that it names and talks to no instrument. Exit code 0 without mistakes, else 2.

    \b
    Examples:
      labqdl station check
      labqdl station check table-2.toml --profile sim --json
    """
    from labqdl.station import check_station

    result = check_station(present(file), profile, twins=twin_problems)
    if as_json:
        print_json(result.to_json())
    elif not output.quiet:
        output.results.print(str(result), markup=False, soft_wrap=True)
    return 0 if result.good else 2


@command.command("draw")
@click.argument("file", required=False, default=DEFAULT, metavar="[FILE]")
@click.option("--profile", metavar="NAME", help="bench, sim, or one that the file declares.")
@click.option("--out", metavar="FILE", help="Write a picture: .svg, .png or .pdf. Needs the extra 'report'.")
@click.pass_obj
def draw(output: Output, file: str, profile: str | None, out: str | None) -> int:
    """Show what FILE (default: station.toml) describes: instruments, wiring, light paths, interlocks.

    \b
    Examples:
      labqdl station draw
      labqdl station draw table-2.toml --out table-2.svg
    """
    from labqdl.config.station import load_station_file
    from labqdl.station import draw_text

    read = load_station_file(present(file), profile)
    if out is None:
        output.results.print(draw_text(read), markup=False, soft_wrap=True)
        return 0
    from labqdl.plots.style import save
    from labqdl.station import station_picture

    path = save(station_picture(read), out)
    output.say(f"saved {path}")
    return 0


@command.command("copy")
@click.argument("file", required=False, default=DEFAULT, metavar="[FILE]")
@click.option("--of", "name", metavar="NAME", help="A station that ships, for real instruments: loop-32, ...")
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
@click.pass_obj
def copy(output: Output, file: str, name: str | None, force: bool) -> int:
    """Write a commented station file to FILE (default: station.toml), to begin with.

    It works at once with --profile sim. 'labqdl init' writes one from what stands on the table instead.

    \b
    Examples:
      labqdl station copy
      labqdl station copy table.toml --of loop-32
      labqdl get --profile sim
    """
    from labqdl.station import template, template_of, write_new

    path = write_new(file, template() if name is None else template_of(name), force=force)
    output.say(f"saved {path}: put in your resources, then 'labqdl station check {path}'")
    return 0
