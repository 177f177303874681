"""A station: the instruments of a file as one object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from labqdl.clock import Clock, ScaledClock, SystemClock
from labqdl.config.schema import did_you_mean
from labqdl.config.station import StationFile, load_station_file
from labqdl.errors import InputError, LabqdlError
from labqdl.instruments import Guard, Instrument, Modulator, Photodetector, Reading
from labqdl.safety import SafeStack
from labqdl.station.building import Built, build
from labqdl.station.guarding import InterlockGuard
from labqdl.transport import gather


class Station:
    """The instruments that a station file names, with its limits and interlocks. Made by `load_station`.

    Parameters
    ----------
    file:
        What the file says, for one profile.
    library:
        PyVISA library object for the instruments that are simulated; None: PyVISA's backend `@labqdl` on the file.
    clock:
        For all instruments; None: the system's, faster in profile sim if the file says so.
    """

    def __init__(self, file: StationFile, *, library: Any = None, clock: Clock | None = None) -> None:
        self.file = file
        self.library = f"{file.source}@labqdl" if library is None else library
        if clock is None:
            simulated = any(entry.simulated for entry in file.instruments.values())
            clock = ScaledClock(file.speed) if simulated and file.speed != 1.0 else SystemClock()
        self.clock: Clock = clock
        self.taken_over = ""
        """Words about a process that used the station before and ended without letting go; empty where none did."""
        self._built: Built | None = None
        self._guard: SafeStack | Guard | None = None

    @property
    def name(self) -> str:
        """What people call the table."""
        return self.file.name

    @property
    def profile(self) -> str:
        """The profile that it was loaded for."""
        return self.file.profile

    @property
    def _made(self) -> Built:
        if self._built is None:
            self._built = build(self.file, library=self.library, clock=self.clock)
            self.guarded_by(None)
        return self._built

    def instruments(self) -> Mapping[str, Instrument]:
        """All instruments by name, in the order of the file: constructed, and not opened.

        Raises
        ------
        InputError
            For what only a driver knows to be wrong: with file, line and key.
        """
        return MappingProxyType(self._made.instruments)

    def sheets(self) -> Mapping[str, Modulator | Photodetector]:
        """Data sheets of the parts without a plug."""
        return MappingProxyType(self._made.sheets)

    def __getitem__(self, name: str) -> Instrument:
        """The instrument of that name; InputError with the nearest one where there is none."""
        instruments = self._made.instruments
        if name in instruments:
            return instruments[name]
        raise InputError(
            f"there is no instrument {name!r}",
            source=self.file.source,
            expected=f"one of {', '.join(instruments)}",
            hint=did_you_mean(name, instruments),
        )

    def guarded_by(self, guard: SafeStack | Guard | None) -> None:
        """Let this guard be asked behind the interlocks."""
        assert self._built is not None
        self._guard = guard
        asked = InterlockGuard(self._built.rules, guard)
        for instrument in self._built.instruments.values():
            instrument.guard = asked

    def open(self, names: Iterable[str] | None = None, *, problems: dict[str, LabqdlError] | None = None) -> None:
        """Open the named instruments, or all, at the same time; where one fails, those that were opened are closed.

        Parameters
        ----------
        names:
            The instruments; None: all.
        problems:
            Takes what failed, by instrument; the others stay open then. None: a failure is raised.

        Raises
        ------
        TransportError, SettingsChanged
            The first failure; the others are notes on it.
        """
        chosen = [self[name] for name in (self._made.instruments if names is None else names)]
        closed = [instrument for instrument in chosen if not instrument.is_open]

        def open_one(instrument: Instrument) -> None:
            try:
                instrument.open()
            except LabqdlError as error:
                if problems is None:
                    raise
                problems[instrument.name] = error

        try:
            # Instruments that share a line take turns on it by themselves.
            gather(*(lambda one=one: open_one(one) for one in closed))
            for instrument in closed:
                for apply in self._made.later.pop(instrument.name, ()) if instrument.is_open else ():
                    apply()
        except BaseException:
            for instrument in closed:
                instrument.close()
            raise

    def leave_on(self) -> tuple[Instrument, ...]:
        """A person has said that what is on stays on; gives what that is."""
        if not isinstance(self._guard, SafeStack):
            return ()
        energised = self._guard.energised
        self._guard.leave_on()
        return energised

    def close(self) -> None:
        """Close whatever is open; changes no output."""
        if self._built is not None:
            for instrument in self._built.instruments.values():
                instrument.close()

    def snapshot(self) -> dict[str, dict[str, Reading]]:
        """Every readable quantity of every open instrument, read at the same time, one thread an instrument."""
        opened = {name: instrument for name, instrument in self._made.instruments.items() if instrument.is_open}

        def read(instrument: Instrument) -> dict[str, Reading]:
            try:
                return instrument.snapshot()
            except LabqdlError as error:
                return {"": Reading(None, "", self.clock.wall(), str(error))}

        readings = gather(*(lambda one=one: read(one) for one in opened.values()))
        return dict(zip(opened, readings, strict=True))


def load_station(
    path: str | Path, profile: str | None = None, *, library: Any = None, clock: Clock | None = None
) -> Station:
    """The station in a file; opens nothing, and loads no driver before `instruments()` asks for them.

    Parameters
    ----------
    path:
        The file.
    profile:
        bench, sim, or one that the file declares; None: the file's own.
    library, clock:
        See `Station`.

    Raises
    ------
    InputError
        For any mistake in the file that can be seen without its drivers.
    """
    return Station(load_station_file(path, profile), library=library, clock=clock)
