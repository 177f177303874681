"""Stations that ship: sound, found by their name, lit in process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labqdl.cli.root import run as labqdl_command
from labqdl.cli.table import twin_problems
from labqdl.config.station import (
    STEPS,
    WORLD_KINDS,
    find_station_file,
    load_station_file,
    located,
    shipped_stations,
)
from labqdl.errors import InputError
from labqdl.facts.ledger import Owner
from labqdl.station import check_station, draw_text, load_station
from labqdl_sim.bench import Bench
from labqdl_sim.routes.visa import SimVisaLibrary
from labqdl_sim.world.kinds import kinds

NAMES = ("chip-8", "loop-32", "loopback-1")
LOOP_32 = {
    *("laser", "awg_s", "rps1", "rps2", "rps3", "voa", "gate_out", "gate_s", "meter_s", "mpc_s", "dig_s", "lock_s"),
    *("gate_c", "meter_c", "mpc_c", "awg_f", "awg_b", "dig_c", "lock_c", "rpc1"),
}
PARTS = {
    *("splitter_lo", "iq", "pad", "tap_s", "fibre_out", "fibre_lo", "fibre_back", "tap_c", "pbs_c", "tree_f", "tap"),
    *("tree_b", "pbs_s", "pm_s", "bhd_s", "splitter_lo2"),
}


def test_which_ship() -> None:
    assert shipped_stations() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_they_are_sound(name: str) -> None:
    found = check_station(name, twins=twin_problems)
    assert found.problems == ()
    # Honest parts with their losses: what their light tells does not fit the budget, and the check says why.
    assert [one.partition("may leak")[1] for one in found.warnings if "rules the time" not in one] == ["may leak"]
    file = load_station_file(name)
    assert (file.name, file.profile, file.clock, file.rate) == (name, "sim", STEPS, 125e6)
    assert file.frame is not None
    assert file.frame.n_modes == int(name.split("-")[1])
    assert {entry.kind for entry in file.subsystems.values()} >= {
        "transmitter",
        "homodyne-receiver",
        "feed-forward-tap",
    }
    assert {entry.owner for entry in file.subsystems.values()} == {Owner.SERVER, Owner.CLIENT}
    for path in file.paths:
        assert len(path.barriers) >= 2
        assert path.meter is not None
    assert "laser" in draw_text(file)


def test_names_in_loop_32() -> None:
    file = load_station_file("loop-32")
    assert set(file.instruments) == LOOP_32
    assert set(file.components) >= PARTS


@pytest.mark.parametrize("name", NAMES)
def test_a_table_of_real_instruments_is_the_same_file(name: str, tmp_path: Path) -> None:
    """With a resource for each instrument it is read for the profile bench; nothing else has to change."""
    text = find_station_file(name).read_text(encoding="utf-8")
    resources = "\n".join(
        f'{one} = "TCPIP0::192.0.2.{index}::5025::SOCKET"'
        for index, one in enumerate(load_station_file(name).instruments, 1)
    )
    path = tmp_path / "table.toml"
    path.write_text(text + f"\n[profiles.table]\n{resources}\n", encoding="utf-8")
    real = load_station_file(path, "table")
    assert not any(entry.simulated for entry in real.instruments.values())


@pytest.mark.parametrize("name", NAMES)
def test_everything_opens_in_process(name: str) -> None:
    file = load_station_file(name)
    bench = Bench.from_station(file)
    library: Any = SimVisaLibrary.for_bench(bench)
    station = load_station(name, library=library, clock=bench.driver_clock)
    try:
        station.open()
        assert all(station[one].is_open for one in file.instruments)
        assert bench.world is not None
        assert set(bench.world.parts) >= set(file.components)
    finally:
        station.close()
        SimVisaLibrary.forget(bench)


@pytest.mark.parametrize("name", NAMES)
def test_copies_for_real_instruments_lack_resources_and_nothing_else(name: str, tmp_path: Path) -> None:
    path = tmp_path / "table.toml"
    assert labqdl_command(["station", "copy", str(path), "--of", name]) == 0
    found = check_station(path)
    missing = {problem.key for problem in found.problems}
    shipped = load_station_file(name).instruments.values()
    assert missing == {f"instruments.{one.name}.resource" for one in shipped if one.resource is None}
    text = path.read_text(encoding="utf-8")
    text = text.replace('# resource = "..."', 'resource = "TCPIP0::192.0.2.1::5025::SOCKET"')
    path.write_text(text, encoding="utf-8")
    assert check_station(path).problems == ()
    assert labqdl_command(["station", "copy", str(tmp_path / "other.toml"), "--of", "loop-33"]) == 2


def test_found_by_name_or_not_at_all(tmp_path: Path) -> None:
    assert find_station_file("loop-32").name == "loop-32.toml"
    own = tmp_path / "mine.toml"
    assert located(own) == own
    with pytest.raises(InputError, match=r"loop-23: there is no such file; .*Did you mean 'loop-32'\?"):
        find_station_file("loop-23")


def test_the_command_line_takes_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert labqdl_command(["station", "check", "loopback-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["good"] is True
    assert labqdl_command(["station", "draw", "chip-8"]) == 0
    assert "heaters_f" in capsys.readouterr().out
    assert labqdl_command(["station", "check", "loopback"]) == 2


def test_every_kind_of_the_world_can_stand_in_a_file() -> None:
    assert set(kinds()) <= {*WORLD_KINDS, "coupler", "fibre", "isolator"}
