"""A TOML file with the position of every key."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labqdl.config.locate import KeyPath, dotted, locate
from labqdl.errors import InputError

MAXIMUM_BYTES = 16 * 1024 * 1024
"""No file that a person writes is larger; what is larger is not what was meant."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says and where it says it.

    Attributes
    ----------
    source:
        The file, as messages name it.
    table:
        The parsed content.
    lines:
        Line (1-based) of every path of names and array indices.
    """

    source: str
    table: dict[str, Any]
    lines: dict[KeyPath, int] = field(repr=False)

    def line(self, path: KeyPath) -> int | None:
        """Line of a path, or of the nearest table above it that the file holds; None for a document without lines."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    def wrong(self, path: KeyPath, problem: str, *, expected: str | None = None, hint: str | None = None) -> InputError:
        """A mistake at a path, to be raised."""
        return InputError(
            problem, source=self.source, key=dotted(path), line=self.line(path), expected=expected, hint=hint
        )


def load(path: str | Path) -> Document:
    """Read a TOML file.

    Raises
    ------
    InputError
        For a file that is missing, is a directory, cannot be read, is not UTF-8, or is not TOML (with the line).
    """
    source = Path(path)
    try:
        if source.is_dir():
            raise InputError("is a directory", source=source, expected="a TOML file")
        with source.open("rb") as stream:
            raw = stream.read(MAXIMUM_BYTES + 1)
    except FileNotFoundError:
        raise InputError("there is no such file", source=source, expected="a TOML file") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot be read ({reason})", source=source) from None
    if len(raw) > MAXIMUM_BYTES:
        raise InputError(f"is larger than {MAXIMUM_BYTES // 2**20} MiB", source=source, expected="a TOML file")
    return parse(raw, source=str(source))


def parse(raw: bytes, *, source: str) -> Document:
    """The document in these bytes; `source` names them in messages. A byte-order mark is accepted.

    Raises
    ------
    InputError
        For bytes that are not UTF-8 or not TOML, with the line.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"is not UTF-8 text (byte 0x{raw[error.start]:02x})",
            source=source,
            line=raw.count(b"\n", 0, error.start) + 1,
            hint="Save it again with the encoding UTF-8",
        ) from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, source) from None
    except RecursionError:
        raise InputError("is nested too deeply", source=source, expected="plain tables") from None
    return Document(source=source, table=table, lines=locate(text))


def _syntax_error(message: str, text: str, source: str) -> InputError:
    place = re.search(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$", message)
    line = None
    if place:
        message = message[: place.start()]
        # The end of the document is the last line that has something on it.
        line = int(place.group(1)) if place.group(1) else text.rstrip().count("\n") + 1
    return InputError(
        f"is not valid TOML: {message[:1].lower()}{message[1:]}",
        source=source,
        line=line,
        hint='Text and quantities stand in quotes (loss = "0.25 dB"), plain numbers do not',
    )
