"""Sweeps on instruments without a wire: order, limits, what stops, what is kept."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest

from labqdl.config.document import parse
from labqdl.config.station import read_station_file
from labqdl.errors import InputError, LabqdlError
from labqdl.instruments import LimitError, NotAValue
from labqdl.plans.sweep import Place, ReadPoint, SetPoint, Settle, Spacing, SweepHandlers, sweep, sweep_points
from labqdl.sequencer import Checkpoint, Engine, StopRequested, preview
from labqdl.station import Station
from tests.station.fakes import FakeLaser

TEXT = """
[station]
name = "table"

[instruments.laser]
driver = "tests.station.fakes:FakeLaser"
resource = "TCPIP0::laser::inst0::INSTR"
limits.power = { max = "10 mW", reason = "connectors" }

[instruments.meter]
driver = "tests.station.fakes:FakeMeter"
resource = "TCPIP0::meter::inst0::INSTR"
"""


@pytest.fixture
def station() -> Any:
    table = Station(read_station_file(parse(TEXT.encode(), source="s.toml"), None))
    table.open()
    return table


def handlers_for(station: Station, points: tuple[float, ...], **options: Any) -> SweepHandlers:
    reads = [Place.find(station, one) for one in ("meter.channel2.power", "laser.power", "laser.emission")]
    return SweepHandlers(station, Place.find(station, "laser.power"), reads, points, **options)


def test_points_are_spaced_and_hold_every_limit(station: Any) -> None:
    power = Place.find(station, "laser.power")
    assert sweep_points(power, "1 mW", "3 mW", 3, Spacing.LINEAR) == pytest.approx((1e-3, 2e-3, 3e-3))
    assert sweep_points(power, "-20 dBm", "10dBm", 4, Spacing.LOG) == pytest.approx((1e-5, 1e-4, 1e-3, 1e-2))
    assert sweep_points(power, "5 mW", "1 mW", 1, Spacing.LINEAR) == (5e-3,)
    with pytest.raises(LimitError, match="connectors"):
        sweep_points(power, "1 mW", "11 mW", 3, Spacing.LINEAR)
    with pytest.raises(InputError, match="equal ratios"):
        sweep_points(power, "0 W", "1 mW", 3, Spacing.LOG)
    with pytest.raises(InputError, match="at least 1"):
        sweep_points(power, "1 mW", "2 mW", 0, Spacing.LINEAR)
    with pytest.raises(InputError, match="takes no numbers"):
        sweep_points(Place.find(station, "laser.emission"), "off", "on", 2, Spacing.LINEAR)
    with pytest.raises(InputError, match="can only be read"):
        sweep_points(Place.find(station, "meter.power"), "1 mW", "2 mW", 2, Spacing.LINEAR)
    assert station["laser"].log == []


def test_places_that_there_are_not(station: Any) -> None:
    with pytest.raises(InputError, match="names no quantity"):
        Place.find(station, "laser")
    with pytest.raises(InputError, match="Did you mean 'laser'"):
        Place.find(station, "lasr.power")
    with pytest.raises(InputError, match="Did you mean 'power'"):
        Place.find(station, "laser.powr")


def test_the_plan_says_what_it_would_do() -> None:
    commands = list(preview(sweep("laser.power", (1e-3, 2e-3), settle=0.5, back=4e-3)))
    assert commands == [
        Checkpoint("point 1 of 2"),
        SetPoint("laser.power", 1e-3, 1, 2),
        Settle(0.5),
        ReadPoint(1e-3),
        Checkpoint("point 2 of 2"),
        SetPoint("laser.power", 2e-3, 2, 2),
        Settle(0.5),
        ReadPoint(2e-3),
        SetPoint("laser.power", 4e-3),
    ]
    assert commands[1].describe() == "set laser.power to 0.001 (point 1 of 2)"
    assert commands[-1].describe() == "set laser.power to 0.004 (as before)"


def test_a_sweep_sets_reads_tells_and_sets_back(station: Any) -> None:
    points = (1e-3, 3e-3, 2e-3)
    told: list[Any] = []
    handlers = handlers_for(station, points, told=told.append)
    assert not handlers.table.complete
    Engine(handlers.handlers()).run(sweep("laser.power", points, back=5e-3))
    assert station["laser"].log == [("power", one) for one in (*points, 5e-3)]
    table = handlers.table
    assert table.complete
    assert list(table.rows) == told
    assert [row.readings for row in table.rows] == [(2e-3, one, False) for one in points]
    assert table.heads == ["laser.power / W", "meter.channel 2.power / W", "laser.power / W", "laser.emission"]
    rows = list(csv.reader(io.StringIO(table.to_csv())))
    assert rows[0] == ["time / s", *table.heads]
    assert [row[1:] for row in rows[1:]] == [[f"{one:g}", "0.002", f"{one:g}", "False"] for one in points]
    found = json.loads(json.dumps(table.to_json()))
    assert found["schema"] == "labqdl.sweep/1"
    assert found["complete"] is True
    assert found["reads"][0] == {"quantity": "meter.channel 2.power", "unit": "W"}
    assert [row["readings"][1] for row in found["rows"]] == list(points)


def test_no_valid_value_is_a_result_and_silence_is_none(station: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = handlers_for(station, (1e-3, 2e-3, 3e-3))
    meter_power = handlers.table.reads[0].quantity
    kind = type(meter_power)
    fetch = kind.fetch

    def overloaded(self: Any, part: Any) -> Any:
        if part.instrument.name == "meter" and station["laser"].state["power"] > 1.5e-3:
            raise NotAValue("meter: overload | 3 lines of traffic")
        if station["laser"].state["power"] > 2.5e-3:
            raise LabqdlError("laser: nobody answers")
        return fetch(self, part)

    monkeypatch.setattr(kind, "fetch", overloaded)
    with pytest.raises(LabqdlError, match="nobody answers"):
        Engine(handlers.handlers()).run(sweep("laser.power", (1e-3, 2e-3, 3e-3), back=1e-3))
    rows = handlers.table.rows
    assert len(rows) == 2
    assert math.isnan(rows[1].readings[0])
    assert rows[1].problems == {"meter.channel 2.power": "meter: overload"}
    assert handlers.table.to_json()["rows"][1]["readings"][0] == "nan"
    # After a failure nothing more is sent: what ends the station makes it safe.
    assert station["laser"].log[-1] == ("power", 3e-3)


def test_a_stop_keeps_what_there_is_and_sets_back(station: Any) -> None:
    points = (1e-3, 2e-3, 3e-3)
    engines: list[Engine] = []

    def told(row: Any) -> None:
        if row.value == 2e-3:
            engines[0].request_stop()

    handlers = handlers_for(station, points, told=told)
    engines.append(Engine(handlers.handlers()))
    with pytest.raises(StopRequested):
        engines[0].run(sweep("laser.power", points, back=7e-3))
    assert [row.value for row in handlers.table.rows] == [1e-3, 2e-3]
    assert not handlers.table.complete
    assert station["laser"].log[-1] == ("power", 7e-3)


def test_what_cannot_be_read_is_said_before_anything_is_set(station: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeLaser.power, "readable", False)
    with pytest.raises(InputError, match=r"laser\.power cannot be read"):
        handlers_for(station, (1e-3,))
