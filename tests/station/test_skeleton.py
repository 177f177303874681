"""The skeleton of a driver: whatever role it plays, its own tests pass from the first minute on."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import labqdl.instruments as roles
from labqdl.cli.root import run
from labqdl.errors import InputError
from labqdl.station.skeleton import ROLES, skeleton, write_skeleton


def test_the_tests_of_every_role_pass(tmp_path: Path) -> None:
    folders = [write_skeleton(f"my-{role.lower()}", role, folder=tmp_path / role) for role in ROLES]
    paths = os.pathsep.join(map(str, folders))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--import-mode=importlib", *map(str, folders)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    for test in ("every_quantity_is_declared", "the_driver_on_the_twin", "the_promises_of_the_class"):
        assert done.stdout.count(f"::test_{test} PASSED") == len(ROLES)


def test_every_class_has_a_skeleton() -> None:
    classes = [one for one in vars(roles).values() if isinstance(one, type) and issubclass(one, roles.Instrument)]
    assert set(ROLES) == {one.__name__ for one in classes} - {"Instrument"}


@pytest.mark.parametrize("role", ROLES)
def test_what_is_written_is_python(role: str) -> None:
    for path, text in skeleton("a-b2", role).items():
        assert max(map(len, text.splitlines())) <= 120
        if path.endswith(".py"):
            ast.parse(text)
    assert 'a-b2 = "a_b2.driver:AB2"' in skeleton("a-b2", role)["pyproject.toml"]


def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("", "My", "a_b", "a b", "1a", "a--b", "../a"):
        with pytest.raises(InputError, match="is no name for a driver"):
            skeleton(name)
    with pytest.raises(InputError, match="is no name for a driver"):
        skeleton("class")
    for name in ("json", "tests", "labqdl"):
        with pytest.raises(InputError, match=f"there is a Python package '{name}' already.*such as my-{name}"):
            skeleton(name)
    with pytest.raises(InputError, match="there is a driver 'santec-tsl' already"):
        skeleton("santec-tsl")
    with pytest.raises(InputError, match=r"no skeleton for 'Toaster'.*one of Attenuator, BiasController"):
        skeleton("a-b", "Toaster")
    monkeypatch.chdir(tmp_path)
    assert run(["drivers", "new", "my-voa"]) == 0
    assert (tmp_path / "my-voa" / "my_voa" / "driver.py").exists()
    before = (tmp_path / "my-voa" / "my_voa" / "driver.py").read_bytes()
    assert run(["drivers", "new", "my-voa", "--class", "Laser"]) == 2
    assert "there is such a folder already" in capsys.readouterr().err
    assert (tmp_path / "my-voa" / "my_voa" / "driver.py").read_bytes() == before
    assert len((tmp_path / "my-voa" / "README.md").read_text(encoding="utf-8").splitlines()) <= 10
