"""Kinds of SCPI arguments: how a value is read from a program message and how it is shown in a reply."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from labqdl_sim.tokens import block
from labqdl_sim.tree import keyword_forms

if TYPE_CHECKING:
    from labqdl_sim.scpi import ScpiTwin

T = TypeVar("T")

_NUMBER = re.compile(rb"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+))?[ \t]*([A-Za-z%][A-Za-z0-9/%]*)?$")
_RADIX = {b"#H": 16, b"#Q": 8, b"#B": 2}
_PREFIXES = {"EX": 18, "PE": 15, "T": 12, "G": 9, "MA": 6, "K": 3, "M": -3, "U": -6, "N": -9, "P": -12, "F": -15}

Limits = tuple[float, float] | Callable[..., tuple[float, float]]
"""(lowest, highest), or a function of (twin, *suffixes) that gives them."""


def scientific(value: float) -> str:
    """A number with a sign and three digits of exponent, as several makers show it: `+1.55000000E-006`."""
    mantissa, exponent = f"{value:+.8E}".split("E")
    return f"{mantissa}E{int(exponent):+04d}"


class ScpiError(Exception):
    """Raised by a command: goes into the error queue, with `detail` behind the standard text ("text; detail")."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class Kind(Generic[T]):
    """A kind of argument; subclass it for what a sheet has of its own."""

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> T:
        """The value of one argument (ScpiError when it is none)."""
        raise NotImplementedError

    def show(self, twin: ScpiTwin, value: T) -> str | bytes:
        """The value in a reply."""
        return str(value)

    def extreme(self, twin: ScpiTwin, which: str, *suffixes: int) -> T:
        """Value of MIN or MAX (ScpiError -224 where there is none)."""
        raise ScpiError(-224)


class Number(Kind[float]):
    """A decimal number with an optional unit suffix.

    `unit`: what bare numbers are in, with its prefix ("NM", "DBM", "S", "HZ"; "" takes no suffix). `limits`: beyond
    them -222. `show` formats it; default: the twin's `number`.
    """

    def __init__(
        self, unit: str = "", limits: Limits | None = None, show: Callable[[float], str] | None = None
    ) -> None:
        self.unit = unit.upper()
        self.limits = limits
        self._show = show
        self._base, self._power = _split_unit(self.unit)

    def bounds(self, twin: ScpiTwin, *suffixes: int) -> tuple[float, float]:
        """Lowest and highest value."""
        if self.limits is None:
            return -math.inf, math.inf
        return self.limits(twin, *suffixes) if callable(self.limits) else self.limits

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> float:
        """The value of one argument."""
        value = self._read(token)
        low, high = self.bounds(twin, *suffixes)
        if not low <= value <= high:
            raise ScpiError(-222)
        return value

    def _read(self, token: bytes) -> float:
        match = _NUMBER.match(token)
        if match is None:
            base = _RADIX.get(token[:2].upper())
            if base is not None:
                try:
                    return float(int(token[2:], base))
                except ValueError:
                    raise ScpiError(-120) from None
                except OverflowError:
                    raise ScpiError(-222) from None
            word = token.upper()
            if word in (b"INF", b"INFINITY", b"+INF"):
                return math.inf
            if word in (b"NINF", b"NINFINITY", b"-INF"):
                return -math.inf
            raise ScpiError(-120 if token[:1] in b"+-.0123456789" and token else -104)
        mantissa, exponent, suffix = match.groups()
        if len(exponent or b"") > 6 or abs(int(exponent or 0)) > 32000:
            raise ScpiError(-123)
        power = int(exponent or 0)
        if suffix:
            return self._with_unit(mantissa.decode(), power, suffix.decode().upper())
        return float(f"{mantissa.decode()}e{power}")

    def _with_unit(self, mantissa: str, power: int, suffix: str) -> float:
        if not self.unit:
            raise ScpiError(-138)
        if suffix == self.unit:
            return float(f"{mantissa}e{power}")
        if suffix == "DBM" and self._base == "W":
            level = float(f"{mantissa}e{power}") / 10 - 3 - self._power
            if level > 300:
                raise ScpiError(-222)
            return float(10**level)
        base, prefix = _split_unit(suffix)
        if base == "W" and self.unit == "DBM":
            watts = float(f"{mantissa}e{power + prefix}")
            if watts <= 0:
                raise ScpiError(-222)
            return 10 * math.log10(watts) + 30
        if base != self._base:
            raise ScpiError(-131)
        return float(f"{mantissa}e{power + prefix - self._power}")

    def show(self, twin: ScpiTwin, value: float) -> str:
        """The value in a reply."""
        return self._show(value) if self._show is not None else twin.number(value)

    def extreme(self, twin: ScpiTwin, which: str, *suffixes: int) -> float:
        """Value of MIN or MAX."""
        bound = self.bounds(twin, *suffixes)[which == "MAX"]
        if math.isinf(bound):
            raise ScpiError(-224)
        return bound


_UNITS = ("DBM", "DB", "HZ", "OHM", "DEG", "PCT", "%", "V", "W", "A", "S", "M", "C", "F", "SA/S", "VPP", "VRMS", "UI")


