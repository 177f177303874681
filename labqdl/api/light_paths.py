"""Which light path a run takes: a link file, the symbol-level twin of a station, or the bench itself."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from labqdl.config import load_link
from labqdl.config.link import LinkFile
from labqdl.config.station import StationFile, load_station_file
from labqdl.errors import InputError
from labqdl.facts import Ledger, OperatingPoint
from labqdl.facts.calibration import CalibrationSet

Tolerances = tuple[float, float, float]
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
    tolerances:
        What calibrations leave open: relative amplitude, phase (rad) and noise (SNU) of the returned light.
    most_photons:
        Photons of the brightest bin that the server can send; usual light stays below them.
    """

    name: str
    source: str
    ledger: Ledger
    point: OperatingPoint | None
    tile: int | None = None
    station: bool = False
    instruments: bool = False
    tolerances: Tolerances = (0.0, 0.0, 0.0)
    most_photons: float = math.inf


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


def twin_path(station: str, profile: str | None = None, mu: float | None = None) -> LightPath:
    """The same ledger and tile as the station's, emulated: by its calibrations if it has any, else by data sheets."""
    from labqdl.station.light_path import sheet_ledger, station_tap, usual_point

    if not station:
        raise InputError("names no station", source="--link", expected=f"{TWIN}NAME or {TWIN}FILE")
    file = load_station_file(station, profile)
    source = f"{TWIN}{station}"
    try:
        return calibrated_path(file, source, kept_calibrations(file), time.time(), mu=mu, instruments=False)
    except InputError:
        ledger = sheet_ledger(file)
        return station_path(file, source, ledger, usual_point(ledger, station_tap(file)), instruments=False)


def calibrated_path(
    file: StationFile,
    source: str,
    calibrations: CalibrationSet,
    now: float,
    *,
    instruments: bool,
    mu: float | None = None,
    marks: tuple[str, ...] = (),
) -> LightPath:
    """The light path of a station as its calibrations know it.

    Parameters
    ----------
    mu:
        Photons a mode at which it will be used, on which the noise of imperfect parts depends; None: the usual ones.
    marks:
        Why figures that rest on these calibrations are not certified.

    Raises
    ------
    InputError
        For calibrations that are missing.
    """
    from labqdl.station.light_path import (
        brightest_bin,
        calibrated_ledger,
        station_tap,
        tolerances,
        usual_point,
        with_imperfections,
    )

    assert file.frame is not None
    ledger = calibrated_ledger(file, calibrations, now, marks)
    point = usual_point(ledger, station_tap(file, calibrations))
    mu = point.mu if mu is None else mu
    excess, error = _imperfections(calibrations, mu, file.frame.n_modes)
    ledger = with_imperfections(ledger, excess)
    path = station_path(file, source, ledger, point, instruments=instruments)
    return replace(
        path,
        tolerances=tolerances(calibrations, ledger, excess, error, mu),
        most_photons=brightest_bin(calibrations),
    )


def _imperfections(calibrations: CalibrationSet, mu: float, n_modes: int) -> tuple[float, float]:
    """Excess noise at the server's input that imperfect parts add, and how well it is known, SNU."""
    try:
        from labqdl_calibration.budget import error_budget
    except ImportError:
        return 0.0, 0.0
    # Tap and locks are in the ledger as themselves.
    rows = [
        row
        for row in error_budget(calibrations, mu=mu, n_modes=n_modes).rows
        if not row.cause.startswith(("noise of the tap", "phase lock", "shot-noise unit"))
    ]
    return math.fsum(row.excess.value for row in rows), math.hypot(*(row.excess.deviation for row in rows), 0.0)


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
