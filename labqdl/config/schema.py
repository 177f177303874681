"""What a table of a file may hold: declared once, checked by it, documented from it.

A `Section` lists `Field`s and sub-sections. `Section.read` turns a document into plain validated mappings (every
declared key is there, absent ones hold their default), `Section.markdown` into the table of keys in the
documentation and `Section.json_schema` into a JSON Schema for editors, so that they cannot disagree.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from labqdl.config.document import Document
from labqdl.config.locate import KeyPath, dotted
from labqdl.config.quantities import Dimension, parse_quantity
from labqdl.errors import InputError


class Kind(Enum):
    """Types of plain values; a field that carries a unit has a `Dimension` instead."""

    TEXT = "text"
    INTEGER = "a whole number"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    TEXTS = "a list of texts"
    VALUE = "text, a number, or true or false"
    """What somebody else than the schema understands, such as a quantity whose unit the driver declares."""


@dataclass(frozen=True, slots=True)
class Field:
    """One key.

    Attributes
    ----------
    name:
        The key.
    kind:
        Type of a plain value, or the dimension of a quantity.
    doc:
        What it means, one sentence without a full stop.
    default:
        Value where the key is absent (None: not given).
    required:
        Whether the key must be there.
    minimum, maximum:
        Inclusive limits, in the stored unit.
    above, below:
        Exclusive limits, in the stored unit.
    choices:
        The texts that are allowed; empty for any.
    numbered:
        Whether a number may follow a choice behind a colon, ``cloner:0.1``; its meaning and range are the reader's.
    """

    name: str
    kind: Kind | Dimension
    doc: str
    default: str | float | bool | None = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    numbered: bool = False

    def check(
        self, value: object, *, source: str | None = None, key: str | None = None, line: int | None = None
    ) -> Any:
        """The validated value of this field: str, int, float or bool as its kind says (quantities: float).

        Raises
        ------
        InputError
            For a wrong type, unit or choice, NaN, infinity, and what is out of range.
        """
        place: dict[str, Any] = {"source": source, "key": self.name if key is None else key, "line": line}
        if isinstance(self.kind, Dimension):
            quantity = parse_quantity(value, self.kind, **place)
            return self._in_range(quantity, value, place)
        if self.kind is Kind.BOOLEAN:
            if not isinstance(value, bool):
                raise InputError(f"{_shown(value)} is {_type(value)}", **place, expected=self.kind.value)
            return value
        if self.kind is Kind.TEXT:
            return self._text(value, place)
        if self.kind is Kind.TEXTS:
            return self._texts(value, place)
        if self.kind is Kind.VALUE and isinstance(value, str | bool | int):
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{_shown(value)} is {_type(value)}", **place, expected=self.expected)
        if self.kind is Kind.INTEGER:
            if not isinstance(value, int):
                raise InputError(f"{value!r} is not whole", **place, expected=self.expected)
            return self._in_range(value, value, place)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise InputError(f"{_shown(value)} is not a finite number", **place, expected=self.expected)
        return self._in_range(number, value, place)

    def from_text(self, text: str, *, source: str | None = None) -> Any:
        """The validated value of an option's text, as a command line hands it over: ``4``, ``0.2 dB``, ``true``.

        Raises
        ------
        InputError
            As `check`; `source` names the option.
        """
        value: object = text
        if self.kind is Kind.BOOLEAN:
            value = {"true": True, "false": False}.get(text.strip().lower(), text)
        elif self.kind in (Kind.INTEGER, Kind.NUMBER):
            for convert in (int, float):
                try:
                    value = convert(text)
                    break
                except ValueError:
                    continue
        return self.check(value, source=source)

    @property
    def expected(self) -> str:
        """What would be right, in words."""
        if self.choices:
            text = "one of " + ", ".join(f'"{choice}"' for choice in self.choices)
            return f'{text}, or with a number as in "{self.choices[-1]}:0.1"' if self.numbered else text
        limits = self.limits
        text = self.kind.words if isinstance(self.kind, Dimension) else self.kind.value
        return f"{text} {limits}" if limits else text

    @property
    def limits(self) -> str:
        """The range in words; empty without limits."""
        unit = f" {self.kind.stored}" if isinstance(self.kind, Dimension) and self.kind.stored != "1" else ""
        parts = []
        if self.minimum is not None:
            parts.append(f">= {self.minimum:g}{unit}")
        if self.above is not None:
            parts.append(f"> {self.above:g}{unit}")
        if self.maximum is not None:
            parts.append(f"<= {self.maximum:g}{unit}")
        if self.below is not None:
            parts.append(f"< {self.below:g}{unit}")
        return " and ".join(parts)

    def _text(self, value: object, place: dict[str, Any]) -> str:
        if not isinstance(value, str):
            raise InputError(f"{_shown(value)} is {_type(value)}", **place, expected=self.expected)
        if not value.strip():
            raise InputError("is empty", **place, expected=self.expected)
        name, colon, number = value.partition(":") if self.numbered else (value, "", "")
        if self.choices and name not in self.choices:
            hint = did_you_mean(name, self.choices)
            raise InputError(f"{_shown(value)} is not known", **place, expected=self.expected, hint=hint)
        if colon and not _is_number(number):
            raise InputError(f"{_shown(value)} has no number behind the colon", **place, expected=self.expected)
        return value

    def _texts(self, value: object, place: dict[str, Any]) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise InputError(f"{_shown(value)} is {_type(value)}", **place, expected=self.expected)
        for item in value:
            if not isinstance(item, str) or not item.strip():
                raise InputError(f"{_shown(item)} in it is no text", **place, expected=self.expected)
        return tuple(value)

    def json_schema(self) -> dict[str, Any]:
        """The key as JSON Schema; what it cannot say (the range of a quantity) stands in the description."""
        schema: dict[str, Any] = {"description": f"{self.doc}: {self.expected}"}
        if self.default is not None:
            schema["default"] = self.default
        if isinstance(self.kind, Dimension):
            units = "|".join(re.escape(unit).replace("u", "[u\u00b5\u03bc]", 1) for unit in self.kind.units)
            text = {"type": "string", "pattern": rf"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*({units})\s*$"}
            return schema | ({"anyOf": [text, {"type": "number"}]} if self.kind.plain else text)
        if self.kind is Kind.TEXTS:
            return schema | {"type": "array", "items": {"type": "string", "minLength": 1}}
        if self.kind is Kind.VALUE:
            return schema | {"type": ["string", "number", "boolean"]}
        names = {Kind.TEXT: "string", Kind.INTEGER: "integer", Kind.NUMBER: "number", Kind.BOOLEAN: "boolean"}
        schema["type"] = names[self.kind]
        if self.choices and not self.numbered:
            schema["enum"] = list(self.choices)
        limits = {
            "minimum": self.minimum,
            "maximum": self.maximum,
            "exclusiveMinimum": self.above,
            "exclusiveMaximum": self.below,
        }
        return schema | {word: limit for word, limit in limits.items() if limit is not None}

    def _in_range(self, number: float, given: object, place: dict[str, Any]) -> float:
        outside = (
            (self.minimum is not None and number < self.minimum)
            or (self.maximum is not None and number > self.maximum)
            or (self.above is not None and number <= self.above)
            or (self.below is not None and number >= self.below)
        )
        if outside:
            raise InputError(f"{_shown(given)} is out of range", **place, expected=self.expected)
        return number


@dataclass(frozen=True, slots=True)
class Section:
    """One table, one array of tables (`repeated`), or tables whose names the file chooses (`named`).

    An absent sub-section reads as None, an absent repeated one as an empty list, absent named ones and an absent
    free one as an empty mapping.

    Attributes
    ----------
    name, doc:
        The table, and what it holds, one sentence without a full stop.
    fields, sections:
        Its keys and its sub-tables.
    repeated, required:
        Whether it is an array of tables; whether it must be there.
    named:
        What the names of the tables in it stand for, in capitals for the documentation ("NAME"); None: one table.
    free:
        What every key is that is not declared; None: there are no such keys.
    """

    name: str
    doc: str
    fields: tuple[Field, ...] = ()
    sections: tuple[Section, ...] = ()
    repeated: bool = False
    required: bool = False
    named: str | None = None
    free: Field | None = None

    def __getitem__(self, name: str) -> Field:
        """The field of this name."""
        for entry in self.fields:
            if entry.name == name:
                return entry
        raise KeyError(name)

    def read(self, document: Document, problems: list[InputError] | None = None) -> dict[str, Any]:
        """The document, checked against this section as its top table.

        Parameters
        ----------
        document:
            What was read.
        problems:
            A list that takes every mistake; a value with a mistake then reads as its default, a table as absent.
            None: the first mistake is raised.

        Raises
        ------
        InputError
            For the first mistake, with its file, line and key, where there is no list for it.
        """
        return self._read(document, document.table, (), problems)

    def _read(
        self, document: Document, table: Mapping[str, Any], path: KeyPath, problems: list[InputError] | None
    ) -> dict[str, Any]:
        known = [*(entry.name for entry in self.fields), *(section.name for section in self.sections)]
        result: dict[str, Any] = {}
        for name in table:
            if name in known:
                continue
            place = (*path, name)
            if self.free is not None:
                result[name] = self._value(document, self.free, table[name], place, problems)
                continue
            error = InputError(
                "is not a known key",
                source=document.source,
                key=dotted(place),
                line=document.line(place),
                expected=f"one of {', '.join(known)}",
                hint=did_you_mean(name, known),
            )
            _report(error, problems)
        for entry in self.fields:
            place = (*path, entry.name)
            if entry.name in table:
                result[entry.name] = self._value(document, entry, table[entry.name], place, problems)
            else:
                if entry.required:
                    _report(_missing(document, place, entry.expected), problems)
                result[entry.name] = entry.default
        for section in self.sections:
            place = (*path, section.name)
            if section.name in table:
                result[section.name] = section._nested(document, table[section.name], place, problems)
            else:
                if section.required:
                    _report(_missing(document, place, section.header), problems)
                result[section.name] = section._absent
        return result

    @staticmethod
    def _value(
        document: Document, entry: Field, value: object, place: KeyPath, problems: list[InputError] | None
    ) -> Any:
        try:
            return entry.check(value, source=document.source, key=dotted(place), line=document.line(place))
        except InputError as error:
            _report(error, problems)
            return entry.default

    @property
    def _absent(self) -> dict[str, Any] | list[dict[str, Any]] | None:
        if self.repeated:
            return []
        return {} if self.named or self.free else None

    def _nested(
        self, document: Document, value: object, path: KeyPath, problems: list[InputError] | None
    ) -> dict[str, Any] | list[dict[str, Any]] | None:
        if not isinstance(value, list if self.repeated else dict):
            _report(self._no_table(document, value, path), problems)
            return self._absent
        if isinstance(value, list):
            tables = [self._table(document, item, (*path, index), problems) for index, item in enumerate(value)]
            return [table for table in tables if table is not None]
        assert isinstance(value, dict)
        if self.named:
            named = {name: self._table(document, item, (*path, name), problems) for name, item in value.items()}
            return {name: table for name, table in named.items() if table is not None}
        return self._table(document, value, path, problems)

    def _table(
        self, document: Document, value: object, path: KeyPath, problems: list[InputError] | None
    ) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            _report(self._no_table(document, value, path), problems)
            return None
        return self._read(document, value, path, problems)

    def _no_table(self, document: Document, value: object, path: KeyPath) -> InputError:
        return InputError(
            f"{_shown(value)} is {_type(value)}",
            source=document.source,
            key=dotted(path),
            line=document.line(path),
            expected=self.header,
        )

    @property
    def header(self) -> str:
        """How the section is opened in a file."""
        if self.named:
            return f"tables [{self.name}.{self.named}]"
        return f"a table [[{self.name}]]" if self.repeated else f"a table [{self.name}]"

    def markdown(self, above: str = "") -> str:
        """Documentation of every key, as Markdown tables; sub-sections follow their table.

        `above` is the name of the table that this one stands in, with the full stop behind it.
        """
        name = f"{above}{self.name}.{self.named}" if self.named else f"{above}{self.name}"
        brackets = ("[[", "]]") if self.repeated else ("[", "]")
        blocks = [f"### `{brackets[0]}{name}{brackets[1]}`\n\n{self.doc}."] if self.name else [f"{self.doc}."]
        if self.fields or self.free:
            rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
            rows += [self._row(entry) for entry in self.fields]
            if self.free is not None:
                rows.append(self._row(self.free))
            blocks.append("\n".join(rows))
        blocks += [section.markdown(f"{name}." if name else "").rstrip("\n") for section in self.sections]
        return "\n\n".join(blocks) + "\n"

    def json_schema(self) -> dict[str, Any]:
        """The section as a JSON Schema, for editors that complete and check TOML."""
        properties = {entry.name: entry.json_schema() for entry in self.fields}
        properties |= {section.name: section.json_schema() for section in self.sections}
        table: dict[str, Any] = {"type": "object", "properties": properties}
        needed = [entry.name for entry in self.fields if entry.required]
        needed += [section.name for section in self.sections if section.required]
        if needed:
            table["required"] = needed
        table["additionalProperties"] = False if self.free is None else self.free.json_schema()
        if self.repeated:
            return {"description": self.doc, "type": "array", "items": table}
        if self.named:
            return {"description": self.doc, "type": "object", "additionalProperties": table}
        return {"description": self.doc} | table

    @staticmethod
    def _row(entry: Field) -> str:
        if entry.required:
            default = "required"
        elif entry.default is None:
            default = "not given"
        else:
            text = str(entry.default).lower() if isinstance(entry.default, bool) else f"{entry.default}"
            default = f"`{text}`"
        value = entry.expected.replace("|", "\\|")
        if isinstance(entry.kind, Dimension):
            value += f" (units: {', '.join(entry.kind.units)})"
        return f"| `{entry.name}` | {value} | {default} | {entry.doc} |"


def read_choice(value: str, choices: Iterable[str], *, source: str | None = None, what: str) -> str:
    """A name out of a list that is only known at run time (shipped links, models).

    Raises
    ------
    InputError
        For any other name; says what is close and what there is.
    """
    names = sorted(choices)
    if value in names:
        return value
    raise InputError(
        f"there is no {what} {_shown(value)}",
        source=source,
        expected=f"one of {', '.join(names)}",
        hint=did_you_mean(value, names),
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _report(error: InputError, problems: list[InputError] | None) -> None:
    if problems is None:
        raise error from None
    problems.append(error)


def _missing(document: Document, path: KeyPath, expected: str) -> InputError:
    return InputError(
        "is missing", source=document.source, key=dotted(path), line=document.line(path[:-1]), expected=expected
    )


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The sentence that names the nearest of the known names; None where none is near."""
    folded = {candidate.lower().replace("_", "-"): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower().replace("_", "-"), folded, n=1)
    return f"Did you mean '{folded[close[0]]}'?" if close else None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "a table"),
)


def _type(value: object) -> str:
    for kind, name in _TYPES:
        if isinstance(value, kind):
            return name
    return "a date or time"
