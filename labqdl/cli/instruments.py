"""`labqdl instruments`: drivers, what stands on the table, and every command about one instrument."""

from __future__ import annotations

import click

from labqdl.cli.get import command as get_command
from labqdl.cli.options import json_option
from labqdl.cli.output import Output, print_json
from labqdl.cli.set import command as set_command
from labqdl.cli.shell import command as shell_command
from labqdl.cli.watch import command as watch_command

visa_option = click.option("--visa", "library", metavar="LIBRARY", help="VISA library: @py, @ivi, FILE@labqdl.")


@click.group("instruments")
def command() -> None:
    """List drivers, find instruments, and read and set them.

    'labqdl get', 'set', 'watch' and 'shell' are the same as 'labqdl instruments get' and so on. Instruments of other
    makers come with other packages: whatever declares entry points of the group labqdl.drivers is listed.
    """


command.add_command(get_command, "get")
command.add_command(set_command, "set")
command.add_command(watch_command, "watch")
command.add_command(shell_command, "shell")


@command.command("list")
@click.option("--coverage", is_flag=True, help="How many commands of each sheet are used; below 80 %, why not more.")
@json_option
@click.pass_obj
def list_command(output: Output, coverage: bool, as_json: bool) -> int:
    """List the installed drivers: name for station files, class, models, fact sheet, commands used.

    Exit code 1 if one of them cannot be loaded.

    \b
    Examples:
      labqdl instruments list
      labqdl instruments list --coverage
    """
    from labqdl.station import list_drivers

    entries = list_drivers()
    if as_json:
        print_json({"schema": "labqdl.instruments/1", "drivers": [one.to_json() for one in entries]})
    elif not output.quiet:
        _print(output, entries, coverage)
    return 1 if any(one.problem for one in entries) else 0


def _print(output: Output, entries: object, coverage: bool) -> None:
    from collections import defaultdict
    from typing import cast

    from rich import box
    from rich.table import Table

    from labqdl.station import ENOUGH, DriverEntry

    drivers = cast("tuple[DriverEntry, ...]", entries)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for head in ("driver", "class", "maker", "models"):
        table.add_column(head)
    table.add_column("commands", justify="right")
    for one in drivers:
        if one.problem:
            table.add_row(one.name, "-", "-", one.problem, "-")
            continue
        used = "-"
        if one.coverage is not None:
            total = len(one.coverage.used) + len(one.coverage.left_out)
            used = f"{len(one.coverage.used)} of {total}"
        table.add_row(one.name, one.kind, one.maker, ", ".join(one.models), used)
    output.results.print(table)
    for one in drivers if coverage else ():
        if one.coverage is None:
            continue
        line = f"{one.name} ({one.sheet}): {one.coverage.share:.0%} of the sheet's commands"
        output.results.print(line, markup=False, soft_wrap=True)
        if one.coverage.share < ENOUGH:
            reasons: dict[str, list[str]] = defaultdict(list)
            for left, reason in one.coverage.left_out.items():
                reasons[reason].append(left)
            for reason, names in reasons.items():
                output.results.print(f"    left out: {', '.join(names)}: {reason}", markup=False, soft_wrap=True)


@command.command("find")
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@click.option("--ask-serial", is_flag=True, help="Send *IDN? to serial ports as well, at 9600 baud.")
@visa_option
@json_option
@click.pass_obj
def find_command(output: Output, hosts: tuple[str, ...], ask_serial: bool, library: str | None, as_json: bool) -> int:
    """List what stands on USB, GPIB, serial ports and at the addresses HOST..., with the driver for it.

    Sends nothing but *IDN?, which changes nothing, and says before where. No network is searched but by VISA itself,
    which lists what answers its broadcast for VXI-11: other addresses have to be given. Serial ports are asked only
    with --ask-serial, since another protocol may be spoken there.

    \b
    Examples:
      labqdl instruments find
      labqdl instruments find 10.0.0.5 10.0.0.6
    """
    from labqdl.station import find

    found = find(hosts, ask_serial=ask_serial, library=library, saying=output.say)
    if as_json:
        print_json({"schema": "labqdl.find/1", "found": [one.to_json() for one in found]})
        return 0
    for one in found:
        if one.identity is not None:
            who = one.identity
            drivers = ", ".join(one.drivers) or "no driver"
            text = f"{who.maker} {who.model}, serial {who.serial}: {drivers}"
        else:
            text = f"did not answer ({one.problem})" if one.asked else f"{one.note}, not asked"
        output.results.print(f"{one.resource}  {text}", markup=False, soft_wrap=True)
    if not found and not output.quiet:
        output.results.print("nothing found")
    return 0


@command.command("probe")
@click.argument("resource", metavar="RESOURCE")
@visa_option
@json_option
@click.pass_obj
def probe_command(output: Output, resource: str, library: str | None, as_json: bool) -> int:
    """Ask *IDN? at RESOURCE, which changes nothing, and name the driver for what answers.

    \b
    Examples:
      labqdl instruments probe TCPIP0::10.0.0.5::5025::SOCKET
      labqdl instruments probe USB0::0x1313::0x8078::P0001234::INSTR
    """
    from labqdl.station import Found, ask_identity, drivers_for

    who = ask_identity(resource, library=library)
    drivers = drivers_for(who)
    if as_json:
        print_json({"schema": "labqdl.probe/1", **Found(resource, "", True, who, drivers).to_json()})
        return 0
    output.results.print(str(who), markup=False)
    output.results.print(f"driver: {', '.join(drivers) or 'none of the installed ones'}", markup=False)
    return 0


@command.command("doctor")
@click.argument("resource", metavar="RESOURCE")
@click.option("--driver", metavar="NAME", help="The driver to try; without it only *IDN? is asked.")
@visa_option
@json_option
@click.pass_obj
def doctor_command(output: Output, resource: str, driver: str | None, library: str | None, as_json: bool) -> int:
    """Go step by step from RESOURCE to an instrument that answers, and say where that ends.

    Only queries are sent. With --driver the instrument is opened by it, and every quantity is read once. Exit code 0
    if every step works, else 1.

    \b
    Examples:
      labqdl instruments doctor TCPIP0::10.0.0.5::5025::SOCKET
      labqdl instruments doctor ASRL/dev/ttyUSB0::INSTR --driver amonics-edfa
    """
    from labqdl.station import diagnose

    found = diagnose(resource, driver=driver, library=library)
    if as_json:
        print_json(found.to_json())
    elif not output.quiet:
        output.results.print(str(found), markup=False, soft_wrap=True)
    return 0 if found.healthy else 1
