"""False alarms of whole sessions: the real sampler behind the link, the real verifier, every test and all together.

Sessions are of one inference each (a few uses for the test across uses), with fixed weights and fresh data. Two stages:

* a *faint* one, whose noise is so small beside shot noise that the envelope over the client's data is all but exact:
  p-values have to be uniform;
* the *paper's* one (G = 2), where p-values hold for the worst data: none may be too small too often. Counts are whole
  numbers, so that their p-values are compared with what the negative binomial law says of them.

200 sessions in the ordinary tests (70 of each variant), 10,000 in the soak. Comparisons fail beyond a 1e-8 tail of
their own law; about fifty are made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from labqdl.facts import Component, Consistency, FrameDescription, Ledger, Owner, Place, ShotNoise, TapSetting
from labqdl.link import EmulatedLink, parse_channel
from labqdl.rng import Roots
from labqdl.security.expected import layer_light
from labqdl.security.verification import Verifier
from tests.security.light import make_frame, make_light

ROWS, MODES, MU = 48, 8, 4.0
LEVELS = (1e-2, 1e-3)
TAIL = 1e-8

LOSSY = Ledger(
    "lossy",
    (
        Component("out", Place.FORWARD, Owner.CHANNEL, transmissivity=0.6),
        Component("back", Place.RETURN, Owner.CHANNEL, transmissivity=0.7),
        Component("receiver", Place.SERVER_RECEIVER, Owner.SERVER, transmissivity=0.9, electronic_noise=0.05),
        Component("counter", Place.SERVER_COUNTER, Owner.SERVER, transmissivity=0.8),
    ),
)
FAINT, PAPER = TapSetting.amplifier(1.002), TapSetting.amplifier(2.0)


@dataclass(frozen=True)
class Case:
    """One kind of session."""

    tap: TapSetting
    ledger: Ledger = LOSSY
    channel: str = "honest"
    images: int = 1
    unit: ShotNoise = ShotNoise.KNOWN
    shapes: tuple[tuple[int, int], ...] = ((ROWS, 2 * MODES),)

    def frame(self, alpha: float) -> FrameDescription:
        frame = make_frame(
            ledger=self.ledger, shapes=self.shapes, tap=self.tap, mu=MU, images=self.images, block=1, alpha=alpha
        )
        plan = replace(frame.plan, cross_use=True, residual_share=1.0, shot_noise=self.unit)
        return replace(frame, plan=plan, vacuum_slots=0 if self.unit is ShotNoise.KNOWN else 16)


CASES = {
    "faint": Case(FAINT),
    "faint, lossless fibre kept": Case(FAINT, channel="lossless"),
    "faint, three uses": Case(FAINT, images=3),
    "paper": Case(PAPER),
    "paper, own vacuum slots": Case(PAPER, unit=ShotNoise.OWN),
    "paper, two layers": Case(PAPER, shapes=((16, 16), (10, 16))),
}


def sessions(case: Case, count: int, alpha: float) -> Iterator[Consistency]:
    """Verdicts on consistency of so many honest sessions."""
    frame = case.frame(alpha)
    channel = parse_channel(case.channel)
    light = [
        make_light(np.random.default_rng([9, index]), layer.rows, layer.n_modes, layer.mu)
        for index, layer in enumerate(frame.layers)
    ]
    known = [layer_light(q) for q in light]
    amplitude = math.sqrt(frame.ledger.total * frame.ledger.server_efficiency)
    for seed in range(count):
        roots = Roots.from_seed(seed)
        link = EmulatedLink(channel.build(frame.ledger), roots.world, channel=channel)
        link.prepare(frame)
        verifier = Verifier(frame, known)
        for block in range(frame.n_blocks):
            for layer, q in enumerate(light):
                x = roots.client.generator("data", layer, block).standard_normal((1, q.shape[1]))
                x /= np.linalg.norm(x)
                pattern = roots.server.bits("quadrature", layer, block, count=q.shape[1] // 2)
                counted = roots.server.uniforms("counted", layer, block, count=len(q)) < frame.plan.counting_fraction
                link.server_port.send_rows(layer, block, q, 1)
                link.server_port.set_receiver(
                    layer, block, pattern, counted, amplitude, use_sums=True, sampled=np.zeros(1, np.int64)
                )
                link.client_port.set_data(layer, block, x)
                link.transmit(layer, block)
                verifier.add(layer, block, link.server_port.returned(layer, block), pattern)
        yield verifier.consistency()


def rate_is_at_most(found: int, count: int, level: float, what: str) -> None:
    assert stats.binom.sf(found - 1, count, level) > TAIL, f"{what}: {found} of {count} at {level}"


ROUNDS = pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.soak)], ids=["small", "soak"])


@ROUNDS
@pytest.mark.parametrize("name", CASES)
def test_honest_sessions_are_blamed_no_more_often_than_agreed(name: str, count: int) -> None:
    """Every test by its own p-value, and the session's verdict with the e-process, at 1e-2 and at 1e-3."""
    case = CASES[name]
    if count < 1000 and name not in ("faint", "paper"):
        count = 70  # variants; their thousands are in the soak
    p_values: dict[str, list[float]] = {}
    alarms = dict.fromkeys(LEVELS, 0)
    for consistency in sessions(case, count, LEVELS[0]):
        alarms[LEVELS[0]] += not consistency.passed
        # The verdict at the smaller rate, from the same light: all shares and the e-process scale with alpha.
        smaller = LEVELS[1] / LEVELS[0]
        evidence = consistency.log10_e_value >= -math.log10(0.5 * LEVELS[1])
        alarms[LEVELS[1]] += evidence or any(one.p_value <= smaller * one.threshold for one in consistency.tests)
        for result in consistency.tests:
            p_values.setdefault(result.name, []).append(result.p_value)
    for level in LEVELS:
        rate_is_at_most(alarms[level], count, level, "all tests")
        for test, values in p_values.items():
            rate_is_at_most(int(np.count_nonzero(np.array(values) <= level)), len(values), level, test)
    assert {test.split(",")[0] for test in p_values} == {
        "gain",
        "noise",
        "phase",
        "count",
        "cross-use",
        "direction",
        "spectral",
    }
    if case.tap == FAINT:
        for test in ("gain", "noise", "phase", "cross-use", "direction"):
            uniform(np.array(p_values[test]), test)
        standard([np.array(p_values[test]) for test in ("gain", "noise", "phase")])


