"""What physics does to a run on loop-32: each fault ends in a verdict, in a shot that is sent again, or in a safe stop.

Expected, by hand before the code; a fault comes behind the first block of three. "abort": the server's tests decide,
since a client who cheats could have done the same to the light. "stop": a person has to look at the part that is named.
"retry": the shot is recorded as an incident and sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from labqdl.subsystems.bench_link import BACK, FORWARD
from tests.subsystems.benches import Small
from tests.wire.benches import DARK_WITHIN, performed

SHORT = 13.0
"""s of the instruments' time: longer than a receiver waits for its lock, shorter than twice that."""


@dataclass(frozen=True)
class Fault:
    """What happens to a part of the world, or to the instrument of that name, and what becomes of the run.

    `figures`: faults or parameters of the part; `effect`: of the instrument; `lasts`: s, None for ever; `kind`: abort,
    stop, retry or nothing; `parts`: one of them is named; `test`: one of those that fail.
    """

    part: str
    figures: tuple[tuple[str, float], ...]
    kind: str
    parts: frozenset[str] = frozenset()
    test: str = ""
    effect: str = ""
    lasts: float | None = None
    soak: bool = False


def fault(part: str, kind: str, *parts: str, test: str = "", effect: str = "", lasts: float | None = None,
          soak: bool = False, **figures: float) -> Fault:  # fmt: skip
    """A line of the table."""
    return Fault(part, tuple(figures.items()), kind, frozenset(parts), test, effect, lasts, soak)


FAULTS = {
    # Lasers. Light and local oscillators lose alike: the vacuum of both receivers shows it.
    "mode hop": fault("laser", "stop", "lock_s", "lock_c", soak=True, mode_hop=1e9),
    "power drop": fault("laser", "stop", "laser", soak=True, power_drop_db=3.0),
    "laser off": fault("laser", "stop", "laser", soak=True, off=1.0),
    # Locks: once is sent again, for ever is a matter for a person.
    "lock slips once": fault("lock_s", "retry", "lock_s", effect="slip", lasts=SHORT),
    "lock slips": fault("lock_s", "stop", "lock_s", effect="slip", soak=True),
    "client's lock slips": fault("lock_c", "stop", "lock_c", effect="slip", soak=True),
    # Light that comes another way, or less of it: as from a client that keeps some.
    "polarisation jumps": fault("fibre_back", "abort", test="gain", polarisation_jump=2.0),
    "polarisation jumps before the client": fault("fibre_out", "abort", test="gain", soak=True, polarisation_jump=2.0),
    "bend": fault("fibre_out", "abort", test="gain", soak=True, excess_db=3.0),
    "attenuator": fault("voa", "abort", test="gain", soak=True, excess_db=10.0),
    # Fibres that break. No lock holds without light.
    "fibre breaks": fault("fibre_out", "stop", FORWARD, "lock_c", broken=1.0),
    "fibre back breaks": fault("fibre_back", "stop", BACK, "lock_s", soak=True, broken=1.0),
    "client's local oscillator breaks": fault("fibre_lo", "stop", "reader", soak=True, broken=1.0),
    "server's local oscillator breaks": fault("delay_s", "stop", "verifier", soak=True, broken=1.0),
    # Receivers that saturate lose the noise of vacuum; digitizers that clip say so.
    "saturation": fault("bhd_s", "stop", "verifier", soak=True, saturation=1e-4),
    "clipping": fault("bhd_s", "stop", "dig_s", transimpedance=2e6),
    "client's clipping": fault("tap", "stop", "dig_c", soak=True, density=1e-4),
    # Shutters: shut, no light comes; open, nothing changes while they are to be open, and the laser goes off.
    "gate stuck shut": fault("gate_c", "stop", FORWARD, "lock_c", soak=True, blocked=1.0),
    "server's gate stuck shut": fault("gate_s", "stop", BACK, "lock_s", soak=True, blocked=1.0),
    "sender's gate stuck shut": fault("gate_out", "stop", FORWARD, "lock_c", "lock_s", soak=True, blocked=1.0),
    "sender's gate stuck open": fault("gate_out", "nothing", soak=True, stuck=1.0),
}
"""An amplifier's transient is not here: no station that ships has one on the light's way."""


@contextmanager
def healed(small: Small, one: Fault) -> Iterator[Callable[[], None]]:
    """What lets the fault happen; all is as before afterwards."""
    assert small.bench.world is not None
    part = small.bench.world.parts[one.part]
    truth = dict(part.truth)

    def strike() -> None:
        now = small.bench.clock.monotonic()
        window = {} if one.lasts is None else {"start": now, "stop": now + one.lasts}
        if one.effect:
            small.bench[one.part].faults.add(one.effect, **window)
        for what, value in one.figures:
            part.strike(what, value, **window)

    try:
        yield strike
    finally:
        if one.effect:
            small.bench[one.part].faults.clear()
        for what, _ in one.figures:
            if what in truth:
                part.strike(what, truth[what])
        part.mend(None)


@pytest.mark.soak
def test_without_a_fault_nothing_is_blamed(loop: Small, tmp_path: Path) -> None:
    found = performed(loop, tmp_path)
    assert (found.kind, found.blocks, found.lit) == ("nothing", 3, 0.0), found


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.soak] if one.soak else []) for name, one in FAULTS.items()]
)
def test_each_fault_ends_as_it_should(loop: Small, tmp_path: Path, name: str) -> None:
    one = FAULTS[name]
    with healed(loop, one) as strike:
        found = performed(loop, tmp_path, strike)
    assert found.kind == one.kind, found
    if one.kind == "stop":
        assert found.part in one.parts, found
        assert found.blocks == 1
    if one.kind == "retry":
        assert set(found.incidents) <= one.parts, found
        assert found.blocks == 3
    assert not one.test or one.test in found.failed, found
    assert found.lit == 0.0, "the world shines still"
    assert found.instrument < DARK_WITHIN
    assert found.wall < DARK_WITHIN
