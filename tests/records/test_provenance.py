from __future__ import annotations

import hashlib
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

import labqdl
from labqdl.errors import InputError
from labqdl.records import provenance
from labqdl.records.encoding import plain


def test_everything_is_plain_and_there(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"weights")
    found = provenance.collect({"model": model})
    assert plain(found) == found
    assert found["labqdl"] == labqdl.__version__
    assert found["numpy"] == np.__version__
    assert found["cpu_count"] >= 1
    assert found["files"] == {"model": {"sha256": hashlib.sha256(b"weights").hexdigest(), "bytes": 7}}
    assert {"python", "implementation", "scipy", "platform", "machine", "blas", "commit"} <= set(found)
    assert provenance.collect()["files"] == {}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.npz: cannot be read"):
        provenance.collect({"model": tmp_path / "model.npz"})


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert provenance.commit(tmp_path) is None
    (tmp_path / ".git").mkdir()
    assert provenance.commit(tmp_path) is None  # git itself refuses, or is not installed
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.commit(tmp_path) is None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_with_git(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-q", "-m", "first", "--no-verify")
    assert provenance.commit(tmp_path) == {"id": git("rev-parse", "HEAD"), "changed": False}
    (tmp_path / "a").write_text("2")
    assert provenance.commit(tmp_path) == {"id": git("rev-parse", "HEAD"), "changed": True}


def test_builds_that_do_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "show_config", lambda mode: {"Build Dependencies": {}})
    assert provenance.blas() is None
    monkeypatch.setattr(np, "show_config", lambda mode: {"Build Dependencies": {"blas": {"name": "x", "version": "1"}}})
    assert provenance.blas() == "x 1"


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(provenance, "version", missing)
    assert provenance.collect()["scipy"] is None
