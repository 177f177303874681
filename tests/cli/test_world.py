"""Simulated instruments in a process of their own: named resources, shared boxes, and an end on every way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from labqdl.cli.world import opened_by_wire, served, world
from labqdl.config.station import load_station_file
from labqdl.errors import InputError

STATION = """
[station]
name = "two"
profile = "sim"
[instruments.meter]
driver = "thorlabs-pm100"
[instruments.one]
driver = "redpitaya-source"
twin = "redpitaya"
resource = "TCPIP0::rp::5000::SOCKET"
options = { pin = 0 }
[instruments.two]
driver = "redpitaya-source"
twin = "redpitaya"
resource = "TCPIP0::rp::5000::SOCKET"
options = { pin = 1 }
[simulation]
seed = 3
clock = "steps"
"""


@pytest.fixture
def station(tmp_path: Path) -> Path:
    file = tmp_path / "station.toml"
    file.write_text(STATION)
    return file


def test_a_station_is_opened_by_wire_and_what_shares_a_box_shares_its_address(station: Path) -> None:
    with opened_by_wire(str(station), None, arm=False) as table:
        entries = table.file.instruments
        assert all(entry.declared_simulated and not entry.simulated for entry in entries.values())
        assert entries["one"].resource == entries["two"].resource != entries["meter"].resource
        one, two = table["one"], table["two"]
        one.voltage, two.voltage = 0.25, 0.5  # type: ignore[attr-defined]
        assert (one.voltage, two.voltage) == pytest.approx((0.25, 0.5), abs=0.01)  # type: ignore[attr-defined]
        assert table["meter"].identity().model.startswith("PM100")


def test_a_world_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not start") as caught, world(str(tmp_path / "none.toml")):
        pass
    assert "none.toml" in str(caught.value)


def test_resources_take_the_place_of_those_of_the_file(station: Path) -> None:
    file = served(load_station_file(station), {"meter": "A", "one": "B"})
    assert {name: entry.resource for name, entry in file.instruments.items()} == {"meter": "A", "one": "B", "two": "B"}


def test_a_world_ends_with_whoever_began_it(station: Path) -> None:
    """Killed parents close no files by themselves; the system does."""
    command = [sys.executable, "-m", "labqdl.cli", "sim", "serve", str(station), "--json", "--until-eof"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline().startswith(b"{")
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdout.close()
