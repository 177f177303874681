"""The light path, component by component, over all modes: an independent second route to the link's joint law.

Nothing here uses a closed form of the library. Every quadrature of every mode is carried along explicitly through
each component, and each component draws its own vacuum, idler or electronic noise. All components are linear in the
quadratures, so one walk through the bench serves two purposes, depending on what the numbers are:

* `Coefficients`: a quadrature is a row of coefficients over the sent quadratures q and over all noise inputs (unit
  normals, one column each). Means are then exact linear maps of q and covariances exact Gram matrices.
* `Samples`: a quadrature is a row of Monte Carlo samples of the Wigner function (vacuum noise of variance 1 at every
  input port, none at detectors), which also takes what is not Gaussian, such as phase noise.

Fields have shape (modes, 2, columns), index 0 of the second axis for X and 1 for P; vacuum variance is 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


class Source(Protocol):
    """Where noise inputs come from."""

    def quantum(self, modes: int, variance: float = 1.0) -> Real:
        """Field of fresh modes in vacuum, or of thermal modes of the given quadrature variance."""

    def classical(self, shape: tuple[int, ...], variance: float) -> Real:
        """Fresh classical noise of shape (*shape, columns)."""


class Coefficients:
    """Exact bookkeeping: the first columns belong to q, then one column for each noise input."""

    def __init__(self, n_weights: int, capacity: int) -> None:
        self.n_weights = n_weights
        self.columns = n_weights + capacity
        self.used = n_weights
        self.canonical: list[int] = []
        """First columns of canonical pairs (X, P), for the check of commutators."""

    def _fresh(self, count: int, variance: float) -> Real:
        if self.used + count > self.columns:
            raise ValueError("raise the capacity: more noise inputs than columns")
        rows = np.zeros((count, self.columns))
        rows[np.arange(count), self.used + np.arange(count)] = math.sqrt(variance)
        self.used += count
        return rows

    def quantum(self, modes: int, variance: float = 1.0) -> Real:
        self.canonical += range(self.used, self.used + 2 * modes, 2)
        return self._fresh(2 * modes, variance).reshape(modes, 2, self.columns)

    def classical(self, shape: tuple[int, ...], variance: float) -> Real:
        return self._fresh(math.prod(shape), variance).reshape(*shape, self.columns)

    def commutators(self, rows: Real) -> Real:
        """[row_i, row_j] / 2i of rows (k, columns), from the canonical pairs of inputs of unit variance."""
        first = np.array(self.canonical)
        x_part, p_part = rows[:, first], rows[:, first + 1]
        return np.asarray(x_part @ p_part.T - p_part @ x_part.T)


class Samples:
    """Monte Carlo: every column is one row of weights sent."""

    def __init__(self, count: int, generator: np.random.Generator) -> None:
        self.count = count
        self.generator = generator

    def quantum(self, modes: int, variance: float = 1.0) -> Real:
        return self.classical((modes, 2), variance)

    def classical(self, shape: tuple[int, ...], variance: float) -> Real:
        return math.sqrt(variance) * self.generator.standard_normal((*shape, self.count))


@dataclass(frozen=True)
class AmplifierBuild:
    gain: float
    tap_transmissivity: float
    n_sp: float = 1.0


@dataclass(frozen=True)
class FeedForwardBuild:
    """Splitter, heterodyne, and a displacement of (1 - sqrt t) times the input-referred outcome."""

    transmissivity: float


@dataclass(frozen=True)
class InterceptResend:
    """Heterodyne of every mode with perfect detectors, then fresh coherent states of `gain` times what was read."""

    gain: float


@dataclass(frozen=True)
class SymmetricCloner:
    """Amplifier of gain 2 and a 50:50 splitter on every mode; one clone goes back, the other is homodyned along x."""


@dataclass(frozen=True)
class VacuumSubstitution:
    """All light is kept and homodyned along x; vacuum goes back."""


@dataclass(frozen=True)
class PassiveTap:
    """A fraction of all light is split off before an otherwise honest client."""

    fraction: float
    honest: AmplifierBuild | FeedForwardBuild


Build = AmplifierBuild | FeedForwardBuild | InterceptResend | SymmetricCloner | VacuumSubstitution | PassiveTap


@dataclass(frozen=True)
class Bench:
    """Every imperfection of the light path; all transmissivities are powers, all noises in SNU."""

    tap: Build
    forward: float = 1.0
    forward_excess: float = 0.0
    client_efficiency: float = 1.0
    client_noise: float = 0.0
    back: float = 1.0
    back_excess: float = 0.0
    server_efficiency: float = 1.0
    server_noise: float = 0.0
    counter_efficiency: float = 1.0


IDEAL = Bench(AmplifierBuild(2.0, 0.5))


@dataclass(frozen=True)
class Detected:
    """What leaves the bench; the last axis of every array holds coefficients or samples."""

    outcome: Real
    """(columns,): the client's outcome as its receiver gives it."""
    returned: Real
    """(modes, 2, columns): light at the server's input."""
    homodyned: Real
    """(modes, 2, columns): the server's homodyne outcome, were this quadrature chosen."""
    counted: Real
    """(modes, 2, columns): light behind the efficiency of the server's counter (before its displacement)."""


