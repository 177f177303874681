"""A client with a lossless fibre in place of a lossy one: nothing to detect, and all of it is in the bound.

What such a client holds is computed here from the modes themselves: every part as a symplectic matrix, the client's
share of the output, and its symplectic eigenvalues. No formula of the package takes part.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.api import bound
from labqdl.facts import Component, Ledger, Owner, Place
from labqdl.link import Depth, EmulatedLink, parse_channel
from labqdl.rng import Roots
from labqdl.security.holevo import weight_leakage
from tests.security.light import make_frame

Reals = NDArray[np.float64]


def beam_splitter(modes: int, first: int, second: int, transmissivity: float) -> Reals:
    """Quadratures (X1, P1, X2, ...): first -> sqrt(T) first + sqrt(1-T) second."""
    s = np.eye(2 * modes)
    t, r = math.sqrt(transmissivity), math.sqrt(1 - transmissivity)
    for k in (0, 1):
        a, b = 2 * first + k, 2 * second + k
        s[a, a], s[a, b], s[b, a], s[b, b] = t, r, -r, t
    return s


def amplifier(modes: int, signal: int, idler: int, gain: float) -> Reals:
    """Two-mode squeezing of signal and idler: power gain `gain` of the signal."""
    s = np.eye(2 * modes)
    c, h = math.sqrt(gain), math.sqrt(gain - 1)
    for k, sign in ((0, 1.0), (1, -1.0)):
        a, b = 2 * signal + k, 2 * idler + k
        s[a, a], s[b, b], s[a, b], s[b, a] = c, c, sign * h, sign * h
    return s


def entropy(covariance: Reals) -> float:
    """Von Neumann entropy of a Gaussian state in bits, from its symplectic eigenvalues."""
    modes = len(covariance) // 2
    form = np.kron(np.eye(modes), np.array([[0.0, 1.0], [-1.0, 0.0]]))
    values = np.sort(np.abs(np.linalg.eigvals(1j * form @ covariance)))[::2]
    total = 0.0
    for nu in values:
        up, down = (nu + 1) / 2, (nu - 1) / 2
        total += up * math.log2(up) - (down * math.log2(down) if down > 1e-12 else 0.0)
    return total


def held_by_the_client(mu: float, out: float, back: float, gain: float | None) -> float:
    """Bits that all kept modes tell about one mode's amplitude; `gain` None for modes that are not addressed."""
    # Modes: 0 signal, 1 kept on the way out, 2 idler, 3 tap, 4 kept on the way back.
    s = beam_splitter(5, 0, 1, out)
    if gain is not None:
        s = beam_splitter(5, 0, 3, 1 / gain) @ amplifier(5, 0, 2, gain) @ s
    s = beam_splitter(5, 0, 4, back) @ s
    kept = slice(2, None)
    known = np.eye(10)
    unknown = np.eye(10)
    unknown[0, 0] = unknown[1, 1] = 2 * mu + 1
    return entropy((s @ unknown @ s.T)[kept, kept]) - entropy((s @ known @ s.T)[kept, kept])


def path(out: float, back: float, trusted: bool = False) -> Ledger:
    return Ledger(
        "fibre",
        (
            Component("out", Place.FORWARD, Owner.CHANNEL, trusted=trusted, transmissivity=out),
            Component("back", Place.RETURN, Owner.CHANNEL, trusted=trusted, transmissivity=back),
        ),
    )


POINTS = pytest.mark.parametrize(
    ("mu", "out", "back", "gain"),
    [(4.0, 0.5**0.5, 0.5**0.5, 2.0), (0.205, 0.93, 0.93, 2.0), (90.0, 0.999, 0.999, 1.0011), (1.0, 0.3, 0.9, 5.0)],
)


@POINTS
def test_with_one_mode_the_client_holds_exactly_what_the_bound_says(
    mu: float, out: float, back: float, gain: float
) -> None:
    excess = back * 2 * (gain - 1) / gain
    assert held_by_the_client(mu, out, back, gain) == pytest.approx(
        weight_leakage(mu=mu, transmissivity=out * back, excess=excess), rel=1e-7
    )


@POINTS
@pytest.mark.parametrize("n", [8, 392])
def test_the_bound_covers_what_a_lossless_fibre_spares(mu: float, out: float, back: float, gain: float, n: int) -> None:
    gained = (held_by_the_client(mu, out, back, gain) + (n - 1) * held_by_the_client(mu, out, back, None)) / n
    ledger = path(out, back)
    stated = weight_leakage(mu=mu, transmissivity=ledger.total, excess=back * 2 * (gain - 1) / gain / n)
    assert gained <= stated * (1 + 1e-9)
    # Not idle: with a tenth more transmissivity than there is the light that is kept is no longer covered.
    if out * back < 0.95 and n == 392:
        careless = weight_leakage(
            mu=mu, transmissivity=min(1.1 * out * back, 1.0), excess=back * 2 * (gain - 1) / gain / n
        )
        assert gained > careless


def test_trusting_the_fibre_is_an_assumption_and_not_a_finding() -> None:
    """Where the server vouches for the fibre, its bound leaves the spared light out: it is then on the server."""
    point = {"mu": 4.0, "amplifier_gain": 2.0, "modes": (392,), "rows": (784,)}
    untrusted = bound(transmissivity=0.5, **point).weights.bits_per_mode  # type: ignore[arg-type]
    half = math.sqrt(0.5)
    gained = (held_by_the_client(4.0, half, half, 2.0) + 391 * held_by_the_client(4.0, half, half, None)) / 392
    assert untrusted is not None
    trusted = weight_leakage(mu=4.0 * half, transmissivity=1.0, excess=1 / 392)
    assert trusted == pytest.approx(0.0647, abs=5e-5)
    assert trusted < gained / 10 < gained < untrusted


def test_better_outcomes_from_the_same_returned_light() -> None:
    frame = make_frame(ledger=path(0.5, 0.6), shapes=((24, 16),), images=2000, block=2000)
    generator = np.random.default_rng(8)
    q = generator.standard_normal((24, 16)) * math.sqrt(8.0)
    x = generator.standard_normal((2000, 16))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    errors = []
    for word in ("honest", "lossless"):
        channel = parse_channel(word)
        link = EmulatedLink(
            channel.build(frame.ledger), Roots.from_seed(1).world, channel=channel, depth=Depth.STATISTICS
        )
        link.prepare(frame)
        link.server_port.send_rows(0, 0, q, 2000)
        link.server_port.set_receiver(
            0, 0, generator.random(8) < 0.5, generator.random(24) < 0.25, math.sqrt(frame.ledger.total)
        )
        link.client_port.set_data(0, 0, x)
        link.transmit(0, 0)
        y = link.client_port.outcomes(0, 0)
        expected = x @ q.T * math.sqrt(0.5)  # slope of G = 2 and T_1 = 1/2, which the client's software expects
        errors.append(float(np.var(y - expected)))
    # Signal to noise adds: g^2 T_1/2 = 0.25 and 0.5 of the kept light. 48,000 outcomes: 5.5 sigma are 3.5 %.
    assert errors[0] == pytest.approx(2.0, rel=0.035)
    assert errors[1] == pytest.approx(0.5 / 0.75, rel=0.035)
    assert abs(errors[1] / (0.5 / 0.75) / 1.05 - 1) > 0.035
