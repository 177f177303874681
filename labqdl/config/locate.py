"""On which line every key of a TOML text stands.

The standard library's parser gives values without positions. This module walks the same text once more and records
positions only; it relies on the text being valid TOML (parse it first).

A key's place is a path of names and array indices (from 0): the `loss` of the second `[[component]]` table is
``("component", 1, "loss")``.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

KeyPath = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_FILLER = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\r\n]+")
_STRINGS = (
    re.compile(r'"""(?:\\.|[^\\])*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\])*"'),
    re.compile(r"'[^']*'"),
)


class _Walker:
    """One pass over a text; `lines` fills as it goes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[KeyPath, int] = {(): 1}
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._tables: dict[KeyPath, int] = {}

    def walk(self) -> None:
        """Visit every header and every key."""
        current: KeyPath = ()
        self._match(_FILLER)
        while self.position < len(self.text):
            start = self.position
            if self.text.startswith("[[", start):
                self.position += 2
                current = self._next_table(self._dotted_key())
                self._skip("]]")
                self._set(current, start)
                self.lines.setdefault(current[:-1], self._line(start))
            elif self.text.startswith("[", start):
                self.position += 1
                current = self._resolve(self._dotted_key())
                self._skip("]")
                self._set(current, start)
            else:
                self._assignment(current)
            self._match(_FILLER)

    def _assignment(self, table: KeyPath) -> None:
        start = self.position
        path = table + self._dotted_key()
        self._skip("=")
        self._set(path, start)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._match(_SPACE)
        opener = self.text[self.position]
        if opener == "[":
            self._items(path, "]")
        elif opener == "{":
            self._items(path, "}")
        elif not self._string():
            self._match(_SCALAR)

    def _items(self, path: KeyPath, closer: str) -> None:
        """Contents of an array or of an inline table."""
        self.position += 1
        index = 0
        self._match(_FILLER)
        while self.text[self.position] != closer:
            if closer == "}":
                self._assignment(path)
            else:
                self._set((*path, index), self.position)
                self._value((*path, index))
            index += 1
            self._match(_FILLER)
            if self.text[self.position] == ",":
                self.position += 1
                self._match(_FILLER)
        self.position += 1

    def _dotted_key(self) -> tuple[str, ...]:
        parts = [self._key_part()]
        while self.text[self.position] == ".":
            self.position += 1
            parts.append(self._key_part())
        return tuple(parts)

    def _key_part(self) -> str:
        """One name, bare or quoted, with the white space around it."""
        self._match(_SPACE)
        bare = _BARE.match(self.text, self.position)
        if bare:
            self.position = bare.end()
            name = bare.group()
        else:
            start = self.position
            if not self._string():
                raise ValueError(f"not valid TOML: a key was expected on line {self._line(start)}")
            # The standard parser knows the escapes; it has accepted this key before.
            name = next(iter(tomllib.loads(f"{self.text[start : self.position]} = 0")))
        self._match(_SPACE)
        return name

    def _string(self) -> bool:
        for pattern in _STRINGS:
            match = pattern.match(self.text, self.position)
            if match:
                self.position = match.end()
                return True
        return False

    def _resolve(self, names: tuple[str, ...]) -> KeyPath:
        """Path of a header: a name that is an array of tables means its newest table."""
        path: KeyPath = ()
        for name in names:
            path = (*path, name)
            if path in self._tables:
                path = (*path, self._tables[path] - 1)
        return path

    def _next_table(self, names: tuple[str, ...]) -> KeyPath:
        path = (*self._resolve(names[:-1]), names[-1])
        index = self._tables.get(path, 0)
        self._tables[path] = index + 1
        return (*path, index)

    def _set(self, path: KeyPath, position: int) -> None:
        """Record a path where it is written, and the tables above it where they are first seen."""
        line = self._line(position)
        self.lines[path] = line
        for length in range(1, len(path)):
            self.lines.setdefault(path[:length], line)

    def _skip(self, token: str) -> None:
        if not self.text.startswith(token, self.position):
            raise ValueError(f"not valid TOML: {token!r} was expected on line {self._line(self.position)}")
        self.position += len(token)

    def _match(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.position)
        if match:
            self.position = match.end()

    def _line(self, position: int) -> int:
        # Newline characters before the position.
        return bisect_right(self._newlines, position - 1) + 1


def locate(text: str) -> dict[KeyPath, int]:
    """Line (1-based) of every key, table, array element and inline key of a valid TOML text.

    The empty path is line 1. A table that is only implied by its children stands where the first of them does.
    """
    walker = _Walker(text)
    walker.walk()
    return walker.lines


def dotted(path: KeyPath) -> str:
    """A path as people read it: ``component[2].loss``, where array elements count from 1."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            name = part if _BARE.fullmatch(part) else f'"{part}"'
            text += f".{name}" if text else name
    return text
