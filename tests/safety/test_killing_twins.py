"""Real drivers on served twins: whatever becomes of the program, the simulated world is dark within 2 s.

A few cells of the matrix here, every cell in soak; `python -m tests.safety.killing_twins` prints it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labqdl.safety import UnsafeFile
from labqdl_sim.twin import registry
from tests.safety.bench.twin_victim import ENERGISE, driver
from tests.safety.killing import LONG
from tests.safety.killing_twins import ALL, KINDS, WAYS, Bench, members, promised, run, served

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and pseudo terminals of POSIX")

SHORT = [
    ("itla", "sigkill"),
    ("edfa", "ctrl-c"),
    ("k33500", "connection lost"),
    ("tsl", "gone, sigkill"),
    ("n77", "full disk, refuses"),
]
"""One cell of each kind of way, over every kind of road."""


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
    assert sum(promised(row, way) for row in (*KINDS, ALL) for way in WAYS) == 15 * 14 - 4


def safe(folder: Path, *arguments: str) -> tuple[int, Any]:
    """`labqdl safe`, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "labqdl.cli", "safe", *arguments, "--json"],
        capture_output=True,
        timeout=LONG,
        env=os.environ | {"LABQDL_STATE": str(folder)},
        check=False,
    )
    assert done.stdout, done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


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


def test_safe_makes_a_station_dark(bench: Bench, tmp_path: Path) -> None:
    """Whoever switched it on, and without --arm."""
    names = ["tsl", "edfa"]
    code, told = safe(tmp_path, lit_station(bench, names, tmp_path), "--profile", "bench")
    assert (code, told["unsafe_file"]) == (0, None)
    assert [(one["name"], one["safe"]) for one in told["outcomes"]] == [("edfa", True), ("tsl", True)]
    assert not bench.lit(names)


@pytest.mark.soak
def test_safe_says_what_it_could_not_make_dark(bench: Bench, tmp_path: Path) -> None:
    names = ["tsl", "edfa", "n77"]
    station = lit_station(bench, names, tmp_path)
    bench.ask(do="fault", target="n77", effect="stay-on")
    try:
        code, told = safe(tmp_path, station, "--profile", "bench")
    finally:
        bench.ask(do="clear")
    assert code == 70
    assert [(one["name"], one["safe"]) for one in told["outcomes"]] == [("edfa", True), ("n77", False), ("tsl", True)]
    assert bench.lit(names) == {"n77"}
    assert UnsafeFile(tmp_path / "UNSAFE").entries()[0].name == "n77"
    assert safe(tmp_path, station, "--profile", "bench", "--acknowledge")[0] == 0
    assert not bench.lit(names)


def test_safe_without_a_station_tries_what_the_unsafe_file_names(bench: Bench, tmp_path: Path) -> None:
    """An instrument that was gone is back: dark, but nothing is forgotten before a person acknowledges it."""
    cell = run(bench, ["tsl"], WAYS["gone"], tmp_path, recover=False)
    assert cell.entries == ["tsl"]
    assert bench.lit(["tsl"])
    code, told = safe(tmp_path)
    assert [one["safe"] for one in told["outcomes"]] == [True]
    assert code == 70
    assert not bench.lit(["tsl"])
    code, told = safe(tmp_path, "--acknowledge")
    assert (code, told["acknowledged"]) == (0, True)
    assert not UnsafeFile(tmp_path / "UNSAFE").exists()
