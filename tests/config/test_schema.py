from __future__ import annotations

import contextlib
import datetime
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.config.document import MAXIMUM_BYTES, load, parse
from labqdl.config.quantities import LOSS
from labqdl.config.schema import Field, Kind, Section, read_choice
from labqdl.errors import InputError

SECTION = Section(
    "",
    "An example",
    fields=(
        Field("name", Kind.TEXT, "A name", required=True),
        Field("count", Kind.INTEGER, "How many", default=3, minimum=1, maximum=10),
        Field("factor", Kind.NUMBER, "A factor", above=0.0, below=2.0),
        Field("loss", LOSS, "A loss", minimum=0.0),
        Field("on", Kind.BOOLEAN, "Whether", default=False),
        Field("colour", Kind.TEXT, "Which", default="red", choices=("red", "green")),
        Field("client", Kind.TEXT, "Who", choices=("honest", "cloner"), numbered=True),
    ),
    sections=(
        Section("part", "A part", (Field("size", Kind.NUMBER, "Size", required=True),)),
        Section("item", "An item", (Field("n", Kind.INTEGER, "Number"),), repeated=True),
    ),
)


def _read(text: str, section: Section = SECTION) -> dict[str, Any]:
    return section.read(parse(text.encode(), source="file.toml"))


def test_a_table_reads_as_plain_values_with_defaults() -> None:
    assert _read('name = "a"\nfactor = 1\nloss = "3 dB"\n[[item]]\nn = 1\n[[item]]\n') == {
        "name": "a",
        "count": 3,
        "factor": 1.0,
        "loss": 3.0,
        "on": False,
        "colour": "red",
        "client": None,
        "part": None,
        "item": [{"n": 1}, {"n": None}],
    }


