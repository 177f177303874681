"""The plan of a sweep: one setting of a station goes through its points, and quantities are read at each.

Any quantity that can be set to a number, against any that can be read. `sweep` is a generator of small commands, which
an engine executes with `SweepHandlers`; every row is handed to a callback as soon as it is there. All points are held
against every limit before the first one is set.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from labqdl.errors import InputError
from labqdl.instruments import NotAValue, Part, Quantity
from labqdl.sequencer import Checkpoint, Command, Plan, StopRequested
from labqdl.station import Station, find_quantity, parse_value, plain_value

SCHEMA = "labqdl.sweep/1"


class Spacing(StrEnum):
    """How points lie between the first and the last."""

    LINEAR = "linear"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Place:
    """One quantity of one instrument; `label` is "laser.power"."""

    label: str
    part: Part
    quantity: Quantity[Any]

    @property
    def head(self) -> str:
        """Name and unit, as over a column."""
        return f"{self.label} / {self.quantity.unit}" if self.quantity.unit else self.label

    @classmethod
    def find(cls, station: Station, text: str) -> Place:
        """The quantity that "laser.power" or "awg.output 2.amplitude" names.

        Raises
        ------
        InputError
            Where there is no such instrument or quantity, with the nearest one that there is.
        NotACapability
            Where the model does not have it.
        """
        name, dot, path = text.strip().partition(".")
        if not dot:
            raise InputError(f"{text!r} names no quantity", expected="INSTRUMENT.QUANTITY, such as laser.power")
        part, quantity = find_quantity(station[name], path)
        return cls(f"{name}.{part.path(quantity.name)}", part, quantity)


@dataclass(frozen=True, slots=True)
class SetPoint(Command):
    """Set the swept quantity; `number` of `total`, or 0 for what it had before."""

    label: str
    value: float
    number: int = 0
    total: int = 0

    def describe(self) -> str:
        """One line."""
        which = f" (point {self.number} of {self.total})" if self.number else " (as before)"
        return f"set {self.label} to {self.value:.9g}{which}"


@dataclass(frozen=True, slots=True)
class Settle(Command):
    """Wait, s."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ReadPoint(Command):
    """Read all quantities of the sweep at a point. Result: a `SweepRow`."""

    value: float


@dataclass(frozen=True, slots=True)
class SweepRow:
    """What was read at one point.

    Attributes
    ----------
    time:
        Wall time in s.
    value:
        What was set.
    readings:
        One for each quantity, NaN where the instrument had no valid value.
    problems:
        Why, by the name of the quantity.
    """

    time: float
    value: float
    readings: tuple[Any, ...]
    problems: Mapping[str, str] = field(default_factory=dict)

    def cells(self) -> list[str]:
        """Value and readings as a table has them."""
        return [
            f"{one:.9g}" if isinstance(one, float) else str(plain_value(one)) for one in (self.value, *self.readings)
        ]


