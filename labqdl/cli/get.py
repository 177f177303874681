"""`labqdl get`: read quantities of instruments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output, print_json
from labqdl.cli.table import brief, opened, quantity_of, station_options

if TYPE_CHECKING:
    from labqdl.errors import LabqdlError
    from labqdl.instruments import Instrument, Reading


@click.command("get")
@click.argument("name", required=False, metavar="[NAME]")
@click.argument("quantity", nargs=-1, metavar="[QUANTITY]")
@station_options
@json_option
@click.pass_obj
def command(
    output: Output, name: str | None, quantity: tuple[str, ...], station: str, profile: str | None, as_json: bool
) -> int:
    """Read QUANTITY of the instrument NAME, or all its quantities, or those of all instruments.

    Values are read from the instruments now and shown with their units. Nothing is changed. A quantity that cannot be
    read says why and does not stop the others; exit code 5 if any could not.

    \b
    Examples:
      labqdl get laser power
      labqdl get awg output 2.amplitude
      labqdl get meter --profile sim
      labqdl get --json
    """
    from labqdl.instruments import Reading

    problems: dict[str, LabqdlError] = {}
    with opened(station, profile, None if name is None else [name], problems=None if name else problems) as table:
        if name is None:
            answered = table.snapshot()
            silent = {one: {"": Reading(None, "", 0.0, brief(error))} for one, error in problems.items()}
            found = {one: (answered | silent)[one] for one in table.instruments()}
        elif quantity:
            found = {name: _one(table[name], quantity_of(quantity))}
        else:
            found = {name: table[name].snapshot()}
        if as_json:
            print_json({"schema": "labqdl.get/1", "station": table.name, "profile": table.profile, **_json(found)})
        elif not output.quiet:
            _print(output, {one: table[one] for one in found}, found, bare=bool(quantity))
    return 5 if any(one.problem for readings in found.values() for one in readings.values()) else 0


def _one(instrument: Instrument, path: str) -> dict[str, Reading]:
    from labqdl.instruments import Reading
    from labqdl.station import find_quantity

    part, quantity = find_quantity(instrument, path)
    value = quantity.fetch(part)
    return {part.path(quantity.name): Reading(value, quantity.unit, instrument.clock.wall())}


def _json(found: dict[str, dict[str, Reading]]) -> dict[str, Any]:
    from labqdl.station import plain_value

    return {
        "instruments": {
            name: {
                path: {"value": plain_value(one.value), "unit": one.unit, "time": one.time, "problem": one.problem}
                for path, one in readings.items()
            }
            for name, readings in found.items()
        }
    }


def _print(
    output: Output, instruments: dict[str, Instrument], found: dict[str, dict[str, Reading]], *, bare: bool
) -> None:
    from labqdl.station import quantity_paths, value_text

    console = output.results
    for name, readings in found.items():
        known = quantity_paths(instruments[name])
        width = max((len(path) for path in readings), default=0)
        for path, one in readings.items():
            text = f"no value: {one.problem}" if one.problem else value_text(known[path][1], one.value)
            line = text if bare else f"{name}.{path:<{width}}  {text}" if path else f"{name}: {text}"
            console.print(line, markup=False, soft_wrap=True)
