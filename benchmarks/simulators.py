"""One inner product with return: a Gaussian-state simulator (Piquasso) against depth three of the sampler.

The simulator propagates mean vector and covariance matrix of all modes through the real circuit: interferometer,
two-mode squeezer with an idler, tap, inverse interferometer. It is an independent check of the sampler's law as well.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Benchmark, Figure, Options, Ratio, Result, blas_threads, interleave, not_installed
from labqdl.facts import Ledger, TapSetting
from labqdl.optics.client_law import honest
from labqdl.optics.expectation import cross_covariance, outcome_slope, residual_covariance, residual_mean
from labqdl.optics.interferometer import GivensChain
from labqdl.optics.law import LinkLaw
from labqdl.optics.modes import pair
from labqdl.optics.sampler import sample_residuals

MODES = (8, 64, 392)
MU, GAIN = 4.0, 2.0
SHOT_NOISE_SHOTS = 20_000
ROWS, IMAGES = 784, 16

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One row and one data vector: quadratures q (2n,), direction x (2n,), homodyned quadratures (n,)."""

    law: LinkLaw
    q: Vector
    x: Vector
    pattern: NDArray[np.bool_]

    @property
    def n_modes(self) -> int:
        return self.pattern.size

    @classmethod
    def random(cls, n_modes: int) -> Case:
        generator = np.random.Generator(np.random.SFC64(n_modes))
        ledger = Ledger("ideal")
        x = generator.standard_normal(2 * n_modes)
        return cls(
            LinkLaw.from_ledger(ledger, honest(ledger, TapSetting.amplifier(GAIN))),
            math.sqrt(2.0 * MU) * generator.standard_normal(2 * n_modes),
            x / np.linalg.norm(x),
            generator.random(n_modes) < 0.5,
        )


class Circuit:
    """The row's circuit in Piquasso: n modes, idler n, tap n + 1. Its fast form: one instruction a stage.

    The matrices are made beforehand; the phases that choose the homodyned quadratures are part of the second.
    """

    def __init__(self, pq: Any, case: Case) -> None:
        self._pq, self._case = pq, case
        n = case.n_modes
        self._means = np.zeros(2 * (n + 2))
        self._means[: 2 * n] = case.q
        self._forward = GivensChain.from_direction(pair(case.x)).matrix()
        self._inverse = self._forward.conj().T
        turn = np.where(case.pattern, -1j, 1.0)  # P becomes X
        self._inverse_turned = turn[:, np.newaxis] * self._inverse
        self._simulator = pq.GaussianSimulator(d=n + 2)
        # Mean takes units of sqrt(hbar); a coherent state of quadrature q in SNU has the mean q sqrt(hbar / 2).
        self._hbar = pq.Config().hbar

    def _program(self, measured: bool) -> Any:
        pq, n = self._pq, self._case.n_modes
        signals = tuple(range(n))
        with pq.Program() as program:
            pq.Q() | pq.Mean(self._means / math.sqrt(2.0))
            pq.Q(*signals) | pq.Interferometer(self._forward)
            pq.Q(n - 1, n) | pq.Squeezing2(r=math.acosh(math.sqrt(GAIN)))
            pq.Q(n - 1, n + 1) | pq.Beamsplitter(theta=math.acos(math.sqrt(1.0 / GAIN)))
            pq.Q(*signals) | pq.Interferometer(self._inverse_turned if measured else self._inverse)
            if measured:
                pq.Q(*signals, n + 1) | pq.HomodyneMeasurement()
        return program

    def sample(self) -> Any:
        """One joint homodyne of all returned modes and the tap."""
        with warnings.catch_warnings():
            # Piquasso stands for a homodyne's infinite noise by a large one; numpy then doubts the covariance.
            warnings.simplefilter("ignore", RuntimeWarning)
            return self._simulator.execute(self._program(measured=True), shots=1)

    def state(self) -> tuple[Vector, Vector]:
        """Means (2(n+2),) and covariances of quadratures in SNU behind the circuit, modes X, P interleaved."""
        state = self._simulator.execute(self._program(measured=False)).state
        vacuum = vacuum_covariance(self._pq)
        means = np.asarray(state.xpxp_mean_vector) * math.sqrt(2.0 / self._hbar)
        return means, np.asarray(state.xpxp_covariance_matrix) / vacuum


def vacuum_covariance(pq: Any) -> float:
    """What the simulator's covariance matrix says of vacuum: its unit."""
    with pq.Program() as program:
        pq.Q() | pq.Vacuum()
    return float(pq.GaussianSimulator(d=1).execute(program).state.xpxp_covariance_matrix[0, 0])


