"""Whatever bytes come, a twin does not break, and listens afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from labqdl.clock import ManualClock
from labqdl_sim.bench import Bench
from labqdl_sim.scpi import ScpiTwin
from labqdl_sim.twin import registry
from tests.sim.benches import Bed

SCRAPS = [
    b"*IDN?", b"*RST", b";", b":", b"\n", b"\r\n", b" ", b",", b"?", b"#", b"#15", b"#0", b"#H1F", b'"', b"'", b"1E9",
    b"-1", b"1E400", b"NAN", b"MAX", b"DEF", b"DBM", b"SYST:ERR?", b"SOUR", b"SOUR1:POW", b"OUTP", b"MODE", b"READ?",
    b"\x00", b"\xff", b"\x0d", b"\x0a", b"\x5e", b"\x00\x31\x03\xe8", b"S 1",
]  # fmt: skip


def torment(name: str, count: int) -> None:
    """Half random bytes, half scraps of commands in a random order."""
    clock = ManualClock()
    twin = Bench(seed=4, clock=clock).add(Bed if name == "bed" else name, "victim")
    generator = np.random.Generator(np.random.SFC64(11))
    session = twin.connect()
    for index in range(count):
        length = int(generator.integers(1, 12))
        scraps = [SCRAPS[k] for k in generator.integers(0, len(SCRAPS), length)]
        session.feed(generator.bytes(length) if index % 2 else b"".join(scraps), end=index % 7 == 0)
        if index % 50 == 0:
            session.clear()
            clock.advance(10.0)
    session.close()
    if isinstance(twin, ScpiTwin):
        fresh = twin.connect()
        fresh.feed(b"*IDN?" + twin.terminators[:1], end=True)
        assert twin.identity().encode() in fresh.replies[0].data


@pytest.mark.parametrize("name", ["bed", *registry()])
def test_any_bytes(name: str) -> None:
    torment(name, 600)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["bed", *registry()])
def test_a_million_strings(name: str) -> None:
    torment(name, 1_000_000)
