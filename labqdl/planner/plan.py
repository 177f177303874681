"""The answer to a question: the best operating point of all stages and splits of light, or what stands in the way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from labqdl.planner.obstacles import Obstacle, costs, obstacles
from labqdl.planner.question import Aim, Question
from labqdl.planner.search import Point, Search
from labqdl.planner.stage import Stage, from_logit, logit
from labqdl.units import from_db, to_db

_COARSE_DB, _FINE_DB = 3.0, 0.25
_TRADE_POINTS = 13
_LEAST_F2_DB, _MOST_F2_DB = -40.0, 40.0
_FINE_F2_DB, _CLOSE, _MOST_TURNS = 1e-5, 2e-6, 60
"""The largest F^2 is found to 1e-5 dB, or until the limit is used up but for 2e-6 of it."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """The best point of one stage, with the F^2 and the split of light that it was found at."""

    point: Point
    f2_db: float
    last_layer_db: float
    allowed: bool


@dataclass(frozen=True, eq=False)
class Answer:
    """What the planner found.

    Attributes
    ----------
    question:
        What was asked.
    best:
        The best point, or the least violation of the limits; None where F^2 is out of reach of any light, or the
        accuracy of the network.
    alternatives:
        The best of every stage, the chosen one first.
    obstacles:
        What stands in the way, where the target is not reached.
    reachable:
        The brightest point within the limits, where the target is not reached; None where the limits allow no light.
    """

    question: Question
    best: Candidate | None
    alternatives: tuple[Candidate, ...]
    obstacles: tuple[Obstacle, ...]
    reachable: Candidate | None = None

    @property
    def feasible(self) -> bool:
        """Whether the target is reached within the limits."""
        return self.best is not None and self.best.allowed


@dataclass(frozen=True, slots=True)
class Cost:
    """What one component costs: the leakages if it were ideal, everything else chosen anew."""

    part: str
    weights: float
    data: float


def answer(question: Question, *, explain: bool = True) -> Answer:
    """Find the best point.

    explain: whether to look for what stands in the way where there is none (a second or so).
    """
    found = tuple(sorted(_candidates(question), key=lambda entry: _rank(question, entry)))
    best = found[0] if found else None
    if best is not None and best.allowed:
        return Answer(question, best, found, ())
    if not explain:
        return Answer(question, best, found, ())
    return Answer(question, best, found, explain_failure(question), brightest(question))


def brightest(question: Question) -> Candidate | None:
    """The most accurate point within the limits, whatever the target; None without a limit, or without such a point."""
    if question.bits_per_weight is None and question.bits_per_feature is None:
        return None
    free = replace(question, accuracy=None, f2_db=None, aim=Aim.ACCURACY)
    best = min(_candidates(free), key=lambda entry: _rank(free, entry), default=None)
    return best if best is not None and best.allowed else None


def explain_failure(question: Question) -> tuple[Obstacle, ...]:
    """What stands in the way of a question without an allowed point."""
    curve = question.subject.curve
    if question.accuracy is not None and curve is not None and not any(True for _ in _targets(question)):
        best = max(curve.best(split) for split in _splits(question))
        low = curve.interval(best)[0]
        words = f"the network reaches {100 * best:.2f} % at most, however bright the light"
        if question.assured:
            words += f" ({100 * low:.2f} % at the lower end of its interval)"
        return (Obstacle("the network", words, None, math.inf, math.inf),)
    if question.aim is Aim.ACCURACY:  # any light at all: the weakest measured target shows what is in the way
        question = replace(question, aim=Aim.MARGIN if _both(question) else Aim.WEIGHTS, f2_db=_LEAST_F2_DB)
    # what stands in the way is looked for at the split that came closest
    closest = min(_candidates(question), key=lambda entry: _rank(question, entry), default=None)
    if closest is not None:
        question = replace(question, last_layer_db=closest.last_layer_db)
    return obstacles(question, lambda other: _closest(other))


def part_costs(question: Question, best: Candidate) -> tuple[Cost, ...]:
    """What every component of the ledger costs at this F^2, the dearest first."""
    aim = question.aim
    if aim is Aim.ACCURACY:
        aim = Aim.MARGIN if _both(question) else Aim.WEIGHTS
    fixed = replace(question, accuracy=None, f2_db=best.f2_db, last_layer_db=best.last_layer_db, aim=aim)
    found = [Cost(part.name, point.weights, point.data) for part, point in costs(fixed, _closest)]
    key = (lambda cost: cost.data) if fixed.aim is Aim.DATA else (lambda cost: cost.weights)
    return tuple(sorted(found, key=key))


def trade_off(question: Question, best: Candidate, *, count: int = _TRADE_POINTS) -> tuple[Point, ...]:
    """Points of the same stage, F^2 and split from the least leakage of the weights to a hundredth of its data leakage.

    Weaker taps than these leak less about the data and more about the weights; between them nothing is better in both.
    """
    stage = best.point.stage
    free = replace(
        question, bits_per_weight=None, bits_per_feature=None, aim=Aim.WEIGHTS, accuracy=None, f2_db=best.f2_db
    )
    search = Search(free, stage, best.last_layer_db)
    ratio = from_db(best.f2_db)
    strongest = search.best(ratio)
    if strongest is None:
        return ()
    high, low = float(logit(strongest.tapped)), float(logit(stage.least))
    target = strongest.data / 100.0
    floor = low
    for _ in range(40):
        middle = 0.5 * (low + high)
        _, _, data = search.leakages(ratio, from_logit(np.array([middle])))
        low, high = (low, middle) if float(data[0]) > target else (middle, high)
        floor = middle
    places = np.linspace(float(logit(strongest.tapped)), floor, count)
    return tuple(search.point(ratio, float(from_logit(place))) for place in places.tolist())


def _candidates(question: Question) -> Iterator[Candidate]:
    """The best of every stage over all splits that may be chosen."""
    for stage in dict.fromkeys(question.stages):
        found = [entry for split in _splits(question) for entry in _at_split(question, stage, split)]
        if not found:
            continue
        best = min(found, key=lambda entry: _rank(question, entry))
        if question.last_layer_db is None:
            best = _finer(question, stage, best)
        yield best


def _finer(question: Question, stage: Stage, best: Candidate) -> Candidate:
    """The same with the split of light to a quarter of a decibel."""
    curve = question.subject.curve
    assert curve is not None  # the question says so
    step = _COARSE_DB
    while step > _FINE_DB:
        step /= 2.0
        for split in (best.last_layer_db - step, best.last_layer_db + step):
            if curve.last_layer_db[0] <= split <= curve.last_layer_db[-1]:
                best = min((best, *_at_split(question, stage, split)), key=lambda entry: _rank(question, entry))
    return best


def _splits(question: Question) -> list[float]:
    if question.last_layer_db is not None:
        return [question.last_layer_db]
    curve = question.subject.curve
    assert curve is not None  # the question says so
    first, last = float(curve.last_layer_db[0]), float(curve.last_layer_db[-1])
    return sorted({0.0, *np.arange(first, last + 1e-9, _COARSE_DB).tolist()})


def _targets(question: Question) -> Iterator[tuple[float, float]]:
    """Splits with the F^2 in dB that reaches the target there."""
    for split in _splits(question):
        f2_db = _needed(question, split)
        if f2_db is not None:
            yield split, f2_db


def _needed(question: Question, split: float) -> float | None:
    if question.f2_db is not None:
        return question.f2_db
    curve = question.subject.curve
    assert curve is not None
    assert question.accuracy is not None
    return curve.f2_for(question.accuracy, split, assured=question.assured)


def _at_split(question: Question, stage: Stage, split: float) -> Iterator[Candidate]:
    if question.aim is Aim.ACCURACY:
        yield from _brightest(question, stage, split)
        return
    f2_db = _needed(question, split)
    if f2_db is None:
        return
    point = Search(question, stage, split).best(from_db(f2_db))
    if point is not None:
        yield Candidate(point, f2_db, split, point.violation(question) <= 1.0)


def _brightest(question: Question, stage: Stage, split: float) -> Iterator[Candidate]:
    """The largest F^2 within the limits: every leakage grows with the light, smoothly on logarithmic scales."""
    search = Search(question, stage, split)

    def at(f2_db: float) -> tuple[Point | None, float]:
        point = search.best(from_db(f2_db))
        return point, math.inf if point is None else math.log(point.violation(question))

    low, high = _LEAST_F2_DB, min(_MOST_F2_DB, to_db(search.largest_f2))
    best, below = at(low)
    if best is None or below > 0.0:
        if best is not None:
            yield Candidate(best, low, split, False)
        return
    _, above = at(high)
    if above <= 0.0:
        low = high
    # regula falsi, with bisection where it would creep
    for turn in range(_MOST_TURNS):
        if high - low <= _FINE_F2_DB or below > -_CLOSE:
            break
        middle = 0.5 * (low + high)
        if turn % 3 < 2 and math.isfinite(above):
            share = below / (below - above)
            middle = low + (high - low) * min(max(share - 1e-6, 1e-6), 1.0 - 1e-6)
        point, value = at(middle)
        if point is None or value > 0.0:
            high, above = middle, value
        else:
            low, below, best = middle, value, point
    yield Candidate(best, low, split, True)


def _rank(question: Question, entry: Candidate) -> tuple[bool, float]:
    """Allowed points before others; then by what the aim makes small, or by the violation."""
    if not entry.allowed:
        return True, entry.point.violation(question)
    if question.aim is Aim.ACCURACY:
        curve = question.subject.curve
        if curve is None:
            return False, -entry.f2_db
        return False, -float(curve.at(entry.f2_db, entry.last_layer_db))
    return False, entry.point.objective(question)


def _closest(question: Question) -> Point | None:
    """The point that violates the limits least, for the search of obstacles."""
    best = min(_candidates(question), key=lambda entry: _rank(question, entry), default=None)
    return None if best is None else best.point


def _both(question: Question) -> bool:
    return question.bits_per_weight is not None and question.bits_per_feature is not None
