"""The client's own checks of the server: power, out-of-band light, size and repeatability of its outcomes.

A server that sends something else than the agreed coherent light may learn more about the data than the bounds for
coherent light say. The client cannot see that in its predictions. It can see, with parts of its own, how much light
arrives, whether light arrives where none belongs, and whether the same vector measured twice gives the same outcomes
but for the agreed noise. What no check can see, and which bound covers it, is in docs/physics.md, "The client's own
checks".

Every p-value is an upper limit under the agreed law. The agreed false-alarm rate is shared equally between all tests
that a session will make (Bonferroni), so that it holds whatever the tests have in common.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammainc, gammaincc

from labqdl.facts import FrameDescription, LayerFrame, Place, TestResult
from labqdl.facts.monitor import MonitorReading
from labqdl.optics.client_law import honest
from labqdl.optics.law import LinkLaw
from labqdl.rng import Root

Real = np.floating[Any]

TESTS = ("power", "row power", "out of band", "outcome energy", "repeat")
"""Names of the tests, in the order in which they are made."""

_PHASE_FAILURE = 1e-3
"""Share of a test's threshold that may go to a check vector which happens to point where phase noise is largest."""


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """What a client insists on when it checks the light that it is sent.

    Attributes
    ----------
    alpha:
        Probability of a false alarm in a session with an honest server, all tests together; None: the agreed alpha,
        which the server's own tests have as well.
    power_tolerance:
        Relative accuracy to which the power meter is calibrated against the agreed mu; more than that is charged to
        the server.
    row_crest:
        Largest energy of one row over the mean row's that a model may have.
    outcome_crest:
        Largest mean square of a layer's outcomes, over what weights without any preferred direction would give.
    """

    alpha: float | None = None
    power_tolerance: float = 0.05
    row_crest: float = 16.0
    outcome_crest: float = 64.0

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 < self.alpha < 0.5:
            raise ValueError(f"alpha must lie between 0 and 0.5, got {self.alpha!r}")
        if not (math.isfinite(self.power_tolerance) and self.power_tolerance >= 0):
            raise ValueError(f"power_tolerance must be finite and not negative, got {self.power_tolerance!r}")
        for name in ("row_crest", "outcome_crest"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 1):
                raise ValueError(f"{name} must be finite and at least 1, got {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True)
class GuardRecord:
    """Sums of one layer of one block, from which every test can be made again.

    Attributes
    ----------
    layer, block:
        Which.
    vectors:
        Data vectors that met the light, check vectors included.
    photons, exposure:
        Photons that the power meter counted, and how many it must count at the agreed power (0 without a meter).
    brightest_row:
        Photons of the brightest row.
    out_of_band, dark_counts:
        Photons outside of the band, and the mean number of darks among them.
    energy:
        Sum of the squared outcomes, SNU.
    repeats, degrees:
        Sum of the squared deviations of repeated outcomes from their mean, SNU, and its degrees of freedom.
    """

    layer: int
    block: int
    vectors: int
    photons: int
    exposure: float
    brightest_row: int
    out_of_band: int
    dark_counts: float
    energy: float
    repeats: float
    degrees: int

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)

    def after(self, earlier: GuardRecord) -> GuardRecord:
        """The sums of this block and of those before it; the brightest row, which does not add up, is this block's."""
        names = ("vectors", "photons", "exposure", "out_of_band", "dark_counts", "energy", "repeats", "degrees")
        sums = {name: getattr(earlier, name) + getattr(self, name) for name in names}
        return replace(self, **sums)


