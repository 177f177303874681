"""The shot-noise unit as the server knows it: calibrated, from its own vacuum slots, or from slots that a client saw.

Every variance of returned light is compared with that of vacuum. Where it is measured, it is known within a confidence
interval, and the honest law of a homodyned quadrature becomes an envelope between two floors. An interval that misses
the truth is one more way to accuse an honest client, so that it has a share of alpha of its own.

Vacuum slots that crossed the client are worth nothing against it: whatever noise d it adds to these as well as to the
light stays hidden, as (1 + eps + d)/(1 + d) is what the server then sees. Derivation: docs/physics.md, "The shot-noise
unit".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from labqdl.facts import FrameDescription, Ledger, ShotNoise
from labqdl.security.chi_square import chi_square_quantile
from labqdl.security.expected import HonestLayer, Totals

UNIT_SHARE = 0.1
"""Share of alpha, and of delta, that the interval of a measured unit may miss the truth with."""


def vacuum_interval(totals: Totals, failure: float) -> tuple[float, float]:
    """Confidence limits of the variance of a vacuum slot, SNU as calibrated; at least one slot is needed."""
    if totals.vacuum_slots < 1:
        raise ValueError("there is no vacuum slot to take the shot-noise unit from")
    low = chi_square_quantile(failure / 2, totals.vacuum_slots)
    high = chi_square_quantile(failure / 2, totals.vacuum_slots, upper=True)
    return totals.vacuum_squares / high, totals.vacuum_squares / low


def measured_alpha(frame: FrameDescription) -> float:
    """What of the agreed alpha is left for tests once a measured unit has had its share."""
    return frame.plan.alpha if frame.plan.shot_noise is ShotNoise.KNOWN else (1 - UNIT_SHARE) * frame.plan.alpha


def session_layers(frame: FrameDescription, layers: Sequence[HonestLayer], totals: Totals) -> tuple[HonestLayer, ...]:
    """The honest laws for tests of a whole session, whose vacuum slots are all in `totals`."""
    return _measured(frame, layers, totals, 0.5 * UNIT_SHARE * frame.plan.alpha)


def block_layer(frame: FrameDescription, layer: HonestLayer, totals: Totals) -> HonestLayer:
    """The honest law for one layer of one block, from the vacuum slots of that very block.

    The share of alpha is divided between all layers of all blocks, so that it holds whenever one stops.
    """
    looks = frame.n_blocks * len(frame.layers)
    return _measured(frame, [layer], totals, 0.5 * UNIT_SHARE * frame.plan.alpha / looks)[0]


def _measured(
    frame: FrameDescription, layers: Sequence[HonestLayer], totals: Totals, failure: float
) -> tuple[HonestLayer, ...]:
    kind = frame.plan.shot_noise
    if kind is ShotNoise.KNOWN or not totals.vacuum_slots:
        return tuple(layers)
    low, high = vacuum_interval(totals, failure)
    result = []
    for layer in layers:
        # A blocked receiver sees shot noise and its own electronics; slots from the client bring the path's noise too.
        tolerance = layer.noise_tolerance
        technical = layer.floor - tolerance - 1 - frame.ledger.server_noise if kind is ShotNoise.OWN else 0.0
        result.append(replace(layer, floor=high + technical + tolerance, floor_least=low + technical - tolerance))
    return tuple(result)


def unit_limit(ledger: Ledger, kind: ShotNoise, totals: Totals, delta: float) -> float | None:
    """Least variance of vacuum at the server's receiver that the certificate may take out of the residuals, SNU.

    None where the homodyned residuals can certify nothing: the unit, or the receiver's noise, is in the client's hands
    (`receiver_trusted` is the caller's to ask), or no vacuum slot was measured.
    """
    if kind is ShotNoise.KNOWN:
        return 1 + ledger.server_noise
    if kind is ShotNoise.CROSSED or not totals.vacuum_slots:
        return None
    return vacuum_interval(totals, 2 * UNIT_SHARE * delta)[0]
