"""Where messages, units and arguments of IEEE 488.2 text end: quoted strings and blocks are skipped first."""

from __future__ import annotations

import re
from functools import lru_cache

_STARTS = b" ,\t:"  # what may stand before the # of a block


@lru_cache(maxsize=64)
def _specials(stops: bytes) -> re.Pattern[bytes]:
    return re.compile(b"[\"'#" + re.escape(stops) + b"]")


def find_stop(text: bytes | bytearray, start: int, stops: bytes) -> tuple[int, int, int]:
    """The first of `stops` behind `start` that is in no string and no block.

    Returns
    -------
    stop, resume, needed:
        Index of the stop, or -1 when there is none yet; then `resume` is where to look on once more bytes are there,
        and `needed` the length before which looking again is in vain (0: unknown).
    """
    pattern = _specials(stops)
    size = len(text)
    while True:
        match = pattern.search(text, start)
        if match is None:
            return -1, size, 0
        at = match.start()
        special = text[at]
        if special == 0x23:  # '#'
            if at and text[at - 1] not in _STARTS:
                start = at + 1
                continue
            if at + 1 >= size:
                return -1, at, 0
            digits = text[at + 1] - 0x30
            if not 1 <= digits <= 9:
                start = at + 1
                continue
            head = at + 2 + digits
            if head > size:
                if not bytes(text[at + 2 :]).isdigit() and size > at + 2:
                    start = at + 2
                    continue
                return -1, at, head
            count = bytes(text[at + 2 : head])
            if not count.isdigit():
                start = at + 2
                continue
            start = head + int(count)
            if start > size:
                return -1, at, start
        elif special in b"\"'" and special not in stops:
            closing = text.find(text[at : at + 1], at + 1)
            if closing < 0:
                return -1, at, 0
            start = closing + 1
        else:
            return at, at, 0


def divide(text: bytes, stop: bytes) -> list[bytes]:
    """The pieces between the stops outside of strings and blocks; what is never closed belongs to the last piece."""
    if b"#" not in text and b'"' not in text and b"'" not in text:
        return text.split(stop)
    pieces = []
    begin = 0
    while True:
        at, _, _ = find_stop(text, begin, stop) if begin == 0 else _shifted(text, begin, stop)
        if at < 0:
            pieces.append(text[begin:] if begin else text)
            return pieces
        pieces.append(text[begin:at])
        begin = at + 1


def trim(token: bytes) -> bytes:
    """An argument without the white space around it; that inside of a block stays."""
    token = token.lstrip()
    digits = token[1:2]
    if token[:1] == b"#" and digits.isdigit() and digits != b"0" and token[2 : 2 + int(digits)].isdigit():
        stop = 2 + int(digits) + int(token[2 : 2 + int(digits)])
        return token[:stop] if not token[stop:].strip() else token
    return token.rstrip()


def _shifted(text: bytes, begin: int, stop: bytes) -> tuple[int, int, int]:
    """`find_stop` behind a stop: a # right behind it starts a block."""
    if text[begin : begin + 1] != b"#":
        return find_stop(text, begin, stop)
    at, resume, needed = find_stop(text[begin:], 0, stop)
    return (at + begin if at >= 0 else -1), resume + begin, needed


def block(data: bytes | bytearray | memoryview, digits: int | None = None) -> bytes:
    """A definite-length block; `digits` fixes how many digits the length has (some instruments always send 8)."""
    count = str(len(data)) if digits is None else str(len(data)).zfill(digits)
    return b"".join((b"#", str(len(count)).encode(), count.encode(), data))