def unitary_from_direction(u: Complex) -> Complex:
    """A unitary whose last row is u^dagger, by QR of u and arbitrary vectors: no Givens chain, no tree."""
    n = u.size
    arbitrary = np.random.default_rng(n).standard_normal((n, n, 2)) @ np.array([1, 1j])
    arbitrary[:, 0] = u
    basis, triangle = np.linalg.qr(arbitrary)
    basis[:, 0] *= triangle[0, 0] / abs(triangle[0, 0])
    return np.asarray(np.roll(basis, -1, axis=1).conj().T)


def passive(field: Real, unitary: Complex) -> Real:
    """A passive linear network: a -> U a, orthogonal on the quadratures."""
    z = np.tensordot(unitary, field[:, 0] + 1j * field[:, 1], axes=1)
    return np.stack([z.real, z.imag], axis=1)


def beam_splitter(first: Real, second: Real, transmissivity: float) -> tuple[Real, Real]:
    """(t a + r b, r a - t b) with t^2 = transmissivity."""
    t, r = math.sqrt(transmissivity), math.sqrt(1 - transmissivity)
    return t * first + r * second, r * first - t * second


def loss(field: Real, transmissivity: float, source: Source) -> Real:
    return beam_splitter(field, source.quantum(field.shape[0]), transmissivity)[0]


def detector(field: Real, efficiency: float, noise: float, source: Source) -> Real:
    """Homodyne outcome of each quadrature of a field, were it the chosen one, in the receiver's units."""
    return loss(field, efficiency, source) + source.classical(field.shape[:2], noise)


