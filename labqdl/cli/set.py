"""`labqdl set`: set one quantity of an instrument."""

from __future__ import annotations

import re

import click

from labqdl.cli.output import Output
from labqdl.cli.table import DEFAULT, arm_option, how_to_darken, opened, station_options

_OF_CHANNEL = re.compile(r"\d+\.[A-Za-z_]")
"""The second word of "channel 2.amplitude"; of "voltage 2.5 V" it is the value."""


@click.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("name", metavar="NAME")
@click.argument("words", nargs=-1, required=True, metavar="QUANTITY VALUE")
@station_options
@arm_option
@click.pass_obj
def command(output: Output, name: str, words: tuple[str, ...], station: str, profile: str | None, arm: bool) -> int:
    """Set QUANTITY of the instrument NAME to VALUE, with its unit, and leave it so.

    Limits of the device and of the station, and the station's interlocks, are checked before a byte is sent; nothing
    is clipped. What makes light or voltage come out needs --arm unless it is simulated, and stays on when the command
    ends: it says so, and how to make it dark.

    \b
    Examples:
      labqdl set laser power 3dBm
      labqdl set laser wavelength "1550 nm"
      labqdl set awg output 2.amplitude 0.5 V
      labqdl set laser emission on --arm
    """
    from labqdl.errors import InputError
    from labqdl.station import find_quantity, set_quantity, value_text

    path, text = split(words)
    if not text:
        raise InputError(f"no value for {name}.{path}", expected=f"labqdl set {name} {path} VALUE")
    with opened(station, profile, [name], arm=arm) as table:
        instrument = table[name]
        part, quantity = find_quantity(instrument, path)
        set_quantity(part, quantity, text, source=name)
        now = value_text(quantity, quantity.fetch(part)) if quantity.readable else text
        output.say(f"{name}.{part.path(quantity.name)} = {now}")
        simulated = table.file.instruments[name].simulated
        left = [one for one in table.leave_on() if one.is_open]  # and not the barriers of its light path
        if simulated:
            output.say(f"{name} is simulated, and ends with this command; 'labqdl shell' keeps it")
        elif left:
            here = "" if station == DEFAULT else f" --station {station}"
            here += "" if profile is None else f" --profile {profile}"
            off = f", or 'labqdl set {name} {path} off{here}'" if quantity.kind is bool else ""
            output.say(f"{how_to_darken(left, station, profile)}{off}")
    return 0


def split(words: tuple[str, ...]) -> tuple[str, str]:
    """Quantity and value out of the words behind an instrument's name; the value may be empty.

    "power 3 dBm", "power=3dBm" and "channel 2.amplitude 0.5 V" are understood.
    """
    line = " ".join(words)
    path, equals, value = line.partition("=")
    if equals:
        return path.strip(), value.strip()
    parts = line.split()
    count = 2 if len(parts) > 1 and _OF_CHANNEL.match(parts[1]) else 1
    return " ".join(parts[:count]), " ".join(parts[count:])
