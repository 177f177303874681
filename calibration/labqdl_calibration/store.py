"""Where calibrations are kept: readable files, one a result, with its raw data, its picture and its history.

FOLDER/STATION/NAME.json     the latest result, with a checksum
FOLDER/STATION/NAME.npz      its raw data
FOLDER/STATION/NAME.png      its picture, where matplotlib is installed
FOLDER/STATION/history/NAME.N.json, .npz     the ones before, the first has number 1
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError, RecordError
from labqdl.facts import CalibrationResult, CalibrationSet
from labqdl.records.encoding import checked_file, read_checked_file
from labqdl.records.storage import write_file
from labqdl_calibration.routine import raw_digest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "calibrations"
"""Where calibrations are kept unless somebody names another folder."""

_NAME = re.compile(r"[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)*")


def folder_name(station: str) -> str:
    """A station's name as that of a folder."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", station).strip("-")
    return plain or "station"


class CalibrationStore:
    """The calibrations of one station on disk.

    Parameters
    ----------
    station:
        Its name.
    folder:
        In which stations have their folders.
    """

    def __init__(self, station: str, folder: str | Path = FOLDER) -> None:
        self.station = station
        self.path = Path(folder) / folder_name(station)

    def file(self, name: str, ending: str = "json") -> Path:
        """Where a calibration is kept."""
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name of a calibration", expected="such as client.shot-noise")
        return self.path / f"{name}.{ending}"

    def load(self, *, problems: list[RecordError] | None = None) -> CalibrationSet:
        """All latest results.

        Parameters
        ----------
        problems:
            Takes those that are damaged, which are left out then; None: the first one is raised.

        Raises
        ------
        RecordError
            For a file that does not fit its checksum, that is no result, or that has the name of another one.
        """
        results = []
        for path in sorted(self.path.glob("*.json")):
            try:
                results.append(self._read(path))
            except RecordError as error:
                if problems is None:
                    raise
                problems.append(error)
        return CalibrationSet(results, station=self.station)

    def _read(self, path: Path) -> CalibrationResult:
        try:
            result = CalibrationResult.from_json(read_checked_file(path))
        except InputError as error:
            raise RecordError(f"{path}: {error}") from None
        if result.name != path.stem:
            raise RecordError(f"{path}: holds the calibration {result.name!r}, which belongs into another file")
        return result

    def raw(self, result: CalibrationResult) -> dict[str, NDArray[Any]]:
        """Raw data of a latest result.

        RecordError where they are gone, damaged, or not those from which the result was computed.
        """
        path = self.file(result.name, "npz")
        try:
            with np.load(path, allow_pickle=False) as stored:
                raw = {name: stored[name] for name in stored.files}
        except FileNotFoundError:
            raise RecordError(f"{path}: this file is missing") from None
        except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
            raise RecordError(f"{path}: damaged: {error}") from error
        if raw_digest(raw) != result.raw_digest:
            raise RecordError(f"{path}: not the data from which {result.name} was computed")
        return raw

    def save(self, result: CalibrationResult, raw: Mapping[str, NDArray[Any]], figure: Figure | None = None) -> Path:
        """Keep a result as the latest; the one before goes into the history. Gives the file.

        RecordError where the disk refuses.
        """
        try:
            (self.path / "history").mkdir(parents=True, exist_ok=True)
            self._archive(result.name)
            packed = io.BytesIO()
            arrays: dict[str, Any] = dict(raw)
            np.savez_compressed(packed, **arrays)
            write_file(self.file(result.name, "npz"), [packed.getvalue()], sync=False)
            target = self.file(result.name)
            write_file(target, [checked_file(result.to_json())], sync=False)
            picture = self.file(result.name, "png")
            picture.unlink(missing_ok=True)
            if figure is not None:
                from labqdl.plots.style import save

                save(figure, picture)
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        return target

    def _archive(self, name: str) -> None:
        latest = self.file(name)
        if not latest.exists():
            return
        numbers = [int(path.name.rsplit(".", 2)[-2]) for path in (self.path / "history").glob(f"{name}.*.json")]
        number = max(numbers, default=0) + 1
        for ending in ("json", "npz"):
            source = self.file(name, ending)
            if source.exists():
                source.replace(self.path / "history" / f"{name}.{number}.{ending}")

    def history(self, name: str) -> tuple[CalibrationResult, ...]:
        """Earlier results and the latest, the oldest first; damaged ones are left out."""
        found = []
        paths = [*(self.path / "history").glob(f"{name}.*.json"), self.file(name)]
        for path in paths:
            if path.exists():
                try:
                    found.append(CalibrationResult.from_json(read_checked_file(path)))
                except (RecordError, InputError):
                    continue
        return tuple(sorted(found, key=lambda one: one.taken))
