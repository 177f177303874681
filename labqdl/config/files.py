"""Files that a person hands over: their bytes, and the JSON in them, or an `InputError` that names the file."""

from __future__ import annotations

import json
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from labqdl.errors import InputError


def read_bytes(path: Path | Traversable, *, expected: str | None = None, hint: str | None = None) -> bytes:
    """Content of a file.

    Parameters
    ----------
    path:
        The file.
    expected, hint:
        What to say where it does not exist.

    Raises
    ------
    InputError
        For a file that is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError("there is no such file", source=str(path), expected=expected, hint=hint) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", source=str(path)) from None


def parse_json(content: bytes, *, source: str | Path) -> Any:
    """The value that JSON text says; `source` names it in messages.

    Raises
    ------
    InputError
        For bytes that are no UTF-8, no JSON (with the line), or nested too deeply.
    """
    try:
        return json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"no UTF-8 text: {error.reason} at byte {error.start}", source=source) from None
    except json.JSONDecodeError as error:
        raise InputError(f"no JSON: {error.msg}", source=source, line=error.lineno) from None
    except RecursionError:
        raise InputError("no JSON that can be read: nested too deeply", source=source) from None