class Guard:
    """Places the client's check vectors, and judges what its detectors say about the server's light.

    Parameters
    ----------
    settings:
        What the client insists on.
    frame:
        The agreed frame; its `check_vectors` are streamed with every block.
    root:
        The client's own random numbers: which vectors are checks, and what they are.
    """

    def __init__(self, settings: GuardSettings, frame: FrameDescription, root: Root) -> None:
        self._settings = settings
        self._frame = frame
        self._root = root
        law = LinkLaw.from_ledger(frame.ledger, honest(frame.ledger, frame.tap))
        self._gain, self._variance = law.outcome_gain, law.outcome_variance
        self._phase_variance = law.forward_phase_noise**2
        self._arriving = frame.ledger.transmissivity(Place.FORWARD)
        self._records: dict[tuple[int, int], GuardRecord] = {}
        self._sums: dict[int, tuple[int, GuardRecord]] = {}  # by layer: blocks, and their sums
        self._findings: dict[tuple[str, int], TestResult] = {}
        # Two looks at every layer of every block: the block alone, and all blocks so far.
        alpha = frame.plan.alpha if settings.alpha is None else settings.alpha
        self._share = alpha / (2 * len(TESTS) * len(frame.layers) * frame.n_blocks)

    @property
    def threshold(self) -> float:
        """Share of alpha that each test may spend."""
        return self._share

    @property
    def records(self) -> tuple[GuardRecord, ...]:
        """Sums so far, in the order of blocks and layers."""
        return tuple(self._records[key] for key in sorted(self._records))

    @property
    def findings(self) -> tuple[TestResult, ...]:
        """The latest result of every test that was made, layer by layer; failed ones stay."""
        return tuple(self._findings.values())

    def places(self, layer: int, block: int) -> NDArray[np.intp]:
        """Places of the check vectors among all vectors of the block, rising; secret to the client."""
        images, checks = len(self._frame.block_images(block)), self._frame.check_vectors
        order = np.argsort(self._root.uniforms("check-places", layer, block, count=images + checks))
        return np.sort(order[:checks])

    def with_checks(self, layer: int, block: int, x: NDArray[Real]) -> NDArray[Real]:
        """Data directions (images, n_weights) with the check vectors in their secret places.

        All checks of a layer and block are one random direction, so that their outcomes differ by noise alone.
        """
        if not self._frame.check_vectors:
            return x
        setting = self._frame.layers[layer]
        check = np.zeros(setting.n_weights)
        entries = setting.n_features + int(setting.bias)
        check[:entries] = self._root.generator("check-direction", layer, block).standard_normal(entries)
        check /= np.linalg.norm(check)
        places = self.places(layer, block)
        whole = np.empty((len(x) + places.size, x.shape[1]), dtype=x.dtype)
        whole[places] = check
        whole[self._others(places, len(whole))] = x
        return whole

    def split(self, layer: int, block: int, values: NDArray[Real]) -> tuple[NDArray[Real], NDArray[Real]]:
        """Outcomes of the data and of the check vectors, from those of all vectors (vectors, rows)."""
        if not self._frame.check_vectors:
            return values, values[:0]
        places = self.places(layer, block)
        return values[self._others(places, len(values))], values[places]

    @staticmethod
    def _others(places: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
        others = np.ones(count, dtype=np.bool_)
        others[places] = False
        return others

    def take(
        self, layer: int, block: int, values: NDArray[Real], monitor: MonitorReading | None = None
    ) -> tuple[TestResult, ...]:
        """Take the outcomes of all vectors (vectors, rows) and the monitors' reading; returns the tests that failed.

        Raises
        ------
        ValueError
            For a reading of another number of rows.
        """
        setting = self._frame.layers[layer]
        if monitor is not None and monitor.photons.shape != (setting.rows,):
            raise ValueError(f"the monitor has {monitor.photons.shape[0]} rows, the layer {setting.rows}")
        data, checks = self.split(layer, block, values)
        record = self._record(setting, layer, block, data, checks, monitor)
        self._records[(block, layer)] = record
        return self._judge(record)

    def restore(self, records: Iterable[GuardRecord]) -> None:
        """Take over the sums of blocks that an earlier process finished."""
        for record in sorted(records, key=lambda one: (one.block, one.layer)):
            self._records[(record.block, record.layer)] = record
            self._judge(record)

    def _record(
        self,
        setting: LayerFrame,
        layer: int,
        block: int,
        data: NDArray[Real],
        checks: NDArray[Real],
        monitor: MonitorReading | None,
    ) -> GuardRecord:
        vectors = len(data) + len(checks)
        deviations = checks.astype(np.float64) - checks.mean(axis=0, dtype=np.float64) if len(checks) else checks
        squares = data.astype(np.float64, copy=False).reshape(-1)
        entries = setting.n_features + int(setting.bias)
        # Photons of the whole layer at the power meter: <q^2> = 2 mu over the real entries, |q|^2/4 photons.
        exposure = 0.0
        if monitor is not None:
            light = setting.mu * setting.rows * entries / 2 * self._arriving
            noise = self._frame.ledger.forward_excess * setting.streamed_slots / 2
            exposure = monitor.fraction * vectors * (light + noise)
        slots = setting.streamed_slots * vectors
        return GuardRecord(
            layer=layer,
            block=block,
            vectors=vectors,
            photons=0 if monitor is None else int(monitor.photons.sum()),
            exposure=exposure,
            brightest_row=0 if monitor is None else int(monitor.photons.max()),
            out_of_band=0 if monitor is None else monitor.out_of_band,
            dark_counts=0.0 if monitor is None else monitor.dark_counts * slots,
            energy=float(squares @ squares),
            repeats=float(np.sum(deviations**2)),
            degrees=max(len(checks) - 1, 0) * setting.rows,
        )

    def _judge(self, record: GuardRecord) -> tuple[TestResult, ...]:
        """All tests of one (layer, block): alone, and together with the earlier blocks of that layer."""
        tests = self._tests(record, 1)
        if record.layer in self._sums:
            count, earlier = self._sums[record.layer]
            sums = record.after(earlier)
            self._sums[record.layer] = count + 1, sums
            tests += self._tests(sums, count + 1)
        else:
            self._sums[record.layer] = 1, record
        for test in tests:
            known = self._findings.get((test.name, record.layer))
            if known is None or known.passed:
                self._findings[(test.name, record.layer)] = test
        return tuple(test for test in tests if not test.passed)

    def _tests(self, sums: GuardRecord, blocks: int) -> tuple[TestResult, ...]:
        setting, suffix = self._frame.layers[sums.layer], f", layer {sums.layer + 1}"
        results = []

        def add(name: str, statistic: float, expected: float, unit: str, z: float, p: float, samples: int) -> None:
            results.append(TestResult(name + suffix, statistic, expected, unit, z, min(p, 1.0), self._share, samples))

        slots = sums.vectors * setting.streamed_slots
        if sums.exposure > 0:
            agreed = sums.exposure * (1 + self._settings.power_tolerance)
            z = (sums.photons - sums.exposure) / math.sqrt(sums.exposure)
            add("power", sums.photons, sums.exposure, "photons", z, poisson_tail(sums.photons, agreed), slots)
            if blocks == 1:  # a row of light is one of a block's; its photons do not add up
                row, seen = sums.exposure / setting.rows, sums.brightest_row
                p = setting.rows * poisson_tail(seen, row * self._settings.row_crest)
                add("row power", seen, row, "photons", (seen - row) / math.sqrt(row), p, slots)
        if sums.dark_counts > 0:
            z = (sums.out_of_band - sums.dark_counts) / math.sqrt(sums.dark_counts)
            p = poisson_tail(sums.out_of_band, sums.dark_counts)
            add("out of band", sums.out_of_band, sums.dark_counts, "photons", z, p, slots)
        outcomes = setting.rows * (sums.vectors - blocks * self._frame.check_vectors)
        signal = 2 * setting.mu * self._gain**2
        most = self._settings.outcome_crest * signal * outcomes
        p = quadratic_tail(sums.energy, ((float(outcomes), self._variance),), most, self._variance)
        mean = sums.energy / outcomes / (signal + self._variance)
        add("outcome energy", mean, 1.0, "of what weights without a preferred direction give", 0.0, p, outcomes)
        if sums.degrees:
            ratio = sums.repeats / sums.degrees / self._variance
            p = self._repeat_tail(setting, sums.repeats, sums.degrees, blocks)
            z = (ratio - 1) * math.sqrt(sums.degrees / 2)
            add("repeat", ratio, 1.0, "of the agreed noise", z, p, sums.degrees)
        return tuple(results)

    def _repeat_tail(self, setting: LayerFrame, repeats: float, degrees: int, blocks: int) -> float:
        """P(sum of squared deviations >= repeats) with honest light.

        Phase noise adds at most sigma_1^2 (X_b^2 + P_b^2) g^2 to the variance of a row's outcome. Summed over rows
        that is a quadratic form in the random direction of the check vectors, below t times its mean except with the
        probability of `crest_of_random_direction`; it is taken to sit in as few rows as possible.
        """
        if self._phase_variance == 0:
            return float(gammaincc(degrees / 2, repeats / (2 * self._variance)))
        failure = _PHASE_FAILURE * self._share / (2 * blocks)
        mean = 2 * setting.mu * setting.rows * self._gain**2 * self._phase_variance
        phase = 2 * crest_of_random_direction(failure) * mean * blocks
        one = degrees / (setting.rows * blocks)
        terms = ((degrees - one, self._variance), (one, self._variance + phase))
        return quadratic_tail(repeats, terms) + 2 * blocks * failure


def complaint(failed: Sequence[TestResult]) -> str:
    """Why a client ends the session, in one line."""
    parts = [
        f"{test.name}: {test.statistic:.6g} {test.unit} where {test.expected:.6g} is agreed "
        f"({test.p_text}, share {test.threshold:.2g}, {test.samples:,} samples)"
        for test in failed
    ]
    return f"the light is not what was agreed: {'; '.join(parts)}"


def poisson_tail(count: int, mean: float) -> float:
    """P(Poisson(mean) >= count)."""
    if count <= 0:
        return 1.0
    return float(gammainc(count, mean)) if mean > 0 else 0.0


def quadratic_tail(
    value: float, terms: Sequence[tuple[float, float]], energy: float = 0.0, variance: float = 1.0
) -> float:
    """Chernoff's bound on P(Q >= value), Q a sum of lambda_i chi^2_{nu_i} with a mean of squared length `energy`.

    terms: pairs (nu, lambda); the mean lies in a direction of this `variance`, which is one of the lambdas. An upper
    bound for every number of degrees of freedom; about a factor z sqrt(2 pi) above the tail z standard deviations out.
    """
    largest = max(lam for nu, lam in terms if nu > 0)
    mean = math.fsum([*(nu * lam for nu, lam in terms), energy])
    if value <= mean:
        return 1.0

    def slope(s: float) -> float:
        shift = energy / (1 - 2 * variance * s) ** 2
        return math.fsum([*(nu * lam / (1 - 2 * lam * s) for nu, lam in terms), shift]) - value

    edge = 0.5 / largest
    low, high = 0.0, edge * (1 - 1e-12)
    s = high if slope(high) <= 0 else float(brentq(slope, low, high, xtol=1e-18, rtol=1e-12))
    cgf = math.fsum([*(-0.5 * nu * math.log1p(-2 * lam * s) for nu, lam in terms), energy * s / (1 - 2 * variance * s)])
    return min(math.exp(min(cgf - s * value, 0.0)), 1.0)


def crest_of_random_direction(failure: float) -> float:
    """t such that a non-negative quadratic form exceeds t times its mean with probability at most `failure`.

    For a uniformly random unit vector. A mixture of chi^2_1 variables has, by convexity of the exponential, no larger
    moment generating function than a single one, and components of a unit vector have lighter tails than normals:
    P <= sqrt(t) exp(-(t - 1)/2).
    """
    return float(brentq(lambda t: 0.5 * math.log(t) - 0.5 * (t - 1) - math.log(failure), 1.0, 4000.0))
