"""Killed at any moment, a run folder opens, continues, and ends with the same bytes as an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labqdl.records import RunFolder
from labqdl.records.storage import Moment, WritePoint

WRITER = Path(__file__).with_name("writer.py")
ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
BLOCKS = 12


@pytest.fixture
def fast_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: thousands of flushes would wait for the disk."""
    memory = Path("/dev/shm")
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    shutil.rmtree(folder)


def sweep(folder: Path, mode: str) -> Any:
    done = subprocess.run(
        [sys.executable, str(WRITER), "sweep", str(folder), mode],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the sweep forks a process for each kill")
def test_death_at_every_write_step(fast_folder: Path) -> None:
    report = sweep(fast_folder, "exit")
    assert report["problems"] == []
    assert report["steps"] > 150


def test_interruption_at_every_write_step(fast_folder: Path) -> None:
    report = sweep(fast_folder, "exception")
    assert report["problems"] == []
    seen = {entry.split("/")[0] for entry in report["seen"]}
    assert seen == set(WritePoint)
    for point in (WritePoint.APPEND_LOG, WritePoint.WRITE_FILE, WritePoint.WRITE_LOCK):
        assert f"{point}/{Moment.DURING}" in report["seen"]


def start(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(WRITER), "run", str(path), str(BLOCKS)], stdout=subprocess.PIPE, env=ENVIRONMENT
    )


def kill_after(path: Path, lines: int) -> list[int]:
    """Start or continue the run and SIGKILL it once it acknowledged so many calls; all acknowledged numbers."""
    process = start(path)
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    rest, _ = process.communicate()
    return [int(line) for line in told + rest.splitlines() if line.strip() not in (b"", b"-1", b"done")]


def parts(path: Path) -> dict[str, bytes]:
    files = (file for file in path.rglob("*") if file.is_file())
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in files
        if file.name not in ("events.jsonl", "lock", "manifest.json", "manifest.copy.json")
    }


def test_sigkill_at_random_points(tmp_path: Path) -> None:
    """16 real kills over four runs; the points are seeded, where exactly they strike is the machine's."""
    points = random.Random(20240611)
    reference = tmp_path / "reference"
    with start(reference) as undisturbed:
        undisturbed.communicate()
    for number in range(4):
        path = tmp_path / f"run-{number}"
        told: list[int] = []
        for _ in range(4):
            told += kill_after(path, points.randint(1, 2 + BLOCKS // 2))
            if path.exists():
                on_disk = {event.sequence for event in RunFolder.open(path).events()}
                assert set(told) <= on_disk
        with start(path) as process:
            output, _ = process.communicate()
        assert output.endswith(b"done\n")
        assert process.returncode == 0
        ends = [event.fields["block"] for event in RunFolder.open(path).events() if event.kind == "block-finished"]
        assert ends == list(range(BLOCKS))
        assert parts(path) == parts(reference)
