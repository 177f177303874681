"""Bounds on leakage as values that cannot be shown without what they rest on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Quantity(StrEnum):
    """What a bound is about."""

    WEIGHTS = "weights"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class Bound:
    """An upper bound on leakage with everything that it rests on.

    Attributes
    ----------
    quantity:
        Weights (about the server's model) or data (about the client's input).
    engine:
        Name of the engine: `labqdl`, `prx-2025`, `arxiv-2024`.
    bits:
        Bits per real weight, or per real feature of the data.
    bits_per_mode:
        Bits per complex mode (two weights); None for data.
    uses:
        Uses of the same weights or the same datum that the figure covers.
    confidence:
        Probability with which the bound holds, given its assumptions; None for an asymptotic figure that takes the
        operating point and the ledger as known exactly.
    samples:
        Measured symbols behind it; 0 for an asymptotic figure.
    assumptions:
        Sentences, at least one.
    calibration:
        Source and age of the calibration, one string a source.
    best_overlap:
        Largest mean squared overlap of any guess with the direction of the data, from the rows of the first layer;
        for data only, and None where the engine says nothing about it.
    """

    quantity: Quantity
    engine: str
    bits: float
    bits_per_mode: float | None
    uses: int
    confidence: float | None
    samples: int
    assumptions: tuple[str, ...]
    calibration: tuple[str, ...]
    best_overlap: float | None = None

    def __post_init__(self) -> None:
        if self.best_overlap is not None and not (self.quantity is Quantity.DATA and 0 <= self.best_overlap <= 1):
            raise ValueError(f"best_overlap is a number from 0 to 1 about data, got {self.best_overlap!r}")
        if math.isnan(self.bits) or self.bits < 0:
            raise ValueError(f"a bound must be >= 0 bits, got {self.bits!r}")
        if not self.engine or not self.assumptions or not self.calibration:
            raise ValueError("a bound needs an engine, its assumptions and its calibration")
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, got {self.confidence!r}")
        if self.confidence is not None and self.samples < 1:
            raise ValueError("a certified bound needs samples")

    @property
    def unit(self) -> str:
        """Unit of `bits`."""
        return "bit per weight" if self.quantity is Quantity.WEIGHTS else "bit per feature"

    @property
    def figure(self) -> str:
        """Which of its engine's figures this is, as tables head it: "one use", "60 uses", either also "certified"."""
        uses = "one use" if self.uses == 1 else f"{self.uses:,} uses"
        return uses if self.confidence is None else f"{uses} certified"

    def __str__(self) -> str:
        if self.confidence is None:
            standing = "asymptotic, parameters taken as known"
        else:
            standing = f"confidence 1 - {1 - self.confidence:.2g}, {self.samples:,} symbols"
        uses = "one use" if self.uses == 1 else f"{self.uses:,} uses"
        return (
            f"{self.bits:.4g} {self.unit} ({self.quantity}, {uses}; engine {self.engine}; {standing}; "
            f"calibration: {', '.join(self.calibration)}; assumes: {'; '.join(self.assumptions)})"
        )

    def __format__(self, spec: str) -> str:
        if spec:
            raise ValueError(
                "a bound is not a bare number: print it whole, or take `.bits` and say engine, confidence and samples"
            )
        return str(self)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an engine gives no bound, in words."""

    quantity: Quantity
    engine: str
    reason: str


@dataclass(frozen=True, slots=True)
class LeakageReport:
    """All bounds of one run or operating point: every engine, single use, certified and cumulative.

    `refusals` says where an engine that was asked has no bound to give.
    """

    bounds: tuple[Bound, ...]
    refusals: tuple[Refusal, ...] = ()

    def select(
        self, quantity: Quantity, engine: str, *, certified: bool = False, cumulative: bool = False
    ) -> Bound | None:
        """The bound of that description, or None where there is none (no samples, one use only)."""
        for bound in self.bounds:
            if (
                bound.quantity is quantity
                and bound.engine == engine
                and (bound.confidence is not None) == certified
                and (bound.uses > 1) == cumulative
            ):
                return bound
        return None

    def engines(self, quantity: Quantity) -> tuple[str, ...]:
        """Engines that speak about a quantity, in order of appearance."""
        return tuple(dict.fromkeys(bound.engine for bound in self.bounds if bound.quantity is quantity))

    def assumptions(self, quantity: Quantity, engine: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What an engine's figures about a quantity rest on: (figures in words, sentences that just these share).

        Every sentence stands once. Those of all figures come first, the others in the order of the figures.
        """
        bounds = [bound for bound in self.bounds if bound.quantity is quantity and bound.engine == engine]
        bounds.sort(key=lambda bound: (bound.confidence is not None, bound.uses))
        everything = tuple(bound.figure for bound in bounds)
        groups: dict[tuple[str, ...], list[str]] = {everything: []}
        for sentence in dict.fromkeys(sentence for bound in bounds for sentence in bound.assumptions):
            figures = tuple(bound.figure for bound in bounds if sentence in bound.assumptions)
            groups.setdefault(figures, []).append(sentence)
        return tuple(
            (
                "all figures" if figures == everything and len(figures) > 1 else " and ".join(figures),
                tuple(sentences),
            )
            for figures, sentences in groups.items()
            if sentences
        )

    def to_json(self) -> dict[str, Any]:
        """The `leakage` object of `--json`: `weights` and `data`, each keyed by engine."""
        result: dict[str, Any] = {}
        for quantity, unit in ((Quantity.WEIGHTS, "bits_per_weight"), (Quantity.DATA, "bits_per_feature")):
            engines: dict[str, Any] = {}
            for engine in self.engines(quantity):
                entry: dict[str, Any] = {}
                for bound in self.bounds:
                    if bound.quantity is not quantity or bound.engine != engine:
                        continue
                    prefix = "cumulative_" if bound.uses > 1 else ""
                    prefix += "certified_" if bound.confidence is not None else ""
                    entry[prefix + unit] = bound.bits
                    if bound.bits_per_mode is not None:
                        entry[prefix + "bits_per_mode"] = bound.bits_per_mode
                    if bound.confidence is not None:
                        entry["confidence"] = bound.confidence
                        entry["samples"] = bound.samples
                    if bound.uses > 1:
                        entry["cumulative_uses"] = bound.uses
                    entry[prefix + "assumptions"] = list(bound.assumptions)
                    entry["calibration"] = list(bound.calibration)
                    if bound.best_overlap is not None:
                        entry[("cumulative_" if bound.uses > 1 else "") + "best_overlap"] = bound.best_overlap
                engines[engine] = entry
            for refusal in self.refusals:
                if refusal.quantity is quantity:
                    engines[refusal.engine] = {"refused": refusal.reason}
            result[str(quantity)] = engines
        return result

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LeakageReport:
        """The report behind a `leakage` object of `--json`, as far as that tells.

        Older objects have the assumptions of all of an engine's figures in one list; each bound comes back with all of
        them then.

        Raises
        ------
        ValueError
            For anything but such an object; says what is wrong.
        """
        bounds = []
        refusals = []
        try:
            for quantity, unit in ((Quantity.WEIGHTS, "bits_per_weight"), (Quantity.DATA, "bits_per_feature")):
                for engine, entry in document[str(quantity)].items():
                    if "refused" in entry:
                        refusals.append(Refusal(quantity, engine, str(entry["refused"])))
                        continue
                    for cumulative, certified in itertools.product((False, True), repeat=2):
                        prefix = ("cumulative_" if cumulative else "") + ("certified_" if certified else "")
                        if prefix + unit not in entry:
                            continue
                        per_mode = entry.get(prefix + "bits_per_mode")
                        overlap = entry.get(("cumulative_" if cumulative else "") + "best_overlap")
                        bounds.append(
                            Bound(
                                quantity=quantity,
                                engine=engine,
                                bits=float(entry[prefix + unit]),
                                bits_per_mode=None if per_mode is None else float(per_mode),
                                uses=int(entry["cumulative_uses"]) if cumulative else 1,
                                confidence=float(entry["confidence"]) if certified else None,
                                samples=int(entry["samples"]) if certified else 0,
                                assumptions=tuple(
                                    entry[prefix + "assumptions"]
                                    if prefix + "assumptions" in entry
                                    else entry["assumptions"]
                                ),
                                calibration=tuple(entry["calibration"]),
                                best_overlap=None if overlap is None else float(overlap),
                            )
                        )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"no leakage object: {type(error).__name__}: {error}") from None
        return cls(tuple(bounds), tuple(refusals))
