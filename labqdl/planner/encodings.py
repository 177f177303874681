"""What squeezed encoding would leak to a link's loss instead of coherent light, at the same signal.

For comparison: sessions send coherent states. A weight on each quadrature of a coherent state, a weight on X alone, or
a weight on the squeezed quadrature: the last two need two modes where the first needs one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from labqdl.planner.light import Path
from labqdl.planner.question import Question
from labqdl.planner.search import Point, judged
from labqdl.security.squeezed import coherent_pair_leakage, modulation_for, squeezed_leakage
from labqdl.units import from_db

MOST_SQUEEZING_DB = 15.0
"""About what has been measured (Vahlbruch et al., PRL 117, 110801); the best squeezing is looked for below it."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """One way to write weights into light.

    Attributes
    ----------
    name:
        For tables.
    squeezing_db:
        How far the variance of X lies below vacuum's; 0 for coherent states.
    modes_per_weight:
        1/2 with a weight on each quadrature, else 1.
    bits:
        Bits per weight of one use that the untrusted loss lets the client have.
    """

    name: str
    squeezing_db: float
    modes_per_weight: float
    bits: float


def encodings(question: Question, point: Point, f2: float, squeezing_db: tuple[float, ...]) -> tuple[Encoding, ...]:
    """Leakage to loss of coherent and squeezed encodings with the same F² and the same meter as a point.

    Pure loss of the charged part of the path: the noise of the client's stage and technical noise, which a plan's own
    figure counts, are left out, and all directions are equally bright. Squeezing is meant where the light leaves what
    the server is trusted with. docs/physics.md, "Squeezed encoding".

    Parameters
    ----------
    f2:
        Signal-to-noise ratio of the point's mu (a ratio, not dB).
    squeezing_db:
        What to compare, each at least 0; the best up to `MOST_SQUEEZING_DB` is added where there is loss.
    """
    path = Path.of(question.ledger)
    passed = min(path.passed, 1.0)
    # Noise of the whole measurement of X, at the plane where the light leaves, without the coherent state's own.
    meter = max(2.0 * point.mu * path.arriving / f2 - 1.0, 0.0)

    def leaking(bits: Callable[[float], float], variance: float) -> float:
        """The judged figure of all layers; `bits` of a modulation, each layer's for its own signal."""
        signals = [f2 * layer.mu / point.mu for layer in point.layers]
        modulations = [
            modulation_for(signal_to_noise=signal, squeezed_variance=variance, meter_noise=meter) for signal in signals
        ]
        return float(judged(question.judge, point.layers, [np.asarray(bits(each)) for each in modulations]))

    def pair(modulation: float) -> float:
        return coherent_pair_leakage(modulation=modulation, transmissivity=passed)

    def squeezed(decibels: float) -> float:
        variance = from_db(-decibels)
        return leaking(
            lambda modulation: squeezed_leakage(
                modulation=modulation, squeezed_variance=variance, transmissivity=passed
            ),
            variance,
        )

    found = [
        Encoding("coherent, a weight on each quadrature", 0.0, 0.5, leaking(pair, 1.0)),
        Encoding("coherent, a weight on X", 0.0, 1.0, squeezed(0.0)),
        *(Encoding(f"squeezed by {value:g} dB", value, 1.0, squeezed(value)) for value in squeezing_db),
    ]
    if passed < 1.0:
        best = minimize_scalar(squeezed, bounds=(0.0, MOST_SQUEEZING_DB), method="bounded", options={"xatol": 1e-3})
        value = round(float(best.x), 1)
        name = f"squeezed by {value:g} dB, the best up to {MOST_SQUEEZING_DB:g} dB"
        found.append(Encoding(name, value, 1.0, squeezed(value)))
    return tuple(found)
