"""`labqdl drivers`: begin a driver."""

from __future__ import annotations

import click

from labqdl.cli.output import Output


@click.group("drivers")
def command() -> None:
    """Begin a driver for an instrument that labqdl does not know.

    'labqdl instruments list' shows those that are installed. A driver lives in a package of its own, which declares it
    as an entry point of the group labqdl.drivers; station files then know it by name.
    """


@command.command("new")
@click.argument("name", metavar="NAME")
@click.option(
    "--class",
    "--role",
    "role",
    default="Attenuator",
    show_default=True,
    metavar="CLASS",
    help="What it is: Laser, PowerMeter, Digitizer, any class of labqdl.instruments.",
)
@click.option("--out", metavar="FOLDER", help="Folder to make.  [default: NAME]")
@click.pass_obj
def new(output: Output, name: str, role: str, out: str | None) -> int:
    """Write a package for the driver NAME: driver, simulated twin, examples of the sheet, and tests that pass.

    Its commands are made up from the names of the quantities: replace them by those of the manual, in the driver, in
    the twin (better still let somebody else do that) and in the examples.

    \b
    Examples:
      labqdl drivers new example-voa
      labqdl drivers new example-laser --class Laser
      cd example-voa && pip install -e . && pytest
    """
    from labqdl.station.skeleton import write_skeleton

    folder = write_skeleton(name, role, folder=out)
    output.say(f"saved {folder}: next 'cd {folder}', 'pip install -e .', 'pytest'; then put in the manual's commands")
    return 0
