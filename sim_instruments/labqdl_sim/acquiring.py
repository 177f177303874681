"""How simulated oscilloscopes acquire: armed, triggered, complete, by the clock and without anything that ticks.

The trigger is looked for as soon as the instrument is armed, `HORIZON` seconds ahead, and the record taken as soon as
it is found, as the inputs predict it then: what the world changes between the search and the end of a record is not
in it. As long as nothing was found, every later look searches on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from labqdl_sim.edges import first_edge
from labqdl_sim.ports import Edges, VoltageIn, Voltages

HORIZON = 10.0


@dataclass(frozen=True)
class Plan:
    """What is to be acquired.

    `before`: s between the first sample and the trigger (negative: the record begins after it); `source`: voltage
    that triggers (None: the mains); `rising`: directions of edges; `auto`: s after which it triggers anyway, or None;
    `repeats`: acquisitions that one record needs (averages); `segments`: records; `edges`: when `source` crosses a
    level, where that is known exactly; `clock_error`: by which part its clock is too fast.
    """

    inputs: Mapping[int, VoltageIn]
    rate: float
    count: int
    before: float
    source: Voltages | None
    level: float
    rising: tuple[bool, ...]
    hysteresis: float
    auto: float | None
    repeats: int = 1
    segments: int = 1
    holdoff: float = 0.0
    edges: Edges | None = None
    clock_error: float = 0.0


@dataclass(frozen=True)
class Record:
    """One triggered record: volts by channel, shape (count,); `start` is the time of its first sample."""

    trigger: float
    start: float
    rate: float
    volts: Mapping[int, NDArray[np.float64]]
    complete: float


@dataclass
class Acquisition:
    """One acquisition from arming to the end of its last record."""

    plan: Plan
    armed: float
    records: list[Record] = field(default_factory=list)
    _from: float = -math.inf

    def __post_init__(self) -> None:
        self._from = self.armed + max(self.plan.before, 0.0)

    def look(self, now: float) -> None:
        """Search on, as seen from `now`."""
        plan = self.plan
        while math.isfinite(now) and len(self.records) < plan.segments:
            found = self._search(self._from, max(now, self._from) + HORIZON)
            deadline = math.inf if plan.auto is None else self._from + plan.auto
            if found is None or found > deadline:
                if not math.isfinite(deadline):
                    self._from = max(self._from, now)
                    return
                found = deadline
            self._take(found)

    def force(self, now: float) -> None:
        """Trigger now, unless a trigger came already."""
        self.look(now)
        if len(self.records) < self.plan.segments:
            self._take(max(now, self._from))
        elif self.records[-1].trigger > now:
            del self.records[-1]
            self._take(now)

    def _search(self, start: float, stop: float) -> float | None:
        plan = self.plan
        if plan.source is None:
            return math.ceil(start / 0.02) * 0.02
        if plan.edges is not None:
            known = [plan.edges(start, stop, plan.level, rising) for rising in plan.rising]
            if all(one is not None for one in known):
                return min((float(one[0]) for one in known if one is not None and one.size), default=None)
        return first_edge(plan.source, start, stop, 1 / plan.rate, plan.level, plan.rising, plan.hysteresis)

    def _take(self, trigger: float) -> None:
        plan = self.plan
        rate = plan.rate * (1.0 + plan.clock_error)
        start, length = trigger - plan.before, plan.count / plan.rate
        volts = {channel: port.samples(start, rate, plan.count) for channel, port in plan.inputs.items()}
        complete = max(start + length, trigger) + (plan.repeats - 1) * length
        self.records.append(Record(trigger, start, plan.rate, volts, complete))
        self._from = max(complete, trigger + plan.holdoff) + max(plan.before, 0.0)

    def triggered(self, now: float) -> bool:
        """Whether its first trigger came."""
        self.look(now)
        return bool(self.records) and self.records[0].trigger <= now

    def complete_at(self, now: float) -> float:
        """When it is over, as far as is known: inf while a trigger is missing."""
        self.look(now)
        return self.records[-1].complete if len(self.records) >= self.plan.segments else math.inf

    def done(self, now: float) -> bool:
        """Whether all of its records are complete."""
        return math.isfinite(now) and self.complete_at(now) <= now


def continuous(plan: Plan, since: float, now: float) -> Acquisition | None:
    """The latest acquisition of an instrument that runs since then; None: it saw no trigger."""
    length = plan.count / plan.rate
    after = max(length - plan.before, 0.0)
    wait = plan.auto if plan.auto is not None else 10 * length
    armed = max(since, now - length - wait - after)
    made = Acquisition(replace(plan, segments=1), armed)
    made.look(now)
    if plan.auto is not None and not made.done(now):  # it has not run for that long: what there is up to now
        made.records.clear()
        made._take(now - after)
    return made if made.records and made.records[-1].trigger <= now else None


def quantise(
    volts: NDArray[np.float64], centre: float, span: float, bits: int, clip: tuple[float, float] = (0.0, 1.0)
) -> NDArray[np.int64]:
    """16-bit codes, 32768 at `centre`, of a converter of so many bits; 0 and 65535 where it is out of its range.

    `clip`: the range as shares of `span`.
    """
    steps = 1 << bits
    code = np.round((volts - centre) / span * steps).astype(np.int64) + steps // 2
    shifted = code << (16 - bits)
    low, high = max(clip[0] * 65536, 1), clip[1] * 65536
    return np.where(shifted >= high, 65535, np.where(shifted < low, 0, shifted))
