"""A bench: simulated instruments by name under one clock, one lock and one seed."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labqdl.clock import Clock, ManualClock, ScaledClock, SystemClock
from labqdl.config.document import Document, load
from labqdl.config.station import SIM, STEPS, InstrumentEntry, StationFile, located, read_station_file
from labqdl.errors import InputError
from labqdl.rng import Roots
from labqdl_sim.faults import Rule
from labqdl_sim.steps import HastyClock, StepClock
from labqdl_sim.twin import Twin, twin_class
from labqdl_sim.world import World

CLOCKS = ("real", "scaled", "manual", "steps")


class Bench:
    """Instruments that share instrument time, randomness and one re-entrant lock, so that coupled state is consistent.

    Parameters
    ----------
    seed:
        From which every random stream of every twin derives.
    clock:
        Instrument time; default: the real one.
    """

    def __init__(self, *, seed: int = 0, clock: Clock | None = None) -> None:
        self.seed = seed
        self.clock: Clock = SystemClock() if clock is None else clock
        self.root = Roots.from_seed(seed).world
        self.lock = threading.RLock()
        self.world: World | None = None
        """Of the light and the voltages between the instruments; None where a file says nothing about wiring."""
        self.driver_clock: Clock = HastyClock() if isinstance(self.clock, StepClock) else self.clock
        """For drivers in this process: what they wait for is over at once where instrument time goes by messages."""
        self.twins: dict[str, Twin] = {}
        self.routes: dict[str, tuple[str, ...]] = {}
        self.document: Document | None = None
        """The file that it was read from, for messages about mistakes that show themselves later."""
        self._resources: dict[str, tuple[str, Twin]] = {}  # by the name in capitals

    def add(self, twin: str | type[Twin], name: str, *, routes: tuple[str, ...] = (), **options: object) -> Twin:
        """Put an instrument on the bench: the name of a shipped twin, "module:Class" or a class.

        `routes` are the roads that `serve` opens ("socket", "socket:5025", "hislip", "pty", "pty:/tmp/laser", "zmq",
        "rfc2217") and further names in process ("visa:GPIB0::7::INSTR"). InputError when the name is taken.
        """
        if name in self.twins:
            raise InputError(f"two instruments are called {name!r}", key=f"instruments.{name}")
        made = (twin_class(twin) if isinstance(twin, str) else twin)(
            name, clock=self.clock, root=self.root, options=options
        )
        made.lock = self.lock
        self.twins[name] = made
        self.routes[name] = tuple(routes)
        for route in routes:
            if route.startswith("visa:"):
                self.alias(name, route[5:])
        for pattern in made.resources:
            self._resources.setdefault((own := pattern.format(name=name, serial=made.serial)).upper(), (own, made))
        return made

    def alias(self, name: str, resource: str) -> None:
        """One more VISA resource name in process for an instrument, e.g. `alias("voa", "GPIB0::7::INSTR")`."""
        self._resources[resource.upper()] = (resource, self[name])

    def __getitem__(self, name: str) -> Twin:
        """The instrument of that name."""
        try:
            return self.twins[name]
        except KeyError:
            near = difflib.get_close_matches(name, self.twins, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else None
            raise InputError(f"no instrument {name!r} on this bench", hint=hint) from None

    def __iter__(self) -> Iterator[Twin]:
        return iter(self.twins.values())

    @property
    def resources(self) -> tuple[str, ...]:
        """VISA resource names under which the instruments stand in process."""
        return tuple(resource for resource, _ in self._resources.values())

    def find(self, resource: str) -> Twin | None:
        """The instrument behind a VISA resource name: as declared, or with its name or serial number for an address."""
        found = self._resources.get(resource.upper())
        if found is not None:
            return found[1]
        wanted = _canonical(resource)
        for name, twin in self._resources.values():
            if _canonical(name) == wanted:
                return twin
        parts = resource.upper().split("::")
        parts[0] = parts[0][4:] if parts[0].startswith("ASRL") else ""
        for names in ({twin.name.upper(): twin for twin in self}, {twin.serial.upper(): twin for twin in self}):
            for part in parts:
                if part in names:
                    return names[part]
        return None

    @classmethod
    def from_table(cls, table: Mapping[str, Any], *, source: str | None = None, clock: Clock | None = None) -> Bench:
        """A bench out of a table: `[bench]` seed, clock (real, scaled, manual, steps), speed; `[instruments.NAME]`
        twin, routes, options; `[[faults]]` target and a rule.

        Raises
        ------
        InputError
            With key and source for whatever is unknown or of the wrong type.
        """
        try:
            return cls._from_table(table, clock)
        except InputError as error:
            raise error if error.source or source is None else error.at(source, error.key) from None

    @classmethod
    def _from_table(cls, table: Mapping[str, Any], clock: Clock | None) -> Bench:
        head = _table(table.get("bench", {}), "bench")
        for key in head:
            if key not in ("seed", "clock", "speed"):
                raise InputError(f"unknown key {key!r}", key=f"bench.{key}", expected="seed, clock or speed")
        seed = head.get("seed", 0)
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise InputError(f"the seed is {seed!r}", key="bench.seed", expected="a whole number from 0 on")
        bench = cls(seed=seed, clock=clock if clock is not None else _clock(head))
        for name, entry in _table(table.get("instruments", {}), "instruments").items():
            key = f"instruments.{name}"
            settings = dict(_table(entry, key))
            twin = settings.pop("twin", None)
            if not isinstance(twin, str):
                raise InputError(f"the twin is {twin!r}", key=f"{key}.twin", expected="the name of a twin")
            routes = settings.pop("routes", [])
            if not isinstance(routes, list) or not all(isinstance(route, str) for route in routes):
                raise InputError(f"the routes are {routes!r}", key=f"{key}.routes", expected="a list of strings")
            options = _table(settings.pop("options", {}), f"{key}.options")
            for other in settings:
                raise InputError(f"unknown key {other!r}", key=f"{key}.{other}", expected="twin, routes or options")
            try:
                bench.add(twin, name, routes=tuple(routes), **options)
            except InputError as error:
                raise error.at(error.source, key) from None
        for index, entry in enumerate(table.get("faults", [])):
            fault = dict(_table(entry, f"faults[{index}]"))
            bench[fault.pop("target", "")].faults.put(Rule.from_table(fault))
        return bench

    @classmethod
    def from_station(cls, station: StationFile, *, clock: Clock | None = None) -> Bench:
        """The twins of a station file that was read for the profile sim, at the resources that it names.

        Entries with one resource are one twin, called as the first of them. Where the file says at which rate, the
        optical world of its wiring stands behind them.

        Raises
        ------
        InputError
            For a twin that does not exist and for options that it has not.
        """
        if clock is None and station.clock == STEPS:
            clock = StepClock()
        elif clock is None:
            clock = SystemClock() if station.speed == 1.0 else ScaledClock(station.speed)
        bench = cls(seed=station.seed, clock=clock)
        named: dict[str, Twin] = {}
        boxes: dict[str, list[InstrumentEntry]] = {}
        for entry in station.instruments.values():
            if entry.simulated:
                boxes.setdefault(entry.resource or f"name {entry.name}", []).append(entry)
        for entries in boxes.values():
            first = entries[0]
            routes = tuple(route for entry in entries for route in entry.routes)
            here = () if first.resource is None else (f"visa:{first.resource}",)
            options: dict[str, object] = {}
            for entry in entries:
                options |= entry.twin_options
            try:
                made = bench.add(first.twin, first.name, routes=(*routes, *here), **options)
                named |= {entry.name: made for entry in entries}
            except InputError as error:
                raise station.wrong(
                    ("instruments", first.name), error.problem, expected=error.expected, hint=error.hint
                ) from None
            bench.routes[first.name] = routes  # its name in process is no road that could be served
        if station.rate is not None:
            from labqdl_sim.world.attach import attach

            bench.world = World(bench.root, station.rate)
            attach(station, named, bench.world)
        return bench

    @classmethod
    def from_file(cls, path: str | Path, *, clock: Clock | None = None) -> Bench:
        """A bench out of a TOML file: a station file, or the name of a station that ships (see `from_station`), or a
        table of twins (see `from_table`)."""
        found = located(path)
        document = load(found)
        if "station" in document.table:
            bench = cls.from_station(read_station_file(document, SIM, folder=found.parent), clock=clock)
        else:
            bench = cls.from_table(document.table, source=document.source, clock=clock)
        bench.document = document
        return bench


def _canonical(resource: str) -> str:
    """A VISA resource name with the parts that may be left out: PyVISA asks for GPIB0::7::INSTR for GPIB::7."""
    from pyvisa import rname

    try:
        return rname.to_canonical_name(resource).upper()
    except rname.InvalidResourceName:
        return resource.upper()


def _table(value: object, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{value!r} is no table", key=key, expected="a table")
    return value


def _clock(head: Mapping[str, Any]) -> Clock:
    kind = head.get("clock", "real")
    if kind not in CLOCKS:
        raise InputError(f"the clock is {kind!r}", key="bench.clock", expected=f"one of {', '.join(CLOCKS)}")
    speed = head.get("speed", 1.0)
    if not isinstance(speed, (int, float)) or isinstance(speed, bool) or not 0 < speed < float("inf"):
        raise InputError(f"the speed is {speed!r}", key="bench.speed", expected="a positive number")
    if kind in ("manual", "steps"):
        return ManualClock() if kind == "manual" else StepClock()
    return ScaledClock(float(speed)) if kind == "scaled" else SystemClock()
