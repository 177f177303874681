"""Using a station: with its guard, so that what was switched on goes dark on every way out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from labqdl.clock import Clock
from labqdl.config.station import StationFile
from labqdl.errors import LabqdlError
from labqdl.safety import UNARMED, Arming, DarkCheck, LightPath, SafeStack
from labqdl.safety.station_lock import StationLock
from labqdl.station.station import Station, load_station

ARMED = Arming(True, "a person gave --arm")


def light_paths(station: Station) -> tuple[LightPath, ...]:
    """The light paths of the file with their instruments."""
    return tuple(
        LightPath(
            path.name,
            station[path.source],
            tuple(station[name] for name in path.barriers),
            ()
            if path.meter is None
            else (DarkCheck(path.name, station[path.meter[0]], path.meter[1], path.dark_below),),
        )
        for path in station.file.paths
    )


@contextmanager
def open_station(
    path: str | Path,
    profile: str | None = None,
    *,
    names: Iterable[str] | None = None,
    arm: bool = False,
    library: Any = None,
    clock: Clock | None = None,
    stack: SafeStack | None = None,
    problems: dict[str, LabqdlError] | None = None,
    file: StationFile | None = None,
) -> Iterator[Station]:
    """Open a station: ``with open_station("station.toml", arm=True) as station: station["laser"].emission = True``.

    Leaving the block makes safe whatever was switched on in it, unless `station.leave_on()` was called, and closes all.
    A station with real instruments is used by one process at a time: a lock file beside the station file says by which.

    Parameters
    ----------
    path, profile, library, clock:
        As in `load_station`.
    names:
        The instruments to open; None: all. Others may be opened later, and are by interlocks that read them.
    arm:
        Whether real instruments may make light or voltage come out.
    stack:
        The guard behind the interlocks; None: one of its own.
    problems:
        Takes what could not be opened, by instrument; None: it is raised.
    file:
        What the station file says, where it was read already and its simulated instruments are served; None: it is
        read.

    Raises
    ------
    InputError
        For mistakes in the file, and where another process uses the station.
    Refused
        Where something is to be switched on that must not be.
    Unsafe
        On the way out, where something was not confirmed dark.
    """
    if file is None:
        station = load_station(path, profile, library=library, clock=clock)
    else:
        station = Station(file, library=library, clock=clock)
    station.instruments()
    real = file is None and not all(entry.simulated for entry in station.file.instruments.values())
    guard = SafeStack(arming=UNARMED, station=Path(path) if real else None) if stack is None else stack
    if arm:
        guard.arming = ARMED
    guard.paths.extend(light_paths(station))
    guard.simulated.extend(station[name] for name, one in station.file.instruments.items() if one.declared_simulated)
    station.guarded_by(guard)
    with ExitStack() as ends:
        if real:
            lock = ends.enter_context(StationLock(Path(path)))
            station.taken_over = lock.taken_over
        ends.callback(station.close)
        ends.enter_context(guard)
        station.open(names, problems=problems)
        yield station
