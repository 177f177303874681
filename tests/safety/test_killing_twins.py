"""Real drivers on served twins: whatever becomes of the program, the simulated world is dark within 2 s.

A few cells of the matrix here, every cell in soak; `python -m tests.safety.killing_twins` prints it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labqdl.cli.root import run as labqdl_command
from labqdl.safety import UnsafeFile
from labqdl_sim.twin import registry
from tests.safety.bench.twin_victim import ENERGISE, driver
from tests.safety.killing_twins import ALL, KINDS, WAYS, Bench, members, promised, run, served

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and pseudo terminals of POSIX")

SHORT = [("itla", "sigkill")]
"""Over a serial line; sockets are below, HiSLIP in soak, and `test_killing` has the other ways, with lamps."""

Safe = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with served(tmp_path_factory.mktemp("bench")) as made:
        yield made


def check(bench: Bench, row: str, way: str, folder: Path) -> None:
    names = members(row, way)
    cell = run(bench, names, WAYS[way], folder)
    assert not cell.problems(names, WAYS[way]), cell


@pytest.mark.parametrize(("row", "way"), SHORT)
def test_whatever_dies_goes_dark(bench: Bench, row: str, way: str, tmp_path: Path) -> None:
    check(bench, row, way, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize(("row", "way"), [(row, way) for row in (*KINDS, ALL) for way in WAYS if promised(row, way)])
def test_every_cell(bench: Bench, row: str, way: str, tmp_path: Path) -> None:
    check(bench, row, way, tmp_path)


def test_nothing_is_left_out() -> None:
    """Every twin that emits by itself is in the matrix; the others pass on, or measure."""
    passive = {"thorlabs-mpc320", "thorlabs-osw", "thorlabs-pm100", "keysight-infiniivision", "tektronix-mso"}
    assert {kind.twin for kind in KINDS.values()} == set(registry()) - passive - {"idq-id900"}
    assert {kind.entry_point for kind in KINDS.values()} == set(ENERGISE)
    assert sum(promised(row, way) for row in (*KINDS, ALL) for way in WAYS) == 16 * 14 - 4


@pytest.fixture
def safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Safe:
    """`labqdl safe`: exit code, and what it tells."""
    monkeypatch.setenv("LABQDL_STATE", str(tmp_path))

    def command(*arguments: str) -> tuple[int, Any]:
        code = labqdl_command(["safe", *arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return command


def lit_station(bench: Bench, names: list[str], folder: Path) -> str:
    """A station file of served instruments, which a program has left on."""
    lines = ["[station]", 'name = "table"']
    for name in names:
        kind = KINDS[name]
        lines += [f"[instruments.{name}]", f'driver = "{kind.twin}"', f'resource = "{bench.resources[name]}"']
        made = driver(kind.twin, bench.resources[name], name)
        made.guard = None
        made.open()
        ENERGISE[kind.twin](made)
        made.close()
    assert bench.lit(names) == set(names)
    (folder / "station.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder / "station.toml")


def test_safe_makes_a_station_dark(bench: Bench, safe: Safe, tmp_path: Path) -> None:
    """Whoever switched it on, and without --arm."""
    names = ["tsl", "k2400"]
    code, told = safe(lit_station(bench, names, tmp_path), "--profile", "bench")
    assert (code, told["unsafe_file"]) == (0, None)
    assert [(one["name"], one["safe"]) for one in told["outcomes"]] == [("k2400", True), ("tsl", True)]
    assert not bench.lit(names)


@pytest.mark.soak
def test_safe_says_what_it_could_not_make_dark(bench: Bench, safe: Safe, tmp_path: Path) -> None:
    names = ["tsl", "edfa", "n77"]
    station = lit_station(bench, names, tmp_path)
    bench.ask(do="fault", target="n77", effect="stay-on")
    try:
        code, told = safe(station, "--profile", "bench")
    finally:
        bench.ask(do="clear")
    assert code == 70
    assert [(one["name"], one["safe"]) for one in told["outcomes"]] == [("edfa", True), ("n77", False), ("tsl", True)]
    assert bench.lit(names) == {"n77"}
    assert UnsafeFile(tmp_path / "UNSAFE").entries()[0].name == "n77"
    assert safe(station, "--profile", "bench", "--acknowledge")[0] == 0
    assert not bench.lit(names)


def test_safe_without_a_station_tries_what_the_unsafe_file_names(bench: Bench, safe: Safe, tmp_path: Path) -> None:
    """The watchdog could not reach an instrument, and it is back: dark, but nothing is forgotten."""
    way = WAYS["gone, sigkill"]
    cell = run(bench, ["tsl"], way, tmp_path, recover=False)
    assert not cell.problems(["tsl"], way), cell
    assert bench.lit(["tsl"])
    code, told = safe()
    assert [one["safe"] for one in told["outcomes"]] == [True]
    assert code == 70
    assert not bench.lit(["tsl"])
    code, told = safe("--acknowledge")
    assert (code, told["acknowledged"]) == (0, True)
    assert not UnsafeFile(tmp_path / "UNSAFE").exists()
