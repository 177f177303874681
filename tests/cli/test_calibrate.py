"""`labqdl calibrate`: what is shown without opening anything, a short calibration, stale and damaged ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path("calibrations/loop-32")


def test_list_and_dry_run_open_nothing(labqdl_command: Any) -> None:
    listed = labqdl_command("calibrate", "loop-32", "--list", "--json").json()
    names = [one["name"] for one in listed["calibrations"]]
    assert {"server.modulator", "client.shot-noise", "client.interferometer", "path.forward"} <= set(names)
    assert all(one["problem"]["kind"] == "missing" for one in listed["calibrations"])
    for one in listed["calibrations"]:
        assert all(names.index(other) < names.index(one["name"]) for other in one["requires"])
    plan = labqdl_command("calibrate", "loop-32", "client.timing", "--dry-run")
    assert plan.code == 0
    lines = [line.split()[1] for line in plan.out.splitlines()]
    assert lines[-1] == "client.timing"
    assert "server.modulator" in lines
    assert "path.forward" not in lines
    assert "server.modulator" in labqdl_command("calibrate", "loop-32", "--list").out
    assert not FOLDER.exists()


def test_unknown_names_and_stations_are_bad_input(labqdl_command: Any) -> None:
    unknown = labqdl_command("calibrate", "loop-32", "client.shotnoise", "--dry-run")
    assert unknown.code == 2
    assert "Did you mean 'client.shot-noise'" in unknown.err
    assert labqdl_command("calibrate", "no-such-table").code == 2


def test_what_is_asked_for_is_measured_kept_and_fresh_afterwards(labqdl_command: Any) -> None:
    done = labqdl_command("calibrate", "loop-32", "client.meters", "--quick", "--no-plots", "--json")
    assert done.code == 0
    found = done.json()
    assert [one["name"] for one in found["measured"]] == ["bench.warm-up", "client.meters"]
    assert found["problems"] == []
    assert (FOLDER / "client.meters.npz").exists()
    again = labqdl_command("calibrate", "loop-32", "bench.warm-up", "client.meters", "--dry-run").out
    assert "bench.warm-up            was asked for" in again
    assert "is computed with bench.warm-up" in again
    kept = json.loads((FOLDER / "client.meters.json").read_text())
    (FOLDER / "client.meters.json").write_text(json.dumps(kept | {"method": "guessed"}))
    listed = labqdl_command("calibrate", "loop-32", "--list")
    assert "client.meters.json: damaged or edited" in listed.err