def shot_noise(pq: Any, shots: int = SHOT_NOISE_SHOTS) -> float:
    """mean^2 / variance of homodyned X of a coherent state of amplitude 1.5: 9 where the noise is right."""
    with pq.Program() as program:
        pq.Q(0) | pq.Vacuum()
        pq.Q(0) | pq.Displacement(r=1.5)
        pq.Q(0) | pq.HomodyneMeasurement()
    samples = np.asarray(pq.GaussianSimulator(d=1).execute(program, shots=shots).samples)[:, 0]
    return float(samples.mean() ** 2 / samples.var())


def disagreement(circuit: Circuit, case: Case) -> float:
    """Largest difference, in SNU or its root, between the simulator's state and labqdl's closed forms.

    Means and covariances of all returned quadratures, mean of the tap, covariances of tap and returned light.
    """
    law, n = case.law, case.n_modes
    means, covariance = circuit.state()
    returned, tap = slice(0, 2 * n), 2 * (n + 1)
    # The phase of the tapped port is a convention of the beam splitter; one sign, taken from the mean.
    expected = outcome_slope(law) * float(case.x @ case.q)
    sign = math.copysign(1.0, float(means[tap]) * expected)
    differences = (
        means[returned] - (residual_mean(law, case.q, case.x) + law.homodyne.expected * case.q),
        covariance[returned, returned] - residual_covariance(law, case.q, case.x),
        sign * means[tap] - expected,
        sign * covariance[tap, returned] - cross_covariance(law, case.q, case.x),
        covariance[tap, tap] - law.outcome_variance,
    )
    return max(float(np.max(np.abs(difference))) for difference in differences)


def measure(options: Options) -> Iterator[Result]:
    try:
        import piquasso as pq  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        yield not_installed("Piquasso", "piquasso")
        return
    version = metadata.version("piquasso")
    shots = max(2000, round(SHOT_NOISE_SHOTS * options.scale))
    found = shot_noise(pq, shots)
    wrong = abs(found / 9.0 - 1.0) > 0.15
    yield Figure(
        f"Piquasso {version}: mean^2/variance of a homodyned coherent state, alpha = 1.5",
        found,
        "(9 is right)",
        "its samples have twice the shot noise; its states are right in units of its own vacuum, which is what is "
        "compared below, and the times do not depend on a scale"
        if wrong
        else "shot noise as it should be",
    )
    with blas_threads(1):
        for n_modes in (n for n in MODES if options.scale == 1 or n <= MODES[0]):
            yield from _one_size(pq, n_modes, options)


def _one_size(pq: Any, n_modes: int, options: Options) -> Iterator[Result]:
    case = Case.random(n_modes)
    circuit = Circuit(pq, case)
    yield Figure(
        f"n_modes = {n_modes}: largest disagreement of means and covariances",
        disagreement(circuit, case),
        "SNU",
        "the simulator's state behind the circuit against labqdl.optics.expectation: returned light, tap, and between",
        target=1e-9,
    )
    row, direction = case.q[np.newaxis], case.x[np.newaxis]
    many_rows = np.asfortranarray(np.tile(case.q, (ROWS, 1)))
    many_images = np.tile(case.x, (IMAGES, 1))

    def streams(purpose: str, /) -> np.random.Generator:
        return np.random.Generator(np.random.SFC64(len(purpose)))

    def alone() -> None:
        for _ in range(20):
            sample_residuals(case.law, row, direction, case.pattern, np.zeros(1, np.bool_), streams)

    def batch() -> None:
        sample_residuals(case.law, many_rows, many_images, case.pattern, np.zeros(ROWS, np.bool_), streams)

    times = interleave({"simulator": circuit.sample, "alone": alone, "batch": batch}, options.repeats)
    what = f"n_modes = {n_modes}, float64, one homodyne of the tap and of every returned mode"
    simulator = times["simulator"]
    for name, count, how in (
        ("alone", 20, "labqdl one row and image per call"),
        ("batch", ROWS * IMAGES, f"labqdl {ROWS} rows x {IMAGES} images in one call, per row and image"),
    ):
        own = times[name].each(count)
        yield Ratio(
            f"Piquasso / labqdl, {name}",
            f"{what}; times of one row and image; {how}",
            1,
            simulator,
            own,
        )


GAUSSIAN = Benchmark("gaussian", "one inner product with return: Piquasso against the sampler", measure)
