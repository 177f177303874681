"""Writing station files that do not exist yet."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from labqdl.errors import InputError


def template() -> str:
    """The commented station file that ships, to begin with."""
    return (files("labqdl") / "data" / "station-template.toml").read_text(encoding="utf-8")


def write_new(path: str | Path, text: str, *, force: bool = False) -> Path:
    """Write a file that is not there yet; `force` replaces one that is.

    Raises
    ------
    InputError
        Where it is there, or cannot be written.
    """
    target = Path(path)
    try:
        with target.open("w" if force else "x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except FileExistsError:
        raise InputError("there is such a file already", source=target, hint="--force replaces it") from None
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", source=target) from None
    return target
