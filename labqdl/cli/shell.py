"""`labqdl shell`: talk to the instruments of a station line by line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from labqdl.cli.output import Output, print_line
from labqdl.cli.set import split
from labqdl.cli.table import arm_option, brief, end_safe, ended_by_signals, how_to_darken, opened, station_options

if TYPE_CHECKING:
    from labqdl.instruments import Instrument
    from labqdl.station import Station

HELP = """\
  laser                      all quantities of the instrument
  laser.power                one quantity
  laser.power = 3 dBm        set it (or: laser power 3 dBm)
  zero meter                 call something that the instrument can do without arguments
  list                       the instruments
  who laser                  who the instrument says it is
  traffic laser              the last messages from and to it
  safe                       make everything safe now
  help, quit"""


@click.command("shell")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--leave-on", is_flag=True, help="Leave everything as it is at the end.")
@click.option("--python", "as_python", is_flag=True, help="A Python prompt, with every instrument as a variable.")
@station_options
@arm_option
@click.pass_obj
def command(
    output: Output,
    names: tuple[str, ...],
    leave_on: bool,
    as_python: bool,
    station: str,
    profile: str | None,
    arm: bool,
) -> int:
    """Talk to the instruments of a station, line by line; with NAME..., only to those.

    'laser.power' reads, 'laser.power = 3 dBm' sets, 'help' says what else there is. A mistake is one line and ends
    nothing. At the end, also by Ctrl-C, everything goes to its safe state, unless --leave-on is given. Lines may come
    from a file or pipe.

    \b
    Examples:
      labqdl shell --profile sim
      labqdl shell laser meter --arm
      echo "laser.power" | labqdl shell laser --leave-on
    """
    from labqdl.errors import LabqdlError

    with ended_by_signals(), opened(station, profile, names or None, arm=arm) as table:
        try:
            if as_python:
                _python(table)
            else:
                output.say(f"{table.name}, profile {table.profile}: {', '.join(table.instruments())}. 'help' says more")
                for line in _lines():
                    if line in ("quit", "exit"):
                        break
                    try:
                        for text in answer(table, line):
                            print_line(text)
                    except (LabqdlError, ValueError) as error:
                        click.echo(f"labqdl: {brief(error)}", err=True)
        except KeyboardInterrupt:
            pass
        finally:
            if leave_on:
                left = table.leave_on()
                if left:
                    output.say(how_to_darken(left, station, profile))
            else:
                for outcome in end_safe(table):
                    output.detail(str(outcome))
    return 0


def _lines() -> Iterator[str]:
    prompt = "labqdl> " if sys.stdin.isatty() else ""
    if prompt:
        import contextlib

        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - history and editing, where the system has it
    while True:
        try:
            line = input(prompt)
        except EOFError:
            return
        line = line.partition("#")[0].strip()
        if line:
            yield line


def answer(table: Station, line: str) -> Iterator[str]:
    """What one line is answered with.

    Raises
    ------
    LabqdlError
        For whatever was wrong with it.
    """
    from labqdl.station import find_quantity, set_quantity, value_text

    words = line.split()
    first = words[0]
    if first == "help":
        yield HELP
    elif first == "list":
        for name, one in table.instruments().items():
            yield f"{name:<14} {type(one).__name__:<22} {'open' if one.is_open else 'not open'}"
    elif first == "safe":
        for outcome in end_safe(table):
            yield str(outcome)
        table.open([one.name for one in table.instruments().values() if not one.is_open])
    elif first in ("who", "traffic") and len(words) == 2:
        yield from _who(table[words[1]]) if first == "who" else _traffic(table[words[1]])
    elif len(words) == 2 and words[1] in table.instruments() and callable(getattr(table[words[1]], first, None)):
        yield from _call(table[words[1]], first)
    else:
        name, _, rest = line.partition(".")
        if not rest or " " in name.split("=")[0].strip():
            name, _, rest = line.partition(" ")
        instrument = _opened(table[name.strip()])
        path, text = split((rest,))
        if not path:
            for path, reading in instrument.snapshot().items():
                _, known = find_quantity(instrument, path)
                yield f"{path:<22} {reading.problem or value_text(known, reading.value)}"
            return
        part, quantity = find_quantity(instrument, path)
        if text:
            set_quantity(part, quantity, text, source=instrument.name)
        if quantity.readable:
            yield value_text(quantity, quantity.fetch(part))


def _opened(instrument: Instrument) -> Instrument:
    instrument.open()
    return instrument


def _who(instrument: Instrument) -> Iterator[str]:
    yield str(_opened(instrument).identity())


def _traffic(instrument: Instrument) -> Iterator[str]:
    transport: Any = getattr(instrument, "transport", None)
    for one in () if transport is None else transport.traffic[-20:]:
        yield str(one)


def _call(instrument: Instrument, name: str) -> Iterator[str]:
    from labqdl.errors import InputError

    if name.startswith("_") or name in ("open", "close"):
        raise InputError(f"{name} is nothing to be called here")
    try:
        result = getattr(_opened(instrument), name)()
    except TypeError as error:
        raise InputError(
            f"{instrument.name}: {name} needs arguments", hint="--python gives a prompt for that"
        ) from error
    if result is not None:
        yield str(result)


def _python(table: Station) -> None:
    import code

    names: dict[str, Any] = {name.replace("-", "_"): one for name, one in table.instruments().items()}
    banner = f"{table.name}, profile {table.profile}. Instruments: {', '.join(names)}; the station itself: station"
    code.interact(banner=banner, local={"station": table, **names}, exitmsg="")