@pytest.mark.parametrize(
    ("text", "line", "key", "fragments"),
    [
        ('name = "a"\n\ncoumt = 3\n', 3, "coumt", ["not a known key", "Did you mean 'count'?", "expected one of name"]),
        ('name = "a"\nzzzz = 3\n', 2, "zzzz", ["not a known key"]),
        ("count = 3\n", 1, "name", ["is missing"]),
        ('name = "a"\n[part]\n', 2, "part.size", ["is missing", "a number"]),
        ("name = 3\n", 1, "name", ["3 is a whole number", "expected text"]),
        ('name = " "\n', 1, "name", ["is empty"]),
        ('name = "a"\ncount = "3"\n', 2, "count", ["'3' is text", "a whole number >= 1 and <= 10"]),
        ('name = "a"\ncount = 3.0\n', 2, "count", ["3.0 is not whole"]),
        ('name = "a"\ncount = true\n', 2, "count", ["True is true or false", "a whole number"]),
        ('name = "a"\ncount = 0\n', 2, "count", ["0 is out of range"]),
        ('name = "a"\ncount = 11\n', 2, "count", ["11 is out of range"]),
        ('name = "a"\nfactor = 0\n', 2, "factor", ["0 is out of range", "> 0 and < 2"]),
        ('name = "a"\nfactor = 2.0\n', 2, "factor", ["2.0 is out of range"]),
        ('name = "a"\nfactor = nan\n', 2, "factor", ["nan is not a finite number"]),
        ('name = "a"\nfactor = -inf\n', 2, "factor", ["-inf is not a finite number"]),
        ('name = "a"\nfactor = 1' + "0" * 400, 2, "factor", ["not a finite number", "..."]),
        ('name = "a"\nfactor = true\n', 2, "factor", ["True is true or false"]),
        ('name = "a"\nfactor = 2024-01-01\n', 2, "factor", ["a date or time"]),
        ('name = "a"\nfactor = [1]\n', 2, "factor", ["[1] is a list"]),
        ('name = "a"\nloss = 3\n', 2, "loss", ["3 has no unit", 'such as "0.25 dB"']),
        ('name = "a"\nloss = "-1 dB"\n', 2, "loss", ["'-1 dB' is out of range", ">= 0 dB"]),
        ('name = "a"\non = 1\n', 2, "on", ["1 is a whole number", "true or false"]),
        ('name = "a"\ncolour = "grene"\n', 2, "colour", ["Did you mean 'green'?", 'one of "red", "green"']),
        ('name = "a"\nclient = "clner:1"\n', 2, "client", ["Did you mean 'cloner'?", '"cloner:0.1"']),
        ('name = "a"\nclient = "cloner:"\n', 2, "client", ["'cloner:' has no number behind the colon"]),
        ('name = "a"\nclient = "cloner:nan"\n', 2, "client", ["no number behind the colon"]),
        ('name = "a"\npart = 3\n', 2, "part", ["3 is a whole number", "a table [part]"]),
        ('name = "a"\nitem = 3\n', 2, "item", ["a table [[item]]"]),
        ('name = "a"\nitem = [\n  3,\n]\n', 3, "item[1]", ["3 is a whole number"]),
        ('name = "a"\n[item]\nn = 1\n', 2, "item", ["is a table", "a table [[item]]"]),
        ('name = "a"\n[[item]]\n[[item]]\nn = "x"\n', 4, "item[2].n", ["'x' is text"]),
        ('name = "a"\n[[item]]\n"m m" = 1\n', 3, 'item[1]."m m"', ["not a known key"]),
    ],
)
def test_mistakes_name_file_line_key_and_what_was_expected(
    text: str, line: int, key: str, fragments: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        _read(text)
    error = caught.value
    assert (error.source, error.line, error.key) == ("file.toml", line, key)
    assert error.expected
    for fragment in fragments:
        assert fragment in str(error)


def test_a_required_section_is_missed() -> None:
    section = Section("", "Top", sections=(Section("part", "A part", required=True),))
    with pytest.raises(InputError, match=r"key 'part': is missing; expected a table \[part\]"):
        _read("", section)


@pytest.mark.parametrize(
    ("raw", "line", "fragment"),
    [
        (b'name = "a"\nx = \n', 2, "not valid TOML"),
        (b'name = "a"\nx = 3 dB\n', 2, "Text and quantities stand in quotes"),
        (b'name = "a"\n\nx = [1,\n', 3, "not valid TOML"),
        (b"a = 1\na = 2\n", 2, "not valid TOML"),
        (b'name = "a"\nx = "\xff"\n', 2, "not UTF-8 text (byte 0xff)"),
        (b"x = " + b"[" * 100_000, None, "nested too deeply"),
    ],
)
def test_what_is_no_toml_names_the_line(raw: bytes, line: int | None, fragment: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(raw, source="file.toml")
    assert caught.value.line == line
    assert fragment in str(caught.value)


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert parse(b'\xef\xbb\xbfname = "a"', source="f").table == {"name": "a"}


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(InputError, match="is a directory"):
        load(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        load("a\0b")
    big = tmp_path / "big.toml"
    with big.open("wb") as stream:
        stream.truncate(MAXIMUM_BYTES + 1)
    with pytest.raises(InputError, match="is larger than 16 MiB"):
        load(big)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.toml").touch()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"a\.toml: cannot be read \(Permission denied\)"):
        load(os.fspath(tmp_path / "a.toml"))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("client", "cloner:0.1", "cloner:0.1"),
        ("count", "4", 4),
        ("factor", "0.5", 0.5),
        ("factor", "1", 1.0),
        ("loss", "3 dB", 3.0),
        ("on", "True", True),
    ],
)
def test_an_option_reads_like_a_key(name: str, text: str, expected: object) -> None:
    assert SECTION[name].from_text(text, source="--x") == expected


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(InputError, match=r"--count: key 'count': 'four' is text; expected a whole number"):
        SECTION["count"].from_text("four", source="--count")
    with pytest.raises(InputError, match="nan is not a finite number"):
        SECTION["factor"].from_text("nan", source="--factor")
    with pytest.raises(InputError, match="'maybe' is text"):
        SECTION["on"].from_text("maybe")
    with pytest.raises(KeyError):
        SECTION["nothing"]


def test_a_name_out_of_a_list() -> None:
    assert read_choice("b", ["a", "b"], what="model") == "b"
    with pytest.raises(InputError, match=r"--model: there is no model 'mnist'.*one of mnist-plain.*'mnist-plain'"):
        read_choice("mnist", ["mnist-plain", "other"], what="model", source="--model")


def test_every_key_is_documented() -> None:
    text = SECTION.markdown()
    for name in ("name", "count", "factor", "loss", "on", "colour", "size", "n"):
        assert f"| `{name}` |" in text
    assert "| `name` | text | required | A name |" in text
    assert "| `count` | a whole number >= 1 and <= 10 | `3` | How many |" in text
    assert "| `factor` | a number > 0 and < 2 | not given | A factor |" in text
    assert "(units: dB) | not given | A loss |" in text
    assert "| `on` | true or false | `false` | Whether |" in text
    assert "### `[part]`" in text
    assert "### `[[item]]`" in text


TABLES = st.dictionaries(
    st.sampled_from(["name", "count", "factor", "loss", "on", "colour", "part", "item", "x"]),
    st.one_of(
        st.none(),
        st.integers(),
        st.floats(),
        st.booleans(),
        st.text(max_size=5),
        st.dates(),
        st.just(datetime.time(1)),
        st.lists(st.integers() | st.dictionaries(st.just("n"), st.integers(), max_size=1), max_size=2),
        st.dictionaries(st.sampled_from(["size", "n"]), st.floats(), max_size=2),
    ),
)


@given(TABLES)
def test_any_table_reads_or_is_an_input_error(table: dict[str, Any]) -> None:
    document = parse(b"", source="file.toml")
    document.table.update(table)
    with contextlib.suppress(InputError):
        values = SECTION.read(document)
        assert set(values) == {"name", "count", "factor", "loss", "on", "colour", "client", "part", "item"}
