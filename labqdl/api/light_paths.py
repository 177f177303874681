"""Which light path a run takes: a link file, the symbol-level twin of a station, or the bench itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from labqdl.config import load_link
from labqdl.config.link import LinkFile
from labqdl.config.station import StationFile, load_station_file
from labqdl.errors import InputError
from labqdl.facts import Ledger, OperatingPoint
from labqdl.facts.calibration import CalibrationSet

TWIN = "station:"
"""Beginning of the name of a link that is the symbol-level twin of a station."""


@dataclass(frozen=True, slots=True)
class LightPath:
    """What a run needs to know of its light path before any light flows.

    Attributes
    ----------
    name, source:
        What it is called, and what finds it again.
    ledger, point, tile:
        The honest light path; the operating point unless somebody names another; modes of the client's interferometer,
        None where it takes rows of any length.
    station:
        Whether it is that of a station, whose verifier measures its own shot-noise unit and counts no photons.
    instruments:
        Whether instruments are behind it, and no emulation.
    """

    name: str
    source: str
    ledger: Ledger
    point: OperatingPoint | None
    tile: int | None = None
    station: bool = False
    instruments: bool = False


def find_light_path(source: str) -> LightPath:
    """A shipped link, a link file, or with `station:NAME` the symbol-level twin of a station.

    Raises
    ------
    InputError
        For an unknown name and any mistake in a file.
    """
    if source.startswith(TWIN):
        return twin_path(source.removeprefix(TWIN))
    link = load_link(source)
    return LightPath(link.name, source, link.ledger, link.operating_point)


def find_link(source: str) -> LinkFile:
    """As `find_light_path`, for who needs the ledger and no more."""
    if not source.startswith(TWIN):
        return load_link(source)
    path = find_light_path(source)
    return LinkFile(path.name, "symbol-level twin of a station", path.ledger, path.point, path.source)


def twin_path(station: str, profile: str | None = None) -> LightPath:
    """The same ledger and tile as the station's, emulated: by its calibrations if it has any, else by data sheets."""
    if not station:
        raise InputError("names no station", source="--link", expected=f"{TWIN}NAME or {TWIN}FILE")
    from labqdl.station.light_path import calibrated_ledger, sheet_ledger, station_tap, usual_point

    file = load_station_file(station, profile)
    known = kept_calibrations(file)
    try:
        ledger = calibrated_ledger(file, known, time.time())
        setting = station_tap(file, known)
    except InputError:
        ledger, setting = sheet_ledger(file), station_tap(file)
    return station_path(file, f"{TWIN}{station}", ledger, usual_point(ledger, setting), instruments=False)


def station_path(
    file: StationFile, source: str, ledger: Ledger, point: OperatingPoint, *, instruments: bool
) -> LightPath:
    """The light path of a station, or of its twin."""
    if file.frame is None:
        raise InputError(
            "the station does not say how light lies on the wire", source=file.source, expected="a table [frame]"
        )
    name = file.name if instruments else f"{file.name}-twin"
    ledger = replace(ledger, name=name)
    return LightPath(name, source, ledger, point, file.frame.n_modes, station=True, instruments=instruments)


def kept_calibrations(file: StationFile, folder: str | None = None) -> CalibrationSet:
    """What is known of a station; an empty set where nothing is kept, or the calibrations are not installed."""
    try:
        from labqdl_calibration.store import FOLDER, CalibrationStore
    except ImportError:
        return CalibrationSet(station=file.name)
    store = CalibrationStore(file.name, FOLDER if folder is None else folder)
    return store.load(problems=[])
