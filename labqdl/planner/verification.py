"""How many symbols until the server's certificate meets a budget, and until its tests see a cheat.

Certificate: what an honest run is expected to certify at 1 - delta, every sum at its expectation, with all rows
homodyned or with the share of counted rows that needs fewest images. Tests: gain, noise and count of a session, each
at its share of alpha (docs/planning.md, "Symbols to verify").
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from labqdl.facts import Budgets, FrameDescription, VerificationPlan
from labqdl.optics.client_law import ClientLaw, cloner, intercept_resend, over_amplification, passive_tap
from labqdl.optics.law import LinkLaw
from labqdl.planner.question import Question
from labqdl.planner.search import Point
from labqdl.security.attacks import Scene, alternative_of
from labqdl.security.checks import E_PROCESS_SHARE, TESTS
from labqdl.security.cross_use import CrossUseTotals
from labqdl.security.expected import HonestLayer, LayerLight, Totals, honest_layers
from labqdl.security.finite import ChannelLimits, channel_limits, honest_limits, weight_bits_per_mode
from labqdl.security.sample_size import Alternative, Test

COUNTED = (0.02, 0.1, 0.25, 0.5, 0.75)
"""Shares of counted rows that are tried."""
POWER = 0.99
_BASE = 1000
_MOST_IMAGES = 1e15
_FINE = 1e-3


@dataclass(frozen=True, slots=True)
class Certification:
    """What it takes to certify the weights' bound.

    Attributes
    ----------
    budget:
        Bits per weight that have to be certified, all uses together.
    delta:
        1 - confidence.
    counting_fraction:
        Share of rows that are counted after nulling.
    images:
        Images whose returned light certifies the budget; None where no number does.
    symbols:
        Mode slots of these.
    """

    budget: float
    delta: float
    counting_fraction: float
    images: int | None
    symbols: int | None


@dataclass(frozen=True, slots=True)
class Detection:
    """How soon one kind of cheat is seen with a probability of 99 %.

    Attributes
    ----------
    cheat:
        As `labqdl run --client` calls it.
    test:
        Which test sees it first: gain, noise or count.
    images:
        Images until then; None where none of these tests sees it (its gain is charged to the bound).
    """

    cheat: str
    test: str
    images: float | None


def symbols_per_image(point: Point) -> int:
    """Mode slots that one image costs, one way."""
    return sum(layer.streamed_slots for layer in point.layers)


def certification(
    question: Question, point: Point, *, budget: float, delta: float, counting_fraction: float
) -> Certification:
    """Images and symbols until an honest run certifies the budget with that share of counted rows."""
    plan = VerificationPlan(counting_fraction=counting_fraction, delta=delta)
    frame = FrameDescription("plan", point.layers, 1, 1, point.setting, point.ledger, plan, Budgets())
    light = [
        LayerLight(alignment=1.0 / (2.0 * layer.tile_modes), spectrum=spectrum)
        for layer, spectrum in zip(point.layers, question.subject.spectra, strict=True)
    ]
    laws = honest_layers(frame, light)
    base = [_base_totals(law, counting_fraction) for law in laws]
    measured = 0.5 * (1.0 - counting_fraction) if question.cross_use_tested else None

    def passes(limits: ChannelLimits) -> bool:
        return max(weight_bits_per_mode(frame, laws, limits, uses=question.weight_uses)) / 2.0 <= budget

    def after(images: float) -> bool:
        parts = [law.expected(totals, images / _BASE) for law, totals in zip(laws, base, strict=True)]
        sums = None if measured is None else [_cross_use(law, images, measured) for law in laws]
        return passes(channel_limits(laws, parts, point.ledger, delta, sums))

    if not passes(honest_limits(laws, point.ledger, measured)):
        return Certification(budget, delta, counting_fraction, None, None)
    # fewer images would leave a layer without a homodyned or without a counted row, whose sums then say nothing
    share = min(1.0 - counting_fraction, counting_fraction or 1.0)
    needed = _smallest(after, math.ceil(1.0 / (share * min(law.rows for law in laws))))
    if needed is None:
        return Certification(budget, delta, counting_fraction, None, None)
    images = math.ceil(needed)
    return Certification(budget, delta, counting_fraction, images, images * symbols_per_image(point))


def best_certification(question: Question, point: Point, *, budget: float, delta: float) -> Certification:
    """The same with the share of counted rows that needs fewest images; at least one row in 50 is counted."""
    found = [certification(question, point, budget=budget, delta=delta, counting_fraction=share) for share in COUNTED]
    return min(found, key=lambda entry: math.inf if entry.images is None else entry.images)


def _base_totals(law: HonestLayer, counted: float) -> Totals:
    """Sizes of `_BASE` images of one layer."""
    pairs = _BASE * law.rows
    count = round(pairs * counted)
    row = law.energy / law.rows
    return Totals(
        qq=(pairs - count) * row / 2.0,
        energy=(pairs - count) * row,
        signal=count * row / 4.0,
        residuals=(pairs - count) * law.n_modes,
        homodyned=pairs - count,
        slots=count * law.n_modes,
        counted=count,
        images=_BASE,
    )


def _cross_use(law: HonestLayer, images: float, measured: float) -> CrossUseTotals:
    """Sums over the uses of every weight at their honest expectation, each measured in that share of the images."""
    weights = law.rows * 2 * law.n_modes
    spikes = 3 * law.rows  # how many terms of a row the client's noise can fill, as blocks and quadratures overlap
    return CrossUseTotals(
        sum_squares=weights * law.floor + spikes * law.spike,
        weights=weights,
        uses=max(1.0, images * measured),
        images=max(1, round(images)),
        spikes_most=spikes,
        spikes_least=float(law.rows),
        energy=law.energy,
    )


def _smallest(passes: Callable[[float], bool], least: float) -> float | None:
    """Smallest number of images from `least` on that passes, to 0.1 %; None above 1e15."""
    high = least
    while not passes(high):
        high *= 8.0
        if high > _MOST_IMAGES:
            return None
    low = max(high / 8.0, least)
    while high - low > max(_FINE * high, 0.5):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def detections(point: Point, *, alpha: float, counting_fraction: float) -> tuple[Detection, ...]:
    """How soon the tests see a client that resends, clones, measures more strongly than agreed, or takes light."""
    setting, ledger = point.setting, point.ledger
    doubled = 1.0 / (1.0 - 2.0 * point.tapped / (1.0 + point.tapped))
    cheats: list[tuple[str, ClientLaw]] = [
        ("intercept-resend", intercept_resend()),
        ("cloner:0.1", cloner(0.1)),
        (f"over-amplification:{doubled:.6g}", over_amplification(setting, doubled, ledger)),
        ("passive-tap:0.01", passive_tap(0.01, setting, ledger)),
    ]
    return tuple(_detection(name, law, point, alpha, counting_fraction) for name, law in cheats)


def _detection(name: str, cheat: ClientLaw, point: Point, alpha: float, counted: float) -> Detection:
    layer = max(point.layers, key=lambda each: each.streamed_slots)
    scene = Scene(layer.mu, point.setting, point.ledger, layer.tile_modes)
    law = LinkLaw.from_ledger(point.ledger, cheat)
    # shares of alpha as `security.checks.session_checks` deals them out, two-sided
    share = (1.0 - E_PROCESS_SHARE) * alpha / len(TESTS) / (1.0 if len(point.layers) == 1 else 2.0)
    slots = layer.streamed_slots
    # each row is either homodyned or counted
    tests = {Test.GAIN: 1.0 - counted, Test.NOISE: 1.0 - counted, Test.COUNT: counted}
    found = {
        test: _symbols(alternative_of(test, law, scene), share / 2.0) / (slots * measured)
        for test, measured in tests.items()
        if measured > 0.0
    }
    first = min(found, key=found.__getitem__)
    images = found[first]
    return Detection(name, first, None if images > _MOST_IMAGES else images)


def _symbols(cheat: Alternative, alpha: float) -> float:
    """Symbols with which the test has the power; infinite where it shows nothing."""
    try:
        return float(cheat.symbols_needed(alpha, POWER))
    except ValueError:
        return math.inf
