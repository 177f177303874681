"""Tests only: laws of links, honest and cheating, that the sampler's tests share, and how moments are compared."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import Component, Ledger, Owner, Place, TapSetting
from labqdl.optics.client_law import (
    ClientLaw,
    cloner,
    honest,
    intercept_resend,
    over_amplification,
    passive_tap,
    substitution,
)
from labqdl.optics.gain_tap import TapLaw, amplifier_tap
from labqdl.optics.law import LinkLaw
from labqdl.rng import Root, Roots

Real = NDArray[np.float64]

SIGMAS = 7.0
"""Allowed deviation: 2.6e-12 a comparison, below 1e-6 a run for the hundred thousand that are made."""

AMPLIFIER = TapSetting.amplifier(2.0)
FEED_FORWARD = TapSetting.feed_forward(0.6)
IDEAL = Ledger("ideal")
LOSSY = Ledger(
    "lossy",
    (
        Component("out", Place.FORWARD, Owner.CHANNEL, transmissivity=0.8, excess=0.1),
        Component("amplifier", Place.TAP, Owner.CLIENT, n_sp=1.2),
        Component("receiver", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=0.85, electronic_noise=0.05),
        Component("back", Place.RETURN, Owner.CHANNEL, transmissivity=0.7, excess=0.05),
        Component("homodyne", Place.SERVER_RECEIVER, Owner.SERVER, transmissivity=0.9, electronic_noise=0.1),
        Component(
            "counter", Place.SERVER_COUNTER, Owner.SERVER, transmissivity=0.75, dark_counts=0.02, extinction=1e-2
        ),
    ),
)
SHAKY = Ledger(
    "shaky",
    (
        *LOSSY.components[:2],
        Component("receiver", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=0.85, phase_noise=0.2),
        *LOSSY.components[3:],
        Component("drift", Place.FORWARD, Owner.CHANNEL, phase_noise=0.4),
        Component("drift back", Place.RETURN, Owner.CHANNEL, phase_noise=0.3),
    ),
)

CLIENTS: dict[str, ClientLaw] = {
    "honest amplifier": honest(LOSSY, AMPLIFIER),
    "honest feed-forward": honest(LOSSY, FEED_FORWARD),
    "intercept-resend": intercept_resend(),
    "intercept-resend mmse": intercept_resend("mmse", 2.0),
    "cloner": cloner(),
    "weak cloner": cloner(0.3),
    "vacuum": substitution(),
    "estimate": substitution("estimate", 0.5),
    "over-amplification": over_amplification(AMPLIFIER, 4.0, LOSSY),
    "passive tap": passive_tap(0.2, AMPLIFIER, LOSSY),
    "unbalanced": ClientLaw("unbalanced", amplifier_tap(2.0, 0.7)),
    "turned": ClientLaw(
        "turned", TapLaw(complex(0.8, 0.3), 0.9, 0.5, 1.2, 2.5, 0.6, 0.4), isotropic_noise=0.2, isotropic_coupling=0.5
    ),
}
"""Every client of the physics notes, an unbalanced stage, and one law with everything asymmetric."""


def laws() -> dict[str, LinkLaw]:
    """All clients in a lossy, noisy path; some in an ideal one and with phase noise."""
    found = {name: LinkLaw.from_ledger(LOSSY, client) for name, client in CLIENTS.items()}
    found["ideal amplifier"] = LinkLaw.from_ledger(IDEAL, honest(IDEAL, AMPLIFIER))
    found["ideal feed-forward"] = LinkLaw.from_ledger(IDEAL, honest(IDEAL, FEED_FORWARD))
    found["ideal intercept-resend"] = LinkLaw.from_ledger(IDEAL, intercept_resend())
    found["hidden cloner"] = LinkLaw.from_ledger(LOSSY, cloner()).with_lossless_fibre()
    for name in ("honest amplifier", "honest feed-forward", "turned", "cloner"):
        found[f"{name}, shaky"] = LinkLaw.from_ledger(SHAKY, CLIENTS[name])
    counter = Ledger("dark counter", (LOSSY.components[-1],))
    found["dark counter"] = LinkLaw.from_ledger(counter, honest(counter, AMPLIFIER))
    wrong = replace(LOSSY.components[3], transmissivity=0.6)
    tampered = Ledger("tampered", (*LOSSY.components[:3], wrong, *LOSSY.components[4:]))
    found["tampered fibre"] = LinkLaw.from_ledger(tampered, CLIENTS["honest amplifier"], LOSSY)
    return found


LAWS = laws()


class KeyedStreams:
    """Streams of one (layer, block) of a seeded world."""

    def __init__(self, seed: int, block: int = 0) -> None:
        self.root: Root = Roots.from_seed(seed).world
        self.block = block

    def __call__(self, purpose: str, /) -> np.random.Generator:
        return self.root.generator(purpose, 0, self.block)


def unit_vectors(images: int, n_modes: int, seed: int) -> Real:
    """Random unit data (images, 2 n_modes)."""
    x = np.random.default_rng(seed).standard_normal((images, 2 * n_modes))
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def row(n_modes: int, seed: int, mu: float = 2.0) -> Real:
    """One random row of quadratures (2 n_modes,)."""
    return math.sqrt(2.0 * mu) * np.random.default_rng(seed).standard_normal(2 * n_modes)


def moments(samples: Real) -> tuple[Real, Real]:
    """Means of the samples (draws, d) and of all products of their centred values, with squared standard errors."""
    draws = samples.shape[0]
    mean = samples.mean(axis=0)
    centred = samples - mean
    squared = centred**2
    covariance = centred.T @ centred / draws
    variance = squared.T @ squared / draws - covariance**2  # of the products
    values = np.concatenate((mean, covariance.reshape(-1)))
    errors = np.concatenate((np.diag(covariance), np.maximum(variance, 0.0).reshape(-1))) / draws
    return values, errors


def compare_with_closed_form(samples: Real, mean: Real, covariance: Real) -> None:
    """Means and covariances of samples (draws, d) against closed forms, within SIGMAS empirical standard errors."""
    values, squares = moments(samples)
    expected = np.concatenate((mean, covariance.reshape(-1)))
    tolerance = SIGMAS * np.sqrt(squares) + 1e-9 * (1.0 + np.abs(expected))
    worst = np.max(np.abs(values - expected) / tolerance)
    assert worst <= 1.0, f"off by {worst * SIGMAS:.1f} standard errors"


def compare_samples(first: Real, second: Real) -> None:
    """Means and covariances of two sets of samples (draws, d) against each other, within SIGMAS standard errors."""
    a, a_squares = moments(first)
    b, b_squares = moments(second)
    tolerance = SIGMAS * np.sqrt(a_squares + b_squares) + 1e-9 * (1.0 + np.abs(a))
    worst = np.max(np.abs(a - b) / tolerance)
    assert worst <= 1.0, f"off by {worst * SIGMAS:.1f} standard errors"
