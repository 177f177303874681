"""The wheel works alone: built, installed into an empty environment with its dependencies only, and run there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

pytestmark = pytest.mark.wheel

TOP = Path(__file__).resolve().parents[2]
PACKAGES = {"labqdl", "labqdl_drivers", "labqdl_sim", "labqdl_calibration", "pyvisa_labqdl"}
UNDECIDED = 4


def _run(*command: str | Path, cwd: Path, allowed: tuple[int, ...] = (0,)) -> str:
    """Standard output of a command that sees nothing of this checkout."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUTF8": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode in allowed, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, TOP, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the commands of an empty environment with the wheel in it."""
    home = tmp_path_factory.mktemp("empty")
    venv.create(home, with_pip=True)
    folder = home / ("Scripts" if sys.platform == "win32" else "bin")
    _run(
        folder / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "-c",
        TOP / "constraints.txt",
        wheel,
        cwd=home,
    )
    return folder


def test_top_level_names(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == PACKAGES
    assert len(names) == len(PACKAGES) + 1


def test_data_licence_and_types_travel_inside(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "labqdl/py.typed" in names
    assert "labqdl/data/links/ideal.toml" in names
    for end in ("licenses/LICENSE", "licenses/NOTICE"):
        assert any(name.endswith(f".dist-info/{end}") for name in names)
    assert not any(name.startswith("tests/") or "__pycache__" in name for name in names)


def test_the_command_runs_there(scripts: Path, tmp_path: Path) -> None:
    where = _run(scripts / "python", "-c", "import labqdl; print(labqdl.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(scripts.parent)
    assert "mnist-robust" in _run(scripts / "labqdl", "models", cwd=tmp_path)
    out = _run(scripts / "labqdl", "run", "--images", "100", "--json", cwd=tmp_path, allowed=(0, UNDECIDED))
    result = json.loads(out)
    assert result["images"] == 100
    assert result["accuracy"] > 0.85
    assert (tmp_path / result["run"]).is_dir()


def test_only_runtime_dependencies_came_along(scripts: Path, tmp_path: Path) -> None:
    listed = json.loads(_run(scripts / "python", "-m", "pip", "list", "--format=json", cwd=tmp_path))
    names = {entry["name"].lower() for entry in listed}
    assert {"labqdl", "numpy", "scipy"} <= names
    assert not names & {"pytest", "mypy", "sphinx", "jax", "scikit-learn", "hypothesis"}
