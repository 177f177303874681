"""An opened and calibrated station, ready for a run: light path, link, and what a record has to say about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from labqdl.api.light_paths import LightPath, calibrated_path
from labqdl.errors import InputError, RecordError
from labqdl.facts import Owner
from labqdl.facts.calibration import CalibrationSet
from labqdl.link import Link
from labqdl.records import Party, RunFolder
from labqdl.rng import Root

if TYPE_CHECKING:
    from labqdl.station import Station
    from labqdl.subsystems import Incident

CALIBRATIONS = "calibrations"
"""Name under which each party's folder of a run keeps the calibrations that it read."""
SNAPSHOT = "station"
"""Beginning of the name of what the instruments said when a process began its part of a run."""
RESUMED = "resumed"
"""Kind of the event that tells that another process took a run on a station up again."""
INCIDENT = "incident"
"""Kind of the event that tells of a shot that was not used."""
MODES = ("quick", "full", "reuse")
"""How much is calibrated before a run."""

Told = Callable[[str], None]
"""Is told what is being calibrated."""


class OpenStation(Protocol):
    """Opens a station for the time of a run: with its guard, and with its simulated instruments where it has any."""

    def __call__(self, station: str, profile: str | None, /, *, arm: bool) -> AbstractContextManager[Station]:
        """The station with all its instruments open; everything dark afterwards."""
        ...


@contextmanager
def open_in_process(station: str, profile: str | None, /, *, arm: bool) -> Iterator[Station]:
    """As `labqdl.station.open_station`: simulated instruments, where there are any, stand in this process."""
    from labqdl.clock import HastyClock
    from labqdl.config.station import STEPS, load_station_file
    from labqdl.station import open_station

    file = load_station_file(station, profile)
    library, clock = None, None
    if any(entry.simulated for entry in file.instruments.values()):
        import pyvisa

        # Made once, before instruments are opened at the same time: all of them stand in one world.
        library = pyvisa.ResourceManager(f"{file.source}@labqdl").visalib
        clock = HastyClock() if file.clock == STEPS else None
    with open_station(station, profile, arm=arm, clock=clock, library=library) as table:
        yield table


@dataclass(frozen=True, slots=True)
class Table:
    """How a run opens a station and calibrates it.

    Attributes
    ----------
    open:
        Opens it, with its simulated instruments where it has any.
    arm:
        Whether real instruments may emit.
    calibration, folder, uncertified, told:
        As for `calibrated`.
    bench:
        One that is open and calibrated already: nothing is measured or loaded then.
    """

    open: OpenStation = open_in_process
    arm: bool = False
    calibration: str = "quick"
    folder: str | None = None
    uncertified: bool = False
    told: Told | None = None
    bench: CalibratedBench | None = None


@dataclass(frozen=True, eq=False)
class CalibratedBench:
    """A station with its instruments open and what is known of it.

    Attributes
    ----------
    station:
        With its instruments open.
    source:
        Name or path of its file.
    calibrations:
        Both parties' and the channel's.
    marks:
        Why its figures are not certified; empty where they are.
    """

    station: Station
    source: str
    calibrations: CalibrationSet
    marks: tuple[str, ...] = ()

    def light_path(self, mu: float | None = None) -> LightPath:
        """What a run needs to know of it before any light flows; `mu` as for `calibrated_path`."""
        file, now = self.station.file, self.station.clock.wall()
        return calibrated_path(file, self.source, self.calibrations, now, instruments=True, mu=mu, marks=self.marks)

    def link(self, root: Root, on_incident: Callable[[Incident], None] | None = None) -> Link:
        """The instruments behind the interface of a link; `root` is the server's."""
        from labqdl.subsystems import BenchLink, ClientBench, ServerBench

        file, instruments = self.station.file, self.station.instruments()
        server = ServerBench(file, instruments, self.calibrations)
        client = ClientBench(file, instruments, self.calibrations)
        return BenchLink(server, client, root, on_incident=on_incident)

    def to_json(self) -> dict[str, Any]:
        """What a manifest says about it."""
        file = self.station.file
        return {
            "station": self.source,
            "name": file.name,
            "profile": file.profile,
            "file_digest": file_digest(self.station),
            "identities": identities(self.station),
            "calibrations": {name: self.calibrations[name].digest for name in sorted(self.calibrations)},
            "uncertified": list(self.marks),
            "simulated": {
                "instruments": sorted(
                    name for name, one in file.instruments.items() if one.simulated or one.declared_simulated
                ),
                "seed": file.seed,
                "clock": file.clock,
            },
        }

    def keep(self, record: RunFolder) -> None:
        """Write into the run what each party knew: its own calibrations; and the first snapshot."""
        for party, owner in ((Party.SERVER, Owner.SERVER), (Party.CLIENT, Owner.CLIENT)):
            record.party(party).save_json(CALIBRATIONS, self.calibrations.of(owner).to_json())
        self.keep_snapshot(record)

    def keep_snapshot(self, record: RunFolder) -> None:
        """Write down what every instrument says now; one file for each process that worked on the run."""
        world = record.party(Party.WORLD)
        number = next(count for count in range(10_000) if not world.has_json(f"{SNAPSHOT}-{count}"))
        world.save_json(f"{SNAPSHOT}-{number}", snapshot(self.station))


