"""The server's verdict and what it rests on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

SMALLEST_P = 1e-300
"""P-values below this cannot be told from 0 in double precision."""


class VerdictKind(StrEnum):
    """What the server concludes from its own records."""

    ACCEPT = "accept"
    UNDECIDED = "undecided"
    ABORT = "abort"


class Reason(StrEnum):
    """Why a verdict is not `accept`, or that it is."""

    ACCEPTED = "accepted"
    INCONSISTENT = "inconsistent"
    SAMPLES = "samples"
    BUDGET = "budget"
    CLIENT = "client"
    SHOT_NOISE = "shot-noise"


@dataclass(frozen=True, slots=True)
class TestResult:
    """One test of the returned light against the honest ledger.

    `p_value` is the probability of a statistic at least as far off under the honest law (two-sided where the test
    is), already an upper limit where the honest law is known only up to the client's data; `threshold` is the share
    of alpha that this test may spend; `statistic` is in the unit named by `unit`, `expected` its honest value.
    """

    __test__ = False  # not a pytest class

    name: str
    statistic: float
    expected: float
    unit: str
    z: float
    p_value: float
    threshold: float
    samples: int

    @property
    def passed(self) -> bool:
        """True while the p-value is above its share of alpha."""
        return self.p_value > self.threshold

    @property
    def p_text(self) -> str:
        """The p-value in words: never "p = 0", which nothing is."""
        return f"p = {self.p_value:.3g}" if self.p_value >= SMALLEST_P else f"p below {SMALLEST_P:g}"


@dataclass(frozen=True, slots=True)
class Consistency:
    """All tests together at one overall false-alarm rate."""

    passed: bool
    alpha: float
    tests: tuple[TestResult, ...]
    log10_e_value: float
    """Base-10 logarithm of the e-process; 1/alpha_e is its abort threshold."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Finite-size upper bounds against the agreed budgets.

    `transmissivity_min` and `excess_max` are confidence limits at the server's input (behind trusted parts), both
    together at 1 - delta; `engine` made `bits_per_weight` from them. `limited_by` names the ledger's component that
    raises the failing bound most; `more_symbols` how many further symbols would bring it below the budget, None where
    none would.
    """

    passed: bool
    confidence: float
    samples: int
    transmissivity_min: float
    excess_max: float
    bits_per_weight: float
    bits_per_feature: float
    failing: tuple[str, ...] = ()
    limited_by: str | None = None
    more_symbols: int | None = None
    engine: str = "labqdl"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict with its reason in words a person at the bench understands."""

    kind: VerdictKind
    reason: Reason
    explanation: str
    consistency: Consistency
    certificate: Certificate | None

    def to_json(self) -> dict[str, Any]:
        """Plain object with every field."""
        return asdict(self)
