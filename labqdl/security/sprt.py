"""Wald's sequential test between the honest law and one named attack, from sums over blocks.

For an attack of known size the sequential probability ratio test needs the fewest symbols of all tests with the same
error rates. Where the attack is not known the e-process (`eprocess`) takes its place. Derivation and expected numbers:
`docs/physics.md`, section "Verification"; A. Wald, Ann. Math. Stat. 16, 117 (1945).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum


class Decision(StrEnum):
    """What the test says after the blocks so far."""

    UNDECIDED = "undecided"
    HONEST = "honest"
    CHEAT = "cheat"


@dataclass(frozen=True, slots=True)
class Sprt:
    """State of a sequential test.

    Attributes
    ----------
    alpha, beta:
        Wald's nominal probabilities of an error: honest taken for the attack, and the attack for honest. Proven are
        alpha/(1 - beta) and beta/(1 - alpha), whatever the sizes of the blocks.
    log_ratio:
        Logarithm of the likelihood of the attack over that of honesty, up to the decision.
    blocks:
        Blocks taken in, up to the decision.
    """

    alpha: float
    beta: float
    log_ratio: float = 0.0
    blocks: int = 0

    def __post_init__(self) -> None:
        if not (self.alpha > 0 and self.beta > 0 and self.alpha + self.beta < 1):
            raise ValueError(f"error rates must be positive with a sum below 1, got {self.alpha!r}, {self.beta!r}")

    @property
    def upper(self) -> float:
        """Logarithm of the ratio at which the attack is accepted."""
        return math.log((1 - self.beta) / self.alpha)

    @property
    def lower(self) -> float:
        """Logarithm of the ratio at which honesty is accepted."""
        return math.log(self.beta / (1 - self.alpha))

    @property
    def decision(self) -> Decision:
        """The decision, final once it is not `UNDECIDED`."""
        if self.log_ratio >= self.upper:
            return Decision.CHEAT
        return Decision.HONEST if self.log_ratio <= self.lower else Decision.UNDECIDED

    def after(self, increment: float) -> Sprt:
        """The state after one more block with this `noise_increment` or `gain_increment`; unchanged once decided."""
        if self.decision is not Decision.UNDECIDED:
            return self
        return replace(self, log_ratio=self.log_ratio + increment, blocks=self.blocks + 1)


def noise_increment(rr: float, residuals: int, *, variance: float, ratio: float) -> float:
    """Log likelihood ratio of residuals of `ratio` times the honest variance (SNU) per quadrature, from sum r^2."""
    return -0.5 * residuals * math.log(ratio) + 0.5 * rr / variance * (1 - 1 / ratio)


def gain_increment(qr: float, qq: float, *, variance: float, shift: float) -> float:
    """Log likelihood ratio of an amplitude that is off by `shift`, from sum q r and sum q^2 (SNU).

    shift: of the amplitude at the detector per amplitude sent, with its sign; variance: honest, per quadrature.
    """
    return (shift * qr - 0.5 * shift**2 * qq) / variance


def noise_information(ratio: float, *, honest: bool = False) -> float:
    """Mean growth of the log ratio per residual towards the truth, nats: under the attack or, `honest`, without."""
    return 0.5 * (math.log(ratio) + 1 / ratio - 1) if honest else 0.5 * (ratio - 1 - math.log(ratio))


def gain_information(shift: float, *, variance: float, light: float) -> float:
    """The same for an amplitude off by `shift`, alike under both; `light` is the mean of q^2 (2 mu), SNU."""
    return 0.5 * shift**2 * light / variance


def expected_symbols(information: float, alpha: float, beta: float, *, honest: bool = False) -> float:
    """Wald's mean number of symbols to a decision, without what overshoots the boundary in the last block."""
    test = Sprt(alpha, beta)
    if honest:
        return -(alpha * test.upper + (1 - alpha) * test.lower) / information
    return ((1 - beta) * test.upper + beta * test.lower) / information