@dataclass(frozen=True, slots=True)
class SweepTable:
    """A sweep, as far as it came; `complete` if to its end."""

    station: str
    setting: Place
    reads: tuple[Place, ...]
    points: tuple[float, ...]
    rows: tuple[SweepRow, ...]

    @property
    def complete(self) -> bool:
        """Whether every point has its row."""
        return len(self.rows) == len(self.points)

    @property
    def heads(self) -> list[str]:
        """Names and units of the columns."""
        return [self.setting.head, *(one.head for one in self.reads)]

    def to_json(self) -> dict[str, Any]:
        """Everything, plain."""
        return {
            "schema": SCHEMA,
            "station": self.station,
            "complete": self.complete,
            "setting": {"quantity": self.setting.label, "unit": self.setting.quantity.unit},
            "reads": [{"quantity": one.label, "unit": one.quantity.unit} for one in self.reads],
            "points": list(self.points),
            "rows": [
                {
                    "time": row.time,
                    "value": row.value,
                    "readings": [plain_value(one) for one in row.readings],
                    "problems": dict(row.problems),
                }
                for row in self.rows
            ],
        }

    def to_csv(self) -> str:
        """Columns as `heads`, the wall time in s before them."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["time / s", *self.heads])
        writer.writerows([f"{row.time:.3f}", *row.cells()] for row in self.rows)
        return text.getvalue()


def sweep_points(setting: Place, begin: str, end: str, steps: int, spacing: Spacing) -> tuple[float, ...]:
    """The points from `begin` to `end`, each inside of every limit that holds now.

    Parameters
    ----------
    begin, end:
        As people write them: "-3 dBm", "1550 nm".
    steps:
        Number of points, both ends included.

    Raises
    ------
    InputError
        For a quantity that takes no numbers, for a value that it does not take, for what cannot be spaced like that.
    LimitError
        For a point outside of the limits; nothing was sent.
    """
    quantity, label = setting.quantity, setting.label
    if quantity.kind not in (float, int):
        raise InputError(f"{label} takes no numbers", expected="a quantity whose values are numbers")
    if steps < 1:
        raise InputError(f"{steps} points", expected="at least 1")
    first, last = (float(parse_value(quantity, one, source=label)) for one in (begin, end))
    if spacing is Spacing.LOG and not (first > 0 and last > 0):
        raise InputError(
            f"{first:.9g} to {last:.9g} cannot be spaced by equal ratios", expected="two positive ends, or linear"
        )
    space = np.geomspace if spacing is Spacing.LOG else np.linspace
    points = tuple(float(one) for one in space(first, last, steps))
    for point in points:
        quantity.checked(setting.part, point)
    return points


def sweep(setting: str, points: Sequence[float], *, settle: float = 0.0, back: float | None = None) -> Plan[int]:
    """Set each point, wait, read; the result is the number of points.

    Parameters
    ----------
    setting:
        Label of the swept quantity.
    points:
        In its own unit.
    settle:
        Seconds between setting and reading.
    back:
        What it is set to at the end and after a stop; None: it stays at the last point. After a failure nothing more
        is set: the end of the station makes it safe.
    """
    try:
        for number, value in enumerate(points, start=1):
            yield Checkpoint(f"point {number} of {len(points)}")
            yield SetPoint(setting, value, number, len(points))
            if settle > 0:
                yield Settle(settle)
            yield ReadPoint(value)
    except StopRequested:
        if back is not None:
            yield SetPoint(setting, back)
        raise
    if back is not None:
        yield SetPoint(setting, back)
    return len(points)


class SweepHandlers:
    """Carries a sweep out on a station.

    Parameters
    ----------
    station:
        With the instruments open.
    setting, reads:
        What is set, and what is read.
    points:
        For the table.
    told:
        Takes every row as soon as it is there.
    """

    def __init__(
        self,
        station: Station,
        setting: Place,
        reads: Sequence[Place],
        points: Sequence[float],
        told: Callable[[SweepRow], object] = lambda row: None,
    ) -> None:
        self._station, self._setting, self._reads = station, setting, tuple(reads)
        self._points, self._told = tuple(points), told
        self._rows: list[SweepRow] = []
        for one in self._reads:
            if not one.quantity.readable:
                raise InputError(f"{one.label} cannot be read", expected="a quantity that can be read")

    def handlers(self) -> dict[type[Command], Callable[[Any], Any]]:
        """For the engine."""
        return {SetPoint: self._set, Settle: self._wait, ReadPoint: self._read}

    @property
    def table(self) -> SweepTable:
        """What there is so far."""
        return SweepTable(self._station.name, self._setting, self._reads, self._points, tuple(self._rows))

    def _set(self, command: SetPoint) -> None:
        kind = self._setting.quantity.kind
        setattr(self._setting.part, self._setting.quantity.name, kind(command.value))

    def _wait(self, command: Settle) -> None:
        self._station.clock.sleep(command.seconds)

    def _read(self, command: ReadPoint) -> SweepRow:
        readings: list[Any] = []
        problems = {}
        for one in self._reads:
            try:
                readings.append(one.quantity.fetch(one.part))
            except NotAValue as error:
                # Overload at one end of a sweep is a result; an instrument that does not answer is not.
                readings.append(math.nan)
                problems[one.label] = str(error).partition(" | ")[0]
        row = SweepRow(self._station.clock.wall(), command.value, tuple(readings), problems)
        self._rows.append(row)
        self._told(row)
        return row
