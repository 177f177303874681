"""What made a result: versions, platform, linear algebra library, commit, digests of the files that went in."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import labqdl
from labqdl.errors import InputError

_GIT_SECONDS = 10.0


def collect(files: Mapping[str, str | Path] | None = None) -> dict[str, Any]:
    """Plain object for a manifest.

    Parameters
    ----------
    files:
        Name to path of model and data files; each gets its SHA-256 digest and size.

    Raises
    ------
    InputError
        Where one of the files cannot be read.
    """
    return {
        "labqdl": labqdl.__version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "numpy": np.__version__,
        "scipy": _version("scipy"),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "blas": blas(),
        "commit": commit(Path(labqdl.__file__).resolve().parent.parent),
        "files": {name: {"sha256": digest(path), "bytes": Path(path).stat().st_size} for name, path in files.items()}
        if files
        else {},
    }


def digest(path: str | Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits; InputError where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", source=path) from error


def blas() -> str | None:
    """Name and version of the linear algebra library that numpy was built with; None where it does not tell."""
    built: Any = np.show_config(mode="dicts")
    try:
        library = built["Build Dependencies"]["blas"]
        return f"{library['name']} {library['version']}"
    except (KeyError, TypeError):
        return None


def commit(checkout: Path) -> dict[str, Any] | None:
    """Commit of a git checkout and whether tracked files differ from it; None where there is no git to ask."""
    # Only a folder that is itself a checkout: an installed labqdl may lie inside of somebody else's.
    if not (checkout / ".git").exists():
        return None
    head = _git(checkout, "rev-parse", "HEAD")
    changes = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    if head is None or changes is None:
        return None
    return {"id": head.strip(), "changed": bool(changes.strip())}


def _git(checkout: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(checkout), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
