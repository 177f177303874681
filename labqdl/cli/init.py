"""`labqdl init`: a station file from what stands on the table."""

from __future__ import annotations

import click

from labqdl.cli.output import Output
from labqdl.cli.table import DEFAULT


@click.command("init")
@click.argument("file", required=False, default=DEFAULT, metavar="[FILE]")
@click.option("--host", "hosts", multiple=True, metavar="ADDRESS", help="Address of an instrument; may be given again.")
@click.option("--ask-serial", is_flag=True, help="Send *IDN? to serial ports as well, at 9600 baud.")
@click.option("--visa", "library", metavar="LIBRARY", help="VISA library: @py, @ivi, FILE@labqdl.")
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
@click.pass_obj
def command(
    output: Output, file: str, hosts: tuple[str, ...], ask_serial: bool, library: str | None, force: bool
) -> int:
    """Write FILE (default: station.toml) with what stands on the table, and their simulated twins.

    Looks at USB, GPIB, the serial ports and the addresses given with --host; sends nothing but *IDN?, which changes
    nothing, and says before where. Serial ports are asked only with --ask-serial. What no driver is for stands in the
    file as a comment. Where nothing answers, the file is one of simulated instruments to begin with.

    \b
    Examples:
      labqdl init
      labqdl init table-2.toml --host 10.0.0.5 --host 10.0.0.6
      labqdl get --profile sim
    """
    from pathlib import Path

    from labqdl.errors import InputError
    from labqdl.station import find, station_text, template, write_new

    if Path(file).exists() and not force:
        raise InputError("there is such a file already", source=file, hint="--force replaces it")
    found = find(hosts, ask_serial=ask_serial, library=library, saying=output.say)
    known = [one for one in found if one.drivers]
    if known:
        text = station_text(found, Path(file).stem)
    else:
        text = template().replace(
            'name = "my table"\n', 'name = "my table"\nprofile = "sim"           # nothing answered\n'
        )
    path = write_new(file, text, force=force)
    for one in known:
        assert one.identity is not None
        output.say(f"{one.identity.maker} {one.identity.model} at {one.resource}: driver {one.drivers[0]}")
    if not known:
        output.say("nothing answered that a driver is for: the file is of simulated instruments")
    output.say(f"saved {path}. Next: 'labqdl station check {path}'")
    return 0
