"""What an operating point asks of a bench, beside how good benches get.

Each demand is the figure at which one imperfection, alone and not in the ledger, would take a share (a tenth by
default) of what the tap's own noise is: then the plan's figures hold to about that share (docs/planning.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from labqdl.facts import Component, Floor, Ledger, Owner, Place, TapBuild, TapKind
from labqdl.optics.gain_tap import tap_law
from labqdl.planner.question import Question
from labqdl.planner.search import Point, exact_point
from labqdl.planner.stage import tapped_fraction
from labqdl.security.channel import client_input, honest_channel
from labqdl.units import from_db, to_db

SHARE = 0.1
_LEAST_LOSS, _MOST_LOSS = 1e-12, 100.0


@dataclass(frozen=True, slots=True)
class Demand:
    """One thing that has to be held, known or measured.

    Attributes
    ----------
    name:
        Which property; that of the `Floor` it is compared with, where there is one.
    value, unit:
        What is asked for.
    words:
        In words, with the figure.
    floor:
        How good benches get, or None where nothing is known.
    reached:
        Whether that is good enough; None without a floor.
    """

    name: str
    value: float
    unit: str
    words: str
    floor: Floor | None = None
    reached: bool | None = None


def demands(
    question: Question, point: Point, floors: Iterable[Floor], builds: Iterable[TapBuild], share: float = SHARE
) -> tuple[Demand, ...]:
    """What this point asks for: tap, gain, balance, phase, loss, nulling and number of residuals."""
    known = {floor.name: floor for floor in floors}
    layer = max(point.layers, key=lambda each: each.mu)
    law = tap_law(point.setting, point.ledger)
    arriving = layer.mu * client_input(point.ledger)
    n = layer.least_modes
    own = law.added_noise / n  # mean excess of the tap per quadrature and mode, at the tap
    charged = honest_channel(mu=layer.mu, n_modes=n, setting=point.setting, ledger=point.ledger)
    efficiency, electronic = point.ledger.server_efficiency, point.ledger.server_noise
    signal = efficiency * charged.excess
    residuals = 2.0 * ((1.0 + electronic + signal) / (share * signal)) ** 2
    photons = law.photons
    percent = f"{100 * share:.3g} %"

    def demand(name: str, value: float, unit: str, words: str, *, least: bool = True) -> Demand:
        floor = known.get(name)
        reached = None if floor is None else (value >= floor.value if least else value <= floor.value)
        return Demand(name, value, unit, words, floor, reached)

    phase = math.sqrt(share * own / (2.0 * arriving))
    gain = math.sqrt(share * photons / arriving)
    balance = math.sqrt(share * photons / (n * arriving))
    nulling = share * own / (2.0 * arriving)
    loss = loss_that_doubles(question, point)
    return (
        _tap(point, builds),
        demand("phase-noise", phase, "rad", f"phase noise below {_angle(phase)} to add {percent} to the tap's noise"),
        demand("gain-accuracy", gain, "1", f"net amplitude gain held to {gain:.2g} for {percent} more data photons"),
        demand("path-balance", balance, "1", f"paths balanced to {balance:.2g} rms for {percent} more data photons"),
        demand("untrusted-loss", loss, "dB", f"{loss:.2g} dB more untrusted loss would double what the weights leak"),
        demand("extinction", nulling, "1", f"nulling to {to_db(nulling):.0f} dB for {percent} more counts"),
        demand("shot-noise-unit", share * signal, "1", f"shot-noise unit known to {share * signal:.2g}"),
        demand(
            "residuals", residuals, "symbols", f"{residuals:.2g} homodyned symbols for the excess noise to {percent}"
        ),
    )


def loss_that_doubles(question: Question, point: Point) -> float:
    """dB of further untrusted loss, half on each leg, that doubles the leakage of the weights at this very light."""

    def weights(loss: float) -> float:
        leg = from_db(-0.5 * loss)
        more = (
            Component("further loss on the way out", Place.CLIENT_IN, Owner.CHANNEL, transmissivity=leg),
            Component("further loss on the way back", Place.CLIENT_OUT, Owner.CHANNEL, transmissivity=leg),
        )
        return _at_ledger(question, point, Ledger(point.ledger.name, (*point.ledger.components, *more))).weights

    target = 2.0 * point.weights
    low, high = _LEAST_LOSS, _MOST_LOSS
    if weights(high) < target:
        return math.inf
    while high / low > 1.0 + 1e-6:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if weights(middle) < target else (low, middle)
    return high


def _at_ledger(question: Question, point: Point, ledger: Ledger) -> Point:
    """The same light and setting on another ledger."""
    other = replace(point.stage, build=None)
    return exact_point(question, other, point.setting, ledger, point.mu, point.layers, tapped_fraction(point.setting))


def _tap(point: Point, builds: Iterable[TapBuild]) -> Demand:
    """The weakness of the tap against what builds of its kind can be held at."""
    setting = point.setting
    rivals = [build for build in builds if build.kind is setting.kind]
    if setting.kind is TapKind.AMPLIFIER:
        value, unit = to_db(setting.amplifier_gain), "dB"
        words = f"a net gain of {value:.2g} dB (G = {setting.amplifier_gain:.6g})"
        able = [(build.name, to_db(build.least_gain), value >= to_db(build.least_gain) - 1e-12) for build in rivals]
        floors = [f"{name} cannot be held below {least:.2g} dB" for name, least, ok in able if not ok]
    else:
        value, unit = 1.0 - setting.tap_transmissivity, "1"
        words = f"a splitter that splits off {100 * value:.3g} %"
        able = [(build.name, build.least_split, value >= build.least_split - 1e-12) for build in rivals]
        floors = [f"{name} has no splitter below {100 * least:.2g} %" for name, least, ok in able if not ok]
    reached = None if not able else any(ok for _, _, ok in able)
    return Demand("tap", value, unit, "; ".join((words, *floors)), None, reached)


def _angle(radians: float) -> str:
    for unit, factor in (("rad", 1.0), ("mrad", 1e3), ("urad", 1e6)):
        if radians * factor >= 1.0:
            return f"{radians * factor:.3g} {unit}"
    return f"{radians * 1e6:.2g} urad"