def _split_unit(suffix: str) -> tuple[str, int]:
    """Base unit and power of ten of a suffix: ("M", -9) of "NM"; MHZ and MOHM are mega."""
    if suffix in _UNITS or not suffix:
        return suffix, 0
    for unit in sorted(_UNITS, key=len, reverse=True):
        if suffix.endswith(unit):
            prefix = suffix[: -len(unit)]
            if prefix == "M" and unit in ("HZ", "OHM"):
                return unit, 6
            if prefix in _PREFIXES:
                return unit, _PREFIXES[prefix]
    return suffix, 0


class Integer(Kind[int]):
    """A whole number; 4.0 and 4E0 are whole, fractions are rounded."""

    def __init__(self, limits: Limits | None = None, show: Callable[[int], str] | None = None) -> None:
        self._number = Number("", limits)
        self._show = show

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> int:
        """The value of one argument."""
        value = self._number.parse(twin, token, *suffixes)
        if math.isinf(value):
            raise ScpiError(-222)
        return round(value)

    def show(self, twin: ScpiTwin, value: int) -> str:
        """The value in a reply."""
        return self._show(value) if self._show is not None else twin.integer(value)

    def extreme(self, twin: ScpiTwin, which: str, *suffixes: int) -> int:
        """Value of MIN or MAX."""
        return int(self._number.extreme(twin, which, *suffixes))


class Boolean(Kind[bool]):
    """ON, OFF or a number (0 is off); `words` are its replies for off and on."""

    def __init__(self, words: tuple[str, str] = ("0", "1")) -> None:
        self._words = words

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> bool:
        """The value of one argument."""
        word = token.upper()
        if word in (b"ON", b"1"):
            return True
        if word in (b"OFF", b"0"):
            return False
        match = _NUMBER.match(token)
        if match is None or match[3]:
            raise ScpiError(-104 if token[:1] in b"\"'#" else -224)
        return abs(Number().parse(twin, token)) > 0.5

    def show(self, twin: ScpiTwin, value: bool) -> str:
        """The value in a reply."""
        return self._words[bool(value)]


class Choice(Kind[str]):
    """One of several words in manual notation; the value is the short form in capitals, e.g. "SQU" of "SQUare".

    `long` replies with the long form, `as_written` with the word as it stands in the pattern.
    """

    def __init__(self, *words: str, long: bool = False, as_written: bool = False) -> None:
        self._forms: dict[bytes, str] = {}
        self._replies: dict[str, str] = {}
        for word in words:
            short, full = (word, word) if word[0].isdigit() else keyword_forms(word)
            self._forms[short.encode()] = self._forms[full.encode()] = short
            self._replies[short] = word if as_written else full if long else short

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> str:
        """The value of one argument."""
        found = self._forms.get(token.upper())
        if found is None:
            raise ScpiError(-104 if token[:1] in b"\"'#" else -224)
        return found

    def show(self, twin: ScpiTwin, value: str) -> str:
        """The value in a reply."""
        return self._replies.get(value, value)


class Text(Kind[str]):
    """A quoted string; the reply is quoted too unless `bare`. `lenient` takes unquoted words as well."""

    def __init__(self, *, bare: bool = False, lenient: bool = False) -> None:
        self._bare = bare
        self._lenient = lenient

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> str:
        """The value of one argument."""
        quote = token[:1]
        if quote not in (b'"', b"'"):
            if self._lenient and token:
                return token.decode("latin-1")
            raise ScpiError(-104)
        if len(token) < 2 or token[-1:] != quote:
            raise ScpiError(-151)
        return token[1:-1].replace(quote + quote, quote).decode("latin-1")

    def show(self, twin: ScpiTwin, value: str) -> str:
        """The value in a reply."""
        return value if self._bare else '"' + value.replace('"', '""') + '"'


class Word(Kind[str]):
    """Any unquoted word (a name, a channel list); shown as it is."""

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> str:
        """The value of one argument."""
        if token[:1] in b"\"'#":
            raise ScpiError(-104)
        return token.decode("latin-1")


class Block(Kind[bytes]):
    """An IEEE 488.2 block, definite (#216...) or up to the end of the message (#0...)."""

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> bytes:
        """The value of one argument."""
        if token[:1] != b"#":
            raise ScpiError(-104)
        if token[1:2] == b"0":
            return token[2:]
        digits = token[1:2]
        if not digits.isdigit() or not token[2 : 2 + int(digits)].isdigit():
            raise ScpiError(-161)
        start = 2 + int(digits)
        if len(token) - start != int(token[2:start]):
            raise ScpiError(-161)
        return token[start:]

    def show(self, twin: ScpiTwin, value: bytes) -> bytes:
        """The value in a reply."""
        return block(value)


class Raw(Kind[bytes]):
    """The argument as it came: for commands that take one of several kinds."""

    def parse(self, twin: ScpiTwin, token: bytes, *suffixes: int) -> bytes:
        """The value of one argument."""
        return token

    def show(self, twin: ScpiTwin, value: bytes) -> bytes:
        """The value in a reply."""
        return value


class Many(Kind[Any]):
    """As the last of a command's kinds: all remaining arguments, handed over one by one."""

    def __init__(self, kind: Kind[Any]) -> None:
        self.kind = kind
