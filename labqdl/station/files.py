"""Writing station files that do not exist yet."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from labqdl.config.schema import did_you_mean
from labqdl.config.station import find_station_file, shipped_stations
from labqdl.errors import InputError


def template() -> str:
    """The commented station file that ships, to begin with."""
    return (files("labqdl") / "data" / "station-template.toml").read_text(encoding="utf-8")


def template_of(name: str) -> str:
    """A station that ships for real instruments: profile bench, and a line for each resource that is missing.

    Raises
    ------
    InputError
        Where no station of that name ships.
    """
    if name not in shipped_stations():
        raise InputError(
            f"no station {name!r} ships",
            expected=", ".join(shipped_stations()),
            hint=did_you_mean(name, shipped_stations()),
        )
    lines: list[str] = []
    missing = False
    for line in find_station_file(name).read_text(encoding="utf-8").splitlines():
        if missing and line.startswith("resource"):
            missing = False
        elif missing and not line.strip():
            lines.append('# resource = "..."          # put in where it stands; labqdl init finds what answers')
            missing = False
        if line.startswith("[instruments."):
            missing = True
        if line.startswith("resource"):
            line += "  # put in your own"
        lines.append('profile = "bench"' if line == 'profile = "sim"' else line)
    return "\n".join(lines) + "\n"


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
