"""The server's verifier: from returned light to consistency, certificate and verdict.

Deterministic and without I/O. It keeps one set of sums for every (layer, block), and for every weight the sum of its
residuals, in whole numbers; everything is computed from them in the order in which blocks are sent (block by block,
layer by layer), so that a resumed run, or one whose blocks arrived in another order, ends in the same verdict to the
bit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import (
    Bound,
    Certificate,
    Consistency,
    FrameDescription,
    Reason,
    ReturnedLight,
    ShotNoise,
    TestResult,
    Verdict,
    VerdictKind,
)
from labqdl.security.acceptance import accepted_range
from labqdl.security.checks import E_PROCESS_SHARE, session_checks
from labqdl.security.cross_use import CrossUseTotals, UseAccumulator
from labqdl.security.eprocess import Evidence, log_increments
from labqdl.security.expected import LayerLight, Totals, honest_layers
from labqdl.security.finite import (
    ENGINE,
    ChannelLimits,
    certifiable,
    certified_bounds,
    certifying_engine,
    channel_limits,
    data_bits,
    limiting_part,
    limiting_part_of_data,
    more_symbols,
    weight_bits_per_mode,
)
from labqdl.security.sampled import SampledTotals, inspect
from labqdl.security.shot_noise import block_layer, measured_alpha, session_layers


class Verifier:
    """Collects what the server measured and judges it against the frame that both parties agreed on.

    Parameters
    ----------
    frame:
        The agreed frame description.
    light:
        One `LayerLight` a layer, from the server's own weights (`layer_light`); None assumes the worst weights.
    """

    def __init__(self, frame: FrameDescription, light: Sequence[LayerLight] | None = None) -> None:
        self._frame = frame
        self._light = light
        self._laws = honest_layers(frame, light)
        # Keys (block, layer): the order of sending.
        self._blocks: dict[tuple[int, int], Totals] = {}
        self._digests: dict[tuple[int, int], str] = {}
        self._sampled: dict[tuple[int, int], SampledTotals] = {}
        self._accumulators: dict[int, UseAccumulator] = {}
        self._without_uses: set[int] = set()
        self._evidence = Evidence.start()
        self._judged: tuple[tuple[int, int], ...] | None = ()

    def add(self, layer: int, block: int, light: ReturnedLight, pattern: NDArray[np.bool_] | None = None) -> bool:
        """Take in one (layer, block); False if it was there already.

        Parameters
        ----------
        layer, block:
            Indices from 0.
        light:
            What the server measured.
        pattern:
            The server's own choice of quadratures for it, (n_modes,), True for P; needed with `use_sums` or `sample`.

        Raises
        ------
        ValueError
            If rows or images do not fit the frame, or the same block is reported with other figures.
        """
        if not 0 <= layer < len(self._laws):
            raise IndexError(f"layer {layer} of {len(self._laws)}")
        statistics, uses, sample = light.statistics, light.use_sums, light.sample
        images = self._frame.block_vectors(block)
        law = self._laws[layer]
        if statistics.counted.shape != (law.rows,) or statistics.images != images:
            raise ValueError(
                f"layer {layer}, block {block}: {statistics.counted.shape[0]} rows and {statistics.images} images, "
                f"the frame has {law.rows} and {images}"
            )
        totals = Totals.from_rows(statistics, law.row_energy)
        if not all(
            math.isfinite(value) for value in (totals.qq, totals.qr, totals.rr, totals.jj, totals.jr, totals.signal)
        ):
            raise ValueError(f"layer {layer}, block {block}: statistics are not finite")
        key, digest = (block, layer), _digest(light)
        known = self._blocks.get(key)
        if known is not None:
            if known != totals or self._digests[key] != digest:
                raise ValueError(f"layer {layer}, block {block} was reported before with other figures")
            return False
        if pattern is None and not (uses is None and sample is None):
            raise ValueError(f"layer {layer}, block {block}: sums over uses and samples need the pattern")
        sampled: SampledTotals | None = None
        if sample is not None and pattern is not None:
            if sample.rows.size != np.count_nonzero(~statistics.counted):
                raise ValueError(f"layer {layer}, block {block}: {sample.rows.size} sampled rows do not fit")
            principal = None if self._light is None else self._light[layer].principal
            sampled = inspect(block_layer(self._frame, law, totals), sample, pattern, principal)
        if uses is not None and pattern is not None:
            if uses.images != images:
                raise ValueError(f"layer {layer}, block {block}: sums over {uses.images} uses, expected {images}")
            self._accumulators.setdefault(layer, UseAccumulator(law.rows, law.n_modes)).add(
                uses, pattern, statistics.counted
            )
        elif totals.residuals:
            self._without_uses.add(layer)
        if sampled is not None:
            self._sampled[key] = sampled
        self._take(key, totals, digest)
        return True

    def _take(self, key: tuple[int, int], totals: Totals, digest: str) -> None:
        in_order = not self._blocks or key > max(self._blocks)
        self._blocks[key], self._digests[key] = totals, digest
        if in_order and self._judged is not None:
            self._evidence = self._evidence.after(self._increments(key[1], totals))
        else:
            self._judged = None

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """The (layer, block) pairs taken in, in the order in which they were sent."""
        return tuple((layer, block) for block, layer in sorted(self._blocks))

    @property
    def samples(self) -> int:
        """Measured mode slots, homodyned and counted."""
        return sum(part.residuals + part.slots for part in self._blocks.values())

    def totals(self) -> tuple[Totals, ...]:
        """Sums of every layer over its blocks."""
        return tuple(
            Totals.sum(part for (_, layer), part in self._blocks.items() if layer == index)
            for index in range(len(self._laws))
        )

    def cross_use(self) -> tuple[CrossUseTotals, ...] | None:
        """Sums over the uses of every weight, layer by layer; None unless every homodyned block has brought its own.

        A layer of which nothing was homodyned yet has no terms.
        """
        if not self._accumulators or self._without_uses:
            return None
        return tuple(
            self._accumulators[index].totals(law.row_energy) if index in self._accumulators else CrossUseTotals()
            for index, law in enumerate(self._laws)
        )

    def sampled(self) -> tuple[SampledTotals, ...]:
        """What the images tell of which every residual was kept, layer by layer, in the order of sending."""
        ordered = sorted(self._sampled.items(), key=lambda item: item[0])
        return tuple(
            SampledTotals.sum(part for (_, layer), part in ordered if layer == index)
            for index in range(len(self._laws))
        )

    def evidence(self) -> Evidence:
        """The e-process over all blocks in the order in which they were sent."""
        if self._judged is None:
            self._evidence = Evidence.start()
            for (_, layer), part in sorted(self._blocks.items(), key=lambda item: item[0]):
                self._evidence = self._evidence.after(self._increments(layer, part))
            self._judged = ()
        return self._evidence

    def _increments(self, layer: int, totals: Totals) -> NDArray[np.float64]:
        return log_increments(block_layer(self._frame, self._laws[layer], totals), totals)

    @property
    def log10_abort(self) -> float:
        """Base-10 logarithm of the e-value at which the server aborts."""
        return -math.log10(E_PROCESS_SHARE * measured_alpha(self._frame))

    def accepted(self, test: TestResult) -> tuple[float, float] | None:
        """Lowest and highest statistic with which a test of `consistency`, pooled over layers, passes as things stand.

        None for a test that has no edges in the unit of its statistic; see `acceptance.accepted_range`.
        """
        totals = self.totals()
        return accepted_range(
            test.name,
            session_layers(self._frame, self._laws, Totals.sum(totals)),
            totals,
            test.threshold,
            cross_use=self.cross_use() if test.name == "cross-use" else None,
            sampled=self.sampled() if test.name == "direction" else None,
        )

    def running(self) -> Consistency:
        """Consistency so far, for use after every block: the e-process only, which may be looked at any time."""
        evidence = self.evidence()
        return Consistency(
            passed=not evidence.exceeds(E_PROCESS_SHARE * measured_alpha(self._frame)),
            alpha=self._frame.plan.alpha,
            tests=(),
            log10_e_value=evidence.log10_largest,
        )

    def consistency(self) -> Consistency:
        """Consistency of the session: all tests and the e-process together at alpha. To be asked for once, at the end.

        Looked at again and again while data come in, the tests (not the e-process) would spend their share of alpha
        each time; use `running` for that.
        """
        watched = self.running()
        totals = self.totals()
        tests = session_checks(
            session_layers(self._frame, self._laws, Totals.sum(totals)),
            totals,
            measured_alpha(self._frame),
            cross_use=self.cross_use(),
            sampled=self.sampled(),
        )
        return Consistency(
            passed=watched.passed and all(test.passed for test in tests),
            alpha=watched.alpha,
            tests=tests,
            log10_e_value=watched.log10_e_value,
        )

    def limits(self) -> ChannelLimits | None:
        """Worst-case transmissivity and excess noise at 1 - delta; None where nothing measured can witness them."""
        totals, frame = self.totals(), self._frame
        pooled, unit = Totals.sum(totals), frame.plan.shot_noise
        if pooled.residuals < 2 or not certifiable(frame.ledger, unit, pooled):
            return None
        return channel_limits(self._laws, totals, frame.ledger, frame.plan.delta, self.cross_use(), unit)

    def bounds(self) -> tuple[Bound, ...]:
        """Certified weight bounds for one use and for all images together; none without homodyned rows."""
        if self.limits() is None:
            return ()
        return certified_bounds(self._frame, self._laws, self.totals(), uses=self._uses, cross_use=self.cross_use())

    @property
    def _uses(self) -> int:
        """Uses of the weights that were measured: images of the layer that saw most, at least 1."""
        return max(1, *(part.images for part in self.totals()))

    def certificate(self) -> Certificate | None:
        """Finite-size bounds against the agreed budgets; None where nothing measured can certify any.

        `bits_per_feature` is the asymptotic figure of the agreed tap: the client's tap fixes what the server can
        learn about the data, not what the server measured.
        """
        limits = self.limits()
        if limits is None:
            return None
        frame, budgets, uses = self._frame, self._frame.budgets, self._uses
        weights = max(weight_bits_per_mode(frame, self._laws, limits)) / 2
        features = data_bits(frame)
        judged = [
            ("bits_per_weight", weights, budgets.bits_per_weight, 1),
            ("bits_per_feature", features, budgets.bits_per_feature, 0),
        ]
        if budgets.cumulative_bits_per_weight is not None:
            sum_of_uses = max(weight_bits_per_mode(frame, self._laws, limits, uses=uses)) / 2
            judged.append(("cumulative_bits_per_weight", sum_of_uses, budgets.cumulative_bits_per_weight, uses))
        if budgets.cumulative_bits_per_feature is not None:
            judged.append(("cumulative_bits_per_feature", features, budgets.cumulative_bits_per_feature, 0))
        failing = [(name, budget, times) for name, bits, budget, times in judged if bits > budget]
        limited_by: str | None = None
        further: int | None = None
        if failing:
            # What no number of symbols can cure is the one to name: the data figure first, it has no statistics.
            needed = [
                None
                if times == 0
                else more_symbols(
                    frame, self._laws, self.totals(), budget=budget, uses=times, cross_use=self.cross_use()
                )
                for _, budget, times in failing
            ]
            curable = [number for number in needed if number is not None]
            further = max(curable) if len(curable) == len(needed) else None
            worst = next((entry for entry, number in zip(failing, needed, strict=True) if number is None), failing[0])
            limited_by = limiting_part(frame, self._light, uses=worst[2]) if worst[2] else limiting_part_of_data(frame)
        return Certificate(
            passed=not failing,
            confidence=1 - frame.plan.delta,
            samples=limits.samples,
            transmissivity_min=limits.transmissivity,
            excess_max=limits.excess,
            bits_per_weight=weights,
            bits_per_feature=features,
            engine=certifying_engine(self._laws),
            failing=tuple(name for name, _, _ in failing),
            limited_by=limited_by,
            more_symbols=further,
        )

    def verdict(self) -> Verdict:
        """Abort if inconsistent, accept if the certificate holds too, else undecided with what is missing."""
        consistency, certificate = self.consistency(), self.certificate()
        if not consistency.passed:
            kind, reason = VerdictKind.ABORT, Reason.INCONSISTENT
            words = _explain_abort(consistency)
        elif certificate is None:
            kind, reason, words = VerdictKind.UNDECIDED, *self._uncertified()
        elif certificate.passed:
            kind, reason = VerdictKind.ACCEPT, Reason.ACCEPTED
            words = (
                f"The returned light agrees with the ledger at false-alarm rate {consistency.alpha:g}, and "
                f"{_figures(certificate)}, within the agreed budgets of {self._budgets()}."
            )
        else:
            kind = VerdictKind.UNDECIDED
            reason = Reason.BUDGET if certificate.more_symbols is None else Reason.SAMPLES
            words = (
                f"The returned light agrees with the ledger at false-alarm rate {consistency.alpha:g}, but "
                f"{_figures(certificate)}, against agreed budgets of {self._budgets()}: "
                f"{' and '.join(name.replace('_', ' ') for name in certificate.failing)} above budget. "
            )
            if certificate.more_symbols is None:
                words += f"No number of further symbols cures that; what raises it most is {certificate.limited_by}."
            else:
                words += (
                    f"About {certificate.more_symbols:,} further symbols from an honest client would do; the bound "
                    f"that they approach is limited by {certificate.limited_by}."
                )
        return Verdict(kind, reason, words, consistency, certificate)

    def _uncertified(self) -> tuple[Reason, str]:
        """Why there is no certificate."""
        if sum(part.residuals for part in self.totals()) < 2:
            return Reason.SAMPLES, "No returned light has been homodyned yet, so nothing can be certified."
        if self._frame.plan.shot_noise is ShotNoise.CROSSED:
            return Reason.SHOT_NOISE, (
                "The shot-noise unit was measured on vacuum slots that crossed the client, who may have filled them "
                "with any noise that it adds to the light, and no row was counted. So nothing can be certified: take "
                "the unit from vacuum slots with the server's own input blocked, or count a part of the rows."
            )
        return Reason.SHOT_NOISE, (
            "The receiver's own noise is in other hands, so that vacuum slots do not give its shot-noise unit, and no "
            "row was counted by a trusted counter. So nothing can be certified."
        )

    def _budgets(self) -> str:
        budgets = self._frame.budgets
        text = (
            f"{budgets.bits_per_weight:g} bit per weight and {budgets.bits_per_feature:g} bit per feature for one use"
        )
        for name in ("cumulative_bits_per_weight", "cumulative_bits_per_feature"):
            value = getattr(budgets, name)
            if value is not None:
                text += f", {name.replace('_', ' ')} {value:g}"
        cumulative = (budgets.cumulative_bits_per_weight, budgets.cumulative_bits_per_feature)
        return text if any(value is not None for value in cumulative) else f"{text} (no cumulative budget agreed)"

    def state_dict(self) -> dict[str, Any]:
        """All that the verdict depends on, as plain JSON: sums, and digests of sums over uses and of samples.

        A verifier is restored by giving a new one the same blocks.
        """
        return {
            "frame": self._frame.digest,
            "blocks": [
                {
                    "layer": layer,
                    "block": block,
                    **self._blocks[(block, layer)].to_json(),
                    "closer": self._digests[(block, layer)],
                }
                for layer, block in self.blocks
            ],
        }


def _digest(light: ReturnedLight) -> str:
    """BLAKE2b-128 of sums over uses and samples, hexadecimal; empty without either."""
    arrays: list[NDArray[Any]] = []
    if light.use_sums is not None:
        arrays += [np.array(light.use_sums.images), light.use_sums.sums]
    if light.sample is not None:
        arrays += [light.sample.images, light.sample.rows, light.sample.residuals]
    if not arrays:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _figures(certificate: Certificate) -> str:
    return (
        f"at most {certificate.bits_per_weight:.4g} bit per weight can have leaked in one use "
        f"(engine {certificate.engine}, confidence 1 - {1 - certificate.confidence:.2g}, {certificate.samples:,} "
        f"symbols: transmissivity at least {certificate.transmissivity_min:.5g}, excess noise at most "
        f"{certificate.excess_max:.4g} SNU) and "
        f"{certificate.bits_per_feature:.4g} bit per feature (engine {ENGINE}, asymptotic, by the agreed tap)"
    )


def _explain_abort(consistency: Consistency) -> str:
    failed: dict[str, list[TestResult]] = {}
    for test in consistency.tests:
        if not test.passed:
            failed.setdefault(test.name.split(",")[0], []).append(test)
    parts = [_failure(tests) for tests in failed.values()]
    if consistency.log10_e_value >= -math.log10(E_PROCESS_SHARE * consistency.alpha):
        parts.append(
            f"e-value 10^{consistency.log10_e_value:.1f} reached the threshold "
            f"10^{-math.log10(E_PROCESS_SHARE * consistency.alpha):.1f}"
        )
    return (
        f"The returned light does not agree with the ledger at false-alarm rate {consistency.alpha:g}: "
        f"{'; '.join(parts)}."
    )


def _failure(tests: Sequence[TestResult]) -> str:
    """One test that has failed, pooled over layers or in some: the figures of the first, the names of the others."""
    test, *others = tests
    layers = [other.name.partition(", ")[2] for other in others]
    also = f"; failed in {' and in '.join(layers)} alone as well" if layers else ""
    return (
        f"{test.name}: {test.statistic:.6g} {test.unit} where {test.expected:.6g} is honest (z = {test.z:.3g}, "
        f"{test.p_text}, share {test.threshold:.2g}, {test.samples:,} symbols{also})"
    )