def rotate(field: Real, angle: Real) -> Real:
    """A phase per column, for samples only."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([cosine * field[:, 0] - sine * field[:, 1], sine * field[:, 0] + cosine * field[:, 1]], axis=1)


def amplify_and_tap(
    bench: Bench, build: AmplifierBuild, b: Real, source: Source, receiver_phase: Real | None
) -> tuple[Real, Real]:
    idler = source.quantum(1, 2 * build.n_sp - 1)
    conjugated = idler * np.array([1.0, -1.0])[:, None]
    amplified = math.sqrt(build.gain) * b + math.sqrt(build.gain - 1) * conjugated
    kept, tapped = beam_splitter(amplified, source.quantum(1), build.tap_transmissivity)
    if receiver_phase is not None:
        tapped = rotate(tapped, receiver_phase)
    return detector(tapped, bench.client_efficiency, bench.client_noise, source)[0, 0], kept


def feed_forward(bench: Bench, build: FeedForwardBuild, b: Real, source: Source) -> tuple[Real, Real]:
    t = build.transmissivity
    kept, split = beam_splitter(b, source.quantum(1), t)
    arm_x, arm_p = beam_splitter(split, source.quantum(1), 0.5)
    seen_x = detector(arm_x, bench.client_efficiency, bench.client_noise, source)[0, 0]
    seen_p = detector(arm_p, bench.client_efficiency, bench.client_noise, source)[0, 1]
    referred = np.stack([seen_x, seen_p]) / math.sqrt(bench.client_efficiency * (1 - t) / 2)
    return referred[0], kept + (1 - math.sqrt(t)) * referred


def client(
    bench: Bench, build: Build, field: Real, unitary: Complex, source: Source, receiver_phase: Real | None = None
) -> tuple[Real, Real]:
    """The client's box: outcome and returned light, all modes, at the tap plane.

    `receiver_phase` is that of the local oscillator behind an amplifier and tap; it is not used by other builds.
    """
    modes = field.shape[0]
    if isinstance(build, PassiveTap):
        left = loss(field, 1 - build.fraction, source)
        return client(bench, build.honest, left, unitary, source)
    if isinstance(build, InterceptResend):
        arm_x, arm_p = beam_splitter(field, source.quantum(modes), 0.5)
        read = math.sqrt(2) * np.stack([arm_x[:, 0], arm_p[:, 1]], axis=1)
        return passive(read, unitary)[-1, 0], build.gain * read + source.quantum(modes)
    if isinstance(build, SymmetricCloner):
        conjugated = source.quantum(modes) * np.array([1.0, -1.0])[:, None]
        back, kept = beam_splitter(math.sqrt(2) * field + conjugated, source.quantum(modes), 0.5)
        return passive(kept, unitary)[-1, 0], back
    if isinstance(build, VacuumSubstitution):
        return passive(field, unitary)[-1, 0], source.quantum(modes)
    field = passive(field, unitary)
    if isinstance(build, AmplifierBuild):
        outcome, kept = amplify_and_tap(bench, build, field[-1:], source, receiver_phase)
    else:
        outcome, kept = feed_forward(bench, build, field[-1:], source)
    return outcome, passive(np.concatenate([field[:-1], kept]), unitary.conj().T)


def propagate(
    bench: Bench,
    unitary: Complex,
    sent: Real,
    source: Source,
    forward_phase: Real | None = None,
    return_phase: Real | None = None,
    receiver_phase: Real | None = None,
) -> Detected:
    """Light of quadratures `sent` (modes, 2, columns), its vacuum noise included, through the whole bench."""
    modes = sent.shape[0]
    field = loss(sent, bench.forward, source) + source.classical((modes, 2), bench.forward_excess)
    if forward_phase is not None:
        field = rotate(field, forward_phase)
    outcome, field = client(bench, bench.tap, field, unitary, source, receiver_phase)
    if return_phase is not None:
        field = rotate(field, return_phase)
    field = loss(field, bench.back, source) + source.classical((modes, 2), bench.back_excess)
    homodyned = detector(field, bench.server_efficiency, bench.server_noise, source)
    counted = loss(field, bench.counter_efficiency, source)
    return Detected(outcome, field, homodyned, counted)


@dataclass(frozen=True)
class Moments:
    """Exact first and second moments, in interleaved order (X_1, P_1, X_2, ...)."""

    outcome_map: Real
    """(n_weights,): E y = outcome_map . q"""
    homodyne_map: Real
    """(n_weights, n_weights): E y_s = homodyne_map q"""
    covariance: Real
    """(1 + n_weights, 1 + n_weights): of (y, y_s of all quadratures)"""
    counted_map: Real
    counted_covariance: Real
    commutators: Real
    """[., .]/2i of (y, returned quadratures at the server's input), where n_sp = 1"""

    def photons(self, q: Real, displacement: Real) -> Real:
        """Mean photons per mode at the counter after subtracting a displacement (n_weights,): shape (modes,)."""
        second = np.diag(self.counted_covariance) + (self.counted_map @ q - displacement) ** 2
        return np.asarray(second.reshape(-1, 2).sum(axis=1) / 4 - 0.5)


def moments(
    bench: Bench,
    u: Complex,
    unitary: Complex | None = None,
    phases: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Moments:
    """Exact moments over one row, for known q, direction u and phases (forward, return, client's receiver; rad)."""
    n = u.size
    source = Coefficients(2 * n, capacity=20 * n + 20)
    sent = source.quantum(n)
    sent[np.arange(n)[:, None], np.arange(2), np.arange(2 * n).reshape(n, 2)] += 1.0
    unitary = unitary_from_direction(u) if unitary is None else unitary
    seen = propagate(bench, unitary, sent, source, *(np.asarray(phase) for phase in phases))

    def split(rows: Real) -> tuple[Real, Real]:
        flat = rows.reshape(-1, source.columns)
        return flat[:, : 2 * n], flat[:, 2 * n :]

    outcome_map, outcome_noise = split(seen.outcome)
    homodyne_map, homodyne_noise = split(seen.homodyned)
    counted_map, counted_noise = split(seen.counted)
    noises = np.concatenate([outcome_noise, homodyne_noise])
    everything = np.concatenate([seen.outcome[None], seen.returned.reshape(2 * n, -1)])
    return Moments(
        outcome_map[0],
        homodyne_map,
        noises @ noises.T,
        counted_map,
        counted_noise @ counted_noise.T,
        source.commutators(everything),
    )


def monte_carlo(
    bench: Bench,
    u: Complex,
    q: Real,
    rows: int,
    generator: np.random.Generator,
    forward_phase_noise: float = 0.0,
    return_phase_noise: float = 0.0,
    receiver_phase_noise: float = 0.0,
) -> Detected:
    """Wigner samples of `rows` rows that all send q (n_weights,); phases are drawn once a row, rad rms."""
    source = Samples(rows, generator)
    sent = source.quantum(u.size) + q.reshape(-1, 2, 1)
    phases = [
        sigma * generator.standard_normal(rows)
        for sigma in (forward_phase_noise, return_phase_noise, receiver_phase_noise)
    ]
    return propagate(bench, unitary_from_direction(u), sent, source, *phases)


def interleaved(modes: Complex) -> Real:
    """(X_1, P_1, ...) of complex entries, written out by hand rather than with the library's `unpair`."""
    return np.asarray(np.stack([modes.real, modes.imag], axis=-1).reshape(*modes.shape[:-1], -1))


def generic_direction(n: int, seed: int) -> Complex:
    generator = np.random.default_rng([seed, n])
    u = generator.standard_normal(n) + 1j * generator.standard_normal(n)
    return np.asarray(u / np.linalg.norm(u), dtype=np.complex128)
