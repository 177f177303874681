"""What the commands about instruments share: their options, and opening a station with its simulated instruments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from labqdl.errors import InputError, LabqdlError

if TYPE_CHECKING:
    from labqdl.clock import Clock
    from labqdl.config.station import StationFile
    from labqdl.instruments import Instrument
    from labqdl.safety import Outcome
    from labqdl.station import Station

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT = "station.toml"

arm_option = click.option(
    "--arm", is_flag=True, help="Let real instruments make light or voltage come out. Simulated ones need no arming."
)


def station_options(command: Command) -> Command:
    """`--station` and `--profile`."""
    command = click.option(
        "--profile", metavar="NAME", help="bench, sim (simulated instruments), or one that the file declares."
    )(command)
    return click.option(
        "--station",
        default=DEFAULT,
        show_default=True,
        metavar="FILE",
        help="The station file, or a station that ships; see 'labqdl station'.",
    )(command)


def present(station: str) -> str:
    """The file of a station: a file that exists, or that of a station that ships; else what to do without one."""
    from labqdl.config.station import find_station_file

    return str(find_station_file(station))


@contextmanager
def simulated(station: str, profile: str | None) -> Iterator[tuple[Any, Clock | None]]:
    """A PyVISA library with the twins of the instruments that the profile simulates, and their clock.

    (None, None) where it simulates none.
    """
    from labqdl.config.station import load_station_file

    file = load_station_file(present(station), profile)
    if not any(entry.simulated for entry in file.instruments.values()):
        yield None, None
        return
    from labqdl_sim.bench import Bench
    from labqdl_sim.routes.visa import SimVisaLibrary

    bench = Bench.from_station(file)
    try:
        yield SimVisaLibrary.for_bench(bench), bench.driver_clock
    finally:
        SimVisaLibrary.forget(bench)


def simulated_hands(table: Station) -> Callable[[Any], None] | None:
    """Who does operator steps at a simulated table: moves fibres of its optical world; None at any other table.

    A step has a `source` and a `target`, "NAME.PORT" or "NAME" each; one without is done at once.
    """
    bench = getattr(table.library, "bench", None)
    if bench is None or bench.world is None:
        return None

    def move(step: Any) -> None:
        if not step.source or not step.target:
            return
        (source, _, out), (target, _, into) = step.source.partition("."), step.target.partition(".")
        leaving, entering = bench.world.part(source), bench.world.part(target)
        if out not in leaving.light_outputs:
            (out,) = leaving.light_outputs
        if into not in entering.light_inputs:
            (into,) = entering.light_inputs
        entering.connect_light(into, bench.world.light_of(source, out))

    return move


@contextmanager
def opened(
    station: str,
    profile: str | None,
    names: Iterable[str] | None = None,
    *,
    arm: bool = False,
    problems: dict[str, LabqdlError] | None = None,
) -> Iterator[Station]:
    """The station with these instruments open, or all; what was switched on goes dark on every way out.

    `problems` takes what could not be opened; None: it is raised.
    """
    from labqdl.station import open_station

    with (
        simulated(station, profile) as (library, clock),
        open_station(station, profile, names=names, arm=arm, library=library, clock=clock, problems=problems) as table,
    ):
        if table.taken_over:
            click.echo(f"labqdl: {table.taken_over}; look at what is on", err=True)
        yield table


def twin_problems(file: StationFile) -> list[InputError]:
    """Mistakes about the simulated instruments of a file; of those that its profile does not use only the names."""
    from labqdl_sim.bench import Bench
    from labqdl_sim.twin import twin_class

    problems = []
    for name, entry in file.instruments.items():
        if entry.simulated:
            try:
                Bench.from_station(replace(file, instruments={name: entry}, rate=None))
            except InputError as error:
                problems.append(error)
        elif entry.twin != entry.driver:
            try:
                twin_class(entry.twin)
            except InputError as error:
                place = ("instruments", name, "twin")
                problems.append(file.wrong(place, error.problem, expected=error.expected, hint=error.hint))
    if not problems and file.rate is not None and any(entry.simulated for entry in file.instruments.values()):
        try:
            Bench.from_station(file)
        except InputError as error:
            problems.append(error)
    return problems


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Inside, a request to stop (SIGTERM, a closed terminal) ends the command on its usual way, with its safe end.

    What energises has the handlers of the safe stack; this is for commands that only read, but promise a safe end.
    """
    import signal

    from labqdl.safety.signals import STOP_SIGNALS, Handlers, end_by

    handlers = Handlers(lambda number, frame: end_by(number))
    numbers = [number for number in STOP_SIGNALS if number != signal.SIGINT]
    handlers.install(numbers)
    try:
        yield
    finally:
        handlers.restore()


def end_safe(table: Station) -> tuple[Outcome, ...]:
    """Make every open instrument of a station safe, whoever switched it on.

    Raises
    ------
    Unsafe
        Where one is not confirmed; the UNSAFE file names it.
    """
    from labqdl.safety import make_all_safe, unsafe_of
    from labqdl.station import light_paths

    chosen = [instrument for instrument in table.instruments().values() if instrument.is_open]
    checks = [check for path in light_paths(table) if path.source in chosen for check in path.checks]
    outcomes = make_all_safe(chosen, checks=checks)
    unsafe = unsafe_of(outcomes, chosen)
    if unsafe is not None:
        raise unsafe
    return outcomes


def how_to_darken(left: Iterable[Instrument], station: str, profile: str | None) -> str:
    """Words about what stays on, and the command that makes it dark."""
    names = [one.name for one in left]
    there = "" if profile is None else f" --profile {profile}"
    return f"{', '.join(names)} {'stays' if len(names) == 1 else 'stay'} on. Dark again: 'labqdl safe {station}{there}'"


def brief(error: Exception) -> str:
    """An error in one line, without the recent traffic."""
    return str(error).partition(" | ")[0]


def quantity_of(words: tuple[str, ...]) -> str:
    """A quantity's name out of the words of a command line: `channel 2.power` needs no quotes."""
    return " ".join(words)