def calibrated(
    station: Station,
    source: str,
    *,
    mode: str = "quick",
    folder: str | None = None,
    uncertified: bool = False,
    told: Told | None = None,
) -> CalibratedBench:
    """Calibrate what a run needs, or take what is kept, or refuse.

    Parameters
    ----------
    station, source:
        With its instruments open; name or path of its file.
    mode:
        quick: what is missing or stale; full: everything; reuse: nothing.
    folder:
        Where calibrations are kept; None: `calibrations`.
    uncertified:
        Whether a run may go on with a stale or failed calibration; every figure is marked then. One that is missing
        altogether stops it all the same.
    told:
        Is told what is being calibrated.

    Raises
    ------
    InputError
        Where a calibration is missing, failed or stale.
    """
    from labqdl.config.schema import read_choice

    read_choice(mode, MODES, source="--calibration", what="way to calibrate")
    try:
        from labqdl_calibration.bench import CalibrationBench
        from labqdl_calibration.preparing import prepare
        from labqdl_calibration.store import FOLDER, CalibrationStore
    except ImportError as error:
        raise InputError(
            f"calibrations are not installed ({error})", hint="pip install labqdl with its calibration package"
        ) from None
    bench = CalibrationBench(station)
    store = CalibrationStore(station.name, FOLDER if folder is None else folder)

    def words(name: str, routine: object, what: object) -> None:
        if told is not None:
            told(name)

    prepared = prepare(bench, mode, store=store, told=words)
    marks: tuple[str, ...] = ()
    if prepared.problems:
        if not uncertified:
            prepared.demand()
        marks = tuple(str(problem) for problem in prepared.problems)
    return CalibratedBench(station, source, prepared.calibrations, marks)


def again(station: Station, record: RunFolder, *, uncertified: bool = False) -> CalibratedBench:
    """The bench of a recorded run, for the rest of it: the same instruments, with the calibrations that it began with.

    Raises
    ------
    InputError
        Where another instrument answers than the one that the run began with, its station file has changed, or its
        calibrations are over; with `uncertified` the last of these marks every figure of the run instead.
    RecordError
        For a damaged record; names the file.
    """
    recorded = record.manifest["station"]
    found = file_digest(station)
    if found != recorded["file_digest"]:
        raise InputError(
            "the station file is not the one that this run began with",
            source=station.file.source,
            expected=f"digest {recorded['file_digest'][:16]}, found {found[:16]}",
            hint="'labqdl run' begins a new one",
        )
    there = identities(station)
    for name, known in recorded["identities"].items():
        if there.get(name) != known:
            raise InputError(
                f"another instrument answers as {name}: {there.get(name)}",
                source=station.file.source,
                expected=str(known),
                hint="'labqdl run' begins a new run with it",
            )
    calibrations = kept_with(record, station.name)
    for name, digest in recorded["calibrations"].items():
        if name not in calibrations or calibrations[name].digest != digest:
            raise RecordError(f"{record.path}: the calibration {name} is not the one that the run began with")
    problems = calibrations.problems(station.clock.wall())
    marks = tuple(dict.fromkeys([*recorded["uncertified"], *map(str, problems)]))
    if problems and not (uncertified or recorded["uncertified"]):
        raise InputError(
            f"the calibration that this run began with is over: {problems[0]}",
            source=record.path,
            hint="'labqdl run' begins a new one; --uncertified goes on, and marks every figure",
        )
    return CalibratedBench(station, str(recorded["station"]), calibrations, marks)


def kept_with(record: RunFolder, station: str) -> CalibrationSet:
    """The calibrations that a run began with, those of both parties."""
    results = CalibrationSet(station=station)
    for party in (Party.SERVER, Party.CLIENT):
        results = results.with_result(*CalibrationSet.from_json(record.party(party).load_json(CALIBRATIONS)).values())
    return results


def file_digest(station: Station) -> str:
    """BLAKE2b-256 of what the station's file says, hexadecimal."""
    text = json.dumps(station.file.document.table, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def identities(station: Station) -> dict[str, dict[str, str]]:
    """Who every open instrument says it is."""
    return {name: asdict(one.identity()) for name, one in station.instruments().items() if one.is_open}


def snapshot(station: Station) -> dict[str, Any]:
    """Every readable quantity of every instrument, in plain values."""
    return {
        "taken": station.clock.wall(),
        "instruments": {
            name: {
                quantity: {
                    "value": _plain(reading.value),
                    "unit": reading.unit,
                    **({} if reading.problem is None else {"problem": reading.problem}),
                }
                for quantity, reading in readings.items()
            }
            for name, readings in station.snapshot().items()
        },
    }


def _plain(value: Any) -> Any:
    """A reading's value as JSON has it."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value)
