"""The floors of the house hold, and a violation does not go unseen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
ROOTS = ("labqdl", "drivers", "sim_instruments", "calibration")
LINT = "from importlinter.cli import lint_imports_command as main; main()"


def _lint(tree: Path) -> subprocess.CompletedProcess[str]:
    paths = [str(tree), *(str(tree / root) for root in ROOTS[1:])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources that a test may spoil, file by file; all contracts hold in it."""
    copy = tmp_path_factory.mktemp("house")
    shutil.copy(TOP / "pyproject.toml", copy)
    for root in ROOTS:
        shutil.copytree(TOP / root, copy / root, ignore=shutil.ignore_patterns("__pycache__", "data", "*.md"))
    done = _lint(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    return copy


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("labqdl/optics/planted.py", "import labqdl.protocol", "Floors"),
        ("labqdl/optics/planted.py", "import time", "Numerics stay pure"),
        ("labqdl/dsp/planted.py", "import pathlib", "Numerics stay pure"),
        ("labqdl/protocol/client.py", "import labqdl.security", "The two parties"),
        ("labqdl/facts/planted.py", "import labqdl.config", "Floors"),
        ("labqdl/cellar.py", "", "Floors"),
        ("sim_instruments/labqdl_sim/planted.py", "import labqdl_drivers", "Simulated instruments"),
        ("sim_instruments/labqdl_sim/planted.py", "import labqdl.protocol", "Simulated instruments"),
        ("drivers/labqdl_drivers/planted.py", "import labqdl.records", "Drivers"),
    ],
)
def test_a_planted_violation_is_caught(tree: Path, file: str, line: str, contract: str) -> None:
    target = tree / file
    before = target.read_text(encoding="utf-8") if target.exists() else None
    target.write_text(f"{before or ''}\n{line}\n", encoding="utf-8")
    try:
        done = _lint(tree)
    finally:
        if before is None:
            target.unlink()
        else:
            target.write_text(before, encoding="utf-8")
    assert done.returncode != 0
    broken = [line for line in done.stdout.splitlines() if " BROKEN" in line]
    assert any(line.startswith(contract) for line in broken), done.stdout + done.stderr