def uniform(values: NDArray[np.float64], test: str) -> None:
    found = stats.kstest(values, "uniform")
    assert found.pvalue > TAIL, f"{test}: largest distance from uniform {found.statistic:.4f}"


def standard(p_values: list[NDArray[np.float64]]) -> None:
    """Gain, noise and phase rest on different sums: together as normal deviates, whose sum of squares is chi-square."""
    deviates = stats.norm.isf(np.concatenate(p_values) / 2)
    assert chi_square(deviates) > TAIL, f"mean square {np.mean(deviates**2):.4f} of the deviates"
    if deviates.size > 20_000:
        assert chi_square(1.05 * deviates) < TAIL  # planted: deviates 5 % too large


def chi_square(deviates: NDArray[np.float64]) -> float:
    value, degrees = float(deviates @ deviates), deviates.size
    return float(2 * min(stats.chi2.cdf(value, degrees), stats.chi2.sf(value, degrees)))


@ROUNDS
def test_counts_are_as_rare_as_their_law_says(count: int) -> None:
    """All rows counted: M rows of one image are negative binomial, whatever the data; both tails of p exactly."""
    found = dict.fromkeys((0.3, 0.1, *LEVELS), 0)
    mean = 0.7 * 0.8 / 2  # T_2 eta_d (D_X + D_P)/4 with D = 1
    case = Case(PAPER, shapes=((ROWS, 2 * MODES),))
    photons = []
    for consistency in counted_sessions(case, count):
        test = next(one for one in consistency.tests if one.name == "count")
        photons.append(round(test.statistic * test.samples))
        for level in found:
            found[level] += test.p_value <= level
    law = stats.nbinom(ROWS, 1 / (1 + mean))
    numbers = np.arange(0, 200)
    p = np.minimum(1.0, 2 * np.minimum(law.sf(numbers - 1), law.cdf(numbers)))
    for level, hits in found.items():
        expected = float(law.pmf(numbers)[p <= level].sum())
        assert expected <= level
        assert stats.binom.sf(hits - 1, count, expected) > TAIL, f"{hits} of {count} at {level}"
        assert stats.binom.cdf(hits, count, expected) > TAIL, f"{hits} of {count} at {level}"
    spread = math.sqrt(law.var() / count)
    assert abs(np.mean(photons) - law.mean()) < 5.8 * spread


def counted_sessions(case: Case, count: int) -> Iterator[Consistency]:
    frame = case.frame(LEVELS[0])
    q = make_light(np.random.default_rng(9), ROWS, MODES, MU)
    known = [layer_light(q)]
    for seed in range(count):
        roots = Roots.from_seed(seed)
        link = EmulatedLink(frame.ledger, roots.world)
        link.prepare(frame)
        x = roots.client.generator("data").standard_normal((1, q.shape[1]))
        pattern = roots.server.bits("quadrature", count=MODES)
        link.server_port.send_rows(0, 0, q, 1)
        link.server_port.set_receiver(0, 0, pattern, np.ones(ROWS, np.bool_), 1.0)
        link.client_port.set_data(0, 0, x / np.linalg.norm(x))
        link.transmit(0, 0)
        verifier = Verifier(frame, known)
        verifier.add(0, 0, link.server_port.returned(0, 0), pattern)
        yield verifier.consistency()
