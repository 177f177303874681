"""Any bytes at all into the parsers of this room: a reply, a wait for more, or an error of ours."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from labqdl.errors import InputError
from labqdl.transport import Fixed, Line, ProtocolError, block_header, parse, readable
from labqdl.transport.framing import Framing

FRAMINGS: tuple[Framing, ...] = (
    Line(),
    Line(b"\r\n"),
    Line(b"\r", prompt=b"> "),
    Line(b"\r", echo=True, prompt=b"> "),
    Line(blocks=False),
    Fixed(6),
)
ALPHABET = np.frombuffer(b"#0123456789\r\n> aT:PI\x00\xff", np.uint8)


def feed(seed: int, count: int) -> int:
    """How many of `count` random strings were whole replies."""
    random = np.random.default_rng(seed)
    whole = 0
    lengths = random.integers(0, 24, count)
    letters = ALPHABET[random.integers(0, len(ALPHABET), int(lengths.sum()))].tobytes()
    start = 0
    for number, length in enumerate(lengths.tolist()):
        data = letters[start : start + length]
        start += length
        framing = FRAMINGS[number % len(FRAMINGS)]
        try:
            size = framing.complete(data)
            if size is not None:
                assert 0 < size <= len(data)
                assert len(framing.unwrap(data[:size])) <= size
                whole += 1
        except ProtocolError:
            pass
        try:
            header = block_header(data)
            assert header is None or header[0] <= len(data)
        except ProtocolError:
            pass
        if number % 8 == 0:
            with suppress(InputError):
                parse(readable(data))
    return whole


def test_any_bytes() -> None:
    assert 500 < feed(1, 5000) < 5000


@pytest.mark.soak
def test_a_million_of_any_bytes() -> None:
    assert feed(2, 1_000_000) > 100_000
