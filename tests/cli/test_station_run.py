"""`labqdl run --station`: the shipped loop of 32 bins, calibrated and run in this process and through the wire."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labqdl.api import open_run, replay
from labqdl.cli.root import run
from labqdl.records import Party
from labqdl_calibration.store import CalibrationStore

STATION = "loop-32"
COMMON = ("run", "--station", STATION, "--images", "2", "--block", "1", "--seed", "1", "--json")
# What a process does that has no simulated instruments to import.
BLOCKED = """
import sys
sys.modules["labqdl_sim"] = None
from labqdl.cli.root import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the station is calibrated."""
    folder = tmp_path_factory.mktemp("table")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code = run([*COMMON, "--in-process", "--out", "first"])
        assert code in (0, 4)
        yield folder


def calibrations(leakage: Any) -> Iterator[list[str]]:
    """What every figure says it was calibrated by."""
    if isinstance(leakage, dict):
        for key, value in leakage.items():
            if key == "calibration":
                yield value
            else:
                yield from calibrations(value)


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def test_a_calibrated_run_agrees_with_its_ledger_and_says_what_it_was_made_with(table: Path) -> None:
    path = only(table / "first")
    recorded = open_run(path)
    result = recorded.result
    assert result["consistency"]["passed"]
    assert result["images"] == 2
    assert replay(path).agrees
    assert (result["station"], result["uncertified"]) == (STATION, [])
    assert list(calibrations(result["leakage"]))
    assert "UNCERTIFIED" not in json.dumps(result)
    station = recorded.manifest["station"]
    assert (station["name"], station["profile"], station["simulated"]["seed"]) == (STATION, "sim", 32)
    assert set(station["identities"]) >= {"laser", "awg_s", "dig_c"}
    store = CalibrationStore(STATION, table / "calibrations").load()
    assert station["calibrations"] == {name: store[name].digest for name in store}
    for party, other in ((Party.SERVER, "client"), (Party.CLIENT, "server")):
        kept = json.dumps(recorded.folder.party(party).load_json("calibrations"))
        assert f'"{other}.shot-noise"' not in kept.split('"requires"')[0]
    snapshot = recorded.folder.party(Party.WORLD).load_json("station-0")
    assert snapshot["instruments"]["laser"]["emission"]["value"] in (False, True)
    assert recorded.frame.tile == 32
    assert recorded.frame.plan.gain_tolerance > 0
    assert any("path.return" in component.calibration for component in recorded.frame.ledger.components)


def test_the_wire_gives_to_the_bit_what_one_process_gives(table: Path) -> None:
    """Drivers over TCP, HiSLIP and serial lines, the world in another process, and nothing of it importable here."""
    assert run([*COMMON, "--in-process", "--out", "here", "--calibration", "reuse"]) in (0, 4)
    command = [sys.executable, "-c", BLOCKED, *COMMON, "--out", "wire", "--calibration", "reuse"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode in (0, 4), done.stderr
    here, wire = open_run(only(table / "here")), open_run(only(table / "wire"))
    assert json.loads(done.stdout)["accuracy"] == here.result["accuracy"]
    np.testing.assert_array_equal(here.logits(), wire.logits())
    for block in here.blocks:
        for layer, light in here.light(block).items():
            other = wire.light(block)[layer]
            for name in ("sum_rr", "sum_qr", "sum_jr"):
                np.testing.assert_array_equal(getattr(light.statistics, name), getattr(other.statistics, name))
            assert light.statistics.vacuum_squares == other.statistics.vacuum_squares


def test_a_stopped_run_is_resumed_on_the_same_bench_only(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    symbols = open_run(only(table / "first")).frame.symbols_per_image
    common = (*COMMON, "--in-process", "--calibration", "reuse", "--out", "stopped", "--max-symbols", str(symbols))
    assert run(common) == 130
    assert "1 of 2 blocks" in capsys.readouterr().err
    path = only(table / "stopped")
    before = open_run(path).statistics(0)
    manifest = path / "manifest.json"
    assert run(["resume", str(path), "--in-process", "--json"]) in (0, 4)
    recorded = open_run(path)
    assert recorded.blocks == (0, 1)
    np.testing.assert_array_equal(recorded.statistics(0)[0].sum_rr, before[0].sum_rr)
    kinds = [event.kind for event in recorded.events()]
    assert kinds.count("block-started") == 2
    assert "resumed" in kinds
    assert recorded.folder.party(Party.WORLD).has_json("station-1")
    assert manifest.is_file()


def test_a_stale_calibration_refuses_a_run_or_marks_every_figure(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = CalibrationStore(STATION, table / "stale")
    for result in CalibrationStore(STATION, table / "calibrations").load().values():
        old = replace(result, valid_for=1e-3) if result.name == "server.efficiency" else result
        store.save(old, {})
    common = (*COMMON, "--in-process", "--calibration", "reuse", "--calibrations", "stale", "--out", "marked")
    assert run(common) == 2
    assert "server.efficiency: is" in capsys.readouterr().err
    assert not (table / "marked").exists()
    assert run([*common, "--uncertified"]) in (0, 4)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert any("server.efficiency: is" in reason for reason in document["uncertified"])
    for figure in calibrations(document["leakage"]):
        assert any("UNCERTIFIED" in text for text in figure)
