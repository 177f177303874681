"""The client's noise turns by the phase that the returned light got behind the client's oscillator, and by no other.

The light is drawn mode by mode (`tests.optics.direct`), where noise is born in the client's frame and the whole field
is turned later; the sampler turns the conditional noise instead. What is compared are products of the outcome's square
with squares of residuals, in which a wrong angle of the noise shows although its variance alone does not. Fixed seeds;
seven standard errors (2.6e-12 two-sided) for fewer than 200 figures: a false alarm in 1e9 runs. The light's own phase
and the client's oscillator are drawn of unequal strength, so that no wrong combination of the two has the right law.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.facts import Ledger, TapSetting
from labqdl.optics.client_law import ClientLaw, honest
from labqdl.optics.gain_tap import TapLaw
from labqdl.optics.law import LinkLaw
from labqdl.optics.sampler import sample_residuals, sample_statistics
from tests.optics import direct
from tests.optics.cases import SIGMAS, KeyedStreams

Real = NDArray[np.float64]

IDEAL = Ledger("ideal")
CLIENTS: dict[str, ClientLaw] = {
    "amplifier": honest(IDEAL, TapSetting.amplifier(8.0)),  # little is left of the noise along x, given the outcome
    "loud": ClientLaw("loud", TapLaw(1.0, 20.0, 20.0, 0.5, 4.0, 8.7, 0.0), isotropic_noise=0.1),
    "turned light": ClientLaw("turned light", TapLaw(complex(0.3, 0.6), 0.2, 0.2, 0.5, 1.2, 0.1, 0.0)),
    "bright light": honest(IDEAL, TapSetting.amplifier(1.2)),
}
PHASES = {
    "light's own": (0.8, 0.0, 0.0),
    "client's oscillator": (0.0, 0.8, 0.0),
    "way back": (0.0, 0.0, 0.8),
    "all": (0.5, 0.35, 0.2),
}
"""Rms of the light's own phase on its way out, of the client's oscillator, and of the way back, rad."""
DRAWS = 60_000
PATTERN = np.zeros(2, dtype=np.bool_)
BRIGHT = {"turned light": 8.0, "bright light": 8.0}
"""Clients of which the light shows rather than the noise, with the factor by which it is brighter."""
X = np.array([0.8, 0.0, 0.48, 0.36])
Q = np.array([0.5, -0.5, 0.4, -0.3])


def law_of(client: str, phases: tuple[float, float, float]) -> LinkLaw:
    common, oscillator, back = phases
    return replace(
        LinkLaw.from_ledger(IDEAL, CLIENTS[client]),
        common_phase_noise=common,
        forward_phase_noise=float(np.hypot(common, oscillator)),
        total_phase_noise=float(np.hypot(common, back)),
    )


def homodyned(y: Real, rr: Real, each: Real | None) -> Real:
    figures = [y, y**2, rr, y * rr, y**2 * rr, rr**2]
    if each is not None:
        figures += [
            *each.T,
            *(y * each.T),
            *(each**2).T,
            *(y**2 * (each**2).T),
            each[:, 0] * each[:, 1],
            y**2 * each[:, 0] * each[:, 1],
        ]
    return np.stack(figures)


def figures_of_counts(y: Real, photons: Real) -> Real:
    return np.stack((photons, y**2 * photons, photons**2, y**2 * photons**2))


def deviation(one: Real, two: Real) -> float:
    """Largest difference of means over the last axis, in standard errors."""
    error = np.sqrt(one.var(axis=1) / one.shape[1] + two.var(axis=1) / two.shape[1])
    return float(np.max(np.abs(one.mean(axis=1) - two.mean(axis=1)) / error))


def worst(client: str, drawn: LinkLaw, expected: LinkLaw, depth: str) -> tuple[float, float]:
    """Deviations of homodyned and of counted light, in standard errors."""
    q = Q * BRIGHT.get(client, 1.0)
    y, residuals, counts = direct.draw(expected, q, X, DRAWS, np.random.default_rng(31))
    seen = residuals[:, 0::2]
    rows, counted = np.tile(q, (2 * DRAWS, 1)), np.arange(2 * DRAWS) >= DRAWS
    if depth == "residuals":
        found = sample_residuals(drawn, rows, X[np.newaxis], PATTERN, counted, KeyedStreams(32))
        outcomes, each = found.outcomes[0].astype(np.float64), found.residuals[0].astype(np.float64)
        rr, photons = (each**2).sum(axis=1), found.counts[0].sum(axis=1).astype(np.float64)
        reference = homodyned(y, (seen**2).sum(axis=1), seen)
        homodyne = homodyned(outcomes[:DRAWS], rr, each)
    else:
        given, light = sample_statistics(
            drawn, rows, X[np.newaxis], PATTERN, counted, KeyedStreams(32), use_sums=depth == "use sums"
        )
        outcomes, photons = given[0].astype(np.float64), light.statistics.photons[DRAWS:].astype(np.float64)
        sums = None if light.use_sums is None else light.use_sums.sums[:DRAWS].astype(np.float64)
        reference = homodyned(y, (seen**2).sum(axis=1), None if sums is None else seen)
        homodyne = homodyned(outcomes[:DRAWS], light.statistics.sum_rr[:DRAWS], sums)
    reference_counts = figures_of_counts(y, counts.sum(axis=1).astype(np.float64))
    return deviation(homodyne, reference), deviation(figures_of_counts(outcomes[DRAWS:], photons), reference_counts)


@pytest.mark.parametrize("depth", ["statistics", "use sums", "residuals"])
@pytest.mark.parametrize(
    ("client", "phases"),
    [(client, phases) for client in CLIENTS for phases in (["all"] if client in BRIGHT else PHASES)],
)
def test_noise_turns_with_the_phase_behind_the_client(client: str, phases: str, depth: str) -> None:
    law = law_of(client, PHASES[phases])
    assert max(worst(client, law, law, depth)) < SIGMAS


@pytest.mark.parametrize("depth", ["statistics", "use sums", "residuals"])
@pytest.mark.parametrize("client", [client for client in CLIENTS if client not in BRIGHT])
def test_a_phase_that_is_given_to_the_wrong_part_is_seen(client: str, depth: str) -> None:
    """The light's own phase for the client's oscillator's: outcomes have the same law, what returns has not."""
    light, oscillator = (law_of(client, PHASES[name]) for name in ("light's own", "client's oscillator"))
    homodyne, _ = worst(
        client, light, oscillator, depth
    )  # counted light does not tell by which phase all of it is turned
    assert homodyne > SIGMAS
