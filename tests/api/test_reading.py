"""Reading run folders, also those of older versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labqdl.api import open_run, run
from labqdl.errors import RecordError
from labqdl.facts import ShotNoise
from labqdl.records.encoding import checked_file


def rewrite_frame(folder: Path, change: Any) -> None:
    """Change the manifest's frame as another version would have written it."""
    file = folder / "manifest.json"
    fields = json.loads(file.read_text())
    del fields["sha256"]
    change(fields["manifest"]["frame"])
    file.write_bytes(checked_file(fields))


def test_a_frame_from_before_younger_keys_is_read_as_what_it_meant(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder=folder, model="breast-cancer", link="paper", images=3, seed=1)

    def forget(frame: dict[str, Any]) -> None:
        del frame["check_vectors"]
        for key in ("shot_noise", "cross_use", "residual_share"):
            frame["plan"].pop(key, None)

    rewrite_frame(folder, forget)
    found = open_run(folder).frame
    assert found.check_vectors == 0
    assert found.plan.shot_noise is ShotNoise.KNOWN
    assert not found.plan.cross_use
    assert found.plan.residual_share == 0


def test_a_frame_with_keys_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder=folder, model="breast-cancer", link="paper", images=3, seed=1)
    rewrite_frame(folder, lambda frame: frame.update(squeezing=3.0))
    with pytest.raises(RecordError, match=r"manifest\.json: this version of labqdl .*'squeezing'"):
        open_run(folder)
