"""Places that a command will write to: looked at before the work begins, which may take long."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from pathlib import Path

from labqdl.errors import InputError


def file_place(
    path: str | Path, option: str | None = None, *, endings: Collection[str] = (), overwrite: bool = True
) -> Path:
    """The path, if a file can be written there; afterwards nothing has changed.

    Parameters
    ----------
    path:
        Where to.
    option:
        What names the path on the command line.
    endings:
        In one of which the name has to end, if any are given.
    overwrite:
        Whether a file of that name may be replaced.

    Raises
    ------
    InputError
        For another ending, a folder, a file that is there, a folder that is not there, and where writing is refused.
    """
    target = Path(path)
    if endings and target.suffix.lower() not in endings:
        raise InputError(f"'{path}'", source=option, expected="a file that ends in " + ", ".join(endings))
    if target.is_dir():
        raise InputError("is a folder", source=target, expected="a file")
    if not target.parent.is_dir():
        raise InputError(f"folder '{target.parent}' does not exist", source=target)
    exists = target.exists()
    if exists and not overwrite:
        raise InputError("this place is taken", source=target, hint="Choose another name, or give --overwrite")
    try:
        os.close(os.open(target, os.O_WRONLY | (0 if exists else os.O_CREAT | os.O_EXCL)))
        if not exists:
            target.unlink()
    except OSError as error:
        raise cannot_write(target, error) from None
    return target


def folder_place(path: str | Path, option: str) -> Path:
    """The path, if a folder is there or can be made and files can be written into it; nothing is made.

    Parameters
    ----------
    path:
        Where to.
    option:
        What chooses another place on the command line.

    Raises
    ------
    InputError
        Where a file is in the way, and where writing is refused.
    """
    target = Path(path)
    hint = f"Choose another place with {option}"
    nearest = next(place for place in (target, *target.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise InputError(f"'{nearest}' is a file", source=target, expected="a folder", hint=hint)
    try:
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise cannot_write(target, error, hint) from None
    return target


def model_place(path: str | Path) -> Path:
    """The path without the ending of a model's files, if both can be written there.

    Raises
    ------
    InputError
        As `file_place`.
    """
    target = Path(path)
    if target.suffix in (".safetensors", ".json"):
        target = target.with_suffix("")
    if not target.name or target.is_dir():
        raise InputError(f"'{path}' is no name of a file", expected="a path that ends in a name")
    for suffix in (".safetensors", ".json"):
        file_place(target.with_name(target.name + suffix))
    return target


def write_text(path: Path, text: str) -> Path:
    """Write a file as UTF-8 with plain line ends; InputError where it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise cannot_write(path, error) from None
    return path


def cannot_write(path: Path, error: OSError, hint: str | None = None) -> InputError:
    """What the machine says, with the place."""
    return InputError(f"cannot be written: {error.strerror or error}", source=path, hint=hint)
