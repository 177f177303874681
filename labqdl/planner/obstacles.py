"""What stands in the way of a target, and what it would have to be: found by solving, part by part.

A part is made better by one factor s on everything that it does: loss in dB, noise, phase noise, n_sp - 1, what its
build cannot do. s = 1 is the part as it is, s = 0 an ideal one. Where an ideal part would open the way, the largest s
that still does is found by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from labqdl.facts import Component, Ledger, Place, TapBuild
from labqdl.facts.ledger import RECEIVERS
from labqdl.planner.question import Question
from labqdl.planner.search import Point
from labqdl.planner.stage import Stage
from labqdl.units import to_db

Solve = Callable[[Question], Point | None]
"""The best point for a question, or the least violation; None where F^2 itself is out of reach."""

ALL_PARTS = "all parts of the light path"
_FINE = 1e-3


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One part that keeps a target from being reached.

    Attributes
    ----------
    part:
        Its name in the ledger, `tap build NAME`, `all parts of the light path`, `the limits` or `the network`.
    words:
        What it is today and what it would have to be, as a sentence with units.
    factor:
        The largest factor on its imperfections that opens the way; None where even an ideal one would not do alone.
    weights, data:
        What would leak at best with an ideal one in its place; infinite where F^2 stays out of reach.
    """

    part: str
    words: str
    factor: float | None
    weights: float
    data: float


def violation(point: Point | None, question: Question) -> float:
    """The larger leakage in units of its limit; infinite where there is no point."""
    return math.inf if point is None else point.violation(question)


def improved(component: Component, factor: float) -> Component:
    """The component with its imperfections times `factor`."""
    return replace(
        component,
        transmissivity=component.transmissivity**factor,
        electronic_noise=component.electronic_noise * factor,
        excess=component.excess * factor,
        phase_noise=component.phase_noise * factor,
        n_sp=1.0 + (component.n_sp - 1.0) * factor,
        dark_counts=component.dark_counts * factor,
        extinction=component.extinction * factor,
    )


def improved_build(build: TapBuild, factor: float) -> TapBuild:
    """The build with what it cannot do times `factor`; gains and losses in dB."""
    return replace(
        build,
        least_gain=build.least_gain**factor,
        least_split=build.least_split * factor,
        transmissivity_before=build.transmissivity_before**factor,
        transmissivity_after=build.transmissivity_after**factor,
        in_line_transmissivity=build.in_line_transmissivity**factor,
        n_sp=None if build.n_sp is None else 1.0 + (build.n_sp - 1.0) * factor,
        efficiency=None if build.efficiency is None else build.efficiency**factor,
        electronic_noise=None if build.electronic_noise is None else build.electronic_noise * factor,
        gain_accuracy=build.gain_accuracy * factor,
    )


def describe_component(component: Component) -> str:
    """What a component does to the light, in words with units."""
    words = []
    if component.transmissivity < 1.0:
        if component.place in RECEIVERS:
            words.append(f"efficiency {component.transmissivity:.4g}")
        else:
            words.append(f"loss {-to_db(component.transmissivity):.3g} dB")
    if component.electronic_noise:
        words.append(f"electronic noise {component.electronic_noise:.3g} SNU")
    if component.excess:
        words.append(f"excess noise {component.excess:.3g} SNU")
    if component.phase_noise:
        words.append(f"phase noise {component.phase_noise:.3g} rad")
    if component.n_sp > 1.0:
        words.append(f"n_sp {component.n_sp:.4g}")
    return ", ".join(words) or "ideal"


def describe_build(build: TapBuild) -> str:
    """What a build cannot do, in words with units."""
    words = []
    if build.least_gain > 1.0:
        words.append(f"net gain of at least {to_db(build.least_gain):.3g} dB (G = {build.least_gain:.6g})")
    if build.least_split > 0.0:
        words.append(f"a split of at least {100 * build.least_split:.3g} %")
    passive = build.transmissivity_before * build.transmissivity_after
    if passive < 1.0:
        words.append(f"passive loss {-to_db(passive):.3g} dB")
    if build.in_line_transmissivity < 1.0:
        words.append(f"in-line loss {-to_db(build.in_line_transmissivity):.3g} dB")
    if build.n_sp is not None:
        words.append(f"n_sp {build.n_sp:.4g}")
    if build.efficiency is not None:
        words.append(f"detectors of efficiency {build.efficiency:.4g}")
    if build.electronic_noise:
        words.append(f"electronic noise {build.electronic_noise:.3g} SNU")
    if build.gain_accuracy:
        words.append(f"net amplitude gain known to {build.gain_accuracy:.3g}")
    return ", ".join(words) or "ideal"


def matters(component: Component) -> bool:
    """Whether the planner's figures depend on it: not the server's own receivers, not what is ideal."""
    if component.place is Place.SERVER_COUNTER or (
        component.place is Place.SERVER_RECEIVER and component.server_trusts
    ):
        return False
    return improved(component, 0.0) != improved(component, 1.0)


