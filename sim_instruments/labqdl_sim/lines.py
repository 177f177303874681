"""Twins that speak lines of text which are not SCPI: other rules for headers, replies to sets, echo and prompt.

    class Switch(LineTwin):
        reply_terminator = b"\\r\\n"

        @line("S {n:int}")
        def select(self, n: int) -> None: ...

        @line("S?")
        def state(self) -> int: ...

A template is literal text with fields `{name:kind}`; kinds: int, float, word (no blank), text (the rest), hex. White
space in it stands for any amount, also none before a field. With `keywords = True` words in manual notation match in
short and long form (`MZM:MODe: {n:int}`). A handler gets its fields by name and returns str, bytes, int or float for
a reply, None for the twin's `accepted` answer. `raise Refusal("Err: Data out of range")` replies with that text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from labqdl_sim.tree import keyword_forms
from labqdl_sim.twin import Session, Twin

F = TypeVar("F", bound=Callable[..., Any])

_FIELD = re.compile(r"\{(\w+)(?::(int|float|word|text|hex))?\}")
_KINDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "int": (r"[+-]?\d+", int),
    "float": (r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", float),
    "word": (r"[^\s,]+", str),
    "text": (r".*", str),
    "hex": (r"[0-9A-Fa-f]+", lambda digits: int(digits, 16)),
}
_KEYWORD = re.compile(r"[A-Z][A-Z0-9_]*[a-z][A-Za-z0-9_]*")


class Refusal(Exception):
    """Raised by a handler: the instrument answers with this text instead of a value; None: it says nothing."""

    def __init__(self, text: str | None) -> None:
        super().__init__(text)
        self.text = text


def line(*templates: str) -> Callable[[F], F]:
    """Declare a method as the handler of lines that match one of the templates."""

    def decorate(function: F) -> F:
        function._lines = [*getattr(function, "_lines", []), *templates]  # type: ignore[attr-defined]
        return function

    return decorate


def compile_template(template: str, keywords: bool, ignore_case: bool) -> tuple[re.Pattern[str], dict[str, Any]]:
    """Regular expression of a template and the converters of its fields."""
    expression: list[str] = []
    converters: dict[str, Any] = {}
    position = 0
    for match in [*_FIELD.finditer(template), None]:
        literal = template[position : match.start() if match else len(template)]
        expression.append(_literal(literal, keywords, followed=match is not None))
        if match:
            pattern, converters[match[1]] = _KINDS[match[2] or "word"]
            expression.append(f"(?P<{match[1]}>{pattern})")
            position = match.end()
    return re.compile("".join(expression), re.IGNORECASE if ignore_case else 0), converters


def _literal(text: str, keywords: bool, followed: bool) -> str:
    pieces = re.split(r"(\s+)", text)
    last = len(pieces) - 1
    made = []
    for index, piece in enumerate(pieces):
        if piece.isspace():
            end = index == last or (index == last - 1 and not pieces[last])
            made.append(r"\s*" if followed and end else r"\s+")
            continue
        position = 0
        for match in _KEYWORD.finditer(piece) if keywords else ():
            short, long = keyword_forms(match.group())
            made.append(re.escape(piece[position : match.start()]) + f"(?:{long}|{short})")
            position = match.end()
        made.append(re.escape(piece[position:]))
    return "".join(made)


class LineTwin(Twin):
    """Base of instruments with a text dialect of their own.

    Class attributes
    ----------------
    terminators:
        Bytes of which each ends a line; empty lines are ignored.
    reply_terminator:
        End of a reply.
    accepted:
        Answer to a line whose handler returned None; None: no answer.
    unknown:
        Answer to a line that matches nothing; None: silence. Override `not_understood` for more.
    echo, prompt:
        The line comes back with its terminator before the reply; the prompt comes behind every line.
    keywords, ignore_case:
        Manual notation in templates; letters in any case.
    line_limit:
        Longer lines overrun the input buffer: they are dropped without an answer.
    """

    roads = ("serial",)
    terminators: bytes = b"\n\r"
    reply_terminator: bytes = b"\r\n"
    accepted: str | None = None
    unknown: str | None = None
    echo: bool = False
    prompt: bytes = b""
    keywords: bool = False
    ignore_case: bool = True
    line_limit: int = 4000

    _table: ClassVar[list[tuple[re.Pattern[str], dict[str, Any], str]]] = []

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        handlers: dict[str, str] = {}
        for base in reversed(cls.__mro__):
            for name, member in vars(base).items():
                for template in getattr(member, "_lines", ()) if callable(member) else ():
                    handlers[template] = name
        cls._table = [
            (*compile_template(template, cls.keywords, cls.ignore_case), name) for template, name in handlers.items()
        ]
        cls._table.sort(key=lambda entry: len(entry[1]))  # literal lines before those with fields

    def number(self, value: float) -> str:
        """How numbers are shown."""
        return f"{value:.6e}"

    def not_understood(self, text: str) -> str | None:
        """Answer to a line that matches nothing."""
        return self.unknown

    def split(self, session: Session, end: bool) -> bytes | None:
        """The next complete message."""
        buffer = session.buffer
        while buffer:
            at = min((i for i in (buffer.find(bytes([stop])) for stop in self.terminators) if i >= 0), default=-1)
            if at < 0 and not end:
                if len(buffer) > 2 * self.line_limit:
                    del buffer[self.line_limit + 1 : -1]  # too long already, and still so when its end comes
                return None
            size = len(buffer) if at < 0 else at
            message = bytes(buffer[: size + 1])
            del buffer[: size + 1]
            if message.strip() and len(message) <= self.line_limit + 1:
                return message
        return None

    def execute(self, message: bytes) -> bytes | None:
        """Carry out one message."""
        text = message.decode("latin-1").strip()
        answer = self.answer(text)
        reply = b"" if answer is None else answer + self.reply_terminator
        if self.echo:
            reply = message + reply
        reply += self.prompt
        return reply or None

    def answer(self, text: str) -> bytes | None:
        """Reply to one line, without terminator; None for none."""
        for pattern, converters, name in self._table:
            match = pattern.fullmatch(text)
            if match is None:
                continue
            values = {key: converters[key](value) for key, value in match.groupdict().items()}
            try:
                return self.render(getattr(self, name)(**values))
            except Refusal as refusal:
                return None if refusal.text is None else refusal.text.encode("latin-1")
        return self._text(self.not_understood(text))

    def render(self, answer: Any) -> bytes | None:
        """What a handler returned, as bytes."""
        if answer is None:
            return self._text(self.accepted)
        if isinstance(answer, bytes):
            return answer
        if isinstance(answer, bool):
            return b"1" if answer else b"0"
        if isinstance(answer, float):
            return self.number(answer).encode()
        return str(answer).encode("latin-1")

    def _text(self, text: str | None) -> bytes | None:
        return None if text is None else text.encode("latin-1")
