"""The line locator against files whose lines were counted while they were written."""

from __future__ import annotations

import json
import string
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.config.locate import KeyPath, dotted, locate

EXAMPLE = '''# a comment with [brackets] and = signs
title = "one"   # trailing

[owner]
name = "x"
"quoted key" = 1
'literal.key' = 2
a.b.c = 3
text = """
[not.a.table]
key = "not a key"
escaped \\""" still text"""
raw = \'\'\'
x = 1
\'\'\'
when = 1979-05-27 07:32:00

[[component]]
name = "first"
point = { mu = 4, deep = { gain = 2 } }
list = [
    1,   # one, two ]
    [2, "],"],
]

[[component]]
name = "second"
  [component.part]
  size = 1
  [[component.items]]
  n = 1
  [[component.items]]
  n = 2

[late.table]
[late]
after = """"quotes"""""
last = 1
'''


def test_every_kind_of_key_has_its_line() -> None:
    tomllib.loads(EXAMPLE)
    lines = locate(EXAMPLE)
    assert lines[()] == 1
    assert lines[("title",)] == 2
    assert lines[("owner",)] == 4
    assert lines[("owner", "name")] == 5
    assert lines[("owner", "quoted key")] == 6
    assert lines[("owner", "literal.key")] == 7
    assert lines[("owner", "a", "b", "c")] == 8
    assert lines[("owner", "a")] == 8
    assert lines[("owner", "text")] == 9
    assert lines[("owner", "raw")] == 13
    assert lines[("owner", "when")] == 16
    assert lines[("component",)] == lines[("component", 0)] == 18
    assert lines[("component", 0, "point")] == 20
    assert lines[("component", 0, "point", "deep", "gain")] == 20
    assert lines[("component", 0, "list", 0)] == 22
    assert lines[("component", 0, "list", 1, 1)] == 23
    assert lines[("component", 1)] == 26
    assert lines[("component", 1, "name")] == 27
    assert lines[("component", 1, "part", "size")] == 29
    assert lines[("component", 1, "items", 1)] == 32
    assert lines[("component", 1, "items", 1, "n")] == 33
    assert lines[("late", "table")] == 35
    assert lines[("late",)] == 36
    assert lines[("late", "after")] == 37
    assert lines[("late", "last")] == 38
    assert not any("not" in str(part) for path in lines for part in path)


def test_windows_line_ends_count_once() -> None:
    assert locate(EXAMPLE.replace("\n", "\r\n")) == locate(EXAMPLE)


def test_text_that_is_no_toml_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2"):
        locate("a = 1\n= 2\n")
    with pytest.raises(ValueError, match="'=' was expected on line 1"):
        locate("a 1\n")


def test_paths_are_written_for_people() -> None:
    assert dotted(("component", 1, "loss")) == "component[2].loss"
    assert dotted(("a", "b c", 0)) == 'a."b c"[1]'


def _paths(value: object, path: KeyPath = ()) -> set[KeyPath]:
    found = {path}
    if isinstance(value, dict):
        for name, item in value.items():
            found |= _paths(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found |= _paths(item, (*path, index))
    return found


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=5)
STRINGS = st.text(st.sampled_from(string.ascii_letters + "\"'[]{}=,#\\\n .é"), max_size=8)
SCALARS = st.one_of(st.integers(-(2**60), 2**60), st.booleans(), STRINGS, st.dates())
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(NAMES, children, max_size=3),
    max_leaves=6,
)


def _key(name: str) -> str:
    bare = name and all(letter in string.ascii_letters + string.digits + "_-" for letter in name)
    return name if bare else _quoted(name)


def _quoted(text: str) -> str:
    """A TOML basic string: as JSON's, but DEL is escaped and the rest of Unicode stands for itself."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _write(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return "[" + ", ".join(_write(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(name)} = {_write(item)}" for name, item in value.items()) + "}"
    return str(value)


@given(tables=st.lists(st.dictionaries(NAMES, VALUES, max_size=4), min_size=1, max_size=4), gap=st.integers(0, 2))
def test_random_documents(tables: list[dict[str, Any]], gap: int) -> None:
    """What was written where is found there, and no path is missed or invented."""
    text = ""
    expected: dict[KeyPath, int] = {}
    for index, table in enumerate(tables):
        text += "\n# [[entry]] = 1\n" * gap
        expected["entry", index] = text.count("\n") + 1
        text += "[[ entry ]]\n"
        for name, value in table.items():
            expected["entry", index, name] = text.count("\n") + 1
            text += f"{_key(name)} = {_write(value)}  # comment = 1\n"
    parsed = tomllib.loads(text)
    lines = locate(text)
    assert set(lines) == _paths(parsed)
    for path, line in expected.items():
        assert lines[path] == line