def with_part(question: Question, name: str, factor: float) -> Question:
    """The question with one component of the ledger improved."""
    parts = tuple(improved(c, factor) if c.name == name else c for c in question.ledger.components)
    return replace(question, ledger=Ledger(question.ledger.name, parts))


def with_all_parts(question: Question, factor: float) -> Question:
    """The question with every component improved."""
    parts = tuple(improved(component, factor) for component in question.ledger.components)
    return replace(question, ledger=Ledger(question.ledger.name, parts))


def with_build(question: Question, name: str, factor: float) -> Question:
    """The question with one build improved, as the only stage."""
    build = next(s.build for s in question.stages if s.build is not None and s.build.name == name)
    return replace(question, stages=(Stage(build.kind, improved_build(build, factor)),))


def costs(question: Question, solve: Solve) -> Iterator[tuple[Component, Point]]:
    """Every component that matters, with the best point if it were ideal."""
    for component in question.ledger.components:
        if matters(component):
            point = solve(with_part(question, component.name, 0.0))
            if point is not None:
                yield component, point


def obstacles(question: Question, solve: Solve) -> tuple[Obstacle, ...]:
    """What stands in the way of a question that has no allowed point, the least improvement that helps first.

    First the parts of which one alone, made better, opens the way; without any, all parts together; without that, the
    limits themselves. Then the other parts, those that would lower the leakage most first.
    """
    enough, others = [], []
    for part, now, change, then in _parts(question):
        ideal = solve(change(0.0))
        best = violation(ideal, question)
        weights, data = (math.inf, math.inf) if ideal is None else (ideal.weights, ideal.data)
        if best <= 1.0:
            factor = _opens(question, solve, change)
            words = f"{part}: {now} would have to be {then(factor)}"
            enough.append((factor, Obstacle(part, words, factor, weights, data)))
        else:
            words = f"{part} ({now}): even an ideal one leaves {_bits(weights, data)}"
            others.append((best, Obstacle(part, words, None, weights, data)))
    # least asked for first: a factor near 1 is a small improvement
    found = [obstacle for _, obstacle in sorted(enough, key=lambda pair: -pair[0])]
    if not found:
        found.append(_together(question, solve))
    return (*found, *(obstacle for _, obstacle in sorted(others, key=lambda pair: pair[0])))


def _parts(
    question: Question,
) -> Iterator[tuple[str, str, Callable[[float], Question], Callable[[float], str]]]:
    for component in question.ledger.components:
        if matters(component):
            yield (
                component.name,
                describe_component(component),
                partial(with_part, question, component.name),
                partial(_described_component, component),
            )
    for stage in question.stages:
        if stage.build is not None:
            yield (
                f"tap build {stage.build.name}",
                describe_build(stage.build),
                partial(with_build, question, stage.build.name),
                partial(_described_build, stage.build),
            )


def _described_component(component: Component, factor: float) -> str:
    return describe_component(improved(component, factor))


def _described_build(build: TapBuild, factor: float) -> str:
    return describe_build(improved_build(build, factor))


def _opens(question: Question, solve: Solve, change: Callable[[float], Question]) -> float:
    """The largest factor with which a change opens the way."""
    return _largest(lambda factor: violation(solve(change(factor)), question) <= 1.0)


def _together(question: Question, solve: Solve) -> Obstacle:
    """All parts improved alike, or the limits if even that does not do."""
    bare = replace(question, stages=tuple(dict.fromkeys(Stage(stage.kind) for stage in question.stages)))
    ideal = solve(with_all_parts(bare, 0.0))
    if ideal is None:
        return Obstacle("the limits", "the limits: even ideal parts do not reach F²", None, math.inf, math.inf)
    if violation(ideal, question) > 1.0:
        words = f"the limits: even ideal parts leave {_bits(ideal.weights, ideal.data)}"
        return Obstacle("the limits", words, None, ideal.weights, ideal.data)
    factor = _opens(question, solve, partial(_everything, question))
    loss = -to_db(question.ledger.total)
    words = (
        f"{ALL_PARTS} together: {loss:.3g} dB of loss would have to be {factor * loss:.3g} dB, and every noise and "
        f"defect {factor:.2g} of today's"
    )
    return Obstacle(ALL_PARTS, words, factor, ideal.weights, ideal.data)


def _bits(weights: float, data: float) -> str:
    if math.isinf(weights):
        return "F² out of reach"
    return f"{weights:.3g} bit per weight and {data:.3g} per feature"


def _everything(question: Question, factor: float) -> Question:
    stages = tuple(
        stage if stage.build is None else Stage(stage.kind, improved_build(stage.build, factor))
        for stage in question.stages
    )
    return replace(with_all_parts(question, factor), stages=stages)


def _largest(passes: Callable[[float], bool]) -> float:
    """Largest factor below 1 that passes, to 0.1 %; it passes at 0. Searched by decades first: it may be tiny."""
    high = 1.0
    low = 0.1
    while low > 1e-12 and not passes(low):
        low, high = low / 10.0, low
    if low <= 1e-12:
        return 0.0
    while high - low > _FINE * high:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if passes(middle) else (low, middle)
    return low
