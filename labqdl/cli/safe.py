"""`labqdl safe`: make everything dark, and acknowledge what could not be made so."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output, print_json, print_line
from labqdl.errors import InputError


@click.command("safe")
@click.argument("station", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--profile", help="Profile of the station file.")
@click.option(
    "--acknowledge", is_flag=True, help="Say that you have seen it dark yourself: takes the UNSAFE file away."
)
@json_option
@click.pass_obj
def command(output: Output, station: Path | None, profile: str | None, acknowledge: bool, as_json: bool) -> int:
    """Make every instrument of STATION safe and confirm it, whoever switched it on.

    Without STATION: try once more what the UNSAFE file names. It works without --arm, and while another process uses
    the station; an instrument that allows one connection only refuses until that process is stopped.

    Exit code 0 if all is confirmed safe and nothing waits to be acknowledged, else 70. What is not confirmed is
    written into the UNSAFE file, and nothing is energised before it is acknowledged; --acknowledge with STATION does
    so only where all of it is confirmed safe.
    """
    from labqdl.safety import Unsafe, UnsafeFile, make_all_safe, make_recorded_safe, unsafe_of

    file = UnsafeFile()
    unsafe: Unsafe | None = None
    if station is not None:
        from labqdl.station import light_paths, load_station

        with ExitStack() as stack:
            loaded = load_station(station, profile)
            stack.callback(loaded.close)
            checks = [check for path in light_paths(loaded) for check in path.checks]
            instruments = loaded.instruments().values()
            outcomes = make_all_safe(instruments, checks=checks)
            unsafe = unsafe_of(outcomes, instruments)
    else:
        try:
            entries = file.entries()
        except InputError:  # damaged; a person who has looked can take it away all the same
            if not acknowledge:
                raise
            entries = []
        outcomes = make_recorded_safe(entries)
    waiting = file.exists()
    acknowledged = acknowledge and unsafe is None and file.acknowledge()
    safe = all(one.safe for one in outcomes)
    if as_json:
        print_json(
            {
                "schema": "labqdl.safe/1",
                "outcomes": [asdict(one) for one in outcomes],
                "unsafe_file": str(file.path) if waiting else None,
                "acknowledged": acknowledged,
            }
        )
    elif not output.quiet:
        for one in outcomes:
            print_line(str(one))
        if acknowledged:
            print_line(f"Acknowledged; the file is kept as {file.path.name}.acknowledged")
        elif waiting:
            print_line(f"{file.path} waits: nothing is energised before `labqdl safe --acknowledge`")
        elif unsafe is not None:  # not even a file
            click.echo(f"labqdl: {unsafe}", err=True)
        elif not outcomes:
            print_line("Nothing is known to be unsafe; name a station file to make all of it safe")
    return 0 if safe and (acknowledged or not waiting) else 70
